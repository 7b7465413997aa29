# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role pki with hosts that are folders of this machine, and what it does when the authority's key is not there."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

COLLECTION = Path(__file__).resolve().parents[2]
PLAYBOOK = [
    {
        "hosts": "hosts",
        "gather_facts": False,
        "tasks": [{"ansible.builtin.include_role": {"name": "apiops.tyk_redis.pki"}}],
    }
]
NOTHING_ISSUED = "so that nothing is issued. Certificates stay as they are."


@dataclass
class Ran:
    code: int
    said: str

    @property
    def changed(self) -> bool:
        return re.search(r"changed=[1-9]", self.said) is not None


class Hosts:
    """Hosts whose files are in folders of their own, with the authority's host beside them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.names = ["redis1", "redis2"]
        # The packages of this machine are nobody's business.
        means = folder / "bin"
        means.mkdir()
        (means / "dpkg-query").write_text("#!/bin/sh\nprintf installed\n", encoding="ascii")
        (means / "dpkg-query").chmod(0o755)
        (folder / "play.yml").write_text(json.dumps(PLAYBOOK), encoding="utf-8")

    def run(self, *arguments: str, keeper: str = "keeper", **variables: Any) -> Ran:
        local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
        # Nobody listens there.
        away = {"ansible_host": "127.0.0.1", "ansible_port": 1}
        given = {
            "pki_group": "root",
            "pki_folder": str(self.folder / "tls"),
            "pki_authority_folder": str(self.folder / "authority"),
            "pki_authority_host": keeper,
            "pki_addresses": ["192.0.2.11"],
            **variables,
        }
        hosts = {name: {**local, "pki_use": name} for name in self.names}
        inventory = {
            "all": {"children": {"hosts": {"hosts": hosts}, "others": {"hosts": {"keeper": local, "gone": away}}}}
        }
        (self.folder / "hosts.json").write_text(json.dumps(inventory), encoding="utf-8")
        ended = subprocess.run(
            [
                *("ansible-playbook", "--inventory", str(self.folder / "hosts.json"), str(self.folder / "play.yml")),
                *("--extra-vars", json.dumps(given), *arguments),
            ],
            check=False,
            capture_output=True,
            text=True,
            env={
                **os.environ,
                "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
                "ANSIBLE_HOME": str(self.folder / "home"),
                "ANSIBLE_NOCOLOR": "true",
            },
        )
        return Ran(ended.returncode, re.sub(r"\s+", " ", ended.stdout + ended.stderr))

    def text(self, path: str) -> str:
        return (self.folder / path).read_text(encoding="ascii")

    def verified(self, trusting: str, shown: str) -> bool:
        command = ["openssl", "verify", "-CAfile", f"tls/{trusting}/ca.crt", f"tls/{shown}/host.crt"]
        return subprocess.run(command, check=False, cwd=self.folder, capture_output=True).returncode == 0

    def everything(self) -> dict[str, bytes]:
        files = (path for name in ("tls", "authority") for path in (self.folder / name).rglob("*") if path.is_file())
        return {str(path): path.read_bytes() for path in files}


@pytest.fixture(name="hosts")
def fixture_hosts(tmp_path: Path) -> Hosts:
    if os.geteuid() != 0:
        pytest.skip("the role gives its files to root")
    return Hosts(tmp_path)


def test_four_runs(hosts: Hosts) -> None:
    assert (hosts.run("--check").changed, hosts.everything()) == (True, {})
    made = hosts.run()
    assert (made.code, made.changed) == (0, True)
    assert all(hosts.verified(one, other) for one in hosts.names for other in hosts.names)
    before = hosts.everything()
    for arguments in (["--check"], []):
        again = hosts.run(*arguments)
        assert (again.code, again.changed) == (0, False)
    assert hosts.everything() == before
    assert all(oct(path.stat().st_mode & 0o777) == "0o640" for path in hosts.folder.glob("tls/*/host.key"))
    assert (hosts.folder / "authority").stat().st_mode & 0o777 == 0o700


def test_a_lost_authority_is_not_made_anew(hosts: Hosts) -> None:
    assert hosts.run().code == 0
    shutil.rmtree(hosts.folder / "authority")
    before = hosts.everything()

    kept = hosts.run()
    assert kept.code == 0
    assert f"keeper has no key of the authority 1 in {hosts.folder}/authority, {NOTHING_ISSUED}" in kept.said
    assert {path: hosts.everything()[path] for path in before} == before

    # The first of the group, which knows of no authority.
    hosts.names.insert(0, "redis0")
    refused = hosts.run()
    assert refused.code != 0
    assert (
        f"redis0 has no certificate in {hosts.folder}/tls/redis0. keeper has no key of the authority 1" in refused.said
    )
    assert {path: hosts.everything()[path] for path in before} == before
    assert list((hosts.folder / "authority").glob("*.key")) == []


def test_with_hosts_left_out_no_authority_is_made(hosts: Hosts) -> None:
    assert hosts.run("--limit", "redis1").code != 0
    assert hosts.run().code == 0
    assert hosts.run("--limit", "redis1").code == 0
    shutil.rmtree(hosts.folder / "authority")
    before = hosts.everything()
    hosts.names.insert(0, "redis0")
    refused = hosts.run("--limit", "redis0")
    assert refused.code != 0
    assert "hosts that this run leaves out (--limit) may trust one of that number already" in refused.said
    assert hosts.everything() == before


def test_nothing_is_needed_of_a_host_that_is_away_while_nothing_has_to_be_issued(hosts: Hosts) -> None:
    assert hosts.run().code == 0
    before = hosts.everything()
    for arguments in (["--check"], []):
        kept = hosts.run(*arguments, keeper="gone")
        assert (kept.code, kept.changed) == (0, False)
        assert f"gone cannot be reached, {NOTHING_ISSUED}" in kept.said
    hosts.names.append("redis3")
    refused = hosts.run(keeper="gone")
    assert refused.code != 0
    assert f"redis3 has no certificate in {hosts.folder}/tls/redis3. gone cannot be reached" in refused.said
    assert hosts.everything() == before


def test_an_authority_is_rotated_in_three_steps(hosts: Hosts) -> None:
    assert hosts.run().code == 0
    for authority, trusted in ((2, [2]), (2, [1, 2])):
        refused = hosts.run(pki_authority=authority, pki_trusted=trusted)
        assert refused.code != 0
        assert "redis1, redis2 would be cut off" in refused.said
    first = hosts.text("tls/redis1/host.crt")

    assert hosts.run(pki_trusted=[1, 2]).code == 0
    assert hosts.text("tls/redis1/host.crt") == first
    late = hosts.run(pki_authority=2, pki_trusted=[1, 2], pki_missing_hosts=["gateway1"])
    assert late.code != 0
    assert "gateway1 would be cut off, or may be because nothing is known of it" in late.said
    assert hosts.run(pki_authority=2, pki_trusted=[1, 2]).code == 0
    assert hosts.text("tls/redis1/host.crt") != first
    assert hosts.verified("redis2", "redis1")

    assert hosts.run(pki_authority=2, pki_trusted=[2]).code == 0
    assert hosts.text("tls/redis1/ca.crt").count("BEGIN CERTIFICATE") == 1
    assert hosts.verified("redis2", "redis1")
