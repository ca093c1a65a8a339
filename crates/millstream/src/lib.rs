//! millstream

pub mod codec;
