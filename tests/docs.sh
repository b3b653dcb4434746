#!/usr/bin/env bash
# Checks the documents: their links resolve, each kind's page has every field and counter, no file has marks of a merge,
# examples are good, and the commands of the README do what it says.
#
# DOMOFLUX is the program to use. Without it, one is built, and the README's first command runs to the letter.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$PWD

fail() {
    echo "docs: $*" >&2
    exit 1
}

# The code block of the README that follows `<!-- $1: $2 -->`.
block() {
    awk -v mark="<!-- $1: $2 -->" '
        $0 == mark { found = 1; next }
        found && /^```/ { if (inside) exit; inside = 1; next }
        inside { print }
    ' "$root/README.md" | grep . || fail "README.md has no block \"$1: $2\""
}

# Waits up to 10 s until the command succeeds.
until_true() {
    for _ in $(seq 100); do
        if "$@" > /dev/null 2>&1; then return; fi
        sleep 0.1
    done
    fail "not true after 10 s: $*"
}

# A source archive has no list of tracked files.
if git rev-parse --git-dir > /dev/null 2>&1 && git grep -nIE '^(<{7}|[|]{7}|={7}|>{7})( |$)'; then
    fail "marks of a merge that was not finished"
fi

python3 - <<'PYTHON'
import json
import os
import re
import sys

pages = []
for folder, folders, files in os.walk("."):
    folders[:] = [name for name in folders if name not in (".git", "target", "node_modules")]
    pages += [os.path.normpath(os.path.join(folder, name)) for name in files if name.endswith(".md")]
bad = []
for page in sorted(pages):
    with open(page, encoding="utf-8") as file:
        text = re.sub(r"^```.*?^```", "", file.read(), flags=re.S | re.M)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        to = os.path.normpath(os.path.join(os.path.dirname(page), path)) if path else page
        if not os.path.exists(to):
            bad.append("{}: {} is not there".format(page, link))
        elif anchor and to.endswith(".md"):
            with open(to, encoding="utf-8") as file:
                heads = re.findall(r"^#+ +(.*)", file.read(), flags=re.M)
            if anchor not in [re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads]:
                bad.append("{}: {} has no such heading".format(page, link))


def fields(schema):
    """The names of all fields that a schema has, those of fields among them."""
    if isinstance(schema, list):
        return [name for part in schema for name in fields(part)]
    if not isinstance(schema, dict):
        return []
    return list(schema.get("properties", {})) + [
        name for key, part in schema.items() for name in fields(list(part.values()) if key == "properties" else part)
    ]


with open("resources/kinds.json", encoding="utf-8") as file:
    kinds = json.load(file)["en"]
for kind in kinds:
    page = "docs/{}.md".format(kind["kind"])
    with open(page, encoding="utf-8") as file:
        sections = re.findall(r"^## (Fields|Counters|The spool)$(.*?)(?=^## |\Z)", file.read(), flags=re.S | re.M)
    rows = [row for _, text in sections for row in re.findall(r"^\|([^|]*)\|(?!.*\n\|---)", text, flags=re.M)]
    said = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    for name in fields(kind["schema"]) + [counter["name"] for counter in kind["counters"]]:
        if said.count(name) != 1:
            bad.append("{}: `{}` is in {} rows of its tables of fields and counters".format(page, name, said.count(name)))
sys.exit("\n".join(bad) if bad else 0)
PYTHON

if [ -z "${DOMOFLUX:-}" ]; then
    bash -euc "$(block run demo)" | grep "the stream does not care" > /dev/null || fail "the demo does not show what it should"
    DOMOFLUX=${CARGO_TARGET_DIR:-target}/release/domoflux
else
    "$DOMOFLUX" demo | grep "the stream does not care" > /dev/null || fail "the demo does not show what it should"
fi

work=$(mktemp -d)
servers=
cleanup() {
    for pid in $servers; do kill "$pid" 2> /dev/null || true; done
    wait
    rm -rf "$work"
}
trap cleanup EXIT
mkdir "$work/bin"
ln -s "$(realpath "$DOMOFLUX")" "$work/bin/domoflux"
export PATH=$work/bin:$PATH XDG_DATA_HOME=$work/data RUNTIME_DIRECTORY=$work/run
unset STATE_DIRECTORY CONFIGURATION_DIRECTORY DOMOFLUX_INSTANCE DOMOFLUX_STATE_DIR DOMOFLUX_TOKEN
cd "$work"

# Every example of the multiplexer's page is good. What is only some fields is completed.
mkdir "$work/examples"
python3 - "$root/docs/multiplexer.md" "$work/examples" <<'PYTHON'
import re
import sys

with open(sys.argv[1], encoding="utf-8") as file:
    blocks = re.findall(r"^```toml\n(.*?)^```", file.read(), flags=re.S | re.M)
for number, block in enumerate(blocks):
    if "[flow." not in block:
        head = '[flow.it]\nkind = "multiplexer"\nlisten = "127.0.0.1:5020"\n'
        for field, value in (("protocol", "modbus"), ("target", "192.168.1.22:502")):
            if not re.search("^{} =".format(field), block, flags=re.M):
                head += '{} = "{}"\n'.format(field, value)
        block = head + block
    with open("{}/{}.toml".format(sys.argv[2], number), "w", encoding="utf-8") as file:
        file.write(block)
PYTHON
for file in "$work"/examples/*.toml; do
    domoflux check "$file" > "$work/check.txt" 2>&1 || fail "an example of docs/multiplexer.md is wrong: $(cat "$work/check.txt" "$file")"
done

# The README's ports may be taken on this machine: others in their place, and loopback only.
read -r client mirror target < <(python3 -c '
import socket
sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
print(*(s.getsockname()[1] for s in sockets))')
here() { sed "s/0\.0\.0\.0/127.0.0.1/g; s/\b10001\b/$client/g; s/\b10002\b/$mirror/g; s/\b10003\b/$target/g"; }

# Runs a block in the background until the end; each line is a command, with or without `&`.
background() {
    local line
    while IFS= read -r line; do
        bash -c "exec ${line%&}" < /dev/null >> "$1" 2>&1 &
        servers+=" $!"
    done
}

background target.txt < <(block run nc-servers | here)
background mirror.log < <(block run nc-mirror | here)
until_true grep -q "listening on" mirror.log
until_true domoflux probe tcp "127.0.0.1:$target"
block run nc-client | here > client.sh
sed -n 1p client.sh | bash -eu
until_true grep -qx hello target.txt
until_true grep -qx hello copy.txt
sed -n 2p client.sh | bash -eu | grep -x hello > /dev/null || fail "copy.txt has no hello"
# Without its mirror, the target gets it all the same.
read -r first _ <<< "$servers"
kill "$first"
wait "$first" || true
sed -n '1s/hello/again/p' client.sh | bash -eu
until_true grep -qx again target.txt
until_true grep -q "mirror: cannot connect to 127.0.0.1:$mirror: connection refused" mirror.log
for pid in $servers; do kill "$pid" 2> /dev/null || true; done
wait
servers=

# A device that takes one connection, and whose registers are their addresses.
python3 -c '
import socket, struct
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
while True:
    with server.accept()[0] as client:
        while True:
            frame = client.recv(12, socket.MSG_WAITALL)
            if len(frame) < 12:
                break
            unit, function, first, count = struct.unpack(">BBHH", frame[6:])
            values = b"".join(struct.pack(">H", first + i) for i in range(count))
            client.sendall(frame[:4] + struct.pack(">HBBB", 3 + len(values), unit, function, len(values)) + values)
' > device.txt &
servers+=" $!"
until_true grep -q . device.txt
shared() { sed "s/192\.168\.1\.22:502/127.0.0.1:$(cat device.txt)/; s/\b5020\b/$client/"; }
background multiplex.log < <(block run multiplex | shared)
until_true domoflux probe tcp "127.0.0.1:$client"
block run probe-modbus | shared | bash -eu > registers.txt
grep -Eq "^ +1 +0x0001 " registers.txt || fail "no registers by the multiplexer: $(cat registers.txt multiplex.log)"
for pid in $servers; do kill "$pid" 2> /dev/null || true; done
wait
servers=

block file panel.toml | here > "$work/panel.toml"
block run check | bash -eu | grep "good, 1 flow" > /dev/null || fail "the README's file is not good"
background daemon.log < <(block run daemon | sed 's/$/ --listen 127.0.0.1:0/')
until_true domoflux status
block run status > status.sh
bash -eu status.sh > status.txt
grep -E "^panel +mirror +file +serving" status.txt > /dev/null || fail "the README's flow does not serve: $(cat status.txt)"
echo "documents: links and commands are good"
