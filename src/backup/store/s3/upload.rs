//! An object on its way in. A small one is sent whole; a larger one in parts, of which one is being filled while the
//! one before it is sent. Nothing is seen before all of it is there.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::refusal::Failure;
use super::talk::{Method, Request, Talk, age};
use super::{StoreError, Upload, answer};

/// The size of a part: two of them are in memory. S3 takes ten thousand of them, of at least 5 MiB.
const PART_BYTES: usize = 16 << 20;
const PARTS_MAX: usize = 10_000;
/// Up to here a buffer grows as it likes.
const SMALL_BYTES: usize = 256 << 10;

type Sent = (Vec<u8>, Result<String, Failure>);

/// An upload. Dropped unfinished, it is aborted.
pub(super) struct Parts {
    talk: Arc<Talk>,
    key: String,
    /// What the next part is filled with.
    buffer: Vec<u8>,
    /// The server's name for the upload, once there is more than one part.
    id: Option<String>,
    /// What the server calls the parts that it has.
    etags: Vec<String>,
    /// The part that is being sent.
    sending: Option<JoinHandle<Sent>>,
    /// Raised when nobody wants it any more.
    stop: Arc<AtomicBool>,
    bytes: u64,
    failed: bool,
    finished: bool,
}

impl Parts {
    pub(super) fn new(talk: Arc<Talk>, key: String) -> Self {
        Self {
            talk,
            key,
            buffer: Vec::new(),
            id: None,
            etags: Vec::new(),
            sending: None,
            stop: Arc::new(AtomicBool::new(false)),
            bytes: 0,
            failed: false,
            finished: false,
        }
    }

    fn take(&mut self, bytes: &[u8]) -> Result<usize, Failure> {
        if self.buffer.len() == PART_BYTES {
            self.send_part()?;
        }
        let count = bytes.len().min(PART_BYTES - self.buffer.len());
        let after = self.buffer.len() + count;
        if after > self.buffer.capacity() && after > SMALL_BYTES {
            // Doubling would overshoot the part.
            self.buffer.reserve_exact(PART_BYTES - self.buffer.len());
        }
        self.buffer.extend_from_slice(&bytes[..count]);
        self.bytes += count as u64;
        Ok(count)
    }

    /// Lets the part in hand be sent, when the one before it is there.
    fn send_part(&mut self) -> Result<(), Failure> {
        let spare = self.settle()?.unwrap_or_default();
        let id = match &self.id {
            Some(id) => id.clone(),
            None => self.begin()?,
        };
        let number = self.etags.len() + 1;
        if number > PARTS_MAX {
            return Err(Failure::Odd(format!("an object has at most {PARTS_MAX} parts")));
        }
        let part = std::mem::replace(&mut self.buffer, spare);
        let (talk, key, stop) = (self.talk.clone(), self.key.clone(), self.stop.clone());
        let thread = std::thread::Builder::new().name("s3-part".to_owned());
        let sending = thread.spawn(move || {
            let outcome = send(&talk, &key, &id, number, &part, &stop);
            (part, outcome)
        });
        self.sending = Some(sending.map_err(Failure::Broken)?);
        Ok(())
    }

    fn begin(&mut self) -> Result<String, Failure> {
        let request = Request::new(Method::Post, Some(&self.key)).query("uploads", "").stores();
        let id = answer::upload_id(&self.talk.ask(&request)?.text()).map_err(Failure::Odd)?;
        self.id = Some(id.clone());
        Ok(id)
    }

    /// Waits for the part that is being sent; returns its memory.
    fn settle(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        let Some(sending) = self.sending.take() else { return Ok(None) };
        let (mut buffer, etag) =
            sending.join().map_err(|_| Failure::Odd("a part of the upload was lost within this program".to_owned()))?;
        self.etags.push(etag?);
        buffer.clear();
        Ok(Some(buffer))
    }

