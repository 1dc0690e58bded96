#!/usr/bin/env bash
# The units are well formed, and hardened: exposure at most 1.5 as shipped and narrower.
#   tests/systemd.sh
# Installs Debian's systemd package for its tools where they are missing (as root); nothing is started.
# Exit status 0 well, 1 not so, 77 NOT RUN.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! command -v systemd-analyze >/dev/null; then
    if [[ $(id -u) != 0 ]] || ! command -v apt-get >/dev/null; then
        echo "NOT RUN: systemd-analyze is missing; install the Debian package systemd"
        exit 77
    fi
    if ! { apt-get update && apt-get install -y --no-install-recommends systemd; } >/dev/null 2>&1; then
        echo "NOT RUN: systemd could not be installed"
        exit 77
    fi
fi

trial=$(mktemp -d)
trap 'rm -rf "$trial"' EXIT
install -d "$trial/bin"
# `verify` wants the program of ExecStart to be there; any will do.
printf '#!/bin/sh\n' >"$trial/bin/munim"
chmod +x "$trial/bin/munim"

# unit_set NAME: the units as they would lie in /etc/systemd/system with the drop-ins NAME.conf.
unit_set() {
    local folder=$trial/$1
    install -d "$folder"
    sed "s#/usr/local/bin/munim#$trial/bin/munim#" systemd/munim.service >"$folder/munim.service"
    cp systemd/munim.socket "$folder/"
    if [[ $1 != shipped ]]; then
        for unit in service socket; do
            install -d "$folder/munim.$unit.d"
            cp "systemd/munim.$unit.d/$1.conf" "$folder/munim.$unit.d/"
        done
    fi
}

failed=0
for name in shipped loopback wide; do
    unit_set "$name"
    folder=$trial/$name
    # Every complaint about our units counts, also those that do not fail the command; the machine's own do not.
    complaints=$(SYSTEMD_UNIT_PATH="$folder:" systemd-analyze verify --man=no "$folder/munim.service" "$folder/munim.socket" 2>&1 | grep -F munim || true)
    if [[ -n $complaints ]]; then
        echo "$name: systemd-analyze verify complains:"
        echo "$complaints"
        failed=1
    fi
    # Offline, a drop-in is scored only where it is part of the file: appended, as systemd reads it.
    scored=$folder/scored.service
    cat "$folder/munim.service" >"$scored"
    [[ $name == shipped ]] || cat "$folder/munim.service.d/$name.conf" >>"$scored"
    # The widest opens the network, which alone weighs 0.2 and more.
    threshold=15
    status=0
    report=$(systemd-analyze security --no-pager --offline=true --threshold="$threshold" "$scored" 2>&1) || status=$?
    echo "$name: $(tail -n 1 <<<"$report")"
    if [[ $status != 0 ]]; then
        grep -E '^✗' <<<"$report" || true
        failed=1
    fi
done
exit "$failed"
