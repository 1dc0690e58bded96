//! What is read under the account locks belongs to the seq that is read with it.

use std::sync::atomic::{AtomicBool, Ordering};

use munim::engine::command::Origin;
use munim::engine::history::Reach;

use super::driver::Run;
use super::faults::tiny_account;
use super::model::{Ask, Item, NewTransfer};
use super::speak::to_command;

/// Transfers of one paisa in each batch.
const ITEMS: u64 = 10;

/// A checkpoint that copied a batch's totals and said a seq before it would count the batch twice after a crash; found
/// by kill -9, once in some thousand.
#[test]
fn totals_have_no_batch_that_their_seq_does_not_cover() {
    let mut run = Run::new(7);
    run.is_wild = false;
    run.open();
    let core = run.core();
    let execute = |ask: &Ask| {
        let pending = core.execute(&to_command(ask), &Origin::default(), Reach::Disk);
        assert!(pending.is_ok(), "{pending:?}");
    };
    execute(&tiny_account());
    execute(&tiny_account());
    assert!(run.flush());
    let (first, is_over) = (core.journal().appended_seq().0, AtomicBool::new(false));
    let transfer = NewTransfer {
        debit: Some(0),
        credit: Some(1),
        amount: "0.01".into(),
        code: 0,
        effective: None,
        hold: None,
        texts: None,
    };
    let items = (0..ITEMS).map(|_| Item::New(transfer.clone())).collect();
    let batch = Ask::Batch { atomic: false, minimal: true, items };
    let looks = std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut looks = 0u64;
            while !is_over.load(Ordering::Acquire) {
                let balance = core.trial_balance(None, None);
                let posted: u128 = balance.value.iter().map(|(_, totals)| totals.debits).sum();
                assert_eq!(posted, u128::from(balance.seq.0 - first), "after {looks} looks");
                looks += 1;
            }
            looks
        });
        for round in 0..40_000 {
            execute(&batch);
            if round % 500 == 499 {
                assert!(run.flush());
            }
            if reader.is_finished() {
                break;
            }
        }
        is_over.store(true, Ordering::Release);
        reader.join().expect("every look agrees")
    });
    assert!(looks > 1_000, "{looks} looks prove little");
}
