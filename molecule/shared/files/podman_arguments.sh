#!/bin/sh
# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Usage: podman_arguments.sh IMAGE
# Prints the arguments, one a line, that this machine's podman needs to start a container at all, found by trying:
# crun refuses hybrid cgroups, and a root without CAP_SYS_RESOURCE cannot raise the limits that podman asks for.
set -eu

image=$1
limits='--ulimit=nofile=16384:16384 --ulimit=nproc=4096:4096'
for arguments in '' "$limits" '--runtime=runc' "--runtime=runc $limits"; do
    # Splitting into words is meant.
    # shellcheck disable=SC2086
    if last=$(podman run --rm --network=none --systemd=always $arguments "$image" /bin/true 2>&1); then
        for argument in $arguments; do
            echo "$argument"
        done
        exit 0
    fi
done
echo "podman cannot start a container here, neither with runc nor with lower limits. It says: $last" >&2
exit 1
