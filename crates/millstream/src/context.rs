//! What a handler may touch: its position, the time, and the service's declared outputs.
//!
//! Effects are encoded at once, into one buffer that is reused for every record, and leave only when the handler
//! has returned `Ok`: a handler that fails half way has written nothing. What the service did not declare cannot be
//! written; trying stops the service, even if the handler drops the error. The same holds for what else a handler requests:
//! a record kept open, an input paused.

use std::sync::Arc;

use crate::clock::Clock;
use crate::codec::Encodable;
use crate::draft::{self, Draft, Place};
use crate::error::{Error, ProcessError};
use crate::record::{Headers, Timestamp};
use crate::topic::{Offset, Partition, Topic};
use crate::worker::PlaceId;

/// Passed to every handler and timer. None of its methods blocks.
pub struct Context {
    service: Arc<str>,
    outputs: Arc<[Arc<str>]>,
    clock: Arc<dyn Clock + Send + Sync>,
    effects: Effects,
    partition: Partition,
    offset: Option<Offset>,
    attempt: u32,
    /// Where the record being handled stands in its ring.
    place: PlaceId,
    requests: HandlerRequests,
    misuse: Option<Error>,
    /// Planted by a test: the next record emitted by this call is an error.
    emit_fails: bool,
}

/// A record that a handler keeps open: handled, and not yet done. See [`Context::keep_open`].
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a record that is never closed holds its partition's commits for ever"]
pub struct OpenRecord(PlaceId);

/// What a handler requests of its worker besides effects; carried out once it has returned `Ok`.
#[derive(Debug, Default)]
pub(crate) struct HandlerRequests {
    /// The record is kept open.
    pub(crate) keep_open: bool,
    /// Records kept open that are done now.
    pub(crate) closed: Vec<PlaceId>,
    /// Inputs to pause (true) or to read again, in order.
    pub(crate) pauses: Vec<(String, bool)>,
}

/// What an effect carries besides key and value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extras {
    pub(crate) headers: Headers,
    /// `None` is the time of sending.
    pub(crate) timestamp: Option<Timestamp>,
    /// `None` lets the key decide.
    pub(crate) partition: Option<Partition>,
}

impl Context {
    pub(crate) fn new(
        service: Arc<str>,
        outputs: Arc<[Arc<str>]>,
        clock: Arc<dyn Clock + Send + Sync>,
    ) -> Self {
        Self {
            service,
            outputs,
            clock,
            effects: Effects::default(),
            partition: Partition(0),
            offset: None,
            attempt: 1,
            place: PlaceId::NOWHERE,
            requests: HandlerRequests::default(),
            misuse: None,
            emit_fails: false,
        }
    }

    /// Writes a record to a declared output, once this handler has returned `Ok`. Does not block. The key and the value are
    /// what the topic declares, or what that borrows as: `"ann"` for a `String`.
    ///
    /// # Errors
    /// The key or value has no form in the topic's codec, or the topic is not declared (which also stops the service).
    pub fn emit<K, V>(
        &mut self,
        topic: &Topic<K, V>,
        key: &(impl Encodable<K> + ?Sized),
        value: &(impl Encodable<V> + ?Sized),
    ) -> Result<(), ProcessError> {
        let output = self.output(topic.name())?;
        let encoded = draft::encode(topic, key, value, &mut self.effects.bytes);
        let place = encoded.map_err(|error| ProcessError::from(error).permanent())?;
        self.effects.list.push(Effect {
            output,
            place,
            extras: None,
        });
        Ok(())
    }

