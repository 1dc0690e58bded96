//! Reads against the model: rows, views, statements, balances of the past, lists, totals.

use std::collections::BTreeMap;
use std::sync::Arc;

use munim::domain::ids::{AccountNo, Moment, Seq};
use munim::domain::time::Day;
use munim::engine::Core;
use munim::engine::history::Reach;
use munim::engine::statement::{After, Snapshot, StatementQuery};
use munim::engine::view::{AccountFilter, TransferFilter, TransferScope};

use super::driver::Run;
use super::model::{Model, Posting};
use super::speak::{from_account, from_key, from_transfer};

/// One random read.
pub fn read_one(run: &mut Run, core: &Arc<Core>) {
    let accounts = run.model.accounts().max(1);
    let account = run.dice().below(u64::from(accounts) + 1) as u32;
    let durable = core.watermark().durable().0;
    let seq = run.dice().below(durable + 2);
    let limit = 1 + run.dice().below(5) as usize;
    let today = run.model.business_date();
    let day = (today + 2).saturating_sub(run.dice().below(8) as u16);
    let from = run.dice().chance(50).then(|| day.saturating_sub(2));
    match run.dice().below(8) {
        0 => account_row(run, core, account),
        1 => transfer(run, core, seq, durable),
        2 => statement(run, core, account, from, Some(day), limit),
        3 => balances(run, core, account, day, seq),
        4 => trial_balance(run, core, day),
        5 => lists(run, core, account, day, limit),
        6 => external_ids(run, core),
        _ => accounts_list(run, core, limit),
    }
}

/// Every read that there is.
pub fn read_all(run: &mut Run, core: &Arc<Core>) {
    let durable = core.watermark().durable().0;
    let today = run.model.business_date();
    for account in 0..=run.model.accounts() {
        account_row(run, core, account);
        statement(run, core, account, None, None, 7);
        statement(run, core, account, Some(today.saturating_sub(3)), Some(today), 1000);
        balances(run, core, account, today.saturating_sub(1), durable / 2);
        lists(run, core, account, today, 4);
    }
    for seq in 0..=durable {
        transfer(run, core, seq, durable);
    }
    trial_balance(run, core, u16::MAX);
    trial_balance(run, core, today.saturating_sub(1));
    external_ids(run, core);
    let keys: Vec<_> = core.keyring().all().iter().map(|key| from_key(key)).collect();
    assert_eq!(keys, run.model.keys());
    accounts_list(run, core, 3);
    let closed = run.model.closed_through();
    assert_eq!(core.business_date().0, today);
    let _ = closed;
}

fn account_row(run: &mut Run, core: &Core, no: u32) {
    let row = core.account_row(AccountNo(no));
    let expected = run.model.account(no);
    assert_eq!(row.is_some(), expected.is_some(), "account {no}");
    let (Some(row), Some(expected)) = (row, expected) else { return };
    let sums = [row.debits_posted, row.credits_posted, row.debits_pending, row.credits_pending].map(i128::from);
    assert_eq!(sums, expected.sums, "account {no}");
    assert_eq!(row.last_seq.0, expected.last_seq, "account {no}");
    if core.watermark().covers(row.last_seq)
        && let Some(view) = run.read(core.account_view(AccountNo(no), row, Reach::Disk))
    {
        assert_eq!(from_account(&view), expected);
        run.reveal(row.last_seq.0);
    }
}

fn transfer(run: &mut Run, core: &Core, seq: u64, durable: u64) {
    let Some(view) = run.read(core.transfer_view(Seq(seq), Reach::Disk)) else { return };
    let expected = if seq <= durable { run.model.view(seq, durable) } else { None };
    let told = view.map(|view| (from_transfer(&view.value), view.seq.0));
    assert_eq!(told, expected, "transfer {seq}");
    if let Some((_, as_of)) = told {
        run.reveal(as_of);
    }
}

/// A snapshot whose newest seq is durable, so that its reads may leave.
fn snapshot(core: &Core, no: u32) -> Option<Snapshot> {
    core.snapshot(AccountNo(no)).filter(|snapshot| core.watermark().covers(snapshot.account.last_seq))
}

