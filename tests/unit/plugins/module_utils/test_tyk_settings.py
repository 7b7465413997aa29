# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The table against what was read from the sources by other means, and not derived from the table.

The lists here were written by hand. fixtures/tyk_settings_reading.json was made by reflection over the structures of
the programs, over all their releases, and from the generated reference of those that are closed source.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
from typing import Any

import pytest

from ansible_collections.apiops.tyk_redis.plugins.module_utils._tyk_settings import COMPONENTS, Component, Setting
from ansible_collections.apiops.tyk_redis.plugins.module_utils._tyk_versions import parse, reached

READING = json.loads((pathlib.Path(__file__).parent / "fixtures" / "tyk_settings_reading.json").read_text())

# logical name | path | type | variables, the strongest first
BY_HAND = {
    "gateway": """
        type                | storage.type                     | string  | TYK_GW_STORAGE_TYPE
        addresses           | storage.addrs                    | list    | TYK_GW_STORAGE_ADDRS
        hosts               | storage.hosts                    | map     | TYK_GW_STORAGE_HOSTS
        host                | storage.host                     | string  | TYK_GW_STORAGE_HOST
        port                | storage.port                     | integer | TYK_GW_STORAGE_PORT
        cluster             | storage.enable_cluster           | boolean | TYK_GW_STORAGE_ENABLECLUSTER
        username            | storage.username                 | string  | TYK_GW_STORAGE_USERNAME
        password            | storage.password                 | string  | TYK_GW_STORAGE_PASSWORD
        database            | storage.database                 | integer | TYK_GW_STORAGE_DATABASE
        sentinel_master     | storage.master_name              | string  | TYK_GW_STORAGE_MASTERNAME
        sentinel_password   | storage.sentinel_password        | string  | TYK_GW_STORAGE_SENTINELPASSWORD
        pool_size           | storage.optimisation_max_active  | integer | TYK_GW_STORAGE_MAXACTIVE
        idle_pool_size      | storage.optimisation_max_idle    | integer | TYK_GW_STORAGE_MAXIDLE
        timeout             | storage.timeout                  | integer | TYK_GW_STORAGE_TIMEOUT
        tls                 | storage.use_ssl                  | boolean | TYK_GW_STORAGE_USESSL
        tls_skip_verify     | storage.ssl_insecure_skip_verify | boolean | TYK_GW_STORAGE_SSLINSECURESKIPVERIFY
        tls_ca              | storage.ca_file                  | string  | TYK_GW_STORAGE_CAFILE
        tls_cert            | storage.cert_file                | string  | TYK_GW_STORAGE_CERTFILE
        tls_key             | storage.key_file                 | string  | TYK_GW_STORAGE_KEYFILE
        tls_min_version     | storage.tls_min_version          | string  | TYK_GW_STORAGE_TLSMINVERSION
        tls_max_version     | storage.tls_max_version          | string  | TYK_GW_STORAGE_TLSMAXVERSION
    """,
    "dashboard": """
        addresses           | redis_addrs                      | list    | TYK_DB_REDISADDRS
        hosts               | redis_hosts                      | map     | TYK_DB_HOSTS
        host                | redis_host                       | string  | TYK_DB_REDISHOST
        port                | redis_port                       | integer | TYK_DB_REDISPORT
        cluster             | enable_cluster                   | boolean | TYK_DB_ENABLECLUSTER
        username            | redis_username                   | string  | TYK_DB_REDISUSERNAME
        password            | redis_password                   | string  | TYK_DB_REDISPASSWORD
        database            | redis_database                   | integer | TYK_DB_REDISDATABASE
        sentinel_master     | redis_master_name                | string  | TYK_DB_REDISMASTERNAME
        sentinel_password   | redis_sentinel_password          | string  | TYK_DB_REDISSENTINELPASSWORD
        pool_size           | redis_max_active                 | integer | TYK_DB_REDISMAXACTIVE
        timeout             | redis_timeout                    | integer | TYK_DB_REDISTIMEOUT
        tls                 | redis_use_ssl                    | boolean | TYK_DB_REDISUSESSL
        tls_skip_verify     | redis_ssl_insecure_skip_verify   | boolean | TYK_DB_REDISSSLINSECURESKIPVERIFY
        tls_ca              | redis_ca_file                    | string  | TYK_DB_REDISCAFILE
        tls_cert            | redis_cert_file                  | string  | TYK_DB_REDISCERTFILE
        tls_key             | redis_key_file                   | string  | TYK_DB_REDISKEYFILE
        tls_min_version     | redis_tls_min_version            | string  | TYK_DB_REDISTLSMINVERSION
        tls_max_version     | redis_tls_max_version            | string  | TYK_DB_REDISTLSMAXVERSION
    """,
    # Below analytics_storage_config, with three families of variables each (PUMP_FAMILIES).
    "pump": """
        type                   | .type                             | string  | TYPE
        addresses              | .addrs                            | list    | ADDRS
        hosts                  | .hosts                            | map     | HOSTS
        host                   | .host                             | string  | HOST
        port                   | .port                             | integer | PORT
        cluster                | .enable_cluster                   | boolean | ENABLECLUSTER
        username               | .username                         | string  | USERNAME
        password               | .password                         | string  | PASSWORD
        database               | .database                         | integer | DATABASE
        sentinel_master        | .master_name                      | string  | MASTERNAME
        sentinel_password      | .sentinel_password                | string  | SENTINELPASSWORD
        pool_size              | .optimisation_max_active          | integer | MAXACTIVE
        idle_pool_size         | .optimisation_max_idle            | integer | MAXIDLE
        timeout                | .timeout                          | integer | TIMEOUT
        tls                    | .use_ssl                          | boolean | USESSL
        tls_legacy             | .redis_use_ssl                    | boolean | REDISUSESSL
        tls_skip_verify        | .ssl_insecure_skip_verify         | boolean | SSLINSECURESKIPVERIFY
        tls_skip_verify_legacy | .redis_ssl_insecure_skip_verify   | boolean | REDISSSLINSECURESKIPVERIFY
        tls_ca                 | .ssl_ca_file                      | string  | SSLCAFILE
        tls_cert               | .ssl_cert_file                    | string  | SSLCERTFILE
        tls_key                | .ssl_key_file                     | string  | SSLKEYFILE
        tls_min_version        | .ssl_min_version                  | string  | SSLMINVERSION
        tls_max_version        | .ssl_max_version                  | string  | SSLMAXVERSION
    """,
    "mdcb": """
        type                   | storage.type                           | string  | TYPE
        addresses              | storage.addrs                          | list    | ADDRS
        hosts                  | storage.hosts                          | map     | HOSTS
        host                   | storage.host                           | string  | HOST
        port                   | storage.port                           | integer | PORT
        cluster                | storage.enable_cluster                 | boolean | ENABLECLUSTER
        username               | storage.username                       | string  | USERNAME
        password               | storage.password                       | string  | PASSWORD
        database               | storage.database                       | integer | DATABASE
        sentinel_master        | storage.master_name                    | string  | MASTERNAME
        sentinel_password      | storage.sentinel_password              | string  | SENTINELPASSWORD
        pool_size              | storage.optimisation_max_active        | integer | MAXACTIVE
        idle_pool_size         | storage.optimisation_max_idle          | integer | MAXIDLE
        timeout                | storage.timeout                        | integer | TIMEOUT
        tls                    | storage.use_ssl                        | boolean | USESSL
        tls_legacy             | storage.redis_use_ssl                  | boolean | REDISUSESSL
        tls_skip_verify        | storage.ssl_insecure_skip_verify       | boolean | SSLINSECURESKIPVERIFY
        tls_skip_verify_legacy | storage.redis_ssl_insecure_skip_verify | boolean | REDISSSLINSECURESKIPVERIFY
        tls_ca                 | storage.ca_file                        | string  | CAFILE REDISSSLCAFILE
        tls_cert               | storage.cert_file                      | string  | CERTFILE REDISSSLCERTFILE
        tls_key                | storage.key_file                       | string  | KEYFILE REDISSSLKEYFILE
        tls_min_version        | storage.min_version                    | string  | MINVERSION REDISSSLMINVERSION
        tls_max_version        | storage.max_version                    | string  | MAXVERSION REDISSSLMAXVERSION
    """,
}
PUMP_FAMILIES = ("TYK_PMP_TEMPORAL_STORAGE_", "TYK_PMP_REDIS_", "TYK_PMP_ANALYTICSSTORAGECONFIG_")

