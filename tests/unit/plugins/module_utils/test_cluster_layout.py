# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where nodes are placed: compared with trying out everything."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.apiops.tyk_redis.plugins.module_utils._cluster_layout import (
    Shard,
    place,
    placement_warnings,
    split_slots,
)
from ansible_collections.apiops.tyk_redis.plugins.module_utils._cluster_view import (
    SLOTS,
    DeclaredNode,
    count_slots,
)
from ansible_collections.apiops.tyk_redis.plugins.module_utils._redis_client import Address


def nodes_on(hosts: str, zones: str = "") -> list[DeclaredNode]:
    """One node per letter: its host, and likewise its zone."""
    return [
        DeclaredNode(
            name=f"node-{number}",
            address=Address(f"192.0.2.{number}", 6379),
            bus_port=16379,
            host=host,
            zone=zones[number] if zones else "",
        )
        for number, host in enumerate(hosts)
    ]


def shared_hosts(shards: tuple[Shard, ...]) -> int:
    return sum(node.host == shard.primary.host for shard in shards for node in shard.replicas)


def shared_zones(shards: tuple[Shard, ...]) -> int:
    return sum(node.zone == shard.primary.zone for shard in shards for node in shard.replicas)


def can_be_apart(labels: list[str], replicas: int) -> bool:
    """Whether any choice of primaries and any even distribution of replicas keeps each pair on two labels."""
    primaries = len(labels) // (1 + replicas)
    each, extra = divmod(len(labels) - primaries, primaries)
    seen = set()
    for chosen in itertools.combinations(range(len(labels)), primaries):
        kinds = tuple(sorted(labels[index] for index in chosen))
        if kinds in seen:
            continue
        seen.add(kinds)
        others = Counter(labels) - Counter(kinds)
        for bigger in set(itertools.combinations(range(primaries), extra)):
            room = [each + (index in bigger) for index in range(primaries)]
            if distributes(sorted(others.elements()), list(kinds), room):
                return True
    return False


def distributes(others: list[str], kinds: list[str], room: list[int]) -> bool:
    if not others:
        return True
    tried = set()
    for index, kind in enumerate(kinds):
        if room[index] and kind != others[0] and (kind, room[index]) not in tried:
            tried.add((kind, room[index]))
            room[index] -= 1
            if distributes(others[1:], kinds, room):
                return True
            room[index] += 1
    return False


SHAPES = st.integers(0, 3).flatmap(
    lambda replicas: st.tuples(
        st.just(replicas), st.text("abcd", min_size=max(2, 1 + replicas), max_size=9).filter(lambda t: len(t) > 0)
    )
)


@given(SHAPES)
@settings(max_examples=400, deadline=None)
def test_no_primary_shares_its_host_with_a_replica_if_that_is_possible(shape: tuple[int, str]) -> None:
    replicas, hosts = shape
    shards = place(nodes_on(hosts), replicas)
    if can_be_apart(list(hosts), replicas):
        assert shared_hosts(shards) == 0
        assert not placement_warnings(shards)
    else:
        assert shared_hosts(shards) > 0
        assert placement_warnings(shards)


@given(st.integers(1, 3), st.text("xyz", min_size=6, max_size=9))
@settings(max_examples=200, deadline=None)
def test_no_primary_shares_its_zone_with_a_replica_if_that_is_possible(replicas: int, zones: str) -> None:
    shards = place(nodes_on("abcdefghi"[: len(zones)], zones), replicas)
    assert shared_hosts(shards) == 0
    assert (shared_zones(shards) == 0) == can_be_apart(list(zones), replicas)


@given(SHAPES, st.randoms())
def test_everyone_gets_one_place_in_whatever_order_they_are_declared(shape: tuple[int, str], random: Random) -> None:
    replicas, hosts = shape
    nodes = nodes_on(hosts)
    shards = place(nodes, replicas)
    assert sorted(node.name for shard in shards for node in shard.members) == sorted(node.name for node in nodes)
    sizes = [len(shard.replicas) for shard in shards]
    assert min(sizes) >= replicas
    assert max(sizes) - min(sizes) <= 1
    random.shuffle(nodes)
    assert place(nodes, replicas) == shards


@given(st.integers(1, 1200))
def test_slots_are_split_evenly_and_completely(primaries: int) -> None:
    parts = split_slots(primaries)
    sizes = [count_slots(part) for part in parts]
    assert len(parts) == primaries
    assert sum(sizes) == SLOTS
    assert max(sizes) - min(sizes) <= 1
    assert [part[0][0] for part in parts[1:]] == [part[-1][1] + 1 for part in parts[:-1]]
    assert (parts[0][0][0], parts[-1][-1][1]) == (0, SLOTS - 1)


def test_three_primaries_get_the_familiar_ranges() -> None:
    assert split_slots(3) == [((0, 5460),), ((5461, 10922),), ((10923, 16383),)]


@pytest.mark.parametrize(
    ("hosts", "zones", "primaries"),
    [
        pytest.param("abcdef", "", ["node-0", "node-1", "node-2"], id="without zones the first nodes"),
        pytest.param("aabbcc", "", ["node-0", "node-2", "node-4"], id="one on each host"),
        pytest.param("abcdef", "xxyyzz", ["node-0", "node-2", "node-4"], id="one in each zone"),
    ],
)
def test_primaries_are_taken_in_turns(hosts: str, zones: str, primaries: list[str]) -> None:
    assert [shard.primary.name for shard in place(nodes_on(hosts, zones), 1)] == primaries


def test_zones_that_are_not_known_for_all_do_not_count() -> None:
    nodes = [*nodes_on("abcde", "xxyyz"), DeclaredNode("node-5", Address("192.0.2.5", 6379), 16379, "f")]
    assert [shard.primary.name for shard in place(nodes, 1)] == ["node-0", "node-1", "node-2"]


@pytest.mark.parametrize("order", [sorted, lambda letters: letters], ids=["host by host", "in turns"])
@pytest.mark.parametrize("replicas", [2, 3])
@pytest.mark.parametrize("per_host", [3, 4, 5])
def test_replicas_of_one_primary_are_kept_apart_too(
    replicas: int, per_host: int, order: Callable[[str], Iterable[str]]
) -> None:
    hosts = "".join(order("abcd"[: replicas + 1] * per_host))
    for shard in place(nodes_on(hosts), replicas):
        assert len({node.host for node in shard.members}) == replicas + 1


@pytest.mark.parametrize("order", [sorted, lambda letters: letters], ids=["zone by zone", "in turns"])
def test_replicas_of_one_primary_are_in_different_zones_too(order: Callable[[str], Iterable[str]]) -> None:
    for shard in place(nodes_on("abcdefghijkl", "".join(order("xyz" * 4))), 2):
        assert len({node.zone for node in shard.members}) == 3


def test_one_host_is_a_warning_and_not_a_refusal() -> None:
    warnings = placement_warnings(place(nodes_on("aaaaaa"), 1))
    assert warnings[0] == (
        "node-0 and its replica node-3 share the host a and fail together; declare nodes on more hosts."
    )


def test_too_few_zones_are_a_warning() -> None:
    warnings = placement_warnings(place(nodes_on("abcdef", "xxxxyy"), 1))
    assert len(warnings) == 1
    assert "in the zone of their primary; declare nodes in more zones." in warnings[0]
