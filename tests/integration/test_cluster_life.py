# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster's life on real servers while clients write: nothing that was acknowledged is lost, and all data stay."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest
from life import (
    SLOTS,
    Described,
    RunModule,
    assert_same,
    dump,
    fill,
    keys_on,
    lines_of,
    me,
    module_process,
    nothing_lost,
    primaries,
    wait_until,
)
from servers import DISTRIBUTION, VERSIONS, Servers, made_by_make

# Every operation runs on these two; all of them run one after the other on the others.
FULL = (DISTRIBUTION, "valkey-9.1")
Describe = Callable[..., Described]


# --- the operations: each changes the description, lets it come true, and looks ---------------------------------------


def grow(life: Described) -> None:
    life.add(2)
    with nothing_lost(life, "add a primary and its replica"):
        life.four_runs()
    count = len(life.nodes) // 2
    assert len(life.primary_names()) == count
    assert max(life.shares()) - min(life.shares()) <= 1


def shrink(life: Described) -> None:
    primary = life.primary_names()[-1]
    gone = [primary, *life.replica_names(primary)]
    life.remove(*gone)
    with nothing_lost(life, "remove a primary and its replica"):
        life.four_runs()
    for name in gone:
        assert len(lines_of(life.by_name[name])) == 1, f"{name} still knows the others"
    assert max(life.shares()) - min(life.shares()) <= 1
    life.left()
    life.assert_done()


def more_replicas(life: Described) -> None:
    life.add(len(life.primary_names()))
    life.replicas_per_primary += 1
    before = life.shares()
    with nothing_lost(life, "add a replica to each primary"):
        result = life.four_runs()
    assert life.shares() == before
    assert not [step for step in result["plan"] if step.startswith("Move ")]


def fewer_replicas(life: Described) -> None:
    gone = [life.replica_names(primary)[0] for primary in life.primary_names()]
    life.remove(*gone)
    life.replicas_per_primary -= 1
    before = life.shares()
    with nothing_lost(life, "remove a replica of each primary"):
        result = life.four_runs()
    assert life.shares() == before
    assert not [step for step in result["plan"] if step.startswith("Move ")]
    life.left()


def replicas_into_primaries(life: Described) -> None:
    life.replicas_per_primary = 0
    with nothing_lost(life, "make primaries of the replicas"):
        life.four_runs()
    assert len(life.primary_names()) == len(life.nodes)
    assert max(life.shares()) - min(life.shares()) <= 1


def primaries_into_replicas(life: Described) -> None:
    life.replicas_per_primary = 1
    with nothing_lost(life, "make replicas of half of the primaries"):
        life.four_runs()
    assert len(life.primary_names()) == len(life.nodes) // 2


def weights(life: Described) -> None:
    heavy = life.primary_names()[0]
    for name in (heavy, *life.replica_names(heavy)):
        life.nodes[name]["weight"] = 2
    with nothing_lost(life, "give a primary a double weight"):
        life.four_runs()
    share = SLOTS / (len(life.primary_names()) + 1)
    assert sorted(round(len(life.slots_of(name)) / share) for name in life.primary_names())[-2:] == [1, 2]
    assert round(len(life.slots_of(heavy)) / share) == 2
    for node in life.nodes.values():
        node.pop("weight", None)
    with nothing_lost(life, "give all primaries the same weight"):
        life.four_runs()
    assert max(life.shares()) - min(life.shares()) <= 1


def replace_live_primary(life: Described) -> None:
    old = life.primary_names()[0]
    slots = life.slots_of(old)
    life.remove(old)
    life.add()
    with nothing_lost(life, "replace a live primary"):
        result = life.four_runs()
    assert not [step for step in result["plan"] if step.startswith("Move ")]
    assert slots in [me(server).slots for server in primaries(life.members)]
    assert len(lines_of(life.by_name[old])) == 1
    life.left()


def replace_live_replica(life: Described) -> None:
    (old, *_others) = life.replica_names(life.primary_names()[0])
    life.remove(old)
    life.add()
    with nothing_lost(life, "replace a live replica"):
        life.four_runs()
    life.left()


