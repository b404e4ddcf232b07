use crate::model::TokenFault;

/// What is right and wrong with one token. For the token's owner: a client of the proxy never learns it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Examination {
    /// What a request with this token would get.
    pub verdict: Verdict,
    /// In the order in which the checks are made.
    pub findings: Vec<Finding>,
}

/// The end of an [`Examination`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The token is good.
    Accepted,
    /// The first fault.
    Refused(TokenFault),
    /// The signature cannot be checked: the issuer's keys could not be fetched.
    KeysUnavailable,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at: `kind`, `issuer`, `tenant`, `audience`, `expiry`, `start`, `lifetime`, `subject`, `declared claims`,
    /// `signature`; or only `form`.
    pub subject: &'static str,
    /// What is wrong with it.
    pub fault: Option<TokenFault>,
    /// What the token says, printable ASCII, without the signature.
    pub text: String,
}