# What no structure tells, because old versions have the field and do nothing with it, or because there is no source.
VERSIONS: dict[str, dict[str, tuple[tuple[str, ...], str]]] = {
    "gateway": {
        "username": (("2.9.6", "3.0.2", "3.1.1"), ""),
        "idle_pool_size": ((), "2.9.2"),
    },
    "dashboard": {
        "addresses": (("1.9.3",), ""),
        "username": (("3.0.2",), ""),
        "sentinel_password": (("3.0.2",), ""),
        "tls": (("1.6.0",), ""),
        "tls_ca": (("5.3.0",), ""),
    },
    "pump": {
        "username": (("1.2.0",), ""),
        "idle_pool_size": ((), "0.8.3"),
    },
    "mdcb": {"tls": (("2.5.0",), ""), "tls_legacy": (("1.5.3",), "")},
}


def variables(component: str, text: str) -> tuple[str, ...]:
    if component == "pump":
        return tuple(family + text for family in PUMP_FAMILIES)
    if component == "mdcb":
        return tuple(f"TYK_MDCB_STORAGE_{name}" for name in text.split())
    return (text,)


def by_hand(component: str) -> dict[str, tuple[str, str, tuple[str, ...]]]:
    rows = {}
    for line in BY_HAND[component].strip().splitlines():
        logical, path, json_type, names = (field.strip() for field in line.split("|"))
        if path.startswith("."):
            path = f"analytics_storage_config{path}"
        rows[logical] = (path, json_type, variables(component, names))
    return rows