def replace_dead(life: Described, name: str, operation: str) -> None:
    life.by_name[name].kill()
    wait_until(lambda: all("cluster_state:ok" in str(server.call("CLUSTER", "INFO")) for server in life.members))
    wait_until(
        lambda: all(any("fail" in line.flags for line in lines_of(server)) for server in life.members),
        what="That all have marked it as failed",
    )
    wait_until(lambda: sum(len(me(server).slots) for server in primaries(life.members)) == SLOTS, what="An election")
    life.remove(name)
    life.add()
    with nothing_lost(life, operation):
        life.four_runs()
    life.left()


def replace_dead_primary(life: Described) -> None:
    replace_dead(life, life.primary_names()[0], "replace a dead primary")


def replace_dead_replica(life: Described) -> None:
    replace_dead(life, life.replica_names(life.primary_names()[0])[0], "replace a dead replica")


OPERATIONS: dict[str, tuple[Callable[[Described], None], ...]] = {
    "grow and shrink": (grow, shrink),
    "replicas": (more_replicas, fewer_replicas),
    "roles": (replicas_into_primaries, primaries_into_replicas),
    "weights": (weights,),
    "replace live": (replace_live_primary, replace_live_replica),
    "replace dead": (replace_dead_primary, replace_dead_replica),
}


@pytest.mark.parametrize("operations", OPERATIONS)
@pytest.mark.parametrize("version", FULL)
def test_operation(describe: Describe, version: str, operations: str) -> None:
    life = describe(version, node_timeout=2000 if "dead" in operations else 5000)
    for operation in OPERATIONS[operations]:
        operation(life)


@pytest.mark.parametrize("version", [version for version in VERSIONS if version not in FULL])
def test_a_whole_life(describe: Describe, version: str) -> None:
    life = describe(version, strings=500, node_timeout=2000)
    for operation in (grow, replace_live_primary, shrink, replace_dead_primary):
        operation(life)


@pytest.mark.parametrize("version", FULL)
def test_one_node_with_all_slots_becomes_a_cluster(servers: Servers, run_module: RunModule, version: str) -> None:
    life = Described(servers, run_module, version)
    life.add()
    (first,) = life.members
    first.call("CLUSTER", "ADDSLOTS", *range(SLOTS))
    wait_until(lambda: "cluster_state:ok" in str(first.call("CLUSTER", "INFO")))
    fill(life.members)
    life.add(5)
    with nothing_lost(life, "make a cluster of one node"):
        life.four_runs()
    assert len(life.primary_names()) == 3
    assert max(life.shares()) - min(life.shares()) <= 1


# --- where nodes are -------------------------------------------------------------------------------------------------


def pairs_together(life: Described, domain: str) -> list[tuple[str, str]]:
    return [
        (primary, replica)
        for primary in life.primary_names()
        for replica in life.replica_names(primary)
        if life.nodes[primary][domain] == life.nodes[replica][domain]
    ]


@pytest.mark.parametrize("version", FULL)
def test_hosts_are_kept_apart_again(servers: Servers, run_module: RunModule, version: str) -> None:
    life = Described(servers, run_module, version)
    for number in range(3):
        life.add(2, host=f"machine-{number}", zone=f"zone-{number}")
    life.apply()
    fill(life.members)
    assert pairs_together(life, "host") == []
    assert len({life.nodes[name]["host"] for name in life.primary_names()}) == 3

    # By hand: two primaries swap their replicas, so that one pair shares a machine.
    first = life.primary_names()[0]
    mate = next(name for name in life.nodes if name != first and life.nodes[name]["host"] == life.nodes[first]["host"])
    other = next(name for name in life.primary_names() if mate in life.replica_names(name))
    (replica,) = life.replica_names(first)
    replicate(life, mate, first)
    replicate(life, replica, other)
    assert (first, mate) in pairs_together(life, "host")
    with nothing_lost(life, "swap replicas to keep hosts apart"):
        result = life.four_runs()
    assert pairs_together(life, "host") == []
    assert not [step for step in result["plan"] if step.startswith("Move ")]

    # A failover by hand puts two primaries on one machine.
    (heir,) = life.replica_names(first)
    life.by_name[heir].call("CLUSTER", "FAILOVER")
    wait_until(lambda: me(life.by_name[heir]).is_primary and not me(life.by_name[first]).is_primary)
    assert len({life.nodes[name]["host"] for name in life.primary_names()}) == 2
    with nothing_lost(life, "spread the primaries again"):
        life.four_runs()
    assert len({life.nodes[name]["host"] for name in life.primary_names()}) == 3
    assert pairs_together(life, "host") == []


