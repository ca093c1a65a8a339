//! Data folders that earlier releases left: every later one opens them and finds everything.
//!
//! `fixtures/data-1` at the root of the repository has format version 1. Two segments in `plain`, whose first record is
//! deleted; one batch of an idempotent producer in each codec in `compressed`.

use std::fs;
use std::path::Path;

use millstream_broker::{Config, Error, Server};

use crate::raw::{Client, sequenced};

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;

/// A copy, as opening may change files.
fn fixture() -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    let original = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/data-1");
    copy_all(&original, copy.path());
    // Git keeps no empty folders, and this partition has nothing in it.
    fs::create_dir_all(copy.path().join("topics/plain/1")).unwrap();
    copy
}

fn copy_all(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_all(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn all_values(client: &mut Client, topic: &str, partition: i32) -> Vec<String> {
    let mut from = client.list_offset(topic, partition, EARLIEST).offset;
    let end = client.list_offset(topic, partition, LATEST).offset;
    let mut values = Vec::new();
    while from < end {
        let fetched = client.values(topic, partition, from);
        from += i64::try_from(fetched.len()).unwrap();
        values.extend(fetched);
    }
    values
}

#[test]
fn a_folder_of_format_1_is_opened_with_all_it_holds() {
    let data = fixture();
    let server = Server::start(Config::ephemeral(data.path())).unwrap();
    let mut client = Client::connect(&server.address().to_string());
    assert_eq!(client.list_offset("plain", 0, EARLIEST).offset, 2);
    assert_eq!(all_values(&mut client, "plain", 0), ["c", "d", "e"]);
    let found = client.list_offset("plain", 0, 9000);
    assert_eq!((found.offset, found.timestamp), (3, 9000));
    assert_eq!(client.list_offset("plain", 1, LATEST).offset, 0);
    assert_eq!(
        all_values(&mut client, "compressed", 0),
        [
            "none", "none!", "gzip", "gzip!", "snappy", "snappy!", "lz4", "lz4!", "zstd", "zstd!"
        ]
    );
    // What the producer sent last is recognised, and what follows is taken.
    let again = client.produce("compressed", 0, sequenced(&["zstd", "zstd!"], 17, 0, 8));
    assert_eq!((again.error_code, again.base_offset), (0, 8));
    let next = client.produce("compressed", 0, sequenced(&["next"], 17, 0, 10));
    assert_eq!((next.error_code, next.base_offset), (0, 10));
    server.stop().unwrap();
}

#[test]
fn fault_42_a_folder_of_a_newer_format_is_refused_with_both_versions() {
    let data = fixture();
    let file = data.path().join("millstream.json");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(
        &file,
        text.replacen("millstream-data 1 ", "millstream-data 3 ", 1),
    )
    .unwrap();
    match Server::start(Config::ephemeral(data.path())) {
        Err(Error::FormatVersion {
            path,
            found,
            newest,
        }) => {
            assert_eq!((path, found, newest), (file, 3, 2));
        }
        other => panic!("{:?}", other.map(|server| server.address())),
    }
}

#[test]
fn fault_41_a_second_broker_on_a_folder_is_told_who_has_it() {
    let data = fixture();
    let server = Server::start(Config::ephemeral(data.path())).unwrap();
    let error = Server::start(Config::ephemeral(data.path()))
        .map(|_| ())
        .unwrap_err();
    let (folder, holder) = (data.path().display(), std::process::id());
    assert_eq!(
        error.to_string(),
        format!("data folder `{folder}` is in use by process {holder}")
    );
    server.stop().unwrap();
}

#[test]
fn fault_38_a_damaged_folder_is_refused_with_file_and_place() {
    let data = fixture();
    let log = data.path().join("topics/plain/0/00000000000000000002.log");
    let mut bytes = fs::read(&log).unwrap();
    bytes[30] ^= 1;
    fs::write(&log, bytes).unwrap();
    let error = Server::start(Config::ephemeral(data.path()))
        .map(|_| ())
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "`{}` is corrupt at byte 0: the checksum does not match (offset 2), and segments follow",
            log.display()
        )
    );
}
