# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which certificates are out of date, and which step of a rotation would cut hosts off."""

from __future__ import annotations

import time
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.apiops.tyk_redis.plugins.module_utils._certificates import (
    blocks,
    seconds_of,
    sentences,
    unready,
)

DAY = 24 * 60 * 60

# --- what is read ----------------------------------------------------------------------------------------------------


def block(text: str) -> str:
    return f"-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----"


def test_certificates_are_found_between_whatever_else_there_is() -> None:
    key = "-----BEGIN PRIVATE KEY-----\nMIGH\n-----END PRIVATE KEY-----\n"
    text = f"# apiops.tyk_redis authority 1\n{block('MIIB')}\n{key}# and 2\n{block('MIIC')}{block('MIID')}\n"
    assert blocks(text) == [block("MIIB"), block("MIIC"), block("MIID")]


@pytest.mark.parametrize("text", ["", "nothing", "-----BEGIN CERTIFICATE-----\nMIIB\n"])
def test_a_file_may_have_none(text: str) -> None:
    assert blocks(text) == []


@pytest.mark.parametrize(
    ("date", "seconds"),
    [
        ("Jan  1 00:00:00 1970 GMT", 0),
        ("Nov  3 21:00:00 2027 GMT", 1825275600),
        ("  Dec 31 23:59:59 9999 GMT\n", 253402300799),
    ],
)
def test_a_date_of_openssl(date: str, seconds: int) -> None:
    assert seconds_of(date) == seconds


# Four digits of a year, as every certificate has them.
@given(st.integers(-30610224000, 253402300799))
def test_every_date_is_read_as_it_was_printed(seconds: int) -> None:
    moment = time.gmtime(seconds)
    for day in ("%e", "%d"):
        assert seconds_of(time.strftime(f"%b {day} %H:%M:%S %Y GMT", moment)) == seconds


@pytest.mark.parametrize(
    "date", ["", "Foo  3 21:00:00 2027 GMT", "Nov  3 21:00:00 2027", "2027-11-03", "Nov 3 21:00 2027 GMT", "nov"]
)
def test_what_is_no_date_is_refused(date: str) -> None:
    with pytest.raises(ValueError) as caught:
        seconds_of(date)
    assert str(caught.value) == f"{date!r} is no date as OpenSSL prints it"


# --- what is said ----------------------------------------------------------------------------------------------------

FILE = "/etc/tyk-redis-tls/redis/host.crt"
CA = "/etc/tyk-redis-tls/redis/ca.crt"
# The third of November 2027, 21:00.
NOW = 1825275600


def told(*certificates: dict[str, t.Any], **changed: t.Any) -> dict[str, t.Any]:
    return {
        "host": "redis1",
        "file": FILE,
        "certificates": list(certificates),
        "outdated": [],
        "unreachable": [],
        **changed,
    }


def certificate(left: int, path: str = FILE, subject: str = "CN = redis1") -> dict[str, t.Any]:
    return {"path": path, "subject": subject, "not_after": NOW + left, "seconds_left": left}


OWN = "run site.yml, which renews those that its own authority has issued; others you have to bring."
ROTATE = "rotate the authority, as docs/encryption.md describes."


@pytest.mark.parametrize(
    ("left", "words"),
    [
        pytest.param(0, "no longer than 2027-11-03, which is past", id="this second"),
        pytest.param(-1, "no longer than 2027-11-03, which is past", id="just now"),
        pytest.param(-400 * DAY, "no longer than 2026-09-29, which is past", id="long ago"),
        pytest.param(1, "until 2027-11-03 only, 0 days from now", id="in a second"),
        pytest.param(2 * DAY - 1, "until 2027-11-05 only, 1 day from now", id="tomorrow"),
        pytest.param(10 * DAY, "until 2027-11-13 only, 10 days from now", id="in ten days"),
        pytest.param(30 * DAY - 1, "until 2027-12-03 only, 29 days from now", id="in less than 30 days"),
        pytest.param(30 * DAY, "", id="in 30 days"),
        pytest.param(3650 * DAY, "", id="in years"),
    ],
)
@pytest.mark.parametrize(
    ("path", "subject", "remedy"), [(FILE, "CN = redis1", OWN), (CA, "CN = apiops.tyk_redis authority 1", ROTATE)]
)
def test_what_is_said_of_the_end(left: int, words: str, path: str, subject: str, remedy: str) -> None:
    expected = [f"redis1: the certificate {path} ({subject}) is valid {words}: {remedy}"] if words else []
    past = words.startswith("no longer")
    assert sentences([told(certificate(left, path, subject))]) == {
        "problems": expected if past else [],
        "remarks": [] if past else expected,
    }


