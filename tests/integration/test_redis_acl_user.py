# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One ACL user on real servers of every version: what it may do, who stays connected, and what is refused."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from conftest import RunModule
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from servers import DISTRIBUTION, VERSIONS, Server, Servers

from ansible_collections.apiops.tyk_redis.plugins.module_utils import _acl_rules as rules
from ansible_collections.apiops.tyk_redis.plugins.module_utils._acl_apply import AclUser, Node, Wish
from ansible_collections.apiops.tyk_redis.plugins.module_utils._redis_client import (
    Credentials,
    RedisConnection,
    RedisProblem,
)

ADMIN = "boss"
ADMIN_PASSWORD = "only-for-this-test"
FIRST, SECOND = "the first one", "the second one"
ANY_SERVER = pytest.mark.parametrize("version", VERSIONS)

Apply = Callable[..., dict[str, Any]]
Start = Callable[..., Server]


def all_channels(version: str) -> list[str]:
    """Older servers know no channels in rules."""
    return [] if version == "redis-6.0" else ["&*"]


@pytest.fixture
def start(servers: Servers) -> Start:
    """Start a server with an administrator, whose users are in an ACL file."""

    def run(version: str = DISTRIBUTION, **options: Any) -> Server:
        admin = f"user {ADMIN} on #{rules.sha256(ADMIN_PASSWORD)} ~* {' '.join(all_channels(version))} +@all"
        server = servers.start_server(
            version, acl=["user default off", admin], username=ADMIN, password=ADMIN_PASSWORD, **options
        )
        return server

    return run


@pytest.fixture
def apply(run_module: RunModule) -> Apply:
    def run(*servers: Server, **options: Any) -> dict[str, Any]:
        login = servers[0].credentials
        return run_module(
            "redis_acl_user",
            **{
                "addresses": [str(server.address) for server in servers],
                "name": "tyk",
                "username": login.username,
                "password": login.password,
                **options,
            },
        )

    return run


def log_in(server: Server, password: str, name: str = "tyk") -> RedisConnection:
    return RedisConnection(server.address, credentials=Credentials(name, password))


def may_log_in(server: Server, password: str, name: str = "tyk") -> bool:
    with log_in(server, password, name) as connection:
        try:
            connection.call("PING")
        except RedisProblem as problem:
            # Who may not even PING is logged in all the same.
            assert problem.kind in ("password", "acl"), problem
            return problem.kind == "acl"
    return True


def users(server: Server) -> list[str]:
    shown = server.call("ACL", "LIST")
    assert isinstance(shown, list)
    return sorted(shown)


@ANY_SERVER
@pytest.mark.parametrize("component", rules.components())
def test_a_components_user_is_made_once_and_kept(version: str, component: str, start: Start, apply: Apply) -> None:
    server = start(version)
    before = users(server)

    def run(**options: Any) -> dict[str, Any]:
        return apply(server, component=component, passwords=[FIRST], **options)

    predicted = run(check=True, diff=True)
    assert users(server) == before
    made = run(diff=True)
    assert may_log_in(server, FIRST)
    after = users(server)
    again = [run(check=True, diff=True), run(diff=True)]
    assert users(server) == after
    assert [result["changed"] for result in (predicted, made, *again)] == [True, True, False, False]
    assert predicted["plan"] == made["plan"] == [f"{server.address}: make the user 'tyk' with 1 password, on."]
    assert predicted["diff"] == made["diff"]
    assert made["diff"][0]["before"] == "" and "passwords: 1\n" in made["diff"][0]["after"]
    assert all(result["plan"] == [] and result["diff"][0]["before"] == result["diff"][0]["after"] for result in again)
    assert made["nodes"] == [{"address": str(server.address), "changed": True, "rules": made["nodes"][0]["rules"]}]
    assert again[1]["nodes"] == [{**made["nodes"][0], "changed": False}]


