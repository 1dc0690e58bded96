//! What a bench prints: a table to read, or one JSON document to keep.
//!
//! Promise: both come from the same numbers, and a figure never stands without its floor, its errors
//! and the machine it was measured on. All rates are per second of measured time.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::floor::DiskFloor;
use super::load::{Outcome, Pace};
use super::machine::Machine;
use super::{BenchArgs, BenchKind, scenario};

/// Seconds at either end whose rates are compared.
const EDGE_SECONDS: usize = 10;

/// One measured load.
#[derive(Debug)]
pub struct Figure {
    name: String,
    latency: Histogram<u64>,
    refused: Histogram<u64>,
    refused_per_second: Vec<u64>,
    units_per_second: f64,
    answers: u64,
    /// Holds posted or voided for one transfer made.
    settled_per_unit: f64,
    /// Mean rate of the first and of the last whole seconds, ten of each or a third of the run.
    edges: Option<(f64, f64)>,
    per_second: Vec<u64>,
    /// Microseconds of processor time an answer, where the processes did nothing else.
    generator_cpu_us: Option<f64>,
    server_cpu_us: Option<f64>,
    /// Allocations of the server an answer.
    allocations: Option<f64>,
    errors: BTreeMap<(u16, String), u64>,
    stages: BTreeMap<String, (u64, u64)>,
}

impl Figure {
    /// From what the generator counted.
    #[must_use]
    pub fn of(outcome: Outcome) -> Self {
        let measured = outcome.measured;
        let seconds = outcome.elapsed.as_secs_f64().max(1e-9);
        let answers = measured.requests + measured.errors.values().sum::<u64>();
        let cpu_us =
            |time: super::machine::CpuTime| (time.user + time.system).as_secs_f64() * 1e6 / float(answers.max(1));
        // Only whole seconds count.
        let whole = measured.per_second.len().min(usize::try_from(outcome.elapsed.as_secs()).unwrap_or(usize::MAX));
        let edge = EDGE_SECONDS.min(whole / 3);
        let mean = |part: &[u64]| float(part.iter().sum()) / float(part.len() as u64);
        let series = &measured.per_second[..whole];
        Figure {
            name: measured.name,
            units_per_second: float(measured.units) / seconds,
            answers,
            settled_per_unit: float(outcome.settled) / float(outcome.units_in_all.max(1)),
            edges: (edge > 0).then(|| (mean(&series[..edge]), mean(&series[whole - edge..]))),
            per_second: series.to_vec(),
            generator_cpu_us: Some(cpu_us(outcome.generator_cpu)),
            server_cpu_us: outcome.server_cpu.map(cpu_us),
            allocations: outcome.server_allocations.map(|count| float(count) / float(answers.max(1))),
            latency: measured.latency,
            refused_per_second: measured.refused_per_second.into_iter().take(whole).collect(),
            refused: measured.refused,
            errors: measured.errors,
            stages: measured.stages,
        }
    }

    /// Forgets the processor time: two loads at once share it, and it cannot be told apart.
    #[must_use]
    pub fn without_cpu(mut self) -> Self {
        self.generator_cpu_us = None;
        self.server_cpu_us = None;
        self.allocations = None;
        self
    }

    fn us(&self, quantile: f64) -> f64 {
        micros(&self.latency, quantile)
    }

    fn to_json(&self) -> Value {
        let errors: Vec<Value> = self
            .errors
            .iter()
            .map(|((status, code), count)| json!({"status": status, "code": code, "count": count}))
            .collect();
        let stages: BTreeMap<&str, f64> = self
            .stages
            .iter()
            .map(|(name, (sum, count))| (name.as_str(), round(float(*sum) / float(*count) / 1e3)))
            .collect();
        json!({
            "name": self.name,
            "per_second": round(self.units_per_second),
            "answers": self.answers,
            "settled_per_second": round(self.settled_per_unit * self.units_per_second),
            "latency_us": {
                "p50": round(self.us(0.5)), "p90": round(self.us(0.9)), "p99": round(self.us(0.99)),
                "p99_9": round(self.us(0.999)), "max": round(self.us(1.0)),
            },
            "refused": self.refused.len(),
            "refused_each_second": self.refused_per_second,
            "refused_latency_us": {
                "p50": round(micros(&self.refused, 0.5)), "p99": round(micros(&self.refused, 0.99)),
                "max": round(micros(&self.refused, 1.0)),
            },
            "first_seconds": self.edges.map(|(first, _)| round(first)),
            "last_seconds": self.edges.map(|(_, last)| round(last)),
            "last_over_first": self.edges.map(|(first, last)| last / first),
            "each_second": self.per_second,
            "cpu_us_per_answer": {"server": self.server_cpu_us.map(round), "generator": self.generator_cpu_us.map(round)},
            "server_allocations_per_answer": self.allocations.map(round),
            "errors": errors,
            "server_timing_mean_us": stages,
        })
    }
}