def test_there_are_four_components() -> None:
    assert list(COMPONENTS) == ["gateway", "dashboard", "pump", "mdcb"]
    assert all(component.name == name for name, component in COMPONENTS.items())


@pytest.mark.parametrize("component", BY_HAND)
def test_the_table_says_what_the_sources_say(component: str) -> None:
    table = {
        logical: (setting.dotted, setting.json_type, setting.env)
        for logical, setting in COMPONENTS[component].settings.items()
        if logical in by_hand(component)
    }
    assert table == by_hand(component)


# -- the reading ---------------------------------------------------------------------------------------------------

GO_TYPES = {
    "string": "string",
    "int": "integer",
    "int64": "integer",
    "bool": "boolean",
    "[]string": "list",
    "map[string]string": "map",
    "storage.EnvMapString": "map",
}
# There are only candidates of the releases with these so far.
NOT_RELEASED = ".iam_auth."
# Parts of the structure that the Gateway consults in its main store only.
NOT_CONSULTED = {
    f"{section}.{key}"
    for section in ("cache_storage", "analytics_storage")
    for key in ("compress_api_definitions", "compress_policies", "max_decompressed_size")
}
# Fields that older versions have and do not use.
UNUSED_AT_FIRST = ("username",)


def of_stores(component: Component) -> dict[str, dict[str, Any]]:
    """The part of the reading that is about the component's stores."""
    found = {}
    for row in READING[component.name]:
        first = row["path"].split(".")[0]
        in_section = first in component.sections and "." in row["path"]
        if in_section or (component.name == "dashboard" and (first.startswith("redis_") or first == "enable_cluster")):
            found[row["path"]] = row
    return found


def with_paths(component: Component) -> dict[str, Setting]:
    every = [*component.every(), *component.health.values()]
    return {setting.dotted: setting for setting in every if setting.path}


@pytest.mark.parametrize("name", COMPONENTS)
def test_the_table_has_every_setting_of_every_store_and_no_other(name: str) -> None:
    component = COMPONENTS[name]
    read = set(of_stores(component)) - NOT_CONSULTED
    beside = [*component.flags.values(), *component.health.values()]
    flags = {setting.dotted for setting in beside if setting.path}
    table = {path for path in with_paths(component) if NOT_RELEASED not in path}
    assert len(read) >= 15
    assert table - flags == read
    assert flags <= {row["path"] for row in READING[name]}


@pytest.mark.parametrize("name", COMPONENTS)
def test_types_and_variables_are_those_of_the_programs(name: str) -> None:
    table = with_paths(COMPONENTS[name])
    compared = 0
    for row in READING[name]:
        setting = table.get(row["path"])
        if setting is None:
            continue
        compared += 1
        assert setting.json_type == GO_TYPES[row["go_type"]], row
        # The reading begins with the weakest.
        names = list(reversed(setting.env)) if name == "pump" else list(setting.env)
        if setting.unsure:
            assert names[:1] == row["env"], row
        else:
            assert names == row["env"], row
    assert compared >= 19


@pytest.mark.parametrize("name", ["gateway", "pump"])
def test_first_versions_are_those_of_the_structures(name: str) -> None:
    table = with_paths(COMPONENTS[name])
    scanned = [parse(tag) for tag in READING["scanned"][name]]
    assert len(scanned) > 30
    for row in READING[name]:
        setting = table.get(row["path"])
        if setting is None or setting.logical in UNUSED_AT_FIRST:
            continue
        different = [tag for tag in scanned if reached(tag, setting.since) != reached(tag, row["since"])]
        assert not different, (row["path"], setting.since, row["since"])


