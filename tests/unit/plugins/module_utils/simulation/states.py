# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Simulated clusters, whole and broken in every way that people have reported."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ansible_collections.apiops.tyk_redis.plugins.module_utils._cluster_view import DeclaredNode
from ansible_collections.apiops.tyk_redis.plugins.module_utils._redis_client import Address
from ansible_collections.apiops.tyk_redis.tests.unit.plugins.module_utils.simulation import bus
from ansible_collections.apiops.tyk_redis.tests.unit.plugins.module_utils.simulation.commands import (
    CommandError,
    execute,
)
from ansible_collections.apiops.tyk_redis.tests.unit.plugins.module_utils.simulation.server import SimServer, slot_of
from ansible_collections.apiops.tyk_redis.tests.unit.plugins.module_utils.simulation.world import Simulation

NODE_TIMEOUT = 2000


@dataclass
class State:
    """A simulated cluster and what there is to know about it.

    Attributes:
        nodes: those that exist and are to be declared.
        gone: members that are dead for good, and not to be declared.
        damages: what was done to it, in words.
        may_lose: keys of which no copy was left.
        lost_slots: the slots that went with them.
    """

    simulation: Simulation
    random: random.Random
    nodes: tuple[DeclaredNode, ...]
    replicas_per_primary: int
    zones: int = 1
    gone: list[SimServer] = field(default_factory=list)
    damages: list[str] = field(default_factory=list)
    may_lose: set[str] = field(default_factory=set)
    lost_slots: set[int] = field(default_factory=set)

    @property
    def servers(self) -> list[SimServer]:
        return [self.simulation.servers[node.address] for node in self.nodes]

    @property
    def primaries(self) -> list[SimServer]:
        """Those that live and own slots."""
        return [server for server in self.servers if server.alive and not server.is_replica and server.bus.me.slots]

    @property
    def replicas(self) -> list[SimServer]:
        return [server for server in self.servers if server.alive and server.is_replica]

    def new_node(self, host: int) -> DeclaredNode:
        """Start one more server, that knows nobody."""
        number = len(self.simulation.servers) + 1
        address = Address(f"10.0.0.{host + 1}", 7000 + number)
        node = DeclaredNode(
            f"redis-{number}", address, address.port + 10000, f"host-{host}", f"zone-{host % self.zones}"
        )
        self.simulation.add_server(address, cluster_node_timeout=str(NODE_TIMEOUT))
        return node

    def write(self, number: int) -> None:
        """Let clients write so many keys."""
        for _one in range(number):
            count = len(self.simulation.acknowledged)
            assert self.simulation.client_set(f"key-{count}", f"value-{self.random.randrange(10**6)}")


def call(server: SimServer, *words: object) -> Any:
    """Send a command that no hook sees and that takes no time."""
    return execute(server, tuple(map(str, words)))


def blank(
    simulation: Simulation, generator: random.Random, number: int, replicas: int, hosts: int, zones: int
) -> State:
    """Servers that have just been started."""
    state = State(simulation, generator, (), replicas, zones)
    state.nodes = tuple(state.new_node(index % hosts) for index in range(number))
    return state


