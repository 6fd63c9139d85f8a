//! The task after a crash: reads exactly the spans that are asked for.

use std::collections::VecDeque;

use forebay_api::{BoxError, Partition, Span};

use crate::directory::{Directory, OpenFile};
use crate::object::Object;
use crate::read::{Current, Opener, Step};

pub struct Replay {
    opener: Opener,
    spans: VecDeque<Span>,
    current: Option<Current>,
}

impl Replay {
    pub fn new(opener: Opener, spans: Vec<Span>) -> Self {
        Self { opener, spans: spans.into(), current: None }
    }

    pub fn step(&mut self) -> Result<Step, BoxError> {
        let Some(span) = self.spans.front_mut() else {
            return Ok(Step::Ended);
        };
        // Reading on where the last read ended saves passing over the lines before it once more.
        let current = match &mut self.current {
            Some(current) if current.place() == (&span.partition, span.from.clone()) => current,
            _ => {
                let (object, file) = wanted(&self.opener.directory, &span.partition)?;
                self.current.insert(self.opener.open(object, file, &span.from)?)
            }
        };
        let Some(read) = current.next(&self.opener.directory, &span.to)? else {
            return Err(format!("{span} was to be read again, but nothing is there").into());
        };
        if read.span.to < span.to {
            span.from = read.span.to.clone();
        } else {
            self.spans.pop_front();
        }
        Ok(Step::Read(read))
    }
}

/// The object of a partition, which must be what it was, and its file.
fn wanted(directory: &Directory, partition: &Partition) -> Result<(Object, OpenFile), BoxError> {
    let object = Object::of(partition).ok_or_else(|| format!("`{partition}` is not an object of this source"))?;
    let path = directory.path(&object.key);
    let what = match directory.open(&object.key)? {
        Some(mut file) => {
            if file.content()? == object.content {
                return Ok((object, file));
            }
            "was changed"
        }
        None => "is gone",
    };
    Err(format!(
        "`{}` {what}, but rows of it are on their way to a sink and must be read again: \
         put the file back whose XXH3-128 hash is {}",
        path.display(),
        object.content.etag,
    )
    .into())
}
