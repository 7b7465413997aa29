# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans, and what a small model of the servers makes of them: also of halves of them, as a crash leaves them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.apiops.tyk_redis.plugins.module_utils._cluster_layout import place
from ansible_collections.apiops.tyk_redis.plugins.module_utils._cluster_plan import (
    Desired,
    check_addresses,
    check_counts,
    fresh_view,
    make_plan,
)
from ansible_collections.apiops.tyk_redis.plugins.module_utils._cluster_steps import (
    AssignSlots,
    AwaitAgreement,
    AwaitMembers,
    AwaitSync,
    ClaimSlots,
    GiveEpoch,
    Introduce,
    MoveSlots,
    Plan,
    PlanRefused,
    Replicate,
    SetNodeTimeout,
    Step,
)
from ansible_collections.apiops.tyk_redis.plugins.module_utils._cluster_view import (
    ClusterView,
    DeclaredNode,
    MemberLine,
    NodeView,
    SlotRanges,
    count_slots,
    each_slot,
    merge,
    to_ranges,
)
from ansible_collections.apiops.tyk_redis.plugins.module_utils._redis_client import Address


def node(number: int, host: str = "", zone: str = "") -> DeclaredNode:
    address = Address(f"192.0.2.{number}", 6379)
    return DeclaredNode(f"redis-{number}", address, 16379, host or address.host, zone)


SIX = tuple(node(number) for number in range(1, 7))


@dataclass
class ModelNode:
    """A server, as far as the planner can tell."""

    node: DeclaredNode
    node_id: str
    epoch: int = 0
    slots: set[int] = field(default_factory=set)
    primary_id: str = ""
    knows: set[str] = field(default_factory=set)
    timeout: int = 15000
    keys: int = 0
    functions: int = 0


