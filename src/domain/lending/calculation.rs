//! The whole answer to "what would this loan be?": rows, totals, and the figures of a key facts statement.

use rust_decimal::Decimal;

use super::rounding::{Mode, round_to};
use super::schedule::{Row, Schedule, schedule};
use super::terms::{AMOUNT_MAX, Terms, TermsError};
use super::yields::{Flow, effective_of, internal_rate, nominal_of, xirr};
use crate::domain::time::Day;

/// How the APR came out where all periods are whole.
pub const METHOD_PERIODIC: &str = "nominal: internal rate of a period x periods of a year, not compounded; on what is \
                                   paid out after all charges, third parties' included, with their tax; unrounded \
                                   instalments (RBI/2024-25/18, annex B)";

/// The same where tax on charges is left out.
pub const METHOD_PERIODIC_NET: &str = "nominal: internal rate of a period x periods of a year, not compounded; on what \
                                       is paid out after all charges, third parties' included, without their tax; \
                                       unrounded instalments (RBI/2024-25/18, annex B)";

/// How it came out where they are not.
pub const METHOD_DATED: &str = "nominal: the effective rate of the dated payments (days/365), turned into the nominal \
                                one of the instalments' frequency; on what is paid out after all charges, third \
                                parties' included, with their tax; unrounded instalments";

/// The same where tax on charges is left out.
pub const METHOD_DATED_NET: &str = "nominal: the effective rate of the dated payments (days/365), turned into the \
                                    nominal one of the instalments' frequency; on what is paid out after all charges, \
                                    third parties' included, without their tax; unrounded instalments";

/// What a loan would be. Figures are exact: [`Calculation::shown`] rounds one for showing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Calculation {
    /// Rows.
    pub schedule: Schedule,
    /// Interest of all rows.
    pub total_interest: Decimal,
    /// All that is paid: instalments and what is paid ahead.
    pub total_payable: Decimal,
    /// What the borrower gets: the principal without charges and their tax.
    pub net_disbursed: Decimal,
    /// Annual percentage rate, two decimals.
    pub apr_pct: Decimal,
    /// How it was worked out.
    pub apr_method: &'static str,
    /// The same payments' effective rate in a year, per cent, two decimals: beyond what the KFS asks for.
    pub effective_pct: Option<Decimal>,
    /// Multiple that is shown.
    display: Decimal,
}

impl Calculation {
    /// A figure as it is shown.
    #[must_use]
    pub fn shown(&self, figure: Decimal) -> Decimal {
        round_to(figure, Some(self.display), Mode::HalfUp)
    }
}

/// Works a loan out.
///
/// # Errors
/// Terms that make no loan, or one whose rate cannot be stated.
pub fn calculate(terms: &Terms) -> Result<Calculation, TermsError> {
    let made = schedule(terms)?;
    let total_interest: Decimal = made.rows.iter().map(|row| row.interest).sum();
    let total_payable = made.rows.iter().map(|row| row.instalment + row.prepaid).sum();
    let net_disbursed = terms.principal - terms.charges_with_gst();
    let yearly = annual_rates(terms)?;
    let pct = |rate: Decimal| round_to(rate * Decimal::ONE_HUNDRED, Some(Decimal::new(1, 2)), Mode::HalfUp);
    Ok(Calculation {
        schedule: made,
        total_interest,
        total_payable,
        net_disbursed,
        apr_pct: pct(yearly.apr),
        apr_method: yearly.method,
        // A daily rate of some per cent compounds to what nobody can read, nor a decimal hold.
        effective_pct: yearly.effective.filter(|rate| rate.abs() < Decimal::from(AMOUNT_MAX)).map(pct),
        display: terms.rounding.display,
    })
}

/// Rates of a year, as parts of 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnnualRates {
    /// Nominal.
    pub apr: Decimal,
    /// Compounded.
    pub effective: Option<Decimal>,
    /// How.
    pub method: &'static str,
}

/// The APR of terms as they were agreed: nothing paid ahead, instalments not rounded.
///
/// # Errors
/// Terms that make no loan, or one whose rate cannot be stated.
pub fn annual_rates(terms: &Terms) -> Result<AnnualRates, TermsError> {
    let exact = terms.exact();
    let made = schedule(&exact)?;
    let taken: Decimal = if terms.apr_with_gst {
        terms.charges_with_gst()
    } else {
        terms.charges.iter().map(|charge| charge.amount).sum()
    };
    let paid_out = -(terms.principal - taken);
    let periods = terms.frequency.per_year();
    let unsolvable =
        || TermsError::new("charges", "leave an annual rate that cannot be stated (over 100,000 % a period)");
    if made.is_regular {
        let flows =
            flows_of(paid_out, made.rows.iter().map(|row| Some((row.n, row.instalment)))).ok_or_else(unsolvable)?;
        let rate = internal_rate(&flows).ok_or_else(unsolvable)?;
        let method = if terms.apr_with_gst { METHOD_PERIODIC } else { METHOD_PERIODIC_NET };
        return Ok(AnnualRates { apr: rate * Decimal::from(periods), effective: effective_of(rate, periods), method });
    }
    let start = terms.start()?.unwrap_or_default();
    let days = |row: &Row| row.due_on.map(|due: Day| (u32::from(due.0.saturating_sub(start.0)), row.instalment));
    let flows = flows_of(paid_out, made.rows.iter().map(days)).ok_or_else(unsolvable)?;
    let effective = xirr(&flows).ok_or_else(unsolvable)?;
    let method = if terms.apr_with_gst { METHOD_DATED } else { METHOD_DATED_NET };
    let apr = nominal_of(effective, periods).ok_or_else(unsolvable)?;
    Ok(AnnualRates { apr, effective: Some(effective), method })
}

fn flows_of(paid_out: Decimal, paid_in: impl Iterator<Item = Option<Flow>>) -> Option<Vec<Flow>> {
    let mut flows = vec![(0, paid_out)];
    for flow in paid_in {
        flows.push(flow?);
    }
    Some(flows)
}
