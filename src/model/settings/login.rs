use std::time::Duration;

use super::Secret;
use crate::model::Name;

/// `identity.login`, with `identity.session`: the gateway logs people in and remembers them.
#[derive(Clone, Debug, PartialEq)]
pub struct Login {
    /// Which entry of `identity.issuers`.
    pub issuer: Name,
    /// The id of the FusionAuth application.
    pub client_id: String,
    /// Sent with every request for tokens.
    pub client_secret: Secret,
    /// The one before a rotation: id_tokens that it signed are still believed.
    pub previous_client_secret: Option<Secret>,
    /// Where the issuer sends browsers back to: one per host that people log in on.
    pub callbacks: Vec<Callback>,
    /// Where browsers reach the issuer, if not at its `url`; no trailing slash.
    pub public_url: Option<String>,
    /// Asked for, in this order.
    pub scopes: Vec<String>,
    /// FusionAuth: skips its login page for this identity provider.
    pub idp_hint: Option<String>,
    /// `login` or `consent`.
    pub prompt: Option<String>,
    /// How long ago the person may have typed the password.
    pub max_age: Option<Duration>,
    /// Where people land who came to no page in particular: a path of this site.
    pub after_login: String,
    /// How they are remembered.
    pub session: Sessions,
}

/// `identity.login.callback`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Callback {
    /// As configured, and sent as `redirect_uri`.
    pub url: String,
    /// `https://host[:port]`.
    pub origin: String,
    /// Lower case, without port: what a request's host is compared with.
    pub host: String,
    /// The path that answers.
    pub path: String,
}

/// `identity.session`
#[derive(Clone, Debug, PartialEq)]
pub struct Sessions {
    /// Where they are kept.
    pub store: SessionStore,
    /// The first one seals, all of them open.
    pub keys: Vec<Secret>,
    /// Without a request for so long, a session ends.
    pub idle: Duration,
    /// So long after the login it ends in any case.
    pub absolute: Duration,
    /// The name of its first cookie, `__Host-` included where browsers accept that.
    pub cookie: String,
    /// Whether browsers send it along with requests that other sites' pages make.
    pub same_site: SameSite,
    /// False only for a callback on plain-HTTP loopback.
    pub secure: bool,
}

/// `identity.session.store`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionStore {
    /// Sealed, in the browser's cookies.
    Cookie,
    /// Sealed, in Redis; the browser's cookie says which one it is.
    Redis,
}

/// `identity.session.same_site`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SameSite {
    /// Only when a link leads here.
    Lax,
    /// Always, for pages that other sites show in a frame.
    None,
}

impl SameSite {
    /// The attribute's value.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Lax => "Lax",
            Self::None => "None",
        }
    }
}
