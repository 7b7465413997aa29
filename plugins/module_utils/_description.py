# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection and may change at any time.

"""What a user describes: the dictionary ``tyk_redis`` and the Redis instances of an inventory. No I/O happens here."""

from __future__ import annotations

import ipaddress
import re
import typing as t
from dataclasses import dataclass

BUS_PORT_OFFSET = 10000
HIGHEST_PORT = 65535
# The cluster bus listens on the client port plus 10000, so a higher client port leaves no room for it.
HIGHEST_CLUSTER_PORT = HIGHEST_PORT - BUS_PORT_OFFSET


class DescriptionError(ValueError):
    """The description is incomplete or contradicts itself. The text names the key, the value and the remedy."""


@dataclass(frozen=True)
class _Key:
    """One key of ``tyk_redis``."""

    kind: type
    default: t.Any = None
    required: bool = False
    choices: tuple[t.Any, ...] = ()
    minimum: int | None = None
    secret: bool = False


KEYS: t.Mapping[str, _Key] = {
    "topology": _Key(str, "cluster", choices=("cluster",)),
    "encryption": _Key(str, "none", choices=("none",)),
    "replicas_per_primary": _Key(int, 1, minimum=0),
    "username": _Key(str, "tyk"),
    "password": _Key(str, required=True, secret=True),
    "admin_username": _Key(str, "tyk-redis-admin"),
    "admin_password": _Key(str, required=True, secret=True),
    "timeout": _Key(int, 5, minimum=1),
    "pool_size": _Key(int, 500, minimum=1),
}

# Short passwords are found by guessing: Redis answers tens of thousands of AUTH commands a second.
SHORTEST_PASSWORD = 12


def _whole_number(value: t.Any) -> int | None:
    """The number, also from text: variables given with -e or by an AWX survey arrive as such."""
    if isinstance(value, str) and re.fullmatch(r"\s*[0-9]{1,18}\s*", value):
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _check_kind(name: str, key: _Key, value: t.Any) -> t.Any:
    checked = _whole_number(value) if key.kind is int else value if isinstance(value, str) else None
    if checked is None:
        wanted = {int: "a whole number", str: "a text"}[key.kind]
        shown = "" if key.secret else f", not {value!r}"
        raise DescriptionError(f"tyk_redis.{name} must be {wanted}{shown}.")
    return checked


def _check_value(name: str, key: _Key, value: t.Any) -> None:
    if key.choices and value not in key.choices:
        raise DescriptionError(
            f"tyk_redis.{name} is {value!r}; this version of the collection knows: {', '.join(key.choices)}."
        )
    if key.minimum is not None and value < key.minimum:
        raise DescriptionError(f"tyk_redis.{name} is {value}; it must be at least {key.minimum}.")
    if key.kind is not str:
        return
    if key.secret:
        if len(value) < SHORTEST_PASSWORD:
            raise DescriptionError(
                f"tyk_redis.{name} has {len(value)} characters; give at least {SHORTEST_PASSWORD},"
                " for example from a vault: openssl rand -base64 24."
            )
        if any(character in value for character in "\0\r\n"):
            raise DescriptionError(f"tyk_redis.{name} contains a line break or a NUL character, which cannot be typed.")
        if any("\ud800" <= character <= "\udfff" for character in value):
            raise DescriptionError(f"tyk_redis.{name} contains half of a character, which UTF-8 cannot express.")
    elif not value or any(c.isspace() or not c.isprintable() or c in "\"'" for c in value):
        # redis.conf and users.acl know no way to quote a name that both of them take.
        raise DescriptionError(f"tyk_redis.{name} is {value!r}; it must be a non-empty text without blanks and quotes.")


def describe(given: t.Any) -> dict[str, t.Any]:
    """Check the dictionary ``tyk_redis`` and fill in what it leaves out.

    Raises:
        DescriptionError: a key is unknown, missing, of the wrong type or outside of its limits.
    """
    if not isinstance(given, t.Mapping):
        raise DescriptionError(
            "tyk_redis must be a dictionary with at least password and admin_password, see the README's quick start."
        )
    unknown = sorted(str(name) for name in given if name not in KEYS)
    if unknown:
        raise DescriptionError(
            f"tyk_redis has no key {', '.join(map(repr, unknown))}; the keys are: {', '.join(sorted(KEYS))}."
        )
    missing = [name for name, key in KEYS.items() if key.required and given.get(name) in (None, "")]
    if missing:
        raise DescriptionError(
            f"{', '.join('tyk_redis.' + name for name in missing)} must be given;"
            " there is no default password. Keep it in a vault."
        )
    result = {}
    for name, key in KEYS.items():
        value = given.get(name)
        result[name] = key.default if value is None else _check_kind(name, key, value)
        _check_value(name, key, result[name])
    if result["username"] == result["admin_username"]:
        raise DescriptionError(
            f"tyk_redis.username and tyk_redis.admin_username are both {result['username']!r};"
            " Tyk must not work as the administrator, so give them different names."
        )
    for name in ("username", "admin_username"):
        if result[name] == "default":
            raise DescriptionError(
                f"tyk_redis.{name} is 'default', the user that everybody is before AUTH; it stays switched off."
                " Give another name."
            )
    return result


