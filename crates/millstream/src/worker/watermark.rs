//! What of a partition is done: the contiguous prefix of records whose effects the cluster has acknowledged.
//!
//! Each record handed to a handler takes a place in a ring, with the number of its effects that are still under
//! way. Effects are acknowledged in any order; the watermark moves over the acknowledged prefix only, so that
//! what is committed is always a prefix, whatever overtakes what. Committing never waits: it reads the watermark.
//!
//! A handler may keep its record open: its place then holds the watermark until the handler's state says that the record
//! is done, but nothing is under way for it, so that a drain does not wait for it.
//!
//! A place is named by a sequence number that wraps; a report for a place that is no more (the ring was cleared) is
//! kept out before, by the partition's epoch.

use std::collections::VecDeque;

use crate::topic::{NextOffset, Offset};

/// The records of one partition that are under way, and the watermark before them.
#[derive(Debug, Default)]
pub(crate) struct Ring {
    places: VecDeque<Place>,
    /// The sequence number of the first place.
    base: u32,
    watermark: Option<NextOffset>,
    /// Effects of all places that are not acknowledged.
    under_way: u64,
}

/// One record under way.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// The record; `None` for the effects of a timer, which stand between two records.
    offset: Option<Offset>,
    outstanding: u32,
    dead_letter: bool,
    /// Kept open by its handler.
    open: bool,
}

/// What a report was about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reported {
    /// The record whose effect it was; `None` for a timer's.
    pub(crate) offset: Option<Offset>,
    /// Whether the effect was the record itself on its way to the dead-letter topic.
    pub(crate) dead_letter: bool,
}

impl Ring {
    /// Takes a place for a record (or, without an offset, a timer) with `effects` effects; the sequence number names it.
    pub(crate) fn push(&mut self, offset: Option<Offset>, effects: u32, dead_letter: bool) -> u32 {
        let sequence = self.next();
        if effects == 0 && self.places.is_empty() {
            // The common case of a record without effects: done at once, no place needed.
            self.advance(offset);
            return sequence;
        }
        self.under_way += u64::from(effects);
        self.places.push_back(Place {
            offset,
            outstanding: effects,
            dead_letter,
            open: false,
        });
        sequence
    }

    /// The sequence number that the next [`push`](Self::push) will give.
    pub(crate) fn next(&self) -> u32 {
        let length = u32::try_from(self.places.len()).unwrap_or(u32::MAX);
        self.base.wrapping_add(length)
    }

    /// As [`push`](Self::push), and the watermark does not pass the place before [`close`](Self::close).
    pub(crate) fn push_open(&mut self, offset: Option<Offset>, effects: u32) -> u32 {
        let sequence = self.next();
        self.under_way += u64::from(effects);
        self.places.push_back(Place {
            offset,
            outstanding: effects,
            dead_letter: false,
            open: true,
        });
        sequence
    }

    /// A place that was kept open is done.
    pub(crate) fn close(&mut self, sequence: u32) {
        if let Some(place) = self.place_mut(sequence) {
            place.open = false;
            self.pass();
        }
    }

    /// One effect of the place `sequence` is acknowledged.
    pub(crate) fn acknowledge(&mut self, sequence: u32) {
        let Some(place) = self.place_mut(sequence) else {
            return;
        };
        if place.outstanding > 0 {
            place.outstanding -= 1;
            self.under_way = self.under_way.saturating_sub(1);
        }
        self.pass();
    }

    /// Advances over what is done at the front.
    fn pass(&mut self) {
        while let Some(first) = self.places.front() {
            if first.outstanding > 0 || first.open {
                break;
            }
            let offset = first.offset;
            self.places.pop_front();
            self.base = self.base.wrapping_add(1);
            self.advance(offset);
        }
    }

    /// What the place `sequence` stands for.
    pub(crate) fn get(&mut self, sequence: u32) -> Option<Reported> {
        self.place_mut(sequence).map(|place| Reported {
            offset: place.offset,
            dead_letter: place.dead_letter,
        })
    }

    /// Forgets the place `sequence` and all after it: the watermark will never pass it, and what came before still counts.
    pub(crate) fn end_before(&mut self, sequence: u32) {
        let index = sequence.wrapping_sub(self.base);
        self.places
            .truncate(usize::try_from(index).unwrap_or(usize::MAX));
        let left = self.places.iter().map(|place| u64::from(place.outstanding));
        self.under_way = left.sum();
    }

    /// Forgets all that is under way; the watermark stays.
    pub(crate) fn clear(&mut self) {
        self.places.clear();
        self.base = 0;
        self.under_way = 0;
    }

    /// The next offset to read once everything before it is done; `None` until the first record is done.
    pub(crate) const fn watermark(&self) -> Option<NextOffset> {
        self.watermark
    }

    /// Whether an effect of the place `sequence` is under way.
    pub(crate) fn is_under_way(&self, sequence: u32) -> bool {
        let index = usize::try_from(sequence.wrapping_sub(self.base));
        let place = index.ok().and_then(|index| self.places.get(index));
        place.is_some_and(|place| place.outstanding > 0)
    }

    /// Whether no effect is under way; records may still be kept open.
    pub(crate) const fn is_settled(&self) -> bool {
        self.under_way == 0
    }

