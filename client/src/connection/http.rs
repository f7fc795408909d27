//! HTTP/1.1 requests to the server, over plain TCP or TLS. Must never know what they are for.

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONTENT_TYPE, HOST, USER_AGENT};
use hyper::{Method, Request, Response, body::Incoming};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_tungstenite::MaybeTlsStream;

use super::Server;
use crate::trust::Trust;

/// One connection to the server, over which one request follows the other.
pub(super) struct Requests {
    sender: SendRequest<Full<Bytes>>,
    authority: String,
    base: String,
    carried: JoinHandle<()>,
}

impl Drop for Requests {
    fn drop(&mut self) {
        self.carried.abort();
    }
}

impl Requests {
    /// Dials.
    pub(super) async fn dial(Server { endpoint, trust }: Server<'_>) -> Result<Self, String> {
        let (host, port) = endpoint.host();
        let stream =
            TcpStream::connect((host.as_str(), port)).await.map_err(|error| error.to_string())?;
        // What is said is small and waited for.
        let _ = stream.set_nodelay(true);
        let stream = if endpoint.is_secure() {
            secure(&host, stream, trust).await?
        } else {
            MaybeTlsStream::Plain(stream)
        };
        let (sender, connection) =
            handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
        let carried = tokio::spawn(async move {
            // How it ends shows in the requests.
            let _ = connection.await;
        });
        let (authority, base) = endpoint.http();
        Ok(Self { sender, authority, base, carried })
    }

    /// Asks, and answers with the head of the answer.
    pub(super) async fn ask(
        &mut self,
        method: Method,
        path: &str,
        body: Option<Bytes>,
    ) -> Result<Response<Incoming>, String> {
        let said = |error: hyper::Error| error.to_string();
        self.sender.ready().await.map_err(said)?;
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header(HOST, &self.authority)
            .header(USER_AGENT, concat!("syncline/", env!("CARGO_PKG_VERSION")));
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/octet-stream");
        }
        let request = request.body(Full::new(body.unwrap_or_default()));
        let request = request.map_err(|error| error.to_string())?;
        self.sender.send_request(request).await.map_err(said)
    }
}

#[cfg(feature = "tls")]
async fn secure(
    host: &str,
    stream: TcpStream,
    trust: &Trust,
) -> Result<MaybeTlsStream<TcpStream>, String> {
    use rustls::pki_types::ServerName;

    let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
    let connector = tokio_rustls::TlsConnector::from(trust.config()?);
    let stream = connector.connect(name, stream).await.map_err(|error| error.to_string())?;
    Ok(MaybeTlsStream::Rustls(stream))
}

#[cfg(not(feature = "tls"))]
async fn secure(_: &str, _: TcpStream, _: &Trust) -> Result<MaybeTlsStream<TcpStream>, String> {
    std::future::ready(Err("this build has no TLS".to_owned())).await
}
