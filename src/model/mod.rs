//! The nouns of the flow: plain values that every stage understands. No I/O, no clock, no policy.
//!
//! In reading order: what arrived ([`Facts`]), who sent it ([`Caller`]), what the rules recorded ([`Decision`]) and what that
//! amounts to ([`Plan`]), why a request may end early ([`Rejection`]), how it ended ([`Outcome`]), what is owed ([`Usage`]).

mod caller;
pub(crate) mod claim;
mod decision;
mod facts;
mod local_page;
mod login_fault;
mod marks;
mod moment;
mod outcome;
mod path;
mod plan;
mod problem;
mod rejection;
pub mod settings;
mod trace;
mod usage;

pub use caller::{Absence, Caller, Claims, Identity, TokenFault};
pub use decision::{Decision, Draw, Effect, Entry, Evaluated, Evaluation, Fault, Hook, LogLevel, Place, Share};
pub use facts::{Body, ClientCertificate, Facts, Protocol, RequestId};
pub use local_page::local_page;
pub use login_fault::LoginFault;
pub use marks::{Mark, Marks};
pub use moment::Moment;
pub use outcome::{Ending, Outcome, OutcomeKind, ResponseFacts};
pub use path::{CanonicalPath, PathProblem};
pub use plan::Plan;
pub use problem::{Problem, Severity, Source, Span};
pub use rejection::{Malformed, Rejection, Throttled, UpstreamFault};
pub use trace::{Incoming, TRACEPARENT, TRACESTATE, Trace};
pub use usage::{Dimensions, Line, Usage};

/// A name from the configuration (route, rule, upstream, meter, issuer) or from a token (account): cloned by reference count.
pub type Name = std::sync::Arc<str>;
