//! What of a partition is done: the contiguous prefix of records whose effects the cluster has acknowledged.
//!
//! Each record handed to a handler takes a place in a ring, with the number of its effects that are still under
//! way. Effects are acknowledged in any order; the watermark moves over the acknowledged prefix only, so that
//! what is committed is always a prefix, whatever overtakes what. Committing never waits: it reads the watermark.
//!
//! A handler may keep its record open: its place then holds the watermark until the handler's state says that the record
//! is done, but nothing is under way for it, so that a drain does not wait for it. Any number of records may be done behind it,
//! so a place that is done is merged into the one before: the ring is as large as what is under way and what is kept open.
//!
//! A place is named by its number, which is never used twice; a report carries the lower bits of it, enough for what is under
//! way. One for a place that no longer exists (the ring was cleared) is kept out before, by the partition's epoch.

use std::collections::VecDeque;

use crate::topic::{NextOffset, Offset};

/// How many bits of a place's number a report carries: more places than that are never under way at once.
pub(crate) const REPORTED_BITS: u32 = 28;

/// So many places that are done may lie behind one that is not before they are merged.
const SLACK: usize = 64;

/// The records of one partition that are under way, and the watermark before them.
#[derive(Debug, Default)]
pub(crate) struct Ring {
    /// In order; the first is never done.
    places: VecDeque<Place>,
    /// How many of them are done.
    done: usize,
    /// The number of the next place.
    next: u64,
    /// What comes before this is not on the cluster any more, or is none of the group's.
    begins: Option<NextOffset>,
    watermark: Option<NextOffset>,
    /// Effects of all places that are not acknowledged.
    under_way: u64,
}

/// One record under way.
#[derive(Clone, Copy, Debug)]
struct Place {
    number: u64,
    /// The record; `None` for the effects of a timer, which stand between two records.
    offset: Option<Offset>,
    /// The watermark when this place is done: what comes right after it may be done already.
    through: Option<NextOffset>,
    outstanding: u32,
    dead_letter: bool,
    /// Kept open by its handler.
    open: bool,
}

impl Place {
    const fn is_done(&self) -> bool {
        self.outstanding == 0 && !self.open
    }
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
    /// Takes a place for a record (or, without an offset, a timer) with `effects` effects; the number names it.
    pub(crate) fn push(&mut self, offset: Option<Offset>, effects: u32, dead_letter: bool) -> u64 {
        if effects == 0 {
            // Done at once, as soon as what came before it is: no place needed.
            let number = self.next;
            self.next += 1;
            let through = offset.map(Offset::next);
            match self.places.back_mut() {
                Some(last) => last.through = through.or(last.through),
                None => self.advance(through),
            }
            return number;
        }
        self.take_place(offset, effects, dead_letter, false)
    }

    /// The number that the next [`push`](Self::push) will give.
    pub(crate) const fn next(&self) -> u64 {
        self.next
    }

    /// As [`push`](Self::push), and the watermark does not pass the place before [`close`](Self::close).
    pub(crate) fn push_open(&mut self, offset: Option<Offset>, effects: u32) -> u64 {
        self.take_place(offset, effects, false, true)
    }

    fn take_place(
        &mut self,
        offset: Option<Offset>,
        effects: u32,
        dead_letter: bool,
        open: bool,
    ) -> u64 {
        let number = self.next;
        self.next += 1;
        self.under_way += u64::from(effects);
        self.places.push_back(Place {
            number,
            offset,
            through: offset.map(Offset::next),
            outstanding: effects,
            dead_letter,
            open,
        });
        number
    }

    /// A place that was kept open is done.
    pub(crate) fn close(&mut self, number: u64) {
        if let Some(place) = self.place_mut(number)
            && place.open
        {
            place.open = false;
            self.changed(number);
        }
    }

    /// One effect of the place `number` is acknowledged; whether a dead letter is thereby written.
    pub(crate) fn acknowledge(&mut self, number: u64) -> bool {
        let Some(place) = self.place_mut(number) else {
            return false;
        };
        if place.outstanding == 0 {
            return false;
        }
        place.outstanding -= 1;
        let is_written = place.dead_letter && place.outstanding == 0;
        self.under_way = self.under_way.saturating_sub(1);
        self.changed(number);
        is_written
    }

