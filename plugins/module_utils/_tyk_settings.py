# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What every Tyk component calls its Redis settings. A table, nothing else; private to this collection.

The same setting is spelt differently by each component (C(ca_file), C(ssl_ca_file), C(redis_ca_file)). Everything
that renders, reads or checks a configuration asks this table and has no spelling of its own.

How the components read these settings, which everybody who uses the table has to know:

* Environment variables win over the file. Gateway and Pump fill their structures from the file first and from the
  environment afterwards (tyk config/config.go:1641-1697, tyk-pump config.go:262-290). The names in C(env) come with
  the highest priority first.
* A variable that is set but empty counts as set: it clears strings, lists and maps, and is a fatal parse error for
  integers and booleans (envconfig v1.4.0 uses LookupEnv, envconfig.go:193).
* Booleans are what Go's ParseBool takes: 1 t T true TRUE True 0 f F false FALSE False. C(yes) and C(on) are errors.
* Lists are split at commas and the items are not trimmed. Maps are C(host:port,host:port); an item without exactly one
  colon is fatal for the Gateway (envconfig.go:320-327) and dropped silently by Pump (tyk-pump storage/store.go:86-99).
* The file goes through Go's encoding/json: keys match without regard to case, the last of several equal keys wins,
  duplicate objects merge, unknown keys are ignored without a word, and a value of another JSON type is an error
  (fatal for the Gateway; Pump logs it and skips the key).
* The address is C(addresses) if not empty, else every entry of C(hosts), else C(host):C(port) if the port is not 0,
  else 127.0.0.1:6379. A host without a port is therefore ignored silently
  (tyk config/util.go:89-107, TykTechnologies/storage temporal/internal/helper/redis.go:10-29).
* The client is the Sentinel one if C(sentinel_master) is not empty, else the cluster one if C(cluster) is true, else a
  plain one that uses the first address only (TykTechnologies/storage redisv9.go:93-100).

Where the facts come from (short names as used in C(source)):

* gw = TykTechnologies/tyk v5.14.0, commit 2e9450120e2b05f13457f441ee012cc57d6bd604
* pump = TykTechnologies/tyk-pump v1.16.0, commit e1981c0700e08a09d418f248e63e48998e838bfe
* lib = TykTechnologies/storage v1.3.4, commit f7017f6c9a50fcf23a3b1339eaa685305b839e39
* docs = TykTechnologies/tyk-docs main, commit 95922c952e677f1b455f06028c04b4b7bb9e10bf
* charts = TykTechnologies/tyk-charts, commit 39957f36

Dashboard and MDCB are closed source: their rows are documentation only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

STRING = "string"
INTEGER = "integer"
BOOLEAN = "boolean"
LIST = "list"
MAP = "map"

SECONDS = "seconds"
CONNECTIONS = "connections per Redis node and client"

TLS_VERSIONS = ("1.0", "1.1", "1.2", "1.3")


@dataclass(frozen=True)
class Setting:
    """One logical setting as one component spells it.

    C(since) is the first and C(until) the last version that reads the key; empty means "as far back as known" and
    "still read". C(note) says what is surprising about it.
    """

    logical: str
    path: tuple[str, ...]
    json_type: str
    env: tuple[str, ...]
    secret: bool
    unit: str
    since: str
    until: str
    source: str
    note: str = ""

    @property
    def dotted(self) -> str:
        """The path as people write it."""
        return ".".join(self.path)


@dataclass(frozen=True)
class Component:
    """One Tyk component: where its configuration is and what it calls things.

    C(settings) is the main store, by logical name. C(env_files) are the environment files of the packaged systemd
    unit in the order in which systemd reads them, so later ones win; all of them may be absent.
    C(omit_config_env) is the variable that makes the component ignore its file; empty when there is none.
    """

    name: str
    title: str
    config_path: str
    service: str
    package: str
    env_prefix: str
    env_files: tuple[str, ...]
    settings: Mapping[str, Setting]
    omit_config_env: str
    source: str


def _table(rows: Iterable[Setting]) -> Mapping[str, Setting]:
    return MappingProxyType({row.logical: row for row in rows})


_GW = "gw config/config.go:153-227"
_PUMP = "pump storage/store.go:25-82"
_DASHBOARD = "docs snippets/dashboard-config.mdx"
_MDCB = "docs snippets/mdcb-config.mdx; charts components/tyk-mdcb/templates/deployment-mdcb.yaml"
_TLS_LIBRARY = "lib temporal/internal/tlsconfig/tlsconfig.go"


