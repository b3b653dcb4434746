#!/usr/bin/env bash
# Makes what a release consists of, from the last commit: an archive and a Debian package for each architecture, and their
# SHA-256 sums. `resources/release.sh --help` has the options, docs/installing.md how to use the result.
#
# Everything is compiled in a root of its own, a Debian 13 made by debootstrap: with Debian's Rust, whose standard library
# Debian has for arm64 and armhf too, and with Zig as C compiler and linker, which links against any old glibc. So no
# cross compiler has to be installed here, nothing of this machine gets into the binaries, and the same commit gives the
# same bytes as long as the root is the same: BUILDINFO says what is in it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
repository=$PWD

suite=trixie
# Debian 11, and Raspberry Pi OS of that time.
glibc=2.31
zig=0.15.2
zig_sha256=806316453d1ede7174ed3fefb8e5348154629089c3bb5fe812dfd0e172fac130
packages=(
    rustc-web cargo-web libstd-rust-web-dev libstd-rust-web-dev:arm64 libstd-rust-web-dev:armhf
    ca-certificates python3-pip qemu-user lintian xz-utils
)
all=(amd64 arm64 armv7)

usage() {
    cat << 'TEXT'
usage: resources/release.sh [options]

Makes domoflux-<version>-linux-<arch>.tar.gz, domoflux_<version>-<revision>_<arch>.deb, BUILDINFO and SHA256SUMS from the
last commit, and checks them. Runs as root on Debian 12 or 13, amd64, and needs debootstrap and git. The first run fetches
about 700 MB from Debian, PyPI and crates.io, and keeps 3 GB in the cache.

  --arch LIST       amd64, arm64, armv7 (armhf is the same), or several with commas [all three]
  --out DIR         where to put the result [dist]
  --cache DIR       where to keep the root that it compiles in [target/release-root]; remove it to get a new one
  --revision N      the revision of the Debian package [1]
  --mirror URL      Debian mirror; one of snapshot.debian.org makes the same root again [http://deb.debian.org/debian]
  --ca FILE         certificates to trust, when a proxy has its own [$SSL_CERT_FILE]
  --cargo-config F  a cargo configuration to use, for another registry or a proxy [none]
  --check           build nothing; check the result that is there: sums, glibc, lintian, and the demo, under qemu
  --dry-run         say what would be done
  --help            this text

http_proxy, https_proxy, no_proxy and PIP_INDEX_URL of the environment are used. DOMOFLUX_MAINTAINER is the maintainer of
the Debian package. Not made: binaries for ARMv6 (Raspberry Pi 1, Zero, Zero W) and for 32-bit x86.
TEXT
}

fail() {
    echo "release.sh: $*" >&2
    exit 1
}

wrong_use() {
    echo "release.sh: $*; --help says how" >&2
    exit 64
}

say() { echo "release: $*"; }

arches=() out=dist cache=${CARGO_TARGET_DIR:-target}/release-root revision=1 mirror=http://deb.debian.org/debian
ca=${SSL_CERT_FILE:-} cargo_config='' check_only='' dry_run=''

add_arches() {
    local one
    for one in ${1//,/ }; do
        case $one in
            all) arches=("${all[@]}") ;;
            amd64 | arm64 | armv7) arches+=("$one") ;;
            armhf) arches+=(armv7) ;;
            *) wrong_use "no architecture \"$one\"" ;;
        esac
    done
}

