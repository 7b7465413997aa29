# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection and may change at any time.

"""Why a run would cut off what works, by what the instances announce and whom they know. No I/O happens here.

Tunnels, firewall and ports change before the cluster is asked, so this has to be known before them.
"""

from __future__ import annotations

import ipaddress
import typing as t

from ansible_collections.apiops.tyk_redis.plugins.module_utils import _encryption
from ansible_collections.apiops.tyk_redis.plugins.module_utils._description import instances_of
from ansible_collections.apiops.tyk_redis.plugins.module_utils._redis_client import Address

Hostvars = t.Mapping[str, t.Mapping[str, t.Any]]

# The unit of each kind of tunnel, without its suffix, as the role tunnel names it.
_UNITS = {"tyk-redis-spiped@": "spiped", "tyk-redis-tunnel": "tls_tunnel"}
# The file that could not be read, and what to do. Without it the run would guess, and might tear down what is in use.
_UNREAD = {
    "redis.conf": (
        "its unit is enabled, and its configuration {} cannot be read. Put it back, or set redis_config_dir to where it"
        " is."
    ),
    "announced.conf": (
        "its configuration includes {}, which cannot be read, so that nothing tells how the instance announces itself."
        " Write into it what CONFIG GET tells of cluster-announce-ip, replica-announce-ip, tls-cluster and"
        " tls-replication."
    ),
    "nodes.conf": (
        "it runs, and {}, where it keeps whom it knows, cannot be read. CLUSTER SAVECONFIG makes the instance write it"
        " anew."
    ),
}
_NO_MEMBER = frozenset({"noaddr", "handshake"})
_NOT_AT_WORK = _NO_MEMBER | {"myself", "fail", "fail?"}


class _Found(t.NamedTuple):
    """What was found on one host: how each instance announces itself, the members that they know, and tunnels."""

    ways: dict[int, str]
    # The port and the path of what could not be read.
    unread: list[tuple[int, str]]
    # Address and bus port of the members that work, as the running instances know them: which port for clients the file
    # has depends on the server's version.
    working: list[tuple[str, int]]
    # Those of all members, as the instances know them that are members themselves.
    members: set[tuple[str, int]]
    tunnels: list[str]


def _read(lines: t.Iterable[str]) -> _Found:
    found = _Found({}, [], [], set(), [])
    port, stopped = 0, False
    known: dict[int, list[tuple[str, int]]] = {}
    for line in lines:
        words = line.replace('"', "").split()
        if line.startswith("instance "):
            port, stopped = int(words[1]), False
            found.ways[port] = "none"
        elif line == "stopped":
            stopped = True
        elif line.startswith("unread "):
            found.unread.append((port, line.removeprefix("unread ")))
        elif line.startswith("unit "):
            found.tunnels.append(_UNITS[words[1]])
        elif words[:2] == ["tls-cluster", "yes"]:
            found.ways[port] = "tls"
        elif words[:1] == ["cluster-announce-ip"]:
            if _is_loopback(words[1]):
                found.ways[port] = "tunnel"
        elif len(words) >= 8:
            address, _at, bus = words[1].partition(",")[0].partition("@")
            member, flags = (address.rpartition(":")[0], int(bus)), frozenset(words[2].split(","))
            if not flags & _NO_MEMBER:
                known.setdefault(port, []).append(member)
            # What a stopped instance remembers may have changed since.
            if not flags & _NOT_AT_WORK and not stopped:
                found.working.append(member)
    # An instance that knows itself only is in no cluster.
    found.members.update(*(some for some in known.values() if len(some) > 1))
    return found


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address) in _encryption.LOOPBACK
    except ValueError:
        return False


def refusals(hostvars: Hostvars, redis_hosts: t.Sequence[str], description: t.Mapping[str, t.Any]) -> list[str]:
    """Why the run has to end before anything is touched, a sentence each.

    Args:
        hostvars: the variables of all hosts, with ``tyk_redis_stands``, the result of a command whose ``stdout_lines``
            are for each instance that is enabled ``instance PORT``, the lines of its announced.conf with
            ``cluster-announce-ip`` and ``tls-cluster``, ``stopped`` unless it runs, and the lines of its nodes.conf;
            ``unread PATH`` for a file that could not be read; and at the end ``unit NAME`` for each unit of a tunnel
            that there is.
        redis_hosts: the hosts with Redis, in the order of the inventory.
        description: what describe() returns, with its ``previous_encryption`` while the encryption changes.
    """
    modes = _encryption.phases(description)
    known: set[tuple[str, int]] = set()
    guarded = description["firewall"] or any(map(_encryption.is_tunnel, modes))
    if guarded:
        for mode in modes:
            staying, leaving = instances_of(hostvars, redis_hosts, {**description, "encryption": mode, "remove": []})
            known |= {(one["address"], one["bus_port"]) for one in (*staying, *leaving)}
    stands = {
        host: _read((hostvars[host].get("tyk_redis_stands") or {}).get("stdout_lines") or []) for host in redis_hosts
    }
    if unread := _unread(stands, guarded):
        return unread
    if otherwise := _announced_otherwise(stands, description):
        return otherwise
    members = [member for host in stands for member in stands[host].working if guarded and member not in known]
    return [_stranger(member, description) for member in dict.fromkeys(members)]


