#!/bin/sh
# Installs domoflux on Debian and Raspberry Pi OS, brings it up to date, and takes it away again.
# `./install.sh --help` has the options, docs/installing.md the other ways.
#
# Every file it installs is in a manifest, so that it can take away exactly those. What is already as it should be is not
# touched: running it twice changes nothing.
set -eu
umask 022

here=$(cd "$(dirname "$0")" && pwd)
prefix=/usr/local prefix_given='' action=install dry_run='' purge='' enable='' binary='' link=''
etc=/etc/domoflux
state=/var/lib/domoflux
unit=/etc/systemd/system/domoflux@.service

usage() {
    cat << 'TEXT'
usage: ./install.sh [options]

Installs the binary that lies beside it (an unpacked release, or dist/ of the source), or builds one if cargo is there; with
its manual pages, shell completions, and where systemd is, its unit domoflux@.service and the user that it runs as.
It enables nothing by itself, and brings running instances to the new version. Needs root, and uses no sudo by itself.

  --enable INSTANCE  also enable and start an instance: jeedom, domoticz, default, or another name; may be repeated
  --prefix DIR       where to install [/usr/local]; without root, to a directory of yours: then no unit and no user
  --binary FILE      install this binary
  --tcp-multiplexer  also link the binary as tcp-multiplexer, under which name it takes that tool's commands
  --uninstall        take everything away but state (/var/lib/domoflux) and settings (/etc/domoflux)
  --purge            with --uninstall: state and settings, too
  --dry-run          say what would be done, and do nothing
  --help             this text
TEXT
}

say() { echo "install: $*"; }

fail() {
    echo "install: $*" >&2
    exit 1
}

wrong_use() {
    echo "install: $*; --help says how" >&2
    exit 64
}

# Runs a command, or says that it would.
run() {
    if [ -n "$dry_run" ]; then
        say "would run: $*"
    else
        "$@"
    fi
}

