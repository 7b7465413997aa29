# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The reader and the editor of environment files against systemd's own code, which its private library exports."""

from __future__ import annotations

import ctypes
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.apiops.tyk_redis.plugins.module_utils._env_document import (
    SYSTEMD,
    EnvDocument,
    EnvProblem,
    decode,
    encode,
)
from ansible_collections.apiops.tyk_redis.plugins.module_utils._env_file import merge, parse

LIBRARIES = sorted(Path("/usr/lib").glob("**/libsystemd-shared-*.so"))
# What a parser can stumble over, alone and in any order.
PIECES = [
    *(bytes([character]) for character in b"A=\n\r \t\\\"'#;$`9\x01"),
    *(b"\nB=", b"C_1=", b"export ", "é".encode(), b"\xff", b"\xef\xbf\xbf", b"\xed\xa0\x80"),
]  # fmt: skip

Strings = ctypes.POINTER(ctypes.c_char_p)


class Systemd:
    def __init__(self, path: Path, scratch: Path) -> None:
        found = re.search(r"-(\d+)", path.name)
        self.version = int(found.group(1)) if found else 0
        library = ctypes.CDLL(str(path))
        self._load = library.load_env_file
        self._load.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.POINTER(Strings)]
        self._load.restype = ctypes.c_int
        self._clean = library.strv_env_clean_with_callback
        self._clean.argtypes = [Strings, ctypes.c_void_p, ctypes.c_void_p]
        self._clean.restype = Strings
        self._file = scratch / "environment"

    def environment(self, content: bytes) -> dict[bytes, bytes] | None:
        """What a service would get from this file; None when systemd does not take it."""
        self._file.write_bytes(content)
        strings = Strings()
        if self._load(None, str(self._file).encode(), ctypes.byref(strings)) < 0:
            return None
        environment: dict[bytes, bytes] = {}
        if strings:
            strings = self._clean(strings, None, None)
            number = 0
            while strings[number] is not None:
                name, _equals, value = strings[number].partition(b"=")
                environment[name] = value
                number += 1
        return environment


@pytest.fixture(name="systemd", scope="module")
def fixture_systemd(tmp_path_factory: pytest.TempPathFactory) -> Systemd:
    if not LIBRARIES:
        pytest.skip("systemd is not installed here")
    return Systemd(LIBRARIES[0], tmp_path_factory.mktemp("systemd"))


@settings(max_examples=3000, deadline=None, derandomize=True)
@given(pieces=st.lists(st.sampled_from(PIECES), max_size=25))
def test_same_environment_as_systemd(systemd: Systemd, pieces: list[bytes]) -> None:
    content = b"".join(pieces)
    file = parse(content, "environment", systemd_version=systemd.version)
    ours = None
    if not file.refused:
        ours = {name.encode(): variable.value.encode() for name, variable in merge(file.assignments).items()}
    assert ours == systemd.environment(content)


CHARACTERS = ["'", '"', "\\", "$", "#", ";", " ", "\t", "\r", "\n", "=", "`", "!", "%", "a", "é", "\u00a0", "\x01"]
VALUES = st.lists(st.sampled_from(CHARACTERS), min_size=1, max_size=8).map("".join)


@settings(max_examples=2000, deadline=None, derandomize=True)
@given(pieces=st.lists(st.sampled_from(PIECES), max_size=12), value=st.none() | VALUES, other=VALUES)
def test_systemd_reads_what_was_edited(systemd: Systemd, pieces: list[bytes], value: str | None, other: str) -> None:
    content = b"".join(pieces)
    document = EnvDocument(decode(content), SYSTEMD, systemd_version=systemd.version)
    before = systemd.environment(content)
    try:
        edited = document.edited({"A": value, "N": other})
    except EnvProblem:
        assert "quote is never closed" in str(document.remarks())
        return
    if before is None:
        # Nothing can be said of a file that systemd does not take, such as one that is not UTF-8.
        return
    expected = {name: found for name, found in before.items() if name != b"A"}
    expected.update({b"N": other.encode()} if value is None else {b"A": value.encode(), b"N": other.encode()})
    assert systemd.environment(encode(edited.text)) == expected
