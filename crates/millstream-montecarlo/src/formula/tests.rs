use std::collections::BTreeMap;

use super::Formula;
use super::parse::parse;
use super::tree::{Node, Tree};
use crate::isa::{self, Level};
use crate::kernels::{Binary, Unary};
use crate::{BLOCK, Error, Integrand};

fn value(source: &str, point: &[f64]) -> Vec<f64> {
    let formula = Formula::parse(source, Some(point.len().max(1)), &BTreeMap::new()).unwrap();
    let mut x: Vec<f64> = point.iter().flat_map(|value| [*value; BLOCK]).collect();
    x.resize(x.len().max(BLOCK), 0.0);
    let mut out = vec![0.0; BLOCK * formula.outputs()];
    formula.block(&x, &mut out, &mut Vec::new());
    out.chunks(BLOCK).map(|values| values[BLOCK - 1]).collect()
}

fn refused(source: &str) -> String {
    match Formula::parse(source, None, &BTreeMap::new()) {
        Err(Error::Formula(error)) => error.to_string(),
        other => format!("{other:?}"),
    }
}

#[test]
fn signs_powers_and_products_bind_as_in_mathematics() {
    assert_eq!(value("-x^2", &[3.0]), [-9.0]);
    assert_eq!(value("2^3^2", &[]), [512.0]);
    assert_eq!(value("2^-x", &[1.0]), [0.5]);
    assert_eq!(value("8/4/2", &[]), [1.0]);
    assert_eq!(value("1-2-3", &[]), [-4.0]);
    assert_eq!(value("2*-x", &[1.0]), [-2.0]);
    assert_eq!(value("- - 3", &[]), [3.0]);
    assert_eq!(value("1 - x < 2*x", &[1.0]), [1.0]);
}

#[test]
fn several_values_share_one_formula() {
    assert_eq!(value("x; x*y ; 7", &[2.0, 3.0]), [2.0, 6.0, 7.0]);
}

#[test]
fn an_error_shows_the_place() {
    assert_eq!(
        refused("exp(-x0^2 + snh(x1))"),
        "failed to read the formula at byte 12: unknown name `snh`; did you mean `sinh`?\n  \
         exp(-x0^2 + snh(x1))\n              ^"
    );
}

/// A sequence of random numbers with a seed.
struct Draw(u64);

impl Draw {
    fn below(&mut self, count: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % count
    }

    fn of<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.below(words.len())]
    }
}

const LEAVES: [&str; 14] = [
    "x0", "x1", "x2", "x3", "x0", "x1", "0.5", "2", "0", "1", "(-1)", "3.7", "a", "(x0-0.5)",
];
const OPERATORS: [&str; 16] = [
    "+", "-", "*", "/", "+", "-", "*", "+", "-", "*", "+", "*", "<", ">=", "==", "^",
];

/// A random formula of about 2^`depth` operations.
fn written(draw: &mut Draw, depth: usize) -> String {
    if depth == 0 {
        return draw.of(&LEAVES).to_owned();
    }
    let one = |draw: &mut Draw| written(draw, depth - 1);
    match draw.below(13) {
        8 => format!(
            "({}/{})",
            draw.of(&["1", "2", "a", "x2", "(x0*x1)", "(1+x3)"]),
            chain(draw, depth - 1)
        ),
        0 => format!(
            "{}({})",
            Unary::ALL[1 + draw.below(Unary::ALL.len() - 1)].name(),
            one(draw)
        ),
        1 => format!("({})^{}", one(draw), draw.of(&EXPONENTS)),
        2 => format!("(-{})", one(draw)),
        3 => format!("if({}, {}, {})", one(draw), one(draw), one(draw)),
        4 => format!(
            "{}({}, {})",
            draw.of(&["min", "max", "atan2", "pow"]),
            one(draw),
            one(draw)
        ),
        5..=7 => chain(draw, depth - 1),
        _ => format!("({} {} {})", one(draw), draw.of(&OPERATORS), one(draw)),
    }
}

