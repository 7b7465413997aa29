# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sentences about certificates that are brought. Those of real ones are in test_tls_certificate_check.py."""

from __future__ import annotations

import time
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.apiops.tyk_redis.plugins.module_utils._certificate_faults import (
    Fields,
    Held,
    Refusal,
    fields_of,
    is_address,
    is_name,
    key_faults,
    leaked,
    missing,
    parts,
    refused,
    unloadable,
    well_formed,
)

BEGIN, END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
NOW = 1800000000


def block(text: str = "MIIB") -> str:
    return f"{BEGIN}\n{text}\n{END}\n"


# --- the texts -------------------------------------------------------------------------------------------------------


def test_certificates_are_found_between_whatever_else_there_is() -> None:
    key = "-----BEGIN PRIVATE KEY-----\nMIGH\n-----END PRIVATE KEY-----\n"
    assert parts(f"# one\n{block('MIIB')}\n{key}# and two\r\n{block('MIIC')}{block('MIID')}\n") == [
        block("MIIB"),
        block("MIIC"),
        block("MIID"),
    ]
    assert parts("") == parts("nothing") == parts(END) == parts(key) == []


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        (block(), [True]),
        (block("  MIIB  \n\nMIIC=="), [True]),
        (block().replace("\n", "  \n"), [True]),
        (block(""), [False]),
        (block("größer"), [False]),
        (block("Proc-Type: 4,ENCRYPTED\n\nMIIB"), [False]),
        (block("Comment: none\n\nMIIB"), [False]),
        (f"{BEGIN}\nMIIB", [False]),
        (f"{BEGIN}\nMIIB\n{block()}", [False, True]),
        (f"  {block()}", [False]),
        (f"\ufeff{block()}", [False]),
        (f"{block().strip()}{block()}", [False, False]),
        (block().replace("\n", " "), [False]),
        (block().replace("\n", "\r"), [False]),
    ],
)
def test_a_certificate_has_nothing_but_base64_between_its_lines(text: str, whole: list[bool]) -> None:
    assert [well_formed(part) for part in parts(text)] == whole


@pytest.mark.parametrize("kind", ["", "RSA ", "EC ", "ENCRYPTED ", "OPENSSH "])
def test_keys_of_all_kinds_are_seen(kind: str) -> None:
    key = f"-----BEGIN {kind}PRIVATE KEY-----\nMIGH\n-----END {kind}PRIVATE KEY-----\n"
    assert leaked("certificate", block()) == []
    assert len(leaked("certificate", block() + key)) == 1
    assert len(key_faults(key)) == (kind == "ENCRYPTED ")
    assert len(key_faults(key.replace("MIGH", "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nMIGH"))) == 1


@given(st.text())
def test_any_text_has_a_sentence(text: str) -> None:
    assert bool(missing("certificate", text)) is (BEGIN not in text)
    assert bool(key_faults(text)) is ("PRIVATE KEY-----" not in text)


@pytest.mark.parametrize(
    ("name", "address", "good"),
    [
        ("192.0.2.11", True, True),
        ("2001:db8::11", True, True),
        ("2001:DB8:0::11", True, True),
        ("::ffff:192.0.2.11", True, True),
        ("fe80::1%eth0", False, False),
        ("[2001:db8::11]", False, False),
        ("192.0.2.0/24", False, False),
        ("192.0.2.300", False, False),
        ("1.2.3", False, False),
        ("redis1", False, True),
        ("redis_1.example.com", False, True),
        ("1.example.com", False, True),
        ("xn--grer-6qa7c.example.com", False, True),
        ("größer.example.com", False, False),
        ("example.com.", False, False),
        (".example.com", False, False),
        ("a..b", False, False),
        ("-a.example.com", False, False),
        ("*.example.com", False, False),
        ("a b", False, False),
        ("redis1\n", False, False),
        ("redis1:7379", False, False),
        ("", False, False),
        ("a" * 63, False, True),
        ("a" * 64, False, False),
        (".".join(["a" * 49] * 5), False, True),
        (".".join(["a" * 49] * 5) + ".abc", False, True),
        (".".join(["a" * 49] * 5) + ".abcd", False, False),
    ],
)
def test_what_a_name_is(name: str, address: bool, good: bool) -> None:
    assert (is_address(name), is_name(name)) == (address, good)


