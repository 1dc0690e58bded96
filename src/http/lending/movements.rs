//! How loans moved through a span of days, by product and of all.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::domain::ids::{IdKind, format_id};
use crate::domain::lending::loan::movement::Sum;
use crate::domain::time::Day;
use crate::engine::loans::past::Moved;

use super::reports::{rupees_of, write_cells};

/// Which movement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Of non-performing loans.
    Npa,
    /// Of all active loans.
    Portfolio,
}

impl Kind {
    /// The name of the report.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Kind::Npa => "npa_movement",
            Kind::Portfolio => "portfolio_movement",
        }
    }

    /// The columns of a product, in their order: the first and what follows of it come to the last.
    fn columns(self, moved: &Moved) -> Vec<(&'static str, Sum)> {
        let (npa, all) = (&moved.movement.npa, &moved.movement.portfolio);
        match self {
            Kind::Npa => vec![
                ("opening", npa.opening.less(moved.npa_restated)),
                ("restated", moved.npa_restated),
                ("new", npa.new),
                ("upgraded", npa.upgraded),
                ("recovered", npa.recovered),
                ("written_off", npa.written_off),
                ("closing", npa.closing),
            ],
            Kind::Portfolio => vec![
                ("opening", all.opening.less(moved.portfolio_restated)),
                ("restated", moved.portfolio_restated),
                ("disbursed", all.disbursed),
                ("capitalised", all.capitalised),
                ("received", all.received),
                ("written_off", all.written_off),
                ("closing", all.closing),
            ],
        }
    }
}

/// A movement, added up product by product.
#[derive(Clone, Debug, Default)]
pub struct Movements {
    by: BTreeMap<u32, Moved>,
}

#[derive(Serialize)]
struct Shown {
    object: &'static str,
    report: &'static str,
    from: String,
    to: String,
    r#as: &'static str,
    totals: Value,
    data: Vec<Value>,
}

impl Movements {
    /// Adds what was found of some loans.
    pub fn add(&mut self, found: &BTreeMap<u32, Moved>) {
        for (product, moved) in found {
            add_to(self.by.entry(*product).or_default(), moved);
        }
    }

    fn totals(&self) -> Moved {
        let mut all = Moved::default();
        self.by.values().for_each(|moved| add_to(&mut all, moved));
        all
    }

    /// The report as JSON.
    ///
    /// # Errors
    /// None that can happen: the shape has string keys only.
    pub fn json(&self, kind: Kind, (from, to): (Day, Day), basis: &'static str) -> Result<Vec<u8>, serde_json::Error> {
        let row = |product: Option<u32>, moved: &Moved| {
            let mut row = Map::new();
            row.insert("product".into(), json!(product.map(|number| format_id(IdKind::Product, number.into()))));
            for (name, sum) in kind.columns(moved) {
                row.insert(name.into(), json!({"loans": sum.loans, "principal": rupees_of(sum.amount)}));
            }
            Value::Object(row)
        };
        serde_json::to_vec(&Shown {
            object: "report",
            report: kind.name(),
            from: from.to_string(),
            to: to.to_string(),
            r#as: basis,
            totals: row(None, &self.totals()),
            data: self.by.iter().map(|(product, moved)| row(Some(*product), moved)).collect(),
        })
    }

    /// The report as CSV, a line for each product.
    #[must_use]
    pub fn csv(&self, kind: Kind) -> Vec<u8> {
        let names = kind.columns(&Moved::default()).into_iter().map(|(name, _)| format!(",{name}_loans,{name}"));
        let mut out = format!("product{}\r\n", names.collect::<String>()).into_bytes();
        for (product, moved) in &self.by {
            let mut cells = vec![format_id(IdKind::Product, u64::from(*product))];
            for (_, sum) in kind.columns(moved) {
                cells.extend([sum.loans.to_string(), rupees_of(sum.amount)]);
            }
            write_cells(&mut out, &cells);
        }
        out
    }
}

fn add_to(sums: &mut Moved, more: &Moved) {
    sums.movement.add(&more.movement);
    sums.npa_restated.add(more.npa_restated);
    sums.portfolio_restated.add(more.portfolio_restated);
}
