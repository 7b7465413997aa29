# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Spread the slots of three primaries over six, three of which are empty members.

The peer is redis-cli --cluster rebalance, for the atomic migration valkey-cli. It is timed until it returns. The module
is timed as a whole: it observes, plans, counts, takes its lock, moves, and proves that every node's view is complete.
Every contender begins with the same data folders, and none may lose a key.
"""

from __future__ import annotations

import json
import random
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from client import packed, slot_of
from common import (
    REDIS_CLI,
    ROOT,
    Judge,
    Report,
    Sample,
    arguments,
    declared,
    host_of,
    in_turns,
    median,
    run_cli,
    run_module,
    running_servers,
    timed,
)
from servers import DISTRIBUTION, Server, Servers

VALKEY = "valkey-9.1"
VALKEY_CLI = str(ROOT / ".cache" / "servers" / "valkey-cli" / "valkey-cli")
OWNERS, MEMBERS = 3, 6
KEYS_PER_WRITE = 1000
# Of the steady client, together; the servers have two cores with it.
OPERATIONS_A_SECOND = 1000

Work = Callable[[list[Server]], object]


@dataclass
class Stage:
    """Servers that can be put back into the state in which every contender begins."""

    cluster: list[Server]
    keys: int
    value: int
    kept: Path
    client: bool = False
    moved: int = field(default=0, init=False)

    def put_back(self) -> None:
        for server in self.cluster:
            server.kill()
            for name in ("nodes.conf", "dump.rdb"):
                (server.folder / name).unlink(missing_ok=True)
                if (self.kept / server.folder.name / name).exists():
                    shutil.copy2(self.kept / server.folder.name / name, server.folder / name)
        for server in self.cluster:
            server.start_again()
        Judge(self.cluster, replicas=0).await_complete()

    def sample(self, work: Work) -> Sample:
        self.put_back()
        if self.client:
            with steady_client(self) as told:
                seconds = timed(lambda: work(self.cluster))
        else:
            told = {}
            seconds = timed(lambda: work(self.cluster))
        Judge(self.cluster, replicas=0).await_complete()
        sizes = [int(str(server.call("DBSIZE"))) for server in self.cluster]
        if sum(sizes) != self.keys:
            raise RuntimeError(f"There were {self.keys} keys and now there are {sum(sizes)}")
        self.moved = sum(sizes[OWNERS:])
        slots = int(sum(count_slots(server) for server in self.cluster[OWNERS:]))
        if told and told.pop("operations") < seconds * OPERATIONS_A_SECOND / 2:
            raise RuntimeError("The client did not keep up, so its latencies mean nothing")
        return {"seconds": seconds, "keys/s": self.moved / seconds, "slots/s": slots / seconds, **told}


def count_slots(server: Server) -> int:
    own = next(line for line in str(server.call("CLUSTER", "NODES")).splitlines() if "myself" in line)
    bounds = [word.split("-") for word in own.split()[8:]]
    return sum(int(bound[-1]) - int(bound[0]) + 1 for bound in bounds)


@contextmanager
def steady_client(stage: Stage) -> Iterator[dict[str, float]]:
    """Latencies (ms) of a client that works meanwhile; filled in at the end."""
    told: dict[str, float] = {}
    words = [sys.executable, str(Path(__file__).with_name("client.py")), str(stage.cluster[0].address)]
    words += ["--keys", str(stage.keys), "--value", str(stage.value), "--rate", str(OPERATIONS_A_SECOND)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write("begin\n")
        process.stdin.flush()
        yield told
        process.stdin.close()
        result = json.loads(process.stdout.read())
    if result["errors"]:
        raise RuntimeError(f"The client got errors, among others {result['errors'][0]}")
    told.update({f"{what} ms": result[what] for what in ("p50", "p99", "longest")}, operations=result["operations"])


@contextmanager
def staged(version: str, keys: int, value: int, *, client: bool = False) -> Iterator[Stage]:
    """A cluster of three primaries with so many keys of so many bytes, and three empty members."""
    with running_servers() as servers:
        cluster = [start(servers, version, number) for number in range(MEMBERS)]
        nodes = declared(cluster)
        run_module("redis_cluster", nodes=nodes[:OWNERS], replicas_per_primary=0, node_timeout=15000)
        fill(cluster[:OWNERS], keys, value)
        for server in cluster[OWNERS:]:
            server.call("CLUSTER", "MEET", cluster[0].address.host, cluster[0].address.port)
        Judge(cluster, replicas=0).await_complete()
        kept = cluster[0].folder.parent / "kept"
        for server in cluster:
            with server.connection(timeout=120) as connection:
                connection.call("SAVE")
            shutil.copytree(server.folder, kept / server.folder.name)
        yield Stage(cluster, keys, value, kept, client)


def start(servers: Servers, version: str, number: int) -> Server:
    return servers.start_server(version, host=host_of(number), extra=["cluster-node-timeout 15000"])


def fill(owners: list[Server], keys: int, value: int) -> None:
    """Write the keys key:0, key:1... with values that do not compress."""
    noise = random.Random(1).randbytes(2 * value)
    portions: list[list[bytes]] = [[] for _owner in owners]
    first_of = [first_slot(server) for server in owners]
    writers = [socket.create_connection((server.address.host, server.address.port)) for server in owners]
    for writer in writers:
        writer.sendall(packed(b"CLIENT", b"REPLY", b"OFF"))
    for number in range(keys):
        key = b"key:%d" % number
        slot = slot_of(key)
        owner = max((first, index) for index, first in enumerate(first_of) if first <= slot)[1]
        start = number % (value + 1)
        portions[owner].append(packed(b"SET", key, noise[start : start + value]))
        if len(portions[owner]) == KEYS_PER_WRITE:
            writers[owner].sendall(b"".join(portions[owner]))
            portions[owner].clear()
    for writer, portion in zip(writers, portions):
        writer.sendall(b"".join(portion) + packed(b"CLIENT", b"REPLY", b"ON"))
        assert writer.recv(5) == b"+OK\r\n"
        writer.close()


def first_slot(server: Server) -> int:
    own = next(line for line in str(server.call("CLUSTER", "NODES")).splitlines() if "myself" in line)
    return int(own.split()[8].split("-")[0])


# --- contenders ------------------------------------------------------------------------------------------------------


def by_cli(cluster: list[Server], *options: object, cli: str = REDIS_CLI) -> None:
    run_cli("--cluster", "rebalance", cluster[0].address, "--cluster-use-empty-masters", *options, cli=cli)


def by_module(cluster: list[Server], **options: object) -> None:
    run_module("redis_cluster", nodes=declared(cluster), replicas_per_primary=0, timeout=120, **options)


CLI = {
    "redis-cli": by_cli,
    "redis-cli, pipeline 100": lambda cluster: by_cli(cluster, "--cluster-pipeline", 100),
}
MODULE = {"redis_cluster": by_module}
# Gentler to the clients than it is by itself, and less gentle.
PACES = {
    "redis_cluster, move_stall 5, move_load 100": partial(by_module, move_stall=5, move_load=100),
    "redis_cluster, move_stall 1, move_load 50": partial(by_module, move_stall=1, move_load=50),
    "redis_cluster, move_stall 1, move_load 10": partial(by_module, move_stall=1, move_load=10),
}
ATOMIC = {
    "valkey-cli": lambda cluster: by_cli(cluster, cli=VALKEY_CLI),
    "redis_cluster, keys": lambda cluster: by_module(cluster, move_method="keys"),
    "redis_cluster, atomic": lambda cluster: by_module(cluster, move_method="atomic"),
}


@dataclass(frozen=True)
class Scenario:
    title: str
    version: str
    keys: int
    value: int
    contenders: dict[str, Work]
    client: bool = False


SCENARIOS = {
    "small": Scenario("1,000,000 keys of 100 B", DISTRIBUTION, 1_000_000, 100, {**CLI, **MODULE}),
    "large": Scenario("40,000 keys of 16 KB", DISTRIBUTION, 40_000, 16_384, {**CLI, **MODULE}),
    "empty": Scenario("no keys", DISTRIBUTION, 0, 0, {**CLI, **MODULE}),
    "load": Scenario(
        f"300,000 keys of 100 B, while a client does {OPERATIONS_A_SECOND} operations a second",
        DISTRIBUTION,
        300_000,
        100,
        {**CLI, **MODULE, **PACES},
        client=True,
    ),
    "large-load": Scenario(
        f"20,000 keys of 16 KB, while a client does {OPERATIONS_A_SECOND} operations a second",
        DISTRIBUTION,
        20_000,
        16_384,
        {**CLI, **MODULE, **PACES},
        client=True,
    ),
    "atomic": Scenario("1,000,000 keys of 100 B, Valkey 9.1", VALKEY, 1_000_000, 100, ATOMIC),
}


def run(scenario: Scenario, rounds: int, report: Report) -> None:
    with staged(scenario.version, scenario.keys, scenario.value, client=scenario.client) as stage:
        samples = in_turns({name: partial(stage.sample, work) for name, work in scenario.contenders.items()}, rounds)
    peer = next(iter(scenario.contenders))
    measures = list(samples[peer])
    rows = []
    for name in scenario.contenders:
        times = median(samples, peer, "seconds") / median(samples, name, "seconds")
        rows.append([name, *(median(samples, name, measure) for measure in measures), f"{times:.1f}"])
    title = f"Rebalance 3 to 6 primaries: {scenario.title} ({stage.moved} keys move)"
    report.add(title, ["by", *measures, f"times as fast as {peer}"], rows, samples)


def main() -> None:
    names = list(SCENARIOS)
    options = arguments(
        __doc__, only={"nargs": "+", "choices": names, "default": names, "help": "scenarios (default: all)"}
    )
    report = Report("rebalance", options.rounds)
    for name in options.only:
        run(SCENARIOS[name], options.rounds, report)


if __name__ == "__main__":
    main()
