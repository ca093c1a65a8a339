//! What the application knows of its partitions, and what it may commit by that.
//!
//! The member may be ahead of its application: a partition can be lost and assigned again before the application has seen either. A commit is made in the
//! ownership that the application knew of, and holds only as long as that one does.

use super::Membership;
use crate::cluster::Cluster;
use crate::error::Error;
use crate::fetcher::Place;
use crate::fetcher::position::Position;

/// One ownership of partitions: whatever is lost and assigned again is another one.
pub(crate) type Tenure = u64;

/// A position to commit, and the ownership under which the application has read the records before it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claim {
    pub(crate) place: Place,
    pub(crate) position: Position,
    /// `None` if this client was no member, or the partition was not the member's as far as its application knew.
    pub(crate) tenure: Option<Tenure>,
}

/// What the application is told.
#[derive(Debug)]
pub(crate) enum Change {
    /// These partitions are added.
    Assigned(Tenure, Vec<Place>),
    /// These are to be given up: the group waits for [`Membership::release`].
    Revoked(Vec<Place>),
    /// These belong to others by now.
    Lost(Vec<Place>),
    /// This client is no longer a member.
    Left(Result<(), Error>),
}

impl Membership {
    /// What the application knows to be its own.
    pub(crate) fn known(&self) -> impl Iterator<Item = &Place> {
        self.known.keys()
    }

    /// The ownership of a partition, as far as the application knows.
    pub(crate) fn tenure(&self, place: Place) -> Option<Tenure> {
        self.known.get(&place).copied()
    }

    /// The ownership of a partition as it is now, whether the application knows or not.
    #[cfg(test)]
    pub(crate) fn held(&self, place: Place) -> Option<Tenure> {
        self.owned.get(&place).copied()
    }

    /// Whether nothing but what the application knew when it committed has happened to the partition.
    pub(crate) fn holds(&self, claim: &Claim) -> bool {
        claim.tenure.is_some() && self.owned.get(&claim.place).copied() == claim.tenure
    }

    /// What the application is told next; from then on it knows.
    pub(crate) fn next_change(&mut self) -> Option<Change> {
        let change = self.changes.pop_front()?;
        match &change {
            Change::Assigned(tenure, places) => {
                self.known
                    .extend(places.iter().map(|place| (*place, *tenure)));
            }
            Change::Lost(places) => {
                for place in places {
                    self.known.remove(place);
                }
            }
            Change::Revoked(_) | Change::Left(_) => {}
        }
        Some(change)
    }
}

/// Why these positions cannot be committed: a partition is not this member's, or has not been all the time since its records were read.
pub(crate) fn refusal(
    membership: Option<&Membership>,
    group: &str,
    claims: &[Claim],
    cluster: &Cluster,
) -> Option<Error> {
    let good = |claim: &&Claim| match membership {
        Some(membership) => membership.holds(claim),
        None => claim.tenure.is_none(),
    };
    let (topic, partition) = claims.iter().find(|claim| !good(claim))?.place;
    Some(Error::NotAssigned {
        group: group.to_owned(),
        topic: cluster.name(topic).to_owned(),
        partition,
    })
}
