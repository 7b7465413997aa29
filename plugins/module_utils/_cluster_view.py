# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every node says about the cluster, merged into one view, and what is wrong with it in sentences. No I/O.

Private to this collection. A node is the authority on itself (its id, role, primary and slots); what the others say
about it must be the same, and where it is not, the difference is a problem that names who says what.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ansible_collections.apiops.tyk_redis.plugins.module_utils._redis_client import Address

SLOTS = 16384

SlotRange = tuple[int, int]
SlotRanges = tuple[SlotRange, ...]

ALL_SLOTS: SlotRanges = ((0, SLOTS - 1),)

_OPEN_SLOT = re.compile(r"\[(\d+)-([<>])-([0-9a-zA-Z]+)\]")
_KEYSPACE = re.compile(r"keys=(\d+)")
_NAMES_IN_A_SENTENCE = 6
_HEALTHY_FLAGS = frozenset({"master", "primary", "slave", "replica", "nofailover"})


class ViewError(ValueError):
    """A server's reply is not what a Redis or Valkey server sends."""


@dataclass(frozen=True)
class DeclaredNode:
    """A node as the user describes it. The name is what messages call it; host and zone are its failure domains.

    The weight is the relative share of slots for the node's shard. A leaving node is drained and removed.
    """

    name: str
    address: Address
    bus_port: int
    host: str
    zone: str = ""
    weight: int = 1
    leaving: bool = False

    @property
    def title(self) -> str:
        """The name, with the address unless it says the same."""
        return self.name if self.name == str(self.address) else f"{self.name} ({self.address})"


@dataclass(frozen=True)
class MemberLine:
    """One line of CLUSTER NODES: what the asked node says about a member."""

    node_id: str
    host: str
    port: int
    bus_port: int
    flags: frozenset[str]
    primary_id: str
    epoch: int
    connected: bool
    slots: SlotRanges
    migrating: tuple[tuple[int, str], ...] = ()
    importing: tuple[tuple[int, str], ...] = ()

    @property
    def role(self) -> str:
        if self.flags & {"slave", "replica"}:
            return "replica"
        return "primary" if self.flags & {"master", "primary"} else ""

    @property
    def failed(self) -> bool:
        return "fail" in self.flags

    @property
    def endpoint(self) -> str:
        return str(Address(self.host, self.port)) if self.host else "no known address"


@dataclass(frozen=True)
class NodeView:
    """What one declared node says about itself and the others, or why it could not be asked."""

    node: DeclaredNode
    error: str = ""
    error_kind: str = ""
    product: str = ""
    version: str = ""
    loading: bool = False
    cluster_enabled: bool = True
    state: str = ""
    lines: tuple[MemberLine, ...] = ()
    keys: int = 0
    functions: int = 0
    link: str = ""
    # Where a replica looks for its primary, as host:port.
    source: str = ""
    syncing: bool = False
    offset: int | None = None
    node_timeout: int | None = None
    # The limit in force. INFO tells it since Redis 6.2.
    maxclients: int | None = None

    @property
    def usable(self) -> bool:
        """Whether it told what it knows about the cluster."""
        return bool(self.lines)

    @cached_property
    def me(self) -> MemberLine:
        return next(line for line in self.lines if "myself" in line.flags)

    @property
    def alone(self) -> bool:
        return len(self.lines) == 1

    @cached_property
    def _by_id(self) -> dict[str, MemberLine]:
        return {line.node_id: line for line in self.lines}

    def missing_of(self, node_ids: Iterable[str]) -> list[str]:
        """Those of the ids that this node does not know."""
        return [node_id for node_id in node_ids if node_id not in self._by_id]

    def line_of(self, node_id: str) -> MemberLine | None:
        return self._by_id.get(node_id)


