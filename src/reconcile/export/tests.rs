//! Golden files in `data/export/` and what odd texts may not do.
//!
//! A changed format shows up as a diff: run the test with `MUNIM_WRITE_GOLDEN=1` to rewrite the files.

use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::domain::money::Currency;

const DRAWER: ExportAccount<'_> = ExportAccount {
    id: "acct_0000000000000",
    external_id: Some("DRAWER-1"),
    name: Some("Drawer 1"),
    account_type: AccountType::Asset,
    code: 1010,
};
const LOAN: ExportAccount<'_> = ExportAccount {
    id: "acct_0000000000001",
    external_id: None,
    name: Some("Loan  0001: Asha \"Tara\" Kale; @ Pune"),
    account_type: AccountType::Asset,
    code: 1210,
};
const INCOME: ExportAccount<'_> = ExportAccount {
    id: "acct_0000000000002",
    external_id: Some("A;1:%"),
    name: None,
    account_type: AccountType::Income,
    code: 4010,
};

/// Every printable mark, white space of several alphabets, and what looks like dates and prices.
const ODD: &str = "(x) !\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~ \u{a0}\u{3000}\u{2028}\u{0}\t [2026-99-99] [=2026/1/1] a:: b  INR 5 @ 3 = 4";
const ODD_ACCOUNT: ExportAccount<'_> = ExportAccount {
    id: "acct_0000000000003",
    external_id: Some("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"),
    name: Some(ODD),
    account_type: AccountType::Expense,
    code: 0,
};

fn plain() -> ExportTransfer<'static> {
    ExportTransfer {
        id: "tr_0000000000004",
        entry_id: None,
        created_at: "2026-10-01T04:30:00.000001Z",
        effective_date: "2026-10-01",
        debit: DRAWER,
        credit: LOAN,
        amount: "1250.50",
        posted_amount: None,
        currency: "INR",
        code: 20,
        status: "posted",
        reverses: None,
        description: Some("EMI in cash"),
        external_id: Some("B07-1"),
        metadata: &[],
    }
}

fn samples() -> Vec<ExportTransfer<'static>> {
    vec![
        plain(),
        ExportTransfer {
            id: "tr_0000000000005",
            entry_id: Some("je_0000000000005"),
            credit: INCOME,
            description: Some("=HYPERLINK(\"http://example\")\n  2026-10-02 * (x); date:2026-13-45"),
            external_id: Some("-B07-2"),
            metadata: &[("mode", "cash"), ("date", "[2026-99-99], payee: x"), ("odd key:", "ರಮೇಶ್ ₹ 100 %")],
            ..plain()
        },
        ExportTransfer { id: "tr_0000000000006", status: "pending", description: None, ..plain() },
        ExportTransfer {
            id: "tr_0000000000007",
            posted_amount: Some("1000.00"),
            description: Some("   "),
            external_id: None,
            ..plain()
        },
        ExportTransfer {
            id: "tr_000000000000b",
            debit: ODD_ACCOUNT,
            description: Some(ODD),
            external_id: ODD_ACCOUNT.external_id,
            metadata: &[(ODD, ODD), ("", "")],
            ..plain()
        },
        ExportTransfer { id: "tr_0000000000008", status: "voided", ..plain() },
        ExportTransfer {
            id: "tr_0000000000009",
            debit: LOAN,
            credit: DRAWER,
            reverses: Some("tr_0000000000004"),
            description: Some("Taken back, wrong borrower"),
            ..plain()
        },
        ExportTransfer {
            id: "tr_000000000000a",
            currency: "JPY",
            amount: "70",
            description: Some("+91 first\r\nsecond, \"third\""),
            ..plain()
        },
    ]
}

