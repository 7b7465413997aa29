# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Changes named keys of a JSON text and leaves every other character as it was. No I/O; private to this collection.

Loading and dumping would be shorter, and would re-order, re-indent and re-spell a file that belongs to somebody else:
C(1e3) becomes C(1000.0), escapes are lost, of two equal keys one disappears. So the text itself is edited. It is read
the way the programs read it that this is for, which is Go's encoding/json:

* keys match without regard to case (and the two non-ASCII letters that fold to k and s count as k and s),
* of several equal keys the last one wins, and duplicate objects merge,
* nesting deeper than 10000 is refused, and so are comments, trailing commas, NaN and a byte order mark.

Where duplicate keys would make an edit ambiguous, the edit is refused; duplicates elsewhere are none of its business.
The parser keeps its own stack, so depth costs no recursion, and looks at every character once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Union

Scalar = Union[str, int, bool]
Value = Union[Scalar, list[str], dict[str, str]]
Path = tuple[str, ...]

# encoding/json of Go: maxNestingDepth in scanner.go.
MAX_DEPTH = 10000

_BOM = b"\xef\xbb\xbf"
_OTHER_BOMS = ((b"\xff\xfe", "UTF-16"), (b"\xfe\xff", "UTF-16"))

_TOKEN = re.compile(
    r"""[ \t\n\r]*(?:
        (?P<mark>[{}\[\]:,])
      | (?P<plain>"[^"\\\x00-\x1f]*")
      | (?P<number>-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?)
      | (?P<word>true|false|null)
      | (?P<quote>")
    )""",
    re.VERBOSE,
)
_BLANK = re.compile(r"[ \t\n\r]*")
_NUMBER_STARTS = re.compile(r"[-+.]?(?:[0-9]|NaN|Inf)|NaN|Inf")
# Numbers are kept as text: Python refuses to convert very long ones, and nobody here calculates with them.
_DECODER = json.JSONDecoder(parse_int=lambda text: ("number", text), parse_float=lambda text: ("number", text))


def _no_constant(name: str) -> None:
    """Python's scanner takes NaN and Infinity unless it is told not to."""
    raise ValueError(name)


_SKIPPER = json.JSONDecoder(parse_int=len, parse_float=len, parse_constant=_no_constant)

# The letters outside ASCII that Go's case folding takes for ASCII ones (strings.EqualFold): Kelvin and the long s.
_FOLDED = str.maketrans({"\u212a": "k", "\u017f": "s"})

_KINDS = {"{": "an object", "[": "a list", '"': "a string", "t": "a boolean", "f": "a boolean", "n": "null"}


class JsonProblem(ValueError):
    """The text is not what it must be; says where (line and column count from 1) and what to do."""

    def __init__(self, message: str, line: int = 0, column: int = 0) -> None:
        place = f"line {line}, column {column}: " if line else ""
        super().__init__(f"{place}{message}")
        self.message = message
        self.line = line
        self.column = column


@dataclass(frozen=True)
class Put:
    """Gives the key at C(path) a value; objects on the way are made when they are missing.

    A new key goes behind the last of the keys C(beside) that its object has, else to the object's end. With
    C(only_present) a key that is not there stays away.
    """

    path: Path
    value: Value
    beside: frozenset[str] = frozenset()
    only_present: bool = False


@dataclass(frozen=True)
class Remove:
    """Takes away every key at C(path), in whatever case it is written."""

    path: Path


Edit = Union[Put, Remove]


@dataclass
class _Member:
    key: str
    key_start: int
    key_end: int
    value: _Node


@dataclass
class _Node:
    """A value in the text; C(members) only for objects near enough to the top to be edited."""

    start: int
    end: int = -1
    members: list[_Member] | None = None


@dataclass
class _Piece:
    """One member of an object as text: blanks, key, colon with its blanks, value, blanks up to the comma or brace."""

    key: str
    lead: str
    name: str
    colon: str
    value: str
    trail: str
    node: _Node | None


