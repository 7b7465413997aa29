# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a user may describe, and what is refused with which sentence."""

from __future__ import annotations

import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.apiops.tyk_redis.plugins.module_utils._description import (
    KEYS,
    DescriptionError,
    address_of,
    config_text,
    describe,
    endpoints_of,
    instances_of,
    misspelt,
)

LEAST = {"password": "only-for-this-test", "admin_password": "neither-is-this-one"}


def refusal(**changed: t.Any) -> str:
    with pytest.raises(DescriptionError) as caught:
        describe({**LEAST, **changed})
    return str(caught.value)


# --- tyk_redis -------------------------------------------------------------------------------------------------------


def test_two_passwords_are_enough() -> None:
    assert describe(LEAST) == {
        "topology": "cluster",
        "encryption": "none",
        "replicas_per_primary": 1,
        "username": "tyk",
        "password": "only-for-this-test",
        "admin_username": "tyk-redis-admin",
        "admin_password": "neither-is-this-one",
        "timeout": 5,
        "pool_size": 500,
        "remove": [],
    }
    assert describe({**LEAST, "timeout": None, "username": None, "remove": None}) == describe(LEAST)


def test_every_key_can_be_given() -> None:
    full = {
        **LEAST,
        "topology": "cluster",
        "encryption": "none",
        "replicas_per_primary": 0,
        "username": "größe",
        "admin_username": "boss",
        "timeout": 1,
        "pool_size": 1,
        "remove": ["192.0.2.1:6379"],
    }
    assert set(full) == set(KEYS)
    assert describe(full) == full


@pytest.mark.parametrize("given", [None, "password", ["password"], 1])
def test_something_else_than_a_dictionary_is_refused(given: t.Any) -> None:
    with pytest.raises(DescriptionError) as caught:
        describe(given)
    assert str(caught.value) == (
        "tyk_redis must be a dictionary with at least password and admin_password, see the README's quick start."
    )


def test_numbers_may_come_as_text() -> None:
    surveyed = describe({**LEAST, "replicas_per_primary": "2", "timeout": " 10\n", "pool_size": "0100"})
    assert (surveyed["replicas_per_primary"], surveyed["timeout"], surveyed["pool_size"]) == (2, 10, 100)


def test_unknown_keys_are_named_with_the_known_ones() -> None:
    assert refusal(user="tyk", replica_per_primary=1) == (
        "tyk_redis has no key 'replica_per_primary', 'user'; the keys are: admin_password, admin_username, encryption,"
        " password, pool_size, remove, replicas_per_primary, timeout, topology, username."
    )
    with pytest.raises(DescriptionError, match="has no key '1', 'None';"):
        describe({**LEAST, 1: 1, None: 1})


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({}, "tyk_redis.password, tyk_redis.admin_password"),
        ({**LEAST, "password": ""}, "tyk_redis.password"),
        ({**LEAST, "admin_password": None}, "tyk_redis.admin_password"),
    ],
)
def test_passwords_have_no_default(given: dict[str, t.Any], names: str) -> None:
    with pytest.raises(DescriptionError) as caught:
        describe(given)
    assert str(caught.value) == f"{names} must be given; there is no default password. Keep it in a vault."


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        pytest.param("timeout", True, "tyk_redis.timeout must be a whole number, not True.", id="yes is no number"),
        pytest.param("timeout", 1.0, "tyk_redis.timeout must be a whole number, not 1.0.", id="fraction"),
        pytest.param("timeout", "5s", "tyk_redis.timeout must be a whole number, not '5s'.", id="unit"),
        pytest.param("timeout", "²", "tyk_redis.timeout must be a whole number, not '²'.", id="superscript"),
        pytest.param("timeout", "٣", "tyk_redis.timeout must be a whole number, not '٣'.", id="other digits"),
        pytest.param("timeout", "", "tyk_redis.timeout must be a whole number, not ''.", id="empty"),
        pytest.param("timeout", [5], "tyk_redis.timeout must be a whole number, not [5].", id="list"),
        pytest.param("timeout", 0, "tyk_redis.timeout is 0; it must be at least 1.", id="no time"),
        pytest.param("pool_size", "0", "tyk_redis.pool_size is 0; it must be at least 1.", id="no pool, as text"),
        pytest.param(
            "replicas_per_primary", -1, "tyk_redis.replicas_per_primary is -1; it must be at least 0.", id="negative"
        ),
        pytest.param(
            "topology",
            "sentinel",
            "tyk_redis.topology is 'sentinel'; this version of the collection knows: cluster.",
            id="topology",
        ),
        pytest.param(
            "encryption",
            "tls",
            "tyk_redis.encryption is 'tls'; this version of the collection knows: none.",
            id="encryption",
        ),
        pytest.param("username", 1, "tyk_redis.username must be a text, not 1.", id="number as name"),
        pytest.param("username", False, "tyk_redis.username must be a text, not False.", id="no as name"),
    ],
)
def test_a_wrong_value_is_named(key: str, value: t.Any, sentence: str) -> None:
    assert refusal(**{key: value}) == sentence


