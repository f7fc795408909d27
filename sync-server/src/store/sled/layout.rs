//! Which files of a store's directory are in use, as the file `format` says it. It knows no file but
//! by its name.
//!
//! ```text
//! syncline-store 1            a store of one layer, in log/
//! syncline-store 2            and any other:
//! active log-7                takes all writes
//! frozen log-6                is being merged into the next base (optional)
//! base base-5                 the base of what was written before that (optional)
//! ```

/// What `format` begins with.
pub(super) const FORMAT_NAME: &str = "syncline-store";
/// The version of a store of one layer.
pub(super) const FIRST_FORMAT: u32 = 1;
/// The highest version that this program reads and writes.
pub(super) const FORMAT: u32 = 2;

/// The layers in use, by their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Layout {
    /// Takes all writes.
    pub(super) active: u64,
    /// Is being merged with the base.
    pub(super) frozen: Option<u64>,
    /// Named for the last layer that is in it.
    pub(super) base: Option<u64>,
}

/// The name of sled's directory of a layer.
pub(super) fn log_name(number: u64) -> String {
    if number == 0 { "log".to_owned() } else { format!("log-{number}") }
}

/// The name of a base.
pub(super) fn base_name(number: u64) -> String {
    format!("base-{number}")
}

fn number_of(name: &str, stem: &str) -> Option<u64> {
    if name == stem {
        return Some(0);
    }
    name.strip_prefix(stem)?.strip_prefix('-')?.parse().ok()
}

impl Layout {
    /// The text of `format`.
    pub(super) fn text(self) -> String {
        if self == Self::default() {
            return format!("{FORMAT_NAME} {FIRST_FORMAT}\n");
        }
        let active = Some(format!("active {}\n", log_name(self.active)));
        let frozen = self.frozen.map(|number| format!("frozen {}\n", log_name(number)));
        let base = self.base.map(|number| format!("base {}\n", base_name(number)));
        let lines: String = [active, frozen, base].into_iter().flatten().collect();
        format!("{FORMAT_NAME} {FORMAT}\n{lines}")
    }

    /// Reads what follows the first line of a `format` of the second version.
    pub(super) fn read<'a>(lines: impl Iterator<Item = &'a str>) -> Option<Self> {
        let mut active = None;
        let mut layout = Self::default();
        for line in lines {
            let (what, name) = line.split_once(' ')?;
            let slot = match what {
                "active" => &mut active,
                "frozen" => &mut layout.frozen,
                "base" => &mut layout.base,
                _ => return None,
            };
            let stem = if what == "base" { "base" } else { "log" };
            if slot.replace(number_of(name, stem)?).is_some() {
                return None;
            }
        }
        layout.active = active?;
        Some(layout)
    }

    /// Whether a name in the directory is that of a layer which is not in use: what an interrupted
    /// change of layers left.
    pub(super) fn is_leftover(self, name: &str) -> bool {
        if let Some(number) = number_of(name, "log") {
            return number != self.active && Some(number) != self.frozen;
        }
        match number_of(name.strip_suffix(".new").unwrap_or(name), "base") {
            None => false,
            Some(number) => name.ends_with(".new") || Some(number) != self.base,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layout_reads_back_and_knows_what_is_left_over() {
        let layouts = [
            Layout { active: 1, frozen: Some(0), base: None },
            Layout { active: 1, frozen: None, base: Some(0) },
            Layout { active: 7, frozen: Some(6), base: Some(5) },
        ];
        for layout in layouts {
            let text = layout.text();
            assert!(text.starts_with("syncline-store 2\n"));
            assert_eq!(Layout::read(text.lines().skip(1)), Some(layout), "{text}");
            for name in ["format", "lock", "thesis.tex", "log-x", "logs", "based"] {
                assert!(!layout.is_leftover(name), "{name}");
            }
        }
        let last = layouts[2];
        assert!(!last.is_leftover("log-7") && !last.is_leftover("log-6"));
        assert!(last.is_leftover("log") && last.is_leftover("log-8"));
        assert!(last.is_leftover("base-6.new") && last.is_leftover("base-6"));
        assert!(!last.is_leftover("base-5"));
        assert_eq!(Layout::default().text(), "syncline-store 1\n");
        for bad in ["active log-1\nactive log-2", "base base-1", "active base-1", "more log-1"] {
            assert_eq!(Layout::read(bad.lines()), None, "{bad}");
        }
    }
}
