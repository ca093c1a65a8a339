//! What the journal promises: everything appended comes back, damage never does.

use std::sync::Condvar;
use std::sync::atomic::AtomicI32;

use super::frame::RECORD_HEADER_BYTES;
use super::*;
use crate::boot::boot;

const FORMAT: Format = Format {
    magic: *b"example\n",
    version: 3,
};

thread_local! {
    /// Syncs of journals so far.
    static SYNCS: std::cell::Cell<u32> = const { std::cell::Cell::new(0) };
}

/// Errors that the disk of a test answers with, by number; 0 for none.
#[derive(Debug, Default)]
pub(super) struct Faults {
    write: AtomicI32,
    sync: AtomicI32,
    pub(super) folder: AtomicI32,
    /// Whether writes wait.
    held: (Mutex<bool>, Condvar),
}

/// No write begins until this is dropped.
pub(crate) struct HeldWrites(Arc<Disk>);

impl Drop for HeldWrites {
    fn drop(&mut self) {
        self.0.faults.hold(false);
    }
}

impl Faults {
    pub(super) fn write(&self, file: &File, bytes: &[u8], position: u64) -> io::Result<()> {
        let (held, changed) = &self.held;
        drop(changed.wait_while(held.lock().unwrap(), |held| *held));
        match self.write.load(Ordering::Relaxed) {
            0 => Ok(()),
            number => {
                // A full disk takes a part first.
                file.write_all_at(&bytes[..bytes.len() / 2], position)?;
                Err(io::Error::from_raw_os_error(number))
            }
        }
    }

    fn hold(&self, hold: bool) {
        let (held, changed) = &self.held;
        *held.lock().unwrap() = hold;
        changed.notify_all();
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        SYNCS.set(SYNCS.get() + 1);
        answer(&self.sync)
    }

    pub(super) fn sync_folder(&self) -> io::Result<()> {
        answer(&self.folder)
    }
}

/// The disk of a journal, as the tests of its owners have it.
pub(crate) struct FaultyDisk(pub(super) Arc<Disk>);

impl FaultyDisk {
    /// No sync begins until the value returned is dropped.
    pub(crate) fn hold_syncs(&self) -> impl Drop {
        self.0.turn.lock().unwrap()
    }

    /// How much of the file a power cut leaves for certain.
    pub(crate) fn forced(&self) -> u64 {
        self.0.synced.load(Ordering::Acquire)
    }

    pub(crate) fn hold_writes(&self) -> HeldWrites {
        self.0.faults.hold(true);
        HeldWrites(Arc::clone(&self.0))
    }

    pub(crate) fn break_writes(&self) {
        self.0.faults.write.store(EIO, Ordering::Relaxed);
    }

    pub(crate) fn fail_syncs(&self) {
        self.0.faults.sync.store(EIO, Ordering::Relaxed);
    }

    pub(crate) fn refuse_writes(&self, refuse: bool) {
        let number = if refuse { ENOSPC } else { 0 };
        self.0.faults.write.store(number, Ordering::Relaxed);
    }
}

fn answer(fault: &AtomicI32) -> io::Result<()> {
    match fault.load(Ordering::Relaxed) {
        0 => Ok(()),
        number => Err(io::Error::from_raw_os_error(number)),
    }
}

const ENOSPC: i32 = 28;
const EIO: i32 = 5;

