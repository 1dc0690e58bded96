//! The messages, field by field as `data/proto/munim.v1.proto` numbers them; a test reads that file.
//!
//! Derived by hand instead of generated: no `protoc` is needed to build. A field that may be absent is an
//! `Option`, also where it is required: what is missing must be told apart from what is empty.

use std::collections::BTreeMap;

use prost::{Enumeration, Message, Oneof};

/// A transfer to make.
#[derive(Clone, PartialEq, Message)]
pub struct NewTransfer {
    /// One side.
    #[prost(string, optional, tag = "1")]
    pub debit_account: Option<String>,
    /// The other side.
    #[prost(string, optional, tag = "2")]
    pub credit_account: Option<String>,
    /// A decimal.
    #[prost(string, optional, tag = "3")]
    pub amount: Option<String>,
    /// The caller's code. Read wider than it is sent: what does not fit is to be refused, not cut to 32 bits.
    #[prost(uint64, optional, tag = "4")]
    pub code: Option<u64>,
    /// The caller's id.
    #[prost(string, optional, tag = "5")]
    pub external_id: Option<String>,
    /// `YYYY-MM-DD`.
    #[prost(string, optional, tag = "6")]
    pub effective_date: Option<String>,
    /// Free text.
    #[prost(string, optional, tag = "7")]
    pub description: Option<String>,
    /// Pairs.
    #[prost(btree_map = "string, string", tag = "8")]
    pub metadata: BTreeMap<String, String>,
    /// Hold instead of post.
    #[prost(bool, optional, tag = "9")]
    pub pending: Option<bool>,
    /// Life of the hold, seconds.
    #[prost(int64, optional, tag = "10")]
    pub expires_in_s: Option<i64>,
}

/// Posts a hold.
#[derive(Clone, PartialEq, Message)]
pub struct Post {
    /// Which hold, in a batch.
    #[prost(string, optional, tag = "1")]
    pub transfer: Option<String>,
    /// How much of it.
    #[prost(string, optional, tag = "2")]
    pub amount: Option<String>,
}

/// Voids a hold.
#[derive(Clone, PartialEq, Message)]
pub struct Void {
    /// Which hold, in a batch.
    #[prost(string, optional, tag = "1")]
    pub transfer: Option<String>,
}

/// Reverses a posted transfer.
#[derive(Clone, PartialEq, Message)]
pub struct Reverse {
    /// Why.
    #[prost(string, optional, tag = "1")]
    pub reason: Option<String>,
}

/// One item of a batch.
#[derive(Clone, PartialEq, Message)]
pub struct BatchItem {
    /// What to do.
    #[prost(oneof = "ItemOperation", tags = "1, 2, 3")]
    pub operation: Option<ItemOperation>,
}

/// What an item does.
#[derive(Clone, PartialEq, Oneof)]
pub enum ItemOperation {
    /// A new transfer or hold.
    #[prost(message, tag = "1")]
    Transfer(NewTransfer),
    /// Posts a hold.
    #[prost(message, tag = "2")]
    Post(Post),
    /// Voids a hold.
    #[prost(message, tag = "3")]
    Void(Void),
}

/// Whether one refusal refuses all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum Mode {
    /// As [`Mode::Independent`].
    Unspecified = 0,
    /// Each item on its own.
    Independent = 1,
    /// All or none.
    Atomic = 2,
}

/// Several items in one command.
#[derive(Clone, PartialEq, Message)]
pub struct NewBatch {
    /// Whether one refusal refuses all.
    #[prost(enumeration = "Mode", tag = "1")]
    pub mode: i32,
    /// The items.
    #[prost(message, repeated, tag = "2")]
    pub transfers: Vec<BatchItem>,
}

