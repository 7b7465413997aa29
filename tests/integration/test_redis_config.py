# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings of several real servers of every version at once: all of them, or a sentence that says which."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import yaml
from conftest import RunModule
from servers import DISTRIBUTION, VERSIONS, Server, Servers, ServerTls
from test_redis_connections import Authority

from ansible_collections.apiops.tyk_redis.plugins.module_utils._redis_client import Tls
from ansible_collections.apiops.tyk_redis.plugins.modules import redis_config

PASSWORD = "only for this test"
ONE_AT_A_TIME = ("redis-6.0", "redis-6.2")
SEVERAL = {"maxmemory-policy": "allkeys-lru", "repl-backlog-ttl": "7"}
ONE = {"maxmemory-policy": "allkeys-lru"}


def start(servers: Servers, version: str = DISTRIBUTION, **options: Any) -> Server:
    return servers.start_server(version, cluster=False, password=PASSWORD, **options)


def nodes(cluster: Sequence[Server], settings: Mapping[str, object]) -> list[dict[str, Any]]:
    return [
        {"address": server.address.host, "port": server.address.port, "settings": dict(settings)} for server in cluster
    ]


def values(server: Server, names: Sequence[str] = tuple(SEVERAL)) -> list[object]:
    answers: list[Any] = [server.call("CONFIG", "GET", name) for name in names]
    return [answer[1] for answer in answers]


def four_runs(run_module: RunModule, **options: Any) -> list[dict[str, Any]]:
    """Check, apply, check, apply: what is predicted is what is done, and it is done once."""
    results = [run_module("redis_config", check=check, diff=True, **options) for check in (True, False, True, False)]
    assert [result.get("changed") for result in results] == [True, True, False, False], results
    predicted, applied, *again = results
    assert (predicted["plan"], predicted["diff"]) == (applied["plan"], applied["diff"])
    assert [(result["plan"], result["diff"]) for result in again] == [([], []), ([], [])]
    return results


