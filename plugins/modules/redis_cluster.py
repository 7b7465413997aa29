#!/usr/bin/python
# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_cluster
short_description: Converge a Redis Cluster onto a list of nodes
version_added: 0.1.0
description:
  - Makes one cluster of the declared nodes, which run Redis or Valkey in cluster mode, whatever is there. It forms a
    new one, adds primaries and replicas, lets nodes leave, replaces dead ones, re-balances slots, and repairs what is
    broken.
  - Chooses the primaries in turns from the zones and hosts, and gives each its replicas on other hosts,
    and in other zones as far as the declared nodes allow it. Where a cluster has come to differ from that, replicas
    change their primaries and roles are handed over until it is so again. Slots move only for the sake of balance.
  - Run it on one host that reaches every node; it talks to all of them.
  - A run that was interrupted at any point, also in the middle of a slot move, is continued by the next run.
  - When all is as described, only reads are sent. Which member of a shard is its primary is no difference, unless the
    primaries crowd on one host or zone.
  - Returns only when every node, asked on its own connection, agrees on members, roles and slots, when all
    16384 slots are served and every replica is in sync.
  - Slots with keys are never given up or re-assigned without their keys, unless O(allow_data_loss) names them.
    New nodes that hold keys, members that nobody declared, declared nodes that cannot be reached, and whatever else
    cannot be done safely is refused with every reason at once, and nothing is touched.
  - Two runs on one cluster exclude each other. The lock lives as long as the connections of the run, so a run
    that was killed leaves none behind.
attributes:
  check_mode:
    support: full
    details:
      - The plan is computed from what the nodes say and returned, with the slots and the keys that would move. Only
        reads are sent.
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
  remove:
    description:
      - Members that are to leave, each as C(ADDRESS:PORT) as the cluster knows it. Their slots move to the others, a
        replica takes a primary's role over where the shard stays, and then they are reset and forgotten by all.
      - They must be reachable with the same user, unless the cluster has marked them as failed.
      - An address that is no member (any more) is passed over, so the option may stay.
    type: list
    elements: str
    default: []
  rebalance_threshold:
    description:
      - How far from its share a primary's number of slots may be, in percent of that share, before slots are moved.
    type: float
    default: 2
  move_method:
    description:
      - How slots move. V(keys) moves keys by C(MIGRATE). V(atomic) lets the servers move whole slots (Valkey 9.0,
        Redis 8.4) and is refused where one of the nodes cannot.
      - V(auto) is V(atomic) where both shards can, and V(keys) elsewhere.
    type: str
    choices: [auto, keys, atomic]
    default: auto
  move_stall:
    description:
      - For how many milliseconds a server may be kept busy with moving keys at a time. Less is gentler to the clients,
        more is faster. A key that is larger than what can be moved in that time is moved all the same.
      - Without it, that is 1 while clients work on the owner of the slots (more than 20 commands a second), and 5 while
        none do.
      - It has no effect on atomic moves.
    type: int
  move_load:
    description:
      - For how many percent of the time the owners of slots that move are kept at moving; for the rest of it they are
        there for their clients alone. With 25, moving takes up to four times as long as with 100.
      - Without it, that is 15 while clients work on the owner of the slots (more than 20 commands a second), and 100
        while none do.
      - It has no effect on atomic moves.
    type: int
  progress_file:
    description:
      - A file on the host that runs the module, in which a person can watch the run with C(tail -f), for example how
        many keys have been moved, how fast, and how long it still takes.
      - It is begun anew by each run that changes something.
    type: path
  allow_data_loss:
    description:
      - Slots whose keys may be lost, as numbers or ranges such as C(5461-10922).
      - Needed only when the owner of slots is gone for good. The refusal without it says which slots, and what is lost.
    type: list
    elements: str
    default: []
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
      - In check mode, take nodes that refuse the connection and that no other node knows for such as have just been
        started. Where the Python library redis is missing, all nodes are taken for that.
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
  - The user needs the permissions for C(INFO), C(ROLE), C(DBSIZE), C(CLUSTER), C(CLIENT SETNAME) and C(CLIENT LIST),
    with O(node_timeout) for C(CONFIG GET) and C(CONFIG SET), and for moving slots for C(MIGRATE), C(DUMP), C(ASKING),
    C(RESTORE), C(MEMORY USAGE) and C(EVAL) on all keys. Without C(EVAL) slots move more slowly.
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
    - Introduce redis-1 to redis-2, redis-3 and redis-4.
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
done:
  description:
    - The steps that were carried out. They are those of RV(plan), unless RV(replanned) says otherwise.
  returned: when something was to be done, outside of check mode
  type: list
  elements: str
  sample:
    - Give redis-1 the config epoch 1.