def _gateway_store(section: str, env_section: str) -> Mapping[str, Setting]:
    """Rows of one store of the Gateway; its cache and analytics stores have the same keys below another section."""

    def row(
        logical: str,
        key: str,
        json_type: str,
        env: str,
        *,
        secret: bool = False,
        unit: str = "",
        since: str = "",
        until: str = "",
        source: str = "",
        note: str = "",
    ) -> Setting:
        return Setting(
            logical=logical,
            path=(section, key),
            json_type=json_type,
            env=(f"TYK_GW_{env_section}_{env}",),
            secret=secret,
            unit=unit,
            since=since,
            until=until,
            source=f"{_GW}; {source}" if source else _GW,
            note=note,
        )

    return _table(
        [
            row(
                "type",
                "type",
                STRING,
                "TYPE",
                source="gw gateway/server.go:1699-1701",
                note="Must be redis in lower case in the main store, otherwise the Gateway exits.",
            ),
            row(
                "addresses",
                "addrs",
                LIST,
                "ADDRS",
                since="2.9.3",
                source="gw config/config.go:162, commit 8e75109cf; gw config/util.go:89-107",
                note="Wins over hosts, host and port; the only form that can name two ports of one host.",
            ),
            row(
                "hosts",
                "hosts",
                MAP,
                "HOSTS",
                source="gw config/config.go:160, config/util.go:92-97",
                note="Deprecated since 2.9.3, still read when addrs is empty. Ports are strings.",
            ),
            row("host", "host", STRING, "HOST", source="gw config/util.go:89-107"),
            row(
                "port",
                "port",
                INTEGER,
                "PORT",
                source="gw config/util.go:100-103; go-redis v9.18.0 universal.go:154,216,283",
                note="0 or missing makes the Gateway ignore host silently and dial 127.0.0.1:6379.",
            ),
            row(
                "cluster",
                "enable_cluster",
                BOOLEAN,
                "ENABLECLUSTER",
                source="lib redisv9.go:93-100; gw commit 8e75109cf",
                note="Never inferred from the number of addresses.",
            ),
            row(
                "username",
                "username",
                STRING,
                "USERNAME",
                since="3.0.2",
                source="gw storage/connection_handler.go:254; tag scan of cfg.Username",
                note="Parsed by older versions, passed to the driver from 2.9.6, 3.0.2 and 3.1.1.",
            ),
            row(
                "password",
                "password",
                STRING,
                "PASSWORD",
                secret=True,
                source="gw gateway/server.go:1955-1963, 2045-2095",
                note="env://, secrets://, consul://, vault:// and, from 5.14.0, file:// are resolved at start.",
            ),
            row(
                "database",
                "database",
                INTEGER,
                "DATABASE",
                source="gw storage/connection_handler.go:263; go-redis v9.18.0 universal.go:154-213",
                note="Ignored silently in cluster mode.",
            ),
            row(
                "sentinel_master",
                "master_name",
                STRING,
                "MASTERNAME",
                since="2.9.3",
                source="gw config/config.go:164, commit fc854e966; lib redisv9.go:94",
                note="Not empty: Sentinel client, whatever enable_cluster says.",
            ),
            row(
                "sentinel_password",
                "sentinel_password",
                STRING,
                "SENTINELPASSWORD",
                secret=True,
                since="3.0.2",
                source="gw config/config.go:166, commit e69dc42da",
                note="Also in 2.9.6, absent in 3.1.0.",
            ),
            row(
                "pool_size",
                "optimisation_max_active",
                INTEGER,
                "MAXACTIVE",
                unit=CONNECTIONS,
                source="gw storage/connection_handler.go:241-245,264; gw internal/rate/storage.go:18-21",
                note="0 or less means 500. The Gateway opens up to four such pools to every node.",
            ),
            row(
                "idle_pool_size",
                "optimisation_max_idle",
                INTEGER,
                "MAXIDLE",
                unit=CONNECTIONS,
                until="2.9.2",
                source="git grep MaxIdle over v2.9.2..v5.14.0; tyk PR 2576",
                note="Parsed and ignored since the move to go-redis in 2.9.3 and 3.0.0.",
            ),
            row(
                "timeout",
                "timeout",
                INTEGER,
                "TIMEOUT",
                unit=SECONDS,
                since="2.7.7",
                source="gw storage/connection_handler.go:247-250; lib redisv9.go:44-79",
                note="Dial, read and write timeout; 0 or less means 5.",
            ),
            row(
                "tls",
                "use_ssl",
                BOOLEAN,
                "USESSL",
                since="2.6.0",
                source="gw storage/connection_handler.go:269; tyk PR 1513",
                note="All other TLS keys are ignored while this is false.",
            ),
            row(
                "tls_skip_verify",
                "ssl_insecure_skip_verify",
                BOOLEAN,
                "SSLINSECURESKIPVERIFY",
                since="2.6.0",
                source="gw config/config.go:184",
            ),
            row(
                "tls_ca",
                "ca_file",
                STRING,
                "CAFILE",
                since="5.3.0",
                source=f"{_TLS_LIBRARY}:12-39; tag scan of gw internal/rate/storage.go; release notes 5.8.6 and 5.10.0",
                note="The rate limiter honours it only from 5.8.6 (5.8 line) and 5.10.0.",
            ),
            row(
                "tls_cert",
                "cert_file",
                STRING,
                "CERTFILE",
                since="5.3.0",
                source=f"{_TLS_LIBRARY}:17-24",
                note="Ignored without a word unless key_file is set too.",
            ),
            row(
                "tls_key",
                "key_file",
                STRING,
                "KEYFILE",
                since="5.3.0",
                source=f"{_TLS_LIBRARY}:17-24",
                note="Ignored without a word unless cert_file is set too.",
            ),
            row(
                "tls_min_version",
                "tls_min_version",
                STRING,
                "TLSMINVERSION",
                since="5.3.0",
                source=f"gw config/config.go:198, commit 6dac26dac; {_TLS_LIBRARY}:51-90",
                note="min_version, which older documentation names, is not read.",
            ),
            row(
                "tls_max_version",
                "tls_max_version",
                STRING,
                "TLSMAXVERSION",
                since="5.3.0",
                source=f"gw config/config.go:194, commit 6dac26dac; {_TLS_LIBRARY}:51-90",
                note="max_version, which older documentation names, is not read.",
            ),
        ]
    )


