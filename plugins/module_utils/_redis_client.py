# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One connection to one Redis or Valkey server, whose every failure is a sentence that an operator can act on.

Private to this collection. Only redis-py's lowest layer is used, because the cluster modules must talk to exactly
the node they name: no pool, no redirection, no retry behind their back.
"""

from __future__ import annotations

import errno
import socket
import ssl
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Union

REDIS_IMPORT_ERROR: str | None = None
try:
    import redis
    from redis.connection import Connection
    from redis.exceptions import RedisError, ResponseError
except ImportError:
    HAS_REDIS = False
    REDIS_IMPORT_ERROR = traceback.format_exc()
    Connection = object  # type: ignore[assignment, misc]
else:
    HAS_REDIS = True

Word = Union[str, int, bytes]

# X509_V_ERR_* of OpenSSL, which Python hands on in SSLCertVerificationError.verify_code.
_VERIFY_NAME = frozenset({62, 64})
_VERIFY_DATES = frozenset({9, 10})

_NO_ROUTE = frozenset({errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENETDOWN, errno.EADDRNOTAVAIL})
_CUT_OFF = frozenset({errno.ECONNRESET, errno.EPIPE, errno.ECONNABORTED})

# redis-py takes the error code off the message of the errors that have a class of their own.
_CODE_OF_CLASS = {
    "AskError": "ASK",
    "BusyLoadingError": "LOADING",
    "ClusterDownError": "CLUSTERDOWN",
    "ExecAbortError": "EXECABORT",
    "MovedError": "MOVED",
    "NoPermissionError": "NOPERM",
    "NoScriptError": "NOSCRIPT",
    "OutOfMemoryError": "OOM",
    "ReadOnlyError": "READONLY",
}


@dataclass(frozen=True, order=True)
class Address:
    """Where a server listens. The host is a name or an IP literal, without brackets."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read "host:port" or "[v6 literal]:port"."""
        host, separator, port = text.strip().rpartition(":")
        bracketed = host.startswith("[") and host.endswith("]")
        if bracketed:
            host = host[1:-1]
        if not separator or not host or not (port.isascii() and port.isdigit()) or not 0 < int(port) < 65536:
            raise ValueError(f"{text!r} is not an address of the form host:port with a port from 1 to 65535")
        if ":" in host and not bracketed:
            raise ValueError(f"{text!r} is ambiguous: write an IPv6 address in brackets, as in [2001:db8::1]:6379")
        return cls(host, int(port))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True)
class Credentials:
    """As whom to authenticate. Without a password no AUTH is sent."""

    username: str | None = None
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Tls:
    """How to speak TLS. Without a CA file the system's certificate authorities are trusted."""

    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    verify: bool = True
    min_version: str | None = None
    max_version: str | None = None


class RedisProblem(Exception):
    """A server could not be talked to, or refused a command. The text is a finished sentence with a remedy."""

    def __init__(self, kind: str, address: str, sentence: str, detail: str = "") -> None:
        super().__init__(sentence)
        self.kind = kind
        self.address = address
        self.detail = detail


class _Wire(Connection):
    """redis-py's connection, reduced to TCP, TLS and the protocol; whatever is sent is sent by RedisConnection."""

    tls_context: ssl.SSLContext | None = None

    def _connect(self) -> Any:
        sock = super()._connect()  # type: ignore[no-untyped-call, unused-ignore]
        if self.tls_context is None:
            return sock
        try:
            return self.tls_context.wrap_socket(sock, server_hostname=self.host)
        except (OSError, ValueError):
            sock.close()
            raise

    def set_timeout(self, seconds: float) -> None:
        """How long each read and write may take from now on."""
        sock: Any = self._sock
        sock.settimeout(seconds)

    def on_connect(self) -> None:
        self._parser.on_connect(self)

    def on_connect_check_health(self, check_health: bool = True) -> None:
        # Newer releases of redis-py call this one instead.
        self._parser.on_connect(self)


