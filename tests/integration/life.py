# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of a cluster's life share: data and clients of it, its judges, and modules that can be killed."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from difflib import ndiff
from pathlib import Path
from typing import Any, Protocol

import redis
from redis.cluster import ClusterNode, RedisCluster
from redis.crc import key_slot
from servers import DISTRIBUTION, Server, Servers

SLOTS = 16384


class RunModule(Protocol):
    """The fixture run_module: runs a module of this collection by its short name and returns its result."""

    def __call__(self, name: str, *, check: bool = False, diff: bool = False, **options: Any) -> dict[str, Any]: ...


_WRITERS_PREFIX = b"writer:"


def start(servers: Servers, count: int = 6, version: str = DISTRIBUTION, **options: Any) -> list[Server]:
    return [servers.start_server(version, **options) for _number in range(count)]


def wait_until(condition: Callable[[], bool], seconds: float = 30, what: str = "It") -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come true in time"
        time.sleep(0.1)


# --- what the servers say --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Line:
    """One line of CLUSTER NODES."""

    node_id: str
    port: int
    flags: frozenset[str]
    primary_id: str
    epoch: int
    link: str
    slots: frozenset[int]
    open_slots: tuple[str, ...]

    @property
    def is_primary(self) -> bool:
        return "master" in self.flags


def lines_of(server: Server) -> list[Line]:
    return [_line(text.split()) for text in str(server.call("CLUSTER", "NODES")).splitlines()]


def _line(words: Sequence[str]) -> Line:
    port = words[1].split("@")[0].rpartition(":")[2]
    slots: set[int] = set()
    for word in words[8:]:
        if not word.startswith("["):
            first, _dash, last = word.partition("-")
            slots.update(range(int(first), int(last or first) + 1))
    return Line(
        node_id=words[0],
        port=int(port),
        flags=frozenset(words[2].split(",")),
        primary_id=words[3].strip("-"),
        epoch=int(words[6]),
        link=words[7],
        slots=frozenset(slots),
        open_slots=tuple(word for word in words[8:] if word.startswith("[")),
    )


def me(server: Server) -> Line:
    return next(line for line in lines_of(server) if "myself" in line.flags)


def answers(server: Server) -> bool:
    return server.process.poll() is None


def primaries(cluster: Iterable[Server]) -> list[Server]:
    """Those that own slots."""
    return [server for server in cluster if answers(server) and me(server).is_primary and me(server).slots]


def owner_of(cluster: Iterable[Server], slot: int) -> Server:
    (owner,) = (server for server in primaries(cluster) if slot in me(server).slots)
    return owner


def replicas_of(cluster: Iterable[Server], primary: Server) -> list[Server]:
    node_id = me(primary).node_id
    return [server for server in cluster if answers(server) and me(server).primary_id == node_id]


def told(cluster: Sequence[Server]) -> list[str]:
    """What the servers know, without what passes: to compare before and after."""
    facts = []
    for server in cluster:
        nodes = str(server.call("CLUSTER", "NODES"))
        # Neither the times of pings, nor whether a link to a dead node is just being tried.
        lines = sorted(" ".join([*words[:4], words[6], *words[8:]]) for words in map(str.split, nodes.splitlines()))
        facts.append("\n".join([*lines, str(server.call("CONFIG", "GET", "cluster-node-timeout"))]))
    return facts


def _different(before: Sequence[str], after: Sequence[str]) -> list[str]:
    """The lines of what is told in which two times differ, each marked with its side."""
    lines = [
        line for one, other in zip(before, after, strict=True) for line in ndiff(one.splitlines(), other.splitlines())
    ]
    return [line for line in lines if line[:1] in "+-"]


def told_at_rest(cluster: Sequence[Server]) -> list[str]:
    """The same, once the gossip after a failover has died down: each node hears from each other one every second."""
    before = told(cluster)
    while True:
        time.sleep(2)
        after = told(cluster)
        if after == before:
            return after
        before = after


