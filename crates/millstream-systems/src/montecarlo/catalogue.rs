//! The catalogue: named integrals with their domains and exact values, from which the producer picks.
//!
//! A file of requests, as `integrate --file` reads them, so adding one needs no new program. The one that is built in is
//! `config/montecarlo/catalogue.json`.

use std::path::Path;

use millstream_montecarlo::Request;

use crate::Error;

const BUILT_IN: &str = include_str!("../../../../config/montecarlo/catalogue.json");

/// The integrals of a file, or those built in.
///
/// # Errors
/// The file cannot be read, is not a list of requests, or is empty.
pub fn read(path: Option<&Path>) -> Result<Vec<Request>, Error> {
    let Some(path) = path else {
        return parse(BUILT_IN, Path::new("config/montecarlo/catalogue.json"));
    };
    let text = std::fs::read_to_string(path).map_err(|source| Error::File {
        path: path.to_owned(),
        source,
    })?;
    parse(&text, path)
}

/// A text as a list of requests; `path` is where it came from.
///
/// # Errors
/// It is none, or an empty one.
pub fn parse(text: &str, path: &Path) -> Result<Vec<Request>, Error> {
    let invalid = |reason: String| Error::Requests {
        path: path.to_owned(),
        reason,
    };
    let requests: Vec<Request> =
        serde_json::from_str(text).map_err(|error| invalid(error.to_string()))?;
    if requests.is_empty() {
        return Err(invalid("it has no requests".to_owned()));
    }
    Ok(requests)
}

#[cfg(test)]
mod tests {
    use millstream_montecarlo::{Job, Registry};

    use super::*;

    #[test]
    fn every_integral_that_is_built_in_can_be_begun_and_has_an_exact_value() {
        let catalogue = read(None).unwrap();
        for request in catalogue {
            assert!(request.exact.is_some(), "{request:?}");
            Job::new(request, &Registry::default()).unwrap();
        }
    }

    #[test]
    fn a_file_that_is_no_list_of_requests_is_named_with_the_place() {
        let error = parse("[{\"expression\": 1}]", Path::new("mine.json")).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("`mine.json` is not a list of requests: invalid type: integer `1`"),
            "{error}"
        );
    }
}
