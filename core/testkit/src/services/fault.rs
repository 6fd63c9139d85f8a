//! What a [`FaultProxy`](super::FaultProxy) breaks, and when.

use std::time::Duration;

use hyper::Request;

/// What happens to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is not passed on; this status and this body are the answer.
    Status(u16, String),
    /// It is passed on and carried out; then the connection is closed instead of an answer.
    AnswerLost,
    /// It is not passed on; the connection is reset (`RST`).
    Reset,
    /// So many bytes of its body are passed on; then the connections to server and client are closed.
    TruncateRequest(usize),
    /// It is passed on; the connection is reset after so many bytes of the answer's body.
    TruncateBody(usize),
    /// It is passed on after a while.
    Delay(Duration),
    /// It is neither passed on nor answered, and the connection stays open, until there are other rules: then it is passed
    /// on if its sender still waits, as what TCP sends again arrives when a network is well again.
    Blackhole,
}

/// Which requests meet a fault. Without conditions: all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Only requests of this method: `PUT`.
    pub method: Option<String>,
    /// Only requests whose path and query contain this: `uploadId=`.
    pub path_contains: Option<String>,
    /// Only requests with a header of this name whose value contains this: `("x-amz-target", "ReceiveMessage")`.
    pub header: Option<(String, String)>,
    /// Lets so many requests pass that it would fit.
    pub after: usize,
    /// Then breaks so many; `None`: all.
    pub times: Option<usize>,
    /// What happens to them.
    pub fault: Fault,
}

impl Rule {
    /// A rule for every request.
    pub fn new(fault: Fault) -> Self {
        Self { method: None, path_contains: None, header: None, after: 0, times: None, fault }
    }

    /// Only requests of this method.
    #[must_use]
    pub fn method(mut self, method: &str) -> Self {
        self.method = Some(method.into());
        self
    }

    /// Only requests whose path and query contain this.
    #[must_use]
    pub fn path_contains(mut self, part: &str) -> Self {
        self.path_contains = Some(part.into());
        self
    }

    /// Only requests with a header of this name whose value contains this.
    #[must_use]
    pub fn header(mut self, name: &str, part: &str) -> Self {
        self.header = Some((name.into(), part.into()));
        self
    }

    /// Lets so many requests pass first.
    #[must_use]
    pub fn after(mut self, requests: usize) -> Self {
        self.after = requests;
        self
    }

    /// Breaks so many requests, and no more.
    #[must_use]
    pub fn times(mut self, requests: usize) -> Self {
        self.times = Some(requests);
        self
    }

    fn fits<B>(&self, request: &Request<B>) -> bool {
        let path = request.uri().path_and_query().map_or("", |it| it.as_str());
        let has = |(name, part): &(String, String)| {
            request.headers().get_all(name).iter().any(|it| it.to_str().is_ok_and(|it| it.contains(part)))
        };
        self.method.as_ref().is_none_or(|it| request.method() == it.as_str())
            && self.path_contains.as_ref().is_none_or(|it| path.contains(it))
            && self.header.as_ref().is_none_or(has)
    }
}

/// A request that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// `GET`, `PUT`, …
    pub method: String,
    /// Path and query.
    pub path: String,
    /// What happened to it; `None`: it was passed on.
    pub fault: Option<Fault>,
}

/// Rules with their counts, and what came.
#[derive(Debug, Default)]
pub(super) struct Book {
    /// Each with the number of requests that it fitted.
    rules: Vec<(Rule, usize)>,
    pub seen: Vec<Seen>,
}

impl Book {
    pub fn set_rules(&mut self, rules: Vec<Rule>) {
        self.rules = rules.into_iter().map(|it| (it, 0)).collect();
    }

    /// Decides what happens to a request: the first rule that fits and is due. A rule counts a request only if no
    /// earlier rule took it.
    pub fn decide<B>(&mut self, request: &Request<B>) -> Option<Fault> {
        let mut fault = None;
        for (rule, count) in self.rules.iter_mut().filter(|it| it.0.fits(request)) {
            *count += 1;
            let nth = *count;
            if nth > rule.after && rule.times.is_none_or(|times| nth - rule.after <= times) {
                fault = Some(rule.fault.clone());
                break;
            }
        }
        let path = request.uri().path_and_query().map_or("", |it| it.as_str()).to_owned();
        self.seen.push(Seen { method: request.method().to_string(), path, fault: fault.clone() });
        fault
    }
}