@pytest.mark.parametrize(
    ("library", "reason", "begin"),
    [
        ("X509", "KEY_VALUES_MISMATCH", "key does not belong to"),
        ("X509", "KEY_TYPE_MISMATCH", "key does not belong to"),
        ("SSL", "NO_CERTIFICATE_ASSIGNED", "key does not belong to"),
        ("SSL", "EE_KEY_TOO_SMALL", "certificate, or one of those that issued it, is too weak"),
        (
            "SSL",
            "UNKNOWN_CERTIFICATE_TYPE",
            "certificate and key cannot be loaded, OpenSSL says 'unknown certificate ty",
        ),
        ("SSL", None, "key is damaged"),
        ("SSL", "PEM_LIB", "key is damaged"),
        ("PEM", "NO_START_LINE", "key is damaged"),
        (None, None, "key is damaged"),
    ],
)
def test_why_a_key_is_not_taken(library: str | None, reason: str | None, begin: str) -> None:
    sentence = unloadable(library, reason)
    assert sentence.startswith(begin)
    assert sentence.endswith(".")


# --- what the certificates say ---------------------------------------------------------------------------------------

Person = list[list[tuple[str, str]]]
# What has a meaning in what openssl prints, and some that has none.
VALUES = st.text(' #,+=\\"<>;\n\x7f\0CNA0é\u2028') | st.text()
# Attributes that stand beside each other, and such groups one after the other.
PEOPLE = st.lists(
    st.lists(st.tuples(st.sampled_from(["CN", "O", "1.2.3.4"]), VALUES), min_size=1, max_size=2), max_size=3
)
# Four digits of a year, as every certificate has them.
SECONDS = st.integers(-30610224000, 253402300799)


def escaped(value: str) -> str:
    found = [
        f"\\{ord(one):02X}" if one < " " or one == "\x7f" else f"\\{one}" if one in ',+"\\<>;' else one for one in value
    ]
    if value[:1] in (" ", "#"):
        found[0] = f"\\{value[0]}"
    if value[-1:] == " ":
        found[-1] = "\\ "
    return "".join(found)


def printed(person: Person) -> str:
    return ",".join("+".join(f"{kind}={escaped(value)}" for kind, value in group) for group in person)


def called(person: Person) -> str:
    found = [one for group in person for one in group]
    return ["", *(value for _kind, value in found), *(value for kind, value in found if kind == "CN")][-1]


def answer(subject: str, issuer: str, begin: str, end: str) -> str:
    return f"subject={subject}\nissuer={issuer}\nnotBefore={begin}\nnotAfter={end}\n"


@given(PEOPLE, PEOPLE, SECONDS, SECONDS)
def test_what_openssl_prints_is_read(subject: Person, issuer: Person, begin: int, end: int) -> None:
    dates = [time.strftime("%b %e %H:%M:%S %Y GMT", time.gmtime(seconds)) for seconds in (begin, end)]
    found = fields_of(answer(printed(subject), printed(issuer), *dates))
    assert found == (printed(subject), printed(issuer), begin, end)
    assert (found.name, found.issuer_name) == (called(subject), called(issuer))


def test_a_time_that_openssl_cannot_read_is_told_in_its_words() -> None:
    fields = fields_of(answer("CN=redis1", "CN=root", "Bad time value", "Bad time value"))
    for code in (9, 10, 13, 14):
        assert told(code, Held("certificate ({})", fields), authority()) == [
            "certificate ('redis1') is refused when a server shows it, OpenSSL says 'OpenSSL's words': bring another"
            " one."
        ]


# --- what handshakes say ---------------------------------------------------------------------------------------------


def held(label: str, name: str, issuer: str, begin: int = NOW - 9, end: int = NOW + 9) -> Held:
    return Held(label, Fields(f"CN={name}", f"CN={issuer}", begin, end))