def _dashboard_store() -> Mapping[str, Setting]:
    """Rows of the Dashboard: flat keys at the top level. Its C(storage) object is MongoDB or SQL, never Redis."""

    def row(
        logical: str,
        key: str,
        json_type: str,
        env: str,
        *,
        secret: bool = False,
        unit: str = "",
        since: str = "",
        source: str = "",
        note: str = "",
    ) -> Setting:
        return Setting(
            logical=logical,
            path=(key,),
            json_type=json_type,
            env=(f"TYK_DB_{env}",),
            secret=secret,
            unit=unit,
            since=since,
            until="",
            source=f"{_DASHBOARD}; {source}" if source else _DASHBOARD,
            note=note,
        )

    return _table(
        [
            row(
                "addresses",
                "redis_addrs",
                LIST,
                "REDISADDRS",
                since="1.9.3",
                source="docs 4965337c3^ redis-cluster-sentinel.mdx; charts deployment-dashboard.yaml:180",
                note="Wins over redis_hosts, redis_host and redis_port.",
            ),
            row(
                "hosts",
                "redis_hosts",
                MAP,
                "HOSTS",
                source="tyk-docs-hugo#1262",
                note="Deprecated since 1.9.3. The variable has no REDIS in its name.",
            ),
            row("host", "redis_host", STRING, "REDISHOST"),
            row("port", "redis_port", INTEGER, "REDISPORT"),
            row(
                "cluster",
                "enable_cluster",
                BOOLEAN,
                "ENABLECLUSTER",
                note="The only Redis key of the Dashboard without the prefix redis_.",
            ),
            row("username", "redis_username", STRING, "REDISUSERNAME", since="3.0.2", source="tyk-docs-hugo PR 1500"),
            row("password", "redis_password", STRING, "REDISPASSWORD", secret=True),
            row("database", "redis_database", INTEGER, "REDISDATABASE", note="Leave 0 with a cluster."),
            row("sentinel_master", "redis_master_name", STRING, "REDISMASTERNAME", since="1.9.3"),
            row(
                "sentinel_password",
                "redis_sentinel_password",
                STRING,
                "REDISSENTINELPASSWORD",
                secret=True,
                since="3.0.2",
                source="tyk-docs-hugo PR 1500",
            ),
            row(
                "pool_size",
                "redis_max_active",
                INTEGER,
                "REDISMAXACTIVE",
                unit=CONNECTIONS,
                note="There is no documented key for idle connections.",
            ),
            row("timeout", "redis_timeout", INTEGER, "REDISTIMEOUT", unit=SECONDS),
            row("tls", "redis_use_ssl", BOOLEAN, "REDISUSESSL", since="1.6"),
            row(
                "tls_skip_verify",
                "redis_ssl_insecure_skip_verify",
                BOOLEAN,
                "REDISSSLINSECURESKIPVERIFY",
                since="1.6",
            ),
            row("tls_ca", "redis_ca_file", STRING, "REDISCAFILE", since="5.3.0"),
            row("tls_cert", "redis_cert_file", STRING, "REDISCERTFILE", since="5.3.0"),
            row("tls_key", "redis_key_file", STRING, "REDISKEYFILE", since="5.3.0"),
            row("tls_min_version", "redis_tls_min_version", STRING, "REDISTLSMINVERSION", since="5.3.0"),
            row("tls_max_version", "redis_tls_max_version", STRING, "REDISTLSMAXVERSION", since="5.3.0"),
        ]
    )


