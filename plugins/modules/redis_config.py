#!/usr/bin/python
# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_config
short_description: Change settings of several running servers at nearly the same moment
version_added: 0.2.0
description:
  - For settings on which the nodes of a cluster have to agree, such as C(tls-cluster), so that every server has to be
    given them before its peers take it for failed.
  - All servers are connected to and asked first. When one of them cannot be reached or does not know a setting, nothing
    is changed anywhere.
  - Then each server that differs is given its settings by one C(CONFIG SET), one server right after the other.
  - Nothing is written to a file; whoever owns the servers' files has to keep them in step.
author:
  - The apiops.tyk_redis contributors (@apiops)
extends_documentation_fragment:
  - apiops.tyk_redis._attributes
  - apiops.tyk_redis._redis_connection
notes:
  - A server before 7.0 takes one setting at a time, and refuses more than one. Nothing has been changed on it then.
  - Not for passwords, because what differs is shown.
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  nodes:
    description:
      - Every server with its settings.
    type: list
    elements: dict
    required: true
    suboptions:
      address:
        description:
          - The IP address or the name of the server.
        type: str
        required: true
      port:
        description:
          - Its port.
        type: int
        default: 6379
      settings:
        description:
          - The settings and their values, as texts that the server prints in the same way.
        type: dict
        required: true
  connect_timeout:
    description:
      - The number of seconds to wait for a connection and for each reply.
    type: int
    default: 5
"""

EXAMPLES = r"""
- name: Let the nodes talk TLS to each other from now on
  apiops.tyk_redis.redis_config:
    nodes:
      - address: 192.0.2.11
        settings: &settings
          tls-cluster: "yes"
          tls-replication: "yes"
      - address: 192.0.2.12
        settings: *settings
    username: tyk-redis-admin
    password: "{{ vault_tyk_redis_admin_password }}"
"""

RETURN = r"""
plan:
  description: What was changed, or would be in check mode, as sentences.
  returned: success
  type: list
  elements: str
  sample:
    - "192.0.2.12:6379: tls-cluster is no and becomes yes."
changed_nodes:
  description: The servers that were changed before the module failed.
  returned: failure
  type: list
  elements: str
  sample:
    - 192.0.2.11:6379
"""

import contextlib
import typing as t

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.apiops.tyk_redis.plugins.module_utils._cluster_options import connection_options, opener
from ansible_collections.apiops.tyk_redis.plugins.module_utils._redis_client import (
    HAS_REDIS,
    REDIS_IMPORT_ERROR,
    Address,
    RedisConnection,
    RedisProblem,
)


class ConfigError(Exception):
    """Not every server could be given its settings. The text is a finished sentence."""

    def __init__(self, sentence: str, done: t.Sequence[str] = ()) -> None:
        super().__init__(sentence)
        self.done = done


def read(connection: RedisConnection, names: t.Iterable[str]) -> dict[str, str]:
    """The server's present values.

    Raises:
        ConfigError: it does not know one of the names.
    """
    names = list(names)
    values: dict[str, str] = {}
    for name, reply in zip(names, connection.pipeline([("CONFIG", "GET", name) for name in names])):
        if isinstance(reply, RedisProblem):
            raise reply
        # Protocol 3 answers with a mapping.
        pairs = reply if isinstance(reply, dict) else dict(zip(reply[::2], reply[1::2]))
        if name not in pairs:
            raise ConfigError(f"{connection.address} has no setting {name}: correct its name, or upgrade the server.")
        values[name] = str(pairs[name])
    return values


def run(module: AnsibleModule) -> dict[str, t.Any]:
    connect = opener(module.params, module.params["connect_timeout"])
    wishes = {
        Address(node["address"], node["port"]): {str(k): str(v) for k, v in node["settings"].items()}
        for node in module.params["nodes"]
    }
    done: list[str] = []
    with contextlib.ExitStack() as stack:
        connections = {address: stack.enter_context(connect(address)) for address in wishes}
        try:
            present = {address: read(connections[address], wish) for address, wish in wishes.items()}
        except (ConfigError, RedisProblem) as exc:
            raise ConfigError(f"{exc} Nothing was changed.") from exc
        changes = {
            address: {name: value for name, value in wish.items() if present[address][name] != value}
            for address, wish in wishes.items()
        }
        if not module.check_mode:
            for address, change in changes.items():
                if not change:
                    continue
                try:
                    connections[address].call("CONFIG", "SET", *(word for pair in change.items() for word in pair))
                except RedisProblem as exc:
                    raise ConfigError(
                        f"{exc} Changed before that: {', '.join(done) or 'nothing'}. Run again to finish.", done
                    ) from exc
                done.append(str(address))
    return {
        "changed": any(changes.values()),
        "plan": [
            f"{address}: {name} is {present[address][name]} and becomes {value}."
            for address, change in changes.items()
            for name, value in change.items()
        ],
        "diff": [
            {
                "before_header": str(address),
                "after_header": str(address),
                "before": "".join(f"{name} {present[address][name]}\n" for name in change),
                "after": "".join(f"{name} {value}\n" for name, value in change.items()),
            }
            for address, change in changes.items()
            if change
        ],
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "nodes": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "address": {"type": "str", "required": True},
                    "port": {"type": "int", "default": 6379},
                    "settings": {"type": "dict", "required": True},
                },
            },
            "connect_timeout": {"type": "int", "default": 5},
            **connection_options(),
        },
        supports_check_mode=True,
    )
    if not HAS_REDIS:
        module.fail_json(msg=missing_required_lib("redis"), exception=REDIS_IMPORT_ERROR)
    try:
        result = run(module)
    except ConfigError as exc:
        module.fail_json(msg=str(exc), changed=bool(exc.done), changed_nodes=list(exc.done))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
