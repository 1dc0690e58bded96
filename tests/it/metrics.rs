//! What the edge says about itself: `/metrics` is OpenMetrics, `/v1/latency` adds up, traces go on.

use std::collections::{BTreeMap, HashMap, HashSet};

use munim::telemetry::families::{FAMILIES, Kind};
use serde_json::Value;

use super::http_edge::{Said, Server};

/// One sample line.
#[derive(Debug)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
    exemplar: Option<String>,
}

/// Reads OpenMetrics text, with the rules that a strict reader has.
fn parse(text: &str) -> Vec<Sample> {
    let mut samples: Vec<Sample> = Vec::new();
    let mut kinds: HashMap<&str, &str> = HashMap::new();
    let mut family = "";
    assert!(text.ends_with("# EOF\n"), "the text has an end");
    assert_eq!(text.matches("# EOF").count(), 1);
    for line in text.lines().filter(|line| *line != "# EOF") {
        if let Some(rest) = line.strip_prefix("# ") {
            let (word, rest) = rest.split_once(' ').expect("a word");
            let (name, rest) = rest.split_once(' ').expect("a name");
            match word {
                "TYPE" => {
                    assert!(kinds.insert(name, rest).is_none(), "{name} begins twice");
                    family = name;
                }
                "UNIT" => assert!(name == family && name.ends_with(&format!("_{rest}")), "{line}"),
                "HELP" => assert_eq!(name, family, "{line}"),
                other => panic!("{other}"),
            }
            continue;
        }
        let sample = parse_sample(line);
        let ending = sample.name.strip_prefix(family).unwrap_or_else(|| panic!("{line} is not of {family}"));
        let endings: &[&str] = match kinds[family] {
            "counter" => &["_total"],
            "gauge" => &[""],
            "info" => &["_info"],
            "histogram" => &["_bucket", "_count", "_sum"],
            other => panic!("{other}"),
        };
        assert!(endings.contains(&ending), "{line}");
        assert!(sample.exemplar.is_none() || ending == "_bucket", "{line}");
        samples.push(sample);
    }
    let keys: HashSet<String> = samples.iter().map(|sample| format!("{} {:?}", sample.name, sample.labels)).collect();
    assert_eq!(keys.len(), samples.len(), "a label set is written twice");
    samples
}

fn parse_sample(line: &str) -> Sample {
    let (line, exemplar) = match line.split_once(" # ") {
        Some((line, exemplar)) => (line, Some(exemplar.to_owned())),
        None => (line, None),
    };
    let (head, value) = line.rsplit_once(' ').expect("a value");
    let (name, labels) = match head.split_once('{') {
        None => (head, BTreeMap::new()),
        Some((name, rest)) => {
            let inside = rest.strip_suffix('}').expect("labels end");
            let pair = |pair: &str| {
                let (name, text) = pair.split_once('=').expect("a label");
                (name.to_owned(), text.trim_matches('"').to_owned())
            };
            (name, inside.split(',').map(pair).collect())
        }
    };
    Sample { name: name.to_owned(), labels, value: value.parse().expect("a number"), exemplar }
}

impl Server {
    async fn metrics(&self) -> Vec<Sample> {
        let said = self.send("GET", "/metrics", &[("accept", "application/openmetrics-text;version=1.0.0")], "").await;
        assert_eq!(said.header("content-type"), "application/openmetrics-text; version=1.0.0; charset=utf-8");
        parse(std::str::from_utf8(&said.body).expect("UTF-8"))
    }

    /// Two accounts and some requests of each kind, good and bad.
    async fn busy(&self) {
        for name in ["A", "B"] {
            self.open_account(name, "").await;
        }
        for number in 0..120 {
            let body = r#"{"debit_account":"ext:A","credit_account":"ext:B","amount":"1.00"}"#;
            assert_eq!(self.post("/v1/transfers", &format!("k{number}"), body).await.brief(), "201");
            assert_eq!(self.get("/v1/accounts/ext:A").await.brief(), "200");
        }
        assert_eq!(self.get("/v1/nothing").await.brief(), "404 route_not_found");
        assert_eq!(self.get("/v1/accounts/ext:A/entries").await.brief(), "200");
    }
}

fn value(samples: &[Sample], name: &str, labels: &[(&str, &str)]) -> f64 {
    let fits = |sample: &&Sample| {
        sample.name == name && labels.iter().all(|(name, text)| sample.labels.get(*name).is_some_and(|it| it == text))
    };
    let found: Vec<f64> = samples.iter().filter(fits).map(|sample| sample.value).collect();
    assert!(!found.is_empty(), "no {name} {labels:?}");
    found.iter().sum()
}

