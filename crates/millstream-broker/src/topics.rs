//! The catalogue: which topics exist, their ids, partitions and configs, in memory and in the data folder.
//!
//! A topic is a folder `<data>/topics/<name>` with `topic.json` and one folder per partition. Names that start with `~` cannot be
//! topics: they are folders that are being made or removed, and whatever a kill left of them is removed at the next
//! start. A topic appears by one rename and disappears by one rename, so that no half of one is ever seen.
//! Changes are made one after another under `changes`; lookups only take the read lock for a moment.

pub(crate) mod config;
pub(crate) mod defaults;
mod file;
pub(crate) mod name;

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use kafka_protocol::ResponseError;
use kafka_protocol::messages::TopicName;
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use crate::config::Config;
use crate::error::Error;
use crate::log::{LogConfig, Partition};
use crate::producers::{Census, Excess};
use config::Overrides;
use defaults::{Defaults, Dynamic};
use file::TopicFile;

/// One topic. It stays usable for whoever holds it while it is deleted; its partitions then refuse work.
#[derive(Debug)]
pub(crate) struct Topic {
    pub(crate) name: TopicName,
    pub(crate) id: Uuid,
    partitions: RwLock<Arc<[Arc<Partition>]>>,
    overrides: Mutex<Arc<Overrides>>,
}

