//! The slip of a day that was closed: what it came to, and where the books' chain stood then. Kept outside, it is the
//! witness that nothing before it was changed later.

use super::super::content::{Block, Column, Document, Row, Table, pair};
use super::super::money::{amount, grouped, titled};
use super::super::reference::hex;
use super::Issue;
use crate::domain::money::Currency;
use crate::domain::time::Day;

/// What a slip shows. Amounts are paise.
#[derive(Clone, Debug)]
pub struct DaySlip {
    /// The day that was closed.
    pub date: Day,
    /// The moment of the entry that closed it, RFC 3339.
    pub closed_at: String,
    /// The products with active loans.
    pub products: Vec<ProductLine>,
}

/// The loans of a product when the day ended.
#[derive(Clone, Debug)]
pub struct ProductLine {
    /// `prod_…`
    pub product: String,
    /// Its name.
    pub name: String,
    /// Active loans, by class: standard, SMA-0, SMA-1, SMA-2, NPA.
    pub loans: [u32; 5],
    /// Their principal, by class.
    pub outstanding: [i64; 5],
    /// What is held against losses.
    pub provision: i64,
}

const CLASSES: [&str; 5] = ["Standard", "SMA-0", "SMA-1", "SMA-2", "NPA"];

/// The document of a slip.
#[must_use]
pub fn day_slip(issue: Issue, of: &DaySlip) -> Document {
    let rupees = |paise: i64| grouped(paise.into(), Currency::INR);
    let mut rows = Vec::new();
    let (mut loans, mut outstanding, mut provision) = ([0_u64; 5], [0_i64; 5], 0_i64);
    for line in &of.products {
        let mut cells = vec![line.name.clone(), line.product.clone()];
        cells.push(line.loans.iter().sum::<u32>().to_string());
        cells.push(rupees(line.outstanding.iter().sum()));
        cells.push(rupees(line.outstanding[4]));
        cells.push(rupees(line.provision));
        rows.push(Row::of(cells));
        for class in 0..5 {
            loans[class] += u64::from(line.loans[class]);
            outstanding[class] += line.outstanding[class];
        }
        provision += line.provision;
    }
    let total: i64 = outstanding.iter().sum();
    let all = loans.iter().sum::<u64>().to_string();
    rows.push(Row::bold(vec![
        "All".into(),
        String::new(),
        all,
        rupees(total),
        rupees(outstanding[4]),
        rupees(provision),
    ]));
    let columns = vec![
        Column::text("Product", 130),
        Column::text("Number", 92),
        Column::number("Loans", 44),
        Column::number(&titled("Outstanding", Currency::INR), 90),
        Column::number(&titled("Of that NPA", Currency::INR), 90),
        Column::number(&titled("Provision", Currency::INR), 80),
    ];
    let classes = CLASSES
        .iter()
        .enumerate()
        .map(|(class, name)| Row::of(vec![(*name).to_owned(), loans[class].to_string(), rupees(outstanding[class])]));
    let class_columns = vec![
        Column::text("Class", 120),
        Column::number("Loans", 60),
        Column::number(&titled("Outstanding", Currency::INR), 100),
    ];
    let blocks = vec![
        Block::Pairs(vec![
            pair("Day", of.date.to_string()),
            pair("Closed at", of.closed_at.as_str()),
            pair("Closing entry", issue.reference.seq.to_string()),
            pair("Business day after", issue.day.to_string()),
            pair("Outstanding", amount(total.into(), Currency::INR)),
            pair("Provision", amount(provision.into(), Currency::INR)),
        ]),
        Block::Heading("Seal".to_owned()),
        Block::Text(format!(
            "The day was closed by entry {} of the journal. The chain of the journal's blocks, each of which hashes the \
             one before it, ends there with the hash below. Whoever keeps this slip can prove by it that no entry up to \
             there was changed, added or taken away since.",
            issue.reference.seq
        )),
        Block::Text(format!("Chain head: {}", hex(&issue.head))),
        Block::Heading("Active loans by product".to_owned()),
        Block::Table(Table { columns, rows }),
        Block::Heading("Active loans by class".to_owned()),
        Block::Table(Table { columns: class_columns, rows: classes.collect() }),
    ];
    issue.document("Day-close slip", blocks)
}
