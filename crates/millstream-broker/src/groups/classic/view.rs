//! What others get to see of a group: in lists, in descriptions, and before something is deleted.
//!
//! Reads only: nothing here changes the state, and whatever may be missing before a group is stable is left out
//! rather than made up.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use kafka_protocol::protocol::StrBytes;

use super::member::Member;
use super::{Group, State};

impl Group {
    /// The group with its members. What they subscribe to is only told when it is settled under which protocol.
    pub(crate) fn described(&self) -> DescribedGroup {
        let protocol = match self.state {
            State::Stable => self.protocol.as_ref(),
            _ => None,
        };
        let describe = |member: &Member| {
            let metadata = protocol.map(|protocol| member.metadata(protocol));
            DescribedGroupMember::default()
                .with_member_id(member.id.clone())
                .with_group_instance_id(member.instance_id.clone())
                .with_client_id(member.client_id.clone())
                .with_client_host(member.client_host.clone())
                .with_member_assignment(member.assignment.clone())
                .with_member_metadata(metadata.unwrap_or_default())
        };
        DescribedGroup::default()
            .with_group_id(self.id.clone())
            .with_group_state(StrBytes::from_static_str(self.state.name()))
            .with_protocol_type(self.protocol_type.clone().unwrap_or_default())
            .with_protocol_data(protocol.cloned().unwrap_or_default())
            .with_members(self.members.values().map(describe).collect())
    }

    pub(crate) fn check_delete(&self) -> Result<(), ResponseError> {
        match self.state {
            State::Empty => Ok(()),
            _ => Err(ResponseError::NonEmptyGroup),
        }
    }

    /// Whether some offsets may be deleted: of a group with members only when one can know what they read.
    pub(crate) fn check_offset_delete(&self) -> Result<(), ResponseError> {
        match self.state {
            State::Empty => Ok(()),
            _ if self.is_of_consumers() => Ok(()),
            _ => Err(ResponseError::NonEmptyGroup),
        }
    }

    /// Since when an offset that was committed at a given time is out of use; `None` while the group may need it.
    pub(crate) fn unused_since(&self, committed_at_ms: i64) -> Option<i64> {
        match (&self.protocol_type, self.state) {
            // Commits of those who are no members: each on its own.
            (None, _) => Some(committed_at_ms),
            (Some(_), State::Empty) => Some(self.changed_at_ms),
            // Members work, but may have given up a topic.
            (Some(_), State::Stable) if self.subscribed.is_some() => Some(committed_at_ms),
            _ => None,
        }
    }
}
