//! Streams over real sockets and processes: killed servers, cut connections, readers that stop, and the
//! commands as they are used in a shell.

use std::process::Stdio;

use syncline_client::{Client, StreamError, StreamReader};
use syncline_engine::codes::Code;
use syncline_engine::ids::{StreamAddress, UserId};
use syncline_engine::stream::Outcome;
use syncline_engine::wire::ServerFrame;
use syncline_engine::wire::frame::{ReadStream, StreamText, WriteStream};
use syncline_tests::process::{data_command, run, run_json, syncline};
use tempfile::tempdir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};

use crate::support::{Proxy, RawClient, ServerProcess, builder, fresh_id, join, within};

fn stream(id: &str) -> StreamAddress {
    StreamAddress::new("town", id).expect("a name")
}

/// Text that differs everywhere, so that a piece in the wrong place would be seen.
fn words(from: usize, count: usize) -> String {
    (from..from + count).map(|number| format!("wörd{number} ")).collect()
}

/// Reads a stream to its end, and checks that each piece follows the one before.
async fn read_all(reader: &mut StreamReader) -> String {
    let mut text = String::new();
    while let Some(chunk) = within(reader.next()).await.expect("it can be read") {
        assert!(!chunk.restarted, "nothing that was shown is taken back");
        assert_eq!(chunk.offset, text.len() as u64);
        text.push_str(&chunk.text);
    }
    text
}

/// Reads until so much has come.
async fn read_some(reader: &mut StreamReader, text: &mut String, bytes: usize) {
    while text.len() < bytes {
        let chunk = within(reader.next()).await.expect("it can be read").expect("it goes on");
        assert!(!chunk.restarted && chunk.offset == text.len() as u64, "{chunk:?}");
        text.push_str(&chunk.text);
    }
}

const FINISHED: Outcome = Outcome::Finished { result: None };

#[tokio::test]
async fn st3_st5_a_server_killed_in_mid_stream_loses_nothing_that_was_acknowledged_or_shown() {
    let dir = tempdir().expect("a directory");
    let mut server = ServerProcess::start(&dir.path().join("server"), &[]).await;
    let url = server.url();
    let (agent, ada) = (join(&url, "agent").await, join(&url, "ada").await);
    let address = stream("answer");
    let mut writer = within(agent.create_stream(&address, None)).await.expect("it is made");
    let mut reader = within(ada.read_stream(&address, 0)).await.expect("it is there");
    // The writer is never far ahead, so that each kill finds it in the middle.
    let (allow, mut allowed) = tokio::sync::watch::channel(0);
    let writing = tokio::spawn(async move {
        for part in 0..300 {
            within(allowed.wait_for(|parts| *parts > part)).await.expect("it goes on");
            within(writer.append(&words(part * 100, 100))).await.expect("it is taken");
        }
        within(writer.finish()).await.expect("it ends")
    });
    let mut text = String::new();
    for (shown, parts) in [(20_000, 60), (90_000, 150), (170_000, 240)] {
        allow.send_replace(parts);
        read_some(&mut reader, &mut text, shown).await;
        server.kill().await;
        server = server.restart().await;
        // What has been shown is on disk: somebody else finds it there.
        let fresh = join(&url, "bob").await;
        let mut other = within(fresh.read_stream(&address, 0)).await.expect("it is there");
        let mut stored = String::new();
        read_some(&mut other, &mut stored, text.len()).await;
        assert!(stored.starts_with(&text), "{shown}");
    }
    allow.send_replace(300);
    let rest = within(async {
        while let Some(chunk) = reader.next().await.expect("it can be read") {
            assert!(!chunk.restarted && chunk.offset == text.len() as u64, "{chunk:?}");
            text.push_str(&chunk.text);
        }
    });
    rest.await;
    assert_eq!(within(writing).await.expect("it ran"), FINISHED);
    assert!(text == words(0, 30_000), "{} bytes", text.len());
    assert_eq!(server.terminate().await, Some(0));
}

