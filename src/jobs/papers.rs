//! Documents as jobs: one, or the statements of a month, into a folder.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::domain::ids::Seq;
use crate::domain::time::Day;
use crate::engine::Engine;

use super::kinds::{DOCUMENT, DocumentWanted, STATEMENTS, StatementsWanted, month_of};
use super::post::write_whole;
use super::queue::{Backoff, Ctl, Handler, Job, KindLimits, Outcome, Progress, Work};

/// A document that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// A file name, without a folder.
    pub name: String,
    /// Its bytes.
    pub pdf: Vec<u8>,
}

/// Why a document could not be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unmade {
    /// It may be made later.
    NotYet(String),
    /// It never can be.
    Never(String),
}

impl Unmade {
    /// What becomes of a job for it.
    #[must_use]
    pub fn outcome(self) -> Outcome {
        match self {
            Unmade::NotYet(why) => Outcome::Retry { after: None, why },
            Unmade::Never(why) => Outcome::Dead { why },
        }
    }

    fn why(&self) -> &str {
        let (Unmade::NotYet(why) | Unmade::Never(why)) = self;
        why
    }
}

/// Makes documents out of the books. The edge lends it: it knows how they are asked for.
pub trait Maker: Send + Sync + std::fmt::Debug {
    /// A document; `birth` is the seq of the job that wants it, if it was born in the journal.
    ///
    /// # Errors
    /// Why there is none, in a sentence.
    fn make(&self, engine: &Engine, wanted: &DocumentWanted, birth: Option<Seq>) -> Result<Made, Unmade>;

    /// The loans that ran at some time from a day through another, by their ids.
    fn loans_with_statements(&self, engine: &Engine, from: Day, to: Day) -> Vec<String>;
}

/// Makes documents and keeps them in a folder.
#[derive(Debug)]
pub struct Papers {
    engine: Arc<Engine>,
    maker: Arc<dyn Maker>,
    folder: PathBuf,
}

impl Papers {
    /// Into a folder, which is made.
    ///
    /// # Errors
    /// The disk's.
    pub fn into_folder(engine: Arc<Engine>, maker: Arc<dyn Maker>, folder: PathBuf) -> std::io::Result<Arc<Papers>> {
        std::fs::create_dir_all(&folder)?;
        Ok(Arc::new(Papers { engine, maker, folder }))
    }

    /// A document that a job wants.
    ///
    /// # Errors
    /// Why there is none.
    pub fn make(&self, wanted: &DocumentWanted, job: &Job) -> Result<Made, Unmade> {
        self.maker.make(&self.engine, wanted, job.birth_seq())
    }

    fn keep(&self, wanted: &DocumentWanted, job: &Job, folder: &str) -> Result<(), Unmade> {
        let made = self.make(wanted, job)?;
        let place = self.folder.join(folder);
        let written = std::fs::create_dir_all(&place).and_then(|()| write_whole(&place, &made.name, &made.pdf));
        written.map_err(|error| Unmade::NotYet(format!("{} could not be written: {error}", made.name)))
    }
}

/// Makes one document.
#[derive(Debug)]
pub struct OnePaper(pub Arc<Papers>);

impl Handler for OnePaper {
    fn kind(&self) -> &'static str {
        DOCUMENT
    }

    fn limits(&self) -> KindLimits {
        KindLimits { concurrency_max: 1, is_blocking: true, ..KindLimits::default() }
    }

    fn run<'a>(&'a self, job: &'a Job, _ctl: &'a Ctl) -> Work<'a> {
        Box::pin(async move {
            let wanted: DocumentWanted = match serde_json::from_slice(&job.args) {
                Ok(wanted) => wanted,
                Err(error) => return Outcome::Dead { why: format!("its arguments are not understood: {error}") },
            };
            match self.0.keep(&wanted, job, "") {
                Ok(()) => Outcome::Done,
                Err(unmade) => unmade.outcome(),
            }
        })
    }
}

/// Makes a month's statements, as one job with progress. One that is interrupted begins again: a file that is there is
/// written again with the same bytes.
#[derive(Debug)]
pub struct MonthsPapers(pub Arc<Papers>);

/// How long a month's statements wait for the end of the month.
const MONTH_WAIT: Duration = Duration::from_secs(3_600);

/// One that cannot be made keeps none of the others.
fn outcome_of(unmade: &[(String, Unmade)], total: u64) -> Outcome {
    let Some((loan, first)) = unmade.first() else { return Outcome::Done };
    let why = format!("{} of {total} could not be made; the first is {loan}: {}", unmade.len(), first.why());
    if unmade.iter().all(|(_, why)| matches!(why, Unmade::Never(_))) {
        return Outcome::Dead { why };
    }
    Outcome::Retry { after: None, why }
}

/// How often progress is told.
const TOLD_EVERY: usize = 64;

impl Handler for MonthsPapers {
    fn kind(&self) -> &'static str {
        STATEMENTS
    }

    fn limits(&self) -> KindLimits {
        KindLimits {
            concurrency_max: 1,
            attempts_max: 5,
            timeout: Duration::from_secs(3_600),
            backoff: Backoff::default(),
            is_blocking: true,
        }
    }

    fn run<'a>(&'a self, job: &'a Job, ctl: &'a Ctl) -> Work<'a> {
        Box::pin(async move {
            let wanted = serde_json::from_slice::<StatementsWanted>(&job.args).ok();
            let Some((wanted, (from, to))) =
                wanted.and_then(|wanted| Some((month_of(&wanted.month)?, wanted))).map(|(days, wanted)| (wanted, days))
            else {
                return Outcome::Dead { why: "its arguments are not understood".into() };
            };
            let papers = &self.0;
            let today = papers.engine.business_date();
            if today <= to {
                let why = format!("{} is not over: the business day is {today}", wanted.month);
                return Outcome::Retry { after: Some(MONTH_WAIT), why };
            }
            let loans = papers.maker.loans_with_statements(&papers.engine, from, to);
            let mut unmade: Vec<(String, Unmade)> = Vec::new();
            let (total, folder) = (loans.len() as u64, format!("statements-{}", wanted.month));
            for (place, loan) in loans.into_iter().enumerate() {
                if place % TOLD_EVERY == 0 {
                    ctl.progress(Progress { done: place as u64, total });
                    if ctl.is_stopped() {
                        return Outcome::GivenBack;
                    }
                }
                let statement = DocumentWanted {
                    document: "loan_statement".into(),
                    of: loan,
                    event: None,
                    from: Some(from.to_string()),
                    to: Some(to.to_string()),
                };
                if let Err(why) = papers.keep(&statement, job, &folder) {
                    unmade.push((statement.of, why));
                }
            }
            ctl.progress(Progress { done: total - unmade.len() as u64, total });
            outcome_of(&unmade, total)
        })
    }
}
