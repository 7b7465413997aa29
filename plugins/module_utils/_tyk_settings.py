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
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from ansible_collections.apiops.tyk_redis.plugins.module_utils._tyk_versions import (
    Version,
    parse,
    passed,
    reached,
)

STRING = "string"
INTEGER = "integer"
BOOLEAN = "boolean"
LIST = "list"
MAP = "map"

SECONDS = "seconds"
CONNECTIONS = "connections per Redis node and client"
BYTES = "bytes"

TLS_VERSIONS = ("1.0", "1.1", "1.2", "1.3")

# What a component does with a store: two components that have the same purpose have to use the same Redis for it.
MAIN = "main"
CACHE = "cache"
ANALYTICS = "analytics"


@dataclass(frozen=True)
class Setting:
    """One logical setting as one component spells it.

    * C(path) is the way to it through the JSON file; empty for what only the environment can say.
    * C(env) are its variables, the strongest first; C(env_since) the first versions that know each of them, in the
      same order (see C(_tyk_versions)), empty when all are as old as the setting.
    * C(default) is what the component does when nobody sets it, as text; empty when that is nothing or not known.
    * C(since) are the first versions that read it, one for each release line; C(until) is the last one. Empty means
      "as far back as known" and "still read".
    * C(references) says which forms of a reference to a secret elsewhere the component resolves in this very setting,
      with the first versions that do.
    * C(verified) is false where only documentation says so, because the component is closed source.
    * C(unsure) is true where sources name several variables and nobody can tell which of them is read.
    * C(note) says what is surprising about it.
    """

    logical: str
    path: tuple[str, ...]
    json_type: str
    env: tuple[str, ...]
    secret: bool = False
    unit: str = ""
    default: str = ""
    since: tuple[str, ...] = ()
    until: str = ""
    source: str = ""
    note: str = ""
    env_since: tuple[tuple[str, ...], ...] = ()
    references: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    verified: bool = True
    unsure: bool = False

    @property
    def dotted(self) -> str:
        """The name as people write it: the path, or the variable of what has no path."""
        return ".".join(self.path) or self.env[0]

    def read_by(self, version: Version | None) -> bool:
        """Whether this version of the component reads the setting; None is the newest."""
        return reached(version, self.since) and not passed(version, self.until)

    def variables(self, version: Version | None) -> tuple[str, ...]:
        """The variables that this version reads, the strongest first."""
        if not self.env_since:
            return self.env
        return tuple(name for name, since in zip(self.env, self.env_since) if reached(version, since))

    def resolves(self, scheme: str, version: Version) -> bool:
        """Whether this version resolves a reference of this form, such as env, here."""
        return scheme in self.references and reached(version, self.references[scheme])


@dataclass(frozen=True)
class Section:
    """One store of a component: the object in its file, or the keys, that say which Redis it uses.

    * C(purposes) is what it is for when all sections are in use; a store that is not in use leaves its purpose to the
      first one.
    * C(enabled_by) are the flags that must all be true for it to be in use.
    """

    name: str
    title: str
    purposes: tuple[str, ...]
    settings: Mapping[str, Setting]
    enabled_by: tuple[str, ...] = ()
    since: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class Component:
    """One Tyk component: where its configuration is and what it calls things.

    * C(sections) are its stores, the main one first. C(section) is the one that C(settings) speaks of.
    * C(flags) are settings beside the stores that decide about Redis.
    * C(health) are settings that say where the component tells how it is, for the one that is asked there.
    * C(env_files) are the environment files of the packaged systemd unit in the order in which systemd reads them, so
      later ones win; all of them may be absent.
    * C(newest) is the newest release that the table has been compared with.
    * C(packages) are the names under which the package comes, the usual one first.
    * C(omit_config_env) is the variable that makes the component ignore its file; empty when there is none.
    """

    name: str
    title: str
    config_path: str
    service: str
    packages: tuple[str, ...]
    env_prefix: str
    env_files: tuple[str, ...]
    sections: Mapping[str, Section]
    flags: Mapping[str, Setting]
    omit_config_env: str
    newest: str
    source: str
    section: str = ""
    health: Mapping[str, Setting] = field(default_factory=dict)

    @property
    def settings(self) -> Mapping[str, Setting]:
        """The settings of the section in hand, by logical name."""
        return self.sections[self.section].settings

    def assumed(self, version: Version | None) -> Version:
        """The version to reckon with where a mistake would do harm: that of the newest release if none is known."""
        return version or parse(self.newest)

    @property
    def main(self) -> str:
        """The name of the first section."""
        return next(iter(self.sections))

    def at(self, section: str) -> Component:
        """The same component with another of its sections in hand."""
        return replace(self, section=section)

    def every(self) -> Iterable[Setting]:
        """All settings of all sections, and the flags."""
        for section in self.sections.values():
            yield from section.settings.values()
        yield from self.flags.values()


