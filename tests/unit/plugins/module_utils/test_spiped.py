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
    Move,
    Step,
    There,
    moves,
    plan,
    refusals,
    settings_of,
    warnings,
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


def test_a_near_end_that_carries_connections_is_moved() -> None:
    after = end("a", "192.0.2.2:8379", key=2, peer="redis2")
    moving = [Move("a", "redis2", "192.0.2.2:7379", "192.0.2.2:8379")]
    assert moves([after], FOLDER, {"a": running(A)}) == moving
    assert moves([after], FOLDER, {"a": running(A, stale=True, enabled=False)}) == moving
    # Nobody is cut off by one that does not run, or stays as it is, or is new, or is a far end.
    assert moves([after], FOLDER, {"a": running(A, active=False)}) == []
    assert moves([A], FOLDER, {"a": running(A, stale=True)}) == []
    assert moves([after], FOLDER, {}) == []
    assert moves([{**after, "kind": "serve"}], FOLDER, {"a": running(A)}) == []


@pytest.mark.parametrize("target", ["192.0.2.2:7379", "[2001:db8::2]:7379"])
def test_where_a_near_end_has_led_is_read_from_its_settings(target: str) -> None:
    (move,) = moves([end("a", target, key=3)], FOLDER, {"a": running(end("a", target))})
    assert (move.before, move.after) == (target, target)
    # Its host is for messages only, and need not be given.
    assert move.peer == target


@pytest.mark.parametrize("settings", ["", "DIRECTION=-e\n", "TARGET=\n"])
def test_where_a_near_end_has_led_may_not_be_known(settings: str) -> None:
    (move,) = moves([A], FOLDER, {"a": running(A, settings=settings)})
    assert move.before == ""


OLD, NEW = "192.0.2.2:7379", "192.0.2.2:8379"
TURN = Move("dial-redis2-6379", "redis2", OLD, NEW)
TURN_BUS = Move("dial-redis2-6379-bus", "redis2", "192.0.2.2:17379", "192.0.2.2:18379")


@pytest.mark.parametrize(
    ("listening", "refused", "warned"),
    [
        pytest.param({OLD, NEW}, False, False, id="both"),
        pytest.param({NEW}, False, False, id="the new one"),
        pytest.param({OLD}, True, False, id="the former one only, which would be lost"),
        pytest.param(set(), False, True, id="neither, so that nothing is lost"),
    ],
)
def test_what_works_is_not_given_up_for_what_does_not(listening: set[str], refused: bool, warned: bool) -> None:
    assert refusals([TURN], listening) == [
        f"redis2 does not listen at {NEW} yet, but still does at {OLD}, so that the near ends that carry connections"
        " now are not turned over."
    ] * int(refused)
    assert warnings([TURN], listening) == [
        f"redis2 does not listen at {NEW}, and neither where its near ends have led so far, so that it may be down."
        " They were turned over all the same. Run site.yml for it when it is back: it needs the key that they speak"
        " now."
    ] * int(warned)


def test_a_host_that_is_down_stops_nobody_and_is_told_once() -> None:
    other = Move("dial-redis3-6379", "redis3", "192.0.2.3:7379", "192.0.2.3:8379")
    moving = [TURN, TURN_BUS, other]
    assert refusals(moving, {other.before, other.after}) == []
    assert [sentence.partition(",")[0] for sentence in warnings(moving, {other.after})] == [
        "redis2 does not listen at 192.0.2.2:8379"
    ]
    assert "192.0.2.2:8379, 192.0.2.2:18379" in warnings(moving, {other.after})[0]
    # One end of a host is refused, and another one is not asked for.
    (sentence,) = refusals(moving, {OLD, other.before, other.after})
    assert sentence.startswith(f"redis2 does not listen at {NEW} yet, but still does at {OLD},")


def test_where_it_is_not_known_what_worked_nothing_is_refused() -> None:
    unknown = Move("a", "redis2", "", NEW)
    assert refusals([unknown], set()) == []
    assert len(warnings([unknown], set())) == 1
    assert refusals([unknown], {NEW}) == warnings([unknown], {NEW}) == []


@given(
    st.lists(st.builds(Move, st.just("a"), st.sampled_from(["redis2", "redis3"]), *[st.sampled_from([OLD, NEW])] * 2)),
    st.sets(st.sampled_from([OLD, NEW])),
)
def test_a_move_is_refused_or_warned_of_exactly_when_it_leads_nowhere(moving: list[Move], listening: set[str]) -> None:
    told = refusals(moving, listening) + warnings(moving, listening)
    nowhere = {one.peer for one in moving if one.after not in listening}
    assert {sentence.split()[0] for sentence in told} == nowhere


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
