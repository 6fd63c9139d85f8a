//! How far each object was read.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use forebay_api::{Partition, Position};

use crate::letter::Letter;
use crate::object::{Begin, Id, Object};
use crate::store::Store;

/// How far each object was read, in this life or an earlier one. Clones are the same books.
#[derive(Clone, Default)]
pub struct Books(Arc<Mutex<Entries>>);

#[derive(Default)]
struct Entries {
    /// Read to the end, or refused. One entry for each object there ever was, hence nothing but 16 bytes.
    finished: HashSet<Id>,
    /// Begun in an earlier life, and not met in this one.
    begun: HashMap<Id, (Partition, Position)>,
    /// Being read, or next in line.
    reading: HashSet<Id>,
}

/// What is to be done about an object.
pub enum Admission {
    /// Read it.
    Read(Begin),
    /// It is being read, or will be soon.
    Reading,
    /// It was read.
    Finished,
}

impl Books {
    /// The books as an earlier life left them.
    pub fn new(store: &dyn Store, after: BTreeMap<Partition, Position>) -> Self {
        let mut entries = Entries::default();
        for (partition, position) in &after {
            match (Letter::of(partition), position.clone()) {
                (Some(letter), Position::End) => {
                    entries.finished.insert(letter.id());
                    if let Letter::Unreadable { object: partition, after: last, .. } = letter
                        && let Some(object) = store.object(&partition)
                    {
                        // Only together with the rows before it a refusal of the rest makes an object whole. Where they
                        // are not safe (a delivery that was given up), or more came after all, it is read on from there.
                        let reached = after.get(&partition).unwrap_or(&Position::Start);
                        if *reached == last {
                            entries.finished.insert(object.id());
                        } else {
                            entries.begun.insert(object.id(), (partition, reached.clone()));
                        }
                    }
                }
                // It was not refused after all: the message comes again, the object is read again.
                (Some(_), _) => {}
                (None, position) => {
                    let Some(object) = store.object(partition) else { continue };
                    if position == Position::End {
                        entries.finished.insert(object.id());
                    } else {
                        entries.begun.insert(object.id(), (partition.clone(), position));
                    }
                }
            }
        }
        entries.begun.retain(|id, _| !entries.finished.contains(id));
        Self(Arc::new(Mutex::new(entries)))
    }

    /// What is to be done about an object. Who is told to read it does so, or calls [`Books::forget`].
    pub fn admit(&self, store: &dyn Store, mut object: Object) -> Admission {
        let id = object.id();
        let mut entries = self.lock();
        if entries.finished.contains(&id) {
            return Admission::Finished;
        }
        if !entries.reading.insert(id) {
            return Admission::Reading;
        }
        // It goes on under the name under which it was begun, which may or may not name a version.
        let begun = entries.begun.remove(&id);
        let (partition, from) = begun.unwrap_or_else(|| (store.partition(&object), Position::Start));
        object.version = object.version.or_else(|| store.object(&partition)?.version);
        Admission::Read(Begin { object, partition, from })
    }

    /// Whether there is anything to read of an object, or of something else that is known by this.
    pub fn is_known(&self, id: Id) -> bool {
        let entries = self.lock();
        entries.finished.contains(&id) || entries.reading.contains(&id)
    }

    /// Whether it is being read, or will be soon.
    pub fn is_reading(&self, id: Id) -> bool {
        self.lock().reading.contains(&id)
    }

    /// It will be read soon. For what has no bytes to be opened.
    pub fn begin(&self, id: Id) {
        self.lock().reading.insert(id);
    }

    /// There is nothing more to read of it.
    pub fn finish(&self, id: Id) {
        let mut entries = self.lock();
        entries.reading.remove(&id);
        entries.finished.insert(id);
    }

    /// It was not read, because it is not there. If it should come back, it is read.
    pub fn forget(&self, id: Id) {
        self.lock().reading.remove(&id);
    }

    /// Objects that were begun in an earlier life and not met in this one.
    pub fn begun(&self) -> Vec<(Partition, Position)> {
        let mut begun: Vec<_> = self.lock().begun.values().cloned().collect();
        begun.sort_unstable();
        begun
    }

    /// The same, once, but for those that are to be kept for the next time.
    pub fn take_begun(&self, keep: impl Fn(&Partition) -> bool) -> Vec<(Partition, Position)> {
        let mut begun: Vec<_> = self.lock().begun.extract_if(|_, it| !keep(&it.0)).map(|it| it.1).collect();
        begun.sort_unstable();
        begun
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
