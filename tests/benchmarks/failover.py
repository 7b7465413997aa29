# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hand over the role of all primaries, one after the other, while clients write; and what they notice of it.

    PYTHONPATH=... python tests/benchmarks/failover.py [--version redis-7.0] [--rounds 5]

Each round forms 3 primaries with a replica each and hands all three roles over: once, or there, back and there again.
The figure is the longest time between two acknowledged writes of one client. Ours is Failover as the module uses it.
The peer is what a shell loop does: `CLUSTER FAILOVER` to each replica in turn as redis-cli sends it, waiting only for
the reply; how many roles are where they were to go at the end is in the table. Four redis-py cluster clients count up,
and a sequential client on bare sockets, which follows MOVED, writes to one shard after the other; at the end every
counter is compared with what was acknowledged.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import redis

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "integration"))

from servers import DISTRIBUTION, Server, Servers, server_binary

from ansible_collections.apiops.tyk_redis.plugins.module_utils._failover import Failover
from ansible_collections.apiops.tyk_redis.plugins.module_utils._redis_client import (
    Address,
    RedisConnection,
    RedisProblem,
)

PRIMARIES = 3
SLOTS = 16384
# Short, so that the servers' rule of four node timeouts does not make a round last minutes.
NODE_TIMEOUT = 2000
COURSES = {1: "all primaries once", 3: "there, back and there"}


