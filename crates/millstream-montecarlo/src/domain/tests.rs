//! Limits, the way into the domain and back, and volumes beyond the doubles.

use super::*;

const INF: f64 = f64::INFINITY;

fn domain(limits: &[(f64, f64)]) -> Domain {
    let (lower, upper): (Vec<_>, Vec<_>) = limits
        .iter()
        .map(|(lower, upper)| (Limit(*lower), Limit(*upper)))
        .unzip();
    Domain::new(&lower, &upper).unwrap()
}

fn refused(limits: &[(f64, f64)]) -> String {
    let (lower, upper): (Vec<_>, Vec<_>) = limits
        .iter()
        .map(|(lower, upper)| (Limit(*lower), Limit(*upper)))
        .unzip();
    Domain::new(&lower, &upper).unwrap_err().to_string()
}

#[test]
fn limits_are_numbers_or_words_in_json() {
    let limits: Vec<Limit> = serde_json::from_str(r#"[0, -1.5, "-inf", "inf", 1e300]"#).unwrap();
    assert_eq!(limits, [0.0, -1.5, -INF, INF, 1e300].map(Limit));
    assert_eq!(
        serde_json::to_string(&limits).unwrap(),
        r#"[0.0,-1.5,"-inf","inf",1e+300]"#
    );
    let refused = serde_json::from_str::<Limit>(r#""many""#)
        .unwrap_err()
        .to_string();
    // The parser may add the place.
    assert_eq!(
        refused.split(" at line").next(),
        Some("`many` is no limit: a number, -inf or inf is expected")
    );
}

#[test]
fn limits_that_make_no_box_are_refused() {
    assert_eq!(
        refused(&[(0.0, 1.0), (2.0, 2.0)]),
        "failed to accept `lower`: axis 1 goes from 2 to 2; the lower limit must be the smaller one"
    );
    assert_eq!(
        refused(&[(f64::NAN, 1.0)]),
        "failed to accept `lower`: axis 0 has a limit that is no number"
    );
    assert_eq!(
        refused(&[]),
        "failed to accept `lower`: 0 axes, expected 1 to 64"
    );
    assert_eq!(
        refused(&[(0.0, 1.0); 65]),
        "failed to accept `lower`: 65 axes, expected 1 to 64"
    );
    let uneven = Domain::new(&[Limit(0.0)], &[]).unwrap_err().to_string();
    assert_eq!(
        uneven,
        "failed to accept `upper`: 0 limits, but `lower` has 1"
    );
}

/// The point of the domain at `u` of the unit cube, and the weight there.
fn stretched(domain: &Domain, u: &[f64]) -> (Vec<f64>, f64) {
    let mut points: Vec<f64> = u.iter().flat_map(|u| [*u; BLOCK]).collect();
    let mut weights = [1.0; BLOCK];
    domain.stretch(&mut points, &mut weights);
    (points.into_iter().step_by(BLOCK).collect(), weights[0])
}

#[test]
fn the_way_back_leads_where_one_came_from() {
    let domain = domain(&[
        (-2.0, 3.0),
        (1.0, INF),
        (-INF, -1.0),
        (-INF, INF),
        (-1e308, 1e308),
    ]);
    for number in 1..20 {
        let u = [f64::from(number) / 20.0; 5];
        let (x, weight) = stretched(&domain, &u);
        assert!(weight >= 1.0);
        for (back, u) in domain.unit(&x).unwrap().iter().zip(u) {
            // A few roundings on the way there and back.
            assert!((back - u).abs() < 1e-14, "{back} {u}");
        }
    }
    assert_eq!(domain.unit(&[9.0, 2.0, -2.0, 0.0, 0.0]), None);
    assert_eq!(domain.unit(&[0.0]), None);
}

#[test]
fn weights_are_the_derivatives_of_the_way() {
    let domain = domain(&[(1.0, INF), (-INF, -1.0), (-INF, INF)]);
    let step = 1e-6;
    for axis in 0..3 {
        for u in [0.1, 0.45, 0.8] {
            let at = |u: f64| {
                let mut point = [0.5; 3];
                point[axis] = u;
                stretched(&domain, &point)
            };
            let slope = (at(u + step).0[axis] - at(u - step).0[axis]) / (2.0 * step);
            // The two axes in the middle have weights of 4, 4 and 2.
            let others = [4.0, 4.0, 2.0]
                .iter()
                .enumerate()
                .filter(|other| other.0 != axis)
                .map(|other| other.1)
                .product::<f64>();
            assert!(
                (at(u).1 / others / slope - 1.0).abs() < 1e-8,
                "axis {axis} at {u}"
            );
        }
    }
}

#[test]
fn volumes_go_beyond_the_doubles_and_come_back() {
    let large = domain(&[(-1e308, 1e308); 3]);
    assert_eq!(large.volume().times(0.0), 0.0);
    assert_eq!(large.volume().times(1.0), INF);
    // 8e924 times 1e-308 three times.
    let back = large.volume().scaled(-2048).times(2.0_f64.powi(-1020));
    assert!(
        (back.ln() - (8.0_f64.ln() + 924.0 * 10.0_f64.ln() - 3068.0 * 2.0_f64.ln())).abs() < 1e-9
    );
    let small = domain(&[(0.0, 1e-200); 3]);
    assert_eq!(small.volume().times(1.0), 0.0);
    assert_eq!(
        domain(&[(-1.0, 3.0), (0.0, 0.5), (0.0, INF)])
            .volume()
            .times(7.5),
        15.0
    );
    assert_eq!(
        domain(&[(0.0, 1.0)]).volume().times(f64::from_bits(3)),
        f64::from_bits(3)
    );
}
