# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One simulated node's side of the cluster bus: what it knows of the others, and how it learns.

The rules are those of Redis's cluster.c, function by function; packets and links are objects, slots are bitmaps in
integers, and time is that of the simulation, here in milliseconds as in the original. What is left out has no effect on
membership, roles, slots or keys: publish and subscribe, modules, TLS, buffer sizes.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ansible_collections.apiops.tyk_redis.tests.unit.plugins.module_utils.simulation.server import SimServer

SLOTS = 16384
ALL_SLOTS = (1 << SLOTS) - 1

MYSELF, PRIMARY, REPLICA, PFAIL, FAIL, HANDSHAKE, NOADDR, MEET, MIGRATE_TO = (1 << bit for bit in range(9))
_FLAG_NAMES = (
    (MYSELF, "myself"),
    (PRIMARY, "master"),
    (REPLICA, "slave"),
    (PFAIL, "fail?"),
    (FAIL, "fail"),
    (HANDSHAKE, "handshake"),
    (NOADDR, "noaddr"),
)

PING, PONG, MEET_PACKET, FAIL_PACKET, UPDATE, AUTH_REQUEST, AUTH_ACK, MF_START = range(8)

_FORGET_MS = 60_000
_MANUAL_FAILOVER_MS = 5_000
_REPLICA_MIGRATION_MS = 5_000
_WRITABLE_DELAY_MS = 2_000


def mask_of(first: int, last: int) -> int:
    """The slots from first to last as a bitmap."""
    return ((1 << (last - first + 1)) - 1) << first


def each_bit(bitmap: int) -> Iterator[int]:
    while bitmap:
        lowest = bitmap & -bitmap
        yield lowest.bit_length() - 1
        bitmap ^= lowest


@lru_cache(maxsize=4096)
def range_text(bitmap: int) -> str:
    """Slots as CLUSTER NODES writes them, each range with a blank before it."""
    texts = []
    while bitmap:
        first = (bitmap & -bitmap).bit_length() - 1
        rest = bitmap + (bitmap & -bitmap)
        last = (rest & ~bitmap & -(rest & ~bitmap)).bit_length() - 2
        texts.append(f" {first}" if first == last else f" {first}-{last}")
        bitmap &= ~mask_of(first, last)
    return "".join(texts)


class Member:
    """What one node knows of one member, itself included."""

    __slots__ = (
        "bus_port",
        "created",
        "data_received",
        "epoch",
        "fail_reports",
        "fail_time",
        "flags",
        "inbound",
        "inbound_freed",
        "ip",
        "link",
        "meet_sent",
        "node_id",
        "offset",
        "orphaned_time",
        "ping_sent",
        "pong_received",
        "port",
        "primary",
        "shard",
        "slots",
        "voted_time",
    )

    def __init__(
        self, node_id: str, flags: int, created: float, ip: str = "", port: int = 0, bus_port: int = 0
    ) -> None:
        self.node_id = node_id
        self.flags = flags
        self.created = created
        self.ip, self.port, self.bus_port = ip, port, bus_port
        self.epoch = 0
        self.slots = 0
        # Where servers know it: one id for a primary and its replicas. Until it is heard of, a member is one by itself.
        self.shard = node_id
        self.primary: Member | None = None
        self.link: Link | None = None
        self.inbound: Link | None = None
        self.inbound_freed = created
        self.meet_sent = 0.0
        self.ping_sent = 0.0
        self.pong_received = 0.0
        self.data_received = 0.0
        self.fail_time = 0.0
        self.fail_reports: dict[Member, float] = {}
        self.voted_time = -1e12
        self.orphaned_time = 0.0
        self.offset = 0

    @property
    def is_primary(self) -> bool:
        return bool(self.flags & PRIMARY)

    @property
    def is_replica(self) -> bool:
        return bool(self.flags & REPLICA)


class Packet:
    """One message on the bus: the header that all have, and what its type adds."""

    __slots__ = (
        "bus_port",
        "config_epoch",
        "current_epoch",
        "extra",
        "flags",
        "force_ack",
        "forgotten",
        "gossip",
        "ip",
        "kind",
        "offset",
        "paused",
        "port",
        "primary_id",
        "sender_id",
        "shard",
        "slots",
    )

    def __init__(self, kind: int, node: Bus) -> None:
        me = node.me
        subject = me.primary if me.flags & REPLICA and me.primary else me
        self.kind = kind
        self.sender_id = me.node_id
        self.ip, self.port, self.bus_port = me.ip, me.port, me.bus_port
        self.flags = me.flags
        self.shard = me.shard
        self.slots = subject.slots
        self.primary_id = me.primary.node_id if me.primary else ""
        self.current_epoch = node.current_epoch
        self.config_epoch = subject.epoch
        self.offset = node.server.offset
        self.paused = bool(me.flags & PRIMARY and node.mf_end)
        self.force_ack = False
        self.gossip: list[tuple[str, str, int, int, int, int]] = []
        self.forgotten: list[tuple[str, float]] = []
        self.extra: Any = None


