# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection and may change at any time.

"""Which settings of the kernel Redis wants, and which of those in force differ. No I/O happens here."""

from __future__ import annotations

import typing as t


def differences(lines: t.Iterable[str], wanted: t.Mapping[str, str]) -> list[dict[str, str]]:
    """Compare what is in force with what is wanted.

    Args:
        lines: ``file:content``, as ``grep -H "" FILE...`` prints them; files that the kernel lacks are missing.
        wanted: the content that each file should have.

    Returns:
        ``file``, ``current`` and ``wanted`` of each that differs.
    """
    found = []
    for line in lines:
        file, _colon, current = line.partition(":")
        if file in wanted and not _suffices(file, current.strip(), wanted[file]):
            found.append({"file": file, "current": current.strip(), "wanted": wanted[file]})
    return found


def _suffices(file: str, current: str, wanted: str) -> bool:
    if file.endswith("/somaxconn"):
        return current.isdigit() and int(current) >= int(wanted)
    if file.endswith("/transparent_hugepage/enabled"):
        # The word in brackets is in force; "never" is as good as "madvise", since Redis does not ask for huge pages.
        return "[always]" not in current
    return current == wanted
