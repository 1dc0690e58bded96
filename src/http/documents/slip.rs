//! The figures of a day's slip.

use crate::domain::ids::{IdKind, Seq, format_id};
use crate::domain::lending::loan::facts::ProductTotals;
use crate::domain::time::Day;
use crate::engine::Core;
use crate::jobs::documents::papers::slip::{DaySlip, ProductLine};

use super::super::render::moment_text;
use super::{DocumentError, REACH};

/// The entry that closed the day, and what the day came to.
pub fn figures(core: &Core, date: Day) -> Result<(Seq, DaySlip), DocumentError> {
    let (seq, moment, ended) = core.ended_day(date, REACH)?.ok_or(DocumentError::DayNotEnded)?;
    let line = |totals: &ProductTotals| ProductLine {
        product: format_id(IdKind::Product, totals.product.into()),
        name: core.product_by(totals.product, seq).map_or(String::new(), |product| product.facts.name.to_string()),
        loans: totals.loans,
        outstanding: totals.outstanding,
        provision: totals.provision,
    };
    let products = ended.totals.iter().map(line).collect();
    Ok((seq, DaySlip { date, closed_at: moment_text(moment), products }))
}
