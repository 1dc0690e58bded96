//! The process itself: health checks, status, and the pages about problems.

use hyper::StatusCode;
use hyper::header::HeaderValue;

use super::super::docs;
use super::super::gateway::Call;
use super::super::problem::{Code, Outcome, Problem};
use super::super::render::{self, write_text};
use super::super::reply::Reply;

/// The version of this binary.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    Pass,
    Warn,
    Fail,
}

fn answer(call: &Call<'_>, health: Health, output: Option<&str>) -> Reply {
    let (status, name) = match health {
        Health::Pass => (StatusCode::OK, "pass"),
        Health::Warn => (StatusCode::OK, "warn"),
        Health::Fail => (StatusCode::SERVICE_UNAVAILABLE, "fail"),
    };
    let mut out = Vec::with_capacity(128);
    out.extend_from_slice(b"{\"status\":");
    write_text(&mut out, name);
    out.extend_from_slice(b",\"version\":");
    write_text(&mut out, VERSION);
    if let Some(output) = output {
        out.extend_from_slice(b",\"output\":");
        write_text(&mut out, output);
    }
    out.push(b'}');
    let mut reply = Reply::of(status, HeaderValue::from_static(call.gives), out.into());
    if health == Health::Fail {
        reply.retry_after_s = Some(1);
    }
    reply
}

/// `GET /livez`: the process answers.
#[expect(clippy::unnecessary_wraps, reason = "the shape of every handler")]
pub fn livez(call: &mut Call<'_>) -> Outcome<Reply> {
    Ok(answer(call, Health::Pass, None))
}

/// `GET /startupz`: recovery is over.
#[expect(clippy::unnecessary_wraps, reason = "the shape of every handler")]
pub fn startupz(call: &mut Call<'_>) -> Outcome<Reply> {
    Ok(match call.edge.books() {
        Some(_) => answer(call, Health::Pass, None),
        None => answer(call, Health::Fail, Some("recovering")),
    })
}

/// `GET /readyz`: new work is taken.
#[expect(clippy::unnecessary_wraps, reason = "the shape of every handler")]
pub fn readyz(call: &mut Call<'_>) -> Outcome<Reply> {
    let Some(books) = call.edge.books() else { return Ok(answer(call, Health::Fail, Some("recovering"))) };
    if call.edge.is_draining() {
        return Ok(answer(call, Health::Fail, Some("draining")));
    }
    let status = books.engine.status();
    Ok(match status.trouble {
        Some((code, cause)) => answer(call, Health::Fail, Some(&format!("{code}: {cause}"))),
        None if status.clock_suspect => answer(call, Health::Warn, Some("clock_suspect")),
        None if status.scrub.damage.is_some() => {
            let damage = status.scrub.damage.map(|(seq, what)| format!("damage at seq={seq}: {what}"));
            answer(call, Health::Warn, damage.as_deref())
        }
        None => answer(call, Health::Pass, None),
    })
}

/// `GET /v1/status`
pub async fn status(call: &mut Call<'_>) -> Outcome<Reply> {
    call.query(&[])?;
    let status = call.books()?.engine.status_soon().await;
    let mut reply = Reply::json(StatusCode::OK, render::status(&status, VERSION, call.edge.uptime_s()));
    reply.as_of = Some(status.durable_seq);
    Ok(reply)
}

/// `GET /problems`
#[expect(clippy::unnecessary_wraps, reason = "the shape of every handler")]
pub fn problems(_: &mut Call<'_>) -> Outcome<Reply> {
    Ok(html(docs::problems_page()))
}

/// `GET /problems/{code}`
pub fn problem(call: &mut Call<'_>) -> Outcome<Reply> {
    let page = docs::problem_page(&call.id());
    page.map(html).ok_or_else(|| Problem::new(Code::RouteNotFound, "There is no such problem. See /problems."))
}

fn html(page: Vec<u8>) -> Reply {
    Reply::of(StatusCode::OK, HeaderValue::from_static("text/html; charset=utf-8"), page.into())
}