#[tokio::test]
async fn st5_many_readers_read_the_same_through_cut_connections() {
    let dir = tempdir().expect("a directory");
    let server = ServerProcess::start(&dir.path().join("server"), &[]).await;
    let proxy = Proxy::start(server.port()).await;
    let agent = join(&server.url(), "agent").await;
    let address = stream("answer");
    let mut writer = within(agent.create_stream(&address, None)).await.expect("it is made");
    let mut readers = Vec::new();
    for number in 0..20 {
        let through = if number % 2 == 0 { proxy.url() } else { server.url() };
        let client = join(&through, &format!("reader{number}")).await;
        let mut reader = within(client.read_stream(&address, 0)).await.expect("it is there");
        readers.push(tokio::spawn(async move {
            let text = read_all(&mut reader).await;
            (text, reader.status().and_then(|status| status.outcome), client)
        }));
    }
    for part in 0..50 {
        within(writer.append(&words(part * 100, 100))).await.expect("it is taken");
        if part % 10 == 9 {
            within(writer.flush()).await.expect("it is stored");
            proxy.cut();
        }
    }
    assert_eq!(within(writer.finish()).await.expect("it ends"), FINISHED);
    let expected = words(0, 5_000);
    for reader in readers {
        let (text, outcome, _) = within(reader).await.expect("it ran");
        assert!(text == expected, "{} bytes", text.len());
        assert_eq!(outcome, Some(FINISHED));
    }
}

#[tokio::test]
async fn st4_a_writer_waits_for_the_server_and_goes_on_when_it_is_back() {
    let dir = tempdir().expect("a directory");
    let server = ServerProcess::start(&dir.path().join("server"), &[]).await;
    let proxy = Proxy::start(server.port()).await;
    let agent = join(&proxy.url(), "agent").await;
    let address = stream("log");
    let mut writer = within(agent.create_stream(&address, None)).await.expect("it is made");
    proxy.hold_up(true);
    // A window goes ahead of the acknowledgements, and the rest waits.
    let long = words(0, 60_000);
    let mut appending = Box::pin(writer.append(&long));
    let early = futures_util::FutureExt::now_or_never(&mut appending);
    assert!(early.is_none(), "nothing was acknowledged: {early:?}");
    proxy.cut();
    proxy.hold_up(false);
    within(appending).await.expect("it is taken");
    within(writer.flush()).await.expect("it is stored");
    assert_eq!(writer.durable(), long.len() as u64);
    assert_eq!(within(writer.finish()).await.expect("it ends"), FINISHED);
    let ada = join(&server.url(), "ada").await;
    let mut reader = within(ada.read_stream(&address, 0)).await.expect("it is there");
    assert!(read_all(&mut reader).await == long);
}

#[tokio::test]
async fn st5_a_reader_that_stops_reading_holds_up_nobody_and_catches_up() {
    let dir = tempdir().expect("a directory");
    let server = ServerProcess::start(&dir.path().join("server"), &[]).await;
    let url = server.url();
    let agent = join(&url, "agent").await;
    let address = stream("answer");
    let mut writer = within(agent.create_stream(&address, None)).await.expect("it is made");
    // One does not read its socket, one is asked for nothing by its app.
    let mut deaf = RawClient::hello(&url, "deaf", fresh_id(), 1).await;
    deaf.say(ReadStream { address: address.to_string(), from: 0, since: 0 }).await;
    let lazy = join(&url, "lazy").await;
    let mut later = within(lazy.read_stream(&address, 0)).await.expect("it is there");
    let long = words(0, 250_000);
    within(writer.append(&long)).await.expect("it is taken");
    assert_eq!(within(writer.finish()).await.expect("it ends"), FINISHED);
    assert!(long.len() > 2_000_000);
    let came = lazy.status().borrow().bytes_received;
    assert!(came < 1_000_000, "{came} bytes came for a reader that took none");
    assert!(read_all(&mut later).await == long);
    let mut text = String::new();
    while text.len() < long.len() {
        if let ServerFrame::StreamText(StreamText { offset, text: piece, .. }) = deaf.hear().await {
            assert_eq!(offset, text.len() as u64);
            text.push_str(&piece);
        }
    }
    assert!(text == long);
}

