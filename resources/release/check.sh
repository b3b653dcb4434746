#!/bin/bash
# Runs inside the toolchain's root, started by resources/release.sh: checks the archive and the .deb of one architecture in
# /out, as somebody would who has nothing else. Programs for another processor run under qemu, with Debian's libc for it.
set -euo pipefail
arch=$1
deb_arch=$arch run=()
case $arch in
    amd64) ;;
    arm64) run=(qemu-aarch64) ;;
    armv7) run=(qemu-arm -cpu cortex-a7) deb_arch=armhf ;;
esac
name=domoflux-$VERSION-linux-$arch
deb=/out/domoflux_$VERSION-${REVISION}_$deb_arch.deb

fail() {
    echo "check: $arch: $*" >&2
    exit 1
}

tar -xzf "/out/$name.tar.gz" -C /tmp
cd "/tmp/$name"
sha256sum --quiet -c SHA256SUMS || fail "the sums in the archive do not fit"
for file in domoflux install.sh LICENSE README.md docs/installing.md resources/domoflux@.service resources/domoflux.sysusers \
    man/domoflux.1 completions/domoflux.bash completions/_domoflux completions/domoflux.fish; do
    [ -s "$file" ] || fail "the archive has no $file"
done
needs=$(readelf -V domoflux | grep -o 'GLIBC_2[0-9.]*' | sort -Vu | tail -n 1)
[ "$(printf '%s\n' "$needs" "GLIBC_$GLIBC" | sort -V | tail -n 1)" = "GLIBC_$GLIBC" ] || fail "needs $needs"
[ "$("${run[@]}" ./domoflux --version)" = "domoflux $VERSION" ] || fail "domoflux --version does not say $VERSION"
"${run[@]}" ./domoflux demo > /tmp/demo.txt || fail "the demo fails"
grep -q "the stream does not care" /tmp/demo.txt || fail "the demo does not show what it should"

dpkg-deb -x "$deb" /tmp/deb
cmp domoflux /tmp/deb/usr/bin/domoflux || fail "archive and package have different binaries"
grep -q '^ExecStart=.*/usr/bin/domoflux ' "/tmp/deb/usr/lib/systemd/system/domoflux@.service" || fail "the unit does not start /usr/bin/domoflux"
lintian --allow-root --fail-on error "$deb" || fail "lintian finds errors"
echo "$arch: $(stat -c %s domoflux) bytes, needs $needs, the demo runs${run[*]:+ under ${run[0]}}, lintian finds no error"