const EXPONENTS: [&str; 10] = [
    "2", "3", "-1", "0.5", "-2", "7", "0", "-0.5", "1.5", "(1+1)",
];

/// A sum or product of terms that folds are made for.
fn chain(draw: &mut Draw, depth: usize) -> String {
    let (kind, sign) = (draw.below(3), draw.of(&["+", "-"]));
    let mut term = || {
        let [a, b, c] = [(); 3].map(|()| draw.of(&LEAVES));
        match kind {
            0 => format!("{}({a}{sign}{b})^2", draw.of(&["", "2*", "a*"])),
            1 if draw.below(3) == 0 => format!("{a}*{}", written(draw, depth)),
            1 => format!("{a}*{b}"),
            _ => format!("({a}{sign}{b}*{c}^2)"),
        }
    };
    let first = term();
    let others: String = (0..7).map(|_| term()).collect::<Vec<_>>().join("|");
    let joins = ["+", "-", "*"];
    let joined = others
        .split('|')
        .take(1 + draw.below(7))
        .fold(first, |all, next| all + draw.of(&joins) + next);
    format!("({joined})")
}

/// The value as the text says, one operation after the other. A constant is what has no variable in it.
fn plain(tree: &Tree, id: usize, point: &[f64]) -> (f64, bool) {
    let at = |id: usize| plain(tree, id, point);
    match tree.node(id) {
        Node::Number(value) => (value, true),
        Node::Variable(index) => (point[index], false),
        Node::One(function, a) => {
            let (value, constant) = at(a);
            (function.scalar(value), constant)
        }
        Node::Two(Binary::Pow, a, b) => {
            let ((base, one), (exponent, other)) = (at(a), at(b));
            let root = if other && exponent.abs() == 0.5 {
                Some(base.sqrt())
            } else {
                None
            };
            let whole = other && exponent.fract() == 0.0 && exponent.abs() <= 16.0;
            let product = if whole {
                Some(repeated(base, exponent.abs() as u32))
            } else {
                root
            };
            let value = product.map(|value| if exponent < 0.0 { 1.0 / value } else { value });
            (
                value.unwrap_or_else(|| Binary::Pow.scalar(base, exponent)),
                (one || exponent == 0.0) && other,
            )
        }
        Node::Two(function, a, b) => {
            let ((left, one), (right, other)) = (at(a), at(b));
            (function.scalar(left, right), one && other)
        }
        Node::If(c, a, b) => match at(c) {
            (c, constant) if c.is_nan() => (c, constant),
            (0.0, true) => at(b),
            (0.0, false) => (at(b).0, false),
            (_, true) => at(a),
            (_, false) => (at(a).0, false),
        },
    }
}

fn repeated(base: f64, exponent: u32) -> f64 {
    match exponent {
        0 => 1.0,
        1 => base,
        _ if exponent.is_multiple_of(2) => repeated(base, exponent / 2).powi(2),
        _ => repeated(base, exponent - 1) * base,
    }
}

fn same(one: f64, other: f64) -> bool {
    one.to_bits() == other.to_bits() || (one.is_nan() && other.is_nan())
}

