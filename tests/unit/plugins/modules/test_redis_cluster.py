# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cluster modules where no server is needed; tests/integration has the rest."""

from __future__ import annotations

import json
from types import ModuleType
from typing import Any

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args

from ansible_collections.apiops.tyk_redis.plugins.doc_fragments import _cluster_nodes, _redis_connection
from ansible_collections.apiops.tyk_redis.plugins.module_utils import _cluster_options
from ansible_collections.apiops.tyk_redis.plugins.modules import redis_cluster, redis_cluster_info

BOTH = pytest.mark.parametrize(
    "module", [redis_cluster, redis_cluster_info], ids=["redis_cluster", "redis_cluster_info"]
)


def run(module: ModuleType, capsys: pytest.CaptureFixture[str], **options: Any) -> dict[str, Any]:
    with patch_module_args(options), pytest.raises(SystemExit):
        module.main()
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return result


@BOTH
def test_a_host_without_redis_py_is_told_so(
    module: ModuleType, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "HAS_REDIS", False)
    monkeypatch.setattr(module, "REDIS_IMPORT_ERROR", "Traceback: No module named 'redis'")
    result = run(module, capsys, nodes=[{"address": "192.0.2.1"}])
    assert result["failed"] is True
    assert result["msg"].startswith("Failed to import the required Python library (redis) on ")


def test_the_check_of_nodes_to_come_needs_neither_them_nor_redis_py(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_cluster, "HAS_REDIS", False)
    monkeypatch.setattr(redis_cluster, "Cluster", None)
    nodes = [{"address": f"192.0.2.{number}"} for number in range(1, 7)]
    options: dict[str, Any] = {"nodes": nodes, "node_timeout": 15000, "assume_fresh": True}
    planned = run(redis_cluster, capsys, _ansible_check_mode=True, _ansible_diff=True, **options)
    assert (planned.get("failed"), planned["changed"], planned["cluster"]["state"]) == (None, True, "none")
    assert planned["plan"][0].startswith("Set cluster-node-timeout to 2000 ms on 192.0.2.1:6379, ")
    assert planned["plan"][-1].startswith("Set cluster-node-timeout to 15000 ms on 192.0.2.1:6379, ")
    assert planned["diff"]["before"].startswith("192.0.2.1:6379: alone\n")
    assert planned["diff"]["after"].startswith("192.0.2.1:6379: primary, slots 0-5460\n")

    few = run(redis_cluster, capsys, _ansible_check_mode=True, **{**options, "nodes": nodes[:4]})
    assert few["failed"] is True
    assert "4 nodes with 1 replica per primary make 2 primaries, but a cluster needs 3" in few["msg"]

    # It is a matter of the check mode alone.
    meant = run(redis_cluster, capsys, **options)
    assert meant["failed"] is True
    assert meant["msg"].startswith("Failed to import the required Python library (redis) on ")


@BOTH
def test_addresses_are_judged_before_anybody_is_asked(module: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    nodes = [{"address": "redis-1.example"}, {"address": "192.0.2.1", "bus_port": 6379}]
    result = run(module, capsys, nodes=nodes)
    assert result["failed"] is True
    assert "'redis-1.example' of redis-1.example:6379 is not an IP address" in result["msg"]
    assert "The port and the bus port of 192.0.2.1:6379 are both 6379" in result["msg"]


def documented(fragment: Any) -> dict[str, Any]:
    options: dict[str, Any] = yaml.safe_load(fragment.ModuleDocFragment.DOCUMENTATION)["options"]
    return options


def plain(spec: dict[str, Any]) -> dict[str, Any]:
    return {name: {key: facts.get(key) for key in ("type", "default", "required")} for name, facts in spec.items()}


def test_the_fragments_describe_the_options_that_are_read() -> None:
    assert plain(documented(_redis_connection)) == plain(_cluster_options.connection_options())
    assert plain(documented(_cluster_nodes)) == plain(_cluster_options.cluster_options())
    nodes = documented(_cluster_nodes)["nodes"]["suboptions"]
    assert plain(nodes) == plain(_cluster_options.cluster_options()["nodes"]["options"])


def test_a_node_is_declared_by_its_address_alone() -> None:
    options: dict[str, Any] = {
        "address": "[2001:db8::1]",
        "port": 7000,
        "bus_port": None,
        "host": None,
        "zone": None,
        "name": None,
    }
    options["weight"] = 3
    (node,) = _cluster_options.declared_nodes({"nodes": [options]})
    assert (node.name, str(node.address), node.bus_port) == ("[2001:db8::1]:7000", "[2001:db8::1]:7000", 17000)
    assert (node.weight, node.leaving) == (3, False)
    assert (node.host, node.zone, node.title) == ("2001:db8::1", "", "[2001:db8::1]:7000")
