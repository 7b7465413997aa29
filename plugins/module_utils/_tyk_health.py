# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection and may change at any time.

"""Where a Tyk component tells whether it works with its Redis, and what its answer means. No I/O happens here.

The gateway answers /hello with 200 whatever happens in most versions, and leaves the details out before its first
probe of Redis, ten seconds after its start by default: only the details count (gw gateway/health_check.go:88-262).
/ready came with 5.8.3 and 5.9.0 and answers 503 until the gateway can serve (:270-330). Pump writes its version into
Redis once, at its start (pump main.go:160-183, since 0.7.1).
"""

from __future__ import annotations

import json
import typing as t
from dataclasses import dataclass

from ansible_collections.apiops.tyk_redis.plugins.module_utils._tyk_effective import Effective
from ansible_collections.apiops.tyk_redis.plugins.module_utils._tyk_versions import reached

WELL = "well"
# Not yet, or not any more: what another look may find changed.
ILL = "ill"

DEFAULT_PORT = 8080
PUMP_KEY_PREFIX = "version-check-"
# The strongest variable first. Each replaces the prefix of this key, too (pump storage/temporal_storage.go:25-84).
PUMP_PREFIX_VARIABLES = ("TYK_PMP_TEMPORAL_STORAGE_KEYPREFIX", "TYK_PMP_REDIS_KEYPREFIX")
PUMP_KEY_SINCE = ("0.7.1",)
_ANYWHERE = ("", "0.0.0.0", "::", "[::]")
_SHOWN = 200


@dataclass(frozen=True)
class Endpoint:
    """What to ask: host and port to connect to, and what the HTTP request says."""

    host: str
    port: int
    tls: bool
    path: str

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}{self.path}"


@dataclass(frozen=True)
class Answer:
    """What was answered; without a code, why nothing was."""

    code: int | None
    body: str = ""
    error: str = ""


@dataclass(frozen=True)
class Verdict:
    """What an answer means, with a sentence for people unless all is well."""

    state: str
    sentence: str = ""


def endpoints(effective: Effective) -> list[Endpoint]:
    """What tells the health of a gateway: hello, and ready where its version has it."""
    told = effective.health
    listen = str(told.get("listen_address") or "").strip()
    host = "127.0.0.1" if listen in _ANYWHERE else listen.strip("[]")
    port = int(told.get("control_api_port") or told.get("listen_port") or DEFAULT_PORT)
    names = [str(told.get("health_check_endpoint_name") or "hello")]
    if reached(effective.version, effective.component.health["readiness_check_endpoint_name"].since):
        names.append(str(told.get("readiness_check_endpoint_name") or "ready"))
    return [Endpoint(host, port, bool(told.get("use_ssl")), f"/{one}") for one in names]


def judge_hello(endpoint: Endpoint, answer: Answer) -> Verdict:
    """Whether the gateway says that its last probe of Redis succeeded."""
    if answer.code is None:
        return Verdict(ILL, f"{endpoint.url} gives no answer ({answer.error}).")
    details = _details(answer.body)
    if details is None:
        return Verdict(ILL, f"{endpoint.url} answers {answer.code} with {_shown(answer.body)}, no health report.")
    redis = details.get("redis")
    if not isinstance(redis, dict):
        return Verdict(ILL, f"{endpoint.url} does not speak of Redis: the gateway has not probed it since its start.")
    if redis.get("status") == "pass":
        return Verdict(WELL)
    said = str(redis.get("output") or "").strip().rstrip(".")
    return Verdict(
        ILL, f"{endpoint.url} says that the gateway does not reach Redis{': ' if said else ''}{said[:_SHOWN]}."
    )


def judge_ready(endpoint: Endpoint, answer: Answer) -> Verdict:
    """Whether the gateway says that it can serve."""
    if answer.code == 200:
        return Verdict(WELL)
    if answer.code is None:
        return Verdict(ILL, f"{endpoint.url} gives no answer ({answer.error}).")
    return Verdict(ILL, f"{endpoint.url} answers {answer.code} with {_shown(answer.body)}, so it cannot serve yet.")


def pump_key(effective: Effective, environment: t.Mapping[str, t.Any]) -> str:
    """The key that Pump writes at its start; empty when its version writes none.

    Args:
        effective: what Pump does about Redis.
        environment: the variables that Pump is started with, by name, each with a C(value).
    """
    if not reached(effective.version, PUMP_KEY_SINCE):
        return ""
    for name in PUMP_PREFIX_VARIABLES:
        if name in environment:
            return f"{environment[name].value}pump"
    return f"{PUMP_KEY_PREFIX}pump"


def _details(body: str) -> dict[str, t.Any] | None:
    try:
        report = json.loads(body)
    except ValueError:
        return None
    if not isinstance(report, dict) or "status" not in report:
        return None
    details = report.get("details") or {}
    return details if isinstance(details, dict) else None


def _shown(body: str) -> str:
    text = " ".join(body.split())
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...")
