//! The table.

use std::fmt;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ReturnValuesOnConditionCheckFailure,
    ScalarAttributeType, TableDescription, TableStatus,
};
use forebay_aws::{Trouble, trouble};

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
        match self.within(call.send()).await {
            Ok(Ok(answer)) => Ok(answer.table),
            Ok(Err(error)) if has_code(&error, "ResourceNotFoundException") => Ok(None),
            Ok(Err(error)) => Err(trouble(&format!("looking at {self}"), error)),
            Err(late) => Err(late.doing(&format!("looking at {self}"))),
        }
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
        match self.within(call.send()).await {
            Ok(Ok(_)) => {
                tracing::info!("{self} is made");
                Ok(())
            }
            // Another process was quicker.
            Ok(Err(error)) if has_code(&error, "ResourceInUseException") => Ok(()),
            Ok(Err(error)) => Err(trouble(&doing, error)),
            Err(late) => Err(late.doing(&doing)),
        }
    }

    /// All leases. Rows that are something else are passed over.
    pub async fn scan(&self) -> Result<Vec<Lease>, Trouble> {
        let doing = format!("reading {self}");
        let mut leases = Vec::new();
        let mut from: Option<Item> = None;
        loop {
            let call = self.client.scan().table_name(&self.name).consistent_read(true).set_exclusive_start_key(from);
            let page = match self.within(call.send()).await {
                Ok(answer) => answer.map_err(|error| trouble(&doing, error))?,
                Err(late) => return Err(late.doing(&doing)),
            };
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
        match self.within(call.send()).await {
            Ok(Ok(_)) => Ok(true),
            Ok(Err(error)) if has_code(&error, REFUSED) => Ok(false),
            Ok(Err(error)) => Err(trouble(&doing, error)),
            Err(late) => Err(late.doing(&doing)),
        }
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
        match self.within(call.send()).await {
            Ok(Ok(_)) => Ok(true),
            Ok(Err(error)) if has_code(&error, REFUSED) => Ok(false),
            Ok(Err(error)) => Err(trouble(&doing, error)),
            Err(late) => Err(late.doing(&doing)),
        }
    }

    /// Writes to a row, unless it has changed since. Attributes that are not known here stay as they are.
    pub async fn write(&self, was: &Lease, write: &Write) -> Result<Written, Trouble> {
        let doing = format!("writing `{}` in {self}", was.key);
        let call = self.client.update_item().table_name(&self.name).key(item::KEY, item::text(&was.key));
        let call = call.return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let new = was.after(write);
        let call = update(call, was, &new, write);
        match self.within(call.send()).await {
            Ok(Ok(_)) => Ok(Written::Done(new)),
            Ok(Err(error)) if has_code(&error, REFUSED) => {
                let row = error.as_service_error().and_then(|it| match it {
                    aws_sdk_dynamodb::operation::update_item::UpdateItemError::ConditionalCheckFailedException(it) => {
                        it.item()
                    }
                    _ => None,
                });
                match row.filter(|it| !it.is_empty()) {
                    Some(row) => Ok(Written::Refused(item::lease(row).ok().flatten())),
                    // Not every server sends it.
                    None => Ok(Written::Refused(self.read(&was.key).await?)),
                }
            }
            Ok(Err(error)) => Err(trouble(&doing, error)),
            Err(late) => Err(late.doing(&doing)),
        }
    }

    /// One lease.
    pub async fn read(&self, key: &str) -> Result<Option<Lease>, Trouble> {
        let doing = format!("reading `{key}` in {self}");
        let call = self.client.get_item().table_name(&self.name).key(item::KEY, item::text(key)).consistent_read(true);
        match self.within(call.send()).await {
            Ok(Ok(answer)) => Ok(answer.item.and_then(|it| item::lease(&it).ok().flatten())),
            Ok(Err(error)) => Err(trouble(&doing, error)),
            Err(late) => Err(late.doing(&doing)),
        }
    }

    async fn within<T>(&self, call: impl Future<Output = T>) -> Result<T, Late> {
        tokio::time::timeout(self.patience, call).await.map_err(|_| Late(self.patience))
    }
}

/// ``the table `leases` ``
impl fmt::Display for LeaseTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the table `{}`", self.name)
    }
}

/// No answer within this time. What was to be written may have been, or may yet be.
struct Late(Duration);

impl Late {
    fn doing(self, doing: &str) -> Trouble {
        Trouble::Retry(format!("{doing}: no answer within {:?}", self.0).into())
    }
}

/// The condition of a write does not hold.
const REFUSED: &str = "ConditionalCheckFailedException";

fn has_code<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>, code: &str) -> bool {
    error.as_service_error().and_then(ProvideErrorMetadata::code) == Some(code)
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
