//! Golden files: every `tests/config/NAME.yaml` with the report in `NAME.expected`. `UPDATE_EXPECT=1` writes the reports anew.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::env::VarError;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use tollgate::config::{Environment, Loaded, ReadFault, Style, load, parse, render, render_json};
use tollgate::model::settings::{Auth, LogOutput, Mode, OnError, RuleLimits, Secret, TokenFrom};
use tollgate::model::{Problem, Severity, Source};

/// What a report must never show.
const SECRETS: [&str; 5] = ["from-the-environment", "from-a-file", "written-in-plain-text", "hunter2", "swordfish"];

#[derive(Default)]
struct Fixture {
    variables: BTreeMap<&'static str, &'static str>,
    files: BTreeMap<&'static str, String>,
}

impl Fixture {
    fn usual() -> Self {
        let variables = BTreeMap::from([
            ("TENANT", "3f2a"),
            ("EMPTY", ""),
            ("WORD", "from-the-environment"),
            ("HMAC", "from-the-environment-and-long-enough-for-an-hmac"),
            ("PORT", "9101"),
        ]);
        let files = [
            ("rules/allow.rhai", "fn on_request(request) {}\n"),
            ("rules/meter.rhai", "fn on_complete(response) {}\n"),
            ("rules/throttle.rhai", "fn on_request(claims) {}\n"),
            ("rules/lib/plans.rhai", "fn rank(plan) { 1 }\n"),
            ("lonely/one.rhai", ""),
            ("lonely/two.rhai", ""),
            ("lonely/lib/plans.rhai", ""),
            ("other/allow.rhai", ""),
            ("/run/secrets/hmac", "from-a-file-and-just-long-enough-for-an-hmac\r\n"),
            ("/run/secrets/open", "from-a-file-that-everybody-can-read-on-this-machine\n"),
            ("/run/secrets/short", "from-a-file\n"),
            ("tls/ca.pem", include_str!("config/tls/ca.pem")),
            ("tls/key.pem", include_str!("config/tls/key.pem")),
            ("tls/good.pem", include_str!("config/tls/good.pem")),
            ("tls/good.key", include_str!("config/tls/good.key")),
            ("tls/locked.key", include_str!("config/tls/locked.key")),
            ("tls/soon.pem", include_str!("config/tls/soon.pem")),
            ("tls/soon.key", include_str!("config/tls/soon.key")),
            ("tls/expired.pem", include_str!("config/tls/expired.pem")),
            ("tls/expired.key", include_str!("config/tls/expired.key")),
            ("tls/nameless.pem", include_str!("config/tls/nameless.pem")),
            ("tls/nameless.key", include_str!("config/tls/nameless.key")),
            ("tls/unordered.pem", include_str!("config/tls/unordered.pem")),
            ("tls/weak.pem", include_str!("config/tls/weak.pem")),
            ("tls/weak.key", include_str!("config/tls/weak.key")),
        ];
        Self { variables, files: files.map(|(path, text)| (path, text.to_owned())).into() }
    }
}

impl Environment for Fixture {
    fn variable(&self, name: &str) -> Result<String, VarError> {
        if name == "NOT_TEXT" {
            return Err(VarError::NotUnicode("?".into()));
        }
        self.variables.get(name).map(|value| (*value).to_owned()).ok_or(VarError::NotPresent)
    }

    fn text(&self, path: &Path, limit: usize) -> Result<String, ReadFault> {
        let text = self.files.get(path.to_str().unwrap()).ok_or(ReadFault::Missing)?;
        if text.len() > limit { Err(ReadFault::TooLarge { limit }) } else { Ok(text.clone()) }
    }

    fn names(&self, folder: &Path) -> Vec<String> {
        let inside = self.files.keys().filter(|file| Path::new(file).parent() == Some(folder));
        inside.map(|file| Path::new(file).file_name().unwrap().to_str().unwrap().to_owned()).collect()
    }

    fn is_open_to_everybody(&self, path: &Path) -> bool {
        path.ends_with("open")
    }

