# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A role's defaults are written twice, in defaults/main.yml and in the argument specification: they must not differ."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.apiops.tyk_redis.plugins.module_utils._description import CLUSTER_VARIABLES

ROLES = Path(__file__).resolve().parents[2] / "roles"
NAMES = sorted(path.name for path in ROLES.iterdir() if path.is_dir())


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else {}


def entry_points(role: str) -> dict[str, Any]:
    specs: dict[str, Any] = load(ROLES / role / "meta" / "argument_specs.yml")["argument_specs"]
    return specs


def options(role: str) -> dict[str, Any]:
    """Every option of every entry point: all of them read the same defaults/main.yml."""
    return {name: option for entry in entry_points(role).values() for name, option in entry.get("options", {}).items()}


def test_roles_are_found() -> None:
    assert NAMES


@pytest.mark.parametrize("role", NAMES)
def test_defaults_equal_the_specification(role: str) -> None:
    specified = {name: option["default"] for name, option in options(role).items() if "default" in option}
    assert load(ROLES / role / "defaults" / "main.yml") == specified


@pytest.mark.parametrize("role", NAMES)
def test_required_options_have_no_default(role: str) -> None:
    contradictory = [name for name, option in options(role).items() if option.get("required") and "default" in option]
    assert contradictory == []


@pytest.mark.parametrize("role", NAMES)
def test_entry_points_agree_on_the_options_they_share(role: str) -> None:
    first: dict[str, Any] = {}
    differing = set()
    for entry in entry_points(role).values():
        for name, option in entry.get("options", {}).items():
            seen = first.setdefault(name, option)
            if seen.get("default") != option.get("default") or seen["type"] != option["type"]:
                differing.add(name)
    assert differing == set()


@pytest.mark.parametrize("role", NAMES)
def test_every_specified_entry_point_has_its_task_file(role: str) -> None:
    unknown = [name for name in entry_points(role) if not (ROLES / role / "tasks" / f"{name}.yml").is_file()]
    assert unknown == []


def test_variables_that_are_taken_for_misspelt_ones_are_none_of_ours() -> None:
    ours = {name for role in NAMES for name in options(role) if name.startswith("redis_cluster_")}
    assert sorted(ours) == list(CLUSTER_VARIABLES)
