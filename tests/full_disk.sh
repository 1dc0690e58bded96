#!/usr/bin/env bash
# A full disk: writes are refused with `journal_full`, reads go on, writes resume by themselves.
#   tests/full_disk.sh
# Exit status 0 well, 1 not so, 77 NOT RUN.
set -euo pipefail
cd "$(dirname "$0")/.."
. tests/power/preflight.bash
cargo test --release --test power -- full
