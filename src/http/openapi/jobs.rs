//! What is said about jobs.

use super::super::problem::Code;
use super::super::resources::Operation;
use super::operations::{AFTER, Description, Gives, LIMIT, PLAIN, Value, parameter};
use super::schemas::{Kind, NOTHING, Schema, always, or_null, sometimes};
use crate::jobs::kinds::KINDS;
use crate::jobs::queue::STATUSES;

const JOB_KINDS: Kind = Kind::OneOf(|| KINDS.to_vec());

const _: () = assert!(KINDS[0].len() == 5, "the example of arguments is of the first kind, a mail");

/// A new job.
pub static NEW_JOB: Schema = Schema {
    name: "NewJob",
    about: "Work for after the answer.",
    fields: &[
        always("kind", JOB_KINDS, "What is to be done."),
        always(
            "args",
            Kind::Like(|| serde_json::json!({"to": "asha@example.in", "subject": "Receipt", "text": "Thank you."})),
            "`email`: to, subject, text, attach?; `document`: document, of, event?, from?, to?; `statements`: month.",
        ),
        sometimes("priority", Kind::Whole { min: 0, max: 9 }, "9 is the most urgent; 5 when absent."),
        sometimes("run_at", Kind::Instant, "Not before."),
    ],
    is_request: true,
    needs_one: false,
};

/// How far a job is.
pub static JOB_PROGRESS: Schema = Schema {
    name: "JobProgress",
    about: "How far a job is, in units of its own.",
    fields: &[
        always("done", Kind::Whole { min: 0, max: i64::MAX }, "Units that are done."),
        always("total", Kind::Whole { min: 0, max: i64::MAX }, "Units in all."),
    ],
    is_request: false,
    needs_one: false,
};

/// A job.
pub static JOB: Schema = Schema {
    name: "Job",
    about: "Work after the answer: born in the record of its cause, done at least once.",
    fields: &[
        always("object", Kind::Exactly("job"), "What this is."),
        always("id", Kind::Id("job_"), "Its id, by which its effects are told apart."),
        always("kind", Kind::Filled(64), "What is done."),
        always(
            "args",
            Kind::Like(|| serde_json::json!({"to": "asha@example.in", "subject": "Receipt", "text": "Thank you."})),
            "With what.",
        ),
        always(
            "status",
            Kind::OneOf(|| STATUSES.iter().map(|status| status.name()).collect()),
            "`dead`: it is tried no more by itself.",
        ),
        always("priority", Kind::Whole { min: 0, max: 9 }, "9 is the most urgent."),
        always("run_at", Kind::Instant, "Not before."),
        always("attempts", Kind::Whole { min: 0, max: 1 << 31 }, "Attempts that were begun."),
        always("interrupted", Kind::Whole { min: 0, max: 1 << 31 }, "How often the process ended in the middle of it."),
        or_null("last_error", Kind::Text(2_000), "What the last failed attempt said."),
        or_null("progress", Kind::Object(&JOB_PROGRESS), "How far it is."),
        or_null("lease_until", Kind::Instant, "Until when its worker has it."),
        always("created_at", Kind::Instant, "When it was born."),
        or_null("started_at", Kind::Instant, "When the last attempt began."),
        or_null("ended_at", Kind::Instant, "When it ended."),
        or_null("event", Kind::Id("evt_"), "The event that it was born with."),
    ],
    is_request: false,
    needs_one: false,
};

/// A job that was just born.
pub static BORN_JOB: Schema = Schema {
    name: "BornJob",
    about: "A job that was just born.",
    fields: &[
        always("object", Kind::Exactly("job"), "What this is."),
        always("id", Kind::Id("job_"), "Its id."),
        always("kind", Kind::Filled(64), "What is to be done."),
    ],
    is_request: false,
    needs_one: false,
};

/// Jobs that were just born.
pub static BORN_JOBS: Schema = Schema {
    name: "BornJobs",
    about: "Jobs that were just born: they are durable, and done after this answer.",
    fields: &[
        always("object", Kind::Exactly("list"), "What this is."),
        always("data", Kind::List(&BORN_JOB, 8), "The jobs."),
    ],
    is_request: false,
    needs_one: false,
};

/// What is said about an operation.
#[must_use]
pub fn describe(operation: Operation) -> Description {
    let plain = Description { tag: "Jobs", gives: Gives::One(&JOB), also: &[Code::JobsUnavailable], ..PLAIN };
    let of_one = Description { also: &[Code::JobNotFoundInPath, Code::JobsUnavailable], ..plain };
    match operation {
        Operation::CreateJob => Description {
            summary: "Asks for work after the answer",
            about: "The job is durable with this answer. A transfer bears jobs of its own by its member `jobs`: both are durable, or neither is.",
            body: Some(&NEW_JOB),
            statuses: &[201],
            gives: Gives::One(&BORN_JOBS),
            ..plain
        },
        Operation::ListJobs => Description {
            summary: "Lists jobs",
            parameters: const {
                &[
                    parameter(
                        "status",
                        Value::OneOf(|| STATUSES.iter().map(|status| status.name()).collect()),
                        "In this status.",
                    ),
                    parameter("kind", Value::Text("email"), "Of this kind."),
                    LIMIT,
                    AFTER,
                ]
            },
            gives: Gives::Page(&JOB),
            ..plain
        },
        Operation::GetJob => Description { summary: "Shows a job", ..of_one },
        Operation::RetryJob => Description {
            summary: "Brings a job back from the dead",
            about: "With all its attempts before it.",
            body: Some(&NOTHING),
            statuses: &[202],
            also: &[Code::JobNotFoundInPath, Code::JobState, Code::JobsUnavailable],
            ..plain
        },
        _ => Description {
            summary: "Cancels a job",
            about: "At once if it waits; else its worker is asked to stop.",
            body: Some(&NOTHING),
            statuses: &[202],
            also: &[Code::JobNotFoundInPath, Code::JobState, Code::JobsUnavailable],
            ..plain
        },
    }
}