options() {
    while [ $# -gt 0 ]; do
        case $1 in
            --uninstall) action=uninstall ;;
            --purge) purge=1 ;;
            --dry-run) dry_run=1 ;;
            --tcp-multiplexer) link=1 ;;
            --help | -h)
                usage
                exit 0
                ;;
            --enable | --prefix | --binary)
                [ $# -ge 2 ] || wrong_use "$1 needs a value"
                case $1 in
                    --enable)
                        case $2 in
                            '' | *[!A-Za-z0-9_.-]*) wrong_use "\"$2\" is no name of an instance: letters, digits, \".\", \"_\", \"-\"" ;;
                        esac
                        enable="$enable $2"
                        ;;
                    --prefix)
                        case $2 in
                            /*) prefix=${2%/} prefix_given=1 ;;
                            *) wrong_use "--prefix takes an absolute path, not \"$2\"" ;;
                        esac
                        ;;
                    --binary) binary=$2 ;;
                esac
                shift
                ;;
            *) wrong_use "unknown option $1" ;;
        esac
        shift
    done
    [ -z "$purge" ] || [ $action = uninstall ] || wrong_use "--purge goes with --uninstall"
    [ -z "$enable" ] || [ $action = install ] || wrong_use "--enable does not go with --uninstall"
    [ -z "$link" ] || [ $action = install ] || wrong_use "--tcp-multiplexer does not go with --uninstall"
    case $prefix in *[[:space:]]*) wrong_use "--prefix can't have blanks: \"$prefix\"" ;; esac
    manifest=$prefix/share/domoflux/manifest
}

# ---- The machine

# Root installs for the system; anybody else into a directory of theirs, without unit and user.
who() {
    system=1
    if [ "$(id -u)" != 0 ] && [ -z "$dry_run" ]; then
        if [ -z "$prefix_given" ]; then
            fail "this needs root, and uses no sudo by itself: run \"sudo $0\", or choose a directory of yours with --prefix"
        fi
        if ! { mkdir -p "$prefix" && [ -w "$prefix" ]; } 2> /dev/null; then
            fail "$prefix can't be written by $(id -un): run it as root, or choose another --prefix"
        fi
        system=
    fi
    systemd=
    if [ -n "$system" ] && command -v systemctl > /dev/null 2>&1; then systemd=1; fi
    running=
    if [ -n "$systemd" ] && [ -d /run/systemd/system ]; then running=1; fi
}

supported_system() {
    ids=$(
        # shellcheck disable=SC1091 # it is on the machine
        if [ -r /etc/os-release ]; then . /etc/os-release; fi
        echo "${ID:-unknown} ${ID_LIKE:-}"
    )
    case " $ids " in
        *" debian "* | *" raspbian "*) ;;
        *)
            [ -n "$prefix_given" ] || fail "this system (${ids%% *}) is neither Debian nor Raspberry Pi OS, which it is made for; --prefix /usr/local goes on all the same"
            say "this system (${ids%% *}) is neither Debian nor Raspberry Pi OS; going on because of --prefix"
            ;;
    esac
}

# That of the programs, not of the kernel: a Raspberry Pi may have a 64-bit kernel under a 32-bit system.
architecture() {
    if command -v dpkg > /dev/null 2>&1; then found=$(dpkg --print-architecture); else found=$(uname -m); fi
    case $found in
        amd64 | x86_64) arch=amd64 ;;
        arm64 | aarch64) arch=arm64 ;;
        armhf | armv7l | armv8l)
            arch=armv7
            if [ "$(uname -m)" = armv6l ]; then
                fail "this processor is an ARMv6 (Raspberry Pi 1, Zero, Zero W): there is no binary for it, a Raspberry Pi 2 or later is needed"
            fi
            ;;
        *) arch=$found ;;
    esac
}

# The architecture that a program is for, by its ELF header.
architecture_of() {
    case $(od -An -tx1 -j18 -N2 "$1" | tr -d ' ') in
        3e00) echo amd64 ;;
        b700) echo arm64 ;;
        2800) echo armv7 ;;
        *) echo unknown ;;
    esac
}

has_package() {
    command -v dpkg-query > /dev/null 2>&1 \
        && [ "$(dpkg-query -W -f '${db:Status-Status}' domoflux 2> /dev/null)" = installed ]
}

no_package() {
    if has_package; then
        fail "the Debian package domoflux is installed: update it with dpkg -i or apt, or remove it first (apt-get remove domoflux keeps the state)"
    fi
}

# ---- What to install: $source has domoflux, man, completions

temporary() {
    if [ -z "${temp:-}" ]; then
        temp=$(mktemp -d)
        trap 'rm -rf "$temp"' EXIT
        trap 'exit 130' INT
        trap 'exit 143' TERM
    fi
}

check_sums() { # a directory, what of it to check, and what to do when it does not fit
    if [ -r "$1/SHA256SUMS" ]; then
        grep -q " $2\$" "$1/SHA256SUMS" || fail "$1/SHA256SUMS has no line for $2: $3"
        (cd "$1" && grep " $2\$" SHA256SUMS | sha256sum --quiet -c - > /dev/null 2>&1) || fail "$1/$2 does not have the SHA-256 of SHA256SUMS: $3"
        say "$1/$2 has the SHA-256 of SHA256SUMS"
    else
        say "$1 has no SHA256SUMS: $2 is taken as it is"
    fi
}

find_source() {
    if [ -n "$binary" ]; then
        [ -f "$binary" ] || fail "--binary $binary: there is no such file"
        take_binary "$binary"
    elif [ -f "$here/domoflux" ]; then
        check_sums "$here" domoflux "unpack the archive again"
        source=$here
    elif archive=$(find_archive) && [ -n "$archive" ]; then
        check_sums "$here/dist" "${archive##*/}" "fetch it again"
        temporary
        tar -xzf "$archive" -C "$temp"
        source=$(echo "$temp"/domoflux-*)
    elif [ -f "$here/Cargo.toml" ] && command -v cargo > /dev/null 2>&1; then
        build
    elif [ -f "$here/target/release/domoflux" ]; then
        take_binary "$here/target/release/domoflux"
    else
        fail "there is no binary for $arch beside $0, and no cargo to build one. Get domoflux-<version>-linux-$arch.tar.gz of a release, unpack it and run its install.sh, or install its .deb; or build one on another machine with resources/release.sh"
    fi
    if [ -z "$source" ]; then return; fi
    is=$(architecture_of "$source/domoflux")
    [ "$is" = "$arch" ] || fail "the binary is for $is, and this machine is $arch: get domoflux-<version>-linux-$arch.tar.gz of a release"
    if [ -n "$dry_run" ]; then
        say "would check that it runs here"
        return
    fi
    version=$("$source/domoflux" --version 2>&1) || fail "the binary does not run here: $version"
    say "$version for $arch"
}

