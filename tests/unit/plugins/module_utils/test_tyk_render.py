# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.apiops.tyk_redis.plugins.module_utils._json_document import JsonDocument, Put, Remove
from ansible_collections.apiops.tyk_redis.plugins.module_utils._tyk_effective import CLUSTER, read
from ansible_collections.apiops.tyk_redis.plugins.module_utils._tyk_render import (
    Description,
    DescriptionProblem,
    changed_keys,
    check,
    edits,
    remarks,
    shown,
    unmet,
)
from ansible_collections.apiops.tyk_redis.plugins.module_utils._tyk_settings import COMPONENTS

ADDRESSES = ("192.0.2.11:6379", "[2001:db8::12]:6380")
PLAIN = Description(addresses=ADDRESSES)
FULL = Description(
    addresses=ADDRESSES,
    cluster=True,
    username="shop",
    password="s3cret",
    database=0,
    timeout=7,
    pool_size=250,
    tls=True,
    tls_skip_verify=False,
    tls_ca="/etc/pki/ca.pem",
    tls_cert="/etc/pki/client.pem",
    tls_key="/etc/pki/client.key",
    tls_min_version="1.2",
    tls_max_version="1.3",
)


def render(component: str, text: str, description: Description = PLAIN) -> JsonDocument:
    wanted = edits(COMPONENTS[component], description)
    document = JsonDocument(text).edited(wanted)
    assert unmet(document, wanted) == []
    return document


# Reviewed by hand against the components' documentation.
RENDERED_IN_FULL: dict[str, dict[str, Any]] = {
    "gateway": {
        "storage": {
            "type": "redis",
            "addrs": ["192.0.2.11:6379", "[2001:db8::12]:6380"],
            "enable_cluster": True,
            "username": "shop",
            "password": "s3cret",
            "database": 0,
            "timeout": 7,
            "optimisation_max_active": 250,
            "use_ssl": True,
            "ssl_insecure_skip_verify": False,
            "ca_file": "/etc/pki/ca.pem",
            "cert_file": "/etc/pki/client.pem",
            "key_file": "/etc/pki/client.key",
            "tls_min_version": "1.2",
            "tls_max_version": "1.3",
        }
    },
    "dashboard": {
        "redis_addrs": ["192.0.2.11:6379", "[2001:db8::12]:6380"],
        "enable_cluster": True,
        "redis_username": "shop",
        "redis_password": "s3cret",
        "redis_database": 0,
        "redis_timeout": 7,
        "redis_max_active": 250,
        "redis_use_ssl": True,
        "redis_ssl_insecure_skip_verify": False,
        "redis_ca_file": "/etc/pki/ca.pem",
        "redis_cert_file": "/etc/pki/client.pem",
        "redis_key_file": "/etc/pki/client.key",
        "redis_tls_min_version": "1.2",
        "redis_tls_max_version": "1.3",
    },
    "pump": {
        "analytics_storage_type": "redis",
        "analytics_storage_config": {
            "type": "redis",
            "addrs": ["192.0.2.11:6379", "[2001:db8::12]:6380"],
            "enable_cluster": True,
            "username": "shop",
            "password": "s3cret",
            "database": 0,
            "timeout": 7,
            "optimisation_max_active": 250,
            "use_ssl": True,
            "ssl_insecure_skip_verify": False,
            "ssl_ca_file": "/etc/pki/ca.pem",
            "ssl_cert_file": "/etc/pki/client.pem",
            "ssl_key_file": "/etc/pki/client.key",
            "ssl_min_version": "1.2",
            "ssl_max_version": "1.3",
        },
    },
    "mdcb": {
        "storage": {
            "type": "redis",
            "addrs": ["192.0.2.11:6379", "[2001:db8::12]:6380"],
            "enable_cluster": True,
            "username": "shop",
            "password": "s3cret",
            "database": 0,
            "timeout": 7,
            "optimisation_max_active": 250,
            "use_ssl": True,
            "ssl_insecure_skip_verify": False,
            "ca_file": "/etc/pki/ca.pem",
            "cert_file": "/etc/pki/client.pem",
            "key_file": "/etc/pki/client.key",
            "min_version": "1.2",
            "max_version": "1.3",
        }
    },
}


@pytest.mark.parametrize("component", COMPONENTS)
def test_every_option_is_written_as_the_component_spells_it(component: str) -> None:
    document = render(component, "{}", FULL)
    loaded = json.loads(document.text)
    assert loaded == RENDERED_IN_FULL[component]
    # Equal for Python is not equal for Go: True is no 1, and 7 no 7.0.
    assert json.dumps(loaded) == json.dumps(RENDERED_IN_FULL[component])


