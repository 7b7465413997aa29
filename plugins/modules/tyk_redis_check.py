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
  - Each store that the component uses is proved, its main one as well as a separate one for the cache or for analytics.
  - With a Redis Cluster, the addresses that the cluster announces are followed to every primary and every replica, so
    that one seed, such as the configuration endpoint of a managed service, is enough. With Sentinel, every Sentinel is
    asked for the primary and its replicas.
  - Seeds of one cluster that say different things, as they do in the first seconds after a replica has come back, have
    10 seconds to agree.
  - On every primary a probe key is written and deleted; every replica is read.
  - On every node it is proved that the component's user may run each command that the component needs, and that it may
    not run FLUSHALL, KEYS, CONFIG and other commands that no component needs. For this the commands are queued in a
    transaction that is then discarded; nothing is executed.
  - Every problem is reported, not only the first one, in words that say what is wrong, where the value comes from, and
    what to do.
  - The probe keys expire by themselves after 60 seconds, so that an interrupted run leaves nothing behind.
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
  version:
    description:
      - The component's version, for example V(5.8.6). Settings that it does not read count for nothing.
      - Without it the package manager is asked for the installed package, unless O(env_format) says that the component
        runs in a container. When nobody knows it, the newest one is assumed.
    type: str
    version_added: 0.2.0
  env_format:
    description:
      - How O(env_files) are read, by systemd, by C(docker run --env-file) or by docker compose.
    type: str
    choices:
      - systemd
      - docker
      - compose
    default: systemd
    version_added: 0.2.0
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
      - Addresses of nodes, each C(host:port) as the cluster announces it, that have to be part of the main store.
      - A replica that has failed is no longer announced to clients, so that only this list can tell that it is missing.
    type: list
    elements: str
    default: []
  probe_key_prefix:
    description:
      - What the name of each probe key begins with. Redis has to allow keys with this prefix to the user.
      - By default V(analytics-tyk-system-analytics-check-) for Pump, whose user may work on few keys only, and
        V(tyk-redis-check-) for the others.
    type: str
  least_privilege:
    description:
      - The stores in which it is a problem when the user may do more than the component needs.
      - In others it is a remark.
      - V(main) is the first store of the component, whatever it calls that.
    type: list
    elements: str
    choices:
      - main
      - cache_storage
      - analytics_storage
    default: []
    version_added: 0.2.0
notes:
  - Where the user may use C(INFO), a replica that has lost its primary is noticed too.
  - Each command that is refused to the user, as it should be, leaves an entry in the C(ACL LOG) of the server.
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
remarks:
  description: What has no effect, what a known fault of this version concerns, or what the user may do without need.
  returned: always
  type: list
  elements: str
  sample: []
version:
  description: The version that was reckoned with; empty when nobody knew it and the newest was assumed.
  returned: always
  type: str
  sample: 5.8.6
settings:
  description:
    - The effective settings of the main store that somebody has set, by the collection's own name for them.
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
rights:
  description: What the user may do in the main store, in words of an ACL rule; empty when nothing could be asked.
  returned: always
  type: dict
  contains:
    allowed:
      description: What the component needs and the user may do on every node.
      type: list
      elements: str
    missing:
      description: What the component needs and the user may not do on one node at least.
      type: list
      elements: str
    refused:
      description: What no component needs and the user may not do on any node.
      type: list
      elements: str
    excess:
      description:
        - What no component needs and the user may do on one node at least.
        - V(~*) stands for the keys of others.
      type: list
      elements: str
    unproved:
      description: What could not be told, as C(shutdown) since Redis 7.0, which no transaction takes.
      type: list
      elements: str
  sample:
    allowed:
      - get
      - set
      - del
    missing: []
    refused:
      - flushall
      - keys
    excess: []
    unproved:
      - shutdown
username:
  description: The Redis user of the component.
  returned: always
  type: str
  sample: tyk
stores:
  description:
    - Every store that is in use, the main one first, each with RV(ignore:section), RV(ignore:purposes),
      RV(ignore:healthy) and the same of it as is returned for the main one.
  returned: always
  type: list
  elements: dict
  sample:
    - section: storage
      purposes:
        - main
        - cache
        - analytics
      healthy: true
      mode: cluster
      addresses:
        - 192.0.2.11:6379
        - 192.0.2.12:6379
      username: tyk
      settings: {}
      seeds: []
      reached: []
      rights: {}
      cluster_id: ac41442e2af140dc
      agreement: {}
cluster_id:
  description: A digest of the node IDs that is equal for all who see the same nodes; empty when none was seen.
  returned: always
  type: str
  sample: ac41442e2af140dc
agreement:
  description: What has to be equal for all components that use a store for the same purpose, to compare results.
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

import typing as t

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.apiops.tyk_redis.plugins.module_utils._env_document import COMPOSE, DOCKER, SYSTEMD
from ansible_collections.apiops.tyk_redis.plugins.module_utils._redis_client import (
    HAS_REDIS,
    REDIS_IMPORT_ERROR,
    Address,
)
from ansible_collections.apiops.tyk_redis.plugins.module_utils._redis_probe import Probe, ProbeResult
from ansible_collections.apiops.tyk_redis.plugins.module_utils._tyk_effective import Effective, read
from ansible_collections.apiops.tyk_redis.plugins.module_utils._tyk_faults import faults
from ansible_collections.apiops.tyk_redis.plugins.module_utils._tyk_host import (
    HostProblem,
    content,
    environment,
    shown_version,
    version_of,
)
from ansible_collections.apiops.tyk_redis.plugins.module_utils._tyk_settings import COMPONENTS


