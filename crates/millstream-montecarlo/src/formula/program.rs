//! What a machine runs: steps over blocks of points, and where each finds and leaves its values.
//!
//! A *block* is 256 values. Blocks are numbered: coordinates first, then registers. A step never writes a block that it
//! reads. A *fold* is several sums or products in one step, so that what lies between them never goes through memory; it
//! rounds exactly as the single operations would.

use crate::kernels::{Binary, Unary};

/// A value of a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Operand {
    Block(usize),
    Number(f64),
}

/// What a term of a fold computes from its blocks `a`, `b` and its numbers `c`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// `a`
    Plain,
    /// `c0*a`
    Scaled,
    /// `c0*a + c1`
    Line,
    /// `a^2`
    Squared,
    /// `(a + c0)^2`
    Square,
    /// `(a + c0)^2 + c2`
    Lifted,
    /// `c1*(a + c0)^2 + c2`
    Parabola,
    /// `a*b`
    Times,
    /// `(c0*a)*b`
    Pair,
}

/// One term of a fold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Term {
    pub(crate) a: usize,
    pub(crate) b: usize,
    pub(crate) c: [f64; 3],
}

/// Most terms of one fold.
pub(crate) const MOST_TERMS: usize = 4;

/// Sums or products, from left to right.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Fold {
    pub(crate) product: bool,
    /// None where the first term begins.
    pub(crate) start: Option<Operand>,
    pub(crate) form: Form,
    /// One to [`MOST_TERMS`].
    pub(crate) terms: Vec<Term>,
    /// What is divided by all of it.
    pub(crate) over: Option<Operand>,
}

impl Fold {
    /// A fold that begins with its first term.
    pub(crate) const fn first(product: bool, form: Form, terms: Vec<Term>) -> Self {
        Self {
            product,
            start: None,
            form,
            terms,
            over: None,
        }
    }
}

/// What a step computes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Action {
    Copy(Operand),
    One(Unary, usize),
    Two(Binary, Operand, Operand),
    If(usize, Operand, Operand),
    Fold(Fold),
}

impl Action {
    /// Calls `visit` with every block that is read.
    pub(crate) fn blocks(&mut self, visit: &mut dyn FnMut(&mut usize)) {
        let mut operand = |operand: &mut Operand| {
            if let Operand::Block(block) = operand {
                visit(block);
            }
        };
        match self {
            Self::Copy(a) => operand(a),
            Self::One(_, a) => visit(a),
            Self::Two(_, a, b) => {
                operand(a);
                operand(b);
            }
            Self::If(c, a, b) => {
                operand(a);
                operand(b);
                visit(c);
            }
            Self::Fold(fold) => {
                fold.start
                    .iter_mut()
                    .chain(&mut fold.over)
                    .for_each(operand);
                for term in &mut fold.terms {
                    visit(&mut term.a);
                    if matches!(fold.form, Form::Times | Form::Pair) {
                        visit(&mut term.b);
                    }
                }
            }
        }
    }
}

/// Where a step leaves its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Register(usize),
    Output(usize),
}

/// One step.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Step {
    pub(crate) action: Action,
    pub(crate) to: Place,
}

/// Steps in order.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Program {
    pub(crate) dim: usize,
    pub(crate) registers: usize,
    pub(crate) outputs: usize,
    pub(crate) steps: Vec<Step>,
}
