# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One run at a time, on real servers: what takes the lock, what loses it, and what never leaves one behind."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from servers import DISTRIBUTION, VERSIONS, Server, Servers

from ansible_collections.apiops.tyk_redis.plugins.module_utils._clock import Clock
from ansible_collections.apiops.tyk_redis.plugins.module_utils._cluster_lock import ClusterLock, LockRefused
from ansible_collections.apiops.tyk_redis.plugins.module_utils._cluster_view import DeclaredNode
from ansible_collections.apiops.tyk_redis.plugins.module_utils._redis_client import Credentials, RedisConnection

NAME = "apiops-tyk-redis-cluster"


def declared(servers: list[Server]) -> list[DeclaredNode]:
    ordered = sorted(servers, key=lambda server: server.address)
    return [
        DeclaredNode(f"redis-{number}", server.address, server.bus_port, server.address.host)
        for number, server in enumerate(ordered, start=1)
    ]


def connect(node: DeclaredNode) -> RedisConnection:
    return RedisConnection(node.address, timeout=2)


def names_on(server: Server) -> list[str]:
    lines = str(server.call("CLIENT", "LIST")).splitlines()
    names = [word.removeprefix("name=") for line in lines for word in line.split(" ") if word.startswith("name=")]
    return [name for name in names if name.startswith(NAME)]


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "It did not come true in time"
        time.sleep(0.02)


@pytest.fixture
def three(servers: Servers) -> list[Server]:
    return sorted((servers.start_server() for _number in range(3)), key=lambda server: server.address)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_second_is_refused_and_the_first_goes_on(servers: Servers, version: str) -> None:
    found = sorted((servers.start_server(version) for _number in range(3)), key=lambda server: server.address)
    nodes = declared(found)
    with ClusterLock(nodes, connect) as first:
        assert [len(names_on(server)) for server in found] == [1, 1, 1]
        second = ClusterLock(nodes[::-1], connect)
        with pytest.raises(LockRefused) as caught:
            second.acquire()
        message = str(caught.value)
        assert message.startswith(
            f"Another run is at work on this cluster: redis-1 ({found[0].address}) has a connection from 127.0.0.1:"
        )
        assert " s ago. Wait until that run has ended, then run again. If it is dead already, as when its" in message
        assert f" on {found[0].address} ends the connection at once." in message
        wait_until(lambda: [len(names_on(server)) for server in found] == [1, 1, 1])
        first.confirm()
    wait_until(lambda: [len(names_on(server)) for server in found] == [0, 0, 0])
    with ClusterLock(nodes, connect, threads=1) as third:
        third.confirm()
    with pytest.raises(LockRefused, match="does not hold the lock"):
        third.confirm()


def test_the_remedy_of_the_message_works(three: list[Server]) -> None:
    nodes = declared(three)
    held = ClusterLock(nodes[:1], connect)
    held.acquire()
    with pytest.raises(LockRefused) as caught:
        ClusterLock(nodes, connect).acquire()
    words = str(caught.value).split("CLIENT KILL ID ")[1].split(" ")
    assert three[0].call("CLIENT", "KILL", "ID", words[0]) == 1
    with ClusterLock(nodes, connect):
        pass
    held.release()


HOLDER = """
import json, sys, time
sys.path[:0] = json.loads(sys.argv[1])
from test_cluster_lock import ClusterLock, DeclaredNode, connect
from ansible_collections.apiops.tyk_redis.plugins.module_utils._redis_client import Address
nodes = [
    DeclaredNode(f"{host}:{port}", Address(host, port), port + 10000, host) for host, port in json.loads(sys.argv[2])
]
lock = ClusterLock(nodes, connect)
lock.acquire()
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def holder(three: list[Server]) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock on all three."""
    path = [str(Path(__file__).parent), *sys.path]
    addresses = [[server.address.host, server.address.port] for server in three]
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, json.dumps(path), json.dumps(addresses)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.wait()


def test_a_killed_run_leaves_no_lock(three: list[Server], holder: subprocess.Popen[str]) -> None:
    nodes = declared(three)
    with pytest.raises(LockRefused):
        ClusterLock(nodes, connect).acquire()
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    wait_until(lambda: [len(names_on(server)) for server in three] == [0, 0, 0])
    with ClusterLock(nodes, connect):
        assert [len(names_on(server)) for server in three] == [1, 1, 1]


def test_idle_connections_that_the_server_closes_are_taken_back(three: list[Server]) -> None:
    nodes = declared(three)
    for server in three:
        server.call("CONFIG", "SET", "timeout", 1)
    with ClusterLock(nodes, connect) as first:
        wait_until(lambda: [len(names_on(server)) for server in three] == [0, 0, 0])
        first.confirm()
        assert [len(names_on(server)) for server in three] == [1, 1, 1]
        with pytest.raises(LockRefused):
            ClusterLock(nodes, connect).acquire()
        wait_until(lambda: [len(names_on(server)) for server in three] == [0, 0, 0])
        for server in three:
            server.call("CONFIG", "SET", "timeout", 0)
        with ClusterLock(nodes, connect) as second:
            with pytest.raises(LockRefused) as caught:
                first.confirm()
            assert str(caught.value).startswith("The connection that held the lock on redis-1 "), caught.value
            assert "was closed, and another run got in. Another run is at work on this cluster: " in str(caught.value)
            first.release()
            second.confirm()


