# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection and may change at any time.

"""Which Redis a Tyk component really uses: its file, then its environment, read as Go reads them. No I/O happens here.

Two libraries decide. encoding/json reads the file: keys match without regard to case, the last of equal keys wins,
equal objects merge, null leaves a scalar alone, and a value of another type is an error. envconfig v1.4.0 reads the
environment: a variable that is set but empty counts, numbers may have a base prefix, lists are not trimmed.
Every value keeps its origin, and whatever is wrong becomes a sentence with a remedy; a secret is never in one.
What the component's version does not read counts for nothing, and is told.
"""

from __future__ import annotations

import json
import re
import typing as t
from dataclasses import dataclass, field, replace

from ansible_collections.apiops.tyk_redis.plugins.module_utils._env_file import EnvironmentFile, Variable
from ansible_collections.apiops.tyk_redis.plugins.module_utils._redis_client import Address
from ansible_collections.apiops.tyk_redis.plugins.module_utils._tyk_settings import (
    BOOLEAN,
    INTEGER,
    LIST,
    MAP,
    STRING,
    TLS_VERSIONS,
    Component,
    Section,
    Setting,
)
from ansible_collections.apiops.tyk_redis.plugins.module_utils._tyk_versions import (
    Version,
    passed,
    reached,
    show,
    spoken,
)

CLUSTER = "cluster"
STANDALONE = "standalone"
SENTINEL = "sentinel"

DEFAULT = "default"
# What go-redis dials when it is given no address.
DEFAULT_ADDRESS = "127.0.0.1:6379"

MASK = "********"
_LONGEST_SHOWN = 60
_INT64 = 2**63
_INT64_DIGITS = 20

_EMPTY: t.Mapping[str, t.Any] = {STRING: "", INTEGER: 0, BOOLEAN: False, LIST: (), MAP: {}}
_EXPECTED = {
    STRING: "a string",
    INTEGER: "an integer",
    BOOLEAN: "true or false",
    LIST: "a list of strings",
    MAP: "an object with a string for each key",
}
_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})
_GO_INTEGER = re.compile(
    r"(?P<sign>[+-]?)(?:0[xX](?P<x>(?:_?[0-9a-fA-F])+)|0[bB](?P<b>(?:_?[01])+)|0[oO]?(?P<o>(?:_?[0-7])+)"
    r"|(?P<d>[1-9](?:_?[0-9])*|0))\Z"
)
_BASES = {"x": 16, "b": 2, "o": 8, "d": 10}
_REFERENCE = re.compile(r"(env|secrets|consul|vault|file|kv)://(.*)\Z", re.DOTALL)

# What a file that Go cannot decode does to each component. The two closed ones are assumed to be like the Gateway.
_BAD_FILE = {
    "pump": "Tyk Pump logs the error, goes on with nothing from the file, and finds no pump to run",
}
_BAD_KEY = {
    "pump": "Tyk Pump logs the error and goes on without this key",
}
_PUMP_LOGGED_FAMILY = ("TYK_PMP_ANALYTICSSTORAGECONFIG_", "TYK_PMP_ANALYTICSSTORAGETYPE")


@dataclass(frozen=True)
class Value:
    """The effective value of one setting and where it comes from."""

    # May be a secret, and so is not shown.
    value: t.Any = field(repr=False)
    origin: str = DEFAULT


