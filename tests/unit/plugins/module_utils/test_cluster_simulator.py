# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the simulation of servers does with time, faults and hooks; tests/integration compares the rest with servers."""

from __future__ import annotations

import random

import pytest

from ansible_collections.apiops.tyk_redis.plugins.module_utils._cluster_digest import DIGEST_COMMAND, read_digest
from ansible_collections.apiops.tyk_redis.plugins.module_utils._redis_client import RedisProblem
from ansible_collections.apiops.tyk_redis.plugins.module_utils._slot_batches import FETCH_SCRIPT, command, read_fetch
from ansible_collections.apiops.tyk_redis.tests.unit.plugins.module_utils.simulation.server import SimServer, slot_of
from ansible_collections.apiops.tyk_redis.tests.unit.plugins.module_utils.simulation.states import (
    DAMAGES,
    State,
    blank,
    call,
    damage,
    make_cluster,
)
from ansible_collections.apiops.tyk_redis.tests.unit.plugins.module_utils.simulation.world import (
    Killed,
    Simulation,
    few_slots,
)


def cluster(version: str = "redis-7.0", seed: int = 1, keys: int = 20, replicas: int = 1) -> State:
    simulation = Simulation(seed, version)
    nodes = 3 * (1 + replicas)
    return make_cluster(blank(simulation, random.Random(seed), nodes, replicas, hosts=3, zones=1), keys)


def move_keys(source: SimServer, target: SimServer, slot: int, *options: object) -> tuple[object, ...]:
    return ("MIGRATE", target.address.host, target.address.port, "", 0, 1000, *options, "KEYS", *source.keys_in(slot))


