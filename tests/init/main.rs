//! `tollgate init`: what it writes works, what it finds is true, and what was there stays.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, unreachable_pub, missing_docs)]

mod deployment;
mod fusionauth;

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use fusionauth::{APPLICATION, CLIENT_SECRET, FusionAuth, KEY, TENANT, empty, usual};
use serde_json::{Value, json};
use tempfile::TempDir;

struct Ran {
    code: i32,
    out: String,
    err: String,
}

fn tollgate(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    command.current_dir(folder).env_clear().env("PATH", "/usr/bin:/bin").args(arguments).stdin(Stdio::null());
    command
}

fn run(command: &mut Command) -> Ran {
    let output = command.output().unwrap();
    let ran = Ran {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    };
    for secret in [KEY, CLIENT_SECRET] {
        assert!(!ran.out.contains(secret) && !ran.err.contains(secret), "a secret was printed: {}{}", ran.out, ran.err);
    }
    ran
}

fn init(fusionauth: &FusionAuth, folder: &TempDir, more: &[&str]) -> Ran {
    let arguments = [&["init", "--fusionauth", &fusionauth.url], more].concat();
    run(tollgate(folder.path(), &arguments).env("FUSIONAUTH_API_KEY", KEY))
}

fn config(folder: &TempDir) -> String {
    fs::read_to_string(folder.path().join("config.yaml")).unwrap()
}

/// The written folder is accepted without a warning, and its rule tests pass.
fn assert_works(folder: &TempDir) {
    let check = run(&mut tollgate(folder.path(), &["check", "--strict"]));
    assert_eq!(check.code, 0, "{}{}\n{}", check.out, check.err, config(folder));
    let test = run(&mut tollgate(folder.path(), &["test"]));
    assert_eq!(test.code, 0, "{}{}", test.out, test.err);
    assert!(test.out.contains('3'), "{}", test.out);
}

#[track_caller]
fn assert_has(text: &str, wanted: &[&str]) {
    for wanted in wanted {
        assert!(text.contains(wanted), "{wanted}\nis not in\n{text}");
    }
}

#[test]
fn an_empty_folder_gets_a_configuration_that_works() {
    let folder = tempfile::tempdir().unwrap();
    let ran = run(&mut tollgate(folder.path(), &["init", "site"]));
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    let check = run(&mut tollgate(&folder.path().join("site"), &["check", "--strict"]));
    assert_eq!(check.code, 0, "{}{}", check.out, check.err);
    assert_eq!(run(&mut tollgate(&folder.path().join("site"), &["test"])).code, 0);
}

