# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Versions of Tyk's components, and from which on something holds. No I/O; private to this collection.

Tyk keeps several release lines alive at a time and brings changes back to the older ones, so a change has more than
one first version: 2.9.3 for the line 2.9, and 3.0.0 for everything from there on.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

Version = tuple[int, int, int]

# v5.8.6, 5.10, 5.15.0-rc3, 1:5.8.6-1 as dpkg writes it
_VERSION = re.compile(r"(?:[0-9]+:)?v?([0-9]{1,6})\.([0-9]{1,6})(?:\.([0-9]{1,6}))?(?:[-+~.][0-9A-Za-z.+~-]*)?")


def parse(text: str) -> Version:
    """Read a version as Tyk and the package managers write it. What comes before a release counts as the release.

    Raises:
        ValueError: it is none; the text says what is expected.
    """
    match = _VERSION.fullmatch(text.strip())
    if not match:
        raise ValueError(f"{text!r} is not a version such as 5.8.6")
    return int(match[1]), int(match[2]), int(match[3] or 0)


def show(version: Version) -> str:
    """The version as people write it."""
    return ".".join(map(str, version))


def reached(version: Version | None, since: Sequence[str]) -> bool:
    """Whether a version has what came with these first versions of their lines.

    Args:
        version: None stands for one that nobody knows, which is taken for the newest.
        since: in ascending order; each but the last holds for its own line (5.8 of 5.8.6) only, the last one for
            everything from there on. None at all means: in every version.
    """
    if version is None or not since:
        return True
    *lines, last = (parse(text) for text in since)
    return version >= last or any(version[:2] == line[:2] and version >= line for line in lines)


def passed(version: Version | None, until: str) -> bool:
    """Whether a version is later than the last one that has something; an empty text means that none is."""
    return bool(until) and (version is None or version > parse(until))


def spoken(since: Sequence[str]) -> str:
    """The first versions in words: 5.8.6 (line 5.8) or 5.10.0."""
    return " or ".join([*(f"{text} (line {'.'.join(text.split('.')[:2])})" for text in since[:-1]), *since[-1:]])
