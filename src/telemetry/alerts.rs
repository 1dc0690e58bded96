//! Alert rules over our own readings, for a box that no monitoring watches.
//!
//! Promise: a rule fires once and resolves once, whatever the readings do in between; what it looks
//! at are the same readings that `/metrics` shows. Four kinds of rule: a **threshold** that is passed
//! for a time, a **burn** of an error budget that is too fast in two windows at once, the **absence**
//! of a reading, and a **spike** of a rate against its own past.
//!
//! Steps of an evaluation, every 10 seconds:
//! 1. sum what each rule looks at over its labels; turn counters into rates where it says so;
//! 2. ask the rule; note since when it holds;
//! 3. tell changes: to the log, and to every hook.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use serde::Deserialize;

use super::families::{self, Reading};

/// Seconds between two evaluations.
pub const EVALUATE_EVERY_S: u64 = 10;

/// Weight of a new rate in the baseline of a spike: the past hour, roughly.
const BASELINE_WEIGHT: f64 = 1.0 / 360.0;

/// Evaluations before a baseline is trusted: ten minutes.
const BASELINE_TRUSTED: u32 = 60;

/// How bad it is.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Somebody must act now.
    Critical,
    /// Somebody should look today.
    Warning,
}

/// When a rule holds.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Condition {
    /// A sum is above (or below) a bound; of a counter, its rate a second if `per_second`.
    Threshold {
        metric: String,
        #[serde(default)]
        above: Option<f64>,
        #[serde(default)]
        below: Option<f64>,
        #[serde(default)]
        per_second: bool,
    },
    /// Any route burns its error budget faster than `above` in both windows.
    Burn { short: String, long: String, above: f64 },
    /// There is no such reading.
    Absence { metric: String },
    /// The rate a second is `factor` times its baseline, and at least `at_least`.
    Spike { metric: String, factor: f64, at_least: f64 },
}

/// One rule.
#[derive(Clone, Debug, Deserialize, PartialEq)]
pub struct Rule {
    /// Its name, unique.
    pub name: String,
    /// How bad it is.
    pub severity: Severity,
    /// Seconds for which it must hold.
    #[serde(default)]
    pub for_s: u64,
    /// What to do, in a sentence.
    pub advice: String,
    /// When it holds.
    #[serde(flatten)]
    pub condition: Condition,
}

/// An alert began or ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The rule.
    pub rule: Rule,
    /// It fires; else it is over.
    pub is_firing: bool,
    /// What was seen.
    pub value: f64,
}

/// Whoever wants to hear of changes.
pub trait Hook: Send + Sync + fmt::Debug {
    /// Told once for each change; must not wait.
    fn changed(&self, change: &Change);
}

#[derive(Debug, Default)]
struct State {
    holds_since: Option<u64>,
    is_firing: bool,
    /// Baseline of a spike and how many rates it is made of.
    baseline: (f64, u32),
}

/// All rules and where they stand.
#[derive(Debug)]
pub struct Alerts {
    rules: Vec<(Rule, State)>,
    hooks: Vec<Box<dyn Hook>>,
    /// Sums of the last evaluation by metric, and when.
    before: Option<(u64, HashMap<&'static str, f64>)>,
}

/// The file of an operator's rules.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleFile {
    #[serde(default)]
    alert: Vec<Rule>,
}

/// Rules out of TOML: `[[alert]]` tables. Every metric that they name must exist.
///
/// # Errors
/// A sentence for the operator.
pub fn parse_rules(text: &str) -> Result<Vec<Rule>, String> {
    let file: RuleFile = toml::from_str(text).map_err(|error| error.to_string())?;
    for rule in &file.alert {
        let metric = match &rule.condition {
            Condition::Threshold { metric, .. } | Condition::Absence { metric } | Condition::Spike { metric, .. } => {
                metric
            }
            Condition::Burn { .. } => continue,
        };
        if !families::FAMILIES.iter().any(|family| family.name == metric) {
            return Err(format!("alert {}: there is no metric {metric}", rule.name));
        }
    }
    Ok(file.alert)
}

/// What is watched when the operator says nothing.
#[must_use]
pub fn default_rules() -> Vec<Rule> {
    parse_rules(include_str!("alerts.toml")).expect("the rules that ship with the binary are tested")
}

impl Alerts {
    /// Watches by these rules.
    #[must_use]
    pub fn new(rules: Vec<Rule>, hooks: Vec<Box<dyn Hook>>) -> Alerts {
        Alerts { rules: rules.into_iter().map(|rule| (rule, State::default())).collect(), hooks, before: None }
    }

