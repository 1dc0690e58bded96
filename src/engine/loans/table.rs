//! Loans in memory, by number, and by borrower.

use crate::domain::ids::{Moment, Seq};
use crate::domain::lending::loan::packed::{pack, unpack};
use crate::domain::lending::loan::state::{LoanState, LoanStatus};
use crate::domain::time::Day;

/// Loans in one allocation: growing never copies what is there.
const PIECE_ROWS: usize = 4_096;

/// A loan in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoanRow {
    /// The loan, packed.
    pub state: Box<[u8]>,
    /// Newest event.
    pub last_seq: Seq,
    /// Its application.
    pub applied_seq: Seq,
    /// When that was recorded.
    pub applied_at: Moment,
    /// The borrower.
    pub customer: u32,
    /// The borrower's loan before this one, 0 for none.
    pub before_of_customer: u32,
    /// Number of the product.
    pub product: u32,
    /// Its version.
    pub product_version: u32,
    /// How many events it has.
    pub events: u32,
    /// The last day that was run for it.
    pub through: Day,
    /// It is paid out and has not ended: days are run for it.
    pub is_active: bool,
    /// Its application has neither texts nor terms of its own.
    pub is_plain: bool,
    /// It is in the store as it is, but for days that [`advance`] runs again.
    pub is_stored: bool,
}

impl LoanRow {
    /// The loan, to work with.
    #[must_use]
    pub fn unpacked(&self) -> LoanState {
        unpack_own(&self.state)
    }

    /// Puts in what the loan has become.
    pub(super) fn set(&mut self, state: &LoanState) {
        let mut bytes = Vec::with_capacity(160);
        pack(state, &mut bytes);
        self.put(bytes.into_boxed_slice(), state);
    }

    pub(super) fn put(&mut self, packed: Box<[u8]>, state: &LoanState) {
        self.state = packed;
        self.through = state.advanced_through;
        self.is_active = is_active(state);
    }
}

/// A loan out of the bytes of a row.
pub(super) fn unpack_own(state: &[u8]) -> LoanState {
    unpack(state).expect("a loan in memory was packed here, or checked when it was read")
}

/// Whether days are run for a loan.
#[must_use]
pub fn is_active(state: &LoanState) -> bool {
    state.status == LoanStatus::Active
}

/// All loans.
#[derive(Debug, Default)]
pub struct LoanTable {
    pieces: Vec<Vec<LoanRow>>,
    /// By number of the customer − 1: the newest loan.
    newest_of_customer: Vec<u32>,
}

impl LoanTable {
    /// How many loans there are.
    #[must_use]
    pub fn count(&self) -> u32 {
        let rows = self.pieces.last().map_or(0, |last| (self.pieces.len() - 1) * PIECE_ROWS + last.len());
        u32::try_from(rows).expect("numbers of loans are 32 bits")
    }

    /// A loan, or `None` when none has the number.
    #[must_use]
    pub fn get(&self, loan: u32) -> Option<&LoanRow> {
        let place = (loan as usize).checked_sub(1)?;
        self.pieces.get(place / PIECE_ROWS)?.get(place % PIECE_ROWS)
    }

    pub(super) fn get_mut(&mut self, loan: u32) -> Option<&mut LoanRow> {
        let place = (loan as usize).checked_sub(1)?;
        self.pieces.get_mut(place / PIECE_ROWS)?.get_mut(place % PIECE_ROWS)
    }

    /// Loans of a customer, newest first.
    #[must_use]
    pub fn of_customer(&self, customer: u32) -> Vec<u32> {
        let place = (customer as usize).wrapping_sub(1);
        let mut next = self.newest_of_customer.get(place).copied().unwrap_or(0);
        let mut loans = Vec::new();
        while let Some(row) = self.get(next) {
            loans.push(next);
            next = row.before_of_customer;
        }
        loans
    }

    /// Whether the customer of a loan has another one.
    #[must_use]
    pub fn has_siblings(&self, row: &LoanRow) -> bool {
        let newest = self.newest_of_customer.get(row.customer as usize - 1).copied();
        row.before_of_customer != 0
            || newest.and_then(|newest| self.get(newest)).is_some_and(|newest| newest.applied_seq != row.applied_seq)
    }

    pub(super) fn push(&mut self, mut row: LoanRow) {
        let number = self.count() + 1;
        let place = row.customer as usize - 1;
        if self.newest_of_customer.len() <= place {
            self.newest_of_customer.resize(place + 1, 0);
        }
        row.before_of_customer = std::mem::replace(&mut self.newest_of_customer[place], number);
        if self.pieces.last().is_none_or(|piece| piece.len() == PIECE_ROWS) {
            self.pieces.push(Vec::with_capacity(PIECE_ROWS));
        }
        self.pieces.last_mut().expect("a piece was pushed when there was none").push(row);
    }
}
