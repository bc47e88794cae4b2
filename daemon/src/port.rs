//! Whether a port is free, asked before the executors listen on it. Blocking, for the start only.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    thread,
    time::{Duration, Instant},
};

/// How long a port may take to become free after its last owner has ended.
const FREED_WITHIN: Duration = Duration::from_secs(1);
/// Pause between two attempts.
const FREED_LOOK: Duration = Duration::from_millis(20);

/// An error when another process listens on this address. Our own sockets share ports (SO_REUSEPORT), so that two
/// processes would otherwise split the connections between them without a word. Waits a second for a port to become
/// free: the kernel takes an io_uring apart after its process has ended, and holds the listening sockets until then.
pub fn check_port_is_free(addr: SocketAddr) -> io::Result<()> {
    let until = Instant::now() + FREED_WITHIN;
    loop {
        match TcpListener::bind(addr) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < until => {
                thread::sleep(FREED_LOOK);
            }
            bound => return bound.map(drop),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn a_port_is_free_once_its_owner_lets_go() {
        let owner = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let addr = owner.local_addr().unwrap();
        assert_eq!(check_port_is_free(addr).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(owner);
        check_port_is_free(addr).unwrap();
    }
}
