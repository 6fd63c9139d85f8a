//! Whether a table remembers what was inserted, and whether it can be looked into when it does not.

use std::time::Duration;

use super::{Engine, Look, Memory, Missing, Replication, WINDOW_GOOD, WINDOW_MIN, unfit};
use crate::block::Layout;
use crate::failure::{Failure, Kind};
use crate::sql;

impl Look<'_> {
    /// Checks that the table deduplicates, and says for how long it does and what other servers know.
    pub(super) async fn window(&self, engine: &Engine) -> Result<(Memory, Replication), Missing> {
        let (replication, base) = match (engine.name.strip_prefix("Replicated"), engine.name.strip_prefix("Shared")) {
            (Some(base), _) => (Replication::Fetched, base),
            (_, Some(base)) => (Replication::Shared, base),
            _ => (Replication::None, engine.name.as_str()),
        };
        if !matches!(base, "MergeTree" | "ReplacingMergeTree") {
            let what = match base {
                "Distributed" => "which spreads blocks over tables: write into those",
                "Buffer" => "which keeps rows in memory",
                "View" | "MaterializedView" | "Null" => "which keeps no rows of its own",
                it if it.ends_with("MergeTree") => {
                    "which joins rows, so that a delivery cannot be found in it again: write into a `MergeTree`, and \
                     feed this table by a materialized view"
                }
                _ => "which does not deduplicate",
            };
            return Err(unfit(format!("table {} has the engine {}, {what}", self.name, engine.name)));
        }
        if replication == Replication::None && self.servers.count() > 1 {
            return Err(unfit(format!(
                "table {} has the engine {}, of which each server has its own, and there are several `endpoints`",
                self.name, engine.name
            )));
        }
        let setting = if replication == Replication::None {
            "non_replicated_deduplication_window"
        } else {
            "replicated_deduplication_window"
        };
        let window = self.setting_of_table(engine, replication, setting).await?;
        if window < WINDOW_MIN {
            return Err(unfit(format!(
                "table {0} remembers {window} blocks, and must remember {WINDOW_MIN} at least: \
                 `ALTER TABLE {0} MODIFY SETTING {setting} = {WINDOW_GOOD}`",
                self.name
            )));
        }
        let time = match replication {
            Replication::None => Duration::MAX,
            // The server's clock runs from when it has the block, ours from when it was sent.
            Replication::Fetched | Replication::Shared => {
                let setting = "replicated_deduplication_window_seconds";
                Duration::from_secs(self.setting_of_table(engine, replication, setting).await?) / 2
            }
        };
        Ok((Memory { blocks: window, time }, replication))
    }

    /// A setting of the table, or what holds for tables that do not say it.
    async fn setting_of_table(&self, engine: &Engine, replication: Replication, name: &str) -> Result<u64, Missing> {
        if let Some(value) = setting_of(&engine.full, name) {
            return Ok(value);
        }
        let table =
            if replication == Replication::Fetched { "replicated_merge_tree_settings" } else { "merge_tree_settings" };
        let default = self.merge_tree_setting(table, name).await.map_err(|failure| {
            let what = format!(
                "the user needs `SELECT ON system.{table}`, or table {} its own `{name}`, and one that is large enough",
                self.name
            );
            failure.hinted(Kind::Rights, what)
        });
        Ok(default?.unwrap_or_default())
    }

    /// What holds for tables whose own settings do not say it.
    pub(super) async fn merge_tree_setting(&self, table: &str, name: &str) -> Result<Option<u64>, Failure> {
        let rows = self.ask(&format!("SELECT value FROM system.{table} WHERE name = {}", sql::text(name))).await?;
        Ok(rows.first().and_then(|it| it.first()?.parse().ok()))
    }

    /// Checks that the user may do what is needed after a crash only: it would be too late to find out then.
    pub(super) async fn rights(
        &self,
        engine: &Engine,
        layout: &Layout,
        replication: Replication,
    ) -> Result<(), Missing> {
        let times = layout.placed.iter().filter(|it| it.of.plain().is_time()).map(|it| it.name.as_str());
        let mut looked_at: Vec<String> = times.chain(layout.stamp.as_deref()).map(sql::name).collect();
        looked_at.extend(Some(format!("tuple({})", engine.partition)).filter(|_| !engine.partition.is_empty()));
        let doing = format!("looking into table {}, as after a crash", self.name);
        let look = format!("SELECT {} FROM {} WHERE 0", looked_at.join(", "), self.name);
        let needs = |right: &str| {
            format!(
                "the user needs the right `{right} ON {}`; or write `exactly_once = false`, which may double rows",
                self.name
            )
        };
        self.server.ask(&doing, &look, &[]).await.map_err(|it| it.hinted(Kind::Rights, needs("SELECT")))?;
        if replication == Replication::Fetched {
            let sync = format!("SYSTEM SYNC REPLICA {} LIGHTWEIGHT", self.name);
            // Not for as long as it may take: only whether it is allowed.
            let synced = self.server.ask(&doing, &sync, &[("receive_timeout", "1")]).await;
            if let Err(failure) = synced
                && failure.kind() == Kind::Rights
            {
                return Err(failure.hinted(Kind::Rights, needs("SYSTEM SYNC REPLICA")).into());
            }
        }
        Ok(())
    }
}

/// A number from the settings in a table's statement.
pub(super) fn setting_of(engine: &str, name: &str) -> Option<u64> {
    let (_, settings) = engine.split_once("SETTINGS ")?;
    let of = |it: &str| {
        let (found, value) = it.split_once('=')?;
        (found.trim() == name).then(|| value.trim().trim_matches('\'').parse().ok()).flatten()
    };
    settings.split(',').find_map(of)
}
