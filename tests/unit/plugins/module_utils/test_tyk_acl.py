# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rights of the components. What they mean to servers is tested with real ones."""

from __future__ import annotations

from fnmatch import fnmatchcase

import pytest

from ansible_collections.apiops.tyk_redis.plugins.module_utils._tyk_acl import RIGHTS, rules

COMPONENTS = sorted(RIGHTS)
# Nothing that a component runs needs any of these.
HARMFUL = {
    "flushall",
    "flushdb",
    "config",
    "keys",
    "debug",
    "shutdown",
    "acl",
    "save",
    "replicaof",
    "module",
    "cluster",
}


def test_every_component_has_rights() -> None:
    assert COMPONENTS == ["dashboard", "gateway", "mdcb", "pump"]


@pytest.mark.parametrize("component", COMPONENTS)
def test_commands_or_broad_words_are_known_never_both(component: str) -> None:
    rights = RIGHTS[component]
    assert rights.component == component and rights.source
    assert bool(rights.commands) != bool(rights.broad)
    assert len(set(rights.commands)) == len(rights.commands)
    assert not HARMFUL & set(rights.commands)


@pytest.mark.parametrize("component", COMPONENTS)
def test_the_proof_may_write_its_keys(component: str) -> None:
    rights = RIGHTS[component]
    assert any(fnmatchcase(f"{rights.probe_prefix}1", pattern) for pattern in rights.keys)


@pytest.mark.parametrize("component", ["gateway", "pump"])
def test_the_proof_may_read_from_replicas(component: str) -> None:
    assert "readonly" in RIGHTS[component].commands


@pytest.mark.parametrize("component", COMPONENTS)
def test_channels_are_named_only_to_servers_that_know_them(component: str) -> None:
    old, new = (rules(component, version, client_setinfo=False) for version in ((6, 0, 16), (6, 2, 0)))
    assert not any(word.startswith("&") or "channels" in word for word in old)
    assert [word for word in new if word not in old] == [
        "resetchannels",
        *(f"&{pattern}" for pattern in RIGHTS[component].channels),
    ]


@pytest.mark.parametrize("component", COMPONENTS)
def test_client_setinfo_is_allowed_where_it_is_known(component: str) -> None:
    without, having = (rules(component, (7, 2), client_setinfo=known) for known in (False, True))
    # A broad user may use it already.
    assert having == (without if RIGHTS[component].broad else (*without, "+client|setinfo"))


@pytest.mark.parametrize("component", COMPONENTS)
def test_no_word_sets_a_password_or_switches_a_user(component: str) -> None:
    words = rules(component, (8, 0), client_setinfo=True)
    assert all(word[0] in "~&+-" or word == "resetchannels" for word in words)


def test_an_unknown_component_is_an_error() -> None:
    with pytest.raises(KeyError):
        rules("portal", (7, 0), client_setinfo=False)
