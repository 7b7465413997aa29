#!/usr/bin/python
# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: tyk_config
short_description: Set the Redis settings of one Tyk component, in its file or its environment
version_added: 0.1.0
author:
  - The apiops.tyk_redis contributors (@apiops)
description:
  - Writes the Redis settings into the JSON configuration file of Tyk Gateway, Dashboard, Pump or MDCB, or into an
    environment file, each under the name that the component has for it, and leaves everything else in the file as it
    is, order, indentation and the spelling of numbers included.
  - It knows the component's version. What that version does not read is not written and told in a warning, and what
    it cannot do at all is refused. A version before C(addrs) gets C(hosts), a Pump before 1.9.0 C(redis_use_ssl).
  - An option that is not given leaves its key as it is in the file. An empty string is given, and clears the key; in an
    environment file it takes the variable away, because one that is set but empty stops the component or clears what
    its JSON file says.
  - Addresses in another form (C(host), C(port), C(hosts) and, at the Dashboard, C(redis_host), C(redis_port),
    C(redis_hosts)) and, without O(sentinel_master), the name of a Sentinel master contradict O(addresses) and are
    removed, however they are capitalised.
  - Tyk's programs let their environment win over their file. When the one contradicts the other, this module warns and
    returns RV(overridden), and so it does for known faults of the component's version that these settings meet.
  - The file is replaced in one step and keeps its owner and mode unless O(owner), O(group) or O(mode) say otherwise.
    Of a symbolic link the target is replaced and the link stays.
  - The component has to be restarted to read its file again, which is not the business of this module.