@ANY_SERVER
def test_a_pump_may_do_its_work_and_nothing_else(version: str, start: Start, apply: Apply) -> None:
    server = start(version, cluster=False)
    apply(server, component="pump", passwords=[FIRST])
    with log_in(server, FIRST) as pump:
        assert pump.call("SET", "version-check-pump", "1.16.0") == "OK"
        assert pump.call("LRANGE", "analytics-tyk-system-analytics_7", 0, -1) == []
        for words in (
            ("SET", "apikey-1", "mine"),
            ("GET", "version-check-pump"),
            ("KEYS", "*"),
            ("FLUSHALL",),
            ("CONFIG", "GET", "maxmemory"),
            ("CLUSTER", "NODES"),
            ("PUBLISH", "tyk.cluster.notifications", "all reload"),
        ):
            with pytest.raises(RedisProblem) as refusal:
                pump.call(*words)
            assert refusal.value.kind == "acl", words


@ANY_SERVER
def test_a_gateway_may_use_its_channels_only_where_servers_know_channels(
    version: str, start: Start, apply: Apply
) -> None:
    server = start(version, cluster=False)
    apply(server, component="gateway", passwords=[FIRST])
    with log_in(server, FIRST) as gateway:
        assert gateway.call("PUBLISH", "tyk.cluster.notifications", "hello") == 0
        if version != "redis-6.0":
            with pytest.raises(RedisProblem, match="may not run PUBLISH"):
                gateway.call("PUBLISH", "others", "hello")


@ANY_SERVER
def test_a_rotation_has_no_gap(version: str, start: Start, apply: Apply) -> None:
    server = start(version)
    allowed = ["~*", *all_channels(version), "+@all", "-flushall"]
    apply(server, rules=allowed, passwords=[FIRST])
    with log_in(server, FIRST) as early, log_in(server, FIRST) as listener:
        early_id = early.call("CLIENT", "ID")
        listener.call("SUBSCRIBE", "news")
        both = apply(server, rules=allowed, passwords=[FIRST, SECOND])
        assert both["plan"] == [f"{server.address}: let 'tyk' have 2 passwords: 1 new."]
        assert (may_log_in(server, FIRST), may_log_in(server, SECOND)) == (True, True)

        last = apply(server, rules=allowed, passwords=[SECOND])
        assert last["plan"] == [f"{server.address}: let 'tyk' have 1 password: 1 taken away."]
        assert (may_log_in(server, FIRST), may_log_in(server, SECOND)) == (False, True)

        # Neither was cut off: the one works on as the same client, the other still gets messages.
        assert early.call("CLIENT", "ID") == early_id
        assert server.call("PUBLISH", "news", "still there") == 1


@ANY_SERVER
def test_it_takes_over_a_user_made_by_hand(version: str, start: Start, apply: Apply) -> None:
    server = start(version)
    server.call("ACL", "SETUSER", "tyk", "on", "nopass", "~old*", "+@all")
    result = apply(
        server, rules=["~new*", "+get", "+set"], password_hashes=[rules.sha256(FIRST).upper()], enabled=False
    )
    said = " ".join(result["plan"])
    for words in (
        "switch 'tyk' off",
        "end that 'tyk' needs no password",
        "have 1 password: 1 new",
        "allow 'tyk' the keys ~new*",
        "forbid 'tyk' the keys ~old*",
        "forbid 'tyk' the commands acl",
    ):
        assert words in said
    assert not may_log_in(server, FIRST)
    assert apply(server, rules=["~new*", "+set", "+get"], passwords=[FIRST])["plan"] == [
        f"{server.address}: switch 'tyk' on."
    ]
    assert may_log_in(server, FIRST)


def test_selectors_of_others_are_taken_away(start: Start, apply: Apply) -> None:
    server = start()
    server.call("ACL", "SETUSER", "tyk", "on", f"#{rules.sha256(FIRST)}", "~a", "+get", "(~b +set)")
    result = apply(server, rules=["~a", "+get"], passwords=[FIRST])
    assert result["plan"] == [f"{server.address}: take (-@all +set ~b) from 'tyk'."]
    assert apply(server, rules=["~a", "+get"], passwords=[FIRST])["changed"] is False


