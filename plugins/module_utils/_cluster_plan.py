# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which steps lead from the observed nodes to the described cluster, or why none may be taken. No I/O.

Private to this collection. What is broken is repaired first, then newcomers join, replicas are attached, slots move,
and what is to leave is let go last: the cluster never has fewer copies of a key than it had, as far as the nodes allow.
The goal depends on the declared nodes and on what is there, and not on the order of either, so a run that finds half
of the work done computes the same goal as the run that began it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from ansible_collections.apiops.tyk_redis.plugins.module_utils._cluster_layout import (
    Current,
    Shard,
    Target,
    TargetShard,
    ip_key,
    node_key,
    place,
    placement_warnings,
    target_layout,
)
from ansible_collections.apiops.tyk_redis.plugins.module_utils._cluster_repair import Repairs, repair
from ansible_collections.apiops.tyk_redis.plugins.module_utils._cluster_shares import (
    balanced,
    shard_weight,
    shares,
    transfers,
)
from ansible_collections.apiops.tyk_redis.plugins.module_utils._cluster_steps import (
    AssignSlots,
    AwaitAgreement,
    AwaitMembers,
    AwaitSync,
    BumpEpoch,
    CopyFunctions,
    EmptyReplica,
    GiveEpoch,
    HandOver,
    Introduce,
    MoveSlots,
    Plan,
    PlanRefused,
    Remove,
    Replicate,
    SetNodeTimeout,
    Step,
)
from ansible_collections.apiops.tyk_redis.plugins.module_utils._cluster_view import (
    ClusterView,
    DeclaredNode,
    NodeState,
    NodeView,
    Problem,
    SlotRanges,
    describe_node,
    each_slot,
    join_names,
    merge,
    parse_cluster_nodes,
    plural,
    primaries_wanted,
    to_ranges,
    version_tuple,
)

# A cluster elects by majority of its primaries, so less than three survive nothing.
MINIMUM_PRIMARIES = 3

# Nodes learn each other's roles within half of this time; a cluster without data can afford the false alarms.
FORMING_NODE_TIMEOUT = 2000

# So many nodes all meet each other, because gossip would take a second to tell the last ones.
_ALL_MEET = 32

# What nothing may be done about, not even to nodes without data.
_BLOCKING = frozenset(
    {"unreachable", "cluster-off", "loading", "unknown-member", "departing", "version-mix", "same-id"}
)

# What passes by itself after a restart or a failover, and what may be only a consequence of it.
_SETTLING = frozenset(
    {"replica-link", "state", "role", "epoch", "suspected", "failed", "bus", "slots", "handshake", "departing"}
)
_CONSEQUENCES = frozenset(
    {"size", "replica-missing", "idle-primary", "replica-chain", "unknown-member", "uncovered", "leaving"}
)


@dataclass(frozen=True)
class Desired:
    """The described cluster.

    The leaving nodes are members that are drained and removed. The node timeout (ms) is what the servers are to run
    with; None leaves it alone. `loss` are the slots whose data may be lost. The threshold (percent) is how far a
    primary's slots may be from its share before slots move. The method is "auto", "keys" or "atomic".
    """

    nodes: tuple[DeclaredNode, ...]
    replicas_per_primary: int
    node_timeout: int | None = None
    leaving: tuple[DeclaredNode, ...] = ()
    loss: frozenset[int] = frozenset()
    threshold: float = 2.0
    method: str = "auto"

    @property
    def primaries(self) -> int:
        return primaries_wanted(len(self.nodes), self.replicas_per_primary)


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
        if ip_key(node.address.host) is None:
            reasons.append(
                f"The address {node.address.host!r} of {node.name} is not an IP address; CLUSTER MEET takes no names, "
                "and nodes know each other by IP address."
            )
        for what, port in (("port", node.address.port), ("bus port", node.bus_port)):
            if not 0 < port < 65536:
                reasons.append(f"The {what} {port} of {node.name} is not between 1 and 65535; declare another one.")
        if node.weight < 1:
            reasons.append(f"The weight of {node.name} is {node.weight}; it must be 1 or more.")
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


