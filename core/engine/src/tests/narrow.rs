//! Columns that nobody uses are not built.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use arrow_array::{Int64Array, RecordBatch};
use arrow_schema::SchemaRef;
use async_trait::async_trait;
use expect_test::{Expect, expect};
use forebay_api::plan::{OnRefused, PlannedTransform};
use forebay_api::{
    BoxError, Outputs, Plan, Promise, Read, Resume, Sink, SinkConfig, Source, SourceConfig, Transform, TransformConfig,
};

use super::fakes::{self, numbers, rows_of};
use crate::counters::Counters;
use crate::flow::Flow;
use crate::route::Route;

/// Which columns each transform prepared for and built, in the order of their work.
type Built = Arc<Mutex<Vec<String>>>;

/// Gives some columns made of others: every one of `gives` is the sum of `takes`.
#[derive(Clone)]
struct Sum {
    name: &'static str,
    takes: &'static [&'static str],
    gives: &'static [&'static str],
    built: Built,
    columns: Vec<usize>,
    output: SchemaRef,
}

impl TransformConfig for Sum {
    fn build(&self) -> Result<Box<dyn Transform>, BoxError> {
        Ok(Box::new(self.clone()))
    }
}

impl Transform for Sum {
    fn plan(&mut self, input: &SchemaRef) -> Result<SchemaRef, BoxError> {
        self.columns = self.takes.iter().map(|it| input.index_of(it)).collect::<Result<_, _>>()?;
        self.output = numbers(self.gives);
        Ok(self.output.clone())
    }

    fn uses(&self) -> Option<BTreeSet<String>> {
        Some(self.takes.iter().map(ToString::to_string).collect())
    }

    fn narrow(&mut self, used: &BTreeSet<String>) -> Option<SchemaRef> {
        self.output = numbers(&self.gives.iter().copied().filter(|it| used.contains(*it)).collect::<Vec<_>>());
        Some(self.output.clone())
    }

    fn prepare(&mut self) {
        let columns: Vec<&str> = self.output.fields().iter().map(|it| it.name().as_str()).collect();
        self.built.lock().unwrap().push(format!("{} prepares for {}", self.name, columns.join(" ")));
    }

    fn apply(&mut self, rows: RecordBatch, out: &mut Outputs) -> Result<(), BoxError> {
        let number = |column: &usize| rows.column(*column).as_any().downcast_ref::<Int64Array>().unwrap().value(0);
        let sum = Arc::new(Int64Array::from(vec![self.columns.iter().map(number).sum::<i64>()]));
        let columns: Vec<_> = self.output.fields().iter().map(|_| sum.clone() as _).collect();
        let names: Vec<&str> = self.output.fields().iter().map(|it| it.name().as_str()).collect();
        self.built.lock().unwrap().push(format!("{} built {}", self.name, names.join(" ")));
        out.send(RecordBatch::try_new(self.output.clone(), columns)?);
        Ok(())
    }
}

struct Nowhere;

#[async_trait]
impl SourceConfig for Nowhere {
    fn schema(&self) -> Result<SchemaRef, BoxError> {
        Ok(numbers(&["one", "two"]))
    }

    async fn open(&self, _resume: Resume) -> Result<Box<dyn Source>, BoxError> {
        Err("never opened".into())
    }
}

#[async_trait]
impl SinkConfig for Nowhere {
    fn plan(&self, _input: &SchemaRef) -> Result<(), BoxError> {
        Ok(())
    }

    fn promise(&self) -> Promise {
        Promise::AtLeastOnce
    }

    async fn open(&self, _input: SchemaRef) -> Result<Box<dyn Sink>, BoxError> {
        Err("never opened".into())
    }
}

