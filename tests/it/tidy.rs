//! The rules of the house, held by a test.
//!
//! Promise: what STYLE and ARCHITECTURE forbid fails here with a file, a line and the rule. The
//! lists on this page are the law: which folder may import which ([`FOLDERS`]), which rules there
//! are ([`RULES`]), and the few exceptions, each with its reason ([`EXCEPTIONS`]). An exception
//! that nothing needs any more fails too.
//!
//! Steps:
//! 1. read every text file of the repository;
//! 2. of Rust files, blank comments and strings, then test code, keeping every line in its place
//!    (`tidy/source.rs`);
//! 3. run every rule over every file (`tidy/rules.rs`, `tidy/imports.rs`), and print all findings.
//!
//! A checker that cannot fail checks nothing: `every_rule_finds_what_it_forbids` feeds each rule a
//! bad snippet and its harmless twin.

mod imports;
mod rules;
mod source;

use source::Source;

/// A folder (or file) of `src/`, the folders of ours that it may import, and the crates that it may
/// name. `tracing` and `thiserror` may be named everywhere but in `domain`; std always.
pub struct Folder {
    pub name: &'static str,
    pub imports: &'static [&'static str],
    pub names: &'static [&'static str],
}

/// The direction of the code, inside out. A new arrow is argued for in the commit that adds it here.
///
/// `*` is everything. `tokio::sync` and `jiff::civil` stand for that part of the crate alone.
pub const FOLDERS: [Folder; 13] = [
    Folder { name: "domain", imports: &[], names: &["rust_decimal", "jiff::civil", "jiff::Unit", "jiff::Span"] },
    // libc reserves space ahead of the file's end; blake3 hashes whole sealed segments.
    Folder { name: "disk", imports: &[], names: &["redb", "libc", "blake3"] },
    Folder { name: "config", imports: &[], names: &[] },
    // hdrhistogram keeps latencies, parking_lot one lock a worker, serde and toml read alert rules;
    // the rest sends sampled traces to a collector from a thread of its own.
    Folder {
        name: "telemetry",
        imports: &[],
        names: &[
            "tracing_subscriber",
            "hdrhistogram",
            "parking_lot",
            "serde",
            "serde_json",
            "toml",
            "tokio",
            "hyper",
            "hyper_util",
            "http_body_util",
            "bytes",
            "crossbeam",
        ],
    },
    Folder { name: "journal", imports: &["domain", "disk", "config"], names: &["redb", "crossbeam", "blake3"] },
    // blake3 guards packed rows, as it guards the journal's blocks.
    Folder { name: "store", imports: &["domain", "disk", "config"], names: &["redb", "moka", "blake3"] },
    // blake3 makes key hashes; jiff turns moments into business days in the books' zone; tokio::time
    // bounds the wait of a repeated key, tokio::task moves reads that may wait for the disk.
    Folder {
        name: "engine",
        imports: &["domain", "journal", "store", "disk", "config", "telemetry"],
        names: &[
            "parking_lot",
            "crossbeam",
            "moka",
            "tokio::sync",
            "tokio::time",
            "tokio::task",
            "blake3",
            "jiff",
            // The API keys: read by every request without a lock.
            "arc_swap",
        ],
    },
    // serde_json and itoa write the NDJSON export, csv the other one.
    Folder {
        name: "reconcile",
        imports: &["domain", "journal", "store", "disk", "engine", "config"],
        names: &["csv", "serde_json", "itoa", "blake3", "jiff"],
    },
    // Calls to others: names resolved, sockets and TLS opened, HTTP spoken, messages signed.
    Folder {
        name: "jobs",
        imports: &["domain", "store", "disk", "engine", "config", "telemetry"],
        names: &[
            "tokio",
            "hyper",
            "hyper_util",
            "http_body_util",
            "bytes",
            "rustls",
            "tokio_rustls",
            "rustls_native_certs",
            "hickory_resolver",
            "moka",
            "hdrhistogram",
            "parking_lot",
            // Waits between attempts: their jitter, and `Retry-After` as a date.
            "rand",
            "httpdate",
            // Mails out of templates, jobs by the calendar out of a file.
            "minijinja",
            "toml",
            // Signatures: secrets drawn, shown as text, used.
            "ring",
            "base64",
            "getrandom",
            // The queue and the deliveries: files of their own, rows as JSON, threads, schedules.
            "redb",
            "serde",
            "serde_json",
            "crossbeam",
            "jiff",
            "croner",
            "blake3",
            // Mails.
            "lettre",
            // Brokers, with the feature `bridges`.
            "lapin",
            "async_rs",
            "futures_core",
            "rumqttc",
            // What documents are made of: PDF objects, QR codes, shaped letters, fonts that were deflated, XML.
            "pdf_writer",
            "qrcode",
            "rustybuzz",
            "flate2",
            "quick_xml",
        ],
    },
    // A document is an answer, too: `jobs` makes it of what the edge shows as JSON.
    Folder {
        name: "http",
        imports: &["domain", "engine", "jobs", "reconcile", "config", "telemetry"],
        names: &[
            "axum",
            "hyper",
            "hyper_util",
            "http_body_util",
            "bytes",
            "tower_service",
            "serde",
            "serde_json",
            "tokio",
            "socket2",
            "jiff",
            "itoa",
            "blake3",
            "arc_swap",
            "parking_lot",
            // Addresses that are counted: bounded, the longest unseen go first.
            "moka",
            "rand",
            // API keys: secrets drawn, shown as text, compared in constant time.
            "getrandom",
            "base64",
            "subtle",
            // TLS in front of a socket: its streams, its certificates of our own, their fingerprints.
            "rustls",
            "tokio_rustls",
            "rcgen",
            "ring",
            // The future around each request, which must not hold it twice.
            "pin_project_lite",
            // Rates and amounts of loans, which have more digits than the books' own amounts.
            "rust_decimal",
            // Bodies in other formats and codings.
            "prost",
            // WebSockets: frames read, the handshake answered.
            "tungstenite",
            "zstd",
            "flate2",
            "brotli",
        ],
    },
    Folder { name: "cli", imports: &["*"], names: &["*"] },
    // With `count-allocations`, telemetry's allocator counts.
    Folder { name: "main", imports: &["cli", "telemetry"], names: &["mimalloc", "libmimalloc_sys"] },
    Folder { name: "lib", imports: &[], names: &[] },
];

