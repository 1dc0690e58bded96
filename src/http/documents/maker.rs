//! Documents for jobs: what a caller of the API asks for by a path, a job asks for by names.

use crate::domain::ids::{IdKind, Seq, format_id, parse_id};
use crate::domain::time::Day;
use crate::engine::Engine;
use crate::engine::history::Reach;
use crate::jobs::documents::reference::Kind;
use crate::jobs::kinds::DocumentWanted;
use crate::jobs::papers::{self, Unmade};

use super::{Ask, Form, Subject, make};

/// Makes documents in a lender's name.
#[derive(Debug)]
pub struct Maker {
    lender: String,
}

impl Maker {
    /// Of this lender.
    #[must_use]
    pub fn of(lender: String) -> Maker {
        Maker { lender }
    }
}

impl papers::Maker for Maker {
    fn make(&self, engine: &Engine, wanted: &DocumentWanted, birth: Option<Seq>) -> Result<papers::Made, Unmade> {
        let core = engine.core();
        let ask = ask_of(engine, wanted, birth).map_err(Unmade::NotYet)?;
        let made = make(core, &ask, &self.lender, Form::Pdf).map_err(|error| {
            let why = error.to_string();
            if error.is_lasting() { Unmade::Never(why) } else { Unmade::NotYet(why) }
        })?;
        Ok(papers::Made { name: made.reference.file_name("pdf"), pdf: made.bytes })
    }

    fn loans_with_statements(&self, engine: &Engine, from: Day, to: Day) -> Vec<String> {
        let loans = engine.core().loans_that_ran(from, to);
        loans.into_iter().map(|loan| format_id(IdKind::Loan, u64::from(loan))).collect()
    }
}

/// What a job's names ask for.
fn ask_of(engine: &Engine, wanted: &DocumentWanted, birth: Option<Seq>) -> Result<Ask, String> {
    let core = engine.core();
    let unknown = || format!("the books have nothing called {}", wanted.of);
    let account = || {
        let found = core.resolve_account(&wanted.of, Reach::Disk).map_err(|error| format!("{error:?}"))?;
        found.map(Subject::Account).ok_or_else(unknown)
    };
    let loan = || {
        let found = core.resolve_loan(&wanted.of, Reach::Disk).map_err(|error| format!("{error:?}"))?;
        found.ok_or_else(unknown)
    };
    let (kind, subject) = match wanted.document.as_str() {
        "account_statement" => (Kind::Statement, account()?),
        "loan_statement" => (Kind::LoanStatement, Subject::Loan(loan()?)),
        "loan_schedule" => (Kind::Schedule, Subject::Loan(loan()?)),
        "kfs" => (Kind::KeyFacts, Subject::Loan(loan()?)),
        "no_dues" => (Kind::NoDues, Subject::Loan(loan()?)),
        "receipt" => {
            let loan = loan()?;
            (Kind::Receipt, Subject::LoanEvent(loan, receipt_of(engine, loan, wanted.event.as_deref(), birth)?))
        }
        "day_slip" => (Kind::DaySlip, Subject::Day(Day::parse(&wanted.of).ok_or_else(unknown)?)),
        other => return Err(format!("no document is called {other}")),
    };
    let day = |text: &Option<String>| text.as_deref().and_then(Day::parse);
    Ok(Ask { kind, subject, version: None, from: day(&wanted.from), to: day(&wanted.to), as_of: None })
}

/// Of which event a receipt is: of the one that is named, else of the one that the job was born with.
fn receipt_of(engine: &Engine, loan: u32, event: Option<&str>, birth: Option<Seq>) -> Result<Seq, String> {
    if let Some(event) = event {
        return parse_id(IdKind::LoanEvent, event).map(Seq).ok_or_else(|| format!("{event} is no `event`"));
    }
    let born_with = match birth {
        Some(birth) => engine.core().event_born_with(birth).map_err(|error| format!("{error:?}"))?,
        None => None,
    };
    let event = born_with.filter(|event| event.posted.loan == loan);
    event
        .map(|event| event.seq)
        .ok_or_else(|| "a receipt is of an `event`, unless it is born with the payment that it is of".to_owned())
}
