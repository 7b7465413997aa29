# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What servers say, in every form they say it, and which sentences come of it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.apiops.tyk_redis.plugins.module_utils._cluster_view import (
    SLOTS,
    ClusterView,
    DeclaredNode,
    MemberLine,
    NodeView,
    ViewError,
    count_slots,
    each_slot,
    format_ranges,
    join_names,
    merge,
    parse_cluster_nodes,
    parse_info,
    read_node,
    to_ranges,
    version_tuple,
)
from ansible_collections.apiops.tyk_redis.plugins.module_utils._redis_client import Address

ID = "07c37dfeb235213a872192d90877d0cd55635b91"
PEER = "67ed2db8d677e59ec4a4cefb06858cf2a1a89fa1"

# Lines that servers of these versions have printed.
FRESH_70 = f"{ID} :7001@17001 myself,master - 0 0 0 connected\n"
FRESH_82 = f"{ID} 127.0.0.1:7001@17001,,tls-port=0,shard-id=a1 myself,master - 0 0 0 connected\n"


def only(text: str) -> MemberLine:
    lines = parse_cluster_nodes(text)
    return next(line for line in lines if len(lines) == 1 or "myself" not in line.flags)


def peer(endpoint: str = "192.0.2.2:6379@16379", flags: str = "master", rest: str = "- 0 0 2 connected") -> MemberLine:
    return only(f"{FRESH_70}{PEER} {endpoint} {flags} {rest}\n")


# --- parsing ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        pytest.param(":7001@17001", ("", 7001, 17001), id="a node that does not know its own address"),
        pytest.param(":0@0", ("", 0, 0), id="a node without address"),
        pytest.param("192.0.2.2:6379@16379", ("192.0.2.2", 6379, 16379), id="the plain form"),
        pytest.param("192.0.2.2:6379@20000,redis-2.example", ("192.0.2.2", 6379, 20000), id="with a host name"),
        pytest.param("192.0.2.2:6379@16379,,shard-id=1,tls-port=0", ("192.0.2.2", 6379, 16379), id="with fields"),
        pytest.param("2001:db8::1:6379@16379", ("2001:db8::1", 6379, 16379), id="IPv6"),
        pytest.param("192.0.2.2:6379", ("192.0.2.2", 6379, 16379), id="without a bus port, as before 4.0"),
    ],
)
def test_every_form_of_an_endpoint_is_read(endpoint: str, expected: tuple[str, int, int]) -> None:
    line = peer(endpoint)
    assert (line.host, line.port, line.bus_port) == expected


@pytest.mark.parametrize("text", [FRESH_70, FRESH_82])
def test_a_fresh_node_knows_itself_alone(text: str) -> None:
    line = only(text)
    assert (line.node_id, line.role, line.slots, line.epoch, line.connected) == (ID, "primary", (), 0, True)


def test_slots_and_open_slots_are_told_apart() -> None:
    line = only(f"{ID} 127.0.0.1:7001@17001 myself,master - 0 0 7 connected 0-5 7 9-10 [8->-{PEER}] [77-<-{PEER}]\n")
    assert line.slots == ((0, 5), (7, 7), (9, 10))
    assert line.migrating == ((8, PEER),)
    assert line.importing == ((77, PEER),)


@pytest.mark.parametrize(
    ("flags", "role", "failed"),
    [
        pytest.param("slave", "replica", False, id="replica"),
        pytest.param("master,fail?", "primary", False, id="suspected"),
        pytest.param("master,fail", "primary", True, id="failed"),
        pytest.param("handshake", "", False, id="handshake"),
        pytest.param("slave,nofailover", "replica", False, id="replica that may not take over"),
        pytest.param("noflags", "", False, id="nothing known"),
    ],
)
def test_flags_are_understood(flags: str, role: str, failed: bool) -> None:
    line = peer(flags=flags)
    assert (line.role, line.failed) == (role, failed)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("", "exactly one member as myself", id="nothing"),
        pytest.param(FRESH_70 + FRESH_70, "exactly one member as myself", id="two selves"),
        pytest.param("what is this\n", "line 1 has 3 fields", id="too few fields"),
        pytest.param(f"{ID} nowhere myself - 0 0 0 connected\n", "not of the form ip:port@bus-port", id="endpoint"),
        pytest.param(f"{ID} :1@2 myself - 0 0 0 connected 16384\n", "'16384' is not a slot", id="slot too high"),
        pytest.param(f"{ID} :1@2 myself - 0 0 0 connected 9-3\n", "'9-3' is not a range", id="range backwards"),
        pytest.param(f"{ID} :1@2 myself - 0 0 0 connected [x\n", "is not an open slot", id="open slot"),
        pytest.param(f"{ID} :1@2 myself - 0 0 x connected\n", "line 1 cannot be read", id="epoch"),
    ],
)
def test_what_no_server_prints_is_an_error_that_says_where(text: str, message: str) -> None:
    with pytest.raises(ViewError, match=message):
        parse_cluster_nodes(text)


