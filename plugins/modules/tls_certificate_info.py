#!/usr/bin/python
# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: tls_certificate_info
short_description: Tell until when a host's certificates are valid, and whether its servers show them
version_added: 0.2.0
description:
  - Reads every certificate of the files in O(folder), those of authorities too.
  - Connects to the servers in O(served) and compares the certificate that each shows with the file, which finds a
    server that has not read a renewed one.
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
  folder:
    description:
      - A folder with C(ca.crt), C(host.crt) and C(host.key), as the role P(apiops.tyk_redis.pki#role) makes it.
    type: path
    required: true
  served:
    description:
      - The servers of this host that show C(host.crt), each as C(address:port).
    type: list
    elements: str
    default: []
  timeout:
    description:
      - Seconds to wait for a server.
    type: int
    default: 5
requirements:
  - the program C(openssl)
"""

EXAMPLES = r"""
- name: Look at the certificates of the Redis instances
  apiops.tyk_redis.tls_certificate_info:
    folder: /etc/tyk-redis-tls/redis
    served: ["192.0.2.11:7379"]
"""

RETURN = r"""
file:
  description: The file whose certificate is shown.
  returned: success
  type: str
  sample: /etc/tyk-redis-tls/redis/host.crt
certificates:
  description: Every certificate in the files.
  returned: success
  type: list
  elements: dict
  contains:
    path:
      description: The file.
      type: str
      sample: /etc/tyk-redis-tls/redis/host.crt
    subject:
      description: Whose it is.
      type: str
      sample: CN = redis1
    not_after:
      description: The end of its validity, in seconds since 1970.
      type: int
      sample: 1827619200
    seconds_left:
      description: How long that is from now; negative when it is past.
      type: int
      sample: 31535000
outdated:
  description: The servers that show another certificate than the file's.
  returned: success
  type: list
  elements: str
  sample: []
unreachable:
  description: The servers that showed none.
  returned: success
  type: list
  elements: str
  sample: []
"""

import os
import socket
import ssl
import time
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.apiops.tyk_redis.plugins.module_utils._certificates import blocks, seconds_of


def described(module: AnsibleModule, path: str) -> list[dict[str, t.Any]]:
    with open(path, encoding="ascii", errors="replace") as file:
        text = file.read()
    found = []
    for block in blocks(text):
        command = ["openssl", "x509", "-noout", "-subject", "-enddate"]
        _code, out, _err = module.run_command(command, data=block + "\n", check_rc=True)
        fields = dict(line.partition("=")[::2] for line in out.splitlines())
        end = seconds_of(fields["notAfter"])
        found.append(
            {
                "path": path,
                "subject": fields["subject"].strip(),
                "not_after": end,
                "seconds_left": end - int(time.time()),
            }
        )
    return found


def context_of(cert_file: str, key_file: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    # Before TLS 1.3 a server that asks for a certificate ends the handshake of a client that has none.
    context.load_cert_chain(cert_file, key_file)
    return context


def shown(endpoint: str, context: ssl.SSLContext, timeout: float) -> str | None:
    """The certificate that a server shows, as PEM text. Whether it is trusted is not the question here."""
    address, _colon, port = endpoint.rpartition(":")
    try:
        with (
            socket.create_connection((address.strip("[]"), int(port)), timeout) as plain,
            context.wrap_socket(plain) as connection,
        ):
            der = connection.getpeercert(True)
    except OSError:
        return None
    return ssl.DER_cert_to_PEM_cert(der) if der else None


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "folder": {"type": "path", "required": True},
            "served": {"type": "list", "elements": "str", "default": []},
            "timeout": {"type": "int", "default": 5},
        },
        supports_check_mode=True,
    )
    own, key, trusted = (os.path.join(module.params["folder"], name) for name in ("host.crt", "host.key", "ca.crt"))
    missing = [path for path in (own, key, trusted) if not os.path.exists(path)]
    if missing:
        module.fail_json(msg=f"{', '.join(missing)} is not there; run site.yml, which brings the certificates.")
    try:
        context = context_of(own, key)
    except ssl.SSLError:
        module.fail_json(
            msg=f"{key} is not the key of {own}, or one of the two cannot be read; run site.yml, which brings them."
        )
    with open(own, encoding="ascii", errors="replace") as file:
        expected = blocks(file.read())[:1]
    outdated, unreachable = [], []
    for endpoint in module.params["served"]:
        certificate = shown(endpoint, context, float(module.params["timeout"]))
        if certificate is None:
            unreachable.append(endpoint)
        elif [ssl.PEM_cert_to_DER_cert(block) for block in expected] != [ssl.PEM_cert_to_DER_cert(certificate)]:
            outdated.append(endpoint)
    module.exit_json(
        changed=False,
        file=own,
        certificates=[*described(module, own), *described(module, trusted)],
        outdated=outdated,
        unreachable=unreachable,
    )


if __name__ == "__main__":
    main()
