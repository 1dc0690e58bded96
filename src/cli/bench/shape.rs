//! Which accounts a transfer touches, and the bytes of its JSON.
//!
//! Promise: the same seed and nonce make the same bodies; nothing is allocated per transfer, and one
//! costs well under 60 ns, because the generator shares its processors with what it measures.

use rand::rngs::SmallRng;
use rand::{RngCore, SeedableRng};

use crate::domain::ids::{ID_DIGITS, IdKind, write_id};

/// How transfers are spread over the accounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Shape {
    /// Both sides uniform.
    Spread,
    /// The debit side is always the first account.
    Hot,
    /// Both sides by Zipf's law with s = 1.
    Zipf,
    /// As spread; 30 % of the transfers are holds, posted or voided by later batches.
    Holds,
}

impl Shape {
    /// As on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Shape::Spread => "spread",
            Shape::Hot => "hot",
            Shape::Zipf => "zipf",
            Shape::Holds => "holds",
        }
    }
}

/// The accounts of a run, as the numbers inside their ids.
#[derive(Clone, Debug)]
pub enum Accounts {
    /// `first .. first + count`: no table to miss the cache with.
    Dense {
        /// The first account's number.
        first: u64,
        /// Accounts, at least 2.
        count: u32,
    },
    /// Anything else.
    Listed(Vec<u64>),
}

impl Accounts {
    /// From the ids that the server gave, in order.
    #[must_use]
    pub fn from_numbers(numbers: Vec<u64>) -> Self {
        let first = numbers.first().copied().unwrap_or(0);
        let dense = numbers.iter().zip(first..).all(|(number, expected)| *number == expected);
        match u32::try_from(numbers.len()) {
            Ok(count) if dense => Accounts::Dense { first, count },
            _ => Accounts::Listed(numbers),
        }
    }

    /// How many.
    #[must_use]
    pub fn count(&self) -> u32 {
        match self {
            Accounts::Dense { count, .. } => *count,
            Accounts::Listed(numbers) => u32::try_from(numbers.len()).unwrap_or(u32::MAX),
        }
    }

    /// The number in the id of the `index`-th.
    #[must_use]
    pub fn number(&self, index: u32) -> u64 {
        match self {
            Accounts::Dense { first, .. } => first + u64::from(index),
            Accounts::Listed(numbers) => numbers[index as usize],
        }
    }
}

/// Draws accounts and amounts.
#[derive(Clone, Debug)]
pub struct Dice {
    random: SmallRng,
    shape: Shape,
    accounts: Accounts,
    /// ln(count + 1), for Zipf.
    log_count: f64,
    /// Coprime to the count: spreads the frequent ranks over the numbers, and so over the shards.
    stride: u64,
}

impl Dice {
    /// # Panics
    /// With fewer than two accounts: a transfer has two sides.
    #[must_use]
    pub fn new(seed: u64, shape: Shape, accounts: Accounts) -> Self {
        let count = accounts.count();
        assert!(count >= 2, "a transfer needs two accounts");
        #[expect(clippy::maybe_infinite_iter, reason = "every number has a coprime one not far above its 5/8")]
        let stride = (u64::from(count) * 5 / 8..).find(|stride| gcd(*stride, u64::from(count)) == 1);
        Dice {
            random: SmallRng::seed_from_u64(seed),
            shape,
            accounts,
            log_count: (f64::from(count) + 1.0).ln(),
            stride: stride.expect("of any run of numbers as long as the count, one is coprime to it"),
        }
    }

    /// The shape drawn in.
    #[must_use]
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// A uniformly drawn account, as the number of its id.
    pub fn any(&mut self) -> u64 {
        let index = self.below(self.accounts.count());
        self.accounts.number(index)
    }

    /// The account that most transfers touch, or the first where none stands out.
    #[must_use]
    pub fn hottest(&self) -> u64 {
        self.accounts.number(self.account_of_rank(0))
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u32) -> u32 {
        scale(low(self.random.next_u64()), bound)
    }

    /// Two different accounts, debit first, as the numbers of their ids.
    pub fn pair(&mut self) -> (u64, u64) {
        let count = self.accounts.count();
        let bits = self.random.next_u64();
        let (debit, credit) = match self.shape {
            Shape::Spread | Shape::Holds => (scale(low(bits), count), scale(high(bits), count)),
            Shape::Hot => (0, scale(high(bits), count)),
            Shape::Zipf => (self.zipf(low(bits)), self.zipf(high(bits))),
        };
        let credit = if credit != debit {
            credit
        } else if debit + 1 < count {
            debit + 1
        } else {
            0
        };
        (self.accounts.number(debit), self.accounts.number(credit))
    }