@dataclass(frozen=True)
class Stranger:
    """A member that is not declared, as those who know it see it.

    `failed` is what most of them say, and `suspected` what all of them say at least. `alias_of` is the declared node
    that now answers at its address under another id. `alive` is what its own address answered: None as long as nobody
    has asked. `unwanted` members are named among those to remove.
    """

    node_id: str
    host: str
    port: int
    flags: frozenset[str]
    slots: SlotRanges
    seen_by: tuple[DeclaredNode, ...]
    failed: bool
    alias_of: DeclaredNode | None
    alive: bool | None = None
    suspected: bool = False
    unwanted: bool = False

    @property
    def title(self) -> str:
        where = str(Address(self.host, self.port)) if self.host else "a member without an address"
        return f"{where} (id {self.node_id[:12]}...)"

    @property
    def gone(self) -> bool:
        """Whether it is certain that nobody lives under this id any more.

        Where no majority is left, nobody is ever marked as failed. Then it counts what the user says, or that it owns
        nothing.
        """
        if self.alias_of is not None or (self.failed and not self.alive):
            return True
        return self.alive is False and self.suspected and (self.unwanted or not self.slots)


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, as a finished sentence. A warning does not make the cluster unhealthy."""

    kind: str
    sentence: str
    warning: bool = False


@dataclass(frozen=True)
class NodeState:
    """The merged truth about one declared node."""

    node: DeclaredNode
    view: NodeView
    node_id: str
    role: str
    primary_id: str
    primary: DeclaredNode | None
    slots: SlotRanges
    lag_bytes: int | None

    def as_dict(self) -> dict[str, Any]:
        me = self.view.me if self.view.usable else None
        return {
            "name": self.node.name,
            "address": str(self.node.address),
            "host": self.node.host,
            "zone": self.node.zone,
            "id": self.node_id,
            "role": self.role,
            "primary": str(self.primary.address) if self.primary else "",
            "primary_name": self.primary.name if self.primary else "",
            "slots": range_texts(self.slots),
            "slot_count": count_slots(self.slots),
            "keys": self.view.keys,
            "lag_bytes": self.lag_bytes,
            "link": self.view.link,
            "epoch": me.epoch if me else 0,
            "version": f"{self.view.product} {self.view.version}".strip(),
            "maxclients": self.view.maxclients,
            "reachable": not self.view.error,
            "error": self.view.error,
            "flags": sorted(me.flags - {"myself"}) if me else [],
        }


@dataclass(frozen=True)
class ClusterView:
    """All views merged. The nodes are in the order of the declaration."""

    nodes: tuple[NodeState, ...]
    problems: tuple[Problem, ...]
    state: str
    agreed: bool
    slots_served: int
    strangers: tuple[Stranger, ...] = ()
    # How many keys of a slot each node holds, for the slots that were asked about.
    slot_keys: Mapping[int, Mapping[DeclaredNode, int]] = field(default_factory=dict)

    @property
    def errors(self) -> tuple[Problem, ...]:
        return tuple(problem for problem in self.problems if not problem.warning)

    @property
    def warnings(self) -> tuple[Problem, ...]:
        return tuple(problem for problem in self.problems if problem.warning)

    @property
    def healthy(self) -> bool:
        return self.state == "ok"

    @property
    def owners(self) -> tuple[NodeState, ...]:
        return tuple(state for state in self.nodes if state.slots and state.role in ("primary", "alone"))

    def as_dict(self) -> dict[str, Any]:
        return {
            "state": self.state,
            "healthy": self.healthy,
            "agreed": self.agreed,
            "slots_served": self.slots_served,
            "size": len(self.owners),
            "nodes": [state.as_dict() for state in self.nodes],
        }

    def describe(self) -> list[str]:
        """One line a node, for people and for diffs."""
        return [
            describe_node(state.node, state.role, state.slots, state.primary.name if state.primary else "")
            for state in self.nodes
        ]


def describe_node(node: DeclaredNode, role: str, slots: SlotRanges, primary_name: str) -> str:
    if role == "replica":
        what = f"replica of {primary_name or 'an undeclared node'}"
    elif slots:
        what = f"{role}, slots {format_ranges(slots)}"
    else:
        what = f"{role}, no slots" if role == "primary" else role
    return f"{node.title}: {what}"


# --- slots -----------------------------------------------------------------------------------------------------------


def to_ranges(slots: Iterable[int]) -> SlotRanges:
    """Slots as sorted, disjoint, inclusive ranges."""
    numbers = sorted(slots)
    if not numbers:
        return ()
    ranges = []
    first = last = numbers[0]
    for slot in numbers:
        if slot > last + 1:
            ranges.append((first, last))
            first = slot
        last = slot
    ranges.append((first, last))
    return tuple(ranges)


def is_partition(ranges: Iterable[SlotRange]) -> bool:
    """Whether all slots are there, each of them once."""
    following = 0
    for first, last in sorted(ranges):
        if first != following:
            return False
        following = last + 1
    return following == SLOTS


def _join_ranges(ranges: Iterable[SlotRange]) -> SlotRanges:
    joined: list[SlotRange] = []
    for first, last in sorted(ranges):
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(last, joined[-1][1]))
        else:
            joined.append((first, last))
    return tuple(joined)


def each_slot(ranges: SlotRanges) -> Iterable[int]:
    for first, last in ranges:
        yield from range(first, last + 1)


def count_slots(ranges: SlotRanges) -> int:
    return sum(last - first + 1 for first, last in ranges)


def range_texts(ranges: SlotRanges) -> list[str]:
    return [str(first) if first == last else f"{first}-{last}" for first, last in ranges]


def format_ranges(ranges: SlotRanges) -> str:
    texts = range_texts(ranges)
    if len(texts) > _NAMES_IN_A_SENTENCE:
        return f"{', '.join(texts[:_NAMES_IN_A_SENTENCE])}... ({count_slots(ranges)} slots)"
    return ", ".join(texts) or "none"


# --- parsing ---------------------------------------------------------------------------------------------------------


def parse_info(text: str) -> dict[str, str]:
    """Parse the reply of INFO or CLUSTER INFO: "key:value" lines; headings and everything else are passed over."""
    fields: dict[str, str] = {}
    for line in text.splitlines():
        key, separator, value = line.partition(":")
        if separator and key and not key.startswith("#"):
            fields[key.strip()] = value.strip()
    return fields


def parse_cluster_nodes(text: str) -> tuple[MemberLine, ...]:
    """Parse the reply of CLUSTER NODES."""
    lines = tuple(_parse_member(number, line) for number, line in enumerate(text.splitlines(), start=1) if line.strip())
    if sum("myself" in line.flags for line in lines) != 1:
        raise ViewError("CLUSTER NODES does not mark exactly one member as myself")
    return lines


def _parse_member(number: int, text: str) -> MemberLine:
    fields = text.split()
    if len(fields) < 8:
        raise ViewError(f"CLUSTER NODES line {number} has {len(fields)} fields instead of 8 or more: {text!r}")
    try:
        host, port, bus_port = _parse_endpoint(fields[1])
        plain: list[SlotRange] = []
        migrating: list[tuple[int, str]] = []
        importing: list[tuple[int, str]] = []
        for word in fields[8:]:
            if word.startswith("["):
                slot, direction, peer = _parse_open_slot(word)
                (migrating if direction == ">" else importing).append((slot, peer))
            else:
                plain.append(_parse_range(word))
        return MemberLine(
            node_id=fields[0],
            host=host,
            port=port,
            bus_port=bus_port,
            flags=frozenset(fields[2].split(",")),
            primary_id="" if fields[3] == "-" else fields[3],
            epoch=int(fields[6]),
            connected=fields[7] == "connected",
            slots=_join_ranges(plain),
            migrating=tuple(migrating),
            importing=tuple(importing),
        )
    except ValueError as exc:
        raise ViewError(f"CLUSTER NODES line {number} cannot be read ({exc}): {text!r}") from exc


def _parse_endpoint(text: str) -> tuple[str, int, int]:
    """Read "ip:port@bus[,hostname[,aux=value]...]". The ip is empty where a node does not know it (yet)."""
    endpoint, _comma, _names = text.partition(",")
    endpoint, _at, bus = endpoint.partition("@")
    host, separator, port = endpoint.rpartition(":")
    if not separator:
        raise ValueError(f"{text!r} is not of the form ip:port@bus-port")
    return host.strip("[]"), int(port), int(bus) if bus else int(port) + 10000


def _parse_open_slot(word: str) -> tuple[int, str, str]:
    match = _OPEN_SLOT.fullmatch(word)
    if match is None:
        raise ValueError(f"{word!r} is not an open slot")
    return _slot(match.group(1)), match.group(2), match.group(3)


def _parse_range(word: str) -> SlotRange:
    first, dash, last = word.partition("-")
    span = (_slot(first), _slot(last if dash else first))
    if span[0] > span[1]:
        raise ValueError(f"{word!r} is not a range of slots")
    return span


def _slot(text: str) -> int:
    slot = int(text)
    if not 0 <= slot < SLOTS:
        raise ValueError(f"{text!r} is not a slot")
    return slot


def read_node(
    node: DeclaredNode,
    info: str,
    cluster_info: str,
    lines: tuple[MemberLine, ...],
    node_timeout: int | None = None,
) -> NodeView:
    """Make a view of a node's replies. A server without cluster mode has an empty CLUSTER INFO and no lines."""
    fields = parse_info(info)
    if "redis_version" not in fields and "valkey_version" not in fields:
        raise ViewError("INFO does not tell a version")
    # Valkey keeps redis_version at 7.2.4 for the sake of old clients, so its own field must win.
    product = "valkey" if "valkey_version" in fields else "redis"
    is_replica = fields.get("role") == "slave"
    enabled = fields.get("cluster_enabled") == "1"
    return NodeView(
        node=node,
        product=product,
        version=fields[f"{product}_version"],
        loading=fields.get("loading", "0") != "0",
        cluster_enabled=enabled,
        state=parse_info(cluster_info).get("cluster_state", ""),
        lines=lines if enabled else (),
        keys=sum(
            int(match.group(1))
            for key, value in fields.items()
            if re.fullmatch(r"db\d+", key)
            for match in [_KEYSPACE.search(value)]
            if match
        ),
        functions=_number(fields.get("number_of_functions")) or 0,
        link=fields.get("master_link_status", "down") if is_replica else "",
        source=_endpoint(fields) if is_replica else "",
        syncing=is_replica and fields.get("master_sync_in_progress") == "1",
        offset=_number(fields.get("slave_repl_offset" if is_replica else "master_repl_offset")),
        node_timeout=node_timeout,
        maxclients=_number(fields.get("maxclients")),
    )


