//! All rules but those about imports. Each takes a file and returns what it finds, as (line, what).

use super::source::{Source, closing_brace, is_test_file};

type Findings = Vec<(usize, String)>;

/// Lines of a file, its test modules not counted.
const FILE_LINES_MAX: usize = 600;

/// Lines of a file that holds nothing but tests: tables are long, and read in parts.
const TEST_FILE_LINES_MAX: usize = 1_000;

/// Code lines of a function, first and last included; comments and empty lines do not count.
const FUNCTION_LINES_MAX: usize = 70;

/// Names of files that collect what has no place.
const DRAWERS: [&str; 10] =
    ["util", "utils", "helper", "helpers", "common", "misc", "types", "manager", "shared", "stuff"];

/// Every Rust file opens with what it is.
pub fn file_doc(source: &Source) -> Findings {
    let is_silent = source.path.ends_with(".rs") && !source.text.starts_with("//! ");
    if is_silent { vec![(1, "the file does not open with `//!`".to_owned())] } else { Vec::new() }
}

/// Every public item says what it is, with units, ranges and errors. Modules say it in their own
/// file; the fields of an enum's case are described by the line of the case.
pub fn item_doc(source: &Source) -> Findings {
    if !source.is_product() {
        return Vec::new();
    }
    let lines: Vec<&str> = source.text.lines().collect();
    let mut findings = Vec::new();
    for (number, code) in source.code.lines().enumerate() {
        let Some(item) = code.trim_start().strip_prefix("pub ") else { continue };
        if item.starts_with("use ") || item.starts_with("mod ") {
            continue;
        }
        let above = lines[..number].iter().rev().map(|line| line.trim()).find(|line| !line.starts_with('#'));
        if !above.is_some_and(|line| line.starts_with("///") || line.ends_with(")]")) {
            findings.push((number + 1, format!("`pub {}` has no doc comment", item.trim())));
        }
    }
    findings
}

/// No file is longer than people read.
pub fn file_length(source: &Source) -> Findings {
    if !source.path.ends_with(".rs") {
        return Vec::new();
    }
    // A line is a test if only the view without tests has nothing there.
    let is_product = |(masked, code): &(&str, &str)| masked.trim() == code.trim();
    let (lines, allowed) = match is_test_file(&source.path) || source.is_test_module {
        true => (source.text.lines().count(), TEST_FILE_LINES_MAX),
        false => (source.masked.lines().zip(source.code.lines()).filter(is_product).count(), FILE_LINES_MAX),
    };
    if lines <= allowed {
        return Vec::new();
    }
    vec![(lines, format!("{lines} lines, {allowed} are allowed"))]
}

