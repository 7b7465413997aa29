# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the digest of a node's view: what it covers, and that a view is rebuilt from another one with the same."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.apiops.tyk_redis.plugins.module_utils._cluster_digest import (
    DigestError,
    digest_of,
    read_digest,
    rebuild,
)
from ansible_collections.apiops.tyk_redis.plugins.module_utils._cluster_view import parse_cluster_nodes

IDS = [digit * 40 for digit in "123456"]


@dataclass(frozen=True)
class Line:
    """A line of CLUSTER NODES by its fields; the times are those of ping and pong."""

    node_id: str
    endpoint: str
    flags: str
    primary: str = "-"
    epoch: int = 1
    link: str = "connected"
    slots: str = ""
    marks: str = ""

    def text(self, myself: bool, time: int) -> str:
        flags = f"myself,{self.flags}" if myself else self.flags
        words = [self.node_id, self.endpoint, flags, self.primary, time, time + 1, self.epoch, self.link, self.slots]
        return " ".join(str(word) for word in [*words, self.marks if myself else ""] if word != "")


MEMBERS = (
    Line(IDS[0], "192.0.2.1:6379@16379", "master", epoch=1, slots="0-5460 9000", marks="[5460->-" + IDS[1] + "]"),
    Line(IDS[1], "192.0.2.2:6379@16379,redis-2", "master", epoch=2, slots="5461-8999", marks="[5460-<-" + IDS[0] + "]"),
    Line(IDS[2], "[2001:db8::3]:6379@16379", "master,nofailover", epoch=3, slots="9001-16383"),
    Line(IDS[3], "192.0.2.4:6379@7000", "slave", IDS[0], epoch=1),
)


def nodes_text(viewer: str, members: tuple[Line, ...] = MEMBERS, time: int = 0) -> str:
    return "".join(f"{member.text(member.node_id == viewer, time)}\n" for member in members)


def own_line(viewer: str, members: tuple[Line, ...] = MEMBERS) -> str:
    return next(line for line in nodes_text(viewer, members).splitlines() if line.startswith(viewer))


def test_the_digest_is_the_same_for_every_viewer_at_every_time_in_every_order() -> None:
    digests = {digest_of(nodes_text(viewer, time=time)) for viewer in IDS[:4] for time in (0, 1732412345678)}
    digests.add(digest_of(nodes_text(IDS[1], MEMBERS[::-1])))
    digests.add(digest_of(nodes_text("nobody")))
    assert len(digests) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"node_id": IDS[5]},
        {"endpoint": "192.0.2.9:6379@16379"},
        {"endpoint": "192.0.2.1:6380@16379"},
        {"endpoint": "192.0.2.1:6379@16380"},
        {"endpoint": ":6379@16379"},
        {"flags": "slave"},
        {"flags": "master,fail?"},
        {"flags": "master,fail"},
        {"flags": "handshake"},
        {"primary": IDS[1]},
        {"epoch": 7},
        {"link": "disconnected"},
        {"slots": "0-5460"},
        {"slots": ""},
    ],
)
def test_whatever_is_read_changes_the_digest(change: dict[str, object]) -> None:
    changed = (replace(MEMBERS[0], **change), *MEMBERS[1:])  # type: ignore[arg-type]
    assert digest_of(nodes_text(IDS[1], changed)) != digest_of(nodes_text(IDS[1]))


def test_a_member_more_or_less_changes_the_digest() -> None:
    assert digest_of(nodes_text(IDS[0], MEMBERS[:3])) != digest_of(nodes_text(IDS[0]))


def test_what_only_the_node_itself_says_and_what_nobody_reads_leave_the_digest() -> None:
    members = (replace(MEMBERS[0], marks=""), replace(MEMBERS[1], endpoint="192.0.2.2:6379@16379,other"), *MEMBERS[2:])
    assert digest_of(nodes_text(IDS[0], members)) == digest_of(nodes_text(IDS[0]))


