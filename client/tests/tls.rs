//! A client and a server with a certificate that only its own authority vouches for: who trusts that one
//! is served, and nobody else is.

use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use syncline_client::engine::document::Target;
use syncline_client::engine::session::{ConnectionStatus, Resolution};
use syncline_client::{Client, OpenError, Transport, TrustError};
use syncline_server::config::{Config, Storage};
use syncline_server::{Server, TlsFiles};

/// Fails a test that waits for what does not come.
const PATIENCE: Duration = Duration::from_secs(60);

async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("what is waited for comes")
}

/// An authority in `NAME.pem`, and a certificate of it for the loopback address.
fn authority(dir: &std::path::Path, name: &str) -> TlsFiles {
    let key = KeyPair::generate().expect("a key");
    let mut ours = CertificateParams::new(Vec::new()).expect("parameters");
    ours.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = ours.self_signed(&key).expect("a certificate");
    std::fs::write(dir.join(format!("{name}.pem")), certificate.pem()).expect("written");
    let issuer = Issuer::new(ours, key);
    let server_key = KeyPair::generate().expect("a key");
    let server = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("parameters");
    let server = server.signed_by(&server_key, &issuer).expect("a certificate");
    let file = |what: &str| dir.join(format!("{name}-{what}.pem"));
    let files = TlsFiles { certificate: file("chain"), key: file("key") };
    std::fs::write(&files.certificate, server.pem()).expect("written");
    std::fs::write(&files.key, server_key.serialize_pem()).expect("written");
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn who_trusts_the_servers_authority_is_served_and_others_never_connect() {
    let dir = tempfile::tempdir().expect("a directory");
    let tls = Some(authority(dir.path(), "ours"));
    authority(dir.path(), "other");
    let listen = "127.0.0.1:0".parse().expect("an address");
    let config = Config { listen, tls, storage: Storage::Memory, ..Config::default() };
    let server = Server::start(config).await.expect("it starts");
    let open = |ca: &str, transport: Transport, user: &str| {
        let builder = Client::builder(server.url()).user(user).in_memory().transport(transport);
        builder.ca_file(dir.path().join(ca)).open()
    };
    for (transport, user) in [(Transport::WebSocket, "ada"), (Transport::Sse, "bob")] {
        let client = within(open("ours.pem", transport, user)).await.expect("it opens");
        let likes = within(client.likes("town", "square")).await.expect("it opens");
        let liked = likes.like(Target::Post, "like").expect("taken");
        assert_eq!(within(liked).await, Ok(Resolution::Confirmed));

        let stranger = within(open("other.pem", transport, "eve")).await.expect("it opens");
        let mut attempts = stranger.connection();
        let tries_again = |status: &ConnectionStatus| {
            assert!(!matches!(status, ConnectionStatus::Connected), "it trusts anybody");
            matches!(status, ConnectionStatus::Reconnecting { attempt, .. } if *attempt >= 2)
        };
        within(attempts.wait_for(tries_again)).await.expect("it is alive");
    }

    let open = |ca: &str| open(ca, Transport::Auto, "ada");
    let missing = within(open("missing.pem")).await;
    assert!(matches!(missing, Err(OpenError::Trust(TrustError::Unreadable { .. }))));
    std::fs::write(dir.path().join("empty.pem"), "nothing").expect("written");
    let empty = within(open("empty.pem")).await;
    assert!(matches!(empty, Err(OpenError::Trust(TrustError::Empty { .. }))));
}
