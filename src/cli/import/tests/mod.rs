//! What importing promises, against a small server that keeps keys and external ids like the real one.

mod files;
mod server;

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use self::server::{Fault, TestServer};
use super::*;

const PATIENCE: Patience = Patience {
    first_wait: Duration::from_millis(1),
    wait_max: Duration::from_millis(2),
    give_up_after: Duration::from_millis(200),
    answer_within: Duration::from_secs(20),
};

const HEADER: &str = "external_id,debit_account,credit_account,amount,code,effective_date,description,metadata.mode\n";

struct Bench {
    folder: tempfile::TempDir,
    server: TestServer,
}

impl Bench {
    fn new() -> Bench {
        Bench { folder: tempfile::tempdir().expect("a folder"), server: TestServer::start() }
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, content).expect("a file");
        path
    }

    /// Imports files; the status, the summary, and what went to the log.
    fn import(&self, files: &[&PathBuf]) -> (u8, Value, String) {
        self.import_series("", files)
    }

    fn import_series(&self, series: &str, files: &[&PathBuf]) -> (u8, Value, String) {
        let args = ImportArgs {
            url: self.server.url.clone(),
            key_file: None,
            trust: TrustArgs::default(),
            accounts: false,
            transfers: false,
            series: series.to_owned(),
            json: true,
            retry_for: 1,
            files: files.iter().map(|path| (*path).clone()).collect(),
        };
        let (mut out, mut log) = (Vec::new(), Vec::new());
        let status = run_with(&args, PATIENCE, &mut out, &mut log).expect("vectors take everything");
        let summary = serde_json::from_slice(&out).unwrap_or(Value::Null);
        (status, summary, String::from_utf8(log).expect("text"))
    }

    /// Imports one file and checks status and counts: posted, already there, rejected.
    #[track_caller]
    fn check(&self, file: &PathBuf, status: u8, counts: [u64; 3]) {
        let (got, summary, log) = self.import(&[file]);
        let summary = &summary["files"][0];
        let got_counts = ["posted", "already_there", "rejected"].map(|name| summary[name].as_u64().expect("a count"));
        assert_eq!((got, got_counts), (status, counts), "{summary} {log}");
    }
}

fn transfers(rows: u64, external_ids: bool) -> String {
    let mut text = HEADER.to_owned();
    for row in 1..=rows {
        let id = if external_ids { format!("T-{row}") } else { String::new() };
        text.push_str(&format!("{id},ext:A,ext:B,{row}.50,20,2026-10-01,EMI {row},cash\n"));
    }
    text
}

#[test]
fn running_it_twice_posts_nothing_twice() {
    for external_ids in [true, false] {
        let bench = Bench::new();
        let file = bench.file("t.csv", transfers(12_345, external_ids));
        bench.check(&file, 0, [12_345, 0, 0]);
        assert_eq!(bench.server.batch_sizes(), [5_000, 5_000, 2_345]);
        bench.check(&file, 0, [0, 12_345, 0]);
        assert_eq!(bench.server.held(), 12_345);
    }
}

#[test]
fn after_the_keys_are_gone_the_external_ids_still_hold() {
    for external_ids in [true, false] {
        let bench = Bench::new();
        let file = bench.file("t.csv", transfers(50, external_ids));
        bench.check(&file, 0, [50, 0, 0]);
        bench.server.forget_keys();
        bench.check(&file, 0, [0, 50, 0]);
        assert_eq!(bench.server.held(), 50);
    }
}

#[test]
fn an_id_taken_by_something_else_is_rejected_and_says_what_differs() {
    let bench = Bench::new();
    bench.check(&bench.file("a.csv", transfers(3, true)), 0, [3, 0, 0]);
    let changed = transfers(3, true).replace("2.50,20", "9.50,20").replace("ext:B,3.50", "ext:C,3.5");
    let file = bench.file("b.csv", changed);
    bench.check(&file, 1, [0, 1, 2]);
    let rejected = std::fs::read_to_string(bench.folder.path().join("b.csv.rejected.csv")).expect("a file");
    assert!(rejected.contains("3,external_id_exists,\"the id is taken by something else: amount is \"\"2.50\"\""));
    assert!(
        rejected.contains("4,external_id_exists,\"the id is taken by something else: credit_account is"),
        "{rejected}"
    );
}

