#!/usr/bin/env bash
# Runs install.sh in a Debian of its own, where systemd is installed but does not run: what it does, that a dry run does
# nothing, that a second run changes nothing, and that nothing is left after it took everything away.
#
# DOMOFLUX is the binary to install [the debug build].
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=tests/debian-root.sh
. tests/debian-root.sh
need_debian_root

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root
debian_root "$root"
release_layout "${DOMOFLUX:-${CARGO_TARGET_DIR:-target}/debug/domoflux}" "$root/opt/release"

fail() {
    echo "install: $*" >&2
    exit 1
}

# Runs a command in the Debian. PATH is that of a login, with room for a dpkg that lies.
inside() {
    # shellcheck disable=SC2016 # the inner shell expands it
    unshare --mount --pid --fork sh -c 'mount -t proc proc "$1/proc"; root=$1; shift; exec chroot "$root" "$@"' sh "$root" \
        env -i PATH=/opt/lies:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/ LANG=C.UTF-8 "$@" < /dev/null
}

# Every file with all that can change, and its content; /tmp may only have been written to. useradd keeps copies.
tree() {
    (cd "$root" && find . \( -path ./tmp -o -path ./proc -o -path './run/*' -o -path './etc/*-' \) -prune -o -printf "$1" | LC_ALL=C sort)
    (cd "$root" && find etc usr/local var/lib opt -type f ! -path 'etc/*-' -print0 | LC_ALL=C sort -z | xargs -0 sha256sum)
    (cd "$root" && find tmp | LC_ALL=C sort)
}
with_times() { tree '%p %y %m %U %G %s %l %T@ %i\n'; }
without_times() { tree '%p %y %m %U %G %l\n'; }

same() { # what should be the same, before, after
    diff "$2" "$3" > "$work/difference" || fail "$1: $(head -n 20 "$work/difference")"
}

# Runs install.sh, which has to fail, and to say what is asked for.
refuses() {
    local text=$1
    shift
    if inside "$@" > "$work/output" 2>&1; then fail "does not refuse: $*"; fi
    grep -q -- "$text" "$work/output" || fail "$*: does not say \"$text\" but: $(cat "$work/output")"
}

says() { grep -q -- "$1" "$work/output" || fail "does not say \"$1\" but: $(cat "$work/output")"; }

without_times > "$work/pristine"
with_times > "$work/before"
inside /opt/release/install.sh --dry-run --enable default > "$work/output"
with_times > "$work/after"
same "a dry run changed something" "$work/before" "$work/after"
says "would install /usr/local/bin/domoflux"
says "would run: systemd-sysusers"
says "would run: systemctl --quiet enable domoflux@default.service"
echo "a dry run does nothing"

inside /opt/release/install.sh > "$work/output"
says "installed /usr/local/bin/domoflux"
for file in bin/domoflux share/man/man1/domoflux.1 share/bash-completion/completions/domoflux \
    share/zsh/site-functions/_domoflux share/fish/vendor_completions.d/domoflux.fish share/domoflux/manifest; do
    [ -s "$root/usr/local/$file" ] || fail "/usr/local/$file is missing"
done
inside domoflux --version | grep -q '^domoflux [0-9]' || fail "the installed binary does not run"
inside man domoflux | grep 'domoflux.daemon' > /dev/null || fail "the manual page can't be read"
inside bash -c '. /usr/local/share/bash-completion/completions/domoflux && complete -p domoflux' > /dev/null || fail "the completions for bash are bad"
inside systemd-analyze verify --man=no /etc/systemd/system/domoflux@.service > "$work/output" 2>&1 || fail "the unit: $(cat "$work/output")"
[ ! -e "$root/etc/systemd/system/multi-user.target.wants/domoflux@default.service" ] || fail "enabled an instance unasked"
echo "installs"

with_times > "$work/before"
inside /opt/release/install.sh > "$work/output"
with_times > "$work/after"
same "a second run changed something" "$work/before" "$work/after"
says "already there: /usr/local/bin/domoflux"
if grep -E 'installed|replaced|made|wrote|restarted' "$work/output"; then fail "a second run says that it did something"; fi
echo "a second run changes nothing"

