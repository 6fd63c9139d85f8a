//! What a running pipeline says about itself: `/metrics` for Prometheus, `/health` for whatever starts and stops it.
//!
//! Health is progress: a pipeline is well as long as no sink has had rows for much longer than it should.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use forebay_api::{BoxError, Plan};
use forebay_config::Metrics;
use forebay_engine::{Counters, Counts, DEAD_LETTERS};
use forebay_listen::{Answer, Bounds, Reply, Request, Server};
use http::header::{ALLOW, CONTENT_TYPE};
use http::{Method, Response, StatusCode};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, text};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};
use serde_json::{Map, json};

/// Whoever watches is known, and there are few of them.
const BOUNDS: Bounds = Bounds {
    connections_max: 64,
    per_address_max: 64,
    header_timeout: Duration::from_secs(10),
    idle_timeout: Duration::from_secs(75),
    head_bytes_max: 16 << 10,
    linger_bytes_max: 64 << 10,
    http_2: false,
};

/// Begins to listen.
pub(crate) async fn serve(metrics: &Metrics, plan: &Plan, counters: Arc<Counters>) -> Result<Server, BoxError> {
    let watched = Arc::new(Watched::new(metrics.stuck_after.duration(), plan, counters));
    let mut registry = Registry::with_prefix("forebay");
    registry.register_collector(Box::new(watched.clone()));
    let watch = Watch { watched, registry, counters: forebay_listen::Counters::default() };
    Server::start(metrics.listen, None, BOUNDS, Arc::new(watch)).await
}

/// A kind of component, or what stands beside them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    Source,
    Transform,
    Sink,
}

/// A component that is watched.
#[derive(Debug)]
struct Component {
    of: Of,
    name: String,
    kind: String,
    /// Sinks: for how long rows may wait.
    wait_max: Duration,
}

/// One of the things that are said about every component of a kind.
struct Figure {
    of: Of,
    name: &'static str,
    help: &'static str,
    value: Value,
}

enum Value {
    Counter(fn(&Counts) -> u64),
    /// Not every component of a kind knows it.
    Seconds(fn(&Counts) -> Option<f64>),
}

/// All of them. The names of the labels are those that Vector's users know.
const FIGURES: &[Figure] = {
    use Of::{Sink, Source, Transform};
    use Value::{Counter, Seconds};
    const fn figure(of: Of, name: &'static str, help: &'static str, value: Value) -> Figure {
        Figure { of, name, help, value }
    }
    &[
        figure(Source, "source_rows", "Rows read that a sink still lacked", Counter(|it| it.rows_in)),
        figure(Source, "source_bytes", "Bytes of these rows in memory", Counter(|it| it.bytes_in)),
        figure(Source, "source_refused_rows", "Rows that could not be read as rows", Counter(|it| it.refused)),
        figure(Source, "source_partitions_ended", "Partitions read to their end", Counter(|it| it.partitions_ended)),
        figure(
            Source,
            "source_behind",
            "How long the oldest row that was not read has waited, where the far side says so",
            Seconds(|it| it.behind_millis.map(|it| it as f64 / 1000.0)),
        ),
        figure(Transform, "transform_rows", "Rows that came in", Counter(|it| it.rows_in)),
        figure(Transform, "transform_sent_rows", "Rows sent on", Counter(|it| it.rows_out)),
        figure(Transform, "transform_filtered_rows", "Rows neither sent on nor refused", Counter(|it| it.filtered)),
        figure(Transform, "transform_refused_rows", "Rows refused", Counter(|it| it.refused)),
        figure(Sink, "sink_rows", "Rows that came in", Counter(|it| it.rows_in)),
        figure(Sink, "sink_delivered_rows", "Rows made visible", Counter(|it| it.rows_out)),
        figure(Sink, "sink_refused_rows", "Rows that the far side did not take", Counter(|it| it.refused)),
        figure(Sink, "sink_deliveries", "Deliveries made visible", Counter(|it| it.deliveries)),
        figure(Sink, "sink_rebuilt", "Deliveries of an earlier run that were made again", Counter(|it| it.rebuilt)),
        figure(Sink, "sink_retries", "Tries that failed and were made again", Counter(|it| it.retries)),
        figure(
            Sink,
            "sink_waiting",
            "How long the oldest rows have waited to be delivered; 0 if none do",
            Seconds(|it| Some(it.waiting_millis as f64 / 1000.0)),
        ),
    ]
};

/// What is watched.
#[derive(Debug)]
struct Watched {
    pipeline: String,
    components: Vec<Component>,
    counters: Arc<Counters>,
    began: Instant,
}

