//! Alerts as jobs: a mail and a message to whoever is to be told.
//!
//! Promise: nobody waits for it, and nobody is told the same thing twice. An alert that fires is an **incident**,
//! told once to each; that it is over is told once, too, and only when it has been over for a while: what fires again
//! before then is still the same incident, of which nothing more is said. Incidents outlive the process.
//!
//! 1. [`Ear`] hears of changes on the measuring thread, which must not wait: they go into a channel of bounded length.
//! 2. [`Teller`] takes them one by one. Each job's key is made of the incident, of what is told, and of whom: it is
//!    there once, however often it is asked for.
//! 3. That an incident is over is a job with a delay, which is cancelled when the alert fires again.
//! 4. Open incidents stand in a small file. After a start they are taken to be over, unless they fire again.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::config::{ALERT_QUIET, ALERT_QUIET_AFTER_START, ALERTS_WAITING_MAX, JOB_PRIORITY_MAX};
use crate::domain::ids::Moment;
use crate::telemetry::alerts::{Change, Hook, Severity};

use super::kinds::EMAIL;
use super::outbound::client::Call;
use super::outbound::destinations::NoPass;
use super::outbound::dispatch::Outbound;
use super::outbound::failure::CallError;
use super::outbound::signature::{ID_HEADER, SIGNATURE_HEADER, SigningKey, TIMESTAMP_HEADER, sign};
use super::post::write_whole;
use super::queue::{Ctl, Handler, Job, JobId, KindLimits, Order, Outcome, Queue, Status, Work};

/// The kind of job that carries a message to a program.
pub const MESSAGE: &str = "alert_message";

/// Name of the file of incidents.
const FILE: &str = "incidents.json";

/// Incidents that are remembered, if some of them are over.
const INCIDENTS_MAX: usize = 256;

/// Bytes of what a receiver said that are kept.
const SAID_BYTES_MAX: usize = 200;

/// Who is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// By mail.
    pub mails: Vec<String>,
    /// By messages, as [`Messenger`] sends them.
    pub messages: bool,
}

impl Told {
    /// Nobody.
    #[must_use]
    pub fn is_nobody(&self) -> bool {
        self.mails.is_empty() && !self.messages
    }
}

/// Hears of changes.
#[derive(Debug)]
pub struct Ear(Sender<Change>);

/// What an [`Ear`] has heard.
#[derive(Debug)]
pub struct Heard(Receiver<Change>);

/// An ear, and what it hears.
#[must_use]
pub fn listen() -> (Ear, Heard) {
    let (sender, receiver) = channel(ALERTS_WAITING_MAX);
    (Ear(sender), Heard(receiver))
}

impl Hook for Ear {
    fn changed(&self, change: &Change) {
        if let Err(TrySendError::Full(change)) = self.0.try_send(change.clone()) {
            tracing::warn!(alert = change.rule.name, "an alert is told to nobody: too many wait");
        }
    }
}

/// An alert that fired, and is not long over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Incident {
    /// The same in all that is told of it.
    id: String,
    /// How often it was over.
    overs: u32,
    is_over: bool,
    advice: String,
    is_critical: bool,
}

/// Turns changes into jobs.
pub struct Teller {
    queue: Arc<Queue>,
    told: Told,
    /// Who speaks, for people.
    name: String,
    folder: PathBuf,
    now: Box<dyn Fn() -> Moment + Send + Sync>,
    incidents: BTreeMap<String, Incident>,
}

impl std::fmt::Debug for Teller {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Teller").field("incidents", &self.incidents).finish_non_exhaustive()
    }
}

impl Teller {
    /// With the incidents that a folder knows.
    #[must_use]
    pub fn open(
        queue: Arc<Queue>,
        told: Told,
        name: String,
        folder: PathBuf,
        now: Box<dyn Fn() -> Moment + Send + Sync>,
    ) -> Teller {
        // What cannot be read is told again, should it fire again: better twice than never.
        let incidents = std::fs::read(folder.join(FILE)).ok();
        let incidents = incidents.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        Teller { queue, told, name, folder, now, incidents }
    }

    /// Tells what is heard, until nothing can be heard any more.
    pub async fn run(mut self, mut heard: Heard) {
        self.begin().await;
        while let Some(change) = heard.0.recv().await {
            self.change(&change).await;
        }
    }

