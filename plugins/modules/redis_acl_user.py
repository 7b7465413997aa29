#!/usr/bin/python
# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_acl_user
short_description: Give every node of a Redis the same ACL user
version_added: 0.2.0
description:
  - Makes, changes or removes one ACL user on every node that is named. Servers do not replicate their users, neither to
    replicas nor to the other nodes of a cluster, so all of them have to be named.
  - All nodes are asked first. When one of them cannot be reached, does not know one of the rules or could not keep its
    users over a restart, nothing is changed anywhere.
  - Then each node that differs is changed by one command, one node after the other, and all are asked again.
  - Whether a user differs is judged by what its rules allow on that server, since every version of the servers writes
    rules down in a way of its own.
  - Connections stay open and logged in when a user is changed, also when the password that they logged in with is taken
    away. Only a removed user's connections are ended, and subscriptions to channels that are no longer allowed.
  - The user that the module itself is logged in as keeps its password and its rights to administer. A change that would
    take them away is refused.
extends_documentation_fragment:
  - apiops.tyk_redis._attributes
  - apiops.tyk_redis._redis_connection
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details:
      - Passwords are shown as their number only.
  idempotent:
    support: full
options:
  addresses:
    description:
      - Every node, each as C(host:port), an IPv6 address in brackets.
    type: list
    elements: str
    required: true
  name:
    description:
      - The name of the user, without blanks and quotes.
      - The user V(default) is the one that everybody is before they log in. It cannot be removed, only switched off.
    type: str
    required: true
  state:
    description:
      - Whether the user is to be there.
    type: str
    choices: [present, absent]
    default: present
  enabled:
    description:
      - Whether anybody may log in as this user.
    type: bool
    default: true
  passwords:
    description:
      - All passwords of the user. Each of them is valid, so that a new one can be handed out before the old one is
        taken away.
      - The servers are given their SHA-256 only.
      - With O(state=present), this or O(password_hashes) is needed.
    type: list
    elements: str
  password_hashes:
    description:
      - Further passwords, each as the SHA-256 of its UTF-8 bytes in hexadecimal.
    type: list
    elements: str
  rules:
    description:
      - All that the user may do, as words of an ACL rule, in their order. Words are patterns of keys (C(~), C(%R~),
        C(%W~)) and of channels (C(&)), commands, subcommands and categories (C(+) and C(-)), C(allkeys), C(resetkeys),
        C(allchannels), C(resetchannels), C(allcommands) and C(nocommands).
      - A user begins with no rights at all, also with no channels where the server's C(acl-pubsub-default) says
        otherwise.
      - Selectors are not supported. Passwords and C(on), C(off), C(nopass) have options of their own or none.
      - With O(state=present), this or O(component) is needed.
    type: list
    elements: str
  component:
    description:
      - Instead of O(rules), the Tyk component that the user is for. It gets the rights that the component needs, by
        each server's own version.
      - V(gateway) and V(pump) get exactly the commands, keys and channels that they use. V(dashboard) and V(mdcb) are
        closed source, so they get all keys and channels and all commands but administrative and dangerous ones.
    type: str
    choices: [dashboard, gateway, mdcb, pump]
  persist:
    description:
      - How a node that was changed keeps its users over a restart.
      - V(aclfile) is C(ACL SAVE), V(config) is C(CONFIG REWRITE). Both write all that the server holds, also what
        somebody else changed and did not save.
      - V(auto) is V(aclfile) where the server has such a file, else V(config) where it was started with a configuration
        file, and an error where it has neither.
      - V(none) leaves the files alone, for servers that cannot save (some that a provider runs) or whose file somebody
        else writes.
      - Before the first change it is tried once on each node that is to be changed.
      - The files cannot be read through the server. A node on which nothing has to be changed is not saved, so that
        what somebody changed by hand without saving is not noticed.
    type: str
    choices: [auto, aclfile, config, none]
    default: auto
  connect_timeout:
    description:
      - The number of seconds to wait for a connection and for each reply.
    type: int
    default: 5
notes:
  - The user of O(username) needs the permissions for C(ACL), C(INFO), C(COMMAND LIST) where there is one, and for
    C(CONFIG GET) and C(CONFIG REWRITE) unless O(persist=none).
  - Removing a password ends no connection. Restart the clients, or use C(CLIENT KILL USER), when it was stolen.
seealso:
  - module: apiops.tyk_redis.tyk_redis_check
author:
  - The apiops.tyk_redis contributors (@apiops)
"""

EXAMPLES = r"""
- name: Give the gateway a user that may do what it needs and nothing else
  apiops.tyk_redis.redis_acl_user:
    addresses: [192.0.2.11:6379, 192.0.2.12:6379, 192.0.2.13:6379]
    name: tyk-gateway
    component: gateway
    passwords: ["{{ vault_tyk_gateway_redis_password }}"]
    username: tyk-redis-admin
    password: "{{ vault_tyk_redis_admin_password }}"

- name: Let the new password and the old one be valid for a while
  apiops.tyk_redis.redis_acl_user:
    addresses: [192.0.2.11:6379, 192.0.2.12:6379, 192.0.2.13:6379]
    name: tyk-gateway
    component: gateway
    passwords:
      - "{{ vault_tyk_gateway_redis_password }}"
      - "{{ vault_tyk_gateway_redis_password_before }}"
    username: tyk-redis-admin
    password: "{{ vault_tyk_redis_admin_password }}"

- name: Let a monitor look, but not touch
  apiops.tyk_redis.redis_acl_user:
    addresses: ["{{ ansible_host }}:6379"]
    name: monitor
    rules: [+ping, +info, +cluster|info]
    passwords: ["{{ vault_monitor_redis_password }}"]
    username: tyk-redis-admin
    password: "{{ vault_tyk_redis_admin_password }}"

