//! One hash of everything that is hot: what two runs over the same journal must agree on.

use super::{Core, outcome};
use crate::domain::time::Day;

impl Core {
    /// blake3 over the hot state in key order: equal for equal books, whatever the number of shards.
    #[must_use]
    pub fn state_hash(&self) -> [u8; 32] {
        use crate::domain::transfer::View;
        let mut hasher = blake3::Hasher::new();
        let directory = self.directory.lock();
        let mut locked = self.shards.lock_all();
        let mut bytes = Vec::new();
        for no in (0..directory.accounts).map(crate::domain::ids::AccountNo) {
            let account = *locked.account(no).expect("every number below the count is an account");
            outcome::Outcome::AccountChanged { account: Box::new(account), code: 0 }.encode(&mut bytes);
            hasher.update(&bytes);
        }
        for (seq, hold) in self.holds.all() {
            hasher.update(format!("{seq} {hold:?}").as_bytes());
        }
        let days: std::collections::BTreeSet<Day> = locked.shards_mut().flat_map(|shard| shard.gl.days()).collect();
        for day in days {
            let mut lines = std::collections::BTreeMap::new();
            locked.shards_mut().for_each(|shard| shard.gl.add_day(day, &mut lines));
            hasher.update(format!("{day} {lines:?}").as_bytes());
        }
        hasher.update(format!("{:?} {:?}", self.chart.read().keys(), self.periods.lock()).as_bytes());
        hasher.update(format!("{:?} {:?}", self.day_runs.lock(), self.business_date()).as_bytes());
        for row in self.keyring.rows() {
            hasher.update(&row);
        }
        for row in self.objects.rows() {
            hasher.update(&row);
        }
        hasher.update(format!("{:?}", self.lending.copy_customers(0, usize::MAX)).as_bytes());
        self.loans.hash_into(&mut hasher);
        *hasher.finalize().as_bytes()
    }
}
