# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which nodes make up a shard, and which of them is its primary: for new clusters and for ones that exist. No I/O.

Private to this collection. A new cluster's layout depends on its nodes alone, not on their order. An existing
cluster's layout is the present one with as few changes as the rules below need, in the order of their importance:

1. all shards have as many replicas, or differ by one;
2. no primary shares its host with a replica of its own, then likewise for zones;
3. replicas of one primary are on different hosts, then in different zones;
4. the primaries are spread over hosts, then over zones.

Any member of a shard can become its primary without a slot being moved. So a shard is judged by the best of its
members (rules 2 and 3), shards are improved by exchanging members, and the primaries are chosen at the end (rule 4).
Both steps only ever accept what is strictly better by the rules, and neither looks at where a node comes from to
decide whether it is better. What they have come to rest on they leave alone the next time: a layout that was reached
is not changed again, and neither is that of a new cluster.
"""

from __future__ import annotations

import heapq
import ipaddress
from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Optional

from ansible_collections.apiops.tyk_redis.plugins.module_utils._cluster_shares import shard_weight, shares
from ansible_collections.apiops.tyk_redis.plugins.module_utils._cluster_view import (
    SLOTS,
    DeclaredNode,
    SlotRanges,
    fits_apart,
    join_names,
    primaries_wanted,
)

# What it costs to send a member of a shard elsewhere: nothing if it has to move anyway, and most for the owner of the
# slots, who has to hand them over before.
_MOVED, _REPLICA, _OWNER = 0, 1, 3
_BY_COST = sorted(
    ((one, other) for one in (_MOVED, _REPLICA, _OWNER) for other in (_MOVED, _REPLICA, _OWNER)),
    key=lambda pair: (sum(pair), pair),
)


# How many more exchanges are looked at when one has been found that makes something better.
_PATIENCE = 200


@dataclass(frozen=True)
class Shard:
    """A primary, its replicas and its slots."""

    primary: DeclaredNode
    replicas: tuple[DeclaredNode, ...]
    slots: SlotRanges

    @property
    def members(self) -> tuple[DeclaredNode, ...]:
        return (self.primary, *self.replicas)


@dataclass(frozen=True)
class Current:
    """One shard as it is. The owner has the slots, of which there is at least one; any of the nodes may be leaving."""

    owner: DeclaredNode
    replicas: tuple[DeclaredNode, ...]
    slots: int


@dataclass(frozen=True)
class TargetShard:
    """One shard as it is to be. None of the primary and the replicas is leaving.

    The owner has the slots already, or, in a new shard, starts without any and receives them. Where it is not the
    primary, it hands its role over to the primary, which has to be its replica first; unless it is leaving it is then
    a replica, of this shard nearly always, and of another one where only that keeps nodes apart.
    """

    owner: DeclaredNode
    primary: DeclaredNode
    replicas: tuple[DeclaredNode, ...]
    is_new: bool

    @property
    def members(self) -> tuple[DeclaredNode, ...]:
        return (self.primary, *self.replicas)


@dataclass(frozen=True)
class Target:
    """The layout to be reached: the shards that are kept, by their owner's address, then the new ones.

    The dissolved owners give all slots up; those that stay are a replica of some shard. The emptied nodes are replicas
    that have to drop their data, because they are owners of new shards.
    """

    shards: tuple[TargetShard, ...]
    dissolved: tuple[DeclaredNode, ...]
    emptied: tuple[DeclaredNode, ...]


def ip_key(host: str) -> tuple[int, int] | None:
    """What an IP address is sorted by; None for what is not one."""
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return None
    return ip.version, int(ip)


def node_key(node: DeclaredNode) -> tuple[tuple[int, int], str, int]:
    """What nodes are sorted by wherever their order decides."""
    return ip_key(node.address.host) or (0, 0), node.address.host, node.address.port


def split_slots(primaries: int) -> list[SlotRanges]:
    """All slots in as many runs, whose lengths differ by one at the most."""
    bounds = [(2 * index * SLOTS + primaries) // (2 * primaries) for index in range(primaries + 1)]
    return [((first, after - 1),) for first, after in zip(bounds, bounds[1:])]


def _slots_of(shards: Sequence[Sequence[DeclaredNode]]) -> list[SlotRanges]:
    """The slots of new shards: runs, whose lengths are as the shards' weights."""
    weights = [shard_weight(members) for members in shards]
    if len(set(weights)) == 1:
        return split_slots(len(weights))
    runs: list[SlotRanges] = []
    first = 0
    for count in shares(weights, [0] * len(weights)):
        runs.append(((first, first + count - 1),))
        first += count
    return runs


