# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module as a whole, with real certificates and OpenSSL's own handshakes."""

from __future__ import annotations

import datetime
import functools
import ipaddress
import json
import os
import pathlib
import ssl
import stat
import typing as t

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ansible_collections.apiops.tyk_redis.plugins.modules import tls_certificate_check

Result = dict[str, t.Any]
Key = t.Union[ec.EllipticCurvePrivateKey, rsa.RSAPrivateKey, ed25519.Ed25519PrivateKey]
NOW = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
DAY = datetime.timedelta(days=1)
SERVER, CLIENT = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH
NAMES = ("192.0.2.11", "2001:db8::11", "redis1.example.com")
LINES = "from its line BEGIN CERTIFICATE to its line END CERTIFICATE."
NO_CERTIFICATE = (
    "certificate holds no certificate in PEM form: give the host's, followed by the intermediate ones, each " + LINES
)
NO_AUTHORITY = "authorities holds no certificate in PEM form: give that of each one to trust, each " + LINES
NO_KEY = (
    "key holds no private key in PEM form: give the one that the certificate was requested with, from its line BEGIN"
    " PRIVATE KEY to its line END PRIVATE KEY."
)
DAMAGED_KEY = "key is damaged, so that it cannot be read: copy it again, with its first and its last line."
OTHER_KEY = (
    "key does not belong to the first certificate in certificate: give the one that it was requested with, and let the"
    " host's certificate come before the intermediate ones."
)
PASSPHRASE = (
    "key has a passphrase, which nobody is there to type: take it away with 'openssl pkey -in FILE', and keep the key"
    " in a vault instead."
)
TOO_WEAK = (
    "certificate, or one of those that issued it, is too weak for the OpenSSL of this host: bring one with an RSA key"
    " of 2048 bits or an EC key of 256 bits at least, and signatures with SHA-256."
)


def damaged(what: str, number: int) -> str:
    return f"The certificate number {number} in {what} is damaged, so that it cannot be read: copy it again, {LINES}"


def missing(whose: str, issuer: str) -> str:
    return (
        f"{whose} is issued by '{issuer}', which is neither in authorities nor among the intermediate certificates in"
        f" certificate: let '{issuer}' follow in certificate if it is an intermediate one, or add it to authorities if"
        " it is to be trusted."
    )


def no_way(words: str) -> str:
    return (
        f"certificate ('redis1') does not lead to one of authorities, though the names of its issuers do, OpenSSL says"
        f" '{words}': one of them has another key than that of the same name in certificate or authorities, or may not"
        " issue. Bring the certificates of those that did issue it."
    )


def not_for(role: str) -> str:
    return (
        f"certificate ('redis1') cannot be used by a {role}: bring one whose extended key usage contains {role}Auth,"
        " and whose key usage, if it has any, contains digitalSignature."
    )


def moment(time: datetime.datetime) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC")


def past(whose: str, end: datetime.datetime) -> str:
    return f"{whose} is valid no longer than {moment(end)}, which is past: bring a new one."


# -- certificates ---------------------------------------------------------------------------------------------------


@functools.cache
def made(kind: str, _number: int) -> Key:
    if kind.startswith("rsa"):
        return rsa.generate_private_key(public_exponent=65537, key_size=int(kind[3:]))
    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    curves = {"ec": ec.SECP256R1(), "ec384": ec.SECP384R1(), "secp256k1": ec.SECP256K1()}
    return ec.generate_private_key(curves[kind])


def key_of(kind: str, number: int = 0) -> Key:
    """The same one for the same number."""
    return made(kind, number)


def pem(key: Key, passphrase: str = "", traditional: bool = False) -> str:
    lock = serialization.BestAvailableEncryption(passphrase.encode()) if passphrase else serialization.NoEncryption()
    kind = serialization.PrivateFormat.TraditionalOpenSSL if traditional else serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, kind, lock).decode()


def names_of(*names: str) -> x509.SubjectAlternativeName:
    found: list[x509.GeneralName] = []
    for name in names:
        try:
            found.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            found.append(x509.DNSName(name))
    return x509.SubjectAlternativeName(found)


