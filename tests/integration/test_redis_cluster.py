# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cluster modules against real servers: what they do, what they refuse, and that a refusal changes nothing."""

from __future__ import annotations

import hashlib
import json
import re
import signal
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from typing import Any

import pytest
import yaml
from conftest import RunModule, declared
from life import judge, start, told, told_at_rest, wait_until
from servers import VERSIONS, Server, Servers

from ansible_collections.apiops.tyk_redis.plugins.modules import redis_cluster, redis_cluster_info

TIMEOUT = {"timeout": 30, "node_timeout": 15000}


def nodes_of(cluster: Sequence[Server], per_host: int = 1) -> list[dict[str, Any]]:
    """Declared as if on machines of their own, so that placement has nothing to warn about."""
    return [{**node, "host": f"host-{n // per_host}"} for n, node in enumerate(declared(list(cluster)))]


def commands_since_reset(server: Server) -> set[str]:
    stats = str(server.call("INFO", "commandstats"))
    return set(re.findall(r"cmdstat_([^:]+):", stats))


def config_gets(server: Server) -> int:
    """How often it was asked for its configuration; before Redis 7.0 also how often it was changed."""
    return sum(map(int, re.findall(r"cmdstat_config(?:\|get)?:calls=(\d+)", str(server.call("INFO", "commandstats")))))


@pytest.mark.parametrize("version", VERSIONS)
def test_four_runs_form_a_cluster_once(servers: Servers, run_module: RunModule, version: str) -> None:
    cluster = start(servers, version=version)
    options: dict[str, Any] = {"nodes": nodes_of(cluster), "replicas_per_primary": 1, **TIMEOUT}
    before = told(cluster)

    check = run_module("redis_cluster", check=True, diff=True, **options)
    assert check["changed"] is True
    assert check["cluster"]["state"] == "none"
    assert told(cluster) == before
    assert check["plan"][0].startswith("Set cluster-node-timeout to 2000 ms on ")
    assert re.fullmatch(r"(redis-\d \(127\.0\.0\.1:\d+\): alone\n){6}", check["diff"]["before"])
    assert "primary, slots 0-5460\n" in check["diff"]["after"]
    assert check["diff"]["after"].endswith(f"{len(check['plan'])}. {check['plan'][-1]}\n")

    applied = run_module("redis_cluster", diff=True, **options)
    assert applied["changed"] is True
    assert applied["plan"] == check["plan"]
    assert applied["diff"] == check["diff"]
    assert not applied.get("warnings")
    facts = applied["cluster"]
    assert (facts["state"], facts["agreed"], facts["slots_served"], facts["size"]) == ("ok", True, 16384, 3)
    assert {node["link"] for node in facts["nodes"] if node["role"] == "replica"} == {"up"}
    judge(cluster[0])

    for server in cluster:
        server.call("CONFIG", "RESETSTAT")
    after = told(cluster)
    for again in (True, False):
        result = run_module("redis_cluster", check=again, diff=True, **options)
        assert (result["changed"], result["plan"]) == (False, [])
        assert result["diff"]["before"] == result["diff"]["after"]
    assert told(cluster) == after
    # Replication between the servers and this test's own questions are not the module's.
    allowed = {"info", "cluster", "cluster|info", "cluster|nodes", "config", "config|get", "config|resetstat"}
    for server in cluster:
        assert commands_since_reset(server) <= allowed | {"replconf", "ping", "psync"}


def test_the_documentation_shows_what_is_returned(servers: Servers, run_module: RunModule) -> None:
    cluster = sorted(start(servers), key=lambda server: server.address)
    made = run_module("redis_cluster", nodes=nodes_of(cluster), **TIMEOUT)
    shown = yaml.safe_load(redis_cluster.RETURN)
    assert set(shown["plan"]["sample"]) <= set(made["plan"])
    assert list(shown["cluster"]["sample"]) == list(made["cluster"])
    (node,) = shown["cluster"]["sample"]["nodes"]
    found = made["cluster"]["nodes"][0]
    passing = {"address": node["address"], "host": node["host"], "zone": node["zone"], "id": node["id"]}
    assert node == {**found, **passing, "version": node["version"], "maxclients": node["maxclients"]}
    assert re.fullmatch(r"redis 7\.0\.\d+", found["version"])
    assert cluster[0].call("CONFIG", "GET", "maxclients") == ["maxclients", str(found["maxclients"])]

    info = run_module("redis_cluster_info", nodes=nodes_of(cluster))
    described = yaml.safe_load(redis_cluster_info.RETURN)["cluster"]["contains"]
    assert list(described) == list(info["cluster"])
    replica = info["cluster"]["nodes"][3]
    fields = described["nodes"]["contains"]
    assert list(fields) == list(replica)
    same = ("name", "role", "primary_name", "slots", "slot_count", "keys", "link", "epoch", "reachable", "flags")
    assert {name: fields[name]["sample"] for name in same} == {name: replica[name] for name in same}


