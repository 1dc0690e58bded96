//! No async worker reads a file: whatever is asked, by a cold server with caches that hold next to nothing.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::ThreadId;

use munim::disk::{Ahead, Disk};
use munim::engine::EngineOptions;
use redb::StorageBackend;

use munim::http::EdgeOptions;

use crate::http_edge::Server;

/// A disk that counts the reads of one thread.
#[derive(Debug)]
struct Watched {
    below: Arc<dyn Disk>,
    watch: Arc<Watch>,
}

#[derive(Debug)]
struct Watch {
    worker: ThreadId,
    reads: AtomicUsize,
}

impl Watch {
    fn note(&self) {
        if std::thread::current().id() == self.worker {
            self.reads.fetch_add(1, Ordering::SeqCst);
        }
    }
}

#[derive(Debug)]
struct WatchedFile {
    file: Box<dyn StorageBackend>,
    watch: Arc<Watch>,
}

impl StorageBackend for WatchedFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.watch.note();
        self.file.read(offset, out)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.watch.note();
        self.file.sync_data()
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.watch.note();
        self.file.write(offset, data)
    }
    fn close(&self) -> io::Result<()> {
        self.file.close()
    }
}

impl Watched {
    fn file(&self, file: Box<dyn StorageBackend>) -> Box<dyn StorageBackend> {
        self.watch.note();
        Box::new(WatchedFile { file, watch: Arc::clone(&self.watch) })
    }
}

impl Disk for Watched {
    fn list(&self) -> io::Result<Vec<String>> {
        self.below.list()
    }
    fn open(&self, name: &str) -> io::Result<Box<dyn StorageBackend>> {
        Ok(self.file(self.below.open(name)?))
    }
    fn create(&self, name: &str, reserve_bytes: u64) -> io::Result<Box<dyn StorageBackend>> {
        Ok(self.file(self.below.create(name, reserve_bytes)?))
    }
    fn open_frozen(&self, name: &str) -> io::Result<Box<dyn StorageBackend>> {
        Ok(self.file(self.below.open_frozen(name)?))
    }
    fn open_ahead(&self, name: &str) -> io::Result<(Box<dyn StorageBackend>, Arc<dyn Ahead>)> {
        let (file, ahead) = self.below.open_ahead(name)?;
        Ok((self.file(file), ahead))
    }
    fn create_ahead(&self, name: &str, reserve_bytes: u64) -> io::Result<(Box<dyn StorageBackend>, Arc<dyn Ahead>)> {
        let (file, ahead) = self.below.create_ahead(name, reserve_bytes)?;
        Ok((self.file(file), ahead))
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.below.rename(from, to)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.below.remove(name)
    }
    fn sync_dir(&self) -> io::Result<()> {
        self.below.sync_dir()
    }
    fn make_read_only(&self, name: &str) -> io::Result<()> {
        self.below.make_read_only(name)
    }
    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        self.below.read(name)
    }
    fn write_atomically(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.below.write_atomically(name, bytes)
    }
    fn hash(&self, name: &str) -> io::Result<[u8; 32]> {
        self.below.hash(name)
    }
    fn allocated_bytes(&self, name: &str) -> io::Result<u64> {
        self.below.allocated_bytes(name)
    }
}

fn options() -> EngineOptions {
    let mut options =
        EngineOptions { block_cache_bytes: 40_000, store_cache_bytes: 1 << 14, ..EngineOptions::default() };
    options.journal.segment_bytes = 60_000;
    options.journal.sealed_open_max = 1;
    options
}

