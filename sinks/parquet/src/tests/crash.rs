//! What fails, and what is left then.

use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::symlink;

use arrow_array::RecordBatch;
use expect_test::expect;
use forebay_api::{SinkConfig, SinkError};
use forebay_testkit::{canonical, delivery};

use crate::store::disk::create_directories;

use super::{HOUR, Place, SEVEN, begin, deliver, events};

const HOURLY: &str = "partition = { time = 'time' }";

fn two_hours() -> RecordBatch {
    events(&[(Some(SEVEN), Some("de")), (Some(SEVEN + HOUR), Some("fr"))])
}

/// The chain of causes, without the place.
fn text(place: &Place, error: &SinkError) -> String {
    let kind = if matches!(error, SinkError::Retry(_)) { "retry" } else { "stop" };
    let mut text = format!("{kind}: {error}");
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(&format!("; {error}"));
        cause = error.source();
    }
    text.replace(place.path().to_str().unwrap(), "PATH")
}

/// So many rows of one hour that a row group leaves the encoder: what is encoded of a chunk is taken with the next one.
fn chunks() -> RecordBatch {
    events(&vec![(Some(SEVEN), Some("de")); 2 * crate::chunks::CHUNK_ROWS])
}

/// Scenario: a draft is let go before `commit`, with bytes already on disk.
/// Guarantees: nothing is visible, and nothing stays in the staging directory.
#[tokio::test]
async fn an_abandoned_draft_leaves_nothing() {
    let place = Place::new();
    let sink = place.open(&format!("{HOURLY}\nrow_group_rows_max = 8192"), &two_hours()).await;
    let mut draft = begin(sink.as_ref(), 1).await;
    draft.stage(chunks()).await.unwrap();
    let id = delivery(1);
    assert_eq!(place.staging(), [id.to_string(), format!("{id}/0.tmp")]);
    drop(draft);
    assert_eq!(place.staging(), Vec::<String>::new());
    assert!(place.files().is_empty());
}

/// Scenario: a process crashed with a draft half written; strange files lie beside it; another delivery is visible.
/// Guarantees: the next `open` clears the staging directory, and touches nothing else.
#[tokio::test]
async fn open_removes_leftovers() {
    let place = Place::new();
    let sink = place.open(&format!("{HOURLY}\nrow_group_rows_max = 8192"), &two_hours()).await;
    deliver(sink.as_ref(), 1, &[two_hours()]).await;
    let mut draft = begin(sink.as_ref(), 2).await;
    draft.stage(chunks()).await.unwrap();
    place.crash(sink, draft);
    fs::write(place.path().join(".staging/stray.tmp"), "stray").unwrap();
    fs::write(place.path().join("README"), "not ours").unwrap();
    assert_eq!(place.staging().len(), 3);
    let before = place.rows();
    place.open(HOURLY, &two_hours()).await;
    assert_eq!(place.staging(), Vec::<String>::new());
    assert_eq!(place.rows(), before);
    assert!(place.path().join("README").is_file());
}

/// Scenario: a pipeline has staged rows when another process opens the table, as `forebay replay` does; both deliver, the
/// second one leaves, and the first one crashes in the middle of its next delivery.
/// Guarantees: nobody clears what another one has staged; when nobody is left, the next `open` clears it.
#[tokio::test]
async fn open_leaves_others_alone() {
    let place = Place::new();
    let rows = two_hours();
    let layout = "row_group_rows_max = 8192";
    let first = place.open(layout, &rows).await;
    let mut draft = begin(first.as_ref(), 1).await;
    draft.stage(chunks()).await.unwrap();
    let staged = place.staging();
    assert!(staged.iter().any(|it| it.ends_with(".tmp")), "{staged:?}");

    let second = place.open(layout, &rows).await;
    assert_eq!(place.staging(), staged);
    deliver(second.as_ref(), 2, std::slice::from_ref(&rows)).await;
    drop(second);
    draft.commit().await.unwrap();
    drop(draft);
    assert_eq!(place.rows().len(), chunks().num_rows() + rows.num_rows());
    assert_eq!(place.staging(), Vec::<String>::new());

    let mut draft = begin(first.as_ref(), 3).await;
    draft.stage(chunks()).await.unwrap();
    place.crash(first, draft);
    assert!(!place.staging().is_empty());
    place.open(layout, &rows).await;
    assert_eq!(place.staging(), Vec::<String>::new());
}

