//! What a worker holds: a slot for each partition of a topic, a unit with the state for each partition number.
//!
//! With several inputs, the slots of equal number share one unit, because their records meet in one state. A slot is found
//! by input and partition number, without hashing, and by the token of a delivery report. Each slot has an epoch that
//! changes when it is released or replayed: a report of an older epoch is not about anything that still is.

use std::collections::BTreeMap;

use crate::clock::Moment;
use crate::error::Error;
use crate::log::Token;
use crate::metrics::PartitionMeters;
use crate::topic::{NextOffset, Offset, Partition, TopicPartition};

use super::narrowing::Narrowing;
use super::refused::RefusedRecords;
use super::retry::Parked;
use super::watermark::{REPORTED_BITS, Ring};

/// The number of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SlotId(u16);

/// A place in the ring of a slot, as long as the slot is not released or replayed. Unlike a token it is never ambiguous: a record
/// may be kept open for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PlaceId {
    slot: SlotId,
    epoch: u16,
    number: u64,
}

impl PlaceId {
    /// A place of no slot: for a context without a worker.
    pub(crate) const fn without_slot(number: u64) -> Self {
        Self {
            number,
            ..Self::NOWHERE
        }
    }

    /// No place of any slot.
    pub(crate) const NOWHERE: Self = Self {
        slot: SlotId(u16::MAX),
        epoch: u16::MAX,
        number: u64::MAX,
    };
}

/// What a token carries beside slot and place: which target the effect went to.
const TARGET_BITS: u32 = 8;

/// The most topics a service may write to, dead-letter topics included.
pub(crate) const MOST_TARGETS: usize = 1 << TARGET_BITS;

/// The rest of a token is the epoch: 4,096 replays before one could be taken for another.
const EPOCH_BITS: u32 = 64 - 16 - TARGET_BITS - REPORTED_BITS;

/// Above these bits of a token is what the records of a slot share until it is released or replayed.
pub(crate) const SHARED: u32 = TARGET_BITS + REPORTED_BITS;

/// One assigned partition of one input.
pub(crate) struct Slot {
    pub(crate) id: SlotId,
    pub(crate) input: usize,
    pub(crate) source: TopicPartition,
    pub(crate) ring: Ring,
    pub(crate) positions: Positions,
    /// Records whose effects the cluster will never take; failed as such when they come again.
    pub(crate) refused: RefusedRecords,
    /// A batch with records of this slot was refused.
    pub(crate) narrowing: Option<Narrowing>,
    /// Its service wants nothing of it for now.
    pub(crate) paused: bool,
    pub(crate) activity: Activity,
    /// Records kept open that are done once the effects of a place here are acknowledged.
    pub(crate) closing: BTreeMap<u64, Vec<PlaceId>>,
    pub(crate) meters: PartitionMeters,
    epoch: u16,
}

/// Where a slot stands beside what its ring knows.
#[derive(Default)]
pub(crate) struct Positions {
    /// Where reading began: up to there all is done, or none of this group's.
    pub(crate) begins: Option<NextOffset>,
    /// The first record seen: where a replay starts while nothing is done yet.
    pub(crate) first: Option<Offset>,
    /// The last record that a handler has seen: those before it only come again.
    pub(crate) seen: Option<Offset>,
    pub(crate) committed: Option<NextOffset>,
    pub(crate) start: StartOfGroup,
    /// The first record that came while the unit was held: where reading goes on afterwards.
    pub(crate) missed: Option<Offset>,
}

/// Whether it is fixed where a group begins. No record is handled before it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum StartOfGroup {
    /// By what is committed, or by where the cluster has its first record.
    #[default]
    Fixed,
    /// Not yet: nobody says where the partition ends.
    Unknown,
    /// Not yet: it is known, and still to be committed.
    Uncommitted,
}

/// Whether a slot moves.
#[derive(Default)]
pub(crate) struct Activity {
    /// When its last record came, or when it could first give one.
    pub(crate) moved: Moment,
    /// It has records and gives none.
    pub(crate) stalled: bool,
    /// Its end when it was last asked for.
    pub(crate) end: Option<NextOffset>,
}

/// The state of one partition number.
pub(crate) struct Unit<S> {
    pub(crate) state: S,
    pub(crate) slots: Vec<SlotId>,
    pub(crate) hold: Hold,
    /// Where the group begins in one of its slots is not fixed: no record is taken, whatever `hold` waits for.
    pub(crate) is_starting: bool,
    /// Replays since the watermark last moved.
    pub(crate) rewinds: u32,
    /// Of each timer.
    pub(crate) ticks: Vec<Tick>,
}

/// When a timer of a unit is called.
#[derive(Clone, Copy)]
pub(crate) struct Tick {
    pub(crate) due: Moment,
    /// A batch with effects of the unit's timers was refused: it is called when nothing else is under way, so that the next refusal is
    /// its own.
    pub(crate) is_suspect: bool,
}