- name: Remove a user from servers that a provider runs
  apiops.tyk_redis.redis_acl_user:
    addresses: [redis.example.com:6380]
    tls: true
    name: monitor
    state: absent
    persist: none
    password: "{{ vault_redis_password }}"
"""

RETURN = r"""
plan:
  description: What was changed, or would be in check mode, as sentences. Passwords are their number only.
  returned: success
  type: list
  elements: str
  sample:
    - "192.0.2.12:6379: let 'tyk-gateway' have 2 passwords: 1 new."
nodes:
  description: What each node shows, in the order of O(addresses). In check mode, what it showed.
  returned: success
  type: list
  elements: dict
  contains:
    address:
      description: The address of the node.
      type: str
      sample: 192.0.2.12:6379
    changed:
      description: Whether the user was changed there, or would be in check mode.
      type: bool
      sample: true
    rules:
      description: The rules of the user as the server writes them; empty when there is no such user.
      type: str
      sample: "~* resetchannels &tyk.cluster.notifications -@all +ping +get"
changed_nodes:
  description: The nodes on which the user was changed before the module failed.
  returned: failure
  type: list
  elements: str
  sample:
    - 192.0.2.11:6379
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.apiops.tyk_redis.plugins.module_utils._acl_apply import AclError, AclUser, Node, Wish
from ansible_collections.apiops.tyk_redis.plugins.module_utils._acl_rules import User, check, components, sha256
from ansible_collections.apiops.tyk_redis.plugins.module_utils._cluster_options import connection_options, opener
from ansible_collections.apiops.tyk_redis.plugins.module_utils._redis_client import (
    HAS_REDIS,
    REDIS_IMPORT_ERROR,
    Address,
)


def wish_of(params: t.Mapping[str, t.Any]) -> Wish:
    present = params["state"] == "present"
    hashes = [one.lower() for one in params["password_hashes"] or []]
    return Wish(
        name=params["name"],
        enabled=params["enabled"],
        hashes=frozenset([*hashes, *map(sha256, params["passwords"] or [])]),
        words=tuple(params["rules"]) if present and params["rules"] is not None else None,
        component=params["component"] if present else None,
        persist=params["persist"],
    )


def addresses_of(texts: t.Sequence[str]) -> tuple[list[Address], list[str]]:
    """The addresses, and what is wrong with them."""
    found: list[Address] = []
    reasons = [] if texts else ["addresses is empty; name every node."]
    for text in texts:
        try:
            found.append(Address.parse(text))
        except ValueError as exc:
            reasons.append(f"addresses: {exc}.")
    return found, reasons


def check_passwords(params: t.Mapping[str, t.Any], wish: Wish) -> list[str]:
    if "" in (params["passwords"] or []):
        return [f"passwords of {wish.name!r} contains an empty one; give none that everybody guesses."]
    if not wish.absent and not wish.hashes:
        return [f"passwords of {wish.name!r} is empty; give at least one, and enabled: false to keep everybody out."]
    return []


def shown(name: str, user: User | None) -> str:
    """A user in a diff."""
    if user is None:
        return ""
    count = "any" if user.nopass else len(user.passwords)
    return f"user {name} {'on' if user.enabled else 'off'}\npasswords: {count}\n" + "".join(
        f"{word}\n" for word in user.shown.split()
    )


def diff_of(name: str, node: Node) -> dict[str, str]:
    return {
        "before_header": str(node.address),
        "after_header": str(node.address),
        "before": shown(name, node.there),
        "after": shown(name, node.wish if node.steps else node.there),
    }


def run(module: AnsibleModule) -> dict[str, t.Any]:
    wish = wish_of(module.params)
    addresses, reasons = addresses_of(module.params["addresses"])
    reasons += check_passwords(module.params, wish) + check(wish.name, wish.words or (), wish.hashes)
    if reasons:
        raise AclError(f"{' '.join(reasons)} Nothing was changed.")
    connect = opener(module.params, module.params["connect_timeout"])
    with AclUser(addresses, connect, module.params["password"], wish) as user:
        before = user.observe()
        changing = any(node.steps for node in before)
        after = user.apply(before) if changing and not module.check_mode else before
    return {
        "changed": changing,
        "plan": [f"{node.address}: {step}." for node in before for step in node.steps],
        "nodes": [
            {
                "address": str(node.address),
                "changed": bool(node.steps),
                "rules": now.there.shown if now.there else "",
            }
            for node, now in zip(before, after)
        ],
        "diff": [diff_of(wish.name, node) for node in before],
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "addresses": {"type": "list", "elements": "str", "required": True},
            "name": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "enabled": {"type": "bool", "default": True},
            "passwords": {"type": "list", "elements": "str", "no_log": True},
            "password_hashes": {"type": "list", "elements": "str", "no_log": True},
            "rules": {"type": "list", "elements": "str"},
            "component": {"type": "str", "choices": components()},
            "persist": {"type": "str", "choices": ["auto", "aclfile", "config", "none"], "default": "auto"},
            "connect_timeout": {"type": "int", "default": 5},
            **connection_options(),
        },
        mutually_exclusive=[("rules", "component")],
        required_if=[
            ("state", "present", ("passwords", "password_hashes"), True),
            ("state", "present", ("rules", "component"), True),
        ],
        supports_check_mode=True,
    )
    if not HAS_REDIS:
        module.fail_json(msg=missing_required_lib("redis"), exception=REDIS_IMPORT_ERROR)
    try:
        result = run(module)
    except AclError as exc:
        module.fail_json(msg=str(exc), changed=bool(exc.done), changed_nodes=list(exc.done))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
