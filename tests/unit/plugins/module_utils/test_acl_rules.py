# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ACL words mean. The servers' own opinion is asked in tests/integration/test_redis_acl_user.py."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.apiops.tyk_redis.plugins.module_utils import _acl_rules as rules
from ansible_collections.apiops.tyk_redis.plugins.module_utils._acl_rules import Catalogue, RuleError, User

HASH = rules.sha256("one")
OTHER = rules.sha256("two")


def old(version: tuple[int, ...] = (6, 0, 16)) -> Catalogue:
    """A server whose commands have no subcommands."""
    categories = {
        "read": ["get", "scan"],
        "write": ["set"],
        "admin": ["acl", "config", "cluster"],
        "dangerous": ["acl", "config", "cluster", "keys", "info"],
        "slow": ["acl", "config", "cluster", "keys", "info", "scan"],
    }
    return Catalogue.of(f"192.0.2.1:6379 (redis {'.'.join(map(str, version))})", version, categories, [])


def new(version: tuple[int, ...] = (7, 0, 15)) -> Catalogue:
    """A server whose commands have subcommands; vadd is a module's."""
    acl = ["acl|cat", "acl|deluser", "acl|getuser", "acl|setuser", "acl|whoami"]
    config = ["config|get", "config|set"]
    categories = {
        "read": ["get", "scan"],
        "write": ["set"],
        "admin": [*acl[1:4], *config],
        "dangerous": [*acl[1:4], *config, "keys", "info"],
        "slow": ["acl", *acl, "config", *config, "config|help", "cluster", "cluster|slots", "cluster|nodes", "scan"],
        "fast": ["select"],
    }
    return Catalogue.of("192.0.2.2:6379 (redis 7.0.15)", version, categories, ["VADD", "GET"])


def allowed(words: str, catalogue: Catalogue) -> set[str]:
    return set(rules.wanted(True, [], words.split(), catalogue).allowed)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("", ""),
        ("+get", "get"),
        ("+GET +Set", "get set"),
        ("+get -get", ""),
        ("+@read", "get scan"),
        ("+@READ -scan", "get"),
        ("-@all +@write", "set"),
        ("+@all -@slow", "get keys info select set vadd"),
        ("allcommands nocommands +vadd", "vadd"),
        ("+config", "config|get config|help config|set"),
        ("+config -config|set", "config|get config|help"),
        ("+config -@admin", "config|help"),
        ("+cluster|SLOTS", "cluster|slots"),
        ("+select|0", "select|0"),
        ("+select|0 +select", "select"),
        ("+select|0 -@fast", ""),
        ("+select +select|0", "select"),
    ],
)
def test_commands_of_a_server_with_subcommands(words: str, expected: str) -> None:
    assert allowed(words, new()) == set(expected.split())


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("+@all -@admin", "get info keys scan set"),
        ("+@all -@admin +cluster|slots", "cluster|slots get info keys scan set"),
        ("+cluster|anything", "cluster|anything"),
        ("+cluster|slots -@admin", ""),
        ("+cluster|slots +cluster", "cluster"),
        ("+cluster|slots -cluster", ""),
    ],
)
def test_commands_of_a_server_without_subcommands(words: str, expected: str) -> None:
    assert allowed(words, old()) == set(expected.split())


def test_an_argument_of_an_allowed_command_is_an_error_in_6_0_only() -> None:
    with pytest.raises(RuleError, match="where CLUSTER is allowed as a whole; leave it out, or put -cluster before it"):
        allowed("+cluster +cluster|slots", old())
    assert allowed("+cluster +cluster|slots", old((6, 2, 14))) == {"cluster"}


@pytest.mark.parametrize(
    ("words", "catalogue", "says"),
    [
        pytest.param("+gett", new(), "does not know the command in the rule '+gett'", id="command"),
        pytest.param("-@reads", new(), "does not know the category in the rule '-@reads'", id="category"),
        pytest.param("+config|sett", new(), "does not know the subcommand in the rule '+config|sett'", id="subcommand"),
        pytest.param(
            "+gett|x", old(), "does not know the subcommand in the rule '+gett|x'", id="command with argument"
        ),
        pytest.param("+get|", old(), "does not know the subcommand in the rule '+get|'", id="empty argument"),
        pytest.param("+select|0|1", new(), "does not know the subcommand", id="argument of an argument"),
        pytest.param("-cluster|slots", old(), "allow single first arguments of CLUSTER, not forbid", id="forbidden"),
        pytest.param("&news", old(), "does not know channels in rules", id="channels"),
        pytest.param("%R~a", old(), "Redis from 7.0 on and Valkey know %R~", id="keys to read"),
        pytest.param("%RR~a", new(), "does not take '%RR~a'", id="twice the same"),
        pytest.param("~* ~a", new(), "does not take '~a' after ~*, which already means all keys", id="key after all"),
        pytest.param("allchannels &a", new(), "which already means all channels", id="channel after all"),
    ],
)
def test_what_a_server_does_not_take_is_named_with_server_and_remedy(
    words: str, catalogue: Catalogue, says: str
) -> None:
    with pytest.raises(RuleError) as refusal:
        rules.wanted(True, [], words.split(), catalogue)
    text = str(refusal.value)
    assert text.startswith(catalogue.title) and says in text and text.endswith(".")


