# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Answers that real servers give too seldom to wait for; tests/integration has the rest."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.apiops.tyk_redis.plugins.module_utils._failover import Failover, FailoverError
from ansible_collections.apiops.tyk_redis.plugins.module_utils._redis_client import (
    Address,
    RedisConnection,
    RedisProblem,
)

PRIMARY = Address("192.0.2.1", 6379)
REPLICA = Address("192.0.2.4", 6379)


class Played:
    """A connection that answers as it was told to."""

    def __init__(self, answers: t.Mapping[str, t.Any]) -> None:
        self._answers = answers
        self.asked: list[str] = []

    def __enter__(self) -> Played:
        return self

    def __exit__(self, *_exc_info: object) -> None:
        pass

    def call(self, *words: str) -> t.Any:
        self.asked.append(" ".join(words))
        answer = self._answers[self.asked[-1]]
        if isinstance(answer, RedisProblem):
            raise answer
        return answer


def failover(played: Played) -> Failover:
    return Failover(PRIMARY, lambda _address: t.cast(RedisConnection, played), 1)


def test_something_that_is_no_redis_is_named() -> None:
    played = Played({"INFO cluster": "# Cluster\r\ncluster_enabled:1\r\n", "CLUSTER NODES": "nonsense"})
    with pytest.raises(FailoverError) as caught:
        failover(played).successor(wait=False)
    assert str(caught.value).startswith(
        "192.0.2.1:6379 does not answer as a Redis or Valkey server does (CLUSTER NODES"
    )
    assert str(caught.value).endswith("; check what listens there.")


def test_a_user_that_may_not_is_told_at_once() -> None:
    forbidden = RedisProblem("acl", str(REPLICA), "The user 'x' may not run CLUSTER FAILOVER on 192.0.2.4:6379.")
    played = Played({"CLUSTER FAILOVER": forbidden})
    with pytest.raises(RedisProblem) as caught:
        failover(played).hand_over(REPLICA)
    assert caught.value is forbidden
    assert played.asked == ["CLUSTER FAILOVER"]


def test_a_replica_that_cannot_be_asked_or_is_catching_up_is_no_successor() -> None:
    nodes = (
        "aaaa 192.0.2.1:6379@16379 myself,master - 0 0 1 connected 0-16383\n"
        "bbbb 192.0.2.4:6379@16379 slave aaaa 0 0 1 connected\n"
    )
    answers = {"INFO cluster": "cluster_enabled:1", "CLUSTER NODES": nodes}
    silent = RedisProblem("timeout", str(REPLICA), "192.0.2.4:6379 did not answer.")
    syncing = "role:slave\r\nmaster_link_status:up\r\nmaster_sync_in_progress:1\r\nslave_repl_offset:1\r\n"
    for answer in (silent, syncing):
        with pytest.raises(FailoverError) as caught:
            failover(Played({**answers, "INFO replication": answer})).successor(wait=False)
        assert str(caught.value) == (
            "192.0.2.1:6379 is a primary with slots, and no replica of it is in sync and could take over:"
            " 192.0.2.4:6379. Nothing was stopped. Bring one back until its master_link_status is up, and run again."
        )
    in_sync = syncing.replace("progress:1", "progress:0")
    assert failover(Played({**answers, "INFO replication": in_sync})).successor(wait=False) == (True, REPLICA)


def test_a_replica_that_is_catching_up_is_waited_for() -> None:
    nodes = (
        "aaaa 192.0.2.1:6379@16379 myself,master - 0 0 1 connected 0-16383\n"
        "bbbb 192.0.2.4:6379@16379 slave aaaa 0 0 1 connected\n"
    )
    states = iter(["down", "down", "up"])

    class CatchingUp(Played):
        def call(self, *words: str) -> t.Any:
            if words == ("INFO", "replication"):
                return f"master_link_status:{next(states)}\r\nmaster_sync_in_progress:0\r\nslave_repl_offset:7\r\n"
            return super().call(*words)

    played = CatchingUp({"INFO cluster": "cluster_enabled:1", "CLUSTER NODES": nodes})
    assert failover(played).successor(wait=True) == (True, REPLICA)
    assert next(states, None) is None
