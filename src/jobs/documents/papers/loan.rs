//! Documents about a loan: statement, repayment schedule, key facts, receipt, no-dues letter. Amounts are paise.

use super::super::content::{Block, Column, Document, Row, Table, pair};
use super::super::money::{amount, grouped, titled};
use super::Issue;
use crate::domain::money::Currency;
use crate::domain::time::Day;

/// What all of them say about the loan.
#[derive(Clone, Debug)]
pub struct LoanHead {
    /// `loan_…`
    pub loan: String,
    /// The caller's own id of it.
    pub external_id: Option<String>,
    /// The borrower's name.
    pub borrower: String,
    /// `cust_…`
    pub customer: String,
    /// The product's name.
    pub product: String,
    /// What was sanctioned.
    pub principal: i64,
    /// Per cent a year, as it is now.
    pub annual_rate_pct: String,
    /// Where it is in its life, in words.
    pub status: String,
}

/// Lines that changed what is owed.
#[derive(Clone, Debug)]
pub struct LoanStatement {
    /// Owed before the first.
    pub opening: i64,
    /// Owed after the last.
    pub closing: i64,
    /// Oldest first.
    pub lines: Vec<LoanLine>,
}

/// One of them.
#[derive(Clone, Debug)]
pub struct LoanLine {
    /// The day that it counts for.
    pub date: Day,
    /// In words.
    pub narration: String,
    /// What the rail calls the payment.
    pub reference: Option<String>,
    /// Signed: what is owed more.
    pub amount: i64,
    /// Owed after it.
    pub balance: i64,
}

/// The rows of a plan.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// Version of the plan.
    pub version: u32,
    /// In words: of which day or version the rows are.
    pub basis: String,
    /// Principal that falls due later.
    pub principal_to_come: i64,
    /// Interest that falls due later.
    pub interest_to_come: i64,
    /// By date.
    pub rows: Vec<ScheduleRow>,
}

/// A row of a plan.
#[derive(Clone, Debug)]
pub struct ScheduleRow {
    /// From 1.
    pub n: u32,
    /// When it falls due, if that is known.
    pub due_on: String,
    /// Principal before.
    pub opening: i64,
    /// In it.
    pub principal: i64,
    /// In it.
    pub interest: i64,
    /// Both.
    pub instalment: i64,
    /// Principal after.
    pub closing: i64,
    /// What became of it, if that is known.
    pub status: Option<String>,
}

/// Key facts: what the borrower must know before the money is paid out.
#[derive(Clone, Debug)]
pub struct KeyFacts {
    /// Version and state, issue and validity, in words.
    pub issue: Vec<(String, String)>,
    /// Part 1, row by row: number, name, value.
    pub part_1: Vec<[String; 3]>,
    /// Part 2, row by row.
    pub part_2: Vec<[String; 3]>,
    /// How the rate comes out.
    pub computation: Vec<[String; 3]>,
    /// The rows.
    pub rows: Vec<ScheduleRow>,
}