def judge(server: Server) -> None:
    """The servers' own tool has nothing to complain about."""
    words = ["/usr/bin/redis-cli", "--cluster", "check", str(server.address)]
    environment = {**os.environ, "REDISCLI_AUTH": server.credentials.password or ""}
    if not server.credentials.password:
        del environment["REDISCLI_AUTH"]
    if server.credentials.username:
        words[1:1] = ["--user", server.credentials.username]
    if server.tls:
        words[1:1] = ["--tls", "--cacert", str(server.tls.ca_file)]
    result = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=30, check=False)
    assert result.returncode == 0, result.stdout
    assert "[OK] All nodes agree about slots configuration." in result.stdout
    assert "[OK] All 16384 slots covered." in result.stdout
    assert "[WARNING]" not in result.stdout, result.stdout


# --- data ------------------------------------------------------------------------------------------------------------


def client_of(cluster: Sequence[Server], **options: Any) -> RedisCluster:
    known = [ClusterNode(server.address.host, server.address.port) for server in cluster if answers(server)]
    credentials = cluster[0].credentials
    return RedisCluster(startup_nodes=known, username=credentials.username, password=credentials.password, **options)


def fill(cluster: Sequence[Server], strings: int = 1500, seed: int = 1) -> None:
    """Keys of every type, with names and values of any bytes, hash tags, ends of life, and some that are large."""
    chance = random.Random(seed)
    client = client_of(cluster)
    with client.pipeline() as pipe:
        for number in range(strings):
            pipe.set(b"string:%d" % number, chance.randbytes(chance.randrange(1, 60)))
        for number in range(60):
            name = chance.randbytes(12) + b"\r\n\x00%d" % number
            pipe.set(name, chance.randbytes(30))
            pipe.hset(b"hash:%d" % number, mapping={b"f%d" % n: chance.randbytes(9) for n in range(number + 1)})
            pipe.rpush(b"list:%d" % number, *(chance.randbytes(9) for _n in range(number + 1)))
            pipe.sadd(b"set:%d" % number, *(chance.randbytes(9) for _n in range(number + 1)))
            pipe.zadd(b"zset:%d" % number, {chance.randbytes(9): chance.random() for _n in range(number + 1)})
            pipe.set(b"hour:%d" % number, b"passes", ex=3600)
            pipe.set(b"day:%d" % number, b"passes", ex=86400)
            pipe.set(b"{same slot}:%d" % number, b"x" * number)
            pipe.set(b"{tag %d}:a" % (number % 9), b"1", ex=7200 if number % 2 else None)
        pipe.execute()
    for number in range(3):
        for entry in range(20):
            client.xadd(b"stream:%d" % number, {b"n": b"%d" % entry}, id=f"{entry + 1}-1")
        client.xgroup_create(b"stream:%d" % number, b"readers", id="5-1")
        client.setbit(b"bits:%d" % number, 100000, 1)
        client.pfadd(b"unique:%d" % number, *range(500))
    # One value of a megabyte, and one of twenty thousand parts.
    client.set(b"large string", chance.randbytes(1 << 20))
    client.hset(b"large hash", mapping={b"field %d" % n: b"%d" % n for n in range(20000)})
    client.close()


@dataclass(frozen=True)
class Kept:
    """A key as a node keeps it. The end of its life is a Unix time in seconds; 0 for none."""

    kind: bytes
    value: object
    expires: float

    def same(self, other: Kept) -> bool:
        ends = (self.expires == 0) == (other.expires == 0) and abs(self.expires - other.expires) < 600
        return (self.kind, self.value) == (other.kind, other.value) and ends


_READ: Mapping[bytes, Callable[[redis.Redis, bytes], object]] = {
    b"string": lambda client, key: client.get(key),
    b"list": lambda client, key: client.lrange(key, 0, -1),
    b"set": lambda client, key: client.smembers(key),
    b"hash": lambda client, key: client.hgetall(key),
    b"zset": lambda client, key: client.zrange(key, 0, -1, withscores=True),
    b"stream": lambda client, key: (client.xrange(key), client.xinfo_groups(key)),
}