#[test]
fn what_was_changed_since_it_was_imported_is_still_there() {
    let bench = Bench::new();
    let header = "external_id,name,currency,type,metadata.k\n";
    let (first, second) = ("C-1,Asha,INR,asset,v\n", "C-2,Ravi,INR,asset,v\n");
    bench.check(&bench.file("a.csv", format!("{header}{first}")), 0, [1, 0, 0]);
    bench.server.change("C-1", "name", "Asha Kale".into());
    bench.server.change("C-1", "metadata", serde_json::json!({ "k": "w" }));
    bench.check(&bench.file("a.csv", format!("{header}{first}{second}")), 0, [1, 1, 0]);
    bench.check(&bench.file("b.csv", format!("{header}{}", first.replace("asset", "income"))), 1, [0, 0, 1]);
    let header = "external_id,debit_account,credit_account,amount,effective_date,pending,expires_in_s\n";
    let (hold, posted) = ("H-1,ext:A,ext:B,1,2026-10-01,true,60\n", "P-1,ext:A,ext:B,1,2026-10-01,,\n");
    bench.check(&bench.file("t.csv", format!("{header}{hold}{posted}")), 0, [2, 0, 0]);
    bench.server.change("H-1", "effective_date", "2026-11-02".into());
    bench.check(&bench.file("t.csv", format!("{header}{hold}{posted}P-2,ext:A,ext:B,1,,,\n")), 0, [1, 2, 0]);
    let moved = posted.replace("10-01", "10-02");
    bench.check(&bench.file("u.csv", format!("{header}{hold}{moved}")), 1, [0, 1, 1]);
}

#[test]
fn a_file_that_has_grown_at_either_end_posts_only_what_is_new() {
    let bench = Bench::new();
    let fee = ",ext:A,ext:B,5.00,20,2026-10-01,fee,cash\n";
    let body = |text: String| text.strip_prefix(HEADER).expect("a header").to_owned();
    let october = format!("{}{fee}{fee}", transfers(5, false));
    bench.check(&bench.file("t.csv", &october), 0, [7, 0, 0]);
    let new: String = body(transfers(9, false)).lines().skip(5).map(|line| format!("{line}\n")).collect();
    bench.check(&bench.file("t.csv", format!("{october}{fee}{new}")), 0, [5, 7, 0]);
    let both = format!("{HEADER}{}{fee}{}", ",ext:A,ext:B,99,20,2026-09-30,before,cash\n", body(october.clone()));
    bench.check(&bench.file("t.csv", both), 0, [1, 8, 0]);
    let (json, more) = (
        r#"{"debit_account":"ext:A","credit_account":"ext:B","amount":"1"}"#,
        r#"{"amount":"1","debit_account":"ext:A","credit_account":"ext:B"}"#,
    );
    bench.check(&bench.file("t.ndjson", format!("{json}\n{json}\n")), 0, [2, 0, 0]);
    bench.check(&bench.file("t.ndjson", format!("{more}\n\n{json}\n{more}\n")), 0, [1, 2, 0]);
}

#[test]
fn rows_that_say_the_same_are_new_in_another_series_and_told_of_in_the_same() {
    let bench = Bench::new();
    bench.check(&bench.file("october.csv", transfers(5, false)), 0, [5, 0, 0]);
    let november = bench.file("november.csv", transfers(6, false));
    let (status, summary, log) = bench.import(&[&november]);
    let summary = &summary["files"][0];
    assert_eq!(
        (status, &summary["posted"], &summary["already_there_by_content"]),
        (0, &Value::from(1), &Value::from(5))
    );
    assert!(log.contains("5 rows without an external_id say the same") && log.contains("--series"), "{log}");
    let (status, summary, log) = bench.import_series("november", &[&november]);
    assert_eq!((status, &summary["files"][0]["posted"], log.as_str()), (0, &Value::from(6), ""));
    bench.check(&bench.file("october-copy.csv", transfers(5, false)), 0, [0, 5, 0]);
    assert_eq!(bench.server.held(), 12);
}

#[test]
fn a_lost_answer_and_a_busy_server_are_waited_out_without_posting_twice() {
    let bench = Bench::new();
    let faults = [Fault::LoseAnswer, Fault::Busy, Fault::TooMany, Fault::CloseFirst, Fault::InFlight];
    bench.server.inject(&faults);
    let file = bench.file("t.csv", transfers(100, false));
    // The first attempt was committed, so its answer is a replay.
    bench.check(&file, 0, [0, 100, 0]);
    assert_eq!(bench.server.held(), 100);
}

#[test]
fn an_interrupted_import_goes_on_when_it_is_run_again() {
    let bench = Bench::new();
    let file = bench.file("t.csv", transfers(12_000, true));
    bench.server.inject_after(1, Fault::Down);
    let (status, summary, log) = bench.import(&[&file]);
    assert_eq!((status, summary["files"][0]["posted"].as_u64()), (3, Some(5_000)), "{log}");
    assert!(log.contains("could not reach"), "{log}");
    bench.server.repair();
    bench.check(&file, 0, [7_000, 5_000, 0]);
}

