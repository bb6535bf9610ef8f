#!/usr/bin/env bash
# Generated requests for each operation of a server's /openapi.json: schemathesis.sh URL [EXAMPLES [VENV]]
#
# No answer may be of status 5xx, or of a content type that is not described. Images that are asked for become small
# (schemathesis_hooks.py), as the other requests wait behind them.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
url=$1 examples=${2:-100} venv=${3:-}

# It writes its cache where it runs.
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
if [ -z "$venv" ]; then
    venv=$folder/venv
    python3 -I -m venv "$venv"
fi
venv=$(cd "$venv" && pwd)
"$venv/bin/pip" install -q --disable-pip-version-check -r "$here/requirements-schemathesis.txt"

cd "$folder"
# Events of the server never end, so that there is nothing to wait for.
LATENT_URL=$url SCHEMATHESIS_HOOKS=schemathesis_hooks PYTHONPATH=$here "$venv/bin/st" run "$url/openapi.json" \
    --checks not_a_server_error,content_type_conformance --max-examples "$examples" \
    --exclude-path /api/v1/events --request-timeout 120 --suppress-health-check all --continue-on-failure
