#!/usr/bin/python
# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_failover
short_description: Hand the role of a Redis Cluster primary over to a replica
version_added: 0.1.0
description:
  - For the moment before an instance is stopped or restarted. When the instance is a primary with slots, its best
    replica takes over by C(CLUSTER FAILOVER), which loses no acknowledged write.
  - The best replica is in sync, not older than the primary and at most 1 MiB behind it. One with
    C(cluster-replica-no-failover) is taken only when there is no other; then one that may take over at once; then the
    one that has most of the data.
  - Does nothing when the instance is a replica, a primary without slots, or not in cluster mode.
  - When it has no replica at all, nothing is changed and RV(alone) is V(true), so that the caller decides.
  - When it has replicas and none of them could take over, waits up to O(timeout) for one, then fails. Nothing is
    changed then either.
  - An attempt that fails would hold writes back for 5 seconds, so none is made before a majority of the primaries can
    vote, and before the replica may run for election again. Redis and Valkey before 8.1 fail in an election within 4
    times C(cluster-node-timeout) of the replica's previous one. The module waits that long when the servers' counters
    and the age of their links do not prove that there was none, and fails before it changes anything when O(timeout)
    is too short for it.
  - Returns when every member of the cluster that can be asked agrees about roles, slots and epochs, so that the next
    host of a play with C(serial) starts from a settled cluster. Nothing depends on other hosts of the play.
author:
  - The apiops.tyk_redis contributors (@apiops)
extends_documentation_fragment:
  - apiops.tyk_redis._attributes
  - apiops.tyk_redis._redis_connection
notes:
  - The user needs the permissions for C(INFO), C(ROLE) and C(CLUSTER), and better also for C(CLIENT LIST) and
    C(CONFIG GET). Without the latter two it waits as if the last election had just been, at the default node timeout.
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  address:
    description:
      - The IP address of the instance.
    type: str
    required: true
  port:
    description:
      - The port of the instance.
    type: int
    default: 6379
  timeout:
    description:
      - Seconds to wait until a replica may take over, has done so, the instance follows it and all nodes agree.
    type: int
    default: 60
"""

EXAMPLES = r"""
- name: Make sure that this instance is no primary before it is stopped
  apiops.tyk_redis.redis_failover:
    address: 192.0.2.11
    username: tyk-redis-admin
    password: "{{ vault_tyk_redis_admin_password }}"

- name: Restart one instance after the other, never one that is a primary
  hosts: redis
  serial: 1
  tasks:
    - name: Hand the role over
      apiops.tyk_redis.redis_failover:
        address: "{{ ansible_host }}"
        password: "{{ vault_redis_password }}"
      register: handed_over

    - name: Restart
      ansible.builtin.service:
        name: redis-server
        state: restarted
      when: not handed_over.alone
"""

RETURN = r"""
alone:
  description: Whether the instance is a primary with slots that has no replica at all.
  type: bool
  returned: success
  sample: false
successor:
  description: The C(address:port) of the replica that took over, or would in check mode. Empty when none did.
  type: str
  returned: success
  sample: 192.0.2.14:6379
milliseconds:
  description:
    - How long it took from the command to the replica's new role.
    - 0 when no role was handed over.
  type: int
  returned: success
  sample: 12
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.apiops.tyk_redis.plugins.module_utils._cluster_options import connection_options, opener
from ansible_collections.apiops.tyk_redis.plugins.module_utils._failover import Failover, FailoverError
from ansible_collections.apiops.tyk_redis.plugins.module_utils._redis_client import (
    HAS_REDIS,
    REDIS_IMPORT_ERROR,
    Address,
    RedisProblem,
)

CONNECT_SECONDS = 5.0


def run(module: AnsibleModule) -> dict[str, t.Any]:
    params = module.params
    address = Address(params["address"], params["port"])
    milliseconds = 0
    with Failover(address, opener(params, CONNECT_SECONDS), params["timeout"]) as failover:
        has_role, replica = failover.successor(wait=not module.check_mode)
        if replica is not None and not module.check_mode:
            handover = failover.hand_over(replica)
            milliseconds = handover.milliseconds
            for warning in handover.warnings:
                module.warn(warning)
    return {
        "changed": replica is not None,
        "alone": has_role and replica is None,
        "successor": "" if replica is None else str(replica),
        "milliseconds": milliseconds,
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "address": {"type": "str", "required": True},
            "port": {"type": "int", "default": 6379},
            "timeout": {"type": "int", "default": 60},
            **connection_options(),
        },
        supports_check_mode=True,
    )
    if not HAS_REDIS:
        module.fail_json(msg=missing_required_lib("redis"), exception=REDIS_IMPORT_ERROR)
    try:
        result = run(module)
    except (FailoverError, RedisProblem) as exc:
        module.fail_json(msg=str(exc))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
