# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One simulated server: its keys, its replication, its configuration and its life."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ansible_collections.apiops.tyk_redis.plugins.module_utils._redis_client import Address
from ansible_collections.apiops.tyk_redis.tests.unit.plugins.module_utils.simulation.bus import (
    FAIL,
    HANDSHAKE,
    PFAIL,
    REPLICA,
    SLOTS,
    Bus,
    Link,
)

if TYPE_CHECKING:
    from ansible_collections.apiops.tyk_redis.tests.unit.plugins.module_utils.simulation.world import (
        SimConnection,
        Simulation,
    )

_CRON_SECONDS = 0.1
_REPLICATION_RETRY_SECONDS = 1.0
_EVER = -1e9


@dataclass(frozen=True)
class Version:
    """What differs between servers, as far as a converger can notice."""

    product: str
    number: str
    slot_ranges: bool = True
    knows_unclaimed_slots: bool = True
    follows_grandprimary: bool = True
    demotes_on_setslot: bool = True
    checks_roles_of_slots: bool = True
    reset_ends_bans: bool = False
    reset_is_failure: bool = False
    gossips_forget: bool = False
    meets_again: bool = False
    votes_again: bool = False
    fails_alone: bool = False
    replicates_drops: bool = False
    replicate_again_is_nothing: bool = False
    knows_shards: bool = False
    refuses_marks_to_itself: bool = False
    atomic_moves: bool = False


VERSIONS = {
    "redis-6.2": Version(
        "redis",
        "6.2.14",
        slot_ranges=False,
        knows_unclaimed_slots=False,
        follows_grandprimary=False,
        demotes_on_setslot=False,
        checks_roles_of_slots=False,
    ),
    "redis-7.0": Version("redis", "7.0.15"),
    "redis-8.2": Version(
        "redis", "8.2.3", reset_ends_bans=True, gossips_forget=True, fails_alone=True, replicates_drops=True
    ),
    "valkey-8.1": Version(
        "valkey",
        "8.1.8",
        gossips_forget=True,
        meets_again=True,
        votes_again=True,
        fails_alone=True,
        replicates_drops=True,
        replicate_again_is_nothing=True,
        knows_shards=True,
        reset_ends_bans=True,
        reset_is_failure=True,
    ),
    "valkey-9.1": Version(
        "valkey",
        "9.1.2",
        gossips_forget=True,
        meets_again=True,
        votes_again=True,
        fails_alone=True,
        replicates_drops=True,
        replicate_again_is_nothing=True,
        knows_shards=True,
        reset_ends_bans=True,
        atomic_moves=True,
        reset_is_failure=True,
        refuses_marks_to_itself=True,
    ),
}

_CRC_TABLE = []
for _byte in range(256):
    _crc = _byte << 8
    for _bit in range(8):
        _crc = (_crc << 1) ^ 0x1021 if _crc & 0x8000 else _crc << 1
    _CRC_TABLE.append(_crc & 0xFFFF)


@lru_cache(maxsize=65536)
def slot_of(key: str) -> int:
    """The slot of a key, as CLUSTER KEYSLOT computes it."""
    start = key.find("{")
    end = key.find("}", start + 1) if start >= 0 else -1
    hashed = key[start + 1 : end] if end > start + 1 else key
    crc = 0
    for byte in hashed.encode(errors="surrogateescape"):
        crc = ((crc << 8) & 0xFFFF) ^ _CRC_TABLE[(crc >> 8) ^ byte]
    return crc % SLOTS