CONTRADICTIONS = {
    "gateway": '{"Storage": {"hosts": {"x": "1"}, "Host": "x", "port": 1, "master_name": "m", "Use_SSL": false}}',
    "dashboard": '{"redis_hosts": {"x": "1"}, "REDIS_HOST": "x", "redis_port": 1, "redis_master_name": "m"}',
    "pump": '{"analytics_storage_type": "", "analytics_storage_config": {"hosts": null, "redis_use_ssl": false}}',
    "mdcb": '{"storage": {"host": "x", "port": "1", "redis_use_ssl": false, "master_name": "m"}}',
}


@pytest.mark.parametrize("component", COMPONENTS)
def test_what_is_written_is_what_the_component_reads(component: str) -> None:
    document = render(component, CONTRADICTIONS[component], FULL)
    found = read(COMPONENTS[component], "/x.conf", document.text.encode(), {})
    assert found.problems == ()
    assert (found.mode, found.addresses, found.username, found.password) == (CLUSTER, ADDRESSES, "shop", "s3cret")
    assert (found.tls, found.tls_skip_verify, found.database) == (True, False, 0)
    names = ("timeout", "pool_size", "tls_ca", "tls_cert", "tls_key", "tls_min_version", "tls_max_version")
    assert {name: found.get(name) for name in names} == {name: getattr(FULL, name) for name in names}


@pytest.mark.parametrize("component", COMPONENTS)
def test_an_option_that_is_not_given_is_not_written(component: str) -> None:
    settings = COMPONENTS[component].settings
    written = {
        edit.path for edit in edits(COMPONENTS[component], PLAIN) if isinstance(edit, Put) and not edit.only_present
    }
    expected = {"store_type", "type", "addresses", "cluster", "tls"}
    assert written == {settings[name].path for name in expected if name in settings}


@pytest.mark.parametrize(
    ("component", "text", "gone"),
    [
        (
            "gateway",
            '{"storage": {"host": "a", "port": 1, "hosts": null, "Hosts": {"b": ""}, "PORT": "1", "master_name": ""}}',
            ["storage.hosts", "storage.host", "storage.port", "storage.master_name"],
        ),
        (
            "dashboard",
            '{"redis_host": "a", "redis_port": 1, "redis_hosts": {"b": "1"}, "Redis_Hosts": 5, "redis_master_name":""}',
            ["redis_hosts", "redis_host", "redis_port", "redis_master_name"],
        ),
        (
            "pump",
            '{"analytics_storage_config": {"host": "a", "port": 1, "hosts": null, "MASTER_NAME": "m"}}',
            [f"analytics_storage_config.{key}" for key in ("hosts", "host", "port", "master_name")],
        ),
        (
            "mdcb",
            '{"Storage": {"host": "a", "port": 1, "hosts": null, "master_name": "m"}}',
            ["storage.hosts", "storage.host", "storage.port", "storage.master_name"],
        ),
    ],
)
def test_what_contradicts_the_addresses_goes_away(component: str, text: str, gone: list[str]) -> None:
    document = render(component, text)
    removed = [edit.path for edit in edits(COMPONENTS[component], PLAIN) if isinstance(edit, Remove)]
    assert [".".join(path) for path in removed] == gone
    for path in removed:
        assert not document.has(path)
        assert path[-1] not in document.text.lower()


def test_the_dashboards_storage_is_not_redis_and_stays() -> None:
    storage = '"storage": {"main": {"type": "postgres", "host": "db", "port": 5432, "hosts": null, "addrs": []}}'
    document = render("dashboard", f'{{{storage}, "redis_host": "old"}}', FULL)
    assert storage in document.text


def test_the_dashboards_own_host_and_port_stay() -> None:
    text = '{"host": "x", "port": 1, "hosts": null, "master_name": "m", "tyk_api_config": {"Host": "http://gw"}}'
    assert render("dashboard", text).text.startswith(text[:-1])


@pytest.mark.parametrize("component", ["pump", "mdcb"])
@pytest.mark.parametrize("tls", [True, False])
def test_the_older_tls_switches_do_not_contradict(component: str, tls: bool) -> None:
    section = COMPONENTS[component].settings["tls"].path[0]
    text = json.dumps({section: {"redis_use_ssl": not tls, "redis_ssl_insecure_skip_verify": True}})
    document = render(component, text, replace(PLAIN, tls=tls, tls_skip_verify=False))
    assert document.equals((section, "redis_use_ssl"), tls)
    assert document.equals((section, "use_ssl"), tls)
    assert document.equals((section, "redis_ssl_insecure_skip_verify"), False)
    assert "redis_use_ssl" not in render(component, "{}").text


def test_tls_files_stay_when_tls_is_off() -> None:
    text = '{"storage": {"ca_file": "/old/ca.pem", "ssl_insecure_skip_verify": true}}'
    document = render("gateway", text)
    assert document.equals(("storage", "use_ssl"), False)
    assert document.equals(("storage", "ca_file"), "/old/ca.pem")
    assert document.equals(("storage", "ssl_insecure_skip_verify"), True)


