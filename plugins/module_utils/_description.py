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

from ansible_collections.apiops.tyk_redis.plugins.module_utils import _encryption
from ansible_collections.apiops.tyk_redis.plugins.module_utils._encryption import BUS_PORT_OFFSET

HIGHEST_PORT = 65535
# The cluster bus listens on the client port plus 10000, so a higher client port leaves no room for it.
HIGHEST_CLUSTER_PORT = HIGHEST_PORT - BUS_PORT_OFFSET

COMPONENTS = ("gateway", "dashboard", "pump", "mdcb")
# Tyk's stores that may be another Redis than the main one, and the components that use them. Pump has one store only,
# the one it reads analytics from, so it follows analytics_storage.
SECTIONS: t.Mapping[str, tuple[str, ...]] = {
    "cache_storage": ("gateway",),
    "analytics_storage": ("gateway", "mdcb", "pump"),
}
# What the Redis that the description itself is about is called beside its deployments.
MAIN = "main"

MODES = ("cluster", "standalone", "sentinel")
TLS_VERSIONS = ("1.0", "1.1", "1.2", "1.3")
# Debian's OpenSSL refuses the older ones.
SERVER_TLS_VERSIONS = TLS_VERSIONS[2:]
_HOST_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?")
# Numbers and dots that are no IPv4 address are a slip, not a name.
_NUMERIC = re.compile(r"[0-9.]+")
SSH_PORT = 22
# Encrypted connections come in at the instance's port plus this much.
DEFAULT_PORT_OFFSET = 1000
# Short passwords are found by guessing: Redis answers tens of thousands of AUTH commands a second.
SHORTEST_PASSWORD = 12
# spiped takes an empty key file without a word. Its manual wants at least 256 bits of entropy, 32 bytes from a random
# source.
SHORTEST_TUNNEL_KEY = 32
# Where Tyk can look a password up at its start (docs, key value secrets storage for configuration in Tyk; file:// since
# Gateway 5.14.0). Whether a component does so for a section, tyk_config knows.
REFERENCES = ("env", "secrets", "consul", "vault", "file")


class DescriptionError(ValueError):
    """The description is incomplete or contradicts itself. The text names the key, the value and the remedy."""


def _whole_number(value: t.Any) -> int | None:
    """The number, also from text: variables given with -e or by an AWX survey arrive as such."""
    if isinstance(value, str) and re.fullmatch(r"\s*[0-9]{1,18}\s*", value):
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _truth(value: t.Any) -> bool | None:
    """The truth value, also from text, for the same reason."""
    words = {"true": True, "yes": True, "false": False, "no": False}
    found = words.get(value.strip().lower()) if isinstance(value, str) else value
    return found if isinstance(found, bool) else None


# --- the values of single keys: each of these functions takes the key's full name and what was given ------------------


def _number(minimum: int) -> t.Callable[[str, t.Any], int]:
    def check(place: str, value: t.Any) -> int:
        number = _whole_number(value)
        if number is None:
            raise DescriptionError(f"{place} must be a whole number, not {value!r}.")
        if number < minimum:
            raise DescriptionError(f"{place} is {number}; it must be at least {minimum}.")
        return number

    return check


def _choice(*choices: str) -> t.Callable[[str, t.Any], str]:
    def check(place: str, value: t.Any) -> str:
        # YAML takes 1.2 without quotes for a number.
        text = str(value) if isinstance(value, float) else value
        if text not in choices:
            raise DescriptionError(f"{place} is {value!r}; this version of the collection knows: {', '.join(choices)}.")
        return str(text)

    return check


def _topology(place: str, value: t.Any) -> str:
    if value in ("sentinel", "standalone"):
        raise DescriptionError(
            f"{place} is {value!r}, but the roles make only clusters so far. Name a Redis that was made elsewhere with"
            f" topology managed and mode {value}."
        )
    return _choice("cluster", "managed")(place, value)


def _switch(place: str, value: t.Any) -> bool:
    truth = _truth(value)
    if truth is None:
        raise DescriptionError(f"{place} must be true or false, not {value!r}.")
    return truth


def _name(place: str, value: t.Any) -> str:
    if not isinstance(value, str):
        raise DescriptionError(f"{place} must be a text, not {value!r}.")
    if not value or any(c.isspace() or not c.isprintable() or c in "\"'" for c in value):
        # redis.conf and users.acl know no way to quote a name that both of them take.
        raise DescriptionError(f"{place} is {value!r}; it must be a non-empty text without blanks and quotes.")
    return value


def _name_if_any(place: str, value: t.Any) -> str:
    return "" if value == "" else _name(place, value)


def _path(place: str, value: t.Any) -> str | None:
    if value == "":
        return None
    if not isinstance(value, str) or not value.startswith("/") or not value.isprintable():
        raise DescriptionError(
            f"{place} is {value!r}; give the path of a file on the Tyk hosts, beginning with a slash."
        )
    return value


def _secret(place: str, value: t.Any) -> str | None:
    if value == "":
        return None
    # The value itself is never part of a message.
    if not isinstance(value, str):
        raise DescriptionError(f"{place} must be a text.")
    if len(value) < SHORTEST_PASSWORD:
        raise DescriptionError(
            f"{place} has {len(value)} characters; give at least {SHORTEST_PASSWORD},"
            " for example from a vault: openssl rand -base64 24."
        )
    if any(character in value for character in "\0\r\n"):
        raise DescriptionError(f"{place} contains a line break or a NUL character, which cannot be typed.")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise DescriptionError(f"{place} contains half of a character, which UTF-8 cannot express.")
    return value


def _reference(place: str, value: t.Any) -> str | None:
    if value == "":
        return None
    # What does not look like a reference may be the password itself, so it is not shown.
    if not isinstance(value, str) or not re.fullmatch(rf"(?:{'|'.join(REFERENCES)})://[!-~]+", value):
        known = ", ".join(f"{kind}://" for kind in REFERENCES)
        raise DescriptionError(
            f"{place} is no reference to a secret: it must begin with one of {known} and have no blanks."
            " A password itself belongs into the key password."
        )
    return value


def _authorities(place: str, value: t.Any) -> list[int]:
    numbers = value if isinstance(value, (list, tuple)) else [value]
    if not numbers:
        raise DescriptionError(f"{place} is empty; name at least the authority in tyk_redis.tls_authority.")
    return sorted({_number(1)(place, number) for number in numbers})


