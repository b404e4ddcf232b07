//! The frames of HTTP/2 (RFC 9113 §4.1), as far as their nine bytes tell: types, flags and where one ends. Payloads are skipped.

/// The connection preface that comes before the first frame.
pub(super) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The length of a frame's head.
pub(super) const HEAD: usize = 9;

const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;

/// What a client may send. RFC 9113 §6, RFC 9218.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// DATA with bytes, or the end of a stream.
    Data,
    /// DATA without either.
    EmptyData,
    Headers,
    Priority,
    Reset,
    Settings,
    Ping,
    WindowUpdate,
    Continuation,
    /// GOAWAY, PUSH_PROMISE, PRIORITY_UPDATE, and types that nobody has defined.
    Other,
}

/// One frame's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) kind: Kind,
    pub(super) length: u32,
    pub(super) stream: u32,
    pub(super) ends_headers: bool,
}

/// Where a reader of frames is. Fed with whatever arrives, in pieces of any length; keeps nine bytes and allocates nothing.
#[derive(Debug)]
pub(super) struct Frames {
    preface: usize,
    head: [u8; HEAD],
    have: usize,
    skip: usize,
    /// The stream of a header block that is not complete (§6.10: nothing else may come in between).
    block: Option<u32>,
    /// Whether the frame being skipped is the last of its header block.
    closes_block: bool,
    /// Header blocks that were complete.
    blocks: u64,
}

impl Frames {
    /// At the start of a connection.
    pub(super) fn new() -> Self {
        Self { preface: PREFACE.len(), head: [0; HEAD], have: 0, skip: 0, block: None, closes_block: false, blocks: 0 }
    }

    /// Reads on; `each` is called with every complete head and says whether to go on. Returns how many bytes were read: all of them, or
    /// up to the end of the frame's head at which `each` wanted to stop.
    pub(super) fn read(&mut self, bytes: &[u8], mut each: impl FnMut(Head) -> bool) -> usize {
        let mut rest = bytes;
        while !rest.is_empty() {
            if self.preface > 0 {
                rest = drop_up_to(rest, &mut self.preface);
            } else if self.skip > 0 {
                rest = drop_up_to(rest, &mut self.skip);
                self.end_payload();
            } else {
                let Some((first, others)) = rest.split_first() else { break };
                rest = others;
                if let Some(place) = self.head.get_mut(self.have) {
                    *place = *first;
                }
                self.have += 1;
                if self.have == HEAD {
                    self.have = 0;
                    let head = self.begin_payload();
                    if !each(head) {
                        break;
                    }
                }
            }
        }
        bytes.len() - rest.len()
    }

    /// Whether a frame has just ended, so that another one may be put here.
    pub(super) fn is_between(&self) -> bool {
        self.preface == 0 && self.have == 0 && self.skip == 0
    }

    /// How many bytes are left of the frame whose head is complete.
    pub(super) fn left(&self) -> usize {
        self.skip
    }

    /// The stream of the header block that is being received.
    pub(super) fn open_block(&self) -> Option<u32> {
        self.block
    }

    /// Whether something must arrive in time: the preface, or the rest of a header block. The number tells one block from the next.
    pub(super) fn awaits(&self) -> Option<u64> {
        (self.preface > 0 || self.block.is_some()).then_some(self.blocks)
    }

    fn begin_payload(&mut self) -> Head {
        let [a, b, c, kind, flags, stream @ ..] = self.head;
        let length = u32::from_be_bytes([0, a, b, c]);
        let stream = u32::from_be_bytes(stream) & 0x7fff_ffff;
        let ends_headers = flags & END_HEADERS != 0;
        let kind = match kind {
            0x0 if length == 0 && flags & END_STREAM == 0 => Kind::EmptyData,
            0x0 => Kind::Data,
            0x1 => Kind::Headers,
            0x2 => Kind::Priority,
            0x3 => Kind::Reset,
            0x4 => Kind::Settings,
            0x6 => Kind::Ping,
            0x8 => Kind::WindowUpdate,
            0x9 => Kind::Continuation,
            _ => Kind::Other,
        };
        self.skip = length as usize;
        if matches!(kind, Kind::Headers | Kind::Continuation) {
            self.block = Some(stream);
            self.closes_block = ends_headers;
        }
        self.end_payload();
        Head { kind, length, stream, ends_headers }
    }

