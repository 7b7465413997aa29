# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the words of an ACL rule allow on a given server, and how a user differs from what is wanted. No I/O here.

Private to this collection. A server rewrites the rules that it is given, each version in a way of its own (7.0 answers
-@dangerous with the commands that this took away). Equality is therefore judged by what the rules allow. What a
category and C(+@all) contain is the server's own answer to ACL CAT.

Facts about the servers, each seen on Redis 6.0, 6.2, 7.0, 8.0 and 8.2 and on Valkey 8.1 and 9.1:

* Up to 6.2 no command has subcommands of its own. C(+cluster|slots) allows one first argument of CLUSTER, whatever it
  is, and C(-cluster|slots) is an error. From 7.0 on subcommands are commands with categories of their own, and first
  arguments are left for commands without any (C(+select|0)).
* A first argument of a command that is allowed as a whole is an error in 6.0 and without effect later.
* Allowing or forbidding a command, or a category that it is in, forgets its first arguments, and from 7.0 on does the
  same to all its subcommands. Commands of modules are in no category of ACL CAT.
* CONFIG REWRITE of 6.0 writes requirepass without quotes; a blank in it makes a file that the server refuses.
* C(%R~) and C(%W~) came with 7.0, channels with 6.2, selectors with 7.0, databases with Valkey 9.1.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.apiops.tyk_redis.plugins.module_utils._cluster_view import join_names, version_tuple
from ansible_collections.apiops.tyk_redis.plugins.module_utils._tyk_acl import FIRST_WITH_CHANNELS, RIGHTS
from ansible_collections.apiops.tyk_redis.plugins.module_utils._tyk_acl import rules as rules_of_component

FIRST_WITH_SUBCOMMANDS = (7, 0)
FIRST_WITH_SETINFO = (7, 2)
_FIRST_WITH_LENIENT_ARGUMENTS = (6, 2)
_FIRST_WITH_QUOTED_REQUIREPASS = (6, 2)
_ALL = "all"
_SHOWN_NAMES = 8
_HASH = re.compile(r"[0-9a-f]{64}")
_KEYS = re.compile(r"%(R|W|RW|WR)~(.*)", re.IGNORECASE)
_OTHER_OPTION = {
    "on": "enabled",
    "off": "enabled",
    "reset": "rules as the whole of what is wanted, since every change begins from nothing",
    "nopass": "passwords: a user without one is everybody's",
    "resetpass": "passwords as the whole of what is wanted",
}
# What this collection itself sends on the administrator's connection.
_NEEDED_BY_ADMINISTRATOR = ("acl|cat", "acl|deluser", "acl|getuser", "acl|setuser", "acl|whoami", "info")


class RuleError(ValueError):
    """Rules that a server does not take. The text is a finished sentence with a remedy."""


@dataclass(frozen=True)
class Catalogue:
    """The commands that a server knows.

    C(title) is what messages call the server. C(categories) maps a category to the commands in it, C(commands) are all
    of them, and C(families) maps a command to itself with its subcommands, which are written C(command|subcommand).
    """

    title: str
    version: tuple[int, ...]
    categories: Mapping[str, frozenset[str]]
    commands: frozenset[str]
    families: Mapping[str, frozenset[str]] = field(repr=False)

    @classmethod
    def of(
        cls, title: str, version: tuple[int, ...], categories: Mapping[str, Iterable[str]], commands: Iterable[str]
    ) -> Catalogue:
        """Make it of the replies to ACL CAT, and to COMMAND LIST where there is one."""
        sets = {name.lower(): frozenset(map(str.lower, members)) for name, members in categories.items()}
        everything = frozenset(map(str.lower, commands)).union(*sets.values())
        families: dict[str, set[str]] = {}
        for name in everything:
            families.setdefault(name.partition("|")[0], set()).add(name)
        return cls(title, version, sets, everything, {name: frozenset(names) for name, names in families.items()})

    @property
    def has_channels(self) -> bool:
        return self.version >= FIRST_WITH_CHANNELS

    @property
    def has_subcommands(self) -> bool:
        return self.version >= FIRST_WITH_SUBCOMMANDS

    def family(self, command: str) -> frozenset[str]:
        """A command with all its subcommands; a subcommand alone."""
        return self.families.get(command, frozenset({command}))


