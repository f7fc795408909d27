//! What the everyday commands have in common: which server, who, where things are kept, and how long to
//! wait for the server before leaving the rest to a later `syncline sync`.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use serde::Serialize;
use syncline_client::{Builder, Client, Document, Pending, Space, Transport};
use syncline_engine::ids::{Address, Facet, UserId};
use syncline_engine::session::Resolution;
use tokio::time::{Instant, timeout_at};

/// Options of every everyday command.
#[derive(Debug, Clone, Args)]
pub(crate) struct ConnectArgs {
    /// Server: ws, wss, http or https, host and port
    #[arg(
        long,
        env = "SYNCLINE_SERVER",
        default_value = "ws://127.0.0.1:4400",
        value_name = "URL"
    )]
    server: String,
    /// Your name [default: the name that you are logged in with]
    #[arg(long, env = "SYNCLINE_USER")]
    user: Option<String>,
    /// Token that proves it, where the server asks for one
    #[arg(long, env = "SYNCLINE_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Certificates (PEM) of those who vouch for the server [default: the system's and Mozilla's]
    #[arg(long, env = "SYNCLINE_CA", value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Folder for your documents [default: one per user in the user data folder]
    #[arg(long, env = "SYNCLINE_CLIENT_DATA", value_name = "DIR")]
    data: Option<PathBuf>,
    /// How to speak with the server: auto, websocket, or sse where WebSocket is blocked
    #[arg(long, env = "SYNCLINE_TRANSPORT", default_value_t = Transport::Auto, value_name = "WAY")]
    transport: Transport,
    /// Work on what is on this device, without the network
    #[arg(long)]
    offline: bool,
    /// Seconds to wait for the server
    #[arg(long, default_value_t = 10, value_name = "SECONDS")]
    wait: u64,
    /// Print one line of JSON at the end
    #[arg(long)]
    pub(crate) json: bool,
}

impl ConnectArgs {
    /// Seconds to wait for the server.
    pub(crate) const fn wait(&self) -> u64 {
        self.wait
    }
}

/// How a command stands when the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Standing {
    /// On the server's disk.
    Confirmed,
    /// On this device's disk.
    Pending,
    /// It changed nothing.
    NoEffect,
    /// A later change by somebody else stands.
    Superseded,
}

impl Standing {
    /// What to add to a sentence about the command.
    pub(crate) const fn remark(self) -> &'static str {
        match self {
            Self::Confirmed => "",
            Self::Pending => " (pending, will be sent with `syncline sync`)",
            Self::NoEffect => " (nothing to change)",
            Self::Superseded => " (but a later change by somebody else stands)",
        }
    }
}

/// An open client and the patience to wait for its server.
pub(crate) struct Connection {
    pub(crate) client: Client,
    offline: bool,
    deadline: Instant,
}

impl Connection {
    pub(crate) async fn open(args: &ConnectArgs) -> anyhow::Result<Self> {
        let user = user_name(args.user.as_deref())?;
        let data = match &args.data {
            Some(data) => data.clone(),
            None => data_dir()?.join(user.as_str()),
        };
        Self::open_as(args, &user, |builder| builder.data_dir(&data)).await
    }

    /// The same without anything on this device, for what needs no document: so it can run beside
    /// another that has the store open.
    pub(crate) async fn open_in_memory(args: &ConnectArgs) -> anyhow::Result<Self> {
        if args.offline {
            bail!("this needs the server; leave --offline out");
        }
        let user = user_name(args.user.as_deref())?;
        Self::open_as(args, &user, Builder::in_memory).await
    }

    async fn open_as(
        args: &ConnectArgs,
        user: &UserId,
        place: impl FnOnce(Builder) -> Builder,
    ) -> anyhow::Result<Self> {
        let mut builder = Client::builder(&args.server)
            .user(user.as_str())
            .agent(concat!("syncline/", env!("CARGO_PKG_VERSION")))
            .transport(args.transport)
            .online(!args.offline);
        if let Some(token) = &args.token {
            builder = builder.token(token);
        }
        if let Some(ca) = &args.ca {
            builder = builder.ca_file(ca);
        }
        let client = place(builder).open().await?;
        let deadline = Instant::now() + Duration::from_secs(args.wait);
        Ok(Self { client, offline: args.offline, deadline })
    }

    /// Opens a document and, unless offline, waits for what the server has of it. Answers whether it
    /// is caught up.
    pub(crate) async fn document(&self, address: &Address) -> anyhow::Result<(Document, bool)> {
        let document = self.client.document(address).await?;
        if self.offline {
            return Ok((document, false));
        }
        match timeout_at(self.deadline, document.live()).await {
            Ok(live) => live.map(|()| (document, true)).map_err(Into::into),
            Err(_) => Ok((document, false)),
        }
    }