#[tokio::test]
async fn st8_an_interrupt_reaches_the_writer_and_another_takes_over_at_its_end() {
    let dir = tempdir().expect("a directory");
    let server = ServerProcess::start(&dir.path().join("server"), &[]).await;
    let url = server.url();
    let (agent, ada) = (join(&url, "agent").await, join(&url, "ada").await);
    let asked_by = Some(UserId::new("ada").expect("a name"));
    let address = stream("answer");
    let mut writer =
        within(agent.create_stream(&address, asked_by.clone())).await.expect("it is made");
    within(writer.append("so ")).await.expect("it is taken");
    within(writer.flush()).await.expect("it is stored");
    let mut reader = within(ada.read_stream(&address, 0)).await.expect("it is there");
    assert_eq!(reader.origin().expect("it is open").asked_by, asked_by);
    let mut text = String::new();
    read_some(&mut reader, &mut text, 3).await;
    // The writer dies, which interrupts nothing: readers see that it is gone.
    agent.abort().await;
    let stalled = within(reader.status_is(|status| status.stalled_since.is_some())).await;
    assert_eq!(stalled.expect("it can be read").interrupted_by, None);
    within(ada.interrupt_stream(&address)).await.expect("she asked for it");
    let eve = join(&url, "eve").await;
    let refused = within(eve.interrupt_stream(&address)).await;
    assert_eq!(refused.expect_err("she has no say").code(), Some(Code::Forbidden));
    // Who comes back hears of it.
    let agent = join(&url, "agent").await;
    let mut writer = within(agent.resume_stream(&address)).await.expect("it is there");
    assert_eq!(writer.written(), 3);
    assert_eq!(within(writer.interrupted()).await.expect("it is open"), asked_by);
    within(writer.append("far")).await.expect("a last word");
    assert_eq!(within(writer.stop()).await.expect("it ends"), Outcome::Interrupted);
    while let Some(chunk) = within(reader.next()).await.expect("it can be read") {
        text.push_str(&chunk.text);
    }
    assert_eq!(text, "so far");
    let again = within(agent.resume_stream(&address)).await.expect("it is there");
    let outcome = within(again.finish()).await.expect("it has ended");
    assert_eq!(outcome, Outcome::Interrupted, "it ends once");
    let refused = within(eve.create_stream(&address, None)).await;
    assert_eq!(refused.expect_err("it is not hers").code(), Some(Code::NotProducer));
    let missing = within(eve.read_stream(&stream("nothing"), 0)).await;
    assert_eq!(missing.expect_err("nobody made it").code(), Some(Code::NoStream));
}

#[tokio::test]
async fn st7_the_result_is_committed_once_by_whoever_gets_to_it() {
    let dir = tempdir().expect("a directory");
    let server = ServerProcess::start(&dir.path().join("server"), &[]).await;
    let agent = join(&server.url(), "agent").await;
    let address = stream("answer");
    let mut writer = within(agent.create_stream(&address, None)).await.expect("it is made");
    within(writer.append("42")).await.expect("it is taken");
    let comments = within(agent.comments("town", "question")).await.expect("it opens");
    // It dies after it has committed and before it has said so.
    let id = syncline_engine::stream::comment_id(&address, writer.origin().created);
    let pending = comments.add_as(id, None, "42").expect("it is taken");
    crate::support::confirmed(pending).await;
    within(writer.flush()).await.expect("it is stored");
    drop((writer, comments));
    agent.close().await;
    let agent = join(&server.url(), "agent").await;
    let comments = within(agent.comments("town", "question")).await.expect("it opens");
    let writer = within(agent.resume_stream(&address)).await.expect("it is there");
    let (comment, outcome) = within(writer.commit(&comments, None, "42")).await.expect("it ends");
    assert_eq!((comment, comments.with(|comments| comments.len())), (id, 1));
    let Outcome::Finished { result: Some(result) } = &outcome else { panic!("{outcome:?}") };
    assert_eq!(
        (result.comment, result.address.to_string().as_str()),
        (id, "town/question/comments")
    );
    let ada = join(&server.url(), "ada").await;
    let mut reader = within(ada.read_stream(&address, 0)).await.expect("it is there");
    assert_eq!(read_all(&mut reader).await, "42");
    assert_eq!(reader.status().expect("all is read").outcome, Some(outcome));
}

#[tokio::test]
async fn st7_a_stream_names_no_comment_that_was_refused() {
    let dir = tempdir().expect("a directory");
    let settings = ["--owners", "olga"];
    let server = ServerProcess::start(&dir.path().join("server"), &settings).await;
    let agent = join(&server.url(), "agent").await;
    let address = stream("answer");
    let mut writer = within(agent.create_stream(&address, None)).await.expect("it is made");
    within(writer.append("42")).await.expect("it is taken");
    within(writer.flush()).await.expect("it is stored");
    let comments = within(agent.comments("hall", "question")).await.expect("it opens");
    within(comments.document().live()).await.expect("it is caught up");
    // An earlier try is on its way when the agent loses the right to comment there.
    agent.set_online(false);
    let id = syncline_engine::stream::comment_id(&address, writer.origin().created);
    drop(comments.add_as(id, None, "42").expect("it is taken"));
    let rules = ["rules", "hall", "--role", "agent=viewer", "--user", "olga", "--json", "--server"];
    let (url, data) = (server.url(), dir.path().join("olga"));
    let data = data.to_str().expect("a path in UTF-8");
    run_json(syncline(&[&rules[..], &[url.as_str(), "--data", data]].concat())).await;
    let committing = writer.commit(&comments, None, "42");
    agent.set_online(true);
    let error = within(committing).await.expect_err("the comment is refused");
    assert!(matches!(error, StreamError::Commit(_)), "{error:?}");
    let mut reader = within(agent.read_stream(&address, 0)).await.expect("it is there");
    assert_eq!(within(reader.next()).await.expect("it reads").expect("there is text").text, "42");
    assert_eq!(reader.status().expect("all is read").outcome, None);
}

