# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each encryption in front of Redis costs: none, Redis' own TLS, a pair of spiped, a pair of HAProxy with TLS.

Every mode has a server of its own, and client, tunnel ends and server share this machine. Each figure is taken from one
mode after the other, so that those which are compared are seconds apart. 50 connections are driven by redis-benchmark:
it connects while the server holds writes back, and the clock starts when the server lets them go; otherwise the time
that a tunnel takes to accept 50 connections would count as slowness of requests. One connection is driven from here,
because redis-benchmark tells latencies in steps of 8 microseconds only.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import ipaddress
import os
import re
import resource
import shutil
import signal
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from common import Report, Sample, Samples, arguments, in_turns, median, running_servers
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from servers import DISTRIBUTION, Server, Servers, ServerTls, server_binary

from ansible_collections.apiops.tyk_redis.plugins.module_utils._redis_client import Tls

HOST = "127.0.0.1"
CONNECTIONS = 50
# The name that HAProxy's client end asks for and verifies.
NAME = "redis1.example"
# Of both ends of a tunnel; Redis has 10000.
CONNECTIONS_ALLOWED = 4000
AT_ONCE = 8
VALUE = "v" * 100
REQUEST = b"*3\r\n$3\r\nSET\r\n$4\r\nbusy\r\n$100\r\n" + VALUE.encode() + b"\r\n"
# Whatever is waited for longer than this has failed.
PATIENCE = 60.0
# No run of redis-benchmark sends more requests, or opens more connections, whatever the rate was before.
MOST_REQUESTS, MOST_OPENED = 4_000_000, 4000
PARTS = ("server", "tunnel", "client", "cores others used")
TICKS = os.sysconf("SC_CLK_TCK")
# By Debian package. The packages redis-server and haproxy start a service; the tests have the server from redis-tools.
PROGRAMS = {"redis-benchmark": "redis-tools", "spiped": "spiped", "haproxy": "haproxy"}
SEARCHED = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/bin", "/sbin", "/bin"])

HAPROXY = f"""
global
  maxconn {CONNECTIONS_ALLOWED}
defaults
  mode tcp
  retries 0
  timeout connect 5s
  timeout client 1h
  timeout server 1h
  timeout tunnel 24h
listen redis
"""


# --- programs --------------------------------------------------------------------------------------------------------


def program(name: str) -> str:
    return shutil.which(name, path=SEARCHED) or name


def require_programs() -> None:
    """End here, and say what to do, when a program is missing."""
    sentences = [
        f"The program {name} is missing; install it as root: apt-get install --no-install-recommends {package}"
        for name, package in PROGRAMS.items()
        if shutil.which(name, path=SEARCHED) is None
    ]
    try:
        server_binary(DISTRIBUTION)
    except FileNotFoundError as exc:
        sentences.append(str(exc))
    if sentences:
        sys.exit("\n".join(sentences))


def versions() -> list[tuple[str, str]]:
    """What each program says of itself, as short as it can be told."""
    server = output_of(server_binary(DISTRIBUTION), "--version")
    haproxy = output_of(program("haproxy"), "-vv")
    return [
        ("redis-server", found(r"v=(\S+)", server)),
        ("redis-benchmark", found(r"redis-benchmark (\S+)", output_of(program("redis-benchmark"), "--version"))),
        ("spiped", found(r"spiped (\S+)", output_of(program("spiped"), "-v"))),
        ("HAProxy", found(r"[Vv]ersion (\S+)", haproxy)),
        ("OpenSSL of HAProxy", found(r"Running on OpenSSL version : OpenSSL (\S+)", haproxy)),
        ("OpenSSL of Python", found(r"OpenSSL (\S+)", ssl.OPENSSL_VERSION)),
    ]


def output_of(*words: str) -> str:
    return subprocess.run(
        words, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ).stdout


def found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    return match.group(1) if match else "unknown"


