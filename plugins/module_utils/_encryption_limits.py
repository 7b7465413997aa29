# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection and may change at any time.

"""Whether Tyk's pools are too large for the encryption in front of Redis. No I/O happens here.

The figures are those of docs/which-encryption.md, measured by tests/benchmarks/encryption.py on one pair of cores:
other machines differ, but hardly by the factors that matter here.
"""

from __future__ import annotations

import typing as t

from ansible_collections.apiops.tyk_redis.plugins.module_utils._cluster_view import primaries_wanted
from ansible_collections.apiops.tyk_redis.plugins.module_utils._description import MAIN
from ansible_collections.apiops.tyk_redis.plugins.module_utils._tyk_pools import DEFAULT_POOL_SIZE, Demand, demands

# Beyond this many connections through one process of spiped, idle ones included, every command waits noticeably for its
# poll(2): 0.6 ms beside 200 idle connections, 1.2 ms beside 500, 2.5 ms beside 1000.
SPIPED_CONNECTIONS = 200
# Connections that can be opened a second.
OPENED_A_SECOND: t.Mapping[str, int] = {"tls": 800, "spiped": 600, "tls_tunnel": 1000}
# As long as Tyk's pools may take to fill again after a restart without a word.
PATIENCE_SECONDS = 10
# What the role tunnel gives a process unless tunnel_connections says otherwise.
TUNNEL_CONNECTIONS = 7500


def remarks(
    described: t.Mapping[str, t.Any],
    components: t.Mapping[str, int],
    instances: t.Iterable[str],
    tunnel_connections: int = TUNNEL_CONNECTIONS,
) -> list[str]:
    """A sentence for each limit that the pools may reach, which says what to choose instead; nothing while all fits.

    Args:
        described: the description.
        components: the number of hosts of each component.
        instances: the host of each Redis instance.
        tunnel_connections: how many connections one process of a tunnel takes.
    """
    mode = described.get("encryption") or "none"
    if described.get("topology") != "cluster" or mode == "none":
        return []
    size = described.get("pool_size") or DEFAULT_POOL_SIZE
    demanded = demands(components, described.get("sections") or {})
    total = size * sum(one.total(MAIN) for one in demanded)
    found = []
    if mode == "spiped" and total > SPIPED_CONNECTIONS:
        found.append(
            f"Tyk's pools may open {total} connections to one Redis instance, all through one process of spiped, which"
            f" becomes slow beyond about {SPIPED_CONNECTIONS}, idle ones included. Lower tyk_redis.pool_size (now"
            f" {size}), or use encryption tls or tls_tunnel, which idle connections do not slow."
        )
    where, needed = _fullest(mode, size, demanded, list(instances), described.get("replicas_per_primary") or 0)
    if needed > tunnel_connections:
        found.append(
            f"Tyk's pools may open {needed} connections through one process of a tunnel (on {where}), which takes"
            f" {tunnel_connections} (tunnel_connections); the others wait. Raise that, or lower tyk_redis.pool_size"
            f" (now {size})."
        )
    seconds = total // OPENED_A_SECOND[mode]
    if seconds > PATIENCE_SECONDS:
        faster = " Encryption tls_tunnel opens the most." if mode != "tls_tunnel" else ""
        found.append(
            f"Tyk's pools may open {total} connections to one Redis instance. With encryption {mode} about"
            f" {OPENED_A_SECOND[mode]} can be opened a second, so that after a restart of all of Tyk it takes about"
            f" {seconds} s until the pools are full again. Lower tyk_redis.pool_size (now {size}), and restart one host"
            f" after the other.{faster}"
        )
    return found


def _fullest(
    mode: str, size: int, demanded: t.Sequence[Demand], hosts: t.Sequence[str], replicas_per_primary: int
) -> tuple[str, int]:
    """Where the process of a tunnel is that may get the most connections of Tyk's pools, and how many.

    On a Redis host they come from all of Tyk. A process of spiped has one instance behind it; HAProxy has all of that
    host, which may all be primaries at some time. On a Tyk host HAProxy carries what the component there opens to all
    of the cluster, and pools grow on primaries only. Which components share a host is not known here: one is assumed.
    """
    total = size * sum(one.total(MAIN) for one in demanded)
    if mode == "spiped":
        return "a Redis host", total
    if mode != "tls_tunnel" or not demanded:
        return "", 0
    far = total * max((hosts.count(host) for host in hosts), default=0)
    component, pools = max(((one.component, one.pools.get(MAIN, 0)) for one in demanded), key=lambda one: one[1])
    near = size * pools * primaries_wanted(len(hosts), replicas_per_primary)
    name = "MDCB" if component == "mdcb" else f"the {component}"
    return (f"a host of {name}", near) if near > far else ("a Redis host", far)
