use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::order::Record;
use super::set::Revoked;
use super::sqlite::Store;

/// How often what other processes wrote is read: a predecessor or successor, or a neighbour on the same machine.
const LOOK: Duration = Duration::from_millis(100);
/// Jobs that wait; beyond it whoever asks is told that it cannot be kept.
const WAITING: usize = 4_096;
/// Jobs that are committed together.
const TOGETHER: usize = 512;

/// The file, behind the one thread that uses it.
#[derive(Debug)]
pub(super) struct File {
    jobs: SyncSender<Job>,
    last_error: Arc<Mutex<Option<String>>>,
}

#[derive(Debug)]
enum Job {
    Write(Vec<Record>, oneshot::Sender<Result<(), String>>),
    ForgetBefore(u32),
    Note(&'static str, i64),
    Progress(&'static str, oneshot::Sender<Option<i64>>),
}

impl File {
    /// Opens it and puts into the set what is in it.
    pub(super) fn open(path: &Path, set: &Arc<Revoked>) -> Result<Self, String> {
        let mut store = Store::open(path)?;
        store.read(|record| {
            set.insert(&record);
        })?;
        let (jobs, waiting) = sync_channel(WAITING);
        let last_error: Arc<Mutex<Option<String>>> = Arc::default();
        let (set, error) = (Arc::clone(set), Arc::clone(&last_error));
        thread::Builder::new()
            .name("revocations".into())
            .spawn(move || work(store, &waiting, &set, &error))
            .map_err(|error| format!("a thread cannot be started: {error}"))?;
        Ok(Self { jobs, last_error })
    }

    /// Resolves when the records are on disk.
    pub(super) async fn write(&self, records: Vec<Record>) -> Result<(), String> {
        let (sender, answer) = oneshot::channel();
        match self.jobs.try_send(Job::Write(records, sender)) {
            Ok(()) => answer.await.unwrap_or_else(|_| Err("the thread that writes ended".into())),
            Err(TrySendError::Full(_)) => Err("too many revocations wait to be written".into()),
            Err(TrySendError::Disconnected(_)) => Err("the thread that writes ended".into()),
        }
    }

    pub(super) fn forget_before(&self, oldest: u32) {
        // If there is no room now, the next time will do.
        let _ = self.jobs.try_send(Job::ForgetBefore(oldest));
    }

    pub(super) fn note(&self, name: &'static str, value: i64) {
        let _ = self.jobs.try_send(Job::Note(name, value));
    }

    pub(super) async fn progress(&self, name: &'static str) -> Option<i64> {
        let (sender, answer) = oneshot::channel();
        self.jobs.try_send(Job::Progress(name, sender)).ok()?;
        answer.await.ok().flatten()
    }

    /// Why the last write failed; `None` after one that did not.
    pub(super) fn last_error(&self) -> Option<String> {
        self.last_error.lock().clone()
    }
}

/// Ends when nobody can send any more, and everything that was sent is done.
fn work(mut store: Store, jobs: &Receiver<Job>, set: &Revoked, last_error: &Mutex<Option<String>>) {
    loop {
        let first = match jobs.recv_timeout(LOOK) {
            Ok(job) => Some(job),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let (mut records, mut waiting) = (Vec::new(), Vec::new());
        let mut outcome = Ok(());
        for job in first.into_iter().chain(jobs.try_iter().take(TOGETHER)) {
            match job {
                Job::Write(more, sender) => {
                    records.extend(more);
                    waiting.push(sender);
                }
                Job::ForgetBefore(oldest) => outcome = outcome.and(store.forget_before(oldest)),
                Job::Note(name, value) => outcome = outcome.and(store.note(name, value)),
                Job::Progress(name, sender) => {
                    let _ = sender.send(store.progress(name).ok().flatten());
                }
            }
        }
        if !records.is_empty() {
            let written = store.write(&records);
            for sender in waiting {
                let _ = sender.send(written.clone());
            }
            outcome = outcome.and(written);
        }
        let read = store.read(|record| {
            set.insert(&record);
        });
        tell(last_error, outcome.and(read).err());
    }
}

fn tell(last: &Mutex<Option<String>>, error: Option<String>) {
    let mut last = last.lock();
    match (&*last, &error) {
        (before, Some(now)) if before.as_ref() != Some(now) => tracing::error!("the file of revocations: {now}"),
        (Some(before), None) => tracing::info!("the file of revocations works again after: {before}"),
        _ => {}
    }
    *last = error;
}
