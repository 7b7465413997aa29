# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How fast a slot move goes and how long it still takes, in words. No I/O.

Private to this collection.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

# Long enough to even out a burst, short enough to follow a change of load.
_WINDOW_SECONDS = 10.0
# A rate over less would say more about the clock than about the move.
_LEAST_SECONDS = 0.001


@dataclass(frozen=True)
class Moved:
    """What has been moved so far in one step. The number of all keys is None where nobody has counted them."""

    keys: int
    all_keys: int | None
    slots: int
    all_slots: int

    @property
    def text(self) -> str:
        # Clients go on writing, so there may be more keys than were counted.
        keys = f"{self.keys} keys" if self.all_keys is None else f"{self.keys} of {max(self.keys, self.all_keys)} keys"
        return f"{keys} ({self.slots} of {self.all_slots} slots)"


class Pace:
    """The rate of a move over its last seconds.

    Args:
        now: the moment when the move began, in seconds.
    """

    def __init__(self, now: float) -> None:
        self._seen: deque[tuple[float, int, int]] = deque([(now, 0, 0)])

    def saw(self, now: float, moved: Moved) -> None:
        """Take note of what has been moved by now."""
        self._seen.append((now, moved.keys, moved.slots))
        while len(self._seen) > 2 and now - self._seen[1][0] >= _WINDOW_SECONDS:
            self._seen.popleft()

    def text(self, moved: Moved) -> str:
        """What has been moved, how fast, and the time left where it can be told."""
        (start, first_keys, first_slots), (now, keys, slots) = self._seen[0], self._seen[-1]
        seconds = now - start
        if seconds < _LEAST_SECONDS:
            return moved.text
        keys_a_second = (keys - first_keys) / seconds
        text = f"{moved.text}, {rate_text(keys_a_second)}"
        left = _seconds_left(moved, keys_a_second, (slots - first_slots) / seconds)
        return text if left is None else f"{text}, {duration_text(left)} left"


def _seconds_left(moved: Moved, keys_a_second: float, slots_a_second: float) -> float | None:
    """The slower of keys and slots counts; None while one of them stands still."""
    needs = [(moved.all_slots - moved.slots, slots_a_second)]
    if moved.all_keys is not None:
        needs.append((moved.all_keys - moved.keys, keys_a_second))
    needs = [(left, rate) for left, rate in needs if left > 0]
    if any(rate <= 0 for _left, rate in needs):
        return None
    return max((left / rate for left, rate in needs), default=0.0)


def rate_text(keys_a_second: float) -> str:
    """A rate as a person reads it: two or three digits that mean something."""
    rounded = round(keys_a_second, -3) if keys_a_second >= 10000 else round(keys_a_second)
    return f"{rounded:.0f} keys/s"


def duration_text(seconds: float) -> str:
    """A duration with at most two units. What has begun counts, so that nothing is said to be over too early."""
    whole = -int(-seconds // 1)
    if whole < 60:
        return f"{whole} s"
    minutes = whole // 60
    if minutes < 60:
        return f"{minutes} min {whole % 60} s"
    return f"{minutes // 60} h {minutes % 60} min"
