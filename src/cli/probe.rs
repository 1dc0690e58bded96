//! `munim probe`: the client's side of a request beside the server's, as one waterfall.
//!
//! Promise: each request has a connection of its own, so that every step is seen; what the server
//! says about itself is set inside the wait for the first byte, and what is left of that wait is the
//! way there and back. Exit status 1 when an answer was not 2xx.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::{Map, Value, json};

use super::ask::{AskArgs, AskError, Asked, Asker};
use super::{EXIT_BAD, fail};

/// What is asked for when the URL names no path.
const DEFAULT_PATH: &str = "/v1/status";

/// Characters of the longest bar.
const BAR: f64 = 40.0;

/// Arguments of `munim probe`.
#[derive(Clone, Debug, Args)]
pub struct ProbeArgs {
    #[command(flatten)]
    ask: AskArgs,
    /// How often to ask.
    #[arg(short = 'n', default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    count: u32,
}

/// One step of a request, in microseconds.
#[derive(Clone, Debug, PartialEq)]
struct Step {
    name: String,
    /// It happens inside the server, within the wait for the first byte.
    is_server: bool,
    us: f64,
}

/// Asks, prints, and says by its status whether every answer was well.
#[must_use]
pub fn run(args: &ProbeArgs) -> ExitCode {
    match probe(args) {
        Ok((text, is_well)) => {
            if let Err(error) = std::io::stdout().write_all(text.as_bytes()) {
                return fail(&error);
            }
            if is_well { ExitCode::SUCCESS } else { ExitCode::from(EXIT_BAD) }
        }
        Err(error @ AskError::Usage(_)) => {
            fail(&error);
            ExitCode::from(2)
        }
        Err(error) => fail(&error),
    }
}

