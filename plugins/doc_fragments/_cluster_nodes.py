# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this doc fragment is private to this collection.

from __future__ import annotations


class ModuleDocFragment:
    """How the nodes of a cluster are declared."""

    DOCUMENTATION = r"""
options:
  nodes:
    description:
      - Every node of the cluster, primaries and replicas alike.
      - Their order has no meaning.
    type: list
    elements: dict
    required: true
    suboptions:
      address:
        description:
          - The IP address that the node announces to clients and to the other nodes.
          - Names are refused, because nodes know each other by IP address.
        type: str
        required: true
      port:
        description:
          - The port for clients. With O(tls=true), the port that speaks TLS.
        type: int
        default: 6379
      bus_port:
        description:
          - The port of the cluster bus.
          - Without it, O(nodes[].port) plus 10000.
        type: int
      host:
        description:
          - The machine that the node runs on. Nodes on one machine fail together.
          - Without it, O(nodes[].address).
        type: str
      zone:
        description:
          - The larger failure domain that the machine is in, such as a rack, a room or an availability zone.
          - Zones count only when every node has one.
        type: str
      name:
        description:
          - What messages call the node.
          - Without it, address and port.
        type: str
      weight:
        description:
          - The node's relative share of slots, 1 or more. A shard gets slots in proportion to the mean weight of its
            nodes, so that it makes no difference which of them is the primary.
        type: int
        default: 1
  connect_timeout:
    description:
      - The number of seconds to wait for a connection and for each reply.
    type: int
    default: 5
"""
