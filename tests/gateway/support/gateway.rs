use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use tollgate::demo::{APPLICATION_ID, ISSUER, Issuer, MintRequest};

use super::{Curled, Leaf, Reply, ask, curl, free_port, get, send, wait_for};

/// What a gateway is started from. Everything has a default that works.
pub struct Setup {
    routes: String,
    upstreams: String,
    rules: Vec<(String, String, String)>,
    extra: String,
    issuers: String,
    identity: String,
    listener: String,
    server: String,
    files: Vec<(String, String)>,
    issuer_url: Option<String>,
    threads: usize,
    variables: Vec<(String, String)>,
}

/// One key pair for all tests: making one takes seconds in a debug build.
pub(super) fn issuer() -> &'static Issuer {
    static ISSUER: OnceLock<Issuer> = OnceLock::new();
    ISSUER.get_or_init(|| Issuer::start("127.0.0.1:0".parse().unwrap()).unwrap())
}

/// An access token of the shared issuer.
pub fn mint(request: &MintRequest) -> String {
    issuer().mint(request).unwrap()
}

impl Setup {
    pub fn new() -> Self {
        Self {
            routes: String::new(),
            upstreams: String::new(),
            rules: Vec::new(),
            extra: String::new(),
            issuers: String::new(),
            identity: String::new(),
            listener: String::new(),
            server: String::new(),
            files: Vec::new(),
            issuer_url: None,
            threads: 2,
            variables: Vec::new(),
        }
    }

    /// One route to one upstream for everything under `/`.
    pub fn to(address: SocketAddr) -> Self {
        Self::new().upstream("main", &[address]).route("all", "/**", "required", "main")
    }

    pub fn upstream(mut self, name: &str, servers: &[SocketAddr]) -> Self {
        let servers: Vec<String> = servers.iter().map(|address| format!("\"http://{address}\"")).collect();
        self.upstreams.push_str(&format!(
            "  {name}:\n    servers: [{}]\n    timeouts: {{ connect: 500ms, read: 1s }}\n",
            servers.join(", ")
        ));
        self
    }

    /// The keys of one upstream as YAML, in braces.
    pub fn upstream_text(mut self, name: &str, keys: &str) -> Self {
        self.upstreams.push_str(&format!("  {name}: {keys}\n"));
        self
    }

    /// One open route to one upstream, whose keys are YAML in braces.
    pub fn open_to(keys: &str) -> Self {
        Self::new().upstream_text("main", keys).route("all", "/**", "none", "main")
    }

