# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is decided about each kind of damage, and what is refused with what words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ansible_collections.apiops.tyk_redis.plugins.module_utils._cluster_repair import (
    Repairs,
    holders_of_strange_keys,
    repair,
    slots_to_ask_about,
)
from ansible_collections.apiops.tyk_redis.plugins.module_utils._cluster_steps import (
    BumpEpoch,
    ClaimSlots,
    CloseSlots,
    DropClaim,
    Forget,
    MoveOrphans,
    MoveSlots,
    Step,
    TakeOver,
)
from ansible_collections.apiops.tyk_redis.plugins.module_utils._cluster_view import (
    ClusterView,
    DeclaredNode,
    MemberLine,
    NodeView,
    SlotRanges,
    each_slot,
    merge,
)
from ansible_collections.apiops.tyk_redis.plugins.module_utils._redis_client import Address

NODES = tuple(DeclaredNode(f"redis-{n}", Address(f"192.0.2.{n}", 6379), 16379, f"192.0.2.{n}") for n in range(1, 7))
ONE, TWO, THREE, FOUR, FIVE, SIX = NODES
DISPUTED = "so that all believe its claim to slots which another one claimed, too"
THIRDS: dict[DeclaredNode, SlotRanges] = {ONE: ((0, 5460),), TWO: ((5461, 10922),), THREE: ((10923, 16383),)}


def id_of(node: DeclaredNode) -> str:
    return f"{NODES.index(node) + 1:040x}"


@dataclass
class Picture:
    """Six nodes, three of them primaries, as the test paints them."""

    slots: dict[DeclaredNode, SlotRanges] = field(default_factory=lambda: dict(THIRDS))
    primary_of: dict[DeclaredNode, str] = field(
        default_factory=lambda: {FOUR: id_of(ONE), FIVE: id_of(TWO), SIX: id_of(THREE)}
    )
    migrating: dict[DeclaredNode, tuple[tuple[int, str], ...]] = field(default_factory=dict)
    importing: dict[DeclaredNode, tuple[tuple[int, str], ...]] = field(default_factory=dict)
    keys: Mapping[int, Mapping[DeclaredNode, int]] = field(default_factory=dict)
    strangers: tuple[MemberLine, ...] = ()
    missing: tuple[DeclaredNode, ...] = ()
    # Who knows whom, when that is not everybody.
    islands: tuple[frozenset[DeclaredNode], ...] = (frozenset(NODES),)

    def view(self) -> ClusterView:
        there = [node for node in NODES if node not in self.missing]
        view = merge([self._node(node, there) for node in there], 1, {line.node_id: False for line in self.strangers})
        return replace(view, slot_keys=self.keys)

    def _node(self, viewer: DeclaredNode, there: Sequence[DeclaredNode]) -> NodeView:
        return NodeView(
            node=viewer,
            product="redis",
            version="7.0.15",
            state="ok",
            lines=(
                *(self._line(viewer, node) for node in there if any({viewer, node} <= i for i in self.islands)),
                *self.strangers,
            ),
            keys=sum(counts.get(viewer, 0) for counts in self.keys.values()) or 1,
            link="up" if viewer in self.primary_of else "",
            offset=100,
        )

    def _line(self, viewer: DeclaredNode, node: DeclaredNode) -> MemberLine:
        flags = {"slave" if node in self.primary_of else "master"} | ({"myself"} if node is viewer else set())
        return MemberLine(
            node_id=id_of(node),
            host=node.address.host,
            port=6379,
            bus_port=16379,
            flags=frozenset(flags),
            primary_id=self.primary_of.get(node, ""),
            epoch=NODES.index(node) + 1,
            connected=True,
            slots=self.slots.get(node, ()),
            migrating=self.migrating.get(node, ()) if node is viewer else (),
            importing=self.importing.get(node, ()) if node is viewer else (),
        )


def dead(number: int, slots: SlotRanges = ()) -> MemberLine:
    flags = frozenset({"master", "fail"})
    return MemberLine(f"{number:040x}", f"192.0.2.{number}", 6379, 16379, flags, "", 9, False, slots)


def decided(picture: Picture, allowed: Iterable[int] = ()) -> Repairs:
    return repair(picture.view(), allowed)


def steps(repairs: Repairs) -> list[Step]:
    return [*repairs.before, *repairs.after]


def test_a_whole_cluster_needs_no_repair() -> None:
    repairs = decided(Picture())
    assert (steps(repairs), repairs.refusals, repairs.forget_later) == ([], [], [])
    assert repairs.owned == {node: set(each_slot(slots)) for node, slots in THIRDS.items()}
    assert repairs.primary_of == {FOUR: ONE, FIVE: TWO, SIX: THREE}


# --- open slots ------------------------------------------------------------------------------------------------------