class Hurried(Clock):
    """Does not wait, and lets something happen meanwhile."""

    def __init__(self, meanwhile: Callable[[], object]) -> None:
        self._meanwhile = meanwhile
        self._time = 0.0

    def now(self) -> float:
        return self._time

    def sleep(self, seconds: float) -> None:
        self._time += seconds
        self._meanwhile()


def test_a_run_that_lost_its_connection_waits_for_the_decision_of_one_that_asks(three: list[Server]) -> None:
    nodes = declared(three)
    with three[0].connection() as asking:
        lock = ClusterLock(nodes, connect, clock=Hurried(asking.close))
        lock.acquire()
        asking.call("CLIENT", "SETNAME", f"{NAME}:00ff:asks")
        lock.confirm()
        three[0].call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        asking.close()
        asking.call("CLIENT", "SETNAME", f"{NAME}:00ff:asks")
        lock.confirm()
        lock.release()

        undecided = ClusterLock(nodes, connect, clock=Hurried(lambda: None))
        undecided.acquire()
        three[0].call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        asking.close()
        asking.call("CLIENT", "SETNAME", f"{NAME}:00ff:asks")
        with pytest.raises(LockRefused, match=r"another run got in\. Another run is just starting on this cluster: "):
            undecided.confirm()
        undecided.release()


def test_nodes_that_are_down_are_passed_over_but_one_must_answer(three: list[Server]) -> None:
    nodes = declared(three)
    three[0].kill()
    with ClusterLock(nodes, connect) as first:
        with pytest.raises(LockRefused, match="redis-2 "):
            ClusterLock(nodes, connect).acquire()
        three[1].kill()
        first.confirm()
        three[2].kill()
        with pytest.raises(LockRefused) as caught:
            first.confirm()
        assert str(caught.value).startswith(
            "Whether this run is still the only one cannot be confirmed, because none of the nodes on which it holds "
            "the lock answers: 127.0.0.1:"
        )
    with pytest.raises(LockRefused) as caught:
        ClusterLock(nodes, connect).acquire()
    assert str(caught.value) == (
        "Whether another run is at work on this cluster cannot be found out, because no node answers: "
        f"{three[0].address} refused the connection; start Redis there, and check the address and port it listens on."
    )


@pytest.mark.parametrize("version", [DISTRIBUTION, "redis-6.2"])
def test_a_user_that_may_not_ask_is_told_what_it_needs(servers: Servers, version: str) -> None:
    server = servers.start_server(
        version,
        acl=[
            "user default off",
            "user poor on >sesame ~* +@all -client|list" if version == DISTRIBUTION else "user poor on >sesame +info",
            "user able on >sesame +client|setname +client|getname +client|list",
        ],
        username="poor",
        password="sesame",
    )
    (node,) = declared([server])

    def connect_as(username: str) -> Callable[[DeclaredNode], RedisConnection]:
        return lambda node: RedisConnection(node.address, credentials=Credentials(username, "sesame"))

    with pytest.raises(LockRefused) as caught:
        ClusterLock([node], connect_as("poor")).acquire()
    command = "CLIENT LIST" if version == DISTRIBUTION else "CLIENT SETNAME"
    assert f"cannot be found out. The user 'poor' may not run {command} on {server.address} (" in str(caught.value)
    assert str(caught.value).endswith("The lock needs +client|setname, +client|getname and +client|list.")
    assert "sesame" not in str(caught.value)
    with ClusterLock([node], connect_as("able")) as lock:
        lock.confirm()


def acquired_at(lock: ClusterLock, start: threading.Barrier, held: list[ClusterLock]) -> None:
    """Try for the lock once all others do, and note it where it was got."""
    start.wait()
    try:
        lock.acquire()
    except LockRefused:
        return
    held.append(lock)


def test_of_two_that_start_at_the_same_moment_never_both_go_on(three: list[Server]) -> None:
    nodes = declared(three)
    outcomes: Counter[int] = Counter()
    for _round in range(100):
        locks = [ClusterLock(nodes, connect, threads=4) for _number in range(2)]
        start = threading.Barrier(2)
        held: list[ClusterLock] = []

        threads = [threading.Thread(target=acquired_at, args=(lock, start, held)) for lock in locks]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        outcomes[len(held)] += 1
        for lock in locks:
            lock.release()
        wait_until(lambda: [len(names_on(server)) for server in three] == [0, 0, 0])
    print(f"Held by one: {outcomes[1]}, by none: {outcomes[0]}")
    assert outcomes[2] == 0
    assert outcomes[1] > 0


def test_no_node_at_all() -> None:
    with pytest.raises(LockRefused, match=r"because no node answers: none is declared\."):
        ClusterLock([], connect).acquire()