/// What was paid, and what it paid.
#[derive(Clone, Debug)]
pub struct Receipt {
    /// `evt_…`
    pub event: String,
    /// In words.
    pub what: String,
    /// The day that it counts for.
    pub value_date: Day,
    /// The business day of its entry.
    pub booked_on: Day,
    /// How it came.
    pub mode: &'static str,
    /// What the rail calls it.
    pub reference: Option<String>,
    /// What came.
    pub amount: i64,
    /// What it paid: name and amount, without what it did not pay.
    pub split: Vec<(&'static str, i64)>,
    /// Owed after it, principal that has not fallen due included.
    pub outstanding: i64,
    /// The event that took it back.
    pub undone_by: Option<String>,
}

fn rupees(paise: i64) -> String {
    grouped(paise.into(), Currency::INR)
}

fn in_rupees(paise: i64) -> String {
    amount(paise.into(), Currency::INR)
}

fn amounts(title: &str, share: u32) -> Column {
    Column::number(&titled(title, Currency::INR), share)
}

fn head(issue: &Issue, of: &LoanHead) -> Vec<(String, String)> {
    vec![
        pair("Borrower", of.borrower.as_str()),
        pair("Loan", of.loan.as_str()),
        pair("Customer", of.customer.as_str()),
        pair("Your reference", of.external_id.as_deref().unwrap_or("-")),
        pair("Product", of.product.as_str()),
        pair("Business day", issue.day.to_string()),
        pair("Sanctioned", in_rupees(of.principal)),
        pair("Rate", format!("{} % a year", of.annual_rate_pct)),
        pair("Status", of.status.as_str()),
    ]
}

/// The document of a loan's statement.
#[must_use]
pub fn loan_statement(issue: Issue, of: &LoanHead, statement: &LoanStatement) -> Document {
    let shown = |paise: i64| if paise > 0 { rupees(paise) } else { String::new() };
    let bound = |words: &str, day: Option<Day>, balance: i64| {
        let day = day.map(|day| day.to_string()).unwrap_or_default();
        Row::bold(vec![day, words.to_owned(), String::new(), String::new(), String::new(), rupees(balance)])
    };
    let mut rows = vec![bound("Opening balance", issue.reference.from, statement.opening)];
    let (mut debits, mut credits) = (0, 0);
    for line in &statement.lines {
        debits += line.amount.max(0);
        credits += (-line.amount).max(0);
        rows.push(Row::of(vec![
            line.date.to_string(),
            line.narration.clone(),
            line.reference.clone().unwrap_or_default(),
            shown(line.amount),
            shown(-line.amount),
            rupees(line.balance),
        ]));
    }
    let mut closing = bound("Closing balance", issue.reference.to, statement.closing);
    (closing.cells[3], closing.cells[4]) = (rupees(debits), rupees(credits));
    rows.push(closing);
    let columns = vec![
        Column::text("Date", 52),
        Column::text("Particulars", 156),
        Column::text("Reference", 90),
        amounts("Debit", 72),
        amounts("Credit", 72),
        amounts("Balance", 76),
    ];
    let mut pairs = head(&issue, of);
    pairs.push(pair("Period", issue.period()));
    pairs.push(pair("Opening balance", in_rupees(statement.opening)));
    pairs.push(pair("Closing balance", in_rupees(statement.closing)));
    issue.document("Statement of loan account", vec![Block::Pairs(pairs), Block::Table(Table { columns, rows })])
}

fn schedule_table(rows: &[ScheduleRow]) -> Table {
    let has_status = rows.iter().any(|row| row.status.is_some());
    let mut columns = vec![
        Column::number("No.", 28),
        Column::text("Due on", 58),
        amounts("Opening", 76),
        amounts("Principal", 76),
        amounts("Interest", 76),
        amounts("Instalment", 76),
        amounts("Closing", 76),
    ];
    if has_status {
        columns.push(Column::text("State", 48));
    }
    let row = |row: &ScheduleRow| {
        let amounts = [row.opening, row.principal, row.interest, row.instalment, row.closing].map(rupees);
        let mut cells = vec![row.n.to_string(), row.due_on.clone()];
        cells.extend(amounts);
        if has_status {
            cells.push(row.status.clone().unwrap_or_default());
        }
        Row::of(cells)
    };
    let mut made: Vec<Row> = rows.iter().map(row).collect();
    let sum = |part: fn(&ScheduleRow) -> i64| rupees(rows.iter().map(part).sum());
    let mut total = vec![String::new(), "Total".to_owned(), String::new()];
    total.extend([sum(|row| row.principal), sum(|row| row.interest), sum(|row| row.instalment)]);
    made.push(Row::bold(total));
    Table { columns, rows: made }
}

/// The document of a schedule.
#[must_use]
pub fn schedule(issue: Issue, of: &LoanHead, plan: &Schedule) -> Document {
    let mut pairs = head(&issue, of);
    pairs.push(pair("Version of the plan", plan.version.to_string()));
    pairs.push(pair("Rows", plan.basis.as_str()));
    pairs.push(pair("Principal to come", in_rupees(plan.principal_to_come)));
    pairs.push(pair("Interest to come", in_rupees(plan.interest_to_come)));
    issue.document("Repayment schedule", vec![Block::Pairs(pairs), Block::Table(schedule_table(&plan.rows))])
}

/// The document of key facts.
#[must_use]
pub fn key_facts(issue: Issue, of: &LoanHead, facts: &KeyFacts) -> Document {
    let mut pairs = head(&issue, of);
    pairs.extend(facts.issue.iter().cloned());
    let facts_table = |rows: &[[String; 3]], what: &str| {
        let columns = vec![Column::text("No.", 30), Column::text(what, 190), Column::text("Details", 290)];
        Block::Table(Table { columns, rows: rows.iter().map(|row| Row::of(row.to_vec())).collect() })
    };
    let blocks = vec![
        Block::Pairs(pairs),
        Block::Heading("Part 1: interest rate and fees".to_owned()),
        facts_table(&facts.part_1, "Parameter"),
        Block::Heading("Part 2: other qualitative information".to_owned()),
        facts_table(&facts.part_2, "Parameter"),
        Block::Heading("Computation of the annual percentage rate".to_owned()),
        facts_table(&facts.computation, "Parameter"),
        Block::Heading("Repayment schedule".to_owned()),
        Block::Table(schedule_table(&facts.rows)),
    ];
    issue.document("Key facts statement", blocks)
}

/// The document of a receipt.
#[must_use]
pub fn receipt(issue: Issue, of: &LoanHead, receipt: &Receipt) -> Document {
    let mut pairs = head(&issue, of);
    pairs.extend([
        pair("Receipt", receipt.event.as_str()),
        pair("For", receipt.what.as_str()),
        pair("Value date", receipt.value_date.to_string()),
        pair("Booked on", receipt.booked_on.to_string()),
        pair("Received by", receipt.mode),
        pair("Reference", receipt.reference.as_deref().unwrap_or("-")),
        pair("Amount", in_rupees(receipt.amount)),
        pair("Principal left", in_rupees(receipt.outstanding)),
    ]);
    let columns = vec![Column::text("What it paid", 300), amounts("Amount", 120)];
    let mut rows: Vec<Row> =
        receipt.split.iter().map(|(name, paise)| Row::of(vec![(*name).to_owned(), rupees(*paise)])).collect();
    rows.push(Row::bold(vec!["Received".to_owned(), rupees(receipt.amount)]));
    let mut blocks = vec![Block::Pairs(pairs), Block::Table(Table { columns, rows })];
    if let Some(event) = &receipt.undone_by {
        let words = format!("This payment was taken back by {event}: the receipt is no proof of payment any more.");
        blocks.insert(0, Block::Heading("TAKEN BACK".to_owned()));
        blocks.push(Block::Text(words));
    }
    issue.document("Receipt", blocks)
}

/// The document that says that nothing is owed any more, since a day. Whoever asks for it has made sure of that.
#[must_use]
pub fn no_dues(issue: Issue, of: &LoanHead, closed_on: Day) -> Document {
    let mut pairs = head(&issue, of);
    pairs.push(pair("Closed on", closed_on.to_string()));
    pairs.push(pair("Due today", in_rupees(0)));
    let borrower = &of.borrower;
    let blocks = vec![
        Block::Pairs(pairs),
        Block::Heading("To whom it may concern".to_owned()),
        Block::Text(format!(
            "This is to certify that the loan {} of {}, granted to {borrower}, has been repaid and was closed on \
             {closed_on}. According to our books on {}, nothing is due from {borrower} on this loan: no principal, no \
             interest, no fees and no charges.",
            of.loan,
            in_rupees(of.principal),
            issue.day,
        )),
        Block::Text(
            "What was given to us as security for this loan alone is released, and documents of title are returned, \
             as the law says."
                .to_owned(),
        ),
    ];
    issue.document("No-dues letter", blocks)
}
