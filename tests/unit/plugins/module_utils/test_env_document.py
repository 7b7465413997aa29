# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reading and editing environment files of three kinds.

What is expected of the kinds docker and compose was found with their own code: docker/cli 20.10.11 and 29.9.3, and
every parser that compose-go had from 1.0.9 to 2.16.2. tests/integration asks systemd and podman themselves.
"""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ansible_collections.apiops.tyk_redis.plugins.module_utils._env_document import (
    COMPOSE,
    DOCKER,
    KINDS,
    LONGEST_DOCKER_LINE,
    SYSTEMD,
    EnvDocument,
    EnvProblem,
    decode,
    encode,
    read,
)

SECRET = "s3cret"


def assigned(text: str, kind: str) -> list[tuple[str, str, int]]:
    file = read(encode(text), "/srv/tyk.env", kind)
    assert file.refused == ""
    return [(variable.name, variable.value, variable.line) for variable in file.assignments]


# -- reading -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("A= b c \n", [("A", " b c ", 1)], id="blanks are part of the value"),
        pytest.param("A='b'\nB=\"c\"\n", [("A", "'b'", 1), ("B", '"c"', 2)], id="so are quotes"),
        pytest.param("A=b #c\n \t#B=1\n\nC=$A\\\n", [("A", "b #c", 1), ("C", "$A\\", 4)], id="comments are lines"),
        pytest.param(" \u00a0A=1", [("A", "1", 1)], id="blanks before the name are not"),
        pytest.param("\ufeffA=1\r\nB=2\r\n", [("A", "1", 1), ("B", "2", 2)], id="a file from Windows"),
        pytest.param("A=1\rB=2\n", [("A", "1\rB=2", 1)], id="a carriage return alone ends no line"),
        pytest.param("A=\nA-b==\n", [("A", "", 1), ("A-b", "=", 2)], id="set but empty, and a strange name"),
        pytest.param("A=1\nA\nB\nB=2\n", [("B", "2", 4)], id="passed on at last, and at first"),
    ],
)
def test_docker_reads(text: str, expected: list[tuple[str, str, int]]) -> None:
    assert assigned(text, DOCKER) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("A = b c \n", [("A", "b c", 1)], id="blanks around are dropped"),
        pytest.param("export A=1\nexport=2\n", [("A", "1", 1), ("export", "2", 2)], id="export"),
        pytest.param("A: b\n", [("A", "b", 1)], id="a colon"),
        pytest.param(
            "A=b #c\nB=b#c\nC= #c\nD=b\t#c\n", [("A", "b", 1), ("B", "b#c", 2), ("C", "#c", 3), ("D", "b\t#c", 4)]
        ),
        pytest.param("A='b' # c\nB='#' C=1\n", [("A", "b", 1), ("B", "#", 2), ("C", "1", 2)], id="behind a quote"),
        pytest.param("A='b\nc'\nB=1", [("A", "b\nc", 1), ("B", "1", 3)], id="quotes over two lines"),
        pytest.param("A='$B\\n\\'\\\\'", [("A", "$B\\n'\\\\", 1)], id="single quotes"),
        pytest.param('A="\\"\\\\\\$B$$\\n\\q\\c"', [("A", '"\\$B$\n\\q\\c', 1)], id="double quotes"),
        pytest.param('A="\\0101\\0251\\012\\0999"', [("A", "A\u00a9\\12\\999", 1)], id="octal numbers"),
        pytest.param("A=$$B\\$1 $ \\n\\", [("A", "$B\\$1 $ \\n\\", 1)], id="no escapes without quotes"),
        pytest.param("\ufeffA=1\r\nB='2'\r\n", [("A", "1", 1), ("B", "2", 2)], id="a file from Windows"),
        pytest.param("A=1\nA=x$B\nB=${C:-d}\nC\n", [], id="what depends on the environment of the command"),
        pytest.param("A=\udcff", [("A", "\ufffd", 1)], id="not UTF-8"),
    ],
)
def test_compose_reads(text: str, expected: list[tuple[str, str, int]]) -> None:
    assert assigned(text, COMPOSE) == expected


def test_systemd_reads_by_its_version() -> None:
    content = b"# a comment\\\nA=1\nexport B=2\n"
    assert [variable.name for variable in read(content, "f", SYSTEMD).assignments] == ["A"]
    assert read(content, "f", SYSTEMD, systemd_version=252).assignments == ()


def test_what_is_not_known_is_told_with_its_line() -> None:
    file = read(b"A=1\nA=x$SECRET\nB\nB=2\nC\n=3\n", "/srv/tyk.env", COMPOSE)
    assert [(ignored.line, ignored.name, ignored.reason) for ignored in file.ignored] == [
        (2, "A", "its value depends on other variables, which are looked up outside of this file too"),
        (5, "C", "its value is passed on from the environment of the command, which is not known here"),
        (6, "", "it names no variable"),
    ]
    assert [variable.origin for variable in file.assignments] == ["variable B in /srv/tyk.env line 4"]
    assert "SECRET" not in repr(file)


@pytest.mark.parametrize(
    ("kind", "text", "refused"),
    [
        (DOCKER, "A=1\nexport B=s3cret", "line 2 has a blank in the name that begins with the word export"),
        (DOCKER, "A =s3cret", "line 1 has a blank in the name"),
        (DOCKER, "=s3cret", "line 1 has no name before the equals sign"),
        (DOCKER, "# \udcff", "line 1 is not valid UTF-8"),
        (DOCKER, "A=1\nB=s3cret\0", "line 2 holds a NUL byte"),
        (DOCKER, f"A={'x' * LONGEST_DOCKER_LINE}", "line 1 is longer than 65535 bytes"),
        (COMPOSE, "A=1\nB='s3cret", "line 2 opens a quote that is never closed"),
        (COMPOSE, "A='1'\n\nB C=s3cret\n", "line 3 has a blank in a name"),
        (COMPOSE, "; s3cret\n", "line 1 has the character ; in a name"),
        (COMPOSE, "A='b'\"s3cret\"", 'line 1 has the character " in a name'),
        (COMPOSE, "A=1\nB=s3cret${}", "line 2 has ${ without the name of a variable and a closing brace"),
        (COMPOSE, "export ", "line 1 has nothing behind the word export"),
        (COMPOSE, "A=s3cret\0", "line 1 holds a NUL byte"),
        (SYSTEMD, "A=1\nB=s3cret\udcff", "line 2 is not valid UTF-8"),
        (SYSTEMD, "A=s3cret\0", "it holds a NUL byte"),
    ],
)
def test_refused_files(kind: str, text: str, refused: str) -> None:
    file = read(encode(text), "f", kind)
    assert file.refused == refused and file.assignments == ()
    remarks = EnvDocument(text, kind).remarks()
    assert [remark for remark in remarks if refused in remark and remark.endswith(". Correct that.")] == remarks != []
    assert SECRET not in str(remarks)


def test_a_line_of_docker_as_long_as_may_be() -> None:
    text = f"A={'x' * (LONGEST_DOCKER_LINE - 2)}\n"
    assert len(assigned(text, DOCKER)[0][1]) == LONGEST_DOCKER_LINE - 2


# -- editing -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_named_variables_change(kind: str) -> None:
    text = "# Redis\nA=1\n\n  B=2\nA=3\n#C=4\nD=5\n"
    document = EnvDocument(text, kind).edited({"E": "7", "A": "6", "D": None, "C": "8"})
    assert document.text == "# Redis\n\n  B=2\nA=6\n#C=4\nE=7\nC=8\n"
    assert document.names() == ("B", "A", "E", "C")
    assert (document.value("A"), document.value("D")) == ("6", None)


@pytest.mark.parametrize("kind", KINDS)
def test_line_breaks_of_windows_stay(kind: str) -> None:
    document = EnvDocument("A=1\r\nB=2\r\nC=3", kind).edited({"A": "x", "B": None, "D": "4"})
    assert document.text == "A=x\r\nC=3\r\nD=4\r\n"


@pytest.mark.parametrize(("kind", "text"), [(SYSTEMD, "A = 'b' \n"), (DOCKER, " A=b\r\n"), (COMPOSE, 'export A:"b"#c')])
def test_a_line_that_says_it_already_stays(kind: str, text: str) -> None:
    document = EnvDocument(text, kind)
    assert document.edited({"A": "b", "B": None}) is document


def test_what_is_written_twice_is_written_once() -> None:
    assert EnvDocument("A=1\nB=2\nA=1\n", DOCKER).edited({"A": "1"}).text == "B=2\nA=1\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("export A=1 # why\n", "export A=new # why\n", id="export and comment stay"),
        pytest.param("A='1'#c\n", "A='new'#c\n", id="a comment that would grow together with the value"),
        pytest.param("A='1' B=2\n", "A='new' B=2\n", id="the next variable on the same line"),
        pytest.param("B='2' A=1\n", "B='2' A=new\n", id="the variable before on the same line"),
        pytest.param("A: 1\n", "A=new\n", id="a colon"),
        pytest.param("A=\r\n", "A=new\r\n", id="empty"),
        pytest.param("A\nB=1", "A=new\nB=1", id="passed on"),
        pytest.param("A='x\ny'\nB=1", "A=new\nB=1", id="two lines"),
        pytest.param("\ufeffA=1\n", "\ufeffA=new\n", id="byte order mark"),
    ],
)
def test_compose_lines_replaced(text: str, expected: str) -> None:
    assert EnvDocument(text, COMPOSE).edited({"A": "new"}).text == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("C=3\n\texport A=1 # why\nB=2\n", "C=3\nB=2\n"),
        ("A='1' # why\nB=2\n", "B=2\n"),
        (" A='1' B=2\n", " B=2\n"),
        ("B='2' A='x\ny'\nC=3", "B='2' \nC=3"),
        ("\ufeffA=1\nB=2\n", "\ufeffB=2\n"),
        ("A\nB=2\nA", "B=2\n"),
    ],
)
def test_compose_lines_removed(text: str, expected: str) -> None:
    assert EnvDocument(text, COMPOSE).edited({"A": None}).text == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("A=1\\\n2\nB=3\n", "A=new\nB=3\n", id="a value over two lines"),
        pytest.param("A='1\n2' \"3\" \nB=3\n", "A=new\nB=3\n", id="a quoted value over two lines"),
        pytest.param("B=1\\", "B=1\\\n\nA=new\n", id="a backslash at the end"),
        pytest.param("# B\\\n", "# B\\\n\nA=new\n", id="a comment that an old systemd would let go on"),
        pytest.param("\ufeff", "\ufeff\nA=new\n", id="a byte order mark, which systemd takes for a name"),
        pytest.param("A=1\rB=2", "A=new\rB=2", id="a carriage return ends a line"),
    ],
)
def test_systemd_lines(text: str, expected: str) -> None:
    for version in (252, 255):
        assert EnvDocument(text, SYSTEMD, systemd_version=version).edited({"A": "new"}).text == expected


def test_lines_without_effect_are_neither_counted_nor_damaged_but_told() -> None:
    document = EnvDocument("export A=1\nB-C=2\nD\nE=3\n", SYSTEMD)
    assert document.names() == ("E",)
    assert document.remarks() == [
        "Line 1: systemd ignores export A, because systemd does not know the word export. Write NAME=value.",
        "Line 2: systemd ignores B-C, because its name is not made of letters, digits and underscores only. "
        "Write NAME=value.",
        "Line 3: systemd ignores D, because it has no equals sign. Write NAME=value.",
    ]
    assert document.edited({"A": "2", "E": None}).text == "export A=1\nB-C=2\nD\nA=2\n"
    docker = EnvDocument("export A=1\n", DOCKER)
    assert docker.remarks() == [
        "docker takes nothing from this file, because line 1 has a blank in the name that begins with the word export. "
        "Correct that."
    ]
    assert docker.edited({"A": "2"}).text == "export A=1\nA=2\n"
    assert EnvDocument("export A=1\nB\nC=$D\n", COMPOSE).remarks() == []
    assert EnvDocument("=1\n", COMPOSE).remarks() == [
        "Line 1: docker compose ignores this line, because it names no variable. Write NAME=value."
    ]


@pytest.mark.parametrize(
    ("kind", "value", "written"),
    [
        (SYSTEMD, "a:1,b@c%d+e/f=g.h-_", "a:1,b@c%d+e/f=g.h-_"),
        (SYSTEMD, "[::1]:6379", "'[::1]:6379'"),
        (SYSTEMD, ' "$X" \\', "' \"$X\" \\'"),
        (SYSTEMD, 'it\'s "$X" `\\', '"it\'s \\"\\$X\\" \\`\\\\"'),
        (SYSTEMD, "two\nlines", "'two\nlines'"),
        (DOCKER, ' it\'s "$X" \\#c ', ' it\'s "$X" \\#c '),
        (COMPOSE, "a:1,b@c%d+e/f=g.h-_", "a:1,b@c%d+e/f=g.h-_"),
        (COMPOSE, ' "$X ${Y} #\\n', "' \"$X ${Y} #\\n'"),
        (COMPOSE, "two\nlines", "'two\nlines'"),
        # Without quotes every release reads these alike, with double quotes only those since 1.16.0.
        (COMPOSE, "it's", "it's"),
        (COMPOSE, "C:\\", "C:\\"),
        (COMPOSE, "it's $X\\", '"it\'s \\$X\\\\"'),
        (COMPOSE, "'quoted'", "\"'quoted'\""),
        (COMPOSE, " \\", '" \\\\"'),
        (COMPOSE, '#"\\', '"#\\"\\\\"'),
    ],
)
def test_quoting(kind: str, value: str, written: str) -> None:
    document = EnvDocument("", kind).edited({"A": value})
    assert document.text == f"A={written}\n"
    assert document.value("A") == value


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        *[(kind, "", "The value of A is empty") for kind in KINDS],
        *[(kind, "s3cret\0", "The value of A holds a NUL character") for kind in KINDS],
        *[(kind, "s3cret\udcff", "The value of A holds what is no Unicode character") for kind in KINDS],
        *[(kind, "s3cret\ufdd0", "The value of A holds what is no Unicode character") for kind in KINDS],
        (DOCKER, "s3cret\n", "The value of A holds a line break"),
        (DOCKER, "s3cret\r", "The value of A holds a line break"),
        (DOCKER, "é" * 32767, "The line of A would be 65536 bytes long"),
    ],
)
def test_values_that_cannot_be_written(kind: str, value: str, message: str) -> None:
    with pytest.raises(EnvProblem, match=f"^{message}") as caught:
        EnvDocument("A=1\n", kind).edited({"B": "1", "A": value})
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        (
            SYSTEMD,
            "B='s3cret\nA=1\n",
            "Line 1: systemd takes the rest of the file for the value of B, because a quote is never closed. Close it.",
        ),
        (
            COMPOSE,
            "A=1\nB='s3cret\n",
            "docker compose takes nothing from this file, because line 2 opens a quote that is never closed. "
            "Correct that.",
        ),
        (COMPOSE, "A=1\ns3cret word", "Line 2 is neither a comment nor has it an equals sign. Correct that."),
    ],
)
@pytest.mark.parametrize("changes", [{"A": "2"}, {"C": "1"}])
def test_no_edit_where_lines_are_unclear(kind: str, text: str, message: str, changes: dict[str, str]) -> None:
    document = EnvDocument(text, kind)
    with pytest.raises(EnvProblem) as caught:
        document.edited(changes)
    assert str(caught.value) == message
    assert document.remarks() == [message]
    assert document.edited({"Z": None}) is document


def test_mistakes_of_the_programmer() -> None:
    with pytest.raises(ValueError, match=r"^'toml' is not one of the kinds systemd, docker, compose\.$"):
        EnvDocument("", "toml")
    for name in ("", "A-B", "A=B", "1A", "A\n"):
        with pytest.raises(ValueError, match=r"is not the name of an environment variable\.$"):
            EnvDocument("", DOCKER).edited({name: "1"})


def test_bytes_come_back() -> None:
    content = bytes(range(256))
    assert encode(decode(content)) == content


# -- properties --------------------------------------------------------------------------------------------------------

HOSTILE = [
    "'",
    '"',
    "\\",
    "$",
    "$$",
    "${X}",
    "#",
    " #",
    " ",
    "\t",
    "\r",
    "\n",
    "=",
    "`",
    "!",
    "%",
    "a",
    "é",
    "\u00a0",
    "\x01",
]
VALUE = st.lists(st.sampled_from(HOSTILE), min_size=1, max_size=8).map("".join) | st.text(
    st.characters(exclude_categories=["Cs", "Cn"], exclude_characters="\0"), min_size=1, max_size=20
)
LINES = [
    *("A=1", "A='x y'", "export A=2", "B='x' A='y' # c", "A", "A: 3", "A=b\\", "A=\"x\ny\"", "A=$B", "A=", "A = 1 "),
    *("B=1", "# A=1", "#\\", "; A", "", "  ", "C='z'#c", "D=\udcff", "export E='\\'", "F", "G H", "A='"),
]  # fmt: skip
TEXT = st.lists(st.tuples(st.sampled_from(LINES), st.sampled_from(["\n", "\n", "\r\n", "\r", ""])), max_size=6).map(
    lambda lines: "".join(line + end for line, end in lines)
)


@example(kind=COMPOSE, text="A='1'#c", value="x", other="y")
@example(kind=SYSTEMD, text="#\\", value=None, other="y")
@given(kind=st.sampled_from(KINDS), text=TEXT, value=st.none() | VALUE, other=VALUE)
def test_what_is_written_is_read_and_nothing_else_changes(kind: str, text: str, value: str | None, other: str) -> None:
    document = EnvDocument(text, kind)
    changes = {"A": value, "N": other}
    try:
        edited = document.edited(changes)
    except EnvProblem:
        unwritable = kind == DOCKER and set(f"{value}{other}") & set("\r\n")
        assert unwritable or document.remarks()
        return
    assert {name: edited.value(name) for name in changes} == changes
    assert edited.edited(changes) is edited
    untouched = [name for name in document.names() if name not in changes]
    assert [name for name in edited.names() if name not in changes] == untouched
    assert [edited.value(name) for name in untouched] == [document.value(name) for name in untouched]


# A line, and for which kinds it assigns A.
KNOWN_LINES = [
    *[(line, KINDS) for line in ("A=1", " \tA=1", "A=")],
    *[(line, (COMPOSE,)) for line in ("export A=1", "  export\tA=1")],
    *[(line, ()) for line in ("B=1", "  B='x y' ", "# A=1", "  # A=1", "", " \t", "AA=1", "export B=2", "B=\udcff")],
]


@given(
    kind=st.sampled_from(KINDS),
    lines=st.lists(st.tuples(st.sampled_from(KNOWN_LINES), st.sampled_from(["\n", "\r\n"])), max_size=8),
    value=st.none() | st.just("new"),
)
def test_other_lines_stay_byte_for_byte(
    kind: str, lines: list[tuple[tuple[str, tuple[str, ...]], str]], value: str | None
) -> None:
    own = [number for number, ((_line, kinds), _end) in enumerate(lines) if kind in kinds]
    expected = ""
    for number, ((line, _kinds), end) in enumerate(lines):
        if number not in own:
            expected += line + end
        elif value is not None and number == own[-1]:
            expected += line.partition("A=")[0] + "A=new" + end
    if value is not None and not own:
        expected += "A=new" + ("\r\n" if any(end == "\r\n" for _line, end in lines) else "\n")
    text = "".join(line + end for (line, _kinds), end in lines)
    assert EnvDocument(text, kind).edited({"A": value}).text == expected


@given(kind=st.sampled_from(KINDS), value=VALUE)
def test_taking_away_what_was_added_gives_the_text_back(kind: str, value: str) -> None:
    text = "# Redis\nA=1\n"
    try:
        added = EnvDocument(text, kind).edited({"B": value})
    except EnvProblem:
        assert kind == DOCKER
        return
    assert added.text.startswith(text)
    assert added.edited({"B": None}).text == text


@given(kind=st.sampled_from(KINDS), content=st.binary(max_size=60))
def test_no_content_is_too_strange(kind: str, content: bytes) -> None:
    file = read(content, "f", kind)
    lines = content.count(b"\n") + 1
    assert all(1 <= variable.line <= lines for variable in file.assignments)
    assert all(1 <= ignored.line <= lines for ignored in file.ignored)
    assert encode(EnvDocument(decode(content), kind).text) == content
