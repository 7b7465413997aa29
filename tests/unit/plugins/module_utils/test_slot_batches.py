# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Portions of keys, what is sent for them, and what replies mean."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.apiops.tyk_redis.plugins.module_utils._cluster_view import DeclaredNode
from ansible_collections.apiops.tyk_redis.plugins.module_utils._redis_client import Address
from ansible_collections.apiops.tyk_redis.plugins.module_utils._slot_batches import (
    Batch,
    Copy,
    Limits,
    Member,
    MigrateEncoder,
    Move,
    Pace,
    client_calls,
    command,
    cut,
    database_keys,
    halves,
    keys_of,
    method_for,
    overlap,
    printable,
    read_fetch,
    read_jobs,
    rounds,
    same_members,
    slots_text,
    take_over,
    windows,
)


def member(name: str) -> Member:
    return Member(DeclaredNode(name, Address("192.0.2.1", 6379), 16379, name), f"id-{name}", "192.0.2.1", 6379)


def words_of(packed: bytes) -> list[bytes]:
    """Read one packed command back, as a server does."""
    head, _newline, rest = packed.partition(b"\r\n")
    words = []
    while rest:
        size, _newline, rest = rest.partition(b"\r\n")
        words.append(rest[: int(size[1:])])
        rest = rest[int(size[1:]) + 2 :]
    assert head == b"*%d" % len(words)
    return words


@pytest.mark.parametrize(
    ("source", "target", "method"),
    [
        ([("valkey", "9.0.0"), ("valkey", "9.1.2")], [("valkey", "9.1.2")], "migrateslots"),
        ([("valkey", "9.0.0"), ("valkey", "8.1.8")], [("valkey", "9.1.2")], "keys"),
        ([("redis", "8.4.0")], [("redis", "8.6.1")], "migration"),
        ([("redis", "8.4.0")], [("redis", "8.2.3")], "keys"),
        ([("redis", "8.4.0")], [("valkey", "9.1.2")], "keys"),
        ([], [], "keys"),
    ],
)
def test_servers_move_slots_by_themselves_only_if_all_of_both_shards_can(
    source: list[tuple[str, str]], target: list[tuple[str, str]], method: str
) -> None:
    assert method_for(source, target) == method


@given(
    st.dictionaries(st.integers(0, 16383), st.integers(0, 9000), max_size=900), st.sampled_from([(1.0, 64), (0.5, 32)])
)
def test_windows_hold_every_slot_once_and_fewer_when_gentle(
    counts: dict[int, int], load_and_most: tuple[float, int]
) -> None:
    load, most = load_and_most
    cut_up = list(windows(list(counts), counts, Pace(Limits(load=load))))
    assert sorted(slot for window in cut_up for slot in window) == sorted(counts)
    for window in cut_up:
        keys = [counts[slot] for slot in window]
        assert not any(keys) or (all(keys) and (len(keys) == 1 or (len(keys) <= most and sum(keys) <= 8192)))


@given(
    st.lists(st.tuples(st.text(), st.integers(0, 5000)), max_size=40, unique_by=lambda item: item[0]),
    st.integers(1, 10),
    st.integers(1, 9000),
)
def test_batches_hold_every_key_once_within_both_bounds(
    keys: list[tuple[str, int]], most_keys: int, most_bytes: int
) -> None:
    found = cut(7, [key for key, _size in keys], [size for _key, size in keys], most_keys, most_bytes)
    assert [key.decode() for batch in found.batches for key in keys_of(batch)] == [key for key, _size in keys]
    assert found.largest == max((size for _key, size in keys), default=0)
    for batch in found.batches:
        assert batch.count <= most_keys
        assert batch.count == 1 or batch.size <= most_bytes


@given(st.lists(st.binary(), min_size=1, max_size=5))
def test_any_bytes_survive_as_a_key(keys: list[bytes]) -> None:
    texts = [key.decode("utf-8", "surrogateescape") for key in keys]
    batch = cut(0, texts, [0] * len(keys), 100, 100).batches[0]
    assert keys_of(batch) == keys
    packed = MigrateEncoder(member("b"), None, None).pack(batch.keys, batch.count, 250, replace=False)
    assert words_of(packed) == [b"MIGRATE", b"192.0.2.1", b"6379", b"", b"0", b"250", b"KEYS", *keys]


