# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a component makes of its file and its environment."""

from __future__ import annotations

import json
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.apiops.tyk_redis.plugins.module_utils._env_document import read as read_env
from ansible_collections.apiops.tyk_redis.plugins.module_utils._env_file import Variable, merge, parse
from ansible_collections.apiops.tyk_redis.plugins.module_utils._tyk_effective import Effective, read
from ansible_collections.apiops.tyk_redis.plugins.module_utils._tyk_faults import faults
from ansible_collections.apiops.tyk_redis.plugins.module_utils._tyk_remarks import beaten, overridden
from ansible_collections.apiops.tyk_redis.plugins.module_utils._tyk_render import Description, plan
from ansible_collections.apiops.tyk_redis.plugins.module_utils._tyk_settings import COMPONENTS
from ansible_collections.apiops.tyk_redis.plugins.module_utils._tyk_versions import parse as parse_version

PATH = "/etc/tyk/component.conf"
ENV = "/etc/default/tyk"
SECRET = "s3cr3t-of-the-test"
GOOD = {"type": "redis", "addrs": ["192.0.2.1:6379"], "enable_cluster": True}


def effective(
    content: str | bytes | dict[str, t.Any] | None,
    environment: str = "",
    component: str = "gateway",
    version: str = "",
) -> Effective:
    if isinstance(content, dict):
        content = json.dumps(content)
    if isinstance(content, str):
        content = content.encode()
    file = parse(environment.encode(), ENV)
    number = parse_version(version) if version else None
    result = read(COMPONENTS[component], PATH, content, merge(file.assignments), [file], number)
    said = [*result.problems, *result.remarks, *result.unprovable, *faults(result)]
    assert SECRET not in "".join(said) and SECRET not in repr(result) + repr(result.public())
    return result


def gateway(environment: str = "", **storage: t.Any) -> Effective:
    return effective({"storage": {**GOOD, **storage}}, environment)


def only_problem(result: Effective) -> str:
    assert len(result.problems) == 1, result.problems
    return result.problems[0]


def test_good_file() -> None:
    result = gateway(username="tyk", password=SECRET, database=0)
    assert result.problems == () and result.usable
    assert (result.mode, result.username, result.password, result.tls) == ("cluster", "tyk", SECRET, False)
    assert [str(seed) for seed in result.seeds] == ["192.0.2.1:6379"]
    assert result.public()["addresses"] == {
        "value": ["192.0.2.1:6379"],
        "from": f"file:{PATH}",
        "key": "storage.addrs",
    }
    assert result.public()["password"]["value"] == "********"


# --- encoding/json ---


def test_keys_match_without_regard_to_case_and_the_last_one_wins() -> None:
    result = effective(
        '{"Storage": {"TYPE": "redis", "Addrs": ["192.0.2.1:1"], "addrs": ["192.0.2.2:2"],'
        ' "Enable_Clu\u017fter": true}}'
    )
    assert result.problems == () and result.addresses == ("192.0.2.2:2",) and result.mode == "cluster"


def test_equal_objects_merge() -> None:
    result = effective(
        '{"storage": {"type": "redis", "enable_cluster": true, "hosts": {"192.0.2.1": "1"}},'
        ' "storage": {"hosts": {"192.0.2.2": "2", "192.0.2.1": "3"}}}'
    )
    assert result.problems == () and result.addresses == ("192.0.2.1:3", "192.0.2.2:2")


def test_null_empties_lists_and_maps_only() -> None:
    result = effective(
        '{"storage": {"type": "redis", "type": null, "host": "192.0.2.1", "port": 1, "port": null, "addrs": ["x:1"],'
        ' "addrs": null, "hosts": {"y": "1"}, "hosts": null}, "storage": null}'
    )
    assert result.problems == () and result.addresses == ("192.0.2.1:1",) and result.mode == "standalone"