@given(st.text())
def test_no_text_whatever_breaks_the_parsers(text: str) -> None:
    parse_info(text)
    for candidate in (text, f"{ID} {text}", f"{ID} :1@2 myself,master - 0 0 0 connected {text}"):
        with suppress(ViewError):
            parse_cluster_nodes(candidate)


@given(
    st.text("\r\n :=,@-[]<>0123456789abcmyselfmaster", max_size=200),
    st.text("\r\n:redis_version7.db0keys=1 ", max_size=200),
)
def test_no_reply_whatever_breaks_reading_a_node(nodes: str, info: str) -> None:
    for text in (info, "redis_version:7.0.15\r\ncluster_enabled:1\r\n" + info):
        with suppress(ViewError):
            read_node(node(1), text, info, parse_cluster_nodes(nodes))


RANGES = st.sets(st.integers(0, SLOTS - 1), max_size=60).map(to_ranges)


def rendered(line: MemberLine) -> str:
    endpoint = f"{line.host}:{line.port}@{line.bus_port}"
    flags = ",".join(sorted(line.flags))
    words = [line.node_id, endpoint, flags, line.primary_id or "-", "0", "0", str(line.epoch)]
    words.append("connected" if line.connected else "disconnected")
    words += [str(a) if a == b else f"{a}-{b}" for a, b in line.slots]
    words += [f"[{slot}->-{other}]" for slot, other in line.migrating]
    words += [f"[{slot}-<-{other}]" for slot, other in line.importing]
    return " ".join(words) + "\n"


@given(
    st.builds(
        MemberLine,
        node_id=st.text("0123456789abcdef", min_size=40, max_size=40),
        host=st.sampled_from(["", "192.0.2.1", "2001:db8::1"]),
        port=st.integers(0, 65535),
        bus_port=st.integers(0, 65535),
        flags=st.sets(st.sampled_from(["master", "slave", "fail", "fail?", "nofailover"])).map(
            lambda flags: frozenset({*flags, "myself"})
        ),
        primary_id=st.sampled_from(["", PEER]),
        epoch=st.integers(0, 2**63),
        connected=st.booleans(),
        slots=RANGES,
        migrating=st.lists(st.tuples(st.integers(0, SLOTS - 1), st.just(PEER)), max_size=3).map(tuple),
        importing=st.lists(st.tuples(st.integers(0, SLOTS - 1), st.just(PEER)), max_size=3).map(tuple),
    )
)
def test_what_a_server_prints_is_read_back_the_same(line: MemberLine) -> None:
    assert parse_cluster_nodes(rendered(line)) == (line,)


@given(st.sets(st.integers(0, SLOTS - 1), max_size=200))
def test_ranges_hold_the_same_slots(slots: set[int]) -> None:
    ranges = to_ranges(slots)
    assert set(each_slot(ranges)) == slots
    assert count_slots(ranges) == len(slots)
    assert all(after[0] > before[1] + 1 for before, after in zip(ranges, ranges[1:]))


def test_long_lists_are_shortened() -> None:
    assert format_ranges(()) == "none"
    assert format_ranges(((0, 5), (7, 7))) == "0-5, 7"
    assert format_ranges(tuple((n, n) for n in range(0, 40, 2))) == "0, 2, 4, 6, 8, 10... (20 slots)"
    assert join_names(["a"]) == "a"
    assert join_names(["a", "b", "a", "c"]) == "a, b and c"
    assert join_names("abcdefgh") == "a, b, c, d, e and 3 others"


