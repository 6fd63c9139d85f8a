//! Calls to the table: conditions, and what goes wrong on the way.

use std::time::{Duration, Instant};

use aws_sdk_dynamodb::types::{AttributeDefinition, KeySchemaElement, KeyType, ScalarAttributeType};
use expect_test::expect;
use forebay_aws::Trouble;
use forebay_testkit::services::{Fault, FaultProxy, Rule};

use super::{SERVER, aws, lease, rows, set, table};
use crate::lease::{Lease, Write};
use crate::table::{LeaseTable, STATE_BYTES_MAX, Written};

/// A fault of some of the calls `name`.
fn rule(name: &str, fault: Fault) -> Rule {
    Rule::new(fault).header("x-amz-target", name)
}

fn take(by: &str) -> Write {
    Write::Take { by: by.into() }
}

fn done(written: Result<Written, Trouble>) -> Lease {
    match written {
        Ok(Written::Done(lease)) => lease,
        other => panic!("{other:?}"),
    }
}

/// Scenario: two processes make the same table at the same time; it is there already; it is for something else.
/// Guarantees: there is one, paid for by request, with the library's key; a table for something else is not touched.
#[tokio::test]
async fn preparing() {
    let client = aws(&SERVER.endpoint()).dynamodb().await.unwrap();
    let table = table(&SERVER.endpoint(), "preparing").await;
    let (one, other) = tokio::join!(table.prepare(), table.prepare());
    one.and(other).and(table.prepare().await).unwrap();
    let description = client.describe_table().table_name("preparing").send().await.unwrap().table.unwrap();
    let mode = description.billing_mode_summary().and_then(|it| it.billing_mode()).unwrap();
    let keys: Vec<_> = description.key_schema().iter().map(|it| (it.attribute_name(), it.key_type())).collect();
    assert_eq!((mode.as_str(), keys), ("PAY_PER_REQUEST", vec![("leaseKey", &KeyType::Hash)]));

    let key = KeySchemaElement::builder().attribute_name("id").key_type(KeyType::Hash).build().unwrap();
    let id =
        AttributeDefinition::builder().attribute_name("id").attribute_type(ScalarAttributeType::S).build().unwrap();
    let call = client.create_table().table_name("users").key_schema(key).attribute_definitions(id);
    call.billing_mode(aws_sdk_dynamodb::types::BillingMode::PayPerRequest).send().await.unwrap();
    let users = super::table(&SERVER.endpoint(), "users").await;
    expect!["the table `users` has the key `id`, not `leaseKey`: it is not for leases"]
        .assert_eq(&users.prepare().await.unwrap_err().to_string());
}