@dataclass
class _Change:
    """What edits do to one object: values for its own keys, keys to drop, and what happens further down."""

    puts: list[tuple[str, Put]] = field(default_factory=list)
    removes: list[str] = field(default_factory=list)
    below: dict[str, _Change] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)

    @property
    def makes_something(self) -> bool:
        own = any(not put.only_present for _key, put in self.puts)
        return own or any(change.makes_something for change in self.below.values())


def fold(key: str) -> str:
    """The form in which Go compares keys."""
    return key.translate(_FOLDED).lower()


def decode(data: bytes) -> tuple[str, bool]:
    """Bytes of a file as text, and whether a byte order mark was dropped.

    Bytes that are not UTF-8 are kept: Go reads them as replacement characters, L(encode) gives them back as they were.
    """
    for mark, name in _OTHER_BOMS:
        if data.startswith(mark):
            raise JsonProblem(
                f"the file is {name} text, and Tyk reads only UTF-8. Convert it, for example with "
                f"iconv -f {name} -t UTF-8."
            )
    marked = data.startswith(_BOM)
    return (data[len(_BOM) :] if marked else data).decode("utf-8", "surrogateescape"), marked


def encode(text: str) -> bytes:
    """The reverse of L(decode)."""
    return text.encode("utf-8", "surrogateescape")


class JsonDocument:
    """A JSON text whose top level is an object, checked from its first to its last character.

    C(levels) says how deep paths may go: 2 reaches C(storage.addrs). Nothing is
    remembered about what lies deeper, so that a large document costs time in proportion to its size and hardly any
    memory.
    """

    def __init__(self, text: str, levels: int = 4) -> None:
        self.text = text
        self._levels = levels
        self._root = _Parser(text, levels).parse()

    # -- reading -------------------------------------------------------------------------------------------------

    def has(self, path: Path) -> bool:
        """Whether the key exists, in whatever case."""
        return bool(self._find(path))

    def raw(self, path: Path) -> str | None:
        """The value's own text; of several equal keys the last one's, None when there is none."""
        found = self._find(path)
        return self._source(found[-1].value) if found else None

    def spelled(self, path: Path) -> list[str]:
        """The last key of the path as the file writes it, once for each occurrence."""
        return [member.key for member in self._find(path)]

    def value(self, path: Path) -> Any:
        """The decoded value, numbers as C(("number", text)).

        None for null, for no such key, and for what is nested too deeply for Python to hold.
        """
        raw = self.raw(path)
        if raw is None:
            return None
        try:
            return _DECODER.decode(raw)
        except RecursionError:
            return None

    def equals(self, path: Path, value: Value) -> bool:
        """Whether the component would read exactly this value: a number as text or 1.0 for 1 is something else."""
        raw = self.raw(path)
        return raw is not None and _same(raw, value)

    def keys(self, path: Path = ()) -> list[str]:
        """The keys of an object as they are written; empty when there is no object there."""
        return [member.key for node in self._objects(path) for member in node.members or []]

    def _source(self, node: _Node) -> str:
        return self.text[node.start : node.end]

    def _objects(self, path: Path) -> list[_Node]:
        nodes = [self._root]
        for key in path:
            nodes = [member.value for node in nodes for member in _matching(node, key)]
        return nodes

    def _find(self, path: Path) -> list[_Member]:
        if not path or len(path) > self._levels:
            raise ValueError(f"a path of 1 to {self._levels} keys is needed, not {path!r}")
        return [member for node in self._objects(path[:-1]) for member in _matching(node, path[-1])]

    # -- editing -------------------------------------------------------------------------------------------------

    def edited(self, edits: Iterable[Edit]) -> JsonDocument:
        """A document with these edits made; the same text when there is nothing to change."""
        change = _Change()
        for edit in edits:
            if not edit.path or len(edit.path) > self._levels:
                raise ValueError(f"a path of 1 to {self._levels} keys is needed, not {edit.path!r}")
            place = change
            for key in edit.path[:-1]:
                place.names.setdefault(fold(key), key)
                place = place.below.setdefault(fold(key), _Change())
            if isinstance(edit, Put):
                place.puts.append((edit.path[-1], edit))
            else:
                place.removes.append(edit.path[-1])
        unit = _indent_unit(self.text, self._root)
        body = _Editor(self, unit).object_text(self._root, change, ())
        text = self.text[: self._root.start] + body + self.text[self._root.end :]
        return self if text == self.text else JsonDocument(text, self._levels)

    def place(self, offset: int) -> tuple[int, int]:
        """Line and column of an offset, both from 1."""
        return _place(self.text, offset)


