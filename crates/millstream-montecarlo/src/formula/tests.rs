use std::collections::BTreeMap;

use super::Formula;
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
