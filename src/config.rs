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

/// Bytes of verified journal blocks in memory. An eighth is for the newest, read or not: 80,000 to 600,000 transfers.
pub const BLOCK_CACHE_BYTES: u64 = 64 * 1024 * 1024;

/// Bytes of account texts in memory.
pub const TEXT_CACHE_BYTES: u64 = 32 * 1024 * 1024;

/// Bytes of redb's page cache for the store; the kernel's page cache stands behind it.
pub const STORE_CACHE_BYTES: usize = 32 * 1024 * 1024;

/// Shards of the keys in memory, whatever the cores. A map that grows moves all its rows under its lock, half a microsecond
/// each: of two maps for millions that was 0.4 s in which every posting waited; of 64 small ones it is 14 ms, for few.
pub const KEY_SHARDS: usize = 64;

/// So many keys in memory become a table of the store. Until then they take some 30 bytes each, in maps that are seven
/// eighths full: 64 × 2^13 places, 13 MB, hold these and what comes until the table is written. A start reads the
/// journal from the newest table on.
pub const KEYS_PER_TABLE: u64 = 400_000;

/// Tables are merged up to so many keys: an audit gathers the keys of one table, 32 bytes each.
pub const MERGED_KEYS_MAX: u64 = 4_000_000;

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

/// Loans that a checkpoint writes in one transaction: some 2 MiB, which the disk takes in a few milliseconds.
pub const LOANS_PER_COMMIT: usize = 8_000;

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

/// Lines of a statement as a document: some 250 pages, a tenth of a second. Who wants more asks for shorter periods.
pub const DOCUMENT_LINES_MAX: usize = 10_000;

/// Bytes of a document that is verified: far more than one of [`DOCUMENT_LINES_MAX`] lines has.
pub const DOCUMENT_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// Characters of the lender's name on documents.
pub const LENDER_CHARS_MAX: usize = 100;

/// The lender's name on documents where the operator gives none.
pub const LENDER_DEFAULT: &str = "The lender";

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

/// Entries that one look at the journal renders for those who follow: some 2 ms of work.
pub const FEED_CHUNK_ENTRIES: u64 = 2_048;

/// Bytes of rendered events that followers share: some 20,000 transfers. Who is further behind reads the journal.
pub const FEED_RING_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Streams of events at once, by SSE and WebSocket together.
pub const FEED_FOLLOWERS_MAX: usize = 5_000;

/// Events that a follower behind the ring reads from the journal at once, and entries that he looks at for them.
pub const FEED_PAGE_EVENTS: usize = 256;

/// See [`FEED_PAGE_EVENTS`].
pub const FEED_PAGE_ENTRIES: u64 = 20_000;

/// Entries that one `GET /v1/events` looks at for its page, most of them of other topics.
pub const EVENTS_ENTRIES_MAX: u64 = 100_000;

/// Bytes that wait for a client of SSE to take them; nothing more is read for him meanwhile.
pub const STREAM_OUTBOX_BYTES_MAX: usize = 256 * 1024;

/// Bytes that a client of SSE may send behind his request, to which nobody listens: one who sends more is cut.
pub const STREAM_UNASKED_BYTES_MAX: usize = 64 * 1024;

/// A quiet stream says that it lives, and how far it has come.
pub const STREAM_BEAT: std::time::Duration = std::time::Duration::from_secs(15);

/// Kinds or patterns in one request for events.
pub const EVENT_PATTERNS_MAX: usize = 64;

/// Commands of one WebSocket that are decided and not yet answered; more are left in the socket until some are.
pub const WEBSOCKET_IN_FLIGHT_MAX: usize = 1_024;

/// Bytes that wait for a WebSocket's client to take them; nothing more is read from it or for it meanwhile.
pub const WEBSOCKET_OUTBOX_BYTES_MAX: usize = 256 * 1024;

/// Messages that one WebSocket carries out before others have their turn.
pub const WEBSOCKET_TURN_MESSAGES: usize = 128;

/// Bytes that are read from a WebSocket at once. The protocol's library clears so many before each look at the socket,
/// also where nothing has come: at 32 KiB that was 7 % of what telling 2,000 followers costs.
pub const WEBSOCKET_READ_BYTES: usize = 8 * 1024;

/// A WebSocket that says nothing so long is asked whether it lives, and cut after as long again.
pub const WEBSOCKET_SILENCE: std::time::Duration = std::time::Duration::from_secs(30);

/// Longest wait that a receiver's `Retry-After` is granted: a day, as the longest step of the webhook schedule.
pub const OUTBOUND_RETRY_AFTER_MAX: std::time::Duration = std::time::Duration::from_secs(86_400);

