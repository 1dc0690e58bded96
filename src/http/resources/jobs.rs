//! Jobs: asked for, looked at, brought back from the dead.

use std::sync::Arc;

use hyper::StatusCode;
use serde_json::{Value, json};

use crate::domain::ids::Moment;
use crate::engine::command::{Command, NewJob};
use crate::engine::readers::on_disk_thread;
use crate::jobs::kinds::{EMAIL, EmailWanted};
use crate::jobs::queue::{AskError, Job, JobFilter, JobId, Queue, QueueError, Refusal, Status};

use super::super::gateway::Call;
use super::super::json;
use super::super::problem::{Code, Outcome, Problem};
use super::super::render::moment_text;
use super::super::reply::Reply;
use super::super::router::ROUTES;
use super::answer::of_answer;

/// `POST /v1/jobs`
pub async fn create(call: &mut Call<'_>) -> Outcome<Reply> {
    call.query(&[])?;
    let origin = call.origin(false)?;
    let job = json::parse_job(&call.body)?;
    check_born(call, std::slice::from_ref(&job))?;
    queue(call)?;
    let answer = call.submit(Command::BearJobs(vec![job]), origin).await?;
    let reply = of_answer(call, answer)?;
    queue(call)?.wake();
    Ok(reply)
}

/// Whether a key may have its command bear these jobs. A mail with what happened goes with the right to do it; what is
/// attached needs the right to read that, and anything else is a job like any other.
///
/// # Errors
/// `forbidden`, with the scope that would be needed.
pub fn check_born(call: &Call<'_>, jobs: &[NewJob]) -> Outcome<()> {
    let check = |id: &str| {
        let route = ROUTES.iter().find(|route| route.operation_id == id).expect("a route of the table");
        call.caller.check(route)
    };
    for job in jobs {
        if *job.kind != *EMAIL {
            check("create_job")?;
        }
        let attached = serde_json::from_slice(&job.args).ok().and_then(|mail: EmailWanted| mail.attach);
        match attached.as_ref().map(|wanted| wanted.document.as_str()) {
            None => {}
            Some("account_statement") => check("get_statement")?,
            Some("day_slip") => check("get_business_day")?,
            Some(_) => check("get_loan")?,
        }
    }
    Ok(())
}

/// `GET /v1/jobs`
pub async fn list(call: &mut Call<'_>) -> Outcome<Reply> {
    let query = call.query(&["status", "kind", "limit", "starting_after"])?;
    let filter = JobFilter {
        status: query.read("status", "queued, running, done, dead or cancelled", Status::parse)?,
        kind: query.read("kind", "a kind of jobs: small letters and underscores", kind_of)?,
    };
    let before = query.read("starting_after", "a job_… id", JobId::parse)?;
    let limit = query.limit()?;
    let queue = Arc::clone(queue(call)?);
    let page = on_disk_thread(move || queue.list(&filter, before, limit)).await?.map_err(unreadable)?;
    let data: Vec<Value> = page.jobs.iter().map(shown).collect();
    let path = call.head.uri.path();
    let body = json!({"object": "list", "url": path, "has_more": page.next_before.is_some(), "data": data});
    let mut reply = Reply::json(StatusCode::OK, body.to_string().into_bytes());
    reply.next = page.next_before.map(|before| query.next_page(path, &before.to_string()));
    Ok(reply)
}

fn kind_of(text: &str) -> Option<String> {
    let is_name =
        !text.is_empty() && text.len() <= 64 && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    is_name.then(|| text.to_owned())
}

/// `GET /v1/jobs/{id}`
pub async fn get(call: &mut Call<'_>) -> Outcome<Reply> {
    call.query(&[])?;
    let id = named(call)?;
    show(call, id, StatusCode::OK).await
}

/// `POST /v1/jobs/{id}/retry`
pub async fn retry(call: &mut Call<'_>) -> Outcome<Reply> {
    call.query(&[])?;
    json::parse_empty(&call.body)?;
    let id = named(call)?;
    let queue = Arc::clone(queue(call)?);
    queue.retry(id).await.map_err(refusal)?;
    show(call, id, StatusCode::ACCEPTED).await
}

/// `POST /v1/jobs/{id}/cancel`
pub async fn cancel(call: &mut Call<'_>) -> Outcome<Reply> {
    call.query(&[])?;
    json::parse_empty(&call.body)?;
    let id = named(call)?;
    let queue = Arc::clone(queue(call)?);
    queue.cancel(id).await.map_err(refusal)?;
    show(call, id, StatusCode::ACCEPTED).await
}

async fn show(call: &Call<'_>, id: JobId, status: StatusCode) -> Outcome<Reply> {
    let queue = Arc::clone(queue(call)?);
    let job = on_disk_thread(move || queue.get(id)).await?.map_err(unreadable)?.ok_or_else(no_job)?;
    let mut reply = Reply::json(status, shown(&job).to_string().into_bytes());
    if status == StatusCode::ACCEPTED {
        reply.location = Some(format!("/v1/jobs/{id}"));
    }
    Ok(reply)
}

fn shown(job: &Job) -> Value {
    let moment = |moment: Option<Moment>| moment.map(moment_text);
    // What is no JSON is shown as nothing: it was never asked for by a caller.
    let args: Option<Value> = serde_json::from_slice(&job.args).ok();
    json!({
        "object": "job",
        "id": job.id.to_string(),
        "kind": job.kind,
        "args": args.filter(Value::is_object).unwrap_or_else(|| json!({})),
        "status": job.status.name(),
        "priority": job.priority,
        "run_at": moment_text(job.run_at),
        "attempts": job.attempts,
        "interrupted": job.voided,
        "last_error": (!job.last_error.is_empty()).then_some(&job.last_error),
        "progress": (job.progress.total > 0).then(|| json!({"done": job.progress.done, "total": job.progress.total})),
        "lease_until": moment(job.lease.map(|lease| lease.until)),
        "created_at": moment_text(job.created_at),
        "started_at": moment(job.started_at),
        "ended_at": moment(job.ended_at),
        "event": job.birth_seq().map(|seq| crate::domain::ids::format_id(crate::domain::ids::IdKind::LoanEvent, seq.0)),
    })
}

fn queue<'c>(call: &Call<'c>) -> Outcome<&'c Arc<Queue>> {
    Ok(&call.books()?.jobs()?.queue)
}

fn named(call: &Call<'_>) -> Outcome<JobId> {
    JobId::parse(&call.id()).ok_or_else(no_job)
}

fn no_job() -> Box<Problem> {
    Problem::new(Code::JobNotFoundInPath, "No job has this id, or it ended long ago and was forgotten.")
}

fn unreadable(error: QueueError) -> Box<Problem> {
    tracing::error!(%error, "the job queue could not be read");
    Problem::new(Code::JobsUnavailable, "The job queue cannot be read. The operator's log says why.")
}

fn refusal(error: AskError) -> Box<Problem> {
    match error {
        AskError::Refused(Refusal::Unknown) => no_job(),
        AskError::Refused(refusal) => Problem::new(Code::JobState, format!("{refusal}.")),
        AskError::Busy | AskError::Unavailable => {
            Problem::new(Code::JobsUnavailable, "Nothing was done. Ask again a little later.")
        }
    }
}
