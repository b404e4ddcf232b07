//! What there is in FusionAuth, what is chosen of it, and what is wrong with it.

use super::domain::{Application, Key, Lambda, Tenant};
use super::lambda::{self, Kind, Reading};
use crate::cli::Failure;

/// Everything that was read.
pub(super) struct Inventory {
    pub(super) tenants: Vec<Tenant>,
    pub(super) keys: Vec<Key>,
    pub(super) lambdas: Vec<Lambda>,
}

/// What the configuration is made from.
pub(super) struct Survey {
    pub(super) tenant: Tenant,
    /// Whether the tenant's id is needed to tell its tokens from others'.
    pub(super) needs_tenant: bool,
    pub(super) application: Application,
    pub(super) claims: Reading,
    /// Longest lifetime of an access token in seconds.
    pub(super) lifetime: u64,
    pub(super) findings: Vec<Finding>,
}

/// One line of the report.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Finding {
    Fine(String),
    Wrong(String),
}

/// The one that `wanted` names by id or name, or the only one.
pub(super) fn choose<'a, T>(
    kind: &str,
    flag: &str,
    wanted: Option<&str>,
    all: &'a [T],
    label: fn(&T) -> (&str, &str),
) -> Result<&'a T, Failure> {
    let listed = || all.iter().map(|one| format!("  {}  {}", label(one).0, plain(label(one).1))).collect::<Vec<_>>().join("\n");
    let Some(wanted) = wanted else {
        return match all {
            [only] => Ok(only),
            [] => Err(Failure::new(format!("FusionAuth has no {kind} that this API key may see"))),
            _ => Err(Failure::with_code(2, format!("there is more than one {kind}: choose with {flag} ID\n{}", listed()))),
        };
    };
    let mut found = all.iter().filter(|one| label(one).0.eq_ignore_ascii_case(wanted) || label(one).1 == wanted);
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one),
        (Some(_), Some(_)) => {
            Err(Failure::with_code(2, format!("two have the name `{wanted}`: choose with {flag} ID\n{}", listed())))
        }
        (None, _) => Err(Failure::with_code(2, format!("there is no {kind} `{wanted}`; there are\n{}", listed()))),
    }
}

/// Without what could move a terminal's cursor or leave a comment.
pub(super) fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

pub(super) fn examine(inventory: &Inventory, tenant: &Tenant, application: &Application) -> Survey {
    let mut findings = Vec::new();
    let jwt = application.jwt(tenant);
    findings.push(issuer(tenant));
    findings.push(signing(jwt.access_token_key_id.as_deref(), &inventory.keys));
    let claims = claims(application, &inventory.lambdas, &mut findings);
    oauth(application, &mut findings);
    let universal = application.universal_configuration.universal;
    if universal {
        findings.push(Finding::Fine(
            "a universal application: its tokens have one audience in all tenants, so the tenant's id is compared too".into(),
        ));
    }
    Survey {
        tenant: tenant.clone(),
        needs_tenant: universal || inventory.tenants.len() > 1,
        application: application.clone(),
        claims,
        lifetime: jwt.time_to_live_in_seconds.unwrap_or(3600),
        findings,
    }
}

fn issuer(tenant: &Tenant) -> Finding {
    match tenant.issuer.as_deref() {
        None | Some("") => Finding::Wrong("the tenant has no issuer: set Tenants → General → Issuer, then run this again".into()),
        Some("acme.com") => {
            Finding::Fine("issuer `acme.com`, which is FusionAuth's default and no URL; that is fine here".into())
        }
        Some(text) if text.trim() != text => {
            Finding::Wrong(format!("the issuer {text:?} has blanks at its ends; it is used as it is, compared letter by letter"))
        }
        Some(text) => Finding::Fine(format!("issuer `{}`", plain(text))),
    }
}