def replicate(life: Described, replica: str, primary: str) -> None:
    server = life.by_name[replica]
    server.call("CLUSTER", "REPLICATE", me(life.by_name[primary]).node_id)
    wait_until(lambda: "master_link_status:up" in str(server.call("INFO", "replication")))
    port = server.address.port
    node_id = me(life.by_name[primary]).node_id
    wait_until(
        lambda: all(line.primary_id == node_id for one in life.members for line in lines_of(one) if line.port == port)
    )


# --- what the module tells -------------------------------------------------------------------------------------------


def test_the_plan_counts_what_moves_and_the_result_says_what_did(describe: Describe) -> None:
    life = describe()
    life.add(2)
    process = life.process()
    result = process.result()
    assert result.get("changed") is True, result
    moves = [step for step in result["plan"] if step.startswith("Move ")]
    assert sum(int(step.split()[1]) for step in moves) == SLOTS // 4
    moved_keys = sum(len(keys_on(life.by_name[name])) for name in ("redis-7", "redis-8") if life.slots_of(name))
    assert sum(int(step.split(" with ")[1].split()[0]) for step in moves) == moved_keys
    assert result["done"] == result["plan"]
    assert result["replanned"] == []
    assert process.sentences() == result["done"]
    told = process.progress.read_text(encoding="utf-8")
    assert told.rstrip().endswith(" done")
    assert any(f"{moved_keys} keys" in line.replace(",", "") for line in result["moves"]), result["moves"]


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="redis-py 3.5 imports distutils, which Python 3.12 has not")
@pytest.mark.parametrize("version", FULL)
def test_with_the_oldest_redis_py(servers: Servers, run_module: RunModule, version: str) -> None:
    oldest = [made_by_make("redis-py/3.5.3")]
    life = Described(servers, run_module, version)
    folder = life.by_name[life.add(6)[0]].folder

    def run(name: str, **options: Any) -> dict[str, Any]:
        result = module_process(name, folder, options, python_path=oldest).result()
        assert not result.get("failed"), result["msg"]
        return result

    assert run("redis_cluster", **life.options)["changed"] is True
    fill(life.members)
    before = dump(life.members)
    life.add(2)
    life.remove(life.primary_names()[0])
    assert run("redis_cluster", **life.options)["changed"] is True
    assert run("redis_cluster", **life.options)["changed"] is False
    life.assert_done()
    assert_same(before, dump(life.running))
    info = run("redis_cluster_info", nodes=list(life.nodes.values()), replicas_per_primary=1)
    assert info["problems"] == []


# --- after a node has left ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kept_by", ["appendonly yes", "save 3600 1"])
@pytest.mark.parametrize("version", FULL)
def test_a_replica_that_has_left_comes_up_empty(describe: Describe, version: str, kept_by: str) -> None:
    """Otherwise it would load its old copies, and claim their slots."""
    life = describe(version, strings=200, extra=[kept_by])
    gone = [life.replica_names(primary)[0] for primary in life.primary_names()]
    for name in gone:
        assert life.by_name[name].call("DBSIZE")
        life.by_name[name].call("SAVE")
    life.remove(*gone)
    life.replicas_per_primary = 0
    assert "warnings" not in life.apply()
    for name in gone:
        life.by_name[name].kill()
        life.by_name[name].start_again()
        assert life.by_name[name].call("DBSIZE") == 0
        assert not me(life.by_name[name]).slots
    life.assert_done()


def test_data_files_that_cannot_be_emptied_are_told(describe: Describe) -> None:
    life = describe(strings=200, extra=['rename-command FLUSHALL ""'])
    gone = [life.replica_names(primary)[0] for primary in life.primary_names()]
    life.remove(*gone)
    life.replicas_per_primary = 0
    result = life.apply()
    assert len(result["warnings"]) == len(gone)
    told = str(result["warnings"][0])
    assert "its data files could not be emptied" in told
    assert "Delete the files before it is." in told
    life.assert_done()