class Tunnels:
    """Starts the ends of tunnels, and ends all of them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: list[subprocess.Popen[bytes]] = []

    def start(self, *words: object) -> int:
        """Start a process; returns its process id. What it says is kept beside the configurations."""
        with (self._folder / f"tunnel-{len(self._running)}.log").open("wb") as log:
            process = subprocess.Popen(
                [*map(str, words)], cwd=self._folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self._running.append(process)
        return process.pid

    def said(self) -> str:
        """The last of what they said, and which have ended."""
        texts = []
        for number, process in enumerate(self._running):
            text = (self._folder / f"tunnel-{number}.log").read_text(encoding="utf-8", errors="replace")
            texts.append(f"{process.args!r}, exit status {process.poll()}: {text[-500:]}")
        return "\n".join(texts)

    def stop_all(self) -> None:
        for process in self._running:
            if process.poll() is None:
                process.kill()
            process.wait()


# --- certificates ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Certificate:
    """The files of a certificate, of its key, of both together, and of the authority that signed it."""

    cert: Path
    key: Path
    both: Path
    ca: Path


class Authority:
    """A certificate authority for one run, with keys on the curve P-256."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "benchmark CA")])
        own = self._builder(self._subject, self._key).add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=True
        )
        self._file = folder / "ca.pem"
        self._file.write_bytes(self._signed(own))

    def issue(self, name: str) -> Certificate:
        """For this machine and for NAME, for servers as well as for clients."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = [x509.DNSName(NAME), x509.IPAddress(ipaddress.ip_address(HOST))]
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        certificate = (
            self._builder(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), key)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        )
        texts = {
            "crt": self._signed(certificate),
            "key": key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            ),
        }
        texts["pem"] = texts["crt"] + texts["key"]
        for ending, text in texts.items():
            (self._folder / f"{name}.{ending}").write_bytes(text)
        cert, key_file, both = (self._folder / f"{name}.{ending}" for ending in texts)
        return Certificate(cert, key_file, both, self._file)

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.timezone.utc)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
        )

    def _signed(self, builder: x509.CertificateBuilder) -> bytes:
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


# --- modes -----------------------------------------------------------------------------------------------------------


def ask(sock: socket.socket, request: bytes, expected: bytes) -> None:
    """Send a request and take its reply, which may come in pieces."""
    sock.sendall(request)
    reply = sock.recv(100)
    while len(reply) < len(expected):
        piece = sock.recv(100)
        if not piece:
            break
        reply += piece
    if reply != expected:
        raise ConnectionError(f"Not {expected!r} but {reply!r} was the reply")


@dataclass
class Mode:
    """A server, the ends of the tunnel before it, and how a client reaches it."""

    server: Server
    port: int
    tunnel: tuple[int, ...] = ()
    certificate: Certificate | None = None
    # Requests a second of each kind of load as it was last, which tells how many make a run of the wanted length.
    rates: dict[str, float] = field(default_factory=dict)

    def connect(self) -> socket.socket:
        """A connection through everything, which has answered once."""
        sock = socket.create_connection((HOST, self.port), timeout=PATIENCE)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.certificate is not None:
                sock = self._context().wrap_socket(sock, server_hostname=HOST)
            ask(sock, b"PING\r\n", b"+PONG\r\n")
        except BaseException:
            sock.close()
            raise
        return sock

    def _context(self) -> ssl.SSLContext:
        assert self.certificate is not None
        context = ssl.create_default_context(cafile=self.certificate.ca)
        context.load_cert_chain(self.certificate.cert, self.certificate.key)
        return context

    def await_answer(self) -> None:
        deadline = time.monotonic() + 10
        while True:
            try:
                return self.connect().close()
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def benchmark_words(self) -> list[str]:
        """redis-benchmark, and where it is to connect."""
        words = [program("redis-benchmark"), "-h", HOST, "-p", str(self.port)]
        if self.certificate is not None:
            files = {"--cacert": self.certificate.ca, "--cert": self.certificate.cert, "--key": self.certificate.key}
            words += ["--tls", *(str(word) for pair in files.items() for word in pair)]
        return words


def start_modes(servers: Servers, tunnels: Tunnels, folder: Path) -> dict[str, Mode]:
    """All four, each with a server of its own; every one has answered."""
    authority = Authority(folder)
    of_server, of_client = authority.issue("server"), authority.issue("client")
    (folder / "spiped.key").write_bytes(os.urandom(32))

    def plain_server() -> Server:
        return servers.start_server(cluster=False)

    def spiped(side: str, source: int, target: int) -> int:
        ends = ["-s", f"[{HOST}]:{source}", "-t", f"[{HOST}]:{target}", "-k", folder / "spiped.key"]
        return tunnels.start(program("spiped"), "-F", side, *ends, "-n", CONNECTIONS_ALLOWED)

    def haproxy(name: str, bind: str, server: str) -> int:
        config = folder / f"{name}.cfg"
        config.write_text(f"{HAPROXY}  bind {bind}\n  server redis {server}\n", encoding="utf-8")
        return tunnels.start(program("haproxy"), "-db", "-f", config)

    modes = {}
    server = plain_server()
    modes["none"] = Mode(server, server.address.port)

    files = ServerTls(str(of_server.ca), str(of_server.cert), str(of_server.key), auth_clients=True)
    client_tls = Tls(str(of_client.ca), str(of_client.cert), str(of_client.key))
    server = servers.start_server(cluster=False, tls=files, client_tls=client_tls)
    modes["tls"] = Mode(server, server.address.port, certificate=of_client)

    server, wire, entry = plain_server(), servers.free_port(), servers.free_port()
    pair = spiped("-d", wire, server.address.port), spiped("-e", entry, wire)
    modes["spiped"] = Mode(server, entry, pair)

    server, wire, entry = plain_server(), servers.free_port(), servers.free_port()
    pair = (
        haproxy(
            "haproxy-server",
            f"{HOST}:{wire} ssl crt {of_server.both} ca-file {of_server.ca} verify required ssl-min-ver TLSv1.2",
            str(server.address),
        ),
        haproxy(
            "haproxy-client",
            f"{HOST}:{entry}",
            f"{HOST}:{wire} ssl crt {of_client.both} ca-file {of_client.ca} verify required"
            f" sni str({NAME}) verifyhost {NAME}",
        ),
    )
    modes["tls_tunnel"] = Mode(server, entry, pair)

    for name, mode in modes.items():
        try:
            mode.await_answer()
        except OSError as exc:
            raise RuntimeError(f"{name} does not answer: {exc}\n{tunnels.said()}") from exc
    return modes


# --- measurements ----------------------------------------------------------------------------------------------------


def cpu_seconds(*pids: int) -> float:
    """What these processes have used, all threads together."""
    # The name of the program, in brackets, may hold spaces.
    fields = [Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split() for pid in pids]
    return sum(int(words[11]) + int(words[12]) for words in fields) / TICKS


def machine_cpu_seconds() -> float:
    """What the cores were busy with, for whomever."""
    words = Path("/proc/stat").read_text(encoding="utf-8").split("\n", 1)[0].split()
    user, nice, system, _idle, _waiting, *interrupts = map(int, words[1:9])
    return (user + nice + system + sum(interrupts)) / TICKS


def child_cpu_seconds() -> float:
    """What the children that have ended and were waited for have used."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


