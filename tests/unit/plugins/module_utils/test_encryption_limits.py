# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said when Tyk's pools are too large for the encryption in front of Redis."""

from __future__ import annotations

import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.apiops.tyk_redis.plugins.module_utils._encryption_limits import OPENED_A_SECOND, remarks

ONE_EACH = ("redis1", "redis2", "redis3")
# One pump has one pool, so that the pool size is the number of connections to one instance.
PUMP = {"pump": 1}
ON_REDIS, ON_PUMP = "a Redis host", "a host of the pump"


def described(mode: str | None, size: int | None = None, **changed: t.Any) -> dict[str, t.Any]:
    return {"topology": "cluster", "encryption": mode, "pool_size": size, "sections": {}, **changed}


def slow(total: int, size: int) -> str:
    return (
        f"Tyk's pools may open {total} connections to one Redis instance, all through one process of spiped, which"
        f" becomes slow beyond about 200, idle ones included. Lower tyk_redis.pool_size (now {size}), or use encryption"
        " tls or tls_tunnel, which idle connections do not slow."
    )


def full(needed: int, size: int, takes: int = 7500, where: str = ON_REDIS) -> str:
    return (
        f"Tyk's pools may open {needed} connections through one process of a tunnel (on {where}), which takes {takes}"
        f" (tunnel_connections); the others wait. Raise that, or lower tyk_redis.pool_size (now {size})."
    )


def long(total: int, size: int, mode: str, rate: int, seconds: int) -> str:
    faster = "" if mode == "tls_tunnel" else " Encryption tls_tunnel opens the most."
    return (
        f"Tyk's pools may open {total} connections to one Redis instance. With encryption {mode} about {rate} can be"
        f" opened a second, so that after a restart of all of Tyk it takes about {seconds} s until the pools are full"
        f" again. Lower tyk_redis.pool_size (now {size}), and restart one host after the other.{faster}"
    )


@pytest.mark.parametrize(
    ("mode", "size", "sentences"),
    [
        pytest.param("spiped", 200, [], id="spiped, all fits"),
        pytest.param("spiped", 201, [slow(201, 201)], id="spiped is slow"),
        pytest.param("spiped", 6599, [slow(6599, 6599)], id="spiped, not yet long"),
        pytest.param(
            "spiped", 6600, [slow(6600, 6600), long(6600, 6600, "spiped", 600, 11)], id="spiped, long after a restart"
        ),
        pytest.param(
            "spiped",
            7501,
            [slow(7501, 7501), full(7501, 7501), long(7501, 7501, "spiped", 600, 12)],
            id="spiped, all of it",
        ),
        pytest.param("tls", 8799, [], id="tls, all fits"),
        pytest.param("tls", 8800, [long(8800, 8800, "tls", 800, 11)], id="tls, long after a restart"),
        pytest.param("tls_tunnel", 2500, [], id="tls_tunnel, all fits"),
        pytest.param("tls_tunnel", 2501, [full(7503, 2501, where=ON_PUMP)], id="tls_tunnel is full"),
        pytest.param(
            "tls_tunnel",
            11000,
            [full(33000, 11000, where=ON_PUMP), long(11000, 11000, "tls_tunnel", 1000, 11)],
            id="tls_tunnel, long after a restart",
        ),
    ],
)
def test_each_limit_is_told_when_it_is_passed(mode: str, size: int, sentences: list[str]) -> None:
    assert remarks(described(mode, size), PUMP, ONE_EACH) == sentences


@pytest.mark.parametrize("size", [None, 0])
def test_without_a_size_the_pools_are_tyks_own(size: int | None) -> None:
    components = {"gateway": 4, "dashboard": 1}
    assert remarks(described("tls", size), components, ONE_EACH) == []
    assert remarks(described("tls", size), {"gateway": 5}, ONE_EACH) == [long(10000, 500, "tls", 800, 12)]
    assert remarks(described("spiped", size), {"pump": 1}, ONE_EACH) == [slow(500, 500)]


@pytest.mark.parametrize(
    "description",
    [
        pytest.param(described("none", 100000), id="no encryption"),
        pytest.param(described(None, 100000), id="none is said"),
        pytest.param({"topology": "cluster", "pool_size": 100000}, id="no word about it"),
        pytest.param(described("spiped", 100000, topology="sentinel"), id="no cluster"),
        pytest.param({"encryption": "spiped", "pool_size": 100000}, id="no topology"),
    ],
)
def test_where_nothing_is_encrypted_nothing_is_said(description: dict[str, t.Any]) -> None:
    assert remarks(description, {"gateway": 10}, ONE_EACH) == []


