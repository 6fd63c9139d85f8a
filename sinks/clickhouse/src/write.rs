//! The sink and its drafts.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use async_trait::async_trait;
use forebay_api::{BoxError, DeliveryId, Draft, Refused, Sink, SinkError};
use futures_util::{StreamExt, stream};

use crate::ClickHouse;
use crate::failure::stop;
use crate::portion::{History, Portion};
use crate::route::Router;
use crate::server::Servers;
use crate::table::{self, Table};

/// How long a table's columns are taken to be what they were. What does not come to light by errors, such as a
/// column that takes more than before, is noticed after this time.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// Into so many tables a delivery is inserted at a time.
const TABLES_AT_A_TIME: usize = 8;

/// Opens the sink. A server that does not answer, or a table that is not there yet, is waited for later; what cannot
/// be promised is said now. Tables are looked at again when `look_again` is over.
pub(crate) async fn open(config: &ClickHouse, input: SchemaRef, look_again: Duration) -> Result<Writer, BoxError> {
    let servers = Servers::new(config)?;
    let router = Router::new(&config.table, &input)?;
    let tables = config.table.names().into_iter().map(Target::new).collect();
    let shared = Shared { config: config.clone(), servers, input, look_again, router, tables };
    for target in &shared.tables {
        match shared.look(target).await.map_err(table::Missing::at_start) {
            Ok(table) => table.warnings.iter().for_each(|it| tracing::warn!("{it}")),
            Err(SinkError::Stop(error)) => return Err(error),
            Err(SinkError::Retry(error)) => {
                tracing::warn!("waiting for table {}: {error}", config.full_name(&target.name));
            }
        }
    }
    Ok(Writer { shared: Arc::new(shared) })
}

/// The sink.
pub(crate) struct Writer {
    shared: Arc<Shared>,
}

/// What all deliveries have in common.
pub(crate) struct Shared {
    pub(crate) config: ClickHouse,
    pub(crate) servers: Servers,
    input: SchemaRef,
    look_again: Duration,
    router: Router,
    tables: Vec<Target>,
}

/// One of the tables.
struct Target {
    name: String,
    /// The table as it was when it was looked at last, and when that was; `None`: it is to be looked at.
    known: Mutex<Option<(Arc<Table>, Instant)>>,
}

impl Target {
    fn new(name: &str) -> Self {
        Self { name: name.to_owned(), known: Mutex::default() }
    }
}

impl Shared {
    /// Looks at a table, and keeps what it is like.
    async fn look(&self, target: &Target) -> Result<Arc<Table>, table::Missing> {
        let table = Arc::new(table::look(&self.config, &target.name, &self.servers, &self.input).await?);
        let known = (table.clone(), Instant::now());
        *target.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(known);
        Ok(table)
    }

    /// Forgets what a table was like if that is so long ago.
    pub(crate) fn forget(&self, table: usize, age: Duration) {
        let mut known = self.tables[table].known.lock().unwrap_or_else(PoisonError::into_inner);
        known.take_if(|it| it.1.elapsed() >= age);
    }

    /// Forgets what a table was like if it is time to look again.
    pub(crate) fn forget_old(&self, table: usize) {
        self.forget(table, self.look_again);
    }

    /// `database`.`table`.
    pub(crate) fn full_name(&self, table: usize) -> String {
        self.config.full_name(&self.tables[table].name)
    }

    /// What a table is like.
    pub(crate) async fn table(&self, table: usize) -> Result<Arc<Table>, SinkError> {
        let target = &self.tables[table];
        let known = target.known.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match known {
            Some((table, _)) => Ok(table),
            None => self.look(target).await.map_err(table::Missing::while_running),
        }
    }

    fn draft(self: &Arc<Self>, id: &DeliveryId, history: History) -> Box<dyn Draft> {
        Box::new(Delivery { shared: self.clone(), id: id.clone(), history, rows: 0, portions: BTreeMap::new() })
    }
}

#[async_trait]
impl Sink for Writer {
    async fn begin(&self, id: &DeliveryId) -> Result<Box<dyn Draft>, SinkError> {
        Ok(self.shared.draft(id, History { again: false, since: None }))
    }

    async fn begin_again(&self, id: &DeliveryId, intended: Option<SystemTime>) -> Result<Box<dyn Draft>, SinkError> {
        Ok(self.shared.draft(id, History { again: true, since: intended }))
    }
}

/// A delivery: rows are kept until all are there, and then inserted.
struct Delivery {
    shared: Arc<Shared>,
    id: DeliveryId,
    history: History,
    rows: u64,
    /// By the number of the table.
    portions: BTreeMap<usize, Portion>,
}

#[async_trait]
impl Draft for Delivery {
    async fn stage(&mut self, rows: RecordBatch) -> Result<Refused, SinkError> {
        let first = self.rows;
        self.rows += rows.num_rows() as u64;
        let (shares, refused) = self.shared.router.split(rows, first).map_err(stop)?;
        for share in shares.into_iter().filter(|it| it.rows.num_rows() > 0) {
            let table = share.table;
            let portion = || Portion::new(self.shared.clone(), table, self.id.clone(), self.history);
            self.portions.entry(table).or_insert_with(portion).push(share);
        }
        Ok(refused)
    }

    fn intended(&mut self, now: SystemTime) {
        self.portions.values_mut().for_each(|it| it.intended(now));
    }

    /// A table that cannot take its rows does not keep the others from theirs; the delivery is done when all have them.
    async fn commit(&mut self) -> Result<Refused, SinkError> {
        let commits = stream::iter(self.portions.values_mut().map(Portion::commit));
        let done: Vec<Result<(), SinkError>> = commits.buffer_unordered(TABLES_AT_A_TIME).collect().await;
        let mut failures: Vec<SinkError> = done.into_iter().filter_map(Result::err).collect();
        let stopped = failures.iter().position(|it| matches!(it, SinkError::Stop(_)));
        if !failures.is_empty() {
            return Err(failures.swap_remove(stopped.unwrap_or_default()));
        }
        let mut refused: Refused = self.portions.values_mut().flat_map(Portion::take_refused).collect();
        refused.sort_by_key(|it| it.row);
        Ok(refused)
    }
}
