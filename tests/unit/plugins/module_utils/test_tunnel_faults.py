# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which tunnel does not work, and why."""

from __future__ import annotations

import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.apiops.tyk_redis.plugins.module_utils._tunnel_faults import faults, unit_of

Seen = dict[str, t.Any]


def end(name: str, kind: str, *, bus: bool = False, **changed: t.Any) -> Seen:
    unit = unit_of("spiped", name)
    further = 10000 if bus else 0
    near, far = f"127.64.2.2:{6379 + further}", f"192.0.2.2:{7379 + further}"
    return {
        "name": name,
        "kind": kind,
        "listen": far if kind == "serve" else near,
        "target": near if kind == "serve" else far,
        "peer": "redis2",
        "instance": 6379,
        "bus": bus,
        "wire": far,
        "key": 1,
        "unit": unit,
        "owner": unit,
        "answer": "open" if bus else "redis",
        "wire_answer": "",
        **changed,
    }


def dial(**changed: t.Any) -> Seen:
    return end(f"dial-redis2-6379{'-bus' if changed.get('bus') else ''}", "dial", **changed)


def serve(**changed: t.Any) -> Seen:
    return end(f"serve-6379{'-bus' if changed.get('bus') else ''}-{changed.get('key', 1)}", "serve", **changed)


def told(host: str, *ends: Seen, **keys: str) -> Seen:
    return {"host": host, "ends": list(ends), "key_fingerprints": {name[1:]: key for name, key in keys.items()}}


BROKEN = {"answer": "closed", "wire_answer": "open"}
DOWN = (
    "redis2: the Redis behind the tunnel, redis2:6379, does not answer on its own host (refused at 127.64.2.2:6379)."
    " Look into 'journalctl -u tyk-redis@6379'."
)
NEITHER_ACCEPTS = (
    "redis1: the tunnel to redis2:6379 does not open, though 192.0.2.2:7379 listens: the two ends do not accept each"
    " other's key or certificate. Compare what they log, and run site.yml for both hosts."
)
WHO_KNOWS = (
    "redis1: the tunnel to redis2:6379 does not open, though 192.0.2.2:7379 listens: either the Redis behind it is"
    " down, or the two ends do not accept each other's key or certificate. redis2 could tell which, but was not or"
    " could not be asked. Run verify.yml for it too."
)


def test_each_program_has_its_unit() -> None:
    assert unit_of("spiped", "dial-redis2-6379") == "tyk-redis-spiped@dial-redis2-6379.service"
    assert unit_of("tls_tunnel", "dial-redis2-6379") == "tyk-redis-tunnel.service"


def test_nothing_is_said_while_all_is_well() -> None:
    far, near = [serve(), serve(bus=True)], [dial(), dial(bus=True)]
    assert faults([told("redis1", *near, _1="5f6ac1b0"), told("redis2", *far, _1="5f6ac1b0")]) == []
    assert faults([]) == []
    assert faults([told("redis1")]) == []


