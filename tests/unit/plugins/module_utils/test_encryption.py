# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where everything listens in each mode of encryption, what it announces, and who may connect."""

from __future__ import annotations

import ipaddress
import itertools
import typing as t

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from ansible_collections.apiops.tyk_redis.plugins.module_utils import _encryption
from ansible_collections.apiops.tyk_redis.plugins.module_utils._description import (
    PLAIN,
    DescriptionError,
    address_of,
    admitted,
    announced,
    controls,
    describe,
    dropped,
    endpoints_of,
    former_is_off,
    instances_of,
    loopback_address_of,
    redis_options,
    tunnels_of,
    without_secrets,
)

LEAST = {"password": "only-for-this-test", "admin_password": "neither-is-this-one"}
SECRET = "only-for-these-tests-and-long-enough"
# Every change that a running cluster can make, and every mode that it can stay in.
CHANGES = [
    (mode, previous)
    for mode, previous in itertools.product(_encryption.MODES, (*_encryption.MODES, None))
    if previous is None or (mode != previous and "none" in (mode, previous))
]
Variables = dict[str, dict[str, t.Any]]


def described(mode: str, previous: str | None = None, **changed: t.Any) -> dict[str, t.Any]:
    keys = {"tunnel_keys": {1: SECRET}} if "spiped" in (mode, previous) else {}
    return describe({**LEAST, "encryption": mode, "previous_encryption": previous, **keys, **changed})


HOSTVARS: Variables = {
    "redis1": {"redis_address": "192.0.2.1", "redis_ports": [6379, 6380]},
    "redis2": {"redis_address": "2001:db8::2", "redis_loopback": "127.64.0.2"},
    "gw1": {"redis_address": "192.0.2.9"},
    "gw2": {"redis_address": "2001:db8::9"},
}
REDIS = ["redis1", "redis2"]


@pytest.mark.parametrize(("mode", "previous"), CHANGES)
def test_what_hosts_do_follows_without_the_secrets(mode: str, previous: str | None) -> None:
    whole = described(mode, previous, firewall=True)
    public = without_secrets(whole)
    for host in REDIS:
        assert tunnels_of(HOSTVARS, host, REDIS, public) == tunnels_of(HOSTVARS, host, REDIS, whole)
        assert redis_options(HOSTVARS, host, public) == redis_options(HOSTVARS, host, whole)
        assert admitted(HOSTVARS, host, REDIS, ["gw1"], public) == admitted(HOSTVARS, host, REDIS, ["gw1"], whole)
    assert instances_of(HOSTVARS, REDIS, public) == instances_of(HOSTVARS, REDIS, whole)
    assert announced(HOSTVARS, REDIS, public) == announced(HOSTVARS, REDIS, whole)
    assert dropped(HOSTVARS, REDIS, public) == dropped(HOSTVARS, REDIS, whole)


def refused(call: t.Callable[[], t.Any]) -> str:
    with pytest.raises(DescriptionError) as caught:
        call()
    return str(caught.value)


# --- loopback addresses ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"redis_address": "192.0.2.14"}, "127.64.2.14"),
        ({"redis_address": "10.255.255.255"}, "127.64.255.255"),
        ({"ansible_host": "192.0.2.14", "redis_loopback": ""}, "127.64.2.14"),
        ({"redis_address": "192.0.2.14", "redis_loopback": "127.64.0.1"}, "127.64.0.1"),
        ({"redis_address": "2001:db8::1", "redis_loopback": "127.64.0.1"}, "127.64.0.1"),
    ],
)
def test_a_host_has_one_loopback_address(variables: dict[str, t.Any], expected: str) -> None:
    assert loopback_address_of("redis1", variables) == expected


@pytest.mark.parametrize(
    "given", ["127.0.0.1", "127.65.0.1", "10.0.0.1", "::1", "::ffff:127.64.0.1", "redis1", 5, True]
)
def test_a_loopback_address_out_of_its_range_is_refused(given: t.Any) -> None:
    assert refused(lambda: loopback_address_of("redis1", {"redis_address": "192.0.2.1", "redis_loopback": given})) == (
        f"redis1: redis_loopback is {given!r}; give an address of 127.64.0.0/16."
    )


@pytest.mark.parametrize("address", ["2001:db8::1", "::ffff:192.0.2.1"])
def test_of_an_ipv6_address_no_loopback_address_is_made(address: str) -> None:
    found = address_of("redis1", {"redis_address": address})
    assert refused(lambda: loopback_address_of("redis1", {"redis_address": address})) == (
        f"redis1: no loopback address can be derived from {found}. Set the host variable redis_loopback to an address"
        " of 127.64.0.0/16 that no other host has, and never change it."
    )


@given(st.ip_addresses(v=4).map(str))
def test_a_loopback_address_is_in_its_range_and_ends_as_the_address_does(address: str) -> None:
    loopback = _encryption.loopback_of("redis1", None, address)
    assert ipaddress.ip_address(loopback) in ipaddress.ip_network("127.64.0.0/16")
    assert loopback.split(".")[2:] == address.split(".")[2:]


@given(
    st.ip_addresses().map(str),
    st.none() | st.text(max_size=12) | st.ip_addresses().map(str) | st.integers() | st.lists(st.integers(), max_size=2),
)
def test_no_other_loopback_address_is_ever_accepted(address: str, said: t.Any) -> None:
    try:
        loopback = _encryption.loopback_of("redis1", said, address)
    except _encryption.EncryptionError as exc:
        assert str(exc).startswith("redis1: ") and str(exc).endswith(".")
        return
    assert ipaddress.ip_address(loopback) in _encryption.LOOPBACK
    assert not said or loopback == said


