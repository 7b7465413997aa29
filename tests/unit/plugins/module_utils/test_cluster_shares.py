# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many slots each shard gets, and which slots move."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.apiops.tyk_redis.plugins.module_utils._cluster_shares import (
    Transfer,
    balanced,
    shard_weight,
    shares,
    transfers,
)
from ansible_collections.apiops.tyk_redis.plugins.module_utils._cluster_view import (
    SLOTS,
    DeclaredNode,
    SlotRanges,
    count_slots,
    each_slot,
    to_ranges,
)
from ansible_collections.apiops.tyk_redis.plugins.module_utils._redis_client import Address


def node(number: int, weight: int = 1) -> DeclaredNode:
    return DeclaredNode(f"node-{number}", Address(f"192.0.2.{number}", 6379), 16379, f"host-{number}", weight=weight)


def equal(count: int) -> list[Fraction]:
    return [Fraction(1)] * count


@st.composite
def ownerships(draw: st.DrawFn) -> dict[DeclaredNode, SlotRanges]:
    """All slots, in pieces that anybody may own."""
    count = draw(st.integers(1, 12))
    cuts = sorted(draw(st.sets(st.integers(1, SLOTS - 1), max_size=30)))
    owned: dict[DeclaredNode, list[int]] = {node(number): [] for number in range(count)}
    for first, after in zip([0, *cuts], [*cuts, SLOTS], strict=True):
        owned[node(draw(st.integers(0, count - 1)))] += range(first, after)
    return {owner: to_ranges(slots) for owner, slots in owned.items()}


def result(owned: Mapping[DeclaredNode, SlotRanges], moves: list[Transfer]) -> dict[DeclaredNode, set[int]]:
    """Who owns what after the moves, each of which must be of slots that its source owns."""
    slots = {owner: set(each_slot(ranges)) for owner, ranges in owned.items()}
    for move in moves:
        moved = set(each_slot(move.slots))
        assert moved
        assert len(moved) == count_slots(move.slots)
        assert moved <= slots[move.source]
        slots[move.source] -= moved
        slots.setdefault(move.target, set()).update(moved)
    return slots


WEIGHTS = st.lists(st.fractions(Fraction(1, 4), 1000, max_denominator=4), min_size=1, max_size=12)


@given(WEIGHTS, st.data())
def test_shares_are_exact_but_for_rounding_and_stay_once_they_are_reached(
    weights: list[Fraction], data: st.DataObject
) -> None:
    owned = data.draw(st.lists(st.integers(0, SLOTS), min_size=len(weights), max_size=len(weights)))
    wanted = shares(weights, owned)
    assert sum(wanted) == SLOTS
    for count, weight in zip(wanted, weights, strict=True):
        assert abs(count - weight * SLOTS / sum(weights)) < 1
    assert shares(weights, wanted) == wanted
    assert balanced(wanted, weights, 0)


@given(ownerships())
def test_what_cannot_be_divided_goes_to_those_who_own_more_already(owned: dict[DeclaredNode, SlotRanges]) -> None:
    counts = [count_slots(ranges) for ranges in owned.values()]
    wanted = shares(equal(len(counts)), counts)
    least = SLOTS // len(counts)
    rest = SLOTS - least * len(counts)
    moved = sum(max(0, have - want) for have, want in zip(counts, wanted, strict=True))
    surplus = [have - least for have in counts if have > least]
    assert moved == sum(surplus) - min(rest, len(surplus))


def test_everybody_gets_a_slot() -> None:
    weights = [Fraction(1), Fraction(1_000_000), Fraction(1)]
    assert shares(weights, [0, SLOTS, 0]) == [1, SLOTS - 2, 1]
    assert balanced([1, SLOTS - 2, 1], weights, 0)
    assert shares(equal(SLOTS), [0] * SLOTS) == [1] * SLOTS


@pytest.mark.parametrize("weights", [[], [Fraction(0)], [Fraction(1), Fraction(-1)], equal(SLOTS + 1)])
def test_what_cannot_be_shared_is_refused(weights: list[Fraction]) -> None:
    with pytest.raises(ValueError, match=f"^16384 slots cannot be shared by {len(weights)} weights, all of them above"):
        shares(weights, [0] * len(weights))


