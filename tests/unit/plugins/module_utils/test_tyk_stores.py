# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which Redis each store of a component uses, and which users the roles make."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.apiops.tyk_redis.plugins.module_utils._description import COMPONENTS, describe
from ansible_collections.apiops.tyk_redis.plugins.module_utils._tyk_stores import redis_users, stores_of

LEAST = {"password": "only-for-this-test", "admin_password": "neither-is-this-one"}
MEMBERS = ["192.0.2.1:6379", "192.0.2.2:6379"]
CACHE = {"mode": "standalone", "addresses": ["cache.example:6380"], "password": "only-for-this-cache"}
QUEUE = {"mode": "cluster", "addresses": ["queue.example:6379"], "password": "only-for-this-queue", "username": "q"}
MAIN = {
    "addresses": MEMBERS,
    "cluster": True,
    "username": "tyk",
    "password": "only-for-this-test",
    "database": 0,
    "timeout": 5,
    "pool_size": 500,
    "tls": False,
}


def stores(component: str, **described: t.Any) -> dict[str, t.Any]:
    return stores_of(describe({**LEAST, **described}), component, MEMBERS)


@pytest.mark.parametrize(
    ("component", "separate"),
    [
        ("gateway", {"cache_storage": {"enabled": False}, "analytics_storage": {"enabled": False}}),
        ("dashboard", {}),
        ("pump", {}),
        ("mdcb", {"analytics_storage": {"enabled": False}}),
    ],
)
def test_one_cluster_serves_everything(component: str, separate: dict[str, t.Any]) -> None:
    # Pump shares a user with components that need more than it does.
    proof = {"expect_nodes": MEMBERS, "least_privilege": [] if component == "pump" else ["main"]}
    assert stores(component) == {"main": MAIN, **separate, **proof}


def test_a_user_of_its_own_may_do_no_more_than_pump_needs() -> None:
    assert stores("pump", users={"pump": {"password": "only-for-the-pump"}})["least_privilege"] == ["main"]


def test_separate_stores_are_used_by_those_who_have_them() -> None:
    described: dict[str, t.Any] = {
        "deployments": {"cache": CACHE, "queue": {**QUEUE, "least_privilege": True}},
        "sections": {"cache_storage": "cache", "analytics_storage": "queue"},
    }
    cache = {
        "enabled": True,
        "addresses": ["cache.example:6380"],
        "cluster": False,
        "username": "",
        "password": "only-for-this-cache",
        "database": 0,
        "timeout": 5,
        "pool_size": 500,
        "tls": False,
    }
    queue = {
        "addresses": ["queue.example:6379"],
        "cluster": True,
        "username": "q",
        "password": "only-for-this-queue",
        "database": 0,
        "timeout": 5,
        "pool_size": 500,
        "tls": False,
    }
    separate = {"enabled": True, **queue}
    proof = {"expect_nodes": MEMBERS, "least_privilege": ["main", "analytics_storage"]}
    assert stores("gateway", **described) == {
        "main": MAIN,
        "cache_storage": cache,
        "analytics_storage": separate,
        # The cache's user may do more.
        **proof,
    }
    assert stores("mdcb", **described) == {"main": MAIN, "analytics_storage": separate, **proof}
    assert stores("dashboard", **described) == {"main": MAIN, **proof, "least_privilege": ["main"]}
    # Pump reads where the gateways write, and is no user of the cluster any more.
    assert stores("pump", **described) == {"main": queue, "expect_nodes": [], "least_privilege": []}
    described["deployments"]["queue"]["users"] = {"pump": {"password": "only-for-the-pump"}}
    assert stores("pump", **described)["least_privilege"] == ["main"]


def test_everything_about_tls_is_said_so_that_nothing_old_is_left() -> None:
    tls = {
        "topology": "managed",
        "mode": "cluster",
        "addresses": ["redis.example:6379"],
        "password": "only-for-this-test",
        "encryption": "tls",
    }
    plain = stores_of(describe(tls), "gateway", [])["main"]
    assert {name: value for name, value in plain.items() if name.startswith("tls")} == {
        "tls": True,
        "tls_skip_verify": False,
        "tls_ca_file": "",
        "tls_cert_file": "",
        "tls_key_file": "",
    }
    full = {
        "tls_ca_file": "/ca",
        "tls_cert_file": "/cert",
        "tls_key_file": "/key",
        "tls_skip_verify": True,
        "tls_min_version": "1.2",
        "tls_max_version": "1.3",
    }
    given = stores_of(describe({**tls, **full}), "gateway", [])["main"]
    assert {name: value for name, value in given.items() if name.startswith("tls_")} == full


@pytest.mark.parametrize("certificates", ["own", "brought"])
@pytest.mark.parametrize("clients", ["required", "optional", "no"])
def test_certificates_of_a_cluster_that_the_roles_make_are_where_the_roles_bring_them(
    certificates: str, clients: str
) -> None:
    tls = {"encryption": "tls", "tls_certificates": certificates, "tls_client_certificates": clients}
    shown = clients != "no"
    files = {
        "tls_ca_file": "/etc/tyk-redis-tls/tyk/ca.crt",
        "tls_cert_file": "/etc/tyk-redis-tls/tyk/host.crt" if shown else "",
        "tls_key_file": "/etc/tyk-redis-tls/tyk/host.key" if shown else "",
    }
    for component in COMPONENTS:
        found = stores(component, **tls)
        assert found["main"] == {**MAIN, "tls": True, "tls_skip_verify": False, **files}
        assert found["expect_nodes"] == MEMBERS
    versions = {"tls_min_version": "1.2", "tls_max_version": "1.3"}
    main = stores("gateway", **tls, **versions)["main"]
    assert {name: main[name] for name in versions} == versions


