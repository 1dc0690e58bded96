//! Between who reads and writes as a blocking program does, as the library of WebSockets does, and the socket.
//!
//! Reads go to the socket and say `WouldBlock` where it has nothing; writes gather in [`Pipe::outbox`], which the
//! session sends. Frames of our own, the same for all who follow, go into the outbox between the library's.

use std::io::{self, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::super::accept::socket::Socket;

/// What a turn of whoever serves a connection came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// More can be done at once.
    More,
    /// Nothing until somebody calls.
    Wait,
    /// The connection is over.
    Over,
}

/// Turns at one poll: a client that always has more does not keep the thread.
const TURNS_MAX: usize = 4;

/// One poll: turns until there is nothing to do, or others have to have theirs. Ready when the connection is over.
pub fn turns(context: &mut Context<'_>, mut turn: impl FnMut(&mut Context<'_>) -> Turn) -> Poll<()> {
    for _ in 0..TURNS_MAX {
        match turn(context) {
            Turn::More => {}
            Turn::Wait => return Poll::Pending,
            Turn::Over => return Poll::Ready(()),
        }
    }
    context.waker().wake_by_ref();
    Poll::Pending
}

/// The socket, and what waits to be sent.
#[derive(Debug)]
pub struct Pipe {
    socket: Socket,
    /// Whoever reads is called back through this.
    waker: Waker,
    outbox: BytesMut,
}

impl Pipe {
    /// Around a socket.
    #[must_use]
    pub fn around(socket: Socket) -> Pipe {
        Pipe { socket, waker: Waker::noop().clone(), outbox: BytesMut::new() }
    }

    /// Whom the next reads and writes call back.
    pub fn watch(&mut self, context: &Context<'_>) {
        if !self.waker.will_wake(context.waker()) {
            self.waker.clone_from(context.waker());
        }
    }

    /// See [`Socket::second_handle`].
    #[must_use]
    pub fn second_handle(&self) -> Option<std::net::TcpStream> {
        self.socket.second_handle()
    }

    /// Bytes that wait to be sent.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.outbox.len()
    }

    /// Puts bytes of whole frames behind what waits.
    pub fn push(&mut self, frames: &[u8]) {
        self.outbox.extend_from_slice(frames);
    }

    /// Puts a text message behind what waits: one frame, unmasked as a server's are (RFC 6455, 5.2).
    pub fn push_text(&mut self, text: &[u8]) {
        let mut head = [0x81, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let length = match u16::try_from(text.len()) {
            Ok(short) if short < 126 => {
                head[1] = short as u8;
                2
            }
            Ok(middle) => {
                head[1] = 126;
                head[2..4].copy_from_slice(&middle.to_be_bytes());
                4
            }
            Err(_) => {
                head[1] = 127;
                head[2..10].copy_from_slice(&(text.len() as u64).to_be_bytes());
                10
            }
        };
        self.outbox.extend_from_slice(&head[..length]);
        self.outbox.extend_from_slice(text);
    }

    /// Sends what waits, as far as the socket takes it: whether any went.
    ///
    /// # Errors
    /// The connection broke.
    pub fn send(&mut self) -> io::Result<bool> {
        let mut sent = false;
        let mut context = Context::from_waker(&self.waker);
        while self.outbox.has_remaining() {
            match Pin::new(&mut self.socket).poll_write(&mut context, &self.outbox) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(count)) => {
                    self.outbox.advance(count);
                    sent = true;
                }
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => return Ok(sent),
            }
        }
        match Pin::new(&mut self.socket).poll_flush(&mut context) {
            Poll::Ready(Err(error)) => Err(error),
            _ => Ok(sent),
        }
    }

    /// Ends our side of the connection.
    ///
    /// # Errors
    /// The connection broke.
    pub fn end(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }

    /// What a burst has grown is not kept for an idle connection.
    pub fn rest(&mut self) {
        if self.outbox.is_empty() {
            self.outbox = BytesMut::new();
        }
    }
}

impl Read for Pipe {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut context = Context::from_waker(&self.waker);
        let mut into = ReadBuf::new(into);
        match Pin::new(&mut self.socket).poll_read(&mut context, &mut into) {
            Poll::Ready(read) => read.map(|()| into.filled().len()),
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.outbox.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    /// Counts how often somebody was called.
    #[derive(Default)]
    pub(in super::super) struct Count(pub AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn who_always_has_more_comes_again_and_who_waits_is_not_called_in_vain() {
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        let mut taken = 0;
        let mut poll = |turn_of: fn(usize) -> Turn| {
            taken = 0;
            let polled = turns(&mut Context::from_waker(&waker), |_| {
                taken += 1;
                turn_of(taken)
            });
            (polled, taken, count.0.swap(0, Ordering::Relaxed))
        };
        assert_eq!(poll(|_| Turn::More), (Poll::Pending, TURNS_MAX, 1));
        assert_eq!(poll(|taken| if taken < 3 { Turn::More } else { Turn::Wait }), (Poll::Pending, 3, 0));
        assert_eq!(poll(|_| Turn::Over), (Poll::Ready(()), 1, 0));
    }
}
