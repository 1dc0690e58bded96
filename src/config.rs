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

/// Bytes of verified journal blocks in memory: the newest 64 MiB are some 3 million transfers.
pub const BLOCK_CACHE_BYTES: u64 = 64 * 1024 * 1024;

/// Bytes of account texts in memory.
pub const TEXT_CACHE_BYTES: u64 = 32 * 1024 * 1024;

/// Bytes of redb's page cache for the store; the kernel's page cache stands behind it.
pub const STORE_CACHE_BYTES: usize = 32 * 1024 * 1024;

/// Days for which an idempotency key is answered again.
pub const KEY_RETENTION_DAYS: u32 = 30;

/// Entries that a read may look at on an async worker: a third of a millisecond.
pub const WALK_MEMORY_MAX: usize = 512;

/// Entries that a read may look at on a thread that many share: the walk to a mark, nearly always.
pub const WALK_DISK_MAX: usize = 8 * MARK_EVERY as usize;

/// Rows that one page of a list looks at: about 15 ms of work. A page that ends here is short, and its
/// cursor goes on.
pub const SCAN_ROWS_MAX: usize = 20_000;

/// Reads at once that may wait for the disk; each has a thread meanwhile.
pub const DISK_READS_MAX: usize = 32;

/// Reads that wait for one of those places; more are refused.
pub const DISK_READS_WAITING_MAX: usize = 2_048;

/// Reads that wait for a place on which they may walk far; more are refused.
pub const FAR_READS_WAITING_MAX: usize = 64;

/// Rows of an answer that is made on an async worker: 0.1 ms. One of more rows is long, and is made on one
/// of few threads.
pub const SHORT_ROWS_MAX: usize = 100;

/// Long answers that wait for one of those threads; more are refused. A second's work for one thread.
pub const LONG_ANSWERS_WAITING_MAX: usize = 256;

/// Places of statements that are remembered, so that the next page needs no walk: some 150 bytes each.
pub const STATEMENT_PLACES_MAX: u64 = 4_096;

/// Bytes of resolutions in memory, so that looking a transfer up needs no store.
pub const RESOLUTION_CACHE_BYTES: u64 = 4 * 1024 * 1024;

/// One entry in so many of a busy account carries its totals into the store: a walk to any entry of the
/// past takes about as many steps (0.7 µs each in memory), and a mark of some 100 bytes costs 0.2 bytes a transfer.
pub const MARK_EVERY: u32 = 1_024;

/// Entries between two checkpoints: three million replay in about a second.
pub const CHECKPOINT_ENTRIES: u64 = 3_000_000;

/// Seconds between two checkpoints when fewer entries came.
pub const CHECKPOINT_SECONDS: u64 = 30;

/// How long a repeated key waits for the first request before it is told that that one still runs.
pub const KEY_IN_FLIGHT_WAIT: std::time::Duration = std::time::Duration::from_secs(1);

/// Single commands inside the engine at once: at 50,000 a second, a third of a second of work.
pub const INTERACTIVE_MAX: usize = 16_384;

/// Batches that wait for a batch thread: 64 of 10,000 are half a second of work.
pub const BULK_QUEUE_MAX: usize = 64;

/// Time for a request's body to arrive: 8 MiB in it are 280 KiB/s, less than a poor mobile link gives.
pub const BODY_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(30);

/// Bytes of batch bodies in memory at once: sixteen of the largest.
pub const BATCH_BODIES_BYTES_MAX: usize = 128 * 1024 * 1024;

/// Transfers shown in one voucher: all that one command can make.
pub const VOUCHER_ROWS_MAX: usize = BATCH_ITEMS_MAX;

/// Background operations that are remembered; the oldest finished one makes room.
pub const OPERATIONS_MAX: usize = 64;

/// What requests of one kind may take. "May" is the 99th percentile over the last minutes: single
/// ones may be slower, and the slowest are kept with their stages.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Name of the kind, as `GET /v1/latency` shows it.
    pub class: &'static str,
    /// From the first byte of the head to the last header of the answer, microseconds.
    pub total_us: u64,
    /// Shares of the stages, microseconds. A stage that is not named has no share of its own.
    pub stages_us: &'static [(&'static str, u64)],
    /// Share of requests, in millionths, that are answered without a fault of ours and in time.
    pub objective_ppm: u32,
}

/// Shares of the edge's own work, the same for everybody: microseconds of computing each, times
/// about twenty, since two cores are shared with the kernel and with others.
const EDGE_US: [(&str, u64); 4] = [("auth", 200), ("limit", 200), ("idem", 500), ("other", 200)];

/// One command. 5 ms at 64 connections is what we promise; a group commit is 0.5 ms on this class
/// of disk, and a request waits for the running one and its own.
pub const BUDGET_SINGLE: Budget = Budget {
    class: "single",
    total_us: 5_000,
    stages_us: &[
        EDGE_US[0],
        EDGE_US[1],
        EDGE_US[2],
        EDGE_US[3],
        ("accept", 500),
        ("parse", 500),
        ("queue", 1_000),
        ("decide", 500),
        ("journal", 4_000),
        ("wake", 2_000),
        ("render", 500),
    ],
    objective_ppm: 999_000,
};

