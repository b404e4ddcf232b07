use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A client with a connection that it keeps: what it got, and whether it was told to close.
pub struct Kept {
    reader: BufReader<TcpStream>,
}

impl Kept {
    pub fn to(address: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        Ok(Self { reader: BufReader::new(stream) })
    }

    /// Status, and whether the connection ends with this answer.
    pub fn ask(&mut self, token: &str) -> std::io::Result<(u16, bool)> {
        let request = format!("GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n");
        self.reader.get_mut().write_all(request.as_bytes())?;
        let (mut status, mut length, mut closes) = (0, 0, false);
        loop {
            let mut line = String::new();
            if self.reader.read_line(&mut line)? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            let lower = line.trim_end().to_ascii_lowercase();
            match lower.split_once(':') {
                Some(("content-length", value)) => length = value.trim().parse().unwrap(),
                Some(("connection", value)) => closes = value.trim() == "close",
                _ if lower.is_empty() => break,
                _ if status == 0 => status = lower.split(' ').nth(1).unwrap().parse().unwrap(),
                _ => {}
            }
        }
        self.reader.read_exact(&mut vec![0; length])?;
        Ok((status, closes))
    }
}
