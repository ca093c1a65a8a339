//! Which instructions the processor has, and one body compiled for each of them.
//!
//! A loop is written once, as a `Body` or a [`Fill`], which is inlined into three functions: for AVX-512, for AVX2 with fused
//! multiply-add, and for the baseline of the target. Only exact operations of IEEE 754 (and explicit `mul_add`) are used in
//! them, so the three give the same bits; [`force`] lets a test hold them to it. Nothing else in the package asks what
//! the processor is, and this is its only file with `unsafe` code.
#![cfg_attr(
    target_arch = "x86_64",
    expect(
        unsafe_code,
        reason = "calling a function compiled for more instructions than the target's baseline; detected before"
    )
)]

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A set of instructions, poorest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Level {
    /// What every processor of the target has.
    Baseline = 1,
    /// Four numbers at a time, with fused multiply-add.
    Avx2 = 2,
    /// Eight numbers at a time.
    Avx512 = 3,
}

impl Level {
    /// All levels that this processor has, poorest first.
    pub fn available() -> impl Iterator<Item = Self> {
        [Self::Baseline, Self::Avx2, Self::Avx512]
            .into_iter()
            .filter(|level| *level <= detect())
    }
}

/// A piece of work to compile three times. `run` must be `#[inline(always)]`, and so must everything it calls in a loop.
pub(crate) trait Body {
    /// What it computes.
    type Output;
    /// Does it.
    fn run(self) -> Self::Output;
}

/// A body that writes to one place. It is an argument and not a field, since the compiler knows only of arguments that
/// nothing else points to them, and turns more loops into vector instructions. `fill` must be `#[inline(always)]`.
///
/// ```
/// use millstream_montecarlo::{isa, kernels::inlined};
/// struct Waves<'a>(&'a [f64; 256]);
/// impl isa::Fill for Waves<'_> {
///     type Target = [f64; 256];
///     #[inline(always)]
///     fn fill(self, out: &mut [f64; 256]) {
///         out.iter_mut().zip(self.0).for_each(|(out, x)| *out = inlined::sin(*x) * x);
///     }
/// }
/// let mut out = [0.0; 256];
/// isa::fill(Waves(&[1.0; 256]), &mut out);
/// assert!((out[0] - 0.841_470_984_807_896_5).abs() < 1e-15);
/// ```
pub trait Fill {
    /// What it writes to.
    type Target: ?Sized;
    /// Writes it.
    fn fill(self, target: &mut Self::Target);
}

/// The level in use; 0 before the first question.
static LEVEL: AtomicU8 = AtomicU8::new(0);
static FORCING: Mutex<()> = Mutex::new(());

/// Runs `body` as compiled for the best level that the processor has.
#[inline]
pub(crate) fn dispatch<B: Body>(body: B) -> B::Output {
    match level() {
        // SAFETY: the level is only ever set to one that `detect` found.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => unsafe { avx512(body) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => unsafe { avx2(body) },
        _ => body.run(),
    }
}

/// Writes `target` with `body` as compiled for the best level that the processor has.
#[inline]
pub fn fill<F: Fill>(body: F, target: &mut F::Target) {
    match level() {
        // SAFETY: the level is only ever set to one that `detect` found.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => unsafe { fill_avx512(body, target) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => unsafe { fill_avx2(body, target) },
        _ => body.fill(target),
    }
}

#[inline]
fn level() -> Level {
    match LEVEL.load(Ordering::Relaxed) {
        3 => Level::Avx512,
        2 => Level::Avx2,
        1 => Level::Baseline,
        _ => {
            let found = detect();
            LEVEL.store(found as u8, Ordering::Relaxed);
            found
        }
    }
}

/// Until the answer is dropped, the whole process uses `level`, or the best it has when that is poorer. Results do not
/// change; for tests and measurements. A second caller waits.
pub fn force(level: Level) -> Forced {
    let guard = FORCING.lock().unwrap_or_else(PoisonError::into_inner);
    LEVEL.store(level.min(detect()) as u8, Ordering::Relaxed);
    Forced { _guard: guard }
}

/// See [`force`].
#[must_use = "the level is forced until this is dropped"]
pub struct Forced {
    _guard: MutexGuard<'static, ()>,
}

impl Drop for Forced {
    fn drop(&mut self) {
        LEVEL.store(0, Ordering::Relaxed);
    }
}

#[cfg(target_arch = "x86_64")]
fn detect() -> Level {
    let avx2 = is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
        && is_x86_feature_detected!("bmi2");
    let avx512 = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512bw");
    match (avx2, avx512) {
        (true, true) => Level::Avx512,
        (true, false) => Level::Avx2,
        (false, _) => Level::Baseline,
    }
}

#[cfg(not(target_arch = "x86_64"))]
const fn detect() -> Level {
    Level::Baseline
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512bw,avx2,fma,bmi2")]
fn avx512<B: Body>(body: B) -> B::Output {
    body.run()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512bw,avx2,fma,bmi2")]
fn fill_avx512<F: Fill>(body: F, target: &mut F::Target) {
    body.fill(target);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,bmi2")]
fn avx2<B: Body>(body: B) -> B::Output {
    body.run()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,bmi2")]
fn fill_avx2<F: Fill>(body: F, target: &mut F::Target) {
    body.fill(target);
}
