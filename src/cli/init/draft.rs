//! The files that `init` writes, as texts.

use std::fmt::Write;

use super::lambda::Kind;
use super::survey::{Survey, plain};

/// What the texts are filled with.
pub(super) struct Draft<'a> {
    pub(super) identity: Identity<'a>,
    /// Where the service behind the gateway is.
    pub(super) upstream: &'a str,
    /// Whether the rules below come along.
    pub(super) with_rules: bool,
}

pub(super) enum Identity<'a> {
    /// FusionAuth was not asked: environment variables say it.
    Unknown,
    Surveyed {
        url: &'a str,
        survey: &'a Survey,
        login: Option<Login<'a>>,
    },
}

/// For people who log in through the gateway.
pub(super) struct Login<'a> {
    pub(super) callback: &'a str,
    /// The files of its secrets.
    pub(super) secret_file: &'a str,
    pub(super) session_key_file: &'a str,
    /// Whether they are there.
    pub(super) is_ready: bool,
    /// Whether FusionAuth sends its events.
    pub(super) hears: bool,
}

pub(super) const LIMIT: &str = "rules/limit.rhai";
pub(super) const ADMINISTRATION: &str = "rules/administration.rhai";
const TESTS: &str = "rules/tests/access.test.yaml";

impl Draft<'_> {
    pub(super) fn config(&self) -> String {
        let mut text = String::from(HEAD);
        match &self.identity {
            Identity::Unknown => text.push_str(UNKNOWN),
            Identity::Surveyed { url, survey, login } => surveyed(&mut text, url, survey, login.as_ref()),
        }
        let _ = write!(
            text,
            "\n# Where does it go?\nupstreams:\n  app:\n    servers:\n      - {}\n\n{}",
            scalar(self.upstream),
            if self.with_rules { ROUTES_WITH_RULES } else { ROUTES }
        );
        text
    }

    /// Two rules and their tests, by name.
    pub(super) fn rules(&self) -> [(&'static str, String); 3] {
        let role = self.role();
        [
            (LIMIT, LIMIT_RULE.to_owned()),
            (ADMINISTRATION, ADMINISTRATION_RULE.replace("@ROLE", &literal(&role))),
            (TESTS, TEST_FILE.replace("@ROLE", &scalar(&role))),
        ]
    }

    /// The most powerful role that there is.
    fn role(&self) -> String {
        let Identity::Surveyed { survey, .. } = &self.identity else { return "admin".into() };
        let roles = &survey.application.roles;
        let chosen = roles
            .iter()
            .find(|role| role.name == "admin")
            .or_else(|| roles.iter().find(|role| role.is_super_role))
            .or_else(|| roles.first());
        chosen.map_or_else(|| "admin".into(), |role| role.name.clone())
    }
}

fn surveyed(text: &mut String, url: &str, survey: &Survey, login: Option<&Login<'_>>) {
    let (tenant, application) = (&survey.tenant, &survey.application);
    let _ = write!(
        text,
        "\n# Who is calling? `url` is where keys are fetched, `issuer` is what the tokens say; FusionAuth sets them separately.\n\
         identity:\n  issuers:\n    - name: fusionauth\n      url: {}\n      # As the tenant {} has it; compared letter by letter.\n      issuer: {}\n",
        scalar(url),
        comment(&tenant.name),
        scalar(tenant.issuer.as_deref().unwrap_or_default()),
    );
    if survey.needs_tenant {
        let _ = writeln!(text, "      tenant: {}", scalar(&tenant.id));
    }
    let _ = write!(
        text,
        "      audiences:\n        # {}; a token for another application is refused.\n        - {}\n",
        comment(&application.name),
        scalar(&application.id)
    );
    if survey.lifetime > 24 * 3600 {
        let _ = writeln!(
            text,
            "  # Access tokens of this application live for longer than a day.\n  max_lifetime: {}s",
            survey.lifetime
        );
    }
    if !application.roles.is_empty() {
        let roles: Vec<String> = application.roles.iter().map(|role| comment(&role.name)).collect();
        let _ = writeln!(text, "  # Roles that the application knows, for claims.has_role(…): {}", roles.join(", "));
    }
    claims(text, survey);
    text.push_str(
        "  # Headers for the services behind the gateway. What a client sends under these names never gets through.\n  \
         forward_claims:\n    x-user-id: sub\n",
    );
    if let Some(login) = login {
        self::login(text, survey, login);
        if login.hears {
            text.push_str(REVOCATION);
        }
    }
}

fn claims(text: &mut String, survey: &Survey) {
    let claims = &survey.claims.claims;
    if claims.is_empty() {
        return;
    }
    text.push_str(
        "  # The claims that the JWT populate lambda adds. A token in which one of them has another type is refused.\n",
    );
    if !survey.claims.is_complete {
        text.push_str("  # Its text can add more than could be read: have a look at it.\n");
    }
    text.push_str("  claims:\n");
    for (name, claim) in claims {
        let values = claim.values.as_ref().filter(|_| claim.kind == Kind::String);
        let _ = match values {
            Some(values) => {
                let values: Vec<String> = values.iter().map(|value| scalar(value)).collect();
                writeln!(text, "    {}: {{ type: string, one_of: [{}] }}", key(name), values.join(", "))
            }
            None => writeln!(text, "    {}: {}", key(name), claim.kind.word()),
        };
    }
}

