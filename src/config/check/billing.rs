use std::path::PathBuf;
use std::time::Duration;

use crate::config::environment::Surroundings;
use crate::config::field::Field;
use crate::config::section::{Section, not_built_yet};
use crate::config::word::Word;
use crate::model::settings::{Billing, Identity, Meter, OnFull};
use crate::model::{Name, Problem};

/// In a folder of its own: changes beside the configuration are looked at, and the ledger changes all the time.
const DEFAULT_LEDGER: &str = "data/ledger.db";

/// `billing:` with the claims that name the customer, which identity has to know.
pub(super) struct Draft<'a> {
    pub(super) settings: Billing,
    pub(super) account: Vec<String>,
    tenant_as_account: Option<Word<'a>>,
}

/// `billing:`
pub(super) fn lower<'a>(top: &Section<'a>, surroundings: &Surroundings<'_>) -> Draft<'a> {
    let settings = Billing { ledger: None, commit_every: Duration::from_millis(5), on_full: OnFull::Reject, meters: Vec::new() };
    let mut draft = Draft { settings, account: Vec::new(), tenant_as_account: None };
    let Some(field) = top.optional("billing") else { return draft };
    field.section(|section| {
        section.not_built_yet("export", "usage is read with `tollgate usage`");
        let settings = &mut draft.settings;
        settings.meters = section.optional("meters").map(Field::named).unwrap_or_default().into_iter().map(meter).collect();
        settings.ledger = Some(match section.optional("ledger").map(|field| ledger(field, surroundings)) {
            Some(path) => path.unwrap_or_default(),
            None => surroundings.resolve(DEFAULT_LEDGER),
        });
        let commit_every = section.optional("commit_every");
        let commit_every = commit_every.and_then(|field| field.duration(Duration::from_millis(1)..=Duration::from_secs(10)));
        settings.commit_every = commit_every.unwrap_or(settings.commit_every);
        let on_full = section.optional("on_full");
        let on_full = on_full.and_then(|field| field.one_of(&[("reject", OnFull::Reject), ("unbilled", OnFull::Unbilled)]));
        settings.on_full = on_full.unwrap_or(settings.on_full);
        let why = "the claims that name the customer, the first one present counts: for example [org, sub]";
        let account = if settings.meters.is_empty() { section.optional("account") } else { section.required("account", why) };
        if let Some(field) = account {
            let claims: Vec<_> = field.some_items(why).into_iter().filter_map(Field::word).collect();
            draft.tenant_as_account = claims.iter().copied().find(|word| word.text == "tid");
            draft.account = claims.iter().map(|word| word.text.to_owned()).collect();
        }
    });
    draft
}

impl Draft<'_> {
    /// `tid` is the FusionAuth tenant, and most installations have one for everybody.
    pub(super) fn warn_about_tenants(&self, identity: &Identity) {
        if identity.issuers.len() > 1 {
            return;
        }
        if let Some(word) = self.tenant_as_account {
            let message =
                "`tid` names the FusionAuth tenant, and there is one for everybody here: all usage gets onto one account";
            let problem = Problem::warning("config::tenant-as-account", message).label("the same for all");
            word.note(problem.hint("use a claim that names the customer, for example [org, sub]"));
        }
    }
}

/// The path of the SQLite file.
fn ledger(field: Field<'_>, surroundings: &Surroundings<'_>) -> Option<PathBuf> {
    if field.is_word_that(|text| text.starts_with("postgres:") || text.starts_with("postgresql:")) {
        field.note(not_built_yet("a ledger in PostgreSQL", "write sqlite:PATH"));
        return None;
    }
    let word = field.word()?;
    match word.text.strip_prefix("sqlite:") {
        Some(path) if !path.is_empty() && !path.starts_with("//") => Some(surroundings.resolve(path)),
        _ => word.unusable("a ledger", "sqlite: and a path, for example sqlite:/var/lib/tollgate/ledger.db"),
    }
}

fn meter(field: Field<'_>) -> Meter {
    const MOST: usize = 8;
    check_identifier(field.key_word());
    field.section(|section| {
        for key in ["label_subject", "max_subjects"] {
            section.not_built_yet(key, "usage by customer is in the ledger, not in metrics");
        }
        let help = section.optional("help").and_then(Field::word).map(|word| word.text.to_owned());
        let unit = section.optional("unit").and_then(Field::word);
        let mut dimensions: Vec<Name> = Vec::new();
        if let Some(field) = section.optional("dimensions") {
            for word in field.items().into_iter().filter_map(Field::word) {
                check_identifier(word);
                check_reserved(word);
                if dimensions.iter().any(|dimension| **dimension == *word.text) {
                    super::repeated(word, "dimension");
                }
                dimensions.push(word.text.into());
            }
            if dimensions.len() > MOST {
                let message = format!("a meter has at most {MOST} dimensions, and here are {}", dimensions.len());
                field.note_at_key(Problem::error("config::bad-value", message).label("too many"));
            }
        }
        dimensions.sort();
        Meter {
            name: field.key.into(),
            help: help.unwrap_or_else(|| field.key.to_owned()),
            unit: unit.map(|word| word.text.to_owned()),
            dimensions,
        }
    })
}

/// Meters and dimensions are names of metrics, labels and columns.
fn check_identifier(word: Word<'_>) {
    const LONGEST: usize = 64;
    let fits = word.text.starts_with(|c: char| c.is_ascii_lowercase())
        && word.text.len() <= LONGEST
        && word.text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if !fits {
        word.unusable::<()>("a name of a meter or dimension", "small letters, digits and `_`, beginning with a letter");
    }
}

/// Usage reports put dimensions beside these columns.
fn check_reserved(word: Word<'_>) {
    if ["account", "meter", "quantity", "unit"].contains(&word.text) {
        word.unusable::<()>("a name of a dimension", "every usage report has a column of this name already");
    }
}