replanned:
  description:
    - Why the plan was changed on the way, and to what. Empty when it was carried out as it was made.
  returned: when something was to be done, outside of check mode
  type: list
  elements: str
  sample: []
moves:
  description:
    - What each group of slot moves came to, in words.
  returned: when something was to be done, outside of check mode
  type: list
  elements: str
  sample:
    - 99900 of 99900 keys (4096 of 4096 slots) in 1 s, 112000 keys/s
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
        maxclients: 10000
        reachable: true
        error: ""
        flags:
          - master
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.apiops.tyk_redis.plugins.module_utils import _slot_batches
from ansible_collections.apiops.tyk_redis.plugins.module_utils._cluster_apply import (
    THREADS,
    ApplyError,
    Cluster,
    Converger,
    Outcome,
    as_move,
)
from ansible_collections.apiops.tyk_redis.plugins.module_utils._cluster_lock import ClusterLock, LockRefused
from ansible_collections.apiops.tyk_redis.plugins.module_utils._cluster_options import (
    cluster_options,
    connection_options,
    connector,
    credentials,
    declared_nodes,
    leaving_nodes,
    numbered,
    slots_named,
)
from ansible_collections.apiops.tyk_redis.plugins.module_utils._cluster_plan import (
    Desired,
    check_addresses,
    fresh_view,
    make_plan,
)
from ansible_collections.apiops.tyk_redis.plugins.module_utils._cluster_steps import MoveSlots, Plan, PlanRefused
from ansible_collections.apiops.tyk_redis.plugins.module_utils._cluster_view import ClusterView
from ansible_collections.apiops.tyk_redis.plugins.module_utils._progress import Progress, ProgressError
from ansible_collections.apiops.tyk_redis.plugins.module_utils._progress_text import Moved
from ansible_collections.apiops.tyk_redis.plugins.module_utils._redis_client import (
    HAS_REDIS,
    REDIS_IMPORT_ERROR,
    RedisProblem,
)
from ansible_collections.apiops.tyk_redis.plugins.module_utils._slot_moves import SlotMover

# How long a failover or a restart may take to be over before the plan is made: at least so many seconds, and so many
# node timeouts (a member is marked as failed after one to two, and an election takes another).
SETTLING_SECONDS = 10
SETTLING_NODE_TIMEOUTS = 3
# How often a long slot move makes sure that it is still the only run.
SECONDS_BETWEEN_CONFIRMATIONS = 5


def diff_of(view: ClusterView, plan: Plan) -> dict[str, str]:
    """What is there and what is to be, followed by how."""
    before = "".join(f"{line}\n" for line in view.describe())
    after = "".join(f"{line}\n" for line in plan.layout)
    if plan.steps:
        after += "\n" + numbered(plan.sentences)
    return {"before": before, "after": after, "before_header": "cluster (found)", "after_header": "cluster (described)"}


def described(module: AnsibleModule) -> Desired:
    """The options as a description."""
    params = module.params
    nodes = declared_nodes(params)
    reasons = check_addresses(nodes)
    leaving, unclear = leaving_nodes(params["remove"], nodes)
    loss, unreadable = slots_named(params["allow_data_loss"])
    reasons += [*unclear, *unreadable]
    if params["rebalance_threshold"] < 0:
        reasons.append(f"rebalance_threshold is {params['rebalance_threshold']:g}; it is a percentage, 0 or more.")
    if params["move_stall"] is not None and params["move_stall"] < 1:
        reasons.append(f"move_stall is {params['move_stall']}; it must be 1 millisecond or more.")
    if params["move_load"] is not None and not 1 <= params["move_load"] <= 100:
        reasons.append(f"move_load is {params['move_load']}; it is a percentage from 1 to 100.")
    if reasons:
        raise PlanRefused(reasons)
    return Desired(
        nodes=nodes,
        replicas_per_primary=params["replicas_per_primary"],
        node_timeout=params["node_timeout"],
        leaving=leaving,
        loss=loss,
        threshold=params["rebalance_threshold"],
        method=params["move_method"],
    )


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


def counted(cluster: Cluster, mover: SlotMover, plan: Plan, view: ClusterView) -> Plan:
    """The plan with the number of keys that each slot move takes along."""
    moves = [step for step in plan.steps if isinstance(step, MoveSlots)]
    keys = iter(mover.count_keys([as_move(step, view) for step in moves]))
    steps = tuple(replace(step, keys=next(keys)) if isinstance(step, MoveSlots) else step for step in plan.steps)
    return replace(plan, steps=steps)


def observed_plan(desired: Desired, view: ClusterView) -> Plan:
    """The plan; a refusal takes along what was seen."""
    try:
        return make_plan(desired, view)
    except PlanRefused as refusal:
        refusal.observed = view.as_dict()
        raise


