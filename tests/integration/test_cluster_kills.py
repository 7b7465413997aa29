# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs that die, and servers that die or hang, at each step in turn: the next run ends it, and no key is lost."""

from __future__ import annotations

import itertools
import os
import random
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import pytest
from breakage import BREAKAGES, HEALING, settings_of
from life import (
    SLOTS,
    Described,
    Kept,
    RunModule,
    answers,
    assert_copies,
    assert_same,
    dump,
    judge,
    lines_of,
    wait_until,
)
from servers import DISTRIBUTION, Server, Servers

# Every case runs with EXPLORE=1; without it, each version gets every second one of those that take long.
EXPLORE = bool(os.environ.get("EXPLORE"))
FULL = (DISTRIBUTION, "valkey-9.1")
FAULTS = ("killed", "frozen")
# A member that is banned may seem to be known again for a moment, in which the next run would see nothing to repair.
BANNED = "one member has forgotten another"
Describe = Callable[..., Described]
Change = Callable[[Described], None]


def cases(names: Sequence[str]) -> list[tuple[str, str]]:
    """Names with versions: in turns, or each with all."""
    every = list(itertools.product(names, FULL))
    turns = list(zip(names, itertools.cycle(FULL)))
    return every if EXPLORE else turns


def turns_of(fault: str) -> Iterator[int]:
    """The numbers of the steps at which a node gets a fault: every other one, so that two faults share them."""
    return itertools.count() if EXPLORE else itertools.count(FAULTS.index(fault), len(FAULTS))


def moments(plan: Sequence[str]) -> list[int]:
    """The number of the first step of each kind. Those of one kind are taken side by side."""
    kinds = [re.sub(r"redis-\d+\S*|\S*\d\S*|,| and ", " ", sentence).split()[:2] for sentence in plan]
    return [number for number, kind in enumerate(kinds, start=1) if number == 1 or kind != kinds[number - 2]]


def run_and_kill(life: Described, step: int, chance: random.Random) -> None:
    """Start a run and kill it when it has begun a step, or somewhat later."""
    process = life.process()
    if process.await_step(step):
        time.sleep(chance.choice([0.0, 0.01, 0.1, 0.3]))
    process.kill()


def assert_finished(life: Described, before: Mapping[bytes, Kept]) -> None:
    judge(life.members[0])
    life.assert_whole()
    again = life.run(check=True)
    assert (again.get("changed"), again.get("plan")) == (False, []), again
    assert_same(before, dump(life.running))
    assert_copies(life.members)


# --- what changes: there and back, so that it can be done as often as there are steps ---------------------------------


def grow(life: Described) -> None:
    if "redis-8" in life.by_name:
        life.bring_back("redis-7", "redis-8")
    else:
        life.add(2)


def shrink(life: Described) -> None:
    life.remove("redis-7", "redis-8")


def replace_live(life: Described) -> None:
    """A primary by a node that is none yet; the next time the other way round."""
    leaving = next(name for name in life.primary_names() if name != "redis-1")
    spare = next((name for name in life.by_name if name not in life.nodes), None)
    life.remove(leaving)
    if spare is None:
        life.add()
    else:
        life.bring_back(spare)


def replace_dead(life: Described) -> None:
    """A primary that has died by one that comes with an empty disk: the one that died the time before."""
    spare = next((name for name in life.by_name if name not in life.nodes), None)
    dead = next(name for name in life.primary_names() if name != "redis-1")
    life.by_name[dead].kill()
    wait_until(lambda: sum(life.shares()) == SLOTS, what="An election")
    wait_until(lambda: all(any("fail" in line.flags for line in lines_of(server)) for server in life.members))
    life.remove(dead)
    if spare is None:
        life.add()
    else:
        life.by_name[spare].wipe()
        life.by_name[spare].start_again()
        life.bring_back(spare)


OPERATIONS: dict[str, tuple[Change, ...]] = {
    "grow and shrink": (grow, shrink),
    "replace a dead primary": (replace_dead,),
    "replace a live primary": (replace_live,),
}


def at_each_step(
    life: Described,
    changes: Sequence[Change],
    disturb: Callable[[int, int], None],
    *,
    numbers: Iterable[int] | None = None,
    heals: bool = False,
) -> None:
    """Make the changes again and again, each time disturbed at another step, until there is no further step.

    What heals may be whole before there is anything to disturb.
    """
    before = dump(life.members)
    for number in numbers or itertools.count():
        further = False
        for change in changes:
            change(life)
            check = life.run(check=True)
            assert check.get("changed") is True or heals, check
            steps = moments(check["plan"])
            if number < len(steps):
                further = True
                disturb(number, steps[number])
            life.apply()
            assert_finished(life, before)
        if not further:
            return


