//! Ports that a program will listen on, held from its start without listening. Blocking, for the start only.
//!
//! Executors share a port (SO_REUSEPORT), so that two processes of one user could share it, too, and split the
//! connections between them without a word. And a port that listens before its program serves accepts connections that
//! are refused later. So [`hold`] binds each address without listening: that fails when somebody listens there. Of two
//! programs of ours that start together, neither of which listens yet, the second fails at a name of the kernel's
//! (an abstract Unix socket), which belongs to the same network namespace as the port.

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::{
        fd::OwnedFd,
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr as UnixAddr, UnixListener},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::{
    io::Errno,
    net::{AddressFamily, SocketFlags, SocketType, ipproto, socket_with, sockopt},
};

use crate::{
    bind_address::BindAddress,
    exit::{Cause, Fatal},
    metrics_port::MetricsPort,
};

/// How long a port may take to become free after its last owner has ended.
const FREED_WITHIN: Duration = Duration::from_secs(1);
/// Beginning of the kernel's name for an address that a program of ours holds.
const NAME: &str = "ringmq listens on ";
/// Pause between two attempts.
const FREED_LOOK: Duration = Duration::from_millis(20);

/// A port that is ours, on one or several addresses. Dropping it gives it back.
#[derive(Debug)]
pub struct HeldPort {
    addrs: Vec<SocketAddr>,
    _bound: Vec<OwnedFd>,
    _names: Vec<UnixListener>,
}

impl HeldPort {
    /// The addresses to listen on, with the port that the kernel chose for port 0.
    pub fn addrs(&self) -> &[SocketAddr] {
        &self.addrs
    }
}

/// Holds `port` on what `bind` names. Without a name that is every address of both families, or of IPv4 alone on a
/// machine without IPv6. Waits a second for a port to become free: the kernel takes an io_uring apart after its process
/// has ended, and holds the listening sockets until then. `key` is the configuration key to blame.
pub fn hold(bind: &BindAddress, port: u16, key: &str) -> Result<HeldPort, Fatal> {
    let mut held = HeldPort { addrs: Vec::new(), _bound: Vec::new(), _names: Vec::new() };
    let mut port = port;
    for (ip, optional) in bind.ips() {
        let addr = SocketAddr::new(ip, port);
        match hold_patiently(addr) {
            Ok((addr, bound, name)) => {
                port = addr.port();
                held.addrs.push(addr);
                held._bound.push(bound);
                held._names.extend(name);
            }
            Err(error) if optional && is_missing_family(&error) => {
                tracing::info!("this machine has no IPv6; connections come over IPv4 only");
            }
            Err(error) => return Err(Fatal::new(Cause::Port, refusal(addr, key, &error))),
        }
    }
    Ok(held)
}

/// Holds the port of metrics, if there is to be one. Nobody has asked for the usual one of a program: where it is taken there are
/// no metrics, and a warning says so.
pub fn hold_for_metrics(
    port: MetricsPort,
    usual: u16,
    bind: &BindAddress,
) -> Result<Option<HeldPort>, Fatal> {
    let Some(number) = port.number(usual) else { return Ok(None) };
    match hold(bind, number, "metricsPort or metricsBindAddress") {
        Err(refused) if port == MetricsPort::Usual => {
            tracing::warn!(
                "{}; metrics and health are not shown until then (metricsPort=0: not wanted)",
                refused.sentence
            );
            Ok(None)
        }
        held => held.map(Some),
    }
}

fn refusal(addr: SocketAddr, key: &str, error: &io::Error) -> String {
    let remedy = match error.kind() {
        io::ErrorKind::AddrInUse => match holder(addr) {
            Some(who) => format!("the port is in use: {who} has it; end it, or change {key}"),
            None => {
                format!("the port is in use: end the process that listens there, or change {key}")
            }
        },
        io::ErrorKind::AddrNotAvailable => {
            format!("no interface of this machine has this address: change bindAddress ({error})")
        }
        io::ErrorKind::PermissionDenied => format!("{error}: change {key} to one above 1023"),
        _ => format!("{error}: change {key} or bindAddress"),
    };
    format!("cannot listen on {addr}: {remedy}")
}

fn is_missing_family(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL))
}

type Held = (SocketAddr, OwnedFd, Option<UnixListener>);

fn hold_patiently(addr: SocketAddr) -> io::Result<Held> {
    let until = Instant::now() + FREED_WITHIN;
    loop {
        match hold_one(addr) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < until => {
                thread::sleep(FREED_LOOK);
            }
            held => return held,
        }
    }
}

fn hold_one(addr: SocketAddr) -> io::Result<Held> {
    let family = if addr.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, Some(ipproto::TCP))?;
    // Connections of the last life that the kernel still holds are nobody's port; listeners are, also with this.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if addr.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    rustix::net::bind(&socket, &addr)?;
    let bound = SocketAddr::try_from(rustix::net::getsockname(&socket)?)?;
    let name = UnixAddr::from_abstract_name(format!("{NAME}{bound}"))?;
    let name = match UnixListener::bind_addr(&name) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(error),
        // Where Unix sockets are forbidden, the kernel's own check when the executors listen has to do.
        name => name.ok(),
    };
    Ok((bound, socket, name))
}

