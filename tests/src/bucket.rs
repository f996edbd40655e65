//! A small server of the S3 protocol for tests: one bucket in memory, on this machine alone.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

/// The name of the bucket that there is.
pub const BUCKET: &str = "lake";
/// So few keys a page of a listing has, that there are several pages.
const PAGE_KEYS: usize = 2;

/// A server and its bucket. It serves until the process ends.
pub struct BucketServer {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Stored>,
    /// The parts of uploads that were not completed.
    uploads: BTreeMap<String, BTreeMap<usize, Vec<u8>>>,
    written: u64,
    /// Each as `GET key bytes=0-9`.
    asked: Vec<String>,
    /// How many requests are yet to be answered with an error that passes.
    failures: usize,
    /// Keys that begin so may not be read or written.
    forbidden: Option<String>,
}

#[derive(Clone)]
struct Stored {
    bytes: Arc<Vec<u8>>,
    tag: String,
}

struct Request {
    method: String,
    key: String,
    query: BTreeMap<String, String>,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl BucketServer {
    /// Starts a server of an empty bucket.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it has an address");
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                // A client that goes away ends its connection alone.
                thread::spawn(move || drop(serve(&stream, &state)));
            }
        });
        Self { address, state }
    }

    /// What tells clients of the server: environment variables.
    pub fn environment(&self) -> [(&'static str, String); 4] {
        [
            ("AWS_ENDPOINT_URL", format!("http://{}", self.address)),
            ("AWS_ACCESS_KEY_ID", "key".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "secret".to_owned()),
            ("AWS_REGION", "eu-central-1".to_owned()),
        ]
    }

    /// The URL of an object as a web server has it.
    pub fn web_url(&self, key: &str) -> String {
        format!("http://{}/{BUCKET}/{key}", self.address)
    }

    /// Puts an object into the bucket.
    pub fn put(&self, key: &str, bytes: impl Into<Vec<u8>>) {
        lock(&self.state).store(key, bytes.into());
    }

    /// The bytes of an object.
    pub fn get(&self, key: &str) -> Option<Vec<u8>> {
        let state = lock(&self.state);
        state.objects.get(key).map(|stored| stored.bytes.to_vec())
    }

    /// The keys of all objects.
    pub fn keys(&self) -> Vec<String> {
        lock(&self.state).objects.keys().cloned().collect()
    }

    /// What was asked for since this was called last.
    pub fn take_asked(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.state).asked)
    }

    /// How many uploads were neither completed nor given up.
    pub fn uploads(&self) -> usize {
        lock(&self.state).uploads.len()
    }

    /// Answers the next few requests with an error that passes.
    pub fn fail(&self, requests: usize) {
        lock(&self.state).failures = requests;
    }

    /// Forbids whatever keys begin with this.
    pub fn forbid(&self, prefix: &str) {
        lock(&self.state).forbidden = Some(prefix.to_owned());
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Answers the requests of one connection.
fn serve(stream: &TcpStream, state: &Mutex<State>) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut stream = stream;
    while let Some(request) = Request::read(&mut reader)? {
        let is_head = request.method == "HEAD";
        let answer = lock(state).answer(request);
        let mut head = format!(
            "HTTP/1.1 {} -\r\ncontent-length: {}\r\n",
            answer.status,
            answer.body.len()
        );
        for (name, value) in &answer.headers {
            head += &format!("{name}: {value}\r\n");
        }
        stream.write_all((head + "\r\n").as_bytes())?;
        if !is_head {
            stream.write_all(&answer.body)?;
        }
    }
    Ok(())
}

impl Request {
    fn read(reader: &mut impl BufRead) -> io::Result<Option<Self>> {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let mut words = line.split_whitespace().map(str::to_owned);
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let mut headers = BTreeMap::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            match line.trim_end().split_once(':') {
                None => break,
                Some((name, value)) => headers.insert(name.to_ascii_lowercase(), value.trim().to_owned()),
            };
        }
        let length = headers.get("content-length").and_then(|length| length.parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        reader.read_exact(&mut body)?;
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let pair = |pair: &str| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (unescape(name), unescape(value))
        };
        Ok(Some(Self {
            method,
            key: unescape(path.trim_start_matches('/')),
            query: query.split('&').filter(|pair| !pair.is_empty()).map(pair).collect(),
            headers,
            body,
        }))
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

impl Answer {
    fn of(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: body.into(),
        }
    }

    fn error(status: u16, code: &str) -> Self {
        Self::of(status, format!("<Error><Code>{code}</Code></Error>"))
    }
}

impl State {
    fn answer(&mut self, mut request: Request) -> Answer {
        let bucket_and_key = request.key.split_once('/').unwrap_or((&request.key, ""));
        let (bucket, key) = (bucket_and_key.0.to_owned(), bucket_and_key.1.to_owned());
        request.key = key;
        let range = request.header("range").unwrap_or_default();
        self.asked.push(
            format!("{} {} {range}", request.method, request.key)
                .trim_end()
                .to_owned(),
        );
        if self.failures > 0 {
            self.failures -= 1;
            return Answer::error(503, "SlowDown");
        }
        if bucket != BUCKET {
            return Answer::error(404, "NoSuchBucket");
        }
        let begins = request.query.get("prefix").unwrap_or(&request.key);
        if self
            .forbidden
            .as_ref()
            .is_some_and(|forbidden| begins.starts_with(forbidden))
        {
            return Answer::error(403, "AccessDenied");
        }
        match request.method.as_str() {
            "GET" if request.query.contains_key("list-type") => self.list(&request.query),
            "GET" | "HEAD" => self.read(&request),
            "PUT" => self.write(request),
            "POST" if request.query.contains_key("delete") => {
                // A list of keys.
                let body = String::from_utf8_lossy(&request.body).into_owned();
                let keys = body
                    .split("<Key>")
                    .skip(1)
                    .filter_map(|rest| rest.split("</Key>").next());
                let mut answer = "<DeleteResult>".to_owned();
                for key in keys {
                    self.objects.remove(key);
                    answer += &format!("<Deleted><Key>{key}</Key></Deleted>");
                }
                Answer::of(200, answer + "</DeleteResult>")
            }
            "POST" => self.upload(request),
            "DELETE" => {
                match request.query.get("uploadId") {
                    Some(upload) => drop(self.uploads.remove(upload)),
                    None => drop(self.objects.remove(&request.key)),
                }
                Answer::of(204, "")
            }
            _ => Answer::error(405, "MethodNotAllowed"),
        }
    }