# --- layouts ---------------------------------------------------------------------------------------------------------


def place(nodes: Iterable[DeclaredNode], replicas_per_primary: int) -> tuple[Shard, ...]:
    """The shards of a new cluster. The same nodes get the same places, in whatever order they are declared."""
    ordered = sorted(nodes, key=node_key)
    count = primaries_wanted(len(ordered), replicas_per_primary)
    groups, owners = _new_groups(ordered, count)
    roles = _Roles(groups, owners, {})
    shards = []
    for index, members in enumerate(groups.members):
        primary = roles.primaries[index]
        shards.append([ordered[primary], *(ordered[rank] for rank in sorted(members) if rank != primary)])
    return tuple(Shard(shard[0], tuple(shard[1:]), slots) for shard, slots in zip(shards, _slots_of(shards)))


def target_layout(current: Sequence[Current], free: Sequence[DeclaredNode], primaries: int) -> Target:
    """The layout that the shards are to be brought to.

    The free nodes are those that are to stay, own no slot and replicate none of the owners. Leaving nodes have no place
    in the result. The arguments' order is of no importance. Raises ValueError if there are fewer nodes than primaries.
    """
    return _Change(current, free, primaries).target()


def placement_warnings(shards: Sequence[Shard]) -> list[str]:
    """Where the declared nodes do not allow to keep a primary and its replicas apart."""
    nodes = [node for shard in shards for node in shard.members]
    zone_of = _zones(nodes)
    warnings = []
    for shard in shards:
        together = [node.name for node in shard.replicas if node.host == shard.primary.host]
        if together:
            warnings.append(
                f"{shard.primary.name} and its {'replicas' if len(together) > 1 else 'replica'} {join_names(together)} "
                f"share the host {shard.primary.host} and fail together; declare nodes on more hosts."
            )
    if fits_apart([zone_of[node] for node in nodes], len(shards)):
        return warnings
    same_zone = [
        shard.primary.name
        for shard in shards
        if any(
            zone_of[node] and zone_of[node] == zone_of[shard.primary] and node.host != shard.primary.host
            for node in shard.replicas
        )
    ]
    if same_zone:
        warnings.append(
            f"Replicas of {join_names(same_zone)} are in the zone of their primary; declare nodes in more zones."
        )
    return warnings


def _zones(nodes: Sequence[DeclaredNode]) -> dict[DeclaredNode, str]:
    """Zones mean something only when every node has one."""
    known = all(node.zone for node in nodes)
    return {node: node.zone if known else "" for node in nodes}


# --- a cluster that exists -------------------------------------------------------------------------------------------


