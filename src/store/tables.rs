//! All tables of the store and the row formats of each, on one page.
//!
//! Promise: every table is `u128 → bytes`, and every value is `version · body · seal` (see `row`).
//! Numbers in bodies are LEB128 varints unless a width is given; fixed widths are little-endian.
//! "Chained" tables can prove that a row is absent (see `chain`); the others are dense, and a hole
//! in them is corruption.
//!
//! | table | key | body |
//! |---|---|---|
//! | `format` | 0 | nothing: its version byte is the version of the whole file |
//! | `meta` (chained) | 0 | where the checkpoint stands: see `encode_meta` |
//! | `accounts` | number / 1,000 | 1 ..= 1,000 rows of 64 bytes, see `encode_account` |
//! | `holds` (chained) | seq >> 10 | rows by seq: low bits, debit, credit, amount, flags, code, expiry?, effective? |
//! | `resolutions` (chained) | original >> 12 | rows by original: low bits · 4 + kind, by − original |
//! | `anchors` (chained) | day << 32 \| number >> 9 | rows by number: low bits, days back, last seq, four sums |
//! | `offdates` (chained) | account << 80 \| effective << 64 \| seq >> 12 | rows by seq: low bits · 2 + side, booked, amount |
//! | `offdate_sums` (chained) | account << 1 \| kind | rows by day: day, debits, credits |
//! | `offdate_days` (chained) | effective << 64 \| seq >> 12 | seqs: low bits |
//! | `gl_days` (chained) | day | by line, ascending: lines left out before it, debits, credits |
//! | `key_heads` (chained) | level << 72 \| kind << 64 \| first entry | newest moment (8), last entry, rows, bytes of the filter, first hash of each chunk (16 each) |
//! | `key_rows` | level << 104 \| kind << 96 \| first entry << 32 \| chunk | 1 ..= 168 rows: hash of 16 bytes, seq of 8 |
//! | `key_filters` | level << 104 \| kind << 96 \| first entry << 32 \| piece | 65,024 bytes of the filter, the last piece shorter |
//! | `marks` (chained) | account << 64 \| place >> 10 | rows by place: low bits, back to last seq, back to cold seq, version, status, day, day before, four sums |
//! | `customers` | (number − 1) / 3,000 | 1 ..= 3,000 rows of 20 bytes: version, last seq, made at |
//! | `loans` | number | a row as the engine packs it, opaque here |
//! | `loan_events` | number << 32 \| chunk of 500 | the events of a loan, oldest first, as the engine packs them |
//! | `links` | tag << 120 \| (key + 1, 0 for the head) | the next key in the same form, 16 bytes |

use redb::TableDefinition;

/// Version of the file and of every value. A change of any format above is a new version: the store
/// is disposable, so an old one is deleted and rebuilt, never migrated.
///
/// 2: `gl_days` leaves lines without postings out. 3: `marks`. 4: holds stand in `offdate_days`, too. 5: `customers`.
/// 6: `loans`, `loan_events`. 8: key tables are of ranges, and have another kind of filter.
pub(super) const FORMAT: u8 = 8;

/// Greatest length of a stored value, bytes. redb rounds values up to a power of two with the page's
/// own header: 65,300 costs 1.0 times its length, 65,536 costs twice.
pub(super) const VALUE_BYTES_MAX: usize = 65_300;

/// Accounts in one row of `accounts`: 1,000 × 64 bytes is the greatest round number below [`VALUE_BYTES_MAX`].
pub(super) const ACCOUNTS_PER_CHUNK: u32 = 1_000;

/// Customers in one row of `customers`: 3,000 × 20 bytes.
pub(super) const CUSTOMERS_PER_CHUNK: usize = 3_000;

/// Rows in one row of `key_rows`: 168 × 24 bytes fill a page of 4 KiB. A key that is not there and passes a filter costs
/// the reading of one; fewer to a row would mean more fences in memory than 12 bits a key leave room for.
pub(super) const KEYS_PER_CHUNK: usize = 168;

/// Bytes of a filter in one row of `key_filters`.
pub(super) const FILTER_PIECE_BYTES: usize = 65_024;

/// Bits of the seq inside a chunk of holds.
pub(super) const HOLD_BITS: u32 = 10;

/// Bits of the seq inside a chunk of resolutions and off-date rows.
pub(super) const SEQ_BITS: u32 = 12;

/// Bits of the account number inside a chunk of anchors.
pub(super) const ANCHOR_BITS: u32 = 9;

/// Bits of the place inside a chunk of marks: as many as fit [`VALUE_BYTES_MAX`] when every place is marked.
pub(super) const MARK_BITS: u32 = 10;

/// A table of the store: its name in redb and the number that stands for it in seals and links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Table {
    /// Name in redb and in errors.
    pub name: &'static str,
    /// Unique, below 128; part of the file format.
    pub tag: u8,
    /// Whether its keys are chained in `links`.
    pub is_chained: bool,
}

impl Table {
    /// The table as redb wants it named.
    pub fn definition(self) -> TableDefinition<'static, u128, &'static [u8]> {
        TableDefinition::new(self.name)
    }
}

const fn dense(name: &'static str, tag: u8) -> Table {
    Table { name, tag, is_chained: false }
}

const fn chained(name: &'static str, tag: u8) -> Table {
    Table { name, tag, is_chained: true }
}

pub(super) const FORMATS: Table = dense("format", 0);
pub(super) const META: Table = chained("meta", 1);
pub(super) const ACCOUNTS: Table = dense("accounts", 2);
pub(super) const HOLDS: Table = chained("holds", 3);
pub(super) const RESOLUTIONS: Table = chained("resolutions", 4);
pub(super) const ANCHORS: Table = chained("anchors", 5);
pub(super) const OFFDATES: Table = chained("offdates", 6);
pub(super) const OFFDATE_SUMS: Table = chained("offdate_sums", 7);
pub(super) const OFFDATE_DAYS: Table = chained("offdate_days", 8);
pub(super) const GL_DAYS: Table = chained("gl_days", 9);
pub(super) const KEY_HEADS: Table = chained("key_heads", 10);
pub(super) const KEY_ROWS: Table = dense("key_rows", 11);
pub(super) const KEY_FILTERS: Table = dense("key_filters", 12);
pub(super) const LINKS: Table = dense("links", 13);
pub(super) const MARKS: Table = chained("marks", 14);
pub(super) const CUSTOMERS: Table = dense("customers", 15);
pub(super) const LOANS: Table = dense("loans", 16);
pub(super) const LOAN_EVENTS: Table = dense("loan_events", 17);

/// Every table, in order of their tags.
pub(super) const TABLES: [Table; 18] = [
    FORMATS,
    META,
    ACCOUNTS,
    HOLDS,
    RESOLUTIONS,
    ANCHORS,
    OFFDATES,
    OFFDATE_SUMS,
    OFFDATE_DAYS,
    GL_DAYS,
    KEY_HEADS,
    KEY_ROWS,
    KEY_FILTERS,
    LINKS,
    MARKS,
    CUSTOMERS,
    LOANS,
    LOAN_EVENTS,
];

// A full chunk with version and seal stays below the size at which redb doubles its space.
const _: () = assert!(ACCOUNTS_PER_CHUNK as usize * 64 + 9 <= VALUE_BYTES_MAX);
const _: () = assert!(CUSTOMERS_PER_CHUNK * 20 + 9 <= VALUE_BYTES_MAX);
const _: () = assert!(KEYS_PER_CHUNK * 24 + 9 <= VALUE_BYTES_MAX);
const _: () = assert!(FILTER_PIECE_BYTES + 9 <= VALUE_BYTES_MAX);