#[test]
fn rejected_rows_are_written_with_their_reasons_and_can_be_imported_when_corrected() {
    let bench = Bench::new();
    let text = "debit_account,credit_account,amount,code\next:A,ext:B,1,1\next:A,ext:B,13.1313,1\next:A,,2,1\next:A,ext:B,4\next:A,ext:B,5,x\n";
    let file = bench.file("t.csv", text);
    bench.check(&file, 1, [1, 0, 4]);
    let path = bench.folder.path().join("t.csv.rejected.csv");
    let rejected = std::fs::read_to_string(&path).expect("a file");
    let lines: Vec<&str> = rejected.lines().collect();
    assert_eq!(
        lines[0],
        "rejected_row,rejected_code,rejected_detail,debit_account,credit_account,amount,code,external_id"
    );
    assert!(
        lines[1].starts_with("3,insufficient_funds,no money for 13.1313,ext:A,ext:B,13.1313,1,imp-"),
        "{}",
        lines[1]
    );
    assert!(lines[2].starts_with("4,field_missing,credit_account is empty,ext:A,,2,1,imp-"), "{}", lines[2]);
    assert_eq!(lines[3], "5,wrong_column_count,3 cells under a header of 4,ext:A,ext:B,4");
    assert!(lines[4].starts_with("6,number_malformed,"), "{}", lines[4]);
    let corrected = bench.file("corrected.csv", [lines[0], &lines[1].replace("13.1313", "12"), ""].join("\n"));
    bench.check(&corrected, 0, [1, 0, 0]);
    assert_eq!(bench.server.held(), 2);
}

#[test]
fn a_row_that_spoils_the_body_is_found_and_the_others_are_posted_in_order() {
    let bench = Bench::new();
    let text = transfers(100, true).replace("EMI 42,", "poison,").replace("EMI 43,", "poison,");
    bench.check(&bench.file("t.csv", text), 1, [98, 0, 2]);
    let order: Vec<String> = (1..=100).filter(|row| ![42, 43].contains(row)).map(|row| format!("T-{row}")).collect();
    assert_eq!(bench.server.order(), order);
}

#[test]
fn a_row_above_the_amount_limit_of_the_key_is_rejected_and_the_others_are_posted() {
    let bench = Bench::new();
    let file = bench.file("t.csv", transfers(100, true).replace("EMI 42,", "too much for the key,"));
    bench.check(&file, 1, [99, 0, 1]);
    let rejected = std::fs::read_to_string(bench.folder.path().join("t.csv.rejected.csv")).expect("a file");
    let line = rejected.lines().nth(1).expect("a row");
    assert!(line.starts_with("43,amount_limit_exceeded,refused,T-42,"), "{line}");
    bench.check(&file, 1, [0, 99, 1]);
    assert_eq!(bench.server.held(), 99);
}

#[test]
fn ndjson_carries_the_same_items_and_keeps_their_bytes() {
    let bench = Bench::new();
    let accounts = r#"{"external_id":"A","name":"Ka\u0930","currency":"INR","type":"asset","metadata":{"k":"v"}}

{"currency":"INR","type":"asset","code":7}
{"currency":"INR","type":5}
{"currency":"INR","type":"asset","colour":"red"}
{"currency":"INR","currency":"JPY","type":"asset"}
[1]
{"currency":"INR","type":"asset","external_id":null,"rejected_row":3}"#;
    let file = bench.file("a.ndjson", accounts);
    bench.check(&file, 1, [3, 0, 4]);
    assert_eq!(bench.server.held(), 3);
    let rejected = std::fs::read_to_string(bench.folder.path().join("a.ndjson.rejected.ndjson")).expect("a file");
    let codes: Vec<(u64, String)> = rejected
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"))
        .map(|row| {
            (row["rejected_row"].as_u64().expect("a row"), row["rejected_code"].as_str().expect("a code").to_owned())
        })
        .collect();
    let expected = [(4, "field_malformed"), (5, "unknown_field"), (6, "field_twice"), (7, "json_malformed")];
    assert_eq!(codes, expected.map(|(row, code)| (row, code.to_owned())));
    assert!(
        bench
            .server
            .last_body()
            .contains(r#"{"name":"Ka\u0930","currency":"INR","type":"asset","metadata":{"k":"v"},"external_id":"A"}"#)
    );
}

#[test]
fn the_demo_branch_imports_whole() {
    let bench = Bench::new();
    let accounts = bench.file("accounts.csv", crate::cli::demo_data::DEMO_ACCOUNTS_CSV);
    let transfers = bench.file("transfers.csv", crate::cli::demo_data::DEMO_TRANSFERS_CSV);
    let (status, summary, log) = bench.import(&[&accounts, &transfers]);
    assert_eq!(status, 0, "{log}");
    for file in summary["files"].as_array().expect("files") {
        assert_eq!((&file["posted"], &file["rejected"]), (&file["rows"], &Value::from(0)), "{file}");
    }
}

#[test]
fn what_cannot_run_says_so_by_its_status() {
    let bench = Bench::new();
    let file = bench.file("t.csv", transfers(1, true));
    let missing = bench.folder.path().join("missing.csv");
    assert_eq!(bench.import(&[&missing]).0, 3);
    bench.server.inject(&[Fault::Forbidden]);
    let (status, _, log) = bench.import(&[&file]);
    assert!(status == 3 && log.contains("403 permission_missing"), "{log}");
    for url in ["ftp://x", "nonsense", "http://x?y"] {
        let error = Client::new(url, None, &TrustArgs::default(), PATIENCE).err().map(|error| error.to_string());
        assert!(error.is_some_and(|text| text.contains(url)), "{url}");
    }
    let empty_key = bench.file("key", "\n");
    assert!(Client::new("http://x", Some(&empty_key), &TrustArgs::default(), PATIENCE).is_err());
}