_GW = "gw config/config.go:153-227"
_PUMP = "pump storage/store.go:25-82"
_DASHBOARD = "docs snippets/dashboard-config.mdx"
_MDCB = "docs snippets/mdcb-config.mdx; charts components/tyk-mdcb/templates/deployment-mdcb.yaml"
_TLS_LIBRARY = "lib temporal/internal/tlsconfig/tlsconfig.go"
# The first releases whose driver is go-redis, in which much of this table begins or ends.
_GO_REDIS = ("2.9.3", "3.0.0")
_USERS = ("2.9.6", "3.0.2", "3.1.1")
_ANALYTICS_STORE = ("2.9.6", "3.0.5", "3.2.0")


class _Rows:
    """Collects the rows of one section, whose settings share their path, variables and source."""

    def __init__(
        self,
        path: tuple[str, ...],
        env: tuple[str, ...],
        source: str,
        *,
        since: tuple[str, ...] = (),
        env_since: tuple[tuple[str, ...], ...] = (),
        verified: bool = True,
    ) -> None:
        self._path = path
        self._env = env
        self._source = source
        self._since = since
        self._env_since = env_since
        self._verified = verified
        self._rows: dict[str, Setting] = {}

    def add(
        self,
        logical: str,
        key: str,
        json_type: str,
        *env: str,
        since: tuple[str, ...] = (),
        source: str = "",
        **more: Any,
    ) -> None:
        """Add the setting C(key) with the variables that end with C(env)."""
        # No setting is older than its section.
        young = bool(since) and (not self._since or parse(since[-1]) > parse(self._since[-1]))
        self._rows[logical] = Setting(
            logical=logical,
            path=(*self._path, *key.split(".")),
            json_type=json_type,
            env=tuple(prefix + name for prefix in self._env for name in env),
            env_since=self._env_since,
            since=since if young else self._since,
            source=f"{self._source}; {source}" if source else self._source,
            verified=self._verified,
            **more,
        )

    def table(self) -> Mapping[str, Setting]:
        return MappingProxyType(self._rows)