    /// Appends one transfer: `{"debit_account":…,"credit_account":…,"amount":"…"}`, 1.00 to 999.99.
    pub fn write_transfer(&mut self, out: &mut Vec<u8>, hold: bool) {
        let (debit, credit) = self.pair();
        let minor = 100 + self.below(99_900);
        out.extend_from_slice(b"{\"debit_account\":\"");
        write_id(out, IdKind::Account, debit);
        out.extend_from_slice(b"\",\"credit_account\":\"");
        write_id(out, IdKind::Account, credit);
        out.extend_from_slice(b"\",\"amount\":\"");
        let digit = |place: u32| b'0' + u8::try_from(minor / place % 10).expect("one digit");
        let amount = [digit(10_000), digit(1_000), digit(100), b'.', digit(10), digit(1)];
        let zeros = amount[..2].iter().take_while(|byte| **byte == b'0').count();
        out.extend_from_slice(&amount[zeros..]);
        out.extend_from_slice(if hold { b"\",\"pending\":true}".as_slice() } else { b"\"}" });
    }

    /// Rank by Zipf's law: the density 1/x between 1 and count + 1, cut to whole ranks.
    fn zipf(&self, bits: u32) -> u32 {
        let share = f64::from(bits) / (f64::from(u32::MAX) + 1.0);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and the count")]
        let rank = ((share * self.log_count).exp() - 1.0) as u32;
        self.account_of_rank(rank.min(self.accounts.count() - 1))
    }

    fn account_of_rank(&self, rank: u32) -> u32 {
        if self.shape != Shape::Zipf {
            return rank;
        }
        let index = u64::from(rank) * self.stride % u64::from(self.accounts.count());
        u32::try_from(index).expect("below a count of 32 bits")
    }
}

/// Bytes of a transfer's JSON at most, for reservations.
pub const TRANSFER_BYTES_MAX: usize = 80 + 2 * (5 + ID_DIGITS);

fn low(bits: u64) -> u32 {
    u32::try_from(bits & 0xffff_ffff).expect("32 bits")
}

fn high(bits: u64) -> u32 {
    u32::try_from(bits >> 32).expect("32 bits")
}

/// 32 random bits to a number below `bound`, without a division.
fn scale(bits: u32, bound: u32) -> u32 {
    high(u64::from(bits) * u64::from(bound))
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dice(shape: Shape, count: u64) -> Dice {
        Dice::new(7, shape, Accounts::from_numbers((1..=count).collect()))
    }

    #[test]
    fn every_shape_draws_two_different_accounts_of_the_run() {
        for shape in [Shape::Spread, Shape::Hot, Shape::Zipf, Shape::Holds] {
            for count in [2, 3, 1000] {
                let mut dice = dice(shape, count);
                for _ in 0..2_000 {
                    let (debit, credit) = dice.pair();
                    assert_ne!(debit, credit, "{shape:?}");
                    assert!((1..=count).contains(&debit) && (1..=count).contains(&credit), "{shape:?}");
                }
            }
        }
    }

    #[test]
    fn zipf_gives_each_rank_its_share() {
        let mut dice = dice(Shape::Zipf, 1000);
        let hottest = dice.hottest();
        let hits = (0..100_000).filter(|_| dice.pair().0 == hottest).count();
        // ln 2 / ln 1001 = 10.0 %.
        assert!((9_500..10_600).contains(&hits), "{hits}");
        let all: std::collections::BTreeSet<u32> = (0..1000).map(|rank| dice.account_of_rank(rank)).collect();
        assert_eq!(all.len(), 1000, "two ranks share an account");
    }

    #[test]
    fn a_transfer_is_json_with_a_plain_amount() {
        let mut dice = dice(Shape::Hot, 10);
        for hold in [false, true] {
            for _ in 0..2_000 {
                let mut out = Vec::new();
                dice.write_transfer(&mut out, hold);
                assert!(out.len() <= TRANSFER_BYTES_MAX);
                let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
                assert_eq!(value["debit_account"], "acct_0000000000001");
                assert_eq!(value["pending"].as_bool(), hold.then_some(true));
                let amount = value["amount"].as_str().unwrap();
                let rupees: f64 = amount.parse().unwrap();
                assert!((1.0..1000.0).contains(&rupees) && !amount.starts_with('0'), "{amount}");
            }
        }
    }

    #[test]
    fn accounts_that_are_not_in_a_row_are_listed() {
        let accounts = Accounts::from_numbers(vec![5, 9, 6]);
        assert_eq!((accounts.count(), accounts.number(1)), (3, 9));
        assert!(matches!(Accounts::from_numbers(vec![5, 6, 7]), Accounts::Dense { first: 5, count: 3 }));
    }
}
