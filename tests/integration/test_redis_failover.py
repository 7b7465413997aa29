# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Handing the role of a primary over, on real clusters, and every reason not to."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
import redis
from conftest import RunModule, declared
from servers import DISTRIBUTION, Server, Servers

from ansible_collections.apiops.tyk_redis.plugins.module_utils._failover import Failover, FailoverError
from ansible_collections.apiops.tyk_redis.plugins.module_utils._redis_client import (
    Address,
    Credentials,
    RedisConnection,
    RedisProblem,
)

PASSWORD = "only for this test"


class Cluster:
    """Servers as a cluster with one replica for each primary, and what they say about themselves."""

    def __init__(self, servers: Servers, run_module: RunModule, count: int, replicas: int, **options: Any) -> None:
        self.servers = [servers.start_server(password=PASSWORD, **options) for _number in range(count)]
        made = run_module(
            "redis_cluster",
            nodes=declared(self.servers),
            replicas_per_primary=replicas,
            node_timeout=15000,
            timeout=30,
            password=PASSWORD,
        )
        assert made.get("changed") is True, made
        self.by_address = {str(server.address): server for server in self.servers}
        self.replicas_of: dict[str, list[str]] = {}
        for node in made["cluster"]["nodes"]:
            self.replicas_of.setdefault(node["primary"] or node["address"], []).extend(
                [node["address"]] if node["primary"] else []
            )
        self.primaries = sorted(self.replicas_of)

    def roles(self) -> dict[str, str]:
        return {address: role_of(server) for address, server in self.by_address.items()}


def role_of(server: Server) -> str:
    role = server.call("ROLE")
    assert isinstance(role, list)
    return f"replica of {role[1]}:{role[2]}" if role[0] == "slave" else "primary"


@pytest.fixture
def form(servers: Servers, run_module: RunModule) -> Callable[..., Cluster]:
    def make(count: int = 6, replicas: int = 1, **options: Any) -> Cluster:
        return Cluster(servers, run_module, count, replicas, **options)

    return make


Hand = Callable[..., dict[str, Any]]


@pytest.fixture
def hand_over(run_module: RunModule) -> Hand:
    """Run the module for one server."""

    def run(server: Server, *, check: bool = False, **options: Any) -> dict[str, Any]:
        options = {"password": PASSWORD, "timeout": 30, **options}
        return run_module(
            "redis_failover", check=check, address=server.address.host, port=server.address.port, **options
        )

    return run


def outcome(result: dict[str, Any]) -> tuple[bool, bool, str]:
    assert "failed" not in result, result
    assert (result["milliseconds"] == 0) or result["changed"]
    return result["changed"], result["alone"], result["successor"]


class Writer:
    """A client of the cluster that counts up, and remembers what was acknowledged."""

    def __init__(self, address: Address, name: str) -> None:
        self._client = redis.RedisCluster(
            host=address.host, port=address.port, password=PASSWORD, socket_timeout=10, decode_responses=True
        )
        self._names = [f"counter-{name}-{number}" for number in range(60)]
        self._acknowledged = dict.fromkeys(self._names, 0)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work)
        self.rounds = 0
        self.errors: list[Exception] = []

    def __enter__(self) -> Writer:
        self._thread.start()
        return self

    def __exit__(self, *_exc_info: object) -> None:
        self._stopped.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._stopped.is_set():
            for name in self._names:
                try:
                    self._acknowledged[name] = self._client.incr(name)
                except (redis.RedisError, OSError) as exc:
                    self.errors.append(exc)
            self.rounds += 1

    def wait_for_rounds(self, count: int) -> None:
        goal = self.rounds + count
        deadline = time.monotonic() + 20
        while self.rounds < goal:
            assert time.monotonic() < deadline, self.errors
            time.sleep(0.01)

    def lost(self) -> dict[str, tuple[int, int]]:
        """Counters that are behind what was acknowledged."""
        found = {name: int(self._client.get(name)) for name in self._names}
        return {n: (found[n], self._acknowledged[n]) for n in self._names if found[n] < self._acknowledged[n]}


def agreed(cluster: Cluster) -> bool:
    """Whether all nodes say the same about roles, epochs and slots."""
    views = set()
    for server in cluster.servers:
        lines = [line.split() for line in str(server.call("CLUSTER", "NODES")).splitlines()]
        views.add(tuple(sorted((w[0], "master" in w[2], w[3], w[6], *w[8:]) for w in lines)))
    return len(views) == 1