@pytest.mark.parametrize(
    ("storage", "beginning", "remedy"),
    [
        ({"port": "6379"}, 'storage.port in /etc/tyk/component.conf is "6379" where', "write 6379 without quotes."),
        ({"port": True}, "storage.port in /etc/tyk/component.conf is true where", "write a number without quotes."),
        (
            {"enable_cluster": "true"},
            'storage.enable_cluster in /etc/tyk/component.conf is "true" where Tyk Gateway reads true or false',
            "write true or false without quotes.",
        ),
        ({"hosts": []}, "storage.hosts in /etc/tyk/component.conf is a list where", "or better a list of addresses."),
        (
            {"hosts": {"a": 6379}},
            'storage.hosts["a"] in /etc/tyk/component.conf is 6379 where Tyk Gateway reads a string',
            'write "6379".',
        ),
        ({"addrs": "a:1"}, 'storage.addrs in /etc/tyk/component.conf is "a:1" where', '["192.0.2.1:6379"].'),
        ({"addrs": ["a:1", 2]}, "storage.addrs[1] in /etc/tyk/component.conf is 2 where", 'write "2".'),
        (
            {"password": 12345},
            "storage.password in /etc/tyk/component.conf is a number where",
            "write it in double quotes.",
        ),
        (
            {"timeout": 10**19},
            "storage.timeout in /etc/tyk/component.conf is 10000000000000000000 where",
            "write a smaller one.",
        ),
    ],
)
def test_wrong_type(storage: dict[str, t.Any], beginning: str, remedy: str) -> None:
    problem = gateway(**storage).problems[0]
    assert problem.startswith(beginning)
    assert ": Tyk Gateway does not start with it; " in problem and problem.endswith(remedy)


def test_wrong_type_of_a_section() -> None:
    problem = effective('{"storage": []}').problems[0]
    assert problem.startswith("storage in /etc/tyk/component.conf is a list where Tyk Gateway reads an object")


@pytest.mark.parametrize("number", ["6379.0", "6.379e3", "1e3"])
def test_a_number_with_a_fraction_or_an_exponent_is_no_integer(number: str) -> None:
    problem = effective(f'{{"storage": {{"type": "redis", "addrs": ["a:1"], "port": {number}}}}}').problems[0]
    assert problem.startswith(f"storage.port in {PATH} is {number} where Tyk Gateway reads an integer")


def test_pump_skips_the_wrong_key_and_goes_on() -> None:
    result = effective(
        {"analytics_storage_config": {"port": "6379", "addrs": ["192.0.2.1:6379"], "enable_cluster": True}},
        component="pump",
    )
    assert "Tyk Pump logs the error and goes on without this key" in only_problem(result)
    assert result.addresses == ("192.0.2.1:6379",) and result.usable


@pytest.mark.parametrize(
    ("content", "beginning"),
    [
        pytest.param("", f"{PATH} is empty: Tyk Gateway does not start with it", id="empty"),
        pytest.param(b"\xef\xbb\xbf{}", f"{PATH} begins with a byte order mark", id="byte order mark"),
        pytest.param('{"a": 1,}', f"{PATH} is not JSON at line 1 column ", id="trailing comma"),
        pytest.param('{\n// x\n"a": 1}', f"{PATH} is not JSON at line 2 column 1 ", id="comment"),
        pytest.param('{"a": NaN}', f"{PATH} is not JSON (NaN is no JSON value)", id="NaN"),
        pytest.param('["storage"]', f"{PATH} holds a list and no object", id="no object"),
        pytest.param("[" * 200000, f"{PATH} is nested too deeply", id="nested"),
    ],
)
def test_file_that_cannot_be_decoded(content: str | bytes, beginning: str) -> None:
    result = effective(content, "TYK_GW_STORAGE_ADDRS=192.0.2.1:6379")
    assert only_problem(result).startswith(beginning)
    assert not result.usable


def test_text_after_the_first_value_matters_to_pump_only() -> None:
    assert effective(json.dumps({"storage": GOOD}) + "\n}").problems == ()
    result = effective(json.dumps({"analytics_storage_config": GOOD}) + "\n}", component="pump")
    assert "goes on after the end of its JSON value (line 1)" in only_problem(result)


def test_missing_file() -> None:
    problem = only_problem(effective(None))
    assert problem.startswith(f"There is no file {PATH}: Tyk Gateway writes a default file there")
    assert not effective(None).usable
    all_variables = "TYK_GW_OMITCONFIGFILE=True\nTYK_GW_STORAGE_TYPE=redis\nTYK_GW_STORAGE_ADDRS=192.0.2.1:6379"
    assert effective(None, all_variables).problems == () and effective(None, all_variables).usable


