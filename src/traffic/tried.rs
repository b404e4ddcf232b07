/// The servers that one request has already tried; as many as there can be attempts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tried {
    members: [u64; Self::MOST],
    count: usize,
}

impl Tried {
    /// One more than `retries.attempts` may say.
    pub const MOST: usize = 11;

    /// The last failure was not the server's: it may be tried again.
    pub fn forgive(&mut self) {
        self.count = self.count.saturating_sub(1);
    }

    /// Every server may be tried again.
    pub fn clear(&mut self) {
        self.count = 0;
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    pub(super) fn has(&self, member: u64) -> bool {
        self.members.iter().take(self.count).any(|tried| *tried == member)
    }

    pub(super) fn add(&mut self, member: u64) {
        if let Some(place) = self.members.get_mut(self.count) {
            *place = member;
            self.count += 1;
        }
    }
}