def _names(place: str, value: t.Any) -> list[str]:
    if not isinstance(value, (list, tuple)):
        raise DescriptionError(f"{place} must be a list of names such as ['redis.example.com'], not {value!r}.")
    for name in value:
        if not isinstance(name, str) or not _HOST_NAME.fullmatch(name) or _NUMERIC.fullmatch(name):
            raise DescriptionError(f"{place} contains {name!r}, which is no host name.")
    return list(dict.fromkeys(value))


def _tunnel_keys(place: str, value: t.Any) -> dict[int, str]:
    keys: dict[int, str] = {}
    for number, secret in _table(place, value).items():
        which = _number(1)(f"{place} has a number that", number)
        if isinstance(secret, str) and len(secret) < SHORTEST_TUNNEL_KEY:
            raise DescriptionError(
                f"{place}[{which}] must have at least {SHORTEST_TUNNEL_KEY} characters,"
                " for example from a vault: openssl rand -base64 48."
            )
        keys[which] = t.cast(str, _secret(f"{place}[{which}]", secret))
    if len({number % 2 for number in keys}) < len(keys):
        raise DescriptionError(
            f"{place} has the numbers {', '.join(map(str, sorted(keys)))}; at most two keys may be valid side by side,"
            " one with an odd and one with an even number, since each of these has ports of its own. Count on by one"
            " for a new key, and take the old one away before the next."
        )
    return dict(sorted(keys.items()))


def _members(place: str, value: t.Any) -> list[str]:
    return _endpoints(place, value, False)


def _seeds(place: str, value: t.Any) -> list[str]:
    return _endpoints(place, value, True)


def _endpoints(place: str, value: t.Any, names: bool) -> list[str]:
    """The addresses as endpoints_of spells them, each once."""
    if not isinstance(value, (list, tuple)):
        raise DescriptionError(
            f"{place} must be a list of addresses and ports such as ['192.0.2.14:6379'], not {_without_login(value)}."
        )
    return list(dict.fromkeys(_endpoint_of(place, item, names) for item in value))


def _is_name(text: str) -> bool:
    return bool(_HOST_NAME.fullmatch(text)) and not _NUMERIC.fullmatch(text)


def _split(item: t.Any, names: bool) -> tuple[str, int] | None:
    """Address and port of an endpoint, or None where it is none."""
    host, _colon, port = item.rpartition(":") if isinstance(item, str) else ("", "", "")
    bracketed = host.startswith("[") and host.endswith("]")
    address, number = _address(host[1:-1] if bracketed else host), _whole_number(port)
    if address is None and names and not bracketed and _is_name(host):
        address = host
    # Without brackets the last group of an IPv6 address would be taken for the port.
    if address is None or bracketed != (":" in address) or number is None or not 1 <= number <= HIGHEST_PORT:
        return None
    return address, number


def _endpoint_of(place: str, item: t.Any, names: bool) -> str:
    endpoint = _split(item, names)
    if endpoint is None:
        wanted = (
            "give a name or an IP address, and the port, as the Tyk hosts reach it, for example"
            " 'redis.example.com:6379' or '[2001:db8::14]:6379'"
            if names
            else "give the IP address and the port as the cluster knows them,"
            " for example '192.0.2.14:6379' or '[2001:db8::14]:6379'"
        )
        raise DescriptionError(f"{place} contains {_without_login(item)}; {wanted}.")
    return _endpoint(*endpoint)


def _without_login(value: t.Any) -> str:
    """A value for a message; redis://user:password@host is a likely slip, and the password must not be shown."""
    text = repr(value)
    return f"'********@{text.rpartition('@')[2]}" if isinstance(value, str) and "@" in value else text


def _table(place: str, value: t.Any) -> dict[str, t.Any]:
    # Not shown, because there may be passwords in it.
    if not isinstance(value, t.Mapping):
        raise DescriptionError(f"{place} must be a dictionary.")
    return dict(value)


# --- the keys ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Key:
    """One key: what its value is checked with, and its value where none is given."""

    check: t.Callable[[str, t.Any], t.Any]
    default: t.Any = None


_STORE_KEYS: t.Mapping[str, _Key] = {
    "mode": _Key(_choice(*MODES)),
    "addresses": _Key(_seeds),
    "username": _Key(_name_if_any),
    "password": _Key(_secret),
    "password_reference": _Key(_reference),
    "users": _Key(_table),
    "database": _Key(_number(0)),
    "sentinel_master": _Key(_name_if_any),
    "sentinel_password": _Key(_secret),
    "encryption": _Key(_choice(*_encryption.MODES), "none"),
    "tls_ca_file": _Key(_path),
    "tls_cert_file": _Key(_path),
    "tls_key_file": _Key(_path),
    "tls_skip_verify": _Key(_switch),
    "tls_min_version": _Key(_choice(*TLS_VERSIONS)),
    "tls_max_version": _Key(_choice(*TLS_VERSIONS)),
    "timeout": _Key(_number(1), 5),
    "pool_size": _Key(_number(1), 500),
    "maxclients": _Key(_number(1)),
    "least_privilege": _Key(_switch),
}
KEYS: t.Mapping[str, _Key] = {
    "topology": _Key(_topology, "cluster"),
    **_STORE_KEYS,
    "previous_password": _Key(_secret),
    "replicas_per_primary": _Key(_number(0)),
    "admin_username": _Key(_name),
    "admin_password": _Key(_secret),
    "admin_previous_password": _Key(_secret),
    "remove": _Key(_members),
    "previous_encryption": _Key(_choice(*_encryption.MODES)),
    "encrypted_port_offset": _Key(_number(0)),
    "tls_certificates": _Key(_choice("own", "brought")),
    "tls_client_certificates": _Key(_choice("required", "optional", "no")),
    "tls_authority": _Key(_number(1)),
    "tls_trusted_authorities": _Key(_authorities),
    "tls_names": _Key(_names),
    "tunnel_keys": _Key(_tunnel_keys),
    "tunnel_key": _Key(_number(1)),
    "firewall": _Key(_switch),
    "deployments": _Key(_table),
    "sections": _Key(_table),
    "shard_count": _Key(_number(1)),
}
USER_KEYS: t.Mapping[str, _Key] = {
    "username": _Key(_name),
    "password": _Key(_secret),
    "previous_password": _Key(_secret),
    "password_reference": _Key(_reference),
}
# Not for eyes: passwords, and where they are to be found.
_SECRETS = frozenset(
    name for keys in (KEYS, USER_KEYS) for name, key in keys.items() if key.check in (_secret, _reference)
)
_TLS_KEYS = tuple(name for name in _STORE_KEYS if name.startswith("tls_"))
# What the collection makes certificates for, and what it makes of them.
_AUTHORITY_KEYS = ("tls_certificates", "tls_authority", "tls_trusted_authorities", "tls_names")
_SERVER_KEYS = ("tls_client_certificates", "tls_min_version", "tls_max_version")
_TUNNEL_KEYS = ("tunnel_keys", "tunnel_key")
_CLUSTER_DEFAULTS: t.Mapping[str, t.Any] = {
    "mode": "cluster",
    "username": "tyk",
    "replicas_per_primary": 1,
    "admin_username": "tyk-redis-admin",
    "least_privilege": True,
}
_MADE_BY_THE_ROLES = (
    "previous_password",
    "replicas_per_primary",
    "admin_username",
    "admin_password",
    "admin_previous_password",
    "remove",
    "previous_encryption",
    "encrypted_port_offset",
    "tls_certificates",
    "tls_client_certificates",
    "tls_authority",
    "tls_trusted_authorities",
    "tls_names",
    "tunnel_keys",
    "tunnel_key",
)
_MADE_ELSEWHERE = ("addresses", "maxclients", *(name for name in _TLS_KEYS if name not in _SERVER_KEYS))

