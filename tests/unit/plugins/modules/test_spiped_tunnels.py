# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Near ends that shall go over to another key, with real listeners in the place of their far ends."""

from __future__ import annotations

import json
import socket
import typing as t
from contextlib import ExitStack
from pathlib import Path

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args

from ansible_collections.apiops.tyk_redis.plugins.module_utils._spiped import settings_of
from ansible_collections.apiops.tyk_redis.plugins.modules import spiped_tunnels

Result = dict[str, t.Any]
NAMES = ("dial-redis2-6379", "dial-redis3-6379")


class Host:
    """One whose near ends run with key 1, as systemd would tell."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self._capsys = folder, capsys
        self.ran: list[str] = []
        monkeypatch.setattr(AnsibleModule, "run_command", lambda _module, command, **_options: self._ran(command))
        # Whatever those of this machine say.
        monkeypatch.setattr(spiped_tunnels, "is_stale", lambda *_arguments: False)

    def _ran(self, command: list[str]) -> tuple[int, str, str]:
        if command[1] == "show":
            return 0, "\n\n".join(["ActiveState=active\nUnitFileState=enabled"] * len(command[3:])), ""
        self.ran.append(" ".join(command[1:]))
        return 0, "", ""

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
def fixture_host(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(tmp_path, capsys, monkeypatch)


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


def end(name: str, target: str, key: int) -> Result:
    return {
        **{"name": name, "kind": "dial", "listen": "127.64.2.2:6379", "target": target, "key": key},
        "peer": name.split("-")[1],
    }


def turned(host: Host, far: t.Callable[[bool], str], name: str, before: bool, after: bool) -> tuple[Result, Result]:
    """An end as it is on the disk and as it shall be, whose targets listen or do not."""
    old, new = end(name, far(before), 1), end(name, far(after), 2)
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


def test_check_mode_asks_nobody(host: Host, far: t.Callable[[bool], str]) -> None:
    _old, new = turned(host, far, NAMES[0], True, False)
    result = host.run(new, check=True)
    assert (result["changed"], result["plan"]) == (True, [f"write {NAMES[0]}", f"restart {NAMES[0]}"])
    assert host.ran == []