class _Change:
    """Finds the layout for shards that exist.

    A node is known by its rank among those that are to stay, in the order of their keys. A shard is known by its
    index: first those that are kept, in the order of their owners, then the new ones.
    """

    def __init__(self, current: Sequence[Current], free: Sequence[DeclaredNode], primaries: int) -> None:
        self.kept, self.dissolved = _choose_kept(current, primaries)
        everyone = [*free, *(node for shard in current for node in (shard.owner, *shard.replicas))]
        self.nodes = sorted((node for node in everyone if not node.leaving), key=node_key)
        if not 0 < primaries <= len(self.nodes):
            raise ValueError(f"{len(self.nodes)} nodes cannot make {primaries} primaries")
        self.rank_of = {node: rank for rank, node in enumerate(self.nodes)}
        self.free = {self.rank_of[node] for node in free}
        self.owners: list[int | None] = [self.rank_of.get(shard.owner) for shard in self.kept]
        self.owners += [None] * (primaries - len(self.kept))
        members = [self._staying(shard.owner, *shard.replicas) for shard in self.kept]
        members += [[] for _new in range(primaries - len(self.kept))]
        self.groups = _Groups(self.nodes, members, self.owners)
        self.pool = set(range(len(self.nodes))) - {rank for group in members for rank in group}

    def _staying(self, *nodes: DeclaredNode) -> list[int]:
        return [self.rank_of[node] for node in nodes if not node.leaving]

    def target(self) -> Target:
        self._begin_shards()
        self.groups.shed(self.pool)
        self.groups.fill(self.pool)
        self.groups.settle()
        self._start_again_where_that_is_better()
        roles = _Roles(self.groups, self.owners, self._preferences())
        shards = [
            self._shard(index, self.groups.members[group], roles.primaries[group])
            for index, group in enumerate(self._groups_by_shard(roles.primaries))
        ]
        new = sorted(shards[len(self.kept) :], key=lambda shard: node_key(shard.owner))
        return Target(
            shards=(*shards[: len(self.kept)], *new),
            dissolved=tuple(shard.owner for shard in self.dissolved),
            emptied=tuple(shard.owner for shard in new if self.rank_of[shard.owner] not in self.free),
        )

    def _begin_shards(self) -> None:
        """Give every shard that has nobody a first member, preferably one that has no data yet."""
        begun = [rank for rank in self.owners if rank is not None]
        vacant = [index for index, group in enumerate(self.groups.members) if not group]
        # A new primary must be without data, while the successor of a leaving owner gets the data anyway.
        vacant.sort(key=lambda index: (index < len(self.kept), index))
        turns = _Turns(self.groups, len(self.owners), begun)
        turns.offer(self.pool & self.free)
        for index in vacant:
            if not turns.left:
                turns.offer(self.pool or self._surplus())
            chosen = turns.take()
            if chosen in self.pool:
                self.pool.remove(chosen)
            else:
                self.groups.remove(chosen)
                turns.offer(())
            self.groups.add(chosen, index)

    def _surplus(self) -> set[int]:
        """The replicas of the biggest shards."""
        most = max(len(group) for group in self.groups.members)
        return {
            rank
            for index, group in enumerate(self.groups.members)
            if len(group) == most
            for rank in group
            if rank != self.owners[index]
        }

    def _start_again_where_that_is_better(self) -> None:
        """Take a new cluster's shards if primaries and replicas stay together that would be apart there."""
        if not self.groups.together:
            return
        fresh, _owners = _new_groups(self.nodes, len(self.owners))
        if fresh.together < self.groups.together:
            self.groups.take_over(fresh)
            self.groups.settle()

    def _preferences(self) -> dict[tuple[int, int], int]:
        """How gladly a member becomes the primary of its shard, if the owner cannot be: 0 is best, 2 without entry."""
        preferences = {}
        for index, group in enumerate(self.groups.members):
            for rank in group:
                if self.groups.home[rank] == index and index < len(self.kept):
                    preferences[index, rank] = 0
                elif rank in self.free:
                    preferences[index, rank] = 1
        return preferences

    def _groups_by_shard(self, primaries: Sequence[int]) -> list[int]:
        """Which group takes which shard's slots: an owner that is a primary elsewhere takes its slots along."""
        group_led_by = {primary: group for group, primary in enumerate(primaries)}
        found = {index: group_led_by[owner] for index, owner in enumerate(self.owners) if owner in group_led_by}
        rest = set(range(len(primaries))) - set(found.values())
        for index in range(len(primaries)):
            if index not in found and index in rest:
                found[index] = index
                rest.remove(index)
        found.update(zip((index for index in range(len(primaries)) if index not in found), sorted(rest)))
        return [found[index] for index in range(len(primaries))]

    def _shard(self, index: int, group: set[int], primary: int) -> TargetShard:
        is_new = index >= len(self.kept)
        owner = primary
        if is_new and primary not in self.free:
            # Whoever is without data had better begin than one who has to drop its data for that.
            owner = min((rank for rank in group if rank in self.free), default=primary)
        return TargetShard(
            owner=self.nodes[owner] if is_new else self.kept[index].owner,
            primary=self.nodes[primary],
            replicas=tuple(self.nodes[rank] for rank in sorted(group) if rank != primary),
            is_new=is_new,
        )


def _choose_kept(current: Sequence[Current], primaries: int) -> tuple[list[Current], list[Current]]:
    """The shards that are kept and those that are dissolved: of leaving owners first, then with the fewest slots."""

    def key(shard: Current) -> tuple[tuple[int, int], str, int]:
        return node_key(shard.owner)

    by_worth = sorted(current, key=lambda shard: (shard.owner.leaving, -shard.slots, key(shard)))
    return sorted(by_worth[:primaries], key=key), sorted(by_worth[primaries:], key=key)


# --- a new cluster ---------------------------------------------------------------------------------------------------


def _new_groups(nodes: Sequence[DeclaredNode], count: int) -> tuple[_Groups, list[int | None]]:
    """The members of a new cluster's shards, and who is to be their primaries if that is as good as any."""
    owners: list[int | None] = [None] * count
    groups = _Groups(nodes, [[] for _shard in range(count)], owners)
    pool = set(range(len(nodes)))
    turns = _Turns(groups, count, ())
    turns.offer(pool)
    for index in range(count):
        chosen = turns.take()
        pool.remove(chosen)
        groups.add(chosen, index)
        groups.home[chosen] = index
        owners[index] = chosen
    groups.fill(pool)
    groups.settle()
    return groups, owners


