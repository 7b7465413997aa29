# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a user may describe, and what is refused with which sentence."""

from __future__ import annotations

import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.apiops.tyk_redis.plugins.module_utils._description import (
    COMPONENTS,
    KEYS,
    DescriptionError,
    address_of,
    client_address_of,
    config_text,
    describe,
    endpoints_of,
    instances_of,
    misspelt,
    without_secrets,
)
from ansible_collections.apiops.tyk_redis.plugins.module_utils._tyk_stores import redis_users, stores_of

LEAST = {"password": "only-for-this-test", "admin_password": "neither-is-this-one"}


def refusal(**changed: t.Any) -> str:
    with pytest.raises(DescriptionError) as caught:
        describe({**LEAST, **changed})
    return str(caught.value)


# --- tyk_redis -------------------------------------------------------------------------------------------------------


def test_two_passwords_are_enough() -> None:
    described = describe(LEAST)
    assert {name: value for name, value in described.items() if value is not None} == {
        "topology": "cluster",
        "mode": "cluster",
        "encryption": "none",
        "replicas_per_primary": 1,
        "username": "tyk",
        "password": "only-for-this-test",
        "admin_username": "tyk-redis-admin",
        "admin_password": "neither-is-this-one",
        "users": {},
        "timeout": 5,
        "pool_size": 500,
        "least_privilege": True,
        "remove": [],
        "firewall": False,
        "deployments": {},
        "sections": {},
    }
    assert set(described) == set(KEYS)
    assert describe({**LEAST, "timeout": None, "username": None, "remove": None}) == describe(LEAST)


CACHE = {"mode": "standalone", "addresses": ["cache.example:6380"], "password": "only-for-this-cache"}
OURS = {
    **LEAST,
    "topology": "cluster",
    "mode": "cluster",
    "encryption": "none",
    "replicas_per_primary": 0,
    "username": "größe",
    "previous_password": "only-before-this-test",
    "password_reference": "vault://secret/tyk.redis",
    "users": {
        "gateway": {
            "username": "door",
            "password": "only-for-the-gateway",
            "previous_password": "before-the-gateway",
            "password_reference": "env://REDIS",
        }
    },
    "admin_username": "boss",
    "admin_previous_password": "neither-was-that-one",
    "timeout": 1,
    "pool_size": 1,
    "least_privilege": True,
    "remove": ["192.0.2.1:6379"],
    "firewall": True,
    "deployments": {"cache": CACHE},
    "sections": {"cache_storage": "cache"},
    "shard_count": 128,
}
SECRETS = {1: "only-for-these-tests-and-long-enough", 2: "only-for-those-tests-and-long-enough"}
ENCRYPTED = {
    "none": {"encryption": "none"},
    "tls": {
        "encryption": "tls",
        "previous_encryption": "none",
        "encrypted_port_offset": 500,
        "tls_certificates": "own",
        "tls_client_certificates": "optional",
        "tls_authority": 2,
        "tls_trusted_authorities": [1, 2],
        "tls_names": ["redis.example.com"],
        "tls_min_version": "1.2",
        "tls_max_version": "1.3",
    },
    "spiped": {
        "encryption": "spiped",
        "previous_encryption": "none",
        "encrypted_port_offset": 500,
        "tunnel_keys": SECRETS,
        "tunnel_key": 1,
    },
    "tls_tunnel": {
        "encryption": "tls_tunnel",
        "previous_encryption": "none",
        "encrypted_port_offset": 500,
        "tls_certificates": "brought",
        "tls_min_version": "1.3",
    },
}
THEIRS = {
    "topology": "managed",
    "mode": "sentinel",
    "addresses": ["sentinel1.example:26379", "[2001:db8::1]:26379"],
    "username": "default",
    "password": "only-for-this-test",
    "password_reference": "consul://redis",
    "users": {"pump": {"username": "pump", "password": "only-for-the-pump", "password_reference": "env://PUMP"}},
    "database": 3,
    "sentinel_master": "mymaster",
    "sentinel_password": "only-for-sentinels",
    "encryption": "tls",
    "tls_ca_file": "/etc/ssl/redis/ca.pem",
    "tls_cert_file": "/etc/ssl/redis/tyk.pem",
    "tls_key_file": "/etc/ssl/redis/tyk.key",
    "tls_skip_verify": True,
    "tls_min_version": "1.2",
    "tls_max_version": "1.3",
    "timeout": 2,
    "pool_size": 3,
    "maxclients": 4,
    "least_privilege": True,
}


def test_every_key_can_be_given() -> None:
    assert set(OURS).union(THEIRS, *ENCRYPTED.values()) == set(KEYS)
    for full in (OURS, THEIRS):
        described = describe(full)
        for name in set(full) - {"users", "deployments"}:
            assert described[name] == full[name]
        for component, user in full["users"].items():
            assert {name: described["users"][component][name] for name in user} == user
    assert describe(OURS)["users"]["gateway"] == OURS["users"]["gateway"]


@pytest.mark.parametrize("given", [None, "password", ["password"], 1])
def test_something_else_than_a_dictionary_is_refused(given: t.Any) -> None:
    with pytest.raises(DescriptionError) as caught:
        describe(given)
    assert str(caught.value) == (
        "tyk_redis must be a dictionary with at least password and admin_password, see the README's quick start."
    )


def test_numbers_may_come_as_text() -> None:
    surveyed = describe({**LEAST, "replicas_per_primary": "2", "timeout": " 10\n", "pool_size": "0100"})
    assert (surveyed["replicas_per_primary"], surveyed["timeout"], surveyed["pool_size"]) == (2, 10, 100)


def test_unknown_keys_are_named_with_the_known_ones() -> None:
    assert refusal(user="tyk", replica_per_primary=1) == (
        "tyk_redis has no key 'replica_per_primary', 'user'; the keys are: addresses, admin_password,"
        " admin_previous_password, admin_username, database, deployments, encrypted_port_offset, encryption, firewall,"
        " least_privilege, maxclients, mode, password, password_reference, pool_size, previous_encryption,"
        " previous_password, remove, replicas_per_primary, sections, sentinel_master, sentinel_password, shard_count,"
        " timeout, tls_authority, tls_ca_file, tls_cert_file, tls_certificates, tls_client_certificates, tls_key_file,"
        " tls_max_version, tls_min_version, tls_names, tls_skip_verify, tls_trusted_authorities, topology, tunnel_key,"
        " tunnel_keys, username, users."
    )
    with pytest.raises(DescriptionError, match="has no key '1', 'None';"):
        describe({**LEAST, 1: 1, None: 1})


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({}, "tyk_redis.password, tyk_redis.admin_password"),
        ({**LEAST, "password": ""}, "tyk_redis.password"),
        ({**LEAST, "admin_password": None}, "tyk_redis.admin_password"),
    ],
)
def test_passwords_have_no_default(given: dict[str, t.Any], names: str) -> None:
    with pytest.raises(DescriptionError) as caught:
        describe(given)
    assert str(caught.value) == f"{names} must be given; there is no default password. Keep it in a vault."


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        pytest.param("timeout", True, "tyk_redis.timeout must be a whole number, not True.", id="yes is no number"),
        pytest.param("timeout", 1.0, "tyk_redis.timeout must be a whole number, not 1.0.", id="fraction"),
        pytest.param("timeout", "5s", "tyk_redis.timeout must be a whole number, not '5s'.", id="unit"),
        pytest.param("timeout", "²", "tyk_redis.timeout must be a whole number, not '²'.", id="superscript"),
        pytest.param("timeout", "٣", "tyk_redis.timeout must be a whole number, not '٣'.", id="other digits"),
        pytest.param("timeout", "", "tyk_redis.timeout must be a whole number, not ''.", id="empty"),
        pytest.param("timeout", [5], "tyk_redis.timeout must be a whole number, not [5].", id="list"),
        pytest.param("timeout", 0, "tyk_redis.timeout is 0; it must be at least 1.", id="no time"),
        pytest.param("pool_size", "0", "tyk_redis.pool_size is 0; it must be at least 1.", id="no pool, as text"),
        pytest.param(
            "replicas_per_primary", -1, "tyk_redis.replicas_per_primary is -1; it must be at least 0.", id="negative"
        ),
        pytest.param(
            "topology",
            "sentinel",
            "tyk_redis.topology is 'sentinel', but the roles make only clusters so far. Name a Redis that was made"
            " elsewhere with topology managed and mode sentinel.",
            id="topology that the roles do not make",
        ),
        pytest.param(
            "topology",
            ["cluster"],
            "tyk_redis.topology is ['cluster']; this version of the collection knows: cluster, managed.",
            id="topology",
        ),
        pytest.param(
            "encryption",
            "ssl",
            "tyk_redis.encryption is 'ssl'; this version of the collection knows: none, tls, spiped, tls_tunnel.",
            id="encryption",
        ),
        pytest.param(
            "previous_encryption",
            "stunnel",
            "tyk_redis.previous_encryption is 'stunnel'; this version of the collection knows: none, tls, spiped,"
            " tls_tunnel.",
            id="previous encryption",
        ),
        pytest.param("firewall", "maybe", "tyk_redis.firewall must be true or false, not 'maybe'.", id="firewall"),
        pytest.param(
            "least_privilege",
            "no",
            "tyk_redis.least_privilege is false, which goes only with topology managed: of the users that the roles"
            " make,"
            " it is always proved that they may do no more than they need.",
            id="more rights than needed",
        ),
        pytest.param(
            "mode", "sentinel", "tyk_redis.mode is 'sentinel', which goes only with topology managed.", id="mode"
        ),
        pytest.param(
            "database",
            1,
            "tyk_redis.database is 1, but a Redis Cluster has only the database 0: remove the key.",
            id="database of a cluster",
        ),
        pytest.param(
            "maxclients",
            9000,
            "tyk_redis.maxclients goes only with topology managed; about a cluster that the roles make, the inventory"
            " and"
            " the roles' options say it.",
            id="limit of what the roles make",
        ),
        pytest.param("shard_count", 0, "tyk_redis.shard_count is 0; it must be at least 1.", id="no shards"),
        pytest.param("users", ["secret"], "tyk_redis.users must be a dictionary.", id="users as a list"),
        pytest.param(
            "previous_password",
            "only-for-this-test",
            "tyk_redis.previous_password is the same as password; give the one that it replaces, or remove it.",
            id="rotation to the same password",
        ),
        pytest.param("username", 1, "tyk_redis.username must be a text, not 1.", id="number as name"),
        pytest.param("username", False, "tyk_redis.username must be a text, not False.", id="no as name"),
    ],
)
def test_a_wrong_value_is_named(key: str, value: t.Any, sentence: str) -> None:
    assert refusal(**{key: value}) == sentence


