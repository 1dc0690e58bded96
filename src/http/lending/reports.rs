//! Many loans, or a day of them: call list, non-performing loans, portfolio, day book, tax register. As JSON by the
//! page, as CSV whole.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::domain::ids::{IdKind, format_id};
use crate::domain::lending::loan::events::LoanEvent;
use crate::domain::lending::loan::state::Class;
use crate::domain::time::Day;
use crate::engine::view::{LoanEventView, LoanLine};

use super::super::render::loan_event::{ShownEvent, event_object};
use super::super::render::{moment_text, rupees_text, write_cell};
use super::names::{CLASSES, LOAN_STATUSES, MODES, amount_of, event_type, mode_of, name_in};

/// A report by the page.
#[derive(Serialize)]
struct Page<'a, T> {
    object: &'static str,
    report: &'static str,
    on: Option<String>,
    r#as: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<String>,
    url: &'a str,
    has_more: bool,
    data: Vec<T>,
}

/// What a page of a report says beside its rows.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Name of the report.
    pub report: &'static str,
    /// Its day, unless it is of several.
    pub on: Option<Day>,
    /// Its days, where it may be of several.
    pub span: Option<(Day, Day)>,
    /// Which events count.
    pub basis: &'static str,
    /// Its path.
    pub url: String,
    /// More rows follow.
    pub has_more: bool,
}

fn page<T: Serialize>(frame: &Frame, data: Vec<T>) -> Result<Vec<u8>, serde_json::Error> {
    let Frame { report, on, span, basis, url, has_more } = frame;
    serde_json::to_vec(&Page {
        object: "report",
        report,
        on: day(*on),
        r#as: basis,
        from: day(span.map(|(from, _)| from)),
        to: day(span.map(|(_, to)| to)),
        url,
        has_more: *has_more,
        data,
    })
}

/// A loan with something due.
#[derive(Serialize)]
struct DueRow {
    loan: String,
    customer: String,
    product: String,
    class: &'static str,
    dpd: u16,
    bucket: &'static str,
    principal_due: String,
    interest_due: String,
    fee_due: String,
    penal_due: String,
    total_due: String,
    advance: String,
    oldest_due_on: Option<String>,
    next_due_on: Option<String>,
    instalment: String,
    paused_until: Option<String>,
    watched: bool,
}

/// A non-performing loan.
#[derive(Serialize)]
struct NpaRow {
    loan: String,
    customer: String,
    product: String,
    status: &'static str,
    dpd: u16,
    npa_since: Option<String>,
    principal_outstanding: String,
    total_due: String,
    oldest_due_on: Option<String>,
    paused_until: Option<String>,
    watched: bool,
}

/// How long the oldest due date is past, in words of the call list.
#[must_use]
pub fn bucket(dpd: u16) -> &'static str {
    match dpd {
        0 => "today",
        1..=30 => "1_30",
        31..=60 => "31_60",
        61..=90 => "61_90",
        _ => "over_90",
    }
}

/// The names of all buckets.
pub const BUCKETS: [&str; 5] = ["today", "1_30", "31_60", "61_90", "over_90"];

fn total_due(line: &LoanLine) -> i64 {
    line.principal_due + line.interest_due + line.fee_due + line.penal_due
}

fn day(of: Option<Day>) -> Option<String> {
    of.map(|day| day.to_string())
}

fn due_row(line: &LoanLine) -> DueRow {
    DueRow {
        loan: format_id(IdKind::Loan, line.loan.into()),
        customer: format_id(IdKind::Customer, line.customer.into()),
        product: format_id(IdKind::Product, line.product.into()),
        class: name_in(&CLASSES, &line.class),
        dpd: line.dpd,
        bucket: bucket(line.dpd),
        principal_due: rupees_text(line.principal_due),
        interest_due: rupees_text(line.interest_due),
        fee_due: rupees_text(line.fee_due),
        penal_due: rupees_text(line.penal_due),
        total_due: rupees_text(total_due(line)),
        advance: rupees_text(line.advance),
        oldest_due_on: day(line.oldest_due_on),
        next_due_on: day(line.next_due_on),
        instalment: rupees_text(line.instalment),
        paused_until: day(line.paused_until),
        watched: line.is_watched,
    }
}

fn npa_row(line: &LoanLine) -> NpaRow {
    NpaRow {
        loan: format_id(IdKind::Loan, line.loan.into()),
        customer: format_id(IdKind::Customer, line.customer.into()),
        product: format_id(IdKind::Product, line.product.into()),
        status: name_in(&LOAN_STATUSES, &line.status),
        dpd: line.dpd,
        npa_since: day(line.npa_since),
        principal_outstanding: rupees_text(line.outstanding),
        total_due: rupees_text(total_due(line)),
        oldest_due_on: day(line.oldest_due_on),
        paused_until: day(line.paused_until),
        watched: line.is_watched,
    }
}

