//! Loops over blocks: how a body for one number becomes vector instructions.
//!
//! The inner loops run over runs of a fixed length that the compiler turns into vector instructions whole; with shorter
//! runs it leaves long bodies scalar. What is left over at the end of a slice goes through a padded run of the same code,
//! so a value never depends on where in a block it stands.
#![expect(clippy::indexing_slicing, reason = "runs of fixed length")]

use std::marker::PhantomData;

use super::function::{One, Two};
use crate::isa::{Body, Fill, fill};

/// Numbers in a run of the inner loop.
pub(crate) const RUN: usize = 32;

/// A run of numbers.
pub(crate) type Run = [f64; RUN];

/// Names a kernel in a body.
pub(crate) struct Of<K>(PhantomData<K>);

impl<K> Of<K> {
    pub(crate) const NEW: Self = Self(PhantomData);
}

/// One value of a function of one number.
pub(crate) struct OneOf<K>(pub f64, pub Of<K>);

impl<K: One> Body for OneOf<K> {
    type Output = f64;

    #[inline(always)]
    fn run(self) -> f64 {
        if K::rare(self.0) {
            K::slow(self.0)
        } else {
            K::at(self.0)
        }
    }
}

/// One value of a function of two numbers.
pub(crate) struct PairOf<K>(pub f64, pub f64, pub Of<K>);

impl<K: Two> Body for PairOf<K> {
    type Output = f64;

    #[inline(always)]
    fn run(self) -> f64 {
        K::at(self.0, self.1)
    }
}

/// `out[i] = K(x[i])`.
pub(crate) fn map<K: One>(x: &[f64], out: &mut [f64]) {
    fill(Map(x, Of::<K>::NEW), out);
}

struct Map<'a, K>(&'a [f64], Of<K>);

impl<K: One> Fill for Map<'_, K> {
    type Target = [f64];

    #[inline(always)]
    fn fill(self, out: &mut [f64]) {
        let (out_runs, out_rest) = out.as_chunks_mut::<RUN>();
        for (x, out) in self.0.as_chunks::<RUN>().0.iter().zip(out_runs) {
            one_run::<K>(x, out);
        }
        if !out_rest.is_empty() {
            let mut out = [0.0; RUN];
            one_run::<K>(&self.0.rest(), &mut out);
            out_rest
                .iter_mut()
                .zip(out)
                .for_each(|(to, from)| *to = from);
        }
    }
}

#[inline(always)]
fn one_run<K: One>(x: &Run, out: &mut Run) {
    let mut rare = false;
    for (x, out) in x.iter().zip(&mut *out) {
        *out = K::at(*x);
        rare |= K::rare(*x);
    }
    if rare {
        repair::<K>(x, out);
    }
}

#[cold]
#[inline(never)]
fn repair<K: One>(x: &Run, out: &mut Run) {
    for (x, out) in x.iter().zip(out) {
        if K::rare(*x) {
            *out = K::slow(*x);
        }
    }
}

/// An argument of a loop: a slice, or the same number always.
pub(crate) trait Lanes: Copy {
    /// A run of it.
    type Run: Lane;

    /// The `run`th run, when it is whole.
    fn run(self, run: usize) -> Option<Self::Run>;

    /// What is left after the last whole run, padded.
    fn rest(self) -> Run;
}

/// A run, or the same number always.
pub(crate) trait Lane: Copy {
    /// The `i`th number.
    fn get(self, i: usize) -> f64;
}

impl<'a> Lanes for &'a [f64] {
    type Run = &'a Run;

    #[inline(always)]
    fn run(self, run: usize) -> Option<&'a Run> {
        self.as_chunks::<RUN>().0.get(run)
    }

    #[inline(always)]
    fn rest(self) -> Run {
        let mut run = [1.0; RUN];
        run.iter_mut()
            .zip(self.as_chunks::<RUN>().1)
            .for_each(|(to, from)| *to = *from);
        run
    }
}

impl Lanes for f64 {
    type Run = f64;

    #[inline(always)]
    fn run(self, _: usize) -> Option<f64> {
        Some(self)
    }

    #[inline(always)]
    fn rest(self) -> Run {
        [self; RUN]
    }
}

impl<const N: usize> Lane for &[f64; N] {
    #[inline(always)]
    fn get(self, i: usize) -> f64 {
        self[i]
    }
}

impl Lane for f64 {
    #[inline(always)]
    fn get(self, _: usize) -> f64 {
        self
    }
}

/// `out[i] = K(x[i], y[i])`.
pub(crate) fn zip<K: Two, X: Lanes, Y: Lanes>(x: X, y: Y, out: &mut [f64]) {
    fill(Zip(x, y, Of::<K>::NEW), out);
}

struct Zip<X, Y, K>(X, Y, Of<K>);

impl<K: Two, X: Lanes, Y: Lanes> Fill for Zip<X, Y, K> {
    type Target = [f64];

    #[inline(always)]
    fn fill(self, out: &mut [f64]) {
        let Zip(x, y, _) = self;
        let (runs, rest) = out.as_chunks_mut::<RUN>();
        for (run, out) in runs.iter_mut().enumerate() {
            if let (Some(x), Some(y)) = (x.run(run), y.run(run)) {
                two_run::<K, _, _>(x, y, out);
            }
        }
        if !rest.is_empty() {
            let mut out = [0.0; RUN];
            two_run::<K, _, _>(&x.rest(), &y.rest(), &mut out);
            rest.iter_mut().zip(out).for_each(|(to, from)| *to = from);
        }
    }
}

#[inline(always)]
fn two_run<K: Two, X: Lane, Y: Lane>(x: X, y: Y, out: &mut Run) {
    for (i, out) in out.iter_mut().enumerate() {
        *out = K::at(x.get(i), y.get(i));
    }
}
