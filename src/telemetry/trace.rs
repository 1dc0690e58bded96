//! W3C trace context: which trace a request belongs to, and whether it is followed.
//!
//! Promise: a caller's `traceparent` is continued with a span of ours and its decision to sample is
//! kept, up to [`HONOURED_PER_SECOND`]; of other requests a fixed share is sampled. A request that is
//! neither costs one multiplication. Ids come from the request's number and a seed of the process.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::families::{self, Reading};
use super::otlp::{Export, Span, SpanQueue};

/// Sampled requests a second whose caller asked for it: a caller cannot make us export everything.
const HONOURED_PER_SECOND: u64 = 100;

/// A trace that a request belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace {
    /// Its id, never zero.
    pub trace_id: [u8; 16],
    /// Our span, never zero.
    pub span_id: [u8; 8],
    /// The caller's span, where the caller began the trace.
    pub parent_id: Option<[u8; 8]>,
    /// Whether the span is exported; told to whoever is called next.
    pub is_sampled: bool,
}

impl Trace {
    /// `00-<trace>-<span>-<flags>`.
    #[must_use]
    pub fn header(&self) -> [u8; 55] {
        let mut out = [b'-'; 55];
        out[..2].copy_from_slice(b"00");
        write_hex(&mut out[3..35], &self.trace_id);
        write_hex(&mut out[36..52], &self.span_id);
        out[53..].copy_from_slice(if self.is_sampled { b"01" } else { b"00" });
        out
    }

    /// The trace's id in hex.
    #[must_use]
    pub fn trace_hex(&self) -> String {
        hex(&self.trace_id)
    }
}

/// Bytes in lower-case hex.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    let mut out = vec![0; bytes.len() * 2];
    write_hex(&mut out, bytes);
    String::from_utf8(out).expect("hex digits are ASCII")
}

fn write_hex(out: &mut [u8], bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (pair, byte) in out.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
}

/// Reads lower-case hex; `None` for anything else and for all zeros.
fn read_hex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut out = [0; N];
    for (byte, pair) in out.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    (text.len() == 2 * N && out != [0; N]).then_some(out)
}

/// Trace, caller's span and its decision out of a `traceparent`; `None` when it is none.
fn parse(text: &[u8]) -> Option<([u8; 16], [u8; 8], bool)> {
    // A later version may go on after a further dash.
    let is_form = text.len() == 55 || text.len() > 55 && text[55] == b'-' && !text.starts_with(b"00");
    if !is_form || text[2] != b'-' || text[35] != b'-' || text[52] != b'-' || text.starts_with(b"ff") {
        return None;
    }
    // The version is two hex digits, and may be zero.
    let is_hex = |byte: &u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte);
    if !text[..2].iter().all(is_hex) || !text[53..55].iter().all(is_hex) {
        return None;
    }
    let flags = text[54];
    let low = if flags.is_ascii_digit() { flags - b'0' } else { flags - b'a' + 10 };
    Some((read_hex(&text[3..35])?, read_hex(&text[36..52])?, low & 1 == 1))
}

/// Decides about traces and hands spans on.
#[derive(Debug)]
pub struct Tracer {
    seed: u64,
    /// A request whose number hashes below this is sampled.
    threshold: u64,
    queue: Option<Arc<SpanQueue>>,
    started: Instant,
    /// The second, and how many were honoured in it.
    honoured: AtomicU64,
}

impl Tracer {
    /// Nothing is exported; a caller's trace is continued all the same.
    #[must_use]
    pub fn off() -> Tracer {
        Tracer::new(0.0, None)
    }

    /// Samples a share (0 to 1) of the requests and exports them to `queue`.
    #[must_use]
    pub fn new(share: f64, queue: Option<Arc<SpanQueue>>) -> Tracer {
        let share = if queue.is_some() { share.clamp(0.0, 1.0) } else { 0.0 };
        Tracer {
            seed: RandomState::new().hash_one(SystemTime::now()),
            threshold: (share * u64::MAX as f64) as u64,
            queue,
            started: Instant::now(),
            honoured: AtomicU64::new(0),
        }
    }

