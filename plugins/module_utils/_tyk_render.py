# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Turns one description of a Redis into what one component's file or environment has to say. No I/O; private.

What it decides: which settings are written for this version of the component, which contradict them and go away, and
what cannot be done. How a setting is spelt it asks the table in C(_tyk_settings).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Union

from ansible_collections.apiops.tyk_redis.plugins.module_utils._json_document import (
    Edit,
    JsonDocument,
    Put,
    Remove,
    Value,
)
from ansible_collections.apiops.tyk_redis.plugins.module_utils._tyk_settings import (
    TLS_VERSIONS,
    Component,
    Setting,
)
from ansible_collections.apiops.tyk_redis.plugins.module_utils._tyk_versions import (
    Version,
    passed,
    reached,
    show,
    spoken,
)

MASK = "********"

# Addresses in another form. Any of them, left behind, is what a reader of the file or an older version would believe.
OTHER_ADDRESSES = ("hosts", "host", "port")
# The forms of a reference to a secret that is kept elsewhere, as Tyk's programs write them.
REFERENCE = re.compile(r"(env|secrets|consul|vault|file|kv)://")

_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?\.?")
_PORT = re.compile(r"[1-9][0-9]{0,4}")
_TLS_OPTIONS = ("tls_skip_verify", "tls_ca", "tls_cert", "tls_key", "tls_min_version", "tls_max_version")
# How the module's options are called where their names differ from those of the table.
_OPTION_NAMES = {"tls_ca": "tls_ca_file", "tls_cert": "tls_cert_file", "tls_key": "tls_key_file"}


class DescriptionProblem(ValueError):
    """The description of the Redis cannot be right; the text names the option, the value and the remedy."""


@dataclass(frozen=True)
class Description:
    """The Redis that one store of a component shall use. None means: leave that setting as it is."""

    addresses: tuple[str, ...]
    cluster: bool = True
    sentinel_master: str | None = None
    sentinel_password: str | None = None
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


class Unused:
    """Stands for a separate store that the component shall not use."""


UNUSED = Unused()


@dataclass(frozen=True)
class Change:
    """One setting that shall have a value, or be away if that is None. With C(only_present) only where it is set."""

    setting: Setting
    # May be a secret, and so is not shown.
    value: Value | None = field(repr=False)
    only_present: bool = False


@dataclass(frozen=True)
class Plan:
    """What has to become of a component's configuration, and what of the description that cannot bring about."""

    changes: tuple[Change, ...]
    remarks: tuple[str, ...] = ()


def check(description: Description, place: str = "") -> None:
    """Refuse what no component could use.

    Args:
        description: the Redis of one store.
        place: what stands before the names of its options in messages, such as C(cache_storage.).
    """

    def problem(option: str, text: str) -> DescriptionProblem:
        return DescriptionProblem(f"{place}{_OPTION_NAMES.get(option, option)} {text}")

    if not description.addresses:
        raise problem("addresses", "is empty: name at least one Redis node as host:port.")
    for address in description.addresses:
        try:
            check_address(address)
        except DescriptionProblem as exc:
            raise DescriptionProblem(f"{place}addresses: {exc}" if place else str(exc)) from None
    doubles = {a for a in description.addresses if description.addresses.count(a) > 1}
    if doubles:
        raise problem("addresses", f"names {sorted(doubles)[0]} more than once: name every node once.")
    for name in ("username", "password", "sentinel_master", "sentinel_password", "tls_ca", "tls_cert", "tls_key"):
        text = getattr(description, name)
        # Ansible hands over bytes that are not UTF-8 as lone surrogates, which no encoder can write.
        if text is not None and any("\ud800" <= character <= "\udfff" for character in text):
            raise problem(name, "is not valid UTF-8 text: encode it as UTF-8.")
    if description.username is not None and re.search(r"[\s\0]", description.username):
        raise problem(
            "username", f"{description.username!r} holds a blank, which no Redis user name can have: remove it."
        )
    if description.sentinel_master and re.search(r"[\s\0]", description.sentinel_master):
        raise problem("sentinel_master", f"{description.sentinel_master!r} holds a blank: remove it.")
    if description.sentinel_master and description.cluster:
        raise problem(
            "sentinel_master",
            f"is {description.sentinel_master!r} and {place}cluster is true: Tyk would use Sentinel and no cluster. "
            "Set cluster to false, or leave sentinel_master away.",
        )
    for name, least in (("database", 0), ("timeout", 1), ("pool_size", 1)):
        number = getattr(description, name)
        if number is not None and number < least:
            raise problem(name, f"is {number}, and it must be {least} or more.")
    low, high = description.tls_min_version, description.tls_max_version
    for name, version in (("tls_min_version", low), ("tls_max_version", high)):
        if version is not None and version not in TLS_VERSIONS:
            raise problem(name, f"is {version!r}, and Tyk knows only {', '.join(TLS_VERSIONS)}.")
    if low is not None and high is not None and TLS_VERSIONS.index(low) > TLS_VERSIONS.index(high):
        raise problem("tls_min_version", f"{low} is higher than tls_max_version {high}: exchange them.")


