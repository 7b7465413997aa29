# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""tyk_redis_check against real servers on loopback, each with a fault of its own."""

from __future__ import annotations

import json
import os
import socket
import typing as t
from pathlib import Path

import pytest
import yaml
from servers import VERSIONS, Server, ServerTls
from tyk_checks import (
    ADMIN_PASSWORD,
    TYK_PASSWORD,
    Authority,
    Run,
    Start,
    assert_no_key,
    calls_of,
    checker,
    info,
    let_in,
    make_cluster,
    one_problem,
    paused,
    shape,
    started,
    storage_of,
    wait_for,
)

from ansible_collections.apiops.tyk_redis.plugins.module_utils._redis_client import Tls
from ansible_collections.apiops.tyk_redis.plugins.module_utils._tyk_agreement import disagreements
from ansible_collections.apiops.tyk_redis.plugins.modules import tyk_redis_check


@pytest.fixture(name="start", scope="module")
def fixture_start(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Start]:
    with started(tmp_path_factory.mktemp("servers")) as start:
        yield start


@pytest.fixture(name="cluster", scope="module")
def fixture_cluster(start: Start) -> list[Server]:
    return make_cluster(start)


@pytest.fixture(name="check")
def fixture_check(tmp_path: Path, run_module: Run) -> Run:
    return checker(tmp_path, run_module)


@pytest.fixture(name="single")
def fixture_single(only: Server) -> t.Iterator[Server]:
    """A cluster of one primary, left as it was found."""
    let_in(only)
    yield only
    for key in t.cast("list[str]", only.call("KEYS", "*")):
        only.call("DEL", key)


@pytest.fixture(name="only", scope="module")
def fixture_only(start: Start) -> Server:
    return start()


# --- a healthy cluster ---


def test_every_primary_is_written_and_every_replica_read(check: Run, cluster: list[Server]) -> None:
    for server in cluster:
        server.call("CONFIG", "RESETSTAT")
    result = check(storage_of(*cluster[:2]), expect_nodes=[str(server.address) for server in cluster])
    assert result["problems"] == [] and result["healthy"] is True and "failed" not in result
    assert [entry["role"] for entry in result["reached"]] == ["primary"] * 3 + ["replica"] * 3
    assert {entry["address"] for entry in result["reached"]} == {str(server.address) for server in cluster}
    assert [entry["wrote"] for entry in result["reached"]] == [True] * 3 + [False] * 3
    assert [entry["slots"] for entry in result["reached"][:3]] == [["0-5460"], ["5461-10922"], ["10923-16383"]]
    for server in cluster[:3]:
        assert [calls_of(server, command) for command in ("set", "get", "del")] == [1, 1, 1]
    for server in cluster[3:]:
        assert [calls_of(server, command) for command in ("readonly", "get")] == [1, 1]
    assert result["username"] == "tyk" and result["cluster_id"]
    assert result["settings"]["password"]["value"] == "********"
    assert_no_key(cluster)


def test_result_is_what_the_documentation_says(check: Run, cluster: list[Server]) -> None:
    result = check(storage_of(*cluster))
    documented = yaml.safe_load(tyk_redis_check.RETURN)
    assert set(documented) == set(result) - {"changed", "invocation"}
    assert set(documented["reached"]["contains"]) == set(result["reached"][0])
    assert set(documented["stores"]["sample"][0]) == set(result["stores"][0])
    # What a store has is shown where it is returned for the main one.
    for name in set(documented) - {"stores"}:
        assert shape_of(documented[name]["sample"]) == shape_of(result[name]), name


