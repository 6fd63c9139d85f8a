//! An HTTP/1.1 proxy that breaks what a list of rules says.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::http1::SendRequest;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Sleep;

use super::fault::{Book, Fault, Rule, Seen};
use super::thread::Server;

/// Stands before an HTTP server (plain, HTTP/1.1), passes requests on and answers back, and breaks what rules say.
///
/// A request is passed on as it came, `Host` included: the server can still check a signature over it. Bodies stream
/// through in both directions.
#[derive(Debug)]
pub struct FaultProxy {
    server: Server,
    book: Arc<Mutex<Book>>,
    /// Says that there are other rules.
    others: watch::Sender<()>,
}

impl FaultProxy {
    /// Starts a proxy before `upstream`, such as `http://127.0.0.1:9000`. If that does not answer, connections are
    /// closed, as if the proxy were the server.
    pub fn start(upstream: &str, rules: Vec<Rule>) -> Self {
        let uri: Uri = upstream.parse().unwrap_or_else(|error| panic!("`{upstream}` is not a URL: {error}"));
        assert_eq!(uri.scheme_str(), Some("http"), "`{upstream}`: the proxy speaks plain HTTP");
        let authority = uri.authority().expect("a URL with a scheme names a host").as_str().to_owned();
        let book = Arc::new(Mutex::new(Book::default()));
        lock(&book).set_rules(rules);
        let others = watch::Sender::new(());
        let shared = (book.clone(), others.clone());
        let server = Server::start("fault proxy", 0, move |stream| {
            let (book, others) = shared.clone();
            serve(stream, Arc::new(Passage::new(authority.clone(), book, others)))
        });
        Self { server, book, others }
    }

    /// The URL for the clients: `http://127.0.0.1:port`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.server.address())
    }

    /// Other rules from now on; they begin to count at 0. Requests that are under way are not affected, but those in a
    /// [`Fault::Blackhole`], which are passed on.
    pub fn set_rules(&self, rules: Vec<Rule>) {
        lock(&self.book).set_rules(rules);
        self.others.send_replace(());
    }

    /// All requests that came so far, in order, with what happened to each.
    pub fn seen(&self) -> Vec<Seen> {
        lock(&self.book).seen.clone()
    }

    /// How many requests a fault has met so far.
    pub fn faults(&self) -> usize {
        lock(&self.book).seen.iter().filter(|it| it.fault.is_some()).count()
    }
}

fn lock(book: &Mutex<Book>) -> MutexGuard<'_, Book> {
    book.lock().unwrap_or_else(PoisonError::into_inner)
}

type AnyBody = BoxBody<Bytes, io::Error>;

/// A client's connection, and the one to the server that goes with it.
struct Passage {
    upstream: String,
    book: Arc<Mutex<Book>>,
    others: watch::Sender<()>,
    sender: tokio::sync::Mutex<Option<SendRequest<AnyBody>>>,
    /// Whether the client's connection is to end with a reset.
    reset: AtomicBool,
}

async fn serve(stream: TcpStream, passage: Arc<Passage>) {
    let own = passage.clone();
    let answer = move |request| {
        let passage = passage.clone();
        Box::pin(async move { passage.answer(request).await })
    };
    let mut connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer));
    // An error is how a fault closes the connection, or that the client has gone.
    let _ = poll_fn(|context| connection.poll_without_shutdown(context)).await;
    let stream = connection.into_parts().io.into_inner();
    if own.reset.load(Ordering::Relaxed) {
        // An error: it is closed already.
        let _ = stream.set_zero_linger();
    }
}

impl Passage {
    fn new(upstream: String, book: Arc<Mutex<Book>>, others: watch::Sender<()>) -> Self {
        Self { upstream, book, others, sender: tokio::sync::Mutex::new(None), reset: AtomicBool::new(false) }
    }

    /// An error closes the client's connection without an answer.
    async fn answer(&self, request: Request<Incoming>) -> Result<Response<AnyBody>, io::Error> {
        let mut other_rules = self.others.subscribe();
        let fault = lock(&self.book).decide(&request);
        let request = request.map(|body| body.map_err(io::Error::other).boxed());
        match fault {
            None => self.pass(request).await,
            Some(Fault::Status(status, text)) => {
                // Who is still sending would miss the answer.
                request.into_body().collect().await?;
                let body = Full::new(Bytes::from(text)).map_err(|never| match never {}).boxed();
                let answer = Response::builder().status(status).header("content-type", "application/xml");
                answer.body(body).map_err(io::Error::other)
            }
            Some(Fault::AnswerLost) => {
                self.pass(request).await?.into_body().collect().await?;
                Err(io::Error::other("the answer is lost"))
            }
            Some(Fault::Reset) => {
                self.reset.store(true, Ordering::Relaxed);
                Err(io::Error::other("the connection is reset"))
            }
            Some(Fault::TruncateRequest(bytes)) => {
                self.pass(request.map(|body| Cut { body, left: bytes, pause: None }.boxed())).await
            }
            Some(Fault::TruncateBody(bytes)) => {
                let answer = self.pass(request).await?;
                Ok(answer.map(|body| Cut { body, left: bytes, pause: None }.boxed()))
            }
            Some(Fault::Delay(time)) => {
                tokio::time::sleep(time).await;
                self.pass(request).await
            }
            Some(Fault::Blackhole) => {
                // The sender is in this passage: it cannot be gone.
                let _ = other_rules.changed().await;
                self.pass(request).await
            }
        }
    }

    async fn pass(&self, request: Request<AnyBody>) -> Result<Response<AnyBody>, io::Error> {
        let mut kept = self.sender.lock().await;
        let mut sender = match kept.take() {
            Some(sender) if !sender.is_closed() => sender,
            _ => connect(&self.upstream).await?,
        };
        sender.ready().await.map_err(io::Error::other)?;
        let answer = sender.send_request(request).await.map_err(io::Error::other)?;
        *kept = Some(sender);
        Ok(answer.map(|body| body.map_err(io::Error::other).boxed()))
    }
}

async fn connect(upstream: &str) -> Result<SendRequest<AnyBody>, io::Error> {
    let stream = TcpStream::connect(upstream).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    tokio::spawn(async move {
        // An error shows at the request that met it.
        let _ = connection.await;
    });
    Ok(sender)
}

/// A body that breaks off after some bytes.
struct Cut {
    body: AnyBody,
    left: usize,
    /// Runs while the last bytes are on their way.
    pause: Option<Pin<Box<Sleep>>>,
}

impl Body for Cut {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.left > 0 {
            let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(context));
            return Poll::Ready(frame.map(|frame| {
                let data = frame?.into_data().unwrap_or_default();
                let kept = data.slice(..data.len().min(self.left));
                self.left -= kept.len();
                Ok(Frame::data(kept))
            }));
        }
        let pause = self.pause.get_or_insert_with(|| Box::pin(tokio::time::sleep(Duration::from_millis(20))));
        std::task::ready!(pause.as_mut().poll(context));
        Poll::Ready(Some(Err(io::Error::other("the body is cut"))))
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
