use std::collections::BTreeMap;

use crate::model::{Name, settings};

/// The names of the configuration that rules may use.
#[derive(Clone, Debug, Default)]
pub struct Vocabulary {
    /// For `route_to`.
    pub upstreams: Vec<Name>,
    /// For `meter`.
    pub meters: Vec<settings::Meter>,
    /// `identity.claims`: what the tenant's lambda adds to tokens.
    pub claims: BTreeMap<String, settings::ClaimType>,
    /// For `rules[].routes`.
    pub routes: Vec<Name>,
    /// The routes whose rules may read bodies.
    pub read_bodies: Vec<Name>,
    /// Whether people can log in.
    pub login: bool,
}

impl Vocabulary {
    /// The names of a whole configuration.
    pub fn of(config: &settings::Config) -> Self {
        Self {
            upstreams: config.upstreams.iter().map(|upstream| upstream.name.clone()).collect(),
            meters: config.billing.meters.clone(),
            claims: config.identity.claims.clone(),
            routes: config.routes.iter().map(|route| route.name.clone()).collect(),
            login: config.identity.login.is_some(),
            read_bodies: config.routes.iter().filter(|r| r.rule_body.is_some()).map(|route| route.name.clone()).collect(),
        }
    }
}

/// What verbs need of the [`Vocabulary`] while requests run.
#[derive(Debug)]
pub(super) struct Words {
    pub(super) upstreams: Vec<Name>,
    pub(super) meters: Vec<settings::Meter>,
}

impl Words {
    pub(super) fn new(vocabulary: &Vocabulary) -> Self {
        Self { upstreams: vocabulary.upstreams.clone(), meters: vocabulary.meters.clone() }
    }

    pub(super) fn upstream(&self, name: &str) -> Option<&Name> {
        self.upstreams.iter().find(|upstream| ***upstream == *name)
    }

    pub(super) fn meter(&self, name: &str) -> Option<&settings::Meter> {
        self.meters.iter().find(|meter| *meter.name == *name)
    }
}

/// The claims of FusionAuth's own access tokens (its documentation, "OAuth Tokens" and the lambda reference), known without
/// configuration.
pub(super) const FUSIONAUTH_CLAIMS: [&str; 26] = [
    "amr",
    "applicationId",
    "aud",
    "auth_time",
    "authenticationType",
    "cnf",
    "email",
    "email_verified",
    "exp",
    "gty",
    "iat",
    "iss",
    "jti",
    "nbf",
    "nonce",
    "permissions",
    "phone_number",
    "phone_number_verified",
    "preferred_username",
    "roles",
    "scope",
    "sid",
    "sub",
    "tid",
    "tty",
    "use",
];
