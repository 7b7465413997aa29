# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a simulated server answers, with the checks of the original in their order and its texts."""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Callable, Sequence
from typing import Any

from redis.exceptions import ResponseError

from ansible_collections.apiops.tyk_redis.plugins.module_utils._cluster_digest import DIGEST_SCRIPT, digest_of
from ansible_collections.apiops.tyk_redis.plugins.module_utils._redis_client import Address
from ansible_collections.apiops.tyk_redis.plugins.module_utils._slot_batches import FETCH_SCRIPT, bulk
from ansible_collections.apiops.tyk_redis.tests.unit.plugins.module_utils.simulation.bus import (
    FAIL,
    PRIMARY,
    REPLICA,
    SLOTS,
    Member,
    mask_of,
)
from ansible_collections.apiops.tyk_redis.tests.unit.plugins.module_utils.simulation.server import SimServer, slot_of

_ALL_SCRIPTS = (DIGEST_SCRIPT, FETCH_SCRIPT.decode())
_SCRIPT_OF_SHA = {hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest(): script for script in _ALL_SCRIPTS}
# What waits while a primary hands its role over.
_WAITS_FOR_HANDOVER = frozenset({"SET", "DEL", "MIGRATE", "EVAL", "EVALSHA", "RESTORE-ASKING"})
_NOT_SYNTAX = "ERR Unknown subcommand or wrong number of arguments for '{}'. Try CLUSTER HELP."


class CommandError(Exception):
    """An error reply, as the server words it."""


def execute(server: SimServer, words: Sequence[str], client: Any = None) -> Any:
    """Carry out one command and return its reply.

    Raises:
        CommandError: the server refuses.
    """
    verb = words[0].upper()
    if server.simulation.is_forbidden(words):
        raise CommandError(f"NOPERM this user has no permissions to run the '{verb.lower()}' command")
    command = _COMMANDS.get(verb)
    if client is not None and client.queue is not None and verb not in ("EXEC", "DISCARD", "MULTI"):
        client.queue.append(tuple(words))
        return "QUEUED"
    if command is None:
        raise CommandError(f"ERR unknown command '{words[0]}', with args beginning with: ")
    return command(server, words, client)


def waits_for_handover(words: Sequence[str]) -> bool:
    return words[0].upper() in _WAITS_FOR_HANDOVER


def _integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise CommandError("ERR value is not an integer or out of range") from None


# --- general ---------------------------------------------------------------------------------------------------------


def _ping(_server: SimServer, _words: Sequence[str], _client: Any) -> str:
    return "PONG"


def _info(server: SimServer, _words: Sequence[str], _client: Any) -> str:
    return server.info_text()


def _dbsize(server: SimServer, _words: Sequence[str], _client: Any) -> int:
    return server.number_of_keys


def _flushall(server: SimServer, _words: Sequence[str], _client: Any) -> str:
    if server.bus.me.flags & REPLICA:
        raise CommandError("READONLY You can't write against a read only replica.")
    for key in [key for keys in server.keys.values() for key in keys]:
        server.write(key, None)
    return "OK"


def _role(server: SimServer, _words: Sequence[str], _client: Any) -> list[Any]:
    if server.target is not None:
        state = "connected" if server.link_up else "sync" if server.syncing else "connect"
        return ["slave", server.target[0], server.target[1], state, server.offset]
    followers = [[one.address.host, str(one.address.port), str(one.offset)] for one in server.followers]
    return ["master", server.offset, followers]


def _config(server: SimServer, words: Sequence[str], _client: Any) -> Any:
    action = words[1].upper()
    if action == "GET":
        return [item for name in words[2:] if name in server.config for item in (name, server.config[name])]
    if action == "SET":
        for name, value in zip(words[2::2], words[3::2]):
            if name not in server.config:
                raise CommandError(f"ERR Unknown option or number of arguments for CONFIG SET - '{name}'")
            server.config[name] = value
        server.announce()
    elif action not in ("REWRITE", "RESETSTAT"):
        raise CommandError(f"ERR unknown subcommand '{words[1]}'. Try CONFIG HELP.")
    return "OK"


