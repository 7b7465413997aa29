# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Moves slots with their keys between the primaries of a live cluster.

Private to this collection. Whatever happens, every key is on one of the two ends at least, and the marks in the servers
tell the next run what is unfinished. A slot gets its new owner only after its old one said that it holds no key of it,
because an owner that loses a slot deletes what it still holds.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from ansible_collections.apiops.tyk_redis.plugins.module_utils._clock import Clock
from ansible_collections.apiops.tyk_redis.plugins.module_utils._cluster_view import (
    DeclaredNode,
    MemberLine,
    SlotRanges,
    count_slots,
    each_slot,
    format_ranges,
    join_names,
    parse_cluster_nodes,
    parse_info,
    plural,
)
from ansible_collections.apiops.tyk_redis.plugins.module_utils._redis_client import (
    Credentials,
    RedisConnection,
    RedisProblem,
    Word,
)
from ansible_collections.apiops.tyk_redis.plugins.module_utils._slot_batches import (
    FETCH_SCRIPT,
    KEYS,
    KEYS_PER_FETCH,
    Batch,
    Copy,
    Fetched,
    Limits,
    Member,
    MigrateEncoder,
    Move,
    MoveFailed,
    Pace,
    Progress,
    Totals,
    client_calls,
    command,
    cut,
    database_keys,
    keys_of,
    printable,
    read_fetch,
    rounds,
    same_members,
    single,
    slots_text,
    take_over,
    to_bytes,
    windows,
)
from ansible_collections.apiops.tyk_redis.plugins.module_utils._slot_jobs import JobRunner

Connector = Callable[[DeclaredNode], RedisConnection]

_COMMANDS_PER_PIPELINE = 512
# Where a key's size cannot be asked for, few of them go into one MIGRATE.
_KEYS_OF_UNKNOWN_SIZE = 10
# Asking for the size of a key costs much less than moving it.
_SIZED_PER_MOVED = 3
# How long a source may freeze in all because its target does: a share of the node timeout, and never longer than this.
_FREEZE_SECONDS = 5.0
_FREEZE_SHARE = 3
_LEAST_MIGRATE_TIMEOUT = 250
# The servers' own defaults, where reading the configuration is not allowed.
_NODE_TIMEOUT = 15000
_LARGEST_BULK = 512 * 1024 * 1024
_REPORT_SECONDS = 0.5
_SECONDS_OF_FIRST_LOOK = 0.1
_LATE_COMMANDS = frozenset({"NULL", "auth", "select", "restore", "restore-asking"})


class _Stopped(Exception):
    """Another lane has failed."""


class Board:
    """Where all lanes write down how far they are, and learn that they must stop."""

    def __init__(self, clock: Clock, report: Callable[[Progress], None], keys: int, slots: int) -> None:
        self._clock = clock
        self._report = report
        self._started = clock.now()
        self._told = self._started
        self._lock = threading.Lock()
        self._keys = self._bytes = self._slots = 0
        self._keys_total, self._slots_total = keys, slots
        self._stopped = False

    def add(self, *, keys: int = 0, size: int = 0, slots: int = 0) -> None:
        """Count what has moved, and tell it to the caller of the whole, who may raise anything to stop it."""
        with self._lock:
            if self._stopped:
                raise _Stopped
            self._keys += keys
            self._bytes += size
            self._slots += slots
            now = self._clock.now()
            if slots or now - self._told >= _REPORT_SECONDS:
                self._told = now
                self._report(self._progress(now))

    def stop(self) -> None:
        self._stopped = True

    def totals(self) -> Totals:
        return self._progress(self._clock.now())

    def _progress(self, now: float) -> Progress:
        return Progress(
            keys=self._keys,
            bytes=self._bytes,
            slots=self._slots,
            # Clients add keys meanwhile.
            keys_total=max(self._keys, self._keys_total),
            slots_total=self._slots_total,
            seconds=now - self._started,
        )


