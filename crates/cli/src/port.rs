//! Listening on loopback, and who holds a port that is busy.

use crate::error::CliError;
use std::io::ErrorKind;
use std::net::SocketAddr;
use tokio::net::TcpListener;

/// How many ports a demo tries, from the first one on, until one is free.
#[cfg(feature = "demo")]
const DEMO_PORTS: u16 = 50;

/// Listens on a loopback address; the error for a busy port names its holder and the flag.
pub async fn listen(address: SocketAddr) -> Result<TcpListener, CliError> {
    if !address.ip().is_loopback() {
        let message = format!("{address} is beyond loopback, and this version serves without TLS");
        return Err(CliError::refused(message).hint(format!("claviger serve --listen 127.0.0.1:{}", address.port())));
    }
    TcpListener::bind(address).await.map_err(|error| match error.kind() {
        ErrorKind::AddrInUse => busy(address),
        _ => CliError::failed(format!("{address} cannot be listened on: {error}")).hint("claviger serve --listen 127.0.0.1:PORT"),
    })
}

/// Listens on the first free port from this one on.
#[cfg(feature = "demo")]
pub async fn listen_from(first: SocketAddr) -> Result<TcpListener, CliError> {
    for step in 0..DEMO_PORTS {
        let address = SocketAddr::new(first.ip(), first.port().saturating_add(step));
        match TcpListener::bind(address).await {
            Err(error) if error.kind() == ErrorKind::AddrInUse => {}
            bound => return bound.map_err(|error| CliError::failed(format!("{address} cannot be listened on: {error}"))),
        }
    }
    Err(busy(first))
}

fn busy(address: SocketAddr) -> CliError {
    let holder = holder(address.port()).map(|holder| format!(" by {holder}")).unwrap_or_default();
    let free = address.port().saturating_add(100);
    CliError::failed(format!("port {} is taken{holder}", address.port())).hint(format!("use another one: --listen {}:{free}", address.ip()))
}

/// The process that listens on a port, as `name (pid N)`, where the system tells.
#[cfg(target_os = "linux")]
pub fn holder(port: u16) -> Option<String> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| std::fs::read_to_string(path).unwrap_or_default());
    let inode = tables.iter().flat_map(|table| table.lines()).find_map(|line| listening_inode(line, port))?;
    let wanted = format!("socket:[{inode}]");
    let processes = std::fs::read_dir("/proc").ok()?.flatten();
    let pid = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()).find(|pid| {
        let open = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        let mut targets = open.filter_map(|file| std::fs::read_link(file.path()).ok());
        targets.any(|target| target.as_os_str() == wanted.as_str())
    })?;
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    Some(format!("{} (pid {pid})", crate::output::printable(name.trim())))
}

/// Not told on this system.
#[cfg(not(target_os = "linux"))]
pub fn holder(_port: u16) -> Option<String> {
    None
}

/// The inode of a socket that listens on the port, from a line of `/proc/net/tcp` (proc(5)).
#[cfg(target_os = "linux")]
fn listening_inode(line: &str, port: u16) -> Option<&str> {
    /// `TCP_LISTEN` in the kernel's table of states.
    const LISTEN: &str = "0A";
    let mut fields = line.split_whitespace();
    let local = fields.nth(1)?;
    let (_, local_port) = local.rsplit_once(':')?;
    let state = fields.nth(1)?;
    let inode = fields.nth(5)?;
    (state == LISTEN && u16::from_str_radix(local_port, 16) == Ok(port)).then_some(inode)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn only_a_listening_socket_on_the_port_counts() {
        let listening =
            "   0: 0100007F:1004 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4711 1 0000 100 0 0 10 0";
        assert_eq!(listening_inode(listening, 4100), Some("4711"));
        assert_eq!(listening_inode(listening, 4101), None);
        assert_eq!(listening_inode(&listening.replace(" 0A ", " 01 "), 4100), None);
        assert_eq!(listening_inode("  sl  local_address rem_address   st", 4100), None);
    }

    #[tokio::test]
    #[cfg(feature = "demo")]
    async fn a_demo_takes_the_next_port() {
        let held = listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = held.local_addr().unwrap();
        assert_ne!(listen_from(address).await.unwrap().local_addr().unwrap().port(), address.port());
    }

    #[tokio::test]
    async fn a_busy_port_names_the_flag() {
        let held = listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = held.local_addr().unwrap();
        let error = listen(address).await.unwrap_err();
        assert!(error.0.message.contains("is taken"), "{error}");
        assert!(error.0.hint.unwrap().contains("--listen"));
    }

    #[tokio::test]
    async fn nothing_listens_beyond_loopback() {
        for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
            assert_eq!(listen(address.parse().unwrap()).await.unwrap_err().exit_code(), 5, "{address}");
        }
    }
}
