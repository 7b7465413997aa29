#!/usr/bin/python
# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: tyk_config
short_description: Set the Redis keys of one Tyk component's configuration file
version_added: 0.1.0
author:
  - The apiops.tyk_redis contributors (@apiops)
description:
  - Writes the Redis settings into the JSON configuration file of Tyk Gateway, Dashboard, Pump or MDCB, each under the
    name that the component has for it, and leaves everything else in the file as it is, order, indentation and the
    spelling of numbers included.
  - An option that is not given leaves its key as it is in the file. An empty string is given, and clears the key.
  - Addresses in another form (C(host), C(port), C(hosts) and, at the Dashboard, C(redis_host), C(redis_port),
    C(redis_hosts)) and the name of a Sentinel master contradict O(addresses) and are removed, however they are
    capitalised.
  - The file is replaced in one step and keeps its owner and mode unless O(owner), O(group) or O(mode) say otherwise.
    Of a symbolic link the target is replaced and the link stays.
  - The component has to be restarted to read its file again, which is not the business of this module.
notes:
  - Tyk's programs read the file with a decoder that ignores upper and lower case in keys, and so does this module.
    It edits a key such as C(Storage) in place. When a key that it has to set is there twice, it refuses and names both
    places. Duplicates elsewhere are kept.
  - It refuses a file that is empty, that is no JSON, that has comments or anything after the last brace, and names line
    and column. A byte order mark at the beginning, with which no component could read the file, is removed with a
    warning.
  - A password and a file that every user of the host may read do not go together. When O(password) is given and the
    file is, or by O(mode) would become, readable by others, the module refuses. Give a O(mode) such as V(0640).
  - The diff shows the component's Redis keys and no other line of the file, since those may hold secrets. The values of
    secret keys are replaced by asterisks.
options:
  component:
    description:
      - The component whose file this is.
    type: str
    required: true
    choices:
      - gateway
      - dashboard
      - pump
      - mdcb
  path:
    description:
      - The configuration file.
      - When not given, it is where the component's package puts it, that is V(/opt/tyk-gateway/tyk.conf),
        V(/opt/tyk-dashboard/tyk_analytics.conf), V(/opt/tyk-pump/pump.conf) or V(/opt/tyk-sink/tyk_sink.conf).
    type: path
  addresses:
    description:
      - The nodes of the Redis, each as C(host:port), an IPv6 address in brackets.
      - In cluster mode the component finds the other nodes through any one of them that it can reach.
    type: list
    elements: str
    required: true
  cluster:
    description:
      - Whether the Redis is a Redis Cluster. If V(false), it is one server, and the component uses only the first of
        the O(addresses).
    type: bool
    default: true
  username:
    description:
      - The Redis ACL user. Without a password Tyk does not use it.
    type: str
  password:
    description:
      - The password of the user, or of the server when there is no O(username).
    type: str
  database:
    description:
      - The number of the logical database. It has no effect in cluster mode.
    type: int
  timeout:
    description:
      - Seconds to wait for a connection, an answer and a write.
    type: int
  pool_size:
    description:
      - The most connections that one pool of the component opens to one Redis node. The Gateway has four pools.
    type: int
  tls:
    description:
      - Whether the component encrypts its connections with TLS.
      - If V(false), the keys of the other TLS options are left as they are, unless these are given.
    type: bool
    default: false
  tls_ca_file:
    description:
      - The file, on the component's host, with the certificates of the authorities to trust instead of the system's.
    type: path
  tls_cert_file:
    description:
      - The file with the client's certificate.
    type: path
  tls_key_file:
    description:
      - The file with the private key of the client's certificate. The component's user must be able to read it.
    type: path
  tls_skip_verify:
    description:
      - Whether to accept any certificate, which leaves the connection open to a man in the middle.
    type: bool
  tls_min_version:
    description:
      - The lowest version of TLS to accept.
    type: str
    choices: ["1.0", "1.1", "1.2", "1.3"]
  tls_max_version:
    description:
      - The highest version of TLS to use.
    type: str
    choices: ["1.0", "1.1", "1.2", "1.3"]
  create:
    description:
      - Whether to make the file when it does not exist. It then holds the Redis settings and nothing else, which is
        enough for the component to read it, and has the mode V(0640) unless O(mode) says otherwise. Everything else the
        component takes from its environment or its built-in values.
      - Its folder has to exist. In check mode it need not, because an earlier task may have only predicted it.
    type: bool
    default: false
  backup:
    description:
      - Whether to keep a copy of the file as it was before a change, beside it and with its owner and mode. The copy
        holds the old secrets.
    type: bool
    default: false