/// Bytes of a URL that we call. Longer ones break on proxies.
pub const OUTBOUND_URL_BYTES_MAX: usize = 2_048;

/// Bytes of a body that we send: what a full page of events has, with room.
pub const OUTBOUND_REQUEST_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Bytes of an answer's headers. Most have under one KiB.
pub const OUTBOUND_HEADER_BYTES_MAX: usize = 64 * 1024;

/// Bytes of an answer's body that are kept; the rest is not read.
pub const OUTBOUND_BODY_BYTES_MAX: usize = 64 * 1024;

/// Networks that a setting may allow.
pub const OUTBOUND_ALLOW_MAX: usize = 256;

/// Names of receivers in memory: some 200 bytes each.
pub const OUTBOUND_NAMES_MAX: u64 = 10_000;

/// Longest life of a name's addresses, whatever its TTL says: a receiver that moves is followed within the hour.
pub const OUTBOUND_NAME_TTL_MAX: std::time::Duration = std::time::Duration::from_secs(3_600);

/// How long it is remembered that a name has no address. Short: somebody is about to set it up.
pub const OUTBOUND_NAME_NEGATIVE_TTL: std::time::Duration = std::time::Duration::from_secs(10);

/// Addresses of one name that are kept and tried, one after the other.
pub const OUTBOUND_ADDRESSES_MAX: usize = 4;

/// Destinations (scheme, host, port) whose breakers are kept: some 1 KiB each.
pub const OUTBOUND_DESTINATIONS_MAX: usize = 4_096;

/// Idle connections to one destination.
pub const OUTBOUND_IDLE_PER_DESTINATION_MAX: usize = 4;

/// Idle connections in all.
pub const OUTBOUND_IDLE_MAX: usize = 256;

/// How long a connection may idle. Many receivers close theirs after a minute; a call should not meet that.
pub const OUTBOUND_IDLE_TIME_MAX: std::time::Duration = std::time::Duration::from_secs(30);

/// How old a connection may be: addresses are looked up and checked anew now and then.
pub const OUTBOUND_CONNECTION_AGE_MAX: std::time::Duration = std::time::Duration::from_secs(300);

/// Attempts of an endpoint that are kept to be looked at; those of before the process are not.
pub const WEBHOOK_ATTEMPTS_KEPT: usize = 200;

/// Dead letters of an endpoint; the oldest goes when one more comes.
pub const WEBHOOK_DEAD_MAX: usize = 1_000;

/// Events that an endpoint may be owed; no more are read for it until it takes some.
pub const WEBHOOK_OWED_MAX: usize = 5_000;

/// Calls at once to an endpoint that does not ask for order.
pub const WEBHOOK_CALLS_MAX: usize = 16;

/// Entries that are looked at for an endpoint at once.
pub const WEBHOOK_LOOK_ENTRIES: u64 = 10_000;

/// Page cache of the file of deliveries, bytes.
pub const WEBHOOK_LEDGER_CACHE_BYTES: usize = 4 * 1024 * 1024;

/// How long what was delivered may be unwritten: so much is sent again after a power cut. Each write is a sync of the
/// disk that the journal waits for: at 50 ms, four receivers in trouble cost whoever posts 1.3 ms of p99.
pub const WEBHOOK_LEDGER_PAUSE: std::time::Duration = std::time::Duration::from_millis(500);

/// For how long a secret signs still after it was rotated away, microseconds: a day.
pub const WEBHOOK_OVERLAP_US: i64 = 86_400_000_000;

/// Events of a sync target's batch: with a broker that needs a millisecond to confirm, some 100,000 a second.
pub const SYNC_BATCH_EVENTS_MAX: usize = 256;

/// Bytes of a sync target's batch, one event excepted that is larger alone. A call to others takes 8 MiB.
pub const SYNC_BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Entries that are looked at for a sync target at once.
pub const SYNC_LOOK_ENTRIES: u64 = 10_000;

/// How long a broker may be silent where an answer is due. RabbitMQ syncs its disk within a second, a loaded one within ten.
pub const SYNC_ANSWER_PATIENCE: std::time::Duration = std::time::Duration::from_secs(20);

/// Bytes of a sync target's user, and of its password.
pub const SYNC_CREDENTIAL_BYTES_MAX: usize = 512;

/// Bytes of an exchange's name, of a routing key (both by AMQP 0.9.1), and of an MQTT topic.
pub const SYNC_NAME_BYTES_MAX: usize = 255;