@pytest.mark.parametrize(
    ("words", "keys"),
    [
        ("~a ~b ~a", "~a ~b"),
        ("~a ~*", "~*"),
        ("~* resetkeys ~a", "~a"),
        ("allkeys", "~*"),
        ("%R~a %W~a", "~a"),
        ("%r~a", "%R~a"),
        ("~a %W~a", "~a"),
        ("%WR~*", "~*"),
    ],
)
def test_key_patterns_are_a_set(words: str, keys: str) -> None:
    assert rules.wanted(True, [], words.split(), new()).keys == set(keys.split())


def reply(
    commands: str, keys: str, channels: str, form: str, flags: tuple[str, ...] = ("on",), **more: Any
) -> list[Any]:
    """A user as each version answers ACL GETUSER."""
    lists = form in ("6.0", "6.2")
    answer = ["flags", list(flags), "passwords", [HASH], "commands", commands]
    answer += ["keys", [word[1:] for word in keys.split()] if lists else keys]
    if form != "6.0":
        answer += ["channels", [word[1:] for word in channels.split()] if lists else channels]
    return answer + [item for pair in more.items() for item in pair]


@pytest.mark.parametrize("form", ["6.0", "6.2", "7.0"])
def test_replies_of_all_versions_are_understood(form: str) -> None:
    catalogue = {"6.0": old(), "6.2": old((6, 2, 14)), "7.0": new()}[form]
    there = rules.current(reply("-@all +get +@write", "~a* ~b", "&x", form), catalogue)
    assert there is not None
    channels = "&*" if form == "6.0" else "&x"
    assert there == User(
        True, frozenset({HASH}), frozenset({"~a*", "~b"}), frozenset({channels}), frozenset({"get", "set"})
    )
    assert there.shown == f"~a* ~b{'' if form == '6.0' else ' &x'} -@all +get +@write"


def test_a_user_that_is_not_there() -> None:
    assert rules.current(None, new()) is None


def test_what_this_collection_cannot_ask_for_is_kept_apart() -> None:
    selectors = [["commands", "-@all +set", "keys", "~b", "channels", "", "databases", "alldbs"]]
    flags = ("off", "nopass", "skip-sanitize-payload")
    there = rules.current(reply("+get", "", "", "7.0", flags, databases="db=0", selectors=selectors), new())
    assert there is not None
    assert (there.enabled, there.nopass) == (False, True)
    assert there.rest == ("(-@all +set ~b)", "db=0", "skip-sanitize-payload")


def test_a_strange_reply_is_told_as_such() -> None:
    with pytest.raises(RuleError, match="check what listens there"):
        rules.current(["flags", ["on"]], new())


FORMS = st.sampled_from([("6.0", old()), ("6.2", old((6, 2, 14))), ("7.0", new())])
SHARED_WORDS = st.sampled_from(
    ["+get", "-get", "+@read", "-@read", "+@all", "-@all", "+cluster", "-cluster", "+@admin"]
)
PATTERNS = st.lists(st.from_regex(r"[a-z:?\[\]*-]{1,8}", fullmatch=True).filter(lambda text: text != "*"), max_size=4)


@given(form=FORMS, commands=st.lists(SHARED_WORDS, max_size=6), keys=PATTERNS, channels=PATTERNS)
def test_a_reply_means_what_the_same_rules_mean(
    form: tuple[str, Catalogue], commands: list[str], keys: list[str], channels: list[str]
) -> None:
    name, catalogue = form
    words = [f"~{pattern}" for pattern in keys]
    named = [f"&{pattern}" for pattern in channels]
    wish = rules.wanted(True, [HASH], [*words, *(named if catalogue.has_channels else []), *commands], catalogue)
    there = rules.current(reply(" ".join(commands), " ".join(words), " ".join(named), name), catalogue)
    assert there == wish
    assert rules.differences("u", there, wish) == []


