#!/usr/bin/env bash
# Runs the setup.sh of Jeedom's plugin in a Debian of its own, where systemd does not run, as in a container: what it
# installs and refuses, what it says about it in its status file, and that nothing is left after it took everything away.
# With systemd, tests/container.sh does the same. And install.sh where there is a Jeedom, and the branch of a release.
#
# DOMOFLUX is the binary to install [the debug build].
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=tests/debian-root.sh
. tests/debian-root.sh
need_debian_root
if [ ! -f plugin-jeedom/plugin_info/info.json ]; then
    echo "NOT CHECKED: there is no plugin-jeedom/plugin_info/info.json"
    exit 0
fi
binary=${DOMOFLUX:-${CARGO_TARGET_DIR:-target}/debug/domoflux}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root
html=$root/var/www/html
plugin=$html/plugins/domoflux
setup=/var/www/html/core/class/../../plugins/domoflux/resources/setup.sh
status=$root/var/lib/domoflux/jeedom-setup.status
debian_root "$root"
fake_jeedom "$root"

fail() {
    echo "jeedom-setup: $*" >&2
    exit 1
}

# Runs a command in the Debian, with a /tmp that stays and room for programs that lie.
inside() {
    # shellcheck disable=SC2016 # the inner shell expands it
    unshare --mount --pid --fork sh -c 'mount -t proc proc "$1/proc"; root=$1; shift; exec chroot "$root" "$@"' sh "$root" \
        env -i PATH=/opt/lies:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/ LANG=C.UTF-8 "$@" < /dev/null
}

does() { inside "$@" > "$work/output" 2>&1 || fail "$*: $(cat "$work/output")"; }

