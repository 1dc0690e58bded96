//! Key tables of the store against the journal: every key of a range of entries and no other, each with its number.
//!
//! One table at a time: its keys are gathered while its range is walked, sorted at its end and compared with what it
//! has. That is 32 bytes a key of one table, however long the journal is.

use std::collections::{HashMap, VecDeque};

use crate::domain::entry::Entry;
use crate::domain::ids::Seq;
use crate::domain::lending::loan::events::{LoanEvent, Mode};
use crate::store::KeyKind;

use super::expected::Expected;

type Hash = [u8; 16];

/// A key as the journal has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    hash: Hash,
    /// The entry that made it.
    seq: u64,
    /// What a look-up leads to.
    number: u64,
}

/// Problems that are kept; the count goes on: a table may have millions of rows.
const PROBLEMS_MAX: usize = 1_000;

/// Keys that another record took over while their table was on its way; see [`KeyTables::owed`].
const OWED_MAX: usize = 1_000;

/// Ranges that have tables of a kind and did not end yet, and the keys of the current one.
#[derive(Debug)]
struct Walk {
    ranges: VecDeque<(Seq, Seq)>,
    rows: Vec<Row>,
}

impl Walk {
    fn over(ranges: &[(Seq, Seq)]) -> Walk {
        Walk { ranges: ranges.iter().copied().collect(), rows: Vec::new() }
    }

    fn push(&mut self, seq: Seq, hash: Hash, number: u64) {
        if self.ranges.front().is_some_and(|(first, last)| (*first..=*last).contains(&seq)) {
            self.rows.push(Row { hash, seq: seq.0, number });
        }
    }
}

/// The walk over the keys.
#[derive(Debug)]
pub(super) struct KeyTables<'a> {
    expected: &'a Expected<'a>,
    idempotency: Walk,
    external: Walk,
    /// Idempotency keys that their table lacks, with their seqs. Right only where a later record has the
    /// same key (its retention was over), so these wait for one.
    owed: HashMap<Hash, u64>,
    /// Rows that were compared.
    pub compared: u64,
    /// What is wrong, and from which seq on; at most [`PROBLEMS_MAX`].
    pub problems: Vec<(Option<Seq>, String)>,
    /// How many more there are.
    pub more_problems: u64,
}

