//! `decide` and `apply` against a naive model, on random commands.
//!
//! The model shares no code with the domain and looks nothing like it: it keeps a list of signed
//! facts and nothing else, adds them up anew for every question, and finds a refusal by collecting
//! **all** complaints about a command and taking the one that API.md names first. After every
//! command:
//! 1. both accept, or both refuse with the same code;
//! 2. all four sums of every account agree;
//! 3. Σ debits = Σ credits in every currency, and the general ledger is the sum of its accounts,
//!    through every day;
//! 4. the anchors are the closings that the facts give.
//!
//! proptest prints the shrunk commands of a failure and keeps their seed in `proptest-regressions/`.

use std::collections::{BTreeMap, BTreeSet};

use munim::domain::account::{Account, AccountType, BalanceRule, GlNo, Side, Status};
use munim::domain::apply::{Anchor, apply_change, apply_side};
use munim::domain::entry::{AccountChanged, AccountCold, TransferEntry, TransferOp};
use munim::domain::gl::{GlBook, GlChart, GlKey, GlTotals};
use munim::domain::ids::{AccountNo, Moment, Seq};
use munim::domain::money::{Currency, Decimal};
use munim::domain::reject::Reject;
use munim::domain::time::Day;
use munim::domain::transfer::{
    AccountRef, Hold, HoldTerms, NewTransfer, Resolution, Reversible, Rules, decide_resolution, decide_reversal,
    decide_transfer,
};
use proptest::prelude::*;

use crate::domain_books::{Accounts, TODAY, account, rules};
use crate::naive_books::{Asked, Books, Does};

/// Accounts of every run: currency, type, rule, code. Two of them share a line of the ledger.
pub const CHART: [(&str, AccountType, BalanceRule, u32); 7] = [
    ("INR", AccountType::Asset, BalanceRule::None, 1_010),
    ("INR", AccountType::Asset, BalanceRule::None, 1_010),
    ("INR", AccountType::Liability, BalanceRule::NoDebitBalance, 2_100),
    ("INR", AccountType::Asset, BalanceRule::NoCreditBalance, 1_200),
    ("JPY", AccountType::Income, BalanceRule::None, 4_000),
    ("JPY", AccountType::Expense, BalanceRule::None, 5_000),
    ("KWD", AccountType::Equity, BalanceRule::None, 3_000),
];

/// Runs of random commands. Without optimisation the naive books are ten times slower.
const CASES: u32 = if cfg!(debug_assertions) { 100 } else { 1_000 };

/// The pure domain with the least around it that makes books.
struct Ledger {
    accounts: Accounts,
    rules: Rules,
    holds: BTreeMap<Seq, Hold>,
    /// What can be asked to be reversed, by the seq of the transfer.
    posted: BTreeMap<Seq, Reversible>,
    external_ids: BTreeSet<u8>,
    chart: GlChart,
    gl: GlBook,
    anchors: Vec<Anchor>,
    seq: Seq,
}

impl Ledger {
    fn new() -> Ledger {
        let mut chart = GlChart::default();
        let accounts = CHART.map(|(currency, account_type, balance_rule, code)| {
            let currency = Currency::from_code(currency).unwrap();
            let gl = chart.number(GlKey { currency, code, account_type });
            Account { account_type, balance_rule, gl, ..account(currency) }
        });
        Ledger {
            accounts: Accounts(accounts.to_vec()),
            rules: rules(),
            holds: BTreeMap::new(),
            posted: BTreeMap::new(),
            external_ids: BTreeSet::new(),
            chart,
            gl: GlBook::default(),
            anchors: Vec::new(),
            seq: Seq(1),
        }
    }

