# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection and may change at any time.

"""Do to Redis what a Tyk component would do: dial its seeds, follow the announced addresses, read, write and delete.

Every node is tried, whatever happened to the others, and every failure becomes a sentence.
"""

from __future__ import annotations

import time
import typing as t

from ansible_collections.apiops.tyk_redis.plugins.module_utils._probe_node import NodeProbe
from ansible_collections.apiops.tyk_redis.plugins.module_utils._probe_report import ProbeResult, join
from ansible_collections.apiops.tyk_redis.plugins.module_utils._probe_sentinel import SentinelWalk
from ansible_collections.apiops.tyk_redis.plugins.module_utils._redis_client import (
    Address,
    RedisConnection,
    RedisProblem,
)
from ansible_collections.apiops.tyk_redis.plugins.module_utils._redis_slots import (
    Layout,
    Member,
    parse_slots,
    show_ranges,
)
from ansible_collections.apiops.tyk_redis.plugins.module_utils._tyk_effective import CLUSTER, SENTINEL

__all__ = ["Probe", "ProbeResult"]

# A node leaves a replica out of CLUSTER SLOTS until it knows of its replication offset (cluster.c, isReplicaAvailable),
# and it hears of that by gossip, within half of cluster-node-timeout, whose default is 15 s.
SETTLING_SECONDS = 10


