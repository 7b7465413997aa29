# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The closing report, letter by letter."""

from __future__ import annotations

import textwrap
import typing as t

from ansible_collections.apiops.tyk_redis.plugins.module_utils._report import report


def node(number: int, **changed: t.Any) -> dict[str, t.Any]:
    """As redis_cluster_info returns it; 1 to 3 are primaries, 4 to 6 their replicas."""
    primary = {
        "name": f"redis{number}:6379",
        "address": f"192.0.2.{number}:6379",
        "host": f"redis{number}",
        "zone": "abcabc"[number - 1],
        "role": "primary",
        "primary": "",
        "primary_name": "",
        "slots": ["0-5460", "5461-10922", "10923-16383"][(number - 1) % 3 : (number - 1) % 3 + 1],
        "slot_count": [5461, 5462, 5461][(number - 1) % 3],
        "keys": 1000,
        "lag_bytes": None,
        "link": "",
        "version": "redis 7.0.15",
        "reachable": True,
        "error": "",
    }
    replica = {
        "role": "replica",
        "primary": f"192.0.2.{number - 3}:6379",
        "primary_name": f"redis{number - 3}:6379",
        "slots": [],
        "slot_count": 0,
        "lag_bytes": 0,
        "link": "up",
    }
    return {**primary, **(replica if number > 3 else {}), **changed}


def cluster(*nodes: dict[str, t.Any], **changed: t.Any) -> dict[str, t.Any]:
    return {"slots_served": 16384, "size": 3, "nodes": list(nodes), **changed}


def check(host: str, component: str, *more: dict[str, t.Any], **changed: t.Any) -> dict[str, t.Any]:
    """A component with one store, or with more."""
    reached = [
        {"address": f"192.0.2.{number}:6379", "role": "primary" if number < 4 else "replica", "wrote": number < 4}
        for number in range(1, 7)
    ]
    seeds = [node["address"] for node in reached]
    return {
        "host": host,
        "component": component,
        "result": {
            "stores": [
                {
                    "mode": "cluster",
                    "purposes": ["main"],
                    "username": "tyk",
                    "seeds": seeds,
                    "reached": reached,
                    **changed,
                },
                *more,
            ]
        },
    }


def golden(text: str) -> str:
    return textwrap.dedent(text).strip("\n")


ADDRESSES = " ".join(f"192.0.2.{number}:6379" for number in range(1, 7))

HEALTHY = golden(
    f"""
    Redis
    INSTANCE     ADDRESS         ZONE  ROLE     REPLICA OF   SLOTS               KEYS  LAG   SERVER
    redis1:6379  192.0.2.1:6379  a     primary  -            0-5460 (5461)       1000  -     redis 7.0.15
    redis2:6379  192.0.2.2:6379  b     primary  -            5461-10922 (5462)   0     -     redis 7.0.15
    redis3:6379  192.0.2.3:6379  c     primary  -            10923-16383 (5461)  1000  -     redis 7.0.15
    redis4:6379  192.0.2.4:6379  a     replica  redis1:6379  -                   1000  0 B   redis 7.0.15
    redis5:6379  192.0.2.5:6379  -     replica  redis2:6379  -                   0     42 B  redis 7.0.15
    redis6:6379  192.0.2.6:6379  c     replica  redis3:6379  -                   1000  0 B   redis 7.0.15

    Tyk
    HOST  COMPONENT  AS   PRIMARIES             REPLICAS   SEEDS  BY THE ADDRESSES
    gw1   gateway    tyk  3 reached, 3 written  3 reached  6      {ADDRESSES}
    gw1   pump       tyk  3 reached, 3 written  3 reached  6      {ADDRESSES}

    All is well: 16384 of 16384 slots served by 3 primaries, 6 instances agree, 2 Tyk components proved.
    """
)
WELL = cluster(node(1), node(2, keys=0), node(3), node(4), node(5, zone="", keys=0, lag_bytes=42), node(6))
CHECKS = [check("gw1", "gateway"), check("gw1", "pump")]


def test_a_healthy_cluster() -> None:
    assert report(WELL, CHECKS, []) == HEALTHY


def test_remarks_follow_the_verdict_and_do_not_touch_it() -> None:
    remarks = ["redis1:6379 and its replica redis4:6379 share the host a.", "Another one."]
    expected = golden(
        """
        Remarks:
          1. redis1:6379 and its replica redis4:6379 share the host a.
          2. Another one.
        """
    )
    assert report(WELL, CHECKS, [], remarks) == f"{HEALTHY}\n{expected}"
    assert report(WELL, CHECKS, [], remarks=()) == HEALTHY
    assert report({}, [], ["Wrong."], ["Odd."]) == golden(
        """
        NOT WELL: 1 problem
          1. Wrong.
        Remarks:
          1. Odd.
        """
    )