def check_address(address: str) -> None:
    """Refuse an address that is not C(host:port), with the reason."""

    def problem(reason: str) -> DescriptionProblem:
        # The form redis://user:password@host is a likely slip, and must not put the password into a message.
        return DescriptionProblem(f"The address {without_login(address)!r} {reason}.")

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


Stores = Mapping[str, Union[Description, Unused]]


def plan(component: Component, stores: Stores, version: Version | None = None, shard_count: int | None = None) -> Plan:
    """What has to become of the component's configuration.

    Args:
        component: the row of the table.
        stores: for each section that is spoken about, the Redis that it shall use, or that it shall not be used. The
            first section is always used. A section that is not spoken about stays as it is.
        version: the component's version; None for the newest.
        shard_count: the value of REDIGOCLUSTER_SHARDCOUNT, which only the environment can hold.

    Raises:
        DescriptionProblem: this version cannot do what is described.
    """
    changes: list[Change] = []
    remarks: list[str] = []
    for name, store in stores.items():
        section = component.sections[name]
        at = component.at(name)
        if isinstance(store, Description):
            if not reached(version, section.since):
                raise DescriptionProblem(
                    f"{component.title} {_shown(version)} has no {section.title} ({name}), which came with "
                    f"{spoken(section.since)}: upgrade it, or use one Redis for everything."
                )
            planner = _StorePlanner(at, store, version)
            changes += planner.changes()
            remarks += planner.remarks
        for flag in section.enabled_by[:1]:
            used = isinstance(store, Description)
            changes.append(Change(component.flags[flag], used, only_present=not used))
    if shard_count is not None:
        changes.append(Change(_shard_count(component, version, shard_count), shard_count))
    return Plan(tuple(changes), tuple(remarks))


def _shard_count(component: Component, version: Version | None, count: int) -> Setting:
    setting = component.flags["shard_count"]
    if count < 1:
        raise DescriptionProblem(f"shard_count is {count}, and it must be 1 or more; Tyk recommended 128.")
    if not setting.read_by(version):
        raise DescriptionProblem(
            f"shard_count is {count}, but {component.title} {_shown(version)} does not read {setting.dotted}: only the "
            f"cluster driver of versions up to {setting.until} did. Leave shard_count away; pool_size is what limits "
            "the connections of later versions."
        )
    return setting


def _shown(version: Version | None) -> str:
    return show(version) if version else "of the newest version"


