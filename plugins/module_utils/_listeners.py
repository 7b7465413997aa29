# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection and may change at any time.

"""Who listens where on this host. This is I/O; others judge."""

from __future__ import annotations

import pwd
import re
import typing as t
from dataclasses import dataclass

from ansible.module_utils.basic import AnsibleModule

# Whom the role tunnel runs every end as.
USER = "tyk-redis-tunnel"


@dataclass(frozen=True)
class Listener:
    """Who listens: the numbers of the processes, which are not always told, and of their user."""

    pids: tuple[int, ...]
    uid: int


def listeners(out: str) -> dict[str, list[Listener]]:
    """Who listens at each address and port, as ``ss -Hltnpe`` prints it."""
    found: dict[str, list[Listener]] = {}
    for line in out.splitlines():
        words = line.split()
        if len(words) > 3:
            # Nothing is printed for root.
            uid = re.search(r"\buid:([0-9]+)", line)
            pids = tuple(map(int, re.findall(r"pid=([0-9]+)", line)))
            found.setdefault(words[3], []).append(Listener(pids, int(uid[1]) if uid else 0))
    return found


def owner_of(pid: int) -> str:
    """The unit of a process, or its name when it has none."""
    try:
        with open(f"/proc/{pid}/cgroup", encoding="ascii", errors="replace") as file:
            units = re.findall(r"/([^/\s]+\.service)(?:/|$)", file.read(), re.M)
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            name = file.read().strip()
    except OSError:
        return f"process {pid}"
    return units[-1].replace("\\x2d", "-") if units else f"{name} (process {pid})"


def user_of(uid: int, unit: str) -> str:
    """The unit where its user listens, else that user: in a container root may not see the processes of others."""
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = str(uid)
    return unit if name == USER else f"a process of the user {name}"


def owners(endpoint: str, listening: t.Mapping[str, list[Listener]], unit: str) -> str:
    """The unit when it alone listens at the endpoint, or whoever else does; empty when nobody does.

    Args:
        endpoint: ``address:port``.
        listening: what who_listens() returns.
        unit: who should listen there.
    """
    address, _colon, port = endpoint.rpartition(":")
    # Who listens at every address has this one too, unless somebody listens at it alone.
    places = (endpoint, f"{'[::]' if address.startswith('[') else '0.0.0.0'}:{port}", f"*:{port}")
    names: list[str] = []
    for one in next((listening[place] for place in places if place in listening), []):
        names += map(owner_of, one.pids) if one.pids else [user_of(one.uid, unit)]
    # HAProxy's former and present processes listen together.
    return next((name for name in names if name != unit), names[0] if names else "")


def who_listens(module: AnsibleModule) -> dict[str, list[Listener]]:
    """Who listens now at each address and port."""
    _code, out, _err = module.run_command(["ss", "-Hltnpe"], check_rc=True)
    return listeners(out)