def shape_of(value: t.Any) -> t.Any:
    """The kinds of a value's parts; of a list only those of its first item."""
    if isinstance(value, dict):
        return {key: shape_of(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shape_of(item) for item in value[:1]]
    return type(value)


@pytest.mark.parametrize("version", VERSIONS)
def test_every_server_version(check: Run, start: Start, version: str) -> None:
    server = start(version_name=version)
    result = check(storage_of(server), env_files=[])
    assert result["problems"] == []
    assert [(entry["role"], entry["slots"], entry["wrote"]) for entry in result["reached"]] == [
        ("primary", ["0-16383"], True)
    ]
    server.call("ACL", "SETUSER", "tyk", "-set")
    assert one_problem(check(storage_of(server))).startswith("The user 'tyk' may not run SET on ")
    assert_no_key([server])


def test_check_mode_reads_only(check: Run, cluster: list[Server]) -> None:
    for server in cluster:
        server.call("CONFIG", "RESETSTAT")
    result = check(storage_of(*cluster), check_mode=True)
    assert result["healthy"] is True and len(result["reached"]) == 6
    assert not any(entry["wrote"] for entry in result["reached"])
    assert [calls_of(server, "set") + calls_of(server, "del") for server in cluster] == [0] * 6


def test_two_components_with_different_seeds_see_the_same_cluster(check: Run, cluster: list[Server]) -> None:
    gateway = check(storage_of(cluster[0]))
    pump = check(storage_of(cluster[5]), component="pump")
    assert gateway["cluster_id"] == pump["cluster_id"]
    sentences = disagreements([("gw1", "gateway", gateway), ("pump1", "pump", pump)])
    assert len(sentences) == 1 and "analytics disagree about the addresses of Redis: " in sentences[0]
    assert disagreements([("gw1", "gateway", gateway), ("gw2", "gateway", gateway)]) == []


def test_two_components_on_different_clusters(check: Run, cluster: list[Server], single: Server) -> None:
    gateway = check(storage_of(cluster[0]))
    pump = check(storage_of(single), component="pump")
    assert gateway["healthy"] and pump["healthy"]
    sentences = disagreements([("gw1", "gateway", gateway), ("pump1", "pump", pump)])
    assert any(": gateway on gw1: a Redis of 6 nodes, " in sentence for sentence in sentences)


# --- nodes that cannot be reached ---


def test_stopped_replica_does_not_hide_the_others(check: Run, cluster: list[Server]) -> None:
    cluster[4].kill()
    try:
        result = check(storage_of(*cluster))
    finally:
        cluster[4].start_again()
        let_in(cluster[4])
    problem = one_problem(result)
    assert problem.startswith(f"{cluster[4].address} refused the connection; start Redis there")
    assert f"a replica of {cluster[1].address}; the cluster announces this address" in problem
    assert len(result["reached"]) == 5 and [entry["wrote"] for entry in result["reached"]][:3] == [True] * 3
    wait_for(lambda: "master_link_status:up" in info(cluster[4], "INFO", "replication"))
    wait_for(lambda: all(shape(server) == [2, 2, 2] for server in cluster))
    assert_no_key(cluster)


def test_stopped_primary_is_named_with_its_slots(check: Run, start: Start) -> None:
    servers = [start(slots=False) for _number in range(2)]
    servers[0].call("CLUSTER", "ADDSLOTSRANGE", 0, 8191)
    servers[1].call("CLUSTER", "ADDSLOTSRANGE", 8192, 16383)
    servers[1].call("CLUSTER", "SET-CONFIG-EPOCH", 7)
    servers[0].call("CLUSTER", "MEET", "127.0.0.1", servers[1].address.port)
    wait_for(lambda: all(shape(server) == [1, 1] for server in servers))
    wait_for(lambda: all("cluster_state:ok" in info(server, "CLUSTER", "INFO") for server in servers))
    servers[1].kill()
    result = check(storage_of(*servers))
    assert "refused the connection" in one_problem(result)
    assert "the primary of the slots 8192-16383" in result["problems"][0]
    assert [entry["address"] for entry in result["reached"]] == [str(servers[0].address)]
    assert_no_key(servers[:1])


def test_paused_primary_is_a_timeout(check: Run, cluster: list[Server]) -> None:
    with paused(cluster[2]):
        result = check(storage_of(*cluster))
    problem = one_problem(result)
    assert problem.startswith(f"{cluster[2].address} did not answer within 2 s")
    assert "the primary of the slots 10923-16383" in problem
    assert len(result["reached"]) == 5
    assert_no_key(cluster)


def test_announced_address_that_nobody_serves(check: Run, start: Start) -> None:
    server = start("cluster-announce-ip 127.0.0.250")
    result = check(storage_of(server))
    problem = one_problem(result)
    assert problem.startswith(f"127.0.0.250:{server.address.port} refused the connection")
    assert f"the cluster announces this address, as {server.address} says" in problem
    assert result["seeds"] == [{"address": str(server.address), "answered": True, "error": ""}]
    assert_no_key([server])


def test_node_that_announces_no_address(check: Run, start: Start) -> None:
    server = start('cluster-announce-ip ""')
    problem = one_problem(check(storage_of(server)))
    assert problem == (
        f"The node {server.call('CLUSTER', 'MYID')} announces no address in CLUSTER SLOTS of {server.address}, so Tyk "
        "Gateway cannot use it; set cluster-announce-ip, cluster-announce-hostname or another "
        "cluster-preferred-endpoint-type there."
    )


def test_name_that_cannot_be_resolved(check: Run, cluster: list[Server]) -> None:
    storage = storage_of(cluster[0])
    storage["addrs"].insert(0, "redis.invalid:6379")
    result = check(storage)
    problem = one_problem(result)
    assert problem.startswith("The name 'redis.invalid' of redis.invalid:6379 cannot be resolved")
    assert "a seed address, which the cluster does not announce; Tyk Gateway takes the address from file:" in problem
    assert len(result["reached"]) == 6


def test_expected_node_that_is_not_announced(check: Run, cluster: list[Server], single: Server, start: Start) -> None:
    stopped = start(cluster=False)
    stopped.kill()
    result = check(storage_of(cluster[0]), expect_nodes=[str(node.address) for node in (single, stopped, cluster[1])])
    refused, answers = sorted(result["problems"], key=lambda problem: "answers" in problem)
    assert refused.startswith(f"{stopped.address} refused the connection")
    assert refused.endswith(" (an expected node, which the cluster does not announce).")
    assert answers == (
        f"The expected node {single.address} answers, but the cluster does not announce it as a primary or replica; "
        "join it to the cluster, or correct the list of expected nodes."
    )


def test_seeds_of_two_clusters(check: Run, cluster: list[Server], single: Server) -> None:
    problem = one_problem(check(storage_of(cluster[0], single)))
    assert problem.startswith(f"The seeds {cluster[0].address} and {single.address} do not describe the same cluster")
    assert "belong to different clusters" in problem


def test_slots_that_nobody_serves(check: Run, start: Start) -> None:
    server = start(slots=False)
    assert one_problem(check(storage_of(server))).startswith(
        f"{server.address} runs in cluster mode but serves no slot"
    )
    server.call("CONFIG", "SET", "cluster-require-full-coverage", "no")
    server.call("CLUSTER", "ADDSLOTSRANGE", 0, 99, 200, 16382)
    wait_for(lambda: "cluster_state:ok" in info(server, "CLUSTER", "INFO"))
    result = check(storage_of(server))
    assert one_problem(result).startswith("No primary serves the slots 100-199, 16383, as ")
    assert result["reached"][0]["wrote"] is True
    assert_no_key([server])


# --- users ---


def test_wrong_password_is_one_sentence_for_all_nodes(check: Run, cluster: list[Server]) -> None:
    result = check(storage_of(*cluster[:3], password="not-it"))
    problem = one_problem(result)
    first, second, third = sorted(str(server.address) for server in cluster[:3])
    assert problem.startswith(f"{first} does not accept the password of the user 'tyk'")
    assert problem.endswith(f"; the same holds for {second} and {third}.")
    assert "Tyk Gateway takes the user from file:" in problem and "the password from file:" in problem
    assert "not-it" not in json.dumps(result)
    assert result["reached"] == []


def test_no_password(check: Run, cluster: list[Server]) -> None:
    storage = storage_of(cluster[0])
    del storage["username"], storage["password"]
    problem = one_problem(check(storage))
    assert problem.startswith(f"{cluster[0].address} asks for a password and none was given")
    assert "(Tyk Gateway has no password in its file or environment)" in problem


@pytest.mark.parametrize(
    ("rule", "command", "wrote"),
    [
        pytest.param("-set", "SET", False, id="writing is refused"),
        pytest.param("-get", "GET", False, id="reading is refused"),
        pytest.param("-del", "DEL", False, id="deleting is refused"),
        pytest.param("-ping", "PING", None, id="a ping is refused"),
        pytest.param("-cluster|slots", "CLUSTER SLOTS", None, id="asking for the layout is refused"),
    ],
)
def test_refused_command_is_named(check: Run, single: Server, rule: str, command: str, wrote: bool | None) -> None:
    single.call("ACL", "SETUSER", "tyk", rule)
    result = check(storage_of(single))
    problem = one_problem(result)
    assert problem.startswith(f"The user 'tyk' may not run {command} on {single.address}")
    assert "Tyk Gateway takes the user from file:" in problem
    assert [entry["wrote"] for entry in result["reached"]] == ([] if wrote is None else [wrote])
    # A key that may not be deleted goes by itself.
    for key in single.call("KEYS", "*"):
        assert command == "DEL" and 0 < single.call("TTL", key) <= 60


def test_refused_key_is_an_acl_problem_too(check: Run, single: Server) -> None:
    single.call("ACL", "SETUSER", "tyk", "resetkeys", "~tyk-redis-check-*")
    problem = one_problem(check(storage_of(single)))
    assert problem.startswith(f"The user 'tyk' may not use the keys ~* on {single.address}, which Tyk Gateway needs")
    let_in(single, "pump")
    result = check(storage_of(single), component="pump", probe_key_prefix="other-")
    assert [sentence.split(" on ")[0] for sentence in result["problems"]] == [
        f"The user 'tyk' may not run {command}" for command in ("SET", "EXPIRE", "DEL")
    ]
    assert_no_key([single])


# --- cluster mode on one side only ---


def test_component_wants_a_cluster_and_the_server_is_none(check: Run, start: Start) -> None:
    server = start(cluster=False)
    problem = one_problem(check(storage_of(server)))
    assert problem.startswith(f"{server.address} does not run in cluster mode; set cluster-enabled yes there")
    assert problem.endswith(", and Tyk Gateway never gets connected.")


def test_component_wants_no_cluster_and_the_server_is_one(check: Run, single: Server) -> None:
    problem = one_problem(check(storage_of(single, enable_cluster=False)))
    assert problem.startswith(
        f"{single.address} runs in cluster mode, but storage.enable_cluster of Tyk Gateway is not true (file:"
    )
    assert "most keys would fail with MOVED" in problem
    assert_no_key([single])


def test_standalone(check: Run, start: Start) -> None:
    server = start(cluster=False)
    server.call("ACL", "SETUSER", "tyk", "+select", "+info")
    result = check(storage_of(server, enable_cluster=False, database=3))
    assert result["healthy"] is True
    assert [(entry["role"], entry["wrote"]) for entry in result["reached"]] == [("primary", True)]
    assert result["cluster_id"] and result["agreement"]["database"] == 3
    assert_no_key([server])
    result = check(storage_of(server, enable_cluster=False, database=99))
    assert "DB index is out of range (storage.database 99 from file:" in one_problem(result)


# --- the server's own state ---


def test_server_without_a_free_connection(check: Run, start: Start) -> None:
    server = start()
    server.call("CONFIG", "SET", "maxclients", "1")
    with server.connection() as held:
        held.call("PING")
        result = check(storage_of(server))
    assert f"{server.address} has no connection left; raise maxclients there" in one_problem(result)


def test_replica_that_has_lost_its_primary(check: Run, cluster: list[Server]) -> None:
    for server in cluster:
        server.call("ACL", "SETUSER", "tyk", "+info")
    cluster[3].call("CONFIG", "SET", "masterauth", "wrong")
    cluster[0].call("CLIENT", "KILL", "TYPE", "replica")
    try:
        wait_for(lambda: "master_link_status:down" in info(cluster[3], "INFO", "replication"))
        result = check(storage_of(*cluster))
    finally:
        cluster[3].call("CONFIG", "SET", "masterauth", ADMIN_PASSWORD)
        for server in cluster:
            server.call("ACL", "SETUSER", "tyk", "-info")
    assert one_problem(result) == (
        f"{cluster[3].address} has lost the link to its primary and so holds old data; see the logs of both "
        f"(a replica of {cluster[0].address})."
    )
    wait_for(lambda: "master_link_status:up" in info(cluster[3], "INFO", "replication"))
    wait_for(lambda: all(shape(server) == [2, 2, 2] for server in cluster))


# --- where the settings come from ---


def test_environment_wins_over_the_file(check: Run, cluster: list[Server]) -> None:
    storage = storage_of(cluster[0], addrs=["192.0.2.1:6379"], username="nobody", enable_cluster=False)
    result = check(
        storage,
        environment="# of the gateway\n"
        f"TYK_GW_STORAGE_ADDRS={cluster[0].address},{cluster[1].address}\n"
        "TYK_GW_STORAGE_USERNAME='tyk'\n"
        "TYK_GW_STORAGE_ENABLECLUSTER=T\n",
    )
    assert result["problems"] == []
    assert result["settings"]["addresses"]["value"] == [str(server.address) for server in cluster[:2]]
    assert result["settings"]["addresses"]["from"].startswith("variable TYK_GW_STORAGE_ADDRS in ")
    assert result["settings"]["addresses"]["from"].endswith("tyk.env line 2")
    assert len(result["reached"]) == 6


def test_failure_names_the_variable_that_is_to_blame(check: Run, cluster: list[Server]) -> None:
    result = check(storage_of(cluster[0]), environment="\nTYK_GW_STORAGE_PASSWORD=not-it\n")
    problem = one_problem(result)
    assert "the password from variable TYK_GW_STORAGE_PASSWORD in " in problem and "tyk.env line 2)" in problem
    assert "not-it" not in json.dumps(result)


def test_password_by_reference(check: Run, cluster: list[Server]) -> None:
    quoted = TYK_PASSWORD.replace("\\", "\\\\").replace('"', '\\"')
    storage = storage_of(cluster[0], password="env://redis")
    assert check(storage, environment=f'TYK_SECRET_REDIS="{quoted}"\n')["problems"] == []
    result = check(storage_of(cluster[0], password="vault://secret/redis.password"))
    assert "is a reference (vault://) that Tyk Gateway resolves at its start" in one_problem(result)
    assert result["reached"] == [] and result["seeds"] == []


def test_broken_file_is_not_followed_by_connections(check: Run, tmp_path: Path) -> None:
    (tmp_path / "gateway.conf").write_text('{"storage": {"host": "x",}}', encoding="utf-8")
    result = check(None)
    problem = one_problem(result)
    assert "is not JSON at line 1 column" in problem and "Tyk Gateway does not start with it" in problem
    assert result["seeds"] == []


def test_missing_file(check: Run) -> None:
    result = check(None)
    assert one_or_more(result, "There is no file ") and result["seeds"] == []


def one_or_more(result: dict[str, t.Any], beginning: str) -> bool:
    return any(problem.startswith(beginning) for problem in result["problems"])


def test_environment_of_the_unit(
    check: Run, cluster: list[Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    (tmp_path / "unit.env").write_text("TYK_GW_STORAGE_USERNAME=tyk\n", encoding="utf-8")
    (folder / "systemctl").write_text(
        "#!/bin/sh\n"
        'if [ "$1" = --version ]; then echo "systemd 252 (252.38-1~deb12u1)"; exit; fi\n'
        'case "$*" in *tyk-gateway.service) ;; *) echo LoadState=not-found; exit;; esac\n'
        f"cat <<'END'\nLoadState=loaded\nEnvironment=TYK_GW_STORAGE_USERNAME=nobody "
        f'"TYK_GW_STORAGE_ADDRS={cluster[0].address}"\n'
        f"EnvironmentFiles={tmp_path}/missing (ignore_errors=yes)\n"
        f"EnvironmentFiles={tmp_path}/unit.* (ignore_errors=no)\n"
        f"EnvironmentFiles={tmp_path}/demanded (ignore_errors=no)\nEND\n",
        encoding="utf-8",
    )
    (folder / "systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    result = check(storage_of(cluster[0], addrs=["192.0.2.1:6379"], username="nobody"), env_files=None)
    problem = one_problem(result)
    assert problem.startswith(f"There is no file {tmp_path}/demanded, which tyk-gateway.service demands")
    assert result["settings"]["username"]["from"] == (f"variable TYK_GW_STORAGE_USERNAME in {tmp_path}/unit.env line 1")
    assert result["settings"]["addresses"]["from"] == (
        "variable TYK_GW_STORAGE_ADDRS in Environment= of tyk-gateway.service"
    )
    assert len(result["reached"]) == 6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"probe_key_prefix": "a{b}"}, "probe_key_prefix is 'a{b}', but it must not be empty or hold braces"),
        ({"timeout": 0}, "timeout is 0, but at least 1 second is needed."),
        ({"expect_nodes": ["192.0.2.1"]}, "expect_nodes: '192.0.2.1' is not an address of the form host:port"),
    ],
)
def test_bad_option(check: Run, options: dict[str, t.Any], message: str) -> None:
    result = check({"addrs": ["192.0.2.1:6379"]}, **options)
    assert result["failed"] is True and message in result["msg"]


