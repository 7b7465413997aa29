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
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from ansible_collections.apiops.tyk_redis.plugins.module_utils._clock import Clock
from ansible_collections.apiops.tyk_redis.plugins.module_utils._cluster_digest import (
    DIGEST_COMMAND,
    DigestError,
    digest_of,
    read_digest,
    rebuild,
)
from ansible_collections.apiops.tyk_redis.plugins.module_utils._cluster_plan import is_settling, with_fresh
from ansible_collections.apiops.tyk_redis.plugins.module_utils._cluster_repair import (
    holders_of_strange_keys,
    slots_to_ask_about,
)
from ansible_collections.apiops.tyk_redis.plugins.module_utils._cluster_steps import (
    AssignSlots,
    AwaitAgreement,
    AwaitMembers,
    AwaitSync,
    BumpEpoch,
    ClaimSlots,
    CloseSlots,
    CopyFunctions,
    DropClaim,
    EmptyReplica,
    Forget,
    GiveEpoch,
    HandOver,
    Introduce,
    MoveOrphans,
    MoveSlots,
    Plan,
    PlanRefused,
    Remove,
    Replicate,
    SetNodeTimeout,
    Step,
    TakeOver,
)
from ansible_collections.apiops.tyk_redis.plugins.module_utils._cluster_view import (
    SLOTS,
    ClusterView,
    DeclaredNode,
    MemberLine,
    NodeState,
    NodeView,
    SlotRanges,
    Stranger,
    ViewError,
    each_slot,
    first_errors,
    join_names,
    merge,
    parse_cluster_nodes,
    parse_info,
    plural,
    read_node,
    to_ranges,
    version_tuple,
)
from ansible_collections.apiops.tyk_redis.plugins.module_utils._failover import Failover, FailoverError
from ansible_collections.apiops.tyk_redis.plugins.module_utils._progress import Progress
from ansible_collections.apiops.tyk_redis.plugins.module_utils._redis_client import (
    Address,
    RedisConnection,
    RedisProblem,
)
from ansible_collections.apiops.tyk_redis.plugins.module_utils._slot_batches import Member, Move, MoveFailed
from ansible_collections.apiops.tyk_redis.plugins.module_utils._slot_moves import SlotMover

Connector = Callable[[DeclaredNode], RedisConnection]
T = TypeVar("T")

THREADS = 32
_SLOTS_PER_COMMAND = 1000
# A handshake that meets a closed door is dropped by the server after a second or the node timeout.
_MEET_AGAIN = 2.0
_QUESTIONS = (("INFO",), ("CLUSTER", "INFO"))
_NODES = ("CLUSTER", "NODES")
# From so many nodes on it pays to ask for digests first.
_MANY = 16
# CLUSTER FORGET bans a member for 60 s (CLUSTER_BLACKLIST_TTL in the source of the servers), and some time to meet it.
_BAN_SECONDS = 75.0
# Why a move may stop without its cause being there to stay.
_PASSING = frozenset({"lost-source", "lost-target", "no-progress", "atomic"})
# How often a run makes a new plan because what it met was not what it had planned for.
_REPLANS = 5


class ApplyError(Exception):
    """A step failed. The text is finished; the view is what was seen last."""

    def __init__(self, message: str, view: ClusterView) -> None:
        super().__init__(message)
        self.view = view


