//! From the books to documents: what each kind shows, as an entry left it.
//!
//! Promise: a document is a function of the books up to the entry that it names. Made now or made again in a year,
//! through the server or from the folder, it is the same bytes. What it shows is what the routes beside it answer, since
//! it is told from the same figures.
//!
//! 1. [`Ask`]: which document, and as of which entry.
//! 2. [`make`]: the newest entry that it shows, the hash of its block, then the figures.
//! 3. [`account`], [`loan`] and [`slip`] gather the figures; [`facts`] puts key facts into words.

mod account;
mod facts;
mod loan;
pub mod maker;
mod slip;

use crate::domain::ids::{AccountNo, IdKind, Seq, account_id, format_id, parse_account_id, parse_id};
use crate::domain::lending::loan::state::LoanStatus;
use crate::domain::lending::terms::TermsError;
use crate::domain::time::Day;
use crate::engine::Core;
use crate::engine::history::{Reach, ReadError};
use crate::jobs::documents::file::pdf;
use crate::jobs::documents::mt940::{AmountTooLong, mt940};
use crate::jobs::documents::papers::Issue;
use crate::jobs::documents::reference::{Kind, Reference};
use crate::jobs::documents::{camt053, papers};

use super::render::moment_text;

/// How often a document is begun again because what it reads moved.
const MOVED_TRIES: usize = 8;

/// What a document is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// An account.
    Account(AccountNo),
    /// A loan.
    Loan(u32),
    /// The receipt of an event of a loan.
    LoanEvent(u32, Seq),
    /// A business day.
    Day(Day),
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    /// What kind of document.
    pub kind: Kind,
    /// About what.
    pub subject: Subject,
    /// A version of the plan, for a schedule; the newest by default.
    pub version: Option<u32>,
    /// First day, for statements.
    pub from: Option<Day>,
    /// Last day, for statements.
    pub to: Option<Day>,
    /// As this entry left the books; as they are by default.
    pub as_of: Option<Seq>,
}

/// The form of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// For people.
    Pdf,
    /// For programs; statements of accounts only.
    Camt053,
    /// For older programs; statements of accounts only.
    Mt940,
}

/// A document that was made.
#[derive(Clone, Debug)]
pub struct Made {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Which one it is.
    pub reference: Reference,
}

/// Why there is no such document.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// The books could not be read.
    #[error("the books could not be read: {0:?}")]
    Read(ReadError),
    /// Nothing has that id, or had it then.
    #[error("the books have nothing of that id, as of that entry")]
    NotFound,
    /// The loan has no such receipt.
    #[error("the loan has no such receipt, as of that entry")]
    NoEvent,
    /// The plan has no such version.
    #[error("the plan has no such version")]
    NoVersion,
    /// The books have no such entry.
    #[error("the books have no entry of that seq")]
    NoEntry,
    /// The statement has too many lines.
    #[error("the statement has more than {0} lines")]
    TooLong(usize),
    /// Something is due, or the loan runs.
    #[error("the loan is {} and {due} paise of it are owed", name_of(*status))]
    DuesRemain {
        /// Where it is in its life.
        status: LoanStatus,
        /// Paise.
        due: i64,
    },
    /// The day has not ended.
    #[error("the day has not ended")]
    DayNotEnded,
    /// With its terms there are no key facts.
    #[error("`{}` {}", .0.field, .0.what)]
    Terms(TermsError),
    /// The form cannot hold an amount.
    #[error(transparent)]
    Amount(#[from] AmountTooLong),
    /// The journal has failed meanwhile.
    #[error("the journal has failed")]
    JournalFailed,
}

impl DocumentError {
    /// Whether it will be the same at any later time.
    #[must_use]
    pub fn is_lasting(&self) -> bool {
        matches!(self, DocumentError::TooLong(_) | DocumentError::Terms(_) | DocumentError::Amount(_))
    }
}

impl From<ReadError> for DocumentError {
    fn from(error: ReadError) -> DocumentError {
        DocumentError::Read(error)
    }
}

/// A status, in the API's word.
#[must_use]
pub fn name_of(status: LoanStatus) -> &'static str {
    super::lending::names::name_in(&super::lending::names::LOAN_STATUSES, &status)
}

impl Ask {
    /// What a reference asks for; `None` for one of nothing that there could be.
    #[must_use]
    pub fn of(reference: &Reference) -> Option<Ask> {
        let loan = || parse_id(IdKind::Loan, &reference.id).and_then(|number| u32::try_from(number).ok());
        let subject = match reference.kind {
            Kind::Statement => Subject::Account(parse_account_id(&reference.id)?),
            Kind::DaySlip => Subject::Day(Day::parse(&reference.id)?),
            Kind::Receipt => Subject::LoanEvent(loan()?, Seq(parse_id(IdKind::LoanEvent, reference.part.as_deref()?)?)),
            Kind::LoanStatement | Kind::Schedule | Kind::KeyFacts | Kind::NoDues => Subject::Loan(loan()?),
        };
        let version = match (reference.kind, reference.part.as_deref()) {
            (Kind::Schedule, Some(part)) => Some(part.parse().ok()?),
            _ => None,
        };
        let Reference { kind, from, to, seq, .. } = *reference;
        Some(Ask { kind, subject, version, from, to, as_of: Some(seq) })
    }