    /// The effects of the place `number` are not waited for any more.
    pub(crate) fn give_up(&mut self, number: u64) {
        if let Some(place) = self.place_mut(number) {
            let left = std::mem::take(&mut place.outstanding);
            self.under_way = self.under_way.saturating_sub(u64::from(left));
            if left > 0 {
                self.changed(number);
            }
        }
    }

    /// A place may be done now.
    fn changed(&mut self, number: u64) {
        if self
            .places
            .front()
            .is_some_and(|first| first.number == number)
        {
            self.pass();
        } else if self.place_mut(number).is_some_and(|place| place.is_done()) {
            self.done += 1;
            if self.done > SLACK && self.done > self.places.len() / 2 {
                self.merge();
            }
        }
    }

    /// Advances over what is done at the front.
    fn pass(&mut self) {
        let mut is_first = true;
        while let Some(first) = self.places.pop_front_if(|first| first.is_done()) {
            // The first one was never counted: it was not done while it stood there.
            self.done -= usize::from(!std::mem::take(&mut is_first));
            self.advance(first.through);
        }
    }

    /// Merges what is done into the places before.
    fn merge(&mut self) {
        let mut left: VecDeque<Place> = VecDeque::with_capacity(self.places.len() - self.done);
        for place in self.places.drain(..) {
            match left.back_mut() {
                Some(last) if place.is_done() => last.through = place.through.or(last.through),
                _ => left.push_back(place),
            }
        }
        self.places = left;
        self.done = 0;
    }

    /// What the place `number` stands for.
    pub(crate) fn get(&self, number: u64) -> Option<Reported> {
        self.place(number).map(|place| Reported {
            offset: place.offset,
            dead_letter: place.dead_letter,
        })
    }

    /// The number of a place under way, of which a report carries the lower bits.
    pub(crate) const fn reported(&self, bits: u64) -> u64 {
        let last = self.next.wrapping_sub(1);
        let mask = (1 << REPORTED_BITS) - 1;
        last.wrapping_sub(last.wrapping_sub(bits) & mask)
    }

    /// Forgets the place `number` and all after it: the watermark will never pass it, and what came before still counts.
    pub(crate) fn end_before(&mut self, number: u64) {
        let left = self.places.partition_point(|place| place.number < number);
        self.places.truncate(left);
        let places = self.places.iter();
        self.under_way = places.map(|place| u64::from(place.outstanding)).sum();
        self.done = self.places.iter().filter(|place| place.is_done()).count();
    }

    /// Forgets all that is under way; the watermark stays.
    pub(crate) fn clear(&mut self) {
        self.places.clear();
        self.done = 0;
        self.under_way = 0;
    }

    /// Begins at `offset`: the watermark is there, and records before it do not move it.
    pub(crate) const fn begin_at(&mut self, offset: NextOffset) {
        self.begins = Some(offset);
        self.watermark = Some(offset);
    }

    /// The next offset to read once everything before it is done; `None` until the first record is done, unless
    /// [`begin_at`](Self::begin_at) has set it.
    pub(crate) const fn watermark(&self) -> Option<NextOffset> {
        self.watermark
    }

    /// Whether an effect of the place `number` is under way.
    pub(crate) fn is_under_way(&self, number: u64) -> bool {
        self.place(number)
            .is_some_and(|place| place.outstanding > 0)
    }

    /// How many places have effects under way.
    pub(crate) fn count_under_way(&self) -> usize {
        let places = self.places.iter();
        places.filter(|place| place.outstanding > 0).count()
    }

    /// Whether an effect of a record up to `offset` is under way.
    pub(crate) fn is_under_way_until(&self, offset: Offset) -> bool {
        let mut places = self.places.iter();
        places.any(|place| place.outstanding > 0 && place.offset.is_some_and(|at| at <= offset))
    }

