use super::*;

const BYTES: u64 = 1_000;

fn spool(dir: &std::path::Path) -> Spool {
    Spool::new(SpoolSettings {
        dir: dir.join("spool"),
        source_name: "with_spool",
        max_bytes: BYTES,
        max_age: Duration::from_secs(60),
    })
}

fn at(secs: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_790_000_000 + secs)
}

fn read_all(spool: &mut Spool, now: SystemTime) -> (Dropped, Vec<Vec<u8>>) {
    let dropped = spool.look(now).unwrap();
    (dropped, std::iter::from_fn(|| spool.next()).map(|(_, bytes)| bytes).collect())
}

#[test]
fn pain_14_what_one_process_writes_the_next_reads_oldest_first() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = spool(dir.path());
    for second in [3_u8, 1, 2] {
        assert_eq!(first.write(&[second], 1, at(second.into())).unwrap(), Dropped::default());
    }
    assert_eq!(read_all(&mut first, at(4)).1, Vec::<Vec<u8>>::new(), "not its own");
    drop(first);
    let mut next = spool(dir.path());
    next.look(at(4)).unwrap();
    for expected in [1, 2, 3] {
        let (name, bytes) = next.next().unwrap();
        assert_eq!((bytes, name.tried), (vec![expected], false));
        next.settle(&name);
    }
    assert!(next.next().is_none() && next.records().unwrap().is_empty());
}

#[test]
fn one_reads_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    spool(dir.path()).write(b"a", 1, at(0)).unwrap();
    let (mut one, mut other) = (spool(dir.path()), spool(dir.path()));
    assert_eq!(read_all(&mut one, at(1)).1.len(), 1);
    assert_eq!(read_all(&mut other, at(1)).1.len(), 0);
    other.write(b"b", 1, at(1)).unwrap();
    // The process dies without having settled any record.
    drop(one);
    let mut third = spool(dir.path());
    third.look(at(2)).unwrap();
    let read: Vec<_> = std::iter::from_fn(|| third.next()).map(|(name, bytes)| (name.tried, bytes)).collect();
    assert_eq!(read, [(true, b"a".to_vec()), (false, b"b".to_vec())], "and what it read may have been sent");
}

/// A process that is killed at any point of a write leaves the file under its first name, cut anywhere, or
/// complete under its last name.
#[test]
fn pain_14_a_write_that_was_cut_leaves_nothing_and_harms_nothing() {
    let dir = tempfile::tempdir().unwrap();
    for length in 0..=20 {
        let mut spool = spool(dir.path());
        spool.write(b"whole", 1, at(0)).unwrap();
        let unfinished = dir.path().join("spool").join(format!("{length:016x}.{UNFINISHED}"));
        fs::write(&unfinished, vec![7; length]).unwrap();
        drop(spool);
        let mut next = self::spool(dir.path());
        next.look(SystemTime::UNIX_EPOCH).unwrap();
        let (name, bytes) = next.next().unwrap();
        assert_eq!((bytes, next.next()), (b"whole".to_vec(), None));
        next.settle(&name);
        assert!(unfinished.exists(), "whoever writes it may be slow");
        next.remove_abandoned(SystemTime::now() + ABANDONED * 2).unwrap();
        assert!(!unfinished.exists());
    }
}

#[test]
fn its_bounds_hold_and_what_goes_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = spool(dir.path());
    for second in 0..4 {
        first.write(&[0; 300], 10 + second, at(second)).unwrap();
    }
    assert_eq!(first.records().unwrap().len(), 3, "the oldest had to go");
    let dropped = first.write(&[0; 700], 1, at(70)).unwrap();
    assert_eq!((dropped.no_room, dropped.too_old), (11 + 12, 0));
    assert_eq!(first.write(&[0; 1_001], 1, at(70)).unwrap_err().kind(), io::ErrorKind::StorageFull);
    drop(first);
    let (dropped, read) = read_all(&mut spool(dir.path()), at(71));
    assert_eq!((dropped.too_old, read.len()), (13, 1));
}

#[test]
fn a_disk_that_takes_nothing_is_an_error_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("spool"), b"no directory").unwrap();
    assert!(spool(dir.path()).write(b"a", 1, at(0)).is_err());
    assert_eq!(spool(dir.path()).look(at(0)).unwrap(), Dropped::default());
}

#[cfg(unix)]
#[test]
fn nobody_else_may_read_it() {
    use std::os::unix::fs::PermissionsExt as _;

    let dir = tempfile::tempdir().unwrap();
    let mut spool = spool(dir.path());
    spool.write(b"a", 1, at(0)).unwrap();
    spool.look(at(0)).unwrap();
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(dir.path().join("spool")), 0o700);
    for entry in fs::read_dir(dir.path().join("spool")).unwrap() {
        assert_eq!(mode(entry.unwrap().path()), 0o600);
    }
}
