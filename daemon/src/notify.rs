//! Tells the service manager how this program is: `Type=notify` of systemd and whatever speaks the same datagrams.
//!
//! The manager names a Unix socket in `NOTIFY_SOCKET`; without it nothing is sent. See sd_notify(3). A manager that does
//! not take the datagram is no reason to end.

use std::{
    ffi::OsStr,
    io,
    os::{
        linux::net::SocketAddrExt,
        unix::{
            ffi::OsStrExt,
            net::{SocketAddr, UnixDatagram},
        },
    },
};

/// It serves; `status` is shown by `systemctl status`.
pub fn ready(status: &str) {
    tell(&format!("READY=1\nSTATUS={status}"));
}

/// It ends.
pub fn stopping() {
    tell("STOPPING=1\nSTATUS=stopping");
}

fn tell(state: &str) {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET").filter(|socket| !socket.is_empty()) else {
        return;
    };
    if let Err(error) = send(&socket, state) {
        tracing::warn!(%error, ?socket, "the service manager was not told (NOTIFY_SOCKET)");
    }
}

fn send(socket: &OsStr, state: &str) -> io::Result<()> {
    // A name that begins with @ is one of the kernel's, not of the file system.
    let addr = match socket.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(socket)?,
    };
    let datagrams = UnixDatagram::unbound()?;
    // A manager that reads nothing must not stop us.
    datagrams.set_nonblocking(true)?;
    datagrams.send_to_addr(state.as_bytes(), &addr).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_and_a_name_of_the_kernel_are_reached() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("notify");
        let name = format!("@ringmq notify test {}", std::process::id());
        let abstract_addr = SocketAddr::from_abstract_name(&name[1..]).expect("a name");
        let by_path = UnixDatagram::bind(&path).expect("a socket");
        let by_name = UnixDatagram::bind_addr(&abstract_addr).expect("a socket");
        for (socket, receiver) in [(path.as_os_str(), by_path), (OsStr::new(&name), by_name)] {
            send(socket, "READY=1").expect("sent");
            let mut bytes = [0; 64];
            let read = receiver.recv(&mut bytes).expect("a datagram");
            assert_eq!(&bytes[..read], b"READY=1");
        }
        assert!(send(OsStr::new("/no/such/socket"), "READY=1").is_err());
    }
}
