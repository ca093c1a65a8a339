//! Which record a worker's handler has at the moment, for another thread to look at.
//!
//! A handler that does not return says nothing by itself: its thread is in it. So the worker notes each call where the thread
//! that watches it can read it, without a lock and without a look at a clock: who watches sees the same call again and
//! measures the time itself. One thread writes; the number of calls is odd while a handler runs and is written last, so a
//! reader that finds it unchanged around its look has read one call.

use std::sync::atomic::{AtomicI32, AtomicI64, AtomicU64, AtomicUsize, Ordering, fence};

use crate::topic::{Offset, Partition};

/// Stands for no offset: a timer's call.
const TIMER: i64 = -1;

/// Stands for no offset: a state is made.
const INIT: i64 = -2;

/// What is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Called {
    /// A handler, with this record.
    Handler(Offset),
    Timer,
    /// What makes the state of a partition.
    Init,
}

/// The call that is being made, if one is.
#[derive(Debug, Default)]
pub(crate) struct Handling {
    calls: AtomicU64,
    input: AtomicUsize,
    partition: AtomicI32,
    offset: AtomicI64,
}

/// One call of a handler or timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    /// No two calls of a worker have the same.
    pub(crate) number: u64,
    pub(crate) input: usize,
    pub(crate) partition: Partition,
    pub(crate) called: Called,
}

impl Handling {
    /// A call is about to be made.
    pub(crate) fn begin(&self, input: usize, partition: Partition, called: Called) {
        self.input.store(input, Ordering::Relaxed);
        self.partition.store(partition.0, Ordering::Relaxed);
        let offset = match called {
            Called::Handler(offset) => offset.get(),
            Called::Timer => TIMER,
            Called::Init => INIT,
        };
        self.offset.store(offset, Ordering::Relaxed);
        self.next();
    }

    /// It has returned.
    pub(crate) fn end(&self) {
        self.next();
    }

    fn next(&self) {
        let calls = self.calls.load(Ordering::Relaxed);
        self.calls.store(calls.wrapping_add(1), Ordering::Release);
    }

    /// The call that is being made.
    pub(crate) fn look(&self) -> Option<Call> {
        let number = self.calls.load(Ordering::Acquire);
        let offset = self.offset.load(Ordering::Relaxed);
        let call = Call {
            number,
            input: self.input.load(Ordering::Relaxed),
            partition: Partition(self.partition.load(Ordering::Relaxed)),
            called: match offset {
                TIMER => Called::Timer,
                INIT => Called::Init,
                offset => Called::Handler(Offset::new(offset)),
            },
        };
        fence(Ordering::Acquire);
        let is_whole = self.calls.load(Ordering::Relaxed) == number;
        (number % 2 == 1 && is_whole).then_some(call)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_seen_while_it_is_made_and_not_after() {
        let handling = Handling::default();
        assert_eq!(handling.look(), None);
        let called = Called::Handler(Offset::new(17));
        handling.begin(1, Partition(3), called);
        let first = handling.look().unwrap();
        assert_eq!(
            (first.input, first.partition, first.called),
            (1, Partition(3), called)
        );
        assert_eq!(handling.look(), Some(first));
        handling.end();
        assert_eq!(handling.look(), None);
        for called in [Called::Timer, Called::Init] {
            handling.begin(1, Partition(3), called);
            let second = handling.look().unwrap();
            assert_eq!(second.called, called);
            assert_ne!(second.number, first.number);
            handling.end();
        }
    }
}
