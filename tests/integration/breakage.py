# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ways to break a healthy cluster by hand, as crashed tools and administrators do. None of them loses a key."""

from __future__ import annotations

import time
from collections.abc import Callable

from life import (
    Described,
    keys_on,
    lines_of,
    me,
    owner_of,
    primaries,
    replicas_of,
    wait_until,
)
from redis.crc import key_slot
from servers import Server

# All keys with this hash tag, sixty of them, lie in one slot; and no key at all lies in the other one.
SLOT = key_slot(b"{same slot}:0")


def settings_of(version: str) -> list[str]:
    """Whoever is forgotten cannot come back for a minute, which Valkey can shorten."""
    return ["cluster-blacklist-ttl 8"] if version.startswith("valkey") else []


def an_empty_slot(life: Described) -> int:
    """A slot without keys that the owner of SLOT owns."""
    owner = owner_of(life.members, SLOT)
    return next(slot for slot in sorted(me(owner).slots) if not owner.call("CLUSTER", "COUNTKEYSINSLOT", slot))


def pair(life: Described) -> tuple[Server, Server]:
    """The owner of SLOT and another primary."""
    owner = owner_of(life.members, SLOT)
    return owner, next(server for server in primaries(life.members) if server is not owner)


def open_target(life: Described) -> None:
    source, target = pair(life)
    target.call("CLUSTER", "SETSLOT", SLOT, "IMPORTING", me(source).node_id)


def open_source(life: Described) -> None:
    source, target = pair(life)
    source.call("CLUSTER", "SETSLOT", SLOT, "MIGRATING", me(target).node_id)


def open_both(life: Described) -> None:
    open_target(life)
    open_source(life)


def migrate(source: Server, target: Server, count: int) -> None:
    keys = source.call("CLUSTER", "GETKEYSINSLOT", SLOT, count)
    assert isinstance(keys, list)
    source.call("MIGRATE", target.address.host, target.address.port, "", 0, 5000, "KEYS", *keys)


def half_moved(life: Described) -> None:
    open_both(life)
    migrate(*pair(life), 25)


def all_moved(life: Described) -> None:
    open_both(life)
    migrate(*pair(life), 1000)


def target_failed_over(life: Described) -> None:
    _source, target = pair(life)
    (heir, *_others) = replicas_of(life.members, target)
    half_moved(life)
    # The keys that were moved must have reached the one that takes over.
    wait_until(lambda: keys_on(heir) == keys_on(target))
    fail_over(life, target, heir)


def source_failed_over(life: Described) -> None:
    source, _target = pair(life)
    (heir, *_others) = replicas_of(life.members, source)
    half_moved(life)
    wait_until(lambda: keys_on(heir) == keys_on(source))
    fail_over(life, source, heir)


def fail_over(life: Described, primary: Server, replica: Server) -> None:
    # On some servers, a primary gives up its role only so often.
    def done() -> bool:
        if not me(replica).is_primary:
            replica.call("CLUSTER", "FAILOVER")
            time.sleep(0.5)
        return me(replica).is_primary

    wait_until(done, what="A failover")
    wait_until(lambda: not me(primary).is_primary and "master_link_status:up" in str(primary.call("INFO")))
    everybody_knows(life, replica)


def everybody_knows(life: Described, primary: Server) -> None:
    mine = me(primary)
    wait_until(
        lambda: all(
            # A node to which a slot is on its way does not believe the gossip about that slot.
            line.is_primary and line.slots - {SLOT} == mine.slots - {SLOT}
            for server in life.members
            for line in lines_of(server)
            if line.node_id == mine.node_id
        ),
        what="That everybody knows a new primary",
    )


def source_not_told(life: Described) -> None:
    _source, target = pair(life)
    all_moved(life)
    target.call("CLUSTER", "SETSLOT", SLOT, "NODE", me(target).node_id)
    everybody_knows(life, target)


def orphans(life: Described) -> None:
    """A primary that does not own the slot holds keys of it which the owner has not."""
    source, target = pair(life)
    open_both(life)
    migrate(source, target, 25)
    source.call("CLUSTER", "SETSLOT", SLOT, "STABLE")


def take_away(life: Described, slot: int) -> None:
    """Let nobody own a slot. The owner is the first to give it up, because its gossip would give it back to it."""
    owner = owner_of(life.members, slot)
    for server in [owner, *(server for server in life.members if server is not owner)]:
        server.call("CLUSTER", "DELSLOTS", slot)
    wait_until(lambda: all(slot not in line.slots for server in life.members for line in lines_of(server)))


def without_owner(life: Described) -> None:
    take_away(life, SLOT)


def empty_without_owner(life: Described) -> None:
    take_away(life, an_empty_slot(life))


def forgotten_by_one(life: Described) -> None:
    """One member does not know another one. Servers since Redis 7.2 tell the others to forget it, too."""
    viewer, subject = (replicas_of(life.members, server)[0] for server in primaries(life.members)[:2])
    viewer.call("CLUSTER", "FORGET", me(subject).node_id)
    time.sleep(1.5)


# What Valkey's servers may put right by themselves before the module comes to it.
HEALING = ("the source was not told of the end",)
# A slot without an owner stops the whole cluster.
STOPPED = ("a slot with keys has no owner", "a slot without keys has no owner")
BREAKAGES: dict[str, Callable[[Described], None]] = {
    "a target was told": open_target,
    "a source was told": open_source,
    "both were told": open_both,
    "half of the keys have moved": half_moved,
    "all keys have moved": all_moved,
    "the source was not told of the end": source_not_told,
    "the target failed over": target_failed_over,
    "the source failed over": source_failed_over,
    "keys lie where they do not belong": orphans,
    "a slot with keys has no owner": without_owner,
    "a slot without keys has no owner": empty_without_owner,
    "one member has forgotten another": forgotten_by_one,
}