@ANY_SERVER
@pytest.mark.parametrize("place", ["aclfile", "config"])
def test_users_outlive_a_restart(version: str, place: str, servers: Servers, start: Start, apply: Apply) -> None:
    server = start(version) if place == "aclfile" else servers.start_server(version, password=ADMIN_PASSWORD)
    result = apply(server, component="gateway", passwords=[FIRST, SECOND])
    assert result["changed"] is True
    server.stop()
    server.start_again()
    assert (may_log_in(server, FIRST), may_log_in(server, SECOND)) == (True, True)
    assert apply(server, component="gateway", passwords=[FIRST, SECOND])["changed"] is False

    gone = apply(server, state="absent")
    assert gone["plan"] == [f"{server.address}: remove the user 'tyk', which ends its connections."]
    server.stop()
    server.start_again()
    assert not may_log_in(server, FIRST)
    assert apply(server, state="absent")["changed"] is False


def test_a_file_that_redis_6_0_would_not_read_again_is_not_written(servers: Servers, apply: Apply) -> None:
    server = servers.start_server("redis-6.0", password="hard to guess")
    before = users(server)
    result = apply(server, component="pump", passwords=[FIRST])
    assert "has a requirepass with blanks or quotes" in result["msg"] and "hard to guess" not in result["msg"]
    assert users(server) == before
    server.stop()
    server.start_again()


def test_files_of_others_are_left_alone(start: Start, apply: Apply) -> None:
    server = start()
    before = (server.folder / "users.acl").read_bytes(), (server.folder / "redis.conf").read_bytes()
    assert apply(server, component="pump", passwords=[FIRST], persist="none")["changed"] is True
    assert ((server.folder / "users.acl").read_bytes(), (server.folder / "redis.conf").read_bytes()) == before
    assert may_log_in(server, FIRST)


@ANY_SERVER
def test_every_node_gets_the_user(version: str, start: Start, apply: Apply) -> None:
    first, second = start(version), start(version)
    apply(second, component="dashboard", passwords=[FIRST])
    result = apply(first, second, component="dashboard", passwords=[FIRST])
    assert [node["changed"] for node in result["nodes"]] == [True, False]
    # Redis 7.0 shows the same rules in another order on each server.
    assert len({frozenset(node["rules"].split()) for node in result["nodes"]}) == 1
    assert may_log_in(first, FIRST) and may_log_in(second, FIRST)