class Authority:
    """One that has issued itself, or an intermediate one."""

    def __init__(
        self,
        name: str,
        issuer: Authority | None = None,
        kind: str = "ec",
        number: int = 1,
        begin: datetime.datetime = NOW - 10 * DAY,
        end: datetime.datetime = NOW + 100 * DAY,
    ) -> None:
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.key = key_of(kind, number)
        extension = x509.BasicConstraints(ca=True, path_length=None)
        self.pem = (issuer or self)._sign(self.name, self.key, begin, end, {extension: True})

    def issue(
        self,
        *names: str,
        usage: t.Collection[x509.ObjectIdentifier] = (SERVER, CLIENT),
        kind: str = "ec",
        begin: datetime.datetime = NOW - DAY,
        end: datetime.datetime = NOW + 10 * DAY,
        more: t.Mapping[x509.ExtensionType, bool] | None = None,
    ) -> str:
        """A certificate of the host redis1 with the key that is the first of its kind."""
        extensions: dict[x509.ExtensionType, bool] = dict(more or {})
        if names:
            extensions[names_of(*names)] = False
        if usage:
            extensions[x509.ExtendedKeyUsage(usage)] = False
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "redis1")])
        return self._sign(subject, key_of(kind), begin, end, extensions)

    def _sign(
        self,
        subject: x509.Name,
        key: Key,
        begin: datetime.datetime,
        end: datetime.datetime,
        extensions: t.Mapping[x509.ExtensionType, bool],
    ) -> str:
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(end)
        )
        for extension, critical in extensions.items():
            builder = builder.add_extension(extension, critical)
        algorithm = None if isinstance(self.key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
        return builder.sign(self.key, algorithm).public_bytes(serialization.Encoding.PEM).decode()


ROOT = Authority("root")
BETWEEN = Authority("between", ROOT, number=2)
OTHER = Authority("other", number=3)
GARBAGE = "-----BEGIN CERTIFICATE-----\nTm90IGEgY2VydGlmaWNhdGU=\n-----END CERTIFICATE-----\n"


# -- the module -----------------------------------------------------------------------------------------------------


class Run(t.Protocol):
    def __call__(self, check: bool = False, **options: t.Any) -> Result: ...


@pytest.fixture(name="temporary")
def fixture_temporary(tmp_path: pathlib.Path) -> pathlib.Path:
    folder = tmp_path / "ansible"
    folder.mkdir()
    return folder


@pytest.fixture(name="asked")
def fixture_asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the program openssl got."""
    run_command, asked = AnsibleModule.run_command, []

    def watched(module: AnsibleModule, command: list[str], data: str, **options: t.Any) -> t.Any:
        assert os.path.basename(command[0]) == "openssl"
        asked.extend((*command, data))
        return run_command(module, command, data=data, **options)

    monkeypatch.setattr(AnsibleModule, "run_command", watched)
    return asked


@pytest.fixture(name="journal")
def fixture_journal(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is written to the host's journal."""
    written: list[str] = []
    monkeypatch.setattr(
        AnsibleModule, "log", lambda _module, message, log_args=None: written.append(f"{message}{log_args}")
    )
    return written


@pytest.fixture(name="run")
def fixture_run(
    capsys: pytest.CaptureFixture[str], temporary: pathlib.Path, asked: list[str], journal: list[str]
) -> Run:
    """Run the module, with all that is good if nothing else is said, and look whether it lays anything open."""

    def run(check: bool = False, **options: t.Any) -> Result:
        arguments = {"authorities": ROOT.pem, "certificate": ROOT.issue(*NAMES), "key": pem(key_of("ec")), **options}
        secrets = [line for text in arguments.values() for line in secret_lines(text if isinstance(text, str) else "")]
        with (
            patch_module_args({**arguments, "_ansible_check_mode": check, "_ansible_remote_tmp": str(temporary)}),
            pytest.raises(SystemExit),
        ):
            tls_certificate_check.main()
        out, err = capsys.readouterr()
        assert [path for path in temporary.rglob("*") if not path.is_dir()] == []
        assert journal != []
        assert [secret for secret in secrets if secret in out + err + "".join([*asked, *journal])] == []
        result: Result = json.loads(out)
        assert result["changed"] is False
        assert result.get("msg", "") == " ".join(result["problems"])
        assert bool(result["problems"]) is result.get("failed", False)
        return result

    return run


def secret_lines(text: str) -> list[str]:
    """The lines of the keys in a text, which others do not have."""
    found, inside = [], False
    for line in text.splitlines():
        inside = (inside or ("BEGIN" in line and "PRIVATE KEY" in line)) and "-----END" not in line
        if inside and not line.startswith("-----") and len(line) > 8:
            found.append(line)
    return found


def problems(result: Result) -> list[str]:
    found: list[str] = result["problems"]
    assert all(sentence.endswith(".") for sentence in found)
    return found


# -- good ones ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize("kind", ["ec", "ec384", "rsa2048", "ed25519"])
def test_good_certificates(run: Run, kind: str, check: bool) -> None:
    result = run(
        check, certificate=ROOT.issue(*NAMES, kind=kind), key=pem(key_of(kind)), server_names=[*NAMES, "192.0.2.11"]
    )
    assert problems(result) == []


def test_nothing_but_the_results_is_told(run: Run) -> None:
    result = run()
    assert {key: result[key] for key in result if key != "invocation"} == {"changed": False, "problems": []}


@pytest.mark.parametrize("kind", ["ec", "rsa2048"])
def test_an_authority_of_another_kind(run: Run, kind: str) -> None:
    root = Authority("mixed", kind="rsa2048")
    certificate = root.issue(*NAMES, kind=kind)
    result = run(authorities=root.pem, certificate=certificate, key=pem(key_of(kind)), server_names=list(NAMES))
    assert problems(result) == []


@pytest.mark.parametrize(
    ("authorities", "intermediate"),
    [
        pytest.param(ROOT.pem, BETWEEN.pem, id="behind the host's"),
        pytest.param(ROOT.pem, BETWEEN.pem + ROOT.pem, id="with the root"),
        pytest.param(ROOT.pem + BETWEEN.pem, "", id="among those that are trusted"),
    ],
)
def test_an_intermediate_certificate(run: Run, authorities: str, intermediate: str) -> None:
    certificate = BETWEEN.issue(*NAMES) + intermediate
    assert problems(run(authorities=authorities, certificate=certificate, server_names=list(NAMES))) == []


@pytest.mark.parametrize(
    "bundle",
    [OTHER.pem + ROOT.pem, ROOT.pem + OTHER.pem, ROOT.pem + ROOT.pem],
    ids=["the second", "the first", "twice the same"],
)
def test_one_authority_of_two(run: Run, bundle: str) -> None:
    assert problems(run(authorities=bundle, server_names=list(NAMES))) == []


def test_an_authority_that_was_renewed_with_its_key(run: Run) -> None:
    former = Authority("root", end=NOW - DAY)
    for bundle in (former.pem + ROOT.pem, ROOT.pem + former.pem):
        assert problems(run(authorities=bundle, server_names=list(NAMES))) == []


def test_no_extended_key_usage_is_every_one(run: Run) -> None:
    assert problems(run(certificate=ROOT.issue(*NAMES, usage=()), server_names=list(NAMES))) == []


def test_one_that_is_for_clients_only_is_a_good_client(run: Run) -> None:
    assert problems(run(certificate=ROOT.issue("tyk1", usage=(CLIENT,)))) == []
    assert problems(run(certificate=ROOT.issue(usage=(CLIENT,)), server_names=[])) == []


def test_one_that_is_for_servers_only_is_a_good_server(run: Run) -> None:
    certificate = ROOT.issue(*NAMES, usage=(SERVER,))
    assert problems(run(certificate=certificate, server_names=list(NAMES), client=False)) == []


def test_wildcards_stand_for_one_label(run: Run) -> None:
    certificate = ROOT.issue("*.example.com")
    assert problems(run(certificate=certificate, server_names=["redis1.example.com", "REDIS2.example.com"])) == []
    assert len(problems(run(certificate=certificate, server_names=["a.b.example.com", "example.com"]))) == 2


def test_texts_may_have_comments_and_line_ends_of_their_own(run: Run) -> None:
    certificate = "# größer\nsubject=CN = redis1\n\n" + ROOT.issue(*NAMES) + "\n\n"
    key = "Bag Attributes\n" + pem(key_of("ec"), traditional=True)
    for line_end in ("\n", "\r\n"):
        texts = {"authorities": f"# é\n{ROOT.pem}", "certificate": certificate, "key": key}
        options = {name: text.replace("\n", line_end) for name, text in texts.items()}
        assert problems(run(**options, server_names=list(NAMES))) == []


# -- issuers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("names", [[], list(NAMES)])
def test_a_missing_intermediate_certificate(run: Run, names: list[str]) -> None:
    result = run(certificate=BETWEEN.issue(*NAMES), server_names=names)
    assert problems(result) == [missing("certificate ('redis1')", "between")]


def test_the_gap_is_found_where_it_is(run: Run) -> None:
    lower = Authority("lower", BETWEEN, number=4)
    result = run(certificate=lower.issue(*NAMES) + lower.pem, server_names=list(NAMES))
    assert problems(result) == [missing("The intermediate certificate 'lower' in certificate", "between")]


@pytest.mark.parametrize("names", [[], list(NAMES)])
def test_another_authority(run: Run, names: list[str]) -> None:
    result = run(certificate=OTHER.issue(*NAMES), server_names=names)
    assert problems(result) == [missing("certificate ('redis1')", "other")]


def test_another_authority_that_is_shown(run: Run) -> None:
    assert problems(run(certificate=OTHER.issue(*NAMES) + OTHER.pem)) == [
        "certificate ('redis1') is issued by none of authorities, but by 'other': add that to authorities, or bring one"
        " that an authority there has issued."
    ]


def test_another_authority_of_the_same_name(run: Run) -> None:
    again = Authority("root", number=5)
    assert problems(run(authorities=again.pem, server_names=list(NAMES))) == [no_way("certificate signature failure")]


def test_another_authority_of_the_same_name_that_is_told_by_its_key(run: Run) -> None:
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(ROOT.key.public_key())
    certificate = ROOT.issue(*NAMES, more={identifier: False})
    again = x509.load_pem_x509_certificate(Authority("root", number=5).pem.encode())
    named = (
        x509.CertificateBuilder()
        .subject_name(ROOT.name)
        .issuer_name(ROOT.name)
        .public_key(again.public_key())
        .serial_number(1)
        .not_valid_before(NOW - DAY)
        .not_valid_after(NOW + DAY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key_of("ec", 5).public_key()), False)
        .sign(t.cast(ec.EllipticCurvePrivateKey, key_of("ec", 5)), hashes.SHA256())
    )
    authorities = named.public_bytes(serialization.Encoding.PEM).decode()
    found = problems(run(authorities=authorities, certificate=certificate, server_names=list(NAMES)))
    assert found == [no_way("unable to get local issuer certificate")]


