//! HTTP/1.1 as the load generator speaks it: one connection, requests out of a reused buffer,
//! answers found in place.
//!
//! Promise: no allocation per request once the buffers have grown, and no more of an answer is
//! looked at than was asked for: its status and length always, a header or the body on demand.
//! Answers without `content-length` are an error: the server that we measure always sends it.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Largest answer: a full reply to 10,000 accounts is about 4 MiB.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// One answer, borrowed from the connection's buffer.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// HTTP status.
    pub status: u16,
    /// Header lines, without the empty one.
    pub head: &'a [u8],
    /// Body bytes.
    pub body: &'a [u8],
}

impl<'a> Answer<'a> {
    /// Value of a header; `name` in lower case with its colon, as `b"server-timing:"`.
    #[must_use]
    pub fn header(&self, name: &[u8]) -> Option<&'a [u8]> {
        header(self.head, name)
    }
}

/// A request on its way.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    /// When it was written, or when it should have been (open loop).
    pub at: Instant,
    /// Transfers, or whatever is counted, that it asks for.
    pub units: u64,
}

/// A non-blocking connection with its requests in flight.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    out: Vec<u8>,
    written: usize,
    input: Vec<u8>,
    filled: usize,
    consumed: usize,
    /// Requests not yet answered, oldest first.
    pub in_flight: VecDeque<Sent>,
}

impl Connection {
    /// Connects and turns to non-blocking.
    ///
    /// # Errors
    /// Nobody listens, or out of ports.
    pub fn open(addr: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&addr, Duration::from_secs(5))?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Connection {
            stream,
            out: Vec::with_capacity(4096),
            written: 0,
            input: vec![0; 16 * 1024],
            filled: 0,
            consumed: 0,
            in_flight: VecDeque::with_capacity(16),
        })
    }

    /// For the poller.
    #[must_use]
    pub fn socket(&self) -> &TcpStream {
        &self.stream
    }

    /// Where the next request is appended; [`Connection::flush`] sends it.
    pub fn out(&mut self) -> &mut Vec<u8> {
        if self.written == self.out.len() {
            self.out.clear();
            self.written = 0;
        }
        &mut self.out
    }

    /// Writes as much as the kernel takes.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn flush(&mut self) -> io::Result<()> {
        while self.written < self.out.len() {
            match self.stream.write(&self.out[self.written..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => self.written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads what has arrived. A short read means that the socket is drained, which saves the read
    /// that would say so.
    ///
    /// # Errors
    /// The connection is broken or closed, or an answer is larger than 64 MiB.
    pub fn fill(&mut self) -> io::Result<()> {
        if self.consumed > 0 {
            self.input.copy_within(self.consumed..self.filled, 0);
            self.filled -= self.consumed;
            self.consumed = 0;
        }
        loop {
            if self.filled == self.input.len() {
                if self.filled >= ANSWER_BYTES_MAX {
                    return Err(io::Error::new(ErrorKind::InvalidData, "an answer is larger than 64 MiB"));
                }
                self.input.resize(self.filled * 2, 0);
            }
            let room = self.input.len() - self.filled;
            match self.stream.read(&mut self.input[self.filled..]) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => {
                    self.filled += count;
                    if count < room {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The next whole answer among what was read, or `None`.
    ///
    /// # Errors
    /// Not HTTP/1.1, or an answer without a length.
    pub fn next_answer(&mut self) -> io::Result<Option<Answer<'_>>> {
        let input = &self.input[self.consumed..self.filled];
        let Some((answer, length)) = split_answer(input)? else { return Ok(None) };
        self.consumed += length;
        Ok(Some(answer))
    }
}

/// The first answer in `input` and its length in bytes, or `None` when it is not whole.
///
/// # Errors
/// Not HTTP/1.1, or an answer without a length.
pub fn split_answer(input: &[u8]) -> io::Result<Option<(Answer<'_>, usize)>> {
    let malformed = |what| io::Error::new(ErrorKind::InvalidData, what);
    let Some(head_end) = find(input, b"\r\n\r\n") else { return Ok(None) };
    let head = &input[..head_end];
    let status = head
        .get(9..12)
        .filter(|_| head.starts_with(b"HTTP/1.1 "))
        .and_then(parse_number)
        .ok_or_else(|| malformed("an answer does not begin as HTTP/1.1"))?;
    let length = match header(head, b"content-length:") {
        Some(text) => parse_number(text).ok_or_else(|| malformed("an answer has a malformed length"))?,
        None if status == 204 || status == 304 => 0,
        None => return Err(malformed("an answer has no content-length")),
    };
    let body_end = head_end + 4 + usize::try_from(length).unwrap_or(usize::MAX / 2);
    if input.len() < body_end {
        return Ok(None);
    }
    let status = u16::try_from(status).expect("three digits");
    Ok(Some((Answer { status, head, body: &input[head_end + 4..body_end] }, body_end)))
}

/// Place of `needle` in `text`. Its first byte is looked for first: that loop vectorises.
#[must_use]
pub fn find(text: &[u8], needle: &[u8]) -> Option<usize> {
    let first = *needle.first()?;
    let mut from = 0;
    while let Some(step) = text.get(from..)?.iter().position(|byte| *byte == first) {
        from += step;
        if text[from..].starts_with(needle) {
            return Some(from);
        }
        from += 1;
    }
    None
}

fn header<'a>(head: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    head.split(|byte| *byte == b'\n').find_map(|line| {
        let (start, value) = line.split_at_checked(name.len())?;
        start.eq_ignore_ascii_case(name).then(|| value.trim_ascii())
    })
}

/// A decimal number that fills the whole text and is below 10^18.
#[must_use]
pub fn parse_number(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 18 {
        return None;
    }
    text.iter().try_fold(0u64, |number, byte| byte.is_ascii_digit().then(|| number * 10 + u64::from(byte - b'0')))
}

/// The number after `field` (as `b"\"posted\":"`) in a JSON text, or `None`.
#[must_use]
pub fn json_number(body: &[u8], field: &[u8]) -> Option<u64> {
    let rest = &body[find(body, field)? + field.len()..];
    let rest = rest.trim_ascii_start();
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    parse_number(&rest[..digits])
}

/// The string after `field` (as `b"\"code\":\""`) in a JSON text, without its quotes, or `None`.
/// Escapes are not undone: codes and ids have none.
#[must_use]
pub fn json_text<'a>(body: &'a [u8], field: &[u8]) -> Option<&'a str> {
    let rest = &body[find(body, field)? + field.len()..];
    let end = rest.iter().position(|byte| *byte == b'"')?;
    std::str::from_utf8(&rest[..end]).ok()
}

