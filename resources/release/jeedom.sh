#!/usr/bin/env bash
# Puts Jeedom's plugin together as it is installed, its folder plugin_info at the top: what the zip and the branch have.
#
#   jeedom.sh SOURCE BINARIES STAGE VERSION
#
# SOURCE has plugin-jeedom/ and resources/, BINARIES <arch>/domoflux for one or more of amd64, arm64 and armv7, STAGE is made.
set -euo pipefail
umask 022
source=$1 binaries=$2 stage=$3 version=$4
plugin=$source/plugin-jeedom

fail() {
    echo "jeedom.sh: $*" >&2
    exit 1
}

[ -f "$plugin/plugin_info/info.json" ] || fail "$plugin/plugin_info/info.json is missing"
said=$(python3 -c 'import json, sys; print(json.load(sys.stdin).get("pluginVersion", ""))' < "$plugin/plugin_info/info.json")
[ "$said" = "$version" ] || fail "plugin_info/info.json has pluginVersion \"$said\", and Cargo.toml has $version: they go together"

mkdir "$stage"
# What tests the plugin is of no use in a Jeedom.
tar -C "$plugin" --exclude=./tests --exclude=./resources/bin -cf - . | tar -C "$stage" -xf -
# One source for each of these: the daemon's.
install -D -m 644 "$source/resources/kinds.json" "$stage/core/config/kinds.json"
install -m 644 "$source/resources/domoflux@.service" "$source/resources/domoflux.sysusers" "$stage/resources/"
install -m 644 "$source/LICENSE" "$stage/"
found=
for arch in amd64 arm64 armv7; do
    if [ ! -f "$binaries/$arch/domoflux" ]; then continue; fi
    install -D -m 755 "$binaries/$arch/domoflux" "$stage/resources/bin/$arch/domoflux"
    found+=" $arch"
done
[ -n "$found" ] || fail "$binaries has no amd64/domoflux, arm64/domoflux or armv7/domoflux"
(cd "$stage/resources/bin" && sha256sum -- */domoflux > SHA256SUMS)
find "$stage" -type d -exec chmod 755 {} +
find "$stage" -type f -perm /100 -exec chmod 755 {} +
find "$stage" -type f ! -perm /100 -exec chmod 644 {} +
for file in plugin_info/packages.json resources/setup.sh; do
    [ -s "$stage/$file" ] || fail "the plugin has no $file"
done
[ -x "$stage/resources/setup.sh" ] || fail "resources/setup.sh can't be executed"
echo "plugin $version with binaries for$found"
