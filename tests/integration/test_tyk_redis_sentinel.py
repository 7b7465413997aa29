# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""tyk_redis_check through real Sentinels on loopback, each with a fault of its own."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass
from pathlib import Path

import pytest
from servers import VERSIONS, Server, ServerTls
from tyk_checks import (
    ADMIN_PASSWORD,
    TYK_PASSWORD,
    Authority,
    Run,
    Sentinels,
    Start,
    assert_no_key,
    calls_of,
    checker,
    info,
    let_in,
    one_problem,
    paused,
    started,
    wait_for,
)

from ansible_collections.apiops.tyk_redis.plugins.module_utils._redis_client import Tls

NAME = "tyk-main"
SENTINEL_PASSWORD = "of-the-sentinels"


@dataclass
class Deployment:
    """A primary, its replicas, and the Sentinels that watch them."""

    primary: Server
    replicas: list[Server]
    sentinels: list[Server]

    @property
    def data(self) -> list[Server]:
        return [self.primary, *self.replicas]


@pytest.fixture(name="start", scope="module")
def fixture_start(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Start]:
    with started(tmp_path_factory.mktemp("servers")) as start:
        yield start


@pytest.fixture(name="sentinels", scope="module")
def fixture_sentinels(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Sentinels]:
    running = Sentinels(tmp_path_factory.mktemp("sentinels"))
    try:
        yield running
    finally:
        running.stop_all()


def deploy(start: Start, sentinels: Sentinels, *, replicas: int, count: int, **options: t.Any) -> Deployment:
    primary = start(cluster=False, **options)
    following = [
        start(f"replicaof {primary.address.host} {primary.address.port}", cluster=False, **options)
        for _number in range(replicas)
    ]
    for server in following:
        wait_for(lambda server=server: "master_link_status:up" in info(server, "INFO", "replication"))
    version = {"version_name": options["version_name"]} if "version_name" in options else {}
    watching = [sentinels.start(NAME, primary, password=SENTINEL_PASSWORD, **version) for _number in range(count)]
    for sentinel in watching:
        wait_for(lambda sentinel=sentinel: sentinels.sees(sentinel, NAME, replicas=replicas, others=count - 1))
    return Deployment(primary, following, watching)


@pytest.fixture(name="shared", scope="module")
def fixture_shared(start: Start, sentinels: Sentinels) -> Deployment:
    return deploy(start, sentinels, replicas=2, count=3)


@pytest.fixture(name="deployment")
def fixture_deployment(shared: Deployment) -> t.Iterator[Deployment]:
    """The deployment, whose users are as before after the test."""
    yield shared
    for server in shared.data:
        let_in(server)


@pytest.fixture(name="check")
def fixture_check(tmp_path: Path, run_module: Run) -> Run:
    return checker(tmp_path, run_module)


def storage_of(*sentinels: Server, **more: t.Any) -> dict[str, t.Any]:
    return {
        "addrs": [str(sentinel.address) for sentinel in sentinels],
        "master_name": NAME,
        "sentinel_password": SENTINEL_PASSWORD,
        "username": "tyk",
        "password": TYK_PASSWORD,
        **more,
    }


def run_id(server: Server) -> str:
    return info(server, "INFO", "server").partition("run_id:")[2].split()[0]


# --- a healthy deployment ---


def test_primary_is_written_and_every_replica_read(check: Run, deployment: Deployment) -> None:
    for server in deployment.data:
        server.call("CONFIG", "RESETSTAT")
    result = check(
        storage_of(*deployment.sentinels, database=3),
        expect_nodes=[str(server.address) for server in deployment.data],
        least_privilege=["main"],
    )
    assert result["problems"] == [] and result["healthy"] is True
    assert result["seeds"] == [
        {"address": str(sentinel.address), "answered": True, "error": ""} for sentinel in deployment.sentinels
    ]
    primary = str(deployment.primary.address)
    by_address = sorted(deployment.replicas, key=lambda server: server.address)
    assert [(node["address"], node["role"], node["primary"], node["wrote"]) for node in result["reached"]] == [
        (primary, "primary", "", True),
        *((str(server.address), "replica", primary, False) for server in by_address),
    ]
    assert [node["id"] for node in result["reached"]] == [
        run_id(server) for server in [deployment.primary, *by_address]
    ]
    assert result["agreement"]["node_ids"] == sorted(run_id(server) for server in deployment.data)
    assert [calls_of(deployment.primary, word) for word in ("set", "get", "del", "select")] == [1, 1, 1, 1]
    assert [calls_of(server, "get") for server in deployment.replicas] == [1, 1]
    assert [calls_of(server, "cluster") + calls_of(server, "readonly") for server in deployment.data] == [0] * 3
    assert "select" in result["rights"]["allowed"] and "flushall" in result["rights"]["refused"]
    assert_no_key(deployment.data)