    /// The middle of December 2026: one of the certificates has ended, another one is about to.
    fn now(&self) -> Duration {
        Duration::from_secs(1_797_300_000)
    }
}

fn parsed(text: &str) -> Result<Loaded, Vec<Problem>> {
    parse(&Arc::new(Source { name: "config.yaml".into(), text: text.into() }), &Fixture::usual())
}

fn report(text: &str) -> String {
    match parsed(text) {
        Ok(loaded) if loaded.warnings.is_empty() => "fine\n".into(),
        Ok(loaded) => format!("fine, with warnings\n\n{}", render(&loaded.warnings, Style::default())),
        Err(problems) => render(&problems, Style::default()),
    }
}

fn golden() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    files
}

#[test]
fn every_file_gives_the_expected_report() {
    let update = std::env::var_os("UPDATE_EXPECT").is_some();
    let mut different = Vec::new();
    for file in golden() {
        let actual = report(&fs::read_to_string(&file).unwrap());
        let expected = file.with_extension("expected");
        if update {
            fs::write(&expected, &actual).unwrap();
        } else if fs::read_to_string(&expected).unwrap_or_default() != actual {
            different.push(format!("{}\n{actual}", file.display()));
        }
    }
    assert!(different.is_empty(), "UPDATE_EXPECT=1 accepts these reports:\n{}", different.join("\n"));
    assert!(golden().len() > 30);
}

#[test]
fn no_report_shows_a_secret() {
    for file in golden() {
        let text = fs::read_to_string(&file).unwrap();
        for secret in SECRETS {
            assert!(!report(&text).contains(secret), "{secret} in the report on {}", file.display());
        }
        let found = match parsed(&text) {
            Ok(loaded) => {
                assert!(!format!("{loaded:?}").contains("long-enough-for-an-hmac"), "Debug of {}", file.display());
                loaded.warnings
            }
            Err(problems) => problems,
        };
        for secret in SECRETS {
            assert!(!render_json(&found).contains(secret), "{secret} in the JSON on {}", file.display());
        }
    }
}

#[test]
fn every_problem_has_a_place_in_the_text() {
    for file in golden() {
        let found = parsed(&fs::read_to_string(&file).unwrap()).map_or_else(|problems| problems, |loaded| loaded.warnings);
        for problem in found {
            let (line, column) = problem.line_and_column().expect("a place");
            let report = render(std::slice::from_ref(&problem), Style::default());
            assert!(report.contains(&format!("config.yaml:{line}:{column}")), "{report}");
        }
    }
}

#[test]
fn every_code_is_documented() {
    let docs = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md")).unwrap();
    for file in golden() {
        let found = parsed(&fs::read_to_string(&file).unwrap()).map_or_else(|problems| problems, |loaded| loaded.warnings);
        for problem in found {
            assert!(docs.contains(&format!("`{}`", problem.code)), "{} is not in docs/configuration.md", problem.code);
        }
    }
}

#[test]
fn columns_count_characters() {
    let problems = parsed(
        "version: 1\nlisteners: [{ address: 127.0.0.1:1 }]\nroutes: [{ name: a, auth: none, respond: {}, café: 1, zoo: 2 }]\n",
    );
    let problems = problems.unwrap_err();
    let places: Vec<_> = problems.iter().map(|problem| problem.line_and_column().unwrap()).collect();
    assert_eq!(places, [(3, 46), (3, 55)]);
    assert!(render(&problems, Style::default()).contains("config.yaml:3:55"));
}

#[test]
fn json_names_every_member() {
    let problems = parsed("version: 1\nlistners: 2\n").unwrap_err();
    let list: serde_json::Value = serde_json::from_str(&render_json(&problems)).unwrap();
    let unknown = list.as_array().unwrap().iter().find(|problem| problem["code"] == "config::unknown-key").unwrap();
    let expected = serde_json::json!({
        "code": "config::unknown-key", "severity": "error", "message": "there is no key `listners` in the configuration",
        "file": "config.yaml", "line": 2, "column": 1, "label": "unknown key", "hint": "did you mean `listeners`?",
    });
    assert_eq!(*unknown, expected);
}

