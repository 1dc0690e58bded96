//! A transfer, alone or as an item of a batch.

use std::borrow::Cow;

use crate::config::{DESCRIPTION_CHARS_MAX, HOLD_SECONDS_MAX};
use crate::domain::entry::TransferCold;
use crate::domain::money::Decimal;
use crate::domain::time::Day;
use crate::domain::transfer::{HoldTerms, NewTransfer};
use crate::engine::command::BatchItem;
use crate::engine::view::Unavailable;

use super::super::problem::{FieldError, Outcome, Problem};
use super::fields::{Fields, is_at_most, is_external_id};
use super::tree::Tree;
use super::wire::Wire;
use super::{Resolver, account_ref, of_serde, transfer_ref, utf8};

/// Characters of an account's or transfer's name in a body: `ext:` and an external id, or an id.
/// Longer texts name nothing that exists; they are refused by shape so that no look-up sees them.
const REFERENCE_CHARS_MAX: usize = 256;

/// The ops of a batch item other than a new transfer.
const OPS: [(bool, &str); 2] = [(true, "post"), (false, "void")];

/// The body of `POST /v1/transfers`.
///
/// # Errors
/// `malformed_json`, `unknown_field`, `validation_failed`, or what the resolver says.
pub fn parse_transfer(body: &[u8], resolver: &impl Resolver) -> Outcome<NewTransfer> {
    let text = utf8(body)?;
    if let Ok(wire) = serde_json::from_str::<Wire<'_>>(text)
        && wire.op.is_none()
        && wire.transfer.is_none()
        && let Some(transfer) = fast_transfer(wire, resolver)?
    {
        return Ok(transfer);
    }
    transfer_of(Tree::read(text).map_err(|error| of_serde(&error, ""))?, resolver)
}

/// The transfer of a tree, or what is wrong with every field.
///
/// # Errors
/// `unknown_field`, `validation_failed`, or what the resolver says.
pub fn transfer_of(tree: Tree<'_>, resolver: &impl Resolver) -> Outcome<NewTransfer> {
    let mut errors = Vec::new();
    let mut fields = Fields::of(tree, String::new(), &mut errors);
    let transfer = slow_transfer(&mut fields, resolver)?;
    fields.finish();
    if errors.is_empty() { Ok(transfer) } else { Err(Problem::of_fields(errors)) }
}

/// The item that the fast way has read, or `None` when the slow way should look.
///
/// # Errors
/// [`Unavailable`].
pub fn fast_item(wire: Wire<'_>, resolver: &impl Resolver) -> Result<Option<BatchItem>, Unavailable> {
    let Some(op) = &wire.op else {
        if wire.transfer.is_some() {
            return Ok(None);
        }
        return Ok(fast_transfer(wire, resolver)?.map(BatchItem::New));
    };
    let is_bare = wire.debit_account.is_none()
        && wire.credit_account.is_none()
        && wire.code.is_none()
        && wire.external_id.is_none()
        && wire.effective_date.is_none()
        && wire.description.is_none()
        && wire.metadata.is_none()
        && wire.pending.is_none()
        && wire.expires_in_s.is_none();
    let Some(transfer) = wire.transfer.as_ref().filter(|text| is_bare && text.0.len() <= REFERENCE_CHARS_MAX) else {
        return Ok(None);
    };
    Ok(match (op.0.as_ref(), wire.amount) {
        ("post", amount) => {
            let transfer = transfer_ref(&transfer.0, resolver)?;
            Some(BatchItem::Post { transfer, amount: amount.map(|amount| amount.0) })
        }
        ("void", None) => Some(BatchItem::Void { transfer: transfer_ref(&transfer.0, resolver)? }),
        _ => None,
    })
}

/// Reads one item of a batch the slow way; errors go to `errors` with `base` before their pointers.
///
/// # Errors
/// [`Unavailable`].
pub fn slow_item(
    tree: Tree<'_>,
    base: String,
    resolver: &impl Resolver,
    errors: &mut Vec<FieldError>,
) -> Result<BatchItem, Unavailable> {
    let mut fields = Fields::of(tree, base, errors);
    let item = if fields.has("op") {
        let is_post = fields.name_of("op", &OPS).unwrap_or(true);
        let text = fields.required_text("transfer", REFERENCE_CHARS_MAX);
        let transfer = transfer_ref(&text, resolver)?;
        if is_post {
            BatchItem::Post { transfer, amount: fields.amount("amount") }
        } else {
            BatchItem::Void { transfer }
        }
    } else {
        fields.skip_null("op");
        fields.skip_null("transfer");
        BatchItem::New(slow_transfer(&mut fields, resolver)?)
    };
    fields.finish();
    Ok(item)
}

