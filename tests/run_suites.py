# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run all suites of the quality gate, or those named as arguments, and say at the end what each one came to.

The output of every suite is shown as it comes and kept in .cache/logs. A failing suite does not stop the others.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache"
COLLECTIONS = CACHE / "tree"
TREE = COLLECTIONS / "ansible_collections" / "apiops" / "tyk_redis"
ARTEFACT = CACHE / "artefact"
# What the collection depends on.
CRYPTO = CACHE / "collections"
SANITY_HOME = CACHE / "home"
PYTHON_VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
# These tests wait for servers most of the time: with three workers, two cores were idle for more than half of it.
INTEGRATION_WORKERS = str(3 * (os.cpu_count() or 1))
# Repeated at the end for those who see no more than the end of the output.
FAILURES_SHOWN, FAILURE_WIDTH = 8, 300
SCENARIOS = ("default", "life", "managed", "debian11", "debian13", "tls", "spiped", "tls_tunnel")
COLOURS = re.compile(rb"\x1b\[[0-9;]*m")
# A collection of the same name in the user's home must not be taken for ours; the sockets stay there, because their
# paths must be short.
COMMON = {
    "ANSIBLE_HOME": str(CACHE / "ansible"),
    "ANSIBLE_NOCOWS": "1",
    "ANSIBLE_SSH_CONTROL_PATH_DIR": "~/.ansible/cp",
    "PYTHONDONTWRITEBYTECODE": "1",
}
# What ansible-test says as it begins one of its sanity tests, and what it says at the end about those that failed.
SANITY = re.compile(r'^Running sanity test "[^"]+".*$', re.M)
SANITY_FAILED = re.compile(r"The (\d+) sanity test\(s\) listed below")
# Lines that name what failed, as pytest, ansible-test and ansible-playbook begin them.
# Molecule draws a line to the left of what ansible-playbook prints.
NAMES_FAILURE = re.compile(r"^(?:\s*│\s*)?(?:FAILED |ERROR:? |\[ERROR\]: |fatal: |failed: )")
# The last line that pytest prints, for instance "==== 3 failed, 40 passed, 1 skipped in 2.31s ====".
SUMMARY = re.compile(r"^=+ (.*\b(?:passed|failed|errors?|skipped|no tests ran)\b.*) in [\d.:]+.*=+$")


@dataclass
class Suite:
    """One or several commands that stand or fall together."""

    name: str
    commands: list[list[str]]
    folder: Path = ROOT
    environment: dict[str, str] = field(default_factory=dict)
    # Whether the commands run pytest or sanity tests, which are then counted one by one.
    counted: bool = False


@dataclass
class Outcome:
    name: str
    passed: int
    failed: int
    skipped: int
    seconds: float
    remark: str = ""
    failures: list[str] = field(default_factory=list)


def tracked_files() -> list[str]:
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return [name for name in listing.split("\0") if name and os.path.lexists(ROOT / name)]


def copy_tree() -> None:
    """Lay the working tree out as ansible-test wants it: a real folder ansible_collections/NAMESPACE/NAME."""
    shutil.rmtree(TREE, ignore_errors=True)
    # ansible-test asks git for the files, and the repository around this folder ignores it.
    subprocess.run(["git", "init", "--quiet", TREE], check=True)
    for name in tracked_files():
        target = TREE / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target, follow_symlinks=False)


def install_sanity_pip() -> None:
    """Give ansible-test its pip bootstrap, under a home of its own: the user's stays as it is."""
    cache = SANITY_HOME / ".ansible" / "test" / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    # The names that the releases of ansible-core from 2.19 on look for.
    for name in ("get_pip_24_2.py", "get_pip_25_2.py"):
        shutil.copyfile(ROOT / "tests" / "sanity_pip.py", cache / name)


def suites() -> Iterator[Suite]:
    ansible_test = {"HOME": str(SANITY_HOME)}
    in_tree = {"ANSIBLE_COLLECTIONS_PATH": f"{COLLECTIONS}:{CRYPTO}"}
    installed = {"ANSIBLE_COLLECTIONS_PATH": f"{ARTEFACT / 'collections'}:{CRYPTO}"}
    python = f"--python={PYTHON_VERSION}"

    yield Suite("ruff", [["ruff", "check", "."], ["ruff", "format", "--check", "."]])
    yield Suite(
        "mypy",
        [["mypy", "plugins"], ["mypy", "--python-version=3.11", *map(str, sorted((ROOT / "tests").glob("*.py")))]],
        environment={"MYPYPATH": str(COLLECTIONS), "MYPY_CACHE_DIR": str(CACHE / "mypy")},
    )
    yield Suite("yamllint", [["yamllint", "--strict", "."]])
    yield Suite("ansible-lint", [["ansible-lint", "--offline", "--strict"]], environment=in_tree)
    yield Suite("shellcheck", [["shellcheck", *(name for name in tracked_files() if is_shell(ROOT / name))]])
    yield Suite("changelog", [["antsibull-changelog", "lint"]], folder=TREE, environment=in_tree)
    yield Suite(
        "docs",
        [
            ["antsibull-docs", "lint-collection-docs", "--plugin-docs", "--validate-collection-refs=all", "."],
            [sys.executable, "tests/settings_page.py", "--check"],
        ],
        folder=TREE,
        environment={"PYTHONPATH": str(COLLECTIONS), **in_tree},
    )
    yield Suite(
        "sanity",
        [["ansible-test", "sanity", "--color=no", python]],
        folder=TREE,
        environment=ansible_test,
        counted=True,
    )
    yield Suite(
        "units",
        [["ansible-test", "units", "--color=no", python]],
        folder=TREE,
        environment=ansible_test,
        counted=True,
    )
    yield Suite(
        "integration",
        [
            [
                *(sys.executable, "-m", "pytest", "-p", "no:cacheprovider"),
                *("-n", INTEGRATION_WORKERS, "--dist=worksteal", "--durations=20", "tests/integration"),
            ]
        ],
        folder=TREE,
        environment={"PYTHONPATH": str(COLLECTIONS), **in_tree},
        counted=True,
    )
    playbooks = sorted(path.stem for path in (ROOT / "playbooks").glob("*.yml") if is_playbook(path))
    yield Suite(
        "artefact",
        [
            [sys.executable, "tests/artefact.py", str(ARTEFACT), "--judge"],
            *(
                ["ansible-playbook", "--syntax-check", "--inventory", str(inventory), f"apiops.tyk_redis.{playbook}"]
                for playbook in playbooks
                for inventory in [*sorted((ROOT / "examples").glob("*/")), ROOT / "molecule/default/inventory"]
            ),
        ],
        environment=installed,
    )
    for scenario in SCENARIOS:
        state = CACHE / "molecule" / scenario
        yield Suite(
            f"molecule-{scenario}",
            [
                ["molecule", "--base-config=molecule/config.yml", command, f"--scenario-name={scenario}"]
                for command in ("destroy", "test")
            ],
            environment={**installed, "MOLECULE_EPHEMERAL_DIRECTORY": str(state)},
        )