/// What the machine allowed at one moment.
#[derive(Debug)]
pub struct Floors {
    /// 8 KiB append + fdatasync.
    pub disk: DiskFloor,
    /// HTTP echo.
    pub echo: Figure,
}

impl Floors {
    fn to_json(&self) -> Value {
        json!({
            "sync_8k": {
                "per_second": round(self.disk.per_second),
                "p50_us": round(micros(&self.disk.latency, 0.5)),
                "p99_us": round(micros(&self.disk.latency, 0.99)),
            },
            "echo": self.echo.to_json(),
        })
    }
}

/// Bytes that transfers took.
#[derive(Clone, Copy, Debug)]
pub struct DiskUse {
    /// Made while the bytes were counted.
    pub transfers: u64,
    /// Journal and store, without the space that they prepare ahead (`machine::written_bytes`).
    pub bytes: u64,
}

/// What `recovery` measured.
#[derive(Clone, Copy, Debug)]
pub struct RecoveryFigures {
    /// Acknowledged before the kill.
    pub transfers: u64,
    /// Allocated blocks of the data folder at the kill.
    pub bytes: u64,
    /// From the start of the process to `/readyz` 200.
    pub ready: Duration,
    /// Of the first and the last acknowledged transfer, how many were gone.
    pub acknowledged_lost: u64,
    /// `munim verify`, start of the process included.
    pub verify: Duration,
    /// Its exit status; -1 when a signal ended it.
    pub verify_status: i32,
}

impl RecoveryFigures {
    fn verified_per_second(&self) -> f64 {
        float(self.transfers) / self.verify.as_secs_f64().max(1e-9)
    }
}

/// What `overload` found.
#[derive(Clone, Copy, Debug)]
struct Overload {
    /// Admitted under overload, as a share of the capacity.
    goodput: f64,
    /// Answered under overload, as a share of the capacity.
    offered: f64,
    /// Whole seconds after the overload with a refusal in them.
    recovered_after_s: usize,
}

/// Everything about one bench.
#[derive(Debug)]
pub struct Report {
    args: BenchArgs,
    machine: Machine,
    filesystem: String,
    /// Measured loads.
    pub figures: Vec<Figure>,
    /// Floors before the load.
    pub floors_before: Option<Floors>,
    /// Floors after it.
    pub floors_after: Option<Floors>,
    /// Resident memory of the server before the load, bytes.
    pub resident_start: Option<u64>,
    /// And after it.
    pub resident_end: Option<u64>,
    /// Growth of the data folder.
    pub disk: Option<DiskUse>,
    /// For `recovery` only.
    pub recovery: Option<RecoveryFigures>,
}

impl Report {
    /// A report without figures yet.
    #[must_use]
    pub fn new(args: &BenchArgs, machine: Machine, filesystem: String) -> Self {
        Report {
            args: args.clone(),
            machine,
            filesystem,
            figures: Vec::new(),
            floors_before: None,
            floors_after: None,
            resident_start: None,
            resident_end: None,
            disk: None,
            recovery: None,
        }
    }

    /// Whether an answer was not as it should be, transfers were lost or verify found something.
    #[must_use]
    pub fn is_bad(&self) -> bool {
        let floors = [&self.floors_before, &self.floors_after].into_iter().flatten().map(|floors| &floors.echo);
        self.figures.iter().chain(floors).any(|figure| self.has_error(figure))
            || self.recovery.is_some_and(|found| found.acknowledged_lost > 0 || found.verify_status != 0)
    }

    /// Whether a figure has an error that its kind of bench does not ask for.
    fn has_error(&self, figure: &Figure) -> bool {
        let is_asked_for = |status: u16| self.args.kind == BenchKind::Overload && matches!(status, 429 | 503);
        figure.errors.keys().any(|(status, _)| !is_asked_for(*status)) || figure.answers == 0
    }

    /// Mean rate of the echoes.
    fn echo_rate(&self) -> Option<f64> {
        let floors = [&self.floors_before, &self.floors_after];
        let rates: Vec<f64> = floors.into_iter().flatten().map(|floors| floors.echo.units_per_second).collect();
        (!rates.is_empty()).then(|| rates.iter().sum::<f64>() / float(rates.len() as u64))
    }

