//! Content codings: answers made smaller, request bodies made whole again.
//!
//! Promise: an answer of more than [`PLAIN_BYTES_MAX`] goes out in the coding that its caller likes
//! best, if that makes it smaller; a large one is compressed on a thread that may take its time, never
//! on one that serves connections; and no body inflates beyond the bound of its route.
//!
//! Steps for an answer:
//! 1. leave alone what is small, empty or compressed already: for a single transfer that is one comparison;
//! 2. say `Vary: Accept-Encoding`, also when nothing is compressed: a cache must know that it could have been;
//! 3. compress here, on a blocking thread above [`INLINE_BYTES_MAX`], or part by part on a thread of its own;
//! 4. mark the entity tag with the coding: other bytes are another representation (RFC 9110, 8.8.3.3).

use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::sync::LazyLock;

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use hyper::header::{CONTENT_ENCODING, HeaderMap};
use tokio::sync::{Semaphore, mpsc};

use crate::engine::readers::{Place, run_at};

use super::body::{Payload, too_large};
use super::negotiate::accepted_coding;
use super::problem::{Code, Outcome, Problem};
use super::reply::Reply;
use super::timing::{Stage, Timing};

/// Answers up to here fit into one packet with their headers: smaller ones arrive no sooner.
pub const PLAIN_BYTES_MAX: usize = 1024;

/// Answers up to here are compressed where they are made: zstd-3 takes under 0.1 ms for them, brotli 0.3 ms.
pub const INLINE_BYTES_MAX: usize = 16 * 1024;

/// Larger answers that are compressed at once, unless they have a place of their own: half the processors.
static PACKERS: LazyLock<Semaphore> = LazyLock::new(|| {
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Semaphore::new((processors / 2).max(1))
});

/// Bytes that a streamed answer collects before a part leaves.
const PART_BYTES: usize = 32 * 1024;

/// Parts between the compressing thread and the connection.
const PARTS_MAX: usize = 4;

/// Bytes that a decoder is asked for at once: what gzip gives.
const READ_BYTES: usize = 32 * 1024;

/// Window of a zstd request body: RFC 8878 asks receivers for 8 MiB, and a body is no larger.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// Window of brotli, 2^18 bytes: our answers repeat themselves within one row.
const BROTLI_WINDOW_LOG: u32 = 18;

const ZSTD_LEVEL: i32 = 3;
const GZIP_LEVEL: u32 = 1;
const BROTLI_QUALITY: u32 = 4;

/// A content coding; the one that serves best at its level first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// RFC 8878.
    Zstd,
    /// RFC 1952.
    Gzip,
    /// RFC 7932. For answers only.
    Brotli,
}

/// All codings with their names, the preferred ones first.
pub const CODINGS: [(Coding, &str); 3] = [(Coding::Zstd, "zstd"), (Coding::Gzip, "gzip"), (Coding::Brotli, "br")];

/// The codings of request bodies, for `Accept-Encoding` of a 415.
pub const BODY_CODINGS: &str = "gzip, zstd";

impl Coding {
    /// The name in `Content-Encoding`.
    #[must_use]
    pub fn name(self) -> &'static str {
        CODINGS[self as usize].1
    }

    /// The coding of a name; `x-gzip` is gzip (RFC 9110, 8.4.1.3).
    #[must_use]
    pub fn from_name(name: &str) -> Option<Coding> {
        let name = if name.eq_ignore_ascii_case("x-gzip") { "gzip" } else { name };
        CODINGS.iter().find(|(_, known)| known.eq_ignore_ascii_case(name)).map(|(coding, _)| *coding)
    }
}

/// The coding of a request's body; `None` when it is as it is.
///
/// # Errors
/// `unsupported_media_type` with `Accept-Encoding` for all but one of gzip and zstd.
pub fn body_coding(headers: &HeaderMap) -> Outcome<Option<Coding>> {
    let mut values = headers.get_all(CONTENT_ENCODING).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let name = value.to_str().unwrap_or("?").trim();
    let is_single = values.next().is_none();
    if is_single && (name.is_empty() || name.eq_ignore_ascii_case("identity")) {
        return Ok(None);
    }
    let coding = Coding::from_name(name).filter(|coding| is_single && *coding != Coding::Brotli);
    coding.map(Some).ok_or_else(|| {
        let detail = "Send the body as it is, or with one Content-Encoding: gzip or zstd.";
        let mut problem = Problem::new(Code::UnsupportedMediaType, detail);
        problem.accept_encoding = Some(BODY_CODINGS);
        problem
    })
}