def test_integers_that_go_would_not_take_are_written_anew_and_others_stay() -> None:
    text = (
        '{"storage": {"timeout": 7.0, "optimisation_max_active": "250", "database": 0, "optimisation_max_idle": 1e3}}'
    )
    document = render("gateway", text, FULL)
    assert document.raw(("storage", "timeout")) == "7"
    assert document.raw(("storage", "optimisation_max_active")) == "250"
    assert document.raw(("storage", "database")) == "0"
    assert document.raw(("storage", "optimisation_max_idle")) == "1e3"


def test_changed_keys_are_named_as_the_file_writes_them() -> None:
    before = JsonDocument('{"storage": {"type": "redis", "Addrs": ["a:1"], "HOST": "x", "enable_cluster": true}}')
    wanted = edits(COMPONENTS["gateway"], PLAIN)
    after = before.edited(wanted)
    assert changed_keys(before, after, wanted) == ["storage.Addrs", "storage.use_ssl", "storage.HOST"]
    assert changed_keys(after, after, wanted) == []
    assert changed_keys(None, after, wanted)[:2] == ["storage.type", "storage.Addrs"]


def test_unmet_names_what_a_document_does_not_say() -> None:
    wanted = edits(COMPONENTS["mdcb"], PLAIN)
    document = JsonDocument('{"storage": {"type": "redis", "host": "x", "redis_use_ssl": true}}')
    assert unmet(document, wanted) == [
        "storage.addrs",
        "storage.enable_cluster",
        "storage.use_ssl",
        "storage.redis_use_ssl",
        "storage.host",
    ]


# -- descriptions that cannot be right -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    [
        "redis1:6379",
        "10.0.0.1:1",
        "redis-1.example.com.:65535",
        "under_score:6379",
        "[::1]:6379",
        "[fe80::1%eth0]:7000",
    ],
)
def test_good_addresses(address: str) -> None:
    check(replace(PLAIN, addresses=(address,)))


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("redis1", "is not of the form host:port, and Tyk adds no port of its own"),
        ("redis1:", "is not of the form host:port"),
        (":6379", "is not of the form host:port"),
        ("", "is not of the form host:port"),
        ("redis1:0", "has the port '0'"),
        ("redis1:65536", "has the port '65536'"),
        ("redis1:06379", "without leading zeros"),
        ("redis1:+6379", "has the port"),
        ("redis1:63\u0667", "has the port"),
        ("redis1: 6379", "holds a blank"),
        (" redis1:6379", "holds a blank"),
        ("a:1,b:2", "holds a comma"),
        ("redis://redis1:6379", "is a URL"),
        ("::1:6379", "put an IPv6 address into brackets"),
        ("[::1]", "has no port after the bracket"),
        ("[::1]6379", "has no port after the bracket"),
        ("[::1", "has no port after the bracket"),
        ("[redis1]:6379", "does not hold an IPv6 address"),
        ("[]:6379", "does not hold an IPv6 address"),
        ("10.0.0.256:6379", "looks like an IPv4 address and is none"),
        ("-redis:6379", "neither a name nor an IP address"),
        ("re dis:6379", "holds a blank"),
        ("r\u00e9dis:6379", "neither a name nor an IP address"),
    ],
)
def test_bad_addresses_are_refused_with_the_reason(address: str, reason: str) -> None:
    with pytest.raises(DescriptionProblem) as caught:
        check(replace(PLAIN, addresses=("good:1", address)))
    assert reason in str(caught.value)
    assert f"The address {address!r}" in str(caught.value)


def test_a_password_in_an_address_does_not_get_into_the_message() -> None:
    with pytest.raises(DescriptionProblem) as caught:
        check(replace(PLAIN, addresses=("redis://shop:hunter2@redis1:6379",)))
    assert "hunter2" not in str(caught.value)
    assert "redis1:6379" in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"addresses": ()}, "addresses is empty"),
        ({"addresses": ("a:1", "b:1", "a:1")}, "addresses names a:1 more than once"),
        ({"username": "shop keeper"}, "username 'shop keeper' holds a blank"),
        ({"password": "x\udcfc"}, "password is not valid UTF-8"),
        ({"database": -1}, "database is -1, and it must be 0 or more"),
        ({"timeout": 0}, "timeout is 0, and it must be 1 or more"),
        ({"pool_size": 0}, "pool_size is 0, and it must be 1 or more"),
        ({"tls_min_version": "1.4"}, "Tyk knows only 1.0, 1.1, 1.2, 1.3"),
        (
            {"tls_min_version": "1.3", "tls_max_version": "1.2"},
            "tls_min_version 1.3 is higher than tls_max_version 1.2",
        ),
    ],
)
def test_descriptions_that_cannot_be_right(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DescriptionProblem) as caught:
        check(replace(PLAIN, **changes))
    assert message in str(caught.value)


