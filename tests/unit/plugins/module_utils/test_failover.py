# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who takes over and when, and answers that real servers give too seldom; tests/integration has the rest."""

from __future__ import annotations

import typing as t
from dataclasses import replace

import pytest

from ansible_collections.apiops.tyk_redis.plugins.module_utils import _failover_rules as rules
from ansible_collections.apiops.tyk_redis.plugins.module_utils._clock import Clock
from ansible_collections.apiops.tyk_redis.plugins.module_utils._cluster_view import parse_cluster_nodes
from ansible_collections.apiops.tyk_redis.plugins.module_utils._failover import Failover, FailoverError
from ansible_collections.apiops.tyk_redis.plugins.module_utils._redis_client import (
    Address,
    RedisConnection,
    RedisProblem,
)

PRIMARY = Address("192.0.2.1", 6379)
REPLICA = Address("192.0.2.4", 6379)
SECOND = Address("192.0.2.5", 6379)
NODES = (
    "aaaa 192.0.2.1:6379@16379 myself,master - 0 0 1 connected 0-16383\n"
    "bbbb 192.0.2.4:6379@16379 slave aaaa 0 0 1 connected\n"
)
INFO = "redis_version:7.0.15\r\nloading:0\r\n"
IN_SYNC = INFO + "role:slave\r\nmaster_link_status:up\r\nmaster_sync_in_progress:0\r\nslave_repl_offset:7\r\n"
LEADING = INFO + "role:master\r\nmaster_repl_offset:7\r\n"


class Played:
    """A server that answers as it was told to; each answer may be a function."""

    def __init__(self, answers: t.Mapping[str, t.Any]) -> None:
        self._answers = {
            "INFO cluster": "cluster_enabled:1",
            "CLUSTER NODES": NODES,
            "CLUSTER INFO": "cluster_state:ok",
            "CLIENT LIST TYPE master": "",
            "CONFIG GET cluster-node-timeout": ["cluster-node-timeout", "1000"],
            "CLUSTER MEET 192.0.2.4 6379": "OK",
            **answers,
        }
        self.asked: list[str] = []

    def call(self, *words: str) -> t.Any:
        (answer,) = self.pipeline([words])
        if isinstance(answer, RedisProblem):
            raise answer
        return answer

    def pipeline(self, commands: t.Sequence[t.Sequence[str]]) -> list[t.Any]:
        lines = [" ".join(map(str, words)) for words in commands]
        self.asked += lines
        answers = [self._answers[line] for line in lines]
        return [answer() if callable(answer) else answer for answer in answers]

    def close(self) -> None:
        pass


class Hurried(Clock):
    """Time that passes only when somebody waits."""

    def __init__(self) -> None:
        self.time = 0.0

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds


def failover(primary: Played, replica: Played, timeout: float = 1.0) -> Failover:
    played = {PRIMARY: primary, REPLICA: replica}
    return Failover(PRIMARY, lambda address: t.cast(RedisConnection, played[address]), timeout, Hurried(), threads=1)


def test_something_that_is_no_redis_is_named() -> None:
    with pytest.raises(FailoverError) as caught:
        failover(Played({"CLUSTER NODES": "nonsense"}), Played({})).successor(wait=False)
    assert str(caught.value).startswith(
        "192.0.2.1:6379 does not answer as a Redis or Valkey server does (CLUSTER NODES"
    )
    assert str(caught.value).endswith("; check what listens there.")


def test_a_user_that_may_not_is_told_at_once() -> None:
    forbidden = RedisProblem("acl", str(REPLICA), "The user 'x' may not run CLUSTER FAILOVER on 192.0.2.4:6379.")
    replica = Played({"INFO": IN_SYNC, "CLUSTER FAILOVER": forbidden})
    with pytest.raises(RedisProblem) as caught:
        failover(Played({"INFO": LEADING}), replica).hand_over(REPLICA)
    assert caught.value is forbidden
    assert replica.asked[-1] == "CLUSTER FAILOVER"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (RedisProblem("timeout", str(REPLICA), "192.0.2.4:6379 did not answer."), "cannot be asked"),
        (IN_SYNC.replace("progress:0", "progress:1"), "is still copying the primary's data"),
        (IN_SYNC.replace("status:up", "status:down"), "has no link to the primary"),
        (IN_SYNC.replace("loading:0", "loading:1"), "is still loading its data"),
        (IN_SYNC.replace("7.0.15", "7.0.14"), "runs redis 7.0.14, older than the primary's 7.0.15"),
        (LEADING, "is no replica any more"),
    ],
)
def test_a_replica_that_could_not_take_over_is_no_successor(answer: t.Any, reason: str) -> None:
    with pytest.raises(FailoverError) as caught:
        failover(Played({"INFO": LEADING}), Played({"INFO": answer})).successor(wait=False)
    assert str(caught.value) == (
        "192.0.2.1:6379 is a primary with slots, and no replica of it is in sync and could take over: 192.0.2.4:6379"
        f" {reason}. Nothing was changed. Bring one back until its master_link_status is up, and run again."
    )