fn statement(run: &mut Run, core: &Core, no: u32, from: Option<u16>, to: Option<u16>, limit: usize) {
    let Some(snapshot) = snapshot(core, no) else { return };
    let sign = |is_debit: bool| if is_debit == snapshot.account.is_debit_normal() { 1i128 } else { -1 };
    let all = run.model.postings(no);
    let sum = |lines: &mut dyn Iterator<Item = &Posting>| -> i128 {
        lines.map(|line| sign(line.is_debit) * i128::from(line.amount)).sum()
    };
    let is_in =
        |line: &&Posting| from.is_none_or(|day| line.effective >= day) && to.is_none_or(|day| line.effective <= day);
    let expected: Vec<&Posting> = all.iter().filter(is_in).collect();
    let opening = sum(&mut all.iter().filter(|line| from.is_some_and(|day| line.effective < day)));
    let closing = sum(&mut all.iter().filter(|line| to.is_none_or(|day| line.effective <= day)));
    let mut lines = Vec::new();
    let mut below = closing;
    loop {
        let after = lines.last().map(|(seq, ..): &(u64, u16, u64, i64, i128, Option<String>)| After::Line(Seq(*seq)));
        let query = StatementQuery { from: from.map(Day), to: to.map(Day), after, limit };
        let Some(page) = run.read(core.statement_page(&snapshot, &query, Reach::Disk)) else { return };
        assert_eq!(page.closing, below, "account {no}: a page begins where the one before ended");
        assert_eq!(
            page.opening + page.lines.iter().map(|line| line.amount).sum::<i128>(),
            page.closing,
            "account {no}"
        );
        let mut balance = page.closing;
        for line in &page.lines {
            assert_eq!(line.balance, balance, "account {no}");
            balance -= line.amount;
            let description = line.description.as_deref().map(str::to_owned);
            lines.push((
                line.seq.0,
                line.effective_date.0,
                line.transfer.0,
                line.created_at.0,
                line.amount,
                description,
            ));
        }
        below = page.opening;
        if !page.has_more {
            break;
        }
        assert_eq!(page.lines.len(), limit);
    }
    assert_eq!(below, opening, "account {no} {from:?} {to:?}");
    let expected: Vec<_> = expected
        .iter()
        .map(|line| {
            let amount = sign(line.is_debit) * i128::from(line.amount);
            (line.seq, line.effective, line.transfer, line.moment, amount, line.description.clone())
        })
        .collect();
    assert_eq!(lines, expected, "account {no} {from:?} {to:?}");
    // A page that starts anywhere is what the walk from the top found there.
    let middle = run.dice().below(lines.len() as u64 + 1) as usize;
    if let Some((seq, .., amount, _)) = lines.get(middle).cloned() {
        let query =
            StatementQuery { from: from.map(Day), to: to.map(Day), after: Some(After::Line(Seq(seq))), limit: 2 };
        let above: i128 = lines[..middle].iter().map(|(.., amount, _)| *amount).sum();
        if let Some(page) = run.read(core.statement_page(&snapshot, &query, Reach::Disk)) {
            assert_eq!(page.closing, closing - above - amount, "account {no} below {seq}");
            let rest: Vec<u64> = lines[middle + 1..].iter().take(2).map(|(seq, ..)| *seq).collect();
            assert_eq!(page.lines.iter().map(|line| line.seq.0).collect::<Vec<_>>(), rest, "account {no} below {seq}");
            assert_eq!(page.has_more, lines.len() > middle + 3, "account {no} below {seq}");
        }
    }
    run.reveal(snapshot.account.last_seq.0);
}

fn balances(run: &mut Run, core: &Core, no: u32, day: u16, seq: u64) {
    let Some(snapshot) = snapshot(core, no) else { return };
    let past = |totals: &munim::domain::apply::Anchor| {
        [totals.debits_posted, totals.credits_posted, totals.debits_pending, totals.credits_pending].map(i128::from)
    };
    if let Some(told) = run.read(core.balance_on(&snapshot, Day(day), Reach::Disk)) {
        assert_eq!(past(&told.totals), on_day(&run.model, no, day), "account {no} on {day}");
    }
    let Some(record) = run.model.records.iter().rfind(|record| record.first <= seq.max(1)) else { return };
    let (at, last) = (record.moment, record.last());
    let expected = run.model.account_by(no, last);
    if let Some(told) = run.read(core.row_at(&snapshot, Moment(at), Reach::Disk)) {
        let view = told.map(|row| run.read(core.account_view(AccountNo(no), row, Reach::Disk)));
        match view {
            None => assert_eq!(None, expected, "account {no} at {at}"),
            Some(view) => {
                assert!(view.is_none_or(|view| Some(from_account(&view)) == expected), "account {no} at {at}");
            }
        }
    }
    run.reveal(snapshot.account.last_seq.0);
}

