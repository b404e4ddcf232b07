use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{Signer, key_set};

/// What the issuer does when it is asked.
#[derive(Clone)]
pub(crate) enum Answer {
    Json(String),
    Status(u16),
    Redirect(String),
    /// Reads the request and says nothing.
    Hang,
    /// Begins well and then sends a byte now and then.
    Drip,
    /// So many bytes of JSON, or as many as are taken.
    Huge(usize),
    EndlessHeaders,
}

/// An issuer behind a real socket.
pub(crate) struct Idp {
    pub(crate) url: String,
    pub(crate) keys: Mutex<Answer>,
    /// `None` answers as FusionAuth does.
    pub(crate) discovery: Mutex<Option<Answer>>,
    asked: Mutex<Vec<String>>,
}

impl Idp {
    pub(crate) async fn open(keys: Answer) -> Arc<Self> {
        Self::open_at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), keys).await
    }

    pub(crate) async fn open_at(address: SocketAddr, keys: Answer) -> Arc<Self> {
        let listener = TcpListener::bind(address).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let idp = Arc::new(Self { url, keys: Mutex::new(keys), discovery: Mutex::default(), asked: Mutex::default() });
        let serving = Arc::clone(&idp);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(Arc::clone(&serving).answer(stream));
            }
        });
        idp
    }

    /// How often a path that ends so was asked for.
    pub(crate) fn asked(&self, ending: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|path| path.ends_with(ending)).count()
    }

    pub(crate) fn publish(&self, signers: &[&Signer]) {
        *self.keys.lock().unwrap() = Answer::Json(key_set(signers));
    }

    pub(crate) fn answer_keys(&self, answer: Answer) {
        *self.keys.lock().unwrap() = answer;
    }

    async fn answer(self: Arc<Self>, mut stream: TcpStream) {
        let mut request = vec![0; 4096];
        let read = stream.read(&mut request).await.unwrap_or(0);
        let request = String::from_utf8_lossy(&request[..read]).into_owned();
        let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
        self.asked.lock().unwrap().push(path.clone());
        let answer = if path.ends_with("/.well-known/openid-configuration") {
            self.discovery.lock().unwrap().clone().unwrap_or_else(|| {
                Answer::Json(json!({"issuer": "acme.com", "jwks_uri": format!("{}/.well-known/jwks.json", self.url)}).to_string())
            })
        } else if path == "/.well-known/jwks.json" {
            self.keys.lock().unwrap().clone()
        } else {
            Answer::Status(404)
        };
        let _ = write(&mut stream, answer).await;
    }
}

async fn write(stream: &mut TcpStream, answer: Answer) -> std::io::Result<()> {
    match answer {
        Answer::Json(body) => {
            let length = body.len();
            let head =
                format!("HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
            stream.write_all(format!("{head}{body}").as_bytes()).await
        }
        Answer::Status(status) => {
            stream.write_all(format!("HTTP/1.1 {status} No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").as_bytes()).await
        }
        Answer::Redirect(to) => {
            let head = format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            stream.write_all(head.as_bytes()).await
        }
        Answer::Hang => std::future::pending().await,
        Answer::Drip => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{\"keys\":[").await?;
            loop {
                stream.write_all(b" ").await?;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        Answer::Huge(bytes) => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{\"keys\":[").await?;
            for _ in 0..bytes / 65536 {
                stream.write_all(&[b' '; 65536]).await?;
            }
            stream.write_all(b"]}").await
        }
        Answer::EndlessHeaders => {
            stream.write_all(b"HTTP/1.1 200 OK\r\n").await?;
            loop {
                stream.write_all(b"x-a: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n").await?;
            }
        }
    }
}
