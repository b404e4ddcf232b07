//! `tollgate init`: from an empty folder, or from what a FusionAuth says of itself, to a configuration that works.

mod api;
mod domain;
mod draft;
mod folder;
mod lambda;
mod setup;
mod survey;

use std::path::PathBuf;

use aws_lc_rs::rand;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Args;

use self::api::Api;
use self::domain::Application;
use self::draft::{Draft, Identity, Login};
use self::folder::Folder;
use self::setup::{Changes, Wanted};
use self::survey::{Finding, Inventory, Survey};
use super::{Failure, check, terminal};
use crate::model::settings::Secret;

const CONFIG: &str = "config.yaml";

/// Where the client secret is kept.
const SECRET_FILE: &str = "secrets/fusionauth-client-secret";

/// Where the key is that seals sessions.
const SESSION_KEY_FILE: &str = "secrets/session-key";

/// Where the gateway hears of events if nobody says otherwise.
const WEBHOOK: &str = "/.well-known/tollgate/fusionauth-events";

/// Write a configuration and two rules into a folder; with --fusionauth, from what FusionAuth says.
#[derive(Debug, Args)]
pub(super) struct Init {
    /// The folder; it is created
    #[arg(default_value = ".")]
    folder: PathBuf,
    /// FusionAuth's address, for example http://localhost:9011
    #[arg(long, value_name = "URL")]
    fusionauth: Option<String>,
    /// The file with FusionAuth's API key, `-` for the standard input [default: the variable FUSIONAUTH_API_KEY]
    #[arg(long, value_name = "FILE", requires = "fusionauth")]
    api_key_file: Option<PathBuf>,
    /// The tenant, by id or name; needed if there are several
    #[arg(long, value_name = "TENANT", requires = "fusionauth")]
    tenant: Option<String>,
    /// The application, by id or name; needed if there are several
    #[arg(long, value_name = "APPLICATION", requires = "fusionauth")]
    application: Option<String>,
    /// Where browsers reach the gateway, for example https://www.example.com: people can log in there
    #[arg(long, value_name = "URL", requires = "fusionauth")]
    public_url: Option<String>,
    /// The service behind the gateway
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:3000")]
    upstream: String,
    /// Create in FusionAuth what is missing: the application, an RS256 key, redirect URLs, the webhook
    #[arg(long, requires = "public_url")]
    setup: bool,
    /// Where FusionAuth sends its events [default: --public-url with /.well-known/tollgate/fusionauth-events]
    #[arg(long, value_name = "URL", requires = "setup")]
    webhook_url: Option<String>,
    /// A configuration that is there is renamed, and a new one is written
    #[arg(long)]
    force: bool,
}

impl Init {
    pub(super) fn execute(self) -> Result<(), Failure> {
        let folder = Folder::open(&self.folder, self.force)?;
        let Some(url) = self.fusionauth.as_deref() else {
            return write(
                &folder,
                &Draft { identity: Identity::Unknown, upstream: &self.upstream, with_rules: folder.may_have_rules() },
            );
        };
        let url = address("--fusionauth", url)?;
        let public = self.public_url.as_deref().map(|url| address("--public-url", url)).transpose()?;
        let webhook = self.webhook_url.as_deref().map(|url| address("--webhook-url", url)).transpose()?;
        let api = Api::new(&url, self.api_key()?)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::new(error.to_string()))?;
        let mut changes = Changes::new();
        let asked = runtime.block_on(self.ask(&api, public.as_deref(), webhook.as_deref(), &mut changes));
        // Also when a later step failed: what was done is done.
        for change in &changes {
            terminal::print(&format!("+ {change}\n"));
        }
        let survey = asked?;
        report(&survey);

