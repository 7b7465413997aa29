# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the filters write into the files of Redis, read back by real servers."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from servers import VERSIONS, Server, Servers

from ansible_collections.apiops.tyk_redis.plugins.filter.tyk_redis import FilterModule
from ansible_collections.apiops.tyk_redis.plugins.module_utils._description import DescriptionError, describe
from ansible_collections.apiops.tyk_redis.plugins.module_utils._redis_client import (
    Credentials,
    RedisConnection,
    RedisProblem,
)

config_text = FilterModule().filters()["config_text"]
acl_hash = FilterModule().filters()["acl_hash"]

HOSTILE = [
    'double "quotes" in it, and at the end"',
    '"quoted as a whole"',
    "single 'quotes' in it'",
    "\\ back \\\\ slashes \\n \\x41 \\",
    "# looks like a comment",
    "   blanks around   ",
    "tab\tand\vothers\f\a\b\x1b\x7f",
    "größer als 12 Zeichen",
    "emoji 😀 and \u2028 separators \x85 \N{NO-BREAK SPACE}",
    "a byte order mark \ufeff and a last code point \U0010ffff",
    "{{ a template }} {% if %} $HOME `id` %i",
    "include /etc/passwd",
    "x" * 400,
    'ß"\\\x01' * 100,
]


def accepted(password: str) -> str:
    """The password as the description takes it; the test fails when it does not."""
    return str(describe({"password": password, "admin_password": password})["password"])


def let_in(server: Server, user: str, password: str) -> bool:
    with RedisConnection(server.address) as connection:
        try:
            return connection.call("AUTH", user, password) == "OK"
        except RedisProblem as problem:
            assert problem.kind == "password", problem
            return False


@pytest.mark.parametrize("password", HOSTILE)
def test_a_hostile_password_is_read_back_from_redis_conf(servers: Servers, password: str) -> None:
    lines = [f"{name} {config_text(accepted(password))}" for name in ("masterauth", "requirepass")]
    server = servers.start_server(cluster=False, extra=lines)
    with RedisConnection(server.address, credentials=Credentials(None, password)) as connection:
        assert connection.call("CONFIG", "GET", "masterauth") == ["masterauth", password]
        assert connection.call("CONFIG", "GET", "requirepass") == ["requirepass", password]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_hash_in_an_acl_file_lets_in_that_password_alone(servers: Servers, version: str) -> None:
    acl = ["user default off"]
    acl += [f"user user{number} on #{acl_hash(accepted(password))} +ping" for number, password in enumerate(HOSTILE)]
    server = servers.start_server(version, cluster=False, acl=acl)
    for number, password in enumerate(HOSTILE):
        assert let_in(server, f"user{number}", password), password
        for other in ("", password[:-1], password + " ", password.swapcase() + "x", acl_hash(password)):
            assert not let_in(server, f"user{number}", other), other
        assert not let_in(server, f"user{number}", HOSTILE[number - 1]), password


def test_redis_cli_reads_a_command_as_redis_conf_is_read(servers: Servers) -> None:
    acl = [f"user user{number} on #{acl_hash(password)} +ping" for number, password in enumerate(HOSTILE)]
    server = servers.start_server(cluster=False, acl=["user default off", *acl])
    for number, password in enumerate(HOSTILE):
        result = subprocess.run(
            ["/usr/bin/redis-cli", "-h", server.address.host, "-p", str(server.address.port)],
            input=f"AUTH user{number} {config_text(password)}\nPING\n",
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
        assert result.stdout == "OK\nPONG\n", (password, result)


def is_accepted(password: str) -> bool:
    try:
        return bool(accepted(password))
    except DescriptionError:
        return False


PASSWORDS = st.one_of(
    st.text(min_size=12, max_size=40),
    st.text("\"'\\\\#x0 \t\x01ä", min_size=12, max_size=400),
).filter(is_accepted)


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(PASSWORDS, min_size=2, max_size=30, unique=True))
def test_whatever_password_is_accepted_arrives(servers: Servers, passwords: list[str]) -> None:
    # The lines for users are the one directive that can be given many times; the server keeps a hash of each password.
    lines = [f"masterauth {config_text(passwords[0])}"]
    for number, password in enumerate(passwords):
        lines.append(f"user plain{number} on {config_text('>' + password)}")
        lines.append(f"user hashed{number} on #{acl_hash(password)}")
    server = servers.start_server(cluster=False, extra=lines)
    try:
        assert server.call("CONFIG", "GET", "masterauth") == ["masterauth", passwords[0]]
        for number, password in enumerate(passwords):
            for user in (f"plain{number}", f"hashed{number}"):
                assert let_in(server, user, password)
                assert not let_in(server, user, passwords[number - 1])
    finally:
        server.kill()