def _unread(stands: t.Mapping[str, _Found], guarded: bool) -> list[str]:
    files = [(host, port, path) for host, found in stands.items() for port, path in found.unread]
    return [
        f"{host}:{port}: {_UNREAD[name].format(path)}"
        for host, port, path in files
        # Whom it knows is of no account where nobody can be cut off.
        if (name := path.rpartition("/")[2]) != "nodes.conf" or guarded
    ]


def _announced_otherwise(stands: t.Mapping[str, _Found], description: t.Mapping[str, t.Any]) -> list[str]:
    modes = _encryption.phases(description)
    instances: dict[str, list[str]] = {}
    for host, found in stands.items():
        for port, way in found.ways.items():
            actual = found.tunnels[0] if way == "tunnel" and found.tunnels else way
            if actual not in modes and not (actual == "tunnel" and any(map(_encryption.is_tunnel, modes))):
                instances.setdefault(actual, []).append(f"{host}:{port}")
    former, new = description["previous_encryption"], description["encryption"]
    sentences = []
    for actual, names in instances.items():
        change = f"change_encryption.yml with -e tyk_redis_from={actual}"
        if former:
            rest = f"the change is said to be from {former} to {new}: run {change} if that is where it comes from."
        elif "none" in (actual, new):
            rest = (
                f"{new} is described: {change} changes that while everything runs, also where it was begun and not"
                " finished."
            )
        else:
            rest = f"{new} is described: describe none first, and run {change}."
        verb = "announces itself" if len(names) == 1 else "announce themselves"
        sentences.append(f"{_join(names)} {verb} with encryption {actual}, and {rest}")
    return sentences


def _join(names: t.Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _stranger(member: tuple[str, int], description: t.Mapping[str, t.Any]) -> str:
    what = "tunnels" if any(map(_encryption.is_tunnel, _encryption.phases(description))) else "firewall"
    return (
        f"A member of the cluster, with its bus at {Address(*member)}, works and is no instance of a host in the"
        f" inventory. This run would cut it off by the {what} before its slots could be moved: put its host back, with"
        " redis_leaving: true if it is to go, and take it out of the inventory after the run that has moved them. If it"
        " is to be lost with what it holds, stop it first."
    )


def without_way(
    hostvars: Hostvars, redis_hosts: t.Sequence[str], tyk_hosts: t.Sequence[str], description: t.Mapping[str, t.Any]
) -> list[str]:
    """The hosts that would be redirected to a new instance, or gossip with it, and have no way there yet.

    Args:
        hostvars: the variables of all hosts, with ``tyk_redis_stands`` as for refusals(), and with
            ``tyk_redis_reaches`` where tunnels and firewall were brought up to date in this run.
        redis_hosts: the hosts with Redis.
        tyk_hosts: the hosts with Tyk.
        description: what describe() returns.
    """
    tunnel = any(map(_encryption.is_tunnel, _encryption.phases(description)))
    if not tunnel and not description["firewall"]:
        return []
    members: set[tuple[str, int]] = set()
    for host in redis_hosts:
        members |= _read((hostvars[host].get("tyk_redis_stands") or {}).get("stdout_lines") or []).members
    # While the encryption changes, a member may be known in either way.
    known: set[str] = set()
    for mode in _encryption.phases(description):
        both = instances_of(hostvars, redis_hosts, {**description, "encryption": mode, "remove": []})
        known |= {one["name"] for some in both for one in some if (one["address"], one["bus_port"]) in members}
    staying, _leaving = instances_of(hostvars, redis_hosts, description)
    new = any(one["name"] not in known for one in staying)
    # Only what listens has a firewall, and that of a new host is made with it.
    concerned = [*redis_hosts, *(tyk_hosts if tunnel else ())]
    return [host for host in dict.fromkeys(concerned) if new and not hostvars[host].get("tyk_redis_reaches")]
