//! What documents cost, in one thread: statements of 40 rows, with and without letters that must be shaped, and the
//! parts of the work.
//!
//! ```sh
//! cargo bench --bench documents
//! cargo bench --bench documents -- samples     # writes one file of each beside the figures
//! ```
//!
//! 10,000 statements of a month's end are to take 10 s on two cores at most: 1 ms for each, one thread alone.

use std::hint::black_box;
use std::time::Instant;

use munim::domain::ids::{AccountNo, IdKind, Seq, account_id, format_id};
use munim::domain::money::Currency;
use munim::domain::time::Day;
use munim::jobs::documents::code::code;
use munim::jobs::documents::content::Document;
use munim::jobs::documents::file::pdf;
use munim::jobs::documents::layout::pages;
use munim::jobs::documents::papers::Issue;
use munim::jobs::documents::papers::account::{AccountLine, AccountStatement, statement};
use munim::jobs::documents::reference::{Kind, Reference};

const ROUNDS: u32 = 2_000;

fn issue(number: u32) -> Issue {
    let (from, to) = (Day::parse("2026-10-01"), Day::parse("2026-10-31"));
    let reference =
        Reference { kind: Kind::Statement, id: account_id(AccountNo(number)), part: None, from, to, seq: Seq(184_467) };
    let head = blake3::hash(b"books").into();
    Issue { reference, head, lender: "Lakshmi Finance Private Limited".into(), day: Day::parse("2026-11-01").unwrap() }
}

fn figures(number: u32, name: &str) -> AccountStatement {
    let mut balance: i128 = 1_234_567;
    let opening = balance;
    let lines = (0..40)
        .map(|line| {
            let amount = if line % 3 == 0 { -45_000 - line } else { 12_345_678 + line * 1_000 };
            balance += amount;
            AccountLine {
                date: Day(20_727 + (line * 3 / 4) as u16),
                booked_on: Day(20_727 + (line * 3 / 4) as u16),
                booked_at: "2026-10-02T05:00:00.000000Z".into(),
                transfer: format_id(IdKind::Transfer, 100_000 + line as u64),
                description: Some(format!("UPI/6121000{line:05}/Deposit at counter {}", line % 4)),
                amount,
                balance,
            }
        })
        .collect();
    AccountStatement {
        account: account_id(AccountNo(number)),
        name: Some(name.to_owned()),
        external_id: Some(format!("DEP-{number}")),
        account_type: "liability",
        is_debit_normal: false,
        currency: Currency::INR,
        opening,
        closing: balance,
        lines,
    }
}

fn document(number: u32, name: &str) -> Document {
    statement(issue(number), &figures(number, name))
}

fn time(what: &str, mut one: impl FnMut(u32) -> usize) {
    one(0);
    let started = Instant::now();
    let bytes: usize = (0..ROUNDS).map(&mut one).sum();
    let each = started.elapsed().as_secs_f64() * 1e6 / f64::from(ROUNDS);
    println!("{what:<44} {each:>8.1} us {:>8} bytes", bytes / ROUNDS as usize);
}

fn main() {
    time("statement of 40 rows", |number| pdf(document(number, "Ravi Kumar")).len());
    time("the same, with a name in Devanagari", |number| pdf(document(number, "रवि कुमार")).len());
    time("of that: figures and content", |number| black_box(document(number, "Ravi Kumar")).blocks.len());
    let made = document(7, "Ravi Kumar");
    let payload = made.payload();
    time("of that: hash", |_| made.hash().len());
    time("of that: pages", |_| pages(&made, &payload).iter().map(|page| page.bytes.len()).sum());
    let text = payload.to_string();
    time("of that: QR code", |_| code(&text, 7_200).map_or(0, |squares| squares.len()));
    if std::env::args().any(|argument| argument == "samples") {
        for (name, file) in [("Ravi Kumar", "target/statement.pdf"), ("रवि कुमार क्षत्रिय", "target/statement-deva.pdf")]
        {
            std::fs::write(file, pdf(document(7, name))).expect("target is there");
            println!("{file}");
        }
    }
}