class CheckError(Exception):
    """The check cannot be made. The text is a finished sentence."""


def _expected(texts: t.Sequence[str]) -> list[Address]:
    try:
        return [Address.parse(text) for text in texts]
    except ValueError as exc:
        raise CheckError(f"expect_nodes: {exc}.") from exc


def _probe(module: AnsibleModule, effective: Effective, expect_nodes: t.Sequence[Address]) -> ProbeResult:
    if not effective.usable:
        return ProbeResult()
    is_main = effective.component.section == effective.component.main
    probe = Probe(
        effective,
        timeout=module.params["timeout"],
        write=not module.check_mode,
        expect_nodes=expect_nodes,
        key_prefix=module.params["probe_key_prefix"],
        least_privilege=("main" if is_main else effective.component.section) in module.params["least_privilege"],
    )
    return probe.run()


def _store(effective: Effective, probed: ProbeResult) -> dict[str, t.Any]:
    return {
        "section": effective.component.section,
        "purposes": list(effective.purposes),
        "healthy": not (effective.problems or effective.unprovable or probed.problems),
        "mode": effective.mode,
        "addresses": list(effective.addresses),
        "username": effective.username,
        "settings": effective.public(),
        "seeds": probed.seeds,
        "reached": probed.reached,
        "rights": probed.rights,
        "cluster_id": probed.cluster_id,
        "agreement": {
            "mode": effective.mode,
            "addresses": list(effective.addresses),
            "database": effective.database,
            "tls": effective.tls,
            "node_ids": sorted(probed.node_ids),
        },
    }


def _of_store(effective: Effective, sentences: t.Iterable[str]) -> list[str]:
    """Sentences about one store, which say so when it is not the main one."""
    if effective.component.section == effective.component.main:
        return list(sentences)
    return [f"{effective.component.section}: {sentence}" for sentence in sentences]


def run(module: AnsibleModule) -> dict[str, t.Any]:
    prefix = module.params["probe_key_prefix"]
    if prefix is not None and (not prefix or set(prefix) & set("{}")):
        raise CheckError(
            f"probe_key_prefix is {prefix!r}, but it must not be empty or hold braces, which choose the slot of a key."
        )
    if module.params["timeout"] < 1:
        raise CheckError(f"timeout is {module.params['timeout']}, but at least 1 second is needed.")
    expect_nodes = _expected(module.params["expect_nodes"])
    component = COMPONENTS[module.params["component"]]
    path = module.params["path"] or component.config_path
    kind, given = module.params["env_format"], module.params["version"]
    if kind != SYSTEMD and module.params["env_files"] is None:
        raise CheckError(f"env_format is {kind!r}, for which env_files has to name the files.")
    # What runs in a container is not what this host's package manager knows.
    version = version_of(module, component, given) if given or kind == SYSTEMD else None
    around = environment(
        module,
        component,
        unit=module.params["unit"] or component.service,
        env_files=module.params["env_files"],
        kind=kind,
    )
    effective = read(component, path, content(path), around.variables, around.files, version)
    problems = list(around.problems)
    remarks = faults(effective)
    stores = []
    for store in effective.stores:
        is_main = store.component.section == component.main
        probed = _probe(module, store, expect_nodes if is_main else ())
        problems += _of_store(store, [*store.problems, *store.unprovable, *probed.problems])
        remarks += _of_store(store, [*store.remarks, *probed.remarks])
        stores.append(_store(store, probed))
    main_store = stores[0]
    return {
        "changed": False,
        "component": component.name,
        "version": shown_version(version),
        "healthy": not problems,
        "problems": problems,
        "remarks": remarks,
        "stores": stores,
        **{
            name: main_store[name]
            for name in ("settings", "seeds", "reached", "rights", "username", "cluster_id", "agreement")
        },
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "component": {"type": "str", "required": True, "choices": list(COMPONENTS)},
            "path": {"type": "path"},
            "unit": {"type": "str"},
            "version": {"type": "str"},
            "env_format": {"type": "str", "choices": [SYSTEMD, DOCKER, COMPOSE], "default": SYSTEMD},
            "env_files": {"type": "list", "elements": "path"},
            "timeout": {"type": "int", "default": 5},
            "expect_nodes": {"type": "list", "elements": "str", "default": []},
            "probe_key_prefix": {"type": "str", "no_log": False},
            "least_privilege": {
                "type": "list",
                "elements": "str",
                "choices": ["main", "cache_storage", "analytics_storage"],
                "default": [],
            },
        },
        supports_check_mode=True,
    )
    if not HAS_REDIS:
        module.fail_json(msg=missing_required_lib("redis"), exception=REDIS_IMPORT_ERROR)
    try:
        result = run(module)
    except (CheckError, HostProblem) as exc:
        module.fail_json(msg=str(exc))
    if result["healthy"]:
        module.exit_json(**result)
    problems = result["problems"]
    title = COMPONENTS[result["component"]].title
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    module.fail_json(msg=f"{title} and its Redis: {count}. {' '.join(problems)}", **result)


if __name__ == "__main__":
    main()
