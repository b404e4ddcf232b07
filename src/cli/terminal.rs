//! The two streams.

use std::io::{self, IsTerminal, Write};

/// Prints a result. A reader that went away (`| head`) is not an error worth telling.
pub(super) fn print(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| if text.ends_with('\n') { Ok(()) } else { out.write_all(b"\n") });
    let _ = out.flush();
}

/// Says something that is not a result.
pub(super) fn talk(text: &str) {
    let mut out = io::stderr().lock();
    let _ = writeln!(out, "{text}");
}

/// Whether results may be coloured: on a terminal, unless `NO_COLOR` is set (no-color.org).
pub(super) fn has_color() -> bool {
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Whether talk may be coloured.
pub(super) fn talk_has_color() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