class SlotMover:
    """Carries out moves, each source in a lane of its own.

    Args:
        connect: opens a connection to a node.
        credentials: as whom a source logs in to a target.
        limits: how gently.
        clock: the time.
        threads: how many lanes at once; 1 does everything in the caller's thread.
        report: called again and again with the progress, one call at a time, from any lane; it may raise to stop.
    """

    def __init__(
        self,
        connect: Connector,
        credentials: Credentials,
        limits: Limits,
        clock: Clock,
        threads: int,
        report: Callable[[Progress], None],
    ) -> None:
        self._connect = connect
        self._credentials = credentials
        self._limits = limits
        self._clock = clock
        self._threads = threads
        self._report = report

    def move(self, moves: Sequence[Move]) -> Totals:
        """Move slots with their keys; what has moved already, or in part, is fine.

        Raises:
            MoveFailed: with the reason; every slot is as before, completely moved, or open and to be continued.
            RedisProblem: a server could not be asked before anything was changed.
        """
        counts = self._count(moves)
        board = self._board(counts, sum(count_slots(move.slots) for move in moves))
        for numbers in rounds(moves):
            self._side_by_side(self._lanes([(moves[number], counts[number]) for number in numbers], board), board)
        return board.totals()

    def move_orphans(self, holder: Member, owner: Member, slots: SlotRanges) -> Totals:
        """Move keys from a node that does not own their slots to the owner, which keeps the keys that it has.

        Raises:
            MoveFailed: among others, of the kind "conflict" for a key that differs on both.
        """
        move = Move(holder, owner, slots)
        counts = self._count([move])
        board = self._board(counts, len(counts[0]))
        with _Ends(self._connect, move) as ends:
            _OrphanMove(self, ends, move, board, Pace(self._limits)).run(counts[0])
        return board.totals()

    def count_keys(self, moves: Sequence[Move]) -> list[int]:
        """How many keys each move would take along. Only reads are sent."""
        return [sum(count.values()) for count in self._count(moves)]

    @property
    def limits(self) -> Limits:
        return self._limits

    @property
    def clock(self) -> Clock:
        return self._clock

    @property
    def credentials(self) -> Credentials:
        return self._credentials

    def _board(self, counts: Sequence[Mapping[int, int]], slots: int) -> Board:
        return Board(self._clock, self._report, sum(sum(count.values()) for count in counts), slots)

    def _count(self, moves: Sequence[Move]) -> list[dict[int, int]]:
        counts: list[dict[int, int]] = []
        for move in moves:
            with self._connect(move.source.node) as connection:
                counts.append(_count_keys(connection, list(each_slot(move.slots))))
        return counts

    def _lanes(self, moves: Sequence[tuple[Move, Mapping[int, int]]], board: Board) -> list[Callable[[], None]]:
        """A source can do only one thing at a time; migrations of the servers' own are watched from one lane."""
        by_source: dict[str, list[tuple[Move, Mapping[int, int]]]] = {}
        for move, count in moves:
            if move.method == KEYS:
                by_source.setdefault(move.source.node_id, []).append((move, count))
        lanes: list[Callable[[], None]] = [partial(self._lane, lane, board) for lane in by_source.values()]
        atomic = [(move, sum(count.values())) for move, count in moves if move.method != KEYS]
        if atomic:
            lanes.insert(0, JobRunner(self._connect, self._limits, self._clock, board.add).runner(atomic))
        return lanes

    def _lane(self, lane: Sequence[tuple[Move, Mapping[int, int]]], board: Board) -> None:
        pace = Pace(self._limits)
        for move, count in lane:
            with _Ends(self._connect, move) as ends:
                _SlotMove(self, ends, move, board, pace).run(count)

    def _side_by_side(self, work: Sequence[Callable[[], None]], board: Board) -> None:
        """Run every lane; the first failure stops the others at their next safe point and is raised."""
        if self._threads == 1 or len(work) == 1:
            for one in work:
                one()
            return

        def guarded(one: Callable[[], None]) -> None:
            try:
                one()
            except BaseException:
                board.stop()
                raise

        with ThreadPoolExecutor(max_workers=max(1, min(self._threads, len(work)))) as pool:
            futures = [pool.submit(guarded, one) for one in work]
            try:
                failures = [future.exception() for future in futures]
            except BaseException:
                # An interrupt of the caller; the lanes must not go on for hours.
                board.stop()
                raise
        for failure in failures:
            if failure is not None and not isinstance(failure, _Stopped):
                raise failure