    /// Decides and applies one command; the code of the refusal if there is one.
    fn run(&mut self, asked: &Asked) -> Result<(), &'static str> {
        match &asked.does {
            Does::Transfer { debit, credit, amount, back, hold_us, external_id } => {
                let side = |no: u8| match no {
                    no if usize::from(no) < CHART.len() => AccountRef::No(AccountNo(u32::from(no))),
                    _ => AccountRef::Unknown,
                };
                let command = NewTransfer {
                    debit: side(*debit),
                    credit: side(*credit),
                    same_text: debit == credit,
                    amount: Decimal::parse(amount),
                    code: 0,
                    effective: back.map(|days| Day(self.rules.business_date.0 - u16::from(days))),
                    hold: match hold_us {
                        None => HoldTerms::Post,
                        Some(0) => HoldTerms::Hold,
                        Some(us) => HoldTerms::HoldFor { us: i64::from(*us) },
                    },
                    cold: None,
                };
                let is_taken = external_id.is_some_and(|id| self.external_ids.contains(&id));
                let entry = named(decide_transfer(&self.accounts, &self.rules, &command, is_taken))?;
                self.external_ids.extend(external_id);
                self.append(&entry);
            }
            Does::Post { hold, amount } => {
                let amount = amount.as_deref().map(Decimal::parse);
                self.resolve(*hold, Resolution::Post { amount })?;
            }
            Does::Void { hold } => self.resolve(*hold, Resolution::Void)?,
            Does::ExpireWhatIsDue => {
                let due = |hold: &Hold| hold.is_expired(self.rules.now);
                let due: Vec<Seq> = self.holds.iter().filter(|(_, hold)| due(hold)).map(|(seq, _)| *seq).collect();
                for seq in due {
                    self.resolve(seq.0, Resolution::Expire)?;
                }
            }
            Does::Reverse { transfer } => {
                let Some(original) = self.posted.get(&Seq(*transfer)).copied() else {
                    return Err("transfer_not_posted");
                };
                let entry = named(decide_reversal(&self.accounts, &self.rules, Seq(*transfer), &original, None))?;
                self.append(&entry);
                self.posted.entry(Seq(*transfer)).and_modify(|original| original.is_reversed = true);
            }
            Does::SetStatus { account, status } => self.change_status(*account, *status),
            Does::RollDay => self.rules.business_date = Day(self.rules.business_date.0 + 1),
            Does::ClosePeriod { back } => {
                self.rules.closed_through = back.map(|days| Day(self.rules.business_date.0 - u16::from(days)));
            }
            Does::Nothing => {}
        }
        Ok(())
    }

    fn resolve(&mut self, hold_seq: u64, how: Resolution) -> Result<(), &'static str> {
        let seq = Seq(hold_seq);
        let Some(hold) = self.holds.get(&seq).copied() else { return Err("transfer_not_pending") };
        let entry = named(decide_resolution(&self.accounts, &self.rules, seq, &hold, how))?;
        self.holds.remove(&seq);
        self.append(&entry);
        Ok(())
    }

    fn append(&mut self, entry: &TransferEntry) {
        self.seq = self.seq.next();
        let day = self.rules.business_date;
        let effective = entry.effective_on(day);
        for (no, side) in [(entry.debit, Side::Debit), (entry.credit, Side::Credit)] {
            let account = &mut self.accounts.0[no.0 as usize];
            self.anchors.extend(apply_side(account, no, side, entry, self.seq, day));
            let amount = |of: Side| if side == of { entry.posts() } else { 0 };
            if entry.posts() > 0 {
                self.gl.post(account.gl, effective, amount(Side::Debit), amount(Side::Credit));
            }
        }
        if let Some(hold) = Hold::opened_by(entry) {
            self.holds.insert(self.seq, hold);
        } else if entry.posts() > 0 {
            let is_posted = !matches!(entry.op, TransferOp::Reversal { .. });
            let TransferEntry { debit, credit, amount, code, .. } = *entry;
            // A posted hold is named by the hold's seq from then on.
            let name = entry.resolves().unwrap_or(self.seq);
            self.posted.insert(
                name,
                Reversible { debit, credit, amount, code, is_posted, is_reversed: false, is_of_lending: false },
            );
        }
    }

    fn change_status(&mut self, no: u8, status: Status) {
        self.seq = self.seq.next();
        let account = &mut self.accounts.0[usize::from(no)];
        let change = AccountChanged {
            account: AccountNo(u32::from(no)),
            status,
            version: account.version + 1,
            previous: account.last_seq,
            cold: AccountCold::default(),
        };
        self.anchors.extend(apply_change(account, &change, self.seq, self.rules.business_date));
    }
}