def test_remarks_are_no_problems(servers: Servers, run_module: RunModule) -> None:
    cluster = sorted(start(servers), key=lambda server: server.address)
    options: dict[str, Any] = {"nodes": declared(cluster), "replicas_per_primary": 1}
    run_module("redis_cluster", **options, **TIMEOUT)
    well = run_module("redis_cluster_info", **options)
    assert (well["cluster"]["healthy"], well["problems"]) == (True, [])
    assert len(well["remarks"]) == 3
    (shown,) = yaml.safe_load(redis_cluster_info.RETURN)["remarks"]["sample"]
    assert well["remarks"][0] == shown.replace("192.0.2.11", "127.0.0.1")

    cluster[5].kill()
    unwell = run_module("redis_cluster_info", **options)
    assert unwell["cluster"]["healthy"] is False
    assert unwell["problems"][0].startswith(f"redis-6: {cluster[5].address} refused the connection; ")
    assert not set(unwell["problems"]) & set(unwell["remarks"])
    assert set(unwell["remarks"]) >= set(well["remarks"][:2])
    assert run_module("redis_cluster_info", nodes=nodes_of(cluster), replicas_per_primary=1)["remarks"] == []


def test_the_plan_for_servers_to_come_is_the_one_for_those_that_have_come(
    servers: Servers, run_module: RunModule
) -> None:
    cluster = start(servers)
    options: dict[str, Any] = {"nodes": declared(cluster), "replicas_per_primary": 1, **TIMEOUT}
    real = run_module("redis_cluster", check=True, diff=True, **options)
    for server in cluster:
        server.kill()
    arguments = json.dumps({**options, "assume_fresh": True, "_ansible_check_mode": True, "_ansible_diff": True})
    without_redis_py = subprocess.run(
        [sys.executable, "-c", WITHOUT_REDIS_PY, arguments], capture_output=True, text=True, timeout=60, check=True
    )
    fresh = json.loads(without_redis_py.stdout)
    same = ("changed", "plan", "diff", "warnings")
    assert {key: fresh[key] for key in same} == {key: real[key] for key in same}

    refused = run_module("redis_cluster", assume_fresh=True, **options)
    assert refused["failed"] is True
    assert len([reason for reason in refused["reasons"] if "refused the connection" in reason]) == 6

    for server in cluster:
        server.start_again()
    applied = run_module("redis_cluster", assume_fresh=True, **options)
    assert (applied["changed"], applied["plan"]) == (True, fresh["plan"])
    assert applied["cluster"]["healthy"] is True
    assert run_module("redis_cluster", assume_fresh=True, **options)["changed"] is False


def test_users_with_passwords_and_other_bus_ports(servers: Servers, run_module: RunModule) -> None:
    password = 'pass "word" \\ with blanks'
    # An ACL file cannot hold a password with blanks in plain text, but its hash.
    hashed = hashlib.sha256(password.encode()).hexdigest()
    acl = ["user default off", f"user admin on #{hashed} ~* &* +@all"]
    cluster = []
    for _number in range(3):
        cluster.append(servers.start_server(username="admin", password=password, acl=acl, bus_port=servers.free_port()))
    nodes = [{**node, "bus_port": server.bus_port} for node, server in zip(nodes_of(cluster), cluster)]
    options: dict[str, Any] = {"nodes": nodes, "replicas_per_primary": 0, **TIMEOUT}
    before = told(cluster)

    nobody = run_module("redis_cluster", **options)
    assert nobody["failed"] is True
    assert len(nobody["reasons"]) == 3
    assert "asks for a password and none was given; give the user and the password." in nobody["reasons"][0]
    wrong = run_module("redis_cluster", username="admin", password="sesame", **options)
    assert wrong["failed"] is True
    assert "does not accept the password of the user 'admin'" in wrong["reasons"][0]
    assert "sesame" not in json.dumps({**wrong, "invocation": {}})
    assert told(cluster) == before

    right = run_module("redis_cluster", username="admin", password=password, **options)
    assert right.get("changed") is True, right
    assert right["cluster"]["healthy"] is True
    judge(cluster[0])


