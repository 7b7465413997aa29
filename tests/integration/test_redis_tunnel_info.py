# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What real tunnels of spiped and HAProxy tell when they are tried, and what is said of them.

Both hosts are this machine. redis1 has an instance on its loopback address and the far ends of its tunnels; redis2 and
the gateway gw1 have the near ends, on a loopback address of their own because redis1's is taken by its Redis here.
"""

from __future__ import annotations

import os
import re
import shlex
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import jinja2
import pytest
from conftest import RunModule
from servers import Server, Servers, _is_free
from test_encryption_change import HIGHEST_PORT, OFFSET, HostAuthority
from test_redis_outside_check import Silent

from ansible_collections.apiops.tyk_redis.plugins.module_utils._description import describe, tunnels_of
from ansible_collections.apiops.tyk_redis.plugins.module_utils._listeners import owner_of
from ansible_collections.apiops.tyk_redis.plugins.module_utils._tunnel_faults import faults, unit_of
from ansible_collections.apiops.tyk_redis.plugins.modules import redis_tunnel_info

ROLE = Path(__file__).resolve().parents[2] / "roles" / "tunnel" / "templates"
ADDRESS, LOOPBACK, NEAR = "127.1.64.1", "127.64.64.1", "127.64.64.2"
SECRET = "only-for-these-tests-and-long-enough"
OTHER_SECRET = "another-one-for-these-tests-and-long-enough"
MODES = ("spiped", "tls_tunnel")
PASSWORD = "only for this test"

End = dict[str, Any]


class WithPortsForTunnels(Servers):
    """Starts servers on ports whose tunnels find theirs free too."""

    def free_port(self, host: str = LOOPBACK) -> int:
        while True:
            port = super().free_port(host)
            inner, wires = (port, port + 10000), (port + OFFSET, port + OFFSET + 10000)
            wanted = [(NEAR, one) for one in inner] + [(ADDRESS, one) for one in wires]
            if wires[0] <= HIGHEST_PORT and all(_is_free(*one) for one in wanted):
                return port


def listens(endpoint: str) -> bool:
    address, _colon, port = endpoint.rpartition(":")
    try:
        socket.create_connection((address, int(port)), 1).close()
    except OSError:
        return False
    return True


class Tunnels:
    """The two sides of the tunnels to one instance, run as the role's units run them."""

    def __init__(self, folder: Path, run_module: RunModule, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder, self._run_module = folder, run_module
        self._servers = WithPortsForTunnels(folder)
        self._running = ExitStack()
        self._authorities: dict[str, HostAuthority] = {}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.mode = ""
        # No unit can have these names here: whoever was started for an end counts as its unit.
        monkeypatch.setattr(redis_tunnel_info, "unit_of", self.unit_of)

    def begin(self, mode: str) -> Server:
        """Start the Redis, and describe tunnels to it."""
        self.mode = mode
        redis = self._servers.start_server(host=LOOPBACK, password=PASSWORD)
        self.port = redis.address.port
        keys = {"tunnel_keys": {1: SECRET}} if mode == "spiped" else {}
        described = describe(
            {
                **{"password": "only-for-this-test", "admin_password": "neither-is-this-one"},
                **{"encryption": mode, "encrypted_port_offset": OFFSET, **keys},
            }
        )
        hostvars: dict[str, dict[str, Any]] = {
            "redis1": {"redis_address": ADDRESS, "redis_ports": [self.port]},
            "redis2": {"redis_address": "127.1.64.2"},
            "gw1": {},
        }
        self.ends = {
            host: [
                end for end in tunnels_of(hostvars, host, ["redis1", "redis2"], described) if end["peer"] == "redis1"
            ]
            for host in hostvars
        }
        for host in ("redis2", "gw1"):
            for end in self.ends[host]:
                end["listen"] = end["listen"].replace(LOOPBACK, NEAR)
        return redis

    @property
    def data(self) -> str:
        return f"redis1:{self.port}"

    @property
    def wires(self) -> list[str]:
        return [end["wire"] for end in self.ends["redis1"]]

    @property
    def nears(self) -> list[str]:
        return [end["listen"] for end in self.ends["redis2"]]

    def unit_of(self, mode: str, name: str) -> str:
        # HAProxy is one process for all ends of a host, of which one is redis1.
        known = name if mode == "spiped" else "redis1" if name.startswith("serve") else "redis2"
        if known in self.processes:
            return owner_of(self.processes[known].pid)
        return unit_of(mode, name)

    def keys_of(self, host: str) -> Path:
        path = self._folder / host
        path.mkdir(exist_ok=True)
        return path

    def start(self, host: str, secret: str = SECRET) -> None:
        """Run all ends of a host."""
        if self.mode == "spiped":
            (self.keys_of(host) / "key-1").write_text(secret)
            for end in self.ends[host]:
                self._launch(end["name"], self._spiped(host, end))
        else:
            self._launch(host, self._haproxy(host, secret))
        for end in self.ends[host]:
            self._await(end["listen"])

    def stop(self, name: str) -> None:
        process = self.processes.pop(name)
        process.kill()
        process.wait()

    def _spiped(self, host: str, end: End) -> list[str]:
        """What the role's unit runs."""
        unit = (ROLE / "tyk-redis-spiped@.service.j2").read_text(encoding="utf-8")
        (line,) = re.findall(r"^ExecStart=(.*)$", unit, re.M)
        given = {
            "DIRECTION": "-d" if end["kind"] == "serve" else "-e",
            "LISTEN": re.sub(r"^(.*):", r"[\1]:", end["listen"]),
            "TARGET": re.sub(r"^(.*):", r"[\1]:", end["target"]),
            "KEY": str(self.keys_of(host) / "key-1"),
        }
        return [re.sub(r"\$\{?(\w+)\}?", lambda name: given[name[1]], word) for word in shlex.split(line)]

    def _haproxy(self, host: str, authority: str) -> list[str]:
        """With the role's configuration; each authority is known by its secret."""
        folder = self.keys_of(host)
        if authority not in self._authorities:
            work = self._folder / f"authority-{len(self._authorities)}"
            work.mkdir()
            self._authorities[authority] = HostAuthority(work, "ca")
        issuing = self._authorities[authority]
        for path, name in zip(issuing.issue(host), ("host.crt", "host.key")):
            Path(path).replace(folder / name)
        (folder / "ca.crt").write_bytes(Path(issuing.file).read_bytes())
        environment = jinja2.Environment(trim_blocks=True, keep_trailing_newline=True, undefined=jinja2.StrictUndefined)
        environment.filters["comment"] = "# {}".format
        text = (ROLE / "haproxy.cfg.j2").read_text(encoding="utf-8")
        config = environment.from_string(text).render(
            ansible_managed="of a test",
            tunnel_connections=100,
            tunnel_tls_protocol="TLSv1.2",
            tunnel_ends=self.ends[host],
            __tunnel_certificates=str(folder),
        )
        (folder / "haproxy.cfg").write_text(config, encoding="utf-8")
        return ["/usr/sbin/haproxy", "-db", "-f", str(folder / "haproxy.cfg")]

    def _launch(self, name: str, command: list[str]) -> None:
        with (self._folder / "log").open("ab") as log:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self._running.callback(process.wait)
        self._running.callback(process.kill)
        self.processes[name] = process

    def _await(self, endpoint: str) -> None:
        deadline = time.monotonic() + 20
        while not listens(endpoint):
            assert time.monotonic() < deadline, (endpoint, (self._folder / "log").read_text(errors="replace"))
            time.sleep(0.05)

    def end_all(self) -> None:
        self._running.close()
        self._servers.stop_all()

    def look(self, host: str) -> dict[str, Any]:
        """What the module returns, which must be what it was given and four things more."""
        given = {"mode": self.mode, "ends": self.ends[host], "folder": str(self.keys_of(host)), "timeout": 4}
        found = self._run_module("redis_tunnel_info", **given)
        assert found["changed"] is False
        further = {"unit", "owner", "answer", "wire_answer"}
        assert [{name: end[name] for name in end.keys() - further} for end in found["ends"]] == self.ends[host]
        return found

    def seen(self, *hosts: str) -> dict[str, dict[str, Any]]:
        return {host: {"host": host, **self.look(host)} for host in hosts or self.ends}


@pytest.fixture
def tunnels(tmp_path: Path, run_module: RunModule, monkeypatch: pytest.MonkeyPatch) -> Iterator[Tunnels]:
    running = Tunnels(tmp_path, run_module, monkeypatch)
    try:
        yield running
    finally:
        running.end_all()


def answers(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(end["answer"], end["wire_answer"]) for end in found["ends"]]


def said(seen: Mapping[str, Mapping[str, Any]]) -> list[str]:
    return faults(list(seen.values()))


def named(process: subprocess.Popen[bytes], name: str) -> str:
    """What a process is called that has no unit, or that of the program which runs the tests."""
    services = re.findall(r"/([^/\s]+\.service)(?:/|$)", Path("/proc/self/cgroup").read_text(), re.M)
    return services[-1] if services else f"{name} (process {process.pid})"


@pytest.mark.parametrize("mode", MODES)
def test_tunnels_that_work(tunnels: Tunnels, mode: str) -> None:
    tunnels.begin(mode)
    for host in tunnels.ends:
        if host != "gw1":
            tunnels.start(host)
    # It has what redis2 has, which is the same machine here.
    shared = tunnels.keys_of("redis2")
    for path in shared.glob("key-*"):
        (tunnels.keys_of("gw1") / path.name).write_bytes(path.read_bytes())
    seen = tunnels.seen()
    assert {host: answers(found) for host, found in seen.items()} == {
        "redis1": [("redis", ""), ("open", "")],
        "redis2": [("redis", ""), ("open", "")],
        # It has no business with the bus.
        "gw1": [("redis", "")],
    }
    program = {"spiped": "spiped", "tls_tunnel": "haproxy"}[mode]
    for found in seen.values():
        for end in found["ends"]:
            assert end["owner"] == end["unit"] == named(tunnels.processes[tunnel_process(mode, end)], program)
    fingerprints = [found["key_fingerprints"] for found in seen.values()]
    # The first digits of the SHA-256 of the secret.
    assert fingerprints == [{"1": "c684f6b1"} if mode == "spiped" else {}] * 3
    assert said(seen) == []


def tunnel_process(mode: str, end: End) -> str:
    return end["name"] if mode == "spiped" else "redis1" if end["kind"] == "serve" else "redis2"


def who_knows(name: str, wire: str) -> str:
    """What is said when the other host has told nothing."""
    return (
        f"redis2: the tunnel to {name} does not open, though {wire} listens: either the Redis behind it is down, or the"
        " two ends do not accept each other's key or certificate. redis1 could tell which, but was not or could not be"
        " asked. Run verify.yml for it too."
    )


@pytest.mark.parametrize("mode", MODES)
def test_ends_that_do_not_accept_each_other(tunnels: Tunnels, mode: str) -> None:
    tunnels.begin(mode)
    tunnels.start("redis1")
    tunnels.start("redis2", OTHER_SECRET)
    seen = tunnels.seen("redis1", "redis2")
    assert answers(seen["redis1"]) == [("redis", ""), ("open", "")]
    assert answers(seen["redis2"]) == [("closed", "open")] * 2
    names = (tunnels.data, f"the bus of {tunnels.data}")
    if mode == "spiped":
        assert seen["redis1"]["key_fingerprints"] != seen["redis2"]["key_fingerprints"]
        assert said(seen) == [
            f"redis2: the tunnel to {name} does not open: key 1 is another one here than on redis1. Run site.yml for"
            " both."
            for name in names
        ]
    else:
        assert said(seen) == [
            f"redis2: the tunnel to {name} does not open, though {wire} listens: the two ends do not accept each"
            " other's key or certificate. Compare what they log, and run site.yml for both hosts."
            for name, wire in zip(names, tunnels.wires)
        ]
    del seen["redis1"]
    assert said(seen) == [who_knows(name, wire) for name, wire in zip(names, tunnels.wires)]


@pytest.mark.parametrize("mode", MODES)
def test_a_redis_that_is_down_behind_its_tunnel(tunnels: Tunnels, mode: str) -> None:
    redis = tunnels.begin(mode)
    tunnels.start("redis1")
    tunnels.start("redis2")
    redis.kill()
    seen = tunnels.seen("redis1", "redis2")
    assert answers(seen["redis1"]) == [("refused", "")] * 2
    assert answers(seen["redis2"]) == [("closed", "open")] * 2
    names = (tunnels.data, f"the bus of {tunnels.data}")
    assert said(seen) == [
        *(
            f"redis1: the Redis behind the tunnel, {tunnels.data}, does not answer on its own host (refused at"
            f" {LOOPBACK}:{port}). Look into 'journalctl -u tyk-redis@{tunnels.port}'."
            for port in (tunnels.port, tunnels.port + 10000)
        ),
        *(f"redis2: the tunnel to {name} is up, but the Redis behind it is down." for name in names),
    ]
    # redis2 alone sees what it would see with another key.
    del seen["redis1"]
    assert said(seen) == [who_knows(name, wire) for name, wire in zip(names, tunnels.wires)]


@pytest.mark.parametrize("mode", MODES)
def test_a_redis_that_hangs_behind_its_tunnel(tunnels: Tunnels, mode: str) -> None:
    redis = tunnels.begin(mode)
    tunnels.start("redis1")
    tunnels.start("redis2")
    redis.freeze()
    try:
        seen = tunnels.seen("redis1", "redis2")
    finally:
        redis.thaw()
    # The kernel accepts for it, and of the bus no answer is expected.
    assert answers(seen["redis1"]) == [("silent", ""), ("open", "")]
    assert answers(seen["redis2"]) == [("silent", "open"), ("open", "")]
    assert said(seen) == [
        f"redis1: the Redis behind the tunnel, {tunnels.data}, does not answer on its own host (silent at"
        f" {LOOPBACK}:{tunnels.port}). Look into 'journalctl -u tyk-redis@{tunnels.port}'.",
        f"redis2: the tunnel to {tunnels.data} is up, but the Redis behind it is down.",
    ]


@pytest.mark.parametrize("mode", MODES)
def test_a_tunnel_without_a_far_end(tunnels: Tunnels, mode: str) -> None:
    tunnels.begin(mode)
    tunnels.start("redis2")
    seen = tunnels.seen("redis1", "redis2")
    assert answers(seen["redis1"]) == [("redis", ""), ("open", "")]
    assert answers(seen["redis2"]) == [("closed", "refused")] * 2
    names = (tunnels.data, f"the bus of {tunnels.data}")
    assert said(seen) == [
        *(
            f"redis1: the tunnel to {name} is not up: nothing listens at {wire}. Look into 'journalctl -u"
            f" {unit_of(mode, end['name'])}', and run site.yml."
            for name, wire, end in zip(names, tunnels.wires, tunnels.ends["redis1"])
        ),
        *(
            f"redis2: the tunnel to {name} has no far end: {wire} refuses connections. Start the tunnels on redis1, or"
            " run site.yml for it."
            for name, wire in zip(names, tunnels.wires)
        ),
    ]


@pytest.mark.parametrize("mode", MODES)
def test_a_host_that_does_not_answer(tunnels: Tunnels, mode: str) -> None:
    tunnels.begin(mode)
    with ExitStack() as sockets:
        for wire in tunnels.wires:
            assert Silent(sockets).endpoint(ADDRESS, int(wire.rpartition(":")[2])) == wire
        tunnels.start("redis2")
        seen = tunnels.seen("redis2")
    assert answers(seen["redis2"]) == [("closed", "silent")] * 2
    assert said(seen) == [
        f"redis2: the tunnel to {name} finds no host: {wire} does not answer. redis1 is down, or a firewall drops the"
        " connection."
        for name, wire in zip((tunnels.data, f"the bus of {tunnels.data}"), tunnels.wires)
    ]


def test_nobody_listens(tunnels: Tunnels) -> None:
    tunnels.begin("spiped")
    tunnels.start("redis1")
    tunnels.start("redis2")
    name = f"dial-redis1-{tunnels.port}-bus"
    tunnels.stop(name)
    seen = tunnels.seen("redis1", "redis2")
    # The wire itself is well.
    assert answers(seen["redis2"]) == [("redis", ""), ("refused", "open")]
    assert [end["owner"] for end in seen["redis2"]["ends"]][1] == ""
    assert said(seen) == [
        f"redis2: the tunnel to the bus of {tunnels.data} is not up: nothing listens at {tunnels.nears[1]}. Look into"
        f" 'journalctl -u tyk-redis-spiped@{name}.service', and run site.yml."
    ]


# The last one takes the port of IPv4 too.
EVERYWHERE = ["0.0.0.0", *(["::"] if socket.has_dualstack_ipv6() else [])]


@pytest.mark.parametrize("address", [NEAR, *EVERYWHERE])
def test_somebody_else_listens(tunnels: Tunnels, address: str) -> None:
    """One that listens at every address keeps the tunnel away as well."""
    # No Redis may listen at the port of another address meanwhile.
    tunnels.begin("spiped").kill()
    ipv6 = ":" in address
    with socket.create_server(
        (address, tunnels.port),
        family=socket.AF_INET6 if ipv6 else socket.AF_INET,
        dualstack_ipv6=ipv6,
    ):
        found = tunnels.seen("gw1")
    myself = owner_of(os.getpid())
    assert str(os.getpid()) in myself or myself.endswith(".service")
    assert found["gw1"]["ends"][0]["owner"] == myself
    assert answers(found["gw1"]) == [("silent", "refused")]
    assert said(found) == [
        f"gw1: the address {NEAR}:{tunnels.port} of the tunnel to {tunnels.data} is taken by {myself}, so that the"
        f" tunnel cannot be reached there. Stop that, and start tyk-redis-spiped@dial-redis1-{tunnels.port}.service."
    ]


def test_a_process_without_a_unit_is_told_by_its_name(tunnels: Tunnels, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as a spiped that somebody has started by hand."""
    tunnels.begin("spiped")
    tunnels.start("redis1")
    tunnels.start("gw1")
    monkeypatch.setattr(redis_tunnel_info, "unit_of", unit_of)
    found = tunnels.seen("gw1")
    name = f"dial-redis1-{tunnels.port}"
    process = tunnels.processes[name]
    assert answers(found["gw1"]) == [("redis", "")]
    assert said(found) == [
        f"gw1: the address {NEAR}:{tunnels.port} of the tunnel to {tunnels.data} is taken by"
        f" {named(process, 'spiped')}, so that the tunnel cannot be reached there. Stop that, and start"
        f" tyk-redis-spiped@{name}.service."
    ]
