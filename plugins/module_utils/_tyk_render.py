# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Turns one description of a Redis into the edits of one component's file. No I/O; private to this collection.

What it decides: which keys are written, which contradict them and go away, what in the result has no effect, and how a
file's Redis keys are shown without its secrets. How a key is spelt it asks the table in C(_tyk_settings).
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.apiops.tyk_redis.plugins.module_utils._json_document import (
    Edit,
    JsonDocument,
    Put,
    Remove,
    Value,
    fold,
)
from ansible_collections.apiops.tyk_redis.plugins.module_utils._tyk_settings import (
    BOOLEAN,
    COMPONENTS,
    INTEGER,
    LIST,
    MAP,
    TLS_VERSIONS,
    Component,
    Setting,
)

MASK = "********"

# Addresses in another form. Any of them, left behind, is what a reader of the file or an older version would believe.
OTHER_ADDRESSES = ("hosts", "host", "port")

_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?\.?")
_PORT = re.compile(r"[1-9][0-9]{0,4}")


class DescriptionProblem(ValueError):
    """The description of the Redis cannot be right; the text names the option, the value and the remedy."""


@dataclass(frozen=True)
class Description:
    """The Redis that a component shall use. None means: leave that key as it is in the file."""

    addresses: tuple[str, ...]
    cluster: bool = True
    username: str | None = None
    password: str | None = None
    database: int | None = None
    timeout: int | None = None
    pool_size: int | None = None
    tls: bool = False
    tls_skip_verify: bool | None = None
    tls_ca: str | None = None
    tls_cert: str | None = None
    tls_key: str | None = None
    tls_min_version: str | None = None
    tls_max_version: str | None = None

    def __repr__(self) -> str:
        return f"Description({', '.join(self.addresses)})"


def check(description: Description) -> None:
    """Refuse what no component could use."""
    if not description.addresses:
        raise DescriptionProblem("addresses is empty: name at least one Redis node as host:port.")
    for address in description.addresses:
        check_address(address)
    doubles = {a for a in description.addresses if description.addresses.count(a) > 1}
    if doubles:
        raise DescriptionProblem(f"addresses names {sorted(doubles)[0]} more than once: name every node once.")
    for name in ("username", "password", "tls_ca", "tls_cert", "tls_key"):
        text = getattr(description, name)
        # Ansible hands over bytes that are not UTF-8 as lone surrogates, which no encoder can write.
        if text is not None and any("\ud800" <= character <= "\udfff" for character in text):
            raise DescriptionProblem(f"{name} is not valid UTF-8 text: encode it as UTF-8.")
    if description.username is not None and re.search(r"[\s\0]", description.username):
        raise DescriptionProblem(
            f"username {description.username!r} holds a blank, which no Redis user name can have: remove it."
        )
    for name, least in (("database", 0), ("timeout", 1), ("pool_size", 1)):
        number = getattr(description, name)
        if number is not None and number < least:
            raise DescriptionProblem(f"{name} is {number}, and it must be {least} or more.")
    low, high = description.tls_min_version, description.tls_max_version
    for name, version in (("tls_min_version", low), ("tls_max_version", high)):
        if version is not None and version not in TLS_VERSIONS:
            raise DescriptionProblem(f"{name} is {version!r}, and Tyk knows only {', '.join(TLS_VERSIONS)}.")
    if low is not None and high is not None and TLS_VERSIONS.index(low) > TLS_VERSIONS.index(high):
        raise DescriptionProblem(f"tls_min_version {low} is higher than tls_max_version {high}: exchange them.")


