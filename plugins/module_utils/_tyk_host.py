# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection and may change at any time.

"""What a Tyk component's host says about it: its package, its unit, its files. This is I/O; others judge."""

from __future__ import annotations

import glob
import re
import typing as t
from dataclasses import dataclass, field

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.apiops.tyk_redis.plugins.module_utils import _env_document
from ansible_collections.apiops.tyk_redis.plugins.module_utils._env_file import (
    COMMENT_ENDS_WITH_LINE_SINCE,
    EnvironmentFile,
    Variable,
    merge,
    parse_shown_environment,
    parse_shown_files,
)
from ansible_collections.apiops.tyk_redis.plugins.module_utils._tyk_settings import Component
from ansible_collections.apiops.tyk_redis.plugins.module_utils._tyk_versions import Version, parse, show

_ENGLISH = {"LC_ALL": "C", "SYSTEMD_PAGER": ""}


class HostProblem(Exception):
    """The host cannot be asked, or what it was told about it is wrong. The text is a finished sentence."""


@dataclass
class Environment:
    """What is handed to a component when it starts."""

    variables: dict[str, Variable] = field(default_factory=dict)
    files: list[EnvironmentFile] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    # What the unit, or whoever was asked, reads; patterns are spelt out.
    paths: list[str] = field(default_factory=list)


class _Systemd:
    """What systemd on this host says about a unit."""

    def __init__(self, module: AnsibleModule) -> None:
        self._module = module
        self._systemctl = module.get_bin_path("systemctl")

    def _run(self, *words: str) -> str:
        if not self._systemctl:
            return ""
        rc, stdout, _stderr = self._module.run_command([self._systemctl, *words], environ_update=_ENGLISH)
        return str(stdout) if rc == 0 else ""

    def version(self) -> int:
        match = re.match(r"systemd (\d+)", self._run("--version"))
        return int(match.group(1)) if match else COMMENT_ENDS_WITH_LINE_SINCE

    def environment(self, unit: str) -> tuple[list[Variable], list[tuple[str, bool]]] | None:
        """The unit's variables and environment files; None when systemd does not run or does not know the unit."""
        lines = self._run("show", "--property=LoadState,Environment,EnvironmentFiles", "--", unit).splitlines()
        shown = [line.partition("=") for line in lines]
        if ("LoadState", "=", "loaded") not in shown:
            return None
        variables = [
            variable
            for name, _equals, value in shown
            if name == "Environment"
            for variable in parse_shown_environment(value, f"Environment= of {unit}")
        ]
        files = parse_shown_files(value for name, _equals, value in shown if name == "EnvironmentFiles")
        return variables, files


def systemd_version(module: AnsibleModule) -> int:
    """The version of this host's systemd; where there is none, one that reads files as the newest does."""
    return _Systemd(module).version()


def content(path: str) -> bytes | None:
    """The bytes of a file, None when there is none."""
    try:
        with open(path, "rb") as stream:
            return stream.read()
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise HostProblem(f"{path} cannot be read ({exc.strerror}); run this task as a user who may read it.") from exc


def environment(
    module: AnsibleModule,
    component: Component,
    *,
    unit: str,
    env_files: t.Sequence[str] | None,
    kind: str = _env_document.SYSTEMD,
    instead: t.Mapping[str, bytes] | None = None,
) -> Environment:
    """What the component gets at its start.

    Args:
        module: runs the commands.
        component: the row of the table.
        unit: its systemd unit. When systemd knows it, its settings make the environment.
        env_files: exactly these files and no unit, when not None.
        kind: how the files are read.
        instead: what to take for the content of a file that is about to be written, by path.
    """
    systemd = _Systemd(module)
    found = Environment()
    variables: list[Variable] = []
    wanted = [(path, True) for path in (component.env_files if env_files is None else env_files)]
    of_unit = systemd.environment(unit) if env_files is None else None
    if of_unit is not None:
        variables, wanted = of_unit
    version = systemd.version()
    predicted = dict(instead or {})
    for pattern, may_be_missing in wanted:
        # systemd allows patterns, and reads what matches in order of name.
        paths = sorted(glob.glob(pattern)) if glob.has_magic(pattern) else [pattern]
        found.paths += paths
        contents = [(path, predicted[path] if path in predicted else content(path)) for path in paths]
        present = [(path, text) for path, text in contents if text is not None]
        if not present and not may_be_missing:
            found.problems.append(
                f"There is no file {pattern}, which {unit} demands as an EnvironmentFile=, so systemd does not start "
                f"{component.title}; create the file, or write a minus sign before its path in the unit."
            )
        found.files += [_env_document.read(text, path, kind, systemd_version=version) for path, text in present]
    found.variables = merge(variables, *(file.assignments for file in found.files))
    return found


def version_of(module: AnsibleModule, component: Component, given: str | None) -> Version | None:
    """The component's version: the one that is given, else that of the installed package, else None.

    Raises:
        HostProblem: the one that is given is none.
    """
    if given:
        try:
            return parse(given)
        except ValueError as exc:
            raise HostProblem(f"version: {exc}.") from exc
    for text in _installed(module, component):
        try:
            return parse(text)
        except ValueError:
            # A package of somebody's own making may call its version what it likes.
            module.warn(
                f"The package manager calls the version of {component.title} {text!r}, from which nothing can be told: "
                "it is taken for the newest. Give version, for example 5.8.6."
            )
    return None


def shown_version(version: Version | None) -> str:
    """The version for a result; empty when it is not known."""
    return show(version) if version else ""


def _installed(module: AnsibleModule, component: Component) -> list[str]:
    """The version of the component's package, by whichever package manager knows it."""
    dpkg = module.get_bin_path("dpkg-query")
    if dpkg:
        words = [dpkg, "--show", "--showformat=${db:Status-Status} ${Version}\\n", *component.packages]
        # It answers 1 when one of the names is not known, and prints the others all the same.
        _rc, stdout, _stderr = module.run_command(words, environ_update=_ENGLISH)
        found = [line.partition(" ")[2] for line in str(stdout).splitlines() if line.startswith("installed ")]
        if found:
            return found[:1]
    rpm = module.get_bin_path("rpm")
    if rpm:
        words = [rpm, "--query", "--queryformat=%{VERSION}\\n", *component.packages]
        _rc, stdout, _stderr = module.run_command(words, environ_update=_ENGLISH)
        found = [line for line in str(stdout).splitlines() if line and not line.endswith("is not installed")]
        return found[:1]
    return []
