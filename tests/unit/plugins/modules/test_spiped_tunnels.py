# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Near ends that shall go over to another key, with real listeners in the place of their far ends."""

from __future__ import annotations

import json
import socket
import threading
import typing as t
from contextlib import ExitStack
from pathlib import Path

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args

from ansible_collections.apiops.tyk_redis.plugins.module_utils import _listeners
from ansible_collections.apiops.tyk_redis.plugins.module_utils._spiped import settings_of
from ansible_collections.apiops.tyk_redis.plugins.modules import spiped_tunnels

Result = dict[str, t.Any]
NAMES = ("dial-redis2-6379", "dial-redis3-6379")


def address(there: socket.socket) -> str:
    return f"127.0.0.1:{there.getsockname()[1]}"


class Host:
    """One whose near ends run with key 1, as systemd would tell."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self._capsys = folder, capsys
        self.ran: list[str] = []
        self.state = "active"
        # Where an end listens a while after systemd calls its unit started, if it ever does.
        self.near = {name: socket.create_server(("127.0.0.1", 0)) for name in NAMES}
        self.fails: str | None = None
        # Those that did not listen when the next one was touched.
        self.away: list[str] = []
        monkeypatch.setattr(AnsibleModule, "run_command", lambda _module, command, **_options: self._ran(command))
        # The processes that listen have the numbers of the ends that they are, or another one.
        self.processes = {name: number for number, name in enumerate(NAMES)}
        units = {number: f"tyk-redis-spiped@{name}.service" for number, name in enumerate(NAMES)}
        monkeypatch.setattr(_listeners, "owner_of", lambda number: units.get(number, "squatter.service"))
        # Whatever those of this machine say.
        monkeypatch.setattr(spiped_tunnels, "is_stale", lambda *_arguments: False)

    def _listening(self) -> str:
        return "".join(
            f'LISTEN 0 128 {address(there)} 0.0.0.0:* users:(("spiped",pid={self.processes[name]},fd=3)) uid:998\n'
            for name, there in self.near.items()
            if there.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        )

    def _ran(self, command: list[str]) -> tuple[int, str, str]:
        if command[0] == "ss":
            return 0, self._listening(), ""
        if command[1] == "show":
            return 0, "\n\n".join([f"ActiveState={self.state}\nUnitFileState=enabled"] * len(command[3:])), ""
        self.ran.append(" ".join(command[1:]))
        name = command[-1].removeprefix("tyk-redis-spiped@").removesuffix(".service")
        if command[1] in ("start", "restart"):
            self.away += [other for other in NAMES if address(self.near[other]) not in self._listening()]
            self._start(name)
        return 0, "", ""

    def _start(self, name: str) -> None:
        endpoint = self.near[name].getsockname()
        self.near[name].close()
        self.near[name] = socket.socket()
        self.near[name].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.near[name].bind(endpoint)
        if name != self.fails:
            threading.Timer(0.2, self.near[name].listen).start()

    def run(self, *ends: Result, check: bool = False) -> Result:
        arguments = {
            **{"ends": list(ends), "folder": str(self.folder)},
            **{"_ansible_check_mode": check, "_ansible_remote_tmp": str(self.folder)},
        }
        self.ran.clear()
        with patch_module_args(arguments), pytest.raises(SystemExit):
            spiped_tunnels.main()
        result: Result = json.loads(self._capsys.readouterr().out)
        return result


@pytest.fixture(name="host")
def fixture_host(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> t.Iterator[Host]:
    host = Host(tmp_path, capsys, monkeypatch)
    yield host
    for there in host.near.values():
        there.close()


@pytest.fixture(name="far")
def fixture_far() -> t.Iterator[t.Callable[[bool], str]]:
    """A target that listens or does not."""
    with ExitStack() as sockets:

        def make(listens: bool) -> str:
            there = sockets.enter_context(socket.socket())
            there.bind(("127.0.0.1", 0))
            if listens:
                there.listen()
            return f"127.0.0.1:{there.getsockname()[1]}"

        yield make


def end(host: Host, name: str, target: str, key: int) -> Result:
    return {
        **{"name": name, "kind": "dial", "listen": address(host.near[name]), "target": target, "key": key},
        "peer": name.split("-")[1],
    }


def turned(host: Host, far: t.Callable[[bool], str], name: str, before: bool, after: bool) -> tuple[Result, Result]:
    """An end as it is on the disk and as it shall be, whose targets listen or do not."""
    old, new = end(host, name, far(before), 1), end(host, name, far(after), 2)
    (host.folder / f"{name}.env").write_text(settings_of(old, str(host.folder)))
    return old, new


def test_a_near_end_goes_over_to_what_listens(host: Host, far: t.Callable[[bool], str]) -> None:
    _old, new = turned(host, far, NAMES[0], True, True)
    result = host.run(new)
    assert result["plan"] == [f"write {NAMES[0]}", f"restart {NAMES[0]}"]
    assert "warnings" not in result
    assert host.ran == ["daemon-reload", f"restart tyk-redis-spiped@{NAMES[0]}.service"]
    assert (host.folder / f"{NAMES[0]}.env").read_text() == settings_of(new, str(host.folder))


def test_what_works_is_not_given_up(host: Host, far: t.Callable[[bool], str]) -> None:
    old, new = turned(host, far, NAMES[0], True, False)
    result = host.run(new)
    assert result["msg"] == (
        f"redis2 does not listen at {new['target']} yet, but still does at {old['target']}, so that the near ends that"
        " carry connections now are not turned over. Run for every host, without --limit, so that the far ends come"
        " first. Nothing was changed."
    )
    assert host.ran == []
    assert (host.folder / f"{NAMES[0]}.env").read_text() == settings_of(old, str(host.folder))


def test_a_host_that_is_down_stops_no_other(host: Host, far: t.Callable[[bool], str]) -> None:
    _old, dead = turned(host, far, NAMES[0], False, False)
    _old, well = turned(host, far, NAMES[1], True, True)
    result = host.run(dead, well)
    assert result["changed"] is True
    assert [step for step in result["plan"] if step.startswith("restart")] == [f"restart {name}" for name in NAMES]
    (warning,) = result["warnings"]
    assert f"redis2 does not listen at {dead['target']}, and neither where its near ends have led" in str(warning)


def test_no_more_than_one_end_is_away_at_a_time(host: Host, far: t.Callable[[bool], str]) -> None:
    ends = [turned(host, far, name, True, True)[1] for name in NAMES]
    assert host.run(*ends)["changed"] is True
    assert host.ran[1:] == [f"restart tyk-redis-spiped@{name}.service" for name in NAMES]
    assert host.away == []
    assert all(spiped_tunnels.listens(address(host.near[name])) for name in NAMES)


def test_an_end_that_does_not_come_back_stops_the_others_from_going(
    host: Host, far: t.Callable[[bool], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spiped_tunnels, "START_SECONDS", 0.0)
    host.fails = NAMES[0]
    ends = [turned(host, far, name, True, True)[1] for name in NAMES]
    before = (host.folder / f"{NAMES[1]}.env").read_text()
    unit = f"tyk-redis-spiped@{NAMES[0]}.service"
    assert host.run(*ends)["msg"] == (
        f"After 0 s {unit} does not listen at {ends[0]['listen']}. 'journalctl -u {unit}' says why. Ends that come"
        " after it were left as they are: mend that, and run again."
    )
    assert host.ran == ["daemon-reload", f"restart {unit}"]
    assert (host.folder / f"{NAMES[1]}.env").read_text() == before
    assert spiped_tunnels.listens(address(host.near[NAMES[1]]))


def test_an_end_that_systemd_starts_again_and_again_does_not_run(
    host: Host, far: t.Callable[[bool], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    host.state = "activating"
    same = end(host, NAMES[0], far(True), 1)
    (host.folder / f"{NAMES[0]}.env").write_text(settings_of(same, str(host.folder)))
    unit = f"tyk-redis-spiped@{NAMES[0]}.service"
    assert host.run(same)["plan"] == [f"start {NAMES[0]}"]
    assert host.ran == ["daemon-reload", f"start {unit}"]


@pytest.mark.parametrize("state", ["active", "activating", "failed"])
def test_an_end_whose_port_is_taken_does_not_run(
    host: Host, far: t.Callable[[bool], str], monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    """Also while systemd calls it active, which it does for a moment at each of the starts that fail."""
    monkeypatch.setattr(spiped_tunnels, "START_SECONDS", 0.0)
    host.state = state
    host.processes[NAMES[1]] = 99
    same = [end(host, name, far(True), 1) for name in NAMES]
    for one in same:
        (host.folder / f"{one['name']}.env").write_text(settings_of(one, str(host.folder)))
    if state != "active":
        monkeypatch.setattr(Host, "_start", lambda _host, _name: None)
    unit = f"tyk-redis-spiped@{NAMES[1]}.service"
    assert host.run(*same)["msg"] == (
        f"After 0 s {unit} does not listen at {same[1]['listen']}, where squatter.service does. 'journalctl -u"
        f" {unit}' says why. Ends that come after it were left as they are: mend that, and run again."
    )


def test_check_mode_asks_nobody(host: Host, far: t.Callable[[bool], str]) -> None:
    _old, new = turned(host, far, NAMES[0], True, False)
    result = host.run(new, check=True)
    assert (result["changed"], result["plan"]) == (True, [f"write {NAMES[0]}", f"restart {NAMES[0]}"])
    assert host.ran == []