def test_nodes_of_different_versions_get_what_each_knows(start: Start, apply: Apply) -> None:
    old, new = start("redis-6.0"), start("valkey-9.1")
    for expected in (True, False):
        assert apply(old, new, component="gateway", passwords=[FIRST])["changed"] is expected
    assert may_log_in(old, FIRST) and may_log_in(new, FIRST)
    assert "client|setinfo" in str(users(new)) and "client|setinfo" not in str(users(old))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        pytest.param({"name": "a b"}, "'a b' cannot be the name of a user", id="name with a blank"),
        pytest.param({"rules": ["+gett"]}, "does not know the command in the rule '+gett'", id="command"),
        pytest.param({"rules": ["+@reads"]}, "does not know the category in the rule '+@reads'", id="category"),
        pytest.param({"rules": ["+client|x"]}, "does not know the subcommand in the rule '+client|x'", id="subcommand"),
        pytest.param({"rules": ["~*", "~a"]}, "does not take '~a' after ~*", id="pattern after all"),
        pytest.param({"rules": ["nopass"]}, "contain 'nopass'; use passwords", id="nopass"),
        pytest.param({"rules": ["on"]}, "contain 'on'; use enabled", id="on"),
        pytest.param({"rules": ["+get +set"]}, "'+get +set'; each is one word", id="two words in one"),
        pytest.param({"rules": ["~a\n+@all"]}, "each is one word without blanks", id="line break"),
        pytest.param({"rules": ["(+get ~a)"]}, "each is one word without blanks", id="selector with a blank"),
        pytest.param({"rules": ["(+get"]}, "contain the selector '(+get', which is not supported", id="selector"),
        pytest.param({"rules": [">hidden"]}, "The rules of 'tyk' contain a password;", id="password in the rules"),
        pytest.param({"rules": ["get"]}, "contain 'get', which is none; a rule begins with", id="no sign"),
        pytest.param({"passwords": [""]}, "contains an empty one", id="empty password"),
        pytest.param({"passwords": []}, "passwords of 'tyk' is empty; give at least one", id="no password"),
        pytest.param({"password_hashes": ["abc"]}, "is 64 hexadecimal digits", id="no hash"),
        pytest.param({"addresses": []}, "addresses is empty; name every node", id="no node"),
        pytest.param({"addresses": ["localhost"]}, "'localhost' is not an address of the form", id="no port"),
        pytest.param(
            {"persist": "config"}, "so CONFIG REWRITE would not write them; use persist: aclfile", id="config"
        ),
        pytest.param({"name": "default", "state": "absent"}, "cannot be without the user 'default'", id="default"),
    ],
)
def test_what_cannot_be_right_is_refused_and_nothing_is_changed(
    options: dict[str, Any], says: str, start: Start, apply: Apply
) -> None:
    server = start()
    before = users(server)
    asked = {"rules": ["+get"], "passwords": [FIRST], **options}
    for check in (True, False):
        result = apply(server, check=check, **asked)
        assert result["failed"] is True and result["changed"] is False
        assert says in result["msg"] and result["msg"].endswith("Nothing was changed.")
        assert "hidden" not in json.dumps(result["msg"])
        assert users(server) == before


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("&news", "does not know channels in rules"),
        ("%R~a", "does not take '%R~a'; Redis from 7.0 on and Valkey know"),
        ("+client|setinfo", None),
        ("-client|kill", "does not take '-client|kill': it can allow single first arguments of CLIENT, not forbid"),
    ],
)
def test_an_old_server_is_not_given_what_it_does_not_know(
    word: str, says: str | None, start: Start, apply: Apply
) -> None:
    server = start("redis-6.0")
    result = apply(server, rules=[word], passwords=[FIRST])
    if says is None:
        # A first argument there, whatever it is.
        assert result["changed"] is True
    else:
        assert f"{server.address} (redis 6.0.16)" in result["msg"] and says in result["msg"]
        assert not may_log_in(server, FIRST)


def test_one_dead_node_keeps_all_others_as_they_are(servers: Servers, start: Start, apply: Apply) -> None:
    first, second, dead = start(), start(), start()
    dead.kill()
    before = users(first), users(second)
    result = apply(first, dead, second, component="pump", passwords=[FIRST])
    assert result["failed"] is True and result["changed"] is False
    assert f"{dead.address} refused the connection" in result["msg"] and "Nothing was changed." in result["msg"]
    assert (users(first), users(second)) == before


def test_one_node_that_does_not_know_a_rule_keeps_all_others_as_they_are(start: Start, apply: Apply) -> None:
    new, old = start("redis-8.2"), start("redis-7.0")
    before = users(new)
    result = apply(new, old, rules=["+client|setinfo"], passwords=[FIRST])
    assert f"{old.address} (redis 7.0.15) does not know the subcommand" in result["msg"]
    assert users(new) == before


@pytest.mark.parametrize("where", ["aclfile", "config"])
def test_a_server_that_cannot_save_is_found_out_before_the_first_change(
    where: str, servers: Servers, start: Start, apply: Apply
) -> None:
    if where == "aclfile":
        good, bad = start(), start()
        (bad.folder / "users.acl").unlink()
        (bad.folder / "users.acl").mkdir()
    else:
        good, bad = (servers.start_server(password=ADMIN_PASSWORD) for _number in range(2))
        (bad.folder / "redis.conf").unlink()
        (bad.folder / "redis.conf").mkdir()
    before = users(good), users(bad)
    result = apply(good, bad, component="pump", passwords=[FIRST])
    assert result["failed"] is True and result["changed"] is False
    assert str(bad.address) in result["msg"] and "a change would be gone after a restart" in result["msg"]
    assert (users(good), users(bad)) == before


