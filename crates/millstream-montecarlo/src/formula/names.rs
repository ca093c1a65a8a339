//! The words of formulas: constants, functions, variables, and what an unknown word was meant to be.
//!
//! A parameter may have any other name of letters, digits and underscores.

use std::collections::BTreeMap;

use super::error::nearest;
use crate::Error;
use crate::kernels::{Binary, Unary};

/// Most coordinates of a point.
pub(crate) const MOST_DIMENSIONS: usize = 64;

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Meaning {
    Number(f64),
    /// The index, and whether it was written as a letter.
    Variable(usize, bool),
    One(Unary),
    Two(Binary),
    If,
}

/// Functions of two numbers that are called by name.
const TWO: [Binary; 4] = [Binary::Min, Binary::Max, Binary::Atan2, Binary::Pow];

/// What `name` means; parameters last, since none may hide another word.
pub(crate) fn meaning(name: &str, params: &BTreeMap<String, f64>) -> Option<Meaning> {
    word(name).or_else(|| params.get(name).map(|value| Meaning::Number(*value)))
}

fn word(name: &str) -> Option<Meaning> {
    match name {
        "pi" => return Some(Meaning::Number(std::f64::consts::PI)),
        "e" => return Some(Meaning::Number(std::f64::consts::E)),
        "if" => return Some(Meaning::If),
        "x" => return Some(Meaning::Variable(0, true)),
        "y" => return Some(Meaning::Variable(1, true)),
        "z" => return Some(Meaning::Variable(2, true)),
        "pow" => return Some(Meaning::Two(Binary::Pow)),
        _ => {}
    }
    let digits = name
        .strip_prefix('x')
        .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
    if let Some(digits) = digits.filter(|digits| digits.len() == 1 || !digits.starts_with('0')) {
        return Some(Meaning::Variable(
            digits.parse().unwrap_or(usize::MAX),
            false,
        ));
    }
    let one = || {
        Unary::ALL
            .iter()
            .find(|function| function.name() == name)
            .map(|function| Meaning::One(*function))
    };
    let two = || {
        TWO.iter()
            .find(|function| function.name() == name)
            .map(|function| Meaning::Two(*function))
    };
    one().or_else(two)
}

/// What to tell about the unknown word `name`; `called` when an opening parenthesis follows it.
pub(crate) fn unknown(name: &str, called: bool, params: &BTreeMap<String, f64>) -> String {
    let functions = Unary::ALL
        .iter()
        .map(|f| f.name())
        .chain(TWO.iter().map(|f| f.name()))
        .chain(["if"]);
    let functions = functions.filter(|name| name.len() > 1);
    let values = params.keys().map(String::as_str).chain(["pi"]);
    let said = match name {
        "log" => return "`log` has two meanings; say `ln` (natural) or `log10`".into(),
        "arcsin" | "arccos" | "arctan" => nearest(&name.replace("arc", "a"), functions),
        "fabs" => Some("abs"),
        "sgn" => Some("sign"),
        _ if called => nearest(name, functions),
        _ => nearest(name, values.chain(functions)),
    };
    match said {
        Some(near) => format!("unknown name `{name}`; did you mean `{near}`?"),
        None if called => format!("unknown function `{name}`"),
        None => format!(
            "unknown name `{name}`; expected a variable (x0, x1, ..), a parameter, or a function"
        ),
    }
}

/// Refuses parameters that no formula could name, or that hide a word.
pub(crate) fn check(params: &BTreeMap<String, f64>) -> Result<(), Error> {
    let refuse = |name: &str, reason| {
        Err(Error::Request {
            field: format!("params.{name}"),
            reason,
        })
    };
    for (name, value) in params {
        let starts = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
        if !starts
            || !name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        {
            return refuse(
                name,
                "a name is made of letters, digits and `_`, and does not begin with a digit".into(),
            );
        }
        if word(name).is_some() {
            return refuse(
                name,
                "the name has a meaning of its own in formulas; choose another".into(),
            );
        }
        if value.is_nan() {
            return refuse(name, "expected a number, it is nan".into());
        }
    }
    Ok(())
}
