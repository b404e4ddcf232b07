use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::{free_port, wait_for};

/// A real redis-server that keeps nothing on disk; killed when dropped.
pub struct RedisServer {
    child: Option<Child>,
    port: u16,
    arguments: Vec<String>,
    folder: tempfile::TempDir,
}

impl RedisServer {
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// With further arguments, such as `--requirepass`.
    pub fn with(arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let mut server = Self { child: None, port: free_port(), arguments, folder: tempfile::tempdir().unwrap() };
        server.resume();
        server
    }

    pub fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    /// The section of a gateway that uses it.
    pub fn section(&self) -> String {
        format!("redis: {{ url: \"redis://{}\", timeout: 200ms }}\n", self.address())
    }

    /// Kills it, and with it all that it held.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Starts it again, empty, on the same port.
    pub fn resume(&mut self) {
        let log = fs::File::options().create(true).append(true).open(self.folder.path().join("log")).unwrap();
        let child = Command::new("redis-server")
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .args(&self.arguments)
            .current_dir(self.folder.path())
            .stdout(log)
            .stderr(Stdio::null())
            .spawn()
            .expect("redis-server is installed by scripts/install-missing test");
        self.child = Some(child);
        wait_for("Redis", || self.ask("PING").is_some());
    }

    /// From now on it takes connections and answers nothing.
    pub fn hang(&self) {
        self.signal("STOP");
    }

    /// Ends [`hang`](Self::hang).
    pub fn wake(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let pid = self.child.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args([format!("-{name}"), pid]).status().unwrap().success());
    }

    /// The first bytes of the answer to one inline command.
    pub fn ask(&self, command: &str) -> Option<String> {
        let mut stream = TcpStream::connect(self.address()).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        stream.write_all(format!("{command}\r\n").as_bytes()).ok()?;
        let mut answer = vec![0; 64 * 1024];
        let length = stream.read(&mut answer).ok().filter(|length| *length > 0)?;
        answer.truncate(length);
        Some(String::from_utf8_lossy(&answer).into_owned())
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.stop();
    }
}
