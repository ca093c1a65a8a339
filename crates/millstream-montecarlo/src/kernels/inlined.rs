//! The bodies of the elementary functions, to be inlined into loops of your own.
//!
//! Within a loop of a [`Fill`](crate::isa::Fill) they become vector instructions. Two differ from the block forms in their
//! range: `sin` and `cos` hold below 2^40, `ninv` from 1.6e-7 to 1 - 1.6e-7.

use super::{angle, error_function, exponential, logarithm, normal, power};

macro_rules! bodies {
    ($($name:ident $body:path;)*) => {
        $(#[doc = concat!("`", stringify!($name), "(x)`.")]
        #[inline(always)]
        pub fn $name(x: f64) -> f64 {
            $body(x)
        })*
    };
}

bodies! {
    exp exponential::exp;
    ln logarithm::ln;
    sin angle::sin;
    cos angle::cos;
    erf error_function::erf;
    ninv normal::ninv;
}

/// `x` to the power of `y`.
#[inline(always)]
pub fn pow(x: f64, y: f64) -> f64 {
    power::pow(x, y)
}
