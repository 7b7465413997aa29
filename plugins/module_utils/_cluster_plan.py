# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which steps lead from the observed nodes to the described cluster, or why none may be taken. No I/O.

Private to this collection. The placement depends on the declared nodes alone and not on their order, so a run that
finds half of a cluster computes the same goal as the run that began it, and adds what is missing.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.apiops.tyk_redis.plugins.module_utils._cluster_view import (
    SLOTS,
    ClusterView,
    DeclaredNode,
    NodeView,
    SlotRanges,
    describe_node,
    each_slot,
    fits_apart,
    format_ranges,
    join_names,
    merge,
    parse_cluster_nodes,
    plural,
    primaries_wanted,
    to_ranges,
)

# A cluster elects by majority of its primaries, so less than three survive nothing.
MINIMUM_PRIMARIES = 3

# Nodes learn each other's roles within half of this time; a cluster without data can afford the false alarms.
FORMING_NODE_TIMEOUT = 2000

# What must be cleared up before anything may be done to the nodes, even to nodes without data.
_BLOCKING = frozenset(
    {"unreachable", "cluster-off", "loading", "identity", "unknown-member", "version-mix", "open-slot", "address"}
)

# What passes by itself after a restart or a failover, and what may be only a consequence of it.
_SETTLING = frozenset({"replica-link", "state", "role", "epoch", "suspected", "failed", "bus", "slots", "handshake"})
_CONSEQUENCES = frozenset({"size", "replica-missing", "idle-primary", "replica-chain"})


class PlanRefused(Exception):
    """Nothing may be done. Every reason is a finished sentence."""

    def __init__(self, reasons: Sequence[str]) -> None:
        self.reasons = tuple(dict.fromkeys(reasons))
        self.observed: dict[str, Any] | None = None
        super().__init__("Nothing was changed, because:\n" + "\n".join(f"- {reason}" for reason in self.reasons))


@dataclass(frozen=True)
class Desired:
    """The described cluster. The node timeout (ms) is what the servers are to run with; None leaves it alone."""

    nodes: tuple[DeclaredNode, ...]
    replicas_per_primary: int
    node_timeout: int | None = None

    @property
    def primaries(self) -> int:
        return primaries_wanted(len(self.nodes), self.replicas_per_primary)


@dataclass(frozen=True)
class Shard:
    """A primary, its replicas and its slots."""

    primary: DeclaredNode
    replicas: tuple[DeclaredNode, ...]
    slots: SlotRanges

    @property
    def members(self) -> tuple[DeclaredNode, ...]:
        return (self.primary, *self.replicas)


# --- steps -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Step:
    """One named step. A step that only waits is not a change."""

    @property
    def sentence(self) -> str:
        raise NotImplementedError

    @property
    def changes(self) -> bool:
        return True


@dataclass(frozen=True)
class SetNodeTimeout(Step):
    nodes: tuple[DeclaredNode, ...]
    milliseconds: int
    forming: bool = False

    @property
    def sentence(self) -> str:
        until = ", until the cluster is formed" if self.forming else ""
        names = join_names(node.name for node in self.nodes)
        return f"Set cluster-node-timeout to {self.milliseconds} ms on {names}{until}."


@dataclass(frozen=True)
class GiveEpoch(Step):
    node: DeclaredNode
    epoch: int

    @property
    def sentence(self) -> str:
        return f"Give {self.node.name} the config epoch {self.epoch}."


@dataclass(frozen=True)
class AssignSlots(Step):
    node: DeclaredNode
    slots: SlotRanges

    @property
    def sentence(self) -> str:
        return f"Assign the slots {format_ranges(self.slots)} to {self.node.name}."


@dataclass(frozen=True)
class Introduce(Step):
    node: DeclaredNode
    peers: tuple[DeclaredNode, ...]

    @property
    def sentence(self) -> str:
        return f"Introduce {self.node.name} to {join_names(peer.name for peer in self.peers)}."


@dataclass(frozen=True)
class AwaitMembers(Step):
    count: int

    @property
    def sentence(self) -> str:
        return f"Wait until all {self.count} nodes know each other."

    @property
    def changes(self) -> bool:
        return False