ADDRESSES = st.ip_addresses(v=4, network="10.0.0.0/8").map(str)


@given(st.lists(ADDRESSES, min_size=1, max_size=5, unique=True), st.data())
def test_a_loopback_address_does_not_depend_on_other_hosts(addresses: list[str], data: st.DataObject) -> None:
    assume(len({address.split(".", 2)[2] for address in addresses}) == len(addresses))
    hostvars: Variables = {f"redis{n}": {"redis_address": address} for n, address in enumerate(addresses)}
    some = data.draw(st.permutations(sorted(hostvars)))[: data.draw(st.integers(1, len(hostvars)))]
    tunnels = described("tls_tunnel")
    alone = {one["name"]: one for one in instances_of({name: hostvars[name] for name in some}, some, tunnels)[0]}
    together = {one["name"]: one for one in instances_of(hostvars, hostvars, tunnels)[0]}
    assert {name: together[name] for name in alone} == alone


@pytest.mark.parametrize("mode", _encryption.TUNNELS)
def test_two_hosts_with_one_loopback_address_are_refused_before_anything_is_laid(mode: str) -> None:
    hostvars: Variables = {"a": {"redis_address": "10.1.0.1"}, "b": {"redis_address": "10.2.0.1"}}
    sentence = "b and a both claim 127.64.0.1:6379; give each host its own redis_loopback."
    for change in (described(mode), described(mode, "none"), described("none", mode)):
        assert refused(lambda change=change: tunnels_of(hostvars, "gw1", ["a", "b"], change)) == sentence
    assert refused(lambda: instances_of(hostvars, ["a", "b"], described(mode))) == sentence
    # One host's bus is the other one's port.
    hostvars["b"]["redis_ports"] = [16379]
    assert refused(lambda: tunnels_of(hostvars, "gw1", ["a", "b"], described(mode))) == (
        "b and a both claim 127.64.0.1:16379; give each host its own redis_loopback."
    )
    hostvars["b"]["redis_loopback"] = "127.64.0.2"
    assert len(tunnels_of(hostvars, "gw1", ["a", "b"], described(mode))) == 2
    # Without tunnels nobody minds.
    del hostvars["b"]["redis_loopback"]
    assert len(instances_of(hostvars, ["a", "b"], described("tls"))[0]) == 2


# --- modes -----------------------------------------------------------------------------------------------------------


def test_the_modes_of_a_change_are_both() -> None:
    assert _encryption.phases(described("tls")) == ("tls",)
    assert _encryption.phases(described("spiped", "none")) == ("spiped", "none")
    assert _encryption.phases(PLAIN) == ("none",)


@pytest.mark.parametrize(("mode", "previous"), CHANGES)
def test_who_changes_first(mode: str, previous: str | None) -> None:
    first = {("none", "tls"), ("spiped", "none"), ("tls_tunnel", "none")}
    if previous is not None:
        assert _encryption.clients_first(described(mode, previous)) is ((mode, previous) in first)


@pytest.mark.parametrize(
    ("mode", "endpoints"),
    [
        ("none", ["192.0.2.1:6379", "192.0.2.1:6380", "[2001:db8::2]:6379"]),
        ("tls", ["192.0.2.1:6879", "192.0.2.1:6880", "[2001:db8::2]:6879"]),
        ("spiped", ["127.64.2.1:6379", "127.64.2.1:6380", "127.64.0.2:6379"]),
        ("tls_tunnel", ["127.64.2.1:6379", "127.64.2.1:6380", "127.64.0.2:6379"]),
    ],
)
def test_where_members_are_reached(mode: str, endpoints: list[str]) -> None:
    members, going = instances_of(HOSTVARS, REDIS, described(mode, encrypted_port_offset=500))
    assert endpoints_of(members) == endpoints and going == []
    # The bus and the name stay the same in every mode.
    assert [member["bus_port"] for member in members] == [16379, 16380, 16379]
    assert [member["name"] for member in members] == ["redis1:6379", "redis1:6380", "redis2:6379"]
    # What is to be removed is named as the cluster knows it.
    fewer = described(mode, encrypted_port_offset=500, remove=[endpoints[1]])
    assert [endpoints_of(part) for part in instances_of(HOSTVARS, REDIS, fewer)] == [endpoints[::2], endpoints[1:2]]