def test_while_the_encryption_changes_tyk_uses_the_new_one() -> None:
    assert stores("gateway", encryption="tls", previous_encryption="none")["main"]["tls"] is True
    assert stores("gateway", encryption="none", previous_encryption="tls")["main"] == MAIN


@pytest.mark.parametrize("change", [{}, {"previous_encryption": "none"}])
@pytest.mark.parametrize("mode", ["spiped", "tls_tunnel"])
def test_through_a_tunnel_tyk_speaks_without_encryption(mode: str, change: dict[str, str]) -> None:
    keys = {"tunnel_keys": {1: "only-for-these-tests-and-long-enough"}} if mode == "spiped" else {}
    assert stores("gateway", encryption=mode, **keys, **change)["main"] == MAIN


def test_another_deployment_has_its_own_files_beside_a_cluster_that_the_roles_make() -> None:
    deployments = {"cache": {**CACHE, "encryption": "tls", "tls_ca_file": "/ca"}}
    found = stores("gateway", encryption="tls", deployments=deployments, sections={"cache_storage": "cache"})
    assert found["main"]["tls_ca_file"] == "/etc/tyk-redis-tls/tyk/ca.crt"
    assert (found["cache_storage"]["tls_ca_file"], found["cache_storage"]["tls_cert_file"]) == ("/ca", "")


def test_a_managed_redis_is_used_as_it_is_described() -> None:
    managed = {
        "topology": "managed",
        "mode": "sentinel",
        "addresses": ["sentinel1.example:26379", "sentinel2.example:26379"],
        "sentinel_master": "mymaster",
        "database": 2,
        "username": "tyk",
        "password_reference": "vault://secret/tyk.redis",
        "timeout": 2,
        "pool_size": 9,
    }
    expected = {
        "addresses": managed["addresses"],
        "cluster": False,
        "sentinel_master": "mymaster",
        "sentinel_password": "",
        "username": "tyk",
        "password": "vault://secret/tyk.redis",
        "database": 2,
        "timeout": 2,
        "pool_size": 9,
        "tls": False,
    }
    assert stores_of(describe(managed), "dashboard", MEMBERS) == {
        "main": expected,
        "expect_nodes": [],
        "least_privilege": [],
    }
    guarded = {**managed, "sentinel_password": "only-for-sentinels", "least_privilege": True}
    found = stores_of(describe(guarded), "dashboard", MEMBERS)
    assert found["main"] == {**expected, "sentinel_password": "only-for-sentinels"}
    assert found["least_privilege"] == ["main"]


def test_a_component_works_as_its_own_user() -> None:
    users = {
        "gateway": {"password": "only-for-the-gateway"},
        "pump": {"username": "p", "password": "only-for-the-pump"},
    }
    names = {c: (s["username"], s["password"]) for c in COMPONENTS for s in [stores(c, users=users)["main"]]}
    assert names == {
        "gateway": ("tyk-gateway", "only-for-the-gateway"),
        "dashboard": ("tyk", "only-for-this-test"),
        "pump": ("p", "only-for-the-pump"),
        "mdcb": ("tyk", "only-for-this-test"),
    }


def test_of_another_deployment_a_component_is_its_own_user_there() -> None:
    own = {"username": "gw", "password": "only-for-the-cache", "password_reference": "env://CACHE"}
    deployments = {"cache": {**CACHE, "password": None, "users": {"gateway": own}}}
    found = stores("gateway", deployments=deployments, sections={"cache_storage": "cache"})["cache_storage"]
    assert (found["username"], found["password"]) == ("gw", "env://CACHE")


def test_the_roles_make_the_users_that_are_described() -> None:
    gateway = {"password": "only-for-the-gateway", "previous_password": "before-the-gateway"}
    given = {**LEAST, "previous_password": "only-before-this-test", "users": {"gateway": gateway}}
    assert redis_users(describe(given)) == [
        {
            "name": "tyk-gateway",
            "passwords": ["only-for-the-gateway", "before-the-gateway"],
            "component": "gateway",
        },
        {"name": "tyk", "passwords": ["only-for-this-test", "only-before-this-test"], "component": ""},
    ]


def test_without_a_common_password_there_is_no_common_user() -> None:
    users = {component: {"password": f"only-for-the-{component}"} for component in COMPONENTS}
    made = redis_users(describe({"admin_password": "neither-is-this-one", "users": users}))
    assert [user["component"] for user in made] == list(COMPONENTS)


def test_a_reference_is_for_tyk_and_the_password_for_redis() -> None:
    given = {**LEAST, "password_reference": "env://REDIS"}
    assert redis_users(describe(given))[0]["passwords"] == ["only-for-this-test"]
    assert stores_of(describe(given), "gateway", MEMBERS)["main"]["password"] == "env://REDIS"


def test_others_make_the_users_of_a_managed_redis() -> None:
    managed = {"topology": "managed", "password": "only-for-this-test", "mode": "cluster", "addresses": ["a.example:1"]}
    assert redis_users(describe(managed)) == []