    /// What fired before the process was started is over, unless it fires again.
    async fn begin(&mut self) {
        let open: Vec<String> =
            self.incidents.iter().filter(|(_, incident)| !incident.is_over).map(|(rule, _)| rule.clone()).collect();
        for rule in &open {
            self.over(rule, 0.0, ALERT_QUIET_AFTER_START).await;
        }
        self.keep().await;
    }

    async fn change(&mut self, change: &Change) {
        let rule = &change.rule.name;
        if change.is_firing {
            if self.goes_on(rule).await {
                tracing::debug!(alert = rule, "the alert goes on: nothing more is told");
            } else {
                self.fire(change).await;
            }
        } else {
            self.over(rule, change.value, ALERT_QUIET).await;
        }
        self.keep().await;
    }

    /// Whether an alert that fires was not said to be over.
    async fn goes_on(&mut self, rule: &str) -> bool {
        let Some(incident) = self.incidents.get(rule).cloned() else { return false };
        let mut goes_on = true;
        if incident.is_over {
            for id in self.jobs_of(&incident, Telling::Over(incident.overs)) {
                // One that runs may be through already, and one that is unknown was told long ago.
                goes_on &= matches!(self.queue.cancel(id).await, Ok(Status::Cancelled));
            }
        }
        if let Some(incident) = self.incidents.get_mut(rule) {
            incident.is_over = false;
        }
        goes_on
    }

    async fn fire(&mut self, change: &Change) {
        let rule = &change.rule;
        let incident = Incident {
            id: format!("{}-{}", rule.name, (self.now)().0 / 1_000_000),
            overs: 0,
            is_over: false,
            advice: rule.advice.clone(),
            is_critical: rule.severity == Severity::Critical,
        };
        self.tell(&rule.name, &incident, Telling::Fires, change.value, Duration::ZERO).await;
        self.incidents.insert(rule.name.clone(), incident);
    }

    async fn over(&mut self, rule: &str, value: f64, quiet: Duration) {
        let Some(incident) = self.incidents.get_mut(rule) else { return };
        incident.is_over = true;
        incident.overs += 1;
        let incident = incident.clone();
        self.tell(rule, &incident, Telling::Over(incident.overs), value, quiet).await;
    }

    async fn tell(&self, rule: &str, incident: &Incident, telling: Telling, value: f64, wait: Duration) {
        let now = (self.now)();
        let run_at = (!wait.is_zero()).then(|| Moment(now.0 + i64::try_from(wait.as_micros()).unwrap_or(i64::MAX)));
        for (kind, key, args) in self.letters(rule, incident, telling, value) {
            let order = Order { kind: kind.into(), args, priority: JOB_PRIORITY_MAX, run_at };
            if let Err(error) = self.queue.enqueue(order, key.as_bytes()).await {
                tracing::warn!(alert = rule, ?error, "an alert could not be told");
            }
        }
    }