    /// The trace of a request, if it belongs to one or is sampled.
    #[inline]
    #[must_use]
    pub fn begin(&self, request: u64, traceparent: Option<&[u8]>) -> Option<Trace> {
        let own = mix(self.seed ^ request);
        let is_chosen = self.threshold > 0 && mix(own) < self.threshold;
        let caller = traceparent.and_then(parse);
        if caller.is_none() && !is_chosen {
            return None;
        }
        let span_id = (own | 1).to_be_bytes();
        Some(match caller {
            Some((trace_id, parent, is_asked)) => {
                let is_sampled = is_chosen || is_asked && self.queue.is_some() && self.honours_one();
                Trace { trace_id, span_id, parent_id: Some(parent), is_sampled }
            }
            None => {
                let mut trace_id = [0; 16];
                trace_id[..8].copy_from_slice(&mix(own ^ self.seed).to_be_bytes());
                trace_id[8..].copy_from_slice(&(mix(own.wrapping_add(self.seed)) | 1).to_be_bytes());
                Trace { trace_id, span_id, parent_id: None, is_sampled: true }
            }
        })
    }

    /// Whether one more may be honoured in this second.
    fn honours_one(&self) -> bool {
        let now = self.started.elapsed().as_secs() << 32;
        let before = self.honoured.load(Ordering::Relaxed);
        let count = if before >> 32 == now >> 32 { before & u64::from(u32::MAX) } else { 0 };
        count < HONOURED_PER_SECOND && {
            // Two at once may count as one: the bound is no promise to the unit.
            self.honoured.store(now | (count + 1), Ordering::Relaxed);
            true
        }
    }

    /// Hands a span on; drops it when too many wait.
    pub fn end(&self, span: Span) {
        if let Some(queue) = &self.queue {
            queue.push(span);
        }
    }

    pub(super) fn read_into(&self, readings: &mut Vec<Reading>) {
        let Some(queue) = &self.queue else { return };
        for (name, count) in queue.counts() {
            readings.push(Reading::labelled(&families::SPANS, "outcome", name, count as f64));
        }
    }

    /// Sends what waits to an exporter, for as long as the process runs.
    ///
    /// # Errors
    /// No thread could be started.
    pub fn start_export(&self, export: Export) -> std::io::Result<()> {
        match &self.queue {
            Some(queue) => queue.start(export),
            None => Ok(()),
        }
    }
}

/// Nanoseconds since 1970 of a moment that lies `ago` back.
#[must_use]
pub fn unix_ns(ago: Duration) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.saturating_sub(ago).as_nanos()).unwrap_or(u64::MAX)
}

/// The finaliser of splitmix64: every bit of the input moves every bit of the output.
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ value >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALLERS: &[u8] = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

    #[test]
    fn a_callers_trace_is_continued_with_a_span_of_ours() {
        let trace = Tracer::off().begin(7, Some(CALLERS)).unwrap();
        let header = String::from_utf8(trace.header().to_vec()).unwrap();
        assert!(header.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"), "{header}");
        assert!(header.ends_with("-00") && !header.contains("00f067aa0ba902b7"), "{header}");
        assert_eq!(hex(&trace.parent_id.unwrap()), "00f067aa0ba902b7");
        assert!(parse(header.as_bytes()).is_some());
    }

    #[test]
    fn what_is_no_traceparent_is_ignored() {
        let good = std::str::from_utf8(CALLERS).unwrap();
        for bad in [
            "",
            "00-x",
            &good.to_uppercase(),
            &good.replace("00-4", "ff-4"),
            &good.replace("00f067aa0ba902b7", "0000000000000000"),
            &format!("{good}-more"),
            &good.replace('-', "_"),
        ] {
            assert_eq!(Tracer::off().begin(7, Some(bad.as_bytes())), None, "{bad}");
        }
        let later = good.replace("00-4", "01-4") + "-more";
        assert!(Tracer::off().begin(7, Some(later.as_bytes())).is_some(), "a later version may say more");
    }

    #[test]
    fn a_share_of_the_requests_is_sampled() {
        let tracer = Tracer::new(0.01, Some(SpanQueue::new()));
        let sampled = (0..100_000).filter(|request| tracer.begin(*request, None).is_some()).count();
        assert!((800..1_200).contains(&sampled), "{sampled}");
        assert!((0..1_000).all(|request| Tracer::new(0.0, Some(SpanQueue::new())).begin(request, None).is_none()));
        assert_eq!(Tracer::new(1.0, None).begin(1, None), None, "without an exporter nothing is sampled");
    }

    #[test]
    fn a_caller_cannot_have_everything_exported() {
        let tracer = Tracer::new(0.0, Some(SpanQueue::new()));
        let asked = [&CALLERS[..54], b"1"].concat();
        let sampled = (0..10_000).filter(|request| tracer.begin(*request, Some(&asked)).unwrap().is_sampled).count();
        // The second may turn while this runs.
        assert!((100..=500).contains(&sampled), "{sampled}");
    }
}
