use std::time::Duration;

use super::{Login, Secret};

/// `identity.hosted_backend`: what FusionAuth's browser SDKs expect of a server, at the gateway.
#[derive(Clone, Debug, PartialEq)]
pub struct HostedBackend {
    /// Issuer, application, secret, and the callback `…/app/callback`. Its sessions are never made: browsers keep tokens in cookies of their
    /// own here.
    pub login: Login,
    /// Where applications may be sent back to, letter by letter; the first one is the default.
    pub redirect_uris: Vec<String>,
    /// Where applications may be sent to after a logout, the first one is the default.
    pub logout_uris: Vec<String>,
    /// Whose pages may call with their cookies: the origins of all of these, and the gateway's own.
    pub origins: Vec<String>,
    /// The domain of the cookies; `None`: the gateway's host alone.
    pub cookie_domain: Option<String>,
    /// How long browsers keep the refresh token.
    pub lifetime: Duration,
    /// The first one seals refresh tokens, all of them open.
    pub keys: Vec<Secret>,
}

impl HostedBackend {
    /// The names of FusionAuth's cookies: access token, refresh token, id_token, end of the access token in Unix seconds.
    pub const COOKIES: [&'static str; 4] = ["app.at", "app.rt", "app.idt", "app.at_exp"];
}