class RedisConnection:
    """A connection that opens with its first command, and again with the next command after it broke."""

    def __init__(
        self,
        address: Address,
        *,
        credentials: Credentials = Credentials(None, None),
        tls: Tls | None = None,
        timeout: float = 5.0,
    ) -> None:
        self.address = address
        self._credentials = credentials
        self._tls = tls
        self._timeout = timeout
        self._patience = timeout
        self._wire: _Wire | None = None
        self._answered = False

    def __enter__(self) -> RedisConnection:
        return self

    def __exit__(self, *_exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up. The connection may be used again."""
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.disconnect()

    def call(self, *words: Word) -> Any:
        """Send one command and return its reply; an error reply is raised as RedisProblem."""
        reply = self.pipeline([words])[0]
        if isinstance(reply, RedisProblem):
            raise reply
        return reply

    def pipeline(self, commands: Sequence[Sequence[Word]]) -> list[Any]:
        """Send several commands at once. An error reply is an item of the result; a broken connection is raised."""
        if not commands:
            return []
        wire = self._open()
        return self._exchange(wire, wire.pack_commands(commands), commands, self._timeout)

    def packed(self, commands: Sequence[bytes], verb: str, longer: float = 0.0) -> list[Any]:
        """Send commands that are packed already, as pipeline() does.

        Args:
            commands: each one whole, in the protocol's own form.
            verb: what a problem calls every one of them; they are not looked into, as they may hold secrets.
            longer: seconds for which the server may stay silent beyond the connection's timeout.
        """
        if not commands:
            return []
        wire = self._open()
        return self._exchange(wire, [b"".join(commands)], [(verb,)] * len(commands), self._timeout + longer)

    def _open(self) -> _Wire:
        if self._wire is not None:
            return self._wire
        options: dict[str, Any] = {} if _redis_py_major() < 5 else {"protocol": 2}
        self._patience = self._timeout
        wire = _Wire(
            host=self.address.host,
            port=self.address.port,
            socket_timeout=self._timeout,
            socket_connect_timeout=self._timeout,
            decode_responses=True,
            encoding_errors="surrogateescape",
            **options,
        )
        wire.tls_context = self._tls_context()
        self._answered = False
        try:
            wire.connect()
        except (RedisError, OSError, ValueError) as exc:
            wire.disconnect()
            raise self._connection_problem(exc) from exc
        self._wire = wire
        if self._credentials.password is not None:
            username = self._credentials.username
            words = ("AUTH", username, self._credentials.password) if username else ("AUTH", self._credentials.password)
            reply = self._exchange(wire, wire.pack_commands([words]), [words], self._timeout)[0]
            if isinstance(reply, RedisProblem):
                self.close()
                raise reply
        return wire

    def _exchange(
        self, wire: _Wire, packed: Sequence[bytes], commands: Sequence[Sequence[Word]], timeout: float
    ) -> list[Any]:
        replies: list[Any] = []
        self._patience = timeout
        try:
            wire.set_timeout(timeout)
            wire.send_packed_command(packed)
            for command in commands:
                try:
                    replies.append(wire.read_response())
                except ResponseError as exc:
                    replies.append(self._reply_problem(exc, command))
                self._answered = True
        except RedisError as exc:
            self.close()
            problem = self._reply_problem(exc, commands[len(replies)])
            if problem.kind == "error":
                raise self._connection_problem(exc) from exc
            # redis-py hangs up on these replies (LOADING, NOAUTH...), so what was sent after it gets no other answer.
            self._answered = True
            replies += [problem] * (len(commands) - len(replies))
        except (OSError, ValueError) as exc:
            self.close()
            raise self._connection_problem(exc) from exc
        return replies

    def _tls_context(self) -> ssl.SSLContext | None:
        tls = self._tls
        if tls is None:
            return None
        # Not create_default_context, which would trust the system's authorities beside those of the CA file.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.hostname_checks_common_name = False
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if not tls.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        for bound, version in (("minimum_version", tls.min_version), ("maximum_version", tls.max_version)):
            if version:
                setattr(context, bound, _tls_version(version))
        try:
            if tls.ca_file:
                context.load_verify_locations(tls.ca_file)
            else:
                context.load_default_certs()
        except OSError as exc:
            raise self._problem(
                "error",
                f"The CA file {tls.ca_file} for {self.address} cannot be used ({_reason(exc)}); "
                "give a readable PEM file on this host.",
                exc,
            ) from exc
        try:
            if tls.cert_file:
                context.load_cert_chain(tls.cert_file, tls.key_file)
        except OSError as exc:
            raise self._problem(
                "error",
                f"The client certificate {tls.cert_file} with the key {tls.key_file or tls.cert_file} "
                f"for {self.address} cannot be used ({_reason(exc)}); give readable PEM files that belong together.",
                exc,
            ) from exc
        return context

    def _problem(self, kind: str, sentence: str, detail: object = "") -> RedisProblem:
        return RedisProblem(kind, str(self.address), sentence, str(detail))

    def _connection_problem(self, exc: BaseException) -> RedisProblem:
        cause = _root_cause(exc)
        where = str(self.address)
        if isinstance(cause, socket.gaierror):
            return self._problem(
                "name-resolution",
                f"The name {self.address.host!r} of {where} cannot be resolved ({_reason(cause)}); "
                "correct the name, or make it known to DNS or to /etc/hosts of this host.",
                cause,
            )
        if isinstance(cause, (ssl.SSLError, ssl.CertificateError)):
            return self._tls_problem(cause)
        if isinstance(cause, socket.timeout) or type(exc).__name__ == "TimeoutError":
            return self._problem(
                "timeout",
                f"{where} did not answer within {self._patience:g} s; check that the host is up, that no firewall "
                f"drops this port, and that Redis {'speaks TLS there' if self._tls else 'is not blocked'}.",
                cause,
            )
        number = cause.errno if isinstance(cause, OSError) else None
        if number == errno.ECONNREFUSED:
            return self._problem(
                "refused",
                f"{where} refused the connection; start Redis there, and check the address and port it listens on.",
                cause,
            )
        if number in _NO_ROUTE:
            return self._problem(
                "unreachable",
                f"{where} cannot be reached ({_reason(cause)}); check the address, the routes and the firewalls.",
                cause,
            )
        if number in _CUT_OFF or "losed" in str(exc) or isinstance(cause, EOFError):
            return self._problem("reset", f"{where} closed the connection{self._cut_off_remedy()}", cause)
        return self._problem("error", f"{where} could not be talked to: {_reason(cause)}.", cause)

    def _cut_off_remedy(self) -> str:
        if self._answered:
            return " in mid-talk; see the server's log for why it stopped or dropped this client."
        if self._tls is None:
            return " without an answer; if this port expects TLS, switch TLS on, otherwise see the server's log."
        if not self._has_certificate():
            return (
                " without an answer; if it asks for a client certificate, give certificate and key, and if this port "
                "does not speak TLS, switch TLS off."
            )
        return " without an answer; if this port does not speak TLS, switch TLS off, otherwise see the server's log."

    def _tls_problem(self, cause: ssl.SSLError | ssl.CertificateError) -> RedisProblem:
        where = str(self.address)
        code = getattr(cause, "verify_code", None)
        message = getattr(cause, "verify_message", "") or _reason(cause)
        if code in _VERIFY_NAME:
            return self._problem(
                "tls-name",
                f"The certificate of {where} is not valid for {self.address.host!r}; "
                "issue it with this name or address as a subject alternative name, or use an address that it names.",
                message,
            )
        if code in _VERIFY_DATES:
            return self._problem(
                "tls-expired",
                f"The certificate of {where} is not valid now ({message}); renew it, or correct this host's clock.",
                message,
            )
        if code is not None:
            trusted = (self._tls.ca_file if self._tls else None) or "the system's certificate authorities"
            return self._problem(
                "tls-untrusted",
                f"The certificate of {where} is not trusted ({message}); "
                f"give the file of the CA that issued it (now in use: {trusted}).",
                message,
            )
        reason = str(getattr(cause, "reason", "") or "")
        if "WRONG_VERSION_NUMBER" in reason:
            remedy = "this port does not speak TLS: use the TLS port, or switch TLS off"
        elif "CERTIFICATE_REQUIRED" in reason or ("HANDSHAKE_FAILURE" in reason and not self._has_certificate()):
            remedy = "the server asks for a client certificate: give certificate and key, or set tls-auth-clients there"
        elif isinstance(cause, ssl.SSLEOFError) and not self._has_certificate():
            # The alert that says so may be lost when the server hangs up first.
            remedy = "the server hung up, as it does when it asks for a client certificate: give certificate and key"
        elif "UNKNOWN_CA" in reason or "BAD_CERTIFICATE" in reason:
            remedy = "the server does not trust the client certificate: issue it by the CA that the server knows"
        elif "PROTOCOL" in reason or "VERSION" in reason:
            remedy = "client and server share no TLS version: widen the minimum or maximum version"
        else:
            remedy = "compare the TLS settings of both sides"
        return self._problem("tls-handshake", f"The TLS handshake with {where} failed ({message}): {remedy}.", message)

    def _has_certificate(self) -> bool:
        return self._tls is not None and bool(self._tls.cert_file)

    def _reply_problem(self, exc: BaseException, command: Sequence[Word]) -> RedisProblem:
        where = str(self.address)
        code = _CODE_OF_CLASS.get(type(exc).__name__, "")
        detail = f"{code} {exc}" if code and not str(exc).startswith(code) else str(exc)
        user = self._credentials.username or "default"
        verb = _verb(command)
        if detail.startswith("LOADING"):
            return self._problem("loading", f"{where} is still loading its data; try again when it is done.", detail)
        if detail.startswith("NOPERM") or "no permissions to" in detail:
            return self._problem(
                "acl",
                f"The user {user!r} may not run {verb} on {where} ({detail}); extend its ACL rules there.",
                detail,
            )
        if detail.startswith("DENIED") or "is running in protected mode" in detail:
            return self._problem(
                "protected",
                f"{where} runs in protected mode and admits only local clients; "
                "give its users passwords, or bind it to the wanted interface and set protected-mode no.",
                "DENIED protected mode",
            )
        if "max number of clients" in detail:
            return self._problem(
                "max-clients",
                f"{where} has no connection left; raise maxclients there, or find out who holds them.",
                detail,
            )
        if "cluster support disabled" in detail:
            return self._problem(
                "not-a-cluster",
                f"{where} does not run in cluster mode; set cluster-enabled yes there and restart it.",
                detail,
            )
        if _is_refused_login(exc, detail):
            if self._credentials.password is None:
                sentence = f"{where} asks for a password and none was given; give the user and the password."
            elif "without any password configured" in detail or "no password is set" in detail:
                sentence = f"{where} has no password for the user {user!r}; set it there, or give none."
            else:
                sentence = (
                    f"{where} does not accept the password of the user {user!r}; correct the password or the name, "
                    "and check that the user is defined and switched on there."
                )
            return self._problem("password", sentence, "WRONGPASS" if self._credentials.password else "NOAUTH")
        return self._problem("error", f"{where} answered {verb} with an error: {detail.rstrip('.')}.", detail)


def _redis_py_major() -> int:
    return int(redis.__version__.split(".", 1)[0])


def _tls_version(text: str) -> ssl.TLSVersion:
    versions = {
        "1.0": ssl.TLSVersion.TLSv1,
        "1.1": ssl.TLSVersion.TLSv1_1,
        "1.2": ssl.TLSVersion.TLSv1_2,
        "1.3": ssl.TLSVersion.TLSv1_3,
    }
    if text not in versions:
        raise ValueError(f"{text!r} is not a TLS version; use one of {', '.join(versions)}")
    return versions[text]


def _root_cause(exc: BaseException) -> BaseException:
    """The operating system's error behind redis-py's own one."""
    seen: tuple[BaseException, ...] = ()
    current: BaseException | None = exc
    while current is not None and current not in seen:
        if isinstance(current, (OSError, EOFError)):
            return current
        seen += (current,)
        current = current.__cause__ or current.__context__
    return exc


def _reason(exc: BaseException) -> str:
    text = getattr(exc, "strerror", None) or str(exc) or type(exc).__name__
    return str(text).strip().rstrip(".")


def _verb(command: Sequence[Word]) -> str:
    """The command without its operands, which may hold secrets."""
    words = [word.decode(errors="replace") if isinstance(word, bytes) else str(word) for word in command[:2]]
    containers = {"ACL", "CLIENT", "CLUSTER", "CONFIG", "FUNCTION", "MEMORY", "SCRIPT"}
    return " ".join(words if words[0].upper() in containers else words[:1]).upper()


def _is_refused_login(exc: BaseException, detail: str) -> bool:
    return (
        type(exc).__name__.startswith("Authentication")
        or detail.startswith(("NOAUTH", "WRONGPASS"))
        or "invalid password" in detail
        or "without any password configured" in detail
    )