@pytest.mark.parametrize(
    ("mode", "previous", "now", "expected"),
    [
        ("none", None, "", {"address": "192.0.2.1", "bind": ["192.0.2.1"]}),
        (
            "tls",
            None,
            "",
            {
                "address": "192.0.2.1",
                "bind": ["192.0.2.1"],
                "plain": False,
                "tls": True,
                "tls_port_offset": 1000,
                "tls_bus": True,
            },
        ),
        (
            "tls",
            "none",
            "none",
            {"address": "192.0.2.1", "bind": ["192.0.2.1"], "tls": True, "tls_port_offset": 1000, "changing": True},
        ),
        (
            "tls",
            "none",
            "",
            {
                "address": "192.0.2.1",
                "bind": ["192.0.2.1"],
                "tls": True,
                "tls_port_offset": 1000,
                "tls_bus": True,
                "changing": True,
            },
        ),
        (
            "none",
            "tls",
            "tls",
            {
                "address": "192.0.2.1",
                "bind": ["192.0.2.1"],
                "tls": True,
                "tls_port_offset": 1000,
                "tls_bus": True,
                "changing": True,
            },
        ),
        (
            "none",
            "tls",
            "",
            {"address": "192.0.2.1", "bind": ["192.0.2.1"], "tls": True, "tls_port_offset": 1000, "changing": True},
        ),
        ("spiped", None, "", {"address": "127.64.2.1", "bind": ["127.64.2.1"]}),
        ("spiped", "none", "none", {"address": "192.0.2.1", "bind": ["127.64.2.1", "192.0.2.1"], "changing": True}),
        ("spiped", "none", "", {"address": "127.64.2.1", "bind": ["127.64.2.1", "192.0.2.1"], "changing": True}),
        ("none", "spiped", "spiped", {"address": "127.64.2.1", "bind": ["192.0.2.1", "127.64.2.1"], "changing": True}),
        ("none", "spiped", "", {"address": "192.0.2.1", "bind": ["192.0.2.1", "127.64.2.1"], "changing": True}),
        ("tls_tunnel", None, "", {"address": "127.64.2.1", "bind": ["127.64.2.1"]}),
        ("tls_tunnel", "none", "none", {"address": "192.0.2.1", "bind": ["127.64.2.1", "192.0.2.1"], "changing": True}),
        ("none", "tls_tunnel", "", {"address": "192.0.2.1", "bind": ["192.0.2.1", "127.64.2.1"], "changing": True}),
    ],
)
def test_how_instances_listen(mode: str, previous: str | None, now: str, expected: dict[str, t.Any]) -> None:
    assert redis_options(HOSTVARS, "redis1", described(mode, previous), now) == {
        "plain": True,
        "tls": False,
        "tls_port_offset": 1000,
        "tls_bus": False,
        "tls_client_certificates": "required",
        "tls_protocols": ["TLSv1.2", "TLSv1.3"],
        "changing": False,
        # Others dial the address itself in every mode.
        "certified_addresses": ["192.0.2.1"],
        "leaving_ports": [],
        **expected,
    }


def test_tls_can_take_the_place_of_the_port_without_encryption() -> None:
    options = redis_options(HOSTVARS, "redis1", described("tls", encrypted_port_offset=0))
    assert (options["plain"], options["tls"], options["tls_port_offset"]) == (False, True, 0)
    assert endpoints_of(instances_of(HOSTVARS, ["redis2"], described("tls", encrypted_port_offset=0))[0]) == [
        "[2001:db8::2]:6379"
    ]


@pytest.mark.parametrize(
    ("versions", "protocols"),
    [
        ({"tls_min_version": "1.3"}, ["TLSv1.3"]),
        ({"tls_max_version": "1.2"}, ["TLSv1.2"]),
        ({"tls_min_version": "1.2", "tls_max_version": "1.3"}, ["TLSv1.2", "TLSv1.3"]),
    ],
)
def test_the_versions_of_tls_are_those_that_are_described(versions: dict[str, str], protocols: list[str]) -> None:
    options = redis_options(HOSTVARS, "redis1", described("tls", tls_client_certificates="no", **versions))
    assert options["tls_protocols"] == protocols
    assert options["tls_client_certificates"] == "no"


@pytest.mark.parametrize(("mode", "previous"), CHANGES)
def test_a_leaving_instance_is_known_by_its_own_port_in_every_mode(mode: str, previous: str | None) -> None:
    hostvars: Variables = {**HOSTVARS, "redis1": {**HOSTVARS["redis1"], "redis_leaving": True}}
    for now in ("", previous or ""):
        options = redis_options(hostvars, "redis1", described(mode, previous), now)
        assert options["leaving_ports"] == [6379, 6380]
    if previous is None:
        (endpoint,) = endpoints_of([instances_of(HOSTVARS, ["redis1"], described(mode))[0][1]])
        options = redis_options(HOSTVARS, "redis1", described(mode, remove=[endpoint]))
        assert options["leaving_ports"] == [6380]


# --- what is announced -----------------------------------------------------------------------------------------------


def announcing(mode: str, previous: str) -> dict[str, dict[str, str]]:
    found = announced(HOSTVARS, REDIS, described(mode, previous))
    assert len(found) == 3
    return dict(zip(endpoints_of(found), [one["settings"] for one in found]))


def at(address: str) -> dict[str, str]:
    return {"cluster-announce-ip": address, "replica-announce-ip": address}


@pytest.mark.parametrize("mode", _encryption.TUNNELS)
def test_a_change_to_tunnels_and_back_announces_other_addresses(mode: str) -> None:
    assert announcing(mode, "none") == {
        "192.0.2.1:6379": at("127.64.2.1"),
        "192.0.2.1:6380": at("127.64.2.1"),
        "[2001:db8::2]:6379": at("127.64.0.2"),
    }
    assert announcing("none", mode) == {
        "127.64.2.1:6379": at("192.0.2.1"),
        "127.64.2.1:6380": at("192.0.2.1"),
        "127.64.0.2:6379": at("2001:db8::2"),
    }


def ports(tls: str, port: int, tls_port: int) -> dict[str, str]:
    return {
        "tls-cluster": tls,
        "tls-replication": tls,
        "cluster-announce-port": str(port),
        "cluster-announce-tls-port": str(tls_port),
    }


def test_a_change_to_tls_and_back_announces_other_ports() -> None:
    assert announcing("tls", "none") == {
        "192.0.2.1:6379": ports("yes", 6379, 7379),
        "192.0.2.1:6380": ports("yes", 6380, 7380),
        "[2001:db8::2]:6379": ports("yes", 6379, 7379),
    }
    assert announcing("none", "tls") == {
        "192.0.2.1:7379": ports("no", 6379, 6379),
        "192.0.2.1:7380": ports("no", 6380, 6380),
        "[2001:db8::2]:7379": ports("no", 6379, 6379),
    }