notes:
  - A password may be a reference such as C(vault://secret/redis.password), which is written as it is, in those stores
    of those versions that resolve it. Elsewhere it is refused, since the component would send the text itself to Redis.
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
  format:
    description:
      - What kind of file O(path) is.
      - V(json) is the component's own configuration file.
      - V(systemd) is a file that a systemd unit reads by C(EnvironmentFile=), such as V(/etc/default/tyk-gateway).
      - V(docker) is a file for C(docker run --env-file) and C(podman run --env-file), which know no quotes.
      - V(compose) is a file for C(env_file) of docker compose, which knows quotes and replaces C($NAME).
    type: str
    choices:
      - json
      - systemd
      - docker
      - compose
    default: json
    version_added: 0.2.0
  path:
    description:
      - The file to write.
      - For O(format=json), it is by default where the component's package puts it, that is
        V(/opt/tyk-gateway/tyk.conf), V(/opt/tyk-dashboard/tyk_analytics.conf), V(/opt/tyk-pump/pump.conf) or
        V(/opt/tyk-sink/tyk_sink.conf).
      - For O(format=systemd), it is by default the first file that the packaged unit reads, that is
        V(/etc/default/tyk-gateway), V(/etc/default/tyk-dashboard), V(/etc/default/tyk-pump) or
        V(/etc/default/tyk-sink).
      - The other formats have no default.
    type: path
  version:
    description:
      - The component's version, for example V(5.8.6).
      - Without it the package manager is asked for the installed package, for O(format=json) and O(format=systemd).
      - When nobody knows it, the newest one is assumed.
    type: str
    version_added: 0.2.0
  addresses:
    description:
      - The nodes of the Redis, each as C(host:port), an IPv6 address in brackets.
      - With O(sentinel_master), the Sentinels.
      - In cluster mode the component finds the other nodes through any one of them that it can reach.
      - Required, unless only O(shard_count) is to be written.
    type: list
    elements: str
  cluster:
    description:
      - Whether the Redis is a Redis Cluster. If V(false), it is one server, and the component uses only the first of
        the O(addresses).
      - By default it is one, unless there is O(sentinel_master).
    type: bool
  sentinel_master:
    description:
      - The name by which Sentinel knows the Redis. The component then asks the O(addresses) for it.
      - When it is not given, the component's setting is removed.
    type: str
    version_added: 0.2.0
  sentinel_password:
    description:
      - The password of the Sentinels themselves. Tyk knows no user name for them.
    type: str
    version_added: 0.2.0
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
  cache_storage:
    description:
      - Another Redis for the Gateway's cached responses. The switch C(enable_separate_cache_store) is set with it.
      - When not given, neither the switch nor the section is touched.
    type: dict
    version_added: 0.2.0
    suboptions: &store
      enabled:
        description: If V(false), the switch is set to V(false) where there is one, and the rest stays as it is.
        type: bool
        default: true
      addresses:
        description: As the option O(addresses). Required when enabled.
        type: list
        elements: str
      cluster:
        description: As the option O(cluster).
        type: bool
      sentinel_master:
        description: As the option O(sentinel_master).
        type: str
      sentinel_password:
        description: As the option O(sentinel_password).
        type: str
      username:
        description: As the option O(username).
        type: str
      password:
        description: As the option O(password).
        type: str
      database:
        description: As the option O(database).
        type: int
      timeout:
        description: As the option O(timeout).
        type: int
      pool_size:
        description: As the option O(pool_size).
        type: int
      tls:
        description: As the option O(tls).
        type: bool
        default: false
      tls_ca_file:
        description: As the option O(tls_ca_file).
        type: path
      tls_cert_file:
        description: As the option O(tls_cert_file).
        type: path
      tls_key_file:
        description: As the option O(tls_key_file).
        type: path
      tls_skip_verify:
        description: As the option O(tls_skip_verify).
        type: bool
      tls_min_version:
        description: As the option O(tls_min_version).
        type: str
        choices: ["1.0", "1.1", "1.2", "1.3"]
      tls_max_version:
        description: As the option O(tls_max_version).
        type: str
        choices: ["1.0", "1.1", "1.2", "1.3"]
  analytics_storage:
    description:
      - Another Redis for the records of requests, at the Gateway and at MDCB. The switch
        C(enable_separate_analytics_store) is set with it. Pump has to be pointed at the same Redis.
      - When not given, neither the switch nor the section is touched.
      - The Gateway uses it only while its C(enable_analytics) is true, MDCB while its C(forward_analytics_to_pump) is.
    type: dict
    version_added: 0.2.0
    suboptions: *store
  shard_count:
    description:
      - The value of the variable C(REDIGOCLUSTER_SHARDCOUNT), for example V(128), which only old versions read, Gateway
        up to 2.9.2 and Pump up to 0.8.3. For later ones it is refused.
      - Only for environment files.
    type: int
    version_added: 0.2.0
  unit:
    description:
      - The component's systemd unit, whose environment may contradict its file. By default the one of its package.
    type: str
    version_added: 0.2.0
  env_files:
    description:
      - The environment files of the component, in the order in which they are read.
      - By default those of O(unit), and for O(format=docker) and O(format=compose) the file at O(path) alone.
    type: list
    elements: path
    version_added: 0.2.0
  config_file:
    description:
      - For environment files, the component's JSON file, which may contradict them.
      - By default, for O(format=systemd), where its package puts it.
    type: path
    version_added: 0.2.0
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

- name: Point the Gateway at its Sentinels, and its cache at a server of its own
  apiops.tyk_redis.tyk_config:
    component: gateway
    addresses:
      - 192.0.2.11:26379
      - 192.0.2.12:26379
      - 192.0.2.13:26379
    sentinel_master: tyk
    sentinel_password: "{{ vault_tyk_sentinel_password }}"
    password: "{{ vault_tyk_redis_password }}"
    cache_storage:
      addresses:
        - cache.example.com:6379
      cluster: false

- name: Say it in the environment of the packaged unit instead
  apiops.tyk_redis.tyk_config:
    component: gateway
    format: systemd
    create: true
    addresses:
      - clustercfg.tyk.example.com:6379
    tls: true
    username: tyk-gateway
    password: "{{ vault_tyk_redis_password }}"
  notify: Restart tyk-gateway
"""

RETURN = r"""
path:
  description: The file that was read and, if need be, replaced; the target when O(path) is a symbolic link.
  type: str
  returned: success
  sample: /opt/tyk-gateway/tyk.conf
version:
  description: The version that was reckoned with; empty when nobody knew it and the newest was assumed.
  type: str
  returned: success
  sample: 5.8.6
overridden:
  description:
    - What the component does not do although this file says so, or what its other file says without effect, a sentence
      each. They are warnings too.
  type: list
  elements: str
  returned: success
  sample:
    - >-
      storage.enable_cluster does not become what /opt/tyk-gateway/tyk.conf says, because the variable
      TYK_GW_STORAGE_ENABLECLUSTER in /etc/default/tyk-gateway line 3 says something else and wins: take it away there.
changed_keys:
  description:
    - The keys that were set or removed, with their way through the file, as it writes them; the variables in an
      environment file.
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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.text.converters import to_native

from ansible_collections.apiops.tyk_redis.plugins.module_utils._env_document import (
    COMPOSE,
    DOCKER,
    SYSTEMD,
    EnvDocument,
    EnvProblem,
)
from ansible_collections.apiops.tyk_redis.plugins.module_utils._env_document import decode as decode_variables
from ansible_collections.apiops.tyk_redis.plugins.module_utils._env_document import encode as encode_variables
from ansible_collections.apiops.tyk_redis.plugins.module_utils._json_document import (
    Edit,
    JsonDocument,
    JsonProblem,
    decode,
    encode,
)
from ansible_collections.apiops.tyk_redis.plugins.module_utils._tyk_effective import Effective, read
from ansible_collections.apiops.tyk_redis.plugins.module_utils._tyk_faults import faults
from ansible_collections.apiops.tyk_redis.plugins.module_utils._tyk_host import (
    Environment,
    HostProblem,
    environment,
    shown_version,
    systemd_version,
    version_of,
)
from ansible_collections.apiops.tyk_redis.plugins.module_utils._tyk_host import content as content_of
from ansible_collections.apiops.tyk_redis.plugins.module_utils._tyk_remarks import (
    about_description,
    beaten,
    foreign_keys,
    overridden,
    shown,
    shown_variables,
)
from ansible_collections.apiops.tyk_redis.plugins.module_utils._tyk_render import (
    REFERENCE,
    UNUSED,
    Change,
    Description,
    DescriptionProblem,
    Unused,
    changed_keys,
    check,
    edits,
    plan,
    unmet,
    variables,
)
from ansible_collections.apiops.tyk_redis.plugins.module_utils._tyk_settings import COMPONENTS, Component
from ansible_collections.apiops.tyk_redis.plugins.module_utils._tyk_versions import Version

JSON = "json"
SEPARATE = ("cache_storage", "analytics_storage")
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


@dataclass(frozen=True)
class Edited:
    """The file as it shall become, and what of that can be shown."""

    content: bytes
    changed_keys: list[str]
    before: str
    after: str
    warnings: list[str]


def _store_options() -> dict[str, Any]:
    versions = ["1.0", "1.1", "1.2", "1.3"]
    return {
        "addresses": {"type": "list", "elements": "str"},
        "cluster": {"type": "bool"},
        "sentinel_master": {"type": "str"},
        "sentinel_password": {"type": "str", "no_log": True},
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
        "tls_min_version": {"type": "str", "choices": versions},
        "tls_max_version": {"type": "str", "choices": versions},
    }


class StoreModule(AnsibleModule):
    """Keeps the separate stores out of the host's journal, into which the base class writes each option.

    It writes a dictionary as text, and recognises a secret there only where the text holds it as it is: one with a
    quote or a backslash would stay.
    """

    def _log_invocation(self) -> None:
        whole = self.params
        self.params = {name: value for name, value in whole.items() if name not in SEPARATE}
        try:
            super()._log_invocation()
        finally:
            self.params = whole


def main() -> None:
    together = [("tls_cert_file", "tls_key_file")]
    separate = {
        "type": "dict",
        "options": {"enabled": {"type": "bool", "default": True}, **_store_options()},
        "required_together": together,
        "required_if": [("enabled", True, ("addresses",))],
    }
    module = StoreModule(
        argument_spec={
            "component": {"type": "str", "required": True, "choices": list(COMPONENTS)},
            "format": {"type": "str", "choices": [JSON, SYSTEMD, DOCKER, COMPOSE], "default": JSON},
            "path": {"type": "path"},
            "version": {"type": "str"},
            **_store_options(),
            **{name: separate for name in SEPARATE},
            "shard_count": {"type": "int"},
            "unit": {"type": "str"},
            "env_files": {"type": "list", "elements": "path"},
            "config_file": {"type": "path"},
            "create": {"type": "bool", "default": False},
            "backup": {"type": "bool", "default": False},
        },
        required_one_of=[("addresses", "shard_count")],
        required_by={name: ("addresses",) for name in SEPARATE},
        required_if=[("format", DOCKER, ("path",)), ("format", COMPOSE, ("path",))],
        required_together=together,
        add_file_common_args=True,
        supports_check_mode=True,
    )
    try:
        result = run(module)
    except (ConfigProblem, DescriptionProblem, HostProblem) as exc:
        module.fail_json(msg=str(exc))
    module.exit_json(**result)


def run(module: AnsibleModule) -> dict[str, Any]:
    parameters = module.params
    component = COMPONENTS[parameters["component"]]
    kind = parameters["format"]
    stores = _stores(parameters, component)
    for name, store in stores.items():
        if isinstance(store, Description):
            check(store, "" if name == component.main else f"{name}.")
    given = parameters["version"]
    # What runs in a container is not what this host's package manager knows.
    version = version_of(module, component, given) if given or kind in (JSON, SYSTEMD) else None
    planned = plan(component, stores, version, parameters["shard_count"])

    default = component.config_path if kind == JSON else component.env_files[0]
    found = find(parameters["path"] or default, parameters["create"], module.check_mode)
    if kind == JSON:
        edited = _edited_json(module, component, found, planned.changes)
    else:
        edited = _edited_variables(module, component, found, planned.changes, version)
    arguments = _file_arguments(module, found)
    if any(isinstance(store, Description) and _holds_secret(store) for store in stores.values()):
        _refuse_readable_by_others(module, found, arguments)

    contradictions, effective = _effective(module, component, found, edited.content, planned.changes, version)
    said = [*planned.remarks, *about_description(stores), *edited.warnings, *contradictions]
    if stores:
        said += [*effective.problems, *(problem for other in effective.others for problem in other.problems)]
        said += [remark for store in effective.stores for remark in store.remarks]
        said += faults(effective)
    for sentence in dict.fromkeys(said):
        module.warn(sentence)

    content = edited.content
    attribute_diff = {
        "before_header": f"{found.path} (file attributes)",
        "after_header": f"{found.path} (file attributes)",
    }
    result: dict[str, Any] = {
        "changed": content != found.content,
        "path": found.path,
        "version": shown_version(version),
        "changed_keys": edited.changed_keys,
        "overridden": contradictions,
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

    what = "keys" if kind == JSON else "variables"
    difference = {
        "before": edited.before,
        "after": edited.after,
        "before_header": f"{found.path} (Redis {what})" if found.content is not None else "(no file)",
        "after_header": f"{found.path} (Redis {what})",
    }
    result["diff"] = [difference, attribute_diff] if "before" in attribute_diff else difference
    return result


def _stores(parameters: dict[str, Any], component: Component) -> dict[str, Description | Unused]:
    """What is said about each of the component's stores."""
    if parameters["shard_count"] is not None and parameters["format"] == JSON:
        raise ConfigProblem(
            f"shard_count is {parameters['shard_count']}, but it is a variable and no key of the JSON file: set it "
            "with format systemd, docker or compose."
        )
    stores: dict[str, Description | Unused] = {}
    if parameters["addresses"] is not None:
        stores[component.main] = _description(parameters)
    for name in SEPARATE:
        given = parameters[name]
        if given is None:
            continue
        if name not in component.sections:
            if not given["enabled"]:
                continue
            known = ", ".join(other for other in component.sections if other != component.main)
            raise ConfigProblem(
                f"{name} is given, but {component.title} has no such store"
                f"{f': beside its main one it has {known}' if known else ': it has one store only'}. "
                f"Leave {name} away."
            )
        stores[name] = _description(given) if given["enabled"] else UNUSED
    return stores


def _description(given: dict[str, Any]) -> Description:
    cluster = given["cluster"]
    return Description(
        addresses=tuple(given["addresses"]),
        cluster=not given["sentinel_master"] if cluster is None else cluster,
        sentinel_master=given["sentinel_master"],
        sentinel_password=given["sentinel_password"],
        username=given["username"],
        password=given["password"],
        database=given["database"],
        timeout=given["timeout"],
        pool_size=given["pool_size"],
        tls=given["tls"],
        tls_skip_verify=given["tls_skip_verify"],
        tls_ca=given["tls_ca_file"],
        tls_cert=given["tls_cert_file"],
        tls_key=given["tls_key_file"],
        tls_min_version=given["tls_min_version"],
        tls_max_version=given["tls_max_version"],
    )


def _holds_secret(store: Description) -> bool:
    """Whether the file would hold a secret and not only say where one is kept."""
    return any(text and not REFERENCE.match(text) for text in (store.password, store.sentinel_password))


def _edited_json(module: AnsibleModule, component: Component, found: Found, changes: Sequence[Change]) -> Edited:
    wanted = edits(component, changes)
    before, after = _edit(module, found, wanted)
    return Edited(
        content=encode(after.text),
        changed_keys=changed_keys(before, after, wanted),
        before=shown(component, before),
        after=shown(component, after, before),
        warnings=foreign_keys(component, after),
    )


def _edited_variables(
    module: AnsibleModule, component: Component, found: Found, changes: Sequence[Change], version: Version | None
) -> Edited:
    kind = module.params["format"]
    try:
        before = EnvDocument(decode_variables(found.content or b""), kind, systemd_version=systemd_version(module))
        wanted = variables(component, changes, version, before.names())
        after = before.edited(wanted)
    except EnvProblem as exc:
        raise ConfigProblem(f"{found.path} is left as it is: {exc}") from exc
    wrong = [name for name, value in wanted.items() if after.value(name) != value]
    if wrong:
        raise ConfigProblem(
            f"{found.path} is left as it is: the edited text does not say what was wanted for {', '.join(wrong)}. "
            "This is a fault of the module, please report it."
        )
    names = {name for setting in component.every() for name in setting.env}

    def values(document: EnvDocument) -> dict[str, str]:
        said = {name: document.value(name) for name in document.names() if name in names}
        return {name: value for name, value in said.items() if value is not None}

    return Edited(
        content=encode_variables(after.text),
        changed_keys=[name for name in wanted if before.value(name) != after.value(name)],
        before=shown_variables(component, values(before)),
        after=shown_variables(component, values(after), values(before)),
        warnings=after.remarks(),
    )


def _effective(
    module: AnsibleModule,
    component: Component,
    found: Found,
    content: bytes,
    changes: Sequence[Change],
    version: Version | None,
) -> tuple[list[str], Effective]:
    """What contradicts the file that is written, and what the component will do in the end."""
    parameters = module.params
    kind = parameters["format"]
    unit = parameters["unit"] or component.service
    if kind == JSON:
        around = environment(module, component, unit=unit, env_files=parameters["env_files"])
        effective = read(component, found.path, content, around.variables, around.files, version)
        return overridden(effective, changes, found.path), effective

    path = parameters["path"] or component.env_files[0]
    predicted = {path: content, found.path: content}
    env_files = parameters["env_files"]
    if kind != SYSTEMD and env_files is None:
        env_files = [path]
    around = environment(
        module,
        component,
        unit=unit,
        env_files=env_files,
        kind=kind,
        instead=predicted,
    )
    config = parameters["config_file"] or (component.config_path if kind == SYSTEMD else "")
    # Of a container's file nothing is known here unless it is named.
    json_text = content_of(config) if config else b"{}"
    effective = read(component, config or "its file", json_text, around.variables, around.files, version)
    if not {path, found.path} & set(around.paths):
        return _not_read(component, unit, path, around), effective
    alone = read(component, config or "its file", json_text, {}, (), version)
    return [*overridden(effective, changes, path), *beaten(alone, changes, config)], effective


def _not_read(component: Component, unit: str, path: str, around: Environment) -> list[str]:
    others = f" It reads {', '.join(around.paths)}." if around.paths else ""
    return [
        f"{unit} does not read {path}, so that nothing in it reaches {component.title}: name it in the unit as an "
        f"EnvironmentFile=, or give another path.{others}"
    ]


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
