//! Loan products: made with the accounts that they need, changed by versions.

use crate::domain::account::{AccountType, BalanceRule, Status};
use crate::domain::entry::{AccountChanged, AccountCold, Entry};
use crate::domain::ids::{AccountNo, Seq};
use crate::domain::lending::product::{
    ACCOUNT_COUNT, ACCOUNT_PLANS, AccountPlan, PRODUCTS_MAX, ProductFacts, ProductSaved, VERSIONS_MAX,
};
use crate::domain::money::Currency;
use crate::domain::reject::{Reject, RejectCode};
use crate::domain::transfer::View;
use crate::engine::Core;
use crate::engine::command::{NewAccount, NewProduct, Origin, ProductChange};
use crate::engine::commit::{Appended, Decided, Probe, Stale, apply_changed, opening};
use crate::engine::history::Reach;
use crate::engine::keys::{ExternalKind, KeyHash, KeyKind, KeyRow, external_hash};
use crate::engine::outcome::Outcome;
use crate::engine::shard::Locked;
use crate::engine::submit::{NotYet, Pending};
use crate::engine::view::{ProductView, Reply};

impl Core {
    /// Makes a loan product.
    pub(in crate::engine) fn execute_product(
        &self,
        new: &NewProduct,
        origin: &Origin,
        reach: Reach,
    ) -> Result<Result<Pending, NotYet>, Stale> {
        let text = new.facts.external_id.as_deref();
        let external = text.map(|text| external_hash(ExternalKind::Product, text));
        let probe = match self.probe(origin, external, reach) {
            Ok(probe) => probe,
            Err(not_yet) => return Ok(Err(not_yet)),
        };
        let mut texts = Vec::new();
        for no in new.accounts.iter().flatten().flatten() {
            let Some(row) = self.shards.copy(*no) else { continue };
            if !self.watermark.covers(row.cold_seq) {
                return Ok(Err(NotYet::WaitFor(row.cold_seq)));
            }
            match self.history.account_texts(row.cold_seq, reach) {
                Ok(cold) => texts.push((*no, row.cold_seq, (*cold).clone())),
                Err(error) => return Ok(Err(error.into())),
            }
        }
        let decided = self.commit_product(new, external, &texts, origin, &probe)?;
        Ok(Ok(self.say_product(decided, origin, true)))
    }

    /// Gives a loan product another version.
    pub(in crate::engine) fn execute_product_change(
        &self,
        change: &ProductChange,
        origin: &Origin,
        reach: Reach,
    ) -> Result<Result<Pending, NotYet>, Stale> {
        let probe = match self.probe(origin, None, reach) {
            Ok(probe) => probe,
            Err(not_yet) => return Ok(Err(not_yet)),
        };
        if self.loans.product(change.number, None).is_none() {
            return Ok(Ok(self.say_refusal(RejectCode::ProductNotFound, origin, &probe)?));
        }
        let decided = self.commit_product_change(change, origin, &probe)?;
        Ok(Ok(self.say_product(decided, origin, false)))
    }

    fn say_product(&self, decided: Decided<(ProductSaved, Seq)>, origin: &Origin, created: bool) -> Pending {
        self.say(decided, origin, |_, (saved, seq), placed| {
            let view = ProductView { last_seq: placed.is_real().then_some(seq), saved: saved.into() };
            Reply::Product { view: Box::new(view), created }
        })
    }

