# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Simulated servers in simulated time: what the code that talks to servers can be run against, thousands of times.

Nothing happens by itself: time passes by Clock.sleep and, a little, by each command, and what is due meanwhile
(packets, timers, replication) happens in its order. One seed gives one history.
"""

from __future__ import annotations

import errno
import heapq
import itertools
import random
import socket
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

from redis.exceptions import ResponseError

from ansible_collections.apiops.tyk_redis.plugins.module_utils import _slot_batches
from ansible_collections.apiops.tyk_redis.plugins.module_utils._clock import Clock
from ansible_collections.apiops.tyk_redis.plugins.module_utils._cluster_view import DeclaredNode
from ansible_collections.apiops.tyk_redis.plugins.module_utils._redis_client import (
    Address,
    RedisConnection,
    Word,
)
from ansible_collections.apiops.tyk_redis.tests.unit.plugins.module_utils.simulation.bus import (
    FAIL,
    HANDSHAKE,
    NOADDR,
    PFAIL,
    PRIMARY,
    REPLICA,
    Member,
    each_bit,
    mask_of,
    range_text,
)
from ansible_collections.apiops.tyk_redis.tests.unit.plugins.module_utils.simulation.commands import (
    CommandError,
    execute,
    waits_for_handover,
)
from ansible_collections.apiops.tyk_redis.tests.unit.plugins.module_utils.simulation.server import SimServer, slot_of

Hook = Callable[[SimServer, tuple[str, ...]], None]

# How long one command keeps its client.
_COMMAND_SECONDS = 0.0003
_ATOMIC_MOVE_SECONDS = 0.2
_SETTLED_SECONDS = 3.0


@contextmanager
def few_slots(number: int, per_window: int = 4) -> Iterator[None]:
    """Let everything, tested and simulated, live in a world where a cluster has fewer slots than 16384.

    What is done slot by slot is done as often as there are slots, and nothing else about it depends on their number.
    """
    with ExitStack() as stack:
        for name, module in list(sys.modules.items()):
            if name.startswith("ansible_collections.apiops.tyk_redis.") and hasattr(module, "SLOTS"):
                stack.enter_context(mock.patch.object(module, "SLOTS", number))
                if hasattr(module, "ALL_SLOTS"):
                    pairs = isinstance(module.ALL_SLOTS, tuple)
                    everything = ((0, number - 1),) if pairs else (1 << number) - 1
                    stack.enter_context(mock.patch.object(module, "ALL_SLOTS", everything))
        stack.enter_context(mock.patch.object(_slot_batches, "_SLOTS_PER_WINDOW", per_window))
        stack.enter_context(mock.patch.object(_slot_batches, "_EMPTY_SLOTS_PER_WINDOW", 4 * per_window))
        slot_of.cache_clear()
        yield
    slot_of.cache_clear()


class Killed(BaseException):
    """The process that talks to the servers dies at this very command."""


class SimClock(Clock):
    """The time of a simulation."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation

    def now(self) -> float:
        return self._simulation.now

    def sleep(self, seconds: float) -> None:
        self._simulation.advance(seconds)


