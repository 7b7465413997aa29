# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The simulator of servers is only worth something while it does what servers do: the same commands go to both.

Random commands, most of them possible and many of them foolish, are sent to real servers and to simulated ones with the
same addresses and node ids. Each reply must be the same, text for text. After each command both get time to settle, and
then every node's view, the roles, the keys in the slots and the values must be the same too.

What is not compared, or not sent, because two real runs differ in it as well:

- members in handshake with a server that is down, and who is suspected ("fail?"): both end at moments of their own;
- config epochs of replicas and of primaries without slots: who gets which number depends on whose packet comes first;
  and so CLUSTER BUMPEPOCH on a node that has heard of other epochs than its twin;
- CLUSTER FAILOVER twice within twice the node timeout: votes depend on the moment, so time is waited out before it;
- two nodes that claim one slot under one epoch: whoever is heard first is believed;
- FORGET of a running node on Valkey, and MEET with a banned one where bans are gossiped: it comes and goes;
- the death of a server where nobody has a slot, and so nobody's word counts about it;
- the end of a ban, which takes a minute, and the loss of packets.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest
from servers import Server, Servers

from ansible_collections.apiops.tyk_redis.plugins.module_utils._cluster_view import (
    MemberLine,
    parse_cluster_nodes,
    parse_info,
)
from ansible_collections.apiops.tyk_redis.plugins.module_utils._redis_client import RedisConnection, RedisProblem
from ansible_collections.apiops.tyk_redis.tests.unit.plugins.module_utils.simulation.server import SimServer, slot_of
from ansible_collections.apiops.tyk_redis.tests.unit.plugins.module_utils.simulation.world import Simulation

NODE_TIMEOUT = 1000
NODES = 4
STEPS = 22
KEYS = [f"{{{tag}}}{number}" for tag in "abcdef" for number in range(2)]
SLOTS = sorted({slot_of(key) for key in KEYS})
# Portions of all slots, each with the slot of one key.
BORDERS = [0, *(slot + 1 for slot in SLOTS[:-1]), 16384]
BLOCKS = [(first, after - 1) for first, after in zip(BORDERS, BORDERS[1:])]
PATIENCE = 12.0
CONFIG = {"cluster-require-full-coverage": "no", "cluster-node-timeout": str(NODE_TIMEOUT)}


@dataclass
class Pair:
    """One real server and its simulated twin."""

    real: Server
    twin: SimServer
    real_connection: RedisConnection
    twin_connection: RedisConnection

    @property
    def alive(self) -> bool:
        return self.twin.alive


def answer(connection: RedisConnection, words: tuple[str, ...]) -> object:
    try:
        reply = connection.call(*words)
    except RedisProblem as problem:
        return f"{problem.kind}: {problem.detail}"
    return sorted(reply) if "GETKEYSINSLOT" in words else reply


@dataclass
class Twins:
    """Real and simulated servers that get the same commands."""

    pairs: list[Pair]
    simulation: Simulation
    random: random.Random
    history: list[str] = field(default_factory=list)
    voted: float = 0.0

    def send(self, pair: Pair, *words: str | int) -> object:
        texts = tuple(map(str, words))
        self.history.append(f"{self.pairs.index(pair)}: {' '.join(texts[:8])}")
        real = answer(pair.real_connection, texts)
        if texts[1:] == ("RESET", "HARD") and real == "OK":
            node_id = str(pair.real_connection.call("CLUSTER", "MYID"))
            pair.twin.bus.new_id = lambda: node_id  # type: ignore[method-assign]
        simulated = answer(pair.twin_connection, texts)
        vars(pair.twin.bus).pop("new_id", None)
        assert simulated == real, f"{self.story()}\nserver:    {real}\nsimulated: {simulated}"
        return real

    def story(self) -> str:
        return "\n".join(self.history)

    def ids(self) -> list[str]:
        return [pair.twin.bus.me.node_id for pair in self.pairs]

    def is_banned(self, pair: Pair) -> bool:
        return any(one.twin.bus.is_banned(pair.twin.bus.me.node_id) for one in self.pairs)

    def live(self) -> list[Pair]:
        return [pair for pair in self.pairs if pair.alive]

    def settle(self) -> None:
        """Let both come to rest, and compare what they came to."""
        time.sleep(0.15)
        self.simulation.advance(NODE_TIMEOUT / 1000 * 2 + 0.5)
        deadline = time.monotonic() + PATIENCE
        while True:
            real, simulated = self.real_state(), self.simulated_state()
            if real == simulated:
                return
            if time.monotonic() > deadline:
                pytest.fail(f"{self.story()}\n{difference(real, simulated)}")
            time.sleep(0.1)
            self.simulation.advance(0.1)

    def await_votes(self) -> None:
        """Let enough time pass for another vote about the same primary."""
        seconds = NODE_TIMEOUT / 1000 * 2.5
        time.sleep(max(0.0, self.voted + seconds - time.monotonic()))
        self.simulation.advance(seconds)

    def pause(self) -> None:
        """Let packets arrive before the next command, which in a hurry may or may not be there before them."""
        self.simulation.advance(0.05)
        time.sleep(0.05)

    def real_state(self) -> dict[str, object]:
        return {str(pair.real.address): self.state_of(pair, pair.real_connection) for pair in self.live()}

    def simulated_state(self) -> dict[str, object]:
        return {str(pair.real.address): self.state_of(pair, pair.twin_connection) for pair in self.live()}

    def state_of(self, pair: Pair, connection: RedisConnection) -> object:
        counting = [("CLUSTER", "COUNTKEYSINSLOT", slot) for slot in SLOTS]
        nodes, info, role, *counts = connection.pipeline(
            [("CLUSTER", "NODES"), ("CLUSTER", "INFO"), ("ROLE",), *counting]
        )
        lines = sorted(map(described, parse_cluster_nodes(nodes)))
        state = parse_info(info)["cluster_state"]
        return lines, state, role[:4] if role[0] == "slave" else role[0], counts


