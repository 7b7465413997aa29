# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.apiops.tyk_redis.plugins.module_utils._env_file import Variable
from ansible_collections.apiops.tyk_redis.plugins.module_utils._json_document import JsonDocument, Put, Remove
from ansible_collections.apiops.tyk_redis.plugins.module_utils._tyk_effective import CLUSTER, read
from ansible_collections.apiops.tyk_redis.plugins.module_utils._tyk_remarks import (
    about_description,
    foreign_keys,
    shown,
    shown_variables,
)
from ansible_collections.apiops.tyk_redis.plugins.module_utils._tyk_render import (
    UNUSED,
    Change,
    Description,
    DescriptionProblem,
    changed_keys,
    check,
    edits,
    plan,
    unmet,
    variables,
)
from ansible_collections.apiops.tyk_redis.plugins.module_utils._tyk_settings import COMPONENTS
from ansible_collections.apiops.tyk_redis.plugins.module_utils._tyk_versions import parse

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


def changes_of(component: str, description: Description = PLAIN, version: str = "") -> tuple[Change, ...]:
    found = COMPONENTS[component]
    return plan(found, {found.main: description}, parse(version) if version else None).changes


def render(component: str, text: str, description: Description = PLAIN, version: str = "") -> JsonDocument:
    wanted = edits(COMPONENTS[component], changes_of(component, description, version))
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
        edit.path
        for edit in edits(COMPONENTS[component], changes_of(component))
        if isinstance(edit, Put) and not edit.only_present
    }
    expected = {settings[name].path for name in ("type", "addresses", "cluster", "tls") if name in settings}
    assert written == expected | ({("analytics_storage_type",)} if component == "pump" else set())


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
    removed = [edit.path for edit in edits(COMPONENTS[component], changes_of(component)) if isinstance(edit, Remove)]
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
    wanted = edits(COMPONENTS["gateway"], changes_of("gateway"))
    after = before.edited(wanted)
    assert changed_keys(before, after, wanted) == ["storage.Addrs", "storage.use_ssl", "storage.HOST"]
    assert changed_keys(after, after, wanted) == []
    assert changed_keys(None, after, wanted)[:2] == ["storage.type", "storage.Addrs"]


def test_unmet_names_what_a_document_does_not_say() -> None:
    wanted = edits(COMPONENTS["mdcb"], changes_of("mdcb"))
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
        ({"sentinel_master": "m m", "cluster": False}, "sentinel_master 'm m' holds a blank"),
        ({"sentinel_master": "m"}, "sentinel_master is 'm' and cluster is true: Tyk would use Sentinel and no cluster"),
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


def test_the_place_of_a_wrong_option_is_named() -> None:
    with pytest.raises(DescriptionProblem, match=r"^cache_storage\.timeout is 0, and it must be 1 or more"):
        check(replace(PLAIN, timeout=0), "cache_storage.")
    with pytest.raises(DescriptionProblem, match=r"^cache_storage\.addresses: The address 'x' is not of the form"):
        check(replace(PLAIN, addresses=("x",)), "cache_storage.")


def test_a_description_does_not_show_its_password() -> None:
    assert "s3cret" not in repr(FULL)


# -- what has no effect --------------------------------------------------------------------------------------------


def test_tls_options_without_tls_are_told() -> None:
    store = replace(PLAIN, tls_ca="/ca", tls_min_version="1.2")
    assert about_description({"storage": store, "cache_storage": UNUSED}) == [
        "The TLS settings have no effect because tls is false (tls_ca, tls_min_version)."
    ]
    assert about_description({"storage": FULL}) == []


