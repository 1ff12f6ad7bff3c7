//! The beginning of an error's body, read so that it can be classed, and kept so that it can be passed on.

use crate::limits::EVIDENCE_TIMEOUT;
use crate::patience::within;
use bytes::{Bytes, BytesMut};
use claviger_domain::classify::EVIDENCE_BODY_MAX_BYTES;
use claviger_egress::InBody;
use claviger_runtime::Clock;
use http::HeaderMap;
use http::header::CONTENT_ENCODING;
use http_body::Body;
use std::borrow::Cow;
use std::future::poll_fn;
use std::io::Read;
use std::pin::Pin;
use std::sync::Arc;

/// The working memory of the brotli decoder: a page, since bodies of errors are small.
const BROTLI_BUFFER_BYTES: usize = 4096;

/// The part of a body that was read, as text that rules can be held against: agents ask for compressed answers, and
/// vendors compress their errors too. What the client gets stays as it came.
///
/// Bounded like the evidence itself, whatever the body claims to unpack to. A coding that is unknown, doubled or broken gives
/// what could be unpacked; the status and the headers are evidence still.
pub(crate) fn readable<'a>(headers: &HeaderMap, prefix: &'a [u8]) -> Cow<'a, [u8]> {
    let Some(coding) = headers.get(CONTENT_ENCODING) else { return Cow::Borrowed(prefix) };
    let coding = coding.as_bytes().trim_ascii().to_ascii_lowercase();
    Cow::Owned(match coding.as_slice() {
        b"gzip" | b"x-gzip" => unpacked(flate2::read::MultiGzDecoder::new(prefix)),
        b"deflate" => unpacked(flate2::read::ZlibDecoder::new(prefix)),
        b"br" => unpacked(brotli_decompressor::Decompressor::new(prefix, BROTLI_BUFFER_BYTES)),
        b"zstd" => ruzstd::decoding::StreamingDecoder::new(prefix).map(unpacked).unwrap_or_default(),
        _ => return Cow::Borrowed(prefix),
    })
}

fn unpacked(mut from: impl Read) -> Vec<u8> {
    let mut text = Vec::new();
    let mut chunk = [0; 4096];
    while text.len() < EVIDENCE_BODY_MAX_BYTES {
        match from.read(&mut chunk) {
            Ok(read) if read > 0 => text.extend_from_slice(chunk.get(..read).unwrap_or_default()),
            _ => break,
        }
    }
    text.truncate(EVIDENCE_BODY_MAX_BYTES);
    text
}

/// What follows the part of a body that was read.
pub(crate) enum Rest {
    /// Nothing.
    Ended,
    /// More, not read yet.
    More(InBody),
    /// The connection broke there; the client must see a break too.
    Broken(hyper::Error),
}

/// Reads until there is enough, the body ends, or the time is over. Cancel safe only as a whole: dropped, the answer is gone.
pub(crate) async fn read(clock: &Arc<dyn Clock>, mut body: InBody) -> (Bytes, Rest) {
    let mut prefix = BytesMut::new();
    let mut broken = None;
    let reading = async {
        while prefix.len() < EVIDENCE_BODY_MAX_BYTES {
            match poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
                Some(Ok(frame)) => frame.data_ref().into_iter().for_each(|data| prefix.extend_from_slice(data)),
                Some(Err(error)) => {
                    broken = Some(error);
                    return true;
                }
                None => return true,
            }
        }
        false
    };
    let has_ended = within(clock, EVIDENCE_TIMEOUT, reading).await.unwrap_or(false);
    let rest = match broken {
        Some(error) => Rest::Broken(error),
        None if has_ended || body.is_end_stream() => Rest::Ended,
        None => Rest::More(body),
    };
    (prefix.freeze(), rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    const TEXT: &[u8] = br#"{"error":{"type":"usage_limit_reached"}}"#;

    /// The same text as `brotli -c` packs it.
    const BROTLI: &[u8] = &[
        0x1b, 0x27, 0x00, 0xe8, 0x8d, 0xd3, 0x15, 0xf3, 0x23, 0x84, 0x75, 0x2f, 0x45, 0xbe, 0xf6, 0x4a, 0xa7, 0x0f, 0x1c, 0x72, 0x02, 0xf0,
        0x9d, 0xb2, 0xb2, 0x3a, 0xe6, 0x07, 0x88, 0x48, 0x86, 0xb3, 0xea, 0xa0, 0xa1, 0x94, 0xdd, 0xd5,
    ];

    /// The head of a zstd frame with one raw block (RFC 8878 §3.1.1), which the text follows.
    const ZSTD_HEAD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd, 0x20, 0x28, 0x41, 0x01, 0x00];

    fn read_as(coding: &'static str, body: &[u8]) -> Vec<u8> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_ENCODING, http::HeaderValue::from_static(coding));
        readable(&headers, body).into_owned()
    }

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packer.write_all(text).unwrap();
        packer.finish().unwrap()
    }

    #[test]
    fn packed_errors_are_read_and_plain_ones_left_alone() {
        assert_eq!(read_as("gzip", &gzip(TEXT)), TEXT);
        assert_eq!(read_as("GZIP ", &gzip(TEXT)), TEXT);
        assert_eq!(read_as("br", BROTLI), TEXT);
        assert_eq!(read_as("zstd", &[ZSTD_HEAD, TEXT].concat()), TEXT);
        assert_eq!(read_as("identity", TEXT), TEXT);
        assert_eq!(*readable(&HeaderMap::new(), TEXT), *TEXT);
    }

    #[test]
    fn a_bomb_is_bounded_and_a_broken_body_is_no_panic() {
        assert_eq!(read_as("gzip", &gzip(&vec![b' '; 8 << 20])).len(), EVIDENCE_BODY_MAX_BYTES);
        for coding in ["gzip", "deflate", "br", "zstd"] {
            read_as(coding, b"not packed at all");
            read_as(coding, b"");
        }
        assert!(!read_as("gzip", &gzip(&[b'x'; 4096])[..30]).is_empty());
    }
}
