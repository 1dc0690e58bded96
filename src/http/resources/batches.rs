//! Batches: fingerprinted, parsed, resolved and decided on a batch thread, never on an async worker.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use bytes::Bytes;

use crate::config::BATCH_BODY_BYTES_MAX;
use crate::engine::Core;
use crate::engine::command::{Command, Origin};
use crate::engine::lanes::BulkWork;
use crate::engine::view::Answer;

use super::super::compress::{Coding, inflate};
use super::super::gateway::{Call, KeyInputs};
use super::super::json::{self, BatchForm};
use super::super::negotiate::prefers_minimal;
use super::super::problem::Outcome;
use super::super::proto;
use super::super::reply::Reply;
use super::super::timing::Stage;
use super::Names;
use super::answer::of_batch;

/// `POST /v1/transfers/batch`
pub async fn create(call: &mut Call<'_>) -> Outcome<Reply> {
    let is_lines = matches!(call.form, BatchForm::Lines { .. });
    let query = call.query(if is_lines { &["dry_run", "mode"] } else { &["dry_run"] })?;
    let dry_run = query.flag("dry_run")?;
    let mode = query.read("mode", "atomic or independent", |mode| match mode {
        "atomic" => Some(true),
        "independent" => Some(false),
        _ => None,
    })?;
    let form = if is_lines { BatchForm::Lines { atomic: mode.unwrap_or(false) } } else { call.form };
    let minimal = prefers_minimal(&call.head.headers);
    let answer = run(call, dry_run, move |core, body| {
        let names = Names::on_disk(core);
        let mut batch = match form {
            BatchForm::Protobuf => proto::parse_batch(body, &names)?,
            _ => json::parse_batch(body, form, &names)?,
        };
        batch.minimal = minimal;
        Ok(Command::Batch(batch))
    })
    .await?;
    of_batch(call, answer).await
}

/// `POST /v1/accounts/batch`
pub async fn create_accounts(call: &mut Call<'_>) -> Outcome<Reply> {
    let dry_run = call.query(&["dry_run"])?.flag("dry_run")?;
    let parse = |_: &Core, body: &[u8]| Ok(Command::OpenAccounts(json::parse_accounts(body)?));
    let answer = run(call, dry_run, parse).await?;
    of_batch(call, answer).await
}

/// Time spent on a batch thread before the engine decides, microseconds.
#[derive(Debug, Default)]
struct Spent {
    idem_us: AtomicU32,
    parse_us: AtomicU32,
}

async fn run(
    call: &mut Call<'_>,
    dry_run: bool,
    parse: impl FnOnce(&Core, &[u8]) -> Outcome<Command> + Send + 'static,
) -> Outcome<Answer> {
    let engine = &call.books()?.engine;
    let sent = Sent { body: std::mem::take(&mut call.body), coding: call.coding };
    // What was compressed is longer than it looks: texts of this kind about eightfold.
    let weight = sent.body.len() * if sent.coding.is_some() { 8 } else { 1 };
    let work = BulkWork { deadline: call.deadline, weight };
    let key_inputs = call.key_inputs(dry_run);
    let spent = Arc::new(Spent::default());
    let noted = Arc::clone(&spent);
    call.timing.mark(Stage::Parse);
    let prepared = move |core: &Arc<Core>| prepare(core, &key_inputs, &sent, &noted, parse);
    let answer = engine.submit_bulk(work, prepared).await;
    let mut answer = answer??;
    call.timing.mark_engine(&answer.stages);
    for (stage, us) in [(Stage::Idem, &spent.idem_us), (Stage::Parse, &spent.parse_us)] {
        call.timing.take_from_queue(stage, us.load(Ordering::Relaxed), &mut answer.stages);
    }
    Ok(answer)
}

/// A body as it was sent.
#[derive(Debug)]
struct Sent {
    body: Bytes,
    coding: Option<Coding>,
}

fn prepare(
    core: &Core,
    key_inputs: &KeyInputs,
    sent: &Sent,
    spent: &Spent,
    parse: impl FnOnce(&Core, &[u8]) -> Outcome<Command>,
) -> Outcome<(Command, Origin)> {
    let micros = |since: Instant| u32::try_from(since.elapsed().as_micros()).unwrap_or(u32::MAX);
    let started = Instant::now();
    let origin = key_inputs.origin(&sent.body)?;
    spent.idem_us.store(micros(started), Ordering::Relaxed);
    let started = Instant::now();
    let command = match sent.coding {
        Some(coding) => parse(core, &inflate(coding, &sent.body, BATCH_BODY_BYTES_MAX)?)?,
        None => parse(core, &sent.body)?,
    };
    spent.parse_us.store(micros(started), Ordering::Relaxed);
    Ok((command, origin))
}