def check_address(address: str) -> None:
    """Refuse an address that is not C(host:port), with the reason."""

    def problem(reason: str) -> DescriptionProblem:
        # The form redis://user:password@host is a likely slip, and must not put the password into a message.
        return DescriptionProblem(f"The address {_without_login(address)!r} {reason}.")

    if "://" in address or "@" in address:
        raise problem("is a URL: write host:port only, the user, password and TLS have options of their own")
    if "," in address:
        raise problem("holds a comma: write each address as an item of its own in the list")
    if re.search(r"\s", address):
        raise problem("holds a blank: remove it, Tyk would take it for a part of the name")
    host, separator, port = address.rpartition(":")
    if address.startswith("["):
        name, bracket, rest = address[1:].partition("]")
        if not bracket or not rest.startswith(":"):
            raise problem("has no port after the bracket: write it as [IPv6 address]:port")
        port = rest[1:]
        try:
            ipaddress.IPv6Address(name)
        except ValueError:
            raise problem("does not hold an IPv6 address between its brackets") from None
    elif address.count(":") > 1:
        raise problem("has several colons: put an IPv6 address into brackets, as in [2001:db8::1]:6379")
    elif not separator or not host or not port:
        raise problem("is not of the form host:port, and Tyk adds no port of its own: write for example redis1:6379")
    elif not _HOST.fullmatch(host):
        raise problem("has a host that is neither a name nor an IP address")
    elif re.fullmatch(r"[0-9.]+", host):
        try:
            ipaddress.IPv4Address(host)
        except ValueError:
            raise problem("has a host that looks like an IPv4 address and is none") from None
    if not _PORT.fullmatch(port) or int(port) > 65535:
        raise problem(f"has the port {port!r}, and a port is a number from 1 to 65535 without leading zeros")


def edits(component: Component, description: Description) -> list[Edit]:
    """What has to become of the component's file."""
    settings = component.settings
    beside = frozenset(setting.path[-1] for setting in settings.values())
    made: list[Edit] = []

    def put(logical: str, value: Value | None, only_present: bool = False) -> None:
        if value is not None and logical in settings:
            made.append(Put(settings[logical].path, value, beside=beside, only_present=only_present))

    put("store_type", "redis")
    put("type", "redis")
    put("addresses", list(description.addresses))
    put("cluster", description.cluster)
    for logical in (
        "username",
        "password",
        "database",
        "timeout",
        "pool_size",
        "tls",
        "tls_skip_verify",
        "tls_ca",
        "tls_cert",
        "tls_key",
        "tls_min_version",
        "tls_max_version",
    ):
        put(logical, getattr(description, logical))
    # Either of the two switches turns it on, so the older one must not contradict where it is used.
    put("tls_legacy", description.tls, only_present=True)
    put("tls_skip_verify_legacy", description.tls_skip_verify, only_present=True)
    # With a master name the component would take the addresses for Sentinels, whatever the cluster switch says.
    made.extend(Remove(settings[logical].path) for logical in (*OTHER_ADDRESSES, "sentinel_master"))
    return made


def changed_keys(before: JsonDocument | None, after: JsonDocument, wanted: Sequence[Edit]) -> list[str]:
    """The keys that the edits changed, as the file writes them, in the order of the edits."""
    names = []
    for edit in wanted:
        old = before.raw(edit.path) if before else None
        if old != after.raw(edit.path):
            document = after if after.has(edit.path) else before
            key = document.spelled(edit.path)[-1] if document else edit.path[-1]
            names.append(".".join((*edit.path[:-1], key)))
    return names


def unmet(document: JsonDocument, wanted: Sequence[Edit]) -> list[str]:
    """The edits that a document does not show, as dotted paths; empty when it says what was wanted."""
    missing = []
    for edit in wanted:
        present = document.has(edit.path)
        if isinstance(edit, Remove):
            right = not present
        else:
            right = document.equals(edit.path, edit.value) if present else edit.only_present
        if not right:
            missing.append(".".join(edit.path))
    return missing


