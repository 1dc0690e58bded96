//! `GET /v1/latency`: each route and stage against its budget, over the last 2.5 to 5 minutes, with
//! the burn of its error budget and its slowest requests. `munim budget` prints it.

use hyper::StatusCode;
use serde_json::{Map, Value, json};

use crate::telemetry::{Quantiles, RouteView, Sample, Verdict};

use super::super::gateway::Call;
use super::super::problem::Outcome;
use super::super::reply::Reply;
use super::super::timing::STAGE_NAMES;

/// `GET /v1/latency`
pub fn get(call: &mut Call<'_>) -> Outcome<Reply> {
    call.query(&[])?;
    let routes = call.edge.telemetry.routes();
    let is_over = routes.iter().any(is_broken);
    let (stalls, worst) = call.edge.telemetry.stalls.read();
    let document = json!({
        "object": "latency",
        "verdict": if is_over { "over" } else { "ok" },
        "window_s": 300,
        "runtime": {"stalls": stalls, "stall_worst_us": micros(worst.as_secs_f64() * 1e6)},
        "routes": routes.iter().map(route).collect::<Vec<_>>(),
    });
    Ok(Reply::json(StatusCode::OK, document.to_string().into_bytes()))
}

/// Whether a budget of the route, or of one of its stages, is not kept.
fn is_broken(route: &RouteView) -> bool {
    route.verdict == Verdict::Over || route.stages.iter().any(|stage| stage.verdict == Verdict::Over)
}

fn route(route: &RouteView) -> Value {
    let stages: Vec<Value> =
        route.stages.iter().map(|stage| place(stage.name, stage.budget_us, &stage.times, stage.verdict)).collect();
    let burn: Map<String, Value> =
        route.burn.windows().into_iter().map(|(window, rate)| (window.to_owned(), json!(micros(rate)))).collect();
    let objective = f64::from(route.plan.objective_ppm) / 1e6;
    json!({
        "route": route.plan.name,
        "class": route.plan.class,
        "requests": route.count,
        "over_budget": route.over,
        "total": place("total", route.plan.budget_us, &route.total, route.verdict),
        "stages": stages,
        "slo": {"objective": objective, "bad": route.bad, "burn": burn},
        "slowest": route.slowest.iter().map(sample).collect::<Vec<_>>(),
    })
}

/// One line of the budget table; no budget is `null`.
fn place(name: &str, budget_us: u64, times: &Quantiles, verdict: Verdict) -> Value {
    json!({
        "stage": name,
        "budget_us": (budget_us > 0).then_some(budget_us),
        "count": times.count,
        "p50_us": micros(times.p50_us),
        "p99_us": micros(times.p99_us),
        "p99_9_us": micros(times.p99_9_us),
        "max_us": micros(times.max_us),
        "verdict": verdict.name(),
    })
}

fn sample(sample: &Sample) -> Value {
    let stages = STAGE_NAMES.iter().zip(sample.stages_ns.iter()).filter(|(_, ns)| **ns > 0);
    let stages: Map<String, Value> =
        stages.map(|(name, ns)| ((*name).to_owned(), json!(micros(*ns as f64 / 1e3)))).collect();
    json!({
        "request_id": sample.detail.request_id,
        "client_request_id": sample.detail.client_request_id,
        "trace_id": sample.detail.trace_id,
        "status": sample.status,
        "at_us": sample.at_us.to_string(),
        "total_us": micros(sample.total_ns as f64 / 1e3),
        "stages_us": stages,
    })
}

/// Three decimals are nanoseconds of microseconds: enough.
fn micros(us: f64) -> f64 {
    (us * 1e3).round() / 1e3
}