ANY_WORD = st.one_of(
    st.text(max_size=8),
    st.builds("{}{}".format, st.sampled_from(["+", "-", "+@", "-@", "~", "&", "%R~", "%"]), st.text(max_size=8)),
)


@given(words=st.lists(ANY_WORD, max_size=6), catalogue=st.sampled_from([old(), old((6, 2)), new()]))
def test_any_words_are_refused_in_words_or_evaluated(words: list[str], catalogue: Catalogue) -> None:
    reasons = rules.check("u", words, [])
    assert all(reason.endswith((".", "?")) for reason in reasons)
    if not reasons:
        try:
            rules.wanted(True, [], words, catalogue)
        except RuleError as refusal:
            assert str(refusal).startswith(catalogue.title)


@pytest.mark.parametrize("secret", [">secret", "<secret", "#" + HASH, "!" + HASH])
def test_passwords_in_rules_are_refused_and_not_shown(secret: str) -> None:
    (sentence,) = rules.check("tyk", ["+get", secret], [])
    assert sentence == "The rules of 'tyk' contain a password; give passwords as such, not in the rules."


@pytest.mark.parametrize("name", ["", "a b", "a\n", 'a"b', "a'b", "nul\0"])
def test_names_that_no_file_could_hold_are_refused(name: str) -> None:
    (sentence,) = rules.check(name, [], [])
    assert sentence.startswith(f"{name!r} cannot be the name of a user")


def test_only_hashes_are_hashes() -> None:
    assert rules.check("tyk", [], [HASH]) == []
    assert len(rules.check("tyk", [], [HASH[:-1]])) == len(rules.check("tyk", [], [HASH.upper()])) == 1


def user(words: str, hashes: tuple[str, ...] = (HASH,), enabled: bool = True) -> User:
    return rules.wanted(enabled, hashes, words.split(), new())


def test_differences_are_sentences_without_secrets() -> None:
    found = rules.differences("tyk", user("~a &x +@read", (HASH,)), user("~b &x +get +set", (HASH, OTHER), False))
    assert found == [
        "switch 'tyk' off",
        "let 'tyk' have 2 passwords: 1 new",
        "allow 'tyk' the keys ~b",
        "forbid 'tyk' the keys ~a",
        "allow 'tyk' the commands set",
        "forbid 'tyk' the commands scan",
    ]
    assert rules.differences("tyk", None, user("+get")) == ["make the user 'tyk' with 1 password, on"]


def test_many_commands_are_not_all_listed() -> None:
    (sentence,) = rules.differences("tyk", user("+@all"), user(""))
    assert sentence.endswith(" more") and sentence.count(",") == 7


def test_equal_rights_in_other_words_are_no_difference() -> None:
    assert (
        rules.differences(
            "tyk", user("+@all -@admin"), user("+@all -acl|setuser -acl|getuser -acl|deluser -config +config|help")
        )
        == []
    )


def test_one_command_makes_the_user() -> None:
    wish = user("~a +get", (OTHER, HASH), False)
    beginning = ("ACL", "SETUSER", "tyk", "reset")
    end = ("~a", "+get", "off", *(f"#{one}" for one in sorted((HASH, OTHER))))
    assert rules.set_user("tyk", wish, ["~a", "+get"], new()) == (*beginning, "resetchannels", *end)
    assert rules.set_user("tyk", wish, ["~a", "+get"], old()) == (*beginning, *end)


ADMIN = "~* &* +@all"


@pytest.mark.parametrize(
    ("name", "wish", "says"),
    [
        pytest.param("boss", user(ADMIN), "", id="nothing lost"),
        pytest.param("boss", user("+acl +info"), "", id="enough"),
        pytest.param("boss", user(ADMIN, (HASH, OTHER)), "", id="a second password"),
        pytest.param("boss", user(ADMIN, (OTHER,)), "would lose the password in use; keep it in the list", id="other"),
        pytest.param("boss", user(ADMIN, enabled=False), "it was to switch off", id="off"),
        pytest.param("boss", user("+@all -info"), "would lose info;", id="a command"),
        pytest.param("boss", None, "it was to remove", id="removed"),
        pytest.param("tyk", None, "", id="somebody else"),
        pytest.param("default", None, "cannot be without the user 'default'", id="default"),
    ],
)
def test_the_administrator_is_not_locked_out(name: str, wish: User | None, says: str) -> None:
    sentence = rules.lock_out(name, "boss", "one", wish, new())
    assert says in sentence and bool(says) == bool(sentence)


def test_whoever_logs_in_without_a_password_does_not_get_one() -> None:
    assert "would lose the password in use" in rules.lock_out("default", "default", None, user(ADMIN), new())


