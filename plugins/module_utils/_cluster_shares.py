# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many slots each primary is to own, and the fewest moves that lead there. No I/O.

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
    SlotRange,
    SlotRanges,
    count_slots,
)


@dataclass(frozen=True)
class Transfer:
    """Slots that go from one primary to another."""

    source: DeclaredNode
    target: DeclaredNode
    slots: SlotRanges


def shard_weight(nodes: Sequence[DeclaredNode]) -> Fraction:
    """The weight of a shard: the mean of its members' weights, so that a failover changes nothing."""
    return Fraction(sum(node.weight for node in nodes), len(nodes))


def shares(weights: Sequence[Fraction], owned: Sequence[int]) -> list[int]:
    """How many slots each shard is to own, in proportion to the weights.

    What is left over by rounding goes to those with the largest rest, and among equals to those that own most already,
    because that moves least.
    """
    total = sum(weights)
    exact = [SLOTS * weight / total for weight in weights]
    counts = [int(share) for share in exact]
    order = sorted(range(len(counts)), key=lambda i: (-(exact[i] - counts[i]), -owned[i], i))
    for index in order[: SLOTS - sum(counts)]:
        counts[index] += 1
    return counts


def balanced(owned: Sequence[int], weights: Sequence[Fraction], threshold: float) -> bool:
    """Whether every shard owns slots, and not more than `threshold` percent (or one slot) beside its share."""
    total = sum(weights)
    return all(
        count > 0 and abs(count - share) <= max(1, share * Fraction(threshold) / 100)
        for count, share in ((count, SLOTS * weight / total) for count, weight in zip(owned, weights))
    )


def transfers(owned: Mapping[DeclaredNode, SlotRanges], wanted: Mapping[DeclaredNode, int]) -> list[Transfer]:
    """Which slots go where, so that everybody owns what is wanted and no slot moves that need not.

    A node that is not wanted gives everything up. Each target takes from the source that has most to give, so that
    different pairs can work side by side; and from the ends of its ranges, so that these stay few.

    Args:
        owned: who owns which slots now, all slots together.
        wanted: how many slots each is to own, all slots together.
    """
    counts = {node: count_slots(ranges) for node, ranges in owned.items()}
    rest = {node: list(ranges) for node, ranges in owned.items()}
    giving = [(wanted.get(node, 0) - counts[node], node.address, node) for node in owned]
    heap = [item for item in giving if item[0] < 0]
    heapq.heapify(heap)
    found = []
    taking = [(wanted[node] - counts.get(node, 0), node) for node in wanted]
    for needed, target in sorted(taking, key=lambda item: (-item[0], item[1].address)):
        while needed > 0:
            surplus, key, source = heapq.heappop(heap)
            number = min(needed, -surplus)
            found.append(Transfer(source, target, _take(rest[source], number)))
            needed -= number
            if surplus + number < 0:
                heapq.heappush(heap, (surplus + number, key, source))
    return found


def _take(ranges: list[SlotRange], number: int) -> SlotRanges:
    """Take that many slots off the end."""
    taken: list[SlotRange] = []
    while number > 0:
        first, last = ranges.pop()
        start = max(first, last - number + 1)
        if start > first:
            ranges.append((first, start - 1))
        taken.append((start, last))
        number -= last - start + 1
    return tuple(reversed(taken))
