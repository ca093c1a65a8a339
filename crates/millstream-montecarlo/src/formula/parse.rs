//! From text to nodes: a recursive descent, one function a rule.
//!
//! ```text
//! formula    = comparison { ";" comparison }
//! comparison = sum [ ("<" | "<=" | ">" | ">=" | "==" | "!=") sum ]
//! sum        = product { ("+" | "-") product }
//! product    = signed { ("*" | "/") signed }
//! signed     = ("-" | "+") signed | power
//! power      = atom [ "^" signed ]
//! atom       = number | name [ "(" comparison { "," comparison } ")" ] | "(" comparison ")"
//! ```
//! The only recursion of the package over user input, so depth is limited here; so are length and outputs. The text
//! decides what is computed: `-x^2` is `-(x^2)`, `a^b^c` is `a^(b^c)`, sums and products go from left to right.

use std::collections::BTreeMap;

use super::error::FormulaError;
use super::names::{self, MOST_DIMENSIONS, Meaning};
use super::tree::{Id, Node, Tree};
use crate::kernels::{Binary, Unary};

/// Longest formula in bytes.
pub(crate) const MOST_BYTES: usize = 1 << 16;
/// Most operations, numbers and names in a formula.
const MOST_NODES: usize = 1 << 13;
/// Deepest nesting of parentheses, calls, signs and powers.
const MOST_DEPTH: usize = 128;
/// Most values of a formula.
pub(crate) const MOST_OUTPUTS: usize = 64;

/// A formula that was read.
#[derive(Debug)]
pub(crate) struct Parsed {
    pub(crate) tree: Tree,
    /// Coordinates of a point.
    pub(crate) dim: usize,
}

/// Reads `source`; `dim` is the dimension wanted, or else that of the highest variable.
pub(crate) fn parse(
    source: &str,
    dim: Option<usize>,
    params: &BTreeMap<String, f64>,
) -> Result<Parsed, FormulaError> {
    let mut parser = Parser {
        source,
        at: 0,
        depth: 0,
        params,
        dim,
        tree: Tree::default(),
        highest: 0,
        letter: None,
    };
    if source.len() > MOST_BYTES {
        return Err(parser.error(
            MOST_BYTES,
            format!("a formula has at most {MOST_BYTES} bytes"),
        ));
    }
    parser.formula()?;
    let dim = dim.unwrap_or(parser.highest.max(1));
    match parser.letter {
        Some(position) if dim > 3 => {
            let text = format!(
                "`x`, `y`, `z` are for up to three dimensions; here are {dim}: use x0, x1, .."
            );
            Err(parser.error(position, text))
        }
        _ => Ok(Parsed {
            tree: parser.tree,
            dim,
        }),
    }
}

struct Parser<'a> {
    source: &'a str,
    at: usize,
    depth: usize,
    params: &'a BTreeMap<String, f64>,
    dim: Option<usize>,
    tree: Tree,
    /// One more than the highest variable so far.
    highest: usize,
    /// Where a variable was first written as a letter.
    letter: Option<usize>,
}

const COMPARISONS: [(&str, Binary); 6] = [
    ("<=", Binary::Le),
    (">=", Binary::Ge),
    ("==", Binary::Eq),
    ("!=", Binary::Ne),
    ("<", Binary::Lt),
    (">", Binary::Gt),
];

impl<'a> Parser<'a> {
    fn formula(&mut self) -> Result<(), FormulaError> {
        loop {
            if self.tree.outputs.len() == MOST_OUTPUTS {
                return Err(self.here(format!("a formula has at most {MOST_OUTPUTS} values")));
            }
            let output = self.comparison()?;
            self.tree.outputs.push(output);
            if !self.take(";") {
                break;
            }
        }
        if self.rest().is_empty() {
            Ok(())
        } else {
            Err(self.here(self.after_value()))
        }
    }

    fn comparison(&mut self) -> Result<Id, FormulaError> {
        let left = self.sum()?;
        let Some(operator) = self.take_comparison() else {
            return Ok(left);
        };
        let right = self.sum()?;
        if COMPARISONS
            .iter()
            .any(|(text, _)| self.rest().starts_with(text))
        {
            return Err(self.here("comparisons do not chain; multiply them: `(a < b)*(b < c)`"));
        }
        self.add(Node::Two(operator, left, right))
    }

