# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is written for C(--env-file) as podman reads it. It makes a container of an empty folder, and starts none."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.apiops.tyk_redis.plugins.module_utils._env_document import DOCKER, EnvDocument, encode, read

VALUES = [
    *("plain", " leading", "trailing ", "\ttab\t", "it's", '"quoted"', "'quoted'", "\\", "end\\", "\\n", "$", "$$"),
    *("$HOME", "${HOME}", "#", "a #b", "=", "a=b", "`id`", "!", "%h", "é\u00a0\u2028", "\x01", "[::1]:6379,[::2]:6379"),
    "x" * 60000,
]


class Podman:
    """Its own storage and state, so that nothing of this machine's containers is touched."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._command = ["podman", "--storage-driver", "vfs"]
        for option in ("root", "runroot", "tmpdir", "network-config-dir"):
            self._command += [f"--{option}", str(folder / option)]
        (folder / "empty").mkdir()

    def run(self, *arguments: str) -> str:
        # Names that files pass on must not come from whoever runs the tests.
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PASSED": "on"}
        done = subprocess.run(
            [*self._command, *arguments], env=environment, capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def environment(self, content: bytes) -> dict[str, str]:
        file = self._folder / "tyk.env"
        file.write_bytes(content)
        container = self.run(
            *("create", "--network", "none", "--rootfs", "--env-file", str(file), str(self._folder / "empty"), "true")
        )
        try:
            entries = json.loads(self.run("inspect", "--format", "{{json .Config.Env}}", container))
        finally:
            self.run("rm", container)
        return dict(entry.split("=", 1) for entry in entries)


@pytest.fixture(name="podman", scope="module")
def fixture_podman() -> Iterator[Podman]:
    # The folders of pytest are deeper than the 50 characters that podman takes for its state.
    with tempfile.TemporaryDirectory(prefix="podman-") as folder:
        yield Podman(Path(folder))


def test_podman_reads_what_was_edited(podman: Podman) -> None:
    text = "# Redis\r\n  OTHER= kept \r\nV0=old\r\nPASSED\r\nV0=older"
    changes = {f"V{number}": value for number, value in enumerate(VALUES)}
    document = EnvDocument(text, DOCKER).edited(changes)
    content = encode(document.text)
    found = podman.environment(content)
    assert {name: found[name] for name in changes} == changes
    assert (found["OTHER"], found["PASSED"]) == (" kept ", "on")
    ours = {variable.name: variable.value for variable in read(content, "tyk.env", DOCKER).assignments}
    assert ours == {**changes, "OTHER": " kept "}


def test_podman_reads_what_the_reader_says(podman: Podman) -> None:
    content = b"A=1\n\tB='2' #3\n# C=4\n\n #D=5\nA=\nA= 6\nE=7\r8\r\nF=\nNOWHERE\n"
    found = podman.environment(content)
    ours = {variable.name: variable.value for variable in read(content, "tyk.env", DOCKER).assignments}
    assert ours == {"A": " 6", "B": "'2' #3", "E": "7\r8", "F": ""}
    assert {name: value for name, value in found.items() if name in {"A", "B", "C", "D", "E", "F", "NOWHERE"}} == ours
