# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which replica takes a primary's role over, when it may be asked, and when everybody has noticed. No I/O.

Private to this collection.

A replica that ran for election keeps the votes and the moment of it. Redis, and Valkey before 8.1, begin no new
election within four node timeouts of it (at least 4 s): within the first two of them the replica counts the old votes
again, takes the role under an epoch that is out of date and is put back by the others; within the next two it does
nothing. The primary holds writes back meanwhile, for up to 5 s. Besides, nobody votes twice about one old primary
within two node timeouts. A server tells neither moment, but it counts the requests for votes that it sent
(auth-req_sent) and the handovers that it was asked for (mfstart_received) since it started, and the age of a
replication link is a lower bound for the time since either side last changed its role.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ansible_collections.apiops.tyk_redis.plugins.module_utils._cluster_view import (
    MemberLine,
    parse_info,
    version_tuple,
)
from ansible_collections.apiops.tyk_redis.plugins.module_utils._redis_client import Address

DEFAULT_NODE_TIMEOUT = 15000
# The primary holds writes back until the replica has the rest of the stream, so there must not be much of it.
MOST_BYTES_BEHIND = 1 << 20
_LEAST_ELECTION_SECONDS = 2.0
_AGE = re.compile(r" age=(\d+) ")


@dataclass(frozen=True)
class Server:
    """What one server says about itself."""

    address: Address
    product: str
    version: tuple[int, ...]
    replica: bool
    link_up: bool
    syncing: bool
    loading: bool
    offset: int
    elections: int
    handovers: int
    link_age: int
    node_timeout: int

    @property
    def remembers_votes(self) -> bool:
        return self.product == "redis" or self.version < (8, 1)


@dataclass(frozen=True)
class Candidate:
    """A replica, why it cannot take over now, and for how many seconds nobody should ask it to."""

    address: Address
    unfit: str
    reluctant: bool = False
    offset: int = 0
    wait: float = 0.0


def read_server(
    address: Address, info: str, cluster_info: str, client_list: str = "", node_timeout: int = DEFAULT_NODE_TIMEOUT
) -> Server:
    """Make a server of its replies.

    Args:
        client_list: the reply to CLIENT LIST TYPE master; empty when it may not be asked.
        node_timeout: in milliseconds.

    Raises:
        ValueError: a number is none.
    """
    fields = parse_info(info)
    counters = parse_info(cluster_info)
    product = "valkey" if "valkey_version" in fields else "redis"
    replica = fields.get("role") == "slave"
    age = _AGE.search(client_list)
    return Server(
        address=address,
        product=product,
        version=version_tuple(fields.get(f"{product}_version", "")),
        replica=replica,
        link_up=fields.get("master_link_status") == "up",
        syncing=fields.get("master_sync_in_progress", "0") != "0",
        loading=fields.get("loading", "0") != "0",
        offset=int(fields.get("slave_repl_offset" if replica else "master_repl_offset", "0")),
        # A server leaves counters out that are 0.
        elections=int(counters.get("cluster_stats_messages_auth-req_sent", "0")),
        handovers=int(counters.get("cluster_stats_messages_mfstart_received", "0")),
        link_age=int(age.group(1)) if age else 0,
        node_timeout=node_timeout,
    )


def candidate(primary: Server, replica: Server, replicas: Iterable[Server], reluctant: bool) -> Candidate:
    """Judge one replica.

    Args:
        replicas: all replicas of the primary that could be asked.
        reluctant: whether it is set to cluster-replica-no-failover.
    """
    return Candidate(
        replica.address, _unfit(primary, replica), reluctant, replica.offset, _wait(primary, replica, list(replicas))
    )


def _unfit(primary: Server, replica: Server) -> str:
    if replica.loading:
        return "is still loading its data"
    if not replica.replica:
        return "is no replica any more"
    if replica.syncing:
        return "is still copying the primary's data"
    if not replica.link_up:
        return "has no link to the primary"
    if replica.product == primary.product and replica.version < primary.version:
        return f"runs {replica.product} {_dotted(replica.version)}, older than the primary's {_dotted(primary.version)}"
    behind = primary.offset - replica.offset
    if behind > MOST_BYTES_BEHIND:
        return f"is {behind} bytes behind"
    return ""


def _wait(primary: Server, replica: Server, replicas: Sequence[Server]) -> float:
    if not primary.remembers_votes:
        return 0.0
    timeout = max(primary.node_timeout, replica.node_timeout) / 1000
    wait = 0.0
    if replica.elections:
        wait = 2 * max(2 * timeout, _LEAST_ELECTION_SECONDS) - replica.link_age
    # Only a primary that took its role in an election can have lost it shortly before.
    if primary.elections and (primary.handovers or any(other.elections for other in replicas)):
        in_office = max(other.link_age for other in replicas)
        wait = max(wait, 2 * timeout - in_office)
    return max(0.0, wait)


def best(candidates: Iterable[Candidate]) -> Candidate | None:
    """The one that may be asked first; then the one that has most of the data."""
    fit = [one for one in candidates if not one.unfit]
    return min(fit, key=lambda one: (one.reluctant, one.wait, -one.offset, one.address), default=None)


def holds_writes_back(server: Server) -> bool:
    """Whether this version goes on holding writes back for 10 s after it has handed its role over."""
    return server.product == "redis" and (6, 2) <= server.version < (6, 2, 8)


def would_vote(lines: Sequence[MemberLine], primary_id: str, replica_id: str) -> bool:
    """Whether a primary with this view knows the replica as one, as it must to vote for it."""
    return any(line.node_id == replica_id and line.primary_id == primary_id for line in lines)


def voters(lines: Sequence[MemberLine]) -> list[MemberLine]:
    """The members that may vote."""
    return [line for line in lines if line.role == "primary" and line.slots]


def others(lines: Sequence[MemberLine]) -> list[MemberLine]:
    """The members beside the one asked that can be asked too: not those that are down or not even met."""
    unknown = {"fail", "handshake", "noaddr", "myself"}
    return [line for line in lines if line.host and not line.flags & unknown]


def dissenters(views: Mapping[Address, Sequence[MemberLine]], leader: Address) -> list[Address]:
    """The nodes that are still greeting others, or whose view of roles, slots and epochs differs from the leader's.

    Only what they say about nodes that have a view is compared: about a dead one they may differ for ever.
    """
    ids = {line.node_id for lines in views.values() for line in lines if "myself" in line.flags}
    opinions = {address: _opinion(lines, ids) for address, lines in views.items()}
    greeting = {address for address, lines in views.items() if any("handshake" in line.flags for line in lines)}
    return [address for address in views if address in greeting or opinions[address] != opinions[leader]]


def _opinion(lines: Sequence[MemberLine], ids: set[str]) -> frozenset[tuple[object, ...]]:
    return frozenset(
        (line.node_id, line.role, line.primary_id, line.epoch, line.slots) for line in lines if line.node_id in ids
    )


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
