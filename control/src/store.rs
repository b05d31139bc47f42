//! What survives a restart: resources made through the API, connections, and the link ids that were
//! given out, in an embedded database.
//!
//! Each change is one transaction, on the disk before it is answered: after a crash it is there,
//! whole, and one that was not answered is whole or absent. The file and its folder are for the
//! daemon's user only, since the keys of the API are kept there too.

use std::fmt;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

use crate::config::Name;
use crate::resource::model::Resource;
use crate::resource::{Resources, Step};
use crate::state::{Connection, Registry};

const RESOURCES: TableDefinition<&str, &[u8]> = TableDefinition::new("resources");
const CONNECTIONS: TableDefinition<&str, &[u8]> = TableDefinition::new("connections");
const NOTES: TableDefinition<&str, &[u8]> = TableDefinition::new("notes");

const VERSION: &str = "version";
const THIS_VERSION: &[u8] = b"1";
const NEXT_LINK: &str = "next_link";

/// Why state could not be read or kept.
#[derive(Debug)]
pub struct StoreError(String);

impl StoreError {
    fn new(what: &str, error: &dyn fmt::Display) -> StoreError {
        StoreError(format!("{what}: {error}"))
    }

    /// What kept something from being kept.
    #[must_use]
    pub fn other(what: &str, error: &dyn fmt::Display) -> StoreError {
        StoreError::new(what, error)
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StoreError {}

/// The database.
pub struct Store {
    database: Database,
    directory: PathBuf,
}

/// What one change writes.
#[derive(Debug, Default)]
pub struct Batch<'b> {
    /// Resources.
    pub steps: &'b [Step],
    /// Connections that changed; `None` for one that is gone.
    pub connections: Vec<(&'b Name, Option<&'b Connection>)>,
    /// The next link id.
    pub next_link: u32,
}

impl Store {
    /// Opens the database of a folder, making both if they are not there.
    ///
    /// # Errors
    /// It cannot be opened, or is of another version, or in use.
    pub fn open(directory: &Path) -> Result<Store, StoreError> {
        let failed = |error: &dyn fmt::Display| {
            let shown = directory.display();
            StoreError::new(&format!("the state in {shown} cannot be opened"), error)
        };
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(true).mode(0o700).create(directory).map_err(|error| failed(&error))?;
        let path = directory.join("state.redb");
        let database = Database::create(&path).map_err(|error| failed(&error))?;
        let private = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(&path, private).map_err(|error| failed(&error))?;
        let store = Store { database, directory: directory.to_owned() };
        store.prepare().map_err(|error| failed(&error))?;
        match store.note(VERSION)? {
            Some(version) if version == THIS_VERSION => Ok(store),
            _ => Err(failed(&"it is of another version of adit")),
        }
    }

    fn prepare(&self) -> Result<(), redb::Error> {
        let transaction = self.database.begin_write()?;
        {
            transaction.open_table(RESOURCES)?;
            transaction.open_table(CONNECTIONS)?;
            let mut notes = transaction.open_table(NOTES)?;
            if notes.get(VERSION)?.is_none() {
                notes.insert(VERSION, THIS_VERSION)?;
            }
        }
        Ok(transaction.commit()?)
    }

    /// Where it is.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// What was kept.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn load(&self) -> Result<(Resources, Registry), StoreError> {
        let resources = self.all(RESOURCES)?;
        let resources = resources.iter().map(|(key, value)| read::<Resource>(key, value));
        let connections = self.all(CONNECTIONS)?;
        let connections = connections.iter().map(|(name, value)| {
            Ok((Name::of_resource(name.clone()), read::<Connection>(name, value)?))
        });
        let connections = connections.collect::<Result<Vec<_>, _>>()?;
        let next_link = self.note(NEXT_LINK)?.and_then(|bytes| bytes.try_into().ok());
        let registry = match next_link {
            None => Registry::default(),
            Some(bytes) => Registry::restored(connections, u32::from_be_bytes(bytes)),
        };
        Ok((resources.collect::<Result<_, _>>()?, registry))
    }

    fn all(
        &self,
        table: TableDefinition<&str, &[u8]>,
    ) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        let read = || -> Result<Vec<(String, Vec<u8>)>, redb::Error> {
            let table = self.database.begin_read()?.open_table(table)?;
            let rows = table.iter()?.map(|row| {
                let (key, value) = row?;
                Ok((key.value().to_owned(), value.value().to_vec()))
            });
            rows.collect()
        };
        read().map_err(|error| StoreError::new("the state cannot be read", &error))
    }

    /// A note, such as a key.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn note(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let read = || -> Result<Option<Vec<u8>>, redb::Error> {
            let table = self.database.begin_read()?.open_table(NOTES)?;
            Ok(table.get(name)?.map(|value| value.value().to_vec()))
        };
        read().map_err(|error| StoreError::new("the state cannot be read", &error))
    }

    /// Keeps a note.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn set_note(&self, name: &str, value: &[u8]) -> Result<(), StoreError> {
        let write = || -> Result<(), redb::Error> {
            let transaction = self.database.begin_write()?;
            transaction.open_table(NOTES)?.insert(name, value)?;
            Ok(transaction.commit()?)
        };
        write().map_err(|error| StoreError::new("the state cannot be written", &error))
    }

    /// Writes a change; it is on the disk when this returns.
    ///
    /// # Errors
    /// It cannot be written; then nothing is.
    pub fn commit(&self, batch: &Batch<'_>) -> Result<(), StoreError> {
        let failed =
            |error: &dyn fmt::Display| StoreError::new("the state cannot be written", error);
        let mut resources = Vec::new();
        for step in batch.steps {
            let value = step.new.as_ref().map(serde_json::to_vec).transpose();
            resources.push((step.id.to_string(), value.map_err(|error| failed(&error))?));
        }
        let mut connections = Vec::new();
        for (name, connection) in &batch.connections {
            let value = connection.map(serde_json::to_vec).transpose();
            connections.push((name.to_string(), value.map_err(|error| failed(&error))?));
        }
        self.write(&resources, &connections, batch.next_link).map_err(|error| failed(&error))
    }

    fn write(&self, resources: &[Row], connections: &[Row], link: u32) -> Result<(), redb::Error> {
        let transaction = self.database.begin_write()?;
        for (definition, rows) in [(RESOURCES, resources), (CONNECTIONS, connections)] {
            let mut table = transaction.open_table(definition)?;
            for (key, value) in rows {
                match value {
                    Some(value) => drop(table.insert(key.as_str(), value.as_slice())?),
                    None => drop(table.remove(key.as_str())?),
                }
            }
        }
        transaction.open_table(NOTES)?.insert(NEXT_LINK, link.to_be_bytes().as_slice())?;
        Ok(transaction.commit()?)
    }
}

/// A key, and its value unless it is to go.
type Row = (String, Option<Vec<u8>>);

fn read<T: serde::de::DeserializeOwned>(key: &str, value: &[u8]) -> Result<T, StoreError> {
    let what = format!("the state of {key} cannot be read");
    serde_json::from_slice(value).map_err(|error| StoreError::new(&what, &error))
}