@pytest.mark.parametrize(("mode", "previous"), [change for change in CHANGES if change[1]])
def test_each_instance_is_told_what_is_its_own_also_when_its_host_leaves(mode: str, previous: str) -> None:
    hostvars: Variables = {**HOSTVARS, "redis1": {**HOSTVARS["redis1"], "redis_leaving": True}}
    change = described(mode, previous)
    assert announced(hostvars, REDIS, change) == announced(HOSTVARS, REDIS, change)
    # It is what the files say afterwards.
    for host in REDIS:
        options = redis_options(HOSTVARS, host, change)
        for one in announced(HOSTVARS, [host], change):
            assert one["settings"].get("cluster-announce-ip", options["address"]) == options["address"]
            assert one["settings"].get("tls-cluster", "no") == ("yes" if options["tls_bus"] else "no")


# --- tunnels ---------------------------------------------------------------------------------------------------------


def short(ends: list[dict[str, t.Any]]) -> list[tuple[str, str, str]]:
    return [(end["name"], end["listen"], end["target"]) for end in ends]


@pytest.mark.parametrize("mode", ["none", "tls"])
def test_without_tunnels_there_are_no_ends(mode: str) -> None:
    assert tunnels_of(HOSTVARS, "redis1", REDIS, described(mode)) == []
    assert tunnels_of({}, "gw1", [], described(mode)) == []


@pytest.mark.parametrize("mode", _encryption.TUNNELS)
@pytest.mark.parametrize("change", [(), ("none",)])
def test_a_redis_host_serves_its_own_instances_and_dials_the_others(mode: str, change: tuple[str, ...]) -> None:
    assert short(tunnels_of(HOSTVARS, "redis1", REDIS, described(mode, *change))) == [
        ("serve-6379-1", "192.0.2.1:7379", "127.64.2.1:6379"),
        ("serve-6379-bus-1", "192.0.2.1:17379", "127.64.2.1:16379"),
        ("serve-6380-1", "192.0.2.1:7380", "127.64.2.1:6380"),
        ("serve-6380-bus-1", "192.0.2.1:17380", "127.64.2.1:16380"),
        ("dial-redis2-6379", "127.64.0.2:6379", "[2001:db8::2]:7379"),
        ("dial-redis2-6379-bus", "127.64.0.2:16379", "[2001:db8::2]:17379"),
    ]
    assert short(tunnels_of(HOSTVARS, "redis2", REDIS, described("none", mode))) == [
        ("dial-redis1-6379", "127.64.2.1:6379", "192.0.2.1:7379"),
        ("dial-redis1-6379-bus", "127.64.2.1:16379", "192.0.2.1:17379"),
        ("dial-redis1-6380", "127.64.2.1:6380", "192.0.2.1:7380"),
        ("dial-redis1-6380-bus", "127.64.2.1:16380", "192.0.2.1:17380"),
        ("serve-6379-1", "[2001:db8::2]:7379", "127.64.0.2:6379"),
        ("serve-6379-bus-1", "[2001:db8::2]:17379", "127.64.0.2:16379"),
    ]


@pytest.mark.parametrize("mode", _encryption.TUNNELS)
def test_a_tyk_host_has_no_end_for_the_bus_and_needs_no_loopback_address(mode: str) -> None:
    ends = tunnels_of(HOSTVARS, "gw2", REDIS, described(mode))
    assert ends == [
        {
            "name": f"dial-{peer}-{port}",
            "kind": "dial",
            "listen": f"{loopback}:{port}",
            "target": f"{address}:{port + 1000}",
            "peer": peer,
            "instance": port,
            "bus": False,
            "wire": f"{address}:{port + 1000}",
            "key": 1,
        }
        for peer, loopback, address, port in [
            ("redis1", "127.64.2.1", "192.0.2.1", 6379),
            ("redis1", "127.64.2.1", "192.0.2.1", 6380),
            ("redis2", "127.64.0.2", "[2001:db8::2]", 6379),
        ]
    ]


def test_two_keys_are_served_side_by_side_and_one_is_dialled() -> None:
    keys = {2: SECRET, 3: SECRET[::-1]}
    for spoken, port in ((2, 8379), (3, 7379)):
        change = described("spiped", tunnel_keys=keys, tunnel_key=spoken)
        assert short(tunnels_of(HOSTVARS, "redis2", REDIS, change))[-4:] == [
            ("serve-6379-2", "[2001:db8::2]:8379", "127.64.0.2:6379"),
            ("serve-6379-bus-2", "[2001:db8::2]:18379", "127.64.0.2:16379"),
            ("serve-6379-3", "[2001:db8::2]:7379", "127.64.0.2:6379"),
            ("serve-6379-bus-3", "[2001:db8::2]:17379", "127.64.0.2:16379"),
        ]
        data, bus = tunnels_of(HOSTVARS, "redis1", REDIS, change)[-2:]
        assert (data["name"], data["target"], data["key"]) == (
            "dial-redis2-6379",
            f"[2001:db8::2]:{port}",
            spoken,
        )
        assert (bus["name"], bus["target"], bus["key"]) == (
            "dial-redis2-6379-bus",
            f"[2001:db8::2]:{port + 10000}",
            spoken,
        )