def make_cluster(state: State, keys: int = 40) -> State:
    """Form a healthy cluster of all nodes and write keys."""
    servers = state.servers
    shards = len(servers) // (1 + state.replicas_per_primary)
    for number, server in enumerate(servers, start=1):
        call(server, "CLUSTER", "SET-CONFIG-EPOCH", number)
    for number, server in enumerate(servers[:shards]):
        give_slots(server, bus.SLOTS * number // shards, bus.SLOTS * (number + 1) // shards - 1)
    meet_all(servers)
    while not all(_knows(server, other) for server in servers for other in servers):
        state.simulation.advance(0.1)
    for number, server in enumerate(servers[shards:]):
        call(server, "CLUSTER", "REPLICATE", servers[number % shards].bus.me.node_id)
    assert state.simulation.settle(), "a simulated cluster did not become healthy"
    state.write(keys)
    # The replicas get them too, before anything happens.
    state.simulation.advance(0.5)
    return state


def give_slots(server: SimServer, first: int, last: int) -> None:
    if server.version.slot_ranges:
        call(server, "CLUSTER", "ADDSLOTSRANGE", first, last)
    else:
        call(server, "CLUSTER", "ADDSLOTS", *range(first, last + 1))


def meet_all(servers: Sequence[SimServer]) -> None:
    for server, other in zip(servers, servers[1:]):
        call(server, "CLUSTER", "MEET", other.address.host, other.address.port, other.bus_port)


# --- damages ---------------------------------------------------------------------------------------------------------


def _ends(state: State) -> tuple[SimServer, SimServer, int] | None:
    """Two primaries, and a slot of the first; one with keys if there is one."""
    if len(state.primaries) < 2:
        return None
    source, target = state.random.sample(state.primaries, 2)
    full = [slot for slot in source.keys if source.bus.me.slots >> slot & 1]
    if full and state.random.random() < 0.8:
        return source, target, state.random.choice(sorted(full))
    return source, target, state.random.choice(list(bus.each_bit(source.bus.me.slots)))


def _move(state: State, source: SimServer, target: SimServer, slot: int, steps: int) -> None:
    """The first steps of a move."""
    source_id, target_id = source.bus.me.node_id, target.bus.me.node_id
    keys = sorted(source.keys_in(slot))
    migrate = ("MIGRATE", target.address.host, target.address.port, "", 0, 1000, "KEYS")
    work: list[Callable[[], Any]] = [
        lambda: call(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", source_id),
        lambda: call(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", target_id),
        lambda: call(source, *migrate, *keys[: len(keys) // 2]) if len(keys) > 1 else None,
        lambda: call(source, *migrate, *keys[len(keys) // 2 :]) if keys else None,
        lambda: call(target, "CLUSTER", "SETSLOT", slot, "NODE", target_id),
    ]
    for step in work[:steps]:
        step()


def interrupted_move(state: State) -> bool:
    """a move died between two of its steps"""
    ends = _ends(state)
    if ends is None:
        return False
    _move(state, *ends, state.random.randrange(1, 6))
    return True


def only_migrating(state: State) -> bool:
    """a slot is marked at its owner only"""
    ends = _ends(state)
    if ends is None:
        return False
    source, target, slot = ends
    call(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", target.bus.me.node_id)
    return True


def move_with_failover(state: State) -> bool:
    """one end of a move failed over in the middle of it"""
    ends = _ends(state)
    if ends is None:
        return False
    _move(state, *ends, state.random.randrange(1, 5))
    victim = ends[state.random.randrange(2)]
    if not victim.followers:
        return False
    state.simulation.advance(0.1)
    return _fail_over(state, victim, comes_back=True)


def _fail_over(state: State, victim: SimServer, comes_back: bool) -> bool:
    followers = victim.followers
    victim.kill()
    for _second in range(40):
        state.simulation.advance(1.0)
        if any(not follower.is_replica for follower in followers):
            break
    if comes_back:
        victim.start()
        state.simulation.advance(state.random.random() * 5)
    return True


def uncovered_slot(state: State) -> bool:
    """nobody owns a slot without keys"""
    empty = [slot for slot in range(bus.SLOTS) if not any(slot in server.keys for server in state.servers)]
    if not empty:
        return False
    _disown(state, state.random.choice(empty))
    return True


def lost_owner(state: State) -> bool:
    """nobody owns a slot with keys"""
    full = sorted({slot for server in state.primaries for slot in server.keys})
    if not full:
        return False
    _disown(state, state.random.choice(full))
    return True


def _disown(state: State, slot: int) -> None:
    for server in state.servers:
        if server.alive and server.bus.owner_of(slot) is not None:
            call(server, "CLUSTER", "DELSLOTS", slot)


def orphans(state: State) -> bool:
    """a primary has a slot of another one open and holds keys of it, as after a restart"""
    ends = _ends(state)
    if ends is None:
        return False
    owner, holder, slot = ends
    key = next(key for key in (f"orphan-{number}" for number in range(10**6)) if slot_of(key) == slot)
    holder.write(key, "orphan")
    state.simulation.acknowledged[key] = "orphan"
    if state.random.random() < 0.3:
        owner.write(key, "orphan")
    state.simulation.advance(0.1)
    holder.kill()
    holder.start()
    state.simulation.advance(3.0)
    return True


def ghost(state: State) -> bool:
    """a member without slots died for good"""
    node = state.new_node(0)
    server = state.simulation.servers[node.address]
    meet_all([state.random.choice(state.servers), server])
    state.simulation.advance(3.0)
    if state.random.random() < 0.5 and state.primaries:
        primary = state.random.choice(state.primaries)
        if primary.bus.me.node_id in server.bus.members:
            call(server, "CLUSTER", "REPLICATE", primary.bus.me.node_id)
            state.simulation.advance(2.0)
    server.kill()
    state.gone.append(server)
    return True


def reset_replica(state: State) -> bool:
    """a replica was reset, and the others know its old id"""
    if not state.replicas:
        return False
    call(state.random.choice(state.replicas), "CLUSTER", "RESET", state.random.choice(["HARD", "SOFT"]))
    return True


def forgotten(state: State) -> bool:
    """some members have forgotten one that others know"""
    subject = state.random.choice(state.servers)
    # Forgetting takes the mark off a slot that is open towards the member, and keys in it would be out of sight then.
    others = [one for one in state.servers if one is not subject and one.alive and not one.bus.importing]
    if not others:
        return False
    for server in state.random.sample(others, state.random.randrange(1, len(others) + 1)):
        member = server.bus.members.get(subject.bus.me.node_id)
        if member is not None and server.bus.me.primary is not member:
            call(server, "CLUSTER", "FORGET", member.node_id)
    return True


def replica_of_replica(state: State) -> bool:
    """a replica's primary has become a replica"""
    if len(state.replicas) < 2 or len(state.primaries) < 2:
        return False
    first, second = state.random.sample(state.replicas, 2)
    if not _make_idle(state, second) or not _knows(first, second):
        return False
    call(first, "CLUSTER", "REPLICATE", second.bus.me.node_id)
    primary = state.random.choice(state.primaries)
    if _knows(second, primary):
        call(second, "CLUSTER", "REPLICATE", primary.bus.me.node_id)
    return True


def replica_of_nobody(state: State) -> bool:
    """a replica's primary had no slots and died for good"""
    if len(state.replicas) < 2 or len(state.nodes) < 5:
        return False
    first, second = state.random.sample(state.replicas, 2)
    if not _make_idle(state, second) or not _knows(first, second):
        return False
    call(first, "CLUSTER", "REPLICATE", second.bus.me.node_id)
    state.simulation.advance(3.0)
    second.kill()
    state.gone.append(second)
    state.nodes = tuple(node for node in state.nodes if node.address != second.address)
    return True


def _make_idle(state: State, replica: SimServer) -> bool:
    """Turn a replica into a primary without slots."""
    call(replica, "CLUSTER", "RESET", "SOFT")
    meet_all([replica, state.random.choice(state.primaries)])
    state.simulation.advance(3.0)
    return not replica.is_replica


def _knows(viewer: SimServer, subject: SimServer) -> bool:
    member = viewer.bus.members.get(subject.bus.me.node_id)
    return member is not None and not member.is_replica


def epoch_collision(state: State) -> bool:
    """two primaries have the same config epoch"""
    if len(state.primaries) < 2:
        return False
    first, second = state.random.sample(state.primaries, 2)
    first.bus.me.epoch = second.bus.me.epoch = max(first.bus.me.epoch, second.bus.me.epoch)
    return True


def stale_claim(state: State) -> bool:
    """a primary believes that a slot of another one is its own"""
    ends = _ends(state)
    if ends is None:
        return False
    owner, other, slot = ends
    epochs = [server.bus.me.epoch for server in state.servers]
    if other.bus.me.epoch >= owner.bus.me.epoch or slot in other.keys or len(set(epochs)) < len(epochs):
        # With a newer epoch it would be believed, and the owner would delete its keys.
        return False
    other.bus.bind(other.bus.me, 1 << slot)
    return True


def restarted(state: State) -> bool:
    """a server was restarted with its data"""
    victim = state.random.choice(state.servers)
    victim.kill()
    state.simulation.advance(state.random.random() * 12)
    victim.start()
    state.simulation.advance(state.random.random() * 3)
    return True


def failed_over(state: State) -> bool:
    """a primary died and came back as a replica"""
    candidates = [server for server in state.primaries if server.followers]
    if not candidates or len(state.primaries) < 3:
        return False
    return _fail_over(state, state.random.choice(candidates), comes_back=True)


def replaced_primary(state: State) -> bool:
    """a primary died for good, and its replica took over"""
    candidates = [server for server in state.primaries if server.followers]
    if not candidates or len(state.primaries) < 3 or len(state.nodes) < 5:
        return False
    victim = state.random.choice(candidates)
    _fail_over(state, victim, comes_back=False)
    state.gone.append(victim)
    state.nodes = tuple(node for node in state.nodes if node.address != victim.address)
    return True


def lost_shard(state: State) -> bool:
    """a primary died for good, with the only copy of its keys"""
    candidates = [server for server in state.primaries if not server.followers]
    if not candidates or len(state.nodes) < 4:
        return False
    victim = state.random.choice(candidates)
    victim.kill()
    state.gone.append(victim)
    state.nodes = tuple(node for node in state.nodes if node.address != victim.address)
    state.lost_slots.update(bus.each_bit(victim.bus.me.slots))
    state.may_lose.update(key for keys in victim.keys.values() for key in keys)
    return True


def moved_addresses(state: State) -> bool:
    """servers were started again at other addresses"""
    moved = state.random.sample(range(len(state.nodes)), state.random.randrange(1, len(state.nodes) + 1))
    servers = [state.servers[index] for index in moved]
    for server in servers:
        server.kill()
    nodes = list(state.nodes)
    for index, server in zip(moved, servers):
        address = Address(server.address.host.replace("10.0.0", "10.0.1"), server.address.port)
        state.simulation.move_server(server, address)
        nodes[index] = replace(nodes[index], address=address)
    state.nodes = tuple(nodes)
    for server in servers:
        server.start()
    return True


def half_created(state: State) -> State:
    """Carry a creation out up to a random point, for all nodes or for two islands of them."""
    state.damages.append("a creation died")
    servers = state.servers
    rng = state.random
    shards = len(servers) // (1 + state.replicas_per_primary)
    if rng.random() < 0.7:
        for number, server in enumerate(servers[: rng.randrange(len(servers) + 1)], start=1):
            call(server, "CLUSTER", "SET-CONFIG-EPOCH", number)
    if rng.random() < 0.8:
        for number, server in enumerate(servers[: rng.randrange(shards + 1)]):
            give_slots(server, bus.SLOTS * number // shards, bus.SLOTS * (number + 1) // shards - 1)
    border = rng.randrange(1, len(servers))
    for island in (servers[:border], servers[border:]):
        meet_all(island[: rng.randrange(len(island) + 1)])
    state.simulation.advance(rng.random() * 4)
    if rng.random() < 0.5:
        for number, server in enumerate(servers[shards : rng.randrange(shards, len(servers) + 1)]):
            if _knows(server, servers[number % shards]) and not server.bus.me.slots:
                call(server, "CLUSTER", "REPLICATE", servers[number % shards].bus.me.node_id)
    state.simulation.advance(rng.random() * 3)
    return state


DAMAGES: tuple[Callable[[State], bool], ...] = (
    interrupted_move,
    only_migrating,
    move_with_failover,
    uncovered_slot,
    lost_owner,
    orphans,
    ghost,
    reset_replica,
    forgotten,
    replica_of_replica,
    replica_of_nobody,
    epoch_collision,
    stale_claim,
    restarted,
    failed_over,
    replaced_primary,
    lost_shard,
    moved_addresses,
)


# What leaves keys in slots that are open, or that another one owns.
_LEAVES_KEYS = frozenset({interrupted_move, only_migrating, move_with_failover, orphans})
# After what marks of open slots may be gone (not on Valkey). Keys of such slots
# are then out of sight: nothing tells of them but a count of the keys of every slot on every primary.
_LOSES_MARKS = frozenset(
    {
        move_with_failover,
        reset_replica,
        forgotten,
        restarted,
        failed_over,
        replaced_primary,
        lost_shard,
        moved_addresses,
    }
)


def _in_sight(damages: Sequence[Callable[[State], bool]]) -> bool:
    leaves, loses = _LEAVES_KEYS.intersection(damages), _LOSES_MARKS.intersection(damages)
    return not leaves or len(leaves | loses) == 1


def damage(state: State, how: Callable[[State], bool]) -> bool:
    """Damage a cluster in one way, as far as it has what it takes."""
    try:
        if not how(state):
            return False
    except CommandError:
        # What was done before is in the way; half a damage is one, too.
        pass
    state.damages.append(str(how.__doc__))
    state.simulation.advance(state.random.choice([0.0, 0.2, 2.0, 20.0]))
    return True


def random_state(simulation: Simulation, generator: random.Random, most_damages: int = 2) -> State:
    """A cluster of 3 to 9 nodes, whole or broken."""
    replicas = generator.choice([0, 1, 1, 1, 2])
    shards = generator.randrange(3, 5 if replicas < 2 else 4)
    number = shards * (1 + replicas) + generator.choice([0, 0, 1])
    hosts, zones = generator.randrange(2, 7), generator.randrange(1, 4)
    state = blank(simulation, generator, min(number, 9), replicas, hosts, zones)
    if generator.random() < 0.1:
        return half_created(state)
    make_cluster(state, keys=generator.randrange(60))
    damages = generator.sample(DAMAGES, generator.randrange(most_damages + 1))
    while not _in_sight(damages):
        damages.pop()
    for how in damages:
        damage(state, how)
    return state