@pytest.mark.parametrize(
    ("component", "text", "words"),
    [
        ("gateway", '{"storage": {"max_version": "1.3"}}', "storage.max_version has no effect"),
        ("gateway", '{"storage": {"max_version": "1.3"}}', "calls this setting storage.tls_max_version"),
        ("gateway", '{"storage": {"ssl_ca_file": "x"}}', "calls this setting storage.ca_file"),
        ("gateway", '{"storage": {"redis_use_ssl": true}}', "calls this setting storage.use_ssl"),
        ("gateway", '{"cache_storage": {"min_version": "1.2"}}', "calls this setting cache_storage.tls_min_version"),
        ("pump", '{"analytics_storage_config": {"ca_file": "x"}}', "calls this setting analytics_storage_config.ssl_"),
        ("mdcb", '{"storage": {"tls_min_version": "1.2"}}', "calls this setting storage.min_version"),
        ("dashboard", '{"redis_enable_cluster": true}', "calls this setting enable_cluster"),
        ("dashboard", '{"redis_ssl_ca_file": "x"}', "calls this setting redis_ca_file"),
    ],
)
def test_the_names_of_other_components_are_told(component: str, text: str, words: str) -> None:
    said = foreign_keys(COMPONENTS[component], render(component, text))
    assert len(said) == 1
    assert words in said[0]


@pytest.mark.parametrize("component", COMPONENTS)
def test_nothing_is_said_where_everything_has_its_effect(component: str) -> None:
    text = (
        '{"storage": {"type": "mongo", "host": "x"}, "host": "x", "use_ssl": true, "enabled": true}'
        if component == "dashboard"
        else "{}"
    )
    document = render(component, text, FULL)
    assert foreign_keys(COMPONENTS[component], document) == []
    assert read(COMPONENTS[component], "/x", document.text.encode(), {}).remarks == ()


# -- versions ------------------------------------------------------------------------------------------------------


def refusal(component: str, version: str, **changes: Any) -> str:
    with pytest.raises(DescriptionProblem) as caught:
        changes_of(component, replace(PLAIN, **changes), version)
    return str(caught.value)


def test_an_old_version_gets_hosts_instead_of_addrs() -> None:
    store = replace(PLAIN, addresses=("192.0.2.11:6379", "redis2:6380"))
    for version in ("2.9.2", "v2.8.7", "2.9.0-1"):
        document = render("gateway", '{"storage": {"addrs": ["old:1"], "host": "old", "port": 1}}', store, version)
        storage = json.loads(document.text)["storage"]
        assert storage["hosts"] == {"192.0.2.11": "6379", "redis2": "6380"}
        assert storage["enable_cluster"] is True
        assert not {"addrs", "host", "port"} & set(storage)
        assert read(COMPONENTS["gateway"], "/x", document.text.encode(), {}, (), parse(version)).addresses == (
            "192.0.2.11:6379",
            "redis2:6380",
        )
    for version in ("2.9.3", "3.0.0", "5.8.6"):
        assert "hosts" not in json.loads(render("gateway", "{}", store, version).text)["storage"]
    one = replace(PLAIN, addresses=("redis1:6379",), cluster=False)
    storage = json.loads(render("pump", "{}", one, "0.8.3").text)["analytics_storage_config"]
    assert (storage["host"], storage["port"]) == ("redis1", 6379)


def test_what_hosts_cannot_hold_is_refused() -> None:
    assert "2.9.3 (line 2.9) or 3.0.0" in refusal("gateway", "2.9.2", addresses=("a:1", "a:2"))
    assert "names two ports of a," in refusal("gateway", "2.9.2", addresses=("a:1", "a:2"))
    assert "cannot hold an IPv6 address" in refusal("dashboard", "1.9.2", addresses=("[2001:db8::1]:6379",))


@pytest.mark.parametrize(
    ("version", "key"), [("1.8.3", "redis_use_ssl"), ("1.9.0", "use_ssl"), ("0.5.2", "redis_use_ssl")]
)
def test_pump_gets_the_switch_that_its_version_reads(version: str, key: str) -> None:
    store = replace(PLAIN, addresses=("redis1:6379",), tls=True, tls_skip_verify=True)
    document = render("pump", "{}", store, version)
    storage = json.loads(document.text)["analytics_storage_config"]
    assert {name for name in storage if name.endswith("use_ssl")} == {key}
    assert {name for name in storage if name.endswith("skip_verify")} == {
        key.replace("use_ssl", "ssl_insecure_skip_verify")
    }
    found = read(COMPONENTS["pump"], "/x", document.text.encode(), {}, (), parse(version))
    assert found.tls and found.tls_skip_verify


