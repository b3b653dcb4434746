#!/bin/sh
# Installs the domoflux daemon for Jeedom, drives it, and takes it away again. Runs as root.
#
#   setup.sh [install [PLUGIN]]   binary, unit, drop-in and user; PLUGIN is the plugin's folder [the one that it lies in]
#   setup.sh configure PORT [LEVEL [ZONE]]   the API's port on 127.0.0.1, the log level, and the time zone of the log's times,
#                                 Europe/Paris say; for the next start
#   setup.sh start|stop|restart   the instance jeedom; start and restart return when it is ready, or say
#                                 after 10 s (restart: 20 s) why it is not
#   setup.sh enable|disable       whether it starts at boot
#   setup.sh remove [--purge]     takes away what install put here, with --purge state and settings, too
#   setup.sh copy PLUGINS         for install.sh: the plugin into Jeedom's folder of plugins
#   setup.sh uncopy PLUGINS       for install.sh: and out of it
#
# Who calls it: Jeedom's installer of dependencies (plugin_info/packages.json, post-install; as root, without arguments, and
# it looks neither at the exit code nor at the output), the plugin's PHP by sudo, and install.sh.
#
# What it installs:
#   /usr/local/bin/domoflux                                 from resources/bin/<amd64|arm64|armv7>, after its sum was checked
#   /etc/systemd/system/domoflux@.service                   with systemd
#   /etc/systemd/system/domoflux@jeedom.service.d/jeedom.conf  with systemd: the web server's group, the log
#   /etc/domoflux/jeedom.env                                by configure
#   /var/lib/domoflux/jeedom-setup.status                   how the last install ended, see below
# A Debian package of domoflux, or an install.sh with another --prefix, goes before: its binary and unit are taken as they
# are. So is what install.sh put into /usr/local where the plugin has no binary of its own. What is as it should be is not
# touched, so a second run changes nothing. Where something changed, an instance jeedom that runs is restarted; one that is
# enabled is started, as the core stops it before it installs dependencies. Other instances are left alone.
#
# Without systemd (a container) there is no unit: the plugin starts `domoflux daemon --supervise` as the web server's user,
# whose state /var/lib/domoflux/jeedom then is, and the binary gets the capability for ports below 1024.
#
# The log is Jeedom's log/domoflux_daemon. The daemon writes it by itself (DOMOFLUX_LOG_FILE) with nothing but the rights of
# its group, and looks at each line whether the file was emptied, cut or removed. Not systemd's StandardError=append:, which
# opens the file as root where the web server's user may put a link, goes on with a file that was removed, and does not
# start the daemon where the folder is missing.
#
# The status file has lines `key=value`, may be read by everybody, and is replaced as a whole:
#   state=ok|failed
#   version=0.1.0                        what the binary says, empty if there is none
#   binary=/usr/local/bin/domoflux       which one it is, empty if there is none
#   plugin=<SHA-256>                     of bin/SHA256SUMS, domoflux@.service, domoflux.sysusers and setup.sh in resources,
#                                        one after the other, those that are there: what this outcome is about
#   at=1763660000                        when, in seconds
#   reason=…                             why it failed, one line for a person
# So the plugin can tell that everything is there (state=ok, its own sum, and the binary exists), that an update has to be
# installed (another sum), and that an installation failed, which another try of the same would not mend.
#
# Exit codes: 0 done, 1 failed, 64 wrong use, 69 this machine has no systemd.
set -eu
umask 022
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH LC_ALL=C

bin=/usr/local/bin/domoflux
manifest=/usr/local/share/domoflux/manifest
units=/etc/systemd/system
unit=$units/domoflux@.service
instance=domoflux@jeedom.service
dropin=$units/$instance.d/jeedom.conf
etc=/etc/domoflux
lib=/var/lib/domoflux
status=$lib/jeedom-setup.status
# Made by the core before it runs this, and shown as a percentage.
progress_file=/tmp/jeedom_install_in_progress_domoflux

resources=$(cd "$(dirname "$0")" && pwd)

say() { echo "setup: $*"; }

fail() {
    reason=$*
    echo "setup: $*" >&2
    exit 1
}

