# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ansible_collections.apiops.tyk_redis.plugins.module_utils._json_document import (
    Edit,
    JsonDocument,
    JsonProblem,
    Put,
    Remove,
    decode,
    encode,
    fold,
)


def edited(text: str, *edits: Edit, levels: int = 2) -> str:
    once = JsonDocument(text, levels).edited(edits)
    twice = once.edited(edits)
    assert twice.text == once.text, "the second run changes something"
    return once.text


# -- what an edit looks like ---------------------------------------------------------------------------------------

SPACED = """\
{
    "first": 1e3,

    "store": {
        "kind": "old",
        "limit": 5
    },
    "last": [1.0, 12345678901234567890123]
}
"""


def test_only_the_value_changes() -> None:
    assert edited(SPACED, Put(("store", "limit"), 6)) == SPACED.replace("5\n", "6\n")


def test_a_new_key_goes_to_the_end_in_the_style_of_its_neighbours() -> None:
    assert edited(SPACED, Put(("store", "flag"), True)) == SPACED.replace(
        '"limit": 5\n', '"limit": 5,\n        "flag": true\n'
    )


def test_a_new_key_goes_beside_its_relatives() -> None:
    text = '{\n  "redis_a": 1,\n  "other": 2\n}'
    assert edited(text, Put(("redis_b",), 3, beside=frozenset({"redis_a"}))) == (
        '{\n  "redis_a": 1,\n  "redis_b": 3,\n  "other": 2\n}'
    )


def test_a_list_takes_a_line_for_each_item_where_the_object_does() -> None:
    assert edited('{\n\t"s": {\n\t\t"a": 1\n\t}\n}', Put(("s", "l"), ["x", "y"])) == (
        '{\n\t"s": {\n\t\t"a": 1,\n\t\t"l": [\n\t\t\t"x",\n\t\t\t"y"\n\t\t]\n\t}\n}'
    )


def test_a_list_on_one_line_stays_on_one_line() -> None:
    assert edited('{\n  "l": ["x"]\n}', Put(("l",), ["x", "y"])) == '{\n  "l": ["x", "y"]\n}'


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param("{}", '{"s": {"n": 1}}', id="nothing yet"),
        pytest.param("{\n}\n", '{\n  "s": {\n    "n": 1\n  }\n}\n', id="nothing yet, over two lines"),
        pytest.param('{"a":0}', '{"a":0,"s":{"n":1}}', id="compact"),
        pytest.param('{"a": 0}', '{"a": 0, "s": {"n": 1}}', id="one line"),
        pytest.param('{ "a" : 0 }', '{ "a" : 0, "s" : {"n" : 1} }', id="roomy"),
        pytest.param('{\n "a": 0\n}', '{\n "a": 0,\n "s": {\n  "n": 1\n }\n}', id="one blank"),
        pytest.param(
            '{\r\n\t"a": 0\r\n}\r\n', '{\r\n\t"a": 0,\r\n\t"s": {\r\n\t\t"n": 1\r\n\t}\r\n}\r\n', id="CRLF, tabs"
        ),
        pytest.param('{ "a": 0\n, "b": 0\n}', '{ "a": 0\n, "b": 0\n, "s": {"n": 1}\n}', id="commas in front"),
        pytest.param('{\n  "s": {}\n}', '{\n  "s": {\n    "n": 1\n  }\n}', id="an empty object"),
        pytest.param('{\n  "s": null\n}', '{\n  "s": {\n    "n": 1\n  }\n}', id="null is as good as nothing"),
        pytest.param('\n\n{"s":{}}   \n', '\n\n{"s":{\n  "n": 1\n}}   \n', id="blanks around"),
        pytest.param('{"S":{"N":2}}', '{"S":{"N":1}}', id="other capitals, edited in place"),
        pytest.param('{"\\u0073":{"\\u006e":2}}', '{"\\u0073":{"\\u006e":1}}', id="keys written with escapes"),
        pytest.param('{"\u017f":{"n":2}}', '{"\u017f":{"n":1}}', id="the long s, which Go takes for an s"),
    ],
)
def test_the_style_of_the_text_is_kept(before: str, after: str) -> None:
    if before.startswith("\n\n"):
        # Several lines around an object on one line: either layout is right, what counts is what it says.
        assert json.loads(edited(before, Put(("s", "n"), 1))) == json.loads(after)
    else:
        assert edited(before, Put(("s", "n"), 1)) == after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param('{"a": 1, "b": 2, "c": 3}', '{"b": 2, "c": 3}', id="the first"),
        pytest.param('{\n  "b": 2,\n  "a": null\n}', '{\n  "b": 2\n}', id="the last"),
        pytest.param('{\n  "x": 1,\n  "a": {"a": [1]},\n  "b": 2\n}', '{\n  "x": 1,\n  "b": 2\n}', id="in the middle"),
        pytest.param('{\n  "a": 1\n}', "{}", id="the only one"),
        pytest.param('{"a": 1, "b": {"a": 1}, "A": 2, "a": 3}', '{"b": {"a": 1}}', id="every one, in any capitals"),
        pytest.param('{"b": 1}', '{"b": 1}', id="none"),
    ],
)
def test_remove(before: str, after: str) -> None:
    assert edited(before, Remove(("a",))) == after


