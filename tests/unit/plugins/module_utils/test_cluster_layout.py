# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where nodes are placed, in new clusters and in ones that exist: compared with trying out everything."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.apiops.tyk_redis.plugins.module_utils._cluster_layout import (
    Current,
    Shard,
    Target,
    TargetShard,
    node_key,
    place,
    placement_warnings,
    split_slots,
    target_layout,
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


def shared_hosts(shards: Sequence[Shard | TargetShard]) -> int:
    return sum(node.host == shard.primary.host for shard in shards for node in shard.replicas)


def shared_zones(shards: Sequence[Shard | TargetShard]) -> int:
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


def test_heavier_shards_get_longer_runs() -> None:
    nodes = [replace(node, weight=2 if node.name == "node-1" else 1) for node in nodes_on("abc")]
    assert [count_slots(shard.slots) for shard in place(nodes, 0)] == [4096, 8192, 4096]
    assert place(nodes, 0)[1].slots == ((4096, 12287),)


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


# --- clusters that exist ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Situation:
    """What target_layout is asked."""

    current: tuple[Current, ...]
    free: tuple[DeclaredNode, ...]
    primaries: int

    @property
    def staying(self) -> list[DeclaredNode]:
        present = [node for shard in self.current for node in (shard.owner, *shard.replicas)]
        return sorted((node for node in (*present, *self.free) if not node.leaving), key=node_key)

    @property
    def target(self) -> Target:
        return target_layout(self.current, self.free, self.primaries)