wrong_use() {
    echo "setup: $*" >&2
    exit 64
}

# ---- The machine

systemd_runs() { [ -d /run/systemd/system ]; }

need_systemd() {
    if ! systemd_runs; then
        echo "setup: there is no systemd here: the plugin starts \"$(installed_binary) daemon --supervise\" by itself" >&2
        exit 69
    fi
}

# One at a time: the core and the plugin may both call it.
only_one() {
    if ! command -v flock > /dev/null; then return; fi
    exec 9> /run/domoflux-setup.lock
    flock -w 60 9 || fail "another setup.sh has been running for more than 60 s: wait until it is done"
}

# Jeedom's folder, and who its web server is. The logical path: a developer's plugin folder may be a link to a clone.
find_jeedom() {
    plugin=$1
    resources=$plugin/resources
    jeedom=${plugin%/*/*}
    if [ ! -e "$jeedom/core/class/jeedom.class.php" ]; then
        fail "$plugin is not in the folder \"plugins\" of a Jeedom: call it with the plugin's folder, /var/www/html/plugins/domoflux say"
    fi
    case $jeedom in *[!A-Za-z0-9/._-]*) fail "Jeedom's folder \"$jeedom\" has characters that a unit can't have" ;; esac
    web_of "$jeedom/plugins"
}

# The core gives its folders to the web server's user, whatever that is called.
web_of() {
    web_uid=$(stat -L -c %u "$1") web_gid=$(stat -L -c %g "$1")
    if [ "$web_uid" = 0 ] || [ "$web_gid" = 0 ]; then
        fail "$1 belongs to root, and so does not tell the web server's user: chown -R www-data:www-data $1"
    fi
    web_group=$(stat -L -c %G "$1")
    case $web_group in UNKNOWN | *[!A-Za-z0-9_.-]*) web_group=$web_gid ;; esac
}

# What touches a folder of the web server is done by its user, so that no link there leads root elsewhere.
as_web() { setpriv --reuid="$web_uid" --regid="$web_gid" --clear-groups "$@"; }

# As in install.sh: that of the programs, not of the kernel.
architecture() {
    if command -v dpkg > /dev/null; then found=$(dpkg --print-architecture); else found=$(uname -m); fi
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

architecture_of() {
    case $(od -An -tx1 -j18 -N2 "$1" | tr -d ' ') in
        3e00) echo amd64 ;;
        b700) echo arm64 ;;
        2800) echo armv7 ;;
        *) echo unknown ;;
    esac
}

has_package() {
    command -v dpkg-query > /dev/null && [ "$(dpkg-query -W -f '${db:Status-Status}' domoflux 2> /dev/null)" = installed ]
}

# A file that install.sh put there.
in_manifest() { grep -qxF "file $1" "$manifest" 2> /dev/null; }

# The program that the unit starts.
program_of() { sed -n 's/^ExecStart=\([^ ]*\).*/\1/p' "$1" 2> /dev/null | head -n 1; }

# The binary of another installation, which is not ours to replace; nothing if there is none.
foreign_binary() {
    if has_package; then
        echo /usr/bin/domoflux
    else
        other=$(program_of "$unit")
        if [ -n "$other" ] && [ "$other" != $bin ] && [ -x "$other" ]; then echo "$other"; fi
    fi
}

installed_binary() {
    foreign=$(foreign_binary)
    echo "${foreign:-$bin}"
}

# ---- How it goes

progress() {
    if [ ! -f $progress_file ] || [ -L $progress_file ]; then return; fi
    # In /tmp anybody may put a link in its place.
    echo "$1" | dd of=$progress_file oflag=nofollow conv=nocreat status=none 2> /dev/null || true
}

fingerprint() {
    for file in bin/SHA256SUMS domoflux@.service domoflux.sysusers setup.sh; do
        if [ -f "$resources/$file" ]; then cat "$resources/$file"; fi
    done | sha256sum | cut -d ' ' -f 1
}

write_status() { # ok or failed
    make_dir $lib
    sum=$(fingerprint)
    # What has not changed keeps its time, so that a second run changes nothing.
    if [ "$1" = ok ] && [ "$(grep -v '^at=' $status 2> /dev/null)" = "$(status_lines ok | grep -v '^at=')" ]; then return; fi
    status_lines "$1" > $status.new
    mv -f $status.new $status
}

status_lines() {
    printf '%s\n' "state=$1" "version=$version" "binary=$binary" "plugin=$sum" "at=$(date +%s)" \
        "reason=$(echo "$reason" | tr -s '[:cntrl:]' ' ' | sed 's/ $//')"
}

ended() {
    code=$?
    rm -f $bin.new $status.new $unit.new $dropin.new
    if [ -n "${temp:-}" ]; then rm -rf "$temp"; fi
    if [ $code != 0 ]; then
        if [ -z "$reason" ]; then reason="setup.sh was interrupted or failed (exit code $code): see Jeedom's log domoflux_packages"; fi
        write_status failed || true
    fi
    exit $code
}

make_dir() {
    if [ ! -d "$1" ]; then
        mkdir -p "$1"
        say "made the directory $1"
    fi
}

# Replaces a file as one step, and only where it differs.
put() { # what, where
    if cmp -s "$1" "$2" && [ "$(stat -c '%a %u' "$2")" = "644 0" ]; then return; fi
    make_dir "$(dirname "$2")"
    cp "$1" "$2.new"
    chmod 644 "$2.new"
    sync "$2.new"
    mv -f "$2.new" "$2"
    changed=1
    say "wrote $2"
}

# ---- install

install() {
    reason='' version='' binary='' changed='' temp='' sum=''
    trap ended EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    only_one
    find_jeedom "$1"
    progress 10
    architecture
    choose_binary
    progress 60
    make_dir $lib
    if systemd_runs; then
        put_unit
        put_dropin
    else
        put_state
    fi
    put_log
    progress 80
    write_status ok
    if systemd_runs; then bring_up; fi
    progress 95
    say "done: domoflux $version, $binary"
}

choose_binary() {
    binary=$(foreign_binary)
    if [ -n "$binary" ] && grep -qx "binary=$bin" $status 2> /dev/null; then give_way; fi
    shipped=$resources/bin/$arch/domoflux
    if [ -n "$binary" ]; then
        say "$binary is of another installation (Debian package, or install.sh --prefix): it is used as it is"
    elif [ -f "$shipped" ]; then
        check_sum
        put_binary "$shipped"
    elif in_manifest $bin && [ -x $bin ]; then
        binary=$bin
        say "the plugin has no binary for $arch: $bin is used, which install.sh installed"
    elif clone=$(find_clone) && [ -n "$clone" ]; then
        build
    else
        fail "there is no binary for $arch in $resources/bin: install the plugin again from its zip or its branch for Jeedom, which have binaries for amd64, arm64 and armv7; or install domoflux itself (its .deb, or install.sh)"
    fi
    version=$("$binary" --version 2>&1) || fail "$binary does not run here: $version"
    version=${version#domoflux }
}

# A package came after us: its unit counts only without ours.
give_way() {
    for file in $unit $bin; do
        if ! in_manifest "$file"; then drop "$file"; fi
    done
    changed=1
}

check_sum() {
    sums=$resources/bin/SHA256SUMS
    [ -f "$sums" ] || fail "$sums is missing, so $shipped can't be checked: install the plugin again"
    wanted=$(sed -n "s|^\([0-9a-f]\{64\}\) [ *]$arch/domoflux\$|\1|p" "$sums")
    [ -n "$wanted" ] || fail "$sums has no line for $arch/domoflux: install the plugin again"
}

# Copies first, and looks at the copy: the plugin's folder is not root's. Nothing, where it is there already.
put_binary() { # the file, and in $wanted its sum or nothing
    binary=$bin
    if [ -f $bin ] && [ "$(sha256sum < $bin)" = "${wanted:-$(sha256sum < "$1" | cut -d ' ' -f 1)}  -" ] \
        && [ "$(stat -c '%a %u' $bin)" = "755 0" ] && { systemd_runs || may_bind $bin; }; then
        return
    fi
    mkdir -p "${bin%/*}"
    cp "$1" $bin.new
    if [ -n "$wanted" ] && [ "$(sha256sum < $bin.new)" != "$wanted  -" ]; then
        fail "$1 does not have the SHA-256 of $sums: it is damaged, install the plugin again"
    fi
    is=$(architecture_of $bin.new)
    [ "$is" = "$arch" ] || fail "$1 is for $is, and this machine is $arch: install the plugin again"
    chmod 755 $bin.new
    output=$($bin.new --version 2>&1) || fail "the binary of the plugin does not run here: $output"
    if ! systemd_runs; then let_bind $bin.new; fi
    sync $bin.new
    mv -f $bin.new $bin
    changed=1
    say "installed $bin: $output"
}

# Where systemd gives no capability, the file has to.
may_bind() { ! command -v setcap > /dev/null || getcap "$1" | grep -q cap_net_bind_service || [ -e $lib/jeedom-setup.no-cap ]; }
let_bind() {
    if ! command -v setcap > /dev/null; then
        say "no setcap here (apt-get install libcap2-bin): flows can't listen on ports below 1024"
        return
    fi
    # Where a container may not have the capability at all, such a file does not even start.
    make_dir $lib
    if setcap cap_net_bind_service=+ep "$1" 2> /dev/null && as_web "$1" --version > /dev/null 2>&1; then
        rm -f $lib/jeedom-setup.no-cap
    else
        setcap -r "$1" 2> /dev/null || true
        : > $lib/jeedom-setup.no-cap
        say "this container does not allow CAP_NET_BIND_SERVICE: flows can't listen on ports below 1024"
    fi
}

# The clone of the sources that the plugin lies in, by a link in Jeedom's folder of plugins.
find_clone() {
    real=$(cd "$plugin" && pwd -P)
    if [ -f "${real%/*}/Cargo.toml" ] && [ -d "${real%/*}/daemon" ]; then echo "${real%/*}"; fi
}

# As the clone's owner: nothing that cargo runs has to be root. It takes minutes, on a small machine an hour.
build() {
    owner=$(stat -c %U "$clone")
    home=$(getent passwd "$owner" | cut -d : -f 6)
    path=${home:-/nonexistent}/.cargo/bin:$PATH
    cargo=$(PATH=$path command -v cargo) \
        || fail "there is no binary for $arch in $resources/bin, and no cargo to build $clone with: put one there, or install Rust for $owner"
    needs=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$clone/Cargo.toml" | head -n 1)
    has=$(runuser -u "$owner" -- env HOME="$home" PATH="$path" "$cargo" --version | cut -d ' ' -f 2) || fail "$cargo does not run as $owner"
    [ "$(printf '%s\n' "$needs" "$has" | sort -V | head -n 1)" = "$needs" ] \
        || fail "$cargo is of Rust $has, and domoflux takes Rust $needs or newer; binaries for $arch in $resources/bin need none"
    say "building $clone with $cargo"
    # Signs of life for the core, which takes an installation without any for dead.
    (
        exec 9>&-
        while sleep 60; do progress 30; done
    ) &
    alive=$!
    code=0
    # shellcheck disable=SC2016 # the inner shell expands it
    runuser -u "$owner" -- env HOME="$home" PATH="$path" CARGO_TARGET_DIR="$clone/target" \
        sh -c 'cd "$1" && exec "$2" build --release --locked --bin domoflux' sh "$clone" "$cargo" || code=$?
    kill $alive 2> /dev/null || true
    [ $code = 0 ] || fail "cargo could not build $clone: Jeedom's log domoflux_packages says more"
    wanted=''
    put_binary "$clone/target/release/domoflux"
}

# The plugin's own copy, or in a clone that of the repository.
resource() {
    real=$(cd "$plugin" && pwd -P)
    for place in "$resources" "${real%/*}/resources"; do
        if [ -f "$place/$1" ]; then
            echo "$place/$1"
            return
        fi
    done
    fail "$resources/$1 is missing: install the plugin again"
}

put_unit() {
    if [ "$binary" != $bin ]; then return; fi
    # The unit of install.sh goes with its binary; where we replaced that, it gets ours, too.
    source=$(resource domoflux@.service)
    put "$source" $unit
    if ! getent passwd domoflux > /dev/null; then
        users=$(resource domoflux.sysusers)
        output=$(systemd-sysusers "$users" 2>&1) || fail "the user domoflux can't be made: $output"
        say "made the user domoflux"
    fi
    make_dir $etc
}

put_dropin() {
    temp=$(mktemp -d)
    cat > "$temp/jeedom.conf" << CONF
# Written by resources/setup.sh of Jeedom's plugin domoflux, which replaces it. What you change goes into another file
# beside it: systemctl edit domoflux@jeedom
[Service]
# That of the web server: the plugin reads endpoint.json and the token.
Group=$web_group
# The daemon makes the log again when somebody removes it, and needs Jeedom neither to start nor to run.
ReadWritePaths=-$jeedom/log
Environment=DOMOFLUX_LOG_FORMAT=jeedom DOMOFLUX_LOG_FILE=$jeedom/log/domoflux_daemon
# What the plugin's page sets: the API's port, the log level.
EnvironmentFile=-$etc/jeedom.env
CONF
    put "$temp/jeedom.conf" $dropin
}

# Without systemd nobody makes it at the start.
put_state() {
    if [ "$(stat -c '%u %g %a' $lib/jeedom 2> /dev/null)" = "$web_uid $web_gid 750" ]; then return; fi
    make_dir $lib/jeedom
    chown -R "$web_uid:$web_gid" $lib/jeedom
    chmod 750 $lib/jeedom
    say "$lib/jeedom belongs to the web server's user"
}

# There before the first line, so that the page has something to show. The daemon makes it, too, but as its own.
put_log() {
    log=$jeedom/log/domoflux_daemon
    if [ ! -e "$log" ] && [ ! -L "$log" ]; then
        # shellcheck disable=SC2016 # the inner shell expands it
        as_web sh -c 'umask 002 && : >> "$1" && chmod 664 "$1"' sh "$log" || say "$log can't be written: the log goes to the journal"
    fi
}

# What runs takes what changed; what should run, and was stopped for this, runs again.
bring_up() {
    if [ -n "$changed" ]; then systemctl daemon-reload; fi
    if systemctl --quiet is-active $instance; then
        if [ -n "$changed" ]; then go_on restart; fi
    elif systemctl --quiet is-enabled $instance 2> /dev/null; then
        go_on start
    fi
}

# A daemon that does not start is not a failed installation: who starts it next hears the reason.
go_on() { if (started "$1"); then say "${1}ed $instance"; fi; }

# ---- Driving it

# Not systemctl's own waiting, which takes as long as the unit may.
started() { # start or restart
    since=$(date +%s)
    systemctl reset-failed $instance 2> /dev/null || true
    systemctl --no-block "$1" $instance
    # A restart first lets connections finish, for 5 s as a rule.
    if [ "$1" = restart ]; then tries=100; else tries=50; fi
    while [ $tries -gt 0 ]; do
        sleep 0.2
        case $(systemctl is-active $instance) in
            # At a restart the old one is active until it stops.
            active) if [ -z "$(systemctl list-jobs --no-legend $instance)" ]; then return; fi ;;
            failed) break ;;
        esac
        tries=$((tries - 1))
    done
    # What the daemon itself said last; without -t, systemd's own lines would be the last ones.
    journalctl --sync 2> /dev/null || true
    why=$(journalctl -q --no-pager -o cat --since "@$since" -u $instance -t domoflux 2> /dev/null | tail -n 3 | tr '\n' ' ')
    fail "$instance does not start: ${why:-journalctl -u $instance and the log domoflux_daemon say why}"
}

drive() {
    need_systemd
    case $1 in
        start | restart) started "$1" ;;
        stop) systemctl stop $instance ;;
        enable | disable) systemctl --quiet "$1" $instance ;;
    esac
}

