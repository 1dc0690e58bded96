//! The statement of an account of the ledger, oldest line first, with its opening and closing balance.

use super::super::content::{Block, Column, Document, Row, Table, pair};
use super::super::money::{amount, grouped, titled};
use super::Issue;
use crate::domain::money::Currency;
use crate::domain::time::Day;

/// What a statement shows.
#[derive(Clone, Debug)]
pub struct AccountStatement {
    /// `acct_…`
    pub account: String,
    /// Its name.
    pub name: Option<String>,
    /// The caller's own id of it.
    pub external_id: Option<String>,
    /// Its type, in the API's word.
    pub account_type: &'static str,
    /// Whether a debit adds to its balance.
    pub is_debit_normal: bool,
    /// Its currency.
    pub currency: Currency,
    /// Balance before the first line, minor units in the normal direction.
    pub opening: i128,
    /// Balance after the last line.
    pub closing: i128,
    /// Oldest first.
    pub lines: Vec<AccountLine>,
}

/// A line of it.
#[derive(Clone, Debug)]
pub struct AccountLine {
    /// Effective date.
    pub date: Day,
    /// The business day of the entry that posted it.
    pub booked_on: Day,
    /// Its moment, RFC 3339.
    pub booked_at: String,
    /// `tr_…`
    pub transfer: String,
    /// What it was for.
    pub description: Option<String>,
    /// In the account's normal direction, minor units.
    pub amount: i128,
    /// After it.
    pub balance: i128,
}

impl AccountStatement {
    /// Debits and credits of a line.
    #[must_use]
    pub fn sides(&self, amount: i128) -> (i128, i128) {
        let debit = if self.is_debit_normal { amount } else { -amount };
        (debit.max(0), (-debit).max(0))
    }
}

/// The document of a statement.
#[must_use]
pub fn statement(issue: Issue, of: &AccountStatement) -> Document {
    let currency = of.currency;
    let shown = |minor: i128| if minor == 0 { String::new() } else { grouped(minor, currency) };
    let bound = |words: &str, day: Option<Day>, balance: i128| {
        let day = day.map(|day| day.to_string()).unwrap_or_default();
        let empty = String::new;
        Row::bold(vec![day, words.to_owned(), empty(), empty(), empty(), grouped(balance, currency)])
    };
    let mut rows = Vec::with_capacity(of.lines.len() + 3);
    rows.push(bound("Opening balance", issue.reference.from, of.opening));
    let mut sums = (0, 0);
    for line in &of.lines {
        let (debit, credit) = of.sides(line.amount);
        sums = (sums.0 + debit, sums.1 + credit);
        rows.push(Row::of(vec![
            line.date.to_string(),
            line.description.clone().unwrap_or_default(),
            line.transfer.clone(),
            shown(debit),
            shown(credit),
            grouped(line.balance, currency),
        ]));
    }
    let mut closing = bound("Closing balance", issue.reference.to, of.closing);
    (closing.cells[3], closing.cells[4]) = (grouped(sums.0, currency), grouped(sums.1, currency));
    rows.push(closing);
    let columns = vec![
        Column::text("Date", 48),
        Column::text("Particulars", 166),
        Column::text("Transfer", 88),
        Column::number(&titled("Debit", currency), 70),
        Column::number(&titled("Credit", currency), 70),
        Column::number(&titled("Balance", currency), 76),
    ];
    let mut pairs = vec![
        pair("Account", of.account.as_str()),
        pair("Period", issue.period()),
        pair("Name", of.name.as_deref().unwrap_or("-")),
        pair("Business day", issue.day.to_string()),
        pair("Your reference", of.external_id.as_deref().unwrap_or("-")),
        pair("Type", of.account_type),
        pair("Opening balance", amount(of.opening, currency)),
        pair("Closing balance", amount(of.closing, currency)),
    ];
    pairs.push(pair("Lines", of.lines.len().to_string()));
    issue.document("Statement of account", vec![Block::Pairs(pairs), Block::Table(Table { columns, rows })])
}

