# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A file in which a person can watch a run.

Private to this collection. It holds the sentences of the plan and numbers, and neither key names nor passwords.
"""

from __future__ import annotations

import os
import re
import stat
import threading
import time

from ansible_collections.apiops.tyk_redis.plugins.module_utils._clock import Clock
from ansible_collections.apiops.tyk_redis.plugins.module_utils._progress_text import (
    Moved,
    Pace,
    duration_text,
    rate_text,
)

_SECONDS_BETWEEN_LINES = 1.0
_OWN_LINE = re.compile(rb"\d\d:\d\d:\d\d \S")


class ProgressError(Exception):
    """The file cannot be written. The text is finished."""


class Progress:
    """Writes each line at once. Several threads may tell what they have moved.

    Args:
        path: the file, which is begun anew; without one nothing is written.
        clock: the time by which rates are measured.

    Raises:
        ProgressError: the file cannot be written, or it is somebody else's.
    """

    def __init__(self, path: str | None, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._lock = threading.Lock()
        self._file = None if path is None else _open(path)
        self._began = clock.now()
        self._pace = Pace(self._began)
        self._written = self._began
        self._moved: Moved | None = None
        self.warning = ""
        self.moves: list[str] = []

    def step(self, number: int, total: int, sentence: str) -> None:
        """A step begins. The number counts from 1."""
        with self._lock:
            self._end_move()
            self._began = self._written = self._clock.now()
            self._pace = Pace(self._began)
            self._write(f"step {number} of {total}: {sentence}")

    def moved(self, moved: Moved) -> None:
        """What the present step has moved by now, all in all; written at most every second."""
        with self._lock:
            now = self._clock.now()
            self._moved = moved
            self._pace.saw(now, moved)
            if now - self._written >= _SECONDS_BETWEEN_LINES:
                self._written = now
                self._write(f"... {self._pace.text(moved)}")

    def done(self) -> None:
        self._end("done")

    def failed(self, sentence: str) -> None:
        self._end(f"failed: {sentence}")

    def _end(self, line: str) -> None:
        with self._lock:
            self._end_move()
            self._write(line)
            self._close()

    def _end_move(self) -> None:
        """Say what a step has moved altogether; the result of the run returns it too."""
        moved, self._moved = self._moved, None
        if moved is None:
            return
        seconds = self._clock.now() - self._began
        text = f"{moved.text} in {duration_text(seconds)}"
        if seconds > 0:
            text += f", {rate_text(moved.keys / seconds)}"
        self.moves.append(text)
        self._write(f"... {text}")

    def _write(self, line: str) -> None:
        if self._file is None:
            return
        text = f"{time.strftime('%H:%M:%S')} {' '.join(line.split())}\n"
        try:
            _write_all(self._file, text.encode("utf-8", "backslashreplace"))
        except OSError as exc:
            # The run matters more than the file that tells of it.
            self.warning = (
                f"The progress file {self._path} could not be written to the end ({exc.strerror}); the run went on."
            )
            self._close()

    def _close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            os.close(file)


def _open(path: str) -> int:
    """Open the file for writing and make sure that it is nobody else's, whatever lies at its path."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        file = os.open(path, flags, 0o644)
    except OSError as exc:
        reason = "it is a symbolic link" if os.path.islink(path) else exc.strerror
        raise ProgressError(
            f"The progress file {path} cannot be written ({reason}); name a file in an existing folder that belongs to "
            "the user of this run. Nothing was changed."
        ) from exc
    try:
        foreign = _foreign(file)
        if foreign:
            raise ProgressError(
                f"The progress file {path} is not written, because {foreign}; name another file, or remove that one. "
                "Nothing was changed."
            )
        os.ftruncate(file, 0)
        os.lseek(file, 0, os.SEEK_SET)
        os.fchmod(file, 0o644)
    except BaseException:
        os.close(file)
        raise
    return file


def _foreign(file: int) -> str:
    """Why the open file is not one of an earlier run or a new one."""
    found = os.fstat(file)
    if not stat.S_ISREG(found.st_mode):
        return "it is no regular file"
    if found.st_uid != os.geteuid():
        return f"it belongs to another user (uid {found.st_uid})"
    if found.st_nlink != 1:
        return "it has a second name, so it may be anybody's file"
    if found.st_size and not _OWN_LINE.match(os.read(file, 16)):
        return "it holds something else than the progress of an earlier run"
    return ""


def _write_all(file: int, content: bytes) -> None:
    while content:
        content = content[os.write(file, content) :]