@pytest.mark.parametrize("key", ["username", "admin_username"])
@pytest.mark.parametrize("name", ["", "two words", "tab\t", "line\n", "\N{NO-BREAK SPACE}", "a\0", 'a"', "a'b"])
def test_a_name_that_the_files_of_redis_cannot_hold_is_refused(key: str, name: str) -> None:
    assert refusal(**{key: name}) == (
        f"tyk_redis.{key} is {name!r}; it must be a non-empty text without blanks and quotes."
    )


@pytest.mark.parametrize("key", ["username", "admin_username"])
def test_the_default_user_stays_off(key: str) -> None:
    assert refusal(**{key: "default"}) == (
        f"tyk_redis.{key} is 'default', the user that everybody is before AUTH; it stays switched off."
        " Give another name."
    )


@pytest.mark.parametrize("names", [{"username": "tyk-redis-admin"}, {"username": "x", "admin_username": "x"}])
def test_tyk_is_not_the_administrator(names: dict[str, str]) -> None:
    assert refusal(**names) == (
        f"tyk_redis.username and tyk_redis.admin_username are both {names['username']!r};"
        " Tyk must not work as the administrator, so give them different names."
    )


@pytest.mark.parametrize("key", sorted(name for name in KEYS if name.endswith("password")))
@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        (
            "elevenchars",
            "has 11 characters; give at least 12, for example from a vault: openssl rand -base64 24.",
        ),
        (123456789012, "must be a text."),
        (True, "must be a text."),
        (["only-for-this-test"], "must be a text."),
        ("only for\nthis test", "contains a line break or a NUL character, which cannot be typed."),
        ("only for\rthis test", "contains a line break or a NUL character, which cannot be typed."),
        ("only for\0this test", "contains a line break or a NUL character, which cannot be typed."),
        ("only for\ud83dthis test", "contains half of a character, which UTF-8 cannot express."),
    ],
)
def test_a_password_is_refused_without_being_shown(key: str, value: t.Any, complaint: str) -> None:
    assert refusal(**{key: value}) == f"tyk_redis.{key} {complaint}"


def test_twelve_characters_are_enough_for_a_password_whatever_they_are() -> None:
    hostile = " #\"'\\\t😀äß{{%"
    assert len(hostile) == 12
    assert describe({**LEAST, "password": hostile})["password"] == hostile


def test_addresses_to_remove_are_spelt_in_one_way_and_named_once() -> None:
    described = describe({**LEAST, "remove": ["192.0.2.1:6379", "[2001:DB8:0::1]:06380", "192.0.2.1: 6379 "]})
    assert described["remove"] == ["192.0.2.1:6379", "[2001:db8::1]:6380"]


@pytest.mark.parametrize("given", ["192.0.2.1:6379", 6379, {"192.0.2.1": 6379}, False])
def test_what_is_to_be_removed_is_a_list(given: t.Any) -> None:
    assert refusal(remove=given) == (
        f"tyk_redis.remove must be a list of addresses and ports such as ['192.0.2.14:6379'], not {given!r}."
    )


@pytest.mark.parametrize(
    "item",
    [
        "redis1",
        "redis1:6379",
        "192.0.2.1",
        "192.0.2.1:",
        ":6379",
        "192.0.2.1:0",
        "192.0.2.1:65536",
        "2001:db8::1:6379",
        "[192.0.2.1]:6379",
        "[2001:db8::1]",
        "0.0.0.0:6379",
        "192.0.2.1:6379\n:",
        6379,
        None,
        ["192.0.2.1", 6379],
    ],
)
def test_an_address_to_remove_that_no_member_has_is_refused(item: t.Any) -> None:
    assert refusal(remove=["192.0.2.1:6379", item]) == (
        f"tyk_redis.remove contains {item!r}; give the IP address and the port as the cluster knows them,"
        " for example '192.0.2.14:6379' or '[2001:db8::14]:6379'."
    )


# --- encryption of what the roles make --------------------------------------------------------------------------------


def encryption_refusal(mode: str, **changed: t.Any) -> str:
    least = {"spiped": {"tunnel_keys": {1: SECRETS[1]}}}.get(mode, {})
    return refusal(**{"encryption": mode, **least, **changed})


@pytest.mark.parametrize("mode", sorted(ENCRYPTED))
def test_every_key_of_each_encryption_can_be_given(mode: str) -> None:
    described = describe({**LEAST, **ENCRYPTED[mode]})
    assert {name: described[name] for name in ENCRYPTED[mode]} == ENCRYPTED[mode]
    assert describe(described) == described


@pytest.mark.parametrize(
    ("given", "added"),
    [
        pytest.param({"encryption": "none"}, {}, id="none"),
        pytest.param(
            {"encryption": "tls"},
            {
                "encrypted_port_offset": 1000,
                "tls_certificates": "own",
                "tls_authority": 1,
                "tls_trusted_authorities": [1],
                "tls_names": [],
                "tls_client_certificates": "required",
            },
            id="tls",
        ),
        pytest.param(
            {"encryption": "tls", "tls_certificates": "brought"},
            {"encrypted_port_offset": 1000, "tls_client_certificates": "required"},
            id="tls with certificates of others",
        ),
        pytest.param(
            {"encryption": "tls", "tls_authority": "3", "tls_trusted_authorities": (4, "3", 3)},
            {
                "encrypted_port_offset": 1000,
                "tls_certificates": "own",
                "tls_authority": 3,
                "tls_trusted_authorities": [3, 4],
                "tls_names": [],
                "tls_client_certificates": "required",
            },
            id="two authorities",
        ),
        pytest.param(
            {"encryption": "tls", "tls_trusted_authorities": 1, "tls_names": ["b", "a.example", "b"]},
            {
                "encrypted_port_offset": 1000,
                "tls_certificates": "own",
                "tls_authority": 1,
                "tls_trusted_authorities": [1],
                "tls_names": ["b", "a.example"],
                "tls_client_certificates": "required",
            },
            id="names",
        ),
        pytest.param(
            {"encryption": "spiped", "tunnel_keys": {"2": SECRETS[2], 1: SECRETS[1]}},
            {"encrypted_port_offset": 1000, "tunnel_keys": SECRETS, "tunnel_key": 2},
            id="spiped speaks the newest key",
        ),
        pytest.param(
            {"encryption": "tls_tunnel"},
            {
                "encrypted_port_offset": 1000,
                "tls_certificates": "own",
                "tls_authority": 1,
                "tls_trusted_authorities": [1],
                "tls_names": [],
            },
            id="tls_tunnel",
        ),
        pytest.param(
            {"encryption": "none", "previous_encryption": "spiped", "tunnel_keys": {1: SECRETS[1]}},
            {"encrypted_port_offset": 1000, "tunnel_key": 1},
            id="away from spiped",
        ),
        pytest.param(
            {"encryption": "none", "previous_encryption": "tls"},
            {
                "encrypted_port_offset": 1000,
                "tls_certificates": "own",
                "tls_authority": 1,
                "tls_trusted_authorities": [1],
                "tls_names": [],
                "tls_client_certificates": "required",
            },
            id="away from tls",
        ),
    ],
)
def test_what_is_filled_in_for_each_encryption(given: dict[str, t.Any], added: dict[str, t.Any]) -> None:
    described = describe({**LEAST, **given})
    plain = describe(LEAST)
    differing = {name: value for name, value in described.items() if value != plain[name]}
    said = {name: described[name] for name in given if described[name] != plain[name]}
    assert differing == {**said, **added}
    assert describe(described) == described


