#!/usr/bin/env bash
# Measures every figure of docs/benchmarks.md on a quiet machine: N runs of each, JSON into a folder,
# then the table (medians and spread). Usage: benches/figures.sh [runs] [folder] [names…]
set -u
cd "$(dirname "$0")/.."
runs=${1:-5}; out=${2:-target/figures}; shift $(( $# < 2 ? $# : 2 ))
names=${*:-"singles64 singles256 hot64 shards1 batch10k batch1m holds full mixed lone read recovery1m"}
mkdir -p "$out"
[[ -n ${MUNIM_BIN:-} ]] || cargo build --release --quiet || exit 3
munim=${MUNIM_BIN:-target/release/munim}
one() {
  case $1 in
    singles64)  bench transfers --connections 64 --duration 8 --warm-up 2 ;;
    singles256) bench transfers --connections 256 --duration 10 --warm-up 2 ;;
    hot64)      bench transfers --connections 64 --shape hot --duration 10 --warm-up 2 ;;
    shards1)    bench transfers --connections 64 --duration 10 --warm-up 2 --server-arg=--shards=1 --server-arg=--key-shards=1 ;;
    lone)       bench transfers --connections 1 --duration 5 ;;
    batch10k)   bench batch --accounts 10000 --duration 60 --transfers 60000000 ;;
    batch1m)    bench batch --accounts 1000000 --duration 60 --transfers 60000000 ;;
    holds)      bench batch --accounts 10000 --shape holds --duration 20 ;;
    full)       bench batch --accounts 10000 --reply full --duration 20 ;;
    mixed)      bench mixed --connections 16 --duration 15 ;;
    read)       bench read --connections 4 --accounts 1000000 --prefill 60000000 --duration 6 ;;
    read16)     bench read --connections 16 --accounts 1000000 --prefill 60000000 --duration 6 ;;
    read64)     bench read --connections 64 --accounts 1000000 --prefill 60000000 --duration 6 ;;
    readcold)   bench read --connections 4 --accounts 1000000 --prefill 60000000 --duration 8 --drop-page-cache ;;
    recovery1m) bench recovery --accounts 1000000 --transfers 60000000 ;;
    *) echo "no figure is called $1" >&2; return 2 ;;
  esac
}
bench() { "$munim" bench "$@" --seed "$seed" --json; }
names=($names)
for run in $(seq "$runs"); do
  for name in "${names[@]}"; do
    seed=$((run * 1000 + 7))
    echo "run $run of $runs: $name" >&2
    one "$name" > "$out/$name.$run.json" || echo "  exit status $?" >&2
  done
done
python3 benches/figures.py "$out"
