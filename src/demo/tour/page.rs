use std::io::{self, Write};

/// Whether the terminal shows colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ink {
    /// ANSI colours.
    Color,
    /// Nothing but text, for pipes and `NO_COLOR`.
    Plain,
}

#[derive(Clone, Copy)]
pub(super) enum Tone {
    Heading,
    Command,
    Quiet,
    Good,
    Refused,
    Broken,
}

impl Tone {
    pub(super) const fn of(status: u16) -> Self {
        match status {
            0..400 => Self::Good,
            400..500 => Self::Refused,
            _ => Self::Broken,
        }
    }

    const fn code(self) -> &'static str {
        match self {
            Self::Heading => "1",
            Self::Command => "36",
            Self::Quiet => "2",
            Self::Good => "32",
            Self::Refused => "33",
            Self::Broken => "31",
        }
    }
}

/// Columns that a line may take.
pub(super) const WIDTH: usize = 100;
const MARGIN: &str = "  ";
const INDENT: &str = "     ";

/// Prints the tour: a margin, numbered headings, commands and what came back.
pub(super) struct Page<'a> {
    pub(super) out: &'a mut dyn Write,
    pub(super) ink: Ink,
}

impl Page<'_> {
    pub(super) fn blank(&mut self) -> io::Result<()> {
        writeln!(self.out)
    }

    /// The name on the left, the warning on the right, a rule below.
    pub(super) fn title(&mut self, name: &str, warning: &str) -> io::Result<()> {
        let gap = WIDTH.saturating_sub(2 * MARGIN.len() + name.chars().count() + warning.chars().count());
        let name = self.toned(Tone::Heading, name);
        let warning = self.toned(Tone::Refused, warning);
        writeln!(self.out, "\n{MARGIN}{name}{}{warning}", " ".repeat(gap))?;
        let rule = self.toned(Tone::Quiet, &"─".repeat(WIDTH - 2 * MARGIN.len()));
        writeln!(self.out, "{MARGIN}{rule}\n")
    }

    /// Who, where, and what for.
    pub(super) fn who(&mut self, name: &str, url: &str, purpose: &str) -> io::Result<()> {
        let name = self.toned(Tone::Heading, &format!("{name:<11}"));
        writeln!(self.out, "{MARGIN}{name}{url:<25}{purpose}")
    }

    pub(super) fn heading(&mut self, number: usize, text: &str) -> io::Result<()> {
        let number = self.toned(Tone::Quiet, &number.to_string());
        let text = self.toned(Tone::Heading, text);
        writeln!(self.out, "{MARGIN}{number}  {text}\n")
    }

    /// Lines for the reader's shell; without a prompt before them, so that a block can be pasted.
    pub(super) fn command(&mut self, lines: &str) -> io::Result<()> {
        for line in lines.lines() {
            let line = self.toned(Tone::Command, line);
            writeln!(self.out, "{INDENT}{line}")?;
        }
        Ok(())
    }

    /// What came back.
    pub(super) fn answer(&mut self, status: u16, what: &str, detail: &str) -> io::Result<()> {
        let status = self.toned(Tone::of(status), &format!("{status}  {what:<22}"));
        let line = format!("{INDENT}  {status} {}", self.toned(Tone::Quiet, detail));
        writeln!(self.out, "{}\n", line.trim_end())
    }

    pub(super) fn text(&mut self, text: &str) -> io::Result<()> {
        for line in text.lines() {
            writeln!(self.out, "{}", format!("{INDENT}  {}", clipped(line)).trim_end())?;
        }
        Ok(())
    }

    pub(super) fn toned(&self, tone: Tone, text: &str) -> String {
        match self.ink {
            Ink::Color if !text.is_empty() => format!("\x1b[{}m{text}\x1b[0m", tone.code()),
            _ => text.to_owned(),
        }
    }
}

/// Long lines are cut: a wrapped one breaks the layout of all that follow.
fn clipped(line: &str) -> String {
    let room = WIDTH - INDENT.len() - 2;
    if line.chars().count() <= room { line.to_owned() } else { line.chars().take(room - 1).chain(['…']).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(ink: Ink, print: impl FnOnce(&mut Page<'_>) -> io::Result<()>) -> String {
        let mut out = Vec::new();
        print(&mut Page { out: &mut out, ink }).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn everything(page: &mut Page<'_>) -> io::Result<()> {
        page.title("tollgate demo", "A DEMO")?;
        page.who("issuer", "http://127.0.0.1:9011", "signs")?;
        page.heading(1, "Without a token")?;
        page.command("curl a\nb")?;
        page.answer(401, "token_required", "Bearer")?;
        page.text(&"x".repeat(300))
    }

    #[test]
    fn plain_ink_is_plain_text_within_the_width() {
        let text = printed(Ink::Plain, everything);
        assert!(!text.contains('\x1b'));
        assert_eq!(text.lines().map(|line| line.chars().count()).max(), Some(WIDTH));
        assert!(text.ends_with("x…\n"));
        assert!(text.contains("\n     curl a\n     b\n       401  token_required         Bearer\n\n"));
    }

    #[test]
    fn colour_adds_nothing_but_colour() {
        let mut text = printed(Ink::Color, everything);
        for code in ["1", "2", "31", "32", "33", "36", "0"] {
            text = text.replace(&format!("\x1b[{code}m"), "");
        }
        assert_eq!(text, printed(Ink::Plain, everything));
    }
}
