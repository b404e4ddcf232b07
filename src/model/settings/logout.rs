/// `identity.logout`: how people who log in through the gateway log out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logout {
    /// The path that logs out.
    pub path: String,
    /// The path that the issuer calls in a frame when somebody logs out elsewhere.
    pub front_channel: String,
    /// Where the issuer sends browsers then; `None`: to `/` of the host that they came from.
    pub after: Option<String>,
}

impl Default for Logout {
    fn default() -> Self {
        Self { path: "/logout".into(), front_channel: "/logout/frontchannel".into(), after: None }
    }
}
