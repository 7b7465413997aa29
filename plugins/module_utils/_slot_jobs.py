# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lets servers that can do so move slots by themselves: atomically, and much faster than key by key.

Private to this collection. The servers go on with a migration when its starter dies, so a run first waits for those
that it finds. All of them are watched from one thread.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ansible_collections.apiops.tyk_redis.plugins.module_utils._clock import Clock
from ansible_collections.apiops.tyk_redis.plugins.module_utils._cluster_view import (
    DeclaredNode,
    SlotRanges,
    count_slots,
    each_slot,
    parse_cluster_nodes,
    parse_info,
    to_ranges,
)
from ansible_collections.apiops.tyk_redis.plugins.module_utils._redis_client import RedisConnection, RedisProblem, Word
from ansible_collections.apiops.tyk_redis.plugins.module_utils._slot_batches import (
    MIGRATESLOTS,
    Job,
    Limits,
    Move,
    MoveFailed,
    halves,
    overlap,
    read_jobs,
    slots_text,
)

_FIRST_POLL = 0.01
_LAST_POLL = 0.25
_ATTEMPTS = 5
_PAUSE = 0.5


class Tell(Protocol):
    """Takes what has moved; raises to stop."""

    def __call__(self, *, keys: int = 0, size: int = 0, slots: int = 0) -> None: ...


@dataclass
class _Piece:
    """Some slots of a move, and the migration that moves them now."""

    move: Move
    slots: SlotRanges
    keys: int
    attempts: int = 0
    not_before: float = 0.0
    job_id: str = ""
    seen: str = ""
    progress_at: float = 0.0
    trimming: bool = False

    @property
    def busy(self) -> tuple[str, ...]:
        """Who can take part in no other migration meanwhile: in Redis both ends, in Valkey only the source."""
        ends = (self.move.source.node_id, self.move.target.node_id)
        return ends[:1] if self.move.method == MIGRATESLOTS else ends


