#!/usr/bin/python

# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: tyk_redis_check
short_description: Prove that a Tyk component reaches its Redis
version_added: 0.1.0
author:
  - The apiops.tyk_redis contributors (@apiops)
description:
  - Runs on the host of a Tyk component, reads the configuration that is effective for this component, and does to
    Redis what the component would do.
  - The configuration is the component's own file, overridden by the environment that systemd gives to its service,
    both read by the rules of the component.
  - With a Redis Cluster, the addresses that the cluster announces are followed to every primary and every replica.
    On every primary a probe key is written, read back and deleted; on every replica a key is read.
  - Every problem is reported, not only the first one, in words that say what is wrong, where the value comes from, and
    what to do.
  - The probe keys expire by themselves after 60 seconds, so that an interrupted run leaves nothing behind.
  - Sentinel is not followed. A component that is configured for it is reported as a problem.
extends_documentation_fragment:
  - apiops.tyk_redis._attributes
attributes:
  check_mode:
    support: full
    details:
      - Connects and reads as usual, but writes no probe key.
  diff_mode:
    support: none
    details:
      - Nothing is changed.
  idempotent:
    support: full
requirements:
  - redis-py 3.5.3 or later on the host of the component
options:
  component:
    description:
      - The component to check.
    type: str
    required: true
    choices: [gateway, dashboard, pump, mdcb]
  path:
    description:
      - The component's configuration file. The default is where the component's package has it.
    type: path
  unit:
    description:
      - The systemd unit of the component. The default is the one of its package.
      - When systemd knows this unit, its C(Environment=) and C(EnvironmentFile=) make the component's environment.
    type: str
  env_files:
    description:
      - Environment files, in the order in which they are read; a later one wins. Missing ones are passed over.
      - When given, exactly these are read, and O(unit) is not asked.
      - When not given and systemd does not know O(unit), the files of the component's packaged unit are read.
    type: list
    elements: path
  timeout:
    description:
      - How many seconds a server may take for a connection or a reply.
    type: int
    default: 5
  expect_nodes:
    description:
      - Addresses of nodes, each C(host:port) as the cluster announces it, that have to be part of the cluster.
      - A replica that has failed is no longer announced to clients, so that only this list can tell that it is missing.
    type: list
    elements: str
    default: []
  probe_key_prefix:
    description:
      - What the name of each probe key begins with. Redis has to allow keys with this prefix to the user.
    type: str
    default: tyk-redis-check-
notes:
  - The user needs C(PING), C(CLUSTER SLOTS), C(READONLY), C(GET), C(SET) and C(DEL). Where it may also use C(INFO), a
    replica that has lost its primary is noticed too.
  - V(changed) is always V(false), because whatever is written is deleted again.
  - C(UnsetEnvironment=) and C(PassEnvironment=) of the unit are not taken into account.
seealso:
  - module: apiops.tyk_redis.tyk_config
  - module: apiops.tyk_redis.redis_cluster_info
"""

EXAMPLES = r"""
- name: Prove that the gateway reaches its Redis
  apiops.tyk_redis.tyk_redis_check:
    component: gateway

- name: Prove that Pump reaches every node that the inventory describes
  apiops.tyk_redis.tyk_redis_check:
    component: pump
    expect_nodes:
      - 192.0.2.11:6379
      - 192.0.2.12:6379
      - 192.0.2.13:6379

- name: Look at a configuration elsewhere, and write nothing
  apiops.tyk_redis.tyk_redis_check:
    component: dashboard
    path: /srv/tyk/tyk_analytics.conf
    env_files:
      - /srv/tyk/dashboard.env
  check_mode: true
"""

RETURN = r"""
component:
  description: The component that was checked.
  returned: always
  type: str
  sample: gateway
healthy:
  description: Whether there is no problem.
  returned: always
  type: bool
  sample: true
problems:
  description: Everything that is wrong, a sentence each.
  returned: always
  type: list
  elements: str
  sample: []
