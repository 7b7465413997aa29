# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Slots, keys, and what CLUSTER SLOTS says."""

from __future__ import annotations

import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.apiops.tyk_redis.plugins.module_utils._redis_client import Address
from ansible_collections.apiops.tyk_redis.plugins.module_utils._redis_slots import (
    key_in,
    key_slot,
    parse_slots,
    show_ranges,
)

SEED = Address("192.0.2.1", 6379)


@pytest.mark.parametrize(
    ("key", "slot"),
    [
        # The first is of the Redis Cluster specification, the others were asked of a server.
        ("123456789", 0x31C3 % 16384),
        ("analytics-tyk-system-analytics", 609),
        ("tyk-liveness-probe", 14919),
        ("a{123456789}b", 0x31C3 % 16384),
    ],
)
def test_slot_of_a_key(key: str, slot: int) -> None:
    assert key_slot(key) == slot


def test_empty_braces_choose_nothing() -> None:
    assert key_slot("a{}{123456789}") != 0x31C3 % 16384


@given(start=st.integers(0, 16383), length=st.integers(0, 300))
def test_a_key_can_be_found_for_any_slots(start: int, length: int) -> None:
    end = min(16383, start + length)
    key = key_in("tyk-redis-check-", [(start, end)])
    assert key.startswith("tyk-redis-check-{") and start <= key_slot(key) <= end


def node(number: int, host: str | None = None, *more: t.Any) -> list[t.Any]:
    return [f"192.0.2.{number}" if host is None else host, 6379, f"id{number}", *more]


def test_layout() -> None:
    layout = parse_slots(
        [[5, 16383, node(2), node(4)], [0, 1, node(1), node(3)], [3, 3, node(1), node(3)]],
        SEED,
    )
    assert [member.node_id for member in layout.members] == ["id1", "id2", "id3", "id4"]
    assert [member.is_primary for member in layout.members] == [True, True, False, False]
    assert layout.members[0].ranges == ((0, 1), (3, 3)) and show_ranges(layout.members[0].ranges) == ["0-1", "3"]
    assert layout.by_id()["id3"].primary_id == "id1"
    assert layout.gaps == [(2, 2), (4, 4)]
    assert parse_slots([], SEED).gaps == [(0, 16383)]


@pytest.mark.parametrize("host", [None, "", "?"])
def test_node_without_an_address(host: str | None) -> None:
    layout = parse_slots([[0, 16383, [host, 6379, "id1"]]], SEED)
    assert layout.members[0].address is None


def test_all_forms_of_an_address_are_known() -> None:
    member = parse_slots([[0, 16383, node(1, "redis-1.example", ["ip", "192.0.2.1"])]], SEED).members[0]
    assert str(member.address) == "redis-1.example:6379"
    assert member.names == {"redis-1.example:6379", "192.0.2.1:6379"}


@pytest.mark.parametrize(
    ("seed", "dialled"),
    [
        pytest.param("192.0.2.1", "192.0.2.1:6379", id="a remote seed stands in for a loopback address"),
        pytest.param("127.0.0.1", "127.64.0.7:6379", id="a local seed does not"),
        pytest.param("redis.example", "127.64.0.7:6379", id="nor does a name"),
    ],
)
def test_announced_loopback_address(seed: str, dialled: str) -> None:
    layout = parse_slots([[0, 16383, node(1, "127.64.0.7")]], Address(seed, 7000))
    assert str(layout.members[0].address) == dialled
