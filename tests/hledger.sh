#!/bin/sh
# Reads the golden ledger export with hledger, and with ledger where it is installed.
# Exit: 0 read well, 1 refused or other balances, 77 NOT RUN (hledger is missing and cannot be installed).
set -eu
cd "$(dirname "$0")/.."
golden=${1:-data/export/golden.ledger}

if ! command -v hledger >/dev/null 2>&1; then
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
        echo "NOT RUN: hledger is missing; install the Debian package of that name"
        exit 77
    fi
    if ! { apt-get update && apt-get install -y --no-install-recommends hledger; } >/dev/null 2>&1; then
        echo "NOT RUN: hledger could not be installed"
        exit 77
    fi
fi

export LC_ALL=C.UTF-8
hledger -f "$golden" check || exit 1
hledger -f "$golden" check --strict || exit 1
# Every transfer has two postings of one amount, so that all accounts together are zero.
total=$(hledger -f "$golden" balance --output-format csv | tail -n 1)
case $total in
    '"total","0"' | '"Total:","0"') ;;
    *) echo "accounts do not sum to zero: $total"; exit 1 ;;
esac
if command -v ledger >/dev/null 2>&1; then
    ledger -f "$golden" balance >/dev/null || exit 1
    echo "hledger and ledger read $golden"
else
    echo "hledger reads $golden"
fi