# --- planning --------------------------------------------------------------------------------------------------------


def make_plan(desired: Desired, view: ClusterView) -> Plan:
    """The steps from the view to the description. Raises PlanRefused with every reason when there is no safe way."""
    reasons = check_counts(desired)
    warnings = _declaration_warnings(desired)
    blocking = [problem.sentence for problem in view.errors if _blocks(problem, view)]
    if reasons or blocking:
        raise PlanRefused([*reasons, *blocking, *_contents(_newcomers(view))])
    if not view.healthy and not desired.leaving and not view.strangers and not _contents(view.nodes):
        forming = _Forming(desired, view)
        if forming.fits:
            return forming.plan(warnings)
    return _Converging(desired, view).plan(warnings)


def fresh_view(desired: Desired) -> ClusterView:
    """What the nodes of a description will say once they have been started for the first time."""
    views = [_fresh(number, node, desired.node_timeout) for number, node in enumerate(desired.nodes, start=1)]
    return merge(views, desired.replicas_per_primary)


def with_fresh(views: Sequence[NodeView], node_timeout: int | None) -> list[NodeView]:
    """The views, as they will be when the nodes that nobody knows and that do not run have been started."""
    known = {(line.host, line.port) for view in views for line in view.lines}
    product, version = next(((view.product, view.version) for view in views if view.usable), ("", ""))
    return [
        replace(_fresh(number, view.node, node_timeout), product=product, version=version)
        if view.error_kind == "refused" and (view.node.address.host, view.node.address.port) not in known
        else view
        for number, view in enumerate(views, start=1)
    ]


def _fresh(number: int, node: DeclaredNode, node_timeout: int | None) -> NodeView:
    endpoint = f"{node.address.host}:{node.address.port}@{node.bus_port}"
    line = f"{number:040x} {endpoint} myself,master - 0 0 0 connected"
    return NodeView(node=node, lines=parse_cluster_nodes(line), node_timeout=node_timeout)


def is_settling(view: ClusterView) -> bool:
    """Whether all that is wrong may pass by itself, as it does after a restart or a failover."""
    kinds = {problem.kind for problem in view.errors}
    if "departing" in kinds or _may_be_succeeded(view):
        return True
    consequences = _CONSEQUENCES
    if not view.strangers and all(state.view.usable for state in view.nodes):
        # There is nobody left who could come and serve them.
        consequences -= {"uncovered"}
    return bool(kinds & _SETTLING) and kinds <= _SETTLING | consequences


def _may_be_succeeded(view: ClusterView) -> bool:
    """Whether a member that is gone still owns slots and has a replica that may be elected."""
    with_slots = {stranger.node_id for stranger in view.strangers if stranger.slots}
    return any(state.role == "replica" and state.primary_id in with_slots for state in view.nodes)


def _newcomers(view: ClusterView) -> list[NodeState]:
    return [state for state in view.nodes if state.role == "alone" and not state.slots]


def _blocks(problem: Problem, view: ClusterView) -> bool:
    if problem.kind == "unknown-member":
        return any(not stranger.gone for stranger in view.strangers)
    return problem.kind in _BLOCKING


