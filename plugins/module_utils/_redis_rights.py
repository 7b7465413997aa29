# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection and may change at any time.

"""How to find out what a Redis user may do without doing it, and how to speak about the answers. No I/O happens here.

A server looks at a user's rights when a command arrives, and inside MULTI it then only queues the command. So after
MULTI each command is answered with QUEUED, or with another error than NOPERM, when the user may run it, and DISCARD
throws all of them away. What must not be allowed is asked with operands that would do nothing even at once. Seen on
Redis 6.0, 6.2, 7.0, 8.0, 8.2 and Valkey 8.1, 9.1:

* The rights are looked at before anything that depends on the key, so that MOVED and READONLY prove the right.
* Before the rights come: unknown commands, the number of operands, DEBUG where enable-debug-command does not allow it
  (Redis 7.0 and later), and commands that a transaction never takes (SHUTDOWN from 7.0 on).
* The right to the command is looked at before the rights to its keys and channels.
"""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from ansible_collections.apiops.tyk_redis.plugins.module_utils._probe_report import join
from ansible_collections.apiops.tyk_redis.plugins.module_utils._tyk_acl import Rights

Words = tuple[t.Union[str, int], ...]

# How a server answers to a question.
ALLOWED = "allowed"
NO_COMMAND = "command refused"
NO_KEY = "key refused"
NO_CHANNEL = "channel refused"
UNKNOWN = "not known there"
UNCLEAR = "unclear"

FOREIGN_KEYS = "~*"
# Only a client of a Redis Cluster sends these. READONLY is not among what has to be allowed: the proof can do without.
_IN_CLUSTERS = frozenset({"cluster|slots", "command"})
_ONLY_FOR_THE_PROOF = frozenset({"readonly"})
_BEFORE_MULTI = frozenset({"exec", "discard"})
# Each is a command that some user of Tyk might have and none may have: it loses data, stops a server, blocks it, or
# shows or changes what is not Tyk's. The operands make it harmless, should it run all the same: none of the options,
# subcommands, numbers and parameters exists. KEYS is given a name in place of a pattern.
_FORBIDDEN: t.Mapping[str, Words] = {
    "flushall": ("FLUSHALL", "nosuchoption"),
    "flushdb": ("FLUSHDB", "nosuchoption"),
    "keys": ("KEYS", "tyk-redis-check-{0}"),
    "config|get": ("CONFIG", "GET", "tyk-redis-check"),
    "acl|list": ("ACL", "LIST"),
    "debug": ("DEBUG", "nosuchsubcommand"),
    "shutdown": ("SHUTDOWN", "nosuchoption"),
    "cluster|reset": ("CLUSTER", "RESET", "nosuchoption"),
    "module|list": ("MODULE", "LIST"),
    "swapdb": ("SWAPDB", "nosuchnumber", "nosuchnumber"),
    "replicaof": ("REPLICAOF", "nosuchhost", "nosuchport"),
}


@dataclass(frozen=True)
class Question:
    """A command to send, and what its answer is about, as an ACL rule has it.

    C(word) is the command, or the pattern of a key that it touches; C(channel) is the pattern of its channel, if any.
    """

    word: str
    words: Words
    channel: str = ""


