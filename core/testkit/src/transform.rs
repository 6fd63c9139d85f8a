//! The suite for transforms.

use std::collections::BTreeSet;

use arrow_array::{Array, RecordBatch};
use arrow_schema::SchemaRef;
use forebay_api::{Outputs, Transform};

use crate::rows::{canonical, cut, joined};

/// What a transform made of some input rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Applied {
    /// The rows that it sent, with the planned columns.
    pub sent: RecordBatch,
    /// The input row that each sent row came from, counted from 0 over the whole input.
    pub origins: Vec<usize>,
    /// The input rows that it refused, counted in the same way and in that order, with the reasons.
    pub refused: Vec<(usize, String)>,
}

/// Checks that a transform keeps its contract for these input rows, and says what it made of them.
///
/// - What is sent has the columns that were planned.
/// - Every input row is sent, filtered or refused, and none is both sent and refused.
/// - The transform is a pure function of its rows: one batch, halves, single rows, batches in another order,
///   empty batches and a second instance all give the same rows, origins and refusals.
/// - It does the same whether it could prepare or not.
/// - It needs no other input columns than it says it uses.
/// - Told that only some of its columns are used, it gives these as before, and refuses the same rows.
///
/// Give it every kind of row that matters: good, refused, filtered, null, empty.
///
/// # Panics
///
/// If the contract is broken, or there is no input.
pub fn transform(build: impl Fn() -> Box<dyn Transform>, input: &[RecordBatch]) -> Applied {
    let schema = input.first().expect("transform: the suite needs input rows").schema();
    let whole = joined(&schema, input);
    assert!(whole.num_rows() > 0, "transform: the suite needs input rows");

    let expected = apply(build().as_mut(), std::slice::from_ref(&whole));
    let half = whole.num_rows().div_ceil(2);
    let single = cut(std::slice::from_ref(&whole), 1);
    let nothing = RecordBatch::new_empty(schema);
    let with_empty = [vec![nothing.clone()], cut(std::slice::from_ref(&whole), half), vec![nothing]].concat();
    let cuts = [
        ("a second instance", vec![whole.clone()]),
        ("the batches as given", input.to_vec()),
        ("halves between empty batches", with_empty),
        ("single rows", single),
    ];
    for (name, batches) in &cuts {
        same(name, &apply(build().as_mut(), batches), &expected);
    }
    out_of_order(build().as_mut(), &whole, &expected);
    uses_what_it_says(&build, &whole, &expected);
    for used in 0..=expected.sent.num_columns() {
        narrows(build().as_mut(), &whole, &expected, used);
    }
    expected
}

/// Plans a transform and feeds it these batches, in order.
///
/// # Panics
///
/// If there is no batch, if the transform fails, or if what it sends breaks the contract.
pub fn apply(transform: &mut dyn Transform, batches: &[RecordBatch]) -> Applied {
    let input = batches.first().expect("transform: there must be a batch to plan for").schema();
    let planned = plan(transform, &input);
    transform.prepare();
    let mut all = Applied { sent: RecordBatch::new_empty(planned.clone()), origins: Vec::new(), refused: Vec::new() };
    let mut sent = Vec::new();
    let mut before = 0;
    for batch in batches {
        let one = apply_one(transform, batch, &planned);
        sent.push(one.sent);
        all.origins.extend(one.origins.iter().map(|it| before + it));
        all.refused.extend(one.refused.into_iter().map(|(row, why)| (before + row, why)));
        before += batch.num_rows();
    }
    all.sent = joined(&planned, &sent);
    all
}

fn plan(transform: &mut dyn Transform, input: &SchemaRef) -> SchemaRef {
    transform.plan(input).unwrap_or_else(|error| panic!("transform: `plan` failed: {error}"))
}

fn apply_one(transform: &mut dyn Transform, batch: &RecordBatch, planned: &SchemaRef) -> Applied {
    let mut out = Outputs::new(batch.num_rows());
    transform.apply(batch.clone(), &mut out).unwrap_or_else(|error| panic!("transform: `apply` failed: {error}"));
    let (sent, mut refused) = out.into_parts();
    let mut batches = Vec::new();
    let mut origins = Vec::new();
    for (rows, picked) in sent {
        assert!(
            rows.schema() == *planned,
            "transform: columns were sent that are not those that were planned\n     sent: {:?}\n  planned: {:?}",
            rows.schema().fields(),
            planned.fields(),
        );
        match picked {
            None => origins.extend(0..rows.num_rows()),
            Some(picked) => {
                assert_eq!(picked.null_count(), 0, "transform: a sent row has null as its origin");
                origins.extend(picked.values().iter().map(|it| *it as usize));
            }
        }
        batches.push(rows);
    }
    refused.sort_by_key(|(row, _)| *row);
    once(batch, &origins, &refused);
    Applied { sent: joined(planned, &batches), origins, refused }
}

