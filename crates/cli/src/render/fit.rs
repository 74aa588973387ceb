//! Fits a status line into the terminal: first the less important parts are dropped, then the bar,
//! then the end of the line.

/// Columns of the shortest bar that is worth its place.
const SHORTEST_BAR: usize = 8;

/// Columns of `100 % ` and the space after the bar.
const FIXED: usize = 7;

/// A part of a line. Of the parts that do not fit those with the highest rank go first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) rank: u8,
    pub(crate) text: String,
}

/// A part of that rank.
pub(crate) fn part(rank: u8, text: impl Into<String>) -> Part {
    Part { rank, text: text.into() }
}

/// What to show on a terminal of that width.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fitted {
    pub(crate) words: String,
    pub(crate) bar: bool,
}

/// All parts in one line.
pub(crate) fn joined(parts: &[Part]) -> String {
    let texts: Vec<&str> = parts.iter().map(|part| part.text.as_str()).collect();
    texts.join(", ")
}

/// The parts that fit into `width` columns, of which `taken` stand before the percentage.
pub(crate) fn fitted(parts: &[Part], width: usize, taken: usize) -> Fitted {
    let room = width.saturating_sub(taken + FIXED);
    let mut parts = parts.to_vec();
    loop {
        let words = joined(&parts);
        let columns = words.chars().count();
        if columns + SHORTEST_BAR <= room {
            return Fitted { words, bar: true };
        }
        let least = parts.iter().map(|part| part.rank).max().unwrap_or(0);
        if least == 0 {
            return Fitted { words: cut(&words, room), bar: false };
        }
        parts.retain(|part| part.rank != least);
    }
}

/// The text, or its beginning and a sign that there was more.
pub(crate) fn cut(text: &str, columns: usize) -> String {
    if text.chars().count() <= columns {
        return text.to_owned();
    }
    let mut kept: String = text.chars().take(columns.saturating_sub(1)).collect();
    if columns > 0 {
        kept.push('…');
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lesser_parts_go_first_then_the_bar_then_the_end() {
        let parts = [part(2, "1 GiB of 2 GiB"), part(0, "90 MiB/s"), part(1, "12 s left")];
        let at = |width| fitted(&parts, width, 0);
        assert_eq!(
            at(80),
            Fitted { words: "1 GiB of 2 GiB, 90 MiB/s, 12 s left".into(), bar: true }
        );
        assert_eq!(at(40), Fitted { words: "90 MiB/s, 12 s left".into(), bar: true });
        assert_eq!(at(25), Fitted { words: "90 MiB/s".into(), bar: true });
        assert_eq!(at(16), Fitted { words: "90 MiB/s".into(), bar: false });
        assert_eq!(at(12), Fitted { words: "90 M…".into(), bar: false });
        assert_eq!(at(0), Fitted { words: String::new(), bar: false });
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        let parts = [
            part(0, "waiting: no peer has 5 of the missing chunks (12.0 s)"),
            part(1, "1 MiB of 4 MiB"),
        ];
        for width in 0..200 {
            for taken in [0, 10, 30] {
                let Fitted { words, bar } = fitted(&parts, width, taken);
                let used =
                    taken + FIXED + words.chars().count() + if bar { SHORTEST_BAR } else { 0 };
                assert!(used <= width.max(taken + FIXED), "{width} {taken}: {words:?}");
            }
        }
    }
}