    fn commit_product(
        &self,
        new: &NewProduct,
        external: Option<KeyHash>,
        texts: &[(AccountNo, Seq, AccountCold)],
        origin: &Origin,
        probe: &Probe,
    ) -> Result<Decided<(ProductSaved, Seq)>, Stale> {
        let mut directory = self.directory.lock();
        let mut locked = self.shards.lock_all();
        let mut keys = self.keys.lock(origin.key.as_ref().map(|key| &key.hash), external.as_ref());
        if let Some(replay) = self.check_probe(&mut keys, origin, probe)? {
            return Ok(Decided::Replay(replay));
        }
        if probe.external_taken || external.is_some_and(|hash| keys.find(KeyKind::External, &hash).is_some()) {
            return Ok(self.refuse(&mut keys, Reject::of(RejectCode::ExternalIdExists), origin));
        }
        let number = self.loans.product_count() + 1;
        if number > PRODUCTS_MAX {
            return Ok(self.refuse(&mut keys, Reject::of(RejectCode::TooManyProducts), origin));
        }
        let accounts = match self.accounts_of(new, &locked, directory.accounts) {
            Ok(accounts) => accounts,
            Err(reject) => return Ok(self.refuse(&mut keys, reject, origin)),
        };
        if let Err(reject) = check_year_end(&locked, new.facts.year_end_account) {
            return Ok(self.refuse(&mut keys, reject, origin));
        }
        let rules = self.rules(origin);
        if origin.dry_run {
            let saved = first_version(number, accounts, new.facts.clone(), rules.now);
            return Ok(Decided::Dry((saved, Seq::NONE), rules));
        }
        let mut sequencer = self.journal.lock();
        let (moment, date) = self.next_moment(&sequencer);
        let first = sequencer.begin(moment, date);
        for (place, plan) in ACCOUNT_PLANS.iter().enumerate() {
            let no = accounts[place];
            if new.accounts[place].is_none() {
                let opened = opening(no, &account_of(plan, &new.facts.name), moment);
                let cold = opened.cold.clone();
                self.open(&mut sequencer, &mut locked, opened, date);
                directory.accounts += 1;
                if plan.is_control {
                    self.take_over(&mut sequencer, &mut locked, no, cold, date);
                }
            } else if plan.is_control {
                let (_, _, cold) = texts.iter().find(|(named, _, _)| *named == no).expect("checked just above");
                self.take_over(&mut sequencer, &mut locked, no, cold.clone(), date);
            }
        }
        let saved = first_version(number, accounts, new.facts.clone(), moment);
        let entry = Entry::ProductSaved(Box::new(saved));
        let seq = sequencer.push(&entry);
        self.loans.apply(&entry, seq, moment, date).expect("a product is always understood");
        if let Some(hash) = external {
            keys.insert(KeyKind::External, hash, KeyRow { number: u64::from(number), seq });
        }
        self.end(&mut sequencer, &mut keys, first, origin, &Outcome::ProductSaved);
        let Entry::ProductSaved(saved) = entry else { unreachable!("made above") };
        Ok(Decided::Done((*saved, seq), Appended { first, last: seq, moment, date }))
    }

    /// From here on only lending posts to an account.
    fn take_over(
        &self,
        sequencer: &mut crate::journal::AppenderGuard<'_>,
        locked: &mut Locked<'_>,
        no: AccountNo,
        cold: AccountCold,
        date: crate::domain::time::Day,
    ) {
        let account = *locked.account(no).expect("checked or opened just now");
        let changed = AccountChanged {
            account: no,
            status: Status::Control,
            version: account.version + 1,
            previous: account.last_seq,
            cold,
        };
        let entry = Entry::AccountChanged(Box::new(changed));
        let seq = sequencer.push(&entry);
        let Entry::AccountChanged(changed) = entry else { unreachable!("made two lines above") };
        apply_changed(locked, &changed, seq, date);
    }

    /// The accounts of a new product: those named, if they will do, and numbers for those that will be opened.
    fn accounts_of(
        &self,
        new: &NewProduct,
        locked: &Locked<'_>,
        next: u32,
    ) -> Result<[AccountNo; ACCOUNT_COUNT], Reject> {
        let mut accounts = [AccountNo(0); ACCOUNT_COUNT];
        let mut next = next;
        for (place, plan) in ACCOUNT_PLANS.iter().enumerate() {
            accounts[place] = match new.accounts[place] {
                None => {
                    next += 1;
                    AccountNo(next - 1)
                }
                Some(None) => return Err(Reject::of(RejectCode::AccountNotFound)),
                Some(Some(no)) => {
                    let is_named_twice = accounts[..place].contains(&no) && plan.is_control;
                    if is_named_twice || !self.will_do(locked, no, plan) {
                        return Err(Reject::by(RejectCode::AccountUnsuitable, no));
                    }
                    no
                }
            };
        }
        Ok(accounts)
    }

    fn will_do(&self, locked: &Locked<'_>, no: AccountNo, plan: &AccountPlan) -> bool {
        let Some(account) = locked.account(no) else { return false };
        let is_empty = account.posted() == 0 && account.debits_pending == 0 && account.credits_pending == 0;
        let is_right_type = account.account_type == plan.account_type
            // What is owed to the borrower and what is held against losses may stand on either side of the sheet.
            || (matches!(plan.role, "advance" | "interest_suspense" | "provision")
                && matches!(account.account_type, AccountType::Asset | AccountType::Liability));
        account.currency == Currency::INR
            && account.balance_rule == BalanceRule::None
            && account.status == Status::Open
            && is_right_type
            && (!plan.is_control || (is_empty && !self.loans.is_used(no)))
    }

