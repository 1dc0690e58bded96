//! Loan products as JSON: terms by the names that the requests have.

use rust_decimal::Decimal;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::domain::ids::{IdKind, account_id, format_id};
use crate::domain::lending::day_count::DAY_COUNTS;
use crate::domain::lending::due_dates::{FREQUENCIES, HOLIDAY_SHIFTS};
use crate::domain::lending::loan::contract::{LoanTerms, PARTS};
use crate::domain::lending::product::ACCOUNT_PLANS;
use crate::domain::lending::rounding::MODES;
use crate::domain::lending::terms::{BROKEN_PERIODS, METHODS, MORATORIUM_INTERESTS, PAYEES, Rounding, Terms};
use crate::engine::view::ProductView;

use super::super::lending::names::{ACROSS, name_in};
use super::{Pairs, moment_text, rupees_text};

#[derive(Serialize)]
struct Product<'a> {
    object: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dry_run: Option<bool>,
    external_id: Option<&'a str>,
    name: &'a str,
    terms: ShownTerms<'a>,
    appropriation: [&'static str; 4],
    appropriation_across: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    accounts: Option<Map<String, Value>>,
    principal_min: String,
    principal_max: String,
    kfs_valid_days: u16,
    is_secured: bool,
    disbursal_by_another: bool,
    year_end_account: Option<String>,
    metadata: Pairs<'a>,
    version: u32,
    created_at: String,
}

/// Terms of a loan or product as they were given.
#[derive(Serialize)]
pub(in crate::http) struct ShownTerms<'a> {
    annual_rate_pct: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    instalments: Option<u32>,
    frequency: &'static str,
    method: &'static str,
    day_count: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    broken_period: Option<&'static str>,
    rounding: ShownRounding,
    #[serde(skip_serializing_if = "Option::is_none")]
    instalment_fixed: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    principal_fixed: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    balloon: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    moratorium: Option<ShownMoratorium>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    steps: Vec<ShownStep>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    holidays: Vec<String>,
    holiday_shift: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    charges: Vec<ShownCharge<'a>>,
    apr_with_gst: bool,
    penal_pct_per_month: String,
    cooling_off_days: u16,
    foreclosure_charge_pct: String,
    charge_gst_pct: String,
    sma1_dpd: u16,
    sma2_dpd: u16,
    npa_dpd: u16,
}

#[derive(Serialize)]
struct ShownRounding {
    instalment: String,
    interest: String,
    mode: &'static str,
    display: String,
}

#[derive(Serialize)]
struct ShownMoratorium {
    periods: u32,
    interest: &'static str,
}

#[derive(Serialize)]
struct ShownStep {
    from: u32,
    instalment_pct: String,
}

#[derive(Serialize)]
struct ShownCharge<'a> {
    name: &'a str,
    amount: String,
    payee: &'static str,
    gst_pct: String,
}

#[derive(Serialize)]
struct List<'a> {
    object: &'static str,
    url: &'a str,
    has_more: bool,
    data: Vec<Product<'a>>,
}

/// A product object.
///
/// # Errors
/// None that can happen: the shape has string keys only.
pub fn product(view: &ProductView) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(&object(view))
}

/// A page of products, newest first.
///
/// # Errors
/// As [`product`].
pub fn product_page(rows: &[ProductView], has_more: bool, url: &str) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(&List { object: "list", url, has_more, data: rows.iter().map(object).collect() })
}

fn object(view: &ProductView) -> Product<'_> {
    let ProductView { last_seq, saved } = view;
    let facts = &saved.facts;
    let is_dry = last_seq.is_none();
    let account = |(place, plan): (usize, &crate::domain::lending::product::AccountPlan)| {
        (plan.role.to_owned(), account_id(saved.accounts[place]).into())
    };
    Product {
        object: "loan_product",
        id: (!is_dry).then(|| format_id(IdKind::Product, u64::from(saved.number))),
        dry_run: is_dry.then_some(true),
        external_id: facts.external_id.as_deref(),
        name: &facts.name,
        terms: terms(&facts.terms),
        appropriation: facts.terms.appropriation.order.map(|part| name_in(&PARTS, &part)),
        appropriation_across: name_in(&ACROSS, &facts.terms.appropriation.across),
        // A dry run has opened none.
        accounts: (!is_dry).then(|| ACCOUNT_PLANS.iter().enumerate().map(account).collect()),
        principal_min: rupees_text(facts.principal_min),
        principal_max: rupees_text(facts.principal_max),
        kfs_valid_days: facts.kfs_valid_days,
        is_secured: facts.is_secured,
        disbursal_by_another: facts.disbursal_by_another,
        year_end_account: facts.year_end_account.map(account_id),
        metadata: Pairs(&facts.metadata),
        version: saved.version,
        created_at: moment_text(saved.created_at),
    }
}

/// A decimal as short as it goes.
pub(in crate::http) fn plain(figure: Decimal) -> String {
    figure.normalize().to_string()
}

/// Terms as they were given, what they leave out filled in.
pub(in crate::http) fn terms(of: &LoanTerms) -> ShownTerms<'_> {
    let Terms { instalments, moratorium, .. } = of.calculation;
    let calculation = &of.calculation;
    ShownTerms {
        annual_rate_pct: plain(calculation.annual_rate_pct),
        instalments,
        frequency: name_in(&FREQUENCIES, &calculation.frequency),
        method: name_in(&METHODS, &calculation.method),
        day_count: name_in(&DAY_COUNTS, &calculation.day_count),
        broken_period: calculation.broken_period.map(|rule| name_in(&BROKEN_PERIODS, &rule)),
        rounding: rounding(&calculation.rounding),
        instalment_fixed: calculation.instalment_fixed.map(plain),
        principal_fixed: calculation.principal_fixed.map(plain),
        balloon: calculation.balloon.map(plain),
        moratorium: moratorium.map(|moratorium| ShownMoratorium {
            periods: moratorium.periods,
            interest: name_in(&MORATORIUM_INTERESTS, &moratorium.interest),
        }),
        steps: calculation
            .steps
            .iter()
            .map(|step| ShownStep { from: step.from, instalment_pct: plain(step.instalment_pct) })
            .collect(),
        holidays: calculation.holidays.iter().map(ToString::to_string).collect(),
        holiday_shift: name_in(&HOLIDAY_SHIFTS, &calculation.holiday_shift),
        charges: calculation
            .charges
            .iter()
            .map(|charge| ShownCharge {
                name: &charge.name,
                amount: plain(charge.amount),
                payee: name_in(&PAYEES, &charge.payee),
                gst_pct: plain(charge.gst_pct),
            })
            .collect(),
        apr_with_gst: calculation.apr_with_gst,
        penal_pct_per_month: plain(of.penal_pct_per_month),
        cooling_off_days: of.cooling_off_days,
        foreclosure_charge_pct: plain(of.foreclosure_charge_pct),
        charge_gst_pct: plain(of.charge_gst_pct),
        sma1_dpd: of.sma1_dpd,
        sma2_dpd: of.sma2_dpd,
        npa_dpd: of.npa_dpd,
    }
}

fn rounding(of: &Rounding) -> ShownRounding {
    let multiple = |unit: Option<Decimal>| unit.map_or("none".to_owned(), plain);
    ShownRounding {
        instalment: multiple(of.instalment),
        interest: multiple(of.interest),
        mode: name_in(&MODES, &of.mode),
        display: plain(of.display),
    }
}
