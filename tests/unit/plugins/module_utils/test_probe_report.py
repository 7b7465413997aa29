# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a probe has found becomes sentences, the same in every run."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.apiops.tyk_redis.plugins.module_utils._probe_report import (
    Failure,
    ProbeResult,
    join,
    sentences_of,
)
from ansible_collections.apiops.tyk_redis.plugins.module_utils._redis_client import RedisProblem


def failure(number: int, kind: str = "refused", context: str = "from the file", detail: str = "") -> Failure:
    address = f"192.0.2.{number}:6379"
    return Failure(RedisProblem(kind, address, f"{address} failed; do this.", detail), f"node {number}", context)


def test_each_failure_has_its_own_sentence() -> None:
    assert sentences_of([failure(2), failure(1), failure(2)]) == [
        "192.0.2.1:6379 failed; do this (node 1; from the file).",
        "192.0.2.2:6379 failed; do this (node 2; from the file).",
    ]


def test_one_cause_is_told_once() -> None:
    assert sentences_of([failure(3, "password"), failure(1, "password"), failure(2, "password")]) == [
        "192.0.2.1:6379 failed; do this (from the file); the same holds for 192.0.2.2:6379 and 192.0.2.3:6379."
    ]
    assert len(sentences_of([failure(1, "password"), failure(2, "password", context="elsewhere")])) == 2
    assert len(sentences_of([failure(1, detail="CLUSTERDOWN"), failure(2, detail="CLUSTERDOWN")])) == 1


@given(st.permutations([failure(number, kind) for number in range(4) for kind in ("acl", "refused", "timeout")]))
def test_order_of_arrival_does_not_matter(failures: list[Failure]) -> None:
    assert set(sentences_of(failures)) == set(
        sentences_of([failure(number, kind) for number in range(4) for kind in ("acl", "refused", "timeout")])
    )


def test_cluster_id_depends_on_the_nodes_alone() -> None:
    assert ProbeResult(node_ids=["b", "a"]).cluster_id == ProbeResult(node_ids=["a", "b"]).cluster_id != ""
    assert ProbeResult(node_ids=["a"]).cluster_id != ProbeResult(node_ids=["b"]).cluster_id
    assert ProbeResult().cluster_id == ""


def test_join() -> None:
    assert [join("A"), join("AB"), join("ABC")] == ["A", "A and B", "A, B and C"]