/// The body behind a coding, of at most `bytes_max`.
///
/// # Errors
/// `body_too_large` as soon as it grows beyond, `body_unreadable`.
pub fn inflate(coding: Coding, body: &[u8], bytes_max: usize) -> Outcome<Vec<u8>> {
    // Texts of ours shrink to a fifth and more; the rest is a bound, not a guess.
    let mut whole = Vec::with_capacity(body.len().saturating_mul(5).min(bytes_max + 1));
    let read = match coding {
        Coding::Gzip => read_within(MultiGzDecoder::new(body), bytes_max, &mut whole),
        Coding::Zstd => zstd::stream::read::Decoder::with_buffer(body).and_then(|mut decoder| {
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
            read_within(decoder, bytes_max, &mut whole)
        }),
        Coding::Brotli => Err(io::ErrorKind::Unsupported.into()),
    };
    if whole.len() > bytes_max {
        return Err(too_large(bytes_max));
    }
    let unreadable = |_| Problem::new(Code::BodyUnreadable, "The body is not what its Content-Encoding says.");
    read.map(|()| whole).map_err(unreadable)
}

/// Reads to the end, or until there is one byte more than `bytes_max`. No more memory than that is ever
/// taken, whatever is behind the reader.
fn read_within(mut reader: impl Read, bytes_max: usize, whole: &mut Vec<u8>) -> io::Result<()> {
    while whole.len() <= bytes_max {
        let held = whole.len();
        if held == whole.capacity() {
            // Doubled, but not beyond the bound, where a vector left alone would go.
            whole.reserve_exact(held.max(8 * 1024).min(bytes_max + 1 - held));
        }
        whole.resize(whole.capacity().min(bytes_max + 1).min(held + READ_BYTES), 0);
        let read = reader.read(&mut whole[held..]);
        whole.truncate(held + read.as_ref().map_or(0, |read| *read));
        match read {
            Ok(0) => break,
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Compresses an answer as its caller likes it. Ends the stages `render` and, if it compresses, `compress`.
///
/// # Errors
/// `overloaded` when no thread can be had for a large one.
pub async fn compress(reply: &mut Reply, headers: &HeaderMap, timing: &mut Timing) -> Outcome<()> {
    let is_small = matches!(&reply.body, Payload::Whole(bytes) if bytes.as_ref().map_or(0, Bytes::len) <= PLAIN_BYTES_MAX)
        // An event waits for no block of a coding to fill.
        || matches!(&reply.body, Payload::Events(_));
    if is_small || reply.coding.is_some() {
        return Ok(());
    }
    reply.varies_by_coding = true;
    let Some(coding) = accepted_coding(headers) else { return Ok(()) };
    timing.mark(Stage::Render);
    let overloaded = || Problem::new(Code::Overloaded, "No thread is free to compress the answer. Ask again.");
    match std::mem::replace(&mut reply.body, Payload::Whole(None)) {
        Payload::Whole(None) | Payload::Events(_) => {}
        Payload::Whole(Some(plain)) => {
            let packed = if plain.len() <= INLINE_BYTES_MAX {
                encode(coding, &plain)
            } else {
                let plain = plain.clone();
                pack(&mut reply.place, move || encode(coding, &plain)).await.ok_or_else(overloaded)?
            };
            let packed = packed.ok().filter(|packed| packed.len() < plain.len());
            reply.coding = packed.as_ref().map(|_| coding);
            reply.body = Payload::Whole(Some(packed.map_or(plain, Bytes::from)));
        }
        Payload::Parts(parts) => {
            reply.body = Payload::Parts(encode_parts(coding, parts).map_err(|_| overloaded())?);
            reply.coding = Some(coding);
        }
    }
    if let (Some(coding), Some(etag)) = (reply.coding, &mut reply.etag) {
        *etag = with_suffix(etag, coding.name());
    }
    timing.mark(Stage::Compress);
    Ok(())
}

/// Compresses on a thread that may take its time: at the place of a long answer, or else at one of few.
async fn pack<T: Send + 'static>(place: &mut Option<Place>, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    if place.is_some() {
        return run_at(place, work).await.ok();
    }
    let permit = PACKERS.acquire().await.ok()?;
    let work = move || {
        let done = work();
        drop(permit);
        done
    };
    tokio::task::spawn_blocking(work).await.ok()
}

/// `"1-5"` → `"1-5-gzip"`
#[must_use]
pub fn with_suffix(etag: &str, suffix: &str) -> String {
    format!("{}-{suffix}\"", etag.strip_suffix('"').unwrap_or(etag))
}

/// The tag of the same state without compression: `"1-5-gzip"` → `"1-5"`.
#[must_use]
pub fn without_coding(etag: &str) -> String {
    let bare = CODINGS.iter().find_map(|(_, name)| etag.strip_suffix('"')?.strip_suffix(name)?.strip_suffix('-'));
    bare.map_or_else(|| etag.to_owned(), |bare| format!("{bare}\""))
}

/// All bytes in a coding, at the level for answers made on the spot.
///
/// # Errors
/// What the library says; none is known for bytes in memory.
pub fn encode(coding: Coding, plain: &[u8]) -> io::Result<Vec<u8>> {
    thread_local! {
        /// A compressor's tables are a megabyte: made once a thread.
        static ZSTD: RefCell<Option<zstd::bulk::Compressor<'static>>> = const { RefCell::new(None) };
    }
    if coding == Coding::Zstd {
        return ZSTD.with_borrow_mut(|kept| {
            if kept.is_none() {
                *kept = Some(zstd::bulk::Compressor::new(ZSTD_LEVEL)?);
            }
            kept.as_mut().expect("it was just made").compress(plain)
        });
    }
    let mut encoder = Encoder::new(coding)?;
    encoder.write(plain)?;
    encoder.finish()
}

/// Brotli at its densest, for pages that are compressed once and served often.
///
/// # Errors
/// As [`encode`].
pub fn encode_page(plain: &[u8]) -> io::Result<Vec<u8>> {
    let mut writer = brotli::CompressorWriter::new(Vec::new(), 4096, 11, 22);
    writer.write_all(plain)?;
    Ok(writer.into_inner())
}

/// A coding at work.
enum Encoder {
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
    Gzip(GzEncoder<Vec<u8>>),
    Brotli(Box<brotli::CompressorWriter<Vec<u8>>>),
}

impl Encoder {
    fn new(coding: Coding) -> io::Result<Encoder> {
        let out = Vec::with_capacity(PART_BYTES);
        Ok(match coding {
            Coding::Zstd => Encoder::Zstd(zstd::stream::write::Encoder::new(out, ZSTD_LEVEL)?),
            Coding::Gzip => Encoder::Gzip(GzEncoder::new(out, flate2::Compression::new(GZIP_LEVEL))),
            Coding::Brotli => {
                let writer = brotli::CompressorWriter::new(out, 4096, BROTLI_QUALITY, BROTLI_WINDOW_LOG);
                Encoder::Brotli(Box::new(writer))
            }
        })
    }

    fn write(&mut self, plain: &[u8]) -> io::Result<()> {
        match self {
            Encoder::Zstd(encoder) => encoder.write_all(plain),
            Encoder::Gzip(encoder) => encoder.write_all(plain),
            Encoder::Brotli(encoder) => encoder.write_all(plain),
        }
    }

    /// What is ready to leave.
    fn ready(&mut self) -> &mut Vec<u8> {
        match self {
            Encoder::Zstd(encoder) => encoder.get_mut(),
            Encoder::Gzip(encoder) => encoder.get_mut(),
            Encoder::Brotli(encoder) => encoder.get_mut(),
        }
    }

    fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            Encoder::Zstd(encoder) => encoder.finish(),
            Encoder::Gzip(encoder) => encoder.finish(),
            Encoder::Brotli(encoder) => Ok(encoder.into_inner()),
        }
    }
}

