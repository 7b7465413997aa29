# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The proof of what a component's user may do and may not do, on real servers, and that asking harms nothing."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest
from servers import VERSIONS, Server
from tyk_checks import (
    TYK_PASSWORD,
    Run,
    Start,
    assert_no_key,
    calls_of,
    checker,
    info,
    let_in,
    make_cluster,
    one_problem,
    started,
    storage_of,
)

from ansible_collections.apiops.tyk_redis.plugins.module_utils._redis_client import RedisProblem
from ansible_collections.apiops.tyk_redis.plugins.module_utils._redis_probe import Probe, ProbeResult
from ansible_collections.apiops.tyk_redis.plugins.module_utils._redis_rights import (
    forbidden_questions,
    needed_commands,
    questions_inside_multi,
)
from ansible_collections.apiops.tyk_redis.plugins.module_utils._tyk_acl import RIGHTS
from ansible_collections.apiops.tyk_redis.plugins.module_utils._tyk_effective import read
from ansible_collections.apiops.tyk_redis.plugins.module_utils._tyk_settings import COMPONENTS

FORBIDDEN = {
    "acl|list", "cluster|reset", "config|get", "debug", "flushall", "flushdb", "keys", "module|list", "replicaof",
    "shutdown", "swapdb",
}  # fmt: skip


@pytest.fixture(name="start", scope="module")
def fixture_start(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Start]:
    with started(tmp_path_factory.mktemp("servers")) as start:
        yield start


@pytest.fixture(name="cluster", scope="module")
def fixture_shared_cluster(start: Start) -> list[Server]:
    return make_cluster(start)


@pytest.fixture(name="nodes")
def fixture_nodes(cluster: list[Server]) -> t.Iterator[list[Server]]:
    """The cluster, whose users are as before after the test."""
    yield cluster
    for server in cluster:
        let_in(server)


@pytest.fixture(name="check")
def fixture_check(tmp_path: Path, run_module: Run) -> Run:
    return checker(tmp_path, run_module)


def probe(component: str, server: Server, *, cluster: bool = True, **options: t.Any) -> ProbeResult:
    """Run the probe itself on a configuration of any component, written by its table."""
    settings = COMPONENTS[component].settings
    document: dict[str, t.Any] = {}
    values = {
        "type": "redis",
        "addresses": [str(server.address)],
        "cluster": cluster,
        "username": "tyk",
        "password": TYK_PASSWORD,
    }
    for logical, value in values.items():
        if logical in settings:
            *above, last = settings[logical].path
            place = document
            for part in above:
                place = place.setdefault(part, {})
            place[last] = value
    effective = read(COMPONENTS[component], "/opt/tyk.conf", json.dumps(document).encode(), {}, ())
    return Probe(effective, **{"timeout": 5, "write": True, **options}).run()


# --- asking harms nothing ---


@pytest.mark.parametrize("in_cluster", [True, False], ids=["cluster", "standalone"])
@pytest.mark.parametrize("version", VERSIONS)
def test_forbidden_words_do_nothing_even_outside_of_a_transaction(start: Start, version: str, in_cluster: bool) -> None:
    switches = () if version.startswith("redis-6") else ("enable-debug-command yes",)
    server = start(*switches, version_name=version, cluster=in_cluster)
    server.call("SET", "precious", "value")
    kept = ("ACL LIST", "CONFIG GET *", *(["CLUSTER MYID", "CLUSTER SLOTS"] if in_cluster else []))
    before = [server.call(*words.split()) for words in kept]
    questions = forbidden_questions(RIGHTS["pump"], "stray")
    assert {question.word for question in questions} == {*FORBIDDEN, "~*"}
    with server.connection() as connection:
        for question in questions:
            # An error about its operands, or a reply that shows something; never one that says that it was done.
            (reply,) = connection.pipeline([question.words])
            assert isinstance(reply, RedisProblem) or reply == 0 or isinstance(reply, list), question
        assert connection.call("GET", "precious") == "value" and connection.call("DBSIZE") == 1
    assert server.process.poll() is None
    assert [server.call(*words.split()) for words in kept] == before
    assert "role:master" in info(server, "INFO", "replication")


