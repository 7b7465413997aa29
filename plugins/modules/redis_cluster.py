#!/usr/bin/python
# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_cluster
short_description: Form a Redis Cluster from a list of nodes
version_added: 0.1.0
description:
  - Makes one cluster of the declared nodes, which run Redis or Valkey in cluster mode and hold no data.
  - Chooses the primaries in turns from the zones and hosts, and gives each its replicas on other hosts,
    and in other zones as far as the declared nodes allow it.
  - Run it on one host that reaches every node; it talks to all of them.
  - A creation that was interrupted at any point is continued by the next run.
  - When all is as described, only reads are sent. Roles are not pinned, so a failover that swapped a primary
    and its replica is no difference.
  - Returns only when every node, asked on its own connection, agrees on members, roles and slots, when all
    16384 slots are served and every replica is in sync.
  - Anything else is refused with every reason at once and nothing is touched, for example nodes that hold keys,
    that belong to another cluster or that cannot be reached, and a cluster in which a node is down.
attributes:
  check_mode:
    support: full
    details:
      - The plan is computed from what the nodes say and returned. Only reads are sent.
  diff_mode:
    support: full
    details:
      - One line per node with its role and its slots, followed by the plan.
  idempotent:
    support: full
options:
  replicas_per_primary:
    description:
      - The number of replicas of each primary.
      - Nodes that are left over when the nodes do not divide evenly become additional replicas.
    type: int
    default: 1
  node_timeout:
    description:
      - The C(cluster-node-timeout) that the servers are configured with, in milliseconds.
      - When it is given and larger than 2000, the cluster is formed with 2000 and the given value is set
        afterwards, also when forming fails. That makes nodes agree faster, with many nodes much faster.
      - A node of a complete cluster that runs with another value is given this one, so that a run that was killed while
        forming leaves nothing behind.
      - Without it, the setting is neither read nor changed.
    type: int
  assume_fresh:
    description:
      - In check mode, plan as for nodes that have just been started, without asking any of them.
      - For the check mode of a play that would also install them. Outside of check mode it has no effect.
    type: bool
    default: false
  timeout:
    description:
      - The number of seconds to wait at most in each step that waits, for example until all nodes know each other.
    type: int
    default: 60
extends_documentation_fragment:
  - apiops.tyk_redis._attributes
  - apiops.tyk_redis._cluster_nodes
  - apiops.tyk_redis._redis_connection
notes:
  - The user needs the permissions for C(INFO) and C(CLUSTER), and with O(node_timeout) for C(CONFIG GET)
    and C(CONFIG SET).
  - Each node must reach the cluster bus port of each other one.
seealso:
  - module: apiops.tyk_redis.redis_cluster_info
author:
  - The apiops.tyk_redis contributors (@apiops)
"""

EXAMPLES = r"""
- name: Form a cluster of three primaries and three replicas
  apiops.tyk_redis.redis_cluster:
    nodes:
      - {name: redis-1, address: 192.0.2.11, zone: a}
      - {name: redis-2, address: 192.0.2.12, zone: b}
      - {name: redis-3, address: 192.0.2.13, zone: c}
      - {name: redis-4, address: 192.0.2.14, zone: a}
      - {name: redis-5, address: 192.0.2.15, zone: b}
      - {name: redis-6, address: 192.0.2.16, zone: c}
    replicas_per_primary: 1
    node_timeout: 15000
    username: admin
    password: "{{ vault_redis_admin_password }}"

- name: Form a cluster of two instances on each of three machines, over TLS
  apiops.tyk_redis.redis_cluster:
    nodes:
      - {address: 192.0.2.11, port: 6379}
      - {address: 192.0.2.11, port: 6380}
      - {address: 192.0.2.12, port: 6379}
      - {address: 192.0.2.12, port: 6380}
      - {address: 192.0.2.13, port: 6379}
      - {address: 192.0.2.13, port: 6380}
    password: "{{ vault_redis_password }}"
    tls: true
    tls_ca_file: /etc/ssl/certs/redis-ca.pem
"""

RETURN = r"""
plan:
  description:
    - The steps that were taken, or that would be taken in check mode, as sentences.
    - Empty when all is as described.
  returned: always
  type: list
  elements: str
  sample:
    - Give redis-1 the config epoch 1.
    - Assign the slots 0-5460 to redis-1.
    - Introduce redis-1 to redis-2, redis-3 and redis-5.
    - Wait until all 6 nodes know each other.
    - Make redis-4 a replica of redis-1.
    - Wait until every node agrees, all 16384 slots are served and every replica is in sync.
reasons:
  description: Why nothing was done, each a sentence.
  returned: when the module refuses to act
  type: list
  elements: str
  sample:
    - >-
      redis-2: 192.0.2.12:6379 refused the connection; start Redis there, and check the address and port it listens on.