class Cluster:
    """The declared and the leaving nodes, each with a connection of its own.

    Args:
        nodes: all of them.
        connect: opens a connection to a node.
        replicas_per_primary: judge the roles by it, too.
        node_timeout: what cluster-node-timeout is to be, in milliseconds; None does not ask what it is.
        assume_fresh: take nodes that nobody knows and that do not run for such as have just been started.
        limits: ask for maxclients where INFO does not tell it.
        clock: the time.
        threads: how many nodes are talked to at once; 1 does everything in the caller's thread.
    """

    def __init__(
        self,
        nodes: Sequence[DeclaredNode],
        connect: Connector,
        *,
        replicas_per_primary: int | None = None,
        node_timeout: int | None = None,
        assume_fresh: bool = False,
        limits: bool = False,
        clock: Clock | None = None,
        threads: int = THREADS,
    ) -> None:
        self.nodes = tuple(nodes)
        self.connect = connect
        self.clock = clock or Clock()
        self.threads = threads
        self._connections = {node: connect(node) for node in self.nodes}
        # One node may be the target of several steps that are carried out side by side.
        self._locks = {node: threading.Lock() for node in self.nodes}
        self._replicas_per_primary = replicas_per_primary
        self._node_timeout = node_timeout
        self._assume_fresh = assume_fresh
        self._limits = limits
        self._silent: set[str] = set()

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *_exc_info: object) -> None:
        for connection in self._connections.values():
            connection.close()

    def observe(self) -> ClusterView:
        """Ask every node at once. Only reads are sent."""
        answers = self._views()
        # To the others it is a member that is not declared, and gone if they say so.
        unwanted = [view.node.address for view in answers if view.node.leaving and view.error]
        views = [view for view in answers if not (view.node.leaving and view.error)]
        view = merge(views, self._replicas_per_primary, unwanted=unwanted)
        if view.strangers:
            alive = dict(zip((s.node_id for s in view.strangers), self.everywhere(self._answers, view.strangers)))
            view = merge(views, self._replicas_per_primary, alive, unwanted)
        return self._with_slot_keys(view)

    def observe_settled(self, seconds: float) -> ClusterView:
        """Observe, and again as long as what is wrong may pass by itself: nobody should act on a passing state."""
        for left in self.clock.polls(seconds):
            view = self.observe()
            if not left or not is_settling(view):
                break
        return view

    def _views(self) -> list[NodeView]:
        """What every node says. Of many nodes, those that say the same about all are asked for its digest only."""
        questions = list(_QUESTIONS)
        if self._node_timeout is not None:
            questions.append(("CONFIG", "GET", "cluster-node-timeout"))
        many = len(self.nodes) >= _MANY
        questions.append(DIGEST_COMMAND if many else _NODES)
        answers = dict(zip(self.nodes, self.everywhere(lambda node: self._ask(node, questions), self.nodes)))
        seen: dict[DeclaredNode, tuple[MemberLine, ...]] = self._from_digests(answers) if many else {}
        views = self.everywhere(lambda node: self._view(node, answers[node], seen.get(node)), self.nodes)
        return with_fresh(views, self._node_timeout) if self._assume_fresh else views

    def _ask(self, node: DeclaredNode, questions: Sequence[Sequence[str]]) -> list[Any] | RedisProblem:
        try:
            with self._locks[node]:
                return self._connections[node].pipeline(questions)
        except RedisProblem as problem:
            return problem

    def _from_digests(
        self, answers: Mapping[DeclaredNode, list[Any] | RedisProblem]
    ) -> dict[DeclaredNode, tuple[MemberLine, ...]]:
        """The lines of all nodes whose view is that of another one, which alone is asked for it in full.

        A node that is left out here, because no script may run there, is asked like the few nodes of a small cluster.
        """
        own_lines: dict[str, dict[DeclaredNode, str]] = {}
        for node, replies in answers.items():
            if isinstance(replies, list) and not isinstance(replies[-1], RedisProblem):
                with suppress(DigestError):
                    digest, own_line = read_digest(replies[-1])
                    own_lines.setdefault(digest, {})[node] = own_line
        shared = {digest: group for digest, group in own_lines.items() if len(group) > 1}
        texts = self.everywhere(lambda group: _text(self._ask_nodes(next(iter(group)))), list(shared.values()))
        found: dict[DeclaredNode, tuple[MemberLine, ...]] = {}
        for (digest, group), text in zip(shared.items(), texts):
            # What changed in between is asked for node by node.
            if text and digest_of(text) == digest:
                found.update(_lines_of_group(text, group))
        return found

    def _ask_nodes(self, node: DeclaredNode) -> object:
        replies = self._ask(node, [_NODES])
        return replies if isinstance(replies, RedisProblem) else replies[0]

    def _view(
        self, node: DeclaredNode, replies: list[Any] | RedisProblem, lines: tuple[MemberLine, ...] | None
    ) -> NodeView:
        try:
            if isinstance(replies, RedisProblem):
                raise replies
            info, cluster_info = replies[:2]
            if isinstance(info, RedisProblem):
                raise info
            _expect_cluster(cluster_info)
            if lines is None:
                text = self._ask_nodes(node) if len(self.nodes) >= _MANY else replies[-1]
                _expect_cluster(text)
                lines = parse_cluster_nodes(text) if isinstance(text, str) else ()
            node_timeout = _number(replies[2]) if self._node_timeout is not None else None
            view = read_node(node, info, _text(cluster_info), lines, node_timeout)
            return self._with_limit(view) if self._limits and view.maxclients is None else view
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

    def _with_limit(self, view: NodeView) -> NodeView:
        replies = self._ask(view.node, [("CONFIG", "GET", "maxclients")])
        return view if isinstance(replies, RedisProblem) else replace(view, maxclients=_number(replies[0]))

    def _answers(self, stranger: Stranger) -> bool:
        """Whether a member that is not declared still lives at the address that the others know."""
        if not stranger.host or stranger.alias_of is not None or stranger.node_id in self._silent:
            return False
        address = Address(stranger.host, stranger.port)
        connection = self.connect(DeclaredNode(str(address), address, address.port + 10000, address.host))
        try:
            alive = bool(connection.call("CLUSTER", "MYID") == stranger.node_id)
        except RedisProblem as problem:
            # Whoever refuses to talk to us is there all the same.
            alive = problem.kind not in ("refused", "timeout", "unreachable", "reset", "not-a-cluster")
        finally:
            connection.close()
        if not alive:
            self._silent.add(stranger.node_id)
        return alive

    def _with_slot_keys(self, view: ClusterView) -> ClusterView:
        asked = sorted(slots_to_ask_about(view))
        strange = holders_of_strange_keys(view)
        questions = [
            (state.node, range(SLOTS) if state.node in strange else asked)
            for state in view.nodes
            if state.view.usable and (asked or state.node in strange)
        ]
        if not questions:
            return view
        counts: dict[int, dict[DeclaredNode, int]] = {slot: {} for slot in asked}
        for node, found in self.everywhere(self._count_keys, questions):
            for slot, count in found.items():
                counts.setdefault(slot, {})[node] = count
        return replace(view, slot_keys=counts)

    def _count_keys(self, question: tuple[DeclaredNode, Iterable[int]]) -> tuple[DeclaredNode, dict[int, int]]:
        """The slots of which a node holds keys."""
        node, slots = question
        asked = list(slots)
        found: dict[int, int] = {}
        for first in range(0, len(asked), _SLOTS_PER_COMMAND):
            some = asked[first : first + _SLOTS_PER_COMMAND]
            replies = self.send_all(node, [("CLUSTER", "COUNTKEYSINSLOT", slot) for slot in some])
            found.update((slot, count) for slot, count in zip(some, replies) if count)
        return node, found

    def send(self, node: DeclaredNode, *words: str | int) -> Any:
        """Send one command."""
        with self._locks[node]:
            return self._connections[node].call(*words)

    def send_all(self, node: DeclaredNode, commands: Sequence[Sequence[str | int]]) -> list[Any]:
        """Send several commands at once. The first error reply is raised, when all have been carried out."""
        with self._locks[node]:
            replies = self._connections[node].pipeline(commands)
        for reply in replies:
            if isinstance(reply, RedisProblem):
                raise reply
        return replies

    def everywhere(self, work: Callable[[T], Any], targets: Sequence[T]) -> list[Any]:
        """Do something for each target, side by side as far as there are threads for it."""
        if self.threads == 1 or len(targets) <= 1:
            return [work(target) for target in targets]
        with ThreadPoolExecutor(max_workers=min(self.threads, len(targets))) as pool:
            return list(pool.map(work, targets))


