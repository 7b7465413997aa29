# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run a playbook and kill it, with all that it has started, once it has said certain texts: its controller is lost.

Usage: cut.py TEXTS COMMAND...
TEXTS is a list in JSON. They are looked for one after the other, each in a line of its own. Ends with 1 when the
command was killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys


def descendants(root: int) -> list[int]:
    """The process and all below it, those above first."""
    table = subprocess.run(["ps", "-eo", "pid=,ppid="], check=True, capture_output=True, text=True).stdout
    children: dict[int, list[int]] = {}
    for line in table.splitlines():
        pid, parent = map(int, line.split())
        children.setdefault(parent, []).append(pid)
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found


def main() -> int:
    awaited, command = json.loads(sys.argv[1]), sys.argv[2:]
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    for line in process.stdout:
        print(line, end="", flush=True)
        if awaited[0] in line:
            del awaited[0]
        if not awaited:
            for pid in descendants(process.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.wait()
            print("It was cut off.")
            return 1
    print(f"It ended with {process.wait()} and never came to {awaited[0]!r}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
