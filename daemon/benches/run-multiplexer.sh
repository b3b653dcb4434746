#!/usr/bin/env bash
# Runs the benchmark of the multiplexer beside the Modbus proxy PyPI offers, which it installs under target/.
# TCP_MULTIPLEXER_BIN names the binary of tcp-multiplexer, if there is one; modbus-proxy-rs and mbproxy take part if they
# are in PATH. Arguments go to the benchmark: --quick, --rounds N, --only NAME[,NAME...], --json FILE.
set -euo pipefail

cd "$(dirname "$0")/.."

venv=${CARGO_TARGET_DIR:-$PWD/../target}/bench-venv
if ! [[ -x $venv/bin/modbus-proxy ]]; then
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet modbus-proxy
fi

# Behind everything else, so that its python is nobody's.
PATH=$PATH:$venv/bin cargo bench --bench multiplexer -- "$@"
