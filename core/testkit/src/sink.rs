//! The suite for sinks.

use std::cell::Cell;
use std::time::Duration;

use arrow_array::RecordBatch;
use forebay_api::{DeliveryId, Draft, Promise, Refused, Sink, SinkError};

use crate::rows::{canonical, cut, difference};

/// So often a [`SinkError::Retry`] is tried again before it is taken for a fault.
const TRIES_MAX: usize = 20;

/// Checks that a sink keeps its contract for these rows.
///
/// `open` opens the sink anew, always on the same place, as a restarted process would. `visible` says what a reader
/// of that place sees: one line for each row, in any order, in the form of [`canonical`].
///
/// - Nothing is visible before `commit`, and exactly what was staged after it, save the rows that were refused.
/// - Refused rows are named by their number, with the row itself and a reason.
/// - Of a draft that is let go nothing is ever visible, and its delivery can be made anew under the same id.
/// - Two drafts that are open at a time do not disturb each other.
/// - A draft without rows, and batches without rows, are fine.
/// - The same delivery twice leaves one copy where the sink promises [`Promise::OncePerId`]: at once, in other
///   batches, and after the sink was opened anew.
///
/// # Panics
///
/// If the contract is broken, or there are no input rows.
pub async fn sink(
    promise: Promise,
    input: &[RecordBatch],
    open: impl AsyncFn() -> Box<dyn Sink>,
    visible: impl AsyncFn() -> Vec<String>,
) {
    let rows: usize = input.iter().map(RecordBatch::num_rows).sum();
    assert!(rows > 1, "sink: the suite needs at least two input rows");
    let suite = Suite { promise, input, open, visible, ids: Cell::new(0) };
    suite.commit_shows_what_was_staged().await;
    suite.abandoned_drafts_leave_nothing().await;
    suite.drafts_side_by_side().await;
    suite.no_rows().await;
    suite.same_delivery_again().await;
}

/// The `n`th delivery id for tests.
pub fn delivery(n: u64) -> DeliveryId {
    format!("{n:032x}").parse().expect("32 hexadecimal digits")
}

struct Suite<'a, Open, Visible> {
    promise: Promise,
    input: &'a [RecordBatch],
    open: Open,
    visible: Visible,
    ids: Cell<u64>,
}

