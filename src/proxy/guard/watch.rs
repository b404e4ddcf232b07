use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::Line;
use super::http1::{Head, Overdue};
use super::http2::Http2;

/// How long a connection that was cut may take to get its last words out, and to stop sending: a socket that is closed with bytes
/// unread makes the client's side throw away what it was told.
const FAREWELL: Duration = Duration::from_secs(1);

/// How much of it is read for that.
const LINGER: usize = 256 << 10;

/// The `reason` of connections that are cut, without the kinds of floods.
pub(super) const REASONS: [&str; 4] = ["header_timeout", "header_size", "body_rate", "idle"];

/// Watches the bytes of one connection. Everything that pingora reads and writes goes through here.
#[derive(Debug)]
pub(in crate::proxy) struct Watch {
    line: Arc<Line>,
    protocol: Protocol,
    /// Made when something is awaited for the first time, which on a fast connection is never.
    timer: Option<Pin<Box<Sleep>>>,
    end: Option<End>,
    is_quiet: bool,
}

#[derive(Debug)]
enum Protocol {
    Http1(Head),
    Http2(Box<Http2>),
}

/// How a connection ends that is cut.
#[derive(Debug)]
enum End {
    /// The answer to an HTTP/1 head that nobody will see.
    Say { rest: &'static [u8], until: Instant },
    /// Reads what the client still sends.
    Linger { left: usize, until: Instant },
    /// HTTP/2 is told something that makes it say goodbye.
    GoAway { until: Instant },
    /// A body is given up; the exchange answers.
    Slow,
    /// Nothing more is read.
    Over,
}

impl Watch {
    /// For a connection that is about to speak HTTP.
    pub(in crate::proxy) fn new(line: Arc<Line>, is_http2: bool) -> Self {
        let snapshot = line.guard().gateway.snapshot();
        let limits = &snapshot.config.limits;
        let protocol = if is_http2 {
            Protocol::Http2(Box::new(Http2::new(limits.header_timeout)))
        } else {
            Protocol::Http1(Head::new(limits))
        };
        Self { line, protocol, timer: None, end: None, is_quiet: false }
    }

    /// Another request may begin on the connection.
    pub(in crate::proxy) fn next(&self) {
        self.line.next();
    }

    /// Reads from `stream`, or fails, or ends early.
    pub(in crate::proxy) fn poll_read<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.end.is_some() {
            return self.poll_end(stream, cx, buf);
        }
        if let Protocol::Http1(head) = &mut self.protocol
            && head.is_too_large(&self.line)
        {
            self.cut("header_size", answer(TOO_LARGE));
            return self.poll_end(stream, cx, buf);
        }
        let before = buf.filled().len();
        match Pin::new(&mut *stream).poll_read(cx, buf) {
            Poll::Ready(result) => {
                let after = buf.filled().len();
                self.is_quiet = false;
                result?;
                match &mut self.protocol {
                    Protocol::Http1(head) => head.read(after - before, &self.line),
                    Protocol::Http2(http2) => {
                        let flood = http2.read(buf.filled().get(before..).unwrap_or_default());
                        if let Some((label, keep)) = flood {
                            buf.set_filled(before + keep);
                            self.cut(label, End::GoAway { until: Instant::now() + FAREWELL });
                            return self.poll_end(stream, cx, buf);
                        }
                    }
                }
                Poll::Ready(Ok(()))
            }
            Poll::Pending => {
                self.is_quiet = true;
                if !self.is_overdue(cx) {
                    return Poll::Pending;
                }
                self.poll_end(stream, cx, buf)
            }
        }
    }

