# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Faults of Tyk's components that concern their Redis: who has them, when they matter, and what mends them. No I/O.

A table and one function over it; private to this collection. The short names in C(source) are those of
C(_tyk_settings).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ansible_collections.apiops.tyk_redis.plugins.module_utils._tyk_effective import SENTINEL, Effective
from ansible_collections.apiops.tyk_redis.plugins.module_utils._tyk_versions import reached, show, spoken

# What a gateway writes its records under, and so what Pump has to read.
_ANALYTICS_PREFIX = "analytics-"


@dataclass(frozen=True)
class Fault:
    """Something that does not work as the settings say.

    * C(since) and C(fixed) are the first versions, one for each release line, that have the fault and that have it no
      more. Where C(fixed) is empty the component works like that in every version.
    * C(applies) says whether a store's settings meet the fault.
    * C(sentence) has the places {title}, {version} and {fixed}.
    """

    component: str
    since: tuple[str, ...]
    fixed: tuple[str, ...]
    applies: Callable[[Effective], bool]
    sentence: str
    source: str


def _is_main(effective: Effective) -> bool:
    return effective.component.section == effective.component.main


def _own_tls_files(effective: Effective) -> bool:
    names = ("tls_ca", "tls_cert", "tls_key", "tls_min_version", "tls_max_version")
    return _is_main(effective) and effective.tls and any(effective.get(name) for name in names)


def _other_prefix(effective: Effective) -> bool:
    prefix = effective.get("key_prefix") or effective.get("key_prefix_legacy")
    return bool(prefix) and prefix != _ANALYTICS_PREFIX


FAULTS: tuple[Fault, ...] = (
    Fault(
        component="gateway",
        since=("5.3.0",),
        fixed=("5.8.6", "5.10.0"),
        applies=_own_tls_files,
        sentence=(
            "The rate limiter of {title} {version} ignores the CA file, the client certificate and the TLS versions, "
            "so that it fails where one of them is needed and requests get 429 for no reason. {fixed} mends it."
        ),
        source="tag scan of gw internal/rate/storage.go; release notes 5.8.6 and 5.10.0; tyk PR 7301",
    ),
    Fault(
        component="pump",
        since=(),
        fixed=("1.9.0",),
        applies=lambda effective: effective.mode == SENTINEL and effective.tls,
        sentence="{title} {version} cannot use Sentinel with TLS. {fixed} mends it.",
        source="pump release notes 1.9; tyk issue 6002",
    ),
    Fault(
        component="pump",
        since=(),
        fixed=(),
        applies=lambda effective: effective.flag("purge_delay") <= 0,
        sentence=(
            "purge_delay is 0 or not set, so {title} never fetches anything from Redis, and says nothing about it: set "
            "it to a number of seconds below the storage_expiration_time of the Gateway, for example 10."
        ),
        source="pump main.go:252-253; tyk-ansible commit 8caa9a8",
    ),
    Fault(
        component="pump",
        since=(),
        fixed=(),
        applies=_other_prefix,
        sentence=(
            "key_prefix is not analytics-, below which the Gateway writes its records, so {title} finds none of them: "
            "take key_prefix and redis_key_prefix away."
        ),
        source="pump storage/temporal_storage.go:87-94; gw gateway/server.go:555",
    ),
    Fault(
        component="gateway",
        since=("2.9.3", "3.0.0"),
        fixed=("4.0.16", "4.1.0"),
        applies=lambda effective: effective.mode == SENTINEL and effective.tls,
        sentence=(
            "With Sentinel and TLS {title} {version} speaks TLS to the Sentinels only, and dials Redis itself in the "
            "clear. {fixed} mends it."
        ),
        source="scan of go.mod over all tags; go-redis v8.3.1 sentinel.go:218, v8.11.5 sentinel.go:249",
    ),
    Fault(
        component="gateway",
        since=(),
        fixed=(),
        applies=lambda effective: _is_main(effective) and effective.tls and effective.flag("limiter_tls"),
        sentence=(
            "external_services.storage.mtls is enabled, so the rate limiter of {title} takes its TLS files from there "
            "and not from storage: keep the two alike, or take it away."
        ),
        source="gw internal/rate/storage.go:64-120",
    ),
    Fault(
        component="gateway",
        since=("5.3.0", "5.4.0"),
        fixed=("5.3.3", "5.5.0"),
        applies=_is_main,
        sentence="{title} {version} floods Redis with deletions when keys are created. {fixed} mends it.",
        source="release notes 5.3.3 and 5.5.0",
    ),
    Fault(
        component="gateway",
        since=("5.8.14", "5.13.0"),
        fixed=("5.8.15", "5.13.1", "5.14.0"),
        applies=_is_main,
        sentence=(
            "{title} {version} may not report in /hello and /ready that Redis is down when it has a Dashboard. "
            "{fixed} mends it."
        ),
        source="release notes 5.8.14, 5.8.15, 5.13.1 and 5.14.0",
    ),
    Fault(
        component="mdcb",
        since=(),
        fixed=("2.8.5",),
        applies=_is_main,
        sentence="{title} {version} stops to synchronise for good when Redis was away for a while. {fixed} mends it.",
        source="MDCB release notes 2.8.5",
    ),
    Fault(
        component="mdcb",
        since=(),
        fixed=("2.8.7",),
        applies=_is_main,
        sentence=(
            "With {title} {version} the Gateways of the data planes stay away for minutes after Redis was away. "
            "{fixed} mends it (invalid_key_cache_ttl)."
        ),
        source="MDCB release notes 2.8.7",
    ),
)


def faults(effective: Effective) -> list[str]:
    """A sentence for each fault that this version has with these settings, of all stores that are in use."""
    said = []
    for store in effective.stores:
        for fault in FAULTS:
            if fault.component != store.component.name or not fault.applies(store):
                continue
            if fault.fixed and not _has(store, fault):
                continue
            said.append(
                fault.sentence.format(
                    title=store.component.title,
                    version=show(store.version) if store.version else "",
                    fixed=spoken(fault.fixed) if fault.fixed else "",
                )
            )
    return said


def _has(store: Effective, fault: Fault) -> bool:
    """Whether this version has a fault that has been mended; one that nobody knows is taken for the newest."""
    return store.version is not None and reached(store.version, fault.since) and not reached(store.version, fault.fixed)