@pytest.mark.parametrize(
    ("login", "words"),
    [
        ((None, None), []),
        ((None, "secret"), [b"AUTH", b"secret"]),
        (("tyk", "secret"), [b"AUTH2", b"tyk", b"secret"]),
        (("tyk", None), []),
    ],
)
def test_migrate_logs_in_as_the_user(login: tuple[str | None, str | None], words: list[bytes]) -> None:
    packed = MigrateEncoder(member("b"), *login).pack(b"$1\r\na\r\n", 1, 99, replace=True)
    assert words_of(packed) == [
        b"MIGRATE", b"192.0.2.1", b"6379", b"", b"0", b"99", b"REPLACE", *words, b"KEYS", b"a",
    ]  # fmt: skip


def test_the_reply_of_the_script_is_read_and_nothing_else() -> None:
    found = read_fetch(5, [3, 900, "b", 2, 100, "$1\r\na\r\n$1\r\n\udcff\r\n", 1, 900, "$1\r\nb\r\n"])
    assert found is not None
    assert (found.keys, found.largest, found.largest_key) == (3, 900, "b")
    assert [keys_of(batch) for batch in found.batches] == [[b"a", b"\xff"], [b"b"]]
    assert read_fetch(5, "OK") is None
    assert read_fetch(5, [1]) is None


def test_the_pace_shrinks_when_it_stalls_a_server_and_recovers() -> None:
    pace = Pace(Limits(stall=5, batch_keys=100, batch_bytes=1000))
    first = pace.budget
    pace.took(first, 50)
    assert pace.budget < first
    for _time in range(100):
        pace.took(pace.budget, 50)
    assert 0 < pace.keys <= 16
    for _time in range(100):
        pace.took(pace.budget, 1)
    assert (pace.keys, pace.size) == (100, 1000)


def test_the_pace_is_gentle_while_clients_work_unless_it_is_set() -> None:
    pace = Pace(Limits())
    assert pace.wants_a_look(0.0)
    pace.saw(0.0, 1000)
    assert (pace.stall, pace.load) == (5.0, 1.0)
    assert not pace.wants_a_look(0.4)
    pace.saw(0.5, 1020)
    assert (pace.stall, pace.load) == (1.0, 0.15)
    pace.saw(1.0, 1030)
    assert (pace.stall, pace.load) == (5.0, 1.0)
    pace.saw(1.5, None)
    assert pace.busy
    assert not pace.wants_a_look(1.9)
    # Somebody has reset the statistics.
    pace.saw(2.0, 50)
    pace.saw(2.5, 0)
    assert not pace.busy
    half = Pace(Limits(load=0.5))
    half.saw(0.0, None)
    assert (half.watches, half.stall, half.load) == (True, 1.0, 0.5)
    fixed = Pace(Limits(stall=7, load=0.5))
    fixed.saw(0.0, None)
    assert not fixed.wants_a_look(0.0)
    assert (fixed.stall, fixed.load) == (7.0, 0.5)


def test_the_next_window_is_smaller_when_clients_come_to_work() -> None:
    pace = Pace(Limits())
    cutting = windows(range(300), dict.fromkeys(range(300), 1), pace)
    assert len(next(cutting)) == 64
    pace.saw(0.0, None)
    assert len(next(cutting)) == 32


def test_only_the_commands_of_clients_are_counted() -> None:
    stats = {
        "cmdstat_get": "calls=20,usec=9,usec_per_call=0.45",
        "cmdstat_SET": "calls=3,usec=9,usec_per_call=3.00,rejected_calls=0,failed_calls=0",
        "cmdstat_config|get": "calls=100,usec=9",
        "cmdstat_cluster": "calls=100,usec=9",
        "cmdstat_migrate": "calls=100,usec=9",
        "cmdstat_xinfo|stream": "calls=1,usec=9",
        "cmdstat_zadd": "nonsense",
        "total_commands_processed": "1000",
    }
    assert client_calls(stats) == 24


def test_a_flush_is_bounded_by_count_and_cost_and_never_empty() -> None:
    pace = Pace(Limits())
    batches = [Batch(0, 50, 0, b"")] * 5 + [Batch(1, 1, 10**9, b"")] + [Batch(2, 1, 0, b"")] * 5
    assert [len(flush) for flush in pace.flushes(batches, 3)] == [2, 2, 1, 1, 3, 2]
    assert list(pace.flushes([], 3)) == []