/// A page of the call list.
///
/// # Errors
/// None that can happen: the shape has string keys only.
pub fn dues(frame: &Frame, rows: &[LoanLine]) -> Result<Vec<u8>, serde_json::Error> {
    page(frame, rows.iter().map(due_row).collect())
}

/// A page of the non-performing loans.
///
/// # Errors
/// As [`dues`].
pub fn npa(frame: &Frame, rows: &[LoanLine]) -> Result<Vec<u8>, serde_json::Error> {
    page(frame, rows.iter().map(npa_row).collect())
}

/// A page of the day book.
///
/// # Errors
/// As [`dues`].
pub fn day_book(frame: &Frame, rows: &[LoanEventView]) -> Result<Vec<u8>, serde_json::Error> {
    page(frame, rows.iter().map(event_object).collect::<Vec<ShownEvent<'_>>>())
}

/// A page of the tax register: a row for each event of the page that bears tax.
///
/// # Errors
/// As [`dues`].
pub fn gst(frame: &Frame, rows: &[LoanEventView]) -> Result<Vec<u8>, serde_json::Error> {
    page(frame, rows.iter().filter_map(gst_row).collect())
}

/// A line of the tax register. What is given back by a credit note is negative.
#[derive(Serialize)]
struct GstRow {
    event: Option<String>,
    loan: String,
    booked_on: String,
    r#type: &'static str,
    taxable: String,
    gst: String,
    reason: Option<String>,
    undone_by: Option<String>,
}

fn gst_row(event: &LoanEventView) -> Option<GstRow> {
    let (taxable, gst) = match event.posted.event {
        LoanEvent::Disbursed { deducted, .. } => (deducted.fee, deducted.gst),
        LoanEvent::Charged { amount, gst, .. } => (amount, gst),
        LoanEvent::Foreclosed { charge, gst, .. } => (charge, gst),
        LoanEvent::Waived(waiver) => (waiver.gst - waiver.fee, -waiver.gst),
        _ => (0, 0),
    };
    (gst != 0).then(|| GstRow {
        event: event.seq.map(|seq| format_id(IdKind::LoanEvent, seq.0)),
        loan: format_id(IdKind::Loan, event.posted.loan.into()),
        booked_on: event.booked_on.to_string(),
        r#type: event_type(&event.posted.event),
        taxable: rupees_text(taxable),
        gst: rupees_text(gst),
        reason: event.posted.texts.as_ref().and_then(|texts| texts.reason.as_deref()).map(str::to_owned),
        undone_by: event.undone_by.map(|seq| format_id(IdKind::LoanEvent, seq.0)),
    })
}

/// Sums over loans.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sums {
    loans: u64,
    outstanding: i128,
    due: i128,
}

impl Sums {
    fn add(&mut self, line: &LoanLine) {
        self.loans += 1;
        self.outstanding += i128::from(line.outstanding);
        self.due += i128::from(total_due(line));
    }
}

/// The portfolio, added up row by row.
#[derive(Clone, Debug, Default)]
pub struct Portfolio {
    by: BTreeMap<(u32, Class), Sums>,
    all: Sums,
    /// With more than 30, 60 and 90 days past due.
    at_risk: [Sums; 3],
}

#[derive(Serialize)]
struct ShownPortfolio {
    object: &'static str,
    report: &'static str,
    on: String,
    r#as: &'static str,
    totals: ShownSums,
    par_30: ShownRisk,
    par_60: ShownRisk,
    par_90: ShownRisk,
    data: Vec<ShownGroup>,
}

#[derive(Serialize)]
struct ShownSums {
    loans: u64,
    principal_outstanding: String,
    total_due: String,
}

#[derive(Serialize)]
struct ShownRisk {
    loans: u64,
    principal_outstanding: String,
    pct: String,
}

#[derive(Serialize)]
struct ShownGroup {
    product: String,
    class: &'static str,
    loans: u64,
    principal_outstanding: String,
    total_due: String,
}

pub(super) fn rupees_of(paise: i128) -> String {
    crate::domain::money::format_minor(paise, crate::domain::money::Currency::INR)
}

impl Portfolio {
    /// Adds a loan.
    pub fn add(&mut self, line: &LoanLine) {
        self.by.entry((line.product, line.class)).or_default().add(line);
        self.all.add(line);
        for (sums, days) in self.at_risk.iter_mut().zip([30, 60, 90]) {
            if line.dpd > days {
                sums.add(line);
            }
        }
    }

