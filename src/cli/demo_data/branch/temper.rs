//! How a borrower pays.

use super::super::random::Dice;
use super::products::Product;

/// What a borrower does with the dates of his instalments. `after` counts paid visits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Temper {
    /// Pays when it falls due.
    Punctual,
    /// Pays some days after.
    Late,
    /// Pays by mandate, which the bank sends back now and then.
    Bounces,
    /// Pays a part ahead.
    Prepays { after: u32 },
    /// Pays everything before its time.
    Forecloses { after: u32 },
    /// Gives the money back within the cooling-off days.
    Cancels,
    /// Stops paying, for good.
    Defaults { after: u32 },
    /// Stops paying for some months, then pays all arrears.
    Cured { after: u32 },
    /// Never pays; the loan is written off, and a part recovered. The only one.
    Lost,
    /// Is refused at first, and asks for less.
    Refused,
    /// Gets a longer term.
    Eased { after: u32 },
    /// Gets a lower rate.
    Lowered { after: u32 },
}

/// The first borrowers are one of each, so that the smallest branch has everything.
const FIRST: [Temper; 11] = [
    Temper::Lost,
    Temper::Bounces,
    Temper::Late,
    Temper::Prepays { after: 2 },
    Temper::Forecloses { after: 2 },
    Temper::Cancels,
    Temper::Cured { after: 1 },
    Temper::Defaults { after: 1 },
    Temper::Refused,
    Temper::Eased { after: 2 },
    Temper::Lowered { after: 2 },
];

/// Where the products of the first borrowers stand in the list: weekly loans for those who have to be late in time.
const FIRST_PRODUCTS: [usize; 11] = [2, 0, 1, 0, 1, 0, 2, 2, 0, 0, 1];

impl Temper {
    /// The temper of a borrower, by his number from 1, and his product.
    #[must_use]
    pub fn of(number: u32, products: &[Product], dice: &mut Dice) -> (Temper, usize) {
        if let Some(place) = (number as usize).checked_sub(1).filter(|place| *place < FIRST.len()) {
            return (FIRST[place], FIRST_PRODUCTS[place]);
        }
        let mut share = dice.between(1, 100);
        let product = products.iter().position(|product| {
            let is_it = share <= product.share;
            share = share.saturating_sub(product.share);
            is_it
        });
        let after = u32::try_from(dice.between(2, 8)).expect("at most 8");
        let temper = match dice.between(1, 1_000) {
            1..=150 => Temper::Late,
            151..=210 => Temper::Bounces,
            211..=270 => Temper::Prepays { after },
            271..=320 => Temper::Forecloses { after },
            321..=328 => Temper::Cancels,
            329..=350 => Temper::Defaults { after },
            351..=370 => Temper::Cured { after },
            371..=385 => Temper::Refused,
            386..=392 => Temper::Eased { after },
            393..=400 => Temper::Lowered { after },
            _ => Temper::Punctual,
        };
        let product = product.expect("shares of the products add up to a hundred");
        // Interest of a flat loan does not follow its balance: it has one plan from first to last.
        let is_flat = products[product].method == "flat";
        let needs_plan = matches!(temper, Temper::Prepays { .. } | Temper::Eased { .. } | Temper::Lowered { .. });
        (if is_flat && needs_plan { Temper::Punctual } else { temper }, product)
    }

    /// Days from a due date to the visit.
    pub fn delay(self, period_days: u16, dice: &mut Dice) -> u16 {
        if self != Temper::Late {
            return 0;
        }
        let days = match (period_days, dice.between(1, 100)) {
            (_, 1..=40) => 0,
            (30, 41..=80) => dice.between(1, 12),
            (30, 81..=97) => dice.between(13, 28),
            (30, _) => dice.between(30, 50),
            (7, 41..=90) => dice.between(1, 5),
            (7, _) => dice.between(7, 20),
            _ => dice.between(1, 4),
        };
        u16::try_from(days).expect("at most 50")
    }
}