def _room_for_primaries(members: int, nodes: int, primaries: int) -> int:
    """How many of a failure domain's members may be primaries, so that all replicas find a primary elsewhere."""
    replicas = nodes - primaries
    each, extra = divmod(replicas, primaries)
    room = min(members, primaries)
    while room > 0:
        elsewhere = primaries - room
        if members - room <= each * elsewhere + min(extra, elsewhere):
            break
        room -= 1
    return room


class _Turns:
    """Takes primaries in turns from the zones, and within a zone from its hosts, as far as their room allows."""

    def __init__(self, groups: _Groups, primaries: int, begun: Iterable[int]) -> None:
        self.host, self.zone = groups.host, groups.zone
        nodes = len(groups.host)
        hosts, zones = Counter(self.host), Counter(self.zone)
        self.host_room = {host: _room_for_primaries(size, nodes, primaries) for host, size in hosts.items()}
        self.zone_room = {zone: _room_for_primaries(size, nodes, primaries) for zone, size in zones.items()}
        begun = list(begun)
        self.in_host = Counter(self.host[rank] for rank in begun)
        self.in_zone = Counter(self.zone[rank] for rank in begun)
        self.offer(())

    def offer(self, ranks: Iterable[int]) -> None:
        """Take from these from now on."""
        self.waiting: dict[tuple[int, int], deque[int]] = {}
        for rank in sorted(ranks):
            self.waiting.setdefault((self.zone[rank], self.host[rank]), deque()).append(rank)
        self.queues: dict[int, list[tuple[bool, int, int]]] = {}
        for zone, host in self.waiting:
            self.queues.setdefault(zone, []).append(self._entry(zone, host))
        for queue in self.queues.values():
            heapq.heapify(queue)

    @property
    def left(self) -> bool:
        return bool(self.queues)

    def take(self) -> int:
        zone = min(self.queues, key=self._zone_key)
        queue = self.queues[zone]
        _full, _count, rank = heapq.heappop(queue)
        host = self.host[rank]
        self.in_host[host] += 1
        self.in_zone[zone] += 1
        self.waiting[zone, host].popleft()
        if self.waiting[zone, host]:
            heapq.heappush(queue, self._entry(zone, host))
        elif not queue:
            del self.queues[zone]
        return rank

    def _entry(self, zone: int, host: int) -> tuple[bool, int, int]:
        return self.in_host[host] >= self.host_room[host], self.in_host[host], self.waiting[zone, host][0]

    def _zone_key(self, zone: int) -> tuple[bool, bool, int, int, int]:
        host_is_full, in_host, rank = self.queues[zone][0]
        return host_is_full, self.in_zone[zone] >= self.zone_room[zone], self.in_zone[zone], in_host, rank


# --- who is with whom ------------------------------------------------------------------------------------------------


# Nodes, or places that are free, with their group: by the cost of moving, then by the kind of node (-1: free).
_ByCost = dict[int, dict[int, list[tuple[Optional[int], int]]]]


class _Exchange(NamedTuple):
    """A member of one group and one of another change places; None is a place that is free."""

    here: int
    leaving: int | None
    there: int
    coming: int | None


