//! Consumer groups and the offsets of topics: what is shown, moved and deleted.

use serde_json::{Value, json};

use crate::world::{World, eventually};

/// A topic of three partitions with 3, 2 and 1 records; the group has committed offset 0 of the first only, as the other
/// two were added later.
fn topic_and_group(world: &World) -> (String, String) {
    let (topic, group) = (world.name("partly"), world.name("group"));
    world
        .run(&["topics", "create", &topic, "-p", "1"])
        .expect(0);
    world.run_with(&["send", &topic], b"a\nb\nc\n").expect(0);
    let to_start = [
        "groups",
        "reset",
        &group,
        "--topic",
        &topic,
        "--to-earliest",
        "--yes",
    ];
    world.run(&to_start).expect(0);
    world
        .run(&["topics", "alter", &topic, "--partitions", "3"])
        .expect(0);
    world
        .run_with(&["send", &topic, "-p", "1"], b"d\ne\n")
        .expect(0);
    world
        .run_with(&["send", &topic, "-p", "2"], b"f\n")
        .expect(0);
    (topic, group)
}

fn described(world: &World, group: &str) -> Vec<Value> {
    let rows = world
        .run(&["groups", "describe", group, "--json"])
        .expect(0)
        .json();
    rows.iter()
        .map(|row| json!([row["partition"], row["committed"], row["lag"]]))
        .collect()
}

#[test]
fn the_lag_of_a_group_covers_partitions_without_a_commit() {
    let world = World::new();
    let (_, group) = topic_and_group(&world);
    assert_eq!(
        described(&world, &group),
        [json!([0, 0, 3]), json!([1, null, 2]), json!([2, null, 1])]
    );
    let text = world.run(&["groups", "describe", &group]).expect(0).stdout;
    let headline = text.lines().next().unwrap();
    assert_eq!(
        headline,
        format!(
            "group {group}: Empty, 0 members, lag 6 in 3 partitions, 2 without a committed offset"
        )
    );
    world
        .run(&["groups", "reset", &group, "--to-latest", "--yes"])
        .expect(0);
    assert_eq!(
        described(&world, &group),
        [json!([0, 3, 0]), json!([1, 2, 0]), json!([2, 1, 0])]
    );
}

#[test]
fn a_group_is_reset_to_a_time_ago_and_to_a_date() {
    let world = World::new();
    let (_, group) = topic_and_group(&world);
    let reset = |time: &str| {
        world
            .run(&["groups", "reset", &group, "--to-time", time, "--yes"])
            .expect(0);
        described(&world, &group)
            .iter()
            .map(|row| row[2].as_u64().unwrap())
            .sum::<u64>()
    };
    assert_eq!(reset("-1d"), 6);
    assert_eq!(reset("2999-01-01"), 0);
    assert_eq!(reset("2001-01-01T00:00:00Z"), 6);
    let wrong = world
        .run(&["groups", "reset", &group, "--to-time", "noon"])
        .expect(2);
    assert!(
        wrong
            .stderr
            .contains("`noon` is not a time; write 2026-11-21T08:00:00Z, 2026-11-21, or -10m"),
        "{}",
        wrong.stderr
    );
}

#[test]
fn a_group_is_deleted_once_it_was_asked_for_and_not_by_a_dry_run() {
    let world = World::new();
    let (_, group) = topic_and_group(&world);
    let shown = world
        .run(&["groups", "delete", &group, "--dry-run"])
        .expect(0);
    assert!(shown.stderr.contains("committed=1"), "{}", shown.stderr);
    let asked = world.run(&["groups", "delete", &group]).expect(2);
    assert!(asked.stderr.contains("pass --yes"), "{}", asked.stderr);
    world.run(&["groups", "delete", &group, "--yes"]).expect(0);
    world.run(&["groups", "describe", &group]).expect(1);
    let gone = world.run(&["groups", "delete", &group, "--yes"]).expect(2);
    assert!(
        gone.stderr
            .contains(&format!("group `{group}` does not exist")),
        "{}",
        gone.stderr
    );
}

#[test]
fn offsets_are_shown_by_time() {
    let world = World::new();
    let (topic, _) = topic_and_group(&world);
    let rows = |words: &[&str]| {
        let words = [&["topics", "offsets", &topic, "--json"], words].concat();
        let rows = world.run(&words).expect(0).json();
        rows.iter()
            .map(|row| json!([row["partition"], row["start"], row["end"], row["at"]]))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        rows(&["--at", "-1d"]),
        [
            json!([0, 0, 3, 0]),
            json!([1, 0, 2, 0]),
            json!([2, 0, 1, 0])
        ]
    );
    assert_eq!(
        rows(&["--at", "2999-01-01"]),
        [
            json!([0, 0, 3, null]),
            json!([1, 0, 2, null]),
            json!([2, 0, 1, null])
        ]
    );
    let text = world
        .run(&["topics", "offsets", &topic, "--at", "2001-01-01"])
        .expect(0);
    assert_eq!(
        text.stdout.lines().next().unwrap(),
        format!("topic {topic}: 6 records in 3 partitions, 6 since 2001-01-01T00:00:00.000Z")
    );
}

