//! What strangers and operators can hand over as text, fuzzed: `cargo test` tries some thousands of inputs, `cargo bolero test NAME`
//! (cargo-bolero) looks for more by coverage, for as long as it is let.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, unreachable_pub, missing_docs)]

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bolero::check;
use http::{HeaderMap, HeaderValue, header};
use tollgate::config::{Environment, ReadFault, Style, parse, render, render_json};
use tollgate::gateway::clock;
use tollgate::identity::{Identifier, KeyRings};
use tollgate::model::settings::{Auth, Config, Identity, Mode, OnError, Rule, RuleLimits, Rules};
use tollgate::model::{Absence, Caller, CanonicalPath, Facts, RequestId, Source};
use tollgate::rules::{RuleBook, Vocabulary};

/// How many inputs, or how long, when no fuzzer drives.
const INPUTS: usize = 5_000;

#[test]
fn path() {
    check!().with_iterations(INPUTS * 20).for_each(|input: &[u8]| {
        let Ok(text) = std::str::from_utf8(input) else { return };
        let Ok(path) = CanonicalPath::parse(text) else { return };
        let text = path.as_str();
        assert_eq!(CanonicalPath::parse(text).unwrap().as_str(), text, "the canonical spelling is canonical");
        assert!(text.starts_with('/') && text.is_ascii());
        let has_segment = |wanted: &str| text.split('/').any(|segment| segment == wanted);
        assert!(!has_segment("..") && !has_segment(".") && !text.contains("//") && !text.contains('\\'));
    });
}

/// One issuer whose keys never come, and an HMAC secret, so that signatures are really checked.
fn identifier() -> &'static (Identifier, Identity) {
    static IDENTIFIER: OnceLock<(Identifier, Identity)> = OnceLock::new();
    IDENTIFIER.get_or_init(|| {
        let text = "version: 1\nlisteners: [{ address: 127.0.0.1:1 }]\nidentity:\n  issuers:\n    - url: http://127.0.0.1:9\n      issuer: acme.com\n      audiences: [app]\n      \
                    hmac_secrets: [\"${SECRET}\"]\n  token_from: [\"header:authorization\", \"cookie:app.at\"]\nroutes: [{ name: a, auth: none, respond: {} }]\n";
        let identity = read(text).unwrap().identity;
        let keys = KeyRings::new(clock::now);
        keys.follow(&identity.issuers);
        (Identifier::new(&identity, &keys), identity)
    })
}

/// Nobody gets in with bytes that were not signed.
fn refused(headers: HeaderMap) {
    let now = clock::now();
    let facts = Facts { headers, ..Facts::unknown(RequestId::new(now, 1), now) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    assert!(runtime.block_on(identifier().0.identify(&facts, Auth::Required)).is_err());
}

#[test]
fn token() {
    check!().with_iterations(INPUTS).for_each(|input: &[u8]| {
        let mut field = b"Bearer ".to_vec();
        field.extend_from_slice(input);
        if let Ok(value) = HeaderValue::from_bytes(&field) {
            refused(HeaderMap::from_iter([(header::AUTHORIZATION, value)]));
        }
    });
}

/// A token whose three parts are as they should be, but for what the fuzzer puts into them.
#[test]
fn token_parts() {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
    check!().with_iterations(INPUTS).with_type::<(String, String, Vec<u8>)>().for_each(|(head, claims, signature)| {
        let head = format!("{{\"alg\":\"HS256\",\"typ\":\"JWT\",{head}");
        let claims = format!("{{\"iss\":\"acme.com\",\"aud\":\"app\",\"exp\":4102444800,{claims}");
        let token = [head.as_bytes(), claims.as_bytes(), signature].map(|part| BASE64URL.encode(part)).join(".");
        let value = HeaderValue::from_str(&format!("Bearer {token}")).unwrap();
        refused(HeaderMap::from_iter([(header::AUTHORIZATION, value)]));
    });
}

#[test]
fn cookie() {
    check!().with_iterations(INPUTS).for_each(|input: &[u8]| {
        if let Ok(value) = HeaderValue::from_bytes(input) {
            refused(HeaderMap::from_iter([(header::COOKIE, value.clone()), (header::COOKIE, value)]));
        }
    });
}

struct Nowhere;

impl Environment for Nowhere {
    fn variable(&self, name: &str) -> Result<String, std::env::VarError> {
        if name == "SECRET" { Ok("a secret of at least thirty-two bytes".into()) } else { Err(std::env::VarError::NotPresent) }
    }

    fn text(&self, _: &std::path::Path, _: usize) -> Result<String, ReadFault> {
        Ok(String::new())
    }

    fn names(&self, _: &std::path::Path) -> Vec<String> {
        Vec::new()
    }

    fn is_open_to_everybody(&self, _: &std::path::Path) -> bool {
        false
    }
}

fn read(text: &str) -> Result<Config, Vec<tollgate::model::Problem>> {
    let source = Arc::new(Source { name: "config.yaml".into(), text: text.into() });
    parse(&source, &Nowhere).map(|loaded| loaded.config)
}

#[test]
fn config() {
    check!().with_iterations(INPUTS).for_each(|input: &[u8]| {
        let Ok(text) = std::str::from_utf8(input) else { return };
        if let Err(problems) = read(text) {
            assert!(!problems.is_empty() && !render(&problems, Style::default()).is_empty());
            render_json(&problems);
        }
    });
}

/// A file whose form is right, with the fuzzer's words in it.
#[test]
fn config_values() {
    check!().with_iterations(INPUTS).with_type::<(String, String, String)>().for_each(|(address, path, server)| {
        let text = format!(
            "version: 1\nlisteners: [{{ address: {address:?} }}]\nupstreams: {{ a: {{ servers: [{server:?}] }} }}\n\
             routes: [{{ name: a, auth: none, match: {{ path: {path:?} }}, upstream: a }}]\n"
        );
        if let Ok(config) = read(&text) {
            assert!(config.listeners.len() == 1 && config.upstreams[0].servers.len() == 1);
        }
    });
}

#[test]
fn rule() {
    let limits = RuleLimits { operations: 5_000, time: Duration::from_millis(5), string_bytes: 4_096 };
    let vocabulary = Vocabulary {
        upstreams: vec!["a".into()],
        meters: Vec::new(),
        claims: Default::default(),
        routes: vec!["a".into()],
        read_bodies: Default::default(),
        login: true,
    };
    let now = clock::now();
    check!().with_iterations(INPUTS).for_each(|input: &[u8]| {
        let Ok(text) = std::str::from_utf8(input) else { return };
        for text in [text.to_owned(), format!("fn on_request(request, claims) {{ {text} }}")] {
            let source = Arc::new(Source { name: "rules/a.rhai".into(), text });
            let entry = Rule { name: "a".into(), source, routes: Vec::new(), mode: Mode::Enforce, on_error: OnError::Deny };
            let rules = Rules { entries: vec![entry], library: Vec::new(), limits };
            let (book, problems) = RuleBook::compile(&rules, &vocabulary, clock::steady);
            match book {
                Some(book) => {
                    let facts = Arc::new(Facts::unknown(RequestId::new(now, 1), now));
                    drop(book.decide(&book.select("a"), &facts, &"a".into(), &Caller::Anonymous(Absence::NoToken)));
                }
                None => assert!(!problems.is_empty()),
            }
        }
    });
}
