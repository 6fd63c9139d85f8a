//! The task after a crash: reads exactly the spans that are asked for.

use std::collections::VecDeque;
use std::sync::Arc;

use async_trait::async_trait;
use forebay_api::{BoxError, Partition, Position, Read, Source, Span};
use tokio::task::JoinHandle;
use tokio_util::sync::DropGuard;

use crate::decode::{Current, Decoder};
use crate::letter::Letter;
use crate::store::{Body, Store};

/// Spans, in their order.
pub struct Replay {
    store: Arc<dyn Store>,
    decoder: Decoder,
    due: VecDeque<Run>,
    /// Objects that are opened before it is their turn.
    opening: VecDeque<(Run, Opening)>,
    current: Option<Current>,
    _stop: DropGuard,
}

type Opening = JoinHandle<Result<Box<dyn Body>, BoxError>>;

/// Spans of one partition that follow each other: reading on where one has ended saves passing over the rows before it
/// once more.
struct Run {
    partition: Partition,
    from: Position,
    stops: Vec<Position>,
}

impl Replay {
    pub fn new(store: Arc<dyn Store>, decoder: Decoder, spans: Vec<Span>, stop: DropGuard) -> Self {
        let mut due: VecDeque<Run> = VecDeque::new();
        for Span { partition, from, to } in spans {
            match due.back_mut() {
                Some(run) if run.partition == partition && run.stops.last() == Some(&from) => run.stops.push(to),
                _ => due.push_back(Run { partition, from, stops: vec![to] }),
            }
        }
        Self { store, decoder, due, opening: VecDeque::new(), current: None, _stop: stop }
    }

    /// Begins to open what comes next.
    fn open_ahead(&mut self) {
        while self.opening.len() < self.store.ahead().objects
            && let Some(run) = self.due.pop_front()
        {
            let (store, partition) = (self.store.clone(), run.partition.clone());
            let opening = async move {
                let object = store.object(&partition);
                let object = object.ok_or_else(|| format!("`{partition}` is not an object of this source"))?;
                store.reopen(&object).await
            };
            // A refusal has nothing to open, but it waits for its turn like any other.
            self.opening.push_back((run, tokio::spawn(opening)));
        }
    }
}

#[async_trait]
impl Source for Replay {
    async fn next(&mut self) -> Result<Option<Read>, BoxError> {
        loop {
            if let Some(current) = &mut self.current {
                match current.next().await {
                    Some(read) => return Ok(Some(read?)),
                    None => self.current = None,
                }
            }
            self.open_ahead();
            let Some((run, opening)) = self.opening.pop_front() else {
                return Ok(None);
            };
            if let Some(letter) = Letter::of(&run.partition) {
                opening.abort();
                return Ok(Some(letter.read(self.decoder.layout.schema().clone())));
            }
            let body = opening.await??;
            self.current = Some(self.decoder.begin(run.partition, body, &run.from, run.stops)?);
        }
    }
}

impl Drop for Replay {
    fn drop(&mut self) {
        for (_, opening) in &self.opening {
            opening.abort();
        }
    }
}
