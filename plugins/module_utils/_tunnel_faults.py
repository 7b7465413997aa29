# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection and may change at any time.

"""Which tunnel does not work, and why, out of what every host sees of its own ends. No I/O happens here."""

from __future__ import annotations

import typing as t

SPIPED_UNIT = "tyk-redis-spiped@{}.service"
HAPROXY_UNIT = "tyk-redis-tunnel.service"
# What an end says when it is tried: a Redis behind it answered, or the connection stayed open, as the bus leaves it.
GOOD = ("redis", "open")


def unit_of(mode: str, name: str) -> str:
    """The unit of the process that has to listen for an end."""
    return SPIPED_UNIT.format(name) if mode == "spiped" else HAPROXY_UNIT


def faults(seen: t.Sequence[t.Mapping[str, t.Any]]) -> list[str]:
    """A sentence for each end that does not work, which names the host, the end, the reason and the remedy.

    Args:
        seen: for each host its ``name`` as ``host``, and its ``ends`` as redis_tunnel_info returns them.
    """
    # What the instances' own hosts know; None where that host has told nothing.
    behind = {
        (one["host"], end["instance"], end["bus"]): end for one in seen for end in one["ends"] if end["kind"] == "serve"
    }
    keys = {one["host"]: one["key_fingerprints"] for one in seen}
    sentences = []
    for one in seen:
        for end in one["ends"]:
            sentence = _serving(end) if end["kind"] == "serve" else _dialling(one["host"], end, behind, keys)
            if sentence:
                sentences.append(f"{one['host']}: {sentence}")
    # The ends of several keys tell of the same Redis that is down.
    return list(dict.fromkeys(sentences))


def _what(end: t.Mapping[str, t.Any]) -> str:
    return f"{'the bus of ' if end['bus'] else ''}{end['peer']}:{end['instance']}"


def _not_listening(end: t.Mapping[str, t.Any]) -> str:
    if end["owner"] == end["unit"]:
        return ""
    if not end["owner"]:
        return (
            f"the tunnel to {_what(end)} is not up: nothing listens at {end['listen']}. Look into"
            f" 'journalctl -u {end['unit']}', and run site.yml."
        )
    return (
        f"the address {end['listen']} of the tunnel to {_what(end)} is taken by {end['owner']}, so that the tunnel"
        f" cannot be reached there. Stop that, and start {end['unit']}."
    )


def _serving(end: t.Mapping[str, t.Any]) -> str:
    if end["answer"] not in GOOD:
        return (
            f"the Redis behind the tunnel, {end['peer']}:{end['instance']}, does not answer on its own host"
            f" ({end['answer']} at {end['target']}). Look into 'journalctl -u tyk-redis@{end['instance']}'."
        )
    return _not_listening(end)


def _dialling(
    host: str,
    end: t.Mapping[str, t.Any],
    behind: t.Mapping[tuple[str, int, bool], t.Mapping[str, t.Any]],
    keys: t.Mapping[str, t.Mapping[str, str]],
) -> str:
    sentence = _not_listening(end)
    if sentence or end["answer"] in GOOD:
        return sentence
    if end["wire_answer"] == "refused":
        return (
            f"the tunnel to {_what(end)} has no far end: {end['wire']} refuses connections. Start the tunnels on"
            f" {end['peer']}, or run site.yml for it."
        )
    if end["wire_answer"] != "open":
        return (
            f"the tunnel to {_what(end)} finds no host: {end['wire']} does not answer. {end['peer']} is down, or a"
            " firewall drops the connection."
        )
    far = behind.get((end["peer"], end["instance"], end["bus"]))
    if far is not None and far["answer"] not in GOOD:
        return f"the tunnel to {_what(end)} is up, but the Redis behind it is down."
    number = str(end["key"])
    ours, theirs = keys[host].get(number), keys.get(end["peer"], {}).get(number)
    if ours is not None and theirs is not None and ours != theirs:
        return (
            f"the tunnel to {_what(end)} does not open: key {number} is another one here than on {end['peer']}. Run"
            " site.yml for both."
        )
    if far is None:
        # As long as its host has not told, a Redis that is down looks the same from here.
        return (
            f"the tunnel to {_what(end)} does not open, though {end['wire']} listens: either the Redis behind it is"
            f" down, or the two ends do not accept each other's key or certificate. {end['peer']} could tell which, but"
            " was not or could not be asked. Run verify.yml for it too."
        )
    return (
        f"the tunnel to {_what(end)} does not open, though {end['wire']} listens: the two ends do not accept each"
        " other's key or certificate. Compare what they log, and run site.yml for both hosts."
    )