/// A batch: 10,000 items are 10 ms of work, 8 MiB take 80 ms over a gigabit network.
pub const BUDGET_BATCH: Budget = Budget {
    class: "batch",
    total_us: 250_000,
    stages_us: &[
        EDGE_US[0],
        EDGE_US[1],
        EDGE_US[3],
        ("accept", 100_000),
        ("idem", 10_000),
        ("parse", 50_000),
        ("queue", 100_000),
        ("decide", 100_000),
        ("journal", 50_000),
        ("wake", 5_000),
        ("render", 20_000),
    ],
    objective_ppm: 999_000,
};

/// One object. It waits for the commit of what it shows, and now and then for a block from the disk.
pub const BUDGET_READ: Budget = Budget {
    class: "read",
    total_us: 5_000,
    stages_us: &[EDGE_US[0], EDGE_US[1], EDGE_US[3], ("accept", 500), ("parse", 500), ("read", 4_000), ("render", 500)],
    objective_ppm: 999_000,
};

/// Lists, statements and reports: up to a thousand rows, each from a block that may lie on the disk.
pub const BUDGET_REPORT: Budget = Budget {
    class: "report",
    total_us: 250_000,
    stages_us: &[EDGE_US[0], EDGE_US[1], EDGE_US[3], ("parse", 1_000), ("read", 200_000), ("render", 50_000)],
    objective_ppm: 990_000,
};

/// About the process. `/metrics` renders some thousand lines.
pub const BUDGET_PROCESS: Budget =
    Budget { class: "process", total_us: 50_000, stages_us: &[EDGE_US[0], EDGE_US[1]], objective_ppm: 990_000 };

/// Seconds after which a block that nobody asked for leaves the cache: half a working day, so that
/// what the night's reports read does not stay. 0 is never.
pub const BLOCK_CACHE_IDLE_S: u64 = 4 * 3_600;

/// The same of an account's texts: a customer who is served is asked for many times in a few hours.
pub const TEXT_CACHE_IDLE_S: u64 = 8 * 3_600;

/// The same of the store's key chunks: a retry comes within minutes or never.
pub const KEY_CHUNK_CACHE_IDLE_S: u64 = 3_600;

/// Blocks remembered as hot over a restart: as many as the cache holds at its default size.
pub const HOT_BLOCKS_MAX: usize = 4_096;

/// Account texts remembered as hot over a restart.
pub const HOT_TEXTS_MAX: usize = 16_384;

/// How often, and how many at once, somebody may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Requests per second over time, at least 1.
    pub rate_per_s: u32,
    /// Requests at once after a pause, at least 1.
    pub burst: u32,
    /// Requests in flight.
    pub concurrency: u32,
}

/// What a key may do that says nothing else: more than this machine can (one client is a legal use of it),
/// so that only a limit of the key's own ever refuses a well-behaved caller.
pub const KEY_LIMIT: RateLimit = RateLimit { rate_per_s: 200_000, burst: 200_000, concurrency: 16_384 };

/// What one address beyond loopback may do: a branch's whole office behind one router.
pub const ADDRESS_LIMIT: RateLimit = RateLimit { rate_per_s: 20_000, burst: 20_000, concurrency: 2_048 };

/// Requests with no good token that one address beyond loopback may send: a till whose key has just been
/// revoked stays below, and nobody else behind its router is refused.
pub const STRANGER_LIMIT: RateLimit = RateLimit { rate_per_s: 100, burst: 1_000, concurrency: 2_048 };

/// Addresses that are counted at once: some 100 bytes each.
pub const ADDRESSES_MAX: u64 = 65_536;

/// Longest wait that a single command is let in for; beyond it is refused at once.
pub const INTERACTIVE_WAIT_MAX: std::time::Duration = std::time::Duration::from_millis(500);

/// Single commands that are let in however long they wait: without them nobody would find out that it is over.
pub const INTERACTIVE_MIN: usize = 64;

/// Longest wait that a batch is let in for.
pub const BULK_WAIT_MAX: std::time::Duration = std::time::Duration::from_secs(5);

/// Longest deadline that a caller may set, milliseconds: an hour.
pub const REQUEST_TIMEOUT_MS_MAX: u64 = 3_600_000;

/// API keys, revoked ones included: they are all in memory and in every checkpoint, some 200 bytes each.
pub const API_KEYS_MAX: usize = 10_000;

/// Bytes that `expand[]` may add to one answer: a page of 1,000 transfers with two accounts of 4 KiB each.
pub const EXPANDED_BYTES_MAX: usize = 8 << 20;

/// Scopes of one API key.
pub const API_KEY_SCOPES_MAX: usize = 64;

/// Longest time that a rotated key's old token stays good, seconds: thirty days.
pub const KEY_OVERLAP_SECONDS_MAX: i64 = 30 * 86_400;

/// Exports that run at once: each reads the whole journal on a thread of its own and keeps a MiB between that
/// thread and its reader. Two keep a disk busy; four let a slow reader be slow.
pub const EXPORTS_MAX: usize = 4;

/// How long an export waits for a reader to take 64 KiB. Below this a connection is slower than the 4 KiB/s
/// that the watchman of connections asks for, who does not see one stream of many that rests.
pub const EXPORT_PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);
