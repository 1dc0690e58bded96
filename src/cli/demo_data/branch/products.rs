//! What the branch lends, and the accounts that its money goes through.

use serde_json::{Value, json};

use super::Size;

/// External id of the bank account that loans are paid from and paid to.
pub const BANK: &str = "ext:B12-BANK";

/// External id of the cash counter.
pub const CASH: &str = "ext:B12-CASH";

/// External id of what the head office has lent to the branch.
pub const HEAD_OFFICE: &str = "ext:B12-HO";

/// What the branch gets from the head office for each borrower, rupees: it lends about so much at a time.
const FUNDS_PER_BORROWER: u64 = 150_000;

/// One product. Ranges are inclusive.
#[derive(Debug)]
pub struct Product {
    /// External id.
    pub external_id: &'static str,
    /// Its name.
    pub name: &'static str,
    /// How often it falls due.
    pub frequency: &'static str,
    /// How interest is worked out.
    pub method: &'static str,
    /// Days from one due date to the next, about.
    pub period_days: u16,
    /// Rate, per cent a year.
    pub rate_pct: &'static str,
    /// Principal in thousands of rupees.
    pub thousands: (u64, u64),
    /// Numbers of instalments to choose from.
    pub instalments: &'static [u32],
    /// Processing fee, rupees, before tax.
    pub fee: u32,
    /// What insures the borrower's life, rupees; collected for the insurer.
    pub insurance: u32,
    /// Whether something stands behind it.
    pub is_secured: bool,
    /// How many of a hundred borrowers have it.
    pub share: u64,
    /// In how many of a hundred cases a loan that ended is followed by another.
    pub renewal: u64,
}

/// The products of the branch.
pub const PRODUCTS: &[Product] = &[
    Product {
        external_id: "B12-SME",
        name: "Small business loan",
        frequency: "monthly",
        method: "reducing",
        period_days: 30,
        rate_pct: "20",
        thousands: (50, 300),
        instalments: &[12, 18, 24],
        fee: 1_000,
        insurance: 600,
        is_secured: false,
        share: 45,
        renewal: 30,
    },
    Product {
        external_id: "B12-2W",
        name: "Two-wheeler loan",
        frequency: "monthly",
        method: "reducing",
        period_days: 30,
        rate_pct: "18",
        thousands: (45, 95),
        instalments: &[12, 18, 24, 30],
        fee: 750,
        insurance: 0,
        is_secured: true,
        share: 30,
        renewal: 10,
    },
    Product {
        external_id: "B12-JLG",
        name: "Group loan",
        frequency: "weekly",
        method: "reducing",
        period_days: 7,
        rate_pct: "24",
        thousands: (20, 60),
        instalments: &[26, 52],
        fee: 300,
        insurance: 200,
        is_secured: false,
        share: 20,
        renewal: 70,
    },
    Product {
        external_id: "B12-DLY",
        name: "Daily loan",
        frequency: "daily",
        method: "flat",
        period_days: 1,
        rate_pct: "15",
        thousands: (10, 40),
        instalments: &[60, 100],
        fee: 100,
        insurance: 0,
        is_secured: false,
        share: 5,
        renewal: 60,
    },
];

impl Product {
    /// The body that makes it.
    #[must_use]
    pub fn body(&self) -> Value {
        let mut charges = vec![json!({"name": "processing", "amount": self.fee.to_string(), "gst_pct": "18"})];
        if self.insurance > 0 {
            charges.push(json!({"name": "insurance", "amount": self.insurance.to_string(), "payee": "third_party"}));
        }
        json!({
            "name": self.name,
            "external_id": self.external_id,
            "principal_min": (self.thousands.0 * 1_000).to_string(),
            "principal_max": (self.thousands.1 * 1_000).to_string(),
            "is_secured": self.is_secured,
            "accounts": {"settlement": BANK},
            "terms": {
                "annual_rate_pct": self.rate_pct,
                "instalments": self.instalments[0],
                "frequency": self.frequency,
                "method": self.method,
                "day_count": "act/365",
                "rounding": {"instalment": "1"},
                "charges": charges,
                "penal_pct_per_month": "2",
                "cooling_off_days": 3,
                "foreclosure_charge_pct": "2",
            },
        })
    }
}

/// What makes the accounts, the funds and the products: paths, keys and bodies, in order.
#[must_use]
pub fn opening(size: Size) -> Vec<(&'static str, String, Value)> {
    let mut steps = Vec::new();
    for (external_id, name, kind, code) in [
        (BANK, "Branch 12: bank", "asset", 1100),
        (CASH, "Branch 12: cash counter", "asset", 1010),
        (HEAD_OFFICE, "Branch 12: funds of the head office", "liability", 2110),
    ] {
        let external_id = external_id.trim_start_matches("ext:");
        let body = json!({"external_id": external_id, "name": name, "currency": "INR", "type": kind, "code": code});
        steps.push(("/v1/accounts", format!("account-{external_id}"), body));
    }
    let funds = u64::from(size.borrowers) * FUNDS_PER_BORROWER;
    let body = json!({
        "debit_account": BANK, "credit_account": HEAD_OFFICE, "amount": format!("{funds}.00"),
        "description": "Funds for the branch",
    });
    steps.push(("/v1/transfers", "funds".into(), body));
    for product in PRODUCTS {
        steps.push(("/v1/loan_products", format!("product-{}", product.external_id), product.body()));
    }
    steps
}