/// A transform: its name, its input, what it takes and what it gives.
type Step<'a> = (&'static str, &'a str, &'static [&'static str], &'static [&'static str]);

/// Takes one read of `one = 1, two = 2` through transforms to sinks (name, inputs).
fn check(transforms: &[Step<'_>], sinks: &[(&str, &[&str])], expected: Expect) {
    let built = Built::default();
    let schema_of = |node: &str| match transforms.iter().find(|it| it.0 == node) {
        Some(it) => numbers(it.3),
        None => numbers(&["one", "two"]),
    };
    let transform = |(name, from, takes, gives): &Step<'_>| PlannedTransform {
        name: (*name).into(),
        kind: "fake".into(),
        inputs: vec![rows_of(from)],
        config: Arc::new(Sum { name, takes, gives, built: built.clone(), columns: Vec::new(), output: numbers(&[]) }),
        input: schema_of(from),
        output: numbers(gives),
        on_refused: OnRefused::Stop,
        fingerprint: String::new(),
    };
    let sink = |(name, inputs): &(&str, &[&str])| fakes::sink(name, inputs, schema_of(inputs[0]), Nowhere);
    let plan = fakes::plan(vec![fakes::source("source", Nowhere)], sinks.iter().map(sink).collect());
    let plan = Plan { transforms: transforms.iter().map(transform).collect(), ..plan };
    let counters = Arc::new(Counters::new(&plan));
    let route = Arc::new(Route::new(&plan, &plan.sources[0], &Default::default()));
    let mut flow = Flow::new(&plan, route, counters).unwrap();
    let column = |number| Arc::new(Int64Array::from(vec![number])) as _;
    let rows = RecordBatch::try_new(numbers(&["one", "two"]), vec![column(1), column(2)]).unwrap();
    let shares = flow.apply(Read::counted("log", 0, rows), &(0..sinks.len()).collect()).unwrap();
    let mut story = built.lock().unwrap().join("\n") + "\n";
    for (sink, share) in shares {
        for (rows, _) in share.rows {
            let values = rows.columns().iter().zip(rows.schema_ref().fields()).map(|(column, field)| {
                let value = column.as_any().downcast_ref::<Int64Array>().unwrap().value(0);
                format!(" {}={value}", field.name())
            });
            story.push_str(&format!("{} got{}\n", sinks[sink].0, values.collect::<String>()));
        }
    }
    expected.assert_eq(&story);
}

/// Scenario: chains and forks of transforms, of whose columns those behind use some, or a sink takes all.
/// Guarantees: each is prepared once, and builds only what something behind it uses, through several steps; what a sink
/// reads is whole; the values are the same.
#[test]
fn only_what_is_used_is_built() {
    check(
        &[("a", "source", &["one", "two"], &["x", "y", "z"]), ("b", "a", &["y"], &["sum"])],
        &[("out", &["b"])],
        expect![[r#"
            a prepares for y
            b prepares for sum
            a built y
            b built sum
            out got sum=3
        "#]],
    );
    check(
        &[("a", "source", &["two"], &["x", "y", "z"]), ("b", "a", &["z"], &["m", "n"]), ("c", "b", &["n"], &["sum"])],
        &[("out", &["c"])],
        expect![[r#"
            a prepares for z
            b prepares for n
            c prepares for sum
            a built z
            b built n
            c built sum
            out got sum=2
        "#]],
    );
    check(
        &[("a", "source", &["one"], &["x", "y", "z"]), ("b", "a", &["z"], &["m"]), ("c", "a", &["x"], &["n"])],
        &[("out", &["b"]), ("other", &["c"])],
        expect![[r#"
            a prepares for x z
            b prepares for m
            c prepares for n
            a built x z
            b built m
            c built n
            out got m=1
            other got n=1
        "#]],
    );
    check(
        &[("a", "source", &["one"], &["x", "y"]), ("b", "a", &["y"], &["m"])],
        &[("out", &["b"]), ("all", &["a"])],
        expect![[r#"
            a prepares for x y
            b prepares for m
            a built x y
            b built m
            out got m=1
            all got x=1 y=1
        "#]],
    );
}