def test_what_a_version_cannot_do_at_all_is_refused() -> None:
    old = ("redis1:6379",)
    assert "does not read storage.use_ssl, which came with 2.6.0" in refusal(
        "gateway", "2.5.4", addresses=old, tls=True
    )
    said = refusal("pump", "1.1.0", username="shop", password="x")
    assert said == (
        "username is 'shop', but Tyk Pump 1.1.0 does not read analytics_storage_config.username, which came with "
        "1.2.0: upgrade it."
    )
    sentinel = {"sentinel_master": "m", "cluster": False, "addresses": ("s1:26379",)}
    assert "sentinel_master is 'm', but Tyk Pump 0.8.3 does not read" in refusal("pump", "0.8.3", **sentinel)
    assert "3.0.2 (line 3.0) or 3.1.1" in refusal("gateway", "3.1.0", **sentinel, sentinel_password="x")


def test_what_a_version_does_not_read_is_told_and_not_written() -> None:
    store = replace(PLAIN, tls=True, tls_ca="/ca.pem", timeout=5)
    found = plan(COMPONENTS["gateway"], {"storage": store}, parse("5.2.9"))
    assert found.remarks == (
        "tls_ca_file is not written: Tyk Gateway 5.2.9 does not read storage.ca_file, which came with 5.3.0.",
    )
    assert "ca_file" not in JsonDocument("{}").edited(edits(COMPONENTS["gateway"], found.changes)).text
    assert plan(COMPONENTS["gateway"], {"storage": store}, parse("5.3.0")).remarks == ()
    assert plan(COMPONENTS["gateway"], {"storage": store}).remarks == ()


@pytest.mark.parametrize(
    ("component", "section", "reference", "version", "resolved"),
    [
        ("gateway", "storage", "env://REDIS", "", True),
        ("gateway", "storage", "vault://secret/redis.password", "3.0.0", True),
        ("gateway", "storage", "vault://secret/redis.password", "2.9.6", True),
        ("gateway", "storage", "vault://secret/redis.password", "2.9.5", False),
        ("gateway", "cache_storage", "consul://x", "", True),
        ("gateway", "cache_storage", "secrets://x", "5.8.6", True),
        ("gateway", "storage", "file://x", "5.14.0", True),
        ("gateway", "storage", "file://x", "5.13.1", False),
        ("gateway", "storage", "kv://x/y", "", False),
        ("gateway", "storage", "kv://x/y", "5.15.0-rc7", True),
        ("gateway", "analytics_storage", "env://REDIS", "", False),
        ("dashboard", "redis", "env://REDIS", "", False),
        ("pump", "analytics_storage_config", "env://REDIS", "", False),
        ("mdcb", "storage", "vault://x", "", False),
        ("mdcb", "analytics_storage", "vault://x", "", False),
    ],
)
def test_references_pass_where_they_are_resolved_and_nowhere_else(
    component: str, section: str, reference: str, version: str, resolved: bool
) -> None:
    store = replace(PLAIN, addresses=("redis1:6379",), password=reference)
    number = parse(version) if version else None
    if resolved:
        changes = plan(COMPONENTS[component], {section: store}, number).changes
        assert [change.value for change in changes if change.setting.logical == "password"] == [reference]
        return
    with pytest.raises(DescriptionProblem) as caught:
        plan(COMPONENTS[component], {section: store}, number)
    scheme = reference.partition("://")[0]
    assert f"password begins with {scheme}://, the form of a reference" in str(caught.value)
    assert "would send its very text to Redis: give the password itself there" in str(caught.value)
    assert reference not in str(caught.value)


def test_a_reference_is_never_resolved_for_the_sentinels() -> None:
    store = replace(PLAIN, cluster=False, sentinel_master="m", sentinel_password="env://x")
    with pytest.raises(DescriptionProblem, match="sentinel_password begins with env://"):
        plan(COMPONENTS["gateway"], {"storage": store})