def _gateway_store(
    section: str, env_section: str, *, since: tuple[str, ...] = (), references: Mapping[str, tuple[str, ...]]
) -> Mapping[str, Setting]:
    """Rows of one store of the Gateway. All of them have the same keys."""
    rows = _Rows((section,), (f"TYK_GW_{env_section}_",), _GW, since=since)
    main = section == "storage"
    rows.add(
        "type",
        "type",
        STRING,
        "TYPE",
        source="gw gateway/server.go:1699-1701",
        note="Must be redis in lower case, otherwise the Gateway exits." if main else "Not looked at in this section.",
    )
    rows.add(
        "addresses",
        "addrs",
        LIST,
        "ADDRS",
        since=_GO_REDIS,
        source="gw config/config.go:162, commits 8e75109cf and 7a923c957; gw config/util.go:89-107",
        note="Wins over hosts, host and port; the only form that can name two ports of one host.",
    )
    rows.add(
        "hosts",
        "hosts",
        MAP,
        "HOSTS",
        source="gw config/config.go:160, config/util.go:92-97",
        note="Deprecated since 2.9.3, still read when addrs is empty. Ports are strings.",
    )
    rows.add("host", "host", STRING, "HOST", source="gw config/util.go:89-107")
    rows.add(
        "port",
        "port",
        INTEGER,
        "PORT",
        default="0",
        source="gw config/util.go:100-103; go-redis v9.18.0 universal.go:154,216,283",
        note="0 or missing makes the Gateway ignore host silently and dial 127.0.0.1:6379.",
    )
    rows.add(
        "cluster",
        "enable_cluster",
        BOOLEAN,
        "ENABLECLUSTER",
        default="false",
        source="lib redisv9.go:93-100; gw commit 8e75109cf",
        note="Never inferred from the number of addresses.",
    )
    rows.add(
        "username",
        "username",
        STRING,
        "USERNAME",
        since=_USERS,
        source="gw storage/connection_handler.go:254; tag scan of cfg.Username",
        note="Parsed by older versions too, but not passed to the driver. Without a password it is not used.",
    )
    rows.add(
        "password",
        "password",
        STRING,
        "PASSWORD",
        secret=True,
        references=references,
        source="gw gateway/server.go:1955-1963, 2045-2095; tag scan of both; gw v5.15.0-rc7 gateway/kv.go:45-120 for kv://",
        note=(
            "References are resolved at the start only; one that the environment should hold and does not is taken for "
            "an empty password without a word."
            if references
            else "References are not resolved here."
        ),
    )
    rows.add(
        "database",
        "database",
        INTEGER,
        "DATABASE",
        default="0",
        source="gw storage/connection_handler.go:263; go-redis v9.18.0 universal.go:154-213",
        note="Ignored silently in cluster mode.",
    )
    rows.add(
        "sentinel_master",
        "master_name",
        STRING,
        "MASTERNAME",
        since=_GO_REDIS,
        source="gw config/config.go:164, commit fc854e966; lib redisv9.go:94",
        note="Not empty: Sentinel client, whatever enable_cluster says.",
    )
    rows.add(
        "sentinel_password",
        "sentinel_password",
        STRING,
        "SENTINELPASSWORD",
        secret=True,
        since=_USERS,
        source="gw config/config.go:166, commit e69dc42da",
        note="Of the Sentinels themselves; a user name for them cannot be set.",
    )
    rows.add(
        "pool_size",
        "optimisation_max_active",
        INTEGER,
        "MAXACTIVE",
        unit=CONNECTIONS,
        default="500",
        source="gw storage/connection_handler.go:241-245,264; gw internal/rate/storage.go:18-21",
        note="0 or less means 500. The Gateway opens up to four such pools to every node.",
    )
    rows.add(
        "idle_pool_size",
        "optimisation_max_idle",
        INTEGER,
        "MAXIDLE",
        unit=CONNECTIONS,
        until="2.9.2",
        source="git grep MaxIdle over v2.9.2..v5.14.0; tyk PR 2576",
        note="Parsed and ignored since the move to go-redis in 2.9.3 and 3.0.0.",
    )
    rows.add(
        "timeout",
        "timeout",
        INTEGER,
        "TIMEOUT",
        unit=SECONDS,
        default="5",
        since=("2.7.7", "2.8.0"),
        source="gw storage/connection_handler.go:247-250; lib redisv9.go:44-79",
        note="Dial, read and write timeout; 0 or less means 5. Idle connections are closed after 240 times as long.",
    )
    rows.add(
        "tls",
        "use_ssl",
        BOOLEAN,
        "USESSL",
        default="false",
        since=("2.6.0",),
        source="gw storage/connection_handler.go:269; tyk PR 1513",
        note="All other TLS keys are ignored while this is false.",
    )
    rows.add(
        "tls_skip_verify",
        "ssl_insecure_skip_verify",
        BOOLEAN,
        "SSLINSECURESKIPVERIFY",
        default="false",
        since=("2.6.0",),
        source="gw config/config.go:184",
    )
    rows.add(
        "tls_ca",
        "ca_file",
        STRING,
        "CAFILE",
        default="the system's authorities",
        since=("5.3.0",),
        source=f"{_TLS_LIBRARY}:12-39; tag scan of gw internal/rate/storage.go; release notes 5.8.6 and 5.10.0",
        note="The rate limiter honours it only from 5.8.6 (line 5.8) and 5.10.0.",
    )
    rows.add(
        "tls_cert",
        "cert_file",
        STRING,
        "CERTFILE",
        since=("5.3.0",),
        source=f"{_TLS_LIBRARY}:17-24",
        note="Ignored without a word unless key_file is set too.",
    )
    rows.add(
        "tls_key",
        "key_file",
        STRING,
        "KEYFILE",
        since=("5.3.0",),
        source=f"{_TLS_LIBRARY}:17-24",
        note="Ignored without a word unless cert_file is set too.",
    )
    rows.add(
        "tls_min_version",
        "tls_min_version",
        STRING,
        "TLSMINVERSION",
        default="1.2",
        since=("5.3.0",),
        source=f"gw config/config.go:198, commit 6dac26dac; {_TLS_LIBRARY}:51-90",
        note="min_version, which older documentation names, is not read.",
    )
    rows.add(
        "tls_max_version",
        "tls_max_version",
        STRING,
        "TLSMAXVERSION",
        default="1.3",
        since=("5.3.0",),
        source=f"gw config/config.go:194, commit 6dac26dac; {_TLS_LIBRARY}:51-90",
        note="max_version, which older documentation names, is not read.",
    )
    _add_iam(rows, ("5.15.0",), "gw branch release-5.15.0 config/config.go, storage/iam_auth.go")
    if main:
        backups = "Of the backups that a Gateway of an MDCB data plane keeps in Redis."
        rows.add(
            "compress_api_definitions",
            "compress_api_definitions",
            BOOLEAN,
            "COMPRESSAPIDEFINITIONS",
            default="false",
            since=("5.12.0",),
            source="gw config/config.go:209; release notes 5.12.0",
            note=backups,
        )
        rows.add(
            "compress_policies",
            "compress_policies",
            BOOLEAN,
            "COMPRESSPOLICIES",
            default="false",
            since=("5.13.0",),
            source="gw config/config.go:221; release notes 5.13.0",
            note=backups,
        )
        rows.add(
            "max_decompressed_size",
            "max_decompressed_size",
            INTEGER,
            "MAXDECOMPRESSEDSIZE",
            unit=BYTES,
            default="104857600",
            since=("5.13.0",),
            source="gw config/config.go:226; gw gateway/server.go:505-507",
            note=f"0 means 100 MiB. {backups}",
        )
    return rows.table()


def _add_iam(rows: _Rows, since: tuple[str, ...], source: str) -> None:
    """The rows about tokens of a cloud's identity service; there are only release candidates with them so far."""
    rows.add(
        "iam",
        "iam_auth.enabled",
        BOOLEAN,
        "IAMAUTH_ENABLED",
        default="false",
        since=since,
        source=source,
        note="User name and password are then not used.",
    )
    rows.add(
        "iam_provider", "iam_auth.provider", STRING, "IAMAUTH_PROVIDER", since=since, source=source, note="Only gcp."
    )
    rows.add(
        "iam_service_account",
        "iam_auth.service_account",
        STRING,
        "IAMAUTH_SERVICEACCOUNT",
        since=since,
        source=source,
    )
    rows.add(
        "iam_token_refresh",
        "iam_auth.token_refresh_before_expiry",
        STRING,
        "IAMAUTH_TOKENREFRESHBEFOREEXPIRY",
        default="5m",
        since=since,
        source=source,
        note="A duration of Go, such as 5m.",
    )