@pytest.mark.parametrize("key", ["username", "admin_username"])
@pytest.mark.parametrize("name", ["", "two words", "tab\t", "line\n", "\N{NO-BREAK SPACE}", "a\0", 'a"', "a'b"])
def test_a_name_that_the_files_of_redis_cannot_hold_is_refused(key: str, name: str) -> None:
    assert refusal(**{key: name}) == (
        f"tyk_redis.{key} is {name!r}; it must be a non-empty text without blanks and quotes."
    )


@pytest.mark.parametrize("key", ["username", "admin_username"])
def test_the_default_user_stays_off(key: str) -> None:
    assert refusal(**{key: "default"}) == (
        f"tyk_redis.{key} is 'default', the user that everybody is before AUTH; it stays switched off."
        " Give another name."
    )


@pytest.mark.parametrize("names", [{"username": "tyk-redis-admin"}, {"username": "x", "admin_username": "x"}])
def test_tyk_is_not_the_administrator(names: dict[str, str]) -> None:
    assert refusal(**names) == (
        f"tyk_redis.username and tyk_redis.admin_username are both {names['username']!r};"
        " Tyk must not work as the administrator, so give them different names."
    )


@pytest.mark.parametrize("key", ["password", "admin_password"])
@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        (
            "elevenchars",
            "has 11 characters; give at least 12, for example from a vault: openssl rand -base64 24.",
        ),
        (123456789012, "must be a text."),
        (True, "must be a text."),
        (["only-for-this-test"], "must be a text."),
        ("only for\nthis test", "contains a line break or a NUL character, which cannot be typed."),
        ("only for\rthis test", "contains a line break or a NUL character, which cannot be typed."),
        ("only for\0this test", "contains a line break or a NUL character, which cannot be typed."),
        ("only for\ud83dthis test", "contains half of a character, which UTF-8 cannot express."),
    ],
)
def test_a_password_is_refused_without_being_shown(key: str, value: t.Any, complaint: str) -> None:
    assert refusal(**{key: value}) == f"tyk_redis.{key} {complaint}"


def test_twelve_characters_are_enough_for_a_password_whatever_they_are() -> None:
    hostile = " #\"'\\\t😀äß{{%"
    assert len(hostile) == 12
    assert describe({**LEAST, "password": hostile})["password"] == hostile


def test_addresses_to_remove_are_spelt_in_one_way_and_named_once() -> None:
    described = describe({**LEAST, "remove": ["192.0.2.1:6379", "[2001:DB8:0::1]:06380", "192.0.2.1: 6379 "]})
    assert described["remove"] == ["192.0.2.1:6379", "[2001:db8::1]:6380"]


@pytest.mark.parametrize("given", ["192.0.2.1:6379", 6379, {"192.0.2.1": 6379}, False])
def test_what_is_to_be_removed_is_a_list(given: t.Any) -> None:
    assert refusal(remove=given) == (
        f"tyk_redis.remove must be a list of addresses and ports such as ['192.0.2.14:6379'], not {given!r}."
    )