def test_a_description_does_not_show_its_password() -> None:
    assert "s3cret" not in repr(FULL)


# -- what has no effect --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("component", "text", "changes", "words"),
    [
        ("gateway", "{}", {"database": 3}, "database 3 has no effect in cluster mode"),
        ("gateway", "{}", {"cluster": False}, "uses only the first address, 192.0.2.11:6379"),
        ("pump", "{}", {"tls_ca": "/ca"}, "no effect because tls is false (tls_ca)"),
        ("mdcb", "{}", {"username": "shop"}, "storage.username has no effect without storage.password"),
        ("gateway", '{"storage": {"optimisation_max_idle": 5}}', {}, "does not read it after version 2.9.2"),
        (
            "pump",
            '{"analytics_storage_config": {"optimisation_max_idle": 5}}',
            {},
            "does not read it after version 0.8.3.",
        ),
        ("gateway", '{"storage": {"max_version": "1.3"}}', {}, "calls this setting storage.tls_max_version"),
        ("gateway", '{"storage": {"ssl_ca_file": "x"}}', {}, "calls this setting storage.ca_file"),
        ("gateway", '{"storage": {"redis_use_ssl": true}}', {}, "calls this setting storage.use_ssl"),
        (
            "pump",
            '{"analytics_storage_config": {"ca_file": "x"}}',
            {},
            "calls this setting analytics_storage_config.ssl_",
        ),
        ("mdcb", '{"storage": {"tls_min_version": "1.2"}}', {}, "calls this setting storage.min_version"),
        ("dashboard", '{"redis_enable_cluster": true}', {}, "calls this setting enable_cluster"),
        ("dashboard", '{"redis_ssl_ca_file": "x"}', {}, "calls this setting redis_ca_file"),
    ],
)
def test_what_has_no_effect_is_said(component: str, text: str, changes: dict[str, Any], words: str) -> None:
    description = replace(PLAIN, **changes)
    said = remarks(COMPONENTS[component], description, render(component, text, description))
    assert len(said) == 1
    assert words in said[0]


@pytest.mark.parametrize("component", COMPONENTS)
def test_nothing_is_said_where_everything_has_its_effect(component: str) -> None:
    text = (
        '{"storage": {"type": "mongo", "host": "x"}, "host": "x", "use_ssl": true}'
        if component == "dashboard"
        else "{}"
    )
    assert remarks(COMPONENTS[component], FULL, render(component, text, FULL)) == []


# -- what is shown -------------------------------------------------------------------------------------------------

SECRETIVE = {
    "secret": "TOPSECRET",
    "storage": {
        "password": "TOPSECRET",
        "sentinel_password": ["TOPSECRET"],
        "host": {"password": "TOPSECRET"},
        "addrs": ["redis://shop:TOPSECRET@old:1", "new:1"],
        "hosts": {"shop:TOPSECRET@old": "1"},
        "username": "me:TOPSECRET@x",
        "enable_cluster": "TOPSECRET",
        "port": ["TOPSECRET"],
        "timeout": 1.50,
        "unknown": "TOPSECRET",
    },
}


def test_no_secret_is_shown_whatever_it_hides_in() -> None:
    text = shown(COMPONENTS["gateway"], JsonDocument(json.dumps(SECRETIVE)))
    assert "TOPSECRET" not in text
    assert text.splitlines() == [
        'storage.addrs: ["********@old:1", "new:1"]',
        'storage.hosts: {"********@old": "1"}',
        "storage.host: (not a string)",
        "storage.port: (not an integer)",
        "storage.enable_cluster: (not true or false)",
        'storage.username: "********@x"',
        "storage.password: ********",
        "storage.sentinel_password: ********",
        "storage.timeout: 1.5",
    ]


@pytest.mark.parametrize(
    ("before", "after", "line"),
    [
        pytest.param('"old"', '"new"', "******** (changed)", id="another one"),
        pytest.param('"old"', '"old"', "********", id="the same"),
        pytest.param('"\\u006fld"', '"old"', "********", id="the same in other letters"),
        pytest.param('""', '"new"', "********", id="a first one"),
        pytest.param('"old"', '""', '""', id="none any more"),
    ],
)
def test_a_changed_secret_is_marked(before: str, after: str, line: str) -> None:
    documents = [JsonDocument(f'{{"redis_password": {value}}}') for value in (before, after)]
    component = COMPONENTS["dashboard"]
    assert shown(component, documents[1], documents[0]) == f"redis_password: {line}\n"
    assert "(changed)" not in shown(component, documents[0])


def test_nothing_is_shown_of_a_file_that_is_not_there() -> None:
    assert shown(COMPONENTS["pump"], None) == ""