@st.composite
def situations(draw: st.DrawFn, largest: int = 20) -> Situation:
    """Any members in any shards, on any hosts, some free and some leaving."""
    hosts = draw(st.text("abcdefg"[: draw(st.integers(1, 7))], min_size=2, max_size=largest))
    zone_of = draw(
        st.fixed_dictionaries({host: st.sampled_from("xyz"[: draw(st.integers(1, 3))]) for host in "abcdefg"})
    )
    nodes = nodes_on(hosts, "".join(zone_of[host] for host in hosts) if draw(st.booleans()) else "")
    leaving = draw(st.sets(st.sampled_from(nodes), max_size=len(nodes) // 3)) if draw(st.booleans()) else set()
    nodes = draw(st.permutations([replace(node, leaving=node in leaving) for node in nodes]))
    shards = draw(st.integers(1, max(1, len(nodes) // 2)))
    attached: list[list[DeclaredNode]] = [[] for _shard in range(shards)]
    free: list[DeclaredNode] = []
    for node in nodes[shards:]:
        place_of = draw(st.integers(-1, shards - 1))
        if place_of >= 0:
            attached[place_of].append(node)
        elif not node.leaving:
            free.append(node)
    current = [
        Current(owner, tuple(replicas), draw(st.integers(1, 9)))
        for owner, replicas in zip(nodes, attached, strict=False)
    ]
    situation = Situation(tuple(current), tuple(free), shards)
    staying = len(situation.staying)
    if not staying:
        return Situation((Current(replace(nodes[0], leaving=False), (), 1),), (), 1)
    wanted = draw(st.one_of(st.just(shards), st.integers(1, staying)))
    return replace(situation, primaries=min(wanted, staying))


def after(target: Target) -> Situation:
    """What there is when the target has been reached."""
    shards = tuple(Current(shard.primary, shard.replicas, 1) for shard in target.shards)
    return Situation(shards, (), len(shards))


def changes(situation: Situation) -> list[str]:
    """What the target changes, in words."""
    target = situation.target
    home = {node: shard.owner for shard in situation.current for node in (shard.owner, *shard.replicas)}
    found = [f"dissolve {owner.name}" for owner in target.dissolved]
    for shard in target.shards:
        if shard.is_new:
            found.append(f"begin {shard.owner.name}")
        if shard.primary != shard.owner:
            found.append(f"{shard.owner.name} -> {shard.primary.name}")
        found += [
            f"{node.name} to {shard.owner.name}"
            for node in sorted(shard.members, key=node_key)
            if node != shard.owner and home.get(node) != shard.owner
        ]
    return found


def shards_of(*groups: str, free: str = "", leaving: str = "", zones: str = "", primaries: int = 0) -> Situation:
    """Shards of nodes that are named by their hosts: "a1 b1" is a primary on a and its replica on b.

    The zones are those of the hosts a, b and so on. The first shard has the most slots.
    """
    names = sorted({name for group in (*groups, free) for name in group.split()})
    node_of = {
        name: DeclaredNode(
            name,
            Address(f"192.0.2.{number}", 6379),
            16379,
            host=name[0],
            zone=zones["abcdefgh".index(name[0])] if zones else "",
            leaving=name in leaving.split(),
        )
        for number, name in enumerate(names)
    }
    current = []
    for group in groups:
        owner, *replicas = (node_of[name] for name in group.split())
        current.append(Current(owner, tuple(replicas), 100 - len(current)))
    return Situation(tuple(current), tuple(node_of[name] for name in free.split()), primaries or len(groups))


@given(situations(), st.randoms())
@settings(max_examples=200)
def test_everyone_who_stays_has_one_place(situation: Situation, random: Random) -> None:
    target = situation.target
    assert sorted((n for shard in target.shards for n in shard.members), key=node_key) == situation.staying
    assert len(target.shards) == situation.primaries
    sizes = [len(shard.replicas) for shard in target.shards]
    assert max(sizes) - min(sizes) <= 1
    shuffled = [replace(s, replicas=tuple(random.sample(s.replicas, len(s.replicas)))) for s in situation.current]
    random.shuffle(shuffled)
    free = random.sample(situation.free, len(situation.free))
    assert target_layout(shuffled, free, situation.primaries) == target


@given(situations())
@settings(max_examples=200)
def test_owners_remain_owners_and_new_ones_come_from_those_without_data(situation: Situation) -> None:
    target = situation.target
    kept = {shard.owner for shard in target.shards if not shard.is_new}
    assert kept | set(target.dissolved) == {shard.owner for shard in situation.current}
    assert len(kept) == min(len(situation.current), situation.primaries)
    replicas = {node for shard in situation.current for node in shard.replicas}
    assert set(target.emptied) <= replicas
    # Two owners that hand over can do so in any order.
    assert not [shard for shard in target.shards if shard.primary != shard.owner and shard.primary in kept]
    for shard in target.shards:
        if shard.is_new:
            assert shard.owner in shard.members
            assert (shard.owner in situation.free) != (shard.owner in target.emptied)


@given(situations())
@settings(max_examples=300)
def test_what_was_reached_is_not_changed_again(situation: Situation) -> None:
    assert changes(after(situation.target)) == []


@given(situations(), st.integers(0, 3))
@settings(max_examples=200)
def test_what_was_created_is_not_changed(situation: Situation, replicas: int) -> None:
    nodes = situation.staying
    replicas = min(replicas, len(nodes) - 1)
    created = tuple(Current(shard.primary, shard.replicas, 1) for shard in place(nodes, replicas))
    assert changes(Situation(created, (), len(created))) == []


def least_wrong(nodes: Sequence[DeclaredNode], shards: int) -> tuple[int, ...]:
    """The fewest replicas on their primary's host, and then in its zone, of all the ways to divide nodes evenly."""
    size, bigger = divmod(len(nodes), shards)
    zoned = all(node.zone for node in nodes)

    @cache
    def wrong(members: tuple[int, ...]) -> tuple[int, int]:
        group = [nodes[index] for index in members]
        return min(
            (
                sum(node.host == primary.host for node in group) - 1,
                sum(node.zone == primary.zone for node in group) - 1 if zoned else 0,
            )
            for primary in group
        )

    @cache
    def least(left: tuple[int, ...], bigger_left: int) -> tuple[int, int] | None:
        if not left:
            return None if bigger_left else (0, 0)
        found = []
        for extra in range(min(1, bigger_left) + 1):
            for others in itertools.combinations(left[1:], size + extra - 1):
                rest = least(tuple(index for index in left[1:] if index not in others), bigger_left - extra)
                if rest is not None:
                    mine = wrong((left[0], *others))
                    found.append((mine[0] + rest[0], mine[1] + rest[1]))
        return min(found, default=None)

    best = least(tuple(range(len(nodes))), bigger)
    assert best is not None
    return best


@given(situations(largest=9))
@settings(max_examples=200)
def test_primaries_and_replicas_are_as_far_apart_as_can_be(situation: Situation) -> None:
    nodes = situation.staying
    shards = situation.target.shards
    zones = shared_zones(shards) if all(node.zone for node in nodes) else 0
    assert (shared_hosts(shards), zones) == least_wrong(nodes, situation.primaries)


@st.composite
def losses(draw: st.DrawFn) -> Situation:
    """A new cluster with room on its hosts, of which some replicas died and were replaced on the same hosts."""
    replicas = draw(st.integers(1, 2))
    letters = "abcdef"[: draw(st.integers(2 * replicas + 1, 6))]
    nodes = nodes_on("".join(letters * draw(st.integers(2, 3))))
    shards = place(nodes, replicas)
    dead = draw(st.sets(st.sampled_from([shard.replicas[0] for shard in shards]), min_size=1, max_size=3))
    current = [
        Current(shard.primary, tuple(node for node in shard.replicas if node not in dead), count_slots(shard.slots))
        for shard in shards
    ]
    new = [
        replace(node, name=f"new-{node.name}", address=replace(node.address, host=f"198.51.100.{number}"))
        for number, node in enumerate(sorted(dead, key=node_key))
    ]
    return Situation(tuple(current), tuple(new), len(shards))


@given(losses())
@settings(max_examples=200)
def test_lost_replicas_are_replaced_without_any_other_change(situation: Situation) -> None:
    assert len(changes(situation)) == len(situation.free)


@pytest.mark.parametrize(
    ("situation", "expected"),
    [
        pytest.param(shards_of("a1 b1", "b2 c1", "c2 a2"), [], id="nothing to do"),
        pytest.param(shards_of("a1 b1", "b2 c1", "c2", free="a2"), ["a2 to c2"], id="a lost replica"),
        pytest.param(shards_of("b1", "b2 c1", "c2 a2", free="a1"), ["b1 -> a1", "a1 to b1"], id="a lost primary"),
        pytest.param(shards_of("b1 a1", "b2 c1", "c2 a2"), ["b1 -> a1"], id="after a failover"),
        pytest.param(shards_of("b1 a1", "c1 b2", "a2 c2"), [], id="after three failovers"),
        pytest.param(shards_of("a1 b1", "a2 c1", "b2 c2"), ["a2 -> c1"], id="spread by one hand-over"),
        pytest.param(shards_of("a1 b1", "a2 b2", "b3 c1"), ["a1 -> b1", "b3 -> c1"], id="spread by a chain"),
        pytest.param(shards_of("a1 b1", "c1 d1", "e1 f1", zones="xyxzyz"), ["c1 -> d1"], id="spread over zones"),
        pytest.param(shards_of("a1 a2", "b1 b2", "c1 d1"), ["b2 to a1", "a2 to b1"], id="two exchange replicas"),
        pytest.param(shards_of("a1 a2 b1", "c1 d1 e1", "f1 g1 h1"), ["d1 to a1", "a2 to c1"], id="one has to move"),
        pytest.param(shards_of("a1 b1", "c1 d1", "e1 f1", zones="xxyyzx"), ["d1 to a1", "b1 to c1"], id="over zones"),
        pytest.param(shards_of("a1 b1 c1", "b2 c2", "c3 a3 b3"), [], id="a surplus replica may be anywhere"),
        pytest.param(shards_of("a1 b1 c1", "b2", "c3 a3"), ["c1 to b2"], id="a replica too many, and one too few"),
        pytest.param(
            shards_of("a1 b1", "b2 c1", "c2 a2", leaving="b1", free="b3"), ["b3 to a1"], id="a replica leaves"
        ),
        pytest.param(
            shards_of("a1 b1", "b2 c1", "c2 a2", leaving="a1", free="a3"),
            ["a1 -> a3", "a3 to a1"],
            id="a primary leaves",
        ),
        pytest.param(
            shards_of("a1", "b1", "c1", leaving="a1", free="d1"), ["a1 -> d1", "d1 to a1"], id="a lone primary leaves"
        ),
        pytest.param(
            shards_of("a1 b1", "b2 c1", "c2 a2", "d1 e1", leaving="a1 b1", primaries=3),
            ["dissolve a1"],
            id="shrink by those who leave",
        ),
        pytest.param(
            shards_of("a1 b1", "b2 c1", "c2 a2", "d1 e1", primaries=3),
            ["dissolve d1", "d1 to a1", "e1 to b2"],
            id="shrink by the one with the fewest slots",
        ),
        pytest.param(
            shards_of("a1 b1", "b2 c1", "c2 a2", free="d1 d2 e1 e2", primaries=5),
            ["begin d1", "e2 to d1", "begin e1", "d2 to e1"],
            id="grow by shards of new nodes",
        ),
        pytest.param(
            shards_of("a1 b1 c1", "b2 c2 d1", "c3 d2 a2", primaries=4), ["begin d1", "a2 to d1"], id="grow by a replica"
        ),
    ],
)
def test_few_things_change(situation: Situation, expected: list[str]) -> None:
    assert changes(situation) == expected


def test_a_replica_that_becomes_an_owner_is_emptied_before() -> None:
    target = shards_of("a1 b1 c1", "b2 c2 d1", "c3 d2 a2", primaries=4).target
    assert [node.name for node in target.emptied] == ["d1"]
    assert target.shards[-1].is_new
    assert not shards_of("a1 b1", "b2 c1", free="c2 d1", primaries=3).target.emptied


def test_more_primaries_than_nodes_are_refused() -> None:
    situation = shards_of("a1 b1", "b2 c1", leaving="c1", primaries=4)
    with pytest.raises(ValueError, match=r"^3 nodes cannot make 4 primaries$"):
        target_layout(situation.current, situation.free, situation.primaries)


def test_a_successor_is_preferably_a_replica_that_has_the_data() -> None:
    target = shards_of("a1 b1", "c1 d1", leaving="a1", free="e1").target
    assert [shard.primary.name for shard in target.shards] == ["b1", "c1"]


def test_existing_shards_are_kept_as_far_apart_as_new_ones() -> None:
    random = Random(1)
    for _round in range(20):
        nodes = nodes_on("".join(random.choices("aaabbcd", k=60)))
        random.shuffle(nodes)
        current = [Current(nodes[index], tuple(nodes[index + 15 :: 15]), 1) for index in range(15)]
        assert shared_hosts(target_layout(current, [], 15).shards) <= shared_hosts(place(nodes, 3))


def test_an_owner_that_is_to_lead_another_shard_takes_its_slots_along() -> None:
    """Otherwise it could only take over there after it has handed over here, and copied the other data."""
    target = shards_of("a3 b1 b6", "c2 a1 d8 a8", free="d4", zones="zzyx").target
    assert [(shard.owner.name, shard.primary.name) for shard in target.shards] == [("a3", "d8"), ("c2", "c2")]
