# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Broken clusters on real servers: made whole without losing a key, or left alone with a report of the loss."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext

import pytest
from breakage import BREAKAGES, HEALING, SLOT, STOPPED, half_moved, open_target, pair, settings_of
from life import (
    SLOTS,
    Described,
    RunModule,
    assert_same,
    client_of,
    dump,
    fill,
    keys_on,
    lines_of,
    me,
    nothing_lost,
    plain_client,
    primaries,
    replicas_of,
    wait_until,
)
from redis.crc import key_slot
from servers import DISTRIBUTION, Servers

FULL = (DISTRIBUTION, "valkey-9.1")
Describe = Callable[..., Described]


@pytest.fixture(scope="module")
def kept_clusters(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Servers, dict[str, Described]]]:
    """Clusters that were repaired and are broken again by the next test."""
    servers = Servers(tmp_path_factory.mktemp("servers"))
    try:
        yield servers, {}
    finally:
        servers.stop_all()


@pytest.mark.parametrize("version", FULL)
@pytest.mark.parametrize("breakage", BREAKAGES)
def test_repaired_without_losing_a_key(
    kept_clusters: tuple[Servers, dict[str, Described]], run_module: RunModule, breakage: str, version: str
) -> None:
    servers, kept = kept_clusters
    # Whoever fails to repair one keeps it.
    life = kept.pop(version, None)
    if life is None:
        life = Described(servers, run_module, version, node_timeout=2000, extra=settings_of(version))
        life.add(6)
        life.apply()
        fill(life.members)
    life.run_module = run_module
    before = dump(life.members)
    BREAKAGES[breakage](life)
    with nullcontext() if breakage in STOPPED else nothing_lost(life, f"repair: {breakage}", unharmed=before):
        check = life.run(check=True)
        applied = life.apply()
    # Some servers have told each other the end meanwhile.
    assert (check.get("changed"), applied["changed"]) in [(True, True), (False, False)], applied
    assert applied["changed"] or breakage in HEALING
    life.assert_done()
    assert_same(before, dump(life.running))
    kept[version] = life


@pytest.mark.parametrize("version", ["valkey-8.1", "valkey-9.1"])
def test_a_mark_that_a_replica_kept(describe: Describe, version: str) -> None:
    """Valkey tells replicas the marks of their primary; one that is down when the mark ends keeps it for good."""
    life = describe(version, node_timeout=2000)
    before = dump(life.members)
    _source, target = pair(life)
    (replica, *_others) = replicas_of(life.members, target)
    open_target(life)
    wait_until(lambda: bool(me(replica).open_slots))
    replica.kill()
    target.call("CLUSTER", "SETSLOT", SLOT, "STABLE")
    replica.start_again()
    wait_until(lambda: "master_link_status:up" in str(replica.call("INFO")))
    assert me(replica).open_slots
    check = life.run(check=True)
    assert check["changed"] is True
    applied = life.apply()
    assert (applied["changed"], applied["replanned"]) == (True, [])
    life.assert_done()
    assert_same(before, dump(life.members))


# --- members ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", FULL)
def test_all_nodes_moved_to_other_addresses(describe: Describe, version: str) -> None:
    life = describe(version, node_timeout=2000, extra=["appendonly yes"])
    before = dump(life.members)
    ids = {name: me(server).node_id for name, server in life.by_name.items()}
    for server in life.by_name.values():
        server.stop()
    for name, server in life.by_name.items():
        server.move(life.servers.free_port())
        life.nodes[name]["port"] = server.address.port
        server.start_again()
    assert life.apply()["changed"] is True
    life.assert_done()
    assert {name: me(server).node_id for name, server in life.by_name.items()} == ids
    assert_same(before, dump(life.members))


@pytest.mark.parametrize("version", FULL)
@pytest.mark.parametrize("role", ["primary", "replica"])
def test_a_node_that_lost_its_disk(describe: Describe, version: str, role: str) -> None:
    life = describe(version, node_timeout=2000)
    before = dump(life.members)
    primary = life.primary_names()[0]
    name = primary if role == "primary" else life.replica_names(primary)[0]
    server = life.by_name[name]
    server.kill()
    server.wipe()
    wait_until(lambda: all(any("fail" in line.flags for line in lines_of(one)) for one in life.members))
    wait_until(lambda: sum(life.shares()) == SLOTS)
    server.start_again()
    assert life.apply()["changed"] is True
    life.assert_done()
    assert_same(before, dump(life.members))


