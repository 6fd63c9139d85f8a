use std::cell::Cell;
use std::rc::Rc;

use arrow_array::cast::AsArray;
use arrow_array::{RecordBatch, UInt32Array};
use arrow_schema::SchemaRef;
use expect_test::expect;
use forebay_api::{BoxError, Outputs, Transform};

use super::{check, verdict};
use crate::{canonical, text};

/// A transform made of a function, which is told how many batches and transforms there were before.
struct Made {
    apply: fn(&RecordBatch, u64, u64, &mut Outputs),
    batches: u64,
    instance: u64,
}

impl Transform for Made {
    fn plan(&mut self, input: &SchemaRef) -> Result<SchemaRef, BoxError> {
        Ok(input.clone())
    }

    fn apply(&mut self, rows: RecordBatch, out: &mut Outputs) -> Result<(), BoxError> {
        (self.apply)(&rows, self.batches, self.instance, out);
        self.batches += 1;
        Ok(())
    }
}

fn input() -> Vec<RecordBatch> {
    vec![text("message", [Some("one"), None, Some("bad")]), text("message", ["quiet", "two", "three", "three"])]
}

fn say(made: impl Fn(&str, usize) -> String, rows: &RecordBatch) -> RecordBatch {
    let texts = rows.column(0).as_string::<i32>().iter().enumerate();
    let made: Vec<String> = texts.map(|(row, it)| made(it.unwrap_or("-"), row)).collect();
    text("message", made.iter().map(String::as_str).map(Some))
}

/// Sends, filters `quiet` and refuses `bad`.
fn right(rows: &RecordBatch, out: &mut Outputs) {
    let texts = rows.column(0).as_string::<i32>();
    let mut picked = Vec::new();
    for row in 0..rows.num_rows() {
        match texts.value(row) {
            "bad" => out.refuse(row, "bad"),
            "quiet" => {}
            _ => picked.push(row as u32),
        }
    }
    for row in picked {
        out.send_picked(rows.slice(row as usize, 1), UInt32Array::from(vec![row]));
    }
}

fn run(apply: fn(&RecordBatch, u64, u64, &mut Outputs)) -> String {
    let instances = Rc::new(Cell::new(0));
    verdict(async move {
        crate::transform(
            || {
                instances.set(instances.get() + 1);
                Box::new(Made { apply, batches: 0, instance: instances.get() })
            },
            &input(),
        );
    })
}

/// Scenario: a transform that sends, filters and refuses rows, in several pieces.
/// Guarantees: it passes, and what it made is told with origins counted over the whole input.
#[test]
fn a_right_transform_passes() {
    let applied = crate::transform(
        || Box::new(Made { apply: |rows, _, _, out| right(rows, out), batches: 0, instance: 0 }),
        &input(),
    );
    expect![[r#"
        (
            [
                "{\"message\":\"one\"}",
                "{\"message\":null}",
                "{\"message\":\"two\"}",
                "{\"message\":\"three\"}",
                "{\"message\":\"three\"}",
            ],
            [
                0,
                1,
                4,
                5,
                6,
            ],
            [
                (
                    2,
                    "bad",
                ),
            ],
        )
    "#]]
    .assert_debug_eq(&(canonical(&[applied.sent]), applied.origins, applied.refused));
}

/// Scenario: transforms that are wrong in one thing each.
/// Guarantees: the suite catches every one of them, and says what is broken.
#[test]
fn each_wrong_transform_is_caught() {
    type Apply = fn(&RecordBatch, u64, u64, &mut Outputs);
    let mutants: [(&str, Apply); 11] = [
        ("sends other columns", |rows, _, _, out| out.send(text("text", vec!["a"; rows.num_rows()]))),
        ("counts batches", |rows, batches, _, out| out.send(say(|it, _| format!("{it} {batches}"), rows))),
        ("differs by instance", |rows, _, instance, out| out.send(say(|it, _| format!("{it} {instance}"), rows))),
        ("numbers rows", |rows, _, _, out| out.send(say(|it, row| format!("{it} {row}"), rows))),
        ("writes the batch's size", |rows, _, _, out| {
            out.send(say(|it, _| format!("{it} of {}", rows.num_rows()), rows));
        }),
        ("sends the batch backwards", |rows, _, _, out| {
            for row in (0..rows.num_rows()).rev() {
                out.send_picked(rows.slice(row, 1), UInt32Array::from(vec![row as u32]));
            }
        }),
        ("takes rows to come from the first", |rows, _, _, out| {
            out.send_picked(rows.clone(), UInt32Array::from(vec![0; rows.num_rows()]));
        }),
        ("filters repeated rows of a batch", |rows, _, _, out| {
            let texts = rows.column(0).as_string::<i32>();
            let kept = (0..rows.num_rows()).filter(|row| *row == 0 || texts.value(*row) != texts.value(row - 1));
            for row in kept {
                out.send_picked(rows.slice(row, 1), UInt32Array::from(vec![row as u32]));
            }
        }),
        ("refuses the first row of a batch", |rows, _, _, out| {
            if rows.num_rows() > 0 {
                out.refuse(0, "first");
                let rest: Vec<u32> = (1..rows.num_rows() as u32).collect();
                out.send_picked(rows.slice(1, rest.len()), UInt32Array::from(rest));
            }
        }),
        ("sends and refuses", |rows, _, _, out| {
            right(rows, out);
            (0..rows.num_rows().min(1)).for_each(|row| out.refuse(row, "sent as well"));
        }),
        ("refuses twice", |rows, _, _, out| {
            (0..rows.num_rows()).for_each(|row| out.refuse(row, "once"));
            (0..rows.num_rows()).for_each(|row| out.refuse(row, "twice"));
        }),
    ];
    check(
        mutants.map(|(name, apply)| (name.to_owned(), run(apply))),
        expect![[r#"
            sends other columns
                transform: columns were sent that are not those that were planned
                     sent: [Field { name: "text", data_type: Utf8, nullable: true }]
                  planned: [Field { name: "message", data_type: Utf8, nullable: true }]
            counts batches
                transform: the batches as given: other rows than from one batch
                     found: {"message":"quiet 1"}
                  expected: {"message":"quiet 0"}
            differs by instance
                transform: a second instance: other rows than from one batch
                     found: {"message":"one 2"}
                  expected: {"message":"one 1"}
            numbers rows
                transform: the batches as given: other rows than from one batch
                     found: {"message":"quiet 0"}
                  expected: {"message":"quiet 3"}
            writes the batch's size
                transform: the batches as given: other rows than from one batch
                     found: {"message":"one of 3"}
                  expected: {"message":"one of 7"}
            sends the batch backwards
                transform: the batches as given: other origins than from one batch
                     found: [2, 1, 0, 6, 5, 4, 3]
                  expected: [6, 5, 4, 3, 2, 1, 0]
            takes rows to come from the first
                transform: the batches as given: other origins than from one batch
                     found: [0, 0, 0, 3, 3, 3, 3]
                  expected: [0, 0, 0, 0, 0, 0, 0]
            filters repeated rows of a batch
                transform: single rows: other origins than from one batch
                     found: [0, 1, 2, 3, 4, 5, 6]
                  expected: [0, 1, 2, 3, 4, 5]
            refuses the first row of a batch
                transform: the batches as given: other origins than from one batch
                     found: [1, 2, 4, 5, 6]
                  expected: [1, 2, 3, 4, 5, 6]
            sends and refuses
                transform: a row was both sent and refused (`sent as well`): {"message":"one"}
            refuses twice
                transform: a row was refused twice (`once`, `twice`): {"message":"one"}
        "#]],
    );
}
