#!/usr/bin/env bash
# Real clients against a real server: run.sh BIN [--venv FOLDER] [--schemathesis EXAMPLES] [PATTERN]
#
# Installs the pinned clients (Python 3.10 or newer, and a package index), and runs the tests whose files fit PATTERN (default:
# *_test.py) beside a server of its own. With --schemathesis it then sends that many generated requests to each operation of
# /openapi.json.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

binary='' venv='' examples='' pattern='*_test.py'
while [ $# -gt 0 ]; do
    case $1 in
    --venv) venv=$2 && shift 2 ;;
    --schemathesis) examples=$2 && shift 2 ;;
    *) if [ -z "$binary" ]; then binary=$(realpath "$1"); else pattern=$1; fi && shift ;;
    esac
done
if [ -z "$binary" ]; then
    echo "usage: run.sh BIN [--venv FOLDER] [--schemathesis EXAMPLES] [PATTERN]" >&2
    exit 2
fi

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
venv=${venv:-$folder/venv}
if [ ! -x "$venv/bin/python" ]; then
    python3 -I -m venv "$venv"
fi
venv=$(cd "$venv" && pwd)
"$venv/bin/pip" install -q --disable-pip-version-check -r "$here/requirements.txt"

cd "$here"
"$here/../with_server.sh" "$binary" "$venv/bin/python" -m unittest discover -v -p "$pattern"
if [ -n "$examples" ]; then
    # shellcheck disable=SC2016 # the inner shell knows the address
    "$here/../with_server.sh" "$binary" sh -c '"$0" "$LATENT_URL" "$@"' "$here/schemathesis.sh" "$examples" "$venv"
fi