class _Groups:
    """The members of each shard, and what is wrong with them.

    What is wrong with a group is a number of four digits: replicas on the primary's host, replicas in the primary's
    zone, pairs of replicas on one host, pairs of replicas in one zone. The primary is the member with whom it is least.
    The home of a node is the group that it is a member of before anything is changed.
    """

    def __init__(
        self, nodes: Sequence[DeclaredNode], members: Sequence[Iterable[int]], owners: Sequence[int | None]
    ) -> None:
        zone_of = _zones(nodes)
        hosts = {host: number for number, host in enumerate(dict.fromkeys(node.host for node in nodes))}
        zones = {zone: number for number, zone in enumerate(dict.fromkeys(zone_of[node] for node in nodes))}
        self.host = [hosts[node.host] for node in nodes]
        self.zone = [zones[zone_of[node]] for node in nodes]
        # Without zones, no two nodes are in the same one.
        self.domain = list(range(len(nodes))) if "" in zones else self.zone
        self.members = [set(group) for group in members]
        self.owners = owners
        self.group_of: list[int | None] = [None] * len(nodes)
        for index, group in enumerate(self.members):
            for rank in group:
                self.group_of[rank] = index
        self.home = list(self.group_of)
        self.size, self.bigger_groups = divmod(len(nodes), len(self.members))
        # More than there are pairs in all groups together.
        self.radix = (len(nodes) + 1) * (self.size + 1)
        kinds = len(hosts), len(set(self.domain))
        self.least = {size: self._least(size, *kinds) for size in (self.size, self.size + 1)}
        # Nodes of one host and zone are of one kind.
        self.kind = [host * len(zones) + zone for host, zone in zip(self.host, self.zone)]
        self.kinds: list[tuple[int, ...]] = [()] * len(self.members)
        self.wrong = [0] * len(self.members)
        self.changes = 0
        self.changed = [0] * len(self.members)
        self.hopeless: dict[tuple[int, ...], int] = {}
        self.known: dict[tuple[tuple[int, ...], int, int], int] = {}

    @property
    def together(self) -> int:
        """How many replicas share their primary's host, and then how many its zone, as one number."""
        return sum(self.judge(group) for group in self.members) // self.radix**2

    def apartness(self, group: Iterable[int]) -> dict[int, tuple[int, int]]:
        """How many others are on each member's host and in its zone."""
        ranks = list(group)
        hosts = Counter(self.host[rank] for rank in ranks)
        domains = Counter(self.domain[rank] for rank in ranks)
        return {rank: (hosts[self.host[rank]] - 1, domains[self.domain[rank]] - 1) for rank in ranks}

    def judge(self, group: Iterable[int]) -> int:
        """What is wrong with such a group."""
        ranks = list(group)
        hosts = {self.host[rank] for rank in ranks}
        domains = {self.domain[rank] for rank in ranks}
        if len(hosts) == len(domains) == len(ranks):
            return 0
        others = self.apartness(ranks).values()
        on_host, in_zone = min(others)
        host_pairs = sum(count for count, _in_zone in others) // 2
        zone_pairs = sum(count for _on_host, count in others) // 2
        return self._number(on_host, in_zone, host_pairs - on_host, zone_pairs - in_zone)

    def _number(self, *digits: int) -> int:
        number = 0
        for digit in digits:
            number = number * self.radix + digit
        return number

    def _least(self, size: int, hosts: int, domains: int) -> int:
        """What is wrong with every group of that size, however its members are chosen."""
        on_host, host_pairs = _least_pairs(size, hosts)
        in_zone, zone_pairs = _least_pairs(size, domains)
        return self._number(on_host, in_zone, host_pairs, zone_pairs)

    # --- membership

    def add(self, rank: int, index: int) -> None:
        self.members[index].add(rank)
        self.group_of[rank] = index

    def remove(self, rank: int) -> int:
        """Take a node out of its group and tell which one that was."""
        index = self._group(rank)
        self.members[index].remove(rank)
        self.group_of[rank] = None
        return index

    def _group(self, rank: int) -> int:
        index = self.group_of[rank]
        if index is None:
            raise KeyError(rank)
        return index

    def shed(self, pool: set[int]) -> None:
        """Take from the groups that are too big what does them best to lose."""
        by_size = sorted(range(len(self.members)), key=lambda index: (-len(self.members[index]), index))
        for place, index in enumerate(by_size):
            group = self.members[index]
            while len(group) > self.size + (place < self.bigger_groups):
                surplus = [rank for rank in group if rank != self.owners[index]]
                lost = min(surplus, key=lambda rank: (self.judge(group - {rank}), -rank))
                self.remove(lost)
                pool.add(lost)

    def fill(self, pool: set[int]) -> None:
        """Give everybody in the pool a group, the smallest group choosing first."""
        ring = _Ring(self, pool)
        smallest = [(len(group), index) for index, group in enumerate(self.members)]
        heapq.heapify(smallest)
        while ring.left:
            size, index = smallest[0]
            self.add(ring.take(index), index)
            heapq.heapreplace(smallest, (size + 1, index))

    def take_over(self, other: _Groups) -> None:
        """Have the members of the other's groups, each put where most of its members are at home."""
        common: Counter[tuple[int, int]] = Counter()
        for theirs, group in enumerate(other.members):
            for rank in group:
                home = self.home[rank]
                if home is not None:
                    common[home, theirs] += _OWNER if rank == self.owners[home] else _REPLICA
        found: dict[int, int] = {}
        taken: set[int] = set()
        for (mine, theirs), _count in sorted(common.items(), key=lambda item: (-item[1], item[0])):
            if mine not in found and theirs not in taken:
                found[mine] = theirs
                taken.add(theirs)
        # New shards are the last ones, and they begin best with nodes that are at home nowhere.
        rest = [theirs for theirs in range(len(other.members)) if theirs not in taken]
        rest.sort(key=lambda theirs: sum(self.home[rank] is None for rank in other.members[theirs]))
        found.update(zip((mine for mine in range(len(self.members)) if mine not in found), rest))
        for mine, theirs in found.items():
            self.members[mine] = set(other.members[theirs])
            for rank in self.members[mine]:
                self.group_of[rank] = mine

    # --- improvement

    def settle(self) -> None:
        """Exchange members until no exchange makes anything better, and send home whom that does no harm."""
        self.hopeless.clear()
        for index in range(len(self.members)):
            self._judge_anew(index)
        self._improve()
        while self._return_home():
            self._improve()

    def _excess(self, index: int) -> int:
        return self.wrong[index] - self.least[len(self.members[index])]

    def _improve(self) -> None:
        improved = True
        while improved:
            improved = False
            for index in range(len(self.members)):
                while self._excess(index):
                    # What was tried need not be tried again, even for another group of the same kinds of nodes.
                    kinds = self.kinds[index]
                    exchange = self._find_exchange(index, self.hopeless.get(kinds, -1))
                    if exchange is None:
                        self.hopeless[kinds] = self.changes
                        break
                    self._apply(exchange)
                    improved = True

    def _apply(self, exchange: _Exchange) -> None:
        for rank, index in ((exchange.leaving, exchange.there), (exchange.coming, exchange.here)):
            if rank is not None:
                self.remove(rank)
                self.add(rank, index)
        self.changes += 1
        for index in (exchange.here, exchange.there):
            self._judge_anew(index)
            self.changed[index] = self.changes

    def _judge_anew(self, index: int) -> None:
        self.wrong[index] = self.judge(self.members[index])
        self.kinds[index] = tuple(sorted(self.kind[rank] for rank in self.members[index]))

    def _cost_of_moving(self, rank: int | None) -> int:
        if rank is None:
            return _MOVED
        index = self.group_of[rank]
        if self.home[rank] != index or index is None:
            return _MOVED
        return _OWNER if self.owners[index] == rank else _REPLICA

    def _find_exchange(self, here: int, since: int) -> _Exchange | None:
        """An exchange that makes two groups better in sum, and this one in any case.

        It is the cheapest of those that leave nothing to be improved in both, or the one that improves most.
        """
        best, most = None, 0
        patience = _PATIENCE
        for exchange in self._promising(here, since):
            gain = self._gain(exchange)
            patience -= most > 0
            if gain > most:
                best, most = exchange, gain
            if most == self._excess(here) + self._excess(exchange.there) or not patience:
                break
        return best

    def _gain(self, exchange: _Exchange) -> int:
        here, leaving, there, coming = exchange
        after = self._judge_exchanged(here, leaving, coming) + self._judge_exchanged(there, coming, leaving)
        return self.wrong[here] + self.wrong[there] - after

    def _judge_exchanged(self, index: int, leaving: int | None, coming: int | None) -> int:
        """What is wrong with a group after an exchange."""
        leaving_kind = -1 if leaving is None else self.kind[leaving]
        coming_kind = -1 if coming is None else self.kind[coming]
        case = self.kinds[index], leaving_kind, coming_kind
        if case not in self.known:
            group = self.members[index] - {leaving}
            self.known[case] = self.judge(group if coming is None else group | {coming})
        return self.known[case]

    def _promising(self, here: int, since: int) -> Iterator[_Exchange]:
        """The exchanges with groups that have changed since then which make this group better.

        Those with groups that are not well either come first, and then the cheapest.
        """
        is_small = len(self.members[here]) == self.size
        leavers = self._by_cost([(rank, here) for rank in self.members[here]])
        if is_small and self.bigger_groups:
            leavers[_MOVED][-1] = [(None, here)]
        others = [index for index, change in enumerate(self.changed) if index != here and change > since]
        for is_ill in (True, False):
            comers = self._comers([index for index in others if bool(self._excess(index)) is is_ill], is_small)
            for leaver_cost, comer_cost in _BY_COST:
                for leaver in (alike[0][0] for alike in leavers[leaver_cost].values()):
                    for alike in comers[comer_cost].values():
                        if self._helps(here, leaver, alike[0][0]):
                            yield from (
                                _Exchange(here, leaver, there, comer)
                                for comer, there in alike
                                if leaver is not None or len(self.members[there]) > self.size
                            )

    def _comers(self, indexes: Sequence[int], to_small: bool) -> _ByCost:
        """Who could come from these groups; from one that is small, nobody may come in exchange for somebody."""
        comers = self._by_cost([(rank, index) for index in indexes for rank in self.members[index]])
        small = [index for index in indexes if len(self.members[index]) == self.size]
        if small and not to_small:
            comers[_MOVED][-1] = [(None, index) for index in small]
        return comers

    def _by_cost(self, places: Iterable[tuple[int, int]]) -> _ByCost:
        found: _ByCost = {_MOVED: {}, _REPLICA: {}, _OWNER: {}}
        for rank, index in sorted(places):
            found[self._cost_of_moving(rank)].setdefault(self.kind[rank], []).append((rank, index))
        return found

    def _helps(self, here: int, leaving: int | None, coming: int | None) -> bool:
        """Whether the group gets better, compared with what is possible for its size."""
        size = len(self.members[here]) - (leaving is not None) + (coming is not None)
        return self._judge_exchanged(here, leaving, coming) - self.least[size] < self._excess(here)

    def _return_home(self) -> bool:
        """Send nodes back to the group that they come from, where that makes nothing worse."""
        returned = False
        for rank, home in enumerate(self.home):
            there = self._group(rank)
            if home is None or home == there:
                continue
            instead: list[int | None] = [guest for guest in sorted(self.members[home]) if self.home[guest] != home]
            if len(self.members[home]) < len(self.members[there]):
                instead.append(None)
            exchanges = (_Exchange(home, guest, there, rank) for guest in instead)
            harmless = next((exchange for exchange in exchanges if self._gain(exchange) >= 0), None)
            if harmless:
                self._apply(harmless)
                returned = True
        return returned