@pytest.mark.parametrize("version", VERSIONS)
def test_every_server_version(check: Run, start: Start, sentinels: Sentinels, version: str) -> None:
    deployment = deploy(start, sentinels, replicas=1, count=1, version_name=version)
    result = check(storage_of(*deployment.sentinels))
    assert result["problems"] == []
    assert [(node["role"], node["wrote"]) for node in result["reached"]] == [("primary", True), ("replica", False)]
    data_node = check(storage_of(deployment.primary))
    assert len(data_node["problems"]) == 1 and data_node["seeds"][0]["answered"] is False
    if version != "valkey-9.1":
        # That one looks at the login before anything else, so that it cannot be told from a Sentinel.
        assert data_node["problems"][0].startswith(f"{deployment.primary.address} is no Sentinel; give the addresses")
    unknown = one_problem(check(storage_of(*deployment.sentinels, master_name="mymaster")))
    assert unknown.startswith(
        f"The Sentinel {deployment.sentinels[0].address} does not know a primary named 'mymaster'"
    )
    assert_no_key(deployment.data)


def test_one_seed_of_three_is_enough(check: Run, deployment: Deployment) -> None:
    result = check(storage_of(deployment.sentinels[1]))
    assert result["problems"] == [] and len(result["reached"]) == 3 and len(result["seeds"]) == 1


def test_check_mode_reads_only(check: Run, deployment: Deployment) -> None:
    for server in deployment.data:
        server.call("CONFIG", "RESETSTAT")
    result = check(storage_of(*deployment.sentinels), check_mode=True)
    assert result["healthy"] is True and not any(node["wrote"] for node in result["reached"])
    assert [calls_of(server, "set") + calls_of(server, "del") for server in deployment.data] == [0] * 3


# --- the Sentinels ---


def test_sentinel_that_is_dead(check: Run, deployment: Deployment) -> None:
    with paused(deployment.sentinels[0]):
        result = check(storage_of(*deployment.sentinels))
    problem = one_problem(result)
    assert problem.startswith(f"{deployment.sentinels[0].address} did not answer within 2 s")
    assert " (a Sentinel; Tyk Gateway takes the address from file:" in problem
    assert [seed["answered"] for seed in result["seeds"]] == [False, True, True] and len(result["reached"]) == 3


def test_fewer_sentinels_than_a_majority(check: Run, deployment: Deployment) -> None:
    first, second, third = deployment.sentinels
    with paused(first), paused(second):
        result = check(storage_of(third, first))
    majority, dead = result["problems"]
    assert dead.startswith(f"{first.address} did not answer within 2 s")
    silent = " and ".join(sorted(str(sentinel.address) for sentinel in (first, second)))
    assert majority == (
        f"Only 1 of the 3 Sentinels of '{NAME}' can be reached from here, but a failover needs 2 (no answer from "
        f"{silent}); start the others, and open the way to them."
    )
    assert len(result["reached"]) == 3


def test_unknown_name_is_one_sentence_for_all_sentinels(check: Run, deployment: Deployment) -> None:
    result = check(storage_of(*deployment.sentinels, master_name="mymaster"))
    first, second, third = sorted(str(sentinel.address) for sentinel in deployment.sentinels)
    problem = one_problem(result)
    assert problem.startswith(
        f"The Sentinel {first} does not know a primary named 'mymaster' (it knows '{NAME}'); correct "
        "storage.master_name, or let the Sentinel monitor it (Tyk Gateway takes the name from file:"
    )
    assert problem.endswith(f"; the same holds for {second} and {third}.")
    assert result["reached"] == [] and not any(seed["answered"] for seed in result["seeds"])