/// Functions fit a screen.
pub fn function_length(source: &Source) -> Findings {
    let mut findings = Vec::new();
    if !source.path.ends_with(".rs") {
        return findings;
    }
    let code = &source.masked;
    for (at, _) in code.match_indices("fn ") {
        let is_word = at == 0 || !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let name: String = code[at + 3..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        let Some(open) = body(code, at).filter(|_| is_word && !name.is_empty()) else { continue };
        let end = closing_brace(code, open).min(code.len() - 1);
        let lines = code[at..=end].lines().filter(|line| !line.trim().is_empty()).count();
        if lines > FUNCTION_LINES_MAX {
            findings
                .push((source.line(at), format!("{name} has {lines} code lines, {FUNCTION_LINES_MAX} are allowed")));
        }
    }
    findings
}

/// The brace that opens a function's body; `None` for a declaration.
fn body(code: &str, at: usize) -> Option<usize> {
    let mut depth = 0;
    for (place, byte) in code.bytes().enumerate().skip(at) {
        match byte {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth -= 1,
            b'{' if depth == 0 => return Some(place),
            b';' if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

/// No drawers.
pub fn drawer_file(source: &Source) -> Findings {
    let parts = source.path.split('/').map(|part| part.split('.').next().unwrap_or(part));
    let drawers = parts.filter(|part| source.path.ends_with(".rs") && DRAWERS.contains(part));
    drawers.map(|part| (1, format!("`{part}` says nothing about what is inside"))).collect()
}

/// Nothing is left for later. Words are put together so that this file may be searched too.
pub fn unfinished(source: &Source) -> Findings {
    let words = [
        concat!("to", "do!"),
        concat!("TO", "DO"),
        concat!("unimpl", "emented!"),
        concat!("FIX", "ME"),
        concat!("X", "XX"),
        concat!("db", "g!("),
    ];
    let mut findings = find_words(source, &source.text, &words);
    let phrase = concat!("for", " now");
    let lower = source.text.to_ascii_lowercase();
    for (at, _) in lower.match_indices(phrase) {
        let is_whole = !lower[at + phrase.len()..].starts_with(|c: char| c.is_alphanumeric());
        if is_whole && !lower[..at].ends_with(|c: char| c.is_alphanumeric()) {
            findings.push((source.line(at), format!("`{phrase}`")));
        }
    }
    findings
}

/// A test that does not run, or that passes by failing, proves nothing.
pub fn hidden_test(source: &Source) -> Findings {
    find_words(source, &source.text, &[concat!("#[ig", "nore"), concat!("#[should", "_panic")])
}

/// A test that sleeps is slow on a good day and wrong on a bad one.
pub fn sleeping_test(source: &Source) -> Findings {
    if !source.path.ends_with(".rs") {
        return Vec::new();
    }
    let mut findings = find_words(source, &source.masked, &["thread::sleep(", "time::sleep("]);
    let product: Vec<&str> = source.code.lines().collect();
    findings.retain(|(line, _)| product.get(line - 1).is_none_or(|code| !code.contains("::sleep(")));
    findings
}

/// The product gives reasons: `expect("why it cannot happen")`, or an error.
pub fn panic(source: &Source) -> Findings {
    if !source.is_product() {
        return Vec::new();
    }
    find_words(source, &source.code, &[".unwrap()", "panic!(", ".unwrap_err()", "expect(\"\")"])
}

/// Money is integers; rates are decimals.
pub fn float_in_domain(source: &Source) -> Findings {
    if !source.path.starts_with("src/domain/") {
        return Vec::new();
    }
    let code = source.code.as_bytes();
    let digit = |at: Option<usize>| at.and_then(|at| code.get(at)).is_some_and(u8::is_ascii_digit);
    let word = |at: usize| code.get(at).is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    let mut findings = Vec::new();
    for at in 0..code.len() {
        let is_literal = code[at] == b'.' && digit(at.checked_sub(1)) && digit(Some(at + 1));
        let is_type = [&b"f32"[..], b"f64"].iter().any(|name| code[at..].starts_with(name))
            && !word(at + 3)
            && !at.checked_sub(1).is_some_and(word);
        if is_literal || is_type {
            findings.push((source.line(at), "a float".to_owned()));
        }
    }
    findings
}

/// One door for writes, one place for promises: records begin in three files of the engine, and
/// only the watermark compares seqs with what is durable.
pub fn engine_door(source: &Source) -> Findings {
    let door = [
        "src/engine/commit.rs",
        "src/engine/batch.rs",
        "src/engine/recovery.rs",
        "src/engine/loans/commit.rs",
        "src/engine/loans/products.rs",
        "src/engine/loans/day_end.rs",
        "src/engine/loans/year_end.rs",
    ];
    let mut findings = Vec::new();
    if !source.is_product() || source.path.starts_with("src/journal/") {
        return findings;
    }
    for (number, line) in source.code.lines().enumerate() {
        let begins = ["sequencer.begin(", "sequencer().begin(", "appender.begin(", "appender().begin("];
        if begins.iter().any(|call| line.contains(call)) && !door.contains(&source.path.as_str()) {
            findings
                .push((number + 1, "only commit, batch, recovery and those of loans may begin a record".to_owned()));
        }
        let compares = [" < ", " > ", " <= ", " >= ", " == ", " != "].iter().any(|operator| line.contains(operator));
        if line.contains("durable()") && compares && source.path != "src/engine/watermark.rs" {
            findings.push((number + 1, "only the watermark compares with what is durable".to_owned()));
        }
    }
    findings
}

/// Nothing here knows the machine that it was written on, or where packages come from.
pub fn machine_name(source: &Source) -> Findings {
    let words = [
        concat!("/wo", "rk/"),
        concat!("/ho", "me/"),
        concat!("/ro", "ot/"),
        concat!("crates", ".io"),
        concat!("docs", ".rs/"),
        concat!("pypi", ".org"),
        concat!("npmjs", ".com"),
        concat!("proxy.golang", ".org"),
    ];
    find_words(source, &source.text, &words)
}

fn find_words(source: &Source, view: &str, words: &[&str]) -> Findings {
    let mut findings = Vec::new();
    for word in words {
        let starts_as_word = word.starts_with(|c: char| c.is_alphanumeric());
        for (at, _) in view.match_indices(word) {
            let is_tail = starts_as_word && view[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
            if !is_tail {
                findings.push((source.line(at), format!("`{word}`")));
            }
        }
    }
    findings
}