def _pump_store() -> Mapping[str, Setting]:
    """Rows of Pump, whose environment has three families for the one section: the newest name wins.

    Low to high: pump.conf, TYK_PMP_ANALYTICSSTORAGECONFIG_*, TYK_PMP_REDIS_* (deprecated, still read),
    TYK_PMP_TEMPORAL_STORAGE_* (from 1.9.0); pump storage/temporal_storage.go:25-27,76-84.
    """

    def row(
        logical: str,
        key: str,
        json_type: str,
        env: str,
        *,
        secret: bool = False,
        unit: str = "",
        since: str = "",
        until: str = "",
        source: str = "",
        note: str = "",
    ) -> Setting:
        return Setting(
            logical=logical,
            path=("analytics_storage_config", key),
            json_type=json_type,
            env=(
                f"TYK_PMP_TEMPORAL_STORAGE_{env}",
                f"TYK_PMP_REDIS_{env}",
                f"TYK_PMP_ANALYTICSSTORAGECONFIG_{env}",
            ),
            secret=secret,
            unit=unit,
            since=since,
            until=until,
            source=f"{_PUMP}; {source}" if source else _PUMP,
            note=note,
        )

    return _table(
        [
            Setting(
                logical="store_type",
                path=("analytics_storage_type",),
                json_type=STRING,
                env=("TYK_PMP_ANALYTICSSTORAGETYPE",),
                secret=False,
                unit="",
                since="",
                until="",
                source="pump main.go:117-158",
                note="Empty or redis; anything else is fatal.",
            ),
            row(
                "type",
                "type",
                STRING,
                "TYPE",
                source="pump storage/temporal_storage.go:109-111",
                note="Empty or redis; anything else is fatal.",
            ),
            row(
                "addresses",
                "addrs",
                LIST,
                "ADDRS",
                since="0.8.4",
                source="pump commit 3147a99d",
                note="Wins over hosts, host and port.",
            ),
            row(
                "hosts",
                "hosts",
                MAP,
                "HOSTS",
                source="pump storage/store.go:86-99",
                note="Deprecated since 0.8.4, still read when addrs is empty. Ports are strings.",
            ),
            row("host", "host", STRING, "HOST", source="lib temporal/internal/helper/redis.go:10-29"),
            row("port", "port", INTEGER, "PORT", source="lib temporal/internal/helper/redis.go:10-29"),
            row("cluster", "enable_cluster", BOOLEAN, "ENABLECLUSTER"),
            row(
                "username",
                "username",
                STRING,
                "USERNAME",
                since="1.2.0",
                source="tag scan of config.Username",
                note="Parsed by older versions, passed to the driver from 1.2.0.",
            ),
            row(
                "password", "password", STRING, "PASSWORD", secret=True, note="No references such as env:// up to 1.16."
            ),
            row("database", "database", INTEGER, "DATABASE", note="Ignored in cluster mode."),
            row("sentinel_master", "master_name", STRING, "MASTERNAME", since="0.8.4"),
            row(
                "sentinel_password",
                "sentinel_password",
                STRING,
                "SENTINELPASSWORD",
                secret=True,
                since="1.2.0",
                source="tyk-pump PR 288",
            ),
            row(
                "pool_size",
                "optimisation_max_active",
                INTEGER,
                "MAXACTIVE",
                unit=CONNECTIONS,
                source="pump storage/temporal_storage.go:149-152",
                note="0 or less means 500.",
            ),
            row(
                "idle_pool_size",
                "optimisation_max_idle",
                INTEGER,
                "MAXIDLE",
                unit=CONNECTIONS,
                until="0.8.3",
                note="Parsed and ignored since the move to go-redis in 0.8.4.",
            ),
            row(
                "timeout",
                "timeout",
                INTEGER,
                "TIMEOUT",
                unit=SECONDS,
                source="pump storage/temporal_storage.go:154-166; lib redisv9.go:44-47",
                note="Seconds, although the comment on the field in the source says milliseconds.",
            ),
            row("tls", "use_ssl", BOOLEAN, "USESSL", since="1.9.0", source="tag scan"),
            row(
                "tls_legacy",
                "redis_use_ssl",
                BOOLEAN,
                "REDISUSESSL",
                since="0.5.2",
                source="pump storage/temporal_storage.go:175-183",
                note="The older switch: either of the two turns TLS on.",
            ),
            row(
                "tls_skip_verify",
                "ssl_insecure_skip_verify",
                BOOLEAN,
                "SSLINSECURESKIPVERIFY",
                since="1.9.0",
                source="tag scan",
            ),
            row(
                "tls_skip_verify_legacy",
                "redis_ssl_insecure_skip_verify",
                BOOLEAN,
                "REDISSSLINSECURESKIPVERIFY",
                since="0.5.2",
                source="pump storage/temporal_storage.go:175-183",
                note="The older switch: either of the two turns verification off.",
            ),
            row("tls_ca", "ssl_ca_file", STRING, "SSLCAFILE", since="1.9.0", source="pump commit 407c3739"),
            row("tls_cert", "ssl_cert_file", STRING, "SSLCERTFILE", since="1.9.0", note="Needs ssl_key_file."),
            row("tls_key", "ssl_key_file", STRING, "SSLKEYFILE", since="1.9.0", note="Needs ssl_cert_file."),
            row(
                "tls_min_version",
                "ssl_min_version",
                STRING,
                "SSLMINVERSION",
                since="1.9.0",
                source=f"{_TLS_LIBRARY}:51-90",
            ),
            row(
                "tls_max_version",
                "ssl_max_version",
                STRING,
                "SSLMAXVERSION",
                since="1.9.0",
                source=f"{_TLS_LIBRARY}:51-90",
            ),
        ]
    )


