//! Which steps a tree becomes: neighbouring sums and products are gathered into folds.
//!
//! From the leaves up, each node gets the action that would compute it, having taken in those nodes below that nothing else
//! uses. What is taken in, and thus every bit, depends on the tree alone. Identities make one form do for several: `1*x`,
//! `x + -0` is `x`, zeros and infinities included.
#![expect(
    clippy::indexing_slicing,
    reason = "nodes refer to earlier nodes of the same list, and each list here is as long"
)]

use super::program::{Action, Fold, Form, MOST_TERMS, Operand, Term};
use super::tree::{Id, Node, Tree};
use crate::kernels::{Binary, Unary};

/// Adding it changes nothing.
const NOTHING: f64 = -0.0;

/// The action of every node; their blocks are nodes.
pub(crate) fn pick(tree: &Tree) -> Vec<Action> {
    let mut picker = Picker {
        tree,
        uses: live_uses(tree),
        actions: Vec::with_capacity(tree.nodes.len()),
    };
    for id in 0..tree.nodes.len() {
        let action = picker.action(id);
        picker.actions.push(action);
    }
    picker
        .actions
        .into_iter()
        .map(simplified)
        .map(bare)
        .collect()
}

/// How often each node is used by nodes that matter to an output.
fn live_uses(tree: &Tree) -> Vec<usize> {
    let mut uses = vec![0; tree.nodes.len()];
    tree.outputs.iter().for_each(|id| uses[*id] += 1);
    for (id, node) in tree.nodes.iter().enumerate().rev() {
        if uses[id] > 0 {
            node.operands().for_each(|operand| uses[operand] += 1);
        }
    }
    uses
}

struct Picker<'a> {
    tree: &'a Tree,
    uses: Vec<usize>,
    actions: Vec<Action>,
}

