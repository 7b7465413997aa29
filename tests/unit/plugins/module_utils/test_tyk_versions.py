# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.apiops.tyk_redis.plugins.module_utils._tyk_versions import (
    Version,
    parse,
    passed,
    reached,
    show,
    spoken,
)

NUMBERS = st.tuples(*[st.integers(0, 999)] * 3)


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("5.8.6", (5, 8, 6)),
        ("v5.8.6", (5, 8, 6)),
        ("5.10", (5, 10, 0)),
        ("5.15.0-rc3", (5, 15, 0)),
        ("1:5.8.6-1", (5, 8, 6)),
        ("5.8.6~rc1+deb12u1", (5, 8, 6)),
        (" 5.8.6\n", (5, 8, 6)),
    ],
)
def test_versions_as_tyk_and_package_managers_write_them(text: str, version: Version) -> None:
    assert parse(text) == version


@pytest.mark.parametrize("text", ["", "latest", "5", "5.x", "5.8.6.1x!", "five.8.6", "-5.8.6", "5..8"])
def test_what_is_no_version_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a version such as 5\.8\.6"):
        parse(text)


@given(st.text())
def test_no_text_is_too_strange(text: str) -> None:
    try:
        assert len(parse(text)) == 3
    except ValueError as exc:
        assert "is not a version" in str(exc)


@given(NUMBERS)
def test_a_version_is_read_back(version: Version) -> None:
    assert parse(show(version)) == version


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("5.8.5", False),
        ("5.8.6", True),
        ("5.8.15", True),
        ("5.9.0", False),
        ("5.9.9", False),
        ("5.10.0", True),
        ("6.0.0", True),
        ("5.3.13", False),
    ],
)
def test_a_change_that_was_brought_back_counts_in_its_line_only(version: str, expected: bool) -> None:
    assert reached(parse(version), ("5.8.6", "5.10.0")) is expected


@given(NUMBERS, NUMBERS)
def test_one_first_version_is_a_simple_bound(version: Version, since: Version) -> None:
    assert reached(version, (show(since),)) == (version >= since)
    assert passed(version, show(since)) == (version > since)


def test_nobody_knows_the_version() -> None:
    assert reached(None, ("5.8.6",)) and passed(None, "2.9.2")
    assert reached((0, 0, 1), ()) and not passed((9, 9, 9), "") and not passed(None, "")


def test_first_versions_in_words() -> None:
    assert spoken(("5.8.6", "5.10.0")) == "5.8.6 (line 5.8) or 5.10.0"
    assert spoken(("1.9.0",)) == "1.9.0"
    assert spoken(("2.9.6", "3.0.2", "3.1.1")) == "2.9.6 (line 2.9) or 3.0.2 (line 3.0) or 3.1.1"