configure() {
    case $1 in '' | *[!0-9]* | 0* | ??????*) wrong_use "\"$1\" is no port: a number from 1 to 65535" ;; esac
    [ "$1" -le 65535 ] || wrong_use "\"$1\" is no port: a number from 1 to 65535"
    case ${2:-info} in none | error | warn | info | debug) ;; *) wrong_use "\"$2\" is no log level: none, error, warn, info, debug" ;; esac
    temp=$(mktemp -d)
    trap 'rm -rf "$temp"' EXIT
    only_one
    case ${3:-} in *[!A-Za-z0-9/_+-]*) wrong_use "\"$3\" is no time zone: Europe/Paris, say" ;; esac
    printf '%s\n' "DOMOFLUX_LISTEN=127.0.0.1:$1" "DOMOFLUX_LOG_LEVEL=${2:-info}" ${3:+"TZ=$3"} > "$temp/env"
    put "$temp/env" $etc/jeedom.env
}

# ---- remove

# Other instances: they run, start at boot, or are started by hand.
others() {
    if systemd_runs; then
        systemctl list-units --plain --no-legend --state=active,activating,reloading,deactivating 'domoflux@*.service' | awk '{ print $1 }'
    fi
    for link in "$units"/*.wants/domoflux@*.service; do
        if [ -L "$link" ] && [ "${link##*/}" != $instance ]; then echo "${link##*/}"; fi
    done
    for exe in /proc/[0-9]*/exe; do
        case $(readlink "$exe" 2> /dev/null) in "$bin" | "$bin (deleted)") echo "process ${exe%/exe}" ;; esac
    done
}

