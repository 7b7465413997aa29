# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.apiops.tyk_redis.plugins.module_utils._description import describe
from ansible_collections.apiops.tyk_redis.plugins.module_utils._encryption_refusals import refusals, without_way

KEY = "k" * 64
UNITS = {"spiped": "unit tyk-redis-spiped@", "tls_tunnel": "unit tyk-redis-tunnel"}
ADDRESSES = {"redis1": "192.0.2.11", "redis2": "192.0.2.12"}


def described(encryption: str, previous: str | None = None, **more: t.Any) -> dict[str, t.Any]:
    given: dict[str, t.Any] = {"password": "p" * 24, "admin_password": "a" * 24, "encryption": encryption, **more}
    if previous:
        given["previous_encryption"] = previous
    if "spiped" in (encryption, previous):
        given["tunnel_keys"] = {1: KEY}
    return describe(given)


def member(address: str, flags: str, node_id: str = "a" * 40) -> str:
    return f"{node_id} {address} {flags} - 0 0 1 connected 0-5460"


def standing(host: str, mode: str, *members: str, ports: t.Sequence[int] = (6379,), quoted: bool = False) -> list[str]:
    """What the playbook finds on a host whose instances announce themselves in this mode."""
    address = ADDRESSES[host]
    if mode in UNITS:
        address = address.replace("192.0", "127.64")
    lines = []
    for port in ports:
        lines += [
            f"instance {port}",
            f'cluster-announce-ip "{address}"' if quoted else f"cluster-announce-ip {address}",
        ]
        lines += [f"tls-cluster {'yes' if mode == 'tls' else 'no'}"]
        lines += [member(f"{address}:{port}@{port + 10000}", "myself,master"), *members]
        lines += ["vars currentEpoch 3 lastVoteEpoch 0"]
    return [*lines, *([UNITS[mode]] if mode in UNITS else [])]


def hosts(stands: t.Mapping[str, list[str] | None], **more: t.Any) -> dict[str, dict[str, t.Any]]:
    found: dict[str, dict[str, t.Any]] = {}
    for host, address in ADDRESSES.items():
        found[host] = {"ansible_host": address, "redis_ports": [6379], **more.get(host, {})}
        if stands.get(host) is not None:
            found[host]["tyk_redis_stands"] = {"stdout_lines": stands[host]}
    return found


def refused(stands: t.Mapping[str, list[str] | None], description: dict[str, t.Any], **more: t.Any) -> list[str]:
    return refusals(hosts(stands, **more), list(ADDRESSES), description)


MODES = ("none", "tls", "spiped", "tls_tunnel")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("quoted", [False, True])
def test_what_is_described_as_it_is_goes_on(mode: str, quoted: bool) -> None:
    stands = {host: standing(host, mode, quoted=quoted) for host in ADDRESSES}
    assert refused(stands, described(mode)) == []


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("stands", [{}, {"redis1": None, "redis2": []}, {"redis1": ["unit tyk-redis-tunnel"]}])
def test_hosts_without_instances_go_on(mode: str, stands: dict[str, t.Any]) -> None:
    assert refused(stands, described(mode)) == []


@pytest.mark.parametrize("mode", ["tls", "spiped", "tls_tunnel"])
@pytest.mark.parametrize("actual", ["none", "both"])
def test_a_change_goes_on_whichever_of_the_two_is_announced(mode: str, actual: str) -> None:
    stands = {"redis1": standing("redis1", mode), "redis2": standing("redis2", "none" if actual == "both" else mode)}
    assert refused(stands, described(mode, "none")) == []
    assert refused(stands, described("none", mode)) == []


@pytest.mark.parametrize(
    ("actual", "new"), [(one, other) for one in MODES for other in MODES if one != other and "none" in (one, other)]
)
def test_another_encryption_is_left_to_the_playbook_that_changes_it(actual: str, new: str) -> None:
    stands = {"redis1": standing("redis1", actual, ports=(6379, 6380))}
    found = refused(stands, described(new), redis1={"redis_ports": [6379, 6380]})
    assert found == [
        f"redis1:6379 and redis1:6380 announce themselves with encryption {actual}, and {new} is described:"
        f" change_encryption.yml with -e tyk_redis_from={actual} changes that while everything runs, also where it was"
        " begun and not finished."
    ]


def test_what_is_announced_otherwise_is_all_that_is_told() -> None:
    other = member("192.0.2.13:6379@16379", "master", "b" * 40)
    stands = {"redis1": standing("redis1", "none", other), "redis2": standing("redis2", "tls", other)}
    found = refused(stands, described("spiped"))
    assert [sentence[: sentence.index(" announce")] for sentence in found] == ["redis1:6379", "redis2:6379"]