class Simulation:
    """All servers, and the time.

    Attributes:
        before_command, after_command: called with the server and the words of every command of a RedisConnection; they
            may raise Killed, look at the servers, or kill one.
        forbidden: commands that the user may not run, as "EVAL" or "CLIENT LIST".
        migrate_fault: called with source, target and key; "before" breaks MIGRATE before the key is sent, "after"
            when it is on both ends.
        acknowledged: what client_set() wrote and the servers confirmed.
        sizes: what MEMORY USAGE says of a key, where it is not computed.
    """

    def __init__(self, seed: int = 0, server: str = "redis-7.0") -> None:
        self.random = random.Random(seed)
        self.version = server
        self.now = 1000.0
        self.servers: dict[Address, SimServer] = {}
        self.clock = SimClock(self)
        self.before_command: list[Hook] = []
        self.after_command: list[Hook] = []
        self.forbidden: set[str] = set()
        self.migrate_fault: Callable[[SimServer, SimServer, str], str] | None = None
        self.password: str | None = None
        self.acknowledged: dict[str, str] = {}
        self.sizes: dict[str, int] = {}
        self.sync_delay = 0.02
        self.replication_delay = 0.0005
        self.commands = 0
        # Slots whose keys a server deleted because another one claimed them, and keys that existed nowhere else.
        self.lost_keys: list[str] = []
        # Commands that nobody should have sent.
        self.wrongs: list[str] = []
        self._partitions: set[frozenset[Address]] = set()
        self._events: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._sequence = itertools.count()
        self._client_ids = itertools.count(3)
        self._by_bus: dict[tuple[str, int], SimServer] = {}

    # --- servers ----------------------------------------------------------------------------------------------------

    def add_server(self, address: Address, version: str = "", bus_port: int = 0, **config: str) -> SimServer:
        """Start a new, empty server. Options of its configuration have _ for -."""
        server = SimServer(self, address, version or self.version, bus_port)
        server.config.update({name.replace("_", "-"): value for name, value in config.items()})
        server.announce()
        # It has been up for a while, so its start holds nothing up.
        server.bus.first_update = (self.now - 60) * 1000
        self.servers[address] = server
        self._by_bus[address.host, server.bus_port] = server
        return server

    def move_server(self, server: SimServer, address: Address) -> None:
        """Start a stopped server again at another address; what it announces is configured anew with it."""
        assert not server.alive
        del self.servers[server.address]
        del self._by_bus[server.address.host, server.bus_port]
        server.address = address
        server.bus_port = address.port + 10000
        server.config.update({"cluster-announce-ip": address.host, "port": str(address.port), "cluster-port": "0"})
        self.servers[address] = server
        self._by_bus[address.host, server.bus_port] = server

    def server_of(self, node: DeclaredNode | Address) -> SimServer:
        return self.servers[node if isinstance(node, Address) else node.address]

    def bus_at(self, asker: SimServer, ip: str, bus_port: int) -> tuple[bool, SimServer | None]:
        """Whether a connection to this place gets anywhere, and to whom; nobody where packets are swallowed."""
        server = self._by_bus.get((ip, bus_port))
        if server is None or (server is not asker and not server.alive and not self.parted(asker, server)):
            return False, None
        if self.parted(asker, server):
            return True, None
        return True, server

    # --- time -------------------------------------------------------------------------------------------------------

    def latency(self) -> float:
        return 0.0002 + self.random.random() * 0.0006

    def schedule(self, delay: float, work: Callable[..., None], *arguments: Any) -> None:
        self.schedule_at(self.now + delay, work, *arguments)

    def schedule_at(self, at: float, work: Callable[..., None], *arguments: Any) -> None:
        heapq.heappush(self._events, (at, next(self._sequence), work, arguments))

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        end = self.now + seconds
        events = self._events
        while events and events[0][0] <= end:
            at, _number, work, arguments = heapq.heappop(events)
            self.now = max(self.now, at)
            work(*arguments)
        self.now = max(self.now, end)

    # --- faults -----------------------------------------------------------------------------------------------------

    def partition(self, some: Iterable[SimServer], others: Iterable[SimServer]) -> None:
        """Swallow what these servers send each other. Clients reach all of them."""
        others = list(others)
        self._partitions |= {frozenset((one.address, other.address)) for one in some for other in others}

    def heal(self) -> None:
        self._partitions.clear()
        for server in self.servers.values():
            for link in list(server.links):
                link.resume()

    def parted(self, one: SimServer, other: SimServer) -> bool:
        return bool(self._partitions) and frozenset((one.address, other.address)) in self._partitions

    def is_forbidden(self, words: Sequence[str]) -> bool:
        return bool(self.forbidden) and (
            words[0].upper() in self.forbidden or " ".join(words[:2]).upper() in self.forbidden
        )

    def end_clients(self) -> None:
        """Close every connection, as when the process that had them dies."""
        for server in self.servers.values():
            server.clients.clear()

    # --- connections ------------------------------------------------------------------------------------------------

    def connect(self, where: DeclaredNode | Address | SimServer) -> SimConnection:
        return SimConnection(self, where if isinstance(where, Address) else where.address)

    def open_client(self, connection: SimConnection, server: SimServer) -> None:
        connection.client_id = next(self._client_ids)
        server.clients[connection.client_id] = connection

    def run_command(self, server: SimServer, words: tuple[str, ...], client: SimConnection | None) -> Any:
        """Carry out one command of a connection, with the hooks. An error reply is raised as CommandError."""
        self.commands += 1
        self.advance(_COMMAND_SECONDS)
        for hook in self.before_command:
            hook(server, words)
        if not server.alive:
            raise ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")
        if server.frozen:
            server.waiting_commands.append(words)
            raise socket.timeout("timed out")
        if server.paused_until > self.now and waits_for_handover(words):
            self._await_pause(server, words)
        try:
            return execute(server, words, client)
        finally:
            for hook in self.after_command:
                hook(server, words)

    def _await_pause(self, server: SimServer, words: tuple[str, ...]) -> None:
        deadline = self.now + 5.0
        while server.paused_until > self.now:
            if self.now >= deadline:
                server.waiting_commands.append(words)
                self.run_when_able(server, [])
                raise socket.timeout("timed out")
            self.advance(0.01)

    def run_when_able(self, server: SimServer, commands: Sequence[tuple[str, ...]]) -> None:
        """Leave commands in a server's socket; it carries them out when it goes on."""
        server.waiting_commands.extend(commands)
        if not server.frozen:
            self.schedule(max(0.0, server.paused_until - self.now) + 0.001, server.unfreeze)

    def run_late(self, server: SimServer, words: tuple[str, ...]) -> None:
        """Carry out what waited in a socket; nobody reads the reply."""
        try:
            execute(server, words, SimConnection(self, server.address))
        except CommandError:
            return
        finally:
            for hook in self.after_command:
                hook(server, words)

    # --- clients ----------------------------------------------------------------------------------------------------

    def client_set(self, key: str, value: str, seconds: float = 30.0) -> bool:
        """Write a key as a cluster client does. True when a server has confirmed it."""
        deadline = self.now + seconds
        where = self._believed_owner(key)
        asking = False
        while self.now < deadline:
            self.advance(_COMMAND_SECONDS)
            server = self.servers.get(where) if where else None
            answer = "down" if server is None else self._client_set_on(server, key, value, asking)
            asking = False
            if answer == "OK":
                self.acknowledged[key] = value
                return True
            if answer.startswith(("MOVED", "ASK ")):
                where, asking = Address.parse(answer.split()[2]), answer.startswith("ASK")
                self.advance(0.001)
            else:
                self.advance(0.05)
                where = self._believed_owner(key)
        return False

    def _client_set_on(self, server: SimServer, key: str, value: str, asking: bool) -> str:
        if not server.alive or server.frozen or server.paused_until > self.now:
            return "down"
        client = SimConnection(self, server.address)
        client.asking = asking
        try:
            execute(server, ("SET", key, value), client)
        except CommandError as error:
            return str(error)
        return "OK"

    def client_get(self, key: str) -> str | None:
        """Read a key from its owner, following redirections; None when nobody answers or has it."""
        where = self._believed_owner(key)
        asking = False
        for _attempt in range(20):
            server = self.servers.get(where) if where else None
            if server is None or not server.alive or server.frozen:
                return None
            client = SimConnection(self, server.address)
            client.asking = asking
            try:
                value: str | None = execute(server, ("GET", key), client)
                return value
            except CommandError as error:
                words = str(error).split()
                if words[0] not in ("MOVED", "ASK"):
                    return None
                where, asking = Address.parse(words[2]), words[0] == "ASK"
        return None

    def _believed_owner(self, key: str) -> Address | None:
        slot = slot_of(key)
        able = [server for server in self.servers.values() if server.alive and not server.frozen]
        for server in self.random.sample(able, len(able)):
            owner = server.bus.owner_of(slot)
            if owner is not None and owner.ip:
                return Address(owner.ip, owner.port)
        return None

    # --- watching ---------------------------------------------------------------------------------------------------

    def holders(self, key: str) -> list[SimServer]:
        """The servers that have a key and are no replicas."""
        slot = slot_of(key)
        return [s for s in self.servers.values() if key in s.keys.get(slot, ()) and not s.is_replica]

    def dropped(self, server: SimServer, slot: int) -> None:
        """Note the keys of a slot that a server is about to delete although nobody else has them."""
        for key in server.keys_in(slot):
            if not any(holder is not server for holder in self.holders(key)):
                self.lost_keys.append(key)

    def was_reset(self, server: SimServer) -> None:
        """Note a reset of a primary with slots, and the keys that a replica is about to delete as the last one."""
        if server.bus.me.slots:
            self.wrongs.append(f"{server.address} was reset although it owned slots")
        for keys in server.keys.values():
            for key in keys:
                if key in self.acknowledged and not self.holders(key):
                    self.lost_keys.append(key)

    def missing(self) -> list[str]:
        """Confirmed keys that no server has any more, except as the copy of a primary that lacks them."""
        return [key for key in self.acknowledged if not self.holders(key) and not self._last_copies(key)]

    def _last_copies(self, key: str) -> list[SimServer]:
        """Replicas that have a key and whose primary is not there to take it from them."""
        found = []
        slot = slot_of(key)
        for server in self.servers.values():
            if server.is_replica and key in server.keys.get(slot, ()):
                source = self.servers.get(Address(*server.target)) if server.target else None
                if source is None or not source.alive or source.is_replica:
                    found.append(server)
        return found

    def healthy(self) -> bool:
        """Whether all servers agree on everything, serve all slots, and every replica is in sync."""
        alive = [server for server in self.servers.values() if server.alive]
        views = [self.digest(server) for server in alive]
        return all(
            server.bus.state_ok
            and not server.bus.migrating
            and not server.bus.importing
            and (server.link_up if server.is_replica else True)
            and view == views[0]
            for server, view in zip(alive, views)
        )

    @staticmethod
    def digest(server: SimServer) -> tuple[Any, ...]:
        """What a server knows of all members, as far as all must agree on it."""
        return tuple(sorted(_opinion(member) for member in server.bus.members.values()))

    def settle(self, seconds: float = 60.0) -> bool:
        """Let time pass until the servers are healthy, at most so long."""
        deadline = self.now + seconds
        while self.now < deadline:
            if self.healthy():
                return True
            self.advance(0.25)
        return self.healthy()

    # --- Valkey's own migration -------------------------------------------------------------------------------------

    def start_atomic_move(self, source: SimServer, member: Member, spans: Sequence[tuple[int, int]]) -> None:
        bitmap = 0
        for first, last in spans:
            bitmap |= mask_of(first, last)
        job: dict[str, Any] = {
            "name": f"{source.random.getrandbits(160):040x}",
            "operation": "EXPORT",
            "slot_ranges": range_text(bitmap).strip(),
            "target_node": member.node_id,
            "source_node": source.bus.me.node_id,
            "state": "connecting",
            "message": "",
            "bitmap": bitmap,
            "source": source,
            "life": source.life,
        }
        source.migrations.append(job)
        target = self.servers.get(Address(member.ip, member.port))
        if target is not None and target.alive and not target.frozen and not self.parted(source, target):
            job["copy"] = {**job, "operation": "IMPORT"}
            target.migrations.append(job["copy"])
            job["target"], job["target_life"] = target, target.life
        self.schedule(_ATOMIC_MOVE_SECONDS, self._finish_atomic_move, job)

    def end_atomic_move(self, job: dict[str, Any], state: str, message: str = "") -> None:
        for one in (job, job.get("copy", {})):
            one["state"], one["message"] = state, message

    def _finish_atomic_move(self, job: dict[str, Any]) -> None:
        source: SimServer = job["source"]
        target: SimServer | None = job.get("target")
        if job["state"] != "connecting":
            return
        if not source.alive or source.life != job["life"]:
            self.end_atomic_move(job, "failed", "Connection lost to source")
            return
        if target is None or not target.alive or target.life != job["target_life"]:
            self.end_atomic_move(job, "failed", "Unable to connect to target")
            return
        if source.frozen or target.frozen or self.parted(source, target):
            self.schedule(0.1, self._finish_atomic_move, job)
            return
        bitmap: int = job["bitmap"]
        if source.is_replica or target.is_replica or bitmap & ~source.bus.me.slots:
            self.end_atomic_move(job, "failed", "Slots are no longer owned by source")
            return
        moved = [slot for slot in each_bit(bitmap) if slot in source.keys]
        for slot in moved:
            for key, value in source.keys_in(slot).items():
                target.write(key, value)
        target.bus.bind(target.bus.me, bitmap)
        target.bus.bump_epoch()
        target.bus.update_state()
        target.bus.broadcast_pong()
        self.end_atomic_move(job, "success")


