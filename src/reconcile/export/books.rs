//! Walks the journal once and writes every transfer, in order of seq, in one of the formats.
//!
//! 1. For plain-text accounting: commodities and accounts first.
//! 2. The scan gives the entries; a posted one is written as it is, a hold as it stood after the last of them.
//! 3. The buffer goes out whenever it holds 64 KiB: memory does not grow with the books.

use std::ops::ControlFlow;

use crate::domain::account::AccountType;
use crate::domain::entry::{Entry, TransferEntry, TransferOp};
use crate::domain::ids::{AccountNo, IdKind, Moment, Seq, account_id, format_id};
use crate::domain::money::{Currency, format_minor};
use crate::domain::time::Day;
use crate::engine::Core;
use crate::engine::history::{Reach, ReadError};
use crate::engine::view::AccountView;
use crate::journal::{Item, JournalError};

use super::{
    ExportAccount, ExportTransfer, write_csv, write_csv_header, write_ledger, write_ledger_account,
    write_ledger_commodity, write_ndjson,
};

/// Bytes gathered before they go out.
const CHUNK_BYTES: usize = 64 * 1024;

/// How an export looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportFormat {
    /// One JSON object a line.
    Ndjson,
    /// With a header.
    Csv,
    /// What `hledger` and `ledger` read.
    Ledger,
}

impl std::str::FromStr for ExportFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<ExportFormat, String> {
        match text {
            "ndjson" => Ok(ExportFormat::Ndjson),
            "csv" => Ok(ExportFormat::Csv),
            "ledger" => Ok(ExportFormat::Ledger),
            other => Err(format!("format {other:?} is none of ndjson, csv, ledger")),
        }
    }
}

impl ExportFormat {
    /// The media type.
    #[must_use]
    pub fn media_type(self) -> &'static str {
        match self {
            ExportFormat::Ndjson => "application/x-ndjson",
            ExportFormat::Csv => "text/csv; charset=utf-8",
            ExportFormat::Ledger => "text/plain; charset=utf-8",
        }
    }
}

/// What to export: effective dates `from..=to`, both optional.
#[derive(Clone, Copy, Debug)]
pub struct ExportQuery {
    /// How it looks.
    pub format: ExportFormat,
    /// First effective date.
    pub from: Option<Day>,
    /// Last effective date.
    pub to: Option<Day>,
}

/// Why an export ended early.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The journal cannot be read on.
    #[error("could not read the journal")]
    Journal(#[from] JournalError),
    /// Something of an entry cannot be read.
    #[error("could not read what an entry names: {0:?}")]
    Read(ReadError),
    /// Whoever wanted it is gone.
    #[error("nobody takes the export any more")]
    Gone,
}

impl From<ReadError> for ExportError {
    fn from(error: ReadError) -> ExportError {
        ExportError::Read(error)
    }
}

/// Entries between two questions whether anybody is still there: a range of dates may give nothing for long.
const ASK_ENTRIES: u64 = 1_000;

/// Writes every transfer up to the record that ends at `through`, which is durable; returns how many. All is
/// shown as it was then. `sink` takes each piece and says whether to go on; an empty one only asks that.
///
/// # Errors
/// [`ExportError`]; what went out before is correct, but not complete.
pub fn export(
    core: &Core,
    query: &ExportQuery,
    through: Seq,
    sink: &mut dyn FnMut(&[u8]) -> bool,
) -> Result<u64, ExportError> {
    let last = core.entry(through)?;
    let date = last.map_or(Day(0), |located| located.date);
    let out = Vec::with_capacity(CHUNK_BYTES * 2);
    let mut export = Export { core, query: *query, through, date, out, count: 0, sink };
    export.head()?;
    let mut at = (Seq::NONE, Moment(0), Day(0));
    let mut failed = None;
    let _ = core.journal().scan(Seq(1), &mut |item| {
        let is_asked = matches!(item, Item::Entry { seq, .. } if seq.0.is_multiple_of(ASK_ENTRIES));
        let done = match item {
            _ if is_asked && !(export.sink)(&[]) => Err(ExportError::Gone),
            Item::Record { first_seq, .. } if first_seq > through => return ControlFlow::Break(()),
            Item::Record { first_seq, moment, date } => {
                at = (first_seq, moment, date);
                Ok(())
            }
            Item::Entry { seq, entry: Entry::Transfer(entry) } if entry.resolves().is_none() => {
                export.transfer(seq, entry, at)
            }
            Item::Entry { .. } | Item::End { .. } => Ok(()),
        };
        match done {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        }
    })?;
    if let Some(error) = failed {
        return Err(error);
    }
    export.flush()?;
    Ok(export.count)
}