    /// Looks at the readings of now; tells the hooks, and returns what changed.
    pub fn evaluate(&mut self, now_s: u64, readings: &[Reading]) -> Vec<Change> {
        let mut sums: HashMap<&'static str, f64> = HashMap::new();
        for reading in readings {
            *sums.entry(reading.family.name).or_default() += reading.value;
        }
        let rate = |metric: &str| {
            let (then_s, before) = self.before.as_ref()?;
            let seconds = now_s.saturating_sub(*then_s).max(1) as f64;
            let sum = sums.get(metric)?;
            Some(((sum - before.get(metric).copied().unwrap_or_default()) / seconds).max(0.0))
        };
        let seen = Seen { sums: &sums, rate: &rate, readings };
        let mut changes = Vec::new();
        for (rule, state) in &mut self.rules {
            let (holds, value) = seen.ask(&rule.condition, state);
            state.holds_since = holds.then(|| state.holds_since.unwrap_or(now_s));
            let is_firing = state.holds_since.is_some_and(|since| now_s - since >= rule.for_s);
            if is_firing != state.is_firing {
                state.is_firing = is_firing;
                changes.push(Change { rule: rule.clone(), is_firing, value });
            }
        }
        self.before = Some((now_s, sums));
        for change in &changes {
            log_change(change);
            self.hooks.iter().for_each(|hook| hook.changed(change));
        }
        changes
    }

    /// One reading for each alert that fires.
    #[must_use]
    pub fn readings(&self) -> Vec<Reading> {
        let firing = self.rules.iter().filter(|(_, state)| state.is_firing);
        firing.map(|(rule, _)| Reading::labelled(&families::ALERTS_FIRING, "alert", &rule.name, 1.0)).collect()
    }
}

/// The readings of one evaluation.
struct Seen<'a> {
    sums: &'a HashMap<&'static str, f64>,
    rate: &'a dyn Fn(&str) -> Option<f64>,
    readings: &'a [Reading],
}

impl Seen<'_> {
    /// Whether a condition holds, and the value that says so.
    fn ask(&self, condition: &Condition, state: &mut State) -> (bool, f64) {
        match condition {
            Condition::Threshold { metric, above, below, per_second } => {
                let value = if *per_second { (self.rate)(metric) } else { self.sums.get(metric.as_str()).copied() };
                let holds = value.is_some_and(|value| {
                    above.is_some_and(|bound| value > bound) || below.is_some_and(|bound| value < bound)
                });
                (holds, value.unwrap_or_default())
            }
            Condition::Burn { short, long, above } => {
                let worst = self.worst_burn(short, long);
                (worst > *above, worst)
            }
            Condition::Absence { metric } => (!self.sums.contains_key(metric.as_str()), 0.0),
            Condition::Spike { metric, factor, at_least } => {
                let Some(rate) = (self.rate)(metric) else { return (false, 0.0) };
                let (baseline, count) = state.baseline;
                let holds = count >= BASELINE_TRUSTED && rate >= *at_least && rate > baseline * factor;
                // What is abnormal is not learned, or a long trouble would become the rule.
                if !holds {
                    let weight = (1.0 / f64::from(count + 1)).max(BASELINE_WEIGHT);
                    state.baseline = (baseline + (rate - baseline) * weight, count.saturating_add(1));
                }
                (holds, rate)
            }
        }
    }

    /// The greatest burn of a route that is reached in both windows.
    fn worst_burn(&self, short: &str, long: &str) -> f64 {
        let mut routes: BTreeMap<&str, [f64; 2]> = BTreeMap::new();
        let burns = self.readings.iter().filter(|reading| std::ptr::eq(reading.family, &raw const families::BURN));
        for reading in burns {
            let label = |name: &str| reading.labels.iter().find(|label| label.0 == name).map_or("", |label| &label.1);
            let both = routes.entry(label("route")).or_default();
            let window = label("window");
            if window == short {
                both[0] = reading.value;
            }
            if window == long {
                both[1] = reading.value;
            }
        }
        routes.values().map(|[short, long]| short.min(*long)).fold(0.0, f64::max)
    }
}

