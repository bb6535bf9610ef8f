#!/usr/bin/env bash
# Runs a command beside a server: with_server.sh BIN COMMAND...
#
# Starts `BIN serve` on a free port with folders of its own, runs the command with the server's address in LATENT_URL and its
# folder of models in MODELS_DIR, and stops the server. Exits as the command does; with 1 if the server ended by itself.
set -euo pipefail
if [ $# -lt 2 ]; then
    echo "usage: with_server.sh BIN COMMAND..." >&2
    exit 2
fi
binary=$1
shift

folder=$(mktemp -d)
server=''
# shellcheck disable=SC2317 # the trap calls it
stop() {
    if [ -n "$server" ]; then
        # The second signal interrupts a job that runs.
        kill "$server" 2>/dev/null || true
        sleep 0.2
        kill "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
    fi
    rm -rf "$folder"
}
trap stop EXIT

export MODELS_DIR=$folder/models
mkdir "$MODELS_DIR"
: >"$folder/log"
"$binary" serve --listen 127.0.0.1:0 --device cpu --output-dir "$folder/images" --state-dir "$folder/state" \
    --models-dir "$MODELS_DIR" >"$folder/log" 2>&1 &
server=$!
# The server says where it listens once it does.
until LATENT_URL=$(grep -o -m 1 'http://127.0.0.1:[0-9]*' "$folder/log"); do
    kill -0 "$server" || { cat "$folder/log" >&2; exit 1; }
    sleep 0.1
done
export LATENT_URL

status=0
"$@" || status=$?
if ! kill -0 "$server" 2>/dev/null; then
    echo "the server ended by itself:" >&2
    status=1
fi
[ "$status" = 0 ] || tail -n 40 "$folder/log" >&2
exit "$status"
