#!/usr/bin/env bash
# A real filesystem power cut under load, N times (default 5; the full run 100):
#   tests/power_cut.sh [N [SEED]]
# ext4 over a loop device; the server is stopped, the filesystem is shut down without its log, the server is
# killed, the filesystem is mounted again. Exit status 0 well, 1 something was lost, 77 NOT RUN.
set -euo pipefail
cd "$(dirname "$0")/.."
. tests/power/preflight.bash
cargo test --release --test power -- cut "$@"