#[cfg(test)]
pub mod tests {
    use super::super::super::layout::pages;
    use super::super::super::reference::{Kind, Reference};
    use super::*;
    use crate::domain::ids::{IdKind, Seq, format_id};

    /// Of October 2026.
    pub fn issue() -> Issue {
        let (from, to) = (Day::parse("2026-10-01"), Day::parse("2026-10-31"));
        let id = "acct_0000000000007".to_owned();
        let reference = Reference { kind: Kind::Statement, id, part: None, from, to, seq: Seq(184_467) };
        let day = Day::parse("2026-11-01").expect("a day");
        Issue { reference, head: [7; 32], lender: "Lakshmi Finance".into(), day }
    }

    /// A liability with so many lines, credits of 100.00 and debits of 0.50 in turn.
    pub fn statement_of(lines: usize) -> AccountStatement {
        let mut balance = 100_000;
        let line = |place: usize| {
            let amount = if place.is_multiple_of(2) { 10_000 } else { -50 };
            balance += amount;
            let date = Day(Day::parse("2026-10-01").expect("a day").0 + (place / 2) as u16);
            AccountLine {
                date,
                booked_on: Day(date.0 + 1),
                booked_at: "2026-10-02T05:00:00.000000Z".into(),
                transfer: format_id(IdKind::Transfer, place as u64 + 1),
                description: Some(format!("Deposit & more {place}")),
                amount,
                balance,
            }
        };
        let lines: Vec<AccountLine> = (0..lines).map(line).collect();
        AccountStatement {
            account: "acct_0000000000007".into(),
            name: Some("Ravi Kumar".into()),
            external_id: None,
            account_type: "liability",
            is_debit_normal: false,
            currency: Currency::INR,
            opening: 100_000,
            closing: lines.last().map_or(100_000, |line| line.balance),
            lines,
        }
    }

    #[test]
    fn a_statement_shows_each_line_and_its_sums() {
        let document = statement(issue(), &statement_of(3));
        let [Block::Pairs(pairs), Block::Table(table)] = &document.blocks[..] else { panic!("{document:?}") };
        assert!(pairs.contains(&pair("Closing balance", "₹1,199.50")), "{pairs:?}");
        let rows: Vec<String> = table.rows.iter().map(|row| row.cells.join("|")).collect();
        assert_eq!(rows[0], "2026-10-01|Opening balance||||1,000.00");
        assert_eq!(rows[1], "2026-10-01|Deposit & more 0|tr_0000000000001||100.00|1,100.00");
        assert_eq!(rows[2], "2026-10-01|Deposit & more 1|tr_0000000000002|0.50||1,099.50");
        assert_eq!(rows[4], "2026-10-31|Closing balance||0.50|200.00|1,199.50");
    }

    #[test]
    fn an_assets_debits_add_to_it() {
        let of = AccountStatement { is_debit_normal: true, ..statement_of(1) };
        assert_eq!((of.sides(5), of.sides(-5)), ((5, 0), (0, 5)));
    }

    #[test]
    fn an_amount_is_never_broken() {
        use super::super::super::reading::{lines, texts};
        let mut of = statement_of(3);
        of.opening = 12_345_678_901_234_567_825;
        let document = statement(issue(), &of);
        let made = super::super::super::file::pdf(document);
        let shown: Vec<String> = lines(texts(&made)).into_iter().map(|(_, line)| line).collect();
        let amount = grouped(of.opening, Currency::INR);
        assert!(shown.iter().any(|line| line.ends_with(&amount)), "{amount} is not in {shown:#?}");
    }

    #[test]
    fn a_long_statement_has_pages_and_says_how_many() {
        let document = statement(issue(), &statement_of(200));
        let made = pages(&document, &document.payload());
        assert!(made.len() > 3, "{}", made.len());
        let text = |place: usize| String::from_utf8_lossy(&made[place].bytes).into_owned();
        assert!((0..made.len()).all(|place| text(place).contains("/Code Do")));
    }
}