    /// One for each who is told: kind, key and arguments of its job.
    fn letters(
        &self,
        rule: &str,
        incident: &Incident,
        telling: Telling,
        value: f64,
    ) -> Vec<(&'static str, String, Vec<u8>)> {
        let Incident { id, advice, is_critical, .. } = incident;
        let severity = if *is_critical { "critical" } else { "warning" };
        let at = jiff::Timestamp::from_microsecond((self.now)().0).map(|at| at.to_string()).unwrap_or_default();
        let (word, sentence) = match telling {
            Telling::Fires => ("fired", format!("{rule} fires since {at}: {advice}\n\nWhat was seen: {value}.")),
            Telling::Over(_) => ("resolved", format!("{rule} is over since {at}. What it had said: {advice}")),
        };
        let name = &self.name;
        let text = format!("{sentence}\n\nIncident {id} of {name}.\n");
        let subject: String = format!("[{name}] {severity} {word}: {rule}").chars().take(200).collect();
        let mut letters: Vec<(&'static str, String, Vec<u8>)> = Vec::new();
        for to in &self.told.mails {
            let args = json!({"to": to, "subject": subject, "text": text}).to_string().into_bytes();
            letters.push((EMAIL, telling.key(id, to), args));
        }
        if self.told.messages {
            let body = json!({
                "type": format!("alert.{word}"),
                "timestamp": at,
                "data": {"incident": id, "alert": rule, "severity": severity, "advice": advice, "value": value, "from": name},
            });
            letters.push((MESSAGE, telling.key(id, ""), body.to_string().into_bytes()));
        }
        letters
    }

    fn jobs_of(&self, incident: &Incident, telling: Telling) -> Vec<JobId> {
        let mails = self.told.mails.iter().map(|to| JobId::asked(EMAIL, telling.key(&incident.id, to).as_bytes()));
        let message = self.told.messages.then(|| JobId::asked(MESSAGE, telling.key(&incident.id, "").as_bytes()));
        mails.chain(message).collect()
    }

    async fn keep(&mut self) {
        // Rules that were renamed leave theirs behind.
        while self.incidents.len() > INCIDENTS_MAX {
            let Some(over) = self.incidents.iter().find(|(_, incident)| incident.is_over) else { break };
            let rule = over.0.clone();
            self.incidents.remove(&rule);
        }
        let Ok(bytes) = serde_json::to_vec_pretty(&self.incidents) else { return };
        let folder = self.folder.clone();
        let written = tokio::task::spawn_blocking(move || write_whole(&folder, FILE, &bytes)).await;
        if let Ok(Err(error)) = written {
            tracing::warn!(%error, "incidents could not be written down: after a restart they are told again");
        }
    }
}

/// What is told of an incident.
#[derive(Clone, Copy, Debug)]
enum Telling {
    Fires,
    /// For the so-manieth time.
    Over(u32),
}

impl Telling {
    fn key(self, incident: &str, whom: &str) -> String {
        match self {
            Telling::Fires => format!("{incident} fires {whom}"),
            Telling::Over(times) => format!("{incident} over {times} {whom}"),
        }
    }
}

/// Brings messages to a program, signed as webhooks are.
#[derive(Debug)]
pub struct Messenger {
    outbound: Arc<Outbound>,
    url: String,
    key: SigningKey,
}

impl Messenger {
    /// To a URL, with the secret that signs.
    #[must_use]
    pub fn to(outbound: Arc<Outbound>, url: String, key: SigningKey) -> Messenger {
        Messenger { outbound, url, key }
    }

    async fn bring(&self, job: &Job) -> Outcome {
        let seconds = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let id = job.id.to_string();
        let mut call = Call::post_json(&self.url, Bytes::copy_from_slice(&job.args));
        let signed = sign(&[&self.key], &id, seconds, &job.args).ok().and_then(|signature| signature.parse().ok());
        let (Some(signature), Ok(id)) = (signed, id.parse()) else {
            return Outcome::Dead { why: "it could not be signed".into() };
        };
        call.headers.insert(ID_HEADER, id);
        call.headers.insert(TIMESTAMP_HEADER, seconds.into());
        call.headers.insert(SIGNATURE_HEADER, signature);
        match self.outbound.call(&call).await {
            Ok(answer) if answer.is_success() => Outcome::Done,
            Ok(answer) => {
                let why = format!("it answered {}: {}", answer.status, answer.snippet(SAID_BYTES_MAX));
                let after = answer.retry_after(SystemTime::now());
                if answer.is_gone() { Outcome::Dead { why } } else { Outcome::Retry { after, why } }
            }
            Err(failure) => {
                let why = failure.to_string();
                match failure.error {
                    CallError::NoPass(NoPass::Open(after)) => Outcome::Retry { after, why },
                    error if error.is_worth_retry() => Outcome::Retry { after: None, why },
                    _ => Outcome::Dead { why },
                }
            }
        }
    }
}

impl Handler for Messenger {
    fn kind(&self) -> &'static str {
        MESSAGE
    }

    fn limits(&self) -> KindLimits {
        KindLimits { concurrency_max: 1, ..KindLimits::default() }
    }

