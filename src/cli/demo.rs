use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use clap::Args;

use super::{Failure, terminal};
use crate::billing::report::{self, Format, Query};
use crate::demo::{self, Ink, Ports, Tour};

/// Try it: a FusionAuth-shaped issuer, two services and the gateway, all on this machine.
#[derive(Debug, Args)]
pub(super) struct Demo {
    /// The gateway's port
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// The operators' port: metrics, health, status
    #[arg(long, default_value_t = 9090)]
    admin_port: u16,
    /// The issuer's port; the default is FusionAuth's own
    #[arg(long, default_value_t = 9011)]
    issuer_port: u16,
    /// The port of the orders service
    #[arg(long, default_value_t = 9101)]
    orders_port: u16,
    /// The port of the reports service
    #[arg(long, default_value_t = 9102)]
    reports_port: u16,
    /// The port of the servers for enterprise customers
    #[arg(long, default_value_t = 9103)]
    dedicated_port: u16,
    /// End after the tour
    #[arg(long)]
    once: bool,
}

/// The shipped configuration and rules, for a binary that is run elsewhere than in its source folder.
const SHIPPED: [(&str, &str); 7] = [
    ("config.yaml", include_str!("../../config.yaml")),
    ("rules/plan-routing.rhai", include_str!("../../rules/plan-routing.rhai")),
    ("rules/throttling.rhai", include_str!("../../rules/throttling.rhai")),
    ("rules/admin-only.rhai", include_str!("../../rules/admin-only.rhai")),
    ("rules/reports-need-a-plan.rhai", include_str!("../../rules/reports-need-a-plan.rhai")),
    ("rules/metering.rhai", include_str!("../../rules/metering.rhai")),
    ("rules/lib/plans.rhai", include_str!("../../rules/lib/plans.rhai")),
];

impl Demo {
    pub(super) fn execute(self) -> Result<(), Failure> {
        let ports = Ports {
            issuer: self.issuer_port,
            orders: self.orders_port,
            reports: self.reports_port,
            dedicated: self.dedicated_port,
            gateway: self.port,
            admin: self.admin_port,
        };
        ports.probe().map_err(|error| Failure::new(error.to_string()))?;
        let folder = Folder::new().map_err(|error| Failure::new(format!("a folder for the demo: {error}")))?;
        let demo = demo::Demo::start(&ports).map_err(|error| Failure::new(format!("the demo's services: {error}")))?;
        let config = folder.config().map_err(|error| Failure::new(format!("the demo's configuration: {error}")))?;
        let mut gateway =
            Gateway::start(&config, &ports, &folder).map_err(|error| Failure::new(format!("the gateway: {error}")))?;

        let ledger = folder.ledger();
        let usage = || {
            let query = Query { by: vec!["account".into(), "meter".into()], ..Query::default() };
            report::read(&ledger, &query).map_or_else(|error| error.to_string(), |totals| report::render(&totals, Format::Table))
        };
        let (url, admin) = (format!("http://{}", ports.gateway_address()), format!("http://{}", ports.admin_address()));
        let command = std::env::args().next().unwrap_or_else(|| "tollgate".into());
        let tour = Tour {
            gateway: &url,
            admin: &admin,
            demo: &demo,
            command: &command,
            usage: &usage,
            usage_command: &format!("TOLLGATE_LEDGER=sqlite:{} \\\n  {command} usage --by account,meter", ledger.display()),
            ink: if terminal::has_color() { Ink::Color } else { Ink::Plain },
        };
        let made = tour.make(&mut io::stdout()).map_err(|error| Failure::new(format!("the tour ended early: {error}")));
        if made.is_err() || self.once {
            gateway.stop();
            return made;
        }
        let _ = writeln!(io::stdout(), "\n  Rules and configuration: {} (a change is loaded at once)", config.display());
        let _ = writeln!(io::stdout(), "  Access log:              {}", folder.access_log().display());
        let _ = writeln!(io::stdout(), "  Ctrl-C stops everything.");
        gateway.wait()
    }
}

/// Where the demo keeps its ledger and its log; removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> io::Result<Self> {
        let path = std::env::temp_dir().join(format!("tollgate-demo-{}", std::process::id()));
        fs::create_dir_all(&path)?;
        Ok(Self(path))
    }

    fn ledger(&self) -> PathBuf {
        self.0.join("ledger.db")
    }

    fn access_log(&self) -> PathBuf {
        self.0.join("access.log")
    }

    /// The configuration of the folder we stand in if it is the shipped one's, else a copy.
    fn config(&self) -> io::Result<PathBuf> {
        let here = Path::new("config.yaml");
        if here.is_file() && Path::new("rules/plan-routing.rhai").is_file() {
            return Ok(here.to_owned());
        }
        for (name, text) in SHIPPED {
            let path = self.0.join(name);
            fs::create_dir_all(path.parent().unwrap_or(&self.0))?;
            fs::write(path, text)?;
        }
        Ok(self.0.join("config.yaml"))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The gateway as a process of its own: the demo shows what `tollgate run` does, not something like it.
struct Gateway(Child);

impl Gateway {
    fn start(config: &Path, ports: &Ports, folder: &Folder) -> io::Result<Self> {
        let [orders, reports, dedicated] = ports.service_addresses();
        Command::new(std::env::current_exe()?)
            .args(["run", "--config"])
            .arg(config)
            .env("TOLLGATE_LISTEN", ports.gateway_address().to_string())
            .env("TOLLGATE_ADMIN", ports.admin_address().to_string())
            .env("TOLLGATE_LEDGER", format!("sqlite:{}", folder.ledger().display()))
            .env("ORDERS_URL", format!("http://{orders}"))
            .env("REPORTS_URL", format!("http://{reports}"))
            .env("DEDICATED_URL", format!("http://{dedicated}"))
            .env("FUSIONAUTH_URL", format!("http://127.0.0.1:{}", ports.issuer))
            .env("TOLLGATE_LOG", "tollgate=error")
            .env_remove("FUSIONAUTH_ISSUER")
            .env_remove("FUSIONAUTH_CLIENT_ID")
            .env_remove("FUSIONAUTH_TENANT_ID")
            .stdin(Stdio::null())
            .stdout(File::create(folder.access_log())?)
            .spawn()
            .map(Self)
    }

    fn stop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }

    /// Until Ctrl-C, which the terminal sends to the gateway as well.
    fn wait(&mut self) -> Result<(), Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::new(error.to_string()))?;
        runtime.block_on(async {
            let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
                .map_err(|error| Failure::new(error.to_string()))?;
            loop {
                tokio::select! {
                    _ = tokio::signal::ctrl_c() => break,
                    _ = terminate.recv() => break,
                    () = tokio::time::sleep(Duration::from_millis(200)) => {
                        if let Ok(Some(status)) = self.0.try_wait() {
                            return Err(Failure::new(format!("the gateway ended by itself: {status}")));
                        }
                    }
                }
            }
            Ok(())
        })?;
        let asked = Instant::now();
        while asked.elapsed() < Duration::from_millis(500) && matches!(self.0.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(10));
        }
        self.stop();
        Ok(())
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.stop();
    }
}