    fn complete(&mut self) -> Result<(), Failure> {
        if self.failed {
            return Err(Failure::Odd("a part of it has not arrived".to_owned()));
        }
        if self.id.is_none() {
            let request = Request::new(Method::Put, Some(&self.key)).body(&self.buffer).stores();
            return self.talk.ask(&request).map(drop);
        }
        if !self.buffer.is_empty() {
            self.send_part()?;
        }
        self.settle()?;
        let Some(id) = &self.id else { return Ok(()) };
        let parts = self.etags.iter().enumerate().map(|(index, etag)| {
            format!("<Part><PartNumber>{}</PartNumber><ETag>{}</ETag></Part>", index + 1, escaped(etag))
        });
        let body = format!("<CompleteMultipartUpload>{}</CompleteMultipartUpload>", parts.collect::<String>());
        let request = Request::new(Method::Post, Some(&self.key)).query("uploadId", id).body(body.as_bytes());
        match self.talk.ask(&request) {
            Ok(_) => Ok(()),
            // An earlier try may have succeeded while its answer was lost.
            Err(why) if why.no_such_upload() && self.is_there()? => Ok(()),
            Err(why) => Err(why),
        }
    }

    fn is_there(&self) -> Result<bool, Failure> {
        match self.talk.ask(&Request::new(Method::Head, Some(&self.key))) {
            Ok(answer) => Ok(answer.header("content-length").and_then(|text| text.parse().ok()) == Some(self.bytes)),
            Err(why) if why.nothing_there() => Ok(false),
            Err(why) => Err(why),
        }
    }
}

fn send(talk: &Talk, key: &str, id: &str, number: usize, part: &[u8], stop: &AtomicBool) -> Result<String, Failure> {
    let number = number.to_string();
    let request = Request::new(Method::Put, Some(key)).query("partNumber", &number).query("uploadId", id).body(part);
    let answer = talk.ask_unless(&request, stop)?;
    let etag = answer.header("etag").map(ToOwned::to_owned);
    etag.ok_or_else(|| Failure::Odd("it takes a part and gives it no ETag".to_owned()))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

impl Write for Parts {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.failed {
            let why = Failure::Odd("a part of it has not arrived".to_owned());
            return Err(io::Error::other(self.talk.explain("write an object", why)));
        }
        self.take(bytes).map_err(|why| {
            self.failed = true;
            io::Error::other(self.talk.explain("write an object", why))
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        // A part is sent when it is full: a smaller one could not be followed by others.
        Ok(())
    }
}

impl Upload for Parts {
    fn finish(mut self: Box<Self>) -> Result<(), StoreError> {
        self.complete().map_err(|why| self.talk.explain("write an object", why))?;
        self.finished = true;
        Ok(())
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        // A part that arrives after the end of its upload would stay for ever.
        self.stop.store(true, Ordering::Relaxed);
        if let Some(sending) = self.sending.take() {
            drop(sending.join());
        }
        if let Some(id) = &self.id {
            // Whoever sweeps later finds what could not be aborted now.
            let _left = self.talk.ask_once(&abort(&self.key, id));
        }
    }
}

fn abort<'a>(key: &'a str, id: &str) -> Request<'a> {
    Request::new(Method::Delete, Some(key)).query("uploadId", id)
}

/// Aborts the uploads under our path that began longer than `older` ago.
pub(super) fn sweep(talk: &Talk, older: Duration) -> Result<(), StoreError> {
    const OPERATION: &str = "remove unfinished uploads";
    let mut next: Option<(String, String)> = None;
    loop {
        let mut request = Request::new(Method::Get, None).query("uploads", "").query("prefix", talk.prefix());
        if let Some((key, id)) = &next {
            request = request.query("key-marker", key).query("upload-id-marker", id);
        }
        let answer = talk.ask(&request).map_err(|why| talk.explain(OPERATION, why))?;
        let page = answer::uploads(&answer.text()).map_err(|why| talk.explain(OPERATION, Failure::Odd(why)))?;
        for (key, id, begun) in &page.uploads {
            let old = age(begun, answer.header("date")).is_some_and(|age| age >= older);
            // Some servers list by a prefix of their own understanding.
            if !old || !key.starts_with(talk.prefix()) {
                continue;
            }
            match talk.ask(&abort(key, id)) {
                Err(why) if !why.no_such_upload() => return Err(talk.explain(OPERATION, why)),
                Ok(_) | Err(_) => {}
            }
        }
        match page.next {
            Some(after) if next.as_ref() != Some(&after) => next = Some(after),
            Some(_) | None => return Ok(()),
        }
    }
}