    /// A figure's share of the echo. Batches in `mixed` have no echo of their own size, and an echo
    /// is no share of another.
    fn share(&self, figure: &Figure) -> Option<f64> {
        let comparable = match self.args.kind {
            BenchKind::Floor => false,
            BenchKind::Mixed => figure.name != scenario::BATCHES_NAME,
            _ => true,
        };
        self.echo_rate().filter(|rate| comparable && *rate > 0.0).map(|rate| figure.units_per_second / rate)
    }

    /// What three figures of `overload` say together.
    fn overload(&self) -> Option<Overload> {
        let [capacity, overload, after] = &self.figures[..] else { return None };
        if self.args.kind != BenchKind::Overload {
            return None;
        }
        let seconds = float(overload.per_second.len() as u64).max(1.0);
        let last = after.refused_per_second.iter().rposition(|refused| *refused > 0);
        Some(Overload {
            goodput: overload.units_per_second / capacity.units_per_second.max(1.0),
            offered: float(overload.answers) / seconds / capacity.units_per_second.max(1.0),
            recovered_after_s: last.map_or(0, |second| second + 1),
        })
    }

    /// One document.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let args = &self.args;
        let figures: Vec<Value> = self
            .figures
            .iter()
            .map(|figure| {
                let mut value = figure.to_json();
                value["share_of_echo"] = json!(self.share(figure));
                value
            })
            .collect();
        json!({
            "bench": args.kind.name(),
            "machine": {
                "cpu": self.machine.cpu, "cores": self.machine.cores, "kernel": self.machine.kernel,
                "filesystem": self.filesystem,
            },
            "commit": self.machine.commit,
            "config": {
                "connections": args.connections(), "pipeline": args.pipeline, "batch_connections": args.batch_connections,
                "pace": if args.pace() == Pace::Closed { "closed" } else { "open" }, "rate": args.rate,
                "accounts": args.accounts, "shape": args.shape().name(), "batch": args.batch,
                "reply": format!("{:?}", args.reply).to_lowercase(), "prefill": args.prefill,
                "transfers": args.transfers, "seed": args.seed, "warm_up_s": args.warm_up, "duration_s": args.duration,
                "page_cache_dropped": args.drop_page_cache, "own_server": args.url.is_none(), "server_args": args.server_arg,
            },
            "floor": {
                "before": self.floors_before.as_ref().map(Floors::to_json),
                "after": self.floors_after.as_ref().map(Floors::to_json),
            },
            "figures": figures,
            "server_resident_bytes": {"start": self.resident_start, "end": self.resident_end},
            "disk": self.disk.map(|disk| json!({
                "bytes": disk.bytes, "transfers": disk.transfers,
                "bytes_per_transfer": float(disk.bytes) / float(disk.transfers.max(1)),
            })),
            "overload": self.overload().map(|found| json!({
                "goodput_share": found.goodput, "offered_share": found.offered, "recovered_after_s": found.recovered_after_s,
            })),
            "recovery": self.recovery.map(|found| json!({
                "transfers": found.transfers, "bytes": found.bytes, "ready_s": found.ready.as_secs_f64(),
                "acknowledged_lost": found.acknowledged_lost, "verify_s": found.verify.as_secs_f64(),
                "verify_status": found.verify_status, "verified_per_second": round(found.verified_per_second()),
            })),
        })
    }

    /// Lines to read.
    #[must_use]
    pub fn to_table(&self) -> String {
        let mut out = String::new();
        self.write_head(&mut out);
        for (when, floors) in [("before", &self.floors_before), ("after", &self.floors_after)] {
            if let Some(floors) = floors {
                write_floors(&mut out, when, floors);
            }
        }
        for figure in &self.figures {
            write_figure(&mut out, figure, self.share(figure));
        }
        if let (Some(start), Some(end)) = (self.resident_start, self.resident_end) {
            line(&mut out, "server memory", &format!("{} MiB before, {} MiB after", start >> 20, end >> 20));
        }
        if let Some(disk) = self.disk {
            let each = float(disk.bytes) / float(disk.transfers.max(1));
            line(
                &mut out,
                "disk",
                &format!("{each:.1} bytes a transfer ({} MiB, {} transfers)", disk.bytes >> 20, disk.transfers),
            );
        }
        if let Some(found) = self.recovery {
            write_recovery(&mut out, found);
        }
        if let Some(found) = self.overload() {
            let text = format!(
                "{:.1} % of the capacity while {:.1} times as much is offered; no refusal {} s after that",
                found.goodput * 100.0,
                found.offered,
                found.recovered_after_s
            );
            line(&mut out, "goodput", &text);
        }
        out
    }

    fn write_head(&self, out: &mut String) {
        let args = &self.args;
        let machine = &self.machine;
        line(out, "bench", &format!("{}, seed {}, commit {}", args.kind.name(), args.seed, machine.commit));
        let place = format!("{}, {} cores, Linux {}, {}", machine.cpu, machine.cores, machine.kernel, self.filesystem);
        line(out, "machine", &place);
        let pace = args.rate.map_or("closed loop".to_owned(), |rate| format!("open loop at {rate}/s"));
        let load = format!(
            "{} connections, {pace}, {} accounts, {}, {} s after {} s of warm-up",
            args.connections(),
            grouped(f64::from(args.accounts)),
            args.shape().name(),
            args.duration,
            args.warm_up
        );
        line(out, "load", &load);
    }
}

