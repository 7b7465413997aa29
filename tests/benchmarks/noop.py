# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What it costs to find that nothing is to be done, and to prove that every node sees the same.

The proof asks every node what it sees: in full, or for a digest that the server computes. Both are timed as the modules
do it, from the questions to the merged view. The bytes are those of the replies that differ between the two.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from unittest import mock

from common import (
    TREE,
    Judge,
    Report,
    Sample,
    arguments,
    declared,
    host_of,
    in_turns,
    median,
    run_module,
    running_servers,
    timed,
)
from servers import DISTRIBUTION, Server

from ansible_collections.apiops.tyk_redis.plugins.module_utils import _cluster_apply
from ansible_collections.apiops.tyk_redis.plugins.module_utils._cluster_digest import DIGEST_COMMAND, read_digest
from ansible_collections.apiops.tyk_redis.plugins.module_utils._cluster_view import DeclaredNode

NODE_TIMEOUT = 15000
MODULE = "ansible_collections.apiops.tyk_redis.plugins.modules.redis_cluster"


def nothing_to_do(cluster: Sequence[Server]) -> Sample:
    def run() -> None:
        result = run_module("redis_cluster", nodes=declared(cluster), node_timeout=NODE_TIMEOUT)
        assert not result["changed"], result["plan"]

    return {"seconds": timed(run)}


def proof(cluster: Sequence[Server], many: int) -> Sample:
    """Observe, with digests from so many nodes on."""
    by_node = {
        DeclaredNode(str(server.address), server.address, server.bus_port, server.address.host): server
        for server in cluster
    }
    with (
        mock.patch.object(_cluster_apply, "_MANY", many),
        _cluster_apply.Cluster(
            tuple(by_node), lambda node: by_node[node].connection(), replicas_per_primary=1
        ) as asked,
    ):
        asked.observe()
        views = []
        seconds = timed(lambda: views.append(asked.observe()))
    assert views[0].healthy, views[0].errors
    return {"seconds": seconds, "bytes": float(full_bytes(cluster) if many > len(cluster) else digest_bytes(cluster))}


def full_bytes(cluster: Sequence[Server]) -> int:
    return sum(len(str(server.call("CLUSTER", "NODES"))) for server in cluster)


def digest_bytes(cluster: Sequence[Server]) -> int:
    """Every node's digest and own line, and one full text for each digest."""
    texts = {}
    size = 0
    for server in cluster:
        digest, own_line = read_digest(server.call(*DIGEST_COMMAND))
        size += len(digest) + len(own_line)
        texts[digest] = len(str(server.call("CLUSTER", "NODES")))
    return size + sum(texts.values())


def start_up() -> Sample:
    """A process that imports the module and does nothing."""
    words = [sys.executable, "-c", f"import {MODULE}"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), str(TREE)]))}
    return {"seconds": timed(lambda: subprocess.run(words, env=environment, check=True))}


def main() -> None:
    options = arguments(
        __doc__,
        nodes={"type": int, "nargs": "+", "default": [6, 100], "help": "the sizes (default: 6 100)"},
        version={"default": DISTRIBUTION, "help": "the server (default: that of the distribution)"},
    )
    report = Report("noop", options.rounds)
    idle_rows, idle_kept, proof_rows, proof_kept = [], {}, [], {}
    for count in options.nodes:
        with running_servers() as servers:
            cluster = [servers.start_server(options.version, host=host_of(number)) for number in range(count)]
            run_module("redis_cluster", nodes=declared(cluster), node_timeout=NODE_TIMEOUT, timeout=120)
            Judge(cluster, replicas=count // 2).await_complete()
            idle_kept[count] = in_turns({"no-op": partial(nothing_to_do, cluster)}, options.rounds)
            idle_rows.append([count, median(idle_kept[count], "no-op", "seconds")])
            ways = {"full": partial(proof, cluster, count + 1), "digest": partial(proof, cluster, 1)}
            proof_kept[count] = in_turns(ways, options.rounds)
            for way in ways:
                size = median(proof_kept[count], way, "bytes")
                seconds = median(proof_kept[count], way, "seconds")
                proof_rows.append([count, way, seconds, f"{size:.0f}", f"{size / count:.0f}"])
    start = in_turns({"start-up": start_up}, options.rounds)
    idle_rows.append(["start of the module's process", median(start, "start-up", "seconds")])
    report.add(f"A run with nothing to do ({options.version})", ["nodes", "seconds"], idle_rows, [idle_kept, start])
    head = ["nodes", "way", "seconds", "bytes", "bytes a node"]
    report.add(f"Prove that every node sees the same ({options.version})", head, proof_rows, proof_kept)


if __name__ == "__main__":
    main()
