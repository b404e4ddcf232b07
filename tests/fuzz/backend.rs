use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::reader::{self, Reading, Unread};

type Seen = Arc<Mutex<Vec<Result<Reading, String>>>>;

/// A backend that reads strictly and writes everything down, also requests that never became whole.
pub struct Backend {
    address: SocketAddr,
    seen: Seen,
    open: Arc<Mutex<usize>>,
}

impl Backend {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, open) = (Seen::default(), Arc::new(Mutex::new(0)));
        let backend = Self { address, seen: Arc::clone(&seen), open: Arc::clone(&open) };
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (seen, open) = (Arc::clone(&seen), Arc::clone(&open));
                thread::spawn(move || serve(stream, &seen, &open));
            }
        });
        backend
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    /// What was read since, when no request is half read any more.
    pub fn since(&self, count: usize) -> Vec<Result<Reading, String>> {
        for _ in 0..1000 {
            if *self.open.lock().unwrap() == 0 {
                break;
            }
            thread::sleep(Duration::from_millis(5));
        }
        self.seen.lock().unwrap()[count..].to_vec()
    }
}

fn serve(mut stream: TcpStream, seen: &Seen, open: &Mutex<usize>) {
    let mut received = Vec::new();
    let mut chunk = [0; 16 << 10];
    let mut is_open = false;
    loop {
        match reader::read(&received) {
            Ok((reading, rest)) => {
                let rest = rest.to_vec();
                received = rest;
                seen.lock().unwrap().push(Ok(reading));
                if std::mem::take(&mut is_open) {
                    *open.lock().unwrap() -= 1;
                }
                if stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").is_err() {
                    return;
                }
                if !received.is_empty() {
                    // More than one request at once: the gateway never sends that, so somebody else wrote it.
                    continue;
                }
            }
            Err(unread) => {
                let got = stream.read(&mut chunk).unwrap_or(0);
                if got == 0 {
                    match unread {
                        Unread::Incomplete(reading) => seen.lock().unwrap().push(Ok(reading)),
                        Unread::Wrong(problem) if !received.is_empty() => {
                            seen.lock().unwrap().push(Err(format!("{problem}: {:?}", String::from_utf8_lossy(&received))));
                        }
                        Unread::Wrong(_) => {}
                    }
                    if is_open {
                        *open.lock().unwrap() -= 1;
                    }
                    return;
                }
                if !is_open {
                    is_open = true;
                    *open.lock().unwrap() += 1;
                }
                received.extend_from_slice(&chunk[..got]);
            }
        }
    }
}
