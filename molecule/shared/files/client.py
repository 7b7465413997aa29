"""Works on a Redis Cluster as Tyk's user does, with nothing but what stands in the gateway's file."""

from __future__ import annotations

import json
import sys

import redis

with open("/opt/tyk-gateway/tyk.conf", encoding="utf-8") as file:
    storage = json.load(file)["storage"]
host, port = storage["addrs"][0].rsplit(":", 1)
login = {"username": storage["username"], "password": storage["password"]}
tls = {}
if storage.get("use_ssl"):
    tls = {"ssl": True, "ssl_ca_certs": storage["ca_file"]}
    if storage.get("cert_file"):
        tls.update(ssl_certfile=storage["cert_file"], ssl_keyfile=storage["key_file"])
COUNT = 500

connections: dict[tuple[str, int], redis.Redis] = {}


def ask(place: tuple[str, int], *words: object) -> object:
    """Send a command to a node, or to the one that it names. redis-py's own client needs INFO, which Tyk's does not."""
    connection = connections.setdefault(place, redis.Redis(host=place[0], port=place[1], **login, **tls))
    try:
        return connection.execute_command(*words)
    except redis.ResponseError as exc:
        # Newer versions take the code off the message, and have a class of its own for it.
        if not (str(exc).startswith("MOVED ") or type(exc).__name__ == "MovedError"):
            raise
        owner, owner_port = str(exc).split()[-1].rsplit(":", 1)
        return ask((owner, int(owner_port)), *words)


seed = (host, int(port))
for number in range(COUNT):
    ask(seed, "SET", f"molecule-{number}", number, "EX", 60)
# For those who look at what crosses the network.
for number in range(20):
    ask(seed, "SET", f"telltale-key-{number}", "telltale-value", "EX", 60)
wrong = [number for number in range(COUNT) if ask(seed, "GET", f"molecule-{number}") != str(number).encode()]
for number in range(COUNT):
    ask(seed, "DEL", f"molecule-{number}")
print(f"{COUNT - len(wrong)} of {COUNT} keys read back, from {len(connections)} nodes")

plain = redis.Redis(host=host, port=int(port), **login, **tls)
for command in ("FLUSHALL", "KEYS *", "CONFIG GET *", "CLUSTER RESET", "ACL LIST", "SHUTDOWN"):
    try:
        plain.execute_command(*command.split())
    except redis.exceptions.NoPermissionError:
        continue
    sys.exit(f"{command} was allowed to {login['username']}")
print("dangerous commands are refused")

try:
    redis.Redis(host=host, port=int(port), **tls).ping()
except redis.exceptions.AuthenticationError as exc:
    print(f"without a password: {exc}")
else:
    sys.exit("PING was allowed without a password")

sys.exit(f"wrong: {wrong}" if wrong else 0)
