# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is worth saying about a component's settings, and how they are shown without secrets. No I/O; private.

Nothing here decides what is written. It compares what a file and the environment come to with what was wanted.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.apiops.tyk_redis.plugins.module_utils._json_document import JsonDocument, fold
from ansible_collections.apiops.tyk_redis.plugins.module_utils._tyk_effective import DEFAULT, Effective, Value
from ansible_collections.apiops.tyk_redis.plugins.module_utils._tyk_render import (
    MASK,
    OTHER_ADDRESSES,
    Change,
    Description,
    Stores,
    without_login,
)
from ansible_collections.apiops.tyk_redis.plugins.module_utils._tyk_settings import (
    BOOLEAN,
    COMPONENTS,
    INTEGER,
    LIST,
    MAP,
    Component,
    Setting,
)


def about_description(stores: Stores) -> list[str]:
    """What in a description has no effect."""
    said = []
    for store in stores.values():
        if not isinstance(store, Description) or store.tls:
            continue
        given = [
            name
            for name in ("tls_skip_verify", "tls_ca", "tls_cert", "tls_key", "tls_min_version", "tls_max_version")
            if getattr(store, name)
        ]
        if given:
            said.append(f"The TLS settings have no effect because tls is false ({', '.join(given)}).")
    return said


def foreign_keys(component: Component, document: JsonDocument) -> list[str]:
    """Keys in the file by which other components, but not this one, call a setting."""
    said = []
    for name in component.sections:
        at = component.at(name)
        section = at.settings["addresses"].path[:-1]
        for wrong, right in sorted(_foreign_names(at).items()):
            path = (*section, wrong)
            if document.has(path):
                said.append(f"{'.'.join(path)} has no effect: {component.title} calls this setting {right.dotted}.")
    return said


def _foreign_names(component: Component) -> Mapping[str, Setting]:
    """Names by which other components call this section's settings, and which it does not read itself."""
    section = component.settings["addresses"].path[:-1]
    own = {fold(setting.path[len(section)]) for setting in component.settings.values()}
    names: dict[str, Setting] = {}
    for other in COMPONENTS.values():
        depth = len(other.settings["addresses"].path)
        for logical, setting in other.settings.items():
            right = component.settings.get(logical.replace("_legacy", ""))
            if right is None or len(setting.path) != depth:
                continue
            name = setting.path[-1]
            if not section and not name.startswith("redis_"):
                # Without a section of its own any plain name could be somebody else's; with the prefix it is a slip.
                name = f"redis_{name}"
            if fold(name) not in own:
                names[name] = right
    return names


def overridden(effective: Effective, changes: Iterable[Change], written: str) -> list[str]:
    """What was wanted and does not come about, because something that is stronger, or stays, says otherwise.

    Args:
        effective: what the component does after the change.
        changes: what was wanted.
        written: the file that holds it.
    """
    said = []
    for change in changes:
        found = _found(effective, change.setting)
        if found is None or change.setting.logical in OTHER_ADDRESSES:
            continue
        value, wanted = found, _comparable(change.value)
        if value.origin == DEFAULT or (change.only_present and not value.value):
            continue
        if value.value == wanted or (not value.value and not wanted):
            continue
        if change.value is None or change.value == "":
            said.append(f"{change.setting.dotted} should not be set, but the {_of(value)} sets it: take it away there.")
        else:
            said.append(
                f"{change.setting.dotted} does not become what {written} says, because the {_of(value)} says something "
                "else and wins: take it away there."
            )
    return said


def _of(value: Value) -> str:
    return value.origin if value.origin.startswith("variable ") else value.origin.replace("file:", "file ", 1)


def beaten(file: Effective, changes: Iterable[Change], path: str) -> list[str]:
    """What the component's file says otherwise than the environment that was written: it has no effect.

    Args:
        file: what the component would do without its environment.
        changes: what the environment says.
        path: the component's file.
    """
    keys = []
    for change in changes:
        found = _found(file, change.setting)
        if found is None or found.origin == DEFAULT or not found.value or change.value in (None, ""):
            continue
        if found.value != _comparable(change.value):
            keys.append(change.setting.dotted)
    if not keys:
        return []
    return [f"{path} says something else about {', '.join(keys)}, which has no effect: the environment wins."]


def _found(effective: Effective, setting: Setting) -> Value | None:
    """The value of a setting where it counts; None where its store is not in use."""
    for store in effective.stores:
        if store.component.settings.get(setting.logical) is setting:
            return store.values.get(setting.logical, Value(None))
    if effective.component.flags.get(setting.logical) is setting:
        return effective.flags.get(setting.logical, Value(None))
    return None


def _comparable(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def shown(component: Component, document: JsonDocument | None, other: JsonDocument | None = None) -> str:
    """The component's Redis keys and nothing else of the file, one a line, without secrets.

    Every other key of the file may hold secrets of which nothing is known here. A secret that differs from the one in
    C(other) is marked, so that a diff shows that it changes.
    """
    if document is None:
        return ""
    lines = []
    for setting in component.every():
        raw = document.raw(setting.path) if setting.path else None
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


def shown_variables(component: Component, values: Mapping[str, str], other: Mapping[str, str] | None = None) -> str:
    """The component's Redis variables out of an environment file, one a line, without secrets.

    Args:
        component: the row of the table.
        values: the text of each variable that is set.
        other: those of another state of the file, to mark the secrets that differ.
    """
    lines = []
    for setting in component.every():
        for name in setting.env:
            if name not in values:
                continue
            text = without_login(values[name])
            if setting.secret and values[name]:
                differs = other is not None and other.get(name) and other[name] != values[name]
                text = f"{MASK} (changed)" if differs else MASK
            lines.append(f"{name}={text}")
    return "".join(f"{line}\n" for line in dict.fromkeys(lines))


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
        return json.dumps([without_login(item) for item in value])
    if setting.json_type == MAP and isinstance(value, dict) and all(isinstance(v, str) for v in value.values()):
        return json.dumps({without_login(key): without_login(item) for key, item in value.items()})
    if isinstance(value, str):
        return json.dumps(without_login(value))
    return f"(not {'an' if setting.json_type == INTEGER else 'a'} {setting.json_type})"