def _contents(states: Iterable[NodeState]) -> list[str]:
    """Data on nodes that are not members yet: it is not ours to decide about."""
    reasons = []
    for state in states:
        what = []
        if state.view.keys:
            what.append(plural(state.view.keys, "key"))
        if state.view.functions:
            what.append(plural(state.view.functions, "function"))
        if what:
            reasons.append(
                f"{state.node.title} holds {' and '.join(what)}; only nodes without data become members: "
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


# --- converging ------------------------------------------------------------------------------------------------------


class _Converging:
    """The difference between a cluster, whole or broken, and the described one."""

    def __init__(self, desired: Desired, view: ClusterView) -> None:
        self.desired = desired
        self.view = view
        self.state_of = {state.node: state for state in view.nodes}
        self.staying = [state.node for state in view.nodes if not state.node.leaving]
        self.repairs: Repairs = repair(view, desired.loss)
        self.owned = self.repairs.owned
        # They leave first, because members that lack them would have to meet them, and so bring them back.
        self.forgotten = {
            state.node
            for state in view.nodes
            if state.node.leaving and not self.owned.get(state.node) and self._serves_nobody(state)
        }
        self.steps: list[Step] = []

    def _serves_nobody(self, state: NodeState) -> bool:
        """Whether no member knows the node, or it is a primary that holds and copies nothing."""
        if not any(_knows(self.state_of, node, state.node) for node in self.staying):
            return True
        followed = any(other.primary_id == state.node_id for other in self.view.nodes)
        return state.role == "primary" and not state.view.keys and not followed

    def plan(self, warnings: Sequence[str]) -> Plan:
        refusals = [*self.repairs.refusals, *_contents(_newcomers(self.view)), *self._method_refusals()]
        if not refusals and not any(self.owned.values()):
            refusals.append("No node owns a slot, so there is no cluster that could be changed.")
        if refusals:
            raise PlanRefused(refusals)
        target = self._target()
        self.steps += self.repairs.before
        self._remove(self.forgotten)
        self._join()
        self.steps += self.repairs.after
        self._settle_epochs()
        self._empty(target)
        self._attach(target)
        slots = self._share_out(target)
        self._release(target)
        self._hand_over(target)
        self._remove({state.node for state in self.view.nodes if state.node.leaving} - self.forgotten)
        self.steps += self.repairs.forget_later
        steps = self.steps
        if steps or not self.view.healthy:
            steps = [*steps, AwaitAgreement()]
        shards = [Shard(t.primary, t.replicas, slots[t.owner]) for t in target.shards]
        remarks = placement_warnings(shards)
        return Plan(
            steps=(*steps, *_timeout_steps(self.desired, self.view)),
            warnings=(*warnings, *remarks),
            layout=tuple(_layout_lines(self.desired.nodes, shards)),
        )

    def _target(self) -> Target:
        following: dict[DeclaredNode, list[DeclaredNode]] = {}
        for node, primary in self.repairs.primary_of.items():
            following.setdefault(primary, []).append(node)
        current = [
            Current(owner, tuple(sorted(following.get(owner, ()), key=node_key)), len(slots))
            for owner, slots in self.owned.items()
            if slots
        ]
        placed = {node for shard in current for node in (shard.owner, *shard.replicas)}
        free = [node for node in self.staying if node not in placed]
        return target_layout(current, free, self.desired.primaries)

    # --- joining -----------------------------------------------------------------------------------------------------

    def _join(self) -> None:
        if self.view.agreed:
            return
        nodes = sorted((state.node for state in self.view.nodes if state.node not in self.forgotten), key=node_key)
        missing = {
            (viewer, subject): None
            for viewer in nodes
            for subject in nodes
            if viewer != subject and not _knows(self.state_of, viewer, subject)
        }
        moved = [pair for pair in self._moved_addresses() if pair not in missing]
        if not missing and not moved:
            return
        meetings: dict[DeclaredNode, list[DeclaredNode]] = {}
        banned = False
        alone = {node for node in nodes if self.state_of[node].view.alone}
        for viewer, subject in missing:
            # A newcomer meets a few, and the gossip does the rest; a gap between members is closed where it is.
            if viewer not in alone and subject not in alone:
                meetings.setdefault(viewer, []).append(subject)
                banned = True
        members = [node for node in nodes if node not in alone]
        for index, node in enumerate(sorted(alone, key=node_key)):
            peers = [members[(index + step) % len(members)] for step in range(min(3, len(members)))]
            if peers:
                meetings.setdefault(node, []).extend(peers)
        if not members:
            self.steps += _introductions(nodes, self.state_of)
        for viewer, subject in moved:
            meetings.setdefault(viewer, []).append(subject)
        self.steps += [Introduce(node, tuple(peers)) for node, peers in meetings.items()]
        self.steps.append(AwaitMembers(len(nodes), banned))

    def _moved_addresses(self) -> list[tuple[DeclaredNode, DeclaredNode]]:
        """Who still knows whom at an old address."""
        pairs = []
        for viewer in self.view.nodes:
            for subject in self.view.nodes:
                line = viewer.view.line_of(subject.node_id) if viewer is not subject and subject.node_id else None
                address = subject.node.address
                if self.forgotten & {viewer.node, subject.node}:
                    continue
                if line is not None and line.host and (line.host, line.port) != (address.host, address.port):
                    pairs.append((viewer.node, subject.node))
        return pairs

    def _settle_epochs(self) -> None:
        if self.steps:
            return
        by_epoch: dict[int, list[DeclaredNode]] = {}
        for state in self.view.owners:
            by_epoch.setdefault(state.view.me.epoch, []).append(state.node)
        for nodes in by_epoch.values():
            for node in sorted(nodes, key=node_key)[1:]:
                self.steps.append(BumpEpoch(node, "because another primary has the same one"))

    # --- replicas ----------------------------------------------------------------------------------------------------

    def _empty(self, target: Target) -> None:
        """Replicas that become primaries, and such whose primary is gone but which are to own slots."""
        owners = {shard.owner for shard in target.shards if shard.is_new}
        emptied = [
            node
            for node in self.staying
            if node in target.emptied or (node in owners and self.state_of[node].role == "replica")
        ]
        if not emptied:
            return
        self.steps += [EmptyReplica(node) for node in emptied]
        peers = sorted((node for node, slots in self.owned.items() if slots), key=node_key)[:3]
        self.steps += [Introduce(node, tuple(peers)) for node in emptied]
        self.steps.append(AwaitMembers(len(self.view.nodes)))
        for node in emptied:
            self.repairs.primary_of.pop(node, None)

    def _attach(self, target: Target) -> None:
        """First the free nodes, which only adds copies; then those that change their shard, a few at a time."""
        follows = self.repairs.primary_of
        actual = {state.node: state.primary for state in self.view.nodes if state.role == "replica"}
        dissolved = set(target.dissolved)
        handing_over = {shard.owner for shard in target.shards if shard.primary != shard.owner}
        free: list[Replicate] = []
        moving: list[Replicate] = []
        for shard in target.shards:
            early = shard.is_new and not any(
                node not in dissolved and follows.get(node) not in dissolved for node in _others(shard)
            )
            for node in _others(shard):
                if node in dissolved or node in handing_over:
                    continue
                if follows.get(node) == shard.owner:
                    if actual.get(node) not in (None, shard.owner):
                        # At the end of a chain: it holds the right data, by a detour.
                        free.append(Replicate(node, shard.owner))
                elif node not in follows:
                    free.append(Replicate(node, shard.owner))
                elif follows[node] not in dissolved or early:
                    moving.append(Replicate(node, shard.owner))
        self._replicate(free)
        for batch in _rounds(moving, follows):
            self._replicate(batch)

    def _replicate(self, steps: Sequence[Replicate]) -> None:
        if steps:
            self.steps += steps
            self.steps.append(AwaitSync(tuple(step.node for step in steps)))
            for step in steps:
                self.repairs.primary_of[step.node] = step.primary

    def _release(self, target: Target) -> None:
        """Drained primaries, and the replicas that stayed with them as long as they held data."""
        handing_over = {shard.owner for shard in target.shards if shard.primary != shard.owner}
        self._replicate(
            [
                Replicate(node, shard.owner)
                for shard in target.shards
                for node in _others(shard)
                if node not in handing_over and self.repairs.primary_of.get(node) != shard.owner
            ]
        )

    def _hand_over(self, target: Target) -> None:
        """The last moves: roles, and then the replicas that were primaries and find their place in another shard."""
        follows = self.repairs.primary_of
        for shard in target.shards:
            if shard.primary == shard.owner:
                continue
            why = ", which is to leave" if shard.owner.leaving else ", so that the primaries are spread more evenly"
            self.steps.append(HandOver(shard.owner, shard.primary, why))
            for node in [node for node, primary in follows.items() if primary == shard.owner]:
                follows[node] = shard.primary
            follows[shard.owner] = shard.primary
            follows.pop(shard.primary, None)
        moving = [
            Replicate(node, shard.primary)
            for shard in target.shards
            for node in shard.replicas
            if follows.get(node) != shard.primary
        ]
        for batch in _rounds(moving, follows):
            self._replicate(batch)

    def _remove(self, nodes: Iterable[DeclaredNode]) -> None:
        self.steps += [Remove(node, self.state_of[node].node_id) for node in sorted(nodes, key=node_key)]

    # --- slots -------------------------------------------------------------------------------------------------------

    def _share_out(self, target: Target) -> dict[DeclaredNode, SlotRanges]:
        """Let slots move, and say who owns which afterwards."""
        owners = [shard.owner for shard in target.shards]
        counts = [len(self.owned.get(owner, ())) for owner in owners]
        weights = [shard_weight((shard.primary, *shard.replicas)) for shard in target.shards]
        ranges = {node: to_ranges(slots) for node, slots in self.owned.items() if slots}
        leftover = any(self.owned.get(node) for node in target.dissolved)
        if leftover or not balanced(counts, weights, self.desired.threshold):
            wanted = dict(zip(owners, shares(weights, counts)))
            self._copy_functions(target)
            for transfer in transfers(ranges, wanted):
                self.steps.append(
                    MoveSlots(
                        transfer.source,
                        transfer.target,
                        transfer.slots,
                        method=self._method(target, transfer.source, transfer.target),
                    )
                )
                moved = set(each_slot(transfer.slots))
                self.owned[transfer.source] = self.owned[transfer.source] - moved
                self.owned[transfer.target] = self.owned.get(transfer.target, set()) | moved
        return {owner: to_ranges(self.owned.get(owner, ())) for owner in owners}

    def _copy_functions(self, target: Target) -> None:
        having = [node for node, slots in self.owned.items() if slots and self.state_of[node].view.functions]
        if not having:
            return
        source = min(having, key=node_key)
        for shard in target.shards:
            if shard.is_new and not self.state_of[shard.owner].view.functions:
                self.steps.append(CopyFunctions(source, shard.owner))

    def _method(self, target: Target, source: DeclaredNode, receiver: DeclaredNode) -> str:
        if self.desired.method == "keys":
            return "keys"
        involved = {source, receiver}
        involved.update(node for node, primary in self.repairs.primary_of.items() if primary in (source, receiver))
        return _atomic_method(self.state_of[node].view for node in involved) or "keys"

    def _method_refusals(self) -> list[str]:
        if self.desired.method != "atomic":
            return []
        if _atomic_method(state.view for state in self.view.nodes):
            return []
        versions = sorted({f"{state.view.product} {state.view.version}" for state in self.view.nodes})
        return [
            f"Slots cannot be moved atomically by {join_names(versions)}: Valkey 9.0 or Redis 8.4 is needed on every "
            "node. Use move_method: auto."
        ]


def _atomic_method(views: Iterable[NodeView]) -> str:
    """How servers move slots atomically, when all of them can and in the same way."""
    methods = set()
    for view in views:
        version = version_tuple(view.version)
        if view.product == "valkey" and version >= (9,):
            methods.add("migrateslots")
        elif view.product == "redis" and version >= (8, 4):
            methods.add("migration")
        else:
            methods.add("")
    return methods.pop() if len(methods) == 1 else ""


def _others(shard: TargetShard) -> list[DeclaredNode]:
    """All members but the one that owns the slots while they move."""
    return [node for node in (shard.primary, *shard.replicas) if node != shard.owner]


def _rounds(steps: Sequence[Replicate], follows: dict[DeclaredNode, DeclaredNode]) -> list[list[Replicate]]:
    """Replicas that change their shard in rounds, so that no shard gives or takes more than one at a time."""
    rounds: list[tuple[set[DeclaredNode], list[Replicate]]] = []
    for step in steps:
        touched = {follows[step.node], step.primary}
        for busy, members in rounds:
            if not busy & touched:
                busy |= touched
                members.append(step)
                break
        else:
            rounds.append((set(touched), [step]))
    return [members for _busy, members in rounds]


def _knows(state_of: dict[DeclaredNode, NodeState], viewer: DeclaredNode, subject: DeclaredNode) -> bool:
    line = state_of[viewer].view.line_of(state_of[subject].node_id)
    return line is not None and "handshake" not in line.flags


def _introductions(order: Sequence[DeclaredNode], state_of: dict[DeclaredNode, NodeState]) -> list[Introduce]:
    """Who meets whom: everybody, or of many nodes neighbours at distances 1, 2, 4..., so that news needs few hops."""
    furthest = len(order) // 2
    powers_of_two = [1 << exponent for exponent in range(furthest.bit_length())]
    distances = range(1, furthest + 1) if len(order) <= _ALL_MEET else powers_of_two
    met: set[frozenset[DeclaredNode]] = set()
    steps: list[Introduce] = []
    for index, node in enumerate(order):
        peers = []
        for distance in distances:
            peer = order[(index + distance) % len(order)]
            pair = frozenset((node, peer))
            if pair not in met and not (_knows(state_of, node, peer) and _knows(state_of, peer, node)):
                peers.append(peer)
            met.add(pair)
        if peers:
            steps.append(Introduce(node, tuple(peers)))
    return steps


def _layout_lines(nodes: Sequence[DeclaredNode], shards: Sequence[Shard]) -> Iterable[str]:
    place_of = {node: shard for shard in shards for node in shard.members}
    for node in nodes:
        shard = place_of[node]
        if node == shard.primary:
            yield describe_node(node, "primary", shard.slots, "")
        else:
            yield describe_node(node, "replica", (), shard.primary.name)


# --- forming ---------------------------------------------------------------------------------------------------------


@dataclass
class _Forming:
    """The difference between nodes without data and the described cluster."""

    desired: Desired
    view: ClusterView
    # Whether what is there is the beginning of the described cluster.
    fits: bool = True
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
        roles = [self.state_of[node] for node in shard.members if self.state_of[node].role == "replica"]
        if (
            len(owners) > 1
            or not all(wanted.issuperset(each_slot(state.slots)) for state in owners)
            or not all(state.primary in shard.members for state in roles)
        ):
            self.fits = False

    def _acting_primary(self, shard: Shard) -> DeclaredNode:
        """A failover may have swapped the roles in a shard that was not complete yet; that is as good."""
        followed = {self.state_of[node].primary for node in shard.members}
        free = [node for node in shard.members if self.state_of[node].role != "replica"]
        if not free:
            # They replicate each other in a circle.
            self.fits = False
            return shard.primary
        return min(free, key=lambda node: (not self.state_of[node].slots, node not in followed))

    def plan(self, warnings: Sequence[str]) -> Plan:
        order = sorted(self.desired.nodes, key=node_key)
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
        steps += _introductions(order, self.state_of)
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
            layout=tuple(_layout_lines(self.desired.nodes, self.shards)),
        )

    def _hurried(self, steps: list[Step]) -> list[Step]:
        """Form with a short node timeout if it is known what to put back, and if the servers let us."""
        wanted = self.desired.node_timeout
        timeouts = [state.view.node_timeout for state in self.view.nodes]
        if not wanted or any(timeout is None for timeout in timeouts):
            return steps
        if not any(step.changes for step in steps) or wanted <= FORMING_NODE_TIMEOUT:
            return [*steps, *_timeout_steps(self.desired, self.view)]
        everyone = tuple(sorted(self.desired.nodes, key=node_key))
        lower = SetNodeTimeout(everyone, FORMING_NODE_TIMEOUT, forming=True)
        return [lower, *steps, SetNodeTimeout(everyone, wanted)]