def test_a_move_that_both_ends_know_is_finished() -> None:
    picture = Picture(
        migrating={ONE: ((7, id_of(TWO)), (8, id_of(TWO)))},
        importing={TWO: ((7, id_of(ONE)), (8, id_of(ONE)))},
        keys={7: {ONE: 3, TWO: 2}, 8: {ONE: 1}},
    )
    assert slots_to_ask_about(picture.view()) == {7, 8}
    repairs = decided(picture)
    assert steps(repairs) == [MoveSlots(ONE, TWO, ((7, 8),), resumed=True)]
    assert {7, 8} <= repairs.owned[TWO] and not {7, 8} & repairs.owned[ONE]


def test_a_move_of_which_only_the_target_knows_is_taken_back_when_it_holds_nothing() -> None:
    picture = Picture(importing={TWO: ((7, id_of(ONE)),)}, keys={7: {ONE: 3}})
    assert steps(decided(picture)) == [CloseSlots(TWO, ((7, 7),))]


def test_keys_on_a_node_that_believes_to_import_go_to_the_owner() -> None:
    picture = Picture(importing={TWO: ((7, id_of(ONE)),)}, keys={7: {ONE: 3, TWO: 4}})
    assert steps(decided(picture)) == [MoveOrphans(TWO, ONE, ((7, 7),), 4)]


def test_a_move_of_which_only_the_source_knows() -> None:
    picture = Picture(migrating={ONE: ((7, id_of(TWO)),)}, keys={7: {ONE: 3}})
    assert steps(decided(picture)) == [CloseSlots(ONE, ((7, 7),))]
    picture.keys = {7: {ONE: 3, TWO: 1}}
    assert steps(decided(picture)) == [MoveSlots(ONE, TWO, ((7, 7),), resumed=True)]


def test_a_move_whose_target_has_failed_over_goes_on_to_its_new_primary() -> None:
    picture = Picture(
        slots={**THIRDS, TWO: (), FIVE: THIRDS[TWO]},
        primary_of={FOUR: id_of(ONE), TWO: id_of(FIVE), SIX: id_of(THREE)},
        migrating={ONE: ((7, id_of(TWO)),)},
        # A replica's copy is no second holder.
        keys={7: {ONE: 3, TWO: 4, FIVE: 4}},
    )
    assert steps(decided(picture)) == [MoveSlots(ONE, FIVE, ((7, 7),), resumed=True)]


def test_a_source_that_still_marks_a_slot_which_has_moved_is_told() -> None:
    picture = Picture(migrating={ONE: ((5461, id_of(TWO)),)}, keys={5461: {TWO: 3}})
    assert steps(decided(picture)) == [CloseSlots(ONE, ((5461, 5461),))]


def test_a_move_to_a_node_that_is_no_member_any_more_is_taken_back() -> None:
    picture = Picture(migrating={ONE: ((7, "f" * 40),)}, keys={7: {ONE: 3}})
    assert steps(decided(picture)) == [CloseSlots(ONE, ((7, 7),))]


# --- lost, disputed and strange ---------------------------------------------------------------------------------------


def test_slots_without_an_owner_follow_their_keys() -> None:
    picture = Picture(slots={**THIRDS, ONE: ((10, 5460),)}, keys={3: {TWO: 5}, 4: {TWO: 1, THREE: 2}})
    repairs = decided(picture)
    assert steps(repairs) == [
        ClaimSlots(TWO, ((3, 3),), 5),
        ClaimSlots(THREE, ((4, 4),), 2),
        # Without keys anywhere they go to who owns least.
        ClaimSlots(ONE, ((0, 2), (5, 9)), 0),
        MoveOrphans(TWO, THREE, ((4, 4),), 1),
    ]


def test_slots_that_only_a_stray_replica_holds_are_refused() -> None:
    picture = Picture(
        slots={TWO: THIRDS[TWO], THREE: THIRDS[THREE]},
        primary_of={FOUR: "e" * 40, FIVE: id_of(TWO), SIX: id_of(THREE)},
        keys={3: {FOUR: 5}},
        missing=(ONE,),
    )
    assert decided(picture).refusals == [
        "The slots 3 are served by nobody, and only redis-4 holds keys of them, as the replica of a primary that is no "
        'longer known. Save its data (BGSAVE) and restore them, or give them up with allow_data_loss: ["3"].'
    ]
    allowed = decided(picture, {3})
    assert allowed.refusals == []
    assert steps(allowed) == [ClaimSlots(THREE, ((0, 5460),), 0)]


def test_a_claim_without_keys_gives_way_to_the_one_with_keys() -> None:
    picture = Picture(slots={**THIRDS, TWO: ((5400, 10922),)}, keys={5400: {ONE: 2}})
    repairs = decided(picture)
    # Where nobody holds keys, the later claim is believed.
    assert repairs.before == [DropClaim(TWO, ((5400, 5400),), ONE), DropClaim(ONE, ((5401, 5460),), TWO)]
    assert repairs.after == [BumpEpoch(node, DISPUTED) for node in (ONE, TWO)]
    assert 5400 in repairs.owned[ONE] and 5400 not in repairs.owned[TWO]


