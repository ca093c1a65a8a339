//! Loops over blocks: how a body for one number becomes vector instructions.
//!
//! The inner loops run over runs of a fixed length that the compiler turns into vector instructions whole; with shorter
//! runs it leaves long bodies scalar. What is left over at the end of a slice goes through a padded run of the same code,
//! so a value never depends on where in a block it stands.

use std::marker::PhantomData;

use super::function::{One, Two};
use crate::isa::{Body, dispatch};

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
    dispatch(Map(x, out, Of::<K>::NEW));
}

struct Map<'a, K>(&'a [f64], &'a mut [f64], Of<K>);

impl<K: One> Body for Map<'_, K> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Map(x, out, _) = self;
        let (x_runs, x_rest) = x.as_chunks::<RUN>();
        let (out_runs, out_rest) = out.as_chunks_mut::<RUN>();
        for (x, out) in x_runs.iter().zip(out_runs) {
            one_run::<K>(x, out);
        }
        if !x_rest.is_empty() {
            let (mut x, mut out) = ([0.5; RUN], [0.0; RUN]);
            x.iter_mut().zip(x_rest).for_each(|(to, from)| *to = *from);
            one_run::<K>(&x, &mut out);
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

/// Where the arguments of a function of two numbers come from.
pub(crate) trait Pair: Copy {
    /// The `run`th run, whole.
    fn run(self, run: usize) -> Option<(Run, Run)>;

    /// What is left after the last whole run, padded.
    fn rest(self) -> (Run, Run);
}

/// Two slices.
#[derive(Clone, Copy)]
pub(crate) struct Pairs<'a>(pub &'a [f64], pub &'a [f64]);

#[expect(dead_code, reason = "for the passes that follow")]
/// A slice and the same number always.
#[derive(Clone, Copy)]
pub(crate) struct ToNumber<'a>(pub &'a [f64], pub f64);

#[expect(dead_code, reason = "for the passes that follow")]
/// The same number always, and a slice.
#[derive(Clone, Copy)]
pub(crate) struct NumberTo<'a>(pub f64, pub &'a [f64]);

#[inline(always)]
fn whole(x: &[f64], run: usize) -> Option<Run> {
    x.as_chunks::<RUN>().0.get(run).copied()
}

#[inline(always)]
fn padded(x: &[f64]) -> Run {
    let mut run = [1.0; RUN];
    run.iter_mut()
        .zip(x.as_chunks::<RUN>().1)
        .for_each(|(to, from)| *to = *from);
    run
}

impl Pair for Pairs<'_> {
    #[inline(always)]
    fn run(self, run: usize) -> Option<(Run, Run)> {
        Some((whole(self.0, run)?, whole(self.1, run)?))
    }

    #[inline(always)]
    fn rest(self) -> (Run, Run) {
        (padded(self.0), padded(self.1))
    }
}

impl Pair for ToNumber<'_> {
    #[inline(always)]
    fn run(self, run: usize) -> Option<(Run, Run)> {
        Some((whole(self.0, run)?, [self.1; RUN]))
    }

    #[inline(always)]
    fn rest(self) -> (Run, Run) {
        (padded(self.0), [self.1; RUN])
    }
}

impl Pair for NumberTo<'_> {
    #[inline(always)]
    fn run(self, run: usize) -> Option<(Run, Run)> {
        Some(([self.0; RUN], whole(self.1, run)?))
    }

    #[inline(always)]
    fn rest(self) -> (Run, Run) {
        ([self.0; RUN], padded(self.1))
    }
}

/// `out[i] = K(x[i], y[i])`.
pub(crate) fn zip<K: Two, P: Pair>(pairs: P, out: &mut [f64]) {
    dispatch(Zip(pairs, out, Of::<K>::NEW));
}

struct Zip<'a, K, P>(P, &'a mut [f64], Of<K>);

impl<K: Two, P: Pair> Body for Zip<'_, K, P> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Zip(pairs, out, _) = self;
        let (runs, rest) = out.as_chunks_mut::<RUN>();
        for (run, out) in runs.iter_mut().enumerate() {
            if let Some((x, y)) = pairs.run(run) {
                two_run::<K>(&x, &y, out);
            }
        }
        if !rest.is_empty() {
            let (x, y) = pairs.rest();
            let mut out = [0.0; RUN];
            two_run::<K>(&x, &y, &mut out);
            rest.iter_mut().zip(out).for_each(|(to, from)| *to = from);
        }
    }
}

#[inline(always)]
fn two_run<K: Two>(x: &Run, y: &Run, out: &mut Run) {
    for ((x, y), out) in x.iter().zip(y).zip(out) {
        *out = K::at(*x, *y);
    }
}
