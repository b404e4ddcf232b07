//! Ports for programs that have to be told one before they listen on it.

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Mutex;

/// Below what any system takes for connections by itself: a port that the system gave once and that was closed again can be
/// taken in between by any connection of any test.
const RANGE: std::ops::Range<u16> = 10_000..30_000;

/// A locked file for each port that was handed out: two tests, also of two programs, never get the same one.
static RESERVED: Mutex<Vec<File>> = Mutex::new(Vec::new());

/// A port that nothing listens on and that no other test gets.
pub(crate) fn free_port() -> u16 {
    let folder = std::env::temp_dir().join("tollgate-test-ports");
    std::fs::create_dir_all(&folder).unwrap();
    let mut reserved = RESERVED.lock().unwrap();
    // Each program begins somewhere else, so that the ports of a run that just ended rest for a while.
    let begin = std::process::id().wrapping_mul(7_919) as usize + reserved.len();
    let ports = (0..RANGE.len()).map(|step| RANGE.start + ((begin + step) % RANGE.len()) as u16);
    for port in ports {
        let reservation = File::create(folder.join(port.to_string())).unwrap();
        if reservation.try_lock().is_ok() && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            reserved.push(reservation);
            return port;
        }
    }
    panic!("no port is free");
}
