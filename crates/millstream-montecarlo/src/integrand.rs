//! What can be integrated: a function that is evaluated on blocks of points.
//!
//! A block is a structure of arrays, so that one instruction works on eight points at once and a formula's registers
//! stay in the first-level cache. All of a block is evaluated always; a caller with fewer points repeats one.

/// Points per block.
pub const BLOCK: usize = 256;

/// A function from `dim` coordinates to `outputs` values.
///
/// It must be a pure function of the coordinates: every worker has to get the same bits for the same point.
pub trait Integrand: Send + Sync {
    /// Coordinates of a point.
    fn dim(&self) -> usize;

    /// Values at a point; they share samples.
    fn outputs(&self) -> usize {
        1
    }

    /// Whether it is the same everywhere, and known to be so without a sample.
    fn is_constant(&self) -> bool {
        false
    }

    /// Evaluates [`BLOCK`] points. Coordinate `a` of point `i` is `x[a * BLOCK + i]`; output `o` goes to
    /// `out[o * BLOCK + i]`. `scratch` is the integrand's to use as it likes; a thread keeps it between calls.
    fn block(&self, x: &[f64], out: &mut [f64], scratch: &mut Vec<f64>);
}

/// A Rust closure of one point as an [`Integrand`] with one output.
///
/// ```
/// use millstream_montecarlo::{Closure, Integrand};
/// let product = Closure::new(2, |x| x[0] * x[1]);
/// assert_eq!(product.dim(), 2);
/// ```
pub struct Closure<F> {
    dim: usize,
    function: F,
}

impl<F: Fn(&[f64]) -> f64 + Send + Sync> Closure<F> {
    /// `function` gets the `dim` coordinates of a point.
    pub const fn new(dim: usize, function: F) -> Self {
        Self { dim, function }
    }
}

impl<F: Fn(&[f64]) -> f64 + Send + Sync> Integrand for Closure<F> {
    fn dim(&self) -> usize {
        self.dim
    }

    fn block(&self, x: &[f64], out: &mut [f64], scratch: &mut Vec<f64>) {
        for (i, value) in out.iter_mut().enumerate().take(BLOCK) {
            scratch.clear();
            scratch.extend(x.iter().skip(i).step_by(BLOCK).take(self.dim));
            *value = (self.function)(scratch);
        }
    }
}