def test_a_replica_that_is_catching_up_is_waited_for() -> None:
    states = iter(["down", "down", "up"])
    replica = Played({"INFO": lambda: IN_SYNC.replace("status:up", f"status:{next(states)}")})
    assert failover(Played({"INFO": LEADING}), replica).successor(wait=True) == (True, REPLICA)
    assert next(states, None) is None


def test_a_replica_far_behind_is_no_successor() -> None:
    ahead = LEADING.replace("offset:7", f"offset:{8 + rules.MOST_BYTES_BEHIND}")
    with pytest.raises(FailoverError, match="is 1048577 bytes behind"):
        failover(Played({"INFO": ahead}), Played({"INFO": IN_SYNC})).successor(wait=False)


def test_an_attempt_without_votes_is_not_repeated() -> None:
    requests = iter([0, 0, 1, 1])
    replica = Played(
        {
            "INFO": IN_SYNC,
            "ROLE": ["slave"],
            "CLUSTER FAILOVER": "OK",
            "CLUSTER INFO": lambda: f"cluster_stats_messages_auth-req_sent:{next(requests)}",
        }
    )
    with pytest.raises(FailoverError) as caught:
        failover(Played({"INFO": LEADING}), replica, timeout=60).hand_over(REPLICA)
    assert replica.asked.count("CLUSTER FAILOVER") == 1
    assert str(caught.value) == (
        "192.0.2.4:6379 did not take over from 192.0.2.1:6379 in time. The role was not handed over. A majority of the"
        " primaries must vote: look into the replica's log for why they did not, wait 4 times the"
        " cluster-node-timeout, and run again."
    )


def test_an_attempt_that_the_server_refuses_is_repeated_once() -> None:
    refusal = RedisProblem("error", str(REPLICA), "192.0.2.4:6379 says that its master is down.")
    replica = Played({"INFO": IN_SYNC, "ROLE": ["slave"], "CLUSTER FAILOVER": refusal})
    with pytest.raises(FailoverError, match=r"in time\. 192\.0\.2\.4:6379 says that its master is down\. The role was"):
        failover(Played({"INFO": LEADING}), replica, timeout=60).hand_over(REPLICA)
    assert replica.asked.count("CLUSTER FAILOVER") == 2


def test_who_took_over_instead_is_not_pushed_aside() -> None:
    follower = NODES.replace("myself,master - 0 0 1 connected 0-16383", "myself,slave cccc 0 0 1 connected")
    primary = Played({"INFO": IN_SYNC, "CLUSTER NODES": follower})
    with pytest.raises(FailoverError) as caught:
        failover(primary, Played({"INFO": IN_SYNC, "ROLE": ["slave"]})).hand_over(REPLICA)
    assert str(caught.value) == (
        "192.0.2.1:6379 is no primary with slots any more, but 192.0.2.4:6379 did not take over from it; somebody else"
        " changes this cluster too. Nothing was changed. Run again."
    )


def test_nodes_that_never_agree_are_named() -> None:
    swapped = (
        "aaaa 192.0.2.1:6379@16379 slave bbbb 0 0 2 connected\n"
        "bbbb 192.0.2.4:6379@16379 myself,master - 0 0 2 connected 0-16383\n"
    )
    behind = (
        "aaaa 192.0.2.1:6379@16379 myself,slave bbbb 0 0 1 connected\nbbbb 192.0.2.4:6379@16379 master - 0 0 1 c 0-5\n"
    )
    follows = "role:slave\r\nmaster_host:192.0.2.4\r\nmaster_port:6379\r\nmaster_link_status:up\r\n"
    primary = Played({"INFO": IN_SYNC, "CLUSTER NODES": behind, "INFO replication": follows})
    with pytest.raises(FailoverError) as caught:
        failover(primary, Played({"CLUSTER NODES": swapped, "ROLE": ["master"]})).hand_over(REPLICA)
    assert str(caught.value) == (
        "192.0.2.4:6379 has taken over from 192.0.2.1:6379, but after 1 s 192.0.2.1:6379 still did not agree with the"
        " others about roles, slots and epochs. Look into the logs, and go on with the next server only when all agree."
    )
    assert primary.asked.count("CLUSTER MEET 192.0.2.4 6379") == 1