impl Picker<'_> {
    fn action(&self, id: Id) -> Action {
        match self.tree.nodes[id] {
            Node::Number(value) => Action::Copy(Operand::Number(value)),
            Node::Variable(_) => Action::Copy(Operand::Block(id)),
            Node::One(function, a) => Action::One(function, a),
            Node::If(c, a, b) => Action::If(c, self.operand(a), self.operand(b)),
            Node::Two(Binary::Add, a, b) => self.sum(a, b, 1.0),
            Node::Two(Binary::Sub, a, b) => self.sum(a, b, -1.0),
            Node::Two(Binary::Mul, a, b) => self.product(id, a, b),
            Node::Two(Binary::Div, a, b) => self.quotient(a, b),
            Node::Two(function, a, b) => Action::Two(function, self.operand(a), self.operand(b)),
        }
    }

    /// What is divided by a fold that nothing else uses is one step with it.
    fn quotient(&self, a: Id, b: Id) -> Action {
        match &self.actions[b] {
            Action::Fold(fold)
                if self.uses[b] == 1 && fold.over.is_none() && !begins_with_block(fold) =>
            {
                Action::Fold(Fold {
                    over: Some(self.operand(a)),
                    ..fold.clone()
                })
            }
            _ => Action::Two(Binary::Div, self.operand(a), self.operand(b)),
        }
    }

    fn operand(&self, id: Id) -> Operand {
        match self.tree.nodes[id] {
            Node::Number(value) => Operand::Number(value),
            _ => Operand::Block(id),
        }
    }

    /// The fold at `id`, when nothing else needs its value.
    fn open(&self, id: Id, product: bool) -> Option<&Fold> {
        match &self.actions[id] {
            Action::Fold(fold)
                if self.uses[id] == 1 && fold.product == product && chain(self.tree.nodes[id]) =>
            {
                Some(fold)
            }
            _ => None,
        }
    }

    fn sum(&self, a: Id, b: Id, sign: f64) -> Action {
        let swap = sign > 0.0 && self.open(a, false).is_none() && self.open(b, false).is_some();
        let (left, right) = if swap { (b, a) } else { (a, b) };
        match (self.operand(left), self.operand(right)) {
            (start @ Operand::Number(_), _) => {
                self.fold(false, start, None, self.term(right).signed(sign, right))
            }
            (_, start @ Operand::Number(_)) => self.fold(false, start, None, self.term(left)),
            (start, _) => self.fold(
                false,
                start,
                Some(left),
                self.term(right).signed(sign, right),
            ),
        }
    }

    fn product(&self, id: Id, a: Id, b: Id) -> Action {
        if a == b {
            let Shape(form, term) = self.square(a);
            return Action::Fold(Fold::first(false, form, vec![term]));
        }
        let swap = self.open(a, true).is_none() && self.open(b, true).is_some();
        let (left, right) = if swap { (b, a) } else { (a, b) };
        match self.operand(right) {
            number @ Operand::Number(_) => match self.term(id) {
                Shape(form @ Form::Parabola, term) => {
                    Action::Fold(Fold::first(false, form, vec![term]))
                }
                _ => Action::Two(Binary::Mul, self.operand(left), number),
            },
            Operand::Block(_) => {
                self.fold(true, Operand::Block(left), Some(left), self.factor(right))
            }
        }
    }

    /// `start` and one more term; what is open at node `left` is taken in.
    fn fold(
        &self,
        product: bool,
        start: Operand,
        left: Option<Id>,
        Shape(form, term): Shape,
    ) -> Action {
        if let Some(left) = left {
            if let Some(open) = self
                .open(left, product)
                .filter(|open| open.terms.len() < MOST_TERMS)
                && let Some(form) = joined(open.form, form)
            {
                let mut fold = open.clone();
                fold.form = form;
                fold.terms.push(term);
                return Action::Fold(fold);
            }
            let Shape(first_form, first) = if product {
                self.factor(left)
            } else {
                self.term(left)
            };
            if let Some(form) =
                joined(first_form, form).filter(|_| self.open(left, product).is_none())
            {
                return Action::Fold(Fold::first(product, form, vec![first, term]));
            }
        }
        Action::Fold(Fold {
            start: Some(start),
            ..Fold::first(product, form, vec![term])
        })
    }

    /// `a^2`, with a number added in `a` taken in.
    fn square(&self, a: Id) -> Shape {
        let (a, shift) = match self.tree.nodes[a] {
            Node::Two(Binary::Add, x, number) if self.uses[a] == 2 => match self.operand(number) {
                Operand::Number(shift) => (x, shift),
                Operand::Block(_) => (a, NOTHING),
            },
            _ => (a, NOTHING),
        };
        Shape::of(Form::Square, a, [shift, 1.0, NOTHING])
    }

    /// A factor: as a term, but a product stays one block.
    fn factor(&self, id: Id) -> Shape {
        match self.term(id) {
            Shape(Form::Pair, _) => Shape::plain(id),
            shape => shape,
        }
    }

    /// The node as a term of a fold: a product or square, with one number added or one sign.
    fn term(&self, id: Id) -> Shape {
        if self.uses[id] != 1 {
            return Shape::plain(id);
        }
        match self.tree.nodes[id] {
            Node::Two(Binary::Add, a, b) => match self.operand(b) {
                Operand::Number(number) => self
                    .inner(a)
                    .plus(number)
                    .unwrap_or(Shape::line(a, 1.0, number)),
                Operand::Block(_) => Shape::plain(id),
            },
            Node::Two(Binary::Sub, a, b) => match self.operand(a) {
                Operand::Number(number) => self
                    .inner(b)
                    .signed(-1.0, b)
                    .plus(number)
                    .unwrap_or(Shape::line(b, -1.0, number)),
                Operand::Block(_) => Shape::plain(id),
            },
            Node::One(Unary::Neg, a) => self.inner(a).signed(-1.0, a),
            _ => self.inner(id),
        }
    }

    /// A product or square, or the node as it is.
    fn inner(&self, id: Id) -> Shape {
        match self.tree.nodes[id] {
            _ if self.uses[id] != 1 => Shape::plain(id),
            Node::Two(Binary::Mul, a, b) if a == b => self.square(a),
            Node::Two(Binary::Mul, a, b) => match self.operand(b) {
                Operand::Number(factor) => self.scaled(a, factor),
                Operand::Block(_) => self.pair(a, b),
            },
            _ => Shape::plain(id),
        }
    }

    /// `factor*a`.
    fn scaled(&self, a: Id, factor: f64) -> Shape {
        match (self.tree.nodes[a], self.uses[a]) {
            (Node::Two(Binary::Mul, d, e), 1) if d == e => {
                let Shape(_, term) = self.square(d);
                Shape(
                    Form::Parabola,
                    Term {
                        c: [term.c[0], factor, NOTHING],
                        ..term
                    },
                )
            }
            _ => Shape::of(Form::Scaled, a, [factor, NOTHING, NOTHING]),
        }
    }

    /// `a*b`, with a number from either taken in.
    fn pair(&self, a: Id, b: Id) -> Shape {
        let scaled = |id: Id| match self.tree.nodes[id] {
            Node::Two(Binary::Mul, inner, number) if self.uses[id] == 1 => {
                match self.operand(number) {
                    Operand::Number(factor) => Some((inner, factor)),
                    Operand::Block(_) => None,
                }
            }
            _ => None,
        };
        let (a, b, factor) = match (scaled(a), scaled(b)) {
            (Some((inner, factor)), _) => (inner, b, factor),
            (_, Some((inner, factor))) => (inner, a, factor),
            _ => (a, b, 1.0),
        };
        Shape(
            Form::Pair,
            Term {
                a,
                b,
                c: [factor, NOTHING, NOTHING],
            },
        )
    }
}

