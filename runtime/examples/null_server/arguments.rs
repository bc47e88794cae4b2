//! What both servers that store nothing are told, `PORT CORE`, and what they tell: where they listen.

use std::{
    env,
    io::{self, Write},
    net::{Ipv4Addr, SocketAddr},
};

/// Where to listen (port 0: the kernel's choice), and on which CPU to run.
pub(crate) fn address_and_core() -> Result<(SocketAddr, usize), String> {
    let words: Vec<String> = env::args().collect();
    let [_, port, core] = words.as_slice() else {
        return Err("the arguments are PORT CORE".to_owned());
    };
    let port: u16 = port.parse().map_err(|error| format!("port {port}: {error}"))?;
    let core = core.parse().map_err(|error| format!("core {core}: {error}"))?;
    Ok((SocketAddr::from((Ipv4Addr::LOCALHOST, port)), core))
}

/// One line of standard output, for whoever waits for the server and did not choose the port.
pub(crate) fn announce(at: SocketAddr) -> io::Result<()> {
    let mut out = io::stdout();
    writeln!(out, "listening on {at}")?;
    out.flush()
}