fn probe(args: &ProbeArgs) -> Result<(String, bool), AskError> {
    let asker = Asker::new(&args.ask)?;
    let path = if asker.path == "/" { DEFAULT_PATH.to_owned() } else { asker.path.clone() };
    let mut waterfalls = Vec::new();
    let mut refused = None;
    for _ in 0..args.count {
        let asked = asker.get(&path)?;
        if !(200..300).contains(&asked.status) {
            refused = Some(asked.status);
        }
        waterfalls.push(waterfall(&asked));
    }
    let steps = summary(&waterfalls);
    let text = if args.ask.json {
        let shown: Vec<Value> = waterfalls.iter().map(|steps| as_json(steps)).collect();
        format!(
            "{:#}\n",
            json!({"url": args.ask.url, "path": path, "count": args.count, "refused": refused,
                "steps": steps.iter().map(Summed::to_json).collect::<Vec<_>>(), "requests": shown})
        )
    } else {
        let mut text = table(&path, args.count, &steps);
        if let Some(status) = refused {
            text += &format!("\nan answer was {status}\n");
        }
        text
    };
    Ok((text, refused.is_none()))
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// All steps of one request, in order.
fn waterfall(asked: &Asked) -> Vec<Step> {
    let client = |name: &str, time: Duration| Step { name: name.to_owned(), is_server: false, us: micros(time) };
    let mut steps = vec![client("dns", asked.dns), client("connect", asked.connect)];
    steps.extend(asked.tls.map(|tls| client("tls", tls)));
    let timing = asked.headers.get("server-timing").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let stages = server_timing(timing);
    let server_us = stages.iter().find(|(name, _)| name == "total").map_or(0.0, |(_, us)| *us);
    let way = Duration::from_secs_f64(((micros(asked.first_byte) - server_us) / 1e6).max(0.0));
    steps.push(client("way", way));
    let inside = stages.into_iter().filter(|(name, _)| name != "total");
    steps.extend(inside.map(|(name, us)| Step { name, is_server: true, us }));
    steps.push(client("body", asked.body_time));
    steps
}

/// Stages and their microseconds out of a `Server-Timing`.
fn server_timing(text: &str) -> Vec<(String, f64)> {
    let stage = |part: &str| {
        let mut parts = part.split(';').map(str::trim);
        let name = parts.next().filter(|name| !name.is_empty())?;
        let ms: f64 = parts.find_map(|part| part.strip_prefix("dur="))?.parse().ok()?;
        Some((name.to_owned(), ms * 1e3))
    };
    text.split(',').filter_map(stage).collect()
}

/// One step over all requests.
#[derive(Debug, PartialEq)]
struct Summed {
    step: Step,
    p50_us: f64,
    p99_us: f64,
    max_us: f64,
}

impl Summed {
    fn of(name: &str, is_server: bool, mut times: Vec<f64>) -> Summed {
        times.sort_by(f64::total_cmp);
        // The smallest time that so many of a hundred do not exceed.
        let at = |percent: usize| times[(times.len() * percent).div_ceil(100).saturating_sub(1)];
        let (p50_us, p99_us, max_us) = (at(50), at(99), at(100));
        Summed { step: Step { name: name.to_owned(), is_server, us: p50_us }, p50_us, p99_us, max_us }
    }

    fn to_json(&self) -> Value {
        let side = if self.step.is_server { "server" } else { "client" };
        json!({"step": self.step.name, "side": side, "p50_us": self.p50_us, "p99_us": self.p99_us, "max_us": self.max_us})
    }
}

/// Every step that occurred, in the order of the request that met the most, and their sum.
fn summary(waterfalls: &[Vec<Step>]) -> Vec<Summed> {
    let mut names: Vec<(&str, bool)> = Vec::new();
    for step in waterfalls.iter().max_by_key(|steps| steps.len()).into_iter().flatten() {
        names.push((&step.name, step.is_server));
    }
    let times = |name: &str| -> Vec<f64> {
        let of_one = |steps: &Vec<Step>| steps.iter().find(|step| step.name == name).map_or(0.0, |step| step.us);
        waterfalls.iter().map(of_one).collect()
    };
    let mut summed: Vec<Summed> =
        names.into_iter().map(|(name, is_server)| Summed::of(name, is_server, times(name))).collect();
    let wholes = waterfalls.iter().map(|steps| steps.iter().map(|step| step.us).sum()).collect();
    summed.push(Summed::of("all", false, wholes));
    summed
}

fn as_json(steps: &[Step]) -> Value {
    let part = |is_server: bool| -> Map<String, Value> {
        let steps = steps.iter().filter(|step| step.is_server == is_server);
        steps.map(|step| (step.name.clone(), json!((step.us * 1e3).round() / 1e3))).collect()
    };
    json!({"client_us": part(false), "server_us": part(true)})
}

fn table(path: &str, count: u32, steps: &[Summed]) -> String {
    let mut out = format!(
        "GET {path}, {count} times, each over a connection of its own; µs\n\n{:<12}{:>10}{:>10}{:>10}\n",
        "step", "p50", "p99", "max"
    );
    let whole = steps.last().map_or(1.0, |all| all.p50_us).max(1e-9);
    let mut begun = 0.0;
    for summed in steps {
        let Summed { step, p50_us, p99_us, max_us } = summed;
        let name = if step.is_server { format!("  {}", step.name) } else { step.name.clone() };
        let is_all = step.name == "all";
        let from = if is_all { 0.0 } else { begun };
        let cells = |us: f64| (us / whole * BAR).clamp(0.0, BAR) as usize;
        let (before, end) = (cells(from), cells(from + p50_us));
        let bar = format!("{}{}", " ".repeat(before), "#".repeat((end - before).max(1)));
        out += &format!("{name:<12}{p50_us:>10.0}{p99_us:>10.0}{max_us:>10.0}  |{bar}\n");
        begun += p50_us;
    }
    out
}

#[cfg(test)]
mod tests {
    use hyper::HeaderMap;

    use super::*;

    fn asked() -> Asked {
        let mut headers = HeaderMap::new();
        let timing = "accept;dur=0.010, journal;desc=\"batch=3\";dur=0.400, total;dur=0.410";
        headers.insert("server-timing", timing.parse().unwrap());
        Asked {
            status: 200,
            headers,
            body: "".into(),
            dns: Duration::from_micros(5),
            connect: Duration::from_micros(50),
            tls: None,
            first_byte: Duration::from_micros(500),
            body_time: Duration::from_micros(20),
        }
    }

    #[test]
    fn the_servers_stages_stand_inside_the_wait_for_the_first_byte() {
        let steps = waterfall(&asked());
        let brief: Vec<String> = steps.iter().map(|step| format!("{} {:.0}", step.name, step.us)).collect();
        assert_eq!(brief, ["dns 5", "connect 50", "way 90", "accept 10", "journal 400", "body 20"]);
        let whole: f64 = steps.iter().map(|step| step.us).sum();
        assert!((whole - 575.0).abs() < 0.001, "{whole}");
    }

    #[test]
    fn percentiles_are_those_of_the_requests() {
        let summed = Summed::of("x", false, (1..=200).map(f64::from).collect());
        let whole = [summed.p50_us, summed.p99_us, summed.max_us].map(|us| us as u64);
        assert_eq!(whole, [100, 198, 200]);
        assert_eq!(Summed::of("x", false, vec![7.0]).p50_us as u64, 7);
    }

    #[test]
    fn the_table_is_a_waterfall() {
        let text = table("/x", 2, &summary(&[waterfall(&asked()), waterfall(&asked())]));
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[2].starts_with("step"), "{text}");
        assert!(lines.iter().any(|line| line.starts_with("  journal") && line.contains("|          ####")), "{text}");
        assert!(text.ends_with(&format!("|{}\n", "#".repeat(40))), "{text}");
    }
}
