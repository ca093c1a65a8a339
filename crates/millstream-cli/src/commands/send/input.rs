//! Standard input as blocks of whole lines, read by a thread of its own, and whether it is short.
//!
//! librdkafka asks for a producer id half a second after its start and sends nothing before. An input that is small and
//! ends at once needs no id: its lines are sent once, without retries and one request at a time, so that none can be
//! written twice or overtake another. Everything else is sent idempotently.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, bail};
use millstream::{Clock as _, Cluster, Moment, SystemClock};

/// How much is read at once.
const BLOCK: usize = 256 << 10;
/// Blocks that wait to be sent.
const BLOCKS: usize = 4;
/// The longest line that is read; a broker takes 1 MB unless configured otherwise.
const LONGEST_LINE: usize = 64 << 20;
/// The most bytes of a short input.
const SHORT: usize = 64 << 10;
/// How long the end of a short input may take to come. Less than the half second that it saves.
const SHORT_WITHIN: Duration = Duration::from_millis(100);
/// Who sets one of these has decided about retries and order.
const DECIDING: [&str; 8] = [
    "acks",
    "enable.idempotence",
    "max.in.flight",
    "max.in.flight.requests.per.connection",
    "message.send.max.retries",
    "request.required.acks",
    "retries",
    "transactional.id",
];

/// Whether `cluster` leaves it to us how a short input is sent.
pub(super) fn may_be_short(cluster: &Cluster) -> bool {
    !cluster
        .shown_properties()
        .any(|(name, _)| DECIDING.contains(&name))
}

/// `cluster` for a short input: no producer id, no retries, one request at a time.
pub(super) fn for_short(cluster: &Cluster) -> Result<Cluster, millstream::Error> {
    cluster.clone().properties([
        ("enable.idempotence", "false"),
        ("retries", "0"),
        ("max.in.flight", "1"),
        ("linger.ms", "1"),
    ])
}

/// Whole lines.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Lines(Vec<u8>);

impl Lines {
    /// The lines without their ends; the last of the input needs none.
    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let text = self.0.strip_suffix(b"\n").unwrap_or(&self.0);
        let lines = (!self.0.is_empty()).then(|| text.split(|&byte| byte == b'\n'));
        lines
            .into_iter()
            .flatten()
            .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
    }
}

/// What the reading thread hands on.
enum Block {
    Lines(Lines),
    End,
    Failed(anyhow::Error),
}

/// Standard input.
pub(super) struct Input {
    blocks: Receiver<Block>,
    /// What was looked at and not yet taken.
    held: Lines,
    ended: bool,
    clock: SystemClock,
}

impl Input {
    /// Begins to read.
    pub(super) fn of_stdin() -> anyhow::Result<Self> {
        Self::of(io::stdin())
    }

    fn of(from: impl Read + Send + 'static) -> anyhow::Result<Self> {
        let (to, blocks) = sync_channel(BLOCKS);
        thread::Builder::new()
            .name("input".to_owned())
            .spawn(move || {
                let last = match read(from, &to) {
                    Ok(()) => Block::End,
                    Err(error) => Block::Failed(error),
                };
                // The receiver is gone when the command has ended before its input.
                _ = to.send(last);
            })
            .context("failed to start a thread for standard input")?;
        Ok(Self {
            blocks,
            held: Lines::default(),
            ended: false,
            clock: SystemClock::new(),
        })
    }

    /// Waits a moment to see whether the input is short.
    pub(super) fn is_short(&mut self) -> anyhow::Result<bool> {
        let deadline: Moment = self.clock.now().plus(SHORT_WITHIN);
        while !self.ended && self.held.0.len() <= SHORT {
            let left = deadline.since(self.clock.now());
            match self.blocks.recv_timeout(left) {
                Ok(Block::Lines(lines)) => self.held.0.extend(lines.0),
                Ok(Block::End) | Err(RecvTimeoutError::Disconnected) => self.ended = true,
                Ok(Block::Failed(error)) => return Err(error),
                Err(RecvTimeoutError::Timeout) => return Ok(false),
            }
        }
        Ok(self.ended && self.held.0.len() <= SHORT)
    }