    /// Whether no effect is under way; records may still be kept open.
    pub(crate) const fn is_settled(&self) -> bool {
        self.under_way == 0
    }

    /// The memory of the places.
    #[cfg(test)]
    fn bytes(&self) -> usize {
        self.places.capacity() * size_of::<Place>()
    }

    fn advance(&mut self, through: Option<NextOffset>) {
        if through.is_some() && through >= self.begins {
            self.watermark = through;
        }
    }

    /// Where a place lies: as far from the first as its number, unless places in between were merged.
    fn index(&self, number: u64) -> Option<usize> {
        #[cfg(test)]
        LOOKED.set(LOOKED.get() + 1);
        let first = self.places.front()?.number;
        let near = usize::try_from(number.checked_sub(first)?).ok()?;
        let is_there = self
            .places
            .get(near)
            .is_some_and(|place| place.number == number);
        if is_there {
            return Some(near);
        }
        self.places
            .binary_search_by_key(&number, |place| place.number)
            .ok()
    }

    fn place(&self, number: u64) -> Option<&Place> {
        self.places.get(self.index(number)?)
    }

    fn place_mut(&mut self, number: u64) -> Option<&mut Place> {
        let index = self.index(number)?;
        self.places.get_mut(index)
    }
}

#[cfg(test)]
thread_local! {
    /// How many places were looked for: what must not grow with the square of those that are under way.
    pub(crate) static LOOKED: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(ring: &mut Ring, offset: i64, effects: u32) -> u64 {
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
    fn a_report_carries_enough_of_a_number_to_find_its_place() {
        let mask = (1 << REPORTED_BITS) - 1;
        let mut ring = Ring {
            next: mask,
            ..Ring::default()
        };
        let first = push(&mut ring, 0, 1);
        let second = push(&mut ring, 1, 1);
        assert_eq!((first & mask, second & mask), (mask, 0));
        assert_eq!(ring.reported(first & mask), first);
        assert_eq!(ring.reported(second & mask), second);
    }

    /// What lies behind a record that is kept open costs nothing once it is done, however much it is.
    #[test]
    fn the_memory_behind_an_open_record_is_bounded() {
        let mut ring = Ring::default();
        push(&mut ring, 0, 0);
        let open = ring.push_open(Some(Offset::new(1)), 0);
        for offset in 2..200_000 {
            let place = push(&mut ring, offset, u32::from(offset % 3 > 0));
            ring.acknowledge(place);
        }
        assert!(ring.bytes() < 16_384, "{} bytes", ring.bytes());
        assert_eq!(ring.watermark(), Some(NextOffset::new(1)));
        assert!(ring.is_settled());
        ring.close(open);
        assert_eq!(ring.watermark(), Some(NextOffset::new(200_000)));
    }

    /// The same with effects that stay under way: they are all there is to keep.
    #[test]
    fn places_are_found_after_others_between_them_were_merged() {
        let mut ring = Ring::default();
        let open = ring.push_open(Some(Offset::new(0)), 0);
        let mut late = Vec::new();
        for offset in 1..10_000 {
            let place = push(&mut ring, offset, 1);
            if offset % 100 == 0 {
                late.push((place, offset));
            } else {
                ring.acknowledge(place);
            }
        }
        ring.close(open);
        for (place, offset) in late {
            assert_eq!(ring.watermark(), Some(NextOffset::new(offset)));
            assert_eq!(ring.get(place).unwrap().offset, Some(Offset::new(offset)));
            ring.acknowledge(place);
        }
        assert_eq!(ring.watermark(), Some(NextOffset::new(10_000)));
    }

    #[test]
    fn a_dead_letter_is_written_when_it_is_acknowledged() {
        let mut ring = Ring::default();
        let place = ring.push(Some(Offset::new(0)), 1, true);
        assert!(ring.acknowledge(place));
        assert!(!ring.acknowledge(place), "only once");
    }

    #[test]
    fn a_report_for_no_place_changes_nothing() {
        let mut ring = Ring::default();
        let first = push(&mut ring, 0, 1);
        ring.acknowledge(first + 1);
        ring.acknowledge(u64::MAX);
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
