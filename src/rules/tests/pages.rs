use super::*;
use crate::rules::objects::FIELDS;
use crate::rules::verbs::{NOT_BUILT, VERBS};

const REFERENCE: &str = include_str!("../../../docs/rules.md");
const ONE_PAGE: &str = include_str!("../../../rules/README.md");

/// The fenced blocks of a page.
fn examples(page: &str) -> Vec<&str> {
    page.split("```rhai\n").skip(1).filter_map(|rest| rest.split("```").next()).collect()
}

#[test]
fn every_example_compiles_and_runs() {
    assert!(examples(REFERENCE).len() >= 10 && examples(ONE_PAGE).len() >= 2);
    for text in examples(REFERENCE).into_iter().chain(examples(ONE_PAGE)) {
        let mut files = Files::new().rule("example", text);
        for claim in ["status", "org_details"] {
            let declared = ClaimType { kind: ClaimKind::Any, one_of: Vec::new(), required: false };
            files.vocabulary.claims.insert(claim.to_owned(), declared);
        }
        assert_eq!(files.problems().iter().map(line_of).collect::<Vec<_>>(), Vec::<String>::new(), "{text}");
        for claims in [ann(), json!({ "sub": "u" }), Value::Null] {
            for hook in Hook::ALL {
                for (method, path) in [("GET", "/v0/x"), ("POST", "/v1/reports/7")] {
                    let decision = files.run(hook, &Request::by(&claims).to(method, path).answered(200, 10));
                    assert!(decision.failed.is_none(), "{text}\n{claims}: {:?}", decision.failed);
                }
            }
        }
    }
}

/// What exists is on both pages, and what is on the pages exists.
#[test]
fn the_pages_name_every_verb_and_property() {
    for page in [REFERENCE, ONE_PAGE] {
        for verb in &VERBS {
            assert!(page.contains(&format!("{}(", verb.name)), "{} is missing", verb.name);
        }
        for field in &FIELDS {
            assert!(page.contains(&format!(".{}", field.name)), "{} is missing", field.name);
        }
    }
    for verb in NOT_BUILT {
        assert!(REFERENCE.contains(&format!("`{verb}`")), "{verb} is missing");
    }
    let rows = ONE_PAGE.lines().filter(|line| line.starts_with("| `") && line.contains('('));
    for row in rows {
        let verbs = row.split('|').nth(1).unwrap();
        for call in verbs.split('`').filter(|part| part.contains('(')) {
            let name = call.split('(').next().unwrap();
            let verb = VERBS.iter().find(|verb| verb.name == name).unwrap_or_else(|| panic!("{name} does not exist"));
            let hooks = row.rsplit('|').nth(1).unwrap();
            for hook in Hook::ALL {
                let says = hooks.contains("everywhere") || hooks.contains(hook.name());
                assert_eq!(says, verb.works_in(hook), "{name} in {}", hook.name());
            }
        }
    }
}

/// The codes that the reference lists are those that the checks use.
#[test]
fn the_reference_names_every_code() {
    let sources = [
        include_str!("../parse.rs"),
        include_str!("../compile.rs"),
        include_str!("../lint/mod.rs"),
        include_str!("../lint/calls.rs"),
        include_str!("../lint/hooks.rs"),
        include_str!("../lint/names.rs"),
        include_str!("../lint/phases.rs"),
        include_str!("../lint/values.rs"),
        include_str!("../lint/wants.rs"),
    ];
    let codes = |text: &'static str, mark: char| -> std::collections::BTreeSet<&'static str> {
        text.split(mark).filter(|part| part.starts_with("rule::") && !part.contains(char::is_whitespace)).collect()
    };
    let used: std::collections::BTreeSet<_> = sources.into_iter().flat_map(|source| codes(source, '"')).collect();
    assert_eq!(codes(REFERENCE, '`'), used);
}