# What a host says about its instances.
HOST_VARIABLES = (
    "redis_address",
    "redis_leaving",
    "redis_loopback",
    "redis_ports",
    "redis_weight",
    "redis_zone",
    "tyk_redis_control",
)
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
    "redis_cluster_tls",
    "redis_cluster_tls_ca_file",
    "redis_cluster_tls_cert_file",
    "redis_cluster_tls_key_file",
    "redis_cluster_username",
)
# Two letters swapped, one too many or one left out in a name of this length still come to this much.
_ALIKE = 0.9


def _taken(place: str, keys: t.Mapping[str, _Key], given: t.Mapping[t.Any, t.Any]) -> dict[str, t.Any]:
    """Every key with its checked value or its default. A value of None is none."""
    unknown = sorted(str(name) for name in given if name not in keys)
    if unknown:
        raise DescriptionError(
            f"{place} has no key {', '.join(map(repr, unknown))}; the keys are: {', '.join(sorted(keys))}."
        )
    return {
        name: key.default if given.get(name) is None else key.check(f"{place}.{name}", given[name])
        for name, key in keys.items()
    }


def _must_be_given(names: t.Sequence[str]) -> DescriptionError:
    return DescriptionError(f"{', '.join(names)} must be given; there is no default password. Keep it in a vault.")


def describe(given: t.Any) -> dict[str, t.Any]:
    """Check the dictionary ``tyk_redis`` and fill in what it leaves out.

    Keys that mean nothing in what is described, such as ``addresses`` of a cluster that the roles make, are None.

    Raises:
        DescriptionError: a key is unknown, missing, of the wrong type, outside of its limits or without effect.
    """
    if not isinstance(given, t.Mapping):
        raise DescriptionError(
            "tyk_redis must be a dictionary with at least password and admin_password, see the README's quick start."
        )
    described = _taken("tyk_redis", KEYS, given)
    described["deployments"] = _deployments(described["deployments"] or {})
    described["sections"] = _sections(described["sections"] or {}, described["deployments"])
    described["remove"] = described["remove"] or []
    # Pump follows the analytics to another Redis, and is then no user of this one.
    users = [c for c in COMPONENTS if c != "pump" or "analytics_storage" not in described["sections"]]
    if described["topology"] == "managed":
        for name in _MADE_BY_THE_ROLES:
            if described[name] not in (None, []):
                raise DescriptionError(
                    f"tyk_redis.{name} has no effect with topology managed, where others make the Redis: remove it."
                )
        if described["firewall"]:
            raise DescriptionError(
                "tyk_redis.firewall is true, which has no effect with topology managed, where others make the Redis:"
                " remove it."
            )
        described["firewall"] = False
        _settle_made_elsewhere("tyk_redis", described, users)
    else:
        _settle_made_by_the_roles(described, users)
    for name, store in described["deployments"].items():
        using = {c for section, other in described["sections"].items() if other == name for c in SECTIONS[section]}
        _settle_made_elsewhere(f"tyk_redis.deployments.{name}", store, [c for c in COMPONENTS if c in using])
    return described