/// Posted by effective date; pending as recorded at the end of that business day.
fn on_day(model: &Model, no: u32, day: u16) -> [i128; 4] {
    let mut sums = [0; 4];
    for line in model.postings(no).iter().filter(|line| line.effective <= day) {
        sums[usize::from(!line.is_debit)] += i128::from(line.amount);
    }
    let last = model.records.iter().rfind(|record| record.date <= day).map_or(0, super::model::Record::last);
    let recorded = model.sums(no, last);
    sums[2] = recorded[2];
    sums[3] = recorded[3];
    sums
}

fn trial_balance(run: &mut Run, core: &Core, on: u16) {
    let told = core.trial_balance(Some(Day(on)), None);
    let rows: BTreeMap<_, _> = told
        .value
        .iter()
        .map(|(key, totals)| {
            let key = (key.currency.code(), key.code, key.account_type as u8);
            (key, (totals.debits as i128, totals.credits as i128))
        })
        .collect();
    assert_eq!(rows, run.model.trial_balance(on), "trial balance on {on}");
    if core.watermark().covers(told.seq) {
        run.reveal(told.seq.0);
    }
}

fn lists(run: &mut Run, core: &Core, no: u32, day: u16, limit: usize) {
    let newest = core.journal().appended_seq();
    if !core.watermark().covers(newest) {
        return;
    }
    let by_account = pages(run, core, TransferScope::Account(AccountNo(no)), newest, limit);
    let expected = run.model.transfers_of(no);
    assert!(by_account.is_none_or(|told| told == expected), "transfers of account {no}");
    if let Some(mut told) = pages(run, core, TransferScope::Date(Day(day)), newest, limit) {
        // A hold that was posted later may stand where it was posted.
        told.sort_unstable();
        assert_eq!(told, run.model.effective_on(day, newest.0), "transfers on {day}");
    }
}

fn pages(run: &mut Run, core: &Core, scope: TransferScope, newest: Seq, limit: usize) -> Option<Vec<u64>> {
    let date = if let TransferScope::Date(day) = scope { Some(day) } else { None };
    let filter = TransferFilter { date, ..TransferFilter::of(scope) };
    let mut before = None;
    let mut seqs = Vec::new();
    for _ in 0..10_000 {
        let begin = core.newest_of(&filter);
        let page = run.read(core.transfer_page(&filter, begin, before, limit, Reach::Disk))?;
        for view in &page.value.rows {
            let told = from_transfer(view);
            assert_eq!(Some(&told), run.model.view(told.seq, newest.0).map(|(view, _)| view).as_ref());
            seqs.push(told.seq);
        }
        run.reveal(page.seq.0);
        before = page.value.cursor.map(Seq);
        if !page.value.has_more {
            return Some(seqs);
        }
    }
    panic!("the list of {scope:?} does not end");
}

fn external_ids(run: &mut Run, core: &Core) {
    for n in 0..30 {
        let account = core.resolve_account(&format!("ext:A{n}"), Reach::Disk);
        let transfer = core.resolve_transfer(&format!("ext:T{n}"), Reach::Disk);
        if !run.is_sound() && (account.is_err() || transfer.is_err()) {
            return;
        }
        let account = account.expect("the store reads").map(|no| no.0);
        assert_eq!(account, run.model.external_account(&format!("A{n}")), "A{n}");
        let transfer = transfer.expect("the store reads").map(|seq| seq.0);
        assert_eq!(transfer, run.model.external_transfer(&format!("T{n}")), "T{n}");
    }
}

fn accounts_list(run: &mut Run, core: &Core, limit: usize) {
    let mut before = None;
    let mut seen = Vec::new();
    loop {
        let page = core.account_rows(&AccountFilter::default(), before, limit, Reach::Far).expect("a page ends");
        seen.extend(page.rows.iter().map(|(no, row)| (no.0, row.version, row.status as u8)));
        before = page.rows.last().map(|(no, _)| *no);
        if !page.has_more {
            break;
        }
    }
    let expected: Vec<_> = (0..run.model.accounts())
        .rev()
        .filter_map(|no| run.model.account(no))
        .map(|account| (account.no, account.version, account.status))
        .collect();
    assert_eq!(seen, expected);
}
