# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks the nodes what they see, and carries out a plan step by step.

Private to this collection. Nothing is remembered anywhere but in the servers, so a run that died is continued by
observing again. Every wait ends: in time, or with a sentence that names who does not agree.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from ansible_collections.apiops.tyk_redis.plugins.module_utils._cluster_plan import (
    AssignSlots,
    AwaitAgreement,
    AwaitMembers,
    GiveEpoch,
    Introduce,
    Plan,
    Replicate,
    SetNodeTimeout,
    Step,
    is_settling,
)
from ansible_collections.apiops.tyk_redis.plugins.module_utils._cluster_view import (
    ClusterView,
    DeclaredNode,
    NodeView,
    ViewError,
    each_slot,
    first_errors,
    join_names,
    merge,
    read_node,
    version_tuple,
)
from ansible_collections.apiops.tyk_redis.plugins.module_utils._redis_client import RedisConnection, RedisProblem

Connector = Callable[[DeclaredNode], RedisConnection]
T = TypeVar("T")

_THREADS = 32
_SLOTS_PER_COMMAND = 1000
_FIRST_POLL = 0.05
_LAST_POLL = 0.5
# A handshake that meets a closed door is dropped by the server after a second or the node timeout.
_MEET_AGAIN = 2.0


class ApplyError(Exception):
    """A step failed. The text is finished; the view is what was seen last."""

    def __init__(self, message: str, view: ClusterView) -> None:
        super().__init__(message)
        self.view = view


class Cluster:
    """The declared nodes, each with a connection of its own."""

    def __init__(
        self,
        nodes: Sequence[DeclaredNode],
        connect: Connector,
        *,
        replicas_per_primary: int | None = None,
        ask_node_timeout: bool = False,
    ) -> None:
        self._nodes = tuple(nodes)
        self._connections = {node: connect(node) for node in self._nodes}
        # One node may be the target of several steps that are carried out side by side.
        self._locks = {node: threading.Lock() for node in self._nodes}
        self._replicas_per_primary = replicas_per_primary
        self._ask_node_timeout = ask_node_timeout

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *_exc_info: object) -> None:
        for connection in self._connections.values():
            connection.close()

    def observe(self) -> ClusterView:
        """Ask every node at once. Only reads are sent."""
        return merge(self._everywhere(self._ask, self._nodes), self._replicas_per_primary)

    def observe_settled(self, seconds: float) -> ClusterView:
        """Observe, and again as long as what is wrong may pass by itself: nobody should act on a passing state."""
        for left in _polls(seconds):
            view = self.observe()
            if not left or not is_settling(view):
                break
        return view

    def _ask(self, node: DeclaredNode) -> NodeView:
        commands: list[tuple[str, ...]] = [("INFO",), ("CLUSTER", "INFO"), ("CLUSTER", "NODES")]
        if self._ask_node_timeout:
            commands.append(("CONFIG", "GET", "cluster-node-timeout"))
        try:
            with self._locks[node]:
                replies = self._connections[node].pipeline(commands)
            info, cluster_info, cluster_nodes = replies[:3]
            if isinstance(info, RedisProblem):
                raise info
            for reply in (cluster_info, cluster_nodes):
                if isinstance(reply, RedisProblem) and reply.kind not in ("not-a-cluster", "loading"):
                    raise reply
            return read_node(
                node,
                info,
                _text(cluster_info),
                _text(cluster_nodes),
                _node_timeout(replies[3]) if self._ask_node_timeout else None,
            )
        except RedisProblem as problem:
            if problem.kind == "loading":
                return NodeView(node=node, loading=True)
            return NodeView(node=node, error=str(problem), error_kind=problem.kind)
        except ViewError as exc:
            return NodeView(
                node=node,
                error=f"{node.address} does not answer as a Redis or Valkey server does ({exc}); "
                "check what listens there.",
                error_kind="error",
            )

    def execute(self, plan: Plan, view: ClusterView, timeout: float) -> ClusterView:
        """Carry out the plan. Returns what is seen at its end."""
        return _Execution(self, plan, view, timeout).run()

    def send(self, node: DeclaredNode, *words: str | int) -> Any:
        with self._locks[node]:
            return self._connections[node].call(*words)

    def send_everywhere(self, send: Callable[[T], None], targets: Sequence[T]) -> None:
        self._everywhere(send, targets)

    @staticmethod
    def _everywhere(work: Callable[[T], Any], targets: Sequence[T]) -> list[Any]:
        if not targets:
            return []
        with ThreadPoolExecutor(max_workers=min(_THREADS, len(targets))) as pool:
            return list(pool.map(work, targets))


