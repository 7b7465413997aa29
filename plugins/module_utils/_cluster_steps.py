# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps that a plan is made of, each with the sentence that a person reads. No I/O.

Private to this collection. A step says what is to be done and to whom; how it is done is _cluster_apply's business.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ansible_collections.apiops.tyk_redis.plugins.module_utils._cluster_view import (
    SLOTS,
    DeclaredNode,
    SlotRanges,
    count_slots,
    format_ranges,
    join_names,
    plural,
)


class PlanRefused(Exception):
    """Nothing may be done. Every reason is a finished sentence."""

    def __init__(self, reasons: Sequence[str]) -> None:
        self.reasons = tuple(dict.fromkeys(reasons))
        self.observed: dict[str, object] | None = None
        super().__init__("Nothing was changed, because:\n" + "\n".join(f"- {reason}" for reason in self.reasons))


@dataclass(frozen=True)
class Step:
    """One named step. A step that only waits is not a change."""

    @property
    def sentence(self) -> str:
        raise NotImplementedError

    @property
    def changes(self) -> bool:
        return True


@dataclass(frozen=True)
class SetNodeTimeout(Step):
    """CONFIG SET cluster-node-timeout on some nodes."""

    nodes: tuple[DeclaredNode, ...]
    milliseconds: int
    forming: bool = False

    @property
    def sentence(self) -> str:
        until = ", until the cluster is formed" if self.forming else ""
        names = join_names(node.name for node in self.nodes)
        return f"Set cluster-node-timeout to {self.milliseconds} ms on {names}{until}."


@dataclass(frozen=True)
class GiveEpoch(Step):
    """CLUSTER SET-CONFIG-EPOCH on a node that knows nobody yet."""

    node: DeclaredNode
    epoch: int

    @property
    def sentence(self) -> str:
        return f"Give {self.node.name} the config epoch {self.epoch}."


@dataclass(frozen=True)
class AssignSlots(Step):
    """CLUSTER ADDSLOTS of slots that nobody owns, while a cluster is formed."""

    node: DeclaredNode
    slots: SlotRanges

    @property
    def sentence(self) -> str:
        return f"Assign the slots {format_ranges(self.slots)} to {self.node.name}."


@dataclass(frozen=True)
class ClaimSlots(Step):
    """CLUSTER ADDSLOTS of slots that have no owner, and a new epoch, so that everybody believes it."""

    node: DeclaredNode
    slots: SlotRanges
    keys: int = 0

    @property
    def sentence(self) -> str:
        holding = f", whose {plural(self.keys, 'key')} it holds" if self.keys else ", which hold no key anywhere"
        return f"Make {self.node.name} the owner of the slots {format_ranges(self.slots)}{holding}."


@dataclass(frozen=True)
class DropClaim(Step):
    """CLUSTER DELSLOTS on a node that claims slots of another one and holds no key of them."""

    node: DeclaredNode
    slots: SlotRanges
    owner: DeclaredNode

    @property
    def sentence(self) -> str:
        return (
            f"Let {self.node.name} give up its claim to the slots {format_ranges(self.slots)}, of which it holds no "
            f"key; they are {self.owner.name}'s."
        )


@dataclass(frozen=True)
class BumpEpoch(Step):
    """CLUSTER BUMPEPOCH, which settles who is believed."""

    node: DeclaredNode
    why: str

    @property
    def sentence(self) -> str:
        return f"Give {self.node.name} a new config epoch, {self.why}."


@dataclass(frozen=True)
class CloseSlots(Step):
    """CLUSTER SETSLOT STABLE: takes the marks of a move back that has moved nothing."""

    node: DeclaredNode
    slots: SlotRanges

    @property
    def sentence(self) -> str:
        return f"Take the marks of an unfinished move off the slots {format_ranges(self.slots)} on {self.node.name}."


@dataclass(frozen=True)
class MoveSlots(Step):
    """Slots and their keys change their owner.

    The method is how the servers do it: "keys" (MIGRATE), "migrateslots" (Valkey 9.0) or "migration" (Redis 8.4).
    The keys are counted by asking; None when nobody has.
    """

    source: DeclaredNode
    target: DeclaredNode
    slots: SlotRanges
    method: str = "keys"
    keys: int | None = None
    resumed: bool = False

    @property
    def sentence(self) -> str:
        number = count_slots(self.slots)
        keys = "" if self.keys is None else f" with {plural(self.keys, 'key')}"
        verb = "Finish moving" if self.resumed else "Move"
        how = "" if self.method == "keys" else ", atomically"
        return (
            f"{verb} {plural(number, 'slot')} ({format_ranges(self.slots)}){keys} from {self.source.name} to "
            f"{self.target.name}{how}."
        )


