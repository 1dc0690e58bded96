//! Loan products: making one, changing one.

use crate::config::NAME_CHARS_MAX;
use crate::domain::entry::Metadata;
use crate::domain::ids::AccountNo;
use crate::domain::lending::loan::contract::{Appropriation, LoanTerms, PARTS, PRINCIPAL_MAX};
use crate::domain::lending::product::{ACCOUNT_COUNT, ACCOUNT_PLANS, ProductFacts};
use crate::domain::lending::terms::{Terms, TermsError};
use crate::domain::transfer::AccountRef;
use crate::engine::command::NewProduct;
use rust_decimal::Decimal;

use super::super::lending::names::ACROSS;
use super::super::problem::{FieldError, Outcome, Problem};
use super::fields::Fields;
use super::loan::undated_terms;
use super::order::object;
use super::{Resolver, account_ref};

/// Days that a key facts statement holds where the product does not say: more than the three working days that
/// the regulator asks for.
const KFS_VALID_DAYS: u16 = 5;

/// Principal with which terms are tried where the product sets no bounds, whole units: a small one and a large one.
const TRIAL_PRINCIPALS: [i64; 2] = [100_000, 10_000_000];

/// What a body says of the terms, each part for itself.
#[derive(Clone, Debug, Default)]
pub struct TermsFields {
    /// Terms, the order of payments aside.
    pub terms: Option<LoanTerms>,
    /// In which order a payment is used up.
    pub order: Option<[crate::domain::lending::loan::contract::Part; 4]>,
    /// What comes first.
    pub across: Option<crate::domain::lending::loan::contract::Across>,
}

impl TermsFields {
    /// Whether nothing was said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.terms.is_none() && self.order.is_none() && self.across.is_none()
    }

    /// The terms after a change; `before` stands where nothing was said.
    #[must_use]
    pub fn over(self, before: &LoanTerms) -> LoanTerms {
        let terms = self.terms.unwrap_or_else(|| before.clone());
        let kept = before.appropriation;
        let appropriation =
            Appropriation { order: self.order.unwrap_or(kept.order), across: self.across.unwrap_or(kept.across) };
        LoanTerms { appropriation, ..terms }
    }
}

/// What can be changed of a product; `None` says nothing.
#[derive(Clone, Debug, Default)]
pub struct ProductFields {
    /// Its name.
    pub name: Option<Box<str>>,
    /// Its terms.
    pub terms: TermsFields,
    /// Least principal, paise.
    pub principal_min: Option<i64>,
    /// Greatest principal, paise.
    pub principal_max: Option<i64>,
    /// Validity of key facts statements.
    pub kfs_valid_days: Option<u16>,
    /// Whether somebody else pays out.
    pub disbursal_by_another: Option<bool>,
    /// The name of the year-end account; `Some(None)` removes it.
    pub year_end_account: Option<Option<String>>,
    /// All pairs.
    pub metadata: Option<Metadata>,
}

/// The body of `POST /v1/loan_products`.
///
/// # Errors
/// `malformed_json`, `unknown_field`, `validation_failed`, and what the resolver meets.
pub fn parse_product(body: &[u8], resolver: &impl Resolver) -> Outcome<NewProduct> {
    let (facts, named, year_end) = object(body, |fields| {
        let name: Box<str> = fields.filled_text("name", NAME_CHARS_MAX).into();
        fields.require("terms");
        let external_id = fields.external_id("external_id");
        let named = fields.object("accounts", account_names).unwrap_or_default();
        let is_secured = fields.flag("is_secured");
        let said = changeable(fields);
        let bare = LoanTerms::new(Terms { principal: Decimal::ZERO, ..Terms::default() });
        let facts = ProductFacts {
            name,
            external_id,
            terms: said.terms.over(&bare),
            principal_min: said.principal_min.unwrap_or(100),
            principal_max: said.principal_max.unwrap_or(PRINCIPAL_MAX * 100),
            kfs_valid_days: said.kfs_valid_days.unwrap_or(KFS_VALID_DAYS),
            is_secured,
            disbursal_by_another: said.disbursal_by_another.unwrap_or(false),
            year_end_account: None,
            metadata: said.metadata.unwrap_or_default(),
        };
        let trials = trials(said.principal_min, said.principal_max);
        (check_range(facts, fields, &trials), named, said.year_end_account.flatten())
    })?;
    let year_end_account = year_end.map(|text| year_end_named(&text, resolver)).transpose()?;
    let facts = ProductFacts { year_end_account, ..facts };
    let mut accounts = [None; ACCOUNT_COUNT];
    for (place, text) in named.iter().enumerate() {
        if let Some(text) = text {
            accounts[place] = Some(known(account_ref(text, resolver)?));
        }
    }
    Ok(NewProduct { facts, accounts })
}