fn signing(id: Option<&str>, keys: &[Key]) -> Finding {
    let key = keys.iter().find(|key| Some(&*key.id) == id);
    match (id, key.and_then(|key| Some((key, key.algorithm.as_deref()?)))) {
        (_, Some((key, algorithm))) if algorithm.starts_with("HS") => Finding::Wrong(format!(
            "access tokens are signed with {algorithm} (key `{}`), which only its owner can check: no such token is accepted. Set an \
             RS256 or ES256 key in Applications → JWT → Access token signing key, or let `--setup` do it",
            plain(&key.name)
        )),
        (_, Some((key, algorithm))) => {
            Finding::Fine(format!("access tokens are signed with {algorithm} (key `{}`)", plain(&key.name)))
        }
        (Some(id), None) => {
            Finding::Wrong(format!("the key {} that signs access tokens cannot be seen with this API key", plain(id)))
        }
        (None, None) => Finding::Wrong("no key for access tokens is set, neither at the application nor at the tenant".into()),
    }
}

/// Claims that FusionAuth itself writes, and that have a meaning of their own here.
const STANDARD: [&str; 24] = [
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
    "preferred_username",
    "roles",
    "scope",
    "sid",
    "sub",
    "tid",
    "tty",
    "use",
];

fn claims(application: &Application, lambdas: &[Lambda], findings: &mut Vec<Finding>) -> Reading {
    let Some(id) = &application.lambda_configuration.access_token_populate_id else {
        findings.push(Finding::Fine("no JWT populate lambda: tokens have FusionAuth's own claims".into()));
        return Reading { is_complete: true, ..Reading::default() };
    };
    let Some(found) = lambdas.iter().find(|lambda| lambda.id == *id) else {
        findings.push(Finding::Wrong(format!("the JWT populate lambda {} cannot be seen with this API key", plain(id))));
        return Reading::default();
    };
    let mut reading = lambda::read(&found.body);
    let name = plain(&found.name);
    for changed in
        ["iss", "aud", "roles", "applicationId", "jti", "scope"].iter().filter(|claim| reading.claims.contains_key(**claim))
    {
        findings.push(Finding::Wrong(format!(
            "lambda `{name}` overwrites the claim `{changed}`: what is written here may not be in the tokens"
        )));
    }
    reading.claims.retain(|claim, _| !STANDARD.contains(&&**claim));
    let untyped = reading.claims.values().filter(|claim| claim.kind == Kind::Any).count();
    let mut text = format!("lambda `{name}` adds {}", count(reading.claims.len(), "claim"));
    if untyped > 0 {
        text.push_str(&format!(", {untyped} of them without a type that is certain"));
    }
    if !reading.is_complete {
        text.push_str(", and maybe more that cannot be read from its text");
    }
    findings.push(Finding::Fine(text));
    reading
}

fn oauth(application: &Application, findings: &mut Vec<Finding>) {
    let oauth = &application.oauth_configuration;
    let mut wrong = |text: &str| findings.push(Finding::Wrong(text.to_owned()));
    if application.active == Some(false) {
        wrong("the application is not active: FusionAuth issues no tokens for it");
    }
    if !oauth.enabled_grants.iter().any(|grant| grant == "authorization_code") {
        wrong("the grant authorization_code is off (Applications → OAuth): nobody can log in through the gateway");
    }
    if !oauth.generate_refresh_tokens || !oauth.enabled_grants.iter().any(|grant| grant == "refresh_token") {
        wrong(
            "refresh tokens are off (Generate refresh tokens and the grant refresh_token): sessions end with their access token",
        );
    }
    if !oauth.require_registration {
        wrong("registration is not required: users who are not registered get tokens, without `roles` and `applicationId`");
    }
    if oauth.authorized_url_validation_policy.as_deref() == Some("AllowWildcards") {
        wrong("redirect URLs may have wildcards: codes can be sent to every host that one of them fits");
    }
    if oauth.scope_handling_policy.as_deref() == Some("Strict") {
        findings
            .push(Finding::Fine("scopes are handled strictly: access tokens have no `email` and `preferred_username`".into()));
    }
}

pub(super) fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}
