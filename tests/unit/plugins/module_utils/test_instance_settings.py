# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.apiops.tyk_redis.plugins.module_utils._instance_settings import problems

SETTINGS: dict[str, t.Any] = {
    "server": "redis",
    "username": "tyk",
    "admin_username": "tyk-redis-admin",
    "tyk_acl": ["~*", "+@all", "-@dangerous"],
    "users": [],
    "settings": {"hz": 20},
    "maxmemory": "0",
    "save": ["3600 1"],
    "node_timeout": 15000,
}
SECRETS = {"password": "open 'sesame'", "admin_password": 'close "sesame"', "admin_previous_password": ""}
PUMP = {"name": "pump", "passwords": ["open", "sesame"], "component": "pump"}
OPS = {"name": "ops", "passwords": ["open"], "rules": ["~*", "&*", "+@all"]}
DEBIAN_12 = {"os_family": "Debian", "distribution": "Debian", "distribution_major_version": "12"}


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({}, id="the defaults"),
        pytest.param({"maxmemory": "2GB"}, id="memory with a unit"),
        pytest.param({"save": []}, id="no snapshots"),
        pytest.param({"users": [PUMP, OPS, {"name": "x", "passwords": ["y"]}]}, id="further users"),
        pytest.param({"node_timeout": "500"}, id="a number as text, as -e gives it"),
    ],
)
def test_sound_settings_have_no_problem(change: dict[str, t.Any]) -> None:
    assert problems({**SETTINGS, **change}, SECRETS, DEBIAN_12) == []


def test_the_common_name_is_free_for_a_further_user_while_it_has_no_password() -> None:
    settings = {**SETTINGS, "users": [{**PUMP, "name": "tyk"}]}
    assert problems(settings, {**SECRETS, "password": ""}, DEBIAN_12) == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        pytest.param({"username": "a b"}, "redis_username is 'a b'; it must be a name without blanks", id="blank"),
        pytest.param({"admin_username": 'a"b'}, "redis_admin_username is 'a\"b'; it must be a name", id="quote"),
        pytest.param({"username": ""}, "redis_username is ''; it must be a name", id="empty name"),
        pytest.param({"username": "default"}, "redis_username is 'default'", id="the default user"),
        pytest.param({"username": "tyk-redis-admin"}, "are both 'tyk-redis-admin'", id="one user for both"),
        pytest.param({"tyk_acl": ["on"]}, "redis_tyk_acl: The rules of 'tyk' contain 'on'; use enabled", id="no rule"),
        pytest.param({"users": [PUMP, PUMP]}, "redis_users[1] and redis_users[0] are both 'pump'", id="twice"),
        pytest.param({"users": [{**PUMP, "name": "tyk"}]}, "redis_users[0] and redis_username are both", id="as Tyk"),
        pytest.param({"users": [{**PUMP, "name": "default"}]}, "redis_users[0] is 'default'", id="default as well"),
        pytest.param({"users": [{**PUMP, "name": "a b"}]}, "redis_users[0]: 'a b' cannot be the name", id="bad name"),
        pytest.param({"users": [{**PUMP, "passwords": []}]}, "must have a list of passwords", id="no password"),
        pytest.param({"users": [{**PUMP, "passwords": ["a\nb"]}]}, "must have a list of passwords", id="two lines"),
        pytest.param({"users": [{**PUMP, "passwords": "hidden"}]}, "must have a list of passwords", id="no list"),
        pytest.param({"users": [{**PUMP, "component": "portal"}]}, "has the component 'portal'; Tyk's are", id="other"),
        pytest.param({"users": [{**PUMP, "rules": ["+get"]}]}, "has a component and rules", id="both"),
        pytest.param({"users": [{**OPS, "rules": [">hidden"]}]}, "'ops' contain a password", id="password in rules"),
        pytest.param({"settings": {"Port": 1, "hz": 2}}, "redis_settings contains Port: the role", id="own directive"),
        pytest.param({"maxmemory": "2 gb"}, "redis_maxmemory is '2 gb'", id="a blank in the memory"),
        pytest.param({"save": ["1h"]}, "redis_save contains '1h'", id="not seconds and changes"),
        pytest.param({"node_timeout": 15}, "redis_node_timeout is 15; it is in milliseconds", id="seconds given"),
        pytest.param({"server": "valkey"}, "Debian 12 has no package valkey-server", id="valkey before Debian 13"),
    ],
)
def test_each_problem_is_one_sentence_that_names_it(change: dict[str, t.Any], says: str) -> None:
    (sentence,) = problems({**SETTINGS, **change}, SECRETS, DEBIAN_12)
    assert says in sentence
    assert "hidden" not in sentence


def test_valkey_is_there_from_debian_13_on() -> None:
    facts = {**DEBIAN_12, "distribution_major_version": "13"}
    assert problems({**SETTINGS, "server": "valkey"}, SECRETS, facts) == []


def test_other_systems_are_refused() -> None:
    facts = {"os_family": "RedHat", "distribution": "Rocky", "distribution_major_version": "9"}
    (sentence,) = problems(SETTINGS, SECRETS, facts)
    assert sentence.startswith("Rocky 9 is not supported")


@pytest.mark.parametrize("password", ["", "two\nlines", "nul\0"])
def test_a_bad_password_is_told_without_being_shown(password: str) -> None:
    (sentence,) = problems(SETTINGS, {**SECRETS, "admin_password": password}, DEBIAN_12)
    assert sentence == "redis_admin_password must be given, on one line. There is no default password."


def test_the_common_user_needs_no_password_where_others_are_described() -> None:
    without = {**SECRETS, "password": ""}
    assert problems({**SETTINGS, "users": [PUMP]}, without, DEBIAN_12) == []
    (sentence,) = problems(SETTINGS, without, DEBIAN_12)
    assert sentence.startswith("redis_password must be given")


def test_a_previous_password_has_one_line_as_others_have() -> None:
    (sentence,) = problems(SETTINGS, {**SECRETS, "admin_previous_password": "two\nlines"}, DEBIAN_12)
    assert sentence.startswith("redis_admin_previous_password must be given, on one line.")


def test_all_problems_are_told_at_once() -> None:
    found = problems({**SETTINGS, "maxmemory": "much", "save": ["x", "y"]}, SECRETS, DEBIAN_12)
    assert len(found) == 3
