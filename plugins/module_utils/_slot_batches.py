# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who gives which slots to whom, in what portions, and what the servers' replies to that mean. No I/O.

Private to this collection. A portion is bounded by the count of its keys, by their bytes and by the time for which it
keeps a server busy, because MIGRATE blocks both of its ends until it is done.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ansible_collections.apiops.tyk_redis.plugins.module_utils._cluster_view import (
    DeclaredNode,
    SlotRanges,
    count_slots,
    each_slot,
    format_ranges,
    plural,
    to_ranges,
    version_tuple,
)

KEYS = "keys"
MIGRATESLOTS = "migrateslots"
MIGRATION = "migration"

_MEBIBYTE = 1024 * 1024

# A window's marks and its handing over hold its servers up all at once, and clients are redirected while it is open:
# smaller ones are gentler, larger ones faster. More empty slots go into one, because each costs only a few marks.
_SLOTS_PER_WINDOW = 64
_SLOTS_PER_GENTLE_WINDOW = 32
_EMPTY_SLOTS_PER_WINDOW = 512
_KEYS_PER_WINDOW = 8192

# A slot with more keys than this is listed as a whole, and its keys are sized by hand, before it is touched.
KEYS_PER_FETCH = 2000

# What a key costs beside its bytes, expressed in bytes: both are about equal for a value of this size.
_BYTES_LIKE_ONE_KEY = 4096
_SMALLEST_BUDGET = 16.0
_FIRST_BUDGET = 128.0
_LARGEST_BUDGET = 16384.0

# While clients work on the source, and while they do not: milliseconds at a time, and the share of the time. Measured
# with three sources and three targets on two cores: the first keeps the 99th percentile of latency below twice that of
# moving ten keys at a time, and is still faster.
_GENTLE_STALL, _GENTLE_LOAD = 1.0, 0.15
_QUICK_STALL, _QUICK_LOAD = 5.0, 1.0
# Commands a second from which on clients count as working, and how often to look.
_BUSY_RATE = 20.0
SECONDS_BETWEEN_LOOKS = 0.5
# Commands that no client works with: those of this collection, of replicas, and of whoever watches a server.
_NO_WORK = frozenset(
    word
    for line in (
        "acl asking auth bgrewriteaof bgsave client cluster command config dbsize debug discard dump eval exec",
        "function hello info lastsave latency memory migrate module multi object ping psync pttl quit readonly",
        "replconf replicaof reset restore restore-asking role save script select slowlog sync time wait",
    )
    for word in line.split()
)

# The keys of one slot with their sizes, already cut into batches and encoded as MIGRATE wants them. Replies with
# the number of keys, the size of the largest one and its name, and then three items a batch: count, bytes, keys.
FETCH_SCRIPT = b"""local keys = redis.call('CLUSTER', 'GETKEYSINSLOT', ARGV[1], ARGV[2])
local most_keys, most_bytes = tonumber(ARGV[3]), tonumber(ARGV[4])
local out = {#keys, 0, ''}
local part, count, bytes = {}, 0, 0
for _, key in ipairs(keys) do
  local size = redis.pcall('MEMORY', 'USAGE', key)
  if type(size) ~= 'number' then size = 0 end
  if size > out[2] then out[2] = size; out[3] = key end
  if count > 0 and (count >= most_keys or bytes + size > most_bytes) then
    out[#out + 1] = count; out[#out + 1] = bytes; out[#out + 1] = table.concat(part)
    part, count, bytes = {}, 0, 0
  end
  count = count + 1
  bytes = bytes + size
  part[count] = '$' .. #key .. '\\r\\n' .. key .. '\\r\\n'
end
if count > 0 then out[#out + 1] = count; out[#out + 1] = bytes; out[#out + 1] = table.concat(part) end
return out"""


# --- what is to be moved ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Member:
    """A primary at an end of a move, as observed.

    Host and port are those of CLUSTER NODES: what the other servers, and so MIGRATE, must use to reach it.
    """

    node: DeclaredNode
    node_id: str
    host: str
    port: int

    @property
    def name(self) -> str:
        return self.node.name


