//! A value that requests look at all the time, and that a change replaces whole.
//!
//! Changes come one after the other, and each is on the disk before it holds. Whoever looks meanwhile sees the value of before and waits for
//! no disk: the lock of the value is held for a pointer's exchange only.

use std::sync::{Arc, Mutex, PoisonError, RwLock};

use crate::log::lock;

/// The value as it is now.
#[derive(Debug)]
pub(crate) struct Current<T> {
    value: RwLock<Arc<T>>,
    /// Held as long as a change takes.
    changing: Mutex<()>,
}

impl<T> Current<T> {
    pub(crate) fn new(value: T) -> Current<T> {
        Current {
            value: RwLock::new(Arc::new(value)),
            changing: Mutex::default(),
        }
    }

    /// What holds now; a change does not alter what this has returned.
    pub(crate) fn get(&self) -> Arc<T> {
        Arc::clone(&self.value.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces the value by what `change` makes of it and has stored; `None` leaves it as it is.
    pub(crate) fn change<E>(
        &self,
        change: impl FnOnce(&T) -> Result<Option<T>, E>,
    ) -> Result<(), E> {
        let _changing = lock(&self.changing);
        if let Some(changed) = change(&self.get())? {
            *self.value.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(changed);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_looks_does_not_wait_for_a_change_and_sees_what_held_before() {
        let current = Current::new(1);
        let changed = current.change(|now| {
            assert_eq!((*now, *current.get()), (1, 1));
            Ok::<_, ()>(Some(now + 1))
        });
        assert_eq!((changed, *current.get()), (Ok(()), 2));
    }

    #[test]
    fn a_change_that_fails_or_changes_nothing_leaves_the_value() {
        let current = Current::new(1);
        assert_eq!(current.change(|_| Err("full")), Err("full"));
        assert_eq!(current.change(|_| Ok::<_, ()>(None)), Ok(()));
        assert_eq!(*current.get(), 1);
    }
}
