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
pub(crate) use test::{observed, on_poll};

#[cfg(test)]
mod test {
    use std::cell::RefCell;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    type Observer = Box<dyn Fn() -> bool>;

    thread_local! {
        static OBSERVER: RefCell<Option<Observer>> = const { RefCell::new(None) };
    }

    /// Asks `observer` before each poll of each task of this thread whether it may go on.
    pub fn on_poll(observer: Option<Observer>) {
        OBSERVER.with(|it| *it.borrow_mut() = observer);
    }

    pub fn observed<F: Future>(task: F) -> impl Future<Output = F::Output> {
        Observed(Box::pin(task))
    }

    struct Observed<F>(Pin<Box<F>>);

    impl<F: Future> Future for Observed<F> {
        type Output = F::Output;

        fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
            let goes_on = OBSERVER.with(|it| it.borrow().as_ref().is_none_or(|observer| observer()));
            if goes_on { self.0.as_mut().poll(context) } else { Poll::Pending }
        }
    }
}
