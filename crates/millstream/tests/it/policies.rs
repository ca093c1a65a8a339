//! What becomes of a record that cannot be processed, declared for each input, and the dead letters that are read afterwards.

use millstream::codec::{Json, Text};
use millstream::dead_letter::{DeadLetter, Reason};
use millstream::testing::World;
use millstream::{Context, Headers, OnError, Partition, ProcessError, Record, Service, Timestamp};
use millstream::{Error, Topic};

static ORDERS: Topic<String, u32> = Topic::new("orders", &Text, &Json);
static PAYMENTS: Topic<String, u32> = Topic::new("payments", &Text, &Json);

fn even(_: &mut (), record: Record<String, u32>, _: &mut Context) -> Result<(), ProcessError> {
    if record.value.is_multiple_of(2) {
        Ok(())
    } else {
        Err(ProcessError::new("an odd number"))
    }
}

fn shipping() -> Service<()> {
    Service::stateless("shipping")
        .input(&ORDERS, even)
        .input(&PAYMENTS, even)
        .on_error(OnError::dead_letter())
}

fn letters(world: &World) -> Vec<DeadLetter> {
    let letters = world.read(&ORDERS.dead_letters()).into_iter();
    letters
        .map(|record| DeadLetter::of(record).unwrap())
        .collect()
}

#[test]
fn a_policy_of_one_input_leaves_the_others_alone() {
    let mut world = World::new();
    let service = shipping().on_error_of(&PAYMENTS, OnError::stop());
    world.start(service).unwrap();
    world.send(&ORDERS, "ann", &1);
    world.send(&ORDERS, "ann", &2);
    world.run().unwrap();
    assert_eq!(letters(&world).len(), 1);
    world.send(&PAYMENTS, "ann", &3);
    assert_eq!(
        world.run().unwrap_err().to_string(),
        "service `shipping` stopped at payments[0]@0: an odd number"
    );
}

#[test]
fn the_limit_of_an_input_counts_its_own_records_only() {
    let mut world = World::new();
    world.start(shipping()).unwrap();
    for _ in 0..1_000 {
        world.send(&PAYMENTS, "ann", &2);
    }
    world.run().unwrap();
    for _ in 0..11 {
        world.send(&ORDERS, "ann", &1);
    }
    let stopped = world.run().unwrap_err();
    let Error::DeadLetterLimit { dead, seen, .. } = stopped else {
        panic!("{stopped}");
    };
    assert_eq!((dead, seen), (11, 11));
}

#[test]
fn a_dead_letter_is_read_with_its_reason_its_origin_and_its_bytes() {
    let mut world = World::new();
    let service = shipping().on_error(OnError::retry(2).then_dead_letter());
    world.start(service).unwrap();
    world
        .record(&ORDERS, "ann", &7)
        .header("trace", "1")
        .timestamp(Timestamp::from_millis(1_700_000_000_000))
        .partition(Partition(0))
        .send();
    world.send_bytes("orders", None, Some(b"bob"), Some(b"seven"));
    world.run().unwrap();
    let letters = letters(&world);
    assert_eq!(letters.len(), 2);

    let odd = &letters[0];
    assert_eq!(
        (odd.reason, odd.error.as_str(), odd.attempts),
        (Reason::Process, "an odd number", 3)
    );
    assert_eq!(odd.service, "shipping");
    assert_eq!(odd.origin.to_string(), "orders[0]@0");
    let order = odd.decode(&ORDERS).unwrap();
    assert_eq!((order.key.as_str(), order.value), ("ann", 7));
    assert_eq!(*order.headers(), Headers::new().with("trace", "1"));
    assert_eq!(order.timestamp.millis(), 1_700_000_000_000);

    let poison = &letters[1];
    assert_eq!((poison.reason, poison.attempts), (Reason::Decode, 1));
    assert_eq!(poison.value.as_deref(), Some(b"seven".as_slice()));
    assert_eq!(
        poison.decode(&ORDERS).unwrap_err().to_string(),
        "failed to decode json at line 1 column 1: expected value"
    );
}
