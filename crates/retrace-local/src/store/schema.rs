//! Opening of a database: ownership, schema version, and settings.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

/// Migrations from an empty database to the current version, in order, each with the `user_version` that it leads to.
const MIGRATIONS: &[(u32, &str)] = &[
    (1, include_str!("migrations/0001_traces.sql")),
    (2, include_str!("migrations/0002_streams.sql")),
    (3, include_str!("migrations/0003_otlp.sql")),
    (4, include_str!("migrations/0004_joined.sql")),
    (5, include_str!("migrations/0005_by_id.sql")),
    (6, include_str!("migrations/0006_failed_spans.sql")),
    (7, include_str!("migrations/0007_forks.sql")),
    (9, include_str!("migrations/0009_index.sql")),
    (10, include_str!("migrations/0010_values.sql")),
    (11, include_str!("migrations/0011_failed.sql")),
];

/// Version of the schema after the last migration.
const VERSION: u32 = 11;

/// `application_id` of the receiver's databases: `retl` in ASCII.
const APPLICATION_ID: i32 = 0x7265_746C;

/// The value of `auto_vacuum` with which free pages can be returned on request.
const INCREMENTAL: i64 = 2;

/// Page cache of the writer, and of each connection for reads. Filters and figures read whole tables of the index.
const CACHE_KIB: i32 = 32 * 1024;
/// Capacity of the cache of prepared statements of a connection, above the number of statements without values.
const STATEMENTS: usize = 128;
/// Size of the write-ahead log that triggers a checkpoint, in pages of 4 KiB.
pub(super) const LOG_PAGES: u32 = 4096;

/// Time to wait for another process that has locked the database.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Error of opening a database.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error("the directory {} does not exist: create it, or choose another file", .0.display())]
    NoDirectory(PathBuf),
    #[error("it is a directory: name a file in it")]
    IsDirectory,
    #[error("it is not a SQLite database: choose another file, or move this one away")]
    NotADatabase,
    #[error("it belongs to another program: choose another file")]
    Foreign,
    #[error(
        "a newer retrace-local has written it (schema {found}, this one knows {known}): use that version, or another file"
    )]
    Newer { found: u32, known: u32 },
    #[error("another program has it locked: end that program, or choose another file")]
    Locked,
    #[error("{0}: check the file, its directory and their permissions")]
    Io(std::io::Error),
    #[error("{0}: check the file, its directory and their permissions")]
    Database(rusqlite::Error),
}

impl From<rusqlite::Error> for OpenError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => Self::NotADatabase,
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Locked,
            _ => Self::Database(error),
        }
    }
}

/// Opens a database in memory, in the current version.
pub(super) fn open_memory(gives_back: bool) -> Result<Connection, OpenError> {
    let mut connection = Connection::open_in_memory()?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    give_back(&connection, gives_back)?;
    migrate(&mut connection)?;
    Ok(connection)
}

/// Opens the database in `path` for writing; creates or migrates it if necessary.
///
/// Only the owner can read a new file, because the content of agents is private.
pub(super) fn open_file(path: &Path, gives_back: bool) -> Result<Connection, OpenError> {
    if path.is_dir() {
        return Err(OpenError::IsDirectory);
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let Some(missing) = parent.filter(|parent| !parent.is_dir()) {
        return Err(OpenError::NoDirectory(missing.to_owned()));
    }
    create_private(path).map_err(OpenError::Io)?;
    let mut connection = connect(path)?;
    give_back(&connection, gives_back)?;
    migrate(&mut connection)?;
    if gives_back && connection.pragma_query_value(None, "auto_vacuum", |row| row.get::<_, i64>(0))? != INCREMENTAL {
        // A file that was created without it gets it only when it is rewritten.
        connection.execute_batch("VACUUM")?;
    }
    // Readers and the writer do not block each other. A crash of this process loses no acknowledged data; a crash of
    // the machine may lose the last moments, which a local receiver can afford for ten times the speed.
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "normal")?;
    // Writes to the indexes of ids are scattered: a larger cache and log reduce the number of checkpoints.
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    connection.pragma_update(None, "wal_autocheckpoint", LOG_PAGES)?;
    Ok(connection)
}

