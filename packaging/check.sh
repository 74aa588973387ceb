#!/usr/bin/env bash
# Installs the Debian package in a minimal Debian, uses it there, and removes it.
set -euo pipefail
# Bounded by five minutes, in case something hangs.
[ -n "${TNET_CHECK_BOUNDED-}" ] || TNET_CHECK_BOUNDED=1 exec timeout 300 "$0" "$@"
cd "$(dirname "$0")/.."

skip() { echo "SKIPPED: $*"; exit 0; }
fail() { echo "packaging/check.sh: $*" >&2; exit 1; }

work=$(mktemp -d)
root=$work/root
clean_up() {
    local status=$?
    ! mountpoint -q "$root/proc" || umount "$root/proc"
    rm -rf "$work"
    exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

packaging/build.sh --output "$work/tnet.deb"
dpkg-deb --info "$work/tnet.deb" | grep -E '^ (Package|Version|Depends|Installed-Size):'

[ "$(id -u)" = 0 ] || skip "a chroot needs root"
command -v debootstrap >/dev/null || { apt-get update -qq && apt-get install -y -qq debootstrap; } >/dev/null 2>&1 || skip "debootstrap cannot be installed"
# The archive and the release of the machine we are on.
read -r archive release < <(cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null |
    sed -nE 's/^deb +(\[[^]]*\] +)?([^ ]+) +([a-z]+) +main.*/\2 \3/p' | head -n 1) || true
if [ -z "${archive-}" ]; then
    archive=$(sed -nE 's/^URIs: *([^ ]+).*/\1/p' /etc/apt/sources.list.d/*.sources 2>/dev/null | head -n 1)
    release=$(sed -nE 's/^Suites: *([a-z]+).*/\1/p' /etc/apt/sources.list.d/*.sources 2>/dev/null | head -n 1)
fi
[ -n "$archive" ] || skip "the machine names no Debian archive"
echo "-- a Debian with nothing else"
debootstrap --variant=minbase "$release" "$root" "$archive" >"$work/log" 2>&1 || { tail -n 3 "$work/log"; skip "no Debian can be made from the archive"; }
mount -t proc proc "$root/proc"
cp "$work/tnet.deb" "$root/tmp/"
inside() { chroot "$root" /usr/bin/env -i PATH=/usr/bin:/usr/sbin:/bin:/sbin HOME=/root LC_ALL=C "$@"; }

echo "-- installed and used"
inside dpkg -i /tmp/tnet.deb >"$work/log" 2>&1 || { cat "$work/log" >&2; fail "it cannot be installed"; }
inside tnet --version
inside tnet demo --size 8MiB | tail -n 1
for file in man/man1/tnet.1.gz man/man1/tnet-get.1.gz bash-completion/completions/tnet zsh/vendor-completions/_tnet \
    fish/vendor_completions.d/tnet.fish doc/tnet/copyright doc/tnet/LICENSE-APACHE; do
    # Pages are left out of a minimal Debian by its own choice; then they are at least in the
    # package.
    [ -s "$root/usr/share/$file" ] || dpkg-deb --contents "$work/tnet.deb" | grep -q "usr/share/$file" || fail "$file is missing"
done
for unit in tnet-coordinator tnet-peer; do
    [ -s "$root/usr/lib/systemd/system/$unit.service" ] || fail "$unit.service is missing"
done
for unit in "$root"/usr/lib/systemd/system/tnet-*.service; do
    # What the sandbox forbids has to fail, so that it can be told; without this it kills the
    # service.
    grep -qx SystemCallErrorNumber=EPERM "$unit" || fail "a call that is not allowed kills ${unit##*/}"
done
inside getent passwd tnet >/dev/null || fail "there is no user for the service"

echo "-- purged"
inside dpkg --purge tnet >"$work/log" 2>&1 || { cat "$work/log" >&2; fail "it cannot be removed"; }
left=$(find "$root/usr" "$root/etc" "$root/var/lib" -name '*tnet*' ! -name '*telnet*' -not -path '*/dpkg/*' | head)
[ -z "$left" ] || fail "this is left: $left"
! inside getent passwd tnet >/dev/null || fail "the user is left"
