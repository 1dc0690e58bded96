//! Reports of lending: by the page as JSON, whole as CSV.

use std::sync::Arc;

use hyper::StatusCode;
use hyper::header::HeaderValue;

use crate::config::{LIST_LIMIT_MAX, PAST_LOANS_MAX, REPORT_DAYS_MAX, REPORT_ENTRIES_MAX};
use crate::domain::ids::{IdKind, Seq, format_id, parse_id};
use crate::domain::lending::loan::state::{Class, LoanStatus};
use crate::domain::time::Day;
use crate::engine::Engine;
use crate::engine::loans::past::Basis;
use crate::engine::readers::{Place, run_at};
use crate::engine::view::{AsOf, LoanEventView, LoanFilter, LoanLine, Page};

use super::super::gateway::{Call, render_at};
use super::super::lending::reports::{
    Frame, Portfolio, csv_head, day_book, day_book_csv, dues, dues_csv, gst, gst_csv, npa, npa_csv,
};
use super::super::problem::{Code, Outcome, Problem};
use super::super::query::Query;
use super::super::reply::Reply;
use super::Operation;
use super::answer::unwritten;

/// Rows of a report as CSV: what a branch of the largest kind has, some 15 MB.
const CSV_ROWS_MAX: usize = 100_000;

/// Which report a route is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    DayBook,
    Dues,
    Npa,
    Gst,
}

impl Kind {
    fn of(operation: Operation) -> Kind {
        match operation {
            Operation::GetDayBook => Kind::DayBook,
            Operation::GetDues => Kind::Dues,
            Operation::GetNpaList => Kind::Npa,
            _ => Kind::Gst,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Kind::DayBook => "day_book",
            Kind::Dues => "dues",
            Kind::Npa => "npa",
            Kind::Gst => "gst",
        }
    }

    /// The loans that it is about.
    fn filter(self) -> LoanFilter {
        match self {
            Kind::Npa => LoanFilter { class_from: Some(Class::Npa), ..LoanFilter::default() },
            _ => LoanFilter { has_dues: true, ..LoanFilter::default() },
        }
    }
}

/// The day of a report about loans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    /// The business date, as it is now.
    Today(Day),
    /// A day that is over, at its end.
    Past(Day, Basis),
}

impl Asked {
    fn on(self) -> Day {
        match self {
            Asked::Today(on) | Asked::Past(on, _) => on,
        }
    }

    /// Of today, everything that is known counts.
    fn basis(self) -> Basis {
        match self {
            Asked::Today(_) => Basis::Corrected,
            Asked::Past(_, basis) => basis,
        }
    }

    async fn lines(
        self,
        call: &mut Call<'_>,
        filter: LoanFilter,
        (after, limit): (u32, usize),
        place: &mut Option<Place>,
    ) -> Outcome<AsOf<Page<LoanLine>>> {
        let engine = Arc::clone(&call.books()?.engine);
        match self {
            Asked::Today(_) => call.read(engine.loan_lines(filter, after, limit, place)).await,
            Asked::Past(on, basis) => call.read(engine.past_loan_lines(filter, (on, basis), after, limit, place)).await,
        }
    }
}

/// Events of a register: of days, by their records or by value date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Register {
    kind: Kind,
    span: (Day, Day),
    basis: Basis,
}

impl Register {
    async fn events(
        self,
        call: &mut Call<'_>,
        (after, limit): (u64, usize),
        place: &mut Option<Place>,
    ) -> Outcome<AsOf<Page<LoanEventView>>> {
        let engine = Arc::clone(&call.books()?.engine);
        match self.basis {
            Basis::Recorded => call.read(engine.loan_events_on(self.span, after, limit, place)).await,
            Basis::Corrected => call.read(engine.loan_events_valued(self.span, after, limit, place)).await,
        }
    }
}

/// The word of the API.
pub fn basis_name(basis: Basis) -> &'static str {
    match basis {
        Basis::Recorded => "recorded",
        Basis::Corrected => "corrected",
    }
}