def test_an_instance_of_an_earlier_version_has_no_encryption() -> None:
    assert refused({"redis1": ["instance 6379"]}, described("none")) == []
    (found,) = refused({"redis1": ["instance 6379"]}, described("tls"))
    assert "announces itself with encryption none" in found


def test_from_one_tunnel_to_the_other_the_way_goes_by_none() -> None:
    (found,) = refused({"redis2": standing("redis2", "spiped")}, described("tls_tunnel"))
    assert found == (
        "redis2:6379 announces itself with encryption spiped, and tls_tunnel is described: describe none first, and run"
        " change_encryption.yml with -e tyk_redis_from=spiped."
    )


def test_a_change_that_comes_from_elsewhere_is_refused() -> None:
    (found,) = refused({"redis1": standing("redis1", "spiped")}, described("none", "tls"))
    assert found == (
        "redis1:6379 announces itself with encryption spiped, and the change is said to be from tls to none: run"
        " change_encryption.yml with -e tyk_redis_from=spiped if that is where it comes from."
    )


UNREAD = {
    "/etc/tyk-redis/6379/redis.conf": (
        "its unit is enabled, and its configuration /etc/tyk-redis/6379/redis.conf cannot be read. Put it back, or set"
        " redis_config_dir to where it is."
    ),
    "/etc/tyk-redis/6379/announced.conf": (
        "its configuration includes /etc/tyk-redis/6379/announced.conf, which cannot be read, so that nothing tells how"
        " the instance announces itself. Write into it what CONFIG GET tells of cluster-announce-ip,"
        " replica-announce-ip, tls-cluster and tls-replication."
    ),
    "/var/lib/tyk-redis/6379/nodes.conf": (
        "it runs, and /var/lib/tyk-redis/6379/nodes.conf, where it keeps whom it knows, cannot be read. CLUSTER"
        " SAVECONFIG makes the instance write it anew."
    ),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("path", UNREAD)
def test_nothing_is_guessed_without_a_file(mode: str, path: str) -> None:
    stands = {"redis1": standing("redis1", "none"), "redis2": ["instance 6379", f"unread {path}"]}
    assert refused(stands, described(mode, firewall=True)) == [f"redis2:6379: {UNREAD[path]}"]


def test_whom_an_instance_knows_is_of_no_account_where_nobody_is_cut_off() -> None:
    stands = {"redis1": [*standing("redis1", "none"), "unread /var/lib/tyk-redis/6379/nodes.conf"]}
    assert refused(stands, described("none")) == []


STRANGER = (
    "A member of the cluster, with its bus at {}, works and is no instance of a host in the inventory. This run would"
    " cut it off by the {} before its slots could be moved: put its host back, with redis_leaving: true if it is to go,"
    " and take it out of the inventory after the run that has moved them. If it is to be lost with what it holds, stop"
    " it first."
)


@pytest.mark.parametrize("mode", ["spiped", "tls_tunnel"])
def test_a_live_member_that_nobody_has_keeps_its_tunnel(mode: str) -> None:
    other = member("127.64.2.13:6379@16379", "master", "b" * 40)
    stands = {host: standing(host, mode, other) for host in ADDRESSES}
    assert refused(stands, described(mode)) == [STRANGER.format("127.64.2.13:16379", "tunnels")]


@pytest.mark.parametrize(
    ("mode", "line"),
    [
        ("none", "192.0.2.13:6379@16379"),
        ("none", "192.0.2.13:6379@16379,redis3.example"),
        ("tls", "192.0.2.13:7379@16379"),
        # As Redis 8.0 writes it where there is no port without TLS.
        ("tls", "192.0.2.13:0@16379,,tls-port=7379,shard-id=9b1f"),
        ("tls", "192.0.2.13:0@16379,redis3.example,tls-port=7379"),
    ],
)
def test_a_live_member_that_nobody_has_is_not_dropped(mode: str, line: str) -> None:
    stands = {"redis1": standing("redis1", mode, member(line, "slave", "b" * 40))}
    assert refused(stands, described(mode, firewall=True)) == [STRANGER.format("192.0.2.13:16379", "firewall")]
    assert refused(stands, described(mode)) == []


def test_an_address_of_version_6_is_read() -> None:
    stands = {"redis1": standing("redis1", "none", member("2001:db8::13:6379@16379", "master", "b" * 40))}
    found = refused(stands, described("none", firewall=True))
    assert found == [STRANGER.format("[2001:db8::13]:16379", "firewall")]


@pytest.mark.parametrize("flags", ["master,fail", "slave,fail?", "handshake", "master,noaddr"])
def test_a_member_that_does_not_work_stops_nobody(flags: str) -> None:
    stands = {"redis1": standing("redis1", "spiped", member("127.64.2.13:6379@16379", flags, "b" * 40))}
    assert refused(stands, described("spiped")) == []


@pytest.mark.parametrize("mode", ["none", "spiped"])
def test_members_that_are_about_to_leave_or_to_change_are_known(mode: str) -> None:
    others = [member(f"{address}:6379@16379", "master", "b" * 40) for address in ("192.0.2.12", "127.64.2.12")]
    stands = {"redis1": standing("redis1", mode, *others)}
    assert refused(stands, described("none", "spiped", firewall=True), redis2={"redis_leaving": True}) == []


# --- who has no way yet ----------------------------------------------------------------------------------------------


BEHIND = {"redis1": "127.64.2.11", "redis2": "127.64.2.12"}


def knowing(host: str, *others: str, flags: str = "slave") -> list[str]:
    """An instance behind spiped that knows these instances besides itself."""
    lines = (member(f"{BEHIND[other]}:6379@16379", flags, "b" * 40) for other in others)
    return standing(host, "spiped", *lines)


def lost(
    description: dict[str, t.Any],
    reached: t.Collection[str],
    stands: t.Mapping[str, list[str] | None],
    **more: t.Any,
) -> list[str]:
    variables = hosts(stands, **more)
    variables["gateway1"] = {}
    for host in reached:
        variables[host]["tyk_redis_reaches"] = True
    return without_way(variables, list(ADDRESSES), ["gateway1", "redis1"], description)


EVERYONE = ["redis1", "redis2", "gateway1"]
FORMED = {"redis1": knowing("redis1", "redis2"), "redis2": knowing("redis2", "redis1")}
# Redis1 has two instances that know each other.
ALONE = standing("redis1", "spiped", member("127.64.2.11:6380@16380", "slave", "b" * 40), ports=(6379, 6380))
PORTS = {"redis1": {"redis_ports": [6379, 6380]}}


def test_all_have_to_reach_a_new_instance() -> None:
    stands = {"redis1": ALONE, "redis2": []}
    assert lost(described("spiped"), EVERYONE, stands, **PORTS) == []
    assert lost(described("spiped"), ["redis2"], stands, **PORTS) == ["redis1", "gateway1"]
    assert lost(described("spiped"), ["redis1", "redis2"], stands, **PORTS) == ["gateway1"]


def test_an_instance_that_runs_and_is_in_no_cluster_yet_is_new() -> None:
    # As a run leaves it that was refused here.
    stands = {"redis1": ALONE, "redis2": knowing("redis2")}
    assert lost(described("spiped"), ["redis1", "redis2"], stands, **PORTS) == ["gateway1"]
    assert lost(described("spiped"), ["redis1"], {"redis1": ALONE}, **PORTS) == ["redis2", "gateway1"]
    met = {"redis1": [*ALONE, member("127.64.2.12:6379@16379", "handshake", "c" * 40)], "redis2": None}
    assert lost(described("spiped"), ["redis1"], met, **PORTS) == ["redis2", "gateway1"]


def test_only_redis_hosts_have_a_firewall() -> None:
    stands = {"redis1": standing("redis1", "none"), "redis2": standing("redis2", "none")}
    assert lost(described("none", firewall=True), ["redis2"], stands) == ["redis1"]
    assert lost(described("none"), [], stands) == []
    assert lost(described("tls"), [], stands) == []


def test_without_a_new_instance_nobody_has_to_be_reached() -> None:
    assert lost(described("spiped"), [], FORMED) == []
    assert lost(described("spiped"), [], FORMED, redis2={"redis_ports": [6379, 6380]}) == EVERYONE
    assert lost(described("spiped"), [], {"redis1": ALONE}, **PORTS, redis2={"redis_leaving": True}) == []


@pytest.mark.parametrize("flags", ["slave", "master", "master,fail", "slave,fail?"])
def test_one_that_knows_it_is_enough_for_a_member(flags: str) -> None:
    stands = {"redis1": knowing("redis1", "redis2", flags=flags)}
    assert lost(described("spiped"), [], stands) == []


def test_what_a_stopped_instance_remembers_tells_members_and_strangers_not() -> None:
    lines = knowing("redis1", "redis2")
    stands = {"redis1": [lines[0], "stopped", *lines[1:]]}
    assert lost(described("spiped"), [], stands) == []
    stands["redis1"].append(member("127.64.2.13:6379@16379", "master", "d" * 40))
    assert refused(stands, described("spiped")) == []


@pytest.mark.parametrize(("encryption", "previous"), [("none", "spiped"), ("spiped", "none")])
def test_while_the_encryption_changes_a_member_may_be_known_in_either_way(encryption: str, previous: str) -> None:
    assert lost(described(encryption, previous), [], FORMED) == []
    stands = {"redis1": standing("redis1", "none", member("192.0.2.12:6379@16379", "slave", "b" * 40))}
    assert lost(described(encryption, previous), [], stands) == []