@pytest.mark.parametrize("mode", ["tls", "spiped", "tls_tunnel"])
def test_with_none_the_keys_of_another_encryption_may_stay(mode: str) -> None:
    kept = {**ENCRYPTED[mode], "encryption": "none", "previous_encryption": None}
    described = describe({**LEAST, **kept})
    assert {name: described[name] for name in kept} == kept
    assert describe(described) == described


@pytest.mark.parametrize("mode", ["tls", "spiped", "tls_tunnel"])
@pytest.mark.parametrize(
    ("key", "value", "used"),
    [
        ("tls_certificates", "own", ("tls", "tls_tunnel")),
        ("tls_authority", 1, ("tls", "tls_tunnel")),
        ("tls_trusted_authorities", [1], ("tls", "tls_tunnel")),
        ("tls_names", [], ("tls", "tls_tunnel")),
        ("tls_min_version", "1.2", ("tls", "tls_tunnel")),
        ("tls_max_version", "1.3", ("tls",)),
        ("tls_client_certificates", "required", ("tls",)),
        ("tunnel_keys", {1: SECRETS[1]}, ("spiped",)),
        ("tunnel_key", 1, ("spiped",)),
        ("encrypted_port_offset", 500, ("tls", "spiped", "tls_tunnel")),
    ],
)
def test_a_key_of_another_encryption_is_refused(mode: str, key: str, value: t.Any, used: tuple[str, ...]) -> None:
    if mode not in used:
        assert encryption_refusal(mode, **{key: value}) == (
            f"tyk_redis.{key} has no effect without tyk_redis.encryption: {' or '.join(used)}."
        )
        # While it is on its way out, or on its way in, it is needed.
        return
    keys = {"tunnel_keys": {1: SECRETS[1]}} if mode == "spiped" else {}
    for change in (
        {"encryption": mode},
        {"encryption": mode, "previous_encryption": "none"},
        {"encryption": "none", "previous_encryption": mode},
    ):
        assert describe({**LEAST, **change, **keys, key: value})[key] == value


@pytest.mark.parametrize(
    ("mode", "changed", "sentence"),
    [
        pytest.param(
            "tls",
            {"previous_encryption": "tls"},
            "tyk_redis.previous_encryption is 'tls' as well as tyk_redis.encryption: name the one that it replaces, or"
            " remove it.",
            id="no change",
        ),
        pytest.param(
            "spiped",
            {"previous_encryption": "tls_tunnel"},
            "tyk_redis.encryption cannot change from 'tls_tunnel' to 'spiped' at once: change it to none first, in a"
            " network that you trust meanwhile, or build a new cluster.",
            id="from one encryption to another",
        ),
        pytest.param(
            "tls",
            {"previous_encryption": "none", "remove": ["192.0.2.1:6379"]},
            "tyk_redis.remove names instances by addresses and ports that change with tyk_redis.encryption: remove them"
            " before the change or after it.",
            id="removal meanwhile",
        ),
        pytest.param(
            "tls",
            {"encrypted_port_offset": 10000},
            "tyk_redis.encrypted_port_offset is 10000, which is where the cluster bus listens; give another one.",
            id="the bus",
        ),
        pytest.param(
            "spiped",
            {"encrypted_port_offset": 9000},
            "tyk_redis.encrypted_port_offset is 9000, and every second key is spoken 1000 ports higher, where the"
            " cluster bus listens; give another one.",
            id="the bus, with the second key",
        ),
        pytest.param(
            "tls_tunnel",
            {"encrypted_port_offset": 0},
            "tyk_redis.encrypted_port_offset is 0, which leaves no port beside the one without encryption: it goes only"
            " with encryption tls that is not changed.",
            id="no port for the tunnel",
        ),
        pytest.param(
            "tls",
            {"encrypted_port_offset": 0, "previous_encryption": "none"},
            "tyk_redis.encrypted_port_offset is 0, which leaves no port beside the one without encryption: it goes only"
            " with encryption tls that is not changed.",
            id="no port while it changes",
        ),
        pytest.param(
            "tls",
            {"encrypted_port_offset": -1},
            "tyk_redis.encrypted_port_offset is -1; it must be at least 0.",
            id="negative offset",
        ),
        pytest.param(
            "tls",
            {"tls_certificates": "bought"},
            "tyk_redis.tls_certificates is 'bought'; this version of the collection knows: own, brought.",
            id="certificates",
        ),
        pytest.param(
            "tls",
            {"tls_client_certificates": "yes"},
            "tyk_redis.tls_client_certificates is 'yes'; this version of the collection knows: required, optional, no.",
            id="client certificates",
        ),
        pytest.param(
            "tls",
            {"tls_authority": 0},
            "tyk_redis.tls_authority is 0; it must be at least 1.",
            id="authority without a number",
        ),
        pytest.param(
            "tls",
            {"tls_authority": 2, "tls_trusted_authorities": [3, 1]},
            "tyk_redis.tls_authority is 2, which is none of tyk_redis.tls_trusted_authorities (1, 3): nobody would"
            " trust the certificates that it issues.",
            id="authority that nobody trusts",
        ),
        pytest.param(
            "tls_tunnel",
            {"tls_trusted_authorities": 2},
            "tyk_redis.tls_authority is 1, which is none of tyk_redis.tls_trusted_authorities (2): nobody would trust"
            " the certificates that it issues.",
            id="default authority that nobody trusts",
        ),
        pytest.param(
            "tls",
            {"tls_trusted_authorities": []},
            "tyk_redis.tls_trusted_authorities is empty; name at least the authority in tyk_redis.tls_authority.",
            id="no authorities",
        ),
        pytest.param(
            "tls",
            {"tls_trusted_authorities": [1, "two"]},
            "tyk_redis.tls_trusted_authorities must be a whole number, not 'two'.",
            id="authority by name",
        ),
        pytest.param(
            "tls",
            {"tls_names": "redis.example.com"},
            "tyk_redis.tls_names must be a list of names such as ['redis.example.com'], not 'redis.example.com'.",
            id="one name",
        ),
        pytest.param(
            "tls", {"tls_names": ["a b"]}, "tyk_redis.tls_names contains 'a b', which is no host name.", id="blank"
        ),
        pytest.param(
            "tls",
            {"tls_names": ["192.0.2.1"]},
            "tyk_redis.tls_names contains '192.0.2.1', which is no host name.",
            id="address as name",
        ),
        pytest.param("tls", {"tls_names": [1]}, "tyk_redis.tls_names contains 1, which is no host name.", id="number"),
        pytest.param(
            "tls",
            {"tls_min_version": 1.0},
            "tyk_redis.tls_min_version is '1.0', which goes only with topology managed: what the roles make speaks 1.2"
            " and 1.3.",
            id="old minimum",
        ),
        pytest.param(
            "tls",
            {"tls_max_version": "1.1"},
            "tyk_redis.tls_max_version is '1.1', which goes only with topology managed: what the roles make speaks 1.2"
            " and 1.3.",
            id="old maximum",
        ),
        pytest.param(
            "tls",
            {"tls_min_version": 1.3, "tls_max_version": 1.2},
            "tyk_redis.tls_min_version 1.3 is above tyk_redis.tls_max_version 1.2.",
            id="versions crossed",
        ),
        pytest.param(
            "tls",
            {"tls_ca_file": "/etc/ca.pem"},
            "tyk_redis.tls_ca_file goes only with topology managed; about a cluster that the roles make, the inventory"
            " and the roles' options say it.",
            id="file of a managed Redis",
        ),
        pytest.param(
            "spiped",
            {"tunnel_keys": None},
            "tyk_redis.tunnel_keys must be given with encryption spiped, for example {1: SECRET} with a secret from a"
            " vault (openssl rand -base64 48); there is no default key.",
            id="no key",
        ),
        pytest.param(
            "spiped",
            {"tunnel_keys": {}},
            "tyk_redis.tunnel_keys must be given with encryption spiped, for example {1: SECRET} with a secret from a"
            " vault (openssl rand -base64 48); there is no default key.",
            id="empty keys",
        ),
        pytest.param(
            "none",
            {"previous_encryption": "spiped"},
            "tyk_redis.tunnel_keys must be given with encryption spiped, for example {1: SECRET} with a secret from a"
            " vault (openssl rand -base64 48); there is no default key.",
            id="no key for the previous encryption",
        ),
        pytest.param(
            "spiped", {"tunnel_keys": [SECRETS[1]]}, "tyk_redis.tunnel_keys must be a dictionary.", id="keys as a list"
        ),
        pytest.param(
            "spiped",
            {"tunnel_keys": {"one": SECRETS[1]}},
            "tyk_redis.tunnel_keys has a number that must be a whole number, not 'one'.",
            id="key by name",
        ),
        pytest.param(
            "spiped",
            {"tunnel_keys": {0: SECRETS[1]}},
            "tyk_redis.tunnel_keys has a number that is 0; it must be at least 1.",
            id="key zero",
        ),
        pytest.param(
            "spiped",
            {"tunnel_keys": {1: SECRETS[1], 2: SECRETS[2], 3: SECRETS[1]}},
            "tyk_redis.tunnel_keys has the numbers 1, 2, 3; at most two keys may be valid side by side, one with an odd"
            " and one with an even number, since each of these has ports of its own. Count on by one for a new key, and"
            " take the old one away before the next.",
            id="three keys",
        ),
        pytest.param(
            "spiped",
            {"tunnel_keys": {4: SECRETS[1], 2: SECRETS[2]}},
            "tyk_redis.tunnel_keys has the numbers 2, 4; at most two keys may be valid side by side, one with an odd"
            " and one with an even number, since each of these has ports of its own. Count on by one for a new key, and"
            " take the old one away before the next.",
            id="two even keys",
        ),
        pytest.param(
            "spiped",
            {"tunnel_key": 3},
            "tyk_redis.tunnel_key is 3, which is none of tyk_redis.tunnel_keys (1).",
            id="key that is not there",
        ),
    ],
)
def test_an_encryption_that_cannot_be_made_is_refused(mode: str, changed: dict[str, t.Any], sentence: str) -> None:
    assert encryption_refusal(mode, **changed) == sentence


