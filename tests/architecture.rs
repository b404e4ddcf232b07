//! The architecture, as far as absences can be checked: what must not be imported, read or written where.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    unreachable_pub,
    missing_docs
)]

use std::fs;
use std::path::Path;

/// Folders of `src/` from the bottom up. A file may name its own layer or a lower one; stages (1) never name each other.
const LAYERS: [(&str, u8); 19] = [
    ("model", 0),
    ("tls", 0),
    ("redis", 0),
    ("acme", 1),
    ("identity", 1),
    ("rules", 1),
    ("throttling", 1),
    ("traffic", 1),
    ("billing", 1),
    ("config", 1),
    ("metrics", 2),
    ("telemetry", 2),
    ("gateway", 4),
    ("proxy", 5),
    ("admin", 5),
    ("trial", 5),
    ("server", 6),
    ("demo", 6),
    ("cli", 7),
];

/// One dependency, one home.
const HOMES: [(&str, &[&str]); 21] = [
    ("instant_acme", &["acme/"]),
    ("pingora_ketama", &["traffic/list"]),
    ("openssl", &["tls/", "config/check/", "proxy/"]),
    ("pingora", &["proxy/", "admin/", "server/"]),
    ("rhai", &["rules/"]),
    ("jsonwebtoken", &["identity/", "demo/"]),
    ("serde_yaml", &["config/", "trial/"]),
    ("miette", &["config/render"]),
    ("notify", &["config/watch"]),
    ("prometheus", &["metrics/"]),
    ("rusqlite", &["billing/", "identity/revocation/sqlite"]),
    ("redis", &["redis/"]),
    (
        "reqwest",
        &["identity/issuer", "identity/webhook/event_log", "identity/login/provider", "acme/", "demo/", "cli/", "telemetry/"],
    ),
    ("opentelemetry", &["telemetry/"]),
    ("opentelemetry_sdk", &["telemetry/"]),
    ("opentelemetry_otlp", &["telemetry/"]),
    ("sd_notify", &["server/"]),
    ("hyper", &["demo/"]),
    ("brotli", &["proxy/compress"]),
    ("clap", &["cli/"]),
    ("tracing_subscriber", &["cli/"]),
];

/// Files that talk to the world; everything else in the folders of layers 0 and 1 is pure.
const EDGES: [&str; 20] = [
    "redis/",
    "acme/",
    "identity/issuer",
    "identity/identifier",
    "identity/hosted",
    "identity/login/party",
    "identity/login/provider",
    "identity/session/refreshes",
    "identity/session/shared",
    "identity/session/store",
    "identity/revocation/feed",
    "identity/revocation/file",
    "identity/revocation/revocations",
    "identity/revocation/sqlite",
    "identity/webhook/",
    "traffic/resolve",
    "billing/",
    "config/load",
    "config/watch",
    "config/environment",
];

const IMPURE: [&str; 8] =
    ["tokio::", "reqwest::", "std::fs", "env::var(", "env::vars(", "Instant::now", "SystemTime::now", "async fn"];

struct File {
    /// Below `src/`, with forward slashes.
    name: String,
    /// Without tests and comments.
    code: String,
    lines: usize,
}

fn sources() -> Vec<File> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") && !is_test(&path) {
                files.push(read(&root, &path));
            }
        }
    }
    assert!(files.len() > 50, "the tree was not found");
    files
}

fn is_test(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == "tests" || part.as_os_str() == "tests.rs")
}

fn read(root: &Path, path: &Path) -> File {
    let text = fs::read_to_string(path).unwrap();
    let before_tests = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let code = before_tests.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
    File { name, code, lines: text.lines().count() }
}

fn layer(folder: &str) -> Option<u8> {
    LAYERS.iter().find(|(name, _)| *name == folder).map(|(_, layer)| *layer)
}

/// The folders that a file names as `crate::folder`.
fn imports(code: &str) -> Vec<String> {
    let word = |rest: &str| rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    code.split("crate::").skip(1).map(word).collect()
}

