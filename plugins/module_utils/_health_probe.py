# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection and may change at any time.

"""Ask a Tyk component on this host how it is: by HTTP, or by the key that it writes into its Redis."""

from __future__ import annotations

import http.client
import ssl
import typing as t

from ansible_collections.apiops.tyk_redis.plugins.module_utils._redis_client import Address, RedisProblem
from ansible_collections.apiops.tyk_redis.plugins.module_utils._redis_probe import Probe
from ansible_collections.apiops.tyk_redis.plugins.module_utils._redis_slots import key_slot
from ansible_collections.apiops.tyk_redis.plugins.module_utils._tyk_effective import CLUSTER, Effective
from ansible_collections.apiops.tyk_redis.plugins.module_utils._tyk_health import Answer, Endpoint

_LONGEST_BODY = 65536


def ask(endpoint: Endpoint, timeout: float) -> Answer:
    """GET it, following nothing.

    Args:
        endpoint: what to ask.
        timeout: seconds for the connection and for each read.
    """
    connection: http.client.HTTPConnection
    if endpoint.tls:
        # The certificate names what clients call the gateway, not this way to it. Nothing secret is sent.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        connection = http.client.HTTPSConnection(endpoint.host, endpoint.port, timeout=timeout, context=context)
    else:
        connection = http.client.HTTPConnection(endpoint.host, endpoint.port, timeout=timeout)
    try:
        connection.request("GET", endpoint.path)
        response = connection.getresponse()
        return Answer(response.status, response.read(_LONGEST_BODY).decode("utf-8", errors="replace"))
    except (OSError, http.client.HTTPException) as exc:
        return Answer(None, error=str(getattr(exc, "strerror", None) or exc or type(exc).__name__))
    finally:
        connection.close()


class SignKey:
    """The key that a component writes into its main store at its start, seen with the component's own rights."""

    def __init__(self, effective: Effective, key: str, timeout: float) -> None:
        self._key = key
        self._probe = Probe(effective, timeout=timeout, write=False)
        self._owner: Address | None = None

    def exists(self) -> bool:
        """Whether the key is there.

        Raises:
            RedisProblem: the node that has to hold it cannot be asked.
        """
        try:
            # Pump's user may not GET. A list would answer with its elements, and nothing with none.
            return bool(self._call("LRANGE", self._key, 0, 0))
        except RedisProblem as problem:
            if "WRONGTYPE" in f"{problem} {problem.detail}":
                return True
            raise

    def delete(self) -> bool:
        """Take the key away; whether it was there.

        Raises:
            RedisProblem: the node that has to hold it cannot be asked.
        """
        return bool(self._call("DEL", self._key))

    def _call(self, *words: str | int) -> t.Any:
        owner = self._owner or self._find()
        try:
            with self._probe.connect(owner) as connection:
                if self._probe.database:
                    connection.call("SELECT", self._probe.database)
                reply = connection.call(*words)
        except RedisProblem:
            # It may have failed over: whoever owns the key now is looked for again the next time.
            self._owner = None
            raise
        self._owner = owner
        return reply

    def _find(self) -> Address:
        """The primary that owns the key."""
        effective = self._probe.effective
        found = Probe(effective, timeout=self._probe.timeout, write=False).run()
        slot = key_slot(self._key)
        for node in found.reached:
            if node["role"] == "primary" and (effective.mode != CLUSTER or _holds(node["slots"], slot)):
                return Address.parse(node["address"])
        why = found.problems[0] if found.problems else "No node serves it."
        raise RedisProblem("unreachable", self._key, f"The node that holds the key {self._key} was not found. {why}")


def _holds(ranges: t.Iterable[str], slot: int) -> bool:
    for text in ranges:
        first, _dash, last = text.partition("-")
        if int(first) <= slot <= int(last or first):
            return True
    return False
