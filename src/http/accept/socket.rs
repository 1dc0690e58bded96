//! A connection's socket: plain or encrypted, counted, and closed so that nothing sent is lost.
//!
//! A socket that is closed with bytes of its peer unread makes the kernel send a reset, which throws
//! away what is still on its way **to** the peer: the answer that was just written. Hence:
//! 1. hyper ends its side (`shutdown`), which says "no more from here";
//! 2. when it lets go of the socket and the peer has not ended its side yet, the socket is read to
//!    the peer's end for a short bounded time by a task of its own, then closed.

use std::io::{self, IoSlice};
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::activity::Activity;
use super::connection::Alive;

/// How long a peer gets to end its side. A peer that obeys `Connection: close` takes a round trip.
const LINGER: Duration = Duration::from_millis(250);
/// Bytes of it that are read and thrown away meanwhile.
const LINGER_BYTES_MAX: usize = 256 * 1024;

/// What the bytes go through.
#[derive(Debug)]
pub enum Transport {
    /// Nothing.
    Plain(TcpStream),
    /// TLS; boxed, since it is a kilobyte that plain connections do without.
    Tls(Box<TlsStream<TcpStream>>),
}

/// A connection's socket.
#[derive(Debug)]
pub struct Socket {
    /// `None` only while it is being dropped.
    transport: Option<Transport>,
    activity: Arc<Activity>,
    /// Keeps the server until the peer has what was sent.
    alive: Option<Alive>,
    is_shut: bool,
    /// The peer has ended its side, or the connection broke.
    is_over: bool,
    /// Read before, and given back unread.
    ahead: Bytes,
}

impl Socket {
    /// Wraps a socket whose writes are counted in `activity`.
    #[must_use]
    pub fn new(transport: Transport, activity: Arc<Activity>, alive: Alive) -> Socket {
        Socket {
            transport: Some(transport),
            activity,
            alive: Some(alive),
            is_shut: false,
            is_over: false,
            ahead: Bytes::new(),
        }
    }

    /// Whether TLS agreed on HTTP/2 or on HTTP/1.1; `None` where it was not asked.
    #[must_use]
    pub fn agreed_on_http2(&self) -> Option<bool> {
        match &self.transport {
            Some(Transport::Tls(stream)) => Some(stream.get_ref().1.alpn_protocol() == Some(b"h2")),
            _ => None,
        }
    }

    /// A second handle of a plain socket, which does not block either; none where bytes go through TLS.
    #[must_use]
    pub fn second_handle(&self) -> Option<std::net::TcpStream> {
        match &self.transport {
            Some(Transport::Plain(stream)) => stream.as_fd().try_clone_to_owned().ok().map(Into::into),
            _ => None,
        }
    }

    /// Waits for bytes or the end.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn readable(&self) -> io::Result<()> {
        match &self.transport {
            _ if self.ahead.has_remaining() => Ok(()),
            Some(Transport::Plain(stream)) => stream.readable().await,
            // What came together with the end of the handshake is decrypted already, and the socket is silent.
            Some(Transport::Tls(stream)) if !stream.get_ref().1.wants_read() => Ok(()),
            Some(Transport::Tls(stream)) => stream.get_ref().0.readable().await,
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// The first bytes of a plain connection, left where they are; none at its end.
    ///
    /// # Errors
    /// The connection broke, or is none of which a byte can be seen.
    pub async fn peek(&self, into: &mut [u8]) -> io::Result<usize> {
        match &self.transport {
            Some(Transport::Plain(stream)) => stream.peek(into).await,
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Gives back bytes that were read and not used: the next read begins with them.
    pub fn put_back(&mut self, bytes: Bytes) {
        debug_assert!(!self.ahead.has_remaining(), "what was put back is read first");
        self.ahead = bytes;
    }

    /// Ends our side of a connection on which nothing runs.
    pub async fn end(mut self) {
        self.activity.close();
        // A peer that is gone already needs no goodbye.
        let _ = self.shutdown().await;
    }

    fn note_write(&mut self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &written {
            Poll::Pending => self.activity.note_write_blocked(),
            Poll::Ready(Ok(count)) => self.activity.note_written(*count),
            Poll::Ready(Err(_)) => self.is_over = true,
        }
        written
    }
}

fn gone() -> Poll<io::Result<usize>> {
    Poll::Ready(Err(io::ErrorKind::NotConnected.into()))
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.ahead.has_remaining() {
            let count = self.ahead.remaining().min(into.remaining());
            into.put_slice(&self.ahead.split_to(count));
            self.activity.note_heard();
            return Poll::Ready(Ok(()));
        }
        let before = into.filled().len();
        let read = match &mut self.transport {
            Some(Transport::Plain(stream)) => Pin::new(stream).poll_read(context, into),
            Some(Transport::Tls(stream)) => Pin::new(stream.as_mut()).poll_read(context, into),
            None => return gone().map_ok(|_| ()),
        };
        let read = ready!(read);
        if read.is_err() || into.filled().len() == before {
            self.is_over = true;
        } else {
            self.activity.note_heard();
        }
        Poll::Ready(read)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = match &mut self.transport {
            Some(Transport::Plain(stream)) => Pin::new(stream).poll_write(context, bytes),
            Some(Transport::Tls(stream)) => Pin::new(stream.as_mut()).poll_write(context, bytes),
            None => return gone(),
        };
        self.note_write(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = match &mut self.transport {
            Some(Transport::Plain(stream)) => Pin::new(stream).poll_write_vectored(context, parts),
            Some(Transport::Tls(stream)) => Pin::new(stream.as_mut()).poll_write_vectored(context, parts),
            None => return gone(),
        };
        self.note_write(written)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.transport {
            Some(Transport::Plain(stream)) => stream.is_write_vectored(),
            Some(Transport::Tls(stream)) => stream.is_write_vectored(),
            None => false,
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Whoever writes has nothing left.
        self.activity.note_flushed();
        match &mut self.transport {
            Some(Transport::Plain(stream)) => Pin::new(stream).poll_flush(context),
            Some(Transport::Tls(stream)) => Pin::new(stream.as_mut()).poll_flush(context),
            None => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = match &mut self.transport {
            Some(Transport::Plain(stream)) => Pin::new(stream).poll_shutdown(context),
            Some(Transport::Tls(stream)) => Pin::new(stream.as_mut()).poll_shutdown(context),
            None => return Poll::Ready(Ok(())),
        };
        self.is_shut |= matches!(shut, Poll::Ready(Ok(())));
        shut
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let stream = match self.transport.take() {
            Some(Transport::Plain(stream)) => stream,
            Some(Transport::Tls(stream)) => stream.into_inner().0,
            None => return,
        };
        if !self.is_shut || self.is_over {
            return;
        }
        // A connection that was idle when we closed it has nothing on its way, and its peer may look
        // at it again in an hour: the server's end does not wait for that.
        let alive = if self.activity.was_closed_idle() { None } else { self.alive.take() };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(linger(stream, alive));
        }
    }
}

/// Step 2.
async fn linger(mut stream: TcpStream, _alive: Option<Alive>) {
    let read_on = async {
        let mut unread = [0; 2048];
        let mut taken = 0;
        while let Ok(count @ 1..) = stream.read(&mut unread).await {
            taken += count;
            if taken > LINGER_BYTES_MAX {
                break;
            }
        }
    };
    // A peer that has not ended its side by now is closed on all the same.
    let _ = tokio::time::timeout(LINGER, read_on).await;
}