/// Payment commands from a queue that are on their way at once; each waits for the journal.
pub const AMQP_PREFETCH: u16 = 64;

/// Bytes of redb's page cache for the job queue: some 30,000 jobs; the kernel's page cache stands behind it.
pub const JOBS_CACHE_BYTES: usize = 16 * 1024 * 1024;

/// Bytes of a job's arguments: ids and a few texts. What is larger lies in the journal, and the job names it.
pub const JOB_ARGS_BYTES_MAX: usize = 16 * 1024;

/// Characters of a job's last error: what fits a line of a list and a log.
pub const JOB_ERROR_CHARS_MAX: usize = 500;

/// Bytes of a kind's name, and of a schedule's.
pub const JOB_KIND_BYTES_MAX: usize = 64;

/// Kinds of jobs that one file has ever seen; they are all in memory.
pub const JOB_KINDS_MAX: usize = 256;

/// Most urgent priority; 0 is the least.
pub const JOB_PRIORITY_MAX: u8 = 9;

/// Jobs that wait or run. With more, births are left in the journal until some have ended: half a gigabyte of file.
pub const JOBS_OPEN_MAX: u64 = 1_000_000;

/// Births that are taken in by one commit: some 50 ms of work.
pub const JOBS_INTAKE_PAGE: usize = 4_096;

/// Births are looked for this often when nobody says that there are some.
pub const JOBS_INTAKE_POLL: std::time::Duration = std::time::Duration::from_millis(500);

/// Questions to the queue that are carried out by one commit; the rest waits for the next one.
pub const JOBS_TURN_ASKS: usize = 4_096;

/// Questions from outside that wait for their commit; more are refused.
pub const JOBS_ASKS_WAITING_MAX: usize = 8_192;

/// Ended jobs that are kept for whoever asks; the same number of dead ones beside them.
pub const JOBS_KEPT_MAX: u64 = 100_000;

/// How long ended jobs are kept, microseconds: seven days.
pub const JOBS_KEPT_US: i64 = 7 * 86_400 * 1_000_000;

/// Ended jobs that one commit sweeps away: 2 ms of work.
pub const JOBS_SWEPT_AT_ONCE: usize = 256;

/// Length of a lease, microseconds: three times a renewal may fail.
pub const JOB_LEASE_US: i64 = 30 * 1_000_000;

/// How often leases of running jobs are renewed, microseconds.
pub const JOB_RENEWAL_US: i64 = 10 * 1_000_000;

/// How often the progress of running jobs is written, microseconds.
pub const JOB_PROGRESS_US: i64 = 1_000_000;

/// Ends of the process in the middle of a job after which the job is dead: it may well be the reason.
pub const JOB_VOIDED_MAX: u16 = 20;

/// Longest delay of a job, microseconds: a year. A later one is brought down to it.
pub const JOB_DELAY_US_MAX: i64 = 366 * 86_400 * 1_000_000;

/// Asynchronous jobs at once with nothing to do, and with much: each is a task that mostly waits for somebody else.
pub const JOB_TASKS: (usize, usize) = (8, 256);

/// Threads of jobs that compute (documents): none is kept idle for long, and half the cores are left to requests.
pub const JOB_THREADS: (usize, usize) = (1, 4);

/// Schedules in one queue.
pub const JOB_SCHEDULES_MAX: usize = 256;

/// Ends of jobs after which their record is written anew, at least.
pub const JOBS_ENDED_LOG_MIN: u64 = 65_536;

/// How often the record of ended jobs is synced: what is lost of it repeats jobs when the queue's file is lost too.
pub const JOBS_ENDED_SYNC_US: i64 = 1_000_000;

/// Days of a report over a span: a year of them.
pub const REPORT_DAYS_MAX: u16 = 366;

/// Loans up to which all of them are folded again for a report of days that are over: two seconds or so of one thread.
pub const PAST_LOANS_MAX: u32 = 100_000;

/// Entries up to which the days of a register are gone through: ten seconds or so of one thread.
pub const REPORT_ENTRIES_MAX: u64 = 10_000_000;

// --- alerts as jobs ---

/// Changes of alerts that wait to be told.
pub const ALERTS_WAITING_MAX: usize = 256;

/// How long an alert must be over before that is told.
pub const ALERT_QUIET: std::time::Duration = std::time::Duration::from_secs(300);

/// The same for what fired before the process was started: the rules that ship with the binary hold for at most five minutes before they fire.
pub const ALERT_QUIET_AFTER_START: std::time::Duration = std::time::Duration::from_secs(1_200);
