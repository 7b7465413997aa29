# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection and may change at any time.

"""What is wrong with certificates that somebody brings, and the remedy. No I/O happens here."""

from __future__ import annotations

import ipaddress
import math
import re
import time
import typing as t

from ansible_collections.apiops.tyk_redis.plugins.module_utils._certificates import seconds_of

_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
_LINES = "from its line BEGIN CERTIFICATE to its line END CERTIFICATE"
_KEY = re.compile(r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----")
_LOCKED = re.compile(r"-----BEGIN ENCRYPTED PRIVATE KEY-----|Proc-Type:\s*4\s*,\s*ENCRYPTED")
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
# The last label is never a number: that would be an address.
_DNS_NAME = re.compile(rf"(?=.{{1,253}}\Z)(?:{_LABEL}\.)*(?![0-9]+\Z){_LABEL}")
# The reasons of OpenSSL's errors. A key of another kind than the certificate's is said to have no certificate.
_OTHER_KEY = ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED")
_WEAK = ("EE_KEY_TOO_SMALL", "CA_KEY_TOO_SMALL", "CA_MD_TOO_WEAK")
_TOO_WEAK = (
    "certificate, or one of those that issued it, is too weak for the OpenSSL of this host: bring one with an RSA key"
    " of 2048 bits or an EC key of 256 bits at least, and signatures with SHA-256."
)
# X509_V_ERR_* of OpenSSL's x509_vfy.h.
_ISSUER_OF_TRUSTED_MISSING, _BAD_SIGNATURE = 2, 7
_TOO_EARLY, _TOO_LATE = 9, 10
_OWN_ISSUER, _ROOT_NOT_TRUSTED = 18, 19
_ISSUER_MISSING = (20, 21)
_OTHER_PURPOSE = 26
_OTHER_NAME = (62, 64)
_WEAK_CODES = (66, 67, 68)
_AUTHORITY = "The authority {} in authorities"
_PURPOSES = {"server": "serverAuth", "client": "clientAuth"}

# --- the texts -------------------------------------------------------------------------------------------------------


def parts(text: str) -> list[str]:
    """What begins as a certificate, each with whole lines, damaged ones too."""
    found: list[list[str]] = []
    inside = False
    for line in re.split(r"\r?\n", text):
        if _BEGIN in line:
            found.append([line])
            inside = True
        elif inside:
            found[-1].append(line)
            inside = _END not in line
    return ["\n".join(lines) + "\n" for lines in found]


def well_formed(part: str) -> bool:
    """Whether there is nothing but base64 between the two lines. Go takes no other ones, and headers of PEM might make
    OpenSSL ask for a passphrase."""
    return re.fullmatch(rf"{_BEGIN}\s*\n[A-Za-z0-9+/=\s]+\n{_END}\s*", part) is not None


def holds_key(text: str) -> bool:
    return _KEY.search(text) is not None


def leaked(what: str, text: str) -> list[str]:
    if not holds_key(text):
        return []
    return [f"{what} holds a private key: keep it in key alone, and replace it if others may have read it."]


def missing(what: str, text: str) -> list[str]:
    if parts(text):
        return []
    wanted = "the host's, followed by the intermediate ones" if what == "certificate" else "that of each one to trust"
    return [f"{what} holds no certificate in PEM form: give {wanted}, each {_LINES}."]


def key_faults(key: str) -> list[str]:
    if not holds_key(key):
        return [
            "key holds no private key in PEM form: give the one that the certificate was requested with, from its line"
            " BEGIN PRIVATE KEY to its line END PRIVATE KEY."
        ]
    if _LOCKED.search(key):
        return [
            "key has a passphrase, which nobody is there to type: take it away with 'openssl pkey -in FILE', and keep"
            " the key in a vault instead."
        ]
    return []


def is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    # A zone is of one host only, so that no certificate has one.
    return "%" not in name


def is_name(name: str) -> bool:
    return is_address(name) or _DNS_NAME.fullmatch(name) is not None


def no_name(name: str) -> str:
    return f"server_names has {name!r}, which is neither an IP address nor a DNS name: correct it."


def unreadable(what: str, number: int) -> str:
    return f"The certificate number {number} in {what} is damaged, so that it cannot be read: copy it again, {_LINES}."


def unloadable(library: str | None, reason: str | None) -> str:
    """Why OpenSSL does not take a key together with certificates that it could read."""
    if reason in _OTHER_KEY:
        return (
            "key does not belong to the first certificate in certificate: give the one that it was requested with, and"
            " let the host's certificate come before the intermediate ones."
        )
    if reason in _WEAK:
        return _TOO_WEAK
    if library == "SSL" and reason and not reason.endswith("_LIB"):
        return f"certificate and key cannot be loaded, OpenSSL says '{_plain(reason)}': bring others."
    return "key is damaged, so that it cannot be read: copy it again, with its first and its last line."


def _plain(reason: str) -> str:
    return reason.replace("_", " ").lower() if reason.isupper() else reason


# --- what the certificates say ---------------------------------------------------------------------------------------


# What openssl is asked about the certificate on its input. All its releases print a name in the same way with these
# options: its attributes in their order, with "," or "+" between them and a backslash before what would mislead.
QUESTION = (
    *("x509", "-noout", "-subject", "-issuer", "-startdate", "-enddate"),
    *("-nameopt", "sep_comma_plus,sname,esc_2253,esc_ctrl,utf8"),
)
_ATTRIBUTE = re.compile(r"([^=,+]+)=((?:\\.|[^\\,+])*)")
_ESCAPED = re.compile(r"\\([0-9A-F]{2}|.)")


class Fields(t.NamedTuple):
    """Subject and issuer are as openssl prints them, so that they can be compared; times are in seconds since 1970."""

    subject: str
    issuer: str
    not_before: float
    not_after: float

    @property
    def name(self) -> str:
        return _spoken(self.subject)

    @property
    def issuer_name(self) -> str:
        return _spoken(self.issuer)


def fields_of(answer: str) -> Fields:
    """What openssl says to the :data:`QUESTION`."""
    # Not splitlines: there are line ends of Unicode that are printed as they are.
    said = dict(line.partition("=")[::2] for line in answer.split("\n"))
    return Fields(said["subject"], said["issuer"], _seconds(said["notBefore"]), _seconds(said["notAfter"]))


def _spoken(name: str) -> str:
    """The common name out of a subject or issuer; its last part where it has none."""
    found = [(kind, _ESCAPED.sub(_meant, value)) for kind, value in _ATTRIBUTE.findall(name)]
    common = [text for kind, text in found if kind == "CN"]
    return (common or [text for _kind, text in found] or [""])[-1]


def _meant(escaped: re.Match[str]) -> str:
    # A control character is told by its number.
    return chr(int(escaped[1], 16)) if len(escaped[1]) == 2 else escaped[1]


def _seconds(date: str) -> float:
    try:
        return seconds_of(date)
    except ValueError:
        # A time that no certificate may have is neither before nor after another one. OpenSSL says itself what is
        # wrong with it.
        return math.nan


class Held(t.NamedTuple):
    """A certificate of the texts."""

    label: str
    fields: Fields

    @property
    def self_issued(self) -> bool:
        return self.fields.issuer == self.fields.subject

    def __str__(self) -> str:
        return self.label.format(f"'{self.fields.name}'")


def labelled(authorities: str, certificate: str) -> list[tuple[str, str]]:
    """The label of each certificate, and the certificate: the host's, the intermediate ones and the authorities."""
    own, *between = parts(certificate)
    return [
        ("certificate ({})", own),
        *(("The intermediate certificate {} in certificate", part) for part in between),
        *((_AUTHORITY, part) for part in parts(authorities)),
    ]


def _way(known: t.Sequence[Held]) -> list[Held]:
    """From the host's certificate to its issuer and so on, by their names and as far as there are any."""
    way = [known[0]]
    while not way[-1].self_issued:
        issuers = [one for one in known if one.fields.subject == way[-1].fields.issuer and one not in way]
        if not issuers:
            break
        way.append(issuers[0])
    return way


# --- what handshakes say ---------------------------------------------------------------------------------------------


class Refusal(t.NamedTuple):
    """A handshake that failed."""

    # Whose certificate was refused, the "server"'s or the "client"'s.
    role: str
    # The name that the server was called by, if any.
    name: str
    # OpenSSL's number of what is wrong with the certificate; 0 when it is something else.
    code: int
    # What OpenSSL says about a certificate, or else the name of its reason.
    words: str


def refused(
    refusal: Refusal, known: t.Sequence[Held], now: float, names: t.Sequence[tuple[str, str]] | None
) -> list[str]:
    """Sentences for a handshake that failed.

    Args:
        refusal: what OpenSSL said.
        known: the certificates, in the order of :func:`labelled`.
        now: the seconds since 1970.
        names: the subject alternative names, as Python's ``getpeercert`` returns them; None when they are not known.
    """
    role, name, code, words = refusal
    own, way = known[0], _way(known)
    found = []
    if code in (_TOO_EARLY, _TOO_LATE):
        found = _untimely(known, way, now, code)
    elif code in _ISSUER_MISSING:
        found = [_no_way(own, words) if way[-1].self_issued else _gap(way[-1])]
    elif code == _BAD_SIGNATURE:
        found = [_no_way(own, words)]
    elif code == _ISSUER_OF_TRUSTED_MISSING and not way[-1].self_issued:
        found = [
            f"{way[-1]} is issued by '{way[-1].fields.issuer_name}', which is not there: add it to authorities, since"
            " trust has to end at an authority that issued itself."
        ]
    elif code == _OWN_ISSUER:
        found = [f"{own} has issued itself and is not in authorities: bring one that an authority there has issued."]
    elif code == _ROOT_NOT_TRUSTED:
        found = [
            f"{own} is issued by none of authorities, but by '{way[-1].fields.name}': add that to authorities,"
            " or bring one that an authority there has issued."
        ]
    elif code == _OTHER_PURPOSE:
        found = [
            f"{own} cannot be used by a {role}: bring one whose extended key usage contains {_PURPOSES[role]}, and"
            " whose key usage, if it has any, contains digitalSignature."
        ]
    elif code in _OTHER_NAME:
        kind = "IP" if is_address(name) else "DNS"
        wanted = f"the subject alternative name {kind}:{name}"
        found = [f"{own} is not valid for {name}{_instead(names)}: bring one with {wanted}."]
    elif code in _WEAK_CODES or words in _WEAK:
        found = [_TOO_WEAK]
    elif code == 0:
        found = [
            f"{own} and key cannot be used by a {role}, OpenSSL says '{_plain(words)}': bring others, for example with"
            " an EC key of the curve P-256."
        ]
    return found or [f"{own} is refused when a {role} shows it, OpenSSL says '{words}': bring another one."]


def _untimely(known: t.Sequence[Held], way: t.Sequence[Held], now: float, code: int) -> list[str]:
    wrong = [one for one in known if (one.fields.not_after < now if code == _TOO_LATE else one.fields.not_before > now)]
    # An authority's former certificate may well be there beside that which took its place.
    issuers = {one.fields.issuer for one in way}
    blamed = [one for one in wrong if one in way and one.label != _AUTHORITY]
    blamed = blamed or [one for one in wrong if one.label == _AUTHORITY and one.fields.subject in issuers]
    if code == _TOO_LATE:
        return [
            f"{one} is valid no longer than {_moment(one.fields.not_after)}, which is past: bring a new one."
            for one in blamed
        ]
    return [
        f"{one} is not valid before {_moment(one.fields.not_before)}: bring one that is valid now, or set the clock of"
        " this host."
        for one in blamed
    ]


def _gap(last: Held) -> str:
    issuer = last.fields.issuer_name
    return (
        f"{last} is issued by '{issuer}', which is neither in authorities nor among the intermediate certificates in"
        f" certificate: let '{issuer}' follow in certificate if it is an intermediate one, or add it to authorities if"
        " it is to be trusted."
    )


def _no_way(own: Held, words: str) -> str:
    return (
        f"{own} does not lead to one of authorities, though the names of its issuers do, OpenSSL says '{words}': one of"
        " them has another key than that of the same name in certificate or authorities, or may not issue. Bring the"
        " certificates of those that did issue it."
    )


def _instead(names: t.Sequence[tuple[str, str]] | None) -> str:
    if names is None:
        return ""
    valid = [f"DNS:{value}" for kind, value in names if kind == "DNS"]
    valid += [f"IP:{_address(value)}" for kind, value in names if kind == "IP Address"]
    if not valid:
        return ", and for no other name or address, since common names do not count"
    return f", but for {', '.join(valid)}"


def _address(value: str) -> str:
    """As everybody writes it: some versions of Python let a line end follow an IPv6 address, which is in capitals."""
    try:
        return str(ipaddress.ip_address(value.strip()))
    except ValueError:
        return value


def _moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))
