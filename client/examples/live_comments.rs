//! Two people comment on one post at the same time, each on a client of their own.
//!
//! ```text
//! cargo run --example live_comments -- ws://127.0.0.1:4400
//! ```

use std::error::Error;

use syncline_client::engine::document::Event;
use syncline_client::{Client, Comments};

async fn join(url: &str, user: &str, post: &str) -> Result<(Client, Comments), Box<dyn Error>> {
    let client = Client::builder(url).user(user).in_memory().open().await?;
    let comments = client.comments("town", post).await?;
    comments.document().live().await?;
    Ok((client, comments))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "ws://127.0.0.1:4400".to_owned());
    let (alice, hers) = join(&url, "alice", "square").await?;
    let (bob, his) = join(&url, "bob", "square").await?;

    let mut reached = hers.document().events();
    let mut heard = his.document().events();
    let (question, asked) = hers.add(None, "Shall we meet at noon?")?;
    while his.with(|comments| comments.comment(question).is_none()) {
        let Some(change) = heard.next().await else {
            return Err("the client ended".into());
        };
        for event in change.events {
            if let Event::CommentAdded { id, author, .. } = event {
                println!("bob sees {id} by {author}");
            }
        }
    }
    // Both write before either has seen the other's.
    let (_, answered) = his.add(Some(question), "Noon is fine.")?;
    let (_, added) = hers.add(Some(question), "At the fountain.")?;
    for pending in [asked, answered, added] {
        println!("{}: {:?}", pending.id(), pending.await?);
    }
    alice.synced().await?;
    bob.synced().await?;
    while hers.with(|comments| comments.len()) < his.with(|comments| comments.len()) {
        reached.next().await;
    }
    for (depth, _, comment) in hers.thread() {
        println!("{:indent$}{}: {}", "", comment.author, comment.body, indent = 2 * depth);
    }
    alice.close().await;
    bob.close().await;
    Ok(())
}
