//! S3 on a directory, in this process.

use std::fs;
use std::path::{Path, PathBuf};

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use tempfile::TempDir;

use super::thread::Server;
use super::{ACCESS_KEY, SECRET_KEY};

/// A server that speaks S3 and keeps an object `key` of a bucket as the file `directory/bucket/key`.
///
/// It is `s3s-fs`: signatures, checksums and conditions (`If-None-Match`) are checked as AWS does it; multipart
/// uploads, ranges and listings work. It has no notifications, no versions, no lifecycle, and its error bodies have
/// codes but rarely messages. A file that is put into the directory by hand is an object as well.
#[derive(Debug)]
pub struct S3Server {
    directory: PathBuf,
    port: u16,
    running: Option<Server>,
    /// Removed at the end, if the server made the directory.
    _own: Option<TempDir>,
}

impl S3Server {
    /// Starts a server with no buckets, in a directory that goes with it.
    pub fn start() -> Self {
        let own = TempDir::new().expect("a temporary directory can be made");
        let mut server = Self::on(own.path());
        server._own = Some(own);
        server
    }

    /// Starts a server on a directory that stays. Directories in it are buckets.
    pub fn on(directory: &Path) -> Self {
        let mut server = Self { directory: directory.to_path_buf(), port: 0, running: None, _own: None };
        server.restart();
        server
    }

    /// Its URL, the same after a restart: `http://127.0.0.1:port`.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The directory of buckets.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Makes a bucket, unless it is there.
    pub fn create_bucket(&self, name: &str) {
        let bucket = self.directory.join(name);
        fs::create_dir_all(&bucket).unwrap_or_else(|error| panic!("{}: {error}", bucket.display()));
    }

    /// Stops the server, if it runs: connections are cut, further ones refused.
    pub fn stop(&mut self) {
        self.running = None;
    }

    /// Stops it, if it runs, and starts it again on the same port with what is in the directory.
    pub fn restart(&mut self) {
        self.stop();
        let service = service(&self.directory);
        let server = Server::start("s3", self.port, move |stream| {
            let service = service.clone();
            async move {
                // A client that breaks off is a matter of the client's test.
                let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
            }
        });
        self.port = server.address().port();
        self.running = Some(server);
    }
}

fn service(directory: &Path) -> S3Service {
    let files = s3s_fs::FileSystem::new(directory)
        .unwrap_or_else(|error| panic!("the S3 server cannot use {}: {error:?}", directory.display()));
    let mut builder = S3ServiceBuilder::new(files);
    builder.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
    builder.build()
}
