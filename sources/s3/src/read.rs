//! The source itself: lets one of its two tasks work on a thread that may block.

use std::fs::File;
use std::time::Duration;

use async_trait::async_trait;
use forebay_api::{BoxError, Partition, Position, Read, Resume, Source};
use forebay_codec::{Layout, Limits, Reader};

use crate::directory::{Directory, OpenFile, cannot};
use crate::everything::Everything;
use crate::object::{Hashing, Object};
use crate::replay::Replay;

/// The objects of a directory.
pub struct Objects {
    /// Not here while a thread works on it, and after the end.
    task: Option<Box<Task>>,
    poll: Option<Duration>,
}

enum Task {
    Everything(Everything),
    Replay(Replay),
}

/// What a task came to.
pub enum Step {
    Read(Read),
    /// All that is there now was read.
    Idle,
    /// All that was asked for was read.
    Ended,
}

impl Objects {
    /// Lists the objects for the first time.
    pub async fn open(opener: Opener, poll: Option<Duration>, resume: Resume) -> Result<Self, BoxError> {
        let open = move || {
            Ok::<_, BoxError>(match resume {
                Resume::After(after) => Task::Everything(Everything::new(opener, after, poll.is_some())?),
                Resume::Replay(spans) => Task::Replay(Replay::new(opener, spans)),
            })
        };
        let task = tokio::task::spawn_blocking(open).await??;
        Ok(Self { task: Some(Box::new(task)), poll })
    }
}

#[async_trait]
impl Source for Objects {
    async fn next(&mut self) -> Result<Option<Read>, BoxError> {
        while let Some(mut task) = self.task.take() {
            let step = move || {
                let step = match &mut *task {
                    Task::Everything(everything) => everything.step(),
                    Task::Replay(replay) => replay.step(),
                };
                (task, step)
            };
            let (task, step) = tokio::task::spawn_blocking(step).await?;
            match (step?, self.poll) {
                (Step::Read(read), _) => {
                    self.task = Some(task);
                    return Ok(Some(read));
                }
                (Step::Idle, Some(poll)) => {
                    tokio::time::sleep(poll).await;
                    self.task = Some(task);
                }
                (Step::Idle, None) | (Step::Ended, _) => break,
            }
        }
        Ok(None)
    }
}

/// Opens objects.
pub struct Opener {
    pub directory: Directory,
    pub layout: Layout,
    pub limits: Limits,
}

impl Opener {
    /// Begins to read the lines of an object after `from`. The file must be the very one whose content the object has:
    /// by now its name may be that of another.
    pub fn open(&self, object: Object, file: OpenFile, from: &Position) -> Result<Current, BoxError> {
        let partition = object.partition();
        if from.counted().is_none() {
            return Err(format!("`{partition}` cannot be read from {from} on: that is not the number of a line").into());
        }
        Ok(Current { object, reader: Reader::new(partition, file.reader(), &self.layout, self.limits, from) })
    }
}

/// The object that is being read.
pub struct Current {
    object: Object,
    reader: Reader<Hashing<File>>,
}

impl Current {
    /// What the object is to the engine, and the last line of it that was read.
    pub fn place(&self) -> (&Partition, Position) {
        (self.reader.partition(), self.reader.position())
    }

    /// The next rows. The last ones come only if the object is still what it was when it was looked at.
    pub fn next(&mut self, directory: &Directory, to: &Position) -> Result<Option<Read>, BoxError> {
        let key = &self.object.key;
        let failed = |error| cannot("read", &directory.path(key), &error);
        let read = self.reader.next(to).map_err(failed)?;
        if read.as_ref().is_some_and(|it| it.span.to == Position::End)
            && self.reader.input().content().map_err(failed)? != self.object.content
        {
            return Err(changed(key));
        }
        Ok(read)
    }
}

/// The error for a file that is not what it was.
pub fn changed(key: &str) -> BoxError {
    format!(
        "`{key}` changed while it was read: write new files under a name that ends in `.tmp`, \
         and rename them when they are complete"
    )
    .into()
}
