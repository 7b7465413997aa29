# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The inventories in examples/ are what a reader copies: each describes something that is accepted."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.apiops.tyk_redis.plugins.module_utils._description import COMPONENTS, describe
from ansible_collections.apiops.tyk_redis.plugins.module_utils._tyk_stores import stores_of

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
NAMES = sorted(path.name for path in EXAMPLES.iterdir() if path.is_dir())
SECRET = re.compile(r"{{ (vault_tyk_redis_\w*(?:password|tunnel_key_[0-9])) }}")


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def filled(value: Any) -> Any:
    """The value, with the name of its variable, twice to be long enough for a key, in place of each secret."""
    if isinstance(value, dict):
        return {name: filled(item) for name, item in value.items()}
    if isinstance(value, list):
        return [filled(item) for item in value]
    return SECRET.sub(r"\1 \1", value) if isinstance(value, str) else value


def test_examples_are_found() -> None:
    assert NAMES


@pytest.mark.parametrize("name", NAMES)
def test_an_example_describes_a_redis_that_every_component_can_use(name: str) -> None:
    described = describe(filled(load(EXAMPLES / name / "group_vars" / "all" / "tyk_redis.yml")["tyk_redis"]))
    hosts = load(EXAMPLES / name / "hosts.yml")
    assert ("redis" in hosts) == (described["topology"] == "cluster")
    for component in COMPONENTS:
        assert stores_of(described, component, ["192.0.2.11:6379"])["main"]["addresses"]


@pytest.mark.parametrize("name", NAMES)
def test_the_sample_of_a_vault_has_every_secret_of_an_example(name: str) -> None:
    text = (EXAMPLES / name / "group_vars" / "all" / "tyk_redis.yml").read_text(encoding="utf-8")
    code = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    sample = load(EXAMPLES / "vault.yml.sample")
    assert set(SECRET.findall(code)) <= set(sample)
    assert set(sample.values()) == {None}