def test_remove_below_nothing_makes_nothing() -> None:
    assert edited('{"b": 1}', Remove(("a", "b"))) == '{"b": 1}'
    assert edited('{"a": 5}', Remove(("a", "b"))) == '{"a": 5}'


def test_only_present_changes_what_is_there_and_adds_nothing() -> None:
    edits = (Put(("s", "old"), True, only_present=True), Put(("t", "old"), True, only_present=True))
    assert edited('{"s": {"old": false}}', *edits) == '{"s": {"old": true}}'


@pytest.mark.parametrize(
    ("raw", "value", "same"),
    [
        ('"x"', "x", True),
        ('"\\u0078"', "x", True),
        ('"\\ud83d\\ude00"', "\U0001f600", True),
        ("5", 5, True),
        ("5.0", 5, False),
        ("50e-1", 5, False),
        ('"5"', 5, False),
        ("1", True, False),
        ("true", True, True),
        ("true", 1, False),
        ("null", "", False),
        ('[ "a" ,"b" ]', ["a", "b"], True),
        ('["b", "a"]', ["a", "b"], False),
        ("[1]", ["1"], False),
        ("[]", [], True),
        ("{}", [], False),
        ("9" * 5000, 5, False),
        ("[" + "9" * 5000 + "]", ["x"], False),
        ("[" * 3000 + "]" * 3000, ["x"], False),
    ],
)
def test_a_value_is_rewritten_only_when_the_program_would_read_another(raw: str, value: Any, same: bool) -> None:
    text = f'{{"k": {raw}}}'
    document = JsonDocument(text)
    assert document.equals(("k",), value) is same
    assert (edited(text, Put(("k",), value)) == text) is same


def test_reading() -> None:
    document = JsonDocument('{"Store": {"Addrs": ["a"], "n": 1.50}, "deep": ' + "[" * 3000 + "]" * 3000 + "}")
    assert document.has(("store", "addrs"))
    assert not document.has(("store", "other"))
    assert document.spelled(("store", "addrs")) == ["Addrs"]
    assert document.value(("store", "addrs")) == ["a"]
    assert document.value(("store", "n")) == ("number", "1.50")
    # How deep Python's own decoder goes differs from version to version; what counts is that it cannot fail here.
    assert document.value(("deep",)) is None or document.has(("deep",))
    assert document.value(("none",)) is None
    assert document.raw(("none",)) is None
    assert document.keys(("store",)) == ["Addrs", "n"]
    assert document.keys() == ["Store", "deep"]


def test_an_object_can_be_a_value() -> None:
    hosts = Put(("store", "hosts"), {"a": "1", 'quo"te': "2"})
    assert edited('{"store": {}}', hosts) == '{"store": {"hosts": {"a": "1", "quo\\"te": "2"}}}'
    assert edited('{\n  "store": {\n    "x": 1\n  }\n}', hosts) == (
        '{\n  "store": {\n    "x": 1,\n    "hosts": {\n      "a": "1",\n      "quo\\"te": "2"\n    }\n  }\n}'
    )
    # What says the same stays as it is written.
    same = '{"store": {"hosts": { "quo\\u0022te":"2", "a":"1" }}}'
    assert edited(same, hosts) == same
    assert edited('{"store": {"hosts": ["a:1"]}}', Put(("store", "hosts"), {})) == '{"store": {"hosts": {}}}'


def test_paths_are_limited_to_the_levels_that_were_noted() -> None:
    document = JsonDocument("{}", levels=2)
    with pytest.raises(ValueError, match="1 to 2 keys"):
        document.has(("a", "b", "c"))
    with pytest.raises(ValueError, match="1 to 2 keys"):
        document.edited([Remove(())])


