//! The checker finds each kind of broken promise, planted into a history that keeps them all.

use super::checker::{Violation, check};
use super::history::{History, Level, Name, Outcome, Reading, Sighting, Transaction};

const SEEDS: u64 = 50;
const PARTITIONS: i32 = 3;

/// A history as a broker that keeps its promises makes it: transactions of three copiers, one after the other, of which some abort and some
/// are committed without a word of it. The first two transactions are committed and have at least two records.
fn kept(seed: u64) -> History {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut history = History::default();
    let (mut all, mut committed) = (Vec::new(), Vec::new());
    let (mut ends, mut next) = ([0; 3], [0_u64; 3]);
    for number in 0..40 {
        let copier = if number < 2 { 0 } else { random.u32(0..3) };
        let at = copier as usize;
        let items = next[at]..next[at] + random.u64(2..6);
        let (outcome, visible) = match random.u32(0..4) {
            _ if number < 2 => (Outcome::Committed, true),
            0 => (Outcome::Aborted, false),
            1 => (Outcome::Unknown, random.bool()),
            _ => (Outcome::Committed, true),
        };
        for item in items.clone() {
            let partition = random.i32(0..PARTITIONS);
            let end = &mut ends[usize::try_from(partition).unwrap()];
            let name = Name {
                copier,
                transaction: number,
                item,
            };
            let sighting = Sighting {
                partition,
                offset: *end,
                name,
            };
            *end += 1;
            all.push(sighting);
            committed.extend(visible.then_some(sighting));
        }
        // The marker.
        ends.iter_mut().for_each(|end| *end += 1);
        let offsets = history.offsets.entry(copier).or_default();
        if visible {
            next[at] = items.end;
            offsets.push(items.end);
        } else {
            offsets.push(next[at]);
        }
        history.transactions.push(Transaction {
            id: (copier, number),
            items,
            outcome,
        });
    }
    history.acknowledged = all.clone();
    for (level, sightings) in [(Level::Committed, &committed), (Level::Uncommitted, &all)] {
        for _ in 0..2 {
            history.readings.push(Reading {
                level,
                sightings: sightings.clone(),
            });
        }
    }
    history
}

/// Plants something into many histories; each time the checker must find this.
fn finds(plant: impl Fn(&mut History, &mut fastrand::Rng), is_it: impl Fn(&Violation) -> bool) {
    for seed in 0..SEEDS {
        let mut history = kept(seed);
        plant(&mut history, &mut fastrand::Rng::with_seed(seed));
        let found = check(&history);
        assert!(found.iter().any(&is_it), "seed {seed}: {found:?}");
    }
}

/// Changes what all readers of a level saw, in the same way.
fn readings(history: &mut History, level: Level, change: impl Fn(&mut Vec<Sighting>)) {
    let of_level = history.readings.iter_mut().filter(|of| of.level == level);
    of_level.for_each(|of| change(&mut of.sightings));
}

fn both(history: &mut History, change: impl Fn(&mut Vec<Sighting>)) {
    readings(history, Level::Committed, &change);
    readings(history, Level::Uncommitted, &change);
}

/// One of the transactions with this outcome.
fn one_of(history: &History, outcome: Outcome, random: &mut fastrand::Rng) -> Transaction {
    let of_outcome = history
        .transactions
        .iter()
        .filter(|one| one.outcome == outcome);
    let all: Vec<&Transaction> = of_outcome.collect();
    all[random.usize(..all.len())].clone()
}

#[test]
fn a_history_that_keeps_all_promises_has_no_violation() {
    for seed in 0..SEEDS {
        assert_eq!(check(&kept(seed)), [], "seed {seed}");
    }
}

#[test]
fn a_transaction_of_which_a_record_is_missing_is_found() {
    finds(
        |history, random| {
            let one = one_of(history, Outcome::Committed, random);
            let item = random.u64(one.items.clone());
            both(history, |seen| {
                seen.retain(|of| (of.name.id(), of.name.item) != (one.id, item))
            });
        },
        |found| matches!(found, Violation::Torn(_)),
    );
}

#[test]
fn a_committed_transaction_that_is_not_seen_is_found() {
    finds(
        |history, random| {
            let one = one_of(history, Outcome::Committed, random);
            readings(history, Level::Committed, |seen| {
                seen.retain(|of| of.name.id() != one.id)
            });
        },
        |found| matches!(found, Violation::Lost(_)),
    );
}