/// Scenario: four processes open the table again and again, each delivers and leaves.
/// Guarantees: nobody clears what another one has staged, however they meet.
#[test]
fn who_opens_at_the_same_time() {
    const TIMES: u64 = 25;
    let place = Place::new();
    let rows = two_hours();
    let process = |number: u64| {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for delivery in (0..TIMES).map(|it| number * TIMES + it) {
            runtime.block_on(async {
                let sink = place.open("", &rows).await;
                deliver(sink.as_ref(), delivery, std::slice::from_ref(&rows)).await;
            });
        }
    };
    std::thread::scope(|scope| {
        let process = &process;
        for number in 0..4 {
            scope.spawn(move || process(number));
        }
    });
    assert_eq!(place.files().len() as u64, 4 * TIMES);
    assert_eq!(place.staging(), Vec::<String>::new());
}

/// Scenario: the disk is full when a row group is written, and still at `commit`; then the engine gives up, and the
/// delivery is made anew.
/// Guarantees: `Retry` with its cause, from `stage` before it takes rows, and from `commit` however often; nothing is
/// visible till the end, and then every row once.
#[tokio::test]
async fn a_full_disk_is_waited_for() {
    let place = Place::new();
    let rows = two_hours();
    let sink = place.open("row_group_rows_max = 8192\ncompression = 'none'", &rows).await;
    let staging = place.path().join(".staging").join(delivery(1).as_str());
    fs::create_dir_all(&staging).unwrap();
    symlink("/dev/full", staging.join("0.tmp")).unwrap();
    let mut draft = begin(sink.as_ref(), 1).await;
    draft.stage(chunks()).await.unwrap();
    let full = draft.stage(rows.clone()).await.unwrap_err();
    expect!["retry: cannot write `PATH/.staging/00000000000000000000000000000001/0.tmp`; No space left on device (os error 28)"].assert_eq(&text(&place, &full));
    for _ in 0..2 {
        assert!(matches!(draft.commit().await, Err(SinkError::Retry(_))));
    }
    drop(draft);
    assert!(place.files().is_empty());
    deliver(sink.as_ref(), 1, std::slice::from_ref(&rows)).await;
    assert_eq!(place.rows(), canonical(&[rows]));
    assert_eq!(place.staging(), Vec::<String>::new());
}

/// Scenario: a file stands where the second of two partitions has its directory.
/// Guarantees: `commit` says so and is tried again; once the file is gone it goes on, and shows each row once. If the
/// draft is let go instead, the delivery that is made again shows each row once.
#[tokio::test]
async fn a_commit_is_taken_up() {
    for let_go in [false, true] {
        let place = Place::new();
        let rows = two_hours();
        let sink = place.open(HOURLY, &rows).await;
        let blocked = place.path().join("year=2026/month=11/day=01/hour=08");
        fs::create_dir_all(blocked.parent().unwrap()).unwrap();
        fs::write(&blocked, "").unwrap();
        let mut draft = begin(sink.as_ref(), 1).await;
        draft.stage(rows.clone()).await.unwrap();
        let error = draft.commit().await.unwrap_err();
        assert_eq!(
            text(&place, &error),
            "retry: cannot create directory `PATH/year=2026/month=11/day=01/hour=08`: \
             a file stands where a directory is needed; not a directory"
        );
        assert_eq!(place.rows().len(), 1);
        fs::remove_file(&blocked).unwrap();
        if let_go {
            drop(draft);
            deliver(sink.as_ref(), 1, std::slice::from_ref(&rows)).await;
        } else {
            draft.commit().await.unwrap();
            draft.commit().await.unwrap();
            drop(draft);
        }
        assert_eq!(place.rows(), canonical(&[rows]));
        assert_eq!(place.staging(), Vec::<String>::new());
    }
}

/// Scenario: a crash in the middle of a commit, after the first of two files became visible; the process starts
/// again, with the same layout or another one, and the engine makes the delivery again.
/// Guarantees: every row is there once, under the names of the layout that holds now; other deliveries stay.
#[tokio::test]
async fn a_crash_in_mid_commit_leaves_one_copy() {
    for layout in [HOURLY, "partition = { time = 'time', every = 'day' }", ""] {
        let place = Place::new();
        let rows = two_hours();
        let sink = place.open(HOURLY, &rows).await;
        deliver(sink.as_ref(), 2, std::slice::from_ref(&rows)).await;
        let blocked = place.path().join("year=2026/month=11/day=01/hour=08");
        fs::rename(&blocked, blocked.with_extension("aside")).unwrap();
        fs::write(&blocked, "").unwrap();
        let mut draft = begin(sink.as_ref(), 1).await;
        draft.stage(rows.clone()).await.unwrap();
        draft.commit().await.unwrap_err();
        place.crash(sink, draft);
        fs::remove_file(&blocked).unwrap();
        fs::rename(blocked.with_extension("aside"), &blocked).unwrap();
        assert_eq!(place.rows().len(), 3);

        let sink = place.open(layout, &rows).await;
        let id = delivery(1);
        assert_eq!(place.staging(), [id.to_string(), format!("{id}/names.tmp")]);
        // An attempt that is let go does not forget what is visible.
        drop(begin(sink.as_ref(), 1).await);
        deliver(sink.as_ref(), 1, std::slice::from_ref(&rows)).await;
        let mut seen = place.rows();
        seen.sort();
        let mut expected = canonical(&[rows.clone(), rows]);
        expected.sort();
        assert_eq!(seen, expected, "{layout}");
        assert_eq!(place.staging(), Vec::<String>::new());
    }
}

