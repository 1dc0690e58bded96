#!/usr/bin/env bash
# docs/deploy: every file is well formed, and the hand-over from one version to the next behind HAProxy loses nothing.
#   tests/deploy.sh
# Installs Debian's haproxy where it is missing (as root). Wants target/release/munim.
# Exit status 0 well, 1 not so, 77 NOT RUN (the files were checked, the hand-over could not be tried).
set -euo pipefail
cd "$(dirname "$0")/.."
munim=${MUNIM_BINARY:-target/release/munim}
trial=$(mktemp -d)
pids=()
# Only what this script has started is ended, by its number.
end() {
    for pid in "${pids[@]}"; do
        kill -KILL "$pid" 2>/dev/null && wait "$pid" 2>/dev/null || true
    done
    rm -rf "$trial"
}
trap end EXIT

bad() {
    echo "$1"
    exit 1
}
not_run() {
    echo "NOT RUN: $1"
    exit 77
}

### The files.
if command -v k6 >/dev/null; then
    k6 inspect docs/deploy/k6.js >/dev/null || bad "k6 does not read docs/deploy/k6.js"
    echo "k6 reads k6.js"
elif command -v node >/dev/null; then
    for script in k6 k6_uuid; do
        # As modules, which is what k6 takes them for.
        cp "docs/deploy/$script.js" "$trial/$script.mjs"
        node --check "$trial/$script.mjs" || bad "docs/deploy/$script.js is no JavaScript"
    done
    echo "node reads k6.js and k6_uuid.js"
else
    echo "neither k6 nor node is here: the k6 script was not checked"
fi

if command -v kubectl >/dev/null && kubectl create --dry-run=client --validate=false -f docs/deploy/kubernetes.yaml -o name >/dev/null 2>&1; then
    echo "kubectl reads kubernetes.yaml"
elif python3 -c 'import yaml' 2>/dev/null; then
    python3 - docs/deploy/kubernetes.yaml <<'PY' || bad "docs/deploy/kubernetes.yaml is not what Kubernetes takes"
import sys, yaml

# Of each kind the fields that its API refuses to be without.
needed = {
    "Namespace": [], "ConfigMap": ["data"], "Service": ["spec.ports", "spec.selector"],
    "StatefulSet": ["spec.selector.matchLabels", "spec.serviceName", "spec.template.spec.containers"],
    "PodDisruptionBudget": ["spec.selector"],
}
documents = [document for document in yaml.safe_load_all(open(sys.argv[1])) if document]
for document in documents:
    for path in ["apiVersion", "kind", "metadata.name"] + needed[document["kind"]]:
        place = document
        for word in path.split("."):
            assert word in place, f'{document["kind"]}: {path} is missing'
            place = place[word]
pod = next(d for d in documents if d["kind"] == "StatefulSet")["spec"]
labels = pod["template"]["metadata"]["labels"]
assert pod["replicas"] == 1, "one folder, one writer"
assert pod["selector"]["matchLabels"].items() <= labels.items(), "the selector does not find its pod"
(container,) = pod["template"]["spec"]["containers"]
ports = {port["name"] for port in container["ports"]}
for probe in ["startupProbe", "readinessProbe", "livenessProbe"]:
    assert container[probe]["httpGet"]["port"] in ports, probe
volumes = {v["name"] for v in pod["template"]["spec"]["volumes"]} | {v["metadata"]["name"] for v in pod["volumeClaimTemplates"]}
assert {mount["name"] for mount in container["volumeMounts"]} <= volumes, "a mount without a volume"
print("kubernetes.yaml has what its kinds need")
PY
else
    echo "neither kubectl nor Python's yaml is here: the manifests were not checked"
fi

# Dockerfile: known instructions, sources that exist, nobody's root at the end.
if command -v hadolint >/dev/null; then
    hadolint docs/deploy/Dockerfile || bad "hadolint complains"
fi
sed -e ':a' -e '/\\$/N; s/\\\n//; ta' docs/deploy/Dockerfile | grep -Ev '^(#|[[:space:]]*$)' >"$trial/instructions"
while read -r word rest; do
    case $word in
        FROM | RUN | ENV | EXPOSE | ENTRYPOINT | CMD | WORKDIR | USER | VOLUME | STOPSIGNAL) ;;
        COPY)
            [[ $rest == --from=* ]] && continue
            sources=${rest% *}
            for source in $sources; do [[ -e $source ]] || bad "Dockerfile copies $source, which does not exist"; done
            ;;
        *) bad "Dockerfile: $word is no instruction that we use" ;;
    esac
done <"$trial/instructions"
[[ $(awk '$1 == "FROM"' "$trial/instructions" | wc -l) == 2 ]] || bad "Dockerfile: two stages were expected"
awk '$1 == "USER" { user = $2 } END { exit user !~ /^[1-9]/ }' "$trial/instructions" || bad "Dockerfile: it ends as root"
echo "Dockerfile has two stages, existing sources, and a user that is not root"