    fn take_comparison(&mut self) -> Option<Binary> {
        COMPARISONS
            .iter()
            .find(|(text, _)| self.take(text))
            .map(|(_, operator)| *operator)
    }

    fn sum(&mut self) -> Result<Id, FormulaError> {
        let mut left = self.product()?;
        loop {
            let operator = match self.take_one(&["+", "-"]) {
                Some("+") => Binary::Add,
                Some(_) => Binary::Sub,
                None => return Ok(left),
            };
            let right = self.product()?;
            left = self.add(Node::Two(operator, left, right))?;
        }
    }

    fn product(&mut self) -> Result<Id, FormulaError> {
        let mut left = self.signed()?;
        loop {
            if self.rest().starts_with("**") {
                return Err(self.here("expected a value; a power is written `^`"));
            }
            let operator = match self.take_one(&["*", "/"]) {
                Some("*") => Binary::Mul,
                Some(_) => Binary::Div,
                None => return Ok(left),
            };
            let right = self.signed()?;
            left = self.add(Node::Two(operator, left, right))?;
        }
    }

    fn signed(&mut self) -> Result<Id, FormulaError> {
        self.depth += 1;
        if self.depth > MOST_DEPTH {
            return Err(self.here(format!("nested deeper than {MOST_DEPTH} levels")));
        }
        let value = match self.take_one(&["-", "+"]) {
            Some("-") => {
                let value = self.signed()?;
                self.add(Node::One(Unary::Neg, value))
            }
            Some(_) => self.signed(),
            None => self.power(),
        };
        self.depth -= 1;
        value
    }

    fn power(&mut self) -> Result<Id, FormulaError> {
        let base = self.atom()?;
        if !self.take("^") {
            return Ok(base);
        }
        let exponent = self.signed()?;
        self.add(Node::Two(Binary::Pow, base, exponent))
    }

    fn atom(&mut self) -> Result<Id, FormulaError> {
        if self.take("(") {
            let value = self.comparison()?;
            self.close(")")?;
            return Ok(value);
        }
        match self.rest().chars().next() {
            Some(first) if first.is_ascii_digit() || first == '.' => self.number(),
            Some(first) if first.is_ascii_alphabetic() || first == '_' => self.name(),
            Some(_) => Err(self.here("expected a number, a variable, a function or `(`")),
            None => Err(self.here("expected a value, the formula ends here")),
        }
    }

    fn number(&mut self) -> Result<Id, FormulaError> {
        let (start, text) = (self.at, self.rest());
        let digits = |from: &str| from.bytes().take_while(u8::is_ascii_digit).count();
        let after = |length: usize| text.get(length..).unwrap_or_default();
        let whole = digits(text);
        let mut length = whole;
        let mut any = whole > 0;
        if after(length).starts_with('.') {
            let fraction = digits(after(length + 1));
            any |= fraction > 0;
            length += 1 + fraction;
        }
        if after(length).starts_with(['e', 'E']) {
            let sign = usize::from(after(length + 1).starts_with(['+', '-']));
            let exponent = digits(after(length + 1 + sign));
            length += if exponent > 0 { 1 + sign + exponent } else { 0 };
        }
        let value = text
            .get(..length)
            .and_then(|text| text.parse::<f64>().ok())
            .filter(|_| any);
        match value {
            Some(value) if value.is_finite() => {
                self.at += length;
                self.add(Node::Number(value))
            }
            Some(_) => Err(self.error(start, "the number is too large; the largest is 1.797e308")),
            None => Err(self.error(start, "expected a number")),
        }
    }

    fn name(&mut self) -> Result<Id, FormulaError> {
        let start = self.at;
        let word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
        let length = self.rest().bytes().take_while(word).count();
        let name = self.rest().get(..length).unwrap_or_default();
        self.at += length;
        let called = self.rest().starts_with('(');
        match names::meaning(name, self.params) {
            None => Err(self.error(start, names::unknown(name, called, self.params))),
            Some(Meaning::Number(value)) => self.add(Node::Number(value)),
            Some(Meaning::Variable(index, letter)) => self.variable(start, index, letter),
            Some(function) => {
                if !self.take("(") {
                    return Err(self.here(format!("expected `(` and the arguments of `{name}`")));
                }
                let arguments = self.arguments()?;
                self.call(start, name, function, &arguments)
            }
        }
    }

