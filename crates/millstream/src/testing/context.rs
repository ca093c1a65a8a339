//! One handler alone: a context to call it with, and a look at what it did.
//!
//! There is no worker, no partitioning and no commit here: what a handler emitted is decoded by the topic's own codecs and
//! handed back. What depends on several records, on retries or on time passing is for a [`World`](super::World).

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use super::records::decode;
use crate::clock::{Clock, Moment};
use crate::context::Context;
use crate::record::{Headers, OwnedRecord, Position, Record, Timestamp};
use crate::service::Service;
use crate::topic::{Offset, Partition, Topic};
use crate::worker::PlaceId;

/// A [`Context`] to test a handler with. It is one: pass it where a handler takes `&mut Context`.
///
/// ```
/// use millstream::codec::{Json, Text};
/// use millstream::testing::TestContext;
/// use millstream::{Context, ProcessError, Record, Service, Topic};
///
/// static READINGS: Topic<String, f64> = Topic::new("readings", &Text, &Json);
/// static ALARMS: Topic<String, f64> = Topic::new("alarms", &Text, &Json);
///
/// fn on_reading(_: &mut (), reading: Record<String, f64>, context: &mut Context) -> Result<(), ProcessError> {
///     if reading.value > 90.0 {
///         context.emit(&ALARMS, &reading.key, &reading.value)?;
///     }
///     Ok(())
/// }
///
/// let service = Service::stateless("alarms").input(&READINGS, on_reading).output(&ALARMS);
/// let mut context = TestContext::of(&service);
/// let reading = context.input(&READINGS, "oven", 180.0);
/// on_reading(&mut (), reading, &mut context).unwrap();
/// let alarms = context.emitted(&ALARMS);
/// assert_eq!((alarms[0].key.as_str(), alarms[0].value), ("oven", 180.0));
/// ```
pub struct TestContext {
    context: Context,
    partition: Partition,
    attempt: u32,
    next: i64,
    time: Timestamp,
}

impl TestContext {
    /// For the handlers of `service`: they may emit to what it declares. In partition 0, at the time 0, attempt 1.
    pub fn of<S: 'static>(service: &Service<S>) -> Self {
        let (name, outputs) = service.name_and_outputs();
        let time = Timestamp::from_millis(0);
        Self {
            context: Context::new(name, outputs, Arc::new(Fixed(time))),
            partition: Partition(0),
            attempt: 1,
            next: 0,
            time,
        }
    }

    /// In this partition.
    #[must_use]
    pub fn in_partition(mut self, partition: Partition) -> Self {
        self.partition = partition;
        self.tick();
        self
    }

    /// The attempt that [`Context::attempt`] returns.
    #[must_use]
    pub fn at_attempt(mut self, attempt: u32) -> Self {
        self.attempt = attempt;
        self.tick();
        self
    }

    /// The time that [`Context::now`] returns; also that of the records.
    #[must_use]
    pub fn at_time(mut self, time: Timestamp) -> Self {
        self.time = time;
        self.context.set_clock(Arc::new(Fixed(time)));
        self
    }

    /// Begins the handling of a record, the next one of its partition, and returns it for the handler. What was emitted before
    /// is forgotten.
    pub fn input<K, V>(
        &mut self,
        topic: &Topic<K, V>,
        key: impl Into<K>,
        value: impl Into<V>,
    ) -> OwnedRecord<K, V> {
        let offset = Offset::new(self.next);
        self.next += 1;
        let place = PlaceId::without_slot(u64::try_from(offset.get()).unwrap_or(0));
        self.context
            .begin_at(self.partition, offset, self.attempt, place);
        let position = Position {
            topic: topic.name().into(),
            partition: self.partition,
            offset,
        };
        Record::new(
            key.into(),
            value.into(),
            Headers::new(),
            self.time,
            position,
        )
    }

    /// Begins the call of a timer: there is no record. What was emitted before is forgotten.
    pub fn tick(&mut self) {
        self.context.begin(self.partition, None, self.attempt);
    }

    /// What was emitted to `topic` since the last [`input`](Self::input) or [`tick`](Self::tick), in order. Offsets count from
    /// 0, and a record for which the handler chose no partition is shown in partition 0.
    ///
    /// # Panics
    /// The bytes are not what the topic's codecs read.
    #[track_caller]
    pub fn emitted<K, V>(&self, topic: &Topic<K, V>) -> Vec<OwnedRecord<K, V>> {
        let effects = self.context.effects();
        let all = (0..effects.len()).filter_map(|index| effects.get(index));
        let own = all.filter(|effect| self.context.output_name(effect.output) == topic.name());
        let records = own.zip(0..).map(|(effect, offset)| {
            let extras = effect.extras.as_deref().cloned().unwrap_or_default();
            let position = Position {
                topic: topic.name().into(),
                partition: extras.partition.unwrap_or(Partition(0)),
                offset: Offset::new(offset),
            };
            let key = decode("key", topic.key_codec(), effects.key(effect), &position);
            let value = decode(
                "value",
                topic.value_codec(),
                effects.value(effect),
                &position,
            );
            let time = extras.timestamp.unwrap_or(self.time);
            Record::new(key, value, extras.headers, time, position)
        });
        records.collect()
    }

    /// How many records were emitted since the last [`input`](Self::input) or [`tick`](Self::tick), to whatever topic.
    #[must_use]
    pub fn emitted_count(&self) -> usize {
        self.context.effects().len()
    }

    /// Whether the handler keeps the record open, by [`Context::keep_open`].
    #[must_use]
    pub fn is_kept_open(&self) -> bool {
        self.context.requested().keep_open
    }

    /// Whether the handler paused `input` (true) or resumed it (false); `None` if it did neither.
    #[must_use]
    pub fn paused<K, V>(&self, input: &Topic<K, V>) -> Option<bool> {
        let pauses = self.context.requested().pauses.iter().rev();
        let mut own = pauses.filter(|(topic, _)| topic == input.name());
        own.next().map(|(_, paused)| *paused)
    }
}