# --- TLS ---


@pytest.fixture(name="authority", scope="module")
def fixture_authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"), "ca")


def start_tls(start: Start, authority: Authority, certificate: tuple[str, str]) -> Server:
    return start(tls=ServerTls(authority.file, *certificate), client_tls=Tls(verify=False))


def tls_storage(server: Server, ca_file: str, **more: t.Any) -> dict[str, t.Any]:
    return {**storage_of(server), "use_ssl": True, "ca_file": ca_file, **more}


def test_tls_with_an_own_authority(check: Run, start: Start, authority: Authority) -> None:
    server = start_tls(start, authority, authority.issue("good", "IP:127.0.0.1"))
    result = check(tls_storage(server, authority.file))
    assert result["problems"] == []
    assert [(entry["address"], entry["tls"], entry["wrote"]) for entry in result["reached"]] == [
        (str(server.address), True, True)
    ]
    other = Authority(authority.folder, "other")
    plain = start(cluster=False)
    problem = one_problem(check(tls_storage(server, other.file)))
    assert problem.startswith(f"The certificate of {server.address} is not trusted")
    assert "Tyk Gateway takes the CA file from file:" in problem
    problem = one_problem(check(tls_storage(server, "")))
    assert "Tyk Gateway has no CA file, so only the system's CAs are trusted" in problem
    problem = one_problem(check(tls_storage(server, "/nonexistent/ca.pem")))
    assert f"The CA file /nonexistent/ca.pem for {server.address} cannot be used (No such file or directory)" in problem
    assert check(tls_storage(server, "", ssl_insecure_skip_verify=True))["problems"] == []
    problem = one_problem(check(tls_storage(server, authority.file, addrs=[str(plain.address)])))
    # Redis takes the handshake for the beginning of a command and waits for the rest of it.
    assert problem.startswith(f"{plain.address} did not answer within 2 s") and "TLS" in problem
    problem = one_problem(check(tls_storage(server, authority.file, use_ssl=False)))
    assert problem.startswith(f"{server.address} closed the connection without an answer; if this port expects TLS")
    assert_no_key([server])