    fn variable(&mut self, start: usize, index: usize, letter: bool) -> Result<Id, FormulaError> {
        let most = self.dim.unwrap_or(MOST_DIMENSIONS);
        if index >= most {
            let allowed = if most == 1 {
                "only x0".into()
            } else {
                format!("x0 to x{}", most - 1)
            };
            let why = if self.dim.is_some() {
                "the integral has"
            } else {
                "an integral has at most"
            };
            let plural = if most == 1 { "" } else { "s" };
            return Err(self.error(
                start,
                format!("expected {allowed}, {why} {most} dimension{plural}"),
            ));
        }
        if letter {
            self.letter.get_or_insert(start);
        }
        self.highest = self.highest.max(index + 1);
        self.add(Node::Variable(index))
    }

    fn arguments(&mut self) -> Result<Vec<Id>, FormulaError> {
        let mut arguments = Vec::new();
        if self.take(")") {
            return Ok(arguments);
        }
        loop {
            arguments.push(self.comparison()?);
            if !self.take(",") {
                self.close(")")?;
                return Ok(arguments);
            }
        }
    }

    fn call(
        &mut self,
        start: usize,
        name: &str,
        function: Meaning,
        arguments: &[Id],
    ) -> Result<Id, FormulaError> {
        let wanted = match (function, arguments) {
            (Meaning::One(function), [a]) => return self.add(Node::One(function, *a)),
            (Meaning::Two(Binary::Min | Binary::Max), []) => "at least one argument",
            (Meaning::Two(function @ (Binary::Min | Binary::Max)), [first, others @ ..]) => {
                let join = |left, right: &Id| self.add(Node::Two(function, left, *right));
                return others.iter().try_fold(*first, join);
            }
            (Meaning::Two(function), [a, b]) => return self.add(Node::Two(function, *a, *b)),
            (Meaning::If, [condition, a, b]) => return self.add(Node::If(*condition, *a, *b)),
            (Meaning::One(_), _) => "one argument",
            (Meaning::Two(_), _) => "two arguments",
            _ => "three arguments (condition, value, other value)",
        };
        Err(self.error(
            start,
            format!("`{name}` takes {wanted}, here are {}", arguments.len()),
        ))
    }

    /// What to say when something follows a complete value.
    fn after_value(&self) -> String {
        match self.rest().chars().next() {
            Some(')') => "expected an operator or the end; this `)` closes nothing".into(),
            Some('=') => "expected an operator; equality is written `==`".into(),
            Some(',') => "expected an operator or the end; values are separated by `;`".into(),
            Some(next) if next.is_ascii_alphanumeric() || next == '(' || next == '_' => {
                "expected an operator; multiplication is written `*`".into()
            }
            _ => "expected an operator, `;` or the end".into(),
        }
    }

    fn close(&mut self, text: &str) -> Result<(), FormulaError> {
        if self.take(text) {
            return Ok(());
        }
        match self.rest().chars().next() {
            None | Some(';' | ',') => Err(self.here(format!("expected `{text}`"))),
            _ => Err(self.here(
                self.after_value()
                    .replace("`;` or the end", &format!("`{text}`")),
            )),
        }
    }

    fn add(&mut self, node: Node) -> Result<Id, FormulaError> {
        if self.tree.nodes.len() == MOST_NODES {
            return Err(self.here(format!(
                "a formula has at most {MOST_NODES} operations, numbers and names"
            )));
        }
        Ok(self.tree.add(node))
    }

    /// What is left, from the next character that is no space.
    fn rest(&self) -> &'a str {
        self.source.get(self.at..).unwrap_or_default()
    }

    fn skip_space(&mut self) {
        self.at = self.source.len() - self.rest().trim_start().len();
    }

    fn take(&mut self, text: &str) -> bool {
        self.skip_space();
        let found = self.rest().starts_with(text);
        self.at += if found { text.len() } else { 0 };
        self.skip_space();
        found
    }

    fn take_one(&mut self, texts: &[&'static str]) -> Option<&'static str> {
        texts.iter().find(|text| self.take(text)).copied()
    }

    fn here(&self, expected: impl Into<String>) -> FormulaError {
        self.error(self.at, expected)
    }

    fn error(&self, position: usize, expected: impl Into<String>) -> FormulaError {
        FormulaError {
            position,
            expected: expected.into(),
            source: self.source.to_owned(),
        }
    }
}