#[tokio::test]
async fn st9_the_server_ends_what_nobody_ends() {
    let dir = tempdir().expect("a directory");
    let settings = ["--stream-interrupt-ms", "50", "--stream-abandon-ms", "200"];
    let server = ServerProcess::start(&dir.path().join("server"), &settings).await;
    let (agent, ada) = (join(&server.url(), "agent").await, join(&server.url(), "ada").await);
    let outcome_of = async |ada: &Client, address: StreamAddress| {
        let mut reader = within(ada.read_stream(&address, 0)).await.expect("it is there");
        read_all(&mut reader).await;
        reader.status().and_then(|status| status.outcome)
    };
    let deaf = within(agent.create_stream(&stream("deaf"), None)).await.expect("it is made");
    within(agent.interrupt_stream(&stream("deaf"))).await.expect("it is the writer's own");
    assert_eq!(outcome_of(&ada, stream("deaf")).await, Some(Outcome::Interrupted));
    assert_eq!(within(deaf.finish()).await.expect("it has ended"), Outcome::Interrupted);
    let gone = within(agent.create_stream(&stream("gone"), None)).await.expect("it is made");
    drop(gone);
    assert_eq!(outcome_of(&ada, stream("gone")).await, Some(Outcome::Abandoned));
}

#[tokio::test]
async fn st6_what_is_not_a_stream_and_who_floods_are_refused_in_words() {
    let dir = tempdir().expect("a directory");
    let settings = ["--stream-bytes-max", "1000"];
    let server = ServerProcess::start(&dir.path().join("server"), &settings).await;
    let agent = join(&server.url(), "agent").await;
    let mut writer = within(agent.create_stream(&stream("log"), None)).await.expect("it is made");
    let full = async {
        for _ in 0..100 {
            writer.append(&"x".repeat(100)).await?;
            writer.flush().await?;
        }
        Ok::<_, StreamError>(())
    };
    let error = within(full).await.expect_err("it is full");
    assert_eq!(error.code(), Some(Code::StreamFull), "{error}");
    let mut raw = RawClient::hello(&server.url(), "eve", fresh_id(), 1).await;
    for address in ["town/log/json", "town/log", "../log/stream", ""] {
        let (address, asked_by) = (address.to_owned(), None);
        raw.say(WriteStream { address, create: true, asked_by, since: 0 }).await;
        let ServerFrame::StreamRefused(refused) = raw.hear().await else { panic!("a refusal") };
        assert_eq!(refused.code, Code::BadAddress.number());
    }
    // A stream is no document.
    let document = within(agent.document(stream("log").log())).await;
    assert_eq!(document.expect_err("it is none").code(), Some(Code::BadAddress));
}