class _StorePlanner:
    """Plans the settings of one section for one version."""

    def __init__(self, component: Component, store: Description, version: Version | None) -> None:
        self._component = component
        self._settings = component.settings
        self._store = store
        self._version = version
        self._changes: list[Change] = []
        self.remarks: list[str] = []

    def changes(self) -> list[Change]:
        store = self._store
        if "store_type" in self._component.flags:
            self._changes.append(Change(self._component.flags["store_type"], "redis"))
        self._put("type", "redis")
        away = self._addresses()
        self._put("cluster", store.cluster)
        self._demanded("username", store.username)
        self._password("password", store.password)
        self._optional("database", store.database)
        self._optional("timeout", store.timeout)
        self._optional("pool_size", store.pool_size)
        self._tls()
        for logical in away:
            self._changes.append(Change(self._settings[logical], None))
        if store.sentinel_master:
            self._demanded("sentinel_master", store.sentinel_master)
            self._password("sentinel_password", store.sentinel_password)
        else:
            # With a master name the component would take the addresses for Sentinels, whatever the cluster switch says.
            self._changes.append(Change(self._settings["sentinel_master"], None))
        return self._changes

    def _read(self, logical: str) -> bool:
        return logical in self._settings and self._settings[logical].read_by(self._version)

    def _put(self, logical: str, value: Value | None, only_present: bool = False) -> None:
        if value is not None and logical in self._settings:
            self._changes.append(Change(self._settings[logical], value, only_present))

    def _why_not(self, logical: str) -> str:
        setting = self._settings[logical]
        who = f"{self._component.title} {_shown(self._version)}"
        if passed(self._version, setting.until):
            return f"{who} does not read {setting.dotted} any more, which {setting.until} was the last version to do"
        return f"{who} does not read {setting.dotted}, which came with {spoken(setting.since)}"

    def _demanded(self, logical: str, value: str | None) -> None:
        """A setting without which the component would not reach the Redis that is described."""
        if not value or self._read(logical):
            if self._read(logical):
                self._put(logical, value)
            return
        raise DescriptionProblem(f"{logical} is {value!r}, but {self._why_not(logical)}: upgrade it.")

    def _optional(self, logical: str, value: Value | None) -> None:
        """A setting without which the component still works, in another way."""
        if value is None or logical not in self._settings:
            return
        if self._read(logical):
            self._put(logical, value)
        elif value:
            option = _OPTION_NAMES.get(logical, logical)
            self.remarks.append(f"{option} is not written: {self._why_not(logical)}.")

    def _password(self, logical: str, value: str | None) -> None:
        reference = REFERENCE.match(value or "")
        setting = self._settings[logical]
        if reference and not setting.resolves(reference[1], self._component.assumed(self._version)):
            since = setting.references.get(reference[1])
            raise DescriptionProblem(
                f"{logical} begins with {reference[0]}, the form of a reference to a secret that is kept elsewhere. "
                f"{self._component.title} {_shown(self._version)} does not resolve such a reference in {setting.dotted}"
                f"{f' (it came with {spoken(since)})' if since else ''}, and would send its very text to Redis: give "
                "the password itself there."
            )
        if value and not self._read(logical):
            raise DescriptionProblem(f"{logical} is given, but {self._why_not(logical)}: upgrade it.")
        if self._read(logical):
            self._put(logical, value)

    def _addresses(self) -> tuple[str, ...]:
        """Write the addresses in the form that this version reads. Gives back the forms that go away."""
        addresses = self._store.addresses
        if self._read("addresses"):
            self._put("addresses", list(addresses))
            return OTHER_ADDRESSES
        hosts: dict[str, str] = {}
        for address in addresses:
            host, _colon, port = address.rpartition(":")
            if ":" in host:
                raise DescriptionProblem(
                    f"addresses names {address}, but {self._why_not('addresses')}, and its older "
                    f"{self._settings['hosts'].dotted} cannot hold an IPv6 address: upgrade it, or use a name."
                )
            if host in hosts:
                raise DescriptionProblem(
                    f"addresses names two ports of {host}, but {self._why_not('addresses')}, and its older "
                    f"{self._settings['hosts'].dotted} holds one port for each host: upgrade it, or name each host "
                    "once, since any one node leads to all others of a cluster."
                )
            hosts[host] = port
        if self._store.cluster or len(hosts) > 1:
            self._put("hosts", hosts)
            return ("addresses", "host", "port")
        host, port = next(iter(hosts.items()))
        self._put("host", host)
        self._put("port", int(port))
        return ("addresses", "hosts")

    def _tls(self) -> None:
        """Either of two switches turns TLS on where there is an older one, so the two must not contradict."""
        store = self._store
        for logical, value in (("tls", store.tls), ("tls_skip_verify", store.tls_skip_verify)):
            older = f"{logical}_legacy"
            if self._read(logical):
                self._put(logical, value)
                self._put(older, value, only_present=True)
            elif self._read(older):
                self._put(older, value)
            elif value:
                option = _OPTION_NAMES.get(logical, logical)
                raise DescriptionProblem(f"{option} is true, but {self._why_not(logical)}: upgrade it.")
        for logical in _TLS_OPTIONS[1:]:
            self._optional(logical, getattr(store, logical))


# --- as JSON ---


def edits(component: Component, changes: Iterable[Change]) -> list[Edit]:
    """What the changes are in the component's file."""
    near = {
        setting.path: frozenset(other.path[-1] for other in section.settings.values())
        for section in component.sections.values()
        for setting in section.settings.values()
    }
    made: list[Edit] = []
    for change in changes:
        path = change.setting.path
        if not path:
            continue
        if change.value is None:
            made.append(Remove(path))
        else:
            beside = near.get(path, frozenset())
            made.append(Put(path, change.value, beside=beside, only_present=change.only_present))
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


# --- as variables ---


def variables(
    component: Component, changes: Iterable[Change], version: Version | None, present: Iterable[str]
) -> dict[str, str | None]:
    """What the changes are in the component's environment: the text of each variable, or None for one that goes away.

    A variable that is set but empty would clear what the file says, and is a fatal error for a number or a switch. So
    an empty value takes its variable away.

    Args:
        component: the row of the table.
        changes: those of the plan.
        version: the component's version; None for the newest.
        present: the names of the variables that are set already.
    """
    there = frozenset(present)
    made: dict[str, str | None] = {}
    for change in changes:
        setting = change.setting
        # Of several families the weakest is the documented one; a stronger one beside it would win over it.
        read = setting.variables(version)
        written = read if setting.unsure else read[-1:]
        text = "" if change.value is None else _as_text(change.value)
        for name in setting.env:
            if name in written and text and not (change.only_present and name not in there):
                made[name] = text
            else:
                made.setdefault(name, None)
    return made


def _as_text(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ",".join(value)
    if isinstance(value, dict):
        return ",".join(f"{host}:{port}" for host, port in value.items())
    return str(value)


def without_login(text: str) -> str:
    """An address without the C(user:password@) that somebody may have written before it."""
    return f"{MASK}@{text.rpartition('@')[2]}" if "@" in text else text