    /// The portfolio as JSON.
    ///
    /// # Errors
    /// As [`dues`].
    pub fn json(&self, on: Day, basis: &'static str) -> Result<Vec<u8>, serde_json::Error> {
        let risk = |sums: &Sums| ShownRisk {
            loans: sums.loans,
            principal_outstanding: rupees_of(sums.outstanding),
            pct: self.pct(sums),
        };
        serde_json::to_vec(&ShownPortfolio {
            object: "report",
            report: "portfolio",
            on: on.to_string(),
            r#as: basis,
            totals: ShownSums {
                loans: self.all.loans,
                principal_outstanding: rupees_of(self.all.outstanding),
                total_due: rupees_of(self.all.due),
            },
            par_30: risk(&self.at_risk[0]),
            par_60: risk(&self.at_risk[1]),
            par_90: risk(&self.at_risk[2]),
            data: self
                .by
                .iter()
                .map(|((product, class), sums)| ShownGroup {
                    product: format_id(IdKind::Product, u64::from(*product)),
                    class: name_in(&CLASSES, class),
                    loans: sums.loans,
                    principal_outstanding: rupees_of(sums.outstanding),
                    total_due: rupees_of(sums.due),
                })
                .collect(),
        })
    }

    /// A share of what is outstanding, per cent with two decimals, halves up.
    fn pct(&self, of: &Sums) -> String {
        let hundredths = match self.all.outstanding {
            0 => 0,
            all => (of.outstanding * 20_000 + all) / (all * 2),
        };
        rupees_of(hundredths)
    }

    /// The portfolio as CSV, by product and class.
    #[must_use]
    pub fn csv(&self) -> Vec<u8> {
        let mut out = b"product,class,loans,principal_outstanding,total_due\r\n".to_vec();
        for ((product, class), sums) in &self.by {
            let cells = [
                format_id(IdKind::Product, u64::from(*product)),
                name_in(&CLASSES, class).to_owned(),
                sums.loans.to_string(),
                rupees_of(sums.outstanding),
                rupees_of(sums.due),
            ];
            write_cells(&mut out, &cells);
        }
        out
    }
}

/// The columns of a report's CSV.
#[must_use]
pub fn csv_head(report: &str) -> &'static str {
    match report {
        "dues" => {
            "loan,customer,product,class,dpd,bucket,principal_due,interest_due,fee_due,penal_due,total_due,advance,\
             oldest_due_on,next_due_on,instalment,paused_until,watched\r\n"
        }
        "npa" => {
            "loan,customer,product,status,dpd,npa_since,principal_outstanding,total_due,oldest_due_on,paused_until,watched\r\n"
        }
        "day_book" => {
            "event,loan,type,value_date,booked_on,recorded_at,amount,mode,reference,penal,fee,interest,principal,prepaid,\
             advance,reason,undone_by\r\n"
        }
        _ => "event,loan,booked_on,type,taxable,gst,reason,undone_by\r\n",
    }
}

/// Appends a loan to the CSV of the call list.
pub fn dues_csv(out: &mut Vec<u8>, line: &LoanLine) {
    let row = due_row(line);
    let cells = [
        row.loan,
        row.customer,
        row.product,
        row.class.to_owned(),
        row.dpd.to_string(),
        row.bucket.to_owned(),
        row.principal_due,
        row.interest_due,
        row.fee_due,
        row.penal_due,
        row.total_due,
        row.advance,
        row.oldest_due_on.unwrap_or_default(),
        row.next_due_on.unwrap_or_default(),
        row.instalment,
        row.paused_until.unwrap_or_default(),
        row.watched.to_string(),
    ];
    write_cells(out, &cells);
}

/// Appends a loan to the CSV of the non-performing loans.
pub fn npa_csv(out: &mut Vec<u8>, line: &LoanLine) {
    let row = npa_row(line);
    let cells = [
        row.loan,
        row.customer,
        row.product,
        row.status.to_owned(),
        row.dpd.to_string(),
        row.npa_since.unwrap_or_default(),
        row.principal_outstanding,
        row.total_due,
        row.oldest_due_on.unwrap_or_default(),
        row.paused_until.unwrap_or_default(),
        row.watched.to_string(),
    ];
    write_cells(out, &cells);
}

