//! The bytes of a fetch answer, versions 4 to 18, without copying records.
//!
//! The generated encoder copies all records into one buffer. Here the answer is a list of parts: what stands around the
//! records, and each partition's records as they were read, to be written by one vectored write. Fields that this
//! broker never sets (diverging epochs, other leaders) are written as empty.

use std::collections::VecDeque;

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::fetch_response::{
    AbortedTransaction, FetchResponse, FetchableTopicResponse, PartitionData,
};

use crate::api::{fill_length, start};
use crate::frame::{Broken, Header};

/// Records up to this size are copied: a part of its own costs more.
const COPIED: usize = 512;

struct Writer {
    version: i16,
    flexible: bool,
    done: VecDeque<Bytes>,
    done_bytes: usize,
    tail: BytesMut,
}

pub(super) fn encode(header: &Header, response: FetchResponse) -> Result<VecDeque<Bytes>, Broken> {
    let version = header.version;
    let mut writer = Writer {
        version,
        flexible: version >= 12,
        done: VecDeque::new(),
        done_bytes: 0,
        tail: start(header),
    };
    writer.response(response)?;
    writer.finish()
}

impl Writer {
    fn response(&mut self, response: FetchResponse) -> Result<(), Broken> {
        self.tail.put_i32(response.throttle_time_ms);
        if self.version >= 7 {
            self.tail.put_i16(response.error_code);
            self.tail.put_i32(response.session_id);
        }
        self.length(response.responses.len())?;
        for topic in response.responses {
            self.topic(topic)?;
        }
        self.no_tags();
        Ok(())
    }

    fn topic(&mut self, topic: FetchableTopicResponse) -> Result<(), Broken> {
        if self.version >= 13 {
            self.tail.put_slice(topic.topic_id.as_bytes());
        } else {
            self.name(&topic.topic)?;
        }
        self.length(topic.partitions.len())?;
        for partition in topic.partitions {
            self.partition(partition)?;
        }
        self.no_tags();
        Ok(())
    }

    fn partition(&mut self, data: PartitionData) -> Result<(), Broken> {
        self.tail.put_i32(data.partition_index);
        self.tail.put_i16(data.error_code);
        self.tail.put_i64(data.high_watermark);
        self.tail.put_i64(data.last_stable_offset);
        if self.version >= 5 {
            self.tail.put_i64(data.log_start_offset);
        }
        match data.aborted_transactions {
            Some(aborted) => self.aborted(&aborted)?,
            None if self.flexible => self.tail.put_u8(0),
            None => self.tail.put_i32(-1),
        }
        if self.version >= 11 {
            self.tail.put_i32(data.preferred_read_replica.0);
        }
        let records = data.records.unwrap_or_default();
        self.length(records.len())?;
        self.records(records);
        self.no_tags();
        Ok(())
    }

    fn aborted(&mut self, aborted: &[AbortedTransaction]) -> Result<(), Broken> {
        self.length(aborted.len())?;
        for one in aborted {
            self.tail.put_i64(one.producer_id.0);
            self.tail.put_i64(one.first_offset);
            self.no_tags();
        }
        Ok(())
    }

    fn records(&mut self, records: Bytes) {
        if records.len() <= COPIED {
            self.tail.put_slice(&records);
            return;
        }
        let around = self.tail.split().freeze();
        self.done_bytes += around.len() + records.len();
        self.done.push_back(around);
        self.done.push_back(records);
    }

    fn name(&mut self, name: &str) -> Result<(), Broken> {
        if self.flexible {
            self.length(name.len())?;
        } else {
            self.tail
                .put_i16(i16::try_from(name.len()).map_err(|_| too_long())?);
        }
        self.tail.put_slice(name.as_bytes());
        Ok(())
    }

    fn length(&mut self, length: usize) -> Result<(), Broken> {
        let length = i32::try_from(length).map_err(|_| too_long())?;
        if !self.flexible {
            self.tail.put_i32(length);
            return Ok(());
        }
        let mut rest = length.unsigned_abs() + 1;
        while rest >= 0x80 {
            self.tail
                .put_u8(u8::try_from(rest & 0x7f).unwrap_or(0) | 0x80);
            rest >>= 7;
        }
        self.tail.put_u8(u8::try_from(rest).unwrap_or(0));
        Ok(())
    }

    fn no_tags(&mut self) {
        if self.flexible {
            self.tail.put_u8(0);
        }
    }

    fn finish(mut self) -> Result<VecDeque<Bytes>, Broken> {
        match self.done.pop_front().map(BytesMut::from) {
            Some(mut first) => {
                let others = self.done_bytes + self.tail.len() - first.len();
                fill_length(&mut first, others)?;
                self.done.push_front(first.freeze());
                if !self.tail.is_empty() {
                    self.done.push_back(self.tail.freeze());
                }
            }
            None => {
                fill_length(&mut self.tail, 0)?;
                self.done.push_back(self.tail.freeze());
            }
        }
        Ok(self.done)
    }
}

fn too_long() -> Broken {
    Broken::Encode {
        reason: "length above the protocol's limit".to_owned(),
    }
}
