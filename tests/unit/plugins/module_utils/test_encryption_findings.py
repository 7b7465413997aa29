# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What verify says about encryption and firewall."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.apiops.tyk_redis.plugins.module_utils._encryption_findings import findings

IN_THE_CLEAR = (
    "encryption is none: passwords and data cross the network in the clear, between Tyk and Redis and between the Redis"
    " hosts. The playbook change_encryption.yml changes that while everything runs."
)
NO_OUTSIDER = (
    "No host is in the group tyk_redis_outsider, so that it is not proved that the firewall keeps others away from"
    " Redis. Put a host there that has no business with Redis."
)
NOT_PROVED = "nothing was proved about the firewall from this host, because it could not be reached."


def described(**changed: t.Any) -> dict[str, t.Any]:
    return {"topology": "cluster", "encryption": "spiped", "firewall": False, **changed}


def certificates(*results: dict[str, t.Any]) -> dict[str, t.Any]:
    return {"tyk_redis_certificates": {"results": list(results)}}


def result(left: int, use: str = "redis", **changed: t.Any) -> dict[str, t.Any]:
    folder = f"/etc/tyk-redis-tls/{use}"
    one = {"path": f"{folder}/host.crt", "subject": "CN = redis1", "not_after": 1825275600, "seconds_left": left}
    return {"file": f"{folder}/host.crt", "certificates": [one], "outdated": [], "unreachable": [], **changed}


GOOD = result(10**9)
END = {
    "name": "dial-redis2-6379",
    "kind": "dial",
    "listen": "127.64.2.2:6379",
    "target": "192.0.2.2:7379",
    "peer": "redis2",
    "instance": 6379,
    "bus": False,
    "wire": "192.0.2.2:7379",
    "key": 1,
    "unit": "tyk-redis-spiped@dial-redis2-6379.service",
    "owner": "tyk-redis-spiped@dial-redis2-6379.service",
    "answer": "redis",
    "wire_answer": "",
}
NO_FAR_END = {**END, "answer": "closed", "wire_answer": "refused"}


def tunnels(*ends: dict[str, t.Any]) -> dict[str, t.Any]:
    return {"tyk_redis_tunnels": {"ends": list(ends), "key_fingerprints": {"1": "5f6ac1b0"}, "changed": False}}


def test_nothing_is_said_while_all_is_well() -> None:
    hostvars = {"redis1": {**tunnels(END), **certificates(GOOD)}, "gw1": {}}
    assert findings(hostvars, ["redis1", "gw1"], [], described()) == {"problems": [], "remarks": []}


@pytest.mark.parametrize(
    "known",
    [
        pytest.param({}, id="nothing was registered"),
        pytest.param({"tyk_redis_tunnels": None, "tyk_redis_certificates": None}, id="null"),
        pytest.param(
            {
                "tyk_redis_tunnels": {"skipped": True, "changed": False},
                "tyk_redis_certificates": {"results": [], "skipped": True},
            },
            id="skipped",
        ),
        pytest.param({"tyk_redis_certificates": {"results": None}}, id="no results"),
        pytest.param(certificates({"skipped": True}), id="a skipped item"),
    ],
)
def test_of_a_host_that_was_not_asked_nothing_is_said(known: dict[str, t.Any]) -> None:
    assert findings({"redis1": known}, ["redis1"], [], described()) == {"problems": [], "remarks": []}


def test_other_hosts_are_not_looked_at() -> None:
    hostvars = {"redis1": {}, "redis9": {**tunnels(NO_FAR_END), **certificates(result(-1))}}
    assert findings(hostvars, ["redis1"], [], described()) == {"problems": [], "remarks": []}


def test_tunnels_come_first_then_failures_then_certificates_then_the_firewall() -> None:
    hostvars = {
        "redis1": certificates(result(-1, outdated=["192.0.2.1:7379"]), {"msg": "The file is not there.", "rc": 1}),
        "gw1": {**tunnels(NO_FAR_END), **certificates(GOOD, result(86400 * 9, "tyk", unreachable=["192.0.2.9:1"]))},
        "out1": {"tyk_redis_outside": {"problems": ["192.0.2.1:6379 can be reached."]}},
        "out2": {},
    }
    found = findings(hostvars, ["redis1", "gw1", "out1", "out2"], ["out1", "out2"], described(firewall=True))
    host = "/etc/tyk-redis-tls/redis/host.crt"
    remedy = "run site.yml, which renews those that its own authority has issued; others you have to bring."
    assert found == {
        "problems": [
            "gw1: the tunnel to redis2:6379 has no far end: 192.0.2.2:7379 refuses connections. Start the tunnels on"
            " redis2, or run site.yml for it.",
            "redis1: The file is not there.",
            f"redis1: the certificate {host} (CN = redis1) is valid no longer than 2027-11-03, which is past: {remedy}",
            f"redis1: 192.0.2.1:7379 shows another certificate than {host} has: run site.yml, which lets it be read.",
            "gw1: 192.0.2.9:1 shows no certificate.",
            "out1: 192.0.2.1:6379 can be reached.",
            f"out2: {NOT_PROVED}",
        ],
        "remarks": [
            "gw1: the certificate /etc/tyk-redis-tls/tyk/host.crt (CN = redis1) is valid until 2027-11-03 only, 9 days"
            f" from now: {remedy}",
        ],
    }


