# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection and may change at any time.

"""What each Tyk component and the role redis need of a description. No I/O happens here.

Both functions take what ``describe()`` of ``_description`` returned.
"""

from __future__ import annotations

import typing as t

from ansible_collections.apiops.tyk_redis.plugins.module_utils._description import SECTIONS

_TLS_FILES = ("tls_ca_file", "tls_cert_file", "tls_key_file")
_TLS_VERSIONS = ("tls_min_version", "tls_max_version")
# Where the role pki brings the certificates of Tyk's hosts.
TYK_TLS_FOLDER = "/etc/tyk-redis-tls/tyk"


def stores_of(described: t.Mapping[str, t.Any], component: str, endpoints: t.Sequence[str]) -> dict[str, t.Any]:
    """The stores of one component, each with the options that tyk_config has for it.

    Args:
        described: the description.
        component: ``gateway``, ``dashboard``, ``pump`` or ``mdcb``.
        endpoints: the members of the cluster that the roles make; with topology managed nobody looks at them.

    Returns:
        ``main``, and for the components that have them ``cache_storage`` and ``analytics_storage``, whose ``enabled``
        says whether they are another Redis than the main one. Beside these ``expect_nodes``, the nodes that a proof has
        to find in the main one, and ``least_privilege``, the names of the stores in which it has to show that the user
        may do no more than the component needs.
    """
    followed = described["sections"].get("analytics_storage") if component == "pump" else None
    source = described if followed is None else described["deployments"][followed]
    made_here = followed is None and described["topology"] == "cluster"
    stores: dict[str, t.Any] = {"main": _store(source, component, endpoints if made_here else source["addresses"])}
    sources = {"main": source}
    for section, components in SECTIONS.items():
        # Pump has but one store.
        if component not in components or component == "pump":
            continue
        name = described["sections"].get(section)
        if name is None:
            stores[section] = {"enabled": False}
            continue
        deployment = described["deployments"][name]
        sources[section] = deployment
        stores[section] = {"enabled": True, **_store(deployment, component, deployment["addresses"])}
    stores["expect_nodes"] = list(endpoints) if made_here else []
    # Pump needs few keys; a user that it shares with other components has to have all of them for their sake.
    shared = component == "pump" and component not in source["users"]
    stores["least_privilege"] = [
        name for name, one in sources.items() if one["least_privilege"] and not (shared and name == "main")
    ]
    return stores


def _store(source: t.Mapping[str, t.Any], component: str, addresses: t.Sequence[str]) -> dict[str, t.Any]:
    user = source["users"].get(component, source)
    store: dict[str, t.Any] = {
        "addresses": list(addresses),
        "cluster": source["mode"] == "cluster",
        "username": user["username"],
        "password": user["password_reference"] or user["password"],
        # A cluster has only this one, and a number that is left of another Redis would contradict that.
        "database": source["database"] or 0,
        "timeout": source["timeout"],
        "pool_size": source["pool_size"],
        "tls": source["encryption"] == "tls",
    }
    if source["mode"] == "sentinel":
        store["sentinel_master"] = source["sentinel_master"]
        # An empty text clears what is left of another Redis, which an absent option would not.
        store["sentinel_password"] = source["sentinel_password"] or ""
    if store["tls"]:
        store["tls_skip_verify"] = bool(source["tls_skip_verify"])
        # Only a cluster that the roles make has this key.
        clients = source.get("tls_client_certificates")
        files = {name: source[name] or "" for name in _TLS_FILES} if clients is None else _own_files(clients)
        store.update(files)
        store.update({name: source[name] for name in _TLS_VERSIONS if source[name] is not None})
    return store


def _own_files(client_certificates: str) -> dict[str, str]:
    shown = client_certificates != "no"
    return {
        "tls_ca_file": f"{TYK_TLS_FOLDER}/ca.crt",
        "tls_cert_file": f"{TYK_TLS_FOLDER}/host.crt" if shown else "",
        "tls_key_file": f"{TYK_TLS_FOLDER}/host.key" if shown else "",
    }


def redis_users(described: t.Mapping[str, t.Any]) -> list[dict[str, t.Any]]:
    """The users that the role redis makes for Tyk's components, in a fixed order; none with topology managed.

    Each has ``name``, ``passwords``, of which the second one is on its way out, and ``component``. The last one is the
    user of the components that have none of their own, if there are any; its ``component`` is empty.
    """
    if described["topology"] != "cluster":
        return []
    users = [_user(user, component) for component, user in described["users"].items()]
    if described["password"] is not None:
        users.append(_user(described, ""))
    return users


def _user(user: t.Mapping[str, t.Any], component: str) -> dict[str, t.Any]:
    passwords = [user["password"], user["previous_password"]]
    return {
        "name": user["username"],
        "passwords": [password for password in passwords if password is not None],
        "component": component,
    }
