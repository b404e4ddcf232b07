use std::net::SocketAddr;
use std::process::Command;

/// What curl, a foreign peer with its own TLS and HTTP/2, made of an answer.
#[derive(Debug)]
pub struct Curled {
    /// 0 if there was no answer.
    pub status: u16,
    /// `1.0`, `1.1` or `2`.
    pub version: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Curled {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub fn reason(&self) -> String {
        let document: serde_json::Value = serde_json::from_str(&self.body).unwrap_or_default();
        document["reason"].as_str().unwrap_or_default().to_owned()
    }
}

/// `curl URL` with further arguments, where every host name leads to `to`.
pub fn curl(to: SocketAddr, url: &str, arguments: &[&str]) -> Curled {
    let output = Command::new("curl")
        .args(["-s", "-S", "-i", "--max-time", "20", "--noproxy", "*"])
        .args(["--connect-to", &format!("::{}:{}", to.ip(), to.port())])
        .args(arguments)
        .arg(url)
        .output()
        .expect("curl, which `make test` installs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let mut lines = head.split("\r\n");
    let first = lines.next().unwrap_or_default();
    let mut words = first.strip_prefix("HTTP/").unwrap_or_default().split(' ');
    Curled {
        version: words.next().unwrap_or_default().to_owned(),
        status: words.next().and_then(|word| word.parse().ok()).unwrap_or(0),
        headers: lines.filter_map(|line| line.split_once(": ")).map(|(n, v)| (n.to_owned(), v.to_owned())).collect(),
        body: body.to_owned(),
    }
}
