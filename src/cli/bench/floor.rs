//! What the machine allows: the floor under every figure.
//!
//! Promise: the echo is the same accept loop, the same generator, the same request bytes and
//! connections, and nothing between them; the disk loop is one 8 KiB append and one fdatasync, in
//! the folder where the journal would lie. What a figure lacks to these is ours to answer for.

use std::convert::Infallible;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hdrhistogram::Histogram;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::BenchError;
use crate::cli::listen::bind;
use crate::http::accept::{AcceptLimits, serve};

/// Bytes of the echo's answer: about those of a transfer.
const ANSWER_BYTES: usize = 300;
/// Bytes of one append: a group commit of about 200 single transfers.
const APPEND_BYTES: usize = 8 * 1024;

/// Serves the echo until the process is killed: reads each body whole, answers 300 fixed bytes of JSON.
///
/// # Errors
/// The address cannot be had.
pub fn serve_echo(listen: SocketAddr) -> Result<(), BenchError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|source| BenchError::io("start the echo's runtime", source))?;
    runtime.block_on(async {
        let listener =
            bind(listen).and_then(TcpListener::from_std).map_err(|source| BenchError::io("listen", source))?;
        let addr = listener.local_addr().map_err(|source| BenchError::io("listen", source))?;
        println!("listening on http://{addr}");
        let (_never, shutdown) = watch::channel(false);
        serve(listener, service_fn(echo), AcceptLimits::default(), shutdown).await;
        Ok(())
    })
}

async fn echo(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut body = request.into_body();
    while let Some(Ok(frame)) = body.frame().await {
        std::hint::black_box(frame);
    }
    let mut answer = Response::new(Full::new(Bytes::from_static(&ANSWER)));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(answer)
}

/// `{"echo":"xxx…"}`
static ANSWER: [u8; ANSWER_BYTES] = {
    let mut bytes = [b'x'; ANSWER_BYTES];
    let start = b"{\"echo\":\"";
    let mut place = 0;
    while place < start.len() {
        bytes[place] = start[place];
        place += 1;
    }
    bytes[ANSWER_BYTES - 2] = b'"';
    bytes[ANSWER_BYTES - 1] = b'}';
    bytes
};

/// What the disk allows.
#[derive(Clone, Debug)]
pub struct DiskFloor {
    /// Appends with fdatasync a second.
    pub per_second: f64,
    /// Nanoseconds of one.
    pub latency: Histogram<u64>,
}

/// Appends and syncs in `folder` for `duration`; the file is removed.
///
/// # Errors
/// The folder cannot be written.
pub fn measure_disk(folder: &Path, duration: Duration) -> Result<DiskFloor, BenchError> {
    let failed = |source| BenchError::io("append and sync in the data folder", source);
    let path = folder.join(format!("floor-{}.tmp", std::process::id()));
    let mut file = OpenOptions::new().create_new(true).append(true).open(&path).map_err(failed)?;
    let bytes = vec![0x5a; APPEND_BYTES];
    let mut latency = Histogram::new_with_bounds(100, 60_000_000_000, 3).expect("bounds in order, digits below 5");
    let begun = Instant::now();
    let outcome = loop {
        let before = Instant::now();
        if let Err(error) = file.write_all(&bytes).and_then(|()| file.sync_data()) {
            break Err(failed(error));
        }
        latency.saturating_record(u64::try_from(before.elapsed().as_nanos()).unwrap_or(u64::MAX));
        if begun.elapsed() >= duration {
            #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
            let count = latency.len() as f64;
            break Ok(DiskFloor { per_second: count / begun.elapsed().as_secs_f64(), latency });
        }
    };
    fs::remove_file(&path).map_err(failed)?;
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_echo_answers_json_of_the_promised_size() {
        assert_eq!(ANSWER.len(), ANSWER_BYTES);
        assert!(serde_json::from_slice::<serde_json::Value>(&ANSWER).unwrap()["echo"].is_string());
    }

    #[test]
    fn the_disk_loop_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let floor = measure_disk(folder.path(), Duration::from_millis(1)).unwrap();
        assert!(floor.per_second > 0.0 && !floor.latency.is_empty());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