@dataclass(frozen=True)
class Move:
    """Slots that change their owner. The method is KEYS, MIGRATESLOTS (Valkey 9.0) or MIGRATION (Redis 8.4)."""

    source: Member
    target: Member
    slots: SlotRanges
    method: str = KEYS


@dataclass(frozen=True)
class Limits:
    """How gently slots are moved.

    Attributes:
        stall: milliseconds for which moving may keep a server busy at a time; less of it moves slower. None chooses
            it by whether clients work on the source.
        batch_keys: the most keys in one MIGRATE.
        batch_bytes: the most bytes in one MIGRATE, by MEMORY USAGE; only a single key may exceed it.
        huge_key_rate: bytes per second at which a single huge key is supposed to move.
        timeout: seconds that may pass without any progress.
        load: the share of its time, above 0 and up to 1, that a source is kept at moving; the rest is the clients'.
            None chooses it likewise.
    """

    stall: float | None = None
    batch_keys: int = 200
    batch_bytes: int = 2 * _MEBIBYTE
    huge_key_rate: int = 50 * _MEBIBYTE
    timeout: float = 60.0
    load: float | None = None


@dataclass(frozen=True)
class Progress:
    """How far all moves together have come. The bytes are an estimate; the totals were counted at the start."""

    keys: int
    bytes: int
    slots: int
    keys_total: int
    slots_total: int
    seconds: float


Totals = Progress


class MoveFailed(Exception):
    """Moving has stopped. The text is finished: it says why, what state that leaves, and what to do.

    Attributes:
        kind: "conflict" (a key differs on both ends), "big-key", "databases" (keys outside of database 0),
            "lost-source" or "lost-target" (not the primary that it was, or silent), "refused" (by a server's rules),
            "no-progress", or "atomic" (the servers gave their own migration up).
    """

    def __init__(self, kind: str, sentence: str) -> None:
        super().__init__(sentence)
        self.kind = kind


def method_for(source: Iterable[tuple[str, str]], target: Iterable[tuple[str, str]]) -> str:
    """The best method between two shards, given (product, version) of every primary and replica of each."""
    servers = {*source, *target}
    if servers and all(product == "valkey" and version_tuple(version) >= (9,) for product, version in servers):
        return MIGRATESLOTS
    if servers and all(product == "redis" and version_tuple(version) >= (8, 4) for product, version in servers):
        return MIGRATION
    return KEYS


def rounds(moves: Sequence[Move]) -> list[list[int]]:
    """The numbers of the moves that may run side by side: in no round a node both gives and takes.

    A node that takes a slot gets a new config epoch, and would win back with it, from its new owner and with all keys
    lost, a slot that it has just given away and does not know yet to be gone.
    """
    found: list[list[int]] = []
    for number, move in enumerate(moves):
        for others in found:
            if not any(_in_turn(move, moves[other]) for other in others):
                others.append(number)
                break
        else:
            found.append([number])
    return found


def _in_turn(one: Move, other: Move) -> bool:
    return one.source.node_id == other.target.node_id or one.target.node_id == other.source.node_id


# --- portions --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Batch:
    """Keys of one slot for one MIGRATE, encoded as bulk strings. The size in bytes is an estimate."""

    slot: int
    count: int
    size: int
    keys: bytes

    @property
    def cost(self) -> float:
        """In units of one small key."""
        return self.count + self.size / _BYTES_LIKE_ONE_KEY


@dataclass(frozen=True)
class Fetched:
    """What a slot holds: its keys in batches, and the largest one."""

    keys: int
    largest: int
    largest_key: str
    batches: tuple[Batch, ...]


def windows(slots: Sequence[int], counts: Mapping[int, int], pace: Pace) -> Iterator[tuple[int, ...]]:
    """Cut slots into windows that are marked, moved and handed over together; empty slots by themselves.

    The size of each window is that of the pace at the time when it is asked for.
    """
    empty = [slot for slot in slots if not counts.get(slot)]
    for first in range(0, len(empty), _EMPTY_SLOTS_PER_WINDOW):
        yield tuple(empty[first : first + _EMPTY_SLOTS_PER_WINDOW])
    window: list[int] = []
    keys = 0
    for slot in slots:
        count = counts.get(slot, 0)
        if not count:
            continue
        if window and (len(window) >= pace.slots or keys + count > _KEYS_PER_WINDOW):
            yield tuple(window)
            window, keys = [], 0
        window.append(slot)
        keys += count
    if window:
        yield tuple(window)


