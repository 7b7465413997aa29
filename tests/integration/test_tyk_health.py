# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Waiting for components, with real HTTP, real Redis, and a systemd that says what the test lets it say."""

from __future__ import annotations

import http.server
import json
import threading
import typing as t
from pathlib import Path

import pytest
from servers import Server
from tyk_checks import TYK_PASSWORD, Run, Start, let_in, make_cluster, started

RUNNING = "ActiveState=active\nSubState=running\nNRestarts=0\nResult=success"


@pytest.fixture(name="start", scope="module")
def fixture_start(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Start]:
    with started(tmp_path_factory.mktemp("servers")) as start:
        yield start


@pytest.fixture(name="cluster", scope="module")
def fixture_cluster(start: Start) -> list[Server]:
    cluster = make_cluster(start)
    for server in cluster:
        let_in(server, "pump")
    return cluster


@pytest.fixture(name="systemd")
def fixture_systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> t.Callable[[str], None]:
    """What systemctl and journalctl print for the unit of the test."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for program, said in (("systemctl", "state"), ("journalctl", "log")):
        script = folder / program
        script.write_text(f"#!/bin/sh\ncat {tmp_path}/{said}\n")
        script.chmod(0o755)
    (tmp_path / "log").write_text(f"first line\nlogging in with {TYK_PASSWORD}\n", encoding="utf-8")
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")

    def say(state: str) -> None:
        (tmp_path / "state").write_text(state)

    say(RUNNING)
    return say


@pytest.fixture(name="health")
def fixture_health(tmp_path: Path, run_module: Run, systemd: object) -> Run:
    """Run the module on a component whose file the test describes."""

    def run(component: str, document: dict[str, t.Any], **options: t.Any) -> dict[str, t.Any]:
        path = tmp_path / f"{component}.conf"
        path.write_text(json.dumps(document), encoding="utf-8")
        return run_module("tyk_health", component=component, path=str(path), **options)

    return run


def store_of(cluster: list[Server], **changed: t.Any) -> dict[str, t.Any]:
    store = {
        "type": "redis",
        "addrs": [str(server.address) for server in cluster],
        "enable_cluster": True,
        "username": "tyk",
        "password": TYK_PASSWORD,
    }
    return {**store, **changed}


def pump_of(cluster: list[Server], **changed: t.Any) -> dict[str, t.Any]:
    return {"analytics_storage_config": store_of(cluster, **changed), "purge_delay": 10}


# --- the gateway ------------------------------------------------------------------------------------------------------


class Gateway:
    """An HTTP server that answers with what the test gives it."""

    def __init__(self) -> None:
        self.answers: dict[str, list[tuple[int, str]]] = {}
        gateway = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                replies = gateway.answers[self.path]
                code, body = replies.pop(0) if len(replies) > 1 else replies[0]
                self.send_response(code)
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *_words: object) -> None:
                """Nobody reads it."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(name="gateway")
def fixture_gateway() -> t.Iterator[Gateway]:
    gateway = Gateway()
    yield gateway
    gateway.stop()


def hello(status: str, output: str = "") -> tuple[int, str]:
    redis = {"status": status, "output": output}
    return 200, json.dumps({"status": status, "details": {"redis": redis}})


NOT_PROBED = (200, json.dumps({"status": "pass"}))


def test_a_gateway_that_becomes_well(health: Run, gateway: Gateway) -> None:
    gateway.answers = {
        "/hello": [NOT_PROBED, hello("fail", "down"), hello("pass")],
        "/ready": [(503, "{}"), (200, "{}")],
    }
    document = {"listen_port": gateway.port, "storage": {"type": "redis"}}
    result = health("gateway", document, version="5.14.0", timeout=20)
    address = f"http://127.0.0.1:{gateway.port}"
    assert result == {
        **result,
        "changed": False,
        "proof": f"{address}/hello says that Redis passes, and {address}/ready answers 200.",
    }


@pytest.mark.parametrize("check", [False, True])
def test_a_gateway_that_stays_ill(health: Run, gateway: Gateway, check: bool) -> None:
    gateway.answers = {"/hello": [hello("fail", "storage: Redis is either down")], "/ready": [(503, "{}")]}
    document = {"listen_port": gateway.port, "storage": {"type": "redis", "password": TYK_PASSWORD}}
    result = health("gateway", document, version="5.14.0", timeout=1, check=check)
    assert result["failed"] is True
    assert "After 1 s Tyk Gateway is not well." in result["msg"]
    assert "does not reach Redis: storage: Redis is either down." in result["msg"]
    # The component's own last words, but no password in them.
    assert result["log"][0] == "first line" and "logging in with" in result["log"][1]
    assert TYK_PASSWORD not in json.dumps(result, ensure_ascii=False)


