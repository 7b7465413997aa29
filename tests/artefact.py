# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Build the collection and install it as a user would; with --judge, also say what is wrong with the tarball's content.

Usage: artefact.py FOLDER [--judge]; the tarball ends up in FOLDER and the installed collection in FOLDER/collections.
"""

from __future__ import annotations

import fnmatch
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "tests" / "artefact_files.txt"


def build(folder: Path) -> Path:
    """Build the tarball and install it into an empty place; return the tarball's path."""
    for stale in (*folder.glob("*.tar.gz"), folder / "collections"):
        shutil.rmtree(stale) if stale.is_dir() else stale.unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    galaxy = ["ansible-galaxy", "collection"]
    subprocess.run([*galaxy, "build", "--output-path", folder, ROOT], check=True, stdout=subprocess.DEVNULL)
    (tarball,) = folder.glob("*.tar.gz")
    subprocess.run(
        [*galaxy, "install", "--offline", "--no-deps", "--collections-path", folder / "collections", tarball],
        check=True,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(folder / "collections")},
    )
    return tarball


def judge(tarball: Path) -> list[str]:
    """Compare the tarball's files with the kinds of files that belong into it, both ways."""
    with tarfile.open(tarball) as archive:
        names = sorted(member.name for member in archive.getmembers() if not member.isdir())
    kinds = [line for line in GOLDEN.read_text().splitlines() if line and not line.startswith("#")]
    # One `*` of a kind stands for one part of a path, which fnmatch does not know: `*` there crosses slashes.
    patterns = {kind: re.compile(fnmatch.translate(kind).replace(".*", "[^/]*")) for kind in kinds}
    findings = [
        f"{name} is in the tarball, but is of no kind that tests/artefact_files.txt names. "
        "Add it to build_ignore in galaxy.yml, or name its kind."
        for name in names
        if not any(pattern.match(name) for pattern in patterns.values())
    ]
    findings += [
        f"No file in the tarball is of the kind {kind} that tests/artefact_files.txt names."
        for kind, pattern in patterns.items()
        if not any(pattern.match(name) for name in names)
    ]
    return findings


def main() -> int:
    tarball = build(Path(sys.argv[1]).resolve())
    findings = judge(tarball) if "--judge" in sys.argv[2:] else []
    print(f"Built {tarball.relative_to(ROOT)} and installed it into {tarball.parent.relative_to(ROOT)}/collections.")
    for finding in findings:
        print(finding)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
