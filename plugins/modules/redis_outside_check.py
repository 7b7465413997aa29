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
    down reaches nothing and proves nothing. Where no way leads to a port, nothing is proved either.
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
import errno
import os
import socket

from ansible.module_utils.basic import AnsibleModule

WORKERS = 64
REACHED = "reached"
SILENT = "silent"
# Said by this host or by one on the way. A firewall that drops says nothing.
NO_WAY = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


def tried(endpoint: str, timeout: float) -> str:
    """REACHED, SILENT, or why no packet gets there."""
    address, _colon, port = endpoint.rpartition(":")
    try:
        socket.create_connection((address.strip("[]"), int(port)), timeout).close()
    except ConnectionRefusedError:
        # The packet came through; that nobody listens at the moment is not the firewall's doing.
        return REACHED
    except OSError as exc:
        return os.strerror(exc.errno) if exc.errno in NO_WAY else SILENT
    except UnicodeError:
        # A name that cannot be one of the DNS.
        return SILENT
    return REACHED


def problems_of(closed: list[str], control: list[str], answers: dict[str, str]) -> list[str]:
    problems = [
        f"{one} can be reached from here, though the firewall should drop it: run site.yml, and look for what else may"
        " admit it."
        for one in closed
        if answers[one] == REACHED
    ]
    problems += [
        f"{one} cannot be reached from here, so that nothing is proved about the ports of Redis there. Use a host"
        " in the same network, or set tyk_redis_control of the Redis host to a port that others reach."
        for one in control
        if answers[one] != REACHED
    ]
    # One for each address, and not one for each port.
    reasons = {one.rpartition(":")[0]: answers[one] for one in closed if answers[one] not in (REACHED, SILENT)}
    problems += [
        f"No way leads from here to {address} ({reason}), so that nothing is proved about the ports of Redis there. Use"
        " a host in the same network."
        for address, reason in reasons.items()
    ]
    return problems


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
        answers = dict(zip([*closed, *control], pool.map(lambda one: tried(one, timeout), [*closed, *control])))
    module.exit_json(changed=False, problems=problems_of(closed, control, answers))


if __name__ == "__main__":
    main()