struct Export<'a> {
    core: &'a Core,
    query: ExportQuery,
    through: Seq,
    /// Business date after `through`.
    date: Day,
    out: Vec<u8>,
    count: u64,
    sink: &'a mut dyn FnMut(&[u8]) -> bool,
}

impl Export<'_> {
    fn flush(&mut self) -> Result<(), ExportError> {
        let goes_on = self.out.is_empty() || (self.sink)(&self.out);
        self.out.clear();
        if goes_on { Ok(()) } else { Err(ExportError::Gone) }
    }

    fn head(&mut self) -> Result<(), ExportError> {
        match self.query.format {
            ExportFormat::Ndjson => return Ok(()),
            ExportFormat::Csv => {
                write_csv_header(&mut self.out);
                return Ok(());
            }
            ExportFormat::Ledger => {}
        }
        let mut count = u32::try_from(self.core.status().accounts).unwrap_or(u32::MAX);
        // Those that were opened later have no transfers in this export either.
        while count > 0 && self.account(AccountNo(count - 1))?.is_none() {
            count -= 1;
        }
        let mut currencies: Vec<Currency> = Vec::new();
        for row in (0..count).map(AccountNo).map_while(|no| self.core.account_row(no)) {
            if !currencies.contains(&row.currency) {
                currencies.push(row.currency);
            }
        }
        currencies.into_iter().for_each(|currency| write_ledger_commodity(currency, &mut self.out));
        for no in (0..count).map(AccountNo) {
            if let Some(view) = self.account(no)? {
                write_ledger_account(&of_view(&account_id(no), &view), &mut self.out);
            }
            if self.out.len() >= CHUNK_BYTES {
                self.flush()?;
            }
        }
        self.out.push(b'\n');
        Ok(())
    }

    fn account(&self, no: AccountNo) -> Result<Option<AccountView>, ExportError> {
        Ok(self.core.account_view_by(no, self.through, self.date)?)
    }

    fn transfer(&mut self, seq: Seq, entry: &TransferEntry, at: (Seq, Moment, Day)) -> Result<(), ExportError> {
        let (record, moment, date) = at;
        let mut effective = entry.effective_on(date);
        let (mut status, mut posted) = ("posted", None);
        if matches!(entry.op, TransferOp::Pending { .. })
            && let Some(view) = self.core.transfer_view_by(seq, self.through, Reach::Disk)?
        {
            (status, effective) = (view.value.status.name(), view.value.effective_date);
            posted = view.value.posted_amount.filter(|amount| *amount != entry.amount);
        }
        let is_outside =
            self.query.from.is_some_and(|from| effective < from) || self.query.to.is_some_and(|to| effective > to);
        if is_outside {
            return Ok(());
        }
        let unknown = |no: AccountNo| ReadError::Unreadable(format!("account {no} is not there"));
        let debit = self.account(entry.debit)?.ok_or_else(|| unknown(entry.debit))?;
        let credit = self.account(entry.credit)?.ok_or_else(|| unknown(entry.credit))?;
        let currency = debit.account.currency;
        let cold = entry.cold.as_deref();
        let metadata: Vec<(&str, &str)> =
            cold.map_or(Vec::new(), |cold| cold.metadata.iter().map(|(key, value)| (&**key, &**value)).collect());
        let reverses = if let TransferOp::Reversal { of } = entry.op { Some(transfer_id(of)) } else { None };
        let (debit_id, credit_id) = (account_id(entry.debit), account_id(entry.credit));
        let posted = posted.map(|amount| format_minor(amount.into(), currency));
        let row = ExportTransfer {
            id: &transfer_id(seq),
            entry_id: Some(&format_id(IdKind::JournalEntry, record.0)),
            created_at: &instant(moment),
            effective_date: &effective.to_string(),
            debit: of_view(&debit_id, &debit),
            credit: of_view(&credit_id, &credit),
            amount: &format_minor(entry.amount.into(), currency),
            posted_amount: posted.as_deref(),
            currency: currency.code(),
            code: entry.code,
            status,
            reverses: reverses.as_deref(),
            description: cold.and_then(|cold| cold.description.as_deref()),
            external_id: cold.and_then(|cold| cold.external_id.as_deref()),
            metadata: &metadata,
        };
        match self.query.format {
            ExportFormat::Ndjson => write_ndjson(&row, &mut self.out),
            ExportFormat::Csv => write_csv(&row, &mut self.out),
            ExportFormat::Ledger => write_ledger(&row, &mut self.out),
        }
        self.count += 1;
        if self.out.len() >= CHUNK_BYTES { self.flush() } else { Ok(()) }
    }
}

