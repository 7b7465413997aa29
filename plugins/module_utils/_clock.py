# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Time, as the code that waits for servers sees it.

Private to this collection. A simulation of servers brings a clock of its own.
"""

from __future__ import annotations

import time
from collections.abc import Iterator


class Clock:
    """Seconds that pass by themselves."""

    def now(self) -> float:
        """Seconds since some moment; never goes back."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def polls(self, seconds: float, first: float = 0.05, last: float = 0.5) -> Iterator[bool]:
        """Whether there is time left, again and again, with growing pauses from first to last; the last one says no."""
        deadline = self.now() + seconds
        pause = first
        while self.now() < deadline:
            yield True
            self.sleep(pause)
            pause = min(last, pause * 1.5)
        yield False
