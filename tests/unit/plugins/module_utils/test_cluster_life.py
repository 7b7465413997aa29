# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From random states, whole and broken, to random descriptions, on simulated servers; with deaths at any command.

Planner, executor, mover and lock run as they are. After every command that they send it is made sure that no key is
lost; at the end the cluster must be as described, and a second run must find nothing to do.
"""

from __future__ import annotations

import os
import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from ansible_collections.apiops.tyk_redis.plugins.module_utils._cluster_apply import (
    ApplyError,
    Cluster,
    Converger,
    Outcome,
)
from ansible_collections.apiops.tyk_redis.plugins.module_utils._cluster_lock import ClusterLock, LockRefused
from ansible_collections.apiops.tyk_redis.plugins.module_utils._cluster_plan import Desired, check_counts, make_plan
from ansible_collections.apiops.tyk_redis.plugins.module_utils._cluster_steps import Plan, PlanRefused
from ansible_collections.apiops.tyk_redis.plugins.module_utils._cluster_view import DeclaredNode
from ansible_collections.apiops.tyk_redis.plugins.module_utils._progress import Progress
from ansible_collections.apiops.tyk_redis.plugins.module_utils._redis_client import Address, Credentials, RedisProblem
from ansible_collections.apiops.tyk_redis.plugins.module_utils._slot_batches import Limits
from ansible_collections.apiops.tyk_redis.plugins.module_utils._slot_moves import SlotMover
from ansible_collections.apiops.tyk_redis.tests.unit.plugins.module_utils.simulation.server import SimServer
from ansible_collections.apiops.tyk_redis.tests.unit.plugins.module_utils.simulation.states import (
    NODE_TIMEOUT,
    State,
    blank,
    make_cluster,
    random_state,
)
from ansible_collections.apiops.tyk_redis.tests.unit.plugins.module_utils.simulation.world import (
    Killed,
    Simulation,
    few_slots,
)

VERSIONS = ("redis-6.2", "redis-7.0", "redis-8.2", "valkey-8.1", "valkey-9.1")
TIMEOUT = 60.0
SETTLING = 10.0
SEEDS = st.integers(min_value=0, max_value=2**32)
# A smaller seed is no simpler case, so there is nothing to shrink.
EXAMPLES = settings(max_examples=400 if "EXPLORE" in os.environ else 40, phases=[Phase.explicit, Phase.generate])
# What a refusal names while a server is down.
UNREACHABLE = (
    "refused the connection",
    "did not answer within",
    "closed the connection",
    "as failed",
    "is down",
    "would be lost",
    "no cluster bus connection",
    "could not hand keys",
)


@pytest.fixture(scope="module", autouse=True)
def small_clusters() -> Iterator[None]:
    with few_slots(48):
        yield


@dataclass
class Run:
    """What one run came to."""

    plan: Plan
    outcome: Outcome | None = None


def run(simulation: Simulation, desired: Desired) -> Run:
    """Do what the module does, in the caller's thread."""
    with Cluster(
        (*desired.nodes, *desired.leaving),
        simulation.connect,
        replicas_per_primary=desired.replicas_per_primary,
        node_timeout=desired.node_timeout,
        clock=simulation.clock,
        threads=1,
    ) as cluster:
        plan = make_plan(desired, cluster.observe_settled(SETTLING))
        if not plan.steps:
            return Run(plan)
        with ClusterLock(cluster.nodes, simulation.connect, 1, simulation.clock) as lock:
            view = cluster.observe()
            plan = make_plan(desired, view)
            outcome = Outcome(view)
            limits = Limits(timeout=TIMEOUT)
            mover = SlotMover(simulation.connect, Credentials(), limits, simulation.clock, 1, lambda _moved: None)
            progress = Progress(None, simulation.clock)
            converger = Converger(
                cluster, lambda seen: make_plan(desired, seen), mover, progress, lock.confirm, TIMEOUT
            )
            converger.run(plan, outcome)
            return Run(plan, outcome)


Harm = Callable[[State, SimServer], None]


def kill_run(_state: State, _server: SimServer) -> None:
    """The run dies at this command, before it is carried out."""
    raise Killed


def kill_server(state: State, _server: SimServer) -> None:
    """Any server dies; its data and its nodes.conf stay."""
    state.random.choice(state.servers).kill()


def freeze_server(state: State, _server: SimServer) -> None:
    """Any server stops, as by SIGSTOP, and what is sent to it waits in its socket."""
    victim = state.random.choice(state.servers)
    if victim.alive:
        victim.freeze()


