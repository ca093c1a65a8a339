//! The package as its users see it: requests as JSON, answers, statuses, bits.

mod acceptance;
#[path = "../../suite/judge.rs"]
mod judge;
#[path = "../../suite/random.rs"]
mod random;
#[path = "../../suite/suite.rs"]
mod suite;
