# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the module refuses to do to a cluster that lives: each time with the reason, and without touching anything."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from life import Described, RunModule, dump, fill, keys_on, lines_of, wait_until
from servers import DISTRIBUTION, Servers


@pytest.fixture(scope="module")
def module_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Servers, list[Described]]]:
    servers = Servers(tmp_path_factory.mktemp("servers"))
    try:
        yield servers, []
    finally:
        servers.stop_all()


@pytest.fixture
def life(module_servers: tuple[Servers, list[Described]], run_module: RunModule) -> Iterator[Described]:
    """One cluster for all tests, because none of them changes it."""
    servers, kept = module_servers
    if not kept:
        made = Described(servers, run_module, DISTRIBUTION, node_timeout=2000)
        made.add(6)
        made.apply()
        fill(made.members, 200)
        kept.append(made)
    (life,) = kept
    life.run_module = run_module
    nodes, by_name = dict(life.nodes), dict(life.by_name)
    yield life
    for name, server in life.by_name.items():
        if name not in by_name and server.process.poll() is None:
            server.kill()
    life.nodes, life.by_name, life.replicas_per_primary = nodes, by_name, 1
    life.removed.clear()


def one(reasons: list[str], text: str) -> str:
    """The reason that holds a text."""
    (found,) = (reason for reason in reasons if text in reason)
    return found


def test_a_new_node_with_keys(life: Described) -> None:
    (name, other) = life.add(2)
    server = life.by_name[name]
    server.call("CONFIG", "SET", "cluster-require-full-coverage", "no")
    server.call("CLUSTER", "ADDSLOTS", int(str(server.call("CLUSTER", "KEYSLOT", "precious"))))
    wait_until(lambda: "cluster_state:ok" in str(server.call("CLUSTER", "INFO")))
    server.call("SET", "precious", "1")
    assert f"and {name} with 1 key, do not know each other" in one(life.refused(), name)
    assert server.call("GET", "precious") == "1"
    assert len(lines_of(life.by_name[other])) == 1


def test_a_new_node_with_functions(life: Described) -> None:
    name, _other = life.add(2)
    server = life.by_name[name]
    server.call("FUNCTION", "LOAD", "#!lua name=mine\nredis.register_function('f', function() return 1 end)")
    assert "holds 1 function" in one(life.refused(), name)


def test_a_node_that_is_no_cluster_node(life: Described) -> None:
    server = life.servers.start_server(cluster=False)
    name = "redis-plain"
    life.by_name[name] = server
    life.nodes[name] = {"name": name, "address": server.address.host, "port": server.address.port}
    result = life.run()
    assert result.get("failed") is True
    assert "does not run in cluster mode; set cluster-enabled yes there" in one(result["reasons"], name)


def test_a_member_of_another_cluster(life: Described, servers: Servers, run_module: RunModule) -> None:
    other = Described(servers, run_module, replicas_per_primary=0, node_timeout=2000)
    other.add(3)
    other.apply()
    fill(other.members, 50)
    before = dump(other.members)
    taken = other.by_name["redis-1"]
    life.by_name["taken"] = taken
    life.nodes["taken"] = {**other.nodes["redis-1"], "name": "taken", "host": "another"}
    reasons = life.refused()
    assert any(str(other.by_name["redis-2"].address) in reason and "not declared" in reason for reason in reasons)
    other.assert_done()
    assert dump(other.members).keys() == before.keys()
    # The fixture ends servers that it finds here.
    del life.by_name["taken"]


def test_a_member_that_nobody_declared(life: Described) -> None:
    name = life.replica_names(life.primary_names()[0])[0]
    server = life.by_name[name]
    life.forget(name)
    found = one(life.refused(), str(server.address))
    assert "not declared" in found and "remove" in found


def test_too_few_primaries_left(life: Described) -> None:
    primary = life.primary_names()[0]
    life.remove(primary, *life.replica_names(primary))
    assert "4 nodes with 1 replica per primary make 2 primaries, but a cluster needs 3" in "\n".join(life.refused())


def test_too_many_replicas_wanted(life: Described) -> None:
    life.replicas_per_primary = 2
    assert "6 nodes with 2 replicas per primary make 2 primaries, but a cluster needs 3" in "\n".join(life.refused())


def test_declared_and_removed(life: Described) -> None:
    name = life.primary_names()[0]
    reasons = life.refused(remove=[str(life.by_name[name].address)])
    assert "is declared and to be removed at once" in one(reasons, name)


@pytest.mark.parametrize("address", ["redis-1", "127.0.0.1", "127.0.0.1:port", "127.0.0.1:70000", ""])
def test_what_is_no_address_cannot_be_removed(life: Described, address: str) -> None:
    reasons = life.refused(remove=[address])
    assert len(reasons) == 1
    assert reasons[0].startswith("remove: ") and repr(address) in reasons[0]


def test_an_address_that_is_no_member_is_passed_over(life: Described) -> None:
    result = life.apply(remove=[f"127.0.0.1:{life.servers.free_port()}"])
    assert (result["changed"], result["plan"]) == (False, [])


