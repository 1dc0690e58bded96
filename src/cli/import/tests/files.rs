//! Odd files: every one gives rows, numbered errors or a refusal of the file, never a panic.

use proptest::prelude::*;

use super::super::row::Rejected;
use super::*;

type Read = (Vec<Row>, Vec<Rejected>);

fn read(content: &[u8], kind: Option<ItemKind>) -> Result<Read, FileError> {
    let mut rows = Rows::open(content, kind, "")?;
    let mut read = (Vec::new(), Vec::new());
    while let Some(row) = rows.next_row()? {
        match row {
            Ok(row) => read.0.push(row),
            Err(rejected) => read.1.push(rejected),
        }
    }
    Ok(read)
}

fn items(content: &[u8]) -> Vec<String> {
    let (rows, rejected) = read(content, None).expect("the file is well structured");
    assert!(rejected.is_empty(), "{rejected:?}");
    rows.into_iter().map(|row| String::from_utf8(row.item).expect("text")).collect()
}

#[test]
fn line_ends_marks_and_quotes_are_those_of_any_spreadsheet() {
    let expected = [r#"{"name":"A, \"b\"\nc","currency":"INR","type":"asset","external_id":"X","metadata":{"k":"v"}}"#];
    let table: &[&[u8]] = &[
        b"external_id,name,currency,type,metadata.k\nX,\"A, \"\"b\"\"\nc\",INR,asset,v\n",
        b"\xEF\xBB\xBFexternal_id,name,currency,type,metadata.k\r\nX,\"A, \"\"b\"\"\nc\",INR,asset,v\r\n",
        b"\xEF\xBB\xBF\"external_id\",name,currency,type,metadata.k\n\n\nX,\"A, \"\"b\"\"\nc\",INR,asset,v",
    ];
    for content in table {
        assert_eq!(items(content), expected, "{}", String::from_utf8_lossy(content));
    }
}

#[test]
fn a_broken_structure_refuses_the_file_before_anything_is_posted() {
    let open_quote =
        format!("{}{}a,ext:A,\"ext:B{}", HEADER, "b,ext:A,ext:B,1,,,,\n".repeat(10), "x,\n".repeat(100_000));
    let table: &[(&[u8], &str)] = &[
        (b"", "the file is empty"),
        (b"\xFF\xFEe\0", "UTF-16"),
        (b"colour,size\nred,1\n", "neither of accounts nor of transfers"),
        (b"currency,type,colour\n", "accounts have no column \"colour\""),
        (b"currency,type,type\n", "stands twice"),
        (b"amount,debit_account\n", "no column credit_account"),
        (b"currency,\xFF\n", "not UTF-8"),
        (open_quote.as_bytes(), "row 12 is longer than 65536 bytes: is a quote left open?"),
    ];
    for (content, expected) in table {
        let error = read(content, None).expect_err("the file is broken").to_string();
        assert!(error.contains(expected), "{error} instead of {expected}");
    }
    let bench = Bench::new();
    let (status, _, log) = bench.import(&[&bench.file("t.csv", &open_quote)]);
    assert!(status == 2 && log.contains("row 12"), "{status} {log}");
    for content in ["", "colour,size\nred,1\n"] {
        assert_eq!(bench.import(&[&bench.file("e.csv", content)]).0, 2, "it is no file to import");
    }
    assert_eq!(bench.server.held(), 0);
}

#[test]
fn a_file_that_ends_inside_a_quote_is_refused_before_anything_is_posted() {
    let before = format!("{HEADER}a,ext:A,ext:B,1,,,first,\n");
    let broken: &[(&str, &str)] = &[
        ("b,ext:A,ext:B,1,,,\"open,\nc,ext:A,ext:B,500,,,second,\n", "row 3"),
        ("b,ext:A,ext:B,1,,,\"\"\"said\"\" he,\nc,ext:A,ext:B,500,,,second,\n", "row 3"),
        ("b,ext:A,ext:B,1,,,\"x\",\r\nc,ext:A,ext:B,1,,,\"", "row 4"),
        ("b,ext:A,ext:B,1,,,\"cut off in the midd", "row 3"),
        ("\"", "row 3"),
    ];
    let bench = Bench::new();
    for (rest, row) in broken {
        let content = format!("{before}{rest}");
        let (status, _, log) = bench.import(&[&bench.file("t.csv", &content)]);
        let expected = format!("{row} opens a quote that the file never closes");
        assert!(status == 2 && log.contains(&expected), "{content}: {status} {log}");
    }
    assert!(read(b"\"external_id,currency,type", None).unwrap_err().to_string().contains("row 1 opens a quote"));
    assert_eq!(bench.server.held(), 0);
    // A quote inside a cell is text, one behind a closed quote too, and the last one may end the file.
    for rest in ["b,ext:A,ext:B,1,,,5\" pipe,", "b,ext:A,ext:B,1,,,\"a\"b\"c,", "b,ext:A,ext:B,1,,,,\"x\"\"\""] {
        let (rows, rejected) = read(format!("{before}{rest}").as_bytes(), None).expect("every quote is closed");
        assert_eq!((rows.len(), rejected.len()), (2, 0), "{rest}: {rejected:?}");
    }
}

#[test]
fn a_malformed_row_is_numbered_and_the_next_one_follows() {
    let long = format!("{{\"currency\":\"{}\"}}\n{{\"currency\":\"INR\",\"type\":\"asset\"}}\n", "x".repeat(200_000));
    let table: &[(&[u8], u64, &str)] = &[
        (b"currency,type\nINR,\xFF\nINR,asset\n", 2, "not_utf8"),
        (b"currency,type\n\nINR\nINR,asset\n", 2, "wrong_column_count"),
        (b"currency,type,code\nINR,asset,-1\nINR,asset,\n", 2, "number_malformed"),
        (long.as_bytes(), 1, "row_too_long"),
        (b"{\"currency\":\"INR\",\"type\":\"asset\"}\n{\"a\n", 2, "json_malformed"),
        (b"{\"currency\":\"INR\",\"type\":\"asset\"}\n{\"\xFF\":1}\n", 2, "not_utf8"),
    ];
    for (content, number, code) in table {
        let (rows, rejected) = read(content, None).expect("the structure holds");
        assert_eq!((rows.len(), rejected.len()), (1, 1), "{code}");
        assert_eq!((rejected[0].number, rejected[0].code.as_str()), (*number, *code));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn no_bytes_make_it_panic_and_every_item_is_json(
        start in prop::sample::select(vec!["", HEADER, "currency,type\n", "{\"currency\":\"INR\"", "\u{feff}amount"]),
        rest in prop::collection::vec(
            prop_oneof![any::<u8>(), prop::sample::select(b"\",\n\r{}:a1\\ ".to_vec())], 0..400),
        kind in prop::sample::select(vec![None, Some(ItemKind::Accounts), Some(ItemKind::Transfers)]),
    ) {
        let content = [start.as_bytes(), &rest].concat();
        if let Ok((rows, _)) = read(&content, kind) {
            let mut numbers: Vec<u64> = rows.iter().map(|row| row.number).collect();
            numbers.dedup();
            prop_assert_eq!(numbers.len(), rows.len());
            for row in rows {
                let item: Value = serde_json::from_slice(&row.item).expect("an item is JSON");
                prop_assert_eq!(item["external_id"].as_str(), Some(row.external_id.as_str()));
            }
        }
    }
}
