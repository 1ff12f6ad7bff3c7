//! Through a proxy: a tunnel to the origin, by `CONNECT` or SOCKS 5, before TLS and before any byte of a request.
//!
//! The proxy's password leaves here and nowhere else. What is tunnelled is what a direct connection would carry: the proxy of
//! an https origin sees its name and no more.

use crate::address::AddressClass;
use crate::dial::{Dialer, bare};
use crate::error::{EgressError, ProxyError};
use crate::limits::PROXY_ANSWER_MAX_BYTES;
use claviger_domain::options::{ProxyLogin, ProxyScheme, ProxyUrl};
use claviger_domain::origin::{Origin, host_is_loopback};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use zeroize::Zeroizing;

/// SOCKS version 5 (RFC 1928 §3).
const VERSION: u8 = 5;
/// No authentication.
const METHOD_NONE: u8 = 0;
/// Name and password (RFC 1929).
const METHOD_PASSWORD: u8 = 2;
/// Version of the negotiation of name and password.
const PASSWORD_VERSION: u8 = 1;
/// The command `CONNECT`.
const COMMAND_CONNECT: u8 = 1;

/// The proxy that stands between us and an origin. One that is on this machine is reached directly, unless the proxy is here
/// too: another machine's loopback is not ours, and clear text goes to loopback only.
pub(crate) fn between<'a>(proxy: Option<&'a ProxyUrl>, origin: &Origin) -> Option<&'a ProxyUrl> {
    proxy.filter(|proxy| !origin.is_loopback() || host_is_loopback(proxy.host()))
}

impl Dialer {
    /// A connection through `proxy` on which the next byte reaches `origin`. The name of the origin is resolved by the proxy: what
    /// it resolves to there cannot be checked here.
    pub(crate) async fn tunnel(&self, proxy: &ProxyUrl, origin: &Origin) -> Result<TcpStream, EgressError> {
        let failed = |source| EgressError::Proxy { origin: origin.clone(), proxy: proxy.to_string(), source: Arc::new(source) };
        let addresses = self.proxy_addresses(proxy).await.map_err(failed)?;
        let mut socket = self.connect_any(addresses).await.map_err(|error| failed(ProxyError::Connect(error)))?;
        let asked = match proxy.scheme() {
            ProxyScheme::Http => connect(&mut socket, proxy.login(), origin).await,
            ProxyScheme::Socks5 => socks(&mut socket, proxy.login(), origin).await,
        };
        asked.map_err(failed)?;
        Ok(socket)
    }

    /// The addresses of a proxy. A person names it, so that it may be on a private network; it is never a cloud's metadata service.
    async fn proxy_addresses(&self, proxy: &ProxyUrl) -> Result<Vec<SocketAddr>, ProxyError> {
        let host = bare(proxy.host());
        let addresses = match host.parse::<IpAddr>() {
            Ok(address) => vec![SocketAddr::new(address, proxy.port())],
            Err(_name) => self.resolver.resolve(host, proxy.port()).await.map_err(ProxyError::Resolve)?,
        };
        match addresses.iter().find(|address| AddressClass::of(address.ip()) == AddressClass::Never) {
            Some(address) => Err(ProxyError::Address { address: address.ip() }),
            None if addresses.is_empty() => Err(ProxyError::Resolve(io::Error::new(io::ErrorKind::NotFound, "the name has no address"))),
            None => Ok(addresses),
        }
    }
}

/// `CONNECT` (RFC 9110 §9.3.6). Nothing after the answer's head is read: a proxy sends nothing of its own there.
async fn connect(socket: &mut TcpStream, login: Option<&ProxyLogin>, origin: &Origin) -> Result<(), ProxyError> {
    let place = format!("{}:{}", origin.host(), origin.port());
    let mut request = Zeroizing::new(String::with_capacity(PROXY_ANSWER_MAX_BYTES));
    for part in ["CONNECT ", &place, " HTTP/1.1\r\nhost: ", &place, "\r\n"] {
        request.push_str(part);
    }
    if let Some(ProxyLogin { name, password }) = login {
        let pair = Zeroizing::new(format!("{name}:{}", password.expose()));
        request.push_str("proxy-authorization: Basic ");
        base64(&mut request, pair.as_bytes());
        request.push_str("\r\n");
    }
    request.push_str("\r\n");
    socket.write_all(request.as_bytes()).await.map_err(ProxyError::Lost)?;
    let mut head = Vec::with_capacity(256);
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() >= PROXY_ANSWER_MAX_BYTES {
            return Err(ProxyError::NotSpoken);
        }
        // One byte at a time, so that what follows the head stays in the socket; it is a few hundred bytes, once per connection.
        head.push(socket.read_u8().await.map_err(ProxyError::Lost)?);
    }
    match status(&head).ok_or(ProxyError::NotSpoken)? {
        200..=299 => Ok(()),
        407 => Err(ProxyError::Login),
        status => Err(ProxyError::Status { status }),
    }
}

/// The status of an answer's first line.
fn status(head: &[u8]) -> Option<u16> {
    let line = head.strip_prefix(b"HTTP/1.")?;
    let (_minor, rest) = line.split_first()?;
    std::str::from_utf8(rest.strip_prefix(b" ")?.get(..3)?).ok()?.parse().ok()
}

