//! Events of loans that the store does not have yet.

use std::collections::HashMap;

use parking_lot::Mutex;

use crate::domain::ids::Seq;
use crate::domain::lending::loan::events::Dated;

/// Maps that the loans are spread over. One map of a million loans moves them all when it doubles, a tenth of a
/// second in which whoever pays holds all account locks; each of these moves a sixty-fourth.
const MAPS: usize = 64;

/// Events that are not in the store for sure, by loan. Changed only while the table of loans is locked to be changed.
#[derive(Debug)]
pub(super) struct FreshEvents {
    /// By number of the loan modulo [`MAPS`].
    maps: [Mutex<HashMap<u32, Vec<Dated>>>; MAPS],
}

impl Default for FreshEvents {
    fn default() -> Self {
        FreshEvents { maps: std::array::from_fn(|_| Mutex::default()) }
    }
}

impl FreshEvents {
    fn map(&self, loan: u32) -> &Mutex<HashMap<u32, Vec<Dated>>> {
        &self.maps[loan as usize % MAPS]
    }

    /// Events of a loan, oldest first.
    pub(super) fn of(&self, loan: u32) -> Vec<Dated> {
        self.map(loan).lock().get(&loan).cloned().unwrap_or_default()
    }

    /// Adds a loan's newest event.
    pub(super) fn push(&self, loan: u32, dated: Dated) {
        self.map(loan).lock().entry(loan).or_default().push(dated);
    }

    /// The store has a loan's events up to one.
    pub(super) fn forget_through(&self, loan: u32, last: Seq) {
        let mut map = self.map(loan).lock();
        if let Some(events) = map.get_mut(&loan) {
            events.retain(|dated| dated.order > last.0);
            if events.is_empty() {
                map.remove(&loan);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::lending::loan::events::LoanEvent;
    use crate::domain::time::Day;

    fn dated(order: u64) -> Dated {
        Dated { value_date: Day(20_000), order, event: LoanEvent::BorrowerRose }
    }

    #[test]
    fn events_of_a_loan_go_when_the_store_has_them_and_no_other_loan_s() {
        let fresh = FreshEvents::default();
        let neighbour = 7 + MAPS as u32;
        for order in [11, 12, 13] {
            fresh.push(7, dated(order));
            fresh.push(neighbour, dated(order + 100));
        }
        fresh.forget_through(7, Seq(12));
        assert_eq!(fresh.of(7), [dated(13)]);
        assert_eq!(fresh.of(neighbour).len(), 3);
        fresh.forget_through(7, Seq(13));
        assert!(fresh.of(7).is_empty());
        assert_eq!(fresh.map(7).lock().len(), 1, "an empty list is not kept");
    }
}
