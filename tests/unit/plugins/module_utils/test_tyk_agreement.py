# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Comparing what several components returned."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.apiops.tyk_redis.plugins.module_utils._tyk_agreement import disagreements

# What a component's only store is for.
PURPOSES = {
    "gateway": ["main", "cache", "analytics"],
    "dashboard": ["main"],
    "mdcb": ["main", "analytics"],
    "pump": ["analytics"],
}
HOSTS = {"gateway": "gw", "dashboard": "db", "mdcb": "mdcb", "pump": "pump"}
ELSEWHERE = {"addresses": ["192.0.2.9:6379"], "node_ids": ["cccccccccccc"]}


def store(*purposes: str, **changed: t.Any) -> dict[str, t.Any]:
    agreement = {
        "mode": "cluster",
        "addresses": ["192.0.2.1:6379", "192.0.2.2:6379"],
        "database": 0,
        "tls": False,
        "node_ids": ["aaaaaaaaaaaa", "bbbbbbbbbbbb"],
    }
    return {"purposes": list(purposes), "agreement": {**agreement, **changed}}


def one(component: str, **changed: t.Any) -> tuple[str, list[dict[str, t.Any]]]:
    return component, [store(*PURPOSES[component], **changed)]


def compare(*those: tuple[str, list[dict[str, t.Any]]]) -> list[str]:
    """Ask about components, which get the hosts gw1, db2, pump3 and so on in their order."""
    return disagreements(
        [
            (f"{HOSTS[component]}{number}", component, {"stores": stores})
            for number, (component, stores) in enumerate(those, start=1)
        ]
    )


def test_nothing_to_object_to() -> None:
    assert compare() == [] and compare(one("gateway")) == []
    reordered = one("dashboard", addresses=["192.0.2.2:6379", "192.0.2.1:6379"])
    assert compare(one("gateway"), reordered, one("pump"), one("mdcb")) == []


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        (
            {"mode": "standalone"},
            "The Tyk components disagree about how they use Redis: gateway on gw1, mdcb on mdcb3: cluster; dashboard"
            " on "
            "db2: standalone; give all of them the same cluster switch and the same Sentinel master.",
        ),
        (
            {"database": 3},
            "The Tyk components disagree about the database: gateway on gw1, mdcb on mdcb3: 0; dashboard on db2: 3;"
            " give "
            "all of them the same one.",
        ),
        (
            {"tls": True},
            "The Tyk components disagree about TLS: gateway on gw1, mdcb on mdcb3: off; dashboard on db2: on; switch"
            " it "
            "on or off for all of them.",
        ),
        (
            {"addresses": ["192.0.2.1:6379"]},
            "The Tyk components disagree about the addresses of Redis: gateway on gw1, mdcb on mdcb3: 192.0.2.1:6379, "
            "192.0.2.2:6379; dashboard on db2: 192.0.2.1:6379; give all of them the same list.",
        ),
        (
            {"node_ids": ["cccccccccccc"]},
            "The Tyk components do not reach one and the same Redis: gateway on gw1, mdcb on mdcb3: a Redis of 2"
            " nodes, "
            "aaaaaaaa among them; dashboard on db2: a Redis of 1 node, cccccccc among them; give all of them the same.",
        ),
        (
            {"node_ids": ["aaaaaaaaaaaa"]},
            "dashboard on db2 does not see the nodes bbbbbbbb, which other Tyk components see in the same cluster; let "
            "the cluster settle, and check again.",
        ),
        # Whoever saw nothing has failed on its own account.
        ({"node_ids": []}, ""),
    ],
)
def test_one_is_different(changed: dict[str, t.Any], sentence: str) -> None:
    found = compare(one("gateway"), one("dashboard", **changed), one("mdcb"), one("pump"))
    assert found == ([sentence] if sentence else [])


def test_a_pump_that_reads_elsewhere_than_the_gateway_writes() -> None:
    assert compare(one("gateway"), one("dashboard"), one("pump", **ELSEWHERE)) == [
        "Those who write and those who read the analytics disagree about the addresses of Redis: gateway on gw1: "
        "192.0.2.1:6379, 192.0.2.2:6379; pump on pump3: 192.0.2.9:6379; give all of them the same list.",
        "Analytics are not read where they are written, so that they get lost: gateway on gw1: a Redis of 2 nodes, "
        "aaaaaaaa among them; pump on pump3: a Redis of 1 node, cccccccc among them; give all of them the same.",
    ]


def test_a_gateway_with_analytics_of_its_own_and_a_pump_that_was_left_behind() -> None:
    gateway = ("gateway", [store("main", "cache"), store("analytics", tls=True, **ELSEWHERE)])
    assert compare(gateway, one("dashboard"), one("pump", tls=True, **ELSEWHERE)) == []
    assert compare(gateway, one("dashboard"), one("pump", tls=True, addresses=["192.0.2.9:6379"], node_ids=[])) == []
    assert [sentence.split(":")[0] for sentence in compare(gateway, one("dashboard"), one("pump"))] == [
        "Those who write and those who read the analytics disagree about TLS",
        "Those who write and those who read the analytics disagree about the addresses of Redis",
        "Analytics are not read where they are written, so that they get lost",
    ]


def test_two_gateways_are_told_once_about_a_store_that_serves_several_purposes() -> None:
    (sentence,) = compare(one("gateway"), one("gateway", tls=True))
    assert sentence == (
        "The Tyk components disagree about TLS: gateway on gw1: off; gateway on gw2: on; switch it on or off for all"
        " of "
        "them."
    )
    # A pump that goes with one of them still misses what the other one writes.
    assert [sentence.split(":")[0] for sentence in compare(one("gateway"), one("gateway", tls=True), one("pump"))] == [
        "The Tyk components disagree about TLS",
        "Those who write and those who read the analytics disagree about TLS",
    ]
    seen_by_one = compare(one("gateway"), one("gateway", node_ids=["aaaaaaaaaaaa"]))
    assert len(seen_by_one) == 1


def test_a_cache_that_the_gateways_do_not_share() -> None:
    gateways = [("gateway", [store("main", "analytics"), store("cache", node_ids=[name])]) for name in ("x1", "y1")]
    assert compare(*gateways) == [
        "The gateways do not share one cache: gateway on gw1: a Redis of 1 node, x1 among them; gateway on gw2: a"
        " Redis "
        "of 1 node, y1 among them; give all of them the same."
    ]


def test_views_that_overlap_are_of_one_redis_in_whatever_order_they_come() -> None:
    views = [one("gateway", node_ids=["a"]), one("gateway", node_ids=["b"]), one("gateway", node_ids=["a", "b"])]
    assert [sentence.split(",")[0] for sentence in compare(*views)] == [
        "gateway on gw1 does not see the nodes b",
        "gateway on gw2 does not see the nodes a",
    ]


def test_result_without_anything_to_compare() -> None:
    failed = {"failed": True, "msg": "x"}
    assert disagreements([("gw1", "gateway", {"stores": one("gateway")[1]}), ("db1", "dashboard", failed)]) == [
        "dashboard on db1 returned nothing to compare with the others; see why its check ended early."
    ]