@dataclass(frozen=True)
class Replicate(Step):
    node: DeclaredNode
    primary: DeclaredNode

    @property
    def sentence(self) -> str:
        return f"Make {self.node.name} a replica of {self.primary.name}."


@dataclass(frozen=True)
class AwaitAgreement(Step):
    @property
    def sentence(self) -> str:
        return f"Wait until every node agrees, all {SLOTS} slots are served and every replica is in sync."

    @property
    def changes(self) -> bool:
        return False


@dataclass(frozen=True)
class Plan:
    """The steps in their order, what is worth a warning, and the layout afterwards, one line a node."""

    steps: tuple[Step, ...]
    warnings: tuple[str, ...]
    layout: tuple[str, ...]

    @property
    def changed(self) -> bool:
        return any(step.changes for step in self.steps)

    @property
    def sentences(self) -> list[str]:
        return [step.sentence for step in self.steps]


# --- the declaration -------------------------------------------------------------------------------------------------


def check_addresses(nodes: Sequence[DeclaredNode]) -> list[str]:
    """What makes it impossible to say which node is which."""
    reasons = []
    for address, count in Counter(node.address for node in nodes).items():
        if count > 1:
            reasons.append(f"The address {address} is declared {count} times; declare each node once.")
    for name, count in Counter(node.name for node in nodes).items():
        if count > 1 and len({node.address for node in nodes if node.name == name}) > 1:
            reasons.append(f"The name {name} is given to {count} nodes; give each its own.")
    for node in nodes:
        if _ip_key(node.address.host) is None:
            reasons.append(
                f"The address {node.address.host!r} of {node.name} is not an IP address; CLUSTER MEET takes no names, "
                "and nodes know each other by IP address."
            )
        for what, port in (("port", node.address.port), ("bus port", node.bus_port)):
            if not 0 < port < 65536:
                reasons.append(f"The {what} {port} of {node.name} is not between 1 and 65535; declare another one.")
        if node.address.port == node.bus_port:
            reasons.append(f"The port and the bus port of {node.name} are both {node.bus_port}; they must differ.")
    return reasons


def check_counts(desired: Desired) -> list[str]:
    """Whether so many nodes make a cluster of the described shape."""
    reasons = []
    replicas = desired.replicas_per_primary
    if replicas < 0:
        reasons.append(f"replicas_per_primary is {replicas}; it must be 0 or more.")
    elif desired.primaries < MINIMUM_PRIMARIES:
        reasons.append(
            f"{plural(len(desired.nodes), 'node')} with {plural(replicas, 'replica')} per primary make "
            f"{plural(desired.primaries, 'primary', 'primaries')}, but a cluster needs {MINIMUM_PRIMARIES}; "
            f"declare {MINIMUM_PRIMARIES * (1 + replicas)} nodes or more, or fewer replicas per primary."
        )
    zones: dict[str, set[str]] = {}
    for node in desired.nodes:
        zones.setdefault(node.host, set()).add(node.zone)
    for host, names in zones.items():
        if len(names) > 1:
            listed = join_names(name or "none" for name in sorted(names))
            reasons.append(f"The host {host} is declared in several zones ({listed}); a host is in one.")
    return reasons


def _ip_key(host: str) -> tuple[int, int] | None:
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return None
    return ip.version, int(ip)


def _node_key(node: DeclaredNode) -> tuple[tuple[int, int], str, int]:
    return _ip_key(node.address.host) or (0, 0), node.address.host, node.address.port


# --- placement -------------------------------------------------------------------------------------------------------


