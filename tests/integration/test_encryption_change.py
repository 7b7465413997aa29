# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A running cluster changes to TLS and back, while clients write to it, and none of them notices."""

from __future__ import annotations

import hashlib
import os
import re
import socket
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import life
import pytest
from conftest import RunModule, declared
from cryptography import x509
from life import Writers, lines_of, wait_until
from redis.cluster import RedisCluster
from servers import Server, Servers
from test_redis_connections import Authority

from ansible_collections.apiops.tyk_redis.plugins.module_utils import _description
from ansible_collections.apiops.tyk_redis.plugins.module_utils._redis_client import Address, Tls

# Those from 7.0 on that are built with TLS; the servers in wheels are not.
VERSIONS = ("redis-7.0", "redis-8.0")
ADMIN, PASSWORD = "boss", "only for this test"
NODE_TIMEOUT = 5000
# As many more as keep to the ports of this worker, and below those of the bus.
OFFSET = 100 * int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
HIGHEST_PORT = 20999


class HostAuthority(Authority):
    """One whose certificates are for servers and for clients."""

    def _builder(self, *args: Any) -> x509.CertificateBuilder:
        uses = [x509.ExtendedKeyUsageOID.SERVER_AUTH, x509.ExtendedKeyUsageOID.CLIENT_AUTH]
        return super()._builder(*args).add_extension(x509.ExtendedKeyUsage(uses), critical=False)


class BothWays(Servers):
    """Starts servers that listen with TLS beside the port without it, as the role's do while a cluster changes."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        authority = HostAuthority(folder, "ca")
        cert_file, key_file = authority.issue("host")
        self.tls = Tls(ca_file=authority.file, cert_file=cert_file, key_file=key_file)
        self._port = 0

    def free_port(self, host: str = "127.0.0.1") -> int:
        return self._port

    def _choose_port(self) -> None:
        while True:
            self._port = super().free_port()
            if self._port + OFFSET <= HIGHEST_PORT:
                try:
                    socket.create_server(("127.0.0.1", self._port + OFFSET)).close()
                except OSError:
                    continue
                return

    def start_both(self, version: str) -> Server:
        self._choose_port()
        hashed = hashlib.sha256(PASSWORD.encode()).hexdigest()
        return self.start_server(
            version,
            username=ADMIN,
            password=PASSWORD,
            acl=["user default off", f"user {ADMIN} on #{hashed} ~* &* +@all"],
            bus_port=self._port + 10000,
            extra=[
                f"cluster-node-timeout {NODE_TIMEOUT}",
                f"tls-port {self._port + OFFSET}",
                f"tls-ca-cert-file {self.tls.ca_file}",
                f"tls-cert-file {self.tls.cert_file}",
                f"tls-key-file {self.tls.key_file}",
                "tls-auth-clients yes",
                # From 7.2 on, peers connect anew only when they are told another port.
                f"cluster-announce-tls-port {self._port}",
            ],
        )

    def reached_with_tls(self, server: Server) -> Server:
        """The same server, as clients with TLS see it."""
        address = Address(server.address.host, server.address.port + OFFSET)
        return replace(server, address=address, tls=self.tls)


@pytest.fixture
def both_ways(tmp_path: Path) -> Iterator[BothWays]:
    running = BothWays(tmp_path)
    try:
        yield running
    finally:
        running.stop_all()


@pytest.fixture(autouse=True)
def clients_with_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the clients of servers that are reached with TLS speak it."""
    without = life.client_of

    def client_of(cluster: Sequence[Server], **options: Any) -> RedisCluster:
        tls = cluster[0].tls
        if tls:
            options |= {
                "ssl": True,
                "ssl_ca_certs": tls.ca_file,
                "ssl_certfile": tls.cert_file,
                "ssl_keyfile": tls.key_file,
                # A port without TLS does not answer a greeting with it, which is no reason to wait long.
                "socket_timeout": 2,
            }
        return without(cluster, **options)

    monkeypatch.setattr(life, "client_of", client_of)


class OtherWriters(Writers):
    """Clients that write keys of their own beside those of other writers."""

    def _write(self, client: RedisCluster, key: bytes) -> None:
        super()._write(client, b"other " + key)


def ports_of(cluster: Sequence[Server]) -> list[int]:
    return sorted(server.address.port for server in cluster)


def told_to_clients(server: Server) -> list[int]:
    """The ports of primaries and replicas that a client is told."""
    slots: Any = server.call("CLUSTER", "SLOTS")
    return sorted({node[1] for entry in slots for node in entry[2:]})


def await_ports(*clusters: Sequence[Server]) -> None:
    """Wait until clients are told the ports by which they came, and no others."""
    wait_until(
        lambda: all(told_to_clients(server) == ports_of(cluster) for cluster in clusters for server in cluster),
        seconds=10,
        what="That every node tells the right ports",
    )


