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


@dataclass(frozen=True)
class Move:
    """A near end that carries connections now, the host of its instance, and where it leads and shall lead."""

    name: str
    peer: str
    before: str
    after: str


def moves(ends: t.Sequence[t.Mapping[str, t.Any]], folder: str, there: t.Mapping[str, There]) -> list[Move]:
    """The near ends whose connections end because they are turned to another key or target."""
    return [
        Move(end["name"], end.get("peer") or end["target"], _target_of(there[end["name"]].settings), end["target"])
        for end in ends
        if end["kind"] == "dial"
        and there.get(end["name"], There()).active
        and there[end["name"]].settings != settings_of(end, folder)
    ]


def _target_of(settings: str) -> str:
    """The target in the settings as ends have it; empty when there is none."""
    targets = [line.partition("=")[2] for line in settings.splitlines() if line.startswith("TARGET=")]
    address, colon, port = targets[0].rpartition(":") if targets else ("", "", "")
    return f"{address if ':' in address else address.strip('[]')}{colon}{port}"


def refusals(moving: t.Sequence[Move], listening: t.Container[str]) -> list[str]:
    """A sentence for each host whose near ends would be turned from what works now to what does not.

    Args:
        moving: what moves() returns.
        listening: those of its targets, former and new ones, that can be connected to.
    """
    kept = [one for one in moving if one.after not in listening and one.before in listening]
    return [
        f"{peer} does not listen at {', '.join(one.after for one in own)} yet, but still does at"
        f" {', '.join(one.before for one in own)}, so that the near ends that carry connections now are not turned"
        " over."
        for peer, own in _by_peer(kept).items()
    ]


def warnings(moving: t.Sequence[Move], listening: t.Container[str]) -> list[str]:
    """A sentence for each host that listens neither where its near ends lead nor where they are turned to."""
    lost = [one for one in moving if one.after not in listening and one.before not in listening]
    return [
        f"{peer} does not listen at {', '.join(one.after for one in own)}, and neither where its near ends have led so"
        " far, so that it may be down. They were turned over all the same. Run site.yml for it when it is back: it"
        " needs the key that they speak now."
        for peer, own in _by_peer(lost).items()
    ]


def _by_peer(moving: t.Iterable[Move]) -> dict[str, list[Move]]:
    found: dict[str, list[Move]] = {}
    for one in moving:
        found.setdefault(one.peer, []).append(one)
    return found
