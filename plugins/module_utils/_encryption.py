# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection and may change at any time.

"""Where an instance listens and what it announces in each mode of encryption. No I/O happens here.

An instance on the port P of a host's own address A:

- ``none``: clients on A:P, the cluster bus on A:P+10000.
- ``tls``: clients on A:P+offset, the bus stays on A:P+10000, because ``cluster-port`` (7.0) fixes it.
- ``spiped`` and ``tls_tunnel``: the host owns a loopback address L, the same on every host. Redis listens on L:P and
  L:P+10000 and announces them; the tunnel carries them over A:P+offset and A:P+offset+10000.

No port ever means two things, so that a running cluster can change from one mode to the other: while it does, its
instances listen in both ways.
"""

from __future__ import annotations

import ipaddress
import typing as t

BUS_PORT_OFFSET = 10000
TUNNELS = ("spiped", "tls_tunnel")
MODES = ("none", "tls", *TUNNELS)
# Debian maps 127.0.1.1 to the own name, and systemd-resolved listens in 127.0.0.0/24.
LOOPBACK = ipaddress.IPv4Network("127.64.0.0/16")
# Of two tunnels' keys that are valid side by side each has a port of its own; an even number has the next one.
KEY_PORT_STEP = 1000
# The first version that can fix the bus port, and change ports, addresses and several settings at once while it runs.
FIRST_TO_CHANGE = "7.0"


class EncryptionError(ValueError):
    """What is described cannot be laid out. The text names the host, the value and the remedy."""


def is_tunnel(mode: str) -> bool:
    """Whether the mode encrypts outside of the server."""
    return mode in TUNNELS


def client_port(port: int, mode: str, offset: int) -> int:
    """The port that clients of an instance dial, of the address that it announces."""
    return port + offset if mode == "tls" else port


def loopback_of(host: str, given: t.Any, address: str) -> str:
    """The loopback address of a host's instances, the same on every host.

    Args:
        host: the host's name, for messages.
        given: its variable ``redis_loopback``, if it has one.
        address: its own address. The last two numbers of an IPv4 address make the loopback address unless one is given,
            so that it never depends on which other hosts there are.

    Raises:
        EncryptionError: there is none, or the one given is none of 127.64.0.0/16.
    """
    if given:
        try:
            loopback = ipaddress.ip_address(str(given))
        except ValueError:
            loopback = None
        if loopback is None or loopback.version != 4 or loopback not in LOOPBACK:
            raise EncryptionError(f"{host}: redis_loopback is {given!r}; give an address of {LOOPBACK}.")
        return str(loopback)
    own = ipaddress.ip_address(address)
    if own.version != 4:
        raise EncryptionError(
            f"{host}: no loopback address can be derived from {address}. Set the host variable redis_loopback to an"
            f" address of {LOOPBACK} that no other host has, and never change it."
        )
    return str(LOOPBACK.network_address + (int(own) & 0xFFFF))


def phases(described: t.Mapping[str, t.Any]) -> tuple[str, ...]:
    """The modes in which the instances listen: the one that is described, and while it changes the previous one."""
    modes = (described["encryption"], described["previous_encryption"])
    return tuple(dict.fromkeys(mode for mode in modes if mode))


def clients_first(described: t.Mapping[str, t.Any]) -> bool:
    """Whether Tyk changes before the cluster announces itself in the new way.

    While Redis 7.0 announces itself without TLS, a client that came by TLS is told ports that do not speak it, but
    clients without TLS are told theirs in both cases (cluster.c, getPreferredPort): they go first and come last. And
    go-redis replaces loopback addresses that it is told by those of its seeds unless these are loopback addresses
    themselves, so that such seeds go first and leave last.
    """
    return described["previous_encryption"] == "tls" or is_tunnel(described["encryption"])


def listening(described: t.Mapping[str, t.Any], address: str, loopback: str | None) -> dict[str, t.Any]:
    """How the instances of a host listen: what the role redis takes, without the prefix ``redis_``.

    Returns:
        ``addresses`` to bind, whether there is a ``plain`` port, and ``tls_port_offset``, None without TLS.
    """
    modes = phases(described)
    addresses = []
    for mode in modes:
        own = loopback if is_tunnel(mode) else address
        if own not in addresses:
            addresses.append(own)
    return {
        "addresses": addresses,
        "plain": any(mode != "tls" for mode in modes),
        "tls_port_offset": described["encrypted_port_offset"] if "tls" in modes else None,
    }


def listens_in(conf: str, address: str, loopback: str | None) -> set[str]:
    """In which ways an instance is to listen: ``none``, ``tls`` and ``tunnel``.

    Args:
        conf: its redis.conf, or the lines with ``bind``, ``port`` and ``tls-port`` of it.
        address: its host's own address.
        loopback: its host's loopback address, if there is one.
    """
    values = {words[0]: words[1:] for words in map(str.split, conf.replace('"', "").splitlines()) if words}
    bound = values.get("bind", [])
    plain = values.get("port", ["0"]) != ["0"]
    ways = set()
    if plain and address in bound:
        ways.add("none")
    if plain and loopback is not None and loopback in bound:
        ways.add("tunnel")
    if values.get("tls-port", ["0"]) != ["0"]:
        ways.add("tls")
    return ways


def way_of(mode: str) -> str:
    """How an instance listens in a mode, in the words of listens_in."""
    return "tunnel" if is_tunnel(mode) else mode


def wire_ports(port: int, offset: int, key: int = 1) -> tuple[int, int]:
    """The ports at which a host's tunnel takes data and the cluster bus for one of its instances.

    Args:
        port: the instance's own port.
        offset: the description's ``encrypted_port_offset``.
        key: the number of the key that is spoken there.
    """
    data = port + offset + (0 if key % 2 else KEY_PORT_STEP)
    return data, data + BUS_PORT_OFFSET