def test_omitted_file_counts_for_nothing() -> None:
    variables = "TYK_GW_OMITCONFIGFILE=true\nTYK_GW_STORAGE_TYPE=redis\nTYK_GW_STORAGE_ADDRS=192.0.2.9:6379"
    result = gateway(variables, password=SECRET)
    assert result.mode == "standalone" and result.password == "" and result.addresses == ("192.0.2.9:6379",)
    assert not effective("{", variables).usable
    pump = "TYK_PMP_OMITCONFIGFILE=true\nTYK_PMP_ANALYTICSSTORAGECONFIG_ADDRS=192.0.2.9:6379"
    assert effective("{", pump, "pump").problems == ()


# --- envconfig ---


def test_environment_wins_and_its_origin_is_told() -> None:
    result = gateway("\n\nTYK_GW_STORAGE_ADDRS=192.0.2.8:1,192.0.2.9:2\nTYK_GW_STORAGE_DATABASE=0x0")
    assert result.problems == () and result.addresses == ("192.0.2.8:1", "192.0.2.9:2")
    assert result.addresses_origin == f"variable TYK_GW_STORAGE_ADDRS in {ENV} line 3"


@pytest.mark.parametrize("word", ["1", "t", "T", "true", "TRUE", "True"])
def test_words_for_true(word: str) -> None:
    assert gateway(f"TYK_GW_STORAGE_USESSL={word}").tls is True


@pytest.mark.parametrize("word", ["0", "f", "F", "false", "FALSE", "False"])
def test_words_for_false(word: str) -> None:
    assert gateway(f"TYK_GW_STORAGE_USESSL={word}", use_ssl=True).tls is False


@pytest.mark.parametrize("word", ["yes", "on", "tRUE", "2", "' true'"])
def test_other_words_stop_the_gateway(word: str) -> None:
    problem = only_problem(gateway(f"TYK_GW_STORAGE_USESSL={word}"))
    assert problem.startswith(f"The variable TYK_GW_STORAGE_USESSL in {ENV} line 1 is ")
    assert problem.endswith("where true or false is needed: Tyk Gateway does not start with it; write true or false.")


@pytest.mark.parametrize(
    ("text", "number"),
    [("6379", 6379), ("+5", 5), ("-5", -5), ("0x10", 16), ("0o17", 15), ("017", 15), ("0b11", 3), ("1_000", 1000)],
)
def test_integers(text: str, number: int) -> None:
    assert gateway(f"TYK_GW_STORAGE_TIMEOUT={text}").get("timeout") == number


@pytest.mark.parametrize("text", ["", "6379.0", "089", "1__0", "_1", "5s", "' 5'", "9223372036854775808"])
def test_no_integers(text: str) -> None:
    result = gateway(f"TYK_GW_STORAGE_TIMEOUT={text}", timeout=7)
    assert "where a whole number is needed: Tyk Gateway does not start with it" in only_problem(result)
    assert result.get("timeout") == 7


def test_set_but_empty_clears_and_is_told() -> None:
    problem = only_problem(gateway("TYK_GW_STORAGE_PASSWORD=", password=SECRET))
    assert problem == (
        f"The variable TYK_GW_STORAGE_PASSWORD in {ENV} line 1 is set but empty, and so clears storage.password of "
        f"file:{PATH} for Tyk Gateway; remove the variable, or give it a value."
    )
    assert gateway("TYK_GW_STORAGE_PASSWORD=", password=SECRET).password == ""
    assert gateway("TYK_GW_STORAGE_PASSWORD=").problems == ()
    assert gateway("TYK_GW_STORAGE_ADDRS=' '").addresses == ("127.0.0.1:6379",)


def test_list_items_are_not_trimmed() -> None:
    result = gateway('TYK_GW_STORAGE_ADDRS="192.0.2.1:1, 192.0.2.2:2,"')
    assert [str(seed) for seed in result.seeds] == ["192.0.2.1:1"]
    assert result.problems[0].startswith('The address " 192.0.2.2:2" (variable TYK_GW_STORAGE_ADDRS')
    assert result.problems[1].startswith('Tyk Gateway cannot dial the address "" (variable')


def test_maps() -> None:
    variable = "TYK_GW_STORAGE_HOSTS=192.0.2.1:1,192.0.2.2:2,192.0.2.1:3"
    assert gateway(variable, addrs=None).addresses == ("192.0.2.1:3", "192.0.2.2:2")
    problem = gateway("TYK_GW_STORAGE_HOSTS=192.0.2.1:1,::1:2", addrs=None).problems[0]
    assert problem.startswith('The item "::1:2" of variable TYK_GW_STORAGE_HOSTS')
    assert "Tyk Gateway does not start with it; use TYK_GW_STORAGE_ADDRS instead" in problem
    result = effective(
        {"analytics_storage_config": {}}, "TYK_PMP_ANALYTICSSTORAGECONFIG_HOSTS=192.0.2.1:1:9,alone", "pump"
    )
    assert result.addresses == ("192.0.2.1:1",)
    assert "takes only its first two parts" in result.problems[0] and "drops it" in result.problems[1]