def _client(server: SimServer, words: Sequence[str], client: Any) -> Any:
    action = words[1].upper()
    if action == "SETNAME":
        client.name = words[2]
        return "OK"
    if action == "GETNAME":
        return client.name or None
    if action == "ID":
        return client.client_id
    if action == "LIST":
        now = server.simulation.now
        if [word.lower() for word in words[2:]] == ["type", "master"]:
            peer = f"{server.target[0]}:{server.target[1]}" if server.target else ""
            return (
                f"id=2 addr={peer} fd=9 name= age=9 idle=0 flags=M db=0 cmd=set user=default\n"
                if server.link_up
                else ""
            )
        return "".join(
            f"id={one.client_id} addr=127.0.0.1:{40000 + one.client_id} laddr={server.address} fd=8 name={one.name} "
            f"age={int(now - one.opened)} idle={int(now - one.used)} flags=N db=0 sub=0 cmd={one.last} user=default\n"
            for one in server.clients.values()
        )
    if action == "KILL":
        wanted = _integer(words[words.index("ID") + 1])
        victim = server.clients.pop(wanted, None)
        return int(victim is not None)
    if action in ("NO-EVICT", "NO-TOUCH", "SETINFO"):
        return "OK"
    raise CommandError(f"ERR unknown subcommand '{words[1]}'. Try CLIENT HELP.")


# --- keys ------------------------------------------------------------------------------------------------------------


def _redirection(server: SimServer, keys: Sequence[str], asking: bool, verb: str, reads: bool) -> None:
    """Refuse what another node has to answer, as getNodeByQuery does."""
    if not keys:
        return
    bus = server.bus
    slot = slot_of(keys[0])
    owner = bus.owner_of(slot)
    if owner is None:
        raise CommandError("CLUSTERDOWN Hash slot not served")
    migrating = owner is bus.me and slot in bus.migrating
    importing = not migrating and slot in bus.importing
    if any(slot_of(key) != slot for key in keys):
        raise CommandError("CROSSSLOT Keys in request don't hash to the same slot")
    if not bus.state_ok:
        raise CommandError("CLUSTERDOWN The cluster is down")
    if (migrating or importing) and verb == "MIGRATE":
        return
    missing = sum(server.get(key) is None for key in keys)
    if migrating and missing:
        if missing < len(keys):
            raise CommandError("TRYAGAIN Multiple keys request during rehashing of slot")
        peer = bus.migrating[slot]
        raise CommandError(f"ASK {slot} {peer.ip}:{peer.port}")
    if importing and asking:
        if len(set(keys)) > 1 and missing:
            raise CommandError("TRYAGAIN Multiple keys request during rehashing of slot")
        return
    if reads and bus.me.flags & REPLICA and bus.me.primary is owner:
        return
    if owner is not bus.me:
        raise CommandError(f"MOVED {slot} {owner.ip}:{owner.port}")


def _asked(client: Any) -> bool:
    return client is not None and client.take_asking()


def _set(server: SimServer, words: Sequence[str], client: Any) -> str:
    _redirection(server, [words[1]], _asked(client), "SET", False)
    server.write(words[1], words[2])
    return "OK"


def _get(server: SimServer, words: Sequence[str], client: Any) -> str | None:
    _redirection(server, [words[1]], _asked(client), "GET", client is not None and client.readonly)
    return server.get(words[1])


def _del(server: SimServer, words: Sequence[str], client: Any) -> int:
    _redirection(server, words[1:], _asked(client), "DEL", False)
    found = [key for key in words[1:] if server.get(key) is not None]
    for key in found:
        server.write(key, None)
    return len(found)


def _exists(server: SimServer, words: Sequence[str], client: Any) -> int:
    _redirection(server, words[1:], _asked(client), "EXISTS", client is not None and client.readonly)
    return sum(server.get(key) is not None for key in words[1:])


