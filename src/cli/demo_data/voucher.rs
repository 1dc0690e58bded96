//! The file of transfers as it grows, and the cash that must never go below zero in its order.

use std::collections::BTreeMap;

use super::books::RUPEE;

/// What a transfer is for; `code` in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Purpose {
    /// Balances carried over.
    Opening = 1,
    /// Principal paid out.
    Disbursal = 10,
    /// Principal received.
    Principal = 20,
    /// Interest received.
    Interest = 21,
    /// Penal charge received. No GST on it.
    Penal = 22,
    /// Paid ahead of its due date, and its use.
    Advance = 23,
    /// Interest earned by the passing of days.
    Accrual = 30,
    /// A fee without its tax.
    Fee = 40,
    /// Central GST on a fee.
    Cgst = 41,
    /// State GST on a fee.
    Sgst = 42,
    /// Integrated GST on a fee to another state.
    Igst = 43,
    /// Salaries and what goes with them.
    Salary = 50,
    /// Other expenses.
    Expense = 51,
    /// Taxes paid to the government.
    Tax = 52,
    /// Between vault and drawers.
    Float = 60,
    /// Cash carried to the bank.
    CashDeposit = 61,
    /// Collections that reached the bank; also bank to bank.
    Settlement = 62,
    /// Provisions, write-offs, recoveries, depreciation.
    Closing = 80,
    /// To and from lenders to this lender.
    Borrowing = 90,
    /// Unidentified money and its clearing.
    Suspense = 95,
}

/// One transfer to be written.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// External id of the account debited, without `ext:`.
    pub debit: &'a str,
    /// External id of the account credited.
    pub credit: &'a str,
    /// Paise; nothing is written for 0.
    pub paise: u64,
    /// What it is for.
    pub purpose: Purpose,
    /// Free text without commas and quotes.
    pub description: &'a str,
    /// `cash`, `upi`, `neft`, `nach` or empty.
    pub mode: &'a str,
}

/// The growing file.
#[derive(Debug, Default)]
pub struct Vouchers {
    /// CSV text so far.
    pub text: String,
    /// Balances of all accounts, debits − credits, paise.
    pub balances: BTreeMap<String, i64>,
    /// Day of October 2026 for the effective date.
    pub day: u64,
    lines: u64,
}

impl Vouchers {
    /// An empty file with its header.
    #[must_use]
    pub fn new() -> Vouchers {
        let header = "external_id,debit_account,credit_account,amount,code,effective_date,description,metadata.mode\n";
        Vouchers { text: header.to_owned(), ..Vouchers::default() }
    }

    /// Debits − credits of an account, paise.
    #[must_use]
    pub fn balance(&self, account: &str) -> i64 {
        self.balances.get(account).copied().unwrap_or(0)
    }

    /// Appends one transfer.
    pub fn post(&mut self, line: &Line<'_>) {
        if line.paise == 0 {
            return;
        }
        assert!(!line.description.contains([',', '"', '\n']), "descriptions need no quoting: {}", line.description);
        let signed = i64::try_from(line.paise).expect("a branch moves less than 2^63 paise");
        *self.balances.entry(line.debit.to_owned()).or_default() += signed;
        let source = self.balances.entry(line.credit.to_owned()).or_default();
        *source -= signed;
        let is_cash = line.credit.starts_with("DRAWER-") || line.credit == "GL-1000";
        assert!(!is_cash || *source >= 0, "{} would hold {source} paise after: {}", line.credit, line.description);
        self.lines += 1;
        self.text.push_str(&format!(
            "B07-2610-{:05},ext:{},ext:{},{}.{:02},{},2026-10-{:02},{},{}\n",
            self.lines,
            line.debit,
            line.credit,
            line.paise / RUPEE,
            line.paise % RUPEE,
            line.purpose as u32,
            self.day,
            line.description,
            line.mode,
        ));
    }
}