@pytest.mark.parametrize(("key", "value"), [("tls_authority", 1), ("tls_trusted_authorities", [1]), ("tls_names", [])])
def test_of_certificates_that_others_issue_nothing_is_said(key: str, value: t.Any) -> None:
    assert encryption_refusal("tls", **{"tls_certificates": "brought", key: value}) == (
        f"tyk_redis.{key} has no effect with tls_certificates: brought, where others issue them: remove it."
    )


@pytest.mark.parametrize(
    ("secret", "complaint"),
    [
        (
            "a" * 31,
            "must have at least 32 characters, for example from a vault: openssl rand -base64 48.",
        ),
        ("ß" * 31, "must have at least 32 characters, for example from a vault: openssl rand -base64 48."),
        ("", "must have at least 32 characters, for example from a vault: openssl rand -base64 48."),
        (None, "must be a text."),
        (10**40, "must be a text."),
        ("sesame" * 8 + "\n", "contains a line break or a NUL character, which cannot be typed."),
    ],
)
def test_a_key_of_tunnels_is_refused_without_being_shown(secret: t.Any, complaint: str) -> None:
    keys = {1: SECRETS[1], 2: secret}
    assert encryption_refusal("spiped", tunnel_keys=keys) == f"tyk_redis.tunnel_keys[2] {complaint}"


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
NUMBERS = st.integers(0, 9) | st.integers(0, 9).map(str) | st.none()
PASSWORDS = st.text(min_size=10, max_size=30)
NAMES = st.text("ab", min_size=1, max_size=2)
USERS = st.dictionaries(
    st.sampled_from(COMPONENTS),
    st.fixed_dictionaries(
        {"password": PASSWORDS},
        optional={
            "username": NAMES,
            "previous_password": PASSWORDS,
            "password_reference": st.sampled_from(["env://A", "vault://a.b"]),
        },
    ),
    max_size=4,
)
ENDPOINTS = st.builds("{}:{}".format, st.ip_addresses(v=4) | st.sampled_from(["a.example", "b"]), st.integers(1, 65535))
ELSEWHERE = st.fixed_dictionaries(
    {
        "mode": st.sampled_from(["cluster", "standalone", "sentinel"]),
        "addresses": st.lists(ENDPOINTS, min_size=1, max_size=2),
        "password": PASSWORDS,
    },
    optional={
        "username": NAMES,
        "users": USERS,
        "database": NUMBERS,
        "sentinel_master": NAMES,
        "encryption": st.sampled_from(["none", "tls"]),
        "tls_ca_file": st.sampled_from(["/a", "", None]),
        "tls_skip_verify": st.booleans() | st.sampled_from(["true", "no"]),
        "tls_min_version": st.sampled_from(["1.2", 1.3]),
        "least_privilege": st.booleans(),
        "maxclients": NUMBERS,
    },
)
SECTIONS = st.fixed_dictionaries(
    {}, optional={"cache_storage": st.just("one"), "analytics_storage": st.sampled_from(["one", "two"])}
)
LIKELY = st.fixed_dictionaries(
    {"password": PASSWORDS, "admin_password": PASSWORDS},
    optional={
        "topology": st.just("cluster"),
        "username": NAMES,
        "users": USERS,
        "deployments": st.dictionaries(st.sampled_from(["one", "two"]), ELSEWHERE, max_size=2),
        "sections": SECTIONS,
        "timeout": NUMBERS,
        "replicas_per_primary": NUMBERS,
        "pool_size": NUMBERS,
        "remove": st.lists(st.builds("{}:{}".format, st.ip_addresses(v=4), st.integers(0, 70000)), max_size=2),
    },
)
TUNNEL_KEYS = st.dictionaries(st.integers(0, 5) | st.sampled_from(["1", "2"]), st.text(min_size=30, max_size=40))
ENCRYPTION = st.fixed_dictionaries(
    {"encryption": st.sampled_from(sorted(ENCRYPTED))},
    optional={
        "previous_encryption": st.sampled_from(["none", "none", *sorted(ENCRYPTED)]),
        "encrypted_port_offset": st.sampled_from([0, "500", 1000, 9000, 10000]),
        "tls_certificates": st.sampled_from(["own", "brought"]),
        "tls_client_certificates": st.sampled_from(["required", "optional", "no"]),
        "tls_authority": st.integers(1, 2),
        "tls_trusted_authorities": st.integers(1, 2) | st.lists(st.integers(1, 3), max_size=3),
        "tls_names": st.lists(NAMES, max_size=2),
        "tls_min_version": st.sampled_from(["1.1", "1.2", 1.3]),
        "tls_max_version": st.sampled_from(["1.1", 1.2, "1.3"]),
        "tunnel_keys": TUNNEL_KEYS,
        "tunnel_key": st.integers(1, 3),
        "firewall": st.booleans() | st.sampled_from(["yes", "no"]),
    },
)


