# shellcheck shell=bash
# Sourced by the tests that need a Debian of their own to install into. Only root can make one.

suite=bookworm
# A binary that was built here needs a glibc that is not older than this system's.
if grep -q '^VERSION_CODENAME=trixie$' /etc/os-release 2> /dev/null; then suite=trixie; fi
mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
cached_root=${CARGO_TARGET_DIR:-target}/debian-$suite.tar.gz

# Ends the test when no root can be made, and says so: it has checked nothing then.
need_debian_root() {
    local reason=
    if [ "$(id -u)" != 0 ]; then
        reason="this is not root"
    elif ! command -v debootstrap > /dev/null; then
        reason="there is no debootstrap"
    elif ! unshare --mount true 2> /dev/null; then
        reason="no mount namespace can be made here"
    fi
    if [ -n "$reason" ]; then
        echo "NOT CHECKED: $reason"
        exit 0
    fi
}

# Unpacks a minimal Debian with systemd into $1. The first run makes it, later ones have it in the cache.
debian_root() {
    local work
    if [ ! -e "$cached_root" ]; then
        work=$(mktemp -d)
        echo "making $cached_root"
        if ! debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,man-db,procps,iproute2,adduser "$suite" "$work/root" "$mirror" > "$work/log" 2>&1; then
            tail -n 5 "$work/log"
            rm -rf "$work"
            echo "NOT CHECKED: debootstrap can't fetch $suite from $mirror"
            exit 0
        fi
        rm -rf "$work"/root/var/cache/apt/archives/*.deb "$work"/root/var/lib/apt/lists/*
        mkdir -p "$(dirname "$cached_root")"
        tar -C "$work/root" -cf - . | gzip -1 > "$cached_root.new"
        mv "$cached_root.new" "$cached_root"
        rm -rf "$work"
    fi
    mkdir -p "$1"
    tar -C "$1" -xzf "$cached_root"
}

# What a release archive has, with the binary $1, in the directory $2.
release_layout() {
    mkdir -p "$2/resources"
    install -m 755 "$1" "$2/domoflux"
    "$1" man --dir "$2/man"
    mkdir "$2/completions"
    "$1" completions bash > "$2/completions/domoflux.bash"
    "$1" completions zsh > "$2/completions/_domoflux"
    "$1" completions fish > "$2/completions/domoflux.fish"
    cp install.sh LICENSE README.md "$2/"
    cp "resources/domoflux@.service" resources/domoflux.sysusers resources/example.toml resources/kinds.json "$2/resources/"
    if [ -d plugin-jeedom ]; then cp -r plugin-jeedom "$2/"; fi
    write_sums "$2"
}

# As a release has them.
write_sums() {
    rm -f "$1/SHA256SUMS"
    (cd "$1" && find . -type f -printf '%P\0' | xargs -0 sha256sum) > "$1.sums"
    mv "$1.sums" "$1/SHA256SUMS"
}

# A Jeedom in the root $1, as far as setup.sh looks at one.
fake_jeedom() {
    mkdir -p "$1"/var/www/html/{core/class,plugins,log}
    echo '<?php' > "$1/var/www/html/core/class/jeedom.class.php"
    chmod -R 775 "$1/var/www/html"
    # www-data has the same number in every Debian.
    chown -R 33:33 "$1/var/www/html"
}

# The plugin in the root $1, as Jeedom unpacks its zip, with the binary $2.
jeedom_plugin() {
    local arch
    arch=$(dpkg --print-architecture)
    if [ "$arch" = armhf ]; then arch=armv7; fi
    mkdir -p "$1.zip/bin/$arch"
    cp "$2" "$1.zip/bin/$arch/domoflux"
    resources/release.sh --jeedom-only --binaries "$1.zip/bin" --out "$1.zip" > "$1.zip/log" 2>&1 || {
        cat "$1.zip/log" >&2
        return 1
    }
    python3 -m zipfile -e "$1.zip"/*.zip "$1/var/www/html/plugins/domoflux"
    rm -r "$1.zip"
    chmod -R 775 "$1/var/www/html/plugins/domoflux"
    chown -R 33:33 "$1/var/www/html/plugins"
}
