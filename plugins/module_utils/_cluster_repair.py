# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What to do about open, lost and disputed slots, keys in the wrong place, and dead members. No I/O.

Private to this collection. A slot follows its keys. Where two nodes hold different keys of one slot, the keys are
brought together one by one and nothing is overwritten; where data would be lost, nothing is done unless the loss of
exactly these slots was allowed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from ansible_collections.apiops.tyk_redis.plugins.module_utils._cluster_steps import (
    BumpEpoch,
    ClaimSlots,
    CloseSlots,
    DropClaim,
    Forget,
    MoveOrphans,
    MoveSlots,
    Replicate,
    Step,
    TakeOver,
)
from ansible_collections.apiops.tyk_redis.plugins.module_utils._cluster_view import (
    SLOTS,
    ClusterView,
    DeclaredNode,
    NodeState,
    SlotRanges,
    Stranger,
    each_slot,
    format_ranges,
    is_partition,
    join_names,
    plural,
    range_texts,
    to_ranges,
)


@dataclass
class Repairs:
    """What the repairs come to: the steps, and who owns and replicates what once they are done."""

    owned: dict[DeclaredNode, set[int]]
    primary_of: dict[DeclaredNode, DeclaredNode]
    # What each node can do by itself, before those that do not know each other are introduced; and what comes then.
    before: list[Step] = field(default_factory=list)
    after: list[Step] = field(default_factory=list)
    # Members to be forgotten when nobody replicates them any more.
    forget_later: list[Forget] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)


def slots_to_ask_about(view: ClusterView) -> set[int]:
    """The slots whose keys must be counted on every node before anything can be decided about them."""
    asked: set[int] = set()
    for state in view.nodes:
        if state.view.usable:
            asked.update(slot for slot, _peer in (*state.view.me.migrating, *state.view.me.importing))
    if any(state.view.keys for state in view.nodes):
        asked |= _not_owned_once(state.slots for state in view.nodes)
    return asked


def _not_owned_once(owned: Iterable[SlotRanges]) -> set[int]:
    spans = [span for ranges in owned for span in ranges]
    if is_partition(spans):
        return set()
    counts = Counter(slot for span in spans for slot in each_slot((span,)))
    return {slot for slot in range(SLOTS) if counts[slot] != 1}


def holders_of_strange_keys(view: ClusterView) -> tuple[DeclaredNode, ...]:
    """Members that own no slot and yet hold keys that are not a copy: all their slots must be asked about."""
    return tuple(
        state.node
        for state in view.nodes
        if state.view.keys and not state.slots and state.role == "primary" and state.view.usable
    )


def repair(view: ClusterView, allowed: Iterable[int]) -> Repairs:
    """Decide about everything that is broken.

    Args:
        view: what was observed, with the keys of slots_to_ask_about counted.
        allowed: the slots whose data may be lost.
    """
    return _Repair(view, frozenset(allowed)).result()


