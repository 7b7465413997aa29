# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What counts against maxclients on real servers, and that the remarks about pools come when connections run out.

The servers' side of it is in their source: networking.c, acceptCommonHandler, and getClusterConnectionsCount.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from conftest import RunModule, declared
from life import start, wait_until
from servers import Server, Servers

from ansible_collections.apiops.tyk_redis.plugins.filter.tyk_redis import FilterModule
from ansible_collections.apiops.tyk_redis.plugins.module_utils._redis_client import RedisProblem
from ansible_collections.apiops.tyk_redis.plugins.module_utils._tyk_pools import (
    BUS_CONNECTIONS,
    RESERVE,
    demand,
    recommended,
)

pool_remarks = FilterModule().filters()["pool_remarks"]

VERSIONS = pytest.mark.parametrize("version", ["redis-6.0", "redis-7.0", "redis-8.0", "valkey-9.1"])
LIMIT = 100
ONE_GATEWAY = {"gateway": 1}


@contextmanager
def clients(server: Server, wanted: int) -> Iterator[int]:
    """So many connections at once, or as many as the server admits; how many these are."""
    with ExitStack() as stack:
        for admitted in range(wanted):
            connection = stack.enter_context(server.connection())
            try:
                connection.call("PING")
            except RedisProblem as problem:
                assert problem.kind == "max-clients", problem
                yield admitted
                return
        yield wanted


def room(server: Server) -> int:
    with clients(server, 10 * LIMIT) as admitted:
        return admitted


def form(servers: Servers, run_module: RunModule, version: str) -> tuple[list[Server], list[dict[str, Any]]]:
    """Three primaries with a replica each, all with the same limit, and what is known about them."""
    cluster = start(servers, version=version, extra=[f"maxclients {LIMIT}"])
    run_module("redis_cluster", nodes=declared(cluster), replicas_per_primary=1, node_timeout=15000, timeout=30)
    info = run_module("redis_cluster_info", nodes=declared(cluster), replicas_per_primary=1)
    assert info["cluster"]["healthy"] is True, info["problems"]
    return cluster, info["cluster"]["nodes"]


@VERSIONS
def test_replication_and_the_bus_count_against_the_limit(servers: Servers, run_module: RunModule, version: str) -> None:
    assert room(servers.start_server(version, cluster=False, extra=[f"maxclients {LIMIT}"])) == LIMIT
    assert room(servers.start_server(version, extra=[f"maxclients {LIMIT}"])) == LIMIT

    cluster, nodes = form(servers, run_module, version)
    assert [node["maxclients"] for node in nodes] == [LIMIT] * 6
    # A primary has one replica, and a replica is linked to one primary.
    assert [room(server) for server in cluster] == [LIMIT - 5 * BUS_CONNECTIONS - 1] * 6


@VERSIONS
def test_nothing_is_said_while_all_connections_are_admitted(
    servers: Servers, run_module: RunModule, version: str
) -> None:
    cluster, nodes = form(servers, run_module, version)
    size = recommended(ONE_GATEWAY, {}, {"main": {node["name"]: node["maxclients"] for node in nodes}})["main"]
    fits = demand(ONE_GATEWAY, {}, {"main": size})["main"]["gateway"]
    assert pool_remarks({"pool_size": size}, ONE_GATEWAY, nodes) == []
    for server in cluster:
        with clients(server, fits + RESERVE) as admitted:
            assert admitted == fits + RESERVE

    # The first size for which a remark comes takes from the reserve; far beyond it connections are refused.
    assert len(pool_remarks({"pool_size": size + 1}, ONE_GATEWAY, nodes)) == 1
    too_many = demand(ONE_GATEWAY, {}, {"main": LIMIT // 4})["main"]["gateway"]
    (remark,) = pool_remarks({"pool_size": LIMIT // 4}, ONE_GATEWAY, nodes)
    assert f"(1 gateway x 4 pools x {LIMIT // 4} = {too_many})" in remark
    assert f"maxclients is {LIMIT} on redis-1, redis-2, redis-3, redis-4, redis-5 and redis-6." in remark
    assert f"Lower tyk_redis.pool_size to {size} or less" in remark
    for server in cluster:
        with clients(server, too_many) as admitted:
            assert admitted < too_many

    # As many as the remark asks for.
    wanted = int(remark.partition(" make the server) to ")[2].partition(" ")[0])
    for server in cluster:
        server.call("CONFIG", "SET", "maxclients", wanted)
        with clients(server, too_many + RESERVE) as admitted:
            assert admitted == too_many + RESERVE
    nodes = run_module("redis_cluster_info", nodes=declared(cluster))["cluster"]["nodes"]
    assert pool_remarks({"pool_size": LIMIT // 4}, ONE_GATEWAY, nodes) == []


@VERSIONS
def test_a_full_node_refuses_its_replica_too(servers: Servers, run_module: RunModule, version: str) -> None:
    cluster, nodes = form(servers, run_module, version)
    by_name = {node["name"]: server for node, server in zip(nodes, cluster, strict=True)}
    link = next(node for node in nodes if node["role"] == "replica")
    primary, replica = by_name[link["primary_name"]], by_name[link["name"]]
    with primary.connection() as inside:
        inside.call("CONFIG", "SET", "maxclients", 1)
        inside.call("CLIENT", "KILL", "TYPE", "replica")
        wait_until(lambda: "max number of clients + cluster connections reached" in replica.log)
        with pytest.raises(RedisProblem, match="has no connection left"):
            primary.call("PING")
