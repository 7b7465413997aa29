#!/usr/bin/python

# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: tyk_health
short_description: Wait until a Tyk component works with its Redis
version_added: 0.2.0
author:
  - The apiops.tyk_redis contributors (@apiops)
description:
  - Runs on the host of a Tyk component after a start or restart of its service, and waits until the component itself
    tells that it works with its Redis.
  - The gateway is asked for its health report (C(/hello)). The HTTP code of it is 200 whatever happens in most
    versions, so only what it says about Redis counts. Where the version has it (5.8.3, 5.9.0 and later), C(/ready) has
    to answer 200 as well. Port, names, and whether TLS is spoken there, are read from the gateway's own configuration.
  - Pump writes its version into Redis at its start (0.7.1 and later). That the key is there counts, so take an older
    one away before the restart with O(forget=true).
  - Dashboard and MDCB do not tell it in a way that is documented. Of them it is only seen that the service goes on
    running.
  - When the time is over, or the service has failed, the module fails with the last lines of the service's own log.
extends_documentation_fragment:
  - apiops.tyk_redis._attributes
attributes:
  check_mode:
    support: full
    details:
      - With O(forget=true) the key is looked for and left alone; otherwise nothing is changed anyway.
  diff_mode:
    support: none
    details:
      - There is nothing to compare.
  idempotent:
    support: full
requirements:
  - redis-py 3.5.3 or later on the host of Pump
options:
  component:
    description:
      - The component to wait for.
    type: str
    required: true
    choices: [gateway, dashboard, pump, mdcb]
  path:
    description:
      - The component's configuration file. The default is where the component's package has it.
    type: path
  unit:
    description:
      - The systemd unit of the component. The default is the one of its package.
    type: str
  version:
    description:
      - The component's version, for example V(5.8.6). Without it the package manager is asked for the installed
        package. When nobody knows it, the newest one is assumed.
    type: str
  timeout:
    description:
      - How many seconds to wait. The gateway probes Redis for the first time 10 seconds after its start, unless
        C(liveness_check.check_duration) says otherwise.
    type: int
    default: 60
  forget:
    description:
      - Take away the sign that a former start of Pump has left in Redis, and do nothing else. For other components
        there is nothing to take away.
    type: bool
    default: false
seealso:
  - module: apiops.tyk_redis.tyk_redis_check
  - name: Tyk's health check
    description: What C(/hello) answers.
    link: https://tyk.io/docs/planning-for-production/ensure-high-availability/health-check/
"""

EXAMPLES = r"""
- name: Take the sign of the former start away
  apiops.tyk_redis.tyk_health:
    component: pump
    forget: true

- name: Restart Pump
  ansible.builtin.systemd_service:
    name: tyk-pump.service
    state: restarted

- name: Wait until Pump works with its Redis
  apiops.tyk_redis.tyk_health:
    component: pump

- name: Wait for a gateway that probes Redis once a minute
  apiops.tyk_redis.tyk_health:
    component: gateway
    timeout: 120
"""

RETURN = r"""
proof:
  description: What told that the component works with its Redis.
  returned: when O(forget=false) and the component is well
  type: str
  sample: http://127.0.0.1:8080/hello says that Redis passes, and http://127.0.0.1:8080/ready answers 200.
log:
  description: The last lines of the service's log.
  returned: on failure
  type: list
  elements: str
  sample:
    - time="Nov 26 07:00:01" level=error msg="storage: Redis is either down or was not configured"
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.apiops.tyk_redis.plugins.module_utils import _tyk_health as health
from ansible_collections.apiops.tyk_redis.plugins.module_utils._clock import Clock
from ansible_collections.apiops.tyk_redis.plugins.module_utils._health_probe import SignKey, ask
from ansible_collections.apiops.tyk_redis.plugins.module_utils._redis_client import (
    HAS_REDIS,
    REDIS_IMPORT_ERROR,
    RedisProblem,
)
from ansible_collections.apiops.tyk_redis.plugins.module_utils._tyk_effective import Effective, read
from ansible_collections.apiops.tyk_redis.plugins.module_utils._tyk_host import (
    HostProblem,
    content,
    environment,
    version_of,
)
from ansible_collections.apiops.tyk_redis.plugins.module_utils._tyk_settings import COMPONENTS

_LOG_LINES = 20
# Seconds that one question may take.
_PATIENCE = 5
# Seconds that a service whose health nobody tells has to go on running.
_STEADY = 5
_ENGLISH = {"LC_ALL": "C.UTF-8"}


class _NotWell(Exception):
    """The component does not work with its Redis."""

    def __init__(self, sentence: str, log: list[str]) -> None:
        super().__init__(sentence)
        self.log = log


class _Service:
    """The systemd unit of the component."""

    def __init__(self, module: AnsibleModule, unit: str) -> None:
        self._module = module
        self.unit = unit

    def _run(self, program: str, *words: str) -> str:
        found = self._module.get_bin_path(program, required=True)
        _rc, stdout, _stderr = self._module.run_command([found, *words], environ_update=_ENGLISH)
        return str(stdout)

    def state(self) -> dict[str, str]:
        shown = self._run("systemctl", "show", "--property=ActiveState,SubState,NRestarts,Result", "--", self.unit)
        return dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)

    def log(self) -> list[str]:
        """The last lines that it has written."""
        words = ("--no-pager", "--output=cat", f"--lines={_LOG_LINES}", f"--unit={self.unit}")
        return self._run("journalctl", *words).splitlines()