fn named<T>(decision: Result<T, Reject>) -> Result<T, &'static str> {
    decision.map_err(|reject| reject.code.name())
}

/// Steps 2 to 4 of the file's head.
fn compare(ledger: &Ledger, books: &Books) {
    for (no, account) in ledger.accounts.0.iter().enumerate() {
        let ours = [account.debits_posted, account.credits_posted, account.debits_pending, account.credits_pending];
        assert_eq!(ours.map(i128::from), books.sums(no, u64::MAX), "sums of account {no}");
    }
    let last_day = ledger.rules.business_date;
    for day in TODAY.0 - 40..=last_day.0 {
        let mut lines = Vec::new();
        ledger.gl.add_through(Day(day), &mut lines);
        lines.resize(ledger.chart.keys().len(), GlTotals::default());
        let mut by_currency: BTreeMap<Currency, i128> = BTreeMap::new();
        for (line, key) in ledger.chart.keys().iter().enumerate() {
            let of_line = |no: &usize| ledger.accounts.0[*no].gl == GlNo(u32::try_from(line).unwrap());
            let members: Vec<usize> = (0..CHART.len()).filter(of_line).collect();
            let expected = books.effective_through(&members, day);
            let got = [lines[line].debits, lines[line].credits].map(|sum| i128::try_from(sum).unwrap());
            assert_eq!(got, expected, "ledger line {key:?} through day {day}");
            *by_currency.entry(key.currency).or_default() += got[0] - got[1];
        }
        assert!(by_currency.values().all(|difference| *difference == 0), "debits are not credits: {by_currency:?}");
    }
    for anchor in &ledger.anchors {
        let sums = [anchor.debits_posted, anchor.credits_posted, anchor.debits_pending, anchor.credits_pending];
        let no = anchor.account.0 as usize;
        let (last_seq, closing) = books.closing(no, anchor.day.0);
        assert_eq!(sums.map(i128::from), closing, "closing of account {no} on {}", anchor.day);
        assert_eq!(anchor.last_seq.0, last_seq, "newest entry of account {no} on {}", anchor.day);
    }
    for no in 0..CHART.len() {
        let ours: Vec<u16> = ledger.anchors.iter().filter(|a| a.account.0 as usize == no).map(|a| a.day.0).collect();
        assert_eq!(ours, books.days_with_an_anchor(no), "days of anchors of account {no}");
        let back: Vec<u16> =
            ledger.anchors.iter().filter(|a| a.account.0 as usize == no).map(|a| a.previous_day.0).collect();
        let before: Vec<u16> = std::iter::once(0).chain(ours.iter().copied()).take(ours.len()).collect();
        assert_eq!(back, before, "anchors of account {no} are linked backwards");
    }
}

fn amounts() -> impl Strategy<Value = String> {
    prop_oneof![
        // Few and small, so that limits and holds are met exactly and not only passed.
        12 => (1u64..7).prop_map(|whole| (whole * 10).to_string()),
        2 => (1u64..2_000).prop_map(|whole| whole.to_string()),
        4 => (0u64..50, 0u64..100).prop_map(|(whole, part)| format!("{whole}.{part:02}")),
        3 => Just("9223372036854775807".to_owned()),
        1 => Just("92233720368547758.07".to_owned()),
        1 => Just("9223372036854775.807".to_owned()),
        1 => (0u64..9).prop_map(|whole| format!("{whole}.000")),
        1 => prop::sample::select(vec!["", "0", "-1", "1e2", "9223372036854775808", "01", ".5"]).prop_map(str::to_owned),
    ]
}