    /// A variable of the process's environment.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn route(mut self, name: &str, path: &str, auth: &str, upstream: &str) -> Self {
        self.routes.push_str(&format!(
            "  - name: {name}\n    match: {{ path: \"{path}\" }}\n    auth: {auth}\n    upstream: {upstream}\n"
        ));
        self
    }

    /// A route as YAML, beginning with `  - name:`.
    pub fn route_text(mut self, text: &str) -> Self {
        self.routes.push_str(text);
        self
    }

    pub fn rule(self, name: &str, text: &str) -> Self {
        self.rule_with(name, text, "")
    }

    /// A rule with further keys of its entry, `, mode: shadow`.
    pub fn rule_with(mut self, name: &str, text: &str, keys: &str) -> Self {
        self.rules.push((name.to_owned(), text.to_owned(), keys.to_owned()));
        self
    }

    /// Sections that are appended.
    pub fn with(mut self, text: &str) -> Self {
        self.extra.push_str(text);
        self
    }

    /// Worker threads; connections to upstreams belong to one.
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    /// Keys of `identity:`, indented by two.
    pub fn identity(mut self, text: &str) -> Self {
        self.identity.push_str(text);
        self
    }

    /// Further entries of `identity.issuers`, each beginning with `    - `.
    pub fn issuers(mut self, text: &str) -> Self {
        self.issuers.push_str(text);
        self
    }

    /// Keys of the one listener, indented by four.
    pub fn listener(mut self, text: &str) -> Self {
        self.listener.push_str(text);
        self
    }

    /// Keys of `server:` in flow style, beginning with a comma.
    pub fn server(mut self, text: &str) -> Self {
        self.server.push_str(text);
        self
    }

    /// A file beside the configuration.
    pub fn file(mut self, name: &str, text: &str) -> Self {
        self.files.push((name.to_owned(), text.to_owned()));
        self
    }

    /// A certificate and its key as `NAME.pem` and `NAME.key`.
    pub fn certificate(self, name: &str, leaf: &Leaf) -> Self {
        self.file(&format!("{name}.pem"), &leaf.certificate).file(&format!("{name}.key"), &leaf.key)
    }

    /// Another issuer than the shared one.
    pub fn issuer(mut self, url: &str) -> Self {
        self.issuer_url = Some(url.to_owned());
        self
    }

    /// Meters and a ledger.
    pub fn billed(self) -> Self {
        self.with(
            "billing:\n  account: [org, sub]\n  ledger: sqlite:ledger.db\n  meters:\n    calls: { help: Calls, dimensions: [kind] }\n    bytes: { help: Bytes, unit: bytes }\n",
        )
    }

    /// Most tests that stop a gateway have nothing before it that watches `/readyz`.
    fn server_keys(&self) -> String {
        if self.server.contains("drain_wait") { self.server.clone() } else { format!(", drain_wait: 0s{}", self.server) }
    }

    fn text(&self, listen: u16, admin: u16) -> String {
        let issuer_url = self.issuer_url.clone().unwrap_or_else(|| issuer().url());
        let rules: String =
            self.rules.iter().map(|(name, _, keys)| format!("  - {{ file: rules/{name}.rhai{keys} }}\n")).collect();
        let rules = if rules.is_empty() { String::new() } else { format!("rules:\n{rules}") };
        format!(
            "version: 1\nlisteners:\n  - address: 127.0.0.1:{listen}\n{}admin:\n  address: 127.0.0.1:{admin}\n\
             server: {{ threads: {}, grace: 5s{} }}\nidentity:\n  issuers:\n    - name: test\n      url: {issuer_url}\n      issuer: {ISSUER}\n      \
             audiences: [{APPLICATION_ID}]\n      cooldown: 1s\n{}{}upstreams:\n{}routes:\n{}{rules}access_log: {{ output: \"file:access.log\" }}\n{}",
            self.listener,
            self.threads,
            self.server_keys(),
            self.issuers,
            self.identity,
            self.upstreams,
            self.routes,
            self.extra
        )
    }

    /// Writes everything down and starts the gateway, ready to serve.
    pub fn start(self) -> Gateway {
        let gateway = self.start_unready();
        wait_for("readiness", || gateway.admin("/readyz").is_some_and(|reply| reply.status == 200));
        gateway
    }

    /// The same, without waiting for keys.
    pub fn start_unready(self) -> Gateway {
        let folder = tempfile::tempdir().unwrap();
        let (listen, admin) = (free_port(), free_port());
        fs::create_dir(folder.path().join("rules")).unwrap();
        for (name, text, _) in &self.rules {
            fs::write(folder.path().join(format!("rules/{name}.rhai")), text).unwrap();
        }
        for (name, text) in &self.files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        fs::write(folder.path().join("config.yaml"), self.text(listen, admin)).unwrap();
        let child = spawn(folder.path(), &[], &self.variables);
        let gateway = Gateway { folder, child: Some(child), setup: self, listen, admin };
        wait_for("liveness", || gateway.admin("/livez").is_some_and(|reply| reply.status == 200));
        gateway
    }
}

fn spawn(folder: &Path, arguments: &[&str], variables: &[(String, String)]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_tollgate"))
        .args(["run", "-c", "config.yaml"])
        .args(arguments)
        .current_dir(folder)
        .env("NO_COLOR", "1")
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .stdout(Stdio::null())
        .stderr(fs::File::options().create(true).append(true).open(folder.join("stderr.log")).unwrap())
        .spawn()
        .unwrap()
}

/// A running gateway; killed when dropped, and checked for panics.
pub struct Gateway {
    folder: tempfile::TempDir,
    child: Option<Child>,
    setup: Setup,
    listen: u16,
    admin: u16,
}