impl Topic {
    /// All partitions, in order.
    pub(crate) fn partitions(&self) -> Arc<[Arc<Partition>]> {
        Arc::clone(
            &self
                .partitions
                .read()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }

    /// One partition by its number.
    pub(crate) fn partition(&self, index: i32) -> Option<Arc<Partition>> {
        let index = usize::try_from(index).ok()?;
        self.partitions
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(index)
            .cloned()
    }

    /// How many partitions there are.
    pub(crate) fn count(&self) -> i32 {
        i32::try_from(
            self.partitions
                .read()
                .unwrap_or_else(PoisonError::into_inner)
                .len(),
        )
        .unwrap_or(i32::MAX)
    }

    /// The configs set on this topic.
    pub(crate) fn overrides(&self) -> Arc<Overrides> {
        Arc::clone(
            &self
                .overrides
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }
}

/// Why a topic was not created, changed or deleted: the protocol's code and a text for people.
#[derive(Clone, Debug)]
pub(crate) struct Refused {
    pub(crate) code: ResponseError,
    pub(crate) message: String,
}

impl Refused {
    pub(crate) fn new(code: ResponseError, message: impl Into<String>) -> Refused {
        Refused {
            code,
            message: message.into(),
        }
    }
}

impl From<Error> for Refused {
    fn from(error: Error) -> Refused {
        let source =
            std::error::Error::source(&error).map_or(String::new(), |source| format!(": {source}"));
        tracing::error!(%error, source, "failed to change the catalogue");
        Refused::new(ResponseError::KafkaStorageError, format!("{error}{source}"))
    }
}

#[derive(Debug, Default)]
struct Catalogue {
    by_name: BTreeMap<String, Arc<Topic>>,
    by_id: HashMap<Uuid, Arc<Topic>>,
}

/// All topics.
#[derive(Debug)]
pub(crate) struct Topics {
    root: PathBuf,
    config: Arc<Config>,
    defaults: RwLock<Arc<Defaults>>,
    catalogue: RwLock<Catalogue>,
    changes: Mutex<()>,
    version: AtomicU64,
    census: Arc<Census>,
    /// Held by the one who forgets producers.
    forgetting: Mutex<()>,
}

impl Topics {
    /// Opens all topics below `<data>/topics`.
    pub(crate) fn open(config: &Config) -> Result<Topics, Error> {
        let root = config.data.join("topics");
        fs::create_dir_all(&root).map_err(Error::file("create", &root))?;
        let config = Arc::new(config.clone());
        let topics = Topics {
            root: root.clone(),
            defaults: RwLock::new(Arc::new(Defaults::open(&config)?)),
            census: Census::new(config.max_producers),
            config,
            catalogue: RwLock::default(),
            changes: Mutex::default(),
            version: AtomicU64::new(0),
            forgetting: Mutex::default(),
        };
        for entry in fs::read_dir(&root).map_err(Error::file("read", &root))? {
            let path = entry.map_err(Error::file("read", &root))?.path();
            match path.file_name().and_then(|name| name.to_str()) {
                Some(name) if name.starts_with('~') => {
                    fs::remove_dir_all(&path).map_err(Error::file("remove", &path))?;
                }
                Some(name) if name::check(name).is_ok() => topics.load(name, &path)?,
                _ => tracing::warn!(path = %path.display(), "no topic, left alone"),
            }
        }
        topics.limit_producers();
        Ok(topics)
    }

    fn load(&self, name: &str, path: &Path) -> Result<(), Error> {
        match file::read(path)? {
            Some(file) => self.insert(self.open_topic(name, path, file)?),
            None => tracing::warn!(path = %path.display(), "folder without topic.json, left alone"),
        }
        Ok(())
    }

    fn open_topic(&self, name: &str, path: &Path, file: TopicFile) -> Result<Arc<Topic>, Error> {
        let log = self.log_config(&file.configs);
        let partitions: Result<Vec<_>, Error> = (0..file.partitions)
            .map(|index| self.open_partition(&path.join(index.to_string()), &log))
            .collect();
        Ok(Arc::new(Topic {
            name: TopicName(StrBytes::from_string(name.to_owned())),
            id: file.id,
            partitions: RwLock::new(partitions?.into()),
            overrides: Mutex::new(Arc::new(file.configs)),
        }))
    }

    fn open_partition(&self, dir: &Path, log: &Arc<LogConfig>) -> Result<Arc<Partition>, Error> {
        if !dir.is_dir() {
            // Making an empty one instead would hide that records are gone.
            let source = std::io::Error::from(std::io::ErrorKind::NotFound);
            return Err(Error::File {
                verb: "open partition",
                path: dir.to_path_buf(),
                source,
            });
        }
        Partition::open(dir, log, &self.census, self.config.clock.now_ms()).map(Arc::new)
    }

    fn log_config(&self, overrides: &Overrides) -> Arc<LogConfig> {
        Arc::new(config::log_config(overrides, &self.defaults()))
    }

    /// What topics follow that have no config of their own.
    pub(crate) fn defaults(&self) -> Arc<Defaults> {
        Arc::clone(&self.defaults.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Sets for this broker, or for all, what `change` makes of what is set. It holds for all topics, and after a power cut, when this
    /// returns.
    pub(crate) fn change_defaults(
        &self,
        change: impl FnOnce(&Dynamic) -> Result<Dynamic, Refused>,
    ) -> Result<(), Refused> {
        let _one_at_a_time = self.lock_changes();
        let now = self.defaults();
        let changed = now.change(change(&now.dynamic)?)?;
        *self
            .defaults
            .write()
            .unwrap_or_else(PoisonError::into_inner) = Arc::new(changed);
        for topic in self.all() {
            let log = self.log_config(&topic.overrides());
            for partition in topic.partitions().iter() {
                partition.configure(&log);
            }
        }
        Ok(())
    }

    fn insert(&self, topic: Arc<Topic>) {
        let mut catalogue = self
            .catalogue
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        catalogue.by_id.insert(topic.id, Arc::clone(&topic));
        catalogue
            .by_name
            .insert(topic.name.as_str().to_owned(), topic);
        self.version.fetch_add(1, Ordering::Release);
    }

    /// Grows after each topic that was created, grown or deleted.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Finds a topic by name.
    pub(crate) fn get(&self, name: &str) -> Option<Arc<Topic>> {
        self.catalogue
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .by_name
            .get(name)
            .cloned()
    }

    /// Finds a topic by id.
    pub(crate) fn by_id(&self, id: &Uuid) -> Option<Arc<Topic>> {
        self.catalogue
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .by_id
            .get(id)
            .cloned()
    }

    /// All topics by name.
    pub(crate) fn all(&self) -> Vec<Arc<Topic>> {
        self.catalogue
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .by_name
            .values()
            .cloned()
            .collect()
    }

    /// Finds a partition of a topic by the topic's name.
    pub(crate) fn partition(&self, name: &str, index: i32) -> Option<Arc<Partition>> {
        self.get(name)?.partition(index)
    }

    /// Forgets producers if all partitions together know more than they may, those first that have been silent longest.
    pub(crate) fn limit_producers(&self) {
        if !self.census.is_over() {
            return;
        }
        let Ok(_turn) = self.forgetting.try_lock() else {
            return;
        };
        let topics = self.all();
        let mut idle_since = Vec::new();
        for partition in topics.iter().flat_map(|topic| topic.partitions().to_vec()) {
            partition.idle_producers(&mut idle_since);
        }
        let Some(Excess { up_to_ms, count }) = self.census.excess(&mut idle_since) else {
            return;
        };
        let mut left = count;
        for partition in topics.iter().flat_map(|topic| topic.partitions().to_vec()) {
            left -= partition.forget_producers(Excess {
                up_to_ms,
                count: left,
            });
        }
        tracing::debug!(producers = count - left, "silent producers forgotten");
    }

    /// Checks whether a topic of this name could be created, without creating it.
    pub(crate) fn check_new(
        &self,
        name: &str,
        partitions: i32,
        overrides: &Overrides,
    ) -> Result<(), Refused> {
        name::check(name)
            .map_err(|message| Refused::new(ResponseError::InvalidTopicException, message))?;
        let catalogue = self
            .catalogue
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        if catalogue.by_name.contains_key(name) {
            return Err(Refused::new(
                ResponseError::TopicAlreadyExists,
                format!("Topic '{name}' already exists."),
            ));
        }
        if let Some(other) = catalogue
            .by_name
            .keys()
            .find(|other| name::collides(other, name))
        {
            return Err(Refused::new(
                ResponseError::InvalidTopicException,
                format!("Topic '{name}' collides with existing topic: {other}"),
            ));
        }
        if partitions < 1 {
            return Err(Refused::new(
                ResponseError::InvalidPartitions,
                "Number of partitions was set to an invalid non-positive value.",
            ));
        }
        if partitions > self.config.max_partitions {
            return Err(Refused::new(
                ResponseError::PolicyViolation,
                format!(
                    "A topic may have {} partitions at most.",
                    self.config.max_partitions
                ),
            ));
        }
        config::check_all(overrides)
            .map_err(|message| Refused::new(ResponseError::InvalidConfig, message))
    }

    /// Creates a topic.
    pub(crate) fn create(
        &self,
        name: &str,
        partitions: i32,
        overrides: Overrides,
    ) -> Result<Arc<Topic>, Refused> {
        let _one_at_a_time = self.lock_changes();
        self.check_new(name, partitions, &overrides)?;
        let file = TopicFile {
            id: Uuid::new_v4(),
            partitions,
            configs: overrides,
        };
        let making = self.root.join(format!("~{}.new", file.id));
        let path = self.root.join(name);
        let made = file::create(&making, &file).and_then(|()| file::rename(&making, &path));
        let topic = match made.and_then(|()| self.open_topic(name, &path, file)) {
            Ok(topic) => topic,
            Err(error) => {
                // What is left is of no use to anyone, and the next start removes what cannot be removed now.
                fs::remove_dir_all(&making)
                    .or_else(|_| fs::remove_dir_all(&path))
                    .ok();
                return Err(error.into());
            }
        };
        self.insert(Arc::clone(&topic));
        Ok(topic)
    }

    /// Adds partitions to a topic until it has `count`.
    pub(crate) fn grow(&self, topic: &Topic, count: i32) -> Result<(), Refused> {
        let _one_at_a_time = self.lock_changes();
        self.check_exists(topic)?;
        let path = self.root.join(topic.name.as_str());
        let overrides = topic.overrides();
        let log = self.log_config(&overrides);
        let mut partitions = topic.partitions().to_vec();
        for index in topic.count()..count {
            let dir = path.join(index.to_string());
            fs::create_dir_all(&dir).map_err(Error::file("create", &dir))?;
            partitions.push(self.open_partition(&dir, &log)?);
        }
        let file = TopicFile {
            id: topic.id,
            partitions: count,
            configs: overrides.as_ref().clone(),
        };
        file::write(&path, &file)?;
        *topic
            .partitions
            .write()
            .unwrap_or_else(PoisonError::into_inner) = partitions.into();
        self.version.fetch_add(1, Ordering::Release);
        Ok(())
    }

    /// Gives a topic the configs that `change` makes of those it has.
    pub(crate) fn configure(
        &self,
        topic: &Topic,
        change: impl FnOnce(&Overrides) -> Result<Overrides, Refused>,
    ) -> Result<(), Refused> {
        let _one_at_a_time = self.lock_changes();
        self.check_exists(topic)?;
        let overrides = change(&topic.overrides())?;
        config::check_all(&overrides)
            .map_err(|message| Refused::new(ResponseError::InvalidConfig, message))?;
        let file = TopicFile {
            id: topic.id,
            partitions: topic.count(),
            configs: overrides.clone(),
        };
        file::write(&self.root.join(topic.name.as_str()), &file)?;
        let log = self.log_config(&overrides);
        for partition in topic.partitions().iter() {
            partition.configure(&log);
        }
        *topic
            .overrides
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Arc::new(overrides);
        Ok(())
    }

    /// Whoever looked a topic up may have been overtaken by its deletion.
    fn check_exists(&self, topic: &Topic) -> Result<(), Refused> {
        match self.by_id(&topic.id) {
            Some(_) => Ok(()),
            None => Err(Refused::new(
                ResponseError::UnknownTopicOrPartition,
                "This server does not host this topic-partition.",
            )),
        }
    }

    /// Deletes a topic with all its records. Requests that still hold it find its partitions deleted. When the system refuses to
    /// rename its folder, it is gone until the next start, which finds it again.
    pub(crate) fn delete(&self, topic: &Topic) -> Result<(), Refused> {
        let _one_at_a_time = self.lock_changes();
        self.check_exists(topic)?;
        {
            let mut catalogue = self
                .catalogue
                .write()
                .unwrap_or_else(PoisonError::into_inner);
            catalogue.by_name.remove(topic.name.as_str());
            catalogue.by_id.remove(&topic.id);
        }
        self.version.fetch_add(1, Ordering::Release);
        // The files go last: who still holds a partition must be told that it is deleted, not that files are missing.
        for partition in topic.partitions().iter() {
            partition.delete();
        }
        let gone = self.root.join(format!("~{}.deleted", topic.id));
        file::rename(&self.root.join(topic.name.as_str()), &gone)?;
        if let Err(error) = fs::remove_dir_all(&gone) {
            tracing::warn!(topic = topic.name.as_str(), %error, "files of a deleted topic stay until the next start");
        }
        Ok(())
    }

    fn lock_changes(&self) -> MutexGuard<'_, ()> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