#[test]
fn what_fusionauth_says_becomes_a_configuration_that_works() {
    let fusionauth = FusionAuth::start(usual());
    let folder = tempfile::tempdir().unwrap();
    let ran = init(&fusionauth, &folder, &["--upstream", "http://127.0.0.1:8081"]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert_works(&folder);
    assert_has(
        &config(&folder),
        &[
            &format!("      url: {}\n", fusionauth.url),
            "      issuer: acme.com\n",
            &format!("        - {APPLICATION}\n"),
            "    org: any\n",
            "    plan: { type: string, one_of: [free, pro] }\n",
            "    seats: int\n",
            "claims.has_role(…): `teller`, `boss`\n",
            "      - http://127.0.0.1:8081\n",
        ],
    );
    // One tenant: its id is not needed.
    assert!(!config(&folder).contains(TENANT));
    assert_has(
        &ran.out,
        &[
            "✓ tenant `Default`",
            "✓ application `Example app` (e9fdb985-9173-4e01-9d73-ac2d60d1dc8e), 2 roles\n",
            "✓ issuer `acme.com`, which is FusionAuth's default and no URL; that is fine here\n",
            "✓ access tokens are signed with RS256 (key `Tokens`)\n",
            "✓ lambda `plans` adds 3 claims, 1 of them without a type that is certain\n",
            "+ rules/limit.rhai\n",
            "+ config.yaml\n",
        ],
    );
    assert!(!ran.out.contains("\n! "), "{}", ran.out);
    assert_has(&fs::read_to_string(folder.path().join("rules/administration.rhai")).unwrap(), &["claims.has_role(\"boss\")"]);
    assert_eq!(fusionauth.changes(), Vec::<String>::new(), "nothing may change without --setup");
}

#[test]
fn what_is_wrong_is_said_with_what_to_do() {
    let mut objects = usual();
    let application = &mut objects["applications"][1];
    application["jwtConfiguration"]["enabled"] = false.into();
    application["active"] = false.into();
    application["oauthConfiguration"] =
        json!({ "enabledGrants": ["implicit"], "authorizedURLValidationPolicy": "AllowWildcards" });
    objects["tenants"][0]["issuer"] = " https://auth.example.com/ ".into();
    objects["tenants"][0]["jwtConfiguration"]["timeToLiveInSeconds"] = 172_800.into();
    objects["lambdas"][0]["body"] = "function populate(jwt) { jwt.iss = 'me'; Object.assign(jwt, more); }".into();
    let fusionauth = FusionAuth::start(objects);
    let folder = tempfile::tempdir().unwrap();
    let ran = init(&fusionauth, &folder, &[]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert_has(
        &ran.out,
        &[
            "! the issuer \" https://auth.example.com/ \" has blanks at its ends",
            "! access tokens are signed with HS256 (key `Default signing key`), which only its owner can check: no such token is accepted. \
             Set an RS256 or ES256 key in Applications → JWT → Access token signing key, or let `--setup` do it\n",
            "! lambda `plans` overwrites the claim `iss`",
            "✓ lambda `plans` adds 0 claims, and maybe more that cannot be read from its text\n",
            "! the application is not active",
            "! the grant authorization_code is off",
            "! refresh tokens are off",
            "! registration is not required",
            "! redirect URLs may have wildcards",
        ],
    );
    assert_has(&config(&folder), &["      issuer: \" https://auth.example.com/ \"\n", "  max_lifetime: 172800s\n"]);
    assert_works(&folder);
}

#[test]
fn of_several_tenants_and_applications_one_is_chosen() {
    let mut objects = usual();
    let mut second = objects["tenants"][0].clone();
    second["id"] = "00000000-0000-0000-0000-00000000000b".into();
    second["name"] = "Second".into();
    objects["tenants"].as_array_mut().unwrap().push(second);
    let mut copy = objects["applications"][1].clone();
    copy["id"] = "00000000-0000-0000-0000-00000000000c".into();
    copy["name"] = "Another app".into();
    objects["applications"].as_array_mut().unwrap().push(copy);
    let fusionauth = FusionAuth::start(objects);
    let folder = tempfile::tempdir().unwrap();
    let refused = init(&fusionauth, &folder, &[]);
    assert_eq!(refused.code, 2);
    assert_has(&refused.err, &["more than one tenant: choose with --tenant ID", TENANT, "Second"]);
    let refused = init(&fusionauth, &folder, &["--tenant", "Default"]);
    assert_eq!(refused.code, 2);
    assert_has(&refused.err, &["more than one application: choose with --application ID", APPLICATION, "Another app"]);
    assert!(!refused.err.contains("FusionAuth\n"), "its own application is nobody's choice: {}", refused.err);
    let refused = init(&fusionauth, &folder, &["--tenant", "Second", "--application", "Another app"]);
    assert_eq!(refused.code, 2);
    assert_has(&refused.err, &["there is no application `Another app`"]);
    assert!(!folder.path().join("config.yaml").exists());
    let ran = init(&fusionauth, &folder, &["--tenant", TENANT, "--application", "Another app"]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert_has(&config(&folder), &[&format!("      tenant: {TENANT}\n"), "        - \"00000000-0000-0000-0000-00000000000c\"\n"]);
    assert_works(&folder);
}

#[test]
fn nothing_is_overwritten_and_nothing_is_lost() {
    let fusionauth = FusionAuth::start(usual());
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("rules")).unwrap();
    fs::write(folder.path().join("rules/mine.rhai"), "//! Mine.\n").unwrap();
    fs::write(folder.path().join("config.yaml"), "mine").unwrap();
    let refused = init(&fusionauth, &folder, &[]);
    assert_eq!(refused.code, 1);
    assert_has(&refused.err, &["config.yaml exists and stays as it is"]);
    assert_eq!(config(&folder), "mine");

    for number in 1..=2 {
        let ran = init(&fusionauth, &folder, &["--force"]);
        assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
        let aside = fs::read_to_string(folder.path().join(format!("config.yaml.before-{number}"))).unwrap();
        assert_eq!(aside == "mine", number == 1);
    }
    let names: Vec<_> = fs::read_dir(folder.path().join("rules")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["mine.rhai"], "a folder with rules gets no others");
    assert_has(&config(&folder), &["# rules:\n"]);
    assert_eq!(run(&mut tollgate(folder.path(), &["check"])).code, 0);
}

#[test]
fn the_api_key_comes_from_a_file_the_input_or_the_environment() {
    let fusionauth = FusionAuth::start(usual());
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["init", "--fusionauth", &fusionauth.url];
    let refused = run(&mut tollgate(folder.path(), &arguments));
    assert_eq!(refused.code, 2);
    assert_has(&refused.err, &["set FUSIONAUTH_API_KEY, or name its file with --api-key-file"]);
    let refused = run(tollgate(folder.path(), &arguments).env("FUSIONAUTH_API_KEY", "wrong"));
    assert_eq!(refused.code, 1);
    assert_has(&refused.err, &["refuses the API key for GET /api/tenant (401)"]);
    let refused = run(tollgate(folder.path(), &arguments).env("FUSIONAUTH_API_KEY", "two\nlines"));
    assert_eq!(refused.code, 2);

    fs::write(folder.path().join("key"), format!("{KEY}\n")).unwrap();
    assert_eq!(run(&mut tollgate(folder.path(), &[&arguments[..], &["--api-key-file", "key"]].concat())).code, 0);
    let mut child = tollgate(folder.path(), &[&arguments[..], &["--force", "--api-key-file", "-"]].concat())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(KEY.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}

#[test]
fn names_from_fusionauth_cannot_become_configuration_or_rules() {
    let mut objects = usual();
    objects["tenants"][0]["name"] = "Evil\nversion: 2 # ${HOME}".into();
    objects["tenants"][0]["issuer"] = "${HOME}: \"x\"\n# '".into();
    let application = &mut objects["applications"][1];
    application["name"] = "\u{1b}[2J`\n  evil: true".into();
    application["roles"] = json!([{ "name": "a\"); allow(); //\\" }, { "name": "x\ny: z" }]);
    objects["lambdas"][0]["body"] =
        "function populate(jwt) { jwt['a: ${b}'] = 1; jwt['on'] = 'no: ${HOME}'; jwt['x\"y'] = true; }".into();
    let fusionauth = FusionAuth::start(objects);
    let folder = tempfile::tempdir().unwrap();
    let ran = init(&fusionauth, &folder, &[]);
    assert_eq!(ran.code, 0, "{}{}\n{}", ran.out, ran.err, config(&folder));
    assert!(!ran.out.contains('\u{1b}'));
    assert_works(&folder);
    assert_has(
        &config(&folder),
        &[
            "      issuer: \"$${HOME}: \\\"x\\\"\\n# '\"\n",
            "    \"x\\\"y\": bool\n",
            "    \"a: ${b}\": int\n",
            "one_of: [\"no: $${HOME}\"] }\n",
        ],
    );
    // An issuer is compared as FusionAuth has it: the gateway says what it understood.
    let explained = run(&mut tollgate(folder.path(), &["explain", "GET /admin/x", "--claims", r#"{"sub":"u","roles":["a"]}"#]));
    assert_has(&explained.out, &["role_required"]);
}

#[test]
fn a_server_that_is_not_fusionauth_is_said_to_be_none() {
    let fusionauth = FusionAuth::start(usual());
    let folder = tempfile::tempdir().unwrap();
    for (status, body, wanted) in [
        (200, "<html>", "is not FusionAuth's API: its answer is no JSON"),
        (404, "", "does not exist (404): is this FusionAuth"),
        (302, "", "refuses GET /api/tenant (302)"),
        (500, r#"{"generalErrors":[{"message":"out of\u0007 order"}]}"#, "(500): out of order"),
    ] {
        fusionauth.answer_instead(status, body);
        let refused = init(&fusionauth, &folder, &[]);
        assert_eq!(refused.code, 1);
        assert_has(&refused.err, &[wanted]);
    }
    let gone = format!("http://127.0.0.1:{}", closed_port());
    let refused = run(tollgate(folder.path(), &["init", "--fusionauth", &gone]).env("FUSIONAUTH_API_KEY", KEY));
    assert_has(&refused.err, &["FusionAuth does not answer at", "refused"]);
    for (flag, value) in
        [("--fusionauth", "localhost:9011"), ("--fusionauth", "http://user:secret@localhost"), ("--public-url", "x")]
    {
        let arguments =
            if flag == "--fusionauth" { vec!["init", flag, value] } else { vec!["init", "--fusionauth", &gone, flag, value] };
        let refused = run(tollgate(folder.path(), &arguments).env("FUSIONAUTH_API_KEY", KEY));
        assert_eq!(refused.code, 2);
        assert_has(&refused.err, &[flag, "is no address"]);
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is written when FusionAuth did not answer");
}

fn closed_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

const SETUP: [&str; 3] = ["--setup", "--public-url", "https://www.example.com/"];

#[test]
fn setup_creates_what_is_missing_and_nothing_twice() {
    let fusionauth = FusionAuth::start(empty());
    let folder = tempfile::tempdir().unwrap();
    let ran = init(&fusionauth, &folder, &SETUP);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert_eq!(
        fusionauth.changes(),
        [
            "POST /api/key/generate",
            "POST /api/application",
            &format!("PATCH /api/tenant/{TENANT}"),
            "POST /api/key/generate",
            "POST /api/webhook",
        ]
    );
    let application = fusionauth.object("applications", "Tollgate");
    assert_eq!(
        application["oauthConfiguration"]["authorizedRedirectURLs"],
        json!(["https://www.example.com/callback", "https://www.example.com/"])
    );
    assert_eq!(application["oauthConfiguration"]["enabledGrants"], json!(["authorization_code", "refresh_token"]));
    // An application that stands alone has the tenant's lifetimes, and a key that others can check.
    let jwt = &application["jwtConfiguration"];
    assert_eq!((&jwt["enabled"], &jwt["timeToLiveInSeconds"]), (&json!(true), &json!(3600)));
    assert_eq!((&jwt["refreshTokenUsagePolicy"], &jwt["refreshTokenTimeToLiveInMinutes"]), (&json!("OneTimeUse"), &json!(43200)));
    assert_eq!(fusionauth.object("keys", "Tollgate: tokens")["algorithm"], "RS256");
    assert_eq!(jwt["accessTokenKeyId"], fusionauth.object("keys", "Tollgate: tokens")["id"]);

    // The three switches, and the signature.
    let webhook = fusionauth.object("webhooks", "https://www.example.com/.well-known/tollgate/fusionauth-events");
    assert_eq!((&webhook["global"], &webhook["tenantIds"]), (&json!(false), &json!([TENANT])));
    assert_eq!(webhook["signatureConfiguration"]["enabled"], true);
    assert_eq!(webhook["signatureConfiguration"]["signingKeyId"], fusionauth.object("keys", "Tollgate: webhook")["id"]);
    let tenant = fusionauth.object("tenants", "Default");
    for (event, enabled) in webhook["eventsEnabled"].as_object().unwrap() {
        assert_eq!(*enabled, true);
        assert_eq!(
            tenant["eventConfiguration"]["events"][event],
            json!({ "enabled": true, "transactionType": "None" }),
            "{event}"
        );
    }
    assert_eq!(webhook["eventsEnabled"].as_object().unwrap().len(), 7);
    // What somebody else set stays.
    let others = &tenant["eventConfiguration"]["events"]["user.create"];
    assert_eq!(*others, json!({ "enabled": true, "transactionType": "AbsoluteMajority" }));

    let secret = folder.path().join("secrets/fusionauth-client-secret");
    assert_eq!(fs::read_to_string(&secret).unwrap(), CLIENT_SECRET);
    assert_eq!(fs::metadata(&secret).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!config(&folder).contains(CLIENT_SECRET));
    assert_has(
        &config(&folder),
        &[
            "  login:\n    issuer: fusionauth\n",
            "    callback: https://www.example.com/callback\n",
            "      - ${file:secrets/session-key}\n",
            "  revocation:\n    webhooks:\n      signature: {}\n",
        ],
    );
    let key = fs::read_to_string(folder.path().join("secrets/session-key")).unwrap();
    assert_eq!(key.len(), 64);
    assert_eq!(fs::metadata(folder.path().join("secrets/session-key")).unwrap().permissions().mode() & 0o777, 0o600);
    assert_works(&folder);

    let again = init(&fusionauth, &folder, &[&SETUP[..], &["--force"]].concat());
    assert_eq!(again.code, 0, "{}{}", again.out, again.err);
    assert_eq!(fusionauth.changes(), Vec::<String>::new());
    assert_eq!(fs::read_to_string(folder.path().join("secrets/session-key")).unwrap(), key, "people stay logged in");
    assert_works(&folder);
}

#[test]
fn setup_completes_what_is_half_there() {
    let mut objects = usual();
    let application = &mut objects["applications"][1];
    application["jwtConfiguration"]["enabled"] = false.into();
    application["oauthConfiguration"]["logoutURL"] = Value::Null;
    objects["webhooks"] = json!([{
        "id": "00000000-0000-0000-0000-0000000000aa", "url": "http://10.0.0.5:8080/hook", "global": false,
        "tenantIds": ["00000000-0000-0000-0000-0000000000bb"], "eventsEnabled": { "user.delete": true, "user.create": true },
        "signatureConfiguration": { "enabled": false },
    }]);
    let fusionauth = FusionAuth::start(objects);
    let folder = tempfile::tempdir().unwrap();
    let ran = init(&fusionauth, &folder, &[&SETUP[..], &["--webhook-url", "http://10.0.0.5:8080/hook"]].concat());
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert_has(
        &ran.out,
        &[
            "+ generated the RS256 key `Example app: tokens`",
            "+ added the redirect URL https://www.example.com/callback\n",
            "+ set the logout URL https://www.example.com/",
            "+ switched on at the tenant: jwt.public-key.update",
            "+ switched on the missing events at the webhook\n",
            "+ connected the webhook to the tenant\n",
            "+ the webhook is signed from now on\n",
            "✓ access tokens are signed with RS256 (key `Example app: tokens`)\n",
        ],
    );
    let application = fusionauth.object("applications", APPLICATION);
    assert_eq!(
        application["oauthConfiguration"]["authorizedRedirectURLs"],
        json!(["http://localhost:3000/oauth-redirect", "https://www.example.com/callback", "https://www.example.com/"])
    );
    assert_eq!(application["oauthConfiguration"]["clientSecret"], CLIENT_SECRET, "what is not named stays");
    let webhook = fusionauth.object("webhooks", "http://10.0.0.5:8080/hook");
    assert_eq!(webhook["tenantIds"], json!(["00000000-0000-0000-0000-0000000000bb", TENANT]));
    assert_eq!(webhook["eventsEnabled"]["user.create"], true);
    assert_works(&folder);
}

#[test]
fn setup_needs_to_know_where_browsers_go() {
    let fusionauth = FusionAuth::start(empty());
    let folder = tempfile::tempdir().unwrap();
    let refused = init(&fusionauth, &folder, &["--setup"]);
    assert_eq!(refused.code, 2);
    assert_has(&refused.err, &["--public-url"]);
    assert_eq!(fusionauth.changes(), Vec::<String>::new());
}