options() {
    while [ $# -gt 0 ]; do
        case $1 in
            --check) check_only=1 ;;
            --dry-run) dry_run=1 ;;
            --help | -h)
                usage
                exit 0
                ;;
            --arch | --out | --cache | --revision | --mirror | --ca | --cargo-config)
                [ $# -ge 2 ] || wrong_use "$1 needs a value"
                case $1 in
                    --arch) add_arches "$2" ;;
                    --out) out=$2 ;;
                    --cache) cache=$2 ;;
                    --revision) revision=$2 ;;
                    --mirror) mirror=$2 ;;
                    --ca) ca=$2 ;;
                    --cargo-config) cargo_config=$2 ;;
                esac
                shift
                ;;
            *) wrong_use "unknown option $1" ;;
        esac
        shift
    done
    [ ${#arches[@]} -gt 0 ] || arches=("${all[@]}")
    [[ $revision =~ ^[0-9a-z.+~]+$ ]] || wrong_use "--revision takes digits, letters, and . + ~"
}

prerequisites() {
    local missing=()
    [ "$(id -u)" = 0 ] || fail "debootstrap and chroot need root: run it with sudo (it uses no sudo by itself)"
    command -v git > /dev/null || missing+=(git)
    command -v debootstrap > /dev/null || missing+=(debootstrap)
    [ ${#missing[@]} -eq 0 ] || fail "missing: apt-get install ${missing[*]}"
    [ "$(dpkg --print-architecture)" = amd64 ] || fail "this runs on amd64 only: $(dpkg --print-architecture) is for what it makes"
}

# What the root is made of; another recipe asks for another root.
recipe() { printf '%s\n' "$suite" "$mirror" "$zig" "${packages[@]}"; }

make_root() {
    local new=$cache/root.new
    if [ "$(cat "$root/recipe" 2> /dev/null)" = "$(recipe)" ]; then
        say "$root is there"
        return
    fi
    say "making $root, a Debian $suite with compilers"
    rm -rf "$new" "$root"
    mkdir -p "$cache"
    debootstrap --variant=minbase "$suite" "$new" "$mirror" > "$cache/debootstrap.log" 2>&1 \
        || fail "debootstrap failed: $cache/debootstrap.log says why"
    root=$new
    inside dpkg --add-architecture arm64
    inside dpkg --add-architecture armhf
    inside apt-get -q update
    inside apt-get -q install -y --no-install-recommends "${packages[@]}" > "$cache/apt.log" \
        || fail "apt-get failed: $cache/apt.log says more"
    mkdir -p "$new"/{opt/wheels,src,build,cargo,out}
    echo "ziglang==$zig --hash=sha256:$zig_sha256" > "$new/opt/zig.txt"
    inside pip download -q --no-cache-dir --no-deps --only-binary :all: --require-hashes -r /opt/zig.txt -d /opt/wheels
    inside sh -c 'cd /opt && python3 -m zipfile -e wheels/*.whl . && mv ziglang zig && chmod +x zig/zig && rm -r wheels'
    inside apt-get clean
    recipe > "$new/recipe"
    root=$cache/root
    mv "$new" "$root"
}

# Runs a command in the root, with mounts that nobody else sees and that go with it, and with nothing of the caller's
# environment but what the network needs.
inside() {
    local keep=() name
    for name in http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY PIP_INDEX_URL; do
        if [ -n "${!name:-}" ]; then keep+=("$name=${!name}"); fi
    done
    cp -L /etc/resolv.conf "$root/etc/resolv.conf"
    if [ -n "$ca" ]; then
        cp "$ca" "$root/etc/caller-ca.crt"
        keep+=(SSL_CERT_FILE=/etc/caller-ca.crt CARGO_HTTP_CAINFO=/etc/caller-ca.crt PIP_CERT=/etc/caller-ca.crt)
    fi
    # shellcheck disable=SC2016 # the inner shell expands it
    unshare --mount --pid --fork --kill-child sh -c '
        root=$1
        shift
        mount --rbind /dev "$root/dev"
        mount -t proc proc "$root/proc"
        mount -t tmpfs tmpfs "$root/tmp"
        exec chroot "$root" "$@"' sh "$root" \
        env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive CARGO_HOME=/cargo \
        VERSION="$version" REVISION="$revision" GLIBC="$glibc" SOURCE_DATE_EPOCH="$epoch" MAINTAINER="$maintainer" \
        "${keep[@]}" "$@" < /dev/null
}

put_source() {
    if [ -n "$(git status --porcelain)" ]; then say "what is not committed is not in it"; fi
    # tar -m: cargo goes by times, and a commit's time may be older than the last build.
    if [ "$(cat "$root/src.commit" 2> /dev/null)" != "$commit" ]; then
        rm -rf "$root/src" "$root/src.commit"
        mkdir "$root/src"
        git archive --format=tar "$commit" | tar -xmf - -C "$root/src"
        echo "$commit" > "$root/src.commit"
    fi
    rm -f "$root/cargo/config.toml"
    if [ -n "$cargo_config" ]; then cp "$cargo_config" "$root/cargo/config.toml"; fi
}

deb_of() {
    case $1 in
        armv7) echo "domoflux_$version-${revision}_armhf.deb" ;;
        *) echo "domoflux_$version-${revision}_$1.deb" ;;
    esac
}

archive_of() { echo "domoflux-$version-linux-$1.tar.gz"; }

build() {
    local arch=$1 started=$SECONDS
    say "building for $arch"
    rm -rf "$root/out"
    mkdir "$root/out"
    inside bash /src/resources/release/build.sh "$arch"
    mkdir -p "$out"
    cp "$root/out/$(archive_of "$arch")" "$root/out/$(deb_of "$arch")" "$out/"
    say "$arch took $((SECONDS - started)) s"
}

write_buildinfo() {
    {
        echo "domoflux $version, commit $commit"
        echo "Debian $suite, $(inside rustc --version), Zig $zig, linked against glibc $glibc"
        # shellcheck disable=SC2016 # dpkg-query expands it
        inside dpkg-query -W -f '${Package}:${Architecture} ${Version}\n' rustc-web cargo-web 'libstd-rust-web-dev' dpkg tar gzip xz-utils
    } > "$out/BUILDINFO"
}

write_sums() {
    local files=(BUILDINFO) file
    # Those of this version only, so that remains of another one don't look like a part of it.
    for file in "$out/domoflux-$version-linux-"*.tar.gz "$out/domoflux_$version-${revision}_"*.deb; do
        if [ -e "$file" ]; then files+=("${file##*/}"); fi
    done
    (cd "$out" && printf '%s\n' "${files[@]}" | LC_ALL=C sort | xargs sha256sum > SHA256SUMS)
    cat "$out/SHA256SUMS"
}

check() {
    local arch files=()
    (cd "$out" && sha256sum --quiet -c SHA256SUMS) || fail "$out/SHA256SUMS does not fit the files beside it"
    rm -rf "$root/out"
    mkdir "$root/out"
    for arch in "${arches[@]}"; do
        files=("$out/$(archive_of "$arch")" "$out/$(deb_of "$arch")")
        if [ ! -e "${files[0]}" ] || [ ! -e "${files[1]}" ]; then fail "$out has no $version for $arch: build it first"; fi
        cp "${files[@]}" "$root/out/"
        inside bash /src/resources/release/check.sh "$arch"
    done
}

# What sudo's root made belongs to who called it.
give_back() {
    if [ -n "${SUDO_UID:-}" ]; then chown -R "$SUDO_UID:${SUDO_GID:-$SUDO_UID}" "$out"; fi
}

plan() {
    say "would build for ${arches[*]} from commit $commit ($version), in $root, linked against glibc $glibc, into $out:"
    local arch
    for arch in "${arches[@]}"; do printf '  %s\n' "$(archive_of "$arch")" "$(deb_of "$arch")"; done
    printf '  %s\n' BUILDINFO SHA256SUMS
    if [ "$(cat "$root/recipe" 2> /dev/null)" = "$(recipe)" ]; then
        say "$root is there"
    else
        say "$root would be made first: debootstrap $suite from $mirror, then ${packages[*]}, Zig $zig from PyPI"
    fi
}

options "$@"
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
commit=$(git rev-parse HEAD) || fail "$repository is no git repository, and a release is made from a commit"
epoch=$(git log -1 --format=%ct)
maintainer=${DOMOFLUX_MAINTAINER:-domoflux maintainers <maintainers@domoflux.example>}
case $cache in /*) ;; *) cache=$repository/$cache ;; esac
root=$cache/root

if [ -n "$dry_run" ]; then
    plan
    exit 0
fi
prerequisites
make_root
put_source
if [ -z "$check_only" ]; then
    for arch in "${arches[@]}"; do build "$arch"; done
    write_buildinfo
    write_sums
fi
check
give_back
say "good: $out"
