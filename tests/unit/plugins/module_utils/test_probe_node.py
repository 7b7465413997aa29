# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The connection of the probe: what follows MULTI never goes out on another connection."""

from __future__ import annotations

import socket

import pytest

from ansible_collections.apiops.tyk_redis.plugins.module_utils._probe_node import GoConnection
from ansible_collections.apiops.tyk_redis.plugins.module_utils._redis_client import Address, RedisProblem


def test_nothing_is_sent_on_a_connection_that_was_not_there_before() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        connection = GoConnection(Address("127.0.0.1", listener.getsockname()[1]))
        assert not connection.is_open
        with pytest.raises(RedisProblem) as caught:
            connection.go_on([("FLUSHALL", "nosuchoption")])
        assert caught.value.kind == "reset"
        with pytest.raises(BlockingIOError):
            listener.accept()