    /// Notes what a write, a flush or a shutdown came to. What the client does not take in time once the connection is cut, it does not get.
    pub(in crate::proxy) fn poll_sent<T>(&mut self, result: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if result.is_pending()
            && let Some(End::GoAway { until }) = self.end
        {
            ready!(self.poll_until(until, cx));
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        result
    }

    /// The same for a write.
    pub(in crate::proxy) fn poll_written(
        &mut self,
        result: Poll<io::Result<usize>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if let (Protocol::Http2(http2), Poll::Ready(Ok(bytes))) = (&mut self.protocol, &result) {
            http2.sent(*bytes);
        }
        self.poll_sent(result, cx)
    }

    /// Whether what the client owes did not come in time; the end is then decided.
    fn is_overdue(&mut self, cx: &mut Context<'_>) -> bool {
        let due = match &mut self.protocol {
            Protocol::Http1(head) => head.due(&self.line),
            Protocol::Http2(http2) => http2.due().map(|due| (due, Overdue::Silence)),
        };
        let Some((due, what)) = due else { return false };
        if self.poll_until(due, cx).is_pending() {
            return false;
        }
        match what {
            Overdue::Silence => self.cut("header_timeout", End::Over),
            Overdue::Head => self.cut("header_timeout", answer(TOO_SLOW)),
            Overdue::Body => {
                self.line.give_up();
                self.cut("body_rate", End::Slow);
            }
        }
        true
    }

    fn cut(&mut self, reason: &str, end: End) {
        self.line.guard().protection().cut(reason);
        self.end = Some(end);
    }

    fn poll_until(&mut self, until: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        if timer.deadline() != until {
            timer.as_mut().reset(until);
        }
        timer.as_mut().poll(cx)
    }

    fn poll_end<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            match &mut self.end {
                Some(End::Say { rest, until }) => {
                    let until = *until;
                    if rest.is_empty() {
                        if self.poll_or_until(Pin::new(&mut *stream).poll_shutdown(cx), until, cx).is_pending() {
                            return Poll::Pending;
                        }
                        self.end = Some(End::Linger { left: LINGER, until });
                        continue;
                    }
                    let written = Pin::new(&mut *stream).poll_write(cx, rest);
                    match written {
                        Poll::Ready(Ok(count)) if count > 0 => *rest = rest.get(count..).unwrap_or_default(),
                        Poll::Ready(_) => self.end = Some(End::Over),
                        Poll::Pending => {
                            ready!(self.poll_until(until, cx));
                            self.end = Some(End::Over);
                        }
                    }
                }
                Some(End::Linger { left, until }) => {
                    let until = *until;
                    let mut scratch = [MaybeUninit::uninit(); 2_048];
                    let mut scratch = ReadBuf::uninit(&mut scratch);
                    match Pin::new(&mut *stream).poll_read(cx, &mut scratch) {
                        Poll::Ready(Ok(())) if !scratch.filled().is_empty() && scratch.filled().len() <= *left => {
                            *left -= scratch.filled().len();
                        }
                        Poll::Ready(_) => self.end = Some(End::Over),
                        Poll::Pending => {
                            ready!(self.poll_until(until, cx));
                            self.end = Some(End::Over);
                        }
                    }
                }
                Some(End::GoAway { .. }) => {
                    if let Protocol::Http2(http2) = &mut self.protocol {
                        http2.provoke(buf);
                    }
                    return Poll::Ready(Ok(()));
                }
                Some(End::Slow) => return Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
                Some(End::Over) | None => return Poll::Ready(Ok(())),
            }
        }
    }

    /// Done as soon as `result` is, and at the latest at `until`.
    fn poll_or_until<T>(&mut self, result: Poll<T>, until: Instant, cx: &mut Context<'_>) -> Poll<()> {
        if result.is_ready() { Poll::Ready(()) } else { self.poll_until(until, cx) }
    }
}

impl Drop for Watch {
    /// Pingora closes idle connections without a word to anybody; what it dropped while nothing was awaited was one.
    fn drop(&mut self) {
        let is_idle = match &self.protocol {
            Protocol::Http1(head) => head.is_idle(&self.line),
            Protocol::Http2(http2) => http2.is_between(),
        };
        let guard = self.line.guard();
        if self.is_quiet && self.end.is_none() && is_idle && !guard.gateway.is_draining() {
            guard.protection().cut("idle");
        }
    }
}

fn answer(bytes: &'static [u8]) -> End {
    End::Say { rest: bytes, until: Instant::now() + FAREWELL }
}

/// Written here because pingora has no request yet that it could answer.
const TOO_SLOW: &[u8] = b"HTTP/1.1 408 Request Timeout\r\nContent-Type: application/problem+json\r\nContent-Length: 71\r\n\
Cache-Control: no-store\r\nConnection: close\r\n\r\n\
{\"title\":\"Request Timeout\",\"status\":408,\"reason\":\"request_timeout\"}   \n";

const TOO_LARGE: &[u8] =
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Type: application/problem+json\r\nContent-Length: 85\r\n\
Cache-Control: no-store\r\nConnection: close\r\n\r\n\
{\"title\":\"Request Header Fields Too Large\",\"status\":431,\"reason\":\"headers_too_large\"}";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answers_are_as_long_as_they_say() {
        for answer in [TOO_SLOW, TOO_LARGE] {
            let text = std::str::from_utf8(answer).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{} {text}", body.len());
            let document: serde_json::Value = serde_json::from_str(body).unwrap();
            assert!(head.starts_with(&format!("HTTP/1.1 {} {}\r\n", document["status"], document["title"].as_str().unwrap())));
        }
    }
}
