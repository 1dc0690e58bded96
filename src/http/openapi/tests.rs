//! The tables of the description against the code that they describe.

use std::collections::BTreeSet;

use super::*;
use crate::http::json;
use crate::http::problem::Outcome;
use crate::http::resources::Operation as Op;

/// Names that any request schema has, and some that none has.
fn names() -> BTreeSet<&'static str> {
    let known = schemas::SCHEMAS.iter().filter(|schema| schema.is_request);
    known.flat_map(|schema| schema.fields).map(|field| field.name).chain(["object", "id", "balances"]).collect()
}

/// Nobody.
struct Nobody;

impl json::Resolver for Nobody {
    fn account(&self, _: &str) -> Result<Option<crate::domain::ids::AccountNo>, crate::engine::view::Unavailable> {
        Ok(None)
    }
    fn transfer(&self, _: &str) -> Result<Option<crate::domain::ids::Seq>, crate::engine::view::Unavailable> {
        Ok(None)
    }
}

impl json::LendingResolver for Nobody {
    fn customer_named(&self, _: &str) -> Result<Option<u32>, crate::engine::view::Unavailable> {
        Ok(None)
    }
    fn product_named(&self, _: &str) -> Result<Option<u32>, crate::engine::view::Unavailable> {
        Ok(None)
    }
}

/// What a body asks of a loan.
fn order(operation: Op, body: &[u8]) -> Outcome<()> {
    json::parse_loan_order(operation, (1, crate::domain::ids::Seq(7)), body, &Nobody).map(drop)
}

type Parse = fn(&[u8]) -> Outcome<()>;

const PARSERS: &[(&Schema, Parse)] = &[
    (&schemas::NEW_SINGLE_TRANSFER, |body| json::parse_transfer_with_jobs(body, &Nobody).map(drop)),
    (&schemas::NEW_JOB, |body| json::parse_job(body).map(drop)),
    (&schemas::NEW_WEBHOOK_ENDPOINT, |body| json::parse_new_endpoint(body).map(drop)),
    (&sync::NEW_SYNC_TARGET, |body| json::parse_new_target(body).map(drop)),
    (&sync::SYNC_TARGET_CHANGE, |body| json::parse_target_change(body).map(drop)),
    (&schemas::WEBHOOK_ENDPOINT_CHANGE, |body| json::parse_endpoint_change(body).map(drop)),
    (&schemas::NEW_REPLAY, |body| json::parse_replay(body).map(drop)),
    (&schemas::NEW_TRANSFER, |body| json::parse_transfer(body, &Nobody).map(drop)),
    (&schemas::NEW_BATCH, |body| json::parse_batch(body, json::BatchForm::Json, &Nobody).map(drop)),
    (&schemas::NEW_POSTING, |body| json::parse_post(body).map(drop)),
    (&schemas::NEW_REVERSAL, |body| json::parse_reversal(body).map(drop)),
    (&schemas::NOTHING, json::parse_empty),
    (&schemas::NEW_ACCOUNT, |body| json::parse_account(body).map(drop)),
    (&schemas::NEW_ACCOUNTS, |body| json::parse_accounts(body).map(drop)),
    (&schemas::ACCOUNT_CHANGE, |body| json::parse_account_change(body).map(drop)),
    (&schemas::NEW_CLOSING, |body| json::parse_period_close(body).map(drop)),
    (&schemas::NEW_REOPENING, |body| json::parse_period_reopen(body).map(drop)),
    (&schemas::NEW_API_KEY, |body| json::parse_new_key(body).map(drop)),
    (&schemas::NEW_CUSTOMER, |body| json::parse_customer(body).map(drop)),
    (&schemas::CUSTOMER_CHANGE, |body| json::parse_customer_change(body).map(drop)),
    (&schemas::NEW_LOAN_CALCULATION, |body| json::parse_loan_terms(body).map(drop)),
    (&schemas::NEW_LOAN_PRODUCT, |body| json::parse_product(body, &Nobody).map(drop)),
    (&schemas::LOAN_PRODUCT_CHANGE, |body| json::parse_product_change(body).map(drop)),
    (&schemas::NEW_LOAN, |body| json::parse_application(body, &Nobody).map(drop)),
    (&schemas::NEW_REFUSAL, |body| order(Op::DeclineLoan, body)),
    (&schemas::KFS_ACCEPTANCE, |body| order(Op::AcceptKfs, body)),
    (&schemas::NEW_DISBURSAL, |body| order(Op::DisburseLoan, body)),
    (&schemas::DISBURSAL_RETURN, |body| order(Op::ReturnDisbursal, body)),
    (&schemas::NEW_REPAYMENT, |body| order(Op::CreateRepayment, body)),
    (&schemas::NEW_PREPAYMENT, |body| order(Op::CreatePrepayment, body)),
    (&schemas::FORECLOSURE, |body| order(Op::ForecloseLoan, body)),
    (&schemas::NEW_DUE, |body| order(Op::CreateLoanCharge, body)),
    (&schemas::NEW_WAIVER, |body| order(Op::WaiveDues, body)),
    (&schemas::NEW_PLAN, |body| order(Op::RescheduleLoan, body)),
    (&schemas::NEW_RATE, |body| order(Op::ResetRate, body)),
    (&schemas::NEW_WRITE_OFF, |body| order(Op::WriteOffLoan, body)),
    (&schemas::NEW_WRITE_OFF, |body| order(Op::ReverseRepayment, body)),
    (&schemas::SETTLEMENT, |body| order(Op::SettleLoan, body)),
    (&schemas::NEW_PAUSE, |body| order(Op::PauseLoan, body)),
    (&schemas::NEW_WATCH, |body| order(Op::WatchLoan, body)),
    (&schemas::NEW_RECOVERY, |body| order(Op::RecoverLoan, body)),
    (&schemas::NEW_REFUND, |body| order(Op::RefundAdvance, body)),
    (&schemas::CANCELLATION, |body| order(Op::CancelLoan, body)),
    (&schemas::LOAN_DECISION, |body| order(Op::ApproveLoan, body)),
    (&schemas::LOAN_DECISION, |body| order(Op::IssueKfs, body)),
    (&schemas::LOAN_DECISION, |body| order(Op::CloseLoan, body)),
    (&schemas::DAY_OPENING, |body| json::parse_day_opening(body).map(drop)),
    (&schemas::NEW_ROTATION, |body| json::parse_rotation(body).map(drop)),
];