/// Why a unit takes no records at the moment.
pub(crate) enum Hold {
    /// It does.
    Free,
    /// A record waits for its retry.
    Retry(Box<Parked>),
    /// A batch was refused: the next group of records waits until the one before is acknowledged.
    Group,
    /// An effect was refused; the partition is read again from its watermark once what came before is acknowledged.
    Refused,
    /// A delivery failed; the partition is read again from its watermark.
    Rewind(Moment),
    /// An effect that must not be given up cannot be written: stopped for good, for an operator to see why.
    Halted(Box<Error>),
    /// It is about to be given away.
    Draining,
}

impl<S> Unit<S> {
    /// Whether it takes records.
    pub(crate) const fn is_free(&self) -> bool {
        matches!(self.hold, Hold::Free) && !self.is_starting
    }
}

impl Slot {
    /// The token of an effect of place `number` that goes to target number `target`.
    pub(crate) fn token(&self, number: u64, target: usize) -> Token {
        let epoch = u64::from(self.epoch) & ((1 << EPOCH_BITS) - 1);
        let target = (target as u64) & ((1 << TARGET_BITS) - 1);
        let number = number & ((1 << REPORTED_BITS) - 1);
        let upper = u64::from(self.id.0) << EPOCH_BITS | epoch;
        Token((upper << TARGET_BITS | target) << REPORTED_BITS | number)
    }

    /// The place that the next record takes.
    pub(crate) const fn next_place(&self) -> PlaceId {
        PlaceId {
            slot: self.id,
            epoch: self.epoch,
            number: self.ring.next(),
        }
    }

    /// An effect of the place `number` is acknowledged; what it closes thereby goes to `closed`. Whether a dead letter is written.
    pub(crate) fn acknowledge(&mut self, number: u64, closed: &mut Vec<PlaceId>) -> bool {
        let is_written = self.ring.acknowledge(number);
        if !self.closing.is_empty() && !self.ring.is_under_way(number) {
            closed.extend(self.closing.remove(&number).unwrap_or_default());
        }
        is_written
    }

    /// Forgets the place `number` and all after it, and that they were to close others: their effects will never be acknowledged.
    pub(crate) fn end_before(&mut self, number: u64) {
        self.ring.end_before(number);
        self.closing.split_off(&number);
    }

    /// Whether records that are kept open are done once the effects of the place `number` are acknowledged.
    pub(crate) fn closes(&self, number: u64) -> bool {
        self.closing.contains_key(&number)
    }

    /// A record that was kept open is done.
    pub(crate) fn close(&mut self, place: PlaceId) {
        self.ring.close(place.number);
    }

    /// Where to read from to process again all that is not done.
    pub(crate) fn restart(&self) -> Option<NextOffset> {
        let first = self.positions.first.map(NextOffset::at);
        self.ring.watermark().or(first)
    }

    /// Whether it is still to be fixed where the group begins.
    pub(crate) fn is_starting(&self) -> bool {
        self.positions.start != StartOfGroup::Fixed
    }

    /// What is done and not yet known to be committed.
    pub(crate) fn to_commit(&self) -> Option<NextOffset> {
        let done = self.ring.watermark()?;
        (self.positions.committed != Some(done)).then_some(done)
    }

    /// The group begins at `offset`, which is to be committed before a record is handled. What came before is handled if it is at
    /// hand, and changes nothing of that.
    pub(crate) fn begin_at(&mut self, offset: NextOffset) {
        self.ring.begin_at(offset);
        self.positions.committed = None;
        self.positions.start = StartOfGroup::Uncommitted;
    }

    /// Forgets what is under way; its reports will find nothing.
    pub(crate) fn forget(&mut self) {
        self.ring.clear();
        self.closing.clear();
        self.positions.missed = None;
        self.epoch = self.epoch.wrapping_add(1);
    }
}

/// All slots and units of a worker.
pub(crate) struct Table<S> {
    slots: Vec<Option<Slot>>,
    /// The next epoch of each slot number, so that a new holder never takes an old one's reports.
    epochs: Vec<u16>,
    /// By input, then by partition number.
    index: Vec<Vec<Option<SlotId>>>,
    units: Vec<Option<Unit<S>>>,
}

impl<S> Table<S> {
    pub(crate) fn new(inputs: usize) -> Self {
        Self {
            slots: Vec::new(),
            epochs: Vec::new(),
            index: (0..inputs).map(|_| Vec::new()).collect(),
            units: Vec::new(),
        }
    }

    /// The slot of partition `partition` of input `input`.
    pub(crate) fn find(&self, input: usize, partition: Partition) -> Option<SlotId> {
        *self.index.get(input)?.get(number(partition)?)?
    }

