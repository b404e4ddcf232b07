//! One JSON line per request, also for requests that never reached a rule.

mod line;

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::model::settings::LogOutput;

pub(super) use line::write;

/// How long a line may wait: a system call per request would cost more than the rules do.
const FLUSH_EVERY: Duration = Duration::from_millis(100);

/// Bytes that wait; beyond it lines are dropped and counted.
const WAITING_BYTES: usize = 16 << 20;

/// Collects lines, which come from the one thread that settles, and writes them from another: a slow reader of the standard output
/// must not hold up the bill.
pub struct AccessLog {
    shared: Option<Arc<Shared>>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    lines: Mutex<Vec<u8>>,
    waiting: AtomicBool,
    dropped: AtomicU64,
    closing: Mutex<bool>,
    wake: Condvar,
}

impl AccessLog {
    /// Opens the output and starts the writer.
    ///
    /// # Errors
    /// When a file cannot be opened for appending.
    pub fn open(output: &LogOutput) -> io::Result<Self> {
        let mut sink = match output {
            LogOutput::None => return Ok(Self { shared: None, writer: Mutex::new(None) }),
            LogOutput::Stdout => Sink::Stdout,
            LogOutput::File(path) => Sink::File(OpenOptions::new().create(true).append(true).open(path)?),
        };
        let shared = Arc::new(Shared {
            lines: Mutex::new(Vec::new()),
            waiting: AtomicBool::new(false),
            dropped: AtomicU64::new(0),
            closing: Mutex::new(false),
            wake: Condvar::new(),
        });
        let theirs = Arc::clone(&shared);
        let writer = thread::Builder::new().name("access-log".into()).spawn(move || theirs.run(&mut sink))?;
        Ok(Self { shared: Some(shared), writer: Mutex::new(Some(writer)) })
    }

    /// Lines that found no room, or could not be written.
    pub fn dropped(&self) -> u64 {
        self.shared.as_ref().map_or(0, |shared| shared.dropped.load(Ordering::Relaxed))
    }

    /// Writes out what waits and stops; lines that come later are dropped.
    pub fn close(&self) {
        if let Some(shared) = &self.shared {
            *shared.closing.lock() = true;
            shared.wake.notify_one();
        }
        if let Some(writer) = self.writer.lock().take() {
            let _ = writer.join();
        }
    }

    fn append(&self, format: impl FnOnce(&mut Vec<u8>)) {
        let Some(shared) = &self.shared else { return };
        {
            let mut lines = shared.lines.lock();
            if lines.len() >= WAITING_BYTES {
                shared.dropped.fetch_add(1, Ordering::Relaxed);
                return;
            }
            format(&mut lines);
            lines.push(b'\n');
        }
        if !shared.waiting.swap(true, Ordering::AcqRel) {
            shared.wake.notify_one();
        }
    }

    fn is_off(&self) -> bool {
        self.shared.is_none()
    }
}

impl Shared {
    fn run(&self, sink: &mut Sink) {
        loop {
            let closing = {
                let mut closing = self.closing.lock();
                if !*closing && !self.waiting.load(Ordering::Acquire) {
                    // The timeout repairs a wake-up that came between the check and the wait.
                    self.wake.wait_for(&mut closing, Duration::from_secs(1));
                }
                if !*closing && self.waiting.load(Ordering::Acquire) {
                    self.wake.wait_for(&mut closing, FLUSH_EVERY);
                }
                *closing
            };
            self.waiting.store(false, Ordering::Release);
            let lines = std::mem::take(&mut *self.lines.lock());
            if !lines.is_empty() && sink.write(&lines).is_err() {
                let lost = lines.iter().filter(|byte| **byte == b'\n').count();
                self.dropped.fetch_add(lost as u64, Ordering::Relaxed);
            }
            if closing {
                return;
            }
        }
    }
}

enum Sink {
    Stdout,
    File(File),
}

impl Sink {
    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        match self {
            Self::Stdout => {
                let mut out = io::stdout().lock();
                out.write_all(lines)?;
                out.flush()
            }
            Self::File(file) => file.write_all(lines),
        }
    }
}
