//! Writes without a network, then comes online and tells what became of it.
//!
//! ```text
//! cargo run --example offline_first -- ws://127.0.0.1:4400
//! ```

use std::error::Error;

use syncline_client::Client;
use syncline_client::engine::document::Target;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "ws://127.0.0.1:4400".to_owned());
    let dir = tempfile::tempdir()?;
    let builder = || Client::builder(url.as_str()).user("alice").data_dir(dir.path());

    println!("offline");
    let client = builder().online(false).open().await?;
    let id = client.new_id();
    let post = client.post("town", id).await?;
    post.create("Notes from the train", "No signal here.", &["travel"])?;
    let comments = client.comments("town", id).await?;
    comments.add(None, "Written in the tunnel.")?;
    let likes = client.likes("town", id).await?;
    likes.like(Target::Post, "like")?.stored().await?;
    println!("  {:?} has {} like(s)", post.title(), likes.count(Target::Post, "like"));
    println!("  pending: {}", client.status().borrow().pending);
    drop((post, comments, likes));
    client.close().await;

    println!("online at {url}, after a restart of the app");
    let client = builder().open().await?;
    for address in client.pending_documents().await? {
        println!("  to be sent: {address}");
    }
    client.synced().await?;
    let status = client.status().borrow().clone();
    println!(
        "  in sync: pending {}, {} bytes sent, {} bytes received",
        status.pending, status.bytes_sent, status.bytes_received
    );
    client.close().await;
    Ok(())
}
