//! Logging people in: the authorization code flow of OpenID Connect with PKCE, as FusionAuth does it.
//!
//! A login under way is an `attempt`, kept by the browser. `party` begins and ends it, `provider` talks to the issuer, `answer`,
//! `id_token` read what comes back through the browser and from the issuer.

mod answer;
mod attempt;
mod id_token;
mod party;
mod provider;
mod redeemed;

pub use answer::TokenAnswer;
pub use party::{Failed, Logins, RelyingParty, Sent};
pub use provider::{Metadata, Provider, ProviderFault};