def is_shell(path: Path) -> bool:
    if path.is_symlink() or not path.is_file():
        return False
    with path.open("rb") as stream:
        return re.match(rb"#!.*\b(ba|da)?sh\b", stream.readline()) is not None


def is_playbook(path: Path) -> bool:
    return (
        re.search(r"^(- |  )(hosts|import_playbook|ansible\.builtin\.import_playbook):", path.read_text(), re.M)
        is not None
    )


def run(command: list[str], suite: Suite, log: Path) -> tuple[int, str]:
    """Run one command, show and keep what it prints; return its exit code and its output."""
    environment = {**os.environ, **COMMON, **suite.environment}
    output = []
    print(f"$ {' '.join(command)}", flush=True)
    with log.open("ab") as kept:
        kept.write(f"$ {' '.join(command)}\n".encode())
        process = subprocess.Popen(
            command,
            cwd=suite.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert process.stdout is not None
        for line in process.stdout:
            sys.stdout.buffer.write(line)
            sys.stdout.buffer.flush()
            plain = COLOURS.sub(b"", line)
            kept.write(plain)
            output.append(plain.decode(errors="replace"))
    return process.wait(), "".join(output)


def count(output: str) -> dict[str, int]:
    """Add up pytest's summaries (ansible-test runs it once for each kind of code) and the sanity tests."""
    counts = {"passed": 0, "failed": 0, "error": 0, "skipped": 0}
    for line in output.splitlines():
        summary = SUMMARY.match(line.strip())
        for number, word in re.findall(r"(\d+) (passed|failed|error|skipped)", summary[1] if summary else ""):
            counts[word] += int(number)
    if sanity := len(set(SANITY.findall(output))):
        failed = SANITY_FAILED.search(output)
        counts["failed"] += int(failed[1]) if failed else 0
        counts["passed"] += sanity - counts["failed"]
    return counts


def execute(suite: Suite) -> Outcome:
    log = CACHE / "logs" / f"{suite.name}.log"
    log.write_bytes(b"")
    outcome = Outcome(suite.name, 0, 0, 0, 0.0)
    started = time.monotonic()
    print(f"\n=== {suite.name}", flush=True)
    for command in suite.commands:
        try:
            code, output = run(command, suite, log)
        except OSError as error:
            code, output = 127, ""
            print(error)
        if code:
            outcome.failures += [line.rstrip() for line in output.splitlines() if NAMES_FAILURE.match(line)]
        if suite.counted:
            counts = count(output)
            outcome.passed += counts["passed"]
            outcome.failed += counts["failed"] + counts["error"]
            outcome.skipped += counts["skipped"]
            if code and not outcome.failed:
                outcome.failed += 1
                outcome.remark = f"exit code {code}"
        elif code:
            outcome.failed += 1
            outcome.remark = f"exit code {code}: {Path(command[0]).name}"
        else:
            outcome.passed += 1
    if not outcome.passed + outcome.failed:
        outcome.failed, outcome.remark = 1, "ran no test at all"
    outcome.seconds = time.monotonic() - started
    return outcome


def main() -> int:
    copy_tree()
    install_sanity_pip()
    known = list(suites())
    chosen = sys.argv[1:] or [suite.name for suite in known]
    unknown = sorted(set(chosen) - {suite.name for suite in known})
    if unknown:
        print(f"No suite is called {', '.join(unknown)}. There are: {', '.join(suite.name for suite in known)}.")
        return 2
    (CACHE / "logs").mkdir(parents=True, exist_ok=True)
    outcomes = [execute(suite) for suite in known if suite.name in chosen]
    print(f"\n{'suite':<20} {'result':<8} {'passed':>6} {'failed':>6} {'skipped':>7} {'seconds':>8}")
    for one in outcomes:
        result = "FAILED" if one.failed else "ok"
        numbers = f"{one.passed:>6} {one.failed:>6} {one.skipped:>7} {one.seconds:>8.1f}"
        print(f"{one.name:<20} {result:<8} {numbers}  {one.remark}".rstrip())
    for one in outcomes:
        for line in one.failures[-FAILURES_SHOWN:]:
            print(f"{one.name}: {line[:FAILURE_WIDTH]}")
    failed = sum(one.failed for one in outcomes)
    print(f"{sum(one.passed for one in outcomes)} passed, {failed} failed", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