def _dump(server: SimServer, words: Sequence[str], client: Any) -> str | None:
    _redirection(server, [words[1]], _asked(client), "DUMP", client is not None and client.readonly)
    value = server.get(words[1])
    return None if value is None else f"dump:{value}"


def _memory(server: SimServer, words: Sequence[str], client: Any) -> int | None:
    _redirection(server, [words[2]], _asked(client), "MEMORY", client is not None and client.readonly)
    return _size(server, words[2])


def _size(server: SimServer, key: str) -> int | None:
    value = server.get(key)
    return None if value is None else server.simulation.sizes.get(key, 50 + len(key) + len(value))


def _asking(_server: SimServer, _words: Sequence[str], client: Any) -> str:
    client.asking = True
    return "OK"


def _readonly(_server: SimServer, words: Sequence[str], client: Any) -> str:
    client.readonly = words[0].upper() == "READONLY"
    return "OK"


def _pttl(server: SimServer, words: Sequence[str], client: Any) -> int:
    _redirection(server, [words[1]], _asked(client), "PTTL", client is not None and client.readonly)
    return -2 if server.get(words[1]) is None else -1


def _multi(_server: SimServer, _words: Sequence[str], client: Any) -> str:
    client.queue = []
    return "OK"


def _discard(_server: SimServer, _words: Sequence[str], client: Any) -> str:
    client.queue = None
    return "OK"


def _exec(server: SimServer, _words: Sequence[str], client: Any) -> list[Any]:
    queue, client.queue = client.queue or [], None
    replies: list[Any] = []
    for words in queue:
        try:
            replies.append(execute(server, words, client))
        except CommandError as error:
            replies.append(ResponseError(str(error)))
    return replies


def _script(server: SimServer, words: Sequence[str], _client: Any) -> Any:
    if words[1].upper() == "LOAD":
        return hashlib.sha1(words[2].encode(errors="surrogateescape"), usedforsecurity=False).hexdigest()
    return [int(sha in _SCRIPT_OF_SHA) for sha in words[2:]]


def _eval(server: SimServer, words: Sequence[str], _client: Any) -> Any:
    verb = words[0].upper()
    if verb.endswith("_RO") and not server.version.slot_ranges:
        raise CommandError(f"ERR unknown command `{words[0]}`, with args beginning with: ")
    script = _SCRIPT_OF_SHA.get(words[1], "") if verb.startswith("EVALSHA") else words[1]
    arguments = words[3 + _integer(words[2]) :]
    if script == "return 1":
        return 1
    if script == DIGEST_SCRIPT:
        text = server.bus.nodes_text()
        return [digest_of(text), server.bus.describe(server.bus.me)]
    if script == FETCH_SCRIPT.decode():
        return _fetch(server, *map(int, arguments))
    raise CommandError("NOSCRIPT No matching script. Please use EVAL.")


def _fetch(server: SimServer, slot: int, limit: int, most_keys: int, most_bytes: int) -> list[Any]:
    """What the script that lists a slot's keys in batches replies."""
    keys = list(server.keys_in(slot))[:limit]
    batches: list[Any] = []
    part: list[bytes] = []
    total, largest, largest_key = 0, 0, ""
    for key in keys:
        size = _size(server, key) or 0
        if size > largest:
            largest, largest_key = size, key
        if part and (len(part) >= most_keys or total + size > most_bytes):
            batches += [len(part), total, b"".join(part).decode(errors="surrogateescape")]
            part, total = [], 0
        part.append(bulk(key))
        total += size
    if part:
        batches += [len(part), total, b"".join(part).decode(errors="surrogateescape")]
    return [len(keys), largest, largest_key, *batches]


# --- MIGRATE ---------------------------------------------------------------------------------------------------------