cluster:
  description:
    - What the nodes say, merged, as in the return value C(cluster) of M(apiops.tyk_redis.redis_cluster_info).
    - In check mode and after a refusal, as it was found; otherwise as it is at the end.
  returned: when the nodes could be told apart
  type: dict
  sample:
    state: ok
    healthy: true
    agreed: true
    slots_served: 16384
    size: 3
    nodes:
      - name: redis-1
        address: 192.0.2.11:6379
        host: 192.0.2.11
        zone: a
        id: 4b04b7752d20554bd4b06897b19443667f15eed1
        role: primary
        primary: ""
        primary_name: ""
        slots:
          - 0-5460
        slot_count: 5461
        keys: 0
        lag_bytes:
        link: ""
        epoch: 1
        version: redis 7.0.15
        reachable: true
        error: ""
        flags:
          - master
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.apiops.tyk_redis.plugins.module_utils._cluster_apply import ApplyError, Cluster
from ansible_collections.apiops.tyk_redis.plugins.module_utils._cluster_options import (
    cluster_options,
    connection_options,
    connector,
    declared_nodes,
    numbered,
)
from ansible_collections.apiops.tyk_redis.plugins.module_utils._cluster_plan import (
    Desired,
    Plan,
    PlanRefused,
    check_addresses,
    fresh_view,
    make_plan,
)
from ansible_collections.apiops.tyk_redis.plugins.module_utils._cluster_view import ClusterView
from ansible_collections.apiops.tyk_redis.plugins.module_utils._redis_client import HAS_REDIS, REDIS_IMPORT_ERROR

# How long a failover or a restart may take to be over before the plan is made.
SETTLING_SECONDS = 10


def diff_of(view: ClusterView, plan: Plan) -> dict[str, str]:
    """What is there and what is to be, followed by how."""
    before = "".join(f"{line}\n" for line in view.describe())
    after = "".join(f"{line}\n" for line in plan.layout)
    if plan.steps:
        after += "\n" + numbered(plan.sentences)
    return {"before": before, "after": after, "before_header": "cluster (found)", "after_header": "cluster (described)"}


def described(module: AnsibleModule) -> Desired:
    """The options as a description."""
    desired = Desired(
        nodes=declared_nodes(module.params),
        replicas_per_primary=module.params["replicas_per_primary"],
        node_timeout=module.params["node_timeout"],
    )
    unclear = check_addresses(desired.nodes)
    if unclear:
        raise PlanRefused(unclear)
    return desired


def told(module: AnsibleModule, plan: Plan, view: ClusterView) -> dict[str, Any]:
    """What the module returns about a plan."""
    for warning in plan.warnings:
        module.warn(warning)
    result: dict[str, Any] = {"changed": plan.changed, "plan": plan.sentences}
    if module._diff:
        result["diff"] = diff_of(view, plan)
    return result


def plan_fresh(module: AnsibleModule) -> dict[str, Any]:
    """The plan for nodes that are not there yet."""
    desired = described(module)
    view = fresh_view(desired)
    return {**told(module, make_plan(desired, view), view), "cluster": view.as_dict()}


def run(module: AnsibleModule) -> dict[str, Any]:
    desired = described(module)
    with Cluster(
        desired.nodes,
        connector(module.params),
        replicas_per_primary=desired.replicas_per_primary,
        ask_node_timeout=desired.node_timeout is not None,
    ) as cluster:
        view = cluster.observe_settled(min(SETTLING_SECONDS, module.params["timeout"]))
        try:
            plan = make_plan(desired, view)
        except PlanRefused as refusal:
            refusal.observed = view.as_dict()
            raise
        result = told(module, plan, view)
        if not module.check_mode:
            try:
                view = cluster.execute(plan, view, module.params["timeout"])
            except ApplyError as exc:
                module.fail_json(msg=str(exc), cluster=exc.view.as_dict(), **result)
        result["cluster"] = view.as_dict()
        return result


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **cluster_options(),
            **connection_options(),
            "replicas_per_primary": {"type": "int", "default": 1},
            "node_timeout": {"type": "int"},
            "assume_fresh": {"type": "bool", "default": False},
            "timeout": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )
    fresh = module.params["assume_fresh"] and module.check_mode
    if not HAS_REDIS and not fresh:
        module.fail_json(msg=missing_required_lib("redis"), exception=REDIS_IMPORT_ERROR)
    try:
        result = plan_fresh(module) if fresh else run(module)
    except PlanRefused as refusal:
        observed = {} if refusal.observed is None else {"cluster": refusal.observed}
        failure: dict[str, Any] = {"msg": str(refusal), "reasons": list(refusal.reasons), "plan": [], **observed}
        module.fail_json(**failure)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