impl<Open, Visible> Suite<'_, Open, Visible>
where
    Open: AsyncFn() -> Box<dyn Sink>,
    Visible: AsyncFn() -> Vec<String>,
{
    async fn commit_shows_what_was_staged(&self) {
        let sink = (self.open)().await;
        let before = self.see().await;
        let mut delivery = Delivery::begin(sink.as_ref(), &self.next_id()).await;
        delivery.stage(self.input).await;
        self.expect(&before, &[], "before `commit`").await;
        let delivered = delivery.commit().await;
        self.expect(&before, &delivered, "after `commit`").await;
        drop(sink);
        self.expect(&before, &delivered, "after the sink was closed").await;
    }

    async fn abandoned_drafts_leave_nothing(&self) {
        let before = self.see().await;
        let id = self.next_id();
        let sink = (self.open)().await;
        for batches in [self.input, &self.input[..1], &[]] {
            let mut delivery = Delivery::begin(sink.as_ref(), &id).await;
            delivery.stage(batches).await;
            drop(delivery);
            self.expect(&before, &[], "after a draft was let go").await;
        }
        drop(sink);
        self.expect(&before, &[], "after a draft was let go and the sink closed").await;
        let sink = (self.open)().await;
        self.expect(&before, &[], "after a draft was let go and the sink opened anew").await;
        let mut delivery = Delivery::begin(sink.as_ref(), &id).await;
        delivery.stage(&cut(self.input, 1)).await;
        let delivered = delivery.commit().await;
        self.expect(&before, &delivered, "after a delivery that was let go before").await;
    }

    async fn drafts_side_by_side(&self) {
        let sink = (self.open)().await;
        let before = self.see().await;
        let mut first = Delivery::begin(sink.as_ref(), &self.next_id()).await;
        let mut second = Delivery::begin(sink.as_ref(), &self.next_id()).await;
        let mut third = Delivery::begin(sink.as_ref(), &self.next_id()).await;
        for batch in self.input {
            first.stage(std::slice::from_ref(batch)).await;
            second.stage(&cut(std::slice::from_ref(batch), 1)).await;
            third.stage(std::slice::from_ref(batch)).await;
        }
        let mut delivered = second.commit().await;
        self.expect(&before, &delivered, "after the second of three drafts was committed").await;
        drop(third);
        delivered.extend(first.commit().await);
        self.expect(&before, &delivered, "after the first of three drafts was committed and the third let go").await;
    }

    async fn no_rows(&self) {
        let sink = (self.open)().await;
        let before = self.see().await;
        let nothing = RecordBatch::new_empty(self.input[0].schema());
        let mut delivery = Delivery::begin(sink.as_ref(), &self.next_id()).await;
        delivery.stage(std::slice::from_ref(&nothing)).await;
        delivery.commit().await;
        self.expect(&before, &[], "after a delivery without rows").await;
        let mut delivery = Delivery::begin(sink.as_ref(), &self.next_id()).await;
        for batch in self.input {
            delivery.stage(&[nothing.clone(), batch.clone(), nothing.clone()]).await;
        }
        let delivered = delivery.commit().await;
        self.expect(&before, &delivered, "after a delivery with empty batches in it").await;
    }

    async fn same_delivery_again(&self) {
        let half = self.input.iter().map(RecordBatch::num_rows).sum::<usize>().div_ceil(2);
        let cuts = [
            ("in the same batches", self.input.to_vec()),
            ("row by row", cut(self.input, 1)),
            ("in halves", cut(self.input, half)),
        ];
        let before = self.see().await;
        let id = self.next_id();
        let mut sink = (self.open)().await;
        let mut delivered = Vec::new();
        let mut refused = None;
        for (copies, (name, batches)) in cuts.iter().enumerate() {
            let mut delivery = Delivery::begin(sink.as_ref(), &id).await;
            delivery.stage(batches).await;
            let again = if copies == 0 { "delivered".to_owned() } else { format!("delivered again {name}") };
            let seen = self.see().await;
            self.expect_copies(&before, &delivered, copies, &seen, &format!("being {again}, before `commit`"));
            let rows = delivery.commit_rows().await;
            let numbers: Vec<u64> = rows.refused.iter().map(|it| it.0).collect();
            let first = refused.get_or_insert_with(|| numbers.clone());
            assert_eq!(*first, numbers, "sink: {again}: other rows were refused than the first time");
            delivered = rows.delivered;
            let seen = self.see().await;
            self.expect_copies(&before, &delivered, copies + 1, &seen, &again);
            sink = (self.open)().await;
            let seen = self.see().await;
            self.expect_copies(&before, &delivered, copies + 1, &seen, &format!("{again}, then opened anew"));
        }
    }

    fn next_id(&self) -> DeliveryId {
        self.ids.set(self.ids.get() + 1);
        delivery(self.ids.get())
    }

    async fn see(&self) -> Vec<String> {
        (self.visible)().await
    }

    /// Visible are the rows `before` and those delivered since.
    async fn expect(&self, before: &[String], delivered: &[String], when: &str) {
        let expected = [before, delivered].concat();
        let seen = self.see().await;
        if let Some(unexpected) = difference(&seen, &expected).first() {
            panic!("sink: {when}: a row is visible that should not be (or too often): {unexpected}");
        }
        if let Some(missing) = difference(&expected, &seen).first() {
            panic!("sink: {when}: a row is not visible that should be: {missing}");
        }
    }

    /// Visible are the rows `before` and those of one delivery that was made `times` times.
    fn expect_copies(&self, before: &[String], delivered: &[String], times: usize, seen: &[String], when: &str) {
        let copies_max = match self.promise {
            Promise::OncePerId => times.min(1),
            Promise::AtLeastOnce => times,
        };
        let copies = |n: usize| std::iter::repeat_n(delivered, n).flatten();
        let least: Vec<String> = before.iter().chain(copies(times.min(1))).cloned().collect();
        let most: Vec<String> = before.iter().chain(copies(copies_max)).cloned().collect();
        if let Some(unexpected) = difference(seen, &most).first() {
            panic!("sink: {when}: a row is visible that should not be (or too often): {unexpected}");
        }
        if let Some(missing) = difference(&least, seen).first() {
            panic!("sink: {when}: a row is not visible that should be: {missing}");
        }
    }
}

