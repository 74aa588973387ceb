//! A terminal's other screen, for what is drawn again and again. What was on the terminal before
//! comes back when this is dropped, whatever the reason.

use std::io::{self, Write};

use super::look::{Look, Size, stdout_size};
use super::plain::plain_line;

/// The other screen, emptied; no cursor; lines that are too long end at the edge.
const ENTER: &str = "\x1b[?1049h\x1b[2J\x1b[?25l\x1b[?7l";
const LEAVE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";

pub(crate) struct Screen;

impl Screen {
    pub(crate) fn enter() -> io::Result<Screen> {
        write(ENTER)?;
        Ok(Screen)
    }

    /// Shows these lines and nothing else, as many as fit.
    pub(crate) fn draw(&self, lines: &[String], look: Look) -> io::Result<()> {
        write(&frame(lines, look, stdout_size()))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing any more.
        let _ = write(LEAVE);
    }
}

/// One write for a whole picture does not flicker. Each line is emptied before it is written: at
/// the edge of the terminal it could not be afterwards.
fn frame(lines: &[String], look: Look, size: Option<Size>) -> String {
    let rows = size.map_or(usize::MAX, |size| size.rows).max(1);
    let hidden = if lines.len() > rows { lines.len() - (rows - 1) } else { 0 };
    let shown = lines.iter().take(lines.len() - hidden).map(|line| look.cut(&plain_line(line)));
    let more = (hidden > 0).then(|| look.cut(&format!("{} {hidden} more lines", look.ellipsis())));
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
        let look = Look { columns: Some(columns), utf8: true, fits_paths: true };
        let frame = frame(&lines, look, Some(Size { columns, rows }));
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