class Model:
    """Servers that obey the rules which Redis enforces; what they refuse fails the test."""

    def __init__(self, nodes: Sequence[DeclaredNode]) -> None:
        self.nodes = {n: ModelNode(n, f"{index:040x}") for index, n in enumerate(nodes, start=1)}
        self.strangers: list[MemberLine] = []
        self.replaced: dict[DeclaredNode, NodeView] = {}
        self._ranges: dict[str, SlotRanges] = {}

    def observe(self, replicas: int = 1) -> ClusterView:
        self._ranges = {m.node_id: to_ranges(m.slots) for m in self.nodes.values()}
        return merge([self.replaced.get(n, self._view(model)) for n, model in self.nodes.items()], replicas)

    def _view(self, model: ModelNode) -> NodeView:
        known = [m for m in self.nodes.values() if m is model or m.node_id in model.knows]
        whole = all(len(m.knows) == len(self.nodes) - 1 for m in self.nodes.values())
        covered = sum(len(m.slots) for m in known) == 16384
        return NodeView(
            node=model.node,
            product="redis",
            version="7.0.15",
            state="ok" if covered else "fail",
            lines=(*(self._line(model, m, whole) for m in known), *self.strangers),
            keys=model.keys,
            functions=model.functions,
            link="up" if model.primary_id else "",
            offset=0,
            node_timeout=model.timeout,
        )

    def _line(self, viewer: ModelNode, subject: ModelNode, whole: bool) -> MemberLine:
        flags = {"slave" if subject.primary_id else "master"}
        return MemberLine(
            node_id=subject.node_id,
            host=subject.node.address.host if subject is not viewer or whole else "",
            port=subject.node.address.port,
            bus_port=subject.node.bus_port,
            flags=frozenset(flags | ({"myself"} if subject is viewer else set())),
            primary_id=subject.primary_id,
            epoch=subject.epoch,
            connected=True,
            slots=self._ranges[subject.node_id],
        )

    def gossip(self) -> None:
        """Everybody who is connected by any chain of acquaintances gets to know each other."""
        by_id = {m.node_id: m for m in self.nodes.values()}
        changed = True
        while changed:
            changed = False
            for model in by_id.values():
                heard = {other for peer in model.knows for other in by_id[peer].knows} | set(model.knows)
                heard.discard(model.node_id)
                changed = changed or heard != model.knows
                model.knows |= heard
        epochs: set[int] = set()
        for model in self.nodes.values():
            if model.slots and model.epoch in epochs:
                model.epoch = 1 + max(m.epoch for m in self.nodes.values())
            epochs.add(model.epoch)

    def apply(self, step: Step) -> None:
        if isinstance(step, SetNodeTimeout):
            for n in step.nodes:
                self.nodes[n].timeout = step.milliseconds
        elif isinstance(step, GiveEpoch):
            model = self.nodes[step.node]
            assert not model.knows, "The server refuses: it knows other nodes"
            assert model.epoch == 0, "The server refuses: it has an epoch"
            model.epoch = step.epoch
        elif isinstance(step, AssignSlots):
            slots = set(each_slot(step.slots))
            assert not any(slots & m.slots for m in self.nodes.values()), "The server refuses: a slot is busy"
            assert not self.nodes[step.node].primary_id, "The server refuses: it is a replica"
            self.nodes[step.node].slots |= slots
        elif isinstance(step, Introduce):
            for peer in step.peers:
                self.nodes[step.node].knows.add(self.nodes[peer].node_id)
                self.nodes[peer].knows.add(self.nodes[step.node].node_id)
        elif isinstance(step, Replicate):
            model, primary = self.nodes[step.node], self.nodes[step.primary]
            assert primary.node_id in model.knows, "The server refuses: it does not know the primary"
            assert not model.slots, "The server refuses: it has slots"
            assert not primary.primary_id, "The server refuses: that is a replica"
            model.primary_id = primary.node_id
            model.epoch = primary.epoch
        elif isinstance(step, ClaimSlots):
            assert not any(set(each_slot(step.slots)) & m.slots for m in self.nodes.values()), "Somebody owns them"
            self.nodes[step.node].slots |= set(each_slot(step.slots))
        elif isinstance(step, MoveSlots):
            slots = set(each_slot(step.slots))
            assert slots <= self.nodes[step.source].slots, "The server refuses: it does not own them"
            assert not self.nodes[step.target].primary_id, "The server refuses: it is a replica"
            self.nodes[step.source].slots -= slots
            self.nodes[step.target].slots |= slots
        else:
            assert isinstance(step, (AwaitMembers, AwaitAgreement, AwaitSync))
            self.gossip()

    def run(self, plan: Plan) -> None:
        for step in plan.steps:
            self.apply(step)


def formed(nodes: Sequence[DeclaredNode] = SIX, replicas: int = 1) -> Model:
    model = Model(nodes)
    model.run(make_plan(Desired(tuple(nodes), replicas), model.observe(replicas)))
    return model


def refusal(model: Model, nodes: Sequence[DeclaredNode] = SIX, replicas: int = 1) -> list[str]:
    with pytest.raises(PlanRefused) as caught:
        make_plan(Desired(tuple(nodes), replicas), model.observe(replicas))
    assert str(caught.value).startswith("Nothing was changed, because:\n- ")
    return list(caught.value.reasons)


# --- create ----------------------------------------------------------------------------------------------------------


def test_the_plan_of_a_new_cluster_reads_like_a_recipe() -> None:
    plan = make_plan(Desired(SIX, 1, 15000), Model(SIX).observe())
    assert plan.sentences == [
        "Set cluster-node-timeout to 2000 ms on redis-1, redis-2, redis-3, redis-4, redis-5 and redis-6, until the "
        "cluster is formed.",
        *(f"Give redis-{number} the config epoch {number}." for number in range(1, 7)),
        "Assign the slots 0-5460 to redis-1.",
        "Assign the slots 5461-10922 to redis-2.",
        "Assign the slots 10923-16383 to redis-3.",
        "Introduce redis-1 to redis-2, redis-3 and redis-4.",
        "Introduce redis-2 to redis-3, redis-4 and redis-5.",
        "Introduce redis-3 to redis-4, redis-5 and redis-6.",
        "Introduce redis-4 to redis-5 and redis-6.",
        "Introduce redis-5 to redis-6 and redis-1.",
        "Introduce redis-6 to redis-1 and redis-2.",
        "Wait until all 6 nodes know each other.",
        "Make redis-4 a replica of redis-1.",
        "Make redis-5 a replica of redis-2.",
        "Make redis-6 a replica of redis-3.",
        "Wait until every node agrees, all 16384 slots are served and every replica is in sync.",
        "Set cluster-node-timeout to 15000 ms on redis-1, redis-2, redis-3, redis-4, redis-5 and redis-6.",
    ]
    assert plan.changed
    assert plan.warnings == ()
    assert plan.layout[0] == "redis-1 (192.0.2.1:6379): primary, slots 0-5460"
    assert plan.layout[3] == "redis-4 (192.0.2.4:6379): replica of redis-1"


