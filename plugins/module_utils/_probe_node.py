# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection and may change at any time.

"""Talk to one node as a Tyk component would: log in, read, write, and find out what its user may do.

Whatever fails is kept as a failure with the place where the value comes from that is to blame. Only commands that the
component's own user has to have are needed (see the table _tyk_acl); INFO and ROLE are asked for, and done without when
they are refused.
"""

from __future__ import annotations

import contextlib
import ssl
import time
import typing as t
import uuid
from concurrent.futures import ThreadPoolExecutor

from ansible_collections.apiops.tyk_redis.plugins.module_utils import _redis_rights as rights_of
from ansible_collections.apiops.tyk_redis.plugins.module_utils._probe_report import (
    Failure,
    ProbeResult,
    join,
    sentences_of,
)
from ansible_collections.apiops.tyk_redis.plugins.module_utils._redis_client import (
    Address,
    Credentials,
    RedisConnection,
    RedisProblem,
    Tls,
)
from ansible_collections.apiops.tyk_redis.plugins.module_utils._redis_slots import SLOTS, key_in, show_ranges
from ansible_collections.apiops.tyk_redis.plugins.module_utils._tyk_acl import RIGHTS
from ansible_collections.apiops.tyk_redis.plugins.module_utils._tyk_effective import CLUSTER, Effective

# Long enough for the slowest probe, short enough that a crash leaves nothing behind for long.
EXPIRY_SECONDS = 60
ALL_SLOTS = ((0, SLOTS - 1),)
_WORKERS = 16

Ranges = t.Sequence[tuple[int, int]]
_Result = t.TypeVar("_Result")
_Item = t.TypeVar("_Item")


class GoConnection(RedisConnection):
    """A connection that trusts what Go's TLS trusts, neither more nor less."""

    def __enter__(self) -> GoConnection:
        return self

    @property
    def is_open(self) -> bool:
        return self._wire is not None

    def go_on(self, commands: t.Sequence[t.Sequence[str | int]]) -> list[t.Any]:
        """As pipeline(), but never on another connection than the present one.

        Raises:
            RedisProblem: the connection has broken; nothing was sent.
        """
        if not self.is_open:
            raise RedisProblem("reset", str(self.address), f"{self.address} closed the connection in mid-talk.")
        return self.pipeline(commands)

    def _tls_context(self) -> ssl.SSLContext | None:
        tls = self._tls
        if tls is None:
            return None
        # Not create_default_context: with a CA file Tyk trusts that file alone, and Go knows no VERIFY_X509_STRICT.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        # Go ignores the common name, and takes any certificate of the CA file as an anchor.
        context.hostname_checks_common_name = False
        context.verify_flags |= getattr(ssl, "VERIFY_X509_PARTIAL_CHAIN", 0x80000)
        context.minimum_version = _TLS_VERSIONS[tls.min_version or "1.2"]
        context.maximum_version = _TLS_VERSIONS[tls.max_version or "1.3"]
        if not tls.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        try:
            if tls.ca_file:
                context.load_verify_locations(tls.ca_file)
            else:
                context.load_default_certs()
        except OSError as exc:
            raise self._unusable(f"The CA file {tls.ca_file}", exc) from exc
        try:
            if tls.cert_file and tls.key_file:
                context.load_cert_chain(tls.cert_file, tls.key_file)
        except OSError as exc:
            raise self._unusable(f"The client certificate {tls.cert_file} with the key {tls.key_file}", exc) from exc
        return context

    def _unusable(self, what: str, exc: OSError) -> RedisProblem:
        reason = (exc.strerror or str(exc)).strip().rstrip(".")
        return RedisProblem(
            "tls-file",
            str(self.address),
            f"{what} for {self.address} cannot be used ({reason}); give readable PEM files on this host.",
        )


_TLS_VERSIONS = {
    "1.0": ssl.TLSVersion.TLSv1,
    "1.1": ssl.TLSVersion.TLSv1_1,
    "1.2": ssl.TLSVersion.TLSv1_2,
    "1.3": ssl.TLSVersion.TLSv1_3,
}


