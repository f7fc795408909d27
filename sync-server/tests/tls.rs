//! TLS as clients and operators meet it: a certificate that is replaced while the server runs, one that
//! is broken, and peers that never agree on anything.

mod support;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use syncline_engine::wire::ServerFrame;
use syncline_engine::wire::frame::Ping;
use syncline_server::config::Config;
use syncline_server::{Server, StartError, TlsFiles};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use support::{Client, config, until, within};

/// Puts a new certificate for `localhost` where the server looks.
fn renew(files: &TlsFiles) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("one is made");
    std::fs::write(&files.key, made.signing_key.serialize_pem()).expect("it is written");
    std::fs::write(&files.certificate, made.cert.pem()).expect("it is written");
    made.cert.der().clone()
}

fn files(dir: &Path) -> TlsFiles {
    TlsFiles { certificate: dir.join("chain.pem"), key: dir.join("key.pem") }
}

/// Agrees on TLS with a server that shows a certificate of one who is trusted.
async fn agree(at: SocketAddr, trusted: &CertificateDer<'static>) -> TlsStream<TcpStream> {
    let stream = within(TcpStream::connect(at)).await.expect("it listens");
    within(connector(trusted).connect(localhost(), stream)).await.expect("they agree")
}

fn connector(trusted: &CertificateDer<'static>) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).expect("a certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

fn localhost() -> ServerName<'static> {
    ServerName::try_from("localhost").expect("a name")
}

fn shown(stream: &TlsStream<TcpStream>) -> CertificateDer<'static> {
    let (_, session) = stream.get_ref();
    session.peer_certificates().expect("one was shown")[0].clone().into_owned()
}

async fn is_served(client: &mut Client<TlsStream<TcpStream>>) {
    client.say(Ping { nonce: 7 }).await;
    assert!(matches!(client.hear().await, ServerFrame::Pong(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_certificate_is_shown_to_new_connections_and_old_ones_go_on() {
    let dir = tempfile::tempdir().expect("a directory");
    let files = files(dir.path());
    let first = renew(&files);
    let metrics_listen = Some("127.0.0.1:0".parse().expect("an address"));
    let config = Config { tls: Some(files.clone()), metrics_listen, ..config() };
    let server = Server::start(config).await.expect("it starts");
    assert!(server.url().starts_with("wss://"));
    let (at, internal) = (server.local_addr(), server.metrics_addr());
    let stream = agree(at, &first).await;
    assert_eq!(shown(&stream), first);
    let mut old = Client::over(stream).await;
    old.hello("ada", 1).await;

    let second = renew(&files);
    server.reload();
    until(internal, |m| m["syncline_tls_reloads_total{outcome=done}"] >= 1.0).await;
    let stream = agree(at, &second).await;
    assert_eq!(shown(&stream), second);
    let mut new = Client::over(stream).await;
    new.hello("bob", 2).await;
    is_served(&mut old).await;

    // A broken one changes nothing for anybody.
    std::fs::write(&files.key, "-----BEGIN PRIVATE KEY-----\nAAAA").expect("it is written");
    server.reload();
    until(internal, |m| m["syncline_tls_reloads_total{outcome=failed}"] >= 1.0).await;
    assert_eq!(shown(&agree(at, &second).await), second);
    is_served(&mut old).await;
    is_served(&mut new).await;

    // Without being told, the server looks by itself.
    let third = renew(&files);
    within(async {
        loop {
            let stream = TcpStream::connect(at).await.expect("it listens");
            if connector(&third).connect(localhost(), stream).await.is_ok() {
                break;
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_never_agrees_is_hung_up_on_and_others_are_served() {
    let dir = tempfile::tempdir().expect("a directory");
    let files = files(dir.path());
    let trusted = renew(&files);
    let metrics_listen = Some("127.0.0.1:0".parse().expect("an address"));
    let request_wait = Duration::from_millis(300);
    let tls = Some(files);
    let config = Config { tls, metrics_listen, request_wait, ..config() };
    let server = Server::start(config).await.expect("it starts");
    let (at, internal) = (server.local_addr(), server.metrics_addr());
    // Nothing, the beginning of a handshake, and what is none.
    let half_a_hello = [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
    for said in [&[][..], &half_a_hello, b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n"] {
        let mut stream = within(TcpStream::connect(at)).await.expect("it listens");
        stream.write_all(said).await.expect("taken");
        let mut rest = Vec::new();
        // A reset is an end as well.
        let _ = within(stream.read_to_end(&mut rest)).await;
        assert!(!String::from_utf8_lossy(&rest).contains("200"), "nothing is served in the clear");
    }
    until(internal, |m| {
        // Only the one that asks for the metrics.
        m["syncline_turned_away_total{reason=handshake}"] == 3.0 && m["syncline_sockets"] == 1.0
    })
    .await;
    let mut client = Client::over(agree(at, &trusted).await).await;
    client.hello("ada", 1).await;
    is_served(&mut client).await;
}

#[tokio::test]
async fn a_certificate_that_cannot_be_used_stops_the_start() {
    let dir = tempfile::tempdir().expect("a directory");
    let tls = Some(files(dir.path()));
    let failed = Server::start(Config { tls, ..config() }).await;
    let Err(StartError::Tls(error)) = failed else { panic!("{failed:?}") };
    assert!(error.to_string().contains("chain.pem"), "{error}");
}
