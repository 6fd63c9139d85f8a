//! A server that reads requests with the same crate as the program, answers 204, and does nothing else.

use std::convert::Infallible;

use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::Outcome;

/// Serves until SIGTERM, on one thread.
pub fn run(port: u16) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            served = serve(port) => served,
            _ = terminate.recv() => Ok(()),
        }
    })
}

async fn serve(port: u16) -> Outcome {
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            let connection = hyper::server::conn::http1::Builder::new();
            // An error: the client has gone.
            let _ = connection.serve_connection(TokioIo::new(stream), service_fn(answer)).await;
        });
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Empty<Bytes>>, Infallible> {
    // A body that breaks off ends the connection.
    let _ = request.into_body().collect().await;
    let mut answer = Response::new(Empty::new());
    *answer.status_mut() = hyper::StatusCode::NO_CONTENT;
    Ok(answer)
}
