# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many slots each shard is due by its weight, and the fewest moves that get it there. No I/O.

Private to this collection.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from ansible_collections.apiops.tyk_redis.plugins.module_utils._cluster_view import (
    SLOTS,
    DeclaredNode,
    SlotRanges,
    count_slots,
)


@dataclass(frozen=True)
class Transfer:
    """Slots that change their owner."""

    source: DeclaredNode
    target: DeclaredNode
    slots: SlotRanges


def shard_weight(nodes: Sequence[DeclaredNode]) -> Fraction:
    """The mean of the members' weights, so that it does not depend on who is the primary."""
    return Fraction(sum(node.weight for node in nodes), len(nodes))


def shares(weights: Sequence[Fraction], owned: Sequence[int]) -> list[int]:
    """How many slots each shard gets, SLOTS in all: its exact share, rounded up or down, and at least one.

    Those that own more than their rounded share are rounded up first, so that the fewest slots move. What was reached
    is left as it is by the next call. Raises ValueError if the weights are not positive or the shards too many.
    """
    exact = _exact_shares(weights)
    wanted = [int(share) for share in exact]
    uneven = [index for index, share in enumerate(exact) if share > wanted[index]]
    uneven.sort(key=lambda index: (owned[index] <= wanted[index], -owned[index], index))
    for index in uneven[: SLOTS - sum(wanted)]:
        wanted[index] += 1
    return _at_least_one(wanted)


def balanced(owned: Sequence[int], weights: Sequence[Fraction], threshold: float) -> bool:
    """Whether no shard is further off its exact share than one slot, or than the threshold (percent of the share).

    A shard without slots is never balanced.
    """
    if not all(owned):
        return False
    if list(owned) == shares(weights, owned):
        return True
    return all(
        abs(count - share) <= max(Fraction(1), Fraction(threshold) * share / 100)
        for count, share in zip(owned, _exact_shares(weights))
    )


def transfers(owned: Mapping[DeclaredNode, SlotRanges], wanted: Mapping[DeclaredNode, int]) -> list[Transfer]:
    """The moves after which everybody has as many slots as wanted (0 if not named), with the fewest slots moved.

    There are few pairs of nodes, and neighbours in the list have no node in common where that is possible, so that they
    can be done side by side. A node gives away its last slots. Raises ValueError if more or less is wanted than owned.
    """
    nodes = list(dict.fromkeys([*owned, *wanted]))
    difference = {node: count_slots(owned.get(node, ())) - wanted.get(node, 0) for node in nodes}
    if sum(difference.values()):
        raise ValueError(f"{sum(wanted.values())} slots are wanted of {sum(map(count_slots, owned.values()))}")
    remaining = {node: owned.get(node, ()) for node in nodes}
    moves = []
    for source, target, count in _in_rounds(_pairs(difference)):
        remaining[source], given = _cut(remaining[source], count)
        moves.append(Transfer(source, target, given))
    return moves


def _exact_shares(weights: Sequence[Fraction]) -> list[Fraction]:
    if not 0 < len(weights) <= SLOTS or min(weights) <= 0:
        raise ValueError(f"{SLOTS} slots cannot be shared by {len(weights)} weights, all of them above 0")
    total = sum(weights, Fraction(0))
    return [weight * SLOTS / total for weight in weights]


def _at_least_one(wanted: list[int]) -> list[int]:
    """Take from the biggest what those without any need."""
    biggest = [(-count, index) for index, count in enumerate(wanted)]
    heapq.heapify(biggest)
    for index, count in enumerate(wanted):
        if count == 0:
            negative, giver = heapq.heappop(biggest)
            heapq.heappush(biggest, (negative + 1, giver))
            wanted[giver] -= 1
            wanted[index] = 1
    return wanted


def _pairs(difference: Mapping[DeclaredNode, int]) -> list[tuple[DeclaredNode, DeclaredNode, int]]:
    """Who gives how many slots to whom: equals to each other, then who has most to give to who needs most."""
    nodes = list(difference)
    pairs = []
    givers: dict[int, list[int]] = {}
    takers: dict[int, list[int]] = {}
    for index, node in enumerate(nodes):
        if difference[node]:
            (givers if difference[node] > 0 else takers).setdefault(abs(difference[node]), []).append(index)
    for count in sorted(givers, reverse=True):
        matched = list(zip(givers[count], takers.get(count, [])))
        pairs += [(giver, taker, count) for giver, taker in matched]
        del givers[count][: len(matched)], takers.get(count, [])[: len(matched)]
    giving = [(-count, index) for count, indexes in givers.items() for index in indexes]
    taking = [(-count, index) for count, indexes in takers.items() for index in indexes]
    heapq.heapify(giving)
    heapq.heapify(taking)
    while giving:
        (surplus, giver), (need, taker) = heapq.heappop(giving), heapq.heappop(taking)
        count = -max(surplus, need)
        pairs.append((giver, taker, count))
        if surplus < -count:
            heapq.heappush(giving, (surplus + count, giver))
        if need < -count:
            heapq.heappush(taking, (need + count, taker))
    return [(nodes[giver], nodes[taker], count) for giver, taker, count in pairs]


def _in_rounds(
    pairs: Sequence[tuple[DeclaredNode, DeclaredNode, int]],
) -> list[tuple[DeclaredNode, DeclaredNode, int]]:
    """Order pairs so that no node is twice in one round, and each begins in the first round that has room for it."""
    busy: dict[DeclaredNode, set[int]] = {}
    rounds: list[tuple[int, int]] = []
    for number, (source, target, _count) in enumerate(pairs):
        taken = busy.setdefault(source, set()) | busy.setdefault(target, set())
        turn = next(turn for turn in range(len(taken) + 1) if turn not in taken)
        busy[source].add(turn)
        busy[target].add(turn)
        rounds.append((turn, number))
    return [pairs[number] for _turn, number in sorted(rounds)]


def _cut(ranges: SlotRanges, count: int) -> tuple[SlotRanges, SlotRanges]:
    """Split ranges into what stays and the last so many slots."""
    stays = list(ranges)
    given = []
    while count:
        first, last = stays.pop()
        begin = max(first, last - count + 1)
        if begin > first:
            stays.append((first, begin - 1))
        given.append((begin, last))
        count -= last - begin + 1
    return tuple(stays), tuple(reversed(given))