/// Compresses a streamed answer on a thread of its own, which ends with its reader or its writer. An
/// error of the writer is passed on: half an export cannot pass for one, compressed or not.
fn encode_parts(
    coding: Coding,
    mut parts: mpsc::Receiver<io::Result<Bytes>>,
) -> io::Result<mpsc::Receiver<io::Result<Bytes>>> {
    let (sender, receiver) = mpsc::channel(PARTS_MAX);
    let work = move || {
        let run = || -> io::Result<()> {
            let mut encoder = Encoder::new(coding)?;
            while let Some(part) = parts.blocking_recv() {
                encoder.write(&part?)?;
                let ready = encoder.ready();
                if ready.len() >= PART_BYTES {
                    let part = std::mem::replace(ready, Vec::with_capacity(PART_BYTES));
                    if sender.blocking_send(Ok(part.into())).is_err() {
                        return Ok(());
                    }
                }
            }
            // Nobody may be reading any more.
            let _ = sender.blocking_send(Ok(encoder.finish()?.into()));
            Ok(())
        };
        let mut run = run;
        if let Err(error) = run() {
            let _ = sender.blocking_send(Err(error));
        }
    };
    std::thread::Builder::new().name("compress".into()).spawn(work)?;
    Ok(receiver)
}

#[cfg(test)]
mod tests {
    use hyper::StatusCode;
    use hyper::header::{ACCEPT_ENCODING, HeaderName};