def test_a_user_that_may_not_say_which_command(servers: Servers, run_module: RunModule) -> None:
    acl = ["user default on nopass ~* &* +@all", "user reader on >secret ~* +info +ping"]
    cluster = start(servers, 3, acl=acl)
    result = run_module(
        "redis_cluster", nodes=nodes_of(cluster), replicas_per_primary=0, username="reader", password="secret"
    )
    assert result["failed"] is True
    assert "The user 'reader' may not run CLUSTER INFO on 127.0.0.1:" in result["reasons"][0]


def test_replicas_are_placed_on_other_hosts_and_one_host_is_a_warning(servers: Servers, run_module: RunModule) -> None:
    cluster = start(servers)
    apart = run_module("redis_cluster", check=True, nodes=nodes_of(cluster, per_host=2), **TIMEOUT)
    assert not apart.get("warnings")
    together = run_module("redis_cluster", check=True, nodes=declared(cluster), **TIMEOUT)
    texts = [str(warning) for warning in together["warnings"]]
    assert len([text for text in texts if "share the host 127.0.0.1 and fail together" in text]) == 3


def test_refusals_name_every_reason_and_touch_nothing(servers: Servers, run_module: RunModule) -> None:
    cluster = start(servers, 4)
    plain = servers.start_server(cluster=False)
    cluster[1].call("CLUSTER", "ADDSLOTS", int(str(cluster[1].call("CLUSTER", "KEYSLOT", "key"))))
    cluster[1].call("CONFIG", "SET", "cluster-require-full-coverage", "no")
    wait_until(lambda: "cluster_state:ok" in str(cluster[1].call("CLUSTER", "INFO")))
    cluster[1].call("SET", "key", "precious")
    cluster[1].call("CLUSTER", "DELSLOTS", int(str(cluster[1].call("CLUSTER", "KEYSLOT", "key"))))
    dead = servers.start_server()
    dead.kill()
    everyone = [*cluster, plain, dead]
    before = told(cluster)
    result = run_module("redis_cluster", nodes=nodes_of(everyone), **TIMEOUT)
    assert result["failed"] is True
    assert result["msg"].startswith("Nothing was changed, because:\n- ")
    reasons = "\n".join(result["reasons"])
    assert f"redis-5 ({plain.address}) does not run in cluster mode; set cluster-enabled yes there" in reasons
    assert f"redis-6: {dead.address} refused the connection; start Redis there" in reasons
    assert f"redis-2 ({cluster[1].address}) holds 1 key; only nodes without data become members" in reasons
    assert told(cluster) == before
    assert cluster[1].call("DBSIZE") == 1

    few = run_module("redis_cluster", nodes=nodes_of(cluster), replicas_per_primary=1)
    assert "4 nodes with 1 replica per primary make 2 primaries, but a cluster needs 3" in few["reasons"][0]
    twice = run_module("redis_cluster", nodes=nodes_of([*cluster, cluster[0]]), replicas_per_primary=0)
    assert f"The address {cluster[0].address} is declared 2 times" in twice["msg"]
    named = run_module("redis_cluster", nodes=[{"address": "localhost"}], replicas_per_primary=0)
    assert "'localhost' of localhost:6379 is not an IP address" in named["msg"]
    assert told(cluster) == before


def test_members_of_another_cluster_are_refused(servers: Servers, run_module: RunModule) -> None:
    cluster = start(servers, 4)
    assert run_module("redis_cluster", nodes=nodes_of(cluster), replicas_per_primary=0, **TIMEOUT)["changed"] is True
    others = start(servers, 2)
    before = told([*cluster, *others])
    mixed = run_module("redis_cluster", nodes=nodes_of([*cluster[:3], *others]), replicas_per_primary=0, **TIMEOUT)
    assert mixed["failed"] is True
    assert any(
        f"know a member that is not declared: {cluster[3].address}, id " in reason for reason in mixed["reasons"]
    )
    assert told([*cluster, *others]) == before
    fewer = run_module("redis_cluster", nodes=nodes_of(cluster[:3]), replicas_per_primary=0, **TIMEOUT)
    assert fewer["failed"] is True
    assert told([*cluster, *others]) == before