/// Appends an event to the CSV of the day book.
pub fn day_book_csv(out: &mut Vec<u8>, event: &LoanEventView) {
    let posted = &event.posted;
    let texts = posted.texts.as_deref();
    let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
    let evt =
        |seq: Option<crate::domain::ids::Seq>| seq.map(|seq| format_id(IdKind::LoanEvent, seq.0)).unwrap_or_default();
    let split = &event.split;
    let mut cells = vec![
        evt(event.seq),
        format_id(IdKind::Loan, posted.loan.into()),
        event_type(&posted.event).to_owned(),
        posted.value_date.to_string(),
        event.booked_on.to_string(),
        moment_text(event.recorded_at),
        amount_of(&posted.event).map(rupees_text).unwrap_or_default(),
        mode_of(&posted.event).map_or("", |mode| name_in(&MODES, &mode)).to_owned(),
        text(texts.and_then(|texts| texts.reference.as_deref())),
    ];
    let parts = [split.penal, split.fee, split.interest, split.principal, split.prepaid, split.advance];
    cells.extend(parts.map(rupees_text));
    cells.push(text(texts.and_then(|texts| texts.reason.as_deref())));
    cells.push(evt(event.undone_by));
    write_cells(out, &cells);
}

/// Appends an event to the CSV of the tax register, if it bears tax.
pub fn gst_csv(out: &mut Vec<u8>, event: &LoanEventView) {
    let Some(row) = gst_row(event) else { return };
    let cells = [
        row.event.unwrap_or_default(),
        row.loan,
        row.booked_on,
        row.r#type.to_owned(),
        row.taxable,
        row.gst,
        row.reason.unwrap_or_default(),
        row.undone_by.unwrap_or_default(),
    ];
    write_cells(out, &cells);
}

pub(super) fn write_cells(out: &mut Vec<u8>, cells: &[String]) {
    for (place, cell) in cells.iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        // An amount below zero is a number, no formula.
        let is_number = cell.strip_prefix('-').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
        if is_number && cell.bytes().all(|byte| byte.is_ascii_digit() || b"-.".contains(&byte)) {
            out.extend_from_slice(cell.as_bytes());
        } else {
            write_cell(out, cell);
        }
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::lending::loan::state::LoanStatus;

    fn line(product: u32, class: Class, dpd: u16, outstanding: i64) -> LoanLine {
        LoanLine {
            loan: 1,
            customer: 1,
            product,
            status: LoanStatus::Active,
            class,
            dpd,
            npa_since: None,
            outstanding,
            principal_due: 10,
            interest_due: 5,
            fee_due: 0,
            penal_due: 1,
            advance: 0,
            oldest_due_on: Some(Day(20_000)),
            next_due_on: None,
            instalment: 97_000,
            paused_until: None,
            is_watched: false,
        }
    }

    #[test]
    fn what_is_at_risk_is_a_share_of_what_is_outstanding() {
        let mut portfolio = Portfolio::default();
        for (dpd, class) in [(0, Class::Standard), (30, Class::Sma0), (31, Class::Sma1), (91, Class::Npa)] {
            portfolio.add(&line(1, class, dpd, 10_000));
        }
        let json: serde_json::Value =
            serde_json::from_slice(&portfolio.json(Day(20_778), "corrected").unwrap()).unwrap();
        assert_eq!((&json["totals"]["loans"], &json["totals"]["principal_outstanding"]), (&4.into(), &"400.00".into()));
        assert_eq!((&json["par_30"]["pct"], &json["par_30"]["loans"]), (&"50.00".into(), &2.into()));
        assert_eq!((&json["par_60"]["pct"], &json["par_90"]["pct"]), (&"25.00".into(), &"25.00".into()));
        assert_eq!(json["data"].as_array().unwrap().len(), 4);
        assert_eq!(String::from_utf8(portfolio.csv()).unwrap().lines().count(), 5);
    }

    #[test]
    fn rows_of_csv_have_the_columns_of_their_head() {
        let mut out = Vec::new();
        dues_csv(&mut out, &line(1, Class::Sma0, 3, 5));
        let columns = |text: &[u8]| String::from_utf8_lossy(text).trim_end().split(',').count();
        assert_eq!(columns(&out), columns(csv_head("dues").as_bytes()));
        out.clear();
        npa_csv(&mut out, &line(1, Class::Npa, 100, 5));
        assert_eq!(columns(&out), columns(csv_head("npa").as_bytes()));
        let buckets = [0, 1, 30, 31, 60, 61, 90, 91].map(bucket);
        assert_eq!(buckets, ["today", "1_30", "1_30", "31_60", "31_60", "61_90", "61_90", "over_90"]);
        assert!(buckets.iter().all(|name| BUCKETS.contains(name)));
    }
}
