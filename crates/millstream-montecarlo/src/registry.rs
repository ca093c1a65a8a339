//! Named integrands: Rust functions that a request can name.
//!
//! An expression that begins with `@` is a name of the registry; any other is a formula. Every process that works on one
//! job must hold the same functions under the same names; the registry cannot check that, the digests of partial results do.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::formula::{Formula, nearest};
use crate::{Error, Integrand};

/// Integrands by name.
///
/// ```
/// use millstream_montecarlo::{Closure, Registry};
/// use std::sync::Arc;
/// let mut functions = Registry::new();
/// functions.insert("ring", Arc::new(Closure::new(2, |x| f64::from(x[0] * x[0] + x[1] * x[1] < 1.0))));
/// let ring = functions.resolve("@ring", None, &Default::default())?;
/// assert_eq!(ring.dim(), 2);
/// # Ok::<(), millstream_montecarlo::Error>(())
/// ```
#[derive(Default, Clone)]
pub struct Registry {
    functions: BTreeMap<String, Arc<dyn Integrand>>,
}

impl Registry {
    /// A registry without functions: formulas only.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `function` as `@name`; the one that had the name before is given back.
    pub fn insert(
        &mut self,
        name: impl Into<String>,
        function: Arc<dyn Integrand>,
    ) -> Option<Arc<dyn Integrand>> {
        self.functions.insert(name.into(), function)
    }

    /// All names, in alphabetical order, without the `@`.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.functions.keys().map(String::as_str)
    }

    /// The integrand that `expression` means, a formula or `@name`; `dim` is the dimension wanted, when known.
    pub fn resolve(
        &self,
        expression: &str,
        dim: Option<usize>,
        params: &BTreeMap<String, f64>,
    ) -> Result<Arc<dyn Integrand>, Error> {
        let Some(name) = expression.trim().strip_prefix('@') else {
            return Ok(Arc::new(Formula::parse(expression, dim, params)?));
        };
        let Some(function) = self.functions.get(name) else {
            return Err(self.unknown(name));
        };
        match dim {
            Some(dim) if dim != function.dim() => Err(Error::Request {
                field: "dim".into(),
                reason: format!("{dim}, but `@{name}` takes {} coordinates", function.dim()),
            }),
            _ if !params.is_empty() => Err(Error::Request {
                field: "params".into(),
                reason: format!("`@{name}` is a function of the program and takes no parameters"),
            }),
            _ => Ok(Arc::clone(function)),
        }
    }

    fn unknown(&self, name: &str) -> Error {
        let hint = match nearest(name, self.names()) {
            Some(near) => format!("did you mean `@{near}`?"),
            None if self.functions.is_empty() => "this program registers none".into(),
            None => format!(
                "known: {}",
                self.names()
                    .map(|name| format!("@{name}"))
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
        };
        Error::Request {
            field: "expression".into(),
            reason: format!("no function is called `@{name}`; {hint}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Closure;

    fn functions() -> Registry {
        let mut functions = Registry::new();
        functions.insert("product", Arc::new(Closure::new(2, |x| x[0] * x[1])));
        functions
    }

    fn refused(expression: &str, dim: Option<usize>, params: &[(&str, f64)]) -> String {
        let params = params
            .iter()
            .map(|(name, value)| ((*name).to_owned(), *value))
            .collect();
        match functions().resolve(expression, dim, &params) {
            Ok(_) => "accepted".into(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn an_at_sign_names_a_function_and_anything_else_is_a_formula() {
        let functions = functions();
        assert_eq!(
            functions
                .resolve(" @product ", Some(2), &BTreeMap::new())
                .unwrap()
                .dim(),
            2
        );
        assert_eq!(
            functions
                .resolve("x0*x4", None, &BTreeMap::new())
                .unwrap()
                .dim(),
            5
        );
    }

    #[test]
    fn a_wrong_name_dimension_or_parameter_is_told() {
        assert_eq!(
            refused("@prodct", None, &[]),
            "failed to accept `expression`: no function is called `@prodct`; did you mean `@product`?"
        );
        assert_eq!(
            refused("@wave", None, &[]),
            "failed to accept `expression`: no function is called `@wave`; known: @product"
        );
        assert_eq!(
            refused("@product", Some(3), &[]),
            "failed to accept `dim`: 3, but `@product` takes 2 coordinates"
        );
        assert_eq!(
            refused("@product", None, &[("a", 1.0)]),
            "failed to accept `params`: `@product` is a function of the program and takes no parameters"
        );
    }
}
