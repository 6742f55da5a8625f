//! A terminal for ratatui: ANSI escape sequences (ECMA-48, and DEC's private modes that all terminals have) on standard
//! output. It reads nothing.

use ratatui_core::backend::{Backend, ClearType, WindowSize};
use ratatui_core::buffer::Cell;
use ratatui_core::layout::{Position, Size};
use ratatui_core::style::{Color, Modifier};
use std::io::{self, Write};

/// Where a terminal doesn't say how large it is.
const USUAL: Size = Size { width: 80, height: 24 };

/// The alternate screen of standard output, until it is dropped.
#[derive(Debug)]
pub(super) struct Ansi {
    /// What isn't written yet.
    pending: Vec<u8>,
    cursor: Position,
}

impl Ansi {
    /// Switches to the alternate screen.
    pub(super) fn enter() -> io::Result<Self> {
        let mut ansi = Self { pending: Vec::new(), cursor: Position::ORIGIN };
        ansi.pending.extend_from_slice(b"\x1b[?1049h\x1b[?25l\x1b[2J");
        ansi.write()?;
        Ok(ansi)
    }

    fn write(&mut self) -> io::Result<()> {
        let mut output = io::stdout().lock();
        output.write_all(&self.pending)?;
        self.pending.clear();
        output.flush()
    }
}

impl Drop for Ansi {
    fn drop(&mut self) {
        self.pending.extend_from_slice(b"\x1b[0m\x1b[?25h\x1b[?1049l");
        // Nobody sees it: then nobody misses it.
        let _ = self.write();
    }
}

/// The parameters that select a cell's looks (ECMA-48, section 8.3.117). Colours beyond the usual eight are left out.
fn looks(cell: &Cell) -> String {
    let mut text = String::from("0");
    for (modifier, parameter) in [(Modifier::BOLD, ";1"), (Modifier::DIM, ";2"), (Modifier::REVERSED, ";7")] {
        if cell.modifier.contains(modifier) {
            text.push_str(parameter);
        }
    }
    for (colour, base) in [(cell.fg, 30), (cell.bg, 40)] {
        let number = match colour {
            Color::Black => 0,
            Color::Red => 1,
            Color::Green => 2,
            Color::Yellow => 3,
            Color::Blue => 4,
            Color::Magenta => 5,
            Color::Cyan => 6,
            Color::Gray | Color::White => 7,
            _ => continue,
        };
        text.push_str(&format!(";{}", base + number));
    }
    text
}

impl Backend for Ansi {
    type Error = io::Error;

    fn draw<'a, I: Iterator<Item = (u16, u16, &'a Cell)>>(&mut self, content: I) -> io::Result<()> {
        let (mut next, mut before) = (None, String::new());
        for (x, y, cell) in content {
            if next != Some((x, y)) {
                write!(self.pending, "\x1b[{};{}H", y.saturating_add(1), x.saturating_add(1))?;
            }
            let looks = looks(cell);
            if looks != before {
                write!(self.pending, "\x1b[{looks}m")?;
                before = looks;
            }
            self.pending.extend_from_slice(cell.symbol().as_bytes());
            next = Some((x.saturating_add(1), y));
        }
        Ok(())
    }

    fn hide_cursor(&mut self) -> io::Result<()> {
        self.pending.extend_from_slice(b"\x1b[?25l");
        Ok(())
    }

    fn show_cursor(&mut self) -> io::Result<()> {
        self.pending.extend_from_slice(b"\x1b[?25h");
        Ok(())
    }

    fn get_cursor_position(&mut self) -> io::Result<Position> {
        Ok(self.cursor)
    }

    fn set_cursor_position<P: Into<Position>>(&mut self, position: P) -> io::Result<()> {
        self.cursor = position.into();
        write!(self.pending, "\x1b[{};{}H", self.cursor.y.saturating_add(1), self.cursor.x.saturating_add(1))
    }

    fn clear(&mut self) -> io::Result<()> {
        self.clear_region(ClearType::All)
    }

    fn clear_region(&mut self, part: ClearType) -> io::Result<()> {
        self.pending.extend_from_slice(match part {
            ClearType::All => b"\x1b[0m\x1b[2J",
            ClearType::AfterCursor => b"\x1b[0J",
            ClearType::BeforeCursor => b"\x1b[1J",
            ClearType::CurrentLine => b"\x1b[2K",
            ClearType::UntilNewLine => b"\x1b[0K",
        });
        Ok(())
    }

    fn size(&self) -> io::Result<Size> {
        let size = rustix::termios::tcgetwinsize(io::stdout())?;
        let known = size.ws_col > 0 && size.ws_row > 0;
        Ok(if known { Size { width: size.ws_col, height: size.ws_row } } else { USUAL })
    }

    fn window_size(&mut self) -> io::Result<WindowSize> {
        Ok(WindowSize { columns_rows: self.size()?, pixels: Size::ZERO })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.write()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_in_a_row_need_no_position_and_looks_are_told_when_they_change() {
        let mut ansi = Ansi { pending: Vec::new(), cursor: Position::ORIGIN };
        let (plain, mut bold) = (Cell::new("a"), Cell::new("µ"));
        bold.modifier = Modifier::BOLD;
        bold.fg = Color::Red;
        ansi.draw([(3, 1, &plain), (4, 1, &plain), (5, 1, &bold), (0, 2, &bold)].into_iter()).unwrap();
        let text = String::from_utf8(std::mem::take(&mut ansi.pending)).unwrap();
        assert_eq!(text, "\x1b[2;4H\x1b[0maa\x1b[0;1;31mµ\x1b[3;1Hµ");
        // Nothing of this is for the terminal that the test runs on.
        std::mem::forget(ansi);
    }
}