# -- what is refused -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "line", "column", "words"),
    [
        pytest.param("", 0, 0, "the file is empty", id="empty"),
        pytest.param(" \r\n\t", 0, 0, "the file is empty", id="only blanks"),
        pytest.param("port = 6379\n", 1, 1, "this is not JSON", id="not JSON"),
        pytest.param("---\nport: 6379\n", 1, 1, "this is not JSON", id="YAML"),
        pytest.param("[]", 1, 1, "the top level is a list", id="a list"),
        pytest.param('"x"', 1, 1, "the top level is a string", id="a string"),
        pytest.param(" 12", 1, 2, "the top level is a number", id="a number"),
        pytest.param("null", 1, 1, "the top level is null", id="null"),
        pytest.param('{\n  "a": 1 // one\n}', 2, 10, "a comment begins here", id="a comment with slashes"),
        pytest.param('/* tyk */\n{"a": 1}', 1, 1, "a comment begins here", id="a comment at the beginning"),
        pytest.param('{"a": 1,\n# x\n"b": 2}', 2, 1, "a comment begins here", id="a comment with a hash"),
        pytest.param('{"a": 1}\n// bye\n', 2, 1, "a comment begins here", id="a comment at the end"),
        pytest.param('{"a": 1}\n{"b": 2}', 2, 1, "text follows after the end", id="two objects"),
        pytest.param('{"a": 1}}', 1, 9, "text follows after the end", id="a brace too many"),
        pytest.param('{"a": 1,}', 1, 9, "a comma has nothing after it", id="a trailing comma"),
        pytest.param('{"a": [1,\n]}', 2, 1, "a comma has nothing after it", id="a trailing comma in a list"),
        pytest.param('{"a": NaN}', 1, 7, "NaN and Infinity do not exist", id="NaN"),
        pytest.param('{"a": [-Infinity]}', 1, 8, "NaN and Infinity do not exist", id="Infinity"),
        pytest.param('{"a": 01}', 1, 8, "without leading zeros", id="a leading zero"),
        pytest.param('{"a": +1}', 1, 7, "or plus sign", id="a plus sign"),
        pytest.param("{'a': 1}", 1, 2, "a key in double quotes", id="single quotes"),
        pytest.param('{"a" 1}', 1, 6, "a colon is needed", id="no colon"),
        pytest.param('{"a": 1 "b": 2}', 1, 9, "a comma or a closing brace", id="no comma"),
        pytest.param('{"a": [1 2]}', 1, 10, "a comma or a closing bracket", id="no comma between numbers"),
        pytest.param('{"a": ["x" "y"]}', 1, 12, "a comma or a closing bracket", id="no comma in a list"),
        pytest.param('{"a": tru}', 1, 7, "a value is needed", id="no such word"),
        pytest.param('{"a": [}', 1, 8, "a value or a closing bracket", id="brackets crossed"),
        pytest.param('{"a": "x', 1, 7, "does not end", id="a string without end"),
        pytest.param('{"a": "x\ny"}', 1, 9, "a control character", id="a line break in a string"),
        pytest.param('{"a": "\\x"}', 1, 8, "an escape that JSON does not know", id="an unknown escape"),
        pytest.param('{"a": [1', 1, 9, "ends in the middle", id="cut off"),
        pytest.param('{"a": 1', 1, 8, "ends in the middle", id="cut off without bracket"),
        pytest.param('{"a": \u00a01}', 1, 7, "a value is needed", id="a blank that is none"),
        pytest.param('{"a":' + "[" * 10000 + "]" * 10000 + "}", 1, 10005, "nested deeper than 10000", id="too deep"),
    ],
)
def test_what_is_no_json_object_is_refused_with_its_place(text: str, line: int, column: int, words: str) -> None:
    with pytest.raises(JsonProblem, match=words) as caught:
        JsonDocument(text)
    assert (caught.value.line, caught.value.column) == (line, column)
    assert str(caught.value).endswith(".")


@pytest.mark.parametrize(
    ("text", "line", "column", "words"),
    [
        pytest.param(
            '{"s": {"k": 1},\n "s": {}}',
            2,
            2,
            "s is there 2 times .line 1, column 2 and line 2, column 2;",
            id="objects",
        ),
        pytest.param('{"s": {"k": 1}, "S": {}}', 1, 17, "s is there 2 times", id="objects in other capitals"),
        pytest.param('{"s": {"k": 1, "K": 1}}', 1, 16, "s.k is there 2 times", id="values, although equal"),
        pytest.param('{"s": [1]}', 1, 7, "s is a list, and an object is needed", id="a list for an object"),
        pytest.param('{"s": "x"}', 1, 7, "s is a string, and an object is needed", id="a string for an object"),
        pytest.param('{"s": 1}', 1, 7, "s is a number, and an object is needed", id="a number for an object"),
        pytest.param('{"s": true}', 1, 7, "s is a boolean, and an object is needed", id="a boolean for an object"),
    ],
)
def test_an_edit_that_would_be_ambiguous_is_refused_with_its_place(
    text: str, line: int, column: int, words: str
) -> None:
    document = JsonDocument(text)
    with pytest.raises(JsonProblem, match=words) as caught:
        document.edited([Put(("s", "k"), 1)])
    assert (caught.value.line, caught.value.column) == (line, column)