    /// A record to be emitted with headers, a time or a partition: see [`Draft`].
    pub fn record<'a, K, V>(
        &'a mut self,
        topic: &'a Topic<K, V>,
        key: &(impl Encodable<K> + ?Sized),
        value: &(impl Encodable<V> + ?Sized),
    ) -> Draft<'a, &'a mut Context> {
        Draft::new(self, topic, key, value, Vec::new())
    }

    /// The partition number this state belongs to.
    pub const fn partition(&self) -> Partition {
        self.partition
    }

    /// The offset of the record being handled; `None` in a timer.
    pub const fn offset(&self) -> Option<Offset> {
        self.offset
    }

    /// The number of this attempt at the record, from 1.
    pub const fn attempt(&self) -> u32 {
        self.attempt
    }

    /// The time, from the service's clock: in the simulation it is the simulated one.
    pub fn now(&self) -> Timestamp {
        self.clock.wall()
    }

    /// Keeps the record being handled open: it is not committed, nor anything after it in its partition of its topic, until
    /// [`close`](Self::close). The next owner of the partition reads from there, so a state that is a fold over its records
    /// can be rebuilt: keep the record open from which the fold begins. In a timer it has no effect.
    pub fn keep_open(&mut self) -> OpenRecord {
        self.requests.keep_open = true;
        OpenRecord(self.place)
    }

    /// Closes a record that was kept open: it is done once the effects of this handler are acknowledged. If the cluster refuses those of
    /// a timer for good, the partition is halted.
    pub fn close(&mut self, record: OpenRecord) {
        if record.0 == self.place {
            self.requests.keep_open = false;
        } else {
            self.requests.closed.push(record.0);
        }
    }

    /// Stops reading this input in this partition until [`resume`](Self::resume); the other inputs go on. What is not
    /// read stays in the topic, so a service can bound what it holds.
    pub fn pause<K, V>(&mut self, input: &Topic<K, V>) {
        self.requests.pauses.push((input.name().to_owned(), true));
    }

    /// Ends [`pause`](Self::pause).
    pub fn resume<K, V>(&mut self, input: &Topic<K, V>) {
        self.requests.pauses.push((input.name().to_owned(), false));
    }

    /// Readies the context for one call of a handler, for the record at `place`.
    pub(crate) fn begin_at(
        &mut self,
        partition: Partition,
        offset: Offset,
        attempt: u32,
        place: PlaceId,
    ) {
        self.begin(partition, Some(offset), attempt);
        self.place = place;
    }

    /// Where the record being handled stands.
    pub(crate) const fn place(&self) -> PlaceId {
        self.place
    }

    /// What the handler requested.
    pub(crate) fn requests(&mut self) -> &mut HandlerRequests {
        &mut self.requests
    }

    /// The same, to be looked at.
    pub(crate) const fn requested(&self) -> &HandlerRequests {
        &self.requests
    }

    /// The topic of an effect.
    pub(crate) fn output_name(&self, output: usize) -> &str {
        self.outputs.get(output).map_or("", |name| name)
    }

    /// For tests: the time comes from `clock`.
    pub(crate) fn set_clock(&mut self, clock: Arc<dyn Clock + Send + Sync>) {
        self.clock = clock;
    }

    /// For tests: the next record emitted by this call of a handler is an error that a retry may cure.
    pub(crate) const fn fail_next_emit(&mut self) {
        self.emit_fails = true;
    }

    /// Readies the context for one call of a handler.
    pub(crate) fn begin(&mut self, partition: Partition, offset: Option<Offset>, attempt: u32) {
        self.effects.clear();
        self.requests.keep_open = false;
        self.requests.closed.clear();
        self.requests.pauses.clear();
        self.emit_fails = false;
        self.place = PlaceId::NOWHERE;
        self.partition = partition;
        self.offset = offset;
        self.attempt = attempt;
    }

    pub(crate) const fn effects(&self) -> &Effects {
        &self.effects
    }

    pub(crate) fn effects_mut(&mut self) -> &mut Effects {
        &mut self.effects
    }

    /// What the handler did against its declaration, if it did.
    pub(crate) fn take_misuse(&mut self) -> Option<Error> {
        self.misuse.take()
    }

    fn output(&mut self, topic: &str) -> Result<usize, ProcessError> {
        if std::mem::take(&mut self.emit_fails) {
            return Err(ProcessError::new("the test has this attempt fail"));
        }
        let output = self.outputs.iter().position(|name| **name == *topic);
        output.ok_or_else(|| self.undeclared(topic))
    }

    fn undeclared(&mut self, topic: &str) -> ProcessError {
        let error = |service: &Arc<str>| Error::UndeclaredOutput {
            service: service.to_string(),
            topic: topic.to_owned(),
        };
        self.misuse = Some(error(&self.service));
        ProcessError::from(error(&self.service)).permanent()
    }
}

