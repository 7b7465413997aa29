# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The collection's Jinja filters; each is documented in a file of its own beside this one."""

from __future__ import annotations

import hashlib
import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.apiops.tyk_redis.plugins.module_utils._description import (
    DescriptionError,
    config_text,
    describe,
    endpoints_of,
    instances_of,
    misspelt,
)
from ansible_collections.apiops.tyk_redis.plugins.module_utils._instance_settings import problems as instance_problems
from ansible_collections.apiops.tyk_redis.plugins.module_utils._kernel import differences
from ansible_collections.apiops.tyk_redis.plugins.module_utils._report import report
from ansible_collections.apiops.tyk_redis.plugins.module_utils._tyk_agreement import disagreements

COMPONENT_GROUPS = {"tyk_gateway": "gateway", "tyk_dashboard": "dashboard", "tyk_pump": "pump", "tyk_mdcb": "mdcb"}


def _description(given: t.Any) -> dict[str, t.Any]:
    try:
        return describe(given)
    except DescriptionError as exc:
        raise AnsibleFilterError(str(exc)) from exc


def _instances(
    hostvars: t.Mapping[str, t.Mapping[str, t.Any]], hosts: t.Iterable[str], remove: t.Iterable[str]
) -> tuple[list[dict[str, t.Any]], list[dict[str, t.Any]]]:
    try:
        return instances_of(hostvars, hosts, remove)
    except DescriptionError as exc:
        raise AnsibleFilterError(str(exc)) from exc


def _members(
    hostvars: t.Mapping[str, t.Mapping[str, t.Any]], hosts: t.Iterable[str], remove: t.Iterable[str] = ()
) -> list[dict[str, t.Any]]:
    return _instances(hostvars, hosts, remove)[0]


def _leaving(
    hostvars: t.Mapping[str, t.Mapping[str, t.Any]], hosts: t.Iterable[str], remove: t.Iterable[str] = ()
) -> list[dict[str, t.Any]]:
    return _instances(hostvars, hosts, remove)[1]


def _components(group_names: t.Iterable[str]) -> list[str]:
    names = set(group_names)
    return [component for group, component in COMPONENT_GROUPS.items() if group in names]


def _acl_hash(password: str) -> str:
    return hashlib.sha256(password.encode("utf-8")).hexdigest()


def _problems(checks: t.Sequence[t.Mapping[str, t.Any]]) -> list[str]:
    sentences = [f"{check['host']}: {sentence}" for check in checks for sentence in check["result"]["problems"]]
    return sentences + disagreements([(check["host"], check["component"], check["result"]) for check in checks])


class FilterModule:
    """Filters that derive endpoints, files and reports from the description and the inventory."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {
            "description": _description,
            "members": _members,
            "leaving": _leaving,
            "misspelt": misspelt,
            "endpoints": endpoints_of,
            "components": _components,
            "acl_hash": _acl_hash,
            "config_text": config_text,
            "instance_problems": instance_problems,
            "kernel_differences": differences,
            "report": report,
            "problems": _problems,
        }