#[test]
fn random_formulas_give_the_bits_of_plain_evaluation_at_every_level() {
    let values = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        0.5,
        2.0,
        f64::INFINITY,
        -f64::INFINITY,
        f64::NAN,
        1e-310,
        1e200,
        -3.7,
        0.3,
    ];
    let params = BTreeMap::from([("a".to_owned(), -2.5)]);
    let mut draw = Draw(20_261_121);
    let mut scratch = Vec::new();
    for round in 0..8_000 {
        let depth = 1 + round % 5;
        let source = (0..1 + round % 3)
            .map(|_| written(&mut draw, depth))
            .collect::<Vec<_>>()
            .join("; ");
        let parsed = parse(&source, Some(4), &params).unwrap();
        let formula = Formula::parse(&source, Some(4), &params).unwrap();
        let x: Vec<f64> = (0..4 * BLOCK)
            .map(|_| {
                if draw.below(2) == 0 {
                    values[draw.below(values.len())]
                } else {
                    draw.below(1 << 20) as f64 / (1 << 18) as f64 - 2.0
                }
            })
            .collect();
        let mut out = vec![0.0; BLOCK * formula.outputs()];
        formula.block(&x, &mut out, &mut scratch);
        for i in (0..BLOCK).step_by(11) {
            let point: Vec<f64> = (0..4).map(|axis| x[axis * BLOCK + i]).collect();
            for (output, id) in parsed.tree.outputs.iter().enumerate() {
                let (wanted, found) = (plain(&parsed.tree, *id, &point).0, out[output * BLOCK + i]);
                assert!(
                    same(wanted, found),
                    "{source}\nat {point:?}, output {output}: {found:e}, expected {wanted:e}"
                );
            }
        }
        for level in Level::available() {
            let _forced = isa::force(level);
            let mut other = vec![0.0; out.len()];
            formula.block(&x, &mut other, &mut scratch);
            assert!(
                out.iter()
                    .zip(&other)
                    .all(|(one, other)| same(*one, *other)),
                "{source} at {level:?}"
            );
        }
    }
}

fn refused_with(source: &str, dim: Option<usize>, params: &[(&str, f64)]) -> String {
    let params = params
        .iter()
        .map(|(name, value)| ((*name).to_owned(), *value))
        .collect();
    match Formula::parse(source, dim, &params) {
        Err(Error::Formula(error)) => format!("{}: {}", error.position, error.expected),
        Err(error) => error.to_string(),
        Ok(_) => "accepted".into(),
    }
}

/// Formulas that are no formulas, and what is said about each.
const REFUSED: &[(&str, &str)] = &[
    ("", "0: expected a value, the formula ends here"),
    ("x +", "3: expected a value, the formula ends here"),
    (
        "2x",
        "1: expected an operator; multiplication is written `*`",
    ),
    ("(x", "2: expected `)`"),
    (
        "x)",
        "1: expected an operator or the end; this `)` closes nothing",
    ),
    ("x ** 2", "2: expected a value; a power is written `^`"),
    ("x = 2", "2: expected an operator; equality is written `==`"),
    (
        "0 < x < 1",
        "6: comparisons do not chain; multiply them: `(a < b)*(b < c)`",
    ),
    ("sin x", "4: expected `(` and the arguments of `sin`"),
    ("sin(x, x)", "0: `sin` takes one argument, here are 2"),
    ("atan2(x)", "0: `atan2` takes two arguments, here are 1"),
    (
        "if(x, 1)",
        "0: `if` takes three arguments (condition, value, other value), here are 2",
    ),
    ("min()", "0: `min` takes at least one argument, here are 0"),
    (
        "log(x)",
        "0: `log` has two meanings; say `ln` (natural) or `log10`",
    ),
    (
        "arctan(x)",
        "0: unknown name `arctan`; did you mean `atan`?",
    ),
    ("sqr(x)", "0: unknown name `sqr`; did you mean `sqrt`?"),
    (
        "1e999",
        "0: the number is too large; the largest is 1.797e308",
    ),
    (".", "0: expected a number"),
    (
        "x, y",
        "1: expected an operator or the end; values are separated by `;`",
    ),
    ("x;", "2: expected a value, the formula ends here"),
    (
        "x64",
        "0: expected x0 to x63, an integral has at most 64 dimensions",
    ),
    (
        "x + y + x3",
        "0: `x`, `y`, `z` are for up to three dimensions; here are 4: use x0, x1, ..",
    ),
    (
        "1 + §",
        "4: expected a number, a variable, a function or `(`",
    ),
];