/// Microseconds of the stages shown, and of the total.
fn shown_us(said: &Said) -> (u64, u64) {
    let us = |part: &str| part.rsplit_once("dur=").expect("a duration").1.replace('.', "").parse::<u64>().expect("ms");
    let (stages, total) = said.header("server-timing").rsplit_once(", ").expect("stages and a total");
    (stages.split(", ").map(us).sum(), us(total))
}

#[tokio::test]
async fn metrics_are_openmetrics_with_what_happened() {
    let server = Server::start();
    server.busy().await;
    let samples = server.metrics().await;
    let transfers = [("route", "create_transfer"), ("class", "2xx")];
    assert!((value(&samples, "munim_http_requests_total", &transfers) - 120.0).abs() < 0.5);
    assert!(
        (value(&samples, "munim_http_requests_total", &[("route", "unrouted"), ("class", "4xx")]) - 1.0).abs() < 0.5
    );
    let seconds = "munim_http_request_duration_seconds";
    let count = value(&samples, &format!("{seconds}_count"), &[("route", "create_transfer")]);
    let all = [("route", "create_transfer"), ("le", "+Inf")];
    assert!((count - value(&samples, &format!("{seconds}_bucket"), &all)).abs() < 0.5);
    let stages = value(&samples, "munim_http_stage_duration_seconds_sum", &[("route", "create_transfer")]);
    let total = value(&samples, &format!("{seconds}_sum"), &[("route", "create_transfer")]);
    assert!((stages - total).abs() <= total * 0.01, "{stages} of {total}");
    let exemplars: Vec<&str> = samples.iter().filter_map(|sample| sample.exemplar.as_deref()).collect();
    assert!(exemplars.iter().any(|exemplar| exemplar.starts_with("{request_id=\"req_")), "{exemplars:?}");
    assert!(value(&samples, "munim_journal_durable_seq", &[]) >= 122.0);
    assert!(value(&samples, "munim_cache_hits_total", &[("cache", "texts")]) >= 100.0);
    assert!(value(&samples, "process_resident_memory_bytes", &[]) > 1e6);
    for sample in &samples {
        let is_ours = FAMILIES.iter().any(|family| sample.name.starts_with(family.name));
        assert!(is_ours, "{} is in no list", sample.name);
        let allowed = [
            "route",
            "class",
            "stage",
            "le",
            "cache",
            "lane",
            "status",
            "window",
            "version",
            "code",
            "alert",
            "endpoint",
            "destination",
            "kind",
        ];
        assert!(sample.labels.keys().all(|label| allowed.contains(&label.as_str())), "{sample:?}");
    }
    // A second scrape adds nothing twice.
    let again = server.metrics().await;
    assert!((value(&again, "munim_http_requests_total", &transfers) - 120.0).abs() < 0.5);
}

#[tokio::test]
async fn a_person_gets_metrics_without_exemplars() {
    let server = Server::start();
    server.busy().await;
    let said = server.send("GET", "/metrics", &[("accept", "text/plain")], "").await;
    assert_eq!(said.header("content-type"), "text/plain; charset=utf-8");
    let samples = parse(std::str::from_utf8(&said.body).expect("UTF-8"));
    assert!(samples.iter().all(|sample| sample.exemplar.is_none()));
}

