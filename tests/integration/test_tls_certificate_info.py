# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Until when certificates are valid, and whether real servers show those that their files have."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from conftest import RunModule
from cryptography import x509
from servers import Server, Servers, ServerTls
from test_encryption_change import HostAuthority

from ansible_collections.apiops.tyk_redis.plugins.module_utils._certificates import sentences
from ansible_collections.apiops.tyk_redis.plugins.module_utils._redis_client import Tls

DAY = 86400
OWN = "run site.yml, which renews those that its own authority has issued; others you have to bring."
ROTATE = "rotate the authority, as docs/encryption.md describes."


class LastingAuthority(HostAuthority):
    """One that is valid itself for as long as the role's."""

    def _builder(self, subject: x509.Name, key: Any, days: int) -> x509.CertificateBuilder:
        return super()._builder(subject, key, 3650 if subject == self._subject else days)


class Folder:
    """The files of one host, as the role pki writes them."""

    def __init__(self, path: Path, run_module: RunModule) -> None:
        self.path = path
        self._run_module = run_module
        path.mkdir()
        work = path.parent / "authorities"
        work.mkdir()
        self.authorities = [LastingAuthority(work, f"authority-{number}") for number in (1, 2)]
        self.trust([1])

    def __truediv__(self, name: str) -> str:
        return str(self.path / name)

    def trust(self, numbers: Sequence[int]) -> None:
        texts = [
            f"# apiops.tyk_redis authority {number}\n{Path(self.authorities[number - 1].file).read_text()}"
            for number in numbers
        ]
        (self.path / "ca.crt").write_text("".join(texts))

    def issue(self, days: int, authority: int = 1) -> None:
        certificate, key = map(Path, self.authorities[authority - 1].issue("redis1", days=days))
        text = certificate.read_text()
        (self.path / "host.crt").write_text(f"# apiops.tyk_redis authority {authority}\n{text}")
        key.replace(self.path / "host.key")

    def look(self, *served: Server | str, **options: Any) -> dict[str, Any]:
        endpoints = [one if isinstance(one, str) else str(one.address) for one in served]
        found = [
            self._run_module("tls_certificate_info", check=check, folder=str(self.path), served=endpoints, **options)
            for check in (True, False)
        ]
        for one in found[0].get("certificates", []):
            # The clock goes on between the two.
            one["seconds_left"] = pytest.approx(one["seconds_left"], abs=60)
        assert found[1] == found[0]
        return found[1]


@pytest.fixture
def folder(tmp_path: Path, run_module: RunModule) -> Folder:
    return Folder(tmp_path / "redis", run_module)


Serve = Callable[..., Server]


@pytest.fixture
def serve(servers: Servers, folder: Folder) -> Serve:
    """Start a server that shows the folder's certificate and admits only hosts that have one, as the role does."""

    def start(*extra: str) -> Server:
        files = {"cert_file": folder / "host.crt", "key_file": folder / "host.key"}
        return servers.start_server(
            cluster=False,
            tls=ServerTls(folder / "ca.crt", **files, auth_clients=True),
            client_tls=Tls(verify=False, **files),
            extra=extra,
        )

    return start


def said(found: dict[str, Any]) -> dict[str, list[str]]:
    return sentences([{"host": "redis1", **found}])


def not_the_key(folder: Folder) -> str:
    return (
        f"{folder / 'host.key'} is not the key of {folder / 'host.crt'}, or one of the two cannot be read; run"
        " site.yml, which brings them."
    )


def until(certificate: dict[str, Any]) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(certificate["not_after"]))


def subject(name: str) -> str:
    """OpenSSL 3.2 stopped putting spaces there."""
    return re.escape(f"CN={name}").replace("=", " ?= ?")


@pytest.mark.parametrize("days", [365, 10, -1])
def test_every_certificate_of_the_files_is_told(folder: Folder, days: int) -> None:
    folder.issue(days, authority=2)
    folder.trust([1, 2])
    found = folder.look()
    assert (found["changed"], found["outdated"], found["unreachable"]) == (False, [], [])
    assert found["file"] == folder / "host.crt"
    expected = [
        (folder / "host.crt", "redis1", days),
        (folder / "ca.crt", "authority-1", 3650),
        (folder / "ca.crt", "authority-2", 3650),
    ]
    for certificate, (path, name, length) in zip(found["certificates"], expected, strict=True):
        assert certificate["path"] == path
        assert re.fullmatch(subject(name), certificate["subject"])
        assert certificate["not_after"] == pytest.approx(time.time() + length * DAY, abs=120)
        assert certificate["seconds_left"] == pytest.approx(length * DAY, abs=120)


