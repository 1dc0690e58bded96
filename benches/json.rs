//! Parsing and rendering on the request path: a batch of 8,000 items, a single transfer.
//!
//! The target is 4 million items a second a core: 2 ms for a batch of 8,000 (800 KB).

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use munim::domain::ids::{AccountNo, Moment, Seq, account_id};
use munim::domain::money::Currency;
use munim::domain::time::Day;
use munim::engine::view::{TransferStatus, TransferView, Unavailable};
use munim::http::json::{BatchForm, Resolver, parse_batch, parse_transfer};
use munim::http::render;

const ITEMS: u32 = 8_000;

struct Nobody;

impl Resolver for Nobody {
    fn account(&self, _: &str) -> Result<Option<AccountNo>, Unavailable> {
        Ok(None)
    }
    fn transfer(&self, _: &str) -> Result<Option<Seq>, Unavailable> {
        Ok(None)
    }
}

fn item(number: u32) -> String {
    let (debit, credit) = (account_id(AccountNo(number % 10_000)), account_id(AccountNo((number * 7 + 1) % 10_000)));
    let amount = number % 100_000 + 1;
    format!(
        r#"{{"debit_account":"{debit}","credit_account":"{credit}","amount":"{}.{:02}"}}"#,
        amount / 100,
        amount % 100
    )
}

fn bench_json(criterion: &mut Criterion) {
    let items: Vec<String> = (0..ITEMS).map(item).collect();
    let batch = format!(r#"{{"mode":"independent","transfers":[{}]}}"#, items.join(","));
    let lines = items.join("\n");
    let mut group = criterion.benchmark_group("parse");
    group.throughput(Throughput::Elements(u64::from(ITEMS)));
    group.bench_function("batch_json", |bencher| {
        bencher.iter(|| parse_batch(black_box(batch.as_bytes()), BatchForm::Json, &Nobody).expect("a good batch"));
    });
    group.bench_function("batch_lines", |bencher| {
        let form = BatchForm::Lines { atomic: false };
        bencher.iter(|| parse_batch(black_box(lines.as_bytes()), form, &Nobody).expect("a good batch"));
    });
    group.throughput(Throughput::Elements(1));
    group.bench_function("single", |bencher| {
        bencher.iter(|| parse_transfer(black_box(items[7].as_bytes()), &Nobody).expect("a good transfer"));
    });
    group.finish();
    let view = TransferView {
        seq: Some(Seq(184_467)),
        voucher: Some(Seq(184_467)),
        debit: AccountNo(7),
        credit: AccountNo(8),
        amount: 125_050,
        currency: Currency::INR,
        status: TransferStatus::Posted,
        code: 0,
        effective_date: Day(20_778),
        created_at: Moment(1_795_235_690_123_456),
        expires_at: None,
        posted_amount: None,
        resolved_at: None,
        reversed_by: None,
        reverses: None,
        cold: None,
    };
    criterion.bench_function("render/transfer", |bencher| bencher.iter(|| render::transfer(black_box(&view))));
}

criterion_group! {
    name = benches;
    config = Criterion::default().measurement_time(std::time::Duration::from_secs(2)).warm_up_time(std::time::Duration::from_secs(1));
    targets = bench_json
}
criterion_main!(benches);