# An update: another binary, and a page less. The old one is replaced by a rename.
inode=$(stat -c %i "$root/usr/local/bin/domoflux")
cp -r "$root/opt/release" "$root/opt/next"
echo >> "$root/opt/next/domoflux"
rm "$root/opt/next/man/domoflux-demo.1"
write_sums "$root/opt/next"
inside /opt/next/install.sh > "$work/output"
says "replaced /usr/local/bin/domoflux"
says "removed /usr/local/share/man/man1/domoflux-demo.1"
[ "$(stat -c %i "$root/usr/local/bin/domoflux")" != "$inode" ] || fail "the binary was overwritten, not replaced"
echo "updates"

inside /opt/release/install.sh --enable default --enable panel.2 > "$work/output"
says "enabled domoflux@default.service"
[ -L "$root/etc/systemd/system/multi-user.target.wants/domoflux@default.service" ] \
    || find "$root/etc/systemd/system" -name 'domoflux@default.service' -type l | grep -q . || fail "default is not enabled"
inside /opt/release/install.sh --enable default > "$work/output"
says "already enabled: domoflux@default.service"
echo "enables"

# The name of another tool, only when asked; an update keeps it, and somebody else's program is not touched.
link=usr/local/bin/tcp-multiplexer
[ ! -e "$root/$link" ] || fail "linked tcp-multiplexer unasked"
echo "another tool" > "$root/$link"
refuses "/$link is another program: move it away first" /opt/release/install.sh --tcp-multiplexer
grep -q "another tool" "$root/$link" || fail "touched another tool's program"
rm "$root/$link"
inside /opt/release/install.sh --tcp-multiplexer --dry-run > "$work/output"
says "would link /$link to domoflux"
[ ! -L "$root/$link" ] || fail "a dry run made a link"
inside /opt/release/install.sh --tcp-multiplexer > "$work/output"
says "linked /$link to domoflux"
inside tcp-multiplexer list > "$work/output"
says "^\* modbus-serial$"
inside /opt/release/install.sh > "$work/output"
says "already there: /$link"
inside tcp-multiplexer version > "$work/output"
says "^version [0-9]"
refuses "does not go with --uninstall" /opt/release/install.sh --uninstall --tcp-multiplexer
echo "takes the name tcp-multiplexer when asked"

with_times > "$work/before"
inside /opt/release/install.sh --uninstall --purge --dry-run > "$work/output"
with_times > "$work/after"
same "a dry run of --uninstall changed something" "$work/before" "$work/after"
says "would remove /usr/local/bin/domoflux"
says "would remove /usr/local/bin/tcp-multiplexer"
# With state, the owner of it stays; without, nothing does.
mkdir "$root/var/lib/domoflux/default"
echo "[daemon]" > "$root/etc/domoflux/default.toml"
inside /opt/release/install.sh --uninstall > "$work/output"
for kept in var/lib/domoflux/default etc/domoflux/default.toml; do [ -e "$root/$kept" ] || fail "--uninstall took /$kept"; done
inside /opt/release/install.sh --uninstall --purge > "$work/output"
rm -r "$root/opt/next"
without_times > "$work/after"
same "--uninstall --purge left something" "$work/pristine" "$work/after"
inside /opt/release/install.sh > "$work/output"
inside /opt/release/install.sh --uninstall > "$work/output"
without_times > "$work/after"
same "--uninstall left something" "$work/pristine" "$work/after"
echo "takes everything away"

# Not root: into a directory of its own, and only there.
refuses "needs root, and uses no sudo" setpriv --reuid=65534 --regid=65534 --clear-groups /opt/release/install.sh
mkdir -m 777 "$root/opt/own"
inside setpriv --reuid=65534 --regid=65534 --clear-groups /opt/release/install.sh --prefix /opt/own/x > "$work/output"
inside /opt/own/x/bin/domoflux --version > /dev/null || fail "--prefix: no binary"
inside setpriv --reuid=65534 --regid=65534 --clear-groups /opt/release/install.sh --prefix /opt/own/x --uninstall > "$work/output"
rmdir "$root/opt/own/x" 2> /dev/null || true
rmdir "$root/opt/own" || fail "--prefix: --uninstall left something"
without_times > "$work/after"
same "an installation without root left something" "$work/pristine" "$work/after"
echo "installs without root"

