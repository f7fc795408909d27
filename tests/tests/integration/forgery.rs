//! What a hostile client could write in the name of others, over a real socket: all of it is refused
//! with a code, nothing of it reaches anybody, and an honest change before it in the same frame does.

use automerge::legacy::{ElementId, MarkData, ObjectId, Op, OpType};
use automerge::{Automerge, Change, ChangeHash, ObjId, ROOT, ReadDoc, ScalarValue};
use syncline_engine::clock::Timestamp;
use syncline_engine::codes::Code;
use syncline_engine::document::{
    Command, CommentsCommand, Counter, LikeKey, LikesCommand, PostCommand, PostStatus, Target,
    TextField, bucket_name,
};
use syncline_engine::ids::{ActorId, Address, Facet, Ulid};
use syncline_engine::wire::ServerFrame;
use syncline_engine::wire::frame::{Subscribed, WireLease};
use syncline_tests::forge::{at, change, in_bucket, insert, object, op, path, put};
use syncline_tests::raw::{RawDocument, changes_of};
use tempfile::{TempDir, tempdir};

use crate::support::{RawClient, ServerProcess, fresh_id, like, like_a_comment, user};

/// Somebody who writes a document by hand.
struct Hand {
    client: RawClient,
    document: RawDocument,
    opened: Subscribed,
    lease: WireLease,
    next: u64,
}

impl Hand {
    async fn begin(server: &ServerProcess, name: &str, place: &Address) -> Self {
        let mut client = RawClient::hello(&server.url(), name, fresh_id(), 1).await;
        let opened = client.subscribe(place, fresh_id(), true).await;
        let document = client.read(place, &opened).await;
        let lease = opened.lease.expect("a lease was asked for");
        Self { client, document, opened, lease, next: 1 }
    }

    fn writes(&mut self, command: Command) -> Change {
        self.document.write(&self.lease, &[command]).remove(0)
    }

    async fn does(&mut self, command: impl Into<Command>) -> Change {
        let change = self.writes(command.into());
        self.client.push(self.opened.handle, self.next, std::slice::from_ref(&change)).await;
        self.client.acked(self.opened.handle, self.next).await;
        self.next += 1;
        change
    }

    /// Pushes an honest change, if there is one, and a forged one in one frame; the code of the
    /// refusal.
    async fn tries(&mut self, honest: Option<Change>, forged: Change) -> Code {
        let handle = self.opened.handle;
        let number = self.next + u64::from(honest.is_some());
        let changes: Vec<Change> = honest.into_iter().chain([forged]).collect();
        let mut settled = self.next - 1;
        self.client.push(handle, self.next, &changes).await;
        let reject = self
            .client
            .hear_until(|frame| match frame {
                ServerFrame::Ack(ack) => {
                    settled = ack.number;
                    None
                }
                ServerFrame::Reject(reject) => Some(reject),
                _ => None,
            })
            .await;
        assert_eq!((reject.number, settled), (number, number - 1), "{reject:?}");
        Code::from_number(reject.code).expect("a known code")
    }
}

/// A document of ada's, which bob watches.
struct Scene {
    server: ServerProcess,
    place: Address,
    ada: Hand,
    bob: Hand,
    honest: Vec<ChangeHash>,
    _dir: TempDir,
}

impl Scene {
    async fn set(facet: Facet) -> Self {
        let dir = tempdir().expect("a directory");
        let server = ServerProcess::start(&dir.path().join("server"), &[]).await;
        let place = Address::new("town", "square", facet).expect("an address");
        let ada = Hand::begin(&server, "ada", &place).await;
        let bob = Hand::begin(&server, "bob", &place).await;
        Self { server, place, ada, bob, honest: Vec::new(), _dir: dir }
    }

    /// Eve does something that she may.
    fn honest(&self) -> Option<Command> {
        match self.place.facet() {
            Facet::Likes => Some(like_a_comment("eve")),
            Facet::Comments => Some(comment("eve", fresh_comment())),
            Facet::Post | Facet::Json | Facet::Stream => None,
        }
    }

    /// Eve, who has seen everything, forges what `ops` says on top of something honest.
    async fn refuses(&mut self, what: &str, ops: impl FnOnce(&Automerge) -> Vec<Op>, code: Code) {
        let mut eve = Hand::begin(&self.server, "eve", &self.place).await;
        let honest = self.honest().map(|command| eve.writes(command));
        let seq = eve.lease.next_seq + u64::from(honest.is_some());
        let seen = &eve.document.automerge;
        let forged = change(seen, &eve.lease.actor, seq, ops(seen));
        self.honest.extend(honest.as_ref().map(Change::hash));
        assert_eq!(eve.tries(honest, forged).await, code, "{what}");
    }