@pytest.mark.parametrize(
    ("host", "one", "sentence"),
    [
        pytest.param(
            "redis1",
            dial(owner="", answer="refused", wire_answer="open"),
            "the tunnel to redis2:6379 is not up: nothing listens at 127.64.2.2:6379. Look into"
            " 'journalctl -u tyk-redis-spiped@dial-redis2-6379.service', and run site.yml.",
            id="a near end that does not run",
        ),
        pytest.param(
            "redis1",
            dial(bus=True, owner="", answer="refused", wire_answer="open"),
            "the tunnel to the bus of redis2:6379 is not up: nothing listens at 127.64.2.2:16379. Look into"
            " 'journalctl -u tyk-redis-spiped@dial-redis2-6379-bus.service', and run site.yml.",
            id="the bus",
        ),
        pytest.param(
            "redis2",
            serve(owner=""),
            "the tunnel to redis2:6379 is not up: nothing listens at 192.0.2.2:7379. Look into"
            " 'journalctl -u tyk-redis-spiped@serve-6379-1.service', and run site.yml.",
            id="a far end that does not run",
        ),
        pytest.param(
            "redis1",
            dial(owner="redis-server (process 17)"),
            "the address 127.64.2.2:6379 of the tunnel to redis2:6379 is taken by redis-server (process 17), so that"
            " the tunnel cannot be reached there. Stop that, and start tyk-redis-spiped@dial-redis2-6379.service.",
            id="somebody else, even one that answers as Redis does",
        ),
        pytest.param(
            "redis2",
            serve(bus=True, owner="haproxy.service"),
            "the address 192.0.2.2:17379 of the tunnel to the bus of redis2:6379 is taken by haproxy.service, so that"
            " the tunnel cannot be reached there. Stop that, and start tyk-redis-spiped@serve-6379-bus-1.service.",
            id="somebody else at a far end",
        ),
        pytest.param(
            "redis2",
            serve(answer="silent"),
            "the Redis behind the tunnel, redis2:6379, does not answer on its own host (silent at 127.64.2.2:6379)."
            " Look into 'journalctl -u tyk-redis@6379'.",
            id="a Redis that hangs",
        ),
        pytest.param(
            "redis2",
            serve(bus=True, answer="closed"),
            "the Redis behind the tunnel, redis2:6379, does not answer on its own host (closed at 127.64.2.2:16379)."
            " Look into 'journalctl -u tyk-redis@6379'.",
            id="a bus that hangs up",
        ),
        pytest.param(
            "redis2",
            serve(answer="refused", owner=""),
            DOWN.removeprefix("redis2: "),
            id="a Redis that is down is told first",
        ),
        pytest.param(
            "redis1",
            dial(answer="closed", wire_answer="refused"),
            "the tunnel to redis2:6379 has no far end: 192.0.2.2:7379 refuses connections. Start the tunnels on redis2,"
            " or run site.yml for it.",
            id="no far end",
        ),
        pytest.param(
            "redis1",
            dial(bus=True, answer="closed", wire_answer="silent"),
            "the tunnel to the bus of redis2:6379 finds no host: 192.0.2.2:17379 does not answer. redis2 is down, or a"
            " firewall drops the connection.",
            id="no host",
        ),
        pytest.param("redis1", dial(**BROKEN), WHO_KNOWS.removeprefix("redis1: "), id="who knows why"),
        pytest.param(
            "redis1",
            dial(answer="silent", wire_answer="open"),
            WHO_KNOWS.removeprefix("redis1: "),
            id="nothing comes back",
        ),
    ],
)
def test_what_one_end_tells(host: str, one: Seen, sentence: str) -> None:
    assert faults([told(host, one)]) == [f"{host}: {sentence}"]


def test_what_is_behind_a_tunnel_is_asked_before_its_keys_are_compared() -> None:
    hosts = [
        told("redis1", dial(**BROKEN), dial(bus=True), _1="5f6ac1b0"),
        told("redis2", serve(answer="refused"), serve(bus=True), _1="00000000"),
    ]
    assert faults(hosts) == ["redis1: the tunnel to redis2:6379 is up, but the Redis behind it is down.", DOWN]


@pytest.mark.parametrize("answer", ["closed", "silent"])
def test_a_far_end_is_blamed_only_when_its_redis_is_known_to_answer(answer: str) -> None:
    near = told("redis1", dial(answer=answer, wire_answer="open"))
    assert faults([near, told("redis2", serve())]) == [NEITHER_ACCEPTS]
    # It was not asked, or has told of something else only.
    for others in ([], [told("redis2")], [told("redis2", serve(bus=True))], [told("redis3", serve(peer="redis3"))]):
        assert faults([near, *others]) == [WHO_KNOWS]


def test_keys_that_differ_are_told_though_the_redis_behind_is_not_known() -> None:
    assert faults([told("redis1", dial(**BROKEN), _1="5f6ac1b0"), told("redis2", _1="0c0ffee0")]) == [
        "redis1: the tunnel to redis2:6379 does not open: key 1 is another one here than on redis2. Run site.yml for"
        " both."
    ]