/// One request with an answer, on a connection of its own, waiting for it: for set-up, not for load.
///
/// # Errors
/// No connection, or a malformed answer, or none within `patience`.
pub fn ask(addr: SocketAddr, request: &[u8], patience: Duration) -> io::Result<(u16, Vec<u8>)> {
    let mut connection = Connection::open(addr)?;
    let stream = connection.socket();
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    connection.out().extend_from_slice(request);
    connection.flush()?;
    loop {
        let before = connection.filled;
        connection.fill()?;
        if let Some(answer) = connection.next_answer()? {
            return Ok((answer.status, answer.body.to_vec()));
        }
        if connection.filled == before {
            return Err(ErrorKind::TimedOut.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_split_wherever_the_bytes_were_cut() {
        let bytes = b"HTTP/1.1 201 Created\r\nContent-Length: 5\r\nx: y\r\n\r\nhelloHTTP/1.1 304 Not Modified\r\n\r\n";
        let first = b"HTTP/1.1 201 Created\r\nContent-Length: 5\r\nx: y\r\n\r\nhello".len();
        for end in 0..first {
            assert!(split_answer(&bytes[..end]).unwrap().is_none(), "{end}");
        }
        let (answer, length) = split_answer(bytes).unwrap().unwrap();
        assert_eq!((answer.status, answer.body, length), (201, &b"hello"[..], first));
        assert_eq!(answer.header(b"x:"), Some(&b"y"[..]));
        assert_eq!(answer.header(b"y:"), None);
        assert_eq!(split_answer(&bytes[first..]).unwrap().unwrap().0.status, 304);
    }

    #[test]
    fn an_answer_that_is_not_understood_is_an_error() {
        for bad in [
            &b"HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n"[..],
            b"HTTP/1.1 200 OK\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
            b"hello\r\n\r\n",
        ] {
            assert!(split_answer(bad).is_err(), "{}", String::from_utf8_lossy(bad));
        }
    }

    #[test]
    fn fields_are_found_in_json_without_parsing_it() {
        let body = br#"{"object":"batch","posted": 7998,"rejected":2,"code":"x_y"}"#;
        assert_eq!(json_number(body, b"\"posted\":"), Some(7998));
        assert_eq!(json_number(body, b"\"rejected\":"), Some(2));
        assert_eq!(json_number(body, b"\"code\":"), None);
        assert_eq!(json_text(body, b"\"code\":\""), Some("x_y"));
        assert_eq!(json_text(body, b"\"none\":\""), None);
    }
}