@pytest.mark.parametrize("count", [6, 32, 33, 100, 257])
def test_the_news_of_a_node_reaches_all_others_in_few_hops(count: int) -> None:
    nodes = tuple(
        DeclaredNode(f"redis-{n}", Address(f"192.0.{n // 200}.{1 + n % 200}", 6379), 16379, f"host-{n}")
        for n in range(count)
    )
    plan = make_plan(Desired(nodes, 1), Model(nodes).observe())
    met: dict[DeclaredNode, set[DeclaredNode]] = {node: set() for node in nodes}
    for step in plan.steps:
        if isinstance(step, Introduce):
            met[step.node].update(step.peers)
            for peer in step.peers:
                met[peer].add(step.node)
    reached, hops = {nodes[0]}, 0
    while len(reached) < count:
        reached |= {peer for node in reached for peer in met[node]}
        hops += 1
    assert hops <= (1 if count <= 32 else count.bit_length() // 2 + 1)


SHAPES = st.sampled_from([(3, 0), (6, 1), (7, 1), (9, 2), (8, 1), (11, 2)])


@given(
    SHAPES, st.integers(1, 6), st.sampled_from(["", "ab", "abc"]), st.sampled_from([None, 1000, 15000]), st.randoms()
)
@settings(max_examples=60, deadline=None)
def test_the_plan_for_nodes_to_come_is_the_one_for_nodes_that_have_come(
    shape: tuple[int, int], hosts: int, zones: str, node_timeout: int | None, random: Random
) -> None:
    size, replicas = shape
    nodes = [
        node(number, host=f"h{number % hosts}", zone=zones and zones[number % hosts % len(zones)])
        for number in range(1, size + 1)
    ]
    random.shuffle(nodes)
    desired = Desired(tuple(nodes), replicas, node_timeout)
    model = Model(nodes)
    for started in model.nodes.values():
        started.timeout = node_timeout or started.timeout
    fresh = fresh_view(desired)
    assert make_plan(desired, fresh) == make_plan(desired, model.observe(replicas))
    assert fresh.describe() == model.observe(replicas).describe()
    assert fresh.state == "none"


def test_nodes_to_come_are_refused_for_the_same_reasons() -> None:
    desired = Desired(SIX[:4], 1)
    with pytest.raises(PlanRefused) as caught:
        make_plan(desired, fresh_view(desired))
    assert list(caught.value.reasons) == refusal(Model(SIX[:4]), SIX[:4])


@given(SHAPES, st.data())
@settings(max_examples=60, deadline=None)
def test_a_creation_that_died_anywhere_is_finished_by_the_next_run(shape: tuple[int, int], data: st.DataObject) -> None:
    size, replicas = shape
    nodes = tuple(node(number, host=f"h{number % 4}", zone=f"z{number % 2}") for number in range(1, size + 1))
    model = Model(nodes)
    desired = Desired(nodes, replicas, data.draw(st.sampled_from([None, 15000])))
    for _death in range(data.draw(st.integers(0, 3))):
        plan = make_plan(desired, model.observe(replicas))
        cut = data.draw(st.integers(0, len(plan.steps)))
        for step in plan.steps[:cut]:
            model.apply(step)
        # Steps of one kind run side by side, so others of the same kind may have been carried out too.
        for step in plan.steps[cut:]:
            if type(step) is type(plan.steps[cut]) and data.draw(st.booleans()):
                model.apply(step)
        if data.draw(st.booleans()):
            model.gossip()
    shuffled = data.draw(st.permutations(nodes))
    model.run(make_plan(replace(desired, nodes=tuple(shuffled)), model.observe(replicas)))
    view = model.observe(replicas)
    assert view.healthy, [problem.sentence for problem in view.problems]
    again = make_plan(desired, view)
    assert (again.sentences, again.changed) == ([], False)
    assert {m.timeout for m in model.nodes.values()} == {15000} or desired.node_timeout is None


def test_a_shard_whose_roles_were_swapped_before_it_was_complete_is_finished_as_it_is() -> None:
    model = formed()
    first, fourth, fifth = model.nodes[SIX[0]], model.nodes[SIX[3]], model.nodes[SIX[4]]
    first.slots, fourth.slots = set(), first.slots
    first.primary_id, fourth.primary_id = fourth.node_id, ""
    fifth.primary_id = ""
    plan = make_plan(Desired(SIX, 1), model.observe())
    assert [step for step in plan.steps if step.changes] == [Replicate(SIX[4], SIX[1])]
    assert plan.layout[0] == "redis-1 (192.0.2.1:6379): replica of redis-4"


# --- nothing to do ---------------------------------------------------------------------------------------------------


def test_swapped_roles_are_as_described_even_with_keys() -> None:
    model = formed()
    first, fourth = model.nodes[SIX[0]], model.nodes[SIX[3]]
    first.slots, fourth.slots = set(), first.slots
    first.primary_id, fourth.primary_id = fourth.node_id, ""
    fourth.keys = first.keys = 7
    plan = make_plan(Desired(SIX, 1), model.observe())
    assert (plan.sentences, plan.warnings) == ([], ())


def test_a_node_timeout_that_a_killed_run_left_behind_is_set_back() -> None:
    model = formed()
    model.nodes[SIX[1]].timeout = 2000
    model.nodes[SIX[1]].keys = 5
    assert make_plan(Desired(SIX, 1), model.observe()).sentences == []
    plan = make_plan(Desired(SIX, 1, 15000), model.observe())
    assert plan.sentences == ["Set cluster-node-timeout to 15000 ms on redis-2."]
    assert plan.changed


def test_a_node_timeout_that_may_not_be_read_is_left_alone() -> None:
    model = Model(SIX)
    for model_node in model.nodes.values():
        model_node.timeout = None  # type: ignore[assignment]
    plan = make_plan(Desired(SIX, 1, 15000), model.observe())
    assert not any(isinstance(step, SetNodeTimeout) for step in plan.steps)


def test_a_placement_that_became_bad_is_restored() -> None:
    nodes = tuple(node(number, host=f"h{(number - 1) % 3}") for number in range(1, 7))
    model = formed(nodes)
    replicas = [m for m in model.nodes.values() if m.primary_id]
    on_host = {m.node.host: m.node_id for m in model.nodes.values() if not m.primary_id}
    for replica in replicas:
        replica.primary_id = on_host[replica.node.host]
    plan = make_plan(Desired(nodes, 1), model.observe())
    assert all(isinstance(step, (Replicate, AwaitSync, AwaitAgreement)) for step in plan.steps)
    model.run(plan)
    view = model.observe()
    assert view.warnings == ()
    assert make_plan(Desired(nodes, 1), view).sentences == []


def test_nodes_left_over_are_additional_replicas_and_that_is_said() -> None:
    nodes = tuple(node(number) for number in range(1, 8))
    plan = make_plan(Desired(nodes, 1), Model(nodes).observe())
    assert plan.warnings == (
        "7 nodes do not divide into primaries with 1 replica each: there are 3 primaries, and 1 node left over is an "
        "additional replica.",
    )
    assert sum(isinstance(step, Replicate) for step in plan.steps) == 4


def test_a_cluster_with_keys_that_is_still_settling_is_waited_for() -> None:
    model = formed()
    for number, keys in enumerate((5, 0, 0, 5, 0, 0)):
        model.nodes[SIX[number]].keys = keys
    settled = model.observe().nodes[3].view
    model.replaced[SIX[3]] = replace(settled, link="down", state="fail")
    plan = make_plan(Desired(SIX, 1), model.observe())
    assert (plan.steps, plan.changed) == ((AwaitAgreement(),), False)


def test_a_new_node_beside_a_cluster_with_keys_becomes_a_replica() -> None:
    seven = (*SIX, node(7))
    model = formed()
    model.nodes[SIX[0]].keys = 5
    model.nodes[seven[6]] = ModelNode(seven[6], "7" * 40)
    plan = make_plan(Desired(seven, 1), model.observe())
    assert plan.sentences == [
        "Introduce redis-7 to redis-1, redis-2 and redis-3.",
        "Wait until all 7 nodes know each other.",
        "Make redis-7 a replica of redis-1.",
        "Wait until redis-7 is in sync.",
        AwaitAgreement().sentence,
    ]
    model.run(plan)
    assert make_plan(Desired(seven, 1), model.observe()).sentences == []


# --- refusals --------------------------------------------------------------------------------------------------------


def test_keys_are_never_touched() -> None:
    model = Model(SIX)
    model.nodes[SIX[1]].keys = 1
    model.nodes[SIX[2]].functions = 2
    assert refusal(model) == [
        "redis-2 (192.0.2.2:6379) holds 1 key; only nodes without data become members: look whose data it "
        "is, and empty the node yourself or declare another one.",
        "redis-3 (192.0.2.3:6379) holds 2 functions; only nodes without data become members: look "
        "whose data it is, and empty the node yourself or declare another one.",
    ]


def test_every_reason_is_given_at_once() -> None:
    model = Model(SIX)
    model.nodes[SIX[1]].keys = 3
    model.replaced[SIX[4]] = NodeView(node=SIX[4], error="192.0.2.5:6379 refused the connection; start it.")
    model.replaced[SIX[5]] = NodeView(node=SIX[5], product="redis", version="7.0.15", cluster_enabled=False)
    reasons = refusal(model, replicas=2)
    assert [reason.split(";")[0] for reason in reasons] == [
        "6 nodes with 2 replicas per primary make 2 primaries, but a cluster needs 3",
        "redis-5: 192.0.2.5:6379 refused the connection",
        "redis-6 (192.0.2.6:6379) does not run in cluster mode",
        "redis-2 (192.0.2.2:6379) holds 3 keys",
    ]


def test_a_member_of_another_cluster_is_refused() -> None:
    model = Model(SIX)
    stranger = MemberLine("f" * 40, "203.0.113.9", 6379, 16379, frozenset({"master"}), "", 4, True, ((0, 16383),))
    model.strangers.append(stranger)
    reasons = refusal(model)
    assert any(
        f"know a member that is not declared: 203.0.113.9:6379, id {'f' * 40} (master, slots 0-16383)" in reason
        for reason in reasons
    )


def test_a_cluster_with_a_node_down_is_refused_with_what_is_wrong() -> None:
    model = formed()
    model.replaced[SIX[5]] = NodeView(node=SIX[5], error="192.0.2.6:6379 did not answer within 5 s; check it.")
    assert refusal(model) == [
        "redis-6: 192.0.2.6:6379 did not answer within 5 s; check it.",
    ]


def reach(model: Model, desired: Desired) -> list[Step]:
    """Carry out the plan, and see that nothing is left to be done."""
    plan = make_plan(desired, model.observe(desired.replicas_per_primary))
    model.run(plan)
    view = model.observe(desired.replicas_per_primary)
    assert view.healthy, [problem.sentence for problem in view.problems]
    assert make_plan(desired, view).sentences == []
    return [step for step in plan.steps if step.changes]


def test_more_replicas_for_each_primary_dissolve_primaries() -> None:
    model = formed(replicas=0)
    steps = reach(model, Desired(SIX, 1))
    assert [type(step) for step in steps] == [MoveSlots] * 3 + [Replicate] * 3
    assert sum(count_slots(step.slots) for step in steps if isinstance(step, MoveSlots)) == 8191


def test_weights_move_slots_and_nothing_else() -> None:
    model = formed()
    heavy = tuple(replace(n, weight=2) if n in (SIX[0], SIX[3]) else n for n in SIX)
    for was, becomes in zip(SIX, heavy):
        model.nodes[becomes] = model.nodes.pop(was)
        model.nodes[becomes].node = becomes
    steps = reach(model, Desired(heavy, 1))
    assert {type(step) for step in steps} == {MoveSlots}
    assert [len(m.slots) for m in model.nodes.values()] == [8192, 4096, 4096, 0, 0, 0]


@pytest.mark.parametrize("threshold", [0, 2, 5])
def test_small_differences_are_tolerated(threshold: int) -> None:
    model = formed()
    moved = set(range(150))
    model.nodes[SIX[0]].slots -= moved
    model.nodes[SIX[1]].slots |= moved
    plan = make_plan(Desired(SIX, 1, threshold=threshold), model.observe())
    assert [type(step) for step in plan.steps] == ([] if threshold == 5 else [MoveSlots, AwaitAgreement])


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda m: m.nodes[SIX[0]].slots.update(range(5461, 5470)), id="slots of another"),
        pytest.param(lambda m: m.nodes[SIX[3]].slots.update(range(3)), id="slots on a replica to be"),
    ],
)
def test_half_a_cluster_of_another_plan_is_made_whole(change: Callable[[Model], None]) -> None:
    model = Model(SIX)
    model.nodes[SIX[0]].slots = set(range(3, 5461))
    change(model)
    reach(model, Desired(SIX, 1))


