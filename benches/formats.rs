//! Sizes and encode times of answers per format and coding: the payload table of docs/benchmarks.md.
//!
//! Each time is the least of many runs: what the work costs when nobody is in the way.

use std::hint::black_box;
use std::time::Instant;

use munim::domain::ids::{AccountNo, Moment, Seq};
use munim::domain::money::Currency;
use munim::domain::time::Day;
use munim::engine::view::{BatchReply, Page, Statement, StatementLine, TransferStatus, TransferView};
use munim::http::compress::{CODINGS, encode};
use munim::http::{proto, render};

/// Runs of a measurement, within reason: a slow one is stopped by [`RUN_MS`].
const RUNS: u32 = 200;

/// Milliseconds for one measurement.
const RUN_MS: u128 = 300;

fn view(number: u64) -> TransferView {
    TransferView {
        seq: Some(Seq(184_467 + number)),
        voucher: Some(Seq(184_467 + number)),
        debit: AccountNo((number * 7 % 9_973) as u32),
        credit: AccountNo((number * 13 % 9_967) as u32),
        amount: number * 7_919 % 10_000_000 + 1,
        currency: Currency::INR,
        status: TransferStatus::Posted,
        code: (number % 20) as u32,
        effective_date: Day(20_778),
        created_at: Moment(1_795_235_690_123_456 + number as i64 * 1_733),
        expires_at: None,
        posted_amount: None,
        resolved_at: None,
        reversed_by: None,
        reverses: None,
        cold: None,
    }
}

fn statement(lines: u64) -> Statement {
    let line = |number: u64| StatementLine {
        seq: Seq(184_467 + number),
        transfer: Seq(184_467 + number),
        effective_date: Day(20_778),
        created_at: Moment(1_795_235_690_123_456 + number as i64 * 1_733),
        amount: i128::from(number * 7_919 % 10_000_000),
        balance: i128::from(number * 104_729),
        description: Some(format!("voucher {number}").into()),
    };
    Statement {
        account: AccountNo(7),
        currency: Currency::INR,
        from: None,
        to: None,
        opening: 0,
        closing: 1_000_000,
        has_more: true,
        lines: (0..lines).map(line).collect(),
        version: 1,
        last_seq: Seq(9),
    }
}

fn batch(items: u32) -> BatchReply {
    let ids: Vec<u64> = (0..u64::from(items)).map(|number| 184_467 + number).collect();
    let (first, last) = (ids.first().copied(), ids.last().copied());
    BatchReply { accepted: items, items, ids, first, last, ..BatchReply::default() }
}

/// The least time of one run, microseconds, and what it made.
fn timed(work: impl Fn() -> Vec<u8>) -> (f64, Vec<u8>) {
    let began = Instant::now();
    let (mut least_us, mut made) = (f64::INFINITY, Vec::new());
    for _ in 0..RUNS {
        let started = Instant::now();
        made = black_box(work());
        least_us = least_us.min(started.elapsed().as_secs_f64() * 1e6);
        if began.elapsed().as_millis() > RUN_MS {
            break;
        }
    }
    (least_us, made)
}

fn row(name: &str, format: &str, work: impl Fn() -> Vec<u8>) {
    let (encode_us, plain) = timed(work);
    print!("| {name} | {format} | {} | {encode_us:.1} |", plain.len());
    for (coding, _) in CODINGS {
        let (us, packed) = timed(|| encode(coding, &plain).expect("bytes in memory can be compressed"));
        print!(" {} ({:.0} %) | {us:.0} |", packed.len(), packed.len() as f64 * 100.0 / plain.len() as f64);
    }
    println!();
}

fn main() {
    println!("| answer | format | bytes | encode µs | zstd-3 bytes | µs | gzip-1 bytes | µs | br-4 bytes | µs |");
    println!("|---|---|---|---|---|---|---|---|---|---|");
    let one = view(7);
    row("one transfer", "JSON", || render::transfer(&one));
    row("one transfer", "protobuf", || proto::transfer(&one));
    for count in [50, 1_000] {
        let page = Page { rows: (0..count).map(view).collect(), has_more: true, cursor: Some(1) };
        let name = format!("page of {count} transfers");
        row(&name, "JSON", || render::transfer_page(&page, "/v1/transfers"));
        row(&name, "protobuf", || proto::transfer_page(&page, "/v1/transfers"));
        let lines = statement(count);
        let name = format!("statement of {count} lines");
        row(&name, "JSON", || render::statement(&lines));
        row(&name, "CSV", || render::statement_csv(&lines));
    }
    let reply = batch(10_000);
    row("answer to a batch of 10,000", "JSON", || render::transfers_batch(&reply));
    row("answer to a batch of 10,000", "protobuf", || proto::transfers_batch(&reply));
}