class Link:
    """A connection on the bus, opened by its owner towards another server. Packets arrive in their order."""

    __slots__ = ("alive", "arrivals", "created", "inbound_member", "member", "owner", "peer", "waiting")

    def __init__(self, owner: SimServer, peer: SimServer | None, member: Member, created: float) -> None:
        self.owner = owner
        self.peer = peer
        self.member: Member | None = member
        self.inbound_member: Member | None = None
        self.created = created
        self.alive = True
        # When the last packet in each direction arrives.
        self.arrivals = [0.0, 0.0]
        self.waiting: list[tuple[bool, Packet]] = []

    def send(self, inbound: bool, packet: Packet) -> None:
        """Send a packet; inbound means that it travels against the direction in which the link was opened."""
        simulation = self.owner.simulation
        at = max(simulation.now + simulation.latency(), self.arrivals[inbound])
        self.arrivals[inbound] = at
        simulation.schedule_at(at, self._arrive, inbound, packet)

    def _arrive(self, inbound: bool, packet: Packet) -> None:
        if not self.alive or self.peer is None:
            return
        receiver = self.owner if inbound else self.peer
        if self.waiting or receiver.frozen or self.owner.simulation.parted(self.owner, self.peer):
            self.waiting.append((inbound, packet))
            return
        receiver.bus.receive(self, not inbound, packet)

    def resume(self) -> None:
        """Deliver what has waited for a frozen server or behind a partition."""
        waiting, self.waiting = self.waiting, []
        for inbound, packet in waiting:
            self._arrive(inbound, packet)

    def close(self) -> None:
        if not self.alive:
            return
        self.alive = False
        if self.member is not None and self.member.link is self:
            self.member.link = None
        if self.inbound_member is not None and self.inbound_member.inbound is self:
            self.inbound_member.inbound = None
            self.inbound_member.inbound_freed = self.owner.simulation.now * 1000
        self.owner.links.discard(self)
        if self.peer is not None:
            self.peer.links.discard(self)