@dataclass(frozen=True)
class User:
    """What one server lets a user do.

    C(passwords) are SHA-256 in hexadecimal. C(rest) is what no description of this collection can ask for.
    """

    enabled: bool
    passwords: frozenset[str] = field(repr=False)
    keys: frozenset[str]
    channels: frozenset[str]
    allowed: frozenset[str]
    nopass: bool = False
    rest: tuple[str, ...] = ()
    # As the server or the task has it, for people.
    shown: str = field(default="", compare=False)


# --- what is wanted --------------------------------------------------------------------------------------------------


def check(name: str, words: Sequence[str], hashes: Iterable[str]) -> list[str]:
    """Everything that is wrong with a description of a user on any server, as sentences."""
    reasons = []
    if not name or re.search(r"[\s\0'\"]", name):
        reasons.append(f"{name!r} cannot be the name of a user; give one without blanks and quotes.")
    if not all(_HASH.fullmatch(one) for one in hashes):
        reasons.append("A hash of a password is 64 hexadecimal digits, the SHA-256 of its UTF-8 bytes.")
    return reasons + check_words(name, words)


def check_words(name: str, words: Iterable[str]) -> list[str]:
    """Everything that is wrong with the rules of a user on any server, as sentences."""
    return [reason for word in words for reason in _check_word(name, word)]


def _check_word(name: str, word: str) -> list[str]:
    if re.match(r"[><#!]", word):
        # Not shown, since it is one.
        return [f"The rules of {name!r} contain a password; give passwords as such, not in the rules."]
    if not word or re.search(r"[\s\0'\"]", word):
        return [f"The rules of {name!r} contain {word!r}; each is one word without blanks and quotes."]
    if word.lower() in _OTHER_OPTION:
        return [f"The rules of {name!r} contain {word!r}; use {_OTHER_OPTION[word.lower()]}."]
    if re.match(r"[()]", word) or word.lower() == "clearselectors":
        return [
            f"The rules of {name!r} contain the selector {word!r}, which is not supported; give what it allows to a"
            " user of its own."
        ]
    if not _is_pattern(word) and not re.match(r"[+-].", word) and word.lower() not in ("allcommands", "nocommands"):
        return [f"The rules of {name!r} contain {word!r}, which is none; a rule begins with ~, %R~, %W~, &, + or -."]
    return []


def _is_pattern(word: str) -> bool:
    lower = word.lower()
    return lower in ("allkeys", "resetkeys", "allchannels", "resetchannels") or bool(
        re.match(r"~|&|%[RW]{1,2}~", word, re.IGNORECASE)
    )


def sha256(password: str) -> str:
    """A password as an ACL holds it."""
    return hashlib.sha256(password.encode("utf-8", "surrogateescape")).hexdigest()


def words_for(component: str | None, words: Sequence[str] | None, version: tuple[int, ...]) -> tuple[str, ...]:
    """The rules that are wanted on a server of this version (for Valkey, its own version)."""
    if component is None:
        return tuple(words or ())
    return rules_of_component(component, version, client_setinfo=version >= FIRST_WITH_SETINFO)


def wanted(enabled: bool, hashes: Iterable[str], words: Sequence[str], catalogue: Catalogue) -> User:
    """The user that these rules make.

    Raises:
        RuleError: the server would not take them.
    """
    keys, channels = _Patterns("~", "keys"), _Patterns("&", "channels")
    rights = _Rights(catalogue)
    for word in words:
        if word.startswith("~") or word.lower() in ("allkeys", "resetkeys"):
            keys.take(word, catalogue)
        elif word.startswith("%"):
            keys.take_partial(word, catalogue)
        elif _is_channel(word):
            if not catalogue.has_channels:
                raise RuleError(
                    f"{catalogue.title} does not know channels in rules, and took {word!r} for none; leave it out for"
                    " servers before 6.2, where every user may use all of them."
                )
            channels.take(word, catalogue)
        else:
            rights.take(word)
    return User(
        enabled=enabled,
        passwords=frozenset(hashes),
        keys=keys.words(),
        channels=channels.words() if catalogue.has_channels else frozenset({"&*"}),
        allowed=rights.result(),
        shown=" ".join(words),
    )


