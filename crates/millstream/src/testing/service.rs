//! A service made ready for the simulation, and its workers.
//!
//! The handlers of the declaration are wrapped so that the world's journal learns of each call and its answer, and each
//! state has a number by which the journal knows it; nothing else of the service is changed, and the worker is the one that
//! runs in production.

use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::clock::{Clock, Moment};
use crate::context::Context;
use crate::definition::{Definition, Input, Timer};
use crate::error::Error;
use crate::log::Log;
use crate::log::simulation::{
    Journal, MemberId, Requested, SimulatedLog, Simulation, Subscription,
};
use crate::service::Service;
use crate::topic::{TopicPartition, TopicSpec};
use crate::worker::{Progress, Worker};

/// A worker of any service.
pub(super) trait AnyWorker {
    fn step(&mut self) -> Result<Progress, Error>;
    fn stop(&mut self);
}

impl<S, L: Log> AnyWorker for Worker<S, L> {
    fn step(&mut self) -> Result<Progress, Error> {
        Worker::step(self, Duration::ZERO)
    }

    fn stop(&mut self) {
        Worker::stop(self);
    }
}

/// Makes worker number `n` of a service.
type Spawn = dyn Fn(&Simulation, usize) -> (MemberId, Box<dyn AnyWorker>);

/// A declared service, of which any number of workers can be started.
pub(super) struct SimulatedService {
    pub(super) name: Arc<str>,
    pub(super) group: Arc<str>,
    pub(super) topics: Vec<TopicSpec>,
    pub(super) inputs: Vec<Arc<str>>,
    pub(super) threads: usize,
    spawn: Rc<Spawn>,
}

impl SimulatedService {
    /// Validates and wraps a service; `wrap_log` wraps each worker's log.
    pub(super) fn new<S: 'static, L: Log + 'static>(
        service: Service<S>,
        journal: &Arc<Mutex<Journal>>,
        first_attempts_fail: &Arc<AtomicBool>,
        wrap_log: impl Fn(SimulatedLog) -> L + 'static,
    ) -> Result<SimulatedService, Error> {
        let definition = service.into_definition()?;
        let group: Arc<str> = definition.group.as_str().into();
        let mut definition = watch(definition, &group, journal);
        fail_first_attempts(&mut definition, first_attempts_fail);
        let definition = Arc::new(definition);
        let inputs = definition.input_names();
        let subscription = Subscription {
            group: Arc::clone(&group),
            topics: inputs.clone(),
            start: definition.settings.start,
            session_timeout: definition.settings.session_timeout,
            max_bytes_in_flight: definition.settings.max_bytes_in_flight,
        };
        let name = Arc::clone(&definition.name);
        let (topics, threads) = (definition.topics(), definition.settings.threads);
        let spawn = move |simulation: &Simulation, number: usize| {
            let log = simulation.join(subscription.clone());
            let id = log.id();
            let clock: Arc<dyn Clock + Send + Sync> = Arc::new(simulation.clock());
            let worker = Worker::new(Arc::clone(&definition), wrap_log(log), clock, number);
            (id, Box::new(worker) as Box<dyn AnyWorker>)
        };
        Ok(SimulatedService {
            name,
            group,
            topics,
            inputs,
            threads,
            spawn: Rc::new(spawn),
        })
    }

    /// Starts a worker.
    pub(super) fn start_worker(
        &self,
        simulation: &Simulation,
        service: usize,
        number: usize,
    ) -> SimulatedWorker {
        let (member, worker) = (self.spawn)(simulation, number);
        SimulatedWorker {
            service,
            number,
            member,
            worker,
            stalled_until: Moment::default(),
        }
    }
}

/// A worker that takes part in the world.
pub(super) struct SimulatedWorker {
    pub(super) service: usize,
    /// No two workers of a world have the same.
    pub(super) number: usize,
    pub(super) member: MemberId,
    pub(super) worker: Box<dyn AnyWorker>,
    pub(super) stalled_until: Moment,
}

/// A service's state with the number the journal knows it by.
struct Numbered<S> {
    state: S,
    number: u64,
}

