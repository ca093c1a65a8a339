//! The question before something is destroyed.
//!
//! Without `--yes` it is asked at a terminal and nowhere else; an empty answer, or the end of the input, means no.

use std::io::{self, BufRead, IsTerminal, Write};

use anyhow::bail;

/// Asks whether to do `what`; does not ask if `yes`, which is the option `--yes`.
pub(crate) fn confirmed(what: &str, yes: bool) -> anyhow::Result<bool> {
    if yes {
        return Ok(true);
    }
    if !io::stdin().is_terminal() {
        bail!(
            "failed to {what}: not confirmed, because standard input is not a terminal; pass --yes to confirm, or --dry-run to see what would change"
        );
    }
    let mut error = io::stderr();
    write!(error, "{what}? [y/N] ")?;
    error.flush()?;
    let mut answer = String::new();
    // Nothing read is the end of the input: the answer is no.
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(
        answer.trim().to_ascii_lowercase().as_str(),
        "y" | "yes"
    ))
}