def _endpoint(fields: dict[str, str]) -> str:
    host, port = fields.get("master_host"), _number(fields.get("master_port"))
    return str(Address(host, port)) if host and port else ""


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and re.fullmatch(r"-?\d{1,20}", text, re.ASCII) else None


def version_tuple(version: str) -> tuple[int, ...]:
    """The leading numbers of a version, for comparisons."""
    match = re.match(r"\d+(?:\.\d+)*", version, re.ASCII)
    return tuple(int(part) for part in match.group(0).split(".")) if match else ()


# --- merging ---------------------------------------------------------------------------------------------------------


def merge(
    views: Sequence[NodeView],
    replicas_per_primary: int | None = None,
    alive: Mapping[str, bool] | None = None,
    unwanted: Iterable[Address] = (),
) -> ClusterView:
    """Merge every declared node's view. With a number of replicas, the roles are judged by it too.

    Leaving nodes that have left already are left out. `alive` tells what strangers' addresses answered, by id;
    `unwanted` are the addresses of those that are to leave and do not answer.
    """
    return _Merge(_without_departed(views), replicas_per_primary, alive or {}, frozenset(unwanted)).result()


def _without_departed(views: Sequence[NodeView]) -> list[NodeView]:
    """A leaving node that cannot be asked is a stranger to the others, if they know it at all."""
    known = {line.node_id for view in views for line in view.lines if "myself" not in line.flags}
    return [
        view
        for view in views
        if not view.node.leaving
        or view.loading
        or (view.usable and (not view.alone or view.me.slots or view.me.node_id in known))
    ]