@dataclass(frozen=True)
class Effective:
    """What the component does about Redis in one of its stores, and everything that is wrong with it."""

    # With the section in hand that this is about.
    component: Component
    version: Version | None
    values: t.Mapping[str, Value]
    flags: t.Mapping[str, Value]
    purposes: tuple[str, ...]
    mode: str
    # As written; only those in seeds can be dialled.
    addresses: tuple[str, ...]
    addresses_origin: str
    seeds: tuple[Address, ...]
    username: str
    password: str = field(repr=False)
    database: int
    tls: bool
    tls_skip_verify: bool
    problems: tuple[str, ...]
    # What has no effect, or works otherwise than it looks.
    remarks: tuple[str, ...]
    # Why nothing can be proved from here although nothing needs to be wrong.
    unprovable: tuple[str, ...]
    # False when connecting would say nothing about the component, because it does not get that far.
    usable: bool
    # Where the component tells how it is, by logical name; what nobody has set is not there.
    health: t.Mapping[str, t.Any] = field(default_factory=dict)
    # The other stores that are in use; only the first one has any.
    others: tuple[Effective, ...] = ()

    @property
    def stores(self) -> tuple[Effective, ...]:
        """This store and the others that are in use."""
        return (self, *self.others)

    def get(self, logical: str) -> t.Any:
        """The value that somebody has set, else the empty one of its type."""
        if logical in self.values:
            return self.values[logical].value
        setting = self.component.settings.get(logical)
        return _EMPTY[setting.json_type] if setting else ""

    def flag(self, logical: str) -> t.Any:
        """The same for a setting beside the stores."""
        if logical in self.flags:
            return self.flags[logical].value
        setting = self.component.flags.get(logical)
        return _EMPTY[setting.json_type] if setting else ""

    def origin(self, logical: str) -> str:
        return self.values[logical].origin if logical in self.values else DEFAULT

    def public(self) -> dict[str, dict[str, t.Any]]:
        """All settings for the eyes of people: secrets masked, and what nobody has set left out."""
        shown: dict[str, dict[str, t.Any]] = {}
        for logical, value in self.values.items():
            if value.origin == DEFAULT:
                continue
            setting = self.component.settings[logical]
            content = list(value.value) if setting.json_type == LIST else value.value
            if setting.secret and content:
                content = MASK
            shown[logical] = {"value": content, "from": value.origin, "key": setting.dotted}
        return shown


class _Number(str):
    """A JSON number as it is written: Go reads 6379 into an integer, but neither 6379.0 nor 6e3."""


class _Object:
    """A JSON object with all its keys, equal ones included."""

    def __init__(self, pairs: list[tuple[str, t.Any]]) -> None:
        self.pairs = pairs


def _no_constant(text: str) -> t.NoReturn:
    raise ValueError(f"{text} is no JSON value")


def _fold(key: str) -> str:
    # Go folds these two to letters of ASCII as well.
    return key.replace("\u017f", "s").replace("\u212a", "k").lower()