/// The program of ours that holds this port, in words, if one does: by its process id where that can be seen.
fn holder(addr: SocketAddr) -> Option<String> {
    let sockets = fs::read_to_string("/proc/net/unix").ok()?;
    let inode = sockets.lines().find_map(|line| inode_of_holder(line, addr))?;
    let process = process_with(&format!("socket:[{inode}]"));
    Some(match process {
        Some(id) => format!("process {id}, a broker or name server of RingMQ,"),
        None => "a broker or name server of RingMQ".to_owned(),
    })
}

/// The inode in a line of `/proc/net/unix` (Num RefCount Protocol Flags Type St Inode Path), when it is the name of a holder
/// of this port, on whatever address of the family.
fn inode_of_holder(line: &str, addr: SocketAddr) -> Option<&str> {
    let (fields, held) = line.split_once(&format!("@{NAME}"))?;
    let held: SocketAddr = held.parse().ok()?;
    let same = held.port() == addr.port() && held.is_ipv6() == addr.is_ipv6();
    fields.split_whitespace().nth(6).filter(|_| same)
}

/// The process that has this open, among those that this user may look into.
fn process_with(open: &str) -> Option<u32> {
    let names_it =
        |file: fs::DirEntry| fs::read_link(file.path()).is_ok_and(|link| link.as_os_str() == open);
    let mut processes = fs::read_dir("/proc").ok()?.flatten();
    processes.find_map(|process| {
        let id = process.file_name().to_str()?.parse().ok()?;
        let mut files = fs::read_dir(process.path().join("fd")).ok()?.flatten();
        files.any(names_it).then_some(id)
    })
}

/// Whether somebody on this machine can be reached over this family: a loopback address of it can be bound.
pub fn has_family(ip: IpAddr) -> bool {
    let loopback = match ip {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
    };
    std::net::UdpSocket::bind((loopback, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    fn loopback() -> BindAddress {
        BindAddress::from(IpAddr::V4(Ipv4Addr::LOCALHOST))
    }

    #[test]
    fn a_port_is_ours_once_its_owner_lets_go() {
        let owner = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let addr = owner.local_addr().unwrap();
        let refused = hold(&loopback(), addr.port(), "listenPort").unwrap_err();
        assert_eq!(refused.cause, Cause::Port);
        let expected = format!("cannot listen on {addr}: the port is in use: ");
        assert!(refused.sentence.starts_with(&expected), "{refused}");
        assert!(refused.sentence.contains("listenPort"), "{refused}");
        drop(owner);
        assert_eq!(hold(&loopback(), addr.port(), "listenPort").unwrap().addrs(), [addr]);
    }

    /// Who connects to a port that is held is refused by the kernel, not accepted and dropped; and neither a second
    /// program of ours may hold it nor is the holder kept from listening.
    #[test]
    fn a_held_port_accepts_nobody_and_belongs_to_one() {
        let held = hold(&loopback(), 0, "listenPort").unwrap();
        let addr = held.addrs()[0];
        let refused = TcpStream::connect(addr).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        let refused = hold(&loopback(), addr.port(), "listenPort").unwrap_err();
        assert_eq!(refused.cause, Cause::Port);
        let named = format!("process {}, a broker or name server of RingMQ", std::process::id());
        assert!(refused.sentence.contains(&named), "{refused}");
        let listener = TcpListener::bind(addr).unwrap();
        TcpStream::connect(addr).unwrap();
        drop((held, listener));
        hold(&loopback(), addr.port(), "listenPort").unwrap();
    }

    #[test]
    fn only_who_asks_for_a_port_of_metrics_does_not_start_without_it() {
        let owner = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let taken = owner.local_addr().unwrap().port();
        let hold = |port, usual| hold_for_metrics(port, usual, &loopback());
        assert!(hold(MetricsPort::Usual, taken).unwrap().is_none());
        let refused = hold(MetricsPort::At(taken), 1).unwrap_err();
        assert!(refused.sentence.contains("change metricsPort"), "{refused}");
        assert!(hold(MetricsPort::Off, taken).unwrap().is_none());
        drop(owner);
        assert!(hold(MetricsPort::Usual, taken).unwrap().is_some());
    }

    #[test]
    fn nothing_named_is_both_families_with_one_port() {
        let held = hold(&BindAddress::default(), 0, "listenPort").unwrap();
        let v6 = has_family(IpAddr::V6(Ipv6Addr::LOCALHOST));
        assert_eq!(held.addrs().len(), 1 + usize::from(v6), "{held:?}");
        let port = held.addrs()[0].port();
        assert!(port > 0 && held.addrs().iter().all(|addr| addr.port() == port), "{held:?}");
        let absent = BindAddress::from(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 77)));
        let refused = hold(&absent, 0, "listenPort").unwrap_err();
        assert!(refused.sentence.contains("change bindAddress"), "{refused}");
    }
}
