# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection and may change at any time.

"""The slots of a Redis Cluster, the keys that belong to them, and what CLUSTER SLOTS says. No I/O happens here."""

from __future__ import annotations

import binascii
import ipaddress
import itertools
import typing as t
from dataclasses import dataclass

from ansible_collections.apiops.tyk_redis.plugins.module_utils._redis_client import Address

SLOTS = 16384
# What a node announces that is to be called by a name and has none (cluster-preferred-endpoint-type hostname).
_NO_NAME = "?"


@dataclass(frozen=True)
class Member:
    """One node as the cluster announces it."""

    node_id: str
    # What a client dials; None when the cluster announces nothing that can be dialled.
    address: Address | None
    # Every way to write its address, to compare it with what the caller expects.
    names: frozenset[str]
    primary_id: str
    ranges: tuple[tuple[int, int], ...] = ()

    @property
    def is_primary(self) -> bool:
        return self.node_id == self.primary_id


@dataclass(frozen=True)
class Layout:
    """The reply of one server to CLUSTER SLOTS."""

    members: tuple[Member, ...]

    def by_id(self) -> dict[str, Member]:
        return {member.node_id: member for member in self.members}

    @property
    def gaps(self) -> list[tuple[int, int]]:
        served = sorted(slots for member in self.members if member.is_primary for slots in member.ranges)
        gaps, following = [], 0
        for start, end in served:
            if start > following:
                gaps.append((following, start - 1))
            following = max(following, end + 1)
        if following < SLOTS:
            gaps.append((following, SLOTS - 1))
        return gaps

    def roles(self) -> dict[str, tuple[str, tuple[tuple[int, int], ...]]]:
        return {member.node_id: (member.primary_id, member.ranges) for member in self.members}

    def is_unsettled_with(self, other: Layout) -> bool:
        """Whether both are of one cluster, which they have nodes of in common, and differ nevertheless."""
        ours, theirs = self.roles(), other.roles()
        return ours != theirs and not ours.keys().isdisjoint(theirs)


def key_slot(key: str) -> int:
    """The slot of a key: CRC16 (XMODEM) of the key, or of what stands between its first braces."""
    data = key.encode()
    start = data.find(b"{")
    if start >= 0:
        end = data.find(b"}", start + 1)
        if end > start + 1:
            data = data[start + 1 : end]
    return binascii.crc_hqx(data, 0) % SLOTS


def key_in(prefix: str, ranges: t.Sequence[tuple[int, int]]) -> str:
    """A key with this prefix in one of these slots."""
    tags = (str(number) for number in itertools.count())
    tag = next(tag for tag in tags if any(start <= key_slot(tag) <= end for start, end in ranges))
    return f"{prefix}{{{tag}}}"


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _order(member: Member) -> tuple[bool, tuple[tuple[int, int], ...], str, str]:
    """Primaries first, by their slots, then the replicas by address."""
    return not member.is_primary, member.ranges, str(member.address), member.node_id


def parse_slots(reply: t.Sequence[t.Any], asked: Address) -> Layout:
    """Read the reply of CLUSTER SLOTS as go-redis does."""
    found: dict[str, Member] = {}
    ranges: dict[str, list[tuple[int, int]]] = {}
    for entry in reply:
        start, end, *nodes = entry
        primary_id = str(nodes[0][2])
        ranges.setdefault(primary_id, []).append((int(start), int(end)))
        for node in nodes:
            host, port, node_id = node[0], int(node[1]), str(node[2])
            if node_id in found:
                continue
            address = Address(str(host), port) if host and host != _NO_NAME else None
            names = {str(address)} if address else set()
            # From Redis 7 on, the forms of the address that are not preferred follow as names and values.
            extra = list(node[3]) if len(node) > 3 else []
            names.update(str(Address(str(value), port)) for value in extra[1::2] if value)
            if address and is_loopback(address.host) and is_literal(asked.host) and not is_loopback(asked.host):
                # Such a server takes the client for a local one; go-redis goes to the host that it has asked.
                address = Address(asked.host, port)
                names.add(str(address))
            found[node_id] = Member(node_id, address, frozenset(names), primary_id)
    members = (
        Member(m.node_id, m.address, m.names, m.primary_id, tuple(sorted(ranges.get(m.node_id, ()))))
        for m in found.values()
    )
    return Layout(tuple(sorted(members, key=_order)))


def show_ranges(ranges: t.Iterable[tuple[int, int]]) -> list[str]:
    return [str(start) if start == end else f"{start}-{end}" for start, end in ranges]