fn login(text: &mut String, survey: &Survey, login: &Login<'_>) {
    let mark = if login.is_ready { "  " } else { "  # " };
    text.push_str("  # People log in at FusionAuth, and the gateway keeps their session: docs/login.md.\n");
    for line in [
        "login:".to_owned(),
        "  issuer: fusionauth".to_owned(),
        format!("  client_id: {}", scalar(&survey.application.id)),
        format!("  client_secret: ${{file:{}}}", login.secret_file),
        format!("  callback: {}", scalar(login.callback)),
        "session:".to_owned(),
        "  keys:".to_owned(),
        format!("    - ${{file:{}}}", login.session_key_file),
    ] {
        let _ = writeln!(text, "{mark}{line}");
    }
}

/// A YAML value that is this text and nothing else: quoted unless it is made of harmless characters only.
pub(super) fn scalar(text: &str) -> String {
    let is_plain = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c))
        && !["true", "false", "null", "yes", "no", "on", "off", "y", "n"].iter().any(|word| text.eq_ignore_ascii_case(word));
    let is_url = text.strip_prefix("http").is_some_and(|rest| {
        rest.trim_start_matches('s').starts_with("://") && rest.chars().all(|c| c.is_ascii_alphanumeric() || "-_./:".contains(c))
    }) && !text.ends_with(':');
    if is_plain || is_url { text.to_owned() } else { quoted(text) }
}

/// JSON's quotes are YAML's; `${` would be filled in.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string().replace("${", "$${")
}

/// In keys nothing is filled in.
fn key(text: &str) -> String {
    if text.contains("${") { serde_json::Value::from(text).to_string() } else { scalar(text) }
}

/// A literal of Rhai.
fn literal(text: &str) -> String {
    let mut literal = String::from('"');
    for c in text.chars().filter(|c| !c.is_control()) {
        if matches!(c, '"' | '\\') {
            literal.push('\\');
        }
        literal.push(c);
    }
    literal.push('"');
    literal
}

/// Comments are read for secrets like everything else, but never filled in.
fn comment(text: &str) -> String {
    format!("`{}`", plain(text))
}

const HEAD: &str = "\
# Written by `tollgate init`: docs/configuration.md has every key, `tollgate check` says what is wrong with it.
version: 1

# Where clients call.
listeners:
  - address: ${TOLLGATE_LISTEN:-127.0.0.1:8080}

# Where operators ask: /metrics, /livez, /readyz, /status. Never on a public address.
admin:
  address: ${TOLLGATE_ADMIN:-127.0.0.1:9090}
";

const REVOCATION: &str = "\
\x20 # FusionAuth tells what ends a token before its time, in events that it signs: docs/revocation.md.
\x20 revocation:
    webhooks:
      signature: {}
";

const UNKNOWN: &str = "
# Who is calling? `url` is where keys are fetched, `issuer` is what the tokens say; FusionAuth sets them separately.
# `tollgate init --fusionauth URL --force` asks FusionAuth for all of this.
identity:
  issuers:
    - name: fusionauth
      url: ${FUSIONAUTH_URL:-http://localhost:9011}
      # Tenants → your tenant → General → Issuer. Compared letter by letter.
      issuer: ${FUSIONAUTH_ISSUER:-acme.com}
      # Applications → your application → Id. A token for another application is refused.
      audiences:
        - ${FUSIONAUTH_CLIENT_ID:-e9fdb985-9173-4e01-9d73-ac2d60d1dc8e}
  # Headers for the services behind the gateway. What a client sends under these names never gets through.
  forward_claims:
    x-user-id: sub
";

const ROUTES: &str = "\
# The first route that matches wins. `auth` is written at each of them, so that what is open is seen to be open.
routes:
  - name: health
    match: { path: /healthz }
    auth: none
    respond: { status: 200, body: ok }
  - name: app
    match: { path: /** }
    auth: required
    upstream: app

# What shall happen? The folder rules/ was not empty, so that its files are yours to list: docs/rules.md.
# rules:
#   - file: rules/NAME.rhai
";

const ROUTES_WITH_RULES: &str = "\
# The first route that matches wins. `auth` is written at each of them, so that what is open is seen to be open.
routes:
  - name: health
    match: { path: /healthz }
    auth: none
    respond: { status: 200, body: ok }
  # Nothing passes here unless a rule says allow().
  - name: administration
    match: { path: /admin/** }
    auth: required
    default: deny
    upstream: app
  - name: app
    match: { path: /** }
    auth: required
    upstream: app

# What shall happen? One file is one rule; they run from top to bottom. `tollgate test` tries them.
rules:
  - file: rules/limit.rhai
    routes: [administration, app]
  - file: rules/administration.rhai
    routes: [administration]
";

const LIMIT_RULE: &str = "\
//! Calls per minute. Everybody has a limit of their own.

fn on_request(claims) {
    throttle(claims.sub, 600, \"1m\");
}
";

const ADMINISTRATION_RULE: &str = "\
//! The administration is for one role. The route has `default: deny`, so that a forgotten rule lets nobody in.

fn on_request(claims) {
    if !claims.has_role(@ROLE) {
        deny(403, \"role_required\");
    }
    allow();
}
";

const TEST_FILE: &str = "\
# Who may do what.
identities:
  ann:  { sub: u-1, roles: [] }
  root: { sub: u-2, roles: [@ROLE] }

tests:
  - name: everybody has a limit
    request: GET /orders
    as: ann
    expect:
      throttles: [{ key: u-1, limit: 600, per: 1m }]

  - name: the administration is closed
    request: GET /admin/users
    as: ann
    expect:
      denied: role_required

  - name: but not for those with the role
    request: GET /admin/users
    as: root
    expect:
      throttles: [{ key: u-2, limit: 600, per: 1m }]
";