    fn store(&mut self, key: &str, bytes: Vec<u8>) -> String {
        self.written += 1;
        let tag = format!("\"{}\"", self.written);
        let stored = Stored {
            bytes: Arc::new(bytes),
            tag: tag.clone(),
        };
        self.objects.insert(key.to_owned(), stored);
        tag
    }

    fn read(&self, request: &Request) -> Answer {
        let Some(Stored { bytes, tag }) = self.objects.get(&request.key) else {
            return Answer::error(404, "NoSuchKey");
        };
        if request.header("if-match").is_some_and(|wanted| wanted != tag) {
            return Answer::error(412, "PreconditionFailed");
        }
        let mut answer = match request.header("range").and_then(range) {
            None => Answer::of(200, bytes.to_vec()),
            Some(range) => {
                let range = range.start.min(bytes.len())..range.end.min(bytes.len());
                let mut answer = Answer::of(206, &bytes[range.clone()]);
                let last = range.end.saturating_sub(1);
                let place = format!("bytes {}-{last}/{}", range.start, bytes.len());
                answer.headers.push(("content-range", place));
                answer
            }
        };
        answer.headers.push(("etag", tag.clone()));
        answer
            .headers
            .push(("last-modified", "Thu, 01 Jan 2026 00:00:00 GMT".to_owned()));
        answer
    }

    fn write(&mut self, request: Request) -> Answer {
        let part = request.query.get("partNumber").and_then(|number| number.parse().ok());
        let upload = request
            .query
            .get("uploadId")
            .and_then(|upload| self.uploads.get_mut(upload));
        if let (Some(part), Some(upload)) = (part, upload) {
            upload.insert(part, request.body);
            let mut answer = Answer::of(200, "");
            answer.headers.push(("etag", format!("\"part-{part}\"")));
            return answer;
        }
        if request.header("if-none-match") == Some("*") && self.objects.contains_key(&request.key) {
            return Answer::error(412, "PreconditionFailed");
        }
        let mut answer = Answer::of(200, "");
        answer.headers.push(("etag", self.store(&request.key, request.body)));
        answer
    }

    /// Begins an upload in parts, or ends one.
    fn upload(&mut self, request: Request) -> Answer {
        let key = &request.key;
        match request
            .query
            .get("uploadId")
            .and_then(|upload| self.uploads.remove(upload))
        {
            None => {
                let upload = format!("upload-{}", self.uploads.len());
                self.uploads.insert(upload.clone(), BTreeMap::new());
                let body = format!(
                    "<InitiateMultipartUploadResult><Bucket>{BUCKET}</Bucket><Key>{key}</Key><UploadId>{upload}</UploadId>\
                     </InitiateMultipartUploadResult>"
                );
                Answer::of(200, body)
            }
            Some(parts) => {
                let tag = self.store(key, parts.into_values().flatten().collect());
                let body = format!(
                    "<CompleteMultipartUploadResult><Bucket>{BUCKET}</Bucket><Key>{key}</Key><ETag>{tag}</ETag>\
                     </CompleteMultipartUploadResult>"
                );
                Answer::of(200, body)
            }
        }
    }

    fn list(&self, query: &BTreeMap<String, String>) -> Answer {
        let prefix = query.get("prefix").map_or("", String::as_str);
        let after = query.get("continuation-token").map_or("", String::as_str);
        let mut below = self
            .objects
            .iter()
            .filter(|(key, _)| key.starts_with(prefix) && key.as_str() > after)
            .peekable();
        let page: Vec<(&String, &Stored)> = below.by_ref().take(PAGE_KEYS).collect();
        let mut body = "<ListBucketResult>".to_owned();
        for (key, stored) in &page {
            body += &format!(
                "<Contents><Key>{}</Key><LastModified>2026-01-01T00:00:00Z</LastModified><ETag>{}</ETag><Size>{}</Size></Contents>",
                key.replace('&', "&amp;"),
                stored.tag.replace('"', "&quot;"),
                stored.bytes.len()
            );
        }
        if let (Some(_), Some((last, _))) = (below.peek(), page.last()) {
            body += &format!("<IsTruncated>true</IsTruncated><NextContinuationToken>{last}</NextContinuationToken>");
        }
        Answer::of(200, body + "</ListBucketResult>")
    }
}

/// The places of `bytes=7-9`.
fn range(text: &str) -> Option<Range<usize>> {
    let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    Some(first.parse().ok()?..last.parse::<usize>().ok()? + 1)
}

/// The text of what has its special letters as `%` and two hexadecimal digits.
fn unescape(text: &str) -> String {
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        match part.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => bytes.push(byte),
            None => bytes.push(b'%'),
        }
        bytes.extend_from_slice(&part.as_bytes()[part.len().min(2)..]);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
