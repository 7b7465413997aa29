# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an outsider makes of how its connections end."""

from __future__ import annotations

import errno
import os
import socket
import typing as t

import pytest

from ansible_collections.apiops.tyk_redis.plugins.modules import redis_outside_check
from ansible_collections.apiops.tyk_redis.plugins.modules.redis_outside_check import REACHED, SILENT, problems_of, tried

NO_ROUTE, NO_NETWORK = os.strerror(errno.EHOSTUNREACH), os.strerror(errno.ENETUNREACH)


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        pytest.param(ConnectionRefusedError(errno.ECONNREFUSED, "refused"), REACHED, id="refused"),
        pytest.param(TimeoutError("timed out"), SILENT, id="dropped"),
        pytest.param(OSError(errno.ETIMEDOUT, "timed out"), SILENT, id="dropped, as the kernel says"),
        pytest.param(OSError(errno.EHOSTUNREACH, ""), NO_ROUTE, id="no host"),
        pytest.param(OSError(errno.ENETUNREACH, ""), NO_NETWORK, id="no network"),
        pytest.param(socket.gaierror(socket.EAI_NONAME, "not known"), SILENT, id="no such name"),
        pytest.param(UnicodeError("label too long"), SILENT, id="no name at all"),
    ],
)
def test_what_the_end_of_a_connection_means(monkeypatch: pytest.MonkeyPatch, error: Exception, answer: str) -> None:
    dialled: list[t.Any] = []

    def connect(*arguments: t.Any) -> t.NoReturn:
        dialled.append(arguments)
        raise error

    monkeypatch.setattr(redis_outside_check.socket, "create_connection", connect)
    assert tried("[2001:db8::1]:6379", 2.5) == answer
    assert dialled == [(("2001:db8::1", 6379), 2.5)]


def test_where_no_way_leads_to_nothing_is_proved() -> None:
    answers = {
        "192.0.2.1:6379": NO_ROUTE,
        "192.0.2.1:16379": NO_ROUTE,
        "192.0.2.2:6379": SILENT,
        "[2001:db8::3]:6379": NO_NETWORK,
        "192.0.2.1:22": REACHED,
        "192.0.2.2:22": NO_ROUTE,
    }
    closed, control = list(answers)[:4], list(answers)[4:]
    assert problems_of(closed, control, answers) == [
        "192.0.2.2:22 cannot be reached from here, so that nothing is proved about the ports of Redis there. Use a host"
        " in the same network, or set tyk_redis_control of the Redis host to a port that others reach.",
        f"No way leads from here to 192.0.2.1 ({NO_ROUTE}), so that nothing is proved about the ports of Redis there."
        " Use a host in the same network.",
        f"No way leads from here to [2001:db8::3] ({NO_NETWORK}), so that nothing is proved about the ports of Redis"
        " there. Use a host in the same network.",
    ]


def test_what_is_dropped_while_the_control_is_reached_is_kept_away() -> None:
    answers = {"192.0.2.1:6379": SILENT, "192.0.2.1:22": REACHED}
    assert problems_of(["192.0.2.1:6379"], ["192.0.2.1:22"], answers) == []
