//! A secret for each day, by which addresses are hashed, and of which only the one of today is there.

use std::io::{self, Read};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use forebay_spool::Disk;
use sha2::{Digest, Sha256};

const DAY_MILLIS: u64 = 86_400_000;
const SALT_BYTES: usize = 32;

/// The file of the salt, and the one that takes its place when it is durable.
const FILE: &str = "salt";
const NEW_FILE: &str = "salt.new";

/// The salt of today, in memory and on a disk.
pub struct Salts {
    disk: Arc<dyn Disk>,
    /// Held for a moment only: requests wait for it.
    today: Mutex<Option<Salt>>,
    /// Held while the file is looked at or changed, which a disk that hangs may make long.
    changing: Arc<tokio::sync::Mutex<()>>,
}

/// The secret of a day.
#[derive(Clone, Copy)]
pub struct Salt {
    day: u64,
    bytes: [u8; SALT_BYTES],
}

impl Salts {
    /// Those in the files of a disk.
    pub fn on(disk: Arc<dyn Disk>) -> Arc<Self> {
        Arc::new(Self { disk, today: Mutex::default(), changing: Arc::default() })
    }

    /// The one to use now.
    pub async fn of(self: &Arc<Self>, now_millis: u64) -> io::Result<Salt> {
        let day = now_millis / DAY_MILLIS;
        let known = self.today().filter(|it| it.is_of(day));
        match known {
            Some(salt) => Ok(salt),
            None => self.change(move |it| it.find(day)).await,
        }
    }

    /// Forgets those of other days.
    pub async fn forget(self: &Arc<Self>, now_millis: u64) -> io::Result<()> {
        let day = now_millis / DAY_MILLIS;
        self.change(move |it| {
            // That of a day to come is one of a clock that was wrong.
            it.today().take_if(|it| !it.is_of(day));
            match Salt::read(&*it.disk)? {
                Some(salt) if !salt.is_of(day) => {
                    it.disk.remove(FILE)?;
                    it.disk.sync_directory()
                }
                _ => Ok(()),
            }
        })
        .await
    }

    fn today(&self) -> MutexGuard<'_, Option<Salt>> {
        self.today.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The salt of a day, which may have been found meanwhile, which lies on the disk, or which is made.
    fn find(&self, day: u64) -> io::Result<Salt> {
        if let Some(salt) = self.today().filter(|it| it.is_of(day)) {
            return Ok(salt);
        }
        let salt = match Salt::read(&*self.disk)?.filter(|it| it.is_of(day)) {
            Some(salt) => salt,
            None => {
                let salt = Salt::random(day)?;
                salt.write(&*self.disk)?;
                salt
            }
        };
        *self.today() = Some(salt);
        Ok(salt)
    }

    /// Works on a thread that may block. Whoever waits for it may go away, and the work goes on, alone.
    async fn change<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let (alone, salts) = (self.changing.clone().lock_owned().await, self.clone());
        let done = tokio::task::spawn_blocking(move || {
            let done = work(&salts);
            drop(alone);
            done
        });
        done.await.map_err(io::Error::other)?
    }
}

impl Salt {
    /// Whether it is the one to use on a day. A request may be a moment late, and must not end the day that has begun.
    fn is_of(&self, day: u64) -> bool {
        self.day == day || self.day == day + 1
    }

    /// An address, hashed.
    pub fn hash(&self, address: IpAddr) -> String {
        let mut hash = Sha256::new();
        // The salt has a fixed length, so nothing can be appended to what is hashed.
        hash.update(self.bytes);
        match address {
            IpAddr::V4(it) => hash.update(it.octets()),
            IpAddr::V6(it) => hash.update(it.octets()),
        }
        hash.finalize()[..16].iter().map(|it| format!("{it:02x}")).collect()
    }

    fn random(day: u64) -> io::Result<Self> {
        let mut bytes = [0; SALT_BYTES];
        std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
        Ok(Self { day, bytes })
    }

    fn read(disk: &dyn Disk) -> io::Result<Option<Self>> {
        let file = match disk.open(FILE) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let mut all = [0; size_of::<u64>() + SALT_BYTES];
        let mut filled = 0;
        while filled < all.len() {
            match file.read_at(filled as u64, &mut all[filled..])? {
                // Of a file that was not written to its end there is nothing to be had.
                0 => return Ok(None),
                bytes => filled += bytes,
            }
        }
        let day = all.first_chunk().map(|it| u64::from_le_bytes(*it));
        Ok(day.zip(all.last_chunk().copied()).map(|(day, bytes)| Self { day, bytes }))
    }

    /// Durable, as the requests are whose addresses are hashed with it: or else a power cut makes two visitors of one.
    fn write(&self, disk: &dyn Disk) -> io::Result<()> {
        // What an earlier try left.
        match disk.remove(NEW_FILE) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = disk.create(NEW_FILE)?;
        file.write_at(0, &[&self.day.to_le_bytes()[..], &self.bytes].concat())?;
        file.sync()?;
        disk.rename(NEW_FILE, FILE)?;
        disk.sync_directory()
    }
}
