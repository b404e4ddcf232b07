use std::any::Any;
use std::sync::{Arc, OnceLock};

/// What the proxy makes of an upstream's settings once for all its requests. Kept here, beside the settings it belongs to, by a type
/// that this layer cannot name.
#[derive(Default)]
pub struct Prepared(OnceLock<Arc<dyn Any + Send + Sync>>);

impl Prepared {
    /// What there is, or what `make` makes of it.
    pub fn or_make<T: Any + Send + Sync>(&self, make: impl FnOnce() -> T) -> Option<Arc<T>> {
        let any = self.0.get_or_init(|| Arc::new(make()));
        Arc::clone(any).downcast().ok()
    }
}

impl std::fmt::Debug for Prepared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Prepared(…)")
    }
}
