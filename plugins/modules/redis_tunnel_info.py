#!/usr/bin/python
# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_tunnel_info
short_description: Try the ends of the tunnels that a host has
version_added: 0.2.0
description:
  - Finds out for each end who listens at its address, and what comes back when it is used.
  - A near end is tried through the tunnel to the Redis behind it, and when that does not answer also the wire itself. A
    far end is judged by the Redis that it leads to.
  - One host alone cannot know why a tunnel does not open. P(apiops.tyk_redis.encryption_findings#filter) tells it from
    what all hosts see.
  - Sends no password, and nothing but C(PING).
author:
  - The apiops.tyk_redis contributors (@apiops)
extends_documentation_fragment:
  - apiops.tyk_redis._attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
requirements:
  - the program C(ss)
options:
  mode:
    description:
      - The program that encrypts.
    type: str
    choices: [spiped, tls_tunnel]
    required: true
  ends:
    description:
      - The ends that the host shall have, as P(apiops.tyk_redis.tunnels#filter) derives them.
    type: list
    elements: dict
    required: true
  folder:
    description:
      - The folder of the keys.
    type: path
    default: /etc/tyk-redis-tunnel
  timeout:
    description:
      - Seconds to wait for an answer.
    type: int
    default: 5
"""

EXAMPLES = r"""
- name: Try the tunnels of this host
  apiops.tyk_redis.redis_tunnel_info:
    mode: spiped
    ends: "{{ hostvars | apiops.tyk_redis.tunnels(inventory_hostname, groups['redis'], description) }}"
"""

RETURN = r"""
ends:
  description: What was given, and what was found.
  returned: success
  type: list
  elements: dict
  contains:
    unit:
      description: The unit whose process has to listen.
      type: str
      sample: tyk-redis-spiped@dial-redis2-6379.service
    owner:
      description: Whose process listens, by its unit or its name; empty when nobody does.
      type: str
      sample: tyk-redis-spiped@dial-redis2-6379.service
    answer:
      description:
        - V(redis) or, on the bus, V(open) when all is well; else V(closed), V(silent) or V(refused).
      type: str
      sample: redis
    wire_answer:
      description:
        - Whether the far end accepts connections, V(open), V(refused) or V(silent).
        - Only asked when the answer is bad.
      type: str
      sample: ""
key_fingerprints:
  description:
    - The first eight digits of the SHA-256 of each key by its number, which tell keys apart and give none away.
  returned: success
  type: dict
  sample:
    "1": 5f6ac1b0
"""

import concurrent.futures
import hashlib
import os
import re
import socket
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.apiops.tyk_redis.plugins.module_utils._listeners import Listener, owners, who_listens
from ansible_collections.apiops.tyk_redis.plugins.module_utils._tunnel_faults import GOOD, unit_of

# Beyond the 2 seconds that a near end of spiped gives its far end before it hangs up, and the 3 of HAProxy.
BUS_SECONDS = 4.0
WORKERS = 32


def place_of(endpoint: str) -> tuple[str, int]:
    address, _colon, port = endpoint.rpartition(":")
    return address.strip("[]"), int(port)


def tried(endpoint: str, timeout: float, bus: bool) -> str:
    """What comes back from a connection: of the bus nothing is expected but that it stays open."""
    try:
        connection = socket.create_connection(place_of(endpoint), timeout)
    except ConnectionRefusedError:
        return "refused"
    except OSError:
        return "silent"
    with connection:
        connection.settimeout(BUS_SECONDS if bus else timeout)
        try:
            if not bus:
                connection.sendall(b"PING\r\n")
            reply = connection.recv(64)
        except socket.timeout:
            return "open" if bus else "silent"
        except OSError:
            return "closed"
    return "redis" if reply[:1] in (b"+", b"-") else "closed"


def accepts(endpoint: str, timeout: float) -> str:
    try:
        socket.create_connection(place_of(endpoint), timeout).close()
    except ConnectionRefusedError:
        return "refused"
    except OSError:
        return "silent"
    return "open"


def look(
    end: t.Mapping[str, t.Any], mode: str, listening: t.Mapping[str, list[Listener]], timeout: float
) -> dict[str, t.Any]:
    unit = unit_of(mode, end["name"])
    answer = tried(end["listen"] if end["kind"] == "dial" else end["target"], timeout, end["bus"])
    bad = end["kind"] == "dial" and answer not in GOOD
    return {
        **end,
        "unit": unit,
        "owner": owners(end["listen"], listening, unit),
        "answer": answer,
        "wire_answer": accepts(end["wire"], timeout) if bad else "",
    }


def fingerprints(folder: str) -> dict[str, str]:
    found = {}
    for entry in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
        number = re.fullmatch(r"key-([0-9]+)", entry)
        if number:
            with open(os.path.join(folder, entry), "rb") as file:
                found[number[1]] = hashlib.sha256(file.read()).hexdigest()[:8]
    return found


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "mode": {"type": "str", "choices": ["spiped", "tls_tunnel"], "required": True},
            "ends": {"type": "list", "elements": "dict", "required": True},
            "folder": {"type": "path", "default": "/etc/tyk-redis-tunnel"},
            "timeout": {"type": "int", "default": 5},
        },
        supports_check_mode=True,
    )
    listening = who_listens(module)
    mode, timeout = module.params["mode"], float(module.params["timeout"])
    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        ends = list(pool.map(lambda end: look(end, mode, listening, timeout), module.params["ends"]))
    module.exit_json(changed=False, ends=ends, key_fingerprints=fingerprints(module.params["folder"]))


if __name__ == "__main__":
    main()
