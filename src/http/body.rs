//! Bodies: of requests, read within bounds of size, time and memory; of answers, whole or streamed.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;

use crate::config::{BATCH_BODIES_BYTES_MAX, BODY_TIMEOUT};

use super::problem::{Code, Outcome, Problem};
use super::stream::sse::EventBody;

/// Memory that the batch bodies in flight share.
#[derive(Debug, Default)]
pub struct BodyBudget {
    used: AtomicUsize,
}

/// A part of the budget; given back when dropped.
#[derive(Debug)]
pub struct Reserved {
    budget: Arc<BodyBudget>,
    bytes: usize,
}

impl Reserved {
    /// Nothing yet.
    #[must_use]
    pub fn of(budget: &Arc<BodyBudget>) -> Reserved {
        Reserved { budget: Arc::clone(budget), bytes: 0 }
    }

    /// Takes more. Bytes are taken as they arrive, so that a slow sender holds no more than it sent.
    fn grow(&mut self, bytes: usize) -> bool {
        let before = self.budget.used.fetch_add(bytes, Ordering::AcqRel);
        self.bytes += bytes;
        before + bytes <= BATCH_BODIES_BYTES_MAX
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

/// Reads a request's body of at most `bytes_max`; its memory is counted in `reserved`, if given.
///
/// # Errors
/// `body_too_large`, `body_timeout`, `body_unreadable`, `overloaded`.
pub async fn read_body<B>(body: B, bytes_max: usize, reserved: Option<&mut Reserved>) -> Outcome<Bytes>
where
    B: Body<Data = Bytes>,
{
    if body.size_hint().lower() > bytes_max as u64 {
        return Err(too_large(bytes_max));
    }
    let mut reading = pin!(collect(body, bytes_max, reserved));
    // Nearly every body has arrived with its head: no timer for those.
    let at_once = poll_fn(|context| Poll::Ready(reading.as_mut().poll(context))).await;
    match at_once {
        Poll::Ready(read) => read,
        Poll::Pending => tokio::time::timeout(BODY_TIMEOUT, reading).await.unwrap_or_else(|_| {
            Err(Problem::new(Code::BodyTimeout, "Nothing was done. Send the whole body within 30 seconds."))
        }),
    }
}

async fn collect<B>(body: B, bytes_max: usize, mut reserved: Option<&mut Reserved>) -> Outcome<Bytes>
where
    B: Body<Data = Bytes>,
{
    let expected = usize::try_from(body.size_hint().lower()).unwrap_or(bytes_max).min(bytes_max);
    let mut body = pin!(body);
    let mut first: Option<Bytes> = None;
    let mut whole: Vec<u8> = Vec::new();
    while let Some(frame) = body.frame().await {
        let unreadable = |_| Problem::new(Code::BodyUnreadable, "The body ended early or broke the protocol.");
        let Ok(data) = frame.map_err(unreadable)?.into_data() else { continue };
        if whole.len() + first.as_ref().map_or(0, Bytes::len) + data.len() > bytes_max {
            return Err(too_large(bytes_max));
        }
        if let Some(reserved) = &mut reserved
            && !reserved.grow(data.len())
        {
            return Err(Problem::new(Code::Overloaded, "Too many batches are arriving. Nothing was done."));
        }
        match first.take() {
            // A body of one frame is taken as it is; the first of several starts the copy.
            None if whole.is_empty() => first = Some(data),
            earlier => {
                if let Some(earlier) = earlier {
                    whole.reserve_exact(expected.max(earlier.len() + data.len()));
                    whole.extend_from_slice(&earlier);
                }
                whole.extend_from_slice(&data);
            }
        }
    }
    Ok(first.unwrap_or_else(|| Bytes::from(whole)))
}

/// `body_too_large`, with the bound.
pub fn too_large(bytes_max: usize) -> Box<Problem> {
    Problem::new(Code::BodyTooLarge, format!("A body has at most {bytes_max} bytes here."))
}

/// The body of an answer.
#[derive(Debug)]
pub enum Payload {
    /// All of it.
    Whole(Option<Bytes>),
    /// Part by part; an error cuts the connection, so that half an export cannot pass for one.
    Parts(mpsc::Receiver<io::Result<Bytes>>),
    /// Events as they come.
    Events(Box<EventBody>),
}

impl From<Vec<u8>> for Payload {
    fn from(bytes: Vec<u8>) -> Payload {
        Payload::Whole(Some(bytes.into()))
    }
}

impl Body for Payload {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match &mut *self {
            Payload::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Payload::Parts(parts) => parts.poll_recv(context).map(|part| part.map(|part| part.map(Frame::data))),
            Payload::Events(events) => events.poll_part(context).map(|part| part.map(|part| part.map(Frame::data))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Payload::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Payload::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Payload::Parts(_) | Payload::Events(_) => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;
    use tokio::runtime::Builder;

    use super::*;

    fn run<T>(work: impl Future<Output = T>) -> T {
        Builder::new_current_thread().enable_time().build().unwrap().block_on(work)
    }

    /// A body in parts, without a length.
    fn parts(texts: &[&'static str]) -> Payload {
        let (sender, receiver) = mpsc::channel(8);
        for text in texts {
            sender.try_send(Ok(Bytes::from_static(text.as_bytes()))).unwrap();
        }
        Payload::Parts(receiver)
    }

    #[test]
    fn bodies_are_read_within_their_bound() {
        run(async {
            let whole = Full::new(Bytes::from_static(b"12345"));
            assert_eq!(read_body(whole.clone(), 5, None).await.unwrap(), "12345");
            assert_eq!(read_body(whole, 4, None).await.unwrap_err().code, Code::BodyTooLarge);
            assert_eq!(read_body(parts(&["12", "", "345"]), 5, None).await.unwrap(), "12345");
            assert_eq!(read_body(parts(&["12", "345"]), 4, None).await.unwrap_err().code, Code::BodyTooLarge);
            assert_eq!(read_body(parts(&[]), 4, None).await.unwrap(), "");
        });
    }

    #[test]
    fn a_broken_body_is_a_refusal() {
        run(async {
            let (sender, receiver) = mpsc::channel(2);
            sender.try_send(Ok(Bytes::from_static(b"1"))).unwrap();
            sender.try_send(Err(io::Error::other("gone"))).unwrap();
            let problem = read_body(Payload::Parts(receiver), 9, None).await.unwrap_err();
            assert_eq!(problem.code, Code::BodyUnreadable);
        });
    }

    #[test]
    fn batch_bodies_share_a_budget() {
        run(async {
            let budget = Arc::new(BodyBudget::default());
            let mut held = Reserved::of(&budget);
            assert!(held.grow(BATCH_BODIES_BYTES_MAX - 3));
            let mut more = Reserved::of(&budget);
            let body = || Full::new(Bytes::from_static(b"1234"));
            let problem = read_body(body(), 9, Some(&mut more)).await.unwrap_err();
            assert_eq!(problem.code, Code::Overloaded);
            drop((held, more));
            let mut again = Reserved::of(&budget);
            assert!(read_body(body(), 9, Some(&mut again)).await.is_ok());
            drop(again);
            assert_eq!(budget.used.load(Ordering::Relaxed), 0);
        });
    }
}