@pytest.mark.parametrize("version", VERSIONS)
def test_every_sample_is_taken_into_a_transaction(start: Start, version: str) -> None:
    server = start(version_name=version)
    for rights in RIGHTS.values():
        commands = needed_commands(rights, cluster=True, database=1)
        questions = questions_inside_multi(rights, commands, f"{rights.probe_prefix}x", "stray", 0)
        with server.connection() as connection:
            connection.call("MULTI")
            replies = connection.pipeline([question.words for question in questions])
            assert dict(zip(questions, replies)) == dict.fromkeys(questions, "QUEUED")
            connection.call("DISCARD")
    assert_no_key([server])


def test_almighty_user_changes_nothing_by_being_asked(check: Run, start: Start) -> None:
    server = start("enable-debug-command yes")
    server.call("SET", "precious", "value")
    server.call("ACL", "SETUSER", "tyk", "+@all", "allkeys", "allchannels")
    server.call("CONFIG", "RESETSTAT")
    result = check(storage_of(server), check_mode=True)
    assert result["healthy"] is True
    # Since 7.0 a transaction takes no SHUTDOWN from anybody, so that nothing is learnt about it.
    assert result["rights"]["excess"] == sorted(FORBIDDEN - {"shutdown"}) and result["rights"]["missing"] == []
    assert result["rights"]["unproved"] == ["shutdown"]
    assert [calls_of(server, word) for word in sorted(FORBIDDEN)] == [0] * len(FORBIDDEN)
    assert [calls_of(server, word) for word in ("multi", "set", "del", "rpush", "eval")] == [1, 0, 0, 0, 0]
    assert server.call("GET", "precious") == "value" and server.call("DBSIZE") == 1


# --- users as they should be ---


@pytest.mark.parametrize("component", COMPONENTS)
@pytest.mark.parametrize("version", VERSIONS)
def test_least_privilege_is_enough_and_not_too_much(start: Start, version: str, component: str) -> None:
    for in_cluster in (True, False):
        server = start(version_name=version, cluster=in_cluster)
        let_in(server, component)
        result = probe(component, server, cluster=in_cluster, least_privilege=True)
        assert result.problems == [] and result.remarks == []
        assert [(entry["role"], entry["wrote"]) for entry in result.reached] == [("primary", True)]
        assert result.rights["missing"] == [] and result.rights["excess"] == []
        expected = FORBIDDEN | ({"~*"} if component == "pump" else set())
        assert {*result.rights["refused"], *result.rights["unproved"]} == expected
        assert result.rights["unproved"] in ([], ["shutdown"])
        assert {f"~{pattern}" for pattern in RIGHTS[component].keys} <= set(result.rights["allowed"])
        assert_no_key([server])


def test_pump_reads_replicas_and_writes_primaries_without_get(check: Run, nodes: list[Server]) -> None:
    for server in nodes:
        let_in(server, "pump")
        server.call("CONFIG", "RESETSTAT")
        server.call("ACL", "LOG", "RESET")
    result = check(storage_of(*nodes), component="pump", least_privilege=["main"])
    assert result["problems"] == [] and not any("The user" in remark for remark in result["remarks"])
    assert [entry["wrote"] for entry in result["reached"]] == [True] * 3 + [False] * 3
    for server in nodes[:3]:
        assert [calls_of(server, command) for command in ("set", "expire", "del", "get")] == [1, 1, 1, 0]
    for server in nodes[3:]:
        assert [calls_of(server, command) for command in ("readonly", "lrange")] == [1, 1]
    # What was refused is what has to be, and INFO.
    logged = {
        str(dict(zip(entry[::2], entry[1::2]))["object"]) for entry in t.cast("t.Any", nodes[3].call("ACL", "LOG", 100))
    }
    assert {name.partition("|")[0] for name in logged} - {word.partition("|")[0] for word in FORBIDDEN} == {
        "info", *(name for name in logged if name.endswith("-tyk-redis-check"))
    }  # fmt: skip
    assert_no_key(nodes)


# --- rights that lack ---


