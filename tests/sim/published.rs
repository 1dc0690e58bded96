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

const BATCHES: u64 = 400_000;

struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// A checkpoint that copied a batch's totals and said a seq before it would count the batch twice after a crash; found
/// by kill -9, once in some thousand.
#[test]
fn totals_have_no_batch_that_their_seq_does_not_cover() {
    let mut run = Run::new(7);
    run.is_wild = false;
    run.open();
    let core = run.core();
    let execute = |ask: &Ask| core.execute(&to_command(ask), &Origin::default(), Reach::Disk).is_ok();
    assert!(execute(&tiny_account()) && execute(&tiny_account()) && run.flush());
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
        // However this ends, the reader ends with it.
        let over = Over(&is_over);
        for _ in 0..BATCHES {
            // The journal takes no more than its writer and its upkeep can follow.
            let mut is_posted = execute(&batch);
            for _ in 0..100 {
                if is_posted {
                    break;
                }
                assert!(run.flush());
                let _ = run.live.as_mut().expect("open").maintenance.step();
                is_posted = execute(&batch);
            }
            assert!(is_posted);
            if reader.is_finished() {
                break;
            }
        }
        drop(over);
        reader.join().expect("every look agrees")
    });
    assert!(looks > 1_000, "{looks} looks prove little");
}
