#!/usr/bin/python
# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_outside_check
short_description: See from a host without business there that the ports of Redis cannot be reached
version_added: 0.2.0
description:
  - Connects to every port and hangs up at once. Nothing is sent.
  - Also connects to a port of each host that has to be open, such as the one for SSH, because a host whose network is
    down reaches nothing and proves nothing.
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
options:
  closed:
    description:
      - What must not be reached, each as C(address:port).
    type: list
    elements: str
    required: true
  open:
    description:
      - What has to be reached, each as C(address:port).
    type: list
    elements: str
    required: true
  timeout:
    description:
      - Seconds to wait for each connection.
    type: int
    default: 3
"""

EXAMPLES = r"""
- name: See that Redis cannot be reached from here
  apiops.tyk_redis.redis_outside_check:
    closed: ["192.0.2.11:6379", "192.0.2.11:16379"]
    open: ["192.0.2.11:22"]
"""

RETURN = r"""
problems:
  description: What was reached and must not be, and what was not and has to be, as sentences.
  returned: success
  type: list
  elements: str
  sample:
    - 192.0.2.11:6379 can be reached from here, though the firewall should drop it.
"""

import concurrent.futures
import socket

from ansible.module_utils.basic import AnsibleModule

WORKERS = 64


def reached(endpoint: str, timeout: float) -> bool:
    address, _colon, port = endpoint.rpartition(":")
    try:
        socket.create_connection((address.strip("[]"), int(port)), timeout).close()
    except ConnectionRefusedError:
        # The packet came through; that nobody listens at the moment is not the firewall's doing.
        return True
    except OSError:
        return False
    return True


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "closed": {"type": "list", "elements": "str", "required": True},
            "open": {"type": "list", "elements": "str", "required": True},
            "timeout": {"type": "int", "default": 3},
        },
        supports_check_mode=True,
    )
    closed, control = module.params["closed"], module.params["open"]
    timeout = float(module.params["timeout"])
    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        answers = dict(zip([*closed, *control], pool.map(lambda one: reached(one, timeout), [*closed, *control])))
    problems = [
        f"{one} can be reached from here, though the firewall should drop it: run site.yml, and look for what else may"
        " admit it."
        for one in closed
        if answers[one]
    ]
    problems += [
        f"{one} cannot be reached from here, so that nothing is proved about the ports of Redis there. Use a host"
        " in the same network."
        for one in control
        if not answers[one]
    ]
    module.exit_json(changed=False, problems=problems)


if __name__ == "__main__":
    main()