class _Patterns:
    """The key or channel patterns of a user, as the words of its rules change them."""

    def __init__(self, sign: str, what: str) -> None:
        self._sign = sign
        self._what = what
        self._everything = False
        self._flags: dict[str, str] = {}

    def take(self, word: str, catalogue: Catalogue) -> None:
        if word.lower() == f"reset{self._what}":
            self._everything = False
            self._flags = {}
        elif word.lower() == f"all{self._what}" or word == f"{self._sign}*":
            self._everything = True
            self._flags = {}
        else:
            self._add(word, word[1:], "RW", catalogue)

    def take_partial(self, word: str, catalogue: Catalogue) -> None:
        match = _KEYS.fullmatch(word)
        if match is None or not catalogue.has_subcommands:
            raise RuleError(
                f"{catalogue.title} does not take {word!r}; Redis from 7.0 on and Valkey know %R~, %W~ and %RW~, older"
                " ones only ~."
            )
        self._add(word, match.group(2), "".join(sorted(match.group(1).upper())), catalogue)

    def _add(self, word: str, pattern: str, flags: str, catalogue: Catalogue) -> None:
        if self._everything:
            raise RuleError(
                f"{catalogue.title} does not take {word!r} after {self._sign}*, which already means all"
                f" {self._what}; leave one of the two out."
            )
        self._flags[pattern] = "".join(sorted({*self._flags.get(pattern, ""), *flags}))

    def words(self) -> frozenset[str]:
        if self._everything:
            return frozenset({f"{self._sign}*"})
        return frozenset(
            f"{self._sign}{pattern}" if flags == "RW" else f"%{flags}~{pattern}"
            for pattern, flags in self._flags.items()
        )


