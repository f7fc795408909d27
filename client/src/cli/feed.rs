//! `syncline feed`: the posts of a space by activity, once or as they change. Opens no document.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde_json::json;
use syncline_client::Feed;
use syncline_engine::document::PostStatus;
use syncline_engine::session::{FeedStatus, FeedView};
use syncline_engine::summary::Summary;
use tokio::time::timeout;

use super::connect::{ConnectArgs, Connection};
use super::render::{clean, time};

/// Lists the posts of a space, the most recently active first
#[derive(Debug, Args)]
pub(crate) struct FeedArgs {
    /// Space
    space: String,
    /// How many posts
    #[arg(long, default_value_t = 50, value_name = "NUMBER")]
    newest: usize,
    /// Go on with what changes, until interrupted; with --json one line for each change
    #[arg(long)]
    watch: bool,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// Runs it.
pub(crate) async fn run(args: FeedArgs) -> anyhow::Result<bool> {
    let connection = Connection::open(&args.connect).await?;
    let feed = connection.client.feed(&args.space, args.newest)?;
    let wait = Duration::from_secs(args.connect.wait());
    let Ok(view) = timeout(wait, feed.live()).await else {
        anyhow::bail!("the server does not answer");
    };
    let shown = view?;
    print(&args, shown.posts())?;
    if args.watch {
        watch(&args, &feed, shown).await?;
    }
    drop(feed);
    connection.client.close().await;
    Ok(true)
}

/// Prints what changes until it is interrupted.
async fn watch(args: &FeedArgs, feed: &Feed, mut shown: Arc<FeedView>) -> anyhow::Result<()> {
    let mut changes = feed.changes();
    loop {
        let next = tokio::select! {
            _ = tokio::signal::ctrl_c() => return Ok(()),
            changed = changes.changed() => match changed {
                Ok(()) => changes.borrow_and_update().clone(),
                Err(_) => anyhow::bail!("the client is closed"),
            },
        };
        if let FeedStatus::Ended { code, message } = next.status() {
            anyhow::bail!("the server ended it: {message} ({code})");
        }
        let news = changed(&shown, &next);
        if !news.is_empty() {
            print(args, news.into_iter())?;
        }
        shown = next;
    }
}

/// The posts of a view that another does not show like that.
fn changed<'a>(before: &FeedView, after: &'a FeedView) -> Vec<&'a Summary> {
    let known: BTreeMap<&str, &Summary> =
        before.posts().map(|post| (post.id.as_str(), post)).collect();
    after.posts().filter(|post| known.get(post.id.as_str()) != Some(post)).collect()
}

fn print<'a>(args: &FeedArgs, posts: impl Iterator<Item = &'a Summary>) -> anyhow::Result<()> {
    use std::io::Write as _;
    let posts: Vec<&Summary> = posts.collect();
    let mut out = std::io::stdout().lock();
    if args.connect.json {
        let shown: Vec<_> = posts.iter().map(|post| post.to_json()).collect();
        writeln!(out, "{}", json!({ "space": args.space, "posts": shown }))?;
    } else {
        for post in posts {
            writeln!(out, "{}", line(&args.space, post))?;
        }
    }
    // Whoever reads it through a pipe is to see it at once.
    out.flush()?;
    Ok(())
}

/// A post in one line.
fn line(space: &str, summary: &Summary) -> String {
    let mut out = time(summary.active);
    let Some(post) = &summary.post else { return out };
    let (title, author) = (clean(&post.title).replace('\n', " "), post.author.as_str());
    let title = match post.status {
        PostStatus::Published if title.is_empty() => "(untitled)".to_owned(),
        PostStatus::Published => format!("“{title}”"),
        PostStatus::Hidden | PostStatus::Deleted => format!("({})", post.status.as_str()),
    };
    let likes = summary.likes.clone().unwrap_or_default();
    let comments = summary.comments.unwrap_or_default().comments;
    let _ = write!(out, "  {space}/{}  {title} by {author}", summary.id);
    let _ = write!(out, " · {} likes · {comments} comments", likes.likes);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use syncline_engine::clock::Timestamp;
    use syncline_engine::ids::UserId;
    use syncline_engine::summary::{Brought, CommentsPart, Part, PostPart};

    #[test]
    fn a_line_says_what_there_is_and_nothing_that_moves_the_cursor() {
        let mut summary = Summary::new("one".to_owned());
        let part = PostPart {
            author: UserId::new("ada").unwrap(),
            created: Timestamp(1),
            status: PostStatus::Published,
            title: "A\u{1b}[2Jday".to_owned(),
        };
        summary.take_in(&Brought { at: Timestamp(0), part: Part::Post(part) });
        let comments = CommentsPart { comments: 3, deleted: 1 };
        summary.take_in(&Brought { at: Timestamp(60_000), part: Part::Comments(comments) });
        let line = line("town", &summary);
        assert!(line.starts_with("1970-01-01 00:01  town/one"), "{line}");
        assert!(line.contains("by ada · 0 likes · 3 comments") && !line.contains('\u{1b}'));
    }
}