# --- one node --------------------------------------------------------------------------------------------------------

INFO_VALKEY = (
    "# Server\r\nserver_name:valkey\r\nredis_version:7.2.4\r\nvalkey_version:9.1.2\r\nnumber_of_functions:2\r\n"
    "loading:0\r\n# Replication\r\nrole:slave\r\nmaster_link_status:up\r\nmaster_sync_in_progress:0\r\n"
    "slave_repl_offset:70\r\nmaster_repl_offset:71\r\ncluster_enabled:1\r\nmaxclients:10000\r\n"
    "# Keyspace\r\ndb0:keys=3,expires=0,avg_ttl=0\r\ndb11:keys=4,expires=1\r\n"
)


def test_valkey_is_told_by_its_own_field() -> None:
    view = read_node(node(1), INFO_VALKEY, "cluster_state:ok\r\n", parse_cluster_nodes(FRESH_82), 15000)
    assert (view.product, view.version, view.node_timeout) == ("valkey", "9.1.2", 15000)
    assert (view.keys, view.functions, view.link, view.offset, view.state) == (7, 2, "up", 70, "ok")
    assert view.maxclients == 10000


def test_a_server_without_cluster_mode_is_read_too() -> None:
    view = read_node(node(1), "redis_version:6.0.16\ncluster_enabled:0\nrole:master\n", "", ())
    assert (view.cluster_enabled, view.usable, view.link, view.maxclients) == (False, False, "", None)


def test_something_that_is_no_redis_is_an_error() -> None:
    with pytest.raises(ViewError, match="INFO does not tell a version"):
        read_node(node(1), "HTTP/1.1 400 Bad Request\r\n", "", ())


def test_versions_are_compared_by_their_numbers() -> None:
    assert version_tuple("7.0.15") < version_tuple("7.2.0") < version_tuple("10.0.0-rc1")
    assert version_tuple("unknown") == ()


# --- merging ---------------------------------------------------------------------------------------------------------


def node(number: int, host: str = "", zone: str = "") -> DeclaredNode:
    return DeclaredNode(f"redis-{number}", Address(f"192.0.2.{number}", 6379), 16379, host or f"192.0.2.{number}", zone)


def node_id(number: int) -> str:
    return f"{number:040x}"