### The hand-over.
[[ -x $munim ]] || not_run "there is no $munim; cargo build --release makes it"
if ! command -v haproxy >/dev/null; then
    [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null || not_run "haproxy is missing; install the Debian package of that name"
    { apt-get update && apt-get install -y --no-install-recommends haproxy; } >/dev/null 2>&1 || not_run "haproxy could not be installed"
fi
command -v curl >/dev/null || not_run "curl is missing"

# Free ports: taken by nobody at this moment, outside the range that clients get theirs from.
free_port() {
    local port
    for ((port = $1; port < $1 + 500; port++)); do
        (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { echo "$port"; return; }
    done
    return 1
}
blue_port=$(free_port 17000) green_port=$(free_port 17600) front_port=$(free_port 18200)
books=$trial/books

# wait_for SECONDS COMMAND…: asks ten times a second.
wait_for() {
    local tries=$(($1 * 10))
    shift
    until "$@" >/dev/null 2>&1; do
        ((tries-- > 0)) || return 1
        sleep 0.1
    done
}
serve() { # NAME PORT
    "$munim" serve --data "$books" --listen "127.0.0.1:$2" --wait-for-lock 30 2>"$trial/$1.log" >"$trial/$1.out" &
    pids+=($!)
}
is_ready() { curl -sf "http://127.0.0.1:$1/readyz"; }

sed -e "s#127.0.0.1:7070#127.0.0.1:$front_port#; s#127.0.0.1:7071#127.0.0.1:$blue_port#; s#127.0.0.1:7072#127.0.0.1:$green_port#" \
    -e "s#/run/haproxy/admin.sock#$trial/admin.sock#" docs/deploy/haproxy.cfg >"$trial/haproxy.cfg"
haproxy -c -q -f "$trial/haproxy.cfg" || bad "haproxy refuses docs/deploy/haproxy.cfg"
serve blue "$blue_port"
blue=$!
wait_for 20 is_ready "$blue_port" || bad "blue did not become ready: $(cat "$trial/blue.log")"
haproxy -db -f "$trial/haproxy.cfg" 2>"$trial/haproxy.log" &
pids+=($!)
wait_for 10 is_ready "$front_port" || bad "haproxy does not reach blue: $(cat "$trial/haproxy.log")"

# Where keys exist, the first start has made the administrator's.
key=()
[[ -f $books/admin.key ]] && export MUNIM_KEY_FILE=$books/admin.key && key=(-H "Authorization: Bearer $(cat "$books/admin.key")")
appended() { curl -sf "${key[@]}" "http://127.0.0.1:$front_port/v1/status" | grep -o '"durable_seq":"[0-9]*"' | grep -o '[0-9]*'; }
has_passed() { (($(appended) > $1)); }

"$munim" bench transfers --url "http://127.0.0.1:$front_port" --connections 32 --accounts 1000 --duration 15 --warm-up 0.5 \
    --no-floor --json >"$trial/bench.json" 2>"$trial/bench.log" &
load=$!
pids+=("$load")
wait_for 20 has_passed 5000 || bad "no load arrived: $(cat "$trial/bench.log")"

# hand_over OLD-NAME OLD-PID NEW-NAME NEW-PORT: under load, from one version to the other.
hand_over() {
    local before
    before=$(appended)
    # The new version waits for the folder's lock, and has it as soon as the old one has closed the books.
    serve "$3" "$4"
    new=$!
    kill -TERM "$2"
    wait "$2" || bad "$1 did not end well: $(tail -n 5 "$trial/$1.log")"
    wait_for 20 has_passed "$((before + 2000))" || bad "after $1 the load did not go on: $(tail -n 5 "$trial/$3.log")"
    echo "from $1 to $3 under load: done"
}
hand_over blue "$blue" green "$green_port"
green=$new
# The way back, once HAProxy has seen that blue is gone: until then it still believes in both.
wait_for 20 grep -q 'munim/blue is DOWN' "$trial/haproxy.log" || bad "haproxy still believes in blue"
hand_over green "$green" blue "$blue_port"
blue=$new

wait "$load" || bad "the clients saw failures: $(tail -c 2000 "$trial/bench.json") $(tail -n 5 "$trial/bench.log")"
kill -TERM "$blue"
wait "$blue" || bad "the last version did not end well"
"$munim" verify --data "$books" || bad "the books are not whole"
slowest=$(grep -o '"max": *[0-9.]*' "$trial/bench.json" | head -n 1 | grep -o '[0-9.]*$')
echo "two hand-overs behind haproxy: no client saw a failure; the slowest request took ${slowest%.*} µs"
