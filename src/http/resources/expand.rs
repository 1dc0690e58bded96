//! Ids that become their objects (`expand[]=`), with one question for all accounts of an answer and one
//! for all its transfers, however many rows it has.

use std::collections::{BTreeSet, HashMap};

use crate::domain::ids::{AccountNo, IdKind, Seq, account_id, format_id};
use crate::engine::readers::{Place, run_at};
use crate::engine::view::{Statement, TransferView};

use super::super::fields::Shape;
use super::super::gateway::Call;
use super::super::problem::Outcome;
use super::super::render;

/// What a transfer can show instead of an id.
pub const ACCOUNTS_AND_TRANSFERS: &[&str] = &["debit_account", "credit_account", "reverses", "reversed_by"];

/// Objects by their ids, and the greatest seq that they reveal.
#[derive(Debug, Default)]
pub struct Objects {
    /// JSON of each object, by its id.
    pub texts: HashMap<String, Vec<u8>>,
    /// Nothing newer is shown; 0 when there are none.
    pub seq: Seq,
}

/// What the rows name and the caller wants to see.
pub async fn of_transfers(
    call: &mut Call<'_>,
    shape: &Shape,
    rows: &[TransferView],
    place: &mut Option<Place>,
) -> Outcome<Objects> {
    if !shape.expands() {
        return Ok(Objects::default());
    }
    let wants = |name: &str| shape.wants(name);
    let (mut accounts, mut transfers) = (BTreeSet::new(), BTreeSet::new());
    for row in rows {
        accounts.extend(wants("debit_account").then_some(row.debit));
        accounts.extend(wants("credit_account").then_some(row.credit));
        transfers.extend(row.reverses.filter(|_| wants("reverses")));
        transfers.extend(row.reversed_by.filter(|_| wants("reversed_by")));
    }
    look_up(call, accounts, transfers, place).await
}

/// As [`of_transfers`], for the account and the lines of a statement.
pub async fn of_statement(
    call: &mut Call<'_>,
    shape: &Shape,
    statement: &Statement,
    place: &mut Option<Place>,
) -> Outcome<Objects> {
    let accounts = shape.wants("account").then_some(statement.account).into_iter().collect();
    let lines = statement.lines.iter().filter(|_| shape.wants("transfer"));
    look_up(call, accounts, lines.map(|line| line.transfer).collect(), place).await
}

async fn look_up(
    call: &mut Call<'_>,
    accounts: BTreeSet<AccountNo>,
    transfers: BTreeSet<Seq>,
    place: &mut Option<Place>,
) -> Outcome<Objects> {
    let mut objects = Objects::default();
    let engine = &call.books()?.engine;
    if !accounts.is_empty() {
        let found = call.read(engine.accounts_of(accounts.into_iter().collect(), place)).await?;
        objects.seq = objects.seq.max(found.seq);
        let named = move || -> Vec<(String, Vec<u8>)> {
            found.value.iter().filter_map(|view| Some((account_id(view.no?), render::account(view)))).collect()
        };
        objects.texts.extend(run_at(place, named).await?);
    }
    if !transfers.is_empty() {
        let found = call.read(engine.transfers_of(transfers.into_iter().collect(), place)).await?;
        objects.seq = objects.seq.max(found.seq);
        let id = |seq: Seq| format_id(IdKind::Transfer, seq.0);
        let named = move || -> Vec<(String, Vec<u8>)> {
            found.value.iter().filter_map(|view| Some((id(view.seq?), render::transfer(view)))).collect()
        };
        objects.texts.extend(run_at(place, named).await?);
    }
    Ok(objects)
}
