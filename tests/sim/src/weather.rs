//! How networks really behave: measured round-trip times of moving cars, second by second. The
//! series are committed beside this file, so that a seed is the same run on every machine. Knows no
//! connections.

/// A measured series: its name, and the file that says where it comes from.
const SERIES: &[(&str, &str)] = &[
    ("drive-downtown-lte-a", include_str!("../weather/drive-downtown-lte-a.txt")),
    ("drive-downtown-lte-b", include_str!("../weather/drive-downtown-lte-b.txt")),
    ("drive-downtown-wifi", include_str!("../weather/drive-downtown-wifi.txt")),
    ("drive-suburban-lte-a", include_str!("../weather/drive-suburban-lte-a.txt")),
    ("drive-suburban-lte-b", include_str!("../weather/drive-suburban-lte-b.txt")),
    ("drive-suburban-wifi", include_str!("../weather/drive-suburban-wifi.txt")),
    ("5g-urban", include_str!("../weather/5g-urban.txt")),
    ("5g-rural-weak", include_str!("../weather/5g-rural-weak.txt")),
];

/// The names of all series.
pub fn names() -> impl ExactSizeIterator<Item = &'static str> {
    SERIES.iter().map(|(name, _)| *name)
}

/// One series, begun somewhere in its middle and repeated for ever.
#[derive(Debug, Clone)]
pub struct Weather {
    /// Round-trip times in milliseconds by second; `None` where nothing came through.
    seconds: Vec<Option<u64>>,
    /// The world's second 0 is this one.
    begin: u64,
}

impl Weather {
    /// The series of that name, if there is one.
    #[must_use]
    pub fn named(name: &str, begin: u64) -> Option<Self> {
        let (_, text) = SERIES.iter().find(|(known, _)| *known == name)?;
        let words =
            text.lines().filter(|line| !line.starts_with('#')).flat_map(str::split_whitespace);
        let seconds: Vec<Option<u64>> = words.map(|word| word.parse().ok()).collect();
        (!seconds.is_empty()).then_some(Self { seconds, begin })
    }

    fn at(&self, second: u64) -> Option<u64> {
        let length = self.seconds.len() as u64;
        let place = usize::try_from((self.begin + second) % length).unwrap_or(0);
        self.seconds.get(place).copied().flatten()
    }

    /// The one-way delay at a time in milliseconds since the world began; `None` while nothing comes
    /// through.
    #[must_use]
    pub fn delay(&self, at_ms: u64) -> Option<u64> {
        self.at(at_ms / 1_000).map(|rtt| rtt / 2)
    }

    /// When something comes through again: at once, or in milliseconds since the world began.
    #[must_use]
    pub fn clears(&self, at_ms: u64) -> u64 {
        let second = at_ms / 1_000;
        let clear = (second..).take(self.seconds.len()).find(|second| self.at(*second).is_some());
        clear.map_or(at_ms, |clear| at_ms.max(clear * 1_000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_series_reads_and_clears_up() {
        for name in names() {
            let weather = Weather::named(name, 0).unwrap();
            assert!(weather.seconds.len() > 60, "{name}");
            for at in (0..weather.seconds.len() as u64).map(|second| second * 1_000 + 7) {
                assert!(weather.delay(weather.clears(at)).is_some(), "{name} at {at}");
            }
        }
        let wifi = Weather::named("drive-downtown-wifi", 0).unwrap();
        assert!(wifi.seconds.iter().filter(|second| second.is_none()).count() > 2_500);
    }
}