def difference(real: dict[str, object], simulated: dict[str, object]) -> str:
    lines = []
    for address, state in real.items():
        if state != simulated[address]:
            lines += [f"{address} is", f"    {state}", "  simulated", f"    {simulated[address]}"]
    return "\n".join(lines)


def described(line: MemberLine) -> str:
    if "handshake" in line.flags:
        return "somebody in handshake"
    flags = sorted(line.flags & {"myself", "master", "slave", "fail", "noaddr"})
    epoch = line.epoch if line.slots and line.role == "primary" else ""
    marks = f"{line.migrating} {line.importing}"
    return f"{line.node_id[:8]} {line.endpoint} {flags} of {line.primary_id[:8]} {epoch} {line.slots} {marks}"


def give_slots(twins: Twins, pair: Pair, action: str, first: int, last: int) -> None:
    if pair.twin.version.slot_ranges:
        twins.send(pair, "CLUSTER", f"{action}RANGE", first, last)
    else:
        twins.send(pair, "CLUSTER", action, *range(first, last + 1))


def add_slots(twins: Twins, pair: Pair) -> None:
    action = twins.random.choice(["ADDSLOTS", "ADDSLOTS", "ADDSLOTS", "DELSLOTS"])
    give_slots(twins, pair, action, *twins.random.choice(BLOCKS))


def open_slot(twins: Twins, pair: Pair) -> None:
    action = twins.random.choice(["IMPORTING", "MIGRATING"])
    twins.send(pair, "CLUSTER", "SETSLOT", twins.random.choice(SLOTS), action, twins.random.choice(twins.ids()))


def settle_slot(twins: Twins, pair: Pair) -> None:
    slot = twins.random.choice(SLOTS)
    if twins.random.random() < 0.3:
        twins.send(pair, "CLUSTER", "SETSLOT", slot, "STABLE")
    else:
        twins.send(pair, "CLUSTER", "SETSLOT", slot, "NODE", twins.random.choice(twins.ids()))


