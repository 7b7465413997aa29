# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the mover makes of replies that real servers give only at rare moments. All else is tested with real ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from ansible_collections.apiops.tyk_redis.plugins.module_utils._clock import Clock
from ansible_collections.apiops.tyk_redis.plugins.module_utils._cluster_view import DeclaredNode
from ansible_collections.apiops.tyk_redis.plugins.module_utils._redis_client import Address, Credentials, RedisProblem
from ansible_collections.apiops.tyk_redis.plugins.module_utils._slot_batches import Limits, Member, Move, MoveFailed
from ansible_collections.apiops.tyk_redis.plugins.module_utils._slot_moves import SlotMover

SOURCE, TARGET = "a" * 40, "b" * 40
# The target of a dead run owns the slots already; the source has not been told.
LINES = {
    7001: f"{SOURCE} 10.0.0.1:7001@17001 myself,master - 0 0 1 connected 0-9 [10->-{TARGET}]\n",
    7002: f"{TARGET} 10.0.0.1:7002@17002 myself,master - 0 0 2 connected 10-11\n",
}


class PlayedConnection:
    def __init__(self, port: int, refusal: str) -> None:
        self.address = Address("10.0.0.1", port)
        self._refusal = refusal

    def call(self, *words: object) -> Any:
        assert words == ("CLUSTER", "NODES")
        return LINES[self.address.port]

    def packed(self, commands: Sequence[bytes], _what: str, _seconds: float = 0.0) -> list[Any]:
        if b"COUNTKEYSINSLOT" in commands[0]:
            return [0 for _command in commands]
        assert self.address.port == 7001 and b"NODE" in commands[0]
        return [RedisProblem("error", str(self.address), f"{self._refusal}.", self._refusal) for _command in commands]

    def close(self) -> None:
        pass

    def __enter__(self) -> PlayedConnection:
        return self

    def __exit__(self, *_exc_info: object) -> None:
        self.close()


def finish_move(refusal: str) -> int:
    nodes = [DeclaredNode(f"redis-{port}", Address("10.0.0.1", port), port + 10000, "host") for port in (7001, 7002)]
    members = [Member(node, node_id, "10.0.0.1", node.address.port) for node, node_id in zip(nodes, (SOURCE, TARGET))]

    def connect(node: DeclaredNode) -> Any:
        return PlayedConnection(node.address.port, refusal)

    mover = SlotMover(connect, Credentials(), Limits(), Clock(), 1, lambda _progress: None)
    return mover.move([Move(members[0], members[1], ((10, 11),))]).slots


@pytest.mark.parametrize(
    "refusal",
    [
        "ERR Please use SETSLOT only with masters.",
        # Valkey 8.1, when the last slots of a primary go while it waits for its replicas.
        "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)",
    ],
)
def test_a_source_that_has_become_a_replica_has_heard_of_its_loss(refusal: str) -> None:
    assert finish_move(refusal) == 2


def test_any_other_refusal_of_the_source_ends_the_move() -> None:
    with pytest.raises(MoveFailed) as failed:
        finish_move("ERR I don't know about node")
    assert failed.value.kind == "refused"
