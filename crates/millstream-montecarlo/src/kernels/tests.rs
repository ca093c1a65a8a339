use super::{Binary, Unary};
use crate::isa::{self, Level};

const INFINITY: f64 = f64::INFINITY;
const NAN: f64 = f64::NAN;
const TINY: f64 = 5e-324;

/// A function by its name, on one or two arguments.
fn evaluate(name: &str, arguments: &[f64]) -> f64 {
    let one = Unary::ALL.iter().find(|function| function.name() == name);
    match (name, arguments) {
        ("pow", [x, y]) => Binary::Pow.scalar(*x, *y),
        ("atan2", [y, x]) => Binary::Atan2.scalar(*y, *x),
        (_, [x]) => one.unwrap().scalar(*x),
        _ => panic!("{name} of {arguments:?}"),
    }
}

/// A place on the number line: neighbouring doubles differ by one.
fn place(x: f64) -> i64 {
    let bits = x.to_bits() as i64;
    if bits < 0 { i64::MIN - bits } else { bits }
}

/// The worst distance in units in the last place from the values of `table`, for each function.
fn worst(table: &str) -> std::collections::BTreeMap<String, (i64, String)> {
    let mut worst = std::collections::BTreeMap::new();
    for line in table.lines() {
        let mut words = line.split(' ');
        let name = words.next().unwrap();
        let numbers: Vec<f64> = words
            .map(|word| f64::from_bits(u64::from_str_radix(word, 16).unwrap()))
            .collect();
        let (wanted, arguments) = numbers.split_last().unwrap();
        let found = evaluate(name, arguments);
        let distance = place(found).wrapping_sub(place(*wanted)).abs();
        let entry = worst.entry(name.to_owned()).or_insert((-1, String::new()));
        if distance > entry.0 {
            *entry = (
                distance,
                format!("{name}{arguments:?} = {found:e}, expected {wanted:e}"),
            );
        }
    }
    worst
}

#[test]
fn every_function_is_within_two_units_of_the_reference() {
    let worst = worst(include_str!("../../tables/reference.txt"));
    assert_eq!(worst.len(), 18);
    for (distance, example) in worst.values() {
        assert!(*distance <= 2, "{distance} units: {example}");
    }
}

/// Arguments of every size and sign, and every kind of edge; a fixed sequence.
fn arguments(count: usize) -> Vec<f64> {
    let edges = [
        0.0,
        0.5,
        1.0,
        2.0,
        3.0,
        0.25,
        1.6e-7,
        0.925,
        709.0,
        745.2,
        1e9,
        1.1e12,
        1e18,
        1e300,
        f64::MAX,
        INFINITY,
        TINY,
        NAN,
    ];
    let signed = edges.iter().flat_map(|edge| {
        [
            *edge,
            -edge,
            edge * (1.0 + f64::EPSILON),
            edge * (1.0 - f64::EPSILON),
        ]
    });
    let mut state = 4u64;
    let mut draw = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        state ^ state >> 29
    };
    let mut all: Vec<f64> = signed.collect();
    while all.len() < count {
        let bits = draw();
        let unit = (bits >> 11) as f64 / (1u64 << 53) as f64;
        all.push(match bits % 4 {
            0 => f64::from_bits(draw()),
            1 => unit,
            2 => (unit - 0.5) * 200.0,
            _ => (unit - 0.5) * 4.0,
        });
    }
    all
}

/// Bits, all nan being one.
fn bits(x: f64) -> u64 {
    if x.is_nan() { u64::MAX } else { x.to_bits() }
}

#[test]
fn every_level_gives_the_same_bits_in_blocks_and_alone() {
    let x = arguments(150_001);
    let y: Vec<f64> = x.iter().rev().copied().collect();
    let run = |level: Level, out: &mut Vec<Vec<f64>>| {
        let _forced = isa::force(level);
        for function in Unary::ALL {
            out.push(vec![0.0; x.len()]);
            function.block(&x, out.last_mut().unwrap());
        }
        for function in Binary::ALL {
            out.push(vec![0.0; x.len()]);
            function.block(&x, &y, out.last_mut().unwrap());
        }
    };
    let mut first = Vec::new();
    run(Level::Baseline, &mut first);
    for level in Level::available().skip(1) {
        let mut other = Vec::new();
        run(level, &mut other);
        for ((first, other), function) in first.iter().zip(&other).zip(0..) {
            let differing = (0..x.len()).find(|i| bits(first[*i]) != bits(other[*i]));
            assert_eq!(
                differing.map(|i| (x[i], y[i], first[i], other[i])),
                None,
                "{level:?}, function {function}"
            );
        }
    }
    for i in (0..x.len()).step_by(7) {
        for (function, values) in Unary::ALL.iter().zip(&first) {
            assert_eq!(
                bits(function.scalar(x[i])),
                bits(values[i]),
                "{function:?}({})",
                x[i]
            );
        }
        for (function, values) in Binary::ALL.iter().zip(first.iter().skip(Unary::ALL.len())) {
            assert_eq!(
                bits(function.scalar(x[i], y[i])),
                bits(values[i]),
                "{function:?}({}, {})",
                x[i],
                y[i]
            );
        }
    }
}