/// The year-end account that a text names; one that does not exist is for the books to refuse.
///
/// # Errors
/// What the resolver meets.
pub fn year_end_named(text: &str, resolver: &impl Resolver) -> Outcome<AccountNo> {
    Ok(known(account_ref(text, resolver)?).unwrap_or(AccountNo::MAX))
}

/// The body of `PATCH /v1/loan_products/{id}`.
///
/// # Errors
/// As [`parse_product`]; a change of nothing is refused.
pub fn parse_product_change(body: &[u8]) -> Outcome<ProductFields> {
    object(body, |fields| {
        let name = fields.text_change("name", NAME_CHARS_MAX);
        if matches!(name.as_ref().map(Option::as_deref), Some(None | Some(""))) {
            fields.refuse("name", "invalid_value", "`name` cannot be empty; leave it out to keep it.");
        }
        let said = ProductFields { name: name.flatten().map(std::borrow::Cow::into), ..changeable(fields) };
        if let Some(terms) = &said.terms.terms {
            check_terms(terms, fields, &trials(said.principal_min, said.principal_max));
        }
        said
    })
    .and_then(|said| {
        let is_empty = said.name.is_none()
            && said.terms.is_empty()
            && said.principal_min.is_none()
            && said.principal_max.is_none()
            && said.kfs_valid_days.is_none()
            && said.disbursal_by_another.is_none()
            && said.year_end_account.is_none()
            && said.metadata.is_none();
        if !is_empty {
            return Ok(said);
        }
        let detail = "Name at least one field to change.".into();
        Err(Problem::of_fields(vec![FieldError { pointer: String::new(), code: "invalid_value", detail }]))
    })
}

/// The account that a reference leads to; one that leads nowhere is for the books to refuse.
pub(super) fn known(account: AccountRef) -> Option<AccountNo> {
    match account {
        AccountRef::No(no) => Some(no),
        AccountRef::Unknown => None,
    }
}

fn changeable(fields: &mut Fields<'_, '_>) -> ProductFields {
    let order = fields.texts("appropriation", 4, 16).map(|names| order_of(&names, fields));
    ProductFields {
        name: None,
        terms: TermsFields {
            terms: fields.object("terms", loan_terms),
            order: order.flatten(),
            across: fields.name_of("appropriation_across", &ACROSS),
        },
        principal_min: fields.paise("principal_min"),
        principal_max: fields.paise("principal_max"),
        year_end_account: fields
            .text_change("year_end_account", 256)
            .map(|text| text.map(std::borrow::Cow::into_owned)),
        disbursal_by_another: fields.has("disbursal_by_another").then(|| fields.flag("disbursal_by_another")),
        kfs_valid_days: days(fields, "kfs_valid_days", 1..=365),
        metadata: fields.metadata_change("metadata"),
    }
}

fn days(fields: &mut Fields<'_, '_>, name: &str, range: std::ops::RangeInclusive<i64>) -> Option<u16> {
    fields.whole(name, range).and_then(|days| u16::try_from(days).ok())
}