    /// Eve forges something on a branch from what was there at some time.
    async fn refuses_on(&mut self, what: &str, seen: &Automerge, ops: Vec<Op>, code: Code) {
        let mut eve = Hand::begin(&self.server, "eve", &self.place).await;
        eve.document.automerge = seen.clone();
        let honest = self.honest().map(|command| eve.writes(command));
        let seq = eve.lease.next_seq + u64::from(honest.is_some());
        let forged = change(&eve.document.automerge, &eve.lease.actor, seq, ops);
        self.honest.extend(honest.as_ref().map(Change::hash));
        assert_eq!(eve.tries(honest, forged).await, code, "{what}");
    }

    /// Eve does something with her own client's means, which only the server stops.
    async fn refuses_command(&mut self, command: impl Into<Command>, code: Code) {
        let mut eve = Hand::begin(&self.server, "eve", &self.place).await;
        let command = command.into();
        let what = format!("{command:?}");
        let forged = eve.writes(command);
        assert_eq!(eve.tries(None, forged).await, code, "{what}");
    }

    /// Nobody has seen anything but what was honest, on the way or in the log.
    async fn ends(mut self) {
        let last = self.ada.does(self.closing()).await;
        self.honest.push(last.hash());
        let (handle, epoch) = (self.bob.opened.handle, self.bob.opened.epoch);
        while !self.bob.document.hashes.contains(&last.hash()) {
            let frame = self.bob.client.hear().await;
            if let Some(changes) = changes_of(&frame, handle) {
                self.bob.document.apply(epoch, &changes);
            }
        }
        let late = Hand::begin(&self.server, "late", &self.place).await;
        for seen in [&self.bob.document.hashes, &late.document.hashes] {
            // The hub's own merges have no operations.
            let seen: Vec<ChangeHash> = seen
                .iter()
                .copied()
                .filter(|hash| {
                    let change = late.document.automerge.get_change_by_hash(hash);
                    change.is_some_and(|change| !change.is_empty())
                })
                .collect();
            assert_eq!(seen, self.honest);
        }
    }

    fn closing(&self) -> Command {
        match self.place.facet() {
            Facet::Likes => like_a_comment("ada"),
            Facet::Comments => comment("ada", fresh_comment()),
            Facet::Post | Facet::Json | Facet::Stream => {
                PostCommand::AddTag { tag: "end".to_owned() }.into()
            }
        }
    }

    async fn ada_does(&mut self, command: impl Into<Command>) {
        // She goes on from what she has, whatever eve wrote meanwhile.
        let change = self.ada.does(command).await;
        self.honest.push(change.hash());
    }
}

fn fresh_comment() -> Ulid {
    crate::support::ulid()
}

fn comment(author: &str, id: Ulid) -> Command {
    let (author, created, body) = (user(author), Timestamp(1), "mine".to_owned());
    CommentsCommand::Add { id, author, parent: None, created, body }.into()
}

fn post() -> Command {
    PostCommand::Create {
        author: user("ada"),
        created: Timestamp(1),
        title: "A title".to_owned(),
        body: "0123456789".to_owned(),
        tags: vec![],
    }
    .into()
}

/// Ada's like of the post: its key, its bucket, and what stands there.
fn adas_like(doc: &Automerge) -> (String, ObjId) {
    let key = LikeKey { target: Target::Post, reaction: "like".to_owned(), user: user("ada") };
    let key = key.to_string();
    let bucket = in_bucket(doc, "likes", &key);
    (key, bucket)
}

