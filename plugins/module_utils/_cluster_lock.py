# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One run at a time on one cluster, by nothing but the names of open connections.

Private to this collection. A run opens a connection to every node, gives it a name and looks who else has such a name.
The name is gone with the connection, so a run that dies leaves no lock behind, and nothing is stored anywhere.

Why two runs never hold it both: each gives its name before it looks, so the one whose name came second sees the other.
A run asks under one name and holds under another, because one that lost its connection in mid-run (a server closes
idle ones after its `timeout`) must tell whoever has just taken the lock from whoever is about to be refused.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ansible_collections.apiops.tyk_redis.plugins.module_utils._clock import Clock
from ansible_collections.apiops.tyk_redis.plugins.module_utils._cluster_view import DeclaredNode
from ansible_collections.apiops.tyk_redis.plugins.module_utils._redis_client import RedisConnection, RedisProblem

_PREFIX = "apiops-tyk-redis-cluster"
_ASKING = "asks"
_HOLDING = "holds"
_CLIENT = re.compile(rf" name={_PREFIX}:(?P<token>[0-9a-f]+):(?P<state>{_ASKING}|{_HOLDING}) ")
_THREADS = 32
# How long a run that is about to be refused, or to hold the lock, may take to decide itself.
_DECIDE_SECONDS = 3.0


class LockRefused(Exception):
    """Another run is at work, or it cannot be found out. The text is finished and names the remedy."""


@dataclass(frozen=True)
class _Run:
    """Another run, as one node's CLIENT LIST shows it."""

    node: DeclaredNode
    client_id: str
    address: str
    age: str
    holding: bool

    @property
    def refusal(self) -> str:
        does = "is at work on this cluster" if self.holding else "is just starting on this cluster"
        return (
            f"Another run {does}: {self.node.title} has a connection from {self.address} that was opened {self.age} s "
            "ago. Wait until that run has ended, then run again. If it is dead already, as when its host lost power, "
            f"the servers notice that after their tcp-keepalive; CLIENT KILL ID {self.client_id} on "
            f"{self.node.address} ends the connection at once."
        )


