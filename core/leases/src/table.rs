//! The table.

use std::fmt;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ReturnValuesOnConditionCheckFailure,
    ScalarAttributeType, TableDescription, TableStatus,
};
use forebay_aws::{Reason, Trouble, within};

use crate::item::{self, Item};
use crate::lease::{Lease, Write};

/// The longest that one call may take.
const CALL: Duration = Duration::from_secs(10);

/// How long an item may be, all attributes together: "Service quotas" of the DynamoDB developer guide. What the library
/// writes needs little of it.
pub const STATE_BYTES_MAX: usize = 380 << 10;

/// A table of leases.
#[derive(Clone, Debug)]
pub struct LeaseTable {
    client: Client,
    name: String,
    /// How long a call may take.
    patience: Duration,
}

/// What became of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// It is there; this is the row now.
    Done(Lease),
    /// The row had changed before: it is this by now, or is gone.
    Refused(Option<Lease>),
}

impl LeaseTable {
    /// A table that need not be there. Calls end, with an error, within `patience` or ten seconds.
    pub fn new(client: Client, name: impl Into<String>, patience: Duration) -> Self {
        Self { client, name: name.into(), patience: patience.min(CALL) }
    }

    /// Makes the table if it is not there, paid for by request, and waits until it can be used.
    ///
    /// An error of the kind `Wrong`: there is one of this name for something else.
    pub async fn prepare(&self) -> Result<(), Trouble> {
        loop {
            match self.describe().await? {
                None => self.create_table().await?,
                Some(table) => {
                    self.check(&table)?;
                    // While its throughput is changed or an index is made it can be used as well.
                    if matches!(table.table_status(), Some(TableStatus::Active | TableStatus::Updating)) {
                        return Ok(());
                    }
                }
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    async fn describe(&self) -> Result<Option<TableDescription>, Trouble> {
        let call = self.client.describe_table().table_name(&self.name);
        let answer = within(self.patience, &format!("looking at {self}"), call.send()).await;
        Ok(unless(Reason::NotFound, answer)?.and_then(|it| it.table))
    }

    fn check(&self, table: &TableDescription) -> Result<(), Trouble> {
        let keys: Vec<&str> = table.key_schema().iter().map(KeySchemaElement::attribute_name).collect();
        match keys[..] {
            [item::KEY] | [] => Ok(()),
            _ => {
                let keys = keys.join("` and `");
                Err(Trouble::Wrong(
                    format!("{self} has the key `{keys}`, not `{}`: it is not for leases", item::KEY).into(),
                ))
            }
        }
    }

    async fn create_table(&self) -> Result<(), Trouble> {
        let doing = format!("making {self}");
        let odd = |error: aws_sdk_dynamodb::error::BuildError| Trouble::Wrong(format!("{doing}: {error}").into());
        let key = KeySchemaElement::builder().attribute_name(item::KEY).key_type(KeyType::Hash).build();
        let definition =
            AttributeDefinition::builder().attribute_name(item::KEY).attribute_type(ScalarAttributeType::S).build();
        let call = self.client.create_table().table_name(&self.name).billing_mode(BillingMode::PayPerRequest);
        let call = call.key_schema(key.map_err(odd)?).attribute_definitions(definition.map_err(odd)?);
        // Otherwise another process was quicker.
        if unless(Reason::InUse, within(self.patience, &doing, call.send()).await)?.is_some() {
            tracing::info!("{self} is made");
        }
        Ok(())
    }

    /// All leases. Rows that are something else are passed over.
    pub async fn scan(&self) -> Result<Vec<Lease>, Trouble> {
        let doing = format!("reading {self}");
        let mut leases = Vec::new();
        let mut from: Option<Item> = None;
        loop {
            let call = self.client.scan().table_name(&self.name).consistent_read(true).set_exclusive_start_key(from);
            let page = within(self.patience, &doing, call.send()).await?;
            for row in page.items() {
                match item::lease(row) {
                    Ok(lease) => leases.extend(lease),
                    Err(why) => tracing::warn!("{self}: a row is passed over: {why}"),
                }
            }
            from = page.last_evaluated_key.filter(|it| !it.is_empty());
            if from.is_none() {
                return Ok(leases);
            }
        }
    }

    /// Adds a lease. `false`: there is one already.
    pub async fn create(&self, lease: &Lease) -> Result<bool, Trouble> {
        let doing = format!("adding `{}` to {self}", lease.key);
        let call = self.client.put_item().table_name(&self.name).set_item(Some(item::item(lease)));
        let call =
            call.condition_expression("attribute_not_exists(#key)").expression_attribute_names("#key", item::KEY);
        let answer = within(self.patience, &doing, call.send()).await;
        Ok(unless(Reason::Condition, answer)?.is_some())
    }

    /// Removes a lease, unless it has changed since.
    pub async fn delete(&self, was: &Lease) -> Result<bool, Trouble> {
        let doing = format!("removing `{}` from {self}", was.key);
        let mut call = self.client.delete_item().table_name(&self.name).key(item::KEY, item::text(&was.key));
        let (condition, names, values) = still(was);
        call = call.condition_expression(condition);
        for (name, attribute) in names {
            call = call.expression_attribute_names(name, attribute);
        }
        for (name, value) in values {
            call = call.expression_attribute_values(name, value);
        }
        let answer = within(self.patience, &doing, call.send()).await;
        Ok(unless(Reason::Condition, answer)?.is_some())
    }

    /// Writes to a row, unless it has changed since. Attributes that are not known here stay as they are.
    pub async fn write(&self, was: &Lease, write: &Write) -> Result<Written, Trouble> {
        let doing = format!("writing `{}` in {self}", was.key);
        let call = self.client.update_item().table_name(&self.name).key(item::KEY, item::text(&was.key));
        let call = call.return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let new = was.after(write);
        let call = update(call, was, &new, write);
        let written = async {
            match call.send().await {
                Ok(_) => Ok(Written::Done(new)),
                Err(error) => match row_instead(&error) {
                    Some(row) => Ok(Written::Refused(item::lease(row).ok().flatten())),
                    None => Err(error),
                },
            }
        };
        match unless(Reason::Condition, within(self.patience, &doing, written).await)? {
            Some(written) => Ok(written),
            // Not every server says what the row is instead.
            None => Ok(Written::Refused(self.read(&was.key).await?)),
        }
    }

    /// One lease.
    pub async fn read(&self, key: &str) -> Result<Option<Lease>, Trouble> {
        let doing = format!("reading `{key}` in {self}");
        let call = self.client.get_item().table_name(&self.name).key(item::KEY, item::text(key)).consistent_read(true);
        let answer = within(self.patience, &doing, call.send()).await?;
        Ok(answer.item.and_then(|it| item::lease(&it).ok().flatten()))
    }
}

/// ``the table `leases` ``
impl fmt::Display for LeaseTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the table `{}`", self.name)
    }
}

/// `None`: it was refused for this reason.
fn unless<T>(reason: Reason, answer: Result<T, Trouble>) -> Result<Option<T>, Trouble> {
    match answer {
        Err(trouble) if trouble.reason() == Some(reason) => Ok(None),
        answer => answer.map(Some),
    }
}

/// What a row is, if a write was refused because it is not what was expected.
fn row_instead<R>(error: &SdkError<UpdateItemError, R>) -> Option<&Item> {
    match error.as_service_error()? {
        UpdateItemError::ConditionalCheckFailedException(it) => it.item().filter(|it| !it.is_empty()),
        _ => None,
    }
}

type Names = Vec<(&'static str, &'static str)>;
type Values = Vec<(&'static str, AttributeValue)>;

/// The condition that nobody has written to a row since it was so.
fn still(was: &Lease) -> (String, Names, Values) {
    let names = vec![("#counter", item::COUNTER), ("#owner", item::OWNER), ("#holder", item::CHECKPOINT_OWNER)];
    let mut values = vec![(":counter", item::number(was.counter))];
    let mut condition = "#counter = :counter".to_owned();
    for (name, value, is) in [("#owner", ":owner", &was.owner), ("#holder", ":holder", &was.checkpoint_owner)] {
        match is {
            Some(is) => {
                condition += &format!(" AND {name} = {value}");
                values.push((value, item::text(is)));
            }
            None => condition += &format!(" AND attribute_not_exists({name})"),
        }
    }
    (condition, names, values)
}

/// Says in the words of DynamoDB what differs between two states of a row.
fn update(mut call: UpdateItemFluentBuilder, was: &Lease, new: &Lease, write: &Write) -> UpdateItemFluentBuilder {
    let (condition, mut names, mut values) = still(was);
    let mut set: Vec<String> = Vec::new();
    let mut remove: Vec<&str> = Vec::new();
    let mut put = |name: &'static str, attribute, value: &'static str, is: AttributeValue| {
        set.push(format!("{name} = {value}"));
        if !names.iter().any(|it| it.0 == name) {
            names.push((name, attribute));
        }
        values.push((value, is));
    };
    if new.counter != was.counter {
        put("#counter", item::COUNTER, ":counter_new", item::number(new.counter));
    }
    if let (Some(owner), true) = (&new.owner, new.owner != was.owner) {
        put("#owner", item::OWNER, ":owner_new", item::text(owner));
    }
    if let (Some(holder), true) = (&new.checkpoint_owner, new.checkpoint_owner != was.checkpoint_owner) {
        put("#holder", item::CHECKPOINT_OWNER, ":holder_new", item::text(holder));
    }
    if new.switches != was.switches {
        put("#switches", item::SWITCHES, ":switches", item::number(new.switches));
    }
    if new.checkpoint != was.checkpoint {
        put("#checkpoint", item::CHECKPOINT, ":checkpoint", item::text(new.checkpoint.to_string()));
        put("#sub", item::SUB, ":sub", item::number(new.checkpoint.sub()));
    }
    if let Write::Keep { ours, .. } = write {
        put("#ours", item::OURS, ":ours", item::bytes(ours.clone()));
    }
    if let Write::Children(children) = write {
        put("#children", item::CHILDREN, ":children", item::texts(children));
    }
    if was.owner.is_some() && new.owner.is_none() {
        remove.push("#owner");
    }
    if was.checkpoint_owner.is_some() && new.checkpoint_owner.is_none() {
        remove.push("#holder");
    }
    if new.checkpoint != was.checkpoint {
        for (name, attribute) in ["#pending", "#pending_sub", "#pending_state"].into_iter().zip(item::PENDING) {
            names.push((name, attribute));
            remove.push(name);
        }
    }
    let mut expression = format!("SET {}", set.join(", "));
    if !remove.is_empty() {
        expression += &format!(" REMOVE {}", remove.join(", "));
    }
    for (name, attribute) in names {
        call = call.expression_attribute_names(name, attribute);
    }
    for (name, value) in values {
        call = call.expression_attribute_values(name, value);
    }
    call.condition_expression(condition).update_expression(expression)
}
