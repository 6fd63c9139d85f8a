//! Where the engine's tasks are polled. The simulation looks on here, and may pull the plug before any poll.

use tokio::task::JoinError;

use crate::RunError;

/// What to say about a task that ended without an answer.
pub(crate) fn gone(node: &str, error: JoinError) -> RunError {
    let what = match error.try_into_panic() {
        Ok(panic) => match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
            (Some(text), _) => (*text).to_owned(),
            (_, Some(text)) => text.clone(),
            _ => "it panicked".into(),
        },
        Err(error) => error.to_string(),
    };
    RunError::new(node, "broke down", what.into())
        .hint("this is a bug: please report it; no row is lost, and the next start goes on from here")
}

/// A task as the engine starts it.
#[cfg(not(test))]
pub(crate) fn observed<F: Future>(task: F) -> F {
    task
}

#[cfg(test)]
pub(crate) use test::{Observer, observed, observed_by, on_poll};

#[cfg(test)]
mod test {
    use std::cell::RefCell;
    use std::pin::Pin;
    use std::sync::Arc;
    use std::task::{Context, Poll};

    /// Is asked before each poll whether it may go on.
    pub type Observer = Arc<dyn Fn() -> bool + Send + Sync>;

    thread_local! {
        static OBSERVER: RefCell<Option<Observer>> = const { RefCell::new(None) };
    }

    /// Asks `observer` before each poll of each task that is made on this thread from now on.
    pub fn on_poll(observer: Option<Observer>) {
        OBSERVER.set(observer);
    }

    /// A task with the observer of the one that makes it.
    pub fn observed<F: Future>(task: F) -> impl Future<Output = F::Output> {
        Observed { task: Box::pin(task), observer: OBSERVER.with_borrow(Clone::clone) }
    }

    /// A task, and all that it makes, with an observer of their own.
    pub fn observed_by<F: Future>(observer: Observer, task: F) -> impl Future<Output = F::Output> {
        Observed { task: Box::pin(task), observer: Some(observer) }
    }

    struct Observed<F> {
        task: Pin<Box<F>>,
        observer: Option<Observer>,
    }

    impl<F: Future> Future for Observed<F> {
        type Output = F::Output;

        fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
            if self.observer.as_ref().is_some_and(|goes_on| !goes_on()) {
                return Poll::Pending;
            }
            let others = OBSERVER.replace(self.observer.clone());
            let polled = self.task.as_mut().poll(context);
            OBSERVER.set(others);
            polled
        }
    }
}