class _Ends:
    """The connections to both ends of a move."""

    def __init__(self, connect: Connector, move: Move) -> None:
        self.source = connect(move.source.node)
        self.target = connect(move.target.node)

    def __enter__(self) -> _Ends:
        return self

    def __exit__(self, *_exc_info: object) -> None:
        self.source.close()
        self.target.close()


class _KeyMove:
    """Moves the keys of slots from one server to another, and nothing else."""

    def __init__(self, mover: SlotMover, ends: _Ends, move: Move, board: Board, pace: Pace) -> None:
        self._limits = mover.limits
        self._clock = mover.clock
        self._source, self._target = ends.source, ends.target
        self._from, self._to = move.source, move.target
        self._slots = move.slots
        self._board = board
        self._pace = pace
        self._encoder = MigrateEncoder(move.target, mover.credentials.username, mover.credentials.password)
        self._open_slots: list[int] = []
        # Slots of which the target had no key at first, so that what it has now can only come from this move.
        self._clean: set[int] = set()
        self._scripts = self._sizes = True
        self._transactions = False
        self._freeze = 0
        self._largest_key = 0
        self._largest_key_because = ""

    def run(self, counts: Mapping[int, int]) -> None:
        """Move all slots. The counts of keys only serve to make good portions of them."""
        try:
            self._move_all(counts)
        except RedisProblem as problem:
            raise self._failed_by(problem) from problem

    def _move_all(self, counts: Mapping[int, int]) -> None:
        raise NotImplementedError

    # --- before ---

    def _learn(self) -> None:
        """Find out what the servers allow."""
        node_timeout = _setting(self._source, "cluster-node-timeout", _NODE_TIMEOUT)
        node_timeout = min(node_timeout, _setting(self._target, "cluster-node-timeout", _NODE_TIMEOUT))
        self._freeze = int(min(_FREEZE_SECONDS * 1000, node_timeout / _FREEZE_SHARE))
        by_time = int(node_timeout / 2 / 1000 * self._limits.huge_key_rate)
        by_bulk = _setting(self._target, "proto-max-bulk-len", _LARGEST_BULK)
        by_query = _setting(self._target, "client-query-buffer-limit", 2 * _LARGEST_BULK)
        self._largest_key, self._largest_key_because = min(
            (
                by_time,
                f"it would keep both servers busy for too much of the cluster-node-timeout of {node_timeout} ms; raise "
                "cluster-node-timeout on both for the move",
            ),
            (by_bulk, f"{self._to.name} takes no value above its proto-max-bulk-len; raise it there"),
            (by_query, f"{self._to.name} takes no command above its client-query-buffer-limit; raise it there"),
        )
        self._refuse_databases()
        self._probe_permissions()

    def _refuse_databases(self) -> None:
        found = database_keys(parse_info(str(self._source.call("INFO", "keyspace"))))
        if found:
            inside = join_names(f"database {number} ({plural(keys, 'key')})" for number, keys in found.items())
            raise MoveFailed(
                "databases",
                f"{self._from.name} holds keys in {inside}, and only those of database 0 can be moved one by one; use "
                "the atomic slot migration of Valkey 9, or move these keys to database 0. Nothing was moved.",
            )

    def _probe_permissions(self) -> None:
        """A user may lack the right to run scripts or to ask for sizes; moving only becomes slower."""
        size, script = self._source.pipeline([("MEMORY", "USAGE", "tyk"), ("EVAL", "return 1", 0)])
        # Valkey first lets its replicas acknowledge SETSLOT, for which it waits, and it cannot wait in a transaction.
        product = parse_info(str(self._target.call("INFO", "server"))).get("server_name", "redis")
        begun = self._target.pipeline([("MULTI",), ("DISCARD",)])
        self._transactions = product == "redis" and begun == ["OK", "OK"]
        self._sizes = not _is_forbidden(size)
        self._scripts = self._sizes and not _is_forbidden(script)

    def _lines(self) -> tuple[MemberLine, MemberLine]:
        """What both ends say about themselves; both must be the primaries that they were."""
        return (
            self._own_line(self._source, self._from, "lost-source"),
            self._own_line(self._target, self._to, "lost-target"),
        )

    def _own_line(self, connection: RedisConnection, member: Member, kind: str) -> MemberLine:
        lines = parse_cluster_nodes(str(connection.call("CLUSTER", "NODES")))
        me = next(line for line in lines if "myself" in line.flags)
        if me.node_id != member.node_id or me.role != "primary":
            what = f"is now a {me.role}" if me.node_id == member.node_id else f"has now the id {me.node_id}"
            raise self._failed(kind, f"{member.name} is not the primary that it was when the move began: it {what}.")
        return me

    # --- fetching ---

    def _fetch(self, slots: Sequence[int], counts: Mapping[int, int]) -> list[Batch]:
        """The keys of slots in batches; refuses a key that is too large to be moved."""
        fetched: dict[int, Fetched] = {}
        listed = list(slots)
        if self._scripts:
            small = [slot for slot in slots if counts.get(slot, 0) < KEYS_PER_FETCH]
            for portion in self._portions(small, counts):
                fetched.update(self._fetch_by_script(portion))
            listed = [slot for slot in slots if slot not in fetched]
        for slot in listed:
            fetched[slot] = self._list(slot)
        for slot, found in fetched.items():
            self._refuse_huge(slot, found)
        return [batch for slot in slots for batch in fetched[slot].batches]

    def _portions(self, slots: Sequence[int], counts: Mapping[int, int]) -> Iterable[list[int]]:
        """So many slots that asking for the sizes of their keys does not keep the source busy for long."""
        most = self._pace.budget * _SIZED_PER_MOVED
        portion: list[int] = []
        keys = 0
        for slot in slots:
            if portion and keys + counts.get(slot, 0) > most:
                yield portion
                portion, keys = [], 0
            portion.append(slot)
            keys += counts.get(slot, 0)
        if portion:
            yield portion

    def _fetch_by_script(self, slots: Sequence[int]) -> dict[int, Fetched]:
        most = (self._pace.keys, self._pace.size)
        words = [command("EVAL", FETCH_SCRIPT, 0, slot, KEYS_PER_FETCH, *most) for slot in slots]
        fetched: dict[int, Fetched] = {}
        for slot, reply in zip(slots, self._source.packed(words, "EVAL")):
            found = read_fetch(slot, reply)
            if found is None:
                # Whatever the servers have against this script, the same can be asked without it.
                self._scripts = False
            elif found.keys < KEYS_PER_FETCH:
                fetched[slot] = found
        return fetched

    def _list(self, slot: int) -> Fetched:
        number = self._source.call("CLUSTER", "COUNTKEYSINSLOT", slot)
        keys = self._source.call("CLUSTER", "GETKEYSINSLOT", slot, number) if number else []
        if not self._sizes:
            return cut(slot, keys, [0] * len(keys), min(_KEYS_OF_UNKNOWN_SIZE, self._pace.keys), self._pace.size)
        sizes: list[int] = []
        for portion in _portions(keys, _COMMANDS_PER_PIPELINE):
            replies = self._source.pipeline(self._size_commands(portion))
            sizes += self._read_sizes(replies)
        return cut(slot, keys, sizes, self._pace.keys, self._pace.size)

    def _size_commands(self, keys: Sequence[str]) -> list[tuple[Word, ...]]:
        return [("MEMORY", "USAGE", to_bytes(key)) for key in keys]

    def _read_sizes(self, replies: Sequence[object]) -> list[int]:
        """A key without a size has expired, or moved already; it goes into a batch of its own."""
        return [reply if isinstance(reply, int) else self._limits.batch_bytes for reply in replies]

    def _refuse_huge(self, slot: int, fetched: Fetched) -> None:
        if fetched.largest > self._largest_key:
            key = printable(fetched.largest_key)
            raise self._failed(
                "big-key",
                f"The key {key} in slot {slot} of {self._from.name} takes {fetched.largest} bytes of memory, and at "
                f"most {self._largest_key} can be moved at once: {self._largest_key_because}, split the value, or use "
                "servers with atomic slot migration.",
            )

    # --- moving ---

    def _empty(self, slots: Sequence[int], batches: Sequence[Batch]) -> None:
        """Move keys until the source holds none of these slots."""
        fewest, since = -1, self._clock.now()
        while True:
            self._migrate(batches)
            left = {slot: count for slot, count in _count_keys(self._source, slots).items() if count}
            if not left:
                return
            total = sum(left.values())
            if fewest < 0 or total < fewest:
                fewest, since = total, self._clock.now()
            elif self._clock.now() - since > self._limits.timeout:
                raise self._failed(
                    "no-progress",
                    f"{plural(total, 'key')} of {slots_text(left)} stayed on {self._from.name} for "
                    f"{self._limits.timeout:g} s although it reported no error; see its log.",
                )
            slots = list(left)
            batches = self._fetch(slots, left)

    def _migrate(self, batches: Sequence[Batch]) -> None:
        most = max(1, self._freeze // _LEAST_MIGRATE_TIMEOUT)
        for flush in self._pace.flushes(batches, most):
            began = self._clock.now()
            replies = self._send(flush, max(_LEAST_MIGRATE_TIMEOUT, self._freeze // len(flush)))
            self._pace.took(sum(batch.cost for batch in flush), (self._clock.now() - began) * 1000)
            self._judge(flush, replies)
            self._rest(began)
            if self._pace.wants_a_look(self._clock.now()):
                self._look()

    def _watch(self) -> None:
        """Find out whether clients work on the source, before the first key moves."""
        if self._pace.wants_a_look(self._clock.now()):
            self._look()
            self._clock.sleep(_SECONDS_OF_FIRST_LOOK)
            self._look()

    def _look(self) -> None:
        reply = self._source.pipeline([("INFO", "commandstats")])[0]
        calls = None if isinstance(reply, RedisProblem) else client_calls(parse_info(str(reply)))
        self._pace.saw(self._clock.now(), calls)

    def _rest(self, began: float) -> None:
        """Leave the servers to their clients for a while, in proportion to the time since then."""
        if self._pace.load < 1:
            self._clock.sleep((self._clock.now() - began) * (1 / self._pace.load - 1))

    def _send(self, batches: Sequence[Batch], milliseconds: int, *, replace: bool = False) -> list[Any]:
        packed, seconds = [], 0.0
        for batch in batches:
            timeout = milliseconds + int(batch.size * 1000 / self._limits.huge_key_rate)
            # Connecting, sending and reading may each take so long.
            seconds += 3 * timeout / 1000
            packed.append(self._encoder.pack(batch.keys, batch.count, timeout, replace=replace))
        return self._source.packed(packed, "MIGRATE", seconds)

    def _judge(self, batches: Sequence[Batch], replies: Sequence[object]) -> None:
        again = []
        keys = size = 0
        for batch, reply in zip(batches, replies):
            if not isinstance(reply, RedisProblem):
                if reply == "OK":
                    keys += batch.count
                    size += batch.size
            elif "IOERR" in reply.detail:
                again.append((self._retry, batch))
            elif "BUSYKEY" in reply.detail:
                again.append((self._settle, batch))
            else:
                raise self._refused_by_target(reply)
        for handle, batch in again:
            handle(batch)
            keys += batch.count
            size += batch.size
        self._board.add(keys=keys, size=size)

    def _retry(self, batch: Batch) -> None:
        """Move keys of which a broken connection left open whether they have arrived."""
        for left in self._clock.polls(self._limits.timeout, 0.2, 2.0):
            # Not before the target answers, because the source serves nobody while it waits for it.
            if self._target_answers():
                self._hang_up_late()
                reply = self._send([batch], self._freeze, replace=batch.slot in self._clean)[0]
                if not isinstance(reply, RedisProblem):
                    return
                if "BUSYKEY" in reply.detail:
                    self._settle(batch)
                    return
                if "IOERR" not in reply.detail:
                    raise self._refused_by_target(reply)
            if not left:
                raise self._failed(
                    "lost-target",
                    f"{self._from.name} could not hand keys of slot {batch.slot} to {self._to.name} at "
                    f"{self._to.host}:{self._to.port} for {self._limits.timeout:g} s; check that {self._to.name} "
                    "is up and that this address can be reached from there.",
                )

    def _target_answers(self) -> bool:
        try:
            self._own_line(self._target, self._to, "lost-target")
        except RedisProblem:
            return False
        return True

    def _hang_up_late(self) -> None:
        """End connections on which an old MIGRATE may still arrive, after newer data has been written."""
        listing = self._target.pipeline([("CLIENT", "LIST", "TYPE", "normal")])[0]
        # Who may not list clients cannot hang up on them either; then only the order of packets protects.
        for line in str(listing).splitlines() if not isinstance(listing, RedisProblem) else ():
            fields = dict(word.partition("=")[::2] for word in line.split())
            idle = fields.get("idle", "0")
            if fields.get("cmd") in _LATE_COMMANDS and idle.isdigit() and int(idle) >= 1:
                self._target.pipeline([("CLIENT", "KILL", "ID", fields["id"])])

    def _refused_by_target(self, problem: RedisProblem) -> MoveFailed:
        """An error of MIGRATE after which the state of no key is in doubt."""
        detail = problem.detail.rstrip(".")
        ends = f"{self._from.name} could not hand keys to {self._to.name} ({self._to.host}:{self._to.port})"
        if problem.kind == "password" or any(word in detail for word in ("NOPERM", "NOAUTH", "WRONGPASS")):
            return self._failed(
                "refused",
                f"{ends}, because it was not let in or lacks a right ({detail}); the user must be defined alike on "
                "both, with the right to run SELECT and RESTORE.",
            )
        if "OOM" in detail:
            return self._failed("refused", f"{ends}, whose memory is full; raise its maxmemory.")
        lost = any(word in detail for word in ("MOVED", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "LOADING"))
        if lost and "arget instance" in detail:
            return self._failed("lost-target", f"{ends}, which does not take them now ({detail}).")
        if lost:
            return self._failed("lost-source", f"{self._from.name} does not serve these keys now ({detail}).")
        return self._failed("refused", f"{ends} ({detail}).")

    # --- keys that are on both ends ---

    def _settle(self, batch: Batch) -> None:
        """Move a batch of which some keys are on both ends; those that differ stop the move."""
        for key in keys_of(batch):
            ours = self._copy_at_source(key)
            if ours is None:
                continue
            theirs = self._copy_at_target(key)
            if theirs is None:
                self._migrate_settled(batch.slot, key, replace=False)
            elif self._same(key, ours, theirs):
                self._drop_double(batch.slot, key)
            else:
                raise self._failed(
                    "conflict",
                    f"The key {printable(key.decode('utf-8', 'surrogateescape'))} in slot {batch.slot} is on "
                    f"{self._from.name} and on {self._to.name} with different values; neither was overwritten. Find "
                    "out which one is right, and delete the other one.",
                )

    def _migrate_settled(self, slot: int, key: bytes, *, replace: bool) -> None:
        reply = self._send([single(slot, key)], self._freeze, replace=replace)[0]
        if isinstance(reply, RedisProblem):
            raise self._refused_by_target(reply)

    def _drop_double(self, slot: int, key: bytes) -> None:
        """Leave one of two identical copies."""
        self._migrate_settled(slot, key, replace=True)

    def _same(self, key: bytes, ours: Copy, theirs: Copy) -> bool:
        if ours.equals(theirs):
            return True
        read = ours.read_members(theirs)
        if read is None:
            return False
        words = (read, key)
        return same_members(read, self._call_source(words), _call_asking(self._target, words))

    def _copy_at_source(self, key: bytes) -> Copy | None:
        return _read_copy(self._source.pipeline([("DUMP", key), ("PTTL", key)]))

    def _copy_at_target(self, key: bytes) -> Copy | None:
        return _read_copy(self._target.pipeline([("ASKING",), ("DUMP", key), ("ASKING",), ("PTTL", key)])[1::2])

    def _call_source(self, words: Sequence[Word]) -> Any:
        return self._source.call(*words)

    # --- failures ---

    def _failed(self, kind: str, sentence: str) -> MoveFailed:
        if not self._open_slots:
            return MoveFailed(kind, f"{sentence} No slot was left open.")
        number = "stays" if len(self._open_slots) == 1 else "stay"
        return MoveFailed(
            kind,
            f"{sentence} Meanwhile {slots_text(self._open_slots)} {number} open between {self._from.name} and "
            f"{self._to.name}, where clients find every key; run again to go on.",
        )

    def _failed_by(self, problem: RedisProblem) -> MoveFailed:
        if problem.kind in ("error", "acl", "password", "protected"):
            return self._failed("refused", str(problem))
        kind = "lost-source" if problem.address == str(self._source.address) else "lost-target"
        return self._failed(kind, str(problem))

    def _set_slots(self, connection: RedisConnection, slots: Sequence[int], *words: Word) -> list[Any]:
        replies: list[Any] = []
        for portion in _portions(slots, _COMMANDS_PER_PIPELINE):
            packed = [command("CLUSTER", "SETSLOT", slot, *words) for slot in portion]
            replies += connection.packed(packed, "CLUSTER SETSLOT")
        return replies

    def _expect_ok(self, kind: str, replies: Sequence[object]) -> None:
        for reply in replies:
            if isinstance(reply, Exception):
                detail = reply.detail if isinstance(reply, RedisProblem) else str(reply)
                lost = any(text in detail for text in ("with masters", "not the owner", "already the owner"))
                raise self._failed(kind if lost else "refused", str(reply))


class _SlotMove(_KeyMove):
    """Moves slots with their keys from their owner to a new one."""

    def _move_all(self, counts: Mapping[int, int]) -> None:
        slots = self._finish_moved()
        if not slots:
            return
        self._learn()
        if any(counts.get(slot) for slot in slots):
            self._watch()
        for window in windows(slots, counts, self._pace):
            began = self._clock.now()
            batches = self._fetch([slot for slot in window if counts.get(slot)], counts)
            self._open(window)
            self._rest(began)
            self._empty(window, batches)
            began = self._clock.now()
            self._hand_over(window)
            self._rest(began)
            self._board.add(slots=len(window))

    def _finish_moved(self) -> list[int]:
        """The slots that are still to be moved; those that a dead run has moved are only finished."""
        every = list(each_slot(self._slots))
        me_target = self._own_line(self._target, self._to, "lost-target")
        there = set(each_slot(me_target.slots))
        moved = [slot for slot in every if slot in there]
        slots = [slot for slot in every if slot not in there]
        if moved:
            left = [slot for slot, count in _count_keys(self._source, moved).items() if count]
            if left:
                raise self._failed(
                    "conflict",
                    f"{self._to.name} owns {slots_text(left)} already, and {self._from.name} still holds keys of it.",
                )
            self._tell_source(moved)
            self._board.add(slots=len(moved))
        if slots:
            me_source = self._own_line(self._source, self._from, "lost-source")
            strange = sorted(set(slots) - set(each_slot(me_source.slots)))
            if strange:
                raise self._failed("lost-source", f"{self._from.name} does not own {slots_text(strange)} any more.")
        return slots

    def _open(self, window: Sequence[int]) -> None:
        """Mark slots at the target first, so that it takes whom the source sends there."""
        before = _count_keys(self._target, window)
        self._clean = {slot for slot, count in before.items() if not count}
        self._expect_ok("lost-target", self._set_slots(self._target, window, "IMPORTING", self._from.node_id))
        self._open_slots = list(window)
        self._expect_ok("lost-source", self._set_slots(self._source, window, "MIGRATING", self._to.node_id))

    def _hand_over(self, window: Sequence[int]) -> None:
        if self._transactions:
            packed = take_over(window, self._to.node_id)
            replies = self._target.packed(packed, "CLUSTER SETSLOT")
            self._expect_ok("lost-target", [*replies, *(replies[-1] if isinstance(replies[-1], list) else ())])
        else:
            self._expect_ok("lost-target", self._set_slots(self._target, window, "NODE", self._to.node_id))
        self._tell_source(window)
        self._open_slots = []

    def _tell_source(self, slots: Sequence[int]) -> None:
        replies = self._set_slots(self._source, slots, "NODE", self._to.node_id)
        # A primary that has lost its last slot may have become a replica by itself; it has heard of its loss then.
        # Valkey says UNBLOCKED where that happened while it waited for its own replicas to hear of the change.
        heard = ("with masters", "UNBLOCKED")
        self._expect_ok(
            "lost-source",
            [
                reply
                for reply in replies
                if not (isinstance(reply, RedisProblem) and any(text in reply.detail for text in heard))
            ],
        )


class _OrphanMove(_KeyMove):
    """Moves keys from a server that does not own their slots to the owner, whose copies win."""

    def _move_all(self, counts: Mapping[int, int]) -> None:
        holder, owner = self._lines()
        slots = list(each_slot(self._slots))
        owned, held = set(each_slot(owner.slots)), set(each_slot(holder.slots))
        strange = [slot for slot in slots if slot not in owned or slot in held]
        if strange:
            raise self._failed("lost-target", f"{self._to.name} is not the only owner of {slots_text(strange)}.")
        self._learn()
        # A script cannot read keys of slots that others own.
        self._scripts = False
        self._watch()
        for window in windows([slot for slot in slots if counts.get(slot)], counts, self._pace):
            # Without this mark a server sends MIGRATE away to the owner.
            self._expect_ok("lost-source", self._set_slots(self._source, window, "IMPORTING", self._to.node_id))
            self._empty(window, self._fetch(window, counts))
            self._expect_ok("lost-source", self._set_slots(self._source, window, "STABLE"))
            self._board.add(slots=len(window))

    def _failed(self, kind: str, sentence: str) -> MoveFailed:
        return MoveFailed(
            kind,
            f"{sentence} What {self._from.name} still holds of the slots {format_ranges(self._slots)} stays there.",
        )

    def _size_commands(self, keys: Sequence[str]) -> list[tuple[Word, ...]]:
        return [words for key in keys for words in (("ASKING",), ("MEMORY", "USAGE", to_bytes(key)))]

    def _read_sizes(self, replies: Sequence[object]) -> list[int]:
        return super()._read_sizes(replies[1::2])

    def _copy_at_source(self, key: bytes) -> Copy | None:
        return _read_copy(self._source.pipeline([("ASKING",), ("DUMP", key), ("ASKING",), ("PTTL", key)])[1::2])

    def _call_source(self, words: Sequence[Word]) -> Any:
        return _call_asking(self._source, words)

    def _drop_double(self, slot: int, key: bytes) -> None:
        """Delete the orphan, and never overwrite the owner's copy, which clients may be changing at this moment."""
        self._call_source(("DEL", key))


def _read_copy(replies: Sequence[object]) -> Copy | None:
    """Read the replies of DUMP and PTTL; None where there is no such key."""
    for reply in replies:
        if isinstance(reply, RedisProblem) and not reply.detail.startswith("ASK"):
            raise reply
    dump, expiry = replies
    return Copy(to_bytes(dump), expiry) if isinstance(dump, str) and isinstance(expiry, int) else None


def _call_asking(connection: RedisConnection, words: Sequence[Word]) -> Any:
    """Ask a server that is importing the slot of this key."""
    reply = connection.pipeline([("ASKING",), words])[1]
    if isinstance(reply, RedisProblem):
        raise reply
    return reply


def _count_keys(connection: RedisConnection, slots: Sequence[int]) -> dict[int, int]:
    counts: dict[int, int] = {}
    for portion in _portions(slots, _COMMANDS_PER_PIPELINE):
        replies = connection.packed(
            [command("CLUSTER", "COUNTKEYSINSLOT", slot) for slot in portion], "CLUSTER COUNTKEYSINSLOT"
        )
        for slot, reply in zip(portion, replies):
            if isinstance(reply, RedisProblem):
                raise reply
            counts[slot] = int(reply)
    return counts


def _portions(items: Sequence[Any], size: int) -> Iterable[Sequence[Any]]:
    for first in range(0, len(items), size):
        yield items[first : first + size]


def _setting(connection: RedisConnection, name: str, default: int) -> int:
    """A number from the configuration; the default where it may not be read, or is not known."""
    reply = connection.pipeline([("CONFIG", "GET", name)])[0]
    if isinstance(reply, list) and len(reply) == 2 and str(reply[1]).isdigit():
        return int(reply[1])
    return default


def _is_forbidden(reply: object) -> bool:
    if not isinstance(reply, RedisProblem):
        return False
    return reply.kind == "acl" or "unknown command" in reply.detail.lower()
