# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who listens, where no real process can be had; test_redis_tunnel_info.py has real ones."""

from __future__ import annotations

import pytest

from ansible_collections.apiops.tyk_redis.plugins.module_utils import _listeners
from ansible_collections.apiops.tyk_redis.plugins.module_utils._listeners import (
    Listener,
    listeners,
    owner_of,
    owners,
    user_of,
)

PRINTED = """\
LISTEN 0      511    127.64.2.2:6379  0.0.0.0:* users:(("spiped",pid=17,fd=3)) uid:998 ino:2 sk:1 cgroup:/x <->
LISTEN 0      4096   127.64.2.3:6379  0.0.0.0:* users:(("haproxy",pid=18,fd=7),("haproxy",pid=19,fd=7)) ino:3 sk:2 <->
LISTEN 0      128             [::]:22       [::]:* ino:4 sk:3 v6only:1 <->
LISTEN 0      10       192.0.2.1:7379  0.0.0.0:* uid:998 ino:5 sk:4 <->
LISTEN 0      10       192.0.2.1:7379  0.0.0.0:* users:(("haproxy",pid=20,fd=7)) uid:998 ino:6 sk:5 <->

"""


def test_what_ss_prints() -> None:
    assert listeners(PRINTED) == {
        "127.64.2.2:6379": [Listener((17,), 998)],
        "127.64.2.3:6379": [Listener((18, 19), 0)],
        "[::]:22": [Listener((), 0)],
        "192.0.2.1:7379": [Listener((), 998), Listener((20,), 998)],
    }
    assert listeners("") == {}


def test_a_user_stands_for_processes_that_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    assert user_of(0, "the.service") == "a process of the user root"
    # Nobody has it.
    assert user_of(4000000000, "the.service") == "a process of the user 4000000000"
    monkeypatch.setattr(_listeners, "USER", "root")
    assert user_of(0, "the.service") == "the.service"


def test_a_process_that_has_ended_meanwhile_has_a_number_only() -> None:
    # None may have it: the kernel's highest is 4194304.
    assert owner_of(4194305) == "process 4194305"


ENDPOINTS = ["127.64.2.2:6379", "[2001:db8::2]:7379"]


@pytest.mark.parametrize("listen", ENDPOINTS)
def test_of_several_that_listen_together_a_strange_one_is_told(listen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_listeners, "owner_of", {1: "the.service", 2: "other"}.__getitem__)
    mine, other = Listener((1,), 0), Listener((2,), 0)

    def told(*found: Listener) -> str:
        return owners(listen, {listen: list(found), "192.0.2.9:1": [other]}, "the.service")

    assert told() == ""
    # HAProxy's former and present processes.
    assert told(mine, mine) == "the.service"
    assert told(mine, other) == "other"
    assert told(Listener((1, 2), 0)) == "other"


@pytest.mark.parametrize(
    ("listen", "place", "taken"),
    [
        ("127.64.2.2:6379", "0.0.0.0:6379", True),
        ("127.64.2.2:6379", "*:6379", True),
        ("127.64.2.2:6379", "[::]:6379", False),
        ("[2001:db8::2]:6379", "[::]:6379", True),
        ("[2001:db8::2]:6379", "*:6379", True),
        ("[2001:db8::2]:6379", "0.0.0.0:6379", False),
        ("127.64.2.2:6379", "0.0.0.0:16379", False),
    ],
)
def test_who_listens_everywhere_listens_there(
    listen: str, place: str, taken: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_listeners, "owner_of", {1: "the.service", 2: "other"}.__getitem__)
    listening = {place: [Listener((2,), 0)]}
    assert owners(listen, listening, "the.service") == ("other" if taken else "")
    # It goes to the one that listens there alone.
    assert owners(listen, {**listening, listen: [Listener((1,), 0)]}, "the.service") == "the.service"
