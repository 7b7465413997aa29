# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The collection's Jinja filters; each is documented in a file of its own beside this one."""

from __future__ import annotations

import functools
import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.apiops.tyk_redis.plugins.module_utils._acl_rules import are_listed, sha256
from ansible_collections.apiops.tyk_redis.plugins.module_utils._acl_rules import described as acl_users
from ansible_collections.apiops.tyk_redis.plugins.module_utils._certificates import unready
from ansible_collections.apiops.tyk_redis.plugins.module_utils._description import (
    COMPONENTS,
    MAIN,
    PLAIN,
    DescriptionError,
    admitted,
    announced,
    config_text,
    controls,
    describe,
    dropped,
    endpoints_of,
    former_is_off,
    instances_of,
    misspelt,
    redis_options,
    tunnels_of,
    without_secrets,
)
from ansible_collections.apiops.tyk_redis.plugins.module_utils._encryption import clients_first
from ansible_collections.apiops.tyk_redis.plugins.module_utils._encryption_findings import findings
from ansible_collections.apiops.tyk_redis.plugins.module_utils._encryption_limits import TUNNEL_CONNECTIONS
from ansible_collections.apiops.tyk_redis.plugins.module_utils._encryption_limits import remarks as encryption_remarks
from ansible_collections.apiops.tyk_redis.plugins.module_utils._encryption_refusals import refusals, without_way
from ansible_collections.apiops.tyk_redis.plugins.module_utils._instance_settings import problems as instance_problems
from ansible_collections.apiops.tyk_redis.plugins.module_utils._kernel import differences
from ansible_collections.apiops.tyk_redis.plugins.module_utils._report import report
from ansible_collections.apiops.tyk_redis.plugins.module_utils._tyk_agreement import disagreements
from ansible_collections.apiops.tyk_redis.plugins.module_utils._tyk_pools import PoolsError, remarks
from ansible_collections.apiops.tyk_redis.plugins.module_utils._tyk_stores import redis_users, stores_of

COMPONENT_GROUPS = {"tyk_gateway": "gateway", "tyk_dashboard": "dashboard", "tyk_pump": "pump", "tyk_mdcb": "mdcb"}


_Result = t.TypeVar("_Result")


def _refusing(function: t.Callable[..., _Result]) -> t.Callable[..., _Result]:
    """The same function, whose refusals are errors of Ansible's."""

    @functools.wraps(function)
    def filtered(*args: t.Any, **kwargs: t.Any) -> _Result:
        try:
            return function(*args, **kwargs)
        except (DescriptionError, PoolsError) as exc:
            raise AnsibleFilterError(str(exc)) from exc

    return filtered


@_refusing
def _description(given: t.Any, previous_encryption: str = "") -> dict[str, t.Any]:
    if previous_encryption and isinstance(given, t.Mapping):
        given = {**given, "previous_encryption": previous_encryption}
    return describe(given)


@_refusing
def _instances(
    hostvars: t.Mapping[str, t.Mapping[str, t.Any]],
    hosts: t.Iterable[str],
    description: t.Mapping[str, t.Any] | None,
    mode: str,
) -> tuple[list[dict[str, t.Any]], list[dict[str, t.Any]]]:
    described = description or PLAIN
    return instances_of(hostvars, hosts, {**described, "encryption": mode or described["encryption"]})


def _members(
    hostvars: t.Mapping[str, t.Mapping[str, t.Any]],
    hosts: t.Iterable[str],
    description: t.Mapping[str, t.Any] | None = None,
    mode: str = "",
) -> list[dict[str, t.Any]]:
    return _instances(hostvars, hosts, description, mode)[0]


def _leaving(
    hostvars: t.Mapping[str, t.Mapping[str, t.Any]],
    hosts: t.Iterable[str],
    description: t.Mapping[str, t.Any] | None = None,
    mode: str = "",
) -> list[dict[str, t.Any]]:
    return _instances(hostvars, hosts, description, mode)[1]


