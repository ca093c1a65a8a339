//! The elementary functions of one number, with the bits of the block forms.
//!
//! For the few values that a map or a rule needs; a block form is many times faster per value.

use super::{Binary, Unary};

macro_rules! forms {
    ($($name:ident $function:ident)*) => {
        $(#[doc = concat!("`", stringify!($name), "(x)`, see [`Unary::", stringify!($function), "`].")]
        pub fn $name(x: f64) -> f64 {
            Unary::$function.scalar(x)
        })*
    };
}

forms! {
    exp Exp ln Ln log10 Log10 sin Sin cos Cos tan Tan asin Asin acos Acos atan Atan sinh Sinh cosh Cosh tanh Tanh cbrt Cbrt
    erf Erf erfc Erfc ninv Ninv
}

/// `x` to the power of `y`.
pub fn pow(x: f64, y: f64) -> f64 {
    Binary::Pow.scalar(x, y)
}

/// The angle of the point `(x, y)`, from -pi to pi.
pub fn atan2(y: f64, x: f64) -> f64 {
    Binary::Atan2.scalar(y, x)
}
