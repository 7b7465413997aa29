#!/bin/sh
# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Usage: debian_server.sh SUITE FOLDER
# Puts the Redis server of a Debian SUITE into FOLDER, with the libraries of that suite: FOLDER/redis-server runs it on
# this machine, whatever its own libraries are. The packages come from the mirror that this machine itself uses.
set -eu

suite=$1
folder=$2

# The words in brackets are for apt, not for the shell.
# shellcheck disable=SC2016
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Label: Debian' | head -n 1)
mirror=${mirror:-http://deb.debian.org/debian}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/apt"
apt-config dump | grep -E '^Acquire::(https?::Proxy|Check-Valid-Until|Check-Date) ' >"$work/apt/settings" || true
# The server's binary is in redis-tools, which does not start a service.
mmdebstrap --quiet --variant=extract --include=redis-tools --aptopt="$work/apt/settings" \
    "$suite" "$work/tree" "deb $mirror $suite main"

tree=$work/tree
loader=$(find "$tree/lib" "$tree/usr/lib" -name 'ld-linux*.so.*' -o -name 'ld-2.*.so' 2>/dev/null | head -n 1)
libraries=$(find "$tree/lib" "$tree/usr/lib" -maxdepth 2 -name '*.so*' -printf '%h\n' 2>/dev/null | sort -u | paste -sd :)
mkdir -p "$work/server/lib"
"$loader" --library-path "$libraries" --list "$tree/usr/bin/redis-check-rdb" | sed -n 's/.* => \(.*\) (0x.*/\1/p' |
    while read -r library; do cp -L "$library" "$work/server/lib/"; done
# The binary is a server, or the check of a data file, by the name it is called by.
cp "$tree/usr/bin/redis-check-rdb" "$work/server/lib/redis-server"
cp -L "$loader" "$work/server/lib/loader"
# The server of Debian 11 loads what scripts may use from the system's folder of Lua modules.
find "$tree/usr/lib" -path '*/lua/5.1/*.so' -exec cp -L {} "$work/server/lib/" \;
cat >"$work/server/redis-server" <<'END'
#!/bin/sh
here=${0%/*}
export LUA_CPATH="$here/lib/?.so"
exec "$here/lib/loader" --library-path "$here/lib" "$here/lib/redis-server" "$@"
END
chmod 0755 "$work/server/redis-server" "$work/server/lib/loader" "$work/server"
rm -rf "$folder"
mkdir -p "${folder%/*}"
mv "$work/server" "$folder"