def line(number: int, **changes: object) -> MemberLine:
    """Node 1 to 3 are primaries, 4 to 6 their replicas."""
    primary = number <= 3
    bounds = {1: (0, 5460), 2: (5461, 10922), 3: (10923, 16383)}
    plain = MemberLine(
        node_id=node_id(number),
        host=f"192.0.2.{number}",
        port=6379,
        bus_port=16379,
        flags=frozenset({"master" if primary else "slave"}),
        primary_id="" if primary else node_id(number - 3),
        epoch=number if primary else number - 3,
        connected=True,
        slots=(bounds[number],) if primary else (),
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def view_of(number: int, lines: dict[int, MemberLine] | None = None, **changes: object) -> NodeView:
    """What a node of a healthy cluster says; `lines` replace what it says about others or itself."""
    said = {n: line(n) for n in range(1, 7)}
    said.update(lines or {})
    said[number] = replace(said[number], flags=said[number].flags | {"myself"})
    plain = NodeView(
        node=node(number),
        product="redis",
        version="7.0.15",
        state="ok",
        lines=tuple(said.values()),
        link="" if number <= 3 else "up",
        offset=1000,
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def healthy_views() -> dict[int, NodeView]:
    return {number: view_of(number) for number in range(1, 7)}


def merged(changed: dict[int, NodeView] | None = None, replicas: int | None = 1) -> ClusterView:
    return merge(list({**healthy_views(), **(changed or {})}.values()), replicas)


def sentences(view: ClusterView) -> list[str]:
    return [problem.sentence for problem in view.problems]


def down(number: int) -> NodeView:
    return NodeView(node=node(number), error=f"192.0.2.{number}:6379 refused the connection; start it.")


def test_a_healthy_cluster_has_no_problem() -> None:
    view = merged()
    assert sentences(view) == []
    assert (view.state, view.healthy, view.agreed, view.slots_served) == ("ok", True, True, SLOTS)
    facts = view.as_dict()
    assert facts["size"] == 3
    assert facts["nodes"][3] == {
        "name": "redis-4",
        "address": "192.0.2.4:6379",
        "host": "192.0.2.4",
        "zone": "",
        "id": node_id(4),
        "role": "replica",
        "primary": "192.0.2.1:6379",
        "primary_name": "redis-1",
        "slots": [],
        "slot_count": 0,
        "keys": 0,
        "lag_bytes": 0,
        "link": "up",
        "epoch": 1,
        "version": "redis 7.0.15",
        "maxclients": None,
        "reachable": True,
        "error": "",
        "flags": ["slave"],
    }
    assert view.describe()[0] == "redis-1 (192.0.2.1:6379): primary, slots 0-5460"
    assert view.describe()[3] == "redis-4 (192.0.2.4:6379): replica of redis-1"


def test_lag_is_the_difference_of_the_offsets() -> None:
    view = merged({4: view_of(4, offset=940), 5: view_of(5, offset=1001)})
    assert [state.lag_bytes for state in view.nodes] == [None, None, None, 60, 0, 0]


def test_nodes_that_know_nobody_are_no_cluster() -> None:
    fresh = {n: line(n, slots=(), flags=frozenset({"myself", "master"}), primary_id="") for n in range(1, 7)}
    view = merge([replace(view_of(n), lines=(fresh[n],)) for n in range(1, 7)], 1)
    assert (view.state, view.agreed, view.slots_served) == ("none", False, 0)
    assert {state.role for state in view.nodes} == {"alone"}
    assert sentences(view) == [
        "There is no cluster yet: none of the 6 declared nodes knows another one or serves a slot."
    ]


def test_a_dead_primary_whose_replica_took_over() -> None:
    failed = line(1, flags=frozenset({"master", "fail"}), slots=(), connected=False)
    heir = line(4, flags=frozenset({"master"}), primary_id="", slots=((0, 5460),), epoch=9)
    others = {n: view_of(n, {1: failed, 4: heir}, link="" if n == 4 else view_of(n).link) for n in range(2, 7)}
    view = merged({**others, 1: down(1)})
    assert sentences(view) == [
        "redis-1: 192.0.2.1:6379 refused the connection; start it.",
        "redis-2, redis-3, redis-4, redis-5 and redis-6 have marked redis-1 as failed.",
        "redis-4 (slots 0-5460) has 0 of 1 replica.",
    ]
    assert (view.state, view.slots_served, view.nodes[0].role) == ("broken", SLOTS, "unreachable")


def test_a_dead_primary_without_heir_leaves_slots_unserved() -> None:
    failed = line(1, flags=frozenset({"master", "fail"}), connected=False)
    others = {n: view_of(n, {1: failed}, state="fail") for n in range(2, 7)}
    others[4] = replace(others[4], link="down")
    view = merged({**others, 1: down(1)})
    assert view.slots_served == SLOTS - 5461
    assert (
        "The slots 0-5460 are not served: their owner redis-1 is down and no replica has taken over; "
        "bring it back, or make a replica of it take over." in sentences(view)
    )
    assert any(text.startswith("The replication link of redis-4 to its primary redis-1") for text in sentences(view))
    assert (
        "redis-2, redis-3, redis-4, redis-5 and redis-6 refuse commands because they consider the cluster down "
        "(cluster_state:fail)." in sentences(view)
    )


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        pytest.param(
            {2: view_of(2, {5: line(5, flags=frozenset({"master"}), primary_id="")})},
            "redis-2 takes redis-5 for a primary, but it says of itself that it is a replica of redis-2.",
            id="roles",
        ),
        pytest.param(
            {n: view_of(n, {6: line(6, primary_id=node_id(1))}) for n in (1, 2)},
            "redis-1 and redis-2 take redis-6 for a replica of redis-1, but it says of itself that it is a replica of "
            "redis-3.",
            id="primary of a replica",
        ),
        pytest.param(
            {4: view_of(4, {3: line(3, slots=((10923, 16000),))})},
            "redis-4 says that redis-3 owns the slots 10923-16000, but it says of itself: 10923-16383.",
            id="slots",
        ),
        pytest.param(
            {3: replace(view_of(3), lines=tuple(line_ for line_ in view_of(3).lines if line_.node_id != node_id(5)))},
            "redis-3 does not know redis-5.",
            id="membership",
        ),
        pytest.param(
            {3: replace(view_of(3), lines=(view_of(3).me,))},
            "redis-3 knows no other node.",
            id="a node on its own",
        ),
        pytest.param(
            {2: view_of(2, {1: line(1, flags=frozenset({"master", "fail?"}))})},
            "redis-2 suspects that redis-1 is down, although it answers here: check that its cluster bus port 16379 "
            "can be reached from them.",
            id="suspicion",
        ),
        pytest.param(
            {2: view_of(2, {1: line(1, connected=False)})},
            "redis-2 has no cluster bus connection to redis-1: check that its bus port 16379 is open for them.",
            id="bus link",
        ),
        pytest.param(
            {n: view_of(n, {1: line(1, host="198.51.100.1")}) for n in (2, 3, 4, 5, 6)},
            "redis-2, redis-3, redis-4, redis-5 and redis-6 know redis-1 at 198.51.100.1:6379 and not at the declared "
            "192.0.2.1:6379; set cluster-announce-ip and cluster-announce-port on redis-1, or declare that address.",
            id="another address",
        ),
        pytest.param(
            {2: view_of(2, {7: line(1, node_id=node_id(7), flags=frozenset({"handshake"}))})},
            "redis-2 is still shaking hands with redis-1.",
            id="handshake",
        ),
    ],
)
def test_a_disagreement_says_who_says_what(changed: dict[int, NodeView], expected: str) -> None:
    view = merged(changed)
    assert expected in sentences(view)
    assert (view.state, view.agreed) == ("broken", False)


