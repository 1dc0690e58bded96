//! Key facts in words: the rows of Annex A and B of the regulator's circular (RBI/2024-25/18), told from what the
//! route answers.

use serde_json::Value;

use crate::domain::money::Currency;
use crate::jobs::documents::money::amount;
use crate::jobs::documents::papers::loan::KeyFacts;

use super::loan::{paise, rows};

/// Where the lender has said nothing.
const UNSAID: &str = "not stated";

/// Key facts, row by row.
pub fn in_words(of: &Value) -> KeyFacts {
    let issue = [
        ("Version", text(&of["version"])),
        ("State", text(&of["status"])),
        ("Issued on", text(&of["issued_on"])),
        ("Valid through", text(&of["valid_through"])),
    ];
    KeyFacts {
        issue: issue.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        part_1: numbered(part_1(&of["part_1"])),
        part_2: numbered(part_2(&of["part_2"])),
        computation: numbered(computation(&of["computation"])),
        rows: rows(&of["schedule"]),
    }
}

fn numbered(rows: Vec<(&'static str, &'static str, String)>) -> Vec<[String; 3]> {
    rows.into_iter().map(|(number, name, value)| [number.to_owned(), name.to_owned(), value]).collect()
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => UNSAID.to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn money(value: &Value) -> String {
    if value.is_null() { UNSAID.to_owned() } else { amount(paise(value).into(), Currency::INR) }
}

fn per_cent(value: &Value) -> String {
    if value.is_null() { UNSAID.to_owned() } else { format!("{} %", text(value)) }
}

fn part_1(of: &Value) -> Vec<(&'static str, &'static str, String)> {
    let (term, instalment, interest) = (&of["term"], &of["instalment"], &of["interest"]);
    let contingent = &of["contingent_charges"];
    let disbursal = match &of["disbursal"]["clause"] {
        Value::Null => text(&of["disbursal"]["schedule"]),
        clause => format!("{}; {}", text(&of["disbursal"]["schedule"]), text(clause)),
    };
    let floating = match &of["floating"] {
        Value::Null => "not applicable: the rate is fixed".to_owned(),
        floating => format!(
            "benchmark {} at {}, spread {}, reset every {} months",
            text(&floating["benchmark"]),
            per_cent(&floating["benchmark_pct"]),
            per_cent(&floating["spread_pct"]),
            text(&floating["reset_months"])
        ),
    };
    vec![
        ("1", "Loan proposal or account number", text(&of["proposal_no"])),
        ("", "Type of loan", text(&of["type_of_loan"])),
        ("2", "Sanctioned loan amount", money(&of["sanctioned_amount"])),
        ("3", "Disbursal schedule", disbursal),
        (
            "4",
            "Loan term",
            format!(
                "{} instalments, {}, the last due on {}",
                text(&term["instalments"]),
                text(&term["frequency"]),
                text(&term["last_due_on"])
            ),
        ),
        (
            "5",
            "Instalment details",
            format!(
                "{} instalments, {}, of {}, the first due on {}",
                text(&instalment["number"]),
                text(&instalment["type"]),
                money(&instalment["amount"]),
                text(&instalment["first_due_on"])
            ),
        ),
        (
            "6",
            "Interest rate and type",
            format!("{} a year, {}", per_cent(&interest["annual_rate_pct"]), text(&interest["type"])),
        ),
        ("7", "Floating rate", floating),
        ("8 A", "Fees and charges payable to the lender", charges(&of["charges"]["to_lender"])),
        (
            "8 B",
            "Fees and charges payable to third parties through the lender",
            charges(&of["charges"]["to_third_parties"]),
        ),
        ("9", "Annual percentage rate (APR)", per_cent(&of["apr_pct"])),
        ("10", "Contingent charges: penal charges", text(&contingent["penal"])),
        (
            "",
            "Contingent charges: foreclosure",
            format!(
                "{}, tax on it {}",
                per_cent(&contingent["foreclosure_pct"]),
                per_cent(&contingent["foreclosure_gst_pct"])
            ),
        ),
        ("", "Contingent charges: switching between fixed and floating", text(&contingent["switching"])),
        ("", "Contingent charges: other", text(&contingent["other"])),
    ]
}

fn charges(of: &Value) -> String {
    let charge = |of: &Value| {
        let tax = if paise(&of["gst"]) == 0 { String::new() } else { format!(", and tax {}", money(&of["gst"])) };
        format!("{}: {}{tax} (one time)", text(&of["name"]), money(&of["amount"]))
    };
    let all: Vec<String> = of.as_array().into_iter().flatten().map(charge).collect();
    if all.is_empty() { "none".to_owned() } else { all.join("; ") }
}

fn part_2(of: &Value) -> Vec<(&'static str, &'static str, String)> {
    let days = of["cooling_off_days"].as_u64().unwrap_or(0);
    let leaving = if days == 0 { UNSAID.to_owned() } else { format!("{days} days") };
    vec![
        ("1", "Clause of the loan agreement on recovery agents", text(&of["recovery_agents"])),
        ("2", "Clause of the loan agreement on grievance redressal", text(&of["grievance_redressal"])),
        ("3", "Nodal grievance redressal officer: telephone and e-mail", text(&of["grievance_officer"])),
        ("4", "Whether the loan may be transferred or securitised", text(&of["transferable"])),
        ("5", "Collaborative lending arrangements", text(&of["co_lending"])),
        ("6", "Cooling-off or look-up period", leaving),
        ("7", "Lending service provider acting as recovery agent", text(&of["lending_service_provider"])),
        ("8", "Other", text(&of["other"])),
    ]
}

fn computation(of: &Value) -> Vec<(&'static str, &'static str, String)> {
    vec![
        ("1", "Sanctioned loan amount", money(&of["sanctioned_amount"])),
        ("2", "Number of instalments", text(&of["instalments"])),
        ("3", "Amount of each instalment", money(&of["instalment"])),
        ("4", "Total interest", money(&of["total_interest"])),
        ("5", "Charges payable to the lender", money(&of["charges_to_lender"])),
        ("6", "Charges payable to third parties", money(&of["charges_to_third_parties"])),
        ("7", "Tax on charges", money(&of["gst_on_charges"])),
        ("8", "Net disbursed amount", money(&of["net_disbursed"])),
        ("9", "Total amount to be paid by the borrower", money(&of["total_payable"])),
        ("10", "Annual percentage rate (APR)", per_cent(&of["apr_pct"])),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_not_stated_is_said_to_be_so() {
        let made = in_words(&json!({
            "version": 1, "status": "issued", "issued_on": "2026-04-01", "valid_through": null,
            "part_1": {"sanctioned_amount": "60000.00", "apr_pct": "19.5", "interest": {"annual_rate_pct": "18", "type": "fixed"},
                "charges": {"to_lender": [{"name": "processing", "amount": "500.00", "gst": "90.00"}], "to_third_parties": []}},
            "part_2": {"cooling_off_days": 3}, "computation": {"total_payable": "66012.00"}, "schedule": [],
        }));
        assert_eq!(made.issue[3], ("Valid through".to_owned(), "not stated".to_owned()));
        let said = |number: &str| made.part_1.iter().find(|row| row[0] == number).expect("a row")[2].clone();
        assert_eq!(said("2"), "₹60,000.00");
        assert_eq!(said("6"), "18 % a year, fixed");
        assert_eq!(said("8 A"), "processing: ₹500.00, and tax ₹90.00 (one time)");
        assert_eq!((said("8 B"), said("9")), ("none".to_owned(), "19.5 %".to_owned()));
        assert_eq!(made.part_2[5][2], "3 days");
        assert_eq!(made.computation[8][2], "₹66,012.00");
    }
}