def read_fetch(slot: int, reply: object) -> Fetched | None:
    """Read a reply of FETCH_SCRIPT; None for anything else."""
    if not isinstance(reply, list) or len(reply) < 3 or len(reply) % 3 or not isinstance(reply[0], int):
        return None
    batches = tuple(Batch(slot, reply[at], reply[at + 1], to_bytes(reply[at + 2])) for at in range(3, len(reply), 3))
    return Fetched(reply[0], reply[1], reply[2], batches)


def cut(slot: int, keys: Sequence[str], sizes: Sequence[int], most_keys: int, most_bytes: int) -> Fetched:
    """Do what FETCH_SCRIPT does, where the server may not."""
    batches: list[Batch] = []
    part: list[bytes] = []
    total = 0
    largest, largest_key = 0, ""
    for key, size in zip(keys, sizes):
        if size > largest:
            largest, largest_key = size, key
        if part and (len(part) >= most_keys or total + size > most_bytes):
            batches.append(Batch(slot, len(part), total, b"".join(part)))
            part, total = [], 0
        part.append(bulk(key))
        total += size
    if part:
        batches.append(Batch(slot, len(part), total, b"".join(part)))
    return Fetched(len(keys), largest, largest_key, tuple(batches))


class Pace:
    """How much one flush of batches may cost, so that it keeps a server busy for about the wanted time.

    It grows slowly while flushes are short and shrinks fast when one is long, down to a floor: what is long about a
    small flush is the way to the server, which no smaller one makes shorter.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._looked: float | None = None
        self._calls: int | None = None
        self.busy = False
        self.budget = _FIRST_BUDGET

    @property
    def watches(self) -> bool:
        """Whether it matters what clients do."""
        return self._limits.stall is None or self._limits.load is None

    def wants_a_look(self, now: float) -> bool:
        """Whether it is time to look again at what clients do."""
        return self.watches and (self._looked is None or now - self._looked >= SECONDS_BETWEEN_LOOKS)

    def saw(self, now: float, calls: int | None) -> None:
        """Learn how many commands of clients the source has carried out so far; None if it may not be known."""
        if calls is None:
            self.busy = True
        elif self._looked is not None and self._calls is not None and now > self._looked:
            self.busy = (calls - self._calls) / (now - self._looked) > _BUSY_RATE
        self._looked, self._calls = now, calls

    @property
    def stall(self) -> float:
        """Milliseconds for which a flush may keep a server busy."""
        if self._limits.stall is not None:
            return self._limits.stall
        return _GENTLE_STALL if self.busy else _QUICK_STALL

    @property
    def load(self) -> float:
        """The share of its time that a source may be kept at moving."""
        if self._limits.load is not None:
            return self._limits.load
        return _GENTLE_LOAD if self.busy else _QUICK_LOAD

    @property
    def slots(self) -> int:
        """The most slots with keys for a window."""
        return _SLOTS_PER_GENTLE_WINDOW if self.load < 1 else _SLOTS_PER_WINDOW

    @property
    def keys(self) -> int:
        """The most keys for a batch."""
        return max(1, min(self._limits.batch_keys, int(self.budget)))

    @property
    def size(self) -> int:
        """The most bytes for a batch."""
        return min(self._limits.batch_bytes, int(self.budget * _BYTES_LIKE_ONE_KEY))

    def flushes(self, batches: Sequence[Batch], most: int) -> Iterator[list[Batch]]:
        """Cut batches into flushes of at most so many batches; the budget may change between two of them."""
        flush: list[Batch] = []
        cost = 0.0
        for batch in batches:
            if flush and (len(flush) >= most or cost + batch.cost > self.budget):
                yield flush
                flush, cost = [], 0.0
            flush.append(batch)
            cost += batch.cost
        if flush:
            yield flush

    def took(self, cost: float, milliseconds: float) -> None:
        """Learn from a flush."""
        if milliseconds > self.stall:
            self.budget = max(_SMALLEST_BUDGET, self.budget * 0.7)
        elif cost >= self.budget / 2:
            self.budget = min(_LARGEST_BUDGET, self.budget * 1.1)


# --- the protocol ----------------------------------------------------------------------------------------------------


def to_bytes(text: str) -> bytes:
    """The bytes of a reply that was decoded so that nothing is lost."""
    return text.encode("utf-8", "surrogateescape")


def printable(key: str) -> str:
    """A key for a sentence: on one line, not too long."""
    shown = ascii(key)
    return shown if len(shown) <= 120 else f"{shown[:100]}...' ({len(to_bytes(key))} bytes)"


def bulk(word: str | int | bytes) -> bytes:
    """A word as the protocol's bulk string."""
    raw = word if isinstance(word, bytes) else to_bytes(str(word))
    return b"$%d\r\n%b\r\n" % (len(raw), raw)