def test_what_servers_show() -> None:
    gone = ["192.0.2.1:7380", "192.0.2.1:7381"]
    hosts = [told(certificate(3650 * DAY), outdated=["192.0.2.1:7379"], unreachable=gone), told(host="redis2")]
    assert sentences(hosts) == {
        "problems": [
            f"redis1: 192.0.2.1:7379 shows another certificate than {FILE} has: run site.yml, which lets it be read.",
            "redis1: 192.0.2.1:7380 shows no certificate.",
            "redis1: 192.0.2.1:7381 shows no certificate.",
        ],
        "remarks": [],
    }


def test_nothing_seen_is_nothing_said() -> None:
    assert sentences([]) == {"problems": [], "remarks": []}


# --- rotation --------------------------------------------------------------------------------------------------------


def host(name: str, shows: int | None, *trusts: int) -> dict[str, t.Any]:
    """One whose certificate was issued by that authority, and which trusts those."""
    marks = [f"# apiops.tyk_redis authority {number}\n{block('MIIB')}" for number in trusts]
    shown = "" if shows is None else f"# apiops.tyk_redis authority {shows}\n{block('MIIC')}\n"
    return {"inventory_hostname": name, "__pki_there": {"stdout": f"{shown}=====\n" + "\n".join(marks)}}


@pytest.mark.parametrize(
    ("shows", "trusts", "authority", "trusted"),
    [
        pytest.param(None, [], 1, [1], id="the first certificate"),
        pytest.param(1, [1], 1, [1], id="nothing to do"),
        pytest.param(1, [1], 1, [1, 2], id="step 1: trust both"),
        pytest.param(1, [1, 2], 1, [1, 2], id="step 1 once more"),
        pytest.param(1, [1, 2], 1, [1], id="step 1 taken back"),
        pytest.param(1, [1, 2], 2, [1, 2], id="step 2: let the new one issue"),
        pytest.param(2, [1, 2], 2, [1, 2], id="step 2 once more"),
        pytest.param(2, [1, 2], 1, [1, 2], id="step 2 taken back"),
        pytest.param(2, [1, 2], 2, [2], id="step 3: trust the new one alone"),
        pytest.param(2, [2], 2, [2], id="step 3 once more"),
        pytest.param(2, [2], 2, [1, 2], id="step 3 taken back"),
        pytest.param(2, [2], 2, [2, 3], id="step 1 of the next rotation"),
        pytest.param(1, [], 1, [1, 2], id="what it trusts is lost"),
        pytest.param(None, [1], 2, [2], id="nothing is shown yet"),
    ],
)
def test_a_step_that_cuts_nobody_off(shows: int | None, trusts: list[int], authority: int, trusted: list[int]) -> None:
    assert unready([host("redis1", shows, *trusts)], authority, trusted) == []


@pytest.mark.parametrize(
    ("shows", "trusts", "authority", "trusted"),
    [
        pytest.param(1, [1], 2, [1, 2], id="without step 1"),
        pytest.param(1, [1], 2, [2], id="all at once"),
        pytest.param(1, [1, 2], 2, [2], id="without step 2"),
        pytest.param(2, [1, 2], 1, [1], id="steps 1 and 2 taken back at once"),
        pytest.param(2, [2], 1, [1, 2], id="steps 2 and 3 taken back at once"),
        pytest.param(2, [2], 1, [1], id="all taken back at once"),
        pytest.param(2, [1, 2], 3, [2, 3], id="the next rotation without its step 1"),
        pytest.param(1, [1, 2], 2, [2, 3], id="two rotations at once"),
        pytest.param(1, [], 2, [1, 2], id="what it trusts is lost"),
    ],
)
def test_a_step_that_would_cut_a_host_off(shows: int, trusts: list[int], authority: int, trusted: list[int]) -> None:
    assert unready([host("redis1", shows, *trusts)], authority, trusted) == ["redis1"]