def test_families_of_pump() -> None:
    content = {"analytics_storage_config": {"addrs": ["192.0.2.1:1"]}}
    families = ["ANALYTICSSTORAGECONFIG", "REDIS", "TEMPORAL_STORAGE"]
    for count, family in enumerate(families, start=1):
        lines = [f"TYK_PMP_{name}_ADDRS=192.0.2.{number}:2" for number, name in enumerate(families[:count], start=2)]
        # The order of the lines says nothing.
        result = effective(content, "\n".join(reversed(lines)), "pump")
        assert result.addresses == (f"192.0.2.{count + 1}:2",)
        assert result.addresses_origin.startswith(f"variable TYK_PMP_{family}_ADDRS in ")
    logged = effective(content, "TYK_PMP_ANALYTICSSTORAGECONFIG_TIMEOUT=", "pump").problems[0]
    assert "is set but empty where a whole number is needed: Tyk Pump logs the error and reads no variable" in logged
    fatal = effective(content, "TYK_PMP_TEMPORAL_STORAGE_TIMEOUT=x", "pump").problems[0]
    assert "Tyk Pump does not start with it" in fatal


def test_older_switches_of_pump_count_too() -> None:
    content = {"analytics_storage_config": {**GOOD, "redis_use_ssl": True, "redis_ssl_insecure_skip_verify": True}}
    result = effective(content, component="pump")
    assert result.tls and result.tls_skip_verify and result.problems == ()


def test_lines_that_systemd_ignores() -> None:
    result = gateway(f"export TYK_GW_STORAGE_PASSWORD={SECRET}\nFOO BAR={SECRET}\n{SECRET}")
    assert only_problem(result) == (
        f"{ENV} line 1: systemd ignores this line about TYK_GW_STORAGE_PASSWORD, because systemd does not know the "
        "word export; write NAME=value."
    )


def test_lines_that_docker_and_compose_read_otherwise() -> None:
    for kind, text, words in (
        (
            "docker",
            "TYK_GW_STORAGE_PASSWORD",
            "line 1: what docker makes of TYK_GW_STORAGE_PASSWORD cannot be told here",
        ),
        (
            "compose",
            "TYK_GW_STORAGE_ADDRS=$X",
            "line 1: what docker compose makes of TYK_GW_STORAGE_ADDRS cannot be told",
        ),
        ("docker", "export TYK_GW_STORAGE_ADDRS=a:1", "docker does not take /c.env at all, because"),
    ):
        file = read_env(text.encode(), "/c.env", kind)
        content = json.dumps({"storage": GOOD}).encode()
        result = read(COMPONENTS["gateway"], PATH, content, merge(file.assignments), [file])
        assert words in only_problem(result)


# --- which address, which client ---


@pytest.mark.parametrize(
    ("storage", "addresses"),
    [
        pytest.param({"hosts": {"b": "2"}, "host": "c", "port": 3}, ("192.0.2.1:6379",), id="the list first"),
        pytest.param({"addrs": [], "hosts": {"b": "2"}, "host": "c", "port": 3}, ("b:2",), id="then the map"),
        pytest.param({"addrs": [], "hosts": {}, "host": "c", "port": 3}, ("c:3",), id="then the host"),
    ],
)
def test_precedence_of_addresses(storage: dict[str, t.Any], addresses: tuple[str, ...]) -> None:
    result = gateway(**storage)
    assert result.addresses == addresses and result.problems == ()


def test_host_without_port_is_ignored_by_tyk() -> None:
    result = gateway(addrs=[], host="redis.example")
    assert result.addresses == ("127.0.0.1:6379",) and result.addresses_origin == "default"
    assert only_problem(result) == (
        f'storage.host is "redis.example" (file:{PATH}) without storage.port, so Tyk Gateway ignores it and dials '
        "127.0.0.1:6379; give storage.addrs instead."
    )


def test_no_address_at_all() -> None:
    assert only_problem(gateway(addrs=[])).startswith("Tyk Gateway is given no address of Redis")