def test_an_intermediate_authority_is_not_trusted_alone(run: Run) -> None:
    assert problems(run(authorities=BETWEEN.pem, certificate=BETWEEN.issue(*NAMES), server_names=list(NAMES))) == [
        "The authority 'between' in authorities is issued by 'root', which is not there: add it to authorities, since"
        " trust has to end at an authority that issued itself."
    ]


def test_a_certificate_that_issued_itself(run: Run) -> None:
    itself = Authority("redis1", number=0)
    assert problems(run(certificate=itself.pem)) == [
        "certificate ('redis1') has issued itself and is not in authorities: bring one that an authority there has"
        " issued."
    ]


def test_an_issuer_that_is_no_authority(run: Run) -> None:
    """Something that has no sentence of its own, in OpenSSL's words."""
    no_authority = Authority("redis2", number=6)
    no_authority.pem = ROOT._sign(no_authority.name, no_authority.key, NOW - DAY, NOW + DAY, {})
    (sentence,) = problems(run(certificate=no_authority.issue(*NAMES) + no_authority.pem))
    assert sentence == (
        "certificate ('redis1') is refused when a client shows it, OpenSSL says 'invalid CA certificate': bring another"
        " one."
    )


def common(name: str, kind: _ASN1Type = _ASN1Type.UTF8String) -> x509.NameAttribute[str]:
    return x509.NameAttribute(NameOID.COMMON_NAME, name, _type=kind)