class SimServer:
    """A server. The bus says what it knows of its cluster; commands.py says what it answers."""

    def __init__(self, simulation: Simulation, address: Address, version: str, bus_port: int = 0) -> None:
        self.simulation = simulation
        self.address = address
        self.version = VERSIONS[version]
        self.alive = True
        self.frozen = False
        # Counts the starts, so that what belongs to an earlier life can be told.
        self.life = 0
        self.random = random.Random(simulation.random.getrandbits(64))
        self.config = {
            "cluster-node-timeout": "15000",
            "cluster-announce-ip": address.host,
            "cluster-announce-port": "0",
            "cluster-announce-bus-port": "0",
            "cluster-allow-replica-migration": "yes",
            "cluster-require-full-coverage": "yes",
            "cluster-migration-barrier": "1",
            "port": str(address.port),
            "cluster-port": str(bus_port if bus_port and bus_port != address.port + 10000 else 0),
            "maxmemory": "0",
            "appendonly": "no",
            "save": "",
        }
        self.bus_port = bus_port or address.port + 10000
        self.keys: dict[int, dict[str, str]] = {}
        self.links: set[Link] = set()
        self.clients: dict[int, SimConnection] = {}
        self.waiting_commands: list[tuple[str, ...]] = []
        self.paused_until = 0.0
        self.offset = 0
        # The primary that this server copies from: its address, and how far the copying is.
        self.target: tuple[str, int] | None = None
        self.source: SimServer | None = None
        self.link_up = False
        self.syncing = False
        # Since when nothing comes from the primary; a server that never had one is as good as down since ever.
        self.down_since = _EVER
        # Servers with the same history of writes go on in each other's streams, as with the same replication id.
        self.history = object()
        self._attempt = 0
        self._next_try = 0.0
        self.migrations: list[dict[str, Any]] = []
        self.bus = Bus(self, self.random)
        self.announce()
        self._start_timer()

    def __repr__(self) -> str:
        return f"<{self.address} {'replica' if self.is_replica else 'primary'}>"

    # --- configuration ----------------------------------------------------------------------------------------------

    @property
    def node_timeout(self) -> float:
        """Milliseconds."""
        return float(self.config["cluster-node-timeout"])

    def flag(self, name: str) -> bool:
        return self.config[name] == "yes"

    def announce(self) -> None:
        """Tell oneself what the configuration says about one's address."""
        me = self.bus.me
        me.ip = self.config["cluster-announce-ip"] or self.address.host
        me.port = int(self.config["cluster-announce-port"]) or self.address.port
        me.bus_port = int(self.config["cluster-announce-bus-port"]) or self.bus_port

    # --- life -------------------------------------------------------------------------------------------------------

    def _start_timer(self) -> None:
        self.simulation.schedule(self.random.random() * _CRON_SECONDS, self._cron, self.life)

    def _cron(self, life: int) -> None:
        if life != self.life or not self.alive:
            return
        self.simulation.schedule(_CRON_SECONDS, self._cron, life)
        if not self.frozen:
            self.bus.cron()
            self._replication_cron()

    def kill(self) -> None:
        if not self.alive:
            return
        self.alive = False
        self.frozen = False
        self.life += 1
        for link in list(self.links):
            link.close()
        for follower in self.followers:
            follower.lose_source()
        self._disconnect()
        self.clients.clear()
        self.waiting_commands.clear()
        self.migrations.clear()
        self.paused_until = 0.0

    def start(self, keep_data: bool = True) -> None:
        """Start again on the same nodes.conf."""
        if self.alive:
            return
        self.alive = True
        self.offset = 0
        self.down_since = _EVER
        if not (keep_data and self.is_replica):
            self.history = object()
        if not keep_data:
            self.keys.clear()
        self._restart_bus()
        self._start_timer()

    def _restart_bus(self) -> None:
        old = self.bus
        new = Bus(self, self.random)
        new.members = {node_id: m for node_id, m in old.members.items() if not m.flags & HANDSHAKE}
        new.me = old.me
        new.current_epoch, new.last_vote_epoch = old.current_epoch, old.last_vote_epoch
        new.migrating, new.importing = old.migrating, old.importing
        new.current_epoch = max([new.current_epoch, *(member.epoch for member in new.members.values())])
        now = new.now
        for member in new.members.values():
            member.link = member.inbound = None
            member.inbound_freed = member.created = now
            member.ping_sent = member.pong_received = member.data_received = 0.0
            member.fail_reports = {}
            member.voted_time = -1e12
            member.offset = 0
            if member.flags & REPLICA and member.primary is not None:
                # The file tells a replica's epoch as CLUSTER NODES does.
                member.epoch = member.primary.epoch
            if member.flags & (FAIL | PFAIL):
                member.fail_time = now
        self.bus = new
        self.announce()
        if not self.is_replica:
            self._verify_keys()

    def _verify_keys(self) -> None:
        """Justify keys of slots that are not ours, as a server does when it starts."""
        for slot in self.keys:
            owner = self.bus.owner_of(slot)
            if owner is self.bus.me or slot in self.bus.importing:
                continue
            if owner is None:
                self.bus.bind(self.bus.me, 1 << slot)
            else:
                self.bus.importing[slot] = owner

    def freeze(self) -> None:
        """As SIGSTOP does."""
        self.frozen = True

    def unfreeze(self) -> None:
        self.frozen = False
        for link in list(self.links):
            link.resume()
        waiting, self.waiting_commands = self.waiting_commands, []
        for words in waiting:
            self.simulation.run_late(self, words)

    # --- keys -------------------------------------------------------------------------------------------------------

    @property
    def number_of_keys(self) -> int:
        return sum(map(len, self.keys.values()))

    def keys_in(self, slot: int) -> dict[str, str]:
        return self.keys.get(slot, {})

    def get(self, key: str) -> str | None:
        return self.keys.get(slot_of(key), {}).get(key)

    def write(self, key: str, value: str | None, offset: int | None = None) -> None:
        """Set a key, or delete it by None, here and on those that copy from here."""
        slot = slot_of(key)
        if value is not None:
            self.keys.setdefault(slot, {})[key] = value
        elif slot in self.keys:
            self.keys[slot].pop(key, None)
            if not self.keys[slot]:
                del self.keys[slot]
        self.offset = self.offset + 50 if offset is None else offset
        for follower in self.followers:
            self.simulation.schedule(
                self.simulation.replication_delay, follower.copy_write, self, follower._attempt, key, value, self.offset
            )

    def copy_write(self, source: SimServer, attempt: int, key: str, value: str | None, offset: int) -> None:
        if not self.alive or self.source is not source or self._attempt != attempt:
            return
        if self.frozen:
            # The bytes wait in the socket.
            self.simulation.schedule(_CRON_SECONDS, self.copy_write, source, attempt, key, value, offset)
            return
        self.write(key, value, offset)

    def drop_slot(self, slot: int) -> None:
        """Delete the keys of a slot that was lost to another node."""
        self.simulation.dropped(self, slot)
        if self.version.replicates_drops:
            for key in list(self.keys.get(slot, ())):
                self.write(key, None)
        else:
            self.keys.pop(slot, None)

    def empty(self) -> None:
        self.keys.clear()

    # --- replication ------------------------------------------------------------------------------------------------

    @property
    def is_replica(self) -> bool:
        return bool(self.bus.me.flags & REPLICA)

    @property
    def followers(self) -> list[SimServer]:
        return [server for server in self.simulation.servers.values() if server.source is self and server.link_up]

    @property
    def replication_age(self) -> float:
        """Seconds since anything came from the primary."""
        return 0.0 if self.link_up else self.simulation.now - self.down_since

    def replicate_from(self, host: str, port: int) -> None:
        if self.link_up:
            self.down_since = self.simulation.now
        self._disconnect()
        for follower in self.followers:
            follower.lose_source()
        self.target = (host, port)
        self._try_sync()

    def stop_replicating(self) -> None:
        self._disconnect()
        self.target = None
        self.down_since = _EVER
        for follower in self.followers:
            follower.lose_source()

    def lose_source(self) -> None:
        if self.link_up:
            self.down_since = self.simulation.now
        self._disconnect()

    def _disconnect(self) -> None:
        self._attempt += 1
        self.source = None
        self.link_up = self.syncing = False

    def _replication_cron(self) -> None:
        if self.target is None:
            return
        if self.source is None:
            if self.simulation.now >= self._next_try:
                self._try_sync()
        elif self.simulation.parted(self, self.source) and self.link_up:
            self.lose_source()

    def _try_sync(self) -> None:
        self._next_try = self.simulation.now + _REPLICATION_RETRY_SECONDS
        if self.target is None:
            return
        source = self.simulation.servers.get(Address(*self.target))
        if source is None or not source.alive or source is self or self.simulation.parted(self, source):
            return
        if source.is_replica and not source.link_up:
            return
        self.source = source
        self.syncing = True
        self.simulation.schedule(self.simulation.sync_delay, self._finish_sync, source, self._attempt)

    def copy_open_slots(self, source: SimServer, slots: Iterable[int]) -> None:
        """Take over the marks of a primary, so that they are there after a failover."""
        members = self.bus.members
        for theirs, ours in ((source.bus.migrating, self.bus.migrating), (source.bus.importing, self.bus.importing)):
            for slot in slots:
                peer = theirs.get(slot)
                if peer is not None and peer.node_id in members:
                    ours[slot] = members[peer.node_id]
                else:
                    ours.pop(slot, None)

    def _finish_sync(self, source: SimServer, attempt: int) -> None:
        if not self.alive or self._attempt != attempt or self.source is not source:
            return
        if not source.alive or self.simulation.parted(self, source):
            self.lose_source()
        elif self.frozen or source.frozen:
            self.simulation.schedule(_CRON_SECONDS, self._finish_sync, source, attempt)
        else:
            self.keys = {slot: dict(keys) for slot, keys in source.keys.items()}
            self.offset = source.offset
            self.syncing = False
            self.link_up = True
            # Who only goes on in the stream, also after a restart, does not hear of marks that were set meanwhile.
            if self.version.knows_shards and self.history is not source.history:
                self.copy_open_slots(source, range(SLOTS))
            self.history = source.history

    # --- INFO -------------------------------------------------------------------------------------------------------

    def info_text(self) -> str:
        version = self.version
        lines = ["# Server", f"redis_version:{version.number if version.product == 'redis' else '7.2.4'}"]
        if version.product == "valkey":
            lines += ["server_name:valkey", f"valkey_version:{version.number}"]
        lines += [
            f"tcp_port:{self.address.port}",
            f"uptime_in_seconds:{int(self.simulation.now)}",
            "# Persistence",
            "loading:0",
            "# Replication",
        ]
        if self.target is not None:
            lines += [
                "role:slave",
                f"master_host:{self.target[0]}",
                f"master_port:{self.target[1]}",
                f"master_link_status:{'up' if self.link_up else 'down'}",
                "master_last_io_seconds_ago:0",
                f"master_sync_in_progress:{int(self.syncing)}",
                f"slave_read_repl_offset:{self.offset}",
                f"slave_repl_offset:{self.offset}",
            ]
        else:
            lines.append("role:master")
        followers = self.followers
        lines.append(f"connected_slaves:{len(followers)}")
        for number, follower in enumerate(followers):
            lines.append(
                f"slave{number}:ip={follower.address.host},port={follower.address.port},state=online,"
                f"offset={follower.offset},lag=0"
            )
        lines += [f"master_repl_offset:{self.offset}", "# Cluster", "cluster_enabled:1", "# Keyspace"]
        if self.keys:
            lines.append(f"db0:keys={self.number_of_keys},expires=0,avg_ttl=0")
        return "\r\n".join(lines) + "\r\n"