    /// Everything that was held.
    pub(super) fn take_lines(&mut self) -> Lines {
        std::mem::take(&mut self.held)
    }

    /// The next lines; `None` at the end.
    pub(super) fn next(&mut self) -> anyhow::Result<Option<Lines>> {
        if !self.held.0.is_empty() {
            return Ok(Some(self.take_lines()));
        }
        if self.ended {
            return Ok(None);
        }
        match self.blocks.recv() {
            Ok(Block::Lines(lines)) => Ok(Some(lines)),
            Ok(Block::Failed(error)) => Err(error),
            Ok(Block::End) | Err(_) => {
                self.ended = true;
                Ok(None)
            }
        }
    }
}

/// Reads `from` to its end; what is there is handed on without waiting for more.
fn read(mut from: impl Read, to: &SyncSender<Block>) -> anyhow::Result<()> {
    let mut pending = Vec::new();
    let mut block = vec![0; BLOCK];
    loop {
        let read = match from.read(&mut block) {
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error).context("failed to read standard input"),
        };
        let new = block.get(..read).unwrap_or_default();
        if read == 0 {
            if !pending.is_empty() {
                _ = to.send(Block::Lines(Lines(pending)));
            }
            return Ok(());
        }
        // Up to the last line end; the rest waits for its own.
        let whole = new
            .iter()
            .rposition(|&byte| byte == b'\n')
            .map_or(0, |at| at + 1);
        let (lines, rest) = new.split_at_checked(whole).unwrap_or((new, &[]));
        if !lines.is_empty() {
            pending.extend(lines);
            let lines = Lines(std::mem::take(&mut pending));
            if to.send(Block::Lines(lines)).is_err() {
                return Ok(());
            }
        }
        pending.extend(rest);
        if pending.len() > LONGEST_LINE {
            bail!("a line is longer than {} MiB", LONGEST_LINE >> 20);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(input: &[u8]) -> Vec<Vec<u8>> {
        let mut input = Input::of(io::Cursor::new(input.to_vec())).unwrap();
        let mut lines = Vec::new();
        while let Some(block) = input.next().unwrap() {
            lines.extend(block.iter().map(<[u8]>::to_vec));
        }
        lines
    }

    #[test]
    fn lines_end_at_any_line_end_and_the_last_needs_none() {
        let expected: [&[u8]; 4] = [b"one", b"two", b"", b"\xff\x00last"];
        assert_eq!(all(b"one\r\ntwo\n\n\xff\x00last"), expected);
        assert_eq!(all(b"one\n"), [b"one"]);
        assert_eq!(all(b"\n\n"), [b"", b""]);
        assert_eq!(all(b""), Vec::<Vec<u8>>::new());
    }

    #[test]
    fn a_line_longer_than_a_block_stays_whole() {
        let long = vec![b'x'; 3 * BLOCK + 1];
        let input = [b"a\n", long.as_slice(), b"\nb"].concat();
        assert_eq!(all(&input), [b"a".to_vec(), long, b"b".to_vec()]);
    }

    #[test]
    fn a_large_input_is_not_short_and_loses_nothing() {
        let text = b"0123456789abcde\n".repeat(SHORT / 8);
        let mut input = Input::of(io::Cursor::new(text.clone())).unwrap();
        assert!(!input.is_short().unwrap());
        let mut read = Vec::new();
        while let Some(lines) = input.next().unwrap() {
            read.extend(lines.0);
        }
        assert_eq!(read, text);
    }

    #[test]
    fn who_decides_about_retries_is_not_overruled() {
        let cluster = Cluster::new("127.0.0.1:1");
        assert!(may_be_short(&cluster));
        let decided = cluster.property("acks", "1").unwrap();
        assert!(!may_be_short(&decided));
    }
}
