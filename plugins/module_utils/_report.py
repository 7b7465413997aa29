# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection and may change at any time.

"""The closing report of a run: what stands where, as text for a terminal. No I/O happens here."""

from __future__ import annotations

import typing as t

REDIS_HEADINGS = ("INSTANCE", "ADDRESS", "ZONE", "ROLE", "REPLICA OF", "SLOTS", "KEYS", "LAG", "SERVER")
TYK_HEADINGS = ("HOST", "COMPONENT", "STORE", "AS", "PRIMARIES", "REPLICAS", "SEEDS", "BY THE ADDRESSES")


def _table(headings: t.Sequence[str], rows: t.Sequence[t.Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in (headings, *rows)) for column in range(len(headings))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in (headings, *rows)]


def _lag(node: t.Mapping[str, t.Any]) -> str:
    if node.get("role") != "replica":
        return "-"
    if node.get("link") != "up":
        return "link down"
    lag = node.get("lag_bytes")
    return "unknown" if lag is None else f"{lag} B"


def _redis_row(node: t.Mapping[str, t.Any]) -> list[str]:
    slots = node.get("slots") or []
    return [
        str(node.get("name") or ""),
        str(node.get("address") or ""),
        str(node.get("zone") or "-"),
        str(node.get("role") or "unknown"),
        str(node.get("primary_name") or node.get("primary") or "-"),
        f"{','.join(slots)} ({node.get('slot_count', 0)})" if slots else "-",
        str(node.get("keys")) if node.get("reachable") and node.get("keys") is not None else "-",
        _lag(node),
        str(node.get("version") or "-"),
    ]


def _tyk_row(host: str, component: str, store: t.Mapping[str, t.Any]) -> list[str]:
    reached = store.get("reached") or []
    primaries = [node for node in reached if node.get("role") == "primary"]
    written = sum(1 for node in primaries if node.get("wrote"))
    return [
        host,
        component,
        "+".join(store.get("purposes") or ()) or "-",
        str(store.get("username") or "-"),
        f"{len(primaries)} reached, {written} written",
        f"{len(reached) - len(primaries)} reached",
        str(len(store.get("seeds") or [])),
        " ".join(sorted(str(node.get("address")) for node in reached)) or "-",
    ]


def _tyk_table(checks: t.Sequence[t.Mapping[str, t.Any]]) -> list[str]:
    """A line for each store. What a store is for is told only where a component has more than one."""
    # A check that ended early has no store, and still its line.
    stores = [(check["host"], check["component"], check["result"].get("stores") or [{}]) for check in checks]
    rows = [_tyk_row(host, component, store) for host, component, those in stores for store in those]
    table = [list(TYK_HEADINGS), *rows]
    if all(len(those) == 1 for _host, _component, those in stores):
        column = TYK_HEADINGS.index("STORE")
        table = [[*row[:column], *row[column + 1 :]] for row in table]
    return _table(table[0], table[1:])


def report(
    cluster: t.Mapping[str, t.Any],
    checks: t.Sequence[t.Mapping[str, t.Any]],
    problems: t.Sequence[str],
    remarks: t.Sequence[str] = (),
    topology: str = "cluster",
) -> str:
    """The report: a line for each Redis instance, one for each Tyk component's store, then verdict and remarks.

    Args:
        cluster: what ``redis_cluster_info`` returns as ``cluster``; empty when nothing could be asked.
        checks: dictionaries with ``host``, ``component`` and ``result``, the latter from ``tyk_redis_check``.
        problems: sentences; none means that all is well.
        remarks: sentences about what could be better; they do not touch the verdict. Those of the checks follow them.
        topology: the key of ``tyk_redis``. Of a Redis that is ``managed`` nobody but Tyk's hosts can tell anything.
    """
    lines = []
    nodes = cluster.get("nodes") or []
    if nodes:
        lines += ["Redis", *_table(REDIS_HEADINGS, [_redis_row(node) for node in nodes]), ""]
    if checks:
        lines += ["Tyk", *_tyk_table(checks), ""]
    if problems:
        lines.append(f"NOT WELL: {len(problems)} problem{'s' if len(problems) > 1 else ''}")
        lines += [f"  {number}. {sentence}" for number, sentence in enumerate(problems, start=1)]
    elif nodes:
        lines.append(
            f"All is well: {cluster.get('slots_served', 0)} of 16384 slots served by {cluster.get('size', 0)}"
            f" primaries, {len(nodes)} instances agree, {_proved(checks)}."
        )
    elif topology == "managed" and checks:
        lines.append(f"All is well: {_reached(checks)}, {_proved(checks)}.")
    else:
        lines.append(f"All that was asked is well: {_proved(checks)}; no Redis instance was asked.")
    remarks = [*remarks, *_remarks_of(checks)]
    if remarks:
        lines += ["Remarks:", *(f"  {number}. {sentence}" for number, sentence in enumerate(remarks, start=1))]
    return "\n".join(lines)


def _reached(checks: t.Sequence[t.Mapping[str, t.Any]]) -> str:
    """How many nodes Tyk's hosts reached together, for each mode that they use Redis in."""
    nodes: dict[str, set[str]] = {}
    for check in checks:
        for store in check["result"].get("stores") or ():
            addresses = {str(node.get("address")) for node in store.get("reached") or ()}
            nodes.setdefault(str(store.get("mode")), set()).update(addresses)
    counts = [
        f"{len(addresses)} node{'' if len(addresses) == 1 else 's'} of mode {mode}"
        for mode, addresses in sorted(nodes.items())
    ]
    return f"{' and '.join(counts)} reached"


def _remarks_of(checks: t.Sequence[t.Mapping[str, t.Any]]) -> list[str]:
    """The checks' own remarks, each once with all who made it."""
    hosts: dict[tuple[str, str], list[str]] = {}
    for check in checks:
        for sentence in check["result"].get("remarks") or ():
            hosts.setdefault((check["component"], sentence), []).append(check["host"])
    return [f"{component} on {', '.join(those)}: {sentence}" for (component, sentence), those in hosts.items()]


def _proved(checks: t.Sequence[t.Any]) -> str:
    return f"{len(checks)} Tyk component{'' if len(checks) == 1 else 's'} proved"