def mixed(*parts: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    return {name: value for part in parts for name, value in part.items()}


@given(
    st.sampled_from(sorted(ENCRYPTED)),
    st.booleans(),
    st.fixed_dictionaries({}, optional={"firewall": st.booleans(), "encrypted_port_offset": st.integers(1, 3000)}),
    ENCRYPTION,
    st.sets(st.sampled_from(sorted(mixed(*ENCRYPTED.values())))),
)
def test_each_encryption_describes_itself(
    mode: str, changes: bool, common: dict[str, t.Any], drawn: dict[str, t.Any], kept: set[str]
) -> None:
    # What is drawn of the keys that go with the mode, so that much of it is accepted.
    fitting = {name: value for name, value in drawn.items() if name in kept and name in ENCRYPTED[mode]}
    keys = {"tunnel_keys": {1: SECRETS[1]}} if mode == "spiped" else {}
    other = {"encryption": mode, "previous_encryption": "none" if changes and mode != "none" else None}
    given = mixed(LEAST, keys, fitting, common if mode != "none" else {}, other)
    try:
        described = describe(given)
    except DescriptionError as exc:
        assert str(exc).endswith(".")
        return
    assert describe(described) == described
    assert described["encryption"] == mode
    if mode != "none":
        assert described["encrypted_port_offset"] is not None


UNLIKELY = st.dictionaries(st.sampled_from(sorted(KEYS)) | st.text(max_size=5), ANYTHING, max_size=9)


MANAGED = st.builds(lambda store: {"topology": "managed", **store}, ELSEWHERE)


@given(
    LIKELY
    | MANAGED
    | UNLIKELY
    | st.builds(mixed, LIKELY, ENCRYPTION)
    | st.builds(mixed, LIKELY, UNLIKELY)
    | st.builds(mixed, MANAGED, ENCRYPTION)
    | ANYTHING
)
def test_what_is_described_describes_itself(given: t.Any) -> None:
    try:
        described = describe(given)
    except DescriptionError as exc:
        # One finished sentence, or several.
        assert str(exc).endswith(".")
        assert "\n" not in str(exc)
        return
    assert set(described) == set(KEYS)
    assert describe(described) == described
    # Everything that is accepted can be written into the files of Redis.
    for user in redis_users(described):
        assert all(config_text(password) for password in user["passwords"])
    # And whoever is described, every component has a Redis to work on.
    for component in COMPONENTS:
        stores = stores_of(described, component, ["192.0.2.1:6379"])
        for store in (stores["main"], stores.get("cache_storage"), stores.get("analytics_storage")):
            if store and store.get("enabled", True):
                assert store["addresses"] and store["password"]
                assert not (store["cluster"] and store.get("sentinel_master"))


def texts(value: t.Any) -> t.Iterator[str]:
    if isinstance(value, dict):
        for one in value.values():
            yield from texts(one)
    elif isinstance(value, list):
        for one in value:
            yield from texts(one)
    elif isinstance(value, str):
        yield value


@pytest.mark.parametrize("mode", ENCRYPTED)
def test_nothing_but_the_secrets_is_left_out(mode: str) -> None:
    described = describe({**OURS, **ENCRYPTED[mode], "remove": []})
    public = without_secrets(described)
    gone = {"password", "previous_password", "password_reference", "sentinel_password"}
    gone |= {"admin_password", "admin_previous_password"}
    apart = {"users", "deployments", "tunnel_keys"}
    assert set(described) - set(public) == gone
    assert {name: public[name] for name in set(public) - apart} == {
        name: described[name] for name in set(described) - gone - apart
    }
    assert public["users"] == {"gateway": {"username": "door"}}
    cache, whole = public["deployments"]["cache"], described["deployments"]["cache"]
    assert cache == {name: whole[name] for name in set(whole) - gone}
    assert public["tunnel_keys"] == ([1, 2] if mode == "spiped" else None)


def test_of_a_managed_redis_no_secret_is_left_either() -> None:
    public = without_secrets(describe(THEIRS))
    assert public["users"] == {"pump": {"username": "pump"}}
    assert public["addresses"] == THEIRS["addresses"]


SECRET_WORDS = st.text("#", min_size=12, max_size=14)
SECRET_TABLE = st.fixed_dictionaries({"password": SECRET_WORDS}, optional={"password_reference": st.just("env://#")})


@given(
    st.dictionaries(st.sampled_from(COMPONENTS), SECRET_TABLE),
    st.fixed_dictionaries({"password": SECRET_WORDS}, optional={"sentinel_password": SECRET_WORDS}),
    st.sampled_from([{1: "#" * 32}, {2: "#" * 33, 3: "#" * 34}]),
    st.sampled_from(["none", "spiped"]),
    st.booleans(),
)
def test_no_secret_comes_through(users: t.Any, store: t.Any, keys: t.Any, mode: str, rotates: bool) -> None:
    previous = {"previous_password": "#" * 15} if rotates else {}
    mine = {"password": "#" * 12, "admin_password": "#" * 13, "tunnel_keys": keys, "encryption": mode, **previous}
    mine["users"] = {component: {**user, **previous} for component, user in users.items()}
    # Deployments may have whatever name their users like.
    elsewhere = {**CACHE, "mode": "sentinel", "sentinel_master": "m", "username": "u", **store}
    elsewhere["users"] = {component: users[component] for component in users if component == "gateway"}
    described = describe({**mine, "deployments": {"password": elsewhere}, "sections": {"cache_storage": "password"}})
    public = without_secrets(described)
    assert "password" in public["deployments"]
    assert not any("#" in text for text in texts(public))


# --- a Redis that others made ----------------------------------------------------------------------------------------

ELASTICACHE = {
    "topology": "managed",
    "mode": "cluster",
    "addresses": ["clustercfg.example:6379"],
    "password": "only-for-this-test",
}


def managed_refusal(**changed: t.Any) -> str:
    with pytest.raises(DescriptionError) as caught:
        describe({**ELASTICACHE, **changed})
    return str(caught.value)


def test_a_managed_redis_needs_no_administrator() -> None:
    described = describe(ELASTICACHE)
    assert described["username"] == "" and described["least_privilege"] is False
    for name in ("admin_username", "admin_password", "replicas_per_primary", "database"):
        assert described[name] is None
    assert described["remove"] == [] and described["firewall"] is False
    assert describe({**ELASTICACHE, "firewall": "no"}) == described
    assert describe({**ELASTICACHE, "mode": "standalone"})["database"] == 0


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        pytest.param(
            {"addresses": None},
            "tyk_redis.addresses must be given, as a list of one or more addresses with ports.",
            id="no address",
        ),
        pytest.param(
            {"mode": None},
            "tyk_redis.mode must be given, because it cannot be guessed from the addresses: cluster, standalone (also"
            " for"
            " a proxy that leads to the one primary) or sentinel.",
            id="no mode",
        ),
        pytest.param(
            {"mode": "standalone", "addresses": ["a:1", "b:1"]},
            "tyk_redis.addresses has 2 addresses, but with mode standalone Tyk uses only the first one: name one"
            " server or"
            " one proxy, or correct mode.",
            id="two servers",
        ),
        pytest.param(
            {"mode": "sentinel"},
            "tyk_redis.sentinel_master must be given with mode sentinel: the name by which Sentinel knows the primary.",
            id="Sentinel without a name",
        ),
        pytest.param(
            {"sentinel_master": "mymaster"},
            "tyk_redis.sentinel_master goes only with mode sentinel, and mode is cluster.",
            id="a name without Sentinel",
        ),
        pytest.param(
            {"password": None},
            "tyk_redis.password or tyk_redis.password_reference must be given; there is no default password. Keep it"
            " in a"
            " vault.",
            id="no password",
        ),
        pytest.param(
            {"users": {"pump": {"password": "only-for-the-pump"}}},
            "tyk_redis.users.pump.username must be given, because tyk_redis.username is not.",
            id="a user without a name",
        ),
        pytest.param(
            {"users": {"pump": {"username": "pump"}}},
            "tyk_redis.users.pump.password or tyk_redis.users.pump.password_reference must be given; there is no"
            " default"
            " password. Keep it in a vault.",
            id="a user without a password",
        ),
        pytest.param(
            {"username": "tyk", "users": {"pump": {"password": "a" * 12, "previous_password": "b" * 12}}},
            "tyk_redis.users has a previous_password, which has no effect where others make the users: remove it.",
            id="rotation of a user of others",
        ),
        pytest.param(
            {"username": "tyk", "users": {"pmup": {"password": "a" * 12}}},
            "tyk_redis.users has no key 'pmup'; the keys are: gateway, dashboard, pump, mdcb.",
            id="no component",
        ),
        pytest.param(
            {"username": "tyk", "users": {"pump": "only-for-the-pump"}},
            "tyk_redis.users.pump must be a dictionary.",
            id="a password instead of a user",
        ),
        pytest.param(
            {"tls_ca_file": "/etc/ca.pem"},
            "tyk_redis.tls_ca_file has no effect without tyk_redis.encryption: tls.",
            id="authorities without encryption",
        ),
        pytest.param(
            {"encryption": "tls", "tls_ca_file": "ca.pem"},
            "tyk_redis.tls_ca_file is 'ca.pem'; give the path of a file on the Tyk hosts, beginning with a slash.",
            id="relative path",
        ),
        pytest.param(
            {"encryption": "tls", "tls_key_file": "/etc/key.pem"},
            "tyk_redis.tls_cert_file and tyk_redis.tls_key_file go together: Tyk ignores one of them alone without a"
            " word.",
            id="half of a pair",
        ),
        pytest.param(
            {"encryption": "tls", "tls_min_version": 1.3, "tls_max_version": "1.2"},
            "tyk_redis.tls_min_version 1.3 is above tyk_redis.tls_max_version 1.2.",
            id="versions crossed",
        ),
        pytest.param(
            {"encryption": "tls", "tls_skip_verify": "maybe"},
            "tyk_redis.tls_skip_verify must be true or false, not 'maybe'.",
            id="neither true nor false",
        ),
        pytest.param(
            {"addresses": ["redis://:sesame-open-up@redis.example:6379"]},
            "tyk_redis.addresses contains '********@redis.example:6379'; give a name or an IP address, and the port,"
            " as the"
            " Tyk hosts reach it, for example 'redis.example.com:6379' or '[2001:db8::14]:6379'.",
            id="URL with a password",
        ),
        pytest.param(
            {"firewall": True},
            "tyk_redis.firewall is true, which has no effect with topology managed, where others make the Redis: remove"
            " it.",
            id="firewall",
        ),
        pytest.param(
            {"encryption": "spiped"},
            "tyk_redis.encryption is 'spiped', which needs the roles at both ends: of a Redis that others make it may"
            " be none or tls.",
            id="tunnel to others",
        ),
        pytest.param(
            {"encryption": "ssl"},
            "tyk_redis.encryption is 'ssl'; this version of the collection knows: none, tls, spiped, tls_tunnel.",
            id="unknown encryption",
        ),
        pytest.param(
            {"addresses": "redis.example:6379"},
            "tyk_redis.addresses must be a list of addresses and ports such as ['192.0.2.14:6379'], not"
            " 'redis.example:6379'.",
            id="no list",
        ),
    ],
)
def test_what_a_managed_redis_lacks_is_named(changed: dict[str, t.Any], sentence: str) -> None:
    assert managed_refusal(**changed) == sentence


