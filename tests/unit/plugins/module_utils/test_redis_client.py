# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses, secrets, and the failures that a socket on loopback can play."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.apiops.tyk_redis.plugins.module_utils import _redis_client
from ansible_collections.apiops.tyk_redis.plugins.module_utils._redis_client import (
    Address,
    Credentials,
    RedisConnection,
    RedisProblem,
    Tls,
)

pytest.importorskip("redis")


@contextmanager
def server_that_says(reply: bytes | None) -> Iterator[Address]:
    """Answers the first bytes of every client with the reply and hangs up; None says nothing and holds on."""
    held = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    client, _address = listener.accept()
                except OSError:
                    return
                held.append(client)
                if reply is not None:
                    client.recv(4096)
                    client.sendall(reply)
                    client.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield Address("127.0.0.1", listener.getsockname()[1])
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(timeout=5)
    for client in held:
        client.close()


def problem_of(address: Address, **options: object) -> RedisProblem:
    with RedisConnection(address, timeout=0.3, **options) as connection:  # type: ignore[arg-type]
        with pytest.raises(RedisProblem) as caught:
            connection.call("CLUSTER", "NODES")
        return caught.value


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.1:6379", Address("192.0.2.1", 6379)),
        ("redis-1.example:7000", Address("redis-1.example", 7000)),
        ("[2001:db8::1]:6379", Address("2001:db8::1", 6379)),
    ],
)
def test_an_address_is_written_as_it_is_read(text: str, address: Address) -> None:
    assert Address.parse(text) == address
    assert str(address) == text


@pytest.mark.parametrize("text", ["", "6379", "host", "host:", ":6379", "host:0", "host:65536", "host:x", "host:²"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not an address of the form host:port"):
        Address.parse(text)


def test_an_ipv6_address_without_brackets_is_ambiguous() -> None:
    with pytest.raises(ValueError, match="write an IPv6 address in brackets"):
        Address.parse("2001:db8::1:6379")


@given(st.ip_addresses(), st.integers(1, 65535))
def test_every_ip_address_survives_the_round_trip(ip: object, port: int) -> None:
    address = Address(str(ip), port)
    assert Address.parse(str(address)) == address


def test_a_password_is_not_in_the_representation() -> None:
    assert repr(Credentials("tyk", "secret")) == "Credentials(username='tyk')"


@pytest.mark.parametrize(
    ("reply", "kind", "sentence"),
    [
        pytest.param(
            b"-DENIED Redis is running in protected mode because...\r\n",
            "protected",
            "runs in protected mode and admits only local clients; give its users passwords, or bind it",
            id="protected",
        ),
        pytest.param(
            b"-LOADING Redis is loading the dataset in memory\r\n",
            "loading",
            "is still loading its data; try again when it is done.",
            id="loading",
        ),
        pytest.param(
            b"-ERR max number of clients reached\r\n", "max-clients", "has no connection left", id="max clients"
        ),
        pytest.param(
            b"-ERR This instance has cluster support disabled\r\n",
            "not-a-cluster",
            "does not run in cluster mode; set cluster-enabled yes there and restart it.",
            id="no cluster",
        ),
        pytest.param(
            b"-NOPERM this user has no permissions to run the 'cluster' command or its subcommand\r\n",
            "acl",
            "The user 'default' may not run CLUSTER NODES on",
            id="acl",
        ),
        pytest.param(b"-NOAUTH Authentication required.\r\n", "password", "asks for a password", id="password"),
        pytest.param(
            b"-CLUSTERDOWN Hash slot not served\r\n",
            "error",
            "answered CLUSTER NODES with an error: CLUSTERDOWN Hash slot not served.",
            id="another error",
        ),
        pytest.param(b"", "reset", "if this port expects TLS, switch TLS on, otherwise see the", id="eof"),
        pytest.param(b"HTTP/1.1 400 Bad Request\r\n\r\n", "error", "could not be talked to: ", id="not redis"),
    ],
)
def test_what_a_server_says_is_classified(reply: bytes, kind: str, sentence: str) -> None:
    with server_that_says(reply) as address:
        problem = problem_of(address)
    assert (problem.kind, problem.address) == (kind, str(address))
    assert sentence in str(problem)
    assert str(problem).endswith(".")


def test_silence_is_a_timeout() -> None:
    with server_that_says(None) as address:
        problem = problem_of(address)
    assert problem.kind == "timeout"
    assert f"{address} did not answer within 0.3 s; check that the host is up" in str(problem)


def test_a_closed_port_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = Address("127.0.0.1", listener.getsockname()[1])
    problem = problem_of(address)
    assert problem.kind == "refused"
    assert str(problem) == (
        f"{address} refused the connection; start Redis there, and check the address and port it listens on."
    )


def test_an_unknown_name_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody_knows(*_arguments: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nobody_knows)
    problem = problem_of(Address("redis-9.example", 6379))
    assert problem.kind == "name-resolution"
    assert "The name 'redis-9.example' of redis-9.example:6379 cannot be resolved (Name or service not known)" in str(
        problem
    )


def test_an_unreachable_host_is_told_from_a_silent_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_route(*_arguments: object) -> None:
        raise OSError(113, "No route to host")

    monkeypatch.setattr(_redis_client._Wire, "_connect", no_route)
    problem = problem_of(Address("192.0.2.1", 6379))
    assert problem.kind == "unreachable"
    assert "192.0.2.1:6379 cannot be reached (No route to host); check the address" in str(problem)


def test_a_port_that_does_not_speak_tls_is_recognised() -> None:
    with server_that_says(b"-ERR Protocol error: unauthenticated bulk length\r\n") as address:
        problem = problem_of(address, tls=Tls(verify=False))
    assert problem.kind == "tls-handshake"
    assert "this port does not speak TLS: use the TLS port, or switch TLS off." in str(problem)


@pytest.mark.parametrize(
    ("tls", "sentence"),
    [
        (Tls(ca_file="/nowhere/ca.pem"), "The CA file /nowhere/ca.pem for 127.0.0.1:1 cannot be used (No such file"),
        (
            Tls(cert_file="/nowhere/c.pem", key_file="/nowhere/k.pem"),
            "The client certificate /nowhere/c.pem with the key /nowhere/k.pem for 127.0.0.1:1 cannot be used (No such",
        ),
    ],
)
def test_files_that_cannot_be_read_are_named(tls: Tls, sentence: str) -> None:
    problem = problem_of(Address("127.0.0.1", 1), tls=tls)
    assert problem.kind == "error"
    assert sentence in str(problem)


def test_secrets_in_operands_do_not_get_into_messages() -> None:
    with server_that_says(b"-ERR wrong\r\n") as address:
        connection = RedisConnection(address, timeout=0.3)
        with pytest.raises(RedisProblem) as caught:
            connection.call("CONFIG", "SET", "requirepass", "secret")
    assert str(caught.value) == f"{address} answered CONFIG SET with an error: wrong."
