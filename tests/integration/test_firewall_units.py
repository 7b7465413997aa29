# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever Debian's own unit of nftables does to all tables, the one of the role firewall is there afterwards.

The units run in a manager of systemd's own, with a file in the place of the kernel's table.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import jinja2
import pytest

TEMPLATES = Path(__file__).parents[2] / "roles" / "firewall" / "templates"
SYSTEMD = Path("/lib/systemd/systemd")
OURS = "tyk-redis-firewall.service"
# As in the package of Debian 11, 12 and 13, without what a manager of a user cannot do.
NFTABLES = """\
[Unit]
Description=nftables
Wants=network-pre.target
Before=network-pre.target shutdown.target
Conflicts=shutdown.target
DefaultDependencies=no

[Service]
Type=oneshot
RemainAfterExit=yes
StandardInput=null
ExecStart=/usr/sbin/nft -f /etc/nftables.conf
ExecReload=/usr/sbin/nft -f /etc/nftables.conf
ExecStop=/usr/sbin/nft flush ruleset
"""
NFT = """\
#!/bin/sh
# Answers as nft does, with a file for the table inet tyk_redis.
table=${0%/*}/table
[ "$1" != -f ] || set -- "$(cat "$2")"
case $* in
  *'table inet tyk_redis {'*) touch "$table" ;;
  'table inet tyk_redis; delete table inet tyk_redis'|'flush ruleset'*) rm -f "$table" ;;
  'delete table inet tyk_redis') rm "$table" ;;
  *) exit 1 ;;
esac
"""
START = '[ -d /run/systemd/system ] || { mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/system; }; exec "$0" "$@"'


class Units:
    """The two units, and a manager that runs them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.table = root / "table"
        self.environment = {
            **os.environ,
            "HOME": str(root),
            "XDG_RUNTIME_DIR": str(root),
            "SYSTEMD_UNIT_PATH": str(root / "units"),
        }

    def write(self) -> None:
        (self.root / "units" / "nftables.service.d").mkdir(parents=True)
        for name in ("basic", "local-fs", "network-pre", "shutdown", "sysinit"):
            self._put(f"units/{name}.target", "[Unit]\n")
        self._put("units/boot.target", f"[Unit]\nWants=nftables.service {OURS}\n")
        self._put("nft", NFT).chmod(0o755)
        self._put("nftables.conf", "flush ruleset\n")
        self._put("rules", "table inet tyk_redis {\n}\n")
        self._put("units/nftables.service", NFTABLES)
        self._put(f"units/{OURS}", self._rendered(f"{OURS}.j2"))
        self._put("units/nftables.service.d/tyk-redis-firewall.conf", self._rendered("nftables.conf.j2"))

    def _put(self, name: str, text: str) -> Path:
        path = self.root / name
        for there, here in (("/usr/sbin/nft", "nft"), ("/etc/nftables.conf", "nftables.conf")):
            text = text.replace(there, str(self.root / here))
        path.write_text(text)
        return path

    def _rendered(self, name: str) -> str:
        environment = jinja2.Environment(undefined=jinja2.StrictUndefined)
        environment.filters["comment"] = lambda text: f"# {text}"
        template = environment.from_string((TEMPLATES / name).read_text())
        return template.render(ansible_managed="Managed.", __firewall_rules=self.root / "rules") + "\n"

    def systemctl(self, *arguments: str) -> str:
        """What systemctl says, once the manager has nothing left to do."""
        command = ["systemctl", "--user", *arguments]
        said = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=20, check=False)
        if arguments[0] not in ("is-active", "list-jobs"):
            assert said.returncode == 0, said.stderr
            while "No jobs running" not in self.systemctl("list-jobs"):
                time.sleep(0.05)
        return said.stdout.strip()

    def state(self) -> tuple[bool, str]:
        """Whether the table is there, and what our unit says about itself."""
        return self.table.exists(), self.systemctl("is-active", OURS)


@pytest.fixture(name="units", scope="module")
def fixture_units() -> Iterator[Units]:
    if os.geteuid() or not SYSTEMD.exists() or not shutil.which("unshare"):
        pytest.skip("it takes root, systemd and unshare")
    # Not in pytest's own folder, whose path is too long for a socket.
    with tempfile.TemporaryDirectory(prefix="tyk-") as folder:
        units = Units(Path(folder))
        units.write()
        # It runs nowhere but where /run/systemd/system is.
        command = ["unshare", "--mount", "sh", "-c", START, str(SYSTEMD), "--user", "--unit=basic.target"]
        with (units.root / "log").open("w") as log:
            process = subprocess.Popen(command, env=units.environment, stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + 120
            while units.systemctl("is-active", "basic.target") != "active":
                if process.poll() is not None or time.monotonic() > deadline:
                    pytest.fail(f"systemd's manager does not come up: {(units.root / 'log').read_text()}")
                time.sleep(0.1)
            yield units
        finally:
            process.kill()
            process.wait()


@pytest.fixture(autouse=True)
def nothing_runs(units: Units) -> None:
    units.systemctl("stop", "boot.target", "nftables.service", OURS)
    units.systemctl("reset-failed")
    units.table.unlink(missing_ok=True)


@pytest.mark.parametrize("running", [False, True], ids=["not running", "running"])
@pytest.mark.parametrize("action", ["start", "reload-or-restart", "restart", "stop"])
def test_the_table_outlives_whatever_the_unit_of_nftables_does(units: Units, running: bool, action: str) -> None:
    if running:
        units.systemctl("start", "nftables.service")
    units.systemctl("start", OURS)
    units.systemctl(action, "nftables.service")
    assert units.state() == (True, "active")


def test_the_table_is_there_after_a_boot_with_both(units: Units) -> None:
    units.systemctl("start", "boot.target")
    assert units.state() == (True, "active")
    assert units.systemctl("is-active", "nftables.service") == "active"


def test_our_unit_stops_well_with_a_table_and_without(units: Units) -> None:
    for flushed in (False, True):
        units.systemctl("start", OURS)
        if flushed:
            units.table.unlink()
        units.systemctl("stop", OURS)
        assert units.state() == (False, "inactive")