    fn end_payload(&mut self) {
        if self.skip == 0 && self.closes_block {
            self.closes_block = false;
            self.block = None;
            self.blocks += 1;
        }
    }
}

fn drop_up_to<'a>(bytes: &'a [u8], left: &mut usize) -> &'a [u8] {
    let count = bytes.len().min(*left);
    *left -= count;
    bytes.get(count..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(kind: u8, flags: u8, stream: u32, payload: usize) -> Vec<u8> {
        let mut bytes = (payload as u32).to_be_bytes()[1..].to_vec();
        bytes.extend([kind, flags]);
        bytes.extend(stream.to_be_bytes());
        bytes.extend(std::iter::repeat_n(0xff, payload));
        bytes
    }

    fn connection() -> Vec<u8> {
        let mut bytes = PREFACE.to_vec();
        bytes.extend(frame(4, 0, 0, 18));
        bytes.extend(frame(1, 0, 1, 300));
        bytes.extend(frame(9, 0, 1, 0));
        bytes.extend(frame(9, 4, 1, 20_000));
        bytes.extend(frame(0, 0, 1, 0));
        bytes.extend(frame(0, 1, 1, 0));
        bytes.extend(frame(0x10, 0, 0, 6));
        bytes.extend(frame(6, 1, 0, 8));
        bytes
    }

    #[test]
    fn rfc9113_frames_are_told_apart() {
        let mut frames = Frames::new();
        let mut kinds = Vec::new();
        let bytes = connection();
        assert_eq!(
            frames.read(&bytes, |head| {
                kinds.push(head.kind);
                true
            }),
            bytes.len()
        );
        use Kind::*;
        assert_eq!(kinds, [Settings, Headers, Continuation, Continuation, EmptyData, Data, Other, Ping]);
        assert!(frames.is_between());
        assert_eq!((frames.open_block(), frames.awaits()), (None, None));
    }

    #[test]
    fn a_header_block_is_awaited_to_its_last_byte() {
        let mut frames = Frames::new();
        assert_eq!(frames.awaits(), Some(0), "the preface is");
        frames.read(PREFACE, |_| true);
        assert_eq!(frames.awaits(), None);
        frames.read(&frame(1, 0, 3, 10), |_| true);
        assert_eq!((frames.awaits(), frames.open_block()), (Some(0), Some(3)));
        let last = frame(9, 4, 3, 10);
        frames.read(&last[..last.len() - 1], |_| true);
        assert_eq!(frames.awaits(), Some(0));
        frames.read(&last[last.len() - 1..], |_| true);
        assert_eq!(frames.awaits(), None);
        frames.read(&frame(1, 0, 5, 0), |_| true);
        assert_eq!(frames.awaits(), Some(1), "another block");
        frames.read(&frame(9, 4, 5, 0), |_| true);
        assert_eq!(frames.awaits(), None);
    }

    #[test]
    fn reading_stops_behind_the_head_that_is_not_wanted() {
        let mut bytes = PREFACE.to_vec();
        bytes.extend(frame(6, 0, 0, 8));
        bytes.extend(frame(6, 0, 0, 8));
        let mut frames = Frames::new();
        assert_eq!(frames.read(&bytes, |_| false), PREFACE.len() + HEAD);
        assert_eq!((frames.left(), frames.is_between()), (8, false));
    }

    proptest! {
        #[test]
        fn pieces_of_any_length_give_the_same_heads(cuts in proptest::collection::vec(1_usize..40, 0..2_000)) {
            let bytes = connection();
            let (mut whole, mut pieces) = (Vec::new(), Vec::new());
            Frames::new().read(&bytes, |head| { whole.push(head); true });
            let mut frames = Frames::new();
            let mut rest = &bytes[..];
            for cut in cuts.into_iter().chain(std::iter::repeat(7)) {
                let (piece, others) = rest.split_at(cut.min(rest.len()));
                frames.read(piece, |head| { pieces.push(head); true });
                rest = others;
                if rest.is_empty() { break }
            }
            prop_assert_eq!(whole, pieces);
            prop_assert!(frames.is_between());
        }

        #[test]
        fn no_bytes_upset_it(bytes in proptest::collection::vec(any::<u8>(), 0..500)) {
            let mut frames = Frames::new();
            prop_assert_eq!(frames.read(&bytes, |_| true), bytes.len());
        }
    }
}
