#!/bin/sh
# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Usage: crypto_collection.sh FOLDER
# Brings the collection community.crypto into FOLDER/ansible_collections, out of the Python package that has it, so that
# the tests need no Galaxy. A user's ansible-galaxy brings it as a dependency.
set -eu

folder=$1
package=ansible==12.3.0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --dest "$work" "$package"
rm -rf "$folder"
python - "$work" "$folder" <<'END'
import pathlib
import sys
import zipfile

(wheel,) = pathlib.Path(sys.argv[1]).glob("*.whl")
with zipfile.ZipFile(wheel) as archive:
    wanted = [name for name in archive.namelist() if name.startswith("ansible_collections/community/crypto/")]
    archive.extractall(sys.argv[2], wanted)
END