#[tokio::test]
async fn nobody_likes_or_unlikes_for_another() {
    let mut scene = Scene::set(Facet::Likes).await;
    scene.ada_does(like("ada")).await;
    scene.refuses_command(like_a_comment("ada"), Code::NotAuthor).await;
    scene.refuses_command(like("zoe"), Code::NotAuthor).await;
    let unlike = |name: &str| {
        let (target, reaction) = (Target::Post, "like".to_owned());
        LikesCommand::Unlike { target, reaction, user: user(name) }
    };
    scene.refuses_command(unlike("ada"), Code::NotAuthor).await;
    let over = |doc: &Automerge| {
        let (key, bucket) = adas_like(doc);
        let standing = at(doc, &bucket, &key);
        vec![put(object(&bucket), &key, vec![standing], fresh_comment().to_string())]
    };
    scene.refuses("overwritten by its key", over, Code::NotAuthor).await;
    let gone = |doc: &Automerge| {
        let (key, bucket) = adas_like(doc);
        vec![op(object(&bucket), &key, vec![at(doc, &bucket, &key)], OpType::Delete)]
    };
    scene.refuses("deleted by its key", gone, Code::NotAuthor).await;
    // Under eve's own key, with ada's operation as what it overwrites.
    let through_own = |doc: &Automerge| {
        let (key, bucket) = adas_like(doc);
        let own = key.replace("ada", "eve");
        let place = in_bucket(doc, "likes", &own);
        let preds = vec![at(doc, &bucket, &key)];
        vec![put(object(&place), &own, preds, fresh_comment().to_string())]
    };
    scene.refuses("under another key", through_own, Code::BadStructure).await;
    let counter = |doc: &Automerge| {
        let (key, bucket) = adas_like(doc);
        vec![op(object(&bucket), &key, vec![at(doc, &bucket, &key)], OpType::Increment(1))]
    };
    scene.refuses("moved like a counter", counter, Code::NotInSchema).await;
    scene
        .refuses_command(LikesCommand::Count { counter: Counter::Views, by: -5 }, Code::Forbidden)
        .await;
    let bucket = |doc: &Automerge| {
        let likes = path(doc, &["likes"]);
        let name = bucket_name(0);
        vec![op(object(&likes), &name, vec![at(doc, &likes, &name)], OpType::Delete)]
    };
    scene.refuses("a whole bucket", bucket, Code::NotInSchema).await;
    scene.ends().await;
}

#[tokio::test]
async fn nobody_touches_the_comment_of_another() {
    let mut scene = Scene::set(Facet::Comments).await;
    let before = scene.ada.document.automerge.clone();
    let id = fresh_comment();
    let key = id.to_string();
    scene.ada_does(comment("ada", id)).await;
    scene.refuses_command(comment("ada", fresh_comment()), Code::NotAuthor).await;
    let edit = CommentsCommand::Edit { id, body: "lies".to_owned(), edited: Timestamp(2) };
    scene.refuses_command(edit, Code::NotAuthor).await;
    scene.refuses_command(CommentsCommand::Delete { id, at: Timestamp(3) }, Code::NotAuthor).await;

    let bucket = |doc: &Automerge| in_bucket(doc, "comments", &key);
    let it =
        |doc: &Automerge| doc.get(bucket(doc), key.as_str()).expect("a map").expect("a comment").1;
    let over = |doc: &Automerge| {
        let bucket = bucket(doc);
        let make = OpType::Make(automerge::ObjType::Map);
        vec![op(object(&bucket), &key, vec![at(doc, &bucket, &key)], make)]
    };
    scene.refuses("overwritten by its key", over, Code::NoEffect).await;
    let gone = |doc: &Automerge| {
        let bucket = bucket(doc);
        vec![op(object(&bucket), &key, vec![at(doc, &bucket, &key)], OpType::Delete)]
    };
    scene.refuses("deleted by its key", gone, Code::NotInSchema).await;
    let by_object = |doc: &Automerge| {
        let it = it(doc);
        vec![put(object(&it), "body", vec![at(doc, &it, "body")], "lies")]
    };
    scene.refuses("edited by its object", by_object, Code::NotAuthor).await;
    let tombstone =
        |doc: &Automerge| vec![put(object(&it(doc)), "deleted", vec![], ScalarValue::Timestamp(9))];
    scene.refuses("deleted by its object", tombstone, Code::NotAuthor).await;
    let author = |doc: &Automerge| {
        let it = it(doc);
        vec![put(object(&it), "author", vec![at(doc, &it, "author")], "eve")]
    };
    scene.refuses("given another author", author, Code::NotInSchema).await;
    let beside = |doc: &Automerge| vec![put(object(&it(doc)), "author", vec![], "eve")];
    scene.refuses("given a second author", beside, Code::BadStructure).await;
    let moved = |doc: &Automerge| {
        let it = it(doc);
        vec![op(object(&it), "body", vec![at(doc, &it, "body")], OpType::Increment(1))]
    };
    scene.refuses("moved like a counter", moved, Code::NotInSchema).await;
    let listed =
        |doc: &Automerge| vec![insert(object(&it(doc)), ElementId::Head, OpType::Put("x".into()))];
    scene.refuses("written like a list", listed, Code::BadStructure).await;
    let marked = |doc: &Automerge| {
        let value = ScalarValue::Boolean(true);
        let begin = OpType::MarkBegin(MarkData { name: "bold".into(), value, expand: false });
        vec![
            insert(object(&it(doc)), ElementId::Head, begin),
            insert(object(&it(doc)), ElementId::Head, OpType::MarkEnd(false)),
        ]
    };
    scene.refuses("marked like a text", marked, Code::BadStructure).await;

    // Through a branch that has not seen it, by its key and by the name of its object.
    let make = OpType::Make(automerge::ObjType::Map);
    let again = vec![op(object(&bucket(&before)), &key, vec![], make)];
    scene.refuses_on("made again on a branch", &before, again, Code::NoEffect).await;
    let standing = it(&scene.ada.document.automerge);
    let hidden = vec![put(object(&standing), "deleted", vec![], ScalarValue::Timestamp(1))];
    scene.refuses_on("hidden by the deps", &before, hidden, Code::BadStructure).await;
    scene.ends().await;
}

