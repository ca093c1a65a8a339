//! Where is integrated: limits per axis, and the way from the unit cube to them.
//!
//! Samples are drawn in the open unit cube. A finite axis is stretched linearly, and its width is kept out of the weights until
//! the end, so that very large and very small domains neither overflow nor vanish on the way. An infinite axis is
//! mapped by a rational function whose derivative is part of each sample's weight.

use std::fmt;

use serde::de::{Error as _, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::isa::{Body, dispatch};
use crate::{BLOCK, Error};

/// The most axes of a domain; the direction numbers of the Sobol sequence go as far.
pub const MOST_AXES: usize = 64;

/// A limit of integration: a number, or `"-inf"` or `"inf"` in JSON, which has no infinities of its own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limit(pub f64);

impl Serialize for Limit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            f64::INFINITY => serializer.serialize_str("inf"),
            f64::NEG_INFINITY => serializer.serialize_str("-inf"),
            number => serializer.serialize_f64(number),
        }
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(LimitVisitor)
    }
}

struct LimitVisitor;

impl Visitor<'_> for LimitVisitor {
    type Value = Limit;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, \"-inf\" or \"inf\"")
    }

    fn visit_f64<E>(self, value: f64) -> Result<Limit, E> {
        Ok(Limit(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Limit, E> {
        Ok(Limit(value as f64))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Limit, E> {
        Ok(Limit(value as f64))
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Limit, E> {
        value.parse().map_err(E::custom)
    }
}

impl std::str::FromStr for Limit {
    type Err = String;

    /// As on a command line: a number, `inf` or `-inf`.
    fn from_str(text: &str) -> Result<Self, String> {
        let word = text.trim();
        match word.parse::<f64>() {
            Ok(number) if !number.is_nan() => Ok(Self(number)),
            _ => Err(format!(
                "`{word}` is no limit: a number, -inf or inf is expected"
            )),
        }
    }
}

/// One axis of a domain.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Axis {
    Finite {
        lower: f64,
        upper: f64,
    },
    /// From `lower` to infinity.
    Above {
        lower: f64,
    },
    /// From minus infinity to `upper`.
    Below {
        upper: f64,
    },
    Infinite,
}

/// A box, finite or not, in up to [`MOST_AXES`] dimensions.
#[derive(Clone, Debug, PartialEq)]
pub struct Domain {
    axes: Vec<Axis>,
}

impl Domain {
    /// The box between `lower` and `upper`, axis by axis.
    ///
    /// # Errors
    /// No axis or too many; lists of different length; a limit that is no number; limits that are equal or reversed.
    pub fn new(lower: &[Limit], upper: &[Limit]) -> Result<Self, Error> {
        if lower.len() != upper.len() {
            return Err(refused(
                "upper",
                format!("{} limits, but `lower` has {}", upper.len(), lower.len()),
            ));
        }
        if lower.is_empty() || lower.len() > MOST_AXES {
            return Err(refused(
                "lower",
                format!("{} axes, expected 1 to {MOST_AXES}", lower.len()),
            ));
        }
        let pairs = lower.iter().zip(upper).enumerate();
        let axes = pairs.map(|(number, (lower, upper))| axis(number, lower.0, upper.0));
        Ok(Self {
            axes: axes.collect::<Result<_, _>>()?,
        })
    }

    /// The number of axes.
    pub fn dim(&self) -> usize {
        self.axes.len()
    }

    /// The lower limits.
    pub fn lower(&self) -> Vec<Limit> {
        self.axes
            .iter()
            .map(|axis| Limit(axis.limits().0))
            .collect()
    }

    /// The upper limits.
    pub fn upper(&self) -> Vec<Limit> {
        self.axes
            .iter()
            .map(|axis| Limit(axis.limits().1))
            .collect()
    }

    /// Whether every axis is finite.
    pub fn is_finite(&self) -> bool {
        self.axes
            .iter()
            .all(|axis| matches!(axis, Axis::Finite { .. }))
    }

    /// The volume of the finite axes, which no sample's weight contains: a mean over the unit cube times this is the integral.
    pub fn volume(&self) -> Volume {
        self.axes
            .iter()
            .fold(Volume::ONE, |volume, axis| match *axis {
                Axis::Finite { lower, upper } => volume.wider(lower, upper),
                _ => volume,
            })
    }

    /// Moves a block of points from the unit cube to the domain, in place; `weights` (a number per point) are multiplied with
    /// the derivative of the infinite axes.
    pub(crate) fn stretch(&self, points: &mut [f64], weights: &mut [f64; BLOCK]) {
        for (axis, points) in self.axes.iter().zip(points.as_chunks_mut::<BLOCK>().0) {
            dispatch(Stretch {
                axis: *axis,
                points,
                weights,
            });
        }
    }

    /// Moves a block of points of the domain half of the way to the middle, or to the finite end, of every infinite axis.
    pub(crate) fn halve(&self, points: &mut [f64]) {
        for (axis, points) in self.axes.iter().zip(points.as_chunks_mut::<BLOCK>().0) {
            let middle = match *axis {
                Axis::Finite { .. } => continue,
                Axis::Above { lower } => lower,
                Axis::Below { upper } => upper,
                Axis::Infinite => 0.0,
            };
            points
                .iter_mut()
                .for_each(|x| *x = middle + (*x - middle) / 2.0);
        }
    }

    /// The point of the domain at `unit` in the unit cube.
    pub(crate) fn point(&self, unit: &[f64]) -> Vec<f64> {
        let place = |(axis, unit): (&Axis, &f64)| {
            let (mut points, mut weights) = ([*unit; BLOCK], [1.0; BLOCK]);
            axis.stretch(&mut points, &mut weights);
            let [first, ..] = points;
            first
        };
        self.axes.iter().zip(unit).map(place).collect()
    }

    /// For each axis, whether its lower and its upper end are infinite.
    pub(crate) fn infinite_ends(&self) -> Vec<[bool; 2]> {
        let ends = |axis: &Axis| {
            let (lower, upper) = axis.limits();
            [lower.is_infinite(), upper.is_infinite()]
        };
        self.axes.iter().map(ends).collect()
    }

    /// Where in the unit cube the point `x` of the domain lies; `None` outside.
    pub fn unit(&self, x: &[f64]) -> Option<Vec<f64>> {
        let inside = |u: f64| (u > 0.0 && u < 1.0).then_some(u);
        let units = self
            .axes
            .iter()
            .zip(x)
            .map(|(axis, &x)| inside(axis.unit(x)));
        (x.len() == self.dim()).then_some(())?;
        units.collect()
    }
}

struct Stretch<'a> {
    axis: Axis,
    points: &'a mut [f64; BLOCK],
    weights: &'a mut [f64; BLOCK],
}

impl Body for Stretch<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        self.axis.stretch(self.points, self.weights);
    }
}