def _expect_cluster(reply: object) -> None:
    """A server without cluster mode, or one that is loading, refuses; both are told in another place."""
    if isinstance(reply, RedisProblem) and reply.kind not in ("not-a-cluster", "loading"):
        raise reply


def _lines_of_group(text: str, own_lines: Mapping[DeclaredNode, str]) -> dict[DeclaredNode, tuple[MemberLine, ...]]:
    """Each node's lines, given the text of the first one. Lines are shared, because there are N squared of them."""
    first, second, *_others = own_lines
    by_first = parse_cluster_nodes(text)
    by_second = parse_cluster_nodes(rebuild(text, own_lines[second]))
    own = {node: parse_cluster_nodes(line)[0] for node, line in own_lines.items()}
    as_seen = tuple(mine if "myself" not in mine.flags else other for mine, other in zip(by_first, by_second))
    found = {node: tuple(own[node] if line.node_id == own[node].node_id else line for line in as_seen) for node in own}
    return {**found, first: by_first}


def _text(reply: object) -> str:
    return reply if isinstance(reply, str) else ""


def _number(reply: object) -> int | None:
    """The value of a parameter. Not every administrator may read the configuration; then it stays unknown."""
    if isinstance(reply, list) and len(reply) == 2 and str(reply[1]).isdigit():
        return int(reply[1])
    return None


@dataclass
class Outcome:
    """What a run came to."""

    view: ClusterView
    # The sentences of the steps that were carried out, also when the plan had to be changed on the way.
    done: list[str] = field(default_factory=list)
    replanned: list[str] = field(default_factory=list)
    # What succeeded, and yet leaves something for a person to do.
    warnings: list[str] = field(default_factory=list)
    changed: bool = False


