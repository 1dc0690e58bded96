//! `munim budget`: what a server's requests may take, and what they take.
//!
//! Exit status 0 when every budget is kept, 1 when one is broken, 2 wrong use, 3 could not ask.

use std::io::Write;
use std::process::ExitCode;

use clap::Args;
use serde::Deserialize;
use serde_json::Value;

use super::ask::{AskArgs, AskError, Asker};
use super::{EXIT_BAD, fail};

/// Arguments of `munim budget`.
#[derive(Clone, Debug, Args)]
pub struct BudgetArgs {
    #[command(flatten)]
    ask: AskArgs,
}

/// The part of `GET /v1/latency` that the table shows.
#[derive(Debug, Deserialize)]
struct Latency {
    verdict: String,
    routes: Vec<Route>,
}

#[derive(Debug, Deserialize)]
struct Route {
    #[serde(rename = "route")]
    name: String,
    class: String,
    total: Line,
    stages: Vec<Line>,
    slo: Slo,
}

#[derive(Debug, Deserialize)]
struct Line {
    stage: String,
    budget_us: Option<u64>,
    count: u64,
    p50_us: f64,
    p99_us: f64,
    p99_9_us: f64,
    verdict: String,
}

#[derive(Debug, Deserialize)]
struct Slo {
    objective: f64,
    burn: std::collections::BTreeMap<String, f64>,
}

/// Asks, prints, and says by its status whether all is well.
#[must_use]
pub fn run(args: &BudgetArgs) -> ExitCode {
    match look(args) {
        Ok((text, is_kept)) => {
            if let Err(error) = std::io::stdout().write_all(text.as_bytes()) {
                return fail(&error);
            }
            if is_kept { ExitCode::SUCCESS } else { ExitCode::from(EXIT_BAD) }
        }
        Err(error @ AskError::Usage(_)) => {
            fail(&error);
            ExitCode::from(2)
        }
        Err(error) => fail(&error),
    }
}

fn look(args: &BudgetArgs) -> Result<(String, bool), AskError> {
    let asker = Asker::new(&args.ask)?;
    let url = args.ask.url.clone();
    let unusable = |cause: String| AskError::Unreachable { url: url.clone(), cause };
    let asked = asker.get("/v1/latency")?;
    if asked.status != 200 {
        let problem: Value = serde_json::from_slice(&asked.body).unwrap_or_default();
        return Err(unusable(format!("it answers {} {}", asked.status, problem["code"].as_str().unwrap_or_default())));
    }
    let document: Value = serde_json::from_slice(&asked.body).map_err(|error| unusable(error.to_string()))?;
    let latency: Latency = serde_json::from_value(document.clone()).map_err(|error| unusable(error.to_string()))?;
    let is_kept = latency.verdict == "ok";
    let text = if args.ask.json { format!("{document:#}\n") } else { table(&latency) };
    Ok((text, is_kept))
}

fn table(latency: &Latency) -> String {
    let mut out = String::from("times of the last minutes, µs; a budget is kept when p99 is within it\n");
    for route in &latency.routes {
        let burn: Vec<String> = route.slo.burn.iter().map(|(window, rate)| format!("{window} {rate:.1}")).collect();
        out += &format!(
            "\n{} ({}), objective {:.1} %, burn {}\n{:<12}{:>10}{:>10}{:>10}{:>10}{:>10}  verdict\n",
            route.name,
            route.class,
            route.slo.objective * 100.0,
            burn.join(", "),
            "stage",
            "budget",
            "count",
            "p50",
            "p99",
            "p99.9"
        );
        for line in route.stages.iter().chain([&route.total]) {
            let budget = line.budget_us.map_or_else(|| "-".to_owned(), |us| us.to_string());
            out += &format!(
                "{:<12}{budget:>10}{:>10}{:>10.0}{:>10.0}{:>10.0}  {}\n",
                line.stage, line.count, line.p50_us, line.p99_us, line.p99_9_us, line.verdict
            );
        }
    }
    out += &format!("\nall together: {}\n", if latency.verdict == "ok" { "kept" } else { "broken" });
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_shows_every_stage_with_its_verdict() {
        let line = |stage: &str, budget: Option<u64>, verdict: &str| {
            serde_json::json!({"stage": stage, "budget_us": budget, "count": 200, "p50_us": 1.4, "p99_us": 12.6,
                "p99_9_us": 20.0, "verdict": verdict})
        };
        let latency = serde_json::json!({"verdict": "over", "routes": [{
            "route": "get_account", "class": "read", "total": line("total", Some(5000), "ok"),
            "stages": [line("accept", Some(10), "over"), line("wake", None, "idle")],
            "slo": {"objective": 0.999, "burn": {"5m": 0.25}},
        }]});
        let text = table(&serde_json::from_value(latency).unwrap());
        assert!(text.contains("get_account (read), objective 99.9 %, burn 5m 0.2"), "{text}");
        assert!(text.contains("accept              10       200         1        13        20  over\n"), "{text}");
        assert!(text.contains("wake                 -       200"), "{text}");
        assert!(text.ends_with("all together: broken\n"), "{text}");
    }
}
