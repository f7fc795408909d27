//! The everyday commands: write, read and watch posts and their comments, and keep this device in
//! sync.

use std::io::Read;

use anyhow::{Context, bail};
use clap::Args;
use futures_util::stream::select_all;
use futures_util::{Stream, StreamExt};
use serde_json::{Value, json};
use syncline_client::{Change, Document, Pending};
use syncline_engine::clock::Timestamp;
use syncline_engine::document::{
    Command, CommentsCommand, Event, LikesCommand, PostCommand, PostStatus, PostView, Target,
    TextField, View, text_edit,
};
use syncline_engine::ids::{Address, Facet, Ulid, UserId};

use super::connect::{ConnectArgs, Connection, Place};
use super::issue::issue;
use super::refused::take_endings;
use super::render::{self, Talk};

/// Writes a post
#[derive(Debug, Args)]
pub(crate) struct PostArgs {
    /// Space, or space/id; without an id, a new one is made and printed
    place: String,
    /// The text; - reads it from standard input
    #[arg(default_value = "")]
    body: String,
    /// The title
    #[arg(long, default_value = "")]
    title: String,
    /// A tag; may be given several times
    #[arg(long)]
    tag: Vec<String>,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// Shows a post, its likes and its comments
#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// The post, space/id
    place: Place,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// Reacts to a post or a comment
#[derive(Debug, Args)]
pub(crate) struct LikeArgs {
    /// The post, space/id
    place: Place,
    /// The comment to react to, instead of the post
    #[arg(long, value_name = "ID")]
    comment: Option<Ulid>,
    /// The reaction: a word or an emoji
    #[arg(long, default_value = "like")]
    reaction: String,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// Comments on a post
#[derive(Debug, Args)]
pub(crate) struct CommentArgs {
    /// The post, space/id
    place: Place,
    /// The text; - reads it from standard input
    body: String,
    /// The comment to answer
    #[arg(long, value_name = "ID")]
    reply_to: Option<Ulid>,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// Changes the text of a post or a comment
#[derive(Debug, Args)]
pub(crate) struct EditArgs {
    /// The post, space/id
    place: Place,
    /// The new text; - reads it from standard input
    body: Option<String>,
    /// The comment to change, instead of the post
    #[arg(long, value_name = "ID", conflicts_with = "title")]
    comment: Option<Ulid>,
    /// The post's new title
    #[arg(long)]
    title: Option<String>,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// Deletes a post or a comment
#[derive(Debug, Args)]
pub(crate) struct DeleteArgs {
    /// The post, space/id
    place: Place,
    /// The comment to delete, instead of the post
    #[arg(long, value_name = "ID")]
    comment: Option<Ulid>,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// Sends what is pending and fetches what is new in everything on this device
#[derive(Debug, Args)]
pub(crate) struct SyncArgs {
    #[command(flatten)]
    connect: ConnectArgs,
}

/// Prints documents as JSON, one per line
#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// Documents, space/id/facet, or posts, space/id [default: everything on this device]
    addresses: Vec<String>,
    #[command(flatten)]
    connect: ConnectArgs,
}

fn text(given: &str) -> anyhow::Result<String> {
    if given != "-" {
        return Ok(given.to_owned());
    }
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).context("can't read the standard input")?;
    Ok(text.trim_end_matches('\n').to_owned())
}

pub(super) fn say(json_wanted: bool, sentence: &str, value: &Value) {
    if json_wanted {
        println!("{value}");
    } else {
        println!("{sentence}");
    }
}

/// The moment as the ids of this client have it.
fn now(connection: &Connection) -> (Ulid, Timestamp) {
    let id = connection.client.new_id();
    (id, id.timestamp())
}

fn exists(document: &Document) -> bool {
    document.with_view(|view| matches!(view, View::Post(post) if post.author().is_some()))
}

/// Opens a post that must be there, unless the server can't be asked.
async fn existing_post(connection: &Connection, place: &Place) -> anyhow::Result<Document> {
    let (document, live) = connection.part(place, Facet::Post).await?;
    if live && !exists(&document) {
        bail!("there is no post {place}; check the name, or write it with `syncline post {place}`");
    }
    Ok(document)
}

/// Opens the comments of a post and checks that one is there.
async fn existing_comment(
    connection: &Connection,
    place: &Place,
    id: Ulid,
) -> anyhow::Result<Document> {
    let (document, live) = connection.part(place, Facet::Comments).await?;
    let found = document.with_view(
        |view| matches!(view, View::Comments(comments) if comments.comment(id).is_some()),
    );
    if found {
        return Ok(document);
    }
    if live {
        bail!("{place} has no comment {id}; `syncline show {place}` lists them");
    }
    bail!("this device does not have comment {id} of {place}; try again when the server is there")
}

pub(crate) async fn post(args: PostArgs) -> anyhow::Result<bool> {
    let body = text(&args.body)?;
    let connection = Connection::open(&args.connect).await?;
    let place = if args.place.contains('/') {
        args.place.parse::<Place>().map_err(anyhow::Error::msg)?
    } else {
        Place { space: args.place.clone(), id: connection.client.new_id().to_string() }
    };
    // A new id is nobody else's: no need to ask the server what it has of it.
    let document = connection.client.document_for_writing(&place.address(Facet::Post)?).await?;
    if args.place.contains('/') {
        let (document, _) = connection.part(&place, Facet::Post).await?;
        if exists(&document) {
            bail!("{place} exists; change it with `syncline edit {place}`");
        }
    }
    let command = Command::Post(PostCommand::Create {
        author: connection.client.user().clone(),
        created: now(&connection).1,
        title: args.title,
        body,
        tags: args.tag,
    });
    let pending = issue(&document, &command).await?;
    let standing = connection.settle(pending).await?;
    let value = json!({"post": place.to_string(), "id": place.id, "state": standing});
    say(args.connect.json, &format!("{place}{}", standing.remark()), &value);
    finish(connection, document).await
}

/// Lets go of the document and ends the client in order.
pub(super) async fn finish(connection: Connection, document: Document) -> anyhow::Result<bool> {
    drop(document);
    connection.client.close().await;
    Ok(true)
}

pub(crate) async fn show(args: ShowArgs) -> anyhow::Result<bool> {
    let connection = Connection::open(&args.connect).await?;
    let parts = Parts::open(&connection, &args.place).await?;
    if parts.live && !exists(&parts.post) {
        bail!("there is no post {}; check the name and the server", args.place);
    }
    parts.with(|talk| {
        if args.connect.json {
            println!("{}", render::talk_json(talk));
        } else {
            print!("{}", render::talk(talk));
        }
    });
    drop(parts);
    connection.client.close().await;
    Ok(true)
}

/// The three documents of a post.
struct Parts {
    name: String,
    post: Document,
    likes: Document,
    comments: Document,
    live: bool,
}

impl Parts {
    async fn open(connection: &Connection, place: &Place) -> anyhow::Result<Self> {
        let ((post, a), (likes, b), (comments, c)) = tokio::try_join!(
            connection.part(place, Facet::Post),
            connection.part(place, Facet::Likes),
            connection.part(place, Facet::Comments),
        )?;
        Ok(Self { name: place.to_string(), post, likes, comments, live: a && b && c })
    }

