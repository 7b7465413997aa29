# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection and may change at any time.

"""What systemd takes from an ``EnvironmentFile=``, with the file and the line of origin. No I/O happens here.

The rules are those of systemd.exec(5), which are not those of a shell: there is no ``export``, no expansion of
``$NAME``, and a quote in the middle of an unquoted value is a character like any other.
"""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass, field

_BLANK = " \t"
_NEWLINE = "\n\r"
_SPACE = _BLANK + _NEWLINE
_COMMENT = "#;"
# The only characters that a backslash protects between double quotes; before any other it stays.
_ESCAPABLE_IN_DOUBLE_QUOTES = '"\\`$'
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
# Since this version a comment ends with its line even when the line ends with a backslash.
COMMENT_ENDS_WITH_LINE_SINCE = 254
_C_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


@dataclass(frozen=True)
class Variable:
    """One variable of a process environment and where it comes from."""

    name: str
    # May be a secret, and so is not shown.
    value: str = field(repr=False)
    place: str
    line: int = 0

    @property
    def origin(self) -> str:
        where = f"{self.place} line {self.line}" if self.line else self.place
        return f"variable {self.name} in {where}"


@dataclass(frozen=True)
class Ignored:
    """A line that gives no value. ``name`` is what stands before the equals sign, never the value."""

    line: int
    name: str
    reason: str
    # Whether it does give the variable a value, but one that the file alone does not tell.
    unknown: bool = False


@dataclass(frozen=True)
class EnvironmentFile:
    path: str
    # In file order; a name may come several times, and the last one counts.
    assignments: tuple[Variable, ...] = ()
    ignored: tuple[Ignored, ...] = ()
    # Why the file is not taken at all; empty when it is.
    refused: str = ""
    # Who reads it.
    reader: str = "systemd"


@dataclass(frozen=True)
class Statement:
    """What is neither blank nor comment, at ``text[start:end]``, which leaves out the line break that ends it."""

    name: str
    # None without an equals sign. May be a secret, and so is not shown.
    value: str | None = field(repr=False)
    line: int
    start: int
    end: int
    # Whether a quote is open to the end of the file.
    unclosed: bool = False


class _Reader:
    def __init__(self, text: str, comment_ends_with_line: bool) -> None:
        self.text = text
        self.at = 0
        self.unclosed = False
        self.comment_ends_with_line = comment_ends_with_line

    @property
    def more(self) -> bool:
        return self.at < len(self.text)

    def take(self) -> str:
        self.at += 1
        return self.text[self.at - 1]

    def skip(self, characters: str) -> None:
        while self.more and self.text[self.at] in characters:
            self.at += 1

    def comment(self) -> None:
        while self.more:
            character = self.take()
            if character == "\\" and self.more:
                if self.take() in _NEWLINE and self.comment_ends_with_line:
                    return
            elif character in _NEWLINE:
                return

    def key(self) -> tuple[str, bool]:
        """The text before the equals sign, and whether there is one on this line."""
        start = self.at
        # Whatever comes first belongs to the name, even an equals sign.
        self.at += 1
        while self.more:
            character = self.take()
            if character == "=" or character in _NEWLINE:
                return self.text[start : self.at - 1].rstrip(_BLANK), character == "="
        return self.text[start:].rstrip(_BLANK), False

    def value(self) -> str:
        """Any number of quoted parts, blanks between them dropped, then perhaps an unquoted rest of the line."""
        parts: list[str] = []
        while True:
            self.skip(_BLANK)
            if not self.more:
                return "".join(parts)
            character = self.take()
            if character in _NEWLINE:
                return "".join(parts)
            if character == "'":
                parts.append(self.single_quoted())
            elif character == '"':
                parts.append(self.double_quoted())
            else:
                self.at -= 1
                parts.append(self.unquoted())
                return "".join(parts)

    def single_quoted(self) -> str:
        start = self.at
        end = self.text.find("'", start)
        if end < 0:
            # It swallows the rest of the file.
            self.unclosed = True
            self.at = len(self.text)
            return self.text[start:]
        self.at = end + 1
        return self.text[start:end]

    def double_quoted(self) -> str:
        parts: list[str] = []
        while self.more:
            character = self.take()
            if character == '"':
                return "".join(parts)
            if character != "\\":
                parts.append(character)
            elif self.more:
                following = self.take()
                if following in _ESCAPABLE_IN_DOUBLE_QUOTES:
                    parts.append(following)
                elif following != "\n":
                    parts.append("\\" + following)
        self.unclosed = True
        return "".join(parts)

    def unquoted(self) -> str:
        parts: list[str] = []
        # Blanks at the end go, except those before or after a backslash.
        kept = 0
        while self.more:
            character = self.take()
            if character in _NEWLINE:
                break
            if character == "\\":
                if self.more:
                    following = self.take()
                    if following not in _NEWLINE:
                        parts.append(following)
                kept = len(parts)
            else:
                parts.append(character)
                if character not in _BLANK:
                    kept = len(parts)
        return "".join(parts[:kept])