@pytest.mark.parametrize(
    "item", ["redis.example", "redis..:1", "-a:1", "300.0.2.1:6379", "[redis.example]:6379", "a b:1"]
)
def test_an_address_that_no_client_could_dial_is_refused(item: str) -> None:
    assert managed_refusal(addresses=[item]).startswith(f"tyk_redis.addresses contains {item!r}; give a name or")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("previous_password", "only-before-this-test"),
        ("admin_username", "boss"),
        ("admin_password", "neither-is-this-one"),
        ("admin_previous_password", "neither-is-this-one"),
        ("replicas_per_primary", 0),
        ("remove", ["192.0.2.1:6379"]),
        ("previous_encryption", "none"),
        ("encrypted_port_offset", 0),
        ("tls_certificates", "own"),
        ("tls_client_certificates", "no"),
        ("tls_authority", 1),
        ("tls_trusted_authorities", [1]),
        ("tls_names", ["a.example"]),
        ("tunnel_keys", {}),
        ("tunnel_key", 1),
    ],
)
def test_what_only_the_roles_would_read_is_refused_where_others_make_the_redis(key: str, value: t.Any) -> None:
    assert managed_refusal(**{key: value}) == (
        f"tyk_redis.{key} has no effect with topology managed, where others make the Redis: remove it."
    )


@pytest.mark.parametrize("reference", ["sesame-open-up", "http://a", "vault:a", "env://", "env://a b", 5, "Vault://a"])
def test_what_is_no_reference_is_refused_without_being_shown(reference: t.Any) -> None:
    assert managed_refusal(password_reference=reference) == (
        "tyk_redis.password_reference is no reference to a secret: it must begin with one of env://, secrets://,"
        " consul://, vault://, file:// and have no blanks. A password itself belongs into the key password."
    )


# --- users and further deployments -----------------------------------------------------------------------------------

FOUR = {component: {"password": f"only-for-the-{component}"} for component in COMPONENTS}


def test_components_get_names_of_their_own() -> None:
    described = describe({**LEAST, "username": "api", "users": FOUR})
    assert [user["username"] for user in described["users"].values()] == [
        "api-gateway",
        "api-dashboard",
        "api-pump",
        "api-mdcb",
    ]


def test_a_common_password_is_needed_only_while_a_component_uses_it() -> None:
    without = {"admin_password": LEAST["admin_password"], "users": FOUR}
    assert describe(without)["password"] is None
    three = {component: user for component, user in FOUR.items() if component != "pump"}
    with pytest.raises(DescriptionError, match=r"^tyk_redis\.password must be given; "):
        describe({**without, "users": three})
    # Pump follows the analytics to another Redis, and needs no user here.
    followed = {"deployments": {"a": CACHE}, "sections": {"analytics_storage": "a"}}
    assert describe({**without, "users": three, **followed})["password"] is None
    with pytest.raises(DescriptionError) as caught:
        describe({**without, **followed})
    assert str(caught.value) == ("tyk_redis.users.pump has no effect, because pump does not use this Redis: remove it.")


def test_every_missing_password_is_named_at_once() -> None:
    with pytest.raises(DescriptionError) as caught:
        describe({"users": {"mdcb": {}, "gateway": {"password_reference": "env://A"}}})
    assert str(caught.value) == (
        "tyk_redis.password, tyk_redis.admin_password, tyk_redis.users.gateway.password, tyk_redis.users.mdcb.password"
        " must be given; there is no default password. Keep it in a vault."
    )


@pytest.mark.parametrize(
    ("users", "sentence"),
    [
        (
            {"pump": {"username": "tyk", "password": "a" * 12}},
            "tyk_redis.username and tyk_redis.users.pump.username are both 'tyk'; give each user a name of its own.",
        ),
        (
            {"gateway": {"username": "x", "password": "a" * 12}, "pump": {"username": "x", "password": "a" * 12}},
            "tyk_redis.users.gateway.username and tyk_redis.users.pump.username are both 'x'; give each user a name of"
            " its"
            " own.",
        ),
        (
            {"pump": {"username": "default", "password": "a" * 12}},
            "tyk_redis.users.pump.username is 'default', the user that everybody is before AUTH; it stays switched off."
            " Give another name.",
        ),
        (
            {"pump": {"passwort": "a" * 12}},
            "tyk_redis.users.pump has no key 'passwort'; the keys are: password, password_reference, previous_password,"
            " username.",
        ),
        (
            {"pump": {"password": "short"}},
            "tyk_redis.users.pump.password has 5 characters; give at least 12, for example from a vault: openssl rand"
            " -base64 24.",
        ),
    ],
)
def test_users_that_the_roles_cannot_make_are_refused(users: dict[str, t.Any], sentence: str) -> None:
    assert refusal(users=users) == sentence