fn refused(field: &str, reason: String) -> Error {
    Error::Request {
        field: field.into(),
        reason,
    }
}

fn axis(number: usize, lower: f64, upper: f64) -> Result<Axis, Error> {
    if lower.is_nan() || upper.is_nan() {
        return Err(refused(
            "lower",
            format!("axis {number} has a limit that is no number"),
        ));
    }
    if lower >= upper {
        let reason = format!(
            "axis {number} goes from {lower} to {upper}; the lower limit must be the smaller one"
        );
        return Err(refused("lower", reason));
    }
    Ok(match (lower.is_finite(), upper.is_finite()) {
        (true, true) => Axis::Finite { lower, upper },
        (true, false) => Axis::Above { lower },
        (false, true) => Axis::Below { upper },
        (false, false) => Axis::Infinite,
    })
}

impl Axis {
    const fn limits(self) -> (f64, f64) {
        match self {
            Self::Finite { lower, upper } => (lower, upper),
            Self::Above { lower } => (lower, f64::INFINITY),
            Self::Below { upper } => (f64::NEG_INFINITY, upper),
            Self::Infinite => (f64::NEG_INFINITY, f64::INFINITY),
        }
    }

    #[inline(always)]
    fn stretch(self, points: &mut [f64; BLOCK], weights: &mut [f64; BLOCK]) {
        match self {
            Self::Finite { lower, upper } => {
                let width = upper - lower;
                if width.is_finite() {
                    points.iter_mut().for_each(|x| *x = x.mul_add(width, lower));
                } else {
                    points
                        .iter_mut()
                        .for_each(|x| *x = x.mul_add(upper, (1.0 - *x) * lower));
                }
            }
            Self::Above { lower } => {
                for (x, weight) in points.iter_mut().zip(weights) {
                    let left = 1.0 - *x;
                    *x = lower + *x / left;
                    *weight /= left * left;
                }
            }
            Self::Below { upper } => {
                for (x, weight) in points.iter_mut().zip(weights) {
                    let left = *x;
                    *weight /= left * left;
                    *x = upper - (1.0 - left) / left;
                }
            }
            // x = t / (1 - t^2) with t from -1 to 1.
            Self::Infinite => {
                for (x, weight) in points.iter_mut().zip(weights) {
                    let t = x.mul_add(2.0, -1.0);
                    // 1 - t^2 without the cancellation near the ends.
                    let left = 4.0 * *x * (1.0 - *x);
                    *x = t / left;
                    *weight *= 2.0 * t.mul_add(t, 1.0) / (left * left);
                }
            }
        }
    }

