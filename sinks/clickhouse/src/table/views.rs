//! What materialized views make of rows that come again.
//!
//! A table that has seen a block passes it on all the same, so that a view which failed gets what it lacks. It is for the
//! view's own table to remember what it has.

use super::window::setting_of;
use super::{Look, WINDOW_GOOD};
use crate::failure::{Failure, Kind};
use crate::sql;

impl Look<'_> {
    /// The tables into which views put the rows of this one, and which do not remember blocks: a line for each.
    ///
    /// No reason not to begin: it is the table that is written into for which the promise holds.
    pub(super) async fn forgetful_views(&self) -> Result<Vec<String>, Failure> {
        let statement = format!(
            "SELECT view.name, database, name, engine_full FROM system.tables AS target JOIN (\
               SELECT name, extract(create_table_query, '^CREATE MATERIALIZED VIEW \\\\S+ TO (\\\\S+)') AS made, \
               if(made = '', concat(database, '..inner_id.', toString(uuid)), replaceAll(made, '`', '')) AS fed \
               FROM system.tables WHERE engine = 'MaterializedView' AND (database, name) IN (\
                 SELECT arrayJoin(arrayZip(dependencies_database, dependencies_table)) FROM system.tables WHERE {filter}\
               )) AS view ON concat(target.database, '.', target.name) = view.fed \
             WHERE engine LIKE '%MergeTree' AND engine NOT LIKE 'Replicated%' AND engine NOT LIKE 'Shared%'",
            filter = self.system_filter("name"),
        );
        let targets = self.ask(&statement).await?;
        if targets.is_empty() {
            return Ok(Vec::new());
        }
        let setting = "non_replicated_deduplication_window";
        let default = match targets.iter().all(|it| it.get(3).is_some_and(|it| setting_of(it, setting).is_some())) {
            true => 0,
            false => self.merge_tree_setting("merge_tree_settings", setting).await?.unwrap_or_default(),
        };
        let forgetful = |row: &Vec<String>| {
            let [view, database, table, engine] = row.as_slice() else { return None };
            let target = format!("{}.{}", sql::name(database), sql::name(table));
            (setting_of(engine, setting).unwrap_or(default) == 0).then(|| {
                format!(
                    "an INSERT that is repeated doubles rows in table {target}, which view {} feeds (hint: `ALTER TABLE \
                     {target} MODIFY SETTING {setting} = {WINDOW_GOOD}`)",
                    sql::name(view)
                )
            })
        };
        Ok(targets.iter().filter_map(forgetful).collect())
    }
    /// What is to be said if the server does not tell how many blocks the table has taken.
    pub(super) async fn unread_parts(&self) -> Option<String> {
        let failure = self.ask("SELECT max_block_number, modification_time FROM system.parts WHERE 0").await.err()?;
        Some(format!(
            "views of table {} may lack rows after a crash, since nobody knows what the table remembers: {}",
            self.name,
            failure.hinted(Kind::Rights, "the user needs the right `SELECT ON system.parts`".to_owned())
        ))
    }
}