def _least_pairs(size: int, kinds: int) -> tuple[int, int]:
    """How many replicas of a shard must be of the primary's kind, and how many pairs of replicas of one kind."""
    replicas = size - 1
    if kinds == 1:
        return replicas, replicas * (replicas - 1) // 2
    each, extra = divmod(replicas, kinds - 1)
    return 0, (kinds - 1 - extra) * each * (each - 1) // 2 + extra * each * (each + 1) // 2


class _Ring:
    """Gives the waiting nodes to groups, to each the one that fits best.

    Among equals the first replica is taken from the next zone and host, the second from the one after: a ring.
    """

    def __init__(self, groups: _Groups, waiting: Iterable[int]) -> None:
        self.groups = groups
        self.queues: dict[tuple[int, int], deque[int]] = {}
        for rank in sorted(waiting):
            self.queues.setdefault((groups.zone[rank], groups.host[rank]), deque()).append(rank)
        self.zones = max(groups.zone, default=0) + 1
        self.hosts_of: dict[int, list[int]] = {}
        for zone, host in sorted(self.queues):
            self.hosts_of.setdefault(zone, []).append(host)

    @property
    def left(self) -> bool:
        return bool(self.queues)

    def take(self, index: int) -> int:
        """The node for that group."""
        zone, host = self._best(index)
        queue = self.queues[zone, host]
        rank = queue.popleft()
        if not queue:
            del self.queues[zone, host]
            self.hosts_of[zone].remove(host)
        return rank

    def _best(self, index: int) -> tuple[int, int]:
        """The zone and the host of the node for that group."""
        group = self.groups.members[index]
        hosts = {self.groups.host[rank] for rank in group}
        domains = {self.groups.domain[rank] for rank in group}
        best: tuple[int, int] | None = None
        least = 0
        known: dict[tuple[int, int], int] = {}
        for zone, host in self._from(index):
            rank = self.queues[zone, host][0]
            domain = self.groups.domain[rank]
            kind = (host if host in hosts else -1, domain if domain in domains else -1)
            if kind not in known:
                known[kind] = self.groups.judge(group | {rank})
            if best is None or known[kind] < least:
                best, least = (zone, host), known[kind]
            if kind == (-1, -1):
                break
        if best is None:
            raise ValueError("nobody is waiting")
        return best

    def _from(self, index: int) -> Iterator[tuple[int, int]]:
        """The zones and hosts of those that wait, from the group's first member on."""
        group = self.groups.members[index]
        owner = self.groups.owners[index]
        first = owner if owner is not None else min(group)
        turn = len(group)
        for step in range(self.zones):
            zone = (self.groups.zone[first] + turn + step) % self.zones
            hosts = self.hosts_of.get(zone, [])
            begin = bisect_right(hosts, self.groups.host[first] + turn - 1)
            for host in (*hosts[begin:], *hosts[:begin]):
                yield zone, host


