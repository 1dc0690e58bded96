//! The accounts of the demo branch: the chart, drawers, banks, and a loan and an advance account for
//! every borrower.

use super::names::{FAMILY, GIVEN, TRADES};
use super::random::Dice;

/// The chart of accounts of a small NBFC; `accounts.csv` begins with it.
pub const CHART_CSV: &str = include_str!("../../../data/chart/nbfc.csv");

/// Paise in a rupee.
pub const RUPEE: u64 = 100;

/// How often a loan falls due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rhythm {
    /// Every working day, collected at the shop.
    Daily,
    /// On one weekday, 1 = Monday.
    Weekly,
    /// On one day of the month.
    Monthly,
    /// Principal at the end; interest when the borrower comes by.
    Bullet,
}

/// One loan product of the branch. All ranges are inclusive.
#[derive(Debug)]
pub struct Product {
    /// As it stands in a loan account's name.
    pub name: &'static str,
    /// GL code of the outstanding principal; also the account code of its loans.
    pub code: u32,
    /// External ids of the interest accrued and the interest income accounts.
    pub accrued: &'static str,
    /// See `accrued`.
    pub income: &'static str,
    /// How many loans the branch has.
    pub loans: usize,
    /// Sanctioned principal in thousands of rupees.
    pub thousands: (u64, u64),
    /// Contracted rate in basis points a year.
    pub rate_bp: u64,
    /// Instalments over the life of a loan.
    pub instalments: u64,
    /// When they fall due.
    pub rhythm: Rhythm,
}

/// The branch's products.
pub const PRODUCTS: &[Product] = &[
    Product {
        name: "Daily loan",
        code: 1210,
        accrued: "GL-1310",
        income: "GL-4010",
        loans: 205,
        thousands: (10, 50),
        rate_bp: 2600,
        instalments: 120,
        rhythm: Rhythm::Daily,
    },
    Product {
        name: "Group loan",
        code: 1220,
        accrued: "GL-1320",
        income: "GL-4020",
        loans: 110,
        thousands: (20, 60),
        rate_bp: 2400,
        instalments: 52,
        rhythm: Rhythm::Weekly,
    },
    Product {
        name: "Business loan",
        code: 1230,
        accrued: "GL-1330",
        income: "GL-4030",
        loans: 70,
        thousands: (100, 400),
        rate_bp: 2000,
        instalments: 24,
        rhythm: Rhythm::Monthly,
    },
    Product {
        name: "Two-wheeler loan",
        code: 1240,
        accrued: "GL-1340",
        income: "GL-4040",
        loans: 50,
        thousands: (45, 95),
        rate_bp: 1800,
        instalments: 30,
        rhythm: Rhythm::Monthly,
    },
    Product {
        name: "Gold loan",
        code: 1250,
        accrued: "GL-1350",
        income: "GL-4050",
        loans: 30,
        thousands: (30, 180),
        rate_bp: 1500,
        instalments: 12,
        rhythm: Rhythm::Bullet,
    },
];

/// A loan as the generator follows it through the month. Amounts in paise.
#[derive(Clone, Debug)]
pub struct Loan {
    /// Place in the list, from 1: `LN-0001`.
    pub number: usize,
    /// Place in [`PRODUCTS`].
    pub product: usize,
    /// The borrower.
    pub borrower: String,
    /// Sanctioned principal.
    pub sanctioned: u64,
    /// Principal outstanding in the books.
    pub principal: u64,
    /// Interest accrued and not yet received.
    pub accrued: u64,
    /// Weekday 1 ..= 6 or day of the month 1 ..= 28, by rhythm.
    pub due: u64,
    /// Day of October on which it is disbursed; 0 when it was running before.
    pub disbursed_on: u64,
    /// What lies on the borrower's advance account.
    pub advance: u64,
    /// How often in a hundred an instalment comes on time.
    pub punctual: u64,
}

