# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the benchmarks share: the collection, servers, contenders in turns, the judge of the end state, and the tables.

Nothing here passes or fails by time. A benchmark ends with an error only when a contender did not do its work.
"""

from __future__ import annotations

import argparse
import importlib
import io
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / ".cache" / "bench"
TREE = RESULTS / "tree"


def _make_importable() -> None:
    """Let `import ansible_collections.apiops.tyk_redis` find this working tree, unless PYTHONPATH names another one."""
    sys.path.insert(0, str(ROOT / "tests" / "integration"))
    link = TREE / "ansible_collections" / "apiops" / "tyk_redis"
    if not link.is_symlink():
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(ROOT)
    sys.path.append(str(TREE))


_make_importable()

from ansible.module_utils.common import warnings
from ansible.module_utils.testing import patch_module_args
from servers import Server, Servers

from ansible_collections.apiops.tyk_redis.plugins.module_utils._redis_client import RedisConnection

REDIS_CLI = "/usr/bin/redis-cli"
SLOTS = 16384

Sample = Mapping[str, float]
Samples = dict[str, dict[str, list[float]]]


# --- servers ---------------------------------------------------------------------------------------------------------


@contextmanager
def running_servers() -> Iterator[Servers]:
    """Servers in a folder of their own; both are gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="apiops-tyk-redis-bench-", ignore_cleanup_errors=True) as folder:
        servers = Servers(Path(folder))
        try:
            yield servers
        finally:
            servers.stop_all()


def host_of(number: int) -> str:
    """An address of its own for every server, so that no contender sees them all on one machine."""
    return f"127.0.{1 + number // 200}.{1 + number % 200}"


def declared(cluster: Sequence[Server]) -> list[dict[str, Any]]:
    """The option `nodes` for some servers."""
    return [
        {"name": f"redis-{number}", "address": server.address.host, "port": server.address.port}
        for number, server in enumerate(cluster, start=1)
    ]


class Judge:
    """Tells whether every node's view is complete, at little cost: it goes on where it last found something missing."""

    def __init__(self, cluster: Sequence[Server], *, replicas: int) -> None:
        self._count = len(cluster)
        self._replicas = replicas
        self._connections = [server.connection(timeout=30) for server in cluster]
        self._next = 0

    def await_complete(self, seconds: float = 600) -> None:
        """Wait until all nodes list all nodes and their roles, each link is connected and each slot served."""
        deadline = time.monotonic() + seconds
        whole = 0
        while whole < self._count:
            if self._is_complete(self._connections[self._next]):
                whole += 1
                self._next = (self._next + 1) % self._count
                continue
            whole = 0
            if time.monotonic() > deadline:
                raise RuntimeError(f"After {seconds} s not every node's view is complete")
            time.sleep(0.05)
        for connection in self._connections:
            connection.close()

    def _is_complete(self, connection: RedisConnection) -> bool:
        nodes, info, replication = connection.pipeline(
            [("CLUSTER", "NODES"), ("CLUSTER", "INFO"), ("INFO", "replication")]
        )
        lines = [line.split() for line in nodes.splitlines()]
        flags = [set(line[2].split(",")) for line in lines]
        return (
            len(lines) == self._count
            and all(line[7] == "connected" for line in lines)
            and not any(flag & {"handshake", "fail", "fail?", "noaddr"} for flag in flags)
            and sum("slave" in flag for flag in flags) == self._replicas
            and "cluster_state:ok" in info
            and f"cluster_slots_ok:{SLOTS}" in info
            and ("role:master" in replication or "master_link_status:up" in replication)
        )


# --- contenders ------------------------------------------------------------------------------------------------------


def run_module(name: str, **options: Any) -> dict[str, Any]:
    """Run a module of the collection in this process, from its arguments to its result; it must not fail."""
    module = importlib.import_module(f"ansible_collections.apiops.tyk_redis.plugins.modules.{name}")
    # Ansible gathers warnings for the life of the process, which is otherwise that of one module.
    warnings._global_warnings.clear()
    output = io.StringIO()
    with patch_module_args(options), redirect_stdout(output), suppress(SystemExit):
        module.main()
    result: dict[str, Any] = json.loads(output.getvalue())
    if result.get("failed"):
        raise RuntimeError(f"{name}: {result['msg']}")
    return result


def run_cli(*words: object, cli: str = REDIS_CLI) -> str:
    """Run the servers' own tool; it must say that it succeeded."""
    done = subprocess.run(
        [cli, *map(str, words)],
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode != 0 or "[ERR]" in done.stdout:
        raise RuntimeError(f"{' '.join(map(str, words))}: {done.stdout[-2000:]}")
    return done.stdout


def timed(work: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    """Seconds. With process_time those of this process alone, whatever else the machine does."""
    start = clock()
    work()
    return clock() - start


def in_turns(contenders: Mapping[str, Callable[[], Sample]], rounds: int) -> Samples:
    """Let every contender work once a round, and another one begin each round. Shows each sample as it comes."""
    names = list(contenders)
    samples: Samples = {name: {} for name in names}
    for number in range(rounds):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            sample = contenders[name]()
            shown = ", ".join(f"{what} {value:.4g}" for what, value in sample.items())
            print(f"  round {number + 1}: {name}: {shown}", file=sys.stderr, flush=True)
            for what, value in sample.items():
                samples[name].setdefault(what, []).append(value)
    return samples


def median(samples: Samples, name: str, what: str) -> float:
    return statistics.median(samples[name][what])


# --- what is told ----------------------------------------------------------------------------------------------------


def arguments(description: str | None, **options: Mapping[str, Any]) -> argparse.Namespace:
    """The command line of a benchmark: `rounds`, and options of its own as for add_argument()."""
    parser = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="how often each contender works (default: 5)")
    for name, option in options.items():
        parser.add_argument(f"--{name.replace('_', '-')}", **option)
    return parser.parse_args()


class Report:
    """The tables of one benchmark, printed as they are finished and kept with every sample in .cache/bench."""

    def __init__(self, name: str, rounds: int) -> None:
        self._name = name
        self._content: dict[str, Any] = {"benchmark": name, "rounds": rounds, **_machine(), "tables": []}

    def add(self, title: str, head: Sequence[str], rows: Sequence[Sequence[object]], samples: object = None) -> None:
        texts = [list(head), *([_text(cell) for cell in row] for row in rows)]
        widths = [max(len(row[column]) for row in texts) for column in range(len(head))]
        print(f"\n{title}\n")
        for number, row in enumerate(texts):
            print("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |")
            if number == 0:
                print("|" + "|".join("-" * (width + 2) for width in widths) + "|")
        print(flush=True)
        self._content["tables"].append({"title": title, "head": list(head), "rows": texts[1:], "samples": samples})
        RESULTS.mkdir(parents=True, exist_ok=True)
        (RESULTS / f"{self._name}.json").write_text(json.dumps(self._content, indent=1), encoding="utf-8")


def _text(cell: object) -> str:
    if isinstance(cell, float):
        return f"{cell:.0f}" if abs(cell) >= 100 else f"{cell:.3g}"
    return str(cell)


def _machine() -> dict[str, Any]:
    words = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    return {
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "commit": commit.stdout.strip(),
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "load_before": os.getloadavg()[0],
    }
