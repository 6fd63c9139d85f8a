//! A server on a thread of its own.

use std::net::{Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

/// A server on a thread and a runtime of its own, so that it goes on while a test blocks, and outlives the runtime of
/// any test. Ends when it goes out of scope; its connections are cut then.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Listens on a port of the loopback address (0: any free one) and hands every connection to `serve`.
    pub fn start<F, S>(name: &str, port: u16, serve: S) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
        S: Fn(TcpStream) -> F + Send + 'static,
    {
        let listener = bind(port);
        let address = listener.local_addr().expect("a bound socket has an address");
        let (stop, stopped) = oneshot::channel();
        let run = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.expect("a runtime can be built");
            // The tasks of the connections end with the runtime, and the sockets with them.
            runtime.block_on(accept(listener, stopped, serve));
            runtime.shutdown_timeout(Duration::from_secs(10));
        };
        let thread = std::thread::Builder::new().name(name.into()).spawn(run).expect("a thread can be started");
        Self { address, stop: Some(stop), thread: Some(thread) }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // An error: it has ended already.
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been printed by the thread.
            let _ = thread.join();
        }
    }
}

/// A port that was just left may be some other program's for a moment.
fn bind(port: u16) -> std::net::TcpListener {
    let begun = Instant::now();
    loop {
        match std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            Ok(listener) => return listener,
            Err(_) if port != 0 && begun.elapsed() < Duration::from_secs(30) => {
                std::thread::sleep(Duration::from_millis(50));
            }
            Err(error) => panic!("port {port} of the loopback address cannot be listened on: {error}"),
        }
    }
}

async fn accept<F, S>(listener: std::net::TcpListener, stopped: oneshot::Receiver<()>, serve: S)
where
    F: Future<Output = ()> + Send + 'static,
    S: Fn(TcpStream) -> F,
{
    listener.set_nonblocking(true).expect("a socket can be made non-blocking");
    let listener = TcpListener::from_std(listener).expect("the runtime takes the socket");
    let mut stopped = pin!(stopped);
    loop {
        tokio::select! {
            _ = &mut stopped => return,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    // Answers are small and come one by one.
                    let _ = stream.set_nodelay(true);
                    tokio::spawn(serve(stream));
                }
                // The client went away again, or files ran out for a moment.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
        }
    }
}