def _tyk_stores(
    description: t.Any, component: str, members: t.Iterable[t.Mapping[str, t.Any]] = ()
) -> dict[str, t.Any]:
    if component not in COMPONENTS:
        raise AnsibleFilterError(f"The component {component!r} is unknown; Tyk's are {', '.join(COMPONENTS)}.")
    return stores_of(_description(description), component, endpoints_of(members))


def _redis_users(description: t.Any) -> list[dict[str, t.Any]]:
    return redis_users(_description(description))


def _existing(names: t.Iterable[str], groups: t.Container[str]) -> list[str]:
    return [name for name in names if name in groups]


def _tyk_hosts(groups: t.Mapping[str, t.Iterable[str]]) -> list[str]:
    return list(dict.fromkeys(host for group in COMPONENT_GROUPS for host in groups.get(group) or ()))


def _with_former_settings(hosts: t.Iterable[str], hostvars: t.Mapping[str, t.Mapping[str, t.Any]]) -> list[str]:
    # A host that nobody asked has no such fact, and may run with anything.
    return [host for host in hosts if hostvars[host].get("tyk_unread_components") != []]


def _components(group_names: t.Iterable[str]) -> list[str]:
    names = set(group_names)
    return [component for group, component in COMPONENT_GROUPS.items() if group in names]


def _problems(checks: t.Sequence[t.Mapping[str, t.Any]]) -> list[str]:
    sentences = [f"{check['host']}: {sentence}" for check in checks for sentence in check["result"]["problems"]]
    # Several components of one host meet the same problem, and one sentence is enough for it.
    return list(dict.fromkeys(sentences)) + disagreements(
        [(check["host"], check["component"], check["result"]) for check in checks]
    )


@_refusing
def _pool_remarks(
    description: t.Mapping[str, t.Any],
    components: t.Mapping[str, int],
    nodes: t.Iterable[t.Mapping[str, t.Any]],
    tunnel_connections: int = TUNNEL_CONNECTIONS,
) -> list[str]:
    nodes = list(nodes)
    others = description.get("deployments") or {}
    sizes = {MAIN: description, **others}
    limits = {
        # Of a Redis that was made elsewhere no node can be asked.
        MAIN: {node["name"]: node.get("maxclients") for node in nodes} or {MAIN: description.get("maxclients")},
        **{name: {name: deployment.get("maxclients")} for name, deployment in others.items()},
    }
    return remarks(
        components,
        description.get("sections") or {},
        {name: deployment.get("pool_size") or 0 for name, deployment in sizes.items()},
        limits,
    ) + encryption_remarks(
        description,
        components,
        [str(node.get("host") or node.get("address")) for node in nodes],
        int(tunnel_connections),
    )


class FilterModule:
    """Filters that derive endpoints, files and reports from the description and the inventory."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {
            "description": _description,
            "members": _members,
            "leaving": _leaving,
            "redis_options": _refusing(redis_options),
            "announced": _refusing(announced),
            "clients_first": clients_first,
            "tunnels": _refusing(tunnels_of),
            "admitted": _refusing(admitted),
            "controls": _refusing(controls),
            "dropped": _refusing(dropped),
            "former_is_off": _refusing(former_is_off),
            "encryption_findings": findings,
            "encryption_refusals": _refusing(refusals),
            "without_secrets": without_secrets,
            "without_way": _refusing(without_way),
            "unready_for_authority": unready,
            "misspelt": misspelt,
            "endpoints": endpoints_of,
            "tyk_stores": _tyk_stores,
            "redis_users": _redis_users,
            "components": _components,
            "existing": _existing,
            "tyk_hosts": _tyk_hosts,
            "with_former_settings": _with_former_settings,
            "acl_hash": sha256,
            "acl_users": acl_users,
            "acl_users_listed": are_listed,
            "config_text": config_text,
            "instance_problems": instance_problems,
            "kernel_differences": differences,
            "report": report,
            "problems": _problems,
            "pool_remarks": _pool_remarks,
        }
