//! Readiness that follows the cluster.
//!
//! A program that only sends reads nothing that would show it whether the broker is there: it is ready while its emitter is
//! connected. One whose processes read asks the cluster itself.

use std::thread;
use std::time::Duration;

use millstream::Shutdown;
use millstream::http::Part;

/// How often an emitter is looked at.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Does `work` while `part` is ready or not as `connected` says, asked `every` so often; as long as that is not known it stays as it is. The work itself may
/// block, so a thread beside it looks.
pub(crate) fn follow<T>(
    part: &Part,
    every: Duration,
    connected: impl Fn() -> Option<bool> + Sync,
    work: impl FnOnce() -> T,
) -> T {
    /// Ends the thread also when the work panics.
    struct Done(Shutdown);
    impl Drop for Done {
        fn drop(&mut self) {
            self.0.request();
        }
    }
    let done = Done(Shutdown::new());
    let ended = done.0.clone();
    thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.wait(every) {
                if let Some(connected) = connected() {
                    part.set_ready(connected);
                }
            }
        });
        let _done = done;
        work()
    })
}