class _Repair:
    def __init__(self, view: ClusterView, allowed: frozenset[int]) -> None:
        self.view = view
        self.allowed = allowed
        self.state_of = {state.node: state for state in view.nodes}
        self.node_of = {state.node_id: state.node for state in view.nodes if state.node_id}
        self.repairs = Repairs(
            owned={state.node: set(each_slot(state.slots)) for state in view.owners},
            primary_of={
                state.node: state.primary
                for state in view.nodes
                if state.role == "replica" and state.primary is not None
            },
        )
        self._straighten_chains()
        self.dropped: dict[tuple[DeclaredNode, DeclaredNode], list[int]] = {}
        self.claimed: dict[DeclaredNode, list[int]] = {}
        self.resumed: dict[tuple[DeclaredNode, DeclaredNode], list[int]] = {}
        self.orphans: dict[tuple[DeclaredNode, DeclaredNode], list[int]] = {}
        self.closed: dict[DeclaredNode, list[int]] = {}
        self.disputed: dict[tuple[DeclaredNode, ...], list[int]] = {}
        self.stranded: dict[DeclaredNode, list[int]] = {}
        self.unowned: list[int] = []
        self.bumped: set[DeclaredNode] = set()

    def result(self) -> Repairs:
        if self._refuse_two_clusters():
            return self.repairs
        lost = self._dead_members()
        for slot in self._slots_in_question():
            if slot not in lost:
                self._decide(slot)
        self._give_unowned()
        self._refuse()
        self._collect()
        return self.repairs

    # --- members -----------------------------------------------------------------------------------------------------

    def _straighten_chains(self) -> None:
        """A replica of a replica belongs to the primary at the end of the chain; one in a circle belongs to nobody."""
        direct = dict(self.repairs.primary_of)
        for node in direct:
            seen = {node}
            top = direct[node]
            while top in direct and top not in seen:
                seen.add(top)
                top = direct[top]
            if top in seen:
                del self.repairs.primary_of[node]
            else:
                self.repairs.primary_of[node] = top

    def _islands(self) -> list[list[NodeState]]:
        """The nodes in groups that know each other directly or by others."""
        islands: list[tuple[set[str], list[NodeState]]] = []
        for state in self.view.nodes:
            if not state.view.usable:
                continue
            known = {line.node_id for line in state.view.lines if "handshake" not in line.flags}
            members = [state]
            apart = []
            for ids, others in islands:
                if ids & known:
                    known |= ids
                    members = [*others, *members]
                else:
                    apart.append((ids, others))
            islands = [*apart, (known, members)]
        return [members for _known, members in islands]

    def _refuse_two_clusters(self) -> bool:
        """Groups that do not know each other, claim the same slots and both hold keys have lives of their own."""
        rivals: list[tuple[list[NodeState], set[int]]] = []
        for members in self._islands():
            keys = sum(state.view.keys for state in members if state.role != "replica")
            claims = {slot for state in members for slot in each_slot(state.slots)}
            if keys and claims:
                rivals.append((members, claims))
        found = [
            (one, other)
            for position, (one, claims) in enumerate(rivals)
            for other, other_claims in rivals[position + 1 :]
            if claims & other_claims
        ]
        for one, other in found:
            sides = [
                f"{join_names(state.node.name for state in members)} with "
                f"{plural(sum(state.view.keys for state in members if state.role != 'replica'), 'key')}"
                for members in (one, other)
            ]
            self.repairs.refusals.append(
                f"{sides[0]}, and {sides[1]}, do not know each other and claim the same slots: these are two clusters, "
                "and they are not merged. Declare one of them only; or save the data of one side, empty it yourself "
                "(CLUSTER RESET HARD on each node), and run again."
            )
        return bool(found)

    def _dead_members(self) -> set[int]:
        """Let go of members that are gone. Returns the slots about which nothing may be decided."""
        claimed = {slot for slots in self.repairs.owned.values() for slot in slots}
        undecided: set[int] = set()
        for stranger in self.view.strangers:
            if not stranger.gone:
                continue
            lost = {slot for slot in each_slot(stranger.slots) if slot not in claimed}
            heirs = [s for s in self.view.nodes if s.role == "replica" and s.primary_id == stranger.node_id]
            forget = Forget(stranger.node_id, f"{stranger.title}, which is gone")
            if not lost:
                self.repairs.forget_later.append(forget)
            elif not lost <= self.allowed:
                self._refuse_loss(stranger, lost, heirs)
                undecided |= lost
            elif heirs:
                undecided |= lost
                self._take_over(heirs, lost)
                self.repairs.forget_later.append(forget)
            else:
                self.repairs.before.append(forget)
        return undecided

    def _take_over(self, heirs: Sequence[NodeState], lost: set[int]) -> None:
        heir = max(heirs, key=lambda state: (state.view.offset or 0, state.node.name)).node
        self.repairs.before.append(TakeOver(heir, to_ranges(lost)))
        self.repairs.owned[heir] = set(lost)
        for state in heirs:
            if state.node != heir:
                self.repairs.primary_of[state.node] = heir

    def _refuse_loss(self, stranger: Stranger, lost: set[int], heirs: Sequence[NodeState]) -> None:
        ranges = to_ranges(lost)
        named = ", ".join(f'"{text}"' for text in range_texts(ranges))
        if heirs:
            names = join_names(state.node.name for state in heirs)
            best = max(heirs, key=lambda state: (state.view.offset or 0, state.node.name))
            self.repairs.refusals.append(
                f"The slots {format_ranges(ranges)} are not served: their owner {stranger.title} is gone, and its "
                f"{'replica' if len(heirs) == 1 else 'replicas'} {names} could not take over by vote. "
                f"{best.node.name} holds {plural(best.view.keys, 'key')} of them. Bring the owner back; or let "
                f"{best.node.name} take over without a vote, which loses the writes that had not reached it, with "
                f"allow_data_loss: [{named}]."
            )
            return
        self.repairs.refusals.append(
            f"The slots {format_ranges(ranges)} are not served: their owner {stranger.title} is gone, and no replica "
            "of it is left; all their keys would be lost. Bring it back with its data; or give them up with "
            f"allow_data_loss: [{named}]."
        )

    # --- slots -------------------------------------------------------------------------------------------------------

    def _slots_in_question(self) -> list[int]:
        marked = {slot for state in self.view.nodes if state.view.usable for slot, _p in self._marks(state)}
        return sorted(_not_owned_once(state.slots for state in self.view.owners) | marked | set(self.view.slot_keys))

    @staticmethod
    def _marks(state: NodeState) -> tuple[tuple[int, str], ...]:
        return (*state.view.me.migrating, *state.view.me.importing)

    def _decide(self, slot: int) -> None:
        owners = [node for node, slots in self.repairs.owned.items() if slot in slots]
        keys = self.view.slot_keys.get(slot, {})
        holding = {
            node: count for node, count in keys.items() if count and self.state_of[node].role in ("primary", "alone")
        }
        if len(owners) > 1:
            rivals = [node for node in owners if node in holding]
            if len(rivals) > 1:
                self.disputed.setdefault(tuple(rivals), []).append(slot)
                return
            owner = rivals[0] if rivals else max(owners, key=lambda n: (self.state_of[n].view.me.epoch, n.name))
            self._settle_dispute(slot, owner, owners)
        elif owners:
            owner = owners[0]
        elif holding:
            owner = max(holding, key=lambda node: (holding[node], node.name))
            self.claimed.setdefault(owner, []).append(slot)
            self.repairs.owned.setdefault(owner, set()).add(slot)
        else:
            stranded = next((node for node, count in keys.items() if count and self._is_stranded(node)), None)
            if stranded is not None and slot not in self.allowed:
                self.stranded.setdefault(stranded, []).append(slot)
            else:
                self.unowned.append(slot)
            return
        self._settle_marks(slot, owner, holding, claimed=not owners)

    def _is_stranded(self, node: DeclaredNode) -> bool:
        """A replica of nobody: what it holds is a copy of nothing that is left."""
        state = self.state_of[node]
        return state.role == "replica" and state.primary is None

    def _settle_dispute(self, slot: int, owner: DeclaredNode, owners: Sequence[DeclaredNode]) -> None:
        for node in owners:
            if node != owner:
                self.dropped.setdefault((node, owner), []).append(slot)
                self.repairs.owned[node].discard(slot)
        self.bumped.add(owner)

    def _settle_marks(self, slot: int, owner: DeclaredNode, holding: dict[DeclaredNode, int], claimed: bool) -> None:
        heading = self._heading(slot, owner)
        # Valkey tells the marks to the replicas, which nobody may tell anything and which hear of the end themselves,
        # unless they were down then.
        open_on = [state for state in self.view.nodes if state.view.usable and state.role != "replica"]
        importing = {state.node for state in open_on if any(number == slot for number, _p in state.view.me.importing)}
        migrating = {state.node for state in open_on if any(number == slot for number, _p in state.view.me.migrating)}
        final = owner
        if owner in migrating and not claimed:
            if heading is not None and (heading in importing or holding.get(heading)):
                final = heading
                self.resumed.setdefault((owner, heading), []).append(slot)
                self.repairs.owned[owner].discard(slot)
                self.repairs.owned.setdefault(heading, set()).add(slot)
            else:
                self.closed.setdefault(owner, []).append(slot)
        for node in self.view.nodes:
            name = node.node
            if name in (owner, final):
                continue
            if holding.get(name):
                self.orphans.setdefault((name, final), []).append(slot)
            elif name in importing or name in migrating:
                self.closed.setdefault(name, []).append(slot)
        if final is owner and owner in importing and not claimed:
            self.closed.setdefault(owner, []).append(slot)
        for primary in sorted(self._primaries_of_marked(slot) - importing - migrating, key=lambda n: n.name):
            if slot not in self.closed.setdefault(primary, []):
                self.closed[primary].append(slot)

    def _primaries_of_marked(self, slot: int) -> set[DeclaredNode]:
        """Those with a replica that has a mark for the slot. What the primary is told again, it passes on to it."""
        return {
            state.primary
            for state in self.view.nodes
            if state.view.usable
            and state.role == "replica"
            and state.view.link == "up"
            and state.primary is not None
            and self.state_of[state.primary].view.usable
            and self.state_of[state.primary].role == "primary"
            and any(number == slot for number, _peer in self._marks(state))
        }

    def _heading(self, slot: int, owner: DeclaredNode) -> DeclaredNode | None:
        """To whom the owner is giving the slot; when that one has become a replica, its new primary."""
        target_id = next((peer for number, peer in self.state_of[owner].view.me.migrating if number == slot), "")
        node = self.node_of.get(target_id)
        if node is None:
            return None
        node = self.repairs.primary_of.get(node, node)
        state = self.state_of[node]
        return node if node != owner and state.view.usable and state.role == "primary" else None

    def _give_unowned(self) -> None:
        """Slots without owner and without keys go to those who own least."""
        staying = [node for node in self.repairs.owned if not node.leaving]
        if not staying:
            # Nobody who stays owns anything, as when a creation died: any node may begin.
            staying = [s.node for s in self.view.nodes if s.view.usable and s.role != "replica" and not s.node.leaving]
        if not staying:
            return
        for first, last in to_ranges(self.unowned):
            node = min(staying, key=lambda n: (len(self.repairs.owned.get(n, ())), n.name))
            self.claimed.setdefault(node, []).extend(range(first, last + 1))
            self.repairs.owned.setdefault(node, set()).update(range(first, last + 1))

    def _lost_sources(self) -> list[Replicate]:
        """Replicas that look for their primary where it was: Redis forgets to tell them what gossip has told it."""
        return [
            Replicate(state.node, state.primary)
            for state in self.view.nodes
            if state.role == "replica"
            and state.view.product == "redis"
            and state.view.link == "down"
            and state.primary is not None
            and state.view.source not in ("", str(state.primary.address))
            and self.repairs.primary_of.get(state.node) == state.primary
        ]

    # --- the outcome -------------------------------------------------------------------------------------------------

    def _refuse(self) -> None:
        for nodes, slots in self.disputed.items():
            counts = join_names(
                f"{node.name} with {plural(sum(self.view.slot_keys[s].get(node, 0) for s in slots), 'key')}"
                for node in nodes
            )
            self.repairs.refusals.append(
                f"The slots {format_ranges(to_ranges(slots))} are claimed by {counts}: these are two clusters with "
                "data of their own, or one that was split, and one side's keys would be lost. Find out which side is "
                "right, empty the other one yourself (CLUSTER RESET HARD after its data are saved), and run again."
            )
        for node, slots in self.stranded.items():
            ranges = to_ranges(slots)
            named = ", ".join(f'"{text}"' for text in range_texts(ranges))
            self.repairs.refusals.append(
                f"The slots {format_ranges(ranges)} are served by nobody, and only {node.name} holds keys of them, "
                "as the replica of a primary that is no longer known. Save its data (BGSAVE) and restore them, or "
                f"give them up with allow_data_loss: [{named}]."
            )

    def _collect(self) -> None:
        before, after = self.repairs.before, self.repairs.after
        for node, slots in self.closed.items():
            before.append(CloseSlots(node, to_ranges(slots)))
        for (node, owner), slots in self.dropped.items():
            before.append(DropClaim(node, to_ranges(slots), owner))
        for node in sorted(self.bumped, key=lambda n: n.name):
            after.append(BumpEpoch(node, "so that all believe its claim to slots which another one claimed, too"))
        for node, slots in self.claimed.items():
            keys = sum(self.view.slot_keys.get(slot, {}).get(node, 0) for slot in slots)
            after.append(ClaimSlots(node, to_ranges(slots), keys))
        for (source, target), slots in self.resumed.items():
            after.append(MoveSlots(source, target, to_ranges(slots), resumed=True))
        after += self._lost_sources()
        for (holder, owner), slots in self.orphans.items():
            keys = sum(self.view.slot_keys[slot].get(holder, 0) for slot in slots)
            after.append(MoveOrphans(holder, owner, to_ranges(slots), keys))
