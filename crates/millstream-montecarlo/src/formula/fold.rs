//! The loops of folds: one for each form, number of terms and kind of start.
//!
//! Each is one pass over the block: all terms are loaded, the chain stays in vector registers, one result is stored.
#![expect(
    clippy::indexing_slicing,
    reason = "blocks and term lists of fixed length"
)]

use std::marker::PhantomData;

use super::machine::Known;
use super::program::{Fold, Form, MOST_TERMS, Operand, Term};
use crate::isa::{Fill, fill};
use crate::kernels::block::{Block, Lane};

/// One term at one point, from the values of its blocks and its numbers.
trait At {
    const PAIR: bool = false;
    fn at(a: f64, b: f64, c: [f64; 3]) -> f64;
}

macro_rules! forms {
    ($($name:ident($a:ident, $b:pat, $c:pat) $value:expr;)*) => {
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
    Plain(a, _, _) a;
    Scaled(a, _, [c, ..]) c * a;
    Line(a, _, [c, d, _]) c * a + d;
    Squared(a, _, _) a * a;
    Square(a, _, [c, ..]) (a + c) * (a + c);
    Lifted(a, _, [c, _, e]) (a + c) * (a + c) + e;
    Parabola(a, _, [c, d, e]) (a + c) * (a + c) * d + e;
}

struct Times;

impl At for Times {
    const PAIR: bool = true;

    #[inline(always)]
    fn at(a: f64, b: f64, _: [f64; 3]) -> f64 {
        a * b
    }
}

struct Pair;

impl At for Pair {
    const PAIR: bool = true;

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

/// What a chain begins with: a block, a number, or its first term.
trait Start: Copy {
    fn join<J: Join>(self, i: usize, first: f64) -> f64;
}

impl<L: Lane> Start for L {
    #[inline(always)]
    fn join<J: Join>(self, i: usize, first: f64) -> f64 {
        J::join(self.get(i), first)
    }
}

#[derive(Clone, Copy)]
struct FirstTerm;

impl Start for FirstTerm {
    #[inline(always)]
    fn join<J: Join>(self, _: usize, first: f64) -> f64 {
        first
    }
}

/// What is made of the result.
trait End: Copy {
    fn end(self, i: usize, value: f64) -> f64;
}

impl End for () {
    #[inline(always)]
    fn end(self, _: usize, value: f64) -> f64 {
        value
    }
}

/// A number, or the values of a block, divided by it.
#[derive(Clone, Copy)]
struct Over<L>(L);

impl<L: Lane> End for Over<L> {
    #[inline(always)]
    fn end(self, i: usize, value: f64) -> f64 {
        self.0.get(i) / value
    }
}

/// A term with the blocks it reads.
type Bound<'a> = (&'a Block, &'a Block, &'a [f64; 3]);

/// Used by reference, with terms that refer to the fold: what is copied before it is read costs as much as a short loop.
struct Chain<'a, S, E, F, J, const N: usize> {
    start: S,
    end: E,
    terms: [Bound<'a>; N],
    kind: PhantomData<(F, J)>,
}

impl<S: Start, E: End, F: At, J: Join, const N: usize> Fill for &Chain<'_, S, E, F, J, N> {
    type Target = Block;

    #[inline(always)]
    fn fill(self, out: &mut Block) {
        let Chain {
            start, end, terms, ..
        } = self;
        for (i, out) in out.iter_mut().enumerate() {
            let term = |(a, b, c): &Bound<'_>| F::at(a[i], b[i], **c);
            let mut value = start.join::<J>(i, term(&terms[0]));
            for bound in &terms[1..] {
                value = J::join(value, term(bound));
            }
            *out = end.end(i, value);
        }
    }
}

/// Runs `fold` over the blocks of `known`.
pub(super) fn run(fold: &Fold, known: Known<'_>, out: &mut Block) {
    match fold.over {
        None => ended(fold, (), known, out),
        Some(Operand::Number(above)) => ended(fold, Over(above), known, out),
        Some(Operand::Block(above)) => ended(fold, Over(known.block(above)), known, out),
    }
}

/// Not every start goes with every join and end; `pick` makes only these.
fn ended<E: End>(fold: &Fold, end: E, known: Known<'_>, out: &mut Block) {
    match (fold.start, fold.product) {
        (None, false) => formed::<_, E, Sum>(fold, FirstTerm, end, known, out),
        (None, true) => formed::<_, E, Product>(fold, FirstTerm, end, known, out),
        (Some(Operand::Number(start)), _) => formed::<_, E, Sum>(fold, start, end, known, out),
        (Some(Operand::Block(start)), false) => {
            formed::<_, (), Sum>(fold, known.block(start), (), known, out)
        }
        (Some(Operand::Block(start)), true) => {
            formed::<_, (), Product>(fold, known.block(start), (), known, out)
        }
    }
}

fn formed<S: Start, E: End, J: Join>(
    fold: &Fold,
    start: S,
    end: E,
    known: Known<'_>,
    out: &mut Block,
) {
    match fold.form {
        Form::Plain => counted::<S, E, Plain, J>(fold, start, end, known, out),
        Form::Scaled => counted::<S, E, Scaled, J>(fold, start, end, known, out),
        Form::Line => counted::<S, E, Line, J>(fold, start, end, known, out),
        Form::Squared => counted::<S, E, Squared, J>(fold, start, end, known, out),
        Form::Square => counted::<S, E, Square, J>(fold, start, end, known, out),
        Form::Lifted => counted::<S, E, Lifted, J>(fold, start, end, known, out),
        Form::Parabola => counted::<S, E, Parabola, J>(fold, start, end, known, out),
        Form::Times => counted::<S, E, Times, J>(fold, start, end, known, out),
        Form::Pair => counted::<S, E, Pair, J>(fold, start, end, known, out),
    }
}

fn counted<S: Start, E: End, F: At, J: Join>(
    fold: &Fold,
    start: S,
    end: E,
    known: Known<'_>,
    out: &mut Block,
) {
    match fold.terms.len() {
        1 => chain::<S, E, F, J, 1>(fold, start, end, known, out),
        2 => chain::<S, E, F, J, 2>(fold, start, end, known, out),
        3 => chain::<S, E, F, J, 3>(fold, start, end, known, out),
        _ => chain::<S, E, F, J, MOST_TERMS>(fold, start, end, known, out),
    }
}

fn chain<S: Start, E: End, F: At, J: Join, const N: usize>(
    fold: &Fold,
    start: S,
    end: E,
    known: Known<'_>,
    out: &mut Block,
) {
    let terms: [Bound<'_>; N] = std::array::from_fn(|i| {
        let Term { a, b, c } = &fold.terms[i];
        let block = known.block(*a);
        (block, if F::PAIR { known.block(*b) } else { block }, c)
    });
    let chain = Chain::<S, E, F, J, N> {
        start,
        end,
        terms,
        kind: PhantomData,
    };
    fill(&chain, out);
}
