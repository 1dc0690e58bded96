//! The engine without HTTP: batches and single commands against a real folder, as rates.
//!
//! A plain program (`harness = false`): what is measured lasts seconds, not nanoseconds.

use std::sync::Arc;
use std::time::Instant;

use munim::disk::{Disk, FolderDisk};
use munim::domain::account::{AccountType, BalanceRule};
use munim::domain::ids::AccountNo;
use munim::domain::money::{Currency, Decimal};
use munim::domain::transfer::{AccountRef, HoldTerms, NewTransfer};
use munim::engine::clock::SystemTimeSource;
use munim::engine::command::{Batch, BatchItem, Command, IdempotencyKey, NewAccount, Origin};
use munim::engine::lanes::execute_blocking;
use munim::engine::{Engine, EngineOptions};

/// xorshift: cheap and seeded.
struct Random(u64);
impl Random {
    fn below(&mut self, bound: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (((self.0 >> 32) * u64::from(bound)) >> 32) as u32
    }
}

fn transfer(random: &mut Random, accounts: u32) -> NewTransfer {
    let debit = random.below(accounts);
    let credit = (debit + 1 + random.below(accounts - 1)) % accounts;
    NewTransfer {
        debit: AccountRef::No(AccountNo(debit)),
        credit: AccountRef::No(AccountNo(credit)),
        same_text: false,
        amount: Some(Decimal { digits: u64::from(random.below(1_000_000)) + 1, scale: 2 }),
        code: 0,
        effective: None,
        hold: HoldTerms::Post,
        cold: None,
    }
}

fn main() {
    for accounts in [10_000u32, 1_000_000] {
        run(accounts);
    }
}

fn run(accounts: u32) {
    let folder = tempfile::tempdir_in(".").expect("a folder");
    let disk: Arc<dyn Disk> = Arc::new(FolderDisk::open(folder.path()).expect("the folder is free"));
    let engine =
        Engine::start(&disk, &EngineOptions::default(), Box::new(SystemTimeSource::default())).expect("the books open");
    let core = engine.core();
    let new = || NewAccount {
        currency: Currency::INR,
        account_type: AccountType::Asset,
        code: 1,
        balance_rule: BalanceRule::None,
        external_id: None,
        name: None,
        metadata: Vec::new(),
    };
    for _ in 0..accounts / 10_000 {
        let batch = Command::OpenAccounts((0..10_000).map(|_| new()).collect());
        execute_blocking(core, &batch, &Origin::default()).expect("accounts open");
    }
    let mut random = Random(88_172_645_463_325_252);
    let batches: Vec<Command> = (0..100)
        .map(|_| {
            let items = (0..8_000).map(|_| BatchItem::New(transfer(&mut random, accounts))).collect();
            Command::Batch(Batch { atomic: false, minimal: true, items })
        })
        .collect();
    let started = Instant::now();
    let rounds = 5;
    for round in 0..rounds {
        for (n, batch) in (0u64..).zip(&batches) {
            let mut hash = [0; 16];
            hash[..8].copy_from_slice(&(round * 1_000 + n).to_le_bytes());
            let key = Some(IdempotencyKey { hash, fingerprint: [0; 16] });
            execute_blocking(core, batch, &Origin { key, ..Origin::default() }).expect("the batch is taken");
        }
    }
    let decided = started.elapsed();
    assert!(core.watermark().wait_blocking(core.journal().appended_seq()));
    let durable = started.elapsed();
    let count = f64::from(rounds as u32 * 100 * 8_000);
    println!(
        "{accounts} accounts: {:.2} M transfers/s decided, {:.2} M/s durable, {:.1} ns each",
        count / decided.as_secs_f64() / 1e6,
        count / durable.as_secs_f64() / 1e6,
        decided.as_nanos() as f64 / count
    );
    let singles: Vec<Command> = (0..200_000).map(|_| Command::Transfer(transfer(&mut random, accounts))).collect();
    let started = Instant::now();
    for (n, single) in (0u64..).zip(&singles) {
        let mut hash = [1; 16];
        hash[..8].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
        let key = Some(IdempotencyKey { hash, fingerprint: [0; 16] });
        execute_blocking(core, single, &Origin { key, ..Origin::default() }).expect("the transfer is taken");
    }
    let ns = started.elapsed().as_nanos() as f64 / singles.len() as f64;
    println!("{accounts} accounts: {ns:.0} ns a keyed single transfer, decided and appended");
    let mut laps: Vec<u128> = Vec::with_capacity(5_000);
    for _ in 0..5_000 {
        let single = Command::Transfer(transfer(&mut random, accounts));
        let started = Instant::now();
        let pending = execute_blocking(core, &single, &Origin::default()).expect("the transfer is taken");
        assert!(core.watermark().wait_blocking(pending.as_of));
        laps.push(started.elapsed().as_micros());
    }
    laps.sort_unstable();
    println!("{accounts} accounts: a lone caller waits {} us (p50), {} us (p99)", laps[2_500], laps[4_950]);
    engine.shut_down();
}
