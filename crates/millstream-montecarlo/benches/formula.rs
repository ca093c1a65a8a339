//! Formulas typed at run time beside the same mathematics compiled: one block of 256 points each.
//!
//!   cargo bench -p millstream-montecarlo --bench formula [-- NAME]
//!
//! `formula` is the typed text; `block` a loop written by hand for that formula, with the same kernels and fused
//! multiply-adds, compiled for the best instructions of the processor; `closure` a function of one point with the system's
//! mathematical library, inlined into a loop. `mixed4` is what a formula is worst at: few operations, no two of a kind, so that
//! the time goes into storing what lies between them. The table at the end is measured again with the three taken in turns, so that
//! a busy machine slows all alike.
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a benchmark may stop when its own data is wrong"
)]

use std::collections::BTreeMap;
use std::f64::consts::PI;
use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput};
use millstream_montecarlo::isa::{self, Fill};
use millstream_montecarlo::kernels::inlined::{cos, exp, ln};
use millstream_montecarlo::{BLOCK, Formula, Integrand};

type Block = [f64; BLOCK];
/// Blocks that begin at a cache line.
#[repr(align(64))]
#[derive(Clone)]
struct Aligned<const N: usize>([Block; N]);
/// Points whose loop the compiler turns into vector instructions whole.
const RUN: usize = 32;

/// A formula by hand: one point of a block.
trait Hand {
    const DIM: usize;
    fn at(x: &[&[f64; RUN]; 8], i: usize) -> f64;
}

struct Loop<'a, H>(&'a [Block], std::marker::PhantomData<H>);

impl<H: Hand> Fill for Loop<'_, H> {
    type Target = Block;

    #[inline(always)]
    fn fill(self, out: &mut Block) {
        for (run, out) in out.as_chunks_mut::<RUN>().0.iter_mut().enumerate() {
            let x: [&[f64; RUN]; 8] =
                std::array::from_fn(|a| &self.0[a.min(H::DIM - 1)].as_chunks().0[run]);
            for (i, out) in out.iter_mut().enumerate() {
                *out = H::at(&x, i);
            }
        }
    }
}

struct Case {
    name: &'static str,
    dim: usize,
    formula: &'static str,
    block: fn(&[Block], &mut Block),
    closure: fn(&[Block], &mut Block),
}

macro_rules! cases {
    ($($name:ident $dim:literal $formula:literal |$x:ident| $block:expr, |$y:ident| $closure:expr;)*) => {
        $(#[expect(non_camel_case_types, reason = "named as the formula")]
        struct $name;
        impl Hand for $name {
            const DIM: usize = $dim;
            #[inline(always)]
            fn at(x: &[&[f64; RUN]; 8], i: usize) -> f64 {
                let $x = |a: usize| x[a][i];
                $block
            }
        })*
        const CASES: &[Case] = &[$(Case {
            name: stringify!($name),
            dim: $dim,
            formula: $formula,
            block: |x, out| isa::fill(Loop::<$name>(x, std::marker::PhantomData), out),
            closure: |x, out| {
                let function = |$y: [f64; $dim]| $closure;
                for (i, out) in out.iter_mut().enumerate() {
                    *out = function(std::array::from_fn(|a| x[a][i]));
                }
            },
        },)*];
    };
}

fn square(x: f64) -> f64 {
    x * x
}

cases! {
    gauss4 4 "exp(-100*((x0-0.5)^2 + (x1-0.5)^2 + (x2-0.5)^2 + (x3-0.5)^2))"
    |x| {
        let d = |a| x(a) - 0.5;
        exp(-100.0 * d(3).mul_add(d(3), d(2).mul_add(d(2), d(1).mul_add(d(1), d(0) * d(0)))))
    },
    |x| (-100.0 * x.map(|x| square(x - 0.5)).iter().sum::<f64>()).exp();

    cuba2 3 "1/((x0 + x1)^2 + 0.003)*cos(x1)*exp(x2)"
    |x| cos(x(1)) * exp(x(2)) / (x(0) + x(1)).mul_add(x(0) + x(1), 0.003),
    |x| 1.0 / (square(x[0] + x[1]) + 0.003) * x[1].cos() * x[2].exp();

    arith4 4 "(x0*x1 + x2*x3)/(1 + x0^2 + x1^2 + x2^2 + x3^2)"
    |x| {
        let norm = x(3).mul_add(x(3), x(2).mul_add(x(2), x(1).mul_add(x(1), x(0).mul_add(x(0), 1.0))));
        x(0).mul_add(x(1), x(2) * x(3)) / norm
    },
    |x| (x[0] * x[1] + x[2] * x[3]) / (1.0 + x.map(square).iter().sum::<f64>());

    mixed4 4 "(x0 + 2*x1)*(x2 - x3) + x0*x1*x2/(1 + x3^2)"
    |x| 2.0f64.mul_add(x(1), x(0)).mul_add(x(2) - x(3), x(0) * x(1) * x(2) / x(3).mul_add(x(3), 1.0)),
    |x| (x[0] + 2.0 * x[1]) * (x[2] - x[3]) + x[0] * x[1] * x[2] / (1.0 + x[3] * x[3]);

    bs_call 2 "exp(-0.05)*max(100*exp(0.03 + 0.2*sqrt(-2*ln(x0))*cos(2*pi*x1)) - 105, 0)"
    |x| {
        let paid = 100.0f64.mul_add(exp((0.2 * (-2.0 * ln(x(0))).sqrt()).mul_add(cos(2.0 * PI * x(1)), 0.03)), -105.0);
        0.951_229_424_500_714 * if paid > 0.0 { paid } else { 0.0 }
    },
    |x| {
        let normal = (-2.0 * x[0].ln()).sqrt() * (2.0 * PI * x[1]).cos();
        0.951_229_424_500_714 * (100.0 * (0.03 + 0.2 * normal).exp() - 105.0).max(0.0)
    };

    osc8 8 "cos(1.3 + 0.9*x0 + 1.1*x1 + 0.7*x2 + 1.9*x3 + 0.5*x4 + 1.3*x5 + 0.8*x6 + 1.7*x7)"
    |x| {
        let left = 1.9f64.mul_add(x(3), 0.7f64.mul_add(x(2), 1.1f64.mul_add(x(1), 0.9f64.mul_add(x(0), 1.3))));
        let right = 1.7f64.mul_add(x(7), 0.8f64.mul_add(x(6), 1.3f64.mul_add(x(5), 0.5 * x(4))));
        cos(left + right)
    },
    |x| {
        let a = [0.9, 1.1, 0.7, 1.9, 0.5, 1.3, 0.8, 1.7];
        x.iter().zip(a).fold(1.3, |sum, (x, a)| sum + a * x).cos()
    };

    prodpeak4 4 "1/((0.04 + (x0-0.3)^2)*(0.04 + (x1-0.4)^2)*(0.04 + (x2-0.5)^2)*(0.04 + (x3-0.6)^2))"
    |x| {
        let peak = |a, c: f64| (x(a) - c).mul_add(x(a) - c, 0.04);
        1.0 / (peak(0, 0.3) * peak(1, 0.4) * (peak(2, 0.5) * peak(3, 0.6)))
    },
    |x| {
        let peak = |x: f64, c: f64| 0.04 + square(x - c);
        1.0 / (peak(x[0], 0.3) * peak(x[1], 0.4) * peak(x[2], 0.5) * peak(x[3], 0.6))
    };
}

