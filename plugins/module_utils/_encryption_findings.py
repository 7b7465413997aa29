# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection and may change at any time.

"""What verify says about encryption and firewall, out of what the hosts have found. No I/O happens here."""

from __future__ import annotations

import typing as t

from ansible_collections.apiops.tyk_redis.plugins.module_utils import _certificates, _tunnel_faults

IN_THE_CLEAR = (
    "encryption is none: passwords and data cross the network in the clear, between Tyk and Redis and between the Redis"
    " hosts. The playbook change_encryption.yml changes that while everything runs."
)
NO_OUTSIDER = (
    "No host is in the group tyk_redis_outsider, so that it is not proved that the firewall keeps others away from"
    " Redis. Put a host there that has no business with Redis."
)
# Whose members the firewall admits.
ADMITTED = frozenset({"redis", "tyk_gateway", "tyk_dashboard", "tyk_pump", "tyk_mdcb"})


def findings(
    hostvars: t.Mapping[str, t.Mapping[str, t.Any]],
    hosts: t.Sequence[str],
    outsiders: t.Sequence[str],
    described: t.Mapping[str, t.Any],
) -> dict[str, list[str]]:
    """Problems and remarks.

    Args:
        hostvars: the variables of all hosts, with what verify.yml has registered.
        hosts: the hosts that were asked. Of a Redis or Tyk host that could not be reached nothing is said here.
        outsiders: the hosts from which Redis must not be reached, also those that were not asked.
        described: the description.
    """
    tunnels, certificates, failed = [], [], []
    for host in hosts:
        known = hostvars[host]
        found = known.get("tyk_redis_tunnels") or {}
        if "ends" in found:
            tunnels.append({"host": host, **found})
        results = (known.get("tyk_redis_certificates") or {}).get("results") or []
        certificates += [{"host": host, **result} for result in results if "certificates" in result]
        # A failure of the module ended the run for that host already, and belongs into the report.
        failed += [f"{host}: {result['msg']}" for result in results if "certificates" not in result and "msg" in result]
    validity = _certificates.sentences(certificates)
    problems = [*_tunnel_faults.faults(tunnels), *failed, *validity["problems"]]
    remarks = list(validity["remarks"])
    if described["topology"] == "cluster" and described["encryption"] == "none":
        remarks.insert(0, IN_THE_CLEAR)
    if described["firewall"]:
        outside = _outside(hostvars, hosts, outsiders)
        problems += outside["problems"]
        remarks += outside["remarks"]
    return {"problems": problems, "remarks": remarks}


def _outside(
    hostvars: t.Mapping[str, t.Mapping[str, t.Any]], hosts: t.Sequence[str], outsiders: t.Sequence[str]
) -> dict[str, list[str]]:
    problems, remarks, left_out = [], [], []
    for host in outsiders:
        proof = hostvars[host].get("tyk_redis_outside") or {}
        if ADMITTED.intersection(hostvars[host].get("group_names") or ()):
            problems.append(
                f"{host} is in the group tyk_redis_outsider, and among the hosts that the firewall admits. Take it out"
                " of that group, and put a host there that has no business with Redis."
            )
        elif host not in hosts:
            left_out.append(host)
        elif "problems" in proof:
            problems += [f"{host}: {sentence}" for sentence in proof["problems"]]
        else:
            unreachable = proof.get("unreachable") or "msg" not in proof
            why = ", because it could not be reached." if unreachable else f": {proof['msg']}"
            problems.append(f"{host}: nothing was proved about the firewall from this host{why}")
    if left_out:
        remarks.append(
            f"Nothing was proved about the firewall from {', '.join(left_out)}, because --limit leaves"
            f" {'it' if len(left_out) == 1 else 'them'} out."
        )
    if not outsiders:
        remarks.append(NO_OUTSIDER)
    return {"problems": problems, "remarks": remarks}