#[tokio::test]
async fn nobody_writes_in_the_post_of_another() {
    let mut scene = Scene::set(Facet::Post).await;
    let before = scene.ada.document.automerge.clone();
    scene.ada_does(post()).await;
    let splice = |index, delete, insert: &str| PostCommand::Splice {
        field: TextField::Body,
        index,
        delete,
        insert: insert.to_owned(),
    };
    scene.refuses_command(splice(2, 3, "lies"), Code::NotAuthor).await;
    scene.refuses_command(PostCommand::AddEditor { user: user("eve") }, Code::NotAuthor).await;
    scene
        .refuses_command(PostCommand::SetStatus { status: PostStatus::Deleted }, Code::NotAuthor)
        .await;
    scene.refuses_command(PostCommand::AddTag { tag: "spam".to_owned() }, Code::NotAuthor).await;
    let body = |doc: &Automerge| path(doc, &["body"]);
    let author = |doc: &Automerge| {
        vec![put(ObjectId::Root, "author", vec![at(doc, &ROOT, "author")], "eve")]
    };
    scene.refuses("given another author", author, Code::NoEffect).await;
    let typed = |doc: &Automerge| {
        vec![insert(object(&body(doc)), ElementId::Head, OpType::Put("x".into()))]
    };
    scene.refuses("typed into by its object", typed, Code::NotAuthor).await;
    let replaced = |doc: &Automerge| {
        let make = OpType::Make(automerge::ObjType::Text);
        vec![op(ObjectId::Root, "body", vec![at(doc, &ROOT, "body")], make)]
    };
    scene.refuses("its body replaced", replaced, Code::NotInSchema).await;
    // Created at the same time, by somebody who has not seen that it was.
    let mut eve = Hand::begin(&scene.server, "eve", &scene.place).await;
    let mut apart = RawDocument::new(&scene.place);
    apart.automerge = before;
    let create = PostCommand::Create {
        author: user("eve"),
        created: Timestamp(2),
        title: String::new(),
        body: String::new(),
        tags: vec![],
    };
    let forged = apart.write(&eve.lease, &[create.into()]).remove(0);
    assert_eq!(eve.tries(None, forged).await, Code::NoEffect);
    scene.ends().await;
}

#[tokio::test]
async fn nobody_writes_as_another_actor_or_what_another_wrote() {
    let mut scene = Scene::set(Facet::Likes).await;
    scene.ada_does(like("ada")).await;
    let lease = scene.ada.lease;
    // Under ada's lease, as her next change; her last one once more; under one of nobody's.
    let mut eve = Hand::begin(&scene.server, "eve", &scene.place).await;
    let stolen = eve.document.write(&lease, &[like_a_comment("eve")]).remove(0);
    assert_eq!(eve.tries(None, stolen).await, Code::WrongActor);
    let mut eve = Hand::begin(&scene.server, "eve", &scene.place).await;
    let replayed = scene.ada.document.automerge.get_last_local_change().expect("her like");
    assert_eq!(eve.tries(None, replayed).await, Code::WrongActor);
    for actor in [ActorId::leased(u64::MAX >> 8, 3).0, [7; 16]] {
        let mut eve = Hand::begin(&scene.server, "eve", &scene.place).await;
        let nobodys = WireLease { actor, ..eve.lease };
        let forged = eve.document.write(&nobodys, &[like_a_comment("eve")]).remove(0);
        assert_eq!(eve.tries(None, forged).await, Code::WrongActor, "{actor:?}");
    }
    // What is fine for one document, sent to another.
    let elsewhere = Address::new("town", "circle", Facet::Likes).expect("an address");
    let mut eve = Hand::begin(&scene.server, "eve", &scene.place).await;
    let other = RawDocument::new(&elsewhere).write(&eve.lease, &[like_a_comment("eve")]).remove(0);
    assert_eq!(eve.tries(None, other).await, Code::UnknownDeps);
    scene.ends().await;
}