def test_an_old_redis_is_told_of() -> None:
    old = LEADING.replace("7.0.15", "6.2.7")
    silent = RedisProblem("acl", str(PRIMARY), "not allowed")
    views = iter([NODES, NODES])
    primary = Played({"INFO": old, "CLUSTER NODES": lambda: next(views, silent)})
    follows = "role:slave\r\nmaster_host:192.0.2.4\r\nmaster_port:6379\r\nmaster_link_status:up\r\n"
    primary._answers["INFO replication"] = follows
    swapped = NODES.replace("myself,", "").replace("slave aaaa 0 0 1", "myself,master - 0 0 2")
    replica = Played(
        {
            "INFO": IN_SYNC.replace("7.0.15", "6.2.14"),
            "CLUSTER NODES": swapped,
            "ROLE": ["master"],
            "CLUSTER FAILOVER": "OK",
        }
    )
    handover = failover(primary, replica).hand_over(REPLICA)
    assert handover.warnings == (
        "192.0.2.1:6379 runs a Redis before 6.2.8, which goes on holding writes back for about 10 s after its role was"
        " handed over; upgrade it.",
        "Whether 192.0.2.1:6379 agreed that 192.0.2.4:6379 took over could not be asked: not allowed",
    )


def server(address: Address = REPLICA, **changes: t.Any) -> rules.Server:
    return replace(rules.read_server(address, IN_SYNC, "", " age=30 ", 15000), **changes)


def wait(primary: rules.Server, *replicas: rules.Server) -> float:
    return rules.candidate(primary, replicas[0], replicas, False).wait


def test_a_replica_that_was_elected_waits_four_node_timeouts() -> None:
    primary = server(PRIMARY, replica=False)
    assert wait(primary, server()) == 0
    assert wait(primary, server(elections=5)) == 30
    assert wait(primary, server(elections=5, link_age=60)) == 0
    assert wait(replace(primary, node_timeout=100), server(elections=5, link_age=1, node_timeout=100)) == 3
    for version, seconds in (((8, 0, 2), 30), ((8, 1), 0), ((9, 1, 2), 0)):
        assert wait(replace(primary, product="valkey", version=version), server(elections=5)) == seconds


def test_a_primary_that_had_lost_its_role_before_waits_for_the_voters() -> None:
    back = server(PRIMARY, replica=False, elections=5)
    young = server(link_age=4)
    assert wait(back, young) == 0
    assert wait(replace(back, handovers=1), young) == 26
    assert wait(back, young, server(SECOND, elections=5, link_age=10)) == 20
    assert wait(replace(back, handovers=1), young, server(SECOND, link_age=40)) == 0


def test_the_best_one() -> None:
    first = rules.Candidate(REPLICA, "", offset=10)
    second = rules.Candidate(SECOND, "", offset=11)
    assert rules.best([first, second]) == second
    assert rules.best([first, replace(second, wait=2.0)]) == first
    assert rules.best([replace(first, reluctant=True), replace(second, wait=2.0)]) == replace(second, wait=2.0)
    assert rules.best([replace(first, reluctant=True)]) == replace(first, reluctant=True)
    assert rules.best([replace(first, unfit="is gone")]) is None
    assert rules.best([]) is None


def test_of_the_dead_everybody_may_think_what_he_likes() -> None:
    dead = "cccc 192.0.2.6:6379@16379 slave,fail {} 0 0 1 connected\n"
    here = parse_cluster_nodes(NODES + dead.format("aaaa"))
    there = parse_cluster_nodes(
        (NODES + dead.format("bbbb")).replace("myself,", "").replace(" slave aaaa", " myself,slave aaaa")
    )
    assert rules.dissenters({PRIMARY: here, REPLICA: there}, PRIMARY) == []
    greeting = parse_cluster_nodes(NODES + "dddd 192.0.2.4:6379@16379 handshake - 0 0 0 connected\n")
    assert rules.dissenters({PRIMARY: greeting, REPLICA: there}, PRIMARY) == [PRIMARY]
    changed = tuple(replace(line, epoch=9) for line in there)
    assert rules.dissenters({PRIMARY: here, REPLICA: changed}, PRIMARY) == [REPLICA]