@pytest.mark.parametrize("version", VERSIONS)
def test_four_runs_change_what_differs_once(servers: Servers, run_module: RunModule, version: str) -> None:
    first, second, third = (start(servers, version) for _number in range(3))
    third.call("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    wish = ONE if version in ONE_AT_A_TIME else SEVERAL
    options: dict[str, Any] = {"nodes": nodes([first, second, third], wish), "password": PASSWORD}
    before = values(first)
    predicted = run_module("redis_config", check=True, **options)
    assert predicted["changed"] is True
    assert values(first) == values(second) == before
    applied = four_runs(run_module, **options)[1]
    assert predicted["plan"] == applied["plan"]
    assert [values(server, tuple(wish)) for server in (first, second, third)] == [list(wish.values())] * 3

    told = {name: before[number] for number, name in enumerate(SEVERAL)}
    changes = [(server, {**wish}) for server in (first, second)]
    changes += [(third, {name: value for name, value in wish.items() if name != "maxmemory-policy"})]
    assert applied["plan"] == [
        f"{server.address}: {name} is {told[name]} and becomes {value}."
        for server, change in changes
        for name, value in change.items()
    ]
    assert applied["diff"] == [
        {
            "before_header": str(server.address),
            "after_header": str(server.address),
            "before": "".join(f"{name} {told[name]}\n" for name in change),
            "after": "".join(f"{name} {value}\n" for name, value in change.items()),
        }
        for server, change in changes
        if change
    ]


def test_numbers_are_texts_and_files_are_left_alone(servers: Servers, run_module: RunModule) -> None:
    server = start(servers)
    file = (server.folder / "redis.conf").read_bytes()
    four_runs(run_module, nodes=nodes([server], {"repl-backlog-ttl": 7}), password=PASSWORD)
    assert (server.folder / "redis.conf").read_bytes() == file


def test_the_documentation_shows_what_is_returned(servers: Servers, run_module: RunModule) -> None:
    server = start(servers, extra=["tls-cluster no"])
    result = run_module("redis_config", check=True, nodes=nodes([server], {"tls-cluster": "yes"}), password=PASSWORD)
    shown = yaml.safe_load(redis_config.RETURN)
    assert result["plan"] == [
        sentence.replace("192.0.2.12:6379", str(server.address)) for sentence in shown["plan"]["sample"]
    ]


@pytest.mark.parametrize("place", [0, 1, 2])
def test_one_dead_server_keeps_all_others_as_they_are(servers: Servers, run_module: RunModule, place: int) -> None:
    cluster = [start(servers) for _number in range(3)]
    dead = cluster[place]
    living = [server for server in cluster if server is not dead]
    before = [values(server) for server in living]
    dead.kill()
    for check in (True, False):
        result = run_module("redis_config", check=check, nodes=nodes(cluster, SEVERAL), password=PASSWORD)
        assert (result["failed"], result["changed"], result["changed_nodes"]) == (True, False, [])
        assert result["msg"] == (
            f"{dead.address} refused the connection; start Redis there, and check the address and port it listens on."
            " Nothing was changed."
        )
        assert [values(server) for server in living] == before


@pytest.mark.parametrize("version", VERSIONS)
def test_one_unknown_setting_keeps_all_servers_as_they_are(
    servers: Servers, run_module: RunModule, version: str
) -> None:
    first, second = start(servers, version), start(servers, version)
    before = values(first)
    # CONFIG GET takes patterns, which are no names.
    for name in ("maxmemory-polity", "maxmemory-*"):
        wishes = [*nodes([first], ONE), *nodes([second], {**ONE, name: "allkeys-lru"})]
        for check in (True, False):
            result = run_module("redis_config", check=check, nodes=wishes, password=PASSWORD)
            assert (result["failed"], result["changed"], result["changed_nodes"]) == (True, False, [])
            assert result["msg"] == (
                f"{second.address} has no setting {name}: correct its name, or upgrade the server. Nothing was changed."
            )
            assert values(first) == values(second) == before


def test_a_wrong_password_changes_nothing(servers: Servers, run_module: RunModule) -> None:
    server = start(servers)
    before = values(server)
    for check in (True, False):
        result = run_module("redis_config", check=check, nodes=nodes([server], SEVERAL), password="sesame")
        assert (result["failed"], result["changed"]) == (True, False)
        assert f"{server.address} does not accept the password of the user 'default'" in result["msg"]
        assert result["msg"].endswith(" Nothing was changed.") and "sesame" not in result["msg"]
    assert values(server) == before


@pytest.mark.parametrize("version", ONE_AT_A_TIME)
def test_an_old_server_takes_one_setting_at_a_time(servers: Servers, run_module: RunModule, version: str) -> None:
    first, second = start(servers, version), start(servers, version)
    before = values(first)
    result = run_module("redis_config", nodes=nodes([first, second], SEVERAL), password=PASSWORD)
    assert (result["failed"], result["changed"], result["changed_nodes"]) == (True, False, [])
    assert result["msg"].startswith(f"{first.address} answered CONFIG SET with an error: ")
    assert result["msg"].endswith(". Changed before that: nothing. Run again to finish.")
    assert values(first) == values(second) == before
    for name, value in SEVERAL.items():
        four_runs(run_module, nodes=nodes([first, second], {name: value}), password=PASSWORD)
    assert values(first) == values(second) == list(SEVERAL.values())


def test_a_refusal_in_between_says_who_was_changed(servers: Servers, run_module: RunModule) -> None:
    first, second, third = (start(servers) for _number in range(3))
    before = values(first)
    wishes = [*nodes([first], SEVERAL), *nodes([second], {**SEVERAL, "repl-backlog-ttl": "long"})]
    wishes += nodes([third], SEVERAL)
    result = run_module("redis_config", nodes=wishes, password=PASSWORD)
    assert (result["failed"], result["changed"], result["changed_nodes"]) == (True, True, [str(first.address)])
    assert result["msg"].startswith(f"{second.address} answered CONFIG SET with an error: ")
    assert result["msg"].endswith(f" Changed before that: {first.address}. Run again to finish.")
    # The one that refused has taken none of its settings.
    assert [values(server) for server in (first, second, third)] == [list(SEVERAL.values()), before, before]
    finished = run_module("redis_config", nodes=nodes([first, second, third], SEVERAL), password=PASSWORD)
    assert {sentence.rpartition(": ")[0] for sentence in finished["plan"]} == {str(second.address), str(third.address)}
    assert values(third) == list(SEVERAL.values())


def test_an_ipv6_address(servers: Servers, run_module: RunModule) -> None:
    server = start(servers, extra=["bind 127.0.0.1 ::1"])
    wish = [{"address": "::1", "port": server.address.port, "settings": SEVERAL}]
    applied = four_runs(run_module, nodes=wish, password=PASSWORD)[1]
    assert applied["plan"][0].startswith(f"[::1]:{server.address.port}: maxmemory-policy is ")
    assert values(server) == list(SEVERAL.values())


@pytest.mark.parametrize("version", ["redis-6.0", "redis-7.0", "redis-8.0"])
def test_a_connection_with_tls(servers: Servers, run_module: RunModule, version: str, tmp_path: Any) -> None:
    authority = Authority(tmp_path, "ca")
    cert_file, key_file = authority.issue("host")
    client = Tls(ca_file=authority.file, cert_file=cert_file, key_file=key_file)
    tls = ServerTls(authority.file, cert_file, key_file, auth_clients=True)
    cluster = [start(servers, version, tls=tls, client_tls=client) for _number in range(2)]
    options: dict[str, Any] = {"nodes": nodes(cluster, {"tls-replication": "no"}), "password": PASSWORD}
    refused = run_module("redis_config", **options)
    assert refused["failed"] is True
    assert "if this port expects TLS, switch TLS on" in refused["msg"]
    four_runs(
        run_module, tls=True, tls_ca_file=authority.file, tls_cert_file=cert_file, tls_key_file=key_file, **options
    )
    assert [values(server, ["tls-replication"]) for server in cluster] == [["no"]] * 2
