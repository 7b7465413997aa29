#!/usr/bin/python
# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: tls_certificate_check
short_description: Try certificates before they are installed
version_added: 0.2.0
description:
  - Lets a server and a client shake hands with certificates that others have issued, as Redis and Tyk will, and tells
    everything that is wrong with them.
  - The handshakes are made by OpenSSL in the memory of this process. Nothing is sent, and nothing is changed.
  - The certificate and its key are written to files that nobody else can read, because Python takes them from files
    only. The files are removed again.
  - When something is refused, the program C(openssl) is asked whose the certificates are, who issued them and when they
    are valid. It does not get the key.
author:
  - The apiops.tyk_redis contributors (@apiops)
extends_documentation_fragment:
  - apiops.tyk_redis._attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  authorities:
    description:
      - The certificates of the authorities to trust, as PEM text.
      - An intermediate authority is trusted only together with those that issued it, up to the one that issued itself.
    type: str
    required: true
  certificate:
    description:
      - The host's certificate as PEM text, followed by the intermediate ones.
    type: str
    required: true
  key:
    description:
      - The key that goes with it as PEM text, without a passphrase.
    type: str
    required: true
  server_names:
    description:
      - The IP addresses and DNS names that clients will call the host by as a server.
      - The certificate has to have each as a subject alternative name. Its common name does not count.
      - When empty, the certificate is not tried as a server's.
    type: list
    elements: str
    default: []
  client:
    description:
      - Whether the certificate is also tried as a client's.
      - When V(false) and O(server_names) is empty, it is only looked whether the three texts can be read, and whether
        the key belongs to the certificate.
    type: bool
    default: true
requirements:
  - the program C(openssl)
seealso:
  - module: apiops.tyk_redis.tls_certificate_info
    description: Looks at certificates that are installed.
"""

EXAMPLES = r"""
- name: Try what is brought for a Redis host
  apiops.tyk_redis.tls_certificate_check:
    authorities: "{{ pki_brought_ca }}"
    certificate: "{{ pki_brought_certificate }}"
    key: "{{ pki_brought_key }}"
    server_names: ["192.0.2.11", "2001:db8::11", "redis1.example.com"]

- name: Try what is brought for a Tyk host, which is a client only
  apiops.tyk_redis.tls_certificate_check:
    authorities: "{{ pki_brought_ca }}"
    certificate: "{{ pki_brought_certificate }}"
    key: "{{ pki_brought_key }}"
"""

RETURN = r"""
problems:
  description:
    - A sentence for everything that is wrong, with the remedy. The module fails when there is one.
  returned: when the certificates could be tried
  type: list
  elements: str
  sample:
    - >-
      certificate ('redis1') is not valid for 192.0.2.12, but for DNS:redis1, IP:192.0.2.11: bring one with the subject
      alternative name IP:192.0.2.12.
"""

import ssl
import tempfile
import time
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.apiops.tyk_redis.plugins.module_utils._certificate_faults import (
    QUESTION,
    Held,
    Refusal,
    fields_of,
    is_name,
    key_faults,
    labelled,
    leaked,
    missing,
    no_name,
    parts,
    refused,
    unloadable,
    unreadable,
    well_formed,
)

# Of either end; TLS 1.2 takes two, and TLS 1.3 two at most.
FLIGHTS = 8


def readable(part: str) -> bool:
    if not well_formed(part):
        return False
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=part)
    except ssl.SSLError:
        return False
    return True


def damaged(what: str, text: str) -> list[str]:
    return [unreadable(what, number) for number, part in enumerate(parts(text), 1) if not readable(part)]


def verify_by(context: ssl.SSLContext, authorities: str) -> None:
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata="".join(parts(authorities)))


def load(contexts: t.Iterable[ssl.SSLContext], certificate: str, key: str, folder: str) -> None:
    """Give each its own certificate.

    Raises:
        ssl.SSLError: OpenSSL does not take them.
    """
    # Both are made with mode 0600.
    with tempfile.NamedTemporaryFile(dir=folder) as cert_file, tempfile.NamedTemporaryFile(dir=folder) as key_file:
        for file, text in ((cert_file, certificate), (key_file, key)):
            file.write(text.strip().encode(errors="surrogateescape") + b"\n")
            file.flush()
        for context in contexts:
            # Without a password OpenSSL would ask for one when the key needs it.
            context.load_cert_chain(cert_file.name, key_file.name, password="")


def shake_hands(
    client: ssl.SSLContext, server: ssl.SSLContext, name: str | None = None
) -> tuple[ssl.SSLError | None, t.Mapping[str, t.Any]]:
    """The error, and what the server's certificate says if the client has verified it."""
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    dialling = client.wrap_bio(to_client, to_server, server_hostname=name)
    waiting = [dialling, server.wrap_bio(to_server, to_client, server_side=True)]
    # With TLS 1.3 the client is done before the server has seen its certificate, so that both have to be.
    stuck: ssl.SSLError | None = None
    for _flight in range(FLIGHTS):
        for end in tuple(waiting):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError as error:
                stuck = error
                continue
            except ssl.SSLError as error:
                # Who finds a fault fails before it can tell the other end, so that this is no alert.
                return error, {}
            waiting.remove(end)
    if waiting:
        return stuck, {}
    return None, dialling.getpeercert() or {}


