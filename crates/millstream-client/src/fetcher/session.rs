//! Fetch sessions (KIP-227): a broker remembers what is fetched, so that a request names only what has changed.
//!
//! What the broker has is known here exactly, or not at all: after a lost answer, or an error of the session, the next request names everything
//! again. A partition that a session forgot would fall silent without an error.

use std::collections::BTreeMap;

use super::Place;

/// What a broker knows of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) offset: i64,
    pub(super) leader_epoch: i32,
}

/// The session with one broker.
#[derive(Debug, Default)]
pub(super) struct Session {
    id: i32,
    /// Counts the requests of the session; 0 names everything and begins another one.
    epoch: i32,
    known: BTreeMap<Place, Part>,
}

/// What a request says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) id: i32,
    pub(super) epoch: i32,
    pub(super) changed: Vec<(Place, Part)>,
    pub(super) forgotten: Vec<Place>,
}

impl Session {
    /// The next request, for exactly these partitions.
    pub(super) fn say(&mut self, wanted: BTreeMap<Place, Part>) -> Said {
        let full = self.epoch == 0;
        let news = |place: &Place, part: &Part| full || self.known.get(place) != Some(part);
        let changed = wanted.iter().filter(|(place, part)| news(place, part));
        let gone = self
            .known
            .keys()
            .filter(|place| !wanted.contains_key(place));
        let said = Said {
            id: self.id,
            epoch: self.epoch,
            changed: changed.map(|(place, part)| (*place, *part)).collect(),
            forgotten: gone.filter(|_| !full).copied().collect(),
        };
        self.known = wanted;
        said
    }

    /// The broker has answered, and named its session; 0 if it keeps none.
    pub(super) fn answered(&mut self, id: i32) {
        self.epoch = match (self.epoch, id) {
            (_, 0) => 0,
            (0, _) => 1,
            (epoch, id) if id == self.id => epoch.checked_add(1).unwrap_or(1),
            _ => 0,
        };
        self.id = id;
    }

    /// What the broker knows is not known any more. The next request ends its session and begins another.
    pub(super) fn reset(&mut self) {
        self.epoch = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Topic;

    fn parts(parts: &[(i32, i64)]) -> BTreeMap<Place, Part> {
        let part = |(partition, offset): &(i32, i64)| {
            let part = Part {
                offset: *offset,
                leader_epoch: 0,
            };
            ((Topic(0), *partition), part)
        };
        parts.iter().map(part).collect()
    }

    fn said(session: &mut Session, wanted: &[(i32, i64)]) -> (i32, i32, Vec<(i32, i64)>, Vec<i32>) {
        let said = session.say(parts(wanted));
        let changed = said
            .changed
            .iter()
            .map(|(place, part)| (place.1, part.offset));
        let forgotten = said.forgotten.iter().map(|place| place.1);
        (said.id, said.epoch, changed.collect(), forgotten.collect())
    }

    #[test]
    fn a_session_names_what_has_changed_and_what_is_gone() {
        let mut session = Session::default();
        let all = vec![(0, 5), (1, 5)];
        assert_eq!(said(&mut session, &all), (0, 0, all.clone(), vec![]));
        session.answered(77);
        assert_eq!(
            said(&mut session, &[(0, 6), (1, 5)]),
            (77, 1, vec![(0, 6)], vec![])
        );
        session.answered(77);
        assert_eq!(
            said(&mut session, &[(1, 5), (2, 0)]),
            (77, 2, vec![(2, 0)], vec![0])
        );
        session.answered(77);
        assert_eq!(
            said(&mut session, &[(1, 5), (2, 0)]),
            (77, 3, vec![], vec![])
        );
    }

    #[test]
    fn after_a_lost_answer_everything_is_named_again() {
        let mut session = Session::default();
        let all = vec![(0, 5), (1, 5)];
        session.say(parts(&all));
        session.answered(77);
        session.say(parts(&[(1, 5)]));
        session.reset();
        assert_eq!(said(&mut session, &all), (77, 0, all.clone(), vec![]));
        session.answered(78);
        assert_eq!(said(&mut session, &all), (78, 1, vec![], vec![]));
    }

    #[test]
    fn a_broker_that_keeps_no_session_is_told_everything_each_time() {
        let mut session = Session::default();
        let all = vec![(0, 5), (1, 5)];
        for _ in 0..3 {
            assert_eq!(said(&mut session, &all), (0, 0, all.clone(), vec![]));
            session.answered(0);
        }
    }
}