def _migrate(server: SimServer, words: Sequence[str], _client: Any) -> str:
    simulation = server.simulation
    replace, login, keys = _migrate_options(words)
    timeout = _integer(words[5])
    _redirection(server, keys, False, "MIGRATE", False)
    present = [key for key in keys if server.get(key) is not None]
    if not present:
        return "NOKEY"
    seconds = (timeout if timeout > 0 else 1000) / 1000
    target = simulation.servers.get(Address(words[1], _integer(words[2])))
    if target is None or not target.alive:
        raise CommandError("IOERR error or timeout connecting to the client")
    if simulation.parted(server, target):
        simulation.advance(seconds)
        raise CommandError("IOERR error or timeout connecting to the client")
    return _send_keys(server, target, present, replace, login, seconds)


def _migrate_options(words: Sequence[str]) -> tuple[bool, tuple[str, ...], list[str]]:
    replace = False
    login: tuple[str, ...] = ()
    at = 6
    while at < len(words):
        option = words[at].upper()
        if option == "REPLACE":
            replace = True
        elif option == "AUTH":
            login = (words[at + 1],)
            at += 1
        elif option == "AUTH2":
            login = (words[at + 1], words[at + 2])
            at += 2
        elif option == "KEYS":
            if words[3]:
                raise CommandError(
                    "ERR When using MIGRATE KEYS option, the key argument must be set to the empty string"
                )
            return replace, login, list(words[at + 1 :])
        elif option != "COPY":
            raise CommandError("ERR syntax error")
        at += 1
    return replace, login, [words[3]]


def _send_keys(
    server: SimServer, target: SimServer, keys: Sequence[str], replace: bool, login: tuple[str, ...], seconds: float
) -> str:
    simulation = server.simulation
    restores = [("RESTORE-ASKING", key, server.get(key) or "", *(("REPLACE",) if replace else ())) for key in keys]
    if target.frozen or target.paused_until > simulation.now:
        # What was sent waits there, and is carried out when the target goes on.
        simulation.run_when_able(target, restores)
        simulation.advance(seconds)
        raise CommandError("IOERR error or timeout reading from target instance")
    refused = ""
    for restore in restores:
        fault = simulation.migrate_fault(server, target, restore[1]) if simulation.migrate_fault else ""
        if fault == "before":
            raise CommandError("IOERR error or timeout writing to target instance")
        try:
            if login and login[-1] != simulation.password:
                raise CommandError("WRONGPASS invalid username-password pair or user is disabled.")
            execute(target, restore)
        except CommandError as error:
            refused = refused or str(error)
            continue
        if fault == "after":
            raise CommandError("IOERR error or timeout reading from target instance")
        server.write(restore[1], None)
    if refused:
        raise CommandError(f"ERR Target instance replied with error: {refused}")
    return "OK"


def _restore_asking(server: SimServer, words: Sequence[str], _client: Any) -> str:
    key = words[1]
    _redirection(server, [key], True, "RESTORE-ASKING", False)
    if server.get(key) is not None and "REPLACE" not in words[3:]:
        raise CommandError("BUSYKEY Target key name already exists.")
    server.write(key, words[2])
    return "OK"


# --- CLUSTER ---------------------------------------------------------------------------------------------------------


def _cluster(server: SimServer, words: Sequence[str], _client: Any) -> Any:
    action = words[1].upper()
    entry = _CLUSTER_COMMANDS.get(action)
    if entry is None:
        raise CommandError(_NOT_SYNTAX.format(words[1]))
    command, fewest, most = entry
    if not fewest <= len(words) <= most or (action.endswith("RANGE") and not server.version.slot_ranges):
        if server.version.slot_ranges and action not in ("RESET",):
            raise CommandError(f"ERR wrong number of arguments for 'cluster|{action.lower()}' command")
        raise CommandError(_NOT_SYNTAX.format(words[1]))
    return command(server, words)


def _nodes(server: SimServer, _words: Sequence[str]) -> str:
    return server.bus.nodes_text()


def _cluster_info(server: SimServer, _words: Sequence[str]) -> str:
    return server.bus.info_text()


def _myid(server: SimServer, _words: Sequence[str]) -> str:
    return server.bus.me.node_id


def _keyslot(_server: SimServer, words: Sequence[str]) -> int:
    return slot_of(words[2])