def test_failover_is_as_described_and_a_dead_node_is_not(servers: Servers, run_module: RunModule) -> None:
    cluster = start(servers, extra=["cluster-node-timeout 2000"])
    options: dict[str, Any] = {"nodes": nodes_of(cluster), "replicas_per_primary": 1, "timeout": 30}
    made = run_module("redis_cluster", node_timeout=2000, **options)
    facts = {node["name"]: node for node in made["cluster"]["nodes"]}
    replica = next(node for node in facts.values() if node["role"] == "replica")
    by_name = {f"redis-{number}": server for number, server in enumerate(cluster, start=1)}
    by_name[replica["name"]].call("CLUSTER", "FAILOVER")
    wait_until(lambda: str(by_name[replica["name"]].call("ROLE")).startswith("['master'"))
    # The run waits for what is still settling, without changing anything.
    swapped = run_module("redis_cluster", node_timeout=2000, **options)
    assert swapped["changed"] is False, swapped
    assert all(step.startswith("Wait ") for step in swapped["plan"])
    roles = {node["name"]: node["role"] for node in swapped["cluster"]["nodes"]}
    assert (roles[replica["name"]], roles[replica["primary_name"]]) == ("primary", "replica")

    victim = replica["name"]
    by_name[victim].kill()
    alive = [server for name, server in by_name.items() if name != victim]
    wait_until(
        lambda: (
            run_module("redis_cluster_info", nodes=options["nodes"])["cluster"]["slots_served"] == 16384
            and all(str(server.call("CLUSTER", "NODES")).count("master,fail ") == 1 for server in alive)
        )
    )
    info = run_module("redis_cluster_info", replicas_per_primary=1, nodes=options["nodes"])
    assert (info["changed"], info["cluster"]["state"], info["cluster"]["agreed"]) == (False, "broken", False)
    assert info["problems"][0].startswith(f"{victim}: {by_name[victim].address} refused the connection; start Redis")
    assert any(f"have marked {victim} as failed." in problem for problem in info["problems"])
    heir = replica["primary_name"]
    slots = ", ".join(replica["slots"]) or ", ".join(facts[heir]["slots"])
    assert f"{heir} (slots {slots}) has 0 of 1 replica." in info["problems"]

    before = told_at_rest(alive)
    refused = run_module("redis_cluster", node_timeout=2000, **options)
    assert refused["failed"] is True
    assert refused["reasons"] == info["problems"][:1]
    assert told(alive) == before

    by_name[victim].start_again()
    healed = run_module("redis_cluster", node_timeout=2000, **options)
    assert healed.get("changed") is False, healed
    judge(cluster[0])


def test_a_cluster_with_keys_that_was_just_restarted_is_waited_for(servers: Servers, run_module: RunModule) -> None:
    cluster = start(servers, 3, extra=["cluster-node-timeout 2000", "appendonly yes"])
    options: dict[str, Any] = {"nodes": nodes_of(cluster), "replicas_per_primary": 0, "timeout": 30}
    made = run_module("redis_cluster", node_timeout=2000, **options)
    slot = int(str(cluster[0].call("CLUSTER", "KEYSLOT", "key")))
    bounds = [node["slots"][0].split("-") for node in made["cluster"]["nodes"]]
    owner = next(n for n, (first, last) in enumerate(bounds) if int(first) <= slot <= int(last))
    cluster[owner].call("SET", "key", "precious")
    for server in cluster:
        server.stop()
    for server in cluster:
        server.start_again()
    again = run_module("redis_cluster", node_timeout=2000, **options)
    assert again.get("changed") is False, again
    assert again["cluster"]["nodes"][owner]["keys"] == 1
    assert cluster[owner].call("GET", "key") == "precious"


# Of 30 times that something is sent: timeouts, epochs, slots, introductions, replicas, and timeouts again.
KILLED_AFTER = [1, 4, 8, 11, 14, 18, 22, 24, 28]

DIES = textwrap.dedent(
    """
    import json, os, signal, sys, threading
    from ansible.module_utils.testing import patch_module_args
    from ansible_collections.apiops.tyk_redis.plugins.module_utils import _cluster_apply
    from ansible_collections.apiops.tyk_redis.plugins.modules import redis_cluster

    left = [int(sys.argv[1])]
    lock = threading.Lock()

    def dying(send):
        def send_or_die(self, *words):
            with lock:
                if not left[0]:
                    os.kill(os.getpid(), signal.SIGKILL)
                left[0] -= 1
            return send(self, *words)

        return send_or_die

    for name in ("send", "send_all"):
        setattr(_cluster_apply.Cluster, name, dying(getattr(_cluster_apply.Cluster, name)))
    with patch_module_args(json.loads(sys.argv[2])):
        redis_cluster.main()
    """
)