def test_variable_that_the_file_beats() -> None:
    problem = only_problem(gateway("TYK_GW_STORAGE_HOSTS=192.0.2.9:1"))
    assert problem == (
        f"The variable TYK_GW_STORAGE_HOSTS in {ENV} line 1 has no effect, because storage.addrs of file:{PATH} wins "
        "over it in Tyk Gateway; set TYK_GW_STORAGE_ADDRS instead."
    )


def test_several_addresses_without_a_cluster() -> None:
    problem = only_problem(gateway(addrs=["192.0.2.1:1", "192.0.2.2:2"], enable_cluster=False))
    assert "so it uses only the first one, 192.0.2.1:1; set it to true" in problem
    problem = only_problem(gateway(addrs=[], hosts={"192.0.2.1": "1", "192.0.2.2": "2"}, enable_cluster=False))
    assert "so it uses only one of them by chance at each start" in problem


def test_sentinel_wins_over_cluster() -> None:
    result = gateway(master_name="mymaster")
    assert result.mode == "sentinel"
    assert "then uses Sentinel and no cluster; remove one of the two." in only_problem(result)
    result = gateway(master_name="mymaster", enable_cluster=False, sentinel_password=SECRET)
    assert result.mode == "sentinel" and result.usable and result.problems == ()
    assert (result.get("sentinel_master"), result.get("sentinel_password")) == ("mymaster", SECRET)


def test_dashboard_knows_redis_at_the_top_and_not_its_storage() -> None:
    result = effective(
        {
            "redis_addrs": ["192.0.2.1:1"],
            "enable_cluster": True,
            "storage": {"addrs": ["192.0.2.9:9"], "type": "sql"},
        },
        component="dashboard",
    )
    assert result.problems == () and result.addresses == ("192.0.2.1:1",) and result.mode == "cluster"
    result = effective({"redis_hosts": {"192.0.2.1": "6379"}}, "TYK_DB_HOSTS=192.0.2.2:1", "dashboard")
    assert result.addresses == ("192.0.2.2:1",)


# --- stores, versions, faults ---

SEPARATE = {
    "storage": GOOD,
    "cache_storage": {"addrs": ["192.0.2.2:1"], "password": SECRET},
    "analytics_storage": {"addrs": ["192.0.2.3:1"], "enable_cluster": True},
}


def test_stores_that_are_not_switched_on_are_not_in_use() -> None:
    result = effective(SEPARATE)
    assert result.others == () and result.purposes == ("main", "cache")
    result = effective({**SEPARATE, "enable_analytics": True})
    assert result.others == () and result.purposes == ("main", "cache", "analytics")


def test_stores_that_are_switched_on_are_in_use() -> None:
    flags = {"enable_separate_cache_store": True, "enable_separate_analytics_store": True, "enable_analytics": True}
    result = effective({**SEPARATE, **flags})
    assert [store.component.section for store in result.stores] == ["storage", "cache_storage", "analytics_storage"]
    assert [store.purposes for store in result.stores] == [("main",), ("cache",), ("analytics",)]
    assert [store.mode for store in result.stores] == ["cluster", "standalone", "cluster"]
    assert (
        result.others[0].password == SECRET and result.others[0].public()["addresses"]["key"] == "cache_storage.addrs"
    )
    assert all(store.problems == () for store in result.stores)


def test_the_misspelt_variables_switch_the_stores() -> None:
    environment = (
        "TYK_GW_ENABLESEPERATECACHESTORE=true\nTYK_GW_ENABLESEPERATEANALYTICSSTORE=1\nTYK_GW_ENABLEANALYTICS=t\n"
        "TYK_GW_CACHESTORAGE_ADDRS=192.0.2.9:9\nTYK_GW_ENABLESEPARATECACHESTORE=false"
    )
    result = effective(SEPARATE, environment)
    assert [store.addresses for store in result.others] == [("192.0.2.9:9",), ("192.0.2.3:1",)]


def test_a_separate_analytics_store_without_analytics_is_told() -> None:
    result = effective({**SEPARATE, "enable_separate_analytics_store": True})
    assert result.others == () and "analytics" not in result.purposes
    assert "without enable_analytics, so Tyk Gateway does not use analytics_storage" in result.remarks[0]


def test_a_wrong_type_stops_the_gateway_also_in_a_store_that_is_not_in_use() -> None:
    broken = {**SEPARATE, "cache_storage": {"port": "6379"}}
    assert "cache_storage.port in" in only_problem(effective(broken))