class NodeProbe:
    """Talks to single nodes, several at a time, and keeps what it finds.

    Args:
        effective: what the component uses.
        timeout: seconds that a server may take for a connection or a reply.
        write: whether probe keys are written; otherwise they are only read.
        expect_nodes: data nodes that have to be found.
        key_prefix: what the names of the probe keys begin with. The default is what the component's user may write.
        least_privilege: whether rights that the component does not need are problems; otherwise they are remarks.
    """

    def __init__(
        self,
        effective: Effective,
        *,
        timeout: float,
        write: bool,
        expect_nodes: t.Sequence[Address] = (),
        key_prefix: str | None = None,
        least_privilege: bool = False,
    ) -> None:
        self.effective = effective
        self.title = effective.component.title
        self.timeout = timeout
        self.write = write
        self.expect_nodes = expect_nodes
        self.rights = RIGHTS[effective.component.name]
        self.least_privilege = least_privilege
        # Unlike any other key, also when several hosts probe at the same time.
        unique = uuid.uuid4().hex
        self.key_prefix = f"{self.rights.probe_prefix if key_prefix is None else key_prefix}{unique}"
        # Apart from the keys that are written, because a value of another type is no answer to a read.
        self.read_prefix = f"{self.key_prefix}-read"
        self._rights_prefix = f"{self.rights.probe_prefix}{unique}-rights"
        # Nothing that begins as the probe keys do, whose prefix may be all that a user is allowed.
        self._stray_key = f"{unique}-tyk-redis-check"
        self.commands = rights_of.needed_commands(
            self.rights, cluster=effective.mode == CLUSTER, database=self.database
        )
        self.credentials = Credentials(effective.username or None, effective.password or None)
        self.user = effective.username if effective.username and effective.password else "default"
        self.tls = self._tls()
        self.result = ProbeResult()
        self._failures: list[Failure] = []
        self._node_rights: list[rights_of.NodeRights] = []
        self._not_read: list[str] = []

    @property
    def database(self) -> int:
        """The number of the database that the component selects; a cluster client selects none."""
        return 0 if self.effective.mode == CLUSTER else self.effective.database

    def _tls(self) -> Tls | None:
        if not self.effective.tls:
            return None
        return Tls(
            ca_file=self.text("tls_ca") or None,
            cert_file=self.text("tls_cert") or None,
            key_file=self.text("tls_key") or None,
            verify=not self.effective.tls_skip_verify,
            min_version=self.text("tls_min_version") or None,
            max_version=self.text("tls_max_version") or None,
        )

    def text(self, logical: str) -> str:
        """The value of a setting; empty when nobody has set it."""
        return str(self.effective.get(logical)) if logical in self.effective.values else ""

    def connect(self, address: Address, credentials: Credentials | None = None) -> GoConnection:
        """A connection with the credentials for data nodes, unless others are given."""
        return GoConnection(address, credentials=credentials or self.credentials, tls=self.tls, timeout=self.timeout)

    def each(self, work: t.Callable[[_Item], _Result], items: t.Sequence[_Item]) -> list[_Result]:
        """The results in the order of the items."""
        if not items:
            return []
        with ThreadPoolExecutor(max_workers=min(_WORKERS, len(items))) as pool:
            return list(pool.map(work, items))

    # --- what was found ---

    def fail(
        self, problem: RedisProblem, subject: str, address_from: str, consequence: str = "", word: str = ""
    ) -> None:
        """Keep a failure to talk to a data node; what is to blame is told by the kind of the problem."""
        self.keep(Failure(problem, subject, self._context(problem, address_from), consequence, word))

    def keep(self, failure: Failure) -> None:
        self._failures.append(failure)

    def finish(self) -> ProbeResult:
        """Turn all that was kept into sentences."""
        speaker = rights_of.Speaker(
            self.user,
            self.title,
            self.effective.origin("username") if self.effective.username else "",
            self.rights,
        )
        # What one sentence says about the rights on all nodes need not be said for each of them.
        told = {
            (node.address, word)
            for node in self._node_rights
            for word, answer in node.needed.items()
            if answer in (rights_of.NO_COMMAND, rights_of.NO_KEY)
        }
        failures = [failure for failure in self._failures if (failure.problem.address, failure.word) not in told]
        self.result.problems.extend(sentences_of(failures))
        self.result.problems.extend(speaker.missing(self._node_rights))
        excess = self.result.problems if self.least_privilege else self.result.remarks
        excess.extend(speaker.excess(self._node_rights))
        self.result.rights = rights_of.summary(self._node_rights)
        if self._not_read:
            self.result.remarks.append(
                f"The user {self.user!r} may not run READONLY on {join(sorted(self._not_read))}, so that a "
                "read there was only redirected to the right primary; to have replicas read by this check, allow it."
            )
        return self.result

    def _context(self, problem: RedisProblem, address_from: str) -> str:
        """Where the value comes from that the operator has to look at for this kind of problem."""
        effective = self.effective
        if problem.kind == "password":
            if not effective.password:
                return f"{self.title} has no password in its file or environment"
            user = f"the user from {effective.origin('username')} and " if effective.username else ""
            return f"{self.title} takes {user}the password from {effective.origin('password')}"
        if problem.kind == "acl":
            origin = effective.origin("username")
            return f"{self.title} takes the user from {origin}" if effective.username else ""
        if problem.kind == "not-a-cluster":
            return f"{self.title} takes the cluster switch from {effective.origin('cluster')}"
        return self.tls_context(problem) or address_from

    def tls_context(self, problem: RedisProblem) -> str:
        """The same for problems of TLS, whose settings hold for Sentinels too; empty for other problems."""
        if problem.kind == "tls-untrusted":
            return self._setting_context("tls_ca", "the CA file", "no CA file, so only the system's CAs are trusted")
        if problem.kind == "tls-handshake":
            return self._setting_context("tls", "the TLS switch", "the older TLS switch set")
        if problem.kind == "tls-file":
            return self._setting_context("tls_ca", "the CA file", "no CA file")
        return ""

    def _setting_context(self, logical: str, what: str, otherwise: str) -> str:
        if logical in self.effective.values and self.effective.get(logical):
            return f"{self.title} takes {what} from {self.effective.origin(logical)}"
        return f"{self.title} has {otherwise}"

    # --- nodes that the caller knows of ---

    def expect(self, found: t.Collection[str], announcer: str, remedy: str) -> None:
        """Look for the expected nodes: a replica that has failed may no longer be announced, and only shows here.

        Args:
            found: the addresses that are announced, or have been reported for other reasons.
            announcer: who announces nodes, with the beginning of a verb ("the cluster does"); empty when nobody did.
            remedy: what to do with a node that works and is not announced.
        """
        missing = [node for node in self.expect_nodes if str(node) not in found]
        for node, problem in zip(missing, self.each(self._dial, missing)):
            if problem is not None:
                which = f"an expected node, which {announcer} not announce" if announcer else "an expected node"
                self.fail(problem, which, "")
            elif announcer:
                self.result.problems.append(
                    f"The expected node {node} answers, but {announcer} not announce it as a primary or replica; "
                    f"{remedy}, or correct the list of expected nodes."
                )

    def _dial(self, address: Address) -> RedisProblem | None:
        try:
            with self.connect(address) as connection:
                connection.call("PING")
        except RedisProblem as exc:
            return exc
        return None

    # --- one node ---

    @staticmethod
    def ping(connection: RedisConnection) -> float:
        """How many milliseconds one command takes."""
        connection.call("PING")
        # The second one, so that neither the handshake nor the login is counted.
        started = time.monotonic()
        connection.call("PING")
        return (time.monotonic() - started) * 1000

    def select(self, connection: RedisConnection, source: str) -> bool:
        """Go to the component's database. Says whether it is there."""
        if not self.database:
            return True
        key = self.effective.component.settings["database"].dotted
        subject = f"{key} {self.database} from {self.effective.origin('database')}"
        return self._attempt(connection, subject, source, "SELECT", self.database)[0] is None

    def exercise(self, connection: RedisConnection, subject: str, source: str, ranges: Ranges = ALL_SLOTS) -> bool:
        """Write, see that it is there, and delete; in check mode only read. Says whether all of it was done.

        A component that may not GET is told by the reply to EXPIRE that the key is there.
        """
        key = key_in(self.key_prefix, ranges)
        if not self.write:
            self._attempt(connection, subject, source, *self._reading(key))
            return False
        value = uuid.uuid4().hex
        with_get = rights_of.reads_values(self.rights)
        confirm: tuple[str | int, ...] = ("GET", key) if with_get else ("EXPIRE", key, EXPIRY_SECONDS)
        problems = []
        try:
            problems.append(self._attempt(connection, subject, source, "SET", key, value, "EX", EXPIRY_SECONDS)[0])
            # A user who may not write can still be told whether it may read; after any other failure that is noise.
            if problems[0] is None or problems[0].kind == "acl":
                problem, answer = self._attempt(connection, subject, source, *confirm)
                problems.append(problem)
                if not any(problems) and answer != (value if with_get else 1):
                    problems.append(self._altered(connection, subject, source))
        finally:
            if problems and problems[0] is not None and problems[0].kind != "acl":
                # The key may be there all the same, when only the reply was lost.
                self._forget(connection, key)
            else:
                problem, deleted = self._attempt(connection, subject, source, "DEL", key)
                problems.append(problem)
                if not any(problems) and deleted != 1:
                    problems.append(self._altered(connection, subject, source))
        return not any(problems)

    def _reading(self, key: str) -> tuple[str | int, ...]:
        return ("GET", key) if rights_of.reads_values(self.rights) else ("LRANGE", key, 0, 0)

    def _altered(self, connection: RedisConnection, subject: str, source: str) -> RedisProblem:
        address = str(connection.address)
        problem = RedisProblem(
            "data",
            address,
            f"{address} gave back another value than was written to it; see whether something evicts or deletes keys.",
        )
        self.fail(problem, subject, source)
        return problem

    @staticmethod
    def _forget(connection: RedisConnection, key: str) -> None:
        # Failing here adds nothing to what has been reported, and the key expires by itself.
        with contextlib.suppress(RedisProblem):
            connection.call("DEL", key)

    def read(self, connection: RedisConnection, subject: str, source: str) -> None:
        """Read a key that nobody has."""
        self._attempt(connection, subject, source, *self._reading(key_in(self.read_prefix, ALL_SLOTS)))

    def read_cluster_replica(
        self, connection: RedisConnection, subject: str, source: str, ranges: Ranges, primary_names: t.Collection[str]
    ) -> None:
        """Read a key of the replica's slots; where the user may not READONLY, be sent to the primary."""
        try:
            connection.call("READONLY")
        except RedisProblem as exc:
            if exc.kind != "acl":
                self.fail(exc, subject, source)
                return
        else:
            self._attempt(connection, subject, source, *self._reading(key_in(self.read_prefix, ranges)))
            return
        try:
            connection.call(*self._reading(key_in(self.read_prefix, ranges)))
        except RedisProblem as exc:
            words = exc.detail.split()
            if words[:1] != ["MOVED"] or words[-1] not in primary_names:
                self._refuse(exc, subject, source, *self._reading(self.read_prefix))
                return
        self._not_read.append(str(connection.address))

    def judge_link(self, connection: RedisConnection, subject: str) -> None:
        """Whether a replica still gets what is written, where the user may ask."""
        if self.info(connection, "replication").get("master_link_status") == "down":
            address = str(connection.address)
            sentence = f"{address} has lost the link to its primary and so holds old data; see the logs of both."
            self.fail(RedisProblem("link", address, sentence), subject, "")

    def _attempt(
        self, connection: RedisConnection, subject: str, source: str, *words: str | int
    ) -> tuple[RedisProblem | None, t.Any]:
        try:
            return None, connection.call(*words)
        except RedisProblem as exc:
            return self._refuse(exc, subject, source, *words), None

    def _refuse(self, problem: RedisProblem, subject: str, source: str, *words: str | int) -> RedisProblem:
        """Keep the failure of a command, with what the user lacks if that is why."""
        word = ""
        if problem.kind == "acl":
            word = str(words[0]).lower()
            if rights_of.judge(problem.detail) == rights_of.NO_KEY:
                covering = [item for item in self.rights.keys if rights_of.covers([item], self.key_prefix)]
                word = f"~{covering[0]}" if covering else ""
        elif problem.detail.startswith("READONLY"):
            address = problem.address
            problem = RedisProblem(
                "read-only",
                address,
                f"{address} is a read-only replica, so that nothing can be written there; give the address of the "
                "primary, or see why this one has lost that role.",
                problem.detail,
            )
        self.fail(problem, subject, source, word=word)
        return problem

    @staticmethod
    def info(connection: RedisConnection, section: str) -> dict[str, str]:
        """The fields of INFO; none where the user may not ask."""
        try:
            text = str(connection.call("INFO", section))
        except RedisProblem:
            # Most users of Tyk have no INFO, and nothing here depends on it.
            return {}
        return {name: value for name, _colon, value in (line.partition(":") for line in text.splitlines())}

    def prove_rights(self, connection: GoConnection, subject: str, source: str, ranges: Ranges = ALL_SLOTS) -> None:
        """Find out what the user may do on this node, in two round trips that change nothing, and one per channel."""
        if not connection.is_open:
            # Broken while the node was tried, which has been reported.
            return
        node = rights_of.NodeRights(str(connection.address))
        key = key_in(self._rights_prefix, ranges)
        before = rights_of.questions_before_multi(self.commands)
        needed = rights_of.questions_inside_multi(self.rights, self.commands, key, self._stray_key, self.database)
        forbidden = rights_of.forbidden_questions(self.rights, self._stray_key)
        channels = rights_of.questions_about_channels(self.rights, self.commands)
        try:
            *answers, multi = connection.go_on([*(question.words for question in before), ("MULTI",)])
            for question, answer in zip(before, answers):
                node.take(question, _error_of(answer))
            if "multi" in self.commands:
                node.take(rights_of.Question("multi", ("MULTI",)), _error_of(multi))
            if multi != "OK":
                node.give_up(_error_of(multi) or f"the answer was {multi!r}", needed, forbidden)
            else:
                self._ask_inside_multi(connection, node, needed, forbidden)
            for questions in channels:
                with self.connect(connection.address) as listener:
                    for question, answer in zip(questions, listener.pipeline([item.words for item in questions])):
                        node.take(question, _error_of(answer))
        except RedisProblem as exc:
            self.fail(exc, subject, source)
            return
        self._node_rights.append(node)

    @staticmethod
    def _ask_inside_multi(
        connection: GoConnection,
        node: rights_of.NodeRights,
        needed: t.Sequence[rights_of.Question],
        forbidden: t.Sequence[rights_of.Question],
    ) -> None:
        questions = [*needed, *forbidden]
        try:
            answers = connection.go_on([*(question.words for question in questions), ("DISCARD",)])
            if not connection.is_open:
                raise next(answer for answer in answers if isinstance(answer, RedisProblem))
        finally:
            # Also forgets what was queued, where DISCARD is refused.
            connection.close()
        for question, answer in zip(needed, answers):
            node.take(question, _error_of(answer))
        for question, answer in zip(forbidden, answers[len(needed) :]):
            node.take_forbidden(question, _error_of(answer))

    def entry(
        self,
        address: Address,
        role: str,
        primary: str,
        node_id: str,
        ranges: t.Iterable[tuple[int, int]],
        wrote: bool,
        latency: float,
    ) -> dict[str, t.Any]:
        """One item of ProbeResult.reached."""
        return {
            "address": str(address),
            "role": role,
            "primary": primary,
            "id": node_id,
            "slots": show_ranges(ranges),
            "wrote": wrote,
            "user": self.user,
            "tls": self.tls is not None,
            "latency_ms": round(latency, 3),
        }


def _error_of(answer: t.Any) -> str:
    """The text of an error reply; empty for any other reply."""
    return (answer.detail or str(answer)) if isinstance(answer, RedisProblem) else ""