class Converger:
    """Carries out a plan, proves the result, and plans again when the servers were not as planned.

    Args:
        cluster: the nodes.
        replan: makes the plan from a view; may refuse.
        mover: moves slots.
        progress: told about every step.
        still_alone: raises when another run has got in.
        timeout: seconds that any one wait may take without progress.
    """

    def __init__(
        self,
        cluster: Cluster,
        replan: Callable[[ClusterView], Plan],
        mover: SlotMover,
        progress: Progress,
        still_alone: Callable[[], None],
        timeout: float,
    ) -> None:
        self._cluster = cluster
        self._replan = replan
        self._mover = mover
        self._progress = progress
        self._still_alone = still_alone
        self._timeout = timeout

    def run(self, plan: Plan, outcome: Outcome) -> None:
        """Carry the plan out until nothing is left to be done. The outcome tells what was done, also after a failure.

        Raises:
            ApplyError: the described cluster was not reached; run again when the cause is removed.
        """
        for _attempt in range(_REPLANS + 1):
            reason = "Something was left to be done after the last step."
            try:
                self._carry_out(plan, outcome)
            except (RedisProblem, MoveFailed, FailoverError, _Surprise) as exc:
                if isinstance(exc, MoveFailed) and exc.kind not in _PASSING:
                    raise ApplyError(f"The plan was not finished. {exc}", outcome.view) from exc
                reason = str(exc)
            outcome.view = self._cluster.observe_settled(self._timeout)
            try:
                plan = self._replan(outcome.view)
            except PlanRefused as refusal:
                raise ApplyError(
                    f"The plan was not finished. {reason} It cannot be continued now: {' '.join(refusal.reasons)}",
                    outcome.view,
                ) from refusal
            if not plan.steps:
                return
            outcome.replanned.append(f"{reason} A new plan was made: {' '.join(plan.sentences)}")
        raise ApplyError(
            f"The plan was changed {_REPLANS} times and still does not lead to the description. {reason} "
            f"{first_errors(outcome.view, 5)}",
            outcome.view,
        )

    def _carry_out(self, plan: Plan, outcome: Outcome) -> None:
        put_back = next((step for step in plan.steps if isinstance(step, SetNodeTimeout) and not step.forming), None)
        hurried = False
        number = 1
        try:
            for _kind, group in itertools.groupby(plan.steps, key=type):
                steps = list(group)
                for position, step in enumerate(steps, start=number):
                    self._progress.step(position, len(plan.steps), step.sentence)
                number += len(steps)
                # Whoever only waits does no harm, and a server that has just met a hundred others is slow to answer.
                if any(step.changes for step in steps):
                    self._still_alone()
                hurried = hurried or any(isinstance(step, SetNodeTimeout) and step.forming for step in steps)
                outcome.changed = outcome.changed or any(step.changes for step in steps)
                outcome.done += [step.sentence for step in steps]
                execution = _Execution(self._cluster, self._mover, outcome.view, self._timeout)
                try:
                    execution.do(steps)
                finally:
                    outcome.view = execution.view
                    outcome.warnings += execution.warnings
                if any(step is put_back for step in steps):
                    hurried = False
        except (RedisProblem, ApplyError, MoveFailed, FailoverError, _Surprise) as exc:
            undone = self._undo(put_back, hurried)
            if isinstance(exc, ApplyError):
                raise ApplyError(f"{exc}{undone}", exc.view) from exc
            if undone:
                raise ApplyError(f"The plan was not finished. {exc}{undone}", outcome.view) from exc
            raise

    def _undo(self, put_back: SetNodeTimeout | None, hurried: bool) -> str:
        """Restore the node timeout also when the run fails; the failure to do so belongs into the message."""
        if put_back is None or not hurried:
            return ""
        left = []
        for node in put_back.nodes:
            try:
                self._cluster.send(node, "CONFIG", "SET", "cluster-node-timeout", put_back.milliseconds)
            except RedisProblem:
                left.append(node.name)
        if not left:
            return ""
        return (
            f" On {join_names(left)} cluster-node-timeout could not be set back to {put_back.milliseconds} ms; "
            "the next run does so."
        )


class _Surprise(Exception):
    """A node is not what the plan takes it for. The text is a finished sentence."""