/// Points in the unit cube, a fixed sequence.
fn points() -> Box<Aligned<8>> {
    let mut state = 1u64;
    let mut draw = |_| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1u64 << 53) as f64
    };
    Box::new(Aligned(std::array::from_fn(|_| {
        std::array::from_fn(&mut draw)
    })))
}

/// The three ways of a case, as functions of nothing.
fn ways(case: &Case) -> [Box<dyn FnMut()>; 3] {
    let formula = Formula::parse(case.formula, Some(case.dim), &BTreeMap::new()).unwrap();
    let (x, mut scratch) = (points(), Vec::new());
    let out = Box::new(Aligned([[0.0; BLOCK]]));
    let [mut typed, mut by_hand, mut closed] = [out.clone(), out.clone(), out];
    formula.block(x.0.as_flattened(), &mut typed.0[0], &mut scratch);
    (case.block)(&x.0, &mut by_hand.0[0]);
    (case.closure)(&x.0, &mut closed.0[0]);
    for (i, value) in typed.0[0].iter().enumerate() {
        let allowed = 1e-12 * (1.0 + value.abs());
        let (by_hand, closed) = (by_hand.0[0][i], closed.0[0][i]);
        assert!(
            (value - by_hand).abs() < allowed && (value - closed).abs() < allowed,
            "{} differs",
            case.name
        );
    }
    let (block, closure, y, z) = (case.block, case.closure, x.clone(), x.clone());
    [
        Box::new(move || {
            formula.block(
                black_box(x.0.as_flattened()),
                black_box(&mut typed.0[0]),
                &mut scratch,
            )
        }),
        Box::new(move || block(black_box(&y.0), black_box(&mut by_hand.0[0]))),
        Box::new(move || closure(black_box(&z.0), black_box(&mut closed.0[0]))),
    ]
}

/// The least time of a block for each way: a few thousand rounds, in each of which all take their turn.
fn interleaved(ways: &mut [Box<dyn FnMut()>]) -> Vec<Duration> {
    const CALLS: u32 = 20;
    let mut least = vec![Duration::MAX; ways.len()];
    for _ in 0..3_000 {
        for (way, least) in ways.iter_mut().zip(&mut least) {
            let began = Instant::now();
            for _ in 0..CALLS {
                way();
            }
            *least = began.elapsed().div_f64(f64::from(CALLS)).min(*least);
        }
    }
    least
}

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(800))
        .configure_from_args();
    for case in CASES {
        let mut group = criterion.benchmark_group(case.name);
        group.throughput(Throughput::Elements(BLOCK as u64));
        for (name, mut way) in ["formula", "block", "closure"].into_iter().zip(ways(case)) {
            group.bench_function(name, |bencher| bencher.iter(&mut way));
        }
    }
    println!(
        "\n{:10} {:>12} {:>12} {:>12}   formula is .. of block, .. of closure",
        "ns/point", "formula", "block", "closure"
    );
    for case in CASES {
        let nanoseconds: Vec<f64> = interleaved(&mut ways(case))
            .iter()
            .map(|time| time.as_secs_f64() * 1e9 / BLOCK as f64)
            .collect();
        let [formula, block, closure] = nanoseconds[..] else {
            continue;
        };
        let (of_block, of_closure) = (100.0 * block / formula, 100.0 * closure / formula);
        println!(
            "{:10} {formula:12.3} {block:12.3} {closure:12.3}   {of_block:6.0} % {of_closure:6.0} %",
            case.name
        );
    }
    criterion.final_summary();
}