def test_purposes_of_the_others() -> None:
    assert effective({"redis_addrs": ["a:1"]}, component="dashboard").purposes == ("main",)
    assert effective({"analytics_storage_config": {"addrs": ["a:1"]}}, component="pump").purposes == ("analytics",)
    mdcb = {"storage": GOOD, "analytics_storage": {"addrs": ["a:1"]}}
    assert effective(mdcb, component="mdcb").purposes == ("main",)
    assert effective({**mdcb, "forward_analytics_to_pump": True}, component="mdcb").purposes == ("main", "analytics")
    both = {**mdcb, "forward_analytics_to_pump": True, "enable_separate_analytics_store": True}
    assert [store.purposes for store in effective(both, component="mdcb").stores] == [("main",), ("analytics",)]


def test_what_a_version_does_not_read_counts_for_nothing_and_is_told() -> None:
    content = {"analytics_storage_config": {**GOOD, "use_ssl": True}}
    result = effective(content, component="pump", version="1.8.3")
    assert not result.tls
    assert result.remarks == (
        f"analytics_storage_config.use_ssl (file:{PATH}) has no effect: Tyk Pump 1.8.3 does not read it, which came "
        "with 1.9.0.",
    )
    assert effective(content, component="pump", version="1.9.0").tls
    variable = effective(content, "TYK_PMP_TEMPORAL_STORAGE_ADDRS=a:1", "pump", "1.8.3")
    assert variable.addresses == ("192.0.2.1:6379",) and "TYK_PMP_TEMPORAL_STORAGE_ADDRS" in variable.remarks[-1]
    assert gateway(addrs=["a:1"]).addresses == ("a:1",)
    old = effective({"storage": {**GOOD, "hosts": {"b": "2"}}}, version="2.9.2")
    assert old.addresses == ("b:2",)


def test_what_only_older_versions_read_is_told() -> None:
    remarks = gateway("REDIGOCLUSTER_SHARDCOUNT=128", optimisation_max_idle=5).remarks
    assert "REDIGOCLUSTER_SHARDCOUNT in /etc/default/tyk line 1 has no effect" in remarks[0]
    assert remarks[1].startswith("storage.optimisation_max_idle (") and "after version 2.9.2." in remarks[1]
    old = effective(
        {"storage": {"type": "redis", "hosts": {"a": "1"}, "optimisation_max_idle": 5}},
        "REDIGOCLUSTER_SHARDCOUNT=128",
        version="2.9.2",
    )
    assert not [remark for remark in old.remarks if "SHARDCOUNT" in remark or "max_idle" in remark]


TLS = {**GOOD, "use_ssl": True}
PRIVATE = {**TLS, "ca_file": "/ca.pem"}
SENTINEL = {"type": "redis", "addrs": ["s:26379"], "master_name": "m", "use_ssl": True}


@pytest.mark.parametrize(
    ("component", "section", "version", "words"),
    [
        ("gateway", PRIVATE, "5.3.0", "5.8.6 (line 5.8) or 5.10.0 mends it"),
        ("gateway", PRIVATE, "5.8.5", "The rate limiter of Tyk Gateway 5.8.5 ignores the CA file"),
        ("gateway", PRIVATE, "5.9.2", "The rate limiter of Tyk Gateway 5.9.2 ignores the CA file"),
        ("gateway", PRIVATE, "5.8.6", ""),
        ("gateway", PRIVATE, "5.10.0", ""),
        ("gateway", PRIVATE, "", ""),
        ("gateway", TLS, "5.8.5", ""),
        ("gateway", SENTINEL, "4.0.15", "dials Redis itself in the clear"),
        ("gateway", SENTINEL, "4.0.16", ""),
        ("gateway", SENTINEL, "5.8.6", ""),
        ("gateway", GOOD, "5.8.14", "may not report in /hello and /ready that Redis is down"),
        ("gateway", GOOD, "5.8.15", ""),
        ("gateway", GOOD, "5.9.0", ""),
        ("gateway", GOOD, "5.4.0", "floods Redis with deletions"),
        ("pump", {**SENTINEL, "use_ssl": False, "redis_use_ssl": True}, "1.8.3", "cannot use Sentinel with TLS"),
        ("pump", SENTINEL, "1.9.0", ""),
        ("pump", {**GOOD, "key_prefix": "other-"}, "1.9.0", "key_prefix is not analytics-"),
        ("mdcb", GOOD, "2.8.4", "stops to synchronise for good"),
        ("mdcb", GOOD, "2.8.6", "stay away for minutes after Redis was away"),
        ("mdcb", GOOD, "2.8.7", ""),
    ],
)
def test_known_faults(component: str, section: dict[str, t.Any], version: str, words: str) -> None:
    names = {"gateway": "storage", "pump": "analytics_storage_config", "mdcb": "storage"}
    content = {names[component]: section, "purge_delay": 10}
    said = faults(effective(content, component=component, version=version))
    if words:
        assert len([sentence for sentence in said if words in sentence]) == 1, said
    else:
        assert said == []