drop() {
    if [ -e "$1" ] || [ -L "$1" ]; then
        rm -rf "$1"
        say "removed $1"
    fi
}

drop_empty() { if [ -d "$1" ] && rmdir "$1" 2> /dev/null; then say "removed $1"; fi; }

remove() {
    only_one
    ours=$(sed -n 's/^binary=//p' $status 2> /dev/null || true)
    if systemd_runs; then
        systemctl stop $instance 2> /dev/null || true
        systemctl --quiet disable $instance 2> /dev/null || true
        systemctl reset-failed $instance 2> /dev/null || true
    fi
    for link in "$units"/*.wants/"$instance"; do drop "$link"; done
    drop $dropin
    if [ -n "$purge" ]; then
        drop "${dropin%/*}"
        drop $lib/jeedom
        for file in $etc/jeedom.env $etc/jeedom.toml; do drop "$file"; done
        log=${resources%/plugins/*}/log/domoflux_daemon
        if [ -f "$log" ]; then
            web_of "${log%/*}"
            as_web rm -f "$log"
            say "removed $log"
        fi
    fi
    drop_empty "${dropin%/*}"
    drop $lib/jeedom-setup.no-cap
    drop $status
    if [ "$ours" = $bin ]; then remove_program; fi
    remove_rest
    if systemd_runs; then systemctl daemon-reload; fi
    rm -f /run/domoflux-setup.lock
    if [ -z "$purge" ] && [ -e $lib/jeedom ]; then say "$lib/jeedom and $etc/jeedom.* stay: remove --purge takes them"; fi
}

# Binary and unit, where nobody else has them.
remove_program() {
    if in_manifest $bin; then
        say "$bin and $unit stay: install.sh installed them, and install.sh --uninstall removes them"
        return
    fi
    used=$(others | head -n 1)
    if [ -n "$used" ]; then
        say "$bin and $unit stay: $used uses them"
        return
    fi
    drop $bin
    if ! in_manifest $unit; then drop $unit; fi
}

# Folders and user, likewise. The owner of state that stays, stays.
remove_rest() {
    if [ -e $manifest ] || [ -e $unit ] || has_package; then return; fi
    for dir in $etc $lib /run/domoflux; do drop_empty "$dir"; done
    if [ ! -e $lib ] && getent passwd domoflux > /dev/null; then
        userdel domoflux
        say "removed the user domoflux"
    fi
}

# ---- For install.sh: the plugin's folder in Jeedom

# The plugin as a release has it, but for the binaries: install.sh has installed one.
stage() {
    source=$(cd "$resources/.." && pwd)
    [ -f "$source/plugin_info/info.json" ] || fail "$source is no plugin: plugin_info/info.json is missing"
    temp=$(mktemp -d)
    trap 'rm -rf "$temp"' EXIT
    mkdir "$temp/domoflux"
    tar -C "$source" --exclude=./resources/bin -cf - . | tar -C "$temp/domoflux" -xf -
    for file in domoflux@.service domoflux.sysusers; do
        if [ -f "$source/../resources/$file" ]; then cp "$source/../resources/$file" "$temp/domoflux/resources/"; fi
    done
    if [ -f "$source/../resources/kinds.json" ]; then
        mkdir -p "$temp/domoflux/core/config"
        cp "$source/../resources/kinds.json" "$temp/domoflux/core/config/"
    fi
}

copy() {
    plugins=$1
    web_of "$plugins"
    if [ -L "$plugins/domoflux" ]; then
        say "$plugins/domoflux is a link, and stays as it is"
        return
    fi
    stage
    if [ -d "$plugins/domoflux" ] && diff -rq --exclude=bin --exclude=data "$temp/domoflux" "$plugins/domoflux" > /dev/null; then
        say "already there: $plugins/domoflux"
        return
    fi
    # As the core does before an update, for what somebody may have put there as root. -h: no link is followed.
    if [ -d "$plugins/domoflux" ]; then chown -Rh "$web_uid:$web_gid" "$plugins/domoflux"; fi
    # By the web server's user, whose folder it is. What Jeedom keeps in data/, a backup say, stays.
    # shellcheck disable=SC2016 # the inner shell expands it
    tar -C "$temp" -cf - domoflux | as_web sh -euc '
        cd "$1"
        rm -rf .domoflux.new .domoflux.old
        mkdir .domoflux.new
        tar --no-same-owner -C .domoflux.new -xf -
        chmod -R 775 .domoflux.new
        if [ -d domoflux ]; then
            if [ -d domoflux/data ]; then cp -a domoflux/data .domoflux.new/domoflux/; fi
            mv domoflux .domoflux.old
        fi
        mv .domoflux.new/domoflux domoflux
        rm -rf .domoflux.new .domoflux.old' sh "$plugins" || fail "the plugin can't be copied to $plugins/domoflux"
    say "copied the plugin to $plugins/domoflux; activate it in Jeedom (Plugins > Gestion des plugins > domoflux), once more where it is active already"
}

uncopy() {
    plugins=$1
    if [ ! -d "$plugins/domoflux" ] || [ -L "$plugins/domoflux" ]; then return; fi
    resources=$plugins/domoflux/resources
    remove
    web_of "$plugins"
    chown -Rh "$web_uid:$web_gid" "$plugins/domoflux"
    # shellcheck disable=SC2016 # the inner shell expands it
    as_web sh -euc 'rm -rf "$1/domoflux"' sh "$plugins" || fail "$plugins/domoflux can't be removed"
    say "removed $plugins/domoflux"
}

# ----

purge='' reason='' changed=''
command=${1:-install}
if [ $# -gt 0 ]; then shift; fi
case $command:$# in
    install:0 | install:1 | configure:1 | configure:2 | configure:3 | start:0 | stop:0 | restart:0 | enable:0 | disable:0 | remove:0 | copy:1 | uncopy:1) ;;
    remove:1)
        [ "$1" = --purge ] || wrong_use "unknown option $1"
        purge=1
        ;;
    uncopy:2)
        [ "$2" = --purge ] || wrong_use "unknown option $2"
        purge=1
        ;;
    *) wrong_use "unknown command \"$command $*\"; the head of $0 has them all" ;;
esac
case $command in
    install | copy | uncopy)
        where=${1:-${resources%/resources}}
        case $where in /*) ;; *) wrong_use "\"$where\" is no absolute path" ;; esac
        [ -d "$where" ] || wrong_use "there is no directory $where"
        # Where "..", as in the path that the core calls it by, is gone, and links are not followed.
        where=$(cd "$where" && pwd)
        ;;
esac
[ "$(id -u)" = 0 ] || fail "this needs root: sudo $0 $command"
case $command in
    install) install "$where" ;;
    configure) configure "$@" ;;
    remove) remove ;;
    copy) copy "$where" ;;
    uncopy) uncopy "$where" ;;
    *) drive "$command" ;;
esac