def _slot(text: str) -> int:
    try:
        slot = int(text)
    except ValueError:
        slot = -1
    if not 0 <= slot < SLOTS:
        raise CommandError("ERR Invalid or out of range slot")
    return slot


def _countkeysinslot(server: SimServer, words: Sequence[str]) -> int:
    slot = _integer(words[2])
    if not 0 <= slot < SLOTS:
        raise CommandError("ERR Invalid slot")
    return len(server.keys_in(slot))


def _getkeysinslot(server: SimServer, words: Sequence[str]) -> list[str]:
    slot, most = _integer(words[2]), _integer(words[3])
    if not 0 <= slot < SLOTS or most < 0:
        raise CommandError("ERR Invalid slot or number of keys")
    return list(server.keys_in(slot))[:most]


def _meet(server: SimServer, words: Sequence[str]) -> str:
    try:
        port = int(words[3])
    except ValueError:
        raise CommandError(f"ERR Invalid TCP base port specified: {words[3]}") from None
    bus_port = _integer(words[4]) if len(words) == 5 else port + 10000
    try:
        ip = str(ipaddress.ip_address(words[2]))
        valid = 0 < port < 65536 and 0 < bus_port < 65536
    except ValueError:
        ip, valid = "", False
    if not valid:
        raise CommandError(f"ERR Invalid node address specified: {words[2]}:{words[3]}")
    server.bus.start_handshake(ip, port, bus_port)
    return "OK"


def _change_slots(server: SimServer, spans: Sequence[tuple[int, int]], delete: bool) -> str:
    bus = server.bus
    owned, seen = bus.owned, 0
    for first, last in spans:
        if first > last:
            raise CommandError(f"ERR start slot number {first} is greater than end slot number {last}")
        span = mask_of(first, last)
        wrong = span & ~owned if delete else span & owned
        if wrong:
            slot = (wrong & -wrong).bit_length() - 1
            raise CommandError(f"ERR Slot {slot} is already {'unassigned' if delete else 'busy'}")
        if span & seen:
            twice = span & seen
            raise CommandError(f"ERR Slot {(twice & -twice).bit_length() - 1} specified multiple times")
        seen |= span
    for slot in [slot for slot in bus.importing if seen >> slot & 1]:
        del bus.importing[slot]
    bus.bind(None if delete else bus.me, seen)
    bus.update_state()
    return "OK"


def _addslots(server: SimServer, words: Sequence[str]) -> str:
    spans = [(slot, slot) for slot in map(_slot, words[2:])]
    return _change_slots(server, spans, words[1].upper() == "DELSLOTS")


def _addslotsrange(server: SimServer, words: Sequence[str]) -> str:
    if len(words) % 2:
        raise CommandError(f"ERR wrong number of arguments for 'cluster|{words[1].lower()}' command")
    spans = [(_slot(first), _slot(last)) for first, last in zip(words[2::2], words[3::2])]
    return _change_slots(server, spans, words[1].upper() == "DELSLOTSRANGE")


def _flushslots(server: SimServer, _words: Sequence[str]) -> str:
    if server.keys:
        raise CommandError("ERR DB must be empty to perform CLUSTER FLUSHSLOTS.")
    server.bus.bind(None, server.bus.me.slots)
    server.bus.update_state()
    return "OK"


def _setslot(server: SimServer, words: Sequence[str]) -> str:
    bus = server.bus
    if bus.me.flags & REPLICA:
        raise CommandError("ERR Please use SETSLOT only with masters.")
    slot = _slot(words[2])
    action = words[3].upper()
    # Valkey sends SETSLOT to its replicas first.
    followers = server.followers if server.version.knows_shards else []
    if action == "STABLE" and len(words) == 4:
        bus.importing.pop(slot, None)
        bus.migrating.pop(slot, None)
    elif action in ("MIGRATING", "IMPORTING") and len(words) == 5:
        _open_slot(server, slot, action, words[4])
    elif action == "NODE" and len(words) == 5:
        _settle_slot(server, slot, words[4])
    else:
        raise CommandError("ERR Invalid CLUSTER SETSLOT action or number of arguments. Try CLUSTER HELP")
    for follower in followers:
        follower.copy_open_slots(server, [slot])
        if action == "NODE" and words[4] in follower.bus.members:
            follower.bus.bind(follower.bus.members[words[4]], 1 << slot)
    bus.touch()
    return "OK"