#[tokio::test]
async fn a_pipe_goes_through_stream_send_and_comes_out_of_stream_read() {
    let dir = tempdir().expect("a directory");
    let server = ServerProcess::start(&dir.path().join("server"), &[]).await;
    let url = server.url();
    let arguments = ["stream", "send", "town/log", "--user", "bob", "--server", &url];
    let mut sending = syncline(&arguments).stdin(Stdio::piped()).spawn().expect("it starts");
    let mut input = sending.stdin.take().expect("it is piped");
    let stderr = sending.stderr.take().expect("it is piped");
    let mut said = BufReader::new(stderr).lines();
    assert_eq!(within(said.next_line()).await.expect("text").as_deref(), Some("town/log"));
    let arguments = ["stream", "read", "town/log", "--user", "ada", "--server", &url];
    let mut reading = syncline(&arguments).spawn().expect("it starts");
    let mut output = reading.stdout.take().expect("it is piped");
    let mut seen = String::new();
    for part in 0..20 {
        let piece = words(part * 10, 10);
        within(input.write_all(piece.as_bytes())).await.expect("the pipe takes it");
        // It comes out before there is an end.
        let mut bytes = vec![0; piece.len()];
        within(output.read_exact(&mut bytes)).await.expect("it comes out");
        seen.push_str(&String::from_utf8(bytes).expect("text"));
    }
    assert_eq!(seen, words(0, 200));
    drop(input);
    let sent = within(sending.wait_with_output()).await.expect("it ends");
    assert!(sent.status.success());
    assert_eq!(String::from_utf8_lossy(&sent.stdout), "town/log: finished\n");
    assert!(within(reading.wait()).await.expect("it ends").success());
    // Later, from the middle, with an exit code and a sentence for what is not there.
    let from = format!("{}", words(0, 100).len());
    let arguments = ["stream", "read", "town/log", "--from", &from, "--user", "ada", "--server"];
    let rest = run(syncline(&[&arguments[..], &[&url]].concat())).await;
    assert_eq!(String::from_utf8_lossy(&rest.stdout), words(100, 100));
    let none =
        run(syncline(&["stream", "read", "town/no", "--user", "ada", "--server", &url])).await;
    assert!(!none.status.success() && none.stdout.is_empty());
    assert!(String::from_utf8_lossy(&none.stderr).contains("nobody has made"), "{none:?}");
}

#[tokio::test]
async fn stream_send_stops_when_it_is_interrupted_and_commits_when_it_is_told_to() {
    let dir = tempdir().expect("a directory");
    let server = ServerProcess::start(&dir.path().join("server"), &[]).await;
    let url = server.url();
    let arguments =
        ["stream", "send", "town", "--asked-by", "ada", "--user", "bob", "--server", &url];
    let mut sending = syncline(&arguments).stdin(Stdio::piped()).spawn().expect("it starts");
    // It is open and says nothing more.
    let mut input = sending.stdin.take().expect("it is piped");
    within(input.write_all(b"so far")).await.expect("the pipe takes it");
    let stderr = sending.stderr.take().expect("it is piped");
    let name = within(BufReader::new(stderr).lines().next_line()).await.expect("text");
    let name = name.expect("a name");
    let ada = join(&url, "ada").await;
    let address = stream(name.strip_prefix("town/").expect("a new id"));
    let mut reader = within(ada.read_stream(&address, 0)).await.expect("it is there");
    let mut text = String::new();
    read_some(&mut reader, &mut text, 6).await;
    let arguments = ["stream", "interrupt", &name, "--user", "ada", "--json", "--server", &url];
    let said = run_json(syncline(&arguments)).await;
    assert_eq!(said["interrupted"], true);
    let sent = within(sending.wait_with_output()).await.expect("it ends");
    assert!(!sent.status.success());
    assert!(String::from_utf8_lossy(&sent.stdout).contains("interrupted"), "{sent:?}");
    assert_eq!(within(reader.next()).await.expect("it can be read"), None);
    // One that comes to its end, with its result as a comment.
    let arguments = [
        "stream",
        "send",
        "town/answer",
        "--commit",
        "town/question",
        "--user",
        "bob",
        "--json",
        "--server",
        &url,
    ];
    let mut sending = syncline(&arguments).stdin(Stdio::piped()).spawn().expect("it starts");
    let mut input = sending.stdin.take().expect("it is piped");
    within(input.write_all("zweiundvierzig".as_bytes())).await.expect("the pipe takes it");
    drop(input);
    let sent = within(sending.wait_with_output()).await.expect("it ends");
    assert!(sent.status.success(), "{sent:?}");
    let comments = within(ada.comments("town", "question")).await.expect("it opens");
    within(comments.document().live()).await.expect("in sync");
    let all: Vec<_> =
        comments.thread().into_iter().map(|(_, id, c)| (id.to_string(), c.body)).collect();
    let said: serde_json::Value = serde_json::from_slice(&sent.stdout).expect("JSON");
    let id = said["comment"].as_str().expect("an id").to_owned();
    assert_eq!(all, [(id, "zweiundvierzig".to_owned())]);
}