    fn advance(&mut self, offset: Option<Offset>) {
        if let Some(offset) = offset {
            self.watermark = Some(offset.next());
        }
    }

    fn place_mut(&mut self, sequence: u32) -> Option<&mut Place> {
        let index = sequence.wrapping_sub(self.base);
        self.places.get_mut(usize::try_from(index).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(ring: &mut Ring, offset: i64, effects: u32) -> u32 {
        ring.push(Some(Offset::new(offset)), effects, false)
    }

    #[test]
    fn a_record_without_effects_is_done_at_once() {
        let mut ring = Ring::default();
        push(&mut ring, 7, 0);
        assert_eq!(ring.watermark(), Some(NextOffset::new(8)));
        assert!(ring.is_settled());
    }

    #[test]
    fn the_watermark_waits_for_the_oldest_effect() {
        let mut ring = Ring::default();
        let first = push(&mut ring, 0, 1);
        let second = push(&mut ring, 1, 2);
        push(&mut ring, 2, 0);
        ring.acknowledge(second);
        ring.acknowledge(second);
        assert_eq!(ring.watermark(), None);
        ring.acknowledge(first);
        assert_eq!(ring.watermark(), Some(NextOffset::new(3)));
        assert!(ring.is_settled());
    }

    #[test]
    fn gaps_in_the_offsets_are_no_gaps_in_the_watermark() {
        let mut ring = Ring::default();
        let first = push(&mut ring, 10, 1);
        let second = push(&mut ring, 25, 1);
        ring.acknowledge(first);
        assert_eq!(ring.watermark(), Some(NextOffset::new(11)));
        ring.acknowledge(second);
        assert_eq!(ring.watermark(), Some(NextOffset::new(26)));
    }

    #[test]
    fn a_timer_holds_the_records_after_it_and_moves_nothing() {
        let mut ring = Ring::default();
        push(&mut ring, 4, 0);
        let timer = ring.push(None, 1, false);
        push(&mut ring, 5, 0);
        assert_eq!(ring.watermark(), Some(NextOffset::new(5)));
        ring.acknowledge(timer);
        assert_eq!(ring.watermark(), Some(NextOffset::new(6)));
    }

    #[test]
    fn an_end_keeps_what_came_before() {
        let mut ring = Ring::default();
        let first = push(&mut ring, 0, 1);
        let second = push(&mut ring, 1, 1);
        push(&mut ring, 2, 0);
        ring.end_before(second);
        ring.acknowledge(second);
        ring.acknowledge(first);
        assert_eq!(ring.watermark(), Some(NextOffset::new(1)));
        assert!(ring.is_settled());
    }

    #[test]
    fn a_record_that_is_kept_open_holds_the_watermark_and_is_not_under_way() {
        let mut ring = Ring::default();
        assert_eq!(ring.next(), 0);
        let open = ring.push_open(Some(Offset::new(0)), 1);
        push(&mut ring, 1, 0);
        assert!(!ring.is_settled());
        ring.acknowledge(open);
        assert!(ring.is_settled());
        assert_eq!(ring.watermark(), None);
        ring.close(open);
        assert_eq!(ring.watermark(), Some(NextOffset::new(2)));
    }

    #[test]
    fn sequence_numbers_wrap() {
        let mut ring = Ring {
            base: u32::MAX,
            ..Ring::default()
        };
        let first = push(&mut ring, 0, 1);
        let second = push(&mut ring, 1, 1);
        assert_eq!((first, second), (u32::MAX, 0));
        ring.acknowledge(second);
        ring.acknowledge(first);
        assert_eq!(ring.watermark(), Some(NextOffset::new(2)));
    }

    #[test]
    fn a_report_for_no_place_changes_nothing() {
        let mut ring = Ring::default();
        let first = push(&mut ring, 0, 1);
        ring.acknowledge(first.wrapping_add(1));
        ring.acknowledge(first.wrapping_sub(1));
        assert_eq!(ring.watermark(), None);
        assert_eq!(
            ring.get(first),
            Some(Reported {
                offset: Some(Offset::new(0)),
                dead_letter: false
            })
        );
    }

    /// Any order of acknowledgements gives the watermark of the acknowledged prefix (seeds 0 to 99).
    #[test]
    fn any_order_of_acknowledgements_ends_at_the_same_watermark() {
        for seed in 0..100 {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut ring = Ring::default();
            let mut waiting = Vec::new();
            let mut left = std::collections::BTreeMap::new();
            for offset in 0..50 {
                let effects = random.u32(0..4);
                let place = push(&mut ring, offset, effects);
                waiting.extend((0..effects).map(|_| (place, offset)));
                left.insert(offset, effects);
                random.shuffle(&mut waiting);
                for _ in 0..random.usize(0..4) {
                    if let Some((place, offset)) = waiting.pop() {
                        ring.acknowledge(place);
                        *left.get_mut(&offset).unwrap() -= 1;
                    }
                }
                let done = left.iter().take_while(|(_, left)| **left == 0).count();
                let expected = (done > 0).then(|| NextOffset::new(done as i64));
                assert_eq!(ring.watermark(), expected, "seed {seed}, offset {offset}");
            }
        }
    }
}
