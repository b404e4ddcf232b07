use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::gateway::{free_ports, signal, wait_for_end};

/// The tour of `tollgate demo` checks every answer itself; this checks that it gets to its end, and that Ctrl-C ends it all.
#[test]
fn the_demo_makes_its_tour_with_the_shipped_rules_and_stops_within_a_second() {
    let [issuer, orders, reports, dedicated, port, admin] = free_ports();
    let folder = tempfile::tempdir().unwrap();
    let complaints = folder.path().join("stderr");
    let mut demo = Command::new(env!("CARGO_BIN_EXE_tollgate"))
        .arg("demo")
        .args(["--issuer-port", &issuer.to_string(), "--orders-port", &orders.to_string()])
        .args(["--reports-port", &reports.to_string(), "--dedicated-port", &dedicated.to_string()])
        .args(["--port", &port.to_string(), "--admin-port", &admin.to_string()])
        // The shipped config.yaml and rules/ are here.
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")))
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(File::create(&complaints).unwrap())
        .spawn()
        .unwrap();
    // Kept until the end: a demo that cannot print is another case.
    let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines();
    let mut seen = String::new();
    let reached = lines.by_ref().map_while(Result::ok).any(|line| {
        seen.push_str(&line);
        seen.push('\n');
        line.contains("the demo stays up")
    });
    if !reached {
        let _ = demo.wait();
        panic!("{seen}\n{}", std::fs::read_to_string(&complaints).unwrap());
    }
    let token = Command::new(env!("CARGO_BIN_EXE_tollgate"))
        .args(["token", "mint", "--plan", "pro", "--role", "admin", "--org", "acme"])
        .args(["--issuer-url", &format!("http://127.0.0.1:{issuer}")])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&token.stdout).trim().split('.').count(), 3, "{}", String::from_utf8_lossy(&token.stderr));

    let before = Instant::now();
    signal("INT", &demo);
    assert_eq!(wait_for_end(&mut demo), Some(0));
    assert!(before.elapsed() < Duration::from_secs(1), "{:?}", before.elapsed());
}