def test_duplicates_elsewhere_are_kept() -> None:
    text = '{"a": 1, "a": 2, "s": {"x": 1, "x": {}, "k": 0}, "A": 3}'
    assert edited(text, Put(("s", "k"), 1)) == text.replace('"k": 0', '"k": 1')


# -- bytes ---------------------------------------------------------------------------------------------------------


def test_a_byte_order_mark_is_dropped_and_told() -> None:
    assert decode(b"\xef\xbb\xbf{}") == ("{}", True)
    assert decode(b"{}") == ("{}", False)


@pytest.mark.parametrize(
    "data", ["{}".encode("utf-16"), b"\xfe\xff\x00{\x00}"], ids=["little end first", "big end first"]
)
def test_utf_16_is_refused(data: bytes) -> None:
    with pytest.raises(JsonProblem, match=r"the file is UTF-16 text.*iconv"):
        decode(data)


def test_bytes_that_are_no_utf_8_are_kept() -> None:
    data = b'{"name": "Z\xfcrich", "k": 1}'
    text, _marked = decode(data)
    assert encode(edited(text, Put(("k",), 2))) == data.replace(b"1", b"2")


def test_what_is_written_is_ascii_whatever_the_file_is_encoded_in() -> None:
    assert edited('{"k": 1}', Put(("k",), 'p"\\\u00e4\U0001f600\n')) == '{"k": "p\\"\\\\\\u00e4\\ud83d\\ude00\\n"}'


def test_lone_surrogates_stay_as_they_are() -> None:
    text = '{"a": "\\ud800", "\\udfff": 1, "k": 1}'
    assert edited(text, Put(("k",), 2)) == text.replace('"k": 1', '"k": 2')


# -- size ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [200, 5000, 9999])
def test_depth_needs_no_recursion(depth: int) -> None:
    text = '{"x": ' + '{"y": ' * (depth - 1) + "[]" + "}" * (depth - 1) + ', "s": {"k": 1}}'
    assert edited(text, Put(("s", "k"), 2)) == text.replace('"k": 1', '"k": 2')


@pytest.mark.parametrize(
    "middle",
    [
        pytest.param("[" + ", ".join(["1e5"] * 2_000_000) + "]", id="a long list"),
        pytest.param('"' + "\\n" * 5_000_000 + '"', id="a long string of escapes"),
        pytest.param(" " * 10_000_000 + "1", id="many blanks"),
    ],
)
def test_ten_megabytes_do_not_hang_it(middle: str) -> None:
    text = '{"x": ' + middle + ', "s": {"k": 1}}'
    assert len(text) >= 10_000_000
    changed = JsonDocument(text).edited([Put(("s", "k"), 2)]).text
    assert len(changed) == len(text)
    assert changed.endswith('{"k": 2}}')


def test_a_fault_at_the_end_of_a_deep_document_is_found_without_trying_again_at_every_level() -> None:
    text = '{"x": ' + "[" * 500 + "1, " * 100_000 + "NaN" + "]" * 500 + "}"
    with pytest.raises(JsonProblem, match="NaN and Infinity"):
        JsonDocument(text)


# -- any document --------------------------------------------------------------------------------------------------

BLANKS = st.sampled_from(["", " ", "\n", "\n  ", "\r\n\t", "  "])
STRINGS = st.one_of(
    st.text(st.characters(blacklist_categories=("Cs",)), max_size=6).map(
        lambda text: json.dumps(text, ensure_ascii=False)
    ),
    st.text(max_size=6).map(json.dumps),
)
KEYS = st.one_of(
    st.sampled_from(['"s"', '"S"', '"k"', '"K"', '"t"', '"\\u006b"', '"\u017f"', '"\u212a"', '"x"', '"y"', '"z"']),
    STRINGS,
)
NUMBERS = st.sampled_from(["0", "-0", "1e3", "1.0", "-1.5E-7", "12345678901234567890123", "1e999"])
SCALARS = st.one_of(NUMBERS, STRINGS, st.sampled_from(["true", "false", "null"]))