class JobRunner:
    """Starts migrations, as many side by side as the servers take, and waits for their end."""

    def __init__(
        self, connect: Callable[[DeclaredNode], RedisConnection], limits: Limits, clock: Clock, tell: Tell
    ) -> None:
        self._connect = connect
        self._limits = limits
        self._clock = clock
        self._tell = tell
        self._connections: dict[DeclaredNode, RedisConnection] = {}

    def runner(self, moves: Sequence[tuple[Move, int]]) -> Callable[[], None]:
        """Something that carries out these moves, each with the number of its keys, when it is called."""
        return lambda: self._run([_Piece(move, move.slots, keys) for move, keys in moves])

    def _run(self, waiting: list[_Piece]) -> None:
        active: list[_Piece] = []
        pause = _FIRST_POLL
        try:
            while waiting or active:
                before = len(waiting) + len(active)
                self._start_some(waiting, active)
                for piece in list(active):
                    if self._is_over(piece, waiting):
                        active.remove(piece)
                        pause = _FIRST_POLL
                if len(waiting) + len(active) == before:
                    self._clock.sleep(pause)
                    pause = min(_LAST_POLL, pause * 1.5)
                    self._tell()
        except MoveFailed:
            for piece in active:
                self._cancel(piece)
            raise
        finally:
            for connection in self._connections.values():
                connection.close()

    def _start_some(self, waiting: list[_Piece], active: list[_Piece]) -> None:
        for piece in list(waiting):
            busy = {node_id for other in active for node_id in other.busy}
            if busy.intersection(piece.busy) or self._clock.now() < piece.not_before:
                continue
            waiting.remove(piece)
            if self._start(piece, waiting):
                active.append(piece)

    def _start(self, piece: _Piece, waiting: list[_Piece]) -> bool:
        """Start a migration, or join the one that runs already; False when nothing is left to be moved."""
        piece.progress_at = self._clock.now()
        piece.seen = piece.job_id = ""
        try:
            self._leave_out_moved(piece)
            if not piece.slots:
                return False
            running = [job for job in self._jobs(piece) if not job.finished and overlap(job.slots, piece.slots)]
            piece.job_id = running[0].job_id if running else self._send_start(piece)
        except RedisProblem as problem:
            self._try_again(piece, waiting, str(problem))
            return False
        return True

    def _leave_out_moved(self, piece: _Piece) -> None:
        """What the target owns by now has moved already."""
        lines = parse_cluster_nodes(str(self._call(piece.move.target.node, "CLUSTER", "NODES")))
        me = next(line for line in lines if "myself" in line.flags)
        moved = overlap(piece.slots, me.slots)
        if moved:
            piece.slots = to_ranges(set(each_slot(piece.slots)) - set(each_slot(moved)))
            self._tell(slots=count_slots(moved))

    def _send_start(self, piece: _Piece) -> str:
        bounds = [bound for first_last in piece.slots for bound in first_last]
        if piece.move.method != MIGRATESLOTS:
            return str(self._call(piece.move.target.node, "CLUSTER", "MIGRATION", "IMPORT", *bounds))
        target_id = piece.move.target.node_id
        self._call(piece.move.source.node, "CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", *bounds, "NODE", target_id)
        started = [job for job in self._jobs(piece) if job.slots == piece.slots and job.target_id == target_id]
        # The newest one is the first, and the log keeps those that ended.
        return started[0].job_id if started else ""

    def _jobs(self, piece: _Piece) -> list[Job]:
        if piece.move.method == MIGRATESLOTS:
            return read_jobs(self._call(piece.move.source.node, "CLUSTER", "GETSLOTMIGRATIONS"))
        return read_jobs(self._call(piece.move.target.node, "CLUSTER", "MIGRATION", "STATUS", "ALL"))

    def _is_over(self, piece: _Piece, waiting: list[_Piece]) -> bool:
        try:
            if piece.trimming:
                return self._is_trimmed(piece)
            jobs = [job for job in self._jobs(piece) if job.job_id == piece.job_id]
            held = self._keys_at(piece)
        except RedisProblem as problem:
            return self._wait_on(piece, piece.seen, str(problem))
        if not jobs:
            # The log of a server that was started again, or one that is full.
            self._try_again(piece, waiting, "the migration is not in the server's log any more")
            return True
        job = jobs[0]
        if job.succeeded:
            return self._succeeded(piece, job, waiting)
        if job.finished:
            self._try_again(piece, waiting, job.message or f"it ended as {job.state}")
            return True
        return self._wait_on(piece, f"{job.state} {job.message} {held}", f"it stayed in the state {job.state}")

    def _keys_at(self, piece: _Piece) -> str:
        """What grows while keys arrive."""
        return str(self._call(piece.move.target.node, "INFO", "keyspace"))

    def _succeeded(self, piece: _Piece, job: Job, waiting: list[_Piece]) -> bool:
        moved = overlap(piece.slots, job.slots)
        left = to_ranges(set(each_slot(piece.slots)) - set(each_slot(moved)))
        if left:
            # It was another run's migration, of a part of these slots.
            waiting.append(_Piece(piece.move, left, 0, piece.attempts))
        self._tell(keys=piece.keys, slots=count_slots(moved))
        piece.trimming = piece.move.method != MIGRATESLOTS
        piece.progress_at = self._clock.now()
        return not piece.trimming

    def _is_trimmed(self, piece: _Piece) -> bool:
        """Redis deletes moved keys afterwards; it does so by itself, and nothing is wrong when it takes long."""
        fields = parse_info(str(self._call(piece.move.source.node, "CLUSTER", "INFO")))
        trimming = fields.get("cluster_slot_migration_active_trim_running", "0") != "0"
        return not trimming or self._clock.now() - piece.progress_at > self._limits.timeout

    def _wait_on(self, piece: _Piece, seen: str, why: str) -> bool:
        """False as long as something changes from time to time; then the attempt is over."""
        if seen != piece.seen:
            piece.seen, piece.progress_at = seen, self._clock.now()
        if self._clock.now() - piece.progress_at <= self._limits.timeout:
            return False
        self._cancel(piece)
        raise self._failed(piece, f"for {self._limits.timeout:g} s there was no progress: {why}")

    def _try_again(self, piece: _Piece, waiting: list[_Piece], why: str) -> None:
        """In two portions, because a smaller one needs less room for what clients write meanwhile."""
        if piece.attempts + 1 >= _ATTEMPTS:
            raise self._failed(piece, why)
        attempts = piece.attempts + 1
        one, other = halves(piece.slots) if piece.job_id else (piece.slots, ())
        later = self._clock.now() + _PAUSE * attempts
        waiting.append(_Piece(piece.move, one, piece.keys if not other else piece.keys // 2, attempts, later))
        if other:
            waiting.append(_Piece(piece.move, other, piece.keys - piece.keys // 2, attempts, later))

    def _failed(self, piece: _Piece, why: str) -> MoveFailed:
        move, reason = piece.move, " ".join(why.split()).rstrip(".")
        return MoveFailed(
            "atomic",
            f"{move.source.name} and {move.target.name} could not move {slots_text(each_slot(piece.slots))} by "
            f"themselves: {reason}. These slots stay with {move.source.name}; see the logs of both, and run again.",
        )

    def _cancel(self, piece: _Piece) -> None:
        words: tuple[Word, ...] = ("CLUSTER", "CANCELSLOTMIGRATIONS")
        node = piece.move.source.node
        if piece.move.method != MIGRATESLOTS:
            words, node = ("CLUSTER", "MIGRATION", "CANCEL", "ID", piece.job_id), piece.move.target.node
        try:
            self._call(node, *words)
        except RedisProblem:
            # It has ended, or the server is gone; the next run finds what there is.
            return

    def _call(self, node: DeclaredNode, *words: Word) -> Any:
        connection = self._connections.get(node)
        if connection is None:
            connection = self._connections[node] = self._connect(node)
        return connection.call(*words)
