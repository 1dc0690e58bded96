//! An edge over real books in a folder of its own, asked without sockets.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{HeaderMap, Method, Request, StatusCode};
use munim::disk::{Disk, FolderDisk};
use munim::domain::ids::Seq;
use munim::engine::clock::SystemTimeSource;
use munim::engine::view::Unavailable;
use munim::engine::{Engine, EngineOptions};
use munim::http::documents::maker::Maker;
use munim::http::gateway::token::Tokens;
use munim::http::hooks::{ExportParts, ExportQuery, Exporter, Progress, Verifier, VerifyReport};
use munim::http::peer::Peer;
use munim::http::stream::lent::Lent;
use munim::http::{Books, Edge, EdgeOptions};
use munim::jobs::Jobs;
use munim::jobs::births::JournalBirths;
use munim::jobs::outbound::dispatch::{Outbound, OutboundSettings};
use munim::jobs::papers::{MonthsPapers, OnePaper, Papers};
use munim::jobs::post::{MailTo, Post};
use munim::jobs::queue::{Queue, QueueOptions};
use munim::jobs::sync::Syncs;
use munim::jobs::templates::Templates;
use munim::jobs::webhooks::Webhooks;
use serde_json::Value;
use tokio::sync::mpsc;

/// Finds nothing wrong.
#[derive(Debug)]
struct Content;

impl Verifier for Content {
    fn verify(&self, progress: &dyn Fn(Progress)) -> Result<VerifyReport, String> {
        progress(Progress { done: 7, total: 7 });
        Ok(VerifyReport { ok: true, first_bad_seq: None, detail: "all is well".into(), entries: 7, took_ms: 1 })
    }
}

impl Exporter for Content {
    fn export(&self, query: ExportQuery) -> Result<(Seq, ExportParts), Unavailable> {
        let (sender, receiver) = mpsc::channel(2);
        let part = Bytes::from(format!("{query:?}\n"));
        sender.try_send(Ok(part)).expect("there is room for one part");
        Ok((Seq(7), receiver))
    }
}

/// What works after the answer; calls reach loopback, unencrypted.
fn jobs_of(engine: &Arc<Engine>, tokens: &Tokens, runtime: &tokio::runtime::Handle) -> Jobs {
    let mut settings = OutboundSettings::default();
    settings.guard.allow_http = true;
    settings.guard.allowed = vec!["127.0.0.0/8".parse().expect("a network")];
    let outbound = Arc::new(Outbound::open(settings).expect("the settings are good"));
    let lent = Arc::new(Lent::with(tokens.secrets()));
    let syncs = Syncs::start(Arc::clone(engine), Arc::clone(&outbound), Arc::clone(&lent) as _, None, runtime);
    let webhooks = Webhooks::start(Arc::clone(engine), Arc::clone(&outbound), lent, None, runtime);
    // Gone with the queue, which is gone with the server.
    let folder = tempfile::tempdir().expect("a folder");
    let disk: Arc<dyn Disk> = Arc::new(FolderDisk::open(folder.path()).expect("the folder is free"));
    let maker = Arc::new(Maker::of("Sitara Finance".into()));
    let papers = Papers::into_folder(Arc::clone(engine), maker, folder.path().join("documents")).expect("a folder");
    let mails = MailTo::Folder(folder.path().join("mail"));
    let post = Post::open("office@sitara.example", mails, Arc::clone(&papers), Templates::shipped("Sitara"))
        .expect("an address");
    let clock = Arc::clone(engine);
    let options = QueueOptions {
        handlers: vec![Arc::new(post), Arc::new(OnePaper(Arc::clone(&papers))), Arc::new(MonthsPapers(papers))],
        schedules: Vec::new(),
        zone: jiff::tz::TimeZone::UTC,
        births: Arc::new(JournalBirths::of(Arc::clone(engine))),
        runtime: runtime.clone(),
        now: Arc::new(move || {
            let _kept = folder.path();
            clock.core().clock().now()
        }),
        seed: 7,
    };
    let queue = Arc::new(Queue::start(disk, options).expect("the queue starts"));
    Jobs { outbound, webhooks: webhooks.expect("memory can be had"), syncs: syncs.expect("memory can be had"), queue }
}

/// An engine with somebody content beside it.
pub fn books_of(engine: &Arc<Engine>) -> Books {
    let content = Arc::new(Content);
    // The same after a restart, as in a data folder.
    let tokens = Tokens::new([7; 32]);
    let jobs = tokio::runtime::Handle::try_current().ok().map(|runtime| jobs_of(engine, &tokens, &runtime));
    Books { engine: Arc::clone(engine), verifier: Arc::clone(&content) as _, exporter: content, tokens, jobs }
}