/// Scenario: an attempt that was cut short has noted its names; the next one has other names, and the disk is full
/// while it notes them; then the process crashes.
/// Guarantees: the first names are still there, `open` removes the unfinished note alone, and the attempt after that
/// removes the first one's file.
#[tokio::test]
async fn a_note_is_replaced_at_once() {
    let place = Place::new();
    let rows = two_hours();
    place.open("", &rows).await;
    let id = delivery(1);
    let staging = place.path().join(".staging").join(id.as_str());
    fs::create_dir_all(&staging).unwrap();
    let first = format!("year=2026/{id}-0.parquet");
    fs::create_dir(place.path().join("year=2026")).unwrap();
    fs::write(place.path().join(&first), "").unwrap();
    fs::write(staging.join("names.tmp"), &first).unwrap();
    let sink = place.open("", &rows).await;
    symlink("/dev/full", staging.join("names.unfinished.tmp")).unwrap();
    let mut draft = begin(sink.as_ref(), 1).await;
    draft.stage(rows.clone()).await.unwrap();
    assert!(matches!(draft.commit().await, Err(SinkError::Retry(_))));
    place.crash(sink, draft);
    assert_eq!(fs::read_to_string(staging.join("names.tmp")).unwrap(), first);

    let sink = place.open("", &rows).await;
    assert_eq!(place.staging(), [id.to_string(), format!("{id}/names.tmp")]);
    deliver(sink.as_ref(), 1, std::slice::from_ref(&rows)).await;
    assert_eq!(place.rows(), canonical(&[rows]));
    assert_eq!(place.staging(), Vec::<String>::new());
}

/// Scenario: the note of names is torn, or was written by someone else.
/// Guarantees: only files that the delivery can have written are removed.
#[tokio::test]
async fn strange_names_are_not_removed() {
    let place = Place::new();
    let rows = two_hours();
    let sink = place.open("", &rows).await;
    deliver(sink.as_ref(), 2, std::slice::from_ref(&rows)).await;
    let (id, other) = (delivery(1), delivery(2));
    let staging = place.path().join(".staging").join(id.as_str());
    fs::create_dir_all(&staging).unwrap();
    fs::write(place.directory.path().join(format!("{id}-0.parquet")), "outside").unwrap();
    let names = format!("{other}-0.parquet\n../{id}-0.parquet\n/etc/{id}-0.parquet\n\u{0}\nyear=2026/{id}-");
    fs::write(staging.join("names.tmp"), names).unwrap();
    let mut draft = begin(sink.as_ref(), 1).await;
    draft.commit().await.unwrap();
    assert_eq!(place.files().len(), 1);
    assert!(place.directory.path().join(format!("{id}-0.parquet")).is_file());
}

/// Scenario: the table's path is a file.
/// Guarantees: `open` says so.
#[tokio::test]
async fn open_needs_a_directory() {
    let place = Place::new();
    fs::write(place.path(), "").unwrap();
    let error = place.config("").open(two_hours().schema()).await.err().unwrap();
    expect!["cannot create directory `PATH/.staging`: a file stands where a directory is needed"]
        .assert_eq(&error.to_string().replace(place.path().to_str().unwrap(), "PATH"));
}

/// Scenario: the directory in which directories are to be made was removed, and somebody has it open, as a process has its
/// working directory.
/// Guarantees: an error says so, and the process goes on.
#[test]
fn a_removed_directory_that_is_open() {
    let removed = tempfile::tempdir().unwrap();
    let open = fs::File::open(removed.path()).unwrap();
    removed.close().unwrap();
    let path = format!("/proc/self/fd/{}/year=2026/month=11", open.as_raw_fd());
    let error = create_directories(path.as_ref()).unwrap_err().to_string();
    assert!(error.starts_with("cannot create directory `/proc/self/fd/"), "{error}");
}
