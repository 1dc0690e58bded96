//! October 2026 in the branch, day by day.
//!
//! A working day: 1. floats from the vault to the drawers; 2. yesterday's electronic collections reach
//! the bank; 3. receipts, in random order of borrowers; 4. disbursals with their fees; 5. expenses of
//! the calendar; 6. drawers to the vault, and what exceeds the night's limit to the bank; 7. interest
//! for the days since the last working day. On Sundays and holidays only UPI moves.

use super::books::{Loan, PRODUCTS, RUPEE, Rhythm};
use super::random::Dice;
use super::voucher::{Line, Purpose, Vouchers};

const DAYS: u64 = 31;
/// 1 October 2026 is a Thursday; weekdays run from 1 = Monday to 7 = Sunday.
const FIRST_WEEKDAY: u64 = 4;
/// Gandhi Jayanti and Vijayadashami.
const HOLIDAYS: [u64; 2] = [2, 20];
/// Second and fourth Saturday: the branch works, the bank's cash counter does not.
const BANK_SATURDAYS: [u64; 2] = [10, 24];
const DRAWERS: [&str; 3] = ["DRAWER-1", "DRAWER-2", "DRAWER-3"];
const FLOAT: u64 = 3_000 * RUPEE;
/// Insured limit of cash in the vault overnight.
const NIGHT_LIMIT: u64 = 60_000 * RUPEE;

fn weekday(day: u64) -> u64 {
    (FIRST_WEEKDAY - 1 + day - 1) % 7 + 1
}

/// Whether the branch posts more than UPI on a day of October 2026.
#[must_use]
pub fn is_working(day: u64) -> bool {
    weekday(day) != 7 && !HOLIDAYS.contains(&day)
}

struct Month<'a> {
    file: Vouchers,
    dice: &'a mut Dice,
}

/// The month's transfers as CSV.
pub fn write_month(loans: &mut [Loan], dice: &mut Dice) -> String {
    let mut month = Month { file: Vouchers::new(), dice };
    month.file.day = 1;
    month.opening(loans);
    let mut last_working = 0;
    for day in 1..=DAYS {
        month.file.day = day;
        if !is_working(day) {
            month.receipts(loans, true);
            continue;
        }
        for drawer in DRAWERS {
            month.post(drawer, "GL-1000", FLOAT, Purpose::Float, "Morning float", "cash");
        }
        month.settle_collections();
        month.receipts(loans, false);
        for loan in loans.iter_mut() {
            // What falls on a closed day is disbursed on the next working one.
            if loan.disbursed_on > last_working && loan.disbursed_on <= day {
                month.disburse(loan);
            }
        }
        month.expenses(day);
        month.evening(day);
        month.accrue(loans, day - last_working);
        last_working = day;
    }
    month.close(loans);
    month.file.text
}

