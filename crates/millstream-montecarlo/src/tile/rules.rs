//! Cubature rules: the points and weights of a deterministic rule on the cube from -1 to 1, and of a coarser one among the
//! same points, whose difference is the estimate of the error.
//!
//! One dimension: Gauss and Kronrod with 7 and 15 points (Piessens et al., QUADPACK, 1983). Two to five: Genz and Malik (1980), of degree 7
//! and 5. Weights are normalised to a volume of one.

use crate::Error;

/// The most dimensions of a rule: its points double with each.
pub(crate) const MOST_DIMENSIONS: usize = 5;

/// Points and weights of a pair of rules.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    /// From -1 to 1 along each axis.
    pub(super) points: Vec<Vec<f64>>,
    /// The weight of each point in the fine rule, and in the coarse one.
    pub(super) weights: Vec<(f64, f64)>,
    /// For each axis, the points at -near, near, -far, far on it: where the fourth difference is taken. Empty in one dimension.
    pub(super) differences: Vec<[usize; 4]>,
}

/// (near / far)^2 of the points of a fourth difference.
pub(super) const DIFFERENCE_RATIO: f64 = 1.0 / 7.0;

/// The number of points in `dim` dimensions.
pub(crate) const fn rule_points(dim: usize) -> u64 {
    match dim {
        1 => 15,
        _ => (1 << dim) + 2 * dim as u64 * dim as u64 + 2 * dim as u64 + 1,
    }
}

impl Rule {
    pub(super) fn new(dim: usize) -> Result<Self, Error> {
        match dim {
            1 => Ok(gauss_kronrod()),
            2..=MOST_DIMENSIONS => Ok(genz_malik(dim)),
            _ => Err(Error::Request {
                field: "method".into(),
                reason: format!(
                    "cubature in {dim} dimensions, expected 1 to {MOST_DIMENSIONS}; `vegas` and `rqmc` take more"
                ),
            }),
        }
    }
}

/// Nodes, their Kronrod weights, and their Gauss weights (zero for those that only Kronrod has).
const GAUSS_KRONROD: [(f64, f64, f64); 8] = [
    (0.991_455_371_120_812_6, 0.022_935_322_010_529_224, 0.0),
    (
        0.949_107_912_342_758_5,
        0.063_092_092_629_978_56,
        0.129_484_966_168_869_7,
    ),
    (0.864_864_423_359_769_1, 0.104_790_010_322_250_18, 0.0),
    (
        0.741_531_185_599_394_5,
        0.140_653_259_715_525_92,
        0.279_705_391_489_276_64,
    ),
    (0.586_087_235_467_691_1, 0.169_004_726_639_267_9, 0.0),
    (
        0.405_845_151_377_397_2,
        0.190_350_578_064_785_42,
        0.381_830_050_505_118_9,
    ),
    (0.207_784_955_007_898_47, 0.204_432_940_075_298_89, 0.0),
    (0.0, 0.209_482_141_084_727_82, 0.417_959_183_673_469_4),
];

fn gauss_kronrod() -> Rule {
    let mut rule = Rule {
        points: Vec::new(),
        weights: Vec::new(),
        differences: Vec::new(),
    };
    for (node, fine, coarse) in GAUSS_KRONROD {
        let signs: &[f64] = if node == 0.0 { &[1.0] } else { &[-1.0, 1.0] };
        for sign in signs {
            rule.points.push(vec![sign * node]);
            rule.weights.push((fine / 2.0, coarse / 2.0));
        }
    }
    rule
}

