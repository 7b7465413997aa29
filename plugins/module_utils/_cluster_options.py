# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options that the cluster modules share, and what becomes of them.

Private to this collection.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.apiops.tyk_redis.plugins.module_utils._cluster_apply import Connector
from ansible_collections.apiops.tyk_redis.plugins.module_utils._cluster_view import (
    SLOTS,
    DeclaredNode,
)
from ansible_collections.apiops.tyk_redis.plugins.module_utils._redis_client import (
    Address,
    Credentials,
    RedisConnection,
    Tls,
)


def connection_options() -> dict[str, Any]:
    """The argument spec of the doc fragment _redis_connection."""
    return {
        "username": {"type": "str"},
        "password": {"type": "str", "no_log": True},
        "tls": {"type": "bool", "default": False},
        "tls_ca_file": {"type": "path"},
        "tls_cert_file": {"type": "path"},
        "tls_key_file": {"type": "path", "no_log": False},
        "tls_verify_peer": {"type": "bool", "default": True},
    }


def cluster_options() -> dict[str, Any]:
    """The argument spec of the doc fragment _cluster_nodes."""
    return {
        "nodes": {
            "type": "list",
            "elements": "dict",
            "required": True,
            "options": {
                "address": {"type": "str", "required": True},
                "port": {"type": "int", "default": 6379},
                "bus_port": {"type": "int"},
                "host": {"type": "str"},
                "zone": {"type": "str"},
                "name": {"type": "str"},
                "weight": {"type": "int", "default": 1},
            },
        },
        "connect_timeout": {"type": "int", "default": 5},
    }


def declared_nodes(params: Mapping[str, Any]) -> tuple[DeclaredNode, ...]:
    return tuple(_declared_node(node) for node in params["nodes"])


def _declared_node(options: Mapping[str, Any]) -> DeclaredNode:
    address = Address(options["address"].strip("[]"), options["port"])
    bus_port = options["bus_port"]
    return DeclaredNode(
        name=options["name"] or str(address),
        address=address,
        bus_port=address.port + 10000 if bus_port is None else bus_port,
        host=options["host"] or address.host,
        zone=options["zone"] or "",
        weight=options["weight"],
    )


def leaving_nodes(texts: Sequence[str], nodes: Sequence[DeclaredNode]) -> tuple[tuple[DeclaredNode, ...], list[str]]:
    """The members to remove, and what is wrong with how they are named."""
    declared = {node.address: node for node in nodes}
    leaving: list[DeclaredNode] = []
    reasons = []
    for text in texts:
        try:
            address = Address.parse(text)
        except ValueError as exc:
            reasons.append(f"remove: {exc}.")
            continue
        if address in declared:
            reasons.append(
                f"{declared[address].title} is declared and to be removed at once; take it out of nodes or of remove."
            )
        elif address not in (node.address for node in leaving):
            leaving.append(DeclaredNode(str(address), address, address.port + 10000, address.host, leaving=True))
    return tuple(leaving), reasons


def slots_named(texts: Sequence[str]) -> tuple[frozenset[int], list[str]]:
    """The slots of allow_data_loss, and what is wrong with how they are named."""
    slots: set[int] = set()
    reasons = []
    for text in texts:
        first, dash, last = text.strip().partition("-")
        last = last if dash else first
        if not all(bound.isascii() and bound.isdigit() and int(bound) < SLOTS for bound in (first, last)) or (
            int(first) > int(last)
        ):
            reasons.append(
                f"allow_data_loss: {text!r} is neither a slot nor a range of slots from 0 to {SLOTS - 1}, as in 0-5460."
            )
            continue
        slots.update(range(int(first), int(last) + 1))
    return frozenset(slots), reasons


def credentials(params: Mapping[str, Any]) -> Credentials:
    return Credentials(params["username"] or None, params["password"])


def opener(params: Mapping[str, Any], timeout: float) -> Callable[[Address], RedisConnection]:
    """How to connect to an address with the given options. The timeout is in seconds."""
    login = credentials(params)
    tls = None
    if params["tls"]:
        tls = Tls(
            ca_file=params["tls_ca_file"],
            cert_file=params["tls_cert_file"],
            key_file=params["tls_key_file"],
            verify=params["tls_verify_peer"],
        )

    def connect(address: Address) -> RedisConnection:
        return RedisConnection(address, credentials=login, tls=tls, timeout=timeout)

    return connect


def connector(params: Mapping[str, Any]) -> Connector:
    """How to connect to a node with the given options."""
    connect = opener(params, params["connect_timeout"])
    return lambda node: connect(node.address)


def numbered(sentences: Sequence[str]) -> str:
    return "".join(f"{number}. {sentence}\n" for number, sentence in enumerate(sentences, start=1))
