# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection and may change at any time.

"""The closing report of a run: what stands where, as text for a terminal. No I/O happens here."""

from __future__ import annotations

import typing as t

REDIS_HEADINGS = ("INSTANCE", "ADDRESS", "ZONE", "ROLE", "REPLICA OF", "SLOTS", "KEYS", "LAG", "SERVER")
TYK_HEADINGS = ("HOST", "COMPONENT", "AS", "PRIMARIES", "REPLICAS", "SEEDS", "BY THE ADDRESSES")


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


def _tyk_row(host: str, component: str, result: t.Mapping[str, t.Any]) -> list[str]:
    reached = result.get("reached") or []
    primaries = [node for node in reached if node.get("role") == "primary"]
    written = sum(1 for node in primaries if node.get("wrote"))
    return [
        host,
        component,
        str(result.get("username") or "-"),
        f"{len(primaries)} reached, {written} written",
        f"{len(reached) - len(primaries)} reached",
        str(len(result.get("seeds") or [])),
        " ".join(sorted(str(node.get("address")) for node in reached)) or "-",
    ]


def report(
    cluster: t.Mapping[str, t.Any],
    checks: t.Sequence[t.Mapping[str, t.Any]],
    problems: t.Sequence[str],
    remarks: t.Sequence[str] = (),
) -> str:
    """The report: a line for each Redis instance, a line for each Tyk component, then the verdict and the remarks.

    Args:
        cluster: what ``redis_cluster_info`` returns as ``cluster``; empty when nothing could be asked.
        checks: dictionaries with ``host``, ``component`` and ``result``, the latter from ``tyk_redis_check``.
        problems: sentences; none means that all is well.
        remarks: sentences about what could be better; they do not touch the verdict.
    """
    lines = []
    nodes = cluster.get("nodes") or []
    if nodes:
        lines += ["Redis", *_table(REDIS_HEADINGS, [_redis_row(node) for node in nodes]), ""]
    if checks:
        rows = [_tyk_row(check["host"], check["component"], check["result"]) for check in checks]
        lines += ["Tyk", *_table(TYK_HEADINGS, rows), ""]
    if problems:
        lines.append(f"NOT WELL: {len(problems)} problem{'s' if len(problems) > 1 else ''}")
        lines += [f"  {number}. {sentence}" for number, sentence in enumerate(problems, start=1)]
    elif nodes:
        lines.append(
            f"All is well: {cluster.get('slots_served', 0)} of 16384 slots served by {cluster.get('size', 0)}"
            f" primaries, {len(nodes)} instances agree, {_proved(checks)}."
        )
    else:
        lines.append(f"All that was asked is well: {_proved(checks)}; no Redis instance was asked.")
    if remarks:
        lines += ["Remarks:", *(f"  {number}. {sentence}" for number, sentence in enumerate(remarks, start=1))]
    return "\n".join(lines)


def _proved(checks: t.Sequence[t.Any]) -> str:
    return f"{len(checks)} Tyk component{'' if len(checks) == 1 else 's'} proved"
