# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filters, as templates see them; what they compute is tested with the module_utils."""

from __future__ import annotations

import hashlib
import inspect
import typing as t
from pathlib import Path

import pytest
import yaml
from ansible.errors import AnsibleFilterError

from ansible_collections.apiops.tyk_redis.plugins.filter import tyk_redis

FILTERS = tyk_redis.FilterModule().filters()
LEAST = {"password": "only-for-this-test", "admin_password": "neither-is-this-one"}


def documentation(name: str) -> dict[str, t.Any]:
    page: dict[str, t.Any] = yaml.safe_load(Path(tyk_redis.__file__).with_name(f"{name}.yml").read_text("utf-8"))
    return page


def test_every_filter_is_documented() -> None:
    pages = {path.stem for path in Path(tyk_redis.__file__).parent.glob("*.yml")}
    assert pages == set(FILTERS)


@pytest.mark.parametrize("name", sorted(FILTERS))
def test_the_documented_options_are_the_parameters(name: str) -> None:
    page = documentation(name)["DOCUMENTATION"]
    assert page["name"] == name
    _first, *others = inspect.signature(FILTERS[name]).parameters.values()
    options = page["options"]
    assert list(options) == ["_input", *(parameter.name for parameter in others)]
    for parameter in others:
        assert options[parameter.name].get("required", False) == (parameter.default is parameter.empty)
        if parameter.default is not parameter.empty:
            # A default that is a tuple cannot be changed by mistake, and is a list to templates.
            default = list(parameter.default) if isinstance(parameter.default, tuple) else parameter.default
            assert options[parameter.name].get("default") == default
    if others:
        assert page["positional"].split(", ") == list(options)


def test_a_description_is_filled_in_or_refused() -> None:
    assert FILTERS["description"](LEAST)["username"] == "tyk"
    with pytest.raises(AnsibleFilterError) as caught:
        FILTERS["description"]({"password": "only-for-this-test"})
    assert str(caught.value) == (
        "tyk_redis.admin_password must be given; there is no default password. Keep it in a vault."
    )


def test_instances_are_listed_or_refused() -> None:
    hostvars = {"redis1": {"redis_address": "192.0.2.1"}, "redis2": {"redis_address": "2001:db8::2"}}
    members = FILTERS["members"](hostvars, ["redis1", "redis2"])
    assert FILTERS["endpoints"](members) == ["192.0.2.1:6379", "[2001:db8::2]:6379"]
    described = FILTERS["description"]({**LEAST, "remove": ["192.0.2.1:6379"]})
    assert FILTERS["endpoints"](FILTERS["members"](hostvars, hostvars, described)) == ["[2001:db8::2]:6379"]
    assert FILTERS["endpoints"](FILTERS["leaving"](hostvars, hostvars, described)) == ["192.0.2.1:6379"]
    assert FILTERS["leaving"](hostvars, hostvars) == []
    hostvars["redis2"]["redis_address"] = "redis2.example"
    with pytest.raises(AnsibleFilterError, match=r"^redis2: redis_address is 'redis2\.example'; give the IP address"):
        FILTERS["members"](hostvars, ["redis1", "redis2"])


HOSTVARS = {
    "redis1": {"redis_address": "192.0.2.1"},
    "redis2": {"redis_address": "192.0.2.2", "redis_leaving": True},
    "gw1": {"redis_address": "192.0.2.9"},
}
REDIS = ["redis1", "redis2"]


def test_instances_are_listed_as_they_are_reached_at_the_moment() -> None:
    described = FILTERS["description"]({**LEAST, "encryption": "tls"}, "none")
    for mode, port in (("", 7379), ("tls", 7379), ("none", 6379)):
        assert FILTERS["endpoints"](FILTERS["members"](HOSTVARS, REDIS, described, mode)) == [f"192.0.2.1:{port}"]
        assert FILTERS["endpoints"](FILTERS["leaving"](HOSTVARS, REDIS, described, mode)) == [f"192.0.2.2:{port}"]


def test_a_previous_encryption_can_be_named_beside_the_description() -> None:
    given = {**LEAST, "encryption": "tls"}
    assert FILTERS["description"](given, "none") == FILTERS["description"]({**given, "previous_encryption": "none"})
    assert FILTERS["description"](given, "") == FILTERS["description"](given)
    # A description that is no dictionary is still told so.
    with pytest.raises(AnsibleFilterError, match=r"^tyk_redis must be a dictionary with at least password"):
        FILTERS["description"]("tls", "none")
    with pytest.raises(AnsibleFilterError) as caught:
        FILTERS["description"](given, "tls")
    assert str(caught.value) == (
        "tyk_redis.previous_encryption is 'tls' as well as tyk_redis.encryption: name the one that it replaces, or"
        " remove it."
    )