impl<'a> KeyTables<'a> {
    /// At the beginning of a journal that ends with an entry.
    pub fn new(expected: &'a Expected<'a>, end: Seq) -> KeyTables<'a> {
        let mut tables = KeyTables {
            expected,
            idempotency: Walk::over(&expected.idempotency),
            external: Walk::over(&expected.external),
            owed: HashMap::new(),
            compared: 0,
            problems: Vec::new(),
            more_problems: 0,
        };
        let mut next = Seq(1);
        for (first, last) in expected.external.iter().copied() {
            if first != next || last < first {
                tables
                    .problem(first, format!("the store has key tables from seq={first} on, where seq={next} belongs"));
            }
            next = last.next();
        }
        for pair in expected.idempotency.windows(2).filter(|pair| pair[1].0 != pair[0].1.next()) {
            let (before, first) = (pair[0].1, pair[1].0);
            tables.problem(
                first,
                format!("the store has no idempotency keys from seq={} to before seq={first}", before.next()),
            );
        }
        if expected.idempotency.last().is_some_and(|(_, last)| last.next() != next) {
            tables.problem(next, format!("the store has no idempotency keys of the last entries before seq={next}"));
        }
        if next > end.next() {
            tables.problem(
                end,
                format!("the store has key tables up to seq={}, the journal ends with seq={end}", next.0 - 1),
            );
        }
        tables
    }

    fn problem(&mut self, seq: Seq, what: String) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push((Some(seq), what));
        } else {
            self.more_problems += 1;
        }
    }

    /// A record begins: ranges may have ended before it.
    #[inline]
    pub fn record(&mut self, first: Seq) {
        while self.external.ranges.front().is_some_and(|(_, last)| *last < first) {
            self.end(KeyKind::External);
        }
        while self.idempotency.ranges.front().is_some_and(|(_, last)| *last < first) {
            self.end(KeyKind::Idempotency);
        }
    }

    /// An entry: it may have an external id.
    #[inline]
    pub fn entry(&mut self, seq: Seq, entry: &Entry) {
        let (kind, text, number) = match entry {
            Entry::Transfer(transfer) => match &transfer.cold {
                None => return,
                Some(cold) => (b"transfer", cold.external_id.as_deref(), seq.0),
            },
            Entry::AccountOpened(opened) => {
                (b"account:", opened.cold.external_id.as_deref(), u64::from(opened.account.0))
            }
            // A customer keeps its external id: only its first entry takes it.
            Entry::CustomerSaved(saved) if saved.version == 1 => {
                (b"customer", saved.facts.external_id.as_deref(), u64::from(saved.number))
            }
            _ => return self.lending(seq, entry),
        };
        if let Some(text) = text {
            self.external_id(seq, *kind, text, number);
        }
    }

    /// The same of what lending has. A product keeps its external id, too.
    fn lending(&mut self, seq: Seq, entry: &Entry) {
        match entry {
            Entry::ProductSaved(saved) if saved.version == 1 => {
                if let Some(text) = saved.facts.external_id.as_deref() {
                    self.external_id(seq, *b"product:", text, u64::from(saved.number));
                }
            }
            Entry::LoanPosted(posted) => {
                let own = posted.application.as_ref().and_then(|application| application.external_id.as_deref());
                if let Some(text) = own {
                    self.external_id(seq, *b"loan:   ", text, u64::from(posted.loan));
                }
                let reference = posted.texts.as_ref().and_then(|texts| texts.reference.as_deref());
                if let Some((reference, rail)) = reference.zip(rail_of(&posted.event)) {
                    self.external_id(seq, *b"payment:", &format!("{rail}:{reference}"), seq.0);
                }
            }
            _ => {}
        }
    }

    fn external_id(&mut self, seq: Seq, kind: [u8; 8], text: &str, number: u64) {
        self.external.push(seq, external_hash(kind, text), number);
    }

    /// The idempotency key of a record.
    pub fn key(&mut self, first: Seq, hash: Hash) {
        if !self.owed.is_empty() {
            self.owed.remove(&hash);
        }
        self.idempotency.push(first, hash, first.0);
    }

    /// The journal has ended.
    pub fn finish(&mut self) {
        while !self.external.ranges.is_empty() {
            self.end(KeyKind::External);
        }
        while !self.idempotency.ranges.is_empty() {
            self.end(KeyKind::Idempotency);
        }
        let mut owed: Vec<u64> = self.owed.drain().map(|(_, seq)| seq).collect();
        owed.sort_unstable();
        owed.into_iter().for_each(|seq| self.problem(Seq(seq), lacks(KeyKind::Idempotency, seq)));
    }

    fn end(&mut self, kind: KeyKind) {
        let walk = match kind {
            KeyKind::External => &mut self.external,
            KeyKind::Idempotency => &mut self.idempotency,
        };
        let rows = std::mem::take(&mut walk.rows);
        if let Some((first, _)) = walk.ranges.pop_front() {
            self.compare(kind, first, rows);
        }
    }

    fn compare(&mut self, kind: KeyKind, first: Seq, mut rows: Vec<Row>) {
        rows.sort_unstable();
        for pair in rows.windows(2).filter(|pair| kind == KeyKind::External && pair[0].hash == pair[1].hash) {
            let seq = pair[1].seq;
            self.problem(Seq(seq), format!("entry seq={seq}: its external id is taken"));
        }
        // Of two records with one key the newer counts.
        rows.reverse();
        rows.dedup_by_key(|row| row.hash);
        rows.reverse();
        let expected = self.expected;
        let mut at = 0;
        let done = expected.store.load_key_table(kind, first, &mut |hash, number| {
            self.compared += 1;
            while let Some(row) = rows.get(at).filter(|row| row.hash < hash) {
                self.lacking(kind, row);
                at += 1;
            }
            match rows.get(at).filter(|row| row.hash == hash) {
                Some(row) => {
                    at += 1;
                    if row.number != number.0 {
                        let what = format!("the store says {number} where {} belongs", row.number);
                        self.problem(Seq(row.seq), format!("{} of seq={}: {what}", name(kind), row.seq));
                    }
                }
                None => {
                    let what = format!("the store has an {} for {number}", name(kind));
                    self.problem(first, format!("{what} in the table from seq={first} on, the journal does not"));
                }
            }
        });
        match done {
            Ok(true) => rows[at..].iter().for_each(|row| self.lacking(kind, row)),
            // Dropped after its time, as all older ones were; those of external ids never are.
            Ok(false) if kind == KeyKind::Idempotency && self.was_oldest(first) => {}
            Ok(false) => self.problem(first, format!("the store lacks the {}s from seq={first} on", name(kind))),
            Err(error) => self.problem(first, error.to_string()),
        }
    }

    /// Whether a table that is not there any more was dropped after its time: older ones go first.
    fn was_oldest(&self, first: Seq) -> bool {
        let ranges = self.expected.store.key_ranges(KeyKind::Idempotency);
        ranges.first().is_none_or(|(oldest, _)| *oldest > first)
    }

    fn lacking(&mut self, kind: KeyKind, row: &Row) {
        if kind == KeyKind::Idempotency && self.owed.len() < OWED_MAX {
            self.owed.insert(row.hash, row.seq);
        } else {
            self.problem(Seq(row.seq), lacks(kind, row.seq));
        }
    }
}

fn lacks(kind: KeyKind, seq: u64) -> String {
    format!("the store lacks the {} of seq={seq}", name(kind))
}

fn name(kind: KeyKind) -> &'static str {
    match kind {
        KeyKind::Idempotency => "idempotency key",
        KeyKind::External => "external id",
    }
}

/// The number of the rail that money came or went by; none for what moves no money of a rail.
fn rail_of(event: &LoanEvent) -> Option<u8> {
    match event {
        LoanEvent::Disbursed { mode, .. }
        | LoanEvent::Received { mode, .. }
        | LoanEvent::Prepaid { mode, .. }
        | LoanEvent::Recovered { mode, .. }
        | LoanEvent::Refunded { mode, .. }
        | LoanEvent::Foreclosed { mode, .. }
        | LoanEvent::Settled { mode, .. }
        | LoanEvent::Cancelled { mode, .. } => Some(match mode {
            Mode::Cash => 0,
            Mode::Upi => 1,
            Mode::Imps => 2,
            Mode::Neft => 3,
            Mode::Rtgs => 4,
            Mode::Nach => 5,
            Mode::Cheque => 6,
        }),
        _ => None,
    }
}

/// Written out again from docs/format.md: what the engine hashes is part of what is doubted here.
fn external_hash(kind: [u8; 8], text: &str) -> Hash {
    let mut whole = Vec::with_capacity(8 + text.len());
    whole.extend_from_slice(&kind);
    whole.extend_from_slice(text.as_bytes());
    let mut hash = [0; 16];
    hash.copy_from_slice(&blake3::hash(&whole).as_bytes()[..16]);
    hash
}
