//! Reading a checkpoint back, whole tables at a time: recovery and `verify`.
//!
//! Promise: either every row that was checkpointed is given, once, or an error says that one is
//! damaged or missing. What was given before the error must be thrown away.

use super::packed::{HoldRow, Packed, ResolutionRow, decode_chunk};
use super::row::{ACCOUNT_BYTES, CUSTOMER_BYTES, corrupt, decode_account, decode_customer, decode_lines, decode_meta};
use super::tables::{ACCOUNTS, ACCOUNTS_PER_CHUNK, CUSTOMERS, CUSTOMERS_PER_CHUNK, GL_DAYS, LOAN_EVENTS, LOANS, META};
use super::{Meta, OffDateRow, ResolutionKind, Store, StoreError};
use crate::domain::account::{Account, GlNo};
use crate::domain::apply::Anchor;
use crate::domain::gl::GlTotals;
use crate::domain::ids::Seq;
use crate::domain::lending::customer::CustomerRow;
use crate::domain::time::Day;
use crate::domain::transfer::Hold;

pub(super) fn loan_events_key(number: u32, chunk: u32) -> u128 {
    u128::from(number) << 32 | u128::from(chunk)
}

/// All methods fail with [`StoreError::Corrupt`] on damage, or as redb fails.
impl Store {
    /// Where the newest checkpoint stands; `None` in a new store.
    ///
    /// # Errors
    /// See above.
    pub fn meta(&self) -> Result<Option<Meta>, StoreError> {
        self.reader()?.get(META, 0, decode_meta)
    }

    /// Gives every chunk of accounts in order; together exactly `meta.accounts` rows, whatever the
    /// last chunks hold beyond.
    ///
    /// # Errors
    /// See above.
    pub fn load_accounts(&self, give: &mut dyn FnMut(u32, Vec<Account>)) -> Result<(), StoreError> {
        let reader = self.reader()?;
        let accounts = reader.get(META, 0, decode_meta)?.map_or(0, |meta| meta.accounts);
        for chunk in 0..accounts.div_ceil(ACCOUNTS_PER_CHUNK) {
            let key = u128::from(chunk);
            let mut rows = reader.require(ACCOUNTS, key, |body| {
                let rows: Option<Vec<Account>> = body.chunks(ACCOUNT_BYTES).map(decode_account).collect();
                rows
            })?;
            let expected = (accounts - chunk * ACCOUNTS_PER_CHUNK).min(ACCOUNTS_PER_CHUNK) as usize;
            if rows.len() < expected {
                let what = format!("{} accounts where {expected} belong", rows.len());
                return Err(corrupt(ACCOUNTS, key, what));
            }
            // Accounts that were opened while the checkpoint was copied: replay opens them again.
            rows.truncate(expected);
            give(chunk, rows);
        }
        Ok(())
    }

    /// Gives every chunk of customers in order; together exactly `meta.customers` rows.
    ///
    /// # Errors
    /// See above.
    pub fn load_customers(&self, give: &mut dyn FnMut(Vec<CustomerRow>)) -> Result<(), StoreError> {
        let reader = self.reader()?;
        let customers = reader.get(META, 0, decode_meta)?.map_or(0, |meta| meta.customers) as usize;
        for chunk in 0..customers.div_ceil(CUSTOMERS_PER_CHUNK) {
            let key = chunk as u128;
            let mut rows = reader.require(CUSTOMERS, key, |body| {
                let rows: Option<Vec<CustomerRow>> = body.chunks(CUSTOMER_BYTES).map(decode_customer).collect();
                rows
            })?;
            let expected = (customers - chunk * CUSTOMERS_PER_CHUNK).min(CUSTOMERS_PER_CHUNK);
            if rows.len() < expected {
                return Err(corrupt(CUSTOMERS, key, format!("{} customers where {expected} belong", rows.len())));
            }
            // Those that were made while the checkpoint was copied: replay makes them again.
            rows.truncate(expected);
            give(rows);
        }
        Ok(())
    }

    /// Gives every loan's row in order of the numbers, exactly `meta.loans` of them; those that were asked for while
    /// the checkpoint was copied are left out: replay makes them again.
    ///
    /// # Errors
    /// See above; also where `give` does not understand a row.
    pub fn load_loans(&self, give: &mut dyn FnMut(&[u8]) -> Option<()>) -> Result<(), StoreError> {
        let reader = self.reader()?;
        let loans = reader.get(META, 0, decode_meta)?.map_or(0, |meta| meta.loans);
        for number in 1..=loans {
            reader.require(LOANS, u128::from(number), &mut *give)?;
        }
        Ok(())
    }

    /// A chunk of a loan's events, empty where there is none.
    ///
    /// # Errors
    /// See above.
    pub fn loan_events(&self, number: u32, chunk: u32) -> Result<Vec<u8>, StoreError> {
        let key = loan_events_key(number, chunk);
        Ok(self.reader()?.get(LOAN_EVENTS, key, |body| Some(body.to_vec()))?.unwrap_or_default())
    }

    /// Gives every open hold, descending by chunk, ascending inside.
    ///
    /// # Errors
    /// See above.
    pub fn load_holds(&self, give: &mut dyn FnMut(Seq, Hold)) -> Result<(), StoreError> {
        self.load_packed(&mut |row: HoldRow| give(row.seq, row.hold))
    }

    /// Gives every day's totals of the general ledger, newest day first.
    ///
    /// # Errors
    /// See above.
    pub fn load_gl_days(&self, give: &mut dyn FnMut(Day, Vec<(GlNo, GlTotals)>)) -> Result<(), StoreError> {
        let reader = self.reader()?;
        for key in reader.keys_down(GL_DAYS, u128::from(u16::MAX)) {
            let key = key?;
            let lines = reader.require(GL_DAYS, key, decode_lines)?;
            let day = u16::try_from(key).map_err(|_| corrupt(GL_DAYS, key, "the key is no day"))?;
            give(Day(day), lines);
        }
        Ok(())
    }

    /// Gives every (original, by, kind), descending by chunk, ascending inside.
    ///
    /// # Errors
    /// See above.
    pub fn load_resolutions(&self, give: &mut dyn FnMut(Seq, Seq, ResolutionKind)) -> Result<(), StoreError> {
        self.load_packed(&mut |row: ResolutionRow| give(row.original, row.by, row.kind))
    }

    /// Gives every anchor, newest day first.
    ///
    /// # Errors
    /// See above.
    pub fn load_anchors(&self, give: &mut dyn FnMut(Anchor)) -> Result<(), StoreError> {
        self.load_packed(give)
    }

    /// Gives every off-date row, descending by account, day and chunk of seqs.
    ///
    /// # Errors
    /// See above.
    pub fn load_offdates(&self, give: &mut dyn FnMut(OffDateRow)) -> Result<(), StoreError> {
        self.load_packed(give)
    }

    fn load_packed<R: Packed>(&self, give: &mut dyn FnMut(R)) -> Result<(), StoreError> {
        let reader = self.reader()?;
        for key in reader.keys_down(R::TABLE, u128::MAX) {
            let key = key?;
            let rows = reader.require(R::TABLE, key, |body| decode_chunk::<R>(key, body))?;
            rows.into_iter().for_each(&mut *give);
        }
        Ok(())
    }
}
