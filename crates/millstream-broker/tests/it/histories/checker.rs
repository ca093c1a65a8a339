//! Finds in a history what contradicts the promises of a broker. A history without violations is one that the promises allow.
//!
//! One reader of each level is the reference; the others must agree with it offset by offset, so every rule is held for all of them.

use std::collections::{BTreeMap, BTreeSet};

use super::history::{History, Id, Level, Name, Outcome, Reading, Sighting, Transaction};

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Violation {
    /// A reader of committed records sees some records of a transaction and not others.
    Torn(Id),
    /// The commit of a transaction was acknowledged, and its records are not there.
    Lost(Id),
    /// A reader of committed records sees records of a transaction that was not committed.
    Risen(Id),
    /// A record stands in the log more than once.
    Twice(Name),
    /// A record that nobody wrote.
    Stranger(Name),
    /// In one partition, a copier's records do not stand in the order in which they were sent.
    Disorder { before: Name, after: Name },
    /// A reader was given offsets of a partition out of order.
    Backwards(Sighting),
    /// Two readers of one level have seen different records.
    Disagreement(Sighting),
    /// A reader of committed records has what a reader of all records has not.
    Unwritten(Sighting),
    /// A record was acknowledged and is not at its offset.
    Vanished(Sighting),
    /// The transactions that a copier's readers see do not cover its source without gap and overlap.
    Source { id: Id, wanted: u64 },
    /// The group's offset is not the end of the last transaction that is seen.
    Offset {
        copier: u32,
        committed: u64,
        seen: u64,
    },
    /// The group's offset was once one that no transaction that is seen has committed, or went back.
    Observed { copier: u32, offset: u64 },
}

pub(super) fn check(history: &History) -> Vec<Violation> {
    let mut found = Vec::new();
    for reading in &history.readings {
        found.extend(backwards(reading));
    }
    let committed = reference(history, Level::Committed, &mut found);
    let all = reference(history, Level::Uncommitted, &mut found);
    found.extend(
        committed
            .iter()
            .filter(|one| !all.contains(one))
            .map(|one| Violation::Unwritten(*one)),
    );
    let vanished = history.acknowledged.iter().filter(|one| !all.contains(one));
    found.extend(vanished.map(|one| Violation::Vanished(*one)));
    found.extend(twice(&all));
    found.extend(disorder(&all));
    let seen = names_by_transaction(&committed);
    found.extend(strangers(history, &all));
    for transaction in &history.transactions {
        found.extend(wholeness(transaction, seen.get(&transaction.id)));
    }
    for (copier, offsets) in &history.offsets {
        found.extend(agreement(history, &seen, *copier, offsets));
    }
    found
}

fn backwards(reading: &Reading) -> Option<Violation> {
    let mut last = BTreeMap::new();
    let late = reading.sightings.iter().find(|one| {
        let before = last.insert(one.partition, one.offset);
        before.is_some_and(|before| before >= one.offset)
    });
    late.map(|one| Violation::Backwards(*one))
}

/// What the first reader of a level saw; the others must have seen the same.
fn reference(history: &History, level: Level, found: &mut Vec<Violation>) -> BTreeSet<Sighting> {
    let mut of_level = history.readings.iter().filter(|of| of.level == level);
    let places = |of: &Reading| -> BTreeSet<Sighting> { of.sightings.iter().copied().collect() };
    let first = of_level.next().map(places).unwrap_or_default();
    for other in of_level {
        let other = places(other);
        found.extend(
            first
                .symmetric_difference(&other)
                .next()
                .map(|one| Violation::Disagreement(*one)),
        );
    }
    first
}

fn twice(all: &BTreeSet<Sighting>) -> Vec<Violation> {
    let mut names = BTreeSet::new();
    let again = all.iter().filter(|one| !names.insert(one.name));
    again.map(|one| Violation::Twice(one.name)).collect()
}

/// Holds for all records, since a copier sends through one connection, and its successor is there only when its
/// predecessor can write no more.
fn disorder(all: &BTreeSet<Sighting>) -> Vec<Violation> {
    let mut last: BTreeMap<(i32, u32), Name> = BTreeMap::new();
    let mut found = Vec::new();
    for one in all {
        if let Some(before) = last.insert((one.partition, one.name.copier), one.name)
            && before > one.name
        {
            found.push(Violation::Disorder {
                before,
                after: one.name,
            });
        }
    }
    found
}

type Seen = BTreeMap<Id, BTreeSet<u64>>;

fn names_by_transaction(committed: &BTreeSet<Sighting>) -> Seen {
    let mut seen = Seen::new();
    for one in committed {
        seen.entry(one.name.id()).or_default().insert(one.name.item);
    }
    seen
}

fn strangers(history: &History, all: &BTreeSet<Sighting>) -> Vec<Violation> {
    let known: BTreeMap<Id, _> = history
        .transactions
        .iter()
        .map(|one| (one.id, &one.items))
        .collect();
    let strange = all.iter().filter(|one| {
        let items = known.get(&one.name.id());
        !items.is_some_and(|items| items.contains(&one.name.item))
    });
    strange.map(|one| Violation::Stranger(one.name)).collect()
}

fn wholeness(transaction: &Transaction, seen: Option<&BTreeSet<u64>>) -> Option<Violation> {
    let id = transaction.id;
    let whole = seen.is_some_and(|seen| transaction.items.clone().eq(seen.iter().copied()));
    match (transaction.outcome, seen.is_some()) {
        (Outcome::Aborted, true) => Some(Violation::Risen(id)),
        (Outcome::Committed, false) => Some(Violation::Lost(id)),
        (_, true) if !whole => Some(Violation::Torn(id)),
        _ => None,
    }
}

/// Records and offsets of one copier tell the same story.
fn agreement(history: &History, seen: &Seen, copier: u32, offsets: &[u64]) -> Vec<Violation> {
    let of_copier = history.transactions.iter().filter(|one| one.id.0 == copier);
    let mut visible: Vec<&Transaction> =
        of_copier.filter(|one| seen.contains_key(&one.id)).collect();
    visible.sort_by_key(|one| one.id);
    let mut found = Vec::new();
    let mut end = 0;
    let mut ends = BTreeSet::from([0]);
    for one in visible {
        if one.items.start != end {
            found.push(Violation::Source {
                id: one.id,
                wanted: end,
            });
        }
        end = one.items.end;
        ends.insert(end);
    }
    let committed = offsets.last().copied().unwrap_or(0);
    if committed != end {
        found.push(Violation::Offset {
            copier,
            committed,
            seen: end,
        });
    }
    let mut newest = 0;
    for offset in offsets {
        if *offset < newest || !ends.contains(offset) {
            found.push(Violation::Observed {
                copier,
                offset: *offset,
            });
        }
        newest = newest.max(*offset);
    }
    found
}
