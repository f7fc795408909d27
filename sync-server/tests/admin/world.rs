//! Stores with real documents, written as a hub writes them.

use std::ops::ControlFlow;
use std::path::Path;

use automerge::{Automerge, TextEncoding};
use syncline_engine::clock::Timestamp;
use syncline_engine::document::{
    Command, CommentsCommand, JsonCommand, LikesCommand, PostCommand, Target, genesis,
};
use syncline_engine::hub;
use syncline_engine::ids::{
    ActorId, Address, ChangeHash, Cursor, Epoch, OutboxId, Tip, Ulid, UserId,
};
use syncline_engine::storage::record::{DigestKey, advance};
use syncline_engine::storage::{Append, CommandRef, Entry, LogStore, Record};
use syncline_server::admin::{self, Report, Said, Task, TaskError, Verification};
use syncline_server::store::{SledOptions, SledStore};

pub(crate) const AT: Timestamp = Timestamp(1_700_000_000_000);

pub(crate) fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

pub(crate) fn ulid(number: u128) -> Ulid {
    Ulid::new(AT, number)
}

pub(crate) fn open(dir: &Path) -> SledStore {
    let mut options = SledOptions::default();
    // Only what a test asks for is merged.
    options.slack_bytes = u64::MAX;
    SledStore::open(dir, &options).unwrap()
}

/// One document's log, as one actor writes it.
pub(crate) struct Log {
    pub(crate) address: Address,
    key: DigestKey,
    document: Automerge,
    end: Cursor,
}

impl Log {
    pub(crate) fn new(store: &SledStore, address: &str) -> Self {
        let address: Address = address.parse().unwrap();
        let actor = automerge::ActorId::from(ActorId::leased(7, 1).0);
        let encoding = TextEncoding::UnicodeCodePoint;
        let document = genesis::document(&address, encoding).with_actor(actor);
        let end = Cursor { epoch: Epoch([3; 16]), seq: 0, tip: Tip::EMPTY };
        Self { address, key: store.digest_key().clone(), document, end }
    }

    pub(crate) fn entry(&mut self, author: &str, command: &Command) -> Entry {
        let mut change = self.document.transaction();
        command.apply(&mut change).unwrap();
        change.commit();
        let change = self.document.get_last_local_change().unwrap();
        let number = self.end.seq + 1;
        Entry {
            author: user(author),
            at: AT,
            command: Some(CommandRef { outbox: OutboxId([9; 16]), number }),
            hash: ChangeHash(change.hash().0),
            change: change.raw_bytes().to_vec().into(),
        }
    }

    /// What a commit of one command appends.
    pub(crate) fn next(&mut self, author: &str, command: &Command) -> Append {
        let entry = self.entry(author, command);
        let tip = advance(&self.key, self.end.tip, &entry);
        self.record(tip, entry)
    }

    /// The same with a digest of the test's choice.
    pub(crate) fn record(&mut self, tip: Tip, entry: Entry) -> Append {
        let (first_seq, tip_before) = (self.end.seq + 1, self.end.tip);
        self.end = Cursor { epoch: self.end.epoch, seq: first_seq, tip };
        let record = Record { first_seq, tip_before, tip, entries: vec![entry] };
        Append { address: self.address.clone(), epoch: self.end.epoch, record, brought: None }
    }

    pub(crate) const fn end(&self) -> Cursor {
        self.end
    }
}

pub(crate) fn put(key: &str, text: &str) -> Command {
    Command::Json(JsonCommand::PutText { path: vec![key.into()], text: text.to_owned() })
}

pub(crate) fn create(author: &str, title: &str, body: &str) -> Command {
    Command::Post(PostCommand::Create {
        author: user(author),
        created: AT,
        title: title.to_owned(),
        body: body.to_owned(),
        tags: vec![],
    })
}

pub(crate) fn comment(number: u128, author: &str, body: &str) -> Command {
    Command::Comments(CommentsCommand::Add {
        id: ulid(number),
        author: user(author),
        parent: None,
        created: AT,
        body: body.to_owned(),
    })
}

pub(crate) fn like(number: u128, name: &str) -> Command {
    let (reaction, at) = ("like".to_owned(), ulid(number));
    Command::Likes(LikesCommand::Like { target: Target::Post, reaction, user: user(name), at })
}

/// A post with comments and likes of two people in one space, and a document in another, one with an
/// earlier epoch and one with a snapshot below its end.
pub(crate) fn fill(store: &SledStore) {
    let mut post = Log::new(store, "town/square/post");
    store.append(&[post.next("ada", &create("ada", "Adas title", "a body of Adas"))]).unwrap();
    let mut comments = Log::new(store, "town/square/comments");
    let mut likes = Log::new(store, "town/square/likes");
    for number in 0..20 {
        let author = if number % 2 == 0 { "ada" } else { "bob" };
        let said = comment(number, author, &format!("{author} says number {number}"));
        // Everybody likes it once.
        let other = format!("user{number}");
        let liker = if number < 2 { author } else { &other };
        let batch = [comments.next(author, &said), likes.next(liker, &like(number, liker))];
        store.append(&batch).unwrap();
        if number == 12 {
            let records = store.read(&comments.address, 1, usize::MAX).unwrap();
            let made = hub::compact(&comments.address, comments.end(), None, &records).unwrap();
            store.put_snapshot(&comments.address, &made, 9).unwrap();
        }
    }
    for (address, rolls) in [("town/board/json", true), ("village/board/json", false)] {
        let mut board = Log::new(store, address);
        for number in 0..10 {
            let set = put(&format!("key {number}"), &format!("a value in {address}"));
            store.append(&[board.next("bob", &set)]).unwrap();
        }
        if rolls {
            let (epoch, kept) = (Epoch([4; 16]), Timestamp(0));
            hub::roll_over(store, &board.address, board.end(), epoch, AT, kept).unwrap();
        }
    }
}

pub(crate) fn perform(store: &SledStore, task: &Task) -> Result<Report, TaskError> {
    admin::perform(store, task, &mut |_| ControlFlow::Continue(()))
}

pub(crate) fn verify(store: &SledStore) -> Verification {
    let report = perform(store, &Task::Verify).unwrap();
    let Report::Verify(verification) = report else { panic!("{report:?}") };
    verification
}

/// All lines of an export.
pub(crate) fn export(store: &SledStore) -> Vec<String> {
    let mut lines = Vec::new();
    let mut listen = |said| {
        if let Said::Line(line) = said {
            lines.push(line);
        }
        ControlFlow::Continue(())
    };
    admin::perform(store, &Task::Export, &mut listen).unwrap();
    lines
}

/// Address and heads of each document.
pub(crate) fn heads(store: &SledStore) -> Vec<(Address, Vec<ChangeHash>)> {
    let addresses = store.list(None, 1_000).unwrap();
    let heads = |address: Address| {
        let survey = hub::survey(store, &address).unwrap().unwrap();
        (address, survey.heads)
    };
    addresses.into_iter().map(heads).collect()
}

/// Whether any file of a directory has these bytes in it.
pub(crate) fn is_anywhere(dir: &Path, text: &str) -> bool {
    std::fs::read_dir(dir).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            return is_anywhere(&path, text);
        }
        let bytes = std::fs::read(&path).unwrap();
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    })
}
