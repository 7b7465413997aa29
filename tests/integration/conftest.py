# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers for a test, and modules run in-process as Ansible would run them."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils import _internal
from ansible.module_utils.common import warnings
from ansible.module_utils.testing import patch_module_args
from life import GAPS, Described, Gap, RunModule, fill, gap_table
from servers import DISTRIBUTION, Server, Servers


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Servers]:
    """Start servers with start_server(); they end with the test."""
    running = Servers(tmp_path)
    try:
        yield running
    finally:
        running.stop_all()


@pytest.fixture
def run_module(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> RunModule:
    """Run a module of this collection by its short name and return its result."""
    # A test of filters makes the process a controller, which prints warnings instead of returning them.
    monkeypatch.setattr(_internal, "is_controller", False)

    def run(name: str, /, *, check: bool = False, diff: bool = False, **options: Any) -> dict[str, Any]:
        module = importlib.import_module(f"ansible_collections.apiops.tyk_redis.plugins.modules.{name}")
        arguments = {**options, "_ansible_check_mode": check, "_ansible_diff": diff}
        # Ansible gathers warnings for the life of the process, which is otherwise that of one module.
        warnings._global_warnings.clear()
        capsys.readouterr()
        with patch_module_args(arguments), pytest.raises(SystemExit):
            module.main()
        result: dict[str, Any] = json.loads(capsys.readouterr().out)
        return result

    return run


@pytest.fixture
def describe(servers: Servers, run_module: RunModule) -> Callable[..., Described]:
    """Make a cluster with data, and its description."""

    def make(version: str = DISTRIBUTION, count: int = 6, strings: int = 1500, **description: Any) -> Described:
        life = Described(servers, run_module, version, **description)
        life.add(count)
        life.apply()
        fill(life.members, strings)
        return life

    return make


@pytest.fixture(autouse=True)
def hand_gaps_on(request: pytest.FixtureRequest) -> Iterator[None]:
    """Let a test's report carry how long its clients had to wait, also out of another process."""
    GAPS.clear()
    yield
    request.node.user_properties += [("gap", asdict(gap)) for gap in GAPS]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How long clients had to wait for the servers. Shown, never judged."""
    reports = [report for reports in terminalreporter.stats.values() for report in reports]
    gaps = [
        Gap(**gap)
        for report in reports
        if getattr(report, "when", "") == "teardown"
        for name, gap in report.user_properties
        if name == "gap"
    ]
    if gaps:
        terminalreporter.section("longest write gaps")
        for line in gap_table(gaps):
            terminalreporter.write_line(line)


def declared(cluster: list[Server]) -> list[dict[str, Any]]:
    """The option `nodes` for some servers, named redis-1, redis-2..."""
    return [
        {"name": f"redis-{number}", "address": server.address.host, "port": server.address.port}
        for number, server in enumerate(cluster, start=1)
    ]