/// Whether folds at this node may be gone on with: a square is a fold of one term that means a product.
fn chain(node: Node) -> bool {
    match node {
        Node::Two(Binary::Mul, a, b) => a != b,
        Node::Two(Binary::Add | Binary::Sub, ..) => true,
        _ => false,
    }
}

/// A term and its form.
struct Shape(Form, Term);

impl Shape {
    const fn of(form: Form, a: Id, c: [f64; 3]) -> Self {
        Self(form, Term { a, b: a, c })
    }

    const fn plain(id: Id) -> Self {
        Self::of(Form::Plain, id, [1.0, NOTHING, NOTHING])
    }

    const fn line(id: Id, factor: f64, number: f64) -> Self {
        Shape::of(Form::Line, id, [factor, number, NOTHING])
    }

    /// Itself, being the node `id`, times 1 or -1. Negating both sides of a sum would give another zero where they cancel,
    /// so a form with a number added is left as one block.
    fn signed(self, sign: f64, id: Id) -> Self {
        if sign > 0.0 {
            return self;
        }
        let Self(form, mut term) = self;
        let [c0, c1, c2] = term.c;
        match form {
            Form::Plain => {
                return Self(
                    Form::Scaled,
                    Term {
                        c: [-1.0, c1, c2],
                        ..term
                    },
                );
            }
            Form::Scaled | Form::Pair => term.c = [-c0, c1, c2],
            Form::Square => {
                return Self(
                    Form::Parabola,
                    Term {
                        c: [c0, -1.0, NOTHING],
                        ..term
                    },
                );
            }
            Form::Parabola if c2.to_bits() == NOTHING.to_bits() => term.c = [c0, -c1, c2],
            _ => {
                return Self::of(Form::Scaled, id, [-1.0, NOTHING, NOTHING]);
            }
        }
        Self(form, term)
    }

    /// Itself and a number, where the form has room for one.
    fn plus(self, number: f64) -> Option<Self> {
        let Self(form, mut term) = self;
        match form {
            Form::Plain | Form::Scaled => Some(Self::line(term.a, term.c[0], number)),
            Form::Square => {
                term.c = [term.c[0], 1.0, number];
                Some(Self(Form::Lifted, term))
            }
            Form::Parabola if term.c[2].to_bits() == NOTHING.to_bits() => {
                term.c[2] = number;
                Some(Self(form, term))
            }
            _ => None,
        }
    }
}

const fn begins_with_block(fold: &Fold) -> bool {
    matches!(fold.start, Some(Operand::Block(_)))
}

/// The form that has both as special cases.
const fn joined(one: Form, other: Form) -> Option<Form> {
    use Form::{Lifted, Line, Pair, Parabola, Plain, Scaled, Square};
    match (one, other) {
        (Plain, Plain) => Some(Plain),
        (Plain | Scaled, Plain | Scaled) => Some(Scaled),
        (Plain | Scaled | Line, Plain | Scaled | Line) => Some(Line),
        (Square, Square) => Some(Square),
        (Square | Lifted, Square | Lifted) => Some(Lifted),
        (Square | Lifted | Parabola, Square | Lifted | Parabola) => Some(Parabola),
        (Pair, Pair) => Some(Pair),
        _ => None,
    }
}

/// A fold that is only one operation is that operation.
fn simplified(action: Action) -> Action {
    let Action::Fold(fold) = &action else {
        return action;
    };
    let sign = |term: &Term| match fold.form {
        Form::Plain => Some(1.0),
        Form::Scaled if term.c[0].abs() == 1.0 => Some(term.c[0]),
        _ => None,
    };
    let (start, term) = match (fold.start, fold.terms.as_slice()) {
        (Some(start), [term]) => (start, term),
        (None, [first, second]) if sign(first) == Some(1.0) => (Operand::Block(first.a), second),
        _ => return action,
    };
    let function = match (fold.product, sign(term)) {
        (true, Some(1.0)) => Binary::Mul,
        (false, Some(1.0)) => Binary::Add,
        (false, Some(_)) => Binary::Sub,
        _ => return action,
    };
    if fold.over.is_some() {
        action
    } else {
        Action::Two(function, start, Operand::Block(term.a))
    }
}

/// A fold without the numbers that change nothing in any of its terms.
fn bare(mut action: Action) -> Action {
    if let Action::Fold(fold) = &mut action {
        let all = |number: f64| fold.terms.iter().all(|term| term.c[0] == number);
        fold.form = match fold.form {
            Form::Pair if all(1.0) => Form::Times,
            Form::Square if all(0.0) => Form::Squared,
            form => form,
        };
    }
    action
}
