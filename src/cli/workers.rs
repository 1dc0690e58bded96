//! What works after the answer, set up beside a server: its settings, its threads, its files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use tokio::runtime::Runtime;

use jiff::tz::TimeZone;

use crate::disk::Disk;
use crate::engine::Engine;
use crate::http::Edge;
use crate::http::documents::maker::Maker;
use crate::http::gateway::token::Tokens;
use crate::http::stream::lent::Lent;
use crate::jobs::Jobs;
use crate::jobs::alerts::{Heard, Messenger, Teller, Told};
use crate::jobs::births::JournalBirths;
use crate::jobs::kinds::{EMAIL, check_args};
use crate::jobs::outbound::dispatch::{OpenError, Outbound, OutboundSettings};
use crate::jobs::outbound::guard::{GuardSettings, Network};
use crate::jobs::outbound::signature::SigningKey;
use crate::jobs::papers::{MonthsPapers, OnePaper, Papers};
use crate::jobs::post::{MailTo, Post, PostError};
use crate::jobs::queue::{Handler, Queue, QueueOptions, Schedule, StartError};
use crate::jobs::schedules::{self, SchedulesError};
use crate::jobs::sync::Syncs;
use crate::jobs::templates::{TemplateError, Templates};
use crate::jobs::webhooks::Webhooks;
use crate::jobs::webhooks::ledger::LedgerError;

use super::process_limits;

/// Name of the file of deliveries in a data folder.
const DELIVERIES: &str = "webhooks.redb";

/// Name of the file of sync targets' places in a data folder.
const PLACES: &str = "sync.redb";

/// Names of the folders of documents and of mails in a data folder.
const DOCUMENTS: &str = "documents";
const MAILS: &str = "mail";

/// What workers are told of the folder that they work in.
#[derive(Debug)]
pub struct Folder<'a> {
    /// Where it is.
    pub data: &'a Path,
    /// The same, for files that are read and written by redb.
    pub disk: Arc<dyn Disk>,
    /// The lender's name on documents.
    pub lender: &'a str,
    /// The books' time zone.
    pub zone: TimeZone,
}

fn mail_to(data: &Path, args: &WorkArgs) -> MailTo {
    #[cfg(feature = "bridges")]
    if let Some(server) = &args.mail_server {
        return MailTo::Server(server.clone());
    }
    let _ = args;
    MailTo::Folder(data.join(MAILS))
}

/// Calls to others.
#[derive(Args, Clone, Debug, Default)]
pub struct WorkArgs {
    /// A network (CIDR) that webhooks may reach although it is not public; several by commas.
    #[arg(long = "outbound-allow", env = "MUNIM_OUTBOUND_ALLOW", value_name = "CIDR", value_delimiter = ',')]
    pub outbound_allow: Vec<Network>,
    /// Let webhooks go to http:// addresses too, unencrypted.
    #[arg(long, env = "MUNIM_OUTBOUND_HTTP")]
    pub outbound_http: bool,
    /// Address that mails come from.
    #[arg(long, env = "MUNIM_MAIL_FROM", value_name = "ADDRESS", default_value = "munim@localhost.localdomain")]
    pub mail_from: String,
    /// Folder of mails' templates, NAME.txt each, that stand before those that ship.
    #[arg(long, env = "MUNIM_MAIL_TEMPLATES", value_name = "DIR")]
    pub mail_templates: Option<PathBuf>,
    /// TOML file of jobs by the calendar; `munim jobs schedules FILE` shows what it asks for, and when.
    #[arg(long, env = "MUNIM_SCHEDULES", value_name = "FILE")]
    pub schedules: Option<PathBuf>,
    /// Mail server: smtp://host:port, smtps://user:password@host; without one mails go into DIR/mail, a file each.
    #[cfg(feature = "bridges")]
    #[arg(long, env = "MUNIM_MAIL_SERVER", value_name = "URL", hide_env_values = true)]
    pub mail_server: Option<String>,
    /// Broker whose queue payment commands are taken from: amqp(s)://user:password@host:port/virtual-host.
    #[cfg(feature = "bridges")]
    #[arg(long, env = "MUNIM_AMQP_COMMANDS", value_name = "URL", hide_env_values = true, requires = "amqp_key_file")]
    pub amqp_commands: Option<String>,
    /// The queue; it is there, durable.
    #[cfg(feature = "bridges")]
    #[arg(long, env = "MUNIM_AMQP_QUEUE", value_name = "NAME", default_value = "munim.commands")]
    pub amqp_queue: String,
    /// Queue that refused commands are put into; without one the first queue's dead-letter exchange gets them.
    #[cfg(feature = "bridges")]
    #[arg(long, env = "MUNIM_AMQP_REFUSED_QUEUE", value_name = "NAME", requires = "amqp_commands")]
    pub amqp_refused_queue: Option<String>,
    /// File with the token of the API key that commands run as: one line.
    #[cfg(feature = "bridges")]
    #[arg(long, env = "MUNIM_AMQP_KEY_FILE", value_name = "FILE")]
    pub amqp_key_file: Option<PathBuf>,
    /// Address that is mailed when an alert fires and when it is over; several by commas.
    #[arg(long, env = "MUNIM_ALERT_MAIL", value_name = "ADDRESS", value_delimiter = ',', value_parser = address)]
    pub alert_mail: Vec<String>,
    /// URL that a message is posted to, signed as webhooks are, when an alert fires and when it is over.
    #[arg(long, env = "MUNIM_ALERT_WEBHOOK", value_name = "URL", requires = "alert_webhook_secret_file")]
    pub alert_webhook: Option<String>,
    /// File with the secret of that URL: one line, whsec_… or whsk_….
    #[arg(long, env = "MUNIM_ALERT_WEBHOOK_SECRET_FILE", value_name = "FILE")]
    pub alert_webhook_secret_file: Option<PathBuf>,
    /// PEM file of authorities that receivers are believed by, beside those of this machine.
    #[arg(long, env = "MUNIM_OUTBOUND_CA_FILE", value_name = "FILE")]
    pub outbound_ca_file: Option<PathBuf>,
}