def containers(children: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    lists = st.lists(st.tuples(BLANKS, children, BLANKS).map("".join), max_size=3).map(
        lambda items: f"[{','.join(items)}]"
    )
    return st.one_of(lists, objects(children))


def objects(children: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    member = st.tuples(BLANKS, KEYS, BLANKS, st.just(":"), BLANKS, children, BLANKS).map("".join)
    return st.one_of(
        st.lists(member, max_size=5).map(lambda members: "{" + ",".join(members) + "}"),
        BLANKS.map(lambda b: "{" + b + "}"),
    )


VALUES = st.recursive(SCALARS, containers, max_leaves=12)
DOCUMENTS = st.tuples(BLANKS, objects(VALUES), BLANKS).map("".join)
PATHS = st.sampled_from([("k",), ("s", "k"), ("s", "x"), ("t", "k"), ("s", "y"), ("y",)])
WANTED = st.one_of(
    st.integers(-5, 10**20),
    st.booleans(),
    st.text(st.characters(blacklist_categories=("Cs",)), max_size=5),
    st.lists(st.text(max_size=3), max_size=3).map(lambda items: [item for item in items if item.isascii()]),
)
EDITS = st.lists(
    st.one_of(
        st.builds(Put, PATHS, WANTED, st.frozensets(st.sampled_from(["k", "x"])), st.booleans()),
        st.builds(Remove, PATHS),
    ),
    min_size=1,
    max_size=4,
    unique_by=lambda edit: edit.path,
)

Pairs = list[tuple[str, Any]]


def pairs(text: str) -> Pairs:
    """The document with every key and every number as written, duplicates included."""
    loaded: Pairs = json.loads(text, object_pairs_hook=lambda found: ["object", *found], parse_float=str, parse_int=str)
    return loaded[1:]


def without(members: Pairs, paths: set[tuple[str, ...]]) -> Pairs:
    """What is left when the keys at these paths, and objects made for them, are not looked at."""
    left: Pairs = []
    for key, value in members:
        below = {path[1:] for path in paths if len(path) > 1 and path[0] == fold(key)}
        if (fold(key),) in paths:
            continue
        if below and isinstance(value, list) and value[:1] == ["object"]:
            value = without(value[1:], below)
        if not (below and value in ([], None)):
            left.append((key, value))
    return left


@settings(max_examples=400, deadline=None)
@given(DOCUMENTS, EDITS)
@example('{"s":{"k":1},"x":1}', [Remove(("s", "k"))])
def test_any_document_changes_only_where_it_is_edited(text: str, edits: list[Edit]) -> None:
    document = JsonDocument(text)
    try:
        after = document.edited(edits)
    except JsonProblem as problem:
        assert "times" in str(problem) or "an object is needed" in str(problem)
        return
    paths = {tuple(fold(key) for key in edit.path) for edit in edits}
    assert without(pairs(after.text), paths) == without(pairs(text), paths)
    for edit in edits:
        if isinstance(edit, Remove):
            assert not after.has(edit.path)
        elif not edit.only_present or after.has(edit.path):
            assert after.equals(edit.path, edit.value)
    assert after.edited(edits).text == after.text
    for where in ((), ("s",)):
        for key in document.keys(where):
            path = (*where, key)
            if not any(tuple(map(fold, path)) == other[: len(path)] for other in paths):
                assert after.raw(path) == document.raw(path), "the spelling of a value has changed"
    # What Python reads with its own decoder is what the editor reads.
    assert JsonDocument(after.text, levels=9).keys() == [key for key, _value in pairs(after.text)]


@settings(max_examples=200, deadline=None)
@given(DOCUMENTS)
def test_no_edit_that_changes_something_leaves_every_character(text: str) -> None:
    document = JsonDocument(text)
    assert document.edited([]).text == text
    assert document.edited([Remove(("no such key",))]).text == text


@settings(max_examples=400, deadline=None)
@given(
    DOCUMENTS, st.integers(0, 200), st.sampled_from(['"', "{", "}", "[", "]", ",", ":", "1", "\\", "n", "/", "\n", ""])
)
def test_a_damaged_document_is_accepted_or_refused_exactly_as_json_says(text: str, where: int, what: str) -> None:
    damaged = text[:where] + what + text[where + 1 :]

    def refuse(name: str) -> None:
        raise ValueError(name)

    try:
        right = isinstance(json.loads(damaged, parse_constant=refuse), dict)
    except ValueError:
        right = False
    for levels in (1, 2, 9):
        try:
            JsonDocument(damaged, levels)
            accepted = True
        except JsonProblem as problem:
            accepted = False
            assert damaged.strip(" \t\r\n") == "" or problem.line > 0
        assert accepted is right