def test_encryption_is_derived_or_refused() -> None:
    plain = FILTERS["description"](LEAST)
    described = FILTERS["description"]({**LEAST, "encryption": "tls_tunnel"}, "none")
    assert FILTERS["clients_first"](described) is True
    assert FILTERS["redis_options"](HOSTVARS, "redis1", described)["address"] == "127.64.2.1"
    assert FILTERS["redis_options"](HOSTVARS, "redis1", described, "none")["address"] == "192.0.2.1"
    assert [end["name"] for end in FILTERS["tunnels"](HOSTVARS, "gw1", REDIS, described)] == [
        "dial-redis1-6379",
        "dial-redis2-6379",
    ]
    assert FILTERS["tunnels"](HOSTVARS, "gw1", REDIS, plain) == []
    assert FILTERS["admitted"](HOSTVARS, "redis1", REDIS, ["gw1"], plain) == {
        "client_ports": [6379],
        "bus_ports": [16379],
        "members": ["192.0.2.1", "192.0.2.2"],
        "clients": ["192.0.2.1", "192.0.2.2", "192.0.2.9"],
    }
    assert len(FILTERS["announced"](HOSTVARS, REDIS, described)) == 2
    wrong = {**HOSTVARS, "redis2": {"redis_address": "192.0.2.2", "redis_loopback": "127.0.0.1"}}
    for asked in (
        lambda: FILTERS["redis_options"](wrong, "redis2", described),
        lambda: FILTERS["tunnels"](wrong, "gw1", REDIS, described),
        lambda: FILTERS["members"](wrong, REDIS, described),
    ):
        with pytest.raises(AnsibleFilterError) as caught:
            asked()
        assert str(caught.value) == "redis2: redis_loopback is '127.0.0.1'; give an address of 127.64.0.0/16."
    nowhere = {**HOSTVARS, "gw1": {}}
    with pytest.raises(AnsibleFilterError, match=r"^gw1: no IP address to admit in the firewall is known: "):
        FILTERS["admitted"](nowhere, "redis1", REDIS, ["gw1"], plain)


def test_a_component_is_told_which_redis_it_uses() -> None:
    members = FILTERS["members"]({"redis1": {"redis_address": "192.0.2.1"}}, ["redis1"])
    stores = FILTERS["tyk_stores"](LEAST, "gateway", members)
    assert stores["main"]["addresses"] == stores["expect_nodes"] == ["192.0.2.1:6379"]
    assert FILTERS["tyk_stores"](FILTERS["description"](LEAST), "gateway", members) == stores
    with pytest.raises(AnsibleFilterError, match=r"^The component 'portal' is unknown; Tyk's are gateway, "):
        FILTERS["tyk_stores"](LEAST, "portal", members)
    with pytest.raises(AnsibleFilterError, match=r"^tyk_redis\.timeout is 0; "):
        FILTERS["tyk_stores"]({**LEAST, "timeout": 0}, "gateway", members)


def test_the_users_of_tyk_are_listed() -> None:
    users = FILTERS["redis_users"](LEAST)
    assert users == [{"name": "tyk", "passwords": [LEAST["password"]], "component": ""}]
    with pytest.raises(AnsibleFilterError, match=r"^tyk_redis\.timeout is 0; "):
        FILTERS["redis_users"]({**LEAST, "timeout": 0})


def test_components_come_in_a_fixed_order() -> None:
    groups = ["tyk_mdcb", "redis", "tyk_pump", "tyk_gateway", "all", "tyk_dashboard"]
    assert FILTERS["components"](groups) == ["gateway", "dashboard", "pump", "mdcb"]
    assert FILTERS["components"](["redis", "gateway", "tyk"]) == []


