//! What the two processes say to each other: one line of JSON at a time.

use std::io::{self, BufRead, Read};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Longer lines are no messages.
const LONGEST: u64 = 64 << 10;

/// Raised when a message changes its meaning.
pub(super) const PROTOCOL: u32 = 1;

/// What a successor says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Ask {
    /// Who are you?
    Hello { protocol: u32, pid: u32 },
    /// Start a successor of yourself.
    Start,
    /// Send the sockets; it listens for them.
    Sockets,
    /// Send the buckets of the limits.
    Limits,
    /// It serves.
    Ready,
}

/// What a predecessor says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Tell {
    /// What keys of limits are hashed with, and the clock that limits count on.
    Hello { version: String, pid: u32, secret: [u64; 2], clock: u64 },
    /// A successor was started.
    Started { pid: u32 },
    /// The sockets are sent.
    Sockets,
    /// So many bytes of buckets follow this line.
    Limits { bytes: u64 },
    /// It leaves.
    Leaving,
    /// No, and why.
    Refused { why: String },
}

pub(super) fn line(message: &impl Serialize) -> Vec<u8> {
    // These types have no keys that JSON could not say.
    let mut line = serde_json::to_vec(message).unwrap_or_default();
    line.push(b'\n');
    line
}

pub(super) fn parse<T: DeserializeOwned>(line: &[u8]) -> io::Result<T> {
    if line.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    serde_json::from_slice(line).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "not a message of an upgrade"))
}

/// Reads one message.
pub(super) fn read<T: DeserializeOwned>(from: &mut impl BufRead) -> io::Result<T> {
    let mut line = Vec::new();
    Read::by_ref(from).take(LONGEST).read_until(b'\n', &mut line)?;
    parse(&line)
}
