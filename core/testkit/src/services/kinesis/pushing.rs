//! `SubscribeToShard`: the records of a shard are sent as they come.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc::Sender;

use super::Shared;
use super::event_stream::{event, exception, initial_response};
use super::input::{Input, consumer_of};
use super::limits::Allowance;
use super::reading::{children_json, place, records_json};
use super::state::{Refusal, State, Subscribed};
use super::stream::{Next, bytes_of};

/// The most that is sent at once.
const EVENT_BYTES_MAX: usize = 1 << 20;
const EVENT_RECORDS_MAX: usize = 10_000;

/// What is sent to one consumer of one shard.
#[derive(Debug)]
pub struct Subscription {
    /// ARN of the consumer, and shard.
    key: (String, String),
    stream: String,
    nth: u64,
    next: Next,
    ends: u64,
    /// When something was sent last.
    sent: u64,
    read: Allowance,
}

/// What comes next for a subscription.
enum Step {
    Send(Bytes),
    SendLast(Bytes),
    End,
    /// There is nothing new; after this time that is said.
    Wait(Duration),
    /// As much as is allowed was sent.
    Pause,
}

impl Subscription {
    pub fn begin(state: &mut State, input: Input<'_>) -> Result<Self, Refusal> {
        let (now, limits) = (state.now(), state.limits.clone());
        let (arn, id) = (input.required("ConsumerARN")?, input.required("ShardId")?);
        let (name, consumer, created) = consumer_of(arn)?;
        let stream = state.stream(name)?;
        let known = stream.consumers.get(consumer).filter(|it| it.created / 1000 == created);
        let known = known.ok_or_else(|| Refusal::not_found(format!("Consumer {arn} not found.")))?;
        if now < known.active {
            return Err(Refusal::new("ResourceInUseException", format!("Consumer {arn} is not ACTIVE.")));
        }
        let shard = stream
            .shard(id)
            .ok_or_else(|| Refusal::not_found(format!("Shard {id} in stream {name} does not exist")))?;
        let from = input.object("StartingPosition")?;
        let next = place(shard, from.required("Type")?, from, "SequenceNumber")?;
        let key = (arn.to_owned(), id.to_owned());
        let pause = limits.subscription_pause.as_millis() as u64;
        if state.subscribed.get(&key).is_some_and(|it| it.at + pause > now) {
            let message = format!("Another active subscription exists for this consumer: {arn}, shard {id}");
            return Err(Refusal::new("ResourceInUseException", message));
        }
        state.subscriptions_ever += 1;
        let nth = state.subscriptions_ever;
        state.subscribed.insert(key.clone(), Subscribed { at: now, nth });
        let ends = now + limits.subscription_lifetime.as_millis() as u64;
        Ok(Self { key, stream: name.into(), nth, next, ends, sent: now, read: Allowance::default() })
    }

    /// Sends until the end of the shard, of the subscription, or of the client's patience.
    pub async fn run(mut self, shared: Arc<Shared>, to: Sender<Bytes>) {
        let mut changes = shared.changes.subscribe();
        if to.send(initial_response()).await.is_err() {
            return;
        }
        loop {
            // What happens from here on is seen below.
            changes.borrow_and_update();
            let step = self.step(&mut shared.lock());
            match step {
                Step::Send(message) => {
                    if to.send(message).await.is_err() {
                        return;
                    }
                }
                Step::SendLast(message) => {
                    // An error: the client has gone.
                    let _ = to.send(message).await;
                    return;
                }
                Step::End => return,
                Step::Pause => tokio::time::sleep(Duration::from_millis(50)).await,
                Step::Wait(time) => {
                    // Either a change, or the time to say that there is none.
                    let _ = tokio::time::timeout(time, changes.changed()).await;
                }
            }
            if to.is_closed() {
                return;
            }
        }
    }

    fn step(&mut self, state: &mut State) -> Step {
        let (now, per_second) = (state.now(), state.limits.read_bytes_per_second);
        let quiet_until = self.sent + state.limits.subscription_idle.as_millis() as u64;
        match state.subscribed.get(&self.key) {
            Some(it) if it.nth == self.nth => {}
            Some(_) => return Step::SendLast(exception("ResourceInUseException", "another subscription has begun")),
            None => return Step::End,
        }
        if now >= self.ends {
            return Step::End;
        }
        let gone = |what: &str| Step::SendLast(exception("ResourceNotFoundException", &format!("the {what} is gone")));
        let Ok(stream) = state.stream(&self.stream) else { return gone("stream") };
        let Ok((_, consumer, _)) = consumer_of(&self.key.0) else { return gone("consumer") };
        if !stream.consumers.contains_key(consumer) {
            return gone("consumer");
        }
        let Some(shard) = stream.shard(&self.key.1) else { return gone("shard") };
        if !self.read.is_left(now, per_second) {
            return Step::Pause;
        }
        let read = shard.read(self.next, EVENT_RECORDS_MAX, EVENT_BYTES_MAX);
        let next = self.next.max(if read.is_empty() { 0 } else { shard.oldest() }) + read.len() as u64;
        let drained = shard.is_drained(next);
        if read.is_empty() && !drained && now < quiet_until {
            return Step::Wait(Duration::from_millis(quiet_until.min(self.ends) - now));
        }
        self.sent = now;
        self.read.take(bytes_of(&read));
        self.next = next;
        let end = match drained {
            // The service sends no number to go on from: there is nothing to go on with.
            true => format!("\"ChildShards\":{}", children_json(stream, shard.index)),
            false => format!("\"ContinuationSequenceNumber\":\"{}\"", shard.before(next, now)),
        };
        let behind = shard.behind(next, now);
        let mut json = b"{\"Records\":".to_vec();
        json.extend_from_slice(&records_json(&read));
        json.extend_from_slice(format!(",\"MillisBehindLatest\":{behind},{end}}}").as_bytes());
        let message = event("SubscribeToShardEvent", &json);
        if drained { Step::SendLast(message) } else { Step::Send(message) }
    }
}
