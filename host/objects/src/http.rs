use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::BodyExt;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
};
use object_store::{ClientConfigKey, ClientOptions};
use tokio::task::spawn_blocking;
use ureq::http::request::Parts;
use ureq::http::{Method, Request, Response};
use ureq::tls::{RootCerts, TlsConfig, TlsProvider};
use ureq::{Agent, Error, Timeout};

const CONNECT_FOR: Duration = Duration::from_secs(10);
/// How long a server may think.
const ANSWER_FOR: Duration = Duration::from_secs(60);
/// How long it may be silent within an answer, and how long it may take to read what it is sent.
const SILENT_FOR: Duration = Duration::from_secs(30);
/// The connections that are kept for the next requests.
const IDLE_CONNECTIONS: usize = 16;
const MAX_REDIRECTS: u32 = 5;
/// No part and no page of a listing is so long.
const MAX_ANSWER_BYTES: u64 = 256 << 20;

/// Makes the client of a store: HTTP/1.1 over connections that are kept, encrypted by rustls with the machine's certificates.
/// Each request is answered by a thread that may wait, so that the client needs no network of the runtime.
#[derive(Debug)]
pub(crate) struct Connector;

#[derive(Debug)]
struct Service {
    agent: Agent,
}

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let may_be_plain = options.get_config_value(&ClientConfigKey::AllowHttp);
        let tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .root_certs(RootCerts::PlatformVerifier)
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()));
        let agent = Agent::config_builder()
            .https_only(may_be_plain.as_deref() != Some("true"))
            .http_status_as_error(false)
            .allow_non_standard_methods(true)
            .max_redirects(MAX_REDIRECTS)
            .max_redirects_will_error(false)
            .timeout_connect(Some(CONNECT_FOR))
            .timeout_recv_response(Some(ANSWER_FOR))
            .timeout_per_read(Some(SILENT_FOR))
            .timeout_per_write(Some(SILENT_FOR))
            .max_idle_connections_per_host(IDLE_CONNECTIONS)
            .max_idle_connections(IDLE_CONNECTIONS)
            .tls_config(tls.build())
            .build();
        Ok(HttpClient::new(Service { agent: agent.into() }))
    }
}

#[async_trait]
impl HttpService for Service {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let agent = self.agent.clone();
        match spawn_blocking(move || send(&agent, parts, &body)).await {
            Ok(answer) => answer,
            Err(error) => Err(HttpError::new(HttpErrorKind::Unknown, error)),
        }
    }
}

fn send(agent: &Agent, parts: Parts, body: &[u8]) -> Result<HttpResponse, HttpError> {
    let has_body = [Method::POST, Method::PUT].contains(&parts.method) || !body.is_empty();
    let answer = match has_body {
        true => agent.run(Request::from_parts(parts, body)),
        false => agent.run(Request::from_parts(parts, ())),
    };
    let (parts, body) = answer.map_err(http_error)?.into_parts();
    let expected = body.content_length().unwrap_or(0).min(MAX_ANSWER_BYTES);
    let mut bytes = Vec::with_capacity(expected as usize);
    let read = body.into_reader().take(MAX_ANSWER_BYTES + 1).read_to_end(&mut bytes);
    read.map_err(|error| http_error(error.into()))?;
    if MAX_ANSWER_BYTES < bytes.len() as u64 {
        let error = io::Error::other("the answer is too long");
        return Err(HttpError::new(HttpErrorKind::Decode, error));
    }
    Ok(Response::from_parts(parts, Bytes::from(bytes).into()))
}

/// Tells what may pass from what does not: the store tries the former again.
fn http_error(error: Error) -> HttpError {
    let kind = match &error {
        Error::HostNotFound | Error::ConnectionFailed => HttpErrorKind::Connect,
        Error::Timeout(Timeout::Connect | Timeout::Resolve) => HttpErrorKind::Connect,
        Error::Timeout(_) => HttpErrorKind::Timeout,
        Error::Protocol(_) | Error::BodyStalled => HttpErrorKind::Interrupted,
        Error::Io(error) => match error.kind() {
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => HttpErrorKind::Timeout,
            io::ErrorKind::ConnectionRefused
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::AddrNotAvailable => HttpErrorKind::Connect,
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::NotConnected
            | io::ErrorKind::UnexpectedEof => HttpErrorKind::Interrupted,
            _ => HttpErrorKind::Unknown,
        },
        _ => HttpErrorKind::Unknown,
    };
    HttpError::new(kind, error)
}
