# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hand the role of one primary over to a replica. Everything here talks to servers; _failover_rules decides.

Private to this collection.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from ansible_collections.apiops.tyk_redis.plugins.module_utils import _failover_rules as rules
from ansible_collections.apiops.tyk_redis.plugins.module_utils._clock import Clock
from ansible_collections.apiops.tyk_redis.plugins.module_utils._cluster_view import (
    MemberLine,
    ViewError,
    join_names,
    parse_cluster_nodes,
    parse_info,
)
from ansible_collections.apiops.tyk_redis.plugins.module_utils._redis_client import (
    Address,
    RedisConnection,
    RedisProblem,
)

_THREADS = 16
_POLL_SECONDS = 0.05
# Each millisecond counts while the primary holds writes back, but the replica must be left to its work.
_ROLE_POLL_SECONDS = 0.005
# A server gives a manual failover up after 5 s (CLUSTER_MF_TIMEOUT in its source).
_ATTEMPT_SECONDS = 5.5
# Who does not answer for these reasons does not vote either; the others merely do not talk to this user.
_ABSENT = frozenset({"timeout", "refused", "reset", "loading"})
T = TypeVar("T")


class FailoverError(Exception):
    """The role could not be handed over."""


@dataclass(frozen=True)
class Handover:
    """How it went: the milliseconds until the replica had the role, and what is worth a warning."""

    milliseconds: int
    warnings: tuple[str, ...]