def plain_client(server: Server) -> redis.Redis:
    return redis.Redis(
        host=server.address.host,
        port=server.address.port,
        username=server.credentials.username,
        password=server.credentials.password,
        protocol=2,
    )


def keys_on(server: Server) -> set[bytes]:
    with plain_client(server) as client:
        return set(client.scan_iter(count=1000))


def dump(cluster: Sequence[Server]) -> dict[bytes, Kept]:
    """Every key of the cluster but those of the writers, each found where it belongs and nowhere else.

    The values are read, not DUMPed: how a server orders the bytes of a set or a hash differs from server to server.
    """
    kept: dict[bytes, Kept] = {}
    for server in cluster:
        line = me(server)
        keys = keys_on(server)
        if line.is_primary:
            strange = {key for key in keys if key_slot(key) not in line.slots}
            assert not strange, f"{server.address} holds keys of slots that it does not own: {sorted(strange)[:9]}"
            with plain_client(server) as client:
                for key in keys:
                    if not key.startswith(_WRITERS_PREFIX):
                        assert key not in kept
                        kept[key] = _keep(client, key)
    return kept


def _keep(client: redis.Redis, key: bytes) -> Kept:
    kind = client.type(key)
    left = client.pttl(key)
    return Kept(kind, _READ[kind](client, key), 0 if left < 0 else time.time() + left / 1000)


def assert_same(before: Mapping[bytes, Kept], after: Mapping[bytes, Kept]) -> None:
    lost = before.keys() - after.keys()
    assert not lost, f"{len(lost)} keys are lost, such as {sorted(lost)[:9]}"
    more = after.keys() - before.keys()
    assert not more, f"{len(more)} keys have appeared, such as {sorted(more)[:9]}"
    different = [key for key, kept in before.items() if not kept.same(after[key])]
    assert not different, f"{len(different)} keys have changed, such as {sorted(different)[:9]}"


def assert_copies(cluster: Sequence[Server]) -> None:
    """Every replica holds the keys of its primary."""
    by_id = {me(server).node_id: server for server in cluster}
    for server in cluster:
        line = me(server)
        if not line.is_primary:
            _assert_copy(server, by_id[line.primary_id])


def _assert_copy(replica: Server, primary: Server) -> None:
    wait_until(lambda: keys_on(replica) == keys_on(primary), what=f"That {replica.address} holds a copy")


# --- clients ---------------------------------------------------------------------------------------------------------


@dataclass
class Gap:
    """The longest time that a writer went without an acknowledgement while an operation went on."""

    operation: str
    version: str
    writes: int
    errors: Mapping[str, int]
    seconds: float


# Taken away by the test run after each test.
GAPS: list[Gap] = []