/// One rule: its name and what it finds in a file, as (line, what).
pub struct Rule {
    pub name: &'static str,
    pub check: fn(&Source) -> Vec<(usize, String)>,
}

/// All rules.
pub const RULES: [Rule; 14] = [
    Rule { name: "imports", check: imports::check_folders },
    Rule { name: "crates", check: imports::check_crates },
    Rule { name: "file_doc", check: rules::file_doc },
    Rule { name: "item_doc", check: rules::item_doc },
    Rule { name: "file_length", check: rules::file_length },
    Rule { name: "function_length", check: rules::function_length },
    Rule { name: "drawer_file", check: rules::drawer_file },
    Rule { name: "unfinished", check: rules::unfinished },
    Rule { name: "hidden_test", check: rules::hidden_test },
    Rule { name: "sleeping_test", check: rules::sleeping_test },
    Rule { name: "panic", check: rules::panic },
    Rule { name: "float_in_domain", check: rules::float_in_domain },
    Rule { name: "engine_door", check: rules::engine_door },
    Rule { name: "machine_name", check: rules::machine_name },
];

/// What a rule may find and why it stands: (rule, path, part of the finding, reason).
const EXCEPTIONS: &[(&str, &str, &str, &str)] = &[];

#[test]
fn the_repository_keeps_the_rules_of_the_house() {
    let sources = source::read_repository();
    assert!(sources.len() > 50, "only {} files were found: is this the repository?", sources.len());
    let mut findings = Vec::new();
    let mut needed = vec![false; EXCEPTIONS.len()];
    for source in &sources {
        for rule in &RULES {
            for (line, what) in (rule.check)(source) {
                let excused = EXCEPTIONS.iter().position(|(name, path, part, _)| {
                    *name == rule.name && *path == source.path && what.contains(part)
                });
                match excused {
                    Some(place) => needed[place] = true,
                    None => findings.push(format!("{}:{line}: {}: {what}", source.path, rule.name)),
                }
            }
        }
    }
    for ((rule, path, part, _), needed) in EXCEPTIONS.iter().zip(needed) {
        if !needed {
            findings.push(format!("{path}: the exception from {rule} for `{part}` is not needed any more"));
        }
    }
    assert!(findings.is_empty(), "{} findings:\n{}", findings.len(), findings.join("\n"));
}

