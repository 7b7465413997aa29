# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Give several servers the same ACL user. Everything here talks to servers; _acl_rules decides.

Private to this collection.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from ansible_collections.apiops.tyk_redis.plugins.module_utils import _acl_rules as rules
from ansible_collections.apiops.tyk_redis.plugins.module_utils._cluster_view import (
    join_names,
    parse_info,
    version_tuple,
)
from ansible_collections.apiops.tyk_redis.plugins.module_utils._redis_client import (
    Address,
    RedisConnection,
    RedisProblem,
)

_THREADS = 16
# After these nobody knows whether the server did what it was sent.
_UNCERTAIN = frozenset({"timeout", "reset"})
_SAVE = {"aclfile": ("ACL", "SAVE"), "config": ("CONFIG", "REWRITE")}


class AclError(Exception):
    """The user could not be made what is wanted. The text is a finished sentence; C(done) are the nodes changed."""

    def __init__(self, sentence: str, done: Sequence[str] = ()) -> None:
        super().__init__(sentence)
        self.done = tuple(done)


@dataclass(frozen=True)
class Wish:
    """What the user is to be on every node.

    Exactly one of C(words) and C(component) says what it may do; with neither, the user is to be absent. C(persist) is
    auto, aclfile, config or none.
    """

    name: str
    enabled: bool
    hashes: frozenset[str]
    words: tuple[str, ...] | None
    component: str | None
    persist: str

    @property
    def absent(self) -> bool:
        return self.words is None and self.component is None


@dataclass(frozen=True)
class Node:
    """One server as it was found, and what is to become of the user there."""

    address: Address
    catalogue: rules.Catalogue
    persist: str
    there: rules.User | None
    wish: rules.User | None
    words: tuple[str, ...]
    steps: tuple[str, ...]


