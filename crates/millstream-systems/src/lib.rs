//! millstream-systems