    /// The path and query that answer with the document of a reference.
    #[must_use]
    pub fn address(reference: &Reference) -> String {
        let Reference { kind, id, part, from, to, seq } = reference;
        let part = part.as_deref().unwrap_or_default();
        let mut address = match kind {
            Kind::Statement => format!("/v1/accounts/{id}/entries?format=pdf"),
            Kind::LoanStatement => format!("/v1/loans/{id}/statement?format=pdf"),
            Kind::Schedule => format!("/v1/loans/{id}/schedule?format=pdf"),
            Kind::KeyFacts => format!("/v1/loans/{id}/kfs?format=pdf"),
            Kind::Receipt => format!("/v1/loans/{id}/receipts/{part}?"),
            Kind::NoDues => format!("/v1/loans/{id}/no_dues?"),
            Kind::DaySlip => format!("/v1/business_day/{id}/slip?"),
        };
        if *kind == Kind::Schedule && !part.is_empty() {
            address.push_str(&format!("&version={part}"));
        }
        for (name, day) in [("from", from), ("to", to)] {
            if let Some(day) = day {
                address.push_str(&format!("&{name}={day}"));
            }
        }
        if *kind != Kind::DaySlip {
            address.push_str(&format!("&as_of_seq={seq}"));
        }
        address
    }
}

/// Makes a document. For a thread that may wait for the disk and walk far.
///
/// # Errors
/// [`DocumentError`].
pub fn make(core: &Core, ask: &Ask, lender: &str, form: Form) -> Result<Made, DocumentError> {
    for _ in 0..MOVED_TRIES {
        // Whatever is read below was appended by now, or makes it begin again.
        if !core.watermark().wait_blocking(core.journal().appended_seq()) {
            return Err(DocumentError::JournalFailed);
        }
        match make_once(core, ask, lender, form) {
            Err(DocumentError::Read(ReadError::Moved)) => {}
            done => return done,
        }
    }
    Err(ReadError::Moved.into())
}

/// Everything is read as far as it takes: the places on which documents are made are few.
const REACH: Reach = Reach::Far;

fn make_once(core: &Core, ask: &Ask, lender: &str, form: Form) -> Result<Made, DocumentError> {
    if ask.as_of.is_some_and(|seq| seq == Seq::NONE || seq > core.journal().durable_seq()) {
        return Err(DocumentError::NoEntry);
    }
    match ask.subject {
        Subject::Account(no) => {
            let (seq, figures) = account::figures(core, no, ask)?;
            let (issue, made_at) = issue(core, ask, account_id(no), None, seq, lender)?;
            let reference = issue.reference.clone();
            let bytes = match form {
                Form::Pdf => pdf(papers::account::statement(issue, &figures)),
                Form::Camt053 => camt053::camt053(&issue, &figures, &made_at),
                Form::Mt940 => mt940(&issue, &figures)?,
            };
            Ok(Made { bytes, reference })
        }
        Subject::Day(day) => {
            let (seq, slip) = slip::figures(core, day)?;
            let (issue, _) = issue(core, ask, day.to_string(), None, seq, lender)?;
            let reference = issue.reference.clone();
            Ok(Made { bytes: pdf(papers::slip::day_slip(issue, &slip)), reference })
        }
        Subject::Loan(loan) | Subject::LoanEvent(loan, _) => {
            let found = loan::find(core, loan, ask)?;
            let part = match ask.subject {
                Subject::LoanEvent(_, event) => Some(format_id(IdKind::LoanEvent, event.0)),
                _ => ask.version.map(|version| version.to_string()),
            };
            let id = format_id(IdKind::Loan, u64::from(loan));
            let (issue, _) = issue(core, ask, id, part, found.seq, lender)?;
            let reference = issue.reference.clone();
            Ok(Made { bytes: pdf(loan::document(issue, &found, ask)?), reference })
        }
    }
}

/// What all documents have, and the moment of the newest entry that they show.
fn issue(
    core: &Core,
    ask: &Ask,
    id: String,
    part: Option<String>,
    seq: Seq,
    lender: &str,
) -> Result<(Issue, String), DocumentError> {
    if !core.watermark().covers(seq) {
        return Err(ReadError::Moved.into());
    }
    let (moment, _, head) = core.entry_by(seq, REACH)?.ok_or(DocumentError::NoEntry)?;
    let reference = Reference { kind: ask.kind, id, part, from: ask.from, to: ask.to, seq };
    let day = core.day_by(seq);
    Ok((Issue { reference, head, lender: lender.to_owned(), day }, moment_text(moment)))
}
