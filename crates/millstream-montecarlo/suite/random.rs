//! Random integrals whose exact values follow from their parts: what nobody chose, so that nobody's luck decides.
//!
//! A background with a feature that at least twenty of the evenly spread points are expected to hit, second peaks far out,
//! tails, sums of zero, and two scales. A number names each, so that a failure can be repeated.

#![expect(clippy::expect_used, reason = "a wrong request ends the run")]
use millstream_montecarlo::{Limit, Request};

/// Makes one integral of a kind.
pub(crate) type Make = fn(&mut Dice) -> Request;

/// The kinds of random integrals.
pub(crate) const KINDS: [(&str, Make); 8] = [
    ("slab", slab),
    ("ball", ball),
    ("corner", corner),
    ("gaussian", gaussian),
    ("far_peak", far_peak),
    ("tail", tail),
    ("zero", zero),
    ("two_scales", two_scales),
];

/// The share of the cube that a feature fills, at least: the test of a rule has twenty points there, and the first samples of a
/// method without one ten.
const LEAST_SHARE: f64 = 3e-4;

/// Random numbers: SplitMix64 (Steele, Lea and Flood 2014).
pub(crate) struct Dice(u64);

impl Dice {
    /// Of the integral `number` of a kind, in the run of `seed`.
    pub(crate) fn new(seed: u64, kind: usize, number: u64) -> Self {
        let mut dice = Self(seed ^ (kind as u64) << 56);
        Self(dice.next() ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// As likely in every order of magnitude.
    fn scale(&mut self, low: f64, high: f64) -> f64 {
        self.between(low.ln(), high.ln()).exp()
    }

    fn whole(&mut self, low: u32, high: u32) -> usize {
        self.between(f64::from(low), f64::from(high + 1)) as usize
    }
}

/// A constant or a smooth function over the unit cube, with its integral.
fn background(dice: &mut Dice, dim: usize) -> (String, f64) {
    let level = dice.between(0.5, 2.0);
    if dice.next().is_multiple_of(2) {
        return (format!("{level}"), level);
    }
    let slope = dice.between(0.1, 0.9);
    let text: Vec<String> = (0..dim)
        .map(|axis| format!("cos({slope}*x{axis})"))
        .collect();
    let value = (slope.sin() / slope).powi(dim as i32);
    (format!("{level}*{}", text.join("*")), level * value)
}

/// A background and `height` wherever `condition` holds, which fills `share` of the cube.
fn with_feature(dice: &mut Dice, dim: usize, condition: &str, share: f64) -> Request {
    let (text, value) = background(dice, dim);
    // The feature adds between a thousandth and all of the background.
    let height = dice.scale(1e-3, 1.0) * value / share;
    request(
        &format!("{text}+{height}*if({condition},1,0)"),
        value + height * share,
    )
}

fn request(expression: &str, exact: f64) -> Request {
    let exact = serde_json::json!(exact);
    serde_json::from_value(serde_json::json!({ "expression": expression, "exact": exact }))
        .expect("a request of a formula and a number")
}

fn over(mut request: Request, dim: usize, lower: f64, upper: f64) -> Request {
    request.lower = vec![Limit(lower); dim];
    request.upper = vec![Limit(upper); dim];
    request
}

fn slab(dice: &mut Dice) -> Request {
    let dim = dice.whole(1, 4);
    let half = dice.scale(LEAST_SHARE, 0.1) / 2.0;
    let centre = dice.between(half, 1.0 - half);
    let axis = dice.whole(0, dim as u32 - 1);
    let condition = format!("abs(x{axis}-{centre})<{half}");
    let request = with_feature(dice, dim, &condition, 2.0 * half);
    over(request, dim, 0.0, 1.0)
}

/// The volume of the unit ball.
fn ball_volume(dim: usize) -> f64 {
    let (mut volume, mut at) = if dim.is_multiple_of(2) {
        (1.0, 0)
    } else {
        (2.0, 1)
    };
    while at < dim {
        at += 2;
        volume *= 2.0 * std::f64::consts::PI / at as f64;
    }
    volume
}

fn squares(centre: &[f64]) -> String {
    let terms: Vec<String> = (0..)
        .zip(centre)
        .map(|(axis, at): (usize, _)| format!("(x{axis}-{at})^2"))
        .collect();
    terms.join("+")
}

fn ball(dice: &mut Dice) -> Request {
    let dim = dice.whole(2, 6);
    let volume = ball_volume(dim);
    let most = (volume * 0.4_f64.powi(dim as i32)).min(0.1);
    let share = dice.scale(LEAST_SHARE, most);
    let radius = (share / volume).powf(1.0 / dim as f64);
    let centre: Vec<f64> = (0..dim)
        .map(|_| dice.between(radius, 1.0 - radius))
        .collect();
    let condition = format!("{}<{}", squares(&centre), radius * radius);
    let request = with_feature(dice, dim, &condition, volume * radius.powi(dim as i32));
    over(request, dim, 0.0, 1.0)
}

fn corner(dice: &mut Dice) -> Request {
    let dim = dice.whole(1, 6);
    let side = dice.scale(LEAST_SHARE, 0.1).powf(1.0 / dim as f64);
    let axes: Vec<String> = (0..dim).map(|axis| format!("x{axis}")).collect();
    let largest = axes
        .into_iter()
        .reduce(|all, axis| format!("max({all},{axis})"))
        .unwrap_or_default();
    let request = with_feature(
        dice,
        dim,
        &format!("{largest}<{side}"),
        side.powi(dim as i32),
    );
    over(request, dim, 0.0, 1.0)
}

fn gaussian(dice: &mut Dice) -> Request {
    let dim = dice.whole(1, 5);
    let (text, value) = background(dice, dim);
    // Within two standard deviations along each axis, and 7.5 of them to every face: erf leaves less than 1e-13.
    let width = (dice.scale(LEAST_SHARE, 1e-2).powf(1.0 / dim as f64) / 4.0).min(0.06);
    let volume = (width * (2.0 * std::f64::consts::PI).sqrt()).powi(dim as i32);
    let height = dice.scale(1e-2, 1.0) * value / volume;
    let rim = 7.5 * width;
    let centre: Vec<f64> = (0..dim).map(|_| dice.between(rim, 1.0 - rim)).collect();
    let expression = format!(
        "{text}+{height}*exp(-({})/{})",
        squares(&centre),
        2.0 * width * width
    );
    over(request(&expression, value + height * volume), dim, 0.0, 1.0)
}

fn far_peak(dice: &mut Dice) -> Request {
    let far = dice.scale(5.0, 3e3)
        * if dice.next().is_multiple_of(2) {
            1.0
        } else {
            -1.0
        };
    let width = dice.between(0.7, 3.0);
    let height = dice.scale(0.05, 2.0);
    let expression = format!("exp(-x^2)+{height}*exp(-((x-({far}))/{width})^2)");
    let exact = std::f64::consts::PI.sqrt() * (1.0 + height * width);
    over(
        request(&expression, exact),
        1,
        f64::NEG_INFINITY,
        f64::INFINITY,
    )
}

fn tail(dice: &mut Dice) -> Request {
    let power = dice.between(0.2, 0.95);
    if dice.next().is_multiple_of(2) {
        let dim = dice.whole(1, 3);
        let axes: Vec<String> = (0..dim).map(|axis| format!("x{axis}^(-{power})")).collect();
        let exact = (1.0 - power).recip().powi(dim as i32);
        return over(request(&axes.join("*"), exact), dim, 0.0, 1.0);
    }
    let rest = 1.0 + power;
    over(
        request(&format!("(1+x)^(-{rest})"), power.recip()),
        1,
        0.0,
        f64::INFINITY,
    )
}

fn zero(dice: &mut Dice) -> Request {
    let dim = dice.whole(1, 6);
    let term = |dice: &mut Dice, axis: usize| {
        let factor = dice.scale(1e-3, 1e3);
        match dice.whole(0, 3) {
            0 => format!("{factor}*x{axis}"),
            1 => format!("{factor}*x{axis}^3"),
            2 => format!("sin({}*x{axis})", dice.between(0.5, 9.0)),
            _ => format!(
                "{factor}*x{axis}*cos({}*x{})",
                dice.between(0.5, 3.0),
                dim - 1 - axis
            ),
        }
    };
    let odd: Vec<String> = (0..dim).map(|axis| term(dice, axis)).collect();
    // The term in the middle of an odd number of axes would be x cos(x): odd as well.
    over(request(&odd.join("+"), 0.0), dim, -1.0, 1.0)
}

fn two_scales(dice: &mut Dice) -> Request {
    let dim = dice.whole(1, 4);
    let mut factors = Vec::new();
    let mut exact = 1.0;
    for axis in 0..dim {
        let (narrow, wide) = (dice.scale(1e-3, 3e-2), dice.between(0.3, 3.0));
        let height = dice.scale(0.1, 1.0) / narrow;
        factors.push(format!(
            "(exp(-x{axis}/{wide})+{height}*exp(-x{axis}/{narrow}))"
        ));
        let integral = |scale: f64| -scale * (-scale.recip()).exp_m1();
        exact *= integral(wide) + height * integral(narrow);
    }
    over(request(&factors.join("*"), exact), dim, 0.0, 1.0)
}
