# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this doc fragment is private to this collection.

from __future__ import annotations


class ModuleDocFragment:
    """How a module connects to the servers that it names."""

    DOCUMENTATION = r"""
options:
  username:
    description:
      - The ACL user to authenticate as.
      - Without it, O(password) is the one of the user C(default).
    type: str
  password:
    description:
      - The password to authenticate with.
      - Without it, no authentication is tried.
    type: str
  tls:
    description:
      - Whether to speak TLS with the servers.
    type: bool
    default: false
  tls_ca_file:
    description:
      - A PEM file on the target host with the certificate authorities to trust.
      - Without it, those of the system are trusted.
      - Only read when O(tls=true).
    type: path
  tls_cert_file:
    description:
      - A PEM file on the target host with the client certificate, for servers that ask for one.
      - Only read when O(tls=true).
    type: path
  tls_key_file:
    description:
      - A PEM file on the target host with the key that belongs to O(tls_cert_file).
      - Without it, the key is expected in O(tls_cert_file).
      - Only read when O(tls=true).
    type: path
  tls_verify_peer:
    description:
      - Whether the server's certificate must be trusted and name the address that is connected to.
      - Only read when O(tls=true).
    type: bool
    default: true
requirements:
  - redis (Python library) >= 3.5.3 on the target host
"""
