#!/bin/bash
# Runs inside the toolchain's root, started by resources/release.sh: builds /src for one architecture and leaves the
# archive and the .deb in /out. Everything that could differ from machine to machine is fixed here: paths, times, owners,
# order, and the versions of tar, gzip and dpkg-deb.
#
#   build.sh <amd64|arm64|armv7>    with VERSION, REVISION, GLIBC, MAINTAINER, SOURCE_DATE_EPOCH in the environment
set -euo pipefail
umask 022
arch=$1
case $arch in
    amd64) rust=x86_64-unknown-linux-gnu zig=x86_64-linux-gnu deb_arch=amd64 run=() ;;
    arm64) rust=aarch64-unknown-linux-gnu zig=aarch64-linux-gnu deb_arch=arm64 run=(qemu-aarch64) ;;
    armv7) rust=armv7-unknown-linux-gnueabihf zig=arm-linux-gnueabihf deb_arch=armhf run=(qemu-arm -cpu cortex-a7) ;;
esac
name=domoflux-$VERSION-linux-$arch
binary=/build/$rust/release/domoflux
here=/src/resources

compile() {
    local variable=${rust//-/_} cc=/opt/cc-$arch remap=() dir
    printf '#!/bin/sh\nexec %s/release/zig-cc %s.%s "$@"\n' "$here" "$zig" "$GLIBC" > "$cc"
    printf '#!/bin/sh\nexec /opt/zig/zig ar "$@"\n' > /opt/ar
    chmod +x "$cc" /opt/ar
    export "CC_$variable=$cc" "AR_$variable=/opt/ar" "CARGO_TARGET_${variable^^}_LINKER=$cc"
    export ZIG_GLOBAL_CACHE_DIR=/build/zig ZIG_LOCAL_CACHE_DIR=/build/zig
    export CARGO_TARGET_DIR=/build CARGO_INCREMENTAL=0
    cd /src
    cargo fetch --locked --target "$rust"
    # The folder's name depends on the registry that the crates came from.
    for dir in /cargo/registry/src/*; do remap+=("--remap-path-prefix=$dir=crates"); done
    RUSTFLAGS="${remap[*]}" cargo build --release --locked --offline --target "$rust" --bin domoflux
}

# The greatest glibc version that the binary asks for.
needs_glibc() { readelf -V "$binary" | grep -o 'GLIBC_2[0-9.]*' | sort -Vu | tail -n 1 | cut -d _ -f 2; }

check_binary() {
    local needs found
    needs=$(needs_glibc)
    if [ "$(printf '%s\n' "$needs" "$GLIBC" | sort -V | tail -n 1)" != "$GLIBC" ]; then
        echo "$binary needs glibc $needs, $GLIBC was asked for" >&2
        exit 1
    fi
    found=$(readelf -d "$binary" | sed -n 's/.*NEEDED.*\[\(.*\)\]/\1/p' \
        | grep -vE '^(libc\.so\.6|libm\.so\.6|libpthread\.so\.0|libdl\.so\.2|librt\.so\.1|ld-linux.*)$' || true)
    if [ -n "$found" ]; then
        echo "$binary needs libraries beside glibc: $found" >&2
        exit 1
    fi
    found=$(strings -a "$binary" | grep -E '/(src/daemon|build|cargo|opt|root|home|tmp)/[^ ]*\.(rs|c|h|o)\b' || true)
    if [ -n "$found" ]; then
        echo "$binary has paths of the build in it: $found" >&2
        exit 1
    fi
    echo "$arch: $(stat -c %s "$binary") bytes, needs glibc $needs"
}

# Same bytes for the same tree.
same_tar() { tar --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner --format=gnu -cf - "$@" | gzip -9n; }

# What the program says about itself: its manual pages and completions.
documents() {
    local to=$1
    mkdir -p "$to/man" "$to/completions"
    "${run[@]}" "$binary" man --dir "$to/man"
    "${run[@]}" "$binary" completions bash > "$to/completions/domoflux.bash"
    "${run[@]}" "$binary" completions zsh > "$to/completions/_domoflux"
    "${run[@]}" "$binary" completions fish > "$to/completions/domoflux.fish"
}

archive() {
    local dir=/stage/$name
    rm -rf /stage
    mkdir -p "$dir/resources"
    install -m 755 "$binary" "$dir/domoflux"
    documents "$dir"
    # The layout of the tree, so that install.sh and the links of the documents work in both.
    cp -r /src/docs /src/README.md /src/CHANGELOG.md /src/LICENSE "$dir/"
    if [ -d /src/plugin-jeedom ]; then
        cp -r /src/plugin-jeedom "$dir/"
        rm -rf "$dir/plugin-jeedom/tests"
    fi
    install -m 755 /src/install.sh "$dir/install.sh"
    install -m 644 "$here/domoflux@.service" "$here/domoflux.sysusers" "$here/example.toml" "$here/kinds.json" "$dir/resources/"
    chmod -R u=rwX,go=rX "$dir"
    (cd "$dir" && find . -type f ! -name SHA256SUMS -printf '%P\0' | LC_ALL=C sort -z | xargs -0 sha256sum) > /stage/SHA256SUMS
    mv /stage/SHA256SUMS "$dir/"
    (cd /stage && same_tar "$name") > "/out/$name.tar.gz"
}

deb() {
    local root=/stage/deb doc date
    doc=$root/usr/share/doc/domoflux
    date=$(LC_ALL=C date -u -R -d "@$SOURCE_DATE_EPOCH")
    mkdir -p "$root"/{DEBIAN,etc/domoflux,usr/bin,usr/lib/systemd/system,usr/share/man/man1} \
        "$root"/usr/share/{bash-completion/completions,zsh/vendor-completions,fish/vendor_completions.d} "$doc/examples"
    install -m 755 "/stage/$name/domoflux" "$root/usr/bin/"
    # /usr/lib, not /lib: both are read by every systemd of Debian, and one of them has been a link since Debian 12.
    sed 's|/usr/local/bin/|/usr/bin/|g' "$here/domoflux@.service" > "$root/usr/lib/systemd/system/domoflux@.service"
    cp "/stage/$name"/man/*.1 "$root/usr/share/man/man1/"
    gzip -9n "$root"/usr/share/man/man1/*.1
    cp "/stage/$name/completions/domoflux.bash" "$root/usr/share/bash-completion/completions/domoflux"
    cp "/stage/$name/completions/_domoflux" "$root/usr/share/zsh/vendor-completions/"
    cp "/stage/$name/completions/domoflux.fish" "$root/usr/share/fish/vendor_completions.d/"
    cp "$here/deb/copyright" /src/README.md "$doc/"
    cp -r /src/docs "$doc/"
    cp "$here/example.toml" "$doc/examples/"
    gzip -9nc /src/CHANGELOG.md > "$doc/changelog.gz"
    printf 'domoflux (%s-%s) unstable; urgency=medium\n\n  * See changelog.gz.\n\n -- %s  %s\n' \
        "$VERSION" "$REVISION" "$MAINTAINER" "$date" | gzip -9n > "$doc/changelog.Debian.gz"
    chmod -R u=rwX,go=rX "$root"
    cat > "$root/DEBIAN/control" << CONTROL
Package: domoflux
Version: $VERSION-$REVISION
Architecture: $deb_arch
Maintainer: $MAINTAINER
Installed-Size: $(du -k -s --apparent-size "$root" | cut -f 1)
Depends: libc6 (>= $(needs_glibc)), adduser
Section: net
Priority: optional
Description: duplicates, shares and synchronises the data flows of a home
 One small daemon that stands between a TCP client, such as an alarm panel, and
 its destination: it relays both ways and gives one or more mirrors a copy. A
 mirror that is down, slow or stuck never breaks the stream that it copies.
 .
 Each instance is a systemd service, domoflux@<instance>.service. None is
 enabled by the installation.
CONTROL
    install -m 755 "$here"/deb/{postinst,prerm,postrm} "$root/DEBIAN/"
    (cd "$root" && find . -path ./DEBIAN -prune -o -type f -printf '%P\0' | LC_ALL=C sort -z | xargs -0 md5sum) > "$root/DEBIAN/md5sums"
    # dpkg-deb keeps times that are older than SOURCE_DATE_EPOCH.
    find "$root" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
    # xz: Debian 11 can't read zstd.
    dpkg-deb --root-owner-group -Zxz --build "$root" "/out/domoflux_$VERSION-${REVISION}_$deb_arch.deb" > /dev/null
}

compile
check_binary
archive
deb
