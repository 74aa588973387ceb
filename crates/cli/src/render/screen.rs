//! The alternate screen of a terminal, for a view that is redrawn. Dropping it restores the
//! terminal.

use std::io::{self, Write};

use super::plain::plain_line;
use super::terminal::{Layout, Size, stdout_size};

/// The alternate screen, cleared, without a cursor and without line wrapping.
const ENTER: &str = "\x1b[?1049h\x1b[2J\x1b[?25l\x1b[?7l";
const LEAVE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";

pub(crate) struct Screen;

impl Screen {
    pub(crate) fn enter() -> io::Result<Screen> {
        write(ENTER)?;
        Ok(Screen)
    }

    /// Shows these lines and nothing else, as many as fit.
    pub(crate) fn draw(&self, lines: &[String], layout: Layout) -> io::Result<()> {
        write(&frame(lines, layout, stdout_size()))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // Fails only if the terminal is gone.
        let _ = write(LEAVE);
    }
}

/// One write for the whole frame, which does not flicker. Each line is cleared before it is
/// written: after it, the cursor may be at the edge of the terminal.
fn frame(lines: &[String], layout: Layout, size: Option<Size>) -> String {
    let rows = size.map_or(usize::MAX, |size| size.rows).max(1);
    let hidden = if lines.len() > rows { lines.len() - (rows - 1) } else { 0 };
    let shown = lines.iter().take(lines.len() - hidden).map(|line| layout.cut(&plain_line(line)));
    let more =
        (hidden > 0).then(|| layout.cut(&format!("{} {hidden} more lines", layout.ellipsis())));
    let lines: Vec<String> = shown.chain(more).map(|line| format!("\x1b[2K{line}")).collect();
    format!("\x1b[H{}\x1b[J", lines.join("\r\n"))
}

fn write(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(lines: &[&str], columns: usize, rows: usize) -> Vec<String> {
        let lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        let layout = Layout { columns: Some(columns), utf8: true, fits_paths: true };
        let frame = frame(&lines, layout, Some(Size { columns, rows }));
        let text = frame
            .strip_prefix("\x1b[H")
            .and_then(|text| text.strip_suffix("\x1b[J"))
            .expect("a frame");
        text.split("\r\n").map(|line| line.replace("\x1b[2K", "")).collect()
    }

    #[test]
    fn a_picture_never_has_more_lines_than_the_terminal() {
        assert_eq!(shown(&["a", "b", "c"], 20, 3), ["a", "b", "c"]);
        assert_eq!(shown(&["a", "b", "c", "d"], 20, 3), ["a", "b", "… 2 more lines"]);
        assert_eq!(shown(&["a", "b"], 20, 1), ["… 2 more lines"]);
    }

    #[test]
    fn nor_a_line_more_characters() {
        assert_eq!(shown(&["0123456789", "b"], 5, 3), ["0123…", "b"]);
    }
}
