//! What is integrated: the part of a job that never changes while it runs.
//!
//! A plan and a wave decide every bit of a result. The plan's digest names it in answers, on topics and in checkpoints; a worker whose
//! numerics are of another version refuses it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::domain::Domain;
use crate::{Error, NUMERICS};

/// What is integrated where, and from which seed the samples come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// A formula, or `@name` of a registered function.
    pub expression: String,
    /// The values of the formula's named parameters.
    pub params: BTreeMap<String, f64>,
    /// Where.
    pub domain: Domain,
    /// What every random number is derived from.
    pub seed: u64,
    /// The version of the arithmetic, [`NUMERICS`] of the program that made the plan.
    pub numerics: u32,
}

impl Plan {
    /// Its name.
    pub fn digest(&self) -> Digest {
        Digest::of(self)
    }

    /// Refuses a plan of another version of the arithmetic.
    ///
    /// # Errors
    /// [`Error::Numerics`] with both versions.
    pub const fn check(&self) -> Result<(), Error> {
        if self.numerics == NUMERICS {
            Ok(())
        } else {
            Err(Error::Numerics {
                wanted: self.numerics,
                here: NUMERICS,
            })
        }
    }
}
