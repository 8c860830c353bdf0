//! One adapter for each way to keep documents. Each append of a group is one commit that is durable when it returns.

use std::collections::HashMap;
use std::error::Error;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use collab_engine::id::{DocId, ServerSeq};
use collab_engine::storage::{Append, EmbeddedOptions, EmbeddedStore, Record, Store};

pub type Outcome<T> = Result<T, Box<dyn Error>>;

/// A record: document, number, payload.
pub type Entry<'a> = (u32, u64, &'a [u8]);

pub trait Candidate {
    /// Appends records, durably.
    fn append(&mut self, group: &[Entry<'_>]) -> Outcome<()>;
    /// All records of a document.
    fn load(&mut self, doc: u32) -> Outcome<Vec<Vec<u8>>>;
    /// Leaves the store in the order in which it will be found by the next program.
    fn close(self: Box<Self>) -> Outcome<()> {
        Ok(())
    }
}

pub const NAMES: [&str; 5] = ["own", "redb", "fjall", "sqlite", "bare"];

pub fn open(name: &str, dir: &Path) -> Outcome<Box<dyn Candidate>> {
    std::fs::create_dir_all(dir)?;
    Ok(match name {
        "own" => Box::new(Own(EmbeddedStore::open(dir, EmbeddedOptions::default())?, HashMap::new())),
        "redb" => Box::new(Redb(redb::Database::create(dir.join("redb"))?)),
        "fjall" => Box::new(Fjall::open(dir)?),
        "sqlite" => Box::new(Sqlite::open(dir)?),
        "bare" => Box::new(Bare { file: File::create(dir.join("bare"))?, length: 0, buffer: Vec::new() }),
        _ => return Err(format!("no candidate {name}").into()),
    })
}

/// Append and fdatasync, and nothing else.
struct Bare {
    file: File,
    length: u64,
    buffer: Vec<u8>,
}

impl Candidate for Bare {
    fn append(&mut self, group: &[Entry<'_>]) -> Outcome<()> {
        self.buffer.clear();
        for (doc, number, payload) in group {
            self.buffer.extend_from_slice(&doc.to_le_bytes());
            self.buffer.extend_from_slice(&number.to_le_bytes());
            self.buffer.extend_from_slice(payload);
        }
        self.file.write_all_at(&self.buffer, self.length)?;
        self.file.sync_data()?;
        self.length += self.buffer.len() as u64;
        Ok(())
    }

    fn load(&mut self, _: u32) -> Outcome<Vec<Vec<u8>>> {
        Ok(Vec::new())
    }
}

/// The store, and names that a server would hold with its documents.
struct Own(EmbeddedStore, HashMap<u32, DocId>);

fn name(doc: u32) -> DocId {
    DocId::parse(&format!("doc-{doc}")).expect("a legal name")
}

impl Candidate for Own {
    fn append(&mut self, group: &[Entry<'_>]) -> Outcome<()> {
        let record = |(doc, number, payload): &Entry<'_>| {
            let number = ServerSeq(*number);
            let name = self.1.entry(*doc).or_insert_with(|| name(*doc)).clone();
            (name, [Record { first: number, last: number, payload: (*payload).into() }])
        };
        let records: Vec<_> = group.iter().map(record).collect();
        let append = |(doc, records)| {
            let records: &[Record; 1] = records;
            Append { doc, expected_head: ServerSeq(records[0].first.0 - 1), records }
        };
        let batch: Vec<_> = records.iter().map(|(doc, records)| append((doc, records))).collect();
        for (answer, (_, records)) in self.0.append(&batch)?.iter().zip(&records) {
            assert_eq!(*answer, collab_engine::storage::Appended::Written { head: records[0].last });
        }
        Ok(self.0.sync()?)
    }

    fn load(&mut self, doc: u32) -> Outcome<Vec<Vec<u8>>> {
        Ok(self.0.load(&name(doc))?.records.into_iter().map(|record| record.payload.to_vec()).collect())
    }

    fn close(self: Box<Self>) -> Outcome<()> {
        self.0.checkpoint()?;
        Ok(self.0.close()?)
    }
}

struct Redb(redb::Database);

const TABLE: redb::TableDefinition<'_, (u32, u64), &[u8]> = redb::TableDefinition::new("records");

impl Candidate for Redb {
    fn append(&mut self, group: &[Entry<'_>]) -> Outcome<()> {
        let transaction = self.0.begin_write()?;
        {
            let mut table = transaction.open_table(TABLE)?;
            for (doc, number, payload) in group {
                table.insert((*doc, *number), *payload)?;
            }
        }
        Ok(transaction.commit()?)
    }

    fn load(&mut self, doc: u32) -> Outcome<Vec<Vec<u8>>> {
        use redb::ReadableDatabase;
        let table = self.0.begin_read()?.open_table(TABLE)?;
        let mut found = Vec::new();
        for entry in table.range((doc, 0)..=(doc, u64::MAX))? {
            found.push(entry?.1.value().to_vec());
        }
        Ok(found)
    }
}

struct Fjall {
    database: fjall::Database,
    records: fjall::Keyspace,
}

impl Fjall {
    fn open(dir: &Path) -> Outcome<Self> {
        let database = fjall::Database::builder(dir.join("fjall")).open()?;
        let records = database.keyspace("records", fjall::KeyspaceCreateOptions::default)?;
        Ok(Self { database, records })
    }
}

impl Candidate for Fjall {
    fn append(&mut self, group: &[Entry<'_>]) -> Outcome<()> {
        let mut batch = self.database.batch().durability(Some(fjall::PersistMode::SyncData));
        for (doc, number, payload) in group {
            batch.insert(&self.records, [&doc.to_be_bytes()[..], &number.to_be_bytes()].concat(), *payload);
        }
        Ok(batch.commit()?)
    }

    fn load(&mut self, doc: u32) -> Outcome<Vec<Vec<u8>>> {
        let mut found = Vec::new();
        for entry in self.records.prefix(doc.to_be_bytes()) {
            found.push(entry.into_inner()?.1.to_vec());
        }
        Ok(found)
    }
}

struct Sqlite(rusqlite::Connection);

impl Sqlite {
    fn open(dir: &Path) -> Outcome<Self> {
        let connection = rusqlite::Connection::open(dir.join("sqlite"))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.execute_batch(
            "CREATE TABLE IF NOT EXISTS records (doc INTEGER, number INTEGER, payload BLOB, PRIMARY KEY (doc, number)) WITHOUT ROWID",
        )?;
        Ok(Self(connection))
    }
}

impl Candidate for Sqlite {
    fn append(&mut self, group: &[Entry<'_>]) -> Outcome<()> {
        let transaction = self.0.transaction()?;
        {
            let mut insert = transaction.prepare_cached("INSERT INTO records VALUES (?1, ?2, ?3)")?;
            for (doc, number, payload) in group {
                insert.execute((doc, i64::try_from(*number)?, payload))?;
            }
        }
        Ok(transaction.commit()?)
    }

    fn load(&mut self, doc: u32) -> Outcome<Vec<Vec<u8>>> {
        let mut select = self.0.prepare_cached("SELECT payload FROM records WHERE doc = ?1 ORDER BY number")?;
        let found = select.query_map([doc], |row| row.get(0))?.collect::<Result<_, _>>()?;
        Ok(found)
    }
}