#[test]
fn every_parser_takes_the_fields_of_its_schema_and_no_other() {
    for (schema, parse) in PARSERS {
        for name in names() {
            let body = format!("{{\"{name}\":[]}}");
            let pointer = format!("/{name}");
            let is_unknown = parse(body.as_bytes()).err().is_some_and(|problem| {
                problem.errors.iter().any(|error| error.pointer == pointer && error.code == "unknown_field")
            });
            let is_listed = schema.fields.iter().any(|field| field.name == name);
            assert_eq!(is_unknown, !is_listed, "{} {name}", schema.name);
        }
        let body = example_of(schema).to_string();
        let said = parse(body.as_bytes()).map_err(|problem| format!("{:?}", problem.errors));
        assert_eq!(said, Ok(()), "the example of {}: {body}", schema.name);
    }
}

#[test]
fn every_body_of_a_route_has_a_parser_in_the_table() {
    for route in ROUTES {
        if let Some(body) = describe(route.operation).body {
            assert!(PARSERS.iter().any(|(schema, _)| schema.name == body.name), "{}", body.name);
        }
        assert_eq!(describe(route.operation).body.is_some(), route.takes != Takes::Nothing, "{}", route.operation_id);
        assert!(!describe(route.operation).summary.is_empty(), "{}", route.operation_id);
    }
}

#[test]
fn every_route_stands_in_the_document() {
    let document = document();
    for route in ROUTES {
        let operation = &document["paths"][route.pattern][route.method.to_lowercase()];
        assert_eq!(operation["operationId"], route.operation_id);
        for status in ["406", "500", "503", "413"] {
            assert!(operation["responses"][status].is_object(), "{} {status}", route.operation_id);
        }
    }
    // Every reference leads somewhere.
    let text = document.to_string();
    for target in text.split("\"$ref\":\"#").skip(1).filter_map(|rest| rest.split('"').next()) {
        assert!(document.pointer(target).is_some(), "{target}");
    }
}

/// `MUNIM_BLESS=1 cargo test` writes the copy anew; the difference is for the reviewer.
#[test]
fn the_copy_in_the_repository_is_the_document() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/data/openapi.json");
    if std::env::var("MUNIM_BLESS").is_ok_and(|asked| asked == "1") {
        std::fs::write(path, text()).unwrap();
    }
    let kept = std::fs::read_to_string(path).unwrap_or_default();
    assert!(kept == text(), "data/openapi.json is not what the code says: run MUNIM_BLESS=1 cargo test openapi");
}
