//! `tollgate status`, `tollgate reload`, and what systemd is told.

use std::os::unix::net::UnixDatagram;
use std::process::{Command, Output};
use std::time::Duration;

use tollgate::demo::MintRequest;

use crate::support::{Gateway, Setup, Upstream, mint, send, wait_for};

fn tollgate(gateway: &Gateway, arguments: &[&str]) -> (i32, String, String) {
    let output: Output =
        Command::new(env!("CARGO_BIN_EXE_tollgate")).args(arguments).current_dir(gateway.path("")).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn status_says_what_runs_and_its_code_says_whether_it_is_ready() {
    let upstream = Upstream::named("main");
    let mut gateway = Setup::to(upstream.address()).rule("gate", "fn on_request() { }").server(", drain_wait: 3s").start();
    assert_eq!(gateway.get_as("/", &MintRequest::of("acme", "pro")).status, 200);
    let (code, page, said) = tollgate(&gateway, &["status", "-c", "config.yaml"]);
    assert_eq!((code, said.as_str()), (0, ""), "{page}");
    let pid = gateway.pid();
    for word in ["ready · up ", &format!("pid {pid}"), "main · 1 of 1 up", "test · 1 keys", "1 · gate"] {
        assert!(page.contains(word), "{word} is missing in\n{page}");
    }
    let (code, json, _) = tollgate(&gateway, &["status", "-c", "config.yaml", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((code, &json["pid"], &json["ready"]), (0, &pid.into(), &true.into()));

    gateway.signal("TERM");
    wait_for("unreadiness", || gateway.admin("/readyz").is_some_and(|reply| reply.status == 503));
    let (code, page, _) = tollgate(&gateway, &["status", "-c", "config.yaml"]);
    assert!(code == 5 && page.contains("stopping"), "{code} {page}");
    gateway.wait();
    let (code, _, said) = tollgate(&gateway, &["status", "-c", "config.yaml"]);
    assert!(code == 1 && said.contains("no gateway answers at http://127.0.0.1:"), "{code} {said}");
}

#[test]
fn reload_says_what_became_of_it() {
    let upstream = Upstream::named("main");
    let gateway = Setup::to(upstream.address()).start();
    let token = mint(&MintRequest::of("acme", "pro"));
    let admin = gateway.admin_address().to_string();
    let reload = |arguments: &[&str]| tollgate(&gateway, &[&["reload", "--admin", &admin], arguments].concat());
    assert_eq!(reload(&[]), (0, "nothing changed\n".to_owned(), String::new()));

    let config = gateway.config();
    std::fs::write(gateway.path("config.yaml"), config.replace("path: \"/**\"", "path: \"/only/**\"")).unwrap();
    let (code, told, _) = reload(&[]);
    // The watch on the file may have been faster.
    assert!(code == 0 && (told.starts_with("loaded") || told == "nothing changed\n"), "{told}");
    assert_eq!(gateway.get_with("/", &token).status, 404);

    std::fs::write(gateway.path("config.yaml"), config.replace("upstream: main", "upstream: mian")).unwrap();
    let (code, told, said) = reload(&[]);
    assert_eq!((code, told.as_str()), (3, ""));
    assert!(said.contains("did you mean") && said.contains("stays in use"), "{said}");
    assert_eq!(gateway.get_with("/only/this", &token).status, 200);
    let (code, json, _) = reload(&["--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((code, &json["result"]), (3, &"refused".into()));
    // The broken file keeps nobody from asking.
    let (code, page, _) = tollgate(&gateway, &["status", "--admin", &admin]);
    assert!(code == 0 && page.contains("was refused"), "{page}");
}

#[test]
fn no_page_in_a_browser_can_ask_for_a_reload() {
    let upstream = Upstream::named("main");
    let gateway = Setup::to(upstream.address()).start();
    let post = |lines: &str| {
        let request = format!("POST /reload HTTP/1.1\r\n{lines}Content-Length: 0\r\nConnection: close\r\n\r\n");
        send(gateway.admin_address(), request.as_bytes()).unwrap().status
    };
    assert_eq!(post("Host: localhost\r\nTollgate-Reload: 1\r\n"), 200);
    assert_eq!(post("Host: localhost\r\n"), 403, "a form can do as much");
    assert_eq!(post("Host: localhost\r\nTollgate-Reload: 1\r\nOrigin: http://localhost\r\n"), 403, "a script on a page");
    assert_eq!(post("Host: evil.example\r\nTollgate-Reload: 1\r\n"), 403, "a name that leads here");
    assert_eq!(gateway.admin("/reload").unwrap().status, 405);
    let preflight = "OPTIONS /reload HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example\r\nConnection: close\r\n\r\n";
    assert_eq!(send(gateway.admin_address(), preflight.as_bytes()).unwrap().status, 405);
}

#[test]
fn systemd_is_told_about_each_step() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let hear = |word: &str| {
        let mut all = String::new();
        loop {
            let mut message = [0; 4096];
            let count = socket.recv(&mut message).unwrap_or_else(|error| panic!("no {word}: {error}; but\n{all}"));
            let message = String::from_utf8_lossy(&message[..count]).into_owned();
            if message.lines().any(|line| line == word || line.starts_with(&format!("{word}="))) {
                return message;
            }
            all.push_str(&message);
        }
    };
    let upstream = Upstream::named("main");
    let setup = Setup::to(upstream.address()).server(", upgrade_socket: private/upgrade.sock");
    let mut gateway = setup.env("NOTIFY_SOCKET", path.to_str().unwrap()).start();
    let ready = hear("READY=1");
    assert!(ready.contains(&format!("MAINPID={}\n", gateway.pid())), "{ready}");

    gateway.signal("HUP");
    assert!(hear("RELOADING=1").contains("MONOTONIC_USEC="));
    hear("READY=1");

    let first = gateway.pid();
    assert!(gateway.upgrade().success());
    assert_ne!(gateway.pid(), first);
    let ready = hear("MAINPID");
    assert!(ready.contains(&format!("MAINPID={}\n", gateway.pid())) && ready.contains("READY=1"), "{ready}");

    gateway.signal("TERM");
    hear("STOPPING=1");
    assert!(gateway.wait().0.success());
}