def _dashboard_store() -> Mapping[str, Setting]:
    """Rows of the Dashboard: flat keys at the top level. Its C(storage) object is MongoDB or SQL, never Redis."""
    rows = _Rows((), ("TYK_DB_",), _DASHBOARD, verified=False)
    rows.add(
        "addresses",
        "redis_addrs",
        LIST,
        "REDISADDRS",
        since=("1.9.3",),
        source="docs 4965337c3^ redis-cluster-sentinel.mdx; charts deployment-dashboard.yaml:180",
        note="Wins over redis_hosts, redis_host and redis_port.",
    )
    rows.add(
        "hosts",
        "redis_hosts",
        MAP,
        "HOSTS",
        source="tyk-docs-hugo#1262",
        note="Deprecated since 1.9.3. The variable has no REDIS in its name.",
    )
    rows.add("host", "redis_host", STRING, "REDISHOST")
    rows.add("port", "redis_port", INTEGER, "REDISPORT")
    rows.add(
        "cluster",
        "enable_cluster",
        BOOLEAN,
        "ENABLECLUSTER",
        default="false",
        note="The only Redis key of the Dashboard without the prefix redis_.",
    )
    rows.add("username", "redis_username", STRING, "REDISUSERNAME", since=("3.0.2",), source="tyk-docs-hugo PR 1500")
    rows.add("password", "redis_password", STRING, "REDISPASSWORD", secret=True)
    rows.add("database", "redis_database", INTEGER, "REDISDATABASE", default="0", note="Leave 0 with a cluster.")
    rows.add("sentinel_master", "redis_master_name", STRING, "REDISMASTERNAME", since=("1.9.3",))
    rows.add(
        "sentinel_password",
        "redis_sentinel_password",
        STRING,
        "REDISSENTINELPASSWORD",
        secret=True,
        since=("3.0.2",),
        source="tyk-docs-hugo PR 1500",
    )
    rows.add(
        "pool_size",
        "redis_max_active",
        INTEGER,
        "REDISMAXACTIVE",
        unit=CONNECTIONS,
        default="500",
        note="There is no documented key for idle connections.",
    )
    rows.add("timeout", "redis_timeout", INTEGER, "REDISTIMEOUT", unit=SECONDS, default="5")
    rows.add("tls", "redis_use_ssl", BOOLEAN, "REDISUSESSL", default="false", since=("1.6.0",))
    rows.add(
        "tls_skip_verify",
        "redis_ssl_insecure_skip_verify",
        BOOLEAN,
        "REDISSSLINSECURESKIPVERIFY",
        default="false",
        since=("1.6.0",),
    )
    rows.add("tls_ca", "redis_ca_file", STRING, "REDISCAFILE", default="the system's authorities", since=("5.3.0",))
    rows.add("tls_cert", "redis_cert_file", STRING, "REDISCERTFILE", since=("5.3.0",))
    rows.add("tls_key", "redis_key_file", STRING, "REDISKEYFILE", since=("5.3.0",))
    rows.add("tls_min_version", "redis_tls_min_version", STRING, "REDISTLSMINVERSION", default="1.2", since=("5.3.0",))
    rows.add(
        "tls_max_version",
        "redis_tls_max_version",
        STRING,
        "REDISTLSMAXVERSION",
        default="1.3",
        since=("5.3.0",),
        note="One page of the documentation gives 1.2 as the default.",
    )
    return rows.table()


