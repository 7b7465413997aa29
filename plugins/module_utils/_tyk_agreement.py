# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection and may change at any time.

"""Whether several Tyk components, each checked on its own host, use one and the same Redis. No I/O happens here."""

from __future__ import annotations

import typing as t

# The parts of a result's "agreement" that have to be equal everywhere, and how to speak about them.
_ASPECTS: t.Sequence[tuple[str, str, str]] = (
    ("mode", "how they use Redis", "set the cluster switch alike"),
    ("database", "the database", "give all of them the same one"),
    ("tls", "TLS", "switch it on or off for all of them"),
    ("addresses", "the addresses of Redis", "give all of them the same list"),
)


def disagreements(results: t.Sequence[tuple[str, str, t.Mapping[str, t.Any]]]) -> list[str]:
    """Compare what the components use.

    Args:
        results: host, component and what ``tyk_redis_check`` returned for it.

    Returns:
        One sentence for each disagreement; none when there is nothing to object to.
    """
    sentences: list[str] = []
    told: list[tuple[str, t.Mapping[str, t.Any]]] = []
    for host, component, result in results:
        agreement = result.get("agreement")
        if agreement:
            told.append((f"{component} on {host}", agreement))
        else:
            sentences.append(
                f"{component} on {host} returned nothing to compare with the others; see why its check ended early."
            )
    for key, what, remedy in _ASPECTS:
        groups: dict[str, list[str]] = {}
        for name, agreement in told:
            groups.setdefault(_shown(key, agreement.get(key)), []).append(name)
        if len(groups) > 1:
            sentences.append(f"The Tyk components disagree about {what}: {_told(groups)}; {remedy}.")
    sentences.extend(_about_clusters(told))
    return sentences


def _about_clusters(told: t.Sequence[tuple[str, t.Mapping[str, t.Any]]]) -> list[str]:
    """Compare the nodes that were seen. Those who saw none have failed on their own account."""
    clusters: list[tuple[set[str], list[tuple[str, frozenset[str]]]]] = []
    for name, agreement in told:
        nodes = frozenset(agreement.get("node_ids") or ())
        if not nodes:
            continue
        for members, seen_by in clusters:
            if members & nodes:
                members |= nodes
                seen_by.append((name, nodes))
                break
        else:
            clusters.append((set(nodes), [(name, nodes)]))
    if len(clusters) > 1:
        groups = {
            f"a Redis of {_nodes(len(members))}, {min(members)[:8]} among them": [name for name, _nodes_seen in seen_by]
            for members, seen_by in clusters
        }
        return [f"The Tyk components do not reach one and the same Redis: {_told(groups)}; give all of them the same."]
    sentences = []
    for members, seen_by in clusters:
        for name, nodes in seen_by:
            if nodes != members:
                missing = ", ".join(sorted(node[:8] for node in members - nodes))
                sentences.append(
                    f"{name} does not see the nodes {missing}, which other Tyk components see in the same cluster; "
                    "let the cluster settle, and check again."
                )
    return sentences


def _nodes(count: int) -> str:
    return "1 node" if count == 1 else f"{count} nodes"


def _told(groups: t.Mapping[str, t.Sequence[str]]) -> str:
    return "; ".join(f"{', '.join(names)}: {value}" for value, names in groups.items())


def _shown(key: str, value: t.Any) -> str:
    if key == "addresses":
        # The order of the list means nothing to a client.
        return ", ".join(sorted(value or ()))
    if key == "tls":
        return "on" if value else "off"
    return str(value)
