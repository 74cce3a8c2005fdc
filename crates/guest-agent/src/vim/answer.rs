//! The answer to a request, while its bytes come in.
//!
//! Without I/O, so that it can be fed anything. It keeps apart what a general client joins: whether
//! any byte came, whether the status is known, whether the whole answer is there. What came of an
//! event hangs on each of them.

/// The longest head of an answer, in bytes.
const MAX_HEAD: usize = 16 * 1024;

/// The most headers of an answer.
const MAX_HEADERS: usize = 64;

/// What an answer says about a request, as far as a log line needs it, in characters.
const MAX_TEXT: usize = 200;

/// What is wrong with the bytes of an answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadAnswer {
    #[error("the answer is not HTTP")]
    NotHttp(#[source] httparse::Error),
    #[error("the head of the answer is longer than {MAX_HEAD} bytes")]
    LongHead,
    #[error("the answer's Content-Length makes no sense")]
    Length,
    #[error("a chunk of the answer makes no sense")]
    Chunk,
    #[error("the body of the answer is longer than {0} bytes")]
    LongBody(usize),
}

/// How it is known where the body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    /// The head is not complete yet.
    Head,
    Length(usize),
    Chunked,
    /// The whole body has been seen.
    Complete,
    /// HTTP/1.0: it ends with the connection.
    Connection,
}

/// An answer of which some bytes may have come.
#[derive(Debug)]
pub(super) struct Answer {
    max_body: usize,
    silent: bool,
    status: Option<u16>,
    reason: String,
    framing: Framing,
    /// Bytes of the head, or of chunks, that are not complete.
    unread: Vec<u8>,
    body: Vec<u8>,
}

impl Answer {
    /// An answer of which nothing has come, and whose body must not be longer than this.
    pub(super) const fn new(max_body: usize) -> Self {
        Self {
            max_body,
            silent: true,
            status: None,
            reason: String::new(),
            framing: Framing::Head,
            unread: Vec::new(),
            body: Vec::new(),
        }
    }

    /// More bytes came. Says whether the answer is complete now; whatever follows does not belong
    /// to it.
    ///
    /// # Errors
    /// When they are no answer, or too long a one. The status stands all the same if it is known.
    pub(super) fn handle_bytes(&mut self, bytes: &[u8]) -> Result<bool, BadAnswer> {
        self.silent &= bytes.is_empty();
        match self.framing {
            Framing::Complete => return Ok(true),
            Framing::Head | Framing::Chunked => self.unread.extend_from_slice(bytes),
            Framing::Length(_) | Framing::Connection => self.body.extend_from_slice(bytes),
        }
        if self.framing == Framing::Head {
            // Once the status is known, only the end of a line can bring anything new.
            if self.status.is_none() || bytes.contains(&b'\n') {
                self.read_head()?;
            } else if self.unread.len() > MAX_HEAD {
                return Err(BadAnswer::LongHead);
            }
        }
        match self.framing {
            Framing::Head | Framing::Complete => {}
            Framing::Chunked => self.read_chunks()?,
            Framing::Length(length) => {
                if self.body.len() >= length {
                    self.body.truncate(length);
                    self.framing = Framing::Complete;
                }
            }
            Framing::Connection => {
                if self.body.len() > self.max_body {
                    return Err(BadAnswer::LongBody(self.max_body));
                }
            }
        }
        Ok(self.framing == Framing::Complete)
    }

    /// The connection was closed. Says whether the answer is complete.
    pub(super) fn handle_end(&mut self) -> bool {
        if self.framing == Framing::Connection {
            self.framing = Framing::Complete;
        }
        self.framing == Framing::Complete
    }

    /// Whether not a single byte came.
    pub(super) const fn is_silent(&self) -> bool {
        self.silent
    }

    /// The status, as soon as it is known, be the rest of the head still missing. Not of an interim
    /// answer (1xx).
    pub(super) const fn status(&self) -> Option<u16> {
        self.status
    }

    /// The beginning of what it says in words, for a log line.
    pub(super) fn text(&self) -> String {
        let body = String::from_utf8_lossy(&self.body);
        let words = [self.reason.trim(), body.trim()].map(str::to_owned);
        let words: Vec<String> = words.into_iter().filter(|words| !words.is_empty()).collect();
        words.join(": ").chars().take(MAX_TEXT).collect()
    }