class Bus:
    """The state that a node keeps about its cluster, and everything that changes it except commands."""

    def __init__(self, server: SimServer, generator: random.Random) -> None:
        self.server = server
        self.simulation = server.simulation
        self.random = generator
        self.me = Member(self.new_id(), MYSELF | PRIMARY, 0.0)
        self.members: dict[str, Member] = {self.me.node_id: self.me}
        self.current_epoch = 0
        self.last_vote_epoch = 0
        self.migrating: dict[int, Member] = {}
        self.importing: dict[int, Member] = {}
        self.not_claiming = 0
        self.banned: dict[str, float] = {}
        self._state_ok = False
        self._stale = False
        self.size = 1
        self.minority_time = -1e12
        self.first_update: float | None = None
        self.mf_end = 0.0
        self.mf_can_start = False
        self.mf_replica: Member | None = None
        self.mf_offset: int | None = None
        self.auth_time = -1e12
        self.auth_rank = 0
        self.auth_sent = False
        self.auth_epoch = 0
        self.auth_count = 0
        self.iteration = generator.randrange(10)
        self.pfail_members = 0

    # --- small things -----------------------------------------------------------------------------------------------

    @property
    def now(self) -> float:
        return self.simulation.now * 1000

    @property
    def timeout(self) -> float:
        return self.server.node_timeout

    @property
    def handshake_timeout(self) -> float:
        return max(self.timeout, 1000.0)

    def new_id(self) -> str:
        return f"{self.random.getrandbits(160):040x}"

    def owner_of(self, slot: int) -> Member | None:
        bit = 1 << slot
        for member in self.members.values():
            if member.slots & bit:
                return member
        return None

    @property
    def owned(self) -> int:
        owned = 0
        for member in self.members.values():
            owned |= member.slots
        return owned

    def bind(self, member: Member | None, bitmap: int) -> None:
        """Give slots to a member, whoever had them; None leaves them without an owner."""
        for other in self.members.values():
            other.slots &= ~bitmap
        if member is not None:
            member.slots |= bitmap

    def replicas_of(self, primary: Member) -> list[Member]:
        return [member for member in self.members.values() if member.primary is primary]

    # --- members ----------------------------------------------------------------------------------------------------

    def add_member(self, member: Member) -> None:
        self.members[member.node_id] = member

    def delete(self, member: Member) -> None:
        """Forget a member and everything that hangs on it."""
        for marks in (self.importing, self.migrating):
            for slot in [slot for slot, peer in marks.items() if peer is member]:
                del marks[slot]
        member.slots = 0
        for other in self.members.values():
            other.fail_reports.pop(member, None)
            if other.primary is member:
                other.primary = None
        for link in (member.link, member.inbound):
            if link is not None:
                link.close()
        self.members.pop(member.node_id, None)

    def start_handshake(self, ip: str, port: int, bus_port: int) -> None:
        for member in self.members.values():
            if member.flags & HANDSHAKE and (member.ip, member.port, member.bus_port) == (ip, port, bus_port):
                return
        self.add_member(Member(self.new_id(), HANDSHAKE | MEET, self.now, ip, port, bus_port))

    def ban(self, node_id: str, milliseconds: float = _FORGET_MS) -> None:
        self.banned[node_id] = self.now + milliseconds

    def is_banned(self, node_id: str) -> bool:
        return self.banned.get(node_id, -1.0) >= self.now

    def forget(self, member: Member) -> None:
        self.ban(member.node_id)
        self.delete(member)
        self.update_state()
        if self.server.version.gossips_forget:
            self.broadcast_pong()

    def set_as_primary(self, member: Member) -> None:
        if member.flags & PRIMARY:
            return
        if member.primary is not None:
            self._lost_replica(member.primary, member)
            if member is not self.me:
                member.flags |= MIGRATE_TO
        member.flags = member.flags & ~REPLICA | PRIMARY
        member.primary = None

    def _lost_replica(self, primary: Member, replica: Member) -> None:
        if not any(other is not replica for other in self.replicas_of(primary)):
            primary.flags &= ~MIGRATE_TO

    def set_primary(self, primary: Member, keep_marks: bool = False) -> None:
        """Become a replica."""
        assert primary is not self.me
        assert not self.me.slots
        closes = bool(self.me.flags & PRIMARY) or self.server.version.knows_shards
        if closes and not keep_marks:
            self.importing.clear()
            self.migrating.clear()
        if self.me.flags & PRIMARY:
            self.me.flags = self.me.flags & ~(PRIMARY | MIGRATE_TO) | REPLICA
        elif self.me.primary is not None:
            self._lost_replica(self.me.primary, self.me)
        self.me.primary = primary
        self.me.shard = primary.shard
        primary.flags |= MIGRATE_TO
        self.server.replicate_from(primary.ip, primary.port)
        self.reset_manual_failover()

    def reset(self, hard: bool) -> None:
        if self.me.flags & REPLICA:
            self.set_as_primary(self.me)
            self.server.stop_replicating()
            self.server.empty()
            self.me.shard = self.new_id()
        self.importing.clear()
        self.migrating.clear()
        self.reset_manual_failover()
        self.bind(None, ALL_SLOTS)
        for member in list(self.members.values()):
            if member is not self.me:
                self.delete(member)
        if self.server.version.reset_ends_bans:
            self.banned.clear()
        if hard:
            self.current_epoch = self.last_vote_epoch = self.me.epoch = 0
            self.me.node_id = self.new_id()
            self.me.shard = self.new_id()
            self.members = {self.me.node_id: self.me}
        self.update_state()

    # --- epochs -----------------------------------------------------------------------------------------------------

    def bump_epoch(self) -> bool:
        """Take a new epoch without asking anybody; False when this node has the greatest one already."""
        greatest = max(self.current_epoch, *(member.epoch for member in self.members.values()))
        if self.me.epoch and self.me.epoch == greatest:
            return False
        self.current_epoch += 1
        self.me.epoch = self.current_epoch
        return True

    def _settle_collision(self, sender: Member) -> None:
        if sender.epoch != self.me.epoch or not (sender.flags & PRIMARY and self.me.flags & PRIMARY):
            return
        if sender.node_id <= self.me.node_id:
            return
        self.current_epoch += 1
        self.me.epoch = self.current_epoch

    # --- sending ----------------------------------------------------------------------------------------------------

    def ping(self, link: Link, kind: int, inbound: bool = False) -> None:
        """Send PING, PONG or MEET with gossip about others."""
        member = link.member
        if kind == PING and not inbound and member is not None:
            member.ping_sent = self.now
        packet = Packet(kind, self)
        fresh = len(self.members) - 2
        wanted = min(max(3, len(self.members) // 10), fresh)
        if wanted > 0:
            candidates = [m for m in self.members.values() if m is not self.me and not m.flags & PFAIL]
            peer = link.inbound_member if inbound else member
            candidates = [
                m
                for m in candidates
                if not m.flags & (HANDSHAKE | NOADDR) and (m.link is not None or m.slots) and m is not peer
            ]
            if len(candidates) > wanted:
                candidates = self.random.sample(candidates, wanted)
            packet.gossip = [self._gossip_entry(m) for m in candidates]
        if self.pfail_members:
            for m in self.members.values():
                if m.flags & PFAIL and not m.flags & (HANDSHAKE | NOADDR):
                    packet.gossip.append(self._gossip_entry(m))
        if self.banned and self.server.version.gossips_forget:
            now = self.now
            packet.forgotten = [(node_id, until - now) for node_id, until in self.banned.items() if until > now]
        link.send(inbound, packet)

    @staticmethod
    def _gossip_entry(member: Member) -> tuple[str, str, int, int, int, int]:
        pong = int(member.pong_received // 1000)
        return (member.node_id, member.ip, member.port, member.bus_port, member.flags, pong)

    def broadcast_pong(self, local_replicas: bool = False) -> None:
        me = self.me
        for member in self.members.values():
            if member.link is None or member is me or member.flags & HANDSHAKE:
                continue
            if local_replicas and not (
                member.flags & REPLICA and member.primary and member.primary in (me, me.primary)
            ):
                continue
            self.ping(member.link, PONG)

    def _broadcast(self, packet: Packet) -> None:
        for member in self.members.values():
            if member.link is not None and not member.flags & (MYSELF | HANDSHAKE):
                member.link.send(False, packet)

    def _send_to(self, member: Member, kind: int, extra: Any = None) -> None:
        if member.link is None:
            return
        packet = Packet(kind, self)
        packet.extra = extra
        member.link.send(False, packet)

    # --- receiving --------------------------------------------------------------------------------------------------

    def receive(self, link: Link, inbound: bool, packet: Packet) -> None:
        sender = self._sender_of(link, inbound, packet)
        now = self.now
        if sender is not None:
            sender.data_received = now
            if not sender.flags & HANDSHAKE:
                self._note_header(sender, packet)
        if packet.kind in (PING, PONG, MEET_PACKET):
            self._receive_gossip_packet(link, inbound, packet, sender)
        elif sender is None:
            return
        elif packet.kind == FAIL_PACKET:
            self._receive_fail(packet)
        elif packet.kind == AUTH_REQUEST:
            self._vote(sender, packet)
        elif packet.kind == AUTH_ACK:
            if sender.flags & PRIMARY and sender.slots and packet.current_epoch >= self.auth_epoch:
                self.auth_count += 1
                self.handle_failover()
        elif packet.kind == MF_START:
            self._receive_failover_start(link, inbound, sender)
        elif packet.kind == UPDATE:
            self._receive_update(packet)

    def _sender_of(self, link: Link, inbound: bool, packet: Packet) -> Member | None:
        associated = link.inbound_member if inbound else link.member
        if associated is not None and not associated.flags & HANDSHAKE:
            return associated
        sender = self.members.get(packet.sender_id)
        if sender is not None and inbound and associated is None:
            if sender.inbound is not None:
                sender.inbound.close()
            sender.inbound = link
            link.inbound_member = sender
        return sender

    def _note_header(self, sender: Member, packet: Packet) -> None:
        self.current_epoch = max(self.current_epoch, packet.current_epoch)
        if not (packet.primary_id and self.server.version.knows_shards):
            sender.epoch = max(sender.epoch, packet.config_epoch)
        sender.offset = packet.offset
        if (
            self.mf_end
            and self.me.flags & REPLICA
            and self.me.primary is sender
            and packet.paused
            and self.mf_offset is None
        ):
            self.mf_offset = packet.offset
            self.handle_manual_failover()

    def _receive_gossip_packet(self, link: Link, inbound: bool, packet: Packet, sender: Member | None) -> None:
        if packet.kind in (PING, MEET_PACKET):
            if sender is None and packet.kind == MEET_PACKET:
                self.add_member(Member(self.new_id(), HANDSHAKE, self.now, packet.ip, packet.port, packet.bus_port))
                self._process_gossip(packet, link.member if not inbound else None)
            self.ping(link, PONG, inbound)
        if not inbound and not self._finish_handshake(link, packet, sender):
            return
        if sender is not None and packet.kind == PING and not sender.flags & HANDSHAKE:
            self._update_address(sender, link, inbound, packet)
        if not inbound and packet.kind == PONG and link.member is not None:
            self._receive_pong(link.member)
        if sender is None:
            return
        self._learn_role(sender, packet)
        self._learn_slots(sender, packet)
        if self.me.flags & PRIMARY and sender.flags & PRIMARY and packet.config_epoch == self.me.epoch:
            self._settle_collision(sender)
        self._process_gossip(packet, sender)
        self._process_forgotten(packet)

    def _finish_handshake(self, link: Link, packet: Packet, sender: Member | None) -> bool:
        """Give the member behind an own link its true id. False when the link is gone."""
        member = link.member
        assert member is not None
        if member.flags & HANDSHAKE:
            if sender is not None:
                self._update_address(sender, link, False, packet)
                self.delete(member)
                return False
            del self.members[member.node_id]
            member.node_id = packet.sender_id
            self.members[member.node_id] = member
            member.flags = member.flags & ~HANDSHAKE | packet.flags & (PRIMARY | REPLICA)
        elif member.node_id != packet.sender_id:
            member.flags |= NOADDR
            member.ip, member.port, member.bus_port = "", 0, 0
            link.close()
            if self.server.version.reset_is_failure:
                self._declare_failed(member)
            return False
        return True

    def _update_address(self, member: Member, link: Link, inbound: bool, packet: Packet) -> None:
        if link is member.link:
            return
        if (member.ip, member.port, member.bus_port) == (packet.ip, packet.port, packet.bus_port):
            return
        member.ip, member.port, member.bus_port = packet.ip, packet.port, packet.bus_port
        if member.link is not None:
            member.link.close()
        member.flags &= ~NOADDR
        if self.me.flags & REPLICA and self.me.primary is member:
            self.server.replicate_from(member.ip, member.port)
        self.update_state()

    def _receive_pong(self, member: Member) -> None:
        member.pong_received = self.now
        member.ping_sent = 0
        if member.flags & PFAIL:
            member.flags &= ~PFAIL
            self.update_state()
        elif member.flags & FAIL:
            expired = self.now - member.fail_time > self.timeout * 2
            if member.flags & REPLICA or not member.slots or expired:
                member.flags &= ~FAIL
                self.update_state()

    def _learn_role(self, sender: Member, packet: Packet) -> None:
        if not packet.primary_id:
            sender.shard = packet.shard
            self.set_as_primary(sender)
            return
        primary = self.members.get(packet.primary_id)
        if sender.flags & PRIMARY:
            if self.server.version.knows_shards and primary is not None and primary.shard == sender.shard:
                if sender.epoch <= packet.config_epoch:
                    self.set_as_primary(primary)
                    primary.epoch = max(primary.epoch, packet.config_epoch)
            else:
                sender.slots = 0
            sender.flags = sender.flags & ~(PRIMARY | MIGRATE_TO) | REPLICA
            self.update_state()
        sender.shard = packet.shard
        if primary is not None and sender.primary is not primary:
            if sender.primary is not None:
                self._lost_replica(sender.primary, sender)
            primary.flags |= MIGRATE_TO
            sender.primary = primary

    def _learn_slots(self, sender: Member, packet: Packet) -> None:
        subject = sender if sender.flags & PRIMARY else sender.primary
        if subject is None or subject.slots == packet.slots:
            return
        if sender.flags & PRIMARY:
            self.update_slots(sender, packet.config_epoch, packet.slots)
        unclaimed = self.not_claiming
        for member in self.members.values():
            if member is not sender and member.epoch > packet.config_epoch and member.slots & packet.slots & ~unclaimed:
                self._send_to(sender, UPDATE, (member.node_id, member.epoch, member.slots))
                break

    def update_slots(self, sender: Member, epoch: int, claimed: int) -> None:
        """Rebind slots that a member claims by a newer epoch, and follow it when nothing is left to us."""
        if sender is self.me:
            return
        version = self.server.version
        current = self.me if self.me.flags & PRIMARY else self.me.primary
        same_shard = sender.shard == self.me.shard
        self.not_claiming &= ~(sender.slots & claimed)
        candidates = claimed & ~sender.slots
        if not version.knows_shards:
            # A slot in importing state is changed by commands only.
            candidates &= ~sum(1 << slot for slot in self.importing)
        taken = candidates & (~self.owned | self.not_claiming)
        for member in self.members.values():
            if member is not sender and member.epoch < epoch:
                taken |= member.slots & candidates
        if version.knows_unclaimed_slots:
            self.not_claiming |= sender.slots & ~claimed
        mine = taken & self.me.slots
        dirty = [slot for slot in self.server.keys if mine >> slot & 1] if mine else []
        lost = (current.slots & taken) if current is not None else 0
        if version.knows_shards:
            self._update_marks(sender, epoch, claimed, taken)
        if taken:
            self.bind(sender, taken)
            self.not_claiming &= ~taken
            self.update_state()
        follows = self.server.flag("cluster-allow-replica-migration")
        follows = follows or (same_shard if version.knows_shards else claimed == lost)
        grandprimary = self.me.primary.primary if self.me.primary is not None else None
        if lost and current is not None and not current.slots and follows:
            self.set_primary(sender, keep_marks=version.knows_shards and same_shard)
        elif grandprimary is not None and grandprimary is not self.me and version.follows_grandprimary:
            self.set_primary(grandprimary)
        else:
            for slot in dirty:
                self.server.drop_slot(slot)

    def _update_marks(self, sender: Member, epoch: int, claimed: int, taken: int) -> None:
        """Let open slots follow failovers at either end and end with the slot's settlement, as Valkey does."""
        if not self.migrating and not self.importing:
            return
        for slot, peer in list(self.migrating.items()):
            if taken >> slot & 1:
                if sender.shard != self.me.shard:
                    del self.migrating[slot]
            elif (
                not claimed >> slot & 1
                and peer is not sender
                and peer.shard == sender.shard
                and (peer.epoch < epoch or peer.flags & REPLICA)
            ):
                self.migrating[slot] = sender
        for slot, peer in list(self.importing.items()):
            if taken >> slot & 1:
                if peer is not sender and peer.shard == sender.shard:
                    self.importing[slot] = sender
                elif peer is not sender:
                    del self.importing[slot]
            elif not claimed >> slot & 1 and peer is sender and self.me.flags & PRIMARY:
                del self.importing[slot]
                if not self.me.slots >> slot & 1:
                    self.bind(self.me, 1 << slot)
                    self.bump_epoch()

    def _process_gossip(self, packet: Packet, sender: Member | None) -> None:
        for node_id, ip, port, bus_port, flags, pong in packet.gossip:
            member = self.members.get(node_id)
            if member is None:
                trusted = sender is not None or packet.kind == MEET_PACKET
                if trusted and not flags & NOADDR and not self.is_banned(node_id):
                    kept = flags & (PRIMARY | REPLICA | PFAIL | FAIL)
                    self.add_member(Member(node_id, kept, self.now, ip, port, bus_port))
                continue
            if sender is not None and self._judges(sender) and member is not self.me:
                if flags & (FAIL | PFAIL):
                    member.fail_reports[sender] = self.now
                    self._mark_failing(member)
                else:
                    member.fail_reports.pop(sender, None)
            if not flags & (FAIL | PFAIL):
                if not member.ping_sent and not self._reports(member) and member is not self.me:
                    seen = pong * 1000.0
                    if member.pong_received < seen <= self.now + 500:
                        member.pong_received = seen
                moved = (member.ip, member.port, member.bus_port) != (ip, port, bus_port)
                if member.flags & (FAIL | PFAIL) and not flags & NOADDR and moved:
                    if member.link is not None:
                        member.link.close()
                    member.ip, member.port, member.bus_port = ip, port, bus_port
                    member.flags &= ~NOADDR
                    if self.server.version.knows_shards and self.me.primary is member:
                        # Redis goes on replicating from the old address.
                        self.server.replicate_from(ip, port)

    def _process_forgotten(self, packet: Packet) -> None:
        for node_id, milliseconds in packet.forgotten:
            member = self.members.get(node_id)
            if member is None or member is self.me or (self.me.flags & REPLICA and self.me.primary is member):
                continue
            self.ban(node_id, milliseconds)
            self.delete(member)
            self.update_state()

    # --- failures ---------------------------------------------------------------------------------------------------

    def _reports(self, member: Member) -> int:
        if not member.fail_reports:
            return 0
        oldest = self.now - self.timeout * 2
        member.fail_reports = {who: at for who, at in member.fail_reports.items() if at >= oldest}
        return len(member.fail_reports)

    def _judges(self, member: Member) -> bool:
        """Whether its word counts when a member is declared failed."""
        return bool(member.flags & PRIMARY and (member.slots or not self.server.version.knows_shards))

    def _mark_failing(self, member: Member) -> None:
        if not member.flags & PFAIL or member.flags & FAIL:
            return
        failures = self._reports(member) + self._judges(self.me)
        if failures >= self.size // 2 + 1:
            self._declare_failed(member)

    def _declare_failed(self, member: Member) -> None:
        member.flags = member.flags & ~PFAIL | FAIL
        member.fail_time = self.now
        packet = Packet(FAIL_PACKET, self)
        packet.extra = member.node_id
        self._broadcast(packet)
        self.update_state()

    def _receive_fail(self, packet: Packet) -> None:
        failing = self.members.get(packet.extra)
        if failing is not None and not failing.flags & (FAIL | MYSELF):
            failing.flags = failing.flags & ~PFAIL | FAIL
            failing.fail_time = self.now
            self.update_state()

    def _receive_update(self, packet: Packet) -> None:
        node_id, epoch, slots = packet.extra
        member = self.members.get(node_id)
        if member is None or member.epoch >= epoch:
            return
        if member.flags & REPLICA:
            self.set_as_primary(member)
        member.epoch = epoch
        self.update_slots(member, epoch, slots)

    @property
    def state_ok(self) -> bool:
        if self._stale:
            self.update_state()
        return self._state_ok

    def touch(self) -> None:
        """Judge the state anew before anybody asks for it."""
        self._stale = True

    def update_state(self) -> None:
        self._stale = False
        now = self.now
        if self.first_update is None:
            self.first_update = now
        if self.me.flags & PRIMARY and not self._state_ok and now - self.first_update < _WRITABLE_DELAY_MS:
            return
        served = reachable = 0
        self.size = 0
        for member in self.members.values():
            if not member.slots:
                continue
            if not member.flags & FAIL:
                served |= member.slots
            if member.flags & PRIMARY:
                self.size += 1
                reachable += not member.flags & (FAIL | PFAIL)
        ok = served == ALL_SLOTS or not self.server.flag("cluster-require-full-coverage")
        if reachable < self.size // 2 + 1:
            ok = False
            self.minority_time = now
        if ok != self._state_ok:
            rejoin = min(max(self.timeout, 500.0), 5000.0)
            if ok and self.me.flags & PRIMARY and now - self.minority_time < rejoin:
                return
            self._state_ok = ok

    # --- failovers --------------------------------------------------------------------------------------------------

    def reset_manual_failover(self) -> None:
        if self.mf_replica is not None:
            self.server.paused_until = 0.0
        self.mf_end = 0.0
        self.mf_can_start = False
        self.mf_replica = None
        self.mf_offset = None

    def start_manual_failover(self, mode: str) -> None:
        self.reset_manual_failover()
        self.mf_end = self.now + _MANUAL_FAILOVER_MS
        if mode == "TAKEOVER":
            self.bump_epoch()
            self._replace_primary()
        elif mode == "FORCE":
            self.mf_can_start = True
        elif self.me.primary is not None:
            self._send_to(self.me.primary, MF_START)

    def _receive_failover_start(self, link: Link, inbound: bool, sender: Member) -> None:
        if sender.primary is not self.me:
            return
        self.reset_manual_failover()
        self.mf_end = self.now + _MANUAL_FAILOVER_MS
        self.mf_replica = sender
        self.server.paused_until = self.simulation.now + 2 * _MANUAL_FAILOVER_MS / 1000
        self.ping(link, PING, inbound)

    def handle_manual_failover(self) -> None:
        if not self.mf_end or self.mf_can_start or self.mf_offset is None:
            return
        if self.mf_offset == self.server.offset:
            self.mf_can_start = True
            self.handle_failover()

    def handle_failover(self) -> None:
        """Ask for votes, or take over when there are enough."""
        manual = bool(self.mf_end and self.mf_can_start)
        primary = self.me.primary
        if self.me.flags & PRIMARY or primary is None or not primary.slots:
            return
        if not primary.flags & FAIL and not manual:
            return
        now = self.now
        if not manual and self._data_too_old():
            return
        auth_timeout = max(self.timeout * 2, 2000.0)
        age = now - self.auth_time
        if age > auth_timeout * 2:
            self.auth_count = 0
            self.auth_sent = False
            self.auth_rank = 0 if self.mf_end else self._rank(primary)
            delay = 0.0 if self.mf_end else 500 + self.random.random() * 500 + self.auth_rank * 1000
            self.auth_time = now + delay
            self.broadcast_pong(local_replicas=True)
            if self.mf_end:
                self.simulation.schedule(0.0, self.handle_failover)
            return
        if not self.auth_sent and not self.mf_end:
            rank = self._rank(primary)
            if rank > self.auth_rank:
                self.auth_time += (rank - self.auth_rank) * 1000
                self.auth_rank = rank
        if now < self.auth_time or age > auth_timeout:
            return
        if not self.auth_sent:
            self.current_epoch += 1
            self.auth_epoch = self.current_epoch
            packet = Packet(AUTH_REQUEST, self)
            packet.force_ack = bool(self.mf_end)
            self._broadcast(packet)
            self.auth_sent = True
        elif self.auth_count >= self.size // 2 + 1:
            self.me.epoch = max(self.me.epoch, self.auth_epoch)
            self._replace_primary()

    def _data_too_old(self) -> bool:
        age = self.server.replication_age * 1000
        if age > self.timeout:
            age -= self.timeout
        return age > 10_000 + self.timeout * 10

    def _rank(self, primary: Member) -> int:
        mine = self.server.offset
        return sum(other is not self.me and other.offset > mine for other in self.replicas_of(primary))

    def _replace_primary(self) -> None:
        old = self.me.primary
        if self.me.flags & PRIMARY or old is None:
            return
        self.set_as_primary(self.me)
        self.server.stop_replicating()
        self.bind(self.me, old.slots)
        self.update_state()
        self.broadcast_pong()
        self.reset_manual_failover()

    def _vote(self, candidate: Member, packet: Packet) -> None:
        if self.me.flags & REPLICA or not self.me.slots:
            return
        if packet.current_epoch < self.current_epoch or self.last_vote_epoch == self.current_epoch:
            return
        primary = candidate.primary
        if candidate.flags & PRIMARY or primary is None:
            return
        if not primary.flags & FAIL and not packet.force_ack:
            return
        limited = not (packet.force_ack and self.server.version.votes_again)
        if limited and self.now - primary.voted_time < self.timeout * 2:
            return
        for member in self.members.values():
            if member.epoch > packet.config_epoch and member.slots & packet.slots & ~self.not_claiming:
                return
        self.last_vote_epoch = self.current_epoch
        primary.voted_time = self.now
        self._send_to(candidate, AUTH_ACK)

    def _migrate_to_orphan(self, most: int) -> None:
        primary = self.me.primary
        if not self.state_ok or primary is None or self._working_replicas(primary) <= 1:
            return
        candidate, target = self.me, None
        for member in self.members.values():
            working = self._working_replicas(member) if member.flags & PRIMARY else 0
            orphaned = not member.flags & (REPLICA | FAIL) and member.flags & MIGRATE_TO and not working
            if orphaned:
                if target is None and member.slots:
                    target = member
                if not member.orphaned_time:
                    member.orphaned_time = self.now
            else:
                member.orphaned_time = 0
            if working == most:
                candidate = min([candidate, *self.replicas_of(member)], key=lambda one: one.node_id)
        if target and candidate is self.me and self.now - target.orphaned_time > _REPLICA_MIGRATION_MS:
            self.set_primary(target)

    def _working_replicas(self, primary: Member) -> int:
        return sum(not replica.flags & FAIL for replica in self.replicas_of(primary))

    # --- ten times a second -----------------------------------------------------------------------------------------

    def cron(self) -> None:
        now, timeout = self.now, self.timeout
        self.iteration += 1
        self._reconnect(now)
        if not self.iteration % 10:
            self._ping_somebody()
        pfail = self._look_for_failures(now, timeout)
        me = self.me
        if me.flags & REPLICA and self.server.target is None and me.primary is not None and me.primary.ip:
            self.server.replicate_from(me.primary.ip, me.primary.port)
        if self.mf_end and self.mf_end < now:
            self.reset_manual_failover()
        if me.flags & REPLICA:
            self.handle_manual_failover()
            self.handle_failover()
            if self.server.flag("cluster-allow-replica-migration"):
                self._consider_migration()
        if pfail or self._stale or not self._state_ok:
            self.update_state()

    def _reconnect(self, now: float) -> None:
        self.pfail_members = 0
        for member in list(self.members.values()):
            if member.flags & (MYSELF | NOADDR):
                continue
            if member.flags & PFAIL:
                self.pfail_members += 1
            if member.flags & HANDSHAKE and now - member.created > self.handshake_timeout:
                self.delete(member)
            elif member.link is None:
                self._connect(member, now)
            elif (
                self.server.version.meets_again
                and not member.flags & HANDSHAKE
                and member.inbound is None
                and now - member.inbound_freed > self.handshake_timeout
                and now - member.meet_sent > self.handshake_timeout
            ):
                member.meet_sent = now
                self.ping(member.link, MEET_PACKET)

    def _connect(self, member: Member, now: float) -> None:
        listens, peer = self.simulation.bus_at(self.server, member.ip, member.bus_port)
        if not listens:
            member.ping_sent = member.ping_sent or now
            return
        link = Link(self.server, peer, member, now)
        member.link = link
        self.server.links.add(link)
        if peer is None:
            return
        peer.links.add(link)
        before = member.ping_sent
        self.ping(link, MEET_PACKET if member.flags & MEET else PING)
        if before:
            member.ping_sent = before
        member.flags &= ~MEET

    def _ping_somebody(self) -> None:
        oldest: Member | None = None
        for member in self.random.choices(list(self.members.values()), k=5):
            if member.link is None or member.ping_sent or member.flags & (MYSELF | HANDSHAKE):
                continue
            if oldest is None or oldest.pong_received > member.pong_received:
                oldest = member
        if oldest is not None and oldest.link is not None:
            self.ping(oldest.link, PING)

    def _look_for_failures(self, now: float, timeout: float) -> bool:
        found = False
        half = timeout / 2
        for member in self.members.values():
            if member.flags & (MYSELF | NOADDR | HANDSHAKE):
                continue
            link = member.link
            if member.ping_sent == 0:
                overdue = now - member.pong_received > half
                if link is not None and (overdue or self._hands_over_to(member)):
                    self.ping(link, PING)
                continue
            ping_delay, data_delay = now - member.ping_sent, now - member.data_received
            if link is not None and now - link.created > timeout and ping_delay > half and data_delay > half:
                link.close()
            if self._hands_over_to(member) and member.link is not None:
                self.ping(member.link, PING)
                continue
            if min(ping_delay, data_delay) > timeout and not member.flags & (PFAIL | FAIL):
                member.flags |= PFAIL
                found = True
                if self.size == 1 and self.me.flags & PRIMARY and self.server.version.fails_alone:
                    self._mark_failing(member)
        return found

    def _hands_over_to(self, member: Member) -> bool:
        return bool(self.mf_end and self.mf_replica is member and self.me.flags & PRIMARY)

    def _consider_migration(self) -> None:
        orphaned = most = mine = 0
        for member in self.members.values():
            if not member.flags & PRIMARY or member.flags & (FAIL | MYSELF | NOADDR | HANDSHAKE):
                continue
            working = self._working_replicas(member)
            orphaned += not working and bool(member.slots) and bool(member.flags & MIGRATE_TO)
            most = max(most, working)
            if self.me.primary is member:
                mine = working
        if orphaned and most >= 2 and mine == most:
            self._migrate_to_orphan(most)

    # --- text -------------------------------------------------------------------------------------------------------

    def describe(self, member: Member) -> str:
        """One line of CLUSTER NODES."""
        flags = ",".join(name for bit, name in _FLAG_NAMES if member.flags & bit) or "noflags"
        epoch = member.primary.epoch if member.flags & REPLICA and member.primary else member.epoch
        connected = "connected" if member.link is not None or member is self.me else "disconnected"
        primary = member.primary.node_id if member.primary else "-"
        line = (
            f"{member.node_id} {member.ip}:{member.port}@{member.bus_port} {flags} {primary} "
            f"{int(member.ping_sent)} {int(member.pong_received)} {epoch} {connected}{range_text(member.slots)}"
        )
        if member is self.me and (self.migrating or self.importing):
            for slot in sorted({*self.migrating, *self.importing}):
                if slot in self.migrating:
                    line += f" [{slot}->-{self.migrating[slot].node_id}]"
                else:
                    line += f" [{slot}-<-{self.importing[slot].node_id}]"
        return line

    def nodes_text(self) -> str:
        return "".join(f"{self.describe(member)}\n" for member in self.members.values())

    def info_text(self) -> str:
        assigned = ok = pfail = fail = 0
        for member in self.members.values():
            number = member.slots.bit_count()
            assigned += number
            if member.flags & FAIL:
                fail += number
            elif member.flags & PFAIL:
                pfail += number
            else:
                ok += number
        me = self.me
        epoch = me.primary.epoch if me.flags & REPLICA and me.primary else me.epoch
        return (
            f"cluster_state:{'ok' if self.state_ok else 'fail'}\r\n"
            f"cluster_slots_assigned:{assigned}\r\ncluster_slots_ok:{ok}\r\ncluster_slots_pfail:{pfail}\r\n"
            f"cluster_slots_fail:{fail}\r\ncluster_known_nodes:{len(self.members)}\r\ncluster_size:{self.size}\r\n"
            f"cluster_current_epoch:{self.current_epoch}\r\ncluster_my_epoch:{epoch}\r\n"
        )