ORGANIZATION = x509.NameAttribute(NameOID.ORGANIZATION_NAME, "an organization")


@pytest.mark.parametrize(
    ("attributes", "name"),
    [
        ([common("größer")], "größer"),
        ([common("größer", _ASN1Type.BMPString)], "größer"),
        ([common("a"), ORGANIZATION], "a"),
        ([x509.NameAttribute(NameOID.COUNTRY_NAME, "NL"), ORGANIZATION], "an organization"),
        ([x509.NameAttribute(x509.ObjectIdentifier("1.2.3.4"), "something")], "something"),
        ([common("a"), common("b")], "b"),
        ([common(' #a,CN=b+c\\"<>; ')], ' #a,CN=b+c\\"<>; '),
        ([common("a\nissuer=CN=b\x7f\u2028")], "a\nissuer=CN=b\x7f\u2028"),
        ([], ""),
        # Names are compared as a whole, so that this one is not the authority's.
        ([ORGANIZATION, common("root")], "root"),
    ],
)
def test_one_is_called_by_its_common_name(run: Run, attributes: list[x509.NameAttribute[str]], name: str) -> None:
    stranger = Authority("stranger", number=3)
    stranger.name = x509.Name(attributes)
    assert problems(run(certificate=stranger.issue(*NAMES))) == [missing("certificate ('redis1')", name)]