fn write_floors(out: &mut String, when: &str, floors: &Floors) {
    let disk = &floors.disk;
    let text = format!(
        "8 KiB append + fdatasync {}/s, p50 {:.0} µs, p99 {:.0} µs",
        grouped(disk.per_second),
        micros(&disk.latency, 0.5),
        micros(&disk.latency, 0.99)
    );
    line(out, &format!("floor {when}"), &text);
    write_figure(out, &floors.echo, None);
}

fn write_figure(out: &mut String, figure: &Figure, share: Option<f64>) {
    let share = share.map(|share| format!("  ({:.0} % of the echo)", share * 100.0)).unwrap_or_default();
    line(out, &figure.name, &format!("{}/s{share}", grouped(figure.units_per_second)));
    let latency = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)]
        .map(|(name, quantile)| format!("{name} {:.0}", figure.us(quantile)));
    line(out, "  latency, µs", &latency.join("  "));
    if let Some(generator) = figure.generator_cpu_us {
        let server = figure.server_cpu_us.map(|us| format!("server {us:.1}, ")).unwrap_or_default();
        line(out, "  CPU, µs an answer", &format!("{server}generator {generator:.1} ({} answers)", figure.answers));
    }
    if let Some(allocations) = figure.allocations {
        line(out, "  allocations an answer", &format!("{allocations:.1}"));
    }
    if figure.settled_per_unit > 0.0 {
        let rate = grouped(figure.settled_per_unit * figure.units_per_second);
        line(out, "  beside them", &format!("{rate} holds posted or voided/s"));
    }
    if let Some((first, last)) = figure.edges {
        let text = format!("first {}/s, last {}/s ({:.0} %)", grouped(first), grouped(last), last / first * 100.0);
        line(out, "  over time", &text);
    }
    if !figure.stages.is_empty() {
        let stages =
            figure.stages.iter().map(|(name, (sum, count))| format!("{name} {:.0}", float(*sum) / float(*count) / 1e3));
        line(out, "  stages, mean µs", &stages.collect::<Vec<_>>().join("  "));
    }
    if !figure.refused.is_empty() {
        let text = format!(
            "{} (p50 {:.0} µs, p99 {:.0} µs)",
            grouped(float(figure.refused.len())),
            micros(&figure.refused, 0.5),
            micros(&figure.refused, 0.99)
        );
        line(out, "  refused", &text);
    }
    for ((status, code), count) in &figure.errors {
        line(out, "  UNEXPECTED", &format!("{count} × {status} {code}"));
    }
}

fn write_recovery(out: &mut String, found: RecoveryFigures) {
    let size = format!("{} transfers, {} MiB", grouped(float(found.transfers)), found.bytes >> 20);
    line(out, "killed at", &size);
    line(out, "ready again after", &format!("{:.3} s", found.ready.as_secs_f64()));
    if found.acknowledged_lost > 0 {
        line(out, "LOST", &format!("{} acknowledged transfers are gone", found.acknowledged_lost));
    }
    let verify = format!(
        "{:.2} s, {} transfers/s, exit status {}",
        found.verify.as_secs_f64(),
        grouped(found.verified_per_second()),
        found.verify_status
    );
    line(out, "verify", &verify);
}

fn line(out: &mut String, name: &str, text: &str) {
    writeln!(out, "{name:<28}{text}").expect("a String takes everything");
}

fn micros(histogram: &Histogram<u64>, quantile: f64) -> f64 {
    if histogram.is_empty() { 0.0 } else { float(histogram.value_at_quantile(quantile)) / 1e3 }
}

#[expect(clippy::cast_precision_loss, reason = "counts and nanoseconds of a run are far below 2^52")]
fn float(number: u64) -> f64 {
    number as f64
}

/// To a tenth: more digits than that are noise.
fn round(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

/// Whole number with commas: 1,234,567.
fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_numbers_are_grouped() {
        assert_eq!(grouped(0.4), "0");
        assert_eq!(grouped(999.6), "1,000");
        assert_eq!(grouped(1_234_567.0), "1,234,567");
    }
}