#[test]
fn imports_point_downward_and_stages_do_not_know_each_other() {
    let mut wrong = Vec::new();
    for file in sources() {
        let Some((folder, _)) = file.name.split_once('/') else { continue };
        let own = layer(folder).unwrap_or_else(|| panic!("{folder} has no layer"));
        for import in imports(&file.code) {
            let Some(other) = layer(&import) else { continue };
            if other > own || (other == own && own == 1 && import != folder) {
                wrong.push(format!("{} names {import}", file.name));
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn every_dependency_has_one_home() {
    let mut wrong = Vec::new();
    for file in sources().iter().filter(|file| file.name != "main.rs") {
        let words: Vec<&str> = file.code.split(|c: char| !c.is_alphanumeric() && c != '_' && c != ':').collect();
        for (dependency, homes) in HOMES {
            let path = format!("{dependency}::");
            let is_used = words.iter().any(|word| word.starts_with(&path) || word.starts_with(&format!("::{path}")));
            if is_used && !homes.iter().any(|home| file.name.starts_with(home)) {
                wrong.push(format!("{} uses {dependency}", file.name));
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn pure_layers_read_no_clock_no_file_and_no_socket() {
    let mut wrong = Vec::new();
    for file in sources() {
        let Some((folder, _)) = file.name.split_once('/') else { continue };
        if layer(folder).is_none_or(|layer| layer > 1) || EDGES.iter().any(|edge| file.name.starts_with(edge)) {
            continue;
        }
        wrong.extend(IMPURE.iter().filter(|word| file.code.contains(*word)).map(|word| format!("{}: {word}", file.name)));
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn nothing_static_can_change() {
    const CHANGEABLE: [&str; 6] = ["Mutex", "RwLock", "Atomic", "Cell<", "OnceLock", "ArcSwap"];
    let mut wrong = Vec::new();
    for file in sources() {
        let is_static = |line: &&str| {
            let line = line.trim_start();
            let line =
                line.strip_prefix("pub").map_or(line, |rest| rest.trim_start_matches("(super)").trim_start_matches("(crate)"));
            line.trim_start().starts_with("static ") && CHANGEABLE.iter().any(|word| line.contains(word))
        };
        // A thread's own scratch space is no shared state.
        let code = file.code.split("thread_local!").next().unwrap();
        wrong.extend(code.lines().filter(is_static).map(|line| format!("{}: {}", file.name, line.trim())));
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn files_stay_short() {
    let mut files = sources();
    let long: Vec<_> =
        files.iter().filter(|file| file.lines > 500).map(|file| format!("{}: {}", file.name, file.lines)).collect();
    assert_eq!(long, Vec::<String>::new(), "files over 500 lines");
    files.sort_by_key(|file| file.lines);
    let median = files[files.len() / 2].lines;
    assert!(median <= 180, "the median file has {median} lines");
}

#[test]
fn the_hooks_of_pingora_stay_one_screen() {
    let front = sources().into_iter().find(|file| file.name == "proxy/mod.rs").unwrap();
    let (_, hooks) = front.code.split_once("impl ProxyHttp for Front {").unwrap();
    assert!(hooks.lines().count() < 250);
    assert!(!sources().iter().any(|file| file.name != "proxy/mod.rs" && file.code.contains("impl ProxyHttp for")));
}

#[test]
fn the_text_of_the_configuration_stays_in_its_folder() {
    let leaks = |file: &File| !file.name.starts_with("config/") && file.code.contains("config::document");
    let wrong: Vec<_> = sources().into_iter().filter(leaks).map(|file| file.name).collect();
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn no_name_says_nothing() {
    const EMPTY: [&str; 10] =
        ["util", "utils", "helper", "helpers", "common", "misc", "manager", "handler", "context", "processor"];
    let says_nothing = |file: &File| file.name.trim_end_matches(".rs").split('/').any(|part| EMPTY.contains(&part));
    let wrong: Vec<_> = sources().into_iter().filter(says_nothing).map(|file| file.name).collect();
    assert_eq!(wrong, Vec::<String>::new());
}
