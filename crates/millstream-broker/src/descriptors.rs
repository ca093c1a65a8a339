//! The descriptors of this process that segments hold, and how they are given back when there are none left.
//!
//! A segment opens its file when it is used and keeps it open for the next time. Half of what the system allows this process
//! (`RLIMIT_NOFILE`) may be kept so; beyond, the one that has not been used for longest is closed, and opened again on demand. When the system
//! refuses a descriptor all the same, for connections take them too, idle files are closed and it is asked again. Indexes, checkpoints
//! and the like are open only while they are read or written.
//!
//! The limit is the process's, so this is too: several brokers in one process share it.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, Weak};

use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

use crate::log::lock;

/// Files that one refusal closes, so that not every open after it is refused too.
const AT_ONCE: usize = 16;
/// Kept open whatever the limit is: the fewest that still help.
const LEAST: usize = 8;

static KEPT: LazyLock<Descriptors> = LazyLock::new(|| {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    Descriptors::new(usize::try_from(limit / 2).unwrap_or(usize::MAX))
});

/// A file that is open as long as it is used.
#[derive(Debug, Default)]
pub(crate) struct Slot(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    file: Option<Counted>,
    /// Whether it was used since somebody looked for what can be closed.
    used: bool,
    /// Whether it stands in the queue.
    queued: bool,
}

/// An open file, which is one of those that are kept open.
#[derive(Debug)]
struct Counted {
    file: Arc<File>,
    open: Arc<AtomicUsize>,
}

impl Counted {
    fn new(file: File, open: &Arc<AtomicUsize>) -> Counted {
        open.fetch_add(1, Ordering::Relaxed);
        Counted {
            file: Arc::new(file),
            open: Arc::clone(open),
        }
    }