/// Every row was sent, filtered, or refused once.
fn once(batch: &RecordBatch, origins: &[usize], refused: &[(usize, String)]) {
    let sent: BTreeSet<usize> = origins.iter().copied().collect();
    let shown = |row: usize| canonical(&[batch.slice(row, 1)]).join("");
    for (row, why) in refused {
        assert!(!sent.contains(row), "transform: a row was both sent and refused (`{why}`): {}", shown(*row));
        assert!(!why.is_empty(), "transform: a row was refused without a reason: {}", shown(*row));
    }
    if let Some(pair) = refused.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        panic!("transform: a row was refused twice (`{}`, `{}`): {}", pair[0].1, pair[1].1, shown(pair[0].0));
    }
}

/// Rows fed one by one from last to first come out as they did in order.
fn out_of_order(transform: &mut dyn Transform, whole: &RecordBatch, expected: &Applied) {
    let planned = plan(transform, &whole.schema());
    let mut pieces = Vec::new();
    for row in (0..whole.num_rows()).rev() {
        let mut one = apply_one(transform, &whole.slice(row, 1), &planned);
        one.origins.iter_mut().for_each(|it| *it += row);
        one.refused.iter_mut().for_each(|it| it.0 += row);
        pieces.push(one);
    }
    pieces.reverse();
    let sent: Vec<RecordBatch> = pieces.iter().map(|it| it.sent.clone()).collect();
    let all = Applied {
        sent: joined(&planned, &sent),
        origins: pieces.iter().flat_map(|it| it.origins.clone()).collect(),
        refused: pieces.into_iter().flat_map(|it| it.refused).collect(),
    };
    same("single rows from last to first", &all, expected);
}

/// Without the columns that it does not use, it does the same.
fn uses_what_it_says(build: &impl Fn() -> Box<dyn Transform>, whole: &RecordBatch, expected: &Applied) {
    let mut transform = build();
    plan(transform.as_mut(), &whole.schema());
    let Some(uses) = transform.uses() else { return };
    let schema = whole.schema();
    if let Some(unknown) = uses.iter().find(|it| schema.index_of(it).is_err()) {
        panic!("transform: it uses a column `{unknown}`, which the input does not have");
    }
    let kept = (0..schema.fields().len()).filter(|it| uses.contains(schema.field(*it).name())).collect::<Vec<_>>();
    let rows = whole.project(&kept).expect("the columns are there");
    same("only the columns that it uses", &apply(build().as_mut(), &[rows]), expected);
}

/// Told that only the first `used` columns are used, it gives at least these, with the same rows in them.
fn narrows(transform: &mut dyn Transform, whole: &RecordBatch, expected: &Applied, used: usize) {
    let full = plan(transform, &whole.schema());
    let names: BTreeSet<String> = full.fields().iter().take(used).map(|it| it.name().clone()).collect();
    let Some(narrower) = transform.narrow(&names) else { return };
    if let Some(missing) = names.iter().find(|it| narrower.index_of(it).is_err()) {
        panic!("transform: column `{missing}` is used, but was left out");
    }
    transform.prepare();
    let found = apply_one(transform, whole, &narrower);
    let of_names = |rows: &RecordBatch| {
        let columns: Vec<usize> = names.iter().map(|it| rows.schema().index_of(it).expect("checked above")).collect();
        rows.project(&columns).expect("the columns are there")
    };
    let expected = Applied { sent: of_names(&expected.sent), ..expected.clone() };
    let cut = format!("told that only {names:?} are used");
    same(&cut, &Applied { sent: of_names(&found.sent), ..found }, &expected);
}

fn same(cut: &str, found: &Applied, expected: &Applied) {
    let differs = |what: &str, found: String, expected: String| {
        panic!("transform: {cut}: other {what} than from one batch\n     found: {found}\n  expected: {expected}")
    };
    if found.sent.schema() != expected.sent.schema() {
        differs("columns", format!("{:?}", found.sent.schema()), format!("{:?}", expected.sent.schema()));
    }
    if found.origins != expected.origins {
        differs("origins", format!("{:?}", found.origins), format!("{:?}", expected.origins));
    }
    if found.sent != expected.sent {
        let (found, expected) =
            (canonical(std::slice::from_ref(&found.sent)), canonical(std::slice::from_ref(&expected.sent)));
        let first = found.iter().zip(&expected).find(|(found, expected)| found != expected);
        let (found, expected) = first.map_or((found.join(" "), expected.join(" ")), |it| (it.0.clone(), it.1.clone()));
        differs("rows", found, expected);
    }
    if found.refused != expected.refused {
        differs("refusals", format!("{:?}", found.refused), format!("{:?}", expected.refused));
    }
}
