#!/bin/sh
# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Prints what a run that touches a host would change: packages, the sums of its files, its folders, its services, and a kernel
# setting that is its own.
set -eu

dpkg-query --show
find /etc /root /srv /usr/local -xdev -type f ! -path '*/.ansible/*' -exec sha256sum {} + | sort -k 2
find /etc /opt /srv /var/lib -xdev -maxdepth 1 | sort
systemctl list-units --all --plain --no-legend --type=service --state=loaded | awk '{ print $1, $3 }' | grep -v '^user' | sort
sysctl net.core.somaxconn