# -- time -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("names", [[], list(NAMES)])
def test_one_that_has_expired(run: Run, names: list[str]) -> None:
    end = NOW - DAY / 2
    result = run(certificate=ROOT.issue(*NAMES, end=end), server_names=names)
    assert problems(result) == [past("certificate ('redis1')", end)]


@pytest.mark.parametrize("names", [[], list(NAMES)])
def test_one_that_is_not_valid_yet(run: Run, names: list[str]) -> None:
    begin = NOW + DAY
    result = run(certificate=ROOT.issue(*NAMES, begin=begin), server_names=names)
    assert problems(result) == [
        f"certificate ('redis1') is not valid before {moment(begin)}: bring one that is valid now, or set the clock of"
        " this host."
    ]


def test_the_one_that_has_expired_is_named(run: Run) -> None:
    end = NOW - DAY
    between = Authority("between", ROOT, number=2, end=end)
    found = problems(run(certificate=between.issue(*NAMES) + between.pem + OTHER.pem))
    assert found == [past("The intermediate certificate 'between' in certificate", end)]

    root, unused = Authority("root", end=end), Authority("unused", number=3, end=end)
    found = problems(run(authorities=unused.pem + root.pem, server_names=list(NAMES)))
    assert found == [past("The authority 'root' in authorities", end)]


# -- names ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("192.0.2.12", "IP:192.0.2.12"),
        ("2001:db8::12", "IP:2001:db8::12"),
        ("redis2.example.com", "DNS:redis2.example.com"),
        # Common names do not count.
        ("redis1", "DNS:redis1"),
    ],
)
def test_a_name_that_it_does_not_have(run: Run, name: str, wanted: str) -> None:
    assert problems(run(server_names=[name, *NAMES])) == [
        f"certificate ('redis1') is not valid for {name}, but for DNS:redis1.example.com, IP:192.0.2.11,"
        f" IP:2001:db8::11: bring one with the subject alternative name {wanted}."
    ]


def test_an_address_is_no_dns_name(run: Run) -> None:
    address = x509.SubjectAlternativeName([x509.DNSName("192.0.2.11")])
    certificate = ROOT.issue(more={address: False})
    assert problems(run(certificate=certificate, server_names=["192.0.2.11"])) == [
        "certificate ('redis1') is not valid for 192.0.2.11, but for DNS:192.0.2.11: bring one with the subject"
        " alternative name IP:192.0.2.11."
    ]


def test_no_name_at_all(run: Run) -> None:
    assert problems(run(certificate=ROOT.issue(), server_names=["redis1"])) == [
        "certificate ('redis1') is not valid for redis1, and for no other name or address, since common names do not"
        " count: bring one with the subject alternative name DNS:redis1."
    ]


def test_what_is_neither_a_name_nor_an_address(run: Run) -> None:
    wrong = ["", "192.0.2.300", "redis1:7379", "[2001:db8::11]", "fe80::11%eth0", ".example.com", "größer", "a" * 64]
    assert problems(run(server_names=[*NAMES, *wrong])) == [
        f"server_names has {name!r}, which is neither an IP address nor a DNS name: correct it." for name in wrong
    ]


# -- purposes -------------------------------------------------------------------------------------------------------


