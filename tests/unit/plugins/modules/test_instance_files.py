# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module as a whole, on real files and folders."""

from __future__ import annotations

import grp
import json
import os
import pathlib
import pwd
import typing as t

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.apiops.tyk_redis.plugins.modules import instance_files

Result = dict[str, t.Any]
OWN = {"owner": pwd.getpwuid(os.getuid()).pw_name, "group": grp.getgrgid(os.getgid()).gr_name}


class Run(t.Protocol):
    def __call__(self, check: bool = False, **options: t.Any) -> Result: ...


@pytest.fixture(name="run")
def fixture_run(capsys: pytest.CaptureFixture[str], tmp_path_factory: pytest.TempPathFactory) -> Run:
    temporary = str(tmp_path_factory.mktemp("ansible"))

    def run(check: bool = False, **options: t.Any) -> Result:
        arguments = {**options, "_ansible_check_mode": check, "_ansible_diff": True, "_ansible_remote_tmp": temporary}
        with patch_module_args(arguments), pytest.raises(SystemExit):
            instance_files.main()
        result: Result = json.loads(capsys.readouterr().out)
        return result

    return run


def wanted(root: pathlib.Path, text: str = "port 6379\n") -> dict[str, t.Any]:
    folder = root / "etc" / "6379"
    return {
        "folders": [{"path": str(folder), "mode": "0750", **OWN}],
        "files": [{"path": str(folder / "redis.conf"), "content": text, "mode": "0640", **OWN}],
    }


def test_four_runs(run: Run, tmp_path: pathlib.Path) -> None:
    results = [run(check, **wanted(tmp_path)) for check in (True, False, True, False)]
    assert [result["changed"] for result in results] == [True, True, False, False]
    folder = tmp_path / "etc" / "6379"
    assert results[0]["paths"] == results[1]["paths"] == [str(folder), str(folder / "redis.conf")]
    assert results[3]["paths"] == results[3]["diff"] == []
    assert (folder.stat().st_mode & 0o777, (folder / "redis.conf").stat().st_mode & 0o777) == (0o750, 0o640)
    assert (folder / "redis.conf").read_text() == "port 6379\n"


def test_check_mode_makes_nothing(run: Run, tmp_path: pathlib.Path) -> None:
    run(True, **wanted(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_the_difference_is_shown_and_only_that_file_is_written(run: Run, tmp_path: pathlib.Path) -> None:
    run(**wanted(tmp_path))
    file = tmp_path / "etc" / "6379" / "redis.conf"
    before = file.stat().st_ino
    result = run(**wanted(tmp_path, "port 6380\n# größer\n"))
    assert result["paths"] == [str(file)]
    (diff,) = result["diff"]
    assert (diff["before"], diff["after"]) == ("port 6379\n", "port 6380\n# größer\n")
    # Replaced as a whole, and not written into.
    assert file.stat().st_ino != before
    assert file.read_text(encoding="utf-8") == "port 6380\n# größer\n"


def test_changed_permissions_are_mended(run: Run, tmp_path: pathlib.Path) -> None:
    run(**wanted(tmp_path))
    folder = tmp_path / "etc" / "6379"
    folder.chmod(0o777)
    (folder / "redis.conf").chmod(0o666)
    results = [run(check, **wanted(tmp_path)) for check in (True, False, True, False)]
    assert [result["changed"] for result in results] == [True, True, False, False]
    assert (folder.stat().st_mode & 0o777, (folder / "redis.conf").stat().st_mode & 0o777) == (0o750, 0o640)


@pytest.mark.parametrize("check", [True, False])
def test_what_is_something_else_is_refused(run: Run, tmp_path: pathlib.Path, check: bool) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "6379").write_text("somebody's")
    result = run(check, **wanted(tmp_path))
    assert result["msg"] == f"{tmp_path}/etc/6379 is no folder; move it away, and run again."
    assert (tmp_path / "etc" / "6379").read_text() == "somebody's"
    folder = tmp_path / "other"
    folder.mkdir()
    options = {"files": [{"path": str(folder), "content": "", "mode": "0640", **OWN}]}
    assert run(check, **options)["msg"] == f"{folder} is no file; move it away, and run again."
