use expect_test::{Expect, expect};

use crate::oracle::{Judge, Oracle, Random};

/// Shows a judge of ten ids, of which eight were acknowledged, what a sink is said to have.
fn check(rows: impl FnOnce(&Oracle, &mut Judge<'_>), expected: Expect) {
    let mut oracle = Oracle::new(3);
    let ids = oracle.claim(10);
    oracle.acknowledge(ids.take(8));
    let mut judge = oracle.judge(|_| true);
    rows(&oracle, &mut judge);
    let verdict = judge.verdict();
    let told = verdict.to_string();
    let figures = told.lines().next().unwrap();
    expected.assert_eq(&format!("{}: {figures}", if verdict.is_good() { "good" } else { "bad" }));
}

/// Scenario: a sink has what it should have; it has nothing; rows are lacking, are there several times, were never
/// handed out, are no rows at all, are damaged in their beginning, middle and end, or have the fields of another row.
/// Guarantees: each kind of fault is found, counted, and named by the lowest ids; what was not acknowledged may be there
/// or not; a damaged row is not a delivery of that row.
#[test]
fn every_kind_of_fault_is_found() {
    let all = |oracle: &Oracle, judge: &mut Judge<'_>| (0..10).for_each(|id| judge.saw(&oracle.line(id)));
    check(
        |oracle, judge| (0..8).for_each(|id| judge.saw(&oracle.line(id))),
        expect!["good: 10 attempted, 8 acknowledged, 8 rows: 0 lost, 0 duplicated, 0 unexpected, 0 corrupted"],
    );
    check(
        all,
        expect![
            "good: 10 attempted, 8 acknowledged, 10 rows: 2 recovered, 0 lost, 0 duplicated, 0 unexpected, 0 corrupted"
        ],
    );
    check(
        |_, _| {},
        expect![
            "bad: 10 attempted, 8 acknowledged, 0 rows: 8 lost (0, 1, 2, 3, 4, 5, 6, 7), 0 duplicated, 0 unexpected, 0 corrupted"
        ],
    );
    check(
        |oracle, judge| {
            all(oracle, judge);
            [3, 3, 9].iter().for_each(|id| judge.saw(&oracle.line(*id)));
            (0..20).for_each(|_| judge.saw(&oracle.line(5)));
        },
        expect![
            "bad: 10 attempted, 8 acknowledged, 33 rows: 2 recovered, 0 lost, 23 duplicated (3, 5, 9, …), 0 unexpected, 0 corrupted"
        ],
    );
    check(
        |oracle, judge| {
            all(oracle, judge);
            [10, 4711].iter().for_each(|id| judge.saw(&oracle.line(*id)));
            ["", "Code: 241. DB::Exception", "-1\t2"].iter().for_each(|it| judge.saw(it));
        },
        expect![
            "bad: 10 attempted, 8 acknowledged, 15 rows: 2 recovered, 0 lost, 0 duplicated, 5 unexpected (10, 4711, 18446744073709551615, …), 0 corrupted"
        ],
    );
    check(
        |oracle, judge| {
            (3..10).for_each(|id| judge.saw(&oracle.line(id)));
            let line = |id| oracle.line(id);
            judge.saw(&line(0)[..line(0).len() - 1]);
            judge.saw(&line(1).replace("example", "exempla"));
            judge.saw(&format!("{} ", line(2)));
            // The id of one row, the rest of another.
            judge.saw(&line(7).replacen('7', "6", 1));
        },
        expect![
            "bad: 10 attempted, 8 acknowledged, 11 rows: 2 recovered, 3 lost (0, 1, 2), 0 duplicated, 0 unexpected, 4 corrupted (0, 1, 2, 6)"
        ],
    );
}

/// Scenario: only some ids are due in a sink, the others in another one.
/// Guarantees: each is judged by its own; a row in the wrong one is unexpected there, and shown, and lost where it
/// belongs.
#[test]
fn ids_that_belong_elsewhere() {
    let mut oracle = Oracle::new(3);
    let ids = oracle.claim(10);
    oracle.acknowledge(ids);
    let verdict = |due: fn(u64) -> bool, there: &[u64]| {
        let mut judge = oracle.judge(due);
        there.iter().for_each(|id| judge.saw(&oracle.line(*id)));
        judge.verdict().to_string()
    };
    expect![[r#"
        8 attempted, 8 acknowledged, 8 rows: 1 lost (7), 0 duplicated, 1 unexpected (5), 0 corrupted
          "5\t1793491200005\twww.example.com\t/e52ca86a7fce3480/e52ca86a7fce/\t206\t13468947\te52ca86a7fce3480""#]]
    .assert_eq(&verdict(|id| id % 5 != 0, &[1, 2, 3, 4, 5, 6, 8, 9]));
    expect!["2 attempted, 2 acknowledged, 1 rows: 1 lost (5), 0 duplicated, 0 unexpected, 0 corrupted"]
        .assert_eq(&verdict(|id| id % 5 == 0, &[0]));
}

/// Scenario: lines of two seeds; many ids.
/// Guarantees: a line is what it was yesterday, differs from that of every other seed and id in its seal, and
/// holds no tab that is not between fields.
#[test]
fn lines_follow_from_seed_and_id() {
    let (one, other) = (Oracle::new(1), Oracle::new(2));
    expect!["0	1793491200000	static.example.com	/beeb8da1658eec67/beeb8da1658e/	301	9505325	beeb8da1658eec67"]
        .assert_eq(&one.line(0));
    let seal = |line: String| line.rsplit_once('\t').unwrap().1.to_owned();
    let mut seals = std::collections::BTreeSet::new();
    for id in (0..20_000).chain([10_000_000, 1 << 60]) {
        let line = one.line(id);
        assert_eq!(line.split('\t').count(), 7, "{line}");
        assert!(seals.insert(seal(line)) && seals.insert(seal(other.line(id))), "{id}");
    }
    let mut random = Random::new(1);
    assert!((0..1_000).all(|_| (0.0..1.0).contains(&random.fraction())));
}