@pytest.mark.parametrize("version", FULL)
def test_an_unwanted_member_that_only_some_know(describe: Describe, version: str) -> None:
    life = describe(version)
    before = dump(life.members)
    (name,) = life.add()
    stranger = life.by_name[name]
    life.forget(name)
    stranger.call("CLUSTER", "MEET", life.members[0].address.host, life.members[0].address.port)
    wait_until(lambda: all(len(lines_of(server)) == 7 for server in life.members))
    for server in life.members[:3]:
        server.call("CLUSTER", "FORGET", me(stranger).node_id)
    time.sleep(1.5)

    # Valkey, and Redis since 7.2, spread what is to be forgotten; only the stranger knows of the cluster then.
    if any(len(lines_of(server)) == 7 for server in life.members):
        reasons = life.refused()
        assert any(str(stranger.address) in reason and "not declared" in reason for reason in reasons), reasons
    assert life.apply(remove=[str(stranger.address)])["changed"] is True
    life.assert_done()
    assert len(lines_of(stranger)) == 1
    assert_same(before, dump(life.running))


@pytest.mark.parametrize("version", FULL)
def test_a_ghost(describe: Describe, version: str) -> None:
    """A member that is dead, owns nothing and is declared by nobody."""
    life = describe(version, node_timeout=2000)
    before = dump(life.members)
    (name,) = life.add()
    ghost = life.by_name[name]
    life.forget(name)
    ghost.call("CLUSTER", "MEET", life.members[0].address.host, life.members[0].address.port)
    wait_until(lambda: all(len(lines_of(server)) == 7 for server in life.members))
    node_id = me(ghost).node_id
    ghost.kill()
    wait_until(
        lambda: all("fail" in line.flags for one in life.members for line in lines_of(one) if line.node_id == node_id)
    )
    assert life.apply()["changed"] is True
    life.assert_done()
    assert_same(before, dump(life.members))


@pytest.mark.parametrize("version", FULL)
def test_a_create_that_left_two_halves(servers: Servers, run_module: RunModule, version: str) -> None:
    life = Described(servers, run_module, version)
    life.add(6)
    servers_of = life.members
    for number, server in enumerate(servers_of[:4]):
        first, last = number * 4096, number * 4096 + 4095
        server.call("CLUSTER", "ADDSLOTS", *range(first, last + 1))
    for half in (servers_of[:3], servers_of[3:]):
        for server in half[1:]:
            server.call("CLUSTER", "MEET", half[0].address.host, half[0].address.port)
        wait_until(lambda: all(len(lines_of(server)) == 3 for server in half))  # noqa: B023
    assert life.apply()["changed"] is True
    life.assert_done()


@pytest.mark.parametrize("version", FULL)
def test_equal_epochs(servers: Servers, run_module: RunModule, version: str) -> None:
    life = Described(servers, run_module, version)
    life.add(6)
    for server in life.members:
        server.call("CLUSTER", "SET-CONFIG-EPOCH", 5)
    assert life.apply()["changed"] is True
    life.assert_done()
    epochs = [me(server).epoch for server in primaries(life.members)]
    assert len(set(epochs)) == 3


@pytest.mark.parametrize("version", FULL)
def test_a_replica_of_a_replica(describe: Describe, version: str) -> None:
    life = describe(version)
    before = dump(life.members)
    middle, end = (life.by_name[name] for name in life.add(2))
    some = primaries(life.members)[0]
    for server in (middle, end):
        server.call("CLUSTER", "MEET", some.address.host, some.address.port)
    wait_until(lambda: all(len(lines_of(server)) == 8 for server in life.members))
    # As long as the one in the middle owns nothing it may become a replica, whoever replicates it.
    end.call("CLUSTER", "REPLICATE", me(middle).node_id)
    middle.call("CLUSTER", "REPLICATE", me(some).node_id)
    time.sleep(1)
    assert life.apply()["changed"] is True
    life.assert_done()
    assert_same(before, dump(life.members))


@pytest.mark.parametrize("version", FULL)
def test_a_replica_of_a_primary_that_is_gone(describe: Describe, version: str) -> None:
    life = describe(version, node_timeout=2000)
    before = dump(life.members)
    gone, left = life.add(2)
    lost, replica = life.by_name[gone], life.by_name[left]
    some = primaries(life.members)[0]
    for server in (lost, replica):
        server.call("CLUSTER", "MEET", some.address.host, some.address.port)
    wait_until(lambda: all(len(lines_of(server)) == 8 for server in life.members))
    node_id = me(lost).node_id
    replica.call("CLUSTER", "REPLICATE", node_id)
    wait_until(lambda: "master_link_status:up" in str(replica.call("INFO", "replication")))
    lost.kill()
    life.forget(gone)
    for server in life.members:
        if server is not replica:
            server.call("CLUSTER", "FORGET", node_id)
    assert life.apply()["changed"] is True
    life.assert_done()
    assert_same(before, dump(life.members))


