use std::sync::atomic::{AtomicU64, Ordering};

/// What a revocation can name, as a digest that is nobody's name and cannot be chosen.
pub type Mark = [u32; 4];

/// By what a token can be revoked. Made once per token, so that a request only looks up.
#[derive(Debug, Default)]
pub struct Marks {
    /// Unix seconds of `iat`; 0 if there is none, so that every revocation hits such a token.
    pub born: u32,
    /// For revocations of its tenant.
    pub of_tenant: Box<[Mark]>,
    /// For revocations that name no tenant.
    pub anywhere: Box<[Mark]>,
    /// The generation of the revocations in which it was found clear.
    cleared: AtomicU64,
}

impl Marks {
    /// Nothing is known to be clear yet.
    pub fn new(born: u32, of_tenant: Box<[Mark]>, anywhere: Box<[Mark]>) -> Self {
        Self { born, of_tenant, anywhere, cleared: AtomicU64::new(0) }
    }

    /// Whether it was clear in this generation.
    pub fn is_clear_in(&self, generation: u64) -> bool {
        self.cleared.load(Ordering::Relaxed) == generation
    }

    /// Notes that it is clear in this generation.
    pub fn clear(&self, generation: u64) {
        self.cleared.store(generation, Ordering::Relaxed);
    }
}