class Writers:
    """Clients that write everywhere and remember what was acknowledged; a context manager.

    Each counts on keys of its own, reads every acknowledged write back, and never counts backwards: a write that was
    acknowledged and is gone shows at once, or in lost().
    """

    def __init__(self, cluster: Sequence[Server], operation: str, count: int = 4, keys: int = 150) -> None:
        self._cluster = list(cluster)
        self._operation = operation
        self._count = count
        self._keys = keys
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._acknowledged: dict[bytes, int] = {}
        self._lost: list[str] = []
        self._writes = [0] * count
        self._gaps = [0.0] * count
        self._end = [0.0] * count
        self.errors: list[str] = []

    def __enter__(self) -> Writers:
        for number in range(self._count):
            thread = threading.Thread(target=self._write_on, args=(number,), daemon=True)
            thread.start()
            self._threads.append(thread)
        try:
            wait_until(lambda: all(self._writes), what="That every writer writes")
        except AssertionError as exc:
            self._stop.set()
            raise AssertionError(f"{exc}: {self.errors[:3]}") from exc
        return self

    def __exit__(self, kind: object, *_exc_info: object) -> None:
        # As long again as it takes to see that all of them still write.
        seen = list(self._writes)
        try:
            if kind is None:
                wait_until(
                    lambda: all(now > then for now, then in zip(self._writes, seen)), what="That every writer writes"
                )
        finally:
            self._stop.set()
            for thread in self._threads:
                thread.join(timeout=60)
        GAPS.append(
            Gap(
                self._operation,
                self._cluster[0].version,
                sum(self._writes),
                dict(Counter(error.partition(":")[0] for error in self.errors)),
                max(self._gaps),
            )
        )

    def lost(self) -> list[str]:
        """What was acknowledged and is not there; empty is right."""
        lost = list(self._lost)
        with client_of(self._cluster) as client:
            for key, value in self._acknowledged.items():
                found = int(client.get(key) or 0)
                if found < value:
                    lost.append(f"{key!r} was acknowledged as {value} and is {found}")
        return lost

    def _write_on(self, number: int) -> None:
        chance = random.Random(number)
        client: RedisCluster | None = None
        last = time.monotonic()
        while not self._stop.is_set():
            key = b"%s%d:%d" % (_WRITERS_PREFIX, number, chance.randrange(self._keys))
            try:
                if client is None:
                    client = client_of(self._cluster, socket_timeout=5)
                self._write(client, key)
            except (redis.RedisError, OSError, AttributeError) as exc:
                # AttributeError is redis-py's way of not knowing a new node that it is sent to (redis-py#4015).
                self.errors.append(f"{type(exc).__name__}: {exc}")
                client = None
                time.sleep(0.05)
                continue
            now = time.monotonic()
            self._gaps[number] = max(self._gaps[number], now - last)
            last = now
            self._writes[number] += 1
            time.sleep(0.004)
        if client is not None:
            client.close()

    def _write(self, client: RedisCluster, key: bytes) -> None:
        before = self._acknowledged.get(key, 0)
        # A retry after a lost reply may count twice, so a value may be skipped, but none comes again.
        value = int(client.incr(key))
        if value <= before:
            self._lost.append(f"{key!r} was acknowledged as {before} and then as {value}")
        self._acknowledged[key] = value
        read = int(client.get(key) or 0)
        if read < value:
            self._lost.append(f"{key!r} was acknowledged as {value} and read as {read}")


def gap_table(gaps: Iterable[Gap]) -> list[str]:
    """The longest write gap of each operation, one line each."""
    return [
        f"{gap.operation:<40} {gap.version:<11} {gap.writes:>7} writes, {gap.seconds * 1000:>5.0f} ms longest gap"
        + "".join(f", {count} times {kind}" for kind, count in gap.errors.items())
        for gap in sorted(gaps, key=lambda gap: (gap.operation, gap.version))
    ]


# --- modules as processes --------------------------------------------------------------------------------------------

_MODULE = textwrap.dedent(
    """
    import importlib, json, sys
    from ansible.module_utils.testing import patch_module_args

    module = importlib.import_module("ansible_collections.apiops.tyk_redis.plugins.modules." + sys.argv[1])
    with patch_module_args(json.loads(sys.stdin.read())):
        module.main()
    """
)