impl Gateway {
    pub fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.listen).into()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    pub fn admin_address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.admin).into()
    }

    /// Asks the operators' listener; `None` while nobody listens.
    pub fn admin(&self, path: &str) -> Option<Reply> {
        let address = SocketAddr::from(([127, 0, 0, 1], self.admin));
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        ask(std::net::TcpStream::connect(address).ok()?, request.as_bytes())
    }

    /// One value from `/metrics`, 0 if the series does not exist.
    pub fn metric(&self, series: &str) -> f64 {
        let text = self.admin("/metrics").unwrap().body;
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().unwrap())
    }

    /// A request is counted when it is settled, which its client does not wait for.
    pub fn expect_metric(&self, series: &str, value: f64) {
        wait_for(&format!("{series} {value}"), || self.metric(series) == value);
    }

    /// `GET path` with a token of `request`.
    pub fn get_as(&self, path: &str, request: &MintRequest) -> Reply {
        self.get_with(path, &mint(request))
    }

    pub fn get_with(&self, path: &str, token: &str) -> Reply {
        get(self.address(), path, &format!("Authorization: Bearer {token}\r\n"))
    }

    pub fn get(&self, path: &str) -> Reply {
        get(self.address(), path, "")
    }

    /// Asks with curl for `https://HOST/PATH` or with another scheme; the authority's certificate is in `ca.pem`.
    pub fn curl(&self, url: &str, arguments: &[&str]) -> Curled {
        let ca = self.path("ca.pem").display().to_string();
        curl(self.address(), url, &[&["--cacert", &ca], arguments].concat())
    }

    pub fn send(&self, bytes: &str) -> Option<Reply> {
        send(self.address(), bytes.as_bytes())
    }

    /// Puts another text into a file the way editors do.
    pub fn write(&self, name: &str, text: &str) {
        let fresh = self.path("fresh");
        fs::write(&fresh, text).unwrap();
        fs::rename(fresh, self.path(name)).unwrap();
    }

    /// The configuration as it was written.
    pub fn config(&self) -> String {
        self.setup.text(self.listen, self.admin)
    }

    /// Puts another configuration in use, made from the one in use, and waits until it is.
    pub fn reload(&self, change: impl FnOnce(String) -> String) {
        const DONE: &str = "tollgate_config_reloads_total{result=\"success\"}";
        let before = self.metric(DONE);
        let text = fs::read_to_string(self.path("config.yaml")).unwrap();
        self.write("config.yaml", &change(text));
        wait_for("the reload", || self.metric(DONE) > before);
    }

    /// What `/status` says about the servers of the upstream `main`.
    pub fn servers(&self) -> Vec<serde_json::Value> {
        let status = self.admin("/status").unwrap().json();
        let upstreams = status["upstreams"].as_array().unwrap();
        let main = upstreams.iter().find(|upstream| upstream["name"] == "main").unwrap();
        main["servers"].as_array().unwrap().clone()
    }

    /// The state of one server of `main`.
    pub fn state(&self, server: SocketAddr) -> String {
        let servers = self.servers();
        let row = servers.iter().find(|row| row["address"] == server.to_string()).unwrap();
        row["state"].as_str().unwrap().to_owned()
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.path("stderr.log")).unwrap()
    }

    /// The access log's lines, once there are `count`.
    pub fn access_lines(&self, count: usize) -> Vec<serde_json::Value> {
        let lines = || -> Vec<serde_json::Value> {
            let text = fs::read_to_string(self.path("access.log")).unwrap_or_default();
            // What is written out together is ordered by thread.
            let mut lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            lines.sort_by_key(|line| line["time"].to_string());
            lines
        };
        wait_for("the access log", || lines().len() >= count);
        lines()
    }

    /// What `tollgate usage` says, as JSON.
    pub fn usage(&self, by: &str) -> serde_json::Value {
        let output = Command::new(env!("CARGO_BIN_EXE_tollgate"))
            .args(["usage", "-c", "config.yaml", "--format", "json", "--by", by])
            .current_dir(self.folder.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// The sum on one meter.
    pub fn used(&self, meter: &str) -> u64 {
        let usage = self.usage("meter");
        let row = usage.as_array().unwrap().iter().find(|row| row["meter"] == meter);
        row.map_or(0, |row| row["quantity"].as_u64().unwrap())
    }

    pub fn signal(&self, name: &str) {
        assert!(Command::new("kill").args([format!("-{name}"), self.pid().to_string()]).status().unwrap().success());
    }

    /// Waits for the end of the process.
    pub fn wait(&mut self) -> (ExitStatus, Duration) {
        let began = Instant::now();
        let status = self.child.as_mut().unwrap().wait().unwrap();
        (status, began.elapsed())
    }

    /// Starts a successor, which is the gateway from now on, and gives the process that leaves.
    pub fn successor(&mut self) -> Child {
        let successor = spawn(self.folder.path(), &["--upgrade"], &self.setup.variables);
        self.child.replace(successor).unwrap()
    }

    /// The same, and waits until the first process has left. Answers how it ended.
    pub fn upgrade(&mut self) -> ExitStatus {
        let mut old = self.successor();
        wait_for("the predecessor's end", || old.try_wait().unwrap().is_some());
        old.wait().unwrap()
    }

    /// Starts it again on the same folder and ports.
    pub fn restart(&mut self) {
        self.restart_unready();
        wait_for("readiness", || self.admin("/readyz").is_some_and(|reply| reply.status == 200));
    }

    /// The same, without waiting for keys.
    pub fn restart_unready(&mut self) {
        self.child = Some(spawn(self.folder.path(), &[], &self.setup.variables));
        wait_for("liveness", || self.admin("/livez").is_some_and(|reply| reply.status == 200));
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        let log = self.log();
        if !std::thread::panicking() {
            assert!(!log.contains("panicked at"), "the gateway panicked:\n{log}");
        } else {
            eprintln!("the gateway said:\n{log}");
        }
    }
}