def primaries_wanted(nodes: int, replicas_per_primary: int) -> int:
    """How many primaries that many nodes make; nodes left over become additional replicas."""
    return nodes // (1 + max(0, replicas_per_primary))


def join_names(names: Iterable[str]) -> str:
    """Names as a person lists them, and not too many."""
    listed = list(dict.fromkeys(names))
    if len(listed) > _NAMES_IN_A_SENTENCE:
        listed = [*listed[: _NAMES_IN_A_SENTENCE - 1], f"{len(listed) - _NAMES_IN_A_SENTENCE + 1} others"]
    return listed[0] if len(listed) == 1 else f"{', '.join(listed[:-1])} and {listed[-1]}"


def plural(number: int, noun: str, several: str = "") -> str:
    """A number with its noun."""
    return f"{number} {noun}" if number == 1 else f"{number} {several or noun + 's'}"


def _verb(names: Sequence[str], singular: str, plural: str) -> str:
    return singular if len(set(names)) == 1 else plural


class _Merge:
    """The working state of one merge."""

    def __init__(
        self,
        views: Sequence[NodeView],
        replicas_per_primary: int | None,
        alive: Mapping[str, bool],
        unwanted: frozenset[Address],
    ) -> None:
        self.views = views
        self.unwanted = unwanted
        self.alive = alive
        self.strangers: list[Stranger] = []
        self.usable = [view for view in views if view.usable]
        self.replicas_per_primary = replicas_per_primary
        self.problems: list[Problem] = []
        self.by_id: dict[str, DeclaredNode] = {}
        self.id_of: dict[DeclaredNode, str] = {}
        self._identify()
        self.view_of: dict[str, NodeView] = {view.me.node_id: view for view in self.usable}
        self.states = tuple(self._state(view) for view in views)
        self.state_of: dict[str, NodeState] = {state.node_id: state for state in self.states if state.node_id}

    def _identify(self) -> None:
        """Give every id its declared node: its own word first, else the address that the others know."""
        for view in self.usable:
            self.by_id.setdefault(view.me.node_id, view.node)
            self.id_of[view.node] = view.me.node_id
        if len(self.usable) == len(self.views):
            return
        by_address = {(view.node.address.host, view.node.address.port): view.node for view in self.views}
        for view in self.usable:
            for line in view.lines:
                node = by_address.get((line.host, line.port))
                if node and node not in self.id_of and line.node_id not in self.by_id and "handshake" not in line.flags:
                    self.by_id[line.node_id] = node
                    self.id_of[node] = line.node_id

    def _state(self, view: NodeView) -> NodeState:
        node_id = self.id_of.get(view.node, "")
        line: MemberLine | None = None
        if view.usable:
            line = view.me
            role = "alone" if view.alone else line.role
        else:
            role = "unreachable" if view.error or view.loading else "alone"
            line = self._majority_line(node_id)
        primary_id = line.primary_id if line and line.role == "replica" else ""
        return NodeState(
            node=view.node,
            view=view,
            node_id=node_id,
            role=role,
            primary_id=primary_id,
            primary=self.by_id.get(primary_id),
            slots=line.slots if line and line.role != "replica" else (),
            lag_bytes=self._lag(view, primary_id),
        )

    def _majority_line(self, node_id: str) -> MemberLine | None:
        """What most of the others say about a node that cannot be asked."""
        lines = [line for view in self.usable for line in [view.line_of(node_id)] if line is not None]
        if not lines:
            return None
        most = Counter((line.role, line.primary_id, line.slots) for line in lines).most_common(1)[0][0]
        return next(line for line in lines if (line.role, line.primary_id, line.slots) == most)

    def _lag(self, view: NodeView, primary_id: str) -> int | None:
        primary = self.view_of.get(primary_id)
        if view.link != "up" or primary is None or primary.offset is None or view.offset is None:
            return None
        return max(0, primary.offset - view.offset)

    def result(self) -> ClusterView:
        reachable = [view for view in self.views if not view.error]
        exists = any(not view.alone or view.me.slots for view in self.usable)
        self._judge_servers()
        disagreements = False
        if exists:
            before = len(self.problems)
            self._judge_members()
            self._judge_opinions()
            disagreements = len(self.problems) > before
            self._judge_slots()
            self._judge_replication()
            if self.replicas_per_primary is not None:
                self._judge_description(self.replicas_per_primary)
            self._judge_placement()
            self._judge_states()
        elif reachable:
            nodes = plural(len(self.views), "declared node")
            self._add("no-cluster", f"There is no cluster yet: none of the {nodes} knows another one or serves a slot.")
        errors = any(not problem.warning for problem in self.problems)
        state = "broken" if errors else "ok"
        if not exists and {problem.kind for problem in self.problems} == {"no-cluster"}:
            state = "none"
        return ClusterView(
            nodes=self.states,
            problems=tuple(self.problems),
            state=state,
            agreed=exists and not disagreements and len(self.usable) == len(self.views),
            slots_served=count_slots(self._served),
            strangers=tuple(self.strangers),
        )

    def _add(self, kind: str, sentence: str, warning: bool = False) -> None:
        self.problems.append(Problem(kind, sentence, warning))

    def name_of(self, node_id: str) -> str:
        node = self.by_id.get(node_id)
        if node:
            return node.name
        return f"the undeclared node {node_id[:12]}" if node_id else "nobody"

    def _judge_servers(self) -> None:
        for view in self.views:
            name = view.node.title
            if view.error:
                prefix = "" if view.node.name == str(view.node.address) else f"{view.node.name}: "
                self._add("unreachable", prefix + view.error)
            elif not view.cluster_enabled:
                self._add(
                    "cluster-off", f"{name} does not run in cluster mode; set cluster-enabled yes there and restart it."
                )
            elif view.loading:
                self._add("loading", f"{name} is still loading its data; try again when it is done.")
        same: dict[str, list[str]] = {}
        for view in self.usable:
            same.setdefault(view.me.node_id, []).append(view.node.name)
        for node_id, names in same.items():
            if len(names) > 1:
                self._add(
                    "same-id",
                    f"{join_names(names)} answer with the same node id {node_id}: they are one server behind several "
                    "addresses, or copies of one data folder; declare each server once, and give each its own folder.",
                )
        self._judge_versions()

    def _judge_versions(self) -> None:
        old = [v.node.name for v in self.usable if v.product == "redis" and version_tuple(v.version)[:2] == (7, 0)]
        bad = [
            v.node.name
            for v in self.usable
            if v.product == "redis" and (7, 2, 0) <= version_tuple(v.version)[:3] <= (7, 2, 3)
        ]
        if old and bad:
            self._add(
                "version-mix",
                f"{join_names(old)} {_verb(old, 'runs', 'run')} Redis 7.0 and {join_names(bad)} "
                f"{_verb(bad, 'runs', 'run')} Redis 7.2.0 to 7.2.3, which write a nodes.conf that they cannot read "
                "again when mixed; upgrade the latter to 7.2.4 or later first.",
            )

    def _judge_members(self) -> None:
        self._judge_unknown_members()
        for view in self.usable:
            missing = [self.by_id[node_id].name for node_id in view.missing_of(self.by_id)]
            if view.alone and len(missing) == len(self.by_id) - 1 and missing:
                self._add("membership", f"{view.node.name} knows no other node.")
            elif missing:
                self._add("membership", f"{view.node.name} does not know {join_names(missing)}.")
        strangers = [view.node for view in self.views if not view.usable and view.node not in self.id_of]
        if strangers:
            self._add("membership", f"No node knows {join_names(node.name for node in strangers)}.")

    def _judge_unknown_members(self) -> None:
        by_address = {(view.node.address.host, view.node.address.port): view.node for view in self.views}
        sightings: dict[tuple[str, str], list[tuple[NodeView, MemberLine]]] = {}
        for view in self.usable:
            for line in view.lines:
                if line.node_id in self.by_id:
                    continue
                # Ids of a handshake are random on every node, so only the address tells them apart.
                key = line.endpoint if "handshake" in line.flags else line.node_id
                sightings.setdefault(("handshake" if "handshake" in line.flags else "", key), []).append((view, line))
        for (handshake, _key), seen in sightings.items():
            line = seen[0][1]
            viewers = join_names(view.node.name for view, _line in seen)
            know = _verb([view.node.name for view, _line in seen], "knows", "know")
            declared = by_address.get((line.host, line.port))
            if handshake and declared:
                still = _verb([view.node.name for view, _line in seen], "is", "are")
                self._add("handshake", f"{viewers} {still} still shaking hands with {declared.name}.")
                continue
            stranger = self._stranger(seen, declared)
            if not handshake:
                self.strangers.append(stranger)
            if declared:
                self._add(
                    "identity",
                    f"{viewers} {know} {declared.title} under another id ({line.node_id[:12]}...) than the one it has "
                    "now: it was reset or lost its nodes.conf; make the others forget the old id (CLUSTER FORGET).",
                )
            elif handshake:
                self._add("handshake", f"{viewers} {know} a newcomer that is not declared: {line.endpoint}.")
            elif stranger.gone or stranger.alive is not False:
                what = ", ".join(sorted(line.flags)) + (f", slots {format_ranges(line.slots)}" if line.slots else "")
                self._add(
                    "unknown-member",
                    f"{viewers} {know} a member that is not declared: {line.endpoint}, id {line.node_id} ({what}); "
                    "declare it, or name it among the nodes to remove.",
                )
            else:
                self._add(
                    "departing",
                    f"{viewers} {know} a member that is not declared and does not answer: {line.endpoint}, id "
                    f"{line.node_id}; most nodes have not marked it as failed yet. If they cannot, because too few "
                    "primaries are left to vote, name it among the nodes to remove.",
                )

    def _stranger(self, seen: Sequence[tuple[NodeView, MemberLine]], declared: DeclaredNode | None) -> Stranger:
        line = seen[0][1]
        return Stranger(
            node_id=line.node_id,
            host=line.host,
            port=line.port,
            flags=line.flags,
            slots=_join_ranges(span for _view, seen_line in seen for span in seen_line.slots),
            seen_by=tuple(view.node for view, _line in seen),
            failed=sum(seen_line.failed or "noaddr" in seen_line.flags for _view, seen_line in seen) * 2 > len(seen),
            alias_of=declared,
            alive=self.alive.get(line.node_id),
            suspected=all(seen_line.flags & {"fail", "fail?", "noaddr"} for _view, seen_line in seen),
            unwanted=(line.host, line.port) in {(address.host, address.port) for address in self.unwanted},
        )

    def _judge_opinions(self) -> None:
        """Compare what each node says about each other one with that one's own word."""
        for node_id, node in self.by_id.items():
            subject = self.view_of.get(node_id)
            lines = self._remarkable_lines(node_id, subject)
            self._judge_flags(node, subject, lines)
            if subject is not None:
                self._judge_word_against_word(subject, lines)
                self._judge_address(subject, lines)

    def _remarkable_lines(self, node_id: str, subject: NodeView | None) -> list[tuple[str, MemberLine]]:
        """What the others say about a node, without what is just as it should be: of many nodes that is nearly all."""
        remarkable: list[tuple[str, MemberLine]] = []
        # Views that were rebuilt from one another share their lines.
        fine: MemberLine | None = None
        for view in self.usable:
            line = view.line_of(node_id)
            if line is None or line is fine or view is subject:
                continue
            if subject is not None and _as_it_says(line, subject):
                fine = line
            else:
                remarkable.append((view.node.name, line))
        return remarkable

    def _judge_flags(
        self, node: DeclaredNode, subject: NodeView | None, lines: Sequence[tuple[str, MemberLine]]
    ) -> None:
        failed = [viewer for viewer, line in lines if line.failed]
        suspected = [viewer for viewer, line in lines if "fail?" in line.flags]
        unlinked = [
            viewer
            for viewer, line in lines
            if not line.connected and not line.failed and "fail?" not in line.flags and subject is not None
        ]
        hint = (
            f", although it answers here: check that its cluster bus port {node.bus_port} can be reached from them"
            if subject is not None
            else ""
        )
        if failed:
            self._add(
                "failed", f"{join_names(failed)} {_verb(failed, 'has', 'have')} marked {node.name} as failed{hint}."
            )
        if suspected:
            self._add(
                "suspected",
                f"{join_names(suspected)} {_verb(suspected, 'suspects', 'suspect')} that {node.name} is down{hint}.",
            )
        if unlinked:
            self._add(
                "bus",
                f"{join_names(unlinked)} {_verb(unlinked, 'has', 'have')} no cluster bus connection to {node.name}: "
                f"check that its bus port {node.bus_port} is open for them.",
            )

    def _judge_word_against_word(self, subject: NodeView, lines: Sequence[tuple[str, MemberLine]]) -> None:
        me = subject.me
        roles: dict[tuple[str, str], list[str]] = {}
        slots: dict[SlotRanges, list[str]] = {}
        for viewer, line in lines:
            if "handshake" in line.flags:
                continue
            if (line.role, line.primary_id) != (me.role, me.primary_id):
                roles.setdefault((line.role, line.primary_id), []).append(viewer)
            if line.slots != me.slots:
                slots.setdefault(line.slots, []).append(viewer)
        for (role, primary_id), viewers in roles.items():
            self._add(
                "role",
                f"{join_names(viewers)} {_verb(viewers, 'takes', 'take')} {subject.node.name} for "
                f"{self._role_text(role, primary_id)}, but it says of itself that it is "
                f"{self._role_text(me.role, me.primary_id)}.",
            )
        for ranges, viewers in slots.items():
            self._add(
                "slots",
                f"{join_names(viewers)} {_verb(viewers, 'says', 'say')} that {subject.node.name} owns the slots "
                f"{format_ranges(ranges)}, but it says of itself: {format_ranges(me.slots)}.",
            )

    def _role_text(self, role: str, primary_id: str) -> str:
        if role == "replica":
            return f"a replica of {self.name_of(primary_id)}"
        return "a primary" if role else "a newcomer"

    def _judge_address(self, subject: NodeView, lines: Sequence[tuple[str, MemberLine]]) -> None:
        node = subject.node
        elsewhere: dict[str, list[str]] = {}
        for viewer, line in lines:
            if line.host and (line.host, line.port) != (node.address.host, node.address.port):
                elsewhere.setdefault(line.endpoint, []).append(viewer)
        for endpoint, viewers in elsewhere.items():
            self._add(
                "address",
                f"{join_names(viewers)} {_verb(viewers, 'knows', 'know')} {node.name} at {endpoint} and not at the "
                f"declared {node.address}; set cluster-announce-ip and cluster-announce-port on {node.name}, or "
                "declare that address.",
            )

    @cached_property
    def _claims(self) -> dict[int, list[NodeState]]:
        claims: dict[int, list[NodeState]] = {}
        for state in self.states:
            for slot in each_slot(state.slots):
                claims.setdefault(slot, []).append(state)
        return claims

    @cached_property
    def _served(self) -> SlotRanges:
        serving = [state for state in self.states if state.view.usable and not self._is_failed(state)]
        return _join_ranges(span for state in serving for span in state.slots)

    @cached_property
    def _failed_by(self) -> Counter[str]:
        """How many nodes have marked each one as failed."""
        return Counter(line.node_id for view in self.usable for line in view.lines if "fail" in line.flags)

    def _is_failed(self, state: NodeState) -> bool:
        if not self._failed_by[state.node_id]:
            return False
        knowing = sum(view.node != state.node and view.line_of(state.node_id) is not None for view in self.usable)
        return self._failed_by[state.node_id] * 2 > knowing

    def _judge_slots(self) -> None:
        if not (is_partition(span for state in self.states for span in state.slots) and self._served == ALL_SLOTS):
            self._judge_claims()
        for view in self.usable:
            for slot, peer in view.me.migrating:
                self._open_slot(view, f"is giving slot {slot} away to {self.name_of(peer)}")
            for slot, peer in view.me.importing:
                self._open_slot(view, f"is taking slot {slot} over from {self.name_of(peer)}")
        self._judge_epochs()

    def _judge_claims(self) -> None:
        claims = self._claims
        served = set(each_slot(self._served))
        nobody = to_ranges(slot for slot in range(SLOTS) if slot not in claims)
        if nobody:
            self._add(
                "uncovered",
                f"{plural(count_slots(nobody), 'slot')} of {SLOTS} {'is' if count_slots(nobody) == 1 else 'are'} "
                f"served by nobody: {format_ranges(nobody)}.",
            )
        down: dict[str, list[int]] = {}
        twice: dict[tuple[str, ...], list[int]] = {}
        for slot, owners in claims.items():
            if slot not in served:
                down.setdefault(owners[0].node.name, []).append(slot)
            if len(owners) > 1:
                live = tuple(state.node.name for state in owners if state.view.usable)
                if len(live) > 1:
                    twice.setdefault(live, []).append(slot)
        for name, slots in down.items():
            self._add(
                "uncovered",
                f"The slots {format_ranges(to_ranges(slots))} are not served: their owner {name} is down and no "
                "replica has taken over; bring it back, or make a replica of it take over.",
            )
        for names, slots in twice.items():
            self._add(
                "slots",
                f"The slots {format_ranges(to_ranges(slots))} are claimed by {join_names(names)} at once; "
                "wait for the cluster to settle it, and if it does not, find out who holds the keys.",
            )

    def _open_slot(self, view: NodeView, what: str) -> None:
        self._add(
            "open-slot",
            f"{view.node.name} {what} and has not finished; complete the move, or end it with CLUSTER SETSLOT STABLE "
            "when no key has moved.",
        )

    def _judge_epochs(self) -> None:
        epochs: dict[int, list[str]] = {}
        for view in self.usable:
            if view.me.role == "primary" and view.me.slots and not view.alone:
                epochs.setdefault(view.me.epoch, []).append(view.node.name)
        for epoch, names in epochs.items():
            if len(names) > 1:
                self._add(
                    "epoch",
                    f"The primaries {join_names(names)} have the same config epoch {epoch}; the servers settle this "
                    "within seconds, and if not, send CLUSTER BUMPEPOCH to one of them.",
                )

    def _judge_replication(self) -> None:
        for state in self.states:
            if state.role != "replica":
                continue
            name = state.node.name
            primary = self.state_of.get(state.primary_id)
            if primary is not None and primary.role == "replica":
                self._add(
                    "replica-chain",
                    f"{name} replicates {primary.node.name}, which is a replica itself; let it replicate a primary.",
                )
            if state.view.link == "up":
                continue
            target = self.name_of(state.primary_id)
            if state.view.syncing:
                self._add("replica-link", f"{name} is still copying the data of its primary {target}.")
            else:
                self._add(
                    "replica-link",
                    f"The replication link of {name} to its primary {target} is down; check that {target} is up and "
                    f"that masteruser, masterauth and TLS for replication are right on {name} (its log says which).",
                )

    def _judge_description(self, replicas_per_primary: int) -> None:
        owners = [state for state in self.states if state.slots]
        staying = [state for state in self.states if not state.node.leaving]
        wanted = primaries_wanted(len(staying), replicas_per_primary)
        for state in self.states:
            if state.node.leaving:
                self._add("leaving", f"{state.node.name} is to leave the cluster and is still a member of it.")
            elif state.role == "primary" and not state.slots:
                self._add("idle-primary", f"{state.node.name} owns no slot and replicates nobody.")
        if owners and len(owners) != wanted and not any(p.kind in ("uncovered", "slots") for p in self.problems):
            self._add(
                "size",
                f"{plural(len(owners), 'node')} own slots ({join_names(s.node.name for s in owners)}), but "
                f"{plural(len(staying), 'declared node')} with {plural(replicas_per_primary, 'replica')} per "
                f"primary make {plural(wanted, 'primary', 'primaries')}.",
            )
        for owner in owners:
            replicas = [s for s in staying if s.role == "replica" and s.primary_id == owner.node_id]
            if len(replicas) < replicas_per_primary and owner.view.usable and not owner.node.leaving:
                self._add(
                    "replica-missing",
                    f"{owner.node.name} (slots {format_ranges(owner.slots)}) has {len(replicas)} of "
                    f"{plural(replicas_per_primary, 'replica')}.",
                )

    def _judge_placement(self) -> None:
        nodes = [state.node for state in self.states]
        groups: dict[str, list[NodeState]] = {}
        for state in self.states:
            if state.role == "replica" and state.primary is not None:
                groups.setdefault(state.primary_id, []).append(state)
        primaries = max(1, len([state for state in self.states if state.slots]))
        hosts_fit = fits_apart([node.host for node in nodes], primaries)
        zones_fit = all(node.zone for node in nodes) and fits_apart([node.zone for node in nodes], primaries)
        for primary_id, replicas in groups.items():
            primary = self.by_id[primary_id]
            for state in replicas:
                pair = f"{primary.name} and its replica {state.node.name}"
                if state.node.host == primary.host:
                    advice = "let them change places with others" if hosts_fit else "declare nodes on more hosts"
                    self._add(
                        "placement", f"{pair} share the host {primary.host} and fail together; {advice}.", warning=True
                    )
                elif zones_fit and state.node.zone == primary.zone:
                    self._add(
                        "placement",
                        f"{pair} share the zone {primary.zone} although there are enough zones to keep them apart.",
                        warning=True,
                    )

    def _judge_states(self) -> None:
        names = [view.node.name for view in self.usable if view.state == "fail" and not view.loading]
        if names:
            self._add(
                "state",
                f"{join_names(names)} {_verb(names, 'refuses', 'refuse')} commands because "
                f"{_verb(names, 'it considers', 'they consider')} the cluster down (cluster_state:fail).",
            )


def _as_it_says(line: MemberLine, subject: NodeView) -> bool:
    """Whether a node sees another one linked, in good health, at its address, and in the role that it claims."""
    me = subject.me
    return (
        line.connected
        and line.flags <= _HEALTHY_FLAGS
        and (line.role, line.primary_id, line.slots) == (me.role, me.primary_id, me.slots)
        and (line.host, line.port) == (subject.node.address.host, subject.node.address.port)
    )


def fits_apart(domains: Sequence[str], groups: int) -> bool:
    """Whether no group needs two members of one failure domain."""
    return max(Counter(domains).values(), default=0) <= groups


def first_errors(view: ClusterView, limit: int) -> str:
    """Some errors in one text, for a message that must end somewhere."""
    sentences = [problem.sentence for problem in view.errors]
    shown = sentences[:limit]
    if len(sentences) > limit:
        shown.append(f"({len(sentences) - limit} more.)")
    return " ".join(shown)
