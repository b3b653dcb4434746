#!/usr/bin/env bash
# Boots a Debian of its own under systemd-nspawn, with a network of its own, and does with domoflux what happens to it in a
# home: installed, killed, hung, reloaded, stopped, rebooted, taken away. With --deb FILE, the Debian package, too.
#
# DOMOFLUX is the binary to install [the debug build].
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=tests/debian-root.sh
. tests/debian-root.sh

deb=
case "${1:-}" in
    "") ;;
    --deb) deb=$(realpath "$2") ;;
    *)
        echo "usage: tests/container.sh [--deb FILE]" >&2
        exit 64
        ;;
esac
need_debian_root
if ! command -v systemd-nspawn > /dev/null; then
    echo "NOT CHECKED: there is no systemd-nspawn (Debian has it in systemd-container)"
    exit 0
fi

work=$(mktemp -d)
root=$work/root
machine=domoflux-$$
unit=domoflux@default.service
nspawn='' leader='' helpers=''

cleanup() {
    local pid
    for pid in $helpers; do kill "$pid" 2> /dev/null || true; done
    if [ -n "$nspawn" ]; then
        kill "$nspawn" 2> /dev/null || true
        wait "$nspawn" 2> /dev/null || true
    fi
    rm -rf "$work"
    # nspawn leaves them where /run is no tmpfs.
    rmdir "/run/systemd/nspawn/propagate/$machine" 2> /dev/null || true
}
trap cleanup EXIT

fail() {
    echo "container: $*" >&2
    if [ -n "$leader" ]; then inside journalctl --no-pager -o short-monotonic -n 40 -u "$unit" >&2 2> /dev/null || true; fi
    exit 1
}

# Waits until the command succeeds, at most so many seconds.
wait_for() {
    local limit=$1 started=${EPOCHREALTIME/./}
    shift
    until "$@" > /dev/null 2>&1; do
        if [ $(((${EPOCHREALTIME/./} - started) / 1000000)) -ge "$limit" ]; then return 1; fi
        sleep 0.02
    done
}
within() { wait_for "$@" || fail "not true after $1 s: ${*:2}"; }

# The first process of the container: the child of nspawn that is a first process in its own eyes.
find_leader() {
    local pid children
    read -ra children < "/proc/$nspawn/task/$nspawn/children" || true
    for pid in "${children[@]}"; do
        if grep -q '^NSpid:.*[[:space:]]1$' "/proc/$pid/status" 2> /dev/null; then
            leader=$pid
            return 0
        fi
    done
    return 1
}

inside() {
    nsenter -t "$leader" -m -u -i -n -p -- \
        env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 "$@" < /dev/null
}

# Programs of this machine in the container's network.
beside() { nsenter -t "$leader" -n -- "$@"; }

booted() { [[ "$(inside systemctl is-system-running)" =~ ^(running|degraded)$ ]]; }
connects() { beside bash -c ": < /dev/tcp/127.0.0.1/$1"; }
refused() { ! connects "$1" 2> /dev/null; }
property() { inside systemctl show -P "$1" "$unit"; }

boot() {
    local scope=()
    # --register=no and --keep-unit: no systemd is needed on the outside. Where there is one, the container gets a place in
    # the tree of control groups from it.
    if [ -d /run/systemd/system ]; then scope=(systemd-run --quiet --scope --property=Delegate=yes); fi
    "${scope[@]}" systemd-nspawn -q -D "$root" --boot --private-network --register=no --keep-unit -M "$machine" --console=pipe \
        > "$work/console" 2>&1 < /dev/null &
    nspawn=$!
    wait_for 30 find_leader && wait_for 60 booted
}