@pytest.mark.parametrize("version", [DISTRIBUTION, "redis-6.2", "redis-8.2", "valkey-9.1"])
def test_four_runs_hand_the_role_over_once(form: Callable[..., Cluster], hand_over: Hand, version: str) -> None:
    cluster = form(version_name=version)
    chosen = cluster.primaries[0]
    primary = cluster.by_address[chosen]
    (heir,) = cluster.replicas_of[chosen]
    before = cluster.roles()
    slots = str(primary.call("CLUSTER", "SLOTS"))

    assert outcome(hand_over(primary, check=True)) == (True, False, heir)
    assert cluster.roles() == before
    assert str(primary.call("CLUSTER", "SLOTS")) == slots

    writers = [Writer(primary.address, name) for name in "abcd"]
    with ExitStack() as running:
        for writer in writers:
            running.enter_context(writer)
            writer.wait_for_rounds(3)
        assert outcome(hand_over(primary)) == (True, False, heir)
        assert agreed(cluster)
        for writer in writers:
            writer.wait_for_rounds(3)
    assert [writer.errors for writer in writers] == [[], [], [], []]
    assert [writer.lost() for writer in writers] == [{}, {}, {}, {}]
    assert cluster.roles() == {**before, heir: "primary", chosen: f"replica of {heir}"}
    assert "master_link_status:up" in str(primary.call("INFO", "replication"))

    for check in (True, False):
        assert outcome(hand_over(primary, check=check)) == (False, False, "")
    assert cluster.roles() == {**before, heir: "primary", chosen: f"replica of {heir}"}


@contextmanager
def stopped(servers: Sequence[Server]) -> Iterator[None]:
    """As when machines freeze: nothing is answered, nothing is closed."""
    for server in servers:
        server.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for server in servers:
            server.process.send_signal(signal.SIGCONT)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "It did not come true in time"
        time.sleep(0.05)


def link_of(server: Server) -> bool:
    return "master_link_status:up" in str(server.call("INFO", "replication"))


def test_a_primary_without_a_replica_is_left_alone(form: Callable[..., Cluster], hand_over: Hand) -> None:
    cluster = form(count=3, replicas=0)
    before = cluster.roles()
    for check in (True, False):
        assert outcome(hand_over(cluster.servers[0], check=check)) == (False, True, "")
    assert cluster.roles() == before


def test_only_a_replica_in_sync_is_chosen(form: Callable[..., Cluster], hand_over: Hand) -> None:
    cluster = form(count=7)
    chosen = next(address for address, replicas in cluster.replicas_of.items() if len(replicas) == 2)
    primary = cluster.by_address[chosen]
    before = cluster.roles()
    first = hand_over(primary, check=True)["successor"]
    (second,) = (address for address in cluster.replicas_of[chosen] if address != first)
    assert first in cluster.replicas_of[chosen]

    cluster.by_address[first].call("CONFIG", "SET", "masterauth", "wrong")
    primary.call("CLIENT", "KILL", "TYPE", "replica")
    wait_until(lambda: link_of(cluster.by_address[second]) and not link_of(cluster.by_address[first]))
    assert outcome(hand_over(primary, check=True)) == (True, False, second)

    cluster.by_address.pop(second).kill()
    for check in (True, False):
        refused = hand_over(primary, check=check, timeout=1)
        assert refused["failed"] is True
        assert (
            f"{chosen} is a primary with slots, and no replica of it is in sync and could take over: " in refused["msg"]
        )
        assert first in refused["msg"] and second in refused["msg"]
    del before[second]
    assert cluster.roles() == before

    cluster.by_address[first].call("CONFIG", "SET", "masterauth", PASSWORD)
    wait_until(lambda: link_of(cluster.by_address[first]))
    assert outcome(hand_over(primary)) == (True, False, first)
    assert cluster.roles() == {**before, first: "primary", chosen: f"replica of {first}"}


@pytest.mark.parametrize("cluster_mode", [True, False])
def test_without_slots_there_is_nothing_to_hand_over(servers: Servers, hand_over: Hand, cluster_mode: bool) -> None:
    server = servers.start_server(cluster=cluster_mode, password=PASSWORD)
    for check in (True, False):
        assert outcome(hand_over(server, check=check)) == (False, False, "")
    assert role_of(server) == "primary"


def test_a_wrong_password_changes_nothing(form: Callable[..., Cluster], hand_over: Hand) -> None:
    cluster = form()
    before = cluster.roles()
    primary = cluster.by_address[cluster.primaries[0]]
    for check in (True, False):
        result = hand_over(primary, check=check, username="default", password="sesame")
        assert result["failed"] is True
        assert f"{primary.address} does not accept the password of the user 'default'" in result["msg"]
        assert "sesame" not in json.dumps({**result, "invocation": {}})
    assert cluster.roles() == before