settings:
  description:
    - The effective settings that somebody has set, by the collection's own name for them.
    - Each has RV(ignore:value), RV(ignore:from) and RV(ignore:key).
  returned: always
  type: dict
  sample:
    type:
      value: redis
      from: file:/opt/tyk-gateway/tyk.conf
      key: storage.type
    addresses:
      value:
        - 192.0.2.11:6379
        - 192.0.2.12:6379
      from: variable TYK_GW_STORAGE_ADDRS in /etc/default/tyk-gateway line 3
      key: storage.addrs
    cluster:
      value: true
      from: file:/opt/tyk-gateway/tyk.conf
      key: storage.enable_cluster
    username:
      value: tyk
      from: file:/opt/tyk-gateway/tyk.conf
      key: storage.username
    password:
      value: "********"
      from: file:/opt/tyk-gateway/tyk.conf
      key: storage.password
seeds:
  description: The addresses that the component starts with, whether each answered, and the error if not.
  returned: always
  type: list
  elements: dict
  sample:
    - address: 192.0.2.11:6379
      answered: true
      error: ""
    - address: 192.0.2.12:6379
      answered: true
      error: ""
reached:
  description: Every node that was reached, primaries first.
  returned: always
  type: list
  elements: dict
  contains:
    address:
      description: The address that was dialled.
      type: str
    role:
      description: V(primary) or V(replica).
      type: str
    primary:
      description: The address of a replica's primary.
      type: str
    id:
      description: The node's ID in the cluster.
      type: str
    slots:
      description: The slots that a primary serves.
      type: list
      elements: str
    wrote:
      description: Whether a probe key was written, read back and deleted there.
      type: bool
    user:
      description: The Redis user.
      type: str
    tls:
      description: Whether the connection was encrypted.
      type: bool
    latency_ms:
      description: How long one command took.
      type: float
  sample:
    - address: 192.0.2.11:6379
      role: primary
      primary: ""
      id: 2cc35c45679d0b1726fafb530c0fd9442d5fb941
      slots:
        - 0-5460
      wrote: true
      user: tyk
      tls: false
      latency_ms: 0.206
    - address: 192.0.2.14:6379
      role: replica
      primary: 192.0.2.11:6379
      id: 302bcf675f5c3d6220837bd209cfe8dd647baac3
      slots: []
      wrote: false
      user: tyk
      tls: false
      latency_ms: 0.215
username:
  description: The Redis user of the component.
  returned: always
  type: str
  sample: tyk
cluster_id:
  description: A digest of the node IDs that is equal for all who see the same nodes; empty when none was seen.
  returned: always
  type: str
  sample: ac41442e2af140dc
agreement:
  description: What has to be equal for all components, to compare several results.
  returned: always
  type: dict
  sample:
    mode: cluster
    addresses:
      - 192.0.2.11:6379
      - 192.0.2.12:6379
    database: 0
    tls: false
    node_ids:
      - 2cc35c45679d0b1726fafb530c0fd9442d5fb941
      - 302bcf675f5c3d6220837bd209cfe8dd647baac3
"""

import glob
import re
import typing as t

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.apiops.tyk_redis.plugins.module_utils._env_file import (
    COMMENT_ENDS_WITH_LINE_SINCE,
    EnvironmentFile,
    Variable,
    merge,
    parse,
    parse_shown_environment,
    parse_shown_files,
)
from ansible_collections.apiops.tyk_redis.plugins.module_utils._redis_client import (
    HAS_REDIS,
    REDIS_IMPORT_ERROR,
    Address,
)
from ansible_collections.apiops.tyk_redis.plugins.module_utils._redis_probe import Probe, ProbeResult
from ansible_collections.apiops.tyk_redis.plugins.module_utils._tyk_effective import Effective, read
from ansible_collections.apiops.tyk_redis.plugins.module_utils._tyk_settings import COMPONENTS, Component


class CheckError(Exception):
    """The check cannot be made. The text is a finished sentence."""


class _Systemd:
    """What systemd on this host says about a unit."""

    def __init__(self, module: AnsibleModule) -> None:
        self._module = module
        self._systemctl = module.get_bin_path("systemctl")

    def _run(self, *words: str) -> str:
        if not self._systemctl:
            return ""
        rc, stdout, _stderr = self._module.run_command(
            [self._systemctl, *words], environ_update={"LC_ALL": "C", "SYSTEMD_PAGER": ""}
        )
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


def _content(path: str) -> bytes | None:
    try:
        with open(path, "rb") as stream:
            return stream.read()
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise CheckError(f"{path} cannot be read ({exc.strerror}); run this task as a user who may read it.") from exc


def _environment(
    module: AnsibleModule, component: Component
) -> tuple[dict[str, Variable], list[EnvironmentFile], list[str]]:
    """What systemd hands to the component: by name, by file, and what is wrong with the unit's files."""
    systemd = _Systemd(module)
    variables: list[Variable] = []
    given = module.params["env_files"]
    wanted = [(path, True) for path in (component.env_files if given is None else given)]
    unit = module.params["unit"] or component.service
    of_unit = systemd.environment(unit) if given is None else None
    if of_unit is not None:
        variables, wanted = of_unit
    version = systemd.version()
    files: list[EnvironmentFile] = []
    problems: list[str] = []
    for pattern, may_be_missing in wanted:
        # systemd allows patterns, and reads what matches in order of name.
        paths = sorted(glob.glob(pattern)) if glob.has_magic(pattern) else [pattern]
        contents = [(path, _content(path)) for path in paths]
        present = [(path, content) for path, content in contents if content is not None]
        if not present and not may_be_missing:
            problems.append(
                f"There is no file {pattern}, which {unit} demands as an EnvironmentFile=, so systemd does not start "
                f"{component.title}; create the file, or write a minus sign before its path in the unit."
            )
        files.extend(parse(content, path, systemd_version=version) for path, content in present)
    return merge(variables, *(file.assignments for file in files)), files, problems


