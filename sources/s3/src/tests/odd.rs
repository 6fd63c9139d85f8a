//! Stores and decoders that do what real ones rarely do.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use expect_test::expect;
use forebay_api::{BoxError, Partition, Position, Resume};

use super::{bucket, config, next, shown};
use crate::bucket::without_request;
use crate::fetch::{Fetched, fetch};
use crate::object::Object;
use crate::store::{AheadMax, Body, Finding, Found, Handle, Look, Opening, Ranges, Store, Stream};

/// A store that says of what is there, so many times, that it is being written; or whose objects are always others when
/// they are opened.
struct Odd {
    inner: Arc<dyn Store>,
    busy: AtomicU32,
    changes: bool,
}

#[async_trait]
impl Store for Odd {
    fn look(&self) -> Box<dyn Look> {
        self.inner.look()
    }

    async fn find(&self, found: &Found) -> Result<Finding, BoxError> {
        let is_busy = self.busy.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |it| it.checked_sub(1)).is_ok();
        if is_busy { Ok(Finding::Busy) } else { self.inner.find(found).await }
    }

    async fn open(&self, object: &Object, handle: Handle) -> Result<Opening, BoxError> {
        if self.changes { Ok(Opening::Changed) } else { self.inner.open(object, handle).await }
    }

    async fn reopen(&self, object: &Object) -> Result<Box<dyn Body>, BoxError> {
        self.inner.reopen(object).await
    }

    fn partition(&self, object: &Object) -> Partition {
        self.inner.partition(object)
    }

    fn object(&self, partition: &Partition) -> Option<Object> {
        self.inner.object(partition)
    }

    fn ahead(&self) -> AheadMax {
        self.inner.ahead()
    }

    fn keeps_versions(&self) -> bool {
        self.inner.keeps_versions()
    }

    fn tries_max(&self) -> u32 {
        3
    }
}

/// Scenario: every answer has another ETag than the object that was looked up, as behind something that compresses.
/// Guarantees: after some tries the object is given up with a reason.
#[tokio::test]
async fn another_object_each_time() {
    let directory = bucket(&[("a", b"one\n")]);
    let everything = config(directory.path(), &[]).everything(BTreeMap::new()).await.unwrap();
    let store = Arc::new(Odd { inner: everything.store.clone(), busy: AtomicU32::new(0), changes: true });
    let outcome = fetch(store, everything.books.clone(), Found::key("a".to_owned())).await.unwrap();
    let Fetched::Unreadable(begin, why) = outcome.fetched else { panic!("it was not given up") };
    assert_eq!((begin.object.key.as_str(), outcome.forgotten.len()), ("a", 2));
    expect!["each of 3 answers had another ETag or size than the object that was looked up: something on the way changes what is sent (compresses it), or it is overwritten all the time"].assert_eq(&why);
}

/// Scenario: the first rows of a file were read in an earlier life; the first look finds that it is being written.
/// Guarantees: it is not taken for gone, and the next look reads it on.
#[tokio::test]
async fn busy_at_the_first_look() {
    let directory = bucket(&[("a", b"one\ntwo\n")]);
    let reads = forebay_testkit::read(&config(directory.path(), &[]), Resume::start()).await;
    let after = BTreeMap::from([(reads[0].span.partition.clone(), Position::row(1))]);
    let mut everything = config(directory.path(), &[("poll", "5ms")]).everything(after).await.unwrap();
    let inner = everything.store.clone();
    everything.store = Arc::new(Odd { inner, busy: AtomicU32::new(1), changes: false });
    assert_eq!(shown(&[next(&mut everything).await.unwrap()]), "a (1..end] two\n");
}

/// Scenario: the first rows of files were read in an earlier life; then one was removed, and one was written anew.
/// Guarantees: one refusal stands for the rest of each, and what was written anew is read; in a third life all is known.
#[tokio::test]
async fn files_gone_between_two_lives() {
    let directory = bucket(&[("a", b"one\ntwo\n"), ("b", b"three\nfour\n")]);
    let config = config(directory.path(), &[]);
    let reads = forebay_testkit::read(&config, Resume::start()).await;
    let mut after: BTreeMap<Partition, Position> =
        reads.iter().map(|it| (it.span.partition.clone(), Position::row(1))).collect();
    fs::write(directory.path().join("a"), "anew\n").unwrap();
    fs::remove_file(directory.path().join("b")).unwrap();
    let reads = forebay_testkit::read(&config, Resume::After(after.clone())).await;
    let mut found = super::messages(&reads);
    found.extend(reads.iter().flat_map(|it| &it.refused).map(|it| {
        let object = String::from_utf8_lossy(&it.payload);
        format!("{}: {}", object.split('@').next().unwrap(), it.why)
    }));
    expect![[r#"
        anew
        a: the object could not be read after row 1: it is gone, was changed, or is not meant by `path` and `include` any more
        b: the object could not be read after row 1: it is gone, was changed, or is not meant by `path` and `include` any more"#]]
    .assert_eq(&found.join("\n"));
    after.extend(reads.iter().map(|it| (it.span.partition.clone(), it.span.to.clone())));
    assert!(forebay_testkit::read(&config, Resume::After(after)).await.is_empty());
}

/// Bytes that nobody can have.
struct Panicking;

impl Body for Panicking {
    fn whole(&self) -> Option<Bytes> {
        panic!("the bytes are {}", "bad")
    }

    fn stream(self: Box<Self>) -> Box<dyn Stream> {
        unreachable!("it panics before")
    }

    fn ranges(self: Box<Self>) -> Box<dyn Ranges> {
        unreachable!("it panics before")
    }
}

/// Scenario: the thread that reads an object panics.
/// Guarantees: the error names the object and says what the panic said.
#[tokio::test]
async fn panic_of_the_decoder() {
    let directory = bucket(&[]);
    let everything = config(directory.path(), &[]).everything(BTreeMap::new()).await.unwrap();
    let stops = vec![Position::End];
    let mut current = everything.decoder.begin("a@00:1".into(), Box::new(Panicking), &Position::Start, stops).unwrap();
    let error = current.next().await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "reading `a@00:1` failed: the decoder panicked: the bytes are bad");
    assert!(current.next().await.is_none());
}

/// Scenario: what AWS answers, with the id of the request and without.
/// Guarantees: the id is left out, and nothing else.
#[test]
fn request_ids() {
    let with = "reading `s3://logs/b`: `AccessDenied`: no (status 403, request `4442587FB7D0A2F9`); ask somebody";
    let without = "reading `s3://logs/b`: `AccessDenied`: no (status 403); ask somebody";
    assert_eq!(without_request(with), without);
    assert_eq!(without_request(without), without);
}
