"""Stands in for Tyk's Gateway or Pump, whose packages no test may ship: starts, and tells how it is, as they do.

It reads the Redis keys of its file and the variables over them, and really works with that Redis. As long as the file
/run/stand-in-ill is there, it says that it does not.
"""

from __future__ import annotations

import http.server
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import redis

ILL = Path("/run/stand-in-ill")
COMPONENTS = {
    "gateway": ("/opt/tyk-gateway/tyk.conf", "storage", "TYK_GW_STORAGE_"),
    "pump": ("/opt/tyk-pump/pump.conf", "analytics_storage_config", "TYK_PMP_ANALYTICSSTORAGECONFIG_"),
}


def settings(component: str) -> dict[str, Any]:
    path, section, prefix = COMPONENTS[component]
    found: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8")).get(section, {})
    for key in ("username", "password"):
        found[key] = os.environ.get(prefix + key.upper(), found.get(key))
    if prefix + "ADDRS" in os.environ:
        found["addrs"] = os.environ[prefix + "ADDRS"].split(",")
        found["use_ssl"] = os.environ.get(prefix + "USESSL") == "true"
    return found


def work(given: dict[str, Any], *words: object) -> object:
    """Send a command to the first seed, or to the node that it names."""
    place = given["addrs"][0]
    for _redirection in range(5):
        host, port = place.rsplit(":", 1)
        client = redis.Redis(
            host=host,
            port=int(port),
            username=given["username"] or None,
            password=given["password"],
            ssl=bool(given.get("use_ssl")),
            ssl_ca_certs="/etc/ssl/certs/ca-certificates.crt",
            socket_timeout=5,
        )
        try:
            return client.execute_command(*words)
        except redis.ResponseError as exc:
            if not (str(exc).startswith("MOVED ") or type(exc).__name__ == "MovedError"):
                raise
            place = str(exc).split()[-1]
    raise redis.RedisError("redirected again and again")


class Gateway(http.server.BaseHTTPRequestHandler):
    """What the gateway answers: /hello with 200 whatever happens, /ready with 503 while it cannot serve."""

    def do_GET(self) -> None:
        output = ""
        try:
            if ILL.exists():
                raise redis.RedisError("stand-in is told to be ill")
            work(settings("gateway"), "SET", "tyk-liveness-probe", "1", "EX", "10")
        except (redis.RedisError, KeyError, OSError) as exc:
            output = f"{type(exc).__name__}: {exc}"
            print(f"storage: {output}", file=sys.stderr, flush=True)
        status = "fail" if output else "pass"
        report = {"status": status, "version": "v5.14.0", "details": {"redis": {"status": status, "output": output}}}
        known = self.path in ("/hello", "/ready")
        self.send_response(404 if not known else 503 if output and self.path == "/ready" else 200)
        self.end_headers()
        self.wfile.write(json.dumps(report).encode() if known else b"not found")

    def log_message(self, *_words: object) -> None:
        """Requests are not worth a line."""


component = sys.argv[1]
print(f"stand-in for {component} has started", file=sys.stderr, flush=True)
if component == "gateway":
    http.server.HTTPServer(("0.0.0.0", 8080), Gateway).serve_forever()
try:
    work(settings(component), "SET", f"version-check-{component}", "v1.16.0")
except (redis.RedisError, KeyError, OSError) as exc:
    print(f"Error storing version: {exc}", file=sys.stderr, flush=True)
while True:
    time.sleep(60)