    /// A reader has it in its hands: closing it would free nothing.
    fn is_held(&self) -> bool {
        Arc::strong_count(&self.file) > 1
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Slot {
    /// The file, opened if it is not open.
    pub(crate) fn file(&self, open: impl Fn() -> io::Result<File>) -> io::Result<Arc<File>> {
        KEPT.file(self, open)
    }

    /// Closes the file if nobody asked for it since the last call.
    pub(crate) fn rest(&self) {
        let mut state = lock(&self.0);
        if !std::mem::take(&mut state.used) {
            state.file = None;
        }
    }

    /// Closes the file until it is asked for again.
    pub(crate) fn close(&self) {
        lock(&self.0).file = None;
    }
}

/// Asks the system for a descriptor, again as long as idle files can be closed for it.
pub(crate) fn with_descriptor<T>(open: impl Fn() -> io::Result<T>) -> io::Result<T> {
    KEPT.with_descriptor(open)
}

/// Closes idle files; returns whether there were any.
pub(crate) fn close_idle() -> bool {
    KEPT.close_oldest(AT_ONCE) > 0
}

/// Whether the system has no descriptor left, for this process or for all.
pub(crate) fn is_out(error: &io::Error) -> bool {
    let code = Errno::from_io_error(error);
    matches!(code, Some(Errno::MFILE | Errno::NFILE))
}

/// The files that are kept open.
struct Descriptors {
    most: usize,
    open: Arc<AtomicUsize>,
    /// In the order in which they were opened, or looked at and found in use.
    queue: Mutex<VecDeque<Weak<Mutex<State>>>>,
}

impl Descriptors {
    fn new(most: usize) -> Descriptors {
        Descriptors {
            most: most.max(LEAST),
            open: Arc::default(),
            queue: Mutex::default(),
        }
    }

    fn file(&self, slot: &Slot, open: impl Fn() -> io::Result<File>) -> io::Result<Arc<File>> {
        let file = {
            let mut state = lock(&slot.0);
            state.used = true;
            if let Some(counted) = &state.file {
                return Ok(Arc::clone(&counted.file));
            }
            // Others that close files pass over this one, whose lock is held.
            let counted = Counted::new(self.with_descriptor(open)?, &self.open);
            let file = Arc::clone(&counted.file);
            state.file = Some(counted);
            if !std::mem::replace(&mut state.queued, true) {
                lock(&self.queue).push_back(Arc::downgrade(&slot.0));
            }
            file
        };
        let over = self.open.load(Ordering::Relaxed).saturating_sub(self.most);
        self.close_oldest(over);
        Ok(file)
    }

    fn with_descriptor<T>(&self, open: impl Fn() -> io::Result<T>) -> io::Result<T> {
        loop {
            match open() {
                Err(error) if is_out(&error) && self.close_oldest(AT_ONCE) > 0 => {}
                done => return done,
            }
        }
    }

    /// Closes at most `count` files, those first that have not been used for longest; returns how many.
    fn close_oldest(&self, count: usize) -> usize {
        if count == 0 {
            return 0;
        }
        let mut queue = lock(&self.queue);
        let mut closed = 0;
        // Twice: who is in use is passed over once.
        for _ in 0..queue.len() * 2 {
            if closed == count {
                break;
            }
            let Some(next) = queue.pop_front() else { break };
            let Some(slot) = next.upgrade() else { continue };
            let Ok(mut state) = slot.try_lock() else {
                queue.push_back(next);
                continue;
            };
            let held = state.file.as_ref().is_some_and(Counted::is_held);
            if std::mem::take(&mut state.used) || held {
                queue.push_back(next);
                continue;
            }
            closed += usize::from(state.file.take().is_some());
            state.queued = false;
        }
        closed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open() -> io::Result<File> {
        File::open("/dev/null")
    }

    fn is_open(slot: &Slot) -> bool {
        lock(&slot.0).file.is_some()
    }

    #[test]
    fn beyond_the_limit_the_longest_idle_file_is_closed_and_opened_again_on_demand() {
        let kept = Descriptors::new(LEAST);
        let slots: Vec<Slot> = (0..LEAST + 4).map(|_| Slot::default()).collect();
        for slot in &slots {
            kept.file(slot, open).unwrap();
            // The first one is in use all the time.
            kept.file(&slots[0], open).unwrap();
        }
        let now: Vec<bool> = slots.iter().map(is_open).collect();
        assert_eq!(now.iter().filter(|open| **open).count(), LEAST);
        assert!(now[0] && now[LEAST + 3] && !now[1]);
        kept.file(&slots[1], open).unwrap();
        assert!(is_open(&slots[1]));
        assert_eq!(kept.open.load(Ordering::Relaxed), LEAST);
    }

    #[test]
    fn a_refusal_closes_idle_files_and_asks_again() {
        let kept = Descriptors::new(100);
        let slots: Vec<Slot> = (0..20).map(|_| Slot::default()).collect();
        for slot in &slots {
            kept.file(slot, open).unwrap();
        }
        let in_use = kept.file(&slots[0], open).unwrap();
        let refusals = std::cell::Cell::new(2);
        let asked = kept.with_descriptor(|| match refusals.replace(refusals.get() - 1) {
            0 => Ok(()),
            _ => Err(Errno::MFILE.into()),
        });
        asked.unwrap();
        assert!(is_open(&slots[0]));
        assert_eq!(kept.open.load(Ordering::Relaxed), 1);
        // Nothing is left to close but what is in use.
        let refused = kept.with_descriptor(|| Err::<(), _>(Errno::MFILE.into()));
        assert!(is_out(&refused.unwrap_err()));
        drop(in_use);
    }

    #[test]
    fn a_slot_that_is_gone_is_not_counted() {
        let kept = Descriptors::new(LEAST);
        for _ in 0..1000 {
            let slot = Slot::default();
            kept.file(&slot, open).unwrap();
            slot.close();
        }
        assert_eq!(kept.open.load(Ordering::Relaxed), 0);
    }
}
