//! RFC 6455 §5: just enough of the framing to know where a frame ends, and to write a close frame.

use bytes::Bytes;

/// Follows one direction of a tunnel. A close frame of ours may only stand between two frames, never within one.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Frames {
    /// The head of the frame that is being read; it has at most 14 bytes.
    head: [u8; 14],
    /// How much of it is there.
    read: usize,
    /// How much of its payload is still to come.
    payload: u64,
    /// A close frame was seen: nothing may follow it.
    closed: bool,
}

impl Frames {
    /// Bytes that went through.
    pub(super) fn pass(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.payload > 0 {
                let passed = usize::try_from(self.payload).map_or(bytes.len(), |payload| payload.min(bytes.len()));
                self.payload -= passed as u64;
                bytes = bytes.get(passed..).unwrap_or_default();
                continue;
            }
            if let (Some(slot), Some((first, rest))) = (self.head.get_mut(self.read), bytes.split_first()) {
                *slot = *first;
                self.read += 1;
                bytes = rest;
            }
            if let Some(payload) = self.head_is_read() {
                self.closed |= self.head.first().is_some_and(|byte| byte & 0x0f == CLOSE);
                self.read = 0;
                self.payload = payload;
            }
        }
    }

    /// Whether a close frame may be written now.
    pub(super) fn may_close(&self) -> bool {
        self.read == 0 && self.payload == 0 && !self.closed
    }

    /// The length of the payload, once the whole head is there.
    fn head_is_read(&self) -> Option<u64> {
        let [_, second, lengths @ ..] = &self.head;
        let (extended, length) = match second & 0x7f {
            126 => (2, lengths.first_chunk().map(|bytes| u64::from(u16::from_be_bytes(*bytes)))),
            127 => (8, lengths.first_chunk().map(|bytes| u64::from_be_bytes(*bytes))),
            short => (0, Some(u64::from(short))),
        };
        let mask = if second & 0x80 == 0 { 0 } else { 4 };
        if self.read >= 2 && self.read == 2 + extended + mask { length } else { None }
    }
}

const CLOSE: u8 = 0x8;

/// A close frame towards the client: servers do not mask.
pub(super) fn close(code: u16, reason: &'static str) -> Bytes {
    let mut frame = vec![0x80 | CLOSE, length(reason)];
    frame.extend_from_slice(&code.to_be_bytes());
    frame.extend_from_slice(reason.as_bytes());
    frame.into()
}

/// A close frame towards the server, as from a client: masked.
pub(super) fn masked_close(code: u16, reason: &'static str) -> Bytes {
    let key = fastrand::u32(..).to_be_bytes();
    let mut frame = vec![0x80 | CLOSE, 0x80 | length(reason)];
    frame.extend_from_slice(&key);
    let payload = code.to_be_bytes().into_iter().chain(reason.bytes());
    frame.extend(payload.zip(key.into_iter().cycle()).map(|(byte, key)| byte ^ key));
    frame.into()
}

/// A control frame's payload has at most 125 bytes (§5.5); reasons are short constants.
fn length(reason: &'static str) -> u8 {
    u8::try_from(2 + reason.len().min(123)).unwrap_or(125)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame with a payload of this length, masked or not.
    fn frame(opcode: u8, masked: bool, length: usize) -> Vec<u8> {
        let bit = if masked { 0x80 } else { 0 };
        let mut frame = vec![0x80 | opcode];
        match length {
            0..=125 => frame.push(bit | u8::try_from(length).unwrap()),
            126..=65_535 => {
                frame.push(bit | 126);
                frame.extend(u16::try_from(length).unwrap().to_be_bytes());
            }
            _ => {
                frame.push(bit | 127);
                frame.extend((length as u64).to_be_bytes());
            }
        }
        if masked {
            frame.extend([1, 2, 3, 4]);
        }
        frame.resize(frame.len() + length, 0xff);
        frame
    }

    #[test]
    fn rfc6455_5_2_frames_of_every_length_end_where_they_end() {
        for masked in [false, true] {
            for length in [0, 1, 125, 126, 65_535, 65_536, 100_000] {
                let bytes = frame(2, masked, length);
                for step in [1, 2, 7, bytes.len()] {
                    let mut frames = Frames::default();
                    let mut passed = 0;
                    for piece in bytes.chunks(step) {
                        frames.pass(piece);
                        passed += piece.len();
                        assert_eq!(frames.may_close(), passed == bytes.len(), "{length} {masked} {step} {passed}");
                    }
                }
            }
        }
    }

    #[test]
    fn rfc6455_5_5_1_nothing_follows_a_close_frame() {
        let mut frames = Frames::default();
        frames.pass(&frame(1, false, 3));
        assert!(frames.may_close());
        frames.pass(&close(1000, "bye"));
        assert!(!frames.may_close());
    }

    #[test]
    fn rfc6455_5_5_1_close_frames_carry_code_and_reason() {
        assert_eq!(&*close(1008, "token expired"), b"\x88\x0f\x03\xf0token expired");
        let masked = masked_close(1001, "x");
        let key = &masked[2..6];
        let payload: Vec<u8> = masked[6..].iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key).collect();
        assert_eq!(masked[..2], [0x88, 0x83]);
        assert_eq!(payload, [0x03, 0xe9, b'x']);
    }
}
