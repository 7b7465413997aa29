# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What becomes of the processes of spiped."""

from __future__ import annotations

import typing as t
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.apiops.tyk_redis.plugins.module_utils._spiped import (
    Step,
    There,
    moved,
    plan,
    settings_of,
)

FOLDER = "/etc/tyk-redis-tunnel"


def end(name: str, target: str = "192.0.2.2:7379", **changed: t.Any) -> dict[str, t.Any]:
    return {"name": name, "kind": "dial", "listen": "127.64.2.2:6379", "target": target, "key": 1, **changed}


def running(one: dict[str, t.Any], **changed: t.Any) -> There:
    return replace(There(settings_of(one, FOLDER), active=True, enabled=True), **changed)


def verbs(steps: list[Step]) -> list[str]:
    return [str(step) for step in steps]


def test_what_a_near_end_is_started_with() -> None:
    assert settings_of(end("dial-redis2-6379"), FOLDER) == (
        "DIRECTION=-e\nLISTEN=[127.64.2.2]:6379\nTARGET=[192.0.2.2]:7379\nKEY=/etc/tyk-redis-tunnel/key-1\n"
    )


def test_what_a_far_end_is_started_with() -> None:
    far = end("serve-6379-2", "127.64.0.2:6379", kind="serve", listen="[2001:db8::2]:8379", key=2)
    assert settings_of(far, "/keys") == (
        "DIRECTION=-d\nLISTEN=[2001:db8::2]:8379\nTARGET=[127.64.0.2]:6379\nKEY=/keys/key-2\n"
    )


A, B = end("a"), end("b")


@pytest.mark.parametrize("prune", [True, False])
def test_nothing_to_do_is_nothing(prune: bool) -> None:
    assert plan([], FOLDER, {}, prune) == []
    assert plan([A, B], FOLDER, {"a": running(A), "b": running(B)}, prune) == []


@pytest.mark.parametrize(
    ("there", "steps"),
    [
        pytest.param({}, ["write a", "start a", "enable a"], id="new"),
        pytest.param({"a": running(A, active=False)}, ["start a"], id="stopped"),
        pytest.param({"a": running(A, enabled=False)}, ["enable a"], id="gone after a boot"),
        pytest.param({"a": running(A, active=False, enabled=False)}, ["start a", "enable a"], id="cut off"),
        pytest.param({"a": running(A, stale=True)}, ["restart a"], id="runs with older settings"),
        pytest.param({"a": running(A, settings="old")}, ["write a", "restart a"], id="changed"),
        pytest.param({"a": running(A, settings="old", stale=True)}, ["write a", "restart a"], id="changed twice"),
        pytest.param({"a": running(A, settings="")}, ["write a", "restart a"], id="runs without a file"),
        pytest.param({"a": running(A, settings="old", active=False)}, ["write a", "start a"], id="changed and stopped"),
        pytest.param(
            {"a": There("old", active=True)}, ["write a", "restart a", "enable a"], id="changed and gone after a boot"
        ),
    ],
)
def test_what_becomes_of_an_end(there: dict[str, There], steps: list[str]) -> None:
    assert verbs(plan([A], FOLDER, there)) == steps


def test_what_is_written_is_what_is_wanted() -> None:
    (write, *_others) = plan([A], FOLDER, {})
    assert write == Step("write", "a", settings_of(A, FOLDER))


def test_others_go_first_so_that_their_ports_are_free() -> None:
    there = {"y": running(end("y")), "b": running(B, settings="old"), "x": There(active=True)}
    steps = ["write a", "start a", "enable a", "write b", "restart b"]
    assert verbs(plan([A, B], FOLDER, there)) == ["remove x", "remove y", *steps]
    assert verbs(plan([A, B], FOLDER, there, prune=False)) == steps


def test_ends_come_in_the_order_that_was_asked() -> None:
    assert [step.name for step in plan([B, A], FOLDER, {}) if step.verb == "start"] == ["b", "a"]


def test_a_near_end_that_carries_connections_is_moved_only_to_what_is_there() -> None:
    after = end("a", "192.0.2.2:8379", key=2)
    assert moved([after], FOLDER, {"a": running(A)}) == ["192.0.2.2:8379"]
    # Nobody is cut off by one that does not run, or stays as it is, or is new, or is a far end.
    assert moved([after], FOLDER, {"a": running(A, active=False)}) == []
    assert moved([A], FOLDER, {"a": running(A, stale=True)}) == []
    assert moved([after], FOLDER, {}) == []
    assert moved([{**after, "kind": "serve"}], FOLDER, {"a": running(A)}) == []


NAMES = st.sampled_from(["a", "b", "c", "d"])
ENDS = st.lists(
    st.builds(
        end,
        NAMES,
        st.sampled_from(["192.0.2.2:7379", "[2001:db8::2]:8379"]),
        kind=st.sampled_from(["serve", "dial"]),
        key=st.integers(1, 2),
    ),
    max_size=4,
    unique_by=lambda one: one["name"],
)
STATES = st.dictionaries(
    NAMES,
    st.builds(
        There,
        st.sampled_from(["", "old", settings_of(A, FOLDER)]),
        st.booleans(),
        st.booleans(),
        st.booleans(),
    ),
)


def take(there: dict[str, There], step: Step) -> dict[str, There]:
    """What systemd and the disk make of a step."""
    now = there.get(step.name, There())
    if step.verb == "remove":
        return {name: one for name, one in there.items() if name != step.name}
    if step.verb == "write":
        # The process that runs does not notice.
        now = replace(now, settings=step.settings, stale=now.active)
    elif step.verb == "start":
        assert now.settings and not now.active
        now = replace(now, active=True, stale=False)
    elif step.verb == "restart":
        assert now.settings and now.active
        now = replace(now, stale=False)
    else:
        assert step.verb == "enable"
        now = replace(now, enabled=True)
    return {**there, step.name: now}


@given(ENDS, STATES, st.booleans())
def test_a_plan_leads_to_where_there_is_nothing_to_do(
    ends: list[dict[str, t.Any]], there: dict[str, There], prune: bool
) -> None:
    untouched = {name: one for name, one in there.items() if name not in {one["name"] for one in ends}}
    for step in plan(ends, FOLDER, there, prune):
        there = take(there, step)
    assert plan(ends, FOLDER, there, prune) == []
    wanted = {one["name"]: There(settings_of(one, FOLDER), active=True, enabled=True) for one in ends}
    for name, one in wanted.items():
        # One that never ran cannot run with older settings.
        assert replace(there[name], stale=False) == one
    assert {name: one for name, one in there.items() if name not in wanted} == ({} if prune else untouched)


@given(ENDS, STATES, st.data())
def test_a_plan_that_is_cut_off_is_finished_by_the_next(
    ends: list[dict[str, t.Any]], there: dict[str, There], data: st.DataObject
) -> None:
    steps = plan(ends, FOLDER, there)
    for step in steps[: data.draw(st.integers(0, len(steps)))]:
        there = take(there, step)
    for step in plan(ends, FOLDER, there):
        there = take(there, step)
    assert plan(ends, FOLDER, there) == []