/// Enables `auto_vacuum`, with which free pages can be returned. A database that has tables requires `VACUUM` after it.
fn give_back(connection: &Connection, gives_back: bool) -> Result<(), OpenError> {
    if gives_back {
        connection.pragma_update(None, "auto_vacuum", INCREMENTAL)?;
    }
    Ok(())
}

/// Opens a connection for checkpoints to a database that [`open_file`] has opened.
pub(super) fn open_checkpointer(path: &Path) -> Result<Connection, OpenError> {
    let connection = connect(path)?;
    connection.pragma_update(None, "synchronous", "normal")?;
    Ok(connection)
}

/// Opens a second, read-only connection to a database that [`open_file`] has opened.
pub(super) fn open_reader(path: &Path) -> Result<Connection, OpenError> {
    let connection = connect(path)?;
    connection.pragma_update(None, "query_only", true)?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    Ok(connection)
}

/// Opens a read-only connection that does not change the file: for a database that a newer version has written.
pub(super) fn open_unchanged(path: &Path) -> Result<Connection, OpenError> {
    connect_with(path, OpenFlags::SQLITE_OPEN_READ_ONLY)
}

fn connect(path: &Path) -> Result<Connection, OpenError> {
    connect_with(path, OpenFlags::SQLITE_OPEN_READ_WRITE)
}

fn connect_with(path: &Path, flags: OpenFlags) -> Result<Connection, OpenError> {
    let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    // A path that SQLite interprets in another way (`:memory:`, an empty one) is prefixed to name a file.
    let path = if path.is_absolute() { path.to_owned() } else { Path::new(".").join(path) };
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(connection)
}