def _samples(key: str, database: int) -> dict[str, Words]:
    """Operands for each command of the table _tyk_acl, that a server takes into a transaction."""
    return {
        "ping": ("PING",),
        "cluster|slots": ("CLUSTER", "SLOTS"),
        "command": ("COMMAND",),
        "select": ("SELECT", database),
        "get": ("GET", key),
        "set": ("SET", key, "", "EX", 1, "XX"),
        "setnx": ("SETNX", key, ""),
        "mget": ("MGET", key),
        "exists": ("EXISTS", key),
        "expire": ("EXPIRE", key, 1),
        "pexpire": ("PEXPIRE", key, 1),
        "ttl": ("TTL", key),
        "pttl": ("PTTL", key),
        "incr": ("INCR", key),
        "decr": ("DECR", key),
        "scan": ("SCAN", 0, "MATCH", key, "COUNT", 1),
        "rpush": ("RPUSH", key, ""),
        "lpush": ("LPUSH", key, ""),
        "lrange": ("LRANGE", key, 0, 0),
        "ltrim": ("LTRIM", key, 0, -1),
        "lrem": ("LREM", key, 0, ""),
        "llen": ("LLEN", key),
        "sadd": ("SADD", key, ""),
        "srem": ("SREM", key, ""),
        "smembers": ("SMEMBERS", key),
        "sismember": ("SISMEMBER", key, ""),
        "zadd": ("ZADD", key, 0, ""),
        "zrange": ("ZRANGE", key, 0, 0),
        "zcard": ("ZCARD", key),
        "zrangebyscore": ("ZRANGEBYSCORE", key, 0, 0),
        "zremrangebyscore": ("ZREMRANGEBYSCORE", key, 0, 0),
        "hset": ("HSET", key, "", ""),
        "hgetall": ("HGETALL", key),
        "eval": ("EVAL", "return 1", 1, key),
        "evalsha": ("EVALSHA", "0" * 40, 1, key),
        "client|getname": ("CLIENT", "GETNAME"),
        "client|setname": ("CLIENT", "SETNAME", "tyk-redis-check"),
        "info": ("INFO", "server"),
        # The last, so that nothing stays should a proxy run everything at once.
        "del": ("DEL", key),
    }


def needed_commands(rights: Rights, *, cluster: bool, database: int) -> tuple[str, ...]:
    """The commands that the component has to be allowed; of a component with broad rights those that are named.

    Args:
        rights: of the component.
        cluster: whether it uses a Redis Cluster; what only clients of one send is left out otherwise.
        database: its number; SELECT is not sent for 0.
    """
    named = rights.commands or tuple(word[1:] for word in rights.broad if word[0] == "+" and word[1] != "@")
    left_out = (
        _ONLY_FOR_THE_PROOF | (frozenset() if cluster else _IN_CLUSTERS) | ({"select"} if not database else set())
    )
    return tuple(name for name in named if name not in left_out)


def reads_values(rights: Rights) -> bool:
    """Whether the component may GET what it has SET."""
    return bool(rights.broad) or "get" in rights.commands


