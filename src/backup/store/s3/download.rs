//! An object on its way out. When the connection breaks, it goes on from where it was.

use std::io::{self, Read};
use std::sync::Arc;

use ureq::BodyReader;

use super::refusal::Failure;
use super::talk::{Method, Request, Talk, Tries, header};

/// Bytes of one object, in order.
pub(super) struct Download {
    talk: Arc<Talk>,
    key: String,
    /// Where the next byte is from.
    position: u64,
    /// The object's size, where the server told it.
    size: Option<u64>,
    /// What the object was when it was opened: another one of its name is no continuation of it.
    etag: Option<String>,
    body: Option<BodyReader<'static>>,
    tries: Tries,
}

impl Download {
    pub(super) fn open(talk: Arc<Talk>, key: String) -> Result<Self, Failure> {
        let response = talk.open(&Request::new(Method::Get, Some(&key)))?;
        let (parts, body) = response.into_parts();
        Ok(Self {
            talk,
            key,
            position: 0,
            size: header(&parts.headers, "content-length").and_then(|text| text.parse().ok()),
            etag: header(&parts.headers, "etag").map(ToOwned::to_owned),
            body: Some(body.into_reader()),
            tries: Tries::default(),
        })
    }

    fn resume(&mut self) -> Result<BodyReader<'static>, Failure> {
        let mut request = Request::new(Method::Get, Some(&self.key));
        if self.position > 0 {
            request = request.header("range", format!("bytes={}-", self.position));
        }
        if let Some(etag) = &self.etag {
            request = request.header("if-match", etag.clone());
        }
        let (parts, body) = self.talk.open(&request)?.into_parts();
        let mut reader = body.into_reader();
        let begin = format!("bytes {}-", self.position);
        let resumed = header(&parts.headers, "content-range").is_some_and(|range| range.starts_with(&begin));
        if self.position > 0 && !resumed {
            // It sends the whole object, or so it seems: what we have already is read once more.
            let skipped = io::copy(&mut (&mut reader).take(self.position), &mut io::sink()).map_err(Failure::from)?;
            if parts.status.as_u16() != 200 || skipped < self.position {
                return Err(Failure::Odd("it does not resume a download".to_owned()));
            }
        }
        Ok(reader)
    }

    fn read_once(&mut self, into: &mut [u8]) -> Result<usize, Failure> {
        let mut body = match self.body.take() {
            Some(body) => body,
            None => self.resume()?,
        };
        let count = body.read(into).map_err(Failure::from)?;
        let missing = self.size.is_some_and(|size| self.position + (count as u64) < size);
        if count == 0 && missing {
            return Err(Failure::Broken(io::ErrorKind::UnexpectedEof.into()));
        }
        self.body = Some(body);
        Ok(count)
    }
}

impl Read for Download {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if into.is_empty() || self.size == Some(self.position) {
            return Ok(0);
        }
        loop {
            match self.read_once(into) {
                Ok(count) => {
                    self.position += count as u64;
                    self.tries = Tries::default();
                    return Ok(count);
                }
                Err(why) => self.talk.again(&mut self.tries, why).map_err(|why| {
                    let replaced = why.replaced() || (self.position > 0 && why.no_such_object());
                    let operation = if replaced { "go on with an object that was replaced" } else { "read an object" };
                    io::Error::other(self.talk.explain(operation, why))
                })?,
            }
        }
    }
}