# Runs setup.sh, which has to fail with this code, and to say what is asked for; an installation also in its status.
refuses() {
    local code=$1 text=$2 got=0
    shift 2
    inside "$@" > "$work/output" 2>&1 || got=$?
    [ $got = "$code" ] || fail "$*: exit code $got, not $code: $(cat "$work/output")"
    grep -q -- "$text" "$work/output" || fail "$*: does not say \"$text\" but: $(cat "$work/output")"
    if [ $# = 1 ]; then
        is state failed
        grep -q -- "^reason=.*$text" "$status" || fail "the status does not say \"$text\" but: $(cat "$status")"
    fi
}
is() { [ "$(sed -n "s/^$1=//p" "$status")" = "$2" ] || fail "the status has not $1=$2 but: $(cat "$status")"; }
says() { grep -q -- "$1" "$work/output" || fail "does not say \"$1\" but: $(cat "$work/output")"; }

tree() {
    (cd "$root" && find . \( -path ./proc -o -path './run/*' -o -path './etc/*-' -o -path ./tmp \) -prune -o -printf "$1" | LC_ALL=C sort)
}
with_times() { tree '%p %y %m %U %G %s %l %T@ %i\n'; }
without_times() { tree '%p %y %m %U %G %l\n'; }
same() { # what should be the same, before, after
    diff "$2" "$3" > "$work/difference" || fail "$1: $(head -n 20 "$work/difference")"
}

# What the plugin's PHP computes.
fingerprint() { (cd "$plugin/resources" && cat bin/SHA256SUMS domoflux@.service domoflux.sysusers setup.sh) | sha256sum | cut -d ' ' -f 1; }

version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
mkdir "$work/same"
jeedom_plugin "$root" "$binary"
without_times > "$work/pristine"

# The core makes the progress file. A link in its place leads nowhere.
echo 1 > "$root/tmp/jeedom_install_in_progress_domoflux"
does $setup
[ "$(cat "$root/tmp/jeedom_install_in_progress_domoflux")" = 95 ] || fail "the progress is $(cat "$root/tmp/jeedom_install_in_progress_domoflux")"
ln -sf /etc/hostname "$root/tmp/jeedom_install_in_progress_domoflux"
inside domoflux --version | grep -qx "domoflux $version" || fail "the installed binary does not run"
[ "$(stat -c '%a %u %g' "$root/usr/local/bin/domoflux")" = "755 0 0" ] || fail "the binary is not root's: $(stat -c '%a %u %g' "$root/usr/local/bin/domoflux")"
[ "$(stat -c '%a %u %g' "$root/var/lib/domoflux/jeedom")" = "750 33 33" ] || fail "the state is not the web server's"
[ "$(stat -c '%a %u %g' "$html/log/domoflux_daemon")" = "664 33 33" ] || fail "the log is not the web server's"
[ ! -e "$root/etc/systemd/system/domoflux@.service" ] || fail "puts a unit where no systemd runs"
[ "$(stat -c %a "$status")" = 644 ] || fail "the status can't be read by everybody"
is state ok
is version "$version"
is binary /usr/local/bin/domoflux
is plugin "$(fingerprint)"
is reason ""
echo "without systemd: installs"

with_times > "$work/before"
does $setup install /var/www/html/plugins/domoflux
with_times > "$work/after"
same "a second run changed something" "$work/before" "$work/after"
rm "$root/tmp/jeedom_install_in_progress_domoflux"
[ ! -s "$root/etc/hostname" ] || ! grep -qE '^[0-9]+$' "$root/etc/hostname" || fail "the progress was written through a link"
echo "a second run changes nothing"

# As the plugin does there: www-data starts it.
# shellcheck disable=SC2016 # the inner shell expands it
does setpriv --reuid=33 --regid=33 --clear-groups env DOMOFLUX_LISTEN=127.0.0.1:0 \
    DOMOFLUX_LOG_FORMAT=jeedom DOMOFLUX_LOG_FILE=/var/www/html/log/domoflux_daemon \
    timeout 20 sh -euc '
        domoflux daemon --supervise --instance jeedom --state-dir /var/lib/domoflux/jeedom &
        until [ -s /var/lib/domoflux/jeedom/endpoint.json ]; do sleep 0.05; done
        kill $!
        wait $!'
grep -qE '^\[[-0-9: ]+\]\[INFO\] ' "$html/log/domoflux_daemon" || fail "the daemon does not log into Jeedom's file: $(cat "$html/log/domoflux_daemon")"
[ -s "$root/var/lib/domoflux/jeedom/token" ] || fail "the daemon has no state"

# Ports below 1024, where setcap is: this machine's goes into the Debian for it.
if command -v setcap > /dev/null && command -v getcap > /dev/null; then
    mkdir -p "$root/usr/local/sbin"
    cp "$(command -v setcap)" "$(command -v getcap)" "$root/usr/local/sbin/"
    does $setup
    inside getcap /usr/local/bin/domoflux | grep -q cap_net_bind_service || fail "the binary has not the capability for low ports"
    with_times > "$work/before"
    does $setup
    with_times > "$work/after"
    same "a second run with setcap changed something" "$work/before" "$work/after"
    # A container that does not have the capability: a file with it would not even start.
    echo >> "$plugin/resources/bin/SHA256SUMS"
    rm "$root/usr/local/bin/domoflux"
    does setpriv --bounding-set=-net_bind_service $setup
    says "does not allow CAP_NET_BIND_SERVICE"
    does setpriv --bounding-set=-net_bind_service domoflux --version
    does setpriv --bounding-set=-net_bind_service $setup
    if grep -E 'installed|does not allow' "$work/output"; then fail "a second run without the capability does it all again"; fi
    rm "$root"/usr/local/sbin/{setcap,getcap}
    echo "gives the capability for low ports, where the container has it"
else
    echo "NOT CHECKED: there is no setcap (Debian has it in libcap2-bin)"
fi

does $setup configure 55999 debug
[ "$(cat "$root/etc/domoflux/jeedom.env")" = "DOMOFLUX_LISTEN=127.0.0.1:55999
DOMOFLUX_LOG_LEVEL=debug" ] || fail "configure: $(cat "$root/etc/domoflux/jeedom.env")"
for port in "" 0 080 65536 123456 -1 1a "1 2" '1;id'; do refuses 64 "is no port" $setup configure "$port"; done
refuses 64 "is no log level" $setup configure 55999 loud
refuses 64 "is no time zone" $setup configure 55999 info 'Europe/Paris x'
refuses 64 "unknown command" $setup frobnicate
refuses 64 "unknown command" $setup start x
refuses 64 "unknown option" $setup remove --all
refuses 64 "no directory" $setup install /var/www/html/plugins/other
refuses 69 "there is no systemd here" $setup start
refuses 1 "this needs root" setpriv --reuid=33 --regid=33 --clear-groups $setup install
echo "configures, and takes nothing for an argument that is none"

# What a damaged or foreign plugin is. A failure leaves what runs.
cp -a "$plugin" "$work/plugin"
again() { rm -rf "$plugin" && cp -a "$work/plugin" "$plugin"; }
own=$(basename "$(dirname "$plugin"/resources/bin/*/domoflux)")
sed -i "s|^[0-9a-f]*  $own/|$(printf '%064d' 0)  $own/|" "$plugin/resources/bin/SHA256SUMS"
refuses 1 "does not have the SHA-256" $setup
inside domoflux --version > /dev/null || fail "a damaged plugin took the binary that was there"
is plugin "$(fingerprint)"
again
rm "$plugin/resources/bin/SHA256SUMS"
refuses 1 "SHA256SUMS is missing" $setup
again
sed -i "s|  $own/|  other/|" "$plugin/resources/bin/SHA256SUMS"
refuses 1 "has no line for $own/domoflux" $setup
again
# A program for another processor, as far as its ELF header goes.
header='\xb7\x00'
if [ "$own" = arm64 ]; then header='\x28\x00'; fi
# shellcheck disable=SC2059 # the escapes are meant
printf "$header" | dd of="$plugin/resources/bin/$own/domoflux" bs=1 seek=18 conv=notrunc status=none
(cd "$plugin/resources/bin" && sha256sum -- */domoflux > SHA256SUMS)
refuses 1 "and this machine is $own" $setup
again
rm -r "$plugin/resources/bin"
refuses 1 "there is no binary for $own in .*install the plugin again" $setup
again
# setup.sh has a PATH of its own, so what lies about the machine goes where a real one would be.
pretend() { # what dpkg says, what uname says
    mkdir -p "$root/usr/local/sbin"
    printf '#!/bin/sh\necho %s\n' "$1" > "$root/usr/local/sbin/dpkg"
    printf '#!/bin/sh\necho %s\n' "$2" > "$root/usr/local/sbin/uname"
    chmod +x "$root"/usr/local/sbin/{dpkg,uname}
}
pretend armhf armv6l
refuses 1 "ARMv6 (Raspberry Pi 1" $setup
pretend riscv64 riscv64
refuses 1 "there is no binary for riscv64" $setup
rm "$root"/usr/local/sbin/{dpkg,uname}
chown -R 0:0 "$html/plugins"
refuses 1 "belongs to root" $setup
chown -R 33:33 "$html/plugins"
does $setup
is state ok
echo "refuses what is damaged or for another machine, and says so in its status"

# The package goes before.
printf '#!/bin/sh\necho installed\n' > "$root/usr/local/sbin/dpkg-query"
chmod +x "$root/usr/local/sbin/dpkg-query"
cp "$root/usr/local/bin/domoflux" "$root/usr/bin/domoflux"
does $setup
is binary /usr/bin/domoflux
[ ! -e "$root/usr/local/bin/domoflux" ] || fail "the binary beside the package's stays"
does $setup remove
[ -e "$root/usr/bin/domoflux" ] || fail "took the package's binary"
rm "$root/usr/local/sbin/dpkg-query" "$root/usr/bin/domoflux"
echo "leaves the Debian package its own"

does $setup
does $setup remove
for kept in var/lib/domoflux/jeedom/token etc/domoflux/jeedom.env; do [ -s "$root/$kept" ] || fail "remove took /$kept"; done
[ ! -e "$root/usr/local/bin/domoflux" ] || fail "remove left the binary: $(cat "$work/output")"
does $setup remove --purge
without_times > "$work/after"
same "remove --purge left something" "$work/pristine" "$work/after"
echo "takes everything away"

# A clone that the plugin's folder is a link into, and a cargo, played by a script, that makes the binary.
mkdir -p "$root/opt/clone/daemon" "$root/opt/home/.cargo/bin" "$root/opt/lies"
cp -r "$work/plugin" "$root/opt/clone/plugin-jeedom"
rm -r "$root/opt/clone/plugin-jeedom/resources/bin" "$root"/opt/clone/plugin-jeedom/resources/domoflux*
cp -r resources Cargo.toml "$root/opt/clone/"
cp "$binary" "$root/opt/clone/made"
rm -r "$plugin"
ln -s /opt/clone/plugin-jeedom "$plugin"
chown -h 33:33 "$plugin"
refuses 1 "and no cargo to build /opt/clone" $setup
needs=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
cat > "$root/usr/local/bin/cargo" << CARGO
#!/bin/sh
set -eu
if [ "\$1" = --version ]; then
    echo "cargo \$(cat /opt/clone/rust)"
    exit
fi
[ "\$*" = "build --release --locked --bin domoflux" ]
mkdir -p target/release
cp made target/release/domoflux
CARGO
chmod +x "$root/usr/local/bin/cargo"
echo 1.60.0 > "$root/opt/clone/rust"
refuses 1 "domoflux takes Rust $needs or newer" $setup
echo "${needs}.9" > "$root/opt/clone/rust"
does $setup
is state ok
is binary /usr/local/bin/domoflux
does $setup remove --purge
rm -r "$plugin" "$root"/opt/{clone,home,lies} "$root/usr/local/bin/cargo"
cp -a "$work/plugin" "$plugin"
without_times > "$work/after"
same "remove --purge of a build left something" "$work/pristine" "$work/after"
echo "builds in a clone"

# install.sh where there is a Jeedom.
rm -r "$plugin"
without_times > "$work/pristine"
release_layout "$binary" "$root/opt/release"
does /opt/release/install.sh
says "copied the plugin to /var/www/html/plugins/domoflux; activate it"
[ "$(stat -c '%u %g' "$plugin/resources/setup.sh")" = "33 33" ] || fail "the plugin is not the web server's"
for file in core/config/kinds.json resources/domoflux@.service; do [ -s "$plugin/$file" ] || fail "the plugin has no $file"; done
with_times > "$work/before"
does /opt/release/install.sh
with_times > "$work/after"
same "a second run of install.sh changed something" "$work/before" "$work/after"
says "already there: /var/www/html/plugins/domoflux"
does $setup
is binary /usr/local/bin/domoflux
# A newer plugin takes the place of this one, and leaves what Jeedom keeps in it.
mkdir "$plugin/data"
echo kept > "$plugin/data/backup.json"
echo "# newer" >> "$root/opt/release/plugin-jeedom/resources/setup.sh"
does /opt/release/install.sh
[ "$(cat "$plugin/data/backup.json")" = kept ] || fail "an update took the plugin's data"
tail -n 1 "$plugin/resources/setup.sh" | grep -q newer || fail "an update did not update the plugin"
does $setup remove
[ -e "$root/usr/local/bin/domoflux" ] || fail "setup.sh remove took the binary of install.sh"
does /opt/release/install.sh --uninstall --purge
rm -r "$root/opt/release"
without_times > "$work/after"
same "install.sh --uninstall --purge left something" "$work/pristine" "$work/after"
echo "install.sh puts the plugin into Jeedom, and takes it away"

# The branch, in a clone: the one that is tested gets none.
git clone -q --no-checkout . "$work/clone"
git -C "$work/clone" checkout -q -f
cp -r plugin-jeedom resources LICENSE Cargo.toml "$work/clone/"
mkdir -p "$work/bin/$own"
cp "$binary" "$work/bin/$own/"
release() { (cd "$work/clone" && resources/release.sh --jeedom-only --binaries "$work/bin" --out "$work/dist$1" --branch jeedom) > "$work/output" 2>&1; }
release 1 || fail "release.sh --jeedom-only: $(cat "$work/output")"
tip=$(git -C "$work/clone" rev-parse jeedom)
git -C "$work/clone" cat-file -e jeedom:plugin_info/packages.json || fail "plugin_info is not at the top of the branch"
[ "$(git -C "$work/clone" ls-tree jeedom "resources/bin/$own/domoflux" | cut -d ' ' -f 1)" = 100755 ] || fail "the branch has no binary that can be executed"
touch "$work/clone/plugin-jeedom/resources/setup.sh"
release 2 || fail "release.sh --jeedom-only: $(cat "$work/output")"
says "the branch jeedom has it already"
[ "$(git -C "$work/clone" rev-parse jeedom)" = "$tip" ] || fail "the same sources make another commit"
cmp "$work"/dist{1,2}/domoflux-jeedom-"$version".zip || fail "the same sources make another zip"
sed -i 's/"pluginVersion": *"[^"]*"/"pluginVersion": "0.0.1"/' "$work/clone/plugin-jeedom/plugin_info/info.json"
if release 3; then fail "packs a plugin of another version"; fi
says "they go together"
echo "makes the zip and the branch, the same from the same"