def test_odd_and_even_keys_have_ports_of_their_own() -> None:
    assert _encryption.wire_ports(6379, 500) == (6879, 16879)
    assert _encryption.wire_ports(6379, 500, 3) == (6879, 16879)
    assert _encryption.wire_ports(6379, 500, 2) == _encryption.wire_ports(6379, 500, 4) == (7879, 17879)


# --- who is admitted -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "client_ports", "bus_ports"),
    [
        pytest.param(described("none"), [6379, 6380], [16379, 16380], id="none"),
        pytest.param(described("none", encrypted_port_offset=500), [6379, 6380], [16379, 16380], id="unused offset"),
        pytest.param(described("tls"), [6379, 6380, 7379, 7380], [16379, 16380], id="tls"),
        pytest.param(described("none", "tls"), [6379, 6380, 7379, 7380], [16379, 16380], id="away from tls"),
        pytest.param(described("tls", encrypted_port_offset=0), [6379, 6380], [16379, 16380], id="tls in its place"),
        pytest.param(described("tls_tunnel"), [6379, 6380, 7379, 7380], [16379, 16380, 17379, 17380], id="tls_tunnel"),
        pytest.param(
            described("none", "tls_tunnel"),
            [6379, 6380, 7379, 7380],
            [16379, 16380, 17379, 17380],
            id="away from tls_tunnel",
        ),
        pytest.param(
            described("spiped", tunnel_keys={4: SECRET}),
            [6379, 6380, 8379, 8380],
            [16379, 16380, 18379, 18380],
            id="spiped with an even key",
        ),
        pytest.param(
            described("spiped", "none", tunnel_keys={1: SECRET, 2: SECRET}),
            [6379, 6380, 7379, 7380, 8379, 8380],
            [16379, 16380, 17379, 17380, 18379, 18380],
            id="two keys",
        ),
    ],
)
def test_who_may_connect_to_which_port(change: dict[str, t.Any], client_ports: list[int], bus_ports: list[int]) -> None:
    # A host with both is named once.
    assert admitted(HOSTVARS, "redis1", REDIS, ["gw1", "redis2", "gw2"], change) == {
        "client_ports": client_ports,
        "bus_ports": bus_ports,
        "members": ["192.0.2.1", "2001:db8::2"],
        "clients": ["192.0.2.1", "2001:db8::2", "192.0.2.9", "2001:db8::9"],
    }
    assert dropped(HOSTVARS, ["redis1"], change) == [f"192.0.2.1:{port}" for port in (*client_ports, *bus_ports)]


def test_what_is_dropped_is_told_for_every_host() -> None:
    assert dropped(HOSTVARS, REDIS, described("none"))[-2:] == ["[2001:db8::2]:6379", "[2001:db8::2]:16379"]
    assert dropped(HOSTVARS, [], described("none")) == []


# --- ports -----------------------------------------------------------------------------------------------------------


def one_host(*numbers: int) -> Variables:
    return {"redis1": {"redis_address": "192.0.2.1", "redis_ports": list(numbers)}}


@pytest.mark.parametrize(
    ("numbers", "change", "sentence"),
    [
        pytest.param(
            (6379, 7379),
            described("tls"),
            "redis1: redis_ports contains 6379 and 7379, and with tyk_redis.encrypted_port_offset 1000 both would use"
            " the port 7379; give another offset.",
            id="tls",
        ),
        pytest.param(
            (7379, 6379),
            described("none", "tls_tunnel"),
            "redis1: redis_ports contains 6379 and 7379, and with tyk_redis.encrypted_port_offset 1000 both would use"
            " the port 7379; give another offset.",
            id="tls_tunnel on its way out",
        ),
        pytest.param(
            (6379, 6479),
            described("tls", encrypted_port_offset=9900),
            "redis1: redis_ports contains 6479 and 6379, and with tyk_redis.encrypted_port_offset 9900 both would use"
            " the port 16379; give another offset.",
            id="bus of another one",
        ),
        pytest.param(
            (6379, 8379),
            described("spiped"),
            "redis1: redis_ports contains 6379 and 8379, and with tyk_redis.encrypted_port_offset 1000 both would use"
            " the port 8379; give another offset.",
            id="the key that comes next",
        ),
        pytest.param(
            (55000,),
            described("tls", encrypted_port_offset=10536),
            "redis1: redis_ports contains 55000, and with tyk_redis.encrypted_port_offset 10536 there would be a port"
            " 65536; the highest is 65535.",
            id="beyond the last",
        ),
        pytest.param(
            (55000,),
            described("tls_tunnel"),
            "redis1: redis_ports contains 55000, and with tyk_redis.encrypted_port_offset 1000 there would be a port"
            " 66000; the highest is 65535.",
            id="bus beyond the last",
        ),
    ],
)
def test_ports_that_encryption_needs_twice_are_refused(
    numbers: tuple[int, ...], change: dict[str, t.Any], sentence: str
) -> None:
    hostvars = one_host(*numbers)
    for ask in (
        lambda: instances_of(hostvars, ["redis1"], change),
        lambda: redis_options(hostvars, "redis1", change),
        lambda: admitted(hostvars, "redis1", ["redis1"], [], change),
    ):
        assert refused(ask) == sentence
    # Without encryption they are fine.
    assert len(instances_of(hostvars, ["redis1"], described("none", encrypted_port_offset=1000))[0]) == len(numbers)


def test_the_outermost_ports_are_fine() -> None:
    for change, port in ((described("tls"), 55535), (described("tls_tunnel"), 54535), (described("spiped"), 53535)):
        assert len(instances_of(one_host(1, port), ["redis1"], change)[0]) == 2