def test_a_pump_that_never_fetches_is_told() -> None:
    content: dict[str, t.Any] = {"analytics_storage_config": GOOD}
    for delay in ({}, {"purge_delay": 0}):
        assert (
            "Tyk Pump never fetches anything from Redis" in faults(effective({**content, **delay}, component="pump"))[0]
        )
    assert faults(effective(content, "TYK_PMP_PURGEDELAY=2", "pump")) == []


def test_tls_files_of_the_limiter_that_stand_elsewhere_are_told() -> None:
    other = {"external_services": {"storage": {"mtls": {"enabled": True}}}}
    assert "takes its TLS files from there and not from storage" in faults(effective({"storage": TLS, **other}))[0]
    assert faults(effective({"storage": GOOD, **other})) == []
    assert faults(effective({"storage": TLS, **other}, version="5.9.2")) == []


def test_tokens_of_a_cloud_cannot_be_proved() -> None:
    result = gateway(iam_auth={"enabled": True})
    assert not result.usable and "storage.iam_auth.enabled is true" in result.unprovable[0]
    assert effective({"storage": {**GOOD, "iam_auth": {"enabled": True}}}, version="5.14.0").usable


# --- what is wanted and what comes about ---

WANTED = Description(addresses=("192.0.2.1:6379",), password=SECRET, username="tyk")


def test_nothing_is_overridden_when_nothing_contradicts() -> None:
    changes = plan(COMPONENTS["gateway"], {"storage": WANTED}).changes
    result = gateway(f"TYK_GW_STORAGE_PASSWORD={SECRET}\nTYK_GW_STORAGE_HOST=old", username="tyk")
    assert overridden(result, changes, PATH) == []


def test_what_the_environment_says_otherwise_is_named() -> None:
    changes = plan(COMPONENTS["gateway"], {"storage": WANTED}).changes
    environment = "TYK_GW_STORAGE_PASSWORD=other\nTYK_GW_STORAGE_ENABLECLUSTER=0\nTYK_GW_STORAGE_MASTERNAME=m"
    said = overridden(gateway(environment, username="tyk", password=SECRET), changes, PATH)
    assert said == [
        f"storage.enable_cluster does not become what {PATH} says, because the variable TYK_GW_STORAGE_ENABLECLUSTER "
        f"in {ENV} line 2 says something else and wins: take it away there.",
        f"storage.password does not become what {PATH} says, because the variable TYK_GW_STORAGE_PASSWORD in {ENV} "
        "line 1 says something else and wins: take it away there.",
        f"storage.master_name should not be set, but the variable TYK_GW_STORAGE_MASTERNAME in {ENV} line 3 sets it: "
        "take it away there.",
    ]


def test_what_the_file_says_otherwise_is_named() -> None:
    changes = plan(COMPONENTS["gateway"], {"storage": WANTED}).changes
    alone = gateway(addrs=["old:1"], username="tyk", password="old", timeout=9)
    assert beaten(alone, changes, PATH) == [
        f"{PATH} says something else about storage.addrs, storage.password, which has no effect: the environment wins."
    ]
    assert beaten(gateway(username="tyk", password=SECRET), changes, PATH) == []


# --- the rest ---


def test_type_has_to_be_redis() -> None:
    assert only_problem(gateway(type="Redis")).startswith(f'storage.type is "Redis" (file:{PATH}), but Tyk Gateway')
    assert only_problem(effective({"storage": {"addrs": ["a:1"]}})).startswith('storage.type is "" (default)')
    assert effective({"analytics_storage_config": {"addrs": ["a:1"]}}, component="pump").problems == ()


def test_user_without_password_and_database_in_a_cluster() -> None:
    problems = gateway(username="tyk", database=2).problems
    assert problems[0].startswith(
        f'storage.username is "tyk" (file:{PATH}) without a password, so Tyk Gateway does not'
    )
    assert problems[1].startswith(f"storage.database is 2 (file:{PATH}), which Tyk Gateway ignores")


