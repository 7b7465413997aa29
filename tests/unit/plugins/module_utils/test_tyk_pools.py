# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many connections Tyk may open to one Redis node, and what is said about it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.apiops.tyk_redis.plugins.module_utils._tyk_pools import (
    PoolsError,
    demand,
    recommended,
    remarks,
)

SEPARATE = {"cache_storage": "cache", "analytics_storage": "analytics"}
SIX = [f"redis-{number}" for number in range(1, 7)]

WHERE = {"main": "one Redis node (", "cache": " deployment cache (", "analytics": " deployment analytics ("}

COMPONENTS = st.fixed_dictionaries(
    {}, optional={name: st.integers(0, 12) for name in ("gateway", "dashboard", "pump", "mdcb")}
)
SECTIONS = st.fixed_dictionaries(
    {}, optional={name: st.sampled_from(["main", "cache", "analytics"]) for name in SEPARATE}
)
SIZES = st.dictionaries(st.sampled_from(["main", "cache", "analytics"]), st.integers(-1, 2000))
LIMITS = st.dictionaries(
    st.sampled_from(["main", "cache", "analytics"]),
    st.dictionaries(st.sampled_from(SIX), st.none() | st.integers(1, 60000), min_size=1),
)


@pytest.mark.parametrize(
    ("components", "sections", "sizes", "expected"),
    [
        pytest.param({"gateway": 4}, {}, {"main": 500}, {"main": {"gateway": 8000}}, id="four pools a gateway"),
        pytest.param({"gateway": 1}, {}, {}, {"main": {"gateway": 2000}}, id="500 by default"),
        pytest.param({"gateway": 1}, {}, {"main": 0}, {"main": {"gateway": 2000}}, id="0 is 500"),
        pytest.param({"gateway": 1}, {}, {"main": -5}, {"main": {"gateway": 2000}}, id="less than 0 is 500"),
        pytest.param(
            {"mdcb": 1, "pump": 2, "dashboard": 3, "gateway": 2},
            {},
            {"main": 10},
            {"main": {"gateway": 80, "dashboard": 30, "pump": 20, "mdcb": 10}},
            id="one pool each of the others, all in one order",
        ),
        pytest.param(
            {"gateway": 2, "dashboard": 1, "pump": 1, "mdcb": 1},
            SEPARATE,
            {"main": 10, "cache": 100, "analytics": 1000},
            {
                "main": {"gateway": 40, "dashboard": 10, "mdcb": 10},
                "cache": {"gateway": 200},
                "analytics": {"gateway": 2000, "pump": 1000, "mdcb": 1000},
            },
            id="separate stores take their pools with them",
        ),
        pytest.param(
            {"gateway": 1, "mdcb": 1},
            {"cache_storage": "main", "analytics_storage": "main"},
            {"main": 10},
            {"main": {"gateway": 40, "mdcb": 10}},
            id="sections that use the main one are not separate",
        ),
        pytest.param({"gateway": 0}, SEPARATE, {}, {}, id="nobody"),
    ],
)
def test_the_demand_of_each_deployment(
    components: dict[str, int], sections: dict[str, str], sizes: dict[str, int], expected: dict[str, dict[str, int]]
) -> None:
    found = demand(components, sections, sizes)
    assert found == expected
    assert [list(counts) for counts in found.values()] == [list(counts) for counts in expected.values()]


@pytest.mark.parametrize(
    ("components", "message"),
    [
        pytest.param(
            {"portal": 1},
            "The component 'portal' is unknown; Tyk's are gateway, dashboard, pump, mdcb.",
            id="an unknown component",
        ),
        pytest.param(
            {"pump": -1},
            "The number of hosts of the component pump is -1; it must be 0 or more.",
            id="a negative number",
        ),
    ],
)
def test_nonsense_is_refused(components: dict[str, int], message: str) -> None:
    with pytest.raises(PoolsError) as caught:
        demand(components, {}, {})
    assert str(caught.value) == message


def test_what_does_not_fit_is_told_with_numbers() -> None:
    # 9500 of the pools, 2 beside them for each of 7 hosts, 2 for the bus to each of 5 nodes, and 32.
    components = {"gateway": 4, "dashboard": 1, "pump": 2}
    limits = {**dict.fromkeys(SIX, 10000), "redis-2": 4064, "redis-3": 4064, "redis-5": 9555, "redis-6": 9556}
    assert remarks(components, {}, {"main": 500}, {"main": limits}) == [
        "Tyk's pools may open 9500 connections to one Redis node (4 gateways x 4 pools x 500 = 8000, 1 dashboard x 1"
        " pool x 500 = 500, 2 pumps x 1 pool x 500 = 1000) and 56 more are needed for subscriptions, the cluster bus,"
        " replication and administration, but maxclients is 4064 on redis-2 and redis-3, and 9555 on redis-5. A node"
        " that has reached it refuses every new connection with 'max number of clients', that of a replica or an"
        " administrator too, and gateways fail requests or answer 429 without reason. Lower tyk_redis.pool_size to"
        " 210 or less, or raise its maxclients (redis_maxclients where the roles make the server) to 9556 or more; a"
        " server that may not open 32 files more than that lowers it by itself."
    ]