    pub(crate) fn slot(&self, id: SlotId) -> Option<&Slot> {
        self.slots.get(usize::from(id.0))?.as_ref()
    }

    pub(crate) fn slot_mut(&mut self, id: SlotId) -> Option<&mut Slot> {
        self.slots.get_mut(usize::from(id.0))?.as_mut()
    }

    /// A slot and the unit it belongs to.
    pub(crate) fn slot_and_unit(&mut self, id: SlotId) -> Option<(&mut Slot, &mut Unit<S>)> {
        let slot = self.slots.get_mut(usize::from(id.0))?.as_mut()?;
        let unit = self
            .units
            .get_mut(number(slot.source.partition)?)?
            .as_mut()?;
        Some((slot, unit))
    }

    /// The slot a report is about and the number of its place; `None` when it comes too late.
    pub(crate) fn reported(&mut self, token: Token) -> Option<(&mut Slot, u64)> {
        let [a, b, ..] = token.0.to_be_bytes();
        let slot = self.slot_mut(SlotId(u16::from_be_bytes([a, b])))?;
        let bits = token.0 & ((1 << REPORTED_BITS) - 1);
        let number = slot.ring.reported(bits);
        (slot.token(number, target_of(token)) == token).then_some((slot, number))
    }

    /// The slot of a place; `None` when it was released or replayed since.
    pub(crate) fn slot_of(&mut self, place: PlaceId) -> Option<&mut Slot> {
        let slot = self.slot_mut(place.slot)?;
        (slot.epoch == place.epoch).then_some(slot)
    }

    pub(crate) fn unit(&self, partition: Partition) -> Option<&Unit<S>> {
        self.units.get(number(partition)?)?.as_ref()
    }

    /// The slots of a partition number.
    pub(crate) fn slots_of(&self, partition: Partition) -> Vec<SlotId> {
        self.unit(partition)
            .map_or_else(Vec::new, |unit| unit.slots.clone())
    }

    pub(crate) fn unit_mut(&mut self, partition: Partition) -> Option<&mut Unit<S>> {
        self.units.get_mut(number(partition)?)?.as_mut()
    }

    /// The partition numbers held.
    pub(crate) fn units(&self) -> impl Iterator<Item = (Partition, &Unit<S>)> {
        let units = self.units.iter().zip(0..);
        units.filter_map(|(unit, number)| Some((Partition(number), unit.as_ref()?)))
    }

    pub(crate) fn slots(&self) -> impl Iterator<Item = &Slot> {
        self.slots.iter().flatten().inspect(|_| visited())
    }

    pub(crate) fn slots_mut(&mut self) -> impl Iterator<Item = &mut Slot> {
        self.slots.iter_mut().flatten().inspect(|_| visited())
    }

    /// Whether records of a slot are to be taken now.
    pub(crate) fn wants(&self, slot: &Slot) -> bool {
        let unit = self.unit(slot.source.partition);
        !slot.paused && unit.is_some_and(Unit::is_free)
    }

    /// The partitions of a unit that its service wants to read, by name.
    pub(crate) fn wanted(&self, partition: Partition) -> Vec<TopicPartition> {
        let slots = self.unit(partition).map_or(&[][..], |unit| &unit.slots);
        let slots = slots.iter().filter_map(|id| self.slot(*id));
        slots
            .filter(|slot| !slot.paused)
            .map(|slot| slot.source.clone())
            .collect()
    }

    /// The partitions of a unit, by name.
    pub(crate) fn sources(&self, partition: Partition) -> Vec<TopicPartition> {
        let slots = self.unit(partition).map_or(&[][..], |unit| &unit.slots);
        let slots = slots.iter().filter_map(|id| self.slot(*id));
        slots.map(|slot| slot.source.clone()).collect()
    }

    /// Takes a partition in; `unit` has the state if this is the first of its number.
    pub(crate) fn insert(
        &mut self,
        input: usize,
        source: TopicPartition,
        meters: PartitionMeters,
        unit: Option<Unit<S>>,
    ) -> Option<SlotId> {
        let number = number(source.partition)?;
        let id = self.free()?;
        grown(&mut self.units, number, || None);
        let holder = self.units.get_mut(number)?;
        *holder = holder.take().or(unit);
        holder.as_mut()?.slots.push(id);
        let partitions = self.index.get_mut(input)?;
        grown(partitions, number, || None);
        *partitions.get_mut(number)? = Some(id);
        let epoch = *self.epochs.get(usize::from(id.0))?;
        *self.slots.get_mut(usize::from(id.0))? = Some(Slot {
            id,
            input,
            source,
            ring: Ring::default(),
            positions: Positions::default(),
            refused: RefusedRecords::default(),
            narrowing: None,
            paused: false,
            activity: Activity::default(),
            closing: BTreeMap::new(),
            meters,
            epoch,
        });
        Some(id)
    }