    use super::*;

    fn headers(name: HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().unwrap())])
    }

    fn plain() -> Vec<u8> {
        (0..5_000).flat_map(|number: u32| format!("{{\"amount\":\"{number}.00\"}},").into_bytes()).collect()
    }

    fn unpacked(coding: Coding, packed: &[u8]) -> Vec<u8> {
        if coding != Coding::Brotli {
            return inflate(coding, packed, 1 << 24).unwrap();
        }
        let mut out = Vec::new();
        brotli::Decompressor::new(packed, 4096).read_to_end(&mut out).unwrap();
        out
    }

    #[test]
    fn what_is_packed_is_unpacked() {
        for (coding, name) in CODINGS {
            assert_eq!(Coding::from_name(&name.to_uppercase()), Some(coding));
            for plain in [Vec::new(), b"x".to_vec(), plain()] {
                assert_eq!(unpacked(coding, &encode(coding, &plain).unwrap()), plain, "{name}");
            }
        }
        assert_eq!(unpacked(Coding::Brotli, &encode_page(&plain()).unwrap()), plain());
    }

    #[test]
    fn no_more_memory_is_taken_than_the_bound() {
        for bytes_max in [0, 1, 1000, 8 * 1024, 64 * 1024, 1_000_000] {
            for hint in [0, 100, bytes_max + 1] {
                let mut whole = Vec::with_capacity(hint);
                read_within(io::repeat(7), bytes_max, &mut whole).unwrap();
                assert_eq!(whole.len(), bytes_max + 1, "one more says that there is more");
                assert!(whole.capacity() <= (bytes_max + 1).max(hint), "{} for {bytes_max}", whole.capacity());
            }
        }
        let mut whole = Vec::new();
        read_within(&b"12345"[..], 5, &mut whole).unwrap();
        assert_eq!(whole, b"12345");
    }

    #[test]
    fn a_body_never_inflates_beyond_its_bound() {
        let zeros = vec![b' '; 1 << 20];
        for coding in [Coding::Gzip, Coding::Zstd] {
            let bomb = encode(coding, &zeros).unwrap();
            assert!(bomb.len() < 50_000, "{} bytes", bomb.len());
            assert_eq!(inflate(coding, &bomb, 1000).unwrap_err().code, Code::BodyTooLarge);
            assert_eq!(inflate(coding, &bomb, 1 << 20).unwrap().len(), 1 << 20);
            for broken in [&bomb[..bomb.len() / 2], b"not packed at all", b""] {
                let code = inflate(coding, broken, 1 << 20).map(|whole| whole.len());
                assert!(code.as_ref().is_ok_and(|len| *len == 0) || code.unwrap_err().code == Code::BodyUnreadable);
            }
        }
    }

    #[test]
    fn bodies_come_in_two_codings() {
        let coding = |value: &str| body_coding(&headers(CONTENT_ENCODING, value));
        assert_eq!(body_coding(&HeaderMap::new()).unwrap(), None);
        assert_eq!(coding("identity").unwrap(), None);
        assert_eq!(coding("GZIP").unwrap(), Some(Coding::Gzip));
        assert_eq!(coding("zstd").unwrap(), Some(Coding::Zstd));
        for other in ["br", "deflate", "gzip, zstd", "gzip,gzip"] {
            let problem = coding(other).unwrap_err();
            assert_eq!((problem.code, problem.accept_encoding), (Code::UnsupportedMediaType, Some(BODY_CODINGS)));
        }
    }

    #[test]
    fn tags_tell_the_coding() {
        assert_eq!(with_suffix("\"1-5\"", "gzip"), "\"1-5-gzip\"");
        for tag in ["\"1-5-gzip\"", "\"1-5-br\"", "\"1-5-zstd\"", "\"1-5\""] {
            assert_eq!(without_coding(tag), "\"1-5\"");
        }
        assert_eq!(without_coding("*"), "*");
    }

    #[tokio::test]
    async fn answers_are_packed_as_their_caller_likes() {
        let table = [("zstd, gzip", Some(Coding::Zstd)), ("br", Some(Coding::Brotli)), ("identity", None)];
        for (accept, expected) in table {
            for count in [2_000, 200_000] {
                let text: Vec<u8> = plain().into_iter().cycle().take(count).collect();
                let mut reply = Reply::json(StatusCode::OK, text.clone());
                reply.etag = Some("\"1\"".into());
                compress(&mut reply, &headers(ACCEPT_ENCODING, accept), &mut Timing::start()).await.unwrap();
                assert_eq!(reply.coding, expected);
                assert!(reply.varies_by_coding);
                let Payload::Whole(Some(body)) = reply.body else { panic!("a whole body") };
                match expected {
                    Some(coding) => assert_eq!(unpacked(coding, &body), text),
                    None => assert_eq!(body, text),
                }
                assert_eq!(reply.etag.unwrap() == "\"1\"", expected.is_none());
            }
        }
        let mut small = Reply::json(StatusCode::OK, vec![b' '; PLAIN_BYTES_MAX]);
        compress(&mut small, &headers(ACCEPT_ENCODING, "gzip"), &mut Timing::start()).await.unwrap();
        assert!(small.coding.is_none() && !small.varies_by_coding);
    }

    #[tokio::test]
    async fn streams_are_packed_part_by_part_and_break_as_they_broke() {
        for (coding, name) in CODINGS {
            for ends_well in [true, false] {
                let (sender, parts) = mpsc::channel(2);
                let body = Payload::Parts(parts);
                let mut reply = Reply::of(StatusCode::OK, hyper::header::HeaderValue::from_static("text/csv"), body);
                compress(&mut reply, &headers(ACCEPT_ENCODING, name), &mut Timing::start()).await.unwrap();
                let Payload::Parts(mut packed) = reply.body else { panic!("a stream") };
                let text = plain();
                let sent = text.clone();
                let writer = tokio::spawn(async move {
                    for part in sent.chunks(10_000) {
                        sender.send(Ok(Bytes::copy_from_slice(part))).await.unwrap();
                    }
                    if !ends_well {
                        sender.send(Err(io::Error::other("gone"))).await.unwrap();
                    }
                });
                let (mut whole, mut broke) = (Vec::new(), false);
                while let Some(part) = packed.recv().await {
                    match part {
                        Ok(part) => whole.extend_from_slice(&part),
                        Err(_) => broke = true,
                    }
                }
                writer.await.unwrap();
                assert_eq!(broke, !ends_well);
                assert!(broke || unpacked(coding, &whole) == text);
            }
        }
    }
}
