# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A steady client of a cluster, in a process of its own: so many operations a second, whatever the servers do.

The latency of an operation counts from the moment when it was due, so a server that stands still is not flattered by a
client that waits for it. Half of the operations read a random key, half write one. Redirections are followed.
"""

from __future__ import annotations

import argparse
import binascii
import json
import random
import socket
import sys
import threading
import time
from typing import Any

SLOTS = 16384


def slot_of(key: bytes) -> int:
    """Of a key without braces."""
    return binascii.crc_hqx(key, 0) % SLOTS


def packed(*words: bytes) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)


class Refusal(bytes):
    """An error reply."""


class ErrorReply(str):
    """A reply that a value cannot be mistaken for."""


class Wire:
    """A connection that knows strings, errors and nested lists."""

    def __init__(self, address: str) -> None:
        host, _colon, port = address.rpartition(":")
        self._socket = socket.create_connection((host, int(port)))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._file = self._socket.makefile("rb")

    def call(self, *words: bytes) -> Any:
        self._socket.sendall(packed(*words))
        return self.read()

    def read(self) -> Any:
        line = self._file.readline()[:-2]
        kind, rest = line[:1], line[1:]
        if kind == b"$":
            return None if rest == b"-1" else self._file.read(int(rest) + 2)[:-2]
        if kind == b"*":
            return [self.read() for _item in range(int(rest))]
        if not kind:
            raise ConnectionError("The server closed the connection")
        return Refusal(line) if kind == b"-" else line


class Worker(threading.Thread):
    """Sends its share of the operations, one at a time."""

    def __init__(self, number: int, seed: str, keys: int, value: int, interval: float) -> None:
        super().__init__()
        self._random = random.Random(number)
        self._wires: dict[str, Wire] = {seed: Wire(seed)}
        self._owners = [seed] * SLOTS
        self._keys, self._value, self._interval = keys, bytes(value), interval
        self.latencies: list[float] = []
        self.errors: list[str] = []
        self.stop = False
        self._learn(self._wires[seed])

    def _learn(self, wire: Wire) -> None:
        for first, last, primary, *_replicas in wire.call(b"CLUSTER", b"SLOTS"):
            address = f"{primary[0].decode()}:{primary[1][1:].decode()}"
            self._owners[int(first[1:]) : int(last[1:]) + 1] = [address] * (int(last[1:]) - int(first[1:]) + 1)

    def run(self) -> None:
        try:
            self._work()
        except OSError as exc:
            self.errors.append(str(exc))

    def _work(self) -> None:
        due = time.perf_counter() + self._random.random() * self._interval
        while not self.stop:
            time.sleep(max(0.0, due - time.perf_counter()))
            self._operate(b"key:%d" % self._random.randrange(self._keys))
            self.latencies.append(time.perf_counter() - due)
            due += self._interval

    def _operate(self, key: bytes) -> None:
        write = self._random.random() < 0.5
        words = (b"SET", key, self._value) if write else (b"GET", key)
        slot = slot_of(key)
        address, asking = self._owners[slot], False
        for _attempt in range(1000):
            wire = self._wires.get(address) or self._wires.setdefault(address, Wire(address))
            if asking:
                wire.call(b"ASKING")
            reply = wire.call(*words)
            if not isinstance(reply, Refusal):
                return
            kind, *rest = reply[1:].decode().split()
            asking = kind == "ASK"
            if kind in ("MOVED", "ASK"):
                address = rest[1]
                if kind == "MOVED":
                    self._owners[slot] = address
            elif kind != "TRYAGAIN":
                self.errors.append(reply)
                return
        self.errors.append(f"{key.decode()} was redirected without end")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("seed", help="host:port of a node")
    parser.add_argument("--keys", type=int, required=True)
    parser.add_argument("--value", type=int, required=True, help="bytes that are written")
    parser.add_argument("--rate", type=float, required=True, help="operations a second")
    parser.add_argument("--workers", type=int, default=4)
    options = parser.parse_args()
    workers = [
        Worker(number, options.seed, options.keys, options.value, options.workers / options.rate)
        for number in range(options.workers)
    ]
    for worker in workers:
        worker.start()
    # Whoever started this process writes a line when the measured work begins, and closes the pipe when it is over.
    sys.stdin.readline()
    began = [len(worker.latencies) for worker in workers]
    sys.stdin.read()
    for worker in workers:
        worker.stop = True
        worker.join()
    latencies = sorted(latency for worker, first in zip(workers, began) for latency in worker.latencies[first:]) or [
        0.0
    ]
    json.dump(
        {
            "operations": len(latencies),
            "p50": latencies[len(latencies) // 2] * 1000,
            "p99": latencies[min(len(latencies) - 1, len(latencies) * 99 // 100)] * 1000,
            "longest": latencies[-1] * 1000,
            "errors": [error for worker in workers for error in worker.errors],
        },
        sys.stdout,
    )


if __name__ == "__main__":
    main()