def _address(text: t.Any) -> str | None:
    """The address in the one form that servers print, or None where it is none that other hosts could connect to."""
    try:
        address = ipaddress.ip_address(str(text))
    except ValueError:
        return None
    # A scope, as in fe80::1%eth0, means something on one host only.
    return None if address.is_unspecified or "%" in str(address) else str(address)


def address_of(host: str, variables: t.Mapping[str, t.Any]) -> str:
    """The IP address that the Redis instances of a host bind and announce.

    ``redis_address``, else ``ansible_host`` where that is an IP address, else the address of the default route.
    Names are refused, because CLUSTER MEET takes addresses only.
    """
    given = variables.get("redis_address")
    if given:
        address = _address(given)
        if address is None:
            raise DescriptionError(
                f"{host}: redis_address is {given!r}; give the IP address itself by which other hosts reach it,"
                " Redis Cluster does not resolve names."
            )
        return address
    facts = variables.get("ansible_facts") or {}
    for candidate in (variables.get("ansible_host"), (facts.get("default_ipv4") or {}).get("address")):
        address = _address(candidate) if candidate else None
        if address is not None:
            return address
    raise DescriptionError(
        f"{host}: no IP address to bind and announce is known. Set the host variable redis_address"
        " to an address that all Redis and Tyk hosts reach."
    )


def _ports_of(host: str, variables: t.Mapping[str, t.Any]) -> list[int]:
    given = variables.get("redis_ports", [6379])
    if not isinstance(given, (list, tuple)) or not given:
        raise DescriptionError(f"{host}: redis_ports is {given!r}; it must be a list of ports, for example [6379].")
    ports = []
    for item in given:
        port = _whole_number(item)
        if port is None or not 1 <= port <= HIGHEST_CLUSTER_PORT:
            raise DescriptionError(
                f"{host}: redis_ports contains {item!r}; a port is a number from 1 to {HIGHEST_CLUSTER_PORT}"
                f" (the cluster bus uses port + {BUS_PORT_OFFSET})."
            )
        ports.append(port)
    for port in ports:
        if ports.count(port) > 1:
            raise DescriptionError(f"{host}: redis_ports contains {port} more than once.")
        if port + BUS_PORT_OFFSET in ports:
            raise DescriptionError(
                f"{host}: redis_ports contains {port} and {port + BUS_PORT_OFFSET},"
                f" but the latter is the cluster bus port of the former."
            )
    return ports


def _endpoint(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def members_of(hostvars: t.Mapping[str, t.Mapping[str, t.Any]], hosts: t.Iterable[str]) -> list[dict[str, t.Any]]:
    """Every Redis instance of these hosts, in the order of the inventory: what redis_cluster takes as ``nodes``."""
    members: list[dict[str, t.Any]] = []
    owners: dict[tuple[str, int], str] = {}
    for host in hosts:
        variables = hostvars[host]
        address = address_of(host, variables)
        zone = variables.get("redis_zone")
        for port in _ports_of(host, variables):
            other = owners.setdefault((address, port), host)
            if other != host:
                raise DescriptionError(
                    f"{host} and {other} both claim {_endpoint(address, port)}; give each host its own redis_address."
                )
            members.append(
                {
                    "name": f"{host}:{port}",
                    "address": address,
                    "port": port,
                    "host": host,
                    "zone": "" if zone is None else str(zone),
                }
            )
    return members


def endpoints_of(members: t.Iterable[t.Mapping[str, t.Any]]) -> list[str]:
    """``address:port`` of each instance, IPv6 in brackets: what Tyk takes as ``addrs``."""
    return [_endpoint(member["address"], member["port"]) for member in members]


def config_text(value: t.Any) -> str:
    """A value in double quotes as redis.conf takes it: every byte that is not plain ASCII becomes ``\\xHH``."""
    escaped = []
    for byte in str(value).encode("utf-8"):
        character = chr(byte)
        plain = 0x20 <= byte < 0x7F and character not in '"\\'
        escaped.append(character if plain else f"\\x{byte:02x}")
    return '"' + "".join(escaped) + '"'