# --- what cannot be repaired without losing something ----------------------------------------------------------------


def lost_slots(life: Described, name: str) -> tuple[str, frozenset[int]]:
    """The slots of a primary, as the module names them."""
    slots = life.slots_of(name)
    first, last = min(slots), max(slots)
    assert len(slots) == last - first + 1
    return f"{first}-{last}", slots


@pytest.mark.parametrize("version", FULL)
def test_a_primary_that_is_gone_with_its_data(describe: Describe, version: str) -> None:
    life = describe(version, count=4, replicas_per_primary=0, node_timeout=2000)
    before = dump(life.members)
    name = life.primary_names()[0]
    ranges, slots = lost_slots(life, name)
    life.by_name[name].kill()
    wait_until(lambda: all(any("fail" in line.flags for line in lines_of(one)) for one in life.members))

    reasons = life.refused()
    assert any("refused the connection" in reason for reason in reasons), reasons
    life.remove(name)
    other = f"{max(slots) + 1}-{max(slots) + 9}" if max(slots) < 16000 else "0-9"
    for allowed in ([other], [f"{min(slots)}-{max(slots) - 1}"]):
        reasons = life.refused(allow_data_loss=allowed)
        assert any(ranges in reason and f'allow_data_loss: ["{ranges}"]' in reason for reason in reasons), reasons
    check = life.run(check=True, allow_data_loss=[ranges])
    assert check.get("changed") is True, check
    life.apply(allow_data_loss=[ranges])
    life.assert_done()
    assert_same({key: kept for key, kept in before.items() if key_slot(key) not in slots}, dump(life.members))


@pytest.mark.parametrize("version", FULL)
def test_replicas_that_nobody_can_vote_for(describe: Describe, version: str) -> None:
    """Two of three primaries die at once: no majority is left to elect their replicas, which hold all their data."""
    life = describe(version, node_timeout=2000)
    before = dump(life.members)
    dead = life.primary_names()[:2]
    named = [lost_slots(life, name)[0] for name in dead]
    for name in dead:
        life.by_name[name].kill()
    life.remove(*dead)
    life.add(2)
    wait_until(lambda: "cluster_state:fail" in str(life.members[0].call("CLUSTER", "INFO")))

    reasons = "\n".join(life.refused())
    for slots in named:
        assert slots in reasons, reasons
    life.apply(allow_data_loss=named)
    life.assert_done()
    # What the dead ones had acknowledged had reached their replicas.
    assert_same(before, dump(life.members))


@pytest.mark.parametrize("version", FULL)
def test_two_versions_of_a_key(describe: Describe, version: str) -> None:
    """A key lies on two nodes with different values. Neither is overwritten."""
    life = describe(version)
    half_moved(life)
    source, target = pair(life)
    with client_of(life.members) as client:
        client.set("{same slot}:twice", "new")
    assert b"{same slot}:twice" in keys_on(target)
    # The source gets another value of a key that the target has already.
    source.call("CLUSTER", "SETSLOT", SLOT, "STABLE")
    source.call("SET", "{same slot}:twice", "old")
    source.call("CLUSTER", "SETSLOT", SLOT, "MIGRATING", me(target).node_id)
    before = [keys_on(server) for server in (source, target)]

    result = life.run()
    assert result.get("failed") is True, result
    assert "{same slot}:twice" in result["msg"], result["msg"]
    assert source.call("GET", "{same slot}:twice") == "old"
    with plain_client(target) as client:
        asked = client.pipeline(transaction=False)
        asked.execute_command("ASKING")
        asked.get("{same slot}:twice")
        assert asked.execute()[1] == b"new"
    assert {key for keys in before for key in keys} == keys_on(source) | keys_on(target)


@pytest.mark.parametrize("version", FULL)
def test_two_clusters_with_data_are_not_made_one(servers: Servers, run_module: RunModule, version: str) -> None:
    clusters = []
    for _number in range(2):
        life = Described(servers, run_module, version, replicas_per_primary=0)
        life.add(3)
        life.apply()
        fill(life.members, 100)
        clusters.append(life)
    both = Described(servers, run_module, version, replicas_per_primary=0)
    for letter, life in zip("ab", clusters):
        for name, node in life.nodes.items():
            both.nodes[f"{letter}-{name}"] = {**node, "name": f"{letter}-{name}", "host": f"{letter}-{node['host']}"}
            both.by_name[f"{letter}-{name}"] = life.by_name[name]
    reasons = both.refused()
    assert any("two clusters" in reason for reason in reasons), reasons
    for life in clusters:
        life.assert_done()