struct Place {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

fn place() -> Place {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("groups.journal");
    Place {
        _folder: folder,
        path,
    }
}

fn open(place: &Place) -> Result<(Journal, Vec<String>), Error> {
    open_with(place, false)
}

fn open_with(place: &Place, fsync: bool) -> Result<(Journal, Vec<String>), Error> {
    let mut records = Vec::new();
    let journal = Journal::open(&place.path, FORMAT, fsync, |record| {
        records.push(String::from_utf8(record.to_vec()).unwrap());
        Ok(())
    })?;
    Ok((journal, records))
}

fn append(journal: &mut Journal, record: &str) -> Result<(), Unwritten> {
    journal.append(record.as_bytes())?.settle()
}

fn records(place: &Place) -> Vec<String> {
    open(place).unwrap().1
}

#[test]
fn what_was_appended_is_replayed_in_order() {
    let place = place();
    for fsync in [false, true] {
        let (mut journal, _) = open_with(&place, fsync).unwrap();
        append(&mut journal, "one").unwrap();
        append(&mut journal, "").unwrap();
        append(&mut journal, "three").unwrap();
    }
    assert_eq!(
        records(&place),
        ["one", "", "three", "one", "", "three"].map(str::to_owned)
    );
}

#[test]
fn a_tail_torn_at_any_byte_is_cut_off_and_writing_goes_on() {
    let whole = place();
    let (mut journal, _) = open(&whole).unwrap();
    append(&mut journal, "first").unwrap();
    let kept = journal.size;
    append(&mut journal, "second").unwrap();
    let bytes = fs::read(&whole.path).unwrap();
    for end in usize::try_from(kept).unwrap() + 1..bytes.len() {
        let torn = place();
        fs::write(&torn.path, &bytes[..end]).unwrap();
        let (mut journal, found) = open(&torn).unwrap();
        assert_eq!(found, ["first"]);
        append(&mut journal, "third").unwrap();
        assert_eq!(records(&torn), ["first", "third"]);
    }
}

#[test]
fn damage_before_a_valid_record_is_refused_with_file_and_position() {
    let place = place();
    let (mut journal, _) = open(&place).unwrap();
    append(&mut journal, "first").unwrap();
    let second = journal.size;
    append(&mut journal, "second").unwrap();
    let third = journal.size;
    append(&mut journal, "third").unwrap();
    let bytes = fs::read(&place.path).unwrap();
    for position in second..third {
        let mut damaged = bytes.clone();
        damaged[usize::try_from(position).unwrap()] ^= 0x04;
        fs::write(&place.path, &damaged).unwrap();
        assert_eq!(
            open(&place).unwrap_err().to_string(),
            format!(
                "`{}` is corrupt at byte {second}: the record here is damaged, and a valid one follows at byte {third}",
                place.path.display()
            )
        );
    }
}

#[test]
fn a_record_that_makes_no_sense_to_its_owner_is_refused_with_file_and_position() {
    let place = place();
    let (mut journal, _) = open(&place).unwrap();
    let position = journal.size;
    append(&mut journal, "nonsense").unwrap();
    let error = Journal::open(&place.path, FORMAT, false, |_| Err("kind 99".to_owned()));
    assert_eq!(
        error.unwrap_err().to_string(),
        format!(
            "`{}` is corrupt at byte {position}: kind 99",
            place.path.display()
        )
    );
}

#[test]
fn a_newer_version_is_refused_by_number() {
    let place = place();
    let newer = Format {
        version: 4,
        ..FORMAT
    };
    drop(Journal::open(&place.path, newer, false, |_| Ok(())).unwrap());
    assert_eq!(
        open(&place).unwrap_err().to_string(),
        format!(
            "format version 4 of `{}` is unknown, this release reads up to 3",
            place.path.display()
        )
    );
}

#[test]
fn every_flipped_bit_of_the_header_is_noticed() {
    let place = place();
    drop(open(&place).unwrap());
    let bytes = fs::read(&place.path).unwrap();
    let bytes = bytes[..usize::try_from(HEADER_BYTES).unwrap()].to_vec();
    for position in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[position] ^= 0x10;
        fs::write(&place.path, &damaged).unwrap();
        let error = open(&place).unwrap_err().to_string();
        let start = format!("`{}` is corrupt at byte 0: ", place.path.display());
        assert!(error.starts_with(&start), "byte {position}: {error}");
    }
    fs::write(&place.path, &bytes[..9]).unwrap();
    assert_eq!(
        open(&place).unwrap_err().to_string(),
        format!(
            "`{}` is corrupt at byte 0: it is shorter than its header",
            place.path.display()
        )
    );
}

#[test]
fn a_full_disk_refuses_a_record_and_takes_the_next_when_there_is_space() {
    let place = place();
    let (mut journal, _) = open(&place).unwrap();
    append(&mut journal, "before").unwrap();
    journal.disk.faults.write.store(ENOSPC, Ordering::Relaxed);
    assert_eq!(append(&mut journal, "refused"), Err(Unwritten::NoSpace));
    assert_eq!(fs::metadata(&place.path).unwrap().len(), journal.size);
    assert_eq!(append(&mut journal, "refused too"), Err(Unwritten::NoSpace));
    journal.disk.faults.write.store(0, Ordering::Relaxed);
    append(&mut journal, "after").unwrap();
    assert_eq!(records(&place), ["before", "after"]);
}

