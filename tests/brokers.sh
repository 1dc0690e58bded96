#!/usr/bin/env bash
# Proves the bridges against real peers: RabbitMQ, Mosquitto, a mail server and the Standard Webhooks package, each
# stopped and started in the middle, and this program killed. What is proved is in tests/brokers.py.
#   MUNIM_BROKER_DOWN_S  seconds that RabbitMQ is away (60)
#   MUNIM_BINARY         a binary with the feature `bridges`, instead of building one as target/munim-with-bridges
# Exit: 0 all held, 1 something did not, 77 NOT RUN (a package cannot be installed).
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
work=$(mktemp -d)
finish() { rm -rf "$work"; }
trap finish EXIT

not_run() {
  echo "NOT RUN: $1"
  exit 77
}

missing=()
for pair in rabbitmq-server:/usr/lib/rabbitmq/bin/rabbitmq-server mosquitto:/usr/sbin/mosquitto; do
  [[ -x ${pair#*:} ]] || missing+=("${pair%%:*}")
done
if ((${#missing[@]})); then
  [[ $(id -u) == 0 ]] || not_run "${missing[*]} are not installed, and only root can install them"
  command -v apt-get >/dev/null || not_run "${missing[*]} are not installed, and this is no Debian"
  # RUNLEVEL=1: a package that is installed starts no service.
  if ! { apt-get update -qq && RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"; } >"$work/apt.log" 2>&1; then
    not_run "${missing[*]} could not be installed: $(tail -n 1 "$work/apt.log")"
  fi
fi
# A venv that stays in the build folder is made once.
venv=$root/target/brokers
if [[ ! -x $venv/bin/python ]] || ! "$venv/bin/python" -c 'import aiosmtpd, pika, paho.mqtt, standardwebhooks' 2>/dev/null; then
  rm -rf "$venv"
  if ! { python3 -m venv "$venv" && "$venv/bin/pip" install --quiet --disable-pip-version-check 'aiosmtpd>=1.4,<2' 'pika>=1.3,<2' 'paho-mqtt>=2,<3' 'standardwebhooks>=1,<2'; } >"$work/pip.log" 2>&1; then
    rm -rf "$venv"
    not_run "the Python packages could not be installed: $(tail -n 1 "$work/pip.log")"
  fi
fi

binary=${MUNIM_BINARY:-}
if [[ -z $binary ]]; then
  # In the folder of the plain build, whose dependencies serve both; the plain binary is put back.
  plain=target/release/munim
  if [[ -e $plain ]]; then mv "$plain" target/munim-without-bridges; fi
  cargo build --release --locked --features bridges --bin munim
  binary=$root/target/munim-with-bridges
  mv "$plain" "$binary"
  if [[ -e target/munim-without-bridges ]]; then mv target/munim-without-bridges "$plain"; fi
fi
[[ -x $binary ]] || not_run "$binary is not there"

# Told to end, it ends what it has started; the folder goes after that.
"$venv/bin/python" "$root/tests/brokers.py" "$binary" "$work" &
driver=$!
trap 'kill "$driver" 2>/dev/null || true' TERM INT
status=0
wait "$driver" || status=$?
if kill -0 "$driver" 2>/dev/null; then
  wait "$driver" || status=$?
fi
exit "$status"