def test_each_deployment_is_judged_by_itself() -> None:
    components = {"gateway": 1, "mdcb": 1}
    limits = {"main": {"redis-1": 10000}, "cache": {"cache-1": 30}, "analytics": {"queue-1": 100}}
    cache, analytics = remarks(components, SEPARATE, {"main": 20, "cache": 20, "analytics": 100}, limits)
    assert "20 connections to one node of the Redis deployment cache (1 gateway x 1 pool x 20 = 20) and 34 " in cache
    assert "30 on cache-1." in cache
    assert " reason. No pool size fits: raise its maxclients to 54 or more; " in cache
    assert "(1 gateway x 1 pool x 100 = 100, 1 MDCB x 1 pool x 100 = 100)" in analytics
    assert (
        "Lower tyk_redis.deployments.analytics.pool_size to 32 or less, or raise its maxclients to 236 or more; "
        in analytics
    )


@pytest.mark.parametrize(
    "limits",
    [
        pytest.param({}, id="nothing is known"),
        pytest.param({"main": {}}, id="no node"),
        pytest.param({"main": {"redis-1": None}}, id="a node that does not tell"),
        pytest.param({"other": {"redis-1": 1}}, id="a deployment that nobody uses"),
    ],
)
def test_what_is_not_known_is_not_judged(limits: dict[str, dict[str, int | None]]) -> None:
    assert remarks({"gateway": 1}, {}, {}, limits) == []
    assert recommended({"gateway": 1}, {}, limits) == {}


@given(COMPONENTS, SECTIONS, LIMITS)
def test_the_recommended_size_fits_and_the_next_one_does_not(
    components: dict[str, int], sections: dict[str, str], limits: dict[str, dict[str, int | None]]
) -> None:
    for deployment, size in recommended(components, sections, limits).items():
        only = {deployment: limits[deployment]}
        assert bool(remarks(components, sections, {deployment: max(1, size)}, only)) == (size == 0)
        assert remarks(components, sections, {deployment: size + 1}, only)


@given(COMPONENTS, SECTIONS, SIZES, LIMITS)
def test_the_wanted_limit_is_enough_and_one_less_is_not(
    components: dict[str, int],
    sections: dict[str, str],
    sizes: dict[str, int],
    limits: dict[str, dict[str, int | None]],
) -> None:
    for sentence in remarks(components, sections, sizes, limits):
        (deployment,) = (name for name in limits if WHERE[name] in sentence)
        wanted = int(sentence.partition("raise its maxclients")[2].partition(" to ")[2].partition(" ")[0])
        for limit, told in ((wanted, False), (wanted - 1, True)):
            changed = {deployment: dict.fromkeys(limits[deployment], limit)}
            assert bool(remarks(components, sections, sizes, changed)) == told


@given(
    COMPONENTS, SECTIONS, SIZES, LIMITS, st.sampled_from(["gateway", "dashboard", "pump", "mdcb"]), st.integers(0, 500)
)
def test_more_hosts_bigger_pools_and_lower_limits_never_help(
    components: dict[str, int],
    sections: dict[str, str],
    sizes: dict[str, int],
    limits: dict[str, dict[str, int | None]],
    more_of: str,
    difference: int,
) -> None:
    def tight(components: dict[str, int], sizes: dict[str, int], limits: dict[str, dict[str, int | None]]) -> set[str]:
        sentences = remarks(components, sections, sizes, limits)
        return {name for name in limits for sentence in sentences if WHERE[name] in sentence}

    before = tight(components, sizes, limits)
    more = {**components, more_of: components.get(more_of, 0) + difference}
    bigger = {name: size + difference for name, size in sizes.items() if size > 0}
    lower = {
        deployment: {name: limit and max(1, limit - difference) for name, limit in nodes.items()}
        for deployment, nodes in limits.items()
    }
    assert before <= tight(more, sizes, limits)
    assert before <= tight(components, bigger, limits)
    assert before <= tight(components, sizes, lower)