find_archive() {
    version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' "$here/Cargo.toml" 2> /dev/null) || return 0
    if [ -f "$here/dist/domoflux-$version-linux-$arch.tar.gz" ]; then echo "$here/dist/domoflux-$version-linux-$arch.tar.gz"; fi
}

build() {
    if [ -n "$dry_run" ]; then
        say "would run: cargo build --release --locked, and install what it makes, with its manual pages and completions"
        source=
        return
    fi
    say "there is no binary for $arch beside $0: cargo builds one, which takes minutes, on a small machine an hour"
    (cd "$here" && cargo build --release --locked --bin domoflux) || fail "cargo could not build it, see above; a release has binaries that need no compiler"
    take_binary "${CARGO_TARGET_DIR:-$here/target}/release/domoflux"
}

# A binary alone: what belongs to it comes out of it.
take_binary() {
    temporary
    source=$temp/domoflux
    mkdir "$source"
    cp "$1" "$source/domoflux"
    chmod 755 "$source/domoflux"
    is=$(architecture_of "$source/domoflux")
    [ "$is" = "$arch" ] || fail "$1 is for $is, and this machine is $arch"
    "$source/domoflux" man --dir "$source/man" || fail "$1 does not run here"
    mkdir "$source/completions"
    "$source/domoflux" completions bash > "$source/completions/domoflux.bash"
    "$source/domoflux" completions zsh > "$source/completions/_domoflux"
    "$source/domoflux" completions fish > "$source/completions/domoflux.fish"
}

# ---- Putting it there

# Lines of the manifest: "file PATH", "dir PATH" (made by us), "user NAME" (made by us), "jeedom PLUGINS" (has our plugin).
note() {
    case "
$noted
" in
        *"
$1
"*) ;;
        *)
            noted="$noted
$1"
            ;;
    esac
}

# A directory and those above it; those that were not there are ours.
make_dir() {
    if [ -d "$1" ]; then return; fi
    make_dir "$(dirname "$1")"
    if [ -n "$dry_run" ]; then
        case " $would_make " in *" $1 "*) return ;; esac
        would_make="$would_make $1"
        say "would make the directory $1"
    else
        mkdir "$1"
        say "made the directory $1"
    fi
    note "dir $1"
}

# Replaces a file as one step, by a rename: who runs the old binary keeps it, and a power cut leaves the old or the new.
put() { # mode, what, where
    note "file $3"
    if cmp -s "$2" "$3" && [ "$(stat -c %a "$3")" = "$1" ]; then
        say "already there: $3"
        return
    fi
    changed=1
    if [ -e "$3" ]; then verb=replace done=replaced; else verb=install done=installed; fi
    make_dir "$(dirname "$3")"
    if [ -n "$dry_run" ]; then
        say "would $verb $3"
        return
    fi
    new=$3.new
    cp "$2" "$new"
    chmod "$1" "$new"
    sync "$new"
    mv -f "$new" "$3"
    say "$done $3"
}

# A link that is there already stays with an update: somebody's unit file lives on it. Another program's is not touched.
check_link() {
    linked=$prefix/bin/tcp-multiplexer
    case "
$was
" in
        *"
file $linked
"*) if [ -L "$linked" ]; then link=1; fi ;;
    esac
    if [ -n "$link" ] && { [ -e "$linked" ] || [ -L "$linked" ]; } && [ "$(readlink "$linked")" != domoflux ]; then
        fail "--tcp-multiplexer: $linked is another program: move it away first, for example to $linked.old"
    fi
}

put_link() {
    if [ -z "$link" ]; then return; fi
    note "file $linked"
    if [ -L "$linked" ]; then
        say "already there: $linked"
    elif [ -n "$dry_run" ]; then
        say "would link $linked to domoflux"
    else
        ln -s domoflux "$linked"
        say "linked $linked to domoflux"
    fi
}

put_files() {
    put 755 "$source/domoflux" "$prefix/bin/domoflux"
    restart=$changed
    put_link
    for page in "$source"/man/*.1; do put 644 "$page" "$prefix/share/man/man1/${page##*/}"; done
    put 644 "$source/completions/domoflux.bash" "$prefix/share/bash-completion/completions/domoflux"
    put 644 "$source/completions/_domoflux" "$prefix/share/zsh/site-functions/_domoflux"
    put 644 "$source/completions/domoflux.fish" "$prefix/share/fish/vendor_completions.d/domoflux.fish"
}

unit_source() { echo "$here/resources/domoflux@.service"; }

