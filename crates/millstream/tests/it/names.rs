//! The library's names, as a program meets them that imports every module whole.

use millstream::admin::*;
use millstream::codec::*;
use millstream::dead_letter::*;
use millstream::http::*;
use millstream::metrics::*;
use millstream::reader::*;
use millstream::testing::*;
use millstream::*;

static READINGS: Topic<String, f64> = Topic::new("readings", &Text, &Json);

/// A name that two modules export does not compile here.
fn open(brokers: &str) -> Result<Emitter, Error> {
    Emitter::new(&Cluster::new(brokers))
}

/// One name of each of the modules that the test below needs nothing of.
fn others() -> [&'static str; 5] {
    use std::any::type_name;
    [
        type_name::<Admin>(),
        type_name::<Health>(),
        type_name::<Reason>(),
        type_name::<Since>(),
        RECORDS_IN,
    ]
}

#[test]
fn a_program_that_imports_everything_knows_which_error_is_meant() {
    assert!(others().iter().all(|name| name.starts_with("millstream")));
    let error = open("").unwrap_err();
    assert_eq!(
        error.to_string(),
        "invalid broker address ``: no address is given, expected host:port"
    );
    let refused: Result<f64, CodecError> = READINGS.value_codec().decode(None);
    assert_eq!(
        refused.unwrap_err().to_string(),
        "failed to decode json: null where a value is needed"
    );
    let mut world = World::new();
    world.send(&READINGS, "kitchen", &20.5);
    let read: Vec<OwnedRecord<String, f64>> = world.read(&READINGS);
    assert_eq!(read[0].key, "kitchen");
}
