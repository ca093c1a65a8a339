//! Properties that a service sets for itself, below what its user has set.
//!
//! A service says what it needs (`acks=all`); a user who passes the same property means it and wins.

use millstream::{Cluster, Error};

/// `cluster` with `defaults` for the properties that it does not have.
///
/// # Errors
/// A property is refused.
pub(crate) fn with_defaults<'a>(
    cluster: &Cluster,
    defaults: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<Cluster, Error> {
    let missing = defaults
        .into_iter()
        .filter(|(name, _)| !cluster.shown_properties().any(|(set, _)| set == *name));
    cluster.clone().properties(missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_user_has_set_wins() {
        let cluster = Cluster::new("127.0.0.1:9092")
            .property("retries", "7")
            .unwrap();
        let cluster = with_defaults(&cluster, [("retries", "3"), ("acks", "all")]).unwrap();
        assert_eq!(
            cluster.shown_properties().collect::<Vec<_>>(),
            [("acks", "all"), ("retries", "7")]
        );
    }
}