def _text(reply: object) -> str:
    return reply if isinstance(reply, str) else ""


def _node_timeout(reply: object) -> int | None:
    """Not every administrator may read the configuration; then it stays unknown."""
    if isinstance(reply, list) and len(reply) == 2 and str(reply[1]).isdigit():
        return int(reply[1])
    return None


class _Execution:
    def __init__(self, cluster: Cluster, plan: Plan, view: ClusterView, timeout: float) -> None:
        self._cluster = cluster
        self._plan = plan
        self._view = view
        self._timeout = timeout
        self._versions = {state.node: (state.view.product, state.view.version) for state in view.nodes}

    def run(self) -> ClusterView:
        put_back = next(
            (step for step in self._plan.steps if isinstance(step, SetNodeTimeout) and not step.forming), None
        )
        hurried = False
        try:
            for kind, group in itertools.groupby(self._plan.steps, key=type):
                steps = list(group)
                hurried = hurried or any(isinstance(step, SetNodeTimeout) and step.forming for step in steps)
                self._do(kind, steps)
                if any(step is put_back for step in steps):
                    hurried = False
        except RedisProblem as problem:
            raise ApplyError(f"The plan was not finished. {problem}{self._undo(put_back, hurried)}", self._view) from (
                problem
            )
        except ApplyError as exc:
            raise ApplyError(f"{exc}{self._undo(put_back, hurried)}", exc.view) from exc
        return self._view

    def _undo(self, put_back: SetNodeTimeout | None, hurried: bool) -> str:
        """Restore the node timeout also when the run fails; the failure to do so belongs into the message."""
        if put_back is None or not hurried:
            return ""
        left = []
        for node in put_back.nodes:
            try:
                self._set_node_timeout(node, put_back.milliseconds)
            except RedisProblem:
                left.append(node.name)
        if not left:
            return ""
        return (
            f" On {join_names(left)} cluster-node-timeout could not be set back to {put_back.milliseconds} ms; "
            "the next run does so."
        )

    def _do(self, kind: type[Step], steps: Sequence[Step]) -> None:
        if kind is SetNodeTimeout:
            pairs = [(node, s.milliseconds) for s in steps if isinstance(s, SetNodeTimeout) for node in s.nodes]
            self._cluster.send_everywhere(lambda pair: self._set_node_timeout(*pair), pairs)
        elif kind is GiveEpoch:
            self._cluster.send_everywhere(self._give_epoch, [s for s in steps if isinstance(s, GiveEpoch)])
        elif kind is AssignSlots:
            self._cluster.send_everywhere(self._assign_slots, [s for s in steps if isinstance(s, AssignSlots)])
        elif kind is Introduce:
            self._cluster.send_everywhere(self._introduce, [s for s in steps if isinstance(s, Introduce)])
        elif kind is AwaitMembers:
            self._await_members()
        elif kind is Replicate:
            self._cluster.send_everywhere(self._replicate, [s for s in steps if isinstance(s, Replicate)])
        elif kind is AwaitAgreement:
            self._await_agreement()
        else:
            raise NotImplementedError(f"Nobody knows how to carry out {kind.__name__}")

    def _set_node_timeout(self, node: DeclaredNode, milliseconds: int) -> None:
        self._cluster.send(node, "CONFIG", "SET", "cluster-node-timeout", milliseconds)

    def _give_epoch(self, step: GiveEpoch) -> None:
        try:
            self._cluster.send(step.node, "CLUSTER", "SET-CONFIG-EPOCH", step.epoch)
        except RedisProblem as problem:
            # A node that has met somebody in the meantime takes none; then the servers settle the epochs themselves.
            if problem.kind != "error" or "epoch" not in problem.detail:
                raise

    def _assign_slots(self, step: AssignSlots) -> None:
        product, version = self._versions[step.node]
        if product == "valkey" or version_tuple(version) >= (7,):
            bounds = itertools.chain.from_iterable(step.slots)
            self._cluster.send(step.node, "CLUSTER", "ADDSLOTSRANGE", *bounds)
            return
        slots = list(each_slot(step.slots))
        for first in range(0, len(slots), _SLOTS_PER_COMMAND):
            self._cluster.send(step.node, "CLUSTER", "ADDSLOTS", *slots[first : first + _SLOTS_PER_COMMAND])

    def _introduce(self, step: Introduce) -> None:
        for peer in step.peers:
            self._meet(step.node, peer)

    def _meet(self, node: DeclaredNode, peer: DeclaredNode) -> None:
        words: list[str | int] = ["CLUSTER", "MEET", peer.address.host, peer.address.port]
        if peer.bus_port != peer.address.port + 10000:
            words.append(peer.bus_port)
        self._cluster.send(node, *words)

    def _await_members(self) -> None:
        met = time.monotonic()
        for left in _polls(self._timeout):
            self._view = self._cluster.observe()
            strangers = list(_strangers(self._view))
            if not strangers and all(state.view.usable for state in self._view.nodes):
                return
            if time.monotonic() - met > _MEET_AGAIN:
                met = time.monotonic()
                unknown = [(viewer, subject) for viewer, subject, known in strangers if not known]
                self._cluster.send_everywhere(lambda pair: self._meet(*pair), unknown)
            if not left:
                raise ApplyError(self._strangers_text(strangers), self._view)

    def _strangers_text(self, strangers: Sequence[tuple[DeclaredNode, DeclaredNode, bool]]) -> str:
        by_viewer: dict[str, list[str]] = {}
        for viewer, subject, _known in strangers:
            by_viewer.setdefault(viewer.name, []).append(subject.name)
        shown = [f"{viewer} has no bus link to {join_names(names)}" for viewer, names in list(by_viewer.items())[:6]]
        ports = join_names(f"{subject.name} {subject.bus_port}" for _viewer, subject, _known in strangers)
        unreachable = [problem.sentence for problem in self._view.errors if problem.kind == "unreachable"]
        text = f"After {self._timeout:g} s the nodes still do not all know each other"
        if shown:
            text += (
                f": {'; '.join(shown)}. Each node must reach the cluster bus port of each other one ({ports}): open it "
                "in the firewalls, and check bind and cluster-announce-ip, -port and -bus-port"
            )
        return " ".join([f"{text}.", *unreachable])

    def _replicate(self, step: Replicate) -> None:
        ids = {state.node: state.node_id for state in self._view.nodes}
        for left in _polls(self._timeout):
            try:
                self._cluster.send(step.node, "CLUSTER", "REPLICATE", ids[step.primary])
                return
            except RedisProblem as problem:
                # The replica may not have heard of the primary, or of its role, yet.
                early = "Unknown node" in problem.detail or "only replicate a master" in problem.detail
                if problem.kind != "error" or not early or not left:
                    raise

    def _await_agreement(self) -> None:
        for left in _polls(self._timeout):
            self._view = self._cluster.observe()
            if self._view.healthy:
                return
            if not left:
                raise ApplyError(
                    f"After {self._timeout:g} s the cluster is not yet as described. {first_errors(self._view, 5)}",
                    self._view,
                )


def _polls(seconds: float) -> Iterator[bool]:
    """Whether there is time left, again and again, with pauses; the last one says no."""
    deadline = time.monotonic() + seconds
    pause = _FIRST_POLL
    while time.monotonic() < deadline:
        yield True
        time.sleep(pause)
        pause = min(_LAST_POLL, pause * 1.5)
    yield False


def _strangers(view: ClusterView) -> Iterable[tuple[DeclaredNode, DeclaredNode, bool]]:
    """Pairs (viewer, subject) without a working link, and whether the viewer at least knows the subject."""
    for viewer in view.nodes:
        if not viewer.view.usable:
            continue
        for subject in view.nodes:
            if subject is viewer:
                continue
            line = viewer.view.line_of(subject.node_id) if subject.node_id else None
            known = line is not None and "handshake" not in line.flags
            if line is None or not known or not line.connected:
                yield viewer.node, subject.node, known
