# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The digest of a node's view, computed by real servers in whole, broken and changing clusters."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import pytest
from conftest import RunModule, declared
from servers import VERSIONS, Server, Servers

from ansible_collections.apiops.tyk_redis.plugins.module_utils._cluster_digest import (
    DIGEST_COMMAND,
    digest_of,
    read_digest,
    rebuild,
)
from ansible_collections.apiops.tyk_redis.plugins.module_utils._cluster_view import MemberLine, parse_cluster_nodes
from ansible_collections.apiops.tyk_redis.plugins.module_utils._redis_client import RedisProblem

WITHOUT_EVAL_RO = ["redis-6.0", "redis-6.2"]
WITH_EVAL_RO = [version for version in VERSIONS if version not in WITHOUT_EVAL_RO]


@dataclass(frozen=True)
class Answer:
    """What a server says at one moment."""

    digest: str
    own_line: str
    text: str

    @property
    def own(self) -> MemberLine:
        return parse_cluster_nodes(self.own_line)[0]

    @property
    def lines(self) -> list[MemberLine]:
        return sorted(parse_cluster_nodes(self.text), key=lambda line: line.node_id)

    @property
    def seen(self) -> list[MemberLine]:
        """The lines without what a node says of itself only."""
        return [
            replace(line, flags=line.flags - {"myself"}, migrating=(), importing=()) if "myself" in line.flags else line
            for line in self.lines
        ]


def ask(server: Server) -> Answer:
    """Digest and text of the same moment: the server is asked again as long as its view changes in between."""
    with server.connection() as connection:
        for _attempt in range(100):
            first, text, second = connection.pipeline([DIGEST_COMMAND, ("CLUSTER", "NODES"), DIGEST_COMMAND])
            digest, own_line = read_digest(first)
            if digest == read_digest(second)[0] and own_line in text:
                return Answer(digest, own_line, text)
    raise AssertionError(f"{server.address} does not say the same twice")


def judged(cluster: Sequence[Server]) -> int:
    """Compare every answer with every other one. Returns how many digests there are."""
    answers = [ask(server) for server in cluster]
    for answer in answers:
        assert answer.digest == digest_of(answer.text)
        for other in answers:
            assert (answer.digest == other.digest) == (answer.seen == other.seen)
            if answer.digest == other.digest:
                rebuilt = parse_cluster_nodes(rebuild(other.text, answer.own_line))
                assert sorted(rebuilt, key=lambda line: line.node_id) == answer.lines
    return len({answer.digest for answer in answers})


def judged_until(cluster: Sequence[Server], condition: Callable[[int], bool]) -> None:
    """Judge all the time until the number of digests is as wanted."""
    deadline = time.monotonic() + 30
    while not condition(judged(cluster)):
        assert time.monotonic() < deadline, "It did not come true in time"
        time.sleep(0.05)


def form(servers: Servers, run_module: RunModule, version: str, **options: int) -> list[Server]:
    cluster = [servers.start_server(version, extra=["cluster-node-timeout 2000"]) for _number in range(6)]
    run_module("redis_cluster", nodes=declared(cluster), timeout=30)
    return cluster


def flags_seen(cluster: Sequence[Server]) -> set[str]:
    return {flag for server in cluster for line in ask(server).lines for flag in line.flags}


@pytest.mark.parametrize("version", WITH_EVAL_RO)
def test_the_digest_is_as_good_as_the_text_in_every_state(
    servers: Servers, run_module: RunModule, version: str
) -> None:
    cluster = form(servers, run_module, version)
    judged_until(cluster, lambda digests: digests == 1)

    # Open slots are in the node's own line only.
    source, target = [server for server in cluster if ask(server).own.role == "primary"][:2]
    slot = ask(source).own.slots[0][0]
    target.call("CLUSTER", "SETSLOT", slot, "IMPORTING", ask(source).own.node_id)
    source.call("CLUSTER", "SETSLOT", slot, "MIGRATING", ask(target).own.node_id)
    judged_until(cluster, lambda digests: digests == 1)
    assert ask(source).own.migrating == ((slot, ask(target).own.node_id),)
    assert ask(target).own.importing == ((slot, ask(source).own.node_id),)

    # A handshake has an id that only its viewer knows, so none of two viewers is like another node.
    closed = servers.free_port()
    for server in cluster[:2]:
        server.call("CLUSTER", "MEET", "127.0.0.1", closed)
    assert "handshake" in flags_seen(cluster)
    assert judged(cluster) == 3
    judged_until(cluster, lambda digests: digests == 1)

    # A link that is down, a suspicion and a failure are noticed by one node after the other.
    cluster[-1].kill()
    alive = cluster[:-1]
    judged_until(alive, lambda digests: digests > 1)
    judged_until(alive, lambda digests: digests == 1 and "fail" in flags_seen(alive))


@pytest.mark.parametrize("version", WITH_EVAL_RO)
def test_the_digest_is_as_good_as_the_text_while_nodes_get_to_know_each_other(servers: Servers, version: str) -> None:
    cluster = [servers.start_server(version, extra=["cluster-node-timeout 2000"]) for _number in range(4)]
    assert judged(cluster) == 4
    for server in cluster[1:]:
        cluster[0].call("CLUSTER", "MEET", server.address.host, server.address.port)
    judged_until(cluster, lambda digests: digests == 1 and all(len(ask(server).lines) == 4 for server in cluster))


@pytest.mark.parametrize("version", WITH_EVAL_RO)
def test_the_digest_is_told_while_writes_are_paused(servers: Servers, version: str) -> None:
    server = servers.start_server(version)
    server.call("CLIENT", "PAUSE", 60000, "WRITE")
    assert judged([server]) == 1


@pytest.mark.parametrize("version", WITHOUT_EVAL_RO)
def test_a_server_without_read_only_scripts_says_so(servers: Servers, version: str) -> None:
    with pytest.raises(RedisProblem, match="answered EVAL_RO with an error: unknown command") as refusal:
        servers.start_server(version).call(*DIGEST_COMMAND)
    assert refusal.value.kind == "error"


def test_a_user_who_may_not_run_scripts_is_told_so(servers: Servers) -> None:
    server = servers.start_server(acl=["user default on nopass ~* +@all -@scripting"])
    with pytest.raises(RedisProblem, match="may not run EVAL_RO on") as refusal:
        server.call(*DIGEST_COMMAND)
    assert refusal.value.kind == "acl"