def test_an_undeclared_member_is_named_once() -> None:
    stranger = line(1, node_id=node_id(9), host="203.0.113.9", slots=((3, 4),))
    view = merged({n: view_of(n, {9: stranger}) for n in range(1, 7)})
    assert [problem.kind for problem in view.problems] == ["unknown-member"]
    assert (
        f"know a member that is not declared: 203.0.113.9:6379, id {node_id(9)} (master, slots 3-4); declare it, or "
        "name it among the nodes to remove." in sentences(view)[0]
    )


def test_a_node_that_was_reset_is_recognised() -> None:
    fresh = view_of(5, lines={})
    fresh = replace(fresh, lines=(line(5, node_id=node_id(8), flags=frozenset({"myself", "master"}), primary_id=""),))
    kinds = {problem.kind for problem in merged({5: fresh}).problems}
    assert "identity" in kinds


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        pytest.param(
            {1: view_of(1, {1: line(1, migrating=((5, node_id(2)),))}), 2: view_of(2)},
            "redis-1 is giving slot 5 away to redis-2 and has not finished; complete the move, or end it with CLUSTER "
            "SETSLOT STABLE when no key has moved.",
            id="open slot",
        ),
        pytest.param(
            {n: view_of(n, {2: line(2, epoch=1)}) for n in range(1, 7)},
            "The primaries redis-1 and redis-2 have the same config epoch 1; the servers settle this within seconds, "
            "and if not, send CLUSTER BUMPEPOCH to one of them.",
            id="epochs",
        ),
        pytest.param(
            {n: view_of(n, {3: line(3, slots=((10923, 16382),))}) for n in range(1, 7)},
            "1 slot of 16384 is served by nobody: 16383.",
            id="uncovered slot",
        ),
        pytest.param(
            {n: view_of(n, {2: line(2, slots=((5460, 10922),))}) for n in range(1, 7)},
            "The slots 5460 are claimed by redis-1 and redis-2 at once; wait for the cluster to settle it, and if it "
            "does not, find out who holds the keys.",
            id="slot claimed twice",
        ),
        pytest.param(
            {4: view_of(4, link="down")},
            "The replication link of redis-4 to its primary redis-1 is down; check that redis-1 is up and that "
            "masteruser, masterauth and TLS for replication are right on redis-4 (its log says which).",
            id="replication link",
        ),
        pytest.param(
            {4: view_of(4, link="down", syncing=True)},
            "redis-4 is still copying the data of its primary redis-1.",
            id="first copy",
        ),
        pytest.param(
            {n: view_of(n, {6: line(6, primary_id=node_id(5))}) for n in range(1, 7)},
            "redis-6 replicates redis-5, which is a replica itself; let it replicate a primary.",
            id="replica of a replica",
        ),
        pytest.param(
            {n: view_of(n, {6: line(6, primary_id=node_id(1))}) for n in range(1, 7)},
            "redis-3 (slots 10923-16383) has 0 of 1 replica.",
            id="replica missing",
        ),
        pytest.param(
            {2: replace(down(2), error="", cluster_enabled=False)},
            "redis-2 (192.0.2.2:6379) does not run in cluster mode; set cluster-enabled yes there and restart it.",
            id="cluster mode off",
        ),
        pytest.param(
            {2: replace(down(2), error="", loading=True)},
            "redis-2 (192.0.2.2:6379) is still loading its data; try again when it is done.",
            id="loading",
        ),
        pytest.param(
            {1: view_of(1, version="7.2.3")},
            "redis-2, redis-3, redis-4, redis-5 and redis-6 run Redis 7.0 and redis-1 runs Redis 7.2.0 to 7.2.3, which "
            "write a nodes.conf that they cannot read again when mixed; upgrade the latter to 7.2.4 or later first.",
            id="versions that do not mix",
        ),
    ],
)
def test_what_is_wrong_is_a_sentence(changed: dict[int, NodeView], expected: str) -> None:
    view = merged(changed)
    assert expected in sentences(view)
    assert view.state == "broken"