class SimConnection(RedisConnection):
    """What RedisConnection is, with a simulated server at the other end."""

    def __init__(self, simulation: Simulation, address: Address, timeout: float = 5.0) -> None:
        super().__init__(address, timeout=timeout)
        self._simulation = simulation
        self._server: SimServer | None = None
        self._life = -1
        self.client_id = 0
        self.name = ""
        self.opened = self.used = simulation.now
        # The command that CLIENT LIST shows.
        self.last = "NULL"
        # What waits for EXEC.
        self.queue: list[tuple[str, ...]] | None = None
        self.asking = False
        self.readonly = False

    def take_asking(self) -> bool:
        """Whether ASKING came right before this command."""
        asking, self.asking = self.asking, False
        return asking

    def close(self) -> None:
        if self._server is not None:
            self._server.clients.pop(self.client_id, None)
        self._server = None
        self.name = ""
        self.queue = None

    def pipeline(self, commands: Sequence[Sequence[Word]]) -> list[Any]:
        texts = [tuple(_text(word) for word in command) for command in commands]
        return self._run(texts, commands, self._timeout)

    def packed(self, commands: Sequence[bytes], verb: str, longer: float = 0.0) -> list[Any]:
        return self._run([_unpack(command) for command in commands], [(verb,)] * len(commands), self._timeout + longer)

    def _run(self, commands: Sequence[tuple[str, ...]], shown: Sequence[Sequence[Word]], timeout: float) -> list[Any]:
        if not commands:
            return []
        simulation = self._simulation
        replies: list[Any] = []
        try:
            server = self._reach()
            for number, (words, verb) in enumerate(zip(commands, shown)):
                self.last, self.used = words[0].lower(), simulation.now
                try:
                    replies.append(simulation.run_command(server, words, self))
                except CommandError as error:
                    text = str(error)
                    problem = self._reply_problem(ResponseError(text[4:] if text.startswith("ERR ") else text), verb)
                    replies.append(problem)
                except socket.timeout:
                    # What was sent is in the server's socket, all of it.
                    server.waiting_commands.extend(commands[number + 1 :])
                    simulation.advance(timeout)
                    raise
                self._answered = True
        except OSError as exc:
            self.close()
            raise self._connection_problem(exc) from exc
        return replies

    def _reach(self) -> SimServer:
        """The server, as long as the connection to it lasts."""
        if self._server is not None:
            server = self._server
            if server.life != self._life or self.client_id not in server.clients:
                raise ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")
            return server
        found = self._simulation.servers.get(self.address)
        if found is None or not found.alive:
            raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
        self._server, self._life = found, found.life
        self._answered = False
        self.opened = self._simulation.now
        self._simulation.open_client(self, found)
        return found


def _opinion(member: Member) -> tuple[Any, ...]:
    primary_id = member.primary.node_id if member.primary else ""
    flags = member.flags & (PRIMARY | REPLICA | PFAIL | FAIL | HANDSHAKE | NOADDR)
    epoch = member.epoch if member.slots else 0
    return (member.node_id, member.ip, member.port, flags, primary_id, epoch, member.slots)


def _text(word: Word) -> str:
    return word.decode(errors="surrogateescape") if isinstance(word, bytes) else str(word)


def _unpack(command: bytes) -> tuple[str, ...]:
    """The words of a command in the protocol's form."""
    parts = command.decode(errors="surrogateescape").split("\r\n")
    if len(parts) == 2 * int(parts[0][1:]) + 2:
        return tuple(parts[2::2])
    # A word has a line's end in it.
    end = command.index(b"\r\n")
    words = []
    at = end + 2
    for _number in range(int(command[1:end])):
        end = command.index(b"\r\n", at)
        length = int(command[at + 1 : end])
        words.append(command[end + 2 : end + 2 + length].decode(errors="surrogateescape"))
        at = end + 2 + length + 2
    assert at == len(command), "a command was packed wrong"
    return tuple(words)