#[tokio::test]
async fn the_stages_of_every_answer_add_up_to_its_total() {
    let server = Server::start();
    server.busy().await;
    let transfer = r#"{"debit_account":"ext:A","credit_account":"ext:B","amount":"1.00"}"#;
    let batch = format!(r#"{{"mode":"atomic","transfers":[{transfer},{transfer}]}}"#);
    // By request: the least share of its time that no stage has measured. Of many, since the machine is shared.
    let mut gaps = [f64::MAX; 8];
    for round in 0..20 {
        let said = [
            server.post("/v1/transfers", &format!("sum{round}"), transfer).await,
            server.post("/v1/transfers", &format!("sum{round}"), transfer).await,
            server.post("/v1/transfers/batch", &format!("batch{round}"), batch.clone()).await,
            server.post("/v1/transfers", "bad", "{").await,
            server.get("/v1/accounts/ext:A").await,
            server.get("/v1/accounts/ext:A/entries").await,
            server.get("/v1/nothing").await,
            server.get("/livez").await,
        ];
        for (gap, said) in gaps.iter_mut().zip(&said) {
            let (stages_us, total_us) = shown_us(said);
            let timing = said.header("server-timing");
            assert_eq!(stages_us, total_us, "{timing}");
            let other = timing.split(", ").find_map(|part| part.strip_prefix("other;dur=0."));
            let other_us = other.map_or(0, |us| us.parse::<u64>().expect("µs"));
            *gap = gap.min(other_us as f64 / total_us.max(1) as f64);
        }
    }
    assert!(gaps.iter().all(|gap| *gap <= 0.1), "{gaps:?}: a gap between the stages");
}

#[tokio::test]
async fn latency_shows_budgets_verdicts_burn_and_the_slowest() {
    let server = Server::start();
    server.busy().await;
    let latency = server.get("/v1/latency").await.json();
    let routes = latency["routes"].as_array().expect("routes");
    let of = |name: &str| routes.iter().find(|route| route["route"] == name).unwrap_or_else(|| panic!("no {name}"));
    let transfer = of("create_transfer");
    assert_eq!(transfer["class"], "single");
    assert_eq!(transfer["requests"], 120);
    assert_eq!(transfer["total"]["count"], 120);
    assert_eq!(transfer["total"]["budget_us"], 5_000);
    let verdict = transfer["total"]["verdict"].as_str().expect("a word");
    assert!(["ok", "over"].contains(&verdict), "{verdict}");
    let names: Vec<&str> =
        transfer["stages"].as_array().expect("stages").iter().filter_map(|s| s["stage"].as_str()).collect();
    assert!(names.is_sorted_by_key(|name| munim::http::timing::STAGE_NAMES.iter().position(|known| known == name)));
    for stage in ["accept", "idem", "parse", "journal", "render"] {
        assert!(names.contains(&stage), "{stage} is not in {names:?}");
    }
    let slowest = transfer["slowest"].as_array().expect("samples");
    assert!(!slowest.is_empty() && slowest.len() <= 8);
    let times: Vec<f64> = slowest.iter().map(|sample| sample["total_us"].as_f64().expect("µs")).collect();
    assert!(times.is_sorted_by(|a, b| a >= b), "{times:?}");
    let sum: f64 = slowest[0]["stages_us"].as_object().expect("stages").values().filter_map(Value::as_f64).sum();
    assert!((sum - times[0]).abs() < 1.0, "{sum} of {}", times[0]);
    assert_eq!(of("get_statement")["total"]["verdict"], "few");
    assert!(transfer["slo"]["burn"]["5m"].is_number());
}

#[tokio::test]
async fn a_trace_is_continued_and_a_bad_one_ignored() {
    let server = Server::start();
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let headers = [("traceparent", trace), ("x-request-id", "till-7")];
    let said = server.send("GET", "/v1/status", &headers, "").await;
    let answered = said.header("traceparent");
    assert!(answered.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"), "{answered}");
    assert!(!answered.contains("00f067aa0ba902b7"), "the span is our own");
    let said = server.send("GET", "/v1/status", &[("traceparent", "00-zz-01")], "").await;
    assert_eq!(said.header("traceparent"), "");
    let latency = server.get("/v1/latency").await.json();
    let status = latency["routes"].as_array().expect("routes").iter().find(|route| route["route"] == "get_status");
    let slowest = status.expect("it was asked")["slowest"].as_array().expect("samples").clone();
    let ours = slowest.iter().find(|sample| sample["client_request_id"] == "till-7").expect("both are kept");
    assert_eq!(ours["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
}

/// Words that look like metrics of ours in a document.
fn metrics_in(text: &str) -> HashSet<String> {
    let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let words =
        text.split(|c: char| !is_word(c)).filter(|word| word.starts_with("munim_") || word.starts_with("process_"));
    words.map(str::to_owned).collect()
}

#[test]
fn the_documents_name_metrics_that_exist() {
    let mut known: HashSet<String> = HashSet::new();
    for family in FAMILIES {
        let endings: &[&str] = match family.kind {
            Kind::Counter => &["_total"],
            Kind::Gauge => &[""],
            Kind::Info => &["_info"],
            Kind::Histogram => &["_bucket", "_count", "_sum"],
        };
        known.extend(endings.iter().map(|ending| format!("{}{ending}", family.name)));
    }
    let rules = include_str!("../../docs/prometheus.rules.yml");
    let dashboard = include_str!("../../docs/grafana.json");
    for (name, text) in [("prometheus.rules.yml", rules), ("grafana.json", dashboard)] {
        let named = metrics_in(text);
        assert!(named.len() >= 10, "{name}: {named:?}");
        let unknown: Vec<&String> = named.iter().filter(|metric| !known.contains(*metric)).collect();
        assert!(unknown.is_empty(), "{name} names {unknown:?}");
    }
}

#[test]
fn the_dashboard_is_json_and_every_panel_has_a_query() {
    let dashboard: Value = serde_json::from_str(include_str!("../../docs/grafana.json")).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    assert!(panels.len() >= 10);
    let mut ids = HashSet::new();
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64().expect("an id")), "{panel}");
        let targets = panel["targets"].as_array().expect("targets");
        assert!(targets.iter().all(|target| target["expr"].as_str().is_some_and(|expr| !expr.is_empty())), "{panel}");
    }
}