/// A draft and what it was given.
struct Delivery {
    draft: Box<dyn Draft>,
    staged: Vec<String>,
    refused: Vec<(u64, String)>,
}

/// What became of the rows of a delivery.
struct Outcome {
    delivered: Vec<String>,
    refused: Vec<(u64, String)>,
}

impl Delivery {
    async fn begin(sink: &dyn Sink, id: &DeliveryId) -> Self {
        let mut tries = Tries::new("begin");
        let draft = loop {
            match sink.begin(id).await {
                Ok(draft) => break draft,
                Err(error) => tries.again(error).await,
            }
        };
        Self { draft, staged: Vec::new(), refused: Vec::new() }
    }

    async fn stage(&mut self, batches: &[RecordBatch]) {
        for batch in batches {
            self.staged.extend(canonical(std::slice::from_ref(batch)));
            let mut tries = Tries::new("stage");
            let refused = loop {
                match self.draft.stage(batch.clone()).await {
                    Ok(refused) => break refused,
                    Err(error) => tries.again(error).await,
                }
            };
            self.note("stage", refused);
        }
    }

    /// The rows that must now be visible.
    async fn commit(self) -> Vec<String> {
        self.commit_rows().await.delivered
    }

    async fn commit_rows(mut self) -> Outcome {
        let mut tries = Tries::new("commit");
        let refused = loop {
            match self.draft.commit().await {
                Ok(refused) => break refused,
                Err(error) => tries.again(error).await,
            }
        };
        self.note("commit", refused);
        self.refused.sort();
        if let Some(pair) = self.refused.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            panic!("sink: row {} of a delivery was refused twice", pair[0].0);
        }
        let is_refused = |row: usize| self.refused.binary_search_by_key(&(row as u64), |it| it.0).is_ok();
        let delivered = self.staged.iter().enumerate().filter(|it| !is_refused(it.0)).map(|it| it.1.clone()).collect();
        Outcome { delivered, refused: self.refused }
    }

    /// Checks that refused rows are named right, and remembers them.
    fn note(&mut self, call: &str, refused: Refused) {
        for row in refused {
            let payload = canonical(&[row.payload]);
            let Some(staged) = self.staged.get(row.row as usize) else {
                panic!("sink: `{call}` refused row {}, but only {} were staged", row.row, self.staged.len());
            };
            assert!(
                payload == std::slice::from_ref(staged),
                "sink: `{call}` refused row {}, which is {staged}, with the payload {}",
                row.row,
                payload.join(" "),
            );
            assert!(!row.why.is_empty(), "sink: `{call}` refused row {} without a reason", row.row);
            self.refused.push((row.row, row.why));
        }
    }
}

/// Counts how often a call was told to try again.
struct Tries {
    call: &'static str,
    done: usize,
}

impl Tries {
    fn new(call: &'static str) -> Self {
        Self { call, done: 0 }
    }

    async fn again(&mut self, error: SinkError) {
        let call = self.call;
        self.done += 1;
        match error {
            SinkError::Stop(error) => panic!("sink: `{call}` failed: {error}"),
            SinkError::Retry(error) if self.done == TRIES_MAX => {
                panic!("sink: `{call}` failed {TRIES_MAX} times: {error}")
            }
            SinkError::Retry(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}