def _bulks(*words: str | int | bytes) -> bytes:
    return b"".join([bulk(word) for word in words])


def command(*words: str | int | bytes) -> bytes:
    """A command, packed."""
    return b"*%d\r\n%b" % (len(words), _bulks(*words))


def take_over(slots: Sequence[int], node_id: str) -> list[bytes]:
    """The commands by which the target becomes the owner of slots at once.

    A slot whose mark of being imported is ended by SETSLOT NODE makes the server send its whole state to all others,
    so that two of them suffice: the first, which gives it the highest epoch, and the last, when it owns all. The marks
    of those between are taken off before, in the same transaction, so that nobody finds them without mark and owner.
    """
    nodes = [command("CLUSTER", "SETSLOT", slot, "NODE", node_id) for slot in slots]
    if len(slots) < 3:
        return nodes
    packed = [command("MULTI"), nodes[0]]
    for slot, node in zip(slots[1:-1], nodes[1:-1]):
        packed += [command("CLUSTER", "SETSLOT", slot, "STABLE"), node]
    return [*packed, nodes[-1], command("EXEC")]


class MigrateEncoder:
    """Packs MIGRATE commands to one target."""

    def __init__(self, target: Member, username: str | None, password: str | None) -> None:
        self._start = _bulks("MIGRATE", target.host, target.port, "", 0)
        self._login: tuple[str, ...] = ()
        if password is not None:
            self._login = ("AUTH2", username, password) if username else ("AUTH", password)
        self._middle = _bulks(*self._login, "KEYS")

    def pack(self, keys: bytes, count: int, milliseconds: int, *, replace: bool) -> bytes:
        """One command for encoded keys. The milliseconds bound each of its reads and writes."""
        words = 5 + 1 + replace + len(self._login) + 1 + count
        switch = bulk("REPLACE") if replace else b""
        return b"*%d\r\n%b%b%b%b%b" % (words, self._start, bulk(milliseconds), switch, self._middle, keys)


def keys_of(batch: Batch) -> list[bytes]:
    """The keys of a batch, decoded."""
    keys: list[bytes] = []
    at = 0
    while at < len(batch.keys):
        end = batch.keys.index(b"\r\n", at)
        length = int(batch.keys[at + 1 : end])
        keys.append(batch.keys[end + 2 : end + 2 + length])
        at = end + 2 + length + 2
    return keys


def single(slot: int, key: bytes, size: int = 0) -> Batch:
    """A batch of one key."""
    return Batch(slot, 1, size, bulk(key))


def client_calls(stats: Mapping[str, str]) -> int:
    """How many commands clients have worked with, from the fields of INFO commandstats."""
    calls = 0
    for name, value in stats.items():
        command_name = name[len("cmdstat_") :].partition("|")[0].lower()
        if name.startswith("cmdstat_") and command_name not in _NO_WORK:
            number = dict(part.partition("=")[::2] for part in value.split(",")).get("calls", "")
            calls += int(number) if number.isdigit() else 0
    return calls


def database_keys(keyspace: Mapping[str, str]) -> dict[int, int]:
    """The number of keys in each database but the first, from the fields of INFO keyspace."""
    found: dict[int, int] = {}
    for name, value in keyspace.items():
        number = name[2:]
        if name.startswith("db") and number.isdigit() and int(number) > 0:
            keys = dict(part.partition("=")[::2] for part in value.split(",")).get("keys", "0")
            if keys.isdigit() and int(keys):
                found[int(number)] = int(keys)
    return found