def test_an_old_gateway_has_no_ready(health: Run, gateway: Gateway) -> None:
    gateway.answers = {"/hello": [hello("pass")], "/ready": [(404, "")]}
    document = {"listen_port": gateway.port, "storage": {"type": "redis"}}
    assert "proof" in health("gateway", document, version="5.8.2", timeout=5)
    assert health("gateway", document, version="5.8.3", timeout=1)["failed"] is True


def test_a_gateway_that_nobody_can_reach(health: Run, gateway: Gateway) -> None:
    gateway.stop()
    result = health("gateway", {"listen_port": gateway.port, "storage": {"type": "redis"}}, timeout=1)
    assert f"http://127.0.0.1:{gateway.port}/hello gives no answer (Connection refused)" in result["msg"]


# --- the service ------------------------------------------------------------------------------------------------------


def test_a_service_that_has_failed_is_not_waited_for(health: Run, systemd: t.Callable[[str], None]) -> None:
    systemd("ActiveState=failed\nSubState=failed\nNRestarts=5\nResult=exit-code")
    result = health("dashboard", {"redis_addrs": ["192.0.2.1:6379"]}, timeout=600)
    assert result["msg"].startswith("tyk-dashboard.service has failed (exit-code).")


def test_a_service_that_starts_again_and_again(health: Run, systemd: t.Callable[[str], None]) -> None:
    systemd("ActiveState=activating\nSubState=auto-restart\nNRestarts=3\nResult=exit-code")
    result = health("mdcb", {"storage": {"type": "redis"}}, timeout=1)
    assert "tyk-sink.service is activating (auto-restart)." in result["msg"]


def test_a_service_that_goes_on_running(health: Run) -> None:
    result = health("dashboard", {"redis_addrs": ["192.0.2.1:6379"]}, timeout=2)
    assert result["proof"] == "tyk-dashboard.service goes on running; it tells nothing about its Redis."


def test_a_timeout_that_is_none(health: Run) -> None:
    assert health("gateway", {}, timeout=0)["msg"] == "timeout is 0, but at least 1 second is needed."


# --- pump -------------------------------------------------------------------------------------------------------------

KEY = "version-check-pump"


def owner(cluster: list[Server]) -> Server:
    """The primary that holds the key."""
    slot = int(str(cluster[0].call("CLUSTER", "KEYSLOT", KEY)))
    return cluster[0 if slot <= 5460 else 1 if slot <= 10922 else 2]


def test_pump_is_known_by_its_key_with_its_own_rights(health: Run, cluster: list[Server]) -> None:
    document = pump_of(cluster)
    server = owner(cluster)
    server.call("SET", KEY, "v1.15.0")
    assert health("pump", document, forget=True, check=True)["changed"] is True
    assert server.call("EXISTS", KEY) == 1
    assert health("pump", document, forget=True)["changed"] is True
    assert server.call("EXISTS", KEY) == 0
    for check in (True, False):
        assert health("pump", document, forget=True, check=check)["changed"] is False
    missing = health("pump", document, timeout=1)
    assert f"Pump has not written the key {KEY} into its Redis" in missing["msg"]
    server.call("SET", KEY, "v1.16.0")
    assert health("pump", document, timeout=5)["proof"] == f"Pump has written the key {KEY} into its Redis."


def test_pump_on_a_server_of_its_own(health: Run, start: Start) -> None:
    server = start("databases 16", cluster=False)
    let_in(server, "pump")
    document = pump_of([server], enable_cluster=False, database=3)
    # The administrator's connection is in database 0, where nobody looks.
    server.call("SET", KEY, "v1.16.0")
    assert "has not written" in health("pump", document, timeout=1)["msg"]
    server.call("MOVE", KEY, 3)
    assert "proof" in health("pump", document, timeout=5)


def test_a_wrong_password_is_told_and_not_shown(health: Run, cluster: list[Server]) -> None:
    document = pump_of(cluster, password="not-the-right-one")
    result = health("pump", document, forget=True)
    assert result["failed"] is True
    assert "could not be taken away" in result["msg"]
    assert "does not accept the password of the user 'tyk'" in result["msg"]
    assert "not-the-right-one" not in json.dumps(result)


def test_other_components_have_nothing_to_forget(health: Run, gateway: Gateway) -> None:
    assert health("gateway", {"storage": {"type": "redis"}}, forget=True)["changed"] is False