def roles(cluster: Sequence[Server]) -> list[tuple[object, ...]]:
    """What a failover would change, as each node sees it."""
    facts: list[tuple[object, ...]] = []
    for server in cluster:
        facts += re.findall(r"(cluster_(?:current|my)_epoch):(\d+)", str(server.call("CLUSTER", "INFO")))
        facts += sorted(
            (line.node_id, line.is_primary, line.primary_id, line.epoch, sorted(line.slots))
            for line in lines_of(server)
        )
    return facts


def replicates_by(cluster: Sequence[Server]) -> bool:
    """Whether every replica is connected by the given ports of its primary and tells its own."""
    ports = set(ports_of(cluster))
    replicas = []
    for server in cluster:
        info = str(server.call("INFO", "replication"))
        if "role:slave" in info:
            (port,) = re.findall(r"master_port:(\d+)", info)
            if "master_link_status:up" not in info or int(port) not in ports:
                return False
            continue
        clients = str(server.call("CLIENT", "LIST", "TYPE", "replica"))
        if re.findall(r" laddr=\S+:(\d+) ", clients) != [str(server.address.port)]:
            return False
        replicas += re.findall(r"slave\d+:\S*,port=(\d+),state=online,", info)
    return len(replicas) == len(cluster) // 2 and {int(port) for port in replicas} < ports


def oldest_bus_link(cluster: Sequence[Server]) -> float:
    """When the oldest connection between two nodes was made, as a Unix time."""
    answers: list[Any] = [server.call("CLUSTER", "LINKS") for server in cluster]
    return min(link[link.index("create-time") + 1] for links in answers for link in links) / 1000


@pytest.mark.parametrize("version", VERSIONS)
def test_a_running_cluster_changes_to_tls_and_back(both_ways: BothWays, run_module: RunModule, version: str) -> None:
    plain = [both_ways.start_both(version) for _number in range(6)]
    encrypted = [both_ways.reached_with_tls(server) for server in plain]
    login = {"username": ADMIN, "password": PASSWORD}
    certificates = {f"tls_{name}_file": getattr(both_ways.tls, f"{name}_file") for name in ("ca", "cert", "key")}
    with_tls = {**login, "tls": True, **certificates}
    nodes = [{**node, "bus_port": server.bus_port} for node, server in zip(declared(plain), plain)]
    options = {"replicas_per_primary": 1, "node_timeout": NODE_TIMEOUT, "timeout": 30, **login}
    made = run_module("redis_cluster", nodes=nodes, **options)
    assert made.get("changed") is True, made
    before = roles(plain)
    hosts = {f"redis{n}": {"redis_address": "127.0.0.1", "redis_ports": [s.address.port]} for n, s in enumerate(plain)}

    def change(previous: str, new: str, **connection: Any) -> None:
        """Tell all nodes, once."""
        modes = {"encryption": new, "previous_encryption": previous, "encrypted_port_offset": OFFSET}
        settings = _description.announced(hosts, list(hosts), {**_description.PLAIN, **modes})
        for check, expected in ((True, True), (False, True), (True, False), (False, False)):
            result = run_module("redis_config", check=check, nodes=settings, **connection)
            assert result.get("changed") is expected, result

    began = time.time()
    with Writers(plain, "none to tls", count=2) as writers, ThreadPoolExecutor() as pool:
        change("none", "tls", **login)
        # These come while the nodes still tell each other, and may have to try again.
        told = pool.submit(await_ports, plain, encrypted)
        with OtherWriters(encrypted, "none to tls, clients that come at once", count=2) as others:
            told.result()
            wait_until(lambda: replicates_by(encrypted), what="That replicas speak TLS")
            wait_until(lambda: oldest_bus_link(plain) > began, what="That all nodes have connected anew")
    assert (writers.lost(), others.lost(), writers.errors) == ([], [], [])
    assert roles(plain) == before
    nodes = [{**node, "port": server.address.port} for node, server in zip(nodes, encrypted)]
    found = run_module("redis_cluster_info", nodes=nodes, replicas_per_primary=1, **with_tls)
    assert (found["cluster"]["healthy"], found["problems"]) == (True, [])
    # There is nothing left to do for it.
    again = run_module("redis_cluster", nodes=nodes, **{**options, **with_tls})
    assert again.get("changed") is False, again

    began = time.time()
    with Writers(plain, "tls to none", count=2) as writers:
        change("tls", "none", **with_tls)
        await_ports(plain)
        wait_until(lambda: replicates_by(plain), what="That replicas speak no TLS")
        wait_until(lambda: oldest_bus_link(plain) > began, what="That all nodes have connected anew")
    assert (writers.lost(), writers.errors) == ([], [])
    assert roles(plain) == before
    again = run_module("redis_cluster", nodes=declared(plain), **options)
    assert again.get("changed") is False, again
    life.judge(plain[0])
