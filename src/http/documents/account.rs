//! The figures of an account's statement.

use crate::config::DOCUMENT_LINES_MAX;
use crate::domain::ids::{AccountNo, IdKind, Seq, account_id, format_id};
use crate::engine::Core;
use crate::engine::view::StatementLine;
use crate::jobs::documents::papers::account::{AccountLine, AccountStatement};

use super::super::render::moment_text;
use super::{Ask, DocumentError, REACH};

/// The account as the asked entry left it: its newest entry then, and its lines between the asked days.
pub fn figures(core: &Core, no: AccountNo, ask: &Ask) -> Result<(Seq, AccountStatement), DocumentError> {
    let through = ask.as_of.unwrap_or(Seq(u64::MAX));
    let snapshot = core.snapshot_by(no, through, REACH)?.ok_or(DocumentError::NotFound)?;
    let view = core.account_view(no, snapshot.account, REACH)?;
    let whole = core.whole_statement(&snapshot, (ask.from, ask.to), DOCUMENT_LINES_MAX, REACH)?;
    if whole.has_more {
        return Err(DocumentError::TooLong(DOCUMENT_LINES_MAX));
    }
    let line = |line: &StatementLine| AccountLine {
        date: line.effective_date,
        booked_on: core.day_by(line.seq),
        booked_at: moment_text(line.created_at),
        transfer: format_id(IdKind::Transfer, line.transfer.0),
        description: line.description.as_deref().map(str::to_owned),
        amount: line.amount,
        balance: line.balance,
    };
    let statement = AccountStatement {
        account: account_id(no),
        name: view.cold.name.as_deref().map(str::to_owned),
        external_id: view.cold.external_id.as_deref().map(str::to_owned),
        account_type: snapshot.account.account_type.name(),
        is_debit_normal: snapshot.account.is_debit_normal(),
        currency: whole.currency,
        opening: whole.opening,
        closing: whole.closing,
        lines: whole.lines.iter().rev().map(line).collect(),
    };
    Ok((snapshot.account.last_seq, statement))
}
