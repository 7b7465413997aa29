# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Slots and keys on the move between real servers: what arrives, what a death leaves, and what is refused."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.cluster import ClusterNode, RedisCluster
from redis.crc import key_slot
from servers import DISTRIBUTION, VERSIONS, Server, Servers, ServerTls
from test_redis_connections import Authority

from ansible_collections.apiops.tyk_redis.plugins.module_utils import _slot_moves
from ansible_collections.apiops.tyk_redis.plugins.module_utils._clock import Clock
from ansible_collections.apiops.tyk_redis.plugins.module_utils._cluster_view import (
    DeclaredNode,
    SlotRanges,
    each_slot,
    parse_cluster_nodes,
    parse_info,
    to_ranges,
)
from ansible_collections.apiops.tyk_redis.plugins.module_utils._redis_client import RedisConnection, Tls
from ansible_collections.apiops.tyk_redis.plugins.module_utils._slot_batches import (
    KEYS,
    MIGRATESLOTS,
    Limits,
    Member,
    Move,
    MoveFailed,
    Progress,
    client_calls,
)
from ansible_collections.apiops.tyk_redis.plugins.module_utils._slot_moves import SlotMover

SLOTS = 16384
QUICK = Limits(timeout=3)


class Shards:
    """A cluster of primaries, of which the first ones own all slots."""

    def __init__(self, servers: Sequence[Server], owners: int) -> None:
        self.servers = list(servers)
        self.ids = [str(server.call("CLUSTER", "MYID")) for server in servers]
        for number, server in enumerate(self.servers):
            server.call("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            if number < owners:
                slots = range(SLOTS * number // owners, SLOTS * (number + 1) // owners)
                for first in range(slots.start, slots.stop, 1000):
                    server.call("CLUSTER", "ADDSLOTS", *range(first, min(first + 1000, slots.stop)))
            if number:
                server.call("CLUSTER", "MEET", self.servers[0].address.host, self.servers[0].address.port)
        wait_until(self.formed)

    def formed(self) -> bool:
        known = f"cluster_known_nodes:{len(self.servers)}\r"
        for server in self.servers:
            info, nodes = str(server.call("CLUSTER", "INFO")), str(server.call("CLUSTER", "NODES"))
            if known not in info or "cluster_state:ok" not in info or "handshake" in nodes or "disconnected" in nodes:
                return False
        return True

    def member(self, number: int) -> Member:
        server = self.servers[number]
        node = DeclaredNode(f"redis-{number + 1}", server.address, server.bus_port, f"host-{number}")
        return Member(node, self.ids[number], server.address.host, server.address.port)

    def connect(self, node: DeclaredNode) -> RedisConnection:
        return next(server for server in self.servers if server.address == node.address).connection(timeout=2)

    def mover(
        self, limits: Limits = QUICK, threads: int = 4, report: Callable[[Progress], None] = lambda _progress: None
    ) -> SlotMover:
        return SlotMover(self.connect, self.servers[0].credentials, limits, Clock(), threads, report)

    def slots(self, number: int) -> SlotRanges:
        lines = parse_cluster_nodes(str(self.servers[number].call("CLUSTER", "NODES")))
        return next(line for line in lines if "myself" in line.flags).slots

    def half(self, source: int, target: int, method: str = KEYS) -> Move:
        slots = list(each_slot(self.slots(source)))
        return Move(self.member(source), self.member(target), to_ranges(slots[len(slots) // 2 :]), method)

    def client(self, number: int) -> Redis[bytes]:
        """A client of one server, which takes keys as bytes."""
        server = self.servers[number]
        options: dict[str, Any] = {"ssl": True, "ssl_ca_certs": str(server.tls.ca_file)} if server.tls else {}
        login = server.credentials
        return Redis(
            server.address.host, server.address.port, username=login.username, password=login.password, **options
        )

    def owner(self, key: bytes) -> int:
        slot = key_slot(key)
        return next(number for number in range(len(self.servers)) if slot in set(each_slot(self.slots(number))))

    def fill(self, count: int) -> None:
        """Strings, hashes, lists, sets, sorted sets and streams, binary names and values, some with an expiry."""
        slots_of = [set(each_slot(self.slots(number))) for number in range(len(self.servers))]
        pipes = [self.client(number).pipeline(transaction=False) for number in range(len(self.servers))]
        for number in range(count):
            key = b"key:%d" % number if number % 3 else b"\xff\r\n$5\x00:%d" % number
            pipe = pipes[next(owner for owner, slots in enumerate(slots_of) if key_slot(key) in slots)]
            put = [
                lambda p, k: p.set(k, b"\x00\xfe\r\n" * 20),
                lambda p, k: p.hset(k, mapping={b"f%d" % n: n for n in range(9)}),
                lambda p, k: p.rpush(k, *range(9)),
                lambda p, k: p.sadd(k, *range(9)),
                lambda p, k: p.zadd(k, {b"m%d" % n: n for n in range(9)}),
                lambda p, k: p.xadd(k, {"field": "value"}, id="1-1"),
                lambda p, k: p.set(k, "expires", px=3_600_000),
            ][number % 7]
            put(pipe, key)
        for pipe in pipes:
            pipe.execute()

    def dump(self) -> dict[bytes, tuple[bytes, int]]:
        """Every key with its value, and its expiry to the minute; each must be on its owner and nowhere else."""
        found: dict[bytes, tuple[bytes, int]] = {}
        for number in range(len(self.servers)):
            client, slots = self.client(number), set(each_slot(self.slots(number)))
            keys = list(client.scan_iter(count=1000))
            replies = client.pipeline(transaction=False)
            for key in keys:
                assert key_slot(key) in slots, f"{key!r} is not on its owner"
                assert key not in found, f"{key!r} is on two servers"
                replies.dump(key).pttl(key)
            values = replies.execute()
            for key, value, expiry in zip(keys, values[::2], values[1::2], strict=True):
                found[key] = (value, -1 if expiry < 0 else round(expiry / 600_000))
        return found

    def judge(self) -> None:
        """The servers' own tool has nothing to complain about, and no slot is open."""
        server = self.servers[0]
        words = ["/usr/bin/redis-cli", "--cluster", "check", str(server.address)]
        environment = dict(os.environ)
        if server.credentials.password:
            environment["REDISCLI_AUTH"] = server.credentials.password
        if server.credentials.username:
            words[1:1] = ["--user", server.credentials.username]
        if server.tls:
            words[1:1] = ["--tls", "--cacert", str(server.tls.ca_file)]

        def check() -> str:
            return subprocess.run(
                words, env=environment, capture_output=True, text=True, timeout=30, check=False
            ).stdout

        wait_until(lambda: "[OK] All nodes agree about slots configuration." in check())
        report = check()
        assert "[OK] All 16384 slots covered." in report, report
        assert "[WARNING]" not in report, report


def wait_until(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "It did not come true in time"
        time.sleep(0.1)


def shards(servers: Servers, count: int = 2, owners: int = 1, version: str = DISTRIBUTION, **options: Any) -> Shards:
    return Shards([servers.start_server(version, **options) for _number in range(count)], owners)


@contextmanager
def frozen(server: Server) -> Iterator[None]:
    server.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        server.process.send_signal(signal.SIGCONT)


@pytest.mark.parametrize("version", VERSIONS)
def test_every_key_arrives_as_it_was(servers: Servers, version: str) -> None:
    cluster = shards(servers, 4, 2, version)
    cluster.fill(700)
    before = cluster.dump()
    moves = [cluster.half(0, 2), cluster.half(1, 3)]
    told: list[Progress] = []
    counts = cluster.mover().count_keys(moves)

    totals = cluster.mover(report=told.append).move(moves)

    assert cluster.dump() == before
    assert [cluster.slots(2), cluster.slots(3)] == [move.slots for move in moves]
    assert (totals.keys, totals.slots) == (sum(counts), 8192)
    assert (told[-1].keys, told[-1].slots) == (totals.keys, totals.slots_total)
    cluster.judge()


@pytest.mark.parametrize("version", VERSIONS)
def test_slots_without_keys_move_too(servers: Servers, version: str) -> None:
    cluster = shards(servers, version=version)
    assert cluster.mover(threads=1).move([cluster.half(0, 1)]).keys == 0
    assert cluster.slots(1) == ((8192, 16383),)
    cluster.judge()


@pytest.mark.parametrize("version", VERSIONS)
def test_moving_is_not_taken_for_the_work_of_clients(servers: Servers, version: str) -> None:
    cluster = shards(servers, version=version)
    cluster.fill(300)

    def worked() -> list[int]:
        return [client_calls(parse_info(str(server.call("INFO", "commandstats")))) for server in cluster.servers]

    before = worked()
    assert cluster.mover().move([cluster.half(0, 1)]).keys
    assert worked() == before
    key = next(f"mine:{number}" for number in range(100) if cluster.owner(b"mine:%d" % number) == 0)
    for _time in range(30):
        cluster.servers[0].call("INCR", key)
    assert worked() == [before[0] + 30, before[1]]


def test_what_has_moved_already_is_nothing_to_do(servers: Servers) -> None:
    cluster = shards(servers)
    cluster.fill(50)
    move = cluster.half(0, 1)
    cluster.mover().move([move])
    before = cluster.dump()
    totals = cluster.mover().move([move])
    assert (totals.keys, totals.slots) == (0, 8192)
    assert cluster.dump() == before


def test_a_node_that_gives_and_takes_does_one_after_the_other(servers: Servers) -> None:
    cluster = shards(servers, 3, 2)
    cluster.fill(300)
    before = cluster.dump()
    cluster.mover().move([cluster.half(0, 1), cluster.half(1, 2)])
    assert cluster.dump() == before
    assert cluster.slots(1) == ((4096, 12287),)
    cluster.judge()


@pytest.mark.parametrize(
    "rights",
    [
        pytest.param("+@all", id="all"),
        pytest.param("+@all -eval", id="no scripts"),
        pytest.param("+@all -memory -multi", id="no sizes and no transactions"),
        pytest.param("+@all -config -client -info +info", id="no configuration"),
    ],
)
def test_a_user_with_fewer_rights_moves_them_as_well(servers: Servers, rights: str) -> None:
    acl = [f"user mover on >s3cret ~* &* {rights}", "user default off"]
    cluster = shards(servers, username="mover", password="s3cret", acl=acl)
    client = cluster.client(0)
    for number in range(200):
        client.set(b"\xff\r\n:%d" % number, b"x" * number)
    cluster.mover().move([cluster.half(0, 1)])
    moved = [number for number in range(200) if key_slot(b"\xff\r\n:%d" % number) >= 8192]
    target = cluster.client(1)
    assert {number: target.get(b"\xff\r\n:%d" % number) for number in moved} == {n: b"x" * n for n in moved}
    assert cluster.slots(1) == ((8192, 16383),)


def test_a_source_that_is_not_let_in_says_so_without_the_password(servers: Servers) -> None:
    acl = ["user mover on >s3cret ~* &* +@all", "user default off"]
    source = servers.start_server(username="mover", password="s3cret", acl=acl)
    target = servers.start_server(username="mover", password="s3cret", acl=acl)
    cluster = Shards([source, target], 1)
    source.call("SET", "user", "x")
    target.call("ACL", "SETUSER", "mover", "-restore", "-restore-asking")
    with pytest.raises(MoveFailed, match="the user must be defined alike on both") as caught:
        cluster.mover().move([Move(cluster.member(0), cluster.member(1), ((5474, 5474),))])
    assert caught.value.kind == "refused"
    assert "s3cret" not in str(caught.value)
    assert source.call("GET", "user") == "x"
    target.call("ACL", "SETUSER", "mover", "+@all")
    cluster.mover().move([Move(cluster.member(0), cluster.member(1), ((5474, 5474),))])
    assert target.call("GET", "user") == "x"


def test_keys_move_over_tls(servers: Servers, tmp_path: Path) -> None:
    authority = Authority(tmp_path, "ca")
    tls, trusted = ServerTls(authority.file, *authority.issue("server")), Tls(ca_file=authority.file)
    cluster = shards(servers, tls=tls, client_tls=trusted, password="s3cret")
    cluster.fill(200)
    before = cluster.dump()
    cluster.mover().move([cluster.half(0, 1)])
    assert cluster.dump() == before
    cluster.judge()


RUN = """
import json, sys
from ansible_collections.apiops.tyk_redis.plugins.module_utils._clock import Clock
from ansible_collections.apiops.tyk_redis.plugins.module_utils._cluster_view import DeclaredNode
from ansible_collections.apiops.tyk_redis.plugins.module_utils._redis_client import (
    Address, Credentials, RedisConnection,
)
from ansible_collections.apiops.tyk_redis.plugins.module_utils._slot_batches import Limits, Member, Move
from ansible_collections.apiops.tyk_redis.plugins.module_utils._slot_moves import SlotMover

def member(name, node_id, port):
    return Member(DeclaredNode(name, Address("127.0.0.1", port), port + 10000, name), node_id, "127.0.0.1", port)

moves = [
    Move(member(*source), member(*target), tuple(map(tuple, slots)), method)
    for source, target, slots, method in json.load(sys.stdin)
]
print("begun", flush=True)
connect = lambda node: RedisConnection(node.address, timeout=2)
SlotMover(connect, Credentials(), Limits(batch_keys=5), Clock(), 4, lambda progress: None).move(moves)
"""


def run_and_kill(moves: Sequence[Move], seconds: float) -> bool:
    """Move in another process, and kill it after this time; whether it had finished before."""

    def end(member: Member) -> tuple[str, str, int]:
        return member.node.name, member.node_id, member.port

    words = json.dumps([(end(move.source), end(move.target), move.slots, move.method) for move in moves])
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(RUN)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(words)
    process.stdin.close()
    assert process.stdout.readline() == "begun\n"
    try:
        return process.wait(timeout=seconds) == 0
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return False
    finally:
        process.stdout.close()


@pytest.mark.parametrize("version", [DISTRIBUTION, "valkey-9.1"])
def test_a_killed_run_is_finished_by_the_next_one(servers: Servers, version: str) -> None:
    cluster = shards(servers, 4, 2, version)
    cluster.fill(3000)
    before = cluster.dump()
    moves = [cluster.half(0, 2), cluster.half(1, 3)]
    chance = random.Random(version)
    deaths = 0
    while deaths < 12 and not run_and_kill(moves, chance.uniform(0.005, 0.15)):
        deaths += 1
    assert deaths > 1
    cluster.mover().move(moves)
    assert cluster.dump() == before
    cluster.judge()


def test_a_key_that_differs_on_both_ends_stops_the_move(servers: Servers) -> None:
    cluster = shards(servers)
    slot = key_slot(b"{user}")
    source, target = cluster.servers
    for number in range(30):
        source.call("SET", f"{{user}}:{number}", number)
    move = Move(cluster.member(0), cluster.member(1), ((slot, slot),))
    target.call("CLUSTER", "SETSLOT", slot, "IMPORTING", cluster.ids[0])
    with target.connection() as connection:
        connection.pipeline([("ASKING",), ("SET", "{user}:7", "another"), ("ASKING",), ("SET", "{user}:8", 8)])

    with pytest.raises(MoveFailed) as caught:
        cluster.mover().move([move])

    assert caught.value.kind == "conflict"
    assert str(caught.value) == (
        f"The key '{{user}}:7' in slot {slot} is on redis-1 and on redis-2 with different values; neither was "
        "overwritten. Find out which one is right, and delete the other one. Meanwhile slot "
        f"{slot} stays open between redis-1 and redis-2, where clients find every key; run again to go on."
    )
    assert source.call("GET", "{user}:7") == "7"
    with target.connection() as connection:
        assert connection.pipeline([("ASKING",), ("GET", "{user}:7")])[1] == "another"
        connection.pipeline([("ASKING",), ("DEL", "{user}:7")])
    cluster.mover().move([move])
    assert [target.call("GET", f"{{user}}:{number}") for number in range(30)] == [str(n) for n in range(30)]
    assert source.call("DBSIZE") == 0


def test_the_same_set_in_another_order_is_no_conflict(servers: Servers) -> None:
    cluster = shards(servers)
    slot = key_slot(b"{user}")
    source, target = cluster.servers
    members = [f"member-{number}" for number in range(1000)]
    source.call("SADD", "{user}", *members)
    target.call("CLUSTER", "SETSLOT", slot, "IMPORTING", cluster.ids[0])
    with target.connection() as connection:
        connection.pipeline([("ASKING",), ("SADD", "{user}", *reversed(members))])
    cluster.mover().move([Move(cluster.member(0), cluster.member(1), ((slot, slot),))])
    assert (source.call("DBSIZE"), target.call("SCARD", "{user}")) == (0, 1000)


def test_a_key_that_is_too_large_is_refused_before_its_slot_is_touched(servers: Servers) -> None:
    cluster = shards(servers)
    source = cluster.servers[0]
    slot = key_slot(b"huge")
    source.call("SET", "huge", "x" * 100_000)
    nodes = str(source.call("CLUSTER", "NODES"))
    limits = Limits(huge_key_rate=10_000, timeout=3)
    with pytest.raises(MoveFailed) as caught:
        cluster.mover(limits).move([Move(cluster.member(0), cluster.member(1), ((slot, slot),))])
    assert caught.value.kind == "big-key"
    assert f"The key 'huge' in slot {slot} of redis-1 takes " in str(caught.value)
    assert "at most 75000 can be moved at once: it would keep both servers busy for too much of the" in str(
        caught.value
    )
    assert "raise cluster-node-timeout on both for the move, split the value" in str(caught.value)
    assert str(caught.value).endswith("No slot was left open.")
    assert "[" not in nodes + str(source.call("CLUSTER", "NODES"))


def test_the_largest_value_that_the_target_takes_counts_too(servers: Servers) -> None:
    cluster = shards(servers)
    slot = key_slot(b"huge")
    cluster.servers[0].call("SET", "huge", "x" * 2_000_000)
    cluster.servers[1].call("CONFIG", "SET", "proto-max-bulk-len", "1mb")
    with pytest.raises(MoveFailed, match="redis-2 takes no value above its proto-max-bulk-len; raise it there"):
        cluster.mover().move([Move(cluster.member(0), cluster.member(1), ((slot, slot),))])
    assert cluster.servers[0].call("STRLEN", "huge") == 2_000_000


def test_a_slot_with_very_many_keys_moves_like_any_other(servers: Servers) -> None:
    cluster = shards(servers)
    client = cluster.client(0)
    pipe = client.pipeline(transaction=False)
    for number in range(5000):
        pipe.set(f"{{user}}:{number}", number)
    pipe.execute()
    slot = key_slot(b"user")
    assert cluster.mover().move([Move(cluster.member(0), cluster.member(1), ((slot, slot),))]).keys == 5000
    assert [int(server.call("DBSIZE")) for server in cluster.servers] == [0, 5000]  # type: ignore[call-overload]


def test_keys_in_another_database_are_refused(servers: Servers) -> None:
    cluster = shards(servers, version="valkey-9.1", extra=["cluster-databases 4"])
    with cluster.servers[0].connection() as connection:
        connection.pipeline([("SELECT", 2), ("SET", "a", 1), ("SET", "b", 2)])
    with pytest.raises(MoveFailed, match=r"redis-1 holds keys in database 2 \(2 keys\), and only those of database 0"):
        cluster.mover().move([cluster.half(0, 1)])
    assert cluster.slots(1) == ()
    cluster.mover().move([cluster.half(0, 1, MIGRATESLOTS)])
    assert cluster.slots(1) == ((8192, 16383),)


@pytest.mark.parametrize("version", [DISTRIBUTION, "valkey-8.1"])
def test_a_frozen_target_ends_with_a_sentence_and_can_be_continued(servers: Servers, version: str) -> None:
    cluster = shards(servers, version=version)
    cluster.fill(2000)
    before = cluster.dump()
    move = cluster.half(0, 1)
    target = cluster.servers[1]
    seen: list[Progress] = []

    def freeze(progress: Progress) -> None:
        seen.append(progress)
        target.process.send_signal(signal.SIGSTOP)

    try:
        with pytest.raises(MoveFailed, match=r"stay open between redis-1 and redis-2|No slot was left open") as caught:
            cluster.mover(report=freeze).move([move])
    finally:
        target.process.send_signal(signal.SIGCONT)
    assert caught.value.kind == "lost-target"
    assert seen
    cluster.mover().move([move])
    assert cluster.dump() == before
    cluster.judge()


def test_keys_that_a_short_freeze_left_in_doubt_arrive_once(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    """The target stops in the middle of a MIGRATE, and goes on after the source has given up waiting for it."""
    cluster = shards(servers, extra=["cluster-node-timeout 6000"])
    slot = key_slot(b"{user}")
    client = cluster.client(0)
    for number in range(60):
        client.set(f"{{user}}:{number}", bytes([number]) * 200_000)
    target = cluster.servers[1]
    sent: list[bool] = []
    send = _slot_moves._KeyMove._send

    def freeze_first(self: Any, batches: Any, milliseconds: int, *, replace: bool = False) -> Any:
        sent.append(replace)
        if len(sent) > 1:
            return send(self, batches, milliseconds, replace=replace)
        with frozen(target):
            return send(self, batches, 300, replace=replace)

    monkeypatch.setattr(_slot_moves._KeyMove, "_send", freeze_first)
    limits = Limits(batch_keys=4, timeout=20)
    cluster.mover(limits).move([Move(cluster.member(0), cluster.member(1), ((slot, slot),))])
    assert sent[:2] == [False, True]
    there = cluster.client(1)
    assert [there.get(f"{{user}}:{number}") for number in range(60)] == [bytes([n]) * 200_000 for n in range(60)]
    assert cluster.servers[0].call("DBSIZE") == 0


def test_a_target_that_is_a_replica_now_is_left_alone(servers: Servers) -> None:
    cluster = shards(servers, 3, 2)
    cluster.fill(100)
    cluster.servers[2].call("CLUSTER", "REPLICATE", cluster.ids[1])
    wait_until(lambda: "role:slave" in str(cluster.servers[2].call("INFO", "replication")))
    with pytest.raises(MoveFailed, match="redis-3 is not the primary that it was when the move began") as caught:
        cluster.mover().move([cluster.half(0, 2)])
    assert caught.value.kind == "lost-target"
    assert cluster.slots(0) == ((0, 8191),)


def test_slots_of_somebody_else_are_not_moved(servers: Servers) -> None:
    cluster = shards(servers, 3, 2)
    with pytest.raises(MoveFailed, match=r"redis-1 does not own 2 slots \(9000-9001\) any more") as caught:
        cluster.mover().move([Move(cluster.member(0), cluster.member(2), ((9000, 9001),))])
    assert caught.value.kind == "lost-source"


def test_whoever_is_told_the_progress_may_stop_the_move(servers: Servers) -> None:
    class LockLost(Exception):
        pass

    def lose(_progress: Progress) -> None:
        raise LockLost

    cluster = shards(servers, 4, 2)
    cluster.fill(2000)
    before = cluster.dump()
    moves = [cluster.half(0, 2), cluster.half(1, 3)]
    with pytest.raises(LockLost):
        cluster.mover(report=lose).move(moves)
    assert cluster.slots(0) != ((0, 4095),)
    cluster.mover().move(moves)
    assert cluster.dump() == before
    cluster.judge()


def test_orphans_go_to_the_owner_unless_it_has_another_value(servers: Servers) -> None:
    cluster = shards(servers)
    holder, owner = cluster.servers
    slot = key_slot(b"{user}")
    for number in range(20):
        holder.call("SET", f"{{user}}:{number}", number)
    # As after a backup that was loaded into the wrong server.
    owner.call("CLUSTER", "BUMPEPOCH")
    owner.call("CLUSTER", "SETSLOT", slot, "NODE", cluster.ids[1])
    owner.call("SET", "{user}:3", 3)
    owner.call("SET", "{user}:4", "newer")
    dump = [str(holder.call("DUMP", f"{{user}}:{number}")) for number in range(20)]
    wait_until(lambda: slot not in set(each_slot(cluster.slots(0))))
    holder.call("CLUSTER", "SETSLOT", slot, "IMPORTING", cluster.ids[1])
    with holder.connection() as connection:
        for number, value in enumerate(dump):
            raw = value.encode("utf-8", "surrogateescape")
            connection.pipeline([("ASKING",), ("RESTORE", f"{{user}}:{number}", 0, raw, "REPLACE")])
    holder.call("CLUSTER", "SETSLOT", slot, "STABLE")

    with pytest.raises(MoveFailed, match=r"'{user}:4' .* with different values; neither was overwritten") as caught:
        cluster.mover().move_orphans(cluster.member(0), cluster.member(1), ((slot, slot),))
    assert caught.value.kind == "conflict"
    assert owner.call("GET", "{user}:4") == "newer"

    with holder.connection() as connection:
        connection.pipeline([("ASKING",), ("DEL", "{user}:4")])
    cluster.mover().move_orphans(cluster.member(0), cluster.member(1), ((slot, slot),))
    expected = [str(number) for number in range(20)]
    expected[4] = "newer"
    assert [owner.call("GET", f"{{user}}:{number}") for number in range(20)] == expected
    assert holder.call("DBSIZE") == 0
    assert "[" not in str(holder.call("CLUSTER", "NODES"))


class Writers:
    """Clients that count up, each its own counters, and remember what was acknowledged."""

    def __init__(self, cluster: Shards, count: int = 4) -> None:
        nodes = [ClusterNode(server.address.host, server.address.port) for server in cluster.servers]
        self._stop = threading.Event()
        self.acknowledged: dict[str, int] = {}
        self.errors: list[str] = []
        self._threads = [threading.Thread(target=self._write, args=(nodes, number)) for number in range(count)]

    def _write(self, nodes: list[ClusterNode], number: int) -> None:
        client = RedisCluster(startup_nodes=nodes)
        turn = 0
        while not self._stop.is_set():
            key = f"writer-{number}:{turn % 50}"
            turn += 1
            try:
                value = client.incr(key)
                read = int(client.get(key) or 0)
            except Exception as exc:
                self.errors.append(repr(exc))
                continue
            expected = self.acknowledged.get(key, 0) + 1
            if (value, read) != (expected, expected):
                self.errors.append(f"{key} is {value}, then {read}, instead of {expected}")
            self.acknowledged[key] = value
        client.close()

    def __enter__(self) -> Writers:
        for thread in self._threads:
            thread.start()
        wait_until(lambda: len(self.acknowledged) >= 150)
        return self

    def __exit__(self, *_exc_info: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


@pytest.mark.parametrize(
    ("version", "method"),
    [
        (DISTRIBUTION, KEYS),
        ("redis-8.2", KEYS),
        ("valkey-8.1", KEYS),
        ("valkey-9.1", KEYS),
        ("valkey-9.1", MIGRATESLOTS),
    ],
)
def test_no_acknowledged_write_is_lost(servers: Servers, version: str, method: str) -> None:
    # All of them own slots, because an emptied primary turns into a replica by itself.
    cluster = shards(servers, 4, 4, version)
    cluster.fill(3000)
    limits = Limits(stall=1, batch_keys=10, timeout=10)
    with Writers(cluster) as writers:
        for _round in range(2):
            there = [cluster.half(0, 2, method), cluster.half(1, 3, method)]
            cluster.mover(limits).move(there)
            back = [Move(move.target, move.source, move.slots, method) for move in there]
            cluster.mover(limits).move(back)
    assert writers.errors == []
    clients = [cluster.client(number) for number in range(4)]
    stored = {key: int(clients[cluster.owner(key.encode())].get(key) or 0) for key in writers.acknowledged}
    assert stored == writers.acknowledged
    cluster.judge()


def test_valkey_moves_slots_by_itself(servers: Servers) -> None:
    cluster = shards(servers, 4, 2, "valkey-9.1")
    cluster.fill(700)
    before = cluster.dump()
    moves = [cluster.half(0, 2, MIGRATESLOTS), cluster.half(1, 3, MIGRATESLOTS)]
    counts = cluster.mover().count_keys(moves)
    totals = cluster.mover().move(moves)
    assert (totals.keys, totals.slots) == (sum(counts), 8192)
    assert cluster.dump() == before
    assert cluster.mover().move(moves).slots == 8192
    cluster.judge()


def test_a_migration_whose_starter_died_is_waited_for(servers: Servers) -> None:
    cluster = shards(servers, 2, 1, "valkey-9.1")
    cluster.fill(3000)
    before = cluster.dump()
    move = cluster.half(0, 1, MIGRATESLOTS)
    for seconds in (0.005, 0.02, 0.05):
        run_and_kill([move], seconds)
    cluster.mover().move([move])
    assert cluster.dump() == before
    assert cluster.slots(1) == move.slots
    cluster.judge()


def test_a_migration_that_the_servers_give_up_ends_with_their_reason(servers: Servers) -> None:
    cluster = shards(servers, 2, 1, "valkey-9.1")
    cluster.servers[0].call("CLUSTER", "SETSLOT", 16000, "MIGRATING", cluster.ids[1])
    with pytest.raises(MoveFailed, match=r"redis-1 and redis-2 could not move .* by themselves: ") as caught:
        cluster.mover().move([cluster.half(0, 1, MIGRATESLOTS)])
    assert caught.value.kind == "atomic"
    assert cluster.slots(1) == ()