def move_slot(twins: Twins, pair: Pair) -> None:
    """A move as it should be, up to a random point."""
    bits = [slot for slot in SLOTS if pair.twin.bus.owner_of(slot) is pair.twin.bus.me]
    target = twins.random.choice(twins.live())
    if not bits or target is pair:
        return
    slot = twins.random.choice(bits)
    source_id, target_id = pair.twin.bus.me.node_id, target.twin.bus.me.node_id
    address = target.real.address
    steps: list[Callable[[], object]] = [
        lambda: twins.send(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", source_id),
        lambda: twins.send(pair, "CLUSTER", "SETSLOT", slot, "MIGRATING", target_id),
        lambda: twins.send(
            pair, "MIGRATE", address.host, address.port, "", 0, 1000, "KEYS", *(k for k in KEYS if slot_of(k) == slot)
        ),
        lambda: twins.send(target, "CLUSTER", "SETSLOT", slot, "NODE", target_id),
        lambda: twins.send(pair, "CLUSTER", "SETSLOT", slot, "NODE", target_id),
    ]
    for step in steps[: twins.random.choice([1, 2, 3, 4, 5, 5, 5, 5])]:
        step()
        twins.pause()


def write(twins: Twins, pair: Pair) -> None:
    for key in twins.random.sample(KEYS, 4):
        twins.send(pair, "SET", key, f"value-{twins.random.randrange(100)}")


def read(twins: Twins, pair: Pair) -> None:
    twins.send(pair, "CLUSTER", "GETKEYSINSLOT", twins.random.choice(SLOTS), 5)
    twins.send(pair, "GET", twins.random.choice(KEYS))
    twins.send(pair, "DBSIZE")


def meet(twins: Twins, pair: Pair) -> None:
    other = twins.random.choice(twins.pairs)
    if not other.alive or (other.twin.version.gossips_forget and twins.is_banned(other)):
        return
    twins.send(pair, "CLUSTER", "MEET", other.real.address.host, other.real.address.port)


def replicate(twins: Twins, pair: Pair) -> None:
    twins.send(pair, "CLUSTER", "REPLICATE", twins.random.choice(twins.ids()))


def forget(twins: Twins, pair: Pair) -> None:
    other = twins.random.choice(twins.pairs)
    if other.alive and other.twin.version.meets_again:
        return
    node_id = other.twin.bus.me.node_id
    for one in twins.live() if twins.random.random() < 0.5 else [pair]:
        twins.send(one, "CLUSTER", "FORGET", node_id)


def reset(twins: Twins, pair: Pair) -> None:
    twins.send(pair, "CLUSTER", "RESET", twins.random.choice(["HARD", "HARD", "SOFT"]))


def known_epochs(connection: RedisConnection) -> tuple[str, str]:
    info = parse_info(connection.call("CLUSTER", "INFO"))
    return info["cluster_current_epoch"], info["cluster_my_epoch"]


def epoch(twins: Twins, pair: Pair) -> None:
    if twins.random.random() < 0.5:
        if known_epochs(pair.real_connection) == known_epochs(pair.twin_connection):
            twins.send(pair, "CLUSTER", "BUMPEPOCH")
    else:
        twins.send(pair, "CLUSTER", "SET-CONFIG-EPOCH", twins.random.randrange(1, 9))


def failover(twins: Twins, pair: Pair) -> None:
    twins.await_votes()
    mode = twins.random.choice([(), (), ("FORCE",), ("TAKEOVER",)])
    twins.send(pair, "CLUSTER", "FAILOVER", *mode)


def stop_or_start(twins: Twins, pair: Pair) -> None:
    dead = [one for one in twins.pairs if not one.alive]
    if dead:
        for one in dead:
            twins.history.append(f"{twins.pairs.index(one)}: starts")
            one.real.start_again()
            # Nothing is saved, but a replica has the file of its first synchronization, from which it goes on.
            one.twin.start(keep_data=one.twin.is_replica)
    elif pair.twin.bus.owned:
        twins.history.append(f"{twins.pairs.index(pair)}: is killed")
        pair.real.kill()
        pair.twin.kill()
        pair.real_connection.close()
        pair.twin_connection.close()


ACTIONS = {
    add_slots: 3,
    open_slot: 2,
    settle_slot: 2,
    move_slot: 4,
    write: 3,
    read: 2,
    meet: 4,
    replicate: 2,
    forget: 1,
    reset: 1,
    epoch: 2,
    failover: 1,
    stop_or_start: 1,
}


def make_twins(servers: Servers, version: str, seed: int) -> Twins:
    simulation = Simulation(seed, version)
    pairs = []
    for _number in range(NODES):
        real = servers.start_server(version, extra=[f"{name} {value}" for name, value in CONFIG.items()])
        twin = simulation.add_server(real.address)
        twin.config.update(CONFIG)
        me = twin.bus.me
        me.node_id = str(real.call("CLUSTER", "MYID"))
        twin.bus.members = {me.node_id: me}
        pairs.append(Pair(real, twin, real.connection(), simulation.connect(real.address)))
    time.sleep(2.1)
    twins = Twins(pairs, simulation, random.Random(seed))
    # Nearly always something like a cluster is there to begin with.
    for number, pair in enumerate(pairs):
        twins.send(pair, "CLUSTER", "SET-CONFIG-EPOCH", number + 1)
    if seed % 4:
        for pair, other in zip(pairs, pairs[1:]):
            twins.send(pair, "CLUSTER", "MEET", other.real.address.host, other.real.address.port)
        for number, (first, last) in enumerate(BLOCKS):
            owner = pairs[number % (NODES - 1)]
            words = (
                ("ADDSLOTSRANGE", first, last)
                if owner.twin.version.slot_ranges
                else ("ADDSLOTS", *range(first, last + 1))
            )
            twins.send(owner, "CLUSTER", *words)
        twins.settle()
        twins.send(pairs[-1], "CLUSTER", "REPLICATE", pairs[0].twin.bus.me.node_id)
    twins.settle()
    return twins


def play(servers: Servers, version: str, seed: int) -> None:
    twins = make_twins(servers, version, seed)
    for _step in range(STEPS):
        action = twins.random.choices(list(ACTIONS), list(ACTIONS.values()))[0]
        action(twins, twins.random.choice(twins.live()))
        twins.settle()
        if action in (failover, stop_or_start):
            twins.voted = time.monotonic()


@pytest.mark.parametrize("version", ["redis-6.2", "redis-7.0", "redis-8.2", "valkey-9.1"])
def test_the_simulator_does_what_servers_do(version: str, servers: Servers) -> None:
    with ThreadPoolExecutor() as pool:
        plays = [pool.submit(play, servers, version, seed) for seed in range(4)]
        for one in plays:
            one.result()