fn genz_malik(dim: usize) -> Rule {
    let n = dim as f64;
    let (near, far, corner) = (
        (9.0_f64 / 70.0).sqrt(),
        (9.0_f64 / 10.0).sqrt(),
        (9.0_f64 / 19.0).sqrt(),
    );
    let corners = f64::from(1_u32 << dim);
    let centre = (
        (400.0_f64.mul_add(n, -9120.0).mul_add(n, 12824.0)) / 19683.0,
        (50.0_f64.mul_add(n, -950.0).mul_add(n, 729.0)) / 729.0,
    );
    let mut rule = Rule {
        points: vec![vec![0.0; dim]],
        weights: vec![centre],
        differences: Vec::new(),
    };
    let mut add = |places: &[(usize, f64)], weights| {
        let mut point = vec![0.0; dim];
        for (axis, place) in places {
            if let Some(coordinate) = point.get_mut(*axis) {
                *coordinate = *place;
            }
        }
        rule.points.push(point);
        rule.weights.push(weights);
        rule.points.len() - 1
    };
    let near_weights = (980.0 / 6561.0, 245.0 / 486.0);
    let far_weights = (
        400.0_f64.mul_add(-n, 1820.0) / 19683.0,
        100.0_f64.mul_add(-n, 265.0) / 1458.0,
    );
    let differences = (0..dim)
        .map(|axis| {
            [
                add(&[(axis, -near)], near_weights),
                add(&[(axis, near)], near_weights),
                add(&[(axis, -far)], far_weights),
                add(&[(axis, far)], far_weights),
            ]
        })
        .collect();
    for first in 0..dim {
        for second in 0..first {
            for (a, b) in [(-far, -far), (-far, far), (far, -far), (far, far)] {
                add(&[(first, a), (second, b)], (200.0 / 19683.0, 25.0 / 729.0));
            }
        }
    }
    for places in corner_places(dim, corner) {
        add(&places, (6859.0 / 19683.0 / corners, 0.0));
    }
    rule.differences = differences;
    rule
}

/// The corners of a cube that reaches from -`corner` to `corner`.
fn corner_places(dim: usize, corner: f64) -> impl Iterator<Item = Vec<(usize, f64)>> {
    (0..1_u32 << dim).map(move |signs| {
        let place = |axis: usize| {
            if signs >> axis & 1 == 1 {
                corner
            } else {
                -corner
            }
        };
        (0..dim).map(|axis| (axis, place(axis))).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The mean of a monomial over the cube: 1 / (power + 1) for each even power, zero for odd ones.
    fn mean(powers: &[i32]) -> f64 {
        powers
            .iter()
            .map(|power| {
                if power % 2 == 0 {
                    1.0 / f64::from(power + 1)
                } else {
                    0.0
                }
            })
            .product()
    }

    fn applied(rule: &Rule, powers: &[i32]) -> (f64, f64) {
        let term = |point: &[f64]| {
            point
                .iter()
                .zip(powers)
                .map(|(x, power)| x.powi(*power))
                .product::<f64>()
        };
        let sums = rule
            .points
            .iter()
            .zip(&rule.weights)
            .map(|(point, (fine, coarse))| (fine * term(point), coarse * term(point)));
        sums.fold((0.0, 0.0), |all, one| (all.0 + one.0, all.1 + one.1))
    }

    #[test]
    fn gauss_and_kronrod_are_exact_to_their_degrees() {
        let rule = Rule::new(1).unwrap();
        assert_eq!(rule.points.len() as u64, rule_points(1));
        for power in 0..=22 {
            let (fine, coarse) = applied(&rule, &[power]);
            assert!((fine - mean(&[power])).abs() < 1e-15, "{power}: {fine}");
            assert_eq!(
                (coarse - mean(&[power])).abs() < 1e-15,
                power <= 13 || power % 2 == 1,
                "{power}: {coarse}"
            );
        }
    }

    #[test]
    fn genz_malik_is_exact_to_degree_7_and_its_coarse_rule_to_5() {
        for dim in 2..=MOST_DIMENSIONS {
            let rule = Rule::new(dim).unwrap();
            assert_eq!(rule.points.len() as u64, rule_points(dim));
            for powers in [
                [0, 0],
                [2, 0],
                [2, 2],
                [4, 0],
                [4, 2],
                [6, 0],
                [3, 4],
                [1, 0],
            ] {
                let mut all = vec![0; dim];
                all[..2].copy_from_slice(&powers);
                let (fine, coarse) = applied(&rule, &all);
                // The largest weight is about 10 and there are up to 113 points: 1e-13 is rounding.
                assert!((fine - mean(&all)).abs() < 1e-13, "{all:?}: {fine}");
                if powers[0] + powers[1] <= 5 {
                    assert!((coarse - mean(&all)).abs() < 1e-13, "{all:?}: {coarse}");
                }
            }
        }
    }

    #[test]
    fn too_many_dimensions_are_refused() {
        assert_eq!(
            Rule::new(6).unwrap_err().to_string(),
            "failed to accept `method`: cubature in 6 dimensions, expected 1 to 5; `vegas` and `rqmc` take more"
        );
    }
}