# A target that answers every line with itself.
echo_server() {
    beside python3 -c '
import socketserver
class Echo(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(line)
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
Server(("127.0.0.1", 10003), Echo).serve_forever()' > /dev/null 2>&1 &
    helpers+=" $!"
    within 10 connects 10003
}

# A client that stays connected to port $1: it sends a line when $work/say-<n> is there, and makes $work/heard-<n> when it
# is back. It ends, and makes $work/closed, after $work/hang-up.
client() {
    rm -f "$work"/say-* "$work"/heard-* "$work"/hang-up "$work"/closed
    # shellcheck disable=SC2016 # the inner shell expands it
    beside bash -euc '
        exec 3<> "/dev/tcp/127.0.0.1/$1"
        for n in 1 2 3; do
            until [ -e "$2/say-$n" ] || [ -e "$2/hang-up" ]; do sleep 0.05; done
            [ ! -e "$2/hang-up" ] || break
            echo "line $n" >&3
            read -r -t 5 line <&3
            [ "$line" = "line $n" ]
            : > "$2/heard-$n"
        done
        until [ -e "$2/hang-up" ]; do sleep 0.05; done
        exec 3>&-
        : > "$2/closed"' bash "$1" "$work" &
    helpers+=" $!"
}

hears() {
    : > "$work/say-$1"
    within 5 test -e "$work/heard-$1"
}

flows() {
    cat > "$root/etc/domoflux/default.toml"
    chmod 644 "$root/etc/domoflux/default.toml"
}

# What is on the disk that is not the system's own business: names, and what was written since the mark.
tree() {
    (cd "$root" && find . \( -path ./run -o -path ./proc -o -path ./sys -o -path ./dev -o -path ./tmp -o -path ./var/tmp \
        -o -path ./var/log -o -path ./var/lib/systemd -o -path ./var/cache/man -o -path ./opt \) -prune -o ! -path './etc/*-' -printf '%p %y %m %U %G %l\n' | LC_ALL=C sort)
}
newer() {
    (cd "$root" && find usr etc var/lib -newer "$work/mark" -type f ! -path 'var/lib/systemd/*' ! -path 'etc/*-' \
        ! -path etc/passwd ! -path etc/group ! -path etc/shadow ! -path etc/gshadow ! -path etc/.pwd.lock ! -path etc/.updated ! -path 'var/lib/dpkg/*')
}
nothing_left() {
    tree > "$work/after"
    diff "$work/before" "$work/after" > "$work/difference" || fail "$1 left something: $(cat "$work/difference")"
    newer > "$work/newer"
    [ ! -s "$work/newer" ] || fail "$1 left something: $(cat "$work/newer")"
}

both_flows='
[flow.panel]
kind = "mirror"
listen = "0.0.0.0:10001"
target = "127.0.0.1:10003"
mirrors = [{ address = "127.0.0.1:10002" }]

[flow.modbus]
kind = "mirror"
listen = "0.0.0.0:502"
target = "127.0.0.1:10003"
mirrors = [{ address = "127.0.0.1:10002" }]
'

debian_root "$root"
binary=${DOMOFLUX:-${CARGO_TARGET_DIR:-target}/debug/domoflux}
release_layout "$binary" "$root/opt/release"
if [ -n "$deb" ]; then cp "$deb" "$root/opt/domoflux.deb"; fi
started=$SECONDS
# Nothing of domoflux is in it yet.
if ! boot; then
    tail -n 5 "$work/console"
    echo "NOT CHECKED: systemd-nspawn can't boot a container here"
    exit 0
fi
echo "boots: $((SECONDS - started)) s"
tree > "$work/before"
: > "$work/mark"
echo_server

started=${EPOCHREALTIME/./}
inside /opt/release/install.sh > "$work/output"
flows <<< "$both_flows"
inside /opt/release/install.sh --enable default > "$work/output" 2>&1 || fail "$(cat "$work/output")"
grep -q "started $unit" "$work/output" || fail "install.sh --enable does not say that it started: $(cat "$work/output")"
# Ready means that flows listen: no waiting here.
connects 10001 || fail "the unit is started and the flow does not listen"
inside domoflux status > "$work/output" || fail "domoflux status: $(cat "$work/output")"
grep -qE '^panel +mirror +file +serving' "$work/output" || fail "the flow does not serve: $(cat "$work/output")"
echo "installed and started by install.sh"

connects 502 || fail "nobody listens on port 502"
pid=$(property MainPID)
inside grep -qE '^Uid:([[:space:]]+[1-9][0-9]*){4}$' "/proc/$pid/status" || fail "the daemon runs as root"
echo "port 502 is bound, and not by root"

score=$(inside systemd-analyze security --no-pager "$unit" | sed -n 's/.*exposure level.*: \([0-9.]*\) .*/\1/p')
awk -v score="$score" 'BEGIN { exit !(score != "" && score < 2.5) }' || fail "systemd-analyze security says $score"
echo "systemd-analyze security: $score"

client 10001
hears 1
flows <<< "$both_flows
[flow.extra]
kind = \"mirror\"
listen = \"0.0.0.0:10011\"
target = \"127.0.0.1:10003\"
mirrors = [{ address = \"127.0.0.1:10002\" }]
"
inside systemctl reload "$unit" || fail "systemctl reload fails"
within 5 connects 10011
hears 2
[ "$(property MainPID)" = "$pid" ] || fail "a reload started another process"
echo "a reload applies the file, and a running connection goes on"
: > "$work/hang-up"
within 5 test -e "$work/closed"

# The kernel closes the sockets with the process; the next accepted connection is the new process's.
killed=${EPOCHREALTIME/./}
inside kill -KILL "$pid"
back() { [ "$(property MainPID)" != "$pid" ] && [ "$(property ActiveState)" = active ] && connects 10001; }
within 5 back
took=$(((${EPOCHREALTIME/./} - killed) / 1000))
[ $took -lt 1000 ] || fail "after SIGKILL it took $took ms until the flow listened again"
connects 10011 || fail "the flow that the reload brought is lost"
echo "killed: flows listen again after $took ms"

inside mkdir -p "/etc/systemd/system/$unit.d"
printf '[Service]\nWatchdogSec=2s\n' > "$root/etc/systemd/system/$unit.d/watchdog.conf"
inside systemctl daemon-reload
inside systemctl restart "$unit"
pid=$(property MainPID)
sleep 3
[ "$(property MainPID)" = "$pid" ] || fail "the watchdog killed a daemon that is well"
killed=${EPOCHREALTIME/./}
inside kill -STOP "$pid"
within 20 back
took=$(((${EPOCHREALTIME/./} - killed) / 1000))
inside journalctl --no-pager -u "$unit" > "$work/output"
grep -qi 'watchdog timeout' "$work/output" || fail "the log says nothing of the watchdog"
echo "hung: with WatchdogSec=2s, flows listen again after $took ms"

# An update while it runs: another binary, and the same connections served by the new one afterwards.
pid=$(property MainPID)
echo >> "$root/opt/release/domoflux"
write_sums "$root/opt/release"
inside /opt/release/install.sh > "$work/output" 2>&1 || fail "$(cat "$work/output")"
grep -q "restarted $unit" "$work/output" || fail "an update restarts nothing: $(cat "$work/output")"
[ "$(property MainPID)" != "$pid" ] || fail "an update leaves the old process"
connects 10001 || fail "after an update nobody listens"
inside /opt/release/install.sh > "$work/output" 2>&1
if grep -E 'restarted|replaced|installed' "$work/output"; then fail "a second run did something"; fi
echo "an update restarts what runs, and only an update"

client 10001
hears 1
inside systemctl stop --no-block "$unit"
within 3 refused 10001
hears 2
: > "$work/hang-up"
within 5 test -e "$work/closed"
stopped() { [ "$(property ActiveState)" = inactive ]; }
within 5 stopped
[ "$(property Result)" = success ] || fail "a stop ends with $(property Result)"
echo "a stop closes the ports, and lets a connection finish"

# What a host is at boot: it starts when the flows listen, and not before.
cat > "$root/etc/systemd/system/host.service" << HOST
[Unit]
After=$unit
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/bash -c ': < /dev/tcp/127.0.0.1/10001'
[Install]
WantedBy=multi-user.target
HOST
inside systemctl --quiet enable host.service
inside systemctl reboot
# With --keep-unit, nspawn leaves the second half of a reboot to who started it, and says so by this code.
code=0
wait "$nspawn" || code=$?
[ $code = 133 ] || fail "a reboot ends with $code"
boot || fail "it does not boot again"
inside systemctl status host.service > "$work/output" 2>&1 || fail "what starts after domoflux at boot finds no flow: $(cat "$work/output")"
ready=$(property ActiveEnterTimestampMonotonic)
target=$(inside systemctl show -P ActiveEnterTimestampMonotonic multi-user.target)
userspace=$(inside systemctl show -P UserspaceTimestampMonotonic)
[ "$ready" -lt "$target" ] || fail "flows listen after multi-user.target"
echo "a reboot: flows listen $(((ready - userspace) / 1000)) ms after init started, before multi-user.target and what comes after domoflux"
inside systemctl --quiet disable host.service
rm "$root/etc/systemd/system/host.service"
inside systemctl daemon-reload

inside /opt/release/install.sh --uninstall > "$work/output" 2>&1 || fail "--uninstall: $(cat "$work/output")"
refused 10001 || fail "after --uninstall somebody listens"
for kept in etc/domoflux/default.toml var/lib/domoflux/default/domoflux.db; do [ -s "$root/$kept" ] || fail "--uninstall took /$kept"; done
inside /opt/release/install.sh --uninstall --purge > "$work/output" 2>&1 || fail "--purge: $(cat "$work/output")"
nothing_left "install.sh --uninstall --purge"
echo "install.sh takes everything away"

# ---- Jeedom's plugin: its setup.sh, as the core's installer of dependencies and the plugin's PHP call it.

jeedom() {
    local html=$root/var/www/html log=$root/var/www/html/log/domoflux_daemon setup=/var/www/html/plugins/domoflux/resources/setup.sh
    unit=domoflux@jeedom.service
    does() { inside "$@" > "$work/output" 2>&1 || fail "$*: $(cat "$work/output")"; }
    web() { does setpriv --reuid=33 --regid=33 --clear-groups "$@"; }
    # A line of the daemon: it says that there is no file to read.
    logs() { does systemctl reload "$unit"; }
    fake_jeedom "$root"
    jeedom_plugin "$root" "$binary"
    tree > "$work/before"
    : > "$work/mark"

    does $setup
    for kept in etc/systemd/system/domoflux@.service etc/systemd/system/$unit.d/jeedom.conf usr/local/bin/domoflux; do
        [ -s "$root/$kept" ] || fail "setup.sh did not install /$kept"
    done
    grep -qx state=ok "$root/var/lib/domoflux/jeedom-setup.status" || fail "setup.sh does not say ok: $(cat "$root/var/lib/domoflux/jeedom-setup.status")"
    grep -qx Group=www-data "$root/etc/systemd/system/$unit.d/jeedom.conf" || fail "the drop-in has another group than the web server's"
    does systemd-analyze verify --man=no "$unit"
    does $setup configure 55999
    does $setup enable
    # Enabled, and stopped, as the core has it while dependencies are installed.
    does $setup
    grep -q "started $unit" "$work/output" || fail "setup.sh does not start what is enabled: $(cat "$work/output")"
    [ "$(property MainPID)" != 0 ] || fail "the instance does not run"
    inside grep -q '"port": *55999' /run/domoflux/jeedom/endpoint.json \
        || fail "the API is not on the port that was configured: $(inside cat /run/domoflux/jeedom/endpoint.json)"
    grep -qE '^\[[-0-9: ]+\]\[INFO\] domoflux .* started' "$log" || fail "the log is not in Jeedom's format: $(cat "$log")"
    web test -r /run/domoflux/jeedom/endpoint.json
    web test -r /var/lib/domoflux/jeedom/token
    echo "Jeedom: setup.sh installs and starts, and the web server may call the API"

    : > "$work/mark"
    pid=$(property MainPID)
    does $setup
    newer > "$work/newer"
    [ ! -s "$work/newer" ] || fail "a second run wrote: $(cat "$work/newer")"
    [ "$(property MainPID)" = "$pid" ] || fail "a second run restarted the instance"

    # What the core does to logs: empties, cuts, removes, in its words; and a person who removes the whole folder.
    within 5 grep -q 'started, instance "jeedom"' "$log"
    web sh -c 'cat /dev/null > /var/www/html/log/domoflux_daemon'
    logs
    within 5 test -s "$log"
    if grep -q 'started, instance' "$log" || grep -qP '\x00' "$log"; then fail "an emptied log does not begin anew: $(cat "$log")"; fi
    # shellcheck disable=SC2016 # the inner shell expands it
    web sh -c 'echo "$(tail -n 1 "$1")" > "$1"' sh /var/www/html/log/domoflux_daemon
    [ "$(wc -l < "$log")" = 1 ] || fail "a cut log has $(wc -l < "$log") lines"
    logs
    longer() { [ "$(wc -l < "$log")" -gt 1 ]; }
    within 5 longer
    rm "$log"
    logs
    within 5 test -s "$log"
    web sh -c 'cat /dev/null > /var/www/html/log/domoflux_daemon'
    # A link of the web server's user leads nowhere.
    echo untouched > "$root/etc/domoflux/target"
    chmod 666 "$root/etc/domoflux/target"
    web sh -c 'rm /var/www/html/log/* && ln -s /etc/domoflux/target /var/www/html/log/domoflux_daemon'
    logs
    does $setup restart
    [ "$(cat "$root/etc/domoflux/target")" = untouched ] || fail "the log was written through a link"
    rm "$root/etc/domoflux/target" "$log"
    mv "$html/log" "$html/gone"
    does $setup restart
    connects_to_api() { inside domoflux status --instance jeedom; }
    within 5 connects_to_api
    mv "$html/gone" "$html/log"
    does $setup restart
    within 5 grep -q 'started, instance "jeedom"' "$log"
    echo "Jeedom: the log goes on after it was emptied, cut, removed; without its folder, the daemon starts"

    # An update: other bytes, and what runs takes them.
    pid=$(property MainPID)
    cp "$binary" "$work/next"
    echo >> "$work/next"
    rm -r "$html/plugins/domoflux"
    jeedom_plugin "$root" "$work/next"
    does $setup
    grep -q "restarted $unit" "$work/output" || fail "an update restarts nothing: $(cat "$work/output")"
    [ "$(property MainPID)" != "$pid" ] || fail "an update leaves the old process"
    does $setup stop
    does $setup start
    does $setup disable
    # What does not start says why, and does not take for ever.
    printf '[Service]\nExecStart=\nExecStart=/usr/local/bin/domoflux daemon --frobnicate\n' > "$root/etc/systemd/system/$unit.d/wrong.conf"
    does systemctl daemon-reload
    if inside $setup restart > "$work/output" 2>&1; then fail "what can't start is said to start"; fi
    grep -q -- "--frobnicate" "$work/output" || fail "does not say why it does not start: $(cat "$work/output")"
    rm "$root/etc/systemd/system/$unit.d/wrong.conf"
    does systemctl daemon-reload
    echo "Jeedom: an update restarts what runs; what does not start says why"

    # Another instance has the binary and the unit, too.
    does systemctl --quiet enable --now domoflux@default.service
    does $setup start
    does $setup remove
    [ "$(property ActiveState)" = inactive ] || fail "remove leaves the instance running"
    inside systemctl --quiet is-active domoflux@default.service || fail "remove stopped another instance"
    [ -s "$root/var/lib/domoflux/jeedom/domoflux.db" ] || fail "remove took the state"
    does systemctl --quiet disable --now domoflux@default.service
    rm -r "$root/var/lib/domoflux/default"
    does $setup
    does $setup remove --purge
    nothing_left "setup.sh remove --purge"
    rm -r "$root/var/www"
    unit=domoflux@default.service
    echo "Jeedom: setup.sh leaves other instances alone, and takes everything away"
}
if [ -f plugin-jeedom/plugin_info/info.json ]; then jeedom; else echo "NOT CHECKED: there is no plugin-jeedom/plugin_info/info.json"; fi

if [ -z "$deb" ]; then exit 0; fi

depends() { inside dpkg -i --force-confold "$1" > "$work/output" 2>&1 || fail "dpkg -i: $(cat "$work/output")"; }
depends /opt/domoflux.deb
[ -z "$(inside systemctl list-units --plain --no-legend 'domoflux@*')" ] || fail "the package started something unasked"
flows <<< "$both_flows"
inside systemctl --quiet enable --now "$unit"
connects 502 || fail "the package's unit does not listen on port 502"
echo "the package: installs, starts"

dpkg-deb -R "$deb" "$work/next"
sed -i 's/^Version: .*/&+next/' "$work/next/DEBIAN/control"
dpkg-deb --root-owner-group -Zgzip -b "$work/next" "$root/opt/next.deb" > /dev/null
pid=$(property MainPID)
depends /opt/next.deb
[ "$(property MainPID)" != "$pid" ] || fail "an upgrade of the package leaves the old process"
connects 10001 || fail "after an upgrade nobody listens"
refuses_both() { ! inside /opt/release/install.sh > "$work/output" 2>&1 && grep -q "Debian package domoflux is installed" "$work/output"; }
refuses_both || fail "install.sh installs over the package"
echo "the package: an upgrade restarts what runs"

inside dpkg -r domoflux > "$work/output" 2>&1 || fail "dpkg -r: $(cat "$work/output")"
refused 10001 || fail "after a removal somebody listens"
[ -s "$root/etc/domoflux/default.toml" ] || fail "a removal took the settings"
depends /opt/next.deb
inside dpkg -P domoflux > "$work/output" 2>&1 || fail "dpkg -P: $(cat "$work/output")"
nothing_left "dpkg -P"
echo "the package: a removal keeps settings and state, a purge leaves nothing"