        let secret = survey.application.oauth_configuration.client_secret.as_ref();
        let is_ready = match (secret, &public) {
            (Some(secret), Some(_)) => keep_secrets(&folder, secret)?,
            _ => false,
        };
        let callback = format!("{}/callback", public.as_deref().unwrap_or("https://www.example.com"));
        let login = Login {
            callback: &callback,
            secret_file: SECRET_FILE,
            session_key_file: SESSION_KEY_FILE,
            is_ready,
            hears: self.setup,
        };
        let identity = Identity::Surveyed { url: &url, survey: &survey, login: Some(login) };
        write(&folder, &Draft { identity, upstream: &self.upstream, with_rules: folder.may_have_rules() })
    }

    /// Never from a flag: every process of the machine can read those.
    fn api_key(&self) -> Result<Secret, Failure> {
        let text = match &self.api_key_file {
            Some(file) if file.as_os_str() == "-" => {
                std::io::read_to_string(std::io::stdin()).map_err(|error| Failure::new(format!("standard input: {error}")))?
            }
            Some(file) => std::fs::read_to_string(file).map_err(|error| Failure::new(format!("{}: {error}", file.display())))?,
            None => std::env::var("FUSIONAUTH_API_KEY").map_err(|_| {
                Failure::with_code(
                    2,
                    "FusionAuth's API key is missing: set FUSIONAUTH_API_KEY, or name its file with --api-key-file",
                )
            })?,
        };
        let key = text.trim();
        if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Failure::with_code(2, "that is no API key: one line of letters, digits and signs"));
        }
        Ok(Secret::new(key))
    }

    async fn ask(
        &self,
        api: &Api,
        public: Option<&str>,
        webhook: Option<&str>,
        changes: &mut Changes,
    ) -> Result<Survey, Failure> {
        let mut inventory = Inventory {
            tenants: api.list("/api/tenant", "tenants", None).await?,
            keys: api.list("/api/key", "keys", None).await?,
            lambdas: api.list("/api/lambda?type=JWTPopulate", "lambdas", None).await?,
        };
        let tenant =
            survey::choose("tenant", "--tenant", self.tenant.as_deref(), &inventory.tenants, |one| (&one.id, &one.name))?.clone();
        let mut applications: Vec<Application> = api.list("/api/application", "applications", Some(&tenant.id)).await?;
        applications.retain(|application| !application.is_of_fusionauth());

        let Some(public) = public.filter(|_| self.setup) else {
            let application = self.choose(&applications)?;
            return Ok(survey::examine(&inventory, &tenant, application));
        };
        let (redirects, logout) = ([format!("{public}/callback"), format!("{public}/")], format!("{public}/logout/frontchannel"));
        let webhook = webhook.map_or_else(|| format!("{public}{WEBHOOK}"), str::to_owned);
        let wanted =
            Wanted { application: self.application.as_deref().unwrap_or("Tollgate"), redirects: &redirects, logout_url: &logout };
        let is_known = |name: &str| applications.iter().any(|one| one.id.eq_ignore_ascii_case(name) || one.name == name);
        let is_missing = match &self.application {
            Some(name) => !is_known(name),
            None => applications.is_empty(),
        };
        let application = if is_missing {
            setup::create_application(api, &tenant, &wanted, changes).await?
        } else {
            let application = self.choose(&applications)?.clone();
            setup::complete_application(api, &tenant, application, &inventory.keys, &wanted, changes).await?
        };
        setup::webhook(api, &tenant, &webhook, changes).await?;
        inventory.keys = api.list("/api/key", "keys", None).await?;
        Ok(survey::examine(&inventory, &tenant, &application))
    }

    fn choose<'a>(&self, applications: &'a [Application]) -> Result<&'a Application, Failure> {
        survey::choose("application", "--application", self.application.as_deref(), applications, |one| (&one.id, &one.name))
    }
}

/// What people need to log in: FusionAuth's secret, and a key of this gateway's own. True once both are there.
fn keep_secrets(folder: &Folder, secret: &Secret) -> Result<bool, Failure> {
    let mut kept = Vec::new();
    if folder.keep_secret(SECRET_FILE, secret.expose())? {
        kept.push(SECRET_FILE);
    }
    if !folder.path(SESSION_KEY_FILE).exists() {
        let mut key = [0; 48];
        rand::fill(&mut key).map_err(|_| Failure::new("this system has no random bytes"))?;
        folder.write(SESSION_KEY_FILE, &STANDARD.encode(key), true)?;
        kept.push(SESSION_KEY_FILE);
    }
    for name in kept {
        terminal::print(&format!("+ {name} (only its owner may read it; keep it out of version control)\n"));
    }
    Ok(true)
}

/// A URL without its last slash.
fn address(flag: &str, text: &str) -> Result<String, Failure> {
    let wrong = || Failure::with_code(2, format!("{flag}: `{text}` is no address: write for example https://auth.example.com"));
    let uri: http::Uri = text.parse().map_err(|_| wrong())?;
    let has_place = uri.authority().is_some_and(|authority| !authority.host().is_empty() && !authority.as_str().contains('@'));
    let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
    if !has_place || !is_http || uri.query().is_some() || text.contains('#') {
        return Err(wrong());
    }
    Ok(text.trim_end_matches('/').to_owned())
}

fn report(survey: &Survey) {
    let mut text = format!(
        "✓ tenant `{}` ({})\n✓ application `{}` ({}), {}\n",
        survey::plain(&survey.tenant.name),
        survey.tenant.id,
        survey::plain(&survey.application.name),
        survey.application.id,
        survey::count(survey.application.roles.len(), "role"),
    );
    for finding in &survey.findings {
        match finding {
            Finding::Fine(said) => text.push_str(&format!("✓ {said}\n")),
            Finding::Wrong(said) => text.push_str(&format!("! {said}\n")),
        }
    }
    terminal::print(&text);
}

/// Writes everything, and has it checked as `tollgate check` would.
fn write(folder: &Folder, draft: &Draft<'_>) -> Result<(), Failure> {
    if !folder.has_rules {
        for (name, text) in draft.rules() {
            folder.write(name, &text, false)?;
            terminal::print(&format!("+ {name}\n"));
        }
    }
    if let Some(aside) = folder.set_aside(CONFIG)? {
        terminal::print(&format!("+ {} (what was {CONFIG})\n", aside.display()));
    }
    folder.write(CONFIG, &draft.config(), false)?;
    terminal::print(&format!("+ {CONFIG}\n"));
    check::report(&folder.path(CONFIG))
}
