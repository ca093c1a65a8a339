//! Randomised Sobol points through a frozen map: the map takes the peaks away, the points do the rest.
//!
//! The same replicates, waves and error bar as without a map; the map is that of the adaptation, or a stored one, and does
//! not change any more, so that the estimate of every replicate stays unbiased.

use serde::{Deserialize, Serialize};

use super::rqmc::Rqmc;
use crate::Error;
use crate::estimate::Estimate;
use crate::map::Map;
use crate::partial::Partial;
use crate::wave::Work;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct MapRqmc(Rqmc);

impl MapRqmc {
    pub(crate) fn through(map: Map, spread: Vec<f64>) -> Self {
        Self(Rqmc::through(Some(map), spread))
    }

    pub(crate) fn next(&self, left: u64) -> Option<Work> {
        self.0.next(left)
    }

    pub(crate) fn complete(&mut self, work: &Work, whole: &Partial) -> Result<(), Error> {
        self.0.complete(work, whole)
    }

    pub(crate) fn estimate(&self) -> Estimate {
        self.0.estimate()
    }

    pub(crate) fn agree(&self) -> bool {
        self.0.agree()
    }
}