class _Execution:
    """One group of steps of the same kind."""

    def __init__(self, cluster: Cluster, mover: SlotMover, view: ClusterView, timeout: float) -> None:
        self._cluster = cluster
        self._mover = mover
        self.view = view
        self.warnings: list[str] = []
        self._timeout = timeout
        self._versions = {state.node: (state.view.product, state.view.version) for state in view.nodes}
        self._ids = {state.node: state.node_id for state in view.nodes}

    def do(self, steps: Sequence[Any]) -> None:
        kind = type(steps[0])
        for_each: dict[type[Step], Callable[[Any], None]] = {
            SetNodeTimeout: self._set_node_timeouts,
            GiveEpoch: self._give_epoch,
            AssignSlots: self._assign_slots,
            ClaimSlots: self._claim_slots,
            DropClaim: self._drop_claim,
            BumpEpoch: self._bump_epoch,
            CloseSlots: self._close_slots,
            Introduce: self._introduce,
            Replicate: self._replicate,
            EmptyReplica: self._empty_replica,
            TakeOver: self._take_over,
            CopyFunctions: self._copy_functions,
            MoveOrphans: self._move_orphans,
        }
        if kind in for_each:
            self._cluster.everywhere(for_each[kind], steps)
            return
        for_all: dict[type[Step], Callable[[Any], None]] = {
            AwaitMembers: self._await_members,
            AwaitAgreement: lambda _steps: self._await_agreement(),
            AwaitSync: self._await_sync,
            MoveSlots: self._move_slots,
            HandOver: self._hand_over,
            Remove: self._remove,
            Forget: self._forget_all,
        }
        for_all[kind](steps)

    # --- one command or a few ----------------------------------------------------------------------------------------

    def _set_node_timeouts(self, step: SetNodeTimeout) -> None:
        self._cluster.everywhere(
            lambda node: self._cluster.send(node, "CONFIG", "SET", "cluster-node-timeout", step.milliseconds),
            step.nodes,
        )

    def _give_epoch(self, step: GiveEpoch) -> None:
        try:
            self._cluster.send(step.node, "CLUSTER", "SET-CONFIG-EPOCH", step.epoch)
        except RedisProblem as problem:
            # A node that has met somebody in the meantime takes none; then the servers settle the epochs themselves.
            if problem.kind != "error" or "epoch" not in problem.detail:
                raise

    def _assign_slots(self, step: AssignSlots) -> None:
        self._change_slots(step.node, "ADDSLOTS", step.slots)

    def _change_slots(self, node: DeclaredNode, verb: str, slots: SlotRanges) -> None:
        """ADDSLOTS or DELSLOTS, by ranges where the server knows them (since Redis 7.0)."""
        product, version = self._versions[node]
        if product == "valkey" or version_tuple(version) >= (7,):
            self._cluster.send(node, "CLUSTER", f"{verb}RANGE", *itertools.chain.from_iterable(slots))
            return
        numbers = list(each_slot(slots))
        for first in range(0, len(numbers), _SLOTS_PER_COMMAND):
            self._cluster.send(node, "CLUSTER", verb, *numbers[first : first + _SLOTS_PER_COMMAND])

    def _claim_slots(self, step: ClaimSlots) -> None:
        """The node may still believe that the slots are another one's, and ADDSLOTS refuses those."""
        lines = parse_cluster_nodes(self._cluster.send(step.node, "CLUSTER", "NODES"))
        wanted = set(each_slot(step.slots))
        elsewhere = {s for line in lines if "myself" not in line.flags for s in each_slot(line.slots)} & wanted
        mine = {s for line in lines if "myself" in line.flags for s in each_slot(line.slots)}
        if elsewhere:
            self._change_slots(step.node, "DELSLOTS", to_ranges(elsewhere))
        if wanted - mine:
            self._change_slots(step.node, "ADDSLOTS", to_ranges(wanted - mine))
        self._cluster.send(step.node, "CLUSTER", "BUMPEPOCH")

    def _drop_claim(self, step: DropClaim) -> None:
        self._expect_no_keys(step.node, step.slots)
        self._change_slots(step.node, "DELSLOTS", step.slots)

    def _expect_no_keys(self, node: DeclaredNode, slots: SlotRanges) -> None:
        counts = self._cluster.send_all(node, [("CLUSTER", "COUNTKEYSINSLOT", slot) for slot in each_slot(slots)])
        if any(counts):
            raise _Surprise(f"{node.name} holds {plural(sum(counts), 'key')} in slots that it held none of before.")

    def _bump_epoch(self, step: BumpEpoch) -> None:
        self._cluster.send(step.node, "CLUSTER", "BUMPEPOCH")

    def _close_slots(self, step: CloseSlots) -> None:
        self._cluster.send_all(step.node, [("CLUSTER", "SETSLOT", slot, "STABLE") for slot in each_slot(step.slots)])

    def _introduce(self, step: Introduce) -> None:
        self._cluster.send_all(step.node, [_meet(peer) for peer in step.peers])

    def _replicate(self, step: Replicate) -> None:
        if step.primary not in self._ids:
            raise _Surprise(f"{step.primary.name} does not answer any more, so {step.node.name} cannot replicate it.")
        for left in self._cluster.clock.polls(self._timeout):
            try:
                self._cluster.send(step.node, "CLUSTER", "REPLICATE", self._ids[step.primary])
                return
            except RedisProblem as problem:
                # The replica may not have heard of the primary, or of its role, yet.
                early = "Unknown node" in problem.detail or "only replicate a master" in problem.detail
                if problem.kind != "error" or not early or not left:
                    raise

    def _empty_replica(self, step: EmptyReplica) -> None:
        fields = parse_info(self._cluster.send(step.node, "INFO", "replication"))
        if fields.get("role") != "slave":
            raise _Surprise(f"{step.node.name} is no replica any more, so its data are not a copy.")
        self._reset(step.node, "SOFT")

    def _take_over(self, step: TakeOver) -> None:
        self._cluster.send(step.replica, "CLUSTER", "FAILOVER", "TAKEOVER")
        for left in self._cluster.clock.polls(self._timeout):
            if self._cluster.send(step.replica, "ROLE")[0] == "master":
                return
            if not left:
                raise ApplyError(
                    f"After {self._timeout:g} s {step.replica.name} has not taken over; its log says why.", self.view
                )

    def _copy_functions(self, step: CopyFunctions) -> None:
        payload = self._cluster.send(step.source, "FUNCTION", "DUMP")
        self._cluster.send(step.target, "FUNCTION", "RESTORE", payload, "REPLACE")

    # --- slots -------------------------------------------------------------------------------------------------------

    def _move_slots(self, steps: Sequence[MoveSlots]) -> None:
        self._cluster.everywhere(
            self._await_service, list(dict.fromkeys(node for step in steps for node in (step.source, step.target)))
        )
        self._await_epochs()
        self._mover.move([as_move(step, self.view) for step in steps])

    def _await_epochs(self) -> None:
        """A source that gets a new epoch in mid-move takes back what it has given, and the target deletes the keys."""
        for left in self._cluster.clock.polls(self._timeout):
            states = [state for state in self._cluster.observe().nodes if not _has_nothing_left(state)]
            if _epochs_are_settled([state.view for state in states if state.view.usable]):
                return
            if not left:
                raise _Surprise(
                    f"After {self._timeout:g} s the primaries still do not have config epochs of their own that all "
                    "nodes know, so no slots can move."
                )

    def _await_service(self, node: DeclaredNode) -> None:
        """A primary that has just started or joined takes no keys for a while, because it waits for news first."""
        for left in self._cluster.clock.polls(self._timeout):
            state = parse_info(self._cluster.send(node, "CLUSTER", "INFO")).get("cluster_state")
            if state == "ok":
                return
            if not left:
                raise _Surprise(
                    f"{node.name} considers the cluster down (cluster_state:{state}), so no slots can move."
                )

    def _move_orphans(self, step: MoveOrphans) -> None:
        holder, owner = _member(step.holder, self.view), _member(step.owner, self.view)
        # A node that was importing a slot when its owner was failed over knows no owner of it, and then serves nothing.
        commands = [("CLUSTER", "SETSLOT", slot, "NODE", owner.node_id) for slot in each_slot(step.slots)]
        self._cluster.send_all(step.holder, commands)
        self._cluster.everywhere(self._await_service, (step.holder, step.owner))
        self._mover.move_orphans(holder, owner, step.slots)

    # --- members that leave ------------------------------------------------------------------------------------------

    def _hand_over(self, steps: Sequence[HandOver]) -> None:
        """One after the other: a cluster that elects several primaries at once has fewer votes for each."""
        by_address = {node.address: node for node in self._cluster.nodes}

        def connect(address: Address) -> RedisConnection:
            node = by_address.get(address)
            return self._cluster.connect(
                node or DeclaredNode(str(address), address, address.port + 10000, address.host)
            )

        for step in steps:
            Failover(step.primary.address, connect, self._timeout, clock=self._cluster.clock).hand_over(
                step.replica.address
            )

    def _remove(self, steps: Sequence[Remove]) -> None:
        """Reset first and forget then: whoever is still running would be met again when the ban has passed."""
        for step in steps:
            self._expect_nothing(step.node)
            self._reset(step.node, "HARD")
        leaving = {step.node for step in steps}
        staying = [state.node for state in self.view.nodes if state.node not in leaving]
        self._forget(staying, [step.node_id for step in steps])

    def _reset(self, node: DeclaredNode, how: str) -> None:
        """Let a node forget the cluster and its copies, also those on its disk.

        CLUSTER RESET empties the memory of a replica and leaves its append-only file and its RDB file as they are. From
        these it would have the old keys back when it is started again, and claim their slots.
        """
        self._cluster.send(node, "CLUSTER", "RESET", how)
        if self._cluster.send(node, "DBSIZE"):
            raise _Surprise(f"{node.name} was reset and holds keys nevertheless.")
        try:
            self._cluster.send(node, "FLUSHALL")
        except RedisProblem as problem:
            if problem.kind not in ("error", "acl"):
                raise
            self.warnings.append(
                f"{node.name} was reset, but its data files could not be emptied ({problem.detail.rstrip('.')}); when "
                "it is started again, it loads old copies of keys from them. Delete the files before it is."
            )

    def _expect_nothing(self, node: DeclaredNode) -> None:
        info = parse_info(self._cluster.send(node, "INFO", "replication"))
        me = next(
            line for line in parse_cluster_nodes(self._cluster.send(node, "CLUSTER", "NODES")) if "myself" in line.flags
        )
        if me.slots:
            raise _Surprise(f"{node.name} is to be removed, but it owns {plural(len(me.slots), 'range')} of slots.")
        if info.get("role") == "master" and self._cluster.send(node, "DBSIZE"):
            raise _Surprise(f"{node.name} is to be removed, but it is a primary and holds keys.")

    def _forget_all(self, steps: Sequence[Forget]) -> None:
        self._forget([state.node for state in self.view.nodes], [step.node_id for step in steps])

    def _forget(self, nodes: Sequence[DeclaredNode], node_ids: Sequence[str]) -> None:
        self._cluster.everywhere(lambda node: self._forget_on(node, node_ids), nodes)

    def _forget_on(self, node: DeclaredNode, node_ids: Sequence[str]) -> None:
        for node_id in node_ids:
            try:
                self._cluster.send(node, "CLUSTER", "FORGET", node_id)
            except RedisProblem as problem:
                # It never knew it, or has heard from the others that they have forgotten it (Redis 7.2).
                if problem.kind != "error" or "Unknown node" not in problem.detail:
                    raise

    # --- waits -------------------------------------------------------------------------------------------------------

    def _await_members(self, steps: Sequence[AwaitMembers]) -> None:
        met = self._cluster.clock.now()
        banned = any(step.banned for step in steps)
        seconds = max(self._timeout, _BAN_SECONDS if banned else 0)
        lasting = self._seconds_of_gossip() if banned else 0.0
        agreed_since: float | None = None
        for left in self._cluster.clock.polls(seconds):
            self.view = self._cluster.observe()
            strangers = list(_strangers(self.view))
            now = self._cluster.clock.now()
            if not strangers and all(state.view.usable for state in self.view.nodes):
                agreed_since = now if agreed_since is None else agreed_since
                if now - agreed_since >= lasting or not left:
                    return
                continue
            agreed_since = None
            if now - met > _MEET_AGAIN:
                met = now
                unknown = [(viewer, subject) for viewer, subject, known in strangers if not known]
                self._cluster.everywhere(lambda pair: self._cluster.send(pair[0], *_meet(pair[1])), unknown)
            if not left:
                raise ApplyError(self._strangers_text(strangers, seconds), self.view)

    def _seconds_of_gossip(self) -> float:
        """In which every node pings every other one: who still bans a member makes the others forget it (Redis 7.2)."""
        timeouts = [state.view.node_timeout or 0 for state in self.view.nodes]
        return max(timeouts, default=0) / 2000 + 1

    def _strangers_text(self, strangers: Sequence[tuple[DeclaredNode, DeclaredNode, bool]], seconds: float) -> str:
        by_viewer: dict[str, list[str]] = {}
        for viewer, subject, _known in strangers:
            by_viewer.setdefault(viewer.name, []).append(subject.name)
        shown = [f"{viewer} has no bus link to {join_names(names)}" for viewer, names in list(by_viewer.items())[:6]]
        unreachable = [problem.sentence for problem in self.view.errors if problem.kind == "unreachable"]
        text = f"After {seconds:g} s the nodes still do not all know each other"
        if shown:
            ports = join_names(f"{subject.name} {subject.bus_port}" for _viewer, subject, _known in strangers)
            text += (
                f": {'; '.join(shown)}. Each node must reach the cluster bus port of each other one ({ports}): open it "
                "in the firewalls, and check bind and cluster-announce-ip, -port and -bus-port"
            )
        return " ".join([f"{text}.", *unreachable])

    def _await_sync(self, steps: Sequence[AwaitSync]) -> None:
        self._cluster.everywhere(self._await_replica, [node for step in steps for node in step.nodes])

    def _await_replica(self, node: DeclaredNode) -> None:
        """Large data take long to copy, so the time counts anew as long as something arrives."""
        seen: object = None
        while True:
            for left in self._cluster.clock.polls(self._timeout):
                info = parse_info(self._cluster.send(node, "INFO", "replication"))
                syncing = info.get("master_sync_in_progress") != "0"
                if info.get("role") == "slave" and info.get("master_link_status") == "up" and not syncing:
                    return
                arrived = [info.get(f"master_sync_{what}") for what in ("read_bytes", "left_bytes")]
                if syncing and any(arrived) and arrived != seen:
                    seen = arrived
                    break
                if not left:
                    raise ApplyError(
                        f"After {self._timeout:g} s {node.name} is not in sync with its primary; check that "
                        "masteruser, masterauth and TLS for replication are right there (its log says which).",
                        self.view,
                    )

    def _await_agreement(self) -> None:
        begun = self._cluster.clock.now()
        sent_again: set[DeclaredNode] = set()
        for left in self._cluster.clock.polls(self._timeout):
            self.view = self._cluster.observe()
            if self.view.healthy:
                return
            if self._cluster.clock.now() - begun > _MEET_AGAIN:
                opened = [problem.sentence for problem in self.view.errors if problem.kind == "open-slot"]
                if opened:
                    # No mark ends by itself. One may show after the plan was made: when its holder comes back, or
                    # when a replica that holds a copy of it takes its primary's role over.
                    raise _Surprise(" ".join(opened))
                for state in self.view.nodes:
                    if state.node not in sent_again and self._follows_an_old_address(state):
                        sent_again.add(state.node)
                        self._cluster.send(state.node, "CLUSTER", "REPLICATE", state.primary_id)
            if not left:
                text = f"After {self._timeout:g} s the cluster is not yet as described. {first_errors(self.view, 5)}"
                if any(problem.kind == "leaving" for problem in self.view.errors):
                    # A member that had begun to meet the one that was reset has brought it back.
                    raise _Surprise(text)
                raise ApplyError(text, self.view)

    def _follows_an_old_address(self, state: NodeState) -> bool:
        """A replica that heard of its primary's new address by gossip goes on asking for data at the old one."""
        line = state.view.line_of(state.primary_id)
        if state.role != "replica" or state.view.link == "up" or state.primary is None or line is None:
            return False
        info = parse_info(self._cluster.send(state.node, "INFO", "replication"))
        return (info.get("master_host"), info.get("master_port")) != (line.host, str(line.port))


