//! The engine from outside: a folder, commands, a restart.

use std::sync::Arc;

use munim::disk::{Disk, FolderDisk};
use munim::domain::account::{AccountType, BalanceRule};
use munim::domain::ids::{AccountNo, Seq};
use munim::domain::money::{Currency, Decimal};
use munim::domain::transfer::{AccountRef, HoldTerms, NewTransfer};
use munim::engine::clock::SystemTimeSource;
use munim::engine::command::{Batch, BatchItem, Command, IdempotencyKey, NewAccount, Origin};
use munim::engine::history::Reach;
use munim::engine::view::{Answer, Reply};
use munim::engine::{Engine, EngineOptions};

fn open(folder: &std::path::Path) -> Arc<Engine> {
    let disk: Arc<dyn Disk> = Arc::new(FolderDisk::open(folder).expect("the folder is free"));
    let mut options = EngineOptions { checkpoint_entries: 500, ..EngineOptions::default() };
    options.journal.segment_bytes = 1 << 20;
    Engine::start(&disk, &options, Box::new(SystemTimeSource::default())).expect("the books open")
}

fn account(external_id: &str) -> NewAccount {
    NewAccount {
        currency: Currency::INR,
        account_type: AccountType::Asset,
        code: 1010,
        balance_rule: BalanceRule::None,
        external_id: Some(external_id.into()),
        name: Some("Drawer".into()),
        metadata: Vec::new(),
    }
}

fn transfer(debit: u32, credit: u32, amount: &str) -> NewTransfer {
    NewTransfer {
        debit: AccountRef::No(AccountNo(debit)),
        credit: AccountRef::No(AccountNo(credit)),
        same_text: false,
        amount: Decimal::parse(amount),
        code: 0,
        effective: None,
        hold: HoldTerms::Post,
        cold: None,
    }
}

fn origin(key: u8) -> Origin {
    let key = (key > 0).then_some(IdempotencyKey { hash: [key; 16], fingerprint: [7; 16] });
    Origin { key, request: 1, ..Origin::default() }
}

async fn submit(engine: &Arc<Engine>, command: Command, origin: Origin) -> Answer {
    engine.submit(command, origin).await.expect("the engine is open")
}

#[tokio::test]
async fn books_survive_a_restart_and_keys_replay() {
    let folder = tempfile::tempdir().expect("a folder");
    let engine = open(folder.path());
    for n in 0..3 {
        submit(&engine, Command::OpenAccount(Box::new(account(&format!("A{n}")))), origin(0)).await;
    }
    let first = submit(&engine, Command::Transfer(transfer(0, 1, "12.34")), origin(9)).await;
    let again = submit(&engine, Command::Transfer(transfer(0, 1, "12.34")), origin(9)).await;
    assert!(!first.replayed && again.replayed);
    assert_eq!(format!("{:?}", first.reply), format!("{:?}", again.reply));
    for round in 0..40 {
        let items = (0..500).map(|n| BatchItem::New(transfer(n % 3, (n + 1) % 3, "1.00"))).collect();
        let batch = Batch { atomic: round % 2 == 0, minimal: true, items };
        let answer = submit(&engine, Command::Batch(batch), origin(20 + round)).await;
        let Reply::Batch(reply) = answer.reply else { panic!("a batch answers a batch") };
        assert_eq!(reply.accepted, 500);
    }
    let before = engine.core().state_hash();
    let head = engine.core().journal().appended_seq();
    engine.shut_down();
    drop(engine);
    let engine = open(folder.path());
    assert_eq!(engine.core().state_hash(), before);
    let third = submit(&engine, Command::Transfer(transfer(0, 1, "12.34")), origin(9)).await;
    assert!(third.replayed);
    assert_eq!(format!("{:?}", first.reply), format!("{:?}", third.reply));
    assert_eq!(engine.core().journal().appended_seq(), head);
    assert_eq!(engine.core().resolve_account("ext:A2", Reach::Disk).expect("the store reads"), Some(AccountNo(2)));
    assert!(engine.transfer(Seq(5)).await.expect("the journal reads").is_some());
    engine.shut_down();
}
