#!/usr/bin/env bash
# Holds the description of the HTTP API against a validator and against a server: is it OpenAPI, and does
# every route do what is said there, also when asked nonsense. Needs Python 3 and PyPI; what it installs
# stays in target/openapi. Exit code 0 if all is well, 1 if not, 2 if it could not look.
#
#   tests/openapi.sh [EXAMPLES]      requests per operation, 50 unless said otherwise
#   SYNCLINE_SERVER=PATH             the server to look at, built if it is not given
set -euo pipefail
cd "$(dirname "$0")/.."
examples=${1:-50}
work=target/openapi
mkdir -p "$work"

if ! "$work/venv/bin/python" -c 'import schemathesis, openapi_spec_validator' 2>/dev/null; then
    if ! { python3 -m venv "$work/venv" &&
        "$work/venv/bin/pip" install --quiet 'openapi-spec-validator>=0.7' 'schemathesis>=4,<5'; }; then
        echo "openapi.sh: cannot install the validators: it takes Python 3 with venv, and PyPI" >&2
        exit 2
    fi
fi
"$work/venv/bin/python" -m openapi_spec_validator sync-server/src/http/openapi.json

program=${SYNCLINE_SERVER:-}
if [ -z "$program" ]; then
    cargo build --quiet -p syncline-server
    program=target/debug/syncline-server
fi
data=$(mktemp -d)
"$program" --listen 127.0.0.1:0 --data "$data/server" --log warn >"$data/out" 2>"$work/server.log" &
server=$!
trap 'kill "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true; rm -rf "$data"' EXIT
for _ in $(seq 300); do
    grep -q listening "$data/out" && break
    kill -0 "$server" 2>/dev/null || { cat "$work/server.log" >&2; exit 1; }
    sleep 0.1
done
url=$(sed -n 's|.*ws://\([^/]*\)/.*|http://\1|p' "$data/out")

# Streams do not end by themselves, and are looked at by the integration tests.
# It leaves notes where it runs.
cd "$work"
venv/bin/schemathesis run "$url/v1/openapi.json" \
    --exclude-path-regex '/(events|frames)$' \
    --checks not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,response_schema_conformance \
    --header 'Syncline-User: ada' \
    --max-examples "$examples" --seed 1 --request-timeout 30
kill -0 "$server" || { echo "openapi.sh: the server did not survive" >&2; exit 1; }
if grep -E 'panicked|ERROR' server.log; then
    echo "openapi.sh: the server complained" >&2
    exit 1
fi