def test_a_node_that_changes_under_the_run_is_named(start: Start, apply: Apply) -> None:
    """The second node fails after the first one was changed: both are told."""
    first, second = start(), start()
    with first.connection() as one, second.connection() as two:
        connections = {first.address: one, second.address: two}
        wish = Wish("tyk", True, frozenset({rules.sha256(FIRST)}), ("+get",), None, "none")
        with AclUser([first.address, second.address], connections.__getitem__, ADMIN_PASSWORD, wish) as user:
            nodes = user.observe()
            two.close()
            second.kill()
            with pytest.raises(Exception, match="refused the connection") as failure:
                user.apply(nodes)
    assert f"The user was changed on {first.address}." in str(failure.value)
    assert may_log_in(first, FIRST)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        pytest.param({"state": "absent"}, "which it was to remove", id="removed"),
        pytest.param({"enabled": False}, "which it was to switch off", id="switched off"),
        pytest.param({"passwords": [SECOND]}, "which would lose the password in use", id="its password"),
        pytest.param({"rules": ["~*", "+@all", "-acl"]}, "which would lose acl|", id="its rights"),
    ],
)
@pytest.mark.parametrize("version", ["redis-6.0", DISTRIBUTION, "valkey-9.1"])
def test_the_administrator_is_not_locked_out(
    version: str, options: dict[str, Any], says: str, start: Start, apply: Apply
) -> None:
    server = start(version)
    before = users(server)
    asked = {"rules": ["~*", "+@all"], "passwords": [ADMIN_PASSWORD], **options}
    result = apply(server, name=ADMIN, **asked)
    assert f"logged in on {server.address}" in result["msg"] and says in result["msg"]
    assert users(server) == before


def test_the_administrator_may_take_a_second_password_and_drop_the_first(start: Start, apply: Apply) -> None:
    server = start()
    asked = {"name": ADMIN, "rules": ["~*", "&*", "+@all"]}
    assert apply(server, **asked, passwords=[ADMIN_PASSWORD, SECOND])["changed"] is True
    assert apply(server, **asked, passwords=[SECOND], password=SECOND)["changed"] is True
    assert (may_log_in(server, ADMIN_PASSWORD, ADMIN), may_log_in(server, SECOND, ADMIN)) == (False, True)


def test_whoever_needs_no_password_does_not_give_itself_one(servers: Servers, apply: Apply) -> None:
    server = servers.start_server()
    result = apply(server, name="default", rules=["~*", "&*", "+@all"], passwords=[FIRST])
    assert "would lose the password in use" in result["msg"]
    assert server.call("PING") == "PONG"


def test_a_user_without_rights_is_told_which_it_lacks(start: Start, apply: Apply) -> None:
    server = start()
    apply(server, name="weak", rules=["+ping"], passwords=[FIRST])
    result = apply(server, username="weak", password=FIRST, rules=["+get"], passwords=[SECOND])
    assert "The user 'weak' may not run INFO" in result["msg"]


@pytest.mark.parametrize("outcome", ["changed", "refused"])
def test_no_secret_is_in_the_result(outcome: str, start: Start, apply: Apply) -> None:
    server = start()
    hashed = rules.sha256("third")
    asked = ["+get"] if outcome == "changed" else ["+gett"]
    result = apply(server, rules=asked, passwords=[FIRST, SECOND], password_hashes=[hashed], diff=True)
    assert result.get("failed", False) is (outcome == "refused")
    text = json.dumps(result)
    secrets = [FIRST, SECOND, ADMIN_PASSWORD, hashed, *map(rules.sha256, (FIRST, SECOND, ADMIN_PASSWORD))]
    assert [secret for secret in secrets if secret in text] == []
    assert [secret for secret in secrets[:3] if secret in server.log] == []


# --- what rules mean, asked from the servers themselves --------------------------------------------------------------


@pytest.fixture(scope="module")
def long_lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Node]]:
    """A server of each version for the whole file, as the module sees it."""
    running = Servers(tmp_path_factory.mktemp("rules"))
    nodes: dict[str, Node] = {}

    def node(version: str) -> Node:
        if version not in nodes:
            server = running.start_server(version, cluster=False)
            wish = Wish("nobody", True, frozenset(), ("+get",), None, "none")
            with AclUser([server.address], RedisConnection, None, wish) as user:
                (nodes[version],) = user.observe()
        return nodes[version]

    try:
        yield node
    finally:
        running.stop_all()