def listeners(
    hostvars: Variables, host: str, hosts: t.Sequence[str], change: t.Mapping[str, t.Any]
) -> list[tuple[str, int, str]]:
    """Everything that listens on a host: where, and what it is."""
    found = []
    if host in hosts:
        options = redis_options(hostvars, host, change)
        for port in hostvars[host]["redis_ports"]:
            for address in options["bind"]:
                found.append((address, port + 10000, f"bus of {port}"))
                if options["plain"]:
                    found.append((address, port, f"plain {port}"))
                if options["tls"]:
                    found.append((address, port + options["tls_port_offset"], f"TLS of {port}"))
    for end in tunnels_of(hostvars, host, hosts, change):
        address, _colon, wire = end["listen"].rpartition(":")
        found.append((address, int(wire), end["name"]))
    return found


# Near each other and near the offsets, so that they collide now and then.
PORTS = st.builds(
    int.__add__,
    st.sampled_from([1, 6379, 6380, 7379, 8379, 16379, 45000, 54535, 55534]),
    st.sampled_from([0, 0, 0, 1, 500]),
)
LISTS = st.lists(PORTS | st.integers(1, 55535), min_size=1, max_size=3, unique=True)
INVENTORIES = st.lists(
    st.fixed_dictionaries(
        {"redis_address": st.ip_addresses(v=4, network="10.0.0.0/29").map(str) | ADDRESSES, "redis_ports": LISTS},
        optional={"redis_loopback": st.ip_addresses(v=4, network="127.64.0.0/29").map(str)},
    ),
    min_size=1,
    max_size=3,
    unique_by=lambda variables: variables["redis_address"],
).map(lambda hosts: {f"redis{number}": variables for number, variables in enumerate(hosts)})
OFFSETS = st.sampled_from([None, 0, 1, 500, 1000, 2000, 9000, 9500, 11000]) | st.integers(0, 60000)
KEYS = st.sampled_from([{1: SECRET}, {2: SECRET}, {1: SECRET, 2: SECRET}, {2: SECRET, 3: SECRET}])
TWO: Variables = {
    "redis0": {"redis_address": "10.0.0.1", "redis_ports": [6379, 6380]},
    "redis1": {"redis_address": "10.0.0.2", "redis_ports": [6379, 6380]},
}


def accepted(
    hostvars: Variables, change: tuple[str, str | None], offset: int | None, keys: dict[int, str]
) -> dict[str, t.Any]:
    """The description; what the playbooks would refuse before they touch a host is no example."""
    spiped = {"tunnel_keys": keys} if "spiped" in change else {}
    try:
        found = described(*change, encrypted_port_offset=offset, **spiped)
        instances_of(hostvars, hostvars, found)
        if found["previous_encryption"]:
            instances_of(hostvars, hostvars, {**found, "encryption": found["previous_encryption"]})
        for host in hostvars:
            redis_options(hostvars, host, found)
            tunnels_of(hostvars, host, list(hostvars), found)
    except DescriptionError as exc:
        assert str(exc).endswith(".")
        assume(False)
    return found


@pytest.mark.parametrize("change", CHANGES)
@settings(max_examples=50)
@given(hostvars=INVENTORIES, offset=OFFSETS, keys=KEYS)
@example(hostvars=TWO, offset=None, keys={1: SECRET, 2: SECRET})
def test_no_two_listeners_of_a_host_get_the_same_port(
    change: tuple[str, str | None], hostvars: Variables, offset: int | None, keys: dict[int, str]
) -> None:
    found = accepted(hostvars, change, offset, keys)
    hosts = list(hostvars)
    for host in [*hosts, "gw1"]:
        there = listeners(hostvars, host, hosts, found)
        assert all(1 <= port <= 65535 for _address, port, _what in there)
        places = [(address, port) for address, port, _what in there]
        assert len(set(places)) == len(places), there
        # Of what belongs to the host itself no port has two meanings, whatever the address.
        own = {(port, what) for _address, port, what in there if not what.startswith("dial")}
        assert len({port for port, _what in own}) == len(own), there
        names = [what for _address, _port, what in there if what.startswith(("dial", "serve"))]
        assert len(set(names)) == len(names)


@pytest.mark.parametrize("change", CHANGES)
@settings(max_examples=50)
@given(hostvars=INVENTORIES, offset=OFFSETS, keys=KEYS)
@example(hostvars=TWO, offset=None, keys={1: SECRET, 2: SECRET})
def test_every_pair_of_hosts_reaches_each_instance_and_nobody_else_does(
    change: tuple[str, str | None], hostvars: Variables, offset: int | None, keys: dict[int, str]
) -> None:
    found = accepted(hostvars, change, offset, keys)
    hosts = list(hostvars)
    hostvars = {**hostvars, "gw1": {"redis_address": "192.0.2.9"}}
    ends = {host: tunnels_of(hostvars, host, hosts, found) for host in hostvars}
    served = {end["listen"]: end for host in hosts for end in ends[host] if end["kind"] == "serve"}
    tunnelled = any(mode in _encryption.TUNNELS for mode in change)
    for host, peer in itertools.product(hostvars, hosts):
        mine = [end for end in ends[host] if end["peer"] == peer]
        pairs = {(end["instance"], end["bus"]) for end in mine}
        buses = (False, True) if host in hosts else (False,)
        assert pairs == (set(itertools.product(hostvars[peer]["redis_ports"], buses)) if tunnelled else set())
        for end in mine:
            assert end["kind"] == ("serve" if host == peer else "dial")
            if end["kind"] == "dial":
                far = served[end["target"]]
                assert end["wire"] == far["wire"] == far["listen"]
                # What a near end stands for is what is behind the far one, under the same address.
                for same in ("peer", "instance", "bus", "key"):
                    assert end[same] == far[same]
                assert end["listen"] == far["target"]
    # Every address that the cluster announces leads to its instance on every host.
    if change[0] in _encryption.TUNNELS:
        for host in hostvars:
            near = {end["listen"] for end in ends[host] if end["kind"] == "dial"}
            for member in instances_of(hostvars, hosts, found)[0]:
                if member["host"] != host:
                    assert f"{member['address']}:{member['port']}" in near
                    assert (f"{member['address']}:{member['bus_port']}" in near) == (host in hosts)


