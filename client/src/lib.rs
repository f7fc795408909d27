//! The native Syncline client: documents that can be read and edited at once, offline too, and that
//! find their way to a server and to everybody else who has them open.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use syncline_client::{Client, engine::document::Target};
//!
//! let client = Client::builder("ws://127.0.0.1:4400")
//!     .user("alice")
//!     .data_dir("/var/lib/my-app")
//!     .open()
//!     .await?;
//! let likes = client.likes("town", "square").await?;
//! let liked = likes.like(Target::Post, "like")?; // shows at once
//! assert_eq!(likes.count(Target::Post, "like"), 1);
//! println!("{:?}", liked.await?); // confirmed by the server
//! client.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! All that is decided about sync is decided by [`engine::session::Session`]; this crate gives it a
//! socket, a store and a clock.

mod client;
mod clock;
mod comments;
mod connection;
mod document;
mod driver;
mod endpoint;
mod feed;
mod json;
mod likes;
mod post;
mod space;
mod status;
pub mod store;
mod stream;
mod transport;
mod trust;
mod writer;

pub use syncline_engine as engine;

pub use self::client::{Builder, Client, OpenError};
pub use self::comments::Comments;
pub use self::document::{Change, Changes, CommandError, Document, DocumentError, Pending};
pub use self::endpoint::{Endpoint, EndpointError};
pub use self::feed::Feed;
pub use self::json::Json;
pub use self::likes::Likes;
pub use self::post::Post;
pub use self::space::{KickError, SelectError, Selected, Space, SpaceEvents};
pub use self::status::{ClientClosed, Problem, SyncStatus};
pub use self::stream::{Chunk, StreamError, StreamReader, StreamWriter};
pub use self::transport::{Transport, TransportError};
pub use self::trust::TrustError;

/// The README's code must compile.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
#[derive(Debug)]
pub struct Readme;
