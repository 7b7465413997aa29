#!/usr/bin/python
# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_cluster_info
short_description: Ask every node of a Redis Cluster what it sees, and say what is wrong
version_added: 0.1.0
description:
  - Asks each declared node on a connection of its own, merges the answers, and reports roles, slots, replication
    and every disagreement.
  - Does not fail because of an unhealthy cluster; it reports. Let a following task judge RV(cluster.healthy).
  - Only reads are sent.
attributes:
  check_mode:
    support: full
  diff_mode:
    support: N/A
    details:
      - This module does not change anything.
  idempotent:
    support: full
options:
  replicas_per_primary:
    description:
      - The number of replicas that each primary is to have.
      - When it is given, the numbers of primaries and replicas are judged too.
    type: int
extends_documentation_fragment:
  - apiops.tyk_redis._attributes
  - apiops.tyk_redis._cluster_nodes
  - apiops.tyk_redis._redis_connection
notes:
  - The user needs the permissions for C(AUTH), C(INFO), C(CLUSTER INFO) and C(CLUSTER NODES), and for
    RV(cluster.nodes[].maxclients) on Redis 6.0 the one for C(CONFIG GET).
seealso:
  - module: apiops.tyk_redis.redis_cluster
author:
  - The apiops.tyk_redis contributors (@apiops)
"""

EXAMPLES = r"""
- name: Ask the nodes
  apiops.tyk_redis.redis_cluster_info:
    nodes:
      - {name: redis-1, address: 192.0.2.11}
      - {name: redis-2, address: 192.0.2.12}
      - {name: redis-3, address: 192.0.2.13}
      - {name: redis-4, address: 192.0.2.14}
      - {name: redis-5, address: 192.0.2.15}
      - {name: redis-6, address: 192.0.2.16}
    replicas_per_primary: 1
    username: admin
    password: "{{ vault_redis_admin_password }}"
  register: redis

- name: Fail with what is wrong
  ansible.builtin.assert:
    that: redis.cluster.healthy
    fail_msg: "{{ redis.problems | join('\n') }}"
"""

RETURN = r"""
cluster:
  description: The views of all nodes, merged.
  returned: always
  type: dict
  contains:
    state:
      description:
        - V(ok) when nothing is wrong, V(none) when no node belongs to a cluster yet, V(broken) otherwise.
      type: str
      sample: ok
    healthy:
      description: Whether the state is V(ok). A placement that could be better does not make it unhealthy.
      type: bool
      sample: true
    agreed:
      description: Whether every declared node answered and all say the same about members, roles and slots.
      type: bool
      sample: true
    slots_served:
      description: How many of the 16384 slots have an owner that is up.
      type: int
      sample: 16384
    size:
      description: How many nodes own slots.
      type: int
      sample: 3
    nodes:
      description: The declared nodes in the order of the declaration.
      type: list
      elements: dict
      contains:
        name:
          description: The declared name.
          type: str
          sample: redis-4
        address:
          description: The declared address and port.
          type: str
          sample: 192.0.2.14:6379
        host:
          description: The declared host.
          type: str
          sample: 192.0.2.14
        zone:
          description: The declared zone, or empty.
          type: str
          sample: a
        id:
          description: The node id, empty when nobody knows it.
          type: str
          sample: f2bf2882a2604e019b8b7cb45274ef3debfc4df6
        role:
          description:
            - V(primary), V(replica), V(alone) for a node that knows no other, or V(unreachable).
          type: str
          sample: replica
        primary:
          description: The address of the primary that a replica follows, or empty.
          type: str
          sample: 192.0.2.11:6379
        primary_name:
          description: The name of that primary, or empty.
          type: str
          sample: redis-1
        slots:
          description: The ranges of slots that the node owns.
          type: list
          elements: str
          sample: []
        slot_count:
          description: How many slots that are.
          type: int
          sample: 0
        keys:
          description: How many keys the node holds.
          type: int
          sample: 0
        lag_bytes:
          description:
            - How far a replica is behind its primary. They are not asked at the same instant, so with a busy
              primary this is an estimate.
            - Null for a primary, and when the link is down.
          type: int
          sample: 0
        link:
          description: V(up) or V(down) for the replication link of a replica, otherwise empty.
          type: str
          sample: up
        epoch:
          description: The config epoch.
          type: int
          sample: 1
        version:
          description: The product and its version.
          type: str
          sample: redis 7.0.15
        maxclients:
          description:
            - The most connections that the node admits, those of replicas and of the cluster bus included. It is the
              limit in force, which is lower than the configured one when the server may not open enough files.
            - Null when the node does not tell. Redis 6.0 tells it to C(CONFIG GET) only, which this module asks and
              M(apiops.tyk_redis.redis_cluster) does not.
          type: int
          sample: 10000
        reachable:
          description: Whether the node answered.
          type: bool
          sample: true
        error:
          description: Why not, as a sentence, or empty.
          type: str
          sample: ""
        flags:
          description: The flags that the node gives itself.
          type: list
          elements: str
          sample:
            - slave
problems:
  description:
    - What is wrong, as sentences. Empty if and only if RV(cluster.healthy) is V(true).
  returned: always
  type: list
  elements: str
  sample:
    - >-
      redis-1: 192.0.2.11:6379 refused the connection; start Redis there, and check the address and port it listens on.
    - redis-2, redis-3, redis-4, redis-5 and redis-6 have marked redis-1 as failed.
    - redis-4 (slots 0-5460) has 0 of 1 replica.
remarks:
  description:
    - What could be better and does not make the cluster unhealthy, as sentences, for example that a primary shares its
      host with a replica of its own.
  returned: always
  type: list
  elements: str
  sample:
    - redis-1 and its replica redis-4 share the host 192.0.2.11 and fail together; declare nodes on more hosts.
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.apiops.tyk_redis.plugins.module_utils._cluster_apply import Cluster
from ansible_collections.apiops.tyk_redis.plugins.module_utils._cluster_options import (
    cluster_options,
    connection_options,
    connector,
    declared_nodes,
)
from ansible_collections.apiops.tyk_redis.plugins.module_utils._cluster_plan import check_addresses
from ansible_collections.apiops.tyk_redis.plugins.module_utils._redis_client import HAS_REDIS, REDIS_IMPORT_ERROR


def run(module: AnsibleModule) -> dict[str, Any]:
    nodes = declared_nodes(module.params)
    unclear = check_addresses(nodes)
    if unclear:
        module.fail_json(msg=" ".join(unclear))
    replicas = module.params["replicas_per_primary"]
    with Cluster(nodes, connector(module.params), replicas_per_primary=replicas, limits=True) as cluster:
        view = cluster.observe()
    return {
        "changed": False,
        "cluster": view.as_dict(),
        "problems": [problem.sentence for problem in view.errors],
        "remarks": [problem.sentence for problem in view.warnings],
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **cluster_options(),
            **connection_options(),
            "replicas_per_primary": {"type": "int"},
        },
        supports_check_mode=True,
    )
    if not HAS_REDIS:
        module.fail_json(msg=missing_required_lib("redis"), exception=REDIS_IMPORT_ERROR)
    module.exit_json(**run(module))


if __name__ == "__main__":
    main()
