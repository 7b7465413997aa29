# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where a component tells how it is, and what its answers mean."""

from __future__ import annotations

import json
import typing as t

import pytest

from ansible_collections.apiops.tyk_redis.plugins.module_utils._env_file import Variable, merge, parse
from ansible_collections.apiops.tyk_redis.plugins.module_utils._tyk_effective import Effective, read
from ansible_collections.apiops.tyk_redis.plugins.module_utils._tyk_health import (
    Answer,
    Endpoint,
    endpoints,
    judge_hello,
    judge_ready,
    pump_key,
)
from ansible_collections.apiops.tyk_redis.plugins.module_utils._tyk_settings import COMPONENTS
from ansible_collections.apiops.tyk_redis.plugins.module_utils._tyk_versions import parse as parse_version

STORAGE = {"type": "redis", "addrs": ["192.0.2.1:6379"], "enable_cluster": True}
HELLO = Endpoint("127.0.0.1", 8080, False, "/hello")


def gateway(environment: str = "", version: str = "5.14.0", **document: t.Any) -> Effective:
    file = parse(environment.encode(), "/etc/default/tyk-gateway")
    content = json.dumps({"storage": STORAGE, **document}).encode()
    variables = merge(file.assignments)
    return read(COMPONENTS["gateway"], "/tyk.conf", content, variables, [file], parse_version(version))


def urls(effective: Effective) -> list[str]:
    return [endpoint.url for endpoint in endpoints(effective)]


def test_where_a_gateway_is_asked_by_default() -> None:
    assert urls(gateway()) == ["http://127.0.0.1:8080/hello", "http://127.0.0.1:8080/ready"]


@pytest.mark.parametrize(
    ("version", "has_ready"), [("5.8.2", False), ("5.8.3", True), ("5.8.15", True), ("5.9.0", True), ("5.7.9", False)]
)
def test_versions_that_have_ready(version: str, has_ready: bool) -> None:
    assert (len(urls(gateway(version=version))) == 2) is has_ready


@pytest.mark.parametrize(
    ("document", "environment", "expected"),
    [
        ({"listen_port": 9000}, "", "http://127.0.0.1:9000/hello"),
        ({"listen_port": 9000}, "TYK_GW_LISTENPORT=9001", "http://127.0.0.1:9001/hello"),
        ({"listen_port": 9000, "control_api_port": 9002}, "", "http://127.0.0.1:9002/hello"),
        ({"listen_address": "192.0.2.7"}, "", "http://192.0.2.7:8080/hello"),
        ({"listen_address": "::1"}, "", "http://[::1]:8080/hello"),
        ({"listen_address": "0.0.0.0"}, "", "http://127.0.0.1:8080/hello"),
        ({"http_server_options": {"use_ssl": True}}, "", "https://127.0.0.1:8080/hello"),
        ({}, "TYK_GW_HTTPSERVEROPTIONS_USESSL=true", "https://127.0.0.1:8080/hello"),
        ({"health_check_endpoint_name": "livez"}, "", "http://127.0.0.1:8080/livez"),
        ({"health_check_endpoint_name": ""}, "", "http://127.0.0.1:8080/hello"),
        ({}, "TYK_GW_HEALTHCHECKENDPOINTNAME=up", "http://127.0.0.1:8080/up"),
    ],
)
def test_where_another_gateway_is_asked(document: dict[str, t.Any], environment: str, expected: str) -> None:
    assert urls(gateway(environment, **document))[0] == expected


def report(redis: object = None, status: str = "pass", **details: object) -> str:
    found = {**details, **({} if redis is None else {"redis": redis})}
    return json.dumps({"status": status, "version": "v5.14.0", "details": found} if found else {"status": status})


@pytest.mark.parametrize("code", [200, 503])
def test_only_what_it_says_about_redis_counts(code: int) -> None:
    # Another part may be ill, with which the whole is "warn".
    body = report({"status": "pass"}, status="warn", dashboard={"status": "fail"})
    assert judge_hello(HELLO, Answer(code, body)).sentence == ""


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (Answer(None, error="Connection refused"), "http://127.0.0.1:8080/hello gives no answer (Connection refused)."),
        # The whole passes, because nothing has been looked at yet.
        (
            Answer(200, report()),
            "http://127.0.0.1:8080/hello does not speak of Redis: the gateway has not probed it since its start.",
        ),
        (
            Answer(200, report({"status": "fail", "output": "storage: Redis is either down or was not configured"})),
            "http://127.0.0.1:8080/hello says that the gateway does not reach Redis: storage: Redis is either down or "
            "was not configured.",
        ),
        (
            Answer(200, report({"status": "fail"})),
            "http://127.0.0.1:8080/hello says that the gateway does not reach Redis.",
        ),
        (Answer(404, "not  found"), "http://127.0.0.1:8080/hello answers 404 with 'not found', no health report."),
        (Answer(200, "[]"), "http://127.0.0.1:8080/hello answers 200 with '[]', no health report."),
        (Answer(200, '{"a": 1}'), "http://127.0.0.1:8080/hello answers 200 with '{\"a\": 1}', no health report."),
        (
            Answer(200, '{"status": "pass", "details": "no"}'),
            'http://127.0.0.1:8080/hello answers 200 with \'{"status": "pass", "details": "no"}\', no health report.',
        ),
    ],
)
def test_a_gateway_that_is_not_well(answer: Answer, sentence: str) -> None:
    assert judge_hello(HELLO, answer).sentence == sentence


def test_ready() -> None:
    ready = Endpoint("127.0.0.1", 8080, False, "/ready")
    assert judge_ready(ready, Answer(200, "{}")).sentence == ""
    said = judge_ready(ready, Answer(503, '{"status":"error"}')).sentence
    assert said == 'http://127.0.0.1:8080/ready answers 503 with \'{"status":"error"}\', so it cannot serve yet.'
    assert judge_ready(ready, Answer(None, error="timed out")).sentence == (
        "http://127.0.0.1:8080/ready gives no answer (timed out)."
    )


@pytest.mark.parametrize(
    ("version", "variables", "key"),
    [
        ("1.16.0", {}, "version-check-pump"),
        ("0.7.1", {}, "version-check-pump"),
        ("0.7.0", {}, ""),
        ("1.16.0", {"TYK_PMP_REDIS_KEYPREFIX": "mine-"}, "mine-pump"),
        ("1.16.0", {"TYK_PMP_REDIS_KEYPREFIX": "mine-", "TYK_PMP_TEMPORAL_STORAGE_KEYPREFIX": ""}, "pump"),
        ("1.16.0", {"TYK_PMP_ANALYTICSSTORAGECONFIG_KEYPREFIX": "mine-"}, "version-check-pump"),
    ],
)
def test_the_key_that_pump_writes(version: str, variables: dict[str, str], key: str) -> None:
    given = {name: Variable(name, value, "the test") for name, value in variables.items()}
    content = json.dumps({"analytics_storage_config": STORAGE, "purge_delay": 10}).encode()
    effective = read(COMPONENTS["pump"], "/pump.conf", content, given, (), parse_version(version))
    assert pump_key(effective, given) == key