fn schedules(args: &WorkArgs, zone: &TimeZone) -> Result<Vec<Schedule>, SchedulesError> {
    args.schedules.as_ref().map_or(Ok(Vec::new()), |path| schedules::read(path, zone))
}

fn address(text: &str) -> Result<String, String> {
    let mail = serde_json::json!({"to": text, "subject": "Alert", "text": ""});
    check_args(EMAIL, &mail).map(|()| text.to_owned()).map_err(|_| format!("{text:?} is no address to mail to"))
}

/// Brings alerts to a program, where one is set up.
fn messenger(outbound: &Arc<Outbound>, args: &WorkArgs) -> Result<Option<Messenger>, WorkError> {
    let (Some(url), Some(path)) = (&args.alert_webhook, &args.alert_webhook_secret_file) else { return Ok(None) };
    let wrong = |why: String| WorkError::AlertSecret(path.clone(), why);
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    let key = SigningKey::parse(text.trim()).map_err(|error| wrong(error.to_string()))?;
    Ok(Some(Messenger::to(Arc::clone(outbound), url.clone(), key)))
}

/// One thread, and it gives way: nobody who waits for an answer waits for one who does not.
fn quiet_runtime() -> std::io::Result<Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(1).thread_name("jobs").on_thread_start(|| process_limits::give_way(5)).enable_all().build()
}

fn open_outbound(args: &WorkArgs) -> Result<Arc<Outbound>, OpenError> {
    let guard = GuardSettings {
        allow_http: args.outbound_http,
        allowed: args.outbound_allow.clone(),
        ..GuardSettings::default()
    };
    let mut settings = OutboundSettings { guard, ..OutboundSettings::default() };
    settings.trust.ca_file.clone_from(&args.outbound_ca_file);
    Ok(Arc::new(Outbound::open(settings)?))
}

/// Starts taking commands from a queue. Until the books are open each one waits.
#[cfg(feature = "bridges")]
fn take_commands(edge: &Arc<Edge>, args: &WorkArgs) -> Result<Option<tokio::task::JoinHandle<()>>, String> {
    use crate::http::stream::commands::Clerk;
    use crate::jobs::sync::commands::CommandSource;

    let (Some(url), Some(path)) = (&args.amqp_commands, &args.amqp_key_file) else { return Ok(None) };
    let source = CommandSource::of(url, &args.amqp_queue, args.amqp_refused_queue.as_deref())?;
    let token = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let token = token.lines().next().unwrap_or_default().trim();
    let clerk = Clerk::with(Arc::clone(edge), token).map_err(|why| format!("{}: {why}", path.display()))?;
    Ok(Some(tokio::spawn(source.run(Arc::new(clerk)))))
}

