# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rates and times left in words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.apiops.tyk_redis.plugins.module_utils._progress_text import (
    Moved,
    Pace,
    duration_text,
    rate_text,
)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (0.1, "1 s"), (59, "59 s"), (59.5, "1 min 0 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


@pytest.mark.parametrize(
    ("rate", "text"), [(0, "0 keys/s"), (12.4, "12 keys/s"), (9999, "9999 keys/s"), (97654.3, "98000 keys/s")]
)
def test_rates(rate: float, text: str) -> None:
    assert rate_text(rate) == text


def test_a_steady_move() -> None:
    pace = Pace(100.0)
    moved = Moved(122000, 500000, 1999, 8192)
    pace.saw(101.25, moved)
    assert pace.text(moved) == "122000 of 500000 keys (1999 of 8192 slots), 98000 keys/s, 4 s left"


def test_the_slower_of_keys_and_slots_tells_the_time_left() -> None:
    pace = Pace(0.0)
    moved = Moved(900, 1000, 10, 100)
    pace.saw(10.0, moved)
    assert pace.text(moved) == "900 of 1000 keys (10 of 100 slots), 90 keys/s, 1 min 30 s left"


def test_uncounted_keys_and_empty_slots() -> None:
    pace = Pace(0.0)
    moved = Moved(0, None, 50, 100)
    pace.saw(2.0, moved)
    assert pace.text(moved) == "0 keys (50 of 100 slots), 0 keys/s, 2 s left"


def test_nothing_is_promised_before_time_has_passed_or_while_the_move_stands_still() -> None:
    pace = Pace(5.0)
    moved = Moved(0, 10, 0, 4)
    assert pace.text(moved) == "0 of 10 keys (0 of 4 slots)"
    pace.saw(6.0, moved)
    assert pace.text(moved) == "0 of 10 keys (0 of 4 slots), 0 keys/s"


def test_only_the_last_seconds_count() -> None:
    pace = Pace(0.0)
    for second in range(1, 101):
        pace.saw(float(second), Moved(1000 * second, 300000, second, 300))
    for second in range(1, 11):
        moved = Moved(100000 + 10 * second, 300000, 100 + second, 300)
        pace.saw(100.0 + second, moved)
    assert ", 10 keys/s, " in pace.text(moved)


def test_no_rate_is_told_from_less_than_the_clock_can_tell() -> None:
    pace = Pace(0.0)
    moved = Moved(4, None, 1, 16384)
    pace.saw(1e-300, moved)
    assert pace.text(moved) == moved.text


@given(
    st.lists(st.tuples(st.floats(0, 30), st.integers(0, 10**6), st.integers(0, 100)), min_size=1, max_size=40),
    st.one_of(st.none(), st.integers(0, 10**7)),
)
def test_any_course_of_events_has_a_text(events: list[tuple[float, int, int]], all_keys: int | None) -> None:
    now, keys, slots = 0.0, 0, 0
    pace = Pace(now)
    for seconds, more_keys, more_slots in events:
        now, keys, slots = now + seconds, keys + more_keys, slots + more_slots
        moved = Moved(keys, all_keys, slots, 16384)
        pace.saw(now, moved)
        text = pace.text(moved)
        assert text.startswith(moved.text)
        assert "-" not in text and "nan" not in text and "inf" not in text


def test_a_finished_move_has_no_time_left() -> None:
    pace = Pace(0.0)
    # Clients wrote more keys than had been counted.
    moved = Moved(1010, 1000, 100, 100)
    pace.saw(1.0, moved)
    assert pace.text(moved) == "1010 of 1010 keys (100 of 100 slots), 1010 keys/s, 0 s left"
