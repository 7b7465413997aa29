# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection and may change at any time.

"""What Sentinels say about one primary and its replicas, and whether they agree. No I/O happens here."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ansible_collections.apiops.tyk_redis.plugins.module_utils._probe_report import join
from ansible_collections.apiops.tyk_redis.plugins.module_utils._redis_client import Address

_DOWN_FLAGS = frozenset({"s_down", "o_down", "disconnected"})


@dataclass(frozen=True)
class Instance:
    """A server as one Sentinel sees it."""

    address: Address
    # Empty as long as the Sentinel has got no answer from it.
    run_id: str
    flags: frozenset[str]
    # As the replica says: "ok" or "err"; empty for what is no replica.
    link: str = ""

    @property
    def down(self) -> str:
        """Why the Sentinel takes it for down; empty when it does not."""
        return ", ".join(sorted(self.flags & _DOWN_FLAGS))


@dataclass(frozen=True)
class Answer:
    """What one Sentinel says about the primary of one name."""

    # Where clients are sent to; None when it does not know the name.
    primary: Address | None
    # What it knows about this server.
    state: Instance | None = None
    replicas: tuple[Instance, ...] = ()
    others: tuple[Instance, ...] = ()
    # The names that it does know, when it does not know the one that was asked for.
    known_names: tuple[str, ...] = ()


def parse_address(reply: t.Any) -> Address | None:
    """Read the reply of SENTINEL GET-MASTER-ADDR-BY-NAME, which is null for a name that is not known."""
    if not reply:
        return None
    host, port = reply
    return Address(str(host), int(port))


def parse_instance(reply: t.Sequence[t.Any]) -> Instance:
    """Read one entry of SENTINEL MASTERS, REPLICAS or SENTINELS: names and values in turn."""
    fields = dict(zip(map(str, reply[::2]), map(str, reply[1::2])))
    return Instance(
        address=Address(fields["ip"], int(fields["port"])),
        run_id=fields.get("runid", ""),
        flags=frozenset(fields.get("flags", "").split(",")) - {""},
        link=fields.get("master-link-status", ""),
    )


def parse_name(reply: t.Sequence[t.Any]) -> str:
    """The name of one entry of SENTINEL MASTERS."""
    return str(dict(zip(reply[::2], reply[1::2]))["name"])


def choose(answers: t.Sequence[tuple[Address, Answer]]) -> tuple[Address, Answer] | None:
    """The answer to follow, and who gave it: the first that says what most say. None when nobody knows the name."""
    telling = [(sentinel, answer) for sentinel, answer in answers if answer.primary is not None]
    if not telling:
        return None
    said = [answer.primary for _sentinel, answer in telling]
    return max(telling, key=lambda pair: said.count(pair[1].primary))


def disagreement(name: str, title: str, answers: t.Sequence[tuple[Address, Answer]]) -> str | None:
    """A sentence when the Sentinels send clients to different primaries."""
    groups: dict[str, list[str]] = {}
    for sentinel, answer in answers:
        if answer.primary is not None:
            groups.setdefault(str(answer.primary), []).append(str(sentinel))
    if len(groups) < 2:
        return None
    told = "; ".join(f"{primary} by {join(sentinels)}" for primary, sentinels in groups.items())
    return (
        f"The Sentinels name different primaries for {name!r}: {told}. {title} goes to the one that it hears of first; "
        "let a failover end and check again, or make all of them monitor the same primary."
    )


def strangers(seeds: t.Collection[Address], answers: t.Sequence[tuple[Address, Answer]]) -> list[Address]:
    """The Sentinels that others name and that are no seeds."""
    named = {other.address for _sentinel, answer in answers for other in answer.others}
    return sorted(named - set(seeds))


def known_count(answers: t.Sequence[tuple[Address, Answer]]) -> int:
    """How many Sentinels there are, by the one that knows of most."""
    return max((len(answer.others) + 1 for _sentinel, answer in answers), default=0)


def no_majority(name: str, known: int, reached: int, silent: t.Iterable[Address]) -> str | None:
    """A sentence when fewer Sentinels answer than a failover needs."""
    majority = known // 2 + 1
    if reached >= majority:
        return None
    unheard = sorted(map(str, silent))
    return (
        f"Only {reached} of the {known} Sentinels of {name!r} can be reached from here, but a failover needs {majority}"
        f"{f' (no answer from {join(unheard)})' if unheard else ''}; start the others, and open the way to them."
    )