impl Draft<'_, &mut Context> {
    /// Writes the record, as [`Context::emit`].
    ///
    /// # Errors
    /// As [`Context::emit`].
    pub fn emit(self) -> Result<(), ProcessError> {
        let output = self.to.output(self.topic)?;
        let encoded = self.payload;
        let payload = encoded.map_err(|error| ProcessError::from(error).permanent())?;
        let extras = Extras {
            headers: self.headers.into_owned(),
            timestamp: self.timestamp,
            partition: self.partition,
        };
        let effects = &mut self.to.effects;
        effects.push_bytes(output, payload.key(), payload.value(), extras);
        Ok(())
    }
}

/// The records a handler has emitted: one buffer of bytes, and where each record lies in it.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    bytes: Vec<u8>,
    list: Vec<Effect>,
}

/// One emitted record.
#[derive(Debug)]
pub(crate) struct Effect {
    pub(crate) output: usize,
    place: Place,
    pub(crate) extras: Option<Box<Extras>>,
}

/// A buffer that one huge record has grown is given back above this size.
const KEPT_BYTES: usize = 4 << 20;

impl Effects {
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.list.clear();
        if self.bytes.capacity() > KEPT_BYTES {
            self.bytes = Vec::new();
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    pub(crate) fn get(&self, index: usize) -> Option<&Effect> {
        self.list.get(index)
    }

    pub(crate) fn key(&self, effect: &Effect) -> Option<&[u8]> {
        self.bytes.get(effect.place.key.clone()?)
    }

    pub(crate) fn value(&self, effect: &Effect) -> Option<&[u8]> {
        self.bytes.get(effect.place.value.clone()?)
    }

    /// Adds a record whose bytes are already there.
    pub(crate) fn push_bytes(
        &mut self,
        output: usize,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        extras: Extras,
    ) {
        let mut copy = |bytes: Option<&[u8]>| {
            let start = self.bytes.len();
            self.bytes.extend_from_slice(bytes?);
            Some(start..self.bytes.len())
        };
        let key = copy(key);
        let value = copy(value);
        self.list.push(Effect {
            output,
            place: Place { key, value },
            extras: Some(Box::new(extras)),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use crate::codec::{Json, NoKey, Text};

    static OUT: Topic<String, f64> = Topic::new("out", &Text, &Json);
    static KEYLESS: Topic<(), String> = Topic::new("keyless", &NoKey, &Text);
    static OTHER: Topic<(), String> = Topic::new("other", &NoKey, &Text);

    fn context() -> Context {
        let outputs = Arc::from([Arc::from("out"), Arc::from("keyless")]);
        Context::new("service".into(), outputs, Arc::new(SystemClock::new()))
    }

    #[test]
    fn effects_lie_one_after_the_other() {
        let mut context = context();
        context.begin(Partition(1), Some(Offset::new(2)), 1);
        context.emit(&OUT, "k", &1.5).unwrap();
        context.emit(&KEYLESS, &(), "text").unwrap();
        let effects = context.effects();
        let first = effects.get(0).unwrap();
        let second = effects.get(1).unwrap();
        assert_eq!(
            (effects.key(first), effects.value(first)),
            (Some(b"k".as_slice()), Some(b"1.5".as_slice()))
        );
        assert_eq!(
            (effects.key(second), effects.value(second)),
            (None, Some(b"text".as_slice()))
        );
        assert_eq!(second.output, 1);
    }

    #[test]
    fn a_value_without_a_form_leaves_no_bytes_behind() {
        let mut context = context();
        let error = context.emit(&OUT, "k", &f64::NAN).unwrap_err();
        assert!(error.is_permanent());
        assert_eq!(context.effects().len(), 0);
        assert_eq!(context.effects().bytes, b"");
    }

    #[test]
    fn an_undeclared_output_is_remembered_even_if_the_error_is_dropped() {
        let mut context = context();
        let _ = context.emit(&OTHER, &(), "text");
        assert_eq!(
            context.take_misuse().unwrap().to_string(),
            "service `service` emitted to topic `other`, which it does not declare as an output"
        );
    }
}