def form(servers: Servers, version: str) -> tuple[list[Server], list[Server]]:
    """Three primaries, and the replica of each."""
    nodes = [
        servers.start_server(version, extra=[f"cluster-node-timeout {NODE_TIMEOUT}"])
        for _number in range(2 * PRIMARIES)
    ]
    primaries, replicas = nodes[:PRIMARIES], nodes[PRIMARIES:]
    for number, node in enumerate(nodes, start=1):
        node.call("CLUSTER", "SET-CONFIG-EPOCH", number)
    bounds = [SLOTS * number // PRIMARIES for number in range(PRIMARIES + 1)]
    for primary, first, end in zip(primaries, bounds, bounds[1:], strict=False):
        primary.call("CLUSTER", "ADDSLOTS", *range(first, end))
    for node in nodes:
        for peer in nodes:
            if peer is not node:
                node.call("CLUSTER", "MEET", peer.address.host, peer.address.port)
    wait_until(lambda: all("handshake" not in view and view.count("\n") == len(nodes) for view in views(nodes)))
    for replica, primary in zip(replicas, primaries, strict=True):
        replica.call("CLUSTER", "REPLICATE", str(primary.call("CLUSTER", "MYID")))
    wait_until(lambda: settled(nodes))
    return primaries, replicas


def views(nodes: Sequence[Server]) -> list[str]:
    return [str(node.call("CLUSTER", "NODES")) for node in nodes]


def settled(nodes: Sequence[Server]) -> bool:
    """Whether all nodes agree, half of them are replicas, and these are in sync."""
    opinions = {
        tuple(sorted((w[0], "master" in w[2], w[3], w[6], *w[8:]) for w in map(str.split, view.splitlines())))
        for view in views(nodes)
    }
    linked = sum("master_link_status:up" in str(node.call("INFO", "replication")) for node in nodes)
    serving = all("cluster_state:ok" in str(node.call("CLUSTER", "INFO")) for node in nodes)
    return len(opinions) == 1 and linked == PRIMARIES and serving


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("The servers did not settle within 60 s")
        time.sleep(0.05)


class Client:
    """Counts up until it is stopped, and remembers what was acknowledged and the longest time without."""

    def __init__(self, name: str) -> None:
        self._names = [f"{name}-{number}" for number in range(60)]
        self.acknowledged = dict.fromkeys(self._names, 0)
        self.longest = 0.0
        self.errors: list[str] = []
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def increment(self, name: str) -> int:
        raise NotImplementedError

    def _work(self) -> None:
        last = time.monotonic()
        while not self._stopped.is_set():
            for name in self._names:
                try:
                    self.acknowledged[name] = self.increment(name)
                except (redis.RedisError, RedisProblem, OSError) as exc:
                    self.errors.append(str(exc))
                    continue
                now = time.monotonic()
                self.longest = max(self.longest, now - last)
                last = now
                # The clients share two cores with the servers.
                time.sleep(0.001)


class ClusterClient(Client):
    """redis-py, as it comes."""

    def __init__(self, name: str, address: Address) -> None:
        super().__init__(name)
        self._client = redis.RedisCluster(host=address.host, port=address.port, socket_timeout=20)

    def increment(self, name: str) -> int:
        return int(self._client.incr(name))


class BareClient(Client):
    """One connection to each node, and nothing but MOVED to go by."""

    def __init__(self, name: str, address: Address) -> None:
        super().__init__(name)
        self._first = address
        self._connections: dict[Address, RedisConnection] = {}
        self._owners: dict[str, Address] = {}

    def increment(self, name: str) -> int:
        while True:
            address = self._owners.get(name, self._first)
            connection = self._connections.setdefault(address, RedisConnection(address, timeout=20))
            try:
                return int(connection.call("INCR", name))
            except RedisProblem as problem:
                words = problem.detail.split()
                if words[:1] != ["MOVED"]:
                    raise
                self._owners[name] = Address.parse(words[2])


class Outcome:
    """What one round brought."""

    def __init__(self, clients: Sequence[Client], seconds: float, lost: int, in_place: int) -> None:
        self.gap = max(client.longest for client in clients)
        self.errors = sum(len(client.errors) for client in clients)
        self.writes = sum(sum(client.acknowledged.values()) for client in clients)
        self.seconds = seconds
        self.lost = lost
        self.in_place = in_place


def lost_writes(clients: Sequence[Client], address: Address) -> int:
    reader = redis.RedisCluster(host=address.host, port=address.port, socket_timeout=20)
    counters = {name: count for client in clients for name, count in client.acknowledged.items()}
    return sum(max(0, count - int(reader.get(name) or 0)) for name, count in counters.items())


def ours(primary: Server, replica: Server) -> None:
    with Failover(primary.address, lambda address: RedisConnection(address, timeout=5), 60) as failover:
        failover.hand_over(replica.address)


def naive(_primary: Server, replica: Server) -> None:
    try:
        replica.call("CLUSTER", "FAILOVER")
    except RedisProblem as problem:
        # A shell loop prints the error and goes on.
        if problem.kind != "error":
            raise


def one_round(version: str, hand_over: Callable[[Server, Server], None], passes: int) -> Outcome:
    with tempfile.TemporaryDirectory(prefix="failover-benchmark-") as folder:
        servers = Servers(Path(folder))
        try:
            primaries, replicas = form(servers, version)
            address = primaries[0].address
            clients: list[Client] = [ClusterClient(f"cluster{number}", address) for number in range(4)]
            clients.append(BareClient("bare", address))
            for client in clients:
                client.start()
            time.sleep(1)
            began = time.monotonic()
            for _number in range(passes):
                for primary, replica in zip(primaries, replicas, strict=True):
                    hand_over(primary, replica)
                primaries, replicas = replicas, primaries
            seconds = time.monotonic() - began
            # What a pass left behind shows in the next seconds.
            time.sleep(6)
            for client in clients:
                client.stop()
            wait_until(lambda: settled(primaries + replicas))
            in_place = sum(server.call("ROLE")[0] == "master" for server in primaries)  # type: ignore[index]
            return Outcome(clients, seconds, lost_writes(clients, address), in_place)
        finally:
            servers.stop_all()


def show(title: str, outcomes: Sequence[Outcome]) -> None:
    gaps = [outcome.gap * 1000 for outcome in outcomes]
    print(
        f"{title:<62} {statistics.median(gaps):>10.0f} {max(gaps):>10.0f}"
        f" {sum(outcome.errors for outcome in outcomes):>7} {sum(outcome.lost for outcome in outcomes):>6}"
        f" {statistics.median(outcome.seconds for outcome in outcomes):>9.1f}"
        f" {sum(outcome.writes for outcome in outcomes):>9}"
        f" {sum(outcome.in_place for outcome in outcomes)}/{PRIMARIES * len(outcomes)}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the longest write gap while all primaries hand over.")
    parser.add_argument("--version", action="append", help="a server version of tests/integration; several are allowed")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--passes", type=int, choices=COURSES, nargs="+", default=list(COURSES))
    options = parser.parse_args()
    heads = f"{'median':>10} {'longest':>10} {'errors':>7} {'lost':>6} {'seconds':>9} {'writes':>9} in place"
    print(f"{'longest write gap in ms, and what else':<62} {heads}")
    for version in options.version or [DISTRIBUTION]:
        server_binary(version)
        for passes in options.passes:
            for name, hand_over in (("ours", ours), ("loop of cluster failover", naive)):
                outcomes = [one_round(version, hand_over, passes) for _number in range(options.rounds)]
                show(f"{version}, {COURSES[passes]}: {name}", outcomes)


if __name__ == "__main__":
    main()