def test_an_end_that_is_near_is_remarked_and_one_that_is_past_is_a_problem(folder: Folder) -> None:
    folder.issue(10)
    found = folder.look()
    own = found["certificates"][0]
    certificate = f"redis1: the certificate {folder / 'host.crt'} ({own['subject']}) is valid"
    (remark,) = said(found)["remarks"]
    assert said(found)["problems"] == []
    # Within the second in which it was made it is the latter.
    assert remark in [f"{certificate} until {until(own)} only, {left} days from now: {OWN}" for left in (9, 10)]

    folder.issue(-1)
    found = folder.look()
    assert said(found) == {
        "problems": [
            f"{certificate} no longer than {until(found['certificates'][0])}, which is past: {OWN}",
        ],
        "remarks": [],
    }

    folder.issue(365)
    assert said(folder.look()) == {"problems": [], "remarks": []}


def test_an_authority_that_ends_is_to_be_rotated(folder: Folder, tmp_path: Path) -> None:
    folder.issue(365)
    short = Path(HostAuthority(tmp_path, "short").file)
    (folder.path / "ca.crt").write_text(short.read_text())
    found = folder.look()
    authority = found["certificates"][1]
    what = (
        f"redis1: the certificate {folder / 'ca.crt'} ({authority['subject']}) is valid until {until(authority)} only"
    )
    (remark,) = said(found)["remarks"]
    assert remark in [f"{what}, {left} from now: {ROTATE}" for left in ("0 days", "1 day")]


@pytest.mark.parametrize("extra", [(), ('tls-protocols "TLSv1.2"',)], ids=["newest", "1.2"])
def test_a_server_that_has_not_read_a_renewed_certificate_is_found(
    folder: Folder, serve: Serve, extra: tuple[str, ...]
) -> None:
    folder.issue(20)
    first, second = serve(*extra), serve(*extra)
    assert folder.look(first, second)["outdated"] == []

    folder.issue(365)
    found = folder.look(first, second)
    assert (found["outdated"], found["unreachable"]) == ([str(first.address), str(second.address)], [])
    assert said(found)["problems"] == [
        f"redis1: {server.address} shows another certificate than {folder / 'host.crt'} has: run site.yml, which lets"
        " it be read."
        for server in (first, second)
    ]

    # It makes the server read the file again, though the path stays the same.
    assert first.call("CONFIG", "SET", "tls-cert-file", folder / "host.crt") == "OK"
    assert folder.look(first, second)["outdated"] == [str(second.address)]
    assert second.call("CONFIG", "SET", "tls-cert-file", folder / "host.crt") == "OK"
    assert said(folder.look(first, second)) == {"problems": [], "remarks": []}


def test_a_chain_is_judged_by_its_first_certificate(folder: Folder, serve: Serve) -> None:
    folder.issue(365)
    with (folder.path / "host.crt").open("a") as file:
        file.write(Path(folder.authorities[0].file).read_text())
    server = serve()
    found = folder.look(server)
    assert (found["outdated"], len(found["certificates"])) == ([], 3)


def test_a_server_that_shows_no_certificate_is_told(servers: Servers, folder: Folder, serve: Serve) -> None:
    folder.issue(365)
    plain = servers.start_server(cluster=False)
    gone, good = serve(), serve()
    gone.stop()
    hangs = serve()
    hangs.freeze()
    silent = [str(server.address) for server in (plain, gone, hangs)]
    found = folder.look(plain, gone, good, hangs, timeout=1)
    hangs.thaw()
    assert (found["outdated"], found["unreachable"]) == ([], silent)
    assert said(found)["problems"] == [f"redis1: {address} shows no certificate." for address in silent]


def test_an_ended_certificate_is_still_compared(folder: Folder, serve: Serve) -> None:
    folder.issue(-1)
    server = serve("tls-auth-clients no")
    assert folder.look(server)["outdated"] == []
    folder.issue(365)
    assert folder.look(server)["outdated"] == [str(server.address)]


def test_a_client_without_servers_is_judged_too(folder: Folder) -> None:
    folder.issue(365)
    (folder.path / "host.crt").write_text("# apiops.tyk_redis authority 1\n")
    assert folder.look()["msg"] == not_the_key(folder)


@pytest.mark.parametrize("missing", [["host.crt"], ["host.key"], ["ca.crt"], ["host.crt", "host.key", "ca.crt"]])
def test_without_files_it_fails(folder: Folder, missing: list[str]) -> None:
    folder.issue(365)
    for name in missing:
        (folder.path / name).unlink()
    found = folder.look()
    assert found["failed"] is True
    paths = ", ".join(folder / name for name in missing)
    assert found["msg"] == f"{paths} is not there; run site.yml, which brings the certificates."


def test_a_key_of_another_certificate_is_told(folder: Folder, serve: Serve) -> None:
    folder.issue(365)
    server = serve()
    key = (folder.path / "host.key").read_text()
    folder.issue(365)
    (folder.path / "host.key").write_text(key)
    found = folder.look(server)
    assert found["failed"] is True
    assert found["msg"] == not_the_key(folder)
