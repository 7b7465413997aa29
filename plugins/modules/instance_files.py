#!/usr/bin/python
# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: instance_files
short_description: Keep several folders and files of a host as they are described
version_added: 0.2.0
description:
  - Does in one go what M(ansible.builtin.file) and M(ansible.builtin.copy) do for one folder or file each. The role
    P(apiops.tyk_redis.redis#role) writes the files of all instances of a host with it, which a task for each of them
    takes several times as long for.
  - Each file is replaced whole or not at all. Folders come first, in their order.
  - Not for secrets, because the difference is shown.
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
options:
  folders:
    description:
      - The folders. Those above one that are not there are made, too.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description:
          - Its path.
        type: path
        required: true
      owner:
        description:
          - The name of its owner.
        type: str
        required: true
      group:
        description:
          - The name of its group.
        type: str
        required: true
      mode:
        description:
          - Its permissions, in octal digits as a text.
        type: str
        required: true
  files:
    description:
      - The files.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description:
          - Its path.
        type: path
        required: true
      owner:
        description:
          - The name of its owner.
        type: str
        required: true
      group:
        description:
          - The name of its group.
        type: str
        required: true
      mode:
        description:
          - Its permissions, in octal digits as a text.
        type: str
        required: true
      content:
        description:
          - The whole text.
        type: str
        required: true
"""

EXAMPLES = r"""
- name: Write the configuration of two instances
  apiops.tyk_redis.instance_files:
    folders:
      - {path: /etc/tyk-redis/6379, owner: root, group: redis, mode: "0750"}
    files:
      - {path: /etc/tyk-redis/6379/redis.conf, content: "port 6379\n", owner: root, group: redis, mode: "0640"}
"""

RETURN = r"""
paths:
  description: What was changed, or would be in check mode.
  returned: success
  type: list
  elements: str
  sample:
    - /etc/tyk-redis/6379/redis.conf
"""

import os
import typing as t

from ansible.module_utils.basic import AnsibleModule

COMMON: dict[str, dict[str, t.Any]] = {
    "path": {"type": "path", "required": True},
    "owner": {"type": "str", "required": True},
    "group": {"type": "str", "required": True},
    "mode": {"type": "str", "required": True},
}


def keep_attributes(module: AnsibleModule, wanted: t.Mapping[str, t.Any], diff: dict[str, t.Any]) -> bool:
    arguments = module.load_file_common_arguments(
        {**wanted, "attributes": None, "seuser": None, "serole": None, "setype": None, "selevel": None}, wanted["path"]
    )
    return bool(module.set_fs_attributes_if_different(arguments, False, diff))


def keep_folder(module: AnsibleModule, wanted: t.Mapping[str, t.Any]) -> dict[str, t.Any] | None:
    """What changed, or None."""
    path = wanted["path"]
    diff: dict[str, t.Any] = {"before": {}, "after": {}}
    there = os.path.isdir(path)
    if os.path.lexists(path) and not there:
        module.fail_json(msg=f"{path} is no folder; move it away, and run again.")
    if not there:
        diff["before"]["state"], diff["after"]["state"] = "absent", "directory"
        if module.check_mode:
            return diff
        os.makedirs(os.path.dirname(path), exist_ok=True)
        os.mkdir(path, 0o700)
    changed = keep_attributes(module, wanted, diff)
    return diff if changed or not there else None


def keep_file(module: AnsibleModule, wanted: t.Mapping[str, t.Any]) -> dict[str, t.Any] | None:
    """What changed, or None."""
    path, content = wanted["path"], wanted["content"]
    if os.path.lexists(path) and not os.path.isfile(path):
        module.fail_json(msg=f"{path} is no file; move it away, and run again.")
    before = None
    if os.path.exists(path):
        with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
            before = file.read()
    differs = before != content
    if differs and not module.check_mode:
        temporary = os.path.join(module.tmpdir, "instance_files")
        with open(temporary, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
            file.write(content)
        module.atomic_move(temporary, path)
    attributes: dict[str, t.Any] = {"before": {}, "after": {}}
    changed = os.path.exists(path) and keep_attributes(module, wanted, attributes)
    if differs:
        return {"before": before or "", "after": content}
    return attributes if changed else None


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "folders": {"type": "list", "elements": "dict", "default": [], "options": COMMON},
            "files": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {**COMMON, "content": {"type": "str", "required": True}},
            },
        },
        supports_check_mode=True,
    )
    diffs = [(folder["path"], keep_folder(module, folder)) for folder in module.params["folders"]]
    diffs += [(file["path"], keep_file(module, file)) for file in module.params["files"]]
    changed = [(path, diff) for path, diff in diffs if diff is not None]
    module.exit_json(
        changed=bool(changed),
        paths=[path for path, _diff in changed],
        diff=[{"before_header": path, "after_header": path, **diff} for path, diff in changed],
    )


if __name__ == "__main__":
    main()