def without_secrets(described: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """What describe() returned, without passwords; of ``tunnel_keys`` only the numbers are left, in ascending order."""
    public = _store_without_secrets(described)
    public["deployments"] = {name: _store_without_secrets(one) for name, one in described["deployments"].items()}
    if described["tunnel_keys"] is not None:
        public["tunnel_keys"] = sorted(described["tunnel_keys"])
    return public


def _store_without_secrets(store: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    users = {component: _table_without_secrets(user) for component, user in store["users"].items()}
    return {**_table_without_secrets(store), "users": users}


def _table_without_secrets(table: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    return {name: value for name, value in table.items() if name not in _SECRETS}


def _deployments(given: t.Mapping[t.Any, t.Any]) -> dict[str, dict[str, t.Any]]:
    taken = {}
    for name, keys in given.items():
        _name("tyk_redis.deployments has a name that", name)
        place = f"tyk_redis.deployments.{name}"
        if name == MAIN:
            raise DescriptionError(f"{place} needs another name: {MAIN} is the Redis that tyk_redis itself describes.")
        taken[str(name)] = _taken(place, _STORE_KEYS, _table(place, keys))
    return taken


def _sections(given: t.Mapping[t.Any, t.Any], deployments: t.Mapping[str, t.Any]) -> dict[str, str]:
    keys = {section: _Key(_name) for section in SECTIONS}
    sections = {name: value for name, value in _taken("tyk_redis.sections", keys, given).items() if value is not None}
    for section, name in sections.items():
        if name not in deployments:
            known = ", ".join(sorted(deployments)) or "none"
            raise DescriptionError(
                f"tyk_redis.sections.{section} is {name!r}, which is none of tyk_redis.deployments ({known})."
            )
    for name in deployments:
        if name not in sections.values():
            raise DescriptionError(
                f"tyk_redis.deployments.{name} is used by nothing: name it in tyk_redis.sections as"
                f" {' or '.join(SECTIONS)}, or remove it."
            )
    return sections


def _settle_made_by_the_roles(described: dict[str, t.Any], components: t.Sequence[str]) -> None:
    for name, default in _CLUSTER_DEFAULTS.items():
        if described[name] is None:
            described[name] = default
    for name in _MADE_ELSEWHERE:
        if described[name] is not None:
            raise DescriptionError(
                f"tyk_redis.{name} goes only with topology managed; about a cluster that the roles make, the inventory"
                " and the roles' options say it."
            )
    if described["mode"] != "cluster":
        raise DescriptionError(f"tyk_redis.mode is {described['mode']!r}, which goes only with topology managed.")
    _settle_encryption(described)
    if not described["least_privilege"]:
        raise DescriptionError(
            "tyk_redis.least_privilege is false, which goes only with topology managed: of the users that the roles"
            " make, it is always proved that they may do no more than they need."
        )
    _settle_mode("tyk_redis", described)
    _name("tyk_redis.username", described["username"])
    described["users"] = _users("tyk_redis", described, components)
    missing = [f"tyk_redis.{name}" for name in ("password", "admin_password") if described[name] is None]
    if set(components) <= set(described["users"]):
        missing = [name for name in missing if name != "tyk_redis.password"]
    missing += [f"tyk_redis.users.{c}.password" for c, user in described["users"].items() if user["password"] is None]
    if missing:
        raise _must_be_given(missing)
    _refuse_same_names(described)
    _refuse_idle_rotation("tyk_redis.admin_previous_password", "admin_password", described, "admin_previous_password")
    for place, user in [("tyk_redis", described), *_placed(described["users"])]:
        _refuse_idle_rotation(f"{place}.previous_password", "password", user, "previous_password")


def _settle_encryption(described: dict[str, t.Any]) -> None:
    """Check and fill in what is said about the encryption of a cluster that the roles make."""
    modes = _encryption.phases(described)
    mode, previous = described["encryption"], described["previous_encryption"]
    if previous == mode:
        raise DescriptionError(
            f"tyk_redis.previous_encryption is {mode!r} as well as tyk_redis.encryption: name the one that it replaces,"
            " or remove it."
        )
    if previous is not None and "none" not in modes:
        raise DescriptionError(
            f"tyk_redis.encryption cannot change from {previous!r} to {mode!r} at once: change it to none first, in a"
            " network that you trust meanwhile, or build a new cluster."
        )
    if previous is not None and described["remove"]:
        raise DescriptionError(
            "tyk_redis.remove names instances by addresses and ports that change with tyk_redis.encryption: remove them"
            " before the change or after it."
        )
    used = {
        **dict.fromkeys(_AUTHORITY_KEYS, ("tls", "tls_tunnel")),
        **dict.fromkeys(_SERVER_KEYS, ("tls",)),
        "tls_min_version": ("tls", "tls_tunnel"),
        **dict.fromkeys(_TUNNEL_KEYS, ("spiped",)),
        "encrypted_port_offset": ("tls", *_encryption.TUNNELS),
    }
    for name, by in used.items():
        # With none they may stay, so that a change to none and back is one of a single key.
        if described[name] is not None and modes != ("none",) and not set(by) & set(modes):
            raise DescriptionError(f"tyk_redis.{name} has no effect without tyk_redis.encryption: {' or '.join(by)}.")
    if modes != ("none",):
        _settle_offset(described, modes)
    described["firewall"] = bool(described["firewall"])
    if {"tls", "tls_tunnel"} & set(modes):
        _settle_authorities(described)
        for name in ("tls_min_version", "tls_max_version"):
            if described[name] not in (None, *SERVER_TLS_VERSIONS):
                raise DescriptionError(
                    f"tyk_redis.{name} is {described[name]!r}, which goes only with topology managed: what the roles"
                    f" make speaks {' and '.join(SERVER_TLS_VERSIONS)}."
                )
        _settle_tls_versions("tyk_redis", described)
    if "tls" in modes:
        described["tls_client_certificates"] = described["tls_client_certificates"] or "required"
    if "spiped" in modes:
        _settle_tunnel_keys(described)


def _settle_offset(described: dict[str, t.Any], modes: t.Sequence[str]) -> None:
    offset = described["encrypted_port_offset"]
    if offset is None:
        offset = described["encrypted_port_offset"] = DEFAULT_PORT_OFFSET
    if offset == BUS_PORT_OFFSET:
        raise DescriptionError(
            f"tyk_redis.encrypted_port_offset is {offset}, which is where the cluster bus listens; give another one."
        )
    if "spiped" in modes and offset + _encryption.KEY_PORT_STEP == BUS_PORT_OFFSET:
        raise DescriptionError(
            f"tyk_redis.encrypted_port_offset is {offset}, and every second key is spoken"
            f" {_encryption.KEY_PORT_STEP} ports higher, where the cluster bus listens; give another one."
        )
    if offset == 0 and set(modes) != {"tls"}:
        raise DescriptionError(
            "tyk_redis.encrypted_port_offset is 0, which leaves no port beside the one without encryption: it goes only"
            " with encryption tls that is not changed."
        )


def _settle_authorities(described: dict[str, t.Any]) -> None:
    if described["tls_certificates"] == "brought":
        for name in ("tls_authority", "tls_trusted_authorities", "tls_names"):
            if described[name] is not None:
                raise DescriptionError(
                    f"tyk_redis.{name} has no effect with tls_certificates: brought, where others issue them: remove"
                    " it."
                )
        return
    described["tls_certificates"] = "own"
    described["tls_authority"] = described["tls_authority"] or 1
    described["tls_trusted_authorities"] = described["tls_trusted_authorities"] or [described["tls_authority"]]
    described["tls_names"] = described["tls_names"] or []
    if described["tls_authority"] not in described["tls_trusted_authorities"]:
        raise DescriptionError(
            f"tyk_redis.tls_authority is {described['tls_authority']}, which is none of"
            f" tyk_redis.tls_trusted_authorities ({', '.join(map(str, described['tls_trusted_authorities']))}):"
            " nobody would trust the certificates that it issues."
        )


def _settle_tunnel_keys(described: dict[str, t.Any]) -> None:
    if not described["tunnel_keys"]:
        raise DescriptionError(
            "tyk_redis.tunnel_keys must be given with encryption spiped, for example {1: SECRET} with a secret from a"
            " vault (openssl rand -base64 48); there is no default key."
        )
    newest = max(described["tunnel_keys"])
    described["tunnel_key"] = described["tunnel_key"] or newest
    if described["tunnel_key"] not in described["tunnel_keys"]:
        raise DescriptionError(
            f"tyk_redis.tunnel_key is {described['tunnel_key']}, which is none of tyk_redis.tunnel_keys"
            f" ({', '.join(map(str, described['tunnel_keys']))})."
        )


def _placed(users: t.Mapping[str, t.Mapping[str, t.Any]]) -> list[tuple[str, t.Mapping[str, t.Any]]]:
    return [(f"tyk_redis.users.{component}", user) for component, user in users.items()]


def _refuse_same_names(described: t.Mapping[str, t.Any]) -> None:
    """The users of one Redis have names of their own, and none is the one that everybody is before AUTH."""
    if described["username"] == described["admin_username"]:
        raise DescriptionError(
            f"tyk_redis.username and tyk_redis.admin_username are both {described['username']!r};"
            " Tyk must not work as the administrator, so give them different names."
        )
    places: dict[str, str] = {}
    for place, name in [
        ("tyk_redis.username", described["username"]),
        ("tyk_redis.admin_username", described["admin_username"]),
        *((f"{place}.username", user["username"]) for place, user in _placed(described["users"])),
    ]:
        if name == "default":
            raise DescriptionError(
                f"{place} is 'default', the user that everybody is before AUTH; it stays switched off."
                " Give another name."
            )
        if name in places:
            raise DescriptionError(f"{places[name]} and {place} are both {name!r}; give each user a name of its own.")
        places[name] = place


def _refuse_idle_rotation(place: str, beside: str, user: t.Mapping[str, t.Any], key: str) -> None:
    if user[key] is not None and user[key] == user[beside]:
        raise DescriptionError(f"{place} is the same as {beside}; give the one that it replaces, or remove it.")
    if user[key] is not None and user[beside] is None:
        raise DescriptionError(f"{place} has no effect without {beside}; remove it.")


def _settle_made_elsewhere(place: str, store: dict[str, t.Any], components: t.Sequence[str]) -> None:
    """Check and fill in what is said about a Redis that the roles do not make."""
    if not store["addresses"]:
        raise DescriptionError(f"{place}.addresses must be given, as a list of one or more addresses with ports.")
    if store["mode"] is None:
        raise DescriptionError(
            f"{place}.mode must be given, because it cannot be guessed from the addresses: cluster, standalone (also"
            " for a proxy that leads to the one primary) or sentinel."
        )
    _settle_mode(place, store)
    if store["encryption"] not in ("none", "tls"):
        raise DescriptionError(
            f"{place}.encryption is {store['encryption']!r}, which needs the roles at both ends: of a Redis that others"
            " make it may be none or tls."
        )
    _settle_tls(place, store)
    store["username"] = store["username"] or ""
    store["least_privilege"] = bool(store["least_privilege"])
    store["users"] = _users(place, store, components)
    for user in store["users"].values():
        if user["previous_password"] is not None:
            raise DescriptionError(
                f"{place}.users has a previous_password, which has no effect where others make the users: remove it."
            )
    asked = [(f"{place}.users.{component}", user) for component, user in store["users"].items()]
    if not set(components) <= set(store["users"]):
        asked.insert(0, (place, store))
    for whose, user in asked:
        if user["password"] is None and user["password_reference"] is None:
            raise _must_be_given([f"{whose}.password or {whose}.password_reference"])


def _settle_mode(place: str, store: dict[str, t.Any]) -> None:
    mode = store["mode"]
    store["sentinel_master"] = store["sentinel_master"] or None
    if mode == "cluster":
        if store["database"]:
            raise DescriptionError(
                f"{place}.database is {store['database']}, but a Redis Cluster has only the database 0: remove the key."
            )
        store["database"] = None
    else:
        store["database"] = store["database"] or 0
    if mode == "standalone" and len(store["addresses"]) > 1:
        raise DescriptionError(
            f"{place}.addresses has {len(store['addresses'])} addresses, but with mode standalone Tyk uses only the"
            " first one: name one server or one proxy, or correct mode."
        )
    if mode == "sentinel" and store["sentinel_master"] is None:
        raise DescriptionError(
            f"{place}.sentinel_master must be given with mode sentinel: the name by which Sentinel knows the primary."
        )
    for name in ("sentinel_master", "sentinel_password"):
        if mode != "sentinel" and store[name] is not None:
            raise DescriptionError(f"{place}.{name} goes only with mode sentinel, and mode is {mode}.")


def _settle_tls(place: str, store: dict[str, t.Any]) -> None:
    if store["encryption"] == "none":
        for name in _TLS_KEYS:
            # False is how a filled in description says that verification is not skipped.
            if store[name]:
                raise DescriptionError(f"{place}.{name} has no effect without {place}.encryption: tls.")
            store[name] = None
        return
    store["tls_skip_verify"] = bool(store["tls_skip_verify"])
    if (store["tls_cert_file"] is None) != (store["tls_key_file"] is None):
        raise DescriptionError(
            f"{place}.tls_cert_file and {place}.tls_key_file go together: Tyk ignores one of them alone without a word."
        )
    _settle_tls_versions(place, store)


def _settle_tls_versions(place: str, store: t.Mapping[str, t.Any]) -> None:
    low, high = store["tls_min_version"], store["tls_max_version"]
    if low is not None and high is not None and TLS_VERSIONS.index(low) > TLS_VERSIONS.index(high):
        raise DescriptionError(f"{place}.tls_min_version {low} is above {place}.tls_max_version {high}.")


def _users(place: str, store: t.Mapping[str, t.Any], components: t.Sequence[str]) -> dict[str, dict[str, t.Any]]:
    """The components with a user of their own, in a fixed order."""
    given = store["users"] or {}
    unknown = sorted(str(name) for name in given if name not in COMPONENTS)
    if unknown:
        raise DescriptionError(
            f"{place}.users has no key {', '.join(map(repr, unknown))}; the keys are: {', '.join(COMPONENTS)}."
        )
    users = {}
    for component in COMPONENTS:
        if given.get(component) is None:
            continue
        whose = f"{place}.users.{component}"
        if component not in components:
            raise DescriptionError(f"{whose} has no effect, because {component} does not use this Redis: remove it.")
        user = _taken(whose, USER_KEYS, _table(whose, given[component]))
        if user["username"] is None:
            if not store["username"]:
                raise DescriptionError(f"{whose}.username must be given, because {place}.username is not.")
            user["username"] = f"{store['username']}-{component}"
        users[component] = user
    return users


def _address(text: t.Any) -> str | None:
    """The address in the one form that servers print, or None where it is none that other hosts could connect to."""
    try:
        address = ipaddress.ip_address(str(text))
    except ValueError:
        return None
    # A scope, as in fe80::1%eth0, means something on one host only.
    return None if address.is_unspecified or "%" in str(address) else str(address)


class _Purpose(t.NamedTuple):
    """What a host's address is for, in the words of the refusals."""

    use: str
    wanted: str
    relation: str
    resolver: str


_BOUND = _Purpose(
    "bind and announce",
    "an address that all Redis and Tyk hosts reach",
    "by which other hosts reach it",
    "Redis Cluster",
)
_ADMITTED = _Purpose(
    "admit in the firewall",
    "the address from which it connects to Redis",
    "from which it connects to Redis",
    "the firewall",
)


def address_of(host: str, variables: t.Mapping[str, t.Any]) -> str:
    """The IP address that the Redis instances of a host bind and announce.

    ``redis_address``, else ``ansible_host`` where that is an IP address, else the address of the default route.
    Names are refused, because CLUSTER MEET takes addresses only.
    """
    return _address_for(host, variables, _BOUND)


def client_address_of(host: str, variables: t.Mapping[str, t.Any]) -> str:
    """The IP address from which a Tyk host connects, which is found as that of a Redis host is."""
    return _address_for(host, variables, _ADMITTED)


def _address_for(host: str, variables: t.Mapping[str, t.Any], purpose: _Purpose) -> str:
    address = _address_if_known(variables)
    if address is not None:
        return address
    if variables.get("redis_address"):
        raise DescriptionError(
            f"{host}: redis_address is {variables['redis_address']!r}; give the IP address itself {purpose.relation},"
            f" {purpose.resolver} does not resolve names."
        )
    raise _unknown(host, variables, purpose)


def _address_if_known(variables: t.Mapping[str, t.Any]) -> str | None:
    given = variables.get("redis_address")
    if given:
        return _address(given)
    for candidate in (variables.get("ansible_host"), _default_route(variables).get("address")):
        address = _address(candidate) if candidate else None
        if address is not None:
            return address
    return None


def _default_route(variables: t.Mapping[str, t.Any]) -> t.Mapping[str, t.Any]:
    return (variables.get("ansible_facts") or {}).get("default_ipv4") or {}


def _unknown(host: str, variables: t.Mapping[str, t.Any], purpose: _Purpose) -> DescriptionError:
    """Why nothing says where a host is: it depends on whether the host itself has been asked."""
    given = variables.get("ansible_host")
    named = f"its ansible_host is {given!r}, which is no IP address that others could connect to, and " if given else ""
    asked = "default_ipv4" in (variables.get("ansible_facts") or {})
    why = (
        "it has no default route for IPv4" if asked else "it was not asked, because it is down or --limit leaves it out"
    )
    return DescriptionError(
        f"{host}: no IP address to {purpose.use} is known: {named}{why}. Set the host variable redis_address to"
        f" {purpose.wanted}{'' if asked else ', or run when it is up and without --limit'}."
    )


def loopback_address_of(host: str, variables: t.Mapping[str, t.Any]) -> str:
    """The loopback address of a host's instances, see _encryption.loopback_of."""
    try:
        return _encryption.loopback_of(host, variables.get("redis_loopback"), address_of(host, variables))
    except _encryption.EncryptionError as exc:
        raise DescriptionError(str(exc)) from exc


def _ports_of(host: str, variables: t.Mapping[str, t.Any], described: t.Mapping[str, t.Any]) -> list[int]:
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
    _refuse_wire_ports(host, ports, described)
    return ports


def _refuse_wire_ports(host: str, ports: t.Sequence[int], described: t.Mapping[str, t.Any]) -> None:
    """The ports at which encrypted connections come in must be none of those without."""
    modes, offset = set(_encryption.phases(described)), described["encrypted_port_offset"]
    if not offset:
        return
    taken = {port: port for port in ports}
    taken.update({port + BUS_PORT_OFFSET: port for port in ports})
    for port in ports:
        wires = [_encryption.client_port(port, "tls", offset)] if "tls" in modes else []
        if modes & set(_encryption.TUNNELS):
            # Also those of a key that is not there yet, so that there always can be a next one.
            for key in (1, 2) if "spiped" in modes else (1,):
                wires += _encryption.wire_ports(port, offset, key)
        for wire in wires:
            if wire > HIGHEST_PORT:
                raise DescriptionError(
                    f"{host}: redis_ports contains {port}, and with tyk_redis.encrypted_port_offset {offset} there"
                    f" would be a port {wire}; the highest is {HIGHEST_PORT}."
                )
            if wire in taken:
                raise DescriptionError(
                    f"{host}: redis_ports contains {port} and {taken[wire]}, and with tyk_redis.encrypted_port_offset"
                    f" {offset} both would use the port {wire}; give another offset."
                )
            taken[wire] = port


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
    leaving = _truth(given)
    if leaving is None:
        raise DescriptionError(
            f"{host}: redis_leaving is {given!r}; it must be true for a host whose instances are to leave the cluster,"
            " or false."
        )
    return leaving


# A cluster without encryption from which no instance is to be removed.
PLAIN: t.Mapping[str, t.Any] = {
    "encryption": "none",
    "previous_encryption": None,
    "encrypted_port_offset": None,
    "tunnel_keys": None,
    "remove": (),
}


def instances_of(
    hostvars: t.Mapping[str, t.Mapping[str, t.Any]],
    hosts: t.Iterable[str],
    described: t.Mapping[str, t.Any] | None = None,
) -> tuple[list[dict[str, t.Any]], list[dict[str, t.Any]]]:
    """Every Redis instance of these hosts, in the order of the inventory.

    Args:
        hostvars: the variables of all hosts.
        hosts: the hosts that are asked about.
        described: what describe() returns; None for PLAIN. Addresses and ports are those of its ``encryption``.

    Returns:
        The instances that make the cluster, which is what redis_cluster takes as ``nodes``, and those that are to leave
        it, because of their host's ``redis_leaving`` or because ``remove`` names them.

    Raises:
        DescriptionError: a host variable is wrong, or two hosts claim one instance.
    """
    staying: list[dict[str, t.Any]] = []
    leaving: list[dict[str, t.Any]] = []
    owners: dict[tuple[str, int], str] = {}
    described = PLAIN if described is None else described
    removed = frozenset(described["remove"])
    mode, offset = described["encryption"], described["encrypted_port_offset"] or 0
    for host in hosts:
        variables = hostvars[host]
        address = address_of(host, variables)
        if _encryption.is_tunnel(mode):
            address = loopback_address_of(host, variables)
        zone = variables.get("redis_zone")
        weight = _weight_of(host, variables)
        leaves = _is_leaving(host, variables)
        for instance in _ports_of(host, variables, described):
            port = _encryption.client_port(instance, mode, offset)
            for claimed in (port, instance + BUS_PORT_OFFSET):
                other = owners.setdefault((address, claimed), host)
                if other != host:
                    variable = "redis_loopback" if _encryption.is_tunnel(mode) else "redis_address"
                    raise DescriptionError(
                        f"{host} and {other} both claim {_endpoint(address, claimed)}; give each host its own"
                        f" {variable}."
                    )
            (leaving if leaves or _endpoint(address, port) in removed else staying).append(
                {
                    "name": f"{host}:{instance}",
                    "address": address,
                    "port": port,
                    "bus_port": instance + BUS_PORT_OFFSET,
                    "host": host,
                    "zone": "" if zone is None else str(zone),
                    "weight": weight,
                }
            )
    return staying, leaving


def redis_options(
    hostvars: t.Mapping[str, t.Mapping[str, t.Any]], host: str, description: t.Mapping[str, t.Any], mode: str = ""
) -> dict[str, t.Any]:
    """What the role redis takes for one host, without the prefix ``redis_``.

    Args:
        hostvars: the variables of all hosts.
        host: the host in question.
        description: what describe() returns.
        mode: the one in which the cluster announces itself at this moment, while it changes.
    """
    variables = hostvars[host]
    mode = mode or description["encryption"]
    address = address_of(host, variables)
    modes = _encryption.phases(description)
    loopback = loopback_address_of(host, variables) if any(map(_encryption.is_tunnel, modes)) else None
    listening = _encryption.listening(description, address, loopback)
    _staying, leaving = instances_of(hostvars, [host], {**description, "encryption": mode})
    versions = TLS_VERSIONS[
        TLS_VERSIONS.index(description["tls_min_version"] or "1.2") : TLS_VERSIONS.index(
            description["tls_max_version"] or "1.3"
        )
        + 1
    ]
    return {
        "address": loopback if _encryption.is_tunnel(mode) else address,
        "bind": listening["addresses"],
        "plain": listening["plain"],
        "tls": listening["tls_port_offset"] is not None,
        # Also without TLS, to know which port it had before.
        "tls_port_offset": DEFAULT_PORT_OFFSET
        if description["encrypted_port_offset"] is None
        else description["encrypted_port_offset"],
        "tls_bus": mode == "tls",
        "tls_client_certificates": description["tls_client_certificates"] or "required",
        "tls_protocols": [f"TLSv{version}" for version in versions],
        "changing": len(modes) > 1,
        "certified_addresses": [address],
        "leaving_ports": [int(instance["name"].rpartition(":")[2]) for instance in leaving],
    }


def tunnels_of(
    hostvars: t.Mapping[str, t.Mapping[str, t.Any]],
    host: str,
    redis_hosts: t.Sequence[str],
    description: t.Mapping[str, t.Any],
) -> list[dict[str, t.Any]]:
    """The ends of tunnels that a host has, in the order of the inventory; none where no tunnels are described.

    Returns:
        One dictionary for each end with its ``name``; ``kind``, which is ``serve`` for an own instance and ``dial`` for
        one of another host; ``listen`` and ``target`` as ``address:port``; ``peer``, the host of the instance;
        ``instance``, its port; ``bus``, whether the cluster bus and not data goes through; ``wire``, the address and
        port between the hosts; and ``key``, the number of the key.
    """
    modes = [mode for mode in _encryption.phases(description) if _encryption.is_tunnel(mode)]
    if not modes:
        return []
    # Refuses two hosts with one loopback address before anything is laid to either.
    instances_of(hostvars, redis_hosts, {**description, "encryption": modes[0]})
    spiped = "spiped" in modes
    keys = sorted(description["tunnel_keys"]) if spiped else [1]
    ends = []
    for peer in redis_hosts:
        variables = hostvars[peer]
        own = peer == host
        address, loopback = address_of(peer, variables), loopback_address_of(peer, variables)
        for port in _ports_of(peer, variables, description):
            for key in keys if own else [description["tunnel_key"] if spiped else 1]:
                wires = _encryption.wire_ports(port, description["encrypted_port_offset"], key)
                for bus, inner, wire in ((False, port, wires[0]), (True, port + BUS_PORT_OFFSET, wires[1])):
                    # Hosts without Redis have no business with the bus.
                    if bus and host not in redis_hosts:
                        continue
                    near, far = _endpoint(loopback, inner), _endpoint(address, wire)
                    kind = "serve" if own else "dial"
                    what = f"{port}-bus" if bus else str(port)
                    ends.append(
                        {
                            "name": f"serve-{what}-{key}" if own else f"dial-{peer}-{what}",
                            "kind": kind,
                            "listen": far if own else near,
                            "target": near if own else far,
                            "peer": peer,
                            "instance": port,
                            "bus": bus,
                            "wire": far,
                            "key": key,
                        }
                    )
    return ends


def admitted(
    hostvars: t.Mapping[str, t.Mapping[str, t.Any]],
    host: str,
    redis_hosts: t.Sequence[str],
    tyk_hosts: t.Sequence[str],
    description: t.Mapping[str, t.Any],
) -> dict[str, t.Any]:
    """Which addresses may connect to which ports of a Redis host.

    Returns:
        ``client_ports``, for the Redis hosts and Tyk's; ``bus_ports``, for the Redis hosts only; and the addresses of
        both, ``members`` and ``clients``. Everything that the instances or their tunnels listen on is among the ports.
    """
    modes = _encryption.phases(description)
    offset = description["encrypted_port_offset"] or 0
    data: list[int] = []
    bus: list[int] = []
    for port in _ports_of(host, hostvars[host], description):
        # Those without encryption too, where nobody listens then, so that nothing is open by accident.
        data.append(port)
        bus.append(port + BUS_PORT_OFFSET)
        if "tls" in modes and offset:
            data.append(port + offset)
        if any(map(_encryption.is_tunnel, modes)):
            for key in description["tunnel_keys"] or (1,):
                wires = _encryption.wire_ports(port, offset, key)
                data.append(wires[0])
                bus.append(wires[1])
    members = [address_of(one, hostvars[one]) for one in redis_hosts]
    clients = [client_address_of(one, hostvars[one]) for one in tyk_hosts]
    return {
        "client_ports": sorted(set(data)),
        "bus_ports": sorted(set(bus)),
        "members": list(dict.fromkeys(members)),
        "clients": list(dict.fromkeys([*members, *clients])),
    }


def former_is_off(
    hostvars: t.Mapping[str, t.Mapping[str, t.Any]], redis_hosts: t.Sequence[str], description: t.Mapping[str, t.Any]
) -> bool:
    """Whether one of the instances listens only in the new way already, so that the former one is being switched off.

    Args:
        hostvars: the variables of all hosts, with ``tyk_redis_listens``, the result of a grep -H in their redis.conf.
        redis_hosts: the hosts whose instances are asked about.
        description: the description with its ``previous_encryption``.
    """
    former, new = description["previous_encryption"], description["encryption"]
    for host in redis_hosts:
        address = address_of(host, hostvars[host])
        tunnel = any(map(_encryption.is_tunnel, (former, new)))
        loopback = loopback_address_of(host, hostvars[host]) if tunnel else None
        files: dict[str, list[str]] = {}
        for line in (hostvars[host].get("tyk_redis_listens") or {}).get("stdout_lines") or []:
            path, _colon, text = line.partition(":")
            files.setdefault(path.rpartition("/")[0], []).append(text)
        for lines in files.values():
            ways = _encryption.listens_in("\n".join(lines), address, loopback)
            if _encryption.way_of(new) in ways and _encryption.way_of(former) not in ways:
                return True
    return False


def controls(hostvars: t.Mapping[str, t.Mapping[str, t.Any]], redis_hosts: t.Sequence[str]) -> list[str]:
    """A port of each Redis host that has to be reached where those of Redis must not be.

    ``tyk_redis_control``, else where Ansible itself connects to: ``ansible_host``, also a name, and ``ansible_port``,
    else the one of SSH. Without an ``ansible_host`` that others could dial it is the address of the instances.
    """
    return [_control_of(host, hostvars[host]) for host in redis_hosts]


def _control_of(host: str, variables: t.Mapping[str, t.Any]) -> str:
    remedy = (
        "give an address or a name of this host, and a port that others reach, for example '192.0.2.14:22' or"
        " '[2001:db8::14]:22'"
    )
    given = variables.get("tyk_redis_control")
    if given:
        endpoint = _split(given, True)
        if endpoint is None or _is_own(endpoint[0]):
            raise DescriptionError(f"{host}: tyk_redis_control is {_without_login(given)}; {remedy}.")
        return _endpoint(*endpoint)
    named = str(variables.get("ansible_host") or "")
    address, port = _address(named) or (named if _is_name(named) else ""), variables.get("ansible_port")
    if not address or _is_own(address):
        # A port that is forwarded to the host on the controller is no port of the host.
        port = None if address else port
        address = address_of(host, variables)
    if _is_own(address):
        raise DescriptionError(
            f"{host}: its address is {address}, which leads nowhere but to the host that dials it. Set the host"
            f" variable tyk_redis_control: {remedy}."
        )
    number = SSH_PORT if port in (None, "") else _whole_number(port)
    if number is None or not 1 <= number <= HIGHEST_PORT:
        raise DescriptionError(
            f"{host}: ansible_port is {port!r}; it must be a port from 1 to {HIGHEST_PORT}. Correct it, or set the host"
            f" variable tyk_redis_control: {remedy}."
        )
    return _endpoint(address, number)


def _is_own(address: str) -> bool:
    """Whether the address leads to the host itself, whoever dials it."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address.rstrip(".").rpartition(".")[2].lower() == "localhost"


def dropped(
    hostvars: t.Mapping[str, t.Mapping[str, t.Any]], redis_hosts: t.Sequence[str], description: t.Mapping[str, t.Any]
) -> list[str]:
    """Every address and port that only members and Tyk hosts may connect to."""
    endpoints = []
    for host in redis_hosts:
        ports = admitted(hostvars, host, redis_hosts, [], description)
        address = address_of(host, hostvars[host])
        endpoints += [_endpoint(address, port) for port in (*ports["client_ports"], *ports["bus_ports"])]
    return endpoints


def announced(
    hostvars: t.Mapping[str, t.Mapping[str, t.Any]],
    hosts: t.Sequence[str],
    description: t.Mapping[str, t.Any],
    keep_bus: bool = False,
) -> list[dict[str, t.Any]]:
    """What every instance has to announce once the cluster has changed to the description's encryption.

    Args:
        hostvars: the variables of all hosts. Instances that have left, as the role redis has found, are passed over.
        hosts: the hosts whose instances are asked about.
        description: the description with its ``previous_encryption``.
        keep_bus: whether the bus keeps its TLS for now. A server of 7.0 that stops it at once tells its ports for TLS
            to clients without TLS for some seconds.

    Returns:
        One dictionary for each instance: ``address`` and ``port`` at which it is reached in the previous way, and the
        ``settings`` that it has to be given.
    """
    before = {**description, "encryption": description["previous_encryption"]}
    tls = description["encryption"] == "tls"
    answers = []
    for host in hosts:
        now, then = instances_of(hostvars, [host], before), instances_of(hostvars, [host], description)
        for old, new in zip(now[0] + now[1], then[0] + then[1]):
            port = int(new["name"].rpartition(":")[2])
            if port in (hostvars[host].get("__redis_left_ports") or ()):
                continue
            settings = {"cluster-announce-ip": new["address"], "replica-announce-ip": new["address"]}
            if "tls" in _encryption.phases(description):
                offset = description["encrypted_port_offset"]
                settings = {
                    "tls-cluster": "yes" if tls else "no",
                    "tls-replication": "yes" if tls else "no",
                    # Being changed is what makes a server of 7.0 tell its ports, and what makes the peers of a later
                    # one connect anew. So the port with TLS is told only to those who are to use it.
                    "cluster-announce-port": str(port),
                    "cluster-announce-tls-port": str(port + offset if tls else port),
                }
            if keep_bus:
                settings.pop("tls-cluster", None)
            answers.append({"address": old["address"], "port": old["port"], "settings": settings})
    return answers


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
