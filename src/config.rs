//! Every limit with its unit and reason. Plain constants and structs; imported by all but `domain`.

/// Items in one batch. 10,000 keep a body under [`BATCH_BODY_BYTES_MAX`] and a lock under 5 ms.
pub const BATCH_ITEMS_MAX: usize = 10_000;

/// Bytes of an ordinary request body (API.md, "bounds").
pub const BODY_BYTES_MAX: usize = 64 * 1024;

/// Bytes of a batch body (API.md, "bounds").
pub const BATCH_BODY_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Characters of an account's name (API.md, "bounds").
pub const NAME_CHARS_MAX: usize = 200;

/// Characters of a description or reason (API.md, "bounds").
pub const DESCRIPTION_CHARS_MAX: usize = 500;

/// Pairs of metadata (API.md, "bounds").
pub const METADATA_PAIRS_MAX: usize = 50;

/// Characters of a metadata key (API.md, "bounds").
pub const METADATA_KEY_CHARS_MAX: usize = 40;

/// Characters of a metadata value (API.md, "bounds").
pub const METADATA_VALUE_CHARS_MAX: usize = 500;

/// Visible ASCII characters of an external id (API.md, "ids").
pub const EXTERNAL_ID_CHARS_MAX: usize = 64;

/// Visible ASCII characters of an idempotency key (API.md, "idempotency").
pub const IDEMPOTENCY_KEY_CHARS_MAX: usize = 255;

/// Rows of a list page (API.md, "lists").
pub const LIST_LIMIT_MAX: usize = 1_000;

/// Rows of a list page when the caller does not say.
pub const LIST_LIMIT_DEFAULT: usize = 50;

/// Period closings and re-openings shown; twelve a year for eight years.
pub const PERIOD_EVENTS_MAX: usize = 100;

/// Longest life of a hold, seconds: ten years. Longer ones are typing errors.
pub const HOLD_SECONDS_MAX: i64 = 10 * 366 * 86_400;
