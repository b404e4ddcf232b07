use std::sync::Arc;

use super::Name;

/// What one request owes. Integers only; money is somebody else's multiplication.
#[derive(Clone, Debug)]
pub struct Usage {
    /// The customer: the first of the `billing.account` claims.
    pub account: Name,
    /// Unix milliseconds of the settlement; decides the minute in which the lines are kept.
    pub at_ms: u64,
    /// One per meter and dimensions.
    pub lines: Vec<Line>,
}

/// So many units on one meter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// A meter that the configuration declares.
    pub meter: Name,
    /// Units; never negative, a correction is something else.
    pub quantity: u64,
    /// What the units are split by.
    pub dimensions: Dimensions,
}

/// Declared dimensions and their values, sorted by name; equal content compares and hashes equal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Dimensions(Option<Arc<[(Name, Name)]>>);

impl Dimensions {
    /// Sorts; a name given twice keeps its last value.
    pub fn new(mut pairs: Vec<(Name, Name)>) -> Self {
        if pairs.is_empty() {
            return Self(None);
        }
        pairs.sort_by(|a, b| a.0.cmp(&b.0));
        pairs.dedup_by(|later, earlier| {
            let same = later.0 == earlier.0;
            if same {
                earlier.1 = later.1.clone();
            }
            same
        });
        Self(Some(pairs.into()))
    }

    /// Name and value, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = &(Name, Name)> {
        self.0.iter().flat_map(|pairs| pairs.iter())
    }

    /// The value of one dimension.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(n, _)| &**n == name).map(|(_, v)| &**v)
    }
}