class ClusterLock:
    """Held from acquire() to release(), also as a context manager.

    Args:
        nodes: all nodes of the cluster; those that do not answer are passed over.
        connect: opens a connection to a node. The lock needs connections of its own.
        threads: how many nodes are asked at once; 1 asks one after the other in the caller's thread.
        clock: the time to wait by.
    """

    def __init__(
        self,
        nodes: Sequence[DeclaredNode],
        connect: Callable[[DeclaredNode], RedisConnection],
        threads: int = _THREADS,
        clock: Clock | None = None,
    ) -> None:
        # All runs ask in the same order, so the first node decides nearly always.
        self._nodes = sorted(nodes, key=lambda node: node.address)
        self._connect = connect
        self._threads = threads
        self._clock = clock or Clock()
        self._token = secrets.token_hex(8)
        self._held: dict[DeclaredNode, RedisConnection] = {}

    def __enter__(self) -> ClusterLock:
        self.acquire()
        return self

    def __exit__(self, *_exc_info: object) -> None:
        self.release()

    def acquire(self) -> None:
        """Take the lock on every node that answers.

        Raises:
            LockRefused: another run has it or asks for it, no node answers, or the user lacks a permission.
        """
        try:
            self._acquire()
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        held, self._held = self._held, {}
        for connection in held.values():
            connection.close()

    def confirm(self) -> None:
        """Make sure that the lock is still held; to be called before each step that changes something.

        Where a connection was closed meanwhile it is opened and named again, unless another run got in.

        Raises:
            LockRefused: another run got in, or no node answers any more.
        """
        problems = [problem for problem in self._on_each(self._hold, list(self._held)) if problem]
        if len(problems) == len(self._held):
            raise LockRefused(
                "Whether this run is still the only one cannot be confirmed, because none of the nodes on which it "
                f"holds the lock answers: {problems[0]}"
                if problems
                else "This run does not hold the lock on the cluster."
            )

    def _acquire(self) -> None:
        problems: list[RedisProblem] = []
        waiting = list(self._nodes)
        while waiting and not self._held:
            problem = self._ask(waiting.pop(0))
            if problem:
                problems.append(problem)
        self._on_each(self._ask, waiting)
        if not self._held:
            raise LockRefused(
                "Whether another run is at work on this cluster cannot be found out, because no node answers: "
                f"{problems[0] if problems else 'none is declared.'}"
            )
        self.confirm()

    def _ask(self, node: DeclaredNode) -> RedisProblem | None:
        # Held from the start, so that whatever happens closes it.
        self._held[node] = self._connect(node)
        try:
            others = self._name_and_look(node, _ASKING)
        except RedisProblem as problem:
            self._held.pop(node).close()
            return _unless_forbidden(problem)
        if others:
            raise LockRefused(others[0].refusal)
        return None

    def _hold(self, node: DeclaredNode) -> RedisProblem | None:
        connection = self._held[node]
        try:
            named = self._given_name(connection)
            if named == self._name(_ASKING):
                connection.call("CLIENT", "SETNAME", self._name(_HOLDING))
            elif named != self._name(_HOLDING):
                self._hold_again(node)
        except RedisProblem as problem:
            return _unless_forbidden(problem)
        return None

    @staticmethod
    def _given_name(connection: RedisConnection) -> object:
        try:
            return connection.call("CLIENT", "GETNAME")
        except RedisProblem as problem:
            if problem.kind != "reset":
                raise
            # It was closed meanwhile. The next command opens it again, and then it has no name.
            return None

    def _hold_again(self, node: DeclaredNode) -> None:
        """Name a new connection. A run that asked before the name was there may get the lock: wait for its decision."""
        others: list[_Run] = []
        for left in self._clock.polls(_DECIDE_SECONDS):
            others = self._name_and_look(node, _HOLDING)
            holding = [run for run in others if run.holding]
            if holding or not left:
                others = holding or others
                break
            if not others:
                return
        raise LockRefused(
            f"The connection that held the lock on {node.title} was closed, and another run got in. {others[0].refusal}"
        )

    def _name(self, state: str) -> str:
        return f"{_PREFIX}:{self._token}:{state}"

    def _name_and_look(self, node: DeclaredNode, state: str) -> list[_Run]:
        """Give the connection its name and see who else has one; in one packet, so nobody comes in between."""
        replies = self._held[node].pipeline(
            [("CLIENT", "SETNAME", self._name(state)), ("CLIENT", "LIST", "TYPE", "normal")]
        )
        for reply in replies:
            if isinstance(reply, RedisProblem):
                raise reply
        return self._others(node, replies[1])

    def _others(self, node: DeclaredNode, client_list: str) -> list[_Run]:
        runs = []
        # A busy server has thousands of lines and at most a few of them matter.
        for match in _CLIENT.finditer(client_list):
            if match["token"] == self._token:
                continue
            start = client_list.rfind("\n", 0, match.start()) + 1
            line = client_list[start : client_list.find("\n", match.end())]
            fields = dict(word.split("=", 1) for word in line.split(" ") if "=" in word)
            holding = match["state"] == _HOLDING
            runs.append(_Run(node, fields["id"], fields["addr"], fields["age"], holding))
        return runs

    def _on_each(
        self, work: Callable[[DeclaredNode], RedisProblem | None], nodes: Sequence[DeclaredNode]
    ) -> list[RedisProblem | None]:
        if self._threads == 1 or len(nodes) < 2:
            return [work(node) for node in nodes]
        with ThreadPoolExecutor(max_workers=min(self._threads, len(nodes))) as pool:
            return list(pool.map(work, nodes))


def _unless_forbidden(problem: RedisProblem) -> RedisProblem:
    """A node that is down may be passed over, but not one that keeps to itself who else is at work."""
    if problem.kind == "acl":
        raise LockRefused(
            f"Whether another run is at work on this cluster cannot be found out. {problem} The lock needs "
            "+client|setname, +client|getname and +client|list."
        ) from problem
    return problem