def test_data_and_bus_are_told_apart() -> None:
    down = {"answer": "refused"}
    hosts = [
        told("redis1", dial(**BROKEN), dial(bus=True, **BROKEN)),
        told("redis2", serve(), serve(bus=True, **down)),
    ]
    assert faults(hosts) == [
        NEITHER_ACCEPTS,
        "redis1: the tunnel to the bus of redis2:6379 is up, but the Redis behind it is down.",
        DOWN.replace(":6379).", ":16379)."),
    ]


def test_two_keys_are_one_redis_that_is_down() -> None:
    down = {"answer": "refused"}
    assert faults([told("redis2", serve(**down), serve(key=2, **down))]) == [DOWN]


def test_another_redis_of_that_host_is_not_asked() -> None:
    other = serve(answer="refused", instance=6380, target="127.64.2.2:6380")
    assert faults([told("redis1", dial(**BROKEN)), told("redis2", serve(), other)]) == [
        NEITHER_ACCEPTS,
        "redis2: the Redis behind the tunnel, redis2:6380, does not answer on its own host (refused at"
        " 127.64.2.2:6380). Look into 'journalctl -u tyk-redis@6380'.",
    ]


def test_a_near_end_of_that_host_tells_nothing_of_its_redis() -> None:
    back = dial(peer="redis1", wire="192.0.2.1:7379", **BROKEN)
    own = serve(peer="redis1", wire="192.0.2.1:7379")
    assert faults([told("redis1", dial(**BROKEN), own), told("redis2", serve(), back)]) == [
        NEITHER_ACCEPTS,
        "redis2: the tunnel to redis1:6379 does not open, though 192.0.2.1:7379 listens: the two ends do not accept"
        " each other's key or certificate. Compare what they log, and run site.yml for both hosts.",
    ]


@pytest.mark.parametrize("key", [1, 2])
def test_another_key_is_told_by_its_number(key: int) -> None:
    ours, theirs = {f"_{key}": "5f6ac1b0"}, {f"_{key}": "0c0ffee0"}
    hosts = [told("redis1", dial(key=key, **BROKEN), **ours), told("redis2", serve(key=key), **theirs)]
    assert faults(hosts) == [
        f"redis1: the tunnel to redis2:6379 does not open: key {key} is another one here than on redis2. Run site.yml"
        " for both."
    ]


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        pytest.param({"_1": "5f6ac1b0"}, {"_1": "5f6ac1b0"}, id="the same"),
        pytest.param({"_1": "5f6ac1b0"}, {}, id="only here"),
        pytest.param({}, {"_1": "5f6ac1b0"}, id="only there"),
        pytest.param({}, {}, id="none, as with certificates"),
        pytest.param({"_1": "5f6ac1b0"}, {"_2": "0c0ffee0"}, id="of another number"),
    ],
)
def test_keys_that_cannot_be_compared_or_are_the_same_are_not_blamed(
    ours: dict[str, str], theirs: dict[str, str]
) -> None:
    assert faults([told("redis1", dial(**BROKEN), **ours), told("redis2", serve(), **theirs)]) == [NEITHER_ACCEPTS]


STATES: dict[str, t.Any] = {
    "owner": st.sampled_from(["", "haproxy.service"]) | st.none(),
    "answer": st.sampled_from(["redis", "open", "closed", "silent", "refused"]),
    "wire_answer": st.sampled_from(["", "open", "refused", "silent"]),
    "bus": st.booleans(),
}


@given(st.lists(st.fixed_dictionaries(STATES)), st.lists(st.fixed_dictionaries(STATES)))
def test_a_sentence_for_what_is_wrong_and_only_for_that(near: list[Seen], far: list[Seen]) -> None:
    def ends(make: t.Callable[..., Seen], states: list[Seen]) -> list[Seen]:
        # None is the unit itself.
        return [make(**{name: value for name, value in state.items() if value is not None}) for state in states]

    hosts = [told("redis1", *ends(dial, near)), told("redis2", *ends(serve, far))]
    found = faults(hosts)
    wrong = {
        host["host"]
        for host in hosts
        for one in host["ends"]
        if one["owner"] != one["unit"] or one["answer"] not in ("redis", "open")
    }
    assert {sentence.split(": ")[0] for sentence in found} == wrong
    assert len(set(found)) == len(found)
    assert all(sentence.endswith(".") for sentence in found)
