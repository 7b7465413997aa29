# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection and may change at any time.

"""Find the data nodes through Sentinel as go-redis does, and try each of them.

Tyk gives go-redis one TLS configuration for Sentinels and data nodes, a password without a user name for the Sentinels,
and user, password and database for the data nodes alone.
"""

from __future__ import annotations

import contextlib
import socket
import typing as t

from ansible_collections.apiops.tyk_redis.plugins.module_utils import _sentinel_view as view
from ansible_collections.apiops.tyk_redis.plugins.module_utils._probe_report import Failure, join
from ansible_collections.apiops.tyk_redis.plugins.module_utils._redis_client import (
    Address,
    Credentials,
    RedisConnection,
    RedisProblem,
)

if t.TYPE_CHECKING:
    from ansible_collections.apiops.tyk_redis.plugins.module_utils._probe_node import NodeProbe

_DATA_NODE_PORT = 6379
_SENTINEL_PORT = 26379


class SentinelWalk:
    """One way from the Sentinels to the data nodes."""

    def __init__(self, probe: NodeProbe) -> None:
        self._probe = probe
        self._title = probe.title
        self._name = probe.text("sentinel_master")
        self._credentials = Credentials(None, probe.text("sentinel_password") or None)

    def run(self) -> None:
        """Ask every Sentinel, follow what most of them say, and try the primary and all its replicas."""
        probe = self._probe
        seeds = probe.effective.seeds
        replies = probe.each(self._ask, seeds)
        answers = [(seed, reply) for seed, reply in zip(seeds, replies) if isinstance(reply, view.Answer)]
        for seed, reply in zip(seeds, replies):
            error = ""
            if isinstance(reply, RedisProblem):
                error = str(reply)
                self._fail(reply, "a Sentinel", probe.effective.addresses_origin)
            elif reply.primary is None:
                unknown = self._unknown(seed, reply)
                error = str(unknown)
                self._fail(unknown, "a Sentinel", probe.effective.addresses_origin)
            probe.result.seeds.append({"address": str(seed), "answered": not error, "error": error})
        different = view.disagreement(self._name, self._title, answers)
        if different:
            probe.result.problems.append(different)
        self._judge_majority(answers, [seed for seed, reply in zip(seeds, replies) if isinstance(reply, RedisProblem)])
        chosen = view.choose(answers)
        found: set[str] = set()
        if chosen is not None:
            found = self._try_nodes(*chosen)
        probe.expect(found, "the Sentinels do" if chosen else "", "let it replicate the primary")

    # --- the Sentinels ---

    def _ask(self, seed: Address) -> view.Answer | RedisProblem:
        try:
            with self._probe.connect(seed, self._credentials) as connection:
                return self._interview(connection)
        except RedisProblem as exc:
            return self._not_a_sentinel(seed, exc) if exc.kind == "password" else exc
        except (IndexError, KeyError, TypeError, ValueError) as exc:
            return RedisProblem("error", str(seed), f"{seed} gave no usable answer to SENTINEL ({exc}).")

    def _interview(self, connection: RedisConnection) -> view.Answer:
        try:
            reply = connection.call("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._name)
        except RedisProblem as exc:
            if "unknown command" in exc.detail.lower():
                raise self._data_node(connection.address) from exc
            raise
        primary = view.parse_address(reply)
        if primary is None:
            names = [view.parse_name(entry) for entry in connection.call("SENTINEL", "MASTERS")]
            return view.Answer(None, known_names=tuple(sorted(names)))
        state, replicas, others = connection.pipeline(
            [("SENTINEL", word, self._name) for word in ("MASTER", "REPLICAS", "SENTINELS")]
        )
        if isinstance(replicas, RedisProblem):
            # Redis before 5.0 has only the older name.
            replicas = connection.call("SENTINEL", "SLAVES", self._name)
        for answer in (state, others):
            if isinstance(answer, RedisProblem):
                raise answer
        return view.Answer(
            primary,
            view.parse_instance(state),
            tuple(sorted(map(view.parse_instance, replicas), key=lambda replica: replica.address)),
            tuple(map(view.parse_instance, others)),
        )

    def _not_a_sentinel(self, seed: Address, problem: RedisProblem) -> RedisProblem:
        """Whether the password is refused because this is another server; most servers tell without any password."""
        try:
            with self._probe.connect(seed, Credentials()) as connection:
                self._interview(connection)
        except RedisProblem as exc:
            if exc.kind == "no-sentinel":
                return exc
        except (IndexError, KeyError, TypeError, ValueError):
            # A Sentinel after all, and one without a password; what it says is of no use here.
            pass
        return problem

    @staticmethod
    def _data_node(address: Address) -> RedisProblem:
        return RedisProblem(
            "no-sentinel",
            str(address),
            f"{address} is no Sentinel; give the addresses of the Sentinels, which usually listen on port "
            f"{_SENTINEL_PORT}.",
        )

    def _unknown(self, seed: Address, answer: view.Answer) -> RedisProblem:
        key = self._probe.effective.component.settings["sentinel_master"].dotted
        known = f"it knows {join(map(repr, answer.known_names))}" if answer.known_names else "it knows none"
        return RedisProblem(
            "unknown-primary",
            str(seed),
            f"The Sentinel {seed} does not know a primary named {self._name!r} ({known}); correct {key}, or let the "
            "Sentinel monitor it.",
        )

    def _fail(self, problem: RedisProblem, subject: str, addresses_from: str) -> None:
        probe = self._probe
        context = probe.tls_context(problem) or f"{self._title} takes the address from {addresses_from}"
        consequence = ""
        if problem.kind == "password":
            origin = probe.effective.origin("sentinel_password")
            context = (
                f"{self._title} takes the password of the Sentinels from {origin}"
                if self._credentials.password
                else f"{self._title} has no password for the Sentinels; the one for the data nodes is not sent to them"
            )
            if problem.address.endswith(f":{_DATA_NODE_PORT}"):
                consequence = f", unless it is a data node: Sentinels usually listen on port {_SENTINEL_PORT}"
        elif problem.kind == "unknown-primary":
            context = f"{self._title} takes the name from {probe.effective.origin('sentinel_master')}"
        probe.keep(Failure(problem, subject, context, consequence))

    def _judge_majority(
        self, answers: t.Sequence[tuple[Address, view.Answer]], silent_seeds: t.Sequence[Address]
    ) -> None:
        known = view.known_count(answers)
        if not answers or view.no_majority(self._name, known, len(answers), ()) is None:
            return
        # Fewer seeds than Sentinels may be given; the client learns of the others and can go to them.
        seeds = self._probe.effective.seeds
        behind_names = {Address(host, seed.port) for seed in seeds for host in _addresses_of(seed.host)}
        strangers = view.strangers({*seeds, *behind_names}, answers)
        problems = self._probe.each(self._dial, strangers)
        unheard = [stranger for stranger, problem in zip(strangers, problems) if problem is not None]
        reached = len(answers) + len(strangers) - len(unheard)
        sentence = view.no_majority(self._name, known, reached, {*unheard, *silent_seeds})
        if sentence:
            self._probe.result.problems.append(sentence)

    def _dial(self, sentinel: Address) -> RedisProblem | None:
        try:
            with self._probe.connect(sentinel, self._credentials) as connection:
                connection.call("PING")
        except RedisProblem as exc:
            return exc
        return None

    # --- the data nodes ---

    def _try_nodes(self, sentinel: Address, answer: view.Answer) -> set[str]:
        """Try the primary and each replica. Gives back the addresses of all of them."""
        probe = self._probe
        primary = t.cast(Address, answer.primary)
        run_id = answer.state.run_id if answer.state and answer.state.address == primary else ""
        replicas = [replica for replica in answer.replicas if replica.address != primary]
        probe.result.node_ids = [
            run_id or str(primary),
            *(replica.run_id or str(replica.address) for replica in replicas),
        ]
        if answer.state and answer.state.down:
            probe.result.problems.append(
                f"The Sentinel {sentinel} takes the primary {primary} of {self._name!r} for down "
                f"({answer.state.down}); start it, or see whether the Sentinel reaches it and has its password."
            )
        jobs: list[t.Callable[[], dict[str, t.Any] | None]] = [
            lambda: self._try_primary(sentinel, primary, run_id),
            *(self._job(sentinel, primary, replica) for replica in replicas),
        ]
        probe.result.reached.extend(entry for entry in probe.each(lambda job: job(), jobs) if entry is not None)
        return {str(primary), *(str(replica.address) for replica in replicas)}

    def _job(
        self, sentinel: Address, primary: Address, replica: view.Instance
    ) -> t.Callable[[], dict[str, t.Any] | None]:
        return lambda: self._try_replica(sentinel, primary, replica)

    def _try_primary(self, sentinel: Address, address: Address, run_id: str) -> dict[str, t.Any] | None:
        probe = self._probe
        subject = f"the primary of {self._name!r}"
        source = f"the Sentinel {sentinel} names this address"
        with probe.connect(address) as connection:
            try:
                latency = probe.ping(connection)
            except RedisProblem as exc:
                probe.fail(exc, subject, source)
                return None
            wrote = False
            if self._is_replica(connection):
                probe.result.problems.append(
                    f"The Sentinel {sentinel} names {address} as the primary of {self._name!r}, but that is a replica; "
                    "let a failover end and check again, or see why the Sentinel does not notice."
                )
            elif probe.select(connection, source):
                wrote = probe.exercise(connection, subject, source)
            probe.prove_rights(connection, subject, source)
        return probe.entry(address, "primary", "", run_id, (), wrote, latency)

    def _is_replica(self, connection: RedisConnection) -> bool:
        """What the server says of itself, where the user may ask; otherwise the writing shows it."""
        role = self._probe.info(connection, "replication").get("role", "")
        if not role:
            with contextlib.suppress(RedisProblem):
                role = str(connection.call("ROLE")[0])
        return role == "slave"

    def _try_replica(self, sentinel: Address, primary: Address, replica: view.Instance) -> dict[str, t.Any] | None:
        probe = self._probe
        subject = f"a replica of {primary}"
        if replica.down:
            subject += f", which the Sentinel {sentinel} takes for down ({replica.down})"
        source = f"the Sentinel {sentinel} names this address"
        with probe.connect(replica.address) as connection:
            try:
                latency = probe.ping(connection)
            except RedisProblem as exc:
                remedy = (
                    ", and a replica that is gone for good is forgotten with SENTINEL RESET" if replica.down else ""
                )
                probe.fail(exc, subject, source, remedy)
                return None
            if replica.down:
                problem = RedisProblem(
                    "down",
                    str(replica.address),
                    f"{replica.address} answers here, but the Sentinel {sentinel} takes it for down ({replica.down}); "
                    "see whether the Sentinel reaches it and has its password.",
                )
                probe.fail(problem, f"a replica of {primary}", "")
            elif replica.link == "err":
                problem = RedisProblem(
                    "link",
                    str(replica.address),
                    f"{replica.address} has lost the link to its primary and so holds old data; see the logs of both.",
                )
                probe.fail(problem, f"{subject}, as the Sentinel {sentinel} says", "")
            if probe.select(connection, source):
                probe.read(connection, subject, source)
            probe.prove_rights(connection, subject, source)
        return probe.entry(replica.address, "replica", str(primary), replica.run_id, (), False, latency)


def _addresses_of(host: str) -> set[str]:
    """The addresses behind a name, and the name itself."""
    try:
        return {host, *(str(found[4][0]) for found in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM))}
    except OSError:
        # That it cannot be resolved has been reported when it was dialled.
        return {host}