@pytest.mark.parametrize("password", ["not-it", ""])
def test_password_of_the_sentinels(check: Run, deployment: Deployment, password: str) -> None:
    problem = one_problem(check(storage_of(*deployment.sentinels, sentinel_password=password)))
    first, second, third = sorted(str(sentinel.address) for sentinel in deployment.sentinels)
    if password:
        assert problem.startswith(f"{first} does not accept the password of the user 'default'")
        assert " (Tyk Gateway takes the password of the Sentinels from file:" in problem
    else:
        assert problem.startswith(f"{first} asks for a password and none was given")
        assert (
            " (Tyk Gateway has no password for the Sentinels; the one for the data nodes is not sent to them)"
            in problem
        )
    assert problem.endswith(f"; the same holds for {second} and {third}.")
    assert "not-it" not in problem


@pytest.mark.parametrize("password", [SENTINEL_PASSWORD, ""])
def test_data_nodes_in_place_of_sentinels(check: Run, deployment: Deployment, password: str) -> None:
    result = check(storage_of(*deployment.data, sentinel_password=password))
    first, second, third = sorted(str(server.address) for server in deployment.data)
    problem = one_problem(result)
    assert problem.startswith(
        f"{first} is no Sentinel; give the addresses of the Sentinels, which usually listen on port 26379 (Tyk Gateway "
        "takes the address from file:"
    )
    assert problem.endswith(f"; the same holds for {second} and {third}.")
    assert result["reached"] == []


def test_sentinels_that_disagree(check: Run, deployment: Deployment, start: Start, sentinels: Sentinels) -> None:
    other = start(cluster=False)
    stray = sentinels.start(NAME, other, password=SENTINEL_PASSWORD)
    result = check(storage_of(stray, *deployment.sentinels))
    listed = [str(sentinel.address) for sentinel in deployment.sentinels]
    assert one_problem(result) == (
        f"The Sentinels name different primaries for '{NAME}': {other.address} by {stray.address}; "
        f"{deployment.primary.address} by {listed[0]}, {listed[1]} and {listed[2]}. Tyk Gateway goes to the one that "
        "it hears of first; let a failover end and check again, or make all of them monitor the same primary."
    )
    # What most of them say is followed.
    assert result["reached"][0]["address"] == str(deployment.primary.address)
    assert_no_key([other, *deployment.data])


# --- the data nodes ---


def test_wrong_password_for_the_data_nodes(check: Run, deployment: Deployment) -> None:
    problem = one_problem(check(storage_of(*deployment.sentinels, password="not-it")))
    first, second, third = sorted(str(server.address) for server in deployment.data)
    assert problem.startswith(f"{first} does not accept the password of the user 'tyk'")
    assert problem.endswith(f"; the same holds for {second} and {third}.")


def test_replica_that_is_down(check: Run, start: Start, sentinels: Sentinels) -> None:
    deployment = deploy(start, sentinels, replicas=2, count=1)
    (sentinel,) = deployment.sentinels
    sentinel.call("SENTINEL", "SET", NAME, "down-after-milliseconds", 300)
    lost, kept = deployment.replicas
    lost.kill()
    wait_for(lambda: "s_down" in sentinels.flags(sentinel, NAME, lost))
    result = check(storage_of(sentinel), expect_nodes=[str(lost.address)])
    problem = one_problem(result)
    assert problem.startswith(f"{lost.address} refused the connection; start Redis there")
    assert f"replica of {deployment.primary.address}, which the Sentinel {sentinel.address} takes for down (" in problem
    assert "s_down" in problem
    assert problem.endswith("and a replica that is gone for good is forgotten with SENTINEL RESET.")
    assert {node["address"] for node in result["reached"]} == {str(kept.address), str(deployment.primary.address)}