@pytest.mark.parametrize(
    ("component", "version", "read_it"),
    [
        ("gateway", "2.9.2", True),
        ("gateway", "2.9.3", False),
        ("gateway", "", False),
        ("dashboard", "1.9.2", True),
        ("dashboard", "5.3.0", False),
        ("pump", "0.8.3", True),
        ("pump", "1.9.0", False),
        ("mdcb", "1.7.1", True),
        ("mdcb", "2.5.0", False),
    ],
)
def test_the_shard_count_goes_to_those_who_read_it(component: str, version: str, read_it: bool) -> None:
    found = COMPONENTS[component]
    number = parse(version) if version else None
    if read_it:
        changes = plan(found, {}, number, shard_count=128).changes
        assert variables(found, changes, number, ()) == {"REDIGOCLUSTER_SHARDCOUNT": "128"}
        return
    with pytest.raises(DescriptionProblem) as caught:
        plan(found, {}, number, shard_count=128)
    assert "does not read REDIGOCLUSTER_SHARDCOUNT: only the cluster driver of versions up to" in str(caught.value)
    assert "Leave shard_count away" in str(caught.value)


# -- stores --------------------------------------------------------------------------------------------------------


def test_separate_stores_have_their_sections_and_switches() -> None:
    gateway = COMPONENTS["gateway"]
    cache = replace(PLAIN, addresses=("cache:6379",), cluster=False)
    records = replace(PLAIN, addresses=("records:6379",), password="p")
    changes = plan(gateway, {"storage": PLAIN, "cache_storage": cache, "analytics_storage": records}).changes
    loaded = json.loads(JsonDocument("{}").edited(edits(gateway, changes)).text)
    assert loaded["cache_storage"]["addrs"] == ["cache:6379"] and loaded["cache_storage"]["enable_cluster"] is False
    assert loaded["analytics_storage"]["password"] == "p"
    assert loaded["enable_separate_cache_store"] is True and loaded["enable_separate_analytics_store"] is True
    written = variables(gateway, changes, None, ())
    assert written["TYK_GW_ENABLESEPERATECACHESTORE"] == written["TYK_GW_ENABLESEPERATEANALYTICSSTORE"] == "true"
    assert written["TYK_GW_CACHESTORAGE_ADDRS"] == "cache:6379"
    assert written["TYK_GW_ANALYTICSSTORAGE_ENABLECLUSTER"] == "true"


def test_a_store_that_is_not_to_be_used_is_switched_off_where_it_was_on() -> None:
    gateway = COMPONENTS["gateway"]
    changes = plan(gateway, {"storage": PLAIN, "cache_storage": UNUSED, "analytics_storage": UNUSED}).changes
    before = JsonDocument('{"enable_separate_cache_store": true, "cache_storage": {"host": "x"}}')
    loaded = json.loads(before.edited(edits(gateway, changes)).text)
    assert loaded["enable_separate_cache_store"] is False and loaded["cache_storage"] == {"host": "x"}
    assert "enable_separate_analytics_store" not in loaded
    assert (
        variables(gateway, changes, None, ["TYK_GW_ENABLESEPERATECACHESTORE"])["TYK_GW_ENABLESEPERATECACHESTORE"]
        == "false"
    )
    assert variables(gateway, changes, None, [])["TYK_GW_ENABLESEPERATECACHESTORE"] is None


def test_a_store_that_came_later_is_refused() -> None:
    for version in ("2.9.5", "3.0.4", "3.1.2"):
        with pytest.raises(DescriptionProblem, match=r"has no analytics store .*2\.9\.6 .*3\.0\.5 .*3\.2\.0"):
            plan(COMPONENTS["gateway"], {"analytics_storage": PLAIN}, parse(version))
    for version in ("2.9.6", "3.0.5", "3.2.0", "5.8.6"):
        assert plan(COMPONENTS["gateway"], {"analytics_storage": PLAIN}, parse(version)).changes


@pytest.mark.parametrize("component", COMPONENTS)
def test_sentinel(component: str) -> None:
    store = replace(PLAIN, cluster=False, sentinel_master="main", sentinel_password="s3ntinel", password="p")
    found = read(COMPONENTS[component], "/x", render(component, "{}", store).text.encode(), {})
    assert (found.mode, found.get("sentinel_master"), found.get("sentinel_password")) == (
        "sentinel",
        "main",
        "s3ntinel",
    )
    assert found.problems == () and found.usable


