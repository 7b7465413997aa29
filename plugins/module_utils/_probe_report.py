# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection and may change at any time.

"""What a probe has found, and the sentences about it. No I/O happens here."""

from __future__ import annotations

import hashlib
import typing as t
from dataclasses import dataclass, field

from ansible_collections.apiops.tyk_redis.plugins.module_utils._redis_client import RedisProblem

# Those that come from one cause and are the same on many nodes, so that one sentence names all of them.
_SHARED_KINDS = frozenset({"password", "acl", "no-sentinel", "unknown-primary"})


def join(words: t.Iterable[str]) -> str:
    """A, B and C."""
    listed = list(words)
    return listed[0] if len(listed) == 1 else f"{', '.join(listed[:-1])} and {listed[-1]}"


def no_rights() -> dict[str, list[str]]:
    """What is known of a user's rights before any node was asked; ProbeResult says what the keys mean."""
    return {"allowed": [], "missing": [], "refused": [], "excess": [], "unproved": []}


@dataclass
class ProbeResult:
    """What one probe has found.

    Attributes:
        problems: what is wrong, a sentence each.
        remarks: what is worth knowing but stops nothing, a sentence each.
        seeds: for each address that the component starts with, its ``address``, whether it ``answered`` (bool), and the
            ``error`` if not (str). With Sentinel these are the Sentinels.
        reached: every data node that was reached, primaries first.
        node_ids: of all data nodes that were announced: the IDs in a cluster, else the run IDs, or the addresses where
            those cannot be known.
        rights: what the user may do, in sorted lists of words as an ACL rule has them: a command (``set``), one with
            its subcommand (``cluster|slots``), the pattern of a key (``~version-check-pump``) or of a channel
            (``&tyk.cluster.notifications``). ``allowed`` is needed, and allowed on every node that was reached;
            ``missing`` is needed, and refused on one at least. ``refused`` must not be allowed, and is refused on
            every node; ``excess`` is allowed on one at least, where ``~*`` stands for the keys of others.
            ``unproved`` could not be told of one at least, as with SHUTDOWN since Redis 7.0, which a transaction never
            takes.
    """

    problems: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    seeds: list[dict[str, t.Any]] = field(default_factory=list)
    reached: list[dict[str, t.Any]] = field(default_factory=list)
    node_ids: list[str] = field(default_factory=list)
    rights: dict[str, list[str]] = field(default_factory=no_rights)

    @property
    def cluster_id(self) -> str:
        """The same for all who see the same nodes, whatever their roles and slots are; empty when none was seen."""
        if not self.node_ids:
            return ""
        return hashlib.sha256(" ".join(sorted(self.node_ids)).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Failure:
    """A problem, about whom it is, where the value comes from that is to blame, and what follows from it.

    C(word) is what the user lacks when the problem is one of rights, as in ProbeResult.rights; else it is empty.
    """

    problem: RedisProblem
    subject: str
    context: str
    consequence: str = ""
    word: str = ""

    @property
    def is_shared(self) -> bool:
        return self.problem.kind in _SHARED_KINDS or self.problem.detail.startswith("CLUSTERDOWN")

    @property
    def sentence(self) -> str:
        remark = f"{self.subject}; {self.context}" if self.context else self.subject
        return f"{str(self.problem).rstrip('.')} ({remark}){self.consequence}."


def sentences_of(failures: t.Iterable[Failure]) -> list[str]:
    """One sentence for each failure, and one for all that share a cause."""
    sentences: list[str] = []
    shared: dict[tuple[str, str, str], list[Failure]] = {}
    # Threads report in any order; two runs shall say the same in the same order.
    for failure in sorted(failures, key=lambda failure: failure.problem.address):
        if failure.is_shared:
            template = str(failure.problem).replace(failure.problem.address, "\0").rstrip(".")
            shared.setdefault((template, failure.context, failure.consequence), []).append(failure)
        elif failure.sentence not in sentences:
            sentences.append(failure.sentence)
    for alike in shared.values():
        first, *others = dict.fromkeys(failure.problem.address for failure in alike)
        failure = next(failure for failure in alike if failure.problem.address == first)
        sentence = str(failure.problem).rstrip(".") + (f" ({failure.context})" if failure.context else "")
        also = f"; the same holds for {join(others)}" if others else ""
        sentences.append(f"{sentence}{failure.consequence}{also}.")
    return sentences