class _Waiting:
    """Looks again and again until the component is well."""

    def __init__(self, module: AnsibleModule, effective: Effective, key: str) -> None:
        self._module = module
        self._effective = effective
        self._timeout = float(module.params["timeout"])
        self._service = _Service(module, module.params["unit"] or effective.component.service)
        self._clock = Clock()
        self._key = key
        self._sign = SignKey(effective, key, _PATIENCE) if key else None
        self._steady_since: tuple[float, str] | None = None

    def run(self) -> str:
        """Wait; what was the proof."""
        sentence = ""
        for left in self._clock.polls(self._timeout, first=0.25, last=1.0):
            state = self._service.state()
            if state.get("ActiveState") == "failed":
                raise self._given_up(f"{self._service.unit} has failed ({state.get('Result', '')}).")
            sentence, proof = self._look(state)
            if not sentence:
                return proof
            if not left:
                break
        raise self._given_up(f"After {self._timeout:g} s {self._effective.component.title} is not well. {sentence}")

    def _look(self, state: dict[str, str]) -> tuple[str, str]:
        """What is wrong, or else what proves that nothing is."""
        if state.get("ActiveState") != "active":
            return f"{self._service.unit} is {state.get('ActiveState', 'unknown')} ({state.get('SubState', '')}).", ""
        if self._effective.component.name == "gateway":
            return self._ask_gateway()
        if self._sign is not None:
            return self._look_for_key(self._sign)
        return self._watch(state)

    def _ask_gateway(self) -> tuple[str, str]:
        hello, *ready = health.endpoints(self._effective)
        verdict = health.judge_hello(hello, ask(hello, _PATIENCE))
        if verdict.sentence:
            return verdict.sentence, ""
        proof = f"{hello.url} says that Redis passes"
        for endpoint in ready:
            verdict = health.judge_ready(endpoint, ask(endpoint, _PATIENCE))
            if verdict.sentence:
                return verdict.sentence, ""
            proof += f", and {endpoint.url} answers 200"
        return "", f"{proof}."

    def _look_for_key(self, sign: SignKey) -> tuple[str, str]:
        try:
            if sign.exists():
                return "", f"Pump has written the key {self._key} into its Redis."
        except RedisProblem as problem:
            return str(problem), ""
        return f"Pump has not written the key {self._key} into its Redis, as it does at its start.", ""

    def _watch(self, state: dict[str, str]) -> tuple[str, str]:
        """Whether it goes on running without a restart by systemd."""
        restarts = state.get("NRestarts", "")
        now = self._clock.now()
        if self._steady_since is None or self._steady_since[1] != restarts:
            self._steady_since = (now, restarts)
        if now - self._steady_since[0] < min(_STEADY, self._timeout / 2):
            return f"{self._service.unit} has only just been started.", ""
        return "", f"{self._service.unit} goes on running; it tells nothing about its Redis."

    def _given_up(self, sentence: str) -> _NotWell:
        lines = self._service.log()
        said = "\n".join(lines) or "(nothing)"
        where = f"journalctl --unit={self._service.unit}"
        return _NotWell(f"{sentence} The last lines of its log ({where}):\n{said}", lines)


def run(module: AnsibleModule) -> dict[str, t.Any]:
    component = COMPONENTS[module.params["component"]]
    path = module.params["path"] or component.config_path
    if module.params["timeout"] < 1:
        raise HostProblem(f"timeout is {module.params['timeout']}, but at least 1 second is needed.")
    version = version_of(module, component, module.params["version"])
    around = environment(module, component, unit=module.params["unit"] or component.service, env_files=None)
    effective = read(component, path, content(path), around.variables, around.files, version)
    # The log of a component that cannot log in may say with what it has tried.
    module.no_log_values.update(store.password for store in effective.stores if store.password)
    key = health.pump_key(effective, around.variables) if component.name == "pump" and effective.usable else ""
    if key and not HAS_REDIS:
        module.fail_json(msg=missing_required_lib("redis"), exception=REDIS_IMPORT_ERROR)
    if not module.params["forget"]:
        return {"changed": False, "proof": _Waiting(module, effective, key).run()}
    return {"changed": bool(key) and _forget(module, effective, key)}


def _forget(module: AnsibleModule, effective: Effective, key: str) -> bool:
    sign = SignKey(effective, key, _PATIENCE)
    try:
        return sign.exists() if module.check_mode else sign.delete()
    except RedisProblem as problem:
        raise HostProblem(f"The key {key} of Pump's former start could not be taken away. {problem}") from problem


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "component": {"type": "str", "required": True, "choices": list(COMPONENTS)},
            "path": {"type": "path"},
            "unit": {"type": "str"},
            "version": {"type": "str"},
            "timeout": {"type": "int", "default": 60},
            "forget": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    try:
        result = run(module)
    except _NotWell as exc:
        module.fail_json(msg=str(exc), log=exc.log)
    except HostProblem as exc:
        module.fail_json(msg=str(exc))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