#[test]
fn a_failed_write_poisons_the_journal() {
    let place = place();
    let (mut journal, _) = open(&place).unwrap();
    append(&mut journal, "before").unwrap();
    journal.disk.faults.write.store(EIO, Ordering::Relaxed);
    assert_eq!(append(&mut journal, "lost"), Err(Unwritten::Poisoned));
    journal.disk.faults.write.store(0, Ordering::Relaxed);
    assert_eq!(append(&mut journal, "late"), Err(Unwritten::Poisoned));
    journal.rewrite(&mut std::iter::empty()).unwrap();
    assert_eq!(records(&place), ["before"]);
}

#[test]
fn a_failed_sync_is_never_taken_for_success_later() {
    let place = place();
    let (mut journal, _) = open_with(&place, true).unwrap();
    let early = journal.append(b"early").unwrap();
    journal.disk.faults.sync.store(EIO, Ordering::Relaxed);
    let late = journal.append(b"late").unwrap();
    assert_eq!(late.settle(), Err(Unwritten::Poisoned));
    journal.disk.faults.sync.store(0, Ordering::Relaxed);
    assert_eq!(early.settle(), Err(Unwritten::Poisoned));
    assert_eq!(append(&mut journal, "later"), Err(Unwritten::Poisoned));
}

#[test]
fn one_sync_settles_all_records_before_it() {
    let place = place();
    let (mut journal, _) = open_with(&place, true).unwrap();
    let first = journal.append(b"first").unwrap();
    let second = journal.append(b"second").unwrap();
    second.settle().unwrap();
    // The disk would refuse another sync.
    journal.disk.faults.sync.store(EIO, Ordering::Relaxed);
    first.settle().unwrap();
}

#[test]
fn a_mostly_dead_journal_shrinks_to_what_is_live() {
    let place = place();
    let (mut journal, _) = open(&place).unwrap();
    let begin = journal.size;
    let large = vec![b'x'; 1 << 20];
    while !journal.is_mostly_dead() {
        journal.append(&large).unwrap().settle().unwrap();
    }
    assert_eq!(journal.size, 8 * framed(large.len()) + begin);
    let mut live = ["a", "b"].into_iter().map(|live| live.as_bytes().to_vec());
    journal.rewrite(&mut live).unwrap();
    assert!(!journal.is_mostly_dead());
    append(&mut journal, "c").unwrap();
    drop(journal);
    assert_eq!(records(&place), ["a", "b", "c"]);
    assert_eq!(fs::read_dir(place._folder.path()).unwrap().count(), 1);
}

#[test]
fn a_rewrite_that_fails_leaves_the_old_journal_in_use() {
    let place = place();
    let (mut journal, _) = open(&place).unwrap();
    append(&mut journal, "old").unwrap();
    // A folder where the temporary file has to be.
    fs::create_dir(place.path.with_extension("journal.tmp")).unwrap();
    let error = journal
        .rewrite(&mut std::iter::once(b"new".to_vec()))
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("failed to write `{}`", place.path.display())
    );
    append(&mut journal, "still").unwrap();
    assert_eq!(records(&place), ["old", "still"]);
}

#[test]
fn a_record_that_no_start_would_take_is_refused_when_it_is_written() {
    let place = place();
    let (mut journal, _) = open(&place).unwrap();
    append(&mut journal, "before").unwrap();
    let large = vec![0; MAX_RECORD_BYTES + 1];
    assert_eq!(journal.append(&large).map(drop), Err(Unwritten::TooLarge));
    journal.rewrite(&mut std::iter::once(large)).unwrap_err();
    append(&mut journal, "after").unwrap();
    assert_eq!(records(&place), ["before", "after"]);
}

#[test]
fn a_rewritten_journal_whose_place_is_not_certain_takes_nothing_more() {
    let place = place();
    let (mut journal, _) = open(&place).unwrap();
    append(&mut journal, "old").unwrap();
    journal.disk.faults.folder.store(EIO, Ordering::Relaxed);
    journal
        .rewrite(&mut std::iter::once(b"new".to_vec()))
        .unwrap_err();
    // The old file has no name any more: what it took would be gone with the next start.
    assert_eq!(append(&mut journal, "lost"), Err(Unwritten::Poisoned));
    assert_eq!(records(&place), ["new"]);
}

