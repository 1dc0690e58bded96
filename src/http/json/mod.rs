//! From body bytes to engine commands.
//!
//! Promise: no body makes this panic, and every refusal names the field. There are two ways in:
//! 1. the **fast** one (`wire.rs`): serde over borrowed text, for transfers and batches, which says
//!    yes or "look closer", never why;
//! 2. the **slow** one (`tree.rs`, `fields.rs`): the body as a tree, walked field by field. It has the
//!    last word: it accepts as well, and where it refuses it lists what is wrong with every field.
//!
//! So an error is explained by one piece of code only, and the hot path carries none of it.

mod account;
mod api_key;
mod batch;
mod customer;
mod fields;
mod job;
mod loan;
mod loan_order;
mod order;
mod product;
mod sync_target;
mod transfer;
pub(in crate::http) mod tree;
mod webhook;
pub(in crate::http) mod wire;

use crate::domain::ids::{AccountNo, Seq, parse_account_id, parse_id};
use crate::domain::transfer::AccountRef;
use crate::engine::view::Unavailable;

use super::problem::{Code, FieldError, Outcome, Problem};

pub use account::{ChangeFields, parse_account, parse_account_change, parse_accounts};
pub use api_key::{parse_new_key, parse_rotation};
pub use batch::{BatchForm, parse_batch};
pub use customer::{CustomerFields, NewCustomerFields, parse_customer, parse_customer_change};
pub use job::{parse_job, parse_transfer_with_jobs};
pub use loan::{parse_loan_terms, refused as loan_refused};
pub use loan_order::{LendingResolver, REFERENCE_CHARS_MAX, parse_application, parse_day_opening, parse_loan_order};
pub use order::{PeriodReopening, parse_empty, parse_period_close, parse_period_reopen, parse_post, parse_reversal};
pub use product::{ProductFields, TermsFields, parse_product, parse_product_change, year_end_named};
pub use sync_target::{NewTarget, TargetChange, parse_new_target, parse_target_change};
pub use transfer::parse_transfer;
pub use webhook::{EndpointChange, NewEndpoint, Signing, parse_endpoint_change, parse_new_endpoint, parse_replay};

// What other formats share: the checks behind the syntax.
pub(in crate::http) use batch::{no_items, too_many};
pub(in crate::http) use fields::{ERRORS_MAX, is_at_most, is_metadata_key};
pub(in crate::http) use order::reversal_of;
pub(in crate::http) use transfer::{fast_item, fast_transfer, slow_item, transfer_of};

/// Looks up what `ext:…` names. May wait for the disk.
pub trait Resolver {
    /// The account with this external id, `ext:` included.
    ///
    /// # Errors
    /// [`Unavailable`].
    fn account(&self, text: &str) -> Result<Option<AccountNo>, Unavailable>;

    /// The transfer with this external id, `ext:` included.
    ///
    /// # Errors
    /// [`Unavailable`].
    fn transfer(&self, text: &str) -> Result<Option<Seq>, Unavailable>;
}

/// Prefix of a caller's own id wherever an account or transfer is named.
pub const EXTERNAL_PREFIX: &str = "ext:";

/// The account that a text names; a text that is no id names nothing.
///
/// # Errors
/// [`Unavailable`].
pub fn account_ref(text: &str, resolver: &impl Resolver) -> Result<AccountRef, Unavailable> {
    let no = match parse_account_id(text) {
        Some(no) => Some(no),
        None if text.starts_with(EXTERNAL_PREFIX) => resolver.account(text)?,
        None => None,
    };
    Ok(no.map_or(AccountRef::Unknown, AccountRef::No))
}

/// The seq that a text names as a transfer; it may still be none.
///
/// # Errors
/// [`Unavailable`].
pub fn transfer_ref(text: &str, resolver: &impl Resolver) -> Result<Option<Seq>, Unavailable> {
    match parse_id(crate::domain::ids::IdKind::Transfer, text) {
        Some(seq) => Ok(Some(Seq(seq))),
        None if text.starts_with(EXTERNAL_PREFIX) => resolver.transfer(text),
        None => Ok(None),
    }
}

/// The body as text. JSON is UTF-8 (RFC 8259, 8.1); checked once, so that no string is checked again.
fn utf8(body: &[u8]) -> Outcome<&str> {
    std::str::from_utf8(body)
        .map_err(|error| malformed(format!("The body is not UTF-8 at byte {}.", error.valid_up_to())))
}

fn malformed(detail: String) -> Box<Problem> {
    Problem::new(Code::MalformedJson, detail)
}

/// An error of serde_json: of the syntax, or of a bound that a tree keeps.
fn of_serde(error: &serde_json::Error, pointer: &str) -> Box<Problem> {
    if error.is_data() {
        let detail = "An object or a list was expected here, with a bounded number of values.".into();
        return Problem::of_fields(vec![FieldError { pointer: pointer.to_owned(), code: "wrong_type", detail }]);
    }
    let reason = if error.is_eof() { "it ends too early" } else { "it breaks the syntax, or nests too deeply" };
    malformed(format!("The body is not JSON at line {}, column {}: {reason}.", error.line(), error.column()))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    /// Knows what it is told.
    #[derive(Default)]
    pub struct Known {
        pub accounts: HashMap<&'static str, u32>,
        pub transfers: HashMap<&'static str, u64>,
        pub is_broken: bool,
    }

    impl Resolver for Known {
        fn account(&self, text: &str) -> Result<Option<AccountNo>, Unavailable> {
            if self.is_broken {
                return Err(Unavailable::ShuttingDown);
            }
            Ok(self.accounts.get(text).copied().map(AccountNo))
        }
        fn transfer(&self, text: &str) -> Result<Option<Seq>, Unavailable> {
            Ok(self.transfers.get(text).copied().map(Seq))
        }
    }

    /// What a refusal says: its code, then pointer and code of each field.
    pub fn said(problem: &Problem) -> String {
        let fields = problem.errors.iter().map(|error| format!(" {}={}", error.pointer, error.code));
        std::iter::once(problem.code.facts().name.to_owned()).chain(fields).collect()
    }

    #[test]
    fn names_of_accounts_are_ids_external_ids_or_nothing() {
        let known = Known { accounts: HashMap::from([("ext:CASH", 7)]), ..Known::default() };
        for (text, account) in [
            ("acct_0000000000001", AccountRef::No(AccountNo(0))),
            ("ext:CASH", AccountRef::No(AccountNo(7))),
            ("ext:cash", AccountRef::Unknown),
            ("CASH", AccountRef::Unknown),
            ("", AccountRef::Unknown),
        ] {
            assert_eq!(account_ref(text, &known).unwrap(), account, "{text}");
        }
    }
}
