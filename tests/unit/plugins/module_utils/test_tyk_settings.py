# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The table against a list that was written by hand from the same sources, and not derived from the table."""

from __future__ import annotations

import dataclasses

import pytest

from ansible_collections.apiops.tyk_redis.plugins.module_utils._tyk_settings import COMPONENTS, Setting

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
    # Below analytics_storage_config, with three families of variables each (PUMP_FAMILIES); only the first is alone.
    "pump": """
        store_type             | analytics_storage_type            | string  | !ANALYTICSSTORAGETYPE
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

VERSIONS = {
    "gateway": {
        "addresses": ("2.9.3", ""),
        "sentinel_master": ("2.9.3", ""),
        "sentinel_password": ("3.0.2", ""),
        "username": ("3.0.2", ""),
        "idle_pool_size": ("", "2.9.2"),
        "timeout": ("2.7.7", ""),
        "tls": ("2.6.0", ""),
        "tls_ca": ("5.3.0", ""),
        "tls_min_version": ("5.3.0", ""),
    },
    "dashboard": {
        "addresses": ("1.9.3", ""),
        "username": ("3.0.2", ""),
        "sentinel_password": ("3.0.2", ""),
        "tls": ("1.6", ""),
        "tls_ca": ("5.3.0", ""),
    },
    "pump": {
        "addresses": ("0.8.4", ""),
        "username": ("1.2.0", ""),
        "idle_pool_size": ("", "0.8.3"),
        "tls": ("1.9.0", ""),
        "tls_legacy": ("0.5.2", ""),
        "tls_key": ("1.9.0", ""),
    },
    "mdcb": {"tls": ("2.5.0", ""), "tls_legacy": ("1.5.3", "")},
}


def variables(component: str, text: str) -> tuple[str, ...]:
    if component == "pump":
        if text.startswith("!"):
            return (f"TYK_PMP_{text[1:]}",)
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
    }
    assert table == by_hand(component)


@pytest.mark.parametrize("component", VERSIONS)
def test_versions(component: str) -> None:
    settings = COMPONENTS[component].settings
    found = {logical: (settings[logical].since, settings[logical].until) for logical in VERSIONS[component]}
    assert found == VERSIONS[component]


@pytest.mark.parametrize("component", COMPONENTS)
def test_secrets_are_the_passwords_and_nothing_else(component: str) -> None:
    secrets = {name for name, setting in COMPONENTS[component].settings.items() if setting.secret}
    assert secrets == {"password", "sentinel_password"}


@pytest.mark.parametrize("component", COMPONENTS)
def test_every_fact_has_a_source_and_every_timeout_a_unit(component: str) -> None:
    settings = COMPONENTS[component].settings
    assert all(setting.source for setting in settings.values())
    assert COMPONENTS[component].source
    assert settings["timeout"].unit == "seconds"


@pytest.mark.parametrize("component", COMPONENTS)
def test_no_path_and_no_variable_is_there_twice(component: str) -> None:
    settings = COMPONENTS[component].settings.values()
    paths = [setting.path for setting in settings]
    names = [name for setting in settings for name in setting.env]
    assert len(set(paths)) == len(paths)
    assert len(set(names)) == len(names)


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
    assert (found.config_path, found.service, found.package) == (path, service, package)
    assert (found.env_prefix, found.omit_config_env) == (prefix, omit)
    assert found.env_files == (f"/etc/default/{package}", f"/etc/sysconfig/{package}")


def test_the_table_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        COMPONENTS["other"] = COMPONENTS["pump"]  # type: ignore[index]
    with pytest.raises(dataclasses.FrozenInstanceError):
        COMPONENTS["pump"].settings["tls"].since = "0"  # type: ignore[misc]


def test_the_dotted_path_is_as_people_write_it() -> None:
    setting = Setting("x", ("a", "b"), "string", (), False, "", "", "", "here")
    assert setting.dotted == "a.b"
