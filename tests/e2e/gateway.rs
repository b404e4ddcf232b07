use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use reqwest::Client;
use serde_json::Value;
use tempfile::TempDir;
use tollgate::demo::{APPLICATION_ID, ISSUER, Services, TENANT_ID};

use crate::ports::free_port;

const PATIENCE: Duration = Duration::from_secs(20);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// The built program with a configuration of its own in a folder of its own.
pub(crate) struct Gateway {
    pub(crate) url: String,
    pub(crate) admin: String,
    child: Child,
    folder: TempDir,
}

impl Gateway {
    pub(crate) async fn start(issuer: &str, services: &Services) -> Self {
        Self::with(CONFIG, free_ports(), issuer, services).await
    }

    /// The same with another configuration, where `@PORT` and its like stand for what is known only now.
    pub(crate) async fn with(config: &str, [port, admin]: [u16; 2], issuer: &str, services: &Services) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ledger = folder.path().join("ledger.db");
        let config = config
            .replace("@PORT", &port.to_string())
            .replace("@ADMIN", &admin.to_string())
            .replace("@URL", issuer)
            .replace("@ISSUER", ISSUER)
            .replace("@TENANT", TENANT_ID)
            .replace("@APPLICATION", APPLICATION_ID)
            .replace("@ORDERS", &services.orders().to_string())
            .replace("@DEDICATED", &services.dedicated().to_string())
            .replace("@LEDGER", ledger.to_str().unwrap());
        fs::write(folder.path().join("config.yaml"), config).unwrap();
        fs::create_dir(folder.path().join("rules")).unwrap();
        for (name, text) in RULES {
            fs::write(folder.path().join("rules").join(name), text).unwrap();
        }
        let check = tollgate(&folder).arg("check").args(["-c", "config.yaml"]).output().unwrap();
        let said = String::from_utf8_lossy(&check.stderr);
        assert_eq!(check.status.code(), Some(0), "{}{said}", String::from_utf8_lossy(&check.stdout));

        let log = fs::File::create(folder.path().join("log")).unwrap();
        let child =
            tollgate(&folder).args(["run", "-c", "config.yaml"]).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        let mut gateway =
            Self { url: format!("http://127.0.0.1:{port}"), admin: format!("http://127.0.0.1:{admin}"), child, folder };
        gateway.wait_until_ready().await;
        gateway
    }

    async fn wait_until_ready(&mut self) {
        let client = super::client();
        let started = Instant::now();
        loop {
            if let Ok(answer) = client.get(format!("{}/readyz", self.admin)).send().await
                && answer.status() == 200
            {
                return;
            }
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none() && started.elapsed() < PATIENCE, "not ready, {ended:?}: {}", self.log());
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// `tollgate usage` by account and meter, which needs no running gateway.
    pub(crate) fn usage(&self) -> Value {
        let output = tollgate(&self.folder)
            .args(["usage", "-c", "config.yaml", "--by", "account,meter", "--format", "json"])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// The ledger commits in groups, so a line may be some milliseconds late, but not much more.
    pub(crate) async fn wait_for_usage(&self, expected: &Value) {
        let started = Instant::now();
        while self.usage() != *expected {
            assert!(started.elapsed() < PATIENCE, "{} instead of {expected}", self.usage());
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    pub(crate) async fn wait_for_calls(&self, client: &Client, calls: u64) {
        let started = Instant::now();
        loop {
            let metrics = client.get(format!("{}/metrics", self.admin)).send().await.unwrap().text().await.unwrap();
            if sum(&metrics, "tollgate_http_requests_total", &[r#"outcome="proxied""#]) >= calls {
                return;
            }
            assert!(started.elapsed() < PATIENCE, "{}", self.log());
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// SIGTERM, and the exit code.
    pub(crate) fn terminate(&mut self) -> Option<i32> {
        signal("TERM", &self.child);
        wait_for_end(&mut self.child)
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The standard library sends no signals but SIGKILL, and every shell does.
pub(crate) fn signal(name: &str, child: &Child) {
    let status = Command::new("sh").args(["-c", &format!("kill -{name} {}", child.id())]).status().unwrap();
    assert!(status.success());
}

pub(crate) fn wait_for_end(child: &mut Child) -> Option<i32> {
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        assert!(started.elapsed() < PATIENCE, "it does not end");
        std::thread::sleep(LOOK_AGAIN);
    }
}

fn tollgate(folder: &TempDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    command.current_dir(folder.path()).env_clear().env("PATH", "/usr/bin:/bin").stdin(Stdio::null());
    command
}

pub(crate) fn free_ports<const N: usize>() -> [u16; N] {
    [(); N].map(|()| free_port())
}

/// The sum of a metric's series that have all these labels.
pub(crate) fn sum(metrics: &str, name: &str, labels: &[&str]) -> u64 {
    metrics
        .lines()
        .filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])))
        .filter(|line| labels.iter().all(|label| line.contains(label)))
        .filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok())
        .sum()
}

pub(crate) fn assert_promtool_is_content(metrics: &str) {
    let here = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/target/tools/promtool"));
    let promtool = if here.is_file() { here } else { "promtool".into() };
    let mut child = Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is not installed: run `make test`");
    child.stdin.take().unwrap().write_all(metrics.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert_eq!((output.status.code(), String::from_utf8_lossy(&said).as_ref()), (Some(0), ""));
}

const CONFIG: &str = r#"version: 1
listeners:
  - address: 127.0.0.1:@PORT
admin:
  address: 127.0.0.1:@ADMIN
server:
  grace: 1s
identity:
  issuers:
    - name: third-party
      url: @URL
      issuer: @ISSUER
      tenant: @TENANT
      audiences:
        - @APPLICATION
  claims:
    plan: { type: string, one_of: [free, pro, enterprise] }
    org: string
  forward_claims:
    x-user-id: sub
    x-org: org
upstreams:
  shared:
    servers: ["http://@ORDERS"]
  dedicated:
    servers: ["http://@DEDICATED"]
routes:
  - name: orders
    match: { path: /v1/** }
    auth: required
    upstream: shared
rules:
  - file: rules/plan-routing.rhai
  - file: rules/throttling.rhai
  - file: rules/metering.rhai
billing:
  account: [org, sub]
  ledger: sqlite:@LEDGER
  meters:
    api_calls:
      help: Billable API calls
      dimensions: [plan]
"#;

const RULES: [(&str, &str); 3] = [
    (
        "plan-routing.rhai",
        r#"//! Enterprise customers have machines of their own.
fn on_request(claims) {
    if claims.plan == "enterprise" { route_to("dedicated"); }
}
"#,
    ),
    (
        "throttling.rhai",
        r#"//! The plan decides how often.
const PER_MINUTE = #{ free: 5, pro: 600, enterprise: 1000000 };
fn on_request(claims) {
    throttle(claims.org, PER_MINUTE[claims.plan ?? "free"], "1m");
}
"#,
    ),
    (
        "metering.rhai",
        r#"//! Every answered call counts; refused ones are free.
fn on_complete(response, claims) {
    if response.status == 200 { meter("api_calls", 1, #{ plan: claims.plan ?? "free" }); }
}
"#,
    ),
];
