"""Writes to a Redis Cluster as Tyk's user until it is stopped, and reports what became of each acknowledged write.

Usage: writer.py REPORT
Each key has one writer and gets ever larger numbers, so a value below the last one acknowledged is a lost write.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from collections import Counter

import redis

WRITERS = 4
KEYS_EACH = 250
DATA = 20000
PAUSE = 0.02
# redis-py 4.3 copies its connections' locks when it learns a new topology, and fails at that: the fault is its own.
FAILURES = (redis.RedisError, redis.exceptions.RedisClusterException, OSError, TypeError)


def connect() -> redis.RedisCluster:
    """As the gateway would if it were started now."""
    with open("/opt/tyk-gateway/tyk.conf", encoding="utf-8") as file:
        storage = json.load(file)["storage"]
    nodes = [redis.cluster.ClusterNode(*address.rsplit(":", 1)) for address in storage["addrs"]]
    tls = {}
    if storage.get("use_ssl"):
        tls = {"ssl": True, "ssl_ca_certs": storage["ca_file"]}
        if storage.get("cert_file"):
            tls.update(ssl_certfile=storage["cert_file"], ssl_keyfile=storage["key_file"])
    return redis.RedisCluster(
        startup_nodes=nodes, username=storage["username"], password=storage["password"], socket_timeout=5, **tls
    )


def persistently(action):
    """What the action returns, however often it has to be tried: for reading back, when nothing is written any more."""
    for _attempt in range(60):
        try:
            return action(connect())
        except FAILURES as exc:
            failure = exc
            time.sleep(1)
    raise failure


class Writer(threading.Thread):
    def __init__(self, number: int, stopped: threading.Event) -> None:
        super().__init__()
        self.number = number
        self.stopped = stopped
        self.acknowledged: dict[str, int] = {}
        self.count = 0
        self.longest_gap = 0.0
        self.errors: Counter[str] = Counter()
        self.wrong: list[str] = []

    def run(self) -> None:
        client = None
        number, before = 0, time.monotonic()
        while not self.stopped.wait(PAUSE):
            number += 1
            key = f"life-{self.number}-{number % KEYS_EACH}"
            try:
                client = client or connect()
                if client.set(key, number):
                    self.acknowledged[key] = number
                    self.count += 1
                    now = time.monotonic()
                    self.longest_gap, before = max(self.longest_gap, now - before), now
                found = client.get(key)
            except FAILURES as exc:
                self.errors[type(exc).__name__] += 1
                client = None
                continue
            if found is None or int(found) != number:
                self.wrong.append(f"{key} is {found!r} right after {number} was acknowledged")


def load(client: redis.RedisCluster) -> None:
    for first in range(0, DATA, 1000):
        with client.pipeline() as pipeline:
            for number in range(first, first + 1000):
                pipeline.set(f"life-data-{number}", f"value {number}", nx=True)
            pipeline.execute()


def missing(client: redis.RedisCluster) -> int:
    count = 0
    for first in range(0, DATA, 1000):
        with client.pipeline() as pipeline:
            for number in range(first, first + 1000):
                pipeline.get(f"life-data-{number}")
            found = pipeline.execute()
        count += sum(value != f"value {first + number}".encode() for number, value in enumerate(found))
    return count


def lost(client: redis.RedisCluster, acknowledged: dict[str, int]) -> list[str]:
    values = {key: client.get(key) for key in acknowledged}
    return [
        f"{key} is {values[key]!r} though {number} was acknowledged"
        for key, number in acknowledged.items()
        if values[key] is None or int(values[key]) < number
    ]


def main() -> None:
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_arguments: stopped.set())
    client = connect()
    # What an earlier run of this left must still be there; it is written only once.
    if client.set("life-data-loaded", 1, nx=True):
        load(client)
    writers = [Writer(number, stopped) for number in range(WRITERS)]
    for writer in writers:
        writer.start()
    print("writing", flush=True)
    for writer in writers:
        writer.join()
    acknowledged = {key: number for writer in writers for key, number in writer.acknowledged.items()}
    report = {
        "acknowledged": sum(writer.count for writer in writers),
        "lost": persistently(lambda client: lost(client, acknowledged)),
        "wrong": [sentence for writer in writers for sentence in writer.wrong],
        "missing": persistently(missing),
        "longest_gap": round(max(writer.longest_gap for writer in writers), 3),
        "errors": dict(sum((writer.errors for writer in writers), Counter())),
    }
    with open(sys.argv[1], "w", encoding="utf-8") as file:
        json.dump(report, file)


if __name__ == "__main__":
    main()
