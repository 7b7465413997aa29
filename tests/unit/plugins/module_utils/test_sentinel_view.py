# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What Sentinels say about one primary."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.apiops.tyk_redis.plugins.module_utils._redis_client import Address
from ansible_collections.apiops.tyk_redis.plugins.module_utils._sentinel_view import (
    Answer,
    Instance,
    choose,
    disagreement,
    known_count,
    no_majority,
    parse_address,
    parse_instance,
    parse_name,
    strangers,
)

ONE, TWO, THREE = (Address(f"192.0.2.{number}", 26379) for number in (1, 2, 3))
PRIMARY, OTHER = Address("192.0.2.11", 6379), Address("192.0.2.12", 6379)
ENTRY = [
    "name", "192.0.2.12:6379", "ip", "192.0.2.12", "port", "6379", "runid", "abc", "flags", "s_down,slave,disconnected",
    "master-link-status", "err", "master-host", "192.0.2.11",
]  # fmt: skip


def sentinels(*addresses: Address) -> tuple[Instance, ...]:
    return tuple(Instance(address, "", frozenset({"sentinel"})) for address in addresses)


def test_entry() -> None:
    found = parse_instance(ENTRY)
    assert (found.address, found.run_id, found.link) == (OTHER, "abc", "err")
    assert found.down == "disconnected, s_down"
    assert parse_name(ENTRY) == "192.0.2.12:6379"
    assert parse_instance(["ip", "::1", "port", "1", "flags", "master"]) == Instance(
        Address("::1", 1), "", frozenset({"master"})
    )


@given(st.dictionaries(st.text(), st.text()))
def test_unknown_fields_do_no_harm(fields: dict[str, str]) -> None:
    entry = {**fields, "ip": "192.0.2.12", "port": "6379", "runid": "abc", "flags": "slave"}
    found = parse_instance([part for pair in entry.items() for part in pair])
    assert found.address == OTHER and found.down == "" and found.run_id == "abc"


@pytest.mark.parametrize("reply", [["flags", "master"], ["ip", "x", "port", "many"]])
def test_entry_without_an_address(reply: list[str]) -> None:
    with pytest.raises((KeyError, ValueError)):
        parse_instance(reply)


def test_address_of_the_primary() -> None:
    assert parse_address(["192.0.2.11", "6379"]) == PRIMARY
    assert parse_address(None) is None


def test_majority_of_the_answers_is_followed() -> None:
    ours, theirs = Answer(PRIMARY), Answer(OTHER)
    assert choose([(ONE, theirs), (TWO, ours), (THREE, ours)]) == (TWO, ours)
    assert choose([(ONE, theirs), (TWO, ours)]) == (ONE, theirs)
    assert choose([(ONE, Answer(None)), (TWO, ours)]) == (TWO, ours)
    assert choose([(ONE, Answer(None))]) is None and choose([]) is None


def test_disagreement() -> None:
    assert (
        disagreement("m", "Tyk Pump", [(ONE, Answer(PRIMARY)), (TWO, Answer(None)), (THREE, Answer(PRIMARY))]) is None
    )
    assert disagreement("m", "Tyk Pump", [(ONE, Answer(PRIMARY)), (TWO, Answer(OTHER))]) == (
        "The Sentinels name different primaries for 'm': 192.0.2.11:6379 by 192.0.2.1:26379; 192.0.2.12:6379 by "
        "192.0.2.2:26379. Tyk Pump goes to the one that it hears of first; let a failover end and check again, or make "
        "all of them monitor the same primary."
    )


def test_sentinels_that_are_no_seeds() -> None:
    answers = [(ONE, Answer(PRIMARY, others=sentinels(TWO, THREE))), (TWO, Answer(PRIMARY, others=sentinels(ONE)))]
    assert strangers({ONE, TWO}, answers) == [THREE]
    assert known_count(answers) == 3 and known_count([]) == 0


@given(known=st.integers(1, 9), reached=st.integers(0, 9))
def test_majority(known: int, reached: int) -> None:
    assert (no_majority("m", known, reached, ()) is None) == (2 * reached > known)