@pytest.mark.parametrize("change", CHANGES)
@settings(max_examples=50)
@given(hostvars=INVENTORIES, offset=OFFSETS, keys=KEYS)
@example(hostvars=TWO, offset=None, keys={1: SECRET, 2: SECRET})
def test_all_that_listens_for_other_hosts_is_guarded_and_the_bus_is_for_redis_hosts_only(
    change: tuple[str, str | None], hostvars: Variables, offset: int | None, keys: dict[int, str]
) -> None:
    found = accepted(hostvars, change, offset, keys)
    hosts = list(hostvars)
    for host in hosts:
        ports_of = admitted(hostvars, host, hosts, [], found)
        assert not set(ports_of["client_ports"]) & set(ports_of["bus_ports"])
        for address, port, what in listeners(hostvars, host, hosts, found):
            if address == hostvars[host]["redis_address"]:
                assert port in ports_of["bus_ports" if "bus" in what else "client_ports"]


@given(hostvars=INVENTORIES, offset=OFFSETS, key=st.integers(1, 4))
@example(hostvars=TWO, offset=None, key=1)
def test_where_there_is_one_key_there_can_always_be_the_next(hostvars: Variables, offset: int | None, key: int) -> None:
    accepted(hostvars, ("spiped", None), offset, {key: SECRET})
    for keys in ({key: SECRET, key + 1: SECRET}, {key + 1: SECRET}):
        later = described("spiped", encrypted_port_offset=offset, tunnel_keys=keys)
        assert instances_of(hostvars, hostvars, later)[0]


# --- a change that was cut off ----------------------------------------------------------------------------------------


def configured(conf: str) -> list[str]:
    """What grep -H finds in the two files of the instance on port 6379."""
    return [
        f"/etc/tyk-redis/6379/{'redis' if line.startswith('bind') else 'listen'}.conf:{line}"
        for line in conf.splitlines()
    ]


def conf_of(mode: str, previous: str | None, host: str) -> str:
    """The lines of a configuration, as the role writes them."""
    options = redis_options(HOSTVARS, host, described(mode, previous))
    lines = [f"bind {' '.join(options['bind'])}", f'port "{6379 if options["plain"] else 0}"']
    lines.append(f'tls-port "{6379 + options["tls_port_offset"] if options["tls"] else 0}"')
    return "\n".join(lines)


@pytest.mark.parametrize(("mode", "previous"), [change for change in CHANGES if change[1]])
def test_the_half_of_a_change_shows_in_the_configuration(mode: str, previous: str) -> None:
    change = described(mode, previous)

    def state(*confs: tuple[str, str | None]) -> Variables:
        return {
            host: {**HOSTVARS[host], "tyk_redis_listens": {"stdout_lines": configured(conf_of(*conf, host))}}
            for host, conf in zip(REDIS, confs)
        }

    before, both, after = (previous, None), (mode, previous), (mode, None)
    assert not former_is_off(state(before, before), REDIS, change)
    assert not former_is_off(state(both, before), REDIS, change)
    assert not former_is_off(state(both, both), REDIS, change)
    assert former_is_off(state(after, both), REDIS, change)
    assert former_is_off(state(after, after), REDIS, change)
    # A host that could not be reached, or whose instances are not there yet, tells nothing.
    assert not former_is_off(HOSTVARS, REDIS, change)


def test_while_the_bus_keeps_its_tls_everything_else_is_told() -> None:
    change = described("none", "tls")
    kept = announced(HOSTVARS, REDIS, change, keep_bus=True)
    for less, more in zip(kept, announced(HOSTVARS, REDIS, change)):
        assert {**less["settings"], "tls-cluster": "no"} == more["settings"]
        assert "tls-cluster" not in less["settings"]


def test_an_instance_that_has_left_is_not_told_anything() -> None:
    hostvars = {**HOSTVARS, "redis1": {**HOSTVARS["redis1"], "__redis_left_ports": [6380]}}
    ports_told = [one["port"] for one in announced(hostvars, ["redis1"], described("tls", "none"))]
    assert ports_told == [6379]