/// `as`, where it is given.
pub fn basis(query: &Query<'_>) -> Outcome<Option<Basis>> {
    query.read("as", "recorded or corrected", |text| match text {
        "recorded" => Some(Basis::Recorded),
        "corrected" => Some(Basis::Corrected),
        _ => None,
    })
}

/// The call list and the non-performing loans, as of the business date or at the end of a day that is over.
pub async fn of_loans(call: &mut Call<'_>) -> Outcome<Reply> {
    let query = call.query(&["on", "as", "limit", "starting_after"])?;
    let (on, basis) = (query.day("on")?, basis(&query)?);
    let number = |text: &str| {
        let number = parse_id(IdKind::Loan, text).and_then(|number| u32::try_from(number).ok());
        number.filter(|number| *number < u32::MAX)
    };
    let after = query.read("starting_after", "a loan_… id", number)?.unwrap_or(0);
    let limit = query.limit()?;
    let asked = asked(call, on, basis).await?;
    let kind = Kind::of(call.route.operation);
    let engine = Arc::clone(&call.books()?.engine);
    let mut place = Some(call.read(engine.long_place()).await?);
    if call.gives == "text/csv" {
        return csv_of_loans(call, asked, kind, place).await;
    }
    let found = asked.lines(call, kind.filter(), (after, limit), &mut place).await?;
    let cursor = next(&found.value).map(|number| format_id(IdKind::Loan, number));
    let frame = frame(call, kind, (Some(asked.on()), None), asked.basis(), found.value.has_more);
    let rows = found.value.rows;
    let body = run_at(&mut place, move || if kind == Kind::Npa { npa(&frame, &rows) } else { dues(&frame, &rows) });
    let body = body.await?.map_err(unwritten)?;
    finish(call, &query, (body, cursor, found.seq), place).await
}

/// The day book and the tax register of a day, and the latter of a span of days.
pub async fn of_events(call: &mut Call<'_>) -> Outcome<Reply> {
    let kind = Kind::of(call.route.operation);
    let takes_span = kind == Kind::Gst;
    let query = if takes_span {
        call.query(&["on", "from", "to", "as", "limit", "starting_after"])?
    } else {
        call.query(&["on", "as", "limit", "starting_after"])?
    };
    let after = query
        .read("starting_after", "an evt_… id", |text| {
            parse_id(IdKind::LoanEvent, text).filter(|seq| *seq < u64::MAX)
        })?
        .unwrap_or(0);
    let limit = query.limit()?;
    let basis = basis(&query)?.unwrap_or(Basis::Recorded);
    let on = query.day("on")?;
    let span = if takes_span { span_of(&query, on)? } else { None };
    let engine = Arc::clone(&call.books()?.engine);
    let span = match (on, span) {
        (_, Some(span)) => span,
        (Some(on), None) => (on, on),
        (None, None) => {
            let date = call.read(engine.business_day()).await?.value.date;
            (date, date)
        }
    };
    let register = Register { kind, span, basis };
    check_extent(&engine, register)?;
    let mut place = Some(call.read(engine.long_place()).await?);
    if call.gives == "text/csv" {
        return csv_of_events(call, register, place).await;
    }
    let found = register.events(call, (after, limit), &mut place).await?;
    let cursor = next(&found.value).map(|seq| format_id(IdKind::LoanEvent, seq));
    let on = (span.0 == span.1).then_some(span.0);
    let frame = frame(call, kind, (on, takes_span.then_some(span)), basis, found.value.has_more);
    let rows = found.value.rows;
    let body = run_at(&mut place, move || if kind == Kind::Gst { gst(&frame, &rows) } else { day_book(&frame, &rows) });
    let body = body.await?.map_err(unwritten)?;
    finish(call, &query, (body, cursor, found.seq), place).await
}

