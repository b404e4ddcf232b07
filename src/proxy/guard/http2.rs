use std::time::Duration;

use tokio::io::ReadBuf;
use tokio::time::Instant;

use super::flood::{self, Tally};
use super::frames::{Frames, HEAD};
use crate::gateway::clock;

/// What a client does on an HTTP/2 connection, frame by frame.
#[derive(Debug)]
pub(super) struct Http2 {
    frames: Frames,
    tally: Tally,
    sent: u64,
    timeout: Duration,
    /// The header block that is awaited, and since when.
    awaited: Option<(u64, Instant)>,
    /// The flood that was seen, until its last frame is complete.
    flood: Option<&'static str>,
    provoked: usize,
}

/// How many frames provoke: more than `h2` lets a header block have, whatever the size of header lists.
const PROVOCATION: usize = 64;

/// The largest stream id of a client.
const LAST_STREAM: u32 = 0x7fff_ffff;

impl Http2 {
    pub(super) fn new(timeout: Duration) -> Self {
        Self {
            frames: Frames::new(),
            tally: Tally::begin(clock::steady().as_secs()),
            sent: 0,
            timeout,
            awaited: None,
            flood: None,
            provoked: 0,
        }
    }

    /// Bytes have come. At a flood, its name and how many of the bytes to keep, up to the end of a frame.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Option<(&'static str, usize)> {
        let mut read = 0;
        if self.flood.is_none() {
            let (tally, sent, flood) = (&mut self.tally, self.sent, &mut self.flood);
            read = self.frames.read(bytes, |head| {
                let slot = tally.count(head, sent, || clock::steady().as_secs());
                *flood = slot.and_then(|slot| flood::labels().get(slot).copied());
                flood.is_none()
            });
        }
        let label = self.flood?;
        // The frame has begun, and h2 has perhaps seen a part of it; the rest must follow before anything else can.
        let rest = bytes.get(read..).unwrap_or_default();
        let rest = rest.get(..self.frames.left().min(rest.len())).unwrap_or_default();
        read += self.frames.read(rest, |_| true);
        self.frames.is_between().then_some((label, read))
    }

    /// Bytes have been sent.
    pub(super) fn sent(&mut self, bytes: usize) {
        self.sent += bytes as u64;
    }

    /// Nothing comes: until when something must, if anything is awaited.
    pub(super) fn due(&mut self) -> Option<Instant> {
        let Some(block) = self.frames.awaits() else {
            self.awaited = None;
            return None;
        };
        let since = match self.awaited {
            Some((awaited, since)) if awaited == block => since,
            _ => Instant::now(),
        };
        self.awaited = Some((block, since));
        Some(since + self.timeout)
    }

    /// Whether no frame has begun.
    pub(super) fn is_between(&self) -> bool {
        self.frames.is_between()
    }

    /// Instead of what the client sends next: a header block of more CONTINUATION frames than `h2` takes, so that it ends the connection
    /// itself, with GOAWAY(ENHANCE_YOUR_CALM). To write a GOAWAY beside it would need to know where its own frames end.
    pub(super) fn provoke(&mut self, buf: &mut ReadBuf<'_>) {
        let stream = self.frames.open_block();
        while self.provoked < PROVOCATION * HEAD && buf.remaining() > 0 {
            let kind = if self.provoked < HEAD && stream.is_none() { 0x1 } else { 0x9 };
            let [a, b, c, d] = stream.unwrap_or(LAST_STREAM).to_be_bytes();
            let frame = [0, 0, 0, kind, 0, a, b, c, d];
            let piece = frame.get(self.provoked % HEAD..).unwrap_or_default();
            let piece = piece.get(..piece.len().min(buf.remaining())).unwrap_or_default();
            buf.put_slice(piece);
            self.provoked += piece.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::frames::PREFACE;
    use super::*;

    fn flood(kind: u8, length: u8, count: usize) -> Vec<u8> {
        let mut bytes = PREFACE.to_vec();
        for _ in 0..count {
            bytes.extend([0, 0, length, kind, 0, 0, 0, 0, 1]);
            bytes.extend(std::iter::repeat_n(0, usize::from(length)));
        }
        bytes
    }

    #[test]
    fn a_flood_is_cut_at_the_end_of_a_frame_however_it_arrives() {
        let bytes = flood(2, 5, 400);
        for size in [1, 2, 7, 13, 14, 100, 8_000] {
            let mut http2 = Http2::new(Duration::from_secs(10));
            let mut kept = 0;
            for piece in bytes.chunks(size) {
                if let Some((label, keep)) = http2.read(piece) {
                    assert_eq!(label, "h2_priority");
                    kept += keep;
                    break;
                }
                kept += piece.len();
            }
            assert_eq!(kept, PREFACE.len() + 201 * 14, "pieces of {size}");
        }
    }

    #[test]
    fn the_provocation_comes_in_pieces_and_ends() {
        let mut http2 = Http2::new(Duration::from_secs(10));
        http2.read(&flood(6, 8, 1));
        let mut all = Vec::new();
        loop {
            let mut space = [0; 13];
            let mut buf = ReadBuf::new(&mut space);
            http2.provoke(&mut buf);
            if buf.filled().is_empty() {
                break;
            }
            all.extend_from_slice(buf.filled());
        }
        assert_eq!(all.len(), PROVOCATION * HEAD);
        assert_eq!(all[..HEAD], [0, 0, 0, 1, 0, 0x7f, 0xff, 0xff, 0xff]);
        assert!(all[HEAD..].chunks(HEAD).all(|frame| frame == [0, 0, 0, 9, 0, 0x7f, 0xff, 0xff, 0xff]));
    }
}