/// Books, and the edge before them.
pub struct Server {
    pub edge: Arc<Edge>,
    engine: Option<Arc<Engine>>,
    folder: Option<tempfile::TempDir>,
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Said {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Said {
    /// A header as text; empty when it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("our headers are ASCII"))
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {:?}", self.body))
    }

    /// Status and code of a problem; status alone otherwise.
    pub fn brief(&self) -> String {
        if self.header("content-type") == "application/problem+json" {
            let json = self.json();
            assert_eq!(json["status"], self.status.as_u16());
            assert_eq!(json["type"], format!("/problems/{}", json["code"].as_str().expect("a code")));
            return format!("{} {}", self.status.as_u16(), json["code"].as_str().expect("a code"));
        }
        self.status.as_u16().to_string()
    }
}

impl Server {
    pub fn start() -> Server {
        let folder = tempfile::tempdir().expect("a folder");
        Server::over(folder)
    }

    /// A server of an operator who decided otherwise.
    pub fn with(options: &EdgeOptions) -> Server {
        Server::over_with(tempfile::tempdir().expect("a folder"), options)
    }

    fn over(folder: tempfile::TempDir) -> Server {
        Server::over_with(folder, &EdgeOptions::default())
    }

    fn over_with(folder: tempfile::TempDir, edge_options: &EdgeOptions) -> Server {
        let mut options = EngineOptions::default();
        options.journal.segment_bytes = 4 << 20;
        Server::on(folder, &options, edge_options, |disk| disk)
    }

    /// Books set up otherwise, over a disk that is wrapped.
    pub fn on(
        folder: tempfile::TempDir,
        options: &EngineOptions,
        edge_options: &EdgeOptions,
        wrap: impl FnOnce(Arc<dyn Disk>) -> Arc<dyn Disk>,
    ) -> Server {
        let disk = wrap(Arc::new(FolderDisk::open(folder.path()).expect("the folder is free")));
        let engine = Engine::start(&disk, options, Box::new(SystemTimeSource::default())).expect("the books open");
        let edge = Edge::with(edge_options);
        edge.open(books_of(&engine));
        Server { edge, engine: Some(engine), folder: Some(folder) }
    }

    /// A clean end and a new process over the same folder.
    pub fn restart(self) -> Server {
        Server::over(self.stop())
    }

    /// A clean end; its folder.
    pub fn stop(mut self) -> tempfile::TempDir {
        self.folder.take().expect("a server that runs has its folder")
    }

    /// Where its books are.
    pub fn folder(&self) -> Option<&std::path::Path> {
        self.folder.as_ref().map(tempfile::TempDir::path)
    }

    /// The books themselves.
    pub fn engine(&self) -> &Arc<Engine> {
        self.engine.as_ref().expect("the server runs")
    }

    /// Sends anything, as a process of this machine.
    pub async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Said {
        self.send_from(&Arc::new(Peer::local()), method, path, headers, body).await
    }

    /// Sends anything, as anybody.
    pub async fn send_from(
        &self,
        peer: &Arc<Peer>,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Said {
        let mut request = Request::builder().method(method.parse::<Method>().expect("a method")).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into())).expect("a request");
        let (head, body) = Arc::clone(&self.edge).handle(request, peer).await.into_parts();
        let is_stream = head.headers.get("content-type").is_some_and(|kind| kind == "text/event-stream");
        let body = if is_stream {
            // It does not end: its beginning stands for it.
            let mut body = body;
            let first = body.frame().await.map(|first| first.expect("it does not break"));
            first.and_then(|first| first.into_data().ok()).unwrap_or_default()
        } else {
            body.collect().await.expect("a whole body").to_bytes()
        };
        let said = Said { status: head.status, headers: head.headers, body };
        assert!(said.header("request-id").starts_with("req_"), "every answer has its request's id");
        assert!(said.header("server-timing").contains("total;dur="), "every answer accounts for its time");
        assert_ne!(said.status, StatusCode::INTERNAL_SERVER_ERROR, "{method} {path}: {:?}", said.body);
        crate::described::check(method, path, &said);
        said
    }

    pub async fn get(&self, path: &str) -> Said {
        self.send("GET", path, &[], "").await
    }

    /// A JSON POST with a key.
    pub async fn post(&self, path: &str, key: &str, body: impl Into<Bytes>) -> Said {
        self.send("POST", path, &[("content-type", "application/json"), ("idempotency-key", key)], body).await
    }

    /// Opens an account; its id.
    pub async fn open_account(&self, external_id: &str, more: &str) -> String {
        let body = format!(r#"{{"external_id":"{external_id}","currency":"INR","type":"asset"{more}}}"#);
        let said = self.post("/v1/accounts", external_id, body).await;
        assert_eq!(said.brief(), "201", "{:?}", said.body);
        said.json()["id"].as_str().expect("an id").to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(jobs) = self.edge.books().and_then(|books| books.jobs.as_ref()) {
            jobs.close();
        }
        if let Some(engine) = self.engine.take() {
            engine.shut_down();
        }
    }
}
