//! An agent answers a question with a long text that takes its time. One reader follows it, loses its
//! connection in the middle and goes on where it was; the one who asked interrupts the first answer; the
//! second one is finished and committed as a comment.
//!
//! ```text
//! cargo run -p syncline-client --example streaming_answer -- ws://127.0.0.1:4400
//! ```

use std::error::Error;
use std::io::Write;
use std::time::Duration;

use syncline_client::engine::ids::{StreamAddress, UserId};
use syncline_client::engine::stream::Outcome;
use syncline_client::{Client, StreamWriter};

const PAUSE: Duration = Duration::from_millis(20);

async fn open(url: &str, user: &str) -> Result<Client, Box<dyn Error>> {
    Ok(Client::builder(url).user(user).in_memory().open().await?)
}

/// A word at a time, as a model would say them.
fn words(count: usize) -> impl Iterator<Item = String> {
    const WORDS: [&str; 6] = ["streams", "survive", "reconnects", "restarts", "and", "patience"];
    (0..count)
        .map(|i| format!("{}{}", WORDS[i % WORDS.len()], if i % 12 == 11 { ".\n" } else { " " }))
}

/// Says words until all are said (true) or somebody has heard enough (false).
async fn say(writer: &mut StreamWriter, count: usize) -> Result<bool, Box<dyn Error>> {
    for word in words(count) {
        // The next word is not looked for after an interrupt.
        tokio::select! {
            biased;
            by = writer.interrupted() => {
                let by = by?.map(|user| user.to_string()).unwrap_or_default();
                println!("\n[agent: {by} has heard enough]");
                return Ok(false);
            }
            () = tokio::time::sleep(PAUSE) => {}
        }
        writer.append(&word).await?;
    }
    Ok(true)
}

/// Reads a stream aloud and goes offline for a moment after some of it. Answers the text.
async fn listen(
    ada: Client,
    address: StreamAddress,
    quiet: bool,
) -> Result<String, Box<dyn Error>> {
    let mut reader = ada.read_stream(&address, 0).await?;
    let (mut heard, mut was_away) = (String::new(), false);
    while let Some(chunk) = reader.next().await? {
        if chunk.restarted {
            heard.clear();
        }
        heard.push_str(&chunk.text);
        if !quiet {
            print!("{}", chunk.text);
            std::io::stdout().flush()?;
        }
        if heard.len() > 150 && !was_away {
            was_away = true;
            println!("\n[ada: loses her connection at byte {}]", reader.offset());
            ada.set_online(false);
            tokio::time::sleep(10 * PAUSE).await;
            ada.set_online(true);
        }
    }
    let outcome = reader.status().and_then(|status| status.outcome);
    println!(
        "\n[ada: {} bytes, {}]",
        heard.len(),
        outcome.map(|o| o.to_string()).unwrap_or_default()
    );
    Ok(heard)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "ws://127.0.0.1:4400".to_owned());
    let (agent, ada) = (open(&url, "agent").await?, open(&url, "ada").await?);
    let asked_by = Some(UserId::new("ada")?);

    // The first answer goes on and on.
    let address = StreamAddress::new("town", &agent.new_id().to_string())?;
    let mut writer = agent.create_stream(&address, asked_by.clone()).await?;
    let listening = listen(ada.clone(), address.clone(), false);
    let answering = async {
        let all = say(&mut writer, 2_000).await?;
        writer.append("…").await?;
        Ok::<_, Box<dyn Error>>(if all { writer.finish().await? } else { writer.stop().await? })
    };
    let interrupting = async {
        let mut watcher = ada.read_stream(&address, 0).await?;
        while watcher.offset() < 600 && watcher.next().await?.is_some() {}
        Ok::<_, Box<dyn Error>>(ada.interrupt_stream(&address).await?)
    };
    let (heard, outcome, interrupted) = tokio::join!(listening, answering, interrupting);
    interrupted?;
    assert_eq!(outcome?, Outcome::Interrupted);
    assert!(heard?.ends_with('…'), "what was said last is heard too");

    // The second is shorter. Its writer is gone in the middle, and another takes over at its end.
    let address = StreamAddress::new("town", &agent.new_id().to_string())?;
    let mut first = agent.create_stream(&address, asked_by).await?;
    say(&mut first, 20).await?;
    first.flush().await?;
    let said = first.durable();
    agent.abort().await;
    let agent = open(&url, "agent").await?;
    let mut second = agent.resume_stream(&address).await?;
    println!("[agent: starts again at byte {} of {said}]", second.written());
    second.append("And so on.").await?;
    second.flush().await?;
    let whole = words(20).collect::<String>() + "And so on.";
    let comments = agent.comments("town", "question").await?;
    let (comment, outcome) = second.commit(&comments, None, &whole).await?;
    let heard = listen(ada.clone(), address, true).await?;
    assert_eq!((heard, outcome.to_string()), (whole, "finished".to_owned()));
    println!("[agent: committed as comment {comment}]");
    drop(comments);
    agent.close().await;
    ada.close().await;
    Ok(())
}