def _pump_store() -> Mapping[str, Setting]:
    """Rows of Pump, whose environment has three families for the one section: the newest name wins.

    Low to high: pump.conf, TYK_PMP_ANALYTICSSTORAGECONFIG_*, TYK_PMP_REDIS_* (deprecated, still read),
    TYK_PMP_TEMPORAL_STORAGE_* (from 1.9.0); pump storage/temporal_storage.go:25-27,76-84.
    """
    rows = _Rows(
        ("analytics_storage_config",),
        ("TYK_PMP_TEMPORAL_STORAGE_", "TYK_PMP_REDIS_", "TYK_PMP_ANALYTICSSTORAGECONFIG_"),
        _PUMP,
        env_since=(("1.9.0",), (), ()),
    )
    rows.add(
        "type",
        "type",
        STRING,
        "TYPE",
        source="pump storage/temporal_storage.go:109-111",
        note="Empty or redis; anything else is fatal.",
    )
    rows.add(
        "addresses",
        "addrs",
        LIST,
        "ADDRS",
        since=("0.8.4",),
        source="pump commit 3147a99d",
        note="Wins over hosts, host and port.",
    )
    rows.add(
        "hosts",
        "hosts",
        MAP,
        "HOSTS",
        source="pump storage/store.go:86-99",
        note="Deprecated since 0.8.4, still read when addrs is empty. Ports are strings.",
    )
    rows.add("host", "host", STRING, "HOST", source="lib temporal/internal/helper/redis.go:10-29")
    rows.add("port", "port", INTEGER, "PORT", default="0", source="lib temporal/internal/helper/redis.go:10-29")
    rows.add("cluster", "enable_cluster", BOOLEAN, "ENABLECLUSTER", default="false")
    rows.add(
        "username",
        "username",
        STRING,
        "USERNAME",
        since=("1.2.0",),
        source="tag scan of config.Username",
        note="Parsed by older versions too, but not passed to the driver.",
    )
    rows.add(
        "password",
        "password",
        STRING,
        "PASSWORD",
        secret=True,
        references=MappingProxyType({"kv": ("1.17.0",)}),
        source="pump v1.17.0-rc3 kv.go, config.go:264-318",
        note="Of the variables only those of the weakest family are resolved.",
    )
    rows.add("database", "database", INTEGER, "DATABASE", default="0", note="Ignored in cluster mode.")
    rows.add("sentinel_master", "master_name", STRING, "MASTERNAME", since=("0.8.4",))
    rows.add(
        "sentinel_password",
        "sentinel_password",
        STRING,
        "SENTINELPASSWORD",
        secret=True,
        since=("1.2.0",),
        source="tyk-pump PR 288",
    )
    rows.add(
        "pool_size",
        "optimisation_max_active",
        INTEGER,
        "MAXACTIVE",
        unit=CONNECTIONS,
        default="500",
        source="pump storage/temporal_storage.go:149-152",
        note="0 or less means 500.",
    )
    rows.add(
        "idle_pool_size",
        "optimisation_max_idle",
        INTEGER,
        "MAXIDLE",
        unit=CONNECTIONS,
        until="0.8.3",
        note="Parsed and ignored since the move to go-redis in 0.8.4.",
    )
    rows.add(
        "timeout",
        "timeout",
        INTEGER,
        "TIMEOUT",
        unit=SECONDS,
        default="5",
        since=("0.6.0",),
        source="pump storage/temporal_storage.go:154-166; lib redisv9.go:44-47",
        note="Seconds, although the comment on the field in the source says milliseconds.",
    )
    rows.add(
        "key_prefix",
        "key_prefix",
        STRING,
        "KEYPREFIX",
        default="analytics-",
        since=("1.9.0",),
        source="pump storage/temporal_storage.go:87-94; gw gateway/server.go:555",
        note="The Gateway writes below analytics-, whatever stands here.",
    )
    rows.add(
        "key_prefix_legacy",
        "redis_key_prefix",
        STRING,
        "REDISKEYPREFIX",
        source="pump storage/temporal_storage.go:87-94",
        note="The older name of key_prefix.",
    )
    rows.add("tls", "use_ssl", BOOLEAN, "USESSL", default="false", since=("1.9.0",), source="tag scan")
    rows.add(
        "tls_legacy",
        "redis_use_ssl",
        BOOLEAN,
        "REDISUSESSL",
        default="false",
        since=("0.5.2",),
        source="pump storage/temporal_storage.go:175-183",
        note="The older switch: either of the two turns TLS on.",
    )
    rows.add(
        "tls_skip_verify",
        "ssl_insecure_skip_verify",
        BOOLEAN,
        "SSLINSECURESKIPVERIFY",
        default="false",
        since=("1.9.0",),
        source="tag scan",
    )
    rows.add(
        "tls_skip_verify_legacy",
        "redis_ssl_insecure_skip_verify",
        BOOLEAN,
        "REDISSSLINSECURESKIPVERIFY",
        default="false",
        since=("0.5.2",),
        source="pump storage/temporal_storage.go:175-183",
        note="The older switch: either of the two turns verification off.",
    )
    rows.add(
        "tls_ca",
        "ssl_ca_file",
        STRING,
        "SSLCAFILE",
        default="the system's authorities",
        since=("1.9.0",),
        source="pump commit 407c3739",
    )
    rows.add("tls_cert", "ssl_cert_file", STRING, "SSLCERTFILE", since=("1.9.0",), note="Needs ssl_key_file.")
    rows.add("tls_key", "ssl_key_file", STRING, "SSLKEYFILE", since=("1.9.0",), note="Needs ssl_cert_file.")
    rows.add(
        "tls_min_version",
        "ssl_min_version",
        STRING,
        "SSLMINVERSION",
        default="1.2",
        since=("1.9.0",),
        source=f"{_TLS_LIBRARY}:51-90",
    )
    rows.add(
        "tls_max_version",
        "ssl_max_version",
        STRING,
        "SSLMAXVERSION",
        default="1.3",
        since=("1.9.0",),
        source=f"{_TLS_LIBRARY}:51-90",
    )
    _add_iam(rows, ("1.17.0",), "pump v1.17.0-rc3 storage/store.go:83-110")
    return rows.table()