class _Rights:
    """The commands of a user, as the words of its rules change them."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._allowed: set[str] = set()
        self._first_arguments: set[tuple[str, str]] = set()

    def take(self, word: str) -> None:
        lower = {"allcommands": "+@all", "nocommands": "-@all"}.get(word.lower(), word.lower())
        allow, name = lower[0] == "+", lower[1:]
        if name == f"@{_ALL}":
            self._switch(self._catalogue.commands, allow)
            self._first_arguments.clear()
        elif name.startswith("@"):
            members = self._catalogue.categories.get(name[1:])
            if members is None:
                raise self._unknown(word, "category")
            self._switch(frozenset().union(*(self._catalogue.family(member) for member in members)), allow)
        elif name in self._catalogue.commands:
            self._switch(self._catalogue.family(name), allow)
        else:
            self._take_first_argument(word, allow, name)

    def _switch(self, names: frozenset[str], allow: bool) -> None:
        self._allowed = self._allowed | names if allow else self._allowed - names
        self._first_arguments = {pair for pair in self._first_arguments if pair[0] not in names}

    def _take_first_argument(self, word: str, allow: bool, name: str) -> None:
        command, separator, argument = name.partition("|")
        container = len(self._catalogue.family(command)) > 1
        nested = "|" in argument and self._catalogue.has_subcommands
        if not separator or not argument or nested or container or command not in self._catalogue.commands:
            raise self._unknown(word, "subcommand" if separator else "command")
        if not allow:
            raise RuleError(
                f"{self._catalogue.title} does not take {word!r}: it can allow single first arguments of"
                f" {command.upper()}, not forbid them. Forbid the command, and allow those that are wanted."
            )
        if command not in self._allowed:
            self._first_arguments.add((command, argument))
        elif self._catalogue.version < _FIRST_WITH_LENIENT_ARGUMENTS:
            raise RuleError(
                f"{self._catalogue.title} does not take {word!r} where {command.upper()} is allowed as a whole; leave"
                f" it out, or put -{command} before it."
            )

    def _unknown(self, word: str, what: str) -> RuleError:
        return RuleError(
            f"{self._catalogue.title} does not know the {what} in the rule {word!r}; correct it, or leave it out for"
            " servers of this version."
        )

    def result(self) -> frozenset[str]:
        # The bare name of a command that has subcommands cannot be sent.
        containers = {name for name, family in self._catalogue.families.items() if len(family) > 1}
        return frozenset(self._allowed - containers) | {f"{name}|{first}" for name, first in self._first_arguments}


# --- what is there ---------------------------------------------------------------------------------------------------


def current(reply: Sequence[Any] | None, catalogue: Catalogue) -> User | None:
    """The user of a reply to ACL GETUSER, of any version; None when there is no such user.

    Raises:
        RuleError: the reply is not understood.
    """
    if reply is None:
        return None
    fields = dict(zip(reply[::2], reply[1::2]))
    try:
        flags = {str(flag) for flag in fields["flags"]}
        keys = _patterns_shown(fields["keys"], "~")
        channels = _patterns_shown(fields.get("channels", ["*"]), "&")
        commands = str(fields["commands"]).split()
        hashes = [str(one).lower() for one in fields["passwords"]]
    except (KeyError, TypeError) as exc:
        raise RuleError(
            f"{catalogue.title} describes a user as this collection does not know it (ACL GETUSER: {exc}); check what"
            " listens there."
        ) from exc
    rest = [f"({_selector(selector)})" for selector in fields.get("selectors", [])]
    if fields.get("databases", "alldbs") != "alldbs":
        rest.append(str(fields["databases"]))
    if "skip-sanitize-payload" in flags:
        rest.append("skip-sanitize-payload")
    evaluated = wanted(
        "on" in flags, hashes, [*keys, *(channels if catalogue.has_channels else []), *commands], catalogue
    )
    return User(
        enabled=evaluated.enabled,
        passwords=evaluated.passwords,
        keys=evaluated.keys,
        channels=evaluated.channels,
        allowed=evaluated.allowed,
        nopass="nopass" in flags,
        rest=tuple(rest),
        shown=" ".join([*keys, *(channels if catalogue.has_channels else []), *commands, *rest]),
    )


def _patterns_shown(shown: Any, sign: str) -> list[str]:
    """Before 7.0 a list of patterns without their signs, later one text with them."""
    if isinstance(shown, str):
        return shown.split()
    return [f"{sign}{pattern}" for pattern in shown]


def _selector(fields: Sequence[Any]) -> str:
    return " ".join(str(value) for value in fields[1::2] if value and value != "alldbs")


# --- from the one to the other ---------------------------------------------------------------------------------------


def differences(name: str, there: User | None, wish: User) -> list[str]:
    """What has to change, as sentences without any secret; empty when nothing does."""
    if there is None:
        count = len(wish.passwords)
        return [f"make the user {name!r} with {_counted(count, 'password')}, {'on' if wish.enabled else 'off'}"]
    found = []
    if there.enabled != wish.enabled:
        found.append(f"switch {name!r} {'on' if wish.enabled else 'off'}")
    if there.nopass:
        found.append(f"end that {name!r} needs no password")
    if there.passwords != wish.passwords:
        new, old = wish.passwords - there.passwords, there.passwords - wish.passwords
        counts = [f"{len(new)} new"] * bool(new) + [f"{len(old)} taken away"] * bool(old)
        found.append(f"let {name!r} have {_counted(len(wish.passwords), 'password')}: {', '.join(counts)}")
    for what, now, then in (
        ("keys", there.keys, wish.keys),
        ("channels", there.channels, wish.channels),
        ("commands", there.allowed, wish.allowed),
    ):
        if then - now:
            found.append(f"allow {name!r} the {what} {_some(then - now)}")
        if now - then:
            found.append(f"forbid {name!r} the {what} {_some(now - then)}")
    if there.rest:
        found.append(f"take {' '.join(there.rest)} from {name!r}")
    return found


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _some(names: frozenset[str]) -> str:
    ordered = sorted(names)
    more = len(ordered) - _SHOWN_NAMES
    return join_names(ordered) if more <= 1 else f"{', '.join(ordered[:_SHOWN_NAMES])} and {more} more"


def set_user(name: str, wish: User, words: Sequence[str], catalogue: Catalogue) -> tuple[str, ...]:
    """The one command that makes the user what is wanted. It holds hashes, no passwords."""
    return ("ACL", "SETUSER", name, "reset", *_rights(words, catalogue.version), *_state(wish.enabled, wish.passwords))


def file_line(name: str, hashes: Iterable[str], words: Sequence[str], version: tuple[int, ...]) -> str:
    """The line of an ACL file for a user that is on."""
    return " ".join(["user", name, *_state(True, hashes), *_rights(words, version)])


def _rights(words: Sequence[str], version: tuple[int, ...]) -> list[str]:
    """From no rights at all: a new user may use all channels where acl-pubsub-default says so, as it does in 6.2."""
    begin = [] if version < FIRST_WITH_CHANNELS or "resetchannels" in words else ["resetchannels"]
    return [*begin, *words]


def _state(enabled: bool, hashes: Iterable[str]) -> list[str]:
    return ["on" if enabled else "off", *(f"#{one}" for one in sorted(set(hashes)))]


def lock_out(name: str, login: str, password: str | None, wish: User | None, catalogue: Catalogue) -> str:
    """Why a change would keep the administrator out, as a sentence; empty when it would not.

    Args:
        login: the user that the server takes this connection for.
        password: what it logged in with.
        wish: what becomes of the user; None when it is removed.
    """
    if name == "default" and wish is None:
        return f"{catalogue.title} cannot be without the user 'default'; switch it off instead (enabled: false)."
    if name != login:
        return ""
    remedy = f"log in as another administrator to change {name!r} this way."
    where = f"This task is logged in on {catalogue.title} as {name!r}, which"
    if wish is None:
        return f"{where} it was to remove; {remedy}"
    if not wish.enabled:
        return f"{where} it was to switch off; {remedy}"
    if password is None or sha256(password) not in wish.passwords:
        return f"{where} would lose the password in use; keep it in the list beside the new one, or {remedy}"
    missing = [
        command for command in _NEEDED_BY_ADMINISTRATOR if not {command, command.partition("|")[0]} & wish.allowed
    ]
    if missing:
        return f"{where} would lose {join_names(missing)}; {remedy}"
    return ""


def way_to_persist(
    option: str, catalogue: Catalogue, *, aclfile: str = "", config_file: str = "", requirepass: str = ""
) -> str:
    """How a server is to keep its users over a restart: aclfile, config or none.

    Args:
        option: auto, or what it is to be.
        catalogue: of the server.
        aclfile: the server's own setting, empty without one.
        config_file: the path that the server was started with, empty without one.
        requirepass: the server's own setting. It is never part of an error.

    Raises:
        RuleError: the server cannot do that.
    """
    title = catalogue.title
    if option == "none":
        return "none"
    if option == "aclfile" and not aclfile:
        raise RuleError(f"{title} has no aclfile, so ACL SAVE would fail; use persist: config, or set aclfile there.")
    if option == "config" and aclfile:
        raise RuleError(
            f"{title} keeps its users in {aclfile}, so CONFIG REWRITE would not write them; use persist: aclfile."
        )
    if aclfile:
        return "aclfile"
    if config_file and catalogue.version < _FIRST_WITH_QUOTED_REQUIREPASS and re.search(r"[\s'\"]", requirepass):
        raise RuleError(
            f"{title} has a requirepass with blanks or quotes, which this version's CONFIG REWRITE writes without the"
            " quotes that it needs: the server would not start with that file again. Change that password, or keep the"
            " users in an aclfile."
        )
    if config_file:
        return "config"
    raise RuleError(
        f"{title} has neither an aclfile nor a configuration file, so its users would be gone after a restart; start it"
        " with one of them, or use persist: none when somebody else gives it its users."
    )


def described(users: Iterable[Mapping[str, Any]], version: str, common: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Users of a role as servers of this version take them.

    Args:
        users: each with C(name), C(passwords) and either C(component) or C(rules).
        version: of the server that reads the ACL file.
        common: the rules of users with neither. All channels go with them unless they name some themselves.

    Returns:
        For each C(name), C(password_hashes), C(component) or an empty text, C(rules) and C(line). Channels are left out
        for servers that do not know them in rules, where every user may use all of them.
    """
    numbers = version_tuple(version)
    found = []
    for user in users:
        component = user.get("component") or ""
        words = words_for(component or None, user.get("rules") or _with_channels(common), numbers)
        if numbers < FIRST_WITH_CHANNELS:
            words = tuple(word for word in words if not _is_channel(word))
        hashes = sorted({sha256(str(password)) for password in user["passwords"]})
        found.append(
            {
                "name": user["name"],
                "password_hashes": hashes,
                "component": component,
                "rules": list(words),
                "line": file_line(user["name"], hashes, words, numbers),
            }
        )
    return found


def are_listed(users: Iterable[Mapping[str, Any]], lines: Iterable[str]) -> bool:
    """Whether the lines of ACL LIST show these users, each switched on with just these passwords.

    Other users are passed over. Rules are not compared, because each version of the server writes them in its own way.

    Args:
        users: as L(described) returns them.
        lines: the reply, a line for each user.
    """
    there = {}
    for line in lines:
        words = line.split()
        if len(words) > 2 and words[0] == "user":
            there[words[1]] = (words[2], sorted(word[1:] for word in words if word.startswith("#")), "nopass" in words)
    return all(there.get(user["name"]) == ("on", sorted(user["password_hashes"]), False) for user in users)


def _is_channel(word: str) -> bool:
    return word.startswith("&") or word.lower() in ("allchannels", "resetchannels")


def _with_channels(words: Sequence[str]) -> list[str]:
    return [*words, *(["&*"] if not any(map(_is_channel, words)) else [])]


def components() -> list[str]:
    """Whose rights are known."""
    return sorted(RIGHTS)