@dataclass
class ModuleProcess:
    """A module at work in a process of its own, which can die."""

    process: subprocess.Popen[str]
    progress: Path

    def sentences(self) -> list[str]:
        """The steps that have begun."""
        if not self.progress.exists():
            return []
        return re.findall(r"^\S+ step \d+ of \d+: (.*)$", self.progress.read_text(encoding="utf-8"), re.M)

    def await_step(self, number: int) -> bool:
        """Wait until a step has begun; whether that happened before the end."""
        while self.process.poll() is None:
            if len(self.sentences()) >= number:
                return True
            time.sleep(0.002)
        return False

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate()

    def freeze(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def result(self, seconds: float = 120) -> dict[str, Any]:
        out, err = self.process.communicate(timeout=seconds)
        assert out.strip(), f"exit code {self.process.returncode}: {err}"
        result: dict[str, Any] = json.loads(out)
        return result


def module_process(
    name: str,
    folder: Path,
    options: Mapping[str, Any],
    *,
    check: bool = False,
    python_path: Sequence[Path] = (),
) -> ModuleProcess:
    """Start a module by its short name, with a progress file in the folder."""
    progress = folder / f"progress-{random.randrange(1 << 40):x}"
    arguments: dict[str, Any] = {**options, "_ansible_check_mode": check, "_ansible_diff": True}
    if name == "redis_cluster":
        arguments["progress_file"] = str(progress)
    path = os.pathsep.join([*map(str, python_path), os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen(
        [sys.executable, "-c", _MODULE, name],
        env={**os.environ, "PYTHONPATH": path},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps(arguments))
    process.stdin.close()
    # communicate() must not flush a closed pipe.
    process.stdin = None
    return ModuleProcess(process, progress)


# --- a cluster and its description -----------------------------------------------------------------------------------


@dataclass
class Described:
    """Servers, and the module's description of them, which a test changes as an administrator does.

    Every server has a host of its own unless a test says otherwise; names are never used twice.
    """

    servers: Servers
    run_module: RunModule
    version: str = DISTRIBUTION
    node_timeout: int = 5000
    extra: Sequence[str] = ()
    replicas_per_primary: int = 1
    nodes: dict[str, dict[str, Any]] = field(default_factory=dict)
    by_name: dict[str, Server] = field(default_factory=dict)
    removed: list[str] = field(default_factory=list)
    # The declarations of nodes that were removed, for those that come back.
    _before: dict[str, dict[str, Any]] = field(default_factory=dict)
    _numbers: int = 0

    def add(self, count: int = 1, **node: Any) -> list[str]:
        """Start servers and declare them; return their names."""
        names = []
        for _number in range(count):
            self._numbers += 1
            name = f"redis-{self._numbers}"
            lines = [f"cluster-node-timeout {self.node_timeout}", *self.extra]
            server = self.servers.start_server(self.version, extra=lines)
            self.by_name[name] = server
            self.nodes[name] = {
                "name": name,
                "address": server.address.host,
                "port": server.address.port,
                "host": f"host-{self._numbers}",
                **node,
            }
            names.append(name)
        return names

    def remove(self, *names: str) -> None:
        """Declare that nodes are to leave."""
        for name in names:
            self.forget(name)
            self.removed.append(str(self.by_name[name].address))

    def forget(self, name: str) -> None:
        """Do not declare a node any more."""
        self._before[name] = self.nodes.pop(name)

    def bring_back(self, *names: str) -> None:
        """Declare nodes that were removed."""
        for name in names:
            self.nodes[name] = self._before.pop(name)
            address = str(self.by_name[name].address)
            self.removed = [one for one in self.removed if one != address]

    def left(self) -> None:
        """Declare no more that nodes are to leave, because they have left."""
        self.removed.clear()

    @property
    def options(self) -> dict[str, Any]:
        return {
            "nodes": list(self.nodes.values()),
            "remove": list(self.removed),
            "replicas_per_primary": self.replicas_per_primary,
            "node_timeout": self.node_timeout,
            "timeout": 30,
        }

    @property
    def members(self) -> list[Server]:
        """The declared ones, that run."""
        return [self.by_name[name] for name in self.nodes if answers(self.by_name[name])]

    @property
    def running(self) -> list[Server]:
        return [server for server in self.by_name.values() if answers(server)]

    def name_of(self, server: Server) -> str:
        return next(name for name, one in self.by_name.items() if one is server)

    def primary_names(self) -> list[str]:
        """The members that own slots."""
        return [self.name_of(server) for server in primaries(self.members)]

    def replica_names(self, primary: str) -> list[str]:
        return [self.name_of(server) for server in replicas_of(self.members, self.by_name[primary])]

    def slots_of(self, name: str) -> frozenset[int]:
        return me(self.by_name[name]).slots

    def shares(self) -> list[int]:
        """How many slots each primary owns, from the fewest to the most."""
        return sorted(len(me(server).slots) for server in primaries(self.members))

    def run(self, *, check: bool = False, **options: Any) -> dict[str, Any]:
        return self.run_module("redis_cluster", check=check, diff=True, **{**self.options, **options})

    def apply(self, **options: Any) -> dict[str, Any]:
        result = self.run(**options)
        assert not result.get("failed"), result["msg"]
        return result

    def four_runs(self) -> dict[str, Any]:
        """Check, apply, check, apply are changed, changed, unchanged, unchanged; the judge has nothing to say."""
        check = self.checked()
        applied = self.apply()
        assert applied["changed"] is True
        self.assert_done()
        assert _without_keys(applied["plan"]) == _without_keys(check["plan"])
        return applied

    def checked(self) -> dict[str, Any]:
        """A check run: it has something to do and does nothing, though the servers may still be telling each other."""
        for _attempt in range(3):
            before = told(self.running)
            check = self.run(check=True)
            assert not check.get("failed"), check["msg"]
            assert check["changed"] is True, "There is nothing to do"
            if told(self.running) == before:
                return check
        raise AssertionError("A check run has changed what the servers know")

    def assert_done(self) -> None:
        """The description is met: nothing is left to do, and everybody says so."""
        judge(self.members[0])
        self.assert_whole()
        # More than once, because the servers may still be telling each other.
        for _attempt in range(3):
            before = told(self.running)
            for check in (True, False):
                again = self.run(check=check)
                assert (again.get("changed"), again.get("plan")) == (False, []), again
            after = told(self.running)
            if after == before:
                return
        raise AssertionError(f"Runs with nothing to do have changed what the servers know: {_different(before, after)}")

    def assert_whole(self) -> None:
        """Every member, asked by itself, knows exactly the members, and every slot has one owner and its replicas."""
        members = self.members
        ids = {me(server).node_id for server in members}
        owned: set[int] = set()
        for server in members:
            lines = lines_of(server)
            assert {line.node_id for line in lines} == ids, f"{server.address} knows others than the members"
            mine = me(server)
            assert not mine.open_slots, f"{server.address} has open slots: {mine.open_slots}"
            assert mine.is_primary == bool(mine.slots)
            assert not owned & mine.slots
            owned |= mine.slots
        assert len(owned) == SLOTS
        for primary in primaries(members):
            assert len(replicas_of(members, primary)) >= self.replicas_per_primary
        timeouts = {str(server.call("CONFIG", "GET", "cluster-node-timeout")) for server in members}
        assert timeouts == {str(["cluster-node-timeout", str(self.node_timeout)])}

    def refused(self, **options: Any) -> list[str]:
        """The reasons of a refusal, check mode or not, that has changed nothing and lost no key."""
        options = {"timeout": 3, **options}
        before = told_at_rest(self.running)
        keys = [keys_on(server) for server in self.running]
        reasons = []
        for check in (True, False):
            result = self.run(check=check, **options)
            assert result.get("failed") is True, result
            assert result.get("changed") is not True
            reasons.append(result.get("reasons", [result["msg"]]))
        assert reasons[0] == reasons[1]
        assert told(self.running) == before
        assert [keys_on(server) for server in self.running] == keys
        return [str(reason) for reason in reasons[0]]

    def process(self, **options: Any) -> ModuleProcess:
        return module_process("redis_cluster", next(iter(self.by_name.values())).folder, {**self.options, **options})


def _without_keys(sentences: Sequence[str]) -> list[str]:
    """Sentences of a plan without the number of keys, which clients change."""
    return [re.sub(r" with \d+ keys?", "", sentence) for sentence in sentences]


@contextmanager
def nothing_lost(life: Described, operation: str, unharmed: Mapping[bytes, Kept] | None = None) -> Iterator[None]:
    """While clients write, do something that changes no data and leaves no key behind, not even on who has left.

    The data of a cluster that is broken already are given.
    """
    before = dump(life.running) if unharmed is None else unharmed
    with Writers(life.members, operation) as writers:
        yield
    assert writers.lost() == []
    assert_same(before, dump(life.running))
    assert_copies(life.members)
