# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What counts as reached from a host without business there, and what proves nothing."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from conftest import RunModule
from servers import Servers

HOST = "127.64.7.1"
SECONDS = 1


class Silent:
    """Addresses that do not answer, as behind a firewall: nobody accepts there, and no more connections may wait."""

    def __init__(self, sockets: ExitStack) -> None:
        self._sockets = sockets

    def endpoint(self, host: str = HOST, port: int = 0) -> str:
        listening = self._sockets.enter_context(socket.socket())
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(0)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            try:
                self._sockets.enter_context(socket.create_connection(listening.getsockname(), 0.3))
            except OSError:
                return f"{host}:{listening.getsockname()[1]}"
        raise AssertionError("The kernel lets any number of connections wait.")


@pytest.fixture
def silent() -> Iterator[Silent]:
    with ExitStack() as sockets:
        yield Silent(sockets)


def closed_endpoint(servers: Servers) -> str:
    return f"{HOST}:{servers.free_port(HOST)}"


def is_open(endpoint: str) -> str:
    return (
        f"{endpoint} can be reached from here, though the firewall should drop it: run site.yml, and look for what else"
        " may admit it."
    )


def proves_nothing(endpoint: str) -> str:
    return (
        f"{endpoint} cannot be reached from here, so that nothing is proved about the ports of Redis there. Use a host"
        " in the same network, or set tyk_redis_control of the Redis host to a port that others reach."
    )


def test_what_was_reached_and_what_was_not(servers: Servers, run_module: RunModule, silent: Silent) -> None:
    redis, ssh = (str(servers.start_server(cluster=False, host=HOST).address) for _number in range(2))
    # The packet came through, which is what a firewall has to prevent.
    refusing = closed_endpoint(servers)
    dropped, down = silent.endpoint(), silent.endpoint()
    for check in (True, False):
        began = time.monotonic()
        result = run_module(
            "redis_outside_check", check=check, closed=[dropped, redis, refusing], open=[down, ssh], timeout=SECONDS
        )
        assert result["changed"] is False
        assert result["problems"] == [is_open(redis), is_open(refusing), proves_nothing(down)]
        # All are tried at once.
        assert SECONDS <= time.monotonic() - began < 2 * SECONDS + 3


def test_where_all_is_dropped_nothing_is_said(run_module: RunModule, silent: Silent, servers: Servers) -> None:
    control = str(servers.start_server(cluster=False, host=HOST).address)
    closed = [silent.endpoint() for _number in range(3)]
    assert run_module("redis_outside_check", closed=closed, open=[control], timeout=SECONDS)["problems"] == []


def test_a_host_that_refuses_the_control_is_up(run_module: RunModule, silent: Silent, servers: Servers) -> None:
    result = run_module(
        "redis_outside_check", closed=[silent.endpoint()], open=[closed_endpoint(servers)], timeout=SECONDS
    )
    assert result["problems"] == []


def test_an_address_may_stand_in_brackets(run_module: RunModule, servers: Servers) -> None:
    address = servers.start_server(cluster=False, host=HOST).address
    endpoint = f"[{address.host}]:{address.port}"
    result = run_module("redis_outside_check", closed=[endpoint], open=[endpoint], timeout=SECONDS)
    assert result["problems"] == [is_open(endpoint)]


def test_many_ports_take_no_longer_than_one(run_module: RunModule, silent: Silent) -> None:
    dropped = silent.endpoint()
    began = time.monotonic()
    result = run_module("redis_outside_check", closed=[dropped] * 60, open=[], timeout=SECONDS)
    assert (result["problems"], time.monotonic() - began < 10 * SECONDS) == ([], True)