#[tokio::test]
async fn st5_a_server_on_an_older_backup_makes_readers_begin_anew_and_writers_hear_of_it() {
    let dir = tempdir().expect("a directory");
    let data = dir.path().join("server");
    let mut server = ServerProcess::start(&data, &[]).await;
    let (agent, ada) = (join(&server.url(), "agent").await, join(&server.url(), "ada").await);
    let address = stream("answer");
    let mut writer = within(agent.create_stream(&address, None)).await.expect("it is made");
    within(writer.append("The answer ")).await.expect("it is taken");
    within(writer.flush()).await.expect("it is stored");
    server.kill().await;
    let backup = dir.path().join("backup");
    syncline_tests::process::copy_folder(&data, &backup);
    let mut server = server.restart().await;
    within(writer.append("is lost")).await.expect("it is taken");
    within(writer.flush()).await.expect("it is stored");
    let mut reader = within(ada.read_stream(&address, 0)).await.expect("it is there");
    let mut text = String::new();
    read_some(&mut reader, &mut text, 18).await;
    server.kill().await;
    let server = server.restart_on(&backup).await;
    let chunk = within(reader.next()).await.expect("it can be read").expect("it goes on");
    assert_eq!((chunk.restarted, chunk.offset), (true, 0));
    text = chunk.text;
    read_some(&mut reader, &mut text, 11).await;
    assert_eq!(text, "The answer ");
    // Text is taken until the writer's own connection is back: it may hear of the gap only then.
    let appended = async {
        writer.append("x").await?;
        writer.flush().await
    };
    let error = within(appended).await.expect_err("what it wrote is lost");
    assert_eq!(error.code(), Some(Code::StreamGap), "{error}");
    drop(writer);
    let client = builder(&server.url(), "agent").in_memory().open();
    let client = within(client).await.expect("it opens");
    let mut writer = within(client.resume_stream(&address)).await.expect("it is there");
    within(writer.append("is 42")).await.expect("it is taken");
    assert_eq!(within(writer.finish()).await.expect("it ends"), FINISHED);
    assert_eq!(read_all_from(&mut reader, "The answer ").await, "The answer is 42");
}

async fn read_all_from(reader: &mut StreamReader, before: &str) -> String {
    let mut text = before.to_owned();
    while let Some(chunk) = within(reader.next()).await.expect("it can be read") {
        assert_eq!((chunk.restarted, chunk.offset), (false, text.len() as u64));
        text.push_str(&chunk.text);
    }
    text
}

#[tokio::test]
async fn streams_are_verified_carried_over_and_forgotten_with_the_rest_of_the_data() {
    let dir = tempdir().expect("a directory");
    let (data, copy) = (dir.path().join("server"), dir.path().join("copy"));
    let server = ServerProcess::start(&data, &[]).await;
    let agent = join(&server.url(), "agent").await;
    let mut writer =
        within(agent.create_stream(&stream("answer"), None)).await.expect("it is made");
    within(writer.append(&words(0, 500))).await.expect("it is taken");
    within(writer.finish()).await.expect("it ends");
    agent.close().await;
    let verified = run_json(data_command(&data, &["verify", "--json"])).await;
    assert_eq!(verified["documents"], 1, "also beside the server: {verified}");
    assert_eq!(server.terminate().await, Some(0));

    let file = dir.path().join("export.jsonl");
    let file = file.to_str().expect("a path in UTF-8");
    run_json(data_command(&data, &["export", file, "--json"])).await;
    run_json(data_command(&copy, &["import", file, "--json"])).await;
    run_json(data_command(&copy, &["compact", "--json"])).await;
    run_json(data_command(&copy, &["verify", "--json"])).await;
    let server = ServerProcess::start(&copy, &[]).await;
    let ada = join(&server.url(), "ada").await;
    let mut reader = within(ada.read_stream(&stream("answer"), 0)).await.expect("it is there");
    assert_eq!(read_all(&mut reader).await, words(0, 500));
    drop(reader);
    ada.close().await;
    assert_eq!(server.terminate().await, Some(0));

    // A stream is somebody's text: it goes with its writer, and with its space.
    run_json(data_command(&copy, &["forget-user", "agent", "--json"])).await;
    run_json(data_command(&data, &["delete-space", "town", "--json"])).await;
    for (emptied, expected) in [(&copy, Code::NoStream), (&data, Code::SpaceDeleted)] {
        let server = ServerProcess::start(emptied, &[]).await;
        let ada = join(&server.url(), "ada").await;
        let gone = within(ada.read_stream(&stream("answer"), 0)).await.err();
        let code = gone.as_ref().and_then(StreamError::code);
        assert_eq!(code, Some(expected), "{gone:?}");
        ada.close().await;
        assert_eq!(server.terminate().await, Some(0));
    }
}
