//! Faults that somebody's tests ask for: the n-th request of an API is lost, delayed, or answered late or not at all.
//!
//! A plan is a function from a request to its fault. Without one nothing is counted and nothing is slower. What the broker's own tests
//! plant in files is not here.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::api;
use crate::frame::Header;

/// A request that has come, before it is answered.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Asked<'a> {
    /// The API by Kafka's name: "Fetch", "Produce", "JoinGroup".
    pub api: &'a str,
    /// The version of the request.
    pub version: i16,
    /// What the client calls itself.
    pub client_id: Option<&'a str>,
    /// Which request of this API it is since the broker was started, from 1 on.
    pub number: u64,
}

/// What happens to a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// It is answered.
    #[default]
    None,
    /// Its connection is closed, and nothing is done.
    Close,
    /// It is done, and its connection is closed instead of an answer.
    Lost,
    /// It is done at once and answered after so long: a client that gives up before sends again what was done.
    Late(Duration),
    /// It is done and answered after so long, as if it had been on its way.
    Delayed(Duration),
}

type Plan = dyn Fn(&Asked<'_>) -> Fault + Send + Sync;

/// Which requests fail how.
///
/// ```
/// use millstream_broker::{Config, Fault, Faults};
///
/// let mut config = Config::ephemeral("/tmp/millstream");
/// // The first record is stored, and its producer does not hear of it.
/// config.faults = Faults::new(|asked| match (asked.api, asked.number) {
///     ("Produce", 1) => Fault::Lost,
///     _ => Fault::None,
/// });
/// ```
#[derive(Clone, Default)]
pub struct Faults(Option<Arc<Plan>>);

impl Faults {
    /// Faults by a plan, which is asked for each request.
    pub fn new(plan: impl Fn(&Asked<'_>) -> Fault + Send + Sync + 'static) -> Faults {
        Faults(Some(Arc::new(plan)))
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Faults").field(&self.0.is_some()).finish()
    }
}

/// The plan of a running broker, with its counts.
#[derive(Debug)]
pub(crate) struct Planned {
    faults: Faults,
    counts: Mutex<HashMap<i16, u64>>,
}

impl Planned {
    pub(crate) fn new(faults: &Faults) -> Planned {
        Planned {
            faults: faults.clone(),
            counts: Mutex::default(),
        }
    }

    /// What is to happen to a request.
    pub(crate) fn of(&self, header: &Header) -> Fault {
        let Some(plan) = &self.faults.0 else {
            return Fault::None;
        };
        let number = {
            let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
            let count = counts.entry(header.key).or_default();
            *count += 1;
            *count
        };
        let served = api::table().find(|served| served.key as i16 == header.key);
        plan(&Asked {
            api: served.map_or("", |served| served.name),
            version: header.version,
            client_id: header.client_id.as_ref().map(|id| id.as_str()),
            number,
        })
    }
}