#[test]
fn what_was_expected_is_said() {
    for (source, expected) in REFUSED {
        assert_eq!(refused_with(source, None, &[]), *expected, "{source}");
    }
    assert_eq!(
        refused_with("x0 + x2", Some(2), &[]),
        "5: expected x0 to x1, the integral has 2 dimensions"
    );
    assert_eq!(
        refused_with("y", Some(1), &[]),
        "0: expected only x0, the integral has 1 dimension"
    );
    assert_eq!(
        refused_with("alpa*x", None, &[("alpha", 1.0)]),
        "0: unknown name `alpa`; did you mean `alpha`?"
    );
    assert_eq!(
        refused_with("x", Some(65), &[]),
        "failed to accept `dim`: 65, expected 1 to 64"
    );
    assert_eq!(
        refused_with("x", None, &[("x1", 1.0)]),
        "failed to accept `params.x1`: the name has a meaning of its own in formulas; choose another"
    );
    assert_eq!(
        refused_with("x", None, &[("a", f64::NAN)]),
        "failed to accept `params.a`: expected a number, it is nan"
    );
}

#[test]
fn size_and_depth_are_limited() {
    let deep = |levels: usize| format!("{}x{}", "(".repeat(levels), ")".repeat(levels));
    assert_eq!(refused_with(&deep(100), None, &[]), "accepted");
    assert_eq!(
        refused_with(&deep(1_000), None, &[]),
        "128: nested deeper than 128 levels"
    );
    assert_eq!(
        refused_with(&"-".repeat(60_000), None, &[]),
        "128: nested deeper than 128 levels"
    );
    assert_eq!(
        refused_with(&"2^".repeat(30_000), None, &[]),
        "256: nested deeper than 128 levels"
    );
    let long = "x+".repeat(5_000) + "x";
    assert_eq!(
        refused_with(&long, None, &[]),
        "8193: a formula has at most 8192 operations, numbers and names"
    );
    assert_eq!(
        refused_with(&" ".repeat(70_000), None, &[]),
        "65536: a formula has at most 65536 bytes"
    );
    assert_eq!(
        refused_with(&"x;".repeat(100), None, &[]),
        "128: a formula has at most 64 values"
    );
    assert_eq!(value(&("x/".repeat(4_000) + "x"), &[1.0]), [1.0]);
    assert_eq!(
        value(&("x".to_owned() + &"+1".repeat(4_000)), &[1.0]),
        [4_001.0]
    );
    assert_eq!(
        value(&("x".to_owned() + &"*x".repeat(4_000)), &[1.0]),
        [1.0]
    );
}

#[test]
fn a_place_in_a_long_formula_or_a_later_line_is_shown() {
    let long = "x0+".repeat(40) + "q" + &"+x0".repeat(40);
    let shown = refused(&long);
    let lines: Vec<&str> = shown.lines().skip(1).collect();
    assert_eq!(lines[1].len(), lines[0].find('q').unwrap() + 1);
    assert_eq!(
        refused("x0 +\n é2 *").lines().skip(1).collect::<Vec<_>>(),
        ["   é2 *", "   ^"]
    );
}

#[test]
fn few_blocks_are_alive_at_a_time() {
    let registers = |source: &str| {
        Formula::parse(source, None, &BTreeMap::new())
            .unwrap()
            .program
            .registers
    };
    let sum: Vec<String> = (0..60).map(|i| format!("exp(x{i}*x{})", i + 1)).collect();
    assert!(registers(&sum.join("+")) <= 6);
    assert_eq!(registers("x0*x1"), 0);
}

#[test]
fn gaussian_and_oscillating_formulas_take_few_steps() {
    let steps = |source: &str| {
        Formula::parse(source, None, &BTreeMap::new())
            .unwrap()
            .program
            .steps
            .len()
    };
    assert_eq!(
        steps("exp(-100*((x0-0.5)^2 + (x1-0.5)^2 + (x2-0.5)^2 + (x3-0.5)^2))"),
        3
    );
    assert_eq!(
        steps("cos(1.3 + 0.9*x0 + 1.1*x1 + 0.7*x2 + 1.9*x3 + 0.5*x4 + 1.3*x5 + 0.8*x6 + 1.7*x7)"),
        3
    );
    assert_eq!(
        steps(
            "1/((0.04 + (x0-0.3)^2)*(0.04 + (x1-0.4)^2)*(0.04 + (x2-0.5)^2)*(0.04 + (x3-0.6)^2))"
        ),
        1
    );
    assert_eq!(steps("sin(x0)*sin(x0) + sin(x0)"), 2);
}
