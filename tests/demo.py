# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The demo: hosts, the installed artefact, playbooks/site.yml and playbooks/verify.yml, and where the seconds went."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DEMO = ROOT / ".cache" / "demo"
LOG = DEMO / "ansible.log"
REPORT = DEMO / "report.txt"
INVENTORY = "molecule/default/inventory"


class Demo:
    """Runs the steps one after another and keeps the time of each."""

    def __init__(self) -> None:
        self.times: list[tuple[str, float]] = []
        self.environment = {
            **os.environ,
            "LAB_NAME": "demo",
            "LAB_SUBNET": os.environ.get("LAB_SUBNET", "198.18.20"),
            # Its own copy of this collection, and what that depends on.
            "ANSIBLE_COLLECTIONS_PATH": f"{DEMO / 'collections'}:{ROOT / '.cache' / 'collections'}",
            # A collection of the same name in the user's home must not be taken for ours; the sockets stay there,
            # because their paths must be short.
            "ANSIBLE_HOME": str(ROOT / ".cache" / "ansible"),
            "ANSIBLE_SSH_CONTROL_PATH_DIR": "~/.ansible/cp",
            "ANSIBLE_FORKS": "10",
            # The report of verify is a table of several lines.
            "ANSIBLE_CALLBACK_RESULT_FORMAT": "yaml",
            "ANSIBLE_LOG_PATH": str(LOG),
            # A cow on this machine has no say in what the demo looks like.
            "ANSIBLE_NOCOWS": "1",
        }

    def step(self, name: str, what: str, *command: str) -> None:
        print(f"\n=== {what}\n    $ {' '.join(command)}", flush=True)
        started = time.monotonic()
        code = subprocess.run(command, cwd=ROOT, env=self.environment, check=False).returncode
        self.times.append((name, time.monotonic() - started))
        if code:
            print(f"\nThe step above ended with exit code {code}. Its log is {LOG.relative_to(ROOT)}.")
            self.report()
            if REPORT.exists():
                print(f"\n{REPORT.read_text()}")
            sys.exit(1)

    def report(self) -> None:
        print("\nWhere the seconds went:")
        for name, seconds in self.times:
            print(f"  {name:<40} {seconds:6.1f}")
        packages = seconds_of_tasks(LOG, "Install")
        if packages:
            print(f"  {'of converge: installing packages':<40} {packages:6.1f}")
        print(f"  {'all':<40} {sum(seconds for name, seconds in self.times):6.1f}")


def seconds_of_tasks(log: Path, word: str) -> float:
    """Sum the time of all tasks whose name has this word, from the times at which Ansible's log says they began."""
    begins: list[tuple[datetime, str]] = []
    for line in log.read_text().splitlines():
        found = re.match(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}) .*?\| (?:TASK|RUNNING HANDLER|PLAY) (.*)", line)
        if found:
            begins.append((datetime.strptime(found[1], "%Y-%m-%d %H:%M:%S,%f"), found[2]))
    ends = [begin for begin, name in begins[1:]]
    return sum((end - begin).total_seconds() for (begin, name), end in zip(begins, ends) if word in name)


def verify(demo: Demo, playbook: tuple[str, ...]) -> None:
    demo.step(
        "verify",
        "Proving it, from every Tyk host",
        *playbook,
        "apiops.tyk_redis.verify",
        "--extra-vars",
        f"tyk_redis_report={REPORT}",
    )


def main() -> None:
    DEMO.mkdir(parents=True, exist_ok=True)
    LOG.write_text("")
    # A report of an earlier run must not be taken for that of this one.
    REPORT.unlink(missing_ok=True)
    LOG.chmod(0o600)
    demo = Demo()
    playbook = ("ansible-playbook", "--inventory", INVENTORY)
    if sys.argv[1:] == ["verify"]:
        verify(demo, playbook)
        return
    demo.step(
        "hosts", "Making ten hosts (the first time, building their image too)", *playbook, "molecule/shared/create.yml"
    )
    demo.step("Tyk's files", "Leaving behind what Tyk's packages would", *playbook, "molecule/shared/prepare.yml")
    demo.step(
        "artefact",
        "Building the collection and installing it as a user would",
        sys.executable,
        "tests/artefact.py",
        str(DEMO),
    )
    demo.step("converge", "Making the Redis Cluster and configuring Tyk for it", *playbook, "apiops.tyk_redis.site")
    verify(demo, playbook)
    demo.report()
    print(f"\n{REPORT.read_text()}")
    print(
        "The hosts stay up. Look inside with `make shell HOST=redis1` (or redis2 to redis6, gateway1, dashboard1,"
        "\npump1, mdcb1). A second `make demo` changes nothing. `make clean` removes everything."
    )


if __name__ == "__main__":
    main()