class Meter:
    """Time and processor time from now on, by who used it."""

    def __init__(self, mode: Mode) -> None:
        self._mode = mode
        self._before = self._read()

    def sample(self, count: int) -> dict[str, float]:
        """Since the start, in microseconds for each of so many; beside that, how many cores others used."""
        now = self._read()
        elapsed, server, tunnel, client, machine = (after - before for after, before in zip(now, self._before))
        others = machine - server - tunnel - client
        return {
            "a second": count / elapsed,
            "server us": server / count * 1e6,
            "tunnel us": tunnel / count * 1e6,
            "client us": client / count * 1e6,
            "CPU us": (server + tunnel) / count * 1e6,
            "others' cores": max(0.0, others / elapsed),
        }

    def _read(self) -> tuple[float, ...]:
        server, tunnel = cpu_seconds(self._mode.server.process.pid), cpu_seconds(*self._mode.tunnel)
        return time.perf_counter(), server, tunnel, child_cpu_seconds(), machine_cpu_seconds()


def wait_for(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"After {PATIENCE:.0f} s still waiting for {what}")
        time.sleep(0.02)


@contextmanager
def redis_benchmark(mode: Mode, *options: object) -> Iterator[subprocess.Popen[str]]:
    """Let it write values of 100 bytes; it has ended afterwards."""
    work = ["-t", "set", "-d", len(VALUE), "-r", 100_000, "--csv", *options]
    words = [*mode.benchmark_words(), *map(str, work)]
    with subprocess.Popen(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def result_of(process: subprocess.Popen[str]) -> dict[str, float]:
    """Its one line of figures, when it is done."""
    output, _nothing = process.communicate(timeout=PATIENCE)
    if process.returncode != 0:
        raise RuntimeError(f"redis-benchmark ended with status {process.returncode}: {output[-500:]}")
    # Warnings may come before.
    lines = [line for line in output.splitlines() if line.startswith('"')]
    row = next(iter(csv.DictReader(lines)))
    return {name: float(value) for name, value in row.items() if name != "test"}


def load(mode: Mode, pipeline: int, seconds: float) -> Sample:
    """As many requests as the connections can make, for about so many seconds."""
    kind = f"pipelines of {pipeline}"
    if kind not in mode.rates:
        mode.rates[kind] = loaded(mode, pipeline, 20_000)["a second"]
    sample = loaded(mode, pipeline, min(int(mode.rates[kind] * seconds), MOST_REQUESTS))
    mode.rates[kind] = sample["a second"]
    return sample


def loaded(mode: Mode, pipeline: int, requests: int) -> Sample:
    with mode.server.connection() as control:
        control.call("CLIENT", "PAUSE", int(2 * PATIENCE * 1000), "WRITE")
        began = time.perf_counter()
        with redis_benchmark(mode, "-c", CONNECTIONS, "-P", pipeline, "-n", requests) as process:
            # Their first requests have come, and wait. That spoils their latencies, which are too few for the 99th
            # percentile unless the run is much shorter than by default.
            wait_for(lambda: str(control.call("CLIENT", "LIST")).count(" flags=b ") == CONNECTIONS, "connections")
            connected = time.perf_counter() - began
            meter = Meter(mode)
            control.call("CLIENT", "UNPAUSE")
            figures = result_of(process)
            sample = meter.sample(requests)
    return {
        "p50 ms": figures["p50_latency_ms"],
        "p99 ms": figures["p99_latency_ms"],
        "connect s": connected,
        **sample,
    }


def opened(mode: Mode, seconds: float) -> Sample:
    """Open a connection for each request, so many at once; for about so many seconds."""

    def sample_of(count: int) -> Sample:
        meter = Meter(mode)
        with redis_benchmark(mode, "-c", AT_ONCE, "-k", 0, "-n", count) as process:
            result_of(process)
        return meter.sample(count)

    kind = "opened"
    if kind not in mode.rates:
        mode.rates[kind] = sample_of(200)["a second"]
    sample = sample_of(min(int(mode.rates[kind] * seconds), MOST_OPENED))
    mode.rates[kind] = sample["a second"]
    wait_for(partial(is_alone, mode), "the end of connections")
    return sample


def is_alone(mode: Mode) -> bool:
    return " connected_clients:1 " in " ".join(str(mode.server.call("INFO", "clients")).split()) + " "


def beside_idle(mode: Mode, seconds: float, levels: Sequence[int]) -> Sample:
    """One connection without a pause, while so many others are open through the same tunnel and do nothing."""
    sample = {}
    idle: list[socket.socket] = []
    with ExitStack() as stack, ThreadPoolExecutor(AT_ONCE) as pool:
        for level in levels:
            opening = [pool.submit(mode.connect) for _number in range(level - len(idle))]
            try:
                for future in opening:
                    idle.append(stack.enter_context(future.result()))
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
            sample[f"p50 ms, {level} idle"] = one_busy(mode, seconds)
    wait_for(partial(is_alone, mode), "the end of connections")
    return sample


def one_busy(mode: Mode, seconds: float) -> float:
    """The median of the times that one connection waits for each of its replies, in ms."""
    times: list[int] = []
    clock = time.perf_counter_ns
    with mode.connect() as sock:
        end = clock() + int(seconds * 1e9)
        before = clock()
        while before < end and len(times) < MOST_REQUESTS:
            ask(sock, REQUEST, b"+OK\r\n")
            after = clock()
            times.append(after - before)
            before = after
    # The first ones warm up.
    return statistics.median(times[len(times) // 20 :]) / 1e6


# --- what is told ----------------------------------------------------------------------------------------------------


def ratio(samples: Samples, mode: str, what: str) -> str:
    """The median of the ratios to no encryption in the same round."""
    pairs = zip(samples[mode][what], samples["none"][what], strict=True)
    quotient = statistics.median(value / base for value, base in pairs)
    return f"{quotient:.{1 if quotient >= 10 else 2 if quotient >= 0.1 else 3}f}"


def with_ratios(samples: Samples, mode: str, *whats: str) -> list[object]:
    return [cell for what in whats for cell in (median(samples, mode, what), ratio(samples, mode, what))]


def cost_by_part(samples: Samples, mode: str) -> list[float]:
    """What stands below PARTS."""
    return [median(samples, mode, what) for what in ("server us", "tunnel us", "client us", "others' cores")]


def tell_loads(report: Report, loads: dict[int, Samples]) -> None:
    """One table of what the clients see, and one of what it costs; by requests in a pipeline."""
    seen, cost = [], []
    for pipeline, samples in loads.items():
        for mode in samples:
            seen.append([pipeline, mode, *with_ratios(samples, mode, "a second", "p50 ms", "p99 ms")])
            cost.append([pipeline, mode, *with_ratios(samples, mode, "CPU us"), *cost_by_part(samples, mode)])
    head = ["pipeline", "mode", "requests/s", "ratio", "p50 ms", "ratio", "p99 ms", "ratio"]
    report.add(f"SET of {len(VALUE)} bytes with {CONNECTIONS} connections", head, seen, loads)
    head = ["pipeline", "mode", "server and tunnel", "ratio", *PARTS]
    report.add("Processor time in microseconds a request, of the same runs", head, cost)


def options_of_run() -> argparse.Namespace:
    return arguments(
        __doc__,
        seconds={"type": float, "default": 3.0, "help": "how long each load lasts, about (default: 3)"},
        idle={
            "type": int,
            "nargs": "+",
            "default": [0, 200, 500, 1000],
            "help": "idle connections (default: 0 200 500 1000)",
        },
    )


def stop(number: int, _frame: object) -> None:
    """Leave through every `finally`, so that no process stays behind."""
    sys.exit(128 + number)


def allow_files() -> None:
    """As many as the tunnels need, two for each connection; the processes started from here inherit it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 3 * CONNECTIONS_ALLOWED
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def main() -> None:
    options = options_of_run()
    levels = sorted(options.idle)
    if levels[0] < 0 or levels[-1] >= CONNECTIONS_ALLOWED - 100:
        sys.exit(f"--idle takes 0 to {CONNECTIONS_ALLOWED - 101}")
    require_programs()
    allow_files()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    report = Report("encryption", options.rounds)
    with running_servers() as servers, tempfile.TemporaryDirectory(prefix="apiops-tyk-redis-tunnels-") as folder:
        tunnels = Tunnels(Path(folder))
        try:
            modes = start_modes(servers, tunnels, Path(folder))
            measure(report, modes, options.rounds, options.seconds, levels)
        except Exception:
            print(tunnels.said(), file=sys.stderr)
            raise
        finally:
            tunnels.stop_all()
    report.add("Programs", ["program", "version"], versions())


def measure(report: Report, modes: dict[str, Mode], rounds: int, seconds: float, levels: Sequence[int]) -> None:
    def in_all_modes(work: Callable[[Mode], Sample]) -> Samples:
        return in_turns({name: partial(work, mode) for name, mode in modes.items()}, rounds)

    loads = {pipeline: in_all_modes(partial(load, pipeline=pipeline, seconds=seconds)) for pipeline in (1, 16)}
    idle = in_all_modes(partial(beside_idle, seconds=seconds / 2, levels=levels))
    opening = in_all_modes(partial(opened, seconds=seconds / 2))
    tell_loads(report, loads)
    whats = [f"p50 ms, {level} idle" for level in levels]
    head = ["mode", *(cell for what in whats for cell in (what, "ratio"))]
    report.add("One busy connection beside idle ones", head, [[m, *with_ratios(idle, m, *whats)] for m in idle], idle)
    head = ["mode", f"connections/s, {AT_ONCE} at once", "ratio", f"s until {CONNECTIONS} at once have connected"]
    rows = [[m, *with_ratios(opening, m, "a second"), median(loads[1], m, "connect s")] for m in opening]
    report.add("Opening connections", head, rows, opening)
    rows = [[m, *with_ratios(opening, m, "CPU us"), *cost_by_part(opening, m)] for m in opening]
    title = f"Processor time in microseconds a connection, {AT_ONCE} at once"
    report.add(title, ["mode", "server and tunnel", "ratio", *PARTS], rows)


if __name__ == "__main__":
    main()