@pytest.mark.parametrize(
    "item",
    [
        "redis1",
        "redis1:6379",
        "192.0.2.1",
        "192.0.2.1:",
        ":6379",
        "192.0.2.1:0",
        "192.0.2.1:65536",
        "2001:db8::1:6379",
        "[192.0.2.1]:6379",
        "[2001:db8::1]",
        "0.0.0.0:6379",
        "192.0.2.1:6379\n:",
        6379,
        None,
        ["192.0.2.1", 6379],
    ],
)
def test_an_address_to_remove_that_no_member_has_is_refused(item: t.Any) -> None:
    assert refusal(remove=["192.0.2.1:6379", item]) == (
        f"tyk_redis.remove contains {item!r}; give the IP address and the port as the cluster knows them,"
        " for example '192.0.2.14:6379' or '[2001:db8::14]:6379'."
    )


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
NUMBERS = st.integers(0, 9) | st.integers(0, 9).map(str) | st.none()
PASSWORDS = st.text(min_size=10, max_size=30)
LIKELY = st.fixed_dictionaries(
    {"password": PASSWORDS, "admin_password": PASSWORDS},
    optional={
        "topology": st.just("cluster"),
        "username": st.text("ab", min_size=1, max_size=2),
        "timeout": NUMBERS,
        "replicas_per_primary": NUMBERS,
        "pool_size": NUMBERS,
        "remove": st.lists(st.builds("{}:{}".format, st.ip_addresses(v=4), st.integers(0, 70000)), max_size=2),
    },
)
UNLIKELY = st.dictionaries(st.sampled_from(sorted(KEYS)) | st.text(max_size=5), ANYTHING, max_size=9)


@given(LIKELY | UNLIKELY | st.builds(lambda likely, odd: {**likely, **odd}, LIKELY, UNLIKELY) | ANYTHING)
def test_what_is_described_describes_itself(given: t.Any) -> None:
    try:
        described = describe(given)
    except DescriptionError as exc:
        # One finished sentence, or several.
        assert str(exc).endswith(".")
        assert "\n" not in str(exc)
        return
    assert set(described) == set(KEYS)
    assert describe(described) == described
    # Everything that is accepted can be written into the files of Redis.
    assert config_text(described["password"]) and config_text(described["admin_password"])


# --- instances -------------------------------------------------------------------------------------------------------

FACTS = {"ansible_facts": {"default_ipv4": {"address": "192.0.2.3"}}}


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        pytest.param(
            {"redis_address": "192.0.2.1", "ansible_host": "192.0.2.2", **FACTS}, "192.0.2.1", id="given before all"
        ),
        pytest.param({"ansible_host": "192.0.2.2", **FACTS}, "192.0.2.2", id="ansible_host before facts"),
        pytest.param({"redis_address": "", "ansible_host": "192.0.2.2"}, "192.0.2.2", id="given empty"),
        pytest.param({"ansible_host": "redis1.example", **FACTS}, "192.0.2.3", id="name is passed over"),
        pytest.param(FACTS, "192.0.2.3", id="facts alone"),
        pytest.param({"redis_address": "2001:DB8:0::1"}, "2001:db8::1", id="as servers print it"),
    ],
)
def test_where_an_instance_is(variables: dict[str, t.Any], expected: str) -> None:
    assert address_of("redis1", variables) == expected


@pytest.mark.parametrize("given", ["redis1.example", "192.0.2", "192.0.2.1:6379", "0.0.0.0", "::", "fe80::1%eth0", 7.5])
def test_an_address_that_no_other_host_can_use_is_refused(given: t.Any) -> None:
    with pytest.raises(DescriptionError) as caught:
        address_of("redis1", {"redis_address": given, **FACTS})
    assert str(caught.value) == (
        f"redis1: redis_address is {given!r}; give the IP address itself by which other hosts reach it,"
        " Redis Cluster does not resolve names."
    )


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"ansible_host": "redis1.example"},
        {"ansible_host": "redis1.example", "ansible_facts": {}},
        {"ansible_facts": {"default_ipv4": {}}},
        {"ansible_facts": None},
    ],
)
def test_an_address_that_nobody_knows_must_be_given(variables: dict[str, t.Any]) -> None:
    with pytest.raises(DescriptionError) as caught:
        address_of("redis1", variables)
    assert str(caught.value) == (
        "redis1: no IP address to bind and announce is known. Set the host variable redis_address"
        " to an address that all Redis and Tyk hosts reach."
    )


def staying(hostvars: dict[str, dict[str, t.Any]], hosts: t.Iterable[str]) -> list[dict[str, t.Any]]:
    return instances_of(hostvars, hosts)[0]


def host(address: str, **variables: t.Any) -> dict[str, t.Any]:
    return {"redis_address": address, **variables}