#[test]
fn texts_that_are_not_a_configuration_have_a_place_too() {
    let bomb = (0..60).fold("a0: &a0 [x, x, x, x]\n".to_owned(), |text, n| {
        let list = [format!("*a{n}"), format!("*a{n}"), format!("*a{n}")].join(", ");
        format!("{text}a{}: &a{} [{list}]\n", n + 1, n + 1)
    });
    let cases = [
        ("\u{feff}version: 1\n", "config::syntax", (1, 1)),
        ("version: 1\nlisteners:\n\t- address: x\n", "config::syntax", (3, 2)),
        ("version: \0\n", "config::syntax", (1, 10)),
        ("version: 1\n---\nversion: 1\n", "config::syntax", (3, 1)),
        ("version: [1\n", "config::syntax", (1, 10)),
        ("version: 1\n? \"a\n  b\"\n: 2\n", "config::syntax", (2, 3)),
        ("version: &v [*v]\n", "config::syntax", (1, 14)),
        (&format!("{}{}", "[".repeat(20), "]".repeat(20)), "config::too-large", (1, 17)),
        (&"#".repeat(2 << 20), "config::too-large", (1, 1)),
    ];
    for (text, code, place) in cases {
        let problems = parsed(text).unwrap_err();
        let found: Vec<_> = problems.iter().map(|problem| (problem.code, problem.line_and_column().unwrap())).collect();
        assert_eq!(found, [(code, place)], "{:?}", text.chars().take(40).collect::<String>());
        assert!(!render(&problems, Style::default()).is_empty());
    }
    let problems = parsed(&bomb).unwrap_err();
    assert_eq!(problems[0].code, "config::too-large", "{problems:?}");
}

