# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads environment files of three kinds, and changes named variables and no other character. No I/O; private.

The same text means different things to those who read it:

* C(systemd): C(EnvironmentFile=) of a unit, by the rules of systemd.exec(5), see C(_env_file).
* C(docker): C(--env-file) of C(docker run) and C(podman run), and C(env_file) of Docker Compose with C(format: raw). A
  line is a variable, and everything behind the equals sign its value: quotes, backslashes, C(#) and blanks are
  characters like any other. There is no escape, so no value has a line break. A line without an equals sign passes a
  variable on from the environment of the command. Blanks before a line, blank lines and lines that begin with C(#)
  are skipped. Docker (not podman) takes nothing from a file with a blank in a name, such as behind C(export), or with a
  byte that is not UTF-8; both refuse a line longer than 65535 bytes. Sources: C(opts/file.go) of docker/cli 20.10.11,
  C(pkg/kvfile) of 29.9.3, C(pkg/env/env.go) of podman 4.3.1 to 5.8.1. Only podman 4.7.0 read it otherwise.
* C(compose): C(env_file) of Docker Compose, package C(dotenv) of compose-go. It knows C(export), C(NAME: value), quotes
  over several lines, escapes in double quotes, comments behind a value, and puts other variables in for C($NAME) and
  C(${NAME}) outside of single quotes. It looks these up in the environment of the command and in C(.env) before the
  file itself, so that a value with one of them is not known here. What is read is what releases from 2.0.0-beta.3 on
  read; before, a backslash stayed before a single quote in single quotes.

What is written for Compose is read alike by all releases of compose-go from 1.0.9 to 2.16.2 if it needs no double
quotes. These are for what nothing else can carry (a single quote, or a backslash at the end, together with C($), C(#),
a line break or a blank at an end), and are read right since 1.16.0, which is in Docker Compose 2.20.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field

from ansible_collections.apiops.tyk_redis.plugins.module_utils._env_file import (
    COMMENT_ENDS_WITH_LINE_SINCE,
    EnvironmentFile,
    Ignored,
    Variable,
    acceptable,
    ignored_statement,
    is_name,
    parse,
    printable,
    statements,
)

SYSTEMD, DOCKER, COMPOSE = "systemd", "docker", "compose"
KINDS = (SYSTEMD, DOCKER, COMPOSE)
# Who reads each kind, for sentences.
_READERS = {SYSTEMD: "systemd", DOCKER: "docker", COMPOSE: "docker compose"}

# bufio.MaxScanTokenSize of Go is 65536, with the line feed.
LONGEST_DOCKER_LINE = 65535

_BOM = "\ufeff"
# unicode.IsSpace of Go; str.isspace() of Python knows four more.
_GO_SPACE = "".join(character for character in map(chr, range(0x3001)) if character.isspace()).translate(
    dict.fromkeys(range(0x1C, 0x20))
)
# isSpace of compose-go's parser: what may stand around a name.
_COMPOSE_SPACE = "\t\v\f\r \x85\xa0"
_COMPOSE_EXPORT = re.compile(r"export(?=[\t\n\f\r ])[\t\v\f\r \x85\xa0]*")
_COMPOSE_QUOTED = {
    "'": re.compile(r"'([^'\\]*(?:\\.[^'\\]*)*)'", re.DOTALL),
    '"': re.compile(r'"([^"\\]*(?:\\.[^"\\]*)*)"', re.DOTALL),
}
_COMPOSE_ESCAPE = re.compile(r'\\(?:[abcfnrtv$"\\]|0[0-9]{0,3})')
_COMPOSE_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "$": "$$"}
# Go folds the letters K and S with the Kelvin sign and the long s.
_NAME_START = "_a-zA-Z\u212a\u017f"
_COMPOSE_VARIABLE = re.compile(
    rf"\$(?:(?P<dollar>\$)|[{_NAME_START}]|\{{[{_NAME_START}][{_NAME_START}0-9]*(?::?[-+?].*)?\}}|(?P<invalid>\{{))"
)

# What no reader and no shell takes for anything but itself.
_PLAIN = re.compile(r"[A-Za-z0-9_@%+:,./=-]+\Z")

_TITLES = {SYSTEMD: "systemd", DOCKER: "docker", COMPOSE: "docker compose"}


class EnvProblem(ValueError):
    """A text that cannot be edited safely, or a value that this kind of file cannot carry. Never shows a value."""


@dataclass(frozen=True)
class _Statement:
    """One assignment: C(text[start:end]), without blanks and comments behind it."""

    name: str
    # None when the value is not known from the file alone, for the reason in C(unknown). May be a secret.
    value: str | None = field(repr=False)
    line: int
    start: int
    end: int
    unknown: str = ""
    # What stands before the name and stays there: the word export, for Compose.
    lead: str = ""


@dataclass
class _Content:
    statements: list[_Statement] = field(default_factory=list)
    ignored: list[Ignored] = field(default_factory=list)
    # Why the reader takes nothing from the file.
    refused: str = ""
    # The same in a sentence, when nobody can tell where statements begin and end.
    unclear: str = ""

    def refuse(self, reason: str) -> None:
        """Only the first reason counts: that is where the reader stops."""
        self.refused = self.refused or reason


def decode(content: bytes) -> str:
    """Bytes of a file as text, in which L(encode) finds again even what is not UTF-8."""
    return content.decode("utf-8", "surrogateescape")


def encode(text: str) -> bytes:
    """The reverse of L(decode)."""
    return text.encode("utf-8", "surrogateescape")


def read(
    content: bytes, path: str, kind: str, *, systemd_version: int = COMMENT_ENDS_WITH_LINE_SINCE
) -> EnvironmentFile:
    """Read one file as its consumer does.

    When the last assignment of a name is one whose value is not known from the file alone, it is reported among the
    ignored lines together with the reason, and the assignments before it are left out, since none of them counts.

    Args:
        content: the file's bytes.
        path: where it is, for the origin of variables.
        kind: one of C(KINDS).
        systemd_version: the consumer's version, for C(systemd) only.
    """
    if kind == SYSTEMD:
        return parse(content, path, systemd_version=systemd_version)
    found = _parsed(decode(content), kind, systemd_version)
    if found.refused:
        return EnvironmentFile(path, refused=found.refused, reader=_READERS[kind])
    assignments: list[Variable] = []
    ignored = list(found.ignored)
    seen: set[str] = set()
    unknown: set[str] = set()
    for statement in reversed(found.statements):
        name = statement.name
        if statement.value is None and name not in seen:
            unknown.add(name)
            ignored.append(Ignored(statement.line, printable(name), statement.unknown, unknown=True))
        elif statement.value is not None and name not in unknown:
            assignments.append(Variable(name, statement.value, path, statement.line))
        seen.add(name)
    ignored.sort(key=lambda each: each.line)
    return EnvironmentFile(path, tuple(reversed(assignments)), tuple(ignored), reader=_READERS[kind])


class EnvDocument:
    """An environment file of one kind.

    Args:
        text: the file as L(decode) gives it.
        kind: one of C(KINDS).
        systemd_version: the consumer's version, for C(systemd) only; before 254 a comment goes on behind a backslash.

    Raises:
        ValueError: the kind is unknown.
    """

    def __init__(self, text: str, kind: str, *, systemd_version: int = COMMENT_ENDS_WITH_LINE_SINCE) -> None:
        self.text = text
        self.kind = kind
        self._systemd_version = systemd_version
        self._found = _parsed(text, kind, systemd_version)

    def value(self, name: str) -> str | None:
        """The value of the last assignment; None without one, or when it is not known from the file alone."""
        values = [statement.value for statement in self._found.statements if statement.name == name]
        return values[-1] if values else None

    def names(self) -> tuple[str, ...]:
        """The variables that the file sets or passes on, each once, in the order of their first assignments."""
        return tuple(dict.fromkeys(statement.name for statement in self._found.statements))

    def remarks(self) -> list[str]:
        """What is wrong with the file, in sentences: lines without effect, and why the consumer refuses it."""
        remarks = [
            f"Line {ignored.line}: {_TITLES[self.kind]} ignores {ignored.name or 'this line'}, because "
            f"{ignored.reason}. Write NAME=value."
            for ignored in self._found.ignored
        ]
        if self._found.unclear:
            remarks.append(self._found.unclear)
        elif self._found.refused:
            remarks.append(_refusal(self.kind, self._found.refused))
        return remarks

    def edited(self, changes: Mapping[str, str | None]) -> EnvDocument:
        """Give variables values, or with None take them away.

        A value replaces that of the last assignment, and the other assignments of the name go; a new variable goes to
        the end. A line that says what is wanted already stays as it is written. Comments on lines of their own, other
        variables, their order and line breaks stay as they are. A comment behind a value goes with the variable.

        Args:
            changes: values by name. New variables are written in this order.

        Raises:
            EnvProblem: a value is empty or cannot be written in this kind of file, or the file is not clear enough to
                be edited. Nothing of the value is in the message.
            ValueError: a name is not made of letters, digits and underscores.
        """
        for name, value in changes.items():
            if not is_name(name):
                raise ValueError(f"{name!r} is not the name of an environment variable.")
            if value is not None:
                _require_writable(name, value, self.kind)
        replacements: list[tuple[int, int, str]] = []
        added: list[str] = []
        for name, value in changes.items():
            own = [statement for statement in self._found.statements if statement.name == name]
            if value is None:
                replacements.extend(self._without(statement) for statement in own)
            elif not own:
                added.append(_assignment(name, value, self.kind))
            elif len(own) > 1 or own[0].value != value:
                replacements.extend(self._without(statement) for statement in own[:-1])
                replacements.append((own[-1].start, own[-1].end, self._with(own[-1], value)))
        if not replacements and not added:
            return self
        if self._found.unclear:
            raise EnvProblem(self._found.unclear)
        parts: list[str] = []
        copied_to = 0
        for start, end, replacement in sorted(replacements):
            parts += [self.text[copied_to:start], replacement]
            copied_to = end
        text = self._extended("".join(parts) + self.text[copied_to:], added)
        return EnvDocument(text, self.kind, systemd_version=self._systemd_version)

    def _with(self, statement: _Statement, value: str) -> str:
        """The assignment with another value; a value without quotes must not grow into what stands behind it."""
        rest = self.text[statement.end : self._line_end(statement.end)]
        open_end = not rest.strip(_GO_SPACE) or (rest.startswith(" ") and rest.lstrip(" ").startswith("#"))
        return statement.lead + _assignment(statement.name, value, self.kind, quote=not open_end)

    def _without(self, statement: _Statement) -> tuple[int, int, str]:
        """The range to take away: the whole line, unless Compose finds something else on it."""
        text, start, line_end = self.text, statement.start, self._line_end(statement.end)
        line_start = self._line_start(start)
        rest = text[statement.end : line_end]
        if text[line_start:start].strip(_GO_SPACE):
            return start, statement.end, ""
        if rest.strip(_GO_SPACE) and not rest.lstrip(_GO_SPACE).startswith("#"):
            return start, line_end - len(rest.lstrip(_GO_SPACE)), ""
        if text.startswith("\r\n", line_end):
            return line_start, line_end + 2, ""
        return line_start, min(line_end + 1, len(text)), ""

    @property
    def _breaks(self) -> str:
        return "\r\n" if self.kind == SYSTEMD else "\n"

    def _line_start(self, position: int) -> int:
        while position and self.text[position - 1] not in self._breaks:
            position -= 1
        # The byte order mark belongs to the file, not to its first line.
        return 1 if position == 0 and self.text.startswith(_BOM) else position

    def _line_end(self, position: int) -> int:
        while position < len(self.text) and self.text[position] not in self._breaks:
            position += 1
        return position

    def _extended(self, text: str, lines: list[str]) -> str:
        if not lines:
            return text
        newline = "\r\n" if "\r\n" in self.text else "\n"
        # To systemd the mark is part of a name.
        empty = not text or (text == _BOM and self.kind != SYSTEMD)
        if not empty and not text.endswith(tuple(self._breaks)):
            # A carriage return at the end is half of a line break already.
            text += "\n" if text.endswith("\r") else newline
        body = text.rstrip("\r\n")
        if self.kind == SYSTEMD and body.endswith("\\") and text[len(body) :] in ("\n", "\r", "\r\n"):
            # The line break belongs to the value before it, or to a comment if systemd is old: only a second ends it.
            text += newline
        return text + "".join(line + newline for line in lines)


# -- writing -----------------------------------------------------------------------------------------------------------


def _require_writable(name: str, value: str, kind: str) -> None:
    if not value:
        raise EnvProblem(
            f"The value of {name} is empty, and to Tyk a variable that is set but empty is a value: it clears the "
            "setting or stops the start. Give a value, or take the variable away."
        )
    if "\0" in value:
        raise EnvProblem(f"The value of {name} holds a NUL character, which no variable can. Remove it.")
    if not acceptable(value):
        raise EnvProblem(
            f"The value of {name} holds what is no Unicode character, and systemd and docker take nothing from a file "
            "with such a byte. Remove it."
        )
    if kind != DOCKER:
        return
    if "\n" in value or "\r" in value:
        raise EnvProblem(
            f"The value of {name} holds a line break, and an environment file of kind {DOCKER} has no way to write "
            f"one. Remove it, or use an environment file of kind {COMPOSE} or {SYSTEMD}."
        )
    length = len(f"{name}={value}".encode())
    # The carriage return of a file from Windows counts.
    if length >= LONGEST_DOCKER_LINE:
        raise EnvProblem(
            f"The line of {name} would be {length} bytes long, and docker takes nothing from a file with a line that "
            f"is longer than {LONGEST_DOCKER_LINE} bytes. Shorten the value, or set it in the configuration file."
        )


def _assignment(name: str, value: str, kind: str, *, quote: bool = False) -> str:
    if kind == DOCKER:
        return f"{name}={value}"
    if _PLAIN.match(value) and not quote:
        return f"{name}={value}"
    return f"{name}={_systemd_quoted(value) if kind == SYSTEMD else _compose_quoted(value, quote)}"


def _systemd_quoted(value: str) -> str:
    if "'" not in value:
        return f"'{value}'"
    escaped = re.sub(r'["\\`$]', r"\\\g<0>", value)
    return f'"{escaped}"'


def _compose_quoted(value: str, quote: bool) -> str:
    if "'" not in value and not value.endswith("\\"):
        return f"'{value}'"
    # Every release reads this alike, which cannot be said of double quotes.
    if not quote and not set(value) & set("$#\n\r") and value == value.strip() and value[0] not in "'\"":
        return value
    escaped = re.sub(r'["\\$]', r"\\\g<0>", value)
    return f'"{escaped}"'


# -- reading -----------------------------------------------------------------------------------------------------------

_PASSED_ON = "its value is passed on from the environment of the command, which is not known here"
_PUT_IN = "its value depends on other variables, which are looked up outside of this file too"


def _parsed(text: str, kind: str, systemd_version: int) -> _Content:
    if kind == SYSTEMD:
        return _parsed_systemd(text, systemd_version)
    if kind == DOCKER:
        return _parsed_docker(text)
    if kind == COMPOSE:
        return _ComposeReader(text).read()
    raise ValueError(f"{kind!r} is not one of the kinds {', '.join(KINDS)}.")


def _parsed_systemd(text: str, systemd_version: int) -> _Content:
    found = _Content()
    if "\0" in text:
        found.refuse("it holds a NUL byte")
    for statement in statements(text, systemd_version=systemd_version):
        name, value = statement.name, statement.value
        if value is not None and not (acceptable(name) and acceptable(value)):
            found.refuse(f"line {statement.line} is not valid UTF-8")
        if value is None or not is_name(name):
            found.ignored.append(ignored_statement(statement))
        else:
            found.statements.append(_Statement(name, value, statement.line, statement.start, statement.end))
        if statement.unclosed:
            found.unclear = (
                f"Line {statement.line}: systemd takes the rest of the file for the value of {printable(name)}, "
                "because a quote is never closed. Close it."
            )
    return found


def _refusal(kind: str, reason: str) -> str:
    return f"{_TITLES[kind]} takes nothing from this file, because {reason}. Correct that."


def _parsed_docker(text: str) -> _Content:
    found = _Content()
    start = 0
    for line, whole in enumerate(text.split("\n"), start=1):
        if len(encode(whole)) > LONGEST_DOCKER_LINE:
            found.refuse(f"line {line} is longer than {LONGEST_DOCKER_LINE} bytes")
        if not _is_utf8(whole):
            found.refuse(f"line {line} is not valid UTF-8")
        content = whole[:-1] if whole.endswith("\r") else whole
        end = start + len(content)
        if line == 1 and content.startswith(_BOM):
            content = content[1:]
        body = content.lstrip(_GO_SPACE)
        start += len(whole) + 1
        if not body or body.startswith("#"):
            continue
        name, assigned, value = body.partition("=")
        if not name:
            found.refuse(f"line {line} has no name before the equals sign")
        elif " " in name or "\t" in name:
            word = " that begins with the word export" if name.split()[0] == "export" else ""
            found.refuse(f"line {line} has a blank in the name{word}")
        else:
            if "\0" in body:
                found.refuse(f"line {line} holds a NUL byte")
            at = end - len(body)
            if assigned:
                found.statements.append(_Statement(name, value, line, at, end))
            else:
                found.statements.append(_Statement(name, None, line, at, end, _PASSED_ON))
    return found


def _is_utf8(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


class _Unclear(Exception):
    """The text stops to be something that Compose reads; the message is a clause that says where."""


class _ComposeReader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 1 if text.startswith(_BOM) else 0
        self.line = 1
        self.counted_to = 0
        self.found = _Content()

    def read(self) -> _Content:
        try:
            while self.next_statement():
                self.statement()
        except _Unclear as exc:
            self.found.refuse(str(exc))
            self.found.unclear = _refusal(COMPOSE, str(exc))
        return self.found

    def skip(self, characters: str) -> None:
        while self.at < len(self.text) and self.text[self.at] in characters:
            self.at += 1

    def next_statement(self) -> bool:
        while True:
            self.skip(_GO_SPACE)
            if self.at == len(self.text):
                return False
            if self.text[self.at] != "#":
                self.line += self.text.count("\n", self.counted_to, self.at)
                self.counted_to = self.at
                return True
            end = self.text.find("\n", self.at)
            self.at = len(self.text) if end < 0 else end

    def statement(self) -> None:
        start = self.at
        export = _COMPOSE_EXPORT.match(self.text, start)
        lead = export.group() if export else ""
        self.at += len(lead)
        if self.at == len(self.text):
            raise _Unclear(f"line {self.line} has nothing behind the word export")
        name, end, assigned = self.name()
        if " " in name:
            # At the end of the file it goes unnoticed, until a line break stands behind it, as an edit would add it.
            self.found.unclear = f"Line {self.line} is neither a comment nor has it an equals sign. Correct that."
            return
        value = None
        if assigned:
            value, end = self.value()
        if not name:
            self.found.ignored.append(Ignored(self.line, "", "it names no variable"))
            return
        if value is not None and "\0" in value:
            self.found.refuse(f"line {self.line} holds a NUL byte")
        unknown = (_PUT_IN if assigned else _PASSED_ON) if value is None else ""
        self.found.statements.append(_Statement(name, value, self.line, start, end, unknown, lead))

    def name(self) -> tuple[str, int, bool]:
        """The name, the position behind it, and whether an equals sign or a colon follows."""
        start = self.at
        while self.at < len(self.text) and self.text[self.at] not in "=:\n":
            character = self.text[self.at]
            if not (character in _COMPOSE_SPACE or character in "_.-[]" or unicodedata.category(character)[0] in "LN"):
                raise _Unclear(f"line {self.line} has the character {printable(character)} in a name")
            self.at += 1
        name = self.text[start : self.at].rstrip(_GO_SPACE)
        more = self.at < len(self.text)
        if " " in name and more:
            raise _Unclear(f"line {self.line} has a blank in a name")
        assigned = more and self.text[self.at] != "\n"
        self.at += assigned
        return name, start + len(name), assigned

    def value(self) -> tuple[str | None, int]:
        """The value, None when it depends on other variables, and the position behind it."""
        least = self.at
        self.skip(_COMPOSE_SPACE)
        start = self.at
        quote = self.text[start : start + 1]
        if quote and quote in _COMPOSE_QUOTED:
            quoted = _COMPOSE_QUOTED[quote].match(self.text, start)
            if not quoted:
                raise _Unclear(f"line {self.line} opens a quote that is never closed")
            self.at = quoted.end()
            content = quoted.group(1).replace("\\" + quote, quote)
            if quote == '"':
                return self.expanded(_COMPOSE_ESCAPE.sub(_compose_unescaped, content)), self.at
            return _as_sent(content), self.at
        line_end = self.text.find("\n", start)
        self.at = len(self.text) if line_end < 0 else line_end
        content = self.text[start : self.at].partition(" #")[0].rstrip(_GO_SPACE)
        return self.expanded(content), start + len(content) if content else least

    def expanded(self, content: str) -> str | None:
        parts: list[str] = []
        known = True
        copied_to = 0
        for match in _COMPOSE_VARIABLE.finditer(content):
            if match.group("invalid"):
                self.found.refuse(f"line {self.line} has ${{ without the name of a variable and a closing brace")
            known = known and match.group("dollar") is not None
            parts.append(content[copied_to : match.start()] + "$")
            copied_to = match.end()
        return _as_sent("".join(parts) + content[copied_to:]) if known else None


def _as_sent(value: str) -> str:
    """The value as Compose sends it to the engine, in JSON, which has replacement characters for what is not UTF-8."""
    return encode(value).decode("utf-8", "replace")


def _compose_unescaped(match: re.Match[str]) -> str:
    escape = match.group()[1:]
    if not escape.startswith("0"):
        # The escape c is let through by the pattern of compose-go, but means nothing.
        return _COMPOSE_ESCAPES.get(escape, escape if escape in '"\\' else match.group())
    digits = escape[1:]
    if len(digits) == 3 and not set(digits) & set("89") and int(digits, 8) < 256:
        return chr(int(digits, 8))
    # This is no octal number to Go, but the zero is gone by then.
    return "\\" + digits