/// Functions, arguments and values that are exact.
const EDGES: &str = "
    exp: 0=1 -0=1 inf=inf -inf=0 nan=nan 709.782712893384=1.7976931348622732e308 709.79=inf -745.14=0
    exp: -745.13=5e-324 1e308=inf -1e308=0 5e-324=1
    ln: 1=0 0=-inf -0=-inf -1=nan -5e-324=nan inf=inf -inf=nan nan=nan 2.718281828459045=1
    ln: 5e-324=-744.4400719213812
    log10: 1=0 0=-inf -0=-inf -1=nan -5e-324=nan inf=inf -inf=nan nan=nan 1000=3 1e-5=-5 1e300=300 1e22=22
    sin: 0=0 -0=-0 5e-324=5e-324 nan=nan -5e-324=-5e-324 inf=nan -inf=nan
    tan: 0=0 -0=-0 5e-324=5e-324 nan=nan -5e-324=-5e-324 inf=nan -inf=nan
    asin: 0=0 -0=-0 5e-324=5e-324 nan=nan -5e-324=-5e-324 inf=nan -inf=nan 1=1.5707963267948966
    asin: -1=-1.5707963267948966 -1.5=nan
    atan: 0=0 -0=-0 5e-324=5e-324 nan=nan -5e-324=-5e-324 inf=1.5707963267948966 -inf=-1.5707963267948966
    sinh: 0=0 -0=-0 5e-324=5e-324 nan=nan -5e-324=-5e-324 inf=inf -inf=-inf 711=inf
    tanh: 0=0 -0=-0 5e-324=5e-324 nan=nan -5e-324=-5e-324 inf=1 -inf=-1 30=1
    cbrt: 0=0 -0=-0 nan=nan inf=inf -inf=-inf 27=3 -8=-2 1e-300=1e-100
    erf: 0=0 -0=-0 5e-324=5e-324 nan=nan -5e-324=-5e-324 inf=1 -inf=-1 7=1
    cos: inf=nan -inf=nan 0=1 nan=nan
    cosh: inf=inf -inf=inf 0=1 711=inf
    erfc: inf=0 -inf=2 0=1 28=0 -7=2 nan=nan
    acos: inf=nan -inf=nan 1=0 -1=3.141592653589793 0=1.5707963267948966 1.5=nan
    ninv: inf=nan -inf=nan 0.5=0 0=-inf -0=-inf 1=inf 1.1=nan -0.1=nan nan=nan
    sign: -0=-0 nan=nan -7=-1 5e-324=1
    floor: -0.5=-1
    ceil: -0.5=-0
    sqrt: -1=nan -0=-0
";

#[test]
fn edges_are_exact() {
    for line in EDGES.lines().skip(1) {
        let (name, cases) = line.trim().split_once(": ").unwrap();
        for (x, wanted) in cases.split(' ').map(|case| case.split_once('=').unwrap()) {
            let found = evaluate(name, &[x.parse().unwrap()]);
            assert_eq!(
                bits(found),
                bits(wanted.parse().unwrap()),
                "{name}({x}) = {found:e}, expected {wanted}"
            );
        }
    }
}

#[test]
fn powers_at_edges_follow_the_standard() {
    let edges = [
        0.0,
        -0.0,
        0.5,
        -0.5,
        1.0,
        -1.0,
        2.0,
        -2.0,
        3.0,
        -3.0,
        1e300,
        -1e300,
        INFINITY,
        -INFINITY,
        NAN,
        TINY,
        9e15 + 1.0,
    ];
    for x in edges {
        for y in edges {
            let (found, wanted) = (Binary::Pow.scalar(x, y), x.powf(y));
            assert!(
                bits(found) == bits(wanted) || (found / wanted - 1.0).abs() < 4e-16,
                "{x}^{y} = {found:e}, expected {wanted:e}"
            );
        }
    }
}

#[test]
fn angles_at_edges_follow_the_standard() {
    let edges = [
        0.0, -0.0, 1.0, -1.0, 1e308, -1e308, INFINITY, -INFINITY, NAN, TINY, -TINY, 3.0,
    ];
    for y in edges {
        for x in edges {
            let (found, wanted) = (Binary::Atan2.scalar(y, x), y.atan2(x));
            assert!(
                bits(found) == bits(wanted) || place(found).abs_diff(place(wanted)) < 2,
                "atan2({y}, {x}) = {found:e}, expected {wanted:e}"
            );
        }
    }
}
