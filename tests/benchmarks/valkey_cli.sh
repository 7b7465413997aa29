#!/bin/sh
# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Usage: valkey_cli.sh FOLDER
# Puts valkey-cli 9.1 of Debian 14 (forky) into FOLDER, with the libraries of that suite: FOLDER/valkey-cli runs it on
# this machine, whatever its own libraries are. No wheel brings it. The package comes from the mirror that this machine
# itself uses.
set -eu

folder=$1

# The words in brackets are for apt, not for the shell.
# shellcheck disable=SC2016
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Label: Debian' | head -n 1)
mirror=${mirror:-http://deb.debian.org/debian}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/apt"
apt-config dump | grep -E '^Acquire::(https?::Proxy|Check-Date) ' >"$work/apt/settings" || true
# A mirror that stands still has lists of a testing release that have expired.
echo 'Acquire::Check-Valid-Until "false";' >>"$work/apt/settings"
mmdebstrap --quiet --variant=extract --include=valkey-tools --aptopt="$work/apt/settings" \
    forky "$work/tree" "deb $mirror forky main"

tree=$work/tree
loader=$(find "$tree/lib" "$tree/usr/lib" -name 'ld-linux*.so.*' 2>/dev/null | head -n 1)
libraries=$(find "$tree/lib" "$tree/usr/lib" -maxdepth 2 -name '*.so*' -printf '%h\n' 2>/dev/null | sort -u | paste -sd :)
mkdir -p "$work/cli/lib"
"$loader" --library-path "$libraries" --list "$tree/usr/bin/valkey-cli" | sed -n 's/.* => \(.*\) (0x.*/\1/p' |
    while read -r library; do cp -L "$library" "$work/cli/lib/"; done
cp "$tree/usr/bin/valkey-cli" "$work/cli/lib/valkey-cli"
cp -L "$loader" "$work/cli/lib/loader"
cat >"$work/cli/valkey-cli" <<'END'
#!/bin/sh
here=${0%/*}
exec "$here/lib/loader" --library-path "$here/lib" "$here/lib/valkey-cli" "$@"
END
chmod 0755 "$work/cli/valkey-cli" "$work/cli/lib/loader" "$work/cli"
rm -rf "$folder"
mkdir -p "${folder%/*}"
mv "$work/cli" "$folder"