fn order_of(
    names: &[Box<str>],
    fields: &mut Fields<'_, '_>,
) -> Option<[crate::domain::lending::loan::contract::Part; 4]> {
    let part = |name: &str| PARTS.iter().find(|(_, known)| *known == name).map(|(part, _)| *part);
    let parts: Option<Vec<_>> = names.iter().map(|name| part(name)).collect();
    let order =
        parts.and_then(|parts| parts.try_into().ok()).map(|order| Appropriation { order, ..Appropriation::default() });
    let order = order.filter(Appropriation::is_permutation).map(|appropriation| appropriation.order);
    if order.is_none() {
        let detail = "`appropriation` names penal, fee, interest and principal once each, in the order of payment.";
        fields.refuse("appropriation", "invalid_value", detail);
    }
    order
}

/// Terms of a product, without principal and dates.
fn loan_terms(fields: &mut Fields<'_, '_>) -> LoanTerms {
    let bare = LoanTerms::new(undated_terms(fields));
    LoanTerms {
        penal_pct_per_month: fields.decimal("penal_pct_per_month").unwrap_or(bare.penal_pct_per_month),
        cooling_off_days: days(fields, "cooling_off_days", 0..=365).unwrap_or(bare.cooling_off_days),
        foreclosure_charge_pct: fields.decimal("foreclosure_charge_pct").unwrap_or(bare.foreclosure_charge_pct),
        charge_gst_pct: fields.decimal("charge_gst_pct").unwrap_or(bare.charge_gst_pct),
        sma1_dpd: days(fields, "sma1_dpd", 1..=3_660).unwrap_or(bare.sma1_dpd),
        sma2_dpd: days(fields, "sma2_dpd", 1..=3_660).unwrap_or(bare.sma2_dpd),
        npa_dpd: days(fields, "npa_dpd", 1..=3_660).unwrap_or(bare.npa_dpd),
        ..bare
    }
}

fn account_names(fields: &mut Fields<'_, '_>) -> [Option<Box<str>>; ACCOUNT_COUNT] {
    ACCOUNT_PLANS.each_ref().map(|plan| fields.text(plan.role, 256).map(std::borrow::Cow::into))
}

/// Principals to try terms with, whole units: the product's own bounds where it sets them.
fn trials(min: Option<i64>, max: Option<i64>) -> Vec<Decimal> {
    let own: Vec<Decimal> = min.into_iter().chain(max).map(|paise| Decimal::new(paise, 2)).collect();
    if own.is_empty() { TRIAL_PRINCIPALS.map(Decimal::from).to_vec() } else { own }
}

fn check_range(facts: ProductFacts, fields: &mut Fields<'_, '_>, trials: &[Decimal]) -> ProductFacts {
    if facts.principal_min > facts.principal_max || facts.principal_max > PRINCIPAL_MAX * 100 {
        let detail = "`principal_max` is at least `principal_min`, and at most 100000000000.";
        fields.refuse("principal_max", "invalid_value", detail);
    } else if facts.principal_min <= 0 {
        fields.refuse("principal_min", "invalid_value", "`principal_min` is more than zero.");
    } else {
        check_terms(&facts.terms, fields, trials);
    }
    facts
}

/// Terms are those of a loan if they make one with any of the principals; else the first says why not.
fn check_terms(terms: &LoanTerms, fields: &mut Fields<'_, '_>, trials: &[Decimal]) {
    let tried = |principal: &Decimal| {
        let calculation = Terms { principal: *principal, ..terms.calculation.clone() };
        LoanTerms { calculation, ..terms.clone() }.check()
    };
    let results: Vec<Result<(), TermsError>> = trials.iter().map(tried).collect();
    if fields.has_errors() || results.iter().any(Result::is_ok) {
        return;
    }
    if let Some(Err(error)) = results.first() {
        let (name, detail) = (error.field, format!("`{}` {}.", error.field, error.what));
        match name {
            "principal" => fields.refuse("principal_min", "invalid_value", detail),
            "appropriation" => fields.refuse("appropriation", "invalid_value", detail),
            _ => fields.refuse_at(&format!("/terms/{}", name.replace('.', "/")), "invalid_value", detail),
        }
    }
}