def test_what_hosts_know_of_each_other_is_put_together() -> None:
    near = {**END, "answer": "closed", "wire_answer": "open"}
    far = {**END, "name": "serve-6379-1", "kind": "serve", "listen": END["wire"], "target": END["listen"]}
    far |= {"unit": "tyk-redis-spiped@serve-6379-1.service", "owner": "tyk-redis-spiped@serve-6379-1.service"}
    hostvars = {"gw1": tunnels(near), "redis2": tunnels(far)}
    hostvars["redis2"]["tyk_redis_tunnels"]["key_fingerprints"] = {"1": "0c0ffee0"}
    assert findings(hostvars, list(hostvars), [], described())["problems"] == [
        "gw1: the tunnel to redis2:6379 does not open: key 1 is another one here than on redis2. Run site.yml for both."
    ]


@pytest.mark.parametrize(
    ("topology", "encryption", "remarks"),
    [
        ("cluster", "none", [IN_THE_CLEAR]),
        ("cluster", "tls", []),
        ("cluster", "spiped", []),
        ("cluster", "tls_tunnel", []),
        # There, nothing is to be encrypted by this collection.
        ("sentinel", "none", []),
        ("standalone", "none", []),
    ],
)
def test_a_cluster_in_the_clear_is_remarked(topology: str, encryption: str, remarks: list[str]) -> None:
    found = findings({}, [], [], described(topology=topology, encryption=encryption))
    assert found == {"problems": [], "remarks": remarks}


def test_that_all_is_in_the_clear_is_the_first_remark_and_the_outsider_the_last() -> None:
    hostvars = {"redis1": certificates(result(1))}
    remarks = findings(hostvars, ["redis1"], [], described(encryption="none", firewall=True))["remarks"]
    assert (remarks[0], remarks[-1], len(remarks)) == (IN_THE_CLEAR, NO_OUTSIDER, 3)


@pytest.mark.parametrize(
    ("known", "problems"),
    [
        pytest.param({"tyk_redis_outside": {"problems": []}}, [], id="all is kept away"),
        pytest.param(
            {"tyk_redis_outside": {"problems": ["One.", "Two."]}}, ["out1: One.", "out1: Two."], id="as the module says"
        ),
        pytest.param({"tyk_redis_outside": {"unreachable": True}}, [f"out1: {NOT_PROVED}"], id="unreachable"),
        pytest.param(
            {"tyk_redis_outside": {"unreachable": True, "msg": "No route to host"}},
            [f"out1: {NOT_PROVED}"],
            id="unreachable, as ssh says",
        ),
        pytest.param(
            {"tyk_redis_outside": {"failed": True, "msg": "redis1: no IP address is known."}},
            [
                "out1: nothing was proved about the firewall from this host: redis1: no IP address is known.",
            ],
            id="failed for another reason",
        ),
        pytest.param({"tyk_redis_outside": None}, [f"out1: {NOT_PROVED}"], id="null"),
        pytest.param({}, [f"out1: {NOT_PROVED}"], id="nothing was registered"),
    ],
)
def test_what_an_outsider_has_proved(known: dict[str, t.Any], problems: list[str]) -> None:
    hostvars = {"out1": known}
    assert findings(hostvars, ["out1"], ["out1"], described(firewall=True)) == {"problems": problems, "remarks": []}
    assert findings(hostvars, ["out1"], ["out1"], described(firewall=False)) == {"problems": [], "remarks": []}


def test_outsiders_that_a_limit_leaves_out_are_remarked_and_not_judged() -> None:
    hostvars: dict[str, dict[str, t.Any]] = {"gw1": {}, "out1": {}, "out2": {}}
    proved = {**hostvars, "out1": {"tyk_redis_outside": {"problems": []}}}
    both, one = (
        f"Nothing was proved about the firewall from {hosts}, because --limit leaves {them} out."
        for hosts, them in (("out1, out2", "them"), ("out2", "it"))
    )
    on = described(firewall=True)
    assert findings(hostvars, ["gw1"], ["out1", "out2"], on) == {"problems": [], "remarks": [both]}
    assert findings(proved, ["gw1", "out1"], ["out1", "out2"], on) == {"problems": [], "remarks": [one]}
    off = described(firewall=False)
    assert findings(hostvars, ["gw1"], ["out1", "out2"], off) == {"problems": [], "remarks": []}


@pytest.mark.parametrize("group", ["redis", "tyk_gateway", "tyk_dashboard", "tyk_pump", "tyk_mdcb"])
def test_a_host_that_is_admitted_proves_nothing(group: str) -> None:
    outside = {"tyk_redis_outside": {"problems": ["192.0.2.1:6379 can be reached."]}}
    hostvars = {"gw1": {"group_names": [group, "tyk_redis_outsider"], **outside}}
    for hosts in (["gw1"], []):
        assert findings(hostvars, hosts, ["gw1"], described(firewall=True))["problems"] == [
            "gw1 is in the group tyk_redis_outsider, and among the hosts that the firewall admits. Take it out of that"
            " group, and put a host there that has no business with Redis."
        ]


def test_a_firewall_without_an_outsider_is_not_proved() -> None:
    assert findings({}, [], [], described(firewall=True)) == {"problems": [], "remarks": [NO_OUTSIDER]}
    assert findings({}, [], [], described(firewall=False)) == {"problems": [], "remarks": []}
