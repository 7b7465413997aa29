# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection and may change at any time.

"""What an argument spec cannot say about the settings of Redis instances and their host. No I/O happens here."""

from __future__ import annotations

import re
import typing as t

# The directives that the role writes itself, from variables of its own.
OWN_DIRECTIVES = frozenset(
    {
        "aclfile",
        "appendfsync",
        "appendonly",
        "bind",
        "cluster-allow-replica-migration",
        "cluster-announce-ip",
        "cluster-config-file",
        "cluster-enabled",
        "cluster-migration-barrier",
        "cluster-node-timeout",
        "daemonize",
        "dir",
        "include",
        "masterauth",
        "masteruser",
        "maxclients",
        "maxmemory",
        "maxmemory-policy",
        "pidfile",
        "port",
        "primaryauth",
        "primaryuser",
        "protected-mode",
        "repl-diskless-sync-max-replicas",
        "requirepass",
        "save",
        "supervised",
        "tcp-backlog",
        "user",
    }
)
FIRST_WITH_VALKEY = 13
SHORTEST_NODE_TIMEOUT = 500


def problems(
    settings: t.Mapping[str, t.Any], secrets: t.Mapping[str, t.Any], facts: t.Mapping[str, t.Any]
) -> list[str]:
    """Everything that is wrong, as sentences that name the variable, the value and the remedy.

    Args:
        settings: the variables of the role ``redis`` without their prefix.
        secrets: those of them that are passwords. They are never part of a sentence.
        facts: the host's ``os_family``, ``distribution`` and ``distribution_major_version``.
    """
    return [*_host(settings, facts), *_users(settings), *_passwords(secrets), *_limits(settings)]


def _host(settings: t.Mapping[str, t.Any], facts: t.Mapping[str, t.Any]) -> t.Iterator[str]:
    release = str(facts["distribution_major_version"])
    system = f"{facts['distribution']} {release}"
    if facts["os_family"] != "Debian":
        yield (
            f"{system} is not supported: the role redis installs from Debian's packages"
            " (Debian 11, 12 and 13 are tested)."
        )
    elif settings["server"] == "valkey" and facts["distribution"] == "Debian" and int(release) < FIRST_WITH_VALKEY:
        yield (
            f"redis_server is 'valkey', but {system} has no package valkey-server."
            f" Use redis_server 'redis', or Debian {FIRST_WITH_VALKEY} or later."
        )


def _users(settings: t.Mapping[str, t.Any]) -> t.Iterator[str]:
    names = {name: str(settings[name]) for name in ("username", "admin_username")}
    for name, value in names.items():
        if not value or re.search(r"[\s'\"]", value):
            yield f"redis_{name} is {value!r}; it must be a name without blanks and quotes."
        elif value == "default":
            yield f"redis_{name} is 'default', the user that everybody is before AUTH; it stays switched off."
    if len(set(names.values())) == 1:
        yield (
            f"redis_username and redis_admin_username are both {names['username']!r};"
            " Tyk must not work as the administrator, so give them different names."
        )


def _passwords(secrets: t.Mapping[str, t.Any]) -> t.Iterator[str]:
    for name, value in secrets.items():
        if not value or re.search(r"[\r\n\0]", str(value)):
            yield f"redis_{name} must be given, on one line. There is no default password."


def _limits(settings: t.Mapping[str, t.Any]) -> t.Iterator[str]:
    repeated = sorted(str(name) for name in settings["settings"] if str(name).lower() in OWN_DIRECTIVES)
    if repeated:
        yield (
            f"redis_settings contains {', '.join(repeated)}: the role writes these itself."
            " Use the variables redis_* of the same meaning instead."
        )
    if not re.fullmatch(r"[0-9]+([kmg]b?)?", str(settings["maxmemory"]), re.IGNORECASE):
        yield (
            f"redis_maxmemory is {settings['maxmemory']!r};"
            " it must be a number of bytes, or one with k, m, g, kb, mb or gb."
        )
    for moment in settings["save"]:
        if not re.fullmatch(r"[0-9]+ [0-9]+", str(moment)):
            yield f"redis_save contains {moment!r}; it must be a text 'seconds changes', for example '3600 1'."
    if int(settings["node_timeout"]) < SHORTEST_NODE_TIMEOUT:
        yield (
            f"redis_node_timeout is {settings['node_timeout']}; it is in milliseconds and must be at least"
            f" {SHORTEST_NODE_TIMEOUT}, since a shorter one takes every hiccup of the network for a failure."
        )