@pytest.mark.parametrize("number", [pytest.param(1, id="a primary"), pytest.param(4, id="a replica")])
def test_right_that_lacks_on_one_node(check: Run, nodes: list[Server], number: int) -> None:
    nodes[number].call("ACL", "SETUSER", "tyk", "-zadd", "-evalsha")
    result = check(storage_of(*nodes))
    assert one_problem(result).startswith(
        f"The user 'tyk' may not run ZADD and EVALSHA on {nodes[number].address}, which Tyk Gateway needs (Tyk Gateway "
        "takes the user from file:"
    )
    assert result["problems"][0].endswith("; extend its ACL rules there, for example with the module redis_acl_user.")
    assert result["rights"]["missing"] == ["evalsha", "zadd"] and "zcard" in result["rights"]["allowed"]
    assert_no_key(nodes)


def test_right_that_lacks_everywhere_is_one_sentence(check: Run, nodes: list[Server]) -> None:
    for server in nodes:
        server.call("ACL", "SETUSER", "tyk", "-set")
    result = check(storage_of(*nodes))
    addresses = sorted(str(server.address) for server in nodes)
    listed = f"{', '.join(addresses[:-1])} and {addresses[-1]}"
    assert one_problem(result).startswith(f"The user 'tyk' may not run SET on {listed}, which Tyk Gateway needs")
    assert [entry["wrote"] for entry in result["reached"]] == [False] * 6


def test_subcommand_that_lacks_is_named_whole(check: Run, nodes: list[Server]) -> None:
    nodes[2].call("ACL", "SETUSER", "tyk", "-cluster|slots")
    assert one_problem(check(storage_of(*nodes[:1]))).startswith(
        f"The user 'tyk' may not run CLUSTER SLOTS on {nodes[2].address}, which"
    )


def test_key_that_lacks(check: Run, nodes: list[Server]) -> None:
    for server in nodes:
        let_in(server, "pump")
    nodes[3].call(
        "ACL", "SETUSER", "tyk", "resetkeys", "~analytics-tyk-system-analytics*", "%R~host-checker:tyk-uptime-analytics"
    )
    result = check(storage_of(*nodes), component="pump")
    assert one_problem(result).startswith(
        "The user 'tyk' may not use the keys ~host-checker:tyk-uptime-analytics and ~version-check-pump on "
        f"{nodes[3].address}, which Tyk Pump needs"
    )
    assert result["rights"]["missing"] == ["~host-checker:tyk-uptime-analytics", "~version-check-pump"]


def test_channel_that_lacks(check: Run, nodes: list[Server]) -> None:
    nodes[0].call("ACL", "SETUSER", "tyk", "resetchannels", "&dashboard.ui.messages")
    result = check(storage_of(*nodes))
    assert one_problem(result).startswith(
        f"The user 'tyk' may not use the channels &tyk.cluster.notifications on {nodes[0].address}, which Tyk Gateway"
    )
    assert "&dashboard.ui.messages" in result["rights"]["allowed"]


def test_subscribing_that_lacks(check: Run, nodes: list[Server]) -> None:
    nodes[0].call("ACL", "SETUSER", "tyk", "-subscribe", "-exec", "-discard")
    assert one_problem(check(storage_of(*nodes))).startswith(
        f"The user 'tyk' may not run EXEC, DISCARD and SUBSCRIBE on {nodes[0].address}, which Tyk Gateway needs"
    )


def test_published_messages_do_not_disturb(check: Run, nodes: list[Server]) -> None:
    """Nothing arrives on the channels of Tyk, and nothing that arrives there is taken for an answer."""
    with nodes[0].connection() as listener:
        listener.call("SUBSCRIBE", "tyk.cluster.notifications")
        assert check(storage_of(*nodes))["healthy"] is True
        assert nodes[0].call("PUBLISH", "tyk.cluster.notifications", "the first") == 1
        assert listener.pipeline([("PING",)]) == [["message", "tyk.cluster.notifications", "the first"]]


