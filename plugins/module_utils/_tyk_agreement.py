# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection and may change at any time.

"""Whether several Tyk components, each checked on its own host, use one and the same Redis. No I/O happens here."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass
from itertools import combinations

# The parts of a store's "agreement" that have to be equal for all who share it, and how to speak about them.
_ASPECTS: t.Sequence[tuple[str, str, str]] = (
    ("mode", "how they use Redis", "give all of them the same cluster switch and the same Sentinel master"),
    ("database", "the database", "give all of them the same one"),
    ("tls", "TLS", "switch it on or off for all of them"),
    ("addresses", "the addresses of Redis", "give all of them the same list"),
)


@dataclass(frozen=True)
class _Purpose:
    """What a store is for, and who has to agree about it."""

    name: str
    components: tuple[str, ...]
    disagree: str
    elsewhere: str


# "You must use the same settings across the Gateway, Dashboard and Pump" (docs, redis-cluster-sentinel): keys, policies
# and signals go through the main store, and a pump takes away what gateways, or MDCB for them, put into the analytics.
_PURPOSES = (
    _Purpose(
        "main",
        ("gateway", "dashboard", "mdcb"),
        "The Tyk components disagree",
        "The Tyk components do not reach one and the same Redis",
    ),
    _Purpose(
        "analytics",
        ("gateway", "mdcb", "pump"),
        "Those who write and those who read the analytics disagree",
        "Analytics are not read where they are written, so that they get lost",
    ),
    _Purpose(
        "cache",
        ("gateway",),
        "The gateways disagree, as to their cache,",
        "The gateways do not share one cache",
    ),
)


@dataclass(frozen=True)
class _User:
    """One component on one host, and the one of its stores that is compared."""

    name: str
    store: tuple[int, int]
    agreement: t.Mapping[str, t.Any]

    @property
    def nodes(self) -> frozenset[str]:
        return frozenset(self.agreement.get("node_ids") or ())


def disagreements(results: t.Sequence[tuple[str, str, t.Mapping[str, t.Any]]]) -> list[str]:
    """Compare what the components use, for each purpose among those who share it.

    Args:
        results: host, component and what ``tyk_redis_check`` returned for it.

    Returns:
        One sentence for each disagreement; none when there is nothing to object to.
    """
    sentences = [
        f"{component} on {host} returned nothing to compare with the others; see why its check ended early."
        for host, component, result in results
        if not result.get("stores")
    ]
    compared: set[frozenset[tuple[int, int]]] = set()
    for purpose in _PURPOSES:
        users = [
            _User(f"{component} on {host}", (number, position), store.get("agreement") or {})
            for number, (host, component, result) in enumerate(results)
            if component in purpose.components
            for position, store in enumerate(result.get("stores") or ())
            if purpose.name in (store.get("purposes") or ())
        ]
        told = [user for user in users if user.agreement]
        # Two who share one store for several purposes are told about it once.
        pairs = {frozenset((one.store, other.store)) for one, other in combinations(told, 2)} - compared
        sentences += _about_aspects(purpose, told, pairs)
        sentences += _about_nodes(purpose, told, pairs)
        compared |= pairs
    # Who misses a node in one store misses it for each of the store's purposes.
    return list(dict.fromkeys(sentences))


def _about_aspects(purpose: _Purpose, users: t.Sequence[_User], pairs: t.Collection[frozenset[t.Any]]) -> list[str]:
    sentences = []
    for key, what, remedy in _ASPECTS:
        values = [_shown(key, user.agreement.get(key)) for user in users]
        if _differ(users, values, pairs):
            sentences.append(f"{purpose.disagree} about {what}: {_told(users, values)}; {remedy}.")
    return sentences


def _about_nodes(purpose: _Purpose, users: t.Sequence[_User], pairs: t.Collection[frozenset[t.Any]]) -> list[str]:
    """Compare the nodes that were seen. Those who saw none have failed on their own account."""
    seeing = [user for user in users if user.nodes]
    redises = _redises(seeing)
    of_user = [next(redis for redis in redises if user.nodes <= redis) for user in seeing]
    if len(redises) > 1:
        values = [f"a Redis of {_nodes(len(redis))}, {min(redis)[:8]} among them" for redis in of_user]
        if not _differ(seeing, of_user, pairs):
            return []
        return [f"{purpose.elsewhere}: {_told(seeing, values)}; give all of them the same."]
    return [
        f"{user.name} does not see the nodes {', '.join(sorted(node[:8] for node in redis - user.nodes))}, which other "
        "Tyk components see in the same cluster; let the cluster settle, and check again."
        for user, redis in zip(seeing, of_user)
        if user.nodes != redis
    ]


def _redises(users: t.Sequence[_User]) -> list[frozenset[str]]:
    """The nodes of each Redis, from the nodes that each user sees of it."""
    redises: list[frozenset[str]] = []
    for user in users:
        joined = [redis for redis in redises if redis & user.nodes]
        redises = [redis for redis in redises if redis not in joined]
        redises.append(user.nodes.union(*joined))
    return redises


def _differ(users: t.Sequence[_User], values: t.Sequence[t.Any], pairs: t.Collection[frozenset[t.Any]]) -> bool:
    return any(
        value != other_value and frozenset((user.store, other.store)) in pairs
        for (user, value), (other, other_value) in combinations(zip(users, values), 2)
    )


def _nodes(count: int) -> str:
    return "1 node" if count == 1 else f"{count} nodes"


def _told(users: t.Sequence[_User], values: t.Sequence[str]) -> str:
    """Who uses what. Those who share a value come together, in the order of the first of them."""
    names: dict[str, list[str]] = {}
    for user, value in zip(users, values):
        names.setdefault(value, []).append(user.name)
    return "; ".join(f"{', '.join(those)}: {value}" for value, those in names.items())


def _shown(key: str, value: t.Any) -> str:
    if key == "addresses":
        # The order of the list means nothing to a client.
        return ", ".join(sorted(value or ()))
    if key == "tls":
        return "on" if value else "off"
    return str(value)