class Probe(NodeProbe):
    """One probe of all that the component uses; NodeProbe says what it is given."""

    def run(self) -> ProbeResult:
        """Try everything once. The result is complete, whatever has failed."""
        if self.effective.mode == CLUSTER:
            self._run_cluster()
        elif self.effective.mode == SENTINEL:
            SentinelWalk(self).run()
        else:
            self._run_standalone()
        return self.finish()

    # --- standalone ---

    def _run_standalone(self) -> None:
        address = self.effective.seeds[0]
        origin = f"{self.title} takes the address from {self.effective.addresses_origin}"
        seed: dict[str, t.Any] = {"address": str(address), "answered": False, "error": ""}
        self.result.seeds.append(seed)
        with self.connect(address) as connection:
            try:
                latency = self.ping(connection)
                seed["answered"] = True
            except RedisProblem as exc:
                seed["error"] = str(exc)
                self.fail(exc, "the only address", origin)
                return
            if self._is_cluster_node(connection):
                switch = self.effective.component.settings["cluster"].dotted
                self.result.problems.append(
                    f"{address} runs in cluster mode, but {switch} of {self.title} is not true "
                    f"({self.effective.origin('cluster')}), so most keys would fail with MOVED; set it to true."
                )
                return
            info = self.info(connection, "server")
            run_id = info.get("run_id", "")
            if run_id:
                self.result.node_ids = [run_id]
            wrote = self.select(connection, origin) and self.exercise(connection, "the only address", origin)
            self.prove_rights(connection, "the only address", origin)
            self.result.reached.append(self.entry(address, "primary", "", run_id, (), wrote, latency))

    def _is_cluster_node(self, connection: RedisConnection) -> bool:
        try:
            connection.call("CLUSTER", "SLOTS")
        except RedisProblem:
            # Refused, or not in cluster mode. The component asks for neither, and a MOVED would show in the writing.
            return False
        return True

    # --- cluster ---

    def _run_cluster(self) -> None:
        seeds = self.effective.seeds
        answers = self._ask_until_settled(seeds)
        layouts = [(seed, answer) for seed, answer in zip(seeds, answers) if isinstance(answer, Layout)]
        silent = [(seed, answer) for seed, answer in zip(seeds, answers) if isinstance(answer, RedisProblem)]
        for seed, answer in zip(seeds, answers):
            error = str(answer) if isinstance(answer, RedisProblem) else ""
            self.result.seeds.append({"address": str(seed), "answered": not error, "error": error})
        failed: set[str] = set()
        announced: set[str] = set()
        if layouts:
            asked, layout = layouts[0]
            failed, announced = self._walk(asked, layout)
            self._compare(layouts)
        for seed, problem in silent:
            # A seed that is also a member has been reported with its role.
            if str(seed) in failed:
                continue
            lost = bool(layouts) and str(seed) not in announced
            self.fail(
                problem,
                "a seed address, which the cluster does not announce" if lost else "a seed address",
                f"{self.title} takes the address from {self.effective.addresses_origin}",
                f", and {self.title} never gets connected" if problem.kind == "not-a-cluster" else "",
            )
        self.expect(
            announced | {str(seed) for seed, _answer in silent},
            "the cluster does" if layouts else "",
            "join it to the cluster",
        )

    def _ask_until_settled(self, seeds: t.Sequence[Address]) -> list[Layout | RedisProblem]:
        """What each seed says, once those of one cluster say the same or have had time for it."""
        until = time.monotonic() + SETTLING_SECONDS
        while True:
            answers = self.each(self._ask_seed, seeds)
            layouts = [answer for answer in answers if isinstance(answer, Layout)]
            if time.monotonic() >= until or not any(layout.is_unsettled_with(layouts[0]) for layout in layouts):
                return answers
            time.sleep(1)

    def _ask_seed(self, seed: Address) -> Layout | RedisProblem:
        try:
            with self.connect(seed) as connection:
                return parse_slots(connection.call("CLUSTER", "SLOTS"), seed)
        except RedisProblem as exc:
            return exc
        except (IndexError, KeyError, TypeError, ValueError) as exc:
            return RedisProblem("error", str(seed), f"{seed} gave no usable answer to CLUSTER SLOTS ({exc}).")

    def _walk(self, asked: Address, layout: Layout) -> tuple[set[str], set[str]]:
        """Try every member. Gives back the addresses that failed, and all that are announced."""
        self.result.node_ids = [member.node_id for member in layout.members]
        if not layout.members:
            self.result.problems.append(
                f"{asked} runs in cluster mode but serves no slot: no cluster has been formed; form it first, for "
                "example with the module redis_cluster."
            )
            return set(), set()
        if layout.gaps:
            self.result.problems.append(
                f"No primary serves the slots {', '.join(show_ranges(layout.gaps))}, as {asked} says, so commands for "
                "their keys fail; repair the cluster."
            )
        for member in layout.members:
            if member.address is None:
                self.result.problems.append(
                    f"The node {member.node_id} announces no address in CLUSTER SLOTS of {asked}, so {self.title} "
                    "cannot use it; set cluster-announce-ip, cluster-announce-hostname or another "
                    "cluster-preferred-endpoint-type there."
                )
        source = f"the cluster announces this address, as {asked} says"
        members = [member for member in layout.members if member.address is not None]
        by_id = layout.by_id()
        outcomes = self.each(lambda member: self._try_member(member, by_id, source), members)
        failed: set[str] = set()
        announced: set[str] = set()
        for member, entry in zip(members, outcomes):
            announced |= member.names
            if entry is None:
                failed |= member.names | {str(member.address)}
            else:
                self.result.reached.append(entry)
        return failed, announced

    def _try_member(self, member: Member, by_id: dict[str, Member], source: str) -> dict[str, t.Any] | None:
        address = t.cast(Address, member.address)
        primary = by_id[member.primary_id]
        primary_address = "" if member.is_primary else str(primary.address or "")
        slots = show_ranges(primary.ranges)
        subject = (
            f"the primary of the slots {', '.join(slots)}"
            if member.is_primary
            else f"a replica of {primary_address or primary.node_id}"
        )
        with self.connect(address) as connection:
            try:
                latency = self.ping(connection)
            except RedisProblem as exc:
                self.fail(exc, subject, source)
                return None
            wrote = False
            if member.is_primary:
                wrote = self.exercise(connection, subject, source, primary.ranges)
            else:
                self.read_cluster_replica(connection, subject, source, primary.ranges, primary.names)
                self.judge_link(connection, subject)
            self.prove_rights(connection, subject, source, primary.ranges)
        role = "primary" if member.is_primary else "replica"
        ranges = member.ranges
        return self.entry(address, role, primary_address, member.node_id, ranges, wrote, latency)

    def _compare(self, layouts: list[tuple[Address, Layout]]) -> None:
        reference_seed, reference = layouts[0]
        for seed, layout in layouts[1:]:
            if layout.roles() == reference.roles():
                continue
            ours, theirs = reference.by_id(), layout.by_id()
            if not ours.keys() & theirs.keys():
                detail = "they have no node in common and belong to different clusters"
            else:
                differing = sorted(
                    str((theirs.get(node_id) or ours[node_id]).address or node_id)
                    for node_id in ours.keys() | theirs.keys()
                    if reference.roles().get(node_id) != layout.roles().get(node_id)
                )
                detail = f"they differ about {join(differing)}"
            self.result.problems.append(
                f"The seeds {reference_seed} and {seed} do not describe the same cluster: {detail}; give only "
                "addresses of one cluster, or let the cluster settle and check again."
            )
