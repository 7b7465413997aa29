# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A digest of what a node sees, computed in the server, so that equal views need not be sent by every node. No I/O.

Private to this collection. CLUSTER NODES of N nodes grows with N squared, and almost always all of them say the same.
The digest covers every field that _cluster_view reads. A node says a few things about itself that no other node says
of it (that it is the one asked, and its open slots); these stay out of the digest and come with the node's own line.
Whatever else differs, also a link that is down on one side only, makes another digest. So one CLUSTER NODES for each
distinct digest, and one line of each node, are as good as CLUSTER NODES of each node.
"""

from __future__ import annotations

import hashlib
import re

# One line of CLUSTER NODES is "id ip:port@bus[,names] flags primary ping pong epoch link [slots...]". The times of ping
# and pong are each viewer's own, and names behind the address are not read by anybody.
DIGEST_SCRIPT = r"""
local own, seen = '', {}
for line in string.gmatch(redis.call('CLUSTER', 'NODES'), '[^\n]+') do
  local id, endpoint, flags, primary, epoch, link, slots =
    string.match(line, '^(%S+) ([^ ,]+)%S* (%S+) (%S+) %S+ %S+ (%S+) (%S+)(.*)$')
  if not id then return redis.error_reply('ERR CLUSTER NODES has a line of another form: ' .. line) end
  if string.find(flags, '^myself,') then
    own = line
    flags = string.gsub(flags, '^myself,', '')
    slots = string.gsub(slots, ' %[[^%]]*%]', '')
  end
  seen[#seen + 1] = table.concat({id, endpoint, flags, primary, epoch, link}, ' ') .. slots
end
table.sort(seen)
return {redis.sha1hex(table.concat(seen, '\n')), own}
""".strip()

# EVAL would do as well, but it waits while a primary pauses its writes, as during a failover; EVAL_RO (Redis 7.0) does
# not. Where it is unknown or not permitted, the answer is an error and CLUSTER NODES has to be asked.
DIGEST_COMMAND = ("EVAL_RO", DIGEST_SCRIPT, "0")

_DIGEST = re.compile(r"[0-9a-f]{40}")
_LINE = re.compile(r"(\S+) ([^ ,]+)\S* (\S+) (\S+) \S+ \S+ (\S+) (\S+)(.*)")
_OPEN_SLOT = re.compile(r" \[\d+-[<>]-[^\]]*\]")
_MYSELF = "myself,"


class DigestError(ValueError):
    """A reply is not what the script returns, or does not belong to the text it is to be put together with."""


def read_digest(reply: object) -> tuple[str, str]:
    """Read the reply of DIGEST_COMMAND: the digest, and the line of CLUSTER NODES in which the node tells of itself."""
    if isinstance(reply, list) and len(reply) == 2 and all(isinstance(item, str) for item in reply):
        digest, own_line = reply
        if _DIGEST.fullmatch(digest) and _is_own(own_line):
            return digest, own_line
    raise DigestError(f"{reply!r} is not a digest and a node's own line")


def digest_of(nodes_text: str) -> str:
    """The digest that a node computes whose CLUSTER NODES is this text.

    A text that was fetched later than a digest may belong to it no longer; this tells.
    """
    seen = sorted(_covered(line).encode(errors="surrogateescape") for line in nodes_text.splitlines())
    return hashlib.sha1(b"\n".join(seen), usedforsecurity=False).hexdigest()


def rebuild(nodes_text: str, own_line: str) -> str:
    """What CLUSTER NODES of a node says, from the text of another node with the same digest and the node's own line.

    The times of ping and pong are those of the other node.
    """
    own_id = _id_of(own_line)
    lines = nodes_text.splitlines()
    if own_id not in map(_id_of, lines):
        raise DigestError(f"The node {own_id} does not occur in the text of a node with the same digest")
    return "".join(f"{own_line if _id_of(line) == own_id else _as_others_see(line)}\n" for line in lines)


def _id_of(line: str) -> str:
    return line.partition(" ")[0]


def _is_own(line: str) -> bool:
    match = _LINE.fullmatch(line)
    return match is not None and match.group(3).startswith(_MYSELF)


def _as_others_see(line: str) -> str:
    """A line without what only the node itself says in it."""
    return _OPEN_SLOT.sub("", line).replace(f" {_MYSELF}", " ", 1) if _is_own(line) else line


def _covered(line: str) -> str:
    match = _LINE.fullmatch(_as_others_see(line))
    if match is None:
        raise DigestError(f"{line!r} is not a line of CLUSTER NODES")
    return " ".join(match.groups()[:-1]) + match.group(7)
