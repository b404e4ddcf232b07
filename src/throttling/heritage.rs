//! What a process leaves to its successor: every bucket, the secret that keys are hashed with, and the clock that buckets count on.
//!
//! The successor goes on with the same clock: a window does not know its own span, so it cannot be moved to another one. A reading
//! that takes time to arrive makes the clock late by that time, and limits last that much longer; never shorter.

use super::bucket::Bucket;
use super::gcra::Pace;
use super::key::Key;
use super::window::Window;

/// The secret and the clock, exchanged before there are buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heritage {
    /// What keys are hashed with.
    pub secret: [u64; 2],
    /// The reading of the predecessor's clock, nanoseconds.
    pub clock: u64,
}

/// Bytes of one bucket with its key.
pub(super) const BUCKET_BYTES: usize = 48;

/// In the first byte of a bucket that many keys share for want of room: it has a table of its own.
const SHARED: u8 = 0x80;

pub(super) fn write(key: Key, bucket: &Bucket, is_shared: bool, into: &mut Vec<u8>) {
    let begin = into.len();
    let shared = if is_shared { SHARED } else { 0 };
    into.extend(key.to_bytes());
    match bucket {
        Bucket::Window(Window::Few { len, slots, until }) => {
            into.extend([shared, *len]);
            into.extend(slots.iter().flat_map(|slot| slot.to_be_bytes()));
            into.extend(until.to_be_bytes());
        }
        Bucket::Window(Window::Many { shift, cells, rest, until }) => {
            into.extend([shared | 1, *shift]);
            into.extend(cells);
            into.extend(rest.to_be_bytes());
            into.extend(until.to_be_bytes());
        }
        Bucket::Pace(pace) => {
            let (until, fraction) = pace.parts();
            into.extend([shared | 2, 0]);
            into.extend(until.to_be_bytes());
            into.extend(fraction.to_be_bytes());
        }
    }
    into.resize(begin + BUCKET_BYTES, 0);
}

/// The key, the bucket, and whether it is shared; `None` if the bytes are no bucket.
pub(super) fn read(bytes: &[u8]) -> Option<(Key, Bucket, bool)> {
    let (key, rest) = bytes.split_first_chunk::<16>()?;
    let ([kind, detail], rest) = rest.split_first_chunk::<2>()?;
    let bucket = match (kind & !SHARED, *detail) {
        (0, len) => {
            let (slots, rest) = rest.split_first_chunk::<22>()?;
            let slots = std::array::from_fn(|at| {
                slots.get(2 * at..2 * at + 2).and_then(|pair| pair.try_into().ok()).map_or(0, u16::from_be_bytes)
            });
            Bucket::Window(Window::restored_few(len, slots, number(rest)?)?)
        }
        (1, shift) => {
            let (cells, rest) = rest.split_first_chunk()?;
            let (units, rest) = rest.split_first_chunk()?;
            Bucket::Window(Window::restored_many(shift, *cells, u32::from_be_bytes(*units), number(rest)?)?)
        }
        (2, _) => {
            let (until, rest) = rest.split_first_chunk()?;
            let fraction = rest.first_chunk()?;
            Bucket::Pace(Pace::restored(u64::from_be_bytes(*until), u32::from_be_bytes(*fraction)))
        }
        _ => return None,
    };
    Some((Key::from_bytes(*key), bucket, kind & SHARED != 0))
}

fn number(bytes: &[u8]) -> Option<u64> {
    bytes.first_chunk().map(|bytes| u64::from_be_bytes(*bytes))
}