def test_a_hash_is_the_one_of_the_bytes() -> None:
    assert FILTERS["acl_hash"]("größe") == hashlib.sha256(b"gr\xc3\xb6\xc3\x9fe").hexdigest()
    assert FILTERS["acl_hash"]("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_a_value_for_redis_conf_is_quoted() -> None:
    assert FILTERS["config_text"]('say "ß"') == '"say \\x22\\xc3\\x9f\\x22"'


def check(host: str, *problems: str, **agreement: t.Any) -> dict[str, t.Any]:
    result = {"problems": list(problems), "remarks": []}
    common = {"mode": "cluster", "addresses": ["192.0.2.1:6379"], "database": 0, "tls": False, "node_ids": ["a"]}
    store = {"purposes": ["main", "cache", "analytics"], "agreement": {**common, **agreement}}
    return {"host": host, "component": "gateway", "result": {**result, "stores": [store]}}


def test_problems_are_those_of_each_host_and_those_between_them() -> None:
    assert FILTERS["problems"]([]) == []
    assert FILTERS["problems"]([check("gw1"), check("gw2")]) == []
    sentences = FILTERS["problems"]([check("gw1", "One.", "Two."), check("gw2", "Three.", database=1)])
    assert sentences[:3] == ["gw1: One.", "gw1: Two.", "gw2: Three."]
    assert len(sentences) == 4
    assert "gw1" in sentences[3] and "gw2" in sentences[3]


def test_the_report_takes_remarks() -> None:
    assert FILTERS["report"]({}, [], []).startswith("All that was asked is well: ")
    assert FILTERS["report"]({}, [], [], ["Odd."]).endswith("\nRemarks:\n  1. Odd.")


def test_pools_that_do_not_fit_are_remarked_upon() -> None:
    description = FILTERS["description"](LEAST)
    nodes = [{"name": "redis-1", "maxclients": 1000}, {"name": "redis-2", "maxclients": None}, {"name": "redis-3"}]
    (remark,) = FILTERS["pool_remarks"](description, {"gateway": 1, "pump": 0}, nodes)
    assert "(1 gateway x 4 pools x 500 = 2000) and 38 more are needed" in remark
    assert "maxclients is 1000 on redis-1." in remark
    assert FILTERS["pool_remarks"]({**description, "pool_size": 240}, {"gateway": 1}, nodes) == []
    assert FILTERS["pool_remarks"](description, {"gateway": 1}, []) == []
    (remark,) = FILTERS["pool_remarks"]({**description, "maxclients": 2033}, {"gateway": 1}, [])
    assert "maxclients is 2033 on main." in remark


def test_the_pools_of_other_deployments_are_judged_by_their_own_limits() -> None:
    description = {
        "pool_size": 10,
        "sections": {"cache_storage": "cache", "analytics_storage": "queue"},
        "deployments": {"cache": {"pool_size": 100, "maxclients": 100}, "queue": {"maxclients": 534}},
    }
    nodes = [{"name": "redis-1", "maxclients": 1000}]
    (remark,) = FILTERS["pool_remarks"](description, {"gateway": 1}, nodes)
    assert "one node of the Redis deployment cache (1 gateway x 1 pool x 100 = 100)" in remark
    assert "maxclients is 100 on cache." in remark
    assert len(FILTERS["pool_remarks"](description, {"gateway": 1, "pump": 1}, nodes)) == 2


def test_of_a_managed_redis_the_description_tells_the_limit() -> None:
    managed = {"topology": "managed", "mode": "cluster", "addresses": ["a.example:6379"], "password": LEAST["password"]}
    description = FILTERS["description"]({**managed, "maxclients": 1000})
    (remark,) = FILTERS["pool_remarks"](description, {"gateway": 1}, [])
    assert "maxclients is 1000 on main." in remark
    assert FILTERS["pool_remarks"](FILTERS["description"](managed), {"gateway": 1}, []) == []


def test_pools_of_an_unknown_component_are_refused() -> None:
    with pytest.raises(AnsibleFilterError, match=r"^The component 'portal' is unknown; Tyk's are gateway, "):
        FILTERS["pool_remarks"]({}, {"portal": 1}, [])


def test_a_host_with_several_components_is_named_once() -> None:
    groups = {"tyk_pump": ["tyk1", "tyk3"], "redis": ["redis1"], "tyk_gateway": ["tyk2", "tyk1"], "tyk_mdcb": []}
    assert FILTERS["tyk_hosts"](groups) == ["tyk2", "tyk1", "tyk3"]
    assert FILTERS["tyk_hosts"]({"redis": ["redis1"]}) == []


def test_a_host_that_was_not_asked_may_have_its_former_settings() -> None:
    hostvars = {"well": {"tyk_unread_components": []}, "late": {"tyk_unread_components": ["gateway"]}, "silent": {}}
    assert FILTERS["with_former_settings"](["well", "silent", "late"], hostvars) == ["silent", "late"]