def _open_slot(server: SimServer, slot: int, action: str, node_id: str) -> None:
    bus = server.bus
    owner = bus.owner_of(slot)
    if action == "MIGRATING" and owner is not bus.me:
        raise CommandError(f"ERR I'm not the owner of hash slot {slot}")
    if action == "IMPORTING" and owner is bus.me:
        raise CommandError(f"ERR I'm already the owner of hash slot {slot}")
    member = bus.members.get(node_id)
    if member is None:
        raise CommandError(f"ERR I don't know about node {node_id}")
    if member.flags & REPLICA and server.version.checks_roles_of_slots:
        raise CommandError("ERR Target node is not a master")
    if member is bus.me and server.version.refuses_marks_to_itself:
        raise CommandError("ERR Target node is myself")
    (bus.migrating if action == "MIGRATING" else bus.importing)[slot] = member


def _settle_slot(server: SimServer, slot: int, node_id: str) -> None:
    bus = server.bus
    member = bus.members.get(node_id)
    if member is None:
        raise CommandError(f"ERR Unknown node {node_id}")
    if member.flags & REPLICA and server.version.checks_roles_of_slots:
        raise CommandError("ERR Target node is not a master")
    was_mine = bus.owner_of(slot) is bus.me
    empty = not server.keys_in(slot)
    if was_mine and member is not bus.me and not empty:
        raise CommandError(
            f"ERR Can't assign hashslot {slot} to a different node while I still hold keys for this hash slot."
        )
    if empty:
        bus.migrating.pop(slot, None)
    bus.bind(member, 1 << slot)
    if (
        was_mine
        and member is not bus.me
        and not bus.me.slots
        and server.flag("cluster-allow-replica-migration")
        and server.version.demotes_on_setslot
    ):
        bus.set_primary(member)
    if member is bus.me and slot in bus.importing:
        bus.bump_epoch()
        del bus.importing[slot]
        bus.broadcast_pong()


def _bumpepoch(server: SimServer, _words: Sequence[str]) -> str:
    bumped = server.bus.bump_epoch()
    return f"{'BUMPED' if bumped else 'STILL'} {server.bus.me.epoch}"


def _set_config_epoch(server: SimServer, words: Sequence[str]) -> str:
    bus, epoch = server.bus, _integer(words[2])
    if epoch < 0:
        raise CommandError(f"ERR Invalid config epoch specified: {epoch}")
    if len(bus.members) > 1:
        raise CommandError("ERR The user can assign a config epoch only when the node does not know any other node.")
    if bus.me.epoch:
        raise CommandError("ERR Node config epoch is already non-zero")
    bus.me.epoch = epoch
    bus.current_epoch = max(bus.current_epoch, epoch)
    return "OK"


def _known(server: SimServer, node_id: str) -> Member:
    member = server.bus.members.get(node_id)
    if member is None:
        raise CommandError(f"ERR Unknown node {node_id}")
    return member


def _forget(server: SimServer, words: Sequence[str]) -> str:
    bus = server.bus
    member = bus.members.get(words[2])
    if member is None:
        if server.version.gossips_forget and bus.is_banned(words[2]):
            # Somebody else's gossip was faster.
            return "OK"
        raise CommandError(f"ERR Unknown node {words[2]}")
    if member is bus.me:
        raise CommandError("ERR I tried hard but I can't forget myself...")
    if bus.me.flags & REPLICA and bus.me.primary is member:
        raise CommandError("ERR Can't forget my master!")
    bus.forget(member)
    return "OK"