put_unit() {
    if [ -z "$systemd" ]; then
        say "no systemd to start it: \"domoflux daemon --supervise\" starts it again when it ends"
        return
    fi
    [ -r "$(unit_source)" ] || fail "$(unit_source) is missing: unpack the release again"
    temporary
    sed "s|/usr/local/bin/|$prefix/bin/|g" "$(unit_source)" > "$temp/unit"
    put_user
    make_dir "$etc"
    make_dir "$state"
    changed=
    put 644 "$temp/unit" "$unit"
    restart=$restart$changed
}

# The user that the unit runs as, unless systemd makes it up at each start.
put_user() {
    user=$(sed -n 's/^User=\([a-z_][a-z0-9_-]*\)$/\1/p' "$(unit_source)")
    if [ -z "$user" ] || grep -q '^DynamicUser=\(yes\|true\|1\|on\)$' "$(unit_source)"; then
        user=
    elif getent passwd "$user" > /dev/null; then
        say "already there: the user $user"
    else
        output=$(run systemd-sysusers "$here/resources/domoflux.sysusers" 2>&1) || fail "the user $user can't be made: $output"
        if [ -n "$dry_run" ]; then echo "$output"; else say "made the user $user"; fi
        note "user $user"
    fi
}

# The plugins bring a setup.sh of their own, which also needs the right to write where the hosts look.
put_plugins() {
    if [ -f /var/www/html/core/class/jeedom.class.php ]; then put_jeedom /var/www/html/plugins; fi
    for dir in /opt/domoticz/plugins /home/*/domoticz/plugins; do
        if [ -d "$dir" ]; then put_domoticz "$dir"; fi
    done
}

jeedom_setup() { echo "$here/plugin-jeedom/resources/setup.sh"; }

put_jeedom() { # where it looks for plugins
    if [ ! -f "$here/plugin-jeedom/plugin_info/info.json" ]; then
        say "Jeedom is here ($1); its plugin is not part of this version"
    elif [ -z "$system" ]; then
        say "Jeedom is here ($1); its plugin takes root to install"
    else
        run "$(jeedom_setup)" copy "$1" || fail "the plugin can't be put into $1, see above; the rest is not installed yet"
        note "jeedom $1"
    fi
}

put_domoticz() {
    if [ -x "$here/plugin-domoticz/setup.sh" ]; then
        run "$here/plugin-domoticz/setup.sh" "$1"
    else
        say "Domoticz is here ($1); its plugin is not part of this version"
    fi
}

# With the instance that it drives, and before the binary goes.
remove_plugins() {
    echo "$was" | sed -n 's/^jeedom //p' | while read -r path; do
        if [ -d "$path/domoflux" ]; then run "$(jeedom_setup)" uncopy "$path" ${purge:+--purge}; fi
    done
}

# What an earlier version installed and this one does not have.
remove_old() {
    note "file $manifest"
    if [ ! -r "$manifest" ]; then return; fi
    while read -r kind path; do
        case $kind in
            file)
                case "
$noted
" in
                    *"
file $path
"*) ;;
                    *) remove_file "$path" ;;
                esac
                ;;
            *) note "$kind $path" ;;
        esac
    done < "$manifest"
}

write_manifest() {
    make_dir "$(dirname "$manifest")"
    if [ -n "$dry_run" ]; then
        if [ ! -e "$manifest" ]; then say "would write $manifest"; fi
        return
    fi
    noted=$(echo "$noted" | sed 1d | LC_ALL=C sort)
    if [ "$noted" = "$was" ]; then
        say "already there: $manifest"
    else
        echo "$noted" > "$manifest.new"
        mv -f "$manifest.new" "$manifest"
        say "wrote $manifest"
    fi
}

# ---- Instances

# In any of the given states.
instances() { systemctl list-units --plain --no-legend --state="$1" 'domoflux@*.service' | awk '{ print $1 }'; }

restart_instances() {
    if [ -z "$running" ] || [ -z "$restart" ]; then return; fi
    run systemctl daemon-reload
    for one in $(instances active,activating,reloading); do
        run systemctl restart "$one" || fail "$one does not start with this version: journalctl -u $one"
        if [ -z "$dry_run" ]; then say "restarted $one"; fi
    done
}

enable_instances() {
    for name in $enable; do
        one=domoflux@$name.service
        [ -n "$systemd" ] || fail "--enable $name: there is no systemd here; run \"domoflux daemon --supervise --instance $name\" from what starts programs here"
        if systemctl --quiet is-enabled "$one" 2> /dev/null; then
            say "already enabled: $one"
        else
            run systemctl --quiet enable "$one"
            if [ -z "$dry_run" ]; then say "enabled $one"; fi
        fi
        if [ -z "$running" ]; then
            say "systemd does not run here: $one starts at the next boot"
        elif systemctl --quiet is-active "$one"; then
            say "already runs: $one"
        else
            run systemctl start "$one" || fail "$one does not start: journalctl -u $one"
            if [ -z "$dry_run" ]; then say "started $one"; fi
        fi
    done
}

# ---- Taking it away

remove_file() {
    if [ ! -e "$1" ] && [ ! -L "$1" ]; then return; fi
    if [ -n "$dry_run" ]; then
        say "would remove $1"
    else
        rm -f "$1"
        say "removed $1"
    fi
}

stop_instances() {
    if [ -z "$systemd" ]; then return; fi
    if [ -n "$running" ]; then
        for one in $(instances active,activating,reloading,deactivating,failed); do
            run systemctl stop "$one"
            run systemctl reset-failed "$one" 2> /dev/null || true
            if [ -z "$dry_run" ]; then say "stopped $one"; fi
        done
    fi
    for link in /etc/systemd/system/*.wants/domoflux@*.service; do
        if [ -L "$link" ]; then run systemctl --quiet disable "${link##*/}"; fi
    done
}