fn ledger(transfers: &[ExportTransfer<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    for code in ["INR", "JPY"] {
        write_ledger_commodity(Currency::from_code(code).expect("a known currency"), &mut out);
    }
    for account in [DRAWER, LOAN, INCOME, ODD_ACCOUNT] {
        write_ledger_account(&account, &mut out);
    }
    out.push(b'\n');
    transfers.iter().for_each(|transfer| write_ledger(transfer, &mut out));
    out
}

fn check_golden(name: &str, got: &[u8]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/export").join(name);
    if std::env::var_os("MUNIM_WRITE_GOLDEN").is_some() {
        std::fs::write(&path, got).expect("a golden file can be written");
    }
    let golden = std::fs::read(&path).expect("the golden file is committed");
    assert_eq!(String::from_utf8_lossy(got), String::from_utf8_lossy(&golden), "{name}");
}

#[test]
fn exports_are_the_golden_files() {
    let mut ndjson = Vec::new();
    let mut csv = Vec::new();
    write_csv_header(&mut csv);
    for transfer in samples() {
        write_ndjson(&transfer, &mut ndjson);
        write_csv(&transfer, &mut csv);
    }
    check_golden("golden.ndjson", &ndjson);
    check_golden("golden.csv", &csv);
    check_golden("golden.ledger", &ledger(&samples()));
}

#[test]
fn accounts_of_one_name_stay_apart() {
    let twin = |external_id, id| ledger_account_name(&ExportAccount { id, external_id, ..LOAN });
    let names = [
        twin(Some("A;1"), "acct_1"),
        twin(Some("A:1"), "acct_1"),
        twin(Some("A%3B1"), "acct_1"),
        twin(None, "acct_1"),
        twin(None, "acct_2"),
        twin(Some("acct_1"), "acct_3"),
    ];
    let unique: std::collections::BTreeSet<&String> = names.iter().collect();
    assert_eq!(unique.len(), names.len(), "{names:?}");
}

fn odd_text() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        ";",
        ":",
        "  ",
        "\t",
        "\n",
        "\r\n",
        "@",
        "=",
        "+",
        "-",
        "\"",
        "'",
        ",",
        "|",
        "[2026-01-01]",
        "\u{a0}",
        "\u{2028}",
        "\u{0}",
        "{",
        "}",
        "(",
        ")",
        "*",
        "!",
        "INR 5",
        "2026-10-01 x",
        "ರ",
        "date:x",
        "\\",
        "%3B",
    ]);
    prop_oneof![prop::collection::vec(pieces, 0..12).prop_map(|parts| parts.concat()), any::<String>()]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn json_gives_every_text_back(name in odd_text(), description in odd_text(), key in odd_text()) {
        let metadata = [(key.as_str(), description.as_str())];
        let credit = ExportAccount { name: Some(&name), ..LOAN };
        let transfer = ExportTransfer { description: Some(&description), metadata: &metadata, credit, ..plain() };
        let mut out = Vec::new();
        write_ndjson(&transfer, &mut out);
        prop_assert_eq!(out.iter().filter(|byte| **byte == b'\n').count(), 1);
        let read: serde_json::Value = serde_json::from_slice(&out).expect("JSON");
        prop_assert_eq!(read["description"].as_str(), Some(description.as_str()));
        prop_assert_eq!(read["credit_account_name"].as_str(), Some(name.as_str()));
        prop_assert_eq!(read["metadata"][&key].as_str(), Some(description.as_str()));
    }

    #[test]
    fn csv_gives_every_text_back_but_no_formula(name in odd_text(), description in odd_text()) {
        let debit = ExportAccount { name: Some(&name), ..LOAN };
        let transfer = ExportTransfer { description: Some(&description), debit, ..plain() };
        let mut out = Vec::new();
        write_csv_header(&mut out);
        write_csv(&transfer, &mut out);
        let mut reader = ::csv::Reader::from_reader(out.as_slice());
        let rows: Vec<::csv::StringRecord> = reader.records().collect::<Result<_, _>>().expect("CSV");
        prop_assert_eq!(rows.len(), 1);
        for (cell, text) in [(&rows[0][8], &name), (&rows[0][20], &description)] {
            prop_assert!(!cell.starts_with(['=', '+', '-', '@', '\t', '\r']), "{:?}", cell);
            prop_assert!(cell == text || cell == format!("'{text}"), "{:?} from {:?}", cell, text);
        }
    }

    #[test]
    fn no_text_becomes_ledger_syntax(name in odd_text(), description in odd_text(), key in odd_text()) {
        let metadata = [(key.as_str(), description.as_str())];
        let debit = ExportAccount { name: Some(&name), ..LOAN };
        let transfer = ExportTransfer { description: Some(&description), metadata: &metadata, debit, ..plain() };
        let mut out = Vec::new();
        write_ledger(&transfer, &mut out);
        let text = String::from_utf8(out).expect("text");
        let lines: Vec<&str> = text.lines().collect();
        // Header, created_at, code, external_id, one tag, two postings, one empty line.
        prop_assert_eq!(lines.len(), 8, "{}", text);
        prop_assert!(lines[0].starts_with("2026-10-01 * (tr_") && !lines[0].contains(';'), "{}", lines[0]);
        prop_assert!(lines[1..5].iter().all(|line| line.starts_with("    ; ")), "{}", text);
        for (line, amount) in [(lines[5], "INR 1250.50"), (lines[6], "INR -1250.50")] {
            let (account, rest) = line[4..].split_once("  ").expect("two spaces end the account");
            prop_assert_eq!(rest, amount);
            prop_assert_eq!(account.matches(':').count(), 2, "{}", account);
            prop_assert!(!account.contains([';', '@', '=', '"', '\t']), "{}", account);
        }
    }
}
