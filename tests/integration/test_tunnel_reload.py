# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role tunnel sees by what HAProxy does, and not by what it was told, whether it has taken its files."""

from __future__ import annotations

import re
import shlex
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml
from servers import Servers

ROLE = Path(__file__).resolve().parents[2] / "roles" / "tunnel"
ADDRESS = "127.64.64.3"


class HAProxy:
    """One near end, run and reloaded as systemd does by the role's unit, except for its user and its restrictions."""

    def __init__(self, folder: Path, port: int) -> None:
        self._folder, self._port = folder, port
        self._config, self._log, self._unit = folder / "haproxy.cfg", folder / "log", folder / "unit"
        # What the role asks.
        tasks = yaml.safe_load((ROLE / "tasks" / "haproxy.yml").read_text(encoding="utf-8"))
        (look,) = (
            task for outer in tasks for task in outer.get("block", []) if task.get("register") == "__tunnel_unread"
        )
        self._look = [self._here(word) for word in look["ansible.builtin.command"]["argv"]]
        (folder / "run").mkdir()
        (folder / "certificates").mkdir()
        self._unit.write_text(
            self._rendered("tyk-redis-tunnel.service.j2", __tunnel_user="nobody", __tunnel_files=16000),
            encoding="utf-8",
        )
        self.configure(100)
        (start,) = self._commands("ExecStart")
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(start, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def _here(self, text: str) -> str:
        variables = {"tunnel_folder": "", "__tunnel_certificates": "/certificates", "__tunnel_haproxy_unit": "/unit"}
        for name, path in variables.items():
            text = text.replace(f"{{{{ {name} }}}}", f"{self._folder}{path}")
        return text.replace("/run/tyk-redis-tunnel", str(self._folder / "run"))

    def _rendered(self, name: str, **variables: Any) -> str:
        environment = jinja2.Environment(trim_blocks=True, keep_trailing_newline=True, undefined=jinja2.StrictUndefined)
        environment.filters["comment"] = "# {}".format
        template = environment.from_string((ROLE / "templates" / name).read_text(encoding="utf-8"))
        return self._here(template.render(ansible_managed="of a test", tunnel_folder=self._folder, **variables))

    def _commands(self, key: str) -> list[list[str]]:
        lines = re.findall(rf"^{key}=(.*)$", self._unit.read_text(encoding="utf-8"), re.M)
        return [shlex.split(line) for line in lines]

    def configure(self, connections: int, further: str = "") -> None:
        """Write its configuration, which may have a further proxy."""
        end = {"name": "dial", "kind": "dial", "peer": "redis1"}
        text = self._rendered(
            "haproxy.cfg.j2",
            tunnel_connections=connections,
            tunnel_tls_protocol="TLSv1.2",
            tunnel_ends=[{**end, "listen": f"{ADDRESS}:{self._port}", "target": f"{ADDRESS}:1"}],
            __tunnel_certificates="",
        )
        # No far end is needed, and so no certificate.
        self._config.write_text(re.sub(r" ssl crt .*", "", text) + further, encoding="utf-8")

    def reload(self) -> None:
        for command in self._commands("ExecReload"):
            subprocess.run([word.replace("$MAINPID", str(self._process.pid)) for word in command], check=True)

    def unread(self) -> list[str]:
        """What it has not read."""
        asked = subprocess.run(self._look, stdout=subprocess.PIPE, text=True, check=False)
        return asked.stdout.split() if asked.returncode == 0 else ["it has not begun"]

    def said(self, words: str) -> bool:
        return words in self._log.read_text(encoding="utf-8", errors="replace")

    def listens(self) -> bool:
        try:
            socket.create_connection((ADDRESS, self._port), 1).close()
        except OSError:
            return False
        return True

    def wait(self, reached: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 20
        while not reached():
            assert self._process.poll() is None and time.monotonic() < deadline, self._log.read_text(errors="replace")
            time.sleep(0.05)

    def end(self) -> None:
        self._process.terminate()
        self._process.wait()


@pytest.fixture
def haproxy(tmp_path: Path) -> Iterator[HAProxy]:
    process = HAProxy(tmp_path, Servers(tmp_path).free_port(ADDRESS))
    try:
        process.wait(lambda: process.listens() and process.unread() == [])
        yield process
    finally:
        process.end()


def test_what_it_has_read_is_read_and_what_it_has_not_is_not(haproxy: HAProxy, tmp_path: Path) -> None:
    haproxy.configure(200)
    (tmp_path / "certificates" / "host.crt").write_text("renewed")
    assert haproxy.unread() == [str(tmp_path / "haproxy.cfg"), str(tmp_path / "certificates" / "host.crt")]
    haproxy.reload()
    haproxy.wait(lambda: haproxy.unread() == [])
    assert haproxy.listens()


def test_a_reload_that_comes_to_nothing_leaves_it_unread(haproxy: HAProxy, tmp_path: Path) -> None:
    """Of a port that is taken only the running HAProxy can know, as of a limit that is too low."""
    with socket.create_server((ADDRESS, 0)) as taken:
        haproxy.configure(100, f"\nlisten further\n    bind {ADDRESS}:{taken.getsockname()[1]}\n")
        haproxy.reload()
        haproxy.wait(lambda: haproxy.said("Loading failure"))
        haproxy.wait(haproxy.listens)
        assert haproxy.unread() == [str(tmp_path / "haproxy.cfg")]
    # The next run tells it again.
    haproxy.reload()
    haproxy.wait(lambda: haproxy.unread() == [])