def covers(patterns: t.Iterable[str], name: str) -> bool:
    """Whether one of the table's patterns is about this key or channel; the table has no other sign than the star."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def questions_before_multi(commands: t.Collection[str]) -> list[Question]:
    """What ends a transaction, asked while there is none, so that it is answered with an error or NOPERM."""
    return [Question(name, (name.upper(),)) for name in commands if name in _BEFORE_MULTI]


def questions_inside_multi(
    rights: Rights, commands: t.Collection[str], key: str, stray_key: str, database: int
) -> list[Question]:
    """What has to be allowed: each command on the key, and a read and a write for each pattern of keys.

    C(stray_key) is a name that only a pattern of all keys covers.
    """
    samples = _samples(key, database)
    asked = [Question(name, samples[name]) for name in samples if name in commands]
    if "publish" in commands:
        asked += [Question("publish", ("PUBLISH", _channel(item), ""), f"&{item}") for item in rights.channels]
    for pattern in rights.keys:
        name = pattern.replace("*", "") or stray_key
        asked += [Question(f"~{pattern}", ("LRANGE", name, 0, 0)), Question(f"~{pattern}", ("LTRIM", name, 0, -1))]
    return asked


def questions_about_channels(rights: Rights, commands: t.Collection[str]) -> list[list[Question]]:
    """What has to be allowed outside of MULTI, for each channel on a connection of its own.

    The subscription comes last, because what is published from then on mixes with the answers.
    """
    if not rights.broad and not set(commands) >= {"subscribe", "unsubscribe"}:
        return []
    return [
        [
            Question("unsubscribe", ("UNSUBSCRIBE", _channel(pattern))),
            Question("subscribe", ("SUBSCRIBE", _channel(pattern)), f"&{pattern}"),
        ]
        for pattern in rights.channels
    ]


def _channel(pattern: str) -> str:
    """The name of a channel that the pattern covers."""
    return pattern.replace("*", "") or "tyk-redis-check"


def forbidden_questions(rights: Rights, stray_key: str) -> list[Question]:
    """What must not be allowed, with operands that do nothing.

    Args:
        rights: of the component.
        stray_key: a key that nobody has. It must not be allowed unless it is one of the component's keys.
    """
    asked = [Question(word, words) for word, words in _FORBIDDEN.items() if word not in rights.commands]
    if not covers(rights.keys, stray_key):
        asked += [Question(FOREIGN_KEYS, ("LRANGE", stray_key, 0, 0)), Question(FOREIGN_KEYS, ("DEL", stray_key))]
    return asked


def judge(error: str) -> str:
    """What an answer says about the rights.

    Args:
        error: the text of the error reply; empty for any other reply.
    """
    if not error:
        return ALLOWED
    if error.startswith("NOPERM") or "no permissions to" in error:
        if "permissions to run" in error:
            return NO_COMMAND
        return NO_CHANNEL if "channel" in error else NO_KEY
    # "Command not allowed inside a transaction", with the command's name in Valkey 9.
    if re.search(r"not allowed (inside|in) (a )?transaction", error):
        return UNCLEAR
    # Renamed or taken away, as managed services do, or switched off as DEBUG is by enable-debug-command.
    if re.search(
        r"unknown (sentinel )?(sub)?command|command not allowed|not (available|supported)", error, re.IGNORECASE
    ):
        return UNKNOWN
    return ALLOWED


@dataclass
class NodeRights:
    """What one node has answered: to each word what is told by all its questions."""

    address: str
    needed: dict[str, str] = field(default_factory=dict)
    forbidden: dict[str, str] = field(default_factory=dict)
    # Why nothing could be proved, as the server says it.
    no_transaction: str = ""

    def take(self, question: Question, error: str) -> None:
        """Note the answer about what has to be allowed."""
        answer = judge(error)
        if question.word.startswith("~"):
            # Where the command itself is refused, its keys have not been looked at.
            self._lower(question.word, answer if answer in (ALLOWED, NO_KEY) else UNCLEAR)
            return
        if question.channel and answer in (ALLOWED, NO_CHANNEL):
            self._lower(question.channel, answer)
        # Which keys and channels are refused is told by the questions about them.
        self._lower(question.word, ALLOWED if answer in (NO_KEY, NO_CHANNEL) else answer)

    def take_forbidden(self, question: Question, error: str) -> None:
        """Note the answer about what must not be allowed; one way to do it is enough to have it."""
        answer = judge(error)
        if question.word == FOREIGN_KEYS and answer == NO_COMMAND:
            answer = NO_KEY
        if self.forbidden.get(question.word) != ALLOWED:
            self.forbidden[question.word] = answer

    def give_up(self, reason: str, needed: t.Iterable[Question], forbidden: t.Iterable[Question]) -> None:
        """Note that the server takes no transaction, so that these could not be asked."""
        self.no_transaction = reason
        for question in needed:
            self._lower(question.word, UNCLEAR)
        for question in forbidden:
            self.forbidden[question.word] = UNCLEAR

    def _lower(self, word: str, answer: str) -> None:
        """Keep the worst of several answers about one word."""
        worst_first = (NO_COMMAND, NO_KEY, NO_CHANNEL, UNKNOWN, ALLOWED, UNCLEAR)
        before = self.needed.get(word, UNCLEAR)
        self.needed[word] = min(before, answer, key=worst_first.index)

    @property
    def excess(self) -> list[str]:
        return [word for word, answer in self.forbidden.items() if answer == ALLOWED]


def summary(nodes: t.Sequence[NodeRights]) -> dict[str, list[str]]:
    """The value of ProbeResult.rights."""
    needed: dict[str, set[str]] = {}
    forbidden: dict[str, set[str]] = {}
    for node in nodes:
        for word, answer in node.needed.items():
            needed.setdefault(word, set()).add(answer)
        for word, answer in node.forbidden.items():
            forbidden.setdefault(word, set()).add(answer)
    refusals = {NO_COMMAND, NO_KEY, NO_CHANNEL, UNKNOWN}
    missing = {word for word, answers in needed.items() if answers & refusals}
    excess = {word for word, answers in forbidden.items() if ALLOWED in answers}
    unclear = {word for found in (needed, forbidden) for word, answers in found.items() if UNCLEAR in answers}
    unproved = unclear - missing - excess
    return {
        "allowed": sorted(needed.keys() - missing - unproved),
        "missing": sorted(missing),
        "refused": sorted(forbidden.keys() - excess - unproved),
        "excess": sorted(excess),
        "unproved": sorted(unproved),
    }


@dataclass(frozen=True)
class Speaker:
    """Whose rights the sentences are about."""

    user: str
    title: str
    # Where the component takes the user from; empty when it says nothing about a user.
    origin: str
    rights: Rights

    def missing(self, nodes: t.Sequence[NodeRights]) -> list[str]:
        """One sentence for all nodes on which the same commands, keys or channels lack."""
        source = f" ({self.title} takes the user from {self.origin})" if self.origin else ""
        remedy = "extend its ACL rules there, for example with the module redis_acl_user."
        sentences = []
        lacking = [
            *(f"run {join(map(_shown, words))} on {where}" for words, where in _grouped(nodes, _lacks(NO_COMMAND))),
            *(f"use the keys {join(words)} on {where}" for words, where in _grouped(nodes, _lacks(NO_KEY))),
            *(f"use the channels {join(words)} on {where}" for words, where in _grouped(nodes, _lacks(NO_CHANNEL))),
        ]
        for what in lacking:
            sentences.append(f"The user {self.user!r} may not {what}, which {self.title} needs{source}; {remedy}")
        for words, where in _grouped(nodes, _lacks(UNKNOWN)):
            sentences.append(
                f"The commands {join(map(_shown, words))} do not exist or are switched off on {where}, but "
                f"{self.title} needs them; use a Redis that has them."
            )
        return sentences

    def excess(self, nodes: t.Sequence[NodeRights]) -> list[str]:
        """The same for what is allowed and should not be, and for nodes that let nothing be proved."""
        sentences = []
        for words, where in _grouped(nodes, lambda node: [word for word in node.excess if word != FOREIGN_KEYS]):
            sentences.append(
                f"The user {self.user!r} may run {join(map(_shown, words))} on {where}, which {self.title} has no need "
                "of; give it only the rights that it needs, for example with the module redis_acl_user."
            )
        for _words, where in _grouped(nodes, lambda node: [word for word in node.excess if word == FOREIGN_KEYS]):
            own = join(f"~{pattern}" for pattern in self.rights.keys)
            sentences.append(
                f"The user {self.user!r} may use keys on {where} that are not those of {self.title}; limit it to "
                f"{own}, for example with the module redis_acl_user."
            )
        for words, where in _grouped(nodes, lambda node: [node.no_transaction] if node.no_transaction else []):
            sentences.append(
                f"What the user {self.user!r} may do on {where} could not be proved, because MULTI was refused there "
                f"({join(words)}); allow it MULTI and DISCARD, or compare its ACL rules yourself."
            )
        return sentences


def _lacks(kind: str) -> t.Callable[[NodeRights], list[str]]:
    return lambda node: [word for word, answer in node.needed.items() if answer == kind]


def _grouped(
    nodes: t.Sequence[NodeRights], words_of: t.Callable[[NodeRights], t.Sequence[str]]
) -> list[tuple[tuple[str, ...], str]]:
    groups: dict[tuple[str, ...], list[str]] = {}
    for node in sorted(nodes, key=lambda node: node.address):
        words = tuple(words_of(node))
        if words:
            groups.setdefault(words, []).append(node.address)
    return [(words, join(addresses)) for words, addresses in groups.items()]


def _shown(word: str) -> str:
    return word.replace("|", " ").upper()