def open_slot(source: SimServer, target: SimServer) -> int:
    """Open a slot with keys between two primaries."""
    slot = min(source.keys)
    call(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", source.bus.me.node_id)
    call(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", target.bus.me.node_id)
    return slot


@pytest.mark.parametrize(("key", "slot"), [("foo", 12182), ("{foo}bar", 12182), ("{}foo", 9500), ("123456789", 12739)])
def test_keys_belong_to_the_slots_that_servers_give_them(key: str, slot: int) -> None:
    assert slot_of(key) == slot


def test_one_seed_gives_one_history() -> None:
    first, second = cluster(seed=5), cluster(seed=5)
    assert [s.bus.nodes_text() for s in first.servers] == [s.bus.nodes_text() for s in second.servers]
    assert first.simulation.now == second.simulation.now


def test_nothing_happens_while_no_time_passes() -> None:
    state = cluster()
    call(state.primaries[0], "CLUSTER", "BUMPEPOCH")
    views = [server.bus.nodes_text() for server in state.servers]
    assert views == [server.bus.nodes_text() for server in state.servers]
    state.simulation.advance(5)
    assert views != [server.bus.nodes_text() for server in state.servers]


def test_a_dead_primary_is_succeeded_and_follows_when_it_is_back() -> None:
    state = cluster()
    victim = state.primaries[0]
    victim.kill()
    state.simulation.advance(20)
    assert len(state.primaries) == 3
    assert not state.simulation.missing()
    victim.start()
    assert state.simulation.settle()
    assert victim.is_replica
    assert victim.link_up


def test_a_dead_server_refuses_and_a_broken_connection_is_told_once() -> None:
    state = cluster()
    server = state.servers[0]
    connection = state.simulation.connect(server)
    assert connection.call("PING") == "PONG"
    server.kill()
    kinds = []
    for _attempt in range(2):
        with pytest.raises(RedisProblem) as caught:
            connection.call("PING")
        kinds.append(caught.value.kind)
    assert kinds == ["reset", "refused"]
    server.start()
    assert connection.call("PING") == "PONG"


def test_a_frozen_server_is_waited_for_and_carries_out_later_what_it_was_sent() -> None:
    state = cluster()
    server = state.primaries[0]
    server.freeze()
    began = state.simulation.now
    with pytest.raises(RedisProblem) as caught:
        state.simulation.connect(server).pipeline([("CLUSTER", "BUMPEPOCH"), ("CONFIG", "SET", "maxmemory", "1")])
    assert caught.value.kind == "timeout"
    assert state.simulation.now >= began + 5
    assert server.config["maxmemory"] == "0"
    server.unfreeze()
    assert server.config["maxmemory"] == "1"


def test_a_partition_hides_servers_from_each_other_and_not_from_clients() -> None:
    state = cluster()
    alone = state.primaries[0]
    state.simulation.partition([alone], [server for server in state.servers if server is not alone])
    state.simulation.advance(20)
    assert state.simulation.connect(alone).call("PING") == "PONG"
    assert not alone.bus.state_ok
    assert len([server for server in state.servers if server.bus.me.slots]) == 4
    state.simulation.heal()
    assert state.simulation.settle()
    assert alone.is_replica


def test_a_run_may_be_killed_in_the_middle_of_a_pipeline() -> None:
    state = cluster()
    simulation = state.simulation
    sent: list[str] = []

    def die_at_third(_server: SimServer, words: tuple[str, ...]) -> None:
        sent.append(words[-1])
        if len(sent) == 3:
            raise Killed

    simulation.before_command.append(die_at_third)
    server = state.primaries[0]
    with pytest.raises(Killed):
        simulation.connect(server).pipeline([("CONFIG", "SET", "maxmemory", number) for number in (1, 2, 3, 4)])
    assert sent == ["1", "2", "3"]
    assert server.config["maxmemory"] == "2"


def test_names_of_connections_are_seen_until_they_close() -> None:
    state = cluster()
    one, other = state.simulation.connect(state.servers[0]), state.simulation.connect(state.servers[0])
    one.call("CLIENT", "SETNAME", "somebody")
    assert " name=somebody " in other.call("CLIENT", "LIST")
    one.close()
    assert " name=somebody " not in other.call("CLIENT", "LIST")


def test_scripts_can_be_forbidden() -> None:
    state = cluster()
    connection = state.simulation.connect(state.primaries[0])
    assert read_digest(connection.call(*DIGEST_COMMAND))
    state.simulation.forbidden = {"EVAL", "EVAL_RO"}
    with pytest.raises(RedisProblem) as caught:
        connection.call(*DIGEST_COMMAND)
    assert caught.value.kind == "acl"


def test_packed_scripts_fetch_the_keys_of_a_slot() -> None:
    state = cluster()
    server = state.primaries[0]
    slot = min(server.keys)
    reply = state.simulation.connect(server).packed([command("EVAL", FETCH_SCRIPT, 0, slot, 100, 10, 1000)], "EVAL")[0]
    fetched = read_fetch(slot, reply)
    assert fetched is not None
    assert fetched.keys == len(server.keys_in(slot))


def test_keys_are_lost_when_a_slot_is_taken_over_before_it_is_empty() -> None:
    state = cluster()
    source, target = state.primaries[:2]
    slot = open_slot(source, target)
    keys = list(source.keys_in(slot))
    call(target, "CLUSTER", "SETSLOT", slot, "NODE", target.bus.me.node_id)
    state.simulation.advance(2)
    assert sorted(state.simulation.lost_keys) == sorted(keys)
    assert sorted(state.simulation.missing()) == sorted(keys)


@pytest.mark.parametrize(("fault", "copies"), [("before", 1), ("after", 2)])
def test_migrate_can_break_before_and_after_a_key_has_arrived(fault: str, copies: int) -> None:
    state = cluster()
    source, target = state.primaries[:2]
    slot = open_slot(source, target)
    key = next(iter(source.keys_in(slot)))
    state.simulation.migrate_fault = lambda _source, _target, _key: fault
    connection = state.simulation.connect(source)
    with pytest.raises(RedisProblem, match="IOERR"):
        connection.call(*move_keys(source, target, slot))
    assert len(state.simulation.holders(key)) == copies
    state.simulation.migrate_fault = None
    if copies == 2:
        with pytest.raises(RedisProblem, match="BUSYKEY"):
            connection.call(*move_keys(source, target, slot))
    assert connection.call(*move_keys(source, target, slot, "REPLACE")) == "OK"
    assert state.simulation.holders(key) == [target]


def test_clients_follow_redirections() -> None:
    state = cluster()
    source, target = state.primaries[:2]
    slot = open_slot(source, target)
    moved, other = next(iter(source.keys_in(slot))), f"{{{next(iter(source.keys_in(slot)))}}}new"
    call(source, *move_keys(source, target, slot))
    assert state.simulation.client_set(other, "asked for")
    assert state.simulation.client_get(moved) == state.simulation.acknowledged[moved]
    assert state.simulation.holders(other) == [target]


@pytest.mark.parametrize("version", ["redis-7.0", "redis-8.2", "valkey-9.1"])
def test_a_forgotten_member_is_banned_for_a_minute(version: str) -> None:
    state = cluster(version, replicas=0)
    subject, viewer = state.servers[:2]
    node_id = subject.bus.me.node_id
    call(viewer, "CLUSTER", "FORGET", node_id)
    state.simulation.advance(50)
    assert node_id not in viewer.bus.members or version.startswith("valkey")
    state.simulation.advance(40)
    # Its own pings bring it back on Valkey, the gossip of the others on Redis 7.0; from 7.2 on they have forgotten too.
    assert (node_id in viewer.bus.members) == (version != "redis-8.2")


def test_an_atomic_move_takes_all_keys_along() -> None:
    state = cluster("valkey-9.1")
    source, target = state.primaries[:2]
    slot = min(source.keys)
    keys = list(source.keys_in(slot))
    call(source, "CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", slot, slot, "NODE", target.bus.me.node_id)
    state.simulation.advance(3)
    job = call(source, "CLUSTER", "GETSLOTMIGRATIONS")[0]
    assert job[job.index("state") + 1] == "success"
    assert all(state.simulation.holders(key) == [target] for key in keys)
    assert not state.simulation.lost_keys


@pytest.mark.parametrize("how", DAMAGES, ids=lambda how: how.__name__)
def test_no_damage_loses_keys_that_it_does_not_name(how: object) -> None:
    with few_slots(48):
        for seed in range(6):
            state = cluster(seed=seed, replicas=seed % 3)
            damage(state, how)  # type: ignore[arg-type]
            state.simulation.advance(5)
            assert set(state.simulation.missing()) <= state.may_lose
            assert set(state.simulation.lost_keys) <= state.may_lose
