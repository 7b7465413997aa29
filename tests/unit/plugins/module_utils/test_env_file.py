# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reading environment files as systemd does. tests/integration compares the same code with systemd itself."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ansible_collections.apiops.tyk_redis.plugins.module_utils._env_file import (
    Variable,
    merge,
    parse,
    parse_shown_environment,
    parse_shown_files,
)

PATH = "/etc/default/tyk-gateway"


def values(text: str, systemd_version: int = 255) -> list[tuple[str, str, int]]:
    file = parse(text.encode(), PATH, systemd_version=systemd_version)
    assert file.refused == ""
    return [(variable.name, variable.value, variable.line) for variable in file.assignments]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("A=b", [("A", "b", 1)], id="no newline at the end"),
        pytest.param("\n\n  A = b c \t\n", [("A", "b c", 3)], id="blanks around are dropped, those inside stay"),
        pytest.param("A=\nB=", [("A", "", 1), ("B", "", 2)], id="set but empty"),
        pytest.param("# A=1\n ; B=2\nC=3", [("C", "3", 3)], id="both kinds of comment"),
        pytest.param("A=b # c", [("A", "b # c", 1)], id="no comment after a value"),
        pytest.param("A='b\\'\nB=1", [("A", "b\\", 1), ("B", "1", 2)], id="no escape in single quotes"),
        pytest.param('A="b\\"c\\\\d\\$e\\`f\\g"', [("A", 'b"c\\d$e`f\\g', 1)], id="escapes in double quotes"),
        pytest.param('A="b\\\nc"\nB=1', [("A", "bc", 1), ("B", "1", 3)], id="continuation in double quotes"),
        pytest.param("A='b\nc'\nB=1", [("A", "b\nc", 1), ("B", "1", 3)], id="quotes over two lines"),
        pytest.param("A=b\\\nc\nB=1", [("A", "bc", 1), ("B", "1", 3)], id="continuation without quotes"),
        pytest.param("A=b\\ \\\\\\n", [("A", "b \\n", 1)], id="escapes without quotes"),
        pytest.param("A=b'c'", [("A", "b'c'", 1)], id="a quote inside a value is a character"),
        pytest.param("A='b' \"c\" d ", [("A", "bcd", 1)], id="quoted parts are joined"),
        pytest.param("A=$HOME ${B}", [("A", "$HOME ${B}", 1)], id="nothing is expanded"),
        pytest.param("A=1\r\nB=2\r\n", [("A", "1", 1), ("B", "2", 2)], id="lines of Windows"),
        pytest.param("A='b", [("A", "b", 1)], id="a quote that nobody closes"),
        pytest.param("A=1\nA=2", [("A", "1", 1), ("A", "2", 2)], id="both are kept, in order"),
        pytest.param("=b\n==c", [], id="a name cannot be empty"),
    ],
)
def test_assignments(text: str, expected: list[tuple[str, str, int]]) -> None:
    assert values(text) == expected


def test_comment_that_ends_with_a_backslash() -> None:
    text = "# a comment\\\nA=1\nB=2"
    assert values(text, 252) == [("B", "2", 3)]
    assert values(text, 254) == [("A", "1", 2), ("B", "2", 3)]


@pytest.mark.parametrize(
    ("text", "name", "reason"),
    [
        ("export A=secret", "export A", "systemd does not know the word export"),
        ("A-B=secret", "A-B", "its name is not made of letters, digits and underscores only"),
        ("A secret", "A", "it has no equals sign"),
    ],
)
def test_ignored_lines_are_told_without_their_values(text: str, name: str, reason: str) -> None:
    file = parse(f"\n{text}\nB=1".encode(), PATH)
    assert [(ignored.line, ignored.name, ignored.reason) for ignored in file.ignored] == [(2, name, reason)]
    assert [variable.name for variable in file.assignments] == ["B"]
    assert "secret" not in repr(file)


@pytest.mark.parametrize(
    ("content", "refused"),
    [
        (b"A=1\nB=\xff\nC=3", "line 2 is not valid UTF-8"),
        (b"A=1\n\xff=2", "line 2 is not valid UTF-8"),
        (b"A=\xef\xbf\xbf", "line 1 is not valid UTF-8"),
        (b"A=1\0", "it holds a NUL byte"),
    ],
)
def test_one_bad_byte_costs_the_whole_file(content: bytes, refused: str) -> None:
    file = parse(content, PATH)
    assert file.refused == refused and file.assignments == ()


def test_bad_bytes_in_a_comment_do_no_harm() -> None:
    assert [variable.name for variable in parse(b"# \xff\nA=1", PATH).assignments] == ["A"]


def test_the_last_source_wins_and_its_place_is_told() -> None:
    first = parse(b"A=1\nB=1", "/etc/default/x").assignments
    second = parse(b"\nA=2", "/etc/sysconfig/x").assignments
    merged = merge([Variable("A", "0", "Environment= of x.service")], first, second)
    assert {name: variable.value for name, variable in merged.items()} == {"A": "2", "B": "1"}
    assert merged["A"].origin == "variable A in /etc/sysconfig/x line 2"
    assert Variable("A", "0", "Environment= of x.service").origin == "variable A in Environment= of x.service"


def test_what_systemctl_shows() -> None:
    shown = 'A=1 "B=two words" "C=a \\"quote\\", a \\\\, a \\$ and\\na line" D= nonsense'
    variables = parse_shown_environment(shown, "Environment= of x.service")
    assert [(variable.name, variable.value) for variable in variables] == [
        ("A", "1"),
        ("B", "two words"),
        ("C", 'a "quote", a \\, a $ and\na line'),
        ("D", ""),
    ]
    lines = ["/etc/default/x (ignore_errors=yes)", "/srv/a file (ignore_errors=no)", ""]
    assert parse_shown_files(lines) == [("/etc/default/x", True), ("/srv/a file", False)]


TEXT = st.text(st.characters(exclude_categories=["Cs", "Cn"], exclude_characters="\0\ufeff"), max_size=30)


@given(value=TEXT)
def test_single_quotes_keep_everything_but_themselves(value: str) -> None:
    value = value.replace("'", "")
    assert [(name, found) for name, found, _line in values(f"A='{value}'\nB=1\n")] == [("A", value), ("B", "1")]


@given(value=TEXT)
def test_double_quotes_keep_everything_that_is_escaped(value: str) -> None:
    escaped = "".join(f"\\{character}" if character in '"\\`$' else character for character in value)
    assert [(name, found) for name, found, _line in values(f'A="{escaped}"\nB=1\n')] == [("A", value), ("B", "1")]


@example(content=b"\x0b")
@given(content=st.binary(max_size=60))
def test_no_content_is_too_strange(content: bytes) -> None:
    file = parse(content, PATH)
    lines = content.count(b"\n") + 1
    assert all(1 <= variable.line <= lines for variable in file.assignments)
    assert all(1 <= ignored.line <= lines for ignored in file.ignored)
