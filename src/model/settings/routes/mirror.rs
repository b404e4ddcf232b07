use crate::model::Name;

/// `routes[].mirror`: a copy of some requests goes to another upstream, whose answers nobody sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// Who gets it.
    pub upstream: Name,
    /// Hundredths of a percent of the requests.
    pub share: u32,
    /// A request with a larger body is not copied; 0 copies only those without one.
    pub body: usize,
}
