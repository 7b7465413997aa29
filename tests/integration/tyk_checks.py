# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers with a user for Tyk, and the check run on the configuration of a component that uses them."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import time
import typing as t
from pathlib import Path

from servers import DISTRIBUTION, Server, Servers, ServerTls, server_binary

from ansible_collections.apiops.tyk_redis.plugins.module_utils._redis_client import (
    Address,
    Credentials,
    RedisProblem,
    Tls,
)
from ansible_collections.apiops.tyk_redis.plugins.module_utils._tyk_acl import rules

ADMIN_PASSWORD = "admin-of-the-test"
TYK_PASSWORD = 'tyk\'s "pass\\word" é'
# Long enough that no server of a test is declared failed, whatever the test does to it.
NODE_TIMEOUT = 600000

Run = t.Callable[..., "dict[str, t.Any]"]
Start = t.Callable[..., Server]


@contextlib.contextmanager
def started(folder: Path) -> t.Iterator[Start]:
    """A function that starts servers with a user for Tyk; all of them are stopped at the end."""
    servers = Servers(folder)

    def start(*extra: str, cluster: bool = True, slots: bool = True, **options: t.Any) -> Server:
        # Redis 6.0 knows no channels in the rules of a user.
        channels = "" if options.get("version_name") == "redis-6.0" else "&* "
        timeout = (f"cluster-node-timeout {NODE_TIMEOUT}",) if cluster else ()
        server = servers.start_server(
            cluster=cluster,
            username="admin",
            password=ADMIN_PASSWORD,
            acl=["user default off", f"user admin on >{ADMIN_PASSWORD} ~* {channels}+@all"],
            extra=(*timeout, *extra),
            **options,
        )
        let_in(server)
        if cluster and slots:
            # Redis 6 has no ranges of slots yet, so that each is named.
            server.call("CLUSTER", "ADDSLOTS", *range(16384))
            wait_for(lambda: "cluster_state:ok" in info(server, "CLUSTER", "INFO"))
        return server

    try:
        yield start
    finally:
        servers.stop_all()


def let_in(server: Server, component: str = "gateway") -> None:
    """Give the user of the test what the component needs, and nothing more."""
    words = rules(component, (6, 0) if server.version == "redis-6.0" else (7, 0), client_setinfo=False)
    server.call("ACL", "SETUSER", "tyk", "reset", "on", f">{TYK_PASSWORD}", *words)


def info(server: Server, *words: str) -> str:
    return str(server.call(*words))