impl Watched {
    fn new(stuck_after: Duration, plan: &Plan, counters: Arc<Counters>) -> Self {
        let component = |of, name: &String, kind: &String| Component {
            of,
            name: name.clone(),
            kind: kind.clone(),
            wait_max: Duration::ZERO,
        };
        let sources = plan.sources.iter().map(|it| component(Of::Source, &it.name, &it.kind));
        let transforms = plan.transforms.iter().map(|it| component(Of::Transform, &it.name, &it.kind));
        let sinks = plan.sinks.iter().map(|it| {
            let wait_max = it.batch.age_max.duration() + it.batch.interval_min.duration() + stuck_after;
            Component { wait_max, ..component(Of::Sink, &it.name, &it.kind) }
        });
        let components = sources.chain(transforms).chain(sinks).collect();
        Self { pipeline: plan.name.clone(), components, counters, began: Instant::now() }
    }

    /// How each sink is, and whether all of them are well.
    fn health(&self) -> (bool, String) {
        let counts = self.counters.counts();
        let mut is_well = true;
        let mut sinks = Map::new();
        for sink in self.components.iter().filter(|it| it.of == Of::Sink) {
            let waiting = Duration::from_millis(counts[sink.name.as_str()].waiting_millis);
            let is_stuck = waiting > sink.wait_max;
            is_well &= !is_stuck;
            sinks.insert(sink.name.clone(), json!({ "stuck": is_stuck, "waiting_seconds": waiting.as_secs_f64() }));
        }
        let answer = json!({
            "healthy": is_well,
            "pipeline": self.pipeline,
            "uptime_seconds": self.began.elapsed().as_secs(),
            "sinks": sinks,
        });
        (is_well, format!("{answer}\n"))
    }
}

impl Collector for Watched {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let counts = self.counters.counts();
        for Figure { of, name, help, value } in FIGURES {
            let (unit, metric_type) = match value {
                Value::Counter(_) => (None, ConstCounter::new(0_u64).metric_type()),
                Value::Seconds(_) => (Some(&Unit::Seconds), ConstGauge::new(0_f64).metric_type()),
            };
            let mut family = encoder.encode_descriptor(name, help, unit, metric_type)?;
            for component in self.components.iter().filter(|it| it.of == *of) {
                let labels = [("component_id", component.name.as_str()), ("component_type", component.kind.as_str())];
                let counts = &counts[component.name.as_str()];
                match value {
                    Value::Counter(count) => {
                        ConstCounter::new(count(counts)).encode(family.encode_family(&labels)?)?;
                    }
                    Value::Seconds(seconds) => {
                        if let Some(seconds) = seconds(counts) {
                            ConstGauge::new(seconds).encode(family.encode_family(&labels)?)?;
                        }
                    }
                }
            }
        }
        let mut family = encoder.encode_descriptor(
            "source_requests",
            "Requests that came, by what became of them",
            None,
            ConstCounter::new(0_u64).metric_type(),
        )?;
        for component in self.components.iter().filter(|it| it.of == Of::Source) {
            for (result, count) in &counts[component.name.as_str()].requests {
                let labels = [
                    ("component_id", component.name.as_str()),
                    ("component_type", component.kind.as_str()),
                    ("result", result),
                ];
                ConstCounter::new(*count).encode(family.encode_family(&labels)?)?;
            }
        }
        let letters = ConstCounter::new(counts[DEAD_LETTERS].rows_out);
        let help = "Rows that sources and transforms refused and that are kept";
        letters.encode(encoder.encode_descriptor("dead_letters", help, None, letters.metric_type())?)?;
        let uptime = ConstGauge::new(self.began.elapsed().as_secs_f64());
        let help = "Since the pipeline was started";
        uptime.encode(encoder.encode_descriptor("uptime", help, Some(&Unit::Seconds), uptime.metric_type())?)
    }
}

/// Answers whoever watches.
struct Watch {
    watched: Arc<Watched>,
    registry: Registry,
    counters: forebay_listen::Counters,
}

impl Watch {
    fn metrics(&self) -> Result<String, fmt::Error> {
        let mut all = String::new();
        text::encode(&mut all, &self.registry)?;
        Ok(all)
    }
}

impl Answer for Watch {
    async fn answer(&self, request: &mut Request, _: IpAddr) -> Reply {
        const TEXT: &str = "text/plain; charset=utf-8";
        const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        let (status, kind, body) = match (request.method(), request.uri().path()) {
            (&Method::GET | &Method::HEAD, "/metrics") => match self.metrics() {
                Ok(all) => (StatusCode::OK, OPEN_METRICS, all),
                Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, TEXT, format!("{error}\n")),
            },
            (&Method::GET | &Method::HEAD, "/health") => match self.watched.health() {
                (true, body) => (StatusCode::OK, "application/json", body),
                (false, body) => (StatusCode::SERVICE_UNAVAILABLE, "application/json", body),
            },
            (_, "/metrics" | "/health") => (StatusCode::METHOD_NOT_ALLOWED, TEXT, "GET or HEAD\n".to_owned()),
            _ => (StatusCode::NOT_FOUND, TEXT, "there are `/metrics` and `/health`\n".to_owned()),
        };
        let reply = Response::builder().status(status).header(CONTENT_TYPE, kind).header(ALLOW, "GET, HEAD");
        reply.body(body.into_bytes().into()).expect("all parts of the head are constants")
    }

    fn counters(&self) -> &forebay_listen::Counters {
        &self.counters
    }
}
