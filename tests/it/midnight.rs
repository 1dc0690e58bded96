//! A new business day begins with the first command after midnight, not with the next tick of a thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use munim::disk::{Disk, FolderDisk};
use munim::domain::account::{AccountType, BalanceRule};
use munim::domain::ids::AccountNo;
use munim::domain::money::{Currency, Decimal};
use munim::domain::time::Day;
use munim::domain::transfer::{AccountRef, HoldTerms, NewTransfer};
use munim::engine::clock::TimeSource;
use munim::engine::command::{Command, NewAccount, Origin};
use munim::engine::view::Reply;
use munim::engine::{Engine, EngineOptions};

/// A clock that stands where it is put.
#[derive(Clone, Debug)]
struct Set(Arc<AtomicI64>);

impl TimeSource for Set {
    fn wall_us(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }

    fn monotonic_us(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
}

fn account() -> Command {
    Command::OpenAccount(Box::new(NewAccount {
        external_id: None,
        name: None,
        currency: Currency::INR,
        account_type: AccountType::Asset,
        code: 0,
        balance_rule: BalanceRule::None,
        metadata: Vec::new(),
    }))
}

fn transfer() -> Command {
    Command::Transfer(NewTransfer {
        debit: AccountRef::No(AccountNo(0)),
        credit: AccountRef::No(AccountNo(1)),
        same_text: false,
        amount: Decimal::parse("1"),
        code: 0,
        effective: None,
        hold: HoldTerms::Post,
        cold: None,
    })
}

async fn effective_date(engine: &Arc<Engine>) -> Day {
    let answer = engine.submit(transfer(), Origin::default()).await.expect("the books are open");
    let Reply::Transfer { view, .. } = answer.reply else { panic!("{:?}", answer.reply) };
    view.effective_date
}

#[tokio::test]
async fn the_first_command_after_midnight_and_after_a_start_belongs_to_the_new_day() {
    let folder = tempfile::tempdir().expect("a folder");
    // 2026-11-29T18:29:59Z: a second before midnight in India.
    let midnight = 1_795_977_000_000_000;
    let time = Set(Arc::new(AtomicI64::new(midnight - 1_000_000)));
    let start = || {
        let disk: Arc<dyn Disk> = Arc::new(FolderDisk::open(folder.path()).expect("the folder is free"));
        Engine::start(&disk, &EngineOptions::default(), Box::new(time.clone())).expect("the books open")
    };
    let engine = start();
    for _ in 0..2 {
        engine.submit(account(), Origin::default()).await.expect("the books are open");
    }
    let today = Day::parse("2026-11-29").expect("a date");
    assert_eq!(effective_date(&engine).await, today);
    for day in 1..=20 {
        time.0.store(midnight + (day - 1) * 86_400_000_000, Ordering::SeqCst);
        assert_eq!(effective_date(&engine).await, Day(today.0 + day as u16), "day {day}");
    }
    engine.shut_down();
    drop(engine);
    time.0.fetch_add(86_400_000_000, Ordering::SeqCst);
    let engine = start();
    assert_eq!(effective_date(&engine).await, Day(today.0 + 21), "after a start");
    engine.shut_down();
}