/// Why nothing can be done after the answer.
#[derive(Debug, thiserror::Error)]
pub enum WorkError {
    /// Calls to others.
    #[error(transparent)]
    Outbound(#[from] OpenError),
    /// Mail.
    #[error(transparent)]
    Mail(#[from] PostError),
    /// Templates of mails.
    #[error(transparent)]
    Templates(#[from] TemplateError),
    /// Jobs by the calendar.
    #[error(transparent)]
    Schedules(#[from] SchedulesError),
    /// The queue of jobs.
    #[error(transparent)]
    Queue(#[from] StartError),
    /// The file of deliveries.
    #[error(transparent)]
    Deliveries(#[from] LedgerError),
    /// Commands from a queue.
    #[cfg(feature = "bridges")]
    #[error("payment commands from a queue: {0}")]
    Commands(String),
    /// The secret of messages about alerts.
    #[error("the secret of alerts in {0:?}: {1}")]
    AlertSecret(PathBuf, String),
    /// The file of places.
    #[error("sync targets: {0}")]
    Places(#[source] LedgerError),
    /// A thread.
    #[error("could not start a thread for jobs")]
    Thread(#[from] std::io::Error),
}

/// Jobs and the threads that they run on.
#[derive(Debug)]
pub struct Workers {
    /// What the edge asks.
    pub jobs: Jobs,
    /// Takes commands from a queue, where one is set up.
    #[cfg(feature = "bridges")]
    commands: Option<tokio::task::JoinHandle<()>>,
    runtime: Option<Runtime>,
}

impl Workers {
    /// Starts what works after the answer.
    ///
    /// # Errors
    /// [`WorkError`].
    pub fn start(
        engine: &Arc<Engine>,
        edge: &Arc<Edge>,
        tokens: &Tokens,
        folder: Folder<'_>,
        heard: Heard,
        args: &WorkArgs,
    ) -> Result<Workers, WorkError> {
        let runtime = quiet_runtime()?;
        let entered = runtime.enter();
        let outbound = open_outbound(args)?;
        let lent = Arc::new(Lent::with(tokens.secrets()));
        let Folder { data, disk, lender, zone } = folder;
        let deliveries = data.join(DELIVERIES);
        let webhooks = Webhooks::start(
            Arc::clone(engine),
            Arc::clone(&outbound),
            Arc::clone(&lent) as _,
            Some(&deliveries),
            runtime.handle(),
        )?;
        let places = data.join(PLACES);
        let syncs = Syncs::start(Arc::clone(engine), Arc::clone(&outbound), lent, Some(&places), runtime.handle());
        let syncs = syncs.map_err(WorkError::Places)?;
        let maker = Arc::new(Maker::of(lender.to_owned()));
        let papers = Papers::into_folder(Arc::clone(engine), maker, data.join(DOCUMENTS))?;
        let mut templates = Templates::shipped(lender);
        if let Some(folder) = &args.mail_templates {
            templates = templates.with_folder(folder)?;
        }
        let post = Post::open(&args.mail_from, mail_to(data, args), Arc::clone(&papers), templates)?;
        let mut handlers: Vec<Arc<dyn Handler>> =
            vec![Arc::new(post), Arc::new(OnePaper(Arc::clone(&papers))), Arc::new(MonthsPapers(papers))];
        let messenger = messenger(&outbound, args)?;
        let told = Told { mails: args.alert_mail.clone(), messages: messenger.is_some() };
        handlers.extend(messenger.map(|messenger| Arc::new(messenger) as Arc<dyn Handler>));
        let clock = Arc::clone(engine);
        let options = QueueOptions {
            handlers,
            schedules: schedules(args, &zone)?,
            zone,
            births: Arc::new(JournalBirths::of(Arc::clone(engine))),
            runtime: runtime.handle().clone(),
            now: Arc::new(move || clock.core().clock().now()),
            seed: engine.core().journal().id() ^ engine.core().clock().now().0.cast_unsigned(),
        };
        let queue = Arc::new(Queue::start(disk, options)?);
        if !told.is_nobody() {
            let clock = Arc::clone(engine);
            let now = Box::new(move || clock.core().clock().now());
            let teller = Teller::open(Arc::clone(&queue), told, lender.to_owned(), data.to_owned(), now);
            runtime.spawn(teller.run(heard));
        }
        #[cfg(feature = "bridges")]
        let commands = take_commands(edge, args).map_err(WorkError::Commands)?;
        #[cfg(not(feature = "bridges"))]
        let _ = edge;
        drop(entered);
        #[cfg(feature = "bridges")]
        return Ok(Workers { jobs: Jobs { outbound, webhooks, syncs, queue }, commands, runtime: Some(runtime) });
        #[cfg(not(feature = "bridges"))]
        Ok(Workers { jobs: Jobs { outbound, webhooks, syncs, queue }, runtime: Some(runtime) })
    }

    /// Ends them; what is on its way is done again by the next process.
    pub fn end(mut self) {
        #[cfg(feature = "bridges")]
        if let Some(commands) = self.commands.take() {
            commands.abort();
        }
        self.jobs.close();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(std::time::Duration::from_secs(2));
        }
    }
}
