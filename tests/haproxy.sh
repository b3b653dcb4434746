#!/usr/bin/env bash
# Checks the PROXY protocol, both versions, with a real haproxy before and behind domoflux. It needs haproxy, python3 and
# the ports 21001 to 21005 of 127.0.0.1.
#
#   tests/haproxy.sh [path of domoflux]
set -euo pipefail
flux=$(realpath "${1:-${CARGO_TARGET_DIR:-target}/release/domoflux}")
work=$(mktemp -d)
pids=
cleanup() {
    for pid in $pids; do kill "$pid" 2> /dev/null || true; done
    wait
    rm -rf "$work"
}
trap cleanup EXIT
cd "$work"

for version in v1 v2; do
    send="send-proxy"
    if [ $version = v2 ]; then send="send-proxy-v2 proxy-v2-options unique-id"; fi
    cat > "$version.cfg" << CONFIG
global
    log stdout format raw local0
defaults
    mode tcp
    timeout connect 3s
    timeout client 10s
    timeout server 10s
# Client -> sender -> domoflux -> receiver (the target) -> echo.
frontend sender
    bind 127.0.0.1:21001
    default_backend domoflux
backend domoflux
    server domoflux 127.0.0.1:21002 $send
frontend target
    bind 127.0.0.1:21003 accept-proxy
    log global
    log-format "target %ci:%cp %fi:%fp"
    default_backend echo
frontend mirror
    bind 127.0.0.1:21004 accept-proxy
    log global
    log-format "mirror %ci:%cp %fi:%fp"
    default_backend echo
backend echo
    server echo 127.0.0.1:21005
CONFIG
    haproxy -f "$version.cfg" > "$version.log" 2>&1 &
    haproxy=$!
    "$flux" mirror -l 127.0.0.1:21002 -t 127.0.0.1:21003 -m 127.0.0.1:21004 \
        --proxy-protocol $version --trusted-proxy 127.0.0.1 > "flux-$version.log" 2>&1 &
    domoflux=$!
    pids="$haproxy $domoflux"
    client=$(
        python3 - << 'PYTHON'
import socket, sys, threading, time

server = socket.create_server(("127.0.0.1", 21005))

def echo(stream):
    with stream:
        try:
            while data := stream.recv(4096):
                stream.sendall(data)
        except OSError:
            pass

def accept():
    while True:
        threading.Thread(target=echo, args=(server.accept()[0],), daemon=True).start()

threading.Thread(target=accept, daemon=True).start()
deadline = time.monotonic() + 10
while True:
    try:
        with socket.create_connection(("127.0.0.1", 21001), 5) as client:
            client.sendall(b"alarm")
            if client.recv(5) == b"alarm":
                print("%s:%d 127.0.0.1:21001" % client.getsockname())
                sys.exit()
    except OSError:
        pass
    if time.monotonic() > deadline:
        sys.exit("no echo within 10 s")
    time.sleep(0.1)
PYTHON
    )
    for side in target mirror; do
        # The mirror gets its copy a moment later than the target.
        deadline=$((SECONDS + 10))
        until grep -qxF "$side $client" "$version.log" || [ "$SECONDS" -ge "$deadline" ]; do sleep 0.1; done
        if ! grep -qxF "$side $client" "$version.log"; then
            echo "haproxy: $version: the $side did not see $client, but:" >&2
            cat "$version.log" "flux-$version.log" >&2
            exit 1
        fi
    done
    kill "$haproxy" "$domoflux"
    wait "$haproxy" "$domoflux" 2> /dev/null || true
    pids=
    echo "haproxy: $version: target and mirror see the client, $client"
done