def _mdcb_store(section: str, env_section: str) -> Mapping[str, Setting]:
    """Rows of one store of MDCB. Both have the same keys.

    The documentation and the official charts disagree about the variables of the TLS files of the main store: both
    names are listed, the documented one first.
    """
    rows = _Rows((section,), (f"TYK_MDCB_{env_section}_",), _MDCB, verified=False)
    charts = section == "storage"
    charts_differ = (
        "The second variable is the one of the official charts; which of the two is read is not known."
        if charts
        else ""
    )

    def add_tls(logical: str, key: str, documented: str, in_charts: str, default: str = "") -> None:
        names = (documented, in_charts) if charts else (documented,)
        rows.add(logical, key, STRING, *names, default=default, since=("2.5.0",), note=charts_differ, unsure=charts)

    rows.add("type", "type", STRING, "TYPE", default="redis", note="Only redis is supported.")
    rows.add("addresses", "addrs", LIST, "ADDRS", note="Wins over hosts.")
    rows.add("hosts", "hosts", MAP, "HOSTS")
    rows.add("host", "host", STRING, "HOST")
    rows.add("port", "port", INTEGER, "PORT")
    rows.add("cluster", "enable_cluster", BOOLEAN, "ENABLECLUSTER", default="false")
    rows.add("username", "username", STRING, "USERNAME")
    rows.add("password", "password", STRING, "PASSWORD", secret=True)
    rows.add("database", "database", INTEGER, "DATABASE", default="0", note="Leave 0 with a cluster.")
    rows.add("sentinel_master", "master_name", STRING, "MASTERNAME")
    rows.add("sentinel_password", "sentinel_password", STRING, "SENTINELPASSWORD", secret=True)
    rows.add("pool_size", "optimisation_max_active", INTEGER, "MAXACTIVE", unit=CONNECTIONS)
    rows.add(
        "idle_pool_size",
        "optimisation_max_idle",
        INTEGER,
        "MAXIDLE",
        unit=CONNECTIONS,
        note="Whether any version still uses it is not known.",
    )
    rows.add("timeout", "timeout", INTEGER, "TIMEOUT", unit=SECONDS, default="5")
    rows.add("tls", "use_ssl", BOOLEAN, "USESSL", default="false", since=("2.5.0",))
    rows.add(
        "tls_legacy",
        "redis_use_ssl",
        BOOLEAN,
        "REDISUSESSL",
        default="false",
        since=("1.5.3",),
        note="The older switch: either of the two turns TLS on.",
    )
    rows.add(
        "tls_skip_verify",
        "ssl_insecure_skip_verify",
        BOOLEAN,
        "SSLINSECURESKIPVERIFY",
        default="false",
        since=("2.5.0",),
    )
    rows.add(
        "tls_skip_verify_legacy",
        "redis_ssl_insecure_skip_verify",
        BOOLEAN,
        "REDISSSLINSECURESKIPVERIFY",
        default="false",
        since=("1.5.3",),
        note="The older switch: either of the two turns verification off.",
    )
    add_tls("tls_ca", "ca_file", "CAFILE", "REDISSSLCAFILE", "the system's authorities")
    add_tls("tls_cert", "cert_file", "CERTFILE", "REDISSSLCERTFILE")
    add_tls("tls_key", "key_file", "KEYFILE", "REDISSSLKEYFILE")
    add_tls("tls_min_version", "min_version", "MINVERSION", "REDISSSLMINVERSION", "1.2")
    add_tls("tls_max_version", "max_version", "MAXVERSION", "REDISSSLMAXVERSION", "1.3")
    return rows.table()


def _shard_count(until: str, source: str, *, verified: bool = True) -> Setting:
    """What the cluster driver before go-redis took from the environment of every component alike."""
    return Setting(
        logical="shard_count",
        path=(),
        json_type=INTEGER,
        env=("REDIGOCLUSTER_SHARDCOUNT",),
        unit="shards of the driver's table of connection pools",
        default="32",
        until=until,
        source=source,
        verified=verified,
        note="Later versions use another driver, which has no such table.",
    )


def _listener(
    dotted: str, json_type: str, env: str, *, since: tuple[str, ...] = (), default: str = "", note: str = ""
) -> Setting:
    """A setting of the gateway's own listener, by the name that it has in the file."""
    return Setting(
        logical=dotted.rpartition(".")[2],
        path=tuple(dotted.split(".")),
        json_type=json_type,
        env=(env,),
        since=since,
        default=default,
        source="gw config/config.go:876-921,1114-1118, gateway/server.go:855-873,1935-1940",
        note=note,
    )


def _flags(*settings: Setting) -> Mapping[str, Setting]:
    return MappingProxyType({setting.logical: setting for setting in settings})


def _sections(*sections: Section) -> Mapping[str, Section]:
    return MappingProxyType({section.name: section for section in sections})


# Since when the Gateway resolves references to secrets in the passwords of its main and its cache store.
_GATEWAY_REFERENCES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "env": ("2.9.6", "3.0.0"),
        "secrets": ("2.9.6", "3.0.0"),
        "consul": ("2.9.6", "3.0.0"),
        "vault": ("2.9.6", "3.0.0"),
        "file": ("5.14.0",),
        "kv": ("5.15.0",),
    }
)