def acceptable(text: str) -> bool:
    """Whether systemd regards the text as valid UTF-8 (undecodable bytes arrive here as surrogates)."""
    for character in text:
        code = ord(character)
        if 0xD800 <= code <= 0xDFFF or 0xFDD0 <= code <= 0xFDEF or code & 0xFFFE == 0xFFFE:
            return False
    return True


def statements(text: str, *, systemd_version: int = COMMENT_ENDS_WITH_LINE_SINCE) -> t.Iterator[Statement]:
    """Take a text apart as systemd of that version does, without judging names and values."""
    reader = _Reader(text, comment_ends_with_line=systemd_version >= COMMENT_ENDS_WITH_LINE_SINCE)
    counted_to, line = 0, 1
    while True:
        reader.skip(_SPACE)
        if not reader.more:
            return
        start = reader.at
        line += text.count("\n", counted_to, start)
        counted_to = start
        if text[start] in _COMMENT:
            reader.comment()
            continue
        name, assigned = reader.key()
        value = reader.value() if assigned else None
        end = reader.at - 1 if text[reader.at - 1] in _NEWLINE else reader.at
        yield Statement(name, value, line, start, end, reader.unclosed)


def is_name(text: str) -> bool:
    """Whether systemd takes the text for the name of a variable."""
    return bool(_NAME.match(text))


def ignored_statement(statement: Statement) -> Ignored:
    """Say why systemd passes over this statement, which has no value or whose name is none."""
    if statement.value is None:
        # Only the first word: without an equals sign nobody can tell which part is a value.
        # And perhaps none: Python takes more characters for blanks than systemd does.
        first = (statement.name.split(None, 1) or [""])[0]
        return Ignored(statement.line, printable(first), "it has no equals sign")
    if (statement.name.split(None, 1) or [""])[0] == "export":
        reason = "systemd does not know the word export"
    else:
        reason = "its name is not made of letters, digits and underscores only"
    return Ignored(statement.line, printable(statement.name), reason)


def parse(content: bytes, path: str, *, systemd_version: int = COMMENT_ENDS_WITH_LINE_SINCE) -> EnvironmentFile:
    """Read one file as systemd of that version does."""
    if b"\0" in content:
        return EnvironmentFile(path, refused="it holds a NUL byte")
    text = content.decode("utf-8", errors="surrogateescape")
    assignments: list[Variable] = []
    ignored: list[Ignored] = []
    for statement in statements(text, systemd_version=systemd_version):
        value = statement.value
        if value is not None and not (acceptable(statement.name) and acceptable(value)):
            # One such line costs the whole file: systemd stops reading and drops what it has read.
            return EnvironmentFile(path, refused=f"line {statement.line} is not valid UTF-8")
        if value is not None and is_name(statement.name):
            assignments.append(Variable(statement.name, value, path, statement.line))
        else:
            ignored.append(ignored_statement(statement))
    return EnvironmentFile(path, tuple(assignments), tuple(ignored))


def printable(text: str) -> str:
    """The text with a question mark for each character that a message cannot show."""
    return "".join(character if character.isprintable() else "?" for character in text)


def merge(*groups: t.Iterable[Variable]) -> dict[str, Variable]:
    """One environment out of several sources in the order in which systemd applies them: the last one wins."""
    merged: dict[str, Variable] = {}
    for group in groups:
        for variable in group:
            merged[variable.name] = variable
    return merged


def parse_shown_environment(text: str, place: str) -> list[Variable]:
    """Read the value of ``Environment=`` as ``systemctl show`` prints it: words, double-quoted where needed."""
    variables: list[Variable] = []
    for word in _shown_words(text):
        name, separator, value = word.partition("=")
        if separator and _NAME.match(name):
            variables.append(Variable(name, value, place))
    return variables


def _shown_words(text: str) -> t.Iterator[str]:
    at = 0
    while True:
        while at < len(text) and text[at] in _SPACE:
            at += 1
        if at >= len(text):
            return
        word: list[str] = []
        quoted = False
        while at < len(text) and (quoted or text[at] not in _SPACE):
            character = text[at]
            at += 1
            if character == '"':
                quoted = not quoted
            elif character == "\\" and at < len(text):
                word.append(_C_ESCAPES.get(text[at], text[at]))
                at += 1
            else:
                word.append(character)
        yield "".join(word)


def parse_shown_files(lines: t.Iterable[str]) -> list[tuple[str, bool]]:
    """Read the values of ``EnvironmentFiles=`` of ``systemctl show``: path or pattern, and whether it may lack."""
    files: list[tuple[str, bool]] = []
    for line in lines:
        path, separator, flag = line.rpartition(" (ignore_errors=")
        if separator:
            files.append((path, flag.rstrip(")") == "yes"))
    return files
