# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each Tyk component needs of Redis, as ACL rules. A table and one function over it; no I/O.

Private to this collection. Where the facts come from (short names as used in C(source)):

* gw = TykTechnologies/tyk v5.14.0, commit 2e9450120e2b05f13457f441ee012cc57d6bd604
* pump = TykTechnologies/tyk-pump v1.16.0, commit e1981c0700e08a09d418f248e63e48998e838bfe
* lib = TykTechnologies/storage v1.3.4, commit f7017f6c9a50fcf23a3b1339eaa685305b839e39
* rds = redis/go-redis v9.18.0

Dashboard and MDCB are closed source, so which commands they send is not known: they get everything but what
administers a server or endangers its data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

# Older servers know no channels in ACL rules: every user may use all of them there.
FIRST_WITH_CHANNELS = (6, 2)


@dataclass(frozen=True)
class Rights:
    """What one Tyk component needs of Redis.

    C(keys) and C(channels) are patterns without the ACL's C(~) and C(&). C(commands) are lower-case names,
    C(command|subcommand) where one subcommand is enough; for components whose commands are not known they are empty,
    and C(broad) holds words of an ACL rule instead. C(probe_prefix) begins the names of keys that this component's
    user may write, and that a proof can use without touching the component's own.
    """

    component: str
    keys: tuple[str, ...]
    channels: tuple[str, ...]
    commands: tuple[str, ...]
    broad: tuple[str, ...]
    probe_prefix: str
    source: str


# What go-redis sends on its own: HELLO and AUTH need no right (CMD_NO_AUTH), a refused CLIENT SETINFO is tolerated, and
# SELECT goes with a database number above 0. COMMAND tells it where a command's keys are.
_HANDSHAKE = ("ping", "cluster|slots", "command", "select")
# The components read from primaries only. The proof that each component's user can work with every node reads from
# replicas too, and a cluster node answers there only after READONLY, which concerns nothing but the own connection.
_PROOF = ("readonly",)
_ALL_BUT_ADMINISTRATION = (
    "+@all",
    "-@admin",
    "-@dangerous",
    "+cluster|slots",
    "+client|getname",
    "+client|setname",
    "+info",
)

RIGHTS: Mapping[str, Rights] = MappingProxyType(
    {
        rights.component: rights
        for rights in (
            Rights(
                component="gateway",
                # OAuth tokens and the keys of plugins begin with whatever their names begin with.
                keys=("*",),
                channels=("tyk.cluster.notifications", "dashboard.ui.messages"),
                commands=(
                    *_HANDSHAKE,
                    *_PROOF,
                    *("get", "set", "setnx", "mget", "del", "exists", "expire", "pexpire", "ttl", "pttl"),
                    *("incr", "decr", "scan"),
                    *("rpush", "lpush", "lrange", "ltrim", "lrem", "llen"),
                    *("sadd", "srem", "smembers", "sismember"),
                    *("zadd", "zrange", "zcard", "zrangebyscore", "zremrangebyscore"),
                    *("hset", "hgetall"),
                    *("multi", "exec", "discard"),
                    *("eval", "evalsha"),
                    *("publish", "subscribe", "unsubscribe"),
                ),
                broad=(),
                probe_prefix="tyk-redis-check-",
                source="lib:keyvalue.go, list.go, set.go, sortedset.go; gw:internal/rate/allowance_store.go,"
                " internal/rate/scripts, gateway/session_manager.go, gateway/redis_signals.go:29,"
                " gateway/redis_logrus_hook.go:19, storage/connection_handler.go:178; rds:redis.go initConn,"
                " osscluster.go:1474-1530,2283",
            ),
            Rights(
                component="dashboard",
                keys=("*",),
                channels=("*",),
                commands=(),
                broad=_ALL_BUT_ADMINISTRATION,
                probe_prefix="tyk-redis-check-",
                source="closed source; nothing documented",
            ),
            Rights(
                component="pump",
                keys=(
                    "analytics-tyk-system-analytics*",
                    "host-checker:tyk-uptime-analytics",
                    "version-check-pump",
                ),
                channels=(),
                commands=(
                    *_HANDSHAKE,
                    *_PROOF,
                    *("set", "lrange", "ltrim", "del", "expire", "multi", "exec", "discard"),
                ),
                broad=(),
                probe_prefix="analytics-tyk-system-analytics-check-",
                source="pump:main.go:137,160-183, analytics; lib:list.go:89-110, keyvalue.go; rds:redis.go initConn",
            ),
            Rights(
                component="mdcb",
                keys=("*",),
                channels=("*",),
                commands=(),
                broad=_ALL_BUT_ADMINISTRATION,
                probe_prefix="tyk-redis-check-",
                source="closed source; its release notes speak of channels and keyspace listeners",
            ),
        )
    }
)


def rules(component: str, version: tuple[int, ...], *, client_setinfo: bool) -> tuple[str, ...]:
    """The words that give a component's user its rights, for ACL SETUSER or a line of an ACL file.

    They do not say whether the user is on, and hold no password. Where the server knows channels, C(resetchannels)
    is among them, because a new user of Redis 6.2 may use all channels (acl-pubsub-default), and naming some is then an
    error.

    Args:
        component: gateway, dashboard, pump or mdcb.
        version: of the server, for example (7, 0, 15).
        client_setinfo: whether the server knows CLIENT SETINFO (Redis from 7.2 on, Valkey). It is refused without
            harm where a user may not use it, but each connection then leaves an entry in the ACL LOG.

    Raises:
        KeyError: there is no such component.
    """
    rights = RIGHTS[component]
    known = version >= FIRST_WITH_CHANNELS
    channels = ["resetchannels", *(f"&{pattern}" for pattern in rights.channels)] if known else []
    keys = [f"~{pattern}" for pattern in rights.keys]
    if rights.broad:
        return (*keys, *channels, *rights.broad)
    commands = [*rights.commands, *(["client|setinfo"] if client_setinfo else [])]
    return (*keys, *channels, "-@all", *(f"+{command}" for command in commands))