class Failover:
    """Hands the role of one instance over. Nothing is remembered between two of these.

    Args:
        address: the instance that may be a primary.
        connect: opens a connection to an address.
        timeout: seconds for the whole.
        clock: the time to wait by.
        threads: how many nodes are asked at once; 1 asks one after the other in the caller's thread.
    """

    def __init__(
        self,
        address: Address,
        connect: Callable[[Address], RedisConnection],
        timeout: float,
        clock: Clock | None = None,
        threads: int = _THREADS,
    ) -> None:
        self._address = address
        self._connect = connect
        self._clock = clock or Clock()
        self._threads = threads
        self._timeout = timeout
        self._deadline = self._clock.now() + timeout
        self._connections: dict[Address, RedisConnection] = {}
        self._silent: dict[Address, RedisProblem] = {}

    def __enter__(self) -> Failover:
        return self

    def __exit__(self, *_exc_info: object) -> None:
        for connection in self._connections.values():
            connection.close()

    # --- who ---------------------------------------------------------------------------------------------------------

    def successor(self, wait: bool) -> tuple[bool, Address | None]:
        """Whether the instance has a role to hand over, and the replica that should take it.

        Args:
            wait: whether to give replicas that are just catching up the time to do so.

        Raises:
            FailoverError: it has replicas, but none of them could take over.
        """
        while True:
            has_role, candidates = self._look()
            if not candidates:
                return has_role, None
            chosen = rules.best(candidates)
            if chosen:
                return True, chosen.address
            if not wait or self._is_late():
                raise FailoverError(
                    f"{self._address} is a primary with slots, and no replica of it is in sync and could take over:"
                    f" {self._reasons(candidates)}. Nothing was changed. Bring one back until its master_link_status"
                    " is up, and run again."
                )
            self._clock.sleep(_POLL_SECONDS)

    def _look(self) -> tuple[bool, list[rules.Candidate]]:
        """Whether the instance is a primary with slots, and its replicas."""
        if "cluster_enabled:1" not in self._to(self._address).call("INFO", "cluster"):
            return False, []
        lines = self._view(self._address)
        me = next(line for line in lines if "myself" in line.flags)
        if me.role != "primary" or not me.slots:
            return False, []
        replicas = [line for line in lines if line.primary_id == me.node_id]
        if not replicas:
            return True, []
        primary = self._ask(self._address)
        answers = self._on_each(self._try_to_ask, [Address(line.host, line.port) for line in replicas])
        known = [answer for answer in answers if isinstance(answer, rules.Server)]
        return True, [
            rules.candidate(primary, answer, known, "nofailover" in line.flags)
            if isinstance(answer, rules.Server)
            else rules.Candidate(Address(line.host, line.port), "cannot be asked")
            for line, answer in zip(replicas, answers)
        ]

    def _try_to_ask(self, address: Address) -> rules.Server | RedisProblem:
        try:
            return self._ask(address)
        except RedisProblem as problem:
            return problem

    def _ask(self, address: Address) -> rules.Server:
        info, cluster_info, clients, setting = self._to(address).pipeline(
            [
                ("INFO",),
                ("CLUSTER", "INFO"),
                ("CLIENT", "LIST", "TYPE", "master"),
                ("CONFIG", "GET", "cluster-node-timeout"),
            ]
        )
        for reply in (info, cluster_info):
            if isinstance(reply, RedisProblem):
                raise reply
        # Who may not ask for these two waits as long as the servers' defaults may make it necessary.
        node_timeout = rules.DEFAULT_NODE_TIMEOUT if isinstance(setting, RedisProblem) else int(setting[1])
        client_list = "" if isinstance(clients, RedisProblem) else clients
        return rules.read_server(address, info, cluster_info, client_list, node_timeout)

    @staticmethod
    def _reasons(candidates: Sequence[rules.Candidate]) -> str:
        return ", ".join(f"{one.address} {one.unfit}" for one in candidates)

    # --- how ---------------------------------------------------------------------------------------------------------

    def hand_over(self, replica: Address) -> Handover:
        """Let this replica take over, and wait until every node has noticed.

        Raises:
            FailoverError: it did not happen, or not in time. The text says whether anything was changed.
        """
        warnings = self._warnings()
        milliseconds = 0
        if self._await_readiness(replica):
            milliseconds = self._promote(replica)
        elif self._to(replica).call("ROLE")[0] != "master":
            raise FailoverError(
                f"{self._address} is no primary with slots any more, but {replica} did not take over from it; somebody"
                " else changes this cluster too. Nothing was changed. Run again."
            )
        self._await_follower(replica)
        self._await_agreement(replica)
        unasked = [str(address) for address in self._silent]
        if unasked:
            first = next(iter(self._silent.values()))
            warnings.append(
                f"Whether {join_names(unasked)} agreed that {replica} took over could not be asked: {first}"
            )
        return Handover(milliseconds, tuple(warnings))

    def _warnings(self) -> list[str]:
        if not rules.holds_writes_back(self._ask(self._address)):
            return []
        return [
            f"{self._address} runs a Redis before 6.2.8, which goes on holding writes back for about 10 s after its "
            "role was handed over; upgrade it."
        ]

    def _await_readiness(self, replica: Address) -> bool:
        """Wait until an attempt will succeed: one that fails holds writes back for 5 s, and nothing can stop it.

        Returns whether there still is a role to hand over.
        """
        while True:
            has_role, candidates = self._look()
            if not has_role:
                return False
            chosen = next((one for one in candidates if one.address == replica), None)
            obstacle = self._obstacle(replica, chosen)
            if not obstacle:
                return True
            wait = chosen.wait if chosen else 0.0
            if self._clock.now() + wait > self._deadline:
                raise FailoverError(f"{obstacle} Nothing was changed.")
            self._clock.sleep(min(1.0, wait) if wait else _POLL_SECONDS)

    def _obstacle(self, replica: Address, chosen: rules.Candidate | None) -> str:
        if chosen is None:
            return f"{replica} cannot take over, because it is no replica of {self._address}."
        if chosen.unfit:
            return f"{replica} cannot take over from {self._address}, because it {chosen.unfit}."
        if chosen.wait:
            return (
                f"{replica} or {self._address} took part in an election a short while ago. Servers before Valkey 8.1 "
                "fail when they are asked for another one within 4 times their cluster-node-timeout, and hold writes "
                f"back for 5 s. Run again in {chosen.wait:.0f} s, or give more time."
            )
        return self._missing_votes(replica)

    def _missing_votes(self, replica: Address) -> str:
        lines = self._view(self._address)
        me = next(line for line in lines if "myself" in line.flags)
        replica_id = next(line.node_id for line in lines if Address(line.host, line.port) == replica)
        electorate = rules.voters(lines)

        def votes(line: MemberLine) -> str:
            if line is me:
                return ""
            if line.failed:
                return "is down"
            try:
                view = self._view(Address(line.host, line.port))
            except RedisProblem as problem:
                return "does not answer" if problem.kind in _ABSENT else ""
            knows = rules.would_vote(view, me.node_id, replica_id)
            return "" if knows else f"does not know yet that {replica} is a replica of {self._address}"

        reasons = self._on_each(votes, electorate)
        silent = [f"{line.endpoint} {reason}" for line, reason in zip(electorate, reasons) if reason]
        needed = len(electorate) // 2 + 1
        if len(electorate) - len(silent) >= needed:
            return ""
        return (
            f"{replica} cannot take over from {self._address}, because {needed} of the {len(electorate)} primaries "
            f"with slots must vote for it, and {join_names(silent)}. Bring them back, and run again."
        )

    def _promote(self, replica: Address) -> int:
        """Returns the milliseconds that it took."""
        successor = self._to(replica)
        elections = self._ask(replica).elections
        refusal = ""
        for _attempt in range(2):
            began = self._clock.now()
            refusal = self._start(successor)
            while self._clock.now() < began + _ATTEMPT_SECONDS:
                if successor.call("ROLE")[0] == "master":
                    return int((self._clock.now() - began) * 1000)
                self._clock.sleep(_ROLE_POLL_SECONDS)
            # One that asked for votes and did not get them must not ask again for a long while.
            if self._is_late() or self._ask(replica).elections != elections:
                break
        raise FailoverError(
            f"{replica} did not take over from {self._address} in time.{refusal} The role was not handed over. A"
            " majority of the primaries must vote: look into the replica's log for why they did not, wait 4 times the"
            " cluster-node-timeout, and run again."
        )

    def _start(self, successor: RedisConnection) -> str:
        """Begin an attempt. Returns what the server has against it, as a sentence."""
        try:
            successor.call("CLUSTER", "FAILOVER")
        except RedisProblem as problem:
            # Either it took over just now, or it has lost its primary, which may pass.
            if problem.kind != "error":
                raise
            return f" {problem}"
        return ""

    # --- afterwards --------------------------------------------------------------------------------------------------

    def _await_follower(self, replica: Address) -> None:
        while True:
            silence = ""
            try:
                if self._follows(replica):
                    return
            except RedisProblem as problem:
                # A server that drops a large data set to copy another one is silent for a while.
                silence = f" {problem}"
            if self._is_late():
                raise FailoverError(
                    f"{replica} has taken over from {self._address}, but the latter does not follow it yet.{silence}"
                    " Look into both logs, and run again when its master_link_status is up."
                )
            self._clock.sleep(_POLL_SECONDS)

    def _follows(self, replica: Address) -> bool:
        info = parse_info(self._to(self._address).call("INFO", "replication"))
        return (
            info.get("role") == "slave"
            and info.get("master_host") == replica.host
            and info.get("master_port") == str(replica.port)
            and info.get("master_link_status") == "up"
        )

    def _await_agreement(self, replica: Address) -> None:
        """Wait until all nodes that can be asked say the same about roles, slots and epochs."""
        announced = False
        while True:
            view = self._view(replica)
            members = [Address(line.host, line.port) for line in rules.others(view)]
            asked = [address for address in members if address not in self._silent]
            views = dict(zip(asked, self._on_each(self._try_to_view, asked)))
            known = {address: lines for address, lines in views.items() if lines is not None}
            different = rules.dissenters({replica: view, **known}, replica)
            leads = next(line for line in view if "myself" in line.flags).role == "primary"
            if leads and not different:
                return
            if not announced:
                announced = True
                self._announce([line for line in view if Address(line.host, line.port) in {*known, replica}])
            if self._is_late():
                who = join_names(map(str, different)) if different else str(replica)
                raise FailoverError(
                    f"{replica} has taken over from {self._address}, but after {self._timeout:g} s {who} still did not"
                    " agree with the others about roles, slots and epochs. Look into the logs, and go on with the next"
                    " server only when all agree."
                )
            self._clock.sleep(_POLL_SECONDS)

    def _announce(self, members: Sequence[MemberLine]) -> None:
        """Let the old primary speak to every member, as it would by itself only after half a node timeout.

        A node learns of another one's role from that one's own packets alone, and a greeting is one. Only members that
        answer as such are greeted, so nobody new comes into the cluster.
        """
        greetings = [
            ("CLUSTER", "MEET", line.host, line.port, line.bus_port)
            if line.bus_port != line.port + 10000
            else ("CLUSTER", "MEET", line.host, line.port)
            for line in members
            if Address(line.host, line.port) != self._address
        ]
        try:
            self._to(self._address).pipeline(greetings)
        except RedisProblem:
            # It is asked for its view again at once, and what it suffers from is told then.
            return

    def _try_to_view(self, address: Address) -> tuple[MemberLine, ...] | None:
        try:
            return self._view(address)
        except RedisProblem as problem:
            self._silent[address] = problem
            return None

    # --- talking -----------------------------------------------------------------------------------------------------

    def _view(self, address: Address) -> tuple[MemberLine, ...]:
        try:
            return parse_cluster_nodes(self._to(address).call("CLUSTER", "NODES"))
        except ViewError as exc:
            raise FailoverError(
                f"{address} does not answer as a Redis or Valkey server does ({exc}); check what listens there."
            ) from exc

    def _to(self, address: Address) -> RedisConnection:
        if address not in self._connections:
            self._connections[address] = self._connect(address)
        return self._connections[address]

    def _is_late(self) -> bool:
        return self._clock.now() > self._deadline

    def _on_each(self, work: Callable[[T], Any], items: Sequence[T]) -> list[Any]:
        if self._threads == 1 or len(items) < 2:
            return [work(item) for item in items]
        with ThreadPoolExecutor(max_workers=min(self._threads, len(items))) as pool:
            return list(pool.map(work, items))
