//! Waiting for new records: a fetch registers one `Waiter` on all its partitions, looks again, then waits.
//!
//! A wake-up between registering and waiting is kept by the waiter, so none is lost:
//! register, read (too little), append wakes, wait returns at once, read again.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

/// One who waits, on any number of partitions at once.
#[derive(Debug, Default)]
pub(crate) struct Waiter {
    notify: Notify,
}

impl Waiter {
    pub(crate) fn new() -> Arc<Waiter> {
        Arc::default()
    }

    /// Completes when one of the partitions changed since the last wait.
    pub(crate) async fn wait(&self) {
        self.notify.notified().await;
    }

    fn wake(&self) {
        self.notify.notify_one();
    }
}

/// Those who wait for one partition.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    count: AtomicUsize,
    list: Mutex<Vec<Arc<Waiter>>>,
}

impl Waiters {
    pub(crate) fn register(self: &Arc<Waiters>, waiter: &Arc<Waiter>) -> Registration {
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        list.push(Arc::clone(waiter));
        self.count.store(list.len(), Ordering::SeqCst);
        Registration {
            waiters: Arc::clone(self),
            waiter: Arc::clone(waiter),
        }
    }

    /// Wakes all; they look for themselves whether it is enough for them.
    pub(crate) fn wake(&self) {
        if self.count.load(Ordering::SeqCst) > 0 {
            self.list
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .iter()
                .for_each(|waiter| waiter.wake());
        }
    }
}

/// Keeps a waiter registered until it is dropped.
#[derive(Debug)]
#[must_use = "the waiter is forgotten when this is dropped"]
pub(crate) struct Registration {
    waiters: Arc<Waiters>,
    waiter: Arc<Waiter>,
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut list = self
            .waiters
            .list
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = list
            .iter()
            .position(|waiter| Arc::ptr_eq(waiter, &self.waiter))
        {
            list.swap_remove(place);
        }
        self.waiters.count.store(list.len(), Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_wake_up_before_the_wait_is_not_lost() {
        let waiters = Arc::new(Waiters::default());
        let waiter = Waiter::new();
        let registration = waiters.register(&waiter);
        waiters.wake();
        waiter.wait().await;
        drop(registration);
        assert_eq!(waiters.list.lock().unwrap().len(), 0);
        assert_eq!(waiters.count.load(Ordering::SeqCst), 0);
    }
}