def test_without_a_majority_the_primary_stays_one(form: Callable[..., Cluster], hand_over: Hand) -> None:
    cluster = form()
    before = cluster.roles()
    chosen, *others = cluster.primaries
    primary = cluster.by_address[chosen]
    (heir,) = cluster.replicas_of[chosen]
    with stopped([cluster.by_address[address] for address in others]):
        result = hand_over(primary, timeout=2)
        assert result["failed"] is True
        assert result["msg"].startswith(
            f"{heir} cannot take over from {chosen}, because 2 of the 3 primaries with slots must vote for it, and 127"
        )
        assert all(f"{address} does not answer" in result["msg"] for address in others)
        assert result["msg"].endswith(". Bring them back, and run again. Nothing was changed.")
        assert role_of(primary) == "primary"
        assert role_of(cluster.by_address[heir]) == f"replica of {chosen}"
        # Nothing was begun, so no write is held back.
        assert "mfstart" not in str(primary.call("CLUSTER", "INFO"))
    assert outcome(hand_over(primary)) == (True, False, heir)
    assert cluster.roles() == {**before, heir: "primary", chosen: f"replica of {heir}"}


def opener(address: Address) -> RedisConnection:
    return RedisConnection(address, credentials=Credentials(None, PASSWORD), timeout=1)


def test_what_happens_between_the_choice_and_the_handing_over(form: Callable[..., Cluster]) -> None:
    cluster = form(extra=["cluster-replica-no-failover yes"])
    before = cluster.roles()
    chosen = cluster.primaries[0]
    primary = cluster.by_address[chosen]
    (heir,) = cluster.replicas_of[chosen]
    replica = cluster.by_address[heir]
    other = cluster.by_address[cluster.primaries[1]]

    # Its only replica is better than none, although it is not to take over by itself.
    assert "nofailover" in str(primary.call("CLUSTER", "NODES"))
    assert Failover(primary.address, opener, 1).successor(wait=True) == (True, replica.address)
    with stopped([primary]):
        with pytest.raises(RedisProblem) as problem:
            Failover(primary.address, opener, 1).hand_over(replica.address)
        assert str(problem.value).startswith(f"{chosen} did not answer within 1 s; ")
        assert role_of(replica) == f"replica of {chosen}"
    with pytest.raises(FailoverError) as refused:
        Failover(primary.address, opener, 1).hand_over(other.address)
    assert str(refused.value) == (
        f"{other.address} cannot take over, because it is no replica of {chosen}. Nothing was changed."
    )
    assert cluster.roles() == before

    # Somebody else is faster, and the old primary freezes as it is about to follow.
    wait_until(lambda: link_of(replica))
    replica.call("CLUSTER", "FAILOVER")
    wait_until(lambda: role_of(replica) == "primary" and role_of(primary) != "primary")
    frozen = Failover(primary.address, opener, 1)
    with stopped([primary]), pytest.raises(FailoverError) as caught:
        frozen._await_follower(replica.address)
    assert str(caught.value).startswith(
        f"{heir} has taken over from {chosen}, but the latter does not follow it yet."
        f" {chosen} did not answer within 1 s; "
    )
    Failover(primary.address, opener, 20).hand_over(replica.address)
    assert cluster.roles() == {**before, heir: "primary", chosen: f"replica of {heir}"}


@pytest.mark.parametrize("version", [DISTRIBUTION, "redis-8.2", "valkey-8.1"])
def test_the_role_comes_and_goes_without_a_false_election(
    form: Callable[..., Cluster], hand_over: Hand, version: str
) -> None:
    cluster = form(version_name=version)
    before = cluster.roles()
    chosen = cluster.primaries[0]
    primary = cluster.by_address[chosen]
    (heir,) = cluster.replicas_of[chosen]
    replica = cluster.by_address[heir]
    assert outcome(hand_over(primary)) == (True, False, heir)
    assert outcome(hand_over(replica)) == (True, False, chosen)
    assert cluster.roles() == before

    if version == "valkey-8.1":
        assert outcome(hand_over(primary)) == (True, False, heir)
        return
    # The replica was elected moments ago. An attempt now would let it count its old votes.
    refused = hand_over(primary, timeout=3)
    assert refused["msg"].startswith(
        f"{heir} or {chosen} took part in an election a short while ago. Servers before Valkey 8.1 fail when they are"
        " asked for another one within 4 times their cluster-node-timeout, and hold writes back for 5 s. Run again in "
    )
    assert refused["msg"].endswith(" s, or give more time. Nothing was changed.")
    assert "mfstart_received:1" in str(primary.call("CLUSTER", "INFO"))
    assert cluster.roles() == before
    for server in cluster.servers:
        server.call("CONFIG", "SET", "cluster-node-timeout", 1000)
    assert outcome(hand_over(primary)) == (True, False, heir)
    assert agreed(cluster)
    assert cluster.roles() == {**before, heir: "primary", chosen: f"replica of {heir}"}
