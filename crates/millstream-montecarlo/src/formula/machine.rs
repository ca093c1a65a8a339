//! Runs programs over blocks of points.
//!
//! Registers live in the caller's scratch memory and are not cleared: every step writes all of its block before any step
//! reads it. Nothing is allocated once the scratch memory is large enough.

use super::fold;
use super::program::{Action, Operand, Place, Program, Step};
use super::tree::select;
use crate::BLOCK;
use crate::isa::{Fill, fill};
use crate::kernels::Binary;
use crate::kernels::block::{Block, Lane};

/// Numbers in a cache line.
const LINE: usize = 8;

static EMPTY: Block = [f64::NAN; BLOCK];

/// The blocks that a step may read.
#[derive(Clone, Copy)]
pub(super) struct Known<'a> {
    x: &'a [Block],
    before: &'a [Block],
    after: &'a [Block],
}

impl<'a> Known<'a> {
    /// Coordinates first, then registers; the one that is written stands between `before` and `after`.
    #[inline(always)]
    pub(super) fn block(self, index: usize) -> &'a Block {
        let Some(register) = index.checked_sub(self.x.len()) else {
            return self.x.get(index).unwrap_or(&EMPTY);
        };
        match register.checked_sub(self.before.len() + 1) {
            Some(after) => self.after.get(after).unwrap_or(&EMPTY),
            None => self.before.get(register).unwrap_or(&EMPTY),
        }
    }
}

impl Program {
    /// Evaluates a block of points, see [`crate::Integrand::block`].
    pub(crate) fn run(&self, x: &[f64], out: &mut [f64], scratch: &mut Vec<f64>) {
        let wanted = self.registers * BLOCK + LINE;
        if scratch.len() < wanted {
            scratch.resize(wanted, 0.0);
        }
        let x = x.as_chunks::<BLOCK>().0;
        let x = x.get(..self.dim).unwrap_or(x);
        // Vectors that lie across two cache lines are loaded and stored in half the speed.
        let skipped = scratch
            .as_ptr()
            .align_offset(LINE * size_of::<f64>())
            .min(LINE);
        let registers = scratch
            .get_mut(skipped..)
            .unwrap_or_default()
            .as_chunks_mut::<BLOCK>()
            .0;
        let outputs = out.as_chunks_mut::<BLOCK>().0;
        for Step { action, to } in &self.steps {
            match *to {
                Place::Register(register) => {
                    let (before, rest) = registers.split_at_mut(register.min(registers.len()));
                    if let Some((target, after)) = rest.split_first_mut() {
                        step(action, Known { x, before, after }, target);
                    }
                }
                Place::Output(output) => {
                    if let Some(target) = outputs.get_mut(output) {
                        step(
                            action,
                            Known {
                                x,
                                before: registers,
                                after: &[],
                            },
                            target,
                        );
                    }
                }
            }
        }
    }
}

fn step(action: &Action, known: Known<'_>, out: &mut Block) {
    match action {
        Action::Copy(Operand::Block(block)) => *out = *known.block(*block),
        Action::Copy(Operand::Number(value)) => out.fill(*value),
        Action::One(function, a) => function.whole(known.block(*a), out),
        Action::Two(function, a, b) => two(*function, *a, *b, known, out),
        Action::If(c, a, b) => choose(known.block(*c), *a, *b, known, out),
        Action::Fold(fold) => fold::run(fold, known, out),
    }
}

fn two(function: Binary, a: Operand, b: Operand, known: Known<'_>, out: &mut Block) {
    match (a, b) {
        (Operand::Block(a), Operand::Block(b)) => {
            function.whole(known.block(a), known.block(b), out)
        }
        (Operand::Block(a), Operand::Number(b)) => function.whole(known.block(a), b, out),
        (Operand::Number(a), Operand::Block(b)) => function.whole(a, known.block(b), out),
        (Operand::Number(a), Operand::Number(b)) => out.fill(function.scalar(a, b)),
    }
}

fn choose(condition: &Block, a: Operand, b: Operand, known: Known<'_>, out: &mut Block) {
    match (a, b) {
        (Operand::Block(a), Operand::Block(b)) => {
            fill(Choice(condition, known.block(a), known.block(b)), out)
        }
        (Operand::Block(a), Operand::Number(b)) => fill(Choice(condition, known.block(a), b), out),
        (Operand::Number(a), Operand::Block(b)) => fill(Choice(condition, a, known.block(b)), out),
        (Operand::Number(a), Operand::Number(b)) => fill(Choice(condition, a, b), out),
    }
}

struct Choice<'a, A, B>(&'a Block, A, B);

impl<A: Lane, B: Lane> Fill for Choice<'_, A, B> {
    type Target = Block;

    #[inline(always)]
    fn fill(self, out: &mut Block) {
        for (i, out) in out.iter_mut().enumerate() {
            *out = select(self.0.get(i), self.1.get(i), self.2.get(i));
        }
    }
}