def own(issuer: str = "root", **times: int) -> Held:
    return held("certificate ({})", "redis1", issuer, **times)


def between(name: str, issuer: str = "root", **times: int) -> Held:
    return held("The intermediate certificate {} in certificate", name, issuer, **times)


def authority(name: str = "root", issuer: str = "", **times: int) -> Held:
    return held("The authority {} in authorities", name, issuer or name, **times)


def told(code: int, *known: Held, name: str = "", words: str = "OpenSSL's words") -> list[str]:
    return refused(Refusal("server", name, code, words), known, NOW, None)


def blamed(code: int, *known: Held) -> list[str]:
    return [sentence.split(" is ")[0] for sentence in told(code, *known)]


def test_who_has_expired() -> None:
    past: t.Any = {"end": NOW - 1}
    assert told(10, own(**past), authority()) == [
        "certificate ('redis1') is valid no longer than 2027-01-15 07:59 UTC, which is past: bring a new one."
    ]
    both = [own("between", **past), between("between", **past), between("unused", **past)]
    first = ["certificate ('redis1')", "The intermediate certificate 'between' in certificate"]
    assert blamed(10, *both, authority(**past)) == first
    assert blamed(10, own(), authority(), authority("root", **past), authority("other", **past)) == [
        "The authority 'root' in authorities"
    ]


def test_who_is_not_valid_yet() -> None:
    future: t.Any = {"begin": NOW + 1}
    assert told(9, own(**future), authority(**future)) == [
        "certificate ('redis1') is not valid before 2027-01-15 08:00 UTC: bring one that is valid now, or set the clock"
        " of this host."
    ]
    assert told(9, own(), authority(**future)) == [
        "The authority 'root' in authorities is not valid before 2027-01-15 08:00 UTC: bring one that is valid now, or"
        " set the clock of this host."
    ]


@pytest.mark.parametrize("code", [9, 10, 1, 25, 79])
def test_what_has_no_sentence_of_its_own_is_told_in_the_words_of_openssl(code: int) -> None:
    """Time too, if OpenSSL sees what is not seen here."""
    assert told(code, own(), authority()) == [
        "certificate ('redis1') is refused when a server shows it, OpenSSL says 'OpenSSL's words': bring another one."
    ]


def test_a_reason_that_is_about_no_certificate() -> None:
    assert told(0, own(), authority(), words="NO_SHARED_CIPHER") == [
        "certificate ('redis1') and key cannot be used by a server, OpenSSL says 'no shared cipher': bring others, for"
        " example with an EC key of the curve P-256."
    ]
    (sentence,) = told(0, own(), authority(), words="CA_KEY_TOO_SMALL")
    assert told(67, own(), authority(), words="CA certificate key too weak") == [sentence]


@pytest.mark.parametrize("code", [20, 21])
def test_the_last_one_whose_issuer_is_missing_is_named(code: int) -> None:
    assert blamed(code, own("between"), authority()) == ["certificate ('redis1')"]
    assert blamed(code, own("a"), between("a", "b"), between("c", "d"), authority()) == [
        "The intermediate certificate 'a' in certificate"
    ]
    # Two that issued each other, so to say.
    assert blamed(code, own("a"), between("a", "b"), between("b", "a")) == [
        "The intermediate certificate 'b' in certificate"
    ]
    (sentence,) = told(code, own(), authority())
    assert sentence.startswith("certificate ('redis1') does not lead to one of authorities, though the names of its")


CODES = st.integers(0, 100)
NAMES = st.sampled_from("abc")


@given(CODES, st.lists(st.tuples(NAMES, NAMES), max_size=4), st.sampled_from(["", "redis1", "192.0.2.11"]))
def test_every_refusal_has_a_sentence(code: int, issuers: list[tuple[str, str]], name: str) -> None:
    found = told(
        code, own("a"), *(between(*one) for one in issuers[:2]), *(authority(*one) for one in issuers[2:]), name=name
    )
    assert found
    assert all(sentence.endswith(".") for sentence in found)
