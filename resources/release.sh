#!/usr/bin/env bash
# Makes what a release consists of, from the last commit: an archive and a Debian package for each architecture, the plugin
# for Jeedom with all binaries, and their SHA-256 sums. `resources/release.sh --help` has the options, docs/installing.md how to use the result.
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

Makes domoflux-<version>-linux-<arch>.tar.gz, domoflux_<version>-<revision>_<arch>.deb, domoflux-jeedom-<version>.zip,
BUILDINFO and SHA256SUMS from the last commit, and checks them. Runs as root on Debian 12 or 13, amd64, and needs debootstrap and git. The first run fetches
about 700 MB from Debian, PyPI and crates.io, and keeps 3 GB in the cache.

  --arch LIST       amd64, arm64, armv7 (armhf is the same), or several with commas [all three]
  --out DIR         where to put the result [dist]
  --cache DIR       where to keep the root that it compiles in [target/release-root]; remove it to get a new one
  --revision N      the revision of the Debian package [1]
  --mirror URL      Debian mirror; one of snapshot.debian.org makes the same root again [http://deb.debian.org/debian]
  --ca FILE         certificates to trust, when a proxy has its own [$SSL_CERT_FILE]
  --cargo-config F  a cargo configuration to use, for another registry or a proxy [none]
  --branch NAME     also commit Jeedom's plugin to this local branch, whose root it is; nothing is pushed
  --jeedom-only     build nothing; make Jeedom's zip from the files that are here, committed or not, and the archives in
                    --out. Needs no root and no debootstrap
  --binaries DIR    with --jeedom-only: the binaries are <arch>/domoflux below DIR, for one architecture or more
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
ca=${SSL_CERT_FILE:-} cargo_config='' check_only='' dry_run='' branch='' jeedom_only='' binaries=''

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
            --jeedom-only) jeedom_only=1 ;;
            --dry-run) dry_run=1 ;;
            --help | -h)
                usage
                exit 0
                ;;
            --arch | --out | --cache | --revision | --mirror | --ca | --cargo-config | --branch | --binaries)
                [ $# -ge 2 ] || wrong_use "$1 needs a value"
                case $1 in
                    --arch) add_arches "$2" ;;
                    --out) out=$2 ;;
                    --cache) cache=$2 ;;
                    --revision) revision=$2 ;;
                    --mirror) mirror=$2 ;;
                    --ca) ca=$2 ;;
                    --cargo-config) cargo_config=$2 ;;
                    --branch) branch=$2 ;;
                    --binaries) binaries=$2 ;;
                esac
                shift
                ;;
            *) wrong_use "unknown option $1" ;;
        esac
        shift
    done
    [ ${#arches[@]} -gt 0 ] || arches=("${all[@]}")
    [[ $revision =~ ^[0-9a-z.+~]+$ ]] || wrong_use "--revision takes digits, letters, and . + ~"
    [ -z "$binaries" ] || [ -n "$jeedom_only" ] || wrong_use "--binaries goes with --jeedom-only"
    [ -z "$jeedom_only" ] || [ -z "$check_only$dry_run" ] || wrong_use "--jeedom-only goes neither with --check nor with --dry-run"
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

# ---- Jeedom's plugin

zip_of() { echo "domoflux-jeedom-$version.zip"; }

# The binaries of the archives that are there, as <arch>/domoflux in $1.
unpack_binaries() {
    local arch archive
    for arch in "${all[@]}"; do
        archive=$out/$(archive_of "$arch")
        if [ ! -e "$archive" ]; then continue; fi
        mkdir -p "$1/$arch"
        tar -xOzf "$archive" "domoflux-$version-linux-$arch/domoflux" > "$1/$arch/domoflux"
    done
}

# The sources in $1: those of the commit, or with --jeedom-only the files that are here, and not what git ignores.
put_plugin_source() {
    local paths=(plugin-jeedom resources LICENSE)
    mkdir "$1"
    if [ -n "$jeedom_only" ]; then
        git ls-files -z --cached --others --exclude-standard --deduplicate "${paths[@]}" \
            | { while IFS= read -r -d '' file; do if [ -e "$file" ]; then printf '%s\0' "$file"; fi; done; } \
            | tar --null -T - -cf - | tar -xf - -C "$1"
    else
        git archive --format=tar "$commit" "${paths[@]}" | tar -xf - -C "$1"
    fi
}

# python3 of the root, so that the same zlib packs; with --jeedom-only that of this machine.
pack() {
    if [ -n "$jeedom_only" ]; then
        resources/release/jeedom-zip.py "$1" "$2" "$epoch"
    else
        rm -rf "$root/out" && mkdir "$root/out"
        cp -r "$1" "$root/out/plugin"
        inside python3 /src/resources/release/jeedom-zip.py /out/plugin /out/plugin.zip "$epoch"
        cp "$root/out/plugin.zip" "$2"
    fi
}

make_jeedom() {
    local arch
    if [ -z "$jeedom_only" ]; then
        for arch in "${all[@]}"; do
            if [ ! -e "$out/$(archive_of "$arch")" ]; then
                say "no $(zip_of): it takes the archives of all architectures, and $arch is missing"
                return
            fi
        done
    fi
    temp=$(mktemp -d)
    trap 'rm -rf "$temp"' EXIT
    put_plugin_source "$temp/source"
    if [ ! -d "$temp/source/plugin-jeedom" ]; then fail "there is no plugin-jeedom"; fi
    if [ -z "$binaries" ]; then
        binaries=$temp/binaries
        mkdir "$binaries"
        unpack_binaries "$binaries"
    fi
    "$temp/source/resources/release/jeedom.sh" "$temp/source" "$binaries" "$temp/stage" "$version"
    mkdir -p "$out"
    pack "$temp/stage" "$out/$(zip_of)"
    # Jeedom takes 100 MB; what a person uploads to a Raspberry Pi should be far from it.
    [ "$(stat -c %s "$out/$(zip_of)")" -lt 60000000 ] || fail "$(zip_of) is larger than 60 MB"
    say "$(zip_of): $(stat -c %s "$out/$(zip_of)") bytes"
    if [ -n "$branch" ]; then commit_branch; fi
}

# The plugin as a branch of its own, without touching what is checked out. Jeedom's source "GitHub" takes it from there.
commit_branch() {
    local ref=refs/heads/$branch tree parent=() new
    git check-ref-format "$ref" || fail "\"$branch\" is no name of a branch"
    if git worktree list --porcelain | grep -qxF "branch $ref"; then fail "the branch $branch is checked out: choose another"; fi
    if git rev-parse -q --verify "$ref" > /dev/null; then
        git cat-file -e "$ref:plugin_info/info.json" 2> /dev/null \
            || fail "the branch $branch has something else than the plugin in it: choose another"
        parent=(-p "$(git rev-parse "$ref")")
    fi
    # --force: a .gitignore of the person must not leave binaries out.
    (
        export GIT_INDEX_FILE=$temp/index GIT_WORK_TREE=$temp/stage
        GIT_DIR=$(git rev-parse --absolute-git-dir)
        export GIT_DIR
        cd "$temp/stage" && git -c core.autocrlf=false -c core.fileMode=true add --all --force . && git write-tree > "$temp/tree"
    )
    tree=$(cat "$temp/tree")
    if [ ${#parent[@]} -gt 0 ] && [ "$(git rev-parse "$ref^{tree}")" = "$tree" ]; then
        say "the branch $branch has it already"
        return
    fi
    # The dates of the sources' commit, so that the same commit gives the same branch.
    new=$(GIT_AUTHOR_DATE="@$epoch +0000" GIT_COMMITTER_DATE="@$epoch +0000" \
        git commit-tree "${parent[@]}" -m "domoflux $version for Jeedom" -m "From commit $commit." "$tree")
    git update-ref "$ref" "$new"
    say "the branch $branch is at $new; nothing was pushed"
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
    local files=() file
    # Those of this version only, so that remains of another one don't look like a part of it.
    for file in "$out/BUILDINFO" "$out/$(zip_of)" "$out/domoflux-$version-linux-"*.tar.gz "$out/domoflux_$version-${revision}_"*.deb; do
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
    if [ -e "$out/$(zip_of)" ]; then check_jeedom; fi
}

# As Jeedom unpacks it: plugin_info at the top, sums that fit, and the binaries of the archives.
check_jeedom() {
    local arch dir=$root/out/jeedom
    cp "$out/$(zip_of)" "$root/out/"
    inside python3 -m zipfile -e "/out/$(zip_of)" /out/jeedom
    for file in plugin_info/info.json plugin_info/packages.json core/config/kinds.json resources/setup.sh; do
        [ -s "$dir/$file" ] || fail "$(zip_of) has no $file"
    done
    (cd "$dir/resources/bin" && sha256sum --quiet -c SHA256SUMS) || fail "the sums in $(zip_of) do not fit"
    for arch in "${arches[@]}"; do
        tar -xOzf "$out/$(archive_of "$arch")" "domoflux-$version-linux-$arch/domoflux" | cmp - "$dir/resources/bin/$arch/domoflux" \
            || fail "archive and $(zip_of) have different binaries for $arch"
    done
    say "$(zip_of) is as Jeedom wants it"
}

# What sudo's root made belongs to who called it.
give_back() {
    if [ -n "${SUDO_UID:-}" ]; then chown -R "$SUDO_UID:${SUDO_GID:-$SUDO_UID}" "$out"; fi
}

plan() {
    say "would build for ${arches[*]} from commit $commit ($version), in $root, linked against glibc $glibc, into $out:"
    local arch
    for arch in "${arches[@]}"; do printf '  %s\n' "$(archive_of "$arch")" "$(deb_of "$arch")"; done
    if [ ${#arches[@]} = 3 ]; then printf '  %s\n' "$(zip_of)"; fi
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
if [ -n "$jeedom_only" ]; then
    make_jeedom
    write_sums
    exit 0
fi
prerequisites
make_root
put_source
if [ -z "$check_only" ]; then
    for arch in "${arches[@]}"; do build "$arch"; done
    make_jeedom
    write_buildinfo
    write_sums
fi
check
give_back
say "good: $out"