def test_an_old_password_alone_is_refused() -> None:
    with pytest.raises(DescriptionError) as caught:
        describe({"admin_password": LEAST["admin_password"], "users": FOUR, "previous_password": "long-forgotten"})
    assert str(caught.value) == "tyk_redis.previous_password has no effect without password; remove it."


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        (
            {"deployments": {"cache": {**CACHE, "adresses": []}}, "sections": {"cache_storage": "cache"}},
            "tyk_redis.deployments.cache has no key 'adresses'; the keys are: addresses, database, encryption,"
            " least_privilege, maxclients, mode, password, password_reference, pool_size, sentinel_master,"
            " sentinel_password, timeout, tls_ca_file, tls_cert_file, tls_key_file, tls_max_version, tls_min_version,"
            " tls_skip_verify, username, users.",
        ),
        (
            {"deployments": {"cache": {**CACHE, "mode": None}}, "sections": {"cache_storage": "cache"}},
            "tyk_redis.deployments.cache.mode must be given, because it cannot be guessed from the addresses: cluster,"
            " standalone (also for a proxy that leads to the one primary) or sentinel.",
        ),
        (
            {"deployments": {"cache": {**CACHE, "timeout": "soon"}}, "sections": {"cache_storage": "cache"}},
            "tyk_redis.deployments.cache.timeout must be a whole number, not 'soon'.",
        ),
        (
            {"deployments": {"cache": {**CACHE, "users": {"pump": {}}}}, "sections": {"cache_storage": "cache"}},
            "tyk_redis.deployments.cache.users.pump has no effect, because pump does not use this Redis: remove it.",
        ),
        (
            {"deployments": {"cache": {**CACHE, "encryption": "tls_tunnel"}}, "sections": {"cache_storage": "cache"}},
            "tyk_redis.deployments.cache.encryption is 'tls_tunnel', which needs the roles at both ends: of a Redis"
            " that others make it may be none or tls.",
        ),
        (
            {"deployments": {"cache": "sesame-open-up"}, "sections": {"cache_storage": "cache"}},
            "tyk_redis.deployments.cache must be a dictionary.",
        ),
        (
            {"deployments": {"cache": CACHE}},
            "tyk_redis.deployments.cache is used by nothing: name it in tyk_redis.sections as cache_storage or"
            " analytics_storage, or remove it.",
        ),
        (
            {"deployments": {"cache": CACHE}, "sections": {"cache_storage": "cash", "analytics_storage": "cache"}},
            "tyk_redis.sections.cache_storage is 'cash', which is none of tyk_redis.deployments (cache).",
        ),
        (
            {"sections": {"cache_storage": "cache"}},
            "tyk_redis.sections.cache_storage is 'cache', which is none of tyk_redis.deployments (none).",
        ),
        (
            {"sections": {"cache": "cache"}},
            "tyk_redis.sections has no key 'cache'; the keys are: analytics_storage, cache_storage.",
        ),
        (
            {"deployments": {"main": CACHE}, "sections": {"cache_storage": "main"}},
            "tyk_redis.deployments.main needs another name: main is the Redis that tyk_redis itself describes.",
        ),
        (
            {"deployments": {"my cache": CACHE}},
            "tyk_redis.deployments has a name that is 'my cache'; it must be a non-empty text without blanks and"
            " quotes.",
        ),
    ],
)
def test_deployments_are_checked_with_their_full_place(changed: dict[str, t.Any], sentence: str) -> None:
    assert refusal(**changed) == sentence


# --- instances -------------------------------------------------------------------------------------------------------

FACTS = {"ansible_facts": {"default_ipv4": {"address": "192.0.2.3"}}}


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        pytest.param(
            {"redis_address": "192.0.2.1", "ansible_host": "192.0.2.2", **FACTS}, "192.0.2.1", id="given before all"
        ),
        pytest.param({"ansible_host": "192.0.2.2", **FACTS}, "192.0.2.2", id="ansible_host before facts"),
        pytest.param({"redis_address": "", "ansible_host": "192.0.2.2"}, "192.0.2.2", id="given empty"),
        pytest.param({"ansible_host": "redis1.example", **FACTS}, "192.0.2.3", id="name is passed over"),
        pytest.param(FACTS, "192.0.2.3", id="facts alone"),
        pytest.param({"redis_address": "2001:DB8:0::1"}, "2001:db8::1", id="as servers print it"),
    ],
)
def test_where_an_instance_is(variables: dict[str, t.Any], expected: str) -> None:
    assert address_of("redis1", variables) == expected


@pytest.mark.parametrize("given", ["redis1.example", "192.0.2", "192.0.2.1:6379", "0.0.0.0", "::", "fe80::1%eth0", 7.5])
def test_an_address_that_no_other_host_can_use_is_refused(given: t.Any) -> None:
    with pytest.raises(DescriptionError) as caught:
        address_of("redis1", {"redis_address": given, **FACTS})
    assert str(caught.value) == (
        f"redis1: redis_address is {given!r}; give the IP address itself by which other hosts reach it,"
        " Redis Cluster does not resolve names."
    )


NOT_ASKED = "it was not asked, because it is down or --limit leaves it out. "
NO_ROUTE = "it has no default route for IPv4. "
NAMED = "its ansible_host is 'redis1.example', which is no IP address that others could connect to, and "


@pytest.mark.parametrize(
    ("variables", "why"),
    [
        pytest.param({}, NOT_ASKED, id="nothing"),
        pytest.param({"ansible_host": "", "ansible_facts": None}, NOT_ASKED, id="empty"),
        pytest.param({"ansible_host": "redis1.example"}, NAMED + NOT_ASKED, id="a name"),
        pytest.param({"ansible_host": "redis1.example", "ansible_facts": {}}, NAMED + NOT_ASKED, id="no facts"),
        pytest.param({"ansible_facts": {"default_ipv4": {}}}, NO_ROUTE, id="no default route"),
        pytest.param(
            {"ansible_host": "redis1.example", "ansible_facts": {"default_ipv4": {}}},
            NAMED + NO_ROUTE,
            id="a name and no default route",
        ),
    ],
)
def test_an_address_that_nobody_knows_must_be_given(variables: dict[str, t.Any], why: str) -> None:
    later = ", or run when it is up and without --limit" if why.endswith(NOT_ASKED) else ""
    for ask, purpose, wanted in (
        (address_of, "bind and announce", "an address that all Redis and Tyk hosts reach"),
        (client_address_of, "admit in the firewall", "the address from which it connects to Redis"),
    ):
        with pytest.raises(DescriptionError) as caught:
            ask("redis1", variables)
        assert str(caught.value) == (
            f"redis1: no IP address to {purpose} is known: {why}Set the host variable redis_address to {wanted}{later}."
        )


def test_a_client_is_admitted_by_its_address_only() -> None:
    assert client_address_of("gw1", {"ansible_host": "gw1.example", **FACTS}) == "192.0.2.3"
    with pytest.raises(DescriptionError) as caught:
        client_address_of("gw1", {"redis_address": "gw1.example", **FACTS})
    assert str(caught.value) == (
        "gw1: redis_address is 'gw1.example'; give the IP address itself from which it connects to Redis, the firewall"
        " does not resolve names."
    )


def staying(hostvars: dict[str, dict[str, t.Any]], hosts: t.Iterable[str]) -> list[dict[str, t.Any]]:
    return instances_of(hostvars, hosts)[0]


def host(address: str, **variables: t.Any) -> dict[str, t.Any]:
    return {"redis_address": address, **variables}


def test_instances_come_in_the_order_of_the_inventory() -> None:
    hostvars = {
        "b": host("192.0.2.2", redis_ports=["6380", 6379], redis_zone="east"),
        "a": host("192.0.2.1", redis_weight="3"),
        "c": host("2001:db8::3", redis_zone=0),
        "other": host("not asked for"),
    }
    members = staying(hostvars, ["b", "a", "c"])
    others = {"port": 6379, "bus_port": 16379, "zone": "", "weight": 1}
    assert members == [
        {
            **others,
            "name": "b:6380",
            "address": "192.0.2.2",
            "port": 6380,
            "bus_port": 16380,
            "host": "b",
            "zone": "east",
        },
        {**others, "name": "b:6379", "address": "192.0.2.2", "host": "b", "zone": "east"},
        {**others, "name": "a:6379", "address": "192.0.2.1", "host": "a", "weight": 3},
        {**others, "name": "c:6379", "address": "2001:db8::3", "host": "c", "zone": "0"},
    ]
    assert endpoints_of(members) == ["192.0.2.2:6380", "192.0.2.2:6379", "192.0.2.1:6379", "[2001:db8::3]:6379"]
    assert staying(hostvars, []) == endpoints_of([]) == []


def ports_refusal(ports: t.Any) -> str:
    with pytest.raises(DescriptionError) as caught:
        staying({"redis1": host("192.0.2.1", redis_ports=ports)}, ["redis1"])
    return str(caught.value)


@pytest.mark.parametrize("ports", [6379, "6379", [], (), {}, None])
def test_ports_are_a_list(ports: t.Any) -> None:
    assert ports_refusal(ports) == f"redis1: redis_ports is {ports!r}; it must be a list of ports, for example [6379]."


