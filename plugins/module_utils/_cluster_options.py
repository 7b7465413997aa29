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
from ansible_collections.apiops.tyk_redis.plugins.module_utils._cluster_view import DeclaredNode
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
    )


def opener(params: Mapping[str, Any], timeout: float) -> Callable[[Address], RedisConnection]:
    """How to connect to an address with the given options. The timeout is in seconds."""
    credentials = Credentials(params["username"] or None, params["password"])
    tls = None
    if params["tls"]:
        tls = Tls(
            ca_file=params["tls_ca_file"],
            cert_file=params["tls_cert_file"],
            key_file=params["tls_key_file"],
            verify=params["tls_verify_peer"],
        )

    def connect(address: Address) -> RedisConnection:
        return RedisConnection(address, credentials=credentials, tls=tls, timeout=timeout)

    return connect


def connector(params: Mapping[str, Any]) -> Connector:
    """How to connect to a node with the given options."""
    connect = opener(params, params["connect_timeout"])
    return lambda node: connect(node.address)


def numbered(sentences: Sequence[str]) -> str:
    return "".join(f"{number}. {sentence}\n" for number, sentence in enumerate(sentences, start=1))