class _Parser:
    """Checks the syntax of a whole text with one loop and a stack, and notes members of the uppermost objects."""

    def __init__(self, text: str, levels: int) -> None:
        self._text = text
        self._levels = levels
        self._fast = True

    def parse(self) -> _Node:
        text = self._text
        if not text.strip(" \t\r\n"):
            raise JsonProblem(
                "the file is empty, and a JSON object is needed. Restore it, or remove it to have it made anew."
            )
        match = _TOKEN.match(text)
        if match and match.lastgroup and text[match.start(match.lastgroup)] != "{":
            start = match.start(match.lastgroup)
            kind = _KINDS.get(text[start], "a number")
            if text[start] not in "}]:,":
                raise self._problem(start, f"the top level is {kind}, and an object in braces is needed.")
        root = self._scan()
        rest = _BLANK.match(text, root.end)
        end = rest.end() if rest else root.end
        if end < len(text):
            if text.startswith(("/", "#"), end):
                raise self._unexpected(end)
            raise self._problem(
                end,
                "text follows after the end of the JSON object. The Gateway would ignore it silently and Pump would "
                "refuse the file: remove it.",
            )
        return root

    def _scan(self) -> _Node:
        """Read one value, which is all the text but blanks and whatever follows."""
        text = self._text
        match_token = _TOKEN.match
        # For every open bracket: is it an object, its node when noted, and the key that waits for its value.
        stack: list[tuple[bool, _Node | None]] = []
        pending: list[_Member | None] = []
        root: _Node | None = None
        position = 0
        # What may come next: v a value, V a value or "]", k a key, K a key or "}", : a colon, e a comma or the end.
        expect = "v"
        while True:
            match = match_token(text, position)
            if match is None:
                closing = "}" if stack and stack[-1][0] else "]"
                raise self._unexpected(_skip_blanks(text, position), closing if expect == "e" else expect)
            kind = match.lastgroup or ""
            start = match.start(kind)
            position = match.end()
            character = text[start]
            key: str | None = None
            if kind == "quote":
                key, position = self._escaped_string(start)
                kind = "plain"
            if expect in "kK":
                if kind == "plain":
                    noted = stack[-1][1]
                    if noted is not None:
                        name = text[start + 1 : position - 1] if key is None else key
                        pending[-1] = _Member(name, start, position, _Node(-1))
                    expect = ":"
                    continue
                if not (character == "}" and expect == "K"):
                    raise self._unexpected(start, expect)
            elif expect == ":":
                if character != ":":
                    raise self._unexpected(start, expect)
                expect = "v"
                continue
            elif expect == "e":
                if character == ",":
                    expect = "k" if stack[-1][0] else "v"
                    continue
                if not (character == "}" and stack[-1][0]) and not (character == "]" and not stack[-1][0]):
                    raise self._unexpected(start, "}" if stack[-1][0] else "]")
            elif kind == "mark" and character in ("}:," if expect == "V" else "]}:,"):
                raise self._unexpected(start, expect)
            # Here is a value, or the end of an object or list.
            if kind == "mark" and character in "{[":
                if len(stack) >= MAX_DEPTH:
                    raise self._problem(start, f"values are nested deeper than {MAX_DEPTH}, which Go refuses to read.")
                noted = None
                if root is None:
                    noted = root = _Node(start)
                else:
                    member = pending[-1]
                    if member is not None:
                        noted = member.value
                        noted.start = start
                is_object = character == "{"
                if noted is not None and is_object and len(stack) < self._levels:
                    noted.members = []
                else:
                    noted = None
                    end = self._fast_end(start)
                    if end:
                        position = end
                        self._end_value(stack, pending, start, position)
                        expect = "e"
                        continue
                stack.append((is_object, noted))
                pending.append(None)
                expect = "K" if is_object else "V"
                continue
            if kind == "mark":
                stack.pop()
                pending.pop()
                if not stack and root is not None:
                    root.end = position
                    return root
            self._end_value(stack, pending, start, position)
            expect = "e"

    @staticmethod
    def _end_value(stack: list[tuple[bool, _Node | None]], pending: list[_Member | None], start: int, end: int) -> None:
        """Keep the value that has ended when its object is noted."""
        member, owner = pending[-1], stack[-1][1]
        if member is None:
            return
        if member.value.start < 0:
            member.value.start = start
        member.value.end = end
        if owner is not None and owner.members is not None:
            owner.members.append(member)
        pending[-1] = None

    def _fast_end(self, start: int) -> int:
        """The end of an object or list that nobody looks into, found by Python's C scanner; 0 when that fails.

        It fails for what is wrong or nested too deeply for it. Then this class goes on by itself to the end, since it
        knows no depth and says what is wrong; trying again further in could take a time that grows with the square.
        """
        if not self._fast:
            return 0
        try:
            _value, end = _SKIPPER.raw_decode(self._text, start)
        except (ValueError, RecursionError):
            self._fast = False
            return 0
        return end

    def _escaped_string(self, start: int) -> tuple[str, int]:
        try:
            value, end = _DECODER.raw_decode(self._text, start)
        except json.JSONDecodeError as exc:
            if exc.msg.startswith("Unterminated"):
                raise self._problem(start, "a string begins here and does not end.") from None
            if exc.msg.startswith("Invalid control"):
                raise self._problem(
                    exc.pos, "a string holds a control character, such as a line break. Write it as an escape like \\n."
                ) from None
            raise self._problem(
                exc.pos, "a string holds an escape that JSON does not know. Write a backslash as \\\\."
            ) from None
        return str(value), end

    def _unexpected(self, position: int, expect: str = "") -> JsonProblem:
        text = self._text
        if position >= len(text):
            return self._problem(len(text), "the text ends in the middle of the JSON. Restore the rest of the file.")
        if text.startswith(("//", "/*", "#"), position):
            return self._problem(
                position, "a comment begins here, and JSON has none: Tyk would not read the file. Remove it."
            )
        character = text[position]
        if not text[:position].strip(" \t\r\n"):
            return self._problem(position, f"this is not JSON: an object in braces is needed, not {character!a}.")
        if character in "}]" and expect in {"k", "v"} and text[:position].rstrip(" \t\r\n").endswith(","):
            return self._problem(position, "a comma has nothing after it. Remove the comma before this bracket.")
        if _NUMBER_STARTS.match(text, position) and (expect in {"v", "V"} or text[position - 1].isdigit()):
            return self._problem(
                position,
                "this is not a value of JSON: numbers are decimal without leading zeros or plus sign, and NaN and "
                "Infinity do not exist.",
            )
        wanted = {
            "k": "a key in double quotes",
            "K": "a key in double quotes or a closing brace",
            ":": "a colon",
            "v": "a value",
            "V": "a value or a closing bracket",
            "}": "a comma or a closing brace",
            "]": "a comma or a closing bracket",
        }.get(expect, "JSON")
        return self._problem(position, f"{wanted} is needed here, and the text goes on with {character!a}.")

    def _problem(self, position: int, message: str) -> JsonProblem:
        return JsonProblem(message, *_place(self._text, position))