def refusal_of(role: str, name: str, error: ssl.SSLError) -> Refusal:
    if isinstance(error, ssl.SSLCertVerificationError):
        return Refusal(role, name, error.verify_code, error.verify_message)
    return Refusal(role, name, 0, error.reason or str(error))


def as_server(
    showing: ssl.SSLContext, authorities: str, names: t.Sequence[str]
) -> tuple[list[Refusal], t.Sequence[tuple[str, str]] | None]:
    """What clients refuse that call a server by no name and by each of the names, and the names that it has."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.hostname_checks_common_name = False
    verify_by(client, authorities)
    found, valid = [], None
    # What is wrong beside the names is not told by a client that misses its name.
    for name in (None, *names):
        client.check_hostname = name is not None
        error, shown = shake_hands(client, showing, name)
        if error:
            found.append(refusal_of("server", name or "", error))
        elif name is None:
            valid = shown.get("subjectAltName", ())
    return found, valid


def as_client(calling: ssl.SSLContext, admitting: ssl.SSLContext) -> list[Refusal]:
    error, _shown = shake_hands(calling, admitting)
    return [refusal_of("client", "", error)] if error else []


def held(module: AnsibleModule, authorities: str, certificate: str) -> list[Held]:
    """The certificates of texts that can be read, with what Python does not tell of one that is refused."""
    command = [module.get_bin_path("openssl", required=True), *QUESTION]
    found = []
    for label, part in labelled(authorities, certificate):
        _code, answer, _err = module.run_command(command, data=part, check_rc=True)
        found.append(Held(label, fields_of(answer)))
    return found


def problems_of(
    module: AnsibleModule, authorities: str, certificate: str, key: str, server_names: t.Sequence[str], client: bool
) -> list[str]:
    useless = {
        what: missing(what, text) + damaged(what, text)
        for what, text in (("authorities", authorities), ("certificate", certificate))
    }
    problems = leaked("authorities", authorities) + leaked("certificate", certificate)
    useless["key"] = key_faults(key)
    problems += useless["authorities"] + useless["certificate"] + useless["key"]
    problems += [no_name(name) for name in server_names if not is_name(name)]
    if useless["certificate"] or useless["key"]:
        return problems
    # A server needs a certificate to find out whether it admits a client. It is the same one, which nobody verifies.
    showing, calling, admitting = map(
        ssl.SSLContext, (ssl.PROTOCOL_TLS_SERVER, ssl.PROTOCOL_TLS_CLIENT, ssl.PROTOCOL_TLS_SERVER)
    )
    try:
        load((showing, calling, admitting), certificate, key, module.tmpdir)
    except ssl.SSLError as error:
        return [*problems, unloadable(error.library, error.reason)]
    if useless["authorities"]:
        return problems
    calling.check_hostname = False
    calling.verify_mode = ssl.CERT_NONE
    verify_by(admitting, authorities)
    refusals: list[Refusal] = []
    valid = None
    if server_names:
        refusals, valid = as_server(showing, authorities, [name for name in server_names if is_name(name)])
    if client:
        refusals += as_client(calling, admitting)
    if refusals:
        known = held(module, authorities, certificate)
        for refusal in refusals:
            problems += refused(refusal, known, time.time(), valid)
    return problems


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            # A key in the wrong place is one all the same, and the options are written to the host's journal.
            "authorities": {"type": "str", "required": True, "no_log": True},
            "certificate": {"type": "str", "required": True, "no_log": True},
            "key": {"type": "str", "required": True, "no_log": True},
            "server_names": {"type": "list", "elements": "str", "default": []},
            "client": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )
    options = {name: module.params[name] for name in ("authorities", "certificate", "key", "server_names", "client")}
    # The same one may come out of several handshakes.
    problems = list(dict.fromkeys(problems_of(module, **options)))
    if problems:
        module.fail_json(msg=" ".join(problems), changed=False, problems=problems)
    module.exit_json(changed=False, problems=[])


if __name__ == "__main__":
    main()
