//! From a tree to a program: which steps are needed, in which order, and the registers they use.
//!
//! Steps stand in the order of the text, in which a value is mostly used soon after it is made; a register is free again
//! after the last step that reads it. So few blocks are alive at a time, and they stay in the first-level cache. An output
//! that no step reads is written to its place at once.
#![expect(
    clippy::indexing_slicing,
    reason = "nodes refer to earlier nodes of the same list, and each list here is as long"
)]

use super::pick::pick;
use super::program::{Action, Operand, Place, Program, Step};
use super::tree::{Id, Node, Tree};

/// The program of an optimised tree.
pub(crate) fn compile(tree: &Tree, dim: usize) -> Program {
    let mut actions = pick(tree);
    let readers = readers(tree, &mut actions);
    let mut blocks = Blocks {
        dim,
        places: vec![0; tree.nodes.len()],
        free: Vec::new(),
        registers: 0,
    };
    let mut steps = Vec::new();
    for (id, (node, mut action)) in tree.nodes.iter().zip(actions).enumerate() {
        if let Node::Variable(index) = node {
            blocks.places[id] = *index;
            continue;
        }
        let to = match (readers[id], sole_output(tree, id)) {
            (Reader::Nobody, _) => continue,
            (Reader::Output, Some(output)) => Place::Output(output),
            _ => Place::Register(blocks.take(id)),
        };
        let mut done = Vec::new();
        action.blocks(&mut |block| {
            if readers[*block] == Reader::Step(id) && !done.contains(block) {
                done.push(*block);
            }
            *block = blocks.places[*block];
        });
        done.iter()
            .for_each(|block| blocks.give_back(tree.nodes[*block], *block));
        steps.push(Step { action, to });
    }
    for (index, id) in tree.outputs.iter().enumerate() {
        if sole_output(tree, *id).is_none()
            || !matches!(readers[*id], Reader::Output)
            || is_variable(tree, *id)
        {
            steps.push(Step {
                action: Action::Copy(Operand::Block(blocks.places[*id])),
                to: Place::Output(index),
            });
        }
    }
    Program {
        dim,
        registers: blocks.registers,
        outputs: tree.outputs.len(),
        steps,
    }
}

/// Who reads a value last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reader {
    /// It is not needed.
    Nobody,
    /// The step of a node.
    Step(Id),
    /// It is an output and no step reads it.
    Output,
    /// It is an output, and some step reads it too.
    Both,
}

fn readers(tree: &Tree, actions: &mut [Action]) -> Vec<Reader> {
    let mut readers = vec![Reader::Nobody; tree.nodes.len()];
    tree.outputs
        .iter()
        .for_each(|id| readers[*id] = Reader::Output);
    for (id, action) in actions.iter_mut().enumerate().rev() {
        if readers[id] == Reader::Nobody || is_variable(tree, id) {
            continue;
        }
        action.blocks(&mut |block| {
            readers[*block] = match readers[*block] {
                Reader::Nobody => Reader::Step(id),
                Reader::Output => Reader::Both,
                known => known,
            };
        });
    }
    readers
}

fn is_variable(tree: &Tree, id: Id) -> bool {
    matches!(tree.nodes[id], Node::Variable(_))
}

/// The output that `id` is, when it is one only.
fn sole_output(tree: &Tree, id: Id) -> Option<usize> {
    let mut places = (0..tree.outputs.len()).filter(|index| tree.outputs[*index] == id);
    places.next().filter(|_| places.next().is_none())
}

/// Which block each node's value is in.
struct Blocks {
    dim: usize,
    places: Vec<usize>,
    free: Vec<usize>,
    registers: usize,
}

impl Blocks {
    /// A register for the value of node `id`.
    fn take(&mut self, id: Id) -> usize {
        let register = self.free.pop().unwrap_or_else(|| {
            self.registers += 1;
            self.registers - 1
        });
        self.places[id] = self.dim + register;
        register
    }

    fn give_back(&mut self, node: Node, id: Id) {
        if !matches!(node, Node::Variable(_)) {
            self.free.push(self.places[id] - self.dim);
        }
    }
}