impl Deref for TestContext {
    type Target = Context;

    fn deref(&self) -> &Context {
        &self.context
    }
}

impl DerefMut for TestContext {
    fn deref_mut(&mut self) -> &mut Context {
        &mut self.context
    }
}

impl std::fmt::Debug for TestContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TestContext")
            .field("partition", &self.partition)
            .field("attempt", &self.attempt)
            .field("emitted", &self.emitted_count())
            .finish_non_exhaustive()
    }
}

/// A clock that stands still.
struct Fixed(Timestamp);

impl Clock for Fixed {
    fn now(&self) -> Moment {
        Moment::default()
    }

    fn wall(&self) -> Timestamp {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ProcessError;
    use crate::codec::{Json, Text};

    static NUMBERS: Topic<String, u64> = Topic::new("numbers", &Text, &Json);
    static DOUBLES: Topic<String, u64> = Topic::new("doubles", &Text, &Json);
    static OTHERS: Topic<String, u64> = Topic::new("others", &Text, &Json);

    fn double(
        sum: &mut u64,
        number: Record<String, u64>,
        context: &mut Context,
    ) -> Result<(), ProcessError> {
        let (own, now) = (context.partition(), context.now());
        let double = context.record(&DOUBLES, &number.key, &(2 * number.value));
        let double = double.header("try", "1").partition(own).timestamp(now);
        double.emit()?;
        *sum += number.value;
        if *sum > 10 {
            context.pause(&NUMBERS);
        }
        Ok(())
    }

    fn doubler() -> Service<u64> {
        Service::new("doubler", || 0)
            .input(&NUMBERS, double)
            .output(&DOUBLES)
    }

    #[test]
    fn what_one_call_of_a_handler_did_is_seen() {
        let context = TestContext::of(&doubler()).in_partition(Partition(3));
        let mut context = context.at_time(Timestamp::from_millis(17));
        let mut sum = 0;
        let number = context.input(&NUMBERS, "a", 7_u64);
        assert_eq!(number.position.to_string(), "numbers[3]@0");
        double(&mut sum, number, &mut context).unwrap();
        let doubles = context.emitted(&DOUBLES);
        assert_eq!(
            (doubles[0].key.as_str(), doubles[0].value, sum),
            ("a", 14, 7)
        );
        assert_eq!(doubles[0].position.partition, Partition(3));
        assert_eq!(doubles[0].headers().get("try"), Some(b"1".as_slice()));
        assert_eq!(doubles[0].timestamp.millis(), 17);
        assert_eq!(context.paused(&NUMBERS), None);

        let number = context.input(&NUMBERS, "b", 4_u64);
        assert_eq!(number.position.to_string(), "numbers[3]@1");
        double(&mut sum, number, &mut context).unwrap();
        assert_eq!(context.emitted(&DOUBLES).len(), 1);
        assert_eq!(context.paused(&NUMBERS), Some(true));
    }

    #[test]
    fn a_test_meets_the_error_of_an_output_that_is_not_declared() {
        let mut context = TestContext::of(&doubler()).at_attempt(2);
        assert_eq!((context.attempt(), context.offset()), (2, None));
        let refused = context.emit(&OTHERS, "a", &1).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "service `doubler` emitted to topic `others`, which it does not declare as an output"
        );
        assert_eq!(context.emitted_count(), 0);
    }
}