def test_instances_come_in_the_order_of_the_inventory() -> None:
    hostvars = {
        "b": host("192.0.2.2", redis_ports=["6380", 6379], redis_zone="east"),
        "a": host("192.0.2.1", redis_weight="3"),
        "c": host("2001:db8::3", redis_zone=0),
        "other": host("not asked for"),
    }
    members = staying(hostvars, ["b", "a", "c"])
    assert members == [
        {"name": "b:6380", "address": "192.0.2.2", "port": 6380, "host": "b", "zone": "east", "weight": 1},
        {"name": "b:6379", "address": "192.0.2.2", "port": 6379, "host": "b", "zone": "east", "weight": 1},
        {"name": "a:6379", "address": "192.0.2.1", "port": 6379, "host": "a", "zone": "", "weight": 3},
        {"name": "c:6379", "address": "2001:db8::3", "port": 6379, "host": "c", "zone": "0", "weight": 1},
    ]
    assert endpoints_of(members) == ["192.0.2.2:6380", "192.0.2.2:6379", "192.0.2.1:6379", "[2001:db8::3]:6379"]
    assert staying(hostvars, []) == endpoints_of([]) == []


def ports_refusal(ports: t.Any) -> str:
    with pytest.raises(DescriptionError) as caught:
        staying({"redis1": host("192.0.2.1", redis_ports=ports)}, ["redis1"])
    return str(caught.value)


@pytest.mark.parametrize("ports", [6379, "6379", [], (), {}, None])
def test_ports_are_a_list(ports: t.Any) -> None:
    assert ports_refusal(ports) == f"redis1: redis_ports is {ports!r}; it must be a list of ports, for example [6379]."


@pytest.mark.parametrize("port", [0, -1, 55536, 65536, "6379x", "", "²", True, 6379.0, None, [6379], "9" * 5000])
def test_a_port_leaves_room_for_the_cluster_bus(port: t.Any) -> None:
    assert ports_refusal([6379, port]) == (
        f"redis1: redis_ports contains {port!r}; a port is a number from 1 to 55535"
        " (the cluster bus uses port + 10000)."
    )


def test_the_outermost_ports_are_fine() -> None:
    members = staying({"redis1": host("192.0.2.1", redis_ports=[1, 55535])}, ["redis1"])
    assert [member["port"] for member in members] == [1, 55535]


def test_ports_do_not_collide() -> None:
    assert ports_refusal([6379, "6379"]) == "redis1: redis_ports contains 6379 more than once."
    assert ports_refusal([16379, 6379]) == (
        "redis1: redis_ports contains 6379 and 16379, but the latter is the cluster bus port of the former."
    )


def test_two_hosts_do_not_claim_one_address_however_it_is_written() -> None:
    hostvars = {"redis1": host("2001:db8::1"), "redis2": host("2001:0db8:0::1", redis_ports=[6380, 6379])}
    with pytest.raises(DescriptionError) as caught:
        staying(hostvars, ["redis1", "redis2"])
    assert str(caught.value) == (
        "redis2 and redis1 both claim [2001:db8::1]:6379; give each host its own redis_address."
    )
    hostvars["redis2"]["redis_ports"] = [6380]
    assert len(staying(hostvars, ["redis1", "redis2"])) == 2


@pytest.mark.parametrize("weight", [0, -1, "0", 1.5, "heavy", True, None, [2]])
def test_a_weight_is_a_number_of_slots_to_others(weight: t.Any) -> None:
    with pytest.raises(DescriptionError) as caught:
        staying({"redis1": host("192.0.2.1", redis_weight=weight)}, ["redis1"])
    assert str(caught.value) == (
        f"redis1: redis_weight is {weight!r}; it must be a whole number of 1 or more: a host with 2 gets twice as many"
        " slots as one with 1."
    )


# --- instances that are to leave -------------------------------------------------------------------------------------


@pytest.mark.parametrize("leaving", [True, "true", "True", " yes "])
def test_a_host_can_leave_with_all_its_instances(leaving: t.Any) -> None:
    hostvars = {
        "redis1": host("192.0.2.1", redis_ports=[6379, 6380], redis_leaving=leaving),
        "redis2": host("192.0.2.2", redis_leaving="false"),
    }
    remaining, going = instances_of(hostvars, ["redis1", "redis2"])
    assert endpoints_of(remaining) == ["192.0.2.2:6379"]
    assert endpoints_of(going) == ["192.0.2.1:6379", "192.0.2.1:6380"]


def test_an_instance_can_leave_alone_and_an_address_that_no_host_has_is_no_instance() -> None:
    hostvars = {"redis1": host("2001:db8::1", redis_ports=[6379, 6380]), "redis2": host("192.0.2.2")}
    remove = describe({**LEAST, "remove": ["[2001:0db8::1]:6380", "192.0.2.2:6380", "192.0.2.3:6379"]})["remove"]
    remaining, going = instances_of(hostvars, ["redis1", "redis2"], remove)
    assert endpoints_of(remaining) == ["[2001:db8::1]:6379", "192.0.2.2:6379"]
    assert endpoints_of(going) == ["[2001:db8::1]:6380"]


