# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The progress file: what it says, and whose files it never touches."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from ansible_collections.apiops.tyk_redis.plugins.module_utils._clock import Clock
from ansible_collections.apiops.tyk_redis.plugins.module_utils._progress import Progress, ProgressError
from ansible_collections.apiops.tyk_redis.plugins.module_utils._progress_text import Moved


class Hand(Clock):
    """A clock that is turned by hand."""

    def __init__(self) -> None:
        self.time = 0.0

    def now(self) -> float:
        return self.time


def lines_of(path: Path) -> list[str]:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert all(re.match(r"\d\d:\d\d:\d\d ", line) for line in lines)
    return [line[9:] for line in lines]


def test_a_run_can_be_watched_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "progress"
    clock = Hand()
    progress = Progress(str(path), clock)
    assert path.stat().st_mode & 0o777 == 0o644
    progress.step(1, 2, "Introduce redis-4\nto redis-1.")
    assert lines_of(path) == ["step 1 of 2: Introduce redis-4 to redis-1."]
    progress.step(2, 2, "Move 100 slots.")
    for tenth in range(1, 26):
        clock.time = tenth / 10
        progress.moved(Moved(400 * tenth, 12000, 4 * tenth, 120))
    assert lines_of(path)[2:] == [
        "... 4000 of 12000 keys (40 of 120 slots), 4000 keys/s, 2 s left",
        "... 8000 of 12000 keys (80 of 120 slots), 4000 keys/s, 1 s left",
    ]
    progress.done()
    assert lines_of(path)[4:] == ["... 10000 of 12000 keys (100 of 120 slots) in 3 s, 4000 keys/s", "done"]
    assert progress.moves == ["10000 of 12000 keys (100 of 120 slots) in 3 s, 4000 keys/s"]
    assert progress.warning == ""


def test_each_run_begins_anew_and_ends_with_what_went_wrong(tmp_path: Path) -> None:
    path = tmp_path / "progress"
    Progress(str(path), Hand()).done()
    path.chmod(0o600)
    progress = Progress(str(path), Hand())
    assert lines_of(path) == []
    assert path.stat().st_mode & 0o777 == 0o644
    progress.failed("redis-2 does not answer.")
    assert lines_of(path) == ["failed: redis-2 does not answer."]


def test_without_a_file_only_the_result_is_kept() -> None:
    progress = Progress(None, Hand())
    progress.step(1, 1, "Move 1 slot.")
    progress.moved(Moved(5, 5, 1, 1))
    progress.done()
    assert progress.moves == ["5 of 5 keys (1 of 1 slots) in 0 s"]


def test_a_file_that_cannot_be_opened_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "progress"
    with pytest.raises(ProgressError) as caught:
        Progress(str(path), Hand())
    assert str(caught.value) == (
        f"The progress file {path} cannot be written (No such file or directory); name a file in an existing folder "
        "that belongs to the user of this run. Nothing was changed."
    )


def refused(path: Path) -> str:
    with pytest.raises(ProgressError) as caught:
        Progress(str(path), Hand())
    return str(caught.value)


def test_what_belongs_to_others_is_never_followed_nor_changed(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("12:00:00 mine\n", encoding="utf-8")
    link, second, pipe, text = (tmp_path / name for name in ("link", "second", "pipe", "text"))
    link.symlink_to(precious)
    assert "(it is a symbolic link)" in refused(link)
    os.link(precious, second)
    assert "because it has a second name, so it may be anybody's file;" in refused(second)
    os.mkfifo(pipe)
    assert "because it is no regular file;" in refused(pipe)
    text.write_text("127.0.0.1 localhost\n", encoding="utf-8")
    assert "because it holds something else than the progress of an earlier run;" in refused(text)
    assert "Is a directory" in refused(tmp_path)
    assert precious.read_text(encoding="utf-8") == "12:00:00 mine\n"
    assert text.read_text(encoding="utf-8") == "127.0.0.1 localhost\n"


def test_a_file_of_another_user_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "progress"
    path.write_text("12:00:00 theirs\n", encoding="utf-8")
    owner = path.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    assert f"because it belongs to another user (uid {owner});" in refused(path)
    assert path.read_text(encoding="utf-8") == "12:00:00 theirs\n"


def test_a_full_disk_is_a_warning_and_the_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "progress"
    progress = Progress(str(path), Hand())

    def full(_file: int, _content: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    progress.step(1, 1, "Move 1 slot.")
    monkeypatch.undo()
    progress.done()
    assert progress.warning == (
        f"The progress file {path} could not be written to the end (No space left on device); the run went on."
    )
    assert lines_of(path) == []