@dataclass(frozen=True)
class MoveOrphans(Step):
    """Keys that lie on a node which does not own their slots move to the owner. Nothing is overwritten."""

    holder: DeclaredNode
    owner: DeclaredNode
    slots: SlotRanges
    keys: int

    @property
    def sentence(self) -> str:
        return (
            f"Move {plural(self.keys, 'key')} of the slots {format_ranges(self.slots)}, which {self.holder.name} holds "
            f"and does not own, to their owner {self.owner.name}."
        )


@dataclass(frozen=True)
class Introduce(Step):
    """CLUSTER MEET."""

    node: DeclaredNode
    peers: tuple[DeclaredNode, ...]

    @property
    def sentence(self) -> str:
        return f"Introduce {self.node.name} to {join_names(peer.name for peer in self.peers)}."


@dataclass(frozen=True)
class AwaitMembers(Step):
    """Wait for the gossip. Members that had been forgotten are banned for a minute, and must be met again after it."""

    count: int
    banned: bool = False

    @property
    def sentence(self) -> str:
        return f"Wait until all {self.count} nodes know each other."

    @property
    def changes(self) -> bool:
        return False


@dataclass(frozen=True)
class Replicate(Step):
    """CLUSTER REPLICATE."""

    node: DeclaredNode
    primary: DeclaredNode

    @property
    def sentence(self) -> str:
        return f"Make {self.node.name} a replica of {self.primary.name}."


@dataclass(frozen=True)
class CopyFunctions(Step):
    """FUNCTION DUMP and RESTORE: every primary needs the functions, and slots do not bring them along."""

    source: DeclaredNode
    target: DeclaredNode

    @property
    def sentence(self) -> str:
        return f"Copy the functions of {self.source.name} to {self.target.name}."


@dataclass(frozen=True)
class AwaitSync(Step):
    """Wait until replicas have copied their primary's data."""

    nodes: tuple[DeclaredNode, ...]

    @property
    def sentence(self) -> str:
        return f"Wait until {join_names(node.name for node in self.nodes)} {_is(self.nodes)} in sync."

    @property
    def changes(self) -> bool:
        return False


@dataclass(frozen=True)
class EmptyReplica(Step):
    """CLUSTER RESET SOFT on a replica, whose data are a copy: it becomes a primary without slots that knows nobody."""

    node: DeclaredNode

    @property
    def sentence(self) -> str:
        return f"Let the replica {self.node.name} drop its copy of the data and start as an empty primary."


@dataclass(frozen=True)
class HandOver(Step):
    """CLUSTER FAILOVER: a replica takes its primary's role over, and no acknowledged write is lost."""

    primary: DeclaredNode
    replica: DeclaredNode
    why: str = ""

    @property
    def sentence(self) -> str:
        return f"Let {self.replica.name} take over the primary role of {self.primary.name}{self.why}."


@dataclass(frozen=True)
class TakeOver(Step):
    """CLUSTER FAILOVER TAKEOVER without a vote, where no vote is possible and the loss was allowed."""

    replica: DeclaredNode
    slots: SlotRanges

    @property
    def sentence(self) -> str:
        return (
            f"Let {self.replica.name} take over the slots {format_ranges(self.slots)} of its dead primary without a "
            "vote, as allow_data_loss allows; writes that had not reached it are lost."
        )


@dataclass(frozen=True)
class Remove(Step):
    """CLUSTER RESET HARD on a drained node, and CLUSTER FORGET on all others at once."""

    node: DeclaredNode
    node_id: str

    @property
    def sentence(self) -> str:
        return f"Reset {self.node.name}, which owns nothing any more, and let all others forget it."


@dataclass(frozen=True)
class Forget(Step):
    """CLUSTER FORGET of a member that is gone, on all nodes at once."""

    node_id: str
    title: str

    @property
    def sentence(self) -> str:
        return f"Let all nodes forget {self.title}."


@dataclass(frozen=True)
class AwaitAgreement(Step):
    """Wait for the proof."""

    @property
    def sentence(self) -> str:
        return f"Wait until every node agrees, all {SLOTS} slots are served and every replica is in sync."

    @property
    def changes(self) -> bool:
        return False


@dataclass(frozen=True)
class Plan:
    """The steps in their order, what is worth a warning, and the layout afterwards, one line a node."""

    steps: tuple[Step, ...]
    warnings: tuple[str, ...]
    layout: tuple[str, ...]

    @property
    def changed(self) -> bool:
        return any(step.changes for step in self.steps)

    @property
    def sentences(self) -> list[str]:
        return [step.sentence for step in self.steps]


def _is(items: Sequence[object]) -> str:
    return "is" if len(items) == 1 else "are"
