# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection and may change at any time.

"""What a user describes: the dictionary ``tyk_redis`` and the Redis instances of an inventory. No I/O happens here."""

from __future__ import annotations

import difflib
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
    "remove": _Key(list),
}

# What a host says about its instances.
HOST_VARIABLES = ("redis_address", "redis_leaving", "redis_ports", "redis_weight", "redis_zone")
# The options of the role redis_cluster, and the one option of the role redis whose name looks like one of them.
CLUSTER_VARIABLES = (
    "redis_cluster_allow_data_loss",
    "redis_cluster_assume_fresh",
    "redis_cluster_enabled",
    "redis_cluster_move_load",
    "redis_cluster_move_method",
    "redis_cluster_move_stall",
    "redis_cluster_node_timeout",
    "redis_cluster_nodes",
    "redis_cluster_password",
    "redis_cluster_progress_file",
    "redis_cluster_rebalance_threshold",
    "redis_cluster_remove",
    "redis_cluster_replicas_per_primary",
    "redis_cluster_timeout",
    "redis_cluster_username",
)
# Two letters swapped, one too many or one left out in a name of this length still come to this much.
_ALIKE = 0.9

# Short passwords are found by guessing: Redis answers tens of thousands of AUTH commands a second.
SHORTEST_PASSWORD = 12


def _whole_number(value: t.Any) -> int | None:
    """The number, also from text: variables given with -e or by an AWX survey arrive as such."""
    if isinstance(value, str) and re.fullmatch(r"\s*[0-9]{1,18}\s*", value):
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _check_kind(name: str, key: _Key, value: t.Any) -> t.Any:
    if key.kind is list:
        return _check_addresses(name, value)
    checked = _whole_number(value) if key.kind is int else value if isinstance(value, str) else None
    if checked is None:
        wanted = {int: "a whole number", str: "a text"}[key.kind]
        shown = "" if key.secret else f", not {value!r}"
        raise DescriptionError(f"tyk_redis.{name} must be {wanted}{shown}.")
    return checked


def _check_addresses(name: str, value: t.Any) -> list[str]:
    """The addresses as endpoints_of spells them, each once."""
    if not isinstance(value, (list, tuple)):
        raise DescriptionError(
            f"tyk_redis.{name} must be a list of addresses and ports such as ['192.0.2.14:6379'], not {value!r}."
        )
    return list(dict.fromkeys(_check_address(name, item) for item in value))


def _check_address(name: str, item: t.Any) -> str:
    host, _colon, port = item.rpartition(":") if isinstance(item, str) else ("", "", "")
    bracketed = host.startswith("[") and host.endswith("]")
    address, number = _address(host[1:-1] if bracketed else host), _whole_number(port)
    # Without brackets the last group of an IPv6 address would be taken for the port.
    if address is None or bracketed != (":" in address) or number is None or not 1 <= number <= HIGHEST_PORT:
        raise DescriptionError(
            f"tyk_redis.{name} contains {item!r}; give the IP address and the port as the cluster knows them,"
            " for example '192.0.2.14:6379' or '[2001:db8::14]:6379'."
        )
    return _endpoint(address, number)


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
        if value is None:
            value = key.kind() if key.kind is list else key.default
        result[name] = _check_kind(name, key, value)
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


def _weight_of(host: str, variables: t.Mapping[str, t.Any]) -> int:
    given = variables.get("redis_weight", 1)
    weight = _whole_number(given)
    if weight is None or weight < 1:
        raise DescriptionError(
            f"{host}: redis_weight is {given!r}; it must be a whole number of 1 or more: a host with 2 gets twice as"
            " many slots as one with 1."
        )
    return weight


def _is_leaving(host: str, variables: t.Mapping[str, t.Any]) -> bool:
    given = variables.get("redis_leaving", False)
    words = {"true": True, "yes": True, "false": False, "no": False}
    leaving = words.get(given.strip().lower()) if isinstance(given, str) else given
    if not isinstance(leaving, bool):
        raise DescriptionError(
            f"{host}: redis_leaving is {given!r}; it must be true for a host whose instances are to leave the cluster,"
            " or false."
        )
    return leaving


def instances_of(
    hostvars: t.Mapping[str, t.Mapping[str, t.Any]], hosts: t.Iterable[str], remove: t.Iterable[str] = ()
) -> tuple[list[dict[str, t.Any]], list[dict[str, t.Any]]]:
    """Every Redis instance of these hosts, in the order of the inventory.

    Args:
        hostvars: the variables of all hosts.
        hosts: the hosts that are asked about.
        remove: the endpoints of ``tyk_redis.remove``, as describe() returns them.

    Returns:
        The instances that make the cluster, which is what redis_cluster takes as ``nodes``, and those that are to leave
        it, because of their host's ``redis_leaving`` or because ``remove`` names them.

    Raises:
        DescriptionError: a host variable is wrong, or two hosts claim one instance.
    """
    staying: list[dict[str, t.Any]] = []
    leaving: list[dict[str, t.Any]] = []
    owners: dict[tuple[str, int], str] = {}
    removed = frozenset(remove)
    for host in hosts:
        variables = hostvars[host]
        address = address_of(host, variables)
        zone = variables.get("redis_zone")
        weight = _weight_of(host, variables)
        leaves = _is_leaving(host, variables)
        for port in _ports_of(host, variables):
            other = owners.setdefault((address, port), host)
            if other != host:
                raise DescriptionError(
                    f"{host} and {other} both claim {_endpoint(address, port)}; give each host its own redis_address."
                )
            (leaving if leaves or _endpoint(address, port) in removed else staying).append(
                {
                    "name": f"{host}:{port}",
                    "address": address,
                    "port": port,
                    "host": host,
                    "zone": "" if zone is None else str(zone),
                    "weight": weight,
                }
            )
    return staying, leaving


def misspelt(names: t.Iterable[str]) -> list[str]:
    """Sentences about variables that nothing reads, but whose names look like those of variables that count."""
    sentences = []
    for name in sorted(names):
        if name in HOST_VARIABLES or name in CLUSTER_VARIABLES:
            continue
        meant = difflib.get_close_matches(name, (*HOST_VARIABLES, *CLUSTER_VARIABLES), n=1, cutoff=_ALIKE)
        if meant:
            sentences.append(f"The variable {name} is not known; {meant[0]} is. Correct it, or give it another name.")
        elif name.startswith("redis_cluster_"):
            known = ", ".join(name for name in CLUSTER_VARIABLES)
            sentences.append(f"The variable {name} is not known; with redis_cluster_ begin: {known}.")
    return sentences


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
