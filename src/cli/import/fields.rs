//! What an item of each kind may hold: one table for CSV columns and JSON fields.
//!
//! Only shape is checked here (known fields, required ones, text or number), because a malformed item
//! would make the server refuse the whole body that carries it. What a value means is the server's.

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ItemKind {
    /// Rows for `POST /v1/accounts/batch`.
    Accounts,
    /// Rows for `POST /v1/transfers/batch`.
    Transfers,
}

/// How a field's value is written in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A string; amounts too.
    Text,
    /// A whole number of at most 32 bits.
    Number,
    /// `true` or `false`.
    Flag,
    /// An object of strings; in CSV one column `metadata.<key>` for each.
    Metadata,
}

/// One field.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its name in the API and in a CSV header.
    pub name: &'static str,
    /// How its value is written.
    pub shape: Shape,
    /// Whether every item needs it.
    pub is_required: bool,
}

const fn field(name: &'static str, shape: Shape, is_required: bool) -> Field {
    Field { name, shape, is_required }
}

const ACCOUNT_FIELDS: &[Field] = &[
    field("external_id", Shape::Text, false),
    field("name", Shape::Text, false),
    field("currency", Shape::Text, true),
    field("type", Shape::Text, true),
    field("code", Shape::Number, false),
    field("balance_rule", Shape::Text, false),
    field("metadata", Shape::Metadata, false),
];

const TRANSFER_FIELDS: &[Field] = &[
    field("external_id", Shape::Text, false),
    field("debit_account", Shape::Text, true),
    field("credit_account", Shape::Text, true),
    field("amount", Shape::Text, true),
    field("code", Shape::Number, false),
    field("effective_date", Shape::Text, false),
    field("description", Shape::Text, false),
    field("pending", Shape::Flag, false),
    field("expires_in_s", Shape::Number, false),
    field("metadata", Shape::Metadata, false),
];

/// Before a metadata key in a CSV header.
pub const METADATA_PREFIX: &str = "metadata.";

/// Before the columns and fields that a file of rejected rows adds; they are skipped when it is imported.
pub const REJECTED_PREFIX: &str = "rejected_";

impl ItemKind {
    /// The fields of an item, in the order of the API's description.
    #[must_use]
    pub fn fields(self) -> &'static [Field] {
        match self {
            ItemKind::Accounts => ACCOUNT_FIELDS,
            ItemKind::Transfers => TRANSFER_FIELDS,
        }
    }

    /// The field of a name.
    #[must_use]
    pub fn field(self, name: &str) -> Option<&'static Field> {
        self.fields().iter().find(|field| field.name == name)
    }

    /// The collection's name in paths and bodies.
    #[must_use]
    pub fn collection(self) -> &'static str {
        match self {
            ItemKind::Accounts => "accounts",
            ItemKind::Transfers => "transfers",
        }
    }

    /// Recognises a file by the names in its header or first object.
    #[must_use]
    pub fn detect<'a>(mut names: impl Iterator<Item = &'a str> + Clone) -> Option<ItemKind> {
        if names.clone().any(|name| name == "debit_account" || name == "credit_account" || name == "amount") {
            Some(ItemKind::Transfers)
        } else if names.any(|name| name == "currency" || name == "type" || name == "balance_rule") {
            Some(ItemKind::Accounts)
        } else {
            None
        }
    }
}