def run(module: AnsibleModule) -> dict[str, Any]:
    desired = described(module)
    params = module.params
    connect = connector(params)
    with Cluster(
        (*desired.nodes, *desired.leaving),
        connect,
        replicas_per_primary=desired.replicas_per_primary,
        node_timeout=desired.node_timeout,
        assume_fresh=params["assume_fresh"] and module.check_mode,
    ) as cluster:
        settling = max(SETTLING_SECONDS, SETTLING_NODE_TIMEOUTS * (desired.node_timeout or 0) / 1000)
        view = cluster.observe_settled(min(settling, params["timeout"]))
        plan = observed_plan(desired, view)
        if plan.steps and not module.check_mode:
            with ClusterLock(cluster.nodes, connect, THREADS, cluster.clock) as lock:
                return converge(module, desired, cluster, lock)
        mover = slot_mover(module, cluster, Progress(None, cluster.clock), lambda: None)
        return {**told(module, counted(cluster, mover, plan, view), view), "cluster": view.as_dict()}


def slot_mover(
    module: AnsibleModule, cluster: Cluster, progress: Progress, still_alone: Callable[[], None]
) -> SlotMover:
    clock = cluster.clock
    confirmed = clock.now()

    def report(moved: _slot_batches.Progress) -> None:
        nonlocal confirmed
        progress.moved(Moved(moved.keys, moved.keys_total, moved.slots, moved.slots_total))
        if clock.now() - confirmed > SECONDS_BETWEEN_CONFIRMATIONS:
            still_alone()
            confirmed = clock.now()

    percent = module.params["move_load"]
    limits = _slot_batches.Limits(
        stall=module.params["move_stall"],
        timeout=module.params["timeout"],
        load=None if percent is None else percent / 100,
    )
    return SlotMover(cluster.connect, credentials(module.params), limits, clock, THREADS, report)


def converge(module: AnsibleModule, desired: Desired, cluster: Cluster, lock: ClusterLock) -> dict[str, Any]:
    """Do what is to be done. Whoever had the lock before may have done it already, so it is looked at again."""
    view = cluster.observe()
    plan = observed_plan(desired, view)
    progress = Progress(module.params["progress_file"] if plan.changed else None, cluster.clock)
    mover = slot_mover(module, cluster, progress, lock.confirm)
    plan = counted(cluster, mover, plan, view)
    result = told(module, plan, view)
    converger = Converger(
        cluster, lambda seen: make_plan(desired, seen), mover, progress, lock.confirm, module.params["timeout"]
    )
    outcome = Outcome(view)
    try:
        converger.run(plan, outcome)
        progress.done()
    except (ApplyError, LockRefused) as exc:
        progress.failed(str(exc))
        failure = {**result, "msg": str(exc), "changed": outcome.changed, "cluster": outcome.view.as_dict()}
        module.fail_json(**failure, **told_about(outcome, progress))
    for warning in (*outcome.warnings, *([progress.warning] if progress.warning else [])):
        module.warn(warning)
    return {
        **result,
        **told_about(outcome, progress),
        "changed": outcome.changed,
        "cluster": outcome.view.as_dict(),
    }


def told_about(outcome: Outcome, progress: Progress) -> dict[str, Any]:
    return {"done": outcome.done, "replanned": outcome.replanned, "moves": progress.moves}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **cluster_options(),
            **connection_options(),
            "replicas_per_primary": {"type": "int", "default": 1},
            "node_timeout": {"type": "int"},
            "remove": {"type": "list", "elements": "str", "default": []},
            "rebalance_threshold": {"type": "float", "default": 2},
            "move_method": {"type": "str", "choices": ["auto", "keys", "atomic"], "default": "auto"},
            "move_stall": {"type": "int"},
            "move_load": {"type": "int"},
            "progress_file": {"type": "path"},
            "allow_data_loss": {"type": "list", "elements": "str", "default": []},
            "assume_fresh": {"type": "bool", "default": False},
            "timeout": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )
    fresh = not HAS_REDIS and module.params["assume_fresh"] and module.check_mode
    if not HAS_REDIS and not fresh:
        module.fail_json(msg=missing_required_lib("redis"), exception=REDIS_IMPORT_ERROR)
    try:
        result = plan_fresh(module) if fresh else run(module)
    except PlanRefused as refusal:
        observed = {} if refusal.observed is None else {"cluster": refusal.observed}
        failure: dict[str, Any] = {"msg": str(refusal), "reasons": list(refusal.reasons), "plan": [], **observed}
        module.fail_json(**failure)
    except (LockRefused, ProgressError, RedisProblem) as exc:
        module.fail_json(msg=str(exc), plan=[])
    module.exit_json(**result)


if __name__ == "__main__":
    main()
