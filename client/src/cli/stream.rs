//! Streams from and to a terminal or a pipe: what comes on standard input as an append-only text, what
//! others write on standard output, and a word to whoever writes to stop.

use std::io::{Read, Write};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use serde_json::json;
use syncline_client::{StreamReader, StreamWriter};
use syncline_engine::ids::{StreamAddress, UserId};
use syncline_engine::stream::{Outcome, Status};
use tokio::sync::mpsc;

use super::connect::{ConnectArgs, Connection, Place};
use super::talk::say;

/// Pieces of the input that wait to be sent; more are not read.
const PIECES_AHEAD: usize = 8;
/// How much is read at a time.
const PIECE_BYTES: usize = 16 << 10;
/// What is longer can't be a comment.
const COMMENT_BYTES_MAX: usize = syncline_engine::limits::COMMENT_BYTES_MAX;

/// Writes, reads and interrupts streams: texts that others read while they grow
#[derive(Debug, Args)]
pub(crate) struct StreamArgs {
    #[command(subcommand)]
    command: StreamCommand,
}

#[derive(Debug, Subcommand)]
enum StreamCommand {
    Send(SendArgs),
    Read(ReadArgs),
    Interrupt(InterruptArgs),
}

/// Sends standard input as a stream, as it comes
#[derive(Debug, Args)]
struct SendArgs {
    /// Space, or space/id; without an id, a new one is made. Its name is printed first, on standard error
    stream: String,
    /// Who asked for it, and may interrupt it
    #[arg(long, value_name = "USER", value_parser = user)]
    asked_by: Option<UserId>,
    /// Goes on at the end of a stream that you have made already
    #[arg(long)]
    resume: bool,
    /// The post to comment on with the whole text at the end, space/id
    #[arg(long, value_name = "POST", conflicts_with = "resume")]
    commit: Option<Place>,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// Prints a stream as it comes, until it ends
#[derive(Debug, Args)]
struct ReadArgs {
    /// The stream, space/id
    stream: String,
    /// From which byte on
    #[arg(long, default_value_t = 0, value_name = "OFFSET")]
    from: u64,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// Asks whoever writes a stream to stop
#[derive(Debug, Args)]
struct InterruptArgs {
    /// The stream, space/id
    stream: String,
    #[command(flatten)]
    connect: ConnectArgs,
}

fn user(name: &str) -> Result<UserId, String> {
    UserId::new(name).map_err(|error| error.to_string())
}

fn address(name: &str) -> anyhow::Result<StreamAddress> {
    let name = name.strip_suffix("/stream").unwrap_or(name);
    let (space, id) = name.split_once('/').context("a stream is named space/id")?;
    Ok(StreamAddress::new(space, id)?)
}

pub(crate) async fn run(args: StreamArgs) -> anyhow::Result<bool> {
    match args.command {
        StreamCommand::Send(args) => send(args).await,
        StreamCommand::Read(args) => read(args).await,
        StreamCommand::Interrupt(args) => interrupt(args).await,
    }
}

/// Text out of bytes as they come: what is cut off in the middle of a character waits for the rest,
/// and what is no UTF-8 is replaced.
#[derive(Debug, Default)]
struct Decoder {
    rest: Vec<u8>,
}

impl Decoder {
    fn push(&mut self, bytes: &[u8]) -> String {
        self.rest.extend_from_slice(bytes);
        let mut text = String::new();
        loop {
            let error = match std::str::from_utf8(&self.rest) {
                Ok(valid) => {
                    text.push_str(valid);
                    self.rest.clear();
                    return text;
                }
                Err(error) => error,
            };
            let valid: Vec<u8> = self.rest.drain(..error.valid_up_to()).collect();
            text.push_str(&String::from_utf8_lossy(&valid));
            let Some(bad) = error.error_len() else { return text };
            self.rest.drain(..bad);
            text.push(char::REPLACEMENT_CHARACTER);
        }
    }

