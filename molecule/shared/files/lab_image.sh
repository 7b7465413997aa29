#!/bin/sh
# Copyright (c) 2026 The apiops.tyk_redis contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Usage: lab_image.sh SUITE
# Prints the name of the podman image of a bootable Debian SUITE, and builds it first when this very recipe has not
# been built yet. No container registry is needed: the packages come from the mirror that this machine itself uses.
set -eu

suite=$1
name=apiops-tyk-redis-$suite
label=io.github.apiops.tyk_redis=lab
packages=systemd,systemd-sysv,dbus,openssh-server,python3,python3-apt,sudo,iproute2,procps,ca-certificates

# The mirror, apt settings and certificate authorities of this machine: what works here works in the hosts as well.
# The words in brackets are for apt, not for the shell.
# shellcheck disable=SC2016
repository() {
    apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' "Label: $1" | head -n 1
}
mirror=$(repository Debian)
mirror=${mirror:-http://deb.debian.org/debian}
security=$(repository Debian-Security)
security=${security:-http://deb.debian.org/debian-security}
apt_settings=$(apt-config dump | grep -E '^Acquire::(https?::Proxy|Check-Valid-Until|Check-Date) ' || true)
authorities=/usr/local/share/ca-certificates

tag=$({
    cat "$0"
    echo "$suite $mirror $security $apt_settings"
    find "$authorities" -name '*.crt' -exec cat {} + 2>/dev/null
} | sha256sum | cut -c 1-12)
image=localhost/$name:$tag
if podman image exists "$image"; then
    echo "$image"
    exit 0
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/files/etc/apt/apt.conf.d" "$work/files/etc/ssh/sshd_config.d" "$work/files/etc/sudoers.d" \
    "$work/files/etc/systemd/system/ssh.service.d" "$work/files$authorities"
echo "$apt_settings" >"$work/files/etc/apt/apt.conf.d/90lab"
find "$authorities" -name '*.crt' -exec cp {} "$work/files$authorities/" \; 2>/dev/null || true
# One host key type is enough, and each host makes its own at its first start: two hosts never share a key.
cat >"$work/files/etc/ssh/sshd_config.d/lab.conf" <<'END'
HostKey /etc/ssh/ssh_host_ed25519_key
AuthorizedKeysFile /etc/ssh/authorized_keys.d/%u
PasswordAuthentication no
PermitRootLogin no
UseDNS no
END
cat >"$work/files/etc/systemd/system/ssh.service.d/lab.conf" <<'END'
[Service]
ExecStartPre=
ExecStartPre=/bin/sh -c '[ -s /etc/ssh/ssh_host_ed25519_key ] || ssh-keygen -q -t ed25519 -N "" -f /etc/ssh/ssh_host_ed25519_key'
ExecStartPre=/usr/sbin/sshd -t
END
echo 'ops ALL=(ALL) NOPASSWD: ALL' >"$work/files/etc/sudoers.d/ops"
chmod 0440 "$work/files/etc/sudoers.d/ops"

echo "Building $image from $mirror" >&2
# Nobody logs in on a console, and every unit left out saves a share of the machine's scarce inotify instances.
# The hooks run outside the new tree, which mmdebstrap gives them as $1.
# shellcheck disable=SC2016
mmdebstrap --quiet --variant=minbase --include="$packages" --skip=cleanup/apt/lists \
    --aptopt="$work/files/etc/apt/apt.conf.d/90lab" \
    --customize-hook="copy-in '$work/files/etc' '$work/files/usr' /" \
    --customize-hook='chown -R 0:0 "$1/etc/ssh" "$1/etc/sudoers.d"' \
    --customize-hook='chroot "$1" useradd --create-home --shell /bin/bash ops' \
    --customize-hook='chroot "$1" update-ca-certificates' \
    --customize-hook='rm -f "$1"/etc/ssh/ssh_host_* "$1/etc/hostname" "$1/etc/resolv.conf" && install -d "$1/etc/ssh/authorized_keys.d"' \
    --customize-hook='cd "$1/etc/systemd/system" && for unit in console-getty systemd-logind; do ln -s /dev/null $unit.service; done' \
    "$suite" "$work/image.tar" \
    "deb $mirror $suite main" "deb $mirror $suite-updates main" "deb $security $suite-security main" >&2
podman import --quiet --change "LABEL=$label" --change 'CMD ["/sbin/init"]' --change 'STOPSIGNAL SIGRTMIN+3' \
    "$work/image.tar" "$image" >&2
echo "$image"