def test_an_unwell_cluster() -> None:
    silent = {"role": "unreachable", "reachable": False, "slots": [], "slot_count": 0, "keys": 0, "version": ""}
    unwell = cluster(
        node(1, **silent),
        node(2, slots=["0", "5461-5470"], slot_count=11),
        node(4, link="down", lag_bytes=None),
        node(5, lag_bytes=None),
        node(6, primary="192.0.2.99:6379", primary_name=""),
        slots_served=11,
        size=1,
    )
    text = report(
        unwell,
        [
            check("gw1", "gateway", reached=[], seeds=[], username=""),
            check(
                "pump-host",
                "pump",
                reached=[
                    {"address": "192.0.2.2:6379", "role": "primary", "wrote": True},
                    {"address": "192.0.2.1:6379", "role": "primary", "wrote": False},
                ],
            ),
            {"host": "mdcb1", "component": "mdcb", "result": {}},
        ],
        ["redis1:6379 is gone.", "16373 slots are served by nobody."],
    )
    assert text == golden(
        """
        Redis
        INSTANCE     ADDRESS         ZONE  ROLE         REPLICA OF       SLOTS             KEYS  LAG        SERVER
        redis1:6379  192.0.2.1:6379  a     unreachable  -                -                 -     -          -
        redis2:6379  192.0.2.2:6379  b     primary      -                0,5461-5470 (11)  1000  -          redis 7.0.15
        redis4:6379  192.0.2.4:6379  a     replica      redis1:6379      -                 1000  link down  redis 7.0.15
        redis5:6379  192.0.2.5:6379  b     replica      redis2:6379      -                 1000  unknown    redis 7.0.15
        redis6:6379  192.0.2.6:6379  c     replica      192.0.2.99:6379  -                 1000  0 B        redis 7.0.15

        Tyk
        HOST       COMPONENT  AS   PRIMARIES             REPLICAS   SEEDS  BY THE ADDRESSES
        gw1        gateway    -    0 reached, 0 written  0 reached  0      -
        pump-host  pump       tyk  2 reached, 1 written  0 reached  6      192.0.2.1:6379 192.0.2.2:6379
        mdcb1      mdcb       -    0 reached, 0 written  0 reached  0      -

        NOT WELL: 2 problems
          1. redis1:6379 is gone.
          2. 16373 slots are served by nobody.
        """
    )


def test_when_only_tyk_was_asked_nothing_is_said_about_redis() -> None:
    expected = golden(
        f"""
        Tyk
        HOST  COMPONENT  AS   PRIMARIES             REPLICAS   SEEDS  BY THE ADDRESSES
        gw1   gateway    tyk  3 reached, 3 written  3 reached  6      {ADDRESSES}

        All that was asked is well: 1 Tyk component proved; no Redis instance was asked.
        """
    )
    assert report({}, [check("gw1", "gateway")], []) == expected
    assert report({"nodes": []}, [check("gw1", "gateway")], []) == expected


def test_when_only_redis_was_asked_no_table_of_tyk_is_shown() -> None:
    text = report(WELL, [], [])
    assert "\nTyk\n" not in text
    assert text.splitlines()[-1] == (
        "All is well: 16384 of 16384 slots served by 3 primaries, 6 instances agree, 0 Tyk components proved."
    )


def test_no_line_ends_with_blanks() -> None:
    lines = report(WELL, CHECKS, ["Wrong."], ["Odd."]).splitlines()
    assert [line for line in lines if line != line.rstrip()] == []


def server(address: str, **changed: t.Any) -> dict[str, t.Any]:
    reached = [{"address": address, "role": "primary", "wrote": True}]
    store = {"mode": "standalone", "purposes": ["cache"], "username": "", "seeds": reached, "reached": reached}
    return {**store, **changed}


def test_each_store_has_a_line_where_a_component_has_more_than_one() -> None:
    checks = [
        check("gw1", "gateway", server("192.0.2.9:6380"), purposes=["main", "analytics"]),
        check("pump1", "pump", purposes=["analytics"]),
        {"host": "mdcb1", "component": "mdcb", "result": {}},
    ]
    assert report({}, checks, []) == golden(
        f"""
        Tyk
        HOST   COMPONENT  STORE           AS   PRIMARIES             REPLICAS   SEEDS  BY THE ADDRESSES
        gw1    gateway    main+analytics  tyk  3 reached, 3 written  3 reached  6      {ADDRESSES}
        gw1    gateway    cache           -    1 reached, 1 written  0 reached  1      192.0.2.9:6380
        pump1  pump       analytics       tyk  3 reached, 3 written  3 reached  6      {ADDRESSES}
        mdcb1  mdcb       -               -    0 reached, 0 written  0 reached  0      -

        All that was asked is well: 3 Tyk components proved; no Redis instance was asked.
        """
    )


def test_a_managed_redis_is_well_when_everybody_reaches_it() -> None:
    checks = [check("gw1", "gateway", server("192.0.2.9:6380")), check("pump1", "pump")]
    assert report({}, checks, [], topology="managed").splitlines()[-1] == (
        "All is well: 6 nodes of mode cluster and 1 node of mode standalone reached, 2 Tyk components proved."
    )
    assert report({}, [], [], topology="managed") == (
        "All that was asked is well: 0 Tyk components proved; no Redis instance was asked."
    )
    assert "NOT WELL: 1 problem" in report({}, checks, ["Wrong."], topology="managed")


def test_remarks_of_the_checks_come_last_and_once() -> None:
    checks = [check("gw1", "gateway"), check("gw2", "gateway"), check("pump1", "pump")]
    for one in checks:
        one["result"]["remarks"] = ["Upgrade it."]
    checks[1]["result"]["remarks"].append("Another one.")
    assert report(WELL, checks, [], ["Odd."]).splitlines()[-5:] == [
        "Remarks:",
        "  1. Odd.",
        "  2. gateway on gw1, gw2: Upgrade it.",
        "  3. gateway on gw2: Another one.",
        "  4. pump on pump1: Upgrade it.",
    ]