    /// Gives a partition away; the state goes with the last of its number.
    pub(crate) fn remove(&mut self, id: SlotId) -> Option<Slot> {
        let slot = self.slots.get_mut(usize::from(id.0))?.take()?;
        *self.epochs.get_mut(usize::from(id.0))? = slot.epoch.wrapping_add(1);
        let number = number(slot.source.partition)?;
        *self.index.get_mut(slot.input)?.get_mut(number)? = None;
        let holder = self.units.get_mut(number)?;
        if let Some(unit) = holder {
            unit.slots.retain(|other| *other != id);
            if unit.slots.is_empty() {
                *holder = None;
            }
        }
        Some(slot)
    }

    fn free(&mut self) -> Option<SlotId> {
        let taken = self.slots.iter().position(Option::is_none);
        let index = taken.unwrap_or(self.slots.len());
        let id = SlotId(u16::try_from(index).ok()?);
        grown(&mut self.slots, index, || None);
        grown(&mut self.epochs, index, || 0);
        Some(id)
    }
}

#[cfg(test)]
thread_local! {
    /// How many slots were looked at one after the other: what must not grow with the square of the partitions.
    pub(crate) static VISITED: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

fn visited() {
    #[cfg(test)]
    VISITED.set(VISITED.get() + 1);
}

/// The target an effect went to.
pub(crate) const fn target_of(token: Token) -> usize {
    (token.0 >> REPORTED_BITS & ((1 << TARGET_BITS) - 1)) as usize
}

fn number(partition: Partition) -> Option<usize> {
    usize::try_from(partition.0).ok()
}

/// Makes `index` exist.
fn grown<T>(list: &mut Vec<T>, index: usize, empty: impl FnMut() -> T) {
    if list.len() <= index {
        list.resize_with(index + 1, empty);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::metrics::Meters;

    fn insert(table: &mut Table<u32>, input: usize, topic: &str, partition: i32) -> SlotId {
        let source = TopicPartition::new(topic, Partition(partition));
        let meters = Meters::new(&Arc::from("s"), 0, &[]).partition(&source);
        let unit = Some(Unit {
            state: 0,
            slots: Vec::new(),
            hold: Hold::Free,
            is_starting: false,
            rewinds: 0,
            ticks: Vec::new(),
        });
        table.insert(input, source, meters, unit).unwrap()
    }

    #[test]
    fn equal_numbers_of_two_inputs_share_one_state() {
        let mut table = Table::new(2);
        let a = insert(&mut table, 0, "a", 3);
        let b = insert(&mut table, 1, "b", 3);
        table.slot_and_unit(a).unwrap().1.state = 7;
        assert_eq!(table.slot_and_unit(b).unwrap().1.state, 7);
        table.remove(a).unwrap();
        assert_eq!(table.unit(Partition(3)).unwrap().state, 7);
        table.remove(b).unwrap();
        assert!(table.unit(Partition(3)).is_none());
    }

    /// Takes a place for an effect to target 3; its token.
    fn occupied(table: &mut Table<u32>, id: SlotId) -> Token {
        let slot = table.slot_mut(id).unwrap();
        let number = slot.ring.push(None, 1, false);
        slot.token(number, 3)
    }

    #[test]
    fn a_token_carries_the_target_of_its_effect() {
        let mut table = Table::new(1);
        let id = insert(&mut table, 0, "a", 0);
        assert_eq!(target_of(occupied(&mut table, id)), 3);
        let slot = table.slot(id).unwrap();
        assert_eq!(target_of(slot.token(u64::MAX, MOST_TARGETS - 1)), 255);
    }

    #[test]
    fn a_report_of_an_earlier_holder_finds_nothing() {
        let mut table = Table::new(1);
        let first = insert(&mut table, 0, "a", 0);
        let old = occupied(&mut table, first);
        table.remove(first).unwrap();
        let second = insert(&mut table, 0, "a", 1);
        assert_eq!(first, second, "the slot number is used again");
        assert!(table.reported(old).is_none());
        let new = occupied(&mut table, second);
        assert_eq!(
            table.reported(new).map(|(slot, number)| (slot.id, number)),
            Some((second, 0))
        );
        table.slot_mut(second).unwrap().forget();
        assert!(table.reported(new).is_none());
    }

    #[test]
    fn a_partition_that_is_not_held_is_not_found() {
        let mut table = Table::new(1);
        insert(&mut table, 0, "a", 2);
        assert_eq!(table.find(0, Partition(1)), None);
        assert_eq!(table.find(0, Partition(9)), None);
        assert_eq!(table.find(1, Partition(2)), None);
        assert_eq!(table.find(0, Partition(-1)), None);
    }
}