/// Scenario: every write there is, by one who has seen the row as it is, and again by one who has not.
/// Guarantees: the first is carried out; the second changes nothing, and learns what the row is by now.
#[tokio::test]
async fn conditions() {
    let table = table(&SERVER.endpoint(), "conditions").await;
    table.prepare().await.unwrap();
    let mut row = lease("a <- p q: -/0 TRIM_HORIZON");
    assert!(table.create(&row).await.unwrap());
    assert!(!table.create(&lease("a: eve/9 5")).await.unwrap());
    let checkpoint = lease("a: -/0 9:3").checkpoint;
    let writes = [
        take("bob"),
        Write::Renew,
        Write::Keep { checkpoint, ours: b"state".to_vec() },
        Write::Children(set("b c")),
        Write::Request { by: "eve".into() },
        Write::Renew,
        Write::Release,
        take("eve"),
        take("amy"),
        Write::Request { by: "eve".into() },
        take("joe"),
        Write::Release,
    ];
    let mut told = Vec::new();
    for write in writes {
        let was = row.clone();
        row = done(table.write(&was, &write).await);
        assert_eq!(table.read("a").await.unwrap(), Some(row.clone()), "{write:?}");
        told.push(rows(&SERVER.endpoint(), "conditions").await);
        // Children are added by whoever finds them, and the counter is not theirs.
        if !matches!(write, Write::Children(_)) {
            for late in [Write::Renew, take("zed"), Write::Release] {
                assert_eq!(table.write(&was, &late).await.unwrap(), Written::Refused(Some(row.clone())), "{late:?}");
            }
            assert!(!table.delete(&was).await.unwrap());
        }
    }
    expect![[r#"
        a: checkpoint=TRIM_HORIZON checkpointSubSequenceNumber=#0 entityType=LEASE leaseCounter=#1 leaseOwner=bob ownerSwitchesSinceCheckpoint=#0 parentShardId={"p", "q"}
        a: checkpoint=TRIM_HORIZON checkpointSubSequenceNumber=#0 entityType=LEASE leaseCounter=#2 leaseOwner=bob ownerSwitchesSinceCheckpoint=#0 parentShardId={"p", "q"}
        a: checkpoint=9 checkpointSubSequenceNumber=#3 entityType=LEASE forebay="state" leaseCounter=#3 leaseOwner=bob ownerSwitchesSinceCheckpoint=#0 parentShardId={"p", "q"}
        a: checkpoint=9 checkpointSubSequenceNumber=#3 childShardIds={"b", "c"} entityType=LEASE forebay="state" leaseCounter=#3 leaseOwner=bob ownerSwitchesSinceCheckpoint=#0 parentShardId={"p", "q"}
        a: checkpoint=9 checkpointOwner=bob checkpointSubSequenceNumber=#3 childShardIds={"b", "c"} entityType=LEASE forebay="state" leaseCounter=#3 leaseOwner=eve ownerSwitchesSinceCheckpoint=#0 parentShardId={"p", "q"}
        a: checkpoint=9 checkpointOwner=bob checkpointSubSequenceNumber=#3 childShardIds={"b", "c"} entityType=LEASE forebay="state" leaseCounter=#4 leaseOwner=eve ownerSwitchesSinceCheckpoint=#0 parentShardId={"p", "q"}
        a: checkpoint=9 checkpointSubSequenceNumber=#3 childShardIds={"b", "c"} entityType=LEASE forebay="state" leaseCounter=#5 leaseOwner=eve ownerSwitchesSinceCheckpoint=#1 parentShardId={"p", "q"}
        a: checkpoint=9 checkpointSubSequenceNumber=#3 childShardIds={"b", "c"} entityType=LEASE forebay="state" leaseCounter=#6 leaseOwner=eve ownerSwitchesSinceCheckpoint=#1 parentShardId={"p", "q"}
        a: checkpoint=9 checkpointSubSequenceNumber=#3 childShardIds={"b", "c"} entityType=LEASE forebay="state" leaseCounter=#7 leaseOwner=amy ownerSwitchesSinceCheckpoint=#2 parentShardId={"p", "q"}
        a: checkpoint=9 checkpointOwner=amy checkpointSubSequenceNumber=#3 childShardIds={"b", "c"} entityType=LEASE forebay="state" leaseCounter=#7 leaseOwner=eve ownerSwitchesSinceCheckpoint=#2 parentShardId={"p", "q"}
        a: checkpoint=9 checkpointSubSequenceNumber=#3 childShardIds={"b", "c"} entityType=LEASE forebay="state" leaseCounter=#8 leaseOwner=joe ownerSwitchesSinceCheckpoint=#3 parentShardId={"p", "q"}
        a: checkpoint=9 checkpointSubSequenceNumber=#3 childShardIds={"b", "c"} entityType=LEASE forebay="state" leaseCounter=#9 ownerSwitchesSinceCheckpoint=#3 parentShardId={"p", "q"}"#]].assert_eq(&told.join("\n"));
    assert_eq!(table.scan().await.unwrap(), [row.clone()]);
    assert!(table.delete(&row).await.unwrap());
    assert_eq!(table.write(&row, &Write::Renew).await.unwrap(), Written::Refused(None));
    assert_eq!((table.read("a").await.unwrap(), table.delete(&row).await.unwrap()), (None, false));
}

/// Scenario: more leases than an answer can hold, each with as much state as is allowed; one byte more than that.
/// Guarantees: all of them come; the limit is below that of the service.
#[tokio::test]
async fn size() {
    let table = table(&SERVER.endpoint(), "size").await;
    table.prepare().await.unwrap();
    let ours = vec![b'x'; STATE_BYTES_MAX + 1024];
    for key in ["a", "b", "c", "d", "e", "f"] {
        let row = lease(&format!("{key}: bob/1 5"));
        assert!(table.create(&row).await.unwrap());
        let checkpoint = row.checkpoint.clone();
        done(table.write(&row, &Write::Keep { checkpoint, ours: ours.clone() }).await);
    }
    let all = table.scan().await.unwrap();
    assert_eq!(all.iter().filter(|it| it.ours.as_ref() == Some(&ours)).count(), 6);
}

/// Scenario: calls that are throttled, forbidden, answered late or not at all, or whose answer is lost; a table that is
/// removed.
/// Guarantees: each error says whether it passes by itself; none takes longer than it may; what was written without an answer
/// is found to be written.
#[tokio::test]
async fn trouble() {
    let proxy = FaultProxy::start(&SERVER.endpoint(), vec![]);
    let table = table(&proxy.endpoint(), "trouble").await;
    table.prepare().await.unwrap();
    let row = lease("a: bob/1 5");
    assert!(table.create(&row).await.unwrap());
    let coded = |code: &str| {
        let body = format!("{{\"__type\":\"com.amazonaws.dynamodb.v20120810#{code}\",\"message\":\"no\"}}");
        Fault::Status(400, body)
    };
    let kind = |trouble: &Trouble| match trouble {
        Trouble::Retry(_) => "passes by itself",
        Trouble::Wait(_) => "needs help",
        _ => "is for good",
    };
    for (fault, expected) in [
        (coded("ProvisionedThroughputExceededException"), "passes by itself"),
        (coded("ThrottlingException"), "passes by itself"),
        (coded("RequestLimitExceeded"), "passes by itself"),
        (coded("AccessDeniedException"), "needs help"),
        (coded("ExpiredTokenException"), "needs help"),
        (coded("UnrecognizedClientException"), "needs help"),
        (Fault::Status(500, "{\"__type\":\"InternalServerError\"}".into()), "passes by itself"),
        (Fault::Status(503, String::new()), "passes by itself"),
        (Fault::Reset, "passes by itself"),
    ] {
        proxy.set_rules(vec![Rule::new(fault.clone())]);
        let troubles = [
            table.scan().await.map(drop).unwrap_err(),
            table.read("a").await.map(drop).unwrap_err(),
            table.write(&row, &Write::Renew).await.map(drop).unwrap_err(),
            table.create(&row).await.map(drop).unwrap_err(),
            table.delete(&row).await.map(drop).unwrap_err(),
            table.prepare().await.unwrap_err(),
        ];
        for trouble in troubles {
            assert_eq!(kind(&trouble), expected, "{fault:?}: {trouble}");
        }
    }

    proxy.set_rules(vec![rule("UpdateItem", Fault::AnswerLost).times(1)]);
    assert_eq!(kind(&table.write(&row, &Write::Renew).await.unwrap_err()), "passes by itself");
    let renewed = row.after(&Write::Renew);
    assert_eq!(table.write(&row, &Write::Renew).await.unwrap(), Written::Refused(Some(renewed)));

    proxy.set_rules(vec![Rule::new(Fault::Blackhole)]);
    let client = aws(&proxy.endpoint()).dynamodb().await.unwrap();
    let impatient = LeaseTable::new(client, "trouble", Duration::from_millis(300));
    let begun = Instant::now();
    let late = impatient.write(&row, &Write::Renew).await.unwrap_err();
    expect!["writing `a` in the table `trouble`: no answer within 300ms"].assert_eq(&late.to_string());
    assert_eq!(kind(&late), "passes by itself");
    assert!(begun.elapsed() < super::PATIENCE);

    proxy.set_rules(vec![]);
    let gone = super::table(&proxy.endpoint(), "gone").await;
    assert_eq!(kind(&gone.scan().await.unwrap_err()), "needs help");
}
