//! A short report: named numbers, and what is wrong with them.
//!
//! Promise: as with the long one, table and JSON come from the same numbers, and the machine is named.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use super::machine::Machine;

/// Named numbers.
#[derive(Debug)]
pub struct Facts {
    title: &'static str,
    machine: Machine,
    rows: Vec<(String, f64, &'static str)>,
    faults: Vec<String>,
}

impl Facts {
    /// None yet.
    #[must_use]
    pub fn new(title: &'static str) -> Facts {
        Facts { title, machine: Machine::look(), rows: Vec::new(), faults: Vec::new() }
    }

    /// Notes a number with its unit.
    pub fn note(&mut self, name: impl Into<String>, value: f64, unit: &'static str) {
        self.rows.push((name.into(), value, unit));
    }

    /// Notes what should not be: the bench ends with status 1.
    pub fn fault(&mut self, what: impl Into<String>) {
        self.faults.push(what.into());
    }

    /// Whether something should not be.
    #[must_use]
    pub fn is_bad(&self) -> bool {
        !self.faults.is_empty()
    }

    /// To read.
    #[must_use]
    pub fn to_table(&self) -> String {
        let machine = &self.machine;
        let mut text = format!("{}\n{}, {} cores, {}\n\n", self.title, machine.cpu, machine.cores, machine.commit);
        for (name, value, unit) in &self.rows {
            let digits = if value.fract() == 0.0 { 0 } else { 2 };
            let _ = writeln!(text, "{name:<52} {value:>14.digits$} {unit}");
        }
        for fault in &self.faults {
            let _ = writeln!(text, "BAD: {fault}");
        }
        text
    }

    /// To keep.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let rows: Map<String, Value> = self
            .rows
            .iter()
            .map(|(name, value, unit)| (name.clone(), json!({ "value": value, "unit": unit })))
            .collect();
        let machine = json!({
            "cpu": self.machine.cpu, "cores": self.machine.cores,
            "kernel": self.machine.kernel, "commit": self.machine.commit,
        });
        json!({ "bench": self.title, "machine": machine, "figures": rows, "faults": self.faults })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_and_json_say_the_same() {
        let mut facts = Facts::new("a bench");
        facts.note("restarts", 20.0, "");
        assert!(!facts.is_bad());
        facts.fault("three requests failed");
        assert!(facts.is_bad());
        assert!(facts.to_table().contains("BAD: three requests failed"));
        assert_eq!(facts.to_json()["figures"]["restarts"]["value"], 20.0);
        assert_eq!(facts.to_json()["faults"][0], "three requests failed");
    }
}
