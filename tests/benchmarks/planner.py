# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long the planner alone takes for clusters of up to 1000 nodes, and how that grows. No server is asked.

The nodes are two to a host, the hosts are in three zones, and every primary has one replica. Planned are: to create the
cluster, to find that it is complete, and to let it grow by a tenth. Merging the views of all nodes into one is counted
by itself, because every run does it, whatever it plans. All times are those of the processor.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from time import process_time

from common import Report, Sample, Samples, arguments, in_turns, median, timed

from ansible_collections.apiops.tyk_redis.plugins.module_utils._cluster_plan import Desired, fresh_view, make_plan
from ansible_collections.apiops.tyk_redis.plugins.module_utils._cluster_steps import (
    AssignSlots,
    MoveSlots,
    Plan,
    Replicate,
)
from ansible_collections.apiops.tyk_redis.plugins.module_utils._cluster_view import (
    ClusterView,
    DeclaredNode,
    MemberLine,
    NodeView,
    merge,
)
from ansible_collections.apiops.tyk_redis.plugins.module_utils._redis_client import Address

SIZES = (6, 30, 60, 100, 200, 500, 1000)
NODE_TIMEOUT = 15000
WIDTH = 60


def nodes(count: int) -> tuple[DeclaredNode, ...]:
    return tuple(node(number) for number in range(count))


def node(number: int) -> DeclaredNode:
    host = number // 2
    address = Address(f"192.0.{host // 200}.{1 + host % 200}", 6379 + number % 2)
    return DeclaredNode(f"redis-{number}", address, address.port + 10000, f"host-{host}", f"zone-{host % 3}")


def desired(count: int) -> Desired:
    return Desired(nodes(count), replicas_per_primary=1, node_timeout=NODE_TIMEOUT)


def node_id(member: DeclaredNode) -> str:
    return f"{int(member.name.partition('-')[2]) + 1:040x}"


def views_after(plan: Plan, members: Sequence[DeclaredNode]) -> list[NodeView]:
    """What the nodes say when a plan that creates a cluster has been carried out. The lines are shared between them."""
    slots = {step.node: step.slots for step in plan.steps if isinstance(step, AssignSlots)}
    primary = {step.node: step.primary for step in plan.steps if isinstance(step, Replicate)}
    lines = {
        member: MemberLine(
            node_id=node_id(member),
            host=member.address.host,
            port=member.address.port,
            bus_port=member.bus_port,
            flags=frozenset({"slave" if member in primary else "master"}),
            primary_id=node_id(primary[member]) if member in primary else "",
            epoch=number,
            connected=True,
            slots=slots.get(member, ()),
        )
        for number, member in enumerate(members, start=1)
    }
    return [view(member, [lines[other] for other in members]) for member in members]


def view(member: DeclaredNode, lines: Sequence[MemberLine]) -> NodeView:
    own = node_id(member)
    return NodeView(
        node=member,
        product="redis",
        version="7.0.15",
        state="ok",
        lines=tuple(as_own(line) if line.node_id == own else line for line in lines),
        link="up" if any(line.node_id == own and line.role == "replica" for line in lines) else "",
        offset=0,
        node_timeout=NODE_TIMEOUT,
    )


def as_own(line: MemberLine) -> MemberLine:
    return MemberLine(**{**vars(line), "flags": line.flags | {"myself"}})


def newcomers(members: Sequence[DeclaredNode]) -> list[NodeView]:
    fresh = fresh_view(Desired(tuple(members), 1, NODE_TIMEOUT))
    return [
        NodeView(
            node=state.node,
            product="redis",
            version="7.0.15",
            state="fail",
            lines=tuple(MemberLine(**{**vars(line), "node_id": node_id(state.node)}) for line in state.view.lines),
            offset=0,
            node_timeout=NODE_TIMEOUT,
        )
        for state in fresh.nodes
    ]


def measured(count: int, rounds: int) -> Samples:
    """Merge and plan for so many nodes."""
    created = make_plan(desired(count), fresh_view(desired(count)))
    views = views_after(created, nodes(count))
    complete = merge(views, 1)
    assert complete.healthy, complete.errors
    assert not make_plan(desired(count), complete).steps
    more = count + max(2, count // 10 // 2 * 2)
    grown = merge([*views, *newcomers(nodes(more)[count:])], 1)
    assert any(isinstance(step, MoveSlots) for step in make_plan(desired(more), grown).steps)
    contenders: dict[str, Callable[[], Sample]] = {
        "merge": lambda: {"seconds": timed(lambda: merge(views, 1), process_time)},
        "create": partial(planned, count, fresh_view(desired(count))),
        "no-op": partial(planned, count, complete),
        "grow": partial(planned, more, grown),
    }
    return in_turns(contenders, rounds)


def planned(count: int, seen: ClusterView) -> Sample:
    return {"seconds": timed(lambda: make_plan(desired(count), seen), process_time)}


def plot(title: str, points: Sequence[tuple[int, float]]) -> str:
    """Bars on a logarithmic scale, so that growth by the square shows as equal steps."""
    least = min(seconds for _count, seconds in points)
    most = max(seconds for _count, seconds in points)
    span = math.log(most / least) or 1.0
    lines = [title]
    for count, seconds in points:
        length = "#" * (1 + round((WIDTH - 1) * math.log(seconds / least) / span))
        lines.append(f"{count:>6} {length} {seconds * 1000:.3g} ms")
    return "\n".join(lines)


def main() -> None:
    sizes = {"type": int, "nargs": "+", "default": SIZES, "help": f"numbers of nodes (default: {SIZES})"}
    options = arguments(__doc__, nodes=sizes)
    report = Report("planner", options.rounds)
    kept = {count: measured(count, options.rounds) for count in options.nodes}
    what = ("merge", "create", "no-op", "grow")
    rows = [[count, *(median(kept[count], name, "seconds") * 1000 for name in what)] for count in options.nodes]
    report.add("Plan alone, in ms", ["nodes", "merge the views", *what[1:-1], "grow by a tenth"], rows, kept)
    for name in what:
        print(plot(name, [(count, median(kept[count], name, "seconds")) for count in options.nodes]), end="\n\n")


if __name__ == "__main__":
    main()
