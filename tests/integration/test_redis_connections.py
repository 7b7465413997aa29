# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How failures of real servers are told apart, TLS above all."""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path
from typing import Any, cast

import pytest
from conftest import RunModule, declared
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from life import judge, me
from redis.crc import key_slot
from servers import Servers, ServerTls

from ansible_collections.apiops.tyk_redis.plugins.module_utils._redis_client import (
    Address,
    Credentials,
    RedisConnection,
    RedisProblem,
    Tls,
)


class Authority:
    """A certificate authority of the test's own."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        certificate = self._builder(self._subject, self._key, 1).add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=True
        )
        self.file = self._write(f"{name}.pem", certificate.sign(self._key, hashes.SHA256()))

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, days: int) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.timezone.utc)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=10))
            .not_valid_after(now + datetime.timedelta(days=days))
        )

    def _write(self, name: str, certificate: x509.Certificate) -> str:
        path = self._folder / name
        path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return str(path)

    def issue(self, name: str, address: str = "127.0.0.1", days: int = 1) -> tuple[str, str]:
        """The files of a certificate and of its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
        certificate = self._builder(subject, key, days).add_extension(names, critical=False)
        key_path = self._folder / f"{name}.key"
        key_path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return self._write(f"{name}.crt", certificate.sign(self._key, hashes.SHA256())), str(key_path)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "ca")


def problem_with(address: Address, **options: Any) -> RedisProblem:
    with RedisConnection(address, timeout=3, **options) as connection, pytest.raises(RedisProblem) as caught:
        connection.call("PING")
    assert caught.value.address == str(address)
    return caught.value