#[test]
fn an_aborted_transaction_that_is_seen_is_found() {
    finds(
        |history, random| {
            let one = one_of(history, Outcome::Aborted, random);
            let all = history.readings[2].sightings.clone();
            readings(history, Level::Committed, |seen| {
                seen.clone_from(&all);
                seen.retain(|of| of.name.id() == one.id);
            });
        },
        |found| matches!(found, Violation::Risen(_)),
    );
}

#[test]
fn a_record_that_stands_in_the_log_twice_is_found() {
    finds(
        |history, random| {
            let again = history.readings[0].sightings[random.usize(..4)];
            both(history, |seen| {
                seen.push(Sighting {
                    offset: 1000,
                    ..again
                })
            });
        },
        |found| matches!(found, Violation::Twice(_)),
    );
}

#[test]
fn a_record_that_nobody_wrote_is_found() {
    finds(
        |history, _| {
            let name = Name {
                copier: 1,
                transaction: 1000,
                item: 0,
            };
            both(history, |seen| {
                seen.push(Sighting {
                    partition: 0,
                    offset: 1000,
                    name,
                })
            });
        },
        |found| matches!(found, Violation::Stranger(_)),
    );
}

#[test]
fn records_of_a_copier_out_of_order_are_found() {
    finds(
        |history, _| {
            let first = history.readings[0].sightings[0];
            let last = |one: &Sighting| {
                one.partition == first.partition && one.name.id() != first.name.id()
            };
            let other = *history.readings[0]
                .sightings
                .iter()
                .rfind(|one| last(one) && one.name.copier == 0)
                .unwrap();
            both(history, |seen| {
                for one in seen {
                    if one.name == first.name {
                        one.name = other.name;
                    } else if one.name == other.name {
                        one.name = first.name;
                    }
                }
            });
        },
        |found| matches!(found, Violation::Disorder { .. }),
    );
}

#[test]
fn a_reader_that_is_given_records_again_is_found() {
    finds(
        |history, random| {
            let reading = &mut history.readings[random.usize(..4)].sightings;
            let again = reading[random.usize(..reading.len())];
            reading.push(again);
        },
        |found| matches!(found, Violation::Backwards(_)),
    );
}

#[test]
fn a_reader_that_misses_a_record_which_another_has_is_found() {
    finds(
        |history, random| {
            let reading = &mut history.readings[random.usize(..4)].sightings;
            reading.remove(random.usize(..reading.len()));
        },
        |found| matches!(found, Violation::Disagreement(_)),
    );
}

#[test]
fn a_committed_record_that_is_not_in_the_log_is_found() {
    finds(
        |history, random| {
            let one = history.readings[0].sightings[random.usize(..4)];
            readings(history, Level::Uncommitted, |seen| {
                seen.retain(|of| *of != one)
            });
        },
        |found| matches!(found, Violation::Unwritten(_)),
    );
}

#[test]
fn an_acknowledged_record_that_is_gone_is_found() {
    finds(
        |history, random| {
            let one = one_of(history, Outcome::Aborted, random);
            both(history, |seen| seen.retain(|of| of.name.id() != one.id));
        },
        |found| matches!(found, Violation::Vanished(_)),
    );
}

/// As of a producer whose commit counted after its successor had begun.
#[test]
fn items_that_two_transactions_have_written_are_found() {
    finds(
        |history, _| history.transactions[1].items.start -= 1,
        |found| matches!(found, Violation::Source { .. }),
    );
}

#[test]
fn records_without_their_offset_are_found() {
    finds(
        |history, _| {
            for offset in history.offsets.get_mut(&0).unwrap() {
                *offset = 0;
            }
        },
        |found| matches!(found, Violation::Offset { .. }),
    );
}

#[test]
fn an_offset_that_goes_back_is_found() {
    finds(
        |history, _| history.offsets.get_mut(&0).unwrap().insert(1, 0),
        |found| matches!(found, Violation::Observed { .. }),
    );
}

#[test]
fn an_offset_of_no_committed_transaction_is_found() {
    finds(
        |history, _| {
            let offsets = history.offsets.get_mut(&0).unwrap();
            let between = offsets[0] - 1;
            offsets.insert(0, between);
        },
        |found| matches!(found, Violation::Observed { .. }),
    );
}