@pytest.mark.parametrize("component", VERSIONS)
def test_versions(component: str) -> None:
    settings = COMPONENTS[component].settings
    assert VERSIONS[component]
    found = {logical: (settings[logical].since, settings[logical].until) for logical in VERSIONS[component]}
    assert found == VERSIONS[component]


@pytest.mark.parametrize("component", COMPONENTS)
def test_secrets_are_the_passwords_and_nothing_else(component: str) -> None:
    secrets = {setting.logical for setting in COMPONENTS[component].every() if setting.secret}
    assert secrets == {"password", "sentinel_password"}


@pytest.mark.parametrize("component", COMPONENTS)
def test_every_fact_has_a_source_and_every_timeout_a_unit(component: str) -> None:
    found = COMPONENTS[component]
    assert all(setting.source for setting in found.every())
    assert found.source
    assert {section.settings["timeout"].unit for section in found.sections.values()} == {"seconds"}
    # Nobody outside can verify what closed source does.
    assert {setting.verified for setting in found.every()} == {component in ("gateway", "pump")}


@pytest.mark.parametrize("component", COMPONENTS)
def test_no_path_and_no_variable_is_there_twice(component: str) -> None:
    settings = list(COMPONENTS[component].every())
    paths = [setting.path for setting in settings if setting.path]
    names = [name for setting in settings for name in setting.env]
    assert len(set(paths)) == len(paths)
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("component", COMPONENTS)
def test_sections_fit_together(component: str) -> None:
    found = COMPONENTS[component]
    assert found.section == found.main
    for name, section in found.sections.items():
        assert section.name == name and section.purposes
        assert set(section.enabled_by) <= set(found.flags)
        assert bool(section.enabled_by) == (name != found.main)
        assert found.at(name).settings is section.settings
    assert found.flags["shard_count"].env == ("REDIGOCLUSTER_SHARDCOUNT",)


def test_the_flags_are_misspelt_as_they_are() -> None:
    names = {
        (component.name, logical): component.flags[logical].env[0]
        for component in COMPONENTS.values()
        for logical in ("separate_cache", "separate_analytics")
        if logical in component.flags
    }
    assert names == {
        ("gateway", "separate_cache"): "TYK_GW_ENABLESEPERATECACHESTORE",
        ("gateway", "separate_analytics"): "TYK_GW_ENABLESEPERATEANALYTICSSTORE",
        ("mdcb", "separate_analytics"): "TYK_MDCB_ENABLESEPERATEANALYTICSSTORE",
    }


@pytest.mark.parametrize(
    ("component", "path", "service", "package", "prefix", "omit"),
    [
        (
            "gateway",
            "/opt/tyk-gateway/tyk.conf",
            "tyk-gateway.service",
            "tyk-gateway",
            "TYK_GW_",
            "TYK_GW_OMITCONFIGFILE",
        ),
        (
            "dashboard",
            "/opt/tyk-dashboard/tyk_analytics.conf",
            "tyk-dashboard.service",
            "tyk-dashboard",
            "TYK_DB_",
            "TYK_DB_OMITCONFIGFILE",
        ),
        ("pump", "/opt/tyk-pump/pump.conf", "tyk-pump.service", "tyk-pump", "TYK_PMP_", "TYK_PMP_OMITCONFIGFILE"),
        ("mdcb", "/opt/tyk-sink/tyk_sink.conf", "tyk-sink.service", "tyk-sink", "TYK_MDCB_", ""),
    ],
)
def test_where_things_are(component: str, path: str, service: str, package: str, prefix: str, omit: str) -> None:
    found = COMPONENTS[component]
    assert (found.config_path, found.service, found.packages[0]) == (path, service, package)
    assert (found.env_prefix, found.omit_config_env) == (prefix, omit)
    assert found.env_files == (f"/etc/default/{package}", f"/etc/sysconfig/{package}")


def test_the_table_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        COMPONENTS["other"] = COMPONENTS["pump"]  # type: ignore[index]
    with pytest.raises(dataclasses.FrozenInstanceError):
        COMPONENTS["pump"].settings["tls"].until = "0"  # type: ignore[misc]


def test_the_dotted_path_is_as_people_write_it() -> None:
    assert Setting("x", ("a", "b"), "string", ()).dotted == "a.b"
    assert Setting("x", (), "string", ("A_B",)).dotted == "A_B"