fn log_change(change: &Change) {
    let Change { rule, is_firing, value } = change;
    match (is_firing, rule.severity) {
        (true, Severity::Critical) => tracing::error!(alert = rule.name, value, "alert: {}", rule.advice),
        (true, Severity::Warning) => tracing::warn!(alert = rule.name, value, "alert: {}", rule.advice),
        (false, _) => tracing::info!(alert = rule.name, value, "the alert is over"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(text: &str) -> Alerts {
        Alerts::new(parse_rules(text).unwrap(), Vec::new())
    }

    fn said(changes: &[Change]) -> Vec<(String, bool)> {
        changes.iter().map(|change| (change.rule.name.clone(), change.is_firing)).collect()
    }

    const HOLDS: &str = r#"
        [[alert]]
        name = "holds"
        severity = "warning"
        for_s = 20
        advice = "Look."
        kind = "threshold"
        metric = "munim_holds_open"
        above = 5.0
    "#;

    #[test]
    fn a_threshold_fires_after_its_time_and_resolves_once() {
        let mut alerts = rules(HOLDS);
        let mut at = |now, holds| said(&alerts.evaluate(now, &[Reading::count(&families::HOLDS, holds)]));
        assert_eq!(at(0, 6), []);
        assert_eq!(at(10, 9), []);
        assert_eq!(at(20, 6), [("holds".to_owned(), true)]);
        assert_eq!(at(30, 7), []);
        assert_eq!(at(40, 5), [("holds".to_owned(), false)]);
        assert_eq!(at(50, 6), [], "it must hold for its time again");
    }

    #[test]
    fn a_hook_hears_of_every_change_and_the_reading_shows_it() {
        #[derive(Debug)]
        struct Ear(std::sync::Arc<std::sync::atomic::AtomicUsize>);
        impl Hook for Ear {
            fn changed(&self, _: &Change) {
                self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
        }
        let heard = std::sync::Arc::default();
        let hook = Box::new(Ear(std::sync::Arc::clone(&heard)));
        let mut alerts = Alerts::new(parse_rules(&HOLDS.replace("20", "0")).unwrap(), vec![hook]);
        alerts.evaluate(0, &[Reading::count(&families::HOLDS, 6)]);
        assert_eq!(alerts.readings().len(), 1);
        alerts.evaluate(10, &[Reading::count(&families::HOLDS, 6)]);
        alerts.evaluate(20, &[]);
        assert_eq!(heard.load(std::sync::atomic::Ordering::Relaxed), 2);
        assert!(alerts.readings().is_empty());
    }

    #[test]
    fn a_burn_needs_both_windows_of_one_route() {
        let mut alerts = rules(
            r#"alert = [{ name = "burn", severity = "critical", advice = "Look.", kind = "burn",
               short = "5m", long = "1h", above = 14.4 }]"#,
        );
        let burn = |route: &str, window: &str, value| Reading {
            family: &families::BURN,
            labels: vec![("route", route.to_owned()), ("window", window.to_owned())],
            value,
        };
        let apart = [burn("a", "5m", 20.0), burn("a", "1h", 1.0), burn("b", "5m", 1.0), burn("b", "1h", 20.0)];
        assert_eq!(said(&alerts.evaluate(0, &apart)), []);
        let both = [burn("a", "5m", 20.0), burn("a", "1h", 15.0)];
        assert_eq!(said(&alerts.evaluate(10, &both)), [("burn".to_owned(), true)]);
    }

    #[test]
    fn an_absent_reading_and_a_spike_are_noticed() {
        let mut alerts = rules(
            r#"alert = [
               { name = "gone", severity = "critical", advice = "Look.", kind = "absence", metric = "munim_journal_durable_seq" },
               { name = "spike", severity = "warning", advice = "Look.", kind = "spike", metric = "munim_http_refusals",
                 factor = 10.0, at_least = 5.0 }]"#,
        );
        let at =
            |refusals: u64| [Reading::count(&families::DURABLE_SEQ, 1), Reading::count(&families::REFUSALS, refusals)];
        let mut total = 0;
        for turn in 0..100 {
            total += 10;
            assert_eq!(said(&alerts.evaluate(turn * 10, &at(total))), [], "{turn}");
        }
        assert_eq!(said(&alerts.evaluate(1_000, &at(total + 90))), [], "nine a second are not ten times one");
        assert_eq!(said(&alerts.evaluate(1_010, &at(total + 90 + 200))), [("spike".to_owned(), true)]);
        let gone = said(&alerts.evaluate(1_020, &[]));
        assert!(gone.contains(&("gone".to_owned(), true)), "{gone:?}");
    }

    #[test]
    fn rules_name_metrics_that_exist() {
        assert!(default_rules().len() >= 10);
        let error = parse_rules(&HOLDS.replace("holds_open", "holds_opened")).unwrap_err();
        assert!(error.contains("munim_holds_opened"), "{error}");
        assert!(parse_rules("[[alert]]\nname = 1").is_err());
    }
}