    fn unit(self, x: f64) -> f64 {
        match self {
            Self::Finite { lower, upper } => {
                x / 2.0 / (upper / 2.0 - lower / 2.0) - lower / 2.0 / (upper / 2.0 - lower / 2.0)
            }
            Self::Above { lower } => (x - lower) / (1.0 + (x - lower)),
            Self::Below { upper } => 1.0 / (1.0 + (upper - x)),
            Self::Infinite if x == 0.0 => 0.5,
            // The root of x t^2 + t - x = 0 between -1 and 1.
            Self::Infinite => (2.0 * x / (1.0 + (4.0 * x).mul_add(x, 1.0).sqrt())).midpoint(1.0),
        }
    }
}

/// A volume as a mantissa and a power of two, since the product of many widths may lie beyond any double.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Volume {
    mantissa: f64,
    exponent: i32,
}

impl Volume {
    const ONE: Self = Self {
        mantissa: 1.0,
        exponent: 0,
    };

    fn wider(self, lower: f64, upper: f64) -> Self {
        // Half of the width never overflows.
        let (mantissa, exponent) = split(upper / 2.0 - lower / 2.0);
        let (mantissa, more) = split(self.mantissa * mantissa);
        Self {
            mantissa,
            exponent: self.exponent + exponent + more + 1,
        }
    }

    /// `value` times the volume, rounded once; infinite or zero only when the product is beyond the doubles.
    pub fn times(self, value: f64) -> f64 {
        let (mantissa, exponent) = split(value);
        shifted(mantissa * self.mantissa, exponent + self.exponent)
    }

    /// The volume times a power of two.
    #[must_use]
    pub const fn scaled(self, exponent: i32) -> Self {
        Self {
            mantissa: self.mantissa,
            exponent: self.exponent + exponent,
        }
    }
}

/// `value` as a number in [1, 2) (or 0, or not finite) times a power of two.
fn split(value: f64) -> (f64, i32) {
    if value == 0.0 || !value.is_finite() {
        return (value, 0);
    }
    if value.is_subnormal() {
        let (mantissa, exponent) = split(value * 2.0_f64.powi(64));
        return (mantissa, exponent - 64);
    }
    let bits = value.to_bits();
    let exponent = ((bits >> 52) & 0x7ff) as i32 - 1023;
    (
        f64::from_bits((bits & !(0x7ff << 52)) | (1023 << 52)),
        exponent,
    )
}

/// `value`, in (-4, 4), times a power of two.
fn shifted(value: f64, exponent: i32) -> f64 {
    let power = |exponent: i32| f64::from_bits(((exponent + 1023) as u64) << 52);
    match exponent {
        ..-1022 => value * power(-1022) * power((exponent + 1022).max(-1022)),
        -1022..=1022 => value * power(exponent),
        1023.. => value * power(1022) * power((exponent - 1022).min(1023)),
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    lower: Vec<Limit>,
    upper: Vec<Limit>,
}

impl Serialize for Domain {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Raw {
            lower: self.lower(),
            upper: self.upper(),
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Domain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Raw::deserialize(deserializer)?;
        Self::new(&raw.lower, &raw.upper).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests;