# What it refuses, and what it says then.
refuses "unknown option --frobnicate" /opt/release/install.sh --frobnicate
refuses "no name of an instance" /opt/release/install.sh --enable ../x
cp -r "$root/opt/release" "$root/opt/bad"
echo >> "$root/opt/bad/domoflux"
refuses "does not have the SHA-256" /opt/bad/install.sh
sed -i --follow-symlinks 's/^ID=.*/ID=plan9/' "$root/etc/os-release"
refuses "neither Debian nor Raspberry Pi OS" /opt/release/install.sh
inside /opt/release/install.sh --dry-run --prefix /usr/local > "$work/output"
says "going on because of --prefix"
sed -i --follow-symlinks 's/^ID=.*/ID=debian/' "$root/etc/os-release"

# Another machine, played by a dpkg and a uname that lie; the source tree's layout, with binaries in dist/.
pretend() { # what dpkg says, what uname says
    mkdir -p "$root/opt/lies"
    printf '#!/bin/sh\necho %s\n' "$1" > "$root/opt/lies/dpkg"
    printf '#!/bin/sh\necho %s\n' "$2" > "$root/opt/lies/uname"
    chmod +x "$root"/opt/lies/*
}
own=$(dpkg --print-architecture)
case $own in
    arm64) other=armhf other_name=armv7 other_uname=armv7l header='\x28\x00' ;;
    *) other=arm64 other_name=arm64 other_uname=aarch64 header='\xb7\x00' ;;
esac
pretend "$other" "$other_uname"
refuses "this machine is $other_name: get domoflux-<version>-linux-$other_name.tar.gz" /opt/release/install.sh
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
mkdir -p "$root/opt/tree/dist"
cp -r install.sh Cargo.toml resources "$root/opt/tree/"
refuses "no binary for $other_name beside .* no cargo" /opt/tree/install.sh
# A program for the other processor, as far as its ELF header goes.
cp -r "$root/opt/release" "$work/domoflux-$version-linux-$other_name"
# shellcheck disable=SC2059 # the escapes are meant
printf "$header" | dd of="$work/domoflux-$version-linux-$other_name/domoflux" bs=1 seek=18 conv=notrunc status=none
tar -C "$work" -czf "$root/opt/tree/dist/domoflux-$version-linux-$other_name.tar.gz" "domoflux-$version-linux-$other_name"
(cd "$root/opt/tree/dist" && sha256sum -- *.tar.gz > SHA256SUMS)
inside /opt/tree/install.sh --dry-run > "$work/output"
says "dist/domoflux-$version-linux-$other_name.tar.gz has the SHA-256"
says "would install /usr/local/bin/domoflux"
refuses "the binary does not run here" /opt/tree/install.sh
echo "0000000000000000000000000000000000000000000000000000000000000000  domoflux-$version-linux-$other_name.tar.gz" > "$root/opt/tree/dist/SHA256SUMS"
refuses "does not have the SHA-256 .* fetch it again" /opt/tree/install.sh --dry-run
# A 32-bit system on a 64-bit kernel takes the 32-bit binary; a Raspberry Pi 1 gets a clear word.
pretend armhf aarch64
refuses "no binary for armv7" /opt/tree/install.sh --dry-run
pretend armhf armv6l
refuses "ARMv6 (Raspberry Pi 1" /opt/release/install.sh
pretend riscv64 riscv64
refuses "this machine is riscv64" /opt/release/install.sh
echo "chooses by the machine, and refuses what does not fit"

# A clone without binaries: a cargo, played by a script, makes one.
rm -r "$root/opt/lies" "$root/opt/tree/dist"
mkdir "$root/opt/lies"
cat > "$root/opt/lies/cargo" << 'CARGO'
#!/bin/sh
set -eu
[ "$*" = "build --release --locked --bin domoflux" ]
mkdir -p target/release
cp /opt/release/domoflux target/release/
CARGO
chmod +x "$root/opt/lies/cargo"
with_times > "$work/before"
inside /opt/tree/install.sh --dry-run > "$work/output"
with_times > "$work/after"
same "a dry run of a build changed something" "$work/before" "$work/after"
says "would run: cargo build"
inside /opt/tree/install.sh > "$work/output"
says "installed /usr/local/share/man/man1/domoflux.1"
rm "$root/opt/lies/cargo"
inside /opt/tree/install.sh > "$work/output"
says "already there: /usr/local/bin/domoflux"
inside /opt/tree/install.sh --uninstall > "$work/output"
rm -r "$root/opt"/{lies,tree,bad}
without_times > "$work/after"
same "--uninstall of a build left something" "$work/pristine" "$work/after"
echo "builds with cargo"