def _mdcb_store(section: str, env_section: str) -> Mapping[str, Setting]:
    """Rows of one store of MDCB; its analytics store has the same keys below another section.

    The documentation and the official charts disagree about the variables of the TLS files: both names are listed,
    the documented one first.
    """

    def row(
        logical: str,
        key: str,
        json_type: str,
        *env: str,
        secret: bool = False,
        unit: str = "",
        since: str = "",
        note: str = "",
    ) -> Setting:
        return Setting(
            logical=logical,
            path=(section, key),
            json_type=json_type,
            env=tuple(f"TYK_MDCB_{env_section}_{name}" for name in env),
            secret=secret,
            unit=unit,
            since=since,
            until="",
            source=_MDCB,
            note=note,
        )

    charts_differ = "The second variable is the one of the official charts; which of the two is read is not known."
    return _table(
        [
            row("type", "type", STRING, "TYPE", note="Only redis is supported."),
            row("addresses", "addrs", LIST, "ADDRS", note="Wins over hosts."),
            row("hosts", "hosts", MAP, "HOSTS"),
            row("host", "host", STRING, "HOST"),
            row("port", "port", INTEGER, "PORT"),
            row("cluster", "enable_cluster", BOOLEAN, "ENABLECLUSTER"),
            row("username", "username", STRING, "USERNAME"),
            row("password", "password", STRING, "PASSWORD", secret=True),
            row("database", "database", INTEGER, "DATABASE", note="Leave 0 with a cluster."),
            row("sentinel_master", "master_name", STRING, "MASTERNAME"),
            row("sentinel_password", "sentinel_password", STRING, "SENTINELPASSWORD", secret=True),
            row("pool_size", "optimisation_max_active", INTEGER, "MAXACTIVE", unit=CONNECTIONS),
            row(
                "idle_pool_size",
                "optimisation_max_idle",
                INTEGER,
                "MAXIDLE",
                unit=CONNECTIONS,
                note="Whether any version still uses it is not known.",
            ),
            row("timeout", "timeout", INTEGER, "TIMEOUT", unit=SECONDS),
            row("tls", "use_ssl", BOOLEAN, "USESSL", since="2.5.0"),
            row(
                "tls_legacy",
                "redis_use_ssl",
                BOOLEAN,
                "REDISUSESSL",
                since="1.5.3",
                note="The older switch: either of the two turns TLS on.",
            ),
            row("tls_skip_verify", "ssl_insecure_skip_verify", BOOLEAN, "SSLINSECURESKIPVERIFY", since="2.5.0"),
            row(
                "tls_skip_verify_legacy",
                "redis_ssl_insecure_skip_verify",
                BOOLEAN,
                "REDISSSLINSECURESKIPVERIFY",
                since="1.5.3",
                note="The older switch: either of the two turns verification off.",
            ),
            row("tls_ca", "ca_file", STRING, "CAFILE", "REDISSSLCAFILE", since="2.5.0", note=charts_differ),
            row("tls_cert", "cert_file", STRING, "CERTFILE", "REDISSSLCERTFILE", since="2.5.0", note=charts_differ),
            row("tls_key", "key_file", STRING, "KEYFILE", "REDISSSLKEYFILE", since="2.5.0", note=charts_differ),
            row(
                "tls_min_version",
                "min_version",
                STRING,
                "MINVERSION",
                "REDISSSLMINVERSION",
                since="2.5.0",
                note=charts_differ,
            ),
            row(
                "tls_max_version",
                "max_version",
                STRING,
                "MAXVERSION",
                "REDISSSLMAXVERSION",
                since="2.5.0",
                note=charts_differ,
            ),
        ]
    )


