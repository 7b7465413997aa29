# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which questions are asked about a user's rights, and what the servers' answers mean."""

from __future__ import annotations

import pytest

from ansible_collections.apiops.tyk_redis.plugins.module_utils._redis_rights import (
    ALLOWED,
    NO_CHANNEL,
    NO_COMMAND,
    NO_KEY,
    UNCLEAR,
    UNKNOWN,
    NodeRights,
    Question,
    Speaker,
    covers,
    forbidden_questions,
    judge,
    needed_commands,
    questions_about_channels,
    questions_before_multi,
    questions_inside_multi,
    reads_values,
    summary,
)
from ansible_collections.apiops.tyk_redis.plugins.module_utils._tyk_acl import RIGHTS, Rights

# The replies that the servers of the integration tests gave.
ANSWERS = [
    ("", ALLOWED),
    ("MOVED 609 192.0.2.1:6379", ALLOWED),
    ("READONLY You can't write against a read only replica.", ALLOWED),
    ("EXEC without MULTI", ALLOWED),
    ("MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.", ALLOWED),
    ("NOPERM this user has no permissions to run the 'flushall' command or its subcommand", NO_COMMAND),
    ("NOPERM this user has no permissions to run the 'config|get' command", NO_COMMAND),
    ("NOPERM User tyk has no permissions to run the 'keys' command", NO_COMMAND),
    ("NOPERM this user has no permissions to access one of the keys used as arguments", NO_KEY),
    ("NOPERM No permissions to access a key", NO_KEY),
    ("NOPERM this user has no permissions to access one of the channels used as arguments", NO_CHANNEL),
    ("NOPERM No permissions to access a channel", NO_CHANNEL),
    ("unknown command 'FLUSHALL', with args beginning with: 'nosuchoption' ", UNKNOWN),
    ("unknown command `KEYS`, with args beginning with: `x`, ", UNKNOWN),
    ("unknown subcommand 'reset'. Try CLUSTER HELP.", UNKNOWN),
    ('DEBUG command not allowed. If the enable-debug-command option is set to "local", you can run it', UNKNOWN),
    ("Command not allowed inside a transaction", UNCLEAR),
    ("Command 'shutdown' not allowed inside a transaction", UNCLEAR),
]


@pytest.mark.parametrize(("error", "answer"), ANSWERS)
def test_answers(error: str, answer: str) -> None:
    assert judge(error) == answer


@pytest.mark.parametrize("component", RIGHTS)
def test_every_command_of_the_table_is_asked_for(component: str) -> None:
    rights = RIGHTS[component]
    commands = needed_commands(rights, cluster=True, database=1)
    asked = [
        *questions_before_multi(commands),
        *questions_inside_multi(rights, commands, "key", "stray", 1),
        *(question for questions in questions_about_channels(rights, commands) for question in questions),
    ]
    words = {question.word for question in asked}
    # MULTI is asked for by beginning, and READONLY by reading a replica.
    assert set(rights.commands) - {"multi", "readonly"} <= words
    assert {f"~{pattern}" for pattern in rights.keys} <= words
    assert {f"&{pattern}" for pattern in rights.channels} == {question.channel for question in asked} - {""}
    assert covers(rights.keys, f"{rights.probe_prefix}x")


@pytest.mark.parametrize("component", RIGHTS)
def test_nothing_but_harmless_words(component: str) -> None:
    for question in forbidden_questions(RIGHTS[component], "stray"):
        head, *operands = map(str, question.words)
        assert question.word == "~*" or head.lower() == question.word.partition("|")[0]
        # Operands that could be an option, a database, a host or a pattern of several keys.
        assert not {"async", "sync", "nosave", "save", "now", "force", "hard", "soft", "no", "one", "segfault"} & {
            operand.lower() for operand in operands
        }
        assert not any("*" in operand or operand.isdigit() for operand in operands if question.word != "~*")


def test_what_a_component_does_not_send_is_not_asked_for() -> None:
    commands = needed_commands(RIGHTS["pump"], cluster=False, database=0)
    assert not {"cluster|slots", "command", "select", "readonly"} & set(commands)
    assert "select" in needed_commands(RIGHTS["pump"], cluster=False, database=3)
    assert needed_commands(RIGHTS["mdcb"], cluster=True, database=0) == (
        "cluster|slots", "client|getname", "client|setname", "info"
    )  # fmt: skip
    assert [reads_values(RIGHTS[name]) for name in ("gateway", "dashboard", "pump", "mdcb")] == [
        True,
        True,
        False,
        True,
    ]