remove_tree() {
    if [ -e "$1" ]; then run rm -rf "$1"; fi
}

uninstall() {
    if [ -r "$manifest" ]; then
        remove_plugins
        if grep -qx "file $unit" "$manifest" && ! has_package; then stop_instances; fi
        # The manifest last: an interrupted run can be repeated.
        for path in $(echo "$was" | sed -n 's/^file //p' | grep -vxF "$manifest") "$manifest"; do remove_file "$path"; done
        if [ -n "$dry_run" ]; then say "would remove the directories that it made and that are empty then"; fi
    else
        say "$manifest is not there: nothing is installed under $prefix"
    fi
    if has_package; then
        say "the Debian package domoflux is installed, too: its instances, its user and their state stay"
        if [ -n "$running" ]; then
            run systemctl daemon-reload
            for one in $(instances active,activating,reloading); do run systemctl restart "$one"; done
        fi
        return
    fi
    if [ -n "$purge" ] && [ -n "$system" ]; then
        for tree in "$state" "/var/lib/private/domoflux" "$etc" /run/domoflux; do remove_tree "$tree"; done
        for tree in /etc/systemd/system/domoflux@*.service.d; do remove_tree "$tree"; done
    fi
    # The deepest first.
    echo "$was" | sed -n 's/^dir //p' | LC_ALL=C sort -r | while read -r path; do
        if [ -z "$dry_run" ] && [ -d "$path" ] && rmdir "$path" 2> /dev/null; then say "removed $path"; fi
    done
    if [ -n "$running" ]; then run systemctl daemon-reload; fi
    remove_user
}

# The owner of state that stays, stays.
remove_user() {
    user=$(echo "$was" | sed -n 's/^user //p')
    if [ -z "$user" ] && [ -n "$purge" ] && [ -n "$system" ]; then user=domoflux; fi
    if [ -z "$user" ] || ! getent passwd "$user" > /dev/null; then return; fi
    if [ -e "$state" ] && [ -z "$purge" ]; then
        say "$state, $etc and the user $user stay: --uninstall --purge removes them"
    else
        run userdel "$user"
        if [ -z "$dry_run" ]; then say "removed the user $user"; fi
    fi
}

# ----

options "$@"
who
was=
if [ -r "$manifest" ]; then was=$(cat "$manifest"); fi
if [ $action = uninstall ]; then
    uninstall
    exit 0
fi
no_package
supported_system
architecture
check_link
noted='' would_make='' user='' changed='' restart=''
find_source
if [ -n "$source" ]; then put_files; fi
if [ -n "$system" ]; then put_unit; fi
put_plugins
if [ -n "$source" ]; then remove_old; fi
write_manifest
restart_instances
enable_instances
if [ -z "$enable" ] && [ -n "$systemd" ] && [ -z "$dry_run" ]; then
    say "done; \"systemctl enable --now domoflux@<instance>\" or --enable starts an instance: jeedom, domoticz, default"
fi
