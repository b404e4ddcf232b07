//! What `tollgate token verify` and `tollgate token decode` print.

use std::process::Command;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;
use tollgate::demo::{APPLICATION_ID, MintRequest};

use crate::support::{Gateway, Setup, Upstream, mint};

fn token(gateway: &Gateway, arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_tollgate"))
        .arg("token")
        .args(arguments)
        .current_dir(gateway.path(""))
        .env("NO_COLOR", "1")
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// Without what differs from run to run: times, and ids in hexadecimal.
fn steady(text: &str) -> String {
    let mut lines = Vec::new();
    for line in text.lines() {
        let words = line.split(' ').map(|word| {
            let is_time = word.len() > 10 && word.contains('T') && word.trim_end_matches([',', ';']).ends_with('Z');
            let is_number = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit()) && word != "30";
            let is_kid = word.starts_with('"') && word.ends_with("\":") && word.len() > 20;
            match (is_time, is_number, is_kid) {
                (true, _, _) => "TIME",
                (_, true, _) => "N",
                (_, _, true) => "KID:",
                _ => word,
            }
        });
        lines.push(words.collect::<Vec<_>>().join(" "));
    }
    lines.join("\n")
}

#[test]
fn verify_explains_a_refusal_line_by_line() {
    let upstream = Upstream::named("main");
    let gateway = Setup::to(upstream.address()).identity("  claims: { plan: { type: string, one_of: [free, pro] } }\n").start();
    let verify = |token_text: &str| {
        let (code, said, _) = token(&gateway, &["verify", "-c", "config.yaml", token_text]);
        (code, steady(&said))
    };
    let good = mint(&MintRequest::of("acme", "pro"));
    let (code, said) = verify(&good);
    assert_eq!(code, 0, "{said}");
    assert!(said.starts_with("✓ accepted\n") && !said.contains('✗'), "{said}");
    let signature = good.rsplit('.').next().unwrap();
    assert!(!said.contains(signature));

    let bad = MintRequest::of("acme", "gold")
        .expired_for(Duration::from_secs(840))
        .claim("aud", "another")
        .claim("sub", "\u{1b}[2J\u{202e}");
    let (code, said) = verify(&mint(&bad));
    let expected = format!(
        "✗ refused: wrong_audience\n\
         \x20 ✓ kind             an access token\n\
         \x20 ✓ issuer           \"acme.com\"\n\
         \x20 ✓ tenant           \"d7d09513-a3f5-401c-9685-34ab6c552453\"\n\
         \x20 ✗ audience         \"another\"; the configuration has \"{APPLICATION_ID}\" for this issuer\n\
         \x20 ✗ expiry           `exp` TIME N min ago; clocks may differ by 30 s\n\
         \x20 ✓ start            no `nbf`, `iat` TIME N min ago\n\
         \x20 ✓ lifetime         N s\n\
         \x20 ✗ subject          \"\\u001b[2J?\"; `sub` is N to N bytes of text\n\
         \x20 ✗ declared claims  N claims; `plan` is not as `identity.claims` declares it\n\
         \x20 ✓ binding          to no key\n\
         \x20 ✗ signature        RS256 kid KID: not checked: the token is for none of the configured issuers"
    );
    assert_eq!((code, said.as_str()), (3, expected.as_str()));

    let (code, said) = verify("nonsense");
    assert_eq!((code, said.as_str()), (3, "✗ refused: malformed\n  ✗ form             not a token that could be read"));
}

#[test]
fn decode_shows_what_a_token_says_without_its_signature() {
    let upstream = Upstream::named("main");
    let gateway = Setup::to(upstream.address()).start();
    let encode = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let text = format!(
        "{}.{}.c2VjcmV0LXNpZ25hdHVyZQ",
        encode(json!({ "alg": "RS256" })),
        encode(json!({ "sub": "Zo\u{eb}\u{1b}[2J\u{202e}\u{1f600}", "n": 1 }))
    );
    let (code, said, talk) = token(&gateway, &["decode", &text]);
    let expected = "{\n\"header\": {\n  \"alg\": \"RS256\"\n},\n\"claims\": {\n  \"n\": 1,\n  \"sub\": \"Zo\\u00eb\\u001b[2J\\u202e\\ud83d\\ude00\"\n}\n}\n";
    assert_eq!((code, said.as_str()), (0, expected));
    assert!(talk.contains("nothing of this is verified"));
    let parsed: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(parsed["claims"]["sub"], "Zo\u{eb}\u{1b}[2J\u{202e}\u{1f600}");
    for (text, expected) in [("a.b.c.d.e", "encrypted"), ("opaque", "not a JWT"), ("!!.e30.x", "header cannot be read")] {
        let (code, said, talk) = token(&gateway, &["decode", text]);
        assert_eq!((code, said.as_str()), (1, ""), "{text}");
        assert!(talk.contains(expected), "{talk}");
    }
}
