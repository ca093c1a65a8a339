//! Runs a program over blocks of points: one register, a block long, for each node.
//!
//! First form: every operation an instruction of its own.

use super::tree::{Id, Node, Tree, select};
use crate::BLOCK;

/// Instructions in order, and which registers are outputs.
#[derive(Debug)]
pub(crate) struct Program {
    nodes: Vec<Node>,
    outputs: Vec<Id>,
}

impl Program {
    pub(crate) fn new(tree: &Tree, _dim: usize) -> Self {
        Self {
            nodes: tree.nodes.clone(),
            outputs: tree.outputs.clone(),
        }
    }

    pub(crate) fn outputs(&self) -> usize {
        self.outputs.len()
    }

    pub(crate) fn run(&self, x: &[f64], out: &mut [f64], scratch: &mut Vec<f64>) {
        scratch.resize((self.nodes.len() * BLOCK).max(scratch.len()), 0.0);
        for (id, node) in self.nodes.iter().enumerate() {
            let (known, rest) = scratch.split_at_mut(id * BLOCK);
            let register = |id: Id| known.get(id * BLOCK..(id + 1) * BLOCK).unwrap_or_default();
            let target = rest.get_mut(..BLOCK).unwrap_or_default();
            match *node {
                Node::Number(value) => target.fill(value),
                Node::Variable(index) => {
                    target.copy_from_slice(
                        x.get(index * BLOCK..(index + 1) * BLOCK)
                            .unwrap_or_default(),
                    );
                }
                Node::One(function, a) => function.block(register(a), target),
                Node::Two(function, a, b) => function.block(register(a), register(b), target),
                Node::If(c, a, b) => {
                    let values = register(c).iter().zip(register(a)).zip(register(b));
                    target
                        .iter_mut()
                        .zip(values)
                        .for_each(|(to, ((c, a), b))| *to = select(*c, *a, *b));
                }
            }
        }
        for (out, id) in out.chunks_exact_mut(BLOCK).zip(&self.outputs) {
            out.copy_from_slice(
                scratch
                    .get(id * BLOCK..(id + 1) * BLOCK)
                    .unwrap_or_default(),
            );
        }
    }
}