def split_slots(primaries: int) -> list[SlotRanges]:
    """All slots in as many runs, whose lengths differ by one at the most."""
    bounds = [(2 * index * SLOTS + primaries) // (2 * primaries) for index in range(primaries + 1)]
    return [((first, after - 1),) for first, after in zip(bounds, bounds[1:])]


def place(nodes: Iterable[DeclaredNode], replicas_per_primary: int) -> tuple[Shard, ...]:
    """Which nodes are primaries, whose replicas the others are, and who gets which slots.

    No primary shares its host with a replica of its own where the nodes allow that; then the same for zones; then
    replicas of one primary are kept apart. The same nodes get the same places, in whatever order they are declared.
    """
    ordered = sorted(nodes, key=_node_key)
    count = primaries_wanted(len(ordered), replicas_per_primary)
    primaries = _choose_primaries(ordered, count)
    others = [node for node in ordered if node not in primaries]
    groups = _spread(_match(primaries, others), primaries)
    return tuple(
        Shard(primary, tuple(replicas), slots)
        for primary, replicas, slots in zip(primaries, groups, split_slots(count))
    )


def _zones(nodes: Sequence[DeclaredNode]) -> dict[DeclaredNode, str]:
    """Zones mean something only when every node has one."""
    known = all(node.zone for node in nodes)
    return {node: node.zone if known else "" for node in nodes}


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


def _choose_primaries(nodes: Sequence[DeclaredNode], count: int) -> list[DeclaredNode]:
    """Take primaries in turns from the zones, and within a zone from its hosts, as far as their room allows."""
    zone_of = _zones(nodes)
    host_size = Counter(node.host for node in nodes)
    zone_size = Counter(zone_of[node] for node in nodes)
    host_room = {host: _room_for_primaries(size, len(nodes), count) for host, size in host_size.items()}
    zone_room = {zone: _room_for_primaries(size, len(nodes), count) for zone, size in zone_size.items()}
    rank = {node: index for index, node in enumerate(nodes)}
    chosen: list[DeclaredNode] = []
    in_host: Counter[str] = Counter()
    in_zone: Counter[str] = Counter()

    def key(node: DeclaredNode) -> tuple[bool, bool, int, int, int]:
        zone = zone_of[node]
        return (
            in_host[node.host] >= host_room[node.host],
            in_zone[zone] >= zone_room[zone],
            in_zone[zone],
            in_host[node.host],
            rank[node],
        )

    while len(chosen) < count:
        best = min((node for node in nodes if node not in chosen), key=key)
        chosen.append(best)
        in_host[best.host] += 1
        in_zone[zone_of[best]] += 1
    return chosen


def _match(primaries: Sequence[DeclaredNode], others: Sequence[DeclaredNode]) -> list[list[DeclaredNode]]:
    """Give every primary its replicas, evenly, by an assignment of least cost."""
    groups: list[list[DeclaredNode]] = [[] for _primary in primaries]
    if not others:
        return groups
    zone_of = _zones([*primaries, *others])
    everyone = sorted([*primaries, *others], key=_node_key)
    hosts = {host: index for index, host in enumerate(dict.fromkeys(node.host for node in everyone))}
    zones = {zone: index for index, zone in enumerate(dict.fromkeys(zone_of[node] for node in everyone))}
    each, extra = divmod(len(others), len(primaries))
    places = [(index, copy) for copy in range(each + bool(extra)) for index in range(len(primaries))]
    zone_cost = len(places) * (len(hosts) * len(zones)) ** 2 + 1
    host_cost = zone_cost * (len(places) + 1)

    def cost(node: DeclaredNode, place_index: int) -> int:
        index, copy = places[place_index]
        primary = primaries[index]
        if node.host == primary.host:
            return host_cost
        # Among equals the first replica is preferred in the next zone and host, the second in the one after: a ring.
        zone_turn = (zones[zone_of[node]] - zones[zone_of[primary]] - 1 - copy) % len(zones)
        turn = zone_turn * len(hosts) + (hosts[node.host] - hosts[primary.host] - 1 - copy) % len(hosts)
        # Squares prefer that all are turned equally far.
        return turn**2 + (zone_cost if zone_of[node] and zone_of[node] == zone_of[primary] else 0)

    rows = [[cost(node, index) for index in range(len(places))] for node in others]
    # Nobody may be left without the replicas that are everyone's due, so only the surplus places may stay empty.
    never = host_cost * (len(places) + 1)
    for _empty in range(len(places) - len(others)):
        rows.append([never if copy < each else 0 for _index, copy in places])
    for row, column in enumerate(_least_cost_assignment(rows)[: len(others)]):
        groups[places[column][0]].append(others[row])
    return groups


def _least_cost_assignment(costs: Sequence[Sequence[int]]) -> list[int]:
    """The column of each row of a square matrix, so that the sum is least (the Hungarian method)."""
    size = len(costs)
    row_price = [0] * (size + 1)
    column_price = [0] * (size + 1)
    row_of = [0] * (size + 1)
    for row in range(1, size + 1):
        row_of[0] = row
        column = 0
        slack: list[int | None] = [None] * (size + 1)
        came_from = [0] * (size + 1)
        visited = [False] * (size + 1)
        while row_of[column]:
            visited[column] = True
            current = row_of[column]
            best: int | None = None
            following = 0
            for candidate in range(1, size + 1):
                if visited[candidate]:
                    continue
                reduced = costs[current - 1][candidate - 1] - row_price[current] - column_price[candidate]
                known = slack[candidate]
                if known is None or reduced < known:
                    slack[candidate] = known = reduced
                    came_from[candidate] = column
                if best is None or known < best:
                    best, following = known, candidate
            step = best or 0
            for candidate in range(size + 1):
                known = slack[candidate]
                if visited[candidate]:
                    row_price[row_of[candidate]] += step
                    column_price[candidate] -= step
                elif known is not None:
                    slack[candidate] = known - step
            column = following
        while column:
            row_of[column] = row_of[came_from[column]]
            column = came_from[column]
    columns = [0] * size
    for column in range(1, size + 1):
        columns[row_of[column] - 1] = column - 1
    return columns


def _spread(groups: list[list[DeclaredNode]], primaries: Sequence[DeclaredNode]) -> list[list[DeclaredNode]]:
    """Swap replicas between groups as long as that keeps more replicas of one primary apart, at no other cost."""
    zone_of = _zones([*primaries, *(node for group in groups for node in group)])

    def cost(index: int) -> tuple[int, int, int, int]:
        primary, members = primaries[index], groups[index]
        pairs = [(a, b) for i, a in enumerate(members) for b in members[i + 1 :]]
        return (
            sum(node.host == primary.host for node in members),
            sum(bool(zone_of[node]) and zone_of[node] == zone_of[primary] for node in members),
            sum(a.host == b.host for a, b in pairs),
            sum(bool(zone_of[a]) and zone_of[a] == zone_of[b] for a, b in pairs),
        )

    def swap_helps(left: int, i: int, right: int, j: int) -> bool:
        before = tuple(a + b for a, b in zip(cost(left), cost(right)))
        groups[left][i], groups[right][j] = groups[right][j], groups[left][i]
        if tuple(a + b for a, b in zip(cost(left), cost(right))) < before:
            return True
        groups[left][i], groups[right][j] = groups[right][j], groups[left][i]
        return False

    if max(len(group) for group in groups) < 2:
        return groups
    improved = True
    while improved:
        improved = any(
            swap_helps(left, i, right, j)
            for left in range(len(groups))
            for right in range(left + 1, len(groups))
            for i in range(len(groups[left]))
            for j in range(len(groups[right]))
        )
    return [sorted(group, key=_node_key) for group in groups]


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


# --- planning --------------------------------------------------------------------------------------------------------


def make_plan(desired: Desired, view: ClusterView) -> Plan:
    """The steps from the view to the description. Raises PlanRefused with every reason when there is no safe way."""
    reasons = check_counts(desired)
    warnings = _declaration_warnings(desired)
    if not reasons and view.healthy:
        return Plan(
            steps=tuple(_timeout_steps(desired, view)),
            warnings=(*warnings, *(problem.sentence for problem in view.warnings)),
            layout=tuple(view.describe()),
        )
    blocking = [problem.sentence for problem in view.errors if problem.kind in _BLOCKING]
    contents = _contents(view)
    if reasons or blocking:
        raise PlanRefused([*reasons, *_observed_reasons(view), *contents])
    forming = None if contents else _Forming(desired, view)
    if forming and not forming.conflicts:
        return forming.plan(warnings)
    if is_settling(view):
        return Plan(
            steps=(AwaitAgreement(), *_timeout_steps(desired, view)),
            warnings=warnings,
            layout=tuple(view.describe()),
        )
    raise PlanRefused([*_observed_reasons(view), *contents, *(forming.conflicts if forming else ())])


def fresh_view(desired: Desired) -> ClusterView:
    """What the nodes of a description will say once they have been started for the first time."""
    views = []
    for number, node in enumerate(desired.nodes, start=1):
        endpoint = f"{node.address.host}:{node.address.port}@{node.bus_port}"
        line = f"{number:040x} {endpoint} myself,master - 0 0 0 connected"
        views.append(NodeView(node=node, lines=parse_cluster_nodes(line), node_timeout=desired.node_timeout))
    return merge(views, desired.replicas_per_primary)


def is_settling(view: ClusterView) -> bool:
    """Whether all that is wrong may pass by itself, as it does after a restart or a failover."""
    kinds = {problem.kind for problem in view.errors}
    return bool(kinds & _SETTLING) and kinds <= _SETTLING | _CONSEQUENCES


def _observed_reasons(view: ClusterView) -> list[str]:
    return [problem.sentence for problem in view.errors if problem.kind != "no-cluster"]


def _contents(view: ClusterView) -> list[str]:
    """Data on nodes of a cluster that is not whole: it is not ours to decide about."""
    reasons = []
    for state in view.nodes:
        what = []
        if state.view.keys:
            what.append(plural(state.view.keys, "key"))
        if state.view.functions:
            what.append(plural(state.view.functions, "function"))
        if what:
            reasons.append(
                f"{state.node.title} holds {' and '.join(what)}; only nodes without data are formed into a cluster: "
                "look whose data it is, and empty the node yourself or declare another one."
            )
    return reasons


def _declaration_warnings(desired: Desired) -> tuple[str, ...]:
    warnings = []
    if desired.replicas_per_primary >= 0 and desired.primaries:
        rest = len(desired.nodes) - desired.primaries * (1 + desired.replicas_per_primary)
        if rest:
            warnings.append(
                f"{len(desired.nodes)} nodes do not divide into primaries with "
                f"{plural(desired.replicas_per_primary, 'replica')} each: there are {desired.primaries} primaries, and "
                f"{plural(rest, 'node')} left over {'is an' if rest == 1 else 'are'} additional "
                f"{'replica' if rest == 1 else 'replicas'}."
            )
    without = [node.name for node in desired.nodes if not node.zone]
    if without and len(without) < len(desired.nodes):
        warnings.append(
            f"{join_names(without)} have no zone, so zones are left out of account; give every node a zone or none."
        )
    return tuple(warnings)


def _timeout_steps(desired: Desired, view: ClusterView) -> list[Step]:
    """Put back what a run that was killed while forming has left behind."""
    wanted = desired.node_timeout
    differing = tuple(state.node for state in view.nodes if wanted and state.view.node_timeout not in (None, wanted))
    return [SetNodeTimeout(differing, wanted)] if wanted and differing else []


@dataclass
class _Forming:
    """The difference between nodes without data and the described cluster."""

    desired: Desired
    view: ClusterView
    conflicts: list[str] = field(default_factory=list)
    shards: list[Shard] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.state_of = {state.node: state for state in self.view.nodes}
        for shard in place(self.desired.nodes, self.desired.replicas_per_primary):
            self._check(shard)
            primary = self._acting_primary(shard)
            self.shards.append(Shard(primary, tuple(n for n in shard.members if n != primary), shard.slots))

    def _check(self, shard: Shard) -> None:
        wanted = set(each_slot(shard.slots))
        owners = [self.state_of[node] for node in shard.members if self.state_of[node].slots]
        for state in owners:
            if not wanted.issuperset(each_slot(state.slots)):
                self._conflict(
                    f"{state.node.name} owns the slots {format_ranges(state.slots)}, but its place is with the slots "
                    f"{format_ranges(shard.slots)}"
                )
        if len(owners) > 1:
            names = join_names(state.node.name for state in owners)
            self._conflict(f"{names} own slots, but only one of them is to be a primary")
        for node in shard.members:
            state = self.state_of[node]
            if state.role == "replica" and state.primary not in shard.members:
                whom = state.primary.name if state.primary else "an undeclared node"
                self._conflict(f"{node.name} replicates {whom}, but its place is with {shard.primary.name}")

    def _conflict(self, fact: str) -> None:
        self.conflicts.append(
            f"{fact}: this is not the beginning of the described cluster. Describe what is there, or, as the nodes "
            "hold no keys, send CLUSTER RESET HARD to each of them yourself and run again."
        )

    def _acting_primary(self, shard: Shard) -> DeclaredNode:
        """A failover may have swapped the roles in a shard that was not complete yet; that is as good."""
        followed = {self.state_of[node].primary for node in shard.members}
        free = [node for node in shard.members if self.state_of[node].role != "replica"]
        if not free:
            self._conflict(f"{join_names(node.name for node in shard.members)} replicate each other in a circle")
            return shard.primary
        return min(free, key=lambda node: (not self.state_of[node].slots, node not in followed))

    def plan(self, warnings: Sequence[str]) -> Plan:
        order = sorted(self.desired.nodes, key=_node_key)
        epoch_of = {node: index for index, node in enumerate(order, start=1)}
        steps: list[Step] = []
        for node in order:
            view = self.state_of[node].view
            # A server takes an epoch only as long as it knows nobody and has none.
            if view.alone and view.me.epoch == 0:
                steps.append(GiveEpoch(node, epoch_of[node]))
        for shard in self.shards:
            owned = set(each_slot(self.state_of[shard.primary].slots))
            missing = to_ranges(slot for slot in each_slot(shard.slots) if slot not in owned)
            if missing:
                steps.append(AssignSlots(shard.primary, missing))
        steps += self._introductions(order)
        attach = [
            Replicate(node, shard.primary)
            for shard in self.shards
            for node in shard.replicas
            if self.state_of[node].primary != shard.primary
        ]
        if steps or attach:
            steps.append(AwaitMembers(len(order)))
        steps += attach
        steps.append(AwaitAgreement())
        return Plan(
            steps=tuple(self._hurried(steps)),
            warnings=(*warnings, *placement_warnings(self.shards)),
            layout=tuple(self._layout()),
        )

    def _introductions(self, order: Sequence[DeclaredNode]) -> list[Step]:
        """Who meets whom: neighbours at distances 1, 2, 4..., so that news crosses any number of nodes in few hops."""
        met: set[frozenset[DeclaredNode]] = set()
        steps: list[Step] = []
        for index, node in enumerate(order):
            peers = []
            distance = 1
            while distance < len(order):
                peer = order[(index + distance) % len(order)]
                pair = frozenset((node, peer))
                if pair not in met and not (self._knows(node, peer) and self._knows(peer, node)):
                    peers.append(peer)
                met.add(pair)
                distance *= 2
            if peers:
                steps.append(Introduce(node, tuple(peers)))
        return steps

    def _knows(self, viewer: DeclaredNode, subject: DeclaredNode) -> bool:
        line = self.state_of[viewer].view.line_of(self.state_of[subject].node_id)
        return line is not None and "handshake" not in line.flags

    def _hurried(self, steps: list[Step]) -> list[Step]:
        """Form with a short node timeout if it is known what to put back, and if the servers let us."""
        wanted = self.desired.node_timeout
        timeouts = [state.view.node_timeout for state in self.view.nodes]
        if not wanted or any(timeout is None for timeout in timeouts):
            return steps
        if not any(step.changes for step in steps) or wanted <= FORMING_NODE_TIMEOUT:
            return [*steps, *_timeout_steps(self.desired, self.view)]
        everyone = tuple(sorted(self.desired.nodes, key=_node_key))
        lower = SetNodeTimeout(everyone, FORMING_NODE_TIMEOUT, forming=True)
        return [lower, *steps, SetNodeTimeout(everyone, wanted)]

    def _layout(self) -> Iterable[str]:
        place_of = {node: shard for shard in self.shards for node in shard.members}
        for node in self.desired.nodes:
            shard = place_of[node]
            if node == shard.primary:
                yield describe_node(node, "primary", shard.slots, "")
            else:
                yield describe_node(node, "replica", (), shard.primary.name)