def wait_for(condition: t.Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, "the servers of the test did not get ready"
        time.sleep(0.05)


def make_cluster(start: Start) -> list[Server]:
    """Three primaries and their replicas, in this order."""
    servers = [start("repl-diskless-sync-delay 0", slots=False) for _number in range(6)]
    for number, (first, last) in enumerate([(0, 5460), (5461, 10922), (10923, 16383)]):
        servers[number].call("CLUSTER", "ADDSLOTSRANGE", first, last)
        servers[number].call("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
    for server in servers[1:]:
        servers[0].call("CLUSTER", "MEET", "127.0.0.1", server.address.port)
    wait_for(lambda: all("cluster_known_nodes:6" in info(server, "CLUSTER", "INFO") for server in servers))
    for primary, replica in zip(servers[:3], servers[3:]):
        identity = str(primary.call("CLUSTER", "MYID"))

        def adopted(replica: Server = replica, identity: str = identity) -> bool:
            with contextlib.suppress(RedisProblem):
                return replica.call("CLUSTER", "REPLICATE", identity) == "OK"
            return False

        wait_for(adopted)
    wait_for(lambda: all(shape(server) == [2, 2, 2] for server in servers))
    wait_for(lambda: all("master_link_status:up" in info(s, "INFO", "replication") for s in servers[3:]))
    return servers


def shape(server: Server) -> list[int]:
    return [len(entry) - 2 for entry in t.cast("list[list[t.Any]]", server.call("CLUSTER", "SLOTS"))]


def checker(tmp_path: Path, run_module: Run) -> Run:
    """A function that writes the file of a gateway, or of a pump, and runs the module on it."""

    def check(
        storage: dict[str, t.Any] | None,
        *,
        component: str = "gateway",
        environment: str | None = None,
        check_mode: bool = False,
        **options: t.Any,
    ) -> dict[str, t.Any]:
        path = tmp_path / f"{component}.conf"
        if storage is not None:
            section = "analytics_storage_config" if component == "pump" else "storage"
            path.write_text(
                json.dumps({"enable_analytics": True, section: {"type": "redis", **storage}}), encoding="utf-8"
            )
        env_file = tmp_path / "tyk.env"
        if environment is not None:
            env_file.write_text(environment, encoding="utf-8")
        arguments = {"component": component, "path": str(path), "env_files": [str(env_file)], "timeout": 2, **options}
        result: dict[str, t.Any] = run_module("tyk_redis_check", check=check_mode, **arguments)
        output = json.dumps(result, ensure_ascii=False)
        assert TYK_PASSWORD not in output and json.dumps(TYK_PASSWORD, ensure_ascii=False)[1:-1] not in output
        assert result.get("changed", False) is False
        return result

    return check


def storage_of(*servers: Server, **more: t.Any) -> dict[str, t.Any]:
    return {
        "addrs": [str(server.address) for server in servers],
        "enable_cluster": True,
        "username": "tyk",
        "password": TYK_PASSWORD,
        **more,
    }


def assert_no_key(servers: t.Iterable[Server]) -> None:
    for server in servers:
        assert server.call("DBSIZE") == 0


def one_problem(result: dict[str, t.Any]) -> str:
    assert len(result["problems"]) == 1, result["problems"]
    assert result["healthy"] is False and result["failed"] is True
    assert result["problems"][0] in result["msg"]
    return str(result["problems"][0])


def calls_of(server: Server, command: str) -> int:
    for line in info(server, "INFO", "commandstats").splitlines():
        if line.startswith(f"cmdstat_{command}:"):
            return int(line.partition("calls=")[2].partition(",")[0])
    return 0


@contextlib.contextmanager
def paused(server: Server) -> t.Iterator[None]:
    server.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        server.process.send_signal(signal.SIGCONT)


class Authority:
    """A CA of this test and the certificates that it issues, made by openssl."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.name = name
        self.file = str(folder / f"{name}.crt")
        self._openssl(
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
            "-subj", f"/CN={name}", "-keyout", str(folder / f"{name}.key"), "-out", self.file,
        )  # fmt: skip

    def issue(self, name: str, names: str, *, days: int = 2, common_name: str = "redis") -> tuple[str, str]:
        key, request, certificate = (str(self.folder / f"{name}.{end}") for end in ("key", "csr", "crt"))
        self._openssl(
            "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-subj", f"/CN={common_name}", "-keyout", key, "-out", request,
        )  # fmt: skip
        extensions = self.folder / f"{name}.ext"
        extensions.write_text(f"subjectAltName={names}\n" if names else "basicConstraints=CA:FALSE\n", encoding="utf-8")
        self._openssl(
            "x509", "-req", "-in", request, "-CA", self.file, "-CAkey", str(self.folder / f"{self.name}.key"),
            "-CAcreateserial", "-days", str(days), "-extfile", str(extensions), "-out", certificate,
        )  # fmt: skip
        return certificate, key

    @staticmethod
    def _openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], check=True, capture_output=True)


class Sentinels:
    """Starts Sentinels that never take a server for down by themselves, and ends all of them."""

    def __init__(self, folder: Path) -> None:
        self._ports = Servers(folder)
        self._folder = folder
        self._running: list[Server] = []

    def start(
        self,
        name: str,
        primary: Server,
        *,
        password: str,
        version_name: str = DISTRIBUTION,
        tls: ServerTls | None = None,
    ) -> Server:
        """Start one that monitors the primary under this name; the password is that of the Sentinel itself."""
        port = self._ports.free_port()
        folder = self._folder / f"sentinel-{port}"
        folder.mkdir()
        lines = [
            "bind 127.0.0.1",
            f"dir {folder}",
            f"logfile {folder}/log",
            "daemonize no",
            "protected-mode no",
            f"requirepass {password}",
            # A quorum that is never reached, so that there is no failover whatever a test does.
            f"sentinel monitor {name} {primary.address.host} {primary.address.port} 9",
            f"sentinel down-after-milliseconds {name} 600000",
            f"sentinel auth-user {name} admin",
            f"sentinel auth-pass {name} {ADMIN_PASSWORD}",
        ]
        if tls is None:
            lines.append(f"port {port}")
        else:
            lines += [
                "port 0",
                f"tls-port {port}",
                "tls-replication yes",
                f"tls-ca-cert-file {tls.ca_file}",
                f"tls-cert-file {tls.cert_file}",
                f"tls-key-file {tls.key_file}",
                "tls-auth-clients no",
            ]
        (folder / "redis.conf").write_text("\n".join([*lines, ""]), encoding="utf-8")
        sentinel = Server(
            version=version_name,
            address=Address("127.0.0.1", port),
            bus_port=0,
            folder=folder,
            process=subprocess.Popen(
                [server_binary(version_name), str(folder / "redis.conf"), "--sentinel"],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            ),
            credentials=Credentials(None, password),
            tls=None if tls is None else Tls(verify=False),
        )
        self._running.append(sentinel)
        wait_for(lambda: self._answers(sentinel))
        return sentinel

    @staticmethod
    def _answers(sentinel: Server) -> bool:
        with contextlib.suppress(RedisProblem):
            return sentinel.call("PING") == "PONG"
        assert sentinel.process.poll() is None, sentinel.log
        return False

    @staticmethod
    def sees(sentinel: Server, name: str, *, replicas: int, others: int) -> bool:
        """Whether it knows as many replicas and other Sentinels, and has heard from all of the data nodes."""
        state = _fields(sentinel.call("SENTINEL", "MASTER", name))
        following = [_fields(entry) for entry in t.cast("list[t.Any]", sentinel.call("SENTINEL", "REPLICAS", name))]
        return (
            len(following) == replicas
            and all(entry["flags"] == "slave" and entry["runid"] for entry in following)
            and all(entry["master-link-status"] == "ok" for entry in following)
            and state["num-other-sentinels"] == str(others)
            and state["flags"] == "master"
            and bool(state["runid"])
        )

    @staticmethod
    def flags(sentinel: Server, name: str, server: Server) -> str:
        """What it says about a data node."""
        known = [sentinel.call("SENTINEL", "MASTER", name)]
        known += t.cast("list[t.Any]", sentinel.call("SENTINEL", "REPLICAS", name))
        entries = [_fields(entry) for entry in known]
        return next(entry["flags"] for entry in entries if entry["port"] == str(server.address.port))

    def stop_all(self) -> None:
        for sentinel in self._running:
            sentinel.kill()


def _fields(reply: t.Any) -> dict[str, str]:
    return dict(zip(reply[::2], reply[1::2]))
