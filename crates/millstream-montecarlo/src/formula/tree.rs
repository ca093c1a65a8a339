//! A formula as nodes: what it means, before and after it is made fast.
//!
//! Nodes stand in one list and refer to earlier ones only, so every pass is a loop over the list and none recurses. The
//! meaning of a node is that of its kernel: each operation rounds on its own, in the order written. No pass may change a
//! bit of a value; nan is nan, whatever its payload.

use std::collections::HashMap;

use crate::kernels::{Binary, Unary};

/// The place of a node in its list.
pub(crate) type Id = usize;

/// One operation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Node {
    Number(f64),
    Variable(usize),
    One(Unary, Id),
    Two(Binary, Id, Id),
    /// Condition, value when it is not 0, value when it is. Both are computed; a nan condition gives nan.
    If(Id, Id, Id),
}

impl Node {
    /// The nodes it is computed from.
    pub(crate) fn operands(self) -> impl Iterator<Item = Id> {
        let (a, b, c) = match self {
            Self::Number(_) | Self::Variable(_) => (None, None, None),
            Self::One(_, a) => (Some(a), None, None),
            Self::Two(_, a, b) => (Some(a), Some(b), None),
            Self::If(a, b, c) => (Some(a), Some(b), Some(c)),
        };
        [a, b, c].into_iter().flatten()
    }

    /// What makes two nodes one: the same operation on the same operands, numbers by their bits.
    fn key(self) -> (u8, u8, u64, Id, Id) {
        match self {
            Self::Number(value) => (0, 0, value.to_bits(), 0, 0),
            Self::Variable(index) => (1, 0, 0, index, 0),
            Self::One(function, a) => (2, function as u8, 0, a, 0),
            Self::Two(function, a, b) => (3, function as u8, 0, a, b),
            Self::If(a, b, c) => (4, 0, a as u64, b, c),
        }
    }
}

/// `if(condition, a, b)` of numbers.
#[inline(always)]
pub(crate) fn select(condition: f64, a: f64, b: f64) -> f64 {
    let chosen = if condition == 0.0 { b } else { a };
    if condition.is_nan() {
        condition
    } else {
        chosen
    }
}

/// A list of nodes and which of them are outputs.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    pub(crate) nodes: Vec<Node>,
    pub(crate) outputs: Vec<Id>,
    known: HashMap<(u8, u8, u64, Id, Id), Id>,
}

impl Tree {
    /// Adds `node` as it is.
    pub(crate) fn add(&mut self, node: Node) -> Id {
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    /// Adds `node`, or finds the one that computes the same.
    pub(crate) fn share(&mut self, node: Node) -> Id {
        if let Some(id) = self.known.get(&node.key()) {
            return *id;
        }
        let id = self.add(node);
        self.known.insert(node.key(), id);
        id
    }

    /// Whether every output is a number.
    pub(crate) fn is_constant(&self) -> bool {
        let number = |id: &Id| matches!(self.node(*id), Node::Number(_));
        self.outputs.iter().all(number)
    }

    pub(crate) fn node(&self, id: Id) -> Node {
        self.nodes
            .get(id)
            .copied()
            .unwrap_or(Node::Number(f64::NAN))
    }
}