def test_a_ca_file_is_trusted_instead_of_the_system(
    servers: Servers, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cert_file, key_file = authority.issue("system")
    tls = ServerTls(authority.file, cert_file, key_file)
    address = servers.start_server(cluster=False, tls=tls, client_tls=Tls(verify=False)).address
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    with RedisConnection(address, tls=Tls()) as connection:
        assert connection.call("PING") == "PONG"
    assert problem_with(address, tls=Tls(ca_file=Authority(tmp_path, "other").file)).kind == "tls-untrusted"


def test_certificates_that_do_not_fit_are_told_apart(servers: Servers, authority: Authority, tmp_path: Path) -> None:
    def server(name: str, **options: Any) -> Address:
        cert_file, key_file = authority.issue(name, **options)
        tls = ServerTls(authority.file, cert_file, key_file)
        return servers.start_server(cluster=False, tls=tls, client_tls=Tls(verify=False)).address

    trusted = Tls(ca_file=authority.file)
    good = server("good")
    with RedisConnection(good, tls=trusted) as connection:
        assert connection.call("PING") == "PONG"

    other = Authority(tmp_path, "other")
    untrusted = problem_with(good, tls=Tls(ca_file=other.file))
    assert untrusted.kind == "tls-untrusted"
    assert f"; give the file of the CA that issued it (now in use: {other.file})." in str(untrusted)

    name = problem_with(server("name", address="192.0.2.1"), tls=trusted)
    assert name.kind == "tls-name"
    assert "is not valid for '127.0.0.1'; issue it with this name or address as a subject alternative name" in str(name)

    expired = problem_with(server("expired", days=-1), tls=trusted)
    assert expired.kind == "tls-expired"
    assert "is not valid now (certificate has expired); renew it, or correct this host's clock." in str(expired)

    plain = problem_with(good)
    assert plain.kind == "reset"
    assert "closed the connection without an answer; if this port expects TLS, switch TLS on" in str(plain)

    with RedisConnection(good, tls=Tls(verify=False, max_version="1.2")) as connection:
        assert connection.call("PING") == "PONG"


def test_a_missing_client_certificate_is_recognised(servers: Servers, authority: Authority) -> None:
    cert_file, key_file = authority.issue("server")
    client = Tls(ca_file=authority.file, cert_file=cert_file, key_file=key_file)
    tls = ServerTls(authority.file, cert_file, key_file, auth_clients=True)
    address = servers.start_server(cluster=False, tls=tls, client_tls=client).address
    with RedisConnection(address, tls=client) as connection:
        assert connection.call("PING") == "PONG"
    problem = problem_with(address, tls=Tls(ca_file=authority.file))
    # Which of the two it is depends on whether the server's alert or its hanging up is seen first.
    assert problem.kind in ("tls-handshake", "reset")
    assert "asks for a client certificate" in str(problem)
    assert "give certificate and key" in str(problem)


def test_a_cluster_is_formed_and_grows_over_tls(servers: Servers, run_module: RunModule, authority: Authority) -> None:
    cert_file, key_file = authority.issue("server")
    tls = ServerTls(authority.file, cert_file, key_file)
    trusted = Tls(ca_file=authority.file)
    cluster = [servers.start_server(tls=tls, client_tls=trusted) for _number in range(3)]
    options: dict[str, Any] = {"nodes": declared(cluster), "replicas_per_primary": 0, "timeout": 30}
    refused = run_module("redis_cluster", **options)
    assert refused["failed"] is True
    assert "if this port expects TLS, switch TLS on" in refused["reasons"][0]
    options.update(tls=True, tls_ca_file=authority.file, node_timeout=15000)
    made = run_module("redis_cluster", **options)
    assert made.get("changed") is True, made
    assert made["cluster"]["healthy"] is True

    keys = {f"key:{number}" for number in range(200)}
    for server in cluster:
        slots = me(server).slots
        with server.connection() as connection:
            for key in keys:
                if key_slot(key.encode()) in slots:
                    connection.call("SET", key, f"value of {key}")
    cluster.append(servers.start_server(tls=tls, client_tls=trusted))
    options["nodes"] = declared(cluster)
    grown = run_module("redis_cluster", **options)
    assert grown.get("changed") is True, grown
    assert [len(me(server).slots) for server in cluster] == [4096] * 4
    judge(cluster[0])
    found = {}
    for server in cluster:
        with server.connection() as connection:
            for key in cast("list[str]", connection.call("KEYS", "*")):
                found[key] = connection.call("GET", key)
    assert found == {key: f"value of {key}" for key in keys}
    assert run_module("redis_cluster", **options).get("changed") is False


@pytest.mark.parametrize(
    ("credentials", "kind", "sentence"),
    [
        pytest.param(
            Credentials(),
            "password",
            "asks for a password and none was given; give the user and the password.",
            id="none",
        ),
        pytest.param(
            Credentials("tyk", "wrong"),
            "password",
            "does not accept the password of the user 'tyk'",
            id="wrong password",
        ),
        pytest.param(
            Credentials("nobody", "secret"),
            "password",
            "does not accept the password of the user 'nobody'",
            id="no such user",
        ),
        pytest.param(
            Credentials("tyk", "secret"), "acl", "The user 'tyk' may not run GET on 127.0.0.1:", id="forbidden command"
        ),
    ],
)
def test_refused_users_are_told_apart(servers: Servers, credentials: Credentials, kind: str, sentence: str) -> None:
    acl = ["user default off", "user tyk on >secret ~* +ping"]
    server = servers.start_server(cluster=False, acl=acl)
    with RedisConnection(server.address, credentials=credentials) as connection:
        with pytest.raises(RedisProblem, match=sentence) as caught:
            connection.call("GET", "key")
        assert caught.value.kind == kind
        assert "secret" not in str(caught.value) + caught.value.detail + repr(credentials)


def test_a_server_that_knows_no_password_says_so(servers: Servers) -> None:
    server = servers.start_server(cluster=False)
    problem = problem_with(server.address, credentials=Credentials(None, "secret"))
    assert problem.kind == "password"
    assert str(problem).endswith("has no password for the user 'default'; set it there, or give none.")


def test_error_replies_are_items_of_a_pipeline(servers: Servers) -> None:
    server = servers.start_server(cluster=False)
    with server.connection() as connection:
        ping, info, moved, last = connection.pipeline(
            [("PING",), ("CLUSTER", "INFO"), ("INCRBY", "a", "b"), ("ECHO", "größe")]
        )
    assert (ping, last) == ("PONG", "größe")
    assert (info.kind, moved.kind) == ("not-a-cluster", "error")
    assert str(info) == f"{server.address} does not run in cluster mode; set cluster-enabled yes there and restart it."
    assert str(moved) == f"{server.address} answered INCRBY with an error: value is not an integer or out of range."


def test_a_connection_opens_again_after_its_server_came_back(servers: Servers) -> None:
    server = servers.start_server(cluster=False, password="secret")
    with server.connection() as connection:
        assert connection.call("PING") == "PONG"
        server.kill()
        with pytest.raises(RedisProblem) as caught:
            connection.call("PING")
        assert caught.value.kind in ("reset", "refused")
        server.start_again()
        assert connection.call("PING") == "PONG"


def test_a_server_without_a_connection_left_says_so(servers: Servers) -> None:
    server = servers.start_server(cluster=False)
    server.call("CONFIG", "SET", "maxclients", 1)
    with server.connection() as holder:
        assert holder.call("PING") == "PONG"
        problem = problem_with(server.address)
    assert problem.kind == "max-clients"
    assert "has no connection left; raise maxclients there" in str(problem)