def _replicate(server: SimServer, words: Sequence[str]) -> str:
    bus = server.bus
    member = _known(server, words[2])
    if member is bus.me:
        raise CommandError("ERR Can't replicate myself")
    if member.flags & REPLICA:
        raise CommandError("ERR I can only replicate a master, not a replica.")
    if bus.me.flags & PRIMARY and (bus.me.slots or server.keys):
        raise CommandError("ERR To set a master the node must be empty and without assigned slots.")
    if server.version.replicate_again_is_nothing and bus.me.primary is member:
        return "OK"
    bus.set_primary(member)
    bus.update_state()
    if server.version.replicate_again_is_nothing:
        bus.broadcast_pong()
    return "OK"


def _failover(server: SimServer, words: Sequence[str]) -> str:
    mode = words[2].upper() if len(words) == 3 else ""
    if mode not in ("", "FORCE", "TAKEOVER"):
        raise CommandError("ERR syntax error")
    me = server.bus.me
    if me.flags & PRIMARY:
        raise CommandError("ERR You should send CLUSTER FAILOVER to a replica")
    if me.primary is None:
        raise CommandError("ERR I'm a replica but my master is unknown to me")
    if not mode and (me.primary.flags & FAIL or me.primary.link is None):
        raise CommandError("ERR Master is down or failed, please use CLUSTER FAILOVER FORCE")
    server.bus.start_manual_failover(mode)
    return "OK"


def _reset(server: SimServer, words: Sequence[str]) -> str:
    mode = words[2].upper() if len(words) == 3 else "SOFT"
    if mode not in ("SOFT", "HARD"):
        raise CommandError("ERR syntax error")
    if server.bus.me.flags & PRIMARY and server.keys:
        raise CommandError("ERR CLUSTER RESET can't be called with master nodes containing keys")
    server.simulation.was_reset(server)
    server.bus.reset(mode == "HARD")
    server.history = object()
    return "OK"


def _saveconfig(_server: SimServer, _words: Sequence[str]) -> str:
    return "OK"


def _failure_reports(server: SimServer, words: Sequence[str]) -> int:
    return len(_known(server, words[2]).fail_reports)


def _replicas(server: SimServer, words: Sequence[str]) -> list[str]:
    member = _known(server, words[2])
    if member.flags & REPLICA:
        raise CommandError("ERR The specified node is not a master")
    return [server.bus.describe(replica) for replica in server.bus.replicas_of(member)]


# --- atomic moves of Valkey ------------------------------------------------------------------------------------------


def _migrateslots(server: SimServer, words: Sequence[str]) -> str:
    if not server.version.atomic_moves:
        raise CommandError(f"ERR unknown subcommand '{words[1]}'. Try CLUSTER HELP.")
    if server.is_replica:
        raise CommandError("ERR Only primaries can migrate slots")
    jobs = []
    at = 2
    while at < len(words):
        if words[at].upper() != "SLOTSRANGE":
            raise CommandError("ERR syntax error")
        at += 1
        spans = []
        while at + 1 < len(words) and words[at].upper() != "NODE":
            spans.append((_slot(words[at]), _slot(words[at + 1])))
            at += 2
        if at + 1 >= len(words) or not spans:
            raise CommandError("ERR syntax error")
        jobs.append((spans, words[at + 1]))
        at += 2
    checked = [(spans, _check_atomic(server, spans, node_id)) for spans, node_id in jobs]
    for spans, member in checked:
        server.simulation.start_atomic_move(server, member, spans)
    return "OK"


def _check_atomic(server: SimServer, spans: Sequence[tuple[int, int]], node_id: str) -> Member:
    bus = server.bus
    member = bus.members.get(node_id)
    if member is None:
        raise CommandError(f"ERR Unknown node name: {node_id}")
    if member is bus.me or member.flags & REPLICA:
        raise CommandError("ERR Target node is not a primary" if member is not bus.me else "ERR Slots already here")
    busy = 0
    for job in server.migrations:
        if job["state"] not in ("success", "failed", "cancelled"):
            busy |= job["bitmap"]
    for first, last in spans:
        span = mask_of(first, last)
        if span & ~bus.me.slots:
            raise CommandError("ERR Slots are not served by this node")
        if span & busy:
            raise CommandError("ERR Slots are already being migrated")
        if any(span >> slot & 1 for slot in (*bus.migrating, *bus.importing)):
            raise CommandError("ERR Slots are being migrated or imported manually")
    return member


