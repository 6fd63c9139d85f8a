//! What may happen to requests, at random.

use std::time::Duration;

use forebay_testkit::oracle::Random;
use forebay_testkit::services::{Fault, Rule};

/// One of these.
pub fn any<T: Clone>(random: &mut Random, of: &[T]) -> T {
    of[(random.number() % of.len() as u64) as usize].clone()
}

/// What may happen to a request on its way.
fn fault(random: &mut Random) -> Fault {
    any(
        random,
        &[
            Fault::AnswerLost,
            Fault::AnswerLost,
            Fault::AnswerLost,
            Fault::Reset,
            Fault::TruncateRequest(700),
            Fault::TruncateBody(20),
            Fault::Delay(Duration::from_millis(700)),
            Fault::Status(503, "busy".to_owned()),
        ],
    )
}

/// Every second or third request of a kind meets some fault, for a while.
pub fn faults(random: &mut Random, of: impl Fn(Rule) -> Rule) -> Vec<Rule> {
    (0..4).map(|_| of(Rule::new(fault(random))).after((random.number() % 3) as usize).times(1)).collect()
}