    pub(super) fn into_body(self) -> Vec<u8> {
        self.body
    }

    /// Reads the head, and hands what follows it to the body. Interim answers are skipped.
    fn read_head(&mut self) -> Result<(), BadAnswer> {
        loop {
            let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
            let mut response = httparse::Response::new(&mut headers);
            let parsed = response.parse(&self.unread);
            let interim = response.code.is_some_and(|code| (100..200).contains(&code));
            self.status = response.code.filter(|_| !interim);
            let length = match parsed.map_err(BadAnswer::NotHttp)? {
                httparse::Status::Complete(length) if length <= MAX_HEAD => length,
                httparse::Status::Partial if self.unread.len() <= MAX_HEAD => return Ok(()),
                httparse::Status::Complete(_) | httparse::Status::Partial => {
                    return Err(BadAnswer::LongHead);
                }
            };
            if interim {
                self.unread.drain(..length);
                continue;
            }
            self.reason = response.reason.unwrap_or_default().to_owned();
            let framing = framing(response.code, response.headers)?;
            let rest = self.unread.split_off(length);
            match framing {
                Framing::Length(length) if length > self.max_body => {
                    return Err(BadAnswer::LongBody(self.max_body));
                }
                Framing::Chunked => self.unread = rest,
                Framing::Length(_) | Framing::Connection => {
                    self.unread = Vec::new();
                    self.body = rest;
                }
                // What follows an answer without a body is none of it.
                Framing::Complete | Framing::Head => self.unread = Vec::new(),
            }
            self.framing = framing;
            return Ok(());
        }
    }

    /// Moves complete chunks to the body.
    fn read_chunks(&mut self) -> Result<(), BadAnswer> {
        let mut at = 0;
        loop {
            let chunk = &self.unread[at..];
            let (start, size) = match httparse::parse_chunk_size(chunk) {
                Ok(httparse::Status::Complete(found)) => found,
                Ok(httparse::Status::Partial) if chunk.len() <= MAX_HEAD => break,
                Ok(httparse::Status::Partial) | Err(_) => return Err(BadAnswer::Chunk),
            };
            if size == 0 {
                // What may follow are trailers, of which nothing is wanted.
                self.framing = Framing::Complete;
                break;
            }
            let room = self.max_body - self.body.len();
            let size = usize::try_from(size)
                .ok()
                .filter(|size| *size <= room)
                .ok_or(BadAnswer::LongBody(self.max_body))?;
            let Some((data, rest)) = chunk[start..].split_at_checked(size) else { break };
            match rest {
                [b'\r', b'\n', ..] => {}
                [] | [b'\r'] => break,
                [..] => return Err(BadAnswer::Chunk),
            }
            self.body.extend_from_slice(data);
            at += start + size + 2;
        }
        self.unread.drain(..at);
        Ok(())
    }
}

/// Where the body of an answer with this status and these headers ends.
fn framing(status: Option<u16>, headers: &[httparse::Header<'_>]) -> Result<Framing, BadAnswer> {
    if matches!(status, Some(204 | 304)) {
        return Ok(Framing::Complete);
    }
    let named = |name: &'static str| {
        headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name))
    };
    if let Some(coding) = named("transfer-encoding").next_back() {
        let coding = coding.value.trim_ascii_end().to_ascii_lowercase();
        let chunked = coding.ends_with(b"chunked");
        return Ok(if chunked { Framing::Chunked } else { Framing::Connection });
    }
    let mut length = None;
    for header in named("content-length") {
        let value = header.value.trim_ascii();
        let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
        let value = str::from_utf8(value).ok().filter(|_| digits).ok_or(BadAnswer::Length)?;
        // What is no number of bytes here is certainly too long.
        let value = value.parse().unwrap_or(usize::MAX);
        if length.replace(value).is_some_and(|other| other != value) {
            return Err(BadAnswer::Length);
        }
    }
    Ok(length.map_or(Framing::Connection, Framing::Length))
}

#[cfg(test)]
mod tests;