/// Even their tests: two witnesses that have talked to each other are one witness.
#[test]
fn journal_and_store_never_import_each_other() {
    for source in source::read_repository() {
        let other = match source.path.split('/').nth(1) {
            Some("journal") => "store",
            Some("store") => "journal",
            _ => continue,
        };
        let arrows = imports::folders_named(&source, &source.masked);
        let bad: Vec<_> = arrows.iter().filter(|(_, folder)| folder == other).collect();
        assert!(bad.is_empty(), "{} imports {other}: {bad:?}", source.path);
    }
}

/// A dependency that nobody names is a download that nobody needs.
#[test]
fn every_dependency_is_used_and_has_a_reason() {
    let sources = source::read_repository();
    let manifest = sources.iter().find(|source| source.path == "Cargo.toml").expect("Cargo.toml is a text file");
    let dependencies = imports::dependencies(&manifest.text);
    assert!(dependencies.len() > 20, "only {} dependencies were read", dependencies.len());
    for dependency in &dependencies {
        let crate_name = dependency.name.replace('-', "_");
        let is_named = sources
            .iter()
            .filter(|source| source.path.ends_with(".rs"))
            .any(|source| !imports::places_of(&source.masked, &crate_name).is_empty());
        assert!(is_named, "nobody names {}", dependency.name);
        assert!(dependency.has_reason, "the line of {} says no reason above it", dependency.name);
    }
}

/// Documents and comments that send the reader to a file that is gone.
#[test]
fn files_named_in_documents_exist() {
    let sources = source::read_repository();
    let mut lost = Vec::new();
    for source in sources.iter().filter(|source| !source.path.starts_with("tests/it/tidy")) {
        for (number, line) in source.text.lines().enumerate() {
            let is_said = !source.path.ends_with(".rs") || line.trim_start().starts_with("//");
            let named = line.split('`').skip(1).step_by(2).filter(|word| is_said && word.ends_with(".rs"));
            for name in named.filter(|name| !name.contains([' ', '*', '<'])) {
                let name = name.trim_start_matches("../");
                let is_there = |other: &Source| other.path == name || other.path.ends_with(&format!("/{name}"));
                if !sources.iter().any(is_there) {
                    lost.push(format!("{}:{}: {name}", source.path, number + 1));
                }
            }
        }
    }
    assert!(lost.is_empty(), "named, but not there:\n{}", lost.join("\n"));
}

/// Rule, path, a snippet that breaks it, a twin that does not.
type Snippet = (&'static str, &'static str, &'static str, &'static str);

#[test]
fn every_rule_finds_what_it_forbids() {
    let snippets = bad_snippets();
    for (rule_name, path, bad, good) in &snippets {
        let rule = RULES.iter().find(|rule| rule.name == *rule_name).expect("the table names rules");
        let find = |text: &str| (rule.check)(&Source::new(path, text));
        assert!(!find(bad).is_empty(), "{rule_name} does not see what is wrong in {path}:\n{bad}");
        assert_eq!(find(good), [], "{rule_name} sees what is not there in {path}:\n{good}");
    }
    let newcomer = Source::new("src/newcomer/a.rs", "fn f() {}");
    assert!(!imports::check_folders(&newcomer).is_empty(), "a new folder must be put into the table");
    assert!(!rules::drawer_file(&Source::new("src/engine/util.rs", "")).is_empty());
    assert_eq!(rules::drawer_file(&Source::new("src/engine/utility.rs", "")), []);
    for rule in RULES.iter().filter(|rule| rule.name != "drawer_file") {
        assert!(snippets.iter().any(|snippet| snippet.0 == rule.name), "no bad snippet for {}", rule.name);
    }
}