# --- a run that dies -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", FULL)
def test_a_killed_creation(servers: Servers, run_module: RunModule, version: str) -> None:
    chance = random.Random(1)
    for number in itertools.count():
        life = Described(servers, run_module, version)
        life.add(6)
        steps = moments(life.run(check=True)["plan"])
        if number >= len(steps):
            break
        run_and_kill(life, steps[number], chance)
        life.apply()
        assert_finished(life, {})
        for server in life.members:
            server.kill()
    assert number >= 7


@pytest.mark.parametrize(("operation", "version"), cases([*OPERATIONS]))
def test_a_killed_run(describe: Describe, operation: str, version: str) -> None:
    # So many keys that a run is also killed in the middle of moving them.
    life = describe(version, strings=20000, node_timeout=2000)
    chance = random.Random(2)
    at_each_step(life, OPERATIONS[operation], lambda _number, step: run_and_kill(life, step, chance))


@pytest.mark.parametrize(("breakage", "version"), cases([name for name in BREAKAGES if name != BANNED]))
def test_a_killed_repair(describe: Describe, breakage: str, version: str) -> None:
    life = describe(version, node_timeout=2000, extra=settings_of(version))
    chance = random.Random(3)
    heals = breakage in HEALING
    at_each_step(life, [BREAKAGES[breakage]], lambda _number, step: run_and_kill(life, step, chance), heals=heals)


# --- a server that dies or hangs -------------------------------------------------------------------------------------


def run_with_a_fault(life: Described, number: int, step: int, fault: str) -> None:
    """Kill or freeze a node when a run has begun a step; it comes back when the others have given it up."""
    process = life.process(timeout=15)
    everybody = [server for server in life.running if answers(server)]
    victim = everybody[number * 3 % len(everybody)]
    if process.await_step(step):
        disturb(victim, fault)
    result = process.result()
    assert result.get("failed") in (None, True)
    if result.get("failed"):
        assert result["msg"].endswith("."), result["msg"]
    wait_until(lambda: answers(victim) and victim.call("PING") == "PONG")


def disturb(victim: Server, fault: str) -> None:
    if fault == "killed":
        victim.kill()
        time.sleep(5)
        victim.start_again()
    else:
        victim.freeze()
        time.sleep(5)
        victim.thaw()


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize(("operation", "version"), cases([*OPERATIONS]))
def test_a_node_is_lost_for_a_while(describe: Describe, operation: str, version: str, fault: str) -> None:
    life = describe(version, strings=5000, node_timeout=2000, extra=["appendonly yes"])
    at_each_step(
        life,
        OPERATIONS[operation],
        lambda number, step: run_with_a_fault(life, number, step, fault),
        numbers=turns_of(fault),
    )


@pytest.mark.parametrize(
    ("breakage", "version"), cases(["half of the keys have moved", "keys lie where they do not belong"])
)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_node_is_lost_during_a_repair(describe: Describe, breakage: str, version: str, fault: str) -> None:
    life = describe(version, node_timeout=2000, extra=["appendonly yes", *settings_of(version)])
    at_each_step(
        life,
        [BREAKAGES[breakage]],
        lambda number, step: run_with_a_fault(life, number, step, fault),
        numbers=turns_of(fault),
    )


@pytest.mark.parametrize(("fault", "version"), cases(FAULTS))
def test_a_node_is_lost_while_a_cluster_is_formed(
    servers: Servers, run_module: RunModule, version: str, fault: str
) -> None:
    for number in turns_of(fault):
        life = Described(servers, run_module, version, node_timeout=2000, extra=["appendonly yes"])
        life.add(6)
        steps = moments(life.run(check=True)["plan"])
        if number >= len(steps):
            break
        run_with_a_fault(life, number, steps[number], fault)
        life.apply()
        assert_finished(life, {})
        for server in life.members:
            server.kill()


# --- two runs --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", FULL)
def test_the_second_of_two_runs_is_refused(describe: Describe, version: str) -> None:
    life = describe(version, strings=20000, node_timeout=2000)
    before = dump(life.members)
    life.add(2)
    first = life.process()
    assert first.await_step(3)
    first.freeze()
    try:
        second = life.run()
    finally:
        first.thaw()
    assert second.get("failed") is True
    assert "Another run is at work on this cluster" in second["msg"]
    assert second.get("changed") is not True
    assert first.result().get("changed") is True
    assert_finished(life, before)