impl Loan {
    /// Its product.
    #[must_use]
    pub fn terms(&self) -> &'static Product {
        &PRODUCTS[self.product]
    }

    /// The instalment, in whole tens of rupees.
    #[must_use]
    pub fn instalment(&self) -> u64 {
        let terms = self.terms();
        // Interest over the life on about half the principal: what a flat quote comes to.
        let months = match terms.rhythm {
            Rhythm::Daily => 4,
            Rhythm::Weekly | Rhythm::Bullet => 12,
            Rhythm::Monthly => terms.instalments,
        };
        let interest = self.sanctioned * terms.rate_bp * months / (2 * 12 * 10_000);
        ((self.sanctioned + interest) / terms.instalments).div_ceil(10 * RUPEE) * 10 * RUPEE
    }

    /// Interest for `days` on the outstanding principal, actual/365, rounded half up to a paisa.
    #[must_use]
    pub fn interest(&self, days: u64) -> u64 {
        const YEAR_BP: u64 = 365 * 10_000;
        (self.principal * self.terms().rate_bp * days + YEAR_BP / 2) / YEAR_BP
    }
}

/// Invents the loans: fresh ones are disbursed during the month, the others are partly repaid.
pub fn loans(dice: &mut Dice) -> Vec<Loan> {
    let mut loans = Vec::new();
    for (product, terms) in PRODUCTS.iter().enumerate() {
        for _ in 0..terms.loans {
            let sanctioned = dice.between(terms.thousands.0, terms.thousands.1) * 1000 * RUPEE;
            let fresh = dice.chance(12);
            let repaid_pct = dice.between(0, 55);
            let mut loan = Loan {
                number: loans.len() + 1,
                product,
                borrower: format!("{} {}", dice.pick(GIVEN), dice.pick(FAMILY)),
                sanctioned,
                principal: if fresh { 0 } else { sanctioned / 100 * (100 - repaid_pct) },
                accrued: 0,
                due: if terms.rhythm == Rhythm::Weekly { dice.between(1, 6) } else { dice.between(1, 28) },
                disbursed_on: if fresh { dice.between(1, 30) } else { 0 },
                advance: 0,
                punctual: if dice.chance(8) { dice.between(20, 60) } else { dice.between(85, 98) },
            };
            loan.accrued = match terms.rhythm {
                Rhythm::Daily => loan.interest(1),
                Rhythm::Weekly => loan.interest(dice.between(1, 7)),
                Rhythm::Monthly | Rhythm::Bullet => loan.interest(dice.between(3, 30)),
            };
            loans.push(loan);
        }
    }
    loans
}

/// Accounts of the branch beside the chart and the borrowers: `external_id, name, code`.
pub const BRANCH_ACCOUNTS: &[(&str, &str, u32)] = &[
    ("DRAWER-1", "Drawer 1: counter", 1010),
    ("DRAWER-2", "Drawer 2: counter", 1010),
    ("DRAWER-3", "Drawer 3: field collection", 1010),
    ("BANK-1", "Bank 1: collection account", 1100),
    ("BANK-2", "Bank 2: disbursal account", 1100),
    ("BANK-3", "Bank 3: expense account", 1100),
];

/// Writes `accounts.csv`.
pub fn write_accounts(loans: &[Loan], dice: &mut Dice, out: &mut String) {
    out.push_str("external_id,name,currency,type,code,balance_rule,metadata.trade\n");
    for line in CHART_CSV.lines().skip(1) {
        let cells: Vec<&str> = line.split(',').collect();
        let [code, name, kind, currency, rule, external_id] = cells[..] else {
            unreachable!("the chart is a committed file of six plain columns, held by a test");
        };
        out.push_str(&format!("{external_id},{name},{currency},{kind},{code},{rule},\n"));
    }
    for (external_id, name, code) in BRANCH_ACCOUNTS {
        let rule = if *code == 1010 { "no_credit_balance" } else { "none" };
        out.push_str(&format!("{external_id},{name},INR,asset,{code},{rule},\n"));
    }
    for loan in loans {
        let (number, product, code) = (loan.number, loan.terms().name, loan.terms().code);
        let (borrower, trade) = (&loan.borrower, dice.pick(TRADES));
        out.push_str(&format!(
            "LN-{number:04},{product} {number:04} {borrower},INR,asset,{code},no_credit_balance,{trade}\n"
        ));
        out.push_str(&format!("ADV-{number:04},Advance {number:04} {borrower},INR,liability,2010,no_debit_balance,\n"));
    }
}
