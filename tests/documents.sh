#!/usr/bin/env bash
# Documents as others read them: a statement of account from the release binary, by poppler's pdftotext against the JSON statement,
# row by row; its QR code by zbar; camt.053 by xmllint; and `munim verify document` through the server.
# Exit: 0 all agree, 1 they differ, 77 NOT RUN (poppler is missing and cannot be installed).
set -euo pipefail
cd "$(dirname "$0")/.."

need() {
  command -v "$1" >/dev/null 2>&1 && return
  if [[ $(id -u) != 0 ]] || ! command -v apt-get >/dev/null 2>&1; then
    echo "NOT RUN: $1 is missing; install the Debian package $2"
    exit 77
  fi
  if ! { apt-get update && apt-get install -y --no-install-recommends "$2"; } >/dev/null 2>&1; then
    echo "NOT RUN: $2 could not be installed"
    exit 77
  fi
}
need pdftotext poppler-utils
need zbarimg zbar-tools
need xmllint libxml2-utils
need python3 python3
need curl curl

munim=${MUNIM_BINARY:-target/release/munim}
if [[ ! -x $munim ]]; then
  echo "NOT RUN: $munim is not built"
  exit 77
fi
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

"$munim" serve --data "$work/books" --listen 127.0.0.1:0 --lender-name 'Lakshmi Finance' >"$work/out" 2>"$work/log" &
server=$!
for _ in $(seq 100); do
  grep -q '^listening on ' "$work/out" && break
  kill -0 "$server" || { cat "$work/log"; exit 1; }
  sleep 0.1
done
url=$(sed -n 's/^listening on //p' "$work/out" | head -n 1)
[[ -n $url ]] || { echo "the server does not say where it listens"; cat "$work/log"; exit 1; }
key="Authorization: Bearer $(cat "$work/books/admin.key")"

post() {
  curl -sf -X POST "$url$1" -H "$key" -H 'Content-Type: application/json' -H "Idempotency-Key: $2" -d "$3" >"$work/said"
}
post /v1/accounts a1 '{"currency":"INR","type":"liability","external_id":"DEP","name":"रवि कुमार"}'
post /v1/accounts a2 '{"currency":"INR","type":"asset","external_id":"CASH"}'
for n in $(seq 90); do
  if ((n % 3)); then sides='"debit_account":"ext:CASH","credit_account":"ext:DEP"'; else sides='"debit_account":"ext:DEP","credit_account":"ext:CASH"'; fi
  post /v1/transfers "t$n" "{$sides,\"amount\":\"$((n * 79193)).$((10 + n % 90))\",\"description\":\"UPI $n of till 3\"}"
done

entries=$url/v1/accounts/ext:DEP/entries
curl -sf "$entries?limit=1000" -H "$key" >"$work/statement.json"
curl -sf "$entries" -H "$key" -H 'Accept: application/pdf' -o "$work/statement.pdf"
curl -sf "$entries?format=camt053" -H "$key" -o "$work/statement.xml"
curl -sf "$entries?format=mt940" -H "$key" -o "$work/statement.sta"

pdftotext -layout "$work/statement.pdf" "$work/statement.txt"
python3 - "$work" <<'PYTHON'
import json, re, sys, xml.etree.ElementTree as tree
from decimal import Decimal

work = sys.argv[1]
statement = json.load(open(f"{work}/statement.json"))
rows = list(reversed(statement["data"]))
text = open(f"{work}/statement.txt").read()
amount = r"-?[\d,]+\.\d\d"
line = re.compile(rf"^(\d{{4}}-\d\d-\d\d)\s+(.*?)\s+(tr_\w+)\s+({amount})\s+({amount})\s*$", re.M)
found = line.findall(text)
number = lambda words: Decimal(words.replace(",", ""))
assert len(found) == len(rows), f"{len(found)} rows in the PDF, {len(rows)} in the JSON"
for row, (date, words, transfer, moved, balance) in zip(rows, found):
    expected = (row["effective_date"], row["description"], row["transfer"], abs(Decimal(row["amount"])), Decimal(row["balance"]))
    assert expected == (date, words, transfer, number(moved), number(balance)), (expected, date, words, transfer, moved, balance)
assert "रवि कुमार" in text, "the name in Devanagari"
assert "₹0.00" in text
indian = re.findall(r"(?<![\d,])\d{1,2}(?:,\d\d)+,\d{3}\.\d\d", text)
assert len(indian) > 90, f"{len(indian)} amounts of a lakh and more"

space = {"c": "urn:iso:std:iso:20022:tech:xsd:camt.053.001.08"}
camt = tree.parse(f"{work}/statement.xml").getroot().find("c:BkToCstmrStmt/c:Stmt", space)
def signed(part):
    value = Decimal(part.find("c:Amt", space).text)
    return value if part.find("c:CdtDbtInd", space).text == "CRDT" else -value
opening, closing = map(signed, camt.findall("c:Bal", space))
assert opening + sum(map(signed, camt.findall("c:Ntry", space))) == closing == Decimal(statement["closing"])

swift = open(f"{work}/statement.sta", newline="").read()
moves = re.findall(r":61:\d{10}([CD])([\d,]+)N", swift)
total = sum((1 if side == "C" else -1) * Decimal(value.replace(",", ".")) for side, value in moves)
first = Decimal(re.search(r":60F:C\d{6}INR([\d,]+)", swift)[1].replace(",", "."))
last = Decimal(re.search(r":62F:C\d{6}INR([\d,]+)", swift)[1].replace(",", "."))
assert first + total == last == Decimal(statement["closing"]), (first, total, last)
assert all(len(message) <= 2000 for message in swift.split("\r\n-\r\n"))
print(f"{len(rows)} rows agree: PDF, camt.053, MT940 and JSON")
PYTHON
xmllint --noout "$work/statement.xml"

subject=$(pdfinfo "$work/statement.pdf" | sed -n 's/^Subject: *//p')
pdftoppm -r 200 -png -f 1 -l 1 "$work/statement.pdf" "$work/page"
code=$(zbarimg -q --raw "$work"/page-*.png 2>/dev/null)
[[ $code == "$subject" ]] || { echo "the QR code says $code, the property $subject"; exit 1; }

verify() { "$munim" verify document "$1" --url "$url" --key-file "$work/books/admin.key"; }
post /v1/transfers later '{"debit_account":"ext:CASH","credit_account":"ext:DEP","amount":"5","effective_date":"2026-01-01"}'
verify "$work/statement.pdf"
echo "$code" >"$work/code.txt"
verify "$work/code.txt"
# A digit of a glyph for another, in the last text.
LC_ALL=C sed '$!s/4>Tj$/5>Tj/' "$work/statement.pdf" >"$work/altered.pdf"
status=0
verify "$work/altered.pdf" >"$work/said" || status=$?
[[ $status == 1 ]] || { echo "an altered document: exit status $status"; exit 1; }
kill "$server"
wait "$server" || true
server=
"$munim" verify document "$work/statement.pdf" --data "$work/books" --lender-name 'Lakshmi Finance'
status=0
"$munim" verify document "$work/statement.pdf" --data "$work/books" >"$work/said" || status=$?
[[ $status == 1 ]] || { echo "another lender's name: exit status $status"; exit 1; }
echo "documents: all agree"
