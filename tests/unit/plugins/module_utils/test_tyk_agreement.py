# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Comparing what several components returned."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.apiops.tyk_redis.plugins.module_utils._tyk_agreement import disagreements


def result(**changed: t.Any) -> dict[str, t.Any]:
    agreement = {
        "mode": "cluster",
        "addresses": ["192.0.2.1:6379", "192.0.2.2:6379"],
        "database": 0,
        "tls": False,
        "node_ids": ["aaaaaaaaaaaa", "bbbbbbbbbbbb"],
    }
    return {"agreement": {**agreement, **changed}}


def compare(*results: dict[str, t.Any]) -> list[str]:
    names = [("gw1", "gateway"), ("db1", "dashboard"), ("pump1", "pump")]
    return disagreements([(host, component, given) for (host, component), given in zip(names, results)])


def test_nothing_to_object_to() -> None:
    assert compare() == [] and compare(result()) == []
    assert compare(result(), result(addresses=["192.0.2.2:6379", "192.0.2.1:6379"])) == []


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        (
            {"mode": "standalone"},
            "The Tyk components disagree about how they use Redis: gateway on gw1, pump on pump1: cluster; dashboard "
            "on db1: standalone; set the cluster switch alike.",
        ),
        (
            {"database": 3},
            "The Tyk components disagree about the database: gateway on gw1, pump on pump1: 0; dashboard on db1: 3; "
            "give all of them the same one.",
        ),
        (
            {"tls": True},
            "The Tyk components disagree about TLS: gateway on gw1, pump on pump1: off; dashboard on db1: on; switch "
            "it on or off for all of them.",
        ),
        (
            {"addresses": ["192.0.2.1:6379"]},
            "The Tyk components disagree about the addresses of Redis: gateway on gw1, pump on pump1: 192.0.2.1:6379, "
            "192.0.2.2:6379; dashboard on db1: 192.0.2.1:6379; give all of them the same list.",
        ),
        (
            {"node_ids": ["cccccccccccc"]},
            "The Tyk components do not reach one and the same Redis: gateway on gw1, pump on pump1: a Redis of 2 "
            "nodes, aaaaaaaa among them; dashboard on db1: a Redis of 1 node, cccccccc among them; give all of them "
            "the same.",
        ),
        (
            {"node_ids": ["aaaaaaaaaaaa"]},
            "dashboard on db1 does not see the nodes bbbbbbbb, which other Tyk components see in the same cluster; "
            "let the cluster settle, and check again.",
        ),
        # Whoever saw nothing has failed on its own account.
        ({"node_ids": []}, ""),
    ],
)
def test_one_is_different(changed: dict[str, t.Any], sentence: str) -> None:
    assert compare(result(), result(**changed), result()) == ([sentence] if sentence else [])


def test_result_without_anything_to_compare() -> None:
    assert compare(result(), {"failed": True, "msg": "x"}) == [
        "dashboard on db1 returned nothing to compare with the others; see why its check ended early."
    ]