def test_foreign_keys_are_asked_for_where_the_component_has_keys_of_its_own() -> None:
    assert "~*" in {question.word for question in forbidden_questions(RIGHTS["pump"], "stray")}
    assert "~*" not in {question.word for question in forbidden_questions(RIGHTS["gateway"], "stray")}


def test_what_a_component_needs_is_never_forbidden() -> None:
    rights = Rights("x", ("*",), (), ("get", "keys"), (), "x-", "")
    assert "keys" not in {question.word for question in forbidden_questions(rights, "stray")}


NOPERM = "NOPERM this user has no permissions to run the 'x' command"
NO_KEYS = "NOPERM No permissions to access a key"


def node(address: str, needed: dict[str, str], forbidden: dict[str, str]) -> NodeRights:
    found = NodeRights(address)
    for word, error in needed.items():
        found.take(Question(word, (word,)), error)
    for word, error in forbidden.items():
        found.take_forbidden(Question(word, (word,)), error)
    return found


def test_summary_is_about_all_nodes() -> None:
    nodes = [
        node("a", {"get": "", "set": "", "~x": ""}, {"keys": NOPERM, "flushall": NOPERM, "shutdown": NOPERM}),
        node(
            "b", {"get": "", "set": NOPERM, "~x": NO_KEYS}, {"keys": "", "flushall": "unknown command", "shutdown": ""}
        ),
    ]
    assert summary(nodes) == {
        "allowed": ["get"],
        "missing": ["set", "~x"],
        "refused": ["flushall"],
        "excess": ["keys", "shutdown"],
        "unproved": [],
    }
    nodes[0].give_up("NOPERM", [Question("get", ("GET",))], [Question("flushall", ("FLUSHALL",))])
    assert summary([node("c", {}, {"shutdown": "Command not allowed inside a transaction"})])["unproved"] == [
        "shutdown"
    ]
    assert summary([]) == {"allowed": [], "missing": [], "refused": [], "excess": [], "unproved": []}


def test_keys_are_judged_only_where_the_command_is_allowed() -> None:
    found = node("a", {"lrange": NOPERM, "~x": NOPERM, "get": NO_KEYS}, {"~*": NOPERM})
    assert found.needed == {"lrange": NO_COMMAND, "~x": UNCLEAR, "get": ALLOWED} and found.excess == []


def test_one_allowed_way_to_the_keys_of_others_is_enough() -> None:
    found = node("a", {}, {"~*": NO_KEYS})
    found.take_forbidden(Question("~*", ("DEL", "stray")), "")
    found.take_forbidden(Question("~*", ("LRANGE", "stray")), NO_KEYS)
    assert found.excess == ["~*"]


def test_channels_are_told_apart_from_commands() -> None:
    found = NodeRights("a")
    found.take(Question("publish", ("PUBLISH", "one", ""), "&one"), "")
    found.take(Question("publish", ("PUBLISH", "two", ""), "&two"), "NOPERM No permissions to access a channel")
    found.take(Question("subscribe", ("SUBSCRIBE", "one"), "&one"), NOPERM)
    assert found.needed == {"&one": ALLOWED, "publish": ALLOWED, "&two": NO_CHANNEL, "subscribe": NO_COMMAND}


def test_nodes_with_the_same_lack_share_a_sentence() -> None:
    speaker = Speaker("tyk", "Tyk Pump", "", RIGHTS["pump"])
    nodes = [node(address, {"cluster|slots": NOPERM, "set": ""}, {}) for address in ("c", "a")]
    nodes.append(node("b", {"cluster|slots": "", "set": NOPERM}, {}))
    remedy = "extend its ACL rules there, for example with the module redis_acl_user."
    assert speaker.missing(nodes) == [
        f"The user 'tyk' may not run CLUSTER SLOTS on a and c, which Tyk Pump needs; {remedy}",
        f"The user 'tyk' may not run SET on b, which Tyk Pump needs; {remedy}",
    ]
    assert speaker.excess(nodes) == []
