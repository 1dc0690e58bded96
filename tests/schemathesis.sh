#!/usr/bin/env bash
# Asks the release binary what its own description says, with schemathesis: no 500, no status, media type or
# object that the description does not name.
# Exit: 0 nothing found, 1 something found, 77 NOT RUN (no python3 or the package cannot be installed).
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
binary=${MUNIM_BINARY:-$root/target/release/munim}
examples=${MUNIM_SCHEMATHESIS_EXAMPLES:-60}
work=$(mktemp -d)
server=
finish() {
  if [[ -n $server ]]; then
    kill "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
  fi
  rm -rf "$work"
}
trap finish EXIT

if [[ ! -x $binary ]]; then
  echo "NOT RUN: $binary is not built"
  exit 77
fi
# A venv that stays in the build folder is made once.
venv=$root/target/schemathesis
if [[ ! -x $venv/bin/schemathesis ]]; then
  if ! { python3 -m venv "$venv" && "$venv/bin/pip" install --quiet --disable-pip-version-check 'schemathesis>=4,<5'; } >"$work/pip.log" 2>&1; then
    echo "NOT RUN: schemathesis could not be installed: $(tail -n 1 "$work/pip.log")"
    rm -rf "$venv"
    exit 77
  fi
fi

"$binary" serve --data "$work/data" --listen 127.0.0.1:0 >"$work/out" 2>"$work/log" &
server=$!
for _ in $(seq 100); do
  grep -q '^listening on ' "$work/out" && break
  kill -0 "$server" || { cat "$work/log"; exit 1; }
  sleep 0.1
done
url=$(sed -n 's/^listening on //p' "$work/out" | head -n 1)
[[ -n $url ]] || { echo "the server does not say where it listens"; cat "$work/log"; exit 1; }

auth=()
if [[ -f $work/data/admin.key ]]; then
  auth=(--header "Authorization: Bearer $(head -n 1 "$work/data/admin.key")")
fi
# Something to find: two accounts and a transfer that the examples of the description name.
post() {
  python3 - "$url$1" "$2" "$3" "${auth[1]:-}" <<'PY'
import sys, urllib.request
url, key, body, auth = sys.argv[1:5]
request = urllib.request.Request(url, body.encode(), {"Content-Type": "application/json", "Idempotency-Key": key})
if auth:
    request.add_header(*auth.split(": ", 1))
urllib.request.urlopen(request).read()
PY
}
post /v1/accounts a '{"external_id":"CASH-1","currency":"INR","type":"asset"}'
post /v1/accounts b '{"external_id":"SALES-1","currency":"INR","type":"income"}'
post /v1/transfers t '{"debit_account":"ext:CASH-1","credit_account":"ext:SALES-1","amount":"1.50"}'

status=0
# It keeps what it learned where it runs: that goes away with the rest.
cd "$work"
"$venv/bin/schemathesis" --config-file "$root/tests/schemathesis.toml" run "$url/openapi.json" \
  --checks not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance \
  --phases examples,coverage,fuzzing --max-examples "$examples" --generation-deterministic --no-color \
  "${auth[@]}" >"$work/report" 2>&1 || status=$?
# What was found comes before the warnings, which can be longer than the tail.
sed -n '/^=* FAILURES =*$/,/^=* WARNINGS =*$/p' "$work/report" | head -n 200
tail -n 60 "$work/report"
if ! kill -0 "$server" 2>/dev/null; then
  echo "the server went away:"
  tail -n 20 "$work/log"
  exit 1
fi
exit $((status == 0 ? 0 : 1))