class AclUser:
    """Converges one user on all nodes.

    Args:
        addresses: of the nodes.
        connect: opens a connection to an address.
        password: what the connections log in with.
        wish: what the user is to be.
    """

    def __init__(
        self,
        addresses: Sequence[Address],
        connect: Callable[[Address], RedisConnection],
        password: str | None,
        wish: Wish,
    ) -> None:
        self._connections = {address: connect(address) for address in addresses}
        self._password = password
        self._wish = wish

    def __enter__(self) -> AclUser:
        return self

    def __exit__(self, *_exc_info: object) -> None:
        for connection in self._connections.values():
            connection.close()

    def observe(self) -> list[Node]:
        """Ask every node, and judge what would be done to it. Nothing is changed.

        Raises:
            AclError: a node cannot be asked, or would not take the change.
        """
        with ThreadPoolExecutor(max_workers=min(_THREADS, len(self._connections))) as pool:
            found = list(pool.map(self._try_to_look, self._connections))
        problems = [item for item in found if isinstance(item, str)]
        if problems:
            raise AclError(f"{' '.join(dict.fromkeys(problems))} Nothing was changed.")
        return [item for item in found if isinstance(item, Node)]

    def apply(self, nodes: Sequence[Node]) -> list[Node]:
        """Make the changes, one node after the other, and return what all nodes answer afterwards.

        Raises:
            AclError: a node did not do as it was told.
        """
        changing = [node for node in nodes if node.steps]
        self._try_to_save(changing)
        done: list[str] = []
        for node in changing:
            try:
                self._change(node)
                done.append(str(node.address))
                self._read_back(node)
                self._save(node)
            except (AclError, RedisProblem) as exc:
                raise AclError(f"{exc} {_state(done, node, exc)} Run again when that is solved.", done) from exc
        after = self.observe()
        different = [str(node.address) for node in after if node.steps]
        if different:
            raise AclError(
                f"{join_names(different)} do not show the user {self._wish.name!r} as wanted after the change; see"
                " whether something else changes users there.",
                done,
            )
        return after

    # --- looking -----------------------------------------------------------------------------------------------------

    def _try_to_look(self, address: Address) -> Node | str:
        try:
            return self._look(address)
        except (RedisProblem, rules.RuleError) as exc:
            return str(exc)

    def _look(self, address: Address) -> Node:
        wish = self._wish
        asked: list[tuple[str, ...]] = [
            ("INFO", "server"),
            ("ACL", "WHOAMI"),
            ("ACL", "GETUSER", wish.name),
            ("ACL", "CAT"),
        ]
        if wish.persist != "none":
            asked += [("CONFIG", "GET", "aclfile"), ("CONFIG", "GET", "requirepass")]
        info_text, login, reply, names, *pairs = self._ask(address, asked)
        info = parse_info(info_text)
        product = "valkey" if "valkey_version" in info else "redis"
        version = version_tuple(info.get(f"{product}_version", ""))
        title = f"{address} ({product} {'.'.join(map(str, version))})"
        catalogue = self._catalogue(address, title, version, names)
        settings = {name: value for pair in pairs for name, value in zip(pair[::2], pair[1::2])}
        words = rules.words_for(wish.component, wish.words, version)
        there = rules.current(reply, catalogue)
        then = None if wish.absent else rules.wanted(wish.enabled, wish.hashes, words, catalogue)
        steps = self._steps(there, then)
        objection = rules.lock_out(wish.name, login, self._password, then, catalogue) if steps else ""
        if objection:
            raise rules.RuleError(objection)
        persist = rules.way_to_persist(wish.persist, catalogue, config_file=info.get("config_file", ""), **settings)
        return Node(address, catalogue, persist, there, then, words, tuple(steps))

    def _steps(self, there: rules.User | None, then: rules.User | None) -> list[str]:
        if then is not None:
            return rules.differences(self._wish.name, there, then)
        return [f"remove the user {self._wish.name!r}, which ends its connections"] if there is not None else []

    def _catalogue(
        self, address: Address, title: str, version: tuple[int, ...], names: Sequence[str]
    ) -> rules.Catalogue:
        categories = dict(zip(names, self._ask(address, [("ACL", "CAT", name) for name in names])))
        # The commands of modules are in no category. Older servers cannot list them without all their details.
        listed = self._ask(address, [("COMMAND", "LIST")])[0] if version >= rules.FIRST_WITH_SUBCOMMANDS else []
        return rules.Catalogue.of(title, version, categories, listed)

    def _ask(self, address: Address, commands: Sequence[tuple[str, ...]]) -> list[Any]:
        replies = self._connections[address].pipeline(commands)
        for reply in replies:
            if isinstance(reply, RedisProblem):
                raise reply
        return replies

    # --- changing ----------------------------------------------------------------------------------------------------

    def _try_to_save(self, nodes: Sequence[Node]) -> None:
        """Find out before the first change whether users can be kept: a folder may be read-only to the server."""
        problems = []
        for node in nodes:
            try:
                self._save(node)
            except RedisProblem as problem:
                problems.append(str(problem))
        if problems:
            raise AclError(
                f"{' '.join(problems)} So a change would be gone after a restart. Let the server write that file, or"
                " use persist: none when somebody else writes it. Nothing was changed."
            )

    def _save(self, node: Node) -> None:
        if node.persist != "none":
            self._connections[node.address].call(*_SAVE[node.persist])

    def _change(self, node: Node) -> None:
        connection = self._connections[node.address]
        if node.wish is None:
            connection.call("ACL", "DELUSER", self._wish.name)
        else:
            connection.call(*rules.set_user(self._wish.name, node.wish, node.words, node.catalogue))

    def _read_back(self, node: Node) -> None:
        reply = self._connections[node.address].call("ACL", "GETUSER", self._wish.name)
        if self._steps(rules.current(reply, node.catalogue), node.wish):
            raise AclError(f"{node.address} does not show the user {self._wish.name!r} as it was just told.")


def _state(done: Sequence[str], node: Node, exc: Exception) -> str:
    """How far a run came that did not get to its end."""
    said = f"The user was changed on {join_names(done)}." if done else "Nothing was changed."
    if str(node.address) in done or not isinstance(exc, RedisProblem) or exc.kind not in _UNCERTAIN:
        return said
    return f"{said if done else ''} Whether it was changed on {node.address} is not known.".strip()
