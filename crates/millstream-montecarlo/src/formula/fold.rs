//! The loops of folds: one for each form, number of terms and kind of start.
//!
//! Each is one pass over the block: all terms are loaded, the chain stays in vector registers, one result is stored.
#![expect(
    clippy::indexing_slicing,
    reason = "blocks and term lists of fixed length"
)]

use std::marker::PhantomData;

use super::program::{Fold, Form};
use crate::isa::{Fill, fill};
use crate::kernels::block::{Block, Lane};

/// One term at one point, from the values of its blocks and its numbers.
trait At {
    fn at(a: f64, b: f64, c: [f64; 3]) -> f64;
}

macro_rules! forms {
    ($($name:ident($a:ident, $b:pat, $c:ident) $value:expr;)*) => {
        $(struct $name;
        impl At for $name {
            #[inline(always)]
            fn at($a: f64, $b: f64, $c: [f64; 3]) -> f64 {
                $value
            }
        })*
    };
}

forms! {
    Scaled(a, _, c) c[0] * a;
    Line(a, _, c) c[0] * a + c[1];
    Square(a, _, c) (a + c[0]) * (a + c[0]);
    Parabola(a, _, c) (a + c[0]) * (a + c[0]) * c[1] + c[2];
}

struct Pair;

impl At for Pair {
    #[inline(always)]
    fn at(a: f64, b: f64, c: [f64; 3]) -> f64 {
        c[0] * a * b
    }
}

/// How terms are joined.
trait Join {
    fn join(a: f64, b: f64) -> f64;
}

struct Sum;

impl Join for Sum {
    #[inline(always)]
    fn join(a: f64, b: f64) -> f64 {
        a + b
    }
}

struct Product;

impl Join for Product {
    #[inline(always)]
    fn join(a: f64, b: f64) -> f64 {
        a * b
    }
}

/// A term with the blocks it reads.
type Bound<'a> = (&'a Block, &'a Block, [f64; 3]);

struct Chain<'a, S, F, J, const N: usize> {
    start: S,
    terms: [Bound<'a>; N],
    kind: PhantomData<(F, J)>,
}

impl<S: Lane, F: At, J: Join, const N: usize> Fill for Chain<'_, S, F, J, N> {
    type Target = Block;

    #[inline(always)]
    fn fill(self, out: &mut Block) {
        let Self { start, terms, .. } = self;
        for (i, out) in out.iter_mut().enumerate() {
            let mut value = start.get(i);
            for (a, b, c) in terms {
                value = J::join(value, F::at(a[i], b[i], c));
            }
            *out = value;
        }
    }
}

/// Runs `fold` with `blocks` giving what a number stands for.
pub(super) fn run<'a, S: Lane>(
    fold: &Fold,
    start: S,
    blocks: impl Fn(usize) -> &'a Block,
    out: &mut Block,
) {
    let terms = fold
        .terms
        .iter()
        .map(|term| (blocks(term.a), blocks(term.b), term.c));
    let mut bound = [(blocks(0), blocks(0), [0.0; 3]); 4];
    bound
        .iter_mut()
        .zip(terms)
        .for_each(|(to, from)| *to = from);
    let count = fold.terms.len();
    match (fold.product, fold.form) {
        (false, Form::Scaled) => counted::<S, Scaled, Sum>(start, &bound, count, out),
        (false, Form::Line) => counted::<S, Line, Sum>(start, &bound, count, out),
        (false, Form::Square) => counted::<S, Square, Sum>(start, &bound, count, out),
        (false, Form::Parabola) => counted::<S, Parabola, Sum>(start, &bound, count, out),
        (false, Form::Pair) => counted::<S, Pair, Sum>(start, &bound, count, out),
        (true, Form::Scaled) => counted::<S, Scaled, Product>(start, &bound, count, out),
        (true, Form::Line) => counted::<S, Line, Product>(start, &bound, count, out),
        (true, Form::Square) => counted::<S, Square, Product>(start, &bound, count, out),
        (true, Form::Parabola) => counted::<S, Parabola, Product>(start, &bound, count, out),
        (true, Form::Pair) => counted::<S, Pair, Product>(start, &bound, count, out),
    }
}

fn counted<S: Lane, F: At, J: Join>(
    start: S,
    terms: &[Bound<'_>; 4],
    count: usize,
    out: &mut Block,
) {
    match count {
        1 => chain::<S, F, J, 1>(start, terms, out),
        2 => chain::<S, F, J, 2>(start, terms, out),
        3 => chain::<S, F, J, 3>(start, terms, out),
        _ => chain::<S, F, J, 4>(start, terms, out),
    }
}

fn chain<S: Lane, F: At, J: Join, const N: usize>(
    start: S,
    terms: &[Bound<'_>; 4],
    out: &mut Block,
) {
    let terms = std::array::from_fn(|i| terms[i]);
    fill(
        Chain::<S, F, J, N> {
            start,
            terms,
            kind: PhantomData,
        },
        out,
    );
}