extends_documentation_fragment:
  - ansible.builtin.files
  - apiops.tyk_redis._attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
"""

EXAMPLES = r"""
- name: Point the Gateway at a Redis Cluster
  apiops.tyk_redis.tyk_config:
    component: gateway
    addresses:
      - 192.0.2.11:6379
      - 192.0.2.12:6379
      - 192.0.2.13:6379
    username: tyk
    password: "{{ vault_tyk_redis_password }}"
  notify: Restart tyk-gateway

- name: Point Pump at one Redis server with TLS and make sure who can read its file
  apiops.tyk_redis.tyk_config:
    component: pump
    cluster: false
    addresses:
      - redis.example.com:6380
    password: "{{ vault_tyk_redis_password }}"
    tls: true
    tls_ca_file: /etc/ssl/certs/redis-ca.pem
    owner: tyk
    group: tyk
    mode: "0660"

- name: Make a file for MDCB that is configured by its environment otherwise
  apiops.tyk_redis.tyk_config:
    component: mdcb
    create: true
    addresses:
      - "[2001:db8::11]:6379"
      - "[2001:db8::12]:6379"
    mode: "0600"
"""

RETURN = r"""
path:
  description: The file that was read and, if need be, replaced; the target when O(path) is a symbolic link.
  type: str
  returned: success
  sample: /opt/tyk-gateway/tyk.conf
changed_keys:
  description: The keys that were set or removed, with their way through the file, as it writes them.
  type: list
  elements: str
  returned: success
  sample:
    - storage.addrs
    - storage.enable_cluster
    - storage.password
    - storage.host
    - storage.port
backup_file:
  description: The copy of the file as it was.
  type: str
  returned: changed and if O(backup=true)
  sample: /opt/tyk-gateway/tyk.conf.4211.2026-11-22@10:04:51~
