//! Events as an answer that does not end: Server-Sent Events (WHATWG HTML, 9.2).
//!
//! `id` is the seq, so that a browser comes back with `Last-Event-ID` by itself. A quiet stream says every
//! fifteen seconds how far it has come: an `id` without data is kept by the client and shown to nobody. A stream
//! that is ended by the server is over for the client to open again, at the place that he has.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;

use crate::config::STREAM_BEAT;

use super::super::render::write_number;
use super::follower::{Follower, Next};

/// How long a client waits before it comes back, milliseconds: one of many does not come with all others at once.
const RETRY: &str = "retry: 1000\n\n";

type Step = Pin<Box<dyn Future<Output = (Follower, Option<Bytes>)> + Send>>;

/// A stream of events as the body of an answer.
pub struct EventBody {
    /// The first bytes, which tell the client that it is connected.
    greeting: Option<Bytes>,
    step: Option<Step>,
}

impl std::fmt::Debug for EventBody {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("EventBody").finish_non_exhaustive()
    }
}

impl EventBody {
    /// The stream of a follower.
    #[must_use]
    pub fn of(follower: Follower) -> EventBody {
        let greeting = format!("{RETRY}id: {}\n\n", follower.at().0);
        EventBody { greeting: Some(greeting.into()), step: Some(Box::pin(step(follower))) }
    }

    /// The next bytes, `None` at the end.
    pub fn poll_part(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        if let Some(greeting) = self.greeting.take() {
            return Poll::Ready(Some(Ok(greeting)));
        }
        let Some(running) = &mut self.step else { return Poll::Ready(None) };
        match running.as_mut().poll(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready((follower, Some(bytes))) => {
                self.step = Some(Box::pin(step(follower)));
                Poll::Ready(Some(Ok(bytes)))
            }
            Poll::Ready((_, None)) => {
                self.step = None;
                Poll::Ready(None)
            }
        }
    }
}

async fn step(mut follower: Follower) -> (Follower, Option<Bytes>) {
    let next = tokio::time::timeout(STREAM_BEAT, follower.next()).await;
    let bytes = match next {
        Ok(Next::Events(events)) => Some(events),
        Ok(Next::Lagged(from, to)) => {
            let mut out = b"event: lagged\ndata: {\"after\":\"".to_vec();
            write_number(&mut out, from.0);
            out.extend_from_slice(b"\",\"through\":\"");
            write_number(&mut out, to.0);
            out.extend_from_slice(b"\"}\n\n");
            Some(out.into())
        }
        Ok(Next::Over) => None,
        Err(_) => Some(format!("id: {}\n: quiet\n\n", follower.at().0).into()),
    };
    (follower, bytes)
}