def test_one_that_is_for_servers_only(run: Run) -> None:
    certificate = ROOT.issue(*NAMES, usage=(SERVER,))
    for names in ([], list(NAMES)):
        assert problems(run(certificate=certificate, server_names=names)) == [not_for("client")]


@pytest.mark.parametrize("client", [True, False])
def test_one_that_is_for_clients_only(run: Run, client: bool) -> None:
    certificate = ROOT.issue(*NAMES, usage=(CLIENT,))
    result = run(certificate=certificate, server_names=list(NAMES), client=client)
    assert problems(result) == [not_for("server")]


def test_one_that_is_for_neither(run: Run) -> None:
    certificate = ROOT.issue(*NAMES, usage=(ExtendedKeyUsageOID.CODE_SIGNING,))
    found = problems(run(certificate=certificate, server_names=list(NAMES)))
    assert found == [not_for("server"), not_for("client")]


# -- handshakes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_both_versions_tell_the_same(run: Run, monkeypatch: pytest.MonkeyPatch, version: ssl.TLSVersion) -> None:
    """With TLS 1.3 a client is done before its certificate is refused."""
    shake_hands, seen = tls_certificate_check.shake_hands, []

    def limited(client: ssl.SSLContext, server: ssl.SSLContext, name: str | None = None) -> t.Any:
        client.minimum_version = client.maximum_version = version
        found = shake_hands(client, server, name)
        seen.append(found[0])
        return found

    monkeypatch.setattr(tls_certificate_check, "shake_hands", limited)
    assert problems(run(server_names=list(NAMES))) == []
    assert seen == [None] * 5
    certificate = ROOT.issue(*NAMES[1:], usage=(SERVER,))
    assert problems(run(certificate=certificate, server_names=list(NAMES))) == [
        "certificate ('redis1') is not valid for 192.0.2.11, but for DNS:redis1.example.com, IP:2001:db8::11: bring one"
        " with the subject alternative name IP:192.0.2.11.",
        not_for("client"),
    ]
    # The alerts that the other ends get are not told.
    assert [one.reason for one in seen[5:] if one] == ["CERTIFICATE_VERIFY_FAILED"] * 2


def test_a_handshake_that_fails_for_another_reason(run: Run) -> None:
    """Nobody offers this curve."""
    certificate = ROOT.issue(*NAMES, kind="secp256k1")
    assert problems(run(certificate=certificate, key=pem(key_of("secp256k1")), server_names=["192.0.2.11"])) == [
        f"certificate ('redis1') and key cannot be used by a {role}, OpenSSL says 'no shared cipher': bring others, for"
        " example with an EC key of the curve P-256."
        for role in ("server", "client")
    ]


def test_a_handshake_that_does_not_end_is_no_success(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls_certificate_check, "FLIGHTS", 1)
    found = problems(run(server_names=["192.0.2.11"]))
    assert [sentence.split(",")[0] for sentence in found] == [
        f"certificate ('redis1') and key cannot be used by a {role}" for role in ("server", "client")
    ]


# -- texts ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["ec", "rsa2048"])
def test_the_key_of_another_certificate(run: Run, kind: str) -> None:
    assert problems(run(key=pem(key_of(kind, 9)), server_names=list(NAMES))) == [OTHER_KEY]


def test_certificates_in_the_wrong_order(run: Run) -> None:
    assert problems(run(certificate=BETWEEN.pem + BETWEEN.issue(*NAMES))) == [OTHER_KEY]


@pytest.mark.parametrize(("kind", "traditional"), [("ec", False), ("ec", True), ("rsa2048", True)])
def test_a_key_with_a_passphrase(run: Run, monkeypatch: pytest.MonkeyPatch, kind: str, traditional: bool) -> None:
    key = pem(key_of(kind), "correct horse", traditional)
    assert problems(run(certificate=ROOT.issue(*NAMES, kind=kind), key=key)) == [PASSPHRASE]
    # Nobody is asked even if it was not seen.
    monkeypatch.setattr(tls_certificate_check, "key_faults", lambda _key: [])
    assert problems(run(certificate=ROOT.issue(*NAMES, kind=kind), key=key)) == [DAMAGED_KEY]