/// SOCKS 5, with a name and a password where there are some (RFC 1928, RFC 1929).
async fn socks(socket: &mut TcpStream, login: Option<&ProxyLogin>, origin: &Origin) -> Result<(), ProxyError> {
    let offered: &[u8] = if login.is_some() { &[VERSION, 2, METHOD_NONE, METHOD_PASSWORD] } else { &[VERSION, 1, METHOD_NONE] };
    socket.write_all(offered).await.map_err(ProxyError::Lost)?;
    let mut answer = [0; 2];
    socket.read_exact(&mut answer).await.map_err(ProxyError::Lost)?;
    match (answer, login) {
        ([VERSION, METHOD_NONE], _) => {}
        ([VERSION, METHOD_PASSWORD], Some(login)) => log_in(socket, login).await?,
        ([VERSION, _], _) => return Err(ProxyError::Login),
        _ => return Err(ProxyError::NotSpoken),
    }
    socket.write_all(&connect_request(origin)?).await.map_err(ProxyError::Lost)?;
    let mut head = [0; 4];
    socket.read_exact(&mut head).await.map_err(ProxyError::Lost)?;
    let kind = match head {
        [VERSION, 0, _, kind] => kind,
        [VERSION, reply, ..] => return Err(ProxyError::Socks { reply }),
        _ => return Err(ProxyError::NotSpoken),
    };
    // The address that the proxy dials from: of no use, but in front of the first byte.
    let len = match kind {
        1 => 4,
        4 => 16,
        3 => usize::from(socket.read_u8().await.map_err(ProxyError::Lost)?),
        _ => return Err(ProxyError::NotSpoken),
    };
    let mut bound = vec![0; len + 2];
    socket.read_exact(&mut bound).await.map_err(ProxyError::Lost)?;
    Ok(())
}

async fn log_in(socket: &mut TcpStream, ProxyLogin { name, password }: &ProxyLogin) -> Result<(), ProxyError> {
    let mut message = Zeroizing::new(Vec::with_capacity(PROXY_ANSWER_MAX_BYTES));
    message.push(PASSWORD_VERSION);
    for field in [name.as_str(), password.expose()] {
        message.push(u8::try_from(field.len()).map_err(|_too_long| ProxyError::Login)?);
        message.extend_from_slice(field.as_bytes());
    }
    socket.write_all(&message).await.map_err(ProxyError::Lost)?;
    let mut answer = [0; 2];
    socket.read_exact(&mut answer).await.map_err(ProxyError::Lost)?;
    if answer == [PASSWORD_VERSION, 0] { Ok(()) } else { Err(ProxyError::Login) }
}

fn connect_request(origin: &Origin) -> Result<Vec<u8>, ProxyError> {
    let mut request = vec![VERSION, COMMAND_CONNECT, 0];
    let host = bare(origin.host());
    match host.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => {
            request.push(1);
            request.extend(address.octets());
        }
        Ok(IpAddr::V6(address)) => {
            request.push(4);
            request.extend(address.octets());
        }
        Err(_name) => {
            request.push(3);
            request.push(u8::try_from(host.len()).map_err(|_too_long| ProxyError::NotSpoken)?);
            request.extend(host.as_bytes());
        }
    }
    request.extend(origin.port().to_be_bytes());
    Ok(request)
}

/// Base64 (RFC 4648 §4) into a buffer that is overwritten afterwards, which the crates that encode it do not promise.
fn base64(into: &mut String, bytes: &[u8]) {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0_u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for position in 0..4 {
            let sextet = (word >> (18 - 6 * position)) & 63;
            let letter = LETTERS.get(sextet as usize).map_or('=', |letter| char::from(*letter));
            into.push(if position <= chunk.len() { letter } else { '=' });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_standard() {
        for (text, encoded) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("a:\u{fc}?", "YTrDvD8=")] {
            let mut written = String::new();
            base64(&mut written, text.as_bytes());
            assert_eq!(written, encoded, "{text}");
        }
    }

    #[test]
    fn an_origin_on_this_machine_is_not_looked_for_on_another() {
        let origin = |text: &str| text.parse::<Origin>().unwrap();
        let (near, far): (ProxyUrl, ProxyUrl) = ("http://127.0.0.1:3128".parse().unwrap(), "http://proxy.example:3128".parse().unwrap());
        for (proxy, target, through) in [
            (&far, "https://api.example", true),
            (&near, "https://api.example", true),
            (&far, "http://127.0.0.1:9", false),
            (&far, "https://localhost", false),
            (&near, "http://127.0.0.1:9", true),
        ] {
            assert_eq!(between(Some(proxy), &origin(target)).is_some(), through, "{proxy} {target}");
        }
        assert!(between(None, &origin("https://api.example")).is_none());
    }

    #[test]
    fn a_status_is_read_from_the_first_line_alone() {
        assert_eq!(status(b"HTTP/1.1 200 Connection established\r\n\r\n"), Some(200));
        assert_eq!(status(b"HTTP/1.0 407\r\n\r\n"), Some(407));
        for bad in [&b"HTTP/2 200\r\n"[..], b"SSH-2.0\r\n\r\n", b"HTTP/1.1  200\r\n", b""] {
            assert_eq!(status(bad), None);
        }
    }
}
