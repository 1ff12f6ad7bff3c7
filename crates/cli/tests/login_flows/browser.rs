//! A browser, as far as a login needs one: it goes where it is sent.

use std::io::{Read, Write};
use std::net::TcpStream;

/// What a page answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .filter_map(|line| line.split_once(": "))
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }
}

/// One GET.
pub(crate) fn get(url: &str) -> Answer {
    let rest = url.strip_prefix("http://").unwrap();
    let (host, path) = rest.split_once('/').unwrap();
    request(host, &format!("GET /{path} HTTP/1.1\r\nHost: {host}\r\n\r\n"))
}

/// Any request, to a host and port; the connection is read to its end.
pub(crate) fn request(host: &str, text: &str) -> Answer {
    let mut stream = TcpStream::connect(host).unwrap();
    stream.write_all(text.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

/// Goes to the page of a login, where somebody agrees at once: where the browser is sent back to.
pub(crate) fn agree(page: &str) -> String {
    let answer = get(page);
    assert_eq!(answer.status, 302, "{answer:?}");
    answer.header("location").unwrap().to_owned()
}