fn transfer(number: usize) -> String {
    format!(r#"{{"debit_account":"ext:A","credit_account":"ext:B","amount":"1","external_id":"T{number}"}}"#)
}

#[tokio::test]
async fn an_async_worker_never_reads_a_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::on(folder, &options(), &EdgeOptions::default(), |disk| disk);
    let a = server.open_account("A", "").await;
    server.open_account("B", "").await;
    let held = transfer(0).replace('}', r#","pending":true}"#);
    let held = server.post("/v1/transfers", "held", held).await.json();
    let held = format!("/v1/transfers/{}", held["id"].as_str().expect("an id"));
    server.post(&format!("{held}/post"), "post", "").await;
    let first = server.post("/v1/transfers", "first", transfer(1)).await;
    let first_id = first.json()["id"].as_str().expect("an id").to_owned();
    for round in 0..20 {
        let items: Vec<String> = (0..500).map(|number| transfer(100 + round * 500 + number)).collect();
        let body = format!(r#"{{"transfers":[{}]}}"#, items.join(","));
        assert_eq!(server.post("/v1/transfers/batch", &format!("b{round}"), body).await.json()["posted"], 500);
    }
    let folder = server.stop();
    let watch = Arc::new(Watch { worker: std::thread::current().id(), reads: AtomicUsize::new(0) });
    let server = Server::on(folder, &options(), &EdgeOptions::default(), |below| {
        Arc::new(Watched { below, watch: Arc::clone(&watch) })
    });
    assert!(server.engine().status().segments > 2, "most of it lies in sealed segments");
    let opened = watch.reads.swap(0, Ordering::SeqCst);
    assert!(opened > 0, "the watch sees what the opening reads");
    let day = server.get("/v1/status").await.json()["business_date"].as_str().expect("a date").to_owned();
    let instant = first.json()["created_at"].as_str().expect("an instant").to_owned();
    for path in [
        "/v1/accounts/ext:A".to_owned(),
        format!("/v1/accounts/{a}"),
        format!("/v1/accounts/{a}?at={day}"),
        format!("/v1/accounts/{a}?at={instant}"),
        format!("/v1/accounts/{a}/entries"),
        format!("/v1/accounts/ext:A/entries?starting_after={first_id}"),
        "/v1/accounts".to_owned(),
        held.clone(),
        format!("/v1/transfers/{first_id}"),
        "/v1/transfers/ext:T7000".to_owned(),
        format!("/v1/transfers?account={a}&limit=1000"),
        format!("/v1/transfers?account=ext:B&starting_after={first_id}"),
        format!("/v1/transfers?date={day}"),
        format!("/v1/entries/{}", first.json()["entry"].as_str().expect("a voucher")),
        "/v1/periods".to_owned(),
        "/v1/reports/trial_balance".to_owned(),
        "/readyz".to_owned(),
    ] {
        assert_eq!(server.get(&path).await.brief(), "200", "{path}");
        assert_eq!(watch.reads.swap(0, Ordering::SeqCst), 0, "{path}");
    }
    for (path, key, body, expected) in [
        ("/v1/transfers".to_owned(), "first", transfer(1), "201"),
        ("/v1/transfers".to_owned(), "twice", transfer(4_000), "409 external_id_exists"),
        ("/v1/transfers".to_owned(), "new", transfer(50_000), "201"),
        (format!("/v1/transfers/{first_id}/reverse"), "r", r#"{"reason":"x"}"#.to_owned(), "201"),
        (format!("{held}/void"), "v", String::new(), "409 transfer_not_pending"),
        ("/v1/periods/close".to_owned(), "c", r#"{"through":"2020-01-31"}"#.to_owned(), "200"),
    ] {
        let said = server.post(&path, key, body).await;
        assert_eq!(said.brief(), expected, "{path} {:?}", said.body);
        assert_eq!(watch.reads.swap(0, Ordering::SeqCst), 0, "{path} {key}");
    }
    let name = r#"{"name":"Drawer"}"#;
    let headers = [("content-type", "application/json")];
    assert_eq!(server.send("PATCH", &format!("/v1/accounts/{a}"), &headers, name).await.brief(), "200");
    assert_eq!(watch.reads.load(Ordering::SeqCst), 0, "a change");
}