    const fn documents(&self) -> [&Document; 3] {
        [&self.post, &self.likes, &self.comments]
    }

    fn with(&self, look: impl FnOnce(&Talk<'_>)) {
        let pending = self.documents().iter().map(|document| document.status().pending).sum();
        let views = self.documents().map(Document::view);
        let [View::Post(post), View::Likes(likes), View::Comments(comments)] =
            [&*views[0], &*views[1], &*views[2]]
        else {
            return;
        };
        let name = self.name.clone();
        look(&Talk { name, post, likes, comments, pending, live: self.live });
    }
}

async fn react(args: LikeArgs, on: bool) -> anyhow::Result<bool> {
    let connection = Connection::open(&args.connect).await?;
    let target = match args.comment {
        None => {
            existing_post(&connection, &args.place).await?;
            Target::Post
        }
        Some(id) => {
            existing_comment(&connection, &args.place, id).await?;
            Target::Comment(id)
        }
    };
    let (document, _) = connection.part(&args.place, Facet::Likes).await?;
    let (reaction, user) = (args.reaction.clone(), connection.client.user().clone());
    let command = Command::Likes(if on {
        LikesCommand::Like { target, reaction, user, at: connection.client.new_id() }
    } else {
        LikesCommand::Unlike { target, reaction, user }
    });
    let pending = issue(&document, &command).await?;
    let standing = connection.settle(pending).await?;
    let count = document.with_view(|view| match view {
        View::Likes(likes) => likes.count(target, &args.reaction),
        View::Post(_) | View::Comments(_) | View::Json(_) => 0,
    });
    let sentence = format!("{}: {} {count}{}", args.place, args.reaction, standing.remark());
    let value = json!({
        "post": args.place.to_string(), "target": target.to_string(), "reaction": args.reaction,
        "count": count, "state": standing,
    });
    say(args.connect.json, &sentence, &value);
    finish(connection, document).await
}

pub(crate) async fn like(args: LikeArgs) -> anyhow::Result<bool> {
    react(args, true).await
}

pub(crate) async fn unlike(args: LikeArgs) -> anyhow::Result<bool> {
    react(args, false).await
}

pub(crate) async fn comment(args: CommentArgs) -> anyhow::Result<bool> {
    let body = text(&args.body)?;
    let connection = Connection::open(&args.connect).await?;
    existing_post(&connection, &args.place).await?;
    let document = match args.reply_to {
        Some(parent) => existing_comment(&connection, &args.place, parent).await?,
        None => connection.part(&args.place, Facet::Comments).await?.0,
    };
    let (id, created) = comment_id(&connection, &document);
    let author: UserId = connection.client.user().clone();
    let add = CommentsCommand::Add { id, author, parent: args.reply_to, created, body };
    let pending = issue(&document, &Command::Comments(add)).await?;
    let standing = connection.settle(pending).await?;
    let value = json!({
        "post": args.place.to_string(), "id": id.to_string(), "state": standing,
    });
    say(args.connect.json, &format!("{id}{}", standing.remark()), &value);
    finish(connection, document).await
}

/// A new id that sorts after every comment that is there, and the time of it.
fn comment_id(connection: &Connection, document: &Document) -> (Ulid, Timestamp) {
    let (fresh, at) = now(connection);
    let largest = document.with_view(|view| match view {
        View::Comments(comments) => comments.iter().map(|(id, _)| id).max(),
        View::Post(_) | View::Likes(_) | View::Json(_) => None,
    });
    (Ulid::after(largest, at, u128::from_be_bytes(fresh.0)), at)
}

pub(crate) async fn edit(args: EditArgs) -> anyhow::Result<bool> {
    let body = args.body.as_deref().map(text).transpose()?;
    let connection = Connection::open(&args.connect).await?;
    let mut pending: Vec<Pending> = Vec::new();
    let document = if let Some(id) = args.comment {
        let body = body.context("say what the comment is to read")?;
        let document = existing_comment(&connection, &args.place, id).await?;
        let edited = now(&connection).1;
        let command = Command::Comments(CommentsCommand::Edit { id, body, edited });
        pending.push(issue(&document, &command).await?);
        document
    } else {
        if body.is_none() && args.title.is_none() {
            bail!("say what the text or the --title is to be");
        }
        let document = existing_post(&connection, &args.place).await?;
        for (field, new) in [(TextField::Title, args.title), (TextField::Body, body)] {
            let Some(new) = new else { continue };
            let splice = document.with_view(|view| match view {
                View::Post(post) => text_edit(field_of(post, field), &new),
                View::Likes(_) | View::Comments(_) | View::Json(_) => None,
            });
            if let Some((index, delete, insert)) = splice {
                let command = Command::Post(PostCommand::Splice { field, index, delete, insert });
                pending.push(issue(&document, &command).await?);
            }
        }
        document
    };
    let standing = connection.settle_all(pending).await?;
    let value = json!({
        "post": args.place.to_string(), "comment": args.comment.map(|id| id.to_string()),
        "state": standing,
    });
    say(args.connect.json, &format!("{} changed{}", args.place, standing.remark()), &value);
    finish(connection, document).await
}

fn field_of(post: &PostView, field: TextField) -> &str {
    match field {
        TextField::Title => post.title(),
        TextField::Body => post.body(),
    }
}

pub(crate) async fn delete(args: DeleteArgs) -> anyhow::Result<bool> {
    let connection = Connection::open(&args.connect).await?;
    let (document, command) = match args.comment {
        Some(id) => {
            let document = existing_comment(&connection, &args.place, id).await?;
            let at = now(&connection).1;
            (document, Command::Comments(CommentsCommand::Delete { id, at }))
        }
        None => {
            let document = existing_post(&connection, &args.place).await?;
            let status = PostStatus::Deleted;
            (document, Command::Post(PostCommand::SetStatus { status }))
        }
    };
    let pending = issue(&document, &command).await?;
    let standing = connection.settle(pending).await?;
    let what = args.comment.map_or_else(|| args.place.to_string(), |id| id.to_string());
    let value = json!({
        "post": args.place.to_string(), "comment": args.comment.map(|id| id.to_string()),
        "state": standing,
    });
    say(args.connect.json, &format!("{what} deleted{}", standing.remark()), &value);
    finish(connection, document).await
}

/// Shows a post and then, until interrupted, what happens to it.
pub(crate) async fn watch(args: ShowArgs) -> anyhow::Result<bool> {
    let connection = Connection::open(&args.connect).await?;
    let parts = Parts::open(&connection, &args.place).await?;
    let mut changes = select_all(parts.documents().map(|document| {
        let document = document.clone();
        let changes = document.events();
        Box::pin(changes.map(move |change| (document.clone(), change)))
            as std::pin::Pin<Box<dyn Stream<Item = (Document, Change)>>>
    }));
    parts.with(|talk| {
        if args.connect.json {
            println!("{}", render::talk_json(talk));
        } else {
            print!("{}\n(watching; Ctrl-C ends)\n", render::talk(talk));
        }
    });
    let mut state = connection.client.connection();
    loop {
        tokio::select! {
            change = changes.next() => match change {
                Some((document, change)) => tell(&document, &change, args.connect.json),
                None => break,
            },
            changed = state.changed() => {
                if changed.is_err() {
                    break;
                }
                if !args.connect.json {
                    eprintln!("({:?})", *state.borrow_and_update());
                }
            }
            interrupted = tokio::signal::ctrl_c() => {
                interrupted.context("can't listen for Ctrl-C")?;
                break;
            }
        }
    }
    drop((changes, parts));
    connection.client.close().await;
    Ok(true)
}

fn tell(document: &Document, change: &Change, json_wanted: bool) {
    if change.missed > 0 {
        let value = json!({"event": "missed", "changes": change.missed});
        say(json_wanted, &format!("({} changes went by too fast)", change.missed), &value);
    }
    let view = document.view();
    let told = change.events.iter().filter_map(|event: &Event| render::event(event, &view));
    for (sentence, value) in told {
        say(json_wanted, &sentence, &value);
    }
}

pub(crate) async fn sync(args: SyncArgs) -> anyhow::Result<bool> {
    let connection = Connection::open(&args.connect).await?;
    let addresses = connection.client.stored_documents().await?;
    let mut open = Vec::with_capacity(addresses.len());
    for address in &addresses {
        open.push(connection.client.document(address).await?);
    }
    let synced = connection.synced().await?;
    let pending = connection.client.status().borrow().pending;
    let live = open.iter().filter(|document| document.status().live).count();
    let sentence = if synced {
        format!("{} documents in sync", open.len())
    } else {
        format!(
            "{live} of {} documents in sync, {pending} changes pending; is the server there?",
            open.len()
        )
    };
    let refused = take_endings(&connection.client).await?;
    let sentence = match refused {
        0 => sentence,
        _ => format!("{sentence}; {refused} changes refused, see `syncline refused`"),
    };
    let value = json!({
        "synced": synced, "documents": open.len(), "live": live, "pending": pending,
        "refused": refused,
    });
    say(args.connect.json, &sentence, &value);
    drop(open);
    connection.client.close().await;
    Ok(synced)
}

pub(crate) async fn export(args: ExportArgs) -> anyhow::Result<bool> {
    let connection = Connection::open(&args.connect).await?;
    let mut addresses = Vec::new();
    for given in &args.addresses {
        match given.parse::<Address>() {
            Ok(address) => addresses.push(address),
            Err(_) => {
                let place: Place = given.parse().map_err(anyhow::Error::msg)?;
                for facet in [Facet::Post, Facet::Likes, Facet::Comments] {
                    addresses.push(place.address(facet)?);
                }
            }
        }
    }
    if args.addresses.is_empty() {
        addresses = connection.client.stored_documents().await?;
    }
    for address in &addresses {
        let (document, live) = connection.document(address).await?;
        let content = render::document_json(&document.view());
        let (facet, name) = (address.facet().as_str(), address.to_string());
        let heads: Vec<_> = document.heads().iter().map(ToString::to_string).collect();
        let line = json!({
            "address": name, "facet": facet, "live": live, "heads": heads, "content": content,
        });
        println!("{line}");
    }
    connection.client.close().await;
    Ok(true)
}