@pytest.mark.parametrize("port", [0, -1, 55536, 65536, "6379x", "", "²", True, 6379.0, None, [6379], "9" * 5000])
def test_a_port_leaves_room_for_the_cluster_bus(port: t.Any) -> None:
    assert ports_refusal([6379, port]) == (
        f"redis1: redis_ports contains {port!r}; a port is a number from 1 to 55535"
        " (the cluster bus uses port + 10000)."
    )


def test_the_outermost_ports_are_fine() -> None:
    members = staying({"redis1": host("192.0.2.1", redis_ports=[1, 55535])}, ["redis1"])
    assert [member["port"] for member in members] == [1, 55535]


def test_ports_do_not_collide() -> None:
    assert ports_refusal([6379, "6379"]) == "redis1: redis_ports contains 6379 more than once."
    assert ports_refusal([16379, 6379]) == (
        "redis1: redis_ports contains 6379 and 16379, but the latter is the cluster bus port of the former."
    )


def test_two_hosts_do_not_claim_one_address_however_it_is_written() -> None:
    hostvars = {"redis1": host("2001:db8::1"), "redis2": host("2001:0db8:0::1", redis_ports=[6380, 6379])}
    with pytest.raises(DescriptionError) as caught:
        staying(hostvars, ["redis1", "redis2"])
    assert str(caught.value) == (
        "redis2 and redis1 both claim [2001:db8::1]:6379; give each host its own redis_address."
    )
    hostvars["redis2"]["redis_ports"] = [6380]
    assert len(staying(hostvars, ["redis1", "redis2"])) == 2
    hostvars["redis2"]["redis_ports"] = [16379]
    with pytest.raises(DescriptionError) as caught:
        staying(hostvars, ["redis1", "redis2"])
    assert str(caught.value) == (
        "redis2 and redis1 both claim [2001:db8::1]:16379; give each host its own redis_address."
    )


@pytest.mark.parametrize("weight", [0, -1, "0", 1.5, "heavy", True, None, [2]])
def test_a_weight_is_a_number_of_slots_to_others(weight: t.Any) -> None:
    with pytest.raises(DescriptionError) as caught:
        staying({"redis1": host("192.0.2.1", redis_weight=weight)}, ["redis1"])
    assert str(caught.value) == (
        f"redis1: redis_weight is {weight!r}; it must be a whole number of 1 or more: a host with 2 gets twice as many"
        " slots as one with 1."
    )


# --- instances that are to leave -------------------------------------------------------------------------------------


@pytest.mark.parametrize("leaving", [True, "true", "True", " yes "])
def test_a_host_can_leave_with_all_its_instances(leaving: t.Any) -> None:
    hostvars = {
        "redis1": host("192.0.2.1", redis_ports=[6379, 6380], redis_leaving=leaving),
        "redis2": host("192.0.2.2", redis_leaving="false"),
    }
    remaining, going = instances_of(hostvars, ["redis1", "redis2"])
    assert endpoints_of(remaining) == ["192.0.2.2:6379"]
    assert endpoints_of(going) == ["192.0.2.1:6379", "192.0.2.1:6380"]


def test_an_instance_can_leave_alone_and_an_address_that_no_host_has_is_no_instance() -> None:
    hostvars = {"redis1": host("2001:db8::1", redis_ports=[6379, 6380]), "redis2": host("192.0.2.2")}
    described = describe({**LEAST, "remove": ["[2001:0db8::1]:6380", "192.0.2.2:6380", "192.0.2.3:6379"]})
    remaining, going = instances_of(hostvars, ["redis1", "redis2"], described)
    assert endpoints_of(remaining) == ["[2001:db8::1]:6379", "192.0.2.2:6379"]
    assert endpoints_of(going) == ["[2001:db8::1]:6380"]


@pytest.mark.parametrize("leaving", ["", "soon", 1, 0, None, [True], "tru"])
def test_whether_a_host_leaves_is_never_guessed(leaving: t.Any) -> None:
    with pytest.raises(DescriptionError) as caught:
        staying({"redis1": host("192.0.2.1", redis_leaving=leaving)}, ["redis1"])
    assert str(caught.value) == (
        f"redis1: redis_leaving is {leaving!r}; it must be true for a host whose instances are to leave the cluster, or"
        " false."
    )


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("redis_leavng", "redis_leaving"),
        ("redis_weigth", "redis_weight"),
        ("redis_port", "redis_ports"),
        ("redis_adress", "redis_address"),
        ("redis_zones", "redis_zone"),
        ("redis_loopbak", "redis_loopback"),
        ("tyk_redis_controls", "tyk_redis_control"),
        ("redis_cluster_move_stal", "redis_cluster_move_stall"),
        ("redis_cluster_alow_dataloss", "redis_cluster_allow_data_loss"),
    ],
)
def test_a_variable_that_is_nearly_one_of_ours_is_named(name: str, meant: str) -> None:
    assert misspelt([name, meant]) == [
        f"The variable {name} is not known; {meant} is. Correct it, or give it another name."
    ]


def test_a_variable_that_is_like_none_of_ours_is_named_when_it_has_our_prefix() -> None:
    (sentence,) = misspelt(["redis_cluster_speed", "ansible_host", "redis_maxmemory", "redis_server", "redis", "zone"])
    assert sentence == (
        "The variable redis_cluster_speed is not known; with redis_cluster_ begin: redis_cluster_allow_data_loss,"
        " redis_cluster_assume_fresh, redis_cluster_enabled, redis_cluster_move_load, redis_cluster_move_method,"
        " redis_cluster_move_stall, redis_cluster_node_timeout, redis_cluster_nodes, redis_cluster_password,"
        " redis_cluster_progress_file, redis_cluster_rebalance_threshold, redis_cluster_remove,"
        " redis_cluster_replicas_per_primary, redis_cluster_timeout, redis_cluster_tls, redis_cluster_tls_ca_file,"
        " redis_cluster_tls_cert_file, redis_cluster_tls_key_file, redis_cluster_username."
    )


ADDRESSES = st.ip_addresses().map(str) | st.text(max_size=8) | ANYTHING
HOSTS = st.fixed_dictionaries(
    {},
    optional={
        "redis_address": ADDRESSES,
        "redis_ports": st.lists(st.integers(-1, 70000) | st.text("0123456789²", max_size=5), max_size=3) | ANYTHING,
        "redis_zone": ANYTHING,
        "redis_leaving": st.booleans() | ANYTHING,
        "redis_loopback": st.ip_addresses(v=4, network="127.64.0.0/16").map(str) | ADDRESSES,
        "redis_weight": st.integers(1, 9) | ANYTHING,
        "ansible_host": ADDRESSES,
        "ansible_facts": st.fixed_dictionaries(
            {}, optional={"default_ipv4": st.fixed_dictionaries({}, optional={"address": ADDRESSES})}
        ),
    },
)


@given(st.dictionaries(st.sampled_from(["a", "b", "c"]), HOSTS), st.sampled_from(sorted(ENCRYPTED)))
def test_no_inventory_whatever_breaks_it(hostvars: dict[str, dict[str, t.Any]], mode: str) -> None:
    try:
        remaining, going = instances_of(hostvars, hostvars, describe({**LEAST, **ENCRYPTED[mode]}))
    except DescriptionError as exc:
        assert str(exc).endswith(".")
        return
    members = remaining + going
    assert {member["host"] for member in members} == set(hostvars)
    endpoints = endpoints_of(members)
    assert len(set(endpoints)) == len(endpoints)


# --- redis.conf ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("plain # text", '"plain # text"'),
        ("", '""'),
        ('"', '"\\x22"'),
        ("\\n", '"\\x5cn"'),
        ("'", '"\'"'),
        ("\n\x7f", '"\\x0a\\x7f"'),
        ("ß😀", '"\\xc3\\x9f\\xf0\\x9f\\x98\\x80"'),
        (6379, '"6379"'),
    ],
)
def test_what_a_value_becomes(value: t.Any, expected: str) -> None:
    assert config_text(value) == expected


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_value_is_one_line_of_plain_text_and_nothing_is_lost(value: str) -> None:
    text = config_text(value)
    assert all(" " <= character <= "~" for character in text)
    assert text[0] == text[-1] == '"'
    assert '"' not in text[1:-1]
    # Every backslash begins a \xHH, which means the same in Python's bytes as in redis.conf.
    assert text[1:-1].encode().decode("unicode_escape").encode("latin-1").decode() == value
