//! A plain HTTP client: says what it is told to, right or wrong, and hears what comes. Knows no document.

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::handshake;
use hyper::header::HeaderMap;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::process::within;

/// What came back.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Answer {
    /// The body as JSON.
    ///
    /// # Panics
    /// If it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("a body in JSON")
    }

    /// The body as JSON, of an answer that is fine.
    ///
    /// # Panics
    /// If it is not.
    pub fn fine(&self) -> Value {
        let said = String::from_utf8_lossy(&self.body);
        assert!(self.status.is_success(), "{}: {said}", self.status);
        self.json()
    }

    /// A header, if it is there.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The status and the code of a problem.
    ///
    /// # Panics
    /// If it is none.
    #[must_use]
    pub fn problem(&self) -> (u16, String) {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let body = self.json();
        assert_eq!(body["status"], self.status.as_u16());
        (self.status.as_u16(), body["code"].as_str().expect("a code").to_owned())
    }
}

/// The way to a server on this machine; each request has a connection of its own.
#[derive(Debug, Clone, Copy)]
pub struct Web {
    port: u16,
}

impl Web {
    /// To the server on this port.
    #[must_use]
    pub const fn new(port: u16) -> Self {
        Self { port }
    }

    async fn send(
        self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Response<Incoming> {
        let stream =
            within(TcpStream::connect(("127.0.0.1", self.port))).await.expect("it listens");
        let (mut sender, connection) = handshake(TokioIo::new(stream)).await.expect("HTTP");
        tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(path);
        let host = format!("127.0.0.1:{}", self.port);
        if !headers.iter().any(|(name, _)| *name == "host") {
            request = request.header("host", host);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body)).expect("a request");
        within(sender.send_request(request)).await.expect("an answer")
    }

    /// Asks with any method and body.
    ///
    /// # Panics
    /// If there is no answer.
    pub async fn ask(
        self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        let response = self.send(method, path, headers, body.into()).await;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = within(response.into_body().collect()).await.expect("a body").to_bytes();
        Answer { status, headers, body }
    }

    /// Reads.
    ///
    /// # Panics
    /// If there is no answer.
    pub async fn get(self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.ask(Method::GET, path, headers, "").await
    }

    /// Sends JSON.
    ///
    /// # Panics
    /// If there is no answer.
    pub async fn post(self, path: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
        let mut headers = headers.to_vec();
        headers.push(("content-type", "application/json"));
        self.ask(Method::POST, path, &headers, body.to_string()).await
    }

    /// Begins to read events.
    ///
    /// # Panics
    /// If what comes are none.
    pub async fn events(self, path: &str, headers: &[(&str, &str)]) -> Events {
        let response = self.send(Method::GET, path, headers, Bytes::new()).await;
        let (status, headers) = (response.status(), response.headers().clone());
        assert_eq!(status, StatusCode::OK, "{headers:?}");
        assert_eq!(headers["content-type"], "text/event-stream");
        Events { headers, body: response.into_body(), bytes: BytesMut::new() }
    }

    /// Says these bytes and hears the first line of the answer.
    ///
    /// # Panics
    /// If there is none.
    pub async fn first_line(self, bytes: &[u8]) -> String {
        let stream = within(TcpStream::connect(("127.0.0.1", self.port))).await;
        let mut stream = BufReader::new(stream.expect("it listens"));
        within(stream.write_all(bytes)).await.expect("it takes them");
        let mut line = String::new();
        within(stream.read_line(&mut line)).await.expect("a line");
        line
    }

    /// Says these bytes, which need not be HTTP, and hears what comes until the end.
    ///
    /// # Panics
    /// If the socket does not take them.
    pub async fn say(self, bytes: &[u8]) -> String {
        let stream = within(TcpStream::connect(("127.0.0.1", self.port))).await;
        let mut stream = stream.expect("it listens");
        within(stream.write_all(bytes)).await.expect("it takes them");
        let mut heard = Vec::new();
        // A reset ends it as well.
        let _ = within(stream.read_to_end(&mut heard)).await;
        String::from_utf8_lossy(&heard).into_owned()
    }
}

/// An event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What it is called; `message` if nothing is said.
    pub name: String,
    /// Its id.
    pub id: Option<String>,
    /// What it says.
    pub data: String,
    /// When to come back, if it says so, in milliseconds.
    pub retry: Option<u64>,
}

impl Event {
    /// What it says, as JSON.
    ///
    /// # Panics
    /// If it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.data).expect("JSON")
    }
}

/// Events as they come.
#[derive(Debug)]
pub struct Events {
    /// The headers of the answer.
    pub headers: HeaderMap,
    body: Incoming,
    bytes: BytesMut,
}

impl Events {
    /// The next event; `None` at the end of the stream.
    ///
    /// # Panics
    /// If neither comes.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(end) = self.bytes.windows(2).position(|two| two == b"\n\n") {
                let block = self.bytes.split_to(end + 2);
                let event = read_event(&String::from_utf8_lossy(&block));
                if event.is_some() {
                    return event;
                }
                continue;
            }
            let frame = within(self.body.frame()).await?.ok()?;
            self.bytes.extend_from_slice(&frame.into_data().unwrap_or_default());
        }
    }

    /// The next event of this name; passes over others.
    ///
    /// # Panics
    /// If the stream ends before.
    pub async fn until(&mut self, name: &str) -> Event {
        loop {
            let event = self.next().await.expect("the stream goes on");
            if event.name == name {
                return event;
            }
        }
    }
}

fn read_event(block: &str) -> Option<Event> {
    let mut event =
        Event { name: "message".to_owned(), id: None, data: String::new(), retry: None };
    let mut said = false;
    for line in block.lines().filter(|line| !line.is_empty()) {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut event.name),
            "id" => event.id = Some(value.to_owned()),
            "data" => event.data.push_str(value),
            "retry" => event.retry = value.parse().ok(),
            _ => continue,
        }
        said = true;
    }
    said.then_some(event)
}
