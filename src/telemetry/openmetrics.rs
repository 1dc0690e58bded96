//! Metrics as OpenMetrics text 1.0.
//!
//! Promise: each family is one block with its type, unit and help; samples that share a name never
//! repeat a label set; the text ends with `# EOF`. Written by hand, since `prometheus-client` lets
//! nobody outside make an exemplar for counts that were gathered elsewhere.

use std::fmt::Write;

use super::families::{FAMILIES, Family, Kind, Reading};

/// Media type of what is written.
pub const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A request that stands for a bucket.
#[derive(Clone, Debug)]
pub struct Exemplar {
    /// Its id.
    pub request_id: Box<str>,
    /// Its trace, if it belongs to one.
    pub trace_id: Option<Box<str>>,
    /// Its time, seconds.
    pub seconds: f64,
    /// When, seconds since 1970.
    pub at_s: f64,
}

/// Counts by size.
#[derive(Debug)]
pub struct Buckets<'a> {
    /// Upper bounds in seconds, ascending; the last bucket has none.
    pub bounds: &'a [f64],
    /// Of each bucket alone, one more than bounds.
    pub counts: &'a [u64],
    /// Of all values, seconds.
    pub sum: f64,
    /// One for each bucket.
    pub exemplars: &'a [Option<Exemplar>],
}

/// A text that grows.
#[derive(Debug)]
pub struct Exposition {
    out: String,
    has_exemplars: bool,
}

impl Exposition {
    /// Nothing yet. Exemplars exist in OpenMetrics only: older readers of plain text stumble over them.
    #[must_use]
    pub fn new(has_exemplars: bool) -> Exposition {
        Exposition { out: String::with_capacity(64 * 1024), has_exemplars }
    }

    /// Writes counters, gauges and facts, family by family.
    pub fn readings(&mut self, readings: &[Reading]) {
        for family in FAMILIES.iter().filter(|family| family.kind != Kind::Histogram) {
            let mut of_family = readings.iter().filter(|reading| std::ptr::eq(reading.family, *family)).peekable();
            if of_family.peek().is_none() {
                continue;
            }
            self.head(family);
            let ending = match family.kind {
                Kind::Counter => "_total",
                Kind::Info => "_info",
                Kind::Gauge | Kind::Histogram => "",
            };
            for reading in of_family {
                let labels: Vec<(&str, &str)> =
                    reading.labels.iter().map(|(name, text)| (*name, text.as_str())).collect();
                self.sample(family, ending, &labels, reading.value);
                self.out.push('\n');
            }
        }
    }

    /// Begins a family. Only for histograms, whose samples the caller writes next.
    pub fn head(&mut self, family: &Family) {
        let Family { name, kind, unit, help } = family;
        let _ = writeln!(self.out, "# TYPE {name} {}", kind.name());
        if !unit.is_empty() {
            let _ = writeln!(self.out, "# UNIT {name} {unit}");
        }
        let _ = writeln!(self.out, "# HELP {name} {help}");
    }

    /// Writes one histogram of a family that [`Exposition::head`] has begun.
    pub fn histogram(&mut self, family: &Family, labels: &[(&str, &str)], buckets: &Buckets<'_>) {
        let mut sum = 0;
        for (place, count) in buckets.counts.iter().enumerate() {
            sum += count;
            let bound = buckets.bounds.get(place).map_or_else(|| "+Inf".to_owned(), |bound| format!("{bound:?}"));
            let mut with_bound = labels.to_vec();
            with_bound.push(("le", &bound));
            self.sample(family, "_bucket", &with_bound, sum as f64);
            if let Some(exemplar) = buckets.exemplars.get(place).and_then(Option::as_ref).filter(|_| self.has_exemplars)
            {
                let _ = write!(self.out, " # {{request_id=\"{}\"", exemplar.request_id);
                if let Some(trace) = &exemplar.trace_id {
                    let _ = write!(self.out, ",trace_id=\"{trace}\"");
                }
                let _ = write!(self.out, "}} {} {:.3}", exemplar.seconds, exemplar.at_s);
            }
            self.out.push('\n');
        }
        self.sample(family, "_count", labels, sum as f64);
        self.out.push('\n');
        self.sample(family, "_sum", labels, buckets.sum);
        self.out.push('\n');
    }

    fn sample(&mut self, family: &Family, ending: &str, labels: &[(&str, &str)], value: f64) {
        self.out.push_str(family.name);
        self.out.push_str(ending);
        for (place, (name, text)) in labels.iter().enumerate() {
            self.out.push(if place == 0 { '{' } else { ',' });
            self.out.push_str(name);
            self.out.push_str("=\"");
            for c in text.chars() {
                match c {
                    '"' => self.out.push_str("\\\""),
                    '\\' => self.out.push_str("\\\\"),
                    '\n' => self.out.push_str("\\n"),
                    other => self.out.push(other),
                }
            }
            self.out.push('"');
        }
        if !labels.is_empty() {
            self.out.push('}');
        }
        let _ = write!(self.out, " {value}");
    }

    /// The whole text.
    #[must_use]
    pub fn finish(mut self) -> String {
        self.out.push_str("# EOF\n");
        self.out
    }
}

#[cfg(test)]
mod tests {
    use super::super::families;
    use super::*;

    #[test]
    fn families_are_blocks_and_labels_are_escaped() {
        let mut text = Exposition::new(true);
        text.readings(&[
            Reading::labelled(&families::CACHE_HITS, "cache", "a\"b\\", 3.0),
            Reading::count(&families::HOLDS, 7),
            Reading::labelled(&families::CACHE_HITS, "cache", "c", 4.0),
        ]);
        let expected = "# TYPE munim_holds_open gauge\n\
            # HELP munim_holds_open Holds that are neither posted, voided nor expired.\n\
            munim_holds_open 7\n\
            # TYPE munim_cache_hits counter\n\
            # HELP munim_cache_hits Look-ups that a cache answered.\n\
            munim_cache_hits_total{cache=\"a\\\"b\\\\\"} 3\n\
            munim_cache_hits_total{cache=\"c\"} 4\n# EOF\n";
        assert_eq!(text.finish(), expected);
    }

    #[test]
    fn buckets_add_up_and_carry_their_request() {
        let slow = Exemplar { request_id: "req_1".into(), trace_id: None, seconds: 0.5, at_s: 12.25 };
        for (has_exemplars, shown) in [(true, " # {request_id=\"req_1\"} 0.5 12.250"), (false, "")] {
            let mut text = Exposition::new(has_exemplars);
            let exemplars = [None, Some(slow.clone())];
            let buckets = Buckets { bounds: &[0.001], counts: &[2, 1], sum: 0.75, exemplars: &exemplars };
            text.histogram(&families::REQUEST_SECONDS, &[("route", "x")], &buckets);
            let expected = format!(
                "munim_http_request_duration_seconds_bucket{{route=\"x\",le=\"0.001\"}} 2\n\
                 munim_http_request_duration_seconds_bucket{{route=\"x\",le=\"+Inf\"}} 3{shown}\n\
                 munim_http_request_duration_seconds_count{{route=\"x\"}} 3\n\
                 munim_http_request_duration_seconds_sum{{route=\"x\"}} 0.75\n# EOF\n"
            );
            assert_eq!(text.finish(), expected);
        }
    }
}