/// Transfers and holds are drawn by a number that is folded into those that exist when they run.
fn commands() -> impl Strategy<Value = (u32, Does)> {
    let status = prop::sample::select(vec![Status::Open, Status::Open, Status::Open, Status::Frozen, Status::Closed]);
    let side = || prop_oneof![30 => 0u8..4, 10 => 4u8..6, 2 => 6u8..8];
    let back = prop::option::weighted(0.3, 0u8..12);
    let hold = prop::option::weighted(0.4, prop_oneof![Just(0u32), (1u32..30).prop_map(|hundreds| hundreds * 100)]);
    let external_id = prop::option::weighted(0.3, 0u8..40);
    // Yen have no decimals, so that three greatest amounts meet the limit of 64 bits.
    let greatest = || prop_oneof![Just("9223372036854775807".to_owned()), amounts()];
    let sides_and_amount = prop_oneof![
        8 => (side(), side(), amounts()),
        2 => (4u8..6, 4u8..6, greatest()),
    ];
    let transfer = (sides_and_amount, back, hold, external_id).prop_map(
        |((debit, credit, amount), back, hold_us, external_id)| Does::Transfer {
            debit,
            credit,
            amount,
            back,
            hold_us,
            external_id,
        },
    );
    let does = prop_oneof![
        20 => transfer,
        5 => (any::<u64>(), prop::option::of(amounts())).prop_map(|(hold, amount)| Does::Post { hold, amount }),
        3 => any::<u64>().prop_map(|hold| Does::Void { hold }),
        2 => Just(Does::ExpireWhatIsDue),
        4 => any::<u64>().prop_map(|transfer| Does::Reverse { transfer }),
        2 => (0u8..7, status).prop_map(|(account, status)| Does::SetStatus { account, status }),
        2 => Just(Does::RollDay),
        1 => prop::option::weighted(0.7, 0u8..8).prop_map(|back| Does::ClosePeriod { back }),
        1 => Just(Does::Nothing),
    ];
    // Time goes in hundreds, as deadlines do: some commands arrive at the very microsecond.
    ((0u32..3).prop_map(|hundreds| (hundreds * 100).max(1) - 1), does)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, ..ProptestConfig::default() })]

    #[test]
    fn the_domain_agrees_with_naive_books(steps in prop::collection::vec(commands(), 1..80)) {
        let mut ledger = Ledger::new();
        let mut books = Books::new();
        for (elapsed_us, mut does) in steps {
            ledger.rules.now = Moment(ledger.rules.now.0 + 1 + i64::from(elapsed_us));
            // Half of the numbers fall on what is or was a hold, so that resolutions find something.
            match &mut does {
                Does::Post { hold, .. } | Does::Void { hold } => *hold = books.some_hold(*hold),
                Does::Reverse { transfer } => *transfer = books.some_transfer(*transfer),
                _ => {}
            }
            let asked = Asked { now: ledger.rules.now.0, does };
            let expected = books.run(&asked);
            prop_assert_eq!(ledger.run(&asked), expected, "{:?}", asked);
            compare(&ledger, &books);
        }
    }
}

/// A property test proves nothing about a path that it never takes.
#[test]
fn random_commands_reach_every_refusal_and_every_kind_of_entry() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let mut seen: BTreeMap<&'static str, u32> = BTreeMap::new();
    for _ in 0..300 {
        let steps = prop::collection::vec(commands(), 80).new_tree(&mut runner).unwrap().current();
        let mut books = Books::new();
        let mut now = rules().now.0;
        for (elapsed_us, mut does) in steps {
            now += 1 + i64::from(elapsed_us);
            match &mut does {
                Does::Post { hold, .. } | Does::Void { hold } => *hold = books.some_hold(*hold),
                Does::Reverse { transfer } => *transfer = books.some_transfer(*transfer),
                _ => {}
            }
            let what = does.name();
            let outcome = books.run(&Asked { now, does });
            *seen.entry(outcome.err().unwrap_or(what)).or_default() += 1;
        }
    }
    for expected in [
        "transfer",
        "hold",
        "post",
        "void",
        "reverse",
        "expire",
        "amount_malformed",
        "amount_zero",
        "same_account",
        "account_not_found",
        "currency_mismatch",
        "amount_scale",
        "account_closed",
        "account_frozen",
        "external_id_exists",
        "period_closed",
        "insufficient_funds",
        "balance_overflow",
        "transfer_not_pending",
        "transfer_not_posted",
        "already_reversed",
        "amount_exceeds_pending",
    ] {
        assert!(seen.get(expected).is_some_and(|count| *count >= 5), "{expected} is too rare: {seen:?}");
    }
}
