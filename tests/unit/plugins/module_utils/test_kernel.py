# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.apiops.tyk_redis.plugins.module_utils._kernel import differences

OVERCOMMIT = "/proc/sys/vm/overcommit_memory"
BACKLOG = "/proc/sys/net/core/somaxconn"
HUGE_PAGES = "/sys/kernel/mm/transparent_hugepage/enabled"
WANTED = {OVERCOMMIT: "1", BACKLOG: "4096", HUGE_PAGES: "madvise"}


@pytest.mark.parametrize(
    ("line", "differs"),
    [
        pytest.param(f"{OVERCOMMIT}:1", False, id="as wanted"),
        pytest.param(f"{OVERCOMMIT}:0", True, id="overcommit guessed by the kernel"),
        pytest.param(f"{OVERCOMMIT}:2", True, id="a larger overcommit mode is not a better one"),
        pytest.param(f"{BACKLOG}:128", True, id="a short queue"),
        pytest.param(f"{BACKLOG}:4096", False, id="the wanted queue"),
        pytest.param(f"{BACKLOG}:65535", False, id="a longer queue is as good"),
        pytest.param(f"{HUGE_PAGES}:[always] madvise never", True, id="huge pages for everybody"),
        pytest.param(f"{HUGE_PAGES}:always [madvise] never", False, id="huge pages on request"),
        pytest.param(f"{HUGE_PAGES}:always madvise [never]", False, id="no huge pages"),
        pytest.param("/proc/sys/vm/swappiness:60", False, id="nobody asked about this one"),
    ],
)
def test_differences(line: str, differs: bool) -> None:
    file, _colon, current = line.partition(":")
    expected = [{"file": file, "current": current, "wanted": WANTED.get(file, "")}] if differs else []
    assert differences([line], WANTED) == expected


def test_a_file_that_the_kernel_lacks_is_no_difference() -> None:
    assert differences([f"{OVERCOMMIT}:1"], WANTED) == []
