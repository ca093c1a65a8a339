//! Loops over blocks: how a body for one number becomes vector instructions.
//!
//! Every loop is over one whole block: its length is known, and it is too long to be unrolled, so that the compiler turns it
//! into vector instructions however short or long the body is. The end of a slice goes through a padded block of the same
//! code, so a value never depends on where it stands.
#![expect(clippy::indexing_slicing, reason = "blocks of fixed length")]

use std::marker::PhantomData;

use super::function::{One, Two};
use crate::BLOCK;
use crate::isa::{Body, Fill, fill};

/// A block of numbers.
pub(crate) type Block = [f64; BLOCK];

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
pub(crate) fn map<K: One>(x: &Block, out: &mut Block) {
    fill(Map(x, Of::<K>::NEW), out);
}

struct Map<'a, K>(&'a Block, Of<K>);

impl<K: One> Fill for Map<'_, K> {
    type Target = Block;

    #[inline(always)]
    fn fill(self, out: &mut Block) {
        let mut rare = false;
        for (x, out) in self.0.iter().zip(&mut *out) {
            *out = K::at(*x);
            rare |= K::rare(*x);
        }
        if rare {
            repair::<K>(self.0, out);
        }
    }
}

#[cold]
#[inline(never)]
fn repair<K: One>(x: &Block, out: &mut Block) {
    for (x, out) in x.iter().zip(out) {
        if K::rare(*x) {
            *out = K::slow(*x);
        }
    }
}

/// An argument of a loop: a block, or the same number always.
pub(crate) trait Lane: Copy {
    /// The `i`th number.
    fn get(self, i: usize) -> f64;
}

impl Lane for &Block {
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
pub(crate) fn zip<K: Two, X: Lane, Y: Lane>(x: X, y: Y, out: &mut Block) {
    fill(Zip(x, y, Of::<K>::NEW), out);
}

struct Zip<X, Y, K>(X, Y, Of<K>);

impl<K: Two, X: Lane, Y: Lane> Fill for Zip<X, Y, K> {
    type Target = Block;

    #[inline(always)]
    fn fill(self, out: &mut Block) {
        for (i, out) in out.iter_mut().enumerate() {
            *out = K::at(self.0.get(i), self.1.get(i));
        }
    }
}

/// Calls `each` for every block of `x`, `y` and `out`; the last one is padded.
pub(crate) fn by_blocks(
    x: &[f64],
    y: &[f64],
    out: &mut [f64],
    each: impl Fn(&Block, &Block, &mut Block),
) {
    for ((x, y), out) in x
        .chunks(BLOCK)
        .zip(y.chunks(BLOCK))
        .zip(out.chunks_mut(BLOCK))
    {
        match (x.as_array(), y.as_array()) {
            (Some(x), Some(y)) if out.len() == BLOCK => {
                if let Some(out) = out.as_mut_array() {
                    each(x, y, out);
                }
            }
            _ => {
                let mut padded = [[0.5; BLOCK]; 3];
                let [a, b, c] = &mut padded;
                a.iter_mut().zip(x).for_each(|(to, from)| *to = *from);
                b.iter_mut().zip(y).for_each(|(to, from)| *to = *from);
                each(a, b, c);
                out.iter_mut().zip(c).for_each(|(to, from)| *to = *from);
            }
        }
    }
}
