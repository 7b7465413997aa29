# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection and may change at any time.

"""Do to Redis what a Tyk component would do: dial its seeds, follow the announced addresses, read, write and delete.

Every node is tried, whatever happened to the others, and every failure becomes a sentence. Only PING, CLUSTER SLOTS,
READONLY, GET, SET and DEL are needed; INFO is asked for, and done without when it is refused.
"""

from __future__ import annotations

import binascii
import contextlib
import hashlib
import ipaddress
import itertools
import ssl
import time
import typing as t
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from ansible_collections.apiops.tyk_redis.plugins.module_utils._redis_client import (
    Address,
    Credentials,
    RedisConnection,
    RedisProblem,
    Tls,
)
from ansible_collections.apiops.tyk_redis.plugins.module_utils._tyk_effective import CLUSTER, Effective

SLOTS = 16384
# Long enough for the slowest probe, short enough that a crash leaves nothing behind for long.
EXPIRY_SECONDS = 60
_WORKERS = 16

_Result = t.TypeVar("_Result")
_Item = t.TypeVar("_Item")


@dataclass(frozen=True)
class Member:
    """One node as the cluster announces it."""

    node_id: str
    # What a client dials; None when the cluster announces nothing that can be dialled.
    address: Address | None
    # Every way to write its address, to compare it with what the caller expects.
    names: frozenset[str]
    primary_id: str
    ranges: tuple[tuple[int, int], ...] = ()

    @property
    def is_primary(self) -> bool:
        return self.node_id == self.primary_id


@dataclass(frozen=True)
class Layout:
    """The reply of one server to CLUSTER SLOTS."""

    members: tuple[Member, ...]

    def by_id(self) -> dict[str, Member]:
        return {member.node_id: member for member in self.members}

    @property
    def gaps(self) -> list[tuple[int, int]]:
        served = sorted(slots for member in self.members if member.is_primary for slots in member.ranges)
        gaps, following = [], 0
        for start, end in served:
            if start > following:
                gaps.append((following, start - 1))
            following = max(following, end + 1)
        if following < SLOTS:
            gaps.append((following, SLOTS - 1))
        return gaps

    def roles(self) -> dict[str, tuple[str, tuple[tuple[int, int], ...]]]:
        return {member.node_id: (member.primary_id, member.ranges) for member in self.members}


