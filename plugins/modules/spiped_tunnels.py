#!/usr/bin/python
# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: spiped_tunnels
short_description: Run one process of spiped for each end of a host's tunnels
version_added: 0.2.0
description:
  - Each end is an instance of the unit C(tyk-redis-spiped@.service), which the role P(apiops.tyk_redis.tunnel#role)
    writes, and has a file with its arguments in O(folder).
  - Ends that are as described keep running, with all their connections.
  - An end that runs with older settings than those on the disk, for example because an earlier run was cut off, is
    restarted.
  - Ends are started and restarted one after the other, each when the one before listens, so that clients and members
    of the cluster miss no more than one of them at a time. When one does not listen within 60 seconds, for example
    because something else has its port, the module fails and leaves those after it as they are. It also fails when one
    that should have run does not listen.
  - Before a near end that carries connections is turned to another target, that is connected to. When it does not
    listen, but the former one does, nothing is changed on this host. When neither listens, its host may be down; the
    end is turned over, with a warning.
author:
  - The apiops.tyk_redis contributors (@apiops)
extends_documentation_fragment:
  - apiops.tyk_redis._attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
requirements:
  - the program C(ss)
options:
  ends:
    description:
      - The ends that the host shall have, as P(apiops.tyk_redis.tunnels#filter) derives them.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description:
          - The name of the end, which its unit is named after.
        type: str
        required: true
      kind:
        description:
          - V(serve) decrypts for an instance of this host, V(dial) encrypts for one of another host.
        type: str
        choices: [serve, dial]
        required: true
      listen:
        description:
          - Where the end listens, as C(address:port).
        type: str
        required: true
      target:
        description:
          - What it connects to, as C(address:port).
        type: str
        required: true
      key:
        description:
          - The number of the key, which is the file C(key-NUMBER) in O(folder).
        type: int
        required: true
      peer:
        description:
          - The host of the instance; for messages only.
        type: str
      instance:
        description:
          - The instance's port; for messages only.
        type: int
      bus:
        description:
          - Whether the cluster bus goes through; for messages only.
        type: bool
      wire:
        description:
          - The address and port between the hosts; for messages only.
        type: str
  folder:
    description:
      - The folder of keys and arguments.
    type: path
    default: /etc/tyk-redis-tunnel
  prune:
    description:
      - Whether to stop and remove every other end.
    type: bool
    default: true
"""

EXAMPLES = r"""
- name: Lay the tunnels of this host
  apiops.tyk_redis.spiped_tunnels:
    ends: "{{ hostvars | apiops.tyk_redis.tunnels(inventory_hostname, groups['redis'], description) }}"
"""

RETURN = r"""
plan:
  description: What was done, or would be in check mode.
  returned: success
  type: list
  elements: str
  sample:
    - write dial-redis2-6379
    - restart dial-redis2-6379
"""

import concurrent.futures
import os
import socket
import time
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.apiops.tyk_redis.plugins.module_utils._listeners import owners, who_listens
from ansible_collections.apiops.tyk_redis.plugins.module_utils._spiped import (
    SUFFIX,
    UNIT,
    Step,
    There,
    moves,
    plan,
    refusals,
    settings_of,
    warnings,
)

CONNECT_SECONDS = 5.0
# systemd calls a unit started before it has made the process's namespaces, which takes seconds on a busy host.
START_SECONDS = 60.0
WORKERS = 32
TEMPLATE = "/etc/systemd/system/tyk-redis-spiped@.service"


def observe(module: AnsibleModule, names: t.Sequence[str], folder: str) -> dict[str, There]:
    """Every end that has settings, or is asked for, as systemd and the disk know it."""
    listed = os.listdir(folder) if os.path.isdir(folder) else []
    known = sorted({entry[: -len(SUFFIX)] for entry in listed if entry.endswith(SUFFIX)} | set(names))
    if not known:
        return {}
    asked = ["systemctl", "show", "--property=Id,ActiveState,UnitFileState", *map(UNIT.format, known)]
    _code, out, _err = module.run_command(asked, check_rc=True)
    found = {}
    for name, block in zip(known, out.strip().split("\n\n")):
        properties = dict(line.partition("=")[::2] for line in block.splitlines())
        path = os.path.join(folder, name + SUFFIX)
        settings = ""
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                settings = file.read()
        # One that is "activating" is started again and again by systemd: it is to be started, and waited for.
        active = properties.get("ActiveState") in ("active", "reloading")
        found[name] = There(
            settings, active, properties.get("UnitFileState") == "enabled", active and is_stale(name, path, settings)
        )
    return found


def is_stale(name: str, path: str, settings: str) -> bool:
    """Whether the process is older than what it was started with."""
    link = f"/run/systemd/units/invocation:{UNIT.format(name)}"
    key = dict(line.partition("=")[::2] for line in settings.splitlines()).get("KEY", "")
    if not os.path.lexists(link):
        return False
    started = os.lstat(link).st_mtime
    return any(os.path.exists(file) and os.stat(file).st_mtime > started for file in (path, key, TEMPLATE))


def listens(endpoint: str) -> bool:
    address, _colon, port = endpoint.rpartition(":")
    try:
        socket.create_connection((address.strip("[]"), int(port)), CONNECT_SECONDS).close()
    except OSError:
        return False
    return True


def listening(targets: t.Iterable[str]) -> set[str]:
    """Those of the targets that can be connected to."""
    asked = sorted(set(targets))
    # At once, because those of a host that is down take all the time that they are given.
    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        return {target for target, answers in zip(asked, pool.map(listens, asked)) if answers}


def await_listening(module: AnsibleModule, ends: t.Sequence[t.Mapping[str, t.Any]]) -> None:
    """Wait until each of the ends listens; somebody else who listens in its place does not count."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        now = who_listens(module)
        missing = {}
        for end in ends:
            unit = UNIT.format(end["name"])
            owner = owners(end["listen"], now, unit)
            if owner != unit:
                instead = f", where {owner} does" if owner else ""
                missing[unit] = f"{unit} does not listen at {end['listen']}{instead}"
        if not missing:
            return
        if time.monotonic() > deadline:
            module.fail_json(
                msg=f"After {START_SECONDS:.0f} s {', '.join(missing.values())}. 'journalctl -u {next(iter(missing))}'"
                " says why. Ends that come after it were left as they are: mend that, and run again."
            )
        time.sleep(0.05)


def take(module: AnsibleModule, step: Step, folder: str, ends: t.Sequence[t.Mapping[str, t.Any]]) -> None:
    path = os.path.join(folder, step.name + SUFFIX)
    unit = UNIT.format(step.name)
    if step.verb == "write":
        # Whole or not at all, so that a run that is cut off leaves no half of it.
        temporary = os.path.join(module.tmpdir, step.name)
        with open(temporary, "w", encoding="utf-8") as file:
            file.write(step.settings)
        os.chmod(temporary, 0o644)
        module.atomic_move(temporary, path)
        return
    if step.verb == "remove":
        module.run_command(["systemctl", "disable", "--now", unit], check_rc=True)
        if os.path.exists(path):
            os.remove(path)
        return
    module.run_command(["systemctl", step.verb, unit], check_rc=True)
    if step.verb != "enable":
        # Before the next one is touched, so that no more than one of them is away at a time.
        await_listening(module, [end for end in ends if end["name"] == step.name])


def run(module: AnsibleModule) -> dict[str, t.Any]:
    ends, folder = module.params["ends"], module.params["folder"]
    there = observe(module, [end["name"] for end in ends], folder)
    # Only those that exist; the others were asked about to learn whether a unit of that name runs.
    before = {name: one for name, one in there.items() if one.settings or one.active or one.enabled}
    steps = plan(ends, folder, before, module.params["prune"])
    # In check mode the far ends have not been made ready.
    moving = [] if module.check_mode else moves(ends, folder, before)
    there_now = listening(target for one in moving for target in (one.before, one.after) if target)
    refused = refusals(moving, there_now)
    if refused:
        module.fail_json(
            msg=f"{' '.join(refused)} Run for every host, without --limit, so that the far ends come first. Nothing was"
            " changed."
        )
    for warning in warnings(moving, there_now):
        module.warn(warning)
    if not module.check_mode:
        if steps:
            module.run_command(["systemctl", "daemon-reload"], check_rc=True)
        for step in steps:
            take(module, step, folder, ends)
        # One that systemd starts again and again looks as if it ran at the moments between.
        await_listening(module, ends)
    wanted = {end["name"]: settings_of(end, folder) for end in ends}
    return {
        "changed": bool(steps),
        "plan": [str(step) for step in steps],
        "diff": [
            {
                "before_header": name,
                "after_header": name,
                "before": before.get(name, There()).settings,
                "after": wanted.get(name, ""),
            }
            for name in sorted({step.name for step in steps if step.verb in ("write", "remove")})
        ],
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "ends": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "name": {"type": "str", "required": True},
                    "kind": {"type": "str", "choices": ["serve", "dial"], "required": True},
                    "listen": {"type": "str", "required": True},
                    "target": {"type": "str", "required": True},
                    "key": {"type": "int", "required": True, "no_log": False},
                    "peer": {"type": "str"},
                    "instance": {"type": "int"},
                    "bus": {"type": "bool"},
                    "wire": {"type": "str"},
                },
            },
            "folder": {"type": "path", "default": "/etc/tyk-redis-tunnel"},
            "prune": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )
    module.exit_json(**run(module))


if __name__ == "__main__":
    main()
