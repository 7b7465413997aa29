# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection and may change at any time.

"""What has to become of the processes of spiped on a host. No I/O happens here."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

UNIT = "tyk-redis-spiped@{}.service"
SUFFIX = ".env"


@dataclass(frozen=True)
class There:
    """One end as it is: its settings, empty when there are none, and whether it runs, with these, and at every boot."""

    settings: str = ""
    active: bool = False
    enabled: bool = False
    stale: bool = False


@dataclass(frozen=True)
class Step:
    """One thing to do with one end: ``write``, ``start``, ``restart``, ``enable`` or ``remove``."""

    verb: str
    name: str
    settings: str = ""

    def __str__(self) -> str:
        return f"{self.verb} {self.name}"


def settings_of(end: t.Mapping[str, t.Any], folder: str) -> str:
    """The content of the file that the unit takes its arguments from."""
    return (
        f"DIRECTION={'-d' if end['kind'] == 'serve' else '-e'}\n"
        f"LISTEN={_bracketed(end['listen'])}\n"
        f"TARGET={_bracketed(end['target'])}\n"
        f"KEY={folder}/key-{end['key']}\n"
    )


def _bracketed(endpoint: str) -> str:
    """An address as spiped takes it: without brackets it would be looked up as a name."""
    address, _colon, port = endpoint.rpartition(":")
    return f"[{address.strip('[]')}]:{port}"


def plan(
    ends: t.Sequence[t.Mapping[str, t.Any]], folder: str, there: t.Mapping[str, There], prune: bool = True
) -> list[Step]:
    """The steps from what is there to what is wanted, in the order in which they have to be taken.

    Args:
        ends: what the host shall have; each with ``name``, ``kind``, ``listen``, ``target`` and ``key``.
        folder: the folder of settings and keys.
        there: what it has, by names.
        prune: whether ends that are not wanted are removed.
    """
    steps: list[Step] = []
    wanted = {end["name"]: settings_of(end, folder) for end in ends}
    if prune:
        steps += [Step("remove", name) for name in sorted(there) if name not in wanted]
    for name, settings in wanted.items():
        now = there.get(name, There())
        if now.settings != settings:
            steps.append(Step("write", name, settings))
        if not now.active:
            steps.append(Step("start", name))
        elif now.settings != settings or now.stale:
            steps.append(Step("restart", name))
        if not now.enabled:
            steps.append(Step("enable", name))
    return steps


def moved(ends: t.Sequence[t.Mapping[str, t.Any]], folder: str, there: t.Mapping[str, There]) -> list[str]:
    """The new targets of near ends that carry connections now: each has to be there before its end is restarted."""
    return [
        end["target"]
        for end in ends
        if end["kind"] == "dial"
        and there.get(end["name"], There()).active
        and there[end["name"]].settings != settings_of(end, folder)
    ]