def remarks(component: Component, description: Description, document: JsonDocument) -> list[str]:
    """What in the description and in the file that results has no effect, one sentence each."""
    title, settings = component.title, component.settings
    said = []
    if description.database and description.cluster:
        said.append(f"database {description.database} has no effect in cluster mode, where Redis has only database 0.")
    if not description.cluster and len(description.addresses) > 1:
        said.append(
            f"Without cluster mode {title} uses only the first address, {description.addresses[0]}: "
            "the others have no effect."
        )
    if not description.tls:
        given = [
            name
            for name in ("tls_skip_verify", "tls_ca", "tls_cert", "tls_key", "tls_min_version", "tls_max_version")
            if getattr(description, name)
        ]
        if given:
            said.append(f"The TLS settings have no effect because tls is false ({', '.join(given)}).")
    if document.value(settings["username"].path) and not document.value(settings["password"].path):
        said.append(
            f"{settings['username'].dotted} has no effect without {settings['password'].dotted}: {title} would not "
            "log in at all."
        )
    for setting in settings.values():
        if setting.until and document.has(setting.path):
            said.append(f"{setting.dotted} has no effect: {title} does not read it after version {setting.until}.")
    for wrong, right in sorted(_foreign_names(component).items()):
        path = (*settings["addresses"].path[:-1], wrong)
        if document.has(path):
            said.append(f"{'.'.join(path)} has no effect: {title} calls this setting {right.dotted}.")
    return said


def _foreign_names(component: Component) -> Mapping[str, Setting]:
    """Names by which other components call this component's settings, and which it does not read itself."""
    section = component.settings["addresses"].path[:-1]
    own = {fold(setting.path[-1]) for setting in component.settings.values()}
    names: dict[str, Setting] = {}
    for other in COMPONENTS.values():
        for logical, setting in other.settings.items():
            right = component.settings.get(logical.replace("_legacy", ""))
            if right is None:
                continue
            name = setting.path[-1]
            if not section and not name.startswith("redis_"):
                # Without a section of its own any plain name could be somebody else's; with the prefix it is a slip.
                name = f"redis_{name}"
            if fold(name) not in own:
                names[name] = right
    return names


def shown(component: Component, document: JsonDocument | None, other: JsonDocument | None = None) -> str:
    """The component's Redis keys and nothing else of the file, one a line, without secrets.

    Every other key of the file may hold secrets of which nothing is known here. A secret that differs from the one in
    C(other) is marked, so that a diff shows that it changes.
    """
    if document is None:
        return ""
    lines = []
    for setting in component.settings.values():
        raw = document.raw(setting.path)
        if raw is None:
            continue
        if setting.secret:
            text = raw if raw in ('""', "null") else MASK
            before = other.raw(setting.path) if other else None
            if text == MASK and before not in (None, '""', "null") and not _same_text(document, other, setting):
                text = f"{MASK} (changed)"
        else:
            text = _plain(setting, document.value(setting.path), raw)
        section = document.spelled(setting.path)[-1]
        lines.append(f"{'.'.join((*setting.path[:-1], section))}: {text}")
    return "".join(f"{line}\n" for line in lines)


def _same_text(document: JsonDocument, other: JsonDocument | None, setting: Setting) -> bool:
    return other is not None and document.value(setting.path) == other.value(setting.path)


def _plain(setting: Setting, value: Any, raw: str) -> str:
    """A value in which nothing can hide: of the type that it should have, and without user:password@."""
    if raw in ("null", "true", "false"):
        return raw
    if setting.json_type == INTEGER and isinstance(value, tuple):
        return raw
    if setting.json_type == BOOLEAN:
        return "(not true or false)"
    if setting.json_type == LIST and isinstance(value, list) and all(isinstance(item, str) for item in value):
        return json.dumps([_without_login(item) for item in value])
    if setting.json_type == MAP and isinstance(value, dict) and all(isinstance(v, str) for v in value.values()):
        return json.dumps({_without_login(key): _without_login(item) for key, item in value.items()})
    if isinstance(value, str):
        return json.dumps(_without_login(value))
    return f"(not {'an' if setting.json_type == INTEGER else 'a'} {setting.json_type})"


def _without_login(text: str) -> str:
    return f"{MASK}@{text.rpartition('@')[2]}" if "@" in text else text