COMPONENTS: Mapping[str, Component] = MappingProxyType(
    {
        "gateway": Component(
            name="gateway",
            title="Tyk Gateway",
            config_path="/opt/tyk-gateway/tyk.conf",
            service="tyk-gateway.service",
            package="tyk-gateway",
            env_prefix="TYK_GW_",
            env_files=("/etc/default/tyk-gateway", "/etc/sysconfig/tyk-gateway"),
            settings=_gateway_store("storage", "STORAGE"),
            omit_config_env="TYK_GW_OMITCONFIGFILE",
            source="gw ci/goreleaser/goreleaser.yml:289-335, ci/install/inits/systemd/system/tyk-gateway.service, "
            "config/config.go:1682-1697",
        ),
        "dashboard": Component(
            name="dashboard",
            title="Tyk Dashboard",
            config_path="/opt/tyk-dashboard/tyk_analytics.conf",
            service="tyk-dashboard.service",
            package="tyk-dashboard",
            env_prefix="TYK_DB_",
            # Only the second is seen in use (tyk-ansible); the first follows the units of the open components.
            env_files=("/etc/default/tyk-dashboard", "/etc/sysconfig/tyk-dashboard"),
            settings=_dashboard_store(),
            omit_config_env="TYK_DB_OMITCONFIGFILE",
            source="docs install/linux.mdx; tyk-ansible 5eb08ab9 roles/dashboard/tasks/configure.yaml; "
            "release notes 4.1, Dashboard, for the variable",
        ),
        "pump": Component(
            name="pump",
            title="Tyk Pump",
            config_path="/opt/tyk-pump/pump.conf",
            service="tyk-pump.service",
            package="tyk-pump",
            env_prefix="TYK_PMP_",
            env_files=("/etc/default/tyk-pump", "/etc/sysconfig/tyk-pump"),
            settings=_pump_store(),
            omit_config_env="TYK_PMP_OMITCONFIGFILE",
            source="pump ci/goreleaser/goreleaser.yml, ci/install/inits/systemd/system/tyk-pump.service, "
            "config.go:262-273,293-296",
        ),
        "mdcb": Component(
            name="mdcb",
            title="Tyk MDCB",
            config_path="/opt/tyk-sink/tyk_sink.conf",
            service="tyk-sink.service",
            package="tyk-sink",
            env_prefix="TYK_MDCB_",
            # Not verified: these follow the units of the open components.
            env_files=("/etc/default/tyk-sink", "/etc/sysconfig/tyk-sink"),
            settings=_mdcb_store("storage", "STORAGE"),
            omit_config_env="",
            source="docs api-management/mdcb.mdx, install/linux.mdx",
        ),
    }
)