@pytest.mark.parametrize("slots", ["16384", "5-3", "1-", "-7", "all", "1,2", "0-16384", "²"])
def test_slots_that_do_not_exist(life: Described, slots: str) -> None:
    reasons = life.refused(allow_data_loss=[slots])
    assert reasons == [
        f"allow_data_loss: {slots!r} is neither a slot nor a range of slots from 0 to 16383, as in 0-5460."
    ]


def test_allowing_a_loss_is_no_order_to_lose(life: Described) -> None:
    before = dump(life.members)
    result = life.apply(allow_data_loss=["0-16383"])
    assert (result["changed"], result["plan"]) == (False, [])
    assert dump(life.members).keys() == before.keys()


@pytest.mark.parametrize(
    ("option", "value", "text"),
    [
        ("rebalance_threshold", -1, "rebalance_threshold is -1; it is a percentage, 0 or more."),
        ("move_stall", 0, "move_stall is 0; it must be 1 millisecond or more."),
        ("move_load", 0, "move_load is 0; it is a percentage from 1 to 100."),
        ("move_load", 101, "move_load is 101; it is a percentage from 1 to 100."),
    ],
)
def test_numbers_that_make_no_sense(life: Described, option: str, value: int, text: str) -> None:
    assert life.refused(**{option: value}) == [text]


@pytest.mark.parametrize("weight", [0, -1])
def test_a_weight_that_makes_no_sense(life: Described, weight: int) -> None:
    life.nodes["redis-1"]["weight"] = weight
    try:
        assert "weight" in one(life.refused(), "redis-1")
    finally:
        del life.nodes["redis-1"]["weight"]


def test_atomic_moves_where_the_servers_cannot(life: Described) -> None:
    life.add(2)
    reasons = life.refused(move_method="atomic")
    assert any("atomic" in reason for reason in reasons), reasons


def test_a_node_that_does_not_answer(life: Described) -> None:
    name = life.replica_names(life.primary_names()[0])[0]
    server = life.by_name[name]
    server.freeze()
    try:
        result = life.run(connect_timeout=1, timeout=5)
    finally:
        server.thaw()
    assert result.get("failed") is True and result.get("changed") is not True
    assert str(server.address) in one(result["reasons"], "did not answer")
    wait_until(lambda: life.run(check=True).get("changed") is False)


def test_a_node_that_is_not_there(life: Described) -> None:
    (name, other) = life.add(2)
    life.by_name[name].kill()
    assert "refused the connection; start Redis there" in one(life.refused(timeout=5), name)
    assert len(lines_of(life.by_name[other])) == 1


def set_node_timeout(life: Described, milliseconds: int) -> None:
    for server in life.running:
        server.call("CONFIG", "SET", "cluster-node-timeout", milliseconds)


def test_a_leaving_node_that_does_not_answer(life: Described) -> None:
    """It is only known to be gone when the cluster says so: it may hold the only copy of its slots."""
    life.add(2)
    primary = life.primary_names()[0]
    server = life.by_name[primary]
    life.remove(primary)
    set_node_timeout(life, 60000)
    server.freeze()
    try:
        result = life.run(connect_timeout=1, timeout=1)
    finally:
        server.thaw()
        set_node_timeout(life, life.node_timeout)
    assert result.get("failed") is True and result.get("changed") is not True
    assert any(str(server.address) in reason for reason in result["reasons"]), result["reasons"]
    life.left()
    life.bring_back(primary)
    wait_until(lambda: all(not line.flags & {"fail", "fail?"} for one in life.members for line in lines_of(one)))


def test_a_password_that_is_wrong(life: Described) -> None:
    reasons = life.refused(username="nobody", password="wrong")
    assert len(reasons) == 6
    assert all("does not accept the password of the user 'nobody'" in reason for reason in reasons)


def test_a_user_that_may_not_move_keys(life: Described) -> None:
    for server in life.members:
        server.call("ACL", "SETUSER", "reader", "on", ">secret", "+info", "+cluster", "+ping")
    life.add(2)
    before = {server.address: keys_on(server) for server in life.members}
    result = life.run(username="reader", password="secret")
    assert result.get("failed") is True
    assert "'reader'" in result["msg"]
    assert {server.address: keys_on(server) for server in life.members} == before
    for server in life.members[:6]:
        server.call("ACL", "DELUSER", "reader")


def test_a_progress_file_of_somebody_else(life: Described, tmp_path: Path) -> None:
    life.add(2)
    mine = tmp_path / "precious"
    mine.write_text("precious", encoding="utf-8")
    link = tmp_path / "link"
    link.symlink_to(mine)
    for path, why in [(mine, "something else"), (link, "symbolic link"), (tmp_path / "no/file", "No such file")]:
        before = [lines_of(server)[0].node_id for server in life.members]
        result = life.run(progress_file=str(path))
        assert result.get("failed") is True and result.get("changed") is not True
        assert str(path) in result["msg"] and why in result["msg"]
        assert [lines_of(server)[0].node_id for server in life.members] == before
    assert mine.read_text(encoding="utf-8") == "precious"


def test_the_cluster_is_as_it_was(life: Described) -> None:
    """After all that."""
    life.assert_done()