def _well_formed(text: str) -> str:
    """Half a surrogate pair, which only an escape can produce, becomes the replacement character as in Go."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _kind(value: t.Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, _Number):
        return "a number"
    if isinstance(value, str):
        return "a string"
    return "an object" if isinstance(value, _Object) else "a list"


def _written(value: t.Any) -> str:
    """The value as it stands in the file, shortened; containers only by their kind."""
    if isinstance(value, _Number):
        return _shortened(str(value))
    if isinstance(value, (str, bool)):
        return _shortened(json.dumps(value, ensure_ascii=False))
    return _kind(value)


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "..."


def _quoted(text: str) -> str:
    return _shortened(json.dumps(text, ensure_ascii=False))


def _decoded(component: Component, path: str, content: bytes) -> tuple[_Object | None, str]:
    """What the file says, or why the component cannot decode it."""
    consequence = _BAD_FILE.get(component.name, f"{component.title} does not start with it")
    if content.startswith(b"\xef\xbb\xbf"):
        return None, (
            f"{path} begins with a byte order mark, which Go does not accept: {consequence}; "
            "save the file as UTF-8 without one."
        )
    text = content.decode("utf-8", errors="replace")
    if not text.strip(" \t\r\n"):
        return None, (f"{path} is empty: {consequence}; write a configuration, for example with the module tyk_config.")
    start = len(text) - len(text.lstrip(" \t\r\n"))
    decoder = json.JSONDecoder(
        object_pairs_hook=_Object, parse_int=_Number, parse_float=_Number, parse_constant=_no_constant
    )
    try:
        document, end = decoder.raw_decode(text, start)
    except json.JSONDecodeError as exc:
        return None, (
            f"{path} is not JSON at line {exc.lineno} column {exc.colno} ({exc.msg}): {consequence}; "
            "correct the file (comments and trailing commas are not allowed)."
        )
    except ValueError as exc:
        return None, (f"{path} is not JSON ({exc}): {consequence}; correct the file.")
    except RecursionError:
        return None, (f"{path} is nested too deeply to be read here; make it flatter.")
    # The Gateway stops reading after the first value; Pump wants nothing after it.
    if component.name == "pump" and text[end:].strip(" \t\r\n"):
        line = text.count("\n", 0, end) + 1
        return None, (f"{path} goes on after the end of its JSON value (line {line}): {consequence}; remove the rest.")
    if not isinstance(document, _Object):
        return None, (f"{path} holds {_kind(document)} and no object: {consequence}; correct the file.")
    return document, ""


class _Reading:
    """The state while one section of a configuration, or what stands beside the sections, is read."""

    def __init__(
        self, component: Component, path: str, settings: t.Mapping[str, Setting], version: Version | None
    ) -> None:
        self.component = component
        self.title = component.title
        self.path = path
        self.settings = settings
        self.version = version
        self.values: dict[str, Value] = {}
        self.problems: list[str] = []
        self.remarks: list[str] = []
        self.unprovable: list[str] = []

    def value(self, logical: str) -> t.Any:
        if logical in self.values:
            return self.values[logical].value
        setting = self.settings.get(logical)
        return _EMPTY[setting.json_type] if setting else ""

    def origin(self, logical: str) -> str:
        return self.values[logical].origin if logical in self.values else DEFAULT

    def key(self, logical: str) -> str:
        return self.settings[logical].dotted

    def _keep(self, setting: Setting, value: t.Any, origin: str) -> None:
        """Take a value over, unless this version does not know the setting at all."""
        if reached(self.version, setting.since):
            self.values[setting.logical] = Value(value, origin)
        elif value:
            self._unread(setting.dotted, origin, setting.since)

    def _unread(self, name: str, origin: str, since: tuple[str, ...]) -> None:
        version = show(self.version) if self.version else ""
        where = f" ({origin})" if origin else ""
        self.remarks.append(
            f"{name}{where} has no effect: {self.title} {version} does not read it, which came with {spoken(since)}."
        )

    # --- the file ---

    def take(self, document: _Object) -> None:
        """Take over what the file says."""
        self._take_object(document, ())

    def _take_object(self, document: _Object, above: tuple[str, ...]) -> None:
        """Take the keys of one object; called again for each part of an object that is written in several parts."""
        for written, value in document.pairs:
            here = (*above, _fold(written))
            for setting in self.settings.values():
                folded = tuple(_fold(part) for part in setting.path)
                if folded == here:
                    self._take_value(setting, value)
                    break
                if folded and folded[: len(here)] == here:
                    if isinstance(value, _Object):
                        self._take_object(value, here)
                    elif value is not None:
                        self._wrong_type(".".join(setting.path[: len(here)]), _kind(value), "an object", "")
                    break

    def _take_value(self, setting: Setting, value: t.Any) -> None:
        kind = setting.json_type
        origin = f"file:{self.path}"
        if value is None:
            # null empties what Go can set to nil and leaves everything else as it is.
            if kind in (LIST, MAP):
                self._keep(setting, _EMPTY[kind], origin)
        elif kind == STRING and isinstance(value, str) and not isinstance(value, _Number):
            self._keep(setting, _well_formed(value), origin)
        elif kind == BOOLEAN and isinstance(value, bool):
            self._keep(setting, value, origin)
        elif kind == INTEGER and isinstance(value, _Number) and re.match(r"-?[0-9]+\Z", value):
            # Longer ones need not be converted to know that they are too large.
            if len(value) <= _INT64_DIGITS and -_INT64 <= int(value) < _INT64:
                self._keep(setting, int(value), origin)
            else:
                self._wrong_type(setting.dotted, _written(value), "an integer of 64 bits", "write a smaller one")
        elif kind == LIST and isinstance(value, list):
            self._keep(setting, tuple(self._strings(setting, value)), origin)
        elif kind == MAP and isinstance(value, _Object):
            merged = dict(self.value(setting.logical))
            for key, item in value.pairs:
                for text in self._strings(setting, [item], f"[{_quoted(_well_formed(key))}]"):
                    merged[_well_formed(key)] = text
            self._keep(setting, merged, origin)
        else:
            shown = _kind(value) if setting.secret else f"{_written(value)}"
            self._wrong_type(setting.dotted, shown, _EXPECTED[kind], _remedy(setting, value))

    def _strings(self, setting: Setting, items: t.Iterable[t.Any], at: str = "") -> t.Iterator[str]:
        for number, item in enumerate(items):
            if item is None:
                yield ""
            elif isinstance(item, str) and not isinstance(item, _Number):
                yield _well_formed(item)
            else:
                self._wrong_type(
                    f"{setting.dotted}{at or f'[{number}]'}", _written(item), "a string", f'write "{_written(item)}"'
                )

    def _wrong_type(self, key: str, shown: str, expected: str, remedy: str) -> None:
        consequence = _BAD_KEY.get(self.component.name, f"{self.title} does not start with it")
        self.problems.append(
            f"{key} in {self.path} is {shown} where {self.title} reads {expected}: {consequence}; "
            f"{remedy or f'write {expected}'}."
        )

    # --- the environment ---

    def read_environment(self, environment: t.Mapping[str, Variable]) -> None:
        for setting in self.settings.values():
            known = setting.variables(self.version)
            # Highest priority comes first in the table, so the last one applied here wins.
            for name in reversed(setting.env):
                if name not in environment:
                    continue
                if name in known:
                    self._take_variable(setting, environment[name])
                else:
                    since = setting.env_since[setting.env.index(name)]
                    self._unread(f"The {environment[name].origin}", "", since)

    def _take_variable(self, setting: Setting, variable: Variable) -> None:
        kind, text = setting.json_type, variable.value
        value: t.Any = None
        if kind == STRING:
            value = text
        elif kind == INTEGER:
            value = _go_integer(text)
        elif kind == BOOLEAN:
            value = True if text in _TRUE else False if text in _FALSE else None
        elif kind == LIST:
            value = tuple(text.split(",")) if text.strip() else ()
        else:
            value = self._map_of(variable)
        if value is None:
            if kind != MAP:
                self._unreadable(variable, kind)
            return
        before = self.values.get(setting.logical)
        if not value and before is not None and before.value and kind in (STRING, LIST, MAP):
            self.problems.append(
                f"The {variable.origin} is set but empty, and so clears {setting.dotted} of {before.origin} for "
                f"{self.title}; remove the variable, or give it a value."
            )
        self._keep(setting, value, variable.origin)

    def _map_of(self, variable: Variable) -> dict[str, str] | None:
        hosts: dict[str, str] = {}
        if not variable.value.strip():
            return hosts
        for item in variable.value.split(","):
            parts = item.split(":")
            if self.component.name == "pump":
                # Pump takes the first two parts, whatever follows them.
                if len(parts) > 1:
                    hosts[parts[0]] = parts[1]
                if len(parts) != 2:
                    what = "takes only its first two parts" if len(parts) > 2 else "drops it"
                    self.problems.append(
                        f"The item {_quoted(item)} of {variable.origin} is not host:port, and {self.title} {what}; "
                        f"use {self.component.settings['addresses'].env[-1]} with host:port instead."
                    )
            elif len(parts) != 2:
                self.problems.append(
                    f"The item {_quoted(item)} of {variable.origin} is not host:port with exactly one colon: "
                    f"{self._fatal_variable(variable)}; use {self.settings['addresses'].env[-1]} instead."
                )
                return None
            else:
                hosts[parts[0]] = parts[1]
        return hosts

    def _unreadable(self, variable: Variable, kind: str) -> None:
        wanted = "a whole number" if kind == INTEGER else "true or false"
        state = f"is {_quoted(variable.value)}" if variable.value else "is set but empty"
        remedy = f"write {wanted}" if variable.value else f"remove the line, or write {wanted}"
        self.problems.append(
            f"The {variable.origin} {state} where {wanted} is needed: {self._fatal_variable(variable)}; {remedy}."
        )

    def _fatal_variable(self, variable: Variable) -> str:
        if variable.name.startswith(_PUMP_LOGGED_FAMILY):
            return f"{self.title} logs the error and reads no variable after it"
        return f"{self.title} does not start with it"


def _remedy(setting: Setting, value: t.Any) -> str:
    text = value if isinstance(value, str) else ""
    if setting.json_type == INTEGER:
        digits = text.strip()
        return f"write {digits} without quotes" if re.match(r"[0-9]+\Z", digits) else "write a number without quotes"
    if setting.json_type == BOOLEAN:
        return "write true or false without quotes"
    if setting.json_type == STRING:
        return "write it in double quotes"
    if setting.json_type == LIST:
        return 'write a list such as ["192.0.2.1:6379"]'
    return 'write an object such as {"192.0.2.1": "6379"}, or better a list of addresses'


def _go_integer(text: str) -> int | None:
    """strconv.ParseInt with base 0: 0x, 0o, 0b and a leading 0 choose the base, underscores may separate digits."""
    match = _GO_INTEGER.match(text)
    if not match:
        return None
    for group, base in _BASES.items():
        if match.group(group):
            number = int(match.group(group).replace("_", ""), base)
            number = -number if match.group("sign") == "-" else number
            return number if -_INT64 <= number < _INT64 else None
    return None


def read(
    component: Component,
    path: str,
    content: bytes | None,
    environment: t.Mapping[str, Variable],
    env_files: t.Iterable[EnvironmentFile] = (),
    version: Version | None = None,
) -> Effective:
    """Find out what the component does about Redis.

    Args:
        component: the row of the table.
        path: where its file is, for the sentences.
        content: the file's bytes; None when there is no file.
        environment: what systemd hands to the process, by name.
        env_files: where that came from, for what systemd ignored in it.
        version: the component's version; None for the newest.

    Returns:
        What it does in its first store, with the other stores that are in use as ``others``. What is wrong with the
        file or the environment as a whole is told by the first one.
    """
    flags = _Reading(component, path, component.flags, version)
    # What is wrong there is no matter of Redis, and the component says it itself.
    health = _Reading(component, path, component.health, version)
    stores = [
        _Reading(component.at(name), path, section.settings, version) for name, section in component.sections.items()
    ]
    main = stores[0]
    for file in env_files:
        _judge_env_file(main, file)
    omitted = _omits_file(component, environment)
    decoded = True
    if content is None:
        if not omitted:
            _judge_missing_file(main)
    elif not (omitted and component.name == "pump"):
        # The Gateway decodes the file even when it is to forget it, so that a broken one still stops it.
        document, problem = _decoded(component, path, content)
        if document is None:
            decoded = False
            main.problems.append(problem)
        else:
            for reading in (flags, health, *stores):
                reading.take(document)
                if omitted:
                    reading.values.clear()
                    reading.remarks.clear()
    for reading in (flags, health, *stores):
        reading.read_environment(environment)
    _gather(main, (flags, *stores[1:]))
    found = tuple(main.problems)
    used = [reading for reading in stores if _in_use(reading, flags)]
    _judge_flags(main, flags, environment)
    _judge_type(main, flags)
    effective, *others = (_conclude(reading, flags, environment, used) for reading in used)
    told = {name: value.value for name, value in health.values.items() if value.origin != DEFAULT}
    effective = replace(effective, others=tuple(others), health=told)
    lost = content is None and not omitted and effective.addresses_origin == DEFAULT
    if decoded and not lost:
        return effective
    # Without its file nothing more can be said about the component than that.
    return replace(effective, usable=False, problems=found, remarks=(), others=())


def _gather(main: _Reading, readings: t.Iterable[_Reading]) -> None:
    """A value that cannot be read stops the component also where it stands in a store that is not in use."""
    for reading in readings:
        main.problems += reading.problems
        reading.problems.clear()
        if reading.settings is reading.component.flags:
            main.remarks += reading.remarks
            reading.remarks.clear()


def _section(reading: _Reading) -> Section:
    return reading.component.sections[reading.component.section]


def _in_use(reading: _Reading, flags: _Reading) -> bool:
    section = _section(reading)
    return reached(reading.version, section.since) and all(flags.value(flag) for flag in section.enabled_by)


def _purposes(reading: _Reading, flags: _Reading, used: t.Sequence[_Reading]) -> tuple[str, ...]:
    """What a store is for. What a store that is not in use would be for falls to the first one."""
    purposes = list(_section(reading).purposes)
    if reading.component.section == reading.component.main:
        taken = {other.component.section for other in used}
        for section in reading.component.sections.values():
            # The first of its flags says that the store is a separate one, the others that the purpose exists at all.
            if section.name not in taken and all(flags.value(flag) for flag in section.enabled_by[1:]):
                purposes += section.purposes
    return tuple(dict.fromkeys(purposes))


def _judge_flags(main: _Reading, flags: _Reading, environment: t.Mapping[str, Variable]) -> None:
    component = main.component
    for section in component.sections.values():
        if not section.enabled_by or not flags.value(section.enabled_by[0]):
            continue
        for flag in section.enabled_by[1:]:
            if not flags.value(flag):
                main.remarks.append(
                    f"{flags.key(section.enabled_by[0])} is true ({flags.origin(section.enabled_by[0])}) without "
                    f"{flags.key(flag)}, so {component.title} does not use {section.name}; set both or neither."
                )
    shards = flags.settings.get("shard_count")
    if shards is not None and shards.env[0] in environment and not shards.read_by(main.version):
        main.remarks.append(
            f"The {environment[shards.env[0]].origin} has no effect: {component.title} does not read it after version "
            f"{shards.until}; remove it."
        )


def _omits_file(component: Component, environment: t.Mapping[str, Variable]) -> bool:
    variable = environment.get(component.omit_config_env) if component.omit_config_env else None
    return variable is not None and variable.value.lower() == "true"


def _judge_env_file(reading: _Reading, file: EnvironmentFile) -> None:
    prefix = reading.component.env_prefix
    if file.refused:
        reading.problems.append(
            f"{file.reader} does not take {file.path} at all, because {file.refused}: {reading.title} gets no variable "
            "from it; correct the file."
        )
    for ignored in file.ignored:
        # Only the name itself is shown: the rest of such a line may be a secret.
        name = re.search(rf"{prefix}[A-Z0-9_]*", ignored.name)
        if name and ignored.unknown:
            reading.problems.append(
                f"{file.path} line {ignored.line}: what {file.reader} makes of {name.group()} cannot be told here, "
                f"because {ignored.reason}; write the value itself."
            )
        elif name:
            reading.problems.append(
                f"{file.path} line {ignored.line}: {file.reader} ignores this line about {name.group()}, because "
                f"{ignored.reason}; write NAME=value."
            )


def _judge_missing_file(reading: _Reading) -> None:
    component = reading.component
    if component.name == "gateway":
        consequence = f"{component.title} writes a default file there, which uses Redis on localhost:6379"
    elif component.name == "pump":
        consequence = f"{component.title} knows only what its environment says"
    else:
        consequence = f"{component.title} has no configuration of its own"
    remedy = "write it, for example with the module tyk_config and create: true"
    if component.omit_config_env:
        remedy += f", or set {component.omit_config_env}=true when all settings are variables"
    reading.problems.append(f"There is no file {reading.path}: {consequence}; {remedy}.")


def _conclude(
    reading: _Reading, flags: _Reading, environment: t.Mapping[str, Variable], used: t.Sequence[_Reading]
) -> Effective:
    component = reading.component
    addresses, origin = _addresses(reading)
    mode = _mode(reading, addresses)
    seeds = _seeds(reading, addresses, origin)
    password, known = _password(reading, environment)
    username = reading.value("username")
    if username and not password and known:
        reading.problems.append(
            f"{reading.key('username')} is {_quoted(username)} ({reading.origin('username')}) without a password, so "
            f"{component.title} does not log in and stays the user default; give {reading.key('password')} too."
        )
    if reading.value("iam"):
        known = False
        reading.unprovable.append(
            f"{reading.key('iam')} is true ({reading.origin('iam')}), so {component.title} logs in with tokens of its "
            "cloud's identity service, which this check cannot get; nothing could be proved."
        )
    database = reading.value("database")
    if mode == CLUSTER and database:
        reading.problems.append(
            f"{reading.key('database')} is {database} ({reading.origin('database')}), which {component.title} ignores "
            "because a Redis Cluster has only database 0; set it to 0."
        )
    tls = bool(reading.value("tls") or reading.value("tls_legacy"))
    if tls:
        _judge_tls(reading)
    _judge_leftovers(reading)
    return Effective(
        component=component,
        version=reading.version,
        values=dict(reading.values),
        flags=dict(flags.values),
        purposes=_purposes(reading, flags, used),
        mode=mode,
        addresses=addresses,
        addresses_origin=origin,
        seeds=seeds,
        username=username,
        password=password,
        database=database,
        tls=tls,
        tls_skip_verify=bool(reading.value("tls_skip_verify") or reading.value("tls_skip_verify_legacy")),
        problems=tuple(reading.problems),
        remarks=tuple(reading.remarks),
        unprovable=tuple(reading.unprovable),
        usable=known and bool(seeds),
    )


def _judge_leftovers(reading: _Reading) -> None:
    """Settings that older versions read."""
    for setting in reading.settings.values():
        if reading.value(setting.logical) and passed(reading.version, setting.until):
            reading.remarks.append(
                f"{setting.dotted} ({reading.origin(setting.logical)}) has no effect: {reading.title} does not read it "
                f"after version {setting.until}."
            )


def _judge_type(main: _Reading, flags: _Reading) -> None:
    for reading, logical in ((flags, "store_type"), (main, "type")):
        if logical not in reading.settings:
            continue
        value = reading.value(logical)
        if value == "redis" or (not value and reading.component.name != "gateway"):
            continue
        main.problems.append(
            f"{reading.key(logical)} is {_quoted(value)} ({reading.origin(logical)}), but {main.title} starts only "
            'with "redis"; write that.'
        )


def _addresses(reading: _Reading) -> tuple[tuple[str, ...], str]:
    """The addresses by precedence: the list, the map, the single host if it has a port, the default of go-redis."""
    found: tuple[tuple[str, ...], str] | None = None
    hosts: dict[str, str] = reading.value("hosts")
    port = reading.value("port")
    candidates = (
        ("addresses", tuple(reading.value("addresses"))),
        ("hosts", tuple(f"{host}:{number}" for host, number in hosts.items())),
        ("host", (f"{reading.value('host')}:{port}",) if port else ()),
    )
    winner = ""
    for logical, addresses in candidates:
        if not addresses:
            continue
        if found is None:
            found, winner = (addresses, reading.origin(logical)), logical
        elif reading.origin(logical).startswith("variable ") and found[1].startswith("file:"):
            reading.problems.append(
                f"The {reading.origin(logical)} has no effect, because {reading.key(winner)} of {found[1]} wins over "
                f"it in {reading.title}; set {reading.settings['addresses'].env[-1]} instead."
            )
    if found is not None:
        if winner == "host" and not reading.value("host"):
            reading.problems.append(
                f"{reading.key('port')} is {port} ({reading.origin('port')}) without {reading.key('host')}, so "
                f"{reading.title} dials its own host; give {reading.key('addresses')} instead."
            )
        return found
    if reading.value("host"):
        reading.problems.append(
            f"{reading.key('host')} is {_quoted(reading.value('host'))} ({reading.origin('host')}) without "
            f"{reading.key('port')}, so {reading.title} ignores it and dials {DEFAULT_ADDRESS}; "
            f"give {reading.key('addresses')} instead."
        )
    else:
        reading.problems.append(
            f"{reading.title} is given no address of Redis, neither in {reading.path} nor in its environment, and "
            f"dials {DEFAULT_ADDRESS}; give {reading.key('addresses')}."
        )
    return (DEFAULT_ADDRESS,), DEFAULT


def _mode(reading: _Reading, addresses: tuple[str, ...]) -> str:
    cluster = reading.value("cluster")
    if reading.value("sentinel_master"):
        master = f"{reading.key('sentinel_master')} is {_quoted(reading.value('sentinel_master'))}"
        origin = reading.origin("sentinel_master")
        if cluster:
            reading.problems.append(
                f"{master} ({origin}) and {reading.key('cluster')} is true ({reading.origin('cluster')}): "
                f"{reading.title} then uses Sentinel and no cluster; remove one of the two."
            )
        return SENTINEL
    if cluster:
        return CLUSTER
    if len(addresses) > 1:
        random = reading.origin("hosts") != DEFAULT and not reading.value("addresses")
        chosen = "one of them by chance at each start" if random else f"the first one, {addresses[0]}"
        reading.problems.append(
            f"{reading.title} is given {len(addresses)} addresses but {reading.key('cluster')} is not true "
            f"({reading.origin('cluster')}), so it uses only {chosen}; set it to true, or give one address."
        )
    return STANDALONE


def _seeds(reading: _Reading, addresses: tuple[str, ...], origin: str) -> tuple[Address, ...]:
    seeds: list[Address] = []
    for text in addresses:
        if text != text.strip():
            reading.problems.append(
                f"The address {_quoted(text)} ({origin}) has blanks around it, which {reading.title} does not remove, "
                "so the name cannot be resolved; remove the blanks."
            )
            continue
        # A port without a host means the own host in Go.
        named = f"127.0.0.1{text}" if text.startswith(":") else text
        try:
            seeds.append(Address.parse(named))
        except ValueError as exc:
            reading.problems.append(f"{reading.title} cannot dial the address {_quoted(text)} ({origin}): {exc}.")
    return tuple(dict.fromkeys(seeds))


def _password(reading: _Reading, environment: t.Mapping[str, Variable]) -> tuple[str, bool]:
    """The password, and whether it is known here."""
    password: str = reading.value("password")
    reference = _REFERENCE.match(password)
    if not reference:
        return password, True
    key, origin = reading.key("password"), reading.origin("password")
    scheme, name = reference.groups()
    if not reading.settings["password"].resolves(scheme, reading.component.assumed(reading.version)):
        reading.problems.append(
            f"{key} ({origin}) looks like a reference ({scheme}://), which {reading.title} is not known to resolve "
            "there: it sends the text itself as the password; give the password."
        )
        return password, True
    if scheme != "env":
        reading.unprovable.append(
            f"{key} ({origin}) is a reference ({scheme}://) that {reading.title} resolves at its start and this check "
            "cannot, so nothing could be proved; check this component with a password that stands in its file or "
            "environment."
        )
        return "", False
    # The name after env:// is looked up in capitals behind this prefix.
    variable = environment.get(f"TYK_SECRET_{name.upper()}")
    if variable is None or not variable.value:
        reading.problems.append(
            f"{key} ({origin}) refers to TYK_SECRET_{name.upper()}, which is not set in the environment of "
            f"{reading.title}, so the password is empty; set the variable."
        )
        return "", True
    reading.values["password"] = Value(variable.value, variable.origin)
    return variable.value, True


def _judge_tls(reading: _Reading) -> None:
    consequence = f"{reading.title} gets no connection to Redis until it is restarted with another value"
    numbers = []
    for logical, default in (("tls_min_version", "1.2"), ("tls_max_version", "1.3")):
        version = reading.value(logical) or default
        if version not in TLS_VERSIONS:
            reading.problems.append(
                f"{reading.key(logical)} is {_quoted(version)} ({reading.origin(logical)}), which is no TLS version: "
                f"{consequence}; use one of {', '.join(TLS_VERSIONS)}."
            )
            # The probe goes on with what Tyk uses when the key is absent.
            reading.values[logical] = Value("", reading.origin(logical))
            version = default
        numbers.append(version)
    if numbers[0] > numbers[1]:
        reading.problems.append(
            f"{reading.key('tls_min_version')} {numbers[0]} is above {reading.key('tls_max_version')} {numbers[1]}: "
            f"{consequence}; lower the one or raise the other."
        )
    for one, other in (("tls_cert", "tls_key"), ("tls_key", "tls_cert")):
        if reading.value(one) and not reading.value(other):
            reading.problems.append(
                f"{reading.key(one)} is {_quoted(reading.value(one))} ({reading.origin(one)}) without "
                f"{reading.key(other)}, so {reading.title} presents no client certificate; give both."
            )