@dataclass
class ProbeResult:
    problems: list[str] = field(default_factory=list)
    seeds: list[dict[str, t.Any]] = field(default_factory=list)
    reached: list[dict[str, t.Any]] = field(default_factory=list)
    node_ids: list[str] = field(default_factory=list)

    @property
    def cluster_id(self) -> str:
        """The same for all who see the same nodes, whatever their roles and slots are; empty when none was seen."""
        if not self.node_ids:
            return ""
        return hashlib.sha256(" ".join(sorted(self.node_ids)).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class _Failure:
    """A problem, the sentence about it without the full stop, and about whom it is."""

    problem: RedisProblem
    subject: str
    context: str
    consequence: str = ""

    @property
    def is_shared(self) -> bool:
        """Whether this comes from one cause and is the same on many nodes, so that one sentence names all of them."""
        return self.problem.kind in ("password", "acl") or self.problem.detail.startswith("CLUSTERDOWN")

    @property
    def sentence(self) -> str:
        remark = f"{self.subject}; {self.context}" if self.context else self.subject
        return f"{str(self.problem).rstrip('.')} ({remark}){self.consequence}."


class _GoConnection(RedisConnection):
    """A connection that trusts what Go's TLS trusts, neither more nor less."""

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


# --- pure: slots, keys, replies ---


def key_slot(key: str) -> int:
    """The slot of a key: CRC16 (XMODEM) of the key, or of what stands between its first braces."""
    data = key.encode()
    start = data.find(b"{")
    if start >= 0:
        end = data.find(b"}", start + 1)
        if end > start + 1:
            data = data[start + 1 : end]
    return binascii.crc_hqx(data, 0) % SLOTS


def key_in(prefix: str, ranges: t.Sequence[tuple[int, int]]) -> str:
    """A key with this prefix in one of these slots."""
    tags = (str(number) for number in itertools.count())
    tag = next(tag for tag in tags if any(start <= key_slot(tag) <= end for start, end in ranges))
    return f"{prefix}{{{tag}}}"


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _order(member: Member) -> tuple[bool, tuple[tuple[int, int], ...], str, str]:
    """Primaries first, by their slots, then the replicas by address."""
    return not member.is_primary, member.ranges, str(member.address), member.node_id


def parse_slots(reply: t.Sequence[t.Any], asked: Address) -> Layout:
    """Read the reply of CLUSTER SLOTS as go-redis does."""
    found: dict[str, Member] = {}
    ranges: dict[str, list[tuple[int, int]]] = {}
    for entry in reply:
        start, end, *nodes = entry
        primary_id = str(nodes[0][2])
        ranges.setdefault(primary_id, []).append((int(start), int(end)))
        for node in nodes:
            host, port, node_id = node[0], int(node[1]), str(node[2])
            if node_id in found:
                continue
            address = Address(str(host), port) if host else None
            names = {str(address)} if address else set()
            # From Redis 7 on, the forms of the address that are not preferred follow as names and values.
            extra = list(node[3]) if len(node) > 3 else []
            names.update(str(Address(str(value), port)) for value in extra[1::2] if value)
            if address and is_loopback(address.host) and is_literal(asked.host) and not is_loopback(asked.host):
                # Such a server takes the client for a local one; go-redis goes to the host that it has asked.
                address = Address(asked.host, port)
                names.add(str(address))
            found[node_id] = Member(node_id, address, frozenset(names), primary_id)
    members = (
        Member(m.node_id, m.address, m.names, m.primary_id, tuple(sorted(ranges.get(m.node_id, ()))))
        for m in found.values()
    )
    return Layout(tuple(sorted(members, key=_order)))


def show_ranges(ranges: t.Iterable[tuple[int, int]]) -> list[str]:
    return [str(start) if start == end else f"{start}-{end}" for start, end in ranges]


def join(words: t.Iterable[str]) -> str:
    """A, B and C."""
    listed = list(words)
    return listed[0] if len(listed) == 1 else f"{', '.join(listed[:-1])} and {listed[-1]}"


# --- I/O ---


class Probe:
    def __init__(
        self,
        effective: Effective,
        *,
        timeout: float,
        write: bool,
        expect_nodes: t.Sequence[Address] = (),
        key_prefix: str = "tyk-redis-check-",
    ) -> None:
        self.effective = effective
        self.title = effective.component.title
        self.timeout = timeout
        self.write = write
        self.expect_nodes = expect_nodes
        # Unlike any other key, also when several hosts probe at the same time.
        self.key_prefix = f"{key_prefix}{uuid.uuid4().hex}"
        self.credentials = Credentials(effective.username or None, effective.password or None)
        self.user = effective.username if effective.username and effective.password else "default"
        self.tls = self._tls()
        self.result = ProbeResult()
        self._failures: list[_Failure] = []

    def run(self) -> ProbeResult:
        if self.effective.mode == CLUSTER:
            self._run_cluster()
        else:
            self._run_standalone()
        self.result.problems.extend(self._sentences())
        return self.result

    def _tls(self) -> Tls | None:
        effective = self.effective
        if not effective.tls:
            return None

        def text(logical: str) -> str | None:
            return effective.get(logical) or None if logical in effective.values else None

        return Tls(
            ca_file=text("tls_ca"),
            cert_file=text("tls_cert"),
            key_file=text("tls_key"),
            verify=not effective.tls_skip_verify,
            min_version=text("tls_min_version"),
            max_version=text("tls_max_version"),
        )

    def _connect(self, address: Address) -> RedisConnection:
        return _GoConnection(address, credentials=self.credentials, tls=self.tls, timeout=self.timeout)

    def _each(self, work: t.Callable[[_Item], _Result], items: t.Sequence[_Item]) -> list[_Result]:
        if not items:
            return []
        with ThreadPoolExecutor(max_workers=min(_WORKERS, len(items))) as pool:
            return list(pool.map(work, items))

    # --- sentences ---

    def _fail(self, problem: RedisProblem, subject: str, address_from: str, consequence: str = "") -> None:
        self._failures.append(_Failure(problem, subject, self._context(problem, address_from), consequence))

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
        if problem.kind == "tls-untrusted":
            return self._setting_context("tls_ca", "the CA file", "no CA file, so only the system's CAs are trusted")
        if problem.kind == "tls-handshake":
            return self._setting_context("tls", "the TLS switch", "the older TLS switch set")
        if problem.kind == "tls-file":
            return self._setting_context("tls_ca", "the CA file", "no CA file")
        if problem.kind == "not-a-cluster":
            return f"{self.title} takes the cluster switch from {effective.origin('cluster')}"
        return address_from

    def _setting_context(self, logical: str, what: str, otherwise: str) -> str:
        if logical in self.effective.values and self.effective.get(logical):
            return f"{self.title} takes {what} from {self.effective.origin(logical)}"
        return f"{self.title} has {otherwise}"

    def _sentences(self) -> list[str]:
        sentences: list[str] = []
        shared: dict[tuple[str, str], list[_Failure]] = {}
        # Threads report in any order; two runs shall say the same in the same order.
        for failure in sorted(self._failures, key=lambda failure: failure.problem.address):
            if failure.is_shared:
                template = str(failure.problem).replace(failure.problem.address, "\0").rstrip(".")
                shared.setdefault((template, failure.context), []).append(failure)
            elif failure.sentence not in sentences:
                sentences.append(failure.sentence)
        for failures in shared.values():
            addresses = list(dict.fromkeys(failure.problem.address for failure in failures))
            context = failures[0].context
            sentence = str(failures[0].problem).rstrip(".") + (f" ({context})" if context else "")
            others = f"; the same holds for {join(addresses[1:])}" if len(addresses) > 1 else ""
            sentences.append(f"{sentence}{others}.")
        return sentences

    # --- standalone ---

    def _run_standalone(self) -> None:
        address = self.effective.seeds[0]
        origin = f"{self.title} takes the address from {self.effective.addresses_origin}"
        seed: dict[str, t.Any] = {"address": str(address), "answered": False, "error": ""}
        self.result.seeds.append(seed)
        with self._connect(address) as connection:
            try:
                latency = self._ping(connection)
                seed["answered"] = True
            except RedisProblem as exc:
                seed["error"] = str(exc)
                self._fail(exc, "the only address", origin)
                return
            if self._is_cluster_node(connection):
                switch = self.effective.component.settings["cluster"].dotted
                self.result.problems.append(
                    f"{address} runs in cluster mode, but {switch} of {self.title} is not true "
                    f"({self.effective.origin('cluster')}), so most keys would fail with MOVED; set it to true."
                )
                return
            info = self._info(connection, "server")
            run_id = info.get("run_id", "")
            if run_id:
                self.result.node_ids = [run_id]
            wrote = self._select(connection, origin) and self._exercise(
                connection, self.key_prefix, "the only address", origin
            )
            self.result.reached.append(self._entry(address, "primary", "", run_id, (), wrote, latency))

    def _is_cluster_node(self, connection: RedisConnection) -> bool:
        try:
            connection.call("CLUSTER", "SLOTS")
        except RedisProblem:
            # Refused, or not in cluster mode. The component asks for neither, and a MOVED would show in the writing.
            return False
        return True

    def _select(self, connection: RedisConnection, origin: str) -> bool:
        if not self.effective.database:
            return True
        try:
            connection.call("SELECT", self.effective.database)
        except RedisProblem as exc:
            key = self.effective.component.settings["database"].dotted
            self._fail(exc, f"{key} {self.effective.database} from {self.effective.origin('database')}", origin)
            return False
        return True

    # --- cluster ---

    def _run_cluster(self) -> None:
        seeds = self.effective.seeds
        answers = self._each(self._ask_seed, seeds)
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
            self._fail(
                problem,
                "a seed address, which the cluster does not announce" if lost else "a seed address",
                f"{self.title} takes the address from {self.effective.addresses_origin}",
                f", and {self.title} never gets connected" if problem.kind == "not-a-cluster" else "",
            )
        self._expect(announced, {str(seed) for seed, _answer in silent}, bool(layouts))

    def _ask_seed(self, seed: Address) -> Layout | RedisProblem:
        try:
            with self._connect(seed) as connection:
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
                    "cannot use it; set cluster-announce-ip or another cluster-preferred-endpoint-type there."
                )
        source = f"the cluster announces this address, as {asked} says"
        members = [member for member in layout.members if member.address is not None]
        by_id = layout.by_id()
        outcomes = self._each(lambda member: self._try_member(member, by_id, source), members)
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
        key = key_in(self.key_prefix, primary.ranges)
        with self._connect(address) as connection:
            try:
                latency = self._ping(connection)
            except RedisProblem as exc:
                self._fail(exc, subject, source)
                return None
            wrote = False
            if member.is_primary:
                wrote = self._exercise(connection, key, subject, source)
            else:
                self._read_replica(connection, key, subject, source)
                self._judge_link(connection, subject)
        role = "primary" if member.is_primary else "replica"
        ranges = member.ranges
        return self._entry(address, role, primary_address, member.node_id, ranges, wrote, latency)

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

    def _expect(self, announced: set[str], reported: set[str], any_layout: bool) -> None:
        """Nodes that the caller knows of: a replica that has failed is no longer announced, and only shows here."""
        missing = [node for node in self.expect_nodes if str(node) not in announced | reported]
        for node, problem in zip(missing, self._each(self._dial, missing)):
            if problem is not None:
                subject = "an expected node, which the cluster does not announce" if any_layout else "an expected node"
                self._fail(problem, subject, "")
            elif any_layout:
                self.result.problems.append(
                    f"The expected node {node} answers, but the cluster does not announce it as a primary or replica; "
                    "join it to the cluster, or correct the list of expected nodes."
                )

    def _dial(self, address: Address) -> RedisProblem | None:
        try:
            with self._connect(address) as connection:
                connection.call("PING")
        except RedisProblem as exc:
            return exc
        return None

    # --- one node ---

    def _ping(self, connection: RedisConnection) -> float:
        connection.call("PING")
        # The second one, so that neither the handshake nor the login is counted.
        started = time.monotonic()
        connection.call("PING")
        return (time.monotonic() - started) * 1000

    def _exercise(self, connection: RedisConnection, key: str, subject: str, source: str) -> bool:
        """Write, read back and delete; in check mode only read. Says whether all of it was done."""
        if not self.write:
            self._attempt(connection, subject, source, "GET", key)
            return False
        value = uuid.uuid4().hex
        problems = []
        try:
            problems.append(self._attempt(connection, subject, source, "SET", key, value, "EX", EXPIRY_SECONDS)[0])
            # A user who may not write can still be told whether it may read; after any other failure that is noise.
            if problems[0] is None or problems[0].kind == "acl":
                problem, answer = self._attempt(connection, subject, source, "GET", key)
                problems.append(problem)
                if not any(problems) and answer != value:
                    problems.append(self._altered(connection, subject, source))
        finally:
            if problems and problems[0] is not None and problems[0].kind != "acl":
                # The key may be there all the same, when only the reply was lost.
                self._forget(connection, key)
            else:
                problems.append(self._attempt(connection, subject, source, "DEL", key)[0])
        return not any(problems)

    def _altered(self, connection: RedisConnection, subject: str, source: str) -> RedisProblem:
        address = str(connection.address)
        problem = RedisProblem(
            "data",
            address,
            f"{address} gave back another value than was written to it; see whether something evicts or deletes keys.",
        )
        self._fail(problem, subject, source)
        return problem

    @staticmethod
    def _forget(connection: RedisConnection, key: str) -> None:
        # Failing here adds nothing to what has been reported, and the key expires by itself.
        with contextlib.suppress(RedisProblem):
            connection.call("DEL", key)

    def _read_replica(self, connection: RedisConnection, key: str, subject: str, source: str) -> None:
        if self._attempt(connection, subject, source, "READONLY")[0] is None:
            self._attempt(connection, subject, source, "GET", key)

    def _judge_link(self, connection: RedisConnection, subject: str) -> None:
        if self._info(connection, "replication").get("master_link_status") == "down":
            address = str(connection.address)
            sentence = f"{address} has lost the link to its primary and so holds old data; see the logs of both."
            self._fail(RedisProblem("link", address, sentence), subject, "")

    def _attempt(
        self, connection: RedisConnection, subject: str, source: str, *words: str | int
    ) -> tuple[RedisProblem | None, t.Any]:
        try:
            return None, connection.call(*words)
        except RedisProblem as exc:
            self._fail(exc, subject, source)
            return exc, None

    @staticmethod
    def _info(connection: RedisConnection, section: str) -> dict[str, str]:
        try:
            text = str(connection.call("INFO", section))
        except RedisProblem:
            # Most users of Tyk have no INFO, and nothing here depends on it.
            return {}
        return {name: value for name, _colon, value in (line.partition(":") for line in text.splitlines())}

    def _entry(
        self,
        address: Address,
        role: str,
        primary: str,
        node_id: str,
        ranges: t.Iterable[tuple[int, int]],
        wrote: bool,
        latency: float,
    ) -> dict[str, t.Any]:
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