def test_hosts_that_an_earlier_run_did_not_reach_are_named() -> None:
    hosts = [host("redis1", 1, 1, 2), host("redis2", 1, 1), host("gw1", None), host("redis3", 1, 1)]
    assert unready(hosts, 2, [1, 2]) == ["redis2", "redis3"]
    hosts = [host("redis1", 2, 1, 2), host("redis2", 1, 1, 2)]
    assert unready(hosts, 2, [2]) == ["redis2"]
    assert unready(hosts, 2, [1, 2]) == []


def test_hosts_of_which_nothing_is_known_stop_nobody() -> None:
    brought = {"stdout": f"{block('MIIB')}\n=====\n{block('MIIC')}\n"}
    hosts = [{"inventory_hostname": name, "__pki_there": there} for name, there in (("a", {}), ("b", brought))]
    assert unready(hosts, 2, [2]) == []
    assert unready([], 2, [2]) == []


def test_every_folder_of_a_host_is_judged() -> None:
    ready, late = host("redis1", 2, 1, 2)["__pki_there"]["stdout"], host("redis1", 1, 1)["__pki_there"]["stdout"]
    for folders in ((ready, late), (late, ready), (late, late)):
        there = {"stdout": "".join(f"{folder}#####\n" for folder in folders)}
        assert unready([{"inventory_hostname": "redis1", "__pki_there": there}], 2, [1, 2]) == ["redis1"]
    there = {"stdout": f"{ready}#####\n{ready}#####\n"}
    assert unready([{"inventory_hostname": "redis1", "__pki_there": there}], 2, [1, 2]) == []


def test_hosts_of_which_nothing_is_known_stop_what_takes_something_away() -> None:
    def judged(shows: int, trusts: list[int], authority: int, trusted: list[int]) -> list[str]:
        return unready([host("redis1", shows, *trusts)], authority, trusted, ["gateway2"])

    assert judged(1, [1], 1, [1]) == []
    assert judged(1, [1], 1, [1, 2]) == []
    assert judged(1, [1, 2], 2, [1, 2]) == ["gateway2"]
    assert judged(2, [1, 2], 2, [1, 2]) == []
    assert judged(2, [1, 2], 2, [2]) == ["gateway2"]
    assert judged(2, [2], 2, [2]) == []
    assert unready([host("redis1", None)], 1, [1], ["gateway2"]) == []


def test_of_several_certificates_the_first_is_shown() -> None:
    first, second = ("# apiops.tyk_redis authority 2\n", "# apiops.tyk_redis authority 1\n")
    for trusts in ("", first, second + first):
        there = {"stdout": f"{first}{second}=====\n{trusts}"}
        assert unready([{"inventory_hostname": "redis1", "__pki_there": there}], 2, [2]) == []


AUTHORITIES = st.integers(1, 3)
STEPS = st.lists(
    st.tuples(AUTHORITIES, st.sets(AUTHORITIES), st.permutations([0, 1, 2]), st.integers(0, 6)), max_size=12
)


@given(STEPS)
def test_no_allowed_step_ever_cuts_hosts_off_wherever_a_run_ends(
    steps: list[tuple[int, set[int], list[int], int]],
) -> None:
    """Each host trusts before it shows, one host after the other, as with serial: 1; the run ends at any point."""
    shows: list[int | None] = [1, 1, None]
    trusts: list[set[int]] = [{1}, {1}, set()]
    for authority, also, order, length in steps:
        trusted = {authority, *also}
        hosts = [host(str(number), shows[number], *sorted(trusts[number])) for number in range(3)]
        if unready(hosts, authority, trusted):
            continue
        for number, write in [(number, write) for number in order for write in ("trust", "show")][:length]:
            if write == "trust":
                trusts[number] = trusted
            else:
                shows[number] = authority
            shown = {one for one in shows if one is not None}
            assert all(shown <= known for known, one in zip(trusts, shows) if one is not None)
