//! The names of all functions and operators that a formula can have, each with its body for one number.
//!
//! A body is inlined into block loops (`block`) and into the scalar forms; there is no second copy of any mathematics, so
//! both give the same bits. Comparisons give 1 or 0. A nan in gives a nan out, except through a comparison.

use super::block::{Block, Lane, Of, OneOf, PairOf, by_blocks, map, zip};
use super::{angle, error_function, exponential, inverse, logarithm, normal, power, root};
use crate::isa::dispatch;

/// The body of a function of one number.
pub(crate) trait One {
    /// The value at `x`. Where [`One::rare`] holds, anything.
    fn at(x: f64) -> f64;

    /// Whether `x` is one of the arguments that only [`One::slow`] knows.
    #[inline(always)]
    fn rare(_: f64) -> bool {
        false
    }

    /// The value at a rare argument.
    fn slow(x: f64) -> f64 {
        Self::at(x)
    }
}

/// The body of a function of two numbers.
pub(crate) trait Two {
    /// The value at `(x, y)`.
    fn at(x: f64, y: f64) -> f64;
}

macro_rules! unary {
    ($($name:ident $word:literal $at:path $(, rare $rare:path, $slow:path)?;)*) => {
        /// A function of one number.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[expect(missing_docs, reason = "each is the function of its name")]
        pub enum Unary { $($name,)* }

        $(pub(crate) struct $name;
        impl One for $name {
            #[inline(always)]
            fn at(x: f64) -> f64 { $at(x) }
            $(#[inline(always)]
            fn rare(x: f64) -> bool { $rare(x) }
            fn slow(x: f64) -> f64 { $slow(x) })?
        })*

        impl Unary {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// As it is written in a formula.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }

            /// The value at `x`, the same bits as of the block form.
            pub fn scalar(self, x: f64) -> f64 {
                match self { $(Self::$name => dispatch(OneOf(x, Of::<$name>::NEW)),)* }
            }

            /// `out[i]` becomes the value at `x[i]`.
            pub fn block(self, x: &[f64], out: &mut [f64]) {
                by_blocks(x, x, out, |x, _, out| self.whole(x, out));
            }

            /// As `block`, of one block.
            pub(crate) fn whole(self, x: &Block, out: &mut Block) {
                match self { $(Self::$name => map::<$name>(x, out),)* }
            }
        }
    };
}

unary! {
    Neg "-" simple::neg;
    Abs "abs" f64::abs;
    Sqrt "sqrt" f64::sqrt;
    Floor "floor" f64::floor;
    Ceil "ceil" f64::ceil;
    Sign "sign" simple::sign;
    Exp "exp" exponential::exp;
    Ln "ln" logarithm::ln;
    Log10 "log10" logarithm::log10;
    Sin "sin" angle::sin, rare angle::far, angle::sin_far;
    Cos "cos" angle::cos, rare angle::far, angle::cos_far;
    Tan "tan" angle::tan, rare angle::far, angle::tan_far;
    Asin "asin" inverse::asin;
    Acos "acos" inverse::acos;
    Atan "atan" inverse::atan;
    Sinh "sinh" exponential::sinh;
    Cosh "cosh" exponential::cosh;
    Tanh "tanh" exponential::tanh;
    Cbrt "cbrt" root::cbrt;
    Erf "erf" error_function::erf;
    Erfc "erfc" error_function::erfc;
    Ninv "ninv" normal::ninv, rare normal::rare, normal::slow;
}

macro_rules! binary {
    ($($name:ident $word:literal $at:path;)*) => {
        /// A function of two numbers, or an operator.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[expect(missing_docs, reason = "each is the function or operator of its name")]
        pub enum Binary { $($name,)* }

        $(pub(crate) struct $name;
        impl Two for $name {
            #[inline(always)]
            fn at(x: f64, y: f64) -> f64 { $at(x, y) }
        })*

        impl Binary {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// As it is written in a formula.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }

            /// The value at `(x, y)`, the same bits as of the block form.
            pub fn scalar(self, x: f64, y: f64) -> f64 {
                match self { $(Self::$name => dispatch(PairOf(x, y, Of::<$name>::NEW)),)* }
            }

            /// `out[i]` becomes the value at `(x[i], y[i])`.
            pub fn block(self, x: &[f64], y: &[f64], out: &mut [f64]) {
                by_blocks(x, y, out, |x, y, out| self.whole(x, y, out));
            }

            /// As `block`, of one block; either side may be one number.
            pub(crate) fn whole<X: Lane, Y: Lane>(self, x: X, y: Y, out: &mut Block) {
                match self { $(Self::$name => zip::<$name, X, Y>(x, y, out),)* }
            }
        }
    };
}

binary! {
    Add "+" simple::add;
    Sub "-" simple::sub;
    Mul "*" simple::mul;
    Div "/" simple::div;
    Pow "^" power::pow;
    Min "min" simple::min;
    Max "max" simple::max;
    Atan2 "atan2" inverse::atan2;
    Lt "<" simple::lt;
    Le "<=" simple::le;
    Gt ">" simple::gt;
    Ge ">=" simple::ge;
    Eq "==" simple::eq;
    Ne "!=" simple::ne;
}

/// What one instruction does.
mod simple {
    macro_rules! operators {
        ($($name:ident $operator:tt)*) => {
            $(#[inline(always)]
            pub(super) fn $name(x: f64, y: f64) -> f64 { x $operator y })*
        };
    }
    operators! { add + sub - mul * div / }

    macro_rules! comparisons {
        ($($name:ident $operator:tt)*) => {
            $(#[inline(always)]
            pub(super) fn $name(x: f64, y: f64) -> f64 { if x $operator y { 1.0 } else { 0.0 } })*
        };
    }
    comparisons! { lt < le <= gt > ge >= eq == ne != }

    #[inline(always)]
    pub(super) fn neg(x: f64) -> f64 {
        -x
    }

    /// -1, 1, or `x` itself when it is a zero or nan.
    #[inline(always)]
    pub(super) fn sign(x: f64) -> f64 {
        let above = if x > 0.0 { 1.0 } else { x };
        if x < 0.0 { -1.0 } else { above }
    }

    /// `y` when equal; nan when either is.
    #[inline(always)]
    pub(super) fn min(x: f64, y: f64) -> f64 {
        let least = if x < y { x } else { y };
        if x.is_nan() { x } else { least }
    }

    /// `y` when equal; nan when either is.
    #[inline(always)]
    pub(super) fn max(x: f64, y: f64) -> f64 {
        let most = if x > y { x } else { y };
        if x.is_nan() { x } else { most }
    }
}