@pytest.mark.parametrize("leaving", ["", "soon", 1, 0, None, [True], "tru"])
def test_whether_a_host_leaves_is_never_guessed(leaving: t.Any) -> None:
    with pytest.raises(DescriptionError) as caught:
        staying({"redis1": host("192.0.2.1", redis_leaving=leaving)}, ["redis1"])
    assert str(caught.value) == (
        f"redis1: redis_leaving is {leaving!r}; it must be true for a host whose instances are to leave the cluster, or"
        " false."
    )


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("redis_leavng", "redis_leaving"),
        ("redis_weigth", "redis_weight"),
        ("redis_port", "redis_ports"),
        ("redis_adress", "redis_address"),
        ("redis_zones", "redis_zone"),
        ("redis_cluster_move_stal", "redis_cluster_move_stall"),
        ("redis_cluster_alow_dataloss", "redis_cluster_allow_data_loss"),
    ],
)
def test_a_variable_that_is_nearly_one_of_ours_is_named(name: str, meant: str) -> None:
    assert misspelt([name, meant]) == [
        f"The variable {name} is not known; {meant} is. Correct it, or give it another name."
    ]


def test_a_variable_that_is_like_none_of_ours_is_named_when_it_has_our_prefix() -> None:
    (sentence,) = misspelt(["redis_cluster_speed", "ansible_host", "redis_maxmemory", "redis_server", "redis", "zone"])
    assert sentence == (
        "The variable redis_cluster_speed is not known; with redis_cluster_ begin: redis_cluster_allow_data_loss,"
        " redis_cluster_assume_fresh, redis_cluster_enabled, redis_cluster_move_load, redis_cluster_move_method,"
        " redis_cluster_move_stall, redis_cluster_node_timeout, redis_cluster_nodes, redis_cluster_password,"
        " redis_cluster_progress_file, redis_cluster_rebalance_threshold, redis_cluster_remove,"
        " redis_cluster_replicas_per_primary, redis_cluster_timeout, redis_cluster_username."
    )


ADDRESSES = st.ip_addresses().map(str) | st.text(max_size=8) | ANYTHING
HOSTS = st.fixed_dictionaries(
    {},
    optional={
        "redis_address": ADDRESSES,
        "redis_ports": st.lists(st.integers(-1, 70000) | st.text("0123456789²", max_size=5), max_size=3) | ANYTHING,
        "redis_zone": ANYTHING,
        "redis_leaving": st.booleans() | ANYTHING,
        "redis_weight": st.integers(1, 9) | ANYTHING,
        "ansible_host": ADDRESSES,
        "ansible_facts": st.fixed_dictionaries(
            {}, optional={"default_ipv4": st.fixed_dictionaries({}, optional={"address": ADDRESSES})}
        ),
    },
)


@given(st.dictionaries(st.sampled_from(["a", "b", "c"]), HOSTS))
def test_no_inventory_whatever_breaks_it(hostvars: dict[str, dict[str, t.Any]]) -> None:
    try:
        remaining, going = instances_of(hostvars, hostvars)
    except DescriptionError as exc:
        assert str(exc).endswith(".")
        return
    members = remaining + going
    assert {member["host"] for member in members} == set(hostvars)
    endpoints = endpoints_of(members)
    assert len(set(endpoints)) == len(endpoints)


# --- redis.conf ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("plain # text", '"plain # text"'),
        ("", '""'),
        ('"', '"\\x22"'),
        ("\\n", '"\\x5cn"'),
        ("'", '"\'"'),
        ("\n\x7f", '"\\x0a\\x7f"'),
        ("ß😀", '"\\xc3\\x9f\\xf0\\x9f\\x98\\x80"'),
        (6379, '"6379"'),
    ],
)
def test_what_a_value_becomes(value: t.Any, expected: str) -> None:
    assert config_text(value) == expected


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_value_is_one_line_of_plain_text_and_nothing_is_lost(value: str) -> None:
    text = config_text(value)
    assert all(" " <= character <= "~" for character in text)
    assert text[0] == text[-1] == '"'
    assert '"' not in text[1:-1]
    # Every backslash begins a \xHH, which means the same in Python's bytes as in redis.conf.
    assert text[1:-1].encode().decode("unicode_escape").encode("latin-1").decode() == value