# --- who is the primary ----------------------------------------------------------------------------------------------


class _Roles:
    """Chooses the primary of each group.

    Only members that share host and zone with the fewest others of the group can be it. Of those, the owner remains,
    unless the primaries are spread better over the hosts, or as well over the hosts and better over the zones.
    """

    def __init__(
        self, groups: _Groups, owners: Sequence[int | None], preferences: Mapping[tuple[int, int], int]
    ) -> None:
        self.host = groups.host
        # A host is in one zone.
        self.zone_of = dict(zip(groups.host, groups.zone))
        self.able = [_least_together(groups, group) for group in groups.members]
        self.in_host: Counter[int] = Counter()
        self.in_zone: Counter[int] = Counter()
        remaining = {
            index: owner for index, owner in enumerate(owners) if owner is not None and owner in self.able[index]
        }
        for owner in remaining.values():
            self._count(owner, 1)
        self.primaries = [
            remaining[index] if index in remaining else self._successor(index, preferences)
            for index in range(len(owners))
        ]
        self._spread()

    def _count(self, rank: int, by: int) -> None:
        self.in_host[self.host[rank]] += by
        self.in_zone[self.zone_of[self.host[rank]]] += by

    def _successor(self, index: int, preferences: Mapping[tuple[int, int], int]) -> int:
        def key(rank: int) -> tuple[int, int, int, int]:
            host = self.host[rank]
            return preferences.get((index, rank), 2), self.in_host[host], self.in_zone[self.zone_of[host]], rank

        chosen = min(self.able[index], key=key)
        self._count(chosen, 1)
        return chosen

    def _spread(self) -> None:
        while True:
            changes = self._better_spread()
            if not changes:
                return
            for index, rank in changes:
                self._count(self.primaries[index], -1)
                self._count(rank, 1)
                self.primaries[index] = rank

    def _better_spread(self) -> list[tuple[int, int]]:
        """The fewest changes of primaries by which one host has one less and another one more, so that the sum of the
        squares of the primaries of each host falls, or stays and that of the zones falls.
        """
        hosts = sorted({self.host[rank] for able in self.able for rank in able})
        count = self.in_host
        for most in sorted({count[host] for host in hosts}, reverse=True):
            goals = {host for host in hosts if count[host] <= most - 2}
            changes = self._chain([host for host in hosts if count[host] == most], goals)
            if changes:
                return changes
        zones = sorted({self.zone_of[host] for host in hosts}, key=lambda zone: (-self.in_zone[zone], zone))
        for zone in zones:
            inside = [host for host in hosts if self.zone_of[host] == zone]
            outside = [host for host in hosts if self.in_zone[self.zone_of[host]] <= self.in_zone[zone] - 2]
            for most in sorted({count[host] for host in inside}, reverse=True):
                goals = {host for host in outside if count[host] == most - 1}
                changes = self._chain([host for host in inside if count[host] == most], goals)
                if changes:
                    return changes
        return []

    def _chain(self, begin: Sequence[int], goals: set[int]) -> list[tuple[int, int]]:
        """The shortest chain of groups, each with a new primary on the host that the next one's primary leaves."""
        if not goals:
            return []
        led_from: dict[int, list[int]] = {}
        for index, rank in enumerate(self.primaries):
            led_from.setdefault(self.host[rank], []).append(index)
        came_by: dict[int, tuple[int, int] | None] = {host: None for host in begin}
        queue = deque(begin)
        while queue:
            host = queue.popleft()
            if host in goals:
                return self._steps_to(host, came_by)
            for index in led_from.get(host, ()):
                for rank in sorted(self.able[index]):
                    if self.host[rank] not in came_by:
                        came_by[self.host[rank]] = index, rank
                        queue.append(self.host[rank])
        return []

    def _steps_to(self, host: int, came_by: Mapping[int, tuple[int, int] | None]) -> list[tuple[int, int]]:
        steps = []
        step = came_by[host]
        while step is not None:
            steps.append(step)
            step = came_by[self.host[self.primaries[step[0]]]]
        return steps


def _least_together(groups: _Groups, group: set[int]) -> set[int]:
    others = groups.apartness(group)
    least = min(others.values())
    return {rank for rank in group if others[rank] == least}