def test_nodes_that_only_the_sentinel_takes_for_down(check: Run, start: Start, sentinels: Sentinels) -> None:
    deployment = deploy(start, sentinels, replicas=1, count=1)
    (sentinel,), (replica,) = deployment.sentinels, deployment.replicas
    # As when its password was changed on the nodes and not in the Sentinel, which then gets no answer to PING.
    sentinel.call("SENTINEL", "SET", NAME, "auth-pass", "the old one")
    sentinel.call("SENTINEL", "SET", NAME, "down-after-milliseconds", 300)
    wait_for(lambda: all("s_down" in sentinels.flags(sentinel, NAME, server) for server in deployment.data))
    result = check(storage_of(sentinel))
    primary, replicated = result["problems"]
    assert primary.startswith(
        f"The Sentinel {sentinel.address} takes the primary {deployment.primary.address} of '{NAME}' for down ("
    )
    assert replicated.startswith(
        f"{replica.address} answers here, but the Sentinel {sentinel.address} takes it for down"
    )
    assert replicated.endswith(f"reaches it and has its password (a replica of {deployment.primary.address}).")
    assert [(node["role"], node["wrote"]) for node in result["reached"]] == [("primary", True), ("replica", False)]


@pytest.mark.parametrize("rule", [pytest.param("+info", id="by INFO"), pytest.param("+role", id="by ROLE"), "-info"])
def test_primary_that_is_a_replica(check: Run, start: Start, sentinels: Sentinels, rule: str) -> None:
    deployment = deploy(start, sentinels, replicas=0, count=1)
    (sentinel,) = deployment.sentinels
    other = start(cluster=False)
    let_in(deployment.primary)
    deployment.primary.call("ACL", "SETUSER", "tyk", rule)
    deployment.primary.call("REPLICAOF", other.address.host, other.address.port)
    wait_for(lambda: "master_link_status:up" in info(deployment.primary, "INFO", "replication"))
    result = check(storage_of(sentinel))
    problem = one_problem(result)
    if rule == "-info":
        assert problem.startswith(
            f"{deployment.primary.address} is a read-only replica, so that nothing can be written"
        )
        assert f"(the primary of '{NAME}'; the Sentinel {sentinel.address} names this address)" in problem
    else:
        assert problem == (
            f"The Sentinel {sentinel.address} names {deployment.primary.address} as the primary of '{NAME}', but that "
            "is a replica; let a failover end and check again, or see why the Sentinel does not notice."
        )
    assert [node["wrote"] for node in result["reached"]] == [False]


def test_expected_node_that_no_sentinel_names(check: Run, deployment: Deployment, start: Start) -> None:
    other = start(cluster=False)
    assert one_problem(check(storage_of(*deployment.sentinels), expect_nodes=[str(other.address)])) == (
        f"The expected node {other.address} answers, but the Sentinels do not announce it as a primary or replica; let "
        "it replicate the primary, or correct the list of expected nodes."
    )


def test_right_that_lacks_on_a_replica(check: Run, deployment: Deployment) -> None:
    deployment.replicas[1].call("ACL", "SETUSER", "tyk", "-hset")
    result = check(storage_of(*deployment.sentinels))
    assert one_problem(result).startswith(
        f"The user 'tyk' may not run HSET on {deployment.replicas[1].address}, which Tyk Gateway needs"
    )


def test_tls_of_sentinels_and_data_nodes(check: Run, start: Start, sentinels: Sentinels, tmp_path: Path) -> None:
    authority = Authority(tmp_path, "ca")
    certificate = authority.issue("redis", "IP:127.0.0.1")
    tls = ServerTls(authority.file, *certificate)
    primary = start(cluster=False, tls=tls, client_tls=Tls(verify=False))
    sentinel = sentinels.start(NAME, primary, password=SENTINEL_PASSWORD, tls=tls)
    wait_for(lambda: sentinels.sees(sentinel, NAME, replicas=0, others=0))
    secured = storage_of(sentinel, use_ssl=True, ca_file=authority.file)
    result = check(secured)
    assert result["problems"] == [] and [node["tls"] for node in result["reached"]] == [True]
    problem = one_problem(check({**secured, "ca_file": ""}))
    assert problem.startswith(f"The certificate of {sentinel.address} is not trusted")
    assert "Tyk Gateway has no CA file, so only the system's CAs are trusted" in problem
    plain = sentinels.start(NAME, primary, password=SENTINEL_PASSWORD)
    problem = one_problem(check({**secured, "addrs": [str(plain.address)]}))
    assert (
        problem.startswith(f"{plain.address} did not answer within 2 s") and "speaks TLS there (a Sentinel" in problem
    )
    assert ADMIN_PASSWORD not in problem
