//! How long a request keeps a thread busy, which is what a quota `request_percentage` is about.
//!
//! A request that waits, for records or for the other members of its group, keeps none busy: only the time in which its future is polled counts,
//! waits for the disk included.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// The time of the request that a connection is handling.
#[derive(Debug)]
pub(crate) struct Handling {
    origin: Instant,
    /// Nanoseconds that its earlier polls have taken.
    spent: AtomicU64,
    /// When the poll that goes on now began, in nanoseconds since `origin`.
    began: AtomicU64,
}

impl Default for Handling {
    fn default() -> Handling {
        Handling {
            origin: Instant::now(),
            spent: AtomicU64::new(0),
            began: AtomicU64::new(0),
        }
    }
}

impl Handling {
    /// Does the work of the next request.
    pub(super) async fn measure<F: Future>(&self, work: F) -> F::Output {
        self.spent.store(0, Ordering::Relaxed);
        let mut work = pin!(work);
        std::future::poll_fn(|context| {
            let began = self.now();
            self.began.store(began, Ordering::Relaxed);
            let polled = work.as_mut().poll(context);
            self.spent.fetch_add(self.now() - began, Ordering::Relaxed);
            polled
        })
        .await
    }

    /// What the request has taken until now; asked from inside of what is measured.
    pub(super) fn time(&self) -> Duration {
        let now = self.now() - self.began.load(Ordering::Relaxed);
        Duration::from_nanos(self.spent.load(Ordering::Relaxed) + now)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_before_and_after_a_wait_counts() {
        let handling = Handling::default();
        let spin = || {
            let before = handling.now();
            while handling.now() < before + 2_000_000 {}
        };
        let time = handling.measure(async {
            spin();
            tokio::task::yield_now().await;
            spin();
            handling.time()
        });
        assert!(time.await >= Duration::from_millis(4));
        // The next request begins at zero.
        let next = handling.measure(async { handling.spent.load(Ordering::Relaxed) });
        assert_eq!(next.await, 0);
    }
}
