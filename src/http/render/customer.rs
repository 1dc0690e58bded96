//! Customers as JSON.

use serde::Serialize;

use crate::domain::ids::{IdKind, format_id};
use crate::engine::view::CustomerView;

use super::{Pairs, moment_text};

/// Secrets as this caller may see them.
#[derive(Clone, Debug, Default)]
pub struct ShownSecrets {
    /// The PAN.
    pub pan: Option<String>,
    /// The bank account's number.
    pub bank_account: Option<String>,
}

/// A customer and its secrets as they may be seen.
pub type ShownCustomer = (CustomerView, ShownSecrets);

#[derive(Serialize)]
struct Customer<'a> {
    object: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dry_run: Option<bool>,
    external_id: Option<&'a str>,
    kind: &'static str,
    name: &'a str,
    born_on: Option<String>,
    phone: Option<&'a str>,
    email: Option<&'a str>,
    address: Option<&'a str>,
    pan: Option<&'a str>,
    bank_account: Option<&'a str>,
    ifsc: Option<&'a str>,
    metadata: Pairs<'a>,
    version: u32,
    created_at: String,
}

#[derive(Serialize)]
struct List<'a> {
    object: &'static str,
    url: &'a str,
    has_more: bool,
    data: Vec<Customer<'a>>,
}

/// A customer object.
///
/// # Errors
/// None that can happen: the shape has string keys only.
pub fn customer(shown: &ShownCustomer) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(&object(shown))
}

/// A page of customers, newest first.
///
/// # Errors
/// As [`customer`].
pub fn customer_page(rows: &[ShownCustomer], has_more: bool, url: &str) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(&List { object: "list", url, has_more, data: rows.iter().map(object).collect() })
}

fn object((view, secrets): &ShownCustomer) -> Customer<'_> {
    let CustomerView { last_seq, saved } = view;
    let facts = &saved.facts;
    Customer {
        object: "customer",
        id: last_seq.is_some().then(|| format_id(IdKind::Customer, u64::from(saved.number))),
        dry_run: last_seq.is_none().then_some(true),
        external_id: facts.external_id.as_deref(),
        kind: facts.kind.name(),
        name: &facts.name,
        born_on: facts.born_on.map(|day| day.to_string()),
        phone: facts.phone.as_deref(),
        email: facts.email.as_deref(),
        address: facts.address.as_deref(),
        pan: secrets.pan.as_deref(),
        bank_account: secrets.bank_account.as_deref(),
        ifsc: facts.ifsc.as_deref(),
        metadata: Pairs(&facts.metadata),
        version: saved.version,
        created_at: moment_text(saved.created_at),
    }
}
