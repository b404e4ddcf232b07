use super::OutcomeKind;

/// Why a login, or what rests on one, came to nothing. Browsers get a page that says no more than the word; operators find the cause
/// under the request's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LoginFault {
    /// The callback does not belong to a login that this browser began, or comes a second time, or cannot be read.
    Invalid,
    /// The issuer says that the person may not, or did not want to.
    Denied,
    /// What the issuer answered is not to be believed.
    Untrusted,
    /// The issuer does not answer.
    Unavailable,
    /// The tokens are too large for cookies.
    TooLarge,
    /// Another site's page sent the request with this site's session.
    CrossSite,
}

impl LoginFault {
    /// The status that the client sees.
    pub const fn status(self) -> u16 {
        match self {
            Self::Invalid => 400,
            Self::Denied | Self::CrossSite => 403,
            Self::TooLarge => 500,
            Self::Untrusted => 502,
            Self::Unavailable => 503,
        }
    }

    /// The `reason` of the problem document or the page.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Invalid => "login_invalid",
            Self::Denied => "login_denied",
            Self::Untrusted => "login_failed",
            Self::Unavailable => "login_unavailable",
            Self::TooLarge => "session_too_large",
            Self::CrossSite => "cross_site_request",
        }
    }

    /// How the request is counted.
    pub const fn kind(self) -> OutcomeKind {
        match self {
            Self::Invalid => OutcomeKind::BadRequest,
            Self::Denied | Self::CrossSite => OutcomeKind::Denied,
            Self::Untrusted | Self::Unavailable | Self::TooLarge => OutcomeKind::Unavailable,
        }
    }
}