def let_clients_write(state: State, _server: SimServer) -> None:
    """Clients write a new key and overwrite an old one; what the servers confirm must stay."""
    keys = sorted(set(state.simulation.acknowledged) - state.may_lose) or ["key-0"]
    for key in (f"late-{len(keys)}", state.random.choice(keys)):
        state.simulation.client_set(key, f"value-{state.random.randrange(10**6)}", seconds=0.2)


@dataclass
class Watch:
    """Looks at the servers after every command, and does harm before some."""

    state: State
    harms: dict[int, Harm] = field(default_factory=dict)
    seen: int = 0

    def __post_init__(self) -> None:
        self.state.simulation.before_command.append(self.before)
        self.state.simulation.after_command.append(self.after)

    def before(self, server: SimServer, _words: tuple[str, ...]) -> None:
        self.seen += 1
        harm = self.harms.pop(self.seen, None)
        if harm is not None:
            harm(self.state, server)

    def after(self, server: SimServer, words: tuple[str, ...]) -> None:
        if words[0] in ("INFO", "ROLE", "CONFIG", "CLIENT") or words[:2] == ("CLUSTER", "NODES"):
            return
        simulation = self.state.simulation
        kept = simulation.acknowledged.keys() - self.state.may_lose
        missing = kept.intersection(simulation.missing())
        assert not missing, f"{missing} were lost by {' '.join(words)} on {server}"
        lost = kept.intersection(simulation.lost_keys)
        assert not lost, f"{lost} were deleted after {' '.join(words)} on {server}"
        assert not simulation.wrongs


def describe(state: State) -> Desired:
    """A random description that the servers at hand can fulfil."""
    rng = state.random
    nodes = list(state.nodes)
    replicas = rng.choice([state.replicas_per_primary, state.replicas_per_primary, 0, 1, 2])
    for _number in range(rng.choice([0, 0, 1, 2, 3])):
        nodes.append(state.new_node(rng.randrange(6)))
    leaving = rng.sample(nodes, min(rng.choice([0, 0, 1, 2]), len(nodes) - 1))
    staying = [node for node in nodes if node not in leaving]
    if rng.random() < 0.2:
        staying = [replace(node, weight=rng.choice([1, 1, 2])) for node in staying]
    desired = Desired(tuple(staying), replicas, NODE_TIMEOUT, tuple(replace(node, leaving=True) for node in leaving))
    while check_counts(desired) and desired.replicas_per_primary > 0:
        desired = replace(desired, replicas_per_primary=desired.replicas_per_primary - 1)
    if check_counts(desired):
        number = len(state.simulation.servers)
        extra = [state.new_node(host) for host in range(6 + number, 9 + number)]
        desired = replace(desired, nodes=(*desired.nodes, *extra))
    return desired


def converge(state: State, desired: Desired, watch: Watch) -> list[str]:
    """Run until nothing is left to be done, or until three runs have been refused. Returns the refusals."""
    refusals: list[str] = []
    for _attempt in range(8 + len(watch.harms)):
        try:
            result = run(state.simulation, desired)
        except Killed:
            state.simulation.end_clients()
            state.simulation.advance(state.random.choice([0.0, 0.5, 5.0, 70.0]))
        except (PlanRefused, ApplyError, LockRefused, RedisProblem) as refusal:
            refusals.append(str(refusal))
            if len(refusals) == 3:
                return refusals
            state.simulation.advance(20.0)
        else:
            if not result.plan.steps:
                return []
    raise AssertionError("the runs did not come to an end")


def follow_advice(state: State, desired: Desired, refusal: str) -> Desired:
    """Do what a refusal says, where that is right. Gives back the same description when there is nothing to be done."""
    gone = set()
    if "among the nodes to remove" in refusal:
        for text in re.findall(r"does not answer: (\S+), id ", refusal):
            address = Address.parse(text)
            gone.add(DeclaredNode(text, address, address.port + 10000, address.host, leaving=True))
    if "allow_data_loss" in refusal:
        desired = replace(desired, loss=frozenset(state.lost_slots))
    return replace(desired, leaving=(*desired.leaving, *sorted(gone.difference(desired.leaving), key=str)))


def bring_back(state: State) -> None:
    """End whatever was done to the servers."""
    for server in state.simulation.servers.values():
        if server in state.gone:
            continue
        if server.frozen:
            server.unfreeze()
        server.start()
    state.simulation.advance(5.0)


