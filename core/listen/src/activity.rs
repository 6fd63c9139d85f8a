//! What happens on a connection, and until when something must.
//!
//! hyper's own limit for a head begins when a connection falls idle, so it would close connections long before the time
//! that they may be idle, perhaps just when a load balancer is about to use one again. Here the time of a head begins with
//! its first byte.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http::Version;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// How long a connection may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// For a head, from its first byte on; and for the first one from the start.
    pub(crate) header: Duration,
    /// Between an answer and the next head.
    pub(crate) idle: Duration,
}

/// Why a connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Quiet {
    /// A head was begun, and did not come to its end.
    Head,
    /// Nothing was sent.
    Idle,
}

/// What happens on a connection.
#[derive(Debug)]
pub(crate) struct Activity(Mutex<State>);

#[derive(Debug)]
struct State {
    /// When it was opened, or the last answer was given.
    since: Instant,
    /// There was a request.
    is_used: bool,
    /// There, heads are frames among others, and do not begin with any byte.
    is_http_2: bool,
    /// Requests that are under way.
    requests: usize,
    /// When the head that is not complete was begun.
    head: Option<Instant>,
    /// Who waited last for the requests that were under way, and whether it does so now.
    waiting: Option<Waker>,
    is_waiting: bool,
}

impl Activity {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(State {
            since: Instant::now(),
            is_used: false,
            is_http_2: false,
            requests: 0,
            head: None,
            waiting: None,
            is_waiting: false,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A head has come. Its request is under way until what is given back is let go.
    pub(crate) fn begin(self: &Arc<Self>, version: Version) -> Busy {
        let mut state = self.state();
        state.requests += 1;
        state.is_used = true;
        state.is_http_2 = version == Version::HTTP_2;
        state.head = None;
        Busy(self.clone())
    }

    /// Whoever waited looks again by itself, when it has done what there is to do: a request that ends until then, as most
    /// do, wakes nobody.
    pub(crate) fn attend(&self) {
        self.state().is_waiting = false;
    }

    /// Until when something must happen, and what it is if nothing does. While a request is under way, that has limits of
    /// its own: nothing must, and `waiting` is woken when there is none any more.
    pub(crate) fn deadline(&self, patience: Patience, waiting: &Waker) -> Option<(Instant, Quiet)> {
        let mut state = self.state();
        if state.requests > 0 {
            match &mut state.waiting {
                Some(it) => it.clone_from(waiting),
                None => state.waiting = Some(waiting.clone()),
            }
            state.is_waiting = true;
            return None;
        }
        let what = if state.head.is_some() { Quiet::Head } else { Quiet::Idle };
        let until = match state.head {
            _ if !state.is_used => state.since + patience.header,
            Some(begun) => begun + patience.header,
            None => state.since + patience.idle,
        };
        Some((until, what))
    }

    /// Bytes have come.
    fn came(&self) {
        let mut state = self.state();
        if state.requests == 0 && !state.is_http_2 && state.head.is_none() {
            state.head = Some(Instant::now());
        }
    }
}

/// A request that is under way.
#[derive(Debug)]
pub(crate) struct Busy(Arc<Activity>);

impl Drop for Busy {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.requests -= 1;
        state.since = Instant::now();
        let is_due = state.requests == 0 && std::mem::take(&mut state.is_waiting);
        let waiting = if is_due { state.waiting.take() } else { None };
        drop(state);
        if let Some(waiting) = waiting {
            waiting.wake();
        }
    }
}

/// A stream that says when bytes come. It writes one buffer at a time: answers are small, and to the system one buffer is
/// less work than a list of them.
pub(crate) struct Watched<S> {
    pub(crate) stream: S,
    pub(crate) activity: Arc<Activity>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.activity.came();
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
