# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection and may change at any time.

"""Hand the role of one primary over to its best replica. Everything here talks to servers."""

from __future__ import annotations

import time
import typing as t

from ansible_collections.apiops.tyk_redis.plugins.module_utils._cluster_view import ViewError, parse_cluster_nodes
from ansible_collections.apiops.tyk_redis.plugins.module_utils._redis_client import (
    Address,
    RedisConnection,
    RedisProblem,
)

POLL_SECONDS = 0.05
# A server gives a manual failover up after five seconds (CLUSTER_MF_TIMEOUT in its source), and the primary accepts no
# write meanwhile. Clients get twice as long to work before the next attempt.
ATTEMPT_SECONDS = 15.0


class FailoverError(Exception):
    """The role could not be handed over."""


class Failover:
    """Hands the role of one instance over.

    Args:
        address: the instance that may be a primary.
        connect: opens a connection to an address.
        timeout: seconds for the whole.
    """

    def __init__(self, address: Address, connect: t.Callable[[Address], RedisConnection], timeout: float) -> None:
        self._address = address
        self._connect = connect
        self._deadline = time.monotonic() + timeout

    def successor(self, wait: bool) -> tuple[bool, Address | None]:
        """Whether the instance has a role to hand over, and the replica in sync that would take it.

        Args:
            wait: whether to give replicas that are just catching up the time to do so.

        Raises:
            FailoverError: it has replicas, but none of them is in sync.
        """
        while True:
            has_role, replicas = self._replicas()
            if not replicas:
                return has_role, None
            offsets = [(self._offset_in_sync(replica), replica) for replica in replicas]
            candidates = [(-offset, replica) for offset, replica in offsets if offset is not None]
            if candidates:
                return True, min(candidates)[1]
            if not wait or time.monotonic() > self._deadline:
                raise FailoverError(
                    f"{self._address} is a primary with slots, and no replica of it is in sync and could take over:"
                    f" {', '.join(map(str, replicas))}. Nothing was stopped. Bring one back until its"
                    " master_link_status is up, and run again."
                )
            time.sleep(POLL_SECONDS)

    def _replicas(self) -> tuple[bool, list[Address]]:
        """Whether the instance is a primary with slots, and the replicas that it knows of itself."""
        with self._connect(self._address) as instance:
            if "cluster_enabled:1" not in instance.call("INFO", "cluster"):
                return False, []
            try:
                nodes = parse_cluster_nodes(instance.call("CLUSTER", "NODES"))
            except ViewError as exc:
                raise FailoverError(
                    f"{self._address} does not answer as a Redis or Valkey server does ({exc});"
                    " check what listens there."
                ) from exc
        myself = next(node for node in nodes if "myself" in node.flags)
        if "master" not in myself.flags or not myself.slots:
            return False, []
        return True, [Address(node.host, node.port) for node in nodes if node.primary_id == myself.node_id]

    def hand_over(self, replica: Address) -> None:
        """Let the replica take over, and wait until the instance follows it.

        Raises:
            FailoverError: it did not happen in time.
        """
        with self._connect(replica) as successor:
            while True:
                refusal = self._start(successor)
                if self._becomes_primary(successor):
                    break
                if time.monotonic() > self._deadline:
                    raise FailoverError(
                        f"{replica} did not take over from {self._address} in time.{refusal} Nothing was stopped. A"
                        " majority of the primaries must vote, and they refuse a vote for the same primary within twice"
                        " the node timeout: look into the replica's log, wait, and run again."
                    )
        self._await_follower(replica)

    def _offset_in_sync(self, replica: Address) -> int | None:
        try:
            with self._connect(replica) as connection:
                info = _fields(connection.call("INFO", "replication"))
        except RedisProblem:
            # A replica that cannot be asked cannot take over either; the others may.
            return None
        if info.get("master_link_status") != "up" or info.get("master_sync_in_progress") != "0":
            return None
        return int(info["slave_repl_offset"])

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

    def _becomes_primary(self, successor: RedisConnection) -> bool:
        attempt_ends = min(self._deadline, time.monotonic() + ATTEMPT_SECONDS)
        while time.monotonic() < attempt_ends:
            if successor.call("ROLE")[0] == "master":
                return True
            time.sleep(POLL_SECONDS)
        return False

    def _await_follower(self, replica: Address) -> None:
        while True:
            silence = ""
            try:
                if self._follows(replica):
                    return
            except RedisProblem as problem:
                # A server that drops a large data set to copy another one is silent for a while.
                silence = f" {problem}"
            if time.monotonic() > self._deadline:
                raise FailoverError(
                    f"{replica} has taken over from {self._address}, but the latter does not follow it yet.{silence}"
                    " Look into both logs, and run again when its master_link_status is up."
                )
            time.sleep(POLL_SECONDS)

    def _follows(self, replica: Address) -> bool:
        with self._connect(self._address) as instance:
            info = _fields(instance.call("INFO", "replication"))
        return (
            info.get("role") == "slave"
            and info.get("master_host") == replica.host
            and info.get("master_port") == str(replica.port)
            and info.get("master_link_status") == "up"
        )


def _fields(text: str) -> dict[str, str]:
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