    /// Waits until the server has let the client into a space.
    ///
    /// # Errors
    /// If it does not, or there is no server.
    pub(crate) async fn entered(&self, space: &Space) -> anyhow::Result<()> {
        match timeout_at(self.deadline, space.entered()).await {
            Ok(entered) => Ok(entered?),
            Err(_) => bail!("the server does not answer; check --server, or --wait for longer"),
        }
    }

    /// Opens the part of a post that a command is about.
    pub(crate) async fn part(
        &self,
        place: &Place,
        facet: Facet,
    ) -> anyhow::Result<(Document, bool)> {
        self.document(&place.address(facet)?).await
    }

    /// Waits until a command is confirmed, or at least on this device's disk.
    ///
    /// # Errors
    /// If it was refused.
    pub(crate) async fn settle(&self, pending: Pending) -> anyhow::Result<Standing> {
        pending.stored().await?;
        if self.offline {
            return Ok(Standing::Pending);
        }
        let Ok(resolution) = timeout_at(self.deadline, pending).await else {
            return Ok(Standing::Pending);
        };
        match resolution? {
            Resolution::Confirmed => Ok(Standing::Confirmed),
            Resolution::NoEffect => Ok(Standing::NoEffect),
            Resolution::Superseded => Ok(Standing::Superseded),
            Resolution::Refused { code, message } => {
                bail!("the server refused: {message} ({code})")
            }
        }
    }

    /// Settles several commands; the worst standing counts.
    pub(crate) async fn settle_all(&self, pending: Vec<Pending>) -> anyhow::Result<Standing> {
        let mut all = Standing::NoEffect;
        for pending in pending {
            all = match (self.settle(pending).await?, all) {
                (Standing::Pending, _) | (_, Standing::Pending) => Standing::Pending,
                (Standing::Superseded, _) | (_, Standing::Superseded) => Standing::Superseded,
                (Standing::Confirmed, _) | (_, Standing::Confirmed) => Standing::Confirmed,
                (Standing::NoEffect, Standing::NoEffect) => Standing::NoEffect,
            };
        }
        Ok(all)
    }

    /// Waits for an answer of the server for as long as is to be waited.
    pub(crate) async fn answered<T>(&self, answer: impl Future<Output = T>) -> anyhow::Result<T> {
        let Ok(answer) = timeout_at(self.deadline, answer).await else {
            bail!("the server does not answer; is it there?");
        };
        Ok(answer)
    }

    /// Waits until everything is synced. `false` if the time was up.
    pub(crate) async fn synced(&self) -> anyhow::Result<bool> {
        if self.offline {
            return Ok(false);
        }
        match timeout_at(self.deadline, self.client.synced()).await {
            Ok(synced) => synced.map(|()| true).map_err(Into::into),
            Err(_) => Ok(false),
        }
    }
}

/// A post: `space/id`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) space: String,
    pub(crate) id: String,
}

impl Place {
    pub(crate) fn address(&self, facet: Facet) -> anyhow::Result<Address> {
        Ok(Address::new(&self.space, &self.id, facet)?)
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.space, self.id)
    }
}

impl std::str::FromStr for Place {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        let example = "a post is named space/id, such as town/01J8ZQ4W5X6Y7Z8A9B0C1D2E3F";
        let (space, id) = s.split_once('/').ok_or(example)?;
        Address::new(space, id, Facet::Post).map_err(|error| error.to_string())?;
        Ok(Self { space: space.to_owned(), id: id.to_owned() })
    }
}

fn user_name(given: Option<&str>) -> anyhow::Result<UserId> {
    let login = || ["USER", "LOGNAME", "USERNAME"].iter().find_map(|name| std::env::var(name).ok());
    let name = given.map(str::to_owned).or_else(login).context("say who you are with --user")?;
    UserId::new(&name).with_context(|| format!("{name:?} can't be a user; name one with --user"))
}

/// Where this system keeps the data of a user's programs.
fn data_dir() -> anyhow::Result<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let base = set("XDG_DATA_HOME")
        .or_else(|| set("LOCALAPPDATA"))
        .or_else(|| set("HOME").map(|home| home.join(".local").join("share")));
    Ok(base.context("name a folder with --data")?.join("syncline"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_space_and_an_id() {
        let place: Place = "town/square".parse().unwrap();
        assert_eq!(place.to_string(), "town/square");
        assert_eq!(place.address(Facet::Likes).unwrap().to_string(), "town/square/likes");
        assert!("town".parse::<Place>().unwrap_err().contains("space/id"));
        assert!("town/a b".parse::<Place>().is_err());
        assert!("town/a/likes".parse::<Place>().is_err());
    }
}
