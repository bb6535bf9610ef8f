#!/usr/bin/env bash
# The page in Chromium, on its software adapter for WebGPU: run.sh FOLDER BIN
#
# FOLDER is what ../build.sh made, BIN the program for the command line, whose images are compared with. Needs Node.js 20 or newer with
# npm and its registry, and Chromium (CHROMIUM names another one than /usr/bin/chromium).
set -euo pipefail
if [ $# -ne 2 ]; then
    echo "usage: run.sh FOLDER BIN" >&2
    exit 2
fi
PAGE=$(realpath "$1") LATENT=$(realpath "$2")
export PAGE LATENT
cd "$(dirname "$0")"
tools=../../server/page_tests
[ -d "$tools/node_modules" ] || npm --prefix "$tools" ci --no-audit --no-fund --silent
exec node --test --test-concurrency=1 page.test.mjs