@pytest.mark.parametrize("viewer", IDS[:4])
@pytest.mark.parametrize("representative", IDS[:4])
def test_a_view_is_rebuilt_from_another_one(representative: str, viewer: str) -> None:
    rebuilt = rebuild(nodes_text(representative, time=5), own_line(viewer))
    assert parse_cluster_nodes(rebuilt) == parse_cluster_nodes(nodes_text(viewer))


@st.composite
def views(draw: st.DrawFn) -> tuple[Line, ...]:
    """What a viewer may see of four members, valid or not."""
    ids = draw(st.permutations(IDS).map(lambda ids: ids[:4]))
    return tuple(
        Line(
            node_id=node_id,
            endpoint=draw(st.sampled_from(["192.0.2.1:6379@16379", ":0@0", "192.0.2.2:1@2,name", "192.0.2.2:1@2"])),
            flags=draw(st.sampled_from(["master", "slave", "master,fail", "slave,fail?", "handshake", "noaddr"])),
            primary=draw(st.sampled_from(["-", IDS[0], IDS[1]])),
            epoch=draw(st.integers(0, 2)),
            link=draw(st.sampled_from(["connected", "disconnected"])),
            slots=draw(st.sampled_from(["", "0", "0-1", "0 2-3"])),
            marks=draw(st.sampled_from(["", f"[1->-{IDS[0]}]", f"[1-<-{IDS[1]}] [2-<-{IDS[1]}]"])),
        )
        for node_id in ids
    )


@given(views(), views(), st.integers(0, 3), st.integers(0, 3))
def test_equal_digests_always_mean_equal_views(
    seen: tuple[Line, ...], also_seen: tuple[Line, ...], first: int, second: int
) -> None:
    representative, viewer = seen[first].node_id, also_seen[second].node_id
    text, other = nodes_text(representative, seen), nodes_text(viewer, also_seen)
    if digest_of(text) == digest_of(other):
        rebuilt = rebuild(text, own_line(viewer, also_seen))
        assert set(parse_cluster_nodes(rebuilt)) == set(parse_cluster_nodes(other))


@given(views(), st.integers(0, 3), st.integers(0, 3), st.booleans())
def test_one_difference_between_two_viewers_is_seen_or_harmless(
    seen: tuple[Line, ...], first: int, second: int, cut_off: bool
) -> None:
    """The second viewer sees the same members; perhaps its link to the first viewer is down."""
    also_seen = tuple(
        replace(line, link="disconnected", marks="") if cut_off and index == first else line
        for index, line in enumerate(seen)
    )
    text = nodes_text(seen[first].node_id, seen)
    other = nodes_text(seen[second].node_id, also_seen)
    same = digest_of(text) == digest_of(other)
    assert same == (not cut_off or seen[first].link == "disconnected")
    if same:
        rebuilt = rebuild(text, own_line(seen[second].node_id, also_seen))
        assert parse_cluster_nodes(rebuilt) == parse_cluster_nodes(other)


def test_the_reply_is_read() -> None:
    digest = digest_of(nodes_text(IDS[0]))
    assert read_digest([digest, own_line(IDS[0])]) == (digest, own_line(IDS[0]))


@pytest.mark.parametrize(
    "reply",
    [
        None,
        "OK",
        [],
        ["a" * 40],
        ["a" * 39, own_line(IDS[0])],
        ["a" * 40, None],
        ["a" * 40, ""],
        ["a" * 40, nodes_text(IDS[1]).splitlines()[0]],
        ["a" * 40, own_line(IDS[0]), "more"],
    ],
)
def test_another_reply_is_refused(reply: object) -> None:
    with pytest.raises(DigestError, match="is not a digest and a node's own line"):
        read_digest(reply)


def test_a_text_that_is_not_cluster_nodes_has_no_digest() -> None:
    with pytest.raises(DigestError, match="'OK' is not a line of CLUSTER NODES"):
        digest_of("OK\n")


def test_a_node_is_not_rebuilt_from_a_text_that_does_not_know_it() -> None:
    with pytest.raises(DigestError, match=f"The node {IDS[3]} does not occur"):
        rebuild(nodes_text(IDS[0], MEMBERS[:3]), own_line(IDS[3]))