/// `from` and `to`, which stand together and without `on`.
pub fn span_of(query: &Query<'_>, on: Option<Day>) -> Outcome<Option<(Day, Day)>> {
    let refuse = |name, detail: String| Err(Problem::of_parameter(Code::InvalidParameter, name, detail));
    match (query.day("from")?, query.day("to")?) {
        (None, None) => Ok(None),
        (Some(_), Some(_)) if on.is_some() => refuse("on", "Give either `on`, or `from` and `to`.".into()),
        (Some(from), Some(to)) if from > to => refuse("from", "`from` is not after `to`.".into()),
        (Some(from), Some(to)) if to.0 - from.0 >= REPORT_DAYS_MAX => {
            refuse("from", format!("A span has at most {REPORT_DAYS_MAX} days."))
        }
        (Some(from), Some(to)) => Ok(Some((from, to))),
        (None, Some(_)) => refuse("from", "`from` and `to` stand together.".into()),
        (Some(_), None) => refuse("to", "`from` and `to` stand together.".into()),
    }
}

/// Work that has no end is refused before it begins.
fn check_extent(engine: &Engine, register: Register) -> Outcome<()> {
    let core = engine.core();
    let entries = core.entries_of(register.span, core.journal().durable_seq());
    let count = entries.map_or(0, |(from, to)| to.0 - from.0);
    match register.basis {
        Basis::Corrected => check_loans(engine),
        Basis::Recorded if count > REPORT_ENTRIES_MAX => {
            let detail = format!("On these days more than {REPORT_ENTRIES_MAX} entries were recorded: ask for fewer.");
            Err(Problem::of_parameter(Code::InvalidParameter, "from", detail))
        }
        Basis::Recorded => Ok(()),
    }
}

/// Whether all loans may be folded again for one answer.
pub fn check_loans(engine: &Engine) -> Outcome<()> {
    if engine.core().loans().loans().count() <= PAST_LOANS_MAX {
        return Ok(());
    }
    let detail = format!("All loans are folded again for it, which is done for at most {PAST_LOANS_MAX}.");
    Err(Problem::of_parameter(Code::InvalidParameter, "as", detail))
}

/// `GET /v1/reports/portfolio`: all loans that are active, added up.
pub async fn portfolio(call: &mut Call<'_>) -> Outcome<Reply> {
    let query = call.query(&["on", "as"])?;
    let asked = asked(call, query.day("on")?, basis(&query)?).await?;
    let engine = Arc::clone(&call.books()?.engine);
    if matches!(asked, Asked::Past(..)) {
        check_loans(&engine)?;
    }
    let mut place = Some(call.read(engine.long_place()).await?);
    let filter = LoanFilter { status: Some(LoanStatus::Active), ..LoanFilter::default() };
    let (mut sums, mut after, mut seq) = (Portfolio::default(), 0, Seq::NONE);
    loop {
        let found = asked.lines(call, filter, (after, LIST_LIMIT_MAX), &mut place).await?;
        found.value.rows.iter().for_each(|line| sums.add(line));
        seq = seq.max(found.seq);
        match next(&found.value).and_then(|number| u32::try_from(number).ok()) {
            Some(cursor) if cursor > after => after = cursor,
            _ => break,
        }
    }
    let mut reply = if call.gives == "text/csv" {
        csv(sums.csv())
    } else {
        Reply::json(StatusCode::OK, sums.json(asked.on(), basis_name(asked.basis())).map_err(unwritten)?)
    };
    reply.as_of = Some(seq);
    reply.place = place;
    Ok(reply)
}

/// What is asked for: the business date, or a day that is over.
async fn asked(call: &mut Call<'_>, on: Option<Day>, basis: Option<Basis>) -> Outcome<Asked> {
    let engine = Arc::clone(&call.books()?.engine);
    let day = call.read(engine.business_day()).await?.value;
    match on {
        None => Ok(Asked::Today(day.date)),
        Some(on) if on == day.date => Ok(Asked::Today(on)),
        Some(on) => {
            check_over(on, day.date, day.ending.map(|(ending, _, _)| ending), "on")?;
            Ok(Asked::Past(on, basis.unwrap_or(Basis::Recorded)))
        }
    }
}