/// Notes in the journal every state that is made, and every call of a handler or timer.
fn watch<S: 'static>(
    definition: Definition<S>,
    group: &Arc<str>,
    journal: &Arc<Mutex<Journal>>,
) -> Definition<Numbered<S>> {
    let (init, states) = (definition.init, Arc::clone(journal));
    let only_input = match &*definition.inputs {
        [input] => Some(Arc::clone(&input.topic)),
        _ => None,
    };
    let inputs = definition.inputs.into_iter();
    let timers = definition.timers.into_iter();
    Definition {
        name: definition.name,
        group: definition.group,
        init: Box::new(move || Numbered {
            state: init(),
            number: note(&states, Journal::make_state),
        }),
        inputs: inputs
            .map(|input| watch_input(input, group, journal))
            .collect(),
        outputs: definition.outputs,
        dead_letters: definition.dead_letters,
        policies: definition.policies,
        timers: timers
            .map(|timer| watch_timer(timer, group, only_input.clone(), journal))
            .collect(),
        settings: definition.settings,
    }
}

fn watch_input<S: 'static>(
    input: Input<S>,
    group: &Arc<str>,
    journal: &Arc<Mutex<Journal>>,
) -> Input<Numbered<S>> {
    let (group, journal, handle) = (Arc::clone(group), Arc::clone(journal), input.handle);
    Input {
        topic: input.topic,
        spec: input.spec,
        codecs: input.codecs,
        handle: Box::new(
            move |numbered: &mut Numbered<S>, source, message, context| {
                let offset = message.offset().get();
                note(&journal, |journal| journal.begin(&group, source, offset));
                let answer = handle(&mut numbered.state, source, message, context);
                note_end(&journal, answer.is_ok(), context);
                if answer.is_ok() {
                    note(&journal, |journal| {
                        journal.apply(numbered.number, source, offset)
                    });
                }
                answer
            },
        ),
        paused: input.paused,
    }
}

/// Has the first attempt at each record fail where the handler first emits, as long as `fail` is set.
fn fail_first_attempts<S: 'static>(definition: &mut Definition<S>, fail: &Arc<AtomicBool>) {
    let inputs = std::mem::take(&mut definition.inputs);
    let wrap = |input: Input<S>| {
        let (fail, handle) = (Arc::clone(fail), input.handle);
        Input {
            handle: Box::new(move |state, source, message, context| {
                if context.attempt() == 1 && fail.load(Ordering::Relaxed) {
                    context.fail_next_emit();
                }
                handle(state, source, message, context)
            }),
            ..input
        }
    };
    definition.inputs = inputs.into_iter().map(wrap).collect();
}

/// The effects of a timer hold the records of the first input of its partition; with several inputs that is one of them.
fn watch_timer<S: 'static>(
    timer: Timer<S>,
    group: &Arc<str>,
    input: Option<Arc<str>>,
    journal: &Arc<Mutex<Journal>>,
) -> Timer<Numbered<S>> {
    let (group, journal, tick) = (Arc::clone(group), Arc::clone(journal), timer.tick);
    Timer {
        every: timer.every,
        tick: Box::new(move |numbered: &mut Numbered<S>, context| {
            let input = input.clone();
            let held = input.map(|input| TopicPartition::new(input, context.partition()));
            note(&journal, |journal| journal.tick(&group, held));
            let answer = tick(&mut numbered.state, context);
            note_end(&journal, answer.is_ok(), context);
            answer
        }),
    }
}

/// Notes in the journal the end of a call.
fn note_end(journal: &Mutex<Journal>, succeeded: bool, context: &mut Context) {
    let (effects, place) = (context.effects().len(), context.place());
    let requests = context.requests();
    let requested = Requested {
        place,
        open: requests.keep_open,
        closed: requests.closed.clone(),
    };
    note(journal, |journal| {
        journal.end(succeeded, effects, requested)
    });
}

fn note<T>(journal: &Mutex<Journal>, change: impl FnOnce(&mut Journal) -> T) -> T {
    change(&mut journal.lock().unwrap_or_else(PoisonError::into_inner))
}