/// A transfer.
#[derive(Clone, PartialEq, Message)]
pub struct Transfer {
    /// `tr_…`; absent in a dry run.
    #[prost(string, optional, tag = "1")]
    pub id: Option<String>,
    /// The caller's id.
    #[prost(string, optional, tag = "2")]
    pub external_id: Option<String>,
    /// One side.
    #[prost(string, tag = "3")]
    pub debit_account: String,
    /// The other side.
    #[prost(string, tag = "4")]
    pub credit_account: String,
    /// A decimal.
    #[prost(string, tag = "5")]
    pub amount: String,
    /// ISO 4217.
    #[prost(string, tag = "6")]
    pub currency: String,
    /// Where it stands.
    #[prost(string, tag = "7")]
    pub status: String,
    /// The caller's code.
    #[prost(uint32, tag = "8")]
    pub code: u32,
    /// Free text.
    #[prost(string, optional, tag = "9")]
    pub description: Option<String>,
    /// `YYYY-MM-DD`.
    #[prost(string, tag = "10")]
    pub effective_date: String,
    /// RFC 3339.
    #[prost(string, tag = "11")]
    pub created_at: String,
    /// Its place in the journal; absent in a dry run.
    #[prost(uint64, optional, tag = "12")]
    pub seq: Option<u64>,
    /// `je_…`; absent in a dry run.
    #[prost(string, optional, tag = "13")]
    pub entry: Option<String>,
    /// Deadline of a hold.
    #[prost(string, optional, tag = "14")]
    pub expires_at: Option<String>,
    /// What was posted of a hold.
    #[prost(string, optional, tag = "15")]
    pub posted_amount: Option<String>,
    /// When a hold was resolved.
    #[prost(string, optional, tag = "16")]
    pub resolved_at: Option<String>,
    /// The transfer that reversed it.
    #[prost(string, optional, tag = "17")]
    pub reversed_by: Option<String>,
    /// The transfer that it reverses.
    #[prost(string, optional, tag = "18")]
    pub reverses: Option<String>,
    /// Pairs.
    #[prost(btree_map = "string, string", tag = "19")]
    pub metadata: BTreeMap<String, String>,
    /// Nothing was done.
    #[prost(bool, tag = "20")]
    pub dry_run: bool,
}

/// A page of transfers.
#[derive(Clone, PartialEq, Message)]
pub struct TransferList {
    /// The rows, newest first.
    #[prost(message, repeated, tag = "1")]
    pub data: Vec<Transfer>,
    /// More may follow.
    #[prost(bool, tag = "2")]
    pub has_more: bool,
    /// The address of the list.
    #[prost(string, tag = "3")]
    pub url: String,
}

/// What became of one item.
#[derive(Clone, PartialEq, Message)]
pub struct Result {
    /// Its place in the batch.
    #[prost(uint32, tag = "1")]
    pub index: u32,
    /// Its id, when it was accepted.
    #[prost(string, optional, tag = "2")]
    pub id: Option<String>,
    /// Why it was refused.
    #[prost(string, optional, tag = "3")]
    pub code: Option<String>,
    /// What to do about it.
    #[prost(string, optional, tag = "4")]
    pub detail: Option<String>,
}

/// What became of a batch.
#[derive(Clone, PartialEq, Message)]
pub struct Batch {
    /// Whether one refusal refuses all.
    #[prost(enumeration = "Mode", tag = "1")]
    pub mode: i32,
    /// Items accepted.
    #[prost(uint32, tag = "2")]
    pub posted: u32,
    /// Items refused.
    #[prost(uint32, tag = "3")]
    pub rejected: u32,
    /// Nothing was done.
    #[prost(bool, tag = "4")]
    pub dry_run: bool,
    /// Id of the first accepted item, in a short answer.
    #[prost(string, optional, tag = "5")]
    pub first: Option<String>,
    /// Id of the last accepted item, in a short answer.
    #[prost(string, optional, tag = "6")]
    pub last: Option<String>,
    /// Item by item.
    #[prost(message, repeated, tag = "7")]
    pub results: Vec<Result>,
}
