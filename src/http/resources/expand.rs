//! Ids that become their objects (`expand[]=`), with one question for all accounts of an answer and one
//! for all its transfers, however many rows it has.

use std::collections::{BTreeSet, HashMap};

use crate::config::EXPANDED_BYTES_MAX;
use crate::domain::ids::{AccountNo, IdKind, Seq, account_id, format_id};
use crate::engine::readers::{Place, run_at};
use crate::engine::view::{Statement, TransferView};

use super::super::fields::Shape;
use super::super::gateway::Call;
use super::super::problem::{Code, Outcome, Problem};
use super::super::render;
use super::super::router::ROUTES;
use super::Operation;

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

impl Objects {
    fn bytes(&self, id: &str) -> usize {
        self.texts.get(id).map_or(0, Vec::len)
    }
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
    if wants("debit_account") || wants("credit_account") {
        check_may(call, Operation::GetAccount)?;
    }
    if wants("reverses") || wants("reversed_by") {
        check_may(call, Operation::GetTransfer)?;
    }
    let (mut accounts, mut transfers) = (BTreeSet::new(), BTreeSet::new());
    for row in rows {
        accounts.extend(wants("debit_account").then_some(row.debit));
        accounts.extend(wants("credit_account").then_some(row.credit));
        transfers.extend(row.reverses.filter(|_| wants("reverses")));
        transfers.extend(row.reversed_by.filter(|_| wants("reversed_by")));
    }
    let objects = look_up(call, accounts, transfers, place).await?;
    let account = |name: &str, no: AccountNo| if wants(name) { objects.bytes(&account_id(no)) } else { 0 };
    let transfer = |name: &str, seq: Option<Seq>| match seq {
        Some(seq) if wants(name) => objects.bytes(&format_id(IdKind::Transfer, seq.0)),
        _ => 0,
    };
    check_size(rows.iter().map(|row| {
        account("debit_account", row.debit)
            + account("credit_account", row.credit)
            + transfer("reverses", row.reverses)
            + transfer("reversed_by", row.reversed_by)
    }))?;
    Ok(objects)
}

/// What an object shows instead of an id must be the caller's to see by itself.
fn check_may(call: &Call<'_>, operation: Operation) -> Outcome<()> {
    let route = ROUTES.iter().find(|route| route.operation == operation).expect("every operation has a route");
    call.caller.check(route)
}

/// A thousand rows that each repeat an object of sixty kilobytes are no answer.
fn check_size(rows: impl Iterator<Item = usize>) -> Outcome<()> {
    if rows.sum::<usize>() <= EXPANDED_BYTES_MAX {
        return Ok(());
    }
    let detail = format!("The objects of this answer take more than {EXPANDED_BYTES_MAX} bytes: ask for fewer rows.");
    Err(Problem::of_parameter(Code::InvalidParameter, "expand[]", detail))
}

/// As [`of_transfers`], for the account and the lines of a statement.
pub async fn of_statement(
    call: &mut Call<'_>,
    shape: &Shape,
    statement: &Statement,
    place: &mut Option<Place>,
) -> Outcome<Objects> {
    if shape.wants("account") {
        check_may(call, Operation::GetAccount)?;
    }
    if shape.wants("transfer") {
        check_may(call, Operation::GetTransfer)?;
    }
    let accounts = shape.wants("account").then_some(statement.account).into_iter().collect();
    let lines = statement.lines.iter().filter(|_| shape.wants("transfer"));
    let objects = look_up(call, accounts, lines.map(|line| line.transfer).collect(), place).await?;
    check_size(statement.lines.iter().map(|line| objects.bytes(&format_id(IdKind::Transfer, line.transfer.0))))?;
    Ok(objects)
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