def test_a_replica_in_the_wrong_place_is_moved() -> None:
    model = formed()
    model.nodes[SIX[3]].primary_id = model.nodes[SIX[1]].node_id
    # The nodes are on hosts of their own, so either of the two will do.
    (step,) = reach(model, Desired(SIX, 1))
    assert isinstance(step, Replicate) and step.node in (SIX[3], SIX[4]) and step.primary == SIX[0]


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        pytest.param([node(1), node(1)], "The address 192.0.2.1:6379 is declared 2 times; declare each node once."),
        pytest.param(
            [node(1), replace(node(2), name="redis-1")], "The name redis-1 is given to 2 nodes; give each its own."
        ),
        pytest.param(
            [replace(node(1), address=Address("redis-1.example", 6379))],
            "The address 'redis-1.example' of redis-1 is not an IP address; CLUSTER MEET takes no names, and nodes "
            "know each other by IP address.",
        ),
        pytest.param(
            [replace(node(1), bus_port=70000)],
            "The bus port 70000 of redis-1 is not between 1 and 65535; declare another one.",
        ),
        pytest.param(
            [replace(node(1), bus_port=6379)], "The port and the bus port of redis-1 are both 6379; they must differ."
        ),
    ],
)
def test_nodes_that_cannot_be_told_apart_or_reached_are_named(nodes: list[DeclaredNode], expected: str) -> None:
    assert check_addresses(nodes) == [expected]


def test_addresses_of_a_proper_declaration_are_fine() -> None:
    six = DeclaredNode("v6", Address("2001:db8::1", 6379), 16379, "v6")
    assert check_addresses([*SIX, six]) == []


@pytest.mark.parametrize(
    ("nodes", "replicas", "expected"),
    [
        pytest.param(
            SIX[:4],
            1,
            "4 nodes with 1 replica per primary make 2 primaries, but a cluster needs 3; declare 6 nodes or more, or "
            "fewer replicas per primary.",
        ),
        pytest.param(SIX, -1, "replicas_per_primary is -1; it must be 0 or more."),
        pytest.param(
            [node(1, "h", "a"), node(2, "h", "b"), node(3)],
            0,
            "The host h is declared in several zones (a and b); a host is in one.",
        ),
    ],
)
def test_a_shape_that_cannot_be_is_refused(nodes: Sequence[DeclaredNode], replicas: int, expected: str) -> None:
    assert check_counts(Desired(tuple(nodes), replicas)) == [expected]


def test_the_goal_does_not_depend_on_what_is_there() -> None:
    assert place(SIX, 1) == place(tuple(reversed(SIX)), 1)
