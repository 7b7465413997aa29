"""Works on a Redis Cluster as Tyk's user does, with nothing but what stands in the gateway's file."""

from __future__ import annotations

import json
import sys

import redis

with open("/opt/tyk-gateway/tyk.conf", encoding="utf-8") as file:
    storage = json.load(file)["storage"]
host, port = storage["addrs"][0].rsplit(":", 1)
login = {"username": storage["username"], "password": storage["password"]}
COUNT = 500

if hasattr(redis, "RedisCluster"):
    client = redis.RedisCluster(host=host, port=int(port), **login)
    for number in range(COUNT):
        client.set(f"molecule-{number}", number, ex=60)
    wrong = [number for number in range(COUNT) if client.get(f"molecule-{number}") != str(number).encode()]
    for number in range(COUNT):
        client.delete(f"molecule-{number}")
    print(f"{COUNT - len(wrong)} of {COUNT} keys read back")
else:
    # redis-py 3 has no cluster client; the plain one shows at least that the server redirects.
    client = redis.Redis(host=host, port=int(port), **login)
    answers = set()
    for number in range(COUNT):
        try:
            client.set(f"molecule-{number}", number, ex=60)
            answers.add("OK")
        except redis.ResponseError as exc:
            answers.add(str(exc).split()[0])
    wrong = sorted(answers ^ {"OK", "MOVED"})
    print(f"answers: {sorted(answers)}")

plain = redis.Redis(host=host, port=int(port), **login)
for command in ("FLUSHALL", "KEYS *", "CONFIG GET *", "CLUSTER RESET", "ACL LIST", "SHUTDOWN"):
    try:
        plain.execute_command(*command.split())
    except redis.exceptions.NoPermissionError:
        continue
    sys.exit(f"{command} was allowed to {login['username']}")
print("dangerous commands are refused")

try:
    redis.Redis(host=host, port=int(port)).ping()
except redis.exceptions.AuthenticationError as exc:
    print(f"without a password: {exc}")
else:
    sys.exit("PING was allowed without a password")

sys.exit(f"wrong: {wrong}" if wrong else 0)