def _getslotmigrations(server: SimServer, words: Sequence[str]) -> list[list[Any]]:
    if not server.version.atomic_moves:
        raise CommandError(f"ERR unknown subcommand '{words[1]}'. Try CLUSTER HELP.")
    shown = ("name", "operation", "slot_ranges", "target_node", "source_node", "state", "message")
    return [[word for name in shown for word in (name, job[name])] for job in reversed(server.migrations)]


def _cancelslotmigrations(server: SimServer, words: Sequence[str]) -> str:
    if not server.version.atomic_moves:
        raise CommandError(f"ERR unknown subcommand '{words[1]}'. Try CLUSTER HELP.")
    for job in server.migrations:
        if job["operation"] == "EXPORT" and job["state"] not in ("success", "failed", "cancelled"):
            server.simulation.end_atomic_move(job, "cancelled")
    return "OK"


_Command = Callable[[SimServer, Sequence[str], Any], Any]
_COMMANDS: dict[str, _Command] = {
    "PING": _ping,
    "INFO": _info,
    "DBSIZE": _dbsize,
    "FLUSHALL": _flushall,
    "ROLE": _role,
    "CONFIG": _config,
    "CLIENT": _client,
    "CLUSTER": _cluster,
    "SET": _set,
    "GET": _get,
    "DEL": _del,
    "EXISTS": _exists,
    "DUMP": _dump,
    "MEMORY": _memory,
    "ASKING": _asking,
    "READONLY": _readonly,
    "READWRITE": _readonly,
    "PTTL": _pttl,
    "MULTI": _multi,
    "DISCARD": _discard,
    "EXEC": _exec,
    "SCRIPT": _script,
    "EVAL": _eval,
    "EVAL_RO": _eval,
    "EVALSHA": _eval,
    "EVALSHA_RO": _eval,
    "MIGRATE": _migrate,
    "RESTORE-ASKING": _restore_asking,
}
_MANY = 100_000
# What a subcommand of CLUSTER does, and how many words it has at least and at most.
_CLUSTER_COMMANDS: dict[str, tuple[Callable[[SimServer, Sequence[str]], Any], int, int]] = {
    "NODES": (_nodes, 2, 2),
    "INFO": (_cluster_info, 2, 2),
    "MYID": (_myid, 2, 2),
    "KEYSLOT": (_keyslot, 3, 3),
    "COUNTKEYSINSLOT": (_countkeysinslot, 3, 3),
    "GETKEYSINSLOT": (_getkeysinslot, 4, 4),
    "MEET": (_meet, 4, 5),
    "ADDSLOTS": (_addslots, 3, _MANY),
    "DELSLOTS": (_addslots, 3, _MANY),
    "ADDSLOTSRANGE": (_addslotsrange, 4, _MANY),
    "DELSLOTSRANGE": (_addslotsrange, 4, _MANY),
    "FLUSHSLOTS": (_flushslots, 2, 2),
    "SETSLOT": (_setslot, 4, 5),
    "BUMPEPOCH": (_bumpepoch, 2, 2),
    "SET-CONFIG-EPOCH": (_set_config_epoch, 3, 3),
    "FORGET": (_forget, 3, 3),
    "REPLICATE": (_replicate, 3, 3),
    "FAILOVER": (_failover, 2, 3),
    "RESET": (_reset, 2, 3),
    "SAVECONFIG": (_saveconfig, 2, 2),
    "COUNT-FAILURE-REPORTS": (_failure_reports, 3, 3),
    "REPLICAS": (_replicas, 3, 3),
    "SLAVES": (_replicas, 3, 3),
    "MIGRATESLOTS": (_migrateslots, 6, _MANY),
    "GETSLOTMIGRATIONS": (_getslotmigrations, 2, 2),
    "CANCELSLOTMIGRATIONS": (_cancelslotmigrations, 2, 2),
}
