# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Seeds that tell different things for a while; what the probe does to real servers is in the integration tests."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.apiops.tyk_redis.plugins.module_utils import _redis_probe
from ansible_collections.apiops.tyk_redis.plugins.module_utils._redis_client import Address, RedisProblem
from ansible_collections.apiops.tyk_redis.plugins.module_utils._redis_probe import Probe
from ansible_collections.apiops.tyk_redis.plugins.module_utils._redis_slots import Layout, parse_slots

Answer = t.Union[Layout, RedisProblem]
SEEDS = [Address("192.0.2.11", 6379), Address("192.0.2.12", 6379)]
PRIMARY, REPLICA = ["192.0.2.11", 6379, "p" * 40], ["192.0.2.12", 6379, "r" * 40]
WITHOUT = parse_slots([[0, 16383, PRIMARY]], SEEDS[0])
WITH = parse_slots([[0, 16383, PRIMARY, REPLICA]], SEEDS[0])
OTHER = parse_slots([[0, 16383, ["192.0.2.13", 6379, "o" * 40]]], SEEDS[0])
SILENT = RedisProblem("timeout", str(SEEDS[1]), "192.0.2.12:6379 did not answer.")


class Scripted(Probe):
    """The seeds answer in turn, the second one from a script whose last line is repeated."""

    def __init__(self, first: Answer, script: list[Answer]) -> None:
        self.first, self.script, self.slept = first, script, 0.0

    def _ask_seed(self, seed: Address) -> Answer:
        if seed == SEEDS[0]:
            return self.first
        return self.script.pop(0) if len(self.script) > 1 else self.script[0]


def settled(monkeypatch: pytest.MonkeyPatch, first: Answer, *script: Answer) -> tuple[list[Answer], float]:
    probe = Scripted(first, list(script))

    def sleep(seconds: float) -> None:
        probe.slept += seconds

    monkeypatch.setattr(_redis_probe.time, "sleep", sleep)
    monkeypatch.setattr(_redis_probe.time, "monotonic", lambda: probe.slept)
    return probe._ask_until_settled(SEEDS), probe.slept


@pytest.mark.parametrize("second", [WITH, OTHER, SILENT])
def test_what_will_not_change_is_not_waited_for(monkeypatch: pytest.MonkeyPatch, second: Answer) -> None:
    assert settled(monkeypatch, WITH, second) == ([WITH, second], 0)


def test_a_replica_that_came_back_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settled(monkeypatch, WITH, WITHOUT, WITHOUT, WITHOUT, WITH) == ([WITH, WITH], 3)


def test_nobody_is_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settled(monkeypatch, WITH, WITHOUT) == ([WITH, WITHOUT], _redis_probe.SETTLING_SECONDS)


def test_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settled(monkeypatch, SILENT, SILENT) == ([SILENT, SILENT], 0)