def _expected(texts: t.Sequence[str]) -> list[Address]:
    try:
        return [Address.parse(text) for text in texts]
    except ValueError as exc:
        raise CheckError(f"expect_nodes: {exc}.") from exc


def _probe(module: AnsibleModule, effective: Effective) -> ProbeResult:
    if not effective.usable:
        return ProbeResult()
    probe = Probe(
        effective,
        timeout=module.params["timeout"],
        write=not module.check_mode,
        expect_nodes=_expected(module.params["expect_nodes"]),
        key_prefix=module.params["probe_key_prefix"],
    )
    return probe.run()


def run(module: AnsibleModule) -> dict[str, t.Any]:
    prefix = module.params["probe_key_prefix"]
    if not prefix or set(prefix) & set("{}"):
        raise CheckError(
            f"probe_key_prefix is {prefix!r}, but it must not be empty or hold braces, which choose the slot of a key."
        )
    if module.params["timeout"] < 1:
        raise CheckError(f"timeout is {module.params['timeout']}, but at least 1 second is needed.")
    _expected(module.params["expect_nodes"])
    component = COMPONENTS[module.params["component"]]
    path = module.params["path"] or component.config_path
    environment, files, problems = _environment(module, component)
    effective = read(component, path, _content(path), environment, files)
    probed = _probe(module, effective)
    problems = [*problems, *effective.problems, *probed.problems]
    return {
        "changed": False,
        "component": component.name,
        "healthy": not problems,
        "problems": problems,
        "settings": effective.public(),
        "seeds": probed.seeds,
        "reached": probed.reached,
        "username": effective.username,
        "cluster_id": probed.cluster_id,
        "agreement": {
            "mode": effective.mode,
            "addresses": list(effective.addresses),
            "database": effective.database,
            "tls": effective.tls,
            "node_ids": sorted(probed.node_ids),
        },
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "component": {"type": "str", "required": True, "choices": list(COMPONENTS)},
            "path": {"type": "path"},
            "unit": {"type": "str"},
            "env_files": {"type": "list", "elements": "path"},
            "timeout": {"type": "int", "default": 5},
            "expect_nodes": {"type": "list", "elements": "str", "default": []},
            "probe_key_prefix": {"type": "str", "default": "tyk-redis-check-", "no_log": False},
        },
        supports_check_mode=True,
    )
    if not HAS_REDIS:
        module.fail_json(msg=missing_required_lib("redis"), exception=REDIS_IMPORT_ERROR)
    try:
        result = run(module)
    except CheckError as exc:
        module.fail_json(msg=str(exc))
    if result["healthy"]:
        module.exit_json(**result)
    problems = result["problems"]
    title = COMPONENTS[result["component"]].title
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    module.fail_json(msg=f"{title} and its Redis: {count}. {' '.join(problems)}", **result)


if __name__ == "__main__":
    main()