WITHOUT_REDIS_PY = textwrap.dedent(
    """
    import json, sys
    sys.modules["redis"] = None
    from ansible.module_utils.testing import patch_module_args
    from ansible_collections.apiops.tyk_redis.plugins.modules import redis_cluster

    assert not redis_cluster.HAS_REDIS
    with patch_module_args(json.loads(sys.argv[1])):
        redis_cluster.main()
    """
)


@pytest.mark.parametrize("commands", KILLED_AFTER)
def test_a_run_that_is_killed_is_finished_by_the_next_one(
    servers: Servers, run_module: RunModule, commands: int
) -> None:
    cluster = start(servers)
    options: dict[str, Any] = {"nodes": nodes_of(cluster), "replicas_per_primary": 1, **TIMEOUT}
    killed = subprocess.run(
        [sys.executable, "-c", DIES, str(commands), json.dumps(options)], capture_output=True, timeout=60, check=False
    )
    assert killed.returncode == -signal.SIGKILL, killed.stdout
    finished = run_module("redis_cluster", **options)
    assert finished.get("changed") is True, finished
    assert finished["cluster"]["healthy"] is True
    assert {str(server.call("CONFIG", "GET", "cluster-node-timeout")) for server in cluster} == {
        "['cluster-node-timeout', '15000']"
    }
    judge(cluster[0])
    assert run_module("redis_cluster", **options)["changed"] is False


def test_nodes_that_cannot_reach_each_other_are_named_in_time(servers: Servers, run_module: RunModule) -> None:
    cluster = start(servers, 3)
    # What is declared as their bus ports is nobody's, as behind a firewall.
    nodes = [{**node, "bus_port": servers.free_port()} for node in nodes_of(cluster)]
    result = run_module("redis_cluster", nodes=nodes, replicas_per_primary=0, timeout=3, node_timeout=15000)
    assert result["failed"] is True
    assert result["changed"] is True
    assert result["msg"].startswith("After 3 s the nodes still do not all know each other: ")
    assert "Each node must reach the cluster bus port of each other one" in result["msg"]
    assert "redis-1 has no bus link to redis-2 and redis-3" in result["msg"]
    for server in cluster:
        assert server.call("CONFIG", "GET", "cluster-node-timeout") == ["cluster-node-timeout", "15000"]

    right = run_module("redis_cluster", nodes=nodes_of(cluster), replicas_per_primary=0, **TIMEOUT)
    assert right.get("changed") is True, right
    assert right["cluster"]["healthy"] is True


@pytest.mark.parametrize("version", VERSIONS)
def test_info_tells_how_many_connections_a_node_admits(servers: Servers, run_module: RunModule, version: str) -> None:
    reader = f"user reader on nopass ~* {'' if version == 'redis-6.0' else '&* '}+info +cluster"
    cluster = [
        servers.start_server(version, username="reader", password="any", acl=[rules], extra=[f"maxclients {limit}"])
        for rules, limit in ((reader, 1234), (f"{reader} +config", 2345))
    ]
    before = config_gets(cluster[1])
    info = run_module("redis_cluster_info", nodes=nodes_of(cluster), username="reader", password="any")
    told_by_info = version != "redis-6.0"
    assert [node["maxclients"] for node in info["cluster"]["nodes"]] == [1234 if told_by_info else None, 2345]
    assert [node["reachable"] for node in info["cluster"]["nodes"]] == [True, True]
    assert config_gets(cluster[1]) - before == (0 if told_by_info else 1)


def test_info_of_servers_that_are_no_cluster_yet(servers: Servers, run_module: RunModule) -> None:
    cluster = start(servers, 3)
    result = run_module("redis_cluster_info", nodes=nodes_of(cluster))
    assert result["changed"] is False
    assert result["cluster"]["state"] == "none"
    assert result["problems"] == [
        "There is no cluster yet: none of the 3 declared nodes knows another one or serves a slot."
    ]
    assert [node["role"] for node in result["cluster"]["nodes"]] == ["alone"] * 3
    assert result["cluster"]["nodes"][0]["version"].startswith("redis 7.0.")
