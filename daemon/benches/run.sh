#!/usr/bin/env bash
# Runs the benchmark of the mirror beside the proxies Debian offers, which it installs where they are missing.
# Arguments go to the benchmark: --quick, --rounds N, --only NAME[,NAME...], --json FILE.
set -euo pipefail

cd "$(dirname "$0")/.."

missing=()
for package in nginx-light libnginx-mod-stream haproxy socat; do
    status=$(dpkg-query --show --showformat='${Status}' "$package" 2>/dev/null || true)
    [[ $status == "install ok installed" ]] || missing+=("$package")
done

if ((${#missing[@]})); then
    root=()
    ((EUID == 0)) || root=(sudo)
    "${root[@]}" apt-get update
    # The packages would start their services on port 80; the benchmark starts its own instances. Where there is no
    # policy on that, this one holds for the installation only.
    policy=/usr/sbin/policy-rc.d
    if [[ ! -e $policy ]]; then
        trap '"${root[@]}" rm -f "$policy"' EXIT
        printf '#!/bin/sh\nexit 101\n' | "${root[@]}" tee "$policy" >/dev/null
        "${root[@]}" chmod 755 "$policy"
    fi
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "${missing[@]}"
fi

cargo bench --bench mirror -- "$@"