class _Editor:
    """Puts the text of changed objects together again, each piece of it as it was unless an edit says otherwise."""

    def __init__(self, document: JsonDocument, unit: str) -> None:
        self._document = document
        self._text = document.text
        self._unit = unit

    def object_text(self, node: _Node, change: _Change, where: Path) -> str:
        pieces, inner = self._pieces(node)
        for key, put in change.puts:
            self._put(pieces, node, key, put, where)
        for folded, below in change.below.items():
            self._below(pieces, node, change.names[folded], below, where)
        for key in change.removes:
            _drop(pieces, fold(key))
        return _joined(pieces, inner)

    def _pieces(self, node: _Node) -> tuple[list[_Piece], str]:
        text, members = self._text, node.members or []
        if not members:
            return [], text[node.start + 1 : node.end - 1]
        pieces = []
        begin = node.start + 1
        for number, member in enumerate(members):
            value = member.value
            # Between a value and the next key there is one comma and nothing else but blanks.
            end = text.index(",", value.end) if number + 1 < len(members) else node.end - 1
            pieces.append(
                _Piece(
                    key=member.key,
                    lead=text[begin : member.key_start],
                    name=text[member.key_start : member.key_end],
                    colon=text[member.key_end : value.start],
                    value=text[value.start : value.end],
                    trail=text[value.end : end],
                    node=value,
                )
            )
            begin = end + 1
        return pieces, ""

    def _put(self, pieces: list[_Piece], node: _Node, key: str, put: Put, where: Path) -> None:
        piece = self._only(pieces, node, key, where)
        style = _Style.of(pieces, self._text, node, self._unit)
        if piece is None:
            if not put.only_present:
                _insert(pieces, style, key, _value_text(put.value, style, None), put.beside)
        elif not _same(piece.value, put.value):
            piece.value = _value_text(put.value, style, piece.value)

    def _below(self, pieces: list[_Piece], node: _Node, key: str, change: _Change, where: Path) -> None:
        piece = self._only(pieces, node, key, where)
        style = _Style.of(pieces, self._text, node, self._unit)
        here = (*where, key)
        if piece is not None and piece.value.startswith("{") and piece.node is not None:
            piece.value = self.object_text(piece.node, change, here)
        elif not change.makes_something:
            return
        elif piece is None:
            _insert(pieces, style, key, self._new_object(change, style), frozenset())
        elif piece.value == "null":
            # For Go null is as good as nothing here, so nothing is lost.
            piece.value = self._new_object(change, style)
        else:
            line, column = self._document.place(piece.node.start if piece.node else node.start)
            kind = _KINDS.get(piece.value[0], "a number")
            raise JsonProblem(
                f"{'.'.join(here)} is {kind}, and an object is needed. Correct or remove it.", line, column
            )

    def _new_object(self, change: _Change, style: _Style) -> str:
        inside = style.deeper()
        pieces: list[_Piece] = []
        for key, put in change.puts:
            if not put.only_present:
                _insert(pieces, inside, key, _value_text(put.value, inside, None), frozenset())
        for folded, below in change.below.items():
            if below.makes_something:
                _insert(pieces, inside, change.names[folded], self._new_object(below, inside), frozenset())
        return _joined(pieces, "")

    def _only(self, pieces: list[_Piece], node: _Node, key: str, where: Path) -> _Piece | None:
        found = [piece for piece in pieces if fold(piece.key) == fold(key)]
        if len(found) < 2:
            return found[0] if found else None
        places = [
            self._document.place(member.key_start) for member in node.members or [] if fold(member.key) == fold(key)
        ]
        listed = " and ".join(f"line {line}, column {column}" for line, column in places)
        raise JsonProblem(
            f"{'.'.join((*where, key))} is there {len(places)} times ({listed}; Tyk does not tell upper from lower "
            "case, and merges them or takes the last). Which one is meant cannot be guessed: keep one of them.",
            *places[-1],
        )