/// The transfer that the fast way has read, or `None` when the slow way should look.
///
/// # Errors
/// [`Unavailable`].
#[inline]
pub fn fast_transfer(wire: Wire<'_>, resolver: &impl Resolver) -> Result<Option<NewTransfer>, Unavailable> {
    let (Some(debit), Some(credit), Some(amount)) = (&wire.debit_account, &wire.credit_account, wire.amount) else {
        return Ok(None);
    };
    let refers = debit.0.len() <= REFERENCE_CHARS_MAX && credit.0.len() <= REFERENCE_CHARS_MAX;
    let Some(hold) = hold_terms(wire.pending.unwrap_or(false), wire.expires_in_s).filter(|_| refers) else {
        return Ok(None);
    };
    let effective = match &wire.effective_date {
        None => None,
        Some(text) => match Day::parse(&text.0) {
            Some(day) => Some(day),
            None => return Ok(None),
        },
    };
    if wire.external_id.as_ref().is_some_and(|text| !is_external_id(&text.0))
        || wire.description.as_ref().is_some_and(|text| !is_at_most(&text.0, DESCRIPTION_CHARS_MAX))
    {
        return Ok(None);
    }
    let sides = Sides { debit: &debit.0, credit: &credit.0 };
    let terms = Terms { amount: amount.0, code: wire.code.unwrap_or(0), effective, hold };
    let cold = if wire.external_id.is_none() && wire.description.is_none() && wire.metadata.is_none() {
        None
    } else {
        boxed(TransferCold {
            external_id: wire.external_id.map(|text| text.0.into()),
            description: wire.description.map(|text| text.0.into()),
            metadata: wire.metadata.map(|pairs| pairs.0).unwrap_or_default(),
        })
    };
    assembled(&sides, terms, cold, resolver).map(Some)
}

fn slow_transfer(fields: &mut Fields<'_, '_>, resolver: &impl Resolver) -> Result<NewTransfer, Unavailable> {
    let debit = fields.required_text("debit_account", REFERENCE_CHARS_MAX);
    let credit = fields.required_text("credit_account", REFERENCE_CHARS_MAX);
    fields.require("amount");
    let amount = fields.amount("amount");
    let cold = TransferCold {
        external_id: fields.external_id("external_id"),
        description: fields.text("description", DESCRIPTION_CHARS_MAX).map(Cow::into),
        metadata: fields.metadata("metadata").unwrap_or_default(),
    };
    let is_pending = fields.flag("pending");
    let expires_in_s = fields.whole("expires_in_s", 1..=HOLD_SECONDS_MAX);
    let hold = hold_terms(is_pending, expires_in_s).unwrap_or_else(|| {
        fields.refuse("expires_in_s", "invalid_value", "Only a pending transfer can expire: set `pending`.");
        HoldTerms::Post
    });
    let terms =
        Terms { amount: amount.flatten(), code: fields.code("code"), effective: fields.day("effective_date"), hold };
    assembled(&Sides { debit: &debit, credit: &credit }, terms, boxed(cold), resolver)
}

/// `None` when the two fields contradict each other or the life is out of bounds.
fn hold_terms(is_pending: bool, expires_in_s: Option<i64>) -> Option<HoldTerms> {
    match (is_pending, expires_in_s) {
        (false, None) => Some(HoldTerms::Post),
        (true, None) => Some(HoldTerms::Hold),
        (true, Some(seconds)) if (1..=HOLD_SECONDS_MAX).contains(&seconds) => {
            Some(HoldTerms::HoldFor { us: seconds * 1_000_000 })
        }
        _ => None,
    }
}

struct Sides<'a> {
    debit: &'a str,
    credit: &'a str,
}