# --- keys on both ends ---------------------------------------------------------------------------------------------

# The first byte of DUMP for a set and for a hash in a hash table, whose order is a server's own.
_READ_UNORDERED = {2: "SMEMBERS", 4: "HGETALL"}
# Both ends compute the time left of a key at slightly different moments.
_SAME_EXPIRY = 2000


@dataclass(frozen=True)
class Copy:
    """What DUMP and PTTL say about a key on one end; the expiry is in milliseconds, negative for none."""

    dump: bytes
    expiry: int

    def equals(self, other: Copy) -> bool:
        # The last ten bytes are the version of the format, which differs between servers, and a checksum.
        return self._expires_like(other) and self.dump[:-10] == other.dump[:-10]

    def read_members(self, other: Copy) -> str | None:
        """The command whose replies tell whether two dumps differ in their order only; None if they cannot."""
        if not self._expires_like(other) or self.dump[:1] != other.dump[:1] or len(self.dump) != len(other.dump):
            return None
        return _READ_UNORDERED.get(self.dump[0])

    def _expires_like(self, other: Copy) -> bool:
        return (self.expiry < 0) == (other.expiry < 0) and abs(self.expiry - other.expiry) <= _SAME_EXPIRY


def same_members(read: str, one: Sequence[str], other: Sequence[str]) -> bool:
    """Whether two replies of SMEMBERS or HGETALL hold the same."""
    if read == "HGETALL":
        return dict(zip(one[::2], one[1::2])) == dict(zip(other[::2], other[1::2]))
    return set(one) == set(other)


# --- atomic migrations -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Job:
    """A migration that the servers carry out by themselves."""

    job_id: str
    slots: SlotRanges
    source_id: str
    target_id: str
    state: str
    message: str

    @property
    def succeeded(self) -> bool:
        return self.state in ("success", "completed")

    @property
    def finished(self) -> bool:
        return self.succeeded or self.state in ("failed", "canceled", "cancelled")


def read_jobs(reply: object) -> list[Job]:
    """Read the reply of CLUSTER GETSLOTMIGRATIONS (Valkey) or CLUSTER MIGRATION STATUS (Redis)."""
    jobs = []
    for item in reply if isinstance(reply, list) else []:
        fields = _fields(item)
        jobs.append(
            Job(
                job_id=fields.get("name") or fields.get("id", ""),
                slots=_read_ranges(fields.get("slot_ranges") or fields.get("slots", "")),
                source_id=fields.get("source_node") or fields.get("source", ""),
                target_id=fields.get("target_node") or fields.get("dest", ""),
                state=fields.get("state", ""),
                message=fields.get("message") or fields.get("last_error", ""),
            )
        )
    return jobs


def _fields(item: object) -> dict[str, str]:
    """A map, as either version of the protocol sends it."""
    if isinstance(item, dict):
        return {str(key): str(value) for key, value in item.items()}
    words = [str(word) for word in item] if isinstance(item, list) else []
    return dict(zip(words[::2], words[1::2]))


def _read_ranges(text: str) -> SlotRanges:
    """Read "0-99 200 300-301", with spaces or commas."""
    slots: list[int] = []
    for word in text.replace(",", " ").split():
        first, _dash, last = word.partition("-")
        slots += range(int(first), int(last or first) + 1)
    return to_ranges(slots)


def overlap(one: SlotRanges, other: SlotRanges) -> SlotRanges:
    """The slots that are in both."""
    return to_ranges(set(each_slot(one)) & set(each_slot(other)))


def halves(slots: SlotRanges) -> tuple[SlotRanges, SlotRanges]:
    """Two portions of about one size; the second is empty for a single slot."""
    every = list(each_slot(slots))
    middle = (len(every) + 1) // 2
    return to_ranges(every[:middle]), to_ranges(every[middle:])


def slots_text(slots: Iterable[int]) -> str:
    """ "slot 5" or "3 slots (1-3)"."""
    ranges = to_ranges(slots)
    number = count_slots(ranges)
    return f"slot {ranges[0][0]}" if number == 1 else f"{plural(number, 'slot')} ({format_ranges(ranges)})"