/// A journal of three records, written in `boot`, whose second record is damaged.
fn damaged(place: &Place, fsync: bool, close: bool, boot: &str) {
    let (mut journal, _) = open_with(place, fsync).unwrap();
    append(&mut journal, "first").unwrap();
    let second = journal.size;
    append(&mut journal, "second").unwrap();
    append(&mut journal, "third").unwrap();
    if close {
        journal.flush().unwrap();
    }
    let mut bytes = fs::read(&place.path).unwrap();
    bytes[usize::try_from(second).unwrap() + RECORD_HEADER_BYTES] ^= 1;
    fs::write(&place.path, bytes).unwrap();
    written_in(place, fsync, boot);
}

/// Has a journal say that it was written in `boot`.
fn written_in(place: &Place, fsync: bool, boot: &str) {
    let mut bytes = fs::read(&place.path).unwrap();
    let at = usize::try_from(HEADER_BYTES).unwrap();
    let boot = Boot {
        id: boot.to_owned(),
        fsync,
    };
    let mut note = Vec::new();
    frame(&mut note, BOOT, HEADER_BYTES, &boot.encode());
    bytes[at..at + note.len()].copy_from_slice(&note);
    fs::write(&place.path, bytes).unwrap();
}

/// Zeros in place of a record, as after a power cut that came before its page was written.
fn lose(place: &Place, from: u64, to: u64) {
    let file = fs::OpenOptions::new().write(true).open(&place.path);
    let zeros = vec![0; usize::try_from(to - from).unwrap()];
    file.unwrap().write_all_at(&zeros, from).unwrap();
}

#[test]
fn fault_38_with_fsync_a_power_cut_may_lose_any_part_of_what_no_sync_has_covered() {
    let another = "x".repeat(boot().len());
    let place = place();
    let (mut journal, _) = open_with(&place, true).unwrap();
    append(&mut journal, "settled").unwrap();
    let torn = journal.size;
    drop(journal.append(b"torn").unwrap());
    let whole = journal.size;
    drop(journal.append(b"whole").unwrap());
    lose(&place, torn, whole);
    written_in(&place, true, &another);
    assert_eq!(open_with(&place, true).unwrap().1, ["settled"]);
}

#[test]
fn fault_38_with_fsync_damage_in_what_a_sync_has_covered_is_refused_in_every_boot() {
    let another = "x".repeat(boot().len());
    for boot in [boot(), &another] {
        let place = place();
        let (mut journal, _) = open_with(&place, true).unwrap();
        let damaged = journal.size;
        append(&mut journal, "settled").unwrap();
        let next = journal.size;
        drop(journal.append(b"not yet").unwrap());
        drop(journal.append(b"nor this").unwrap());
        lose(&place, damaged, next);
        written_in(&place, true, boot);
        assert_eq!(
            open_with(&place, true).unwrap_err().to_string(),
            format!(
                "`{}` is corrupt at byte {damaged}: the record here is damaged, and a valid one follows at byte {next}",
                place.path.display()
            )
        );
    }
}

#[test]
fn with_fsync_what_a_killed_process_left_in_the_page_cache_is_forced_at_the_start() {
    let place = place();
    let (mut journal, _) = open_with(&place, true).unwrap();
    drop(journal.append(b"not settled").unwrap());
    let before = SYNCS.get();
    assert_eq!(open_with(&place, true).unwrap().1, ["not settled"]);
    assert_eq!(SYNCS.get(), before + 1);
}

#[test]
fn fault_38_after_a_power_cut_the_journal_ends_where_the_disk_stopped() {
    let another = "x".repeat(boot().len());
    for (fsync, close, boot, excused) in [
        (false, false, another.as_str(), true),
        (false, false, boot(), false),
        // What was forced to the disk is not excused by any power cut.
        (true, false, another.as_str(), false),
        (false, true, another.as_str(), false),
    ] {
        let place = place();
        damaged(&place, fsync, close, boot);
        let found = open(&place).map(|(_, records)| records);
        match excused {
            true => assert_eq!(found.unwrap(), ["first"]),
            false => assert!(found.is_err_and(|error| error.to_string().contains("is damaged"))),
        }
    }
}