    fn run<'a>(&'a self, job: &'a Job, _ctl: &'a Ctl) -> Work<'a> {
        Box::pin(self.bring(job))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use parking_lot::Mutex;
    use serde_json::Value;

    use super::super::queue::tests::running::{Rig, eventually, handler, limits};
    use super::*;
    use crate::telemetry::alerts::parse_rules;

    /// What was told, and a clock that a test moves.
    struct Desk {
        rig: Rig,
        said: Arc<Mutex<Vec<String>>>,
        folder: tempfile::TempDir,
    }

    impl Desk {
        fn new() -> Desk {
            Desk { rig: Rig::new(), said: Arc::default(), folder: tempfile::tempdir().unwrap() }
        }

        fn queue(&self) -> Arc<Queue> {
            let says = |kind: &'static str, shown: fn(&Value) -> String| {
                let said = Arc::clone(&self.said);
                handler(kind, limits(), move |job, _| {
                    let args: Value = serde_json::from_slice(&job.args).unwrap();
                    said.lock().push(shown(&args));
                    Box::pin(std::future::ready(Outcome::Done))
                })
            };
            let mail =
                says(EMAIL, |args| format!("{} {}", args["to"].as_str().unwrap(), args["subject"].as_str().unwrap()));
            let message = says(MESSAGE, |args| {
                format!("{} {}", args["type"].as_str().unwrap(), args["data"]["alert"].as_str().unwrap())
            });
            Arc::new(self.rig.start(vec![mail, message]))
        }

        fn teller(&self, queue: &Arc<Queue>) -> Teller {
            let told = Told { mails: vec!["ravi@example.in".into()], messages: true };
            let ahead: Arc<AtomicI64> = Arc::clone(&self.rig.ahead);
            let now = Box::new(move || Moment(1_800_000_000_000_000 + ahead.load(Ordering::Acquire)));
            Teller::open(Arc::clone(queue), told, "Lakshmi".into(), self.folder.path().to_owned(), now)
        }

        fn pass(&self, time: Duration) {
            self.rig.ahead.fetch_add(i64::try_from(time.as_micros()).unwrap(), Ordering::AcqRel);
        }

        /// Both mail and message of so many tellings are there, and nothing else.
        fn check(&self, tellings: &[&str]) {
            eventually("all is told", || self.said.lock().len() >= 2 * tellings.len());
            let mut said = self.said.lock().clone();
            said.sort();
            let mut wanted: Vec<String> = tellings
                .iter()
                .flat_map(|word| {
                    [format!("ravi@example.in [Lakshmi] warning {word}: holds"), format!("alert.{word} holds")]
                })
                .collect();
            wanted.sort();
            assert_eq!(said, wanted);
        }
    }

    fn change(is_firing: bool) -> Change {
        let rule = r#"alert = [{ name = "holds", severity = "warning", advice = "Look.", kind = "absence",
            metric = "munim_holds_open" }]"#;
        Change { rule: parse_rules(rule).unwrap().remove(0), is_firing, value: 6.0 }
    }

    #[test]
    fn an_incident_is_told_once_and_so_is_its_end() {
        let desk = Desk::new();
        let queue = desk.queue();
        let mut teller = desk.teller(&queue);
        desk.rig.runtime.block_on(async {
            teller.change(&change(true)).await;
            // It flickers: nothing more is told.
            for _ in 0..3 {
                teller.change(&change(false)).await;
                desk.pass(ALERT_QUIET / 2);
                teller.change(&change(true)).await;
            }
            desk.check(&["fired"]);
            teller.change(&change(false)).await;
        });
        desk.pass(ALERT_QUIET + Duration::from_secs(1));
        desk.check(&["fired", "resolved"]);
        // What fires after that is another incident.
        desk.rig.runtime.block_on(teller.change(&change(true)));
        desk.check(&["fired", "resolved", "fired"]);
    }

    #[test]
    fn an_incident_outlives_the_process() {
        let desk = Desk::new();
        let queue = desk.queue();
        let mut teller = desk.teller(&queue);
        desk.rig.runtime.block_on(teller.change(&change(true)));
        desk.check(&["fired"]);
        // Two processes later it fires still: nothing is told.
        for _ in 0..2 {
            teller = desk.teller(&queue);
            desk.rig.runtime.block_on(async {
                teller.begin().await;
                desk.pass(Duration::from_secs(60));
                teller.change(&change(true)).await;
            });
        }
        desk.check(&["fired"]);
        // And a third finds it over.
        teller = desk.teller(&queue);
        desk.rig.runtime.block_on(teller.begin());
        desk.pass(ALERT_QUIET_AFTER_START + Duration::from_secs(1));
        desk.check(&["fired", "resolved"]);
        desk.rig.runtime.block_on(teller.change(&change(true)));
        desk.check(&["fired", "resolved", "fired"]);
    }

    #[test]
    fn an_ear_does_not_wait() {
        let (ear, heard) = listen();
        for _ in 0..=ALERTS_WAITING_MAX {
            ear.changed(&change(true));
        }
        assert_eq!(heard.0.len(), ALERTS_WAITING_MAX);
        drop(heard);
        ear.changed(&change(false));
    }
}
