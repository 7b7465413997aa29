# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module as a whole, on real files. What runs it is mostly root, so rights are tested by what root meets too."""

from __future__ import annotations

import errno
import json
import os
import pathlib
import stat
import typing as t

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args

from ansible_collections.apiops.tyk_redis.plugins.module_utils._env_document import EnvDocument
from ansible_collections.apiops.tyk_redis.plugins.modules import tyk_config

FIXTURES = pathlib.Path(__file__).parent / "fixtures"
COMPONENTS = ("gateway", "dashboard", "pump", "mdcb")
OPTIONS: dict[str, t.Any] = {
    "addresses": ["192.0.2.21:6379", "192.0.2.21:6380", "[2001:db8::22]:6379"],
    "username": "shop",
    "password": "new-Redis-pw",
    "timeout": 4,
    "pool_size": 250,
}
MINIMAL = '{\n  "storage": {\n    "type": "redis"\n  }\n}\n'

Result = dict[str, t.Any]


class Run(t.Protocol):
    def __call__(self, path: pathlib.Path, check: bool = False, **options: t.Any) -> Result: ...


@pytest.fixture(name="run")
def fixture_run(capsys: pytest.CaptureFixture[str], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Run the module, for the Gateway if nothing else is said."""
    temporary = str(tmp_path_factory.mktemp("ansible"))

    def run(path: pathlib.Path, check: bool = False, **options: t.Any) -> Result:
        arguments = {"component": "gateway", "path": str(path), "addresses": ["192.0.2.21:6379"], **options}
        arguments.update(_ansible_check_mode=check, _ansible_diff=True, _ansible_remote_tmp=temporary)
        with patch_module_args(arguments), pytest.raises(SystemExit):
            tyk_config.main()
        result: Result = json.loads(capsys.readouterr().out)
        return result

    return run


@pytest.fixture(name="file")
def fixture_file(tmp_path: pathlib.Path) -> pathlib.Path:
    file = tmp_path / "tyk.conf"
    file.write_text(MINIMAL)
    file.chmod(0o640)
    return file


def state(file: pathlib.Path) -> tuple[bytes, int, int, int, int]:
    found = file.stat()
    return file.read_bytes(), found.st_mode, found.st_uid, found.st_gid, found.st_ino


def refused(result: Result) -> str:
    assert result.get("failed") is True, result
    message: str = result["msg"]
    return message


# -- the four components -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("component", COMPONENTS)
def test_four_runs(run: Run, file: pathlib.Path, component: str) -> None:
    before = (FIXTURES / f"{component}_before.conf").read_bytes()
    after = (FIXTURES / f"{component}_after.conf").read_bytes()
    file.write_bytes(before)
    results = []
    for number, check in enumerate((True, False, True, False)):
        results.append(run(file, check=check, component=component, **OPTIONS))
        assert file.read_bytes() == (after if number else before)
    assert [result["changed"] for result in results] == [True, True, False, False]
    assert results[0]["diff"] == results[1]["diff"]
    assert results[0]["changed_keys"] == results[1]["changed_keys"] != []
    told = results[1]["diff"]["after"].replace(" (changed)", "")
    assert results[2]["diff"]["before"] == results[2]["diff"]["after"] == told
    assert results[3]["changed_keys"] == []
    assert results[3]["path"] == str(file)


@pytest.mark.parametrize("component", COMPONENTS)
@pytest.mark.parametrize("check", [True, False], ids=["check mode", "for real"])
def test_no_secret_of_the_file_comes_out(run: Run, file: pathlib.Path, component: str, check: bool) -> None:
    file.write_bytes((FIXTURES / f"{component}_before.conf").read_bytes())
    result = run(file, check=check, component=component, backup=True, **OPTIONS)
    text = json.dumps(result)
    for secret in ("former-Redis-pw", "new-Redis-pw", "opensesame"):
        assert secret not in text
    if component != "mdcb":
        assert "assword: ********\n" in result["diff"]["before"]
        assert "assword: ******** (changed)\n" in result["diff"]["after"]


def test_the_diff_shows_what_changes(run: Run, file: pathlib.Path) -> None:
    file.write_text('{"storage": {"type": "redis", "host": "old", "port": 6379, "use_ssl": false}, "secret": "x"}')
    result = run(file, timeout=3)
    assert result["diff"]["before"].splitlines() == [
        'storage.type: "redis"',
        'storage.host: "old"',
        "storage.port: 6379",
        "storage.use_ssl: false",
    ]
    assert result["diff"]["after"].splitlines() == [
        'storage.type: "redis"',
        'storage.addrs: ["192.0.2.21:6379"]',
        "storage.enable_cluster: true",
        "storage.timeout: 3",
        "storage.use_ssl: false",
    ]
    assert result["changed_keys"] == [
        "storage.addrs",
        "storage.enable_cluster",
        "storage.timeout",
        "storage.host",
        "storage.port",
    ]


@pytest.mark.parametrize(
    ("component", "path"),
    [
        ("gateway", "/opt/tyk-gateway/tyk.conf"),
        ("dashboard", "/opt/tyk-dashboard/tyk_analytics.conf"),
        ("pump", "/opt/tyk-pump/pump.conf"),
        ("mdcb", "/opt/tyk-sink/tyk_sink.conf"),
    ],
)
def test_the_default_path_is_the_packages(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, component: str, path: str
) -> None:
    asked = []

    def find(found: str, create: bool, check_mode: bool) -> t.Any:
        asked.append(found)
        raise tyk_config.ConfigProblem("enough")

    monkeypatch.setattr(tyk_config, "find", find)
    with patch_module_args({"component": component, "addresses": ["a:1"]}), pytest.raises(SystemExit):
        tyk_config.main()
    assert asked == [path]
    assert json.loads(capsys.readouterr().out)["msg"] == "enough"


@pytest.mark.parametrize(
    "password",
    [
        "qu\"ote's",
        "back\\slash\\\\n\\u0041",
        "p\u00e4ss\u2603\U0001f600",
        "line\nbreak\tand \x7f",
        "$(id) {{ x }} %s",
        " ",
    ],
    ids=["quotes", "backslashes", "unicode", "control characters", "what shells and templates eat", "a blank"],
)
def test_a_password_arrives_whole(run: Run, file: pathlib.Path, password: str) -> None:
    results = [run(file, check=check, password=password) for check in (True, False, True, False)]
    assert [result["changed"] for result in results] == [True, True, False, False]
    assert json.loads(file.read_bytes())["storage"]["password"] == password
    if password.strip():
        assert all(password not in text for result in results for text in result["diff"].values())


def test_a_password_that_is_the_same_in_other_letters_is_left(run: Run, file: pathlib.Path) -> None:
    run(file, password="p\u00e4ss")
    text = file.read_text().replace("\\u00e4", "\u00e4")
    file.write_text(text)
    assert run(file, password="p\u00e4ss")["changed"] is False
    assert file.read_text() == text


def test_an_option_that_is_not_given_leaves_its_key_and_an_empty_one_clears_it(run: Run, file: pathlib.Path) -> None:
    file.write_text('{"storage": {"username": "u", "password": "p", "timeout": 9, "ca_file": "/ca.pem"}}')
    run(file)
    assert json.loads(file.read_text())["storage"] == {
        "username": "u",
        "password": "p",
        "timeout": 9,
        "ca_file": "/ca.pem",
        "type": "redis",
        "addrs": ["192.0.2.21:6379"],
        "enable_cluster": True,
        "use_ssl": False,
    }
    run(file, password="", username="")
    storage = json.loads(file.read_text())["storage"]
    assert (storage["username"], storage["password"]) == ("", "")


def test_tls_and_one_server(run: Run, file: pathlib.Path) -> None:
    run(
        file,
        component="mdcb",
        cluster=False,
        database=2,
        tls=True,
        tls_ca_file="/pki/ca.pem",
        tls_cert_file="/pki/c.pem",
        tls_key_file="/pki/c.key",
        tls_skip_verify=False,
        tls_min_version="1.2",
        tls_max_version="1.3",
    )
    assert json.loads(file.read_text())["storage"] == {
        "type": "redis",
        "addrs": ["192.0.2.21:6379"],
        "enable_cluster": False,
        "database": 2,
        "use_ssl": True,
        "ssl_insecure_skip_verify": False,
        "ca_file": "/pki/ca.pem",
        "cert_file": "/pki/c.pem",
        "key_file": "/pki/c.key",
        "min_version": "1.2",
        "max_version": "1.3",
    }


def test_what_has_no_effect_is_warned_about(run: Run, file: pathlib.Path) -> None:
    file.write_text('{"storage": {"optimisation_max_idle": 5, "min_version": "1.2"}}')
    warnings = " ".join(str(warning) for warning in run(file, database=4)["warnings"])
    assert f"storage.optimisation_max_idle (file:{file}) has no effect" in warnings
    assert "calls this setting storage.tls_min_version" in warnings
    assert f"storage.database is 4 (file:{file}), which Tyk Gateway ignores" in warnings


# -- stores, versions and the environment --------------------------------------------------------------------------


def warned(result: Result) -> str:
    """Everything that a run warned about, as Ansible would show it."""
    return " ".join(warning["event"]["msg"] for warning in result.get("warnings", []))


def test_four_runs_with_separate_stores(run: Run, file: pathlib.Path) -> None:
    file.write_text('{\n  "enable_analytics": true,\n  "storage": {\n    "type": "redis"\n  }\n}\n')
    options = {
        "cache_storage": {"addresses": ["cache:6379"], "cluster": False, "password": "cache-Redis-pw", "database": 3},
        "analytics_storage": {"addresses": ["s1:26379"], "sentinel_master": "m", "sentinel_password": "sentinel-pw"},
        **OPTIONS,
    }
    results = [run(file, check=check, **options) for check in (True, False, True, False)]
    assert [result["changed"] for result in results] == [True, True, False, False]
    loaded = json.loads(file.read_text())
    assert (loaded["cache_storage"]["addrs"], loaded["cache_storage"]["database"]) == (["cache:6379"], 3)
    assert loaded["analytics_storage"]["master_name"] == "m"
    assert loaded["analytics_storage"]["enable_cluster"] is False
    assert loaded["enable_separate_cache_store"] is loaded["enable_separate_analytics_store"] is True
    assert not [secret for secret in ("cache-Redis-pw", "sentinel-pw", "new-Redis-pw") if secret in json.dumps(results)]
    assert "cache_storage.addrs" in results[0]["changed_keys"]

    off = {"cache_storage": {"enabled": False}, "analytics_storage": {"enabled": False}, **OPTIONS}
    assert [run(file, check=check, **off)["changed"] for check in (True, False, True, False)] == [
        True,
        True,
        False,
        False,
    ]
    loaded = json.loads(file.read_text())
    assert loaded["enable_separate_cache_store"] is loaded["enable_separate_analytics_store"] is False
    assert loaded["cache_storage"]["addrs"] == ["cache:6379"]


def test_no_secret_of_a_separate_store_goes_to_the_journal(
    run: Run, file: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged: list[str] = []

    def log(_module: AnsibleModule, msg: str, log_args: dict[str, str] | None = None) -> None:
        logged.append(f"{msg} {log_args}")

    monkeypatch.setattr(AnsibleModule, "log", log)
    # In the text of a dictionary these do not look as they are.
    secret = "QqEy77 \"quoted\" 'single' back\\slash"
    run(
        file, password=secret, cache_storage={"addresses": ["c:1"], "sentinel_master": "m", "sentinel_password": secret}
    )
    text = " ".join(logged)
    assert "addresses=" in text
    assert "QqEy77" not in text


def test_a_store_that_a_component_does_not_have_is_refused(run: Run, file: pathlib.Path) -> None:
    before = state(file)
    store = {"addresses": ["cache:6379"]}
    said = refused(run(file, component="pump", cache_storage=store))
    assert (
        said
        == "cache_storage is given, but Tyk Pump has no such store: it has one store only. Leave cache_storage away."
    )
    assert "beside its main one it has analytics_storage" in refused(run(file, component="mdcb", cache_storage=store))
    assert "cache_storage.timeout is 0" in refused(run(file, cache_storage={**store, "timeout": 0}))
    assert "addresses" in refused(run(file, cache_storage={"password": "x"}))
    assert state(file) == before
    # What is not to be used needs no store.
    assert run(file, component="mdcb", cache_storage={"enabled": False})["changed"] is True


def test_the_version_decides(run: Run, file: pathlib.Path) -> None:
    result = run(file, version="v2.9.2", timeout=4)
    assert result["version"] == "2.9.2"
    storage = json.loads(file.read_text())["storage"]
    assert storage["hosts"] == {"192.0.2.21": "6379"} and "addrs" not in storage
    assert run(file, version="5.8.5", timeout=4)["changed_keys"] == ["storage.addrs", "storage.hosts"]
    assert run(file)["version"] == ""
    before = state(file)
    assert "version: 'latest' is not a version such as 5.8.6" in refused(run(file, version="latest"))
    assert "does not read storage.use_ssl" in refused(run(file, version="2.5.4", tls=True))
    assert state(file) == before


def test_the_version_is_that_of_the_installed_package(
    run: Run, file: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_command(_module: AnsibleModule, words: list[str], **_options: t.Any) -> tuple[int, str, str]:
        if words[0].endswith("dpkg-query"):
            return 1, "not-installed \ninstalled 1:5.8.5-2\n", "no packages found matching tyk-gateway-fips"
        return 1, "", ""

    monkeypatch.setattr(AnsibleModule, "get_bin_path", lambda _module, name, *_more, **_others: f"/bin/{name}")
    monkeypatch.setattr(AnsibleModule, "run_command", run_command)
    result = run(file, tls=True, tls_ca_file="/ca.pem")
    assert result["version"] == "5.8.5"
    assert "The rate limiter of Tyk Gateway 5.8.5 ignores the CA file" in warned(result)
    assert run(file, version="5.8.6", tls=True, tls_ca_file="/ca.pem")["version"] == "5.8.6"


@pytest.mark.parametrize(
    ("component", "options"),
    [
        ("pump", {"password": "vault://secret/redis.password"}),
        ("dashboard", {"password": "env://REDIS"}),
        ("gateway", {"analytics_storage": {"addresses": ["a:1"], "password": "env://REDIS"}}),
        ("gateway", {"version": "5.13.1", "password": "file://redis"}),
    ],
)
def test_references_that_are_not_resolved_are_refused(
    run: Run, file: pathlib.Path, component: str, options: dict[str, t.Any]
) -> None:
    before = state(file)
    assert "the form of a reference to a secret that is kept elsewhere" in refused(
        run(file, component=component, **options)
    )
    assert state(file) == before


def test_references_that_are_resolved_pass_and_are_no_secret(run: Run, file: pathlib.Path) -> None:
    file.chmod(0o644)
    result = run(
        file, password="vault://secret/redis.password", cache_storage={"addresses": ["c:1"], "password": "env://C"}
    )
    assert result["changed"] is True
    loaded = json.loads(file.read_text())
    assert loaded["storage"]["password"] == "vault://secret/redis.password"
    assert loaded["cache_storage"]["password"] == "env://C"


def test_what_the_environment_says_otherwise_is_warned_about(
    run: Run, file: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    other = tmp_path / "default"
    other.write_text("TYK_GW_STORAGE_ENABLECLUSTER=false\nTYK_GW_STORAGE_PASSWORD=hidden-Redis-pw\n")
    for check in (True, False, True):
        result = run(file, check=check, env_files=[str(other)], **OPTIONS)
        assert len(result["overridden"]) == 2
        assert (
            f"the variable TYK_GW_STORAGE_ENABLECLUSTER in {other} line 1 says something else"
            in result["overridden"][0]
        )
        assert all(sentence in warned(result) for sentence in result["overridden"])
        assert "hidden-Redis-pw" not in json.dumps(result)


# -- environment files ---------------------------------------------------------------------------------------------

BEFORE_VARIABLES = """\
# Of the Gateway.
TYK_GW_LISTENPORT=8080
TYK_GW_STORAGE_HOST=old
TYK_GW_STORAGE_PASSWORD=former-Redis-pw
TYK_GW_SECRET=opensesame

TYK_GW_STORAGE_PORT=6379
"""
AFTER_VARIABLES = """\
# Of the Gateway.
TYK_GW_LISTENPORT=8080
TYK_GW_STORAGE_PASSWORD=new-Redis-pw
TYK_GW_SECRET=opensesame

TYK_GW_STORAGE_TYPE=redis
TYK_GW_STORAGE_ADDRS=192.0.2.21:6379,192.0.2.22:6379
TYK_GW_STORAGE_ENABLECLUSTER=true
TYK_GW_STORAGE_USERNAME=shop
TYK_GW_STORAGE_TIMEOUT=4
TYK_GW_STORAGE_MAXACTIVE=250
TYK_GW_STORAGE_USESSL=false
"""
FORMATS = ("systemd", "docker", "compose")


@pytest.mark.parametrize("kind", FORMATS)
def test_four_runs_on_an_environment_file(run: Run, file: pathlib.Path, kind: str) -> None:
    file.write_text(BEFORE_VARIABLES)
    options = {**OPTIONS, "addresses": ["192.0.2.21:6379", "192.0.2.22:6379"]}
    results = []
    for number, check in enumerate((True, False, True, False)):
        results.append(run(file, check=check, format=kind, env_files=[str(file)], **options))
        assert file.read_text() == (AFTER_VARIABLES if number else BEFORE_VARIABLES)
    assert [result["changed"] for result in results] == [True, True, False, False]
    assert results[0]["diff"] == results[1]["diff"]
    assert "TYK_GW_STORAGE_PASSWORD=******** (changed)\n" in results[0]["diff"]["after"]
    assert results[0]["changed_keys"] == results[1]["changed_keys"]
    assert "TYK_GW_STORAGE_ADDRS" in results[0]["changed_keys"] and "TYK_GW_STORAGE_HOST" in results[0]["changed_keys"]
    assert results[3]["changed_keys"] == []
    text = json.dumps(results)
    assert not [secret for secret in ("former-Redis-pw", "new-Redis-pw", "opensesame") if secret in text]


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("component", COMPONENTS)
def test_an_environment_file_is_made(run: Run, tmp_path: pathlib.Path, kind: str, component: str) -> None:
    file = tmp_path / "made.env"
    options = {"component": component, "format": kind, "create": True, **OPTIONS}
    results = [run(file, check=check, **options) for check in (True, False, True, False)]
    assert [result["changed"] for result in results] == [True, True, False, False]
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    names = [line.partition("=")[0] for line in file.read_text().splitlines()]
    assert all(line.partition("=")[2] for line in file.read_text().splitlines())
    prefix = {"gateway": "TYK_GW_", "dashboard": "TYK_DB_", "pump": "TYK_PMP_", "mdcb": "TYK_MDCB_"}[component]
    assert names and all(name.startswith(prefix) for name in names)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_hostile_password_arrives_whole(run: Run, file: pathlib.Path, kind: str) -> None:
    password = "qu\"ote's $HOME ${X} #hash back\\slash\\ `id` = % \u00e9\U0001d11e end"
    file.write_text("")
    results = [run(file, check=check, format=kind, password=password) for check in (True, False, True, False)]
    assert [result["changed"] for result in results] == [True, True, False, False]
    document = EnvDocument(file.read_text(), kind)
    assert document.value("TYK_GW_STORAGE_PASSWORD") == password
    assert password not in json.dumps(results)


def test_an_empty_option_takes_the_variable_away(run: Run, file: pathlib.Path) -> None:
    file.write_text("TYK_GW_STORAGE_USERNAME=u\nTYK_GW_STORAGE_PASSWORD=p\n")
    run(file, format="systemd", username="", password="")
    names = EnvDocument(file.read_text(), "systemd").names()
    assert not {"TYK_GW_STORAGE_USERNAME", "TYK_GW_STORAGE_PASSWORD"} & set(names)


def test_what_the_json_file_says_otherwise_is_warned_about(
    run: Run, file: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    config = tmp_path / "config.json"
    config.write_text('{"storage": {"type": "redis", "addrs": ["old:1"], "master_name": "m", "password": "hidden-pw"}}')
    file.write_text("")
    result = run(file, format="systemd", config_file=str(config), env_files=[str(file)], **OPTIONS)
    assert result["overridden"] == [
        f"storage.master_name should not be set, but the file {config} sets it: take it away there.",
        f"{config} says something else about storage.addrs, storage.password, which has no effect: the environment "
        "wins.",
    ]
    assert "hidden-pw" not in json.dumps(result)


def test_an_environment_file_that_nobody_reads_is_warned_about(
    run: Run, file: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    other = tmp_path / "other.env"
    file.write_text("")
    result = run(file, format="systemd", env_files=[str(other)])
    assert result["overridden"] == [
        f"tyk-gateway.service does not read {file}, so that nothing in it reaches Tyk Gateway: name it in the unit as "
        f"an EnvironmentFile=, or give another path. It reads {other}."
    ]


@pytest.mark.parametrize(
    ("component", "version"), [("gateway", "2.9.2"), ("dashboard", "1.9.0"), ("pump", "0.8.3"), ("mdcb", "1.7.0")]
)
def test_only_the_shard_count(
    capsys: pytest.CaptureFixture[str], file: pathlib.Path, component: str, version: str
) -> None:
    file.write_text("OTHER=1\n")
    changed = []
    for check in (True, False, True, False):
        arguments = {
            "component": component,
            "path": str(file),
            "format": "systemd",
            "shard_count": 128,
            "version": version,
        }
        with patch_module_args({**arguments, "_ansible_check_mode": check}), pytest.raises(SystemExit):
            tyk_config.main()
        changed.append(json.loads(capsys.readouterr().out)["changed"])
    assert changed == [True, True, False, False]
    assert file.read_text() == "OTHER=1\nREDIGOCLUSTER_SHARDCOUNT=128\n"


def test_a_shard_count_that_is_not_read_is_refused(run: Run, file: pathlib.Path) -> None:
    before = state(file)
    assert "does not read REDIGOCLUSTER_SHARDCOUNT" in refused(
        run(file, format="systemd", shard_count=128, version="5.8.6")
    )
    assert "it is a variable and no key of the JSON file" in refused(run(file, shard_count=128, version="2.9.2"))
    assert state(file) == before


def test_a_line_break_cannot_go_into_a_file_for_docker(run: Run, file: pathlib.Path) -> None:
    file.write_text("A=1\n")
    before = state(file)
    said = refused(run(file, format="docker", password="two\nlines"))
    assert f"{file} is left as it is: " in said and "two" not in said
    assert state(file) == before


@pytest.mark.parametrize("kind", ["docker", "compose"])
def test_containers_have_no_default_path(capsys: pytest.CaptureFixture[str], kind: str) -> None:
    with patch_module_args({"component": "pump", "addresses": ["a:1"], "format": kind}), pytest.raises(SystemExit):
        tyk_config.main()
    assert f"format is {kind} but all of the following are missing: path" in json.loads(capsys.readouterr().out)["msg"]


# -- files that are not as they should be --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(b"", "the file is empty", id="empty"),
        pytest.param(b"listen_port: 8080\n", "line 1, column 1: this is not JSON", id="not JSON"),
        pytest.param(b'{"a": 1, // c\n"storage": {}}', "line 1, column 10: a comment begins here", id="comments"),
        pytest.param(b'{"storage": {},}', "line 1, column 16: a comma has nothing after it", id="trailing comma"),
        pytest.param(b'{"storage": {}}\nx', "line 2, column 1: text follows", id="text after the end"),
        pytest.param(b'{"storage": {}', "the text ends in the middle", id="cut off"),
        pytest.param(b'{"a": NaN}', "NaN and Infinity do not exist", id="NaN"),
        pytest.param(b'[{"storage": {}}]', "the top level is a list", id="a list"),
        pytest.param(
            b'{"storage": {}, "Storage": {}}', "line 1, column 17: storage is there 2 times", id="two sections"
        ),
        pytest.param(
            b'{"storage": {"addrs": [],\n"Addrs": []}}', "line 2, column 1: storage.addrs is there", id="two keys"
        ),
        pytest.param(b'{"storage": "redis://x"}', "storage is a string, and an object is needed", id="not an object"),
        pytest.param('{"storage": {}}'.encode("utf-16"), "the file is UTF-16", id="UTF-16"),
    ],
)
@pytest.mark.parametrize("check", [True, False], ids=["check mode", "for real"])
def test_a_file_that_cannot_be_edited_is_refused_and_left(
    run: Run, file: pathlib.Path, content: bytes, words: str, check: bool
) -> None:
    file.write_bytes(content)
    before = state(file)
    message = refused(run(file, check=check, create=True))
    assert message.startswith(f"{file} is left as it is: ")
    assert words in message
    assert state(file) == before


def test_a_byte_order_mark_goes_with_a_warning(run: Run, file: pathlib.Path) -> None:
    run(file)
    right = file.read_bytes()
    file.write_bytes(b"\xef\xbb\xbf" + right)
    result = run(file)
    assert (result["changed"], result["changed_keys"]) == (True, [])
    assert "byte order mark" in str(result["warnings"])
    assert file.read_bytes() == right
    assert run(file)["changed"] is False


def test_everything_else_is_kept_byte_for_byte(run: Run, file: pathlib.Path) -> None:
    before = (
        b'{\r\n\t"n": [1e3, 1.0, -0, 12345678901234567890123],\r\n'
        b'\t"text": "\\u00e4 \xc3\xa4 \\/ \\ud800 \xfc",\r\n\t"twice": 1,\r\n\t"twice": {"a": 1, "a": 2},\r\n'
        b'\t"storage": {"type": "redis", "timeout": 3},\r\n\r\n\t"end" : null }'
    )
    file.write_bytes(before)
    run(file, timeout=4, cluster=True)
    changed = b'"timeout": 4, "addrs": ["192.0.2.21:6379"], "enable_cluster": true, "use_ssl": false}'
    assert file.read_bytes() == before.replace(b'"timeout": 3}', changed)


def test_a_symbolic_link_stays_and_its_target_is_edited(run: Run, tmp_path: pathlib.Path, file: pathlib.Path) -> None:
    (tmp_path / "links").mkdir()
    first, second = tmp_path / "links" / "first.conf", tmp_path / "second.conf"
    second.symlink_to(file)
    first.symlink_to("../second.conf")
    results = [run(first, check=check, password="x-y-z") for check in (True, False, True, False)]
    assert [result["changed"] for result in results] == [True, True, False, False]
    assert first.is_symlink() and second.is_symlink()
    assert not file.is_symlink()
    assert json.loads(file.read_text())["storage"]["addrs"] == ["192.0.2.21:6379"]
    assert results[1]["path"] == str(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o640


@pytest.mark.parametrize("create", [True, False])
def test_a_link_to_nothing_is_refused(run: Run, tmp_path: pathlib.Path, create: bool) -> None:
    link = tmp_path / "tyk.conf"
    link.symlink_to(tmp_path / "gone.conf")
    assert "points to nothing" in refused(run(link, create=create))
    assert not (tmp_path / "gone.conf").exists()


def test_links_in_a_circle_are_refused(run: Run, tmp_path: pathlib.Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    assert "cannot be looked at" in refused(run(tmp_path / "a", create=True))


def test_what_is_no_file_is_refused(run: Run, tmp_path: pathlib.Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "is a folder, and a file is needed" in refused(run(tmp_path))
    assert "is a pipe, and a file is needed" in refused(run(tmp_path / "pipe"))
    assert "is a device, and a file is needed" in refused(run(pathlib.Path("/dev/null")))


# -- owner, mode and rights ----------------------------------------------------------------------------------------


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
@pytest.mark.parametrize("mode", [0o400, 0o660, 0o2750, 0o604, 0o606])
def test_owner_and_mode_are_kept(run: Run, file: pathlib.Path, mode: int) -> None:
    os.chown(file, 23456, 34567)
    file.chmod(mode)
    assert run(file)["changed"] is True
    found = file.stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (23456, 34567, mode)
    assert "addrs" in file.read_text()


@pytest.mark.parametrize("check", [True, False], ids=["check mode", "for real"])
@pytest.mark.parametrize("mode", [0o644, 0o604])
def test_a_password_does_not_go_into_a_file_that_others_can_read(
    run: Run, file: pathlib.Path, mode: int, check: bool
) -> None:
    file.chmod(mode)
    before = state(file)
    message = refused(run(file, check=check, password="x-y-z"))
    assert f"with the mode 0{mode:o} every user of this host could read it" in message
    assert "mode: '0640'" in message
    assert state(file) == before


@pytest.mark.parametrize("mode", ["0644", "u=rw,go=r", 0o644])
def test_nor_does_it_when_the_option_would_open_the_file(run: Run, file: pathlib.Path, mode: t.Any) -> None:
    before = state(file)
    assert "every user of this host could read it" in refused(run(file, mode=mode, password="x-y-z"))
    assert "every user of this host could read it" in refused(
        run(file.parent / "new.conf", create=True, mode=mode, password="x-y-z")
    )
    assert state(file) == before


def test_a_mode_that_is_none_is_refused(run: Run, file: pathlib.Path) -> None:
    assert "is not a file mode" in refused(run(file, mode="rw-r-----", password="x-y-z"))


@pytest.mark.parametrize("mode", ["0640", "u=rw,g=r,o=", 0o640])
def test_the_mode_is_closed_before_the_password_goes_in(
    run: Run, file: pathlib.Path, mode: t.Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.chmod(0o644)
    modes = []
    move = AnsibleModule.atomic_move

    def watched(self: AnsibleModule, src: str, dest: str, **options: t.Any) -> t.Any:
        modes.append((stat.S_IMODE(os.stat(src).st_mode), stat.S_IMODE(os.stat(dest).st_mode)))
        return move(self, src, dest, **options)

    monkeypatch.setattr(AnsibleModule, "atomic_move", watched)
    results = [run(file, check=check, mode=mode, password="x-y-z") for check in (True, False, True, False)]
    assert [result["changed"] for result in results] == [True, True, False, False]
    assert modes == [(0o600, 0o640)]
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert results[1]["diff"][1]["before"]["mode"] == "0644"
    assert results[1]["diff"][1]["after"]["mode"] == "0640"


def test_only_the_mode_is_a_change_too(run: Run, file: pathlib.Path) -> None:
    run(file)
    content = file.read_bytes()
    results = [run(file, check=check, mode="0600") for check in (True, False, True, False)]
    assert [result["changed"] for result in results] == [True, True, False, False]
    assert file.read_bytes() == content
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize("check", [True, False], ids=["check mode", "for real"])
@pytest.mark.parametrize("what", ["file", "folder"])
def test_what_is_read_only_is_refused(
    run: Run, file: pathlib.Path, monkeypatch: pytest.MonkeyPatch, what: str, check: bool
) -> None:
    """Root is stopped by a read-only file system or the immutable attribute, which access(2) tells like modes."""
    protected = str(file if what == "file" else file.parent)
    access = os.access

    def denied(path: t.Any, mode: int, **options: t.Any) -> bool:
        return not (str(path) == protected and mode & os.W_OK) and access(path, mode, **options)

    before = state(file)
    monkeypatch.setattr(os, "access", denied)
    message = refused(run(file, check=check))
    monkeypatch.undo()
    assert "is read-only for the user" in message
    assert str(file) in message
    assert state(file) == before


def test_a_read_only_file_that_needs_no_change_is_fine(
    run: Run, file: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(file)
    monkeypatch.setattr(os, "access", lambda path, mode, **options: not mode & os.W_OK)
    assert run(file)["changed"] is False


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_is_not_taken_from_its_owner(run: Run, file: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.chown(file, 23456, 34567)
    before = state(file)
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    message = refused(run(file, check=True))
    monkeypatch.undo()
    assert "belongs to another user or group, and the user with the number 12345 cannot replace it" in message
    assert "become: true" in message
    assert state(file) == before


def test_a_file_that_cannot_be_replaced_by_renaming_is_said(
    run: Run, file: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(*arguments: t.Any, **options: t.Any) -> None:
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))

    before = state(file)
    monkeypatch.setattr(os, "rename", busy)
    message = refused(run(file))
    monkeypatch.undo()
    assert message.startswith(f"{file} could not be replaced: ")
    assert "resource busy" in message and "unsafe_writes: true" in message
    assert state(file) == before
    assert list(file.parent.iterdir()) == [file]


def test_backup(run: Run, file: pathlib.Path) -> None:
    file.chmod(0o600)
    before = file.read_bytes()
    assert "backup_file" not in run(file, check=True, backup=True)
    result = run(file, backup=True)
    copy = pathlib.Path(result["backup_file"])
    assert copy.read_bytes() == before
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert "backup_file" not in run(file, backup=True)
    assert len(list(file.parent.iterdir())) == 2


def test_nothing_is_left_behind(run: Run, file: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    run(file)
    assert list(file.parent.iterdir()) == [file]


# -- a file that is not there --------------------------------------------------------------------------------------


@pytest.mark.parametrize("check", [True, False], ids=["check mode", "for real"])
def test_a_missing_file_is_refused_unless_asked_for(run: Run, tmp_path: pathlib.Path, check: bool) -> None:
    message = refused(run(tmp_path / "tyk.conf", check=check))
    assert message.startswith(f"{tmp_path}/tyk.conf does not exist: install the component")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("component", COMPONENTS)
def test_create(run: Run, tmp_path: pathlib.Path, component: str) -> None:
    file = tmp_path / "tyk.conf"
    results = []
    for number, check in enumerate((True, False, True, False)):
        results.append(run(file, check=check, component=component, create=True, backup=True, **OPTIONS))
        assert file.exists() is (number > 0)
    assert [result["changed"] for result in results] == [True, True, False, False]
    assert results[0]["diff"] == results[1]["diff"]
    assert results[1]["diff"]["before"] == ""
    assert "new-Redis-pw" not in json.dumps(results)
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert file.read_text().startswith('{\n  "')
    assert file.read_text().endswith("\n}\n")
    # The Redis keys that an existing file gets, and nothing else.
    expected = json.loads((FIXTURES / f"{component}_after.conf").read_bytes())
    section = {"dashboard": "", "pump": "analytics_storage_config", "mdcb": "Storage"}.get(component, "storage")
    made = json.loads(file.read_text())
    if section:
        left_over = {"optimisation_max_idle", "database", "redis_use_ssl"}
        wanted = {key.lower(): value for key, value in expected[section].items() if key not in left_over}
        assert made.pop(section.lower()) == wanted
        assert made == ({"analytics_storage_type": "redis"} if component == "pump" else {})
    else:
        assert made == {
            key: value for key, value in expected.items() if key.startswith("redis_") or key == "enable_cluster"
        }


@pytest.mark.parametrize(("mode", "expected"), [(None, 0o640), ("0600", 0o600), ("u=rw,g=,o=", 0o600), ("0444", 0o444)])
def test_what_is_created_has_its_mode_whatever_the_umask(
    run: Run, tmp_path: pathlib.Path, mode: str | None, expected: int
) -> None:
    file = tmp_path / "tyk.conf"
    former = os.umask(0)
    try:
        run(file, create=True, mode=mode)
        assert os.umask(0) == 0, "the module has changed the umask"
    finally:
        os.umask(former)
    assert stat.S_IMODE(file.stat().st_mode) == expected


def test_what_is_created_is_never_open_even_for_a_moment(
    run: Run, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "tyk.conf"
    modes = []
    settle = AnsibleModule.set_fs_attributes_if_different

    def watched(self: AnsibleModule, *arguments: t.Any, **options: t.Any) -> t.Any:
        modes.append(stat.S_IMODE(file.stat().st_mode))
        return settle(self, *arguments, **options)

    monkeypatch.setattr(AnsibleModule, "set_fs_attributes_if_different", watched)
    former = os.umask(0)
    try:
        run(file, create=True, password="x-y-z")
    finally:
        os.umask(former)
    assert modes == [0o600]


def test_create_in_a_folder_that_is_not_there(run: Run, tmp_path: pathlib.Path) -> None:
    file = tmp_path / "opt" / "tyk-gateway" / "tyk.conf"
    # The very first run in check mode: an earlier task has only said that it would make the folder.
    assert run(file, check=True, create=True)["changed"] is True
    message = refused(run(file, create=True))
    assert message.startswith(f"The folder {file.parent} does not exist")
    assert list(tmp_path.iterdir()) == []


# -- descriptions --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"addresses": []}, "addresses is empty"),
        ({"addresses": ["redis1"]}, "The address 'redis1' is not of the form host:port"),
        ({"addresses": ["a:1,b:1"]}, "holds a comma"),
        ({"timeout": 0}, "timeout is 0"),
        ({"tls_min_version": "1.3", "tls_max_version": "1.1"}, "is higher than"),
        ({"tls_cert_file": "/c.pem"}, "tls_cert_file, tls_key_file"),
        ({"tls_min_version": "1.4"}, "must be one of"),
        ({"component": "portal"}, "must be one of"),
    ],
)
def test_a_description_that_cannot_be_right_is_refused(
    run: Run, file: pathlib.Path, options: dict[str, t.Any], words: str
) -> None:
    before = state(file)
    assert words in refused(run(file, **options))
    assert state(file) == before
