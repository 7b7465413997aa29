# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Atomic slot migration of Redis 8.4, against servers that are played.

No package for these tests brings such a server: what the played ones answer follows the source of Redis 8.4.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from ansible_collections.apiops.tyk_redis.plugins.module_utils._clock import Clock
from ansible_collections.apiops.tyk_redis.plugins.module_utils._cluster_view import (
    DeclaredNode,
    SlotRanges,
    format_ranges,
)
from ansible_collections.apiops.tyk_redis.plugins.module_utils._redis_client import Address, RedisProblem
from ansible_collections.apiops.tyk_redis.plugins.module_utils._slot_batches import (
    MIGRATION,
    Limits,
    Member,
    Move,
    MoveFailed,
)
from ansible_collections.apiops.tyk_redis.plugins.module_utils._slot_jobs import JobRunner


class PlayedClock(Clock):
    def __init__(self) -> None:
        self.time = 0.0

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds


class Target:
    """A server that imports slots; each task goes through the given states, one each time it is asked."""

    def __init__(self, *lives: Sequence[str]) -> None:
        self.lives = [list(life) for life in lives]
        self.tasks: list[dict[str, Any]] = []
        self.owned: list[tuple[int, int]] = []
        self.sent: list[tuple[Any, ...]] = []
        self.trims = 2

    def close(self) -> None:
        return

    def call(self, *words: Any) -> Any:
        if words[:2] == ("CLUSTER", "NODES"):
            slots = " ".join(f"{first}-{last}" for first, last in self.owned)
            return f"id-b 192.0.2.1:6379@16379 myself,master - 0 0 1 connected {slots}\n"
        if words == ("CLUSTER", "INFO"):
            self.trims -= 1
            return f"cluster_slot_migration_active_trim_running:{max(0, self.trims)}\r\n"
        if words[0] == "INFO":
            return "# Keyspace\r\n"
        if words[2] == "STATUS":
            return [self._advance(task) for task in reversed(self.tasks)]
        self.sent.append(words)
        if words[2] == "IMPORT":
            return self._import(tuple(zip(words[3::2], words[4::2], strict=True)))
        return 1

    def _import(self, slots: SlotRanges) -> str:
        if any(task["life"][0] not in ("completed", "failed", "canceled") for task in self.tasks):
            raise RedisProblem(
                "error", "b", "It answered: another ASM task is already in progress.", "another ASM task"
            )
        self.tasks.append({"id": f"task-{len(self.tasks)}", "slots": slots, "life": self.lives.pop(0)})
        return str(self.tasks[-1]["id"])

    def _advance(self, task: dict[str, Any]) -> list[Any]:
        state = task["life"][0]
        if len(task["life"]) > 1:
            task["life"].pop(0)
        if state == "completed":
            self.owned = [*self.owned, *task["slots"]]
        words = {"id": task["id"], "slots": format_ranges(task["slots"]).replace(",", ""), "source": "id-a"}
        words |= {"dest": "id-b", "operation": "import", "state": state, "last_error": "no room", "retries": 0}
        return [item for pair in words.items() for item in pair]


def run(target: Target, slots: SlotRanges = ((0, 99),)) -> list[dict[str, int]]:
    def member(name: str) -> Member:
        return Member(DeclaredNode(name, Address("192.0.2.1", 6379), 16379, name), f"id-{name}", "192.0.2.1", 6379)

    told: list[dict[str, int]] = []
    runner = JobRunner(
        lambda _node: target,  # type: ignore[arg-type, return-value]
        Limits(timeout=30),
        PlayedClock(),
        lambda **progress: told.append(progress),
    )
    runner.runner([(Move(member("a"), member("b"), slots, MIGRATION), 500)])()
    return told


def test_a_task_is_watched_until_it_is_completed_and_trimmed() -> None:
    target = Target(["connecting", "send-bulk-and-stream", "completed"])
    assert {"keys": 500, "slots": 100} in run(target, ((0, 49), (60, 109)))
    assert target.sent == [("CLUSTER", "MIGRATION", "IMPORT", 0, 49, 60, 109)]
    assert target.trims <= 0


def test_a_task_of_a_dead_run_is_waited_for() -> None:
    target = Target(["streaming-buffer", "streaming-buffer", "streaming-buffer", "completed"], ["completed"])
    target.call("CLUSTER", "MIGRATION", "IMPORT", 0, 49)
    run(target)
    assert target.sent == [
        ("CLUSTER", "MIGRATION", "IMPORT", 0, 49),
        ("CLUSTER", "MIGRATION", "IMPORT", 50, 99),
    ]


def test_a_failed_task_is_started_again_in_two_portions() -> None:
    target = Target(["failed"], ["completed"], ["completed"])
    told = run(target)
    assert [words[3:] for words in target.sent] == [(0, 99), (0, 49), (50, 99)]
    assert sum(progress.get("keys", 0) for progress in told) == 500


def test_a_task_that_keeps_failing_ends_with_the_reason() -> None:
    target = Target(*[["failed"]] * 20)
    with pytest.raises(
        MoveFailed, match=r"a and b could not move .* by themselves: no room\. These slots stay with a;"
    ):
        run(target)


def test_a_task_without_progress_is_cancelled() -> None:
    target = Target(["streaming-buffer"])
    with pytest.raises(MoveFailed, match="for 30 s there was no progress: it stayed in the state streaming-buffer"):
        run(target)
    assert ("CLUSTER", "MIGRATION", "CANCEL", "ID", "task-0") in target.sent


def test_what_the_target_owns_is_not_moved_again() -> None:
    target = Target()
    target.owned = [(0, 99)]
    assert run(target) == [{"slots": 100}]
    assert target.sent == []
