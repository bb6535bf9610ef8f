#!/usr/bin/env bash
# The page in Chromium with a real server: run.sh BIN [TEST_FILE...]
#
# Needs Node.js 20 or newer with npm and its registry, and Chromium (CHROMIUM names another one than /usr/bin/chromium).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
if [ $# -lt 1 ]; then
    echo "usage: run.sh BIN [TEST_FILE...]" >&2
    exit 2
fi
binary=$(realpath "$1")
shift
cd "$here"
[ -d node_modules ] || npm ci --no-audit --no-fund --silent
[ $# -gt 0 ] || set -- page.test.mjs
# shellcheck disable=SC2016 # the inner shell knows the address
../with_server.sh "$binary" sh -c 'BASE_URL=$LATENT_URL exec node --test --test-concurrency=1 "$@"' run "$@"