# -- variables -----------------------------------------------------------------------------------------------------

ENVIRONMENT_IN_FULL = {
    "gateway": """
        TYK_GW_STORAGE_TYPE=redis TYK_GW_STORAGE_ADDRS=192.0.2.11:6379,[2001:db8::12]:6380
        TYK_GW_STORAGE_ENABLECLUSTER=true TYK_GW_STORAGE_USERNAME=shop TYK_GW_STORAGE_PASSWORD=s3cret
        TYK_GW_STORAGE_DATABASE=0 TYK_GW_STORAGE_TIMEOUT=7 TYK_GW_STORAGE_MAXACTIVE=250 TYK_GW_STORAGE_USESSL=true
        TYK_GW_STORAGE_SSLINSECURESKIPVERIFY=false TYK_GW_STORAGE_CAFILE=/etc/pki/ca.pem
        TYK_GW_STORAGE_CERTFILE=/etc/pki/client.pem TYK_GW_STORAGE_KEYFILE=/etc/pki/client.key
        TYK_GW_STORAGE_TLSMINVERSION=1.2 TYK_GW_STORAGE_TLSMAXVERSION=1.3
    """,
    "dashboard": """
        TYK_DB_REDISADDRS=192.0.2.11:6379,[2001:db8::12]:6380 TYK_DB_ENABLECLUSTER=true TYK_DB_REDISUSERNAME=shop
        TYK_DB_REDISPASSWORD=s3cret TYK_DB_REDISDATABASE=0 TYK_DB_REDISTIMEOUT=7 TYK_DB_REDISMAXACTIVE=250
        TYK_DB_REDISUSESSL=true TYK_DB_REDISSSLINSECURESKIPVERIFY=false TYK_DB_REDISCAFILE=/etc/pki/ca.pem
        TYK_DB_REDISCERTFILE=/etc/pki/client.pem TYK_DB_REDISKEYFILE=/etc/pki/client.key TYK_DB_REDISTLSMINVERSION=1.2
        TYK_DB_REDISTLSMAXVERSION=1.3
    """,
    "pump": """
        TYK_PMP_ANALYTICSSTORAGETYPE=redis TYK_PMP_ANALYTICSSTORAGECONFIG_TYPE=redis
        TYK_PMP_ANALYTICSSTORAGECONFIG_ADDRS=192.0.2.11:6379,[2001:db8::12]:6380
        TYK_PMP_ANALYTICSSTORAGECONFIG_ENABLECLUSTER=true TYK_PMP_ANALYTICSSTORAGECONFIG_USERNAME=shop
        TYK_PMP_ANALYTICSSTORAGECONFIG_PASSWORD=s3cret TYK_PMP_ANALYTICSSTORAGECONFIG_DATABASE=0
        TYK_PMP_ANALYTICSSTORAGECONFIG_TIMEOUT=7 TYK_PMP_ANALYTICSSTORAGECONFIG_MAXACTIVE=250
        TYK_PMP_ANALYTICSSTORAGECONFIG_USESSL=true TYK_PMP_ANALYTICSSTORAGECONFIG_SSLINSECURESKIPVERIFY=false
        TYK_PMP_ANALYTICSSTORAGECONFIG_SSLCAFILE=/etc/pki/ca.pem
        TYK_PMP_ANALYTICSSTORAGECONFIG_SSLCERTFILE=/etc/pki/client.pem
        TYK_PMP_ANALYTICSSTORAGECONFIG_SSLKEYFILE=/etc/pki/client.key
        TYK_PMP_ANALYTICSSTORAGECONFIG_SSLMINVERSION=1.2 TYK_PMP_ANALYTICSSTORAGECONFIG_SSLMAXVERSION=1.3
    """,
    "mdcb": """
        TYK_MDCB_STORAGE_TYPE=redis TYK_MDCB_STORAGE_ADDRS=192.0.2.11:6379,[2001:db8::12]:6380
        TYK_MDCB_STORAGE_ENABLECLUSTER=true TYK_MDCB_STORAGE_USERNAME=shop TYK_MDCB_STORAGE_PASSWORD=s3cret
        TYK_MDCB_STORAGE_DATABASE=0 TYK_MDCB_STORAGE_TIMEOUT=7 TYK_MDCB_STORAGE_MAXACTIVE=250
        TYK_MDCB_STORAGE_USESSL=true TYK_MDCB_STORAGE_SSLINSECURESKIPVERIFY=false
        TYK_MDCB_STORAGE_CAFILE=/etc/pki/ca.pem TYK_MDCB_STORAGE_REDISSSLCAFILE=/etc/pki/ca.pem
        TYK_MDCB_STORAGE_CERTFILE=/etc/pki/client.pem TYK_MDCB_STORAGE_REDISSSLCERTFILE=/etc/pki/client.pem
        TYK_MDCB_STORAGE_KEYFILE=/etc/pki/client.key TYK_MDCB_STORAGE_REDISSSLKEYFILE=/etc/pki/client.key
        TYK_MDCB_STORAGE_MINVERSION=1.2 TYK_MDCB_STORAGE_REDISSSLMINVERSION=1.2
        TYK_MDCB_STORAGE_MAXVERSION=1.3 TYK_MDCB_STORAGE_REDISSSLMAXVERSION=1.3
    """,
}


