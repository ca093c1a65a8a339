//! The elementary functions: the only ones on the path of a result anywhere in the package.
//!
//! Each is one body of exact operations and explicit fused multiply-adds, compiled for each set of instructions (`isa`), so
//! its bits depend on the argument alone: not on the processor, not on the system's mathematical library. Every function
//! is within two units in the last place of the true value; sines and cosines within one epsilon of it, absolutely.
//! Functions of this module work on slices; those of [`scalar`] on one number, with the same bits.

mod angle;
pub(crate) mod block;
mod coefficients;
mod error_function;
mod exact;
mod exponential;
mod function;
pub mod inlined;
mod inverse;
mod logarithm;
mod normal;
mod power;
mod root;
pub mod scalar;
#[cfg(test)]
mod tests;

pub use function::{Binary, Unary};

macro_rules! forms {
    ($($name:ident $function:ident)*) => {
        $(#[doc = concat!("`out[i]` becomes `", stringify!($name), "(x[i])`.")]
        pub fn $name(x: &[f64], out: &mut [f64]) {
            Unary::$function.block(x, out);
        })*
    };
}

forms! {
    exp Exp ln Ln log10 Log10 sin Sin cos Cos tan Tan asin Asin acos Acos atan Atan sinh Sinh cosh Cosh tanh Tanh cbrt Cbrt
    erf Erf erfc Erfc ninv Ninv
}

/// `out[i]` becomes `x[i]` to the power of `y[i]`.
pub fn pow(x: &[f64], y: &[f64], out: &mut [f64]) {
    Binary::Pow.block(x, y, out);
}

/// `out[i]` becomes the angle of the point `(x[i], y[i])`.
pub fn atan2(y: &[f64], x: &[f64], out: &mut [f64]) {
    Binary::Atan2.block(y, x, out);
}
