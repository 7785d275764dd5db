//! What tests of the real program have in common: a port for it, and a question that it answers.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

/// Longer than the program needs for anything on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A port that nobody has.
pub(crate) fn free_port() -> u16 {
    let free = UdpSocket::bind("127.0.0.1:0").expect("loopback has free ports");
    free.local_addr().unwrap().port()
}

/// The first line of the answer to an OPTIONS request, asked again until there is one.
pub(crate) fn answer(port: u16) -> Option<String> {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let own = socket.local_addr().unwrap().port();
    socket
        .set_read_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    let text = format!(
        "OPTIONS sip:x@127.0.0.1 SIP/2.0\r\n\
         Via: SIP/2.0/UDP 127.0.0.1:{own};branch=z9hG4bKr\r\n\
         Max-Forwards: 70\r\nFrom: <sip:a@a.test>;tag=1\r\nTo: <sip:x@127.0.0.1>\r\n\
         Call-ID: answer-{own}\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
    );
    let (end, mut buffer) = (Instant::now() + PATIENCE, [0; 4096]);
    while Instant::now() < end {
        let _ = socket.send_to(text.as_bytes(), ("127.0.0.1", port));
        if let Ok(size) = socket.recv(&mut buffer) {
            let text = String::from_utf8_lossy(&buffer[..size]);
            return text.lines().next().map(str::to_owned);
        }
    }
    None
}
