#!/usr/bin/env bash
# Real clients against a real server: run.sh BIN [--venv FOLDER] [--schemathesis EXAMPLES] [PATTERN]
#
# Starts `BIN serve` on a free port with folders of its own, installs the pinned clients (Python 3.10 or newer, and a package
# index), runs the tests whose files fit PATTERN (default: *_test.py) with the server's address in LATENT_URL, and stops the
# server. With --schemathesis it then sends that many generated requests to each operation of /openapi.json.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

binary='' venv='' examples='' pattern='*_test.py'
while [ $# -gt 0 ]; do
    case $1 in
    --venv) venv=$2 && shift 2 ;;
    --schemathesis) examples=$2 && shift 2 ;;
    *) if [ -z "$binary" ]; then binary=$1; else pattern=$1; fi && shift ;;
    esac
done
if [ -z "$binary" ]; then
    echo "usage: run.sh BIN [--venv FOLDER] [--schemathesis EXAMPLES] [PATTERN]" >&2
    exit 2
fi

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

venv=${venv:-$folder/venv}
if [ ! -x "$venv/bin/python" ]; then
    python3 -I -m venv "$venv"
fi
venv=$(cd "$venv" && pwd)
"$venv/bin/pip" install -q --disable-pip-version-check -r "$here/requirements.txt"

port=$("$venv/bin/python" -I -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
export LATENT_URL=http://127.0.0.1:$port
mkdir "$folder/models"
"$binary" serve --listen "127.0.0.1:$port" --device cpu --output-dir "$folder/images" --state-dir "$folder/state" \
    --models-dir "$folder/models" >"$folder/log" 2>&1 &
server=$!
is_up() { "$venv/bin/python" -I -c "import requests; requests.get('$LATENT_URL/healthz', timeout=5).raise_for_status()" 2>/dev/null; }
for _ in $(seq 60); do
    is_up && break
    kill -0 "$server" || { cat "$folder/log" >&2; exit 1; }
    sleep 1
done

status=0
(cd "$here" && "$venv/bin/python" -m unittest discover -v -p "$pattern") || status=$?
if [ -n "$examples" ]; then
    "$here/schemathesis.sh" "$LATENT_URL" "$examples" "$venv" || status=$?
fi
if ! kill -0 "$server" 2>/dev/null; then
    echo "the server ended by itself:" >&2
    status=1
fi
[ "$status" = 0 ] || tail -n 40 "$folder/log" >&2
exit "$status"
