//! Bodies of the admin socket, which may hold secrets: one allocation each where their length is known, and overwritten at
//! their end.

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Body;
use serde::Serialize;
use std::io;
use zeroize::Zeroizing;

/// A value as JSON. It is written twice, the first time to learn its length: growing would leave copies behind.
pub fn written(value: &impl Serialize) -> serde_json::Result<Zeroizing<Vec<u8>>> {
    let mut length = Length(0);
    serde_json::to_writer(&mut length, value)?;
    let mut text = Zeroizing::new(Vec::with_capacity(length.0));
    serde_json::to_writer(&mut *text, value)?;
    Ok(text)
}

/// What a body holds. The caller limits it.
pub async fn gathered<B: Body<Data = Bytes> + Unpin>(mut body: B) -> Result<Zeroizing<Vec<u8>>, B::Error> {
    let expected = usize::try_from(body.size_hint().lower()).unwrap_or(0);
    let mut gathered = Zeroizing::new(Vec::with_capacity(expected));
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        let needed = gathered.len() + data.len();
        if needed > gathered.capacity() {
            let mut larger = Zeroizing::new(Vec::with_capacity(needed.max(2 * gathered.capacity())));
            larger.extend_from_slice(&gathered);
            gathered = larger;
        }
        gathered.extend_from_slice(&data);
    }
    Ok(gathered)
}

/// Counts what is written to it.
struct Length(usize);

impl io::Write for Length {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::Full;
    use hyper::body::Frame;
    use std::collections::VecDeque;
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    /// A body of unknown length.
    struct Pieces(VecDeque<&'static str>);

    impl Body for Pieces {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Ready(self.0.pop_front().map(|piece| Ok(Frame::data(Bytes::from_static(piece.as_bytes())))))
        }
    }

    #[test]
    fn json_never_outgrows_its_first_allocation() {
        for value in [serde_json::json!({"token": "at-1\"\\\n", "n": [1, 2.5, null]}), serde_json::json!("x".repeat(10_000))] {
            let text = written(&value).unwrap();
            assert_eq!((text.as_slice(), text.capacity()), (serde_json::to_vec(&value).unwrap().as_slice(), text.len()));
        }
    }

    #[tokio::test]
    async fn a_body_is_gathered_whole_with_and_without_a_known_length() {
        let known = gathered(Full::new(Bytes::from_static(b"at-1 and more"))).await.unwrap();
        assert_eq!((known.as_slice(), known.capacity()), (b"at-1 and more".as_slice(), 13));
        let unknown = gathered(Pieces(["at-1", " and ", "more"].into())).await.unwrap();
        assert_eq!(unknown.as_slice(), b"at-1 and more");
    }
}