def test_references() -> None:
    environment = f"TYK_GW_STORAGE_PASSWORD=env://Redis_Password\nTYK_SECRET_REDIS_PASSWORD={SECRET}"
    result = gateway(environment)
    assert result.password == SECRET and result.problems == ()
    assert result.origin("password") == f"variable TYK_SECRET_REDIS_PASSWORD in {ENV} line 2"
    assert "which is not set in the environment of Tyk Gateway" in only_problem(gateway(password="env://none"))
    for scheme in ("secrets", "consul", "vault", "file"):
        result = gateway(password=f"{scheme}://{SECRET}")
        assert f"is a reference ({scheme}://) that Tyk Gateway resolves" in result.unprovable[0]
        assert not result.usable and result.problems == ()
    old = effective({"storage": {**GOOD, "password": "file://x"}}, version="5.13.1")
    assert "which Tyk Gateway is not known to resolve there" in only_problem(old)
    pump = effective({"analytics_storage_config": {**GOOD, "password": f"env://{SECRET}"}}, component="pump")
    assert "it sends the text itself as the password" in only_problem(pump) and pump.usable


@pytest.mark.parametrize(
    ("storage", "text"),
    [
        ({"tls_min_version": "1.4"}, 'storage.tls_min_version is "1.4"'),
        ({"tls_max_version": "TLSv1.2"}, 'storage.tls_max_version is "TLSv1.2"'),
        ({"tls_min_version": "1.3", "tls_max_version": "1.2"}, "storage.tls_min_version 1.3 is above"),
        ({"cert_file": "/a.pem"}, "without storage.key_file, so Tyk Gateway presents no client certificate"),
        ({"key_file": "/a.key"}, "without storage.cert_file, so Tyk Gateway presents no client certificate"),
    ],
)
def test_tls(storage: dict[str, t.Any], text: str) -> None:
    assert text in only_problem(gateway(use_ssl=True, **storage))
    # All of these are read only when TLS is on.
    assert gateway(use_ssl=False, **storage).problems == ()


# --- properties ---

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KEYS = sorted({setting.path[-1] for component in COMPONENTS.values() for setting in component.settings.values()})
SECTIONS = st.dictionaries(st.sampled_from(KEYS), JSON, max_size=6)
NAMES = sorted({name for c in COMPONENTS.values() for setting in c.settings.values() for name in setting.env})


@given(
    component=st.sampled_from(sorted(COMPONENTS)),
    flat=SECTIONS,
    nested=SECTIONS | JSON,
    variables=st.dictionaries(st.sampled_from(NAMES), st.text(max_size=10), max_size=4),
)
def test_no_document_and_no_variable_is_too_strange(
    component: str, flat: dict[str, t.Any], nested: t.Any, variables: dict[str, str]
) -> None:
    document = {**flat, "storage": nested, "analytics_storage_config": nested}
    content = json.dumps(document).encode()
    environment = {name: Variable(name, value, ENV, 1) for name, value in variables.items()}
    result = read(COMPONENTS[component], PATH, content, environment)
    assert all(problem.endswith(".") and "\n" not in problem for problem in result.problems)
    # The same again: nothing is remembered.
    assert read(COMPONENTS[component], PATH, content, environment) == result


@given(content=st.binary(max_size=80) | st.text(alphabet='{}[]",:0e.-ntrufalsetorg ', max_size=40).map(str.encode))
def test_no_content_is_too_strange(content: bytes) -> None:
    assert all(problem.endswith(".") for problem in read(COMPONENTS["gateway"], PATH, content, {}).problems)


@given(password=st.text(min_size=1, max_size=20).filter(lambda text: "://" not in text), as_variable=st.booleans())
def test_any_password_is_read_back_and_never_told(password: str, as_variable: bool) -> None:
    storage = {**GOOD, "username": "tyk", "password": "" if as_variable else password}
    environment = {"TYK_GW_STORAGE_PASSWORD": Variable("TYK_GW_STORAGE_PASSWORD", password, ENV, 1)}
    content = json.dumps({"storage": storage}).encode()
    result = read(COMPONENTS["gateway"], PATH, content, environment if as_variable else {})
    assert result.password == password and result.problems == ()
    assert result.public()["password"]["value"] == "********"