@dataclass(frozen=True)
class _Style:
    """How an object is laid out, so that what is added looks like what is there."""

    lead: str
    first_lead: str
    colon: str
    inner_trail: str
    last_trail: str
    unit: str

    @classmethod
    def of(cls, pieces: Sequence[_Piece], text: str, node: _Node, unit: str) -> _Style:
        newline = "\r\n" if "\r\n" in text else "\n"
        if not pieces:
            # An empty object follows the line that it stands on.
            if newline not in text.strip():
                return cls(" ", "", ": ", "", "", "")
            indent = _line_indent(text, node.start)
            return cls(newline + indent + unit, newline + indent + unit, ": ", "", newline + indent, unit)
        first, last = pieces[0], pieces[-1]
        lead = last.lead
        if "\n" in lead:
            # Blank lines between groups of keys are not part of the style.
            lead = newline + lead.rpartition("\n")[2]
        elif len(pieces) == 1 and not lead:
            lead = " " if first.colon.endswith(" ") else ""
        inner = pieces[-2].trail if len(pieces) > 1 else ""
        return cls(lead, first.lead, last.colon, inner, last.trail, unit)

    @property
    def multi_line(self) -> bool:
        return "\n" in self.lead

    def deeper(self) -> _Style:
        """The style of a new object or list that is a value in this one."""
        colon = self.colon if self.colon.strip(" ") == ":" else ": "
        if not self.multi_line:
            return _Style(self.lead, "", colon, "", "", self.unit)
        return _Style(self.lead + self.unit, self.lead + self.unit, colon, "", self.lead, self.unit)