@pytest.mark.parametrize("component", COMPONENTS)
def test_every_option_has_its_variable(component: str) -> None:
    written = variables(COMPONENTS[component], changes_of(component, FULL), None, ())
    expected = dict(item.split("=", 1) for item in ENVIRONMENT_IN_FULL[component].split())
    assert {name: value for name, value in written.items() if value is not None} == expected
    assert "" not in written.values()


@pytest.mark.parametrize("component", COMPONENTS)
def test_the_variables_are_what_the_component_reads(component: str) -> None:
    written = variables(COMPONENTS[component], changes_of(component, FULL), None, ())
    environment = {name: Variable(name, value, "/e", 1) for name, value in written.items() if value is not None}
    found = read(COMPONENTS[component], "/x", b"{}", environment)
    assert found.problems == ()
    assert (found.mode, found.addresses, found.username, found.password) == (CLUSTER, ADDRESSES, "shop", "s3cret")
    names = ("timeout", "pool_size", "tls_ca", "tls_cert", "tls_key", "tls_min_version", "tls_max_version")
    assert {name: found.get(name) for name in names} == {name: getattr(FULL, name) for name in names}


def test_what_contradicts_goes_out_of_the_environment_too() -> None:
    gone = {
        name for name, value in variables(COMPONENTS["pump"], changes_of("pump"), None, ()).items() if value is None
    }
    for family in ("TYK_PMP_REDIS_", "TYK_PMP_TEMPORAL_STORAGE_"):
        assert {f"{family}ADDRS", f"{family}HOSTS", f"{family}MASTERNAME", f"{family}ENABLECLUSTER"} <= gone
    assert {f"TYK_PMP_ANALYTICSSTORAGECONFIG_{name}" for name in ("HOST", "PORT", "HOSTS", "MASTERNAME")} <= gone
    # What is not spoken about stays.
    assert "TYK_PMP_REDIS_PASSWORD" not in gone and "TYK_PMP_REDIS_TIMEOUT" not in gone


def test_an_empty_value_takes_its_variable_away() -> None:
    written = variables(
        COMPONENTS["gateway"], changes_of("gateway", replace(PLAIN, username="", password="")), None, ()
    )
    assert written["TYK_GW_STORAGE_USERNAME"] is None and written["TYK_GW_STORAGE_PASSWORD"] is None


def test_variables_are_shown_without_secrets() -> None:
    gateway = COMPONENTS["gateway"]
    before = {"TYK_GW_STORAGE_PASSWORD": "TOPSECRET", "TYK_GW_STORAGE_ADDRS": "me:TOPSECRET@a:1", "OTHER": "TOPSECRET"}
    after = {**before, "TYK_GW_STORAGE_PASSWORD": "TOPSECRET2"}
    assert shown_variables(gateway, before) == ("TYK_GW_STORAGE_ADDRS=********@a:1\nTYK_GW_STORAGE_PASSWORD=********\n")
    assert "PASSWORD=******** (changed)\n" in shown_variables(gateway, after, before)


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