#[test]
fn a_purge_deletes_what_was_shown_and_nothing_else() {
    let world = World::new();
    let (topic, _) = topic_and_group(&world);
    let starts = || {
        let rows = world
            .run(&["topics", "offsets", &topic, "--json"])
            .expect(0)
            .json();
        rows.iter()
            .map(|row| row["start"].as_i64().unwrap())
            .collect::<Vec<_>>()
    };
    let purge = |words: &[&str]| {
        let words = [&["topics", "purge", &topic], words].concat();
        world.run(&words)
    };
    let planned = purge(&["--before", "2", "--dry-run", "--json"])
        .expect(0)
        .json();
    let records: Vec<Value> = planned.iter().map(|row| row["records"].clone()).collect();
    assert_eq!(records, [json!(2), json!(2), json!(1)]);
    let asked = purge(&["--all"]).expect(2);
    assert!(
        asked
            .stderr
            .contains(&format!("delete 6 records of {topic}")),
        "{}",
        asked.stderr
    );
    assert_eq!(starts(), [0, 0, 0]);

    purge(&["--before", "2", "--partition", "0", "--yes"]).expect(0);
    assert_eq!(starts(), [2, 0, 0]);
    purge(&["--before", "-1d", "--yes"]).expect(0);
    assert_eq!(starts(), [2, 0, 0]);
    purge(&["--all", "--yes"]).expect(0);
    assert_eq!(starts(), [3, 2, 1]);

    let wrong = purge(&["--before", "-5"]).expect(2);
    assert!(
        wrong
            .stderr
            .contains("--before takes an offset, a time or a time ago"),
        "{}",
        wrong.stderr
    );
    purge(&["--before", "1", "--partition", "9"]).expect(2);
}

#[test]
fn a_purge_of_a_compacted_topic_says_what_can_be_done() {
    let world = World::new();
    let topic = world.name("compacted");
    let create = [
        "topics",
        "create",
        &topic,
        "--set",
        "cleanup.policy=compact",
    ];
    world.run(&create).expect(0);
    world
        .run_with(&["send", &topic, "-k", "ann"], b"a\n")
        .expect(0);
    let purge = ["topics", "purge", &topic, "--all", "--yes"];
    let refused = world.run(&purge).expect(2);
    let wanted = format!(
        "topic `{topic}` is compacted (cleanup.policy=compact), and a cluster deletes the oldest records only where the policy has `delete`; `millstream topics alter {topic} --set cleanup.policy=compact,delete` adds it"
    );
    assert!(refused.stderr.contains(&wanted), "{}", refused.stderr);
    let both = "cleanup.policy=compact,delete";
    world
        .run(&["topics", "alter", &topic, "--set", both])
        .expect(0);
    world.run(&purge).expect(0);
}

#[test]
fn groups_are_listed_with_their_state_members_and_lag() {
    let world = World::new();
    let (topic, group) = topic_and_group(&world);
    let listed = |members: u64| {
        let rows = world.run(&["groups", "list", "--json"]).expect(0).json();
        rows.into_iter()
            .find(|row| row["group"] == group && row["members"] == members)
    };
    let expected = json!({"group": group, "state": "Empty", "members": 0, "lag": 6});
    assert_eq!(listed(0), Some(expected));
    let _reader = world.start(&["tail", &topic, "--group", &group, "--from", "earliest"]);
    eventually("a member that has read all is listed", || {
        listed(1).is_some_and(|row| row["state"] == "Stable" && row["lag"] == 0)
    });
    let table = world.run(&["groups", "list"]).expect(0).stdout;
    let head = table.lines().next().unwrap_or_default();
    let heads: Vec<&str> = head.split_whitespace().collect();
    assert_eq!(heads, ["GROUP", "STATE", "MEMBERS", "LAG"]);
}

/// The forms that the help texts name.
#[test]
fn retention_and_places_are_given_in_days() {
    let world = World::new();
    let topic = world.name("week");
    world
        .run(&["topics", "create", &topic, "--retention", "7d"])
        .expect(0);
    let described = world
        .run(&["topics", "describe", &topic, "--json"])
        .expect(0)
        .json();
    assert_eq!(described[0]["configuration"]["retention.ms"], "604800000");
    world.run_with(&["send", &topic], b"now\n").expect(0);
    let records = world
        .run(&["tail", &topic, "--from", "-1d", "--exit"])
        .expect(0);
    assert_eq!(records.stdout, "now\n");
}

/// A name that stands there twice is one topic, or one group.
#[test]
fn a_topic_and_a_group_named_twice_are_reset_and_deleted_once() {
    let world = World::new();
    let (topic, group) = topic_and_group(&world);
    let twice = ["--topic", &topic, "--topic", &topic];
    let reset = ["groups", "reset", &group, "--to-latest", "--yes", "--json"];
    let rows = world.run(&[&reset[..], &twice[..]].concat()).expect(0);
    assert_eq!(rows.json().len(), 3, "{}", rows.stdout);
    world
        .run(&["groups", "delete", &group, &group, "--yes"])
        .expect(0);
}