def _epochs_are_settled(views: Sequence[NodeView]) -> bool:
    """Whether every owner of slots has an epoch that no other primary has, and that all nodes know."""
    for owner in views:
        me = owner.me
        if me.role != "primary" or not me.slots:
            continue
        for rival in views:
            line = owner.line_of(rival.me.node_id)
            if rival is owner or rival.me.role != "primary" or line is None or not line.connected:
                continue
            if rival.me.epoch == line.epoch == me.epoch:
                return False
        if any(line.epoch != me.epoch for line in (view.line_of(me.node_id) for view in views) if line is not None):
            return False
    return True


def _meet(peer: DeclaredNode) -> list[str | int]:
    """The command that introduces a peer."""
    words: list[str | int] = ["CLUSTER", "MEET", peer.address.host, peer.address.port]
    return words if peer.bus_port == peer.address.port + 10000 else [*words, peer.bus_port]


def as_move(step: MoveSlots, view: ClusterView) -> Move:
    """A planned move with what the mover must know about both ends."""
    return Move(_member(step.source, view), _member(step.target, view), step.slots, step.method)


def _member(node: DeclaredNode, view: ClusterView) -> Member:
    """The endpoint that the others know is the one that servers use among themselves, with or without TLS."""
    node_id = next(state.node_id for state in view.nodes if state.node == node)
    lines = [line for state in view.nodes for line in [state.view.line_of(node_id)] if line and line.host]
    host, port = (lines[0].host, lines[0].port) if lines else (node.address.host, node.address.port)
    return Member(node=node, node_id=node_id, host=host, port=port)


def _strangers(view: ClusterView) -> Iterable[tuple[DeclaredNode, DeclaredNode, bool]]:
    """Pairs (viewer, subject) without a working link, and whether the viewer at least knows the subject."""
    for viewer in view.nodes:
        if not viewer.view.usable or _has_nothing_left(viewer):
            continue
        for subject in view.nodes:
            if subject is viewer or _has_nothing_left(subject):
                continue
            line = viewer.view.line_of(subject.node_id) if subject.node_id else None
            known = line is not None and "handshake" not in line.flags
            if line is None or not known or not line.connected:
                yield viewer.node, subject.node, known


def _has_nothing_left(state: NodeState) -> bool:
    """Whether it does not matter any more who knows the node."""
    return state.node.leaving and not state.slots