"""

import contextlib
import os
import pwd
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.text.converters import to_native

from ansible_collections.apiops.tyk_redis.plugins.module_utils._json_document import (
    Edit,
    JsonDocument,
    JsonProblem,
    decode,
    encode,
)
from ansible_collections.apiops.tyk_redis.plugins.module_utils._tyk_render import (
    Description,
    DescriptionProblem,
    changed_keys,
    check,
    edits,
    remarks,
    shown,
    unmet,
)
from ansible_collections.apiops.tyk_redis.plugins.module_utils._tyk_settings import COMPONENTS

# Nothing to read for others, even when the password in it is only added later.
CREATED_MODE = "0640"
# An object over several lines, so that what is put into it is laid out like that.
EMPTY_FILE = "{\n}\n"

_FILE_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
)


class ConfigProblem(Exception):
    """The file cannot be read or must not be written; the text names it and says what to do."""


@dataclass(frozen=True)
class Found:
    """The file as it was found; C(content) is None when there is none."""

    path: str
    content: bytes | None
    status: os.stat_result | None


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "component": {"type": "str", "required": True, "choices": list(COMPONENTS)},
            "path": {"type": "path"},
            "addresses": {"type": "list", "elements": "str", "required": True},
            "cluster": {"type": "bool", "default": True},
            "username": {"type": "str"},
            "password": {"type": "str", "no_log": True},
            "database": {"type": "int"},
            "timeout": {"type": "int"},
            "pool_size": {"type": "int"},
            "tls": {"type": "bool", "default": False},
            "tls_ca_file": {"type": "path"},
            "tls_cert_file": {"type": "path"},
            "tls_key_file": {"type": "path", "no_log": False},
            "tls_skip_verify": {"type": "bool"},
            "tls_min_version": {"type": "str", "choices": ["1.0", "1.1", "1.2", "1.3"]},
            "tls_max_version": {"type": "str", "choices": ["1.0", "1.1", "1.2", "1.3"]},
            "create": {"type": "bool", "default": False},
            "backup": {"type": "bool", "default": False},
        },
        required_together=[("tls_cert_file", "tls_key_file")],
        add_file_common_args=True,
        supports_check_mode=True,
    )
    try:
        result = run(module)
    except (ConfigProblem, DescriptionProblem) as exc:
        module.fail_json(msg=str(exc))
    module.exit_json(**result)


def run(module: AnsibleModule) -> dict[str, Any]:
    parameters = module.params
    component = COMPONENTS[parameters["component"]]
    description = _description(parameters)
    check(description)
    wanted = edits(component, description)

    found = find(parameters["path"] or component.config_path, parameters["create"], module.check_mode)
    before, after = _edit(module, found, wanted)
    for remark in remarks(component, description, after):
        module.warn(remark)

    content = encode(after.text)
    arguments = _file_arguments(module, found)
    if description.password:
        _refuse_readable_by_others(module, found, arguments)

    attribute_diff = {
        "before_header": f"{found.path} (file attributes)",
        "after_header": f"{found.path} (file attributes)",
    }
    result: dict[str, Any] = {
        "changed": content != found.content,
        "path": found.path,
        "changed_keys": changed_keys(before, after, wanted),
    }
    if result["changed"]:
        _refuse_unwritable(found, module.check_mode)
    # The mode comes first: the new content takes over the mode of the old, and must not be readable for a moment.
    if found.content is not None:
        result["changed"] = module.set_fs_attributes_if_different(arguments, result["changed"], diff=attribute_diff)
    if content != found.content and not module.check_mode:
        if parameters["backup"] and found.content is not None:
            with _private_files():
                result["backup_file"] = module.backup_local(found.path)
        _write(module, found.path, content)
        if found.content is None:
            module.set_fs_attributes_if_different(arguments, True)

    difference = {
        "before": shown(component, before),
        "after": shown(component, after, before),
        "before_header": f"{found.path} (Redis keys)" if before else "(no file)",
        "after_header": f"{found.path} (Redis keys)",
    }
    result["diff"] = [difference, attribute_diff] if "before" in attribute_diff else difference
    return result


def _description(parameters: dict[str, Any]) -> Description:
    return Description(
        addresses=tuple(parameters["addresses"]),
        cluster=parameters["cluster"],
        username=parameters["username"],
        password=parameters["password"],
        database=parameters["database"],
        timeout=parameters["timeout"],
        pool_size=parameters["pool_size"],
        tls=parameters["tls"],
        tls_skip_verify=parameters["tls_skip_verify"],
        tls_ca=parameters["tls_ca_file"],
        tls_cert=parameters["tls_cert_file"],
        tls_key=parameters["tls_key_file"],
        tls_min_version=parameters["tls_min_version"],
        tls_max_version=parameters["tls_max_version"],
    )


def find(path: str, create: bool, check_mode: bool) -> Found:
    """Read the file, through a symbolic link if it is one, and refuse what is no file."""
    target = os.path.realpath(path)
    named = path if target == os.path.abspath(path) else f"{path} (a link to {target})"
    try:
        status = os.stat(target)
    except FileNotFoundError:
        if os.path.islink(path):
            raise ConfigProblem(f"{named} points to nothing: make the target, or remove the link.") from None
        if not create:
            raise ConfigProblem(
                f"{path} does not exist: install the component or correct path, or say create: true to make a file "
                "with the Redis settings alone."
            ) from None
        folder = os.path.dirname(target)
        if not check_mode and not os.path.isdir(folder):
            raise ConfigProblem(
                f"The folder {folder} does not exist: install the component, or make it first."
            ) from None
        return Found(target, None, None)
    except OSError as exc:
        raise ConfigProblem(f"{named} cannot be looked at: {exc.strerror}. {_remedy()}") from exc
    for is_kind, kind in _FILE_KINDS:
        if is_kind(status.st_mode):
            raise ConfigProblem(f"{named} is {kind}, and a file is needed: correct path.")
    try:
        with open(target, "rb") as file:
            return Found(target, file.read(), status)
    except OSError as exc:
        raise ConfigProblem(f"{named} cannot be read: {exc.strerror}. {_remedy()}") from exc


def _edit(module: AnsibleModule, found: Found, wanted: list[Edit]) -> tuple[JsonDocument | None, JsonDocument]:
    try:
        if found.content is None:
            before, after = None, JsonDocument(EMPTY_FILE).edited(wanted)
        else:
            text, marked = decode(found.content)
            before = JsonDocument(text)
            after = before.edited(wanted)
            if marked:
                module.warn(
                    f"{found.path} begins with a byte order mark, with which Tyk cannot read it: the mark is removed."
                )
    except JsonProblem as exc:
        raise ConfigProblem(f"{found.path} is left as it is: {exc}") from exc
    missing = unmet(after, wanted)
    if missing:
        raise ConfigProblem(
            f"{found.path} is left as it is: the edited text does not say what was wanted for {', '.join(missing)}. "
            "This is a fault of the module, please report it."
        )
    return before, after


def _file_arguments(module: AnsibleModule, found: Found) -> dict[str, Any]:
    arguments: dict[str, Any] = module.load_file_common_arguments(module.params, path=found.path)
    if found.content is None and arguments["mode"] is None:
        arguments["mode"] = CREATED_MODE
    return arguments


def _refuse_readable_by_others(module: AnsibleModule, found: Found, arguments: dict[str, Any]) -> None:
    mode = stat.S_IMODE(found.status.st_mode) if found.status else 0
    if arguments["mode"] is not None:
        mode = _octal(module, found, arguments["mode"])
    if mode & stat.S_IROTH:
        raise ConfigProblem(
            f"{found.path} would hold a password, and with the mode {mode:04o} every user of this host could read it: "
            "give a mode without rights for others, for example mode: '0640'."
        )


def _octal(module: AnsibleModule, found: Found, mode: Any) -> int:
    if isinstance(mode, int):
        return mode
    try:
        return int(mode, 8)
    except ValueError:
        pass
    status = found.status or os.stat_result((stat.S_IFREG, 0, 0, 1, 0, 0, 0, 0, 0, 0))
    try:
        return int(module._symbolic_mode_to_octal(status, mode))
    except ValueError as exc:
        raise ConfigProblem(f"mode {mode!r} is not a file mode: {to_native(exc)}.") from exc


def _refuse_unwritable(found: Found, check_mode: bool) -> None:
    """Say before anything is touched, and in check mode too, that the file cannot be replaced."""
    folder = os.path.dirname(found.path)
    if not os.path.isdir(folder) and check_mode:
        return
    if found.content is not None and not os.access(found.path, os.W_OK):
        raise ConfigProblem(f"{found.path} cannot be written: it is read-only for {_user()}. {_remedy()}")
    if found.status is not None and not _keeps_owner(found.status):
        raise ConfigProblem(
            f"{found.path} belongs to another user or group, and {_user()} cannot replace it without changing that. "
            f"{_remedy()}"
        )
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigProblem(
            f"{found.path} cannot be written: its folder {folder} is read-only for {_user()}. {_remedy()}"
        )


def _keeps_owner(status: os.stat_result) -> bool:
    if os.geteuid() == 0:
        return True
    return status.st_uid == os.geteuid() and status.st_gid in {os.getegid(), *os.getgroups()}


def _user() -> str:
    try:
        return f"the user {pwd.getpwuid(os.geteuid()).pw_name}"
    except KeyError:
        return f"the user with the number {os.geteuid()}"


def _remedy() -> str:
    if os.geteuid() == 0:
        return "See whether the file system is mounted read-only or the file has the immutable attribute."
    return "Run the task with become: true, or give that user the right."


@contextlib.contextmanager
def _private_files() -> Iterator[None]:
    """Let whatever is made meanwhile be for the owner alone until it gets its real mode."""
    former = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(former)


def _write(module: AnsibleModule, path: str, content: bytes) -> None:
    with _private_files():
        descriptor, temporary = tempfile.mkstemp(dir=module.tmpdir)
        module.add_cleanup_file(temporary)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            # Or else a power cut right after the rename could leave an empty file.
            file.flush()
            os.fsync(file.fileno())
        try:
            module.atomic_move(temporary, path, unsafe_writes=module.params["unsafe_writes"])
        except Exception as exc:  # That is what it raises, with the reason as its cause.
            reason = getattr(exc.__cause__, "strerror", None) or to_native(exc)
            raise ConfigProblem(
                f"{path} could not be replaced: {reason}. If the file is a mount of its own, as in a container, say "
                "unsafe_writes: true."
            ) from exc


if __name__ == "__main__":
    main()