/// Whether a day is over and its end is done; `ending` is the first whose end is not.
pub fn check_over(on: Day, today: Day, ending: Option<Day>, name: &'static str) -> Outcome<()> {
    let refuse = |detail: String| Err(Problem::of_parameter(Code::InvalidParameter, name, detail));
    match ending {
        _ if on >= today => {
            refuse(format!("`{name}` is a day before the business date, {today}, at whose end it looks."))
        }
        Some(ending) if on >= ending => {
            refuse(format!("The end of {ending} is not done yet: GET /v1/business_day shows how far it is."))
        }
        _ => Ok(()),
    }
}

fn frame(
    call: &Call<'_>,
    kind: Kind,
    (on, span): (Option<Day>, Option<(Day, Day)>),
    basis: Basis,
    has_more: bool,
) -> Frame {
    let url = call.head.uri.path().to_owned();
    Frame { report: kind.name(), on, span, basis: basis_name(basis), url, has_more }
}

/// Where the next page begins, if there is one.
fn next<T>(page: &Page<T>) -> Option<u64> {
    page.cursor.filter(|_| page.has_more)
}

async fn finish(
    call: &Call<'_>,
    query: &Query<'_>,
    (body, cursor, seq): (Vec<u8>, Option<String>, Seq),
    place: Option<Place>,
) -> Outcome<Reply> {
    let mut reply = render_at(place, move || Reply::json(StatusCode::OK, body)).await?;
    reply.as_of = Some(seq);
    reply.next = cursor.map(|cursor| query.next_page(call.head.uri.path(), &cursor));
    Ok(reply)
}

fn csv(body: Vec<u8>) -> Reply {
    Reply::of(StatusCode::OK, HeaderValue::from_static("text/csv; charset=utf-8"), body.into())
}

async fn csv_of_loans(call: &mut Call<'_>, asked: Asked, kind: Kind, mut place: Option<Place>) -> Outcome<Reply> {
    let (mut out, mut after, mut seq, mut rows) = (csv_head(kind.name()).as_bytes().to_vec(), 0, Seq::NONE, 0);
    loop {
        let AsOf { value: page, seq: as_of } =
            asked.lines(call, kind.filter(), (after, LIST_LIMIT_MAX), &mut place).await?;
        let write = if kind == Kind::Npa { npa_csv } else { dues_csv };
        page.rows.iter().for_each(|line: &LoanLine| write(&mut out, line));
        (seq, rows) = (seq.max(as_of), rows + page.rows.len());
        match next(&page).and_then(|number| u32::try_from(number).ok()) {
            Some(cursor) if rows < CSV_ROWS_MAX && cursor > after => after = cursor,
            _ => break,
        }
    }
    let mut reply = csv(out);
    (reply.as_of, reply.place) = (Some(seq), place);
    Ok(reply)
}

async fn csv_of_events(call: &mut Call<'_>, register: Register, mut place: Option<Place>) -> Outcome<Reply> {
    let kind = register.kind;
    let (mut out, mut after, mut seq, mut rows) = (csv_head(kind.name()).as_bytes().to_vec(), 0, Seq::NONE, 0);
    loop {
        let AsOf { value: page, seq: as_of } = register.events(call, (after, LIST_LIMIT_MAX), &mut place).await?;
        let write = if kind == Kind::Gst { gst_csv } else { day_book_csv };
        page.rows.iter().for_each(|event: &LoanEventView| write(&mut out, event));
        (seq, rows) = (seq.max(as_of), rows + page.rows.len());
        match next(&page) {
            Some(cursor) if rows < CSV_ROWS_MAX && cursor > after => after = cursor,
            _ => break,
        }
    }
    let mut reply = csv(out);
    (reply.as_of, reply.place) = (Some(seq), place);
    Ok(reply)
}
