//! The response to a fetch, version 12, read without a copy: records stay in the frame and are shared with it.
//!
//! Written by hand, because it is the one large response: the generated decoder would reserve memory by the counts in it, of which a lie costs
//! hundreds of bytes for each byte of the frame. Source: Kafka's protocol guide, "Fetch API".

use std::sync::Arc;

use bytes::Bytes;

use super::Malformed;
use super::cursor::Cursor;

/// The longest name that a topic can have.
const NAME_BYTES: usize = 249;

/// A decoded response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fetched {
    /// For how long the broker asks to be left alone.
    pub throttle_ms: i32,
    /// An error of the whole request, 0 if there is none.
    pub error: i16,
    /// The session that the broker keeps, 0 if it keeps none.
    pub session_id: i32,
    /// What came of each partition.
    pub partitions: Vec<FetchedPartition>,
}

/// What came of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedPartition {
    /// Its topic.
    pub topic: Arc<str>,
    /// Its number.
    pub partition: i32,
    /// 0 if there is none.
    pub error: i16,
    /// The end of what is replicated; -1 if it is not known.
    pub high_watermark: i64,
    /// The end of what is decided, for readers of committed records; -1 if it is not known.
    pub last_stable: i64,
    /// The first offset that is still there; -1 if it is not known.
    pub log_start: i64,
    /// Where the reader's log and the broker's part: an epoch and its end there (KIP-595).
    pub diverging: Option<(i32, i64)>,
    /// The leader and its epoch, when it is another one.
    pub leader: Option<(i32, i32)>,
    /// Aborted transactions: the producer, and its first offset in each.
    pub aborted: Vec<(i64, i64)>,
    /// A replica that is closer, -1 for none (KIP-392).
    pub preferred_replica: i32,
    /// Whole batches; a broker may cut the last one off.
    pub records: Bytes,
}

impl Fetched {
    /// Reads a frame, correlation id and response header included.
    pub fn decode(frame: &Bytes) -> Result<Fetched, Malformed> {
        let mut cursor = Cursor::new(frame);
        cursor.i32()?;
        cursor.tags(|_, _| Ok(()))?;
        let mut fetched = Fetched {
            throttle_ms: cursor.i32()?,
            error: cursor.i16()?,
            session_id: cursor.i32()?,
            partitions: Vec::new(),
        };
        for _ in 0..cursor.compact_length()?.unwrap_or(0) {
            let name = cursor.compact_text()?;
            if name.len() > NAME_BYTES {
                return Err(Malformed::Length {
                    length: i64::try_from(name.len()).unwrap_or(i64::MAX),
                    available: NAME_BYTES,
                });
            }
            // One name for all partitions: memory follows the bytes of the frame.
            let topic: Arc<str> = name.into();
            for _ in 0..cursor.compact_length()?.unwrap_or(0) {
                fetched
                    .partitions
                    .push(partition(&topic, &mut cursor, frame)?);
            }
            cursor.tags(|_, _| Ok(()))?;
        }
        cursor.tags(|_, _| Ok(()))?;
        cursor.end()?;
        Ok(fetched)
    }
}

fn partition(
    topic: &Arc<str>,
    cursor: &mut Cursor<'_>,
    frame: &Bytes,
) -> Result<FetchedPartition, Malformed> {
    let mut fetched = FetchedPartition {
        topic: Arc::clone(topic),
        partition: cursor.i32()?,
        error: cursor.i16()?,
        high_watermark: cursor.i64()?,
        last_stable: cursor.i64()?,
        log_start: cursor.i64()?,
        diverging: None,
        leader: None,
        aborted: Vec::new(),
        preferred_replica: -1,
        records: Bytes::new(),
    };
    for _ in 0..cursor.compact_length()?.unwrap_or(0) {
        let aborted = (cursor.i64()?, cursor.i64()?);
        cursor.tags(|_, _| Ok(()))?;
        fetched.aborted.push(aborted);
    }
    fetched.preferred_replica = cursor.i32()?;
    if let Some(records) = cursor.compact()? {
        fetched.records = frame.slice_ref(records);
    }
    let (mut diverging, mut leader) = (None, None);
    cursor.tags(|tag, mut field| {
        match tag {
            0 => diverging = Some((field.i32()?, field.i64()?)),
            1 => leader = Some((field.i32()?, field.i32()?)),
            _ => {}
        }
        Ok(())
    })?;
    fetched.diverging = diverging;
    fetched.leader = leader;
    Ok(fetched)
}