COMPONENTS: Mapping[str, Component] = MappingProxyType(
    {
        "gateway": Component(
            name="gateway",
            title="Tyk Gateway",
            config_path="/opt/tyk-gateway/tyk.conf",
            service="tyk-gateway.service",
            packages=("tyk-gateway", "tyk-gateway-ee", "tyk-gateway-fips"),
            env_prefix="TYK_GW_",
            env_files=("/etc/default/tyk-gateway", "/etc/sysconfig/tyk-gateway"),
            sections=_sections(
                Section(
                    name="storage",
                    title="main store",
                    purposes=(MAIN,),
                    settings=_gateway_store("storage", "STORAGE", references=_GATEWAY_REFERENCES),
                    note="Keys, sessions, certificates, rate limits, quotas and messages between Gateways.",
                ),
                Section(
                    name="cache_storage",
                    title="cache store",
                    purposes=(CACHE,),
                    settings=_gateway_store("cache_storage", "CACHESTORAGE", references=_GATEWAY_REFERENCES),
                    enabled_by=("separate_cache",),
                    note="Cached responses.",
                ),
                Section(
                    name="analytics_storage",
                    title="analytics store",
                    purposes=(ANALYTICS,),
                    settings=_gateway_store(
                        "analytics_storage", "ANALYTICSSTORAGE", since=_ANALYTICS_STORE, references={}
                    ),
                    enabled_by=("separate_analytics", "analytics"),
                    since=_ANALYTICS_STORE,
                    note="Records of requests, which Pump fetches, and the results of uptime tests.",
                ),
            ),
            flags=_flags(
                Setting(
                    logical="separate_cache",
                    path=("enable_separate_cache_store",),
                    json_type=BOOLEAN,
                    env=("TYK_GW_ENABLESEPERATECACHESTORE",),
                    default="false",
                    source="gw config/config.go:1205",
                    note="The variable is misspelt in the Gateway itself: SEPERATE.",
                ),
                Setting(
                    logical="separate_analytics",
                    path=("enable_separate_analytics_store",),
                    json_type=BOOLEAN,
                    env=("TYK_GW_ENABLESEPERATEANALYTICSSTORE",),
                    default="false",
                    since=_ANALYTICS_STORE,
                    source="gw config/config.go:1159, commit 4982bd2fa",
                    note="The variable is misspelt in the Gateway itself: SEPERATE. Needs enable_analytics.",
                ),
                Setting(
                    logical="analytics",
                    path=("enable_analytics",),
                    json_type=BOOLEAN,
                    env=("TYK_GW_ENABLEANALYTICS",),
                    default="false",
                    source="gw config/config.go:1153; gw gateway/server.go:517-519",
                    note="While it is false the separate analytics store is not used, not even for uptime tests.",
                ),
                Setting(
                    logical="analytics_expiration",
                    path=("analytics_config", "storage_expiration_time"),
                    json_type=INTEGER,
                    env=("TYK_GW_ANALYTICSCONFIG_STORAGEEXPIRATIONTIME",),
                    unit=SECONDS,
                    default="60",
                    since=("2.5.2", "2.6.0"),
                    source="gw gateway/redis_analytics_purger.go:36-59",
                    note="Records that Pump has not fetched by then are lost; has to exceed Pump's purge_delay.",
                ),
                Setting(
                    logical="limiter_tls",
                    path=("external_services", "storage", "mtls", "enabled"),
                    json_type=BOOLEAN,
                    env=("TYK_GW_EXTERNALSERVICES_STORAGE_MTLS_ENABLED",),
                    default="false",
                    since=("5.10.0",),
                    source="gw internal/rate/storage.go:64-120; docs configure/external-service.mdx",
                    note="The rate limiter alone then takes its TLS files from there and not from storage.",
                ),
                _shard_count("2.9.2", "gw v2.9.2 vendor redigocluster rediscluster/concurrent_map.go:10-33; tag scan"),
            ),
            health=_flags(
                _listener("listen_address", STRING, "TYK_GW_LISTENADDRESS", note="Empty for every address."),
                _listener("listen_port", INTEGER, "TYK_GW_LISTENPORT", default="8080"),
                _listener(
                    "control_api_port",
                    INTEGER,
                    "TYK_GW_CONTROLAPIPORT",
                    since=("2.4.0",),
                    note="When it is set, the health is told there and not on listen_port.",
                ),
                _listener("http_server_options.use_ssl", BOOLEAN, "TYK_GW_HTTPSERVEROPTIONS_USESSL", default="false"),
                _listener(
                    "health_check_endpoint_name",
                    STRING,
                    "TYK_GW_HEALTHCHECKENDPOINTNAME",
                    since=("2.7.5", "2.8.0"),
                    default="hello",
                ),
                _listener(
                    "readiness_check_endpoint_name",
                    STRING,
                    "TYK_GW_READINESSCHECKENDPOINTNAME",
                    since=("5.8.3", "5.9.0"),
                    default="ready",
                ),
            ),
            omit_config_env="TYK_GW_OMITCONFIGFILE",
            newest="5.14.0",
            source="gw ci/goreleaser/goreleaser.yml:289-335, ci/install/inits/systemd/system/tyk-gateway.service, "
            "config/config.go:1682-1697",
            section="storage",
        ),
        "dashboard": Component(
            name="dashboard",
            title="Tyk Dashboard",
            config_path="/opt/tyk-dashboard/tyk_analytics.conf",
            service="tyk-dashboard.service",
            packages=("tyk-dashboard", "tyk-dashboard-fips"),
            env_prefix="TYK_DB_",
            # Only the second is seen in use (tyk-ansible); the first follows the units of the open components.
            env_files=("/etc/default/tyk-dashboard", "/etc/sysconfig/tyk-dashboard"),
            sections=_sections(
                Section(name="redis", title="only store", purposes=(MAIN,), settings=_dashboard_store()),
            ),
            flags=_flags(
                _shard_count(
                    "1.9.2",
                    "docs commits 7eb19f948 and f664b2134: 1.9.3 has go-redis; the source is closed",
                    verified=False,
                ),
            ),
            omit_config_env="TYK_DB_OMITCONFIGFILE",
            newest="5.14.0",
            source="docs install/linux.mdx; tyk-ansible 5eb08ab9 roles/dashboard/tasks/configure.yaml; "
            "release notes 4.1, Dashboard, for the variable",
            section="redis",
        ),
        "pump": Component(
            name="pump",
            title="Tyk Pump",
            config_path="/opt/tyk-pump/pump.conf",
            service="tyk-pump.service",
            packages=("tyk-pump", "tyk-pump-fips"),
            env_prefix="TYK_PMP_",
            env_files=("/etc/default/tyk-pump", "/etc/sysconfig/tyk-pump"),
            sections=_sections(
                Section(
                    name="analytics_storage_config",
                    title="only store",
                    purposes=(ANALYTICS,),
                    settings=_pump_store(),
                    note="Has to be the Redis into which the Gateway writes its analytics.",
                ),
            ),
            flags=_flags(
                Setting(
                    logical="store_type",
                    path=("analytics_storage_type",),
                    json_type=STRING,
                    env=("TYK_PMP_ANALYTICSSTORAGETYPE",),
                    source="pump main.go:117-158",
                    note="Empty or redis; anything else is fatal.",
                ),
                Setting(
                    logical="purge_delay",
                    path=("purge_delay",),
                    json_type=INTEGER,
                    env=("TYK_PMP_PURGEDELAY",),
                    unit=SECONDS,
                    default="0",
                    source="pump main.go:252-253",
                    note="With 0 Pump never fetches anything, and says nothing about it.",
                ),
                _shard_count("0.8.3", "tag scan of pump v0.4.2 to v0.8.4"),
            ),
            omit_config_env="TYK_PMP_OMITCONFIGFILE",
            newest="1.16.0",
            source="pump ci/goreleaser/goreleaser.yml, ci/install/inits/systemd/system/tyk-pump.service, "
            "config.go:262-273,293-296",
            section="analytics_storage_config",
        ),
        "mdcb": Component(
            name="mdcb",
            title="Tyk MDCB",
            config_path="/opt/tyk-sink/tyk_sink.conf",
            service="tyk-sink.service",
            packages=("tyk-sink", "tyk-sink-fips"),
            env_prefix="TYK_MDCB_",
            # Not verified: these follow the units of the open components.
            env_files=("/etc/default/tyk-sink", "/etc/sysconfig/tyk-sink"),
            sections=_sections(
                Section(
                    name="storage", title="main store", purposes=(MAIN,), settings=_mdcb_store("storage", "STORAGE")
                ),
                Section(
                    name="analytics_storage",
                    title="analytics store",
                    purposes=(ANALYTICS,),
                    settings=_mdcb_store("analytics_storage", "ANALYTICSSTORAGE"),
                    enabled_by=("separate_analytics", "analytics"),
                    note="Records of requests that are forwarded to Pump.",
                ),
            ),
            flags=_flags(
                Setting(
                    logical="separate_analytics",
                    path=("enable_separate_analytics_store",),
                    json_type=BOOLEAN,
                    env=("TYK_MDCB_ENABLESEPERATEANALYTICSSTORE",),
                    default="false",
                    source="docs snippets/mdcb-config.mdx",
                    note="The variable is misspelt in MDCB itself: SEPERATE.",
                    verified=False,
                ),
                Setting(
                    logical="analytics",
                    path=("forward_analytics_to_pump",),
                    json_type=BOOLEAN,
                    env=("TYK_MDCB_FORWARDANALYTICSTOPUMP",),
                    default="false",
                    source="docs snippets/mdcb-config.mdx",
                    note="While it is false records go to the database and to no Redis.",
                    verified=False,
                ),
                _shard_count(
                    "1.7.1",
                    "docs commits 7eb19f948 and f664b2134: 1.7.2 has go-redis; the source is closed",
                    verified=False,
                ),
            ),
            omit_config_env="",
            newest="2.12.0",
            source="docs api-management/mdcb.mdx, install/linux.mdx",
            section="storage",
        ),
    }
)