@pytest.mark.parametrize(
    ("names", "common_name"),
    [
        pytest.param("IP:127.0.0.9", "redis", id="another address"),
        pytest.param("DNS:localhost", "redis", id="a name, but the address is announced"),
        pytest.param("", "127.0.0.1", id="the common name alone, which Go does not accept"),
    ],
)
def test_certificate_for_another_name(
    check: Run, start: Start, authority: Authority, names: str, common_name: str
) -> None:
    server = start_tls(start, authority, authority.issue("wrong", names, common_name=common_name))
    problem = one_problem(check(tls_storage(server, authority.file)))
    assert problem.startswith(f"The certificate of {server.address} is not valid for '127.0.0.1'; issue it with this")
    assert_no_key([server])


def test_common_name_does_not_count_for_a_host_name(check: Run, start: Start, authority: Authority) -> None:
    server = start_tls(start, authority, authority.issue("legacy", "", common_name="localhost"))
    result = check(tls_storage(server, authority.file, addrs=[f"localhost:{server.address.port}"]))
    assert "is not valid for 'localhost'" in one_problem(result)


def test_expired_certificate(check: Run, start: Start, authority: Authority) -> None:
    server = start_tls(start, authority, authority.issue("old", "IP:127.0.0.1", days=-1))
    problem = one_problem(check(tls_storage(server, authority.file)))
    assert problem.startswith(f"The certificate of {server.address} is not valid now (certificate has expired)")