@pytest.mark.parametrize(
    ("option", "aclfile", "config_file", "expected"),
    [
        ("auto", "/a", "/c", "aclfile"),
        ("auto", "/a", "", "aclfile"),
        ("auto", "", "/c", "config"),
        ("aclfile", "/a", "/c", "aclfile"),
        ("config", "", "/c", "config"),
        ("none", "/a", "/c", "none"),
        ("none", "", "", "none"),
        ("auto", "", "", "neither an aclfile nor a configuration file"),
        ("config", "", "", "neither an aclfile nor a configuration file"),
        ("aclfile", "", "/c", "has no aclfile, so ACL SAVE would fail"),
        ("config", "/a", "/c", "keeps its users in /a"),
    ],
)
def test_how_users_are_kept(option: str, aclfile: str, config_file: str, expected: str) -> None:
    try:
        assert rules.way_to_persist(option, new(), aclfile=aclfile, config_file=config_file) == expected
    except RuleError as refusal:
        assert expected in str(refusal)


def test_redis_6_0_must_not_write_a_password_that_needs_quotes() -> None:
    def way(catalogue: Catalogue, requirepass: str) -> str:
        return rules.way_to_persist("auto", catalogue, config_file="/c", requirepass=requirepass)

    with pytest.raises(RuleError, match="would not start with that file again") as refusal:
        way(old(), "my secret")
    assert "my secret" not in str(refusal.value)
    assert way(old(), "plain") == way(old((6, 2)), "my secret") == "config"


def test_the_users_of_a_role_become_lines_of_a_file() -> None:
    users = [
        {"name": "ops", "passwords": ["one", "two", "one"], "rules": ["~*", "&*", "+@all"]},
        {"name": "pump", "passwords": ["two"], "component": "pump"},
    ]
    older, newer = rules.described(users, "6.0.16"), rules.described(users, "7.2.4")
    both = " ".join(f"#{one}" for one in sorted((HASH, OTHER)))
    assert older[0]["line"] == f"user ops on {both} ~* +@all"
    assert newer[0]["line"] == f"user ops on {both} resetchannels ~* &* +@all"
    assert newer[0]["rules"] == ["~*", "&*", "+@all"] and newer[0]["component"] == ""
    assert newer[1]["component"] == "pump" and newer[1]["password_hashes"] == [OTHER]
    assert "+client|setinfo" in newer[1]["line"] and "+client|setinfo" not in older[1]["line"]
    assert newer[1]["line"].startswith(f"user pump on #{OTHER} ~analytics-tyk-system-analytics* ")
    assert newer[1]["line"].count("resetchannels") == 1


@pytest.mark.parametrize(
    ("common", "version", "expected"),
    [
        (["~*", "+get"], "7.0.15", ["~*", "+get", "&*"]),
        (["~*", "&news", "+get"], "7.0.15", ["~*", "&news", "+get"]),
        (["~*", "ResetChannels", "+get"], "7.0.15", ["~*", "ResetChannels", "+get"]),
        (["~*", "&news", "+get"], "6.0.16", ["~*", "+get"]),
    ],
)
def test_users_without_rules_have_the_common_ones_and_all_channels(
    common: list[str], version: str, expected: list[str]
) -> None:
    (found,) = rules.described([{"name": "tyk", "passwords": ["one"], "component": "", "rules": []}], version, common)
    assert found["rules"] == expected


@pytest.mark.parametrize(
    ("lines", "listed"),
    [
        pytest.param(["user default off -@all", f"user tyk on #{HASH} ~* +@all"], True, id="as described"),
        pytest.param([f"user tyk on sanitize-payload #{HASH} ~* &* +@all"], True, id="as newer servers write it"),
        pytest.param([], False, id="missing"),
        pytest.param([f"user tyk off #{HASH} ~* +@all"], False, id="switched off"),
        pytest.param([f"user tyk on #{OTHER} ~* +@all"], False, id="another password"),
        pytest.param([f"user tyk on #{HASH} #{OTHER} ~* +@all"], False, id="one password too many"),
        pytest.param(["user tyk on nopass ~* +@all"], False, id="no password"),
        pytest.param([f"user tyk on nopass #{HASH} ~* +@all"], False, id="any password"),
        pytest.param([f"user tyk on #{HASH} +@all", f"user old on #{OTHER} +@all"], True, id="another user beside it"),
        pytest.param([f"user old on #{HASH} ~* +@all"], False, id="another user instead"),
    ],
)
def test_a_listing_shows_whether_users_and_passwords_are_as_described(lines: list[str], listed: bool) -> None:
    assert rules.are_listed([{"name": "tyk", "password_hashes": [HASH]}], lines) is listed
