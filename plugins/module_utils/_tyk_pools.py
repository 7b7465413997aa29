# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection and may change at any time.

"""How many connections Tyk may open to one Redis node, and whether the node admits them. No I/O happens here.

Clients (go-redis): a pool holds up to so many connections to *each* node that it uses (v9.18.0 osscluster.go, PoolSize
"applies per cluster node and not for the whole cluster"). Tyk never switches reads to replicas on, so the pools grow on
primaries; but every replica may become one, so every node has to admit them.

Servers: a node refuses a new connection when its clients plus its connections of the cluster bus have reached
``maxclients`` (networking.c, acceptCommonHandler, the same from Redis 6.0.16 to 8.0 and in Valkey). Clients are all
that connected to the client port, replicas and Sentinels too, and on a replica also its link to its primary. The bus
counts as two for each other member (cluster.c or cluster_legacy.c, getClusterConnectionsCount).
tests/integration/test_pool_limits.py counts them on real servers.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ansible_collections.apiops.tyk_redis.plugins.module_utils._cluster_view import join_names, plural
from ansible_collections.apiops.tyk_redis.plugins.module_utils._description import MAIN

# What a component takes for a pool size of 0 or less, or for none. Gateway v5.14.0 storage/connection_handler.go and
# internal/rate/storage.go, Pump v1.16.0 storage/temporal_storage.go; Dashboard and MDCB are assumed to do the same.
DEFAULT_POOL_SIZE = 500
# The two of each other member that a node counts for the cluster bus.
BUS_CONNECTIONS = 2
# Beside its pools a gateway subscribes to a channel (v5.14.0 gateway/redis_signals.go), for which go-redis takes a
# connection outside of the pool, and the module tyk_redis_check connects once for the proof.
BESIDE_POOLS = 2
# For the replicas of a node or its link to its primary (two each while Redis 8 copies), the Sentinels (two each), for
# administrators, monitoring and the modules of this collection.
RESERVE = 32

# Which section's Redis each pool of a component uses; without a separate store that is the main one. The gateway's are
# the default, the cache and the analytics one (storage/connection_handler.go) and the rate limiter's (internal/rate).
# A pump's stores for analytics, uptime and its version share one pool (storage/temporal_storage.go, connectorSingleton;
# before 1.9.0 storage/redis.go, redisClusterSingleton). Dashboard and MDCB are closed source: one is assumed, and for
# MDCB another one for a separate analytics store.
_POOLS: t.Mapping[str, tuple[str, ...]] = {
    "gateway": ("storage", "storage", "cache_storage", "analytics_storage"),
    "dashboard": ("storage",),
    "pump": ("analytics_storage",),
    "mdcb": ("storage",),
}
_ADDITIONAL: t.Mapping[str, tuple[str, ...]] = {"mdcb": ("analytics_storage",)}

Limits = t.Mapping[str, t.Mapping[str, t.Optional[int]]]


class PoolsError(ValueError):
    """What is asked makes no sense. The text names the value and the remedy."""


@dataclass(frozen=True)
class Demand:
    """The pools of all hosts of one component: how many each host has in each deployment."""

    component: str
    hosts: int
    pools: t.Mapping[str, int]

    def total(self, deployment: str) -> int:
        """How many pools of that deployment all hosts have together."""
        return self.hosts * self.pools.get(deployment, 0)


def demands(components: t.Mapping[str, int], sections: t.Mapping[str, str]) -> list[Demand]:
    """Which pools there are, in a fixed order, without components that have no host.

    Args:
        components: the number of hosts of each component.
        sections: the deployment that a section (``cache_storage``, ``analytics_storage``) uses, if not ``main``.

    Raises:
        PoolsError: a component is unknown, or its number is negative.
    """
    for name, hosts in components.items():
        if name not in _POOLS:
            raise PoolsError(f"The component {name!r} is unknown; Tyk's are {', '.join(_POOLS)}.")
        if hosts < 0:
            raise PoolsError(f"The number of hosts of the component {name} is {hosts}; it must be 0 or more.")
    found = []
    for name in _POOLS:
        hosts = components.get(name, 0)
        if hosts:
            additional = [section for section in _ADDITIONAL.get(name, ()) if sections.get(section, MAIN) != MAIN]
            used = [sections.get(section, MAIN) for section in (*_POOLS[name], *additional)]
            found.append(Demand(name, hosts, {deployment: used.count(deployment) for deployment in used}))
    return found


def demand(
    components: t.Mapping[str, int], sections: t.Mapping[str, str], pool_sizes: t.Mapping[str, int]
) -> dict[str, dict[str, int]]:
    """The most connections that the pools of each component open to one node, for each deployment.

    Args:
        components: the number of hosts of each component.
        sections: the deployment that a section uses, if not ``main``.
        pool_sizes: the pool size of each deployment; none, 0 and less mean 500.
    """
    counts: dict[str, dict[str, int]] = {}
    for one in demands(components, sections):
        for deployment in one.pools:
            size = _pool_size(pool_sizes, deployment)
            counts.setdefault(deployment, {})[one.component] = one.total(deployment) * size
    return counts


def beside_pools(demanded: t.Sequence[Demand], deployment: str, nodes: int) -> int:
    """What a node of a deployment with so many nodes has to admit, or counts, beside the pools.

    The bus is counted without cluster mode too, where it is a few too many.
    """
    hosts = sum(one.hosts for one in demanded if deployment in one.pools)
    return hosts * BESIDE_POOLS + max(0, nodes - 1) * BUS_CONNECTIONS + RESERVE


def recommended(components: t.Mapping[str, int], sections: t.Mapping[str, str], maxclients: Limits) -> dict[str, int]:
    """The greatest pool size that every node of a deployment admits; 0 when none fits.

    Deployments that nobody uses, and those of which no limit is known, are left out.
    """
    demanded = demands(components, sections)
    sizes = {}
    for deployment, limits in maxclients.items():
        pools = sum(one.total(deployment) for one in demanded)
        known = [limit for limit in limits.values() if limit is not None]
        if pools and known:
            sizes[deployment] = max(0, min(known) - beside_pools(demanded, deployment, len(limits))) // pools
    return sizes


def remarks(
    components: t.Mapping[str, int],
    sections: t.Mapping[str, str],
    pool_sizes: t.Mapping[str, int],
    maxclients: Limits,
) -> list[str]:
    """One sentence or more for each deployment whose nodes may run out of connections; nothing while all fits.

    Args:
        components: the number of hosts of each component.
        sections: the deployment that a section uses, if not ``main``.
        pool_sizes: the pool size of each deployment; none, 0 and less mean 500.
        maxclients: the effective limit of each node of each deployment, by name; None where it is not known. All nodes
            must be named, because each one counts its connections to the others.
    """
    demanded = demands(components, sections)
    greatest = recommended(components, sections, maxclients)
    found = []
    for deployment, counts in demand(components, sections, pool_sizes).items():
        limits = maxclients.get(deployment, {})
        others = beside_pools(demanded, deployment, len(limits))
        needed = sum(counts.values()) + others
        tight = {name: limit for name, limit in limits.items() if limit is not None and limit < needed}
        if tight:
            found.append(
                f"Tyk's pools may open {sum(counts.values())} connections to {_where(deployment)}"
                f" ({_sum(demanded, deployment, _pool_size(pool_sizes, deployment))}) and {others} more are needed for"
                " subscriptions, the cluster bus, replication and administration, but maxclients is"
                f" {_limits(tight)}. A node that has reached it refuses every new connection with 'max number of"
                " clients', that of a replica or an administrator too, and gateways fail requests or answer 429 without"
                f" reason. {_remedy(deployment, greatest[deployment], needed)}"
            )
    return found


def _pool_size(pool_sizes: t.Mapping[str, int], deployment: str) -> int:
    size = pool_sizes.get(deployment, 0)
    return size if size > 0 else DEFAULT_POOL_SIZE


def _sum(demanded: t.Sequence[Demand], deployment: str, size: int) -> str:
    return ", ".join(
        f"{_hosts(one)} x {plural(one.pools[deployment], 'pool')} x {size} = {one.total(deployment) * size}"
        for one in demanded
        if deployment in one.pools
    )


def _hosts(one: Demand) -> str:
    return f"{one.hosts} MDCB" if one.component == "mdcb" else plural(one.hosts, one.component)


def _limits(tight: t.Mapping[str, int]) -> str:
    by_limit: dict[int, list[str]] = {}
    for name, limit in tight.items():
        by_limit.setdefault(limit, []).append(name)
    return ", and ".join(f"{limit} on {join_names(by_limit[limit])}" for limit in sorted(by_limit))


def _where(deployment: str) -> str:
    return "one Redis node" if deployment == MAIN else f"one node of the Redis deployment {deployment}"


def _remedy(deployment: str, greatest: int, needed: int) -> str:
    main = deployment == MAIN
    key = "tyk_redis.pool_size" if main else f"tyk_redis.deployments.{deployment}.pool_size"
    variable = " (redis_maxclients where the roles make the server)" if main else ""
    more = (
        f"raise its maxclients{variable} to {needed} or more; a server that may not open 32 files more than that lowers"
        " it by itself."
    )
    return f"Lower {key} to {greatest} or less, or {more}" if greatest else f"No pool size fits: {more}"
