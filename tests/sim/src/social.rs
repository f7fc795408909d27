//! What people do beside writing documents, as it is drawn: spaces, streams and feeds, each in some
//! worlds and more or less often, put between the steps of a run. Carries nothing out.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use syncline_engine::hub::{self, PresenceConfig};

use crate::choices::Choices;
use crate::step::{Action, Step};

/// Streams that may be made in one world.
pub(crate) const STREAMS_MAX: usize = 6;

/// What people do: its name, in how many worlds of a thousand, and how often at most for each
/// thousand other steps.
const KINDS: [(Kind, u64, u64); 3] =
    [(Kind::Space, 650, 400), (Kind::Stream, 600, 450), (Kind::Feed, 450, 60)];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Space,
    Stream,
    Feed,
}

/// What the server is configured with for spaces, streams and feeds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the fields of hub::Config, times in milliseconds")]
pub struct SocialSetup {
    pub presence_interval: u64,
    pub presence_grace: u64,
    pub presence_full_max: usize,
    pub presence_idle: u64,
    pub announce_burst: u32,
    pub feed_interval: u64,
    pub stream_bytes_max: u64,
    pub stream_window_bytes: usize,
    pub stream_interrupt_grace: u64,
    pub stream_abandon_after: u64,
    /// Whether the first client's user may moderate, where there are tokens to say so.
    pub moderates: bool,
}

impl SocialSetup {
    fn draw(choices: &mut Choices) -> Self {
        Self {
            presence_interval: choices.between(20, 400),
            presence_grace: choices.between(100, 10_000),
            presence_full_max: if choices.per_mille(250) { 1 + choices.index(3) } else { 100 },
            presence_idle: choices.between(1_000, 120_000),
            announce_burst: if choices.per_mille(200) { 3 } else { 60 },
            feed_interval: choices.between(50, 2_000),
            stream_bytes_max: if choices.per_mille(100) { 2_000 } else { 4 << 20 },
            stream_window_bytes: 256 << choices.below(11),
            stream_interrupt_grace: choices.between(500, 30_000),
            stream_abandon_after: if choices.per_mille(300) {
                choices.between(2_000, 120_000)
            } else {
                86_400_000
            },
            moderates: choices.per_mille(600),
        }
    }

    /// Puts itself into a hub's configuration.
    pub(crate) fn configure(&self, config: &mut hub::Config) {
        let ms = Duration::from_millis;
        config.presence = PresenceConfig {
            interval: ms(self.presence_interval),
            grace: ms(self.presence_grace),
            full_max: self.presence_full_max,
            idle: ms(self.presence_idle),
            announce_burst: self.announce_burst,
            ..PresenceConfig::default()
        };
        config.feed_interval = ms(self.feed_interval);
        config.stream_bytes_max = self.stream_bytes_max;
        config.stream_window_bytes = self.stream_window_bytes;
        config.stream_interrupt_grace = ms(self.stream_interrupt_grace);
        config.stream_abandon_after = ms(self.stream_abandon_after);
    }
}

/// What people do in one world.
#[derive(Debug)]
pub(crate) struct Social {
    choices: Choices,
    /// In how many of a thousand steps.
    rates: [u64; 3],
}

impl Social {
    /// Draws it apart from everything else.
    pub(crate) fn draw(seed: u64) -> (Self, Option<SocialSetup>) {
        let mut choices = Choices::of(seed, 3);
        let rates = KINDS.map(|(_, worlds, most)| {
            let there = choices.per_mille(worlds);
            if there { 1 + choices.below(most) } else { 0 }
        });
        let setup = SocialSetup::draw(&mut choices);
        (Self { choices, rates }, rates.iter().any(|rate| *rate > 0).then_some(setup))
    }

    /// Whether somebody follows a feed there.
    pub(crate) const fn has_feeds(&self) -> bool {
        self.rates[2] > 0
    }

    /// After how long a client's user counts as idle.
    pub(crate) fn idle_after(&mut self) -> u64 {
        self.choices.between(3_000, 300_000)
    }

    /// Puts what people do between the other steps.
    pub(crate) fn mix(mut self, steps: Vec<Step>, clients: usize, documents: usize) -> Vec<Step> {
        let mut mixed = Vec::with_capacity(steps.len() * 2);
        for mut step in steps {
            self.aim(&mut step.action, documents);
            mixed.push(step);
            for (place, (kind, ..)) in KINDS.into_iter().enumerate() {
                if self.choices.per_mille(self.rates[place]) {
                    let after_ms = self.choices.below(200);
                    mixed.push(Step { after_ms, action: self.act(kind, clients) });
                }
            }
        }
        mixed
    }

    fn act(&mut self, kind: Kind, clients: usize) -> Action {
        let client = self.choices.index(clients);
        let pick = self.choices.number();
        match kind {
            Kind::Space if self.choices.per_mille(60) => {
                Action::SayAgain { client, ms: pick % 3_000 }
            }
            Kind::Space => Action::Space { client, pick },
            Kind::Stream => Action::Stream { client, pick },
            Kind::Feed => Action::Feed { client, pick },
        }
    }

    /// What spoils something that is stored may spoil a stream's log as well: those are counted on
    /// after the documents.
    fn aim(&mut self, action: &mut Action, documents: usize) {
        if let Action::Tear { document, .. } | Action::Corrupt { document, .. } = action
            && self.rates[1] > 0
            && self.choices.per_mille(300)
        {
            *document = documents + self.choices.index(STREAMS_MAX);
        }
    }
}