def _insert(pieces: list[_Piece], style: _Style, key: str, value: str, beside: frozenset[str]) -> None:
    colon = style.colon if style.colon.strip(" ") == ":" else ": "
    piece = _Piece(key, style.lead, json.dumps(key), colon, value, style.inner_trail, None)
    if not pieces:
        piece.lead, piece.trail = style.first_lead, style.last_trail
        pieces.append(piece)
        return
    folded = {fold(name) for name in beside}
    near = [number for number, other in enumerate(pieces) if fold(other.key) in folded]
    at = near[-1] + 1 if near else len(pieces)
    if at == len(pieces):
        piece.trail = pieces[-1].trail
        pieces[-1].trail = style.inner_trail
    pieces.insert(at, piece)


def _drop(pieces: list[_Piece], folded: str) -> None:
    kept = [piece for piece in pieces if fold(piece.key) != folded]
    if kept and len(kept) < len(pieces):
        # The blanks next to the braces belong to the braces.
        if kept[0] is not pieces[0]:
            kept[0].lead = pieces[0].lead
        if kept[-1] is not pieces[-1]:
            kept[-1].trail = pieces[-1].trail
    pieces[:] = kept


def _joined(pieces: Sequence[_Piece], inner: str) -> str:
    if not pieces:
        return "{" + inner + "}"
    return "{" + ",".join(f"{p.lead}{p.name}{p.colon}{p.value}{p.trail}" for p in pieces) + "}"


def _value_text(value: Value, style: _Style, old: str | None) -> str:
    """A value as JSON. Only ASCII is written, which is right whatever encoding the rest of the file is in."""
    if isinstance(value, list):
        opening, closing, items = "[", "]", [json.dumps(item) for item in value]
    elif isinstance(value, dict):
        opening, closing = "{", "}"
        items = [f"{json.dumps(key)}: {json.dumps(item)}" for key, item in value.items()]
    else:
        return json.dumps(value)
    on_one_line = old is not None and old.startswith(opening) and "\n" not in old and len(old.strip("[]{} \t")) > 0
    if not items or on_one_line or not style.multi_line:
        return f"{opening}{', '.join(items)}{closing}"
    inside = style.lead + style.unit
    return opening + ",".join(inside + item for item in items) + style.lead + closing


def _same(raw: str, value: Value) -> bool:
    if isinstance(value, bool):
        return raw == ("true" if value else "false")
    if isinstance(value, int):
        return raw == str(value)
    if not raw.startswith('"' if isinstance(value, str) else "[" if isinstance(value, list) else "{"):
        return False
    try:
        return bool(_DECODER.decode(raw) == value)
    except RecursionError:
        return False


def _matching(node: _Node, key: str) -> list[_Member]:
    folded = fold(key)
    return [member for member in node.members or [] if fold(member.key) == folded]


def _indent_unit(text: str, root: _Node) -> str:
    """What one level of indentation is in this text; two blanks when nothing tells."""
    if not root.members:
        return "  "
    start = root.members[0].key_start
    before = text[root.start + 1 : start]
    if "\n" not in before:
        return "  "
    return before.rpartition("\n")[2][len(_line_indent(text, root.start)) :]


def _line_indent(text: str, position: int) -> str:
    begin = text.rfind("\n", 0, position) + 1
    blank = _BLANK.match(text, begin, position)
    return blank.group() if blank else ""


def _skip_blanks(text: str, position: int) -> int:
    blank = _BLANK.match(text, position)
    return blank.end() if blank else position


def _place(text: str, offset: int) -> tuple[int, int]:
    return text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)