#[test]
fn the_smallest_useful_file_is_enough() {
    let text = "\
version: 1
listeners: [{ address: 127.0.0.1:8080 }]
identity:
  issuers: [{ url: http://localhost:9011, issuer: acme.com, audiences: [85a03867-dccf-4882-adde-1a79aeec50df] }]
upstreams:
  app: { servers: [http://127.0.0.1:3000] }
routes:
  - { name: app, match: { path: /** }, auth: required, upstream: app }
rules:
  - file: rules/allow.rhai
";
    let mut fixture = Fixture::usual();
    fixture.files.retain(|path, _| path.contains("allow"));
    let loaded = parse(&Arc::new(Source { name: "conf/../config.yaml".into(), text: text.into() }), &fixture);
    // The rule is looked for beside the configuration.
    assert_eq!(loaded.unwrap_err()[0].code, "config::unreadable-file");
    let loaded = parse(&Arc::new(Source { name: "config.yaml".into(), text: text.into() }), &fixture).unwrap();
    assert_eq!(loaded.warnings.len(), 0);
    let config = loaded.config;
    assert_eq!(config.admin.to_string(), "127.0.0.1:9090");
    assert_eq!(config.identity.issuers[0].name.as_ref(), "acme.com");
    assert_eq!(config.rules.entries[0].name.as_ref(), "allow");
    assert_eq!(config.billing.ledger, None);
    assert_eq!(loaded.watched, ["config.yaml", "rules", "rules/allow.rhai", "rules/lib"].map(PathBuf::from));
}

#[test]
fn every_setting_arrives() {
    let config = parsed(include_str!("config/fine.yaml")).unwrap().config;
    let (acme, other) = (&config.identity.issuers[0], &config.identity.issuers[1]);
    assert_eq!((acme.url.as_str(), acme.tenant.as_deref()), ("https://auth.example.com", Some("3f2a")));
    assert_eq!(acme.audiences, ["3f2a", "app"]);
    let secrets: Vec<_> = acme.hmac_secrets.iter().map(Secret::expose).collect();
    assert_eq!(secrets, ["from-the-environment-and-long-enough-for-an-hmac", "from-a-file-and-just-long-enough-for-an-hmac"]);
    assert_eq!(other.name.as_ref(), "acme.com");
    assert_eq!(config.identity.token_from[2], TokenFrom::Cookie("app.at".into()));
    assert!(config.identity.claims["plan"].required);
    assert_eq!(config.identity.forward_claims[1].1, "user.department");
    let servers: Vec<_> = config.upstreams[0].servers.iter().map(|server| (server.host.as_str(), server.port)).collect();
    assert_eq!(servers, [("127.0.0.1", 9101), ("::1", 9102), ("app.internal", 80)]);
    assert_eq!(config.upstreams[0].timeouts.idle, Duration::from_secs(90));
    let auth: Vec<_> = config.routes.iter().map(|route| route.auth).collect();
    assert_eq!(auth, [Auth::None, Auth::OptionalLenient, Auth::Required]);
    assert_eq!(config.routes[2].path, "/**");
    let rules: Vec<_> = config.rules.entries.iter().map(|rule| (rule.name.as_ref(), rule.mode, rule.on_error)).collect();
    let expected = [
        ("throttle", Mode::Shadow, OnError::Skip),
        ("allow", Mode::Enforce, OnError::Deny),
        ("meter", Mode::Disabled, OnError::Deny),
    ];
    assert_eq!(rules, expected);
    assert_eq!(config.rules.limits, RuleLimits { operations: 10_000, time: Duration::from_millis(2), string_bytes: 8 << 10 });
    assert_eq!(config.billing.meters[0].dimensions.iter().map(|name| &**name).collect::<Vec<_>>(), ["endpoint", "plan"]);
    assert_eq!(config.access_log.output, LogOutput::File("/var/log/tollgate.log".into()));
    assert_eq!((config.threads, config.grace), (4, Duration::from_secs(60)));
}

#[test]
fn digests_follow_the_texts() {
    let text = "version: 1\nlisteners: [{ address: 127.0.0.1:1 }]\nroutes: [{ name: a, auth: none, respond: {} }]\n";
    let with = |rules: &str, file: &str| {
        let mut fixture = Fixture::default();
        fixture.files.insert("rules/a.rhai", file.to_owned());
        let source = Source { name: "config.yaml".into(), text: format!("{text}{rules}") };
        let config = parse(&Arc::new(source), &fixture).unwrap().config;
        (config.config_sha256, config.rules_sha256)
    };
    let (none, one, other) =
        (with("", ""), with("rules: [{ file: rules/a.rhai }]", "1"), with("rules: [{ file: rules/a.rhai }]", "2"));
    assert_eq!(one.0, other.0);
    assert_ne!(one.1, other.1);
    assert_ne!(none.0, one.0);
    assert_eq!(one.0.len(), 64);
}

#[test]
fn the_shipped_configuration_is_fine() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config.yaml");
    let source = Source { name: "config.yaml".into(), text: fs::read_to_string(path).unwrap() };
    let mut fixture = Fixture::default();
    for rule in ["plan-routing", "throttling", "admin-only", "reports-need-a-plan", "metering"] {
        fixture.files.insert(Box::leak(format!("rules/{rule}.rhai").into_boxed_str()), String::new());
    }
    let loaded = parse(&Arc::new(source), &fixture).unwrap_or_else(|problems| panic!("{}", render(&problems, Style::default())));
    assert_eq!(render(&loaded.warnings, Style::default()), "");
    let config = loaded.config;
    assert_eq!(config.identity.issuers[0].tenant, None);
    assert_eq!(config.identity.account, ["org", "sub"]);
    assert_eq!(config.routes.len(), 4);
    assert_eq!(config.rules.entries.len(), 5);
}

#[test]
fn a_file_on_disk_is_loaded_with_its_rules() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("rules/lib")).unwrap();
    fs::write(folder.path().join("rules/a.rhai"), "fn on_request() {}").unwrap();
    fs::write(folder.path().join("rules/lib/tools.rhai"), "").unwrap();
    fs::write(folder.path().join("rules/.a.rhai.swp"), "").unwrap();
    let config = folder.path().join("config.yaml");
    let text = "version: 1\nlisteners: [{ address: 127.0.0.1:1 }]\nroutes: [{ name: a, auth: none, respond: {} }]\n\
                rules: [{ file: rules/a.rhai }]\nbilling: { ledger: sqlite:l.db }\naccess_log: { output: file:log }\n";
    fs::write(&config, text).unwrap();
    let loaded = load(&config).unwrap();
    assert_eq!(loaded.warnings.len(), 0);
    assert_eq!(loaded.config.billing.ledger, Some(folder.path().join("l.db")));
    assert_eq!(loaded.config.rules.library[0].0.as_ref(), "tools");
    assert!(loaded.watched.contains(&folder.path().join("rules/lib")));

    let missing = load(&folder.path().join("none.yaml")).unwrap_err();
    assert_eq!((missing[0].code, missing[0].line_and_column()), ("config::unreadable", Some((1, 1))));
    fs::write(&config, [0xff, 0xfe]).unwrap();
    assert_eq!(load(&config).unwrap_err()[0].code, "config::not-utf8");
}

/// Pieces of configurations in any order: near to what people write, far from what was thought of.
fn scraps() -> impl Strategy<Value = String> {
    const WORDS: &[&str] = &[
        "version",
        "listeners",
        "identity",
        "issuers",
        "routes",
        "rules",
        "billing",
        "meters",
        "hmac_secrets",
        "match",
        "path",
        ": ",
        ":",
        "\n",
        "\n  ",
        "\n    ",
        "- ",
        "[",
        "]",
        "{",
        "}",
        ", ",
        "'",
        "\"",
        "${",
        "}",
        "${WORD}",
        "${X:-",
        "${file:",
        "1",
        "&a ",
        "*a",
        "<<: ",
        "!!str ",
        "| ",
        ">",
        "#",
        "/**",
        "é",
        "\t",
        "\r\n",
        "\u{feff}",
        "\u{85}",
        "http://u:p@h",
        "sqlite:",
        "5s",
        "~",
    ];
    proptest::collection::vec(proptest::sample::select(WORDS), 0..60).prop_map(|words| words.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_answered_without_a_panic(text in any::<String>(), scraps in scraps()) {
        for text in [text, scraps] {
            let found = parsed(&text).map_or_else(|problems| problems, |loaded| loaded.warnings);
            prop_assert!(found.iter().all(|problem| problem.line_and_column().is_some()));
            let report = render(&found, Style::default());
            prop_assert_eq!(report.is_empty(), found.is_empty());
            render_json(&found);
        }
    }

    #[test]
    fn no_surroundings_bring_a_secret_into_the_open(before in scraps(), after in scraps(), comment in "#?") {
        let text = format!("{before}\n{comment}  hmac_secrets:\n{comment}    - written-in-plain-text\n{after}");
        let found = parsed(&text).map_or_else(|problems| problems, |loaded| loaded.warnings);
        let report = render(&found, Style::default()) + render_json(&found).as_str();
        prop_assert!(!report.contains("written-in-plain-text"), "{}", report);
    }

    #[test]
    fn a_changed_configuration_is_refused_or_whole(at in 0_usize..2_500, length in 0_usize..12, with in "[ -~]{0,3}") {
        let mut text = include_str!("config/fine.yaml").to_owned();
        let at = at.min(text.len());
        text.replace_range(at..(at + length).min(text.len()), &with);
        match parsed(&text) {
            Err(problems) => prop_assert!(problems.iter().any(|problem| problem.severity == Severity::Error)),
            Ok(loaded) => {
                // No placeholder of something that could not be read.
                let config = loaded.config;
                prop_assert!(!config.listeners.is_empty() && !config.routes.is_empty());
                prop_assert!(config.upstreams.iter().all(|upstream| !upstream.servers.is_empty()));
                prop_assert!(config.routes.iter().all(|route| !route.name.is_empty()));
                for issuer in &config.identity.issuers {
                    prop_assert!(![&issuer.url, &issuer.issuer, &issuer.name.to_string()].iter().any(|text| text.is_empty()));
                    prop_assert!(!issuer.audiences.is_empty());
                }
                prop_assert!(config.billing.ledger.as_ref().is_none_or(|path| !path.as_os_str().is_empty()));
            }
        }
    }
}