fn bad_snippets() -> Vec<Snippet> {
    // Words that this very file may not contain are put together here.
    let leak = |text: String| -> &'static str { Box::leak(text.into_boxed_str()) };
    let lines = |count: usize| leak("let a = 1;\n".repeat(count));
    let function = |count: usize| leak(format!("fn long() {{\n{}}}\n", "let a = 1;\n".repeat(count)));
    let commented = leak(format!("fn long() {{\n{}}}\n", "// A comment is no code.\n\n".repeat(100)));
    vec![
        ("imports", "src/journal/a.rs", "use crate::store::Store;", "use crate::domain::ids::Seq;"),
        ("imports", "src/store/a.rs", "use crate::{domain::ids, journal};", "use crate::{domain::ids, disk};"),
        (
            "imports",
            "src/domain/a.rs",
            "fn f() { crate::config::X; }",
            "// crate::config::X\nconst A: &str = \"crate::config\";",
        ),
        ("imports", "src/journal/mod.rs", "use super::engine::Engine;", "use self::super::domain::ids;"),
        ("imports", "src/journal/a.rs", "use super::super::engine::Engine;", "use super::engine::Engine;"),
        (
            "imports",
            "src/engine/a.rs",
            "use crate::http::problem;",
            "#[cfg(test)]\nmod tests { use crate::http::problem; }",
        ),
        ("imports", "src/main.rs", "fn main() { munim::engine::run() }", "fn main() { munim::cli::run() }"),
        ("crates", "src/store/a.rs", "use crossbeam::channel;", "use redb::Database;"),
        ("crates", "src/domain/a.rs", "use jiff::Timestamp;", "use jiff::civil::Date;"),
        ("crates", "src/domain/a.rs", "tracing::info!(\"x\");", "my_tracing::info!(\"x\");"),
        ("crates", "src/engine/a.rs", "use tokio::net::TcpListener;", "use tokio::sync::Notify;"),
        ("crates", "src/engine/a.rs", "use tokio::{net, sync};", "use tokio::{sync::Notify, sync::oneshot};"),
        ("crates", "src/journal/a.rs", "use serde;", "use std::mem;\nmod serde;"),
        ("file_doc", "src/engine/a.rs", "use std::mem;\n", "//! What it is.\nuse std::mem;\n"),
        (
            "item_doc",
            "src/engine/a.rs",
            "pub fn f() {}",
            "/// Does.\n#[must_use]\npub fn f() {}\nfn g() {}\npub mod h;",
        ),
        ("file_length", "src/engine/a.rs", lines(601), lines(600)),
        ("function_length", "src/engine/a.rs", function(69), function(68)),
        ("function_length", "src/engine/a.rs", function(80), commented),
        ("unfinished", "src/engine/a.rs", concat!("fn f() { to", "do!() }"), "fn f() { todos() }"),
        ("unfinished", "docs/a.md", concat!("This is enough for", " now."), "This is enough for nowhere."),
        ("unfinished", "src/engine/a.rs", concat!("// FIX", "ME: later"), "// Fixed."),
        ("hidden_test", "src/engine/a.rs", concat!("#[test]\n#[ig", "nore]\nfn a() {}"), "#[test]\nfn a() {}"),
        ("hidden_test", "tests/it/a.rs", concat!("#[should", "_panic]"), "// It should panic."),
        ("sleeping_test", "tests/it/a.rs", "std::thread::sleep(pause);", "// thread::sleep"),
        (
            "sleeping_test",
            "src/engine/a.rs",
            "#[cfg(test)]\nmod tests { fn f() { thread::sleep(a); } }",
            "fn f() { thread::sleep(a); }",
        ),
        ("panic", "src/engine/a.rs", "fn f() { a.unwrap(); }", "#[cfg(test)]\nmod tests { fn f() { a.unwrap(); } }"),
        ("panic", "src/engine/a.rs", "fn f() { panic!(\"no\"); }", "fn f() { a.expect(\"why\"); a.unwrap_or(1); }"),
        (
            "panic",
            "src/engine/a.rs",
            "#[cfg(test)]\nuse a::{b, c};\nfn f() { a.unwrap(); }",
            "#[cfg(test)]\nfn f() { a.unwrap(); }",
        ),
        ("float_in_domain", "src/domain/a.rs", "fn f(a: f64) {}", "fn f(af64: u64) {}"),
        ("float_in_domain", "src/domain/a.rs", "const A: T = 1.5;", "const A: T = (1, 5).0; // 1.5"),
        ("engine_door", "src/engine/reads.rs", "let first = sequencer.begin(moment, date);", "let t = store.begin()?;"),
        ("engine_door", "src/http/a.rs", "appender.begin(a)", "Running::begin(a)"),
        ("engine_door", "src/engine/reads.rs", "if seq > watermark.durable() {", "status(watermark.durable())"),
        ("machine_name", "docs/a.md", concat!("see /wo", "rk/shared"), "see /workshop"),
        ("machine_name", "README.md", concat!("from https://index.crates", ".io/"), "the package site"),
    ]
}