def test_command_that_the_server_does_not_have(check: Run, start: Start) -> None:
    server = start('rename-command LTRIM ""', 'rename-command FLUSHALL ""', 'rename-command KEYS "hidden"')
    server.call("ACL", "SETUSER", "tyk", "+@all")
    result = check(storage_of(server))
    assert one_problem(result) == (
        f"The commands LTRIM do not exist or are switched off on {server.address}, but Tyk Gateway needs them; use a "
        "Redis that has them."
    )
    assert {"flushall", "keys", "debug"} <= set(result["rights"]["refused"])
    assert "flushdb" in result["rights"]["excess"] and result["rights"]["missing"] == ["ltrim"]


def test_replica_whose_user_may_not_ask_for_reads(check: Run, nodes: list[Server]) -> None:
    for server in nodes[4:]:
        server.call("ACL", "SETUSER", "tyk", "-readonly")
    result = check(storage_of(*nodes), least_privilege=["main"])
    assert result["problems"] == [] and len(result["reached"]) == 6
    first, second = sorted(str(server.address) for server in nodes[4:])
    assert result["remarks"] == [
        f"The user 'tyk' may not run READONLY on {first} and {second}, so that a read there was only redirected to the "
        "right primary; to have replicas read by this check, allow it."
    ]


def test_transactions_that_are_refused(check: Run, nodes: list[Server]) -> None:
    nodes[5].call("ACL", "SETUSER", "tyk", "-multi")
    result = check(storage_of(*nodes))
    assert one_problem(result).startswith(f"The user 'tyk' may not run MULTI on {nodes[5].address}, which Tyk Gateway")
    (remark,) = result["remarks"]
    assert remark.startswith(
        f"What the user 'tyk' may do on {nodes[5].address} could not be proved, because MULTI was refused there (NOPERM"
    )
    assert remark.endswith("; allow it MULTI and DISCARD, or compare its ACL rules yourself.")
    assert "flushall" in result["rights"]["unproved"] and result["rights"]["refused"] == []
    assert len(check(storage_of(*nodes), least_privilege=["main"])["problems"]) == 2
    assert_no_key(nodes)


# --- rights in excess ---


def test_excess_is_a_remark_and_a_problem_only_on_demand(check: Run, nodes: list[Server]) -> None:
    for server in nodes[1:3]:
        server.call("ACL", "SETUSER", "tyk", "+flushall", "+config|get")
    result = check(storage_of(*nodes))
    first, second = sorted(str(server.address) for server in nodes[1:3])
    sentence = (
        f"The user 'tyk' may run FLUSHALL and CONFIG GET on {first} and {second}, which Tyk Gateway has no need of; "
        "give it only the rights that it needs, for example with the module redis_acl_user."
    )
    assert result["problems"] == [] and result["remarks"] == [sentence]
    assert result["rights"]["excess"] == ["config|get", "flushall"]
    assert one_problem(check(storage_of(*nodes), least_privilege=["main"])) == sentence


def test_keys_of_others(check: Run, nodes: list[Server]) -> None:
    for server in nodes:
        let_in(server, "pump")
    nodes[4].call("ACL", "SETUSER", "tyk", "allkeys")
    assert one_problem(check(storage_of(*nodes), component="pump", least_privilege=["main"])) == (
        f"The user 'tyk' may use keys on {nodes[4].address} that are not those of Tyk Pump; limit it to "
        "~analytics-tyk-system-analytics*, ~host-checker:tyk-uptime-analytics and ~version-check-pump, for example "
        "with the module redis_acl_user."
    )


@pytest.mark.parametrize("component", ["dashboard", "mdcb"])
def test_broad_user_that_may_too_much(start: Start, component: str) -> None:
    server = start()
    let_in(server, component)
    server.call("ACL", "SETUSER", "tyk", "+keys", "-info")
    result = probe(component, server, least_privilege=True)
    title = COMPONENTS[component].title
    assert [sentence.partition(";")[0] for sentence in result.problems] == [
        f"The user 'tyk' may not run INFO on {server.address}, which {title} needs (Tyk "
        f"{title[4:]} takes the user from file:/opt/tyk.conf)",
        f"The user 'tyk' may run KEYS on {server.address}, which {title} has no need of",
    ]
