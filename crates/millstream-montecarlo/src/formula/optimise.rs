//! Constants folded, equal operations shared, whole powers as products: fewer operations, the same bits.
//!
//! Every rewriting here is exact, zeros and infinities included, and constants are folded by the kernels themselves; so an
//! optimised formula gives the bits of one that is evaluated as written. What a power means is decided here too:
//! `u^n` with a constant whole `n` up to 16 is repeated squaring, `u^0.5` is `sqrt(u)`, all else the kernel `pow`.

use super::tree::{Id, Node, Tree, select};
use crate::kernels::{Binary, Unary};

/// Largest whole power that is computed by multiplications.
pub(super) const MOST_PRODUCTS: f64 = 16.0;

/// The same outputs with fewer operations.
pub(crate) fn optimise(tree: &Tree) -> Tree {
    let mut better = Tree::default();
    let mut new: Vec<Id> = Vec::with_capacity(tree.nodes.len());
    let at = |new: &[Id], id: Id| new.get(id).copied().unwrap_or_default();
    for node in &tree.nodes {
        let id = match *node {
            Node::Number(_) | Node::Variable(_) => better.share(*node),
            Node::One(function, a) => one(&mut better, function, at(&new, a)),
            Node::Two(function, a, b) => two(&mut better, function, at(&new, a), at(&new, b)),
            Node::If(c, a, b) => choice(&mut better, at(&new, c), at(&new, a), at(&new, b)),
        };
        new.push(id);
    }
    better.outputs = tree.outputs.iter().map(|id| at(&new, *id)).collect();
    better
}

fn one(tree: &mut Tree, function: Unary, a: Id) -> Id {
    match (function, tree.node(a)) {
        (_, Node::Number(value)) => tree.share(Node::Number(function.scalar(value))),
        (Unary::Neg, Node::One(Unary::Neg, inner)) => inner,
        (Unary::Neg, Node::Two(Binary::Mul, left, right)) => match tree.node(right) {
            Node::Number(value) => {
                let negative = tree.share(Node::Number(-value));
                two(tree, Binary::Mul, left, negative)
            }
            _ => tree.share(Node::One(function, a)),
        },
        _ => tree.share(Node::One(function, a)),
    }
}

fn choice(tree: &mut Tree, condition: Id, a: Id, b: Id) -> Id {
    match tree.node(condition) {
        Node::Number(value) if value.is_nan() => tree.share(Node::Number(f64::NAN)),
        Node::Number(value) => {
            if select(value, 1.0, 0.0) == 1.0 {
                a
            } else {
                b
            }
        }
        _ => tree.share(Node::If(condition, a, b)),
    }
}

fn two(tree: &mut Tree, function: Binary, a: Id, b: Id) -> Id {
    match (tree.node(a), tree.node(b)) {
        (Node::Number(x), Node::Number(y)) if function != Binary::Pow => {
            return tree.share(Node::Number(function.scalar(x, y)));
        }
        (_, Node::Number(y)) => {
            if let Some(id) = with_number(tree, function, a, y) {
                return id;
            }
        }
        _ => {}
    }
    match (function, tree.node(a), tree.node(b)) {
        (Binary::Add, _, Node::One(Unary::Neg, inner)) => two(tree, Binary::Sub, a, inner),
        (Binary::Add, Node::One(Unary::Neg, inner), _) => two(tree, Binary::Sub, b, inner),
        (Binary::Sub, _, Node::One(Unary::Neg, inner)) => two(tree, Binary::Add, a, inner),
        // Commutative: numbers to the right, and otherwise one order for both spellings.
        (Binary::Add | Binary::Mul, Node::Number(_), _) => two(tree, function, b, a),
        (Binary::Add | Binary::Mul, _, right) if a > b && !matches!(right, Node::Number(_)) => {
            tree.share(Node::Two(function, b, a))
        }
        _ => tree.share(Node::Two(function, a, b)),
    }
}

/// What `a` and a number on its right can become.
fn with_number(tree: &mut Tree, function: Binary, a: Id, y: f64) -> Option<Id> {
    match function {
        Binary::Mul | Binary::Div if y == 1.0 => Some(a),
        Binary::Mul | Binary::Div if y == -1.0 => Some(one(tree, Unary::Neg, a)),
        // x - c is x + (-c); and adding -0 changes nothing.
        Binary::Sub => {
            let negative = tree.share(Node::Number(-y));
            Some(two(tree, Binary::Add, a, negative))
        }
        Binary::Add if y == 0.0 && y.is_sign_negative() => Some(a),
        // The inverse of a power of two is exact.
        Binary::Div if y.is_normal() && (1.0 / y).is_normal() && y.to_bits() << 12 == 0 => {
            let inverse = tree.share(Node::Number(1.0 / y));
            Some(two(tree, Binary::Mul, a, inverse))
        }
        Binary::Mul => match tree.node(a) {
            Node::One(Unary::Neg, inner) => {
                let negative = tree.share(Node::Number(-y));
                Some(two(tree, Binary::Mul, inner, negative))
            }
            _ => None,
        },
        Binary::Pow => power(tree, a, y),
        _ => None,
    }
}

/// A power with a constant exponent.
fn power(tree: &mut Tree, base: Id, exponent: f64) -> Option<Id> {
    if exponent.abs() == 0.5 {
        let root = one(tree, Unary::Sqrt, base);
        return Some(inverted_if(tree, root, exponent < 0.0));
    }
    if exponent.fract() == 0.0 && exponent.abs() <= MOST_PRODUCTS {
        let product = products(tree, base, exponent.abs() as u32);
        return Some(inverted_if(tree, product, exponent < 0.0));
    }
    let Node::Number(value) = tree.node(base) else {
        return None;
    };
    Some(tree.share(Node::Number(Binary::Pow.scalar(value, exponent))))
}

fn inverted_if(tree: &mut Tree, a: Id, negative: bool) -> Id {
    if !negative {
        return a;
    }
    let unit = tree.share(Node::Number(1.0));
    two(tree, Binary::Div, unit, a)
}

/// An even power is a square, an odd one the base times the power before.
fn products(tree: &mut Tree, base: Id, exponent: u32) -> Id {
    match exponent {
        0 => tree.share(Node::Number(1.0)),
        1 => base,
        _ if exponent.is_multiple_of(2) => {
            let half = products(tree, base, exponent / 2);
            two(tree, Binary::Mul, half, half)
        }
        _ => {
            let before = products(tree, base, exponent - 1);
            two(tree, Binary::Mul, before, base)
        }
    }
}