@pytest.mark.parametrize(
    ("option", "text", "sentence"),
    [
        pytest.param("authorities", "", NO_AUTHORITY, id="no authorities"),
        pytest.param("authorities", "trust me", NO_AUTHORITY, id="other text as authorities"),
        pytest.param("authorities", GARBAGE, damaged("authorities", 1), id="garbage as authorities"),
        pytest.param("authorities", ROOT.pem + GARBAGE, damaged("authorities", 2), id="garbage after an authority"),
        pytest.param(
            "authorities", ROOT.pem.replace("\n", " "), damaged("authorities", 1), id="an authority in one line"
        ),
        pytest.param(
            "authorities",
            ROOT.pem.replace("\n", "\\n"),
            damaged("authorities", 1),
            id="an authority with escaped line ends",
        ),
        pytest.param(
            "authorities", ROOT.pem.replace("\n", "\n  "), damaged("authorities", 1), id="an authority that is indented"
        ),
        pytest.param("certificate", "", NO_CERTIFICATE, id="no certificate"),
        pytest.param("certificate", "trust me", NO_CERTIFICATE, id="other text as certificate"),
        pytest.param("certificate", GARBAGE, damaged("certificate", 1), id="garbage as certificate"),
        pytest.param(
            "certificate", ROOT.issue(*NAMES)[:-30], damaged("certificate", 1), id="a certificate without its end"
        ),
        pytest.param(
            "certificate",
            BETWEEN.issue(*NAMES) + BETWEEN.pem[:200] + "\n" + ROOT.pem,
            damaged("certificate", 2),
            id="a chain that was cut",
        ),
        pytest.param("key", "", NO_KEY, id="no key"),
        pytest.param("key", "a key", NO_KEY, id="other text as key"),
        pytest.param("key", ROOT.pem, NO_KEY, id="a certificate as key"),
        pytest.param(
            "key", "-----BEGIN PRIVATE KEY-----\nMIGH\n-----END PRIVATE KEY-----\n", DAMAGED_KEY, id="garbage as key"
        ),
        pytest.param("key", pem(key_of("ec"))[:120], DAMAGED_KEY, id="a key without its end"),
        pytest.param("key", pem(key_of("ec")).replace("\n", " "), DAMAGED_KEY, id="a key in one line"),
    ],
)
def test_a_text_that_cannot_be_read(run: Run, option: str, text: str, sentence: str) -> None:
    assert problems(run(**{option: text}, server_names=list(NAMES))) == [sentence]


