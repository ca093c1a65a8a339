//! Formulas typed at run time, nearly as fast as compiled ones.
//!
//! `parse` turns text into nodes (`tree`), `optimise` folds and shares them without changing a bit, `compile` picks
//! instructions and registers, `machine` runs them over blocks of 256 points. Every operation rounds on its own, in the
//! order written, and gives the bits of its kernel; no rewriting depends on the processor. `if` computes both sides and
//! selects, so a nan on the side not chosen does not matter.

mod compile;
mod error;
mod fold;
mod machine;
mod names;
mod optimise;
mod parse;
mod pick;
mod program;
#[cfg(test)]
mod tests;
mod tree;

use std::collections::BTreeMap;

pub use error::FormulaError;
pub(crate) use error::nearest;

use crate::{Error, Integrand};

/// A formula, ready to be evaluated.
///
/// ```
/// use millstream_montecarlo::{Formula, Integrand};
/// let formula = Formula::parse("exp(-a*(x0^2 + x1^2)); x0", None, &[("a".into(), 2.0)].into())?;
/// assert_eq!((formula.dim(), formula.outputs()), (2, 2));
/// # Ok::<(), millstream_montecarlo::Error>(())
/// ```
#[derive(Debug)]
pub struct Formula {
    dim: usize,
    source: String,
    constant: bool,
    program: program::Program,
}

impl Formula {
    /// Reads `source`, in which `params` stand for their values. `dim` is that of the integral; without it, one more than
    /// the highest variable.
    ///
    /// # Errors
    /// [`Error::Formula`] with the place in the text; [`Error::Request`] for a dimension or a parameter that no formula
    /// could have.
    pub fn parse(
        source: &str,
        dim: Option<usize>,
        params: &BTreeMap<String, f64>,
    ) -> Result<Self, Error> {
        if let Some(dim) = dim.filter(|dim| !(1..=names::MOST_DIMENSIONS).contains(dim)) {
            let reason = format!("{dim}, expected 1 to {}", names::MOST_DIMENSIONS);
            return Err(Error::Request {
                field: "dim".into(),
                reason,
            });
        }
        names::check(params)?;
        let parsed = parse::parse(source, dim, params)?;
        let tree = optimise::optimise(&parsed.tree);
        Ok(Self {
            dim: parsed.dim,
            constant: tree.is_constant(),
            source: source.to_owned(),
            program: compile::compile(&tree, parsed.dim),
        })
    }

    /// The text it was read from.
    pub fn source(&self) -> &str {
        &self.source
    }
}

impl Integrand for Formula {
    fn dim(&self) -> usize {
        self.dim
    }

    fn outputs(&self) -> usize {
        self.program.outputs
    }

    fn is_constant(&self) -> bool {
        self.constant
    }

    fn block(&self, x: &[f64], out: &mut [f64], scratch: &mut Vec<f64>) {
        self.program.run(x, out, scratch);
    }
}