def check_end(state: State, desired: Desired) -> None:
    simulation = state.simulation
    servers = [simulation.servers[node.address] for node in desired.nodes]
    ids = {server.bus.me.node_id for server in servers}
    for server in servers:
        assert set(server.bus.members) == ids, f"{server} knows others than the declared"
        assert not server.bus.migrating, f"{server} has open slots"
        assert not server.bus.importing, f"{server} has open slots"
        assert server.bus.state_ok
    primaries = [server for server in servers if server.bus.me.slots]
    assert len(primaries) == desired.primaries
    for primary in primaries:
        assert len(primary.followers) >= desired.replicas_per_primary
    for key, value in simulation.acknowledged.items():
        if key not in state.may_lose:
            assert simulation.client_get(key) == value


def play(seed: int, harms: Sequence[Harm] = (), most_damages: int = 2) -> None:
    """Everything about one seed: the state, the harms while it is mended, and the judgement."""
    generator = random.Random(seed)
    simulation = Simulation(seed, generator.choice(VERSIONS))
    # What a primary confirms and dies with is lost in every Redis, whoever moves slots; that is not what is tested.
    simulation.replication_delay = 0.0001
    state = random_state(simulation, generator, most_damages)
    desired = describe(state)
    watch = Watch(state, {generator.randrange(1, 1500): harm for harm in harms})
    refusals = converge(state, desired, watch)
    watch.harms.clear()
    if any(not server.alive or server.frozen for server in state.servers):
        assert not refusals or any(text in refusals[-1] for text in UNREACHABLE), refusals[-1]
        # Also one that was to leave, and was taken for gone, comes back with what it knew.
        bring_back(state)
        refusals = converge(state, desired, watch)
    while refusals and (remedied := follow_advice(state, desired, refusals[-1])) != desired:
        desired = remedied
        refusals = converge(state, desired, watch)
    assert not refusals, f"{state.damages}: {refusals[-1]}"
    check_end(state, desired)


@EXAMPLES
@given(SEEDS)
def test_any_cluster_becomes_what_is_described(seed: int) -> None:
    play(seed)


@EXAMPLES
@given(SEEDS)
def test_a_run_that_dies_anywhere_is_continued_by_the_next(seed: int) -> None:
    play(seed, [kill_run] * 3, most_damages=1)


@EXAMPLES
@given(SEEDS, st.sampled_from([kill_server, freeze_server]))
def test_a_server_that_fails_at_any_command_loses_nothing(seed: int, harm: Harm) -> None:
    play(seed, [harm], most_damages=0)


@EXAMPLES
@given(SEEDS)
def test_clients_keep_what_was_confirmed_to_them(seed: int) -> None:
    play(seed, [let_clients_write] * 40 + [kill_run], most_damages=0)


def test_a_replica_that_looks_for_its_primary_where_it_was_is_told() -> None:
    simulation = Simulation(1, "redis-7.0")
    state = make_cluster(blank(simulation, random.Random(1), 6, 1, hosts=3, zones=1))
    replica = state.replicas[0]
    replica.replicate_from("192.0.2.1", 6379)
    desired = Desired(state.nodes, 1, NODE_TIMEOUT)
    result = run(simulation, desired)
    assert result.outcome is not None
    assert next(sentence.split(".")[0] for sentence in result.outcome.done).startswith("Make redis-")
    assert replica.link_up
    check_end(state, desired)


def test_a_mark_that_shows_after_the_last_step_is_taken_off() -> None:
    simulation = Simulation(1, "valkey-8.1")
    state = make_cluster(blank(simulation, random.Random(1), 6, 1, hosts=3, zones=1))
    replica = state.replicas[0]
    replica.replicate_from("192.0.2.1", 6379)
    owner = next(server for server in state.servers if server.bus.owner_of(0) is server.bus.me)
    taker = next(server for server in state.servers if server.bus.me.slots and server is not owner)

    def mark(_server: SimServer, words: tuple[str, ...]) -> None:
        if words[:2] == ("CLUSTER", "REPLICATE"):
            taker.bus.importing[0] = taker.bus.members[owner.bus.me.node_id]

    simulation.after_command.append(mark)
    desired = Desired(state.nodes, 1, NODE_TIMEOUT)
    result = run(simulation, desired)
    assert result.outcome is not None
    assert "has not finished" in result.outcome.replanned[0]
    check_end(state, desired)