def test_a_certificate_with_a_passphrase_never_gets_to_openssl(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would ask for the passphrase on a terminal."""
    load, seen = ssl.SSLContext.load_verify_locations, []

    def watched(context: ssl.SSLContext, *, cadata: str) -> None:
        seen.append(cadata)
        load(context, cadata=cadata)

    monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", watched)
    begin, _line_end, rest = ROOT.pem.partition("\n")
    header = "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00112233445566778899AABBCCDDEEFF\n\n"
    certificate = ROOT.issue(*NAMES)
    assert problems(run(authorities=f"{begin}\n{header}{rest}", certificate=certificate)) == [damaged("authorities", 1)]
    assert seen == [certificate]


@pytest.mark.parametrize("option", ["authorities", "certificate"])
def test_a_key_in_the_wrong_place(run: Run, option: str) -> None:
    texts = {"authorities": ROOT.pem, "certificate": ROOT.issue(*NAMES)}
    result = run(**{option: texts[option] + pem(key_of("ec"))}, server_names=list(NAMES))
    assert problems(result) == [
        f"{option} holds a private key: keep it in key alone, and replace it if others may have read it."
    ]


def test_texts_that_are_mixed_up(run: Run) -> None:
    result = run(certificate=pem(key_of("ec")), key=ROOT.issue(*NAMES))
    assert problems(result) == [
        "certificate holds a private key: keep it in key alone, and replace it if others may have read it.",
        NO_CERTIFICATE,
        NO_KEY,
    ]


def test_one_that_is_too_weak(run: Run) -> None:
    certificate = ROOT.issue(*NAMES, kind="rsa1024")
    assert problems(run(certificate=certificate, key=pem(key_of("rsa1024")))) == [TOO_WEAK]
    root = Authority("weak", kind="rsa1024")
    for names in ([], list(NAMES)):
        result = run(authorities=root.pem, certificate=root.issue(*NAMES), server_names=names)
        assert problems(result) == [TOO_WEAK]


# -- the program openssl --------------------------------------------------------------------------------------------


def test_openssl_is_asked_only_about_what_is_refused(run: Run, asked: list[str]) -> None:
    assert problems(run(server_names=list(NAMES))) == []
    assert problems(run(key=pem(key_of("ec", 9)))) == [OTHER_KEY]
    assert asked == []
    certificate = OTHER.issue(*NAMES)
    assert problems(run(certificate=certificate + pem(key_of("ec")), server_names=list(NAMES))) == [
        "certificate holds a private key: keep it in key alone, and replace it if others may have read it.",
        missing("certificate ('redis1')", "other"),
    ]
    assert [text for text in asked if "BEGIN" in text] == [certificate, ROOT.pem]


def test_without_openssl_that_is_told(
    temporary: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(temporary))
    arguments = {"authorities": ROOT.pem, "certificate": OTHER.issue(), "key": pem(key_of("ec"))}
    with patch_module_args({**arguments, "_ansible_remote_tmp": str(temporary)}), pytest.raises(SystemExit):
        tls_certificate_check.main()
    result = json.loads(capsys.readouterr().out)
    assert result["failed"] is True
    assert 'Failed to find required executable "openssl"' in result["msg"]


# -- all at once ----------------------------------------------------------------------------------------------------


def test_everything_that_is_wrong_is_told(run: Run) -> None:
    result = run(authorities="", certificate=GARBAGE, key=pem(key_of("ec"), "secret"), server_names=["", "redis2"])
    assert problems(result) == [
        NO_AUTHORITY,
        damaged("certificate", 1),
        PASSPHRASE,
        "server_names has '', which is neither an IP address nor a DNS name: correct it.",
    ]
    result = run(authorities="", key=pem(key_of("ec", 9)))
    assert problems(result) == [NO_AUTHORITY, OTHER_KEY]

    certificate = ROOT.issue("192.0.2.11", usage=(SERVER,), end=NOW - DAY / 2)
    own = "certificate ('redis1')"
    assert problems(run(certificate=certificate, server_names=["192.0.2.1", "redis2"])) == [
        past(own, NOW - DAY / 2),
        f"{own} is not valid for 192.0.2.1: bring one with the subject alternative name IP:192.0.2.1.",
        f"{own} is not valid for redis2: bring one with the subject alternative name DNS:redis2.",
        not_for("client"),
    ]


def test_without_handshakes_the_texts_are_still_read(run: Run) -> None:
    assert problems(run(certificate=OTHER.issue(), client=False)) == []
    assert problems(run(key=pem(key_of("ec", 9)), client=False)) == [OTHER_KEY]
    assert problems(run(authorities=GARBAGE, client=False)) == [damaged("authorities", 1)]


# -- files ----------------------------------------------------------------------------------------------------------


def test_nobody_else_reads_the_files(run: Run, temporary: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load, seen = ssl.SSLContext.load_cert_chain, []

    def watched(context: ssl.SSLContext, *files: str, **options: t.Any) -> None:
        seen.extend((path, stat.S_IMODE(os.stat(path).st_mode)) for path in files)
        load(context, *files, **options)

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", watched)
    before = os.umask(0)
    try:
        assert problems(run()) == []
    finally:
        os.umask(before)
    assert seen
    for path, mode in seen:
        assert (mode, temporary in pathlib.Path(path).parents, os.path.exists(path)) == (0o600, True, False)


def test_the_files_go_when_something_breaks(
    temporary: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    there = []

    def breaks(_context: ssl.SSLContext, *files: str, **_options: t.Any) -> None:
        there.extend(os.path.exists(path) for path in files)
        raise RuntimeError("it breaks")

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", breaks)
    arguments = {"authorities": ROOT.pem, "certificate": ROOT.issue(), "key": pem(key_of("ec"))}
    with (
        patch_module_args({**arguments, "_ansible_remote_tmp": str(temporary)}),
        pytest.raises(RuntimeError, match="it breaks"),
    ):
        tls_certificate_check.main()
    assert there == [True, True]
    assert [path for path in temporary.rglob("*") if not path.is_dir()] == []
    assert capsys.readouterr().out == ""