fn create_private(path: &Path) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// Migrates a database to the current version in one transaction.
fn migrate(connection: &mut Connection) -> Result<(), OpenError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let owner: i32 = transaction.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let tables: u32 = transaction.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if owner != APPLICATION_ID && (owner != 0 || tables > 0) {
        return Err(OpenError::Foreign);
    }
    let found: u32 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found > VERSION {
        return Err(OpenError::Newer { found, known: VERSION });
    }
    for (version, step) in MIGRATIONS.iter().filter(|(version, _)| *version > found) {
        transaction.execute_batch(step)?;
        transaction.pragma_update(None, "user_version", version)?;
    }
    if owner != APPLICATION_ID {
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    }
    transaction.commit()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dir() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    fn version(connection: &Connection) -> u32 {
        connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap()
    }

    #[test]
    fn the_steps_lead_to_the_version() {
        assert!(MIGRATIONS.iter().map(|(version, _)| *version).is_sorted_by(|one, next| one < next));
        assert_eq!(MIGRATIONS.last().map(|(version, _)| *version), Some(VERSION));
    }

    #[test]
    fn an_empty_file_is_brought_to_the_current_version_once() {
        let dir = dir();
        let path = dir.path().join("runs.db");
        for _ in 0..2 {
            let connection = open_file(&path, false).unwrap();
            assert_eq!(version(&connection), VERSION);
            let mode: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
            assert_eq!(mode, "wal");
            connection.execute("INSERT OR REPLACE INTO golden VALUES ('kept')", []).unwrap();
        }
        let kept: u32 = open_reader(&path).unwrap().query_row("SELECT count(*) FROM golden", [], |r| r.get(0)).unwrap();
        assert_eq!(kept, 1);
    }

    #[test]
    fn what_the_first_version_wrote_is_kept() {
        let dir = dir();
        let path = dir.path().join("runs.db");
        let old = Connection::open(&path).unwrap();
        old.execute_batch(MIGRATIONS[0].1).unwrap();
        let at = "2026-01-02T03:04:05Z";
        old.execute_batch(&format!(
            r#"PRAGMA user_version = 1; PRAGMA application_id = {APPLICATION_ID};
            INSERT INTO traces (id, status, head) VALUES ('t', 'running', '{{"id":"t","status":"running"}}');
            INSERT INTO spans (trace_id, id, head) VALUES
                ('t', 'b', '{{"id":"b","trace_id":"t","span_type":"action","name":"","started_at":"{at}"}}'),
                ('t', 'a', '{{"id":"a","trace_id":"t","span_type":"action","name":"","started_at":"{at}"}}');"#
        ))
        .unwrap();
        drop(old);
        let (_, reader, _) = crate::store::open(Some(&path), false).unwrap();
        let stored = reader.trace(&"t".into(), true).unwrap().unwrap();
        let ids: Vec<_> = stored.record.spans.iter().flatten().map(|span| span.id.to_string()).collect();
        assert_eq!((ids.join(" ").as_str(), stored.live), ("b a", None), "in their order, and begun over HTTP");
        assert_eq!(reader.changes(&"t".into(), 0).unwrap().unwrap().spans.len(), 2);
    }

    #[test]
    fn a_database_from_before_forks_takes_forks() {
        let dir = dir();
        let path = dir.path().join("runs.db");
        let old = Connection::open(&path).unwrap();
        let head = r#"{"id":"t","status":"completed"}"#;
        for (_, step) in MIGRATIONS.iter().filter(|(version, _)| *version < 7) {
            old.execute_batch(step).unwrap();
        }
        old.execute_batch(&format!(
            "PRAGMA user_version = 6; PRAGMA application_id = {APPLICATION_ID};
             INSERT INTO traces (id, status, head) VALUES ('t', 'completed', '{head}');"
        ))
        .unwrap();
        drop(old);
        let mut connection = open_file(&path, false).unwrap();
        assert_eq!(version(&connection), VERSION);
        let fork = crate::fork::new_fork(br#"{"trace_id":"t","span_id":"s"}"#).unwrap();
        let create = crate::store::ForkChange::Create { id: "f".into(), fork, now: 1 };
        let change = crate::store::Change::Fork(Box::new(create));
        let made = crate::store::writer::commit(&mut connection, &[&change], 1);
        assert!(matches!(made.as_slice(), [Ok(crate::store::Outcome::Done)]), "{made:?}");
        drop(connection);
        let (_, reader, _) = crate::store::open(Some(&path), false).unwrap();
        assert_eq!(reader.fork("f").unwrap().unwrap().trace_id, "t".into());
        assert!(reader.trace(&"t".into(), true).unwrap().is_some());
    }

    #[test]
    fn an_index_of_an_older_version_is_derived_again() {
        let dir = dir();
        let path = dir.path().join("runs.db");
        let old = Connection::open(&path).unwrap();
        for (_, step) in MIGRATIONS.iter().filter(|(version, _)| *version < 10) {
            old.execute_batch(step).unwrap();
        }
        old.execute_batch(&format!(
            r#"PRAGMA user_version = 9; PRAGMA application_id = {APPLICATION_ID};
            INSERT INTO traces (id, status, head, metadata, version)
                VALUES ('t', 'completed', '{{"id":"t","status":"completed","name":"tides"}}', '{{"tags":["nightly"]}}', 5);
            INSERT INTO run_index (key, version, name, tokens, cost, spans, failed_spans, has_error, bytes)
                VALUES (1, 5, 'old', 0, 0, 0, 0, 0, 0);
            INSERT INTO run_words (rowid, words) VALUES (1, 'old');"#
        ))
        .unwrap();
        drop(old);
        let (_writer, reader, _) = crate::store::open(Some(&path), false).unwrap();
        assert!(reader.wait_for_index(crate::testing::HANG));
        let found = |query| reader.find(&crate::query::TraceQuery::parse(query).unwrap()).unwrap().total;
        assert_eq!([found("q=tides"), found("q=old"), found("tag=nightly")], [1, 0, 1]);
    }

    #[test]
    fn failed_spans_of_an_older_version_are_found() {
        let dir = dir();
        let path = dir.path().join("runs.db");
        let old = Connection::open(&path).unwrap();
        for (_, step) in MIGRATIONS.iter().filter(|(version, _)| *version < 11) {
            old.execute_batch(step).unwrap();
        }
        let head = |id: &str, more: &str| {
            format!(
                r#"{{"id":"{id}","trace_id":"t","span_type":"action","name":"","started_at":"2026-01-02T03:04:05Z"{more}}}"#
            )
        };
        let spans = [
            ("b", 2, head("b", r#","error":"no""#)),
            ("c", 2, head("c", r#","model":"\"error\":""#)),
            ("a", 1, head("a", "")),
        ];
        for (version, (id, seq, head)) in (5..).zip(&spans) {
            let row = (id, head, seq, version);
            old.execute("INSERT INTO spans (trace_id, id, head, seq, version) VALUES ('t', ?1, ?2, ?3, ?4)", row)
                .unwrap();
        }
        old.execute_batch(&format!(
            r#"PRAGMA user_version = 10; PRAGMA application_id = {APPLICATION_ID};
            INSERT INTO traces (id, status, head, version) VALUES
                ('t', 'completed', '{{"id":"t","status":"completed"}}', 4), ('u', 'completed', '{{"id":"u"}}', 4);"#
        ))
        .unwrap();
        drop(old);
        let (_writer, reader, _) = crate::store::open(Some(&path), false).unwrap();
        let failed =
            |is_failed| reader.page(&crate::query::TraceQuery::new().with_failed_spans(is_failed)).unwrap().traces;
        assert_eq!(failed(true).iter().map(|trace| trace.failed_spans).collect::<Vec<_>>(), [Some(1)]);
        assert_eq!(failed(false).len(), 1);
        let ids = |after| {
            let changes = reader.changes(&"t".into(), after).unwrap().unwrap();
            let ids: Vec<_> = changes.spans.iter().map(|span| span.record.id.to_string()).collect();
            (ids.join(" "), changes.version)
        };
        assert_eq!([ids(0), ids(5)], [("a b c".to_owned(), 7), ("a c".to_owned(), 7)]);
    }

    #[cfg(unix)]
    #[test]
    fn a_new_file_is_its_owners_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = dir();
        let path = dir.path().join("runs.db");
        let connection = open_file(&path, false).unwrap();
        connection.execute("INSERT INTO golden VALUES ('t')", []).unwrap();
        for file in std::fs::read_dir(dir.path()).unwrap() {
            let file = file.unwrap();
            assert_eq!(file.metadata().unwrap().permissions().mode() & 0o077, 0, "{:?}", file.path());
        }
    }

    #[test]
    fn a_reader_cannot_write() {
        let dir = dir();
        let path = dir.path().join("runs.db");
        open_file(&path, false).unwrap();
        assert!(open_reader(&path).unwrap().execute("DELETE FROM traces", []).is_err());
    }

    #[test]
    fn names_that_sqlite_reads_otherwise_are_files() {
        assert!(matches!(open_file(Path::new(":memory:/x.db"), false), Err(OpenError::NoDirectory(_))));
        assert!(matches!(open_file(Path::new(""), false), Err(OpenError::Io(_))));
    }

    #[test]
    fn what_is_not_ours_is_left_alone_and_said() {
        let dir = dir();
        let at = |name: &str| dir.path().join(name);

        assert!(matches!(open_file(dir.path(), false), Err(OpenError::IsDirectory)));
        assert!(matches!(open_file(&at("no/such/runs.db"), false), Err(OpenError::NoDirectory(_))));

        std::fs::write(
            at("text.db"),
            "this is text, and enough of it to fill what SQLite takes for a header of a file, ".repeat(9),
        )
        .unwrap();
        assert!(matches!(open_file(&at("text.db"), false), Err(OpenError::NotADatabase)));

        Connection::open(at("other.db")).unwrap().execute_batch("CREATE TABLE theirs (x)").unwrap();
        assert!(matches!(open_file(&at("other.db"), false), Err(OpenError::Foreign)));

        let newer = open_file(&at("newer.db"), false).unwrap();
        newer.pragma_update(None, "user_version", 99).unwrap();
        drop(newer);
        assert!(matches!(open_file(&at("newer.db"), false), Err(OpenError::Newer { found: 99, known: VERSION })));
    }

    #[test]
    fn a_step_that_fails_leaves_nothing_behind() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("PRAGMA application_id = 1919251564; CREATE TABLE golden (in_the_way)").unwrap();
        assert!(matches!(migrate(&mut connection), Err(OpenError::Database(_))));
        let tables: u32 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).unwrap();
        assert_eq!((tables, version(&connection)), (1, 0));
    }
}
