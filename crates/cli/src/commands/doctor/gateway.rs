//! Whether a server answers, and whether the gateway's address is its own or free.

use super::{Finding, Verdict};
use crate::admin_socket::{SealedView, ServerFacts, ServerStatus};
use crate::context::Context;
use crate::error::CliError;
use crate::{admin_socket, port};
use claviger_admin::time_text;
use claviger_domain::time::Timestamp;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long the gateway may take to accept: it is on this machine.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Whether a server runs on this home.
#[derive(Debug)]
pub enum Server {
    /// It does.
    Running {
        /// Its process id.
        pid: u32,
        /// Its version.
        version: String,
        /// Since when.
        started_at: Timestamp,
        /// Where its gateway listens.
        listen: String,
    },
    /// It does, and its vault is not open yet.
    Sealed {
        /// Its process id.
        pid: u32,
        /// Where its gateway listens.
        listen: String,
        /// Why.
        sealed: SealedView,
    },
    /// None does; commands open the vault themselves.
    Absent,
    /// Its socket is there, and it does not answer as it should.
    Broken(CliError),
}

impl Server {
    /// Whether one runs, be it well or not.
    pub fn is_running(&self) -> bool {
        !matches!(self, Self::Absent)
    }

    /// What is to be said about it.
    pub fn finding(&self) -> Finding {
        match self {
            Self::Running { pid, version, .. } if version != env!("CARGO_PKG_VERSION") => {
                let detail = format!("process {pid} is version {version}, and this program is {}", env!("CARGO_PKG_VERSION"));
                Finding::warn("server", detail, "claviger down, then claviger up -d")
            }
            Self::Running { pid, version, started_at, .. } => {
                Finding::ok("server", format!("process {pid}, version {version}, since {}", time_text::format(*started_at)))
            }
            Self::Sealed { pid, sealed, .. } => {
                Finding::fail("server", format!("process {pid} serves nobody, its vault is sealed: {}", sealed.why), sealed.hint.clone())
            }
            Self::Absent => Finding::ok("server", "none runs; commands open the vault themselves (to start one: claviger up -d)"),
            Self::Broken(error) => Finding::failed("server", error, "claviger down"),
        }
    }
}

/// Asks the server on this home, if one runs.
pub async fn server(context: &Context) -> Server {
    let asked = async {
        let Some(client) = admin_socket::connect(&context.paths.socket).await? else { return Ok(Server::Absent) };
        let ServerStatus { server: ServerFacts { pid, listen, .. }, sealed, status } = client.server_status().await?;
        match (sealed, status) {
            (Some(sealed), _) => Ok(Server::Sealed { pid, listen, sealed }),
            (None, Some(status)) => Ok(Server::Running { pid, version: status.version, started_at: status.started_at, listen }),
            (None, None) => {
                Err(CliError::failed("the server does not say how the vault stands").hint("claviger down, then claviger up -d"))
            }
        }
    };
    asked.await.unwrap_or_else(Server::Broken)
}

/// Whether the gateway's address is the server's own, or free. Nothing where the configuration cannot be read.
pub async fn address(context: &Context, server: &Server) -> Option<Finding> {
    if let Server::Running { listen, .. } | Server::Sealed { listen, .. } = server {
        return Some(served(listen));
    }
    let environment = context.env.listen_address().ok()?;
    Some(free(context.config().ok()?.overlaid(environment, None).listen.value).await)
}

fn served(listen: &str) -> Finding {
    let accepted = listen
        .parse::<SocketAddr>()
        .map_err(|error| error.to_string())
        .and_then(|address| TcpStream::connect_timeout(&address, CONNECT_TIMEOUT).map_err(|error| error.to_string()));
    match accepted {
        Ok(_) => Finding::ok("gateway", format!("it accepts on {listen}")),
        Err(error) => Finding::fail("gateway", format!("it does not accept on {listen}: {error}"), "claviger down, then claviger up -d"),
    }
}

async fn free(address: SocketAddr) -> Finding {
    match port::listen(address).await {
        Ok(_) => Finding::ok("gateway", format!("{address} is free")),
        Err(error) => {
            let finding = Finding::failed("gateway", &error, "claviger config show --origin");
            // A port that is taken harms nobody who does not serve.
            Finding { verdict: Verdict::Warn, ..finding }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[tokio::test]
    async fn a_taken_address_is_told_from_a_free_one() {
        let holder = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = holder.local_addr().unwrap();
        assert_eq!(free(address).await.verdict, Verdict::Warn);
        assert_eq!(served(&address.to_string()).verdict, Verdict::Ok);
        drop(holder);
        assert_eq!(free(address).await.verdict, Verdict::Ok);
        assert_eq!(served(&address.to_string()).verdict, Verdict::Fail);
    }
}
