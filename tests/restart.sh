#!/usr/bin/env bash
# Twenty restarts under 200 clients that never retry: no request may fail.
#   tests/restart.sh [accounts [longest pause, ms]]          (default 100,000; any)
# The listening socket is held by a parent and handed over with LISTEN_FDS, as systemd does it. Exit
# status 0 well, 1 a request failed or a pause was longer than was asked for (500 on a quiet machine), 3 could not run.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo build --release --bin munim
exec ./target/release/munim bench restarts --accounts "${1:-100000}" --restarts 20 --connections 200 ${2:+--pause-max-ms "$2"}