def test_numbers_are_judged_only_when_they_are_described() -> None:
    fourth = {n: view_of(n, {6: line(6, flags=frozenset({"master"}), primary_id="")}, link="") for n in (1, 2, 3, 6)}
    fourth.update({n: view_of(n, {6: line(6, flags=frozenset({"master"}), primary_id="")}) for n in (4, 5)})
    assert sentences(merged(fourth, None)) == []
    assert sentences(merged(fourth, 1)) == [
        "redis-6 owns no slot and replicates nobody.",
        "redis-3 (slots 10923-16383) has 0 of 1 replica.",
    ]
    assert sentences(merged(None, 0)) == [
        "3 nodes own slots (redis-1, redis-2 and redis-3), but 6 declared nodes with 0 replicas per primary make 6 "
        "primaries."
    ]


@pytest.mark.parametrize(
    ("places", "expected"),
    [
        pytest.param(
            {1: ("h1", ""), 4: ("h1", "")},
            "redis-1 and its replica redis-4 share the host h1 and fail together; let them change places with others.",
            id="host that could be avoided",
        ),
        pytest.param(
            {n: ("h1", "") for n in range(1, 7)},
            "redis-3 and its replica redis-6 share the host h1 and fail together; declare nodes on more hosts.",
            id="one host",
        ),
        pytest.param(
            {n: ("", "a" if n in (1, 4) else "b" if n in (2, 3) else "c") for n in range(1, 7)},
            "redis-1 and its replica redis-4 share the zone a although there are enough zones to keep them apart.",
            id="zone that could be avoided",
        ),
    ],
)
def test_placement_is_a_warning(places: dict[int, tuple[str, str]], expected: str) -> None:
    views = {n: replace(view_of(n), node=node(n, *places.get(n, ("", "")))) for n in range(1, 7)}
    view = merged(views)
    assert expected in sentences(view)
    assert view.healthy
    assert (view.errors, view.warnings) == ((), view.problems)


def test_a_warning_beside_an_error_is_still_a_warning() -> None:
    views = {n: replace(view_of(n), node=node(n, "h1")) for n in range(1, 6)}
    view = merged({**views, 6: down(6)})
    assert not view.healthy
    assert {problem.kind for problem in view.warnings} == {"placement"}
    assert "placement" not in {problem.kind for problem in view.errors}
    assert sorted(map(str, view.problems)) == sorted(map(str, view.errors + view.warnings))


def test_zones_do_not_matter_when_there_are_not_enough() -> None:
    views = {n: replace(view_of(n), node=node(n, "", "a")) for n in range(1, 7)}
    assert sentences(merged(views)) == []