#[derive(Clone, Copy)]
struct Terms {
    amount: Option<Decimal>,
    code: u32,
    effective: Option<Day>,
    hold: HoldTerms,
}

#[inline]
fn assembled(
    sides: &Sides<'_>,
    terms: Terms,
    cold: Option<Box<TransferCold>>,
    resolver: &impl Resolver,
) -> Result<NewTransfer, Unavailable> {
    Ok(NewTransfer {
        debit: account_ref(sides.debit, resolver)?,
        credit: account_ref(sides.credit, resolver)?,
        same_text: sides.debit == sides.credit,
        amount: terms.amount,
        code: terms.code,
        effective: terms.effective,
        hold: terms.hold,
        cold,
    })
}

/// Texts that say nothing are no texts: both ways must give the same command.
fn boxed(cold: TransferCold) -> Option<Box<TransferCold>> {
    (cold != TransferCold::default()).then(|| Box::new(cold))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::{Known, said};
    use super::*;
    use crate::domain::ids::AccountNo;
    use crate::domain::transfer::AccountRef;

    const DEBIT: &str = "acct_0000000000001";
    const CREDIT: &str = "acct_0000000000002";

    fn with(more: &str) -> String {
        format!(r#"{{"debit_account":"{DEBIT}","credit_account":"{CREDIT}"{more}}}"#)
    }

    #[test]
    fn bodies_are_taken_or_told_what_is_wrong() {
        let ok = "";
        let table: &[(String, &str)] = &[
            (with(r#","amount":"1""#), ok),
            (with(r#","amount":1"#), ok),
            (with(r#","amount":1.5"#), ok),
            (with(r#","amount":"-1""#), ok),
            (with(r#","amount":"1","code":4294967295,"external_id":null,"pending":true,"expires_in_s":1"#), ok),
            (with(r#","amount":"1","metadata":{"b":"2","a":"1"},"description":"x","effective_date":"2026-11-21""#), ok),
            (with(r#","amount":"1","debit_account":"x""#), "validation_failed /debit_account=duplicate"),
            (with(r#","amount":true"#), "validation_failed /amount=wrong_type"),
            (with(""), "validation_failed /amount=missing"),
            (with(r#","amount":"1","ammount":"1""#), "unknown_field /ammount=unknown_field"),
            (with(r#","amount":"1","op":"post""#), "unknown_field /op=unknown_field"),
            (with(r#","amount":"1","a/b~c":1"#), "unknown_field /a~1b~0c=unknown_field"),
            (with(r#","amount":"1","code":-1"#), "validation_failed /code=invalid_value"),
            (with(r#","amount":"1","code":4294967296"#), "validation_failed /code=invalid_value"),
            (with(r#","amount":"1","code":1.0"#), "validation_failed /code=wrong_type"),
            (with(r#","amount":"1","code":"1""#), "validation_failed /code=wrong_type"),
            (with(r#","amount":"1","external_id":"""#), "validation_failed /external_id=invalid_value"),
            (with(r#","amount":"1","external_id":"a b""#), "validation_failed /external_id=invalid_value"),
            (with(r#","amount":"1","effective_date":"2026-02-30""#), "validation_failed /effective_date=invalid_value"),
            (with(r#","amount":"1","pending":1"#), "validation_failed /pending=wrong_type"),
            (with(r#","amount":"1","expires_in_s":1"#), "validation_failed /expires_in_s=invalid_value"),
            (with(r#","amount":"1","pending":true,"expires_in_s":0"#), "validation_failed /expires_in_s=invalid_value"),
            (with(r#","amount":"1","metadata":{"a":1}"#), "validation_failed /metadata=invalid_value"),
            (with(r#","amount":"1","metadata":{"a":"1","a":"2"}"#), "validation_failed /metadata=duplicate"),
            (with(r#","amount":"1","metadata":[]"#), "validation_failed /metadata=wrong_type"),
            (
                r#"{"debit_account":1,"x":2}"#.into(),
                "unknown_field /debit_account=wrong_type /credit_account=missing /amount=missing /x=unknown_field",
            ),
            (
                "[]".into(),
                "validation_failed =wrong_type /debit_account=missing /credit_account=missing /amount=missing",
            ),
            ("{".into(), "malformed_json"),
            (String::new(), "malformed_json"),
            ("{} {}".into(), "malformed_json"),
            ("[".repeat(10_000), "malformed_json"),
        ];
        for (body, expected) in table {
            let result = parse_transfer(body.as_bytes(), &Known::default());
            let found = result.map_or_else(|problem| said(&problem), |_| String::new());
            assert_eq!(&found, expected, "{body}");
        }
    }

    #[test]
    fn limits_are_counted_in_characters() {
        let described = |count| with(&format!(r#","amount":"1","description":"{}""#, "ü".repeat(count)));
        assert!(parse_transfer(described(500).as_bytes(), &Known::default()).is_ok());
        let problem = parse_transfer(described(501).as_bytes(), &Known::default()).unwrap_err();
        assert_eq!(said(&problem), "validation_failed /description=too_long");
        let pairs = |count: usize| {
            let pairs: Vec<String> = (0..count).map(|n| format!(r#""{n}":"v""#)).collect();
            with(&format!(r#","amount":"1","metadata":{{{}}}"#, pairs.join(",")))
        };
        assert!(parse_transfer(pairs(50).as_bytes(), &Known::default()).is_ok());
        assert!(parse_transfer(pairs(51).as_bytes(), &Known::default()).is_err());
    }

    #[test]
    fn names_are_looked_up() {
        let known = Known { accounts: [("ext:A", 8)].into(), ..Known::default() };
        let body = br#"{"debit_account":"ext:A","credit_account":"nonsense","amount":"1"}"#;
        let transfer = parse_transfer(body, &known).unwrap();
        assert_eq!((transfer.debit, transfer.credit), (AccountRef::No(AccountNo(8)), AccountRef::Unknown));
        assert!(!transfer.same_text);
        let body = br#"{"debit_account":"nonsense","credit_account":"nonsense","amount":"1"}"#;
        assert!(parse_transfer(body, &known).unwrap().same_text);
        let broken = Known { is_broken: true, ..Known::default() };
        let body = br#"{"debit_account":"ext:A","credit_account":"b","amount":"1"}"#;
        assert_eq!(said(&parse_transfer(body, &broken).unwrap_err()), "draining");
    }

    /// JSON-ish members, right and wrong.
    fn member() -> impl Strategy<Value = String> {
        let name = prop::sample::select(vec![
            "op",
            "transfer",
            "debit_account",
            "credit_account",
            "amount",
            "code",
            "external_id",
            "effective_date",
            "description",
            "metadata",
            "pending",
            "expires_in_s",
            "other",
        ]);
        let value = prop_oneof![
            prop::sample::select(vec![
                "null",
                "true",
                "false",
                "0",
                "1",
                "-1",
                "1.5",
                "1e3",
                "\"\"",
                "\"x\"",
                "\"12.50\"",
                "\"post\"",
                "\"void\"",
                "\"2026-01-31\"",
                "\"acct_0000000000001\"",
                "\"tr_0000000000001\"",
                "{}",
                "[]",
                "{\"a\":\"b\"}",
                "{\"a\":1}",
                "\"\\u00e9\\n\"",
                "3600",
                "99999999999",
                "1e999",
                "{\"b\":\"1\",\"a\":\"2\"}",
            ])
            .prop_map(str::to_owned),
            any::<u32>().prop_map(|number| number.to_string()),
        ];
        (name, value).prop_map(|(name, value)| format!("\"{name}\":{value}"))
    }

    proptest! {
        #[test]
        fn the_fast_way_says_what_the_slow_way_says(members in prop::collection::vec(member(), 0..8), tail in "[ }x]{0,2}") {
            let text = format!("{{{}}}{tail}", members.join(","));
            let known = Known::default();
            let fast = serde_json::from_str::<Wire<'_>>(&text).ok().and_then(|wire| fast_item(wire, &known).unwrap());
            let mut errors = Vec::new();
            let slow = Tree::read(&text).ok().map(|tree| slow_item(tree, String::new(), &known, &mut errors).unwrap());
            if let Some(fast) = fast {
                prop_assert_eq!(&errors, &Vec::new());
                prop_assert_eq!(format!("{fast:?}"), format!("{:?}", slow.expect("what serde takes is JSON")));
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse_transfer(&bytes, &Known::default());
        }
    }
}
