//! What a caller can do about each refusal of the books.

use std::borrow::Cow;

use crate::domain::ids::account_id;
use crate::domain::reject::{Reject, RejectCode};

use super::lending;

/// What the caller can do about a refusal: a pure function, since replays must give the same bytes.
#[must_use]
pub fn reject_detail(reject: Reject) -> Cow<'static, str> {
    use RejectCode as R;
    let fixed = match reject.code {
        R::AmountMalformed => {
            "Write the amount as a decimal string such as \"1250.50\": at most 19 digits and at most one point."
        }
        R::AmountZero => "An amount is more than zero.",
        R::SameAccount => "Name two different accounts.",
        R::CurrencyMismatch => "Both accounts of a transfer have one currency.",
        R::AmountScale => {
            "The amount has more decimals than the currency, or more than 2^63-1 minor units. Nothing is rounded here."
        }
        R::ExternalIdExists => "External ids are unique for ever. Look the object up by it, or choose another one.",
        R::PeriodClosed => "Use an effective date after the closed period, or open the period again.",
        R::TransferNotFound => "No transfer has this id.",
        R::TransferNotPending => "It was posted, voided or has expired, or never was pending.",
        R::TransferNotPosted => "Only a posted transfer that is no reversal can be reversed.",
        R::AlreadyReversed => "A transfer can be reversed once.",
        R::AmountExceedsPending => "Post at most the amount that was held.",
        R::PeriodInvalid => "See GET /v1/periods for what is closed; a period ends before the business date.",
        R::AmountLimitExceeded => "Nothing was done. Somebody whose key may move more has to do it.",
        R::ApiKeyNotFound => "No API key has this id.",
        R::ApiKeyRevoked => "A revoked key stays revoked. Make a new one.",
        R::LastAdminKey => "Without it nobody could make keys. Make another admin key first.",
        R::TooManyApiKeys => "Keys are kept for ever, revoked ones too. Rotate keys instead of making new ones.",
        R::ObjectNotFound => "Nothing of that kind has the id that was given.",
        R::TooManyObjects => "There are as many of that kind as there may be. Change one that is not needed any more.",
        R::SameIdentity => "Somebody else has to approve it.",
        R::CustomerNotFound => "No customer has the id that was given.",
        R::BatchRefused => "Nothing was done. `errors` names the items that were refused.",
        R::AccountNotFound => match reject.account {
            None => "No account has the id that was given.",
            Some(no) => return Cow::Owned(format!("Account {} does not exist.", account_id(no))),
        },
        R::AccountClosed => return about(reject, "is closed. Open it before moving money on it."),
        R::AccountFrozen => return about(reject, "is frozen. Only voids and expiries work on it."),
        R::InsufficientFunds => return about(reject, "would leave the side that its balance rule allows."),
        R::BalanceOverflow => return about(reject, "would collect more than 64 bits of minor units."),
        R::AccountNotEmpty => return about(reject, "has a balance or open holds. Empty it before closing it."),
        R::VersionMismatch if reject.account.is_none() => "It is at another version. Read it again.",
        R::VersionMismatch => return about(reject, "is at another version. Read it again."),
        R::ControlAccount => {
            return about(
                reject,
                "is kept by lending: its balance is the sum over the loans. Post to the loan, or use another account.",
            );
        }
        R::AccountUnsuitable => {
            return about(
                reject,
                "is of another currency or type, has a balance rule, is not open, or is not empty. Leave it out to have one opened.",
            );
        }
        other => lending::detail(other),
    };
    Cow::Borrowed(fixed)
}

fn about(reject: Reject, predicate: &str) -> Cow<'static, str> {
    Cow::Owned(match reject.account {
        Some(no) => format!("Account {} {predicate}", account_id(no)),
        None => format!("The account {predicate}"),
    })
}