fn of_view<'a>(id: &'a str, view: &'a AccountView) -> ExportAccount<'a> {
    let account_type: AccountType = view.account.account_type;
    ExportAccount {
        id,
        external_id: view.cold.external_id.as_deref(),
        name: view.cold.name.as_deref(),
        account_type,
        code: view.code,
    }
}

fn transfer_id(seq: Seq) -> String {
    format_id(IdKind::Transfer, seq.0)
}

/// RFC 3339, UTC, microseconds.
fn instant(moment: Moment) -> String {
    let timestamp = jiff::Timestamp::from_microsecond(moment.0).unwrap_or_default();
    timestamp.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::disk::{Disk, FolderDisk};
    use crate::domain::account::BalanceRule;
    use crate::domain::money::Decimal;
    use crate::domain::transfer::{AccountRef, HoldTerms, NewTransfer};
    use crate::engine::clock::SystemTimeSource;
    use crate::engine::command::{AccountChange, Command, NewAccount, Origin};
    use crate::engine::{Engine, EngineOptions};

    fn account(name: &str) -> Command {
        Command::OpenAccount(Box::new(NewAccount {
            external_id: None,
            name: Some(name.into()),
            currency: Currency::INR,
            account_type: AccountType::Asset,
            code: 0,
            balance_rule: BalanceRule::None,
            metadata: Vec::new(),
        }))
    }

    fn text(core: &Core, format: ExportFormat, through: Seq) -> String {
        let mut out = Vec::new();
        let query = ExportQuery { format, from: None, to: None };
        let mut sink = |piece: &[u8]| {
            out.extend_from_slice(piece);
            true
        };
        export(core, &query, through, &mut sink).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[tokio::test]
    async fn an_export_shows_nothing_that_came_after_its_seq() {
        let folder = tempfile::tempdir().unwrap();
        let disk: Arc<dyn Disk> = Arc::new(FolderDisk::open(folder.path()).unwrap());
        let engine = Engine::start(&disk, &EngineOptions::default(), Box::new(SystemTimeSource::default())).unwrap();
        let submit = async |command| engine.submit(command, Origin::default()).await.unwrap().as_of;
        submit(account("Drawer before")).await;
        submit(account("Loan before")).await;
        let hold = NewTransfer {
            debit: AccountRef::No(AccountNo(0)),
            credit: AccountRef::No(AccountNo(1)),
            same_text: false,
            amount: Decimal::parse("5"),
            code: 0,
            effective: None,
            hold: HoldTerms::Hold,
            cold: None,
        };
        let hold = submit(Command::Transfer(hold)).await;
        let formats = [ExportFormat::Ndjson, ExportFormat::Csv, ExportFormat::Ledger];
        let before = formats.map(|format| text(engine.core(), format, hold));
        assert!(before[0].contains("pending") && before[2].contains("Drawer before"), "{before:?}");
        submit(Command::PostHold { transfer: hold, amount: None }).await;
        submit(Command::Reverse { transfer: hold, reason: Some("typing error".into()) }).await;
        let change = AccountChange {
            account: AccountNo(0),
            name: Some(Some("Drawer after".into())),
            metadata: None,
            status: None,
            expected: None,
        };
        submit(Command::ChangeAccount(Box::new(change))).await;
        let last = submit(account("Vault after")).await;
        assert_eq!(formats.map(|format| text(engine.core(), format, hold)), before);
        let after = formats.map(|format| text(engine.core(), format, last));
        assert!(after.iter().all(|text| text.contains("Drawer after")), "{after:?}");
        assert!(after[2].contains("Vault after") && after[0].contains("reverses"), "{after:?}");
        engine.shut_down();
    }
}
