# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection and may change at any time.

"""What an argument spec cannot say about the settings of Redis instances and their host. No I/O happens here."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.apiops.tyk_redis.plugins.module_utils import _acl_rules as acl

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
        "cluster-port",
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
        "replica-announce-ip",
        "requirepass",
        "save",
        "supervised",
        "tcp-backlog",
        "tls-auth-clients",
        "tls-ca-cert-file",
        "tls-cert-file",
        "tls-ciphers",
        "tls-ciphersuites",
        "tls-cluster",
        "tls-key-file",
        "tls-port",
        "tls-prefer-server-ciphers",
        "tls-protocols",
        "tls-replication",
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
        settings: the variables of the role ``redis`` without their prefix. The passwords in ``users`` are never part
            of a sentence.
        secrets: those of them that are passwords. They are never part of a sentence either.
        facts: the host's ``os_family``, ``distribution`` and ``distribution_major_version``.
    """
    return [
        *_host(settings, facts),
        *_users(settings),
        *_further_users(settings, common=bool(secrets["password"])),
        *_passwords(secrets, needed=() if settings["users"] else ("password",)),
        *_limits(settings),
    ]


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


def _further_users(settings: t.Mapping[str, t.Any], common: bool) -> t.Iterator[str]:
    yield from (
        f"redis_tyk_acl: {reason}"
        for reason in acl.check_words(str(settings["username"]), map(str, settings["tyk_acl"]))
    )
    # Without a password there is no user of the name in redis_username, so that another one may have it.
    names = {
        str(settings[name]): f"redis_{name}" for name in ("username", "admin_username") if common or name != "username"
    }
    for position, user in enumerate(settings["users"]):
        name, place = str(user["name"]), f"redis_users[{position}]"
        if name in names:
            yield f"{place} and {names[name]} are both {name!r}; give every user a name of its own."
        elif name == "default":
            yield f"{place} is 'default', the user that everybody is before AUTH; it stays switched off."
        names.setdefault(name, place)
        passwords = user["passwords"]
        if not isinstance(passwords, list) or not passwords or any(map(_is_no_password, passwords)):
            yield f"{place}, {name!r}, must have a list of passwords, each on one line. There is no default password."
        component, rules = user.get("component") or "", user.get("rules") or []
        if component and component not in acl.components():
            yield f"{place}, {name!r}, has the component {component!r}; Tyk's are {', '.join(acl.components())}."
        elif component and rules:
            yield f"{place}, {name!r}, has a component and rules; a component has rules of its own, so leave one out."
        yield from (f"{place}: {reason}" for reason in acl.check(name, list(map(str, rules)), []))


def _is_no_password(value: t.Any) -> bool:
    return not value or bool(re.search(r"[\r\n\0]", str(value)))


def _passwords(secrets: t.Mapping[str, t.Any], needed: t.Collection[str]) -> t.Iterator[str]:
    for name, value in secrets.items():
        if (value or name in ("admin_password", *needed)) and _is_no_password(value):
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
