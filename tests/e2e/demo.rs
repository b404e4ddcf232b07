use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::gateway::{free_ports, signal, wait_for_end};

/// The tour of `tollgate demo` checks every answer itself; this checks that it gets to its end, and that Ctrl-C ends it all.
#[test]
fn the_demo_makes_its_tour_with_the_shipped_rules_and_stops_within_a_second() {
    let [issuer, orders, reports, dedicated, port, admin] = free_ports();
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
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut seen = String::new();
    for line in BufReader::new(demo.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        seen.push_str(&line);
        seen.push('\n');
        if line.contains("the demo stays up") {
            break;
        }
    }
    if !seen.contains("the demo stays up") {
        let output = demo.wait_with_output().unwrap();
        panic!("{seen}\n{}", String::from_utf8_lossy(&output.stderr));
    }
    let token = Command::new(env!("CARGO_BIN_EXE_tollgate"))
        .args(["token", "mint", "--plan", "pro", "--role", "admin", "--org", "acme"])
        .args(["--issuer", &format!("http://127.0.0.1:{issuer}")])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&token.stdout).trim().split('.').count(), 3, "{}", String::from_utf8_lossy(&token.stderr));

    let before = Instant::now();
    signal("INT", &demo);
    assert_eq!(wait_for_end(&mut demo), Some(0));
    assert!(before.elapsed() < Duration::from_secs(1), "{:?}", before.elapsed());
}