impl Month<'_> {
    fn post(&mut self, debit: &str, credit: &str, paise: u64, purpose: Purpose, description: &str, mode: &str) {
        self.file.post(&Line { debit, credit, paise, purpose, description, mode });
    }

    fn opening(&mut self, loans: &[Loan]) {
        let assets: [(&str, u64); 12] = [
            ("GL-1000", 85_000),
            ("GL-1030", 5_000),
            ("BANK-1", 640_000),
            ("BANK-2", 4_850_000),
            ("BANK-3", 900_000),
            ("GL-1410", 46_200),
            ("GL-1420", 11_340),
            ("GL-1430", 11_340),
            ("GL-1470", 90_000),
            ("GL-1480", 1_000_000),
            ("GL-1510", 210_000),
            ("GL-1520", 185_000),
        ];
        for (account, rupees) in assets {
            self.post(account, "GL-3090", rupees * RUPEE, Purpose::Opening, "Opening balance", "");
        }
        for loan in loans {
            let text = format!("Opening principal of LN-{:04}", loan.number);
            self.post(&account(loan), "GL-3090", loan.principal, Purpose::Opening, &text, "");
        }
        for (place, product) in PRODUCTS.iter().enumerate() {
            let accrued = loans.iter().filter(|loan| loan.product == place).map(|loan| loan.accrued).sum();
            self.post(product.accrued, "GL-3090", accrued, Purpose::Opening, "Opening interest accrued", "");
        }
        let sources: [(&str, u64); 10] = [
            ("GL-2100", 15_000_000),
            ("GL-2210", 14_850),
            ("GL-2220", 14_850),
            ("GL-2310", 9_600),
            ("GL-2340", 33_120),
            ("GL-2510", 125_000),
            ("GL-2520", 96_000),
            ("GL-2530", 180_000),
            ("GL-3010", 12_500_000),
            ("GL-3020", 640_000),
        ];
        for (account, rupees) in sources {
            self.post("GL-3090", account, rupees * RUPEE, Purpose::Opening, "Opening balance", "");
        }
        let rest = self.file.balance("GL-3090");
        let (debit, credit) = if rest > 0 { ("GL-3030", "GL-3090") } else { ("GL-3090", "GL-3030") };
        self.post(debit, credit, rest.unsigned_abs(), Purpose::Opening, "Opening balance: the rest", "");
    }

    /// What came in by UPI and NACH since the last working day reaches the bank.
    fn settle_collections(&mut self) {
        for (account, mode) in [("GL-1150", "upi"), ("GL-1160", "nach")] {
            let collected = self.file.balance(account).unsigned_abs();
            self.post("BANK-1", account, collected, Purpose::Settlement, "Collections settled by the bank", mode);
        }
    }

    /// Receipts of a day from whoever owes, in random order.
    fn receipts(&mut self, loans: &mut [Loan], upi_only: bool) {
        let mut order: Vec<usize> = (0..loans.len()).collect();
        for last in (1..order.len()).rev() {
            order.swap(last, self.dice.between(0, last as u64) as usize);
        }
        let day = self.file.day;
        for place in order {
            let loan = &mut loans[place];
            let falls_due = match loan.terms().rhythm {
                Rhythm::Daily => !upi_only || self.dice.chance(18),
                Rhythm::Weekly => weekday(day) == loan.due && !upi_only,
                Rhythm::Monthly => day == next_working(loan.due),
                Rhythm::Bullet => !upi_only && self.dice.chance(3),
            };
            if !falls_due || loan.principal == 0 || !self.dice.chance(loan.punctual) {
                continue;
            }
            let mode = if upi_only { "upi" } else { self.mode(loan.terms().rhythm) };
            self.receive(loan, mode);
        }
    }

    fn mode(&mut self, rhythm: Rhythm) -> &'static str {
        match rhythm {
            Rhythm::Daily | Rhythm::Weekly => self.dice.pick(&["cash", "cash", "cash", "upi", "upi"]),
            Rhythm::Monthly => self.dice.pick(&["nach", "nach", "nach", "upi", "neft", "cash"]),
            Rhythm::Bullet => self.dice.pick(&["cash", "upi"]),
        }
    }

    /// One receipt: penal charge, interest, principal; now and then an instalment ahead.
    fn receive(&mut self, loan: &mut Loan, mode: &'static str) {
        let into = match mode {
            "cash" if loan.terms().rhythm == Rhythm::Daily => "DRAWER-3",
            "cash" => self.dice.pick(&["DRAWER-1", "DRAWER-2"]),
            "upi" => "GL-1150",
            "nach" => "GL-1160",
            _ => "BANK-1",
        };
        let (number, borrower) = (loan.number, loan.borrower.clone());
        let text = |what: &str| format!("{what} LN-{number:04} {borrower}");
        let due = if loan.terms().rhythm == Rhythm::Bullet { loan.accrued } else { loan.instalment() };
        if loan.punctual < 70 && self.dice.chance(25) {
            let penal = self.dice.between(2, 12) * 10 * RUPEE;
            self.post(into, "GL-4210", penal, Purpose::Penal, &text("Penal charge"), mode);
        }
        let interest = due.min(loan.accrued);
        let withheld = self.withheld(loan, interest);
        if withheld > 0 {
            self.post(
                "GL-1410",
                loan.terms().accrued,
                withheld,
                Purpose::Interest,
                &text("TDS 10 pct on interest"),
                "",
            );
        }
        self.post(into, loan.terms().accrued, interest - withheld, Purpose::Interest, &text("Interest"), mode);
        loan.accrued -= interest;
        let principal = (due - interest).min(loan.principal);
        if loan.advance >= principal && principal > 0 && is_working(self.file.day) {
            self.post(&advance(loan), &account(loan), principal, Purpose::Advance, &text("Advance used"), "");
            loan.advance -= principal;
        } else {
            self.post(into, &account(loan), principal, Purpose::Principal, &text("Principal"), mode);
        }
        loan.principal -= principal;
        if loan.terms().rhythm == Rhythm::Daily && self.dice.chance(2) && loan.principal > due {
            self.post(into, &advance(loan), due, Purpose::Advance, &text("Advance instalment"), mode);
            loan.advance += due;
        }
    }

    /// Tax that some business borrowers deduct from interest, whole rupees.
    fn withheld(&mut self, loan: &Loan, interest: u64) -> u64 {
        let deducts = loan.terms().code == 1230 && loan.number.is_multiple_of(3);
        if deducts { interest / 10 / RUPEE * RUPEE } else { 0 }
    }

    /// Pays a loan out: the net by bank, the fee and its GST kept back.
    fn disburse(&mut self, loan: &mut Loan) {
        let into = account(loan);
        let text = |what: &str| format!("{what} LN-{:04} {}", loan.number, loan.borrower);
        let fee = loan.sanctioned / 100;
        let half_gst = fee * 9 / 100;
        // One borrower in fifteen lives across the state border.
        let taxes: &[(&str, Purpose, u64)] = if loan.number.is_multiple_of(15) {
            &[("GL-2230", Purpose::Igst, 2 * half_gst)]
        } else {
            &[("GL-2210", Purpose::Cgst, half_gst), ("GL-2220", Purpose::Sgst, half_gst)]
        };
        let net = loan.sanctioned - fee - 2 * half_gst;
        self.post(&into, "BANK-2", net, Purpose::Disbursal, &text("Disbursal net of fee"), "neft");
        self.post(&into, "GL-4110", fee, Purpose::Fee, &text("Processing fee 1 pct"), "");
        for (tax_account, purpose, paise) in taxes {
            self.post(&into, tax_account, *paise, *purpose, &text("GST on processing fee"), "");
        }
        loan.principal = loan.sanctioned;
    }

    fn expenses(&mut self, day: u64) {
        use Purpose::{Borrowing, Expense, Suspense, Tax};
        let tea = self.dice.between(12, 38) * 10 * RUPEE;
        self.post("GL-5260", "GL-1030", tea, Expense, "Tea and water", "cash");
        if self.file.balance("GL-1030") < 2_000 * RUPEE as i64 {
            self.post("GL-1030", "GL-1000", 3_000 * RUPEE, Expense, "Petty cash filled up", "cash");
        }
        let rupees: &[(u64, &str, &str, u64, Purpose, &str)] = &[
            (5, "GL-5210", "BANK-3", 40_500, Expense, "Branch rent for October"),
            (5, "GL-5210", "GL-2320", 4_500, Expense, "TDS on branch rent"),
            (7, "GL-2310", "BANK-3", 9_600, Tax, "TDS for September paid"),
            (9, "GL-5230", "BANK-3", 2_348, Expense, "Telephone and internet"),
            (12, "GL-5220", "BANK-3", 7_912, Expense, "Electricity"),
            (14, "GL-5240", "BANK-3", 3_260, Expense, "Receipt books and paper"),
            (15, "GL-2340", "BANK-3", 33_120, Tax, "Provident fund for September paid"),
            (16, "GL-5280", "BANK-3", 13_500, Expense, "Audit fee"),
            (16, "GL-5280", "GL-2330", 1_500, Expense, "TDS on audit fee"),
            (17, "BANK-1", "GL-2910", 2_450, Suspense, "NEFT without a loan number"),
            (19, "GL-2210", "BANK-3", 14_850, Tax, "CGST for September paid"),
            (19, "GL-2220", "BANK-3", 14_850, Tax, "SGST for September paid"),
            (21, "GL-5270", "BANK-3", 1_850, Expense, "Printer repaired"),
            (22, "GL-2910", "GL-4310", 2_450, Suspense, "NEFT found to be a recovery on a loan written off"),
            (28, "GL-5290", "BANK-2", 1_180, Expense, "Bank charges"),
            (29, "BANK-2", "BANK-1", 600_000, Purpose::Settlement, "Collections moved for disbursal"),
            (29, "GL-2100", "BANK-2", 250_000, Borrowing, "Term loan instalment: principal"),
            (29, "GL-5010", "BANK-2", 131_250, Borrowing, "Term loan instalment: interest"),
            (30, "BANK-2", "GL-4410", 5_833, Borrowing, "Interest on fixed deposit"),
        ];
        for (on, debit, credit, amount, purpose, text) in rupees {
            if *on == day {
                self.post(debit, credit, amount * RUPEE, *purpose, text, "neft");
            }
        }
        if day % 5 == 1 {
            let fuel = self.dice.between(30, 90) * 10 * RUPEE;
            self.post("GL-5250", "GL-1000", fuel, Expense, "Field staff travel", "cash");
        }
    }

    /// Drawers go to the vault, what the vault may not hold overnight goes to the bank.
    fn evening(&mut self, day: u64) {
        for drawer in DRAWERS {
            let held = self.file.balance(drawer).unsigned_abs();
            self.post("GL-1000", drawer, held, Purpose::Float, "Drawer closed and counted", "cash");
        }
        let vault = self.file.balance("GL-1000").unsigned_abs();
        if vault <= NIGHT_LIMIT || BANK_SATURDAYS.contains(&day) {
            return;
        }
        let carried = (vault - NIGHT_LIMIT) / (1_000 * RUPEE) * 1_000 * RUPEE;
        self.post("GL-1020", "GL-1000", carried, Purpose::CashDeposit, "Cash carried to the bank", "cash");
        self.post("BANK-1", "GL-1020", carried, Purpose::CashDeposit, "Cash deposited by slip", "cash");
    }

    /// Interest on every loan for the calendar days since the last working day.
    fn accrue(&mut self, loans: &mut [Loan], days: u64) {
        for loan in loans.iter_mut() {
            let interest = loan.interest(days);
            let text = format!("Interest of {days} d on LN-{:04}", loan.number);
            let terms = loan.terms();
            self.post(terms.accrued, terms.income, interest, Purpose::Accrual, &text, "");
            loan.accrued += interest;
        }
    }

    /// Month end: salaries, depreciation, provisions, one write-off.
    fn close(&mut self, loans: &mut [Loan]) {
        use Purpose::{Closing, Salary};
        let gross = [62_000, 38_000, 31_000, 24_000, 22_500, 21_000, 18_500, 16_000];
        for (place, rupees) in gross.into_iter().enumerate() {
            let text = format!("Salary for October: employee {}", place + 1);
            let fund = rupees * 12 / 100;
            let tax: u64 = if rupees > 50_000 { 3_200 } else { 0 };
            self.post("GL-5110", "BANK-3", (rupees - fund - tax) * RUPEE, Salary, &text, "neft");
            self.post("GL-5110", "GL-2340", fund * RUPEE, Salary, &text, "");
            self.post("GL-5110", "GL-2310", tax * RUPEE, Salary, &text, "");
            self.post("GL-5120", "GL-2340", fund * RUPEE, Salary, &text, "");
        }
        self.post("GL-5320", "GL-1530", 6_580 * RUPEE, Closing, "Depreciation for October", "");
        let lost = loans.iter_mut().filter(|loan| loan.principal > 0).min_by_key(|loan| (loan.punctual, loan.number));
        if let Some(loan) = lost {
            let text = format!("Written off LN-{:04}", loan.number);
            self.post("GL-5430", &account(loan), loan.principal, Closing, &text, "");
            loan.principal = 0;
        }
        // Standard assets carry 0.25 %.
        let outstanding: u64 = loans.iter().map(|loan| loan.principal).sum();
        let needed = i64::try_from(outstanding / 400).expect("a branch lends less than 2^63 paise");
        let change = needed + self.file.balance("GL-2510");
        let (debit, credit) = if change > 0 { ("GL-5410", "GL-2510") } else { ("GL-2510", "GL-5410") };
        self.post(debit, credit, change.unsigned_abs(), Closing, "Provision on standard assets adjusted", "");
    }
}

/// The day itself or the next one on which the branch works.
fn next_working(day: u64) -> u64 {
    (day..=DAYS).find(|day| is_working(*day)).expect("due days end on the 28th and 29 October is a Thursday")
}

fn account(loan: &Loan) -> String {
    format!("LN-{:04}", loan.number)
}

fn advance(loan: &Loan) -> String {
    format!("ADV-{:04}", loan.number)
}
