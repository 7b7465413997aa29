# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Form clusters with one replica per primary, until the view of every node is complete.

The peer is redis-cli --cluster create, and then waiting for the same state. A third contender is redis-cli with servers
that run with the node timeout with which the module forms a cluster: what of the difference is due to that.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from common import (
    Judge,
    Report,
    Sample,
    arguments,
    declared,
    host_of,
    in_turns,
    median,
    run_cli,
    run_module,
    running_servers,
    timed,
)
from servers import DISTRIBUTION, Server

NODE_TIMEOUT = 15000
FORMING_NODE_TIMEOUT = 2000
CLI, CLI_HURRIED, MODULE = "redis-cli", "redis-cli, node timeout 2 s", "redis_cluster"


def sample(count: int, version: str, node_timeout: int, form: Callable[[list[Server]], object]) -> Sample:
    """Form a cluster of fresh servers; their start is not counted."""
    with running_servers() as servers:
        extra = [f"cluster-node-timeout {node_timeout}"]
        cluster = [servers.start_server(version, host=host_of(number), extra=extra) for number in range(count)]
        judge = Judge(cluster, replicas=count // 2)
        returned = timed(lambda: form(cluster))
        waited = timed(judge.await_complete)
        for server in cluster:
            assert server.call("CONFIG", "GET", "cluster-node-timeout") == ["cluster-node-timeout", str(node_timeout)]
    return {"returned": returned, "seconds": returned + waited}


def by_cli(cluster: list[Server]) -> None:
    run_cli("--cluster", "create", *(server.address for server in cluster), "--cluster-replicas", 1, "--cluster-yes")


def by_module(cluster: list[Server]) -> None:
    run_module("redis_cluster", nodes=declared(cluster), node_timeout=NODE_TIMEOUT, timeout=120)


def main() -> None:
    options = arguments(
        __doc__,
        nodes={"type": int, "nargs": "+", "default": [6, 30, 100], "help": "the sizes (default: 6 30 100)"},
        version={"default": DISTRIBUTION, "help": "the server (default: that of the distribution)"},
    )
    report = Report("create", options.rounds)
    rows = []
    kept = {}
    for count in options.nodes:
        contenders = {
            CLI: partial(sample, count, options.version, NODE_TIMEOUT, by_cli),
            CLI_HURRIED: partial(sample, count, options.version, FORMING_NODE_TIMEOUT, by_cli),
            MODULE: partial(sample, count, options.version, NODE_TIMEOUT, by_module),
        }
        samples = in_turns(contenders, options.rounds)
        kept[count] = samples
        peer = median(samples, CLI, "seconds")
        for name in (CLI, CLI_HURRIED, MODULE):
            seconds = median(samples, name, "seconds")
            rows.append([count, name, median(samples, name, "returned"), seconds, f"{seconds / peer:.3f}"])
    head = ["nodes", "by", "returned after s", "complete after s", f"ratio to {CLI}"]
    report.add(f"Form a cluster ({options.version})", head, rows, kept)


if __name__ == "__main__":
    main()