def test_one_process_of_haproxy_has_all_instances_of_a_host_behind_it() -> None:
    instances = ["redis1", "redis1", "redis2", "redis1", "redis2"]
    # Each of the pumps has less: 5 pools.
    pumps = {"pump": 5}
    assert remarks(described("tls_tunnel", 500), pumps, instances) == []
    assert remarks(described("tls_tunnel", 501), pumps, instances) == [full(7515, 501)]
    # Each instance has a process of spiped to itself.
    assert remarks(described("spiped", 501), pumps, instances) == [slow(2505, 501)]


def test_one_process_of_haproxy_leads_from_a_tyk_host_to_all_primaries() -> None:
    instances = [*ONE_EACH, *ONE_EACH]
    without, one, two = (described("tls_tunnel", 1251, replicas_per_primary=count) for count in (0, 1, 2))
    assert remarks(without, PUMP, instances) == [full(7506, 1251, where=ON_PUMP)]
    # Pools do not grow on replicas.
    assert remarks(one, PUMP, instances) == remarks(two, PUMP, instances) == []
    assert remarks({**one, "pool_size": 2500}, PUMP, instances) == []
    assert remarks({**one, "pool_size": 2501}, PUMP, instances) == [full(7503, 2501, where=ON_PUMP)]
    # On the way to one instance there is a process of spiped for that alone.
    assert remarks(described("spiped", 2501, replicas_per_primary=1), PUMP, instances) == [slow(2501, 2501)]


GATEWAY = full(8004, 667, where="a host of the gateway")


@pytest.mark.parametrize(
    ("components", "sentences"),
    [
        pytest.param({"gateway": 1}, [GATEWAY], id="the four pools of a gateway"),
        pytest.param({"gateway": 2, "dashboard": 1}, [GATEWAY], id="the component with the most pools"),
        pytest.param({"gateway": 3}, [full(8004, 667)], id="as many at a Redis host"),
        pytest.param({"gateway": 4}, [full(10672, 667)], id="more at a Redis host"),
        pytest.param({"dashboard": 4}, [], id="one pool of each dashboard"),
    ],
)
def test_the_fullest_process_is_told(components: dict[str, int], sentences: list[str]) -> None:
    found = remarks(described("tls_tunnel", 667), components, ONE_EACH)
    assert [sentence for sentence in found if "(tunnel_connections)" in sentence] == sentences


def test_mdcb_is_spelt_as_its_makers_do() -> None:
    assert remarks(described("tls_tunnel", 2501), {"mdcb": 1}, ONE_EACH) == [full(7503, 2501, where="a host of MDCB")]


@pytest.mark.parametrize("mode", ["spiped", "tls_tunnel"])
def test_a_process_takes_what_it_was_given(mode: str) -> None:
    instances = ["redis1"]
    assert remarks(described(mode, 100), PUMP, instances, 100) == []
    assert remarks(described(mode, 101), PUMP, instances, 100) == [full(101, 101, 100)]
    assert remarks(described("tls", 101), PUMP, instances, 100) == []


def test_only_pools_of_this_redis_count() -> None:
    components = {"gateway": 1, "pump": 1}
    separate = {"cache_storage": "cache", "analytics_storage": "analytics"}
    assert remarks(described("spiped", 50), components, ONE_EACH) == [slow(250, 50)]
    assert remarks(described("spiped", 50, sections=separate), components, ONE_EACH) == []
    assert remarks(described("spiped", 50, sections=None), components, ONE_EACH) == [slow(250, 50)]


def test_where_no_instance_is_known_no_process_is_full() -> None:
    assert remarks(described("tls_tunnel", 8000), PUMP, []) == []
    assert remarks(described("spiped", 8000), PUMP, []) == [
        slow(8000, 8000),
        full(8000, 8000),
        long(8000, 8000, "spiped", 600, 13),
    ]


def test_without_tyk_there_are_no_pools() -> None:
    for mode in OPENED_A_SECOND:
        assert remarks(described(mode, 100000), {}, ONE_EACH) == []
        assert remarks(described(mode, 100000), {"gateway": 0}, ONE_EACH) == []


@given(
    st.sampled_from(list(OPENED_A_SECOND)),
    st.integers(1, 20000),
    st.integers(1, 20000),
    st.lists(st.sampled_from(ONE_EACH), min_size=1),
)
def test_a_larger_pool_is_never_told_less(mode: str, size: int, more: int, instances: list[str]) -> None:
    small, large = (remarks(described(mode, one), PUMP, instances) for one in sorted((size, more)))
    assert len(small) <= len(large)
    assert all(sentence.endswith(".") for sentence in large)