    fn commit_product_change(
        &self,
        change: &ProductChange,
        origin: &Origin,
        probe: &Probe,
    ) -> Result<Decided<(ProductSaved, Seq)>, Stale> {
        let locked = self.shards.lock_all();
        let mut keys = self.keys.lock(origin.key.as_ref().map(|key| &key.hash), None);
        if let Some(replay) = self.check_probe(&mut keys, origin, probe)? {
            return Ok(Decided::Replay(replay));
        }
        let newest = self.loans.product(change.number, None).expect("products are never removed");
        let before = &newest.saved;
        let is_this =
            |(version, seq): &(u32, Option<Seq>)| *version == before.version && seq.is_none_or(|seq| seq == newest.seq);
        if change.expected.as_ref().is_some_and(|expected| !expected.iter().any(is_this)) {
            return Ok(self.refuse(&mut keys, Reject::of(RejectCode::VersionMismatch), origin));
        }
        if before.version >= VERSIONS_MAX {
            return Ok(self.refuse(&mut keys, Reject::of(RejectCode::TooManyProducts), origin));
        }
        let facts = change.applied_to(&before.facts);
        if facts.principal_min > facts.principal_max {
            return Ok(self.refuse(&mut keys, Reject::of(RejectCode::PrincipalOutOfRange), origin));
        }
        if let Err(reject) = check_year_end(&locked, change.year_end_account.flatten()) {
            return Ok(self.refuse(&mut keys, reject, origin));
        }
        let saved = ProductSaved { version: before.version + 1, previous: newest.seq, facts, ..(**before).clone() };
        let rules = self.rules(origin);
        if origin.dry_run {
            return Ok(Decided::Dry((saved, Seq::NONE), rules));
        }
        let mut sequencer = self.journal.lock();
        let (moment, date) = self.next_moment(&sequencer);
        let first = sequencer.begin(moment, date);
        let entry = Entry::ProductSaved(Box::new(saved));
        let seq = sequencer.push(&entry);
        self.loans.apply(&entry, seq, moment, date).expect("a product is always understood");
        self.end(&mut sequencer, &mut keys, first, origin, &Outcome::ProductSaved);
        let Entry::ProductSaved(saved) = entry else { unreachable!("made above") };
        Ok(Decided::Done((*saved, seq), Appended { first, last: seq, moment, date }))
    }
}

/// Whether income and expenses of a year can go to an account: what the owners have, in rupees, for anybody to post to.
fn check_year_end(locked: &Locked<'_>, account: Option<AccountNo>) -> Result<(), Reject> {
    let Some(no) = account else { return Ok(()) };
    let found = locked.account(no).ok_or(Reject::of(RejectCode::AccountNotFound))?;
    let will_do = found.account_type == AccountType::Equity
        && found.currency == Currency::INR
        && found.balance_rule == BalanceRule::None
        && found.status == Status::Open;
    if will_do { Ok(()) } else { Err(Reject::by(RejectCode::AccountUnsuitable, no)) }
}

fn first_version(
    number: u32,
    accounts: [AccountNo; ACCOUNT_COUNT],
    facts: ProductFacts,
    created_at: crate::domain::ids::Moment,
) -> ProductSaved {
    ProductSaved { number, version: 1, previous: Seq::NONE, created_at, accounts, facts }
}

fn account_of(plan: &AccountPlan, product: &str) -> NewAccount {
    // Names have 200 characters at most.
    let name: String = format!("{}: {product}", plan.name).chars().take(200).collect();
    NewAccount {
        currency: Currency::INR,
        account_type: plan.account_type,
        code: plan.code,
        balance_rule: BalanceRule::None,
        external_id: None,
        name: Some(name.into()),
        metadata: Vec::new(),
    }
}

impl ProductChange {
    /// What the product says after the change.
    #[must_use]
    pub fn applied_to(&self, facts: &ProductFacts) -> ProductFacts {
        let mut facts = facts.clone();
        if let Some(name) = &self.name {
            facts.name.clone_from(name);
        }
        if let Some(terms) = &self.terms {
            facts.terms = (**terms).clone();
        }
        if let Some(metadata) = &self.metadata {
            facts.metadata.clone_from(metadata);
        }
        facts.principal_min = self.principal_min.unwrap_or(facts.principal_min);
        facts.principal_max = self.principal_max.unwrap_or(facts.principal_max);
        facts.year_end_account = self.year_end_account.unwrap_or(facts.year_end_account);
        facts.disbursal_by_another = self.disbursal_by_another.unwrap_or(facts.disbursal_by_another);
        facts.kfs_valid_days = self.kfs_valid_days.unwrap_or(facts.kfs_valid_days);
        facts
    }
}