def test_two_claims_with_keys_are_two_clusters() -> None:
    picture = Picture(slots={**THIRDS, TWO: ((5460, 10922),)}, keys={5460: {ONE: 2, TWO: 1}})
    assert decided(picture).refusals == [
        "The slots 5460 are claimed by redis-1 with 2 keys and redis-2 with 1 key: these are two clusters with data of "
        "their own, or one that was split, and one side's keys would be lost. Find out which side is right, empty the "
        "other one yourself (CLUSTER RESET HARD after its data are saved), and run again."
    ]


def test_two_islands_with_keys_that_claim_the_same_slots_are_not_merged() -> None:
    picture = Picture(
        slots={**THIRDS, FOUR: ((0, 16383),)},
        primary_of={FIVE: id_of(TWO), SIX: id_of(THREE)},
        # Not one slot of which both hold keys.
        keys={3: {FOUR: 2}, 6000: {TWO: 1}},
        islands=(frozenset({ONE, TWO, THREE, FIVE, SIX}), frozenset({FOUR})),
    )
    repairs = decided(picture)
    assert steps(repairs) == []
    assert repairs.refusals == [
        "redis-4 with 2 keys, and redis-1, redis-2, redis-3, redis-5 and redis-6 with 3 keys, do not know each other "
        "and claim the same slots: these are two clusters, and they are not merged. Declare one of them only; or save "
        "the data of one side, empty it yourself (CLUSTER RESET HARD on each node), and run again."
    ]


def test_islands_with_slots_of_their_own_are_parts_of_one_cluster() -> None:
    picture = Picture(
        keys={3: {ONE: 2}, 6000: {TWO: 1}}, islands=(frozenset({ONE, FOUR}), frozenset({TWO, THREE, FIVE, SIX}))
    )
    repairs = decided(picture)
    assert (steps(repairs), repairs.refusals) == ([], [])


def test_a_primary_without_slots_that_holds_keys_gives_them_to_the_owners() -> None:
    picture = Picture(primary_of={FIVE: id_of(TWO), SIX: id_of(THREE)}, keys={3: {FOUR: 2}, 6000: {FOUR: 1, TWO: 4}})
    assert holders_of_strange_keys(picture.view()) == (FOUR,)
    assert steps(decided(picture)) == [
        MoveOrphans(FOUR, ONE, ((3, 3),), 2),
        MoveOrphans(FOUR, TWO, ((6000, 6000),), 1),
    ]


# --- members that are gone -------------------------------------------------------------------------------------------


def test_a_dead_member_without_slots_is_forgotten_at_last() -> None:
    repairs = decided(Picture(strangers=(dead(9),)))
    assert steps(repairs) == []
    assert repairs.forget_later == [
        Forget(f"{9:040x}", "192.0.2.9:6379 (id 000000000000...), which is gone"),
    ]


def test_the_slots_of_a_dead_primary_are_given_up_only_when_named() -> None:
    picture = Picture(
        slots={TWO: THIRDS[TWO], THREE: THIRDS[THREE]},
        primary_of={FIVE: id_of(TWO), SIX: id_of(THREE)},
        missing=(ONE, FOUR),
        strangers=(dead(9, THIRDS[ONE]),),
    )
    refused = decided(picture)
    assert steps(refused) == []
    assert refused.refusals == [
        "The slots 0-5460 are not served: their owner 192.0.2.9:6379 (id 000000000000...) is gone, and no replica of "
        "it is left; all their keys would be lost. Bring it back with its data; or give them up with allow_data_loss: "
        '["0-5460"].'
    ]
    assert decided(picture, range(5460)).refusals == refused.refusals
    allowed = decided(picture, range(5461))
    assert allowed.refusals == []
    assert [type(step) for step in steps(allowed)] == [Forget, ClaimSlots]


def test_a_replica_takes_over_without_a_vote_only_when_allowed() -> None:
    picture = Picture(
        slots={TWO: THIRDS[TWO], THREE: THIRDS[THREE]},
        primary_of={FOUR: f"{9:040x}", FIVE: id_of(TWO), SIX: id_of(THREE)},
        missing=(ONE,),
        strangers=(dead(9, THIRDS[ONE]),),
    )
    (reason,) = decided(picture).refusals
    assert reason == (
        "The slots 0-5460 are not served: their owner 192.0.2.9:6379 (id 000000000000...) is gone, and its replica "
        "redis-4 could not take over by vote. redis-4 holds 1 key of them. Bring the owner back; or let redis-4 take "
        'over without a vote, which loses the writes that had not reached it, with allow_data_loss: ["0-5460"].'
    )
    allowed = decided(picture, range(5461))
    assert steps(allowed) == [TakeOver(FOUR, THIRDS[ONE])]
    assert allowed.owned[FOUR] == set(range(5461))
    assert len(allowed.forget_later) == 1


def test_a_chain_of_replicas_ends_at_its_primary_and_a_circle_at_none() -> None:
    picture = Picture(primary_of={FOUR: id_of(ONE), FIVE: id_of(FOUR), SIX: id_of(THREE)})
    assert decided(picture).primary_of == {FOUR: ONE, FIVE: ONE, SIX: THREE}
    picture.primary_of = {FOUR: id_of(FIVE), FIVE: id_of(FOUR), SIX: id_of(THREE)}
    assert decided(picture).primary_of == {SIX: THREE}