    /// What is left at the end is the beginning of a character that never came.
    fn finish(self) -> &'static str {
        if self.rest.is_empty() { "" } else { "\u{fffd}" }
    }
}

/// Reads standard input on a thread of its own, because nobody can be kept from waiting for it. The
/// thread ends with the process.
fn input() -> mpsc::Receiver<std::io::Result<String>> {
    let (pieces, incoming) = mpsc::channel(PIECES_AHEAD);
    std::thread::spawn(move || {
        let (mut stdin, mut decoder) = (std::io::stdin().lock(), Decoder::default());
        let mut buffer = vec![0; PIECE_BYTES];
        loop {
            let piece = match stdin.read(&mut buffer) {
                Ok(0) => {
                    // Nobody may be listening.
                    let _ = pieces.blocking_send(Ok(decoder.finish().to_owned()));
                    return;
                }
                Ok(read) => Ok(decoder.push(buffer.get(..read).unwrap_or_default())),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => Err(error),
            };
            let over = piece.is_err();
            if pieces.blocking_send(piece).is_err() || over {
                return;
            }
        }
    });
    incoming
}

/// How the input came to its end.
enum Sent {
    All(String),
    Stopped,
    Failed(String),
}

/// Sends what comes until there is no more, or somebody asks to stop.
async fn pump(
    writer: &mut StreamWriter,
    mut input: mpsc::Receiver<std::io::Result<String>>,
    keep: bool,
) -> anyhow::Result<Sent> {
    let mut all = String::new();
    loop {
        let piece = tokio::select! {
            biased;
            by = writer.interrupted() => {
                by?;
                return Ok(Sent::Stopped);
            }
            piece = input.recv() => piece,
        };
        match piece {
            None => return Ok(Sent::All(all)),
            Some(Err(error)) => return Ok(Sent::Failed(format!("can't read the input: {error}"))),
            Some(Ok(piece)) => {
                if keep {
                    all.push_str(&piece);
                    if all.len() > COMMENT_BYTES_MAX {
                        bail!(
                            "more than {COMMENT_BYTES_MAX} bytes can't be committed as a comment"
                        );
                    }
                }
                writer.append(&piece).await?;
            }
        }
    }
}

async fn send(args: SendArgs) -> anyhow::Result<bool> {
    let connection = Connection::open_in_memory(&args.connect).await?;
    let client = &connection.client;
    let address = if args.stream.contains('/') {
        address(&args.stream)?
    } else {
        StreamAddress::new(&args.stream, &client.new_id().to_string())?
    };
    let mut writer = if args.resume {
        connection.answered(client.resume_stream(&address)).await??
    } else {
        connection.answered(client.create_stream(&address, args.asked_by)).await??
    };
    let name = format!("{}/{}", address.space(), address.id());
    eprintln!("{name}");
    if !args.resume && writer.written() > 0 {
        bail!("{name} has text already; go on at its end with --resume");
    }
    let sent = pump(&mut writer, input(), args.commit.is_some()).await?;
    let mut committed = None;
    let (outcome, good) = match (sent, &args.commit) {
        (Sent::All(text), Some(post)) => {
            let comments = client.comments(&post.space, &post.id).await?;
            let (id, outcome) = writer.commit(&comments, None, &text).await?;
            committed = Some(id);
            (outcome, true)
        }
        (Sent::All(_), None) => (writer.finish().await?, true),
        (Sent::Stopped, _) => (writer.stop().await?, false),
        (Sent::Failed(reason), _) => (writer.fail(reason).await?, false),
    };
    let remark = committed.map(|id| format!(", committed as comment {id}")).unwrap_or_default();
    let value = json!({
        "stream": name, "outcome": outcome.to_string(),
        "comment": committed.map(|id| id.to_string()),
    });
    say(args.connect.json, &format!("{name}: {outcome}{remark}"), &value);
    connection.client.close().await;
    Ok(good && matches!(outcome, Outcome::Finished { .. }))
}

async fn read(args: ReadArgs) -> anyhow::Result<bool> {
    let connection = Connection::open_in_memory(&args.connect).await?;
    let address = address(&args.stream)?;
    let reading = connection.client.read_stream(&address, args.from);
    let mut reader = connection.answered(reading).await??;
    print(&mut reader, args.connect.json).await?;
    let outcome = reader.status().and_then(|status: Status| status.outcome);
    let name = format!("{}/{}", address.space(), address.id());
    let (end, how) = (reader.offset(), outcome.as_ref().map(ToString::to_string));
    if args.connect.json {
        println!("{}", json!({"stream": name, "offset": end, "outcome": how}));
    } else if !matches!(outcome, Some(Outcome::Finished { .. })) {
        eprintln!("{name}: {}", how.unwrap_or_default());
    }
    drop(reader);
    connection.client.close().await;
    Ok(matches!(outcome, Some(Outcome::Finished { .. })))
}

/// Prints what comes as it comes, or a line of JSON for each piece.
async fn print(reader: &mut StreamReader, as_json: bool) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    while let Some(chunk) = reader.next().await? {
        if as_json {
            let piece = json!({
                "offset": chunk.offset, "text": chunk.text, "restarted": chunk.restarted,
            });
            writeln!(stdout, "{piece}")?;
        } else {
            if chunk.restarted {
                eprintln!("\nthe server has other text; here is all of it:");
            }
            stdout.write_all(chunk.text.as_bytes())?;
        }
        stdout.flush()?;
    }
    Ok(())
}

async fn interrupt(args: InterruptArgs) -> anyhow::Result<bool> {
    let connection = Connection::open_in_memory(&args.connect).await?;
    let address = address(&args.stream)?;
    connection.answered(connection.client.interrupt_stream(&address)).await??;
    let name = format!("{}/{}", address.space(), address.id());
    let value = json!({"stream": name, "interrupted": true});
    say(args.connect.json, &format!("{name}: whoever writes it was told to stop"), &value);
    connection.client.close().await;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_become_text_wherever_they_are_cut() {
        let bytes = "Grüße €𝄞".as_bytes();
        for cut in 0..=bytes.len() {
            let mut decoder = Decoder::default();
            let text = decoder.push(&bytes[..cut]) + &decoder.push(&bytes[cut..]);
            assert_eq!((text.as_str(), decoder.finish()), ("Grüße €𝄞", ""), "{cut}");
        }
        let mut decoder = Decoder::default();
        assert_eq!(decoder.push(b"a\xffb\xe2\x82"), "a\u{fffd}b");
        assert_eq!(decoder.push(b"c\xe2"), "\u{fffd}c");
        assert_eq!(decoder.finish(), "\u{fffd}");
    }

    #[test]
    fn a_stream_is_named_like_a_post_or_in_full() {
        let full = address("town/answer/stream").unwrap();
        assert_eq!(address("town/answer").unwrap(), full);
        assert!(address("town").is_err() && address("town/a b").is_err());
    }
}