# The same examples each time, or new ones with EXPLORE=1.
EXAMPLES = settings(
    deadline=None,
    derandomize="EXPLORE" not in os.environ,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
NAMES = ["get", "set", "config", "cluster", "client", "select", "eval", "debug", "acl", "xinfo", "nosuch", "GET"]
ARGUMENTS = ["slots", "nodes", "get", "setname", "kill", "0", "sleep", "SLOTS", "setinfo", "a|b"]
CATEGORIES = ["all", "read", "write", "admin", "dangerous", "slow", "fast", "connection", "scripting", "nosuch"]
COMMAND_WORDS = st.one_of(
    st.builds("{}{}".format, st.sampled_from("+-"), st.sampled_from(NAMES)),
    st.builds("{}{}|{}".format, st.sampled_from("+-"), st.sampled_from(NAMES), st.sampled_from(ARGUMENTS)),
    st.builds("{}@{}".format, st.sampled_from("+-"), st.sampled_from(CATEGORIES)),
    st.sampled_from(["allcommands", "nocommands"]),
)
PATTERN_WORDS = st.sampled_from(
    [
        "~*",
        "~a*",
        "~b",
        "%R~a*",
        "%W~a*",
        "%rw~c",
        "%RR~x",
        "%R~*",
        "allkeys",
        "resetkeys",
        "ResetKeys",
        "&*",
        "&news",
        "&x*",
        "allchannels",
        "resetchannels",
    ]
)


@ANY_SERVER
@given(words=st.lists(st.one_of(COMMAND_WORDS, PATTERN_WORDS), max_size=7))
@settings(EXAMPLES, max_examples=200)
def test_rules_mean_what_the_server_makes_of_them(
    version: str, words: list[str], long_lived: Callable[[str], Node]
) -> None:
    node = long_lived(version)
    assert rules.check("u", words, []) == [] or "%RR~x" in words
    with RedisConnection(node.address) as connection:
        try:
            wish = rules.wanted(True, [rules.sha256(FIRST)], words, node.catalogue)
        except rules.RuleError:
            channels = ["resetchannels"] if node.catalogue.has_channels else []
            with pytest.raises(RedisProblem):
                connection.call("ACL", "SETUSER", "u", "reset", *channels, *words)
            return
        connection.call(*rules.set_user("u", wish, words, node.catalogue))
        there = rules.current(connection.call("ACL", "GETUSER", "u"), node.catalogue)
        assert there == wish
        assert rules.differences("u", there, wish) == []


@pytest.mark.parametrize("version", [version for version in VERSIONS if not version.startswith("redis-6")])
@given(words=st.lists(COMMAND_WORDS, max_size=5))
@settings(EXAMPLES, max_examples=60)
def test_what_is_allowed_is_what_the_server_would_run(
    version: str, words: list[str], long_lived: Callable[[str], Node]
) -> None:
    node = long_lived(version)
    try:
        wish = rules.wanted(True, [], words, node.catalogue)
    except rules.RuleError:
        return
    with RedisConnection(node.address) as connection:
        connection.call(*rules.set_user("u", wish, ["~*", "&*", *words], node.catalogue))
        names = sorted(name for name in node.catalogue.commands if len(node.catalogue.family(name)) == 1)
        # These are allowed to everybody.
        names = [name for name in names if name not in ("auth", "hello", "quit", "reset")]
        details = connection.call("COMMAND", "INFO", *names)
        asked = [("ACL", "DRYRUN", "u", *_example(name, entry[1])) for name, entry in zip(names, details)]
        answers = dict(zip(names, connection.pipeline(asked)))
    assert {name for name, answer in answers.items() if answer == "OK"} == wish.allowed & set(names)
    assert all(answer == "OK" or "no permissions to run" in str(answer) for answer in answers.values())


def _example(name: str, arity: int) -> list[str]:
    """The command with as many arguments as it needs, that are none of those which first-argument rules allow here."""
    words = name.split("|")
    return words + ["1"] * (abs(arity) - len(words))