def test_no_node_gives_and_takes_in_one_round() -> None:
    a, b, c, d = (member(name) for name in "abcd")
    moves = [Move(a, b, ((0, 0),)), Move(b, c, ((1, 1),)), Move(a, c, ((2, 2),)), Move(d, b, ((3, 3),))]
    assert rounds(moves) == [[0, 2, 3], [1]]


def test_slots_are_taken_over_in_one_transaction() -> None:
    packed = [b" ".join(words_of(one)) for one in take_over([1, 2, 3], "me")]
    assert packed == [
        b"MULTI",
        b"CLUSTER SETSLOT 1 NODE me",
        b"CLUSTER SETSLOT 2 STABLE",
        b"CLUSTER SETSLOT 2 NODE me",
        b"CLUSTER SETSLOT 3 NODE me",
        b"EXEC",
    ]
    assert take_over([1, 2], "me") == [command("CLUSTER", "SETSLOT", slot, "NODE", "me") for slot in (1, 2)]


def test_keys_outside_of_the_first_database_are_found() -> None:
    fields = {"db0": "keys=5,expires=0", "db2": "keys=3,expires=1,avg_ttl=0", "db9": "keys=0", "dbx": "keys=1"}
    assert database_keys(fields) == {2: 3}


def test_copies_are_compared_without_version_and_checksum() -> None:
    one, other = Copy(b"\x00value" + b"0" * 10, -1), Copy(b"\x00value" + b"1" * 10, -1)
    assert one.equals(other)
    assert not one.equals(Copy(b"\x00other" + b"0" * 10, -1))
    assert not one.equals(Copy(other.dump, 5000))
    assert Copy(one.dump, 60000).equals(Copy(other.dump, 59000))
    assert one.read_members(other) is None
    assert Copy(b"\x02ab" + b"0" * 10, -1).read_members(Copy(b"\x02ba" + b"1" * 10, -1)) == "SMEMBERS"
    assert Copy(b"\x04ab" + b"0" * 10, -1).read_members(Copy(b"\x04ba" + b"1" * 10, 9)) is None
    assert same_members("SMEMBERS", ["a", "b"], ["b", "a"])
    assert same_members("HGETALL", ["a", "1", "b", "2"], ["b", "2", "a", "1"])
    assert not same_members("HGETALL", ["a", "1", "b", "2"], ["b", "1", "a", "2"])


def test_the_log_of_valkey_is_read() -> None:
    job = read_jobs(
        [["name", "e05b", "operation", "EXPORT", "slot_ranges", "0-2 200-201 400-400", "target_node", "t",
          "source_node", "s", "create_time", 1, "state", "success", "message", "", "remaining_repl_size", 0]]
    )[0]  # fmt: skip
    assert job.slots == ((0, 2), (200, 201), (400, 400))
    assert (job.job_id, job.source_id, job.target_id, job.succeeded, job.finished) == ("e05b", "s", "t", True, True)


def test_the_tasks_of_redis_are_read() -> None:
    """The reply is written down from the source of Redis 8.4, and was not recorded from a server."""
    jobs = read_jobs(
        [["id", "24cf", "slots", "0-1000 2000", "source", "s", "dest", "t", "operation", "import", "state", state,
          "last_error", "no route", "retries", 1, "write_pause_ms", 0] for state in ("wait-rdbchannel", "completed")]
    )  # fmt: skip
    assert [job.finished for job in jobs] == [False, True]
    assert jobs[0].slots == ((0, 1000), (2000, 2000))
    assert (jobs[0].job_id, jobs[0].source_id, jobs[0].target_id, jobs[0].message) == ("24cf", "s", "t", "no route")
    assert read_jobs({"not": "a list"}) == []


def test_sets_of_slots() -> None:
    assert overlap(((0, 9), (20, 29)), ((5, 22),)) == ((5, 9), (20, 22))
    assert halves(((0, 4), (9, 9))) == (((0, 2),), ((3, 4), (9, 9)))
    assert halves(((3, 3),)) == (((3, 3),), ())
    assert slots_text([5]) == "slot 5"
    assert slots_text([1, 2, 3]) == "3 slots (1-3)"


def test_a_key_is_shown_on_one_line() -> None:
    assert printable("a\r\n") == "'a\\r\\n'"
    assert printable("x" * 500) == f"'{'x' * 99}...' (500 bytes)"