@pytest.mark.parametrize(
    ("variables", "control"),
    [
        pytest.param({"redis_address": "192.0.2.1"}, "192.0.2.1:22", id="the address of its instances"),
        pytest.param({"redis_address": "192.0.2.1", "ansible_port": "2222"}, "192.0.2.1:2222", id="another port"),
        pytest.param(
            {"redis_address": "192.0.2.1", "ansible_host": "198.51.100.1", "ansible_port": 2222},
            "198.51.100.1:2222",
            id="where Ansible connects to",
        ),
        # Of such a host no address needs to be known.
        pytest.param({"ansible_host": "redis1.example", "ansible_port": ""}, "redis1.example:22", id="a name"),
        pytest.param({"ansible_host": "2001:DB8::1"}, "[2001:db8::1]:22", id="IPv6"),
        pytest.param(
            {"redis_address": "192.0.2.1", "ansible_host": "fe80::1%eth0", "ansible_port": 23},
            "192.0.2.1:23",
            id="an address for the controller alone",
        ),
        # The controller comes by a port of its own that is forwarded.
        pytest.param(
            {"redis_address": "192.0.2.1", "ansible_host": "127.0.0.1", "ansible_port": 2200},
            "192.0.2.1:22",
            id="forwarded",
        ),
        pytest.param(
            {"redis_address": "192.0.2.1", "ansible_host": "localhost", "ansible_port": 2200},
            "192.0.2.1:22",
            id="forwarded, by a name",
        ),
        pytest.param(
            {"tyk_redis_control": "192.0.2.1:443", "ansible_host": "redis1.example", "ansible_port": "x"},
            "192.0.2.1:443",
            id="given",
        ),
        pytest.param({"tyk_redis_control": "[2001:DB8::1]:443"}, "[2001:db8::1]:443", id="given with IPv6"),
        pytest.param({"tyk_redis_control": "redis1.example:443"}, "redis1.example:443", id="given as a name"),
        pytest.param({"tyk_redis_control": "", "redis_address": "192.0.2.1"}, "192.0.2.1:22", id="given empty"),
    ],
)
def test_a_control_is_where_ansible_connects_to_or_what_is_given(variables: dict[str, t.Any], control: str) -> None:
    hostvars = {**HOSTVARS, "redis1": variables}
    assert controls(hostvars, REDIS) == [control, "[2001:db8::2]:22"]


REMEDY = (
    "give an address or a name of this host, and a port that others reach, for example '192.0.2.14:22' or"
    " '[2001:db8::14]:22'."
)


@pytest.mark.parametrize(
    "given",
    [
        *("192.0.2.1", "192.0.2.1:", "192.0.2.1:0", "192.0.2.1:65536", "2001:db8::1:22", "192.0.2:22", ":22", "a b:22"),
        22,
        # From elsewhere these lead to who asks.
        *("127.0.0.1:22", "localhost:22", "[::1]:22"),
    ],
)
def test_a_control_that_proves_nothing_is_refused(given: t.Any) -> None:
    hostvars = {"redis1": {"redis_address": "192.0.2.1", "tyk_redis_control": given}}
    assert refused(lambda: controls(hostvars, ["redis1"])) == f"redis1: tyk_redis_control is {given!r}; {REMEDY}"


@pytest.mark.parametrize("port", ["ssh", 0, 65536, True, [22]])
def test_a_port_that_is_none_is_refused(port: t.Any) -> None:
    hostvars = {"redis1": {"ansible_host": "redis1.example", "ansible_port": port}}
    assert refused(lambda: controls(hostvars, ["redis1"])) == (
        f"redis1: ansible_port is {port!r}; it must be a port from 1 to 65535. Correct it, or set the host variable"
        f" tyk_redis_control: {REMEDY}"
    )


@pytest.mark.parametrize(
    ("variables", "address"),
    [
        ({"ansible_host": "127.0.0.1", "ansible_port": 2200}, "127.0.0.1"),
        ({"ansible_host": "localhost", "redis_address": "127.0.0.2"}, "127.0.0.2"),
        ({"ansible_host": "::1"}, "::1"),
    ],
)
def test_a_host_that_only_itself_reaches_has_no_control(variables: dict[str, t.Any], address: str) -> None:
    assert refused(lambda: controls({"redis1": variables}, ["redis1"])) == (
        f"redis1: its address is {address}, which leads nowhere but to the host that dials it. Set the host variable"
        f" tyk_redis_control: {REMEDY}"
    )


@given(
    variables=st.fixed_dictionaries(
        {},
        optional={
            name: st.text(max_size=12) | st.ip_addresses().map(str) | st.integers() | st.none() | st.booleans()
            for name in ("tyk_redis_control", "ansible_host", "ansible_port", "redis_address")
        },
    )
)
def test_whatever_is_given_a_control_is_one_that_can_be_dialled_or_refused(variables: dict[str, t.Any]) -> None:
    try:
        (control,) = controls({"redis1": variables}, ["redis1"])
    except DescriptionError as exc:
        assert str(exc).startswith("redis1: ") and str(exc).endswith(".")
        return
    address, _colon, port = control.rpartition(":")
    assert address and 1 <= int(port) <= 65535


def test_a_host_without_a_known_address_is_named_with_what_to_do() -> None:
    hostvars = {**HOSTVARS, "gw1": {"ansible_host": "gw1.example"}, "redis2": {"ansible_host": "redis2.example"}}
    assert refused(lambda: admitted(hostvars, "redis1", ["redis1"], ["gw1"], described("none"))) == (
        "gw1: no IP address to admit in the firewall is known: its ansible_host is 'gw1.example', which is no IP"
        " address that others could connect to, and it was not asked, because it is down or --limit leaves it out. Set"
        " the host variable redis_address to the address from which it connects to Redis, or run when it is up and"
        " without --limit."
    )
    assert refused(lambda: admitted(hostvars, "redis1", REDIS, ["gw1"], described("none"))) == (
        "redis2: no IP address to bind and announce is known: its ansible_host is 'redis2.example', which is no IP"
        " address that others could connect to, and it was not asked, because it is down or --limit leaves it out. Set"
        " the host variable redis_address to an address that all Redis and Tyk hosts reach, or run when it is up and"
        " without --limit."
    )
