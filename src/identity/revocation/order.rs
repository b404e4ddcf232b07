use std::time::Duration;

use super::mark::{self, Scope};
use crate::model::Mark;

/// One revocation, as somebody asks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// What it names.
    pub target: Target,
    /// Whose tokens it hits; `None`: the tokens of every tenant.
    pub tenant: Option<String>,
    /// Tokens issued up to this second are refused; since 1970.
    pub until: Duration,
}

/// What a revocation names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Every token of a user.
    User(String),
    /// A user's tokens for one application.
    Member {
        /// The user's id.
        user: String,
        /// The application's id.
        application: String,
    },
    /// Every user's tokens for one application.
    Application(String),
    /// The tokens that came with one refresh token: `sid`.
    Session(String),
    /// The tokens of an entity (client credentials).
    Entity(String),
}

/// The kinds of targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// [`Target::User`]
    User = 1,
    /// [`Target::Member`]
    Member = 2,
    /// [`Target::Application`]
    Application = 3,
    /// [`Target::Session`]
    Session = 4,
    /// [`Target::Entity`]
    Entity = 5,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::User, Self::Member, Self::Application, Self::Session, Self::Entity];

    /// The `kind` label of metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Member => "user_application",
            Self::Application => "application",
            Self::Session => "session",
            Self::Entity => "entity",
        }
    }
}

/// A revocation as it is kept and passed on: 20 bytes, and no name of anybody. Not its kind either: nobody needs it to refuse a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::identity) struct Record {
    pub(in crate::identity) mark: Mark,
    /// Unix seconds: tokens issued in this second, too, are refused.
    pub(in crate::identity) cutoff: u32,
}

impl Target {
    /// Which kind it is of.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::User(_) => Kind::User,
            Self::Member { .. } => Kind::Member,
            Self::Application(_) => Kind::Application,
            Self::Session(_) => Kind::Session,
            Self::Entity(_) => Kind::Entity,
        }
    }
}

impl Order {
    pub(in crate::identity) fn record(&self) -> Record {
        let scope = Scope::of(self.tenant.as_deref());
        let mark = match &self.target {
            Target::User(user) => mark::user(scope, user),
            Target::Member { user, application } => mark::member(scope, user, application),
            Target::Application(application) => mark::application(scope, application),
            Target::Session(session) => mark::session(scope, session),
            Target::Entity(entity) => mark::entity(scope, entity),
        };
        Record { mark, cutoff: mark::seconds(self.until.as_secs()) }
    }
}