# --- managed services: one name for many addresses, announced names, public authorities ---


def resolve(monkeypatch: pytest.MonkeyPatch, name: str, *hosts: str) -> None:
    """Let a name stand for several addresses, as that of a configuration endpoint does."""
    genuine = socket.getaddrinfo

    def getaddrinfo(host: t.Any, *rest: t.Any, **more: t.Any) -> t.Any:
        wanted = hosts if host == name else (host,)
        return [found for one in wanted for found in genuine(one, *rest, **more)]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


def test_one_name_for_several_addresses(check: Run, cluster: list[Server], monkeypatch: pytest.MonkeyPatch) -> None:
    # Nobody serves the first of its addresses.
    resolve(monkeypatch, "clustercfg.redis.example", "127.0.0.250", "127.0.0.1")
    endpoint = f"clustercfg.redis.example:{cluster[4].address.port}"
    result = check(storage_of(cluster[0], addrs=[endpoint]))
    assert result["problems"] == [] and [entry["wrote"] for entry in result["reached"]] == [True] * 3 + [False] * 3
    assert result["seeds"] == [{"address": endpoint, "answered": True, "error": ""}]
    assert {entry["address"] for entry in result["reached"]} == {str(server.address) for server in cluster}


def test_announced_names_over_tls_with_the_authorities_of_the_system(
    check: Run, start: Start, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = authority.issue("named", "DNS:localhost,DNS:clustercfg.redis.example")
    names = ("cluster-announce-hostname localhost", "cluster-preferred-endpoint-type hostname")
    servers = [
        start(*names, slots=False, tls=ServerTls(authority.file, *certificate), client_tls=Tls(verify=False))
        for _number in range(2)
    ]
    for number, server in enumerate(servers):
        server.call("CLUSTER", "ADDSLOTSRANGE", number * 8192, number * 8192 + 8191)
        server.call("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
    servers[0].call("CLUSTER", "MEET", "127.0.0.1", servers[1].address.port)
    wait_for(lambda: all("cluster_state:ok" in info(server, "CLUSTER", "INFO") for server in servers))
    # Names travel by gossip of their own.
    wait_for(lambda: all(info(server, "CLUSTER", "SLOTS").count("'localhost'") == 2 for server in servers))
    resolve(monkeypatch, "clustercfg.redis.example", "127.0.0.1")
    endpoint = f"clustercfg.redis.example:{servers[0].address.port}"
    storage = tls_storage(servers[0], "", addrs=[endpoint])
    # OpenSSL and Go take the system's authorities from here.
    monkeypatch.setenv("SSL_CERT_FILE", authority.file)
    expected = [f"localhost:{server.address.port}" for server in servers]
    result = check(storage, expect_nodes=expected)
    assert result["problems"] == []
    assert [(node["address"], node["tls"], node["wrote"]) for node in result["reached"]] == [
        (address, True, True) for address in expected
    ]
    monkeypatch.delenv("SSL_CERT_FILE")
    problem = one_problem(check(storage))
    assert problem.startswith(f"The certificate of {endpoint} is not trusted")
    assert "Tyk Gateway has no CA file, so only the system's CAs are trusted" in problem
    assert_no_key(servers)


def test_node_that_is_to_be_called_by_a_name_and_has_none(check: Run, start: Start) -> None:
    server = start("cluster-preferred-endpoint-type hostname")
    problem = one_problem(check(storage_of(server)))
    assert problem.startswith(f"The node {server.call('CLUSTER', 'MYID')} announces no address in CLUSTER SLOTS of ")
    assert "cluster-announce-hostname" in problem