@pytest.mark.parametrize(
    ("owned", "threshold", "expected"),
    [
        pytest.param([5461, 5462, 5461], 0, True, id="rounded"),
        pytest.param([5461, 5461, 5462], 0, True, id="rounded otherwise"),
        pytest.param([5460, 5462, 5462], 0, False, id="more than a slot off"),
        pytest.param([5460, 5462, 5462], 2, True, id="within the threshold"),
        pytest.param([5352, 5461, 5571], 2, False, id="just above the threshold"),
        pytest.param([5353, 5461, 5570], 2, True, id="just within the threshold"),
        pytest.param([8192, 8192, 0], 1000, False, id="one has nothing"),
    ],
)
def test_a_balance_is_a_matter_of_slots_and_percents(owned: list[int], threshold: float, expected: bool) -> None:
    assert balanced(owned, equal(3), threshold) is expected


def test_the_weight_of_a_shard_does_not_depend_on_its_primary() -> None:
    assert shard_weight([node(0, 1), node(1, 4)]) == shard_weight([node(1, 4), node(0, 1)]) == Fraction(5, 2)


@given(ownerships(), st.data())
@settings(max_examples=200)
def test_transfers_reach_what_is_wanted_with_the_fewest_slots_moved(
    owned: dict[DeclaredNode, SlotRanges], data: st.DataObject
) -> None:
    new = [node(100 + number) for number in range(data.draw(st.integers(0, 4)))]
    gone = set(data.draw(st.lists(st.sampled_from(sorted(owned, key=lambda n: n.name)), max_size=3)))
    remaining = [owner for owner in [*owned, *new] if owner not in gone] or list(owned)
    weights = [Fraction(data.draw(st.integers(1, 3))) for _node in remaining]
    counts = {owner: count_slots(ranges) for owner, ranges in owned.items()}
    wanted = dict(zip(remaining, shares(weights, [counts.get(n, 0) for n in remaining]), strict=True))
    moves = transfers(owned, wanted)
    slots = result(owned, moves)
    assert sorted(slot for owner in slots for slot in slots[owner]) == list(range(SLOTS))
    assert {owner: len(held) for owner, held in slots.items() if held} == wanted
    surplus = {owner: count - wanted.get(owner, 0) for owner, count in counts.items() if count > wanted.get(owner, 0)}
    assert sum(count_slots(move.slots) for move in moves) == sum(surplus.values())
    assert {move.source for move in moves} == set(surplus)
    assert not {move.source for move in moves} & {move.target for move in moves}
    assert len({(move.source, move.target) for move in moves}) == len(moves)
    assert len(moves) < len(surplus) + len({move.target for move in moves}) or not moves
    assert transfers(owned, wanted) == moves
    # Each move cuts one range at the most.
    pieces = sum(len(ranges) for ranges in owned.values())
    assert sum(len(move.slots) for move in moves) <= pieces + len(moves)


def named(moves: list[Transfer]) -> list[tuple[str, str, SlotRanges]]:
    return [(move.source.name[-1], move.target.name[-1], move.slots) for move in moves]


def test_three_primaries_become_six_by_three_moves_side_by_side() -> None:
    owned = {node(0): ((0, 5460),), node(1): ((5461, 10922),), node(2): ((10923, 16383),)}
    nodes = [node(number) for number in range(6)]
    wanted = dict(zip(nodes, shares(equal(6), [5461, 5462, 5461, 0, 0, 0]), strict=True))
    assert named(transfers(owned, wanted)) == [
        ("1", "3", ((8192, 10922),)),
        ("0", "4", ((2731, 5460),)),
        ("2", "5", ((13654, 16383),)),
    ]


def test_moves_without_a_common_node_come_first() -> None:
    owned = {node(0): ((0, 8191),), node(1): ((8192, 16383),)}
    wanted = {node(number): 4096 for number in range(2)} | {node(2): 2048, node(3): 2048, node(4): 4096}
    assert named(transfers(owned, wanted)) == [
        ("0", "4", ((4096, 8191),)),
        ("1", "2", ((14336, 16383),)),
        ("1", "3", ((12288, 14335),)),
    ]


def test_a_node_gives_whole_ranges_from_its_end() -> None:
    owned = {node(0): ((0, 9999), (12000, 12099), (16000, 16383)), node(1): ((10000, 11999), (12100, 15999))}
    wanted = {node(0): 9900, node(1): 6484}
    assert named(transfers(owned, wanted)) == [("0", "1", ((9900, 9999), (12000, 12099), (16000, 16383)))]


def test_nothing_moves_where_all_is_as_wanted() -> None:
    assert transfers({node(0): ((0, 9),), node(1): ((10, 14),)}, {node(0): 10, node(1): 5}) == []


def test_wanting_more_than_there_is_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^11 slots are wanted of 10$"):
        transfers({node(0): ((0, 9),)}, {node(0): 5, node(1): 6})
