//! `topics`: names that are wrong, and many topics.

use serde_json::json;

use crate::world::World;

#[test]
fn a_configuration_that_no_topic_has_is_refused_with_the_nearest_name() {
    let world = World::new();
    let topic = world.name("names");
    world.run(&["topics", "create", &topic]).expect(0);
    let near = "error: a topic has no configuration `retention`; did you mean `retention.ms`?\n";
    let unknown = "error: a topic has no configuration `foo`; known: cleanup.policy, ";
    for (option, value, text) in [
        ("--unset", "retention", near),
        ("--set", "retention=1", near),
        ("--unset", "foo", unknown),
        ("--set", "foo=1", unknown),
    ] {
        let ended = world
            .run(&["topics", "alter", &topic, option, value])
            .expect(2);
        assert!(ended.stderr.starts_with(text), "{}", ended.stderr);
    }
    world
        .run(&["topics", "alter", &topic, "--unset", "retention.ms"])
        .expect(0);
}

#[test]
fn a_refusal_names_the_option_that_it_is_about() {
    let world = World::new();
    let topic = world.name("options");
    let set = ["--set", "retention.ms=soon", "--set", "foo=1"];
    let ended = world
        .run(&[&["topics", "create", &topic][..], &set].concat())
        .expect(2);
    assert!(
        ended.stderr.starts_with(&format!(
            "error: --set retention.ms=soon, foo=1: failed to create topic `{topic}`: "
        )),
        "{}",
        ended.stderr
    );
    world.run(&["topics", "create", &topic]).expect(0);
    let ended = world
        .run(&["topics", "purge", &topic, "--before", "soon"])
        .expect(2);
    assert!(
        ended
            .stderr
            .starts_with("error: --before: `soon` is not a place; "),
        "{}",
        ended.stderr
    );
}

#[test]
fn every_topic_is_listed_with_its_partitions_and_records() {
    let world = World::new();
    let (empty, full) = (world.name("empty"), world.name("full"));
    world
        .run(&["topics", "create", &empty, "-p", "2"])
        .expect(0);
    world.run(&["topics", "create", &full, "-p", "3"]).expect(0);
    for partition in ["0", "0", "2"] {
        world
            .run_with(&["send", &full, "-p", partition], b"line\n")
            .expect(0);
    }
    let listed = world.run(&["topics", "list", "--json"]).expect(0).json();
    for (topic, partitions, records) in [(empty, 2, 0), (full, 3, 3)] {
        let row =
            json!({"topic": topic, "partitions": partitions, "replication": 1, "records": records});
        assert!(listed.contains(&row), "{row}\n{listed:?}");
    }
}
